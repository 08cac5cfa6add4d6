/* SPDX-License-Identifier: MIT */
#include "apps/torc/offsets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

/* splitmix64: one addition and two multiplications, and any seed is good. */
uint64_t bench_random(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* Below BOUND without a division; the bias of at most BOUND / 2^64 is nothing here. */
static uint64_t scale(uint64_t random, uint64_t bound)
{
    return (uint64_t)(((wide)random * bound) >> 64);
}

static uint64_t words_for(uint64_t bits)
{
    return bits / 64 + (bits % 64 != 0);
}

/* What lies beyond the last block counts as used, so that a search never ends there. */
static void mark_beyond(struct bench_map *map)
{
    uint64_t bits = map->count;
    for (unsigned level = 0; level < map->levels; level++) {
        if (bits % 64)
            map->words[level][bits / 64] |= ~UINT64_C(0) << bits % 64;
        bits = words_for(bits);
    }
}

int bench_map_init(struct bench_map *map, uint64_t count)
{
    uint64_t total = 0, bits = count;
    *map = (struct bench_map){.count = count};
    do {
        bits = words_for(bits);
        total += bits;
        map->levels++;
    } while (bits > 1);
    uint64_t *words = calloc(total, sizeof(*words));
    if (!words)
        return -ENOMEM;
    bits = count;
    for (unsigned level = 0; level < map->levels; level++) {
        map->words[level] = words;
        bits = words_for(bits);
        words += bits;
    }
    mark_beyond(map);
    return 0;
}

void bench_map_deinit(struct bench_map *map)
{
    free(map->words[0]);
    *map = (struct bench_map){0};
}

void bench_map_clear(struct bench_map *map)
{
    uint64_t bits = map->count;
    for (unsigned level = 0; level < map->levels; level++) {
        bits = words_for(bits);
        memset(map->words[level], 0, bits * sizeof(uint64_t));
    }
    map->used = 0;
    mark_beyond(map);
}

static void mark(struct bench_map *map, uint64_t block)
{
    map->used++;
    for (unsigned level = 0; level < map->levels; level++) {
        uint64_t *word = &map->words[level][block / 64];
        *word |= UINT64_C(1) << block % 64;
        if (~*word)
            return;
        block /= 64;
    }
}

/* The first free block at or after FROM, or `count`: up the tree until a word has a free bit, then down to it. */
static uint64_t next_free(const struct bench_map *map, uint64_t from)
{
    uint64_t at = from, words = words_for(map->count);
    for (unsigned level = 0; level < map->levels; level++) {
        uint64_t index = at / 64;
        if (index >= words)
            return map->count;
        uint64_t open = ~map->words[level][index] & ~UINT64_C(0) << at % 64;
        if (open) {
            at = index * 64 + (uint64_t)__builtin_ctzll(open);
            while (level--)
                at = at * 64 + (uint64_t)__builtin_ctzll(~map->words[level][at]);
            return at;
        }
        at = index + 1;
        words = words_for(words);
    }
    return map->count;
}

uint64_t bench_map_take(struct bench_map *map, uint64_t block)
{
    if (map->words[0][block / 64] >> block % 64 & 1) {
        uint64_t wanted = block;
        block = next_free(map, wanted);
        if (block == map->count)
            block = next_free(map, 0);
    }
    mark(map, block);
    return block;
}

static void draw_ahead(struct bench_offsets *o);

static int init_maps(struct bench_offsets *o, const struct bench_job *job, struct bench_lane *lane)
{
    for (int d = 0; d < BENCH_DIRECTIONS; d++) {
        if (!job->does[d] || (d == BENCH_WRITE && o->shared_map))
            continue;
        int err = bench_map_init(&lane->map[d], lane->blocks[d]);
        if (err)
            return err;
    }
    return 0;
}

int bench_offsets_init(struct bench_offsets *o, const struct bench_job *job,
                       const struct bench_span *spans, unsigned count, uint64_t seed)
{
    bool mixed = job->does[BENCH_READ] && job->does[BENCH_WRITE];
    *o = (struct bench_offsets){
        .lanes = calloc(count, sizeof(struct bench_lane)),
        .lane_count = count,
        .state = seed,
        .mixed = mixed,
        .random = job->random,
        .mapped = job->random && !job->no_random_map,
        .only = job->does[BENCH_READ] ? BENCH_READ : BENCH_WRITE,
        .read_below = (uint32_t)(UINT32_MAX * (uint64_t)job->mix_read / 100),
    };
    if (!o->lanes)
        return -ENOMEM;
    memcpy(o->block_bytes, job->block_bytes, sizeof(o->block_bytes));
    o->shared_map = mixed && job->block_bytes[BENCH_READ] == job->block_bytes[BENCH_WRITE];
    /* A draw below 2^32 - 1 is not quite always; all and nothing are exact. */
    if (mixed && (job->mix_read == 0 || job->mix_read == 100)) {
        o->mixed = false;
        o->only = job->mix_read ? BENCH_READ : BENCH_WRITE;
    }
    for (unsigned i = 0; i < count; i++) {
        struct bench_lane *lane = &o->lanes[i];
        lane->span = spans[i];
        for (int d = 0; d < BENCH_DIRECTIONS; d++)
            lane->blocks[d] = spans[i].bytes / job->block_bytes[d];
        int err = o->mapped ? init_maps(o, job, lane) : 0;
        if (err) {
            bench_offsets_deinit(o);
            return err;
        }
    }
    draw_ahead(o);
    return 0;
}

void bench_offsets_deinit(struct bench_offsets *o)
{
    for (unsigned i = 0; o->lanes && i < o->lane_count; i++)
        for (int d = 0; d < BENCH_DIRECTIONS; d++)
            bench_map_deinit(&o->lanes[i].map[d]);
    free(o->lanes);
    o->lanes = NULL;
}

static struct bench_map *map_of(const struct bench_offsets *o, struct bench_lane *lane,
                                uint32_t direction)
{
    return &lane->map[o->shared_map ? BENCH_READ : direction];
}

static void draw(struct bench_offsets *o, struct bench_io *io)
{
    struct bench_lane *lane = &o->lanes[o->lane];
    uint32_t direction = o->only;
    io->file = o->lane;
    if (++o->lane == o->lane_count)
        o->lane = 0;
    if (o->mixed)
        direction = (uint32_t)bench_random(&o->state) < o->read_below ? BENCH_READ : BENCH_WRITE;
    io->direction = direction;
    if (!o->random)
        return;
    uint64_t block = scale(bench_random(&o->state), lane->blocks[direction]);
    if (o->mapped) {
        __builtin_prefetch(&map_of(o, lane, direction)->words[0][block / 64], 1);
        io->offset = block;
    } else {
        io->offset = lane->span.start + block * o->block_bytes[direction];
    }
}

static void draw_ahead(struct bench_offsets *o)
{
    o->lane = 0;
    o->current = BENCH_IOS_AHEAD - 1; /* in use by nobody yet */
    for (unsigned i = 0; i < BENCH_IOS_AHEAD - 1; i++)
        draw(o, &o->ahead[i]);
}

void bench_offsets_rewind(struct bench_offsets *o)
{
    for (unsigned i = 0; i < o->lane_count; i++)
        for (int d = 0; d < BENCH_DIRECTIONS; d++) {
            o->lanes[i].next[d] = 0;
            if (o->lanes[i].map[d].used)
                bench_map_clear(&o->lanes[i].map[d]);
        }
    draw_ahead(o);
}

static uint64_t take_block(const struct bench_offsets *o, struct bench_lane *lane,
                           const struct bench_io *io)
{
    struct bench_map *map = map_of(o, lane, io->direction);
    if (map->used == map->count)
        bench_map_clear(map);
    return bench_map_take(map, io->offset);
}

const struct bench_io *bench_offsets_next(struct bench_offsets *o)
{
    draw(o, &o->ahead[o->current]);
    o->current = (o->current + 1) % BENCH_IOS_AHEAD;
    struct bench_io *io = &o->ahead[o->current];
    if (o->random && !o->mapped)
        return io;
    struct bench_lane *lane = &o->lanes[io->file];
    uint64_t bytes = o->block_bytes[io->direction], at;
    if (o->mapped) {
        at = take_block(o, lane, io) * bytes;
    } else {
        at = lane->next[io->direction];
        if (at + bytes > lane->span.bytes)
            at = 0;
        lane->next[io->direction] = at + bytes;
    }
    io->offset = lane->span.start + at;
    return io;
}
