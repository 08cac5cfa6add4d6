/* SPDX-License-Identifier: MIT */
#include "apps/torc/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    RING_ENTRIES_MIN = 256,
    RING_ENTRIES_MAX = 32768,
    BUFFERS_MAX = 16384, /* the kernel's limit */
};

/* What a task of a wave gets. */
struct bench_worker {
    struct bench_run *run;
    unsigned index;
};

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t ns_between(struct timeval from, struct timeval to)
{
    int64_t us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_usec - from.tv_usec);
    return us > 0 ? (uint64_t)us * 1000 : 0;
}

static void add_share(struct bench_usage *usage, const struct bench_usage *spent, unsigned shares)
{
    usage->user_ns += spent->user_ns / shares;
    usage->system_ns += spent->system_ns / shares;
    usage->switches += spent->switches / shares;
    usage->major_faults += spent->major_faults / shares;
    usage->minor_faults += spent->minor_faults / shares;
}

/* Jobs share one thread, so what the process has used since the last look is divided evenly among those at work. The
 * process, not the thread: the kernel's helpers (io-wq) work for the jobs too. */
static void charge(struct bench_run *run)
{
    struct rusage now;
    getrusage(RUSAGE_SELF, &now);
    const struct rusage *old = &run->charged;
    struct bench_usage spent = {
        .user_ns = ns_between(old->ru_utime, now.ru_utime),
        .system_ns = ns_between(old->ru_stime, now.ru_stime),
        .switches = (uint64_t)(now.ru_nvcsw - old->ru_nvcsw + now.ru_nivcsw - old->ru_nivcsw),
        .major_faults = (uint64_t)(now.ru_majflt - old->ru_majflt),
        .minor_faults = (uint64_t)(now.ru_minflt - old->ru_minflt),
    };
    for (unsigned i = 0; i < run->plan->instance_count; i++)
        if (run->running[i])
            add_share(&run->stats[i]->usage, &spent, run->running_count);
    run->charged = now;
}

static void begins(void *context, const struct bench_instance *instance)
{
    struct bench_run *run = context;
    size_t index = (size_t)(instance - run->plan->instances);
    run->began = true;
    charge(run);
    if (!run->running[index])
        run->running_count++;
    run->running[index] = true;
    run->stats[index]->usage = (struct bench_usage){0};
    run->stats[index]->started_ms = wall_ms();
}

static int work(void *arg)
{
    struct bench_worker *worker = arg;
    struct bench_run *run = worker->run;
    int err = bench_engine_run(&run->plan->instances[worker->index], &run->env,
                               run->stats[worker->index]);
    charge(run);
    if (run->running[worker->index])
        run->running_count--;
    run->running[worker->index] = false;
    if (err && !run->error)
        run->error = err;
    return 0; /* the others of the wave go on */
}

static int run_wave(struct bench_run *run, struct bench_worker *workers)
{
    struct torc_scope jobs;
    int err = 0;
    torc_scope_init(&jobs);
    for (unsigned i = 0; i < run->plan->instance_count && !err; i++) {
        const struct bench_job *job = run->plan->instances[i].job;
        struct torc_task_options options = {.name = job->name};
        if (job->wave == run->wave)
            err = torc_spawn_with(&jobs, &options, work, &workers[i]);
    }
    if (err) {
        fprintf(stderr, "torc bench: the jobs can't be started: %d\n", err);
        torc_scope_cancel(&jobs);
    }
    int failed = torc_scope_join(&jobs);
    return err ? err : failed;
}

static int run_waves(struct bench_run *run, struct bench_worker *workers)
{
    const struct bench_plan *plan = run->plan;
    unsigned last = plan->instances[plan->instance_count - 1].job->wave;
    struct torc_scope progress;
    int err = 0;
    torc_scope_init(&progress);
    if (bench_progress_is_wanted(plan->spec))
        err = torc_spawn(&progress, bench_progress, run);
    for (run->wave = 0; run->wave <= last && !err; run->wave++)
        err = run_wave(run, workers);
    torc_scope_cancel(&progress);
    int joined = torc_scope_join(&progress);
    if (!err)
        err = joined;
    /* Interrupted is not failed: what was measured until then is reported. */
    return err == -ECANCELED ? 0 : err;
}

static int run_all(void *arg)
{
    struct bench_run *run = arg;
    unsigned count = run->plan->instance_count;
    struct bench_worker *workers = calloc(count, sizeof(*workers));
    if (!workers) {
        fputs("torc bench: out of memory\n", stderr);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++)
        workers[i] = (struct bench_worker){run, i};
    getrusage(RUSAGE_SELF, &run->charged);
    int err = run_waves(run, workers);
    free(workers);
    return err;
}

/* A ring that the deepest wave fits into, so that no submission is split. */
static struct torc_config configure(const struct bench_plan *plan)
{
    /* As few files as will do: their table must not be larger than RLIMIT_NOFILE. */
    uint32_t entries = RING_ENTRIES_MIN, files = 1, depth = 0, wave = 0, open = 0;
    for (unsigned i = 0; i < plan->instance_count; i++) {
        const struct bench_instance *in = &plan->instances[i];
        if (in->job->wave != wave)
            depth = open = 0;
        wave = in->job->wave;
        depth += in->job->depth;
        open += in->file_count;
        while (entries < depth && entries < RING_ENTRIES_MAX)
            entries *= 2;
        if (in->job->register_files && open > files)
            files = open;
    }
    uint32_t buffers = plan->instance_count < BUFFERS_MAX ? plan->instance_count : BUFFERS_MAX;
    return (struct torc_config){
        .shards = 1,
        .ring_entries = entries,
        .files_max = files,
        .buffers_max = buffers > 64 ? buffers : 0,
        .no_stall_report = true, /* filling and pinning gigabytes of buffers takes its time */
    };
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

int bench_run_try(const struct bench_plan *plan)
{
    struct torc_config config = configure(plan);
    config.keep_signals = true; /* the caller holds them meanwhile */
    return torc_run(&config, nothing, NULL);
}

static int init_run(struct bench_run *run, const struct bench_plan *plan)
{
    unsigned count = plan->instance_count;
    *run = (struct bench_run){.plan = plan};
    run->stats = calloc(count, sizeof(struct bench_stats *));
    run->running = calloc(count, sizeof(*run->running));
    for (unsigned i = 0; run->stats && i < count; i++) {
        run->stats[i] = malloc(sizeof(struct bench_stats));
        if (!run->stats[i])
            break;
        bench_stats_init(run->stats[i]);
        run->stats[i]->jobs = 1;
    }
    if (run->stats && run->running && run->stats[count - 1])
        return 0;
    fprintf(stderr, "torc bench: no memory for the statistics of %u jobs\n", count);
    return -ENOMEM;
}

int bench_run(struct bench_run *run, const struct bench_plan *plan)
{
    int err = init_run(run, plan);
    if (err)
        return err;
    struct torc_config config = configure(plan);
    run->env = (struct bench_engine_env){begins, run, config.ring_entries};
    err = torc_run(&config, run_all, run);
    return err < 0 ? err : run->error;
}

void bench_run_deinit(struct bench_run *run)
{
    for (unsigned i = 0; run->stats && i < run->plan->instance_count; i++)
        free(run->stats[i]);
    free(run->stats);
    free(run->running);
    run->stats = NULL;
    run->running = NULL;
}
