/* SPDX-License-Identifier: MIT
 *
 * The allocator of one shard. A slab is one or more units of the arena: a header, then blocks of one class, which carry
 * the list of free ones themselves. A class allocates from its current slab until that is used up.
 *
 *                    blocks run out              one is freed                   all are freed
 *         current ------------------> full ------------------> partial -----------------------> given back
 *            ^                                                    |                              (one is kept)
 *            +----------------------------------------------------+
 *               when the current one is used up
 *
 * The table `units` says of each unit of the arena's dense zone what it is to the allocator, so that a pointer leads to
 * its slab in two loads, and a wrong one to an assertion:
 *
 *     0 not ours     1 … UNIT_LARGE - 1: a slab that began so many units less one before     UNIT_LARGE: a large object
 *
 * What another shard frees comes back by message: shard/returns_internal.h.
 *
 * Invariants: the current slab of a class is in no list; a free block holds the next one and a mark by which a second free is
 * noticed; `watch` is the count of used blocks at which a slab changes its state, so that a free compares once.
 */
#ifndef TORC_SHARD_ALLOC_INTERNAL_H
#define TORC_SHARD_ALLOC_INTERNAL_H

#include <string.h>

#include "core/sanitizer_internal.h"
#include "shard/alloc.h"
#include "shard/arena_internal.h"

enum {
    TORCI_UNIT_LARGE = 255,
    TORCI_WATCH_NEVER = INT32_MAX,
    TORCI_SLAB_LINE = 64,
    TORCI_POISON_BYTES_MAX = 512,
};

/* In each free block. */
struct torci_free_block {
    struct torci_free_block *next;
    uintptr_t mark;
};

struct torci_slab {
    _Alignas(TORCI_SLAB_LINE) struct torci_free_block *free;
    uint32_t used;  /* blocks that are out */
    uint32_t watch; /* see above */
    uint32_t carved, count;
    uint32_t block_bytes;
    uint16_t units;
    uint8_t size_class;
    uint8_t state;          /* enum slab_state in alloc.c */
    struct torci_link link; /* in its class's partial or full slabs */
};
_Static_assert(sizeof(struct torci_slab) == TORCI_SLAB_LINE, "blocks follow, aligned to a line");

struct torci_alloc_class {
    struct torci_slab *current; /* never NULL: the empty one before the first */
    struct torci_link partial, full;
    uint32_t slabs;
};

struct torci_alloc {
    char *base; /* of the arena's dense zone */
    uint64_t dense_bytes;
    uint8_t *units;
    struct torci_arena *arena;
    struct torci_slab *kept; /* of one unit, empty */
    struct torci_slab empty; /* the current one of classes that have none */
    uint64_t large_blocks, large_bytes, slabs, slab_bytes, failed;
    uint64_t remote_sent, remote_received, remote_batches;
    struct torci_alloc_class classes[TORC_ALLOC_CLASSES];
};

/* ALLOC allocates from ARENA. -ENOMEM. */
int torci_alloc_init(struct torci_alloc *alloc, struct torci_arena *arena) TORC_MUST_CHECK;
/* The memory of what was not freed goes with the arena. */
void torci_alloc_deinit(struct torci_alloc *alloc);

/* The rare cases of the two below. */
void *torci_alloc_slow(struct torci_alloc *alloc, unsigned size_class);
void *torci_alloc_large(struct torci_alloc *alloc, size_t size_bytes);
void torci_alloc_changed(struct torci_alloc *alloc, struct torci_slab *slab);
void torci_alloc_free_large(struct torci_alloc *alloc, void *memory);

/* As torc_alloc_size, of a block of this shard; on any shard that may use it. */
size_t torci_alloc_size(const struct torci_alloc *alloc, const void *memory);

void torci_alloc_stats_get(const struct torci_alloc *alloc, struct torc_alloc_stats *stats);
/* Walks all slabs: whether lists, counts and the table agree. For tests. */
bool torci_alloc_check(const struct torci_alloc *alloc);

/* The class that holds SIZE_BYTES, up to TORC_ALLOC_CLASS_BYTES_MAX. */
static inline unsigned torci_alloc_class_of(size_t size_bytes)
{
    if (size_bytes <= 128)
        return size_bytes ? (unsigned)(size_bytes - 1) >> 4 : 0;
    unsigned exponent = 31 - (unsigned)__builtin_clz((unsigned)(size_bytes - 1));
    return (exponent - 7) * 8 + 8 + ((unsigned)(size_bytes - 1) >> (exponent - 3) & 7);
}

static inline uint32_t torci_alloc_class_bytes(unsigned size_class)
{
    if (size_class < 8)
        return (size_class + 1) * 16;
    return (size_class % 8 + 9) << (size_class / 8 + 3);
}

/* What a free block is told by: no live one holds this, but by design. */
static inline uintptr_t torci_alloc_mark(const void *block)
{
    return (uintptr_t)block ^ (uintptr_t)0x5eedf4eeb10c1e57;
}

static inline void torci_alloc_poison(void *block, size_t bytes)
{
    (void)block, (void)bytes;
#if defined(TORCI_ASAN)
    __asan_poison_memory_region(block, bytes);
#elif defined(TORC_DEBUG) && TORC_DEBUG
    /* what is used after it was freed is used from its beginning, as a rule */
    if (bytes > TORCI_POISON_BYTES_MAX)
        bytes = TORCI_POISON_BYTES_MAX;
    memset((struct torci_free_block *)block + 1, 0xdd, bytes - sizeof(struct torci_free_block));
#endif
}

/* ASan then sees an overrun to the byte. */
static inline void torci_alloc_unpoison(void *block, size_t bytes)
{
    (void)block, (void)bytes;
#if defined(TORCI_ASAN)
    __asan_unpoison_memory_region(block, bytes);
#endif
}

static inline bool torci_alloc_is_poisoned(const void *block)
{
    (void)block;
#if defined(TORCI_ASAN)
    return __asan_address_is_poisoned(block);
#else
    return false;
#endif
}

static inline void *torci_alloc_get(struct torci_alloc *alloc, size_t size_bytes)
{
    if (TORC_UNLIKELY(size_bytes > TORC_ALLOC_CLASS_BYTES_MAX))
        return torci_alloc_large(alloc, size_bytes);
    unsigned size_class = torci_alloc_class_of(size_bytes);
    struct torci_slab *slab = alloc->classes[size_class].current;
    struct torci_free_block *block = slab->free;
    if (TORC_UNLIKELY(!block)) {
        block = (struct torci_free_block *)torci_alloc_slow(alloc, size_class);
        if (!block)
            return NULL;
    } else {
        torci_alloc_unpoison(block, sizeof *block);
        slab->free = block->next;
        slab->used++;
    }
    block->mark = 0;
    torci_alloc_poison(block, torci_alloc_class_bytes(size_class));
    torci_alloc_unpoison(block, size_bytes ? size_bytes : 1);
    return block;
}

/* The slab of a block, given what the table says of its unit. */
static inline struct torci_slab *torci_alloc_slab(const struct torci_alloc *alloc, size_t offset,
                                                  unsigned unit)
{
    size_t first = (offset >> TORCI_ARENA_UNIT_SHIFT) - (unit - 1);
    return (struct torci_slab *)(void *)(alloc->base + (first << TORCI_ARENA_UNIT_SHIFT));
}

/* MEMORY is of this arena. */
static inline void torci_alloc_put(struct torci_alloc *alloc, void *memory)
{
    size_t offset = (uintptr_t)memory - (uintptr_t)alloc->base;
    TORC_ASSERT(offset < alloc->dense_bytes); /* torc_alloc's, and not another part of the arena */
    unsigned unit = alloc->units[offset >> TORCI_ARENA_UNIT_SHIFT];
    TORC_ASSERT(unit != 0); /* still allocated */
    if (TORC_UNLIKELY(unit == TORCI_UNIT_LARGE)) {
        torci_alloc_free_large(alloc, memory);
        return;
    }
    struct torci_slab *slab = torci_alloc_slab(alloc, offset, unit);
    struct torci_free_block *block = (struct torci_free_block *)memory;
    TORC_ASSERT(!torci_alloc_is_poisoned(block));
    torci_alloc_unpoison(block, slab->block_bytes);
    TORC_DEBUG_ASSERT(((uintptr_t)block - (uintptr_t)(slab + 1)) % slab->block_bytes == 0);
    TORC_ASSERT(block->mark != torci_alloc_mark(block)); /* freed twice */
    block->mark = torci_alloc_mark(block);
    block->next = slab->free;
    slab->free = block;
    torci_alloc_poison(block, slab->block_bytes);
    if (TORC_UNLIKELY(--slab->used == slab->watch))
        torci_alloc_changed(alloc, slab);
}

#endif
