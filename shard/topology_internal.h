/* SPDX-License-Identifier: MIT
 *
 * Where a topology comes from, for boot and for tests that make up machines.
 */
#ifndef TORC_SHARD_TOPOLOGY_INTERNAL_H
#define TORC_SHARD_TOPOLOGY_INTERNAL_H

#include "io/kernel_internal.h"
#include "shard/cpu_list_internal.h"
#include "shard/topology.h"

#define TORCI_QUOTA_NONE INT64_MAX

struct torci_topology_source {
    const struct torci_kernel *kernel; /* for the allowed CPUs, for files, and for memory */
    const char *root;                  /* in front of /proc and /sys, for the quota; NULL: "" */
    /* Another machine than hwloc would look at, and never kept for the next load. */
    const char *synthetic, *xml_path;
    bool as_this_machine;   /* the allowed CPUs and the quota come from the kernel even so */
    bool only_this_machine; /* what the environment says of another one is passed over */
    bool no_hwloc;          /* as if hwloc could find out nothing */
};

/* As torc_topology_load(). */
int torci_topology_load(const struct torci_topology_source *source,
                        const struct torc_topology **topology) TORC_MUST_CHECK;

/* The CPUs on which the calling thread may run. 0 or a negative errno. */
int torci_cpus_allowed(const struct torci_kernel *kernel, struct torci_cpus *cpus) TORC_MUST_CHECK;

/* Thousandths of a CPU; TORCI_QUOTA_NONE: as many as there are. */
int64_t torci_quota_milli(const struct torci_kernel *kernel, const char *root);

#endif
