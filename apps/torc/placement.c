/* SPDX-License-Identifier: MIT */
#include "apps/torc/placement.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LIST_BYTES = 128 };

static bool names_all(const struct bench_numbers *nodes)
{
    return bench_numbers_count(nodes) == BENCH_NUMBERS_MAX;
}

static int check_nodes(struct bench_spec *spec, const struct bench_job *job, const char *option,
                       const struct bench_numbers *nodes, const struct bench_numbers *there)
{
    char list[LIST_BYTES];
    if (!nodes || names_all(nodes))
        return 0;
    unsigned missing = bench_numbers_first_outside(nodes, there);
    if (missing == BENCH_NUMBERS_MAX)
        return 0;
    return bench_fail(spec, -EINVAL, "job \"%s\": %s: there is no node %u, only %s", job->name,
                      option, missing, bench_numbers_text(there, list, sizeof(list)));
}

/* The CPUs that JOB may have, into SET. */
static int find_cpus(struct bench_spec *spec, const struct bench_job *job,
                     const struct bench_machine *machine, struct bench_numbers *set)
{
    char list[LIST_BYTES];
    int err = check_nodes(spec, job, "numa_cpu_nodes", job->cpu_nodes, &machine->nodes);
    if (err)
        return err;
    *set = job->cpus ? *job->cpus : machine->cpus;
    unsigned missing = bench_numbers_first_outside(set, &machine->cpus);
    if (missing < BENCH_NUMBERS_MAX)
        return bench_fail(spec, -EINVAL,
                          "job \"%s\": %s: CPU %u is not one that this process may use: %s",
                          job->name, job->cpus_option, missing,
                          bench_numbers_text(&machine->cpus, list, sizeof(list)));
    for (unsigned cpu = 0; job->cpu_nodes && cpu < BENCH_NUMBERS_MAX; cpu++)
        if (bench_numbers_has(set, cpu) &&
            !bench_numbers_has(job->cpu_nodes, machine->node_of[cpu]))
            set->words[cpu / 64] &= ~(UINT64_C(1) << cpu % 64);
    if (bench_numbers_count(set))
        return 0;
    return bench_fail(spec, -EINVAL,
                      "job \"%s\": numa_cpu_nodes: none of those nodes' CPUs is among %s%s",
                      job->name, job->cpus ? job->cpus_option : "those that this process may use: ",
                      job->cpus ? "" : bench_numbers_text(&machine->cpus, list, sizeof(list)));
}

static bool is_bound(const struct bench_job *job)
{
    return job->cpus || job->cpu_nodes;
}

/* What one CPU has to do in one wave. */
struct load {
    uint32_t copies, depth, files;
};

/* The CPU of SET with the fewest copies of this wave, the lowest of several. */
static unsigned least_loaded(const struct bench_numbers *set, const struct load *loads)
{
    unsigned best = bench_numbers_next(set, 0);
    for (unsigned cpu = best; cpu < BENCH_NUMBERS_MAX; cpu = bench_numbers_next(set, cpu + 1))
        if (loads[cpu].copies < loads[best].copies)
            best = cpu;
    return best;
}

static unsigned least_loaded_in_order(const struct bench_machine *machine, const struct load *loads)
{
    unsigned best = machine->order[0];
    for (unsigned i = 1; i < machine->order_count; i++)
        if (loads[machine->order[i]].copies < loads[best].copies)
            best = machine->order[i];
    return best;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void add_load(struct bench_plan *plan, struct load *load, const struct bench_instance *in)
{
    load->copies++;
    load->depth += in->job->depth;
    load->files += in->job->register_files ? in->file_count : 0;
    plan->copies_max = larger(plan->copies_max, load->copies);
    plan->depth_max = larger(plan->depth_max, load->depth);
    plan->registered_max = larger(plan->registered_max, load->files);
}

static int place_memory(struct bench_plan *plan, struct bench_instance *in)
{
    const struct bench_numbers *nodes = in->job->memory_nodes;
    in->memory_nodes = nodes && names_all(nodes) ? &plan->memory_nodes : nodes;
    return check_nodes(plan->spec, in->job, "numa_mem_policy", nodes, &plan->memory_nodes);
}

/* Those that ask for CPUs first: the others keep out of their way. Until the numbers are known, in->shard is a CPU. */
static int place_wave(struct bench_plan *plan, const struct bench_machine *machine, unsigned wave)
{
    struct load loads[BENCH_NUMBERS_MAX] = {{0}};
    for (int bound = 1; bound >= 0; bound--)
        for (unsigned i = 0; i < plan->instance_count; i++) {
            struct bench_instance *in = &plan->instances[i];
            struct bench_numbers set;
            if (in->job->wave != wave || is_bound(in->job) != (bound == 1))
                continue;
            int err = find_cpus(plan->spec, in->job, machine, &set);
            if (!err)
                err = place_memory(plan, in);
            if (err)
                return err;
            /* As in fio, the copy's place among all jobs' copies counts. */
            in->shard = !bound                ? least_loaded_in_order(machine, loads)
                        : in->job->split_cpus ? bench_numbers_nth(&set, i)
                                              : least_loaded(&set, loads);
            add_load(plan, &loads[in->shard], in);
            bench_numbers_add(&plan->cpus, in->shard);
        }
    return 0;
}

static unsigned rank_of(const struct bench_numbers *set, unsigned number)
{
    unsigned rank = 0;
    for (unsigned at = bench_numbers_next(set, 0); at < number;
         at = bench_numbers_next(set, at + 1))
        rank++;
    return rank;
}

unsigned bench_plan_largest_wave(const struct bench_plan *plan)
{
    unsigned largest = 0, copies = 0, wave = 0;
    for (unsigned i = 0; i < plan->instance_count; i++) {
        copies = plan->instances[i].job->wave == wave ? copies + 1 : 1;
        wave = plan->instances[i].job->wave;
        largest = larger(largest, copies);
    }
    return largest;
}

int bench_plan_place(struct bench_plan *plan, const struct bench_machine *machine)
{
    unsigned last = plan->instances[plan->instance_count - 1].job->wave;
    plan->memory_nodes = machine->memory_nodes;
    for (unsigned wave = 0; wave <= last; wave++) {
        int err = place_wave(plan, machine, wave);
        if (err)
            return err;
    }
    plan->shard_count = bench_numbers_count(&plan->cpus);
    for (unsigned i = 0; i < plan->instance_count; i++)
        plan->instances[i].shard = rank_of(&plan->cpus, plan->instances[i].shard);
    return 0;
}
