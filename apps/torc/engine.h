/* SPDX-License-Identifier: MIT
 *
 * One copy of a job at work: a task that keeps iodepth operations in flight and measures each.
 *
 *          ┌── fill: free slots become operations, iodepth_batch at a time ──┐
 *     free slots                                                       in flight
 *          └── reap: latencies are recorded, one clock read a batch ── done ─┘
 *
 * Nothing is allocated and no division made between the first operation and the last. Two clock reads a turn: when a
 * batch of operations has been prepared (issue: it goes to the kernel now) and when the task runs again (reap; what is
 * prepared next starts then). The issue stamp lies before the system call, so that an operation which completes inside
 * of it still gets its whole latency.
 */
#ifndef TORC_APPS_ENGINE_H
#define TORC_APPS_ENGINE_H

#include "apps/torc/plan.h"
#include "apps/torc/stats.h"

/* What the engine needs of its run. */
struct bench_engine_env {
    /* All is set up: waits for the others of the wave. In a task. 0, or -ECANCELED: interrupted meanwhile. */
    int (*ready)(void *context, const struct bench_instance *instance);
    /* The measured part begins now: at the start, and again when ramp_time is over. */
    void (*begins)(void *context, const struct bench_instance *instance);
    void *context;
    uint32_t ring_entries; /* of the executor's submission queue */
};

/* How far a copy is, for any thread to read. All fields are atomic and relaxed: each stands for itself. A line of its
 * own, so that whoever reads it disturbs nobody else. */
struct bench_live {
    _Alignas(64) uint64_t ios; /* since began_ns */
    uint64_t bytes, began_ns;
    bool running;
};

/* Opens the files, runs INSTANCE to its end (or until the task is cancelled: then what was measured counts) and closes
 * them. In a task. 0 or the first error, after one line on standard error; STATS is filled in any case. */
int bench_engine_run(const struct bench_instance *instance, const struct bench_engine_env *env,
                     struct bench_stats *stats, struct bench_live *live);

#endif
