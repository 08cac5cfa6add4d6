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

#include "core/switch_internal.h"
#include "core/time.h"
#include "io/io_internal.h"
#include "io/ledger_internal.h"

enum {
    CANCEL_PAUSE_MIN_NS = 100 * 1000, /* doubled each time */
    CANCEL_PAUSE_MAX_NS = 100 * 1000 * 1000,
};

enum retry {
    RETRY_NONE,
    RETRY_ROOM,   /* the cancel has found no room: in io.cancel_retry */
    RETRY_MISSED, /* the cancel has missed: in io.cancel_missed */
};

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

static inline uint64_t tagged(const struct torc_op *op, unsigned tag)
{
    return (uint64_t)(uintptr_t)op | tag;
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

int torci_op_start_silent(struct torc_op *op, torc_op_fn *done, struct io_uring_sqe **out)
{
    struct io_uring_sqe *sqe = torci_ring_sqe(&torci_io_this()->ring);
    if (TORC_UNLIKELY(!sqe))
        return -EAGAIN;
    op->done = done;
    sqe->user_data = tagged(op, TORCI_TAG_SILENT);
    *out = sqe;
    return 0;
}

int torci_op_start_unheard(struct torci_io *io, struct io_uring_sqe **out)
{
    *out = take(&io->ring, TORCI_TAG_NONE);
    return *out ? 0 : -EAGAIN;
}

int torc_op_reserve(unsigned count)
{
    return torci_ring_reserve(&torci_io_this()->ring, count);
}

/* Asks the kernel to cancel OP; the answer comes as USER_DATA. */
static int queue_cancel(struct torci_ring *ring, struct torc_op *op, uint64_t user_data)
{
    struct io_uring_sqe *sqe = take(ring, user_data);
    if (!sqe)
        return -EAGAIN;
    io_uring_prep_cancel64(sqe, tagged(op, TORCI_TAG_OP), 0);
    return 0;
}

int torc_op_cancel(struct torc_op *op)
{
    return queue_cancel(&torci_io_this()->ring, op, TORCI_TAG_NONE);
}

/* For the task that waits: one completion more to come. */
static void cancel(struct torci_io *io, struct torc_op *op)
{
    op->with_kernel++;
    op->retry = RETRY_NONE;
    if (queue_cancel(op->ring, op, tagged(op, TORCI_TAG_CANCEL))) {
        op->retry = RETRY_ROOM;
        torci_list_push_back(&io->cancel_retry, &op->link);
    }
}

static void interrupted(struct torci_park *park, int reason)
{
    (void)reason;
    struct torc_op *op = TORC_CONTAINER_OF(park, struct torc_op, park);
    struct torci_io *io = torci_io_this();
    if (op->ring == &io->ring) /* polled reads and writes can't be cancelled, and don't take long */
        cancel(io, op);
}

static void retry_cancels(struct torci_io *io)
{
    while (!torci_list_is_empty(&io->cancel_retry)) {
        struct torc_op *op = TORC_CONTAINER_OF(io->cancel_retry.next, struct torc_op, link);
        if (queue_cancel(op->ring, op, tagged(op, TORCI_TAG_CANCEL)))
            return;
        torci_list_unlink(&op->link);
        op->retry = RETRY_NONE;
    }
}

/* The pause after cancels that have missed is over. */
void torci_op_cancel_again(struct torci_timer *timer)
{
    struct torci_io *io = TORC_CONTAINER_OF(timer, struct torci_io, missed_timer);
    struct torci_link missed;
    torci_link_init(&missed);
    torci_list_splice_back(&missed, &io->cancel_missed);
    for (struct torci_link *at; (at = torci_list_pop_front(&missed));)
        cancel(io, TORC_CONTAINER_OF(at, struct torc_op, link));
}

/* The kernel does not find a request that is on its way from one place to another (behind a link, to a worker), and one
 * that a worker has may go back to waiting after the cancel came by. So what has missed is repeated. */
static void missed(struct torci_io *io, struct torc_op *op)
{
    op->retry = RETRY_MISSED;
    torci_list_push_back(&io->cancel_missed, &op->link);
    if (torci_timer_is_armed(&io->missed_timer))
        return;
    uint64_t now = torc_now_ns();
    bool calm = now - io->missed_ns > 4 * io->missed_pause_ns; /* no misses for a while */
    if (calm || !io->missed_pause_ns)
        io->missed_pause_ns = CANCEL_PAUSE_MIN_NS;
    else if (io->missed_pause_ns < CANCEL_PAUSE_MAX_NS)
        io->missed_pause_ns *= 2;
    io->missed_ns = now;
    torci_wheel_arm(&io->exec.wheel, &io->missed_timer, now + io->missed_pause_ns);
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
        *sqe = take(ring, tagged(op, TORCI_TAG_OP));
        if (*sqe)
            break;
        err = wait_for_room();
    }
    return err;
}

static inline __attribute__((always_inline)) int begin(struct torci_ring *ring, struct torc_op *op,
                                                       struct io_uring_sqe **sqe)
{
    op->done = NULL;
    op->park.fiber = NULL;
    op->ring = ring;
    op->flags = 0;
    op->with_kernel = 1;
    op->retry = RETRY_NONE;
    op->ended = false;
    if (TORC_LIKELY(!torci_fiber_self()->interrupt &&
                    torci_ring_pending(ring) < ring->sq_entries)) {
        *sqe = take(ring, tagged(op, TORCI_TAG_OP));
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

TORCI_NO_TSAN struct torci_switch torci_op_wait_begin(struct torc_op *op)
{
    struct torci_exec *exec = torci_this;
    struct torci_fiber *self = exec->current;
    op->park.interrupt = interrupted;
    op->park.reason = 0;
    if (TORC_UNLIKELY(op->ended)) { /* the task has waited for another one in between */
        torci_sanitizer_leave(exec, self, &self->stack->sanitizer_save);
        return (struct torci_switch){&self->context, &self->context};
    }
    op->park.fiber = self;
    return torci_park_begin(exec, &op->park);
}

TORCI_NO_TSAN int torci_op_wait_end(struct torc_op *op)
{
    struct torci_exec *exec = torci_this;
    torci_sanitizer_arrive(exec, exec->current, false);
    int result = op->park.result, reason = op->park.reason;
    return TORC_UNLIKELY(reason != 0) && (result == -ECANCELED || result == -EINTR) ? reason
                                                                                    : result;
}

int torc_op_await(struct torc_op *op)
{
    return torc_op_wait(op);
}

static __attribute__((noinline)) void forget_retry(struct torc_op *op)
{
    torci_list_unlink(&op->link);
    if (op->retry == RETRY_ROOM)
        op->with_kernel--; /* nobody will answer what has not even been queued */
    op->retry = RETRY_NONE;
}

/* A completion of an operation that a task waits for. One that is followed by others (a zero-copy send tells first how
 * much it sent, and then that the buffer is free) leaves its result. */
static inline void task_op_came(struct torci_io *io, struct torc_op *op, int result, uint32_t flags)
{
    if (TORC_LIKELY(!(flags & IORING_CQE_F_NOTIF))) {
        op->park.result = result;
        op->flags = flags;
    }
    if (TORC_UNLIKELY(flags & IORING_CQE_F_MORE))
        return;
    if (TORC_UNLIKELY(!op->park.fiber)) {
        op->ended = true;
        return;
    }
    if (TORC_UNLIKELY(op->retry))
        forget_retry(op);
    if (--op->with_kernel == 0)
        torci_park_finish(&io->exec, &op->park, op->park.result);
}

static void cancel_came(struct torci_io *io, struct torc_op *op, int result)
{
    if (--op->with_kernel == 0)
        torci_park_finish(&io->exec, &op->park, op->park.result);
    else if (result == -ENOENT || result == -EALREADY)
        missed(io, op);
}

/* What a completion means to the op it belongs to. */
static inline void complete(struct torci_io *io, struct torci_ring *ring, uint64_t user_data,
                            int result, uint32_t flags)
{
    struct torc_op *op = (struct torc_op *)(uintptr_t)(user_data & ~(uint64_t)TORCI_TAG_MASK);
    if (TORC_UNLIKELY((user_data & TORCI_TAG_MASK) == TORCI_TAG_BELL)) {
        if (op)
            op->done(op, result, flags);
        else
            torci_count(&io->exec.counters->wake_received);
        return;
    }
    torci_ledger_complete(ring->ledger, user_data, flags);
    ring->in_flight -= !(flags & IORING_CQE_F_MORE);
    switch (user_data & TORCI_TAG_MASK) {
    case TORCI_TAG_OP:
        if (op->done)
            op->done(op, result, flags);
        else
            task_op_came(io, op, result, flags);
        break;
    case TORCI_TAG_CANCEL: cancel_came(io, op, result); break;
    default: break;
    }
}

bool torci_op_reap(struct torci_io *io, struct torci_ring *ring)
{
    uint32_t head = *ring->cq_head, submitted = ring->submitted;
    /* RELAXED: the kernel set it, if it did, in a submission of ours. What did not fit is not here yet. */
    bool whole = !(__atomic_load_n(ring->kernel_flags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW);
    /* pairs with the kernel's release after it has written the entries */
    uint32_t tail = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
    if (whole && head == tail)
        ring->settled = submitted;
    if (head == tail)
        return false;
    torci_count_add(&io->exec.counters->ring_cqes, tail - head);
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
    if (whole) /* and not what a completion function has submitted */
        ring->settled = submitted;
    return true;
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

static void batch_interrupted(struct torci_park *park, int reason)
{
    struct torci_wait *wait = TORC_CONTAINER_OF(park, struct torci_wait, park);
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
        wait.park.interrupt = batch_interrupted;
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
