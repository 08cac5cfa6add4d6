/* SPDX-License-Identifier: MIT
 *
 * How an executor looks at its ring: the driver that core's loop calls once a turn.
 *
 * Tasks are ready      enter only if there is a reason: enough entries queued, entries that have waited for long
 *                      enough, or the kernel's flag that it has work for us. Then reap what has come; without a reason
 *                      that is two loads.
 * Nothing is ready     submit and wait in one enter. With a spin time: submit, look at shared memory alone for so long,
 *                      and wait then.
 *
 * Sleeping and waking from outside: the executor sets `parked` and then looks once more for what other threads have
 * published; they publish and then clear `parked`, and whoever has cleared it writes to the eventfd. Both sides use
 * sequentially consistent read-modify-writes, so one of the two sees the other.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "io/io_internal.h"

enum {
    SUBMIT_BATCH = 32,           /* entries that are worth an enter while tasks are ready */
    SUBMIT_DELAY_NS = 50 * 1000, /* how long fewer of them may wait */
    REAP_ROUNDS_MAX = 64,        /* enters in a row while the kernel says that there is more */
    /* A batch's sleep is cut into pieces of this: in between, one event from outside (a signal, a finished job) is
     * seen although it does not make up the number waited for. Longer than the kernel's tick: a nearer timer has to be
     * programmed into the hardware, which on a virtual machine costs more than a read (zram, depth 128: 1 ms 640k
     * reads a second, 20 ms 770k). */
    BATCH_SLEEP_NS = 20 * 1000 * 1000,
    MAIL_RECENT_NS = 100 * 1000 * 1000, /* who has sent us something may soon send more */
    DRAIN_ASK_NS =
        10 * 1000 * 1000, /* how often a shutdown asks for the end of what is in flight */
};
#define DRAIN_PATIENCE_NS (10 * TORC_SEC) /* and how long it waits without any progress */

static int enter_and_reap_batch(struct torci_io *io, struct torci_ring *ring, uint32_t min_complete,
                                uint64_t timeout_ns, uint32_t min_wait_us)
{
    for (unsigned round = 0; round < REAP_ROUNDS_MAX; round++) {
        int err = torci_ring_enter_batch(ring, min_complete, timeout_ns, true, min_wait_us);
        if (err)
            return err;
        bool some = torci_op_reap(io, ring);
        /* one enter runs about twenty deferred completions and leaves the flag set */
        if (!some || !torci_ring_wants_enter(ring))
            return 0;
        /* Messages are answered in turns of the size that was waited for: more of them at a time fall out of the cache
         * before they are read (1,000 connections: a tenth), and the next wait brings the rest. */
        if (io->traffic.came)
            return 0;
        min_complete = 0;
    }
    return 0;
}

static int enter_and_reap(struct torci_io *io, struct torci_ring *ring, uint32_t min_complete,
                          uint64_t timeout_ns)
{
    return enter_and_reap_batch(io, ring, min_complete, timeout_ns, 0);
}

/* How many completions are worth waking up for. More than one only if all in flight belong to one batch, and no other
 * thread has had anything for us lately: its doorbell would be one completion of many, and so heard late. */
static uint32_t wanted_completions(const struct torci_io *io)
{
    const struct torc_batch *batch = io->batch;
    if (!batch || batch->in_flight + io->internal_ops != io->ring.in_flight ||
        batch->completed >= batch->wanted || io->exec.now_ns < io->mail_until_ns)
        return 1;
    uint32_t wanted = batch->wanted - batch->completed;
    return wanted < io->ring.cq_entries ? wanted : io->ring.cq_entries;
}

/* Somebody has set a bit for us to look. */
static inline bool is_marked(const struct torci_io *io)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < io->outside.map_words; i++)
        any |= __atomic_load_n(&io->outside.map[i], __ATOMIC_SEQ_CST); /* pairs with the setter's */
    return any != 0;
}

static bool something_came(struct torci_io *io)
{
    return torci_ring_ready(&io->ring) || torci_ring_wants_enter(&io->ring) ||
           !torci_pile_is_empty(&io->blocking.done) || (is_marked(io) && io->outside.came(io));
}

/* Looks at memory until something comes or it is UNTIL_NS; whether something came. */
static bool spin(struct torci_io *io, uint64_t until_ns)
{
    do {
        for (unsigned i = 0; i < 32; i++) {
            if (something_came(io))
                return true;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#else
            __asm__ volatile("yield");
#endif
        }
    } while (torci_host_now_ns(io->exec.host) < until_ns);
    return false;
}

/* Somebody waits for room in the queue, or we do, to hear of wake-ups: an enter makes room, and nothing else may come
 * that would end a sleep. */
static inline bool wants_room(const struct torci_io *io)
{
    return !torci_list_is_empty(&io->cancel_retry) || !torci_list_is_empty(&io->room_waiters) ||
           (io->wake.event_fd >= 0 && !io->wake.armed);
}

static int park(struct torci_io *io, uint64_t wait_until_ns)
{
    uint32_t wanted = wanted_completions(io);
    uint64_t timeout_ns = UINT64_MAX;
    torci_count(&io->exec.counters->park_turns);
    torci_gauge_set(&io->exec.counters->ring_in_flight, io->ring.in_flight);
    if (wait_until_ns != UINT64_MAX || io->config.park_ns) {
        uint64_t now = io->exec.now_ns; /* read when the slice, or the spin, ended just before */
        if (wait_until_ns <= now)
            return enter_and_reap(io, &io->ring, 0, UINT64_MAX);
        timeout_ns = wait_until_ns - now;
        if (io->config.park_ns && timeout_ns > io->config.park_ns)
            timeout_ns = io->config.park_ns;
    }
    if (wanted > 1 && io->internal_ops && timeout_ns > BATCH_SLEEP_NS)
        timeout_ns = BATCH_SLEEP_NS;
    /* our own side first: what completions of this very turn have sent, what we have sent to ourselves */
    if ((io->outside.busy || is_marked(io)) && !io->outside.may_sleep(io))
        return enter_and_reap(io, &io->ring, 0, UINT64_MAX);
    if (wants_room(io)) /* since the spin: the poll that we are woken by may have ended there */
        return enter_and_reap(io, &io->ring, 0, UINT64_MAX);
    bool wakeable = io->wake.event_fd >= 0;
    if (wakeable) {
        /* pairs with torci_io_wake */
        (void)__atomic_exchange_n(&io->wake.parked, 1, __ATOMIC_SEQ_CST);
        if (something_came(io) || is_marked(io)) {
            __atomic_store_n(&io->wake.parked, 0, __ATOMIC_RELAXED);
            return enter_and_reap(io, &io->ring, 0, UINT64_MAX);
        }
    }
    uint32_t min_wait_us = 0;
    if (wanted == 1)
        wanted = torci_pace_want(io, &min_wait_us);
    int err = enter_and_reap_batch(io, &io->ring, wanted, timeout_ns, min_wait_us);
    if (wakeable)
        __atomic_store_n(&io->wake.parked, 0, __ATOMIC_RELAXED);
    return err;
}

static int look(struct torci_io *io)
{
    struct torci_ring *ring = &io->ring;
    uint32_t pending = torci_ring_pending(ring);
    uint64_t now = io->exec.now_ns;
    bool due = pending && (pending >= SUBMIT_BATCH || io->traffic.queued ||
                           !io->exec.top.first_runnable || now - io->entered_ns >= SUBMIT_DELAY_NS);
    if (due || torci_ring_wants_enter(ring)) {
        io->entered_ns = now;
        torci_gauge_set(&io->exec.counters->ring_in_flight, ring->in_flight);
        return enter_and_reap(io, ring, 0, UINT64_MAX);
    }
    (void)torci_op_reap(io, ring);
    return 0;
}

static void take_mail(struct torci_io *io)
{
    io->mail_until_ns = io->exec.now_ns + MAIL_RECENT_NS;
    io->outside.turn(io);
}

/* After a spin. Mail is taken here and now, without a system call: the other side waits for it (torc-micro call: 400 ns less
 * there and back). */
static int take_what_came(struct torci_io *io)
{
    if (is_marked(io))
        take_mail(io);
    if (torci_ring_wants_enter(&io->ring))
        return enter_and_reap(io, &io->ring, 0, UINT64_MAX);
    (void)torci_op_reap(io, &io->ring);
    return 0;
}

static int idle(struct torci_io *io, uint64_t wait_until_ns)
{
    torci_pace_turn(io);
    uint64_t spin_ns = io->config.spin_ns ? io->config.spin_ns : torci_pace_spin_ns(io);
    if (spin_ns) {
        int err = torci_ring_pending(&io->ring) ? enter_and_reap(io, &io->ring, 0, UINT64_MAX) : 0;
        /* A relay wakes nobody for what this has brought: it is sent by the next turn's flush. */
        if (err || io->exec.top.first_runnable || io->traffic.dirty)
            return err;
        uint64_t until = torci_host_now_ns(io->exec.host) + spin_ns;
        struct torci_counters *counters = io->exec.counters;
        torci_count(&counters->spin_turns);
        io->exec.idle_ns =
            &counters->spin_ns; /* the loop adds, with the clock that it reads anyway */
        bool came = spin(io, until < wait_until_ns ? until : wait_until_ns);
        torci_pace_spun(io, came);
        if (came)
            return take_what_came(io);
        uint64_t now = torci_host_now_ns(io->exec.host);
        torci_count_add(&counters->spin_ns, now - io->exec.now_ns);
        io->exec.now_ns = now;
        io->exec.idle_ns = &counters->park_ns;
    }
    return park(io, wait_until_ns);
}

static void woken(struct torc_op *op, int result, uint32_t flags)
{
    struct torci_io *io = TORC_CONTAINER_OF(op, struct torci_io, wake.op);
    (void)result;
    torci_count(&io->exec.counters->wake_received);
    if (flags & IORING_CQE_F_MORE)
        return;
    io->internal_ops--;
    io->wake.armed =
        false; /* the kernel has ended it (a full completion queue); the next turn arms it again */
}

/* A multishot poll: each write to the eventfd makes a completion, and nobody has to read it empty. */
static int arm_wake(struct torci_io *io)
{
    struct io_uring_sqe *sqe;
    int err = torc_op_start(&io->wake.op, woken, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_multishot(sqe, io->wake.event_fd, POLLIN);
    io->internal_ops++;
    io->wake.armed = true;
    return 0;
}

int torci_io_wake_prepare(struct torci_io *io)
{
    if (io->wake.event_fd >= 0)
        return 0;
    long fd = TORCI_CALL(io->kernel, SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return (int)fd;
    io->wake.event_fd = (int)fd;
    return 0;
}

/* What turns up from outside of the ring. */
static int look_outside(struct torci_io *io)
{
    if (!io->wake.armed) {
        int err = arm_wake(io);
        if (err && err != -EAGAIN)
            return err;
    }
    (void)torci_blocking_reap(&io->blocking);
    return 0;
}

void torci_io_wake(struct torci_io *io)
{
    /* pairs with park */
    if (__atomic_exchange_n(&io->wake.parked, 0, __ATOMIC_SEQ_CST))
        (void)io->kernel->wake(io->kernel->host.context, io->wake.event_fd);
}

int torci_io_turn(void *context, uint64_t wait_until_ns)
{
    (void)context;
    struct torci_io *io = torci_io_this();
    if (TORC_UNLIKELY(io->exec.now_ns >= io->clock.due_ns))
        torci_clock_tune(&io->clock, &io->host);
    int err;
    if (io->wake.event_fd >= 0) {
        err = look_outside(io);
        if (err)
            return err;
    }
    if (is_marked(io))
        take_mail(io);
    else if (io->outside.busy)
        io->outside.turn(io);
    /* Queued by a task that waits for what becomes of it, or not taken the last time: a submission must end this turn, not
     * a sleep. */
    if (TORC_UNLIKELY(io->traffic.queued))
        wait_until_ns = 0;
    if (io->traffic.dirty)
        io->traffic.flush(io);
    if (wait_until_ns && (io->exec.top.first_runnable || wants_room(io) || io->traffic.awaited))
        wait_until_ns = 0;
    if (TORC_UNLIKELY(io->poll_ring.in_flight > 0)) {
        /* nobody tells us when a polled operation is done: keep asking */
        err = enter_and_reap(io, &io->poll_ring, 0, UINT64_MAX);
        if (!err)
            err = look(io);
    } else {
        err = wait_until_ns ? idle(io, wait_until_ns) : look(io);
    }
    if (io->traffic.queued)
        io->traffic.submitted(io);
    if (TORC_UNLIKELY(!torci_list_is_empty(&io->cancel_retry) ||
                      !torci_list_is_empty(&io->room_waiters)))
        torci_op_retry(io);
    return err;
}

static bool is_quiet(const struct torci_io *io)
{
    return io->ring.in_flight == 0 && io->poll_ring.in_flight == 0;
}

struct drain {
    struct torc_op cancel;
    uint64_t ask_ns; /* when to ask again */
    bool asking, by_name;
};

static void drain_answered(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct drain *drain = TORC_CONTAINER_OF(op, struct drain, cancel);
    drain->asking = false;
    if (result == -EINVAL && !drain->by_name) {
        drain->by_name = true; /* before 5.19; only what is ours has a name that we know */
        drain->ask_ns = 0;
    }
}

/* Asks for the end of all that is in flight: again and again, since completion functions may start more. No room is no
 * error: the next time then. */
static void drain_ask(struct torci_io *io, struct drain *drain, uint64_t now_ns)
{
    struct io_uring_sqe *sqe;
    if (drain->asking || now_ns < drain->ask_ns)
        return;
    if (drain->by_name) {
        bool asked = (!io->wake.armed || !torc_op_cancel(&io->wake.op)) &&
                     (!io->signals.in_flight || !torc_op_cancel(&io->signals.op));
        drain->ask_ns = asked ? UINT64_MAX : now_ns + DRAIN_ASK_NS;
        return;
    }
    drain->ask_ns = now_ns + DRAIN_ASK_NS;
    if (torc_op_start(&drain->cancel, drain_answered, &sqe))
        return;
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    drain->asking = true;
}

int torci_io_drain(struct torci_io *io)
{
    struct drain drain = {.asking = false};
    uint32_t fewest = UINT32_MAX;
    uint64_t patience_ns = 0;
    while (!is_quiet(io)) {
        uint64_t now = torci_host_now_ns(io->exec.host);
        uint32_t left = io->ring.in_flight + io->poll_ring.in_flight - drain.asking;
        if (left < fewest) {
            fewest = left;
            patience_ns = now + DRAIN_PATIENCE_NS;
        }
        if (now >= patience_ns)
            return -ETIMEDOUT;
        drain_ask(io, &drain, now);
        int err = io->poll_ring.in_flight ? enter_and_reap(io, &io->poll_ring, 0, UINT64_MAX) : 0;
        if (!err)
            err = enter_and_reap(io, &io->ring, io->poll_ring.in_flight ? 0 : 1, DRAIN_ASK_NS);
        if (err)
            return err;
    }
    return 0;
}
