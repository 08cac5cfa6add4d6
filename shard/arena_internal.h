/* SPDX-License-Identifier: MIT
 *
 * Arenas: the memory of each shard, on its own NUMA node. All arenas of a set lie in one range of address space, side
 * by side and of one size, so that an address tells its shard by a shift. Address space costs nothing; it is committed
 * as it is first handed out. Inside, memory is handed out in runs of 64 KiB units, from two zones:
 *
 *     dense    DMA buffers, lanes, slabs: all of it is going to be touched, so it is made of huge pages where there are any
 *     sparse   stacks: a parked task costs the one page that it has touched, so never of huge pages
 *
 * What is given back is used again. A zone is a sequence of runs without gaps up to its frontier; its table has a struct
 * torci_run at the first and at the last unit of each, so neighbours are found and merged in O(1), and free runs hang in
 * bins by size, eight to a power of two.
 *
 * Reserved huge pages are taken from the machine when a zone grows over them, never at a touch, where their absence would
 * be a SIGBUS. The policy that puts pages on the node is set before any is touched, so it does not matter who does.
 *
 * Thread rule: an arena is its shard's, but for torci_arena_open, which may run on another thread before.
 */
#ifndef TORC_SHARD_ARENA_INTERNAL_H
#define TORC_SHARD_ARENA_INTERNAL_H

#include "core/counters_internal.h"
#include "core/list.h"
#include "io/config.h"
#include "io/kernel_internal.h"
#include "shard/alloc.h"

enum {
    TORCI_ARENA_UNIT_SHIFT = 16,
    TORCI_ARENA_UNIT = 1 << TORCI_ARENA_UNIT_SHIFT,
    TORCI_ARENA_BINS = 192,
    TORCI_HUGE_PAGE = 2 << 20,
};

#define TORCI_ARENA_BYTES_MIN ((uint64_t)16 << 20)
#define TORCI_ARENA_BYTES_MAX ((uint64_t)16 << 40)

struct torci_run {
    uint32_t units;
    uint32_t next, prev; /* free ones of the same bin, by first unit */
    uint8_t state;       /* enum run_state in arena.c */
    uint8_t use;
    bool dirty; /* free, and not all zero */
};

struct torci_zone {
    char *base;
    uint32_t units;    /* that there is room for */
    uint32_t frontier; /* units below belong to runs */
    uint32_t reserved; /* the first so many are of reserved huge pages */
    uint32_t seam;     /* where these have ended for good; 0: they have not, or there are none */
    bool is_dense;
    size_t committed_bytes;
    size_t page_bytes; /* memory is given back to the machine in whole ones of these */
    struct torci_run *runs;
    size_t runs_committed_bytes;
    uint64_t bins_used[TORCI_ARENA_BINS / 64];
    uint32_t bins[TORCI_ARENA_BINS]; /* the first free run */
};

struct torci_arena_set;

struct torci_arena {
    const struct torci_kernel *kernel;
    const struct torci_arena_set *set;
    char *base;
    uint64_t size_bytes;
    uint32_t shard;
    int node; /* negative: any */
    bool bound, prefault, told_no_pages;
    enum torc_hugepages wanted, got; /* of the dense zone's newest part; never AUTO in GOT */
    struct torci_zone dense, sparse;
    uint64_t used_bytes[TORC_ARENA_USES], used_total_bytes, high_water_bytes;
    uint64_t lost_bytes;       /* that the kernel would not let us use again */
    struct torci_link regions; /* registered with the ring, in dma_region.c */
    uint64_t pinned_bytes;
    struct torci_counters *counters; /* NULL: nobody watches */
};

struct torci_arena_options {
    uint64_t arena_bytes; /* of each arena; 0: as much as can be had, up to 64 GiB */
    enum torc_hugepages hugepages;
    bool prefault;      /* dense memory is touched when it is committed */
    size_t eager_bytes; /* of dense memory that each arena is sure to hand out; 0: one huge page */
};

struct torci_arena_set {
    const struct torci_kernel *kernel;
    struct torci_arena_options options;
    char *memory; /* as reserved */
    size_t memory_bytes;
    char *base;
    uint32_t shift, count; /* arena i is at base + (i << shift) */
    size_t own_bytes;
    struct torci_arena arenas[];
};

/* Reserves address space for COUNT arenas. -ENOMEM: there is none (RLIMIT_AS); -EINVAL: options out of range; each
 * with one line. */
int torci_arena_set_create(const struct torci_kernel *kernel,
                           const struct torci_arena_options *options, uint32_t count,
                           struct torci_arena_set **set) TORC_MUST_CHECK;
/* Gives everything back. Nobody uses any of it. NULL is fine. */
void torci_arena_set_destroy(struct torci_arena_set *set);

/* Makes SHARD's arena usable, its memory to come from NODE (negative: from anywhere). -ENOMEM with one line: reserved
 * huge pages were asked for and there aren't enough, or memory is out. A node that the kernel does not let us choose is
 * one line and no error. */
int torci_arena_open(struct torci_arena_set *set, uint32_t shard, int node,
                     struct torci_arena **arena) TORC_MUST_CHECK;

/* Memory for USE, aligned to 64 KiB, zeroed unless the use says otherwise; NULL when there is none. */
void *torci_arena_map(struct torci_arena *arena, enum torc_arena_use use, size_t size_bytes);
/* The same, from a zone that the caller chooses. */
void *torci_arena_map_in(struct torci_arena *arena, enum torc_arena_use use, bool dense,
                         size_t size_bytes);
/* MEMORY and SIZE_BYTES are as they were mapped. NULL is fine. */
void torci_arena_unmap(struct torci_arena *arena, void *memory, size_t size_bytes);

/* How many bytes, in whole units, torci_arena_map has handed out at MEMORY. */
size_t torci_arena_mapped_bytes(const struct torci_arena *arena, const void *memory);

/* Points map, unmap and guard of an executor's copy of the host to the arena. */
void torci_arena_host(struct torci_arena *arena, struct torci_host *host);

/* Keeps the gauges in COUNTERS, which outlives the arena, from now on. */
void torci_arena_watch(struct torci_arena *arena, struct torci_counters *counters);

/* The shard whose arena ADDRESS lies in; count or more if it lies in none. */
static inline uint64_t torci_arena_shard_of(const struct torci_arena_set *set, const void *address)
{
    return ((uintptr_t)address - (uintptr_t)set->base) >> set->shift;
}

/* Forgets what dma_region.c knows; the ring is gone. */
void torci_arena_forget_regions(struct torci_arena *arena);

/* Walks the arena: whether runs, bins and sums agree. For tests. */
bool torci_arena_check(const struct torci_arena *arena);

/* Grows the dense or the sparse zone's usable part to at least WANTED_BYTES. -ENOMEM. In arena_set.c. */
int torci_zone_commit(struct torci_arena *arena, struct torci_zone *zone,
                      size_t wanted_bytes) TORC_MUST_CHECK;

/* Calls FN for each run that is handed out, until it returns false. */
void torci_arena_each(const struct torci_arena *arena,
                      bool (*fn)(void *context, enum torc_arena_use use, char *memory,
                                 size_t size_bytes),
                      void *context);

/* As torc_arena_stats_get. */
void torci_arena_stats_get(const struct torci_arena *arena, struct torc_arena_stats *stats);

#endif
