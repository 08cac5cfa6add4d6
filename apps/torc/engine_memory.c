/* SPDX-License-Identifier: MIT */
#include "apps/torc/engine_memory.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

static int set_policy(const struct bench_memory *memory, const struct bench_instance *in)
{
    const uint64_t *nodes = in->memory_nodes ? in->memory_nodes->words : NULL;
    return syscall(SYS_mbind, memory->start, memory->bytes, MODES[in->job->memory_mode], nodes,
                   nodes ? NODE_BITS : 0, 0)
               ? -errno
               : 0;
}

int bench_memory_map(struct bench_memory *memory, const struct bench_instance *in, size_t bytes)
{
    *memory = (struct bench_memory){NULL, 0};
    if (in->job->memory_mode == BENCH_MEMORY_DEFAULT)
        return 0;
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        fprintf(stderr, "torc bench: job \"%s\": no memory for %zu bytes of buffers\n",
                in->job->name, bytes);
        return -ENOMEM;
    }
    *memory = (struct bench_memory){start, bytes};
    (void)madvise(start, bytes, MADV_HUGEPAGE); /* as the arenas' buffers are */
    int err = set_policy(memory, in);
    if (err) {
        fprintf(
            stderr,
            "torc bench: job \"%s\": the kernel refuses its numa_mem_policy (%s): leave it out\n",
            in->job->name, strerror(-err));
        bench_memory_unmap(memory);
    }
    return err;
}

void bench_memory_unmap(struct bench_memory *memory)
{
    if (memory->start)
        munmap(memory->start, memory->bytes);
    *memory = (struct bench_memory){NULL, 0};
}
