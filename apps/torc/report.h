/* SPDX-License-Identifier: MIT
 *
 * What a run has measured, as a reader wants it: fio's JSON document or fio's text, line for line, so that the scripts
 * that read fio's output read this one. A report only borrows what it shows.
 */
#ifndef TORC_APPS_REPORT_H
#define TORC_APPS_REPORT_H

#include <stdio.h>

#include "apps/torc/disks.h"
#include "apps/torc/stats.h"

/* One record: a job's copy, or all that group_reporting puts together. */
struct bench_result {
    const struct bench_job *job; /* the first */
    unsigned group;
    struct bench_stats *stats;
};

struct bench_report {
    const struct bench_spec *spec;
    struct bench_result *results; /* in the order of their groups */
    unsigned result_count;
    const struct bench_disk *disks;
    unsigned disk_count;
    bool show_disks;
    uint64_t finished_ms; /* since 1970 */
    unsigned elapsed_seconds;
    const char *engine; /* what really ran, and on which shards' CPUs */
    const struct bench_numbers *cpus;
};

/* What a group did in one direction, all of its results together; rates in bytes a second. */
struct bench_group_total {
    uint64_t bytes, bytes_per_second, slowest, fastest;
    uint64_t shortest_ms, longest_ms;
};
struct bench_group_total bench_report_total(const struct bench_report *report, unsigned group,
                                            enum bench_direction direction);

/* Both write everything and leave it to the caller to look at ferror(OUT). */
void bench_report_json(const struct bench_report *report, FILE *out);
void bench_report_text(const struct bench_report *report, FILE *out);

/* The line a job has before it runs. */
void bench_report_announce(const struct bench_plan *plan, const char *engine, FILE *out);

/* A rate per second. */
double bench_per_second(uint64_t amount, uint64_t ns);
uint64_t bench_to_ms(uint64_t ns);
/* The mode's name in fio's language: "randrw". */
const char *bench_mode_name(const struct bench_job *job);

#endif
