/* SPDX-License-Identifier: MIT */
#include "apps/torc/job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 16 * 1024 };

struct bench_chunk {
    struct bench_chunk *next;
    size_t used, size;
    max_align_t bytes[];
};

static const double PERCENTILES[] = {1,  5,  10, 20, 30,   40,   50,    60,   70,
                                     80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99};
enum { PERCENTILE_COUNT = sizeof(PERCENTILES) / sizeof(PERCENTILES[0]) };

int bench_fail(struct bench_spec *spec, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(spec->error, sizeof(spec->error), format, arguments);
    va_end(arguments);
    return err;
}

void *bench_alloc(struct bench_spec *spec, size_t bytes)
{
    bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct bench_chunk *chunk = spec->memory;
    if (!chunk || chunk->size - chunk->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        chunk = calloc(1, sizeof(*chunk) + size);
        if (!chunk) {
            bench_fail(spec, -ENOMEM, "out of memory");
            return NULL;
        }
        chunk->size = size;
        chunk->next = spec->memory;
        spec->memory = chunk;
    }
    void *memory = (char *)chunk->bytes + chunk->used;
    chunk->used += bytes;
    return memory;
}

char *bench_copy(struct bench_spec *spec, const char *text, size_t length)
{
    char *copy = bench_alloc(spec, length + 1);
    if (copy)
        memcpy(copy, text, length);
    return copy;
}

int bench_list_add(struct bench_spec *spec, struct bench_list *list, const char *item)
{
    const char **items = bench_alloc(spec, (list->count + 1) * sizeof(*items));
    char *copy = bench_copy(spec, item, strlen(item));
    if (!items || !copy)
        return -ENOMEM;
    if (list->count)
        memcpy(items, list->items, list->count * sizeof(*items));
    items[list->count++] = copy;
    list->items = items;
    return 0;
}

void bench_spec_init(struct bench_spec *spec)
{
    *spec = (struct bench_spec){
        .defaults =
            {
                .engine = "io_uring",
                .block_bytes = {4096, 4096},
                .does = {[BENCH_READ] = true},
                .depth = 1,
                .complete_min = 1,
                .mix_read = 50,
                .copies = 1,
                .loops = 1,
                .kb_base = 1024,
                .same_random = true,
                .scramble_buffers = true,
                .invalidate = true,
                .clat_percentiles = true,
                .disk_util = true,
                .percentile_count = PERCENTILE_COUNT,
            },
    };
    memcpy(spec->defaults.percentiles, PERCENTILES, sizeof(PERCENTILES));
}

void bench_spec_deinit(struct bench_spec *spec)
{
    for (struct bench_chunk *chunk = spec->memory, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    spec->memory = NULL;
}

int bench_spec_add_job(struct bench_spec *spec, const char *name, struct bench_job **out)
{
    if (spec->job_count == BENCH_JOBS_MAX)
        return bench_fail(spec, -E2BIG, "more than %d jobs", BENCH_JOBS_MAX);
    /* Doubling in an arena leaves the old arrays behind: at most as much again as the last one. */
    if (!(spec->job_count & (spec->job_count - 1))) {
        unsigned capacity = spec->job_count ? 2 * spec->job_count : 1;
        struct bench_job **jobs = bench_alloc(spec, capacity * sizeof(struct bench_job *));
        if (!jobs)
            return -ENOMEM;
        if (spec->job_count)
            memcpy(jobs, spec->jobs, spec->job_count * sizeof(struct bench_job *));
        spec->jobs = jobs;
    }
    struct bench_job *job = bench_alloc(spec, sizeof(*job));
    char *copy = bench_copy(spec, name, strlen(name));
    if (!job || !copy)
        return -ENOMEM;
    *job = spec->defaults;
    job->name = copy;
    job->settings = (struct bench_settings){NULL, NULL};
    spec->jobs[spec->job_count++] = job;
    *out = job;
    return 0;
}

struct engine_name {
    const char *name;
    bool synchronous;
};

/* fio's engines whose work the ring can do. */
static const struct engine_name ENGINES[] = {
    {"io_uring", false}, {"libaio", false}, {"posixaio", false}, {"sync", true},
    {"psync", true},     {"vsync", true},   {"pvsync", true},    {"pvsync2", true},
};

static int check_engine(struct bench_spec *spec, struct bench_job *job)
{
    for (size_t i = 0; i < sizeof(ENGINES) / sizeof(ENGINES[0]); i++)
        if (!strcmp(ENGINES[i].name, job->engine)) {
            job->one_at_a_time = ENGINES[i].synchronous;
            return 0;
        }
    return bench_fail(spec, -EINVAL,
                      "job \"%s\": ioengine=%s is not supported: use io_uring (libaio, posixaio, "
                      "sync, psync, vsync, pvsync and pvsync2 are accepted and run on io_uring)",
                      job->name, job->engine);
}

static uint32_t clamp_or(uint32_t value, uint32_t limit)
{
    return !value || value > limit ? limit : value;
}

static int finish_job(struct bench_spec *spec, struct bench_job *job)
{
    int err = check_engine(spec, job);
    if (err)
        return err;
    if (job->time_based && !job->runtime_ns)
        return bench_fail(spec, -EINVAL, "job \"%s\": time_based needs a runtime: add runtime=10s",
                          job->name);
    if (job->ramp_ns && job->runtime_ns && !job->time_based && job->ramp_ns >= job->runtime_ns)
        return bench_fail(spec, -EINVAL, "job \"%s\": ramp_time is not below runtime", job->name);
    if (!job->filename && !job->directory && strchr(job->name, '/'))
        return bench_fail(spec, -EINVAL,
                          "job \"%s\": a name with '/' can't be a file name: add filename=PATH",
                          job->name);
    if (spec->read_only && job->does[BENCH_WRITE])
        return bench_fail(spec, -EROFS, "job \"%s\" writes, and --readonly forbids that",
                          job->name);
    if (job->fsync && job->fdatasync)
        return bench_fail(spec, -EINVAL, "job \"%s\": set fsync or fdatasync, not both", job->name);
    if (job->one_at_a_time)
        job->depth = 1;
    /* As fio does: what goes beyond the depth means the depth. */
    job->batch = clamp_or(job->batch, job->depth);
    job->depth_low = clamp_or(job->depth_low, job->depth);
    job->complete_max = clamp_or(job->complete_max, job->depth);
    if (job->complete_min > job->complete_max)
        job->complete_min = job->complete_max;
    return 0;
}

static bool is_wanted(const struct bench_spec *spec, const struct bench_job *job)
{
    for (unsigned i = 0; i < spec->sections.count; i++)
        if (!strcmp(spec->sections.items[i], job->name))
            return true;
    return !spec->sections.count;
}

static int pick_sections(struct bench_spec *spec)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < spec->job_count; i++)
        if (is_wanted(spec, spec->jobs[i]))
            spec->jobs[kept++] = spec->jobs[i];
    spec->job_count = kept;
    if (!kept && spec->sections.count)
        return bench_fail(spec, -ENOENT, "--section=%s: no job has that name",
                          spec->sections.items[0]);
    return 0;
}

int bench_spec_finish(struct bench_spec *spec)
{
    int err = pick_sections(spec);
    if (err)
        return err;
    if (!spec->job_count)
        return bench_fail(spec, -EINVAL,
                          "no job: name a job file, or give options as in `torc bench --name=try "
                          "--filename=/tmp/try --size=256m --rw=randread --runtime=5`");
    unsigned group = 0, wave = 0, copies = 0;
    for (unsigned i = 0; i < spec->job_count; i++) {
        struct bench_job *job = spec->jobs[i];
        err = finish_job(spec, job);
        if (err)
            return err;
        if (i && job->stonewall)
            wave++;
        if (i && (job->stonewall || job->new_group))
            group++;
        job->wave = wave;
        job->group = group;
        copies += job->copies;
        if (copies > BENCH_JOBS_MAX)
            return bench_fail(spec, -E2BIG, "more than %d jobs with numjobs counted",
                              BENCH_JOBS_MAX);
    }
    return 0;
}
