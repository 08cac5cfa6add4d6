/* SPDX-License-Identifier: MIT
 *
 * Unaligned reads of direct files: whole blocks into an aligned buffer of the file's own, and from there the bytes that
 * were asked for. Only reads: an unaligned write would have to read, change and write blocks that others may be writing.
 */
#include <string.h>
#include <sys/uio.h>

#include "dma/file_internal.h"

struct span {
    unsigned char *memory;
    size_t size;
    uint64_t offset;
    uint32_t flags;
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes: fewer than the span's size only at the end of the file. */
static ssize_t read_span(struct torc_file *file, const struct torc_buffer *buffer,
                         const struct span *span)
{
    size_t done = 0;
    while (done < span->size) {
        uint64_t at = span->offset + done;
        size_t skip = at & file->offset_mask; /* of the first block */
        size_t want = (skip + span->size - done + file->offset_mask) & ~(size_t)file->offset_mask;
        struct torc_transfer transfer = {.memory = buffer->data,
                                         .size = smaller(want, buffer->size_bytes),
                                         .offset = at - skip,
                                         .flags = span->flags,
                                         .buffer = buffer};
        ssize_t n = torc_file_read(file, &transfer);
        if (n < 0)
            return n;
        if ((size_t)n <= skip)
            break;
        size_t got = smaller((size_t)n - skip, span->size - done);
        memcpy(span->memory + done, (const unsigned char *)buffer->data + skip, got);
        done += got;
        if ((size_t)n & file->offset_mask)
            break;
    }
    return (ssize_t)done;
}

static ssize_t read_pieces(struct torc_file *file, const struct torc_buffer *buffer,
                           const struct torc_transfer *transfer)
{
    size_t done = 0;
    for (uint32_t i = 0; i < transfer->piece_count; i++) {
        const struct iovec *piece = &transfer->pieces[i];
        ssize_t n = read_span(file, buffer,
                              &(struct span){piece->iov_base, piece->iov_len,
                                             transfer->offset + done, transfer->flags});
        if (n < 0)
            return n;
        done += (size_t)n;
        if ((size_t)n < piece->iov_len)
            break;
    }
    return (ssize_t)done;
}

ssize_t torci_file_bounce(struct torc_file *file, const struct torc_transfer *transfer)
{
    struct torc_buffer *buffer;
    int err = torc_buffer_get(file->bounce, 1, &buffer);
    if (err)
        return err;
    torci_count(&torci_this->counters->dma_bounce_reads);
    ssize_t n;
    if (transfer->pieces)
        n = read_pieces(file, buffer, transfer);
    else /* what a read is given is for writing, although a transfer's memory serves both ways */
        n = read_span(file, buffer,
                      &(struct span){(unsigned char *)(uintptr_t)transfer->memory, transfer->size,
                                     transfer->offset, transfer->flags});
    torc_buffer_put(buffer);
    return n;
}
