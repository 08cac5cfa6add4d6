/* SPDX-License-Identifier: MIT
 *
 * What the files of torc-micro share.
 */
#ifndef TORC_BENCH_MICRO_H
#define TORC_BENCH_MICRO_H

#include "core/exec_internal.h"
#include "torc.h"

enum { MICRO_DEPTH_MAX = 4096, MICRO_BLOCK = 4096 };

struct micro_options {
    const char *path, *cpus;
    unsigned depth, batch;
    double seconds;
};
extern struct micro_options micro;

void micro_die(const char *what, int err) TORC_NORETURN;
void micro_spawn(struct torc_scope *scope, torc_task_fn *fn, void *arg);
void micro_join(struct torc_scope *scope);
/* CPU time of the whole process, the kernel's workers for it included. */
uint64_t micro_cpu_ns(void);

void micro_nop(void);
void micro_nop1(void);
void micro_read(void);
void micro_read_op(void);
void micro_xchan(void);
void micro_alloc(void);
void micro_alloc_remote(void);
void micro_xchan_copy(void);
void micro_call(void);
void micro_call_park(void);
void micro_turn(void);

#endif
