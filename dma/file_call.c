/* SPDX-License-Identifier: MIT
 *
 * System calls on names, metadata and durability, made so that only the task sleeps. The ring is the normal way: a
 * cancelled task gets its call ended, and no thread of ours is held. Where the ring lacks the operation (an older
 * kernel, a restricted ring) the blocking pool makes the same call from the same arguments.
 *
 * These operations always run in a worker of the kernel (io-wq), measured on 6.18: fsync, fdatasync, sync_file_range,
 * fallocate, ftruncate, statx, rename, unlink, mkdir, link, and open with O_CREAT or O_TRUNC. So none of them belongs
 * on a hot path.
 */
#include <errno.h>
#include <fcntl.h>

#include "dma/file_internal.h"
#include "io/blocking.h"

static void prepare(struct io_uring_sqe *sqe, const struct torci_file_call *call)
{
    const long *a = call->arguments;
    int fd = (int)a[0];
    switch (call->opcode) {
    case IORING_OP_OPENAT:
        io_uring_prep_openat(sqe, fd, (const char *)a[1], (int)a[2], (mode_t)a[3]);
        break;
    case IORING_OP_CLOSE: io_uring_prep_close(sqe, fd); break;
    case IORING_OP_STATX:
        io_uring_prep_statx(sqe, fd, (const char *)a[1], (int)a[2], (unsigned)a[3],
                            (struct statx *)a[4]);
        break;
    case IORING_OP_FSYNC:
        io_uring_prep_fsync(sqe, fd, call->number == SYS_fdatasync ? IORING_FSYNC_DATASYNC : 0);
        break;
    case IORING_OP_SYNC_FILE_RANGE:
        io_uring_prep_sync_file_range(sqe, fd, (unsigned)a[2], (uint64_t)a[1], (int)a[3]);
        break;
    /* By hand, as fadvise below: liburing 2.9 gives both helpers other types than 2.3. */
    case IORING_OP_FALLOCATE:
        io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, fd, NULL, (unsigned)a[1], (uint64_t)a[2]);
        sqe->addr = (uint64_t)a[3];
        break;
    case TORCI_OP_FTRUNCATE:
        io_uring_prep_rw(TORCI_OP_FTRUNCATE, sqe, fd, NULL, 0, (uint64_t)a[1]);
        break;
    case IORING_OP_FADVISE:
        io_uring_prep_rw(IORING_OP_FADVISE, sqe, fd, NULL, (unsigned)a[2], (uint64_t)a[1]);
        sqe->fadvise_advice = (uint32_t)a[3];
        break;
    case IORING_OP_RENAMEAT:
        io_uring_prep_renameat(sqe, fd, (const char *)a[1], (int)a[2], (const char *)a[3],
                               (unsigned)a[4]);
        break;
    case IORING_OP_UNLINKAT: io_uring_prep_unlinkat(sqe, fd, (const char *)a[1], (int)a[2]); break;
    case IORING_OP_MKDIRAT: io_uring_prep_mkdirat(sqe, fd, (const char *)a[1], (mode_t)a[2]); break;
    case IORING_OP_SYMLINKAT:
        io_uring_prep_symlinkat(sqe, (const char *)a[0], (int)a[1], (const char *)a[2]);
        break;
    case IORING_OP_LINKAT:
        io_uring_prep_linkat(sqe, fd, (const char *)a[1], (int)a[2], (const char *)a[3], (int)a[4]);
        break;
    default: torc_panic(__FILE__, __LINE__, "an operation without an entry here");
    }
}

struct blocking_call {
    const struct torci_kernel *kernel;
    long number;
    const long *arguments;
};

static int run_blocking(void *arg)
{
    const struct blocking_call *call = arg;
    return (int)call->kernel->call(call->kernel->host.context, call->number, call->arguments);
}

int torci_file_call_blocking(long number, const long arguments[6])
{
    struct blocking_call call = {torci_kernel_this(), number, arguments};
    return torc_blocking(run_blocking, &call);
}

static int run(const struct torci_file_call *call)
{
    if (!torci_ring_has_op(torci_io_this(), call->opcode)) {
        torci_count(&torci_this->counters->dma_pool_calls);
        return torci_file_call_blocking(call->number, call->arguments);
    }
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    prepare(sqe, call);
    return torc_op_wait(&op);
}

int torci_file_call(const struct torci_file_call *call)
{
    if (call->opcode != IORING_OP_FSYNC)
        return run(call);
    uint64_t began_ns = torci_host_now_ns(torci_this->host);
    torci_count(&torci_this->counters->dma_syncs);
    int result = run(call);
    torci_dma_count_ns(&torci_this->counters->dma_sync_ns, began_ns);
    return result;
}

void torci_file_close_fd(int fd)
{
    struct torc_mask mask;
    struct torc_op op;
    struct io_uring_sqe *sqe;
    torc_mask_enter(&mask);
    bool on_ring =
        torci_ring_has_op(torci_io_this(), IORING_OP_CLOSE) && torc_op_begin(&op, &sqe) == 0;
    if (on_ring) {
        io_uring_prep_close(sqe, fd);
        /* Whatever else close says, the descriptor is gone; cancelled by the ring's end, it was never begun. */
        on_ring = torc_op_wait(&op) != -ECANCELED;
    }
    if (!on_ring) {
        torci_count(&torci_this->counters->dma_closes_in_line);
        (void)TORCI_CALL(torci_kernel_this(), SYS_close, fd);
    }
    torc_mask_leave(&mask);
}

int torci_directory_fd(const struct torc_directory *directory)
{
    if (!directory)
        return AT_FDCWD;
    TORC_ASSERT(directory->owner == torci_this);
    TORC_ASSERT(directory->fd >= 0);
    return directory->fd;
}
