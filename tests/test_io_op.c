/* SPDX-License-Identifier: MIT
 *
 * Operations on the real ring: both forms, full queues, interruptions. What needs an exact order of completions is in
 * test_io_script.c and test_io_interrupt.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "io/blocking.h"
#include "io/io_internal.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;
static struct torc_config config;

static void setup(void)
{
    fault_kernel_init(&fault);
    config = (struct torc_config){.kernel = &fault.kernel, .no_stall_report = true};
}

/* Alone on a kernel that the test has changed: it has one script for all rings. */
static int run(torc_task_fn *main, void *arg)
{
    bool alone = fault.kernel.ring_enter != fault_ring_enter;
    int result = (alone ? run_alone : run_shard)(&config, main, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

/* ---- the two forms ---- */

TEST(op, all_forms_work)
{
    setup();
    CHECK_EQ(run(ring_ops_all, NULL), 42);
}

TEST(op, all_forms_work_on_tiny_queues)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
}

TEST(op, all_forms_work_while_spinning)
{
    setup();
    config.spin_ns = 200 * TORC_US;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
}

TEST(op, all_forms_work_with_short_sleeps)
{
    setup();
    config.park_ns = 20 * TORC_US;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
}

static int nop_embedded(void *arg)
{
    (void)arg;
    static struct ring_op ops[20];
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(ring_op_nop(&ops[i], 0), 0);
        for (int k = 0; k <= i; k++)
            CHECK_EQ(ops[k].ran,
                     0); /* not inside a start, although the queue of 4 has been submitted */
    }
    ring_op_wait(&ops[19], 1);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(ops[i].ran, 1);
        CHECK_EQ(ops[i].order, ops[0].order + (unsigned)i);
    }
    return 0;
}

TEST(op, completions_never_run_inside_a_start)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    CHECK_EQ(run(nop_embedded, NULL), 0);
}

static int two_from_a_task(void *arg)
{
    (void)arg;
    int ends[2];
    char byte = 0;
    struct torc_op slow, quick;
    struct io_uring_sqe *sqe;
    ring_pipe(ends);
    CHECK_EQ(torc_op_reserve(2), 0);
    CHECK_EQ(torc_op_begin(&slow, &sqe), 0);
    io_uring_prep_write(sqe, ends[1], "a", 1, (uint64_t)-1);
    sqe->flags |= IOSQE_IO_LINK;
    CHECK_EQ(torc_op_begin(&quick, &sqe), 0);
    io_uring_prep_read(sqe, ends[0], &byte, 1, (uint64_t)-1);
    CHECK_EQ(torc_op_wait(&quick), 1); /* the other has completed before anybody waited for it */
    CHECK_EQ(torc_op_wait(&slow), 1);
    CHECK_EQ(byte, 'a');
    ring_pipe_close(ends);
    return 0;
}

TEST(op, a_task_can_wait_for_a_chain_in_any_order)
{
    setup();
    CHECK_EQ(run(two_from_a_task, NULL), 0);
}

static struct __kernel_timespec every = {.tv_nsec = 50000};
static int ticks_more, ticks_last, ticks_result;

static void tick(struct torc_op *op, int result, uint32_t flags)
{
    (void)op;
    if (flags & IORING_CQE_F_MORE)
        ticks_more++;
    else
        ticks_last++;
    ticks_result = result;
}

static int tick_three_times(void *arg)
{
    (void)arg;
    static struct torc_op op;
    struct io_uring_sqe *sqe;
    CHECK_EQ(torc_op_start(&op, tick, &sqe), 0);
    io_uring_prep_timeout(sqe, &every, 3, 1u << 6); /* IORING_TIMEOUT_MULTISHOT, 6.4 */
    for (int i = 0; i < 100000 && !ticks_last; i++)
        CHECK_EQ(torc_sleep(50 * TORC_US), 0);
    CHECK_EQ(ticks_last, 1);
    if (ticks_result == -EINVAL)
        return 77;
    CHECK_EQ(ticks_result, -ETIME);
    CHECK_EQ(ticks_more, 2);
    return 0;
}

TEST(op, a_multishot_timeout_ticks_and_ends)
{
    setup();
    int result = run(tick_three_times, NULL);
    if (result == 77)
        TEST_SKIP("multishot timeouts need Linux 6.4");
    CHECK_EQ(result, 0);
}

/* ---- a kernel in a bad mood ---- */

enum { MOODY_ENTERS = 20000 };

/* Of every eight enters some fail, some take one entry only. */
static struct {
    unsigned calls;
    int err; /* a negative errno; 0: partial submits alone */
} moody;

static int moody_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                       unsigned flags, const void *arg, size_t size)
{
    unsigned mood = moody.calls++ < MOODY_ENTERS ? moody.calls % 8 : 1;
    if (moody.err && (mood & 1) == 0)
        return moody.err;
    if (to_submit > 1 && mood % 3 == 0) {
        /* the kernel stops in the middle and does not wait then */
        to_submit = 1 + moody.calls % (to_submit - 1);
        min_complete = 0;
        if (flags & IORING_ENTER_EXT_ARG) {
            flags &= ~IORING_ENTER_EXT_ARG;
            arg = NULL;
            size = 0;
        }
    }
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

enum { CROWD = 100, CROWD_ROUNDS = 30 };

struct couple {
    int ends[2];
    unsigned sent, received;
};
static struct couple couples[CROWD / 4];

static int send_all(void *arg)
{
    struct couple *couple = arg;
    for (unsigned i = 0; i < CROWD_ROUNDS; i++) {
        CHECK_EQ(ring_write(couple->ends[1], &i, sizeof i, (uint64_t)-1), sizeof i);
        couple->sent++;
    }
    return 0;
}

static int receive_all(void *arg)
{
    struct couple *couple = arg;
    for (unsigned i = 0, got; i < CROWD_ROUNDS; i++) {
        CHECK_EQ(ring_read(couple->ends[0], &got, sizeof got, (uint64_t)-1), sizeof got);
        CHECK_EQ(got, i);
        couple->received++;
    }
    return 0;
}

static int nop_and_time_out(void *arg)
{
    (void)arg;
    for (int i = 0; i < CROWD_ROUNDS; i++) {
        CHECK_EQ(ring_nop(), 0);
        CHECK_EQ(ring_timeout(1000), -ETIME);
    }
    return 0;
}

static int crowd_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    memset(couples, 0, sizeof couples);
    for (int i = 0; i < CROWD / 4; i++) {
        ring_pipe(couples[i].ends);
        CHECK_EQ(torc_spawn(&all, receive_all, &couples[i]), 0);
        CHECK_EQ(torc_spawn(&all, send_all, &couples[i]), 0);
        CHECK_EQ(torc_spawn(&all, nop_and_time_out, NULL), 0);
        CHECK_EQ(torc_spawn(&all, nop_and_time_out, NULL), 0);
    }
    CHECK_EQ(torc_scope_join(&all), 0);
    for (int i = 0; i < CROWD / 4; i++) {
        CHECK_EQ(couples[i].received, CROWD_ROUNDS);
        ring_pipe_close(couples[i].ends);
    }
    return 42;
}

TEST(op, a_hundred_tasks_share_four_entries)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    CHECK_EQ(run(crowd_main, NULL), 42);
}

TEST(op, harmless_errors_of_enter_lose_nothing)
{
    static const int errnos[] = {-EINTR, -EAGAIN, -EBUSY, -ETIME, 0};
    for (int i = 0; i < 5; i++) {
        setup();
        moody.calls = 0;
        moody.err = errnos[i];
        fault.kernel.ring_enter = moody_enter;
        config.ring_entries = i % 2 ? 4 : 64;
        config.completion_entries = i % 2 ? 8 : 64;
        CHECK_EQ(run(crowd_main, NULL), 42);
    }
}

static void on_alarm(int number)
{
    (void)number;
}

TEST(op, a_storm_of_signals_loses_nothing)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    struct sigaction action = {.sa_handler = on_alarm};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event._sigev_un._tid = gettid();
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    struct itimerspec often = {.it_interval = {.tv_nsec = 20000}, .it_value = {.tv_nsec = 20000}};
    CHECK_EQ(timer_settime(timer, 0, &often, NULL), 0);
    /* Nothing here needs a kernel worker: Linux gives up the work when the start of a worker is interrupted three times. */
    for (int i = 0; i < 3; i++)
        CHECK_EQ(run(crowd_main, NULL), 42);
    timer_delete(timer);
}

enum { FLOOD = 4096 };
static struct ring_op flooded[FLOOD];
static unsigned flood_before;

/* Embedded operations, as fast as the queue takes them; nobody reaps in between. */
static int flood(void *arg)
{
    (void)arg;
    flood_before = 0;
    for (int i = 0; i < FLOOD; i++) {
        int err;
        for (unsigned tries = 0; (err = ring_op_nop(&flooded[i], 0)) == -EAGAIN; tries++) {
            CHECK(tries < 1000);
            CHECK_EQ(torc_sleep(0), 0);
        }
        CHECK_EQ(err, 0);
    }
    for (int i = 0; i < FLOOD; i++)
        ring_op_wait(&flooded[i], 1);
    for (int i = 1; i < FLOOD; i++)
        CHECK_EQ(flooded[i].order, flooded[i - 1].order + 1);
    CHECK_EQ(torci_io_this()->ring.in_flight - torci_io_this()->internal_ops, 0);
    return 0;
}

TEST(op, a_flood_through_a_queue_of_eight_arrives_whole)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    config.keep_signals = true;
    CHECK_EQ(run(flood, NULL), 0);
}

/* A multishot that the kernel ends because the completion queue is full: signals and wake-ups arm theirs again. */
static int job_ran;

static int job(void *arg)
{
    (void)arg;
    return ++job_ran;
}

static int flood_and_work(void *arg)
{
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(torc_blocking(job, NULL), i + 1);
        CHECK_EQ(flood(arg), 0);
    }
    kill(getpid(), SIGTERM); /* shard 0 hears it for all */
    int err = torc_sleep(60 * TORC_SEC);
    CHECK(torc_is_shutting_down());
    return err;
}

TEST(op, signals_and_jobs_are_heard_after_floods)
{
    setup();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_DFL);
    config.ring_entries = 4;
    config.completion_entries = 8;
    CHECK_EQ(run(flood_and_work, NULL), -ECANCELED);
}

/* ---- interruptions ---- */

struct reader {
    struct torc_task task;
    int fd, result;
    uint64_t deadline_ns;
    char byte;
};

static int read_pipe(void *arg)
{
    struct reader *reader = arg;
    struct torc_deadline deadline;
    if (reader->deadline_ns)
        torc_deadline_enter(&deadline, reader->deadline_ns);
    reader->result = ring_read(reader->fd, &reader->byte, 1, (uint64_t)-1);
    if (reader->deadline_ns)
        (void)torc_deadline_leave(&deadline);
    return 0;
}

enum { READERS = 64 };
static struct reader readers[READERS];

/* All are cancelled at once, while the queue has four entries. */
static int cancel_many(void *arg)
{
    (void)arg;
    int ends[2];
    struct torc_scope all;
    ring_pipe(ends);
    for (int round = 0; round < 50; round++) {
        torc_scope_init(&all);
        for (int i = 0; i < READERS; i++) {
            readers[i] =
                (struct reader){.fd = ends[0], .deadline_ns = round % 3 == 1 ? 100 * TORC_US : 0};
            CHECK_EQ(torc_spawn_with(&all, &(struct torc_task_options){.task = &readers[i].task},
                                     read_pipe, &readers[i]),
                     0);
        }
        if (round % 2)
            CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        else
            torc_yield();
        if (round % 3 != 1)
            torc_scope_cancel(&all);
        CHECK_EQ(torc_scope_join(&all), 0);
        for (int i = 0; i < READERS; i++)
            CHECK_EQ(readers[i].result, round % 3 == 1 ? -ETIMEDOUT : -ECANCELED);
    }
    CHECK_EQ(ring_write(ends[1], "b", 1, (uint64_t)-1), 1);
    readers[0] = (struct reader){.fd = ends[0]};
    CHECK_EQ(read_pipe(&readers[0]), 0);
    CHECK_EQ(readers[0].result, 1);
    ring_pipe_close(ends);
    return 0;
}

TEST(op, cancels_find_room_in_a_full_queue)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    CHECK_EQ(run(cancel_many, NULL), 0);
    setup();
    moody.calls = 0;
    moody.err = -EBUSY;
    fault.kernel.ring_enter = moody_enter;
    config.ring_entries = 4;
    config.completion_entries = 8;
    CHECK_EQ(run(cancel_many, NULL), 0);
}

/* The data and the cancel arrive in the same turn: whoever wins, the byte is either read or still there. */
static int data_and_cancel(void *arg)
{
    (void)arg;
    int ends[2];
    unsigned won = 0;
    ring_pipe(ends);
    CHECK_EQ(fcntl(ends[0], F_SETFL, 0), 0);
    for (int round = 0; round < 500; round++) {
        struct torc_scope scope;
        struct reader *reader = &readers[0];
        *reader = (struct reader){.fd = ends[0]};
        torc_scope_init(&scope);
        CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &reader->task},
                                 read_pipe, reader),
                 0);
        if (round % 2)
            CHECK_EQ(torc_sleep(0), 0);
        CHECK_EQ(write(ends[1], "c", 1), 1);
        torc_task_cancel(&reader->task);
        CHECK_EQ(torc_scope_join(&scope), 0);
        CHECK(reader->result == 1 || reader->result == -ECANCELED);
        won += reader->result == 1;
        if (reader->result != 1) {
            char byte;
            CHECK_EQ(read(ends[0], &byte, 1), 1);
        }
        int left;
        CHECK_EQ(ioctl(ends[0], FIONREAD, &left), 0);
        CHECK_EQ(left, 0);
    }
    ring_pipe_close(ends);
    return (int)won;
}

TEST(op, a_cancel_and_the_data_in_one_turn_lose_nothing)
{
    setup();
    CHECK(run(data_and_cancel, NULL) >= 0);
}

static int linked_behind(void *arg)
{
    int fd = *(int *)arg;
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_add(sqe, fd, 1);
    return torc_op_wait(&op);
}

/* A task waits for what stands behind a link: the kernel does not find that before the link is done. */
static int cancel_behind_a_link(void *arg)
{
    (void)arg;
    int first[2], second[2];
    struct ring_op head = {.ran = 0};
    struct torc_scope scope;
    ring_pipe(first);
    ring_pipe(second);
    torc_scope_init(&scope);
    CHECK_EQ(torc_op_reserve(2), 0);
    CHECK_EQ(ring_op_poll(&head, first[0], false), 0);
    torci_io_this()
        ->ring.sqes[(torci_io_this()->ring.tail - 1) & torci_io_this()->ring.sq_mask]
        .flags |= IOSQE_IO_LINK;
    CHECK_EQ(torc_spawn(&scope, linked_behind, &second[0]), 0);
    CHECK_EQ(torc_sleep(100 * TORC_US), 0);
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_sleep(100 * TORC_US), 0); /* the cancel finds nothing */
    CHECK_EQ(head.ran, 0);
    CHECK_EQ(write(first[1], "d", 1), 1); /* and now the poll of the other pipe begins */
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    CHECK_EQ(head.ran, 1);
    ring_pipe_close(first);
    ring_pipe_close(second);
    return 0;
}

TEST(op, an_interruption_reaches_what_stands_behind_a_link)
{
    setup();
    CHECK_EQ(run(cancel_behind_a_link, NULL), 0);
}
