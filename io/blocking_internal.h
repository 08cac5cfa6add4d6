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

enum { TORCI_BLOCKING_THREADS_MAX = 64 };

struct torci_io;
struct torci_job;
struct torci_worker;

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
/* Ends and joins the threads. No job is queued or running. */
void torci_blocking_deinit(struct torci_blocking *blocking);

#endif
