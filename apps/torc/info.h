/* SPDX-License-Identifier: MIT
 *
 * What `torc info` knows: one struct a subject, each filled in by the file that is named after it, then turned into
 * hints and printed as text or as JSON. A number that can't be had is INFO_UNKNOWN, a text is empty: nothing here
 * fails, because a report of what could be found out is worth more than none.
 *
 * ROOT is put in front of /proc and /sys: "" here, a made-up machine in the tests.
 */
#ifndef TORC_APPS_INFO_H
#define TORC_APPS_INFO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "apps/torc/info_arenas.h"

struct torc_ring_info;

enum {
    INFO_UNKNOWN = -1,
    INFO_TEXT_BYTES = 128,
    INFO_MOUNT_BYTES = 256,
    INFO_MOUNTS_MAX = 16,
    INFO_DEVICES_MAX = 512,
    INFO_HINT_BYTES = 384,
    INFO_HINTS_MAX = 32,
};
/* Limits that are none. */
#define INFO_UNLIMITED INT64_MAX

struct info_machine {
    char system[INFO_TEXT_BYTES], release[INFO_TEXT_BYTES], architecture[INFO_TEXT_BYTES];
    char cpu[INFO_TEXT_BYTES]; /* its model */
    int64_t packages, cores, threads, numa_nodes;
    int64_t l3_count, l3_bytes; /* of the first one */
    int64_t allowed;
    char allowed_cpus[INFO_TEXT_BYTES];
    int64_t quota_milli; /* thousandths of a CPU; INFO_UNLIMITED: no quota */
    int64_t shards;      /* that torc_run() starts if nothing else is said */
    int64_t memory_bytes;
};

struct info_limits {
    int64_t locked_soft, locked_hard; /* bytes that may be pinned */
    bool may_lock_more;               /* CAP_IPC_LOCK: the limit is not enforced */
    int64_t files_soft, files_hard;
    int64_t uring_disabled; /* the sysctl's value */
    int64_t maps_max;
    bool has_guard_markers; /* guard pages need no mapping each */
    int64_t huge_page_bytes, huge_pages, huge_pages_free;
    char transparent[32]; /* always, madvise, never */
    char clock[32], clocks[INFO_TEXT_BYTES];
    bool counter_is_trusted; /* the kernel's own clock is the CPU's counter */
};

struct info_device {
    char name[64], driver[32], model[INFO_TEXT_BYTES];
    int64_t size_bytes;
    char scheduler[32], schedulers[INFO_TEXT_BYTES];
    int64_t queue_depth, hardware_queues; /* depth of each of them */
    int64_t rotational, read_only;
    char write_cache[16]; /* back, through */
    int64_t fua;
    int64_t io_poll, io_poll_delay, poll_queues; /* poll_queues: what the driver was told to make */
    int64_t logical_bytes, physical_bytes, memory_align;
    int64_t io_min_bytes, io_optimal_bytes, io_max_bytes;
    int64_t discard_max_bytes, atomic_write_max_bytes, write_back_latency_us;
    char zoned[32];
    unsigned mount_count; /* at most INFO_MOUNTS_MAX are kept */
    char mounts[INFO_MOUNTS_MAX][INFO_MOUNT_BYTES];
};

struct info_devices {
    bool visible; /* there is a /sys/block */
    unsigned count;
    struct info_device *items; /* by name; on the heap */
};

/* What is missing, and the command or setting that mends it. */
struct info_hint {
    char what[INFO_HINT_BYTES], mend[INFO_HINT_BYTES];
};

struct info {
    struct info_machine machine;
    const struct torc_ring_info *ring;
    struct info_limits limits;
    struct info_arenas arenas;
    struct info_devices devices;
    unsigned hint_count;
    struct info_hint hints[INFO_HINTS_MAX];
};

void info_machine_find(struct info_machine *machine, const char *root);
void info_limits_find(struct info_limits *limits, const char *root);
/* False: out of memory. */
bool info_devices_find(struct info_devices *devices, const char *root);
void info_devices_free(struct info_devices *devices);
/* From what is found to info->hints, the gravest first. */
void info_hints_find(struct info *info);

struct info_style {
    bool colour, all;
    unsigned width; /* columns */
};
void info_print_text(const struct info *info, const struct info_style *style, FILE *out);
void info_print_json(const struct info *info, FILE *out);

#endif
