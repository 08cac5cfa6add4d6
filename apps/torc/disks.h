/* SPDX-License-Identifier: MIT
 *
 * What the disks below the files of a run did meanwhile, by the kernel's count (/sys/dev/block/NUMBER/stat): the disk
 * of a partition, and the disks that a mapped or RAID device is made of.
 */
#ifndef TORC_APPS_DISKS_H
#define TORC_APPS_DISKS_H

#include "apps/torc/plan.h"

enum { BENCH_DISKS_MAX = 64 };

struct bench_disk_counts {
    uint64_t ios[BENCH_DIRECTIONS], merges[BENCH_DIRECTIONS], sectors[BENCH_DIRECTIONS];
    uint64_t ticks_ms[BENCH_DIRECTIONS];
    uint64_t busy_ms, queue_ms;
};

struct bench_disk {
    char name[64];
    dev_t number;
    struct bench_disk_counts before, during;
    uint64_t watched_ms;
};

struct bench_disks {
    struct bench_disk items[BENCH_DISKS_MAX];
    unsigned count;
    uint64_t began_ms;
};

/* Finds the disks of PLAN's targets and reads their counts; what can't be read is left out. */
void bench_disks_begin(struct bench_disks *disks, const struct bench_plan *plan, uint64_t now_ms);
/* `during` of each disk. */
void bench_disks_end(struct bench_disks *disks, uint64_t now_ms);
/* Busy time in percent of the time watched. */
double bench_disk_util(const struct bench_disk *disk);

#endif
