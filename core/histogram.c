/* SPDX-License-Identifier: MIT
 *
 * What is asked of a histogram after recording: totals, percentiles, merging. Recording itself is inline in the header.
 * The totals are integers, exact until the last step into a double; nothing here calls libm.
 */
#include "core/histogram.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

_Static_assert(TORC_HISTOGRAM_BUCKETS == 1856, "fio's FIO_IO_U_PLAT_NR");
_Static_assert(offsetof(struct torc_histogram, buckets) <= 64, "the totals fit a cache line");

static void sum_add(struct torc_histogram_sum *sum, wide value)
{
    torc_histogram_sum_add(sum, (uint64_t)value, (uint64_t)(value >> 64));
}

static wide sum_value(const struct torc_histogram_sum *sum)
{
    return (wide)sum->high << 64 | sum->low;
}

void torc_histogram_init(struct torc_histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
    histogram->min_ns = UINT64_MAX;
}

void torc_histogram_record_n(struct torc_histogram *histogram, uint64_t ns, uint64_t times)
{
    if (times == 0)
        return;
    histogram->buckets[torc_histogram_index(ns)] += times;
    histogram->count += times;
    if (ns < histogram->min_ns)
        histogram->min_ns = ns;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
    sum_add(&histogram->sum, (wide)ns * times);
    sum_add(&histogram->squares, (wide)ns * ns * times);
}

void torc_histogram_merge(struct torc_histogram *into, const struct torc_histogram *from)
{
    into->count += from->count;
    if (from->min_ns < into->min_ns)
        into->min_ns = from->min_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
    sum_add(&into->sum, sum_value(&from->sum));
    sum_add(&into->squares, sum_value(&from->squares));
    for (unsigned i = 0; i < TORC_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t torc_histogram_count(const struct torc_histogram *histogram)
{
    return histogram->count;
}

uint64_t torc_histogram_min(const struct torc_histogram *histogram)
{
    return histogram->count ? histogram->min_ns : 0;
}

uint64_t torc_histogram_max(const struct torc_histogram *histogram)
{
    return histogram->max_ns;
}

double torc_histogram_mean(const struct torc_histogram *histogram)
{
    if (histogram->count == 0)
        return 0;
    return (double)sum_value(&histogram->sum) / (double)histogram->count;
}

/* Newton's square root of a VALUE that is 0 or at least 1e-20. sqrt() would do, but compilers keep a call to libm for
 * negative arguments unless the whole build says -fno-math-errno. */
static double square_root(double value)
{
    uint64_t bits;
    double root;

    if (value <= 0)
        return 0;
    /* Halving the exponent, with the bias put right, is within 7 %; each step squares the error, and the fifth is
     * below the rounding of a double. */
    memcpy(&bits, &value, sizeof(bits));
    bits = (bits >> 1) + (UINT64_C(1023) << 51);
    memcpy(&root, &bits, sizeof(root));
    for (unsigned step = 0; step < 5; step++)
        root = 0.5 * (root + value / root);
    return root;
}

double torc_histogram_stddev(const struct torc_histogram *histogram)
{
    uint64_t n = histogram->count;
    if (n < 2)
        return 0;

    /* With sum = q n + r, the squares about the mean are
     *     squares - sum^2 / n = squares - q (sum + r) - r^2 / n,
     * and by Cauchy-Schwarz no term exceeds the sum of squares, so that 128 bits hold each step. Taken in doubles the
     * difference would be noise for ten billion samples of 100 s that differ by microseconds. */
    wide sum = sum_value(&histogram->sum), q = sum / n, r = sum % n;
    wide about_mean = sum_value(&histogram->squares) - q * (sum + r) - r * r / n;
    double fraction = (double)(uint64_t)(r * r % n) / (double)n;
    return square_root(((double)about_mean - fraction) / (double)(n - 1));
}

/* The smallest count that is at least PERCENT of COUNT, which is not 0; at least 1.
 *
 * In long double and in this order, as fio has it: 29 % of 100 samples is rounded either to 29 or to just above, and
 * another rounding would pick another bucket than fio does. */
static uint64_t rank_of(double percent, uint64_t count)
{
    if (percent >= 100)
        return count;
    if (!(percent > 0))
        return 1;
    long double wanted = (long double)percent / 100.0L * (long double)count;
    uint64_t rank = (uint64_t)wanted;
    return rank + ((long double)rank < wanted);
}

uint64_t torc_histogram_percentile(const struct torc_histogram *histogram, double percent)
{
    if (histogram->count == 0)
        return 0;
    uint64_t rank = rank_of(percent, histogram->count), running = 0;
    unsigned index = 0;
    for (; index < TORC_HISTOGRAM_BUCKETS - 1; index++) {
        running += histogram->buckets[index];
        if (running >= rank)
            break;
    }
    return torc_histogram_bucket_middle(index);
}

unsigned torc_histogram_next(const struct torc_histogram *histogram, unsigned index)
{
    while (index < TORC_HISTOGRAM_BUCKETS && histogram->buckets[index] == 0)
        index++;
    return index;
}

/* The width of bucket INDEX is 2 to this. */
static unsigned width_bits(unsigned index)
{
    unsigned group = index >> TORC_HISTOGRAM_BITS;
    return group > 1 ? group - 1 : 0;
}

uint64_t torc_histogram_bucket_low(unsigned index)
{
    TORC_ASSERT(index <= TORC_HISTOGRAM_BUCKETS);
    unsigned dropped = width_bits(index);
    return (uint64_t)(index - (dropped << TORC_HISTOGRAM_BITS)) << dropped;
}

uint64_t torc_histogram_bucket_middle(unsigned index)
{
    TORC_ASSERT(index < TORC_HISTOGRAM_BUCKETS);
    return torc_histogram_bucket_low(index) + ((UINT64_C(1) << width_bits(index)) >> 1);
}
