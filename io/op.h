/* SPDX-License-Identifier: MIT
 *
 * Operations on the ring, in their bare form: for engines that keep thousands in flight and have no task for each. The
 * op is embedded in the caller's struct; its completion function runs on the executor's loop, once.
 *
 *     struct request { struct torc_op op; char buf[4096]; };
 *     static void done(struct torc_op *op, int result, uint32_t flags) { ... }
 *
 *     struct io_uring_sqe *sqe;
 *     err = torc_op_start(&request->op, done, &sqe);
 *     if (!err)
 *         io_uring_prep_read(sqe, fd, request->buf, 4096, 0);
 *
 * Completion contract: torc_op_start returned 0: the caller fills in the SQE at once, before it calls anything else of
 * torc (any io_uring_prep_ function of <liburing.h>; flags may be added, but for IOSQE_CQE_SKIP_SUCCESS; user_data is
 * torc's), and DONE runs exactly once, later, never inside a call of the caller's. Negative: DONE never runs. From start
 * to completion the op and the operation's buffers stay where they are and belong to the ring.
 *
 * A completion function may start ops, wake tasks and set events; it must not block: it has no task of its own.
 *
 * Shard rule: on the owning executor's thread, from tasks and completion functions.
 */
#ifndef TORC_IO_OP_H
#define TORC_IO_OP_H

#include "core/base.h"
#include "core/context.h"
#include "core/list.h"
#include "core/park.h"

TORC_BEGIN_DECLS

struct io_uring_sqe;
struct torc_op;
struct torci_ring;
struct torci_wait;

/* RESULT: what the kernel says, 0 or more or a negative errno. FLAGS: IORING_CQE_F_*; with IORING_CQE_F_MORE set
 * (multishot) the op is still in flight and DONE will run again. */
typedef void torc_op_fn(struct torc_op *op, int result, uint32_t flags);

/* What stands between an operation and DONE, the caller's completion function: when it began. */
struct torci_timed {
    torc_op_fn *done;
    uint64_t began_ns;
};

/* Fields are private; those after DONE are of the task form, whose state lies here and nowhere else so that a task and
 * its operation share as few cache lines as can be. */
struct torc_op {
    torc_op_fn *done;       /* NULL: a task waits, or will */
    struct torci_park park; /* no fiber: it has not come to wait yet */
    struct torci_ring *ring;
    uint32_t flags;       /* of the completion: IORING_CQE_F_* */
    uint16_t with_kernel; /* completions to come: the op's, the cancel's */
    uint8_t retry;        /* of the cancel */
    bool ended;           /* before its task came to wait */
    union {
        struct torci_link link;   /* while the cancel is to be repeated */
        struct torci_timed timed; /* of an embedded one whose room measures it */
    };
};

/* Takes the next entry of the submission queue for OP; it goes to the kernel with the loop's next turn, together with
 * all others. Submits what is queued if there is no room. Never blocks, never allocates.
 * 0; -EAGAIN: the kernel takes no more right now: try again from a later completion or turn. */
int torc_op_start(struct torc_op *op, torc_op_fn *done, struct io_uring_sqe **sqe) TORC_MUST_CHECK;

/* Makes sure that the next COUNT starts go into the queue side by side and to the kernel in one submission, as a chain
 * made with IOSQE_IO_LINK needs. -EINVAL: more than the queue holds; -EAGAIN as above. */
int torc_op_reserve(unsigned count) TORC_MUST_CHECK;

/* Asks the kernel to end OP, which is in flight; its completion comes all the same, with -ECANCELED or with whatever it
 * had got to. -EAGAIN as above: nothing was asked. */
int torc_op_cancel(struct torc_op *op) TORC_MUST_CHECK;

/* From a task: submits the entry that torc_op_begin gave and sleeps until it has completed.
 *
 *     struct torc_op op;
 *     int err = torc_op_begin(&op, &sqe);
 *     if (err)
 *         return err;
 *     io_uring_prep_fsync(sqe, fd, 0);
 *     return torc_op_wait(&op);
 *
 * Of a task that begins several before it waits for the first (a chain, after torc_op_reserve), each must be waited for.
 *
 * begin: 0, -ECANCELED or -ETIMEDOUT if the task is interrupted (nothing was started); sleeps while the kernel takes no
 * more.
 * wait: the kernel's result; when the task is interrupted meanwhile the operation is cancelled and -ECANCELED or
 * -ETIMEDOUT returned once the kernel has let go of it, unless it succeeded before. */
int torc_op_begin(struct torc_op *op, struct io_uring_sqe **sqe) TORC_MUST_CHECK;
static inline int torc_op_wait(struct torc_op *op) TORC_MUST_CHECK;
/* The same as a symbol of the library, for languages that can't use inline functions. */
int torc_op_await(struct torc_op *op) TORC_MUST_CHECK;

/* A counted set of embedded ops for one task that waits for several at a time. While all that is in flight belongs to
 * the batch, the executor sleeps for all the wanted completions at once instead of waking for each. Caller's memory;
 * fields are private.
 *
 *     torc_batch_init(&batch);
 *     err = torc_batch_start(&batch, &request->op, done, &sqe);    // done calls torc_batch_done(&batch)
 *     n = torc_batch_wait(&batch, 32);
 */
struct torc_batch {
    struct torci_wait *wait;
    uint32_t in_flight, completed, wanted;
};
void torc_batch_init(struct torc_batch *batch);
/* torc_op_start for an op of the batch. */
static inline int torc_batch_start(struct torc_batch *batch, struct torc_op *op, torc_op_fn *done,
                                   struct io_uring_sqe **sqe) TORC_MUST_CHECK;
/* To be called by the completion function of each of its ops. */
static inline void torc_batch_done(struct torc_batch *batch);
/* Sleeps until at least WANTED (> 0) completions, or all that are in flight if those are fewer, have come since the
 * last wait returned, and takes them. How many, which is 0 only if nothing is in flight, or -ECANCELED, -ETIMEDOUT (the
 * ops go on, the count is kept). In a task, one at a time. */
int torc_batch_wait(struct torc_batch *batch, uint32_t wanted) TORC_MUST_CHECK;

void torci_batch_wake(struct torc_batch *batch);

static inline TORC_MUST_CHECK int torc_batch_start(struct torc_batch *batch, struct torc_op *op,
                                                   torc_op_fn *done, struct io_uring_sqe **sqe)
{
    int err = torc_op_start(op, done, sqe);
    batch->in_flight += !err;
    return err;
}

static inline void torc_batch_done(struct torc_batch *batch)
{
    batch->in_flight--;
    if (++batch->completed == batch->wanted)
        torci_batch_wake(batch);
}

/* Inline as torc_yield is, and for the same reasons (core/context.h). */
struct torci_switch torci_op_wait_begin(struct torc_op *op);
int torci_op_wait_end(struct torc_op *op);
static inline TORC_MUST_CHECK int torc_op_wait(struct torc_op *op)
{
    struct torci_switch way = torci_op_wait_begin(op);
    torci_context_switch(way.from, way.to);
    return torci_op_wait_end(op);
}

TORC_END_DECLS

#endif
