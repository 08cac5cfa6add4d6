/* SPDX-License-Identifier: MIT
 *
 * A file to a socket: read by the ring, which does not block the shard however cold the file is, and sent from there. So
 * it goes the way of everything that is written, through a filter too.
 */
#include <errno.h>

#include "net/net_internal.h"
#include "shard/alloc.h"

enum { PIECE_BYTES = 64 * 1024 };

static int read_piece(int fd, uint64_t offset, void *memory, uint32_t size)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_read(sqe, fd, memory, size, offset);
    return torc_op_wait(&op);
}

ssize_t torc_stream_send_file(struct torc_stream *stream, int fd, uint64_t offset, uint64_t size)
{
    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return -EINVAL;
    uint32_t piece = size < PIECE_BYTES ? (uint32_t)size : PIECE_BYTES;
    char *buffer = size ? (char *)torc_alloc(piece) : NULL;
    if (size && !buffer)
        return -ENOMEM;
    uint64_t done = 0;
    ssize_t n = 0;
    while (done < size) {
        uint32_t part = size - done < piece ? (uint32_t)(size - done) : piece;
        n = read_piece(fd, offset + done, buffer, part);
        if (n == -EINTR || n == -EAGAIN)
            continue;
        if (n > 0)
            n = torc_stream_write_all(stream, buffer, (size_t)n);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    torc_free(buffer);
    return n < 0 ? n : (ssize_t)done;
}
