/* SPDX-License-Identifier: MIT
 *
 * fio's JSON document: names, nesting and types are fio 3.42's. Beside them stands one object of our own, "torc", that
 * says what really ran.
 */
#include <stdio.h>
#include <time.h>

#include "apps/torc/commands.h"
#include "apps/torc/json.h"
#include "apps/torc/report.h"

static const char FORMAT_VERSION[] = "fio-3.42";

/* A switch without a value is left out, as fio does. */
static void put_settings(struct bench_json *json, const char *key,
                         const struct bench_settings *settings)
{
    bench_json_object(json, key);
    for (const struct bench_setting *s = settings->first; s; s = s->next)
        if (s->value)
            bench_json_text(json, s->name, s->value);
    bench_json_end_object(json);
}

static void put_percentiles(struct bench_json *json, const struct bench_job *job,
                            const struct torc_histogram *h)
{
    bench_json_object(json, "percentile");
    for (uint32_t i = 0; i < job->percentile_count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%f", job->percentiles[i]);
        bench_json_count(json, key, torc_histogram_percentile(h, job->percentiles[i]));
    }
    bench_json_end_object(json);
}

static void put_bins(struct bench_json *json, const struct torc_histogram *h)
{
    bench_json_object(json, "bins");
    for (unsigned i = 0; (i = torc_histogram_next(h, i)) < TORC_HISTOGRAM_BUCKETS; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%llu", (unsigned long long)torc_histogram_bucket_middle(i));
        bench_json_count(json, key, h->buckets[i]);
    }
    bench_json_end_object(json);
}

static void put_latency(struct bench_json *json, const char *key, const struct torc_histogram *h,
                        const struct bench_job *job, bool percentiles, bool bins)
{
    bench_json_object(json, key);
    bench_json_count(json, "min", torc_histogram_min(h));
    bench_json_count(json, "max", torc_histogram_max(h));
    bench_json_fraction(json, "mean", torc_histogram_mean(h));
    bench_json_fraction(json, "stddev", torc_histogram_stddev(h));
    bench_json_count(json, "N", torc_histogram_count(h));
    if (percentiles && torc_histogram_count(h)) {
        put_percentiles(json, job, h);
        if (bins)
            put_bins(json, h);
    }
    bench_json_end_object(json);
}

static void put_series(struct bench_json *json, const struct bench_direction_stats *s,
                       uint64_t group_rate)
{
    double mean = s->bw_kib.mean;
    double share = group_rate ? 100.0 * mean * 1024 / (double)group_rate : 0;
    bench_json_count(json, "bw_min", (uint64_t)s->bw_kib.min);
    bench_json_count(json, "bw_max", (uint64_t)s->bw_kib.max);
    bench_json_fraction(json, "bw_agg", share > 100 ? 100 : share);
    bench_json_fraction(json, "bw_mean", mean);
    bench_json_fraction(json, "bw_dev", bench_series_deviation(&s->bw_kib));
    bench_json_count(json, "bw_samples", s->bw_kib.count);
    bench_json_count(json, "iops_min", (uint64_t)s->iops.min);
    bench_json_count(json, "iops_max", (uint64_t)s->iops.max);
    bench_json_fraction(json, "iops_mean", s->iops.mean);
    bench_json_fraction(json, "iops_stddev", bench_series_deviation(&s->iops));
    bench_json_count(json, "iops_samples", s->iops.count);
}

static void put_direction(struct bench_json *json, const char *key,
                          const struct bench_report *report, const struct bench_result *result,
                          const struct bench_direction_stats *s, uint64_t group_rate)
{
    const struct bench_job *job = result->job;
    bool bins = report->spec->format_bins;
    uint64_t rate = (uint64_t)bench_per_second(s->bytes, s->runtime_ns);
    bench_json_object(json, key);
    bench_json_count(json, "io_bytes", s->bytes);
    bench_json_count(json, "io_kbytes", s->bytes >> 10);
    bench_json_count(json, "bw_bytes", rate);
    bench_json_count(json, "bw", rate >> 10);
    bench_json_fraction(json, "iops", bench_per_second(s->ios, s->runtime_ns));
    bench_json_count(json, "runtime", bench_to_ms(s->runtime_ns));
    bench_json_count(json, "total_ios", s->ios);
    bench_json_count(json, "short_ios", s->short_ios);
    bench_json_count(json, "drop_ios", 0);
    put_latency(json, "slat_ns", &s->slat, job, false, false);
    put_latency(json, "clat_ns", &s->clat, job, job->clat_percentiles, bins);
    put_latency(json, "lat_ns", &s->lat, job, job->lat_percentiles, bins);
    put_series(json, s, group_rate);
    bench_json_end_object(json);
}

static void put_levels(struct bench_json *json, const char *key,
                       const uint64_t levels[BENCH_LEVELS], const char *const names[BENCH_LEVELS])
{
    double percents[BENCH_LEVELS];
    bench_level_percents(levels, percents);
    bench_json_object(json, key);
    for (int i = 0; i < BENCH_LEVELS; i++)
        bench_json_fraction(json, names[i], percents[i]);
    bench_json_end_object(json);
}

static void put_distributions(struct bench_json *json, const struct bench_stats *stats)
{
    static const char *const DEPTHS[] = {"1", "2", "4", "8", "16", "32", ">=64"};
    static const char *const BATCHES[] = {"0", "4", "8", "16", "32", "64", ">=64"};
    static const char *const UNITS[] = {"latency_ns", "latency_us", "latency_ms"};
    struct bench_latency_bucket buckets[BENCH_LATENCY_BUCKETS];
    put_levels(json, "iodepth_level", stats->depth_levels, DEPTHS);
    put_levels(json, "iodepth_submit", stats->submit_levels, BATCHES);
    put_levels(json, "iodepth_complete", stats->complete_levels, BATCHES);
    bench_latency_buckets(stats, buckets);
    for (int i = 0; i < BENCH_LATENCY_BUCKETS; i++) {
        if (!i || buckets[i].unit != buckets[i - 1].unit)
            bench_json_object(json, UNITS[buckets[i].unit]);
        bench_json_fraction(json, buckets[i].name, buckets[i].percent);
        if (i + 1 == BENCH_LATENCY_BUCKETS || buckets[i].unit != buckets[i + 1].unit)
            bench_json_end_object(json);
    }
}

static void put_sync(struct bench_json *json, const struct bench_report *report,
                     const struct bench_result *result)
{
    const struct bench_job *job = result->job;
    bench_json_object(json, "sync");
    bench_json_count(json, "total_ios", torc_histogram_count(&result->stats->sync));
    put_latency(json, "lat_ns", &result->stats->sync, job, job->clat_percentiles,
                report->spec->format_bins);
    bench_json_end_object(json);
}

static void put_usage(struct bench_json *json, const struct bench_stats *stats)
{
    double runtime = stats->runtime_ns ? (double)stats->runtime_ns : 1;
    bench_json_count(json, "job_runtime", bench_to_ms(stats->runtime_ns));
    bench_json_fraction(json, "usr_cpu", 100.0 * (double)stats->usage.user_ns / runtime);
    bench_json_fraction(json, "sys_cpu", 100.0 * (double)stats->usage.system_ns / runtime);
    bench_json_count(json, "ctx", stats->usage.switches);
    bench_json_count(json, "majf", stats->usage.major_faults);
    bench_json_count(json, "minf", stats->usage.minor_faults);
}

static void put_result(struct bench_json *json, const struct bench_report *report,
                       const struct bench_result *result)
{
    static const char *const NAMES[] = {"read", "write", "trim"};
    /* Trims are not measured, but readers expect the object; on the heap it would be one more thing that can fail. */
    static struct bench_direction_stats no_trims;
    static bool ready;
    if (!ready) {
        torc_histogram_init(&no_trims.slat);
        torc_histogram_init(&no_trims.clat);
        torc_histogram_init(&no_trims.lat);
        ready = true;
    }
    const struct bench_stats *stats = result->stats;
    const struct bench_job *job = result->job;
    bench_json_object(json, NULL);
    bench_json_text(json, "jobname", job->name);
    bench_json_count(json, "groupid", result->group);
    bench_json_count(json, "job_start", stats->started_ms);
    bench_json_number(json, "error", stats->error < 0 ? -stats->error : 0);
    bench_json_count(json, "eta", 0);
    bench_json_count(json, "elapsed", report->elapsed_seconds);
    put_settings(json, "job options", &job->settings);
    for (int d = 0; d < BENCH_DIRECTIONS; d++)
        put_direction(
            json, NAMES[d], report, result, &stats->direction[d],
            bench_report_total(report, result->group, (enum bench_direction)d).bytes_per_second);
    put_direction(json, NAMES[BENCH_DIRECTIONS], report, result, &no_trims, 0);
    put_sync(json, report, result);
    put_usage(json, stats);
    put_distributions(json, stats);
    bench_json_count(json, "latency_depth", job->depth);
    bench_json_count(json, "latency_target", 0);
    bench_json_fraction(json, "latency_percentile", 100);
    bench_json_count(json, "latency_window", 0);
    if (job->description)
        bench_json_text(json, "desc", job->description);
    bench_json_end_object(json);
}

static void put_disk(struct bench_json *json, const struct bench_disk *disk)
{
    const struct bench_disk_counts *d = &disk->during;
    bench_json_object(json, NULL);
    bench_json_text(json, "name", disk->name);
    bench_json_count(json, "read_ios", d->ios[BENCH_READ]);
    bench_json_count(json, "write_ios", d->ios[BENCH_WRITE]);
    bench_json_count(json, "read_sectors", d->sectors[BENCH_READ]);
    bench_json_count(json, "write_sectors", d->sectors[BENCH_WRITE]);
    bench_json_count(json, "read_merges", d->merges[BENCH_READ]);
    bench_json_count(json, "write_merges", d->merges[BENCH_WRITE]);
    bench_json_count(json, "read_ticks", d->ticks_ms[BENCH_READ]);
    bench_json_count(json, "write_ticks", d->ticks_ms[BENCH_WRITE]);
    bench_json_count(json, "in_queue", d->queue_ms);
    bench_json_fraction(json, "util", bench_disk_util(disk));
    bench_json_end_object(json);
}

static void put_head(struct bench_json *json, const struct bench_report *report)
{
    char text[64];
    struct tm local;
    time_t seconds = (time_t)(report->finished_ms / 1000);
    localtime_r(&seconds, &local);
    strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &local);
    bench_json_text(json, "fio version", FORMAT_VERSION);
    bench_json_count(json, "timestamp", report->finished_ms / 1000);
    bench_json_count(json, "timestamp_ms", report->finished_ms);
    bench_json_text(json, "time", text);
    bench_json_object(json, "torc");
    bench_json_text(json, "version", TORC_APP_VERSION);
    bench_json_text(json, "engine", report->engine);
    bench_json_count(json, "shards", bench_numbers_count(report->cpus));
    bench_json_text(json, "cpus", bench_numbers_text(report->cpus, text, sizeof(text)));
    bench_json_end_object(json);
    if (report->spec->globals.first)
        put_settings(json, "global options", &report->spec->globals);
}

void bench_report_json(const struct bench_report *report, FILE *out)
{
    struct bench_json json;
    bench_json_init(&json, out);
    bench_json_object(&json, NULL);
    put_head(&json, report);
    bench_json_array(&json, "jobs");
    for (unsigned i = 0; i < report->result_count; i++)
        put_result(&json, report, &report->results[i]);
    bench_json_end_array(&json);
    if (report->show_disks) {
        bench_json_array(&json, "disk_util");
        for (unsigned i = 0; i < report->disk_count; i++)
            put_disk(&json, &report->disks[i]);
        bench_json_end_array(&json);
    }
    bench_json_end_object(&json);
}
