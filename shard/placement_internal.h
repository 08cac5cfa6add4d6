/* SPDX-License-Identifier: MIT
 *
 * Which shard runs where, as boot asks for it.
 */
#ifndef TORC_SHARD_PLACEMENT_INTERNAL_H
#define TORC_SHARD_PLACEMENT_INTERNAL_H

#include "io/config.h"
#include "io/kernel_internal.h"

/* Where a shard runs. */
struct torci_seat {
    int cpu;
    int node;    /* NUMA node of that CPU; negative: not known */
    bool shared; /* other shards are on the same CPU: never spin */
};

/* As many seats as there are to be shards. What can't be had is a negative errno and one line. The caller gives them
 * back. */
int torci_place(const struct torci_kernel *kernel, const struct torc_config *config,
                struct torci_seat **seats, uint32_t *count) TORC_MUST_CHECK;
void torci_place_free(const struct torci_kernel *kernel, struct torci_seat *seats, uint32_t count);

#endif
