/* SPDX-License-Identifier: MIT */
#include "apps/torc/engine_memory.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NODE_BITS = BENCH_NUMBERS_MAX + 1 }; /* the kernel takes one off */

static const int MODES[] = {
    [BENCH_MEMORY_DEFAULT] = MPOL_DEFAULT,
    [BENCH_MEMORY_LOCAL] = MPOL_LOCAL,
    [BENCH_MEMORY_BIND] = MPOL_BIND,
    [BENCH_MEMORY_PREFER] = MPOL_PREFERRED,
    [BENCH_MEMORY_INTERLEAVE] = MPOL_INTERLEAVE,
};

static int set_policy(int mode, const uint64_t *nodes)
{
    bool bare = mode == MPOL_DEFAULT || mode == MPOL_LOCAL;
    return syscall(SYS_set_mempolicy, mode, bare ? NULL : nodes, bare ? 0 : NODE_BITS) ? -errno : 0;
}

int bench_memory_begin(struct bench_memory_policy *before, const struct bench_instance *in)
{
    const struct bench_job *job = in->job;
    *before = (struct bench_memory_policy){.changed = job->memory_mode != BENCH_MEMORY_DEFAULT};
    if (!before->changed)
        return 0;
    int err =
        syscall(SYS_get_mempolicy, &before->mode, before->nodes, NODE_BITS, NULL, 0) ? -errno : 0;
    if (!err)
        err =
            set_policy(MODES[job->memory_mode], in->memory_nodes ? in->memory_nodes->words : NULL);
    if (err) {
        before->changed = false;
        fprintf(
            stderr,
            "torc bench: job \"%s\": the kernel refuses its numa_mem_policy (%s): leave it out\n",
            job->name, strerror(-err));
    }
    return err;
}

void bench_memory_end(const struct bench_memory_policy *before)
{
    if (before->changed)
        (void)set_policy(before->mode, before->nodes);
}
