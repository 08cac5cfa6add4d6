/* SPDX-License-Identifier: MIT
 *
 * Which CPUs each policy takes on machines of many kinds, worked out by hand, and what is said about wishes that can't
 * be granted.
 */
#include "shard/placement.h"

#include <sched.h>

#include "shard/placement_internal.h"
#include "shard/run.h"
#include "tests/shard_machine.h"

static struct machine machine;
static struct torci_seat *seats;
static uint32_t count;

static void take_away(void)
{
    if (seats)
        machine.fault.kernel.host.free(&machine.fault, seats, count * sizeof(*seats));
    seats = NULL;
    count = 0;
}

static void on(const char *synthetic, const char *allowed)
{
    take_away();
    machine_init(&machine);
    machine.source.synthetic = synthetic;
    machine_allow(&machine, allowed);
}

static void on_xml(const char *path, const char *allowed)
{
    on(NULL, allowed);
    machine.source.xml_path = path;
}

static int place(struct torc_config config)
{
    take_away();
    machine.fault.lines = 0;
    return torci_place_on(&machine.source, &config, &seats, &count);
}

/* The seats are these CPUs, in this order. */
static void seats_are(const char *wanted)
{
    struct torci_cpu_list list;
    char got[2048] = "";
    size_t used = 0;
    unsigned i = 0;
    int cpu;
    for (unsigned n = 0; n < count && used < sizeof(got) - 8; n++)
        used +=
            (size_t)snprintf(got + used, sizeof(got) - used, "%s%d", n ? "," : "", seats[n].cpu);
    torci_cpu_list_init(&list, wanted);
    for (; (cpu = torci_cpu_list_next(&list)) != TORCI_CPU_LIST_END; i++)
        if (i >= count || seats[i].cpu != cpu)
            TEST_FAIL("%s, not %s", got, wanted);
    if (i != count)
        TEST_FAIL("%s, not %s", got, wanted);
}

static void placed(struct torc_config config, const char *wanted)
{
    CHECK_EQ(place(config), 0);
    seats_are(wanted);
}

/* Without any line. */
static void check(enum torc_placement placement, unsigned shards, const char *wanted)
{
    placed((struct torc_config){.placement = placement, .shards = shards}, wanted);
    if (machine.fault.lines)
        TEST_FAIL("said: %s", machine.fault.line[0]);
}

static void nodes_are(const char *wanted)
{
    struct torci_cpu_list list;
    torci_cpu_list_init(&list, wanted);
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(seats[i].node, torci_cpu_list_next(&list));
    CHECK_EQ(torci_cpu_list_next(&list), TORCI_CPU_LIST_END);
}

static void said(const char *line)
{
    CHECK_EQ(machine.fault.lines, 1);
    CHECK_STR(machine.fault.line[0], line);
}

static void refused(struct torc_config config, int err, const char *line)
{
    CHECK_EQ(place(config), err);
    said(line);
}

static void done(void)
{
    take_away();
    machine_deinit(&machine);
}

/* ---- machines ---- */

static const char EPYC[] = "pack:2 [numa(memory=256GB)] l3:8 core:8 pu:2(indexes=2*128:1*2)";
static const char EPYC_NPS4[] =
    "pack:2 group:4 [numa(memory=64GB)] l3:2 core:8 pu:2(indexes=2*128:1*2)";
static const char BOX_64[] = "pack:2 [numa(memory=64GB)] l3:4 core:8 pu:1";
static const char DESKTOP[] = "l3:1 core:8 pu:2(indexes=2*8:1*2)"; /* siblings are n and n + 8 */

TEST(shard_placement, one_cpu)
{
    on("core:1 pu:1", "0");
    for (enum torc_placement p = TORC_PLACE_ALL; p <= TORC_PLACE_CORES; p++)
        check(p, 0, "0");
    CHECK(!seats[0].shared);
    done();
}

TEST(shard_placement, two_cpus)
{
    on("core:2 pu:1", "0-1");
    for (enum torc_placement p = TORC_PLACE_ALL; p <= TORC_PLACE_CORES; p++) {
        check(p, 0, "0-1");
        check(p, 1, "0");
        check(p, 2, "0-1");
    }
    done();
}

TEST(shard_placement, laptop_takes_fast_cores_then_frugal_ones_then_siblings)
{
    on_xml("tests/topologies/laptop.xml", "0-19");
    check(TORC_PLACE_ALL, 0, "0-19");
    check(TORC_PLACE_ALL, 4, "0-6:2");
    check(TORC_PLACE_ALL, 8, "0-10:2,12,13");
    check(TORC_PLACE_ALL, 15, "0,1,2-10:2,12-19");
    check(TORC_PLACE_SPREAD, 4, "0-6:2");
    check(TORC_PLACE_PACK, 8, "0-10:2,12,13");
    check(TORC_PLACE_CORES, 0, "0-10:2,12-19");
    check(TORC_PLACE_CORES, 2, "0,2");
    done();
}

TEST(shard_placement, laptop_island_comes_last_in_every_policy)
{
    on_xml("tests/topologies/laptop_island.xml", "0-21");
    check(TORC_PLACE_ALL, 0, "0-21");
    check(TORC_PLACE_ALL, 2, "0,2");
    check(TORC_PLACE_SPREAD, 2, "0,2");
    check(TORC_PLACE_SPREAD, 15, "0-10:2,12-20");
    check(TORC_PLACE_PACK, 2, "0,2"); /* the island is the smallest group that suffices */
    check(TORC_PLACE_PACK, 21, "0-20");
    check(TORC_PLACE_CORES, 0, "0-10:2,12-21");
    done();
}

TEST(shard_placement, desktop_with_siblings)
{
    on(DESKTOP, "0-15");
    check(TORC_PLACE_ALL, 0, "0-15");
    check(TORC_PLACE_ALL, 4, "0-3");
    check(TORC_PLACE_ALL, 10, "0-9");
    check(TORC_PLACE_SPREAD, 10, "0-9");
    check(TORC_PLACE_PACK, 4, "0-3");
    check(TORC_PLACE_CORES, 0, "0-7");
    check(TORC_PLACE_CORES, 3, "0-2");
    done();
}

TEST(shard_placement, four_threads_a_core_are_taken_in_turn)
{
    on("core:2 pu:4", "0-7");
    check(TORC_PLACE_ALL, 3, "0,1,4");
    check(TORC_PLACE_ALL, 5, "0-2,4,5");
    check(TORC_PLACE_CORES, 0, "0,4");
    done();
}

TEST(shard_placement, without_smt_cores_are_all)
{
    on("l3:1 core:8 pu:1", "0-7");
    check(TORC_PLACE_ALL, 0, "0-7");
    check(TORC_PLACE_CORES, 0, "0-7");
    check(TORC_PLACE_SPREAD, 3, "0-2");
    check(TORC_PLACE_PACK, 3, "0-2");
    done();
}

TEST(shard_placement, big_machine_with_a_node_a_package)
{
    on(EPYC, "0-255");
    check(TORC_PLACE_ALL, 0, "0-255");
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(seats[i].node, i % 128 / 64);
    check(TORC_PLACE_ALL, 16, "0-15");
    check(TORC_PLACE_ALL, 129, "0-128");
    check(TORC_PLACE_SPREAD, 2, "0,64");
    check(TORC_PLACE_SPREAD, 3, "0,8,64");
    check(TORC_PLACE_SPREAD, 16, "0-127:8");
    check(TORC_PLACE_SPREAD, 18, "0,1,8-56:8,64,65,72-120:8");
    check(TORC_PLACE_SPREAD, 129, "0-128");
    check(TORC_PLACE_PACK, 8, "0-7");
    check(TORC_PLACE_PACK, 10, "0-7,128,129"); /* siblings before another cache */
    check(TORC_PLACE_PACK, 20, "0-11,128-135");
    check(TORC_PLACE_PACK, 130, "0-65,128-191");
    check(TORC_PLACE_CORES, 0, "0-127");
    check(TORC_PLACE_CORES, 65, "0-64");
    done();
}

TEST(shard_placement, big_machine_with_four_nodes_a_package)
{
    on(EPYC_NPS4, "0-255");
    check(TORC_PLACE_ALL, 0, "0-255");
    check(TORC_PLACE_ALL, 17, "0-16");
    check(TORC_PLACE_SPREAD, 8, "0-112:16");
    nodes_are("0-7");
    check(TORC_PLACE_SPREAD, 16, "0-120:8");
    check(TORC_PLACE_PACK, 33, "0-16,128-143");
    check(TORC_PLACE_PACK, 17, "0-8,128-135");
    check(TORC_PLACE_CORES, 0, "0-127");
    done();
}

TEST(shard_placement, four_packages_numbered_across)
{
    /* CPU p + 4 c + 40 t is thread t of core c of package p, as some firmware counts */
    on("pack:4 [numa(memory=64GB)] l3:1 core:10 pu:2(indexes=20*4:2*10:1*2)", "0-79");
    check(TORC_PLACE_ALL, 0, "0-79");
    check(TORC_PLACE_ALL, 10, "0-36:4"); /* one package, whatever the numbers say */
    check(TORC_PLACE_ALL, 12, "0,1,4,5,8-36:4");
    check(TORC_PLACE_SPREAD, 4, "0-3");
    nodes_are("0-3");
    check(TORC_PLACE_SPREAD, 6, "0-5");
    check(TORC_PLACE_PACK, 20, "0-76:4");
    check(TORC_PLACE_PACK, 21, "0,1,4-76:4");
    check(TORC_PLACE_CORES, 0, "0-39");
    done();
}

TEST(shard_placement, package_in_two_nodes_with_one_cache)
{
    on("pack:2 l3:1 group:2 [numa(memory=64GB)] core:8 pu:1", "0-31");
    check(TORC_PLACE_ALL, 0, "0-31");
    check(TORC_PLACE_ALL, 9, "0-8");
    check(TORC_PLACE_SPREAD, 4, "0,8,16,24");
    nodes_are("0-3");
    check(TORC_PLACE_PACK, 8, "0-7");
    check(TORC_PLACE_PACK, 9, "0-8");
    check(TORC_PLACE_PACK, 17, "0-16");
    check(TORC_PLACE_CORES, 2, "0,1");
    done();
}

TEST(shard_placement, holes_in_the_cpuset)
{
    on(DESKTOP, "1,3-5,9,12");
    check(TORC_PLACE_ALL, 0, "1,3-5,9,12");
    check(TORC_PLACE_ALL, 1, "1");
    check(TORC_PLACE_ALL, 4, "1,3-5");
    check(TORC_PLACE_ALL, 5, "1,3-5,9");
    check(TORC_PLACE_SPREAD, 5, "1,3-5,9");
    check(TORC_PLACE_PACK, 2, "1,3");
    check(TORC_PLACE_CORES, 0, "1,3-5");
    on(DESKTOP, "2,10-12"); /* second threads whose first is not allowed are whole cores */
    check(TORC_PLACE_CORES, 0, "2,11,12");
    check(TORC_PLACE_ALL, 3, "2,11,12");
    done();
}

TEST(shard_placement, uneven_holes_leave_whole_cores_to_be_taken_first)
{
    on(EPYC, "0,1,64-71,128,129,192-199"); /* two cores here, eight there */
    check(TORC_PLACE_SPREAD, 6, "0,1,64-67");
    check(TORC_PLACE_SPREAD, 11, "0,1,64-71,128");
    check(TORC_PLACE_PACK, 3, "0,1,128"); /* the smallest cache that suffices */
    check(TORC_PLACE_PACK, 4, "0,1,128,129");
    check(TORC_PLACE_PACK, 5, "64-68");
    check(TORC_PLACE_PACK, 18, "0,1,64-71,192-199");
    done();
}

TEST(shard_placement, spread_goes_round_the_caches_again)
{
    on(BOX_64, "0-63");
    check(TORC_PLACE_SPREAD, 16, "0,1,8,9,16,17,24,25,32,33,40,41,48,49,56,57");
    check(TORC_PLACE_SPREAD, 20, "0-2,8-10,16,17,24,25,32-34,40-42,48,49,56,57");
    done();
}

TEST(shard_placement, pack_prefers_one_package_and_one_node_to_larger_caches)
{
    /* 24 + 24 CPUs in the first package, 32 + 32 in the second */
    on(EPYC_NPS4, "0-11,128-139,16-27,144-155,64-95,192-223");
    check(TORC_PLACE_PACK, 40, "0-11,16-23,128-139,144-151");
    /* caches of 16 and 8 in one node, of 12 and 10 in the other */
    on(EPYC_NPS4, "0-11,128-139,16-21,144-149,24-28,152-156");
    check(TORC_PLACE_PACK, 22, "16-21,24-28,144-149,152-156");
    done();
}

TEST(shard_placement, only_one_node_is_allowed)
{
    on(EPYC, "64-127,192-255");
    check(TORC_PLACE_ALL, 0, "64-127,192-255");
    check(TORC_PLACE_ALL, 4, "64-67");
    check(TORC_PLACE_SPREAD, 2, "64,72");
    CHECK(seats[0].node == 1 && seats[1].node == 1);
    check(TORC_PLACE_PACK, 10, "64-71,192,193");
    check(TORC_PLACE_CORES, 0, "64-127");
    done();
}

TEST(shard_placement, server_without_a_word_about_caches)
{
    on("pack:1 core:128 pu:1", "0-127");
    check(TORC_PLACE_ALL, 0, "0-127");
    check(TORC_PLACE_SPREAD, 4, "0-3");
    check(TORC_PLACE_PACK, 4, "0-3");
    check(TORC_PLACE_CORES, 0, "0-127");
    on("pack:1 group:2 [numa] core:64 pu:1", "0-127");
    check(TORC_PLACE_SPREAD, 4, "0,1,64,65");
    done();
}

TEST(shard_placement, memory_without_cpus_gets_no_shard)
{
    on("[numa(memory=512GB)] pack:2 [numa(memory=64GB)] l3:1 core:4 pu:1", "0-7");
    check(TORC_PLACE_ALL, 0, "0-7");
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(seats[i].node, i / 4);
    check(TORC_PLACE_SPREAD, 2, "0,4");
    check(TORC_PLACE_PACK, 5, "0-4");
    done();
}

TEST(shard_placement, cpus_without_memory_are_bound_to_no_node)
{
    on_xml("tests/topologies/node_without_memory.xml", "0-7");
    check(TORC_PLACE_ALL, 0, "0-7");
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(seats[i].node, i < 4 ? 0 : -1);
    check(TORC_PLACE_SPREAD, 2, "0,4");
    done();
}

TEST(shard_placement, without_hwloc_the_allowed_cpus_serve)
{
    on(NULL, "0-3,8");
    machine.source.no_hwloc = true;
    check(TORC_PLACE_ALL, 0, "0-3,8");
    CHECK(seats[0].node < 0);
    check(TORC_PLACE_SPREAD, 2, "0,1");
    check(TORC_PLACE_PACK, 4, "0-3");
    check(TORC_PLACE_CORES, 0, "0-3,8");
    done();
}

/* ---- how many ---- */

static void put_quota(const char *quota)
{
    machine_put(&machine, "/proc/self/cgroup", "0::/\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu.max", "%s", quota);
}

TEST(shard_placement, container_gets_as_many_shards_as_its_quota_has_cpus)
{
    static const char LINE[] = "torc: 2 shards: the cgroup's CPU quota is 2.0 of 64 CPUs; set "
                               "shards or TORC_SHARDS for another number";
    on(BOX_64, "0-63");
    put_quota("200000 100000\n");
    placed((struct torc_config){0}, "0,1");
    said(LINE);
    check(TORC_PLACE_ALL, 8, "0-7"); /* told otherwise */
    placed((struct torc_config){.cpus = "0-3"}, "0-3");
    CHECK_EQ(machine.fault.lines, 0);
    done();
}

TEST(shard_placement, container_begins_where_it_runs_because_others_have_the_first_cpus)
{
    on(BOX_64, "0-63");
    put_quota("250000 100000\n");
    machine.running_on = 41;
    placed((struct torc_config){0}, "41,42");
    said("torc: 2 shards: the cgroup's CPU quota is 2.5 of 64 CPUs; set shards or TORC_SHARDS for "
         "another number");
    placed((struct torc_config){.placement = TORC_PLACE_PACK}, "41,42");
    placed((struct torc_config){.placement = TORC_PLACE_SPREAD}, "0,41");
    machine.running_on = 47; /* the last one of its cache */
    placed((struct torc_config){0}, "40,47");
    on(EPYC_NPS4, "0-255"); /* its cache, its node, its package, and only then the other one */
    put_quota("2000000 100000\n");
    machine.running_on = 50;
    placed((struct torc_config){0}, "0-3,48-63");
    machine.running_on = 1000; /* not a CPU that anybody knows */
    placed((struct torc_config){0}, "0-19");
    done();
}

TEST(shard_placement, quota_below_one_cpu_gives_one_shard)
{
    on(BOX_64, "0-63");
    put_quota("50000 100000\n");
    machine.running_on = 5;
    placed((struct torc_config){0}, "5");
    said("torc: 1 shard: the cgroup's CPU quota is 0.5 of 64 CPUs; set shards or TORC_SHARDS for "
         "another number");
    done();
}

TEST(shard_placement, quota_beyond_the_allowed_cpus_is_not_worth_a_word)
{
    on(BOX_64, "0-3");
    put_quota("400000 100000\n");
    check(TORC_PLACE_ALL, 0, "0-3");
    put_quota("399000 100000\n");
    placed((struct torc_config){0}, "0-2");
    said("torc: 3 shards: the cgroup's CPU quota is 3.9 of 4 CPUs; set shards or TORC_SHARDS for "
         "another number");
    done();
}

TEST(shard_placement, more_shards_than_cpus_take_turns)
{
    on("core:2 pu:1", "0-1");
    placed((struct torc_config){.shards = 5}, "0,1,0,1,0");
    said("torc: 5 shards on 2 CPUs: those that share one take turns and never spin");
    for (unsigned i = 0; i < count; i++)
        CHECK(seats[i].shared);
    on("l3:1 core:4 pu:1", "0-3");
    placed((struct torc_config){.shards = 6}, "0-3,0,1");
    CHECK(seats[0].shared && seats[1].shared && seats[4].shared && seats[5].shared);
    CHECK(!seats[2].shared && !seats[3].shared);
    placed((struct torc_config){.shards = 3, .cpus = "2"}, "2,2,2");
    said("torc: 3 shards on 1 CPU: those that share one take turns and never spin");
    on(DESKTOP, "0-15");
    placed((struct torc_config){.shards = 9, .placement = TORC_PLACE_CORES}, "0-7,0");
    CHECK_EQ(machine.fault.lines, 1); /* one a core: the siblings stay idle */
    done();
}

/* ---- a list ---- */

TEST(shard_placement, list_goes_before_policy_and_keeps_its_order)
{
    on(EPYC, "0-255");
    placed((struct torc_config){.cpus = "9,0-3,16-20:2", .placement = TORC_PLACE_PACK},
           "9,0-3,16,18,20");
    placed((struct torc_config){.cpus = "9,0-3", .shards = 2}, "9,0");
    placed((struct torc_config){.cpus = "7,3", .shards = 3}, "7,3,7");
    placed((struct torc_config){.cpus = "", .shards = 2}, "0,1"); /* an empty variable */
    done();
}

TEST(shard_placement, list_that_cannot_be_had_is_refused)
{
    on(DESKTOP, "1-4,9");
    refused((struct torc_config){.cpus = "1-3,x"}, -EINVAL,
            "torc: the CPU list \"1-3,x\" is wrong: \"x\" is no CPU, no range FIRST-LAST and no "
            "FIRST-LAST:STEP");
    refused((struct torc_config){.cpus = "1,1"}, -EINVAL,
            "torc: the CPU list \"1,1\" is wrong: CPU 1 is named twice");
    refused((struct torc_config){.cpus = "16"}, -EINVAL,
            "torc: the CPU list names CPU 16, which does not exist; CPUs that may be used: 1-4,9");
    refused((struct torc_config){.cpus = "1,8"}, -EINVAL,
            "torc: the CPU list names CPU 8, which this process may not use (taskset, or the "
            "cpuset of its cgroup); CPUs that may be used: 1-4,9");
    done();
}

/* ---- a function ---- */

struct wish {
    int result, cpus[8];
    unsigned asked_for;
};

static int grant(const struct torc_topology *topology, unsigned wanted, int *cpus, void *arg)
{
    struct wish *wish = arg;
    wish->asked_for = wanted;
    CHECK(topology->cpu_count >= wanted);
    for (int i = 0; i < wish->result && (unsigned)i < wanted; i++)
        cpus[i] = wish->cpus[i];
    return wish->result;
}

TEST(shard_placement, function_of_the_caller_chooses)
{
    struct wish wish = {.result = 3, .cpus = {5, 0, 7}};
    on("l3:1 core:8 pu:1", "0-7");
    struct torc_config config = {.place = grant, .place_arg = &wish, .cpus = "1"};
    placed(config, "5,0,7");
    CHECK_EQ(wish.asked_for, 8);
    config.shards = 4;
    placed(config, "5,0,7,5");
    CHECK_EQ(wish.asked_for, 4);
    config.shards = 20;
    placed(config, "5,0,7,5,0,7,5,0,7,5,0,7,5,0,7,5,0,7,5,0");
    CHECK_EQ(wish.asked_for, 8);
    put_quota("300000 100000\n");
    config.shards = 0;
    placed(config, "5,0,7");
    CHECK_EQ(wish.asked_for, 3);
    done();
}

TEST(shard_placement, nonsense_of_the_function_is_refused)
{
    struct wish wish = {.result = 2, .cpus = {3, 3}};
    struct torc_config config = {.place = grant, .place_arg = &wish, .shards = 2};
    on("l3:1 core:8 pu:1", "0-6");
    refused(config, -EINVAL, "torc: the place function chose CPU 3 twice");
    wish = (struct wish){.result = 2, .cpus = {0, 8}};
    refused(config, -EINVAL,
            "torc: the place function chose CPU 8, which does not exist; CPUs that may be used: "
            "0-6");
    wish = (struct wish){.result = 2, .cpus = {0, -1}};
    refused(config, -EINVAL,
            "torc: the place function chose CPU -1, which does not exist; CPUs that may be used: "
            "0-6");
    wish = (struct wish){.result = 1, .cpus = {7}};
    refused(config, -EINVAL,
            "torc: the place function chose CPU 7, which this process may not use (taskset, or "
            "the cpuset of its cgroup); CPUs that may be used: 0-6");
    wish = (struct wish){.result = 0};
    refused(config, -EINVAL, "torc: the place function chose 0 CPUs, not 1 to 2");
    wish = (struct wish){.result = 3};
    refused(config, -EINVAL, "torc: the place function chose 3 CPUs, not 1 to 2");
    wish = (struct wish){.result = -EPERM};
    refused(config, -EPERM, "torc: the place function failed: errno 1");
    done();
}

/* ---- the rest ---- */

TEST(shard_placement, unknown_policy_is_refused)
{
    on(DESKTOP, "0-15");
    refused((struct torc_config){.placement = (enum torc_placement)5}, -EINVAL,
            "torc: torc_config.placement has no value 5: see io/config.h");
    done();
}

TEST(shard_placement, too_many_shards_are_refused)
{
    on("pack:2 core:600 pu:1", "0-1199");
    check(TORC_PLACE_ALL, 1024, "0-1023");
    refused((struct torc_config){.shards = 1025}, -EINVAL,
            "torc: 1025 shards are too many: 1024 is the most");
    refused((struct torc_config){.cpus = "0-1024"}, -EINVAL,
            "torc: the CPU list \"0-1024\" names 1025 CPUs: 1024 shards are the most");
    placed((struct torc_config){.cpus = "100-1123"}, "100-1123");
    check(TORC_PLACE_ALL, 0, "0-1023"); /* of 1,200 CPUs */
    done();
}

TEST(shard_placement, policies_have_names)
{
    static const char *const NAMES[] = {"all", "spread", "pack", "cores"};
    static const char *const WRONG[] = {"", "none", "All", "near", "near:", "packs", "all,pack"};
    enum torc_placement placement;
    const char *near = "";
    for (enum torc_placement p = TORC_PLACE_ALL; p <= TORC_PLACE_CORES; p++) {
        CHECK_EQ(torc_placement_parse(NAMES[p], &placement, &near), 0);
        CHECK_EQ(placement, p);
        CHECK(near == NULL);
    }
    CHECK_EQ(torc_placement_parse("near:/dev/nvme0n1", &placement, &near), 0);
    CHECK_EQ(placement, TORC_PLACE_NEAR);
    CHECK_STR(near, "/dev/nvme0n1");
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(WRONG); i++)
        CHECK_EQ(torc_placement_parse(WRONG[i], &placement, &near), -EINVAL);
}

TEST(shard_placement, failing_memory_and_calls_leave_nothing_behind)
{
    for (unsigned kind = FAULT_ALLOC; kind; kind = kind == FAULT_ALLOC ? FAULT_CALL : 0) {
        for (long n = 0;; n++) {
            on(BOX_64, "0-63");
            put_quota("200000 100000\n");
            machine.fault.fail_kinds = kind;
            machine.fault.fail_nth = n;
            int err = place((struct torc_config){.placement = TORC_PLACE_SPREAD});
            /* without a quota's file there are more shards, without memory there is a line */
            CHECK(err == 0 || (err == -ENOMEM && machine.fault.lines));
            CHECK(err || count == 2 || count == 64);
            bool has_failed = machine.fault.failed;
            done();
            if (!has_failed)
                break;
        }
    }
    on(BOX_64, "0");
    machine.affinity_errno = EPERM;
    refused((struct torc_config){0}, -EPERM,
            "torc: the CPUs of this machine can't be listed: errno 1");
    done();
}

TEST(shard_placement, one_shard_without_a_wish_asks_nobody)
{
    on(NULL, "5-6");
    machine.affinity_errno = EPERM;
    struct torc_config config = {.shards = 1};
    CHECK_EQ(torci_place(&machine.fault.kernel, &config, &seats, &count), 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(seats[0].cpu, -1);
    CHECK(!seats[0].shared);
    take_away();
    machine.fault.fail_kinds = FAULT_ALLOC;
    machine.fault.fail_nth = 0;
    CHECK_EQ(torci_place(&machine.fault.kernel, &config, &seats, &count), -ENOMEM);
    CHECK_EQ(machine.fault.lines, 1);
    done();
}

TEST(shard_placement, no_shard_is_put_on_a_machine_of_the_environment)
{
    setenv("HWLOC_SYNTHETIC", EPYC, 1);
    on(NULL, "0,5");
    struct torc_config config = {.placement = TORC_PLACE_CORES};
    CHECK_EQ(torci_place(&machine.fault.kernel, &config, &seats, &count), 0);
    seats_are("0,5"); /* not one for each of its cores */
    CHECK(seats[0].node < 0);
    done();
}

TEST(shard_placement, this_machine_has_a_seat_for_each_allowed_cpu)
{
    struct torci_cpus allowed;
    struct torc_config config = {.shards = 0};
    machine_init(&machine);
    machine.fault.kernel.call = fault_call; /* the real ones */
    CHECK_EQ(torci_cpus_allowed(&machine.fault.kernel, &allowed), 0);
    CHECK_EQ(torci_place(&machine.fault.kernel, &config, &seats, &count), 0);
    CHECK(count == torci_cpus_count(&allowed) ||
          fault_kernel_said(&machine.fault, "the cgroup's CPU quota"));
    for (unsigned i = 0; i < count; i++)
        CHECK(torci_cpus_has(&allowed, (unsigned)seats[i].cpu));
    done();
}

/* Of the real machine: the allowed CPUs from the last to the first. */
static int from_the_end(const struct torc_topology *topology, unsigned wanted, int *cpus, void *arg)
{
    unsigned n = 0;
    for (uint32_t i = topology->cpu_count; i-- > 0 && n < wanted;)
        if (topology->cpus[i].is_allowed)
            cpus[n++] = (int)topology->cpus[i].cpu;
    *(int *)arg = cpus[0];
    return (int)n;
}

static int compare_cpu(void *first)
{
    uint32_t self = torc_shard_id();
    if (sched_getcpu() != (int)torc_shard_cpu(self))
        return -EXDEV;
    return self || torc_shard_cpu(0) == *(unsigned *)first ? 0 : -EDOM;
}

TEST(shard_placement, shards_run_where_they_are_placed)
{
    int first = -1;
    struct torc_config config = {.place = from_the_end, .place_arg = &first, .shards = 3};
    CHECK_EQ(torc_run(&config, compare_cpu, &first), 0);
    CHECK(first >= 0);
    config = (struct torc_config){.cpus = "8191", .shards = 2};
    CHECK_EQ(torc_run(&config, compare_cpu, &first), -EINVAL);
}

TEST(shard_placement, programs_can_ask_beforehand)
{
    const struct torc_topology *topology;
    int cpus[4] = {-1, -1, -1, -1};
    char note[TORC_PLACE_NOTE_BYTES];
    setenv("HWLOC_SYNTHETIC", EPYC, 1);
    unsetenv("TORC_SHARDS");
    CHECK_EQ(torc_topology_load(&topology), 0);
    struct torc_config config = {.shards = 3, .placement = TORC_PLACE_SPREAD};
    CHECK_EQ(torc_topology_place(topology, &config, cpus, 2, note), 3);
    CHECK(cpus[0] == 0 && cpus[1] == 8 && cpus[2] == -1);
    CHECK_STR(note, "");
    CHECK_EQ(torc_topology_place(topology, &config, cpus, 4, note), 3);
    CHECK(cpus[2] == 64 && cpus[3] == -1);
    CHECK_EQ(torc_topology_place(topology, NULL, cpus, 4, NULL), 256);
    CHECK(cpus[2] == 2 && cpus[3] == 3);
    config = (struct torc_config){.shards = 300, .cpus = "7"};
    CHECK_EQ(torc_topology_place(topology, &config, cpus, 4, note), 300);
    CHECK_EQ(cpus[3], 7);
    CHECK_STR(note, "torc: 300 shards on 1 CPU: those that share one take turns and never spin");
    config = (struct torc_config){.near = "eth0"};
    CHECK_EQ(torc_topology_place(topology, &config, cpus, 4, note), -EINVAL);
    CHECK_STR(note, "torc: devices of another machine can't be looked at");
    setenv("TORC_PLACEMENT", "pack", 1);
    setenv("TORC_SHARDS", "10", 1);
    int ten[10];
    CHECK_EQ(torc_topology_place(topology, NULL, ten, 10, note), 10);
    CHECK(ten[7] == 7 && ten[8] == 128 && ten[9] == 129);
    config = (struct torc_config){.shards = 2};
    CHECK_EQ(torc_topology_place(topology, &config, cpus, 4, note), 2);
    setenv("TORC_PLACEMENT", "packed", 1);
    CHECK_EQ(torc_topology_place(topology, NULL, cpus, 4, note), -EINVAL);
    torc_topology_free(topology);
}
