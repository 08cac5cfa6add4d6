/* SPDX-License-Identifier: MIT
 *
 * Signals: blocked in the thread, announced by a signalfd that is polled on the ring, and taken by rt_sigtimedwait with
 * no time to wait. Nothing is read from the descriptor: rt_sigtimedwait finds what was sent to the process and to this
 * very thread alike, never sleeps, and its result is the number.
 *
 * A signal that was taken is gone; one that is pending when the last user unblocks it has its usual effect.
 */
#include "io/signals_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "io/io_internal.h"
#include "io/signals.h"

enum {
    SIGNALS_MAX = 64,
    SET_BYTES = SIGNALS_MAX / 8,
    LIBC_FIRST = 32, /* the C library's own: thread cancellation and set*id */
    LIBC_LAST = 33,
};

/* What rt_sigaction(2) takes; libc's differs. */
struct kernel_sigaction {
    uintptr_t handler;
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
};

static uint64_t bit(int number)
{
    return UINT64_C(1) << (number - 1);
}

/* Blocks MASK in this thread; the bits that were not blocked before go to UNBLOCKED. */
static int signals_block(const struct torci_kernel *kernel, uint64_t mask, uint64_t *unblocked)
{
    uint64_t before = 0;
    long err =
        TORCI_CALL(kernel, SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, (long)&before, SET_BYTES);
    *unblocked = mask & ~before;
    return (int)err;
}

static void signals_unblock(const struct torci_kernel *kernel, uint64_t mask)
{
    if (mask)
        (void)TORCI_CALL(kernel, SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&mask, 0, SET_BYTES);
}

/* Blocks MASK and opens a signalfd for it, or does nothing. The descriptor. */
static int signals_take_over(const struct torci_kernel *kernel, uint64_t mask, uint64_t *unblocked)
{
    int err = signals_block(kernel, mask, unblocked);
    if (err)
        return err;
    int fd = (int)TORCI_CALL(kernel, SYS_signalfd4, -1, (long)&mask, SET_BYTES,
                             SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        signals_unblock(kernel, *unblocked);
    return fd;
}

/* The number of a pending signal of MASK, which it no longer is then; -EAGAIN if there is none. */
static int signals_next(const struct torci_kernel *kernel, uint64_t mask)
{
    static const struct timespec no_time;
    long number;
    do {
        number = TORCI_CALL(kernel, SYS_rt_sigtimedwait, (long)&mask, 0, (long)&no_time, SET_BYTES);
    } while (number == -EINTR); /* by another signal's handler */
    return (int)number;
}

/* ---- for tasks ---- */

static bool can_be_taken(int number)
{
    if (number < 1 || number > SIGNALS_MAX || (number >= LIBC_FIRST && number <= LIBC_LAST))
        return false;
    switch (number) {
    case SIGKILL:
    case SIGSTOP: /* nobody's to take */
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP: /* come from the running instruction; the kernel kills who blocks them */
        return false;
    default: return true;
    }
}

int torc_signals_open(struct torc_signals *signals, const int *numbers, unsigned count)
{
    *signals = (struct torc_signals){.fd = -EINVAL};
    if (!count || torci_io_this()->id)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        if (!can_be_taken(numbers[i]))
            return -EINVAL;
        signals->mask |= bit(numbers[i]);
    }
    signals->fd = signals_take_over(torci_kernel_this(), signals->mask, &signals->unblocked);
    return signals->fd < 0 ? signals->fd : 0;
}

int torc_signals_wait(struct torc_signals *signals)
{
    for (;;) {
        struct torc_op op;
        struct io_uring_sqe *sqe;
        int err = torc_op_begin(&op, &sqe);
        if (err)
            return err;
        io_uring_prep_poll_add(sqe, signals->fd, POLLIN);
        err = torc_op_wait(&op);
        if (err < 0)
            return err;
        int number = signals_next(torci_kernel_this(), signals->mask);
        if (number != -EAGAIN) /* another thread of the process was faster */
            return number;
    }
}

void torc_signals_close(struct torc_signals *signals)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    (void)TORCI_CALL(kernel, SYS_close, signals->fd);
    signals_unblock(kernel, signals->unblocked);
    signals->fd = -EBADF;
}

/* ---- for torc_run ---- */

static void watch_end(struct torci_signal_watch *watch)
{
    if (!watch->mask)
        return;
    const struct torci_kernel *kernel = watch->io->kernel;
    (void)TORCI_CALL(kernel, SYS_close, watch->fd);
    signals_unblock(kernel, watch->unblocked);
    watch->mask = 0;
}

void torci_signals_die(const struct torci_kernel *kernel, int number)
{
    static const struct kernel_sigaction by_default;
    (void)TORCI_CALL(kernel, SYS_rt_sigaction, number, (long)&by_default, 0, SET_BYTES);
    (void)TORCI_CALL(kernel, SYS_tgkill, TORCI_CALL(kernel, SYS_getpid, 0),
                     TORCI_CALL(kernel, SYS_gettid, 0), number);
    signals_unblock(kernel, bit(number));
}

static int watch_arm(struct torci_signal_watch *watch);

static void watch_done(struct torc_op *op, int result, uint32_t flags)
{
    struct torci_signal_watch *watch = TORC_CONTAINER_OF(op, struct torci_signal_watch, op);
    struct torci_io *io = watch->io;
    watch->in_flight = flags & IORING_CQE_F_MORE;
    for (int number;
         !watch->stopping && result >= 0 && (number = signals_next(io->kernel, watch->mask)) > 0;) {
        if (watch->taken)
            torci_signals_die(io->kernel, number);
        watch->taken = number;
        io->outside.shutdown(io);
    }
    if (watch->in_flight)
        return;
    io->internal_ops--;
    /* A multishot poll ends when the completion queue was full. If it can't be started again the signals get their
     * default action back: a program that nobody can stop is worse than one that stops at once. */
    if (watch->stopping || result < 0 || watch_arm(watch))
        watch_end(watch);
}

static int watch_arm(struct torci_signal_watch *watch)
{
    struct io_uring_sqe *sqe;
    int err = torc_op_start(&watch->op, watch_done, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_multishot(sqe, watch->fd, POLLIN);
    watch->in_flight = true;
    watch->io->internal_ops++;
    return 0;
}

static bool is_ignored(const struct torci_kernel *kernel, int number)
{
    struct kernel_sigaction now = {0};
    long err = TORCI_CALL(kernel, SYS_rt_sigaction, number, 0, (long)&now, SET_BYTES);
    return !err && now.handler == (uintptr_t)SIG_IGN;
}

int torci_signals_shutdown_prepare(struct torci_io *io)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    struct torci_signal_watch *watch = &io->signals;
    *watch = (struct torci_signal_watch){.io = io};
    uint64_t mask = 0;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(numbers); i++)
        if (!is_ignored(io->kernel, numbers[i]))
            mask |= bit(numbers[i]);
    if (!mask)
        return 0;
    watch->fd = signals_take_over(io->kernel, mask, &watch->unblocked);
    if (watch->fd < 0)
        return watch->fd;
    watch->mask = mask;
    return 0;
}

int torci_signals_shutdown_start(struct torci_io *io)
{
    struct torci_signal_watch *watch = &io->signals;
    if (!watch->mask)
        return 0;
    int err = watch_arm(watch);
    if (err)
        watch_end(watch);
    return err;
}

void torci_signals_shutdown_stop(struct torci_io *io)
{
    struct torci_signal_watch *watch = &io->signals;
    watch->stopping = true;
    if (!watch->in_flight && watch->mask)
        watch_end(watch);
    else if (watch->in_flight && torc_op_cancel(&watch->op))
        return; /* no room to ask: the drain at shutdown cancels whatever is left */
}

void torci_signals_shutdown_abandon(struct torci_io *io)
{
    watch_end(&io->signals);
}
