/* SPDX-License-Identifier: MIT
 *
 * Reading counters: this process's own and those of a file that another one writes. Whatever comes from a file is
 * checked once, when it is attached, and then read by the offsets that were checked: its writer only ever changes the
 * blocks, and any value is a legal one there.
 */
#include "core/counters.h"

#include <errno.h>
#include <string.h>

#include "core/counters_internal.h"
#include "core/exec_internal.h"

#define OFFSET(name) offsetof(struct torci_counters, name)
#define LINE(name, unit, help, kind, offset, words) \
    {name, unit, help, (uint32_t)(kind), (uint32_t)(offset), (uint32_t)(words), 0},
#define SUM_LINE(name, unit, help) LINE(#name, unit, help, TORC_COUNTER_SUM, OFFSET(name), 1)
#define GAUGE_LINE(name, unit, help) LINE(#name, unit, help, TORC_COUNTER_GAUGE, OFFSET(name), 1)
#define HISTOGRAM_LINE(name, unit, help) \
    LINE(#name, unit, help, TORC_COUNTER_HISTOGRAM, OFFSET(name), 1 + TORC_COUNTER_BUCKETS)
#define SIZE_LINE(name, class, index, unit, help) \
    LINE(#name class, unit, help, TORC_COUNTER_SUM, OFFSET(name[index]), 1)
#define SIZES_LINES(name, unit, help) \
    SIZE_LINE(name, "_4k", 0, unit, help ", up to 4 KiB") \
    SIZE_LINE(name, "_16k", 1, unit, help ", up to 16 KiB") \
    SIZE_LINE(name, "_64k", 2, unit, help ", up to 64 KiB") \
    SIZE_LINE(name, "_256k", 3, unit, help ", up to 256 KiB") \
    SIZE_LINE(name, "_1m", 4, unit, help ", up to 1 MiB") \
    SIZE_LINE(name, "_more", 5, unit, help ", above 1 MiB")

/* Sorted by the table, not by offset, which is the same here and need not be in a file. */
static const struct torc_counter_info infos[] = {
    TORCI_COUNTERS(SUM_LINE, GAUGE_LINE, HISTOGRAM_LINE, SIZES_LINES)};

_Static_assert(sizeof(struct torc_counter_info) == 176, "part of the file's format");
_Static_assert(offsetof(struct torc_counter_info, kind) == 160, "part of the file's format");
_Static_assert(sizeof(struct torc_counter_file) == 208, "part of the file's format");
_Static_assert(offsetof(struct torc_counter_file, program) == 80, "part of the file's format");
_Static_assert(sizeof(TORC_COUNTER_FILE_MAGIC) == sizeof(((struct torc_counter_file *)NULL)->magic),
               "the magic and its NUL fill the field");

static const struct torc_counter_set no_shards = {
    .infos = (const char *)infos,
    .info_stride = sizeof infos[0],
    .info_count = TORC_ARRAY_LENGTH(infos),
};

const struct torc_counter_info *torci_counter_infos(void)
{
    return infos;
}

void torci_counter_set_init(struct torc_counter_set *set, const void *blocks, size_t stride,
                            uint32_t shards)
{
    *set = no_shards;
    set->blocks = (const char *)blocks;
    set->block_stride = stride;
    set->shard_count = shards;
}

const struct torc_counter_set *torc_counters(void)
{
    return torci_this ? torci_this->counter_set : NULL;
}

static const struct torc_counter_set *chosen(const struct torc_counter_set *set)
{
    if (!set)
        set = torc_counters();
    return set ? set : &no_shards;
}

/* COUNT things of STRIDE bytes from OFFSET on lie inside of SIZE bytes. */
static bool fits(uint64_t offset, uint64_t count, uint64_t stride, uint64_t size)
{
    return offset <= size && (!count || stride <= (size - offset) / count);
}

static bool info_is_sound(const struct torc_counter_info *info, uint64_t block_stride)
{
    return memchr(info->name, 0, sizeof info->name) && memchr(info->unit, 0, sizeof info->unit) &&
           memchr(info->help, 0, sizeof info->help) && info->name[0] && info->words &&
           info->offset % sizeof(uint64_t) == 0 &&
           fits(info->offset, info->words, sizeof(uint64_t), block_stride);
}

/* That the fields of the head agree with each other and with SIZE. */
static bool head_is_sound(const struct torc_counter_file *file, size_t size)
{
    uint64_t odd =
        (file->info_bytes | file->info_offset | file->block_offset | file->block_stride) %
        sizeof(uint64_t);
    return !odd && file->header_bytes >= sizeof *file && file->file_bytes <= size &&
           file->info_bytes >= sizeof infos[0] && file->shard_count &&
           fits(file->info_offset, file->info_count, file->info_bytes, file->file_bytes) &&
           fits(file->block_offset, file->shard_count, file->block_stride, file->file_bytes) &&
           memchr(file->program, 0, sizeof file->program);
}

int torc_counters_attach(struct torc_counter_set *set, const void *memory, size_t size)
{
    const struct torc_counter_file *file = (const struct torc_counter_file *)memory;
    if (size < sizeof *file || (uintptr_t)memory % sizeof(uint64_t))
        return -EPROTO;
    /* ACQUIRE pairs with the release in shard/watch.c, which comes after all but the blocks has been written */
    bool ready = __atomic_load_n(&file->ready, __ATOMIC_ACQUIRE);
    if (!ready && !file->magic[0])
        return -EAGAIN;
    if (memcmp(file->magic, TORC_COUNTER_FILE_MAGIC, sizeof file->magic) != 0)
        return -EPROTO;
    if (!ready)
        return -EAGAIN;
    if (file->byte_order != TORC_COUNTER_FILE_BYTE_ORDER ||
        file->version != TORC_COUNTER_FILE_VERSION)
        return -EPROTONOSUPPORT;
    if (!head_is_sound(file, size))
        return -EPROTO;
    *set = (struct torc_counter_set){
        .infos = (const char *)memory + file->info_offset,
        .blocks = (const char *)memory + file->block_offset,
        .info_stride = file->info_bytes,
        .block_stride = file->block_stride,
        .info_count = file->info_count,
        .shard_count = file->shard_count,
    };
    for (uint32_t i = 0; i < set->info_count; i++)
        if (!info_is_sound(torc_counter_info(set, i), set->block_stride))
            return -EPROTO;
    return 0;
}

uint32_t torc_counter_count(const struct torc_counter_set *set)
{
    return chosen(set)->info_count;
}

uint32_t torc_counter_shards(const struct torc_counter_set *set)
{
    return chosen(set)->shard_count;
}

const struct torc_counter_info *torc_counter_info(const struct torc_counter_set *set,
                                                  uint32_t counter)
{
    set = chosen(set);
    TORC_ASSERT(counter < set->info_count);
    return (const struct torc_counter_info *)(const void *)(set->infos +
                                                            counter * set->info_stride);
}

int torc_counter_find(const struct torc_counter_set *set, const char *name)
{
    set = chosen(set);
    for (uint32_t i = 0; i < set->info_count; i++)
        if (!strcmp(torc_counter_info(set, i)->name, name))
            return (int)i;
    return -ENOENT;
}

/* Word WORD of a counter. RELAXED pairs with torci_count_add: a whole value, of whatever moment. */
static uint64_t load(const struct torc_counter_set *set, uint32_t shard,
                     const struct torc_counter_info *info, uint32_t word)
{
    const char *block = set->blocks + shard * set->block_stride;
    return __atomic_load_n((const uint64_t *)(const void *)(block + info->offset) + word,
                           __ATOMIC_RELAXED);
}

/* The range of shards that SHARD means. */
static uint32_t first_shard(const struct torc_counter_set *set, uint32_t shard, uint32_t *end)
{
    TORC_ASSERT(shard < set->shard_count || shard == TORC_ALL_SHARDS);
    *end = shard == TORC_ALL_SHARDS ? set->shard_count : shard + 1;
    return shard == TORC_ALL_SHARDS ? 0 : shard;
}

static uint32_t bucket_count(const struct torc_counter_info *info)
{
    uint32_t buckets = info->kind == TORC_COUNTER_HISTOGRAM ? info->words - 1 : 0;
    return buckets < TORC_COUNTER_BUCKETS ? buckets : TORC_COUNTER_BUCKETS;
}

uint64_t torc_counter_read(const struct torc_counter_set *set, uint32_t shard, uint32_t counter)
{
    set = chosen(set);
    const struct torc_counter_info *info = torc_counter_info(set, counter);
    uint32_t first = info->kind == TORC_COUNTER_HISTOGRAM;
    uint32_t last = first ? bucket_count(info) : 0;
    uint64_t value = 0;
    uint32_t end;
    for (uint32_t at = first_shard(set, shard, &end); at < end; at++)
        for (uint32_t word = first; word <= last; word++)
            value += load(set, at, info, word);
    return value;
}

void torc_counter_read_histogram(const struct torc_counter_set *set, uint32_t shard,
                                 uint32_t counter, struct torc_counter_histogram *histogram)
{
    set = chosen(set);
    const struct torc_counter_info *info = torc_counter_info(set, counter);
    memset(histogram, 0, sizeof *histogram);
    if (info->kind != TORC_COUNTER_HISTOGRAM)
        return;
    uint32_t buckets = bucket_count(info), end;
    for (uint32_t at = first_shard(set, shard, &end); at < end; at++) {
        histogram->sum_ns += load(set, at, info, 0);
        for (uint32_t i = 0; i < buckets; i++)
            histogram->buckets[i] += load(set, at, info, 1 + i);
    }
    for (uint32_t i = 0; i < buckets; i++)
        histogram->count += histogram->buckets[i];
}

void torc_counter_histogram_subtract(struct torc_counter_histogram *histogram,
                                     const struct torc_counter_histogram *earlier)
{
    histogram->count -= earlier->count;
    histogram->sum_ns -= earlier->sum_ns;
    for (uint32_t i = 0; i < TORC_COUNTER_BUCKETS; i++)
        histogram->buckets[i] -= earlier->buckets[i];
}

uint64_t torc_counter_bucket_low(uint32_t index)
{
    TORC_ASSERT(index <= TORC_COUNTER_BUCKETS);
    unsigned group = index >> TORCI_COUNTER_OCTAVE_BITS, dropped = group > 1 ? group - 1 : 0;
    uint64_t units = (uint64_t)(index - (dropped << TORCI_COUNTER_OCTAVE_BITS)) << dropped;
    return units << TORCI_COUNTER_UNIT_BITS;
}

uint64_t torc_counter_percentile(const struct torc_counter_histogram *histogram, double percent)
{
    if (!histogram->count)
        return 0;
    double wanted = percent <= 0 ? 0 : percent / 100 * (double)histogram->count;
    uint64_t running = 0;
    uint32_t index = 0;
    for (; index < TORC_COUNTER_BUCKETS - 1; index++) {
        running += histogram->buckets[index];
        if (running && (double)running >= wanted)
            break;
    }
    return (torc_counter_bucket_low(index) + torc_counter_bucket_low(index + 1)) / 2;
}
