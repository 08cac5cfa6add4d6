/* SPDX-License-Identifier: MIT
 *
 * What a program may choose when it starts torc (shard/run.h). Zero means the default everywhere, so {0} and a NULL
 * config are the same. What is left zero and has a variable in brackets is taken from the environment, which is read
 * once, at the start.
 */
#ifndef TORC_IO_CONFIG_H
#define TORC_IO_CONFIG_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torci_kernel;
struct torc_topology;

/* Which CPUs get a shard, and in which order: shard/placement.h. */
enum torc_placement {
    TORC_PLACE_ALL,    /* each allowed CPU; of fewer, whole cores first, and fast ones */
    TORC_PLACE_SPREAD, /* as far from each other as can be: packages, nodes, L3 groups in turn */
    TORC_PLACE_PACK,   /* as near to each other as can be, siblings included */
    TORC_PLACE_CORES,  /* one a core: no SMT siblings */
    TORC_PLACE_NEAR,   /* the CPUs next to torc_config.near */
};

/* Chooses COUNT CPUs itself, for shard 0 first: writes their numbers to CPUS. How many it has chosen, or a negative errno,
 * which ends the start. */
typedef int torc_place_fn(const struct torc_topology *topology, unsigned count, int *cpus,
                          void *arg);

/* What the memory of a shard is made of: shard/alloc.h. */
enum torc_hugepages {
    TORC_HUGEPAGES_AUTO,        /* reserved ones if there are enough, else transparent ones */
    TORC_HUGEPAGES_NONE,        /* pages of the usual size */
    TORC_HUGEPAGES_TRANSPARENT, /* where the kernel finds some */
    TORC_HUGEPAGES_RESERVED,    /* from vm.nr_hugepages, or the start fails */
};

struct torc_config {
    /* The set of shards. */
    uint32_t shards;  /* how many [TORC_SHARDS]; default: one a CPU, within the cgroup's quota */
    const char *cpus; /* their CPUs, "0-3,8" [TORC_CPUS]; default: by placement */
    enum torc_placement
        placement;    /* [TORC_PLACEMENT: all, spread, pack, cores, near:DEVICE]; default: all */
    const char *near; /* a block device, a file or a network interface, for TORC_PLACE_NEAR */
    torc_place_fn *place; /* goes before placement */
    void *place_arg;
    uint64_t drain_ns; /* how long after a signal tasks may take to end; default 10 s */
    const char *
        counters; /* file that others may watch the counters in [TORC_COUNTERS], "auto" for one that
                             torc info --live finds; default: none */

    /* Each shard's memory. */
    uint64_t arena_bytes; /* address space [TORC_ARENA: bytes]; default: plenty */
    enum torc_hugepages
        hugepages; /* [TORC_HUGEPAGES: auto, none, transparent, reserved]; default: auto */
    bool prefault; /* touch what is dense at the start */

    /* Each shard's executor. */
    uint32_t tasks_max;          /* live tasks; default 1,048,576 */
    uint32_t stack_bytes;        /* of a task that asks for nothing else; default 64 KiB */
    uint32_t ring_entries;       /* submission queue; default 256 */
    uint32_t completion_entries; /* completion queue; default 4 x ring_entries, at least 4,096 */
    uint32_t blocking_threads;   /* most threads for torc_blocking; default 4 */
    uint32_t buffers_max;        /* slots for registered buffers; default 64 */
    uint32_t files_max; /* slots for direct descriptors; default 1,024. Where connections are
                                    served by direct ones, seven eighths are theirs */
    uint64_t quota_ns;  /* how long tasks run before the loop looks at the ring; default 0.5 ms */
    uint64_t
        spin_ns; /* how long an idle executor looks for events before it sleeps [TORC_SPIN: ns]; default 0, but
                    where few messages come over connections up to 50 us, as long as that pays. Never
                    on a CPU that has several shards */
    bool no_spin;     /* not even there [TORC_SPIN: off] */
    uint64_t park_ns; /* the longest sleep; default: until there is an event */
    uint64_t
        stall_ns; /* CPU time without a switch after which a task is reported; default 100 ms */
    bool
        keep_signals; /* leave SIGINT and SIGTERM alone; by default they start an orderly shutdown */
    bool no_stall_report;
    const struct torci_kernel *kernel; /* of tests and simulators; default: Linux */
};

TORC_END_DECLS

#endif
