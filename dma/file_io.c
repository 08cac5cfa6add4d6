/* SPDX-License-Identifier: MIT
 *
 * The data path: one transfer checked, prepared and waited for, and the loops that resume short ones. Every public form
 * is a struct torc_transfer on its caller's stack that the compiler takes apart again.
 *
 * What becomes of an O_DIRECT transfer of 4 KiB once submitted, measured on 6.18: the share that the kernel hands to a
 * worker thread (io-wq) instead of the device at once.
 *
 *                                            ext4        XFS
 *     read                                   0 %         0 %
 *     overwrite of written blocks            0 %         3-30 % (timestamps)
 *     overwrite with TORC_RW_DSYNC           0 %         6-98 %
 *     into allocated, unwritten space        0 %         4-14 %
 *     append; into a hole                    100 %       100 %
 *     at the end, allocated with keep_size   100 %       40-100 %
 *     fsync, fdatasync                       100 %       100 %
 *
 * So a log writes zeros first and then overwrites them with TORC_RW_DSYNC; no fsync on its hot path.
 */
#include <errno.h>
#include <sys/uio.h>

#include "dma/file_internal.h"

/* What check says besides 0 and -EINVAL. */
enum { UNALIGNED = 1 };

enum direction { READ, WRITE };

static bool lies_in_buffer(const struct torc_transfer *transfer)
{
    const struct torc_buffer *buffer = transfer->buffer;
    uintptr_t start = (uintptr_t)transfer->memory, base = (uintptr_t)buffer->data;
    return start >= base && start - base <= buffer->size_bytes &&
           transfer->size <= buffer->size_bytes - (start - base);
}

/* 0, UNALIGNED or -EINVAL. */
static int check(const struct torc_file *file, const struct torc_transfer *transfer)
{
    TORC_ASSERT(file->owner == torci_this);
    TORC_ASSERT(file->fd >= 0);
    uintptr_t memory_bits = (uintptr_t)transfer->memory;
    uint64_t file_bits = transfer->size | transfer->offset;
    if (transfer->offset > INT64_MAX) /* -1 would mean the file position to the kernel */
        return -EINVAL;
    if (transfer->buffer && !lies_in_buffer(transfer))
        return -EINVAL;
    if (transfer->pieces) {
        if (transfer->piece_count > TORCI_PIECES_MAX || transfer->memory || transfer->buffer)
            return -EINVAL;
        for (uint32_t i = 0; i < transfer->piece_count; i++) {
            memory_bits |= (uintptr_t)transfer->pieces[i].iov_base;
            file_bits |= transfer->pieces[i].iov_len;
        }
    }
    bool aligned = !(memory_bits & file->memory_mask) && !(file_bits & file->offset_mask);
    return TORC_LIKELY(aligned) ? 0 : UNALIGNED;
}

static void prepare(const struct torc_file *file, const struct torc_transfer *transfer,
                    enum direction direction, struct io_uring_sqe *sqe)
{
    const void *address = transfer->memory;
    size_t limit = TORCI_TRANSFER_MAX & ~(size_t)file->offset_mask;
    unsigned length = (unsigned)(transfer->size < limit ? transfer->size : limit);
    /* slots and registered buffers are the main ring's: the polled one knows none */
    bool fixed = transfer->buffer && transfer->buffer->index >= 0 && !file->is_polled;
    bool slot = file->slot >= 0 && !file->is_polled;
    int opcode;
    if (transfer->pieces) {
        address = transfer->pieces;
        length = transfer->piece_count;
        opcode = direction == READ ? IORING_OP_READV : IORING_OP_WRITEV;
    } else if (fixed) {
        opcode = direction == READ ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
    } else {
        opcode = direction == READ ? IORING_OP_READ : IORING_OP_WRITE;
    }
    io_uring_prep_rw(opcode, sqe, slot ? file->slot : file->fd, address, length, transfer->offset);
    if (fixed)
        sqe->buf_index = (uint16_t)transfer->buffer->index;
    if (slot)
        sqe->flags |= IOSQE_FIXED_FILE;
    sqe->rw_flags = (int)(transfer->flags | (direction == WRITE ? file->write_flags : 0));
}

static uint64_t bytes_of(const struct torc_transfer *transfer)
{
    uint64_t bytes = transfer->size;
    for (uint32_t i = 0; transfer->pieces && i < transfer->piece_count; i++)
        bytes += transfer->pieces[i].iov_len;
    return bytes;
}

/* How many transfers of its size and direction came before. */
static uint64_t count(const struct torc_transfer *transfer, enum direction direction)
{
    struct torci_counters *counters = torci_this->counters;
    uint64_t bytes = bytes_of(transfer);
    uint32_t size = torci_counter_size_class(bytes);
    uint64_t *ops = direction == READ ? &counters->dma_reads[size] : &counters->dma_writes[size];
    uint64_t before = *ops;
    torci_count(ops);
    torci_count_add(direction == READ ? &counters->dma_read_bytes[size]
                                      : &counters->dma_write_bytes[size],
                    bytes);
    return before;
}

/* ---- how long started ones take ----
 * Two looks at the clock are 20 ns, which an engine that starts a million a second would feel: so one in a few. */

enum { TIMED_ONE_IN = 8 };

static void timed_done(struct torci_counter_histogram *histogram, struct torc_op *op, int result,
                       uint32_t flags)
{
    uint64_t now_ns = torci_host_now_ns(torci_this->host);
    torci_count_ns_times(histogram, now_ns - op->timed.began_ns, TIMED_ONE_IN);
    op->timed.done(op, result, flags);
}

static void timed_read_done(struct torc_op *op, int result, uint32_t flags)
{
    timed_done(&torci_this->counters->dma_read_ns, op, result, flags);
}

static void timed_write_done(struct torc_op *op, int result, uint32_t flags)
{
    timed_done(&torci_this->counters->dma_write_ns, op, result, flags);
}

static void time_op(struct torc_op *op, enum direction direction)
{
    op->timed.done = op->done;
    op->timed.began_ns = torci_host_now_ns(torci_this->host);
    op->done = direction == READ ? timed_read_done : timed_write_done;
}

static ssize_t run(struct torc_file *file, const struct torc_transfer *transfer,
                   enum direction direction)
{
    int err = check(file, transfer);
    if (TORC_UNLIKELY(err == UNALIGNED && direction == READ && file->bounce))
        return torci_file_bounce(file, transfer);
    if (err)
        return -EINVAL;
    struct torc_op op;
    struct io_uring_sqe *sqe;
    err = torci_op_begin_on(file->ring, &op, &sqe);
    if (err)
        return err;
    prepare(file, transfer, direction, sqe);
    (void)count(transfer, direction);
    uint64_t began_ns = torci_host_now_ns(torci_this->host);
    ssize_t result = torc_op_wait(&op);
    torci_dma_count_ns(direction == READ ? &torci_this->counters->dma_read_ns
                                         : &torci_this->counters->dma_write_ns,
                       began_ns);
    return result;
}

static int start(struct torc_file *file, const struct torc_transfer *transfer,
                 enum direction direction, struct torc_op *op, torc_op_fn *done)
{
    struct io_uring_sqe *sqe;
    if (check(file, transfer))
        return -EINVAL;
    int err = torci_op_start_on(file->ring, op, done, &sqe);
    if (err)
        return err;
    prepare(file, transfer, direction, sqe);
    if (count(transfer, direction) % TIMED_ONE_IN == 0)
        time_op(op, direction);
    if (transfer->batch)
        transfer->batch->in_flight++;
    return 0;
}

ssize_t torc_file_read(struct torc_file *file, const struct torc_transfer *transfer)
{
    return run(file, transfer, READ);
}

ssize_t torc_file_write(struct torc_file *file, const struct torc_transfer *transfer)
{
    return run(file, transfer, WRITE);
}

int torc_file_start_read(struct torc_file *file, const struct torc_transfer *transfer,
                         struct torc_op *op, torc_op_fn *done)
{
    return start(file, transfer, READ, op, done);
}

int torc_file_start_write(struct torc_file *file, const struct torc_transfer *transfer,
                          struct torc_op *op, torc_op_fn *done)
{
    return start(file, transfer, WRITE, op, done);
}

ssize_t torc_file_read_at(struct torc_file *file, void *memory, size_t size, uint64_t offset)
{
    struct torc_transfer transfer = {.memory = memory, .size = size, .offset = offset};
    return run(file, &transfer, READ);
}

ssize_t torc_file_write_at(struct torc_file *file, const void *memory, size_t size, uint64_t offset)
{
    struct torc_transfer transfer = {.memory = memory, .size = size, .offset = offset};
    return run(file, &transfer, WRITE);
}

ssize_t torc_file_readv_at(struct torc_file *file, const struct iovec *pieces, uint32_t count,
                           uint64_t offset)
{
    struct torc_transfer transfer = {.pieces = pieces, .piece_count = count, .offset = offset};
    return run(file, &transfer, READ);
}

ssize_t torc_file_writev_at(struct torc_file *file, const struct iovec *pieces, uint32_t count,
                            uint64_t offset)
{
    struct torc_transfer transfer = {.pieces = pieces, .piece_count = count, .offset = offset};
    return run(file, &transfer, WRITE);
}

/* WITHIN is compared here because base + WITHIN could wrap round to a place inside the buffer. */
static ssize_t run_fixed(struct torc_file *file, const struct torc_buffer *buffer, size_t within,
                         const struct torc_transfer *transfer, enum direction direction)
{
    if (within > buffer->size_bytes)
        return -EINVAL;
    struct torc_transfer whole = *transfer;
    whole.memory = (const unsigned char *)buffer->data + within;
    whole.buffer = buffer;
    return run(file, &whole, direction);
}

ssize_t torc_file_read_fixed(struct torc_file *file, struct torc_buffer *buffer, size_t within,
                             size_t size, uint64_t offset)
{
    struct torc_transfer transfer = {.size = size, .offset = offset};
    return run_fixed(file, buffer, within, &transfer, READ);
}

ssize_t torc_file_write_fixed(struct torc_file *file, const struct torc_buffer *buffer,
                              size_t within, size_t size, uint64_t offset)
{
    struct torc_transfer transfer = {.size = size, .offset = offset};
    return run_fixed(file, buffer, within, &transfer, WRITE);
}

ssize_t torc_file_read_full_at(struct torc_file *file, void *memory, size_t size, uint64_t offset)
{
    size_t done = 0;
    for (;;) {
        ssize_t n =
            torc_file_read_at(file, (unsigned char *)memory + done, size - done, offset + done);
        if (n < 0)
            return n;
        done += (size_t)n;
        /* A direct read that stops inside a block has met the end of the file, and could not go on from there. */
        if (n == 0 || done >= size || ((offset + done) & file->offset_mask))
            return (ssize_t)done;
        torci_count(&torci_this->counters->dma_short_resumes);
    }
}

int torc_file_write_full_at(struct torc_file *file, const void *memory, size_t size,
                            uint64_t offset, size_t *written)
{
    size_t done = 0, best = 0;
    int err = 0;
    while (done < size) {
        ssize_t n = torc_file_write_at(file, (const unsigned char *)memory + done, size - done,
                                       offset + done);
        if (n < 0) {
            err = (int)n;
            break;
        }
        if (done + (size_t)n > best)
            best = done + (size_t)n;
        /* A direct write goes on at the last whole block, writing its first bytes again. What appends can't, and what
         * gets no further than before never will. */
        size_t next = best & ~(size_t)file->offset_mask;
        if (best < size && (next == done || (next != best && file->is_append))) {
            err = -EIO;
            break;
        }
        if (best == size)
            break;
        done = next;
        torci_count(&torci_this->counters->dma_short_resumes);
    }
    if (written)
        *written = best;
    return err;
}
