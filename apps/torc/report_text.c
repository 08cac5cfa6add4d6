/* SPDX-License-Identifier: MIT
 *
 * fio's normal output, line for line: people read it, and scripts grep in it.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/torc/commands.h"
#include "apps/torc/format.h"
#include "apps/torc/report.h"

enum {
    DIGITS = 4,         /* of rates and sizes */
    LATENCY_DIGITS = 6, /* of a latency's ends */
    LINE_WIDTH = 73,    /* for the percentiles */
};

static struct bench_text bytes_text(uint64_t bytes, bool binary)
{
    return bench_format(bytes, DIGITS, binary, "B");
}

static struct bench_text rate_text(uint64_t bytes, bool binary)
{
    return bench_format(bytes, DIGITS, binary, "B/s");
}

struct scale {
    const char *unit;
    double divisor;
};

/* The unit in which a spread from MIN to MAX is read best; fio's thresholds. */
static struct scale pick_scale(uint64_t min, uint64_t max, double deviation)
{
    if (min > 2 * TORC_MS && max > 99999999 && deviation > 1e6)
        return (struct scale){"msec", 1e6};
    if (min > 2 * TORC_US && max > 99999 && deviation > 1e3)
        return (struct scale){"usec", 1e3};
    return (struct scale){"nsec", 1};
}

static void print_latency(FILE *out, const char *name, const struct torc_histogram *h)
{
    if (!torc_histogram_count(h))
        return;
    uint64_t min = torc_histogram_min(h), max = torc_histogram_max(h);
    double deviation = torc_histogram_stddev(h);
    struct scale scale = pick_scale(min, max, deviation);
    fprintf(out, "    %s (%s): min=%s, max=%s, avg=%5.02f, stdev=%5.02f\n", name, scale.unit,
            bench_format((uint64_t)((double)min / scale.divisor), LATENCY_DIGITS, false, "").text,
            bench_format((uint64_t)((double)max / scale.divisor), LATENCY_DIGITS, false, "").text,
            torc_histogram_mean(h) / scale.divisor, deviation / scale.divisor);
}

/* The decimals that tell the listed percentiles apart. */
static int precision_of(const struct bench_job *job)
{
    int precision = 0;
    for (uint32_t i = 0; i < job->percentile_count; i++) {
        double scaled = job->percentiles[i] * pow(10, precision);
        while (precision < 6 && fabs(scaled - round(scaled)) > 1e-6 * scaled) {
            precision++;
            scaled *= 10;
        }
    }
    return precision;
}

static void print_percentiles(FILE *out, const char *name, const struct bench_job *job,
                              const struct torc_histogram *h)
{
    uint32_t count = job->percentile_count;
    uint64_t values[BENCH_PERCENTILES_MAX];
    if (!torc_histogram_count(h) || !count)
        return;
    for (uint32_t i = 0; i < count; i++)
        values[i] = torc_histogram_percentile(h, job->percentiles[i]);
    struct scale scale = pick_scale(values[0], values[count - 1], INFINITY);
    uint64_t divisor = (uint64_t)scale.divisor;
    int precision = precision_of(job),
        width = snprintf(NULL, 0, "%" PRIu64, values[count - 1] / divisor);
    if (width < 5)
        width = 5;
    uint32_t per_line = (uint32_t)(LINE_WIDTH / (precision + 10 + width));
    fprintf(out, "    %s percentiles (%s):\n", name, scale.unit);
    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "%s%*.*fth=[%*" PRIu64 "]%s", i % per_line ? "" : "     |", precision + 4,
                precision, job->percentiles[i], width, (values[i] + divisor / 2) / divisor,
                i + 1 == count       ? "\n"
                : (i + 1) % per_line ? ","
                                     : ",\n");
}

static void print_series(FILE *out, const struct bench_direction_stats *s, uint64_t group_rate)
{
    if (!s->bw_kib.count)
        return;
    double share = group_rate ? 100.0 * s->bw_kib.mean * 1024 / (double)group_rate : 0;
    bool large = s->bw_kib.mean > 1024.0 * 1024;
    double divisor = large ? 1024 : 1;
    fprintf(out,
            "   bw (%5s/s): min=%5.0f, max=%5.0f, per=%3.2f%%, avg=%5.02f, stdev=%5.02f, "
            "samples=%" PRIu64 "\n",
            large ? "MiB" : "KiB", floor(s->bw_kib.min / divisor), floor(s->bw_kib.max / divisor),
            share > 100 ? 100 : share, s->bw_kib.mean / divisor,
            bench_series_deviation(&s->bw_kib) / divisor, s->bw_kib.count);
    fprintf(out,
            "   iops        : min=%5.0f, max=%5.0f, avg=%5.02f, stdev=%5.02f, samples=%" PRIu64
            "\n",
            floor(s->iops.min), floor(s->iops.max), s->iops.mean, bench_series_deviation(&s->iops),
            s->iops.count);
}

static void print_direction(const struct bench_report *report, const struct bench_result *result,
                            enum bench_direction direction, FILE *out)
{
    const struct bench_direction_stats *s = &result->stats->direction[direction];
    const struct bench_job *job = result->job;
    if (!s->ios)
        return;
    uint64_t rate = (uint64_t)bench_per_second(s->bytes, s->runtime_ns);
    fprintf(out, "  %s: IOPS=%s, BW=%s (%s)(%s/%" PRIu64 "msec)%s\n",
            direction == BENCH_READ ? "read" : "write",
            bench_format((uint64_t)bench_per_second(s->ios, s->runtime_ns), DIGITS, false, "").text,
            rate_text(rate, true).text, rate_text(rate, false).text,
            bytes_text(s->bytes, true).text, bench_to_ms(s->runtime_ns),
            direction == BENCH_WRITE ? "; 0 zone resets" : "");
    print_latency(out, "slat", &s->slat);
    print_latency(out, "clat", &s->clat);
    print_latency(out, " lat", &s->lat);
    if (job->clat_percentiles)
        print_percentiles(out, "clat", job, &s->clat);
    if (job->lat_percentiles)
        print_percentiles(out, "lat", job, &s->lat);
    print_series(out, s, bench_report_total(report, result->group, direction).bytes_per_second);
}

static void print_buckets(FILE *out, const struct bench_stats *stats)
{
    static const char *const UNITS[] = {"nsec", "usec", "msec"};
    enum { A_LINE = 5 };
    struct bench_latency_bucket buckets[BENCH_LATENCY_BUCKETS];
    bench_latency_buckets(stats, buckets);
    for (int unit = BENCH_UNIT_NS; unit <= BENCH_UNIT_MS; unit++) {
        int shown = 0;
        for (int i = 0; i < BENCH_LATENCY_BUCKETS; i++) {
            if ((int)buckets[i].unit != unit || buckets[i].percent <= 0)
                continue;
            if (shown % A_LINE == 0)
                fprintf(out, "%s  lat (%s)   : ", shown ? "\n" : "", UNITS[unit]);
            else
                fputs(", ", out);
            fprintf(out, "%s=%3.2f%%", buckets[i].name, buckets[i].percent);
            shown++;
        }
        if (shown)
            fputc('\n', out);
    }
}

static void print_levels(FILE *out, const char *head, const uint64_t levels[BENCH_LEVELS],
                         const char *names)
{
    double percents[BENCH_LEVELS];
    bench_level_percents(levels, percents);
    fputs(head, out);
    for (int i = 0; i < BENCH_LEVELS; i++) {
        int length = (int)strcspn(names, ",");
        fprintf(out, "%s%.*s=%3.1f%%", i ? ", " : "", length, names, percents[i]);
        names += length + 1;
    }
    fputc('\n', out);
}

static void print_common(const struct bench_result *result, FILE *out)
{
    static const char BATCHES[] = "0,4,8,16,32,64,>=64,";
    const struct bench_stats *stats = result->stats;
    const struct bench_direction_stats *r = &stats->direction[BENCH_READ],
                                       *w = &stats->direction[BENCH_WRITE];
    double runtime = stats->runtime_ns ? (double)stats->runtime_ns : 1;
    fprintf(out,
            "  cpu          : usr=%3.2f%%, sys=%3.2f%%, ctx=%" PRIu64 ", majf=%" PRIu64
            ", minf=%" PRIu64 "\n",
            100.0 * (double)stats->usage.user_ns / runtime,
            100.0 * (double)stats->usage.system_ns / runtime, stats->usage.switches,
            stats->usage.major_faults, stats->usage.minor_faults);
    print_levels(out, "  IO depths    : ", stats->depth_levels, "1,2,4,8,16,32,>=64,");
    print_levels(out, "     submit    : ", stats->submit_levels, BATCHES);
    print_levels(out, "     complete  : ", stats->complete_levels, BATCHES);
    fprintf(out,
            "     issued rwts: total=%" PRIu64 ",%" PRIu64 ",0,%" PRIu64 " short=%" PRIu64
            ",%" PRIu64 ",0,0 dropped=0,0,0,0\n",
            r->ios, w->ios, torc_histogram_count(&stats->sync), r->short_ios, w->short_ios);
    fprintf(out, "     latency   : target=0, window=0, percentile=100.00%%, depth=%u\n",
            result->job->depth);
}

static void print_result(const struct bench_report *report, const struct bench_result *result,
                         FILE *out)
{
    const struct bench_stats *stats = result->stats;
    const struct bench_job *job = result->job;
    char when[64];
    struct tm local;
    time_t seconds = (time_t)(report->finished_ms / 1000);
    localtime_r(&seconds, &local);
    strftime(when, sizeof(when), "%a %b %e %H:%M:%S %Y", &local);
    fprintf(out, "%s: (groupid=%u, jobs=%u): err=%2d%s%s%s: pid=%d: %s\n", job->name, result->group,
            stats->jobs, stats->error < 0 ? -stats->error : 0, stats->error < 0 ? " (" : "",
            stats->error < 0 ? strerror(-stats->error) : "", stats->error < 0 ? ")" : "",
            (int)getpid(), when);
    if (job->description)
        fprintf(out, "  Description  : [%s]\n", job->description);
    print_direction(report, result, BENCH_READ, out);
    print_direction(report, result, BENCH_WRITE, out);
    if (!stats->direction[BENCH_READ].ios && !stats->direction[BENCH_WRITE].ios)
        return;
    print_buckets(out, stats);
    if (torc_histogram_count(&stats->sync)) {
        fputs("  fsync/fdatasync/sync_file_range:\n", out);
        print_latency(out, "sync", &stats->sync);
        print_percentiles(out, "sync", job, &stats->sync);
    }
    print_common(result, out);
}

static void print_group(const struct bench_report *report, unsigned group, FILE *out)
{
    static const char *const NAMES[] = {"READ", "WRITE"};
    fprintf(out, "\nRun status group %u (all jobs):\n", group);
    for (int d = 0; d < BENCH_DIRECTIONS; d++) {
        struct bench_group_total t = bench_report_total(report, group, (enum bench_direction)d);
        if (!t.bytes)
            continue;
        fprintf(out,
                "%7s: bw=%s (%s), %s-%s (%s-%s), io=%s (%s), run=%" PRIu64 "-%" PRIu64 "msec\n",
                NAMES[d], rate_text(t.bytes_per_second, true).text,
                rate_text(t.bytes_per_second, false).text, rate_text(t.slowest, true).text,
                rate_text(t.fastest, true).text, rate_text(t.slowest, false).text,
                rate_text(t.fastest, false).text, bytes_text(t.bytes, true).text,
                bytes_text(t.bytes, false).text, t.shortest_ms, t.longest_ms);
    }
}

static void print_disks(const struct bench_report *report, FILE *out)
{
    fputs("\nDisk stats (read/write):\n", out);
    for (unsigned i = 0; i < report->disk_count; i++) {
        const struct bench_disk *disk = &report->disks[i];
        const struct bench_disk_counts *d = &disk->during;
        fprintf(out,
                "  %s: ios=%" PRIu64 "/%" PRIu64 ", merge=%" PRIu64 "/%" PRIu64 ", ticks=%" PRIu64
                "/%" PRIu64 ", in_queue=%" PRIu64 ", util=%3.2f%%\n",
                disk->name, d->ios[0], d->ios[1], d->merges[0], d->merges[1], d->ticks_ms[0],
                d->ticks_ms[1], d->queue_ms, bench_disk_util(disk));
    }
}

void bench_report_text(const struct bench_report *report, FILE *out)
{
    for (unsigned i = 0; i < report->result_count; i++)
        print_result(report, &report->results[i], out);
    for (unsigned i = 0; i < report->result_count; i++)
        if (!i || report->results[i].group != report->results[i - 1].group)
            print_group(report, report->results[i].group, out);
    if (report->show_disks && report->disk_count)
        print_disks(report, out);
}

void bench_report_announce(const struct bench_plan *plan, const char *engine, FILE *out)
{
    const struct bench_spec *spec = plan->spec;
    char list[64];
    unsigned tasks = 0;
    for (unsigned i = 0; i < spec->job_count; i++) {
        const struct bench_job *job = spec->jobs[i];
        struct bench_text r = bytes_text(job->block_bytes[BENCH_READ], true);
        struct bench_text w = bytes_text(job->block_bytes[BENCH_WRITE], true);
        fprintf(out,
                "%s: (g=%u): rw=%s, bs=(R) %s-%s, (W) %s-%s, (T) %s-%s, ioengine=%s, iodepth=%u\n",
                job->name, job->group, bench_mode_name(job), r.text, r.text, w.text, w.text, w.text,
                w.text, engine, job->depth);
        if (job->copies > 1)
            fputs("...\n", out);
        tasks += job->copies;
    }
    fprintf(out, "torc-%s\nStarting %u task%s on %u shard%s (CPU%s %s)\n\n", TORC_APP_VERSION,
            tasks, tasks == 1 ? "" : "s", plan->shard_count, plan->shard_count == 1 ? "" : "s",
            plan->shard_count == 1 ? "" : "s", bench_numbers_text(&plan->cpus, list, sizeof(list)));
    fflush(out);
}
