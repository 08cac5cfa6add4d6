/* SPDX-License-Identifier: MIT
 *
 * numa_mem_policy: memory for a copy's buffers on the nodes that its job names. Without that option buffers come from the
 * shard's arena.
 */
#ifndef TORC_APPS_ENGINE_MEMORY_H
#define TORC_APPS_ENGINE_MEMORY_H

#include "apps/torc/plan.h"

struct bench_memory {
    void *start; /* NULL: none was asked for */
    size_t bytes;
};

/* At least BYTES for INSTANCE, untouched. 0, or a negative errno after one line on standard error: nothing is held. */
int bench_memory_map(struct bench_memory *memory, const struct bench_instance *instance,
                     size_t bytes);
void bench_memory_unmap(struct bench_memory *memory);

#endif
