/* SPDX-License-Identifier: MIT
 *
 * Seats: the CPUs that the process may use, in their order.
 */
#include "shard/placement_internal.h"

#include <errno.h>
#include <stdio.h>

enum { CPUS_MAX = 8192, LINE_MAX = 256 };

struct allowed {
    uint64_t words[CPUS_MAX / 64];
    uint32_t count;
};

static int find_allowed(const struct torci_kernel *kernel, struct allowed *allowed)
{
    *allowed = (struct allowed){.count = 0};
    long bytes =
        TORCI_CALL(kernel, SYS_sched_getaffinity, 0, sizeof allowed->words, (long)allowed->words);
    for (size_t i = 0; bytes > 0 && i < CPUS_MAX / 64; i++)
        for (uint64_t left = allowed->words[i]; left; left &= left - 1)
            allowed->count++;
    return bytes < 0 ? (int)bytes : 0;
}

static int next_cpu(const struct allowed *allowed, int cpu)
{
    do
        cpu = (cpu + 1) % CPUS_MAX;
    while (!(allowed->words[cpu / 64] >> cpu % 64 & 1));
    return cpu;
}

int torci_place(const struct torci_kernel *kernel, const struct torc_config *config,
                struct torci_seat **seats, uint32_t *count)
{
    struct allowed allowed = {.count = 1, .words = {1}};
    bool anywhere = config->shards == 1 && !config->cpus; /* nothing to be found out */
    int err = anywhere ? 0 : find_allowed(kernel, &allowed);
    if (err)
        return err;
    *count = config->shards ? config->shards : allowed.count;
    *seats = (struct torci_seat *)kernel->host.alloc(kernel->host.context, *count * sizeof **seats);
    if (!*seats) {
        kernel->host.report(kernel->host.context, "torc: out of memory");
        return -ENOMEM;
    }
    for (uint32_t i = 0, cpu = UINT32_MAX; i < *count; i++) {
        cpu = (uint32_t)next_cpu(&allowed, (int)cpu);
        (*seats)[i] = (struct torci_seat){
            .cpu = anywhere ? -1 : (int)cpu, .node = -1, .shared = *count > allowed.count};
    }
    return 0;
}

void torci_place_free(const struct torci_kernel *kernel, struct torci_seat *seats, uint32_t count)
{
    kernel->host.free(kernel->host.context, seats, count * sizeof *seats);
}
