/* SPDX-License-Identifier: MIT
 *
 * What is done to an open file besides reading and writing it: durability, space, size, attributes, hints, copies.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <string.h>

#include "dma/file_internal.h"

/* A pool thread is held this long at most: some tens of milliseconds on a slow disk. */
enum { COPY_CHUNK_BYTES = 16 << 20 };

static int fd_of(const struct torc_file *file)
{
    TORC_ASSERT(file->owner == torci_this);
    TORC_ASSERT(file->fd >= 0);
    return file->fd;
}

int torc_file_fsync(struct torc_file *file)
{
    return TORCI_FILE_CALL(IORING_OP_FSYNC, SYS_fsync, fd_of(file));
}

int torc_file_fdatasync(struct torc_file *file)
{
    return TORCI_FILE_CALL(IORING_OP_FSYNC, SYS_fdatasync, fd_of(file));
}

int torc_file_write_back(struct torc_file *file, uint64_t offset, uint64_t size)
{
    const long flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    const long arguments[6] = {fd_of(file), (long)offset, (long)size, flags};
    if (offset > INT64_MAX || size > INT64_MAX)
        return -EINVAL;
    if (size > UINT32_MAX) /* the ring's entry has 32 bits for it */
        return torci_file_call_blocking(SYS_sync_file_range, arguments);
    return TORCI_FILE_CALL(IORING_OP_SYNC_FILE_RANGE, SYS_sync_file_range, fd_of(file),
                           (long)offset, (long)size, flags);
}

static int fallocate_call(struct torc_file *file, int mode, uint64_t offset, uint64_t size)
{
    if (offset > INT64_MAX || size > INT64_MAX - offset || size == 0)
        return -EINVAL;
    return TORCI_FILE_CALL(IORING_OP_FALLOCATE, SYS_fallocate, fd_of(file), mode, (long)offset,
                           (long)size);
}

int torc_file_allocate(struct torc_file *file, uint64_t offset, uint64_t size, bool keep_size)
{
    return fallocate_call(file, keep_size ? FALLOC_FL_KEEP_SIZE : 0, offset, size);
}

int torc_file_punch(struct torc_file *file, uint64_t offset, uint64_t size)
{
    return fallocate_call(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
}

int torc_file_truncate(struct torc_file *file, uint64_t size)
{
    if (size > INT64_MAX)
        return -EINVAL;
    return TORCI_FILE_CALL(TORCI_OP_FTRUNCATE, SYS_ftruncate, fd_of(file), (long)size);
}

struct copy {
    int64_t from_offset, to_offset; /* the kernel moves them on */
    int from, to;
};

static int copy_chunk(struct copy *copy, uint64_t size)
{
    const long arguments[6] = {copy->from,
                               (long)&copy->from_offset,
                               copy->to,
                               (long)&copy->to_offset,
                               size < COPY_CHUNK_BYTES ? (long)size : COPY_CHUNK_BYTES,
                               0};
    return torci_file_call_blocking(SYS_copy_file_range, arguments);
}

int64_t torc_file_copy(struct torc_file *from, uint64_t from_offset, struct torc_file *to,
                       uint64_t to_offset, uint64_t size)
{
    struct copy copy = {(int64_t)from_offset, (int64_t)to_offset, fd_of(from), fd_of(to)};
    if (from_offset > INT64_MAX || to_offset > INT64_MAX || size > INT64_MAX)
        return -EINVAL;
    uint64_t done = 0;
    while (done < size) {
        int n = copy_chunk(&copy, size - done);
        if (n < 0 && done == 0)
            return n;
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    return (int64_t)done;
}

static int64_t nanoseconds(const struct torci_statx_time *time)
{
    return time->seconds * (int64_t)TORC_SEC + time->nanoseconds;
}

static int stat_call(int fd, const char *path, int flags, struct torc_file_info *info)
{
    struct torci_statx statx;
    memset(&statx, 0, sizeof statx);
    const long mask =
        TORCI_STATX_BASIC | TORCI_STATX_BTIME | TORCI_STATX_DIOALIGN | TORCI_STATX_WRITE_ATOMIC;
    int err =
        TORCI_FILE_CALL(IORING_OP_STATX, SYS_statx, fd, (long)path, flags, mask, (long)&statx);
    if (err)
        return err;
    *info = (struct torc_file_info){
        .size_bytes = statx.size,
        .allocated_bytes = statx.blocks * 512,
        .inode = statx.inode,
        .accessed_ns = nanoseconds(&statx.accessed),
        .modified_ns = nanoseconds(&statx.modified),
        .changed_ns = nanoseconds(&statx.changed),
        .created_ns = statx.mask & TORCI_STATX_BTIME ? nanoseconds(&statx.created) : 0,
        .mode = statx.mode,
        .links = statx.links,
        .user = statx.user,
        .group = statx.group,
        .device_major = statx.device_major,
        .device_minor = statx.device_minor,
        .special_major = statx.special_major,
        .special_minor = statx.special_minor,
        .block_bytes = statx.block_bytes,
    };
    if (statx.mask & TORCI_STATX_DIOALIGN) {
        info->memory_align = statx.dio_memory_align;
        info->offset_align = statx.dio_offset_align;
    }
    if (statx.mask & TORCI_STATX_WRITE_ATOMIC) {
        info->atomic_write_bytes_min = statx.atomic_write_min;
        info->atomic_write_bytes_max = statx.atomic_write_max;
    }
    return 0;
}

int torc_file_stat(struct torc_file *file, struct torc_file_info *info)
{
    return stat_call(fd_of(file), "", AT_EMPTY_PATH, info);
}

int torc_file_stat_path(const struct torc_directory *at, const char *path,
                        struct torc_file_info *info)
{
    return stat_call(torci_directory_fd(at), path, AT_SYMLINK_NOFOLLOW, info);
}

int64_t torc_file_size(struct torc_file *file)
{
    struct torc_file_info info;
    if (file->is_device) {
        uint64_t bytes = 0;
        long err = TORCI_CALL(torci_kernel_this(), SYS_ioctl, fd_of(file), (long)BLKGETSIZE64,
                              (long)&bytes);
        return err < 0 ? err : (int64_t)bytes;
    }
    int err = torc_file_stat(file, &info);
    return err ? err : (int64_t)info.size_bytes;
}

_Static_assert(TORC_ADVICE_RANDOM == POSIX_FADV_RANDOM, "the kernel's values");
_Static_assert(TORC_ADVICE_SEQUENTIAL == POSIX_FADV_SEQUENTIAL, "the kernel's values");
_Static_assert(TORC_ADVICE_WILL_NEED == POSIX_FADV_WILLNEED, "the kernel's values");
_Static_assert(TORC_ADVICE_DONT_NEED == POSIX_FADV_DONTNEED, "the kernel's values");
_Static_assert(TORC_ADVICE_ONCE == POSIX_FADV_NOREUSE, "the kernel's values");

int torc_file_advise(struct torc_file *file, uint64_t offset, uint64_t size,
                     enum torc_advice advice)
{
    const long arguments[6] = {fd_of(file), (long)offset, (long)size, advice};
    if (offset > INT64_MAX || size > INT64_MAX)
        return -EINVAL;
    if (size > UINT32_MAX) /* as in torc_file_write_back */
        return torci_file_call_blocking(SYS_fadvise64, arguments);
    return TORCI_FILE_CALL(IORING_OP_FADVISE, SYS_fadvise64, fd_of(file), (long)offset, (long)size,
                           advice);
}

int torc_file_set_lifetime(struct torc_file *file, enum torc_lifetime lifetime)
{
    uint64_t value = lifetime;
    return (int)TORCI_CALL(torci_kernel_this(), SYS_fcntl, fd_of(file), F_SET_RW_HINT,
                           (long)&value);
}
