/* SPDX-License-Identifier: MIT
 *
 * The net room's state of one executor: chunks of memory for input and output, and the streams that have something to be
 * done for at the end of the turn. Made when the first stream is opened; goes with the ring.
 *
 * Chunks are of 64 KiB, so that a large message is one receive; a small one touches the one page. Free ones lie on a
 * stack, the warm ones on top, and the kernel is lent only about as many as turns have used lately: large messages then stay
 * in the cache instead of walking through the whole pool (bench: 16 KiB echo 7 % less CPU). Who holds them:
 *
 *     free (stack) --refill--> kernel's ring --receive--> a stream's input --consume--> free
 *          '------------------- a stream's output -------------------------------------> free
 *
 * A connection holds at most its limit of input chunks, those that come while its receive is being ended, and one of
 * output.
 *
 * Peers that don't read, and tasks that don't, keep what they hold. When three quarters of the chunks are with such
 * streams the room is *pressed*, until it is half: what comes then is received into small chunks of a page, of which there are
 * seven times as many; by receives of one each, since one that goes on and on takes what is there before anybody
 * can end it; a stream that has some input and does not read it gets no more; and nobody gets a chunk for output: writers
 * send from their own memory. So some thirty thousand stuck connections, a page each, leave the others all
 * they need (test_net_pool). When there is no chunk of any kind receives wait (starved) until one comes back.
 */
#ifndef TORC_NET_NET_INTERNAL_H
#define TORC_NET_NET_INTERNAL_H

#include "io/io_internal.h"
#include "net/resolve_internal.h"
#include "net/stream.h"

enum {
    TORCI_CHUNK_BYTES = 64 * 1024,
    TORCI_CHUNK_STRIDE =
        TORCI_CHUNK_BYTES + 320, /* or all chunks would share one set of the cache */
    TORCI_CHUNKS_MAX = 4096,
    TORCI_CHUNKS_MIN = 64,
    TORCI_SMALL_CHUNK_BYTES = 4096,
    TORCI_SMALL_CHUNKS = 7, /* for each large one */
    TORCI_NO_CHUNK = UINT16_MAX,
    TORCI_SMALL_BYTES = 4096, /* a write up to this is copied and leaves with others */
    TORCI_BUFFER_GROUP = 1,
    TORCI_INPUT_CHUNKS = 4, /* that a stream holds at most, unless its owner says otherwise */
};

enum torci_out_state { TORCI_OUT_IDLE = 0, TORCI_OUT_QUEUED, TORCI_OUT_BLOCKED };
enum { TORCI_EVENT_INPUT = 1, TORCI_EVENT_ROOM = 2 };

struct torci_chunk {
    uint32_t from, to;
    uint16_t next;
};

struct torci_net {
    struct torci_io *io;
    struct io_uring_buf_ring
        *slots; /* what the kernel may take; NULL: this kernel has no such thing */
    char *memory;
    struct torci_chunk *chunks;
    uint16_t *free; /* a stack */
    uint32_t free_count, count;
    char *small_memory; /* of chunks COUNT and up; NULL until the room has been pressed */
    uint16_t *small_free;
    uint32_t small_free_count;
    bool pressed;
    uint32_t held, level; /* chunks that the kernel holds, and should hold */
    uint32_t held_small;  /* of those */
    uint32_t used;        /* by receives since the last refill */
    uint32_t peak, refills;
    bool large, large_came; /* messages: lately, since the level was last looked at */
    uint16_t slots_tail;
    struct torci_link dirty;             /* streams with output to be handed over */
    struct torci_link queued;            /* streams whose send is in the queue, in its order */
    struct torci_link starved;           /* streams whose receive found no chunk, by in_link */
    struct torci_link armed;             /* streams whose receive goes on and on, by in_link */
    struct torci_link crowded;           /* ... and may have to end */
    struct torci_link servers;           /* with handlers: somebody must take up what is ready */
    struct torci_link waiting_for_files; /* listeners out of descriptors: net/listener.c */
    struct torci_link spreads;           /* shard 0's: servers of all shards, net/spread.c */
    struct torci_resolver resolver;      /* net/resolve.c */
};

/* For results that change nothing: what is asked for again, or can only succeed. */
static inline void torci_ignore(int result)
{
    (void)result;
}

/* This executor's, made if need be. -ENOMEM. */
int torci_net_get(struct torci_net **net) TORC_MUST_CHECK;

/* ------ Chunks: net/net.c */

static inline char *torci_chunk_memory(const struct torci_net *net, uint16_t chunk)
{
    if (TORC_UNLIKELY(chunk >= net->count))
        return net->small_memory + (size_t)(chunk - net->count) * TORCI_SMALL_CHUNK_BYTES;
    return net->memory + (size_t)chunk * TORCI_CHUNK_STRIDE;
}

static inline uint32_t torci_chunk_bytes(const struct torci_net *net, uint16_t chunk)
{
    return TORC_UNLIKELY(chunk >= net->count) ? TORCI_SMALL_CHUNK_BYTES : TORCI_CHUNK_BYTES;
}

/* For output. TORCI_NO_CHUNK: there is none now; the last eighth is left to input. */
static inline uint16_t torci_chunk_take(struct torci_net *net)
{
    if (TORC_UNLIKELY(net->pressed || net->free_count <= net->count / 8))
        return TORCI_NO_CHUNK;
    uint16_t chunk = net->free[--net->free_count];
    net->chunks[chunk] = (struct torci_chunk){.next = TORCI_NO_CHUNK};
    return chunk;
}

static inline void torci_chunk_put(struct torci_net *net, uint16_t chunk)
{
    if (TORC_UNLIKELY(chunk >= net->count))
        net->small_free[net->small_free_count++] = chunk;
    else
        net->free[net->free_count++] = chunk;
}

/* For input, without the kernel's choosing. TORCI_NO_CHUNK: all are taken. */
uint16_t torci_chunk_take_input(struct torci_net *net);

/* Lends the kernel what it should hold, ends the receives of streams that hold enough, and lets starved ones go on. Once a
 * turn, after tasks have run: what they have read by then is no reason any more. */
void torci_net_refill(struct torci_net *net);

/* ------ A stream from a descriptor, and its end: net/stream.c */

/* FD is a connected, non-blocking stream socket, or, if DIRECT, a slot of the ring's table; the stream's from now on. -ENOMEM:
 * it stays the caller's. */
int torci_stream_open(struct torc_stream *stream, int fd, bool direct) TORC_MUST_CHECK;
/* Reading is not to wait for another request. */
static inline bool torci_stream_is_leaving(const struct torc_stream *stream)
{
    return stream->draining && !stream->busy;
}
/* Tells whoever is concerned. */
void torci_stream_tell(struct torc_stream *stream, unsigned events);
/* Parks the running task until what stands in PLACE, the stream's reader or writer, is woken: 0, -ECANCELED, -ETIMEDOUT. */
int torci_stream_park(struct torci_wait **place) TORC_MUST_CHECK;
/* The descriptor of a stream that has none of the process's, for a call that needs one: to be closed after it. */
int torci_stream_borrow_fd(const struct torc_stream *stream) TORC_MUST_CHECK;
static inline bool torci_stream_is_open(const struct torc_stream *stream)
{
    return stream->fd >= 0;
}

/* ------ Input: net/receive.c */

/* Sees to it that input comes: a receive is armed, unless it is or there will be none. */
void torci_receive_arm(struct torc_stream *stream);
/* The armed receive ends, unless there is no reason any more when the turn is over, and one that is wanted begins anew. */
void torci_receive_crowd(struct torc_stream *stream);
/* Whether the receive of a crowded stream has to end. */
bool torci_receive_is_full(const struct torc_stream *stream);
/* Sleeps until there is more input than there was, or its end: 0, -ECANCELED, -ETIMEDOUT. */
int torci_receive_wait(struct torc_stream *stream) TORC_MUST_CHECK;
/* Ends the receive and waits until the kernel has let go of it. What came stays. In a task; not interruptible. */
void torci_receive_stop(struct torc_stream *stream);
/* The oldest chunk of input, or NULL. */
static inline struct torci_chunk *torci_input_first(const struct torc_stream *stream)
{
    return stream->in_first == TORCI_NO_CHUNK ? NULL : &stream->net->chunks[stream->in_first];
}
/* Takes SIZE bytes, at most what it has, off the first chunk. */
void torci_input_consume(struct torc_stream *stream, size_t size);
void torci_input_drop(struct torc_stream *stream);
/* The first chunk, which is the caller's from now on. */
static inline uint16_t torci_input_take(struct torc_stream *stream)
{
    uint16_t first = stream->in_first;
    stream->in_first = stream->net->chunks[first].next;
    stream->in_chunks--;
    return first;
}
/* What reading says when nothing is left and ENDED is set: 0 or the error. */
static inline int torci_input_end(const struct torc_stream *stream)
{
    return stream->in_error;
}

/* ------ Input in one piece: net/reading.c */

struct torci_kept {
    uint32_t from, to, size;
    char bytes[];
};

/* At least SIZE bytes (> 0) of the kept input, which grows for it: how many there are; what reading ends with. */
ssize_t torci_kept_peek(struct torc_stream *stream, size_t size, const void **data) TORC_MUST_CHECK;
void torci_kept_consume(struct torc_stream *stream, size_t size);
/* Room for SIZE bytes behind what is kept, to be written to and then added; NULL: no memory. */
char *torci_kept_room(struct torc_stream *stream, size_t size);
void torci_kept_add(struct torc_stream *stream, size_t size);
/* Nobody is going to read for a while: what is there is kept, and the chunks are free. */
int torci_input_keep(struct torc_stream *stream) TORC_MUST_CHECK;

/* ------ Output: net/send.c */

/* All of it, by whichever way. */
ssize_t torci_send(struct torc_stream *stream, const struct iovec *pieces,
                   unsigned count) TORC_MUST_CHECK;
/* Without waiting: bytes taken, or -EAGAIN, or the error. */
ssize_t torci_send_now(struct torc_stream *stream, const struct iovec *pieces,
                       unsigned count) TORC_MUST_CHECK;
/* The whole of SIZE bytes into the output chunk, if there is room. */
bool torci_send_gather(struct torc_stream *stream, const void *memory, size_t size);
/* Waits until the kernel has everything. */
int torci_send_flush(struct torc_stream *stream) TORC_MUST_CHECK;
/* CHUNK, which holds something, becomes the stream's output; the stream has none. */
void torci_send_chunk(struct torc_stream *stream, uint16_t chunk);
/* TORCI_EVENT_ROOM will come, though never inside this call. */
void torci_send_want_room(struct torc_stream *stream);
/* Hands over what the chunk holds, as far as that goes. */
void torci_send_output(struct torc_stream *stream);
/* The turn's output; and, once it has been submitted, what has become of it. */
void torci_send_turn(struct torci_net *net);
void torci_send_submitted(struct torci_net *net);
/* The connection is of no use for writing any more. */
void torci_send_fail(struct torc_stream *stream, int error);
/* Drops what was not sent, and waits until no operation of the stream's output is with the kernel. In a task. */
void torci_send_stop(struct torc_stream *stream);
static inline bool torci_output_is_empty(const struct torc_stream *stream)
{
    return stream->out == TORCI_NO_CHUNK;
}
/* The kernel has everything. */
static inline bool torci_send_is_idle(const struct torc_stream *stream)
{
    return stream->out == TORCI_NO_CHUNK && stream->out_state == TORCI_OUT_IDLE;
}
/* Bytes that the output chunk, or a new one, takes. */
static inline size_t torci_send_room(const struct torc_stream *stream)
{
    if (stream->out == TORCI_NO_CHUNK)
        return TORCI_CHUNK_BYTES;
    return torci_chunk_bytes(stream->net, stream->out) - stream->net->chunks[stream->out].to;
}

/* Whether there is room for SIZE bytes; what the chunk holds is handed over if that makes some. */
bool torci_send_make_room(struct torc_stream *stream, size_t size);
/* Waits until there may be: 0, -ECANCELED, -ETIMEDOUT. */
int torci_send_wait(struct torc_stream *stream) TORC_MUST_CHECK;

/* ------ Direct descriptors and listeners: net/direct.c, net/listener.c */

void torci_close_direct(struct torci_net *net, int slot);
/* The same with a reset of the connection, where the kernel has the means (6.7). */
void torci_reset_direct(struct torci_net *net, int slot);
/* Makes FD, which is closed in any case, a direct one: the slot. -ENFILE: all are taken; -ECANCELED, -ETIMEDOUT. In a
 * task. */
int torci_make_direct(struct torci_net *net, int fd) TORC_MUST_CHECK;
int torci_shutdown_direct(struct torc_stream *stream) TORC_MUST_CHECK;
/* A descriptor is free: listeners that are out of them may go on. */
void torci_listeners_file_closed(struct torci_net *net);

/* ------ What stands between a stream and its user: TLS. A stream with a filter has its plain input in its kept form, and
 * its chunks hold what came over the wire. */

struct torci_filter {
    ssize_t (*write)(struct torc_stream *stream, const struct iovec *pieces, unsigned count);
    ssize_t (*try_write)(struct torc_stream *stream, const void *memory, size_t size);
    /* Makes kept input of what the chunks hold: more than 0: it did; 0: the peer's end; -EAGAIN: more has to come first. */
    ssize_t (*fill)(struct torc_stream *stream);
    /* Whether a handler has a reason to be called: more than 0: kept input, or an end or an error that reading gives;
     * -EAGAIN: more has to come first; else the connection is over. Never waits. */
    int (*ready)(struct torc_stream *stream);
    int (*end)(struct torc_stream *stream); /* may be NULL */
    void (*close)(struct torc_stream *stream);
};

struct torc_tls_context;

/* STREAM, which is told of events, is to be a server's: the handshake goes on whenever ready is asked. 0, -ENOMEM. */
int torci_tls_accept(struct torc_stream *stream, struct torc_tls_context *context) TORC_MUST_CHECK;

#endif
