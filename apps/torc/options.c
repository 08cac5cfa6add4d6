/* SPDX-License-Identifier: MIT */
#include "apps/torc/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Options that fio has and torc bench has not: for a message that tells "unknown" from "unsupported". */
static const char *const FIO_ONLY[] = {
    "allow_file_create",
    "allow_mounted_write",
    "atomic",
    "bandwidth-log",
    "block_error_percentiles",
    "blockalign",
    "bs_is_seq_rand",
    "bs_unaligned",
    "bsrange",
    "bssplit",
    "buffer_compress_chunk",
    "buffer_compress_percentage",
    "buffer_pattern",
    "bwavgtime",
    "cgroup",
    "clocksource",
    "cmdprio_percentage",
    "continue_on_error",
    "create_fsync",
    "create_on_open",
    "create_only",
    "create_serialize",
    "dedupe_global",
    "dedupe_mode",
    "dedupe_percentage",
    "disable_bw_measurement",
    "disable_clat",
    "disable_lat",
    "disable_slat",
    "do_verify",
    "error_dump",
    "exec_postrun",
    "exec_prerun",
    "exitall",
    "exitall_on_error",
    "exit_what",
    "experimental_verify",
    "fadvise_hint",
    "fallocate",
    "file_append",
    "file_service_type",
    "filename_format",
    "filesize",
    "fill_device",
    "fill_fs",
    "flow",
    "flow_id",
    "flow_sleep",
    "force_async",
    "fsync_on_close",
    "gid",
    "gtod_cpu",
    "gtod_reduce",
    "hugepage-size",
    "ignore_error",
    "io_submit_mode",
    "iodepth_batch_complete_percentage",
    "iomem",
    "iopsavgtime",
    "ioscheduler",
    "latency_percentile",
    "latency_run",
    "latency_target",
    "latency_window",
    "lockfile",
    "lockmem",
    "log_avg_msec",
    "log_compression",
    "log_entries",
    "log_hist_msec",
    "log_max_value",
    "log_offset",
    "log_prio",
    "log_unix_epoch",
    "max_latency",
    "mem",
    "merge_blktrace_file",
    "nice",
    "nonvectored",
    "nrfiles",
    "offset_align",
    "opendir",
    "openfiles",
    "per_job_logs",
    "percentage_random",
    "pre_read",
    "prio",
    "prioclass",
    "profile",
    "random_distribution",
    "random_generator",
    "rate",
    "rate_cycle",
    "rate_iops",
    "rate_iops_min",
    "rate_min",
    "rate_process",
    "read_iolog",
    "replay_no_stall",
    "replay_redirect",
    "rw_sequencer",
    "serialize_overlap",
    "significant_figures",
    "slat_percentiles",
    "softrandommap",
    "sqthread_poll",
    "sqthread_poll_cpu",
    "ss",
    "ss_dur",
    "ss_ramp",
    "stats",
    "steadystate",
    "sync",
    "sync_file_range",
    "thinktime",
    "thinktime_blocks",
    "thinktime_spin",
    "trim_percentage",
    "uid",
    "uncached",
    "unified_rw_reporting",
    "unique_filename",
    "unit_base",
    "unlink_each_loop",
    "verify",
    "verify_async",
    "verify_backlog",
    "verify_fatal",
    "verify_interval",
    "verify_only",
    "verify_pattern",
    "verify_state_load",
    "verify_state_save",
    "wait_for",
    "write_barrier",
    "write_bw_log",
    "write_hint",
    "write_hist_log",
    "write_iolog",
    "write_iops_log",
    "write_lat_log",
    "zonemode",
    "zonerange",
    "zonesize",
    "zoneskip",
};

enum { NAME_BYTES = 48 };

static bool same_name(const char *a, const char *b)
{
    for (; *a || *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
            return false;
    return true;
}

const struct bench_option *bench_option_find(const char *name)
{
    for (unsigned i = 0; i < BENCH_OPTION_COUNT; i++)
        if (same_name(BENCH_OPTIONS[i].name, name) ||
            (BENCH_OPTIONS[i].alias && same_name(BENCH_OPTIONS[i].alias, name)))
            return &BENCH_OPTIONS[i];
    return NULL;
}

bool bench_option_is_fio_only(const char *name)
{
    for (size_t i = 0; i < sizeof(FIO_ONLY) / sizeof(FIO_ONLY[0]); i++)
        if (same_name(FIO_ONLY[i], name))
            return true;
    return false;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, change, swap neighbours) that make B of A. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][NAME_BYTES + 1];
    size_t length = strlen(b);
    if (length > NAME_BYTES || strlen(a) > NAME_BYTES)
        return NAME_BYTES;
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (unsigned j = 0; j <= length; j++)
        last[j] = j;
    for (unsigned i = 0; a[i]; i++) {
        row[0] = i + 1;
        for (unsigned j = 0; j < length; j++) {
            row[j + 1] = least(least(last[j + 1], row[j]) + 1, last[j] + (a[i] != b[j]));
            if (i && j && a[i] == b[j - 1] && a[i - 1] == b[j])
                row[j + 1] = least(row[j + 1], before[j - 1] + 1);
        }
        unsigned *oldest = before;
        before = last, last = row, row = oldest;
    }
    return last[length];
}

const char *bench_option_nearest(const char *name)
{
    enum { FAR = 4 };
    const char *nearest = NULL;
    unsigned best = least(FAR, (unsigned)strlen(name) / 2 + 1);
    for (unsigned i = 0; i < BENCH_OPTION_COUNT; i++)
        for (int alias = 0; alias < 2; alias++) {
            const char *candidate = alias ? BENCH_OPTIONS[i].alias : BENCH_OPTIONS[i].name;
            unsigned edits = candidate ? distance(name, candidate) : FAR;
            if (edits < best) {
                best = edits;
                nearest = candidate;
            }
        }
    return nearest;
}

static int fail_unknown(struct bench_spec *spec, const char *where, const char *name)
{
    if (bench_option_is_fio_only(name))
        return bench_fail(spec, -EINVAL, "%s%s: torc bench does not support this option of fio's",
                          where, name);
    const char *nearest = bench_option_nearest(name);
    if (nearest)
        return bench_fail(spec, -EINVAL, "%s%s: no such option; did you mean %s?", where, name,
                          nearest);
    return bench_fail(spec, -EINVAL, "%s%s: no such option; `torc bench --help` lists them", where,
                      name);
}

/* The last word counts: an option set twice is reported once. */
static int remember(struct bench_spec *spec, struct bench_settings *list, const char *name,
                    const char *value)
{
    struct bench_setting *setting = list->first;
    while (setting && strcmp(setting->name, name) != 0)
        setting = setting->next;
    bool fresh = !setting;
    if (fresh && !(setting = bench_alloc(spec, sizeof(*setting))))
        return -ENOMEM;
    setting->name = name;
    setting->value = value ? bench_copy(spec, value, strlen(value)) : NULL;
    if (value && !setting->value)
        return -ENOMEM;
    if (!fresh)
        return 0;
    if (list->last)
        list->last->next = setting;
    else
        list->first = setting;
    list->last = setting;
    return 0;
}

int bench_option_set(struct bench_spec *spec, struct bench_job *job, struct bench_settings *list,
                     const char *where, const char *name, const char *value)
{
    const struct bench_option *option = bench_option_find(name);
    if (!option)
        return fail_unknown(spec, where, name);
    if (!value && !option->bare)
        return bench_fail(spec, -EINVAL, "%s%s: needs a value, as in %s=VALUE", where, name, name);
    int err = option->set(spec, job, option, value ? value : option->bare);
    if (err) {
        char what[BENCH_ERROR_MAX];
        snprintf(what, sizeof(what), "%s", spec->error);
        return bench_fail(spec, err, "%s%s=%s: %s", where, name, value ? value : "", what);
    }
    return remember(spec, list, option->name, value);
}

static void print_one(const struct bench_option *option)
{
    printf("%s", option->name);
    if (option->alias)
        printf(", %s", option->alias);
    printf("\n    %s\n", option->help);
    if (option->bare)
        printf("    0 or 1; alone it means 1\n");
    else if (option->max)
        printf("    %" PRIu64 " to %" PRIu64 "\n", option->min, option->max);
    if (option->fallback)
        printf("    default: %s\n", option->fallback);
}

int bench_option_help(struct bench_spec *spec, const char *name)
{
    if (name) {
        const struct bench_option *option = bench_option_find(name);
        if (!option)
            return fail_unknown(spec, "--help=", name);
        print_one(option);
        return 0;
    }
    for (unsigned i = 0; i < BENCH_OPTION_COUNT; i++)
        printf("  %-27s %s\n", BENCH_OPTIONS[i].name, BENCH_OPTIONS[i].help);
    return 0;
}
