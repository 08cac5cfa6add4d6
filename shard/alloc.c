/* SPDX-License-Identifier: MIT
 *
 * Slabs: made, used up, refilled, given back; large objects; the sums. The paths that matter are inline in
 * shard/alloc_internal.h.
 */
#include "shard/alloc_internal.h"

#include <errno.h>
#include <string.h>

enum slab_state {
    SLAB_EMPTY, /* no slab: stands for one in classes that have none */
    SLAB_CURRENT,
    SLAB_PARTIAL,
    SLAB_FULL,
};

enum {
    SMALL_BYTES_MAX = 4096, /* blocks up to here have slabs of one unit */
    SLAB_BLOCKS_MIN =
        8, /* larger ones of so many that less than an eighth of the slab is left over */
    CARVED_BYTES = 4096, /* at once: a slab is touched page by page, as it is needed */
};

int torci_alloc_init(struct torci_alloc *alloc, struct torci_arena *arena)
{
    memset(alloc, 0, sizeof *alloc);
    alloc->arena = arena;
    alloc->base = arena->dense.base;
    alloc->dense_bytes = (uint64_t)arena->dense.units << TORCI_ARENA_UNIT_SHIFT;
    alloc->units = (uint8_t *)torci_arena_map(arena, TORC_ARENA_OTHER, arena->dense.units);
    if (!alloc->units)
        return -ENOMEM;
    for (unsigned i = 0; i < TORC_ALLOC_CLASSES; i++) {
        alloc->classes[i].current = &alloc->empty;
        torci_link_init(&alloc->classes[i].partial);
        torci_link_init(&alloc->classes[i].full);
    }
    return 0;
}

void torci_alloc_deinit(struct torci_alloc *alloc)
{
    if (!alloc->arena)
        return;
    /* ASan's marks outlive the mapping, and the next one may be here */
    torci_alloc_unpoison(alloc->base, alloc->arena->dense.committed_bytes);
    torci_arena_unmap(alloc->arena, alloc->units, alloc->arena->dense.units);
    memset(alloc, 0, sizeof *alloc);
}

static unsigned slab_units(uint32_t block_bytes)
{
    if (block_bytes <= SMALL_BYTES_MAX)
        return 1;
    return (unsigned)((SLAB_BLOCKS_MIN * block_bytes + sizeof(struct torci_slab) - 1) /
                      TORCI_ARENA_UNIT) +
           1;
}

static size_t unit_index(const struct torci_alloc *alloc, const void *memory)
{
    return ((uintptr_t)memory - (uintptr_t)alloc->base) >> TORCI_ARENA_UNIT_SHIFT;
}

static struct torci_slab *slab_create(struct torci_alloc *alloc, unsigned size_class)
{
    uint32_t block_bytes = torci_alloc_class_bytes(size_class);
    unsigned units = slab_units(block_bytes);
    size_t bytes = (size_t)units * TORCI_ARENA_UNIT;
    struct torci_slab *slab = units == 1 ? alloc->kept : NULL;
    if (slab)
        alloc->kept = NULL;
    else
        slab = (struct torci_slab *)torci_arena_map(alloc->arena, TORC_ARENA_SLABS, bytes);
    if (!slab)
        return NULL;
    size_t first = unit_index(alloc, slab);
    for (unsigned i = 0; i < units; i++)
        alloc->units[first + i] = (uint8_t)(i + 1);
    *slab = (struct torci_slab){.count = (uint32_t)((bytes - sizeof *slab) / block_bytes),
                                .block_bytes = block_bytes,
                                .units = (uint16_t)units,
                                .size_class = (uint8_t)size_class};
    torci_link_init(&slab->link);
    alloc->classes[size_class].slabs++;
    alloc->slabs++;
    alloc->slab_bytes += bytes;
    return slab;
}

/* SLAB is in no list, and none of its blocks is out. */
static void slab_destroy(struct torci_alloc *alloc, struct torci_slab *slab)
{
    size_t bytes = (size_t)slab->units * TORCI_ARENA_UNIT;
    memset(alloc->units + unit_index(alloc, slab), 0, slab->units);
    alloc->classes[slab->size_class].slabs--;
    alloc->slabs--;
    alloc->slab_bytes -= bytes;
    torci_alloc_unpoison(slab, bytes);
    if (slab->units == 1 && !alloc->kept)
        alloc->kept = slab;
    else
        torci_arena_unmap(alloc->arena, slab, bytes);
}

/* The next blocks that have never been used become free ones. */
static void carve(struct torci_slab *slab)
{
    uint32_t n = CARVED_BYTES / slab->block_bytes;
    if (!n)
        n = 1;
    if (n > slab->count - slab->carved)
        n = slab->count - slab->carved;
    char *at = (char *)(slab + 1) + (size_t)(slab->carved + n) * slab->block_bytes;
    for (uint32_t i = 0; i < n; i++) { /* last first, so that they are handed out upwards */
        at -= slab->block_bytes;
        struct torci_free_block *block = (struct torci_free_block *)(void *)at;
        block->next = slab->free;
        block->mark = torci_alloc_mark(block);
        slab->free = block;
        torci_alloc_poison(block, slab->block_bytes);
    }
    slab->carved += n;
}

static void retire(struct torci_alloc_class *class, struct torci_slab *slab)
{
    TORC_ASSERT(slab->used == slab->count);
    slab->state = SLAB_FULL;
    slab->watch = slab->count - 1;
    torci_list_push_back(&class->full, &slab->link);
}

void *torci_alloc_slow(struct torci_alloc *alloc, unsigned size_class)
{
    struct torci_alloc_class *class = &alloc->classes[size_class];
    struct torci_slab *slab = class->current;
    if (slab->carved == slab->count) { /* used up, or the empty one */
        struct torci_link *first = torci_list_pop_front(&class->partial);
        struct torci_slab *next = first ? TORC_CONTAINER_OF(first, struct torci_slab, link)
                                        : slab_create(alloc, size_class);
        if (!next) {
            alloc->failed++;
            return NULL;
        }
        if (slab != &alloc->empty)
            retire(class, slab);
        slab = class->current = next;
        slab->state = SLAB_CURRENT;
        slab->watch = TORCI_WATCH_NEVER;
    }
    if (!slab->free)
        carve(slab);
    struct torci_free_block *block = slab->free;
    TORC_ASSERT(block != NULL);
    torci_alloc_unpoison(block, sizeof *block);
    slab->free = block->next;
    slab->used++;
    return block;
}

void torci_alloc_changed(struct torci_alloc *alloc, struct torci_slab *slab)
{
    if (slab->state == SLAB_FULL) {
        torci_list_unlink(&slab->link);
        torci_list_push_back(&alloc->classes[slab->size_class].partial, &slab->link);
        slab->state = SLAB_PARTIAL;
        slab->watch = 0;
        return;
    }
    TORC_ASSERT(slab->state == SLAB_PARTIAL && !slab->used);
    torci_list_unlink(&slab->link);
    slab_destroy(alloc, slab);
}

static size_t large_bytes(size_t size_bytes)
{
    return (size_bytes + TORCI_ARENA_UNIT - 1) & ~((size_t)TORCI_ARENA_UNIT - 1);
}

void *torci_alloc_large(struct torci_alloc *alloc, size_t size_bytes)
{
    void *memory = size_bytes <= alloc->dense_bytes
                       ? torci_arena_map(alloc->arena, TORC_ARENA_SLABS, size_bytes)
                       : NULL;
    if (!memory) {
        alloc->failed++;
        return NULL;
    }
    alloc->units[unit_index(alloc, memory)] = TORCI_UNIT_LARGE;
    alloc->large_blocks++;
    alloc->large_bytes += large_bytes(size_bytes);
    return memory;
}

void torci_alloc_free_large(struct torci_alloc *alloc, void *memory)
{
    size_t unit = unit_index(alloc, memory);
    size_t bytes = torci_arena_mapped_bytes(alloc->arena, memory);
    TORC_ASSERT((uintptr_t)memory % TORCI_ARENA_UNIT == 0);
    alloc->units[unit] = 0;
    alloc->large_blocks--;
    alloc->large_bytes -= bytes;
    torci_arena_unmap(alloc->arena, memory, bytes);
}

size_t torci_alloc_size(const struct torci_alloc *alloc, const void *memory)
{
    size_t offset = (uintptr_t)memory - (uintptr_t)alloc->base;
    TORC_ASSERT(offset < alloc->dense_bytes);
    unsigned unit = alloc->units[offset >> TORCI_ARENA_UNIT_SHIFT];
    TORC_ASSERT(unit != 0);
    if (unit == TORCI_UNIT_LARGE)
        return torci_arena_mapped_bytes(alloc->arena, memory);
    return torci_alloc_slab(alloc, offset, unit)->block_bytes;
}

static void add_slabs(struct torc_alloc_class_stats *stats, const struct torci_link *list)
{
    const struct torci_link *at;
    torci_list_each (at, list)
        stats->live += TORC_CONTAINER_OF(at, const struct torci_slab, link)->used;
}

void torci_alloc_stats_get(const struct torci_alloc *alloc, struct torc_alloc_stats *stats)
{
    *stats = (struct torc_alloc_stats){.live_blocks = alloc->large_blocks,
                                       .live_bytes = alloc->large_bytes,
                                       .large_blocks = alloc->large_blocks,
                                       .large_bytes = alloc->large_bytes,
                                       .slabs = alloc->slabs,
                                       .slab_bytes = alloc->slab_bytes,
                                       .remote_sent = alloc->remote_sent,
                                       .remote_received = alloc->remote_received,
                                       .remote_batches = alloc->remote_batches,
                                       .failed = alloc->failed};
    for (unsigned i = 0; i < TORC_ALLOC_CLASSES; i++) {
        const struct torci_alloc_class *class = &alloc->classes[i];
        struct torc_alloc_class_stats *into = &stats->classes[i];
        *into = (struct torc_alloc_class_stats){.block_bytes = torci_alloc_class_bytes(i),
                                                .slabs = class->slabs,
                                                .live = class->current->used};
        add_slabs(into, &class->partial);
        add_slabs(into, &class->full);
        stats->live_blocks += into->live;
        stats->live_bytes += into->live * into->block_bytes;
    }
}

/* Reads free blocks, which ASan holds poisoned. */
TORCI_NO_SANITIZE static bool check_slab(const struct torci_alloc *alloc,
                                         const struct torci_slab *slab, enum slab_state state)
{
    size_t first = unit_index(alloc, slab);
    for (unsigned i = 0; i < slab->units; i++)
        if (alloc->units[first + i] != i + 1)
            return false;
    uint32_t free_blocks = 0;
    for (const struct torci_free_block *at = slab->free; at; at = at->next)
        if (at->mark != torci_alloc_mark(at) || ++free_blocks > slab->carved)
            return false;
    if (slab->state != state || slab->carved > slab->count ||
        slab->used + free_blocks != slab->carved)
        return false;
    return state == SLAB_FULL ? slab->used == slab->count : state == SLAB_CURRENT || slab->used;
}

bool torci_alloc_check(const struct torci_alloc *alloc)
{
    for (unsigned i = 0; i < TORC_ALLOC_CLASSES; i++) {
        const struct torci_alloc_class *class = &alloc->classes[i];
        const struct torci_link *at;
        uint32_t slabs = 0;
        if (class->current != &alloc->empty) {
            if (!check_slab(alloc, class->current, SLAB_CURRENT))
                return false;
            slabs++;
        }
        torci_list_each (at, &class->partial) {
            if (!check_slab(alloc, TORC_CONTAINER_OF(at, const struct torci_slab, link),
                            SLAB_PARTIAL))
                return false;
            slabs++;
        }
        torci_list_each (at, &class->full) {
            if (!check_slab(alloc, TORC_CONTAINER_OF(at, const struct torci_slab, link), SLAB_FULL))
                return false;
            slabs++;
        }
        if (slabs != class->slabs)
            return false;
    }
    return true;
}
