/* SPDX-License-Identifier: MIT
 *
 * A whole run: the waves of jobs one after another, all jobs of a wave as tasks of one executor, a progress line
 * meanwhile, and at the end what each copy has measured.
 */
#ifndef TORC_APPS_RUN_H
#define TORC_APPS_RUN_H

#include <sys/resource.h>

#include "apps/torc/engine.h"

struct bench_run {
    const struct bench_plan *plan;
    struct bench_stats **stats; /* one an instance */
    bool *running;              /* which are at work now */
    unsigned running_count;
    unsigned wave;
    struct rusage charged; /* processor time up to here has been divided among the jobs */
    struct bench_engine_env env;
    bool began; /* something was measured */
    int error;
};

/* Whether PLAN can have its ring; if not, one line has been said. */
int bench_run_try(const struct bench_plan *plan);
/* Runs all of PLAN. 0, or the first job's error (said already), or that of the executor (said already). RUN->stats
 * is filled in any case. */
int bench_run(struct bench_run *run, const struct bench_plan *plan);
void bench_run_deinit(struct bench_run *run);

/* In progress.c: a task that writes one line a second to standard error until it is cancelled. ARG is the run. */
int bench_progress(void *arg);
bool bench_progress_is_wanted(const struct bench_spec *spec);

#endif
