/* SPDX-License-Identifier: MIT
 *
 * The ring's two tables. Each is registered empty when it is first needed, at its full size, and its entries are set
 * and cleared one by one after that: a table can't grow.
 */
#include "io/resource.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/io_internal.h"

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

static int files_create(struct torci_io *io)
{
    static const int none = -1;
    int err = slots_create(io, &io->files, io->config.files_max);
    if (err)
        return err;
    err = table_create(io, IORING_REGISTER_FILES2, IORING_REGISTER_FILES, &none, sizeof none,
                       io->files.count);
    if (err)
        torci_slots_free(io, &io->files);
    return err;
}

static int set_file(struct torci_io *io, uint32_t slot, int fd)
{
    struct io_uring_files_update update = {.offset = slot, .fds = (uint64_t)(uintptr_t)&fd};
    int n = ring_register(io, IORING_REGISTER_FILES_UPDATE, &update, 1);
    return n < 0 ? n : 0;
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
