/* SPDX-License-Identifier: MIT
 *
 * The CPUs and NUMA nodes that `torc bench` may choose from, and those that the library would choose.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/torc/placement.h"
#include "torc.h"

static void copy_topology(struct bench_machine *machine, const struct torc_topology *topology)
{
    for (uint32_t i = 0; i < topology->cpu_count; i++) {
        const struct torc_topology_cpu *cpu = &topology->cpus[i];
        if (!cpu->is_allowed || cpu->cpu >= BENCH_NUMBERS_MAX)
            continue;
        bench_numbers_add(&machine->cpus, cpu->cpu);
        machine->node_of[cpu->cpu] = (uint16_t)topology->nodes[cpu->node].number;
    }
    for (uint32_t i = 0; i < topology->node_count; i++) {
        const struct torc_topology_node *node = &topology->nodes[i];
        if (node->number >= BENCH_NUMBERS_MAX)
            continue;
        bench_numbers_add(&machine->nodes, node->number);
        if (node->memory_bytes)
            bench_numbers_add(&machine->memory_nodes, node->number);
    }
    if (!bench_numbers_count(&machine->memory_nodes)) /* nobody knows: the kernel will say */
        machine->memory_nodes = machine->nodes;
}

/* The library's line, without the name that ours begin with; it has said what is wrong with a variable itself. */
static int fail_placement(struct bench_spec *spec, int err, const char *note)
{
    static const char PREFIX[] = "torc: ";
    if (!*note)
        return bench_fail(spec, err, "the shards can't be placed: see the line above");
    return bench_fail(spec, err, "%s",
                      strncmp(note, PREFIX, strlen(PREFIX)) ? note : note + strlen(PREFIX));
}

/* The library decides how many shards there may be, and once more which CPUs so many of them get. */
static int choose(struct bench_machine *machine, const struct torc_topology *topology,
                  unsigned wanted, struct bench_spec *spec)
{
    static int cpus[BENCH_NUMBERS_MAX];
    char note[TORC_PLACE_NOTE_BYTES];
    int count = torc_topology_place(topology, &(struct torc_config){0}, cpus, 1, note);
    if (count > 0 && (unsigned)count < wanted && *note)
        fprintf(stderr, "%s\n", note);
    if (count > 0 && (unsigned)count > wanted)
        count = (int)wanted;
    if (count > BENCH_NUMBERS_MAX)
        count = BENCH_NUMBERS_MAX;
    if (count > 0)
        count = torc_topology_place(topology, &(struct torc_config){.shards = (uint32_t)count},
                                    cpus, BENCH_NUMBERS_MAX, note);
    if (count < 0)
        return fail_placement(spec, count, note);
    for (int i = 0; i < count; i++)
        if (cpus[i] >= 0 && bench_numbers_has(&machine->cpus, (unsigned)cpus[i]))
            machine->order[machine->order_count++] = (unsigned)cpus[i];
    return machine->order_count ? 0 : bench_fail(spec, -ENODEV, "no CPU to run on was found");
}

int bench_machine_read(struct bench_machine *machine, unsigned wanted, struct bench_spec *spec)
{
    memset(machine, 0, sizeof(*machine));
    const struct torc_topology *topology;
    int err = torc_topology_load(&topology);
    if (err)
        return bench_fail(spec, err, "the machine's CPUs can't be read: %s", strerror(-err));
    copy_topology(machine, topology);
    err = choose(machine, topology, wanted, spec);
    torc_topology_free(topology);
    return err;
}
