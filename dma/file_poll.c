/* SPDX-License-Identifier: MIT
 *
 * Which ring a file's transfers go through.
 */
#define _GNU_SOURCE
#include <errno.h>

#include "dma/file_internal.h"

int torci_file_op_begin(struct torc_file *file, struct torc_op *op, struct io_uring_sqe **sqe)
{
    (void)file;
    return torc_op_begin(op, sqe);
}

int torci_file_op_start(struct torc_file *file, struct torc_op *op, torc_op_fn *done,
                        struct io_uring_sqe **sqe)
{
    (void)file;
    return torc_op_start(op, done, sqe);
}

int torci_file_poll_probe(struct torc_file *file)
{
    (void)file;
    return -EOPNOTSUPP;
}
