/* SPDX-License-Identifier: MIT
 *
 * Listening and accepting. A multishot accept brings connections to a server until it fails or is paused; who accepts by
 * hand, or has room for a few only, gets one at a time, so that the others stay in the kernel's backlog. What comes all
 * the same, because a cancel takes its time, is kept until somebody takes it. After a failure:
 *
 *     out of descriptors or memory    the listener waits until a descriptor is closed here, or for a tenth of a second: it
 *                                     never spins and is never lost, and peers wait in the backlog
 *     no slot for a direct one        likewise; nothing is accepted without one, since the kernel would drop what it has no slot for
 *     anything else                   of one connection (aborted, forbidden by a firewall): on with the next one; if that
 *                                     fails too, after a tenth of a second
 */
#include "net/listener_internal.h"

#include <errno.h>
#include <string.h>

#include "core/time.h"
#include "net/socket_internal.h"
#include "net/unix_path_internal.h"
#include "shard/alloc.h"

enum { READY_MIN = 64, STOP_PAUSE_NS = 50 * 1000, STOP_PAUSE_MAX_NS = 10 * 1000 * 1000 };
#define AGAIN_NS (100 * TORC_MS)

void torci_connection_reset(struct torci_net *net, int fd, bool direct)
{
    static const struct linger reset = {.l_onoff = 1};
    const struct torci_kernel *kernel = net->io->kernel;
    if (direct) {
        torci_reset_direct(net, fd);
        return;
    }
    (void)TORCI_CALL(kernel, SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, (long)(uintptr_t)&reset,
                     sizeof reset);
    (void)TORCI_CALL(kernel, SYS_close, fd);
}

static void pause_for_a_while(struct torc_listener *listener)
{
    torci_wheel_arm(&listener->net->io->exec.wheel, &listener->again, torc_now_ns() + AGAIN_NS);
}

static void wait_for_files(struct torc_listener *listener)
{
    torci_count(&listener->net->io->exec.counters->net_accept_waits);
    if (!torci_link_is_queued(&listener->link))
        torci_list_push_back(&listener->net->waiting_for_files, &listener->link);
    pause_for_a_while(listener);
}

static void again(struct torci_timer *timer)
{
    torci_listener_resume(TORC_CONTAINER_OF(timer, struct torc_listener, again));
}

void torci_listeners_file_closed(struct torci_net *net)
{
    struct torci_link *at = torci_list_pop_front(&net->waiting_for_files);
    if (at)
        torci_listener_resume(TORC_CONTAINER_OF(at, struct torc_listener, link));
}

static bool grow(struct torc_listener *listener)
{
    uint32_t size = listener->ready_size ? 2 * listener->ready_size : READY_MIN;
    int *grown = (int *)torc_alloc(size * sizeof *grown);
    if (!grown)
        return false;
    for (uint32_t i = 0; i < listener->ready_count; i++)
        grown[i] = listener->ready[(listener->ready_first + i) % listener->ready_size];
    torc_free(listener->ready);
    listener->ready = grown;
    listener->ready_size = size;
    listener->ready_first = 0;
    return true;
}

static void keep(struct torc_listener *listener, int fd)
{
    if (listener->ready_count == listener->ready_size && !grow(listener)) {
        torci_connection_reset(listener->net, fd, listener->direct);
        return;
    }
    uint32_t at = (listener->ready_first + listener->ready_count++) % listener->ready_size;
    listener->ready[at] = fd;
    if (listener->waiter) {
        struct torci_wait *waiter = listener->waiter;
        listener->waiter = NULL;
        torci_wait_wake(waiter, 0);
    }
}

/* The oldest of those that are kept. */
static int take(struct torc_listener *listener)
{
    int fd = listener->ready[listener->ready_first];
    listener->ready_first = (listener->ready_first + 1) % listener->ready_size;
    listener->ready_count--;
    return fd;
}

void torci_listener_hold(struct torc_listener *listener, int fd)
{
    keep(listener, fd);
    torci_listener_pause(listener);
    wait_for_files(listener);
}

static bool is_wanted(const struct torc_listener *listener)
{
    return !listener->paused && !listener->closing && (listener->on_accept || listener->waiter);
}

static void cancel(struct torc_listener *listener)
{
    if (listener->armed && !listener->cancelling)
        listener->cancelling = !torc_op_cancel(&listener->accept);
}

static void arm(struct torc_listener *listener);

static void failed(struct torc_listener *listener, int error)
{
    bool again_at_once = !listener->failed;
    listener->failed = true;
    if (error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS)
        wait_for_files(listener);
    else if (again_at_once)
        arm(listener);
    else
        pause_for_a_while(listener);
}

/* Of a direct listener's accept one slot is promised to whatever comes next. */
static void count_slots(struct torc_listener *listener, int result, bool more)
{
    uint32_t *free = &listener->net->io->files.shared_free;
    if (result >= 0 && more)
        *free -= *free > 0;
    else if (result < 0 && !more)
        ++*free;
}

static void accepted(struct torc_op *op, int result, uint32_t flags)
{
    struct torc_listener *listener = TORC_CONTAINER_OF(op, struct torc_listener, accept);
    if (listener->direct)
        count_slots(listener, result, flags & IORING_CQE_F_MORE);
    if (!(flags & IORING_CQE_F_MORE))
        listener->armed = listener->cancelling = false;
    if (result >= 0) {
        listener->failed = false;
        torci_count(&listener->net->io->exec.counters->net_accepted);
        if (listener->on_accept && !listener->paused && !listener->closing)
            listener->on_accept(listener, result);
        else
            keep(listener, result);
    }
    if (listener->armed && listener->paused)
        cancel(listener); /* the last one found no room in the queue */
    if (listener->armed || !is_wanted(listener))
        return;
    if (result < 0 && result != -ECANCELED)
        failed(listener, result);
    else
        arm(listener);
}

/* Multishot accept came with 5.19, as these sockets did. What it brings in one go must have slots. */
static bool is_multishot(const struct torc_listener *listener)
{
    const struct torci_io *io = listener->net->io;
    return listener->on_accept && !listener->one_by_one &&
           (!listener->direct || io->files.shared_free > 2 * listener->backlog) &&
           torci_ring_has_op(io, IORING_OP_SOCKET);
}

static void arm(struct torc_listener *listener)
{
    struct io_uring_sqe *sqe;
    if (listener->armed)
        return;
    if (listener->direct && !listener->net->io->files.shared_free) {
        wait_for_files(listener);
        return;
    }
    if (torc_op_start(&listener->accept, accepted, &sqe)) {
        pause_for_a_while(listener);
        return;
    }
    int flags = SOCK_NONBLOCK | (listener->direct ? 0 : SOCK_CLOEXEC);
    if (is_multishot(listener))
        io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, flags);
    else
        io_uring_prep_accept(sqe, listener->fd, NULL, NULL, flags);
    if (listener->direct) {
        sqe->file_index = UINT32_MAX; /* the kernel chooses the slot */
        listener->net->io->files.shared_free--;
    }
    listener->armed = true;
}

void torci_listener_resume(struct torc_listener *listener)
{
    torci_list_unlink(&listener->link);
    torci_wheel_cancel(&listener->net->io->exec.wheel, &listener->again);
    listener->paused = false;
    if (listener->resuming)
        return; /* from on_accept, below */
    listener->resuming = true;
    while (listener->on_accept && is_wanted(listener) && listener->ready_count)
        listener->on_accept(listener, take(listener));
    listener->resuming = false;
    if (is_wanted(listener))
        arm(listener);
}

void torci_listener_pause(struct torc_listener *listener)
{
    listener->paused = true;
    torci_list_unlink(&listener->link);
    torci_wheel_cancel(&listener->net->io->exec.wheel, &listener->again);
    cancel(listener);
}

int torci_listener_resolve(const char *text, struct torc_address *address)
{
    int err = torc_address_parse(text, address);
    if (err == -EDESTADDRREQ)
        err = torc_resolve(text, address, 1);
    if (err >= 0 && address->transport != TORC_TCP && address->transport != TORC_UNIX)
        err = -EPROTOTYPE;
    return err < 0 ? err : 0;
}

/* FD, which has its address, takes connections from here on. */
static int listen_on(int fd, struct torc_address *address, uint32_t backlog, bool shared)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    static const int on = 1;
    socklen_t length = sizeof address->storage;
    long err = 0;
    if (shared)
        err = TORCI_CALL(kernel, SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEPORT, (long)(uintptr_t)&on,
                         sizeof on);
    if (err >= 0)
        err = TORCI_CALL(kernel, SYS_listen, fd, backlog);
    if (err >= 0)
        err = TORCI_CALL(kernel, SYS_getsockname, fd, (long)(uintptr_t)&address->storage,
                         (long)(uintptr_t)&length);
    address->length = length;
    return err < 0 ? (int)err : 0;
}

int torci_listen(struct torc_listener *listener, const struct torc_address *address,
                 const struct torc_serve_options *options, bool shared)
{
    struct torci_net *net;
    int err = torci_net_get(&net);
    if (!err && options->direct)
        err = torci_slots_share(net->io);
    if (err)
        return err;
    int fd = torci_socket_create(address, &options->socket, true);
    if (fd < 0)
        return fd;
    *listener = (struct torc_listener){.net = net, .fd = fd, .address = *address};
    listener->direct = options->direct;
    listener->backlog = options->socket.backlog ? options->socket.backlog : TORCI_BACKLOG_DEFAULT;
    torci_timer_init(&listener->again, again);
    torci_link_init(&listener->link);
    err = torci_bind(fd, address, &listener->unlink);
    if (!err)
        err = listen_on(fd, &listener->address, listener->backlog, shared);
    if (err) {
        if (listener->unlink)
            torci_unix_path_remove(address);
        (void)TORCI_CALL(net->io->kernel, SYS_close, fd);
        listener->fd = -1;
    }
    return err;
}

int torc_listen(struct torc_listener *listener, const char *address,
                const struct torc_serve_options *options)
{
    static const struct torc_serve_options defaults;
    struct torc_address at;
    int err = torci_listener_resolve(address, &at);
    return err ? err : torci_listen(listener, &at, options ? options : &defaults, false);
}

const struct torc_address *torc_listener_address(const struct torc_listener *listener)
{
    return &listener->address;
}

/* Arms for whoever parks next: is_wanted asks for a waiter. */
static int wait_for_one(struct torc_listener *listener)
{
    listener->paused = false;
    if (!torci_link_is_queued(&listener->link) && !torci_timer_is_armed(&listener->again))
        arm(listener);
    return torci_stream_park(&listener->waiter);
}

int torc_accept(struct torc_listener *listener, struct torc_stream *stream)
{
    TORC_ASSERT(!listener->on_accept && !listener->waiter);
    while (!listener->ready_count) {
        if (listener->closing)
            return -ECANCELED;
        int err = wait_for_one(listener);
        if (err)
            return err;
    }
    int fd = take(listener);
    int err = torci_stream_open(stream, fd, listener->direct);
    if (err)
        torci_connection_reset(listener->net, fd, listener->direct);
    return err;
}

/* The kernel does not find an accept that is just running, so the question is repeated. */
static void stop(struct torc_listener *listener)
{
    uint64_t pause_ns = STOP_PAUSE_NS;
    while (listener->armed) {
        listener->cancelling = false;
        torci_listener_pause(listener);
        torci_ignore(torc_sleep(pause_ns));
        if (pause_ns < STOP_PAUSE_MAX_NS)
            pause_ns *= 2;
    }
    torci_listener_pause(listener);
}

void torc_listener_close(struct torc_listener *listener)
{
    if (listener->fd < 0)
        return;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    listener->closing = true;
    if (listener->unlink)
        torci_unix_path_remove(&listener->address);
    if (listener->waiter) {
        struct torci_wait *waiter = listener->waiter;
        listener->waiter = NULL;
        torci_wait_wake(waiter, -ECANCELED);
    }
    stop(listener);
    while (listener->ready_count)
        torci_connection_reset(listener->net, take(listener), listener->direct);
    torc_free(listener->ready);
    listener->ready = NULL;
    (void)TORCI_CALL(listener->net->io->kernel, SYS_close, listener->fd);
    listener->fd = -1;
    torci_listeners_file_closed(listener->net);
    torc_mask_leave(&mask);
}
