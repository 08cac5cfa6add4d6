/* SPDX-License-Identifier: MIT
 *
 * The loop on the real ring: batches, sleeping and waking, the polled ring, the end of a run, and buffers in flight.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/sanitizer_internal.h"
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

static int run(torc_task_fn *main, void *arg)
{
    int result = run_shard(&config, main, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

/* For tests that look at the kernel's calls or the clock, which are those of all shards. */
static int run_watched(torc_task_fn *main, void *arg)
{
    int result = run_alone(&config, main, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

static int job_ran;

static int job(void *arg)
{
    (void)arg;
    return ++job_ran;
}

struct reader {
    int fd, result;
    char byte;
};

static int read_pipe(void *arg)
{
    struct reader *reader = arg;
    reader->result = ring_read(reader->fd, &reader->byte, 1, (uint64_t)-1);
    return 0;
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

TEST(loop, batches_of_two_tasks_wait_for_their_own)
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

TEST(loop, a_batch_keeps_count_over_interruptions)
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

TEST(loop, a_signal_is_not_held_up_by_a_batch)
{
    setup();
    signal(SIGTERM, SIG_DFL);
    fault.kernel.ring_enter = terminating_enter;
    CHECK_EQ(run_watched(batch_and_signal, NULL), -ECANCELED);
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

TEST(loop, a_finished_job_is_not_held_up_by_a_batch)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    CHECK_EQ(run(batch_and_job, &posted), 0);
}

/* ---- sleeping and waking ---- */

static int yield_until_asked(void *arg)
{
    struct reader one, *reader = &one;
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

TEST(loop, should_yield_sees_the_kernels_flags)
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
TEST(loop, another_thread_wakes_the_sleeper_every_time)
{
    for (int i = 0; i < 3; i++) {
        setup();
        config.keep_signals = true;
        config.ring_entries = i == 1 ? 4 : 64;
        config.spin_ns = i == 2 ? 5 * TORC_US : 0;
        CHECK_EQ(run(wake_often, NULL), 0);
    }
}

/* A job that ends after the executor has looked for jobs and before it says that it sleeps: its thread finds nobody to
 * wake. The clock's third look of a turn in which nobody is ready is the one just before that. */
static bool may_end;
static int idle_looks;

static int end_when_allowed(void *arg)
{
    while (!__atomic_load_n(&may_end, __ATOMIC_ACQUIRE))
        usleep(100);
    return *(int *)arg;
}

static uint64_t look_at_the_clock(void *context)
{
    const struct torci_exec *exec = torci_this;
    if (exec && !exec->current && !exec->top.first_runnable && ++idle_looks == 3) {
        __atomic_store_n(&may_end, true, __ATOMIC_RELEASE);
        while (torci_pile_is_empty(&torci_io_this()->blocking.done))
            usleep(100);
        usleep(10000); /* by now the thread has looked whether somebody sleeps */
    }
    return fault_now_ns(context);
}

static int sleep_ten_seconds(void *arg)
{
    (void)arg;
    return torc_sleep(10 * TORC_SEC);
}

static int wait_beside_a_sleeper(void *arg)
{
    struct torc_scope sleepers;
    torc_scope_init(&sleepers);
    CHECK_EQ(torc_spawn(&sleepers, sleep_ten_seconds, NULL), 0);
    torc_yield();
    uint64_t began = torc_now_ns();
    CHECK_EQ(torc_blocking(end_when_allowed, arg), 7);
    CHECK(torc_now_ns() - began < 5 * TORC_SEC);
    torc_scope_cancel(&sleepers);
    CHECK_EQ(torc_scope_join(&sleepers), -ECANCELED);
    return 0;
}

TEST(loop, a_job_that_ends_just_before_the_sleep_ends_it)
{
    int answer = 7;
    setup();
    config.keep_signals = true;
    config.spin_ns = 1;
    fault.kernel.host.tick_mult = 0;
    fault.kernel.host.now_ns = look_at_the_clock;
    CHECK_EQ(run_watched(wait_beside_a_sleeper, &answer), 0);
    CHECK(idle_looks >= 3);
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

TEST(loop, wake_ups_are_heard_though_the_queue_was_full)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    config.ring_entries = 4;
    config.keep_signals = true;
    fault.kernel.ring_enter = refusing_enter;
    CHECK_EQ(run_watched(fill_and_call, &posted), 0);
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
TEST(loop, wake_ups_are_heard_after_their_poll_has_ended)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    config.keep_signals = true;
    CHECK_EQ(run(job_after_the_poll_ended, &posted), 0);
}

static int job_while_the_poll_ends(void *arg)
{
    pthread_t thread;
    CHECK_EQ(torc_blocking(job, NULL), job_ran);
    CHECK_EQ(torc_op_cancel(&torci_io_this()->wake.op), 0);
    CHECK_EQ(pthread_create(&thread, NULL, post_later, arg), 0);
    CHECK_EQ(call_job(arg), 7);
    pthread_join(thread, NULL);
    return 0;
}

/* It is handed over before the executor spins, and ends there: the sleep after it would be deaf. */
TEST(loop, nobody_sleeps_whose_poll_has_just_ended)
{
    setup();
    sem_t posted;
    sem_init(&posted, 0, 0);
    config.keep_signals = true;
    config.spin_ns = 100 * TORC_US;
    CHECK_EQ(run(job_while_the_poll_ends, &posted), 0);
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

TEST(loop, signals_are_heard_after_their_poll_has_ended)
{
    setup();
    signal(SIGTERM, SIG_DFL);
    CHECK_EQ(run_first(&config, signal_after_the_poll_ended, NULL), -ECANCELED);
    fault_kernel_check_clean(&fault);
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

TEST(loop, a_sleeping_executor_enters_the_kernel_once)
{
    uint64_t enters;
    setup();
    CHECK_EQ(run_watched(sleep_long, &enters), 0);
    CHECK(enters <= 3);
    setup();
    config.spin_ns = TORC_MS; /* looks at memory for that long, then sleeps, too */
    CHECK_EQ(run_watched(sleep_long, &enters), 0);
    CHECK(enters <= 3);
    setup();
    config.park_ns = 10 * TORC_MS;
    CHECK_EQ(run_watched(sleep_long, &enters), 0);
    CHECK(enters >= 10 && enters <= 23);
}

/* ---- the end ---- */

static struct ring_op forgotten[300];
static int forgotten_ends[2];
static char forgotten_byte;

static int forget_many(void *arg)
{
    (void)arg;
    ring_pipe(forgotten_ends);
    for (int i = 0; i < 300; i++)
        CHECK_EQ(i % 3 == 0   ? ring_op_poll(&forgotten[i], forgotten_ends[0], i % 2)
                 : i % 3 == 1 ? ring_op_read(&forgotten[i], forgotten_ends[0], &forgotten_byte, 1,
                                             i % 2 ? IOSQE_ASYNC : 0)
                              : ring_op_nop(&forgotten[i], 0),
                 0);
    return 42;
}

TEST(loop, what_was_forgotten_ends_with_the_run)
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

TEST(loop, the_polled_ring_is_asked_until_its_operations_have_ended)
{
    setup();
    config.ring_entries = 4;
    config.completion_entries = 8;
    fault.kernel.ring_setup = setup_without_iopoll;
    CHECK_EQ(run_watched(use_polled_ring, NULL), 42);
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

TEST(loop, without_a_polled_ring_there_is_none)
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

TEST(loop, a_buffer_is_the_callers_before_and_after)
{
    setup();
    CHECK_EQ(run(touch_in_flight, NULL), 42);
}

/* The report ends the process with an exit code of its own, so it is tried in a child. */
TEST(loop, who_touches_a_buffer_in_flight_is_found)
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

TEST(loop, small_reads_may_be_neighbours)
{
    setup();
    CHECK_EQ(run(small_neighbours, NULL), 0);
}
