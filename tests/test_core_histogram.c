/* SPDX-License-Identifier: MIT
 *
 * The buckets against their definition at every boundary, totals against exact integer arithmetic done another way,
 * percentiles against a sorted array and against what fio's rounding gives.
 */
#include "core/histogram.h"
#include "core/random_internal.h"
#include "tests/harness.h"

#include <signal.h>

static struct torc_histogram histogram, other, both;

static bool is_near(double got, double wanted)
{
    double off = got > wanted ? got - wanted : wanted - got;
    return off <= 1e-14 * (wanted > 0 ? wanted : 1);
}

/* Sizes as latencies have them: the magnitude is drawn first, 2 to the 0..BITS-1. */
static uint64_t draw_magnitude(struct torci_random *random, unsigned bits)
{
    return torci_random_next(random) >> (63 - torci_random_below(random, bits));
}

TEST(histogram, index_is_exact_up_to_127)
{
    for (unsigned ns = 0; ns < 128; ns++) {
        CHECK_EQ(torc_histogram_index(ns), ns);
        CHECK_EQ(torc_histogram_bucket_low(ns), ns);
        CHECK_EQ(torc_histogram_bucket_middle(ns), ns);
    }
    CHECK_EQ(torc_histogram_index(128), 128);
    CHECK_EQ(torc_histogram_index(129), 128);
    CHECK_EQ(torc_histogram_index(130), 129);
}

/* The groups built up by addition alone: 64 buckets each, doubling in width from group 2 on. */
TEST(histogram, every_bucket_begins_and_ends_where_the_layout_says)
{
    uint64_t low = 0, width = 1;
    for (unsigned index = 0; index < TORC_HISTOGRAM_BUCKETS; index++) {
        if (index >= 128 && index % 64 == 0)
            width *= 2;
        CHECK_EQ(torc_histogram_bucket_low(index), low);
        CHECK_EQ(torc_histogram_index(low), index);
        CHECK_EQ(torc_histogram_index(low + width - 1), index);
        CHECK_EQ(torc_histogram_bucket_middle(index), low + width / 2);
        CHECK_EQ(torc_histogram_index(torc_histogram_bucket_middle(index)), index);
        low += width;
    }
    CHECK_EQ(low, UINT64_C(1) << 34);
    CHECK_EQ(torc_histogram_bucket_low(TORC_HISTOGRAM_BUCKETS), low);
}

TEST(histogram, index_clamps_what_is_too_long)
{
    CHECK_EQ(torc_histogram_index((UINT64_C(1) << 34) - 1), 1855);
    CHECK_EQ(torc_histogram_index(UINT64_C(1) << 34), 1855);
    CHECK_EQ(torc_histogram_index((UINT64_C(1) << 34) + (UINT64_C(1) << 27)), 1855);
    CHECK_EQ(torc_histogram_index(UINT64_C(1) << 63), 1855);
    CHECK_EQ(torc_histogram_index(UINT64_MAX), 1855);
}

TEST(histogram, the_middle_is_within_one_128th)
{
    struct torci_random random;
    torci_random_seed(&random, 1);
    for (unsigned i = 0; i < 1000000; i++) {
        uint64_t ns = draw_magnitude(&random, 34);
        uint64_t middle = torc_histogram_bucket_middle(torc_histogram_index(ns));
        CHECK((middle > ns ? middle - ns : ns - middle) * 128 <= ns);
    }
}

TEST(histogram, an_empty_one_answers_zero)
{
    torc_histogram_init(&histogram);
    CHECK_EQ(torc_histogram_count(&histogram), 0);
    CHECK_EQ(torc_histogram_min(&histogram), 0);
    CHECK_EQ(torc_histogram_max(&histogram), 0);
    CHECK(torc_histogram_mean(&histogram) == 0);
    CHECK(torc_histogram_stddev(&histogram) == 0);
    CHECK_EQ(torc_histogram_percentile(&histogram, 50), 0);
    CHECK_EQ(torc_histogram_next(&histogram, 0), TORC_HISTOGRAM_BUCKETS);
    torc_histogram_record_n(&histogram, 5, 0);
    CHECK_EQ(torc_histogram_count(&histogram), 0);
    CHECK_EQ(torc_histogram_min(&histogram), 0);
}

TEST(histogram, init_forgets_what_was_recorded)
{
    torc_histogram_init(&histogram);
    torc_histogram_record(&histogram, 1000);
    torc_histogram_init(&histogram);
    torc_histogram_record(&histogram, 7);
    CHECK_EQ(torc_histogram_count(&histogram), 1);
    CHECK_EQ(torc_histogram_min(&histogram), 7);
    CHECK_EQ(torc_histogram_max(&histogram), 7);
    CHECK(torc_histogram_mean(&histogram) == 7);
    CHECK(torc_histogram_stddev(&histogram) == 0);
    CHECK_EQ(torc_histogram_percentile(&histogram, 100), 7);
}

TEST(histogram, extremes_are_exact_and_not_clamped)
{
    torc_histogram_init(&histogram);
    torc_histogram_record(&histogram, UINT64_C(123456789012345));
    torc_histogram_record(&histogram, 1001);
    CHECK_EQ(torc_histogram_min(&histogram), 1001);
    CHECK_EQ(torc_histogram_max(&histogram), UINT64_C(123456789012345));
    CHECK(torc_histogram_mean(&histogram) == 61728394506673.0);
    CHECK_EQ(histogram.buckets[1855], 1);
    CHECK_EQ(torc_histogram_percentile(&histogram, 100), torc_histogram_bucket_middle(1855));
}

/* 1..n: the mean is (n+1)/2 and the variance of the sample n(n+1)/12. */
TEST(histogram, deviation_of_a_ramp)
{
    torc_histogram_init(&histogram);
    for (uint64_t ns = 1; ns <= 1000000; ns++)
        torc_histogram_record(&histogram, ns);
    CHECK(torc_histogram_mean(&histogram) == 500000.5);
    double deviation = torc_histogram_stddev(&histogram);
    CHECK(is_near(deviation * deviation, 1000000.0 * 1000001.0 / 12));
}

TEST(histogram, deviation_divides_by_count_minus_one)
{
    torc_histogram_init(&histogram);
    torc_histogram_record(&histogram, 10);
    CHECK(torc_histogram_stddev(&histogram) == 0);
    torc_histogram_record(&histogram, 14);
    double deviation = torc_histogram_stddev(&histogram);
    CHECK(is_near(deviation * deviation, 8));

    torc_histogram_init(&histogram);
    torc_histogram_record(&histogram, 0);
    torc_histogram_record(&histogram, 1);
    deviation = torc_histogram_stddev(&histogram);
    CHECK(is_near(deviation * deviation, 0.5));
}

TEST(histogram, equal_samples_do_not_deviate)
{
    torc_histogram_init(&histogram);
    torc_histogram_record_n(&histogram, 123456789, 1000003);
    CHECK(torc_histogram_mean(&histogram) == 123456789);
    CHECK(torc_histogram_stddev(&histogram) == 0);
}

/* Half at 100 s and half 2 ns later: a sum of squares kept in doubles would leave nothing of the difference. */
TEST(histogram, deviation_survives_ten_billion_samples_of_a_hundred_seconds)
{
    uint64_t half = UINT64_C(5000000000), base = 100 * TORC_SEC;
    torc_histogram_init(&histogram);
    torc_histogram_record_n(&histogram, base, half);
    torc_histogram_record_n(&histogram, base + 2, half);
    CHECK_EQ(torc_histogram_count(&histogram), 2 * half);
    CHECK(torc_histogram_mean(&histogram) == (double)(base + 1));
    double deviation = torc_histogram_stddev(&histogram);
    CHECK(is_near(deviation * deviation, (double)(2 * half) / (double)(2 * half - 1)));

    /* A mean that is no integer: one sample more shifts it by a ten-billionth. */
    torc_histogram_record(&histogram, base);
    double n = (double)(2 * half + 1), low = (double)(half + 1), high = (double)half;
    deviation = torc_histogram_stddev(&histogram);
    CHECK(is_near(deviation * deviation, 4 * (low / n) * (high / (n - 1))));
}

TEST(histogram, deviation_of_small_and_huge_values)
{
    for (unsigned bits = 0; bits < 60; bits++) {
        uint64_t step = UINT64_C(1) << bits;
        torc_histogram_init(&histogram);
        torc_histogram_record(&histogram, step);
        torc_histogram_record(&histogram, 3 * step);
        double deviation = torc_histogram_stddev(&histogram);
        CHECK(is_near(deviation / (double)step * (deviation / (double)step), 2));
    }
}

TEST(histogram, record_n_equals_recording_n_times)
{
    struct torci_random random;
    torci_random_seed(&random, 2);
    torc_histogram_init(&histogram);
    torc_histogram_init(&other);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t ns = draw_magnitude(&random, 45), times = torci_random_below(&random, 20);
        torc_histogram_record_n(&histogram, ns, times);
        for (uint64_t k = 0; k < times; k++)
            torc_histogram_record(&other, ns);
    }
    CHECK(memcmp(&histogram, &other, sizeof(histogram)) == 0);
}

TEST(histogram, merge_equals_recording_all)
{
    struct torci_random random;
    torci_random_seed(&random, 3);
    torc_histogram_init(&histogram);
    torc_histogram_init(&other);
    torc_histogram_init(&both);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t ns = draw_magnitude(&random, 40);
        torc_histogram_record(i % 3 ? &histogram : &other, ns);
        torc_histogram_record(&both, ns);
    }
    struct torc_histogram empty, untouched = other;
    torc_histogram_init(&empty);
    torc_histogram_merge(&histogram, &other);
    torc_histogram_merge(&histogram, &empty);
    CHECK(memcmp(&histogram, &both, sizeof(both)) == 0);
    CHECK(memcmp(&other, &untouched, sizeof(other)) == 0);
    torc_histogram_merge(&empty, &both);
    CHECK(memcmp(&empty, &both, sizeof(both)) == 0);
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

TEST(histogram, percentiles_lie_within_one_128th_of_the_sorted_samples)
{
    enum { SAMPLES = 10000 };
    static const double percents[] = {0.01, 1, 5, 25, 50, 75, 90, 95, 99, 99.5, 99.99, 100};
    static uint64_t sorted[SAMPLES];
    struct torci_random random;
    torci_random_seed(&random, 4);
    for (unsigned round = 0; round < 20; round++) {
        torc_histogram_init(&histogram);
        for (unsigned i = 0; i < SAMPLES; i++) {
            sorted[i] = draw_magnitude(&random, 1 + (round * 34 / 20));
            torc_histogram_record(&histogram, sorted[i]);
        }
        qsort(sorted, SAMPLES, sizeof(sorted[0]), by_value);
        for (size_t i = 0; i < TORC_ARRAY_LENGTH(percents); i++) {
            double rank = percents[i] / 100 * SAMPLES;
            size_t at = (size_t)rank;
            at -= (double)at >= rank; /* ceil(rank) - 1 */
            uint64_t got = torc_histogram_percentile(&histogram, percents[i]);
            /* 100 % and the like may round up by one rank in long double. */
            uint64_t low = sorted[at], high = sorted[at + 1 < SAMPLES ? at + 1 : at];
            CHECK(got + low / 128 >= low && got <= high + high / 128);
        }
    }
}

TEST(histogram, percentile_is_the_bucket_where_the_count_is_reached)
{
    torc_histogram_init(&histogram);
    for (uint64_t ns = 1; ns <= 8; ns++)
        torc_histogram_record(&histogram, ns * 10);
    CHECK_EQ(torc_histogram_percentile(&histogram, 12.5), 10);
    CHECK_EQ(torc_histogram_percentile(&histogram, 12.6), 20);
    CHECK_EQ(torc_histogram_percentile(&histogram, 25), 20);
    CHECK_EQ(torc_histogram_percentile(&histogram, 50), 40);
    CHECK_EQ(torc_histogram_percentile(&histogram, 99.99), 80);
    CHECK_EQ(torc_histogram_percentile(&histogram, 100), 80);
    CHECK_EQ(torc_histogram_percentile(&histogram, 0.001), 10);
}

TEST(histogram, percentile_outside_of_its_range_is_the_nearer_end)
{
    torc_histogram_init(&histogram);
    torc_histogram_record(&histogram, 3);
    torc_histogram_record(&histogram, 99);
    CHECK_EQ(torc_histogram_percentile(&histogram, 0), 3);
    CHECK_EQ(torc_histogram_percentile(&histogram, -1), 3);
    CHECK_EQ(torc_histogram_percentile(&histogram, 101), 99);
}

/* The double nearest to 99.9 is a little above it, and fio's long double keeps that: of 1000 samples it takes the
 * 1000th. Plain doubles would round back to 999. */
TEST(histogram, percentile_rounds_as_fio_does)
{
    torc_histogram_init(&histogram);
    torc_histogram_record_n(&histogram, 10, 999);
    torc_histogram_record(&histogram, 100);
    CHECK_EQ(torc_histogram_percentile(&histogram, 99.8), 10);
    CHECK_EQ(torc_histogram_percentile(&histogram, 99.9), 100);
}

TEST(histogram, next_visits_each_used_bucket_once)
{
    static const uint64_t values[] = {0, 1, 127, 128, 5000, UINT64_C(1) << 33, UINT64_MAX};
    torc_histogram_init(&histogram);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(values); i++)
        torc_histogram_record_n(&histogram, values[i], i + 1);
    size_t seen = 0;
    for (unsigned i = 0; (i = torc_histogram_next(&histogram, i)) < TORC_HISTOGRAM_BUCKETS; i++) {
        CHECK_EQ(i, torc_histogram_index(values[seen]));
        CHECK_EQ(histogram.buckets[i], seen + 1);
        seen++;
    }
    CHECK_EQ(seen, TORC_ARRAY_LENGTH(values));
}

TEST_DYING(histogram, a_bucket_beyond_the_last_is_refused, SIGABRT)
{
    (void)torc_histogram_bucket_middle(TORC_HISTOGRAM_BUCKETS);
}
