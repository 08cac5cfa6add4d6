/* SPDX-License-Identifier: MIT
 *
 * The io room's state of one executor: its ring, its view of the kernel, and what stands on them. Hangs off
 * torci_exec.owner.
 */
#ifndef TORC_IO_IO_INTERNAL_H
#define TORC_IO_IO_INTERNAL_H

#include "core/exec_internal.h"
#include "io/blocking_internal.h"
#include "io/kernel_internal.h"
#include "io/op.h"
#include "io/ring_internal.h"
#include "io/run.h"

struct torci_io {
    const struct torci_kernel *kernel;
    struct torci_host host; /* the kernel's, with our turn */
    struct torci_ring ring;
    struct torci_ring poll_ring; /* IOPOLL; made when a file first asks for it */
    struct torci_exec exec;
    struct torc_config config;
    struct torc_batch *batch; /* the only batch that a task waits on, while that is so */
    struct torci_blocking blocking;
    uint32_t internal_ops;          /* in flight, but nobody's: the wake poll, the signal poll */
    struct torci_link cancel_retry; /* ops whose cancel found no room in the queue */
    struct torci_wake {
        struct torc_op op; /* multishot poll on event_fd */
        int event_fd;      /* -1 until somebody may wake us from outside */
        uint32_t parked;   /* atomic: 1 while asleep or about to be */
    } wake;
    bool shutting_down;
};

static inline struct torci_io *torci_io_this(void)
{
    TORC_ASSERT(torci_this != NULL);
    return (struct torci_io *)torci_this->owner;
}

/* This executor's kernel, for set-up calls that may not sleep. */
static inline const struct torci_kernel *torci_kernel_this(void)
{
    return torci_io_this()->kernel;
}

/* What user_data carries beside an op's address: its low bits. */
enum {
    TORCI_TAG_OP = 0,
    TORCI_TAG_CANCEL = 1, /* the cancel's own CQE; the address is of the op that it aims at */
    TORCI_TAG_NONE = 2,   /* nobody cares for this completion */
    TORCI_TAG_MASK = 3,
};

/* Makes torci_io_wake work from other threads: an eventfd and its poll. Idempotent; 0 or a negative errno. */
int torci_io_wake_prepare(struct torci_io *io) TORC_MUST_CHECK;
/* From any thread, after it has published what the executor is to find (release): wakes it if it sleeps. */
void torci_io_wake(struct torci_io *io);

/* Called by the loop after each turn and before it parks: hand finished jobs to their tasks. Whether there were any. */
bool torci_blocking_reap(struct torci_blocking *blocking);

#endif
