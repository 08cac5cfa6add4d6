/* SPDX-License-Identifier: MIT
 *
 * Operations: their start, their completion, and the two ways to wait for one. An operation of a task that is
 * interrupted goes through these states; the task is woken when nothing is left with the kernel, in whatever order the
 * two completions come:
 *
 *     in flight --CQE--> done
 *         | interrupt: a cancel is queued
 *         v
 *     in flight, cancel in flight --CQE--> one of the two left --CQE--> done
 */
#include "io/op.h"

#include <errno.h>

#include "core/switch_internal.h"
#include "io/io_internal.h"
#include "io/ledger_internal.h"

/* The hot path of every operation; the compiler makes a copy for each of its few callers. */
static inline __attribute__((always_inline)) struct io_uring_sqe *take(struct torci_ring *ring,
                                                                       uint64_t user_data)
{
    struct io_uring_sqe *sqe = torci_ring_sqe(ring);
    if (TORC_UNLIKELY(!sqe))
        return NULL;
    sqe->user_data = user_data;
    ring->in_flight++;
    return sqe;
}

static inline uint64_t tagged(const void *address, unsigned tag)
{
    return (uint64_t)(uintptr_t)address | tag;
}

int torci_op_start_on(struct torci_ring *ring, struct torc_op *op, torc_op_fn *done,
                      struct io_uring_sqe **out)
{
    op->done = done;
    *out = take(ring, tagged(op, TORCI_TAG_OP));
    return TORC_LIKELY(*out != NULL) ? 0 : -EAGAIN;
}

int torc_op_start(struct torc_op *op, torc_op_fn *done, struct io_uring_sqe **sqe)
{
    return torci_op_start_on(&torci_io_this()->ring, op, done, sqe);
}

int torc_op_reserve(unsigned count)
{
    return torci_ring_reserve(&torci_io_this()->ring, count);
}

/* Asks the kernel to cancel what was submitted as TARGET; the answer comes as USER_DATA. */
static int queue_cancel(struct torci_ring *ring, uint64_t target, uint64_t user_data)
{
    struct io_uring_sqe *sqe = take(ring, user_data);
    if (!sqe)
        return -EAGAIN;
    io_uring_prep_cancel64(sqe, target, 0);
    return 0;
}

int torc_op_cancel(struct torc_op *op)
{
    return queue_cancel(&torci_io_this()->ring, tagged(op, TORCI_TAG_OP), TORCI_TAG_NONE);
}

static int cancel_operation(struct torci_fiber *fiber)
{
    struct torci_ring *ring = (struct torci_ring *)fiber->ring;
    return queue_cancel(ring, tagged(fiber, TORCI_TAG_FIBER), tagged(fiber, TORCI_TAG_CANCEL));
}

static void interrupted(struct torci_park *park, int reason)
{
    (void)reason;
    struct torci_fiber *fiber = park->fiber;
    struct torci_io *io = torci_io_this();
    if (fiber->ring != &io->ring)
        return; /* polled reads and writes can't be cancelled, and don't take long */
    fiber->operation.with_kernel++;
    if (cancel_operation(fiber)) {
        fiber->operation.retrying = true;
        torci_list_push_back(&io->cancel_retry, &fiber->retry);
    }
}

static void leave_retry(struct torci_fiber *fiber)
{
    torci_list_unlink(&fiber->retry);
    fiber->operation.retrying = false;
}

static void retry_cancels(struct torci_io *io)
{
    while (!torci_list_is_empty(&io->cancel_retry)) {
        struct torci_fiber *fiber =
            TORC_CONTAINER_OF(io->cancel_retry.next, struct torci_fiber, retry);
        if (cancel_operation(fiber))
            return;
        leave_retry(fiber);
    }
}

void torci_op_retry(struct torci_io *io)
{
    retry_cancels(io);
    if (torci_ring_pending(&io->ring) < io->ring.sq_entries)
        torci_wait_wake_all(&io->room_waiters, 0);
}

/* The kernel takes nothing now: until the loop has reaped, it won't. */
static int wait_for_room(void)
{
    struct torci_wait wait;
    torci_wait_init(&wait);
    torci_list_push_back(&torci_io_this()->room_waiters, &wait.link);
    return torci_wait_park(&wait);
}

/* Off the hot path: interrupted already, or no room. */
static __attribute__((noinline)) int
begin_slowly(struct torci_ring *ring, struct torci_fiber *fiber, struct io_uring_sqe **sqe)
{
    int err = fiber->interrupt;
    while (!err) {
        *sqe = take(ring, tagged(fiber, TORCI_TAG_FIBER));
        if (*sqe)
            break;
        err = wait_for_room();
    }
    return err;
}

static inline __attribute__((always_inline)) int begin(struct torci_ring *ring,
                                                       struct io_uring_sqe **sqe)
{
    struct torci_fiber *self = torci_fiber_self();
    self->ring = ring;
    if (TORC_LIKELY(!self->interrupt && torci_ring_pending(ring) < ring->sq_entries)) {
        *sqe = take(ring, tagged(self, TORCI_TAG_FIBER));
        return 0;
    }
    return begin_slowly(ring, self, sqe);
}

int torci_op_begin_on(struct torci_ring *ring, struct torc_op *op, struct io_uring_sqe **sqe)
{
    (void)op; /* the task has a place for one */
    return begin(ring, sqe);
}

int torc_op_begin(struct torc_op *op, struct io_uring_sqe **sqe)
{
    (void)op; /* the task has a place for one */
    return begin(&torci_io_this()->ring, sqe);
}

TORCI_NO_TSAN struct torci_switch torci_op_wait_begin(struct torc_op *op)
{
    struct torci_exec *exec = torci_this;
    struct torci_fiber *self = exec->current;
    struct torci_operation *operation = &self->operation;
    (void)op;
    operation->park.fiber = self;
    operation->park.interrupt = interrupted;
    operation->park.reason = 0;
    operation->with_kernel = 1;
    operation->retrying = false;
    return torci_park_begin(exec, &operation->park);
}

TORCI_NO_TSAN int torci_op_wait_end(struct torc_op *op)
{
    struct torci_exec *exec = torci_this;
    struct torci_fiber *self = exec->current;
    torci_sanitizer_arrive(exec, self, false);
    op->flags = self->operation.flags;
    int result = self->operation.park.result, reason = self->operation.park.reason;
    return TORC_UNLIKELY(reason != 0) && (result == -ECANCELED || result == -EINTR) ? reason
                                                                                    : result;
}

int torc_op_await(struct torc_op *op)
{
    return torc_op_wait(op);
}

/* One of the completions that a task waits for has come. */
static inline void one_came(struct torci_io *io, struct torci_fiber *fiber)
{
    struct torci_operation *operation = &fiber->operation;
    /* it is done while its cancel has not even been queued: nobody will answer that */
    if (TORC_UNLIKELY(operation->retrying)) {
        leave_retry(fiber);
        operation->with_kernel--;
    }
    if (--operation->with_kernel == 0)
        torci_park_finish(&io->exec, &operation->park, operation->park.result);
}

/* What a completion means to the op it belongs to. */
static inline void complete(struct torci_io *io, struct torci_ring *ring, uint64_t user_data,
                            int result, uint32_t flags)
{
    torci_ledger_complete(ring->ledger, user_data, flags);
    if (TORC_LIKELY(!(flags & IORING_CQE_F_MORE)))
        ring->in_flight--;
    void *address = (void *)(uintptr_t)(user_data & ~(uint64_t)TORCI_TAG_MASK);
    struct torci_fiber *fiber = (struct torci_fiber *)address;
    struct torc_op *op = (struct torc_op *)address;
    switch (user_data & TORCI_TAG_MASK) {
    case TORCI_TAG_FIBER:
        fiber->operation.park.result = result;
        fiber->operation.flags = flags;
        one_came(io, fiber);
        break;
    case TORCI_TAG_OP: op->done(op, result, flags); break;
    case TORCI_TAG_CANCEL: one_came(io, fiber); break;
    default: break;
    }
}

bool torci_op_reap(struct torci_io *io, struct torci_ring *ring)
{
    uint32_t head = *ring->cq_head;
    /* pairs with the kernel's release after it has written the entries */
    uint32_t tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
    if (head == tail)
        return false;
    do {
        struct io_uring_cqe *cqe = &ring->cqes[head & ring->cq_mask];
        uint64_t user_data = cqe->user_data;
        int result = cqe->res;
        uint32_t flags = cqe->flags;
        /* pairs with the kernel's acquire of the head: the entry was read before. Given back one by one, since a
         * completion function may submit and so make room necessary. */
        __atomic_store_n(ring->cq_head, ++head, __ATOMIC_RELEASE);
        complete(io, ring, user_data, result, flags);
    } while (head != tail);
    return true;
}

void torc_batch_init(struct torc_batch *batch)
{
    *batch = (struct torc_batch){0};
}

void torci_batch_wake(struct torc_batch *batch)
{
    if (batch->wait)
        torci_wait_wake(batch->wait, 0);
}

int torc_batch_wait(struct torc_batch *batch, uint32_t wanted)
{
    TORC_ASSERT(!batch->wait);
    uint32_t to_come = batch->in_flight + batch->completed;
    if (wanted > to_come)
        wanted = to_come;
    if (batch->completed < wanted) {
        struct torci_io *io = torci_io_this();
        struct torci_wait wait;
        torci_wait_init(&wait);
        batch->wait = &wait;
        batch->wanted = wanted;
        io->batch = batch;
        int err = torci_wait_park(&wait);
        batch->wait = NULL;
        batch->wanted = 0;
        if (io->batch == batch)
            io->batch = NULL;
        if (err)
            return err;
    }
    uint32_t taken = batch->completed;
    batch->completed = 0;
    return (int)taken;
}
