/* SPDX-License-Identifier: MIT
 *
 * Which CPUs a policy takes when it needs fewer than there are. Pure: no kernel, no memory of its own.
 */
#ifndef TORC_SHARD_CHOOSE_INTERNAL_H
#define TORC_SHARD_CHOOSE_INTERNAL_H

#include "io/config.h"
#include "shard/topology.h"

/* An allowed CPU. */
struct torci_candidate {
    const struct torc_topology_cpu *at;
    uint32_t position; /* in the machine, counted from where the choice is to begin */
    uint32_t rank;     /* among the allowed CPUs of its core: 0 for the first one */
    uint32_t tier;     /* how far it is from where the shards are to be: 0 is there */
    bool is_taken;
};

/* How many CPUs of a package, node or L3 group are taken already; for TORC_PLACE_SPREAD. All zero. */
struct torci_tally {
    uint32_t *of_package, *of_node, *of_l3;
};

/* Marks COUNT of the N candidates as taken, COUNT <= N.
 *
 *     all, cores   whole cores before siblings, fast kinds before frugal ones, then near ones, then in machine's order
 *     near         the same, but the near ones first of all
 *     spread       whole cores and fast kinds first, too; among them from the package, the node and the L3 group from
 *                  which the fewest have been taken
 *     pack         as few packages, then nodes, then L3 groups as it takes, each filled up with siblings and all before
 *                  the next one is begun; of those that suffice the one with the fastest CPUs, then the nearest, then the
 *                  smallest */
void torci_choose(struct torci_candidate *candidates, uint32_t n, enum torc_placement policy,
                  uint32_t count, const struct torci_tally *tally);

#endif
