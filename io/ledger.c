/* SPDX-License-Identifier: MIT
 *
 * The op ledger: an open-addressing table of what is in flight, keyed by user_data. See io/ledger_internal.h.
 */
#include "io/ledger_internal.h"

#if defined(TORC_DEBUG) && TORC_DEBUG

#include <errno.h>
#include <string.h>

#include "core/sanitizer_internal.h"
#include "io/io_internal.h"

struct entry {
    uint64_t user_data; /* 0: free */
    void *buffer;       /* poisoned; NULL: none */
    size_t size;
};

struct torci_ledger {
    const struct torci_kernel *kernel;
    struct entry *entries;
    uint32_t mask, used;
    uint32_t unnoted; /* in flight, but there was no memory to grow */
    uint32_t noted;   /* SQEs below this index of the ring are in the table */
};

enum { ENTRIES_MIN = 1024 };

static uint32_t slot_of(const struct torci_ledger *ledger, uint64_t user_data)
{
    return (uint32_t)((user_data * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & ledger->mask;
}

/* Where USER_DATA is, or the free place where it would be. */
static struct entry *find(const struct torci_ledger *ledger, uint64_t user_data)
{
    uint32_t at = slot_of(ledger, user_data);
    while (ledger->entries[at].user_data && ledger->entries[at].user_data != user_data)
        at = (at + 1) & ledger->mask;
    return &ledger->entries[at];
}

static int resize(struct torci_ledger *ledger, uint32_t count)
{
    const struct torci_kernel *kernel = ledger->kernel;
    struct entry *old = ledger->entries;
    uint32_t old_count = old ? ledger->mask + 1 : 0;
    struct entry *entries =
        (struct entry *)kernel->host.map(kernel->host.map_context, count * sizeof *entries);
    if (!entries)
        return -ENOMEM;
    ledger->entries = entries;
    ledger->mask = count - 1;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].user_data)
            *find(ledger, old[i].user_data) = old[i];
    if (old)
        kernel->host.unmap(kernel->host.map_context, old, old_count * sizeof *old);
    return 0;
}

int torci_ledger_create(struct torci_ledger **out, const struct torci_kernel *kernel,
                        uint32_t first_index)
{
    struct torci_ledger *ledger =
        (struct torci_ledger *)kernel->host.alloc(kernel->host.context, sizeof *ledger);
    if (!ledger)
        return -ENOMEM;
    ledger->kernel = kernel;
    ledger->noted = first_index;
    int err = resize(ledger, ENTRIES_MIN);
    if (err) {
        kernel->host.free(kernel->host.context, ledger, sizeof *ledger);
        return err;
    }
    *out = ledger;
    return 0;
}

static void unpoison(struct entry *entry)
{
#ifdef TORCI_ASAN
    TORC_ASSERT(__asan_address_is_poisoned(entry->buffer)); /* freed and handed out meanwhile */
    __asan_unpoison_memory_region(entry->buffer, entry->size);
#endif
    entry->buffer = NULL;
}

void torci_ledger_destroy(struct torci_ledger *ledger, const struct torci_kernel *kernel,
                          uint32_t in_flight)
{
    if (!ledger)
        return;
    TORC_ASSERT(in_flight || !ledger->used);
    for (uint32_t i = 0; i <= ledger->mask; i++)
        if (ledger->entries[i].buffer)
            unpoison(&ledger->entries[i]);
    kernel->host.unmap(kernel->host.map_context, ledger->entries,
                       (ledger->mask + 1) * sizeof *ledger->entries);
    kernel->host.free(kernel->host.context, ledger, sizeof *ledger);
}

/* To the end of ASan's last whole granule: it can't hold the first bytes of one back and let go of the rest. */
static void poison(struct entry *entry, uintptr_t from, size_t size)
{
#ifdef TORCI_ASAN
    enum { GRANULE = 8 };
    uintptr_t to = (from + size) & ~(uintptr_t)(GRANULE - 1);
    if (from >= to)
        return;
    entry->buffer = (void *)from;
    entry->size = to - from;
    TORC_ASSERT(
        !__asan_region_is_poisoned(entry->buffer, entry->size)); /* in flight already, or freed */
    __asan_poison_memory_region(entry->buffer, entry->size);
#else
    (void)entry, (void)from, (void)size;
#endif
}

static void note(struct torci_ledger *ledger, const struct io_uring_sqe *sqe)
{
    if ((sqe->user_data & TORCI_TAG_MASK) == TORCI_TAG_SILENT)
        return;                                          /* over within this submission */
    TORC_ASSERT(!(sqe->flags & IOSQE_CQE_SKIP_SUCCESS)); /* every operation completes: io/op.h */
    if ((sqe->user_data & TORCI_TAG_MASK) == TORCI_TAG_NONE)
        return; /* a completion that nobody tells from others */
    if (2 * ledger->used > ledger->mask && resize(ledger, 2 * (ledger->mask + 1)) &&
        ledger->used == ledger->mask) { /* one stays free, where a search ends */
        ledger->unnoted++;
        return;
    }
    struct entry *entry = find(ledger, sqe->user_data);
    TORC_ASSERT(entry->user_data == 0); /* this op is in flight already */
    *entry = (struct entry){.user_data = sqe->user_data};
    ledger->used++;
    bool reads = sqe->opcode == IORING_OP_READ || sqe->opcode == IORING_OP_READ_FIXED ||
                 sqe->opcode == IORING_OP_RECV;
    if (reads && sqe->len && !(sqe->flags & IOSQE_BUFFER_SELECT))
        poison(entry, (uintptr_t)sqe->addr, sqe->len);
}

void torci_ledger_submit(struct torci_ledger *ledger, const struct torci_ring *ring)
{
    for (; ledger->noted != ring->tail; ledger->noted++)
        note(ledger, &ring->sqes[ledger->noted & ring->sq_mask]);
}

/* Takes ENTRY out and closes the gap, so that what was pushed past it is still found. */
static void take_out(struct torci_ledger *ledger, struct entry *entry)
{
    uint32_t hole = (uint32_t)(entry - ledger->entries), at = hole;
    for (;;) {
        at = (at + 1) & ledger->mask;
        struct entry *next = &ledger->entries[at];
        if (!next->user_data)
            break;
        uint32_t home = slot_of(ledger, next->user_data);
        if (((at - home) & ledger->mask) >= ((at - hole) & ledger->mask)) {
            ledger->entries[hole] = *next;
            hole = at;
        }
    }
    ledger->entries[hole] = (struct entry){.user_data = 0};
    ledger->used--;
}

void torci_ledger_complete(struct torci_ledger *ledger, uint64_t user_data, uint32_t flags)
{
    if ((user_data & TORCI_TAG_MASK) == TORCI_TAG_NONE)
        return;
    struct entry *entry = find(ledger, user_data);
    if (TORC_UNLIKELY(!entry->user_data && ledger->unnoted)) {
        ledger->unnoted -= !(flags & IORING_CQE_F_MORE);
        return;
    }
    TORC_ASSERT(entry->user_data == user_data); /* a completion for what is not in flight */
    if (flags & IORING_CQE_F_MORE)
        return;
    if (entry->buffer)
        unpoison(entry);
    take_out(ledger, entry);
}

#endif
