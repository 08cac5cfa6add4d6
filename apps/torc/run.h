/* SPDX-License-Identifier: MIT
 *
 * A whole run: the waves of jobs one after another, the copies of a wave as tasks on the shards that the plan gives
 * them, a progress line meanwhile, and at the end what each copy has measured.
 *
 *     on every shard, for each wave:   set up its copies -> start gate -> they measure -> end gate
 *
 * At the start gate all copies of the wave wait for each other, on whatever shards they are, so that none measures while
 * another still fills its buffers. What a copy measures belongs to its shard until the run is over; others see no more
 * than its struct bench_live. An error of a job ends that copy, as in fio; one of a shard ends all.
 */
#ifndef TORC_APPS_RUN_H
#define TORC_APPS_RUN_H

#include "apps/torc/engine.h"
#include "apps/torc/gate.h"
#include "apps/torc/usage.h"

struct bench_wave {
    uint32_t left; /* atomic: copies that have not ended */
    /* What the kernel's helpers had used when it began, and when the last copy had ended. */
    uint64_t helpers_before_ns, helpers_after_ns;
};

struct bench_run {
    const struct bench_plan *plan;
    struct bench_stats **stats;       /* one an instance, its shard's */
    struct bench_live *live;          /* one an instance */
    struct bench_worker *workers;     /* one an instance, its shard's */
    struct bench_usage_meter *meters; /* one a shard */
    struct bench_wave *waves;
    unsigned wave_count;
    struct bench_gates gates; /* two a wave: its start, its end */
    struct bench_engine_env env;
    bool began; /* atomic: something was measured */
    int error;  /* atomic: the first one of a job */
};

/* Whether PLAN can have its rings; if not, one line has been said. */
int bench_run_try(const struct bench_plan *plan);
/* Runs all of PLAN. 0, or the first job's error (said already), or that of the executors (said already). RUN->stats
 * is filled in any case. */
int bench_run(struct bench_run *run, const struct bench_plan *plan);
void bench_run_deinit(struct bench_run *run);

/* In progress.c: a task that writes one line a second to standard error until it is cancelled. ARG is the run. */
int bench_progress(void *arg);
bool bench_progress_is_wanted(const struct bench_spec *spec);

#endif
