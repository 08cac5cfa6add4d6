/* SPDX-License-Identifier: MIT
 *
 * Polled files: their reads and writes go through a second ring that spins for completions (IOPOLL), which saves the
 * interrupt on devices that have poll queues. No attribute of a file tells whether its device has; the first polled
 * read does: it works, or its completion says -EOPNOTSUPP (measured on virtio-blk).
 */
#include <errno.h>

#include "dma/file_internal.h"

static int read_once(const struct torc_file *file, struct torci_ring *ring, void *memory)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torci_op_begin_on(ring, &op, &sqe);
    if (err)
        return err;
    io_uring_prep_read(sqe, file->fd, memory, file->offset_align, 0);
    return torc_op_wait(&op);
}

int torci_file_poll_probe(struct torc_file *file)
{
    const struct torci_host *host = torci_this->host;
    if (!file->is_direct)
        return -EOPNOTSUPP;
    struct torci_ring *ring = torci_io_poll_ring(torci_io_this());
    if (!ring)
        return -EOPNOTSUPP;
    void *memory = host->map(host->map_context, file->offset_align);
    if (!memory)
        return -ENOMEM;
    int n = read_once(file, ring, memory);
    host->unmap(host->map_context, memory, file->offset_align);
    if (n == -ECANCELED || n == -ETIMEDOUT || n == -EAGAIN)
        return n;
    if (n <= 0) /* an empty file, or one that is not open for reading, proves nothing */
        return -EOPNOTSUPP;
    file->ring = ring;
    file->is_polled = true;
    return 0;
}
