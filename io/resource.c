/* SPDX-License-Identifier: MIT
 *
 * The ring's two tables. Each is registered empty when it is first needed, at its full size, and its entries are set
 * and cleared one by one after that: a table can't grow.
 */
#include "io/resource.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "io/io_internal.h"

enum { OWN_SHARE = 8 }; /* one in so many slots, where the kernel chooses the others */

void torci_slots_free(struct torci_io *io, struct torci_slots *slots)
{
    if (slots->free)
        io->kernel->host.free(io->kernel->host.context, slots->free,
                              slots->count * sizeof *slots->free);
    memset(slots, 0, sizeof *slots);
}

static int slots_create(struct torci_io *io, struct torci_slots *slots, uint32_t count)
{
    slots->free =
        (uint32_t *)io->kernel->host.alloc(io->kernel->host.context, count * sizeof *slots->free);
    if (!slots->free)
        return -ENOMEM;
    slots->count = slots->free_count = count;
    for (uint32_t i = 0; i < count; i++)
        slots->free[i] = count - 1 - i; /* the lowest first */
    return 0;
}

static int ring_register(struct torci_io *io, unsigned opcode, void *arg, unsigned size)
{
    return io->kernel->ring_register(io->kernel->host.context, io->ring.real_fd, opcode, arg, size);
}

/* An empty table of COUNT entries. Before 5.19 the kernel can't be told a number alone: it wants to see them all, each as
 * EMPTY (SIZE_BYTES) says. */
static int table_create(struct torci_io *io, unsigned sparse_opcode, unsigned opcode,
                        const void *empty, size_t size_bytes, uint32_t count)
{
    struct io_uring_rsrc_register table = {.nr = count, .flags = IORING_RSRC_REGISTER_SPARSE};
    int err = ring_register(io, sparse_opcode, &table, sizeof table);
    if (err != -EINVAL)
        return err;
    char *entries = (char *)io->kernel->host.alloc(io->kernel->host.context, count * size_bytes);
    if (!entries)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        memcpy(entries + i * size_bytes, empty, size_bytes);
    err = ring_register(io, opcode, entries, count);
    io->kernel->host.free(io->kernel->host.context, entries, count * size_bytes);
    return err;
}

static int buffers_create(struct torci_io *io)
{
    static const struct iovec none;
    int err = slots_create(io, &io->buffers, io->config.buffers_max);
    if (err)
        return err;
    err = table_create(io, IORING_REGISTER_BUFFERS2, IORING_REGISTER_BUFFERS, &none, sizeof none,
                       io->buffers.count);
    if (err)
        torci_slots_free(io, &io->buffers);
    return err;
}

static int set_buffer(struct torci_io *io, uint32_t index, void *memory, size_t size_bytes)
{
    struct iovec place = {memory, size_bytes};
    uint64_t tag = 0;
    struct io_uring_rsrc_update2 update = {.offset = index,
                                           .data = (uint64_t)(uintptr_t)&place,
                                           .tags = (uint64_t)(uintptr_t)&tag,
                                           .nr = 1};
    int n = ring_register(io, IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof update);
    return n < 0 ? n : 0;
}

int torci_buffer_register(void *memory, size_t size_bytes)
{
    struct torci_io *io = torci_io_this();
    int err = io->buffers.free ? 0 : buffers_create(io);
    if (err)
        return err;
    if (!io->buffers.free_count)
        return -ENOSPC;
    uint32_t index = io->buffers.free[io->buffers.free_count - 1];
    err = set_buffer(io, index, memory, size_bytes);
    if (err)
        return err;
    io->buffers.free_count--;
    return (int)index;
}

int torc_buffer_register(void *memory, size_t size_bytes)
{
    int index = torci_buffer_register(memory, size_bytes);
    if (index == -ENOMEM && torci_io_this()->buffers.free) { /* the table is there */
        const struct torci_host *host = &torci_kernel_this()->host;
        char line[160];
        snprintf(line, sizeof line,
                 "torc: %zu KiB can't be pinned: the locked-memory limit is too small: ulimit -l "
                 "%zu or more, or LimitMEMLOCK= of the service",
                 size_bytes / 1024, 2 * size_bytes / 1024);
        host->report(host->context, line);
    }
    return index;
}

void torc_buffer_unregister(int index)
{
    struct torci_io *io = torci_io_this();
    TORC_ASSERT(index >= 0 && (uint32_t)index < io->buffers.count);
    (void)set_buffer(io, (uint32_t)index, NULL, 0);
    io->buffers.free[io->buffers.free_count++] = (uint32_t)index;
}

static int files_table(struct torci_io *io)
{
    static const int none = -1;
    return table_create(io, IORING_REGISTER_FILES2, IORING_REGISTER_FILES, &none, sizeof none,
                        io->files.count);
}

static long limit_files(struct torci_io *io, const struct rlimit64 *wanted, struct rlimit64 *had)
{
    return TORCI_CALL(io->kernel, SYS_prlimit64, 0, RLIMIT_NOFILE, (long)(uintptr_t)wanted,
                      (long)(uintptr_t)had);
}

/* The kernel holds the size of a table against the soft limit of open files, and only when it is registered. The limit is the
 * process's, so one shard at a time raises it, and none puts back what another has raised. */
static int files_table_raised(struct torci_io *io)
{
    static uint32_t raising; /* atomic */
    struct rlimit64 had, most;
    /* ACQUIRE and the release below: the limit is as it was when the next one reads it */
    while (__atomic_exchange_n(&raising, 1, __ATOMIC_ACQUIRE))
        (void)TORCI_CALL(io->kernel, SYS_sched_yield, 0);
    int err = -EMFILE;
    if (limit_files(io, NULL, &had) >= 0 && had.rlim_max >= io->files.count) {
        most = (struct rlimit64){had.rlim_max, had.rlim_max};
        if (limit_files(io, &most, NULL) >= 0) {
            err = files_table(io);
            (void)limit_files(io, &had, NULL);
        }
    }
    __atomic_store_n(&raising, 0, __ATOMIC_RELEASE);
    return err;
}

static int files_create(struct torci_io *io)
{
    int err = slots_create(io, &io->files, io->config.files_max);
    if (err)
        return err;
    err = files_table(io);
    if (err == -EMFILE)
        err = files_table_raised(io);
    if (err)
        torci_slots_free(io, &io->files);
    return err;
}

/* Takes the free slots from FROM on out of the stack; false: not all of them are free. */
static bool give_away(struct torci_slots *slots, uint32_t from)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slots->free_count; i++)
        kept += slots->free[i] < from;
    if (slots->free_count - kept < slots->count - from)
        return false;
    kept = 0;
    for (uint32_t i = 0; i < slots->free_count; i++)
        if (slots->free[i] < from)
            slots->free[kept++] = slots->free[i];
    slots->free_count = kept;
    return true;
}

int torci_slots_share(struct torci_io *io)
{
    int err = io->files.free ? 0 : files_create(io);
    if (err || io->files.shared_from)
        return err;
    uint32_t from = io->files.count / OWN_SHARE ? io->files.count / OWN_SHARE : 1;
    struct io_uring_file_index_range range = {.off = from, .len = io->files.count - from};
    err = range.len ? ring_register(io, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0) : -ENOSPC;
    if (err)
        return err == -EINVAL ? -EOPNOTSUPP : err;
    if (!give_away(&io->files, from))
        return -ENOSPC;
    io->files.shared_from = from;
    io->files.shared_free = range.len;
    return 0;
}

static int set_file(struct torci_io *io, uint32_t slot, int fd)
{
    struct io_uring_files_update update = {.offset = slot, .fds = (uint64_t)(uintptr_t)&fd};
    int n = ring_register(io, IORING_REGISTER_FILES_UPDATE, &update, 1);
    return n < 0 ? n : 0;
}

void torci_slot_clear(struct torci_io *io, int slot)
{
    (void)set_file(io, (uint32_t)slot, -1);
}

int torc_slot_register(int fd)
{
    struct torci_io *io = torci_io_this();
    if (fd < 0)
        return -EBADF;
    int err = io->files.free ? 0 : files_create(io);
    if (err)
        return err;
    if (!io->files.free_count)
        return -ENOSPC;
    uint32_t slot = io->files.free[io->files.free_count - 1];
    err = set_file(io, slot, fd);
    if (err)
        return err;
    io->files.free_count--;
    return (int)slot;
}

void torc_slot_unregister(int slot)
{
    struct torci_io *io = torci_io_this();
    TORC_ASSERT(slot >= 0 && (uint32_t)slot < io->files.count);
    (void)set_file(io, (uint32_t)slot, -1);
    io->files.free[io->files.free_count++] = (uint32_t)slot;
}
