/* SPDX-License-Identifier: MIT
 *
 * The blocking pool's state. The executor owns the queue and the list of idle threads; each thread owns the job in its
 * mailbox from hand-over (release) until it has pushed it on the done stack (release); the executor takes the whole
 * stack at once (acquire). No lock anywhere.
 *
 *     torc_blocking --- a thread is idle, or one more may be ---> mailbox ---> running ---> done stack ---> task ready
 *        '--- all are busy ---> queue --- one gets free ---------->'
 *                                '--- cancelled, too late: the job never ran ----------------------------> task ready
 */
#ifndef TORC_IO_BLOCKING_INTERNAL_H
#define TORC_IO_BLOCKING_INTERNAL_H

#include "core/list.h"
#include "core/pile_internal.h"
#include "core/task.h"
#include "core/wait_internal.h"

enum { TORCI_BLOCKING_THREADS_MAX = 64 };

struct torci_io;
struct torci_worker;

/* On its task's stack; or, with a DONE, embedded in what may outlive everybody who asked for it. */
struct torci_job {
    struct torci_wait wait;
    torc_task_fn *fn;
    void *arg;
    int result;
    void (*done)(struct torci_job *job); /* NULL: a task waits */
    struct torci_worker *worker;
    struct torci_pile_link in_done;
};

struct torci_blocking {
    struct torci_io *io;
    struct torci_link queue;      /* jobs that no thread has yet, oldest first */
    struct torci_worker *workers; /* threads_max of them, the first `threads` are started */
    struct torci_worker *idle;
    uint32_t threads, threads_max;
    struct torci_pile done; /* pushed by threads, taken by the executor */
};

/* THREADS_MAX: 1 to TORCI_BLOCKING_THREADS_MAX. Starts nothing yet. -ENOMEM. */
int torci_blocking_init(struct torci_blocking *blocking, struct torci_io *io,
                        uint32_t threads_max) TORC_MUST_CHECK;
/* Ends and joins the threads. No task waits for a job any more. Embedded jobs that run are waited for, however long
 * that takes, because a thread can't be taken out of what it does; queued ones never begin. Their DONE does not run, and
 * from now on they belong to whoever made them. */
void torci_blocking_deinit(struct torci_blocking *blocking);

/* The embedded form of torc_blocking: DONE runs once, later, on the executor's loop, with FN's result in job->result;
 * from then on JOB is the caller's again. Not if the executor ends before. Never blocks.
 * -EAGAIN, -EMFILE, -ENFILE, -ENOMEM: as torc_blocking; DONE never runs. */
int torci_job_start(struct torci_job *job, torc_task_fn *fn, void *arg,
                    void (*done)(struct torci_job *job)) TORC_MUST_CHECK;

#endif
