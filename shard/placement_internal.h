/* SPDX-License-Identifier: MIT
 *
 * Placement for boot.
 */
#ifndef TORC_SHARD_PLACEMENT_INTERNAL_H
#define TORC_SHARD_PLACEMENT_INTERNAL_H

#include "shard/placement.h"
#include "shard/topology_internal.h"

struct torci_seat {
    int cpu;
    int node;    /* to bind memory to; negative: to none, the kernel knows best */
    bool shared; /* several shards have this CPU: they must not spin */
};

/* A seat for each shard of CONFIG, which has what the environment says in it already; torci_place_free() gives them back.
 * 0, or a negative errno after one line to kernel->host.report. One shard without a wish has the CPU -1: the first one
 * that is allowed. */
int torci_place(const struct torci_kernel *kernel, const struct torc_config *config,
                struct torci_seat **seats, uint32_t *count) TORC_MUST_CHECK;
void torci_place_free(const struct torci_kernel *kernel, struct torci_seat *seats, uint32_t count);

/* The same on a machine from SOURCE. */
int torci_place_on(const struct torci_topology_source *source, const struct torc_config *config,
                   struct torci_seat **seats, uint32_t *count) TORC_MUST_CHECK;

#endif
