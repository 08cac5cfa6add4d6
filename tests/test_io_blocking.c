/* SPDX-License-Identifier: MIT
 *
 * The blocking pool, run by torc_run. Jobs are held and let go by semaphores, so nothing depends on time but deadlines.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "core/time.h"
#include "io/blocking.h"
#include "io/blocking_internal.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

/* Alone where calls are counted: the shards' own threads are started by the same call. */
static int run(unsigned threads, torc_task_fn *main, void *arg)
{
    struct torc_config config = {
        .kernel = &fault.kernel, .blocking_threads = threads, .no_stall_report = true};
    return fault.fail_kinds ? run_alone(&config, main, arg) : run_shard(&config, main, arg);
}

static void setup(void)
{
    fault_kernel_init(&fault);
}

/* ---- one job ---- */

static int answer(void *arg)
{
    return *(int *)arg;
}

static int call_answer(void *arg)
{
    return torc_blocking(answer, arg);
}

TEST(blocking, returns_what_the_job_returns)
{
    setup();
    int good = 42, bad = -EIO;
    CHECK_EQ(run(0, call_answer, &good), 42);
    CHECK_EQ(run(0, call_answer, &bad), -EIO);
    fault_kernel_check_clean(&fault);
}

static int never_called(void *arg)
{
    (void)arg;
    return 7;
}

TEST(blocking, starts_nothing_before_the_first_job)
{
    setup();
    fault.fail_kinds = FAULT_THREAD;
    fault.fail_nth = LONG_MAX;
    CHECK_EQ(run(0, never_called, NULL), 7);
    CHECK_EQ(fault.calls, 0);
    int good = 42;
    CHECK_EQ(run(0, call_answer, &good), 42);
    CHECK_EQ(fault.calls, 1);
}

/* A job that tells when it has begun and waits to be let go. */
struct held {
    sem_t let_go;
    bool began; /* atomic */
    int ran;    /* by the job alone */
    int result; /* of the call */
};

static void held_init(struct held *held)
{
    memset(held, 0, sizeof *held);
    sem_init(&held->let_go, 0, 0);
}

static int hold(void *arg)
{
    struct held *held = arg;
    held->ran++;
    __atomic_store_n(&held->began, true, __ATOMIC_RELEASE); /* pairs with held_wait */
    while (sem_wait(&held->let_go))
        ;
    return 5;
}

static int call_hold(void *arg)
{
    struct held *held = arg;
    held->result = torc_blocking(hold, held);
    return 0;
}

/* The executor goes on while the job runs, or this would never end. */
static void held_wait(struct held *held)
{
    while (!__atomic_load_n(&held->began, __ATOMIC_ACQUIRE)) /* pairs with hold */
        torc_yield();
}

static int executor_goes_on(void *arg)
{
    struct held *held = arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, call_hold, held), 0);
    held_wait(held);
    sem_post(&held->let_go);
    return torc_scope_join(&scope);
}

TEST(blocking, the_executor_goes_on_meanwhile)
{
    setup();
    struct held held;
    held_init(&held);
    CHECK_EQ(run(0, executor_goes_on, &held), 0);
    CHECK_EQ(held.result, 5);
}

/* ---- many jobs ---- */

enum { JOBS = 100 };

struct crowd {
    pthread_barrier_t four;
    unsigned jobs_begun, inside, inside_most, finished; /* atomic, counters only: RELAXED */
    unsigned ran[JOBS];                                 /* each by its job alone */
};
static struct crowd crowd;

static int crowd_job(void *arg)
{
    unsigned *ran = arg;
    unsigned inside = __atomic_add_fetch(&crowd.inside, 1, __ATOMIC_RELAXED);
    unsigned most = __atomic_load_n(&crowd.inside_most, __ATOMIC_RELAXED);
    while (inside > most && !__atomic_compare_exchange_n(&crowd.inside_most, &most, inside, false,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    ++*ran;
    /* The first four meet: they are on four threads at the same time. */
    if (__atomic_fetch_add(&crowd.jobs_begun, 1, __ATOMIC_RELAXED) < 4)
        pthread_barrier_wait(&crowd.four);
    __atomic_fetch_sub(&crowd.inside, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&crowd.finished, 1, __ATOMIC_RELAXED);
    return (int)(ran - crowd.ran);
}

static int crowd_task(void *arg)
{
    unsigned *ran = arg;
    CHECK_EQ(torc_blocking(crowd_job, ran), ran - crowd.ran);
    return 0;
}

static int crowd_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    int err = 0;
    for (int i = 0; i < JOBS && !err; i++)
        err = torc_spawn(&scope, crowd_task, &crowd.ran[i]);
    int failed = torc_scope_join(&scope);
    return err ? err : failed;
}

TEST(blocking, a_hundred_jobs_share_four_threads)
{
    setup();
    fault.fail_kinds = FAULT_THREAD; /* counted only */
    fault.fail_nth = LONG_MAX;
    pthread_barrier_init(&crowd.four, NULL, 4);
    CHECK_EQ(run(4, crowd_main, NULL), 0);
    CHECK_EQ(crowd.finished, JOBS);
    CHECK_EQ(crowd.inside_most, 4);
    CHECK_EQ(fault.calls, 4);
    for (int i = 0; i < JOBS; i++)
        CHECK_EQ(crowd.ran[i], 1);
    fault_kernel_check_clean(&fault);
}

/* Two jobs at the same time, both ended, and again. */
static int two_at_a_time(void *arg)
{
    (void)arg;
    for (int round = 0; round < 4; round++) {
        struct held held[2];
        struct torc_scope scope;
        torc_scope_init(&scope);
        for (int i = 0; i < 2; i++) {
            held_init(&held[i]);
            CHECK_EQ(torc_spawn(&scope, call_hold, &held[i]), 0);
        }
        for (int i = 0; i < 2; i++)
            held_wait(&held[i]);
        for (int i = 0; i < 2; i++)
            sem_post(&held[i].let_go);
        CHECK_EQ(torc_scope_join(&scope), 0);
    }
    return 0;
}

TEST(blocking, idle_threads_are_used_again)
{
    setup();
    fault.fail_kinds = FAULT_THREAD;
    fault.fail_nth = LONG_MAX;
    CHECK_EQ(run(3, two_at_a_time, NULL), 0);
    CHECK_EQ(fault.calls, 2);
}

static int order[8], order_count;

static int note_order(void *arg)
{
    order[order_count++] = *(int *)arg;
    return 0;
}

static int call_note_order(void *arg)
{
    return torc_blocking(note_order, arg);
}

static int order_main(void *arg)
{
    (void)arg;
    static int numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(torc_spawn(&scope, call_note_order, &numbers[i]), 0);
    return torc_scope_join(&scope);
}

TEST(blocking, jobs_wait_in_turn)
{
    setup();
    CHECK_EQ(run(1, order_main, NULL), 0);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(order[i], i);
}

/* ---- threads that can't be started ---- */

TEST(blocking, without_any_thread_the_call_fails)
{
    setup();
    fault.fail_kinds = FAULT_THREAD;
    fault.fail_nth = 0;
    fault.fail_after = true;
    int good = 42;
    CHECK_EQ(run(0, call_answer, &good), -EAGAIN);
    CHECK(fault.failed);
    fault_kernel_check_clean(&fault);
}

TEST(blocking, one_thread_does_the_work_of_those_that_could_not_start)
{
    setup();
    fault.fail_kinds = FAULT_THREAD;
    fault.fail_nth = 1;
    fault.fail_after = true;
    crowd.jobs_begun = 4; /* nobody meets: there is one thread */
    CHECK_EQ(run(4, crowd_main, NULL), 0);
    CHECK(fault.failed);
    CHECK_EQ(crowd.finished, JOBS);
    CHECK_EQ(crowd.inside_most, 1);
}

static int twice(void *arg)
{
    CHECK_EQ(torc_blocking(answer, arg), -EAGAIN);
    return torc_blocking(answer, arg);
}

TEST(blocking, a_later_job_tries_again)
{
    setup();
    fault.fail_kinds = FAULT_THREAD;
    fault.fail_nth = 0;
    int good = 42;
    CHECK_EQ(run(0, twice, &good), 42);
}

/* ---- interruptions ---- */

struct pair {
    struct held first, second;
    uint64_t deadline_ns;
    int left; /* torc_deadline_leave */
};

static int call_second(void *arg)
{
    struct pair *pair = arg;
    struct torc_deadline deadline;
    if (pair->deadline_ns)
        torc_deadline_enter(&deadline, pair->deadline_ns);
    call_hold(&pair->second);
    if (pair->deadline_ns)
        pair->left = torc_deadline_leave(&deadline);
    return 0;
}

/* The second job waits for the only thread until it is interrupted; then the first is let go. */
static int interrupt_queued(void *arg)
{
    struct pair *pair = arg;
    struct torc_scope scope;
    struct torc_task task;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, call_hold, &pair->first), 0);
    held_wait(&pair->first);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, call_second, pair),
             0);
    for (int i = 0; i < 3; i++)
        torc_yield();
    CHECK(!torc_task_is_done(&task));
    if (!pair->deadline_ns)
        torc_task_cancel(&task);
    CHECK_EQ(torc_task_join(&task), 0);
    CHECK_EQ(pair->first.result, 0); /* it still runs */
    sem_post(&pair->first.let_go);
    return torc_scope_join(&scope);
}

TEST(blocking, a_job_that_waits_can_be_cancelled)
{
    setup();
    struct pair pair = {0};
    held_init(&pair.first);
    held_init(&pair.second);
    CHECK_EQ(run(1, interrupt_queued, &pair), 0);
    CHECK_EQ(pair.second.result, -ECANCELED);
    CHECK_EQ(pair.second.ran, 0);
    CHECK_EQ(pair.first.result, 5);
}

TEST(blocking, a_job_that_waits_ends_with_its_deadline)
{
    setup();
    struct pair pair = {.deadline_ns = 2 * TORC_MS};
    held_init(&pair.first);
    held_init(&pair.second);
    CHECK_EQ(run(1, interrupt_queued, &pair), 0);
    CHECK_EQ(pair.second.result, -ETIMEDOUT);
    CHECK_EQ(pair.left, true);
    CHECK_EQ(pair.second.ran, 0);
    CHECK_EQ(pair.first.result, 5);
}

/* The job runs; its caller is interrupted, and waits all the same. */
static int interrupt_running(void *arg)
{
    struct pair *pair = arg;
    struct torc_scope scope;
    struct torc_task task;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, call_second, pair),
             0);
    held_wait(&pair->second);
    if (pair->deadline_ns)
        CHECK_EQ(torc_sleep(2 * pair->deadline_ns), 0);
    else
        torc_task_cancel(&task);
    for (int i = 0; i < 3; i++)
        torc_yield();
    CHECK(!torc_task_is_done(&task));
    sem_post(&pair->second.let_go);
    return torc_scope_join(&scope);
}

TEST(blocking, a_job_that_runs_is_waited_for_despite_a_deadline)
{
    setup();
    struct pair pair = {.deadline_ns = 2 * TORC_MS};
    held_init(&pair.second);
    CHECK_EQ(run(0, interrupt_running, &pair), 0);
    CHECK_EQ(pair.second.result, 5);
    CHECK_EQ(pair.left, true);
}

TEST(blocking, a_job_that_runs_is_waited_for_despite_a_cancel)
{
    setup();
    struct pair pair = {0};
    held_init(&pair.second);
    CHECK_EQ(run(0, interrupt_running, &pair), 0);
    CHECK_EQ(pair.second.result, 5);
}

static int call_cancelled(void *arg)
{
    struct held *held = arg;
    held->result = torc_blocking(hold, held);
    return held->result;
}

static int spawn_cancelled(void *arg)
{
    struct torc_scope scope;
    struct torc_task task;
    torc_scope_init(&scope);
    CHECK_EQ(
        torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, call_cancelled, arg),
        0);
    torc_task_cancel(&task); /* before it runs */
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    return 0;
}

TEST(blocking, a_cancelled_task_starts_no_job)
{
    setup();
    struct held held;
    held_init(&held);
    CHECK_EQ(run(0, spawn_cancelled, &held), 0);
    CHECK_EQ(held.result, -ECANCELED);
    CHECK_EQ(held.ran, 0);
}

/* ---- everything fails once, and many at a time ---- */

static int sweep_main(void *arg)
{
    int result = torc_blocking(answer, arg);
    if (result < 0)
        return result;
    struct torc_scope scope;
    torc_scope_init(&scope);
    crowd.jobs_begun = 4; /* nobody meets */
    int err = 0, spawned = 0;
    while (spawned < JOBS && !err) {
        err = torc_spawn(&scope, crowd_task, &crowd.ran[spawned]);
        spawned += !err;
    }
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(crowd.finished, spawned);
    return err;
}

TEST(blocking, survives_any_call_failing)
{
    int good = 42;
    for (long n = 0;; n++) {
        setup();
        fault.fail_kinds = FAULT_ALLOC | FAULT_THREAD | FAULT_CALL;
        fault.fail_nth = n;
        memset(&crowd, 0, sizeof crowd);
        int result = run(4, sweep_main, &good);
        CHECK(result == 0 || fault.failed);
        fault_kernel_check_clean(&fault);
        if (!fault.failed)
            break;
        CHECK(n < 1000);
    }
}

enum { STORM_TASKS = 64, STORM_ROUNDS = 40 };

struct stormy {
    struct torc_task task;
    unsigned ran, calls, refused;
};
static struct stormy storm[STORM_TASKS];

static int storm_job(void *arg)
{
    struct stormy *mine = arg;
    mine->ran++;
    return 0;
}

static int storm_task(void *arg)
{
    struct stormy *mine = arg;
    for (int i = 0; i < STORM_ROUNDS; i++) {
        int err = torc_blocking(storm_job, mine);
        mine->calls++;
        if (err == -ECANCELED) {
            mine->refused++;
            break;
        }
        CHECK_EQ(err, 0);
    }
    return 0;
}

static int storm_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < STORM_TASKS; i++)
        CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &storm[i].task},
                                 storm_task, &storm[i]),
                 0);
    for (int i = 0; i < STORM_TASKS / 2; i++) {
        torc_yield();
        torc_task_cancel(&storm[2 * i].task);
    }
    return torc_scope_join(&scope);
}

TEST(blocking, each_job_runs_once_or_is_refused)
{
    setup();
    CHECK_EQ(run(3, storm_main, NULL), 0);
    for (int i = 0; i < STORM_TASKS; i++) {
        CHECK_EQ(storm[i].ran + storm[i].refused, storm[i].calls);
        if (i % 2)
            CHECK_EQ(storm[i].ran, STORM_ROUNDS);
    }
    fault_kernel_check_clean(&fault);
}

/* ---- jobs without a task ---- */

struct embedded {
    struct torci_job job;
    struct held held;
    int done; /* how often */
    int result;
};

static void embedded_done(struct torci_job *job)
{
    struct embedded *embedded = TORC_CONTAINER_OF(job, struct embedded, job);
    embedded->done++;
    embedded->result = job->result;
}

static int start_embedded(struct embedded *embedded)
{
    held_init(&embedded->held);
    return torci_job_start(&embedded->job, hold, &embedded->held, embedded_done);
}

/* Two more than there are threads, so that the last ones wait in the queue, among one that a task waits for. */
static int embedded_main(void *arg)
{
    struct embedded *jobs = arg;
    int good = 42;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(start_embedded(&jobs[i]), 0);
        sem_post(&jobs[i].held.let_go);
    }
    CHECK_EQ(jobs[0].done, 0);
    CHECK_EQ(torc_blocking(answer, &good), 42);
    while (!jobs[2].done)
        torc_yield();
    return 0;
}

TEST(blocking, a_job_without_a_task_tells_when_it_is_done)
{
    setup();
    struct embedded jobs[3] = {0};
    CHECK_EQ(run(1, embedded_main, jobs), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(jobs[i].held.ran, 1);
        CHECK_EQ(jobs[i].done, 1);
        CHECK_EQ(jobs[i].result, 5);
    }
    CHECK_EQ(fault.lines, 0); /* nothing was waited for */
    fault_kernel_check_clean(&fault);
}

static int leave_embedded(void *arg)
{
    struct embedded *jobs = arg;
    CHECK_EQ(start_embedded(&jobs[0]), 0);
    held_wait(&jobs[0].held);
    return start_embedded(&jobs[1]);
}

static void *let_go_when_told(void *arg)
{
    struct embedded *job = arg;
    while (!__atomic_load_n(&fault.lines, __ATOMIC_RELAXED))
        sched_yield();
    sem_post(&job->held.let_go);
    return NULL;
}

TEST(blocking, the_end_waits_for_the_jobs_that_run_and_for_no_others)
{
    setup();
    struct embedded jobs[2] = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, let_go_when_told, &jobs[0]);
    CHECK_EQ(run(1, leave_embedded, jobs), 0);
    pthread_join(thread, NULL);
    CHECK(fault_kernel_said(&fault, "waiting for the end of 1 job of the blocking pool"));
    CHECK_EQ(jobs[0].held.ran, 1);
    CHECK_EQ(jobs[1].held.ran, 0);
    CHECK_EQ(jobs[0].done + jobs[1].done, 0);
    fault_kernel_check_clean(&fault);
}

static int start_refused(void *arg)
{
    struct embedded *job = arg;
    return start_embedded(job);
}

TEST(blocking, a_job_without_a_task_needs_a_thread_too)
{
    setup();
    fault.fail_kinds = FAULT_THREAD;
    fault.fail_nth = 0;
    fault.fail_after = true;
    struct embedded job = {0};
    CHECK_EQ(run(0, start_refused, &job), -EAGAIN);
    CHECK_EQ(job.done, 0);
    CHECK_EQ(job.held.ran, 0);
}
