/* SPDX-License-Identifier: MIT
 *
 * Listening and accepting. One multishot accept brings connections until it fails; then:
 *
 *     out of descriptors or memory    the listener waits until a descriptor is closed here, or for a tenth of a second: it
 *                                     never spins and is never lost, and peers wait in the backlog
 *     anything else                   of one connection (aborted, forbidden by a firewall): on with the next one
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/time.h"
#include "net/listener_internal.h"
#include "net/socket_internal.h"
#include "shard/alloc.h"

enum { BACKLOG_DEFAULT = 4096, READY_MIN = 64, READY_MAX = 1 << 16, STOP_PAUSE_NS = 50 * 1000 };
#define AGAIN_NS (100 * TORC_MS)

static void close_socket(struct torci_net *net, int fd, bool direct)
{
    if (direct)
        torci_close_direct(net, fd);
    else
        (void)TORCI_CALL(net->io->kernel, SYS_close, fd);
}

static void wait_for_files(struct torc_listener *listener)
{
    struct torci_net *net = listener->net;
    torci_count(&net->io->exec.counters->net_accept_waits);
    torci_list_push_back(&net->waiting_for_files, &listener->link);
    torci_wheel_arm(&net->io->exec.wheel, &listener->again, torc_now_ns() + AGAIN_NS);
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

static void keep_ready(struct torc_listener *listener, int fd)
{
    if (listener->ready_count == listener->ready_size) {
        uint32_t size = listener->ready_size ? 2 * listener->ready_size : READY_MIN;
        int *grown = size <= READY_MAX ? (int *)torc_alloc(size * sizeof *grown) : NULL;
        if (!grown) {
            close_socket(listener->net, fd, listener->direct);
            return;
        }
        if (listener->ready)
            memcpy(grown, listener->ready, listener->ready_count * sizeof *grown);
        torc_free(listener->ready);
        listener->ready = grown;
        listener->ready_size = size;
    }
    listener->ready[listener->ready_count++] = fd;
    if (listener->waiter) {
        struct torci_wait *waiter = listener->waiter;
        listener->waiter = NULL;
        torci_wait_wake(waiter, 0);
    }
}

static void accepted(struct torc_op *op, int result, uint32_t flags)
{
    struct torc_listener *listener = TORC_CONTAINER_OF(op, struct torc_listener, accept);
    if (!(flags & IORING_CQE_F_MORE))
        listener->armed = false;
    if (result >= 0) {
        torci_count(&listener->net->io->exec.counters->net_accepted);
        if (listener->closing)
            close_socket(listener->net, result, listener->direct);
        else if (listener->on_accept)
            listener->on_accept(listener, result);
        else
            keep_ready(listener, result);
    }
    if (listener->armed || listener->closing || listener->paused)
        return;
    if (result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS)
        wait_for_files(listener);
    else
        torci_listener_resume(listener);
}

void torci_listener_resume(struct torc_listener *listener)
{
    struct io_uring_sqe *sqe;
    torci_list_unlink(&listener->link);
    torci_wheel_cancel(&listener->net->io->exec.wheel, &listener->again);
    listener->paused = false;
    if (listener->armed || listener->closing)
        return;
    if (torc_op_start(&listener->accept, accepted, &sqe)) {
        wait_for_files(listener);
        return;
    }
    if (listener->direct)
        io_uring_prep_multishot_accept_direct(sqe, listener->fd, NULL, NULL, 0);
    else
        io_uring_prep_multishot_accept(sqe, listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    listener->armed = true;
}

void torci_listener_pause(struct torc_listener *listener)
{
    listener->paused = true;
    torci_list_unlink(&listener->link);
    torci_wheel_cancel(&listener->net->io->exec.wheel, &listener->again);
    if (listener->armed)
        torci_ignore(torc_op_cancel(&listener->accept));
}

int torc_listen(struct torc_listener *listener, const char *address,
                const struct torc_serve_options *options)
{
    static const struct torc_serve_options defaults;
    struct torc_address at;
    struct torci_net *net;
    if (!options)
        options = &defaults;
    int err = torci_net_get(&net);
    if (!err)
        err = torc_address_parse(address, &at);
    if (err == -EDESTADDRREQ)
        err = torc_resolve(address, &at, 1);
    if (err < 0)
        return err;
    const struct torci_kernel *kernel = net->io->kernel;
    int fd = torci_socket_create(&at, &options->socket, true);
    if (fd < 0)
        return fd;
    uint32_t backlog = options->socket.backlog ? options->socket.backlog : BACKLOG_DEFAULT;
    long bound = TORCI_CALL(kernel, SYS_bind, fd, (long)(uintptr_t)&at.storage, at.length);
    if (bound >= 0)
        bound = TORCI_CALL(kernel, SYS_listen, fd, backlog);
    socklen_t length = sizeof at.storage;
    if (bound >= 0)
        bound = TORCI_CALL(kernel, SYS_getsockname, fd, (long)(uintptr_t)&at.storage,
                           (long)(uintptr_t)&length);
    if (bound < 0) {
        (void)TORCI_CALL(kernel, SYS_close, fd);
        return (int)bound;
    }
    at.length = length;
    *listener = (struct torc_listener){.net = net, .fd = fd, .address = at};
    listener->direct = options->direct;
    torci_timer_init(&listener->again, again);
    torci_link_init(&listener->link);
    return 0;
}

const struct torc_address *torc_listener_address(const struct torc_listener *listener)
{
    return &listener->address;
}

int torc_accept(struct torc_listener *listener, struct torc_stream *stream)
{
    TORC_ASSERT(!listener->on_accept && !listener->waiter);
    torci_listener_resume(listener);
    while (!listener->ready_count) {
        int err = torci_stream_park(&listener->waiter);
        if (err)
            return err;
    }
    int fd = listener->ready[0];
    listener->ready_count--;
    memmove(listener->ready, listener->ready + 1, listener->ready_count * sizeof *listener->ready);
    int err = torci_stream_open(stream, fd, listener->direct);
    if (err)
        close_socket(listener->net, fd, listener->direct);
    return err;
}

void torc_listener_close(struct torc_listener *listener)
{
    if (listener->fd < 0)
        return;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    listener->closing = true;
    torci_listener_pause(listener);
    while (listener->armed) {
        torci_ignore(torc_sleep(STOP_PAUSE_NS));
        if (listener->armed)
            torci_ignore(torc_op_cancel(&listener->accept));
    }
    for (uint32_t i = 0; i < listener->ready_count; i++)
        close_socket(listener->net, listener->ready[i], listener->direct);
    torc_free(listener->ready);
    (void)TORCI_CALL(listener->net->io->kernel, SYS_close, listener->fd);
    listener->fd = -1;
    torc_mask_leave(&mask);
}
