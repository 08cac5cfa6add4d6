/* SPDX-License-Identifier: MIT
 *
 * Counters: what every shard counts about itself, readable by anyone at any time. Each shard has one block of 64-bit
 * values that it alone writes, with plain stores; nothing is ever reset, so a reader takes two looks and subtracts.
 * docs/counters.md lists them all.
 *
 *     uint64_t enters = torc_counter_read(NULL, TORC_ALL_SHARDS, torc_counter_find(NULL, "ring_enters"));
 *
 * A set is the blocks of all shards of one torc_run with the schema that tells what is in them. With
 * torc_config.counters it lies in a file that other processes can map: torc_counters_attach makes a set of that memory,
 * whatever version of torc wrote it, since the schema is in the file.
 *
 * Thread rule: any thread may read, also while the owners write; values are whole, but those of one look are not of
 * one instant. Nothing here blocks, allocates or calls back.
 */
#ifndef TORC_CORE_COUNTERS_H
#define TORC_CORE_COUNTERS_H

#include "core/base.h"

TORC_BEGIN_DECLS

enum torc_counter_kind {
    TORC_COUNTER_SUM = 1, /* only grows */
    TORC_COUNTER_GAUGE, /* a level, as of about the last millisecond in which its shard did anything */
    TORC_COUNTER_HISTOGRAM, /* of durations: a sum in ns, and how many fell into each bucket */
};

enum {
    TORC_COUNTER_NAME_BYTES = 32,
    TORC_COUNTER_UNIT_BYTES = 16,
    TORC_COUNTER_HELP_BYTES = 112,
    TORC_COUNTER_PROGRAM_BYTES = 128,
    TORC_COUNTER_BUCKETS = 124,
    TORC_COUNTER_FILE_VERSION = 1,
    TORC_COUNTER_FILE_BYTE_ORDER = 0x01020304,
};
#define TORC_ALL_SHARDS UINT32_MAX
#define TORC_COUNTER_FILE_MAGIC "torccnt" /* and its NUL: eight bytes */

/* One line of the schema. Part of the file's format. */
struct torc_counter_info {
    char name[TORC_COUNTER_NAME_BYTES]; /* its first word, up to '_', is its group */
    char unit[TORC_COUNTER_UNIT_BYTES]; /* "ns", "bytes", or empty: it counts what its name says */
    char help[TORC_COUNTER_HELP_BYTES];
    uint32_t kind;   /* enum torc_counter_kind; of a later version perhaps more */
    uint32_t offset; /* in a shard's block, in bytes */
    uint32_t words;  /* of 64 bits: 1, or a histogram's sum and buckets */
    uint32_t reserved;
};

/* How the file begins. Numbers are in the byte order of the machine that wrote it. Later versions may add fields at the
 * end of this and of the schema's lines, which is why both sizes are given. */
struct torc_counter_file {
    char magic[8];
    uint32_t byte_order, version;
    uint64_t file_bytes;
    uint32_t header_bytes, info_bytes; /* of this struct, of a line of the schema */
    uint32_t info_count, shard_count;
    uint64_t info_offset;
    uint64_t block_offset, block_stride;
    uint64_t started_ns; /* since the epoch */
    uint32_t pid;
    uint32_t ready; /* atomic: 1 once all of the above and the schema have been written */
    char program[TORC_COUNTER_PROGRAM_BYTES]; /* its command line, cut off if need be */
};

/* Fields are private. */
struct torc_counter_set {
    const char *infos, *blocks;
    size_t info_stride, block_stride;
    uint32_t info_count, shard_count;
};

struct torc_counter_histogram {
    uint64_t count, sum_ns;
    uint64_t buckets[TORC_COUNTER_BUCKETS];
};

/* In all functions below SET may be NULL: the set that the calling shard belongs to; outside of any, one without
 * shards, but with the schema. COUNTER is below torc_counter_count(SET); SHARD below torc_counter_shards(SET), or
 * TORC_ALL_SHARDS for the sum. */

/* The set of the calling shard, for other threads to read from; valid until torc_run returns. NULL outside of a shard. */
const struct torc_counter_set *torc_counters(void);

/* Makes SET of the SIZE bytes at MEMORY, a file that was mapped and stays so while SET is used. Believes nothing that
 * it has not checked. The address of the file's head is MEMORY.
 * -EAGAIN: its writer is just making it; -EPROTO: it is no file of counters, or damaged; -EPROTONOSUPPORT: of a version
 * or a byte order that this library does not read. */
int torc_counters_attach(struct torc_counter_set *set, const void *memory,
                         size_t size) TORC_MUST_CHECK;

uint32_t torc_counter_count(const struct torc_counter_set *set);
uint32_t torc_counter_shards(const struct torc_counter_set *set);
const struct torc_counter_info *torc_counter_info(const struct torc_counter_set *set,
                                                  uint32_t counter);
/* The counter that is called NAME, or -ENOENT. Compares names one by one: keep the answer. */
int torc_counter_find(const struct torc_counter_set *set, const char *name) TORC_MUST_CHECK;

/* The value; of a histogram how many samples it has. */
uint64_t torc_counter_read(const struct torc_counter_set *set, uint32_t shard, uint32_t counter);

/* Copies a histogram; of what is none, an empty one. To have the durations of an interval, subtract an earlier copy. */
void torc_counter_read_histogram(const struct torc_counter_set *set, uint32_t shard,
                                 uint32_t counter, struct torc_counter_histogram *histogram);

/* Takes EARLIER away from HISTOGRAM, field by field. */
void torc_counter_histogram_subtract(struct torc_counter_histogram *histogram,
                                     const struct torc_counter_histogram *earlier);

/* The duration in ns that PERCENT (0 to 100) of the samples do not exceed: the middle of a bucket, four of which make
 * an octave, so at most 13 % off. 0 of an empty histogram. */
uint64_t torc_counter_percentile(const struct torc_counter_histogram *histogram, double percent);

/* The smallest duration in ns that bucket INDEX counts; the last one, from 2^35 ns less an eighth, has no upper end.
 * INDEX may be TORC_COUNTER_BUCKETS. */
uint64_t torc_counter_bucket_low(uint32_t index);

TORC_END_DECLS

#endif
