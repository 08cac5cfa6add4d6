/* SPDX-License-Identifier: MIT
 *
 * Reading: what there is, and pieces of the reader's choice. Input that is whole in one chunk is shown where it lies. What is not, or has
 * come through a filter, is moved to memory of the stream's own (kept), which grows as needed and goes when it is empty;
 * so nobody waits with a chunk in his hands.
 */
#include <errno.h>
#include <string.h>

#include "net/net_internal.h"
#include "shard/alloc.h"

enum { DELIMITER_MAX = 16, KEPT_MAX = 1 << 30 };

static inline size_t kept_bytes(const struct torc_stream *stream)
{
    return stream->kept ? stream->kept->to - stream->kept->from : 0;
}

char *torci_kept_room(struct torc_stream *stream, size_t size)
{
    struct torci_kept *kept = stream->kept;
    size_t have = kept_bytes(stream);
    if (kept && kept->size - kept->to >= size)
        return kept->bytes + kept->to;
    if (kept && kept->size - have >= size) {
        memmove(kept->bytes, kept->bytes + kept->from, have);
        kept->from = 0;
        kept->to = (uint32_t)have;
        return kept->bytes + have;
    }
    size_t wanted = sizeof *kept + have + (have > size ? have : size);
    struct torci_kept *grown = (struct torci_kept *)torc_alloc(wanted);
    if (!grown)
        return NULL;
    grown->from = 0;
    grown->to = (uint32_t)have;
    grown->size = (uint32_t)(wanted - sizeof *grown);
    if (kept)
        memcpy(grown->bytes, kept->bytes + kept->from, have);
    torc_free(kept);
    stream->kept = grown;
    return grown->bytes + have;
}

void torci_kept_add(struct torc_stream *stream, size_t size)
{
    stream->kept->to += (uint32_t)size;
}

void torci_kept_consume(struct torc_stream *stream, size_t size)
{
    struct torci_kept *kept = stream->kept;
    TORC_DEBUG_ASSERT(size <= kept->to - kept->from);
    kept->from += (uint32_t)size;
    stream->taken = true;
    if (kept->from < kept->to)
        return;
    torc_free(kept);
    stream->kept = NULL;
}

/* Moves the first chunk to the kept input. */
static int keep_first(struct torc_stream *stream)
{
    const struct torci_chunk *chunk = torci_input_first(stream);
    size_t size = chunk->to - chunk->from;
    char *room = torci_kept_room(stream, size);
    if (!room)
        return -ENOMEM;
    memcpy(room, torci_chunk_memory(stream->net, stream->in_first) + chunk->from, size);
    torci_kept_add(stream, size);
    torci_input_consume(stream, size);
    return 0;
}

int torci_input_keep(struct torc_stream *stream)
{
    ssize_t some = 1;
    while (some > 0 && stream->in_first != TORCI_NO_CHUNK) {
        if (stream->filter)
            some = stream->filter->fill(stream); /* what it ends with, it will say again */
        else
            some = keep_first(stream) ? -ENOMEM : 1;
    }
    return some == -ENOMEM ? -ENOMEM : 0;
}

/* More kept input: 1; what reading ends with. PARTIAL: something waits for its rest. */
static int keep_more(struct torc_stream *stream, bool partial)
{
    for (;;) {
        if (stream->filter) {
            ssize_t n = stream->filter->fill(stream);
            if (n != -EAGAIN)
                return n > 0 ? 1 : (int)n;
        } else if (stream->in_first != TORCI_NO_CHUNK) {
            int err = keep_first(stream);
            return err ? err : 1;
        }
        if (stream->ended && stream->in_first == TORCI_NO_CHUNK)
            return torci_input_end(stream);
        if (torci_stream_is_leaving(stream) && !partial)
            return 0;
        int err = torci_receive_wait(stream);
        if (err)
            return err;
    }
}

/* Sees to it that there is a first chunk: 1, or what reading ends with. */
static int want_chunk(struct torc_stream *stream, bool partial)
{
    while (stream->in_first == TORCI_NO_CHUNK) {
        if (stream->ended)
            return torci_input_end(stream);
        if (torci_stream_is_leaving(stream) && !partial)
            return 0;
        int err = torci_receive_wait(stream);
        if (err)
            return err;
    }
    return 1;
}

/* What there is, where it lies. PARTIAL: it is the rest of something. */
static ssize_t show_input(struct torc_stream *stream, bool partial, const void **data)
{
    if (TORC_UNLIKELY(stream->kept || stream->filter)) {
        while (!kept_bytes(stream)) {
            int some = keep_more(stream, partial);
            if (some <= 0)
                return some;
        }
        *data = stream->kept->bytes + stream->kept->from;
        return (ssize_t)kept_bytes(stream);
    }
    int some = want_chunk(stream, partial);
    if (some <= 0)
        return some;
    const struct torci_chunk *chunk = torci_input_first(stream);
    *data = torci_chunk_memory(stream->net, stream->in_first) + chunk->from;
    return (ssize_t)(chunk->to - chunk->from);
}

ssize_t torc_stream_peek(struct torc_stream *stream, const void **data)
{
    return show_input(stream, false, data);
}

void torc_stream_consume(struct torc_stream *stream, size_t size)
{
    if (TORC_UNLIKELY(stream->kept != NULL))
        torci_kept_consume(stream, size);
    else if (size)
        torci_input_consume(stream, size);
}

ssize_t torc_stream_read(struct torc_stream *stream, void *memory, size_t size)
{
    const void *data;
    ssize_t n = size ? torc_stream_peek(stream, &data) : 0;
    if (n <= 0)
        return n;
    if ((size_t)n > size)
        n = (ssize_t)size;
    memcpy(memory, data, (size_t)n);
    torc_stream_consume(stream, (size_t)n);
    return n;
}

ssize_t torci_kept_peek(struct torc_stream *stream, size_t size, const void **data)
{
    while (kept_bytes(stream) < size) {
        int some = keep_more(stream, kept_bytes(stream) > 0);
        if (some <= 0)
            return some;
    }
    *data = stream->kept->bytes + stream->kept->from;
    return (ssize_t)kept_bytes(stream);
}

size_t torc_stream_available(const struct torc_stream *stream)
{
    size_t size = kept_bytes(stream);
    if (stream->filter) {
        /* its form changes, not its input */
        struct torc_stream *same = __extension__(struct torc_stream *)(uintptr_t) stream;
        ssize_t more = size ? 0 : stream->filter->fill(same);
        return more > 0 ? kept_bytes(stream) : size;
    }
    for (uint16_t at = stream->in_first; at != TORCI_NO_CHUNK; at = stream->net->chunks[at].next)
        size += stream->net->chunks[at].to - stream->net->chunks[at].from;
    return size;
}

/* At least SIZE bytes in one piece; what reading ends with, -EPIPE if that is its end and something had come. */
ssize_t torc_stream_peek_at_least(struct torc_stream *stream, size_t size, const void **data)
{
    if (size > TORC_STREAM_PIECE_MAX)
        return -EMSGSIZE;
    if (!stream->kept && !stream->filter) {
        ssize_t n = torc_stream_peek(stream, data);
        if (n <= 0 || (size_t)n >= size)
            return n;
    }
    ssize_t n = torci_kept_peek(stream, size ? size : 1, data);
    return n == 0 && kept_bytes(stream) ? -EPIPE : n;
}

ssize_t torc_stream_peek_until(struct torc_stream *stream, const char *delimiter, size_t limit,
                               const void **data)
{
    size_t length = strnlen(delimiter, DELIMITER_MAX + 1), seen = 0, wanted = 1;
    if (!length || length > DELIMITER_MAX)
        return -EINVAL;
    if (!limit || limit > TORC_STREAM_PIECE_MAX)
        limit = TORC_STREAM_PIECE_MAX;
    for (;;) {
        ssize_t n = torc_stream_peek_at_least(stream, wanted, data);
        if (n <= 0)
            return n ? n : -EPIPE;
        const char *bytes = (const char *)*data;
        size_t size = (size_t)n < limit ? (size_t)n : limit;
        size_t from = seen >= length ? seen - length + 1 : 0;
        const char *end = (const char *)memmem(bytes + from, size - from, delimiter, length);
        if (end)
            return end - bytes + (ssize_t)length;
        if (size == limit)
            return -EMSGSIZE;
        seen = size;
        wanted = size + 1;
    }
}

/* Puts what was read back in front of the rest. Without memory for it the input has a hole, and is of no use. */
static int put_back(struct torc_stream *stream, const void *memory, size_t size)
{
    struct torci_kept *old = stream->kept;
    size_t have = kept_bytes(stream);
    stream->kept = NULL;
    char *room = size + have <= KEPT_MAX ? torci_kept_room(stream, size + have) : NULL;
    if (!room) {
        stream->kept = old;
        stream->ended = true;
        stream->in_error = -ENOMEM;
        torci_input_drop(stream);
        return -ENOMEM;
    }
    memcpy(room, memory, size);
    if (have)
        memcpy(room + size, old->bytes + old->from, have);
    torci_kept_add(stream, size + have);
    torc_free(old);
    return 0;
}

ssize_t torc_stream_read_exactly(struct torc_stream *stream, void *memory, size_t size)
{
    char *to = (char *)memory;
    size_t done = 0;
    while (done < size) {
        const void *data;
        ssize_t n = show_input(stream, done > 0, &data);
        if (n <= 0 && done) {
            int err = put_back(stream, memory, done);
            return err ? err : n == 0 ? -EPIPE : n;
        }
        if (n <= 0)
            return n;
        size_t part = (size_t)n < size - done ? (size_t)n : size - done;
        memcpy(to + done, data, part);
        torc_stream_consume(stream, part);
        done += part;
    }
    return (ssize_t)size;
}

ssize_t torc_stream_read_line(struct torc_stream *stream, char *line, size_t size)
{
    const void *data = NULL;
    if (!size)
        return -EINVAL;
    ssize_t n = torc_stream_peek_until(stream, "\n", size + 1, &data);
    size_t taken, length;
    if (n == -EPIPE && torc_stream_available(stream)) { /* the last line, without its end */
        n = torc_stream_peek_at_least(stream, torc_stream_available(stream), &data);
        if (n < 0)
            return n;
        taken = length = (size_t)n;
    } else if (n < 0) {
        return n;
    } else {
        taken = (size_t)n;
        length = taken - 1;
        if (length && ((const char *)data)[length - 1] == '\r')
            length--;
    }
    if (length >= size)
        return -EMSGSIZE;
    TORC_ASSERT(data != NULL); /* peeked, or we would have returned */
    memcpy(line, data, length);
    line[length] = '\0';
    torc_stream_consume(stream, taken);
    return (ssize_t)length;
}
