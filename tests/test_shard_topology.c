/* SPDX-License-Identifier: MIT
 *
 * What is read of a machine: its CPUs in their places, lists of CPUs, quotas, memory nodes.
 */
#include "shard/topology.h"

#include <pthread.h>

#include "tests/shard_machine.h"

static struct machine machine;

static const struct torc_topology *load(void)
{
    const struct torc_topology *topology = NULL;
    CHECK_EQ(torci_topology_load(&machine.source, &topology), 0);
    return topology;
}

static const struct torc_topology *synthetic(const char *description, const char *allowed)
{
    machine_init(&machine);
    machine.source.synthetic = description;
    machine_allow(&machine, allowed);
    return load();
}

static const struct torc_topology *from_xml(const char *path, const char *allowed)
{
    machine_init(&machine);
    machine.source.xml_path = path;
    machine_allow(&machine, allowed);
    return load();
}

static const struct torc_topology_cpu *find(const struct torc_topology *topology, unsigned cpu)
{
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        if (topology->cpus[i].cpu == cpu)
            return &topology->cpus[i];
    TEST_FAIL("there is no CPU %u", cpu);
    return NULL;
}

static void done(const struct torc_topology *topology)
{
    torc_topology_free(topology);
    machine_deinit(&machine);
}

static void check_counts(const struct torc_topology *t, unsigned cpus, unsigned cores,
                         unsigned packages, unsigned nodes, unsigned l3s)
{
    CHECK_EQ(t->cpu_count, cpus);
    CHECK_EQ(t->core_count, cores);
    CHECK_EQ(t->package_count, packages);
    CHECK_EQ(t->node_count, nodes);
    CHECK_EQ(t->l3_count, l3s);
    for (uint32_t i = 0; i < t->cpu_count; i++) {
        const struct torc_topology_cpu *cpu = &t->cpus[i];
        CHECK(cpu->core < cores && cpu->package < packages && cpu->node < nodes && cpu->l3 < l3s);
        CHECK(cpu->kind < t->kind_count);
    }
}

/* ---- machines ---- */

TEST(shard_topology, siblings_share_core_and_cache)
{
    const struct torc_topology *t =
        synthetic("pack:2 l3:8(size=32MB) core:8 pu:2(indexes=2*128:1*2)", "0-255");
    check_counts(t, 256, 128, 2, 1, 16);
    const struct torc_topology_cpu *a = find(t, 13), *b = find(t, 141), *c = find(t, 77);
    CHECK(a->core == b->core && a->l3 == b->l3 && a->package == b->package);
    CHECK_EQ(a->thread, 0);
    CHECK_EQ(b->thread, 1);
    CHECK_EQ(a->l3, 1);
    CHECK_EQ(c->l3, 9);
    CHECK_EQ(c->package, 1);
    CHECK(t->l3s[9].is_cache && t->l3s[9].size_bytes == 32000000);
    CHECK_EQ(t->kind_count, 1);
    CHECK(t->is_known && t->is_this_machine);
    CHECK_EQ(t->allowed_count, 256);
    done(t);
}

TEST(shard_topology, each_cpu_has_the_node_of_its_part_of_the_package)
{
    const struct torc_topology *t = synthetic(
        "pack:2 group:4 [numa(memory=64GB)] l3:2 core:8 pu:2(indexes=2*128:1*2)", "0-255");
    check_counts(t, 256, 128, 2, 8, 16);
    for (unsigned cpu = 0; cpu < 256; cpu++)
        CHECK_EQ(t->nodes[find(t, cpu)->node].number, cpu % 128 / 16);
    CHECK_EQ(t->nodes[7].memory_bytes, 64000000000);
    done(t);
}

TEST(shard_topology, one_cache_may_reach_over_two_nodes)
{
    const struct torc_topology *t = synthetic("pack:2 l3:1 group:2 [numa] core:8 pu:1", "0-31");
    check_counts(t, 32, 32, 2, 4, 2);
    CHECK_EQ(find(t, 7)->l3, find(t, 8)->l3);
    CHECK(find(t, 7)->node != find(t, 8)->node);
    done(t);
}

TEST(shard_topology, kinds_of_cores_are_told_apart)
{
    const struct torc_topology *t = from_xml("tests/topologies/laptop.xml", "0-19");
    check_counts(t, 20, 14, 1, 1, 1);
    CHECK_EQ(t->kind_count, 2);
    CHECK_EQ(find(t, 11)->kind, 1);
    CHECK_EQ(find(t, 12)->kind, 0);
    done(t);
}

TEST(shard_topology, cores_without_the_cache_are_a_group_of_their_own)
{
    const struct torc_topology *t = from_xml("tests/topologies/laptop_island.xml", "0-21");
    check_counts(t, 22, 16, 1, 1, 2);
    CHECK_EQ(t->kind_count, 3);
    CHECK_EQ(find(t, 20)->l3, 1);
    CHECK_EQ(find(t, 21)->l3, 1);
    CHECK(t->l3s[0].is_cache && !t->l3s[1].is_cache);
    done(t);
}

TEST(shard_topology, without_any_cache_each_node_is_a_group)
{
    const struct torc_topology *t = synthetic("pack:1 group:2 [numa] core:64 pu:1", "0-127");
    check_counts(t, 128, 128, 1, 2, 2);
    CHECK_EQ(find(t, 63)->l3, 0);
    CHECK_EQ(find(t, 64)->l3, 1);
    CHECK(!t->l3s[0].is_cache && !t->l3s[1].is_cache);
    done(t);
}

TEST(shard_topology, memory_that_belongs_to_no_cpu_is_nobodys_own_node)
{
    const struct torc_topology *t =
        synthetic("[numa(memory=512GB)] pack:2 [numa(memory=64GB)] l3:1 core:4 pu:1", "0-7");
    check_counts(t, 8, 8, 2, 3, 2);
    CHECK_EQ(t->nodes[find(t, 3)->node].number, 0);
    CHECK_EQ(t->nodes[find(t, 4)->node].number, 1);
    done(t);
}

TEST(shard_topology, a_node_may_have_no_memory)
{
    const struct torc_topology *t = from_xml("tests/topologies/node_without_memory.xml", "0-7");
    check_counts(t, 8, 8, 2, 2, 2);
    CHECK_EQ(t->nodes[find(t, 4)->node].number, 1);
    CHECK_EQ(t->nodes[1].memory_bytes, 0);
    done(t);
}

TEST(shard_topology, allowed_are_the_cpus_that_the_kernel_allows)
{
    const struct torc_topology *t = synthetic("l3:1 core:8 pu:2(indexes=2*8:1*2)", "1,3-5,9,12");
    CHECK_EQ(t->cpu_count, 16);
    CHECK_EQ(t->allowed_count, 6);
    CHECK(find(t, 9)->is_allowed && !find(t, 8)->is_allowed);
    done(t);
}

TEST(shard_topology, cpus_that_hwloc_does_not_know_are_added)
{
    const struct torc_topology *t = synthetic("pack:2 l3:1 core:2 pu:1", "2-5,9");
    check_counts(t, 7, 7, 2, 1, 3);
    CHECK_EQ(t->allowed_count, 5);
    CHECK(find(t, 9)->is_allowed && find(t, 4)->core != find(t, 5)->core);
    done(t);
}

TEST(shard_topology, without_hwloc_the_allowed_cpus_are_one_node)
{
    machine_init(&machine);
    machine.source.no_hwloc = true;
    machine_allow(&machine, "0-3,8");
    const struct torc_topology *t = load();
    check_counts(t, 5, 5, 1, 1, 1);
    CHECK_EQ(t->allowed_count, 5);
    CHECK(!t->is_known);
    done(t);
}

TEST(shard_topology, what_hwloc_cannot_read_is_an_error_where_it_was_asked_for)
{
    const struct torc_topology *t;
    machine_init(&machine);
    machine_allow(&machine, "0");
    machine.source.synthetic = "nonsense:2";
    CHECK_EQ(torci_topology_load(&machine.source, &t), -EINVAL);
    machine.source.synthetic = NULL;
    machine.source.xml_path = "tests/topologies/nowhere.xml";
    CHECK_EQ(torci_topology_load(&machine.source, &t), -EINVAL);
    machine_deinit(&machine);
}

TEST(shard_topology, nothing_is_left_behind_by_a_failure)
{
    const struct torc_topology *t;
    machine_init(&machine);
    machine.source.synthetic = "core:4 pu:1";
    machine.affinity_errno = EPERM;
    CHECK_EQ(torci_topology_load(&machine.source, &t), -EPERM);
    machine.affinity_errno = 0; /* and the kernel says that no CPU is allowed */
    CHECK_EQ(torci_topology_load(&machine.source, &t), -EINVAL);
    machine_allow(&machine, "0");
    machine.fault.fail_kinds = FAULT_ALLOC;
    machine.fault.fail_nth = 0;
    CHECK_EQ(torci_topology_load(&machine.source, &t), -ENOMEM);
    machine_deinit(&machine);
}

/* ---- this machine ---- */

TEST(shard_topology, this_machine_has_the_cpus_that_the_kernel_allows)
{
    const struct torc_topology *first, *t;
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_XMLFILE");
    CHECK_EQ(torc_topology_load(&first), 0);
    CHECK_EQ(torc_topology_load(&t), 0); /* this time from what is kept */
    struct torci_cpus allowed;
    CHECK_EQ(torci_cpus_allowed(torci_kernel_linux_get(), &allowed), 0);
    CHECK_EQ(t->allowed_count, torci_cpus_count(&allowed));
    CHECK_EQ(t->cpu_count, first->cpu_count);
    CHECK(t->is_this_machine);
    for (uint32_t i = 0; i < t->cpu_count; i++)
        CHECK_EQ(t->cpus[i].is_allowed, torci_cpus_has(&allowed, t->cpus[i].cpu));
    torc_topology_free(first);
    torc_topology_free(t);
    torc_topology_free(NULL);
}

static void *load_once(void *arg)
{
    const struct torc_topology **out = arg;
    return torc_topology_load(out) ? arg : NULL;
}

TEST(shard_topology, several_threads_may_read_it_for_the_first_time)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    const struct torc_topology *loaded[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, load_once, &loaded[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        CHECK_EQ(pthread_join(threads[i], &failed), 0);
        CHECK(failed == NULL);
        CHECK_EQ(loaded[i]->cpu_count, loaded[0]->cpu_count);
    }
    for (int i = 0; i < THREADS; i++)
        torc_topology_free(loaded[i]);
}

TEST(shard_topology, another_machine_of_the_environment_is_shown_but_never_run_on)
{
    const struct torc_topology *t;
    setenv("HWLOC_SYNTHETIC", "pack:2 core:4 pu:2", 1);
    machine_init(&machine);
    machine_allow(&machine, "0-1");
    machine.source.as_this_machine = false;
    t = load();
    CHECK(!t->is_this_machine);
    CHECK_EQ(t->cpu_count, 16);
    CHECK_EQ(t->allowed_count, 16);
    torc_topology_free(t);
    machine.source.only_this_machine = true;
    t = load();
    CHECK(t->is_this_machine && !t->is_known);
    CHECK_EQ(t->cpu_count, 2);
    done(t);
}

/* ---- lists of CPUs ---- */

static const char *walked(const char *text)
{
    static char all[512];
    static struct torci_cpu_list list;
    size_t used = 0;
    int cpu;
    torci_cpu_list_init(&list, text);
    all[0] = '\0';
    while ((cpu = torci_cpu_list_next(&list)) >= 0 && cpu != TORCI_CPU_LIST_END)
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%d", used ? " " : "", cpu);
    return cpu < 0 ? list.why : all;
}

TEST(shard_cpu_list, ranges_and_steps_in_the_order_written)
{
    CHECK_STR(walked("0-3,8,10-14:2"), "0 1 2 3 8 10 12 14");
    CHECK_STR(walked("9,0-1"), "9 0 1");
    CHECK_STR(walked("0"), "0");
    CHECK_STR(walked("5-5:3\n"), "5");
    CHECK_STR(walked("1-6:4"), "1 5");
    CHECK_STR(walked("8191"), "8191");
    CHECK_STR(walked(""), "");
    CHECK_STR(walked(" \n"), "");
}

TEST(shard_cpu_list, what_is_wrong_is_said)
{
    static const char IS_NONE[] = "is no CPU, no range FIRST-LAST and no FIRST-LAST:STEP";
    static const struct {
        const char *list, *piece, *what;
    } WRONG[] = {
        {"x", "\"x\"", IS_NONE},
        {"0-3,x", "\"x\"", IS_NONE},
        {"-1", "\"-1\"", IS_NONE},
        {"1,,2", "\"\"", IS_NONE},
        {"1,", "\"\"", IS_NONE},
        {",1", "\"\"", IS_NONE},
        {"1;2", "\"1;2\"", IS_NONE},
        {"1-2-3", "\"1-2-3\"", IS_NONE},
        {"1:2", "\"1:2\"", IS_NONE},
        {"0x4", "\"0x4\"", IS_NONE},
        {"3-", "\"3-\"", "is a range without an end"},
        {"3-a", "\"3-a\"", "is a range without an end"},
        {"0-3:0", "\"0-3:0\"", "has a step that is not 1 or more"},
        {"0-3:", "\"0-3:\"", "has a step that is not 1 or more"},
        {"7-3", "\"7-3\"", "ends before it begins"},
        {"8192", "\"8192\"", "is beyond the 8192 CPUs that Linux can have"},
        {"0-99999999999999999999", "\"0-99999999999999999999\"",
         "is beyond the 8192 CPUs that Linux can have"},
        {"1 2", "\" 2\"", "has blanks before it: CPUs are separated by commas"},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(WRONG); i++) {
        char wanted[256], why[TORCI_CPU_WHY_BYTES];
        struct torci_cpus cpus;
        snprintf(wanted, sizeof(wanted), "%s %s", WRONG[i].piece, WRONG[i].what);
        CHECK_STR(walked(WRONG[i].list), wanted);
        CHECK_EQ(torci_cpu_list_parse(WRONG[i].list, &cpus, why), -EINVAL);
        CHECK_STR(why, wanted);
    }
    CHECK_STR(walked("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,1"),
              "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…\" is no CPU, no range FIRST-LAST and no "
              "FIRST-LAST:STEP");
}

TEST(shard_cpu_list, a_set_has_each_cpu_once)
{
    struct torci_cpus cpus;
    char why[TORCI_CPU_WHY_BYTES], text[32];
    CHECK_EQ(torci_cpu_list_parse("0-3,2", &cpus, why), -EINVAL);
    CHECK_STR(why, "CPU 2 is named twice");
    CHECK_EQ(torci_cpu_list_parse("", &cpus, why), -EINVAL);
    CHECK_STR(why, "no CPU is named");
    CHECK_EQ(torci_cpu_list_parse("63-65,8191", &cpus, why), 4);
    CHECK_EQ(torci_cpus_count(&cpus), 4);
    CHECK_EQ(torci_cpus_next(&cpus, 0), 63);
    CHECK_EQ(torci_cpus_next(&cpus, 64), 64);
    CHECK_EQ(torci_cpus_next(&cpus, 66), 8191);
    CHECK_EQ(torci_cpus_next(&cpus, 8192), TORCI_CPUS_MAX);
    torci_cpus_format(&cpus, text, sizeof(text));
    CHECK_STR(text, "63-65,8191");
    CHECK_EQ(torci_cpu_list_parse("0-40:2", &cpus, why), 21);
    torci_cpus_format(&cpus, text, sizeof(text));
    CHECK_STR(text, "0,2,4,6,8,10,12,14,16,18,20,…");
}

/* ---- quotas ---- */

static int64_t quota(void)
{
    int64_t found = torci_quota_milli(&machine.fault.kernel, machine.source.root);
    machine_deinit(&machine);
    return found == TORCI_QUOTA_NONE ? -1 : found;
}

TEST(shard_quota, smallest_of_all_groups_above_counts)
{
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "0::/a/b/c\n");
    machine_put(&machine, "/sys/fs/cgroup/a/cpu.max", "200000 100000\n");
    machine_put(&machine, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    machine_put(&machine, "/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
    CHECK_EQ(quota(), 2000);
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "0::/a\n");
    machine_put(&machine, "/sys/fs/cgroup/a/cpu.max", "25000 50000\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu.max", "150000 100000\n");
    CHECK_EQ(quota(), 500);
}

TEST(shard_quota, path_of_the_host_leads_to_the_mount)
{
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "0::/kubepods/pod1/box\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu.max", "250000 100000\n");
    CHECK_EQ(quota(), 2500);
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "0::/../../other\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    CHECK_EQ(quota(), 1000);
}

TEST(shard_quota, older_groups_have_two_files)
{
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "12:cpuset:/x\n4:cpu,cpuacct:/x/y\n0::/z\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "300000\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_quota_us", "-1\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_period_us", "100000\n");
    CHECK_EQ(quota(), 3000);
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "4:cpuacct,cpu:/x\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "700000\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "200000\n");
    CHECK_EQ(quota(), 3500);
    machine_init(&machine);
    machine_put(&machine, "/proc/self/cgroup", "4:cpuset:/x\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "300000\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
    CHECK_EQ(quota(), -1);
}

TEST(shard_quota, nonsense_is_no_quota)
{
    static const char *const FILES[] = {
        "",           "max\n",      "max 100000\n", "x y\n",
        "0 100000\n", "100000 0\n", "100000\n",     "99999999999999999999999 1\n"};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(FILES); i++) {
        machine_init(&machine);
        machine_put(&machine, "/proc/self/cgroup", "0::/\n");
        machine_put(&machine, "/sys/fs/cgroup/cpu.max", "%s", FILES[i]);
        CHECK_EQ(quota(), -1);
    }
    static const char *const GROUPS[] = {"", "\n", "0\n", "0:\n", "0::", "0::relative\n", ":::::"};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(GROUPS); i++) {
        machine_init(&machine);
        machine_put(&machine, "/proc/self/cgroup", "%s", GROUPS[i]);
        CHECK_EQ(quota(), -1);
    }
    machine_init(&machine);
    CHECK_EQ(quota(), -1);
}
