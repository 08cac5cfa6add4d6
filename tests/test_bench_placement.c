/* SPDX-License-Identifier: MIT
 *
 * Where the copies of jobs go, on machines that nobody here has: sets of numbers, the options that name CPUs and nodes,
 * and the plan's choice of shards.
 */
#include <errno.h>

#include "apps/torc/placement.h"
#include "tests/harness.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

TEST(bench_numbers, lists_are_read_as_the_kernel_writes_them)
{
    static const struct {
        const char *text;
        int err;
        const char *list; /* as it is written again */
    } CASES[] = {
        {"0", 0, "0"},        {"0,5,8-15", 0, "0,5,8-15"}, {"3,1,2", 0, "1-3"},
        {"1-1", 0, "1"},      {"63,64", 0, "63-64"},       {"0-3,2-6", 0, "0-6"},
        {"4095", 0, "4095"},  {"4096", -ERANGE, ""},       {"99999999999999999999", -ERANGE, ""},
        {"5-3", -ERANGE, ""}, {"", -EINVAL, ""},           {",", -EINVAL, ""},
        {"1,", -EINVAL, ""},  {"1--2", -EINVAL, ""},       {"-1", -EINVAL, ""},
        {"1-", -EINVAL, ""},  {" 1", -EINVAL, ""},         {"1 ", -EINVAL, ""},
        {"0x1", -EINVAL, ""}, {"all", -EINVAL, ""},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct bench_numbers set;
        char text[64];
        int err = bench_numbers_parse(CASES[i].text, &set);
        if (err != CASES[i].err ||
            (!err && strcmp(bench_numbers_text(&set, text, sizeof(text)), CASES[i].list) != 0))
            TEST_FAIL("\"%s\": %d", CASES[i].text, err);
    }
}

TEST(bench_numbers, a_list_without_room_is_cut_between_items)
{
    struct bench_numbers set;
    char text[64];
    CHECK_EQ(bench_numbers_parse("0-3,10,20-29,4095", &set), 0);
    CHECK_STR(bench_numbers_text(&set, text, 18 + sizeof("…")), "0-3,10,20-29,4095");
    CHECK_STR(bench_numbers_text(&set, text, 17), "0-3,10,20-29…");
    CHECK_STR(bench_numbers_text(&set, text, sizeof("…")), "…");
    CHECK_STR(bench_numbers_text(&set, text, 2), "");
}

TEST(bench_numbers, members_are_counted_and_found)
{
    struct bench_numbers set, other = {{0}};
    CHECK_EQ(bench_numbers_count(&other), 0);
    CHECK_EQ(bench_numbers_next(&other, 0), BENCH_NUMBERS_MAX);
    CHECK_EQ(bench_numbers_nth(&other, 3), BENCH_NUMBERS_MAX);
    CHECK_EQ(bench_numbers_parse("1,64-66,4095", &set), 0);
    CHECK_EQ(bench_numbers_count(&set), 5);
    CHECK_EQ(bench_numbers_next(&set, 2), 64);
    CHECK_EQ(bench_numbers_next(&set, 67), 4095);
    CHECK_EQ(bench_numbers_next(&set, 4096), BENCH_NUMBERS_MAX);
    CHECK_EQ(bench_numbers_nth(&set, 0), 1);
    CHECK_EQ(bench_numbers_nth(&set, 4), 4095);
    CHECK_EQ(bench_numbers_nth(&set, 5), 1);
    CHECK_EQ(bench_numbers_parse("1,65", &other), 0);
    CHECK_EQ(bench_numbers_first_outside(&set, &other), 64);
    CHECK_EQ(bench_numbers_first_outside(&other, &set), BENCH_NUMBERS_MAX);
    bench_numbers_intersect(&set, &other);
    CHECK_EQ(bench_numbers_count(&set), 2);
}

/* A run on a machine that has NODES nodes of four CPUs each, of which this process may use ALLOWED. */
struct run {
    struct bench_spec spec;
    struct bench_plan plan;
    struct bench_machine machine;
};

static void make_machine(struct bench_machine *machine, unsigned nodes, const char *allowed)
{
    memset(machine, 0, sizeof(*machine));
    CHECK_EQ(bench_numbers_parse(allowed, &machine->cpus), 0);
    for (unsigned cpu = 0; cpu < 4 * nodes; cpu++) {
        bench_numbers_add(&machine->nodes, cpu / 4);
        bench_numbers_add(&machine->memory_nodes, cpu / 4);
        machine->node_of[cpu] = (uint16_t)(cpu / 4);
        if (bench_numbers_has(&machine->cpus, cpu))
            machine->order[machine->order_count++] = cpu;
    }
}

static int place(struct run *run, unsigned nodes, const char *allowed, const char *const *words)
{
    char *argv[32] = {(char *)"bench", (char *)"--filename=/dev/zero-not-there",
                      (char *)"--size=1m"};
    int argc = 3;
    for (; words[argc - 3]; argc++)
        argv[argc] = (char *)words[argc - 3];
    bench_spec_init(&run->spec);
    int err = bench_spec_read_arguments(&run->spec, argc, argv);
    if (!err)
        err = bench_spec_finish(&run->spec);
    if (!err)
        err = bench_plan_make(&run->plan, &run->spec);
    make_machine(&run->machine, nodes, allowed);
    return err ? err : bench_plan_place(&run->plan, &run->machine);
}

#define PLACE(run, nodes, allowed, ...) \
    place((run), (nodes), (allowed), (const char *const[]){__VA_ARGS__, NULL})

/* The CPU of every copy, in the plan's order: "0 1 2". */
static const char *cpus_of(const struct run *run)
{
    static char text[256];
    size_t length = 0;
    for (unsigned i = 0; i < run->plan.instance_count; i++)
        length +=
            (size_t)snprintf(text + length, sizeof(text) - length, "%s%u", i ? " " : "",
                             bench_numbers_nth(&run->plan.cpus, run->plan.instances[i].shard));
    return text;
}

static struct run run;

TEST(bench_placement, one_copy_has_one_shard_on_the_first_cpu)
{
    CHECK_EQ(PLACE(&run, 1, "1-3", "--name=a"), 0);
    CHECK_EQ(run.plan.shard_count, 1);
    CHECK_STR(cpus_of(&run), "1");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, copies_spread_over_the_cpus_and_then_share_them)
{
    CHECK_EQ(PLACE(&run, 1, "0-3", "--name=a", "--numjobs=3", "--iodepth=8"), 0);
    CHECK_EQ(run.plan.shard_count, 3);
    CHECK_STR(cpus_of(&run), "0 1 2");
    CHECK_EQ(run.plan.copies_max, 1);
    CHECK_EQ(run.plan.depth_max, 8);
    bench_spec_deinit(&run.spec);
    CHECK_EQ(PLACE(&run, 1, "0-1", "--name=a", "--numjobs=5", "--iodepth=8"), 0);
    CHECK_EQ(run.plan.shard_count, 2);
    CHECK_STR(cpus_of(&run), "0 1 0 1 0");
    CHECK_EQ(run.plan.copies_max, 3);
    CHECK_EQ(run.plan.depth_max, 24);
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, a_shared_set_is_dealt_out_evenly)
{
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--numjobs=4", "--cpus_allowed=2,5"), 0);
    CHECK_STR(cpus_of(&run), "2 5 2 5");
    CHECK_EQ(run.plan.shard_count, 2);
    bench_spec_deinit(&run.spec);
    /* What one job has put on a CPU counts for the next. */
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--cpus_allowed=2", "--name=b", "--cpus_allowed=2-4",
                   "--numjobs=2"),
             0);
    CHECK_STR(cpus_of(&run), "2 3 4");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, a_split_set_goes_by_the_number_of_the_copy_among_all)
{
    CHECK_EQ(PLACE(&run, 2, "0-7", "--cpus_allowed_policy=split", "--name=a", "--cpus_allowed=1-3",
                   "--numjobs=2", "--name=b", "--cpus_allowed=1-3", "--numjobs=2"),
             0);
    CHECK_STR(cpus_of(&run), "1 2 3 1");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, a_mask_is_a_set)
{
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--cpumask=0x22", "--numjobs=2"), 0);
    CHECK_STR(cpus_of(&run), "1 5");
    bench_spec_deinit(&run.spec);
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--cpumask=34", "--numjobs=2"), 0);
    CHECK_STR(cpus_of(&run), "1 5");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, nodes_mean_their_cpus)
{
    CHECK_EQ(PLACE(&run, 4, "0-2,4-15", "--name=a", "--numa_cpu_nodes=0,2", "--numjobs=7"), 0);
    CHECK_STR(cpus_of(&run), "0 1 2 8 9 10 11");
    bench_spec_deinit(&run.spec);
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--numa_cpu_nodes=1", "--cpus_allowed=3-4"), 0);
    CHECK_STR(cpus_of(&run), "4");
    bench_spec_deinit(&run.spec);
    CHECK_EQ(PLACE(&run, 2, "1,6", "--name=a", "--numa_cpu_nodes=all", "--numjobs=2"), 0);
    CHECK_STR(cpus_of(&run), "1 6");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, jobs_without_a_wish_keep_out_of_the_way)
{
    CHECK_EQ(PLACE(&run, 1, "0-3", "--name=any", "--numjobs=3", "--name=bound", "--cpus_allowed=0"),
             0);
    CHECK_STR(cpus_of(&run), "1 2 3 0");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, waves_have_shards_of_their_own)
{
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--cpus_allowed=6", "--name=b", "--stonewall",
                   "--cpus_allowed=2-3", "--numjobs=2", "--iodepth=4", "--name=c", "--stonewall",
                   "--registerfiles"),
             0);
    CHECK_STR(cpus_of(&run), "6 2 3 0");
    CHECK_EQ(bench_plan_largest_wave(&run.plan), 2);
    CHECK_EQ(run.plan.shard_count, 4);
    CHECK_EQ(run.plan.instances[0].shard, 3);
    CHECK_EQ(run.plan.instances[1].shard, 1);
    CHECK_EQ(run.plan.depth_max, 4);
    CHECK_EQ(run.plan.registered_max, 1);
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, the_librarys_order_of_cpus_counts)
{
    static struct bench_machine machine;
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--numjobs=3"), 0);
    machine = run.machine;
    machine.order[0] = 4;
    machine.order[1] = 0;
    machine.order_count = 2; /* a quota of two CPUs */
    run.plan.cpus = (struct bench_numbers){{0}};
    CHECK_EQ(bench_plan_place(&run.plan, &machine), 0);
    CHECK_STR(cpus_of(&run), "4 0 4");
    CHECK_EQ(run.plan.shard_count, 2);
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, memory_lies_where_the_job_says)
{
    CHECK_EQ(PLACE(&run, 4, "0-15", "--name=a", "--numa_mem_policy=bind:1,3", "--name=b",
                   "--numa_mem_policy=interleave", "--name=c", "--numa_mem_policy=local",
                   "--name=d", "--numa_mem_policy=prefer:2", "--name=e"),
             0);
    const struct bench_instance *in = run.plan.instances;
    char text[64];
    CHECK_EQ(in[0].job->memory_mode, BENCH_MEMORY_BIND);
    CHECK_STR(bench_numbers_text(in[0].memory_nodes, text, sizeof(text)), "1,3");
    CHECK_EQ(in[1].job->memory_mode, BENCH_MEMORY_INTERLEAVE);
    CHECK_STR(bench_numbers_text(in[1].memory_nodes, text, sizeof(text)), "0-3");
    CHECK_EQ(in[2].job->memory_mode, BENCH_MEMORY_LOCAL);
    CHECK(!in[2].memory_nodes);
    CHECK_EQ(in[3].job->memory_mode, BENCH_MEMORY_PREFER);
    CHECK_STR(bench_numbers_text(in[3].memory_nodes, text, sizeof(text)), "2");
    CHECK_EQ(in[4].job->memory_mode, BENCH_MEMORY_DEFAULT);
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, what_cannot_be_had_is_refused_by_name)
{
    static const struct {
        const char *option, *error;
    } CASES[] = {
        {"--cpus_allowed=2-4",
         "job \"a\": cpus_allowed: CPU 4 is not one that this process may use: 0,2-3,5"},
        {"--cpus_allowed=1",
         "job \"a\": cpus_allowed: CPU 1 is not one that this process may use: 0,2-3,5"},
        {"--cpumask=0x100",
         "job \"a\": cpumask: CPU 8 is not one that this process may use: 0,2-3,5"},
        {"--numa_cpu_nodes=0,3", "job \"a\": numa_cpu_nodes: there is no node 3, only 0-2"},
        {"--numa_cpu_nodes=2",
         "job \"a\": numa_cpu_nodes: none of those nodes' CPUs is among those "
         "that this process may use: 0,2-3,5"},
        {"--numa_mem_policy=bind:0,7", "job \"a\": numa_mem_policy: there is no node 7, only 0-2"},
        {"--numa_mem_policy=prefer:3", "job \"a\": numa_mem_policy: there is no node 3, only 0-2"},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        int err = PLACE(&run, 3, "0,2-3,5", "--name=a", CASES[i].option);
        if (err != -EINVAL || strcmp(run.spec.error, CASES[i].error) != 0)
            TEST_FAIL("%s: %d \"%s\"", CASES[i].option, err, run.spec.error);
        bench_spec_deinit(&run.spec);
    }
    CHECK_EQ(PLACE(&run, 2, "0-7", "--name=a", "--numa_cpu_nodes=1", "--cpus_allowed=0-3"),
             -EINVAL);
    CHECK_STR(run.spec.error,
              "job \"a\": numa_cpu_nodes: none of those nodes' CPUs is among cpus_allowed");
    bench_spec_deinit(&run.spec);
}

TEST(bench_placement, malformed_options_are_refused_with_their_reason)
{
    static const char *const CASES[][2] = {
        {"--cpus_allowed=x", "--cpus_allowed=x: not a list of CPUs: write 0,5,8-15"},
        {"--cpus_allowed=", "--cpus_allowed=: not a list of CPUs: write 0,5,8-15"},
        {"--cpus_allowed", "--cpus_allowed: needs a value, as in cpus_allowed=VALUE"},
        {"--cpus_allowed=9999", "--cpus_allowed=9999: CPUs must be 0 to 4095, and ranges ascend"},
        {"--cpus_allowed=3-1", "--cpus_allowed=3-1: CPUs must be 0 to 4095, and ranges ascend"},
        {"--cpumask=0", "--cpumask=0: must be a number with a bit for each CPU, as 0x22 for CPUs 1 "
                        "and 5; cpus_allowed takes a list"},
        {"--cpumask=0,1", "--cpumask=0,1: must be a number with a bit for each CPU, as 0x22 for "
                          "CPUs 1 and 5; cpus_allowed takes a list"},
        {"--cpus_allowed_policy=both", "--cpus_allowed_policy=both: must be shared or split"},
        {"--numa_cpu_nodes=a", "--numa_cpu_nodes=a: not a list of nodes: write 0,2 or 0-3 or all"},
        {"--numa_cpu_nodes=5000",
         "--numa_cpu_nodes=5000: nodes must be 0 to 4095, and ranges ascend"},
        {"--numa_mem_policy=near",
         "--numa_mem_policy=near: must be default, local, bind, prefer or interleave"},
        {"--numa_mem_policy=local:0", "--numa_mem_policy=local:0: local takes no nodes"},
        {"--numa_mem_policy=default:", "--numa_mem_policy=default:: default takes no nodes"},
        {"--numa_mem_policy=prefer",
         "--numa_mem_policy=prefer: prefer takes one node, as in prefer:0"},
        {"--numa_mem_policy=prefer:0,1",
         "--numa_mem_policy=prefer:0,1: prefer takes one node, as in prefer:0"},
        {"--numa_mem_policy=prefer:all",
         "--numa_mem_policy=prefer:all: prefer takes one node, as in prefer:0"},
        {"--numa_mem_policy=bind:x",
         "--numa_mem_policy=bind:x: not a list of nodes: write 0,2 or 0-3 or all"},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        int err = PLACE(&run, 2, "0-7", "--name=a", CASES[i][0]);
        if (err >= 0 || strcmp(run.spec.error, CASES[i][1]) != 0)
            TEST_FAIL("%s: %d \"%s\"", CASES[i][0], err, run.spec.error);
        bench_spec_deinit(&run.spec);
    }
}

TEST(bench_placement, this_machine_can_be_read)
{
    static struct bench_spec spec;
    static struct bench_machine machine;
    bench_spec_init(&spec);
    CHECK_EQ(bench_machine_read(&machine, 3, &spec), 0);
    CHECK(machine.order_count > 0);
    CHECK(machine.order_count <= 3);
    for (unsigned i = 0; i < machine.order_count; i++) {
        CHECK(bench_numbers_has(&machine.cpus, machine.order[i]));
        CHECK(bench_numbers_has(&machine.nodes, machine.node_of[machine.order[i]]));
    }
    CHECK(bench_numbers_count(&machine.memory_nodes) > 0);
    CHECK_EQ(bench_machine_read(&machine, 1, &spec), 0);
    CHECK_EQ(machine.order_count, 1); /* no more than are wanted */
    bench_spec_deinit(&spec);
}
