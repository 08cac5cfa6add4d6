/* SPDX-License-Identifier: MIT
 *
 * From jobs to files: which files and devices a run touches, which part of each, and whether it may. In this order,
 * each step for the whole run before the next begins, so that a refusal comes before anything has been changed:
 *
 *     bench_plan_make     names and sizes; looks (stat), touches nothing      plan.c
 *     bench_plan_place    which copy runs on which CPU                        placement.c
 *     bench_plan_check    may the devices be written?                         safety.c
 *     bench_plan_lay_out  creates and extends regular files                   layout.c
 *     bench_plan_warn     says when reads will not reach the disk             layout.c
 *
 * Regular files are only ever created or extended, never cut; if the run can't begin after all, bench_plan_undo takes
 * that back. Memory comes from the spec's arena.
 */
#ifndef TORC_APPS_PLAN_H
#define TORC_APPS_PLAN_H

#include <sys/types.h>

#include "apps/torc/offsets.h"

/* A file or device of the run; jobs that name the same path share one. */
struct bench_target {
    const char *path;
    const char *first_job; /* that named it, for messages */
    struct bench_target *next;
    uint64_t size_bytes;   /* as it was found */
    uint64_t needed_bytes; /* for all jobs */
    dev_t device;          /* block device: its own number; file: that of the file system */
    int claim; /* descriptor that keeps others from a device that is written; -1: none */
    bool is_device, exists, created, extended;
    bool is_read, is_written;
    bool wants_data; /* must be filled before it is used */
    bool unlink;
};

/* One copy of a job: what the engine runs. */
struct bench_instance {
    const struct bench_job *job;
    unsigned number; /* of this copy, from 0 */
    unsigned shard;  /* that runs it */
    struct bench_target **targets;
    struct bench_span *spans;
    unsigned file_count;
    uint64_t limit_bytes; /* to transfer in one loop */
    uint64_t seed;
    const struct bench_numbers *memory_nodes; /* of numa_mem_policy; NULL: it names none */
};

struct bench_plan {
    struct bench_spec *spec;
    struct bench_target *targets;
    struct bench_instance *instances;
    unsigned instance_count;
    struct bench_numbers cpus; /* of the shards, which are numbered as their CPUs ascend */
    unsigned shard_count;
    struct bench_numbers memory_nodes; /* all that the machine has */
    /* The most that one shard has in one wave: copies, I/Os in flight, registered files. */
    uint32_t copies_max, depth_max, registered_max;
};

struct bench_machine;

/* Errors of all of these: a negative errno, and a line in spec->error that says what to do. */
int bench_plan_make(struct bench_plan *plan, struct bench_spec *spec);
int bench_plan_place(struct bench_plan *plan, const struct bench_machine *machine);
int bench_plan_check(struct bench_plan *plan);
/* -EINTR: SIGINT or SIGTERM, which the caller has blocked, is pending. */
int bench_plan_lay_out(struct bench_plan *plan);
/* Puts the files back to what they were before bench_plan_lay_out, of a run that has not begun. */
void bench_plan_undo(struct bench_plan *plan);
/* Prints to standard error; never fails. */
void bench_plan_warn(const struct bench_plan *plan);
/* Drops claims and removes what the run has created and was asked to remove. */
void bench_plan_deinit(struct bench_plan *plan);

/* Why the block device NUMBER must not be written ("is mounted on /home"), into REASON. Reads /proc and /sys and, when
 * it may, the device. True if there is a reason. */
bool bench_device_in_use(const char *path, dev_t number, char *reason, size_t size);

#endif
