/* SPDX-License-Identifier: MIT
 *
 * The blocking pool: see blocking_internal.h for who owns what. A job lies on its task's stack and waits in the queue
 * by the task's own wait, so the default interruption takes it out of there; a job that a thread has got can't be taken
 * back, and its wait ignores interruptions. One without a task is embedded in its owner's struct and has a function to
 * be called instead of a task to be woken; it lies in the same queue.
 *
 * Threads are started as jobs find none idle, and stay. They know nothing of the executor but the done stack and its
 * wake-up; which job comes next is decided by the executor, so a job begins one turn of its loop after a thread got
 * free.
 */
#include "io/blocking_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>

#include "io/blocking.h"
#include "io/io_internal.h"

enum worker_state {
    WORKER_EMPTY,
    WORKER_ASLEEP, /* on the state's futex; set by the thread alone */
    WORKER_JOB,
    WORKER_QUIT,
};

struct torci_worker {
    struct torci_io *io;
    struct torci_worker *next_idle;
    struct torci_job *job;
    uintptr_t thread;
    uint32_t state; /* atomic: enum worker_state */
};

/* ---- on a pool thread ---- */

/* Sleeps until the executor has said something: WORKER_JOB or WORKER_QUIT. */
static uint32_t worker_wait(struct torci_worker *worker)
{
    for (;;) {
        uint32_t state = WORKER_EMPTY;
        /* ACQUIRE pairs with the exchange in worker_tell: job is what it wrote before. When nothing was said yet the
         * futex wait below looks once more, so a word between the two is not missed. */
        if (!__atomic_compare_exchange_n(&worker->state, &state, WORKER_ASLEEP, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE) &&
            state != WORKER_ASLEEP)
            return state;
        (void)TORCI_CALL(worker->io->kernel, SYS_futex, (long)&worker->state, FUTEX_WAIT_PRIVATE,
                         WORKER_ASLEEP, 0);
    }
}

static void job_done(struct torci_job *job, struct torci_io *io)
{
    torci_pile_push(&io->blocking.done, &job->in_done);
    /* The job may be gone by now: it is the task's memory. */
    torci_io_wake(io);
}

static void worker_main(void *arg)
{
    struct torci_worker *worker = arg;
    while (worker_wait(worker) == WORKER_JOB) {
        struct torci_job *job = worker->job;
        uint32_t state = WORKER_JOB;
        /* It fails when the executor ends in mid-flight, by a broken ring or with an embedded job that nobody waits for:
         * only then does WORKER_QUIT not wait for the job, and a store would lose it. RELAXED: otherwise the executor
         * speaks again after it has reaped the job, which orders this before. */
        if (!__atomic_compare_exchange_n(&worker->state, &state, WORKER_EMPTY, false,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        job->result = job->fn(job->arg);
        job_done(job, worker->io);
    }
}

/* ---- on the executor's thread ---- */

static void worker_tell(struct torci_worker *worker, uint32_t what)
{
    /* RELEASE pairs with worker_wait; an exchange, to learn whether the thread sleeps */
    if (__atomic_exchange_n(&worker->state, what, __ATOMIC_RELEASE) == WORKER_ASLEEP)
        (void)TORCI_CALL(worker->io->kernel, SYS_futex, (long)&worker->state, FUTEX_WAKE_PRIVATE,
                         INT_MAX);
}

static void worker_set_job(struct torci_worker *worker, struct torci_job *job)
{
    job->worker = worker;
    worker->job = job;
}

/* One more thread, which finds JOB in its mailbox. */
static int worker_start(struct torci_blocking *blocking, struct torci_job *job)
{
    const struct torci_kernel *kernel = blocking->io->kernel;
    struct torci_worker *worker = &blocking->workers[blocking->threads];
    worker->io = blocking->io;
    worker_set_job(worker, job);
    /* RELAXED: starting a thread publishes everything to it */
    __atomic_store_n(&worker->state, WORKER_JOB, __ATOMIC_RELAXED);
    int err = kernel->thread_start(kernel->host.context, worker_main, worker, "torc-blocking",
                                   &worker->thread);
    if (!err)
        blocking->threads++;
    return err;
}

static void job_ignore_interrupt(struct torci_park *park, int reason)
{
    (void)park;
    (void)reason;
}

/* The job goes to a thread: an idle one, or one more if there may be. False: all are busy. */
static bool job_dispatch(struct torci_blocking *blocking, struct torci_job *job)
{
    struct torci_worker *worker = blocking->idle;
    if (worker) {
        blocking->idle = worker->next_idle;
        worker_set_job(worker, job);
        worker_tell(worker, WORKER_JOB);
        return true;
    }
    /* A thread that can't be started is no error of the job as long as there are others; the next job tries again. */
    return blocking->threads < blocking->threads_max && !worker_start(blocking, job);
}

/* To a thread, or into the queue. */
static int job_hand_over(struct torci_blocking *blocking, struct torci_job *job)
{
    if (job_dispatch(blocking, job))
        job->wait.park.interrupt = job_ignore_interrupt;
    else if (blocking->threads)
        torci_list_push_back(&blocking->queue, &job->wait.link);
    else
        return -EAGAIN;
    torci_count(&torci_this->counters->blocking_jobs);
    return 0;
}

int torc_blocking(torc_task_fn *fn, void *arg)
{
    struct torci_blocking *blocking = &torci_io_this()->blocking;
    int err = torci_wait_pending();
    if (!err)
        err = torci_io_wake_prepare(blocking->io);
    if (err)
        return err;
    struct torci_job job = {.fn = fn, .arg = arg};
    torci_wait_init(&job.wait);
    err = job_hand_over(blocking, &job);
    if (err)
        return err;
    return torci_wait_park(&job.wait);
}

int torci_job_start(struct torci_job *job, torc_task_fn *fn, void *arg,
                    void (*done)(struct torci_job *job))
{
    struct torci_blocking *blocking = &torci_io_this()->blocking;
    int err = torci_io_wake_prepare(blocking->io);
    if (err)
        return err;
    *job = (struct torci_job){.fn = fn, .arg = arg, .done = done};
    torci_link_init(&job->wait.link);
    return job_hand_over(blocking, job);
}

/* The thread that has just finished a job takes the oldest that waits, or becomes idle. Last in, first out: the thread
 * that is warm. */
static void worker_next(struct torci_blocking *blocking, struct torci_worker *worker)
{
    struct torci_link *link = torci_list_pop_front(&blocking->queue);
    if (!link) {
        worker->next_idle = blocking->idle;
        blocking->idle = worker;
        return;
    }
    struct torci_job *job = TORC_CONTAINER_OF(link, struct torci_job, wait.link);
    job->wait.park.interrupt = job_ignore_interrupt;
    worker_set_job(worker, job);
    worker_tell(worker, WORKER_JOB);
}

bool torci_blocking_reap(struct torci_blocking *blocking)
{
    if (TORC_LIKELY(torci_pile_is_empty(&blocking->done)))
        return false;
    for (struct torci_pile_link *at = torci_pile_take(&blocking->done), *next; at; at = next) {
        struct torci_job *job = TORC_CONTAINER_OF(at, struct torci_job, in_done);
        next = at->next; /* the job is the task's memory */
        worker_next(blocking, job->worker);
        if (job->done)
            job->done(job);
        else
            torci_wait_wake(&job->wait, job->result);
    }
    return true;
}

int torci_blocking_init(struct torci_blocking *blocking, struct torci_io *io, uint32_t threads_max)
{
    TORC_ASSERT(threads_max >= 1 && threads_max <= TORCI_BLOCKING_THREADS_MAX);
    *blocking = (struct torci_blocking){.io = io, .threads_max = threads_max};
    torci_link_init(&blocking->queue);
    blocking->workers = io->host.alloc(io->host.context, threads_max * sizeof *blocking->workers);
    return blocking->workers ? 0 : -ENOMEM;
}

/* The end may take as long as a job that nobody waits for any more. */
static void report_running(struct torci_blocking *blocking)
{
    const struct torci_host *host = &blocking->io->host;
    uint32_t running = blocking->threads;
    for (const struct torci_worker *at = blocking->idle; at; at = at->next_idle)
        running--;
    /* ACQUIRE pairs with torci_pile_push: the links are what it wrote before */
    const struct torci_pile_link *done = __atomic_load_n(&blocking->done.newest, __ATOMIC_ACQUIRE);
    for (; done; done = done->next)
        running--;
    if (!running || blocking->io->exec.driver_error)
        return;
    char line[128];
    snprintf(line, sizeof line,
             "torc: waiting for the end of %u job%s of the blocking pool that can't be interrupted",
             (unsigned)running, running > 1 ? "s" : "");
    host->report(host->context, line);
}

void torci_blocking_deinit(struct torci_blocking *blocking)
{
    const struct torci_kernel *kernel = blocking->io->kernel;
    const struct torci_host *host = &blocking->io->host;
    for (struct torci_link *link; (link = torci_list_pop_front(&blocking->queue));) {
        const struct torci_job *job = TORC_CONTAINER_OF(link, struct torci_job, wait.link);
        /* a ring that failed has left its tasks where they were */
        TORC_ASSERT(job->done || blocking->io->exec.driver_error);
    }
    report_running(blocking);
    for (uint32_t i = 0; i < blocking->threads; i++)
        worker_tell(&blocking->workers[i], WORKER_QUIT);
    for (uint32_t i = 0; i < blocking->threads; i++)
        kernel->thread_join(kernel->host.context, blocking->workers[i].thread);
    host->free(host->context, blocking->workers, blocking->threads_max * sizeof *blocking->workers);
}
