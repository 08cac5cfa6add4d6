/* SPDX-License-Identifier: MIT
 *
 * Connections without a descriptor of the process: they live in the ring's table, where RLIMIT_NOFILE does not count them
 * and the kernel need not look up a descriptor for each operation. Everything that is done to them goes through the ring, by
 * slot; what only a system call can do borrows a descriptor for as long as that takes.
 */
#include <errno.h>
#include <string.h>

#include "io/abi_internal.h"
#include "net/net_internal.h"

enum { SHUT_WRITE = 1 };

/* IOSQE_FIXED_FILE must not be set: the slot itself is closed, not what is in it. Without room in the queue a system call
 * empties it. */
void torci_close_direct(struct torci_net *net, int slot)
{
    struct io_uring_sqe *sqe;
    net->io->files.shared_free++; /* whoever takes it comes behind in the queue */
    if (torci_op_start_unheard(net->io, &sqe)) {
        torci_slot_clear(net->io, slot);
    } else {
        io_uring_prep_close(sqe, 0);
        sqe->file_index = (uint32_t)slot + 1;
    }
    torci_listeners_file_closed(net);
}

void torci_reset_direct(struct torci_net *net, int slot)
{
    static const struct linger reset = {.l_onoff = 1};
    struct io_uring_sqe *sqe;
    if (torci_ring_has_op(net->io, TORCI_OP_FIXED_FD_INSTALL) && /* a version later */
        !torci_op_start_unheard(net->io, &sqe)) {
        const uint32_t option[2] = {SOL_SOCKET, SO_LINGER}, size = sizeof reset;
        const uint64_t value = (uint64_t)(uintptr_t)&reset;
        io_uring_prep_rw(IORING_OP_URING_CMD, sqe, slot, NULL, 0, TORCI_SOCKET_SETSOCKOPT);
        memcpy((char *)sqe + TORCI_SQE_LEVEL_AT, option, sizeof option);
        memcpy((char *)sqe + TORCI_SQE_OPTION_BYTES_AT, &size, sizeof size);
        memcpy((char *)sqe + TORCI_SQE_OPTION_AT, &value, sizeof value);
        sqe->flags = IOSQE_FIXED_FILE;
    }
    torci_close_direct(net, slot);
}

int torci_shutdown_direct(struct torc_stream *stream)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_shutdown(sqe, stream->fd, SHUT_WRITE);
    sqe->flags |= IOSQE_FIXED_FILE;
    return torc_op_wait(&op);
}

int torci_stream_borrow_fd(const struct torc_stream *stream)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    if (!torci_ring_has_op(stream->net->io, TORCI_OP_FIXED_FD_INSTALL))
        return -EOPNOTSUPP;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_rw(TORCI_OP_FIXED_FD_INSTALL, sqe, stream->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE;
    return torc_op_wait(&op);
}

int torci_make_direct(struct torci_net *net, int fd)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int slot = fd;
    bool room = net->io->files.shared_free > 0;
    net->io->files.shared_free -= room;
    int err = room ? torc_op_begin(&op, &sqe) : -ENFILE;
    if (!err) {
        /* the kernel chooses the slot, and writes it where it has read the descriptor */
        io_uring_prep_rw(IORING_OP_FILES_UPDATE, sqe, -1, &slot, 1, UINT32_MAX);
        err = torc_op_wait(&op);
    }
    (void)TORCI_CALL(net->io->kernel, SYS_close, fd);
    if (err == 1)
        return slot;
    net->io->files.shared_free += room;
    return err < 0 ? err : -ENFILE;
}
