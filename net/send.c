/* SPDX-License-Identifier: MIT
 *
 * Output. Small writes are gathered in the stream's chunk and leave together at the end of the turn; by then it is known
 * how busy the turn was, which decides how they leave:
 *
 *     few messages in the turn    a call for each, at once: nothing is cheaper, and nothing is waited for
 *     many                        an entry of the queue each, which ends within the submission that the loop makes
 *                                 anyway and completes only if it fails (a tenth less CPU a message at 100 and 1,000
 *                                 connections)
 *
 * Zero-copy sends are not among them: on loopback the kernel copies all the same, and each costs a second completion (16
 * KiB messages: half as much CPU again, 512 bytes: twice).
 *
 * Large writes go straight from the caller's memory, unless there is more input waiting, whose answers would be large
 * too: then they are gathered as well.
 *
 *     idle --turn is over: queue--> queued --submitted, nothing said--> idle
 *       |                             '------- short, or failed ----------------.
 *       '--send() takes no more------------------------------> blocked --POLLOUT--> idle
 *
 * A stream has one send on its way at a time, or a short one would be overtaken by the next.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/time.h"
#include "net/net_internal.h"

enum { PIECES_MAX = 16, STOP_PAUSE_NS = 100 * 1000 };

static inline struct torci_chunk *output(const struct torc_stream *stream)
{
    return &stream->net->chunks[stream->out];
}

static void free_output(struct torc_stream *stream)
{
    if (stream->out == TORCI_NO_CHUNK)
        return;
    torci_chunk_put(stream->net, stream->out);
    stream->out = TORCI_NO_CHUNK;
}

/* SIZE bytes of the output have gone. */
static void sent(struct torc_stream *stream, size_t size)
{
    struct torci_chunk *chunk = output(stream);
    chunk->from += (uint32_t)size;
    stream->sent_bytes += size;
    torci_count_add(&stream->net->io->exec.counters->net_sent_bytes, size);
    if (chunk->from == chunk->to)
        free_output(stream);
}

static void mark_dirty(struct torc_stream *stream)
{
    if (stream->out_state != TORCI_OUT_IDLE || torci_link_is_queued(&stream->link))
        return;
    torci_list_push_back(&stream->net->dirty, &stream->link);
    stream->net->io->traffic.dirty = true;
}

void torci_send_fail(struct torc_stream *stream, int error)
{
    if (!stream->out_error)
        stream->out_error = error;
    torci_list_unlink(&stream->link);
    free_output(stream);
    /* The send has taken the socket's error with it: a receive that is armed may never hear of it. One that begins
     * afterwards gets what had come before, and then the end. */
    if (stream->armed) {
        stream->renew = true;
        torci_receive_crowd(stream);
    }
    stream->wants_room |= stream->relay != NULL; /* it may wait for nothing else */
    torci_stream_tell(stream, TORCI_EVENT_ROOM);
}

static void writable(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, transmit);
    stream->out_state = TORCI_OUT_IDLE;
    if (result != -ECANCELED && stream->out != TORCI_NO_CHUNK)
        torci_send_output(stream);
    if (stream->out_state == TORCI_OUT_IDLE)
        torci_stream_tell(stream, TORCI_EVENT_ROOM);
}

/* The socket takes no more: when it does again, output goes on. Without room in the queue the end of the next turn
 * tries again. */
static void block(struct torc_stream *stream)
{
    struct io_uring_sqe *sqe;
    torci_list_unlink(&stream->link);
    stream->out_state = TORCI_OUT_IDLE;
    if (torc_op_start(&stream->transmit, writable, &sqe)) {
        mark_dirty(stream);
        return;
    }
    io_uring_prep_poll_add(sqe, stream->fd, POLLOUT);
    if (stream->direct)
        sqe->flags |= IOSQE_FIXED_FILE;
    stream->out_state = TORCI_OUT_BLOCKED;
    torci_count(&stream->net->io->exec.counters->net_blocked);
}

/* A queued send fell short. */
static void fell_short(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, transmit);
    stream->out_state = TORCI_OUT_IDLE;
    torci_list_unlink(&stream->link);
    if (result > 0)
        sent(stream, (size_t)result);
    if (result < 0 && result != -EAGAIN && result != -EINTR && result != -ECANCELED) {
        torci_send_fail(stream, result);
        return;
    }
    block(stream);
    torci_stream_tell(stream,
                      TORCI_EVENT_ROOM); /* who waits for its end goes on: torci_send_stop */
}

/* False: the queue has no room. */
static bool queue(struct torc_stream *stream)
{
    struct torci_net *net = stream->net;
    struct io_uring_sqe *sqe;
    if (torci_op_start_silent(&stream->transmit, fell_short, &sqe))
        return false;
    struct torci_chunk *chunk = output(stream);
    io_uring_prep_send(sqe, stream->fd, torci_chunk_memory(net, stream->out) + chunk->from,
                       chunk->to - chunk->from, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS | (stream->direct ? IOSQE_FIXED_FILE : 0);
    stream->sq_index = net->io->ring.tail;
    stream->sq_bytes = chunk->to - chunk->from;
    stream->out_state = TORCI_OUT_QUEUED;
    torci_list_push_back(&net->queued, &stream->link);
    net->io->traffic.queued = true;
    net->io->traffic.awaited |= stream->writer || stream->wants_room;
    torci_count(&net->io->exec.counters->net_sends_queued);
    return true;
}

/* One call: bytes, or the negative errno. */
static long call_send(struct torc_stream *stream, const struct iovec *pieces, unsigned count)
{
    const struct torci_kernel *kernel = stream->net->io->kernel;
    long flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    torci_count(&stream->net->io->exec.counters->net_sends);
    if (count == 1)
        return TORCI_CALL(kernel, SYS_sendto, stream->fd, (long)(uintptr_t)pieces[0].iov_base,
                          (long)pieces[0].iov_len, flags, 0, 0);
    struct msghdr message = {.msg_iov = __extension__(struct iovec *)(uintptr_t) pieces,
                             .msg_iovlen = count};
    return TORCI_CALL(kernel, SYS_sendmsg, stream->fd, (long)(uintptr_t)&message, flags);
}

void torci_send_output(struct torc_stream *stream)
{
    struct torci_chunk *chunk = output(stream);
    if (stream->direct) {
        if (!queue(stream))
            mark_dirty(stream);
        return;
    }
    struct iovec piece = {torci_chunk_memory(stream->net, stream->out) + chunk->from,
                          chunk->to - chunk->from};
    long size = call_send(stream, &piece, 1);
    if (size < 0 && size != -EAGAIN && size != -EINTR) {
        torci_send_fail(stream, (int)size);
        return;
    }
    if (size > 0)
        sent(stream, (size_t)size);
    if (stream->out != TORCI_NO_CHUNK)
        block(stream);
}

void torci_send_chunk(struct torc_stream *stream, uint16_t chunk)
{
    TORC_DEBUG_ASSERT(stream->out == TORCI_NO_CHUNK);
    stream->out = chunk;
    mark_dirty(stream);
}

void torci_send_want_room(struct torc_stream *stream)
{
    stream->wants_room = true;
    mark_dirty(stream);
}

/* As much of it as goes; and of what room is made for. A task waits here only if the queue had no place for a poll. */
static void send_and_tell(struct torc_stream *stream)
{
    for (;;) {
        torci_send_output(stream);
        if (TORC_LIKELY(!stream->wants_room && !stream->writer) || !torci_send_is_idle(stream))
            return;
        torci_stream_tell(stream, TORCI_EVENT_ROOM);
        /* what it was told has been written, and may have found the socket full */
        if (stream->out == TORCI_NO_CHUNK || stream->out_state != TORCI_OUT_IDLE)
            return;
        torci_list_unlink(&stream->link);
    }
}

void torci_send_turn(struct torci_net *net)
{
    bool many = net->io->traffic.came >= TORCI_PACE_MANY;
    struct torci_link turn, *at;
    torci_link_init(&turn);
    torci_list_splice_back(&turn, &net->dirty);
    while ((at = torci_list_pop_front(&turn))) {
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, link);
        if (stream->out ==
            TORCI_NO_CHUNK) /* it only waits for room in the queue, to be told of room */
            block(stream);
        else if (!many || output(stream)->to - output(stream)->from > TORCI_SMALL_BYTES ||
                 !queue(stream))
            send_and_tell(stream);
    }
}

void torci_send_submitted(struct torci_net *net)
{
    struct torci_io *io = net->io;
    while (!torci_list_is_empty(&net->queued)) {
        struct torc_stream *stream = TORC_CONTAINER_OF(net->queued.next, struct torc_stream, link);
        if ((int32_t)(io->ring.settled - stream->sq_index) < 0)
            return;
        torci_list_unlink(&stream->link);
        stream->out_state = TORCI_OUT_IDLE;
        sent(stream, stream->sq_bytes);
        if (stream->out != TORCI_NO_CHUNK)
            mark_dirty(stream); /* written meanwhile */
        torci_stream_tell(stream, TORCI_EVENT_ROOM);
    }
    io->traffic.queued = io->traffic.awaited = false;
}

bool torci_send_gather(struct torc_stream *stream, const void *memory, size_t size)
{
    struct torci_net *net = stream->net;
    if (TORC_UNLIKELY(!size)) /* a chunk without anything to send would wait for ever */
        return true;
    if (size > torci_send_room(stream))
        return false;
    if (stream->out == TORCI_NO_CHUNK) {
        stream->out = torci_chunk_take(net);
        if (stream->out == TORCI_NO_CHUNK)
            return false;
    }
    struct torci_chunk *chunk = output(stream);
    memcpy(torci_chunk_memory(net, stream->out) + chunk->to, memory, size);
    chunk->to += (uint32_t)size;
    mark_dirty(stream);
    return true;
}

/* The output chunk, if it holds anything, and what of PIECES is left after SKIP bytes. How many pieces. */
static unsigned collect(const struct torc_stream *stream, const struct iovec *pieces,
                        unsigned count, size_t skip, struct iovec *all)
{
    unsigned n = 0;
    if (stream->out != TORCI_NO_CHUNK && output(stream)->from < output(stream)->to) {
        const struct torci_chunk *chunk = output(stream);
        all[n++] = (struct iovec){torci_chunk_memory(stream->net, stream->out) + chunk->from,
                                  chunk->to - chunk->from};
    }
    for (unsigned i = 0; i < count && n < PIECES_MAX; i++) {
        if (skip >= pieces[i].iov_len) {
            skip -= pieces[i].iov_len;
            continue;
        }
        all[n++] = (struct iovec){(char *)pieces[i].iov_base + skip, pieces[i].iov_len - skip};
        skip = 0;
    }
    return n;
}

/* One call for what is gathered and the pieces behind it: how many bytes of the pieces have gone; -EAGAIN: the
 * socket is full. */
static ssize_t send_through(struct torc_stream *stream, const struct iovec *pieces, unsigned count,
                            size_t skip)
{
    struct iovec all[PIECES_MAX];
    unsigned n = collect(stream, pieces, count, skip, all);
    size_t before = stream->out == TORCI_NO_CHUNK ? 0 : output(stream)->to - output(stream)->from;
    long size = call_send(stream, all, n);
    if (size == -EINTR)
        return 0;
    if (size < 0) {
        if (size != -EAGAIN)
            torci_send_fail(stream, (int)size);
        return size;
    }
    size_t own = (size_t)size < before ? (size_t)size : before;
    if (own)
        sent(stream, own);
    if (stream->out == TORCI_NO_CHUNK)
        torci_list_unlink(&stream->link);
    size -= (long)own;
    stream->sent_bytes += (uint64_t)size;
    torci_count_add(&stream->net->io->exec.counters->net_sent_bytes, (uint64_t)size);
    return size;
}

/* The reader is in the middle of what has come: more answers follow at once. */
static inline bool has_more_input(const struct torc_stream *stream)
{
    return stream->in_chunks > 1 ||
           (stream->in_chunks == 1 && stream->net->chunks[stream->in_first].from > 0);
}

static size_t total(const struct iovec *pieces, unsigned count)
{
    size_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += pieces[i].iov_len;
    return size;
}

/* Room in the output chunk for as much of the pieces as fits, from SKIP on: how many bytes were taken. */
static size_t gather_some(struct torc_stream *stream, const struct iovec *pieces, unsigned count,
                          size_t skip)
{
    size_t taken = 0;
    for (unsigned i = 0; i < count; i++) {
        size_t size = pieces[i].iov_len;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        const char *from = (const char *)pieces[i].iov_base + skip;
        size -= skip;
        skip = 0;
        size_t room = torci_send_room(stream);
        size_t part = size < room ? size : room;
        if (!part || !torci_send_gather(stream, from, part))
            break;
        taken += part;
        if (part < size)
            break;
    }
    return taken;
}

ssize_t torci_send_now(struct torc_stream *stream, const struct iovec *pieces, unsigned count)
{
    size_t size = total(pieces, count), done = 0;
    while (done < size && !stream->out_error) {
        bool small = size - done <= TORCI_SMALL_BYTES || has_more_input(stream);
        if (small || stream->direct || stream->out_state != TORCI_OUT_IDLE) {
            size_t taken = gather_some(stream, pieces, count, done);
            done += taken;
            if (taken)
                continue;
            if (stream->direct || stream->out_state != TORCI_OUT_IDLE)
                break;
        }
        ssize_t n = send_through(stream, pieces, count, done);
        if (n == -EAGAIN)
            block(stream);
        else if (n > 0)
            done += (size_t)n;
    }
    if (stream->out_error)
        return stream->out_error;
    return done || !size ? (ssize_t)done : -EAGAIN;
}

bool torci_send_make_room(struct torc_stream *stream, size_t size)
{
    if (stream->out_state == TORCI_OUT_IDLE && torci_send_room(stream) < size) {
        torci_list_unlink(&stream->link);
        torci_send_output(stream);
    }
    return torci_send_room(stream) >= size &&
           (stream->out != TORCI_NO_CHUNK || stream->net->free_count > 0);
}

int torci_send_wait(struct torc_stream *stream)
{
    TORC_ASSERT(!stream->writer); /* one task writes to a stream */
    if (stream->out_state == TORCI_OUT_IDLE)
        mark_dirty(stream);
    else if (stream->out_state == TORCI_OUT_QUEUED)
        stream->net->io->traffic.awaited = true;
    return torci_stream_park(&stream->writer);
}

/* A direct descriptor, for which there is no call, and no chunk to copy to: the caller's memory goes by the ring. */
static ssize_t send_by_ring(struct torc_stream *stream, const struct iovec *piece)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int size = torc_op_begin(&op, &sqe);
    if (size)
        return size;
    size_t most = piece->iov_len < INT32_MAX ? piece->iov_len : INT32_MAX;
    io_uring_prep_send(sqe, stream->fd, piece->iov_base, most, MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    size = torc_op_wait(&op);
    if (size == -EAGAIN || size == -EINTR)
        return 0;
    if (size > 0) {
        stream->sent_bytes += (uint64_t)size;
        torci_count_add(&stream->net->io->exec.counters->net_sent_bytes, (uint64_t)size);
    } else if (size != -ECANCELED && size != -ETIMEDOUT) {
        torci_send_fail(stream, size);
    }
    return size;
}

ssize_t torci_send(struct torc_stream *stream, const struct iovec *pieces, unsigned count)
{
    size_t size = total(pieces, count), done = 0;
    while (done < size) {
        struct iovec rest[PIECES_MAX];
        unsigned n = 0;
        size_t skip = done;
        rest[0] = (struct iovec){NULL, 0};
        for (unsigned i = 0; i < count && n < PIECES_MAX; i++) {
            if (skip >= pieces[i].iov_len) {
                skip -= pieces[i].iov_len;
                continue;
            }
            rest[n++] = (struct iovec){(char *)pieces[i].iov_base + skip, pieces[i].iov_len - skip};
            skip = 0;
        }
        ssize_t taken = torci_send_now(stream, rest, n);
        if (taken < 0 && taken != -EAGAIN)
            return taken;
        if (taken > 0)
            done += (size_t)taken;
        if (taken == (ssize_t)total(rest, n))
            continue;
        if (taken <= 0 && stream->direct && stream->out == TORCI_NO_CHUNK &&
            stream->out_state == TORCI_OUT_IDLE) {
            taken = send_by_ring(stream, &rest[0]);
            if (taken < 0)
                return taken;
            done += (size_t)taken;
            continue;
        }
        int err = torci_send_wait(stream);
        if (err)
            return err;
    }
    return stream->out_error ? stream->out_error : (ssize_t)size;
}

int torci_send_flush(struct torc_stream *stream)
{
    while (!stream->out_error && stream->out != TORCI_NO_CHUNK) {
        if (stream->out_state == TORCI_OUT_IDLE) {
            torci_list_unlink(&stream->link);
            torci_send_output(stream);
            if (stream->out_error || stream->out == TORCI_NO_CHUNK)
                break;
        }
        int err = torci_send_wait(stream);
        if (err)
            return err;
    }
    return stream->out_ended ? 0 : stream->out_error;
}

void torci_send_stop(struct torc_stream *stream)
{
    struct torc_mask mask;
    torc_mask_enter(&mask);
    while (stream->out_state != TORCI_OUT_IDLE) {
        int err = 0;
        if (stream->out_state == TORCI_OUT_BLOCKED) {
            free_output(stream); /* so that the end of the poll is the end */
            err = torc_op_cancel(&stream->transmit);
        }
        if (err)
            torci_ignore(torc_sleep(STOP_PAUSE_NS));
        else
            torci_ignore(torci_stream_park(&stream->writer));
    }
    torc_mask_leave(&mask);
    torci_list_unlink(&stream->link);
    free_output(stream);
}
