/* SPDX-License-Identifier: MIT
 *
 * Silent operations: one that ends well within its submission leaves nothing behind, one that fails or falls short
 * completes once, and the ledger has no part in either.
 */
#include <errno.h>
#include <liburing.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/io_internal.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

struct silent {
    struct torc_op op;
    int ran, result;
};

static void done(struct torc_op *op, int result, uint32_t flags)
{
    struct silent *silent = TORC_CONTAINER_OF(op, struct silent, op);
    CHECK(!(flags & IORING_CQE_F_MORE));
    silent->ran++;
    silent->result = result;
}

static void start_send(struct silent *silent, int fd, const void *memory, size_t size)
{
    struct io_uring_sqe *sqe;
    *silent = (struct silent){.ran = 0};
    CHECK_EQ(torci_op_start_silent(&silent->op, done, &sqe), 0);
    io_uring_prep_send(sqe, fd, memory, size, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
}

static void pair(int ends[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

/* But for the executor's own. */
static uint32_t in_flight(void)
{
    const struct torci_io *io = torci_io_this();
    return io->ring.in_flight - io->internal_ops;
}

static int succeeds(void *arg)
{
    (void)arg;
    struct torci_ring *ring = &torci_io_this()->ring;
    struct silent silent[3];
    int ends[2];
    char got[16];
    pair(ends);
    uint64_t cqes = torci_io_this()->exec.counters->ring_cqes;
    for (int i = 0; i < 3; i++)
        start_send(&silent[i], ends[0], "ab", 2);
    CHECK_EQ(in_flight(), 0);
    CHECK_EQ(torci_ring_enter(ring, 0, UINT64_MAX, true), 0);
    CHECK_EQ(read(ends[1], got, sizeof got), 6); /* it is over when the submission is */
    CHECK_EQ(torci_ring_ready(ring), 0);
    CHECK_EQ(ring_nop(), 0);
    CHECK_EQ(torci_io_this()->exec.counters->ring_cqes, cqes + 1); /* of the NOP */
    for (int i = 0; i < 3; i++)
        CHECK_EQ(silent[i].ran, 0);
    ring_pipe_close(ends);
    return 0;
}

static int fails(void *arg)
{
    (void)arg;
    struct silent silent[40];
    int ends[2];
    pair(ends);
    close(ends[1]);
    for (int i = 0; i < 40; i++)
        start_send(&silent[i], ends[0], "ab", 2);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(ring_nop(), 0);
    for (int i = 0; i < 40; i++) {
        CHECK_EQ(silent[i].ran, 1);
        CHECK_EQ(silent[i].result, -EPIPE);
    }
    CHECK_EQ(in_flight(), 0);
    close(ends[0]);
    return 0;
}

static int falls_short(void *arg)
{
    (void)arg;
    static char block[4 << 20], got[65536];
    struct silent silent;
    int ends[2];
    pair(ends);
    start_send(&silent, ends[0], block, sizeof block);
    CHECK_EQ(ring_nop(), 0);
    CHECK_EQ(silent.ran, 1);
    CHECK(silent.result > 0 && silent.result < (int)sizeof block);
    size_t came = 0;
    for (ssize_t n; (n = recv(ends[1], got, sizeof got, MSG_DONTWAIT)) > 0;)
        came += (size_t)n;
    CHECK_EQ(came, silent.result);
    for (ssize_t n = 0; n >= 0;) /* full: nothing at all goes */
        n = send(ends[0], block, 65536, MSG_DONTWAIT);
    start_send(&silent, ends[0], block, 100);
    CHECK_EQ(ring_nop(), 0);
    CHECK_EQ(silent.ran, 1);
    CHECK_EQ(silent.result, -EAGAIN);
    ring_pipe_close(ends);
    return 0;
}

/* The same op may be started again as soon as the submission is over, whether it has completed or not. */
static int again_and_again(void *arg)
{
    (void)arg;
    struct silent silent;
    int ends[2];
    char got[4];
    pair(ends);
    for (int i = 0; i < 1000; i++) {
        start_send(&silent, ends[0], "abcd", 4);
        CHECK_EQ(ring_nop(), 0);
        CHECK_EQ(silent.ran, 0);
        CHECK_EQ(read(ends[1], got, sizeof got), 4);
    }
    ring_pipe_close(ends);
    return 0;
}

static void run(torc_task_fn *main, uint32_t entries, uint32_t completions)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    struct torc_config config = {.kernel = &fault.kernel,
                                 .no_stall_report = true,
                                 .ring_entries = entries,
                                 .completion_entries = completions};
    CHECK_EQ(run_shard(&config, main, NULL), 0);
    fault_kernel_check_clean(&fault);
}

TEST(silent, success_leaves_nothing)
{
    run(succeeds, 0, 0);
}

TEST(silent, failure_completes_once)
{
    run(fails, 0, 0);
    run(fails, 4, 8); /* and when the completions do not fit */
}

TEST(silent, a_short_one_says_how_much_went)
{
    run(falls_short, 0, 0);
}

TEST(silent, one_op_serves_for_many)
{
    run(again_and_again, 0, 0);
    run(again_and_again, 4, 8);
}
