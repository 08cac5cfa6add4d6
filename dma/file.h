/* SPDX-License-Identifier: MIT
 *
 * Files and block devices, read and written at offsets through the executor's ring: the task sleeps, the shard does
 * not.
 *
 *     struct torc_file f;
 *     int err = torc_file_open(&f, path, &(struct torc_file_options){.direct = true});
 *     ssize_t n = torc_file_read_at(&f, buf, 4096, offset);
 *     torc_file_close(&f);
 *
 * Direct files bypass the page cache and want memory, offset and length aligned: torc_file.memory_align and
 * offset_align say how (4,096 satisfies nearly every device). What is not aligned gets -EINVAL before it reaches the
 * kernel, unless the file was opened with .bounce and it is a read.
 *
 * Every function runs in a task unless it says otherwise, and returns -ECANCELED or -ETIMEDOUT when the task is
 * interrupted; not before the kernel has let go of the caller's memory. A transfer that is already at the disk can't
 * be cancelled: its result is awaited and returned. Every function may return whatever the file system answers (-EIO,
 * -ENOSPC, -EDQUOT, -EROFS, …). Only open, adopt and close
 * allocate. Whoever calls keeps what it passes and must leave it alone until the call returns.
 *
 * After a failed fsync, or a failed write to a log, the state on the disk is unknown: the kernel reports the loss of
 * buffered pages once and then forgets it, so a second fsync that succeeds proves nothing. Never retry; fail instead.
 *
 * Shard rule: a file belongs to the executor on whose thread it was opened.
 */
#ifndef TORC_DMA_FILE_H
#define TORC_DMA_FILE_H

#include <sys/types.h>

#include "core/base.h"
#include "dma/buffer.h"
#include "io/op.h"

TORC_BEGIN_DECLS

struct iovec;
struct torc_directory;
struct torci_ring;

/* Whether reads and writes spin for completion instead of waiting for an interrupt, on a second ring. Direct files. */
enum torc_poll {
    TORC_POLL_NEVER = 0,
    TORC_POLL_AUTO,     /* if one read proves that the device has poll queues; otherwise counted */
    TORC_POLL_REQUIRED, /* the same, but otherwise opening fails with -EOPNOTSUPP */
};

/* Per operation, and by torc_file_options.write_flags for every write: the kernel's RWF_ values. */
enum torc_rw_flags {
    TORC_RW_DSYNC = 0x02,     /* the write is durable when it returns, as by torc_file_fdatasync */
    TORC_RW_SYNC = 0x04,      /* the same with the metadata, as by torc_file_fsync */
    TORC_RW_NOWAIT = 0x08,    /* -EAGAIN rather than sleeping in the kernel */
    TORC_RW_APPEND = 0x10,    /* at the end of the file whatever the offset says */
    TORC_RW_ATOMIC = 0x40,    /* all or nothing; see torc_file_info.atomic_write_bytes_max (6.11) */
    TORC_RW_DONTCACHE = 0x80, /* buffered, but leaves nothing in the page cache (6.14) */
};

struct torc_file_options {
    bool write;      /* for reading and writing; by default for reading only */
    bool write_only; /* for writing only */
    bool create;     /* make the file if it is missing, with MODE less the process's umask */
    bool exclusive;  /* with create: -EEXIST if it is there */
    bool truncate;   /* start empty */
    bool append;     /* every write goes to the end of the file, whatever its offset says */
    bool temporary;  /* in the directory PATH, without a name until torc_file_link_open */
    bool direct;     /* bypass the page cache */
    bool dsync;      /* every write is durable when it returns (O_DSYNC) */
    bool sync;       /* and its metadata, too (O_SYNC) */
    bool no_follow;  /* -ELOOP if PATH is a symbolic link */
    bool no_atime;   /* reading leaves the access time alone; -EPERM on others' files */
    bool fixed_slot; /* register the descriptor with the ring: less work for every transfer */
    bool bounce;     /* serve unaligned reads of a direct file through an aligned buffer */
    enum torc_poll poll;
    uint32_t mode;         /* permissions of a new file; default 0666 */
    uint32_t write_flags;  /* enum torc_rw_flags for every write */
    uint32_t bounce_bytes; /* size of a bounce buffer; a multiple of 4,096; default 128 KiB */
    uint32_t bounce_count; /* how many bounced reads at once, the others wait in turn; default 4 */
    const struct torc_directory *at; /* where a relative PATH starts; NULL: the working directory */
};

/* Caller's memory. The fields of the first group may be read, none written. */
struct torc_file {
    int32_t fd;
    int32_t slot; /* in the ring's table, for IOSQE_FIXED_FILE; -1: none */
    bool is_direct, is_polled, is_device;
    uint32_t memory_align, offset_align; /* 1 when buffered; offset_align is for lengths, too */

    bool is_append;
    uint32_t memory_mask, offset_mask;
    uint32_t write_flags;
    struct torc_buffer_pool *bounce;
    struct torci_ring *ring; /* that its transfers go through */
    void *owner;             /* the executor */
};

/* Opens PATH. The descriptor is close-on-exec. NULL options are all zero.
 * -ENOENT, -EACCES, -EEXIST, -ELOOP, -ENXIO and so on as open(2); -EISDIR: a directory (for those there is
 * torc_directory_open); -EMFILE, -ENFILE: RLIMIT_NOFILE, the system's limit; -EOPNOTSUPP: the file system does no
 * direct I/O, or polling was required and is not to be had; -ENOSPC: no slot left for .fixed_slot; -ENOMEM;
 * -EINVAL: options that contradict each other. On error nothing is held (a file that it made may stay). */
int torc_file_open(struct torc_file *file, const char *path,
                   const struct torc_file_options *options) TORC_MUST_CHECK;
/* Makes a file of an open descriptor and owns it from then on; on error FD stays the caller's. Of the options, those
 * about opening (path, access, creation, at) have no effect; whether it is direct, the descriptor itself says.
 * -EBADF, -EISDIR, -EINVAL, -ENOMEM, -ENOSPC, -EOPNOTSUPP. */
int torc_file_adopt(struct torc_file *file, int fd,
                    const struct torc_file_options *options) TORC_MUST_CHECK;
/* Closes the descriptor. Nothing may be in flight: closing cancels nothing. Works in an interrupted task, too. What has
 * to be on the disk must have been synced before: an error could only come too late here, so there is none. */
void torc_file_close(struct torc_file *file);

/* Up to SIZE bytes at OFFSET, 0 to INT64_MAX. Bytes transferred: fewer than SIZE (never 0 of a write) when the file
 * ends, the disk is full, a limit is hit, or SIZE is beyond 2 GiB - 4 KiB; 0 at the end of the file.
 * -EINVAL: unaligned on a direct file, or OFFSET out of range; -EBADF: not open for this; -ENOSPC, -EFBIG, -EIO, … */
ssize_t torc_file_read_at(struct torc_file *file, void *memory, size_t size,
                          uint64_t offset) TORC_MUST_CHECK;
ssize_t torc_file_write_at(struct torc_file *file, const void *memory, size_t size,
                           uint64_t offset) TORC_MUST_CHECK;
/* The same into and from COUNT pieces (at most 1,024). The array itself stays, too, until the call returns. */
ssize_t torc_file_readv_at(struct torc_file *file, const struct iovec *pieces, uint32_t count,
                           uint64_t offset) TORC_MUST_CHECK;
ssize_t torc_file_writev_at(struct torc_file *file, const struct iovec *pieces, uint32_t count,
                            uint64_t offset) TORC_MUST_CHECK;
/* The same with SIZE bytes from byte WITHIN of a pool's buffer: the kernel neither maps nor pins anything. An unpinned
 * pool's buffer, or a polled file, works as with ordinary memory. -EINVAL also: beyond the buffer. */
ssize_t torc_file_read_fixed(struct torc_file *file, struct torc_buffer *buffer, size_t within,
                             size_t size, uint64_t offset) TORC_MUST_CHECK;
ssize_t torc_file_write_fixed(struct torc_file *file, const struct torc_buffer *buffer,
                              size_t within, size_t size, uint64_t offset) TORC_MUST_CHECK;

/* Reads SIZE bytes, going on after short reads: fewer come back only at the end of the file. */
ssize_t torc_file_read_full_at(struct torc_file *file, void *memory, size_t size,
                               uint64_t offset) TORC_MUST_CHECK;
/* Writes all SIZE bytes, going on after short writes. 0, or the error that stopped it (-EIO: the file takes no more and
 * does not say why); in both cases *WRITTEN, unless NULL, is how many bytes from the start were written. */
int torc_file_write_full_at(struct torc_file *file, const void *memory, size_t size,
                            uint64_t offset, size_t *written) TORC_MUST_CHECK;

/* One transfer in full: what the functions above are made of, with flags for this one only. */
struct torc_transfer {
    const void *memory; /* read into, or written from */
    size_t size;
    const struct iovec *pieces; /* instead of memory and size */
    uint32_t piece_count;
    uint32_t flags; /* enum torc_rw_flags, beside the file's own */
    uint64_t offset;
    const struct torc_buffer *buffer; /* whose memory it is, to profit from its registration */
    struct torc_batch *batch;         /* of a started one: the batch that counts it, or NULL */
};
ssize_t torc_file_read(struct torc_file *file,
                       const struct torc_transfer *transfer) TORC_MUST_CHECK;
ssize_t torc_file_write(struct torc_file *file,
                        const struct torc_transfer *transfer) TORC_MUST_CHECK;

/* The form without a task: starts a transfer whose DONE runs once, later, under the contract of io/op.h. The memory,
 * and the array of pieces, belong to the kernel until then; TRANSFER itself only during the call. Not bounced: what is
 * unaligned gets -EINVAL. With a batch, DONE calls torc_batch_done. 0; -EINVAL, -EAGAIN: nothing was started. From
 * tasks and completion functions. */
int torc_file_start_read(struct torc_file *file, const struct torc_transfer *transfer,
                         struct torc_op *op, torc_op_fn *done) TORC_MUST_CHECK;
int torc_file_start_write(struct torc_file *file, const struct torc_transfer *transfer,
                          struct torc_op *op, torc_op_fn *done) TORC_MUST_CHECK;

/* Makes everything written so far durable; fdatasync leaves out what is not needed to read it back (times). */
int torc_file_fsync(struct torc_file *file) TORC_MUST_CHECK;
int torc_file_fdatasync(struct torc_file *file) TORC_MUST_CHECK;
/* Starts writing back the dirty pages of a range and waits for it. Promises nothing about durability: neither metadata
 * nor the device's cache are flushed. SIZE 0: to the end. For buffered files that bound how much an fsync will find. */
int torc_file_write_back(struct torc_file *file, uint64_t offset, uint64_t size) TORC_MUST_CHECK;

/* Reserves disk space, so that writing there can't fail with -ENOSPC. The file grows if the range ends behind it,
 * unless keep_size. The space reads as zeros, but the first write to it is slower than an overwrite: see the table in
 * dma/file_io.c. -EOPNOTSUPP: not on this file system. */
int torc_file_allocate(struct torc_file *file, uint64_t offset, uint64_t size,
                       bool keep_size) TORC_MUST_CHECK;
/* Gives the range's space back; it reads as zeros. The size stays. */
int torc_file_punch(struct torc_file *file, uint64_t offset, uint64_t size) TORC_MUST_CHECK;
/* Cuts, or extends with a hole, to exactly SIZE bytes. */
int torc_file_truncate(struct torc_file *file, uint64_t size) TORC_MUST_CHECK;
/* Copies inside the kernel, sharing blocks where the file system can. Bytes copied: fewer than SIZE at the end of FROM;
 * also when an error or an interruption stopped it midway, which the next call will report. Works on the blocking
 * pool. -EXDEV, -EOPNOTSUPP: these two files can't; -EINVAL: ranges of one file that overlap. */
int64_t torc_file_copy(struct torc_file *from, uint64_t from_offset, struct torc_file *to,
                       uint64_t to_offset, uint64_t size) TORC_MUST_CHECK;

struct torc_file_info {
    uint64_t size_bytes; /* of a block device: 0; ask torc_file_size */
    uint64_t allocated_bytes;
    uint64_t inode;
    int64_t accessed_ns, modified_ns, changed_ns, created_ns; /* since 1970; 0: unknown */
    uint32_t mode; /* type and permissions, as in <sys/stat.h> */
    uint32_t links, user, group;
    uint32_t device_major, device_minor;   /* that it lies on */
    uint32_t special_major, special_minor; /* that it is */
    uint32_t block_bytes;                  /* what the file system likes for buffered I/O */
    uint32_t memory_align, offset_align;   /* of direct I/O; 0: none, or the kernel does not tell */
    uint32_t atomic_write_bytes_min, atomic_write_bytes_max; /* 0: no atomic writes */
};
int torc_file_stat(struct torc_file *file, struct torc_file_info *info) TORC_MUST_CHECK;
/* Of a name; of the link itself if it is one. AT as in torc_file_options. */
int torc_file_stat_path(const struct torc_directory *at, const char *path,
                        struct torc_file_info *info) TORC_MUST_CHECK;
/* Bytes of the file or the block device. */
int64_t torc_file_size(struct torc_file *file) TORC_MUST_CHECK;

enum torc_rename_flags {
    TORC_RENAME_NO_REPLACE = 1, /* -EEXIST if TO is there */
    TORC_RENAME_EXCHANGE = 2,   /* swap the two */
};
/* Names. Each takes the directories that relative paths start from; NULL is the working directory. None is durable
 * before torc_directory_sync of the directories that it changed. */
int torc_file_rename(const struct torc_directory *from_at, const char *from,
                     const struct torc_directory *to_at, const char *to,
                     uint32_t flags) TORC_MUST_CHECK;
int torc_file_unlink(const struct torc_directory *at, const char *path) TORC_MUST_CHECK;
/* A second name for the file FROM; a symbolic link is not followed. */
int torc_file_link(const struct torc_directory *from_at, const char *from,
                   const struct torc_directory *to_at, const char *to) TORC_MUST_CHECK;
/* A first name for a file opened with .temporary. */
int torc_file_link_open(struct torc_file *file, const struct torc_directory *at,
                        const char *path) TORC_MUST_CHECK;
int torc_file_symlink(const char *target, const struct torc_directory *at,
                      const char *path) TORC_MUST_CHECK;

/* How the range will be used: posix_fadvise. SIZE 0: to the end. Means nothing to a direct file. */
enum torc_advice {
    TORC_ADVICE_NORMAL = 0,
    TORC_ADVICE_RANDOM,
    TORC_ADVICE_SEQUENTIAL,
    TORC_ADVICE_WILL_NEED,
    TORC_ADVICE_DONT_NEED,
    TORC_ADVICE_ONCE,
};
int torc_file_advise(struct torc_file *file, uint64_t offset, uint64_t size,
                     enum torc_advice advice) TORC_MUST_CHECK;
/* How long what is written will live, for devices that place data by it: the kernel's RWH_ values. Never blocks. */
enum torc_lifetime {
    TORC_LIFETIME_UNSET = 0,
    TORC_LIFETIME_NONE,
    TORC_LIFETIME_SHORT,
    TORC_LIFETIME_MEDIUM,
    TORC_LIFETIME_LONG,
    TORC_LIFETIME_EXTREME,
};
int torc_file_set_lifetime(struct torc_file *file, enum torc_lifetime lifetime) TORC_MUST_CHECK;

/* Advisory locks on a range, held by the open file (not by the process): two opens of one file exclude each other even
 * in one process; closing the file releases. */
struct torc_file_lock {
    uint64_t offset;
    uint64_t size;  /* 0: to the end, however far that moves */
    bool exclusive; /* the file must be open for writing; shared: for reading */
};
/* 0; -EAGAIN: somebody holds a lock in the way; -EBADF: not open for that kind. Never blocks. NULL: all, exclusive. */
int torc_file_try_lock(struct torc_file *file, const struct torc_file_lock *lock) TORC_MUST_CHECK;
/* The same, but sleeps until it is free: asks again at growing intervals of 1 to 64 ms, so waiters are not served in
 * order. */
int torc_file_lock(struct torc_file *file, const struct torc_file_lock *lock) TORC_MUST_CHECK;
/* Of LOCK only the range counts. */
int torc_file_unlock(struct torc_file *file, const struct torc_file_lock *lock) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
