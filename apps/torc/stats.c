/* SPDX-License-Identifier: MIT */
#include "apps/torc/stats.h"

#include <math.h>
#include <string.h>

void bench_series_add(struct bench_series *series, double value)
{
    if (!series->count || value < series->min)
        series->min = value;
    if (!series->count || value > series->max)
        series->max = value;
    series->count++;
    double off = value - series->mean;
    series->mean += off / (double)series->count;
    series->squares += off * (value - series->mean);
}

double bench_series_deviation(const struct bench_series *series)
{
    return series->count > 1 ? sqrt(series->squares / (double)(series->count - 1)) : 0;
}

void bench_stats_init(struct bench_stats *stats)
{
    memset(stats, 0, sizeof(*stats));
    for (int d = 0; d < BENCH_DIRECTIONS; d++) {
        torc_histogram_init(&stats->direction[d].slat);
        torc_histogram_init(&stats->direction[d].clat);
        torc_histogram_init(&stats->direction[d].lat);
    }
    torc_histogram_init(&stats->sync);
}

void bench_stats_begin(struct bench_stats *stats, uint64_t now_ns)
{
    uint64_t started_ms = stats->started_ms;
    struct bench_usage usage = stats->usage;
    bench_stats_init(stats);
    stats->started_ms = started_ms;
    stats->usage = usage;
    stats->jobs = 1;
    stats->began_ns = stats->window_began_ns = now_ns;
}

void bench_stats_close_window(struct bench_stats *stats, uint64_t now_ns)
{
    double seconds = (double)(now_ns - stats->window_began_ns) / 1e9;
    for (int d = 0; d < BENCH_DIRECTIONS && seconds > 0; d++) {
        struct bench_direction_stats *s = &stats->direction[d];
        uint64_t ios = s->ios - s->window_ios, bytes = s->bytes - s->window_bytes;
        if (s->ios) {
            bench_series_add(&s->iops, (double)ios / seconds);
            bench_series_add(&s->bw_kib, (double)bytes / 1024 / seconds);
        }
        s->window_ios = s->ios;
        s->window_bytes = s->bytes;
    }
    stats->window_began_ns = now_ns;
}

void bench_stats_end(struct bench_stats *stats, uint64_t now_ns)
{
    /* A rest of a window says little, unless it is all there is. */
    if (now_ns - stats->began_ns < BENCH_WINDOW_MS * TORC_MS)
        bench_stats_close_window(stats, now_ns);
    stats->runtime_ns = now_ns - stats->began_ns;
    for (int d = 0; d < BENCH_DIRECTIONS; d++)
        if (stats->direction[d].ios)
            stats->direction[d].runtime_ns = stats->runtime_ns;
}

/* Jobs that run side by side add up: fio sums the windows' figures too. */
static void merge_series(struct bench_series *into, const struct bench_series *from)
{
    if (!from->count)
        return;
    double variance = pow(bench_series_deviation(into), 2) + pow(bench_series_deviation(from), 2);
    into->min += from->min;
    into->max += from->max;
    into->mean += from->mean;
    into->count += from->count;
    into->squares = variance * (double)(into->count - 1);
}

static void merge_direction(struct bench_direction_stats *into,
                            const struct bench_direction_stats *from)
{
    torc_histogram_merge(&into->slat, &from->slat);
    torc_histogram_merge(&into->clat, &from->clat);
    torc_histogram_merge(&into->lat, &from->lat);
    merge_series(&into->bw_kib, &from->bw_kib);
    merge_series(&into->iops, &from->iops);
    into->ios += from->ios;
    into->bytes += from->bytes;
    into->short_ios += from->short_ios;
    if (from->runtime_ns > into->runtime_ns)
        into->runtime_ns = from->runtime_ns;
}

void bench_stats_merge(struct bench_stats *into, const struct bench_stats *from)
{
    for (int d = 0; d < BENCH_DIRECTIONS; d++)
        merge_direction(&into->direction[d], &from->direction[d]);
    torc_histogram_merge(&into->sync, &from->sync);
    for (int i = 0; i < BENCH_LEVELS; i++) {
        into->depth_levels[i] += from->depth_levels[i];
        into->submit_levels[i] += from->submit_levels[i];
        into->complete_levels[i] += from->complete_levels[i];
    }
    into->usage.user_ns += from->usage.user_ns;
    into->usage.system_ns += from->usage.system_ns;
    into->usage.switches += from->usage.switches;
    into->usage.major_faults += from->usage.major_faults;
    into->usage.minor_faults += from->usage.minor_faults;
    into->runtime_ns += from->runtime_ns;
    into->jobs += from->jobs;
    if (!into->started_ms || (from->started_ms && from->started_ms < into->started_ms))
        into->started_ms = from->started_ms;
    if (!into->error)
        into->error = from->error;
}

static const struct {
    uint64_t end_ns;
    int unit;
    const char *name;
} BOUNDS[BENCH_LATENCY_BUCKETS] = {
    {2, BENCH_UNIT_NS, "2"},
    {4, BENCH_UNIT_NS, "4"},
    {10, BENCH_UNIT_NS, "10"},
    {20, BENCH_UNIT_NS, "20"},
    {50, BENCH_UNIT_NS, "50"},
    {100, BENCH_UNIT_NS, "100"},
    {250, BENCH_UNIT_NS, "250"},
    {500, BENCH_UNIT_NS, "500"},
    {750, BENCH_UNIT_NS, "750"},
    {1000, BENCH_UNIT_NS, "1000"},
    {2 * TORC_US, BENCH_UNIT_US, "2"},
    {4 * TORC_US, BENCH_UNIT_US, "4"},
    {10 * TORC_US, BENCH_UNIT_US, "10"},
    {20 * TORC_US, BENCH_UNIT_US, "20"},
    {50 * TORC_US, BENCH_UNIT_US, "50"},
    {100 * TORC_US, BENCH_UNIT_US, "100"},
    {250 * TORC_US, BENCH_UNIT_US, "250"},
    {500 * TORC_US, BENCH_UNIT_US, "500"},
    {750 * TORC_US, BENCH_UNIT_US, "750"},
    {1000 * TORC_US, BENCH_UNIT_US, "1000"},
    {2 * TORC_MS, BENCH_UNIT_MS, "2"},
    {4 * TORC_MS, BENCH_UNIT_MS, "4"},
    {10 * TORC_MS, BENCH_UNIT_MS, "10"},
    {20 * TORC_MS, BENCH_UNIT_MS, "20"},
    {50 * TORC_MS, BENCH_UNIT_MS, "50"},
    {100 * TORC_MS, BENCH_UNIT_MS, "100"},
    {250 * TORC_MS, BENCH_UNIT_MS, "250"},
    {500 * TORC_MS, BENCH_UNIT_MS, "500"},
    {750 * TORC_MS, BENCH_UNIT_MS, "750"},
    {1000 * TORC_MS, BENCH_UNIT_MS, "1000"},
    {2000 * TORC_MS, BENCH_UNIT_MS, "2000"},
    {UINT64_MAX, BENCH_UNIT_MS, ">=2000"},
};

/* A trace of something is shown as LEAST, so that it is not taken for nothing. */
static double percent_of(uint64_t part, uint64_t whole, double least)
{
    double percent = whole ? 100.0 * (double)part / (double)whole : 0;
    return part && percent < least ? least : percent;
}

void bench_latency_buckets(const struct bench_stats *stats,
                           struct bench_latency_bucket buckets[BENCH_LATENCY_BUCKETS])
{
    uint64_t counts[BENCH_LATENCY_BUCKETS] = {0}, total = 0;
    for (int d = 0; d < BENCH_DIRECTIONS; d++) {
        const struct torc_histogram *h = &stats->direction[d].clat;
        unsigned at = 0;
        for (unsigned i = 0; (i = torc_histogram_next(h, i)) < TORC_HISTOGRAM_BUCKETS; i++) {
            /* The histogram's own buckets are fine enough (1/64) that one of them belongs to where its middle is. */
            while (torc_histogram_bucket_middle(i) >= BOUNDS[at].end_ns)
                at++;
            counts[at] += h->buckets[i];
        }
        total += torc_histogram_count(h);
    }
    for (int i = 0; i < BENCH_LATENCY_BUCKETS; i++)
        buckets[i] = (struct bench_latency_bucket){
            .unit = (unsigned)BOUNDS[i].unit,
            .name = BOUNDS[i].name,
            .percent = percent_of(counts[i], total, 0.01),
        };
}

void bench_level_percents(const uint64_t levels[BENCH_LEVELS], double percents[BENCH_LEVELS])
{
    uint64_t total = 0;
    for (int i = 0; i < BENCH_LEVELS; i++)
        total += levels[i];
    for (int i = 0; i < BENCH_LEVELS; i++)
        percents[i] = percent_of(levels[i], total, 0.1);
}
