/* SPDX-License-Identifier: MIT
 *
 * Names of files: made, moved and removed through the ring. The kernel's answers are the caller's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>

#include "dma/file_internal.h"

_Static_assert(TORC_RENAME_NO_REPLACE == RENAME_NOREPLACE, "the kernel's values");
_Static_assert(TORC_RENAME_EXCHANGE == RENAME_EXCHANGE, "the kernel's values");

int torc_file_rename(const struct torc_directory *from_at, const char *from,
                     const struct torc_directory *to_at, const char *to, uint32_t flags)
{
    return TORCI_FILE_CALL(IORING_OP_RENAMEAT, SYS_renameat2, torci_directory_fd(from_at),
                           (long)from, torci_directory_fd(to_at), (long)to, (long)flags);
}

int torc_file_unlink(const struct torc_directory *at, const char *path)
{
    return TORCI_FILE_CALL(IORING_OP_UNLINKAT, SYS_unlinkat, torci_directory_fd(at), (long)path);
}

int torc_file_link(const struct torc_directory *from_at, const char *from,
                   const struct torc_directory *to_at, const char *to)
{
    return TORCI_FILE_CALL(IORING_OP_LINKAT, SYS_linkat, torci_directory_fd(from_at), (long)from,
                           torci_directory_fd(to_at), (long)to);
}

int torc_file_link_open(struct torc_file *file, const struct torc_directory *at, const char *path)
{
    TORC_ASSERT(file->owner == torci_this);
    int err = TORCI_FILE_CALL(IORING_OP_LINKAT, SYS_linkat, file->fd, (long)"",
                              torci_directory_fd(at), (long)path, AT_EMPTY_PATH);
    if (err != -ENOENT)
        return err;
    /* Before 6.10 that takes CAP_DAC_READ_SEARCH. Everybody may go through /proc, but not from a worker of the ring on
     * kernels where those have no /proc/self. */
    char own[40];
    snprintf(own, sizeof own, "/proc/self/fd/%d", file->fd);
    const long arguments[6] = {AT_FDCWD, (long)own, torci_directory_fd(at), (long)path,
                               AT_SYMLINK_FOLLOW};
    return torci_file_call_blocking(SYS_linkat, arguments);
}

int torc_file_symlink(const char *target, const struct torc_directory *at, const char *path)
{
    return TORCI_FILE_CALL(IORING_OP_SYMLINKAT, SYS_symlinkat, (long)target, torci_directory_fd(at),
                           (long)path);
}

int torc_directory_create(const struct torc_directory *at, const char *path, uint32_t mode)
{
    enum { MODE_DEFAULT = 0777, MODE_MAX = 07777 };
    if (mode > MODE_MAX)
        return -EINVAL;
    return TORCI_FILE_CALL(IORING_OP_MKDIRAT, SYS_mkdirat, torci_directory_fd(at), (long)path,
                           mode ? (long)mode : MODE_DEFAULT);
}

int torc_directory_remove(const struct torc_directory *at, const char *path)
{
    return TORCI_FILE_CALL(IORING_OP_UNLINKAT, SYS_unlinkat, torci_directory_fd(at), (long)path,
                           AT_REMOVEDIR);
}
