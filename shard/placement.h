/* SPDX-License-Identifier: MIT
 *
 * Where shards go: from torc_config's shards, cpus, placement, near and place to a CPU for each. torc_run() does this
 * by itself; here it can be asked for beforehand. docs/guide.md has the policies in words.
 *
 * What wins: place, then cpus, then near, then placement. How many shards: config.shards; else as many as CPUs are named in
 * cpus; else one for each allowed CPU (core, near CPU) that the policy knows, but not more than the whole CPUs of the
 * control group's quota, and one at least. Shards are numbered by their CPUs' numbers; the near ones go first with near;
 * with cpus and place the order is the caller's. With more shards than CPUs the CPUs are used again in turn.
 */
#ifndef TORC_SHARD_PLACEMENT_H
#define TORC_SHARD_PLACEMENT_H

#include "io/config.h"
#include "shard/topology.h"

TORC_BEGIN_DECLS

enum { TORC_PLACE_NOTE_BYTES = 512 };

/* The CPUs that torc_run(CONFIG) in this environment would give its shards on TOPOLOGY: the first CPUS_MAX of them in CPUS, shard 0 first. NOTE gets the lines
 * that torc_run() would print, with newlines between: why there are fewer shards than CPUs, or more, or, on error, what
 * is wrong; "" if there is nothing to say. NULL: not wanted. How many shards there are, or -EINVAL: a list that is none,
 * CPUs that are not allowed, what place
 * returned, a variable of the environment (its line goes to standard error); -ENODEV, -ENOENT: near names nothing; -ENOMEM; the error of place. Any
 * thread; allocates while it runs, and calls place back. */
int torc_topology_place(const struct torc_topology *topology, const struct torc_config *config,
                        int *cpus, uint32_t cpus_max, char *note) TORC_MUST_CHECK;

/* "all", "spread", "pack", "cores" or "near:DEVICE", as in TORC_PLACEMENT. NEAR is then DEVICE, inside TEXT, else NULL. 0,
 * or -EINVAL for anything else. Any thread. */
int torc_placement_parse(const char *text, enum torc_placement *placement,
                         const char **near) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
