/* SPDX-License-Identifier: MIT
 *
 * What a job measures: latencies, rates in windows of 500 ms, queue depths, processor time. Recording is inline and
 * meant for the hot loop; the reports ask. A plain value per job, merged with bench_stats_merge for group reports.
 *
 * An I/O has three moments: start (it is prepared), issue (its batch goes to the kernel) and reap (its completion is
 * seen). slat = issue - start, clat = reap - issue, lat = reap - start.
 */
#ifndef TORC_APPS_STATS_H
#define TORC_APPS_STATS_H

#include "apps/torc/job.h"
#include "torc.h"

enum {
    BENCH_LEVELS = 7, /* of depth, submit and complete distributions */
    BENCH_WINDOW_MS = 500,
};

/* Values as they come, without keeping them (Welford). */
struct bench_series {
    double min, max, mean, squares;
    uint64_t count;
};

struct bench_direction_stats {
    struct torc_histogram slat, clat, lat;
    struct bench_series bw_kib, iops;
    uint64_t ios, bytes, short_ios;
    uint64_t window_ios, window_bytes; /* ios and bytes when the window began */
    uint64_t runtime_ns;
};

struct bench_usage {
    uint64_t user_ns, system_ns;
    uint64_t switches, major_faults, minor_faults;
};

struct bench_stats {
    struct bench_direction_stats direction[BENCH_DIRECTIONS];
    struct torc_histogram sync;
    uint64_t depth_levels[BENCH_LEVELS];  /* 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64 and more */
    uint64_t submit_levels[BENCH_LEVELS]; /* 0, 1-4, 5-8, 9-16, 17-32, 33-64, more */
    uint64_t complete_levels[BENCH_LEVELS];
    struct bench_usage usage;
    uint64_t window_began_ns, began_ns;
    uint64_t runtime_ns;
    uint64_t started_ms; /* since 1970 */
    unsigned jobs;       /* merged here */
    int error;
};

void bench_stats_init(struct bench_stats *stats);
/* Forgets what was measured and measures from NOW_NS on: the start, and the end of ramp_time. */
void bench_stats_begin(struct bench_stats *stats, uint64_t now_ns);
/* Closes the last window and fixes the runtimes. */
void bench_stats_end(struct bench_stats *stats, uint64_t now_ns);
/* Closes the window if it is due. */
void bench_stats_close_window(struct bench_stats *stats, uint64_t now_ns);
void bench_stats_merge(struct bench_stats *into, const struct bench_stats *from);

void bench_series_add(struct bench_series *series, double value);
double bench_series_deviation(const struct bench_series *series);

static inline void bench_stats_tick(struct bench_stats *stats, uint64_t now_ns)
{
    if (now_ns - stats->window_began_ns >= BENCH_WINDOW_MS * TORC_MS)
        bench_stats_close_window(stats, now_ns);
}

/* The level of a DEPTH of 1 or more: powers of two. */
static inline unsigned bench_depth_level(uint32_t depth)
{
    unsigned level = 31 - (unsigned)__builtin_clz(depth);
    return level < BENCH_LEVELS ? level : BENCH_LEVELS - 1;
}

/* The level of a batch of COUNT: fio's 4 means one to four. */
static inline unsigned bench_batch_level(uint32_t count)
{
    if (count <= 4)
        return count != 0;
    unsigned level = 31 - (unsigned)__builtin_clz(count - 1);
    return level < BENCH_LEVELS ? level : BENCH_LEVELS - 1;
}

/* Percentages of clat (all directions) by fio's decimal bounds: BOUNDS_NS[i] is the end of bucket i, the last bucket is
 * open. */
enum { BENCH_LATENCY_BUCKETS = 32 };
struct bench_latency_bucket {
    enum { BENCH_UNIT_NS, BENCH_UNIT_US, BENCH_UNIT_MS } unit;
    const char *name; /* as in fio's output: "250", ">=2000" */
    double percent;
};
void bench_latency_buckets(const struct bench_stats *stats,
                           struct bench_latency_bucket buckets[BENCH_LATENCY_BUCKETS]);

/* LEVELS as percentages of their sum. */
void bench_level_percents(const uint64_t levels[BENCH_LEVELS], double percents[BENCH_LEVELS]);

#endif
