/* SPDX-License-Identifier: MIT
 *
 * What `torc bench` is asked to do: jobs in fio's job language, read from files and from the command line into plain
 * structs, checked as far as that can be done without looking at a disk. Nothing here opens what a job names.
 *
 *     options.c     one option's text into a job's field, by the table in option_table.c
 *     job_file.c    [sections] of a file            ─┐
 *     command_line.c  --name=… --rw=… and the switches ├─► struct bench_spec ─► job.c: the checks between options
 *
 * All strings live in the spec's arena, until bench_spec_deinit. Errors are a negative errno and one line in
 * spec->error that says what to do.
 */
#ifndef TORC_APPS_JOB_H
#define TORC_APPS_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apps/torc/numbers.h"

enum bench_direction { BENCH_READ, BENCH_WRITE, BENCH_DIRECTIONS };

enum {
    BENCH_PERCENTILES_MAX = 20,
    BENCH_DEPTH_MAX = 32768,
    BENCH_BLOCK_MAX = 1 << 30,
    BENCH_JOBS_MAX = 4096,
    BENCH_ERROR_MAX = 1024,
};

/* Bytes, or a percentage of what there is when `percent` is not 0. */
struct bench_amount {
    uint64_t bytes;
    uint32_t percent;
};

/* One option as the user wrote it, for the report; value NULL: it stood alone. */
struct bench_setting {
    const char *name, *value;
    struct bench_setting *next;
};

struct bench_settings {
    struct bench_setting *first, *last;
};

/* numa_mem_policy */
enum bench_memory_mode {
    BENCH_MEMORY_DEFAULT, /* as the executor's memory lies anyway: on its own node */
    BENCH_MEMORY_LOCAL,
    BENCH_MEMORY_BIND,
    BENCH_MEMORY_PREFER,
    BENCH_MEMORY_INTERLEAVE,
};

struct bench_job {
    const char *name, *description;
    const char *filename, *directory; /* ':'-separated lists; NULL: not given */
    const char *engine;               /* as the user calls it */
    struct bench_settings settings;   /* the job's own, without [global]'s */

    /* NULL: not given. The full set of nodes means all that there are. */
    const struct bench_numbers *cpus, *cpu_nodes, *memory_nodes;
    enum bench_memory_mode memory_mode;
    const char *cpus_option; /* that gave `cpus`, for messages */
    bool split_cpus;         /* each copy on a CPU of its own */

    struct bench_amount size, io_size, offset;
    uint64_t offset_increment;
    uint64_t block_bytes[BENCH_DIRECTIONS];
    uint64_t runtime_ns, ramp_ns, start_delay_ns;
    uint64_t number_ios;
    uint64_t seed;
    uint32_t depth, batch, complete_min, complete_max, depth_low;
    uint32_t mix_read; /* percent of a mix that is reads */
    uint32_t fsync, fdatasync;
    uint32_t copies; /* numjobs */
    uint32_t loops;
    uint32_t kb_base;
    double percentiles[BENCH_PERCENTILES_MAX];
    uint32_t percentile_count;

    bool does[BENCH_DIRECTIONS], random;
    bool direct, time_based, end_fsync, fixed_buffers, register_files, polled;
    bool no_random_map, same_random;
    bool zero_buffers, refill_buffers, scramble_buffers;
    bool invalidate, overwrite, unlink, thread;
    bool group_reporting, new_group, stonewall;
    bool clat_percentiles, lat_percentiles, disk_util;

    /* Set by bench_spec_finish. */
    unsigned group;
    unsigned wave;      /* the jobs of a wave run together; stonewall begins the next */
    bool one_at_a_time; /* the engine named is synchronous: a depth of 1 */
};

enum bench_eta { BENCH_ETA_AUTO, BENCH_ETA_ALWAYS, BENCH_ETA_NEVER };

struct bench_list {
    const char **items;
    unsigned count;
};

struct bench_chunk;

struct bench_spec {
    struct bench_job **jobs;
    unsigned job_count;
    struct bench_job defaults; /* what [global] has set so far */
    struct bench_settings globals;

    const char *output;                           /* file for the report; NULL: stdout */
    bool format_normal, format_json, format_bins; /* bins: json+ */
    enum bench_eta eta;
    bool parse_only, read_only;
    struct bench_list sections;  /* only these; none: all */
    struct bench_list lose_data; /* devices that the user has given up, by exact name */

    char error[BENCH_ERROR_MAX];
    struct bench_chunk *memory;
};

/* An empty spec with fio's defaults. */
void bench_spec_init(struct bench_spec *spec);
void bench_spec_deinit(struct bench_spec *spec);

/* Reads a job file ("-": standard input) behind the jobs that SPEC has. Its first job waits for those before it. */
int bench_spec_read_file(struct bench_spec *spec, const char *path);

enum { BENCH_RUN, BENCH_DONE }; /* of bench_spec_read_arguments: go on; all was said, exit with 0 */

/* Reads the program's arguments (argv[0] is skipped), the job files named there included. --help and --version print
 * what was asked for and give BENCH_DONE. */
int bench_spec_read_arguments(struct bench_spec *spec, int argc, char **argv);

/* The checks between options, and what follows from them: groups, waves, depth of synchronous engines. */
int bench_spec_finish(struct bench_spec *spec);

/* A job of SPEC that starts out as [global] says. */
int bench_spec_add_job(struct bench_spec *spec, const char *name, struct bench_job **job);

/* From the arena; zeroed. NULL: no memory, and spec->error says so. */
void *bench_alloc(struct bench_spec *spec, size_t bytes);
char *bench_copy(struct bench_spec *spec, const char *text, size_t length);
int bench_list_add(struct bench_spec *spec, struct bench_list *list, const char *item);

/* Sets spec->error and returns ERR. */
int bench_fail(struct bench_spec *spec, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
