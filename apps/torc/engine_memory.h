/* SPDX-License-Identifier: MIT
 *
 * numa_mem_policy: memory that the calling thread touches for the first time between begin and end lies where the job
 * wants it. No task switch in between: the policy is the thread's.
 */
#ifndef TORC_APPS_ENGINE_MEMORY_H
#define TORC_APPS_ENGINE_MEMORY_H

#include "apps/torc/plan.h"

/* The policy that the thread had. */
struct bench_memory_policy {
    int mode;
    uint64_t nodes[BENCH_NUMBERS_WORDS];
    bool changed;
};

/* 0, or a negative errno after one line on standard error: nothing has changed then. */
int bench_memory_begin(struct bench_memory_policy *before, const struct bench_instance *instance);
void bench_memory_end(const struct bench_memory_policy *before);

#endif
