/* SPDX-License-Identifier: MIT
 *
 * Operations on the real ring: both forms, full queues, interruptions, batches, and how the loop sleeps and wakes. What
 * needs an exact order of completions is in test_io_script.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/sanitizer_internal.h"
#include "io/blocking.h"
#include "io/io_internal.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"

static struct fault_kernel fault;
static struct torc_config config;

static void setup(void)
{
    fault_kernel_init(&fault);
    config = (struct torc_config){.kernel = &fault.kernel, .no_stall_report = true};
}

static int run(torc_task_fn *main, void *arg)
{
    int result = torc_run(&config, main, arg);
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
    raise(SIGTERM);
    for (int i = 0; i < 100000 && !torc_is_shutting_down(); i++)
        torc_yield();
    CHECK(torc_is_shutting_down());
    return torc_sleep(TORC_SEC);
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

/* ---- batches ---- */

enum { BATCH = 8 };

struct batch_of_pipes {
    struct torc_batch batch;
    struct ring_op ops[BATCH];
    int ends[2];
    char bytes[BATCH];
    int got;
};

static void batch_start(struct batch_of_pipes *self)
{
    ring_pipe(self->ends);
    torc_batch_init(&self->batch);
    for (int i = 0; i < BATCH; i++) {
        self->ops[i] = (struct ring_op){.batch = &self->batch};
        CHECK_EQ(ring_op_read(&self->ops[i], self->ends[0], &self->bytes[i], 1, 0), 0);
    }
}

static int batch_wait_all(void *arg)
{
    struct batch_of_pipes *self = arg;
    self->got = torc_batch_wait(&self->batch, 1000); /* more than there are */
    return self->got < 0 ? self->got : 0;
}

static int batch_counts(void *arg)
{
    (void)arg;
    static struct batch_of_pipes one, two;
    struct torc_scope both;
    batch_start(&one);
    batch_start(&two);
    torc_scope_init(&both);
    CHECK_EQ(torc_spawn(&both, batch_wait_all, &one), 0);
    CHECK_EQ(torc_spawn(&both, batch_wait_all, &two), 0);
    for (int i = 0; i < BATCH; i++) {
        CHECK_EQ(torc_sleep(50 * TORC_US), 0);
        CHECK_EQ(write(one.ends[1], "e", 1), 1);
        CHECK_EQ(write(two.ends[1], "e", 1), 1);
    }
    CHECK_EQ(torc_scope_join(&both), 0);
    CHECK_EQ(one.got, BATCH);
    CHECK_EQ(two.got, BATCH);
    CHECK_EQ(torc_batch_wait(&one.batch, 1), 0);
    ring_pipe_close(one.ends);
    ring_pipe_close(two.ends);
    return 0;
}

TEST(op, batches_of_two_tasks_wait_for_their_own)
{
    setup();
    CHECK_EQ(run(batch_counts, NULL), 0);
}

static int batch_in_parts(void *arg)
{
    (void)arg;
    static struct batch_of_pipes one;
    struct torc_deadline deadline;
    batch_start(&one);
    CHECK_EQ(write(one.ends[1], "fff", 3), 3);
    CHECK_EQ(torc_batch_wait(&one.batch, 3), 3);
    CHECK_EQ(write(one.ends[1], "f", 1), 1);
    torc_deadline_enter(&deadline, 100 * TORC_US);
    CHECK_EQ(torc_batch_wait(&one.batch, 5), -ETIMEDOUT); /* a timer, although 5 are wanted */
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(torc_batch_wait(&one.batch, 1), 1); /* not lost */
    CHECK_EQ(write(one.ends[1], "ffff", 4), 4);
    CHECK_EQ(torc_batch_wait(&one.batch, 1000), 4);
    ring_pipe_close(one.ends);
    return 0;
}

TEST(op, a_batch_keeps_count_over_interruptions)
{
    setup();
    CHECK_EQ(run(batch_in_parts, NULL), 0);
}

/* While the executor sleeps for eight completions, other things still wake it. */
static int terminating_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                             unsigned flags, const void *arg, size_t size)
{
    if (min_complete > 1)
        kill(getpid(), SIGTERM);
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

static int batch_and_signal(void *arg)
{
    (void)arg;
    static struct batch_of_pipes one;
    batch_start(&one);
    int result = torc_batch_wait(&one.batch, BATCH);
    ring_pipe_close(one.ends);
    return result;
}

TEST(op, a_signal_is_not_held_up_by_a_batch)
{
    setup();
    signal(SIGTERM, SIG_DFL);
    fault.kernel.ring_enter = terminating_enter;
    CHECK_EQ(run(batch_and_signal, NULL), -ECANCELED);
}

static int sleep_in_job(void *arg)
{
    return sem_wait(arg);
}

static int call_job(void *arg)
{
    CHECK_EQ(torc_blocking(sleep_in_job, arg), 0);
    return 7;
}

static void *post_later(void *arg)
{
    usleep(3000); /* so that the executor sleeps by then; it must wake in any case */
    sem_post(arg);
    return NULL;
}

static int batch_and_job(void *arg)
{
    static struct batch_of_pipes one;
    pthread_t thread;
    struct torc_scope scope;
    struct torc_task task;
    batch_start(&one);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, call_job, arg), 0);
    struct torc_scope waiter;
    torc_scope_init(&waiter);
    CHECK_EQ(torc_spawn(&waiter, batch_wait_all, &one), 0);
    CHECK_EQ(pthread_create(&thread, NULL, post_later, arg), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(torc_task_join(&task), 7);
    pthread_join(thread, NULL);
    torc_scope_cancel(&waiter);
    CHECK_EQ(torc_scope_join(&waiter), -ECANCELED);
    ring_pipe_close(one.ends);
    return 0;
}

TEST(op, a_finished_job_is_not_held_up_by_a_batch)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    CHECK_EQ(run(batch_and_job, &posted), 0);
}

/* ---- sleeping and waking ---- */

static int yield_until_asked(void *arg)
{
    struct reader *reader = &readers[0];
    struct torc_scope scope;
    int ends[2];
    (void)arg;
    ring_pipe(ends);
    *reader = (struct reader){.fd = ends[0]};
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, read_pipe, reader), 0);
    CHECK_EQ(torc_sleep(100 * TORC_US), 0);
    CHECK(!torc_should_yield());
    CHECK_EQ(write(ends[1], "g", 1), 1);
    CHECK(torc_should_yield()); /* the kernel has flagged work: at once, the quota is a minute */
    torc_yield();
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(reader->result, 1);
    ring_pipe_close(ends);
    return torci_io_this()->ring.rung;
}

TEST(op, should_yield_sees_the_kernels_flags)
{
    setup();
    config.quota_ns = 60 * TORC_SEC;
    if (run(yield_until_asked, NULL) == 3)
        TEST_SKIP("this kernel has no task-work flag");
}

enum { WAKES = 2000 };

static int count_up(void *arg)
{
    unsigned *count = arg;
    /* now and then the job takes longer than the executor needs to fall asleep */
    for (unsigned i = 0; i < *count % 64 * 50; i++)
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    ++*count;
    return 0;
}

static int wake_often(void *arg)
{
    (void)arg;
    unsigned count = 0;
    for (unsigned i = 0; i < WAKES; i++) {
        CHECK_EQ(torc_blocking(count_up, &count), 0);
        CHECK_EQ(count, i + 1);
    }
    return 0;
}

/* Each job's end must wake the executor, whether it sleeps, is about to, or spins: one that is missed is a hang. */
TEST(op, another_thread_wakes_the_sleeper_every_time)
{
    for (int i = 0; i < 3; i++) {
        setup();
        config.keep_signals = true;
        config.ring_entries = i == 1 ? 4 : 64;
        config.spin_ns = i == 2 ? 5 * TORC_US : 0;
        CHECK_EQ(run(wake_often, NULL), 0);
    }
}

/* The queue is full, and the kernel refuses it while the poll for wake-ups is to be armed. */
static unsigned refusals;

static int refusing_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                          unsigned flags, const void *arg, size_t size)
{
    if (refusals) {
        refusals--;
        return -EBUSY;
    }
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

static int fill_and_call(void *arg)
{
    int ends[2];
    struct ring_op polls[4] = {0};
    pthread_t thread;
    ring_pipe(ends);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(ring_op_poll(&polls[i], ends[0], false), 0);
    CHECK_EQ(pthread_create(&thread, NULL, post_later, arg), 0);
    refusals = 1;
    CHECK_EQ(call_job(arg), 7);
    CHECK_EQ(refusals, 0);
    pthread_join(thread, NULL);
    CHECK_EQ(write(ends[1], "h", 1), 1);
    for (int i = 0; i < 4; i++)
        ring_op_wait(&polls[i], 1);
    ring_pipe_close(ends);
    return 0;
}

TEST(op, wake_ups_are_heard_though_the_queue_was_full)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    config.ring_entries = 4;
    config.keep_signals = true;
    fault.kernel.ring_enter = refusing_enter;
    CHECK_EQ(run(fill_and_call, &posted), 0);
}

static int job_after_the_poll_ended(void *arg)
{
    pthread_t thread;
    CHECK_EQ(torc_blocking(job, NULL), job_ran);
    CHECK_EQ(torc_op_cancel(&torci_io_this()->wake.op), 0);
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK_EQ(pthread_create(&thread, NULL, post_later, arg), 0);
    CHECK_EQ(call_job(arg), 7);
    pthread_join(thread, NULL);
    return 0;
}

/* The kernel may end a multishot at any time: a full completion queue is enough. */
TEST(op, wake_ups_are_heard_after_their_poll_has_ended)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    config.keep_signals = true;
    CHECK_EQ(run(job_after_the_poll_ended, &posted), 0);
}

static torc_op_fn *watch_done;

static void end_without_error(struct torc_op *op, int result, uint32_t flags)
{
    CHECK_EQ(result, -ECANCELED);
    watch_done(op, POLLIN, flags);
}

static int signal_after_the_poll_ended(void *arg)
{
    (void)arg;
    struct torc_op *op = &torci_io_this()->signals.op;
    watch_done = op->done;
    op->done = end_without_error;
    CHECK_EQ(torc_op_cancel(op), 0);
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK(op->done == watch_done);
    raise(SIGTERM);
    return torc_sleep(60 * TORC_SEC);
}

TEST(op, signals_are_heard_after_their_poll_has_ended)
{
    setup();
    signal(SIGTERM, SIG_DFL);
    CHECK_EQ(run(signal_after_the_poll_ended, NULL), -ECANCELED);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

static int sleep_long(void *arg)
{
    uint64_t *enters = arg;
    CHECK_EQ(torc_blocking(job, NULL), job_ran); /* so that wake-ups are armed, too */
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    uint64_t before = fault.enters, cpu = cpu_ns();
    CHECK_EQ(torc_sleep(200 * TORC_MS), 0);
    *enters = fault.enters - before;
    CHECK(cpu_ns() - cpu < 100 * TORC_MS);
    return 0;
}

TEST(op, a_sleeping_executor_enters_the_kernel_once)
{
    uint64_t enters;
    setup();
    CHECK_EQ(run(sleep_long, &enters), 0);
    CHECK(enters <= 3);
    setup();
    config.spin_ns = TORC_MS; /* looks at memory for that long, then sleeps, too */
    CHECK_EQ(run(sleep_long, &enters), 0);
    CHECK(enters <= 3);
    setup();
    config.park_ns = 10 * TORC_MS;
    CHECK_EQ(run(sleep_long, &enters), 0);
    CHECK(enters >= 10 && enters <= 23);
}

/* ---- the end ---- */

static struct ring_op forgotten[300];
static int forgotten_ends[2];

static int forget_many(void *arg)
{
    (void)arg;
    ring_pipe(forgotten_ends);
    for (int i = 0; i < 300; i++)
        CHECK_EQ(i % 3 == 0   ? ring_op_poll(&forgotten[i], forgotten_ends[0], i % 2)
                 : i % 3 == 1 ? ring_op_read(&forgotten[i], forgotten_ends[0], &readers[0].byte, 1,
                                             i % 2 ? IOSQE_ASYNC : 0)
                              : ring_op_nop(&forgotten[i], 0),
                 0);
    return 42;
}

TEST(op, what_was_forgotten_ends_with_the_run)
{
    for (int i = 0; i < 20; i++) {
        setup();
        config.ring_entries = i % 2 ? 4 : 512;
        config.completion_entries = i % 2 ? 8 : 512;
        CHECK_EQ(run(forget_many, NULL), 42);
        for (int k = 0; k < 300; k++) {
            CHECK_EQ(forgotten[k].ran, 1);
            CHECK_EQ(forgotten[k].result, k % 3 == 2 ? 0 : forgotten[k].result);
            CHECK(k % 3 == 2 || forgotten[k].result == -ECANCELED || forgotten[k].result == -EINTR);
        }
        ring_pipe_close(forgotten_ends);
    }
}

/* ---- the polled ring ---- */

/* There may be no device with poll queues here: the second ring is made an ordinary one, which completes all the same
 * when it is asked. */
static int setup_without_iopoll(void *context, unsigned entries, struct io_uring_params *params)
{
    params->flags &= ~IORING_SETUP_IOPOLL;
    return fault_ring_setup(context, entries, params);
}

static int nop_polled(void *arg)
{
    struct torci_ring *ring = arg;
    for (int i = 0; i < 10; i++) {
        struct torc_op op;
        struct io_uring_sqe *sqe;
        CHECK_EQ(torci_op_begin_on(ring, &op, &sqe), 0);
        io_uring_prep_nop(sqe);
        CHECK_EQ(torc_op_wait(&op), 0);
    }
    return 0;
}

static int use_polled_ring(void *arg)
{
    static struct ring_op lone;
    static struct __kernel_timespec after = {.tv_nsec = 1000000};
    struct torci_ring *ring = torci_io_poll_ring(torci_io_this());
    struct torc_scope all;
    struct torc_deadline deadline;
    struct torc_op op;
    struct io_uring_sqe *sqe;
    (void)arg;
    CHECK(ring != NULL && ring == torci_io_poll_ring(torci_io_this()));
    torc_scope_init(&all);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(torc_spawn(&all, nop_polled, ring), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK_EQ(ring->in_flight, 0);
    /* it can't be cancelled: it is waited for, and other tasks' timers go on meanwhile */
    torc_deadline_enter(&deadline, 100 * TORC_US);
    CHECK_EQ(torci_op_begin_on(ring, &op, &sqe), 0);
    io_uring_prep_timeout(sqe, &after, 0, 0);
    CHECK_EQ(torc_op_wait(&op), -ETIME);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(torci_op_start_on(ring, &lone.op, ring_op_done, &sqe), 0);
    io_uring_prep_timeout(sqe, &after, 0, 0);
    return 42; /* the last one ends with the run */
}

TEST(op, the_polled_ring_is_asked_until_its_operations_have_ended)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    fault.kernel.ring_setup = setup_without_iopoll;
    CHECK_EQ(run(use_polled_ring, NULL), 42);
}

static int refuse_polled_ring(void *arg)
{
    (void)arg;
    fault.setup_errno = ENOMEM;
    CHECK(torci_io_poll_ring(torci_io_this()) == NULL);
    fault.setup_errno = 0;
    CHECK(torci_io_poll_ring(torci_io_this()) == NULL); /* asked once */
    return ring_ops_all(NULL);
}

TEST(op, without_a_polled_ring_there_is_none)
{
    setup();
    CHECK_EQ(run(refuse_polled_ring, NULL), 42);
}

/* ---- buffers in flight ---- */

#ifdef TORCI_ASAN

static int touch_in_flight(void *arg)
{
    static struct ring_op op;
    char *memory = malloc(64); /* the compiler trusts its own arrays and does not look */
    int ends[2];
    ring_pipe(ends);
    CHECK(memory != NULL);
    CHECK_EQ(ring_op_read(&op, ends[0], memory, 64, 0), 0);
    memory[5] = 1; /* still ours: not submitted */
    CHECK_EQ(torc_sleep(0), 0);
    if (arg)
        memory[5] = 2;
    CHECK_EQ(write(ends[1], "i", 1), 1);
    ring_op_wait(&op, 1);
    memory[5] = 3;
    free(memory);
    ring_pipe_close(ends);
    return 42;
}

TEST(op, a_buffer_is_the_callers_before_and_after)
{
    setup();
    CHECK_EQ(run(touch_in_flight, NULL), 42);
}

/* The report ends the process with an exit code of its own, so it is tried in a child. */
TEST(op, who_touches_a_buffer_in_flight_is_found)
{
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        setup();
        _exit(run(touch_in_flight, &fault) == 42 ? 0 : 2);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 1);
}

#endif

/* Reads of a few bytes side by side share what the checkers of debug builds can tell apart. */
static int small_neighbours(void *arg)
{
    (void)arg;
    int ends[2];
    static _Alignas(8) char memory[24];
    static struct ring_op ops[6];
    static const unsigned at[] = {4, 0, 8, 11, 13, 16}, size[] = {4, 4, 3, 2, 3, 8};
    ring_pipe(ends);
    for (int order = 0; order < 2; order++) {
        for (int i = 0; i < 6; i++) {
            int k = order ? 5 - i : i;
            CHECK_EQ(ring_op_read(&ops[k], ends[0], memory + at[k], size[k], 0), 0);
        }
        CHECK_EQ(torc_sleep(0), 0);
        CHECK_EQ(write(ends[1], "abcdefghijklmnopqrstuvwx", 24), 24);
        for (int i = 0; i < 6; i++) {
            ring_op_wait(&ops[i], 1);
            CHECK_EQ(ops[i].result, size[i]);
        }
    }
    ring_pipe_close(ends);
    return 0;
}

TEST(op, small_reads_may_be_neighbours)
{
    setup();
    CHECK_EQ(run(small_neighbours, NULL), 0);
}
