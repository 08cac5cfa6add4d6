/* SPDX-License-Identifier: MIT
 *
 * Advisory locks of an open file description (F_OFD_*). A process-wide lock would not do: the tasks and shards of one
 * process must exclude each other, too.
 *
 * Waiting is asking again. The kernel's own waiting call would hold a thread of the blocking pool until the lock is
 * free, deaf to cancellation; and once all threads wait, a holder that needs one of them to get on would wait for ever.
 */
#include <errno.h>
#include <fcntl.h>

#include "core/time.h"
#include "dma/file_internal.h"

static const uint64_t interval_min_ns = TORC_MS, interval_max_ns = 64 * TORC_MS;

static int set_lock(struct torc_file *file, const struct torc_file_lock *range, int type)
{
    TORC_ASSERT(file->owner == torci_this);
    TORC_ASSERT(file->fd >= 0);
    if (range && (range->offset > INT64_MAX || range->size > INT64_MAX))
        return -EINVAL;
    struct flock lock = {.l_type = (short)type,
                         .l_whence = SEEK_SET,
                         .l_start = range ? (off_t)range->offset : 0,
                         .l_len = range ? (off_t)range->size : 0};
    int err = (int)TORCI_CALL(torci_kernel_this(), SYS_fcntl, file->fd, F_OFD_SETLK, (long)&lock);
    return err == -EACCES ? -EAGAIN : err;
}

int torc_file_try_lock(struct torc_file *file, const struct torc_file_lock *lock)
{
    return set_lock(file, lock, !lock || lock->exclusive ? F_WRLCK : F_RDLCK);
}

int torc_file_lock(struct torc_file *file, const struct torc_file_lock *lock)
{
    uint64_t interval_ns = interval_min_ns;
    for (;;) {
        int err = torc_file_try_lock(file, lock);
        if (err != -EAGAIN)
            return err;
        err = torc_sleep(interval_ns);
        if (err)
            return err;
        if (interval_ns < interval_max_ns)
            interval_ns *= 2;
    }
}

int torc_file_unlock(struct torc_file *file, const struct torc_file_lock *lock)
{
    return set_lock(file, lock, F_UNLCK);
}
