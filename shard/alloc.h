/* SPDX-License-Identifier: MIT
 *
 * Memory of a shard, on the shard's own NUMA node: an allocator without locks for small and large objects, and what is
 * known about the arena that it and all else (stacks, buffers, lanes) comes from.
 *
 *     struct session *session = torc_alloc(sizeof *session);
 *     ...
 *     torc_free(session);                 // on any shard: it goes back to the one that it came from
 *
 * Sizes are rounded up to a class: multiples of 16 up to 128 bytes, then eight to each power of two up to 256 KiB, so
 * that at most an eighth of a block is lost; beyond that to whole units of 64 KiB. Objects of the same class share
 * slabs; a slab that is wholly free goes back to the arena.
 *
 * Broken contracts end the program: freeing twice, freeing what was not allocated here, calling from a thread that is
 * no shard. With -DTORC_DEBUG=1 freed memory is overwritten, and under ASan poisoned.
 *
 * Shard rule: torc_alloc takes from the shard that it runs on; torc_free runs on any shard.
 */
#ifndef TORC_SHARD_ALLOC_H
#define TORC_SHARD_ALLOC_H

#include "core/base.h"
#include "io/config.h"

TORC_BEGIN_DECLS

enum {
    TORC_ALLOC_CLASSES = 96,
    TORC_ALLOC_CLASS_BYTES_MAX = 256 * 1024, /* larger objects have memory of their own */
};

/* SIZE_BYTES of memory, not zeroed, aligned to 16 bytes, and to 64 if SIZE_BYTES is a multiple of that. NULL: the arena
 * is used up, or there is no memory. Never blocks; few calls in a thousand take more than some nanoseconds. Of size 0:
 * memory all the same. */
void *torc_alloc(size_t size_bytes) __attribute__((malloc, alloc_size(1)));
/* Gives MEMORY back, on whichever shard; NULL is fine. What belongs to another shard is sent there in batches, at the end
 * of the loop's turn at the latest. Never blocks, never fails. */
void torc_free(void *memory);
/* How many bytes MEMORY takes: at least what was asked for, and no more of it may be used. Any shard. */
size_t torc_alloc_size(const void *memory);

struct torc_alloc_class_stats {
    uint32_t block_bytes;
    uint32_t slabs;
    uint64_t live; /* blocks; those that another shard has freed count until they are back */
};

struct torc_alloc_stats {
    uint64_t live_blocks, live_bytes;   /* bytes as rounded up */
    uint64_t large_blocks, large_bytes; /* of those: larger than all classes */
    uint64_t slabs, slab_bytes;         /* held */
    uint64_t remote_sent;               /* blocks of others that were freed here */
    uint64_t remote_received;           /* own blocks that came back from others */
    uint64_t remote_batches;            /* messages that took */
    uint64_t failed;                    /* calls that got NULL */
    struct torc_alloc_class_stats classes[TORC_ALLOC_CLASSES];
};

/* This shard's allocator as it is now. Walks its slabs. */
void torc_alloc_stats_get(struct torc_alloc_stats *stats);

/* What an arena's memory is used for. */
enum torc_arena_use {
    TORC_ARENA_STACKS, /* and all else that core asks for: tasks */
    TORC_ARENA_DMA,    /* buffer pools */
    TORC_ARENA_LANES,  /* messages from other shards */
    TORC_ARENA_SLABS,  /* torc_alloc's */
    TORC_ARENA_OTHER,
    TORC_ARENA_USES
};

struct torc_arena_use_stats {
    uint64_t bytes;         /* handed out; of stacks, address space that is mostly not touched */
    uint32_t pages_sampled; /* touched pages whose node the kernel was asked for */
    uint32_t pages_on_node; /* of those: where they were wanted */
};

struct torc_arena_stats {
    int node;   /* NUMA node that the memory is to be on; -1: any, and every page counts as on it */
    bool bound; /* the kernel was told; it is not on machines with one node */
    enum torc_hugepages
        pages;           /* what buffers, lanes and slabs are made of (newest part); never AUTO */
    uint64_t size_bytes; /* address space */
    uint64_t committed_bytes;              /* that has ever been needed */
    uint64_t used_bytes, high_water_bytes; /* handed out now; the most ever */
    uint64_t reserved_bytes;               /* in reserved huge pages */
    int64_t
        transparent_bytes; /* that the kernel has made huge pages of by now; negative: it does not say */
    uint64_t pinned_bytes; /* registered with the ring */
    uint64_t lost_bytes;   /* that the kernel would not let be used again */
    int sample_error; /* negative errno: why no page was sampled (containers forbid move_pages) */
    struct torc_arena_use_stats uses[TORC_ARENA_USES];
};

/* This shard's arena as it is now. Asks the kernel where a sample of pages really is: may take a millisecond, before Linux
 * 6.7 with many shards tens of them. */
void torc_arena_stats_get(struct torc_arena_stats *stats);

TORC_END_DECLS

#endif
