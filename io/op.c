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
 *         ^                                   |
 *         '------ a pause, another cancel ----' the operation is left, and the cancel had missed it
 */
#include "io/op.h"

#include <errno.h>

#include "core/time.h"
#include "io/io_internal.h"
#include "io/ledger_internal.h"

enum {
    CANCEL_PAUSE_MIN_NS = 100 * 1000, /* doubled each time */
    CANCEL_PAUSE_MAX_NS = 100 * 1000 * 1000,
};

enum retry {
    RETRY_NONE,
    RETRY_ROOM,  /* the cancel has found no room: in io.cancel_retry */
    RETRY_PAUSE, /* the cancel has missed: the timer is armed */
};

/* What a waiting task's op points to; on the task's stack. */
struct torci_op_wait {
    struct torci_wait wait;
    struct torc_op *op;
    struct torci_ring *ring;
    uint32_t with_kernel; /* completions to come: the op's, the cancel's */
    uint8_t retry;        /* enum retry */
    /* Set when the task is interrupted. */
    struct torci_link room;
    struct torci_timer pause;
    uint64_t pause_ns;
};

/* What op->wait is when the operation has ended before its task came to wait. */
static struct torci_op_wait ended_early;

/* The hot path of every operation; the compiler makes a copy for each of its few callers. */
static inline __attribute__((always_inline)) struct io_uring_sqe *
take(struct torci_ring *ring, struct torc_op *op, torc_op_fn *done)
{
    struct io_uring_sqe *sqe = torci_ring_sqe(ring);
    if (TORC_UNLIKELY(!sqe))
        return NULL;
    op->done = done;
    op->wait = NULL;
    sqe->user_data = (uint64_t)(uintptr_t)op;
    ring->in_flight++;
    return sqe;
}

int torci_op_start_on(struct torci_ring *ring, struct torc_op *op, torc_op_fn *done,
                      struct io_uring_sqe **out)
{
    *out = take(ring, op, done);
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

/* Asks the kernel to cancel what has OP's address; the answer comes tagged with TAG. */
static int queue_cancel(struct torci_ring *ring, struct torc_op *op, unsigned tag)
{
    struct io_uring_sqe *sqe = torci_ring_sqe(ring);
    if (!sqe)
        return -EAGAIN;
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    sqe->user_data = (tag == TORCI_TAG_NONE ? 0 : (uint64_t)(uintptr_t)op) | tag;
    ring->in_flight++;
    return 0;
}

int torc_op_cancel(struct torc_op *op)
{
    return queue_cancel(&torci_io_this()->ring, op, TORCI_TAG_NONE);
}

static void cancel(struct torci_op_wait *waiting)
{
    waiting->with_kernel++;
    waiting->retry = RETRY_NONE;
    if (queue_cancel(waiting->ring, waiting->op, TORCI_TAG_CANCEL)) {
        waiting->retry = RETRY_ROOM;
        torci_list_push_back(&torci_io_this()->cancel_retry, &waiting->room);
    }
}

static void pause_is_over(struct torci_timer *timer)
{
    cancel(TORC_CONTAINER_OF(timer, struct torci_op_wait, pause));
}

static void interrupted(struct torci_wait *wait, int reason)
{
    (void)reason;
    struct torci_op_wait *waiting = TORC_CONTAINER_OF(wait, struct torci_op_wait, wait);
    if (waiting->ring != &torci_io_this()->ring)
        return; /* polled reads and writes can't be cancelled, and don't take long */
    torci_timer_init(&waiting->pause, pause_is_over);
    waiting->pause_ns = CANCEL_PAUSE_MIN_NS;
    cancel(waiting);
}

static void retry_cancels(struct torci_io *io)
{
    while (!torci_list_is_empty(&io->cancel_retry)) {
        struct torci_op_wait *waiting =
            TORC_CONTAINER_OF(io->cancel_retry.next, struct torci_op_wait, room);
        if (queue_cancel(waiting->ring, waiting->op, TORCI_TAG_CANCEL))
            return;
        torci_list_unlink(&waiting->room);
        waiting->retry = RETRY_NONE;
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
static __attribute__((noinline)) int begin_slowly(struct torci_ring *ring, struct torc_op *op,
                                                  struct io_uring_sqe **sqe)
{
    int err = torci_wait_pending();
    while (!err) {
        *sqe = take(ring, op, NULL);
        if (*sqe)
            break;
        err = wait_for_room();
    }
    return err;
}

static inline __attribute__((always_inline)) int begin(struct torci_ring *ring, struct torc_op *op,
                                                       struct io_uring_sqe **sqe)
{
    if (TORC_LIKELY(!torci_wait_pending() && torci_ring_pending(ring) < ring->sq_entries)) {
        *sqe = take(ring, op, NULL);
        return 0;
    }
    return begin_slowly(ring, op, sqe);
}

int torci_op_begin_on(struct torci_ring *ring, struct torc_op *op, struct io_uring_sqe **sqe)
{
    return begin(ring, op, sqe);
}

int torc_op_begin(struct torc_op *op, struct io_uring_sqe **sqe)
{
    return begin(&torci_io_this()->ring, op, sqe);
}

static inline __attribute__((always_inline)) int wait_on(struct torci_ring *ring,
                                                         struct torc_op *op)
{
    if (TORC_UNLIKELY(op->wait != NULL))
        return op->result; /* the task has waited for another one in between, and this has ended */
    struct torci_op_wait waiting;
    waiting.wait.fiber = torci_this->current;
    waiting.wait.interrupt = interrupted;
    waiting.wait.reason = 0;
    waiting.wait.siblings = &waiting.wait;
    waiting.wait.sibling_count = 0; /* in no line: only the completion finds it */
    waiting.op = op;
    waiting.ring = ring;
    waiting.with_kernel = 1;
    waiting.retry = RETRY_NONE;
    op->wait = &waiting;
    int result = torci_wait_park(&waiting.wait);
    if (TORC_UNLIKELY(waiting.wait.reason != 0) && (result == -ECANCELED || result == -EINTR))
        return waiting.wait.reason;
    return result;
}

int torci_op_wait_on(struct torci_ring *ring, struct torc_op *op)
{
    return wait_on(ring, op);
}

int torc_op_wait(struct torc_op *op)
{
    return wait_on(&torci_io_this()->ring, op);
}

static __attribute__((noinline)) void forget_retry(struct torci_op_wait *waiting)
{
    if (waiting->retry == RETRY_ROOM) {
        torci_list_unlink(&waiting->room);
        waiting->with_kernel--; /* nobody will answer what has not even been queued */
    } else {
        torci_wheel_cancel(&torci_this->wheel, &waiting->pause);
    }
    waiting->retry = RETRY_NONE;
}

/* A completion of an operation that a task waits for. One that is followed by others (a zero-copy send tells first how
 * much it sent, and then that the buffer is free) leaves its result. */
static inline void task_op_came(struct torc_op *op, int result, uint32_t flags)
{
    if (TORC_LIKELY(!(flags & IORING_CQE_F_NOTIF))) {
        op->result = result;
        op->flags = flags;
    }
    if (TORC_UNLIKELY(flags & IORING_CQE_F_MORE))
        return;
    struct torci_op_wait *waiting = op->wait;
    if (TORC_UNLIKELY(!waiting)) {
        op->wait = &ended_early;
        return;
    }
    if (TORC_UNLIKELY(waiting->retry))
        forget_retry(waiting);
    if (--waiting->with_kernel == 0)
        torci_wait_wake(&waiting->wait, op->result);
}

/* The kernel does not find a request that is on its way from one place to another (behind a link, to a worker), and one
 * that a worker has may go back to waiting after the cancel came by. So what has missed is repeated. */
static void cancel_came(struct torci_op_wait *waiting, int result)
{
    if (--waiting->with_kernel == 0) {
        torci_wait_wake(&waiting->wait, waiting->op->result);
    } else if (result == -ENOENT || result == -EALREADY) {
        waiting->retry = RETRY_PAUSE;
        torci_wheel_arm(&torci_this->wheel, &waiting->pause, torc_now_ns() + waiting->pause_ns);
        if (waiting->pause_ns < CANCEL_PAUSE_MAX_NS)
            waiting->pause_ns *= 2;
    }
}

void torci_op_complete(struct torci_io *io, struct torci_ring *ring, uint64_t user_data, int result,
                       uint32_t flags)
{
    (void)io;
    torci_ledger_complete(ring->ledger, user_data, flags);
    if (!(flags & IORING_CQE_F_MORE))
        ring->in_flight--;
    struct torc_op *op = (struct torc_op *)(uintptr_t)(user_data & ~(uint64_t)TORCI_TAG_MASK);
    switch (user_data & TORCI_TAG_MASK) {
    case TORCI_TAG_OP:
        if (op->done)
            op->done(op, result, flags);
        else
            task_op_came(op, result, flags);
        break;
    case TORCI_TAG_CANCEL: cancel_came(op->wait, result); break;
    default: break;
    }
}

void torc_batch_init(struct torc_batch *batch)
{
    *batch = (struct torc_batch){0};
}

/* The task is woken once, by the count or by an interruption: the other may follow before it runs. */
static void batch_end_wait(struct torc_batch *batch, int result)
{
    struct torci_wait *wait = batch->wait;
    batch->wait = NULL;
    torci_wait_wake(wait, result);
}

void torci_batch_wake(struct torc_batch *batch)
{
    if (batch->wait)
        batch_end_wait(batch, 0);
}

static void batch_interrupted(struct torci_wait *wait, int reason)
{
    batch_end_wait((struct torc_batch *)wait->value, reason);
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
        wait.interrupt = batch_interrupted;
        wait.value = batch;
        batch->wait = &wait;
        batch->wanted = wanted;
        io->batch = batch;
        int err = torci_wait_park(&wait);
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
