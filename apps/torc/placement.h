/* SPDX-License-Identifier: MIT
 *
 * Which copy of which job runs on which CPU, and so on which shard.
 *
 * A job that names CPUs or nodes gets those; an executor stays on its CPU, so where fio lets threads wander over a set,
 * the copies are dealt out over it here. All others go where the library would place its shards. Within a wave a
 * copy goes to that of its CPUs which has the fewest copies so far. A run has a shard for each CPU that some wave uses.
 */
#ifndef TORC_APPS_PLACEMENT_H
#define TORC_APPS_PLACEMENT_H

#include "apps/torc/plan.h"

/* What the plan needs to know of a machine. A plain value: tests make up their own. */
struct bench_machine {
    struct bench_numbers cpus; /* that this process may use */
    /* Where shards go when nobody says otherwise, the first one first; each is in `cpus`. */
    unsigned order[BENCH_NUMBERS_MAX];
    unsigned order_count;
    struct bench_numbers nodes, memory_nodes; /* NUMA nodes; those that have memory */
    uint16_t node_of[BENCH_NUMBERS_MAX];
};

/* The machine that we run on, with an order of WANTED CPUs, or fewer. A negative errno and spec->error if it can't be
 * read. */
int bench_machine_read(struct bench_machine *machine, unsigned wanted, struct bench_spec *spec);
/* The copies of the largest wave. */
unsigned bench_plan_largest_wave(const struct bench_plan *plan);

#endif
