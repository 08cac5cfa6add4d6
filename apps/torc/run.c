/* SPDX-License-Identifier: MIT */
#include "apps/torc/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RING_ENTRIES_MIN = 256,
    RING_ENTRIES_MAX = 32768,
    BUFFERS_MAX = 16384, /* the kernel's limit */
    CPU_LIST_BYTES = 8192,
};

/* What the task of a copy gets. */
struct bench_worker {
    struct bench_run *run;
    unsigned index;
    bool arrived, paying;
    uint64_t started_ns, worked_ns; /* from the start gate on */
};

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const struct bench_instance *instance_of(const struct bench_worker *worker)
{
    return &worker->run->plan->instances[worker->index];
}

static struct bench_worker *worker_of(struct bench_run *run, const struct bench_instance *instance)
{
    return &run->workers[instance - run->plan->instances];
}

static uint64_t helpers_ns(const struct bench_run *run)
{
    return bench_usage_helpers_ns(run->meters, run->plan->shard_count);
}

/* Copies on one shard share its thread: what that has used since the last look is divided evenly among those at work. */
static void charge(struct bench_run *run, unsigned shard)
{
    struct bench_usage_meter *meter = &run->meters[shard];
    struct bench_usage spent = bench_usage_take(meter);
    for (unsigned i = 0; meter->payers && i < run->plan->instance_count; i++)
        if (run->plan->instances[i].shard == shard && run->workers[i].paying)
            bench_usage_add_share(&run->stats[i]->usage, &spent, meter->payers);
}

static void set_paying(struct bench_worker *worker, bool paying)
{
    struct bench_run *run = worker->run;
    unsigned shard = instance_of(worker)->shard;
    charge(run, shard);
    if (paying != worker->paying)
        run->meters[shard].payers += paying ? 1 : -1u;
    worker->paying = paying;
    /* pairs with nothing: the progress line may be late */
    __atomic_store_n(&run->live[worker->index].running, paying, __ATOMIC_RELAXED);
}

static uint32_t start_of(unsigned wave)
{
    return 2 * wave;
}

static uint32_t end_of(unsigned wave)
{
    return 2 * wave + 1;
}

static void keep_first_error(struct bench_run *run, int err)
{
    int none = 0;
    /* read when the shards have ended */
    if (err)
        (void)__atomic_compare_exchange_n(&run->error, &none, err, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED);
}

static void arrive_at_start(struct bench_run *run, unsigned wave)
{
    int arrived = bench_gate_arrive(&run->gates, start_of(wave));
    if (arrived > 0)
        run->waves[wave].helpers_before_ns = helpers_ns(run); /* read when the shards have ended */
    else if (arrived < 0 && arrived != -ECANCELED)
        keep_first_error(run, arrived);
}

static int ready(void *context, const struct bench_instance *instance)
{
    struct bench_worker *worker = worker_of(context, instance);
    worker->arrived = true;
    arrive_at_start(worker->run, instance->job->wave);
    int err = bench_gate_wait(&worker->run->gates, start_of(instance->job->wave));
    worker->started_ns = torc_now_ns();
    return err;
}

static void begins(void *context, const struct bench_instance *instance)
{
    struct bench_worker *worker = worker_of(context, instance);
    struct bench_run *run = worker->run;
    set_paying(worker, true);
    run->stats[worker->index]->usage = (struct bench_usage){0};
    run->stats[worker->index]->started_ms = wall_ms();
    /* read when the shards have ended */
    __atomic_store_n(&run->began, true, __ATOMIC_RELAXED);
}

static int work(void *arg)
{
    struct bench_worker *worker = arg;
    struct bench_run *run = worker->run;
    unsigned wave = instance_of(worker)->job->wave;
    int err = bench_engine_run(instance_of(worker), &run->env, run->stats[worker->index],
                               &run->live[worker->index]);
    if (!worker->arrived)
        arrive_at_start(run, wave);
    if (worker->started_ns)
        worker->worked_ns = torc_now_ns() - worker->started_ns;
    set_paying(worker, false);
    keep_first_error(run, err);
    /* the last one writes; read when the shards have ended */
    if (!__atomic_sub_fetch(&run->waves[wave].left, 1, __ATOMIC_ACQ_REL))
        run->waves[wave].helpers_after_ns = helpers_ns(run);
    return 0; /* the others of the wave go on */
}

static int run_wave(struct bench_run *run, unsigned number, unsigned shard)
{
    struct torc_scope copies;
    int err = 0;
    torc_scope_init(&copies);
    for (unsigned i = 0; i < run->plan->instance_count && !err; i++) {
        const struct bench_instance *in = &run->plan->instances[i];
        struct torc_task_options options = {.name = in->job->name};
        if (in->job->wave == number && in->shard == shard)
            err = torc_spawn_with(&copies, &options, work, &run->workers[i]);
    }
    if (err) {
        fprintf(stderr, "torc bench: the jobs can't be started: %s\n", strerror(-err));
        torc_scope_cancel(&copies);
    }
    arrive_at_start(run, number);
    int failed = torc_scope_join(&copies);
    return err ? err : failed;
}

static int run_waves(struct bench_run *run, unsigned shard)
{
    int err = 0;
    for (unsigned number = 0; number < run->wave_count && !err; number++) {
        err = run_wave(run, number, shard);
        if (!err)
            err = bench_gate_arrive(&run->gates, end_of(number));
        if (err >= 0)
            err = bench_gate_wait(&run->gates, end_of(number));
    }
    return err;
}

/* The first shard also shows how far all are. */
static int run_and_show(struct bench_run *run, unsigned shard)
{
    struct torc_scope progress;
    int err = 0;
    torc_scope_init(&progress);
    if (!shard && bench_progress_is_wanted(run->plan->spec))
        err = torc_spawn(&progress, bench_progress, run);
    if (!err)
        err = run_waves(run, shard);
    torc_scope_cancel(&progress);
    int joined = torc_scope_join(&progress);
    return err ? err : joined;
}

/* By the shard that will write it, so that it lies on that shard's node. */
static int make_stats(struct bench_run *run, unsigned shard)
{
    enum { LINE = 64 };
    size_t bytes = (sizeof(struct bench_stats) + LINE - 1) / LINE * LINE;
    for (unsigned i = 0; i < run->plan->instance_count; i++) {
        if (run->plan->instances[i].shard != shard)
            continue;
        run->stats[i] = aligned_alloc(LINE, bytes);
        if (!run->stats[i]) {
            fputs("torc bench: no memory for the statistics of all jobs\n", stderr);
            return -ENOMEM;
        }
        bench_stats_init(run->stats[i]);
        run->stats[i]->jobs = 1;
    }
    return 0;
}

/* On every shard. */
static int run_shard(void *arg)
{
    struct bench_run *run = arg;
    unsigned shard = torc_shard_id();
    bench_usage_start(&run->meters[shard]);
    bench_gates_enter(&run->gates);
    int err = make_stats(run, shard);
    if (!err)
        err = run_and_show(run, shard);
    /* Interrupted is not failed: what was measured until then is reported. */
    return err == -ECANCELED ? 0 : err;
}

static unsigned count_waves(const struct bench_plan *plan)
{
    return plan->instances[plan->instance_count - 1].job->wave + 1;
}

/* Rings that the deepest wave of any shard fits into, so that no submission is split. LIST: room for the CPUs' text. */
static struct torc_config configure(const struct bench_plan *plan, char list[CPU_LIST_BYTES])
{
    /* As few files as will do: their table must not be larger than RLIMIT_NOFILE. */
    uint32_t files = plan->registered_max ? plan->registered_max : 1, entries = RING_ENTRIES_MIN;
    while (entries < plan->depth_max && entries < RING_ENTRIES_MAX)
        entries *= 2;
    uint32_t buffers = plan->copies_max < BUFFERS_MAX ? plan->copies_max : BUFFERS_MAX;
    return (struct torc_config){
        .shards = plan->shard_count,
        .cpus = bench_numbers_text(&plan->cpus, list, CPU_LIST_BYTES),
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
    char list[CPU_LIST_BYTES];
    struct torc_config config = configure(plan, list);
    config.keep_signals = true; /* the caller holds them meanwhile */
    return torc_run(&config, nothing, NULL);
}

/* At the end of a wave all shards meet, at its start all its copies too. */
static void init_waves(struct bench_run *run)
{
    const struct bench_plan *plan = run->plan;
    for (unsigned i = 0; i < plan->instance_count; i++) {
        run->waves[plan->instances[i].job->wave].left++;
        bench_gate_expect(&run->gates, start_of(plan->instances[i].job->wave), 1);
    }
    for (unsigned wave = 0; wave < run->wave_count; wave++) {
        bench_gate_expect(&run->gates, start_of(wave), plan->shard_count);
        bench_gate_expect(&run->gates, end_of(wave), plan->shard_count);
    }
}

static int init_run(struct bench_run *run, const struct bench_plan *plan)
{
    unsigned count = plan->instance_count;
    *run = (struct bench_run){.plan = plan, .wave_count = count_waves(plan)};
    run->stats = calloc(count, sizeof(struct bench_stats *));
    run->live = aligned_alloc(_Alignof(struct bench_live), count * sizeof(*run->live));
    run->workers = calloc(count, sizeof(*run->workers));
    run->meters = calloc(plan->shard_count, sizeof(*run->meters));
    run->waves = calloc(run->wave_count, sizeof(*run->waves));
    int err = bench_gates_init(&run->gates, 2 * run->wave_count, plan->shard_count);
    if (err || !run->stats || !run->live || !run->workers || !run->meters || !run->waves) {
        fprintf(stderr, "torc bench: no memory for %u jobs\n", count);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        run->workers[i] = (struct bench_worker){.run = run, .index = i};
        run->live[i] = (struct bench_live){0};
    }
    init_waves(run);
    return 0;
}

/* The kernel's helpers worked for all copies of a wave: each gets what its time at work is of the time of all. */
static void charge_helpers(struct bench_run *run)
{
    for (unsigned number = 0; number < run->wave_count; number++) {
        const struct bench_wave *wave = &run->waves[number];
        double used = (double)wave->helpers_after_ns - (double)wave->helpers_before_ns, worked = 0;
        for (unsigned i = 0; i < run->plan->instance_count; i++)
            if (run->plan->instances[i].job->wave == number)
                worked += (double)run->workers[i].worked_ns;
        for (unsigned i = 0; i < run->plan->instance_count && used > 0 && worked > 0; i++)
            if (run->plan->instances[i].job->wave == number)
                run->stats[i]->usage.system_ns +=
                    (uint64_t)(used * (double)run->stats[i]->runtime_ns / worked);
    }
}

int bench_run(struct bench_run *run, const struct bench_plan *plan)
{
    char list[CPU_LIST_BYTES];
    int err = init_run(run, plan);
    if (err)
        return err;
    struct torc_config config = configure(plan, list);
    run->env = (struct bench_engine_env){ready, begins, run, config.ring_entries};
    err = torc_run(&config, run_shard, run);
    if (run->began)
        charge_helpers(run);
    return err < 0 ? err : run->error;
}

void bench_run_deinit(struct bench_run *run)
{
    for (unsigned i = 0; run->stats && i < run->plan->instance_count; i++)
        free(run->stats[i]);
    free(run->stats);
    free(run->live);
    free(run->workers);
    free(run->meters);
    free(run->waves);
    bench_gates_deinit(&run->gates);
    *run = (struct bench_run){.plan = run->plan, .began = run->began};
}
