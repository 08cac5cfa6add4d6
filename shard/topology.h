/* SPDX-License-Identifier: MIT
 *
 * The machine as far as placing shards goes: its CPUs in their places, which of them this process may use, and how much
 * CPU time. Read once, never changed; a snapshot belongs to whoever loaded it and may be read by any thread.
 *
 *     package > node > L3 group > core > thread        nesting is usual, but a node may hold several packages, and an
 *                                                      L3 cache may reach over two nodes
 *
 * The structure is hwloc's business. Where hwloc knows nothing (no /sys), the CPUs that the kernel allows are there as
 * one package with one node.
 */
#ifndef TORC_SHARD_TOPOLOGY_H
#define TORC_SHARD_TOPOLOGY_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torc_topology_cpu {
    uint32_t cpu; /* the kernel's number */
    uint32_t package, core;
    uint32_t node;   /* of the memory next to it: index into nodes */
    uint32_t l3;     /* index into l3s */
    uint32_t thread; /* of its core: 0 for the first one */
    uint32_t kind;   /* of its core: 0 for the most frugal kind, more for faster ones */
    bool is_allowed; /* to this process */
};

struct torc_topology_node {
    uint32_t number; /* the kernel's */
    uint64_t memory_bytes;
};

/* CPUs that share a last-level cache. Where a machine names none, the CPUs of a node that have none are a group. */
struct torc_topology_l3 {
    uint64_t size_bytes; /* 0: unknown */
    bool is_cache;       /* false: the CPUs of a node that have none */
};

struct torc_topology {
    const struct torc_topology_cpu *cpus; /* neighbours stand next to each other */
    const struct torc_topology_node *nodes;
    const struct torc_topology_l3 *l3s;
    uint32_t cpu_count, allowed_count, core_count, package_count, kind_count;
    uint32_t node_count; /* with those that have memory only */
    uint32_t l3_count;
    int64_t
        quota_milli; /* CPU time granted by the control group, in thousandths of a CPU; 0: no quota */
    bool is_this_machine; /* false: HWLOC_SYNTHETIC or HWLOC_XMLFILE describe another one */
    bool is_known;        /* false: hwloc had nothing, only the allowed CPUs are here */
};

/* Reads the machine: its structure once a process (0.2 ms with 2 CPUs), what is allowed each time
 * (25 us). Allocates, any
 * thread. 0, or -ENOMEM, or the error of asking for the allowed CPUs. On error nothing is left to be freed. */
int torc_topology_load(const struct torc_topology **topology) TORC_MUST_CHECK;
/* NULL is nothing. */
void torc_topology_free(const struct torc_topology *topology);

TORC_END_DECLS

#endif
