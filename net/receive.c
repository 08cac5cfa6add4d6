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
 *                    |  \--holds its limit: cancel--> idle --the reader has caught up--> armed
 *                    '--end, error--> ended
 *
 * Where the kernel has no buffer rings, ARMED is a poll, and the data is fetched by a call when it says so.
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

static void end(struct torc_stream *stream, int error)
{
    stream->ended = true;
    stream->in_error = error;
}

/* What came of a receive: bytes, the end (0), or an error. */
static void took(struct torc_stream *stream, int result)
{
    if (result == -ENOBUFS || result == -EAGAIN || result == -EINTR)
        starve(stream);
    else if (result <= 0 && result != -ECANCELED)
        end(stream, result);
}

static void received(struct torc_op *op, int result, uint32_t flags)
{
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, receive);
    struct torci_net *net = stream->net;
    if (flags & IORING_CQE_F_BUFFER) {
        uint16_t chunk = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        net->held--;
        net->used++;
        net->io->traffic.dirty = true;
        if (result > 0)
            append(stream, chunk, (uint32_t)result);
        else
            torci_chunk_put(net, chunk);
    }
    if (!(flags & IORING_CQE_F_MORE))
        stream->armed = stream->cancelling = false;
    if (result <= 0)
        took(stream, result);
    if (stream->armed && stream->in_chunks >= stream->in_max && !stream->cancelling)
        stream->cancelling = !torc_op_cancel(&stream->receive);
    torci_stream_tell(stream, TORCI_EVENT_INPUT);
}

/* The socket is readable, where that is all that the kernel can tell. */
static void readable(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, receive);
    struct torci_net *net = stream->net;
    stream->armed = stream->cancelling = false;
    if (result < 0) {
        took(stream, result);
    } else {
        uint16_t chunk = torci_chunk_take(net);
        if (chunk == TORCI_NO_CHUNK) {
            starve(stream);
            return;
        }
        long size = TORCI_CALL(net->io->kernel, SYS_recvfrom, stream->fd,
                               (long)(uintptr_t)torci_chunk_memory(net, chunk), TORCI_CHUNK_BYTES,
                               MSG_DONTWAIT, 0, 0);
        if (size > 0) {
            append(stream, chunk, (uint32_t)size);
        } else {
            torci_chunk_put(net, chunk);
            took(stream, (int)size);
        }
    }
    torci_stream_tell(stream, TORCI_EVENT_INPUT);
}

void torci_receive_arm(struct torc_stream *stream)
{
    struct torci_net *net = stream->net;
    struct io_uring_sqe *sqe;
    if (stream->armed || stream->ended || stream->in_chunks >= stream->in_max ||
        torci_link_is_queued(&stream->in_link))
        return;
    if (torc_op_start(&stream->receive, net->slots ? received : readable, &sqe)) {
        starve(stream);
        return;
    }
    if (net->slots) {
        io_uring_prep_recv(sqe, stream->fd, NULL, 0, 0);
        sqe->ioprio = IORING_RECV_MULTISHOT;
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
    torci_list_unlink(&stream->in_link);
    uint64_t pause_ns = STOP_PAUSE_NS;
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
