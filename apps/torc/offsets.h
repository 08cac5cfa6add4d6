/* SPDX-License-Identifier: MIT
 *
 * Where the next I/O goes: direction, file and offset, for sequential, random and mixed workloads. Deterministic: one
 * seed, one sequence. No system calls, no division and no allocation after init.
 *
 * Random offsets visit every block once before any is visited again (as fio does), by a bitmap that is a tree: a bit
 * of an upper level says that 64 below it are used up, so that finding a free block costs a few words even when one
 * block in a million is left. The bitmap's memory is touched as the blocks are. If reads and writes have blocks of
 * different sizes each direction has a map of its own.
 */
#ifndef TORC_APPS_OFFSETS_H
#define TORC_APPS_OFFSETS_H

#include "apps/torc/job.h"

enum { BENCH_MAP_LEVELS_MAX = 7 };

/* Blocks 0 to count - 1, each used or free. */
struct bench_map {
    uint64_t *words[BENCH_MAP_LEVELS_MAX]; /* level 0: a bit a block; all in one allocation */
    uint64_t count, used;
    unsigned levels;
};

/* All free. -ENOMEM. COUNT is 1 or more. */
int bench_map_init(struct bench_map *map, uint64_t count);
void bench_map_deinit(struct bench_map *map);
void bench_map_clear(struct bench_map *map);
/* Marks BLOCK as used, or if it is used the next free one, wrapping round; which. There is a free one. */
uint64_t bench_map_take(struct bench_map *map, uint64_t block);

/* A part of one file. */
struct bench_span {
    uint64_t start, bytes;
};

/* Owned by bench_offsets. */
struct bench_lane {
    struct bench_span span;
    uint64_t blocks[BENCH_DIRECTIONS];
    uint64_t next[BENCH_DIRECTIONS]; /* sequential: relative to start */
    struct bench_map map[BENCH_DIRECTIONS];
};

/* One I/O, drawn ahead of its use: a map is larger than the cache, and its word can be fetched meanwhile. */
struct bench_io {
    uint64_t offset; /* of a mapped one that is still ahead: the block to try first */
    uint32_t file;
    uint32_t direction; /* enum bench_direction */
};

enum {
    BENCH_IOS_AHEAD = 8
}; /* a power of two; a miss takes as long as three or four I/Os are prepared */

struct bench_offsets {
    struct bench_io ahead[BENCH_IOS_AHEAD];
    uint32_t current;          /* which of them is in use: the oldest */
    uint32_t lane_count, lane; /* lane: of the next draw */
    struct bench_lane *lanes;
    uint64_t block_bytes[BENCH_DIRECTIONS];
    uint64_t state;      /* of the random numbers */
    uint32_t read_below; /* a mix reads when 32 random bits are below this */
    uint32_t only;       /* direction of what is no mix */
    bool mixed, random, mapped, shared_map;
};

/* For COUNT files of which SPANS are worked on in turn; each span holds at least one block of each direction that JOB
 * uses. -ENOMEM: no room for the map: norandommap does without. */
int bench_offsets_init(struct bench_offsets *offsets, const struct bench_job *job,
                       const struct bench_span *spans, unsigned count, uint64_t seed);
void bench_offsets_deinit(struct bench_offsets *offsets);
/* From the beginning again: a further loop. The random sequence goes on. */
void bench_offsets_rewind(struct bench_offsets *offsets);
/* 64 random bits, the next of those that STATE was seeded for. */
uint64_t bench_random(uint64_t *state);

/* The next one, good until the call after; its length is block_bytes[direction]. */
const struct bench_io *bench_offsets_next(struct bench_offsets *offsets);

#endif
