/* SPDX-License-Identifier: MIT
 *
 * A histogram of durations in nanoseconds with fio's buckets (its FIO_IO_U_PLAT_BITS is 6, and 29 groups), so that
 * bins can be merged and compared with fio's json+ output. Beside the buckets it keeps exact count, minimum, maximum,
 * sum and sum of squares, so that mean and deviation carry no bucket error.
 *
 *     group 0, 1    0 .. 127 ns           one bucket a value: exact
 *     group g >= 2  2^(g+5) .. 2^(g+6)-1  64 buckets of 2^(g-1) ns: the middle is at most 1/128 off
 *     last bucket   everything from 2^34 - 2^27 ns up; 2^34 ns (17 s) and more are clamped into it, as fio does
 *
 * A plain value of about 15 KB in the caller's memory: copying it is assigning it, and there is nothing to release.
 * Allocates nothing and never fails. One owner: record on one shard, copy, then merge elsewhere.
 */
#ifndef TORC_CORE_HISTOGRAM_H
#define TORC_CORE_HISTOGRAM_H

#include "core/base.h"

TORC_BEGIN_DECLS

enum {
    TORC_HISTOGRAM_BITS = 6, /* of a value's leading one and what follows it: 2^6 buckets a group */
    TORC_HISTOGRAM_GROUPS = 29,
    TORC_HISTOGRAM_BUCKETS = TORC_HISTOGRAM_GROUPS << TORC_HISTOGRAM_BITS,
};

/* A sum of 128 bits in two halves. As one __int128 it would cost five times as much: gcc loads it with one 16-byte load
 * soon after two 8-byte stores, which the store buffer cannot forward (8.3 ns a sample against 2.4 on a Zen 4). */
struct torc_histogram_sum {
    uint64_t low, high;
};

/* Read it through the functions below; only buckets[] is for direct use. The sums hold any mixture whose squares add up
 * to less than 2^128 ns^2: 10^10 samples of 51 hours each. */
struct torc_histogram {
    struct torc_histogram_sum sum, squares;
    uint64_t count;
    uint64_t min_ns; /* UINT64_MAX while empty */
    uint64_t max_ns;
    uint64_t buckets[TORC_HISTOGRAM_BUCKETS];
};

/* Makes it empty; also the way to reset one. */
void torc_histogram_init(struct torc_histogram *histogram);

/* The bucket that counts a duration of NS: below TORC_HISTOGRAM_BUCKETS for every NS. */
static inline unsigned torc_histogram_index(uint64_t ns)
{
    /* Bits dropped below the leading seven. Bit 6 is set so that small values count as exact, without a branch. */
    unsigned dropped = 63 - TORC_HISTOGRAM_BITS -
                       (unsigned)__builtin_clzll(ns | (UINT64_C(1) << TORC_HISTOGRAM_BITS));
    /* What remains of NS still has its leading one, which is worth one group: hence not (dropped + 1). */
    unsigned index = (dropped << TORC_HISTOGRAM_BITS) + (unsigned)(ns >> dropped);
    return index < TORC_HISTOGRAM_BUCKETS ? index : TORC_HISTOGRAM_BUCKETS - 1;
}

static inline void torc_histogram_sum_add(struct torc_histogram_sum *sum, uint64_t low,
                                          uint64_t high)
{
    bool carry = __builtin_add_overflow(sum->low, low, &sum->low);
    sum->high += high + carry;
}

/* Counts one duration of NS nanoseconds. */
static inline void torc_histogram_record(struct torc_histogram *histogram, uint64_t ns)
{
    __extension__ unsigned __int128 square = ns;
    square *= ns;
    histogram->buckets[torc_histogram_index(ns)]++;
    histogram->count++;
    histogram->min_ns = ns < histogram->min_ns ? ns : histogram->min_ns;
    histogram->max_ns = ns > histogram->max_ns ? ns : histogram->max_ns;
    torc_histogram_sum_add(&histogram->sum, ns, 0);
    torc_histogram_sum_add(&histogram->squares, (uint64_t)square, (uint64_t)(square >> 64));
}

/* Counts TIMES durations of NS nanoseconds each; none when TIMES is 0. */
void torc_histogram_record_n(struct torc_histogram *histogram, uint64_t ns, uint64_t times);

/* Adds all samples of FROM to INTO, as if they had been recorded there; FROM is unchanged. */
void torc_histogram_merge(struct torc_histogram *into, const struct torc_histogram *from);

/* How many were recorded. */
uint64_t torc_histogram_count(const struct torc_histogram *histogram);

/* The smallest and the largest recorded, in ns, exact and never clamped; 0 of an empty histogram. */
uint64_t torc_histogram_min(const struct torc_histogram *histogram);
uint64_t torc_histogram_max(const struct torc_histogram *histogram);

/* The mean in ns, off by the rounding of a double at most; 0 of an empty histogram. */
double torc_histogram_mean(const struct torc_histogram *histogram);

/* The standard deviation of a sample (the divisor is count - 1, as in fio) in ns; 0 below two samples. The squares
 * about the mean are summed in integers, so there is no cancellation however narrow the distribution is. */
double torc_histogram_stddev(const struct torc_histogram *histogram);

/* The duration in ns that PERCENT (0 to 100) of the samples do not exceed, as fio computes it: the middle of the first
 * bucket at which the running count reaches PERCENT / 100 x count. Being a bucket's middle it can lie up to 1/128
 * beyond the exact maximum, or short of a clamped one. PERCENT outside of its range acts as the nearer end; 0 of an
 * empty histogram. Walks the buckets: half a microsecond. */
uint64_t torc_histogram_percentile(const struct torc_histogram *histogram, double percent);

/* The first bucket from INDEX on that counted anything; TORC_HISTOGRAM_BUCKETS if there is none.
 *
 *     for (unsigned i = 0; (i = torc_histogram_next(h, i)) < TORC_HISTOGRAM_BUCKETS; i++)
 *         printf("%" PRIu64 " ns: %" PRIu64 "\n", torc_histogram_bucket_middle(i), h->buckets[i]);
 */
unsigned torc_histogram_next(const struct torc_histogram *histogram, unsigned index);

/* The smallest duration in ns that bucket INDEX counts. INDEX may be TORC_HISTOGRAM_BUCKETS: the limit of 2^34 ns,
 * so that bucket i covers [low(i), low(i + 1)), apart from the last, which has no upper end. */
uint64_t torc_histogram_bucket_low(unsigned index);

/* The duration in ns that stands for bucket INDEX (below TORC_HISTOGRAM_BUCKETS): its middle, and the key of its bin in
 * fio's json+. */
uint64_t torc_histogram_bucket_middle(unsigned index);

TORC_END_DECLS

#endif
