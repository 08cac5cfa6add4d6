/* SPDX-License-Identifier: MIT
 *
 * How direct I/O on a file must be aligned. The kernel tells since 6.1 (block devices since 6.11); before that, and for
 * file systems that do not tell, it is the logical block size of the device: asked of a block device itself, of a
 * file's device through sysfs, and 4,096 if nobody knows.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>

#include "dma/file_internal.h"
#include "io/blocking.h"

enum { ALIGN_MIN = 512, ALIGN_DEFAULT = 4096, ALIGN_MAX = 64 * 1024 };

static bool is_power_of_two(uint64_t x)
{
    return x && !(x & (x - 1));
}

struct sysfs_read {
    const struct torci_kernel *kernel;
    uint32_t major, minor;
};

/* A number from a sysfs file; negative if there is none. On a pool thread. */
static int read_number(const struct torci_kernel *kernel, const char *path)
{
    char text[16] = {0};
    int fd = (int)TORCI_CALL(kernel, SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    long n = TORCI_CALL(kernel, SYS_read, fd, (long)text, sizeof text - 1);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    if (n < 0)
        return (int)n;
    int value = 0;
    for (const char *at = text; *at >= '0' && *at <= '9' && value <= ALIGN_MAX; at++)
        value = value * 10 + (*at - '0');
    return value;
}

/* The queue belongs to the whole disk: a partition's is its parent's. */
static int read_block_size(void *arg)
{
    const struct sysfs_read *read = arg;
    char path[96];
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/queue/logical_block_size", read->major,
             read->minor);
    int value = read_number(read->kernel, path);
    if (value > 0)
        return value;
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/../queue/logical_block_size", read->major,
             read->minor);
    return read_number(read->kernel, path);
}

/* 0 if nobody knows, or the task's interruption. */
static int device_block_size(const struct torc_file *file, const struct torci_statx *statx)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    if (file->is_device) {
        int bytes = 0;
        long err = TORCI_CALL(kernel, SYS_ioctl, file->fd, BLKSSZGET, (long)&bytes);
        return err < 0 ? 0 : bytes;
    }
    if (statx->device_major == 0) /* not on a block device: tmpfs, overlayfs, the network */
        return 0;
    struct sysfs_read read = {kernel, statx->device_major, statx->device_minor};
    int bytes = torc_blocking(read_block_size, &read);
    int interrupted = torc_task_check();
    return interrupted ? interrupted : bytes;
}

int torci_file_align(struct torc_file *file, const struct torci_statx *statx)
{
    uint32_t memory = ALIGN_DEFAULT, offset = ALIGN_DEFAULT;
    if ((statx->mask & TORCI_STATX_DIOALIGN) && is_power_of_two(statx->dio_memory_align) &&
        is_power_of_two(statx->dio_offset_align)) {
        memory = statx->dio_memory_align;
        offset = statx->dio_offset_align;
    } else {
        int bytes = device_block_size(file, statx);
        if (bytes < 0 && torc_task_check())
            return bytes;
        if (bytes >= ALIGN_MIN && bytes <= ALIGN_MAX && is_power_of_two((uint64_t)bytes))
            offset = (uint32_t)bytes;
        if (memory > offset)
            memory = offset;
        torci_count(&torci_this->counters->dma_alignment_guesses);
    }
    /* A transfer that stops at a multiple of the offset's alignment must be able to go on from there in memory. */
    if (offset < memory)
        offset = memory;
    file->memory_align = memory;
    file->offset_align = offset;
    file->memory_mask = memory - 1;
    file->offset_mask = offset - 1;
    return 0;
}
