/* SPDX-License-Identifier: MIT
 *
 * Input. A multishot receive stays armed and fills chunks as data comes, so an idle connection holds no memory of ours
 * and no system call is made to find out that there is nothing. Measured (bench/compare.py --only echo), as CPU a message
 * of a plain epoll loop's:
 *
 *     multishot into 64 KiB chunks      0.86 to 1.02 in every shape, with the batches of io/pace.c
 *     readiness, or a speculative call  0.95 to 1.02: as good with few connections, but a call a message with many
 *     one-shot, a buffer a connection   0.94 to 1.06, and unfair: some of 1,000 connections wait for 40 ms
 *     bundles of 4 or 16 KiB            1.02 to 1.24: chunks of 64 KiB need none
 *
 *     idle --arm--> armed --ENOBUFS--> starved --chunks are back--> armed
 *                    |  \--holds its limit: crowded; still at the end of the turn: cancel--> idle --read on--> armed
 *                    '--end, error--> ended
 *
 * Where the kernel has no buffer rings, ARMED is a poll, and the data is fetched when it says so: by a call, or, of a direct
 * descriptor, by another operation.
 */
#include <errno.h>
#include <poll.h>

#include "core/time.h"
#include "net/net_internal.h"

enum { STOP_PAUSE_NS = 20 * 1000, STOP_PAUSE_MAX_NS = 10 * 1000 * 1000 };

static void append(struct torc_stream *stream, uint16_t chunk, uint32_t size)
{
    struct torci_net *net = stream->net;
    net->chunks[chunk] = (struct torci_chunk){.to = size, .next = TORCI_NO_CHUNK};
    if (stream->in_first == TORCI_NO_CHUNK)
        stream->in_first = chunk;
    else
        net->chunks[stream->in_last].next = chunk;
    stream->in_last = chunk;
    stream->in_chunks++;
    stream->received_bytes += size;
    struct torci_counters *counters = net->io->exec.counters;
    torci_count(&counters->net_receives);
    torci_count_add(&counters->net_received_bytes, size);
    struct torci_traffic *traffic = &net->io->traffic;
    traffic->came++;
    if (stream->epoch != traffic->epoch) {
        stream->epoch = traffic->epoch;
        traffic->active++;
    }
    if (size > traffic->largest_bytes)
        traffic->largest_bytes = size;
}

static void starve(struct torc_stream *stream)
{
    struct torci_net *net = stream->net;
    torci_count(&net->io->exec.counters->net_starved);
    if (!torci_link_is_queued(&stream->in_link))
        torci_list_push_back(&net->starved, &stream->in_link);
    net->io->traffic.dirty = true;
}

/* An error that a send has taken from the socket leaves a plain end here. (-EPIPE says that the peer had ended before, or
 * that we have.) */
static void end(struct torc_stream *stream, int error)
{
    stream->ended = true;
    stream->in_error = error || stream->out_error == -EPIPE ? error : stream->out_error;
}

/* A receive has brought no bytes: RESULT is the end (0) or an error. */
static void took_none(struct torc_stream *stream, int result)
{
    if (result == -ENOBUFS || result == -EAGAIN || result == -EINTR)
        starve(stream);
    else if (result != -ECANCELED)
        end(stream, result);
}

/* The receive is over, and nobody has been told of anything: whoever waits needs another one. */
static void go_on(struct torc_stream *stream)
{
    if (torci_link_is_queued(&stream->in_link)) /* starved: it will get one */
        return;
    if (stream->reader || (stream->on_event && stream->in_first == TORCI_NO_CHUNK && !stream->kept))
        torci_receive_arm(stream);
    else if (stream->on_event && !stream->stopping)
        torci_stream_tell(stream, TORCI_EVENT_INPUT);
}

static void disarmed(struct torc_stream *stream)
{
    stream->armed = stream->renew = false;
    torci_list_unlink(&stream->in_link);
}

static void received(struct torc_op *op, int result, uint32_t flags)
{
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, receive);
    struct torci_net *net = stream->net;
    if (flags & IORING_CQE_F_BUFFER) {
        uint16_t chunk = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        net->held--;
        net->held_small -= chunk >= net->count;
        net->used++;
        net->io->traffic.dirty = true;
        if (result > 0)
            append(stream, chunk, (uint32_t)result);
        else
            torci_chunk_put(net, chunk);
    }
    if (!(flags & IORING_CQE_F_MORE))
        disarmed(stream);
    if (result <= 0)
        took_none(stream, result);
    if (TORC_UNLIKELY(stream->armed && torci_receive_is_full(stream)))
        torci_receive_crowd(stream);
    if (result > 0 || stream->ended)
        torci_stream_tell(stream, TORCI_EVENT_INPUT);
    else if (!stream->armed)
        go_on(stream);
}

static void fetched(struct torc_stream *stream, uint16_t chunk, int result)
{
    if (result > 0) {
        append(stream, chunk, (uint32_t)result);
    } else {
        torci_chunk_put(stream->net, chunk);
        took_none(stream, result);
    }
    if (result > 0 || stream->ended)
        torci_stream_tell(stream, TORCI_EVENT_INPUT);
    else
        go_on(stream);
}

static void fetched_direct(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, receive);
    disarmed(stream);
    fetched(stream, stream->in_fetch, result);
}

static void fetch_direct(struct torc_stream *stream, uint16_t chunk)
{
    struct torci_net *net = stream->net;
    struct io_uring_sqe *sqe;
    if (torc_op_start(&stream->receive, fetched_direct, &sqe)) {
        fetched(stream, chunk, -EAGAIN);
        return;
    }
    io_uring_prep_recv(sqe, stream->fd, torci_chunk_memory(net, chunk),
                       torci_chunk_bytes(net, chunk), MSG_DONTWAIT);
    sqe->flags |= IOSQE_FIXED_FILE;
    stream->in_fetch = chunk;
    stream->armed = true;
}

/* The socket is readable, where that is all that the kernel can tell. */
static void readable(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, receive);
    struct torci_net *net = stream->net;
    disarmed(stream);
    if (result < 0) {
        took_none(stream, result);
        if (stream->ended)
            torci_stream_tell(stream, TORCI_EVENT_INPUT);
        else
            go_on(stream);
        return;
    }
    uint16_t chunk = torci_chunk_take_input(net);
    if (chunk == TORCI_NO_CHUNK)
        starve(stream);
    else if (stream->direct)
        fetch_direct(stream, chunk);
    else
        fetched(stream, chunk,
                (int)TORCI_CALL(net->io->kernel, SYS_recvfrom, stream->fd,
                                (long)(uintptr_t)torci_chunk_memory(net, chunk),
                                torci_chunk_bytes(net, chunk), MSG_DONTWAIT, 0, 0));
}

bool torci_receive_is_full(const struct torc_stream *stream)
{
    uint16_t limit = stream->net->pressed ? 1 : stream->in_max;
    return stream->in_chunks >= limit || stream->renew;
}

void torci_receive_crowd(struct torc_stream *stream)
{
    struct torci_net *net = stream->net;
    torci_list_unlink(&stream->in_link);
    torci_list_push_back(&net->crowded, &stream->in_link);
    net->io->traffic.dirty = true;
}

void torci_receive_arm(struct torc_stream *stream)
{
    struct torci_net *net = stream->net;
    struct io_uring_sqe *sqe;
    if (stream->armed || stream->ended || stream->stopping || stream->in_chunks >= stream->in_max ||
        torci_link_is_queued(&stream->in_link))
        return;
    if (torc_op_start(&stream->receive, net->slots ? received : readable, &sqe)) {
        starve(stream);
        return;
    }
    if (net->slots) {
        io_uring_prep_recv(sqe, stream->fd, NULL, 0, 0);
        if (TORC_LIKELY(!net->pressed)) {
            sqe->ioprio = IORING_RECV_MULTISHOT;
            torci_list_push_back(&net->armed, &stream->in_link);
        }
        sqe->buf_group = TORCI_BUFFER_GROUP;
        sqe->flags |= IOSQE_BUFFER_SELECT;
    } else {
        io_uring_prep_poll_add(sqe, stream->fd, POLLIN | POLLRDHUP);
    }
    if (stream->direct)
        sqe->flags |= IOSQE_FIXED_FILE;
    stream->armed = true;
}

int torci_receive_wait(struct torc_stream *stream)
{
    TORC_ASSERT(!stream->reader); /* one task reads a stream */
    torci_receive_arm(stream);
    return torci_stream_park(&stream->reader);
}

static int cancel_and_wait(struct torc_stream *stream)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)&stream->receive | TORCI_TAG_OP, 0);
    return torc_op_wait(&op);
}

/* The kernel does not find a receive that is just running, so the question is repeated. */
void torci_receive_stop(struct torc_stream *stream)
{
    uint64_t pause_ns = STOP_PAUSE_NS;
    stream->stopping = true;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    while (stream->armed) {
        torci_ignore(cancel_and_wait(stream));
        if (!stream->armed)
            break;
        torci_ignore(torc_sleep(pause_ns));
        if (pause_ns < STOP_PAUSE_MAX_NS)
            pause_ns *= 2;
    }
    torc_mask_leave(&mask);
    stream->stopping = false;
    torci_list_unlink(&stream->in_link);
}

void torci_input_consume(struct torc_stream *stream, size_t size)
{
    struct torci_net *net = stream->net;
    uint16_t first = stream->in_first;
    struct torci_chunk *chunk = &net->chunks[first];
    TORC_DEBUG_ASSERT(size <= chunk->to - chunk->from);
    chunk->from += (uint32_t)size;
    stream->taken = true;
    if (chunk->from < chunk->to)
        return;
    stream->in_first = chunk->next;
    stream->in_chunks--;
    torci_chunk_put(net, first);
}

void torci_input_drop(struct torc_stream *stream)
{
    struct torci_chunk *chunk;
    while ((chunk = torci_input_first(stream)))
        torci_input_consume(stream, chunk->to - chunk->from);
}
