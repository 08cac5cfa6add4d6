/* SPDX-License-Identifier: MIT
 *
 * Opening, adopting and closing files. Opening is a chain of steps of which each may fail: the descriptor, what kind of
 * thing it is, its alignment, bounce buffers, a slot in the ring's table, the proof that its device polls. What was
 * taken is released in reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>

#include "dma/file_internal.h"
#include "io/resource.h"

enum {
    MODE_DEFAULT = 0666,
    MODE_MAX = 07777,
    BOUNCE_BYTES = 128 * 1024,
    BOUNCE_COUNT = 4,
    WRITE_FLAGS = TORC_RW_DSYNC | TORC_RW_SYNC | TORC_RW_NOWAIT | TORC_RW_APPEND | TORC_RW_ATOMIC |
                  TORC_RW_DONTCACHE,
};

static int check_options(const struct torc_file_options *o)
{
    bool writes = o->write || o->write_only;
    if (o->write && o->write_only)
        return -EINVAL;
    if (!writes && (o->truncate || o->append || o->temporary || o->write_flags))
        return -EINVAL;
    if (o->exclusive && !o->create)
        return -EINVAL;
    if (o->temporary && (o->create || o->truncate))
        return -EINVAL;
    if (o->bounce && o->write_only)
        return -EINVAL;
    if (o->mode > MODE_MAX || (o->write_flags & ~(uint32_t)WRITE_FLAGS))
        return -EINVAL;
    return (unsigned)o->poll <= TORC_POLL_REQUIRED ? 0 : -EINVAL;
}

static int open_flags(const struct torc_file_options *o)
{
    int flags = O_CLOEXEC;
    flags |= o->write ? O_RDWR : o->write_only ? O_WRONLY : O_RDONLY;
    flags |= o->create ? O_CREAT : 0;
    flags |= o->exclusive ? O_EXCL : 0;
    flags |= o->truncate ? O_TRUNC : 0;
    flags |= o->append ? O_APPEND : 0;
    flags |= o->temporary ? O_TMPFILE : 0;
    flags |= o->direct ? O_DIRECT : 0;
    flags |= o->dsync ? O_DSYNC : 0;
    flags |= o->sync ? O_SYNC : 0;
    flags |= o->no_follow ? O_NOFOLLOW : 0;
    flags |= o->no_atime ? O_NOATIME : 0;
    return flags;
}

static int make_bounce(struct torc_file *file, const struct torc_file_options *o)
{
    const struct torci_host *host = torci_this->host;
    /* Unpinned: RLIMIT_MEMLOCK is for those who took the trouble to align. */
    struct torc_buffer_pool_options options = {
        .classes = {{.buffer_bytes = o->bounce_bytes ? o->bounce_bytes : BOUNCE_BYTES,
                     .count = o->bounce_count ? o->bounce_count : BOUNCE_COUNT}},
        .pinning = TORC_PIN_NEVER,
    };
    if (options.classes[0].buffer_bytes & file->offset_mask)
        return -EINVAL;
    if (file->memory_align > TORC_BUFFER_ALIGNMENT)
        return -EOPNOTSUPP;
    file->bounce = host->alloc(host->context, sizeof *file->bounce);
    if (!file->bounce)
        return -ENOMEM;
    int err = torc_buffer_pool_init(file->bounce, &options);
    if (err) {
        host->free(host->context, file->bounce, sizeof *file->bounce);
        file->bounce = NULL;
    }
    return err;
}

static void free_bounce(struct torc_file *file)
{
    const struct torci_host *host = torci_this->host;
    if (!file->bounce)
        return;
    torc_buffer_pool_deinit(file->bounce);
    host->free(host->context, file->bounce, sizeof *file->bounce);
    file->bounce = NULL;
}

/* Encrypted, compressed or data-journalled files open with O_DIRECT and are buffered all the same: the kernel says so
 * by alignments of 0. */
static void report_not_direct(struct torc_file *file)
{
    const struct torci_host *host = torci_this->host;
    char line[128];
    snprintf(line, sizeof line,
             "torc: file descriptor %d was opened for direct I/O, but its file system buffers it",
             file->fd);
    host->report(host->context, line);
    torci_count(&torci_this->counters->dma_direct_ignored);
    file->is_direct = false;
}

static int set_up_direct(struct torc_file *file, const struct torc_file_options *options,
                         const struct torci_statx *statx)
{
    if ((statx->mask & TORCI_STATX_DIOALIGN) && statx->dio_offset_align == 0) {
        report_not_direct(file);
        return 0;
    }
    int err = torci_file_align(file, statx);
    if (!err && options->bounce)
        err = make_bounce(file, options);
    return err;
}

/* Makes a usable file of file->fd; on error it holds nothing but that. */
static int set_up(struct torc_file *file, const struct torc_file_options *options)
{
    struct torci_statx statx;
    memset(&statx, 0, sizeof statx);
    /* Of an open file, so it does not sleep: the inode is in memory, and a network server is not asked. */
    long err = TORCI_CALL(torci_kernel_this(), SYS_statx, file->fd, (long)"",
                          AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
                          TORCI_STATX_TYPE | TORCI_STATX_DIOALIGN, (long)&statx);
    if (err < 0)
        return (int)err;
    if ((statx.mode & S_IFMT) == S_IFDIR)
        return -EISDIR;
    file->is_device = (statx.mode & S_IFMT) == S_IFBLK;
    file->write_flags = options->write_flags;
    if (file->is_direct)
        err = set_up_direct(file, options, &statx);
    if (!err && options->fixed_slot) {
        err = torc_slot_register(file->fd);
        if (err >= 0) {
            file->slot = (int32_t)err;
            err = 0;
        }
    }
    if (!err && options->poll != TORC_POLL_NEVER) {
        err = torci_file_poll_probe(file);
        if (err == -EOPNOTSUPP && options->poll == TORC_POLL_AUTO) {
            torci_count(&torci_this->counters->dma_poll_refused);
            err = 0;
        }
    }
    if (err) {
        if (file->slot >= 0)
            torc_slot_unregister(file->slot);
        free_bounce(file);
    }
    return (int)err;
}

static void clear(struct torc_file *file)
{
    *file = (struct torc_file){.fd = -1,
                               .slot = -1,
                               .memory_align = 1,
                               .offset_align = 1,
                               .ring = &torci_io_this()->ring,
                               .owner = torci_this};
}

/* open(2) says -EINVAL of a directory and of a file system without direct I/O alike. */
static int explain_no_direct(const struct torc_file_options *options, const char *path)
{
    struct torc_file_info info;
    int err = torc_file_stat_path(options->at, path, &info);
    if (err == -ECANCELED || err == -ETIMEDOUT)
        return err;
    return !err && (info.mode & S_IFMT) == S_IFDIR ? -EISDIR : -EOPNOTSUPP;
}

int torc_file_open(struct torc_file *file, const char *path,
                   const struct torc_file_options *options)
{
    static const struct torc_file_options defaults;
    if (!options)
        options = &defaults;
    clear(file);
    int err = check_options(options);
    if (err)
        return err;
    int fd =
        TORCI_FILE_CALL(IORING_OP_OPENAT, SYS_openat, torci_directory_fd(options->at), (long)path,
                        open_flags(options), options->mode ? (long)options->mode : MODE_DEFAULT);
    if (fd == -EINVAL && options->direct)
        return explain_no_direct(options, path);
    if (fd < 0)
        return fd;
    file->fd = fd;
    file->is_direct = options->direct;
    file->is_append = options->append;
    err = set_up(file, options);
    if (err) {
        torci_file_close_fd(fd);
        clear(file);
    }
    return err;
}

int torc_file_adopt(struct torc_file *file, int fd, const struct torc_file_options *options)
{
    static const struct torc_file_options defaults;
    if (!options)
        options = &defaults;
    clear(file);
    if ((options->write_flags & ~(uint32_t)WRITE_FLAGS) ||
        (unsigned)options->poll > TORC_POLL_REQUIRED)
        return -EINVAL;
    long flags = TORCI_CALL(torci_kernel_this(), SYS_fcntl, fd, F_GETFL);
    if (flags < 0)
        return (int)flags;
    file->fd = fd;
    file->is_direct = (flags & O_DIRECT) != 0;
    file->is_append = (flags & O_APPEND) != 0;
    int err = set_up(file, options);
    if (err)
        clear(file);
    return err;
}

void torc_file_close(struct torc_file *file)
{
    TORC_ASSERT(file->owner == torci_this);
    TORC_ASSERT(file->fd >= 0);
    if (file->slot >= 0)
        torc_slot_unregister(file->slot);
    free_bounce(file);
    int fd = file->fd;
    clear(file);
    torci_file_close_fd(fd);
}
