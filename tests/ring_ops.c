/* SPDX-License-Identifier: MIT
 *
 * See ring_ops.h.
 */
#include "tests/ring_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/blocking.h"
#include "io/resource.h"

/* ---- by a task ---- */

int ring_nop(void)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_nop(sqe);
    return torc_op_wait(&op);
}

int ring_read(int fd, void *memory, unsigned size, uint64_t offset)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_read(sqe, fd, memory, size, offset);
    return torc_op_wait(&op);
}

int ring_write(int fd, const void *memory, unsigned size, uint64_t offset)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_write(sqe, fd, memory, size, offset);
    return torc_op_wait(&op);
}

int ring_poll(int fd)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_add(sqe, fd, POLLIN);
    return torc_op_wait(&op);
}

int ring_timeout(uint64_t ns)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    struct __kernel_timespec after = {.tv_sec = (long long)(ns / TORC_SEC),
                                      .tv_nsec = (long long)(ns % TORC_SEC)};
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_timeout(sqe, &after, 0, 0);
    return torc_op_wait(&op);
}

/* ---- embedded ---- */

static _Thread_local unsigned orders;

void ring_op_done(struct torc_op *op, int result, uint32_t flags)
{
    struct ring_op *self = TORC_CONTAINER_OF(op, struct ring_op, op);
    if (!self->ran++)
        self->order = ++orders;
    self->result = result;
    self->flags = flags;
    if (self->batch)
        torc_batch_done(self->batch);
}

static int start(struct ring_op *op, struct io_uring_sqe **sqe)
{
    op->ran = 0;
    return op->batch ? torc_batch_start(op->batch, &op->op, ring_op_done, sqe)
                     : torc_op_start(&op->op, ring_op_done, sqe);
}

int ring_op_nop(struct ring_op *op, unsigned flags)
{
    struct io_uring_sqe *sqe;
    int err = start(op, &sqe);
    if (err)
        return err;
    io_uring_prep_nop(sqe);
    sqe->flags |= (uint8_t)flags;
    return 0;
}

int ring_op_read(struct ring_op *op, int fd, void *memory, unsigned size, unsigned flags)
{
    struct io_uring_sqe *sqe;
    int err = start(op, &sqe);
    if (err)
        return err;
    io_uring_prep_read(sqe, fd, memory, size, (uint64_t)-1);
    sqe->flags |= (uint8_t)flags;
    return 0;
}

int ring_op_poll(struct ring_op *op, int fd, bool multishot)
{
    struct io_uring_sqe *sqe;
    int err = start(op, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_add(sqe, fd, POLLIN);
    if (multishot)
        sqe->len |= IORING_POLL_ADD_MULTI;
    return 0;
}

void ring_op_wait(const struct ring_op *op, int count)
{
    for (int i = 0; i < 200000 && op->ran < count; i++)
        CHECK_EQ(torc_sleep(10 * TORC_US), 0);
    CHECK_EQ(op->ran, count);
}

/* ---- helpers ---- */

void ring_pipe(int ends[2])
{
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
}

void ring_pipe_close(int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

unsigned ring_open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* ---- what every rung can do ---- */

static int read_one(void *arg)
{
    char byte = 0;
    int n = ring_read(*(int *)arg, &byte, 1, (uint64_t)-1);
    return n == 1 ? byte : n;
}

static void pipes_and_cancels(void)
{
    int ends[2];
    struct torc_scope scope;
    struct torc_task task;
    ring_pipe(ends);
    for (int round = 0; round < 3; round++) {
        torc_scope_init(&scope);
        CHECK_EQ(
            torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, read_one, &ends[0]),
            0);
        CHECK_EQ(torc_sleep(10 * TORC_US), 0);
        if (round == 0)
            CHECK_EQ(ring_write(ends[1], "x", 1, (uint64_t)-1), 1);
        else
            torc_task_cancel(&task);
        int result = torc_task_join(&task);
        CHECK_EQ(torc_scope_join(&scope), round ? -ECANCELED : 0);
        CHECK_EQ(result, round ? -ECANCELED : 'x');
    }
    /* what was not read is still there */
    CHECK_EQ(ring_write(ends[1], "y", 1, (uint64_t)-1), 1);
    CHECK_EQ(read_one(&ends[0]), 'y');
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 100 * TORC_US);
    CHECK_EQ(ring_poll(ends[0]), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    ring_pipe_close(ends);
}

static void files_and_timeouts(void)
{
    char text[] = "ring by ring", back[64] = "";
    int fd = memfd_create("ring", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(ring_write(fd, text, sizeof text, 1000), sizeof text);
    CHECK_EQ(ring_read(fd, back, sizeof back, 1000), sizeof text);
    CHECK_STR(back, text);
    CHECK_EQ(ring_read(-1, back, 1, 0), -EBADF);
    close(fd);
    uint64_t began = torc_now_ns();
    CHECK_EQ(ring_timeout(200 * TORC_US), -ETIME);
    CHECK(torc_now_ns() - began >= 200 * TORC_US);
}

static void multishots(void)
{
    int ends[2];
    char bytes[8];
    struct ring_op poll = {.ran = 0};
    ring_pipe(ends);
    CHECK_EQ(ring_op_poll(&poll, ends[0], true), 0);
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(ring_write(ends[1], "z", 1, (uint64_t)-1), 1);
        ring_op_wait(&poll, i);
        CHECK(poll.flags & IORING_CQE_F_MORE);
        CHECK(poll.result & POLLIN);
        CHECK_EQ(ring_read(ends[0], bytes, 1, (uint64_t)-1), 1);
    }
    CHECK_EQ(torc_op_cancel(&poll.op), 0);
    ring_op_wait(&poll, 4);
    CHECK_EQ(poll.result, -ECANCELED);
    CHECK(!(poll.flags & IORING_CQE_F_MORE));
    ring_pipe_close(ends);
}

static void chains(void)
{
    struct ring_op chain[4] = {0};
    char byte;
    CHECK_EQ(torc_op_reserve(4), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(ring_op_nop(&chain[i], i < 3 ? IOSQE_IO_LINK : 0), 0);
    ring_op_wait(&chain[3], 1);
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(chain[i].result, 0);
        CHECK_EQ(chain[i].order, chain[i - 1].order + 1);
    }
    CHECK_EQ(torc_op_reserve(4), 0);
    CHECK_EQ(ring_op_nop(&chain[0], IOSQE_IO_LINK), 0);
    CHECK_EQ(ring_op_read(&chain[1], -1, &byte, 1, IOSQE_IO_LINK), 0);
    CHECK_EQ(ring_op_nop(&chain[2], IOSQE_IO_LINK), 0);
    CHECK_EQ(ring_op_nop(&chain[3], 0), 0);
    ring_op_wait(&chain[3], 1);
    CHECK_EQ(chain[0].result, 0);
    CHECK_EQ(chain[1].result, -EBADF);
    CHECK_EQ(chain[2].result, -ECANCELED);
    CHECK_EQ(chain[3].result, -ECANCELED);
}

static void tables(void)
{
    char memory[2][1024];
    int fd = memfd_create("fixed", MFD_CLOEXEC);
    struct torc_op op;
    struct io_uring_sqe *sqe;
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, "fixed", 5, 0), 5);
    int first = torc_buffer_register(memory[0], sizeof memory[0]);
    int second = torc_buffer_register(memory[1], sizeof memory[1]);
    int slot = torc_slot_register(fd);
    CHECK_EQ(first, 0);
    CHECK_EQ(second, 1);
    CHECK_EQ(slot, 0);
    CHECK_EQ(torc_op_begin(&op, &sqe), 0);
    io_uring_prep_read_fixed(sqe, slot, memory[1], 64, 0, second);
    sqe->flags |= IOSQE_FIXED_FILE;
    CHECK_EQ(torc_op_wait(&op), 5);
    CHECK(!memcmp(memory[1], "fixed", 5));
    torc_buffer_unregister(first);
    CHECK_EQ(torc_buffer_register(memory[0], sizeof memory[0]), first);
    torc_buffer_unregister(first);
    torc_buffer_unregister(second);
    torc_slot_unregister(slot);
    close(fd);
}

static int add_one(void *arg)
{
    return ++*(int *)arg;
}

static int nop_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(ring_nop(), 0);
    return 0;
}

int ring_ops_all(void *arg)
{
    (void)arg;
    int number = 0;
    struct torc_scope all;
    CHECK_EQ(ring_nop(), 0);
    pipes_and_cancels();
    files_and_timeouts();
    multishots();
    chains();
    tables();
    CHECK_EQ(torc_blocking(add_one, &number), 1);
    torc_scope_init(&all);
    for (int i = 0; i < 64; i++)
        CHECK_EQ(torc_spawn(&all, nop_often, NULL), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    return 42;
}
