/* SPDX-License-Identifier: MIT
 *
 * The CPUs and NUMA nodes that `torc bench` may choose from.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/torc/placement.h"

/* A list in sysfs; what can't be read is empty. */
static struct bench_numbers read_list(const char *path)
{
    struct bench_numbers set = {{0}};
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    if (file && getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (bench_numbers_parse(line, &set))
            set = (struct bench_numbers){{0}};
    }
    if (file)
        fclose(file);
    free(line);
    return set;
}

static int read_cpus(struct bench_machine *machine, struct bench_spec *spec)
{
    static cpu_set_t sets[BENCH_NUMBERS_MAX / CPU_SETSIZE];
    if (sched_getaffinity(0, sizeof(sets), sets))
        return bench_fail(spec, -errno, "the kernel does not say which CPUs may be used: %s",
                          strerror(errno));
    for (unsigned cpu = 0; cpu < BENCH_NUMBERS_MAX; cpu++)
        if (CPU_ISSET_S(cpu, sizeof(sets), sets)) {
            bench_numbers_add(&machine->cpus, cpu);
            machine->order[machine->order_count++] = cpu;
        }
    return 0;
}

int bench_machine_read(struct bench_machine *machine, struct bench_spec *spec)
{
    memset(machine, 0, sizeof(*machine));
    int err = read_cpus(machine, spec);
    if (err)
        return err;
    machine->nodes = read_list("/sys/devices/system/node/online");
    machine->memory_nodes = read_list("/sys/devices/system/node/has_memory");
    if (!bench_numbers_count(&machine->nodes)) { /* a kernel without NUMA has the one node */
        bench_numbers_add(&machine->nodes, 0);
        bench_numbers_add(&machine->memory_nodes, 0);
    }
    for (unsigned node = 1; node < BENCH_NUMBERS_MAX; node++) {
        if (!bench_numbers_has(&machine->nodes, node))
            continue;
        char path[64];
        snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
        struct bench_numbers cpus = read_list(path);
        for (unsigned cpu = bench_numbers_next(&cpus, 0); cpu < BENCH_NUMBERS_MAX;
             cpu = bench_numbers_next(&cpus, cpu + 1))
            machine->node_of[cpu] = (uint16_t)node;
    }
    return 0;
}
