/* SPDX-License-Identifier: MIT
 *
 * From a config to seats: which CPUs may be taken, how many of them, what is said about it. Which ones of many a policy
 * takes is in choose.c.
 */
#include "shard/placement.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shard/choose_internal.h"
#include "shard/environment_internal.h"
#include "shard/mesh_internal.h"
#include "shard/near_internal.h"
#include "shard/placement_internal.h"

enum { LINE_BYTES = 256, LIST_SHOWN = 64, NOWHERE = -1 };

struct placing {
    const struct torci_kernel *kernel;
    const struct torc_topology *topology;
    const struct torc_config *config;
    const char *root;
    void (*say)(void *context, const char *line);
    void *say_context;

    enum torc_placement policy;
    struct torci_cpus near; /* for TORC_PLACE_NEAR */
    int begin;              /* CPU that the choice begins next to; NOWHERE: at the first one */

    /* The CPUs to use, in the order of shards; as many as are allowed have room. */
    int *chosen;
    uint32_t chosen_count;
    uint32_t shards;
};

static int refuse(const struct placing *placing, int err, const char *format, ...)
    TORC_PRINTF(3, 4);
static void say(const struct placing *placing, const char *format, ...) TORC_PRINTF(2, 3);

static void say_list(const struct placing *placing, const char *format, va_list arguments)
{
    char line[LINE_BYTES] = "torc: ";
    vsnprintf(line + 6, sizeof(line) - 6, format, arguments);
    placing->say(placing->say_context, line);
}

static void say(const struct placing *placing, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_list(placing, format, arguments);
    va_end(arguments);
}

static int refuse(const struct placing *placing, int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say_list(placing, format, arguments);
    va_end(arguments);
    return err;
}

static void *alloc(const struct placing *placing, size_t bytes)
{
    return placing->kernel->host.alloc(placing->kernel->host.context, bytes);
}

static void release(const struct placing *placing, void *memory, size_t bytes)
{
    placing->kernel->host.free(placing->kernel->host.context, memory, bytes);
}

static const char *plural(uint32_t count)
{
    return count == 1 ? "" : "s";
}

/* ---- CPUs named by somebody ---- */

static const struct torc_topology_cpu *find_cpu(const struct torc_topology *topology, int cpu)
{
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        if (topology->cpus[i].cpu == (uint32_t)cpu)
            return &topology->cpus[i];
    return NULL;
}

/* "0-3,8": the allowed ones, cut with an ellipsis. */
static void list_allowed(const struct torc_topology *topology, char *text, size_t size)
{
    struct torci_cpus cpus = {0};
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        if (topology->cpus[i].is_allowed)
            torci_cpus_add(&cpus, topology->cpus[i].cpu);
    torci_cpus_format(&cpus, text, size);
}

/* WHO begins the line: "the CPU list names", "the place function chose". */
static int check_cpu(const struct placing *placing, const char *who, int cpu)
{
    const struct torc_topology_cpu *found = find_cpu(placing->topology, cpu);
    char allowed[LIST_SHOWN];
    if (found && found->is_allowed)
        return 0;
    list_allowed(placing->topology, allowed, sizeof(allowed));
    if (!found)
        return refuse(placing, -EINVAL,
                      "%s CPU %d, which does not exist; CPUs that may be used: %s", who, cpu,
                      allowed);
    return refuse(
        placing, -EINVAL,
        "%s CPU %d, which this process may not use (taskset, or the cpuset of its cgroup); "
        "CPUs that may be used: %s",
        who, cpu, allowed);
}

static int take_list(struct placing *placing)
{
    const char *text = placing->config->cpus;
    char why[TORCI_CPU_WHY_BYTES];
    struct torci_cpus named;
    struct torci_cpu_list list;
    int cpu, count = torci_cpu_list_parse(text, &named, why);
    if (count < 0)
        return refuse(placing, count, "the CPU list \"%.*s\" is wrong: %s", LIST_SHOWN, text, why);
    torci_cpu_list_init(&list, text);
    while ((cpu = torci_cpu_list_next(&list)) != TORCI_CPU_LIST_END) {
        int err = check_cpu(placing, "the CPU list names", cpu);
        if (err)
            return err;
        placing->chosen[placing->chosen_count++] = cpu;
    }
    placing->shards = placing->config->shards ? placing->config->shards : (uint32_t)count;
    if (placing->shards > TORCI_SHARDS_MAX)
        return refuse(placing, -EINVAL,
                      "the CPU list \"%.*s\" names %d CPUs: %d shards are the most", LIST_SHOWN,
                      text, count, TORCI_SHARDS_MAX);
    return 0;
}

/* What place may fill in; MOST is how many CPUs there are for it. */
static int take_placed(struct placing *placing, uint32_t most)
{
    struct torci_cpus taken = {0};
    const struct torc_config *config = placing->config;
    for (uint32_t i = 0; i < most; i++)
        placing->chosen[i] = NOWHERE;
    int count = config->place(placing->topology, most, placing->chosen, config->place_arg);
    if (count < 0)
        return refuse(placing, count, "the place function failed: errno %d", -count);
    if (!count || (uint32_t)count > most)
        return refuse(placing, -EINVAL, "the place function chose %d CPUs, not 1 to %u", count,
                      most);
    for (int i = 0; i < count; i++) {
        int err = check_cpu(placing, "the place function chose", placing->chosen[i]);
        if (err)
            return err;
        if (torci_cpus_has(&taken, (unsigned)placing->chosen[i]))
            return refuse(placing, -EINVAL, "the place function chose CPU %d twice",
                          placing->chosen[i]);
        torci_cpus_add(&taken, (unsigned)placing->chosen[i]);
    }
    placing->chosen_count = (uint32_t)count;
    placing->shards = config->shards ? config->shards : (uint32_t)count;
    return 0;
}

/* ---- policies ---- */

/* The caller's near, or what is closest to where the choice begins. */
static uint32_t tier_of(const struct placing *placing, const struct torc_topology_cpu *cpu,
                        const struct torc_topology_cpu *begin)
{
    if (placing->policy == TORC_PLACE_NEAR) {
        if (torci_cpus_has(&placing->near, cpu->cpu))
            return 0;
        for (uint32_t i = 0; i < placing->topology->cpu_count; i++) {
            const struct torc_topology_cpu *other = &placing->topology->cpus[i];
            if (other->package == cpu->package && torci_cpus_has(&placing->near, other->cpu))
                return 1;
        }
        return 2;
    }
    if (!begin)
        return 0;
    if (cpu->package != begin->package)
        return 3;
    return cpu->node != begin->node ? 2 : cpu->l3 != begin->l3;
}

/* All allowed CPUs, in machine's order; with TORC_PLACE_CORES the first one of each core. How many. */
static uint32_t list_candidates(const struct placing *placing, struct torci_candidate *candidates)
{
    const struct torc_topology *topology = placing->topology;
    const struct torc_topology_cpu *begin = find_cpu(topology, placing->begin), *last = NULL;
    uint32_t n = 0, rank = 0, start = begin ? (uint32_t)(begin - topology->cpus) : 0;
    for (uint32_t i = 0; i < topology->cpu_count; i++) {
        const struct torc_topology_cpu *cpu = &topology->cpus[i];
        if (!cpu->is_allowed)
            continue;
        rank = last && last->core == cpu->core ? rank + 1 : 0;
        last = cpu;
        if (rank && placing->policy == TORC_PLACE_CORES)
            continue;
        candidates[n++] = (struct torci_candidate){
            .at = cpu,
            .position = (i + topology->cpu_count - start) % topology->cpu_count,
            .rank = rank,
            .tier = tier_of(placing, cpu, begin),
        };
    }
    return n;
}

/* The taken ones, by number, the near ones first. */
static void number_shards(struct placing *placing, const struct torci_candidate *candidates,
                          uint32_t n)
{
    for (uint32_t tier = 0; tier < 3; tier++) {
        struct torci_cpus cpus = {0};
        for (uint32_t i = 0; i < n; i++)
            if (candidates[i].is_taken &&
                (placing->policy == TORC_PLACE_NEAR ? candidates[i].tier == tier : !tier))
                torci_cpus_add(&cpus, candidates[i].at->cpu);
        for (unsigned cpu = torci_cpus_next(&cpus, 0); cpu < TORCI_CPUS_MAX;
             cpu = torci_cpus_next(&cpus, cpu + 1))
            placing->chosen[placing->chosen_count++] = (int)cpu;
    }
}

/* Of the quota, as whole CPUs: a shard that has half a CPU stands still half of the time, and those that wait for it, too.
 * MOST where there is none. */
static uint32_t within_quota(const struct placing *placing, uint32_t most)
{
    int64_t whole = placing->topology->quota_milli / 1000;
    if (!placing->topology->quota_milli || whole >= most)
        return most;
    return whole ? (uint32_t)whole : 1;
}

/* A quota without a cpuset means that many containers share these CPUs. If each began at the first one, all would be
 * pinned there; where the scheduler has put this thread is as good a place as it knows. */
static int begin_here(const struct placing *placing)
{
    unsigned cpu;
    if (!placing->topology->is_this_machine ||
        TORCI_CALL(placing->kernel, SYS_getcpu, (long)&cpu, 0, 0))
        return NOWHERE;
    return (int)cpu;
}

static void say_quota(const struct placing *placing)
{
    const struct torc_topology *topology = placing->topology;
    say(placing,
        "%u shard%s: the cgroup's CPU quota is %lld.%lld of %u CPUs; set shards or TORC_SHARDS for "
        "another number",
        placing->shards, plural(placing->shards), (long long)topology->quota_milli / 1000,
        (long long)topology->quota_milli % 1000 / 100, topology->allowed_count);
}

/* Where the device is; what is said if nobody knows. */
static int look_near(struct placing *placing)
{
    const struct torc_topology *topology = placing->topology;
    const char *device = placing->config->near;
    char why[TORCI_CPU_WHY_BYTES];
    if (!device || !device[0])
        return refuse(placing, -EINVAL,
                      "placement near needs torc_config.near: a block device, a file or a network "
                      "interface (TORC_PLACEMENT=near:DEVICE)");
    if (!topology->is_this_machine)
        return refuse(placing, -EINVAL, "devices of another machine can't be looked at");
    int count = torci_near_find(placing->kernel, placing->root, device, &placing->near, why);
    if (count < 0)
        return refuse(placing, count, "%s", why);
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        if (topology->cpus[i].is_allowed && torci_cpus_has(&placing->near, topology->cpus[i].cpu))
            return 0;
    placing->policy = TORC_PLACE_ALL;
    if (topology->node_count > 1)
        say(placing,
            count ? "none of the CPUs near \"%.64s\" may be used: others are taken"
                  : "nothing says which CPUs are near \"%.64s\": all are taken as such",
            device);
    return 0;
}

static void choose(struct placing *placing, struct torci_candidate *candidates, uint32_t *counters)
{
    const struct torc_topology *topology = placing->topology;
    const struct torci_tally tally = {counters, counters + topology->package_count,
                                      counters + topology->package_count + topology->node_count};
    uint32_t n = list_candidates(placing, candidates), most = 0;
    for (uint32_t i = 0; i < n; i++)
        most += placing->policy != TORC_PLACE_NEAR || !candidates[i].tier;
    placing->shards = placing->config->shards;
    if (!placing->shards) {
        most = most < TORCI_SHARDS_MAX ? most : TORCI_SHARDS_MAX;
        placing->shards = within_quota(placing, most);
        if (placing->shards < most) {
            say_quota(placing);
            placing->begin = begin_here(placing);
            n = list_candidates(placing, candidates);
        }
    }
    torci_choose(candidates, n, placing->policy, placing->shards < n ? placing->shards : n, &tally);
    number_shards(placing, candidates, n);
}

static int take_by_policy(struct placing *placing)
{
    const struct torc_topology *topology = placing->topology;
    if (placing->policy > TORC_PLACE_NEAR)
        return refuse(placing, -EINVAL, "torc_config.placement has no value %d: see io/config.h",
                      (int)placing->policy);
    if (placing->policy == TORC_PLACE_NEAR) {
        int err = look_near(placing);
        if (err)
            return err;
    }
    size_t counters = (topology->package_count + topology->node_count + topology->l3_count);
    size_t bytes =
        topology->cpu_count * sizeof(struct torci_candidate) + counters * sizeof(uint32_t);
    char *memory = (char *)alloc(placing, bytes);
    if (!memory)
        return refuse(placing, -ENOMEM, "out of memory");
    struct torci_candidate *candidates = (struct torci_candidate *)(void *)memory;
    choose(placing, candidates, (uint32_t *)(void *)(candidates + topology->cpu_count));
    release(placing, memory, bytes);
    return 0;
}

/* ---- the whole of it ---- */

/* One shard and no wish: the first allowed CPU, and nobody has to know the machine. */
static bool is_plain(const struct torc_config *config)
{
    return config->shards == 1 && !config->cpus && !config->near && !config->place &&
           config->placement == TORC_PLACE_ALL;
}

static void take_first(struct placing *placing)
{
    const struct torc_topology *topology = placing->topology;
    int first = TORCI_CPUS_MAX;
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        if (topology->cpus[i].is_allowed && topology->cpus[i].cpu < (uint32_t)first)
            first = (int)topology->cpus[i].cpu;
    placing->chosen[placing->chosen_count++] = first;
    placing->shards = 1;
}

/* Fills in chosen, chosen_count and shards. */
static int take(struct placing *placing)
{
    const struct torc_config *config = placing->config;
    uint32_t allowed = placing->topology->allowed_count;
    int err = 0;
    if (!allowed)
        return refuse(placing, -EINVAL, "this machine has no CPU that may be used");
    if (config->shards > TORCI_SHARDS_MAX)
        return refuse(placing, -EINVAL, "%u shards are too many: %d is the most", config->shards,
                      TORCI_SHARDS_MAX);
    placing->policy = config->near ? TORC_PLACE_NEAR : config->placement;
    placing->begin = NOWHERE;
    if (config->place) {
        uint32_t most = config->shards ? config->shards : within_quota(placing, allowed);
        most = most < allowed ? most : allowed;
        err = take_placed(placing, most < TORCI_SHARDS_MAX ? most : TORCI_SHARDS_MAX);
    } else if (config->cpus && config->cpus[0]) {
        err = take_list(placing);
    } else if (is_plain(config)) {
        take_first(placing);
    } else {
        err = take_by_policy(placing);
    }
    if (!err && placing->shards > placing->chosen_count)
        say(placing, "%u shards on %u CPU%s: those that share one take turns and never spin",
            placing->shards, placing->chosen_count, plural(placing->chosen_count));
    return err;
}

static int seat_node(const struct torc_topology *topology, int cpu)
{
    const struct torc_topology_cpu *found = find_cpu(topology, cpu);
    const struct torc_topology_node *node = &topology->nodes[found->node];
    uint64_t anywhere = 0;
    if (!topology->is_known)
        return NOWHERE;
    for (uint32_t i = 0; i < topology->node_count; i++)
        anywhere |= topology->nodes[i].memory_bytes;
    return node->memory_bytes || !anywhere ? (int)node->number : NOWHERE;
}

static int make_seats(const struct placing *placing, struct torci_seat **seats, uint32_t *count)
{
    struct torci_seat *made =
        (struct torci_seat *)alloc(placing, placing->shards * sizeof(struct torci_seat));
    if (!made)
        return refuse(placing, -ENOMEM, "out of memory for %u shards", placing->shards);
    for (uint32_t i = 0; i < placing->shards; i++) {
        uint32_t first = i % placing->chosen_count;
        int cpu = placing->chosen[first];
        made[i] = (struct torci_seat){.cpu = cpu,
                                      .node = seat_node(placing->topology, cpu),
                                      .shared = first + placing->chosen_count < placing->shards};
    }
    *seats = made;
    *count = placing->shards;
    return 0;
}

/* Room for one CPU, where there is none at all: an empty allocation may be NULL. */
static size_t chosen_bytes(const struct torc_topology *topology)
{
    return (topology->allowed_count + 1) * sizeof(int);
}

int torci_place_on(const struct torci_topology_source *source, const struct torc_config *config,
                   struct torci_seat **seats, uint32_t *count)
{
    const struct torci_kernel *kernel = source->kernel;
    const struct torc_topology *topology = NULL;
    struct placing placing = {.kernel = kernel,
                              .config = config,
                              .root = source->root ? source->root : "",
                              .say = kernel->host.report,
                              .say_context = kernel->host.context};
    int err = torci_topology_load(source, &topology);
    if (err)
        return refuse(&placing, err, "the CPUs of this machine can't be listed: errno %d", -err);
    placing.topology = topology;
    placing.chosen = (int *)alloc(&placing, chosen_bytes(topology));
    if (!placing.chosen) {
        torc_topology_free(topology);
        return refuse(&placing, -ENOMEM, "out of memory");
    }
    err = take(&placing);
    if (!err)
        err = make_seats(&placing, seats, count);
    release(&placing, placing.chosen, chosen_bytes(topology));
    torc_topology_free(topology);
    return err;
}

/* Without hwloc and without a question to the kernel: .shards = 1 is to cost no more than it did before there were
 * shards. What the thread touches comes from the node on which it runs then. */
static int place_one(const struct torci_kernel *kernel, struct torci_seat **seats, uint32_t *count)
{
    struct torci_seat *seat =
        (struct torci_seat *)kernel->host.alloc(kernel->host.context, sizeof(*seat));
    if (!seat) {
        kernel->host.report(kernel->host.context, "torc: out of memory");
        return -ENOMEM;
    }
    *seat = (struct torci_seat){.cpu = NOWHERE, .node = NOWHERE};
    *seats = seat;
    *count = 1;
    return 0;
}

int torci_place(const struct torci_kernel *kernel, const struct torc_config *config,
                struct torci_seat **seats, uint32_t *count)
{
    const struct torci_topology_source source = {.kernel = kernel, .only_this_machine = true};
    return is_plain(config) ? place_one(kernel, seats, count)
                            : torci_place_on(&source, config, seats, count);
}

void torci_place_free(const struct torci_kernel *kernel, struct torci_seat *seats, uint32_t count)
{
    kernel->host.free(kernel->host.context, seats, count * sizeof(*seats));
}

/* ---- for programs ---- */

static void note_line(void *context, const char *line)
{
    char *note = (char *)context;
    if (!note)
        return;
    size_t used = strlen(note);
    snprintf(note + used, TORC_PLACE_NOTE_BYTES - used, "%s%s", used ? "\n" : "", line);
}

int torc_topology_place(const struct torc_topology *topology, const struct torc_config *config,
                        int *cpus, uint32_t cpus_max, char *note)
{
    struct torc_config filled_in = config ? *config : (struct torc_config){.kernel = NULL};
    struct placing placing = {.kernel = torci_kernel_linux_get(),
                              .topology = topology,
                              .config = &filled_in,
                              .root = "",
                              .say = note_line,
                              .say_context = note};
    if (note)
        note[0] = '\0';
    filled_in.kernel = placing.kernel;
    if (torci_environment_apply(&filled_in))
        return -EINVAL;
    placing.chosen = (int *)alloc(&placing, chosen_bytes(topology));
    if (!placing.chosen)
        return refuse(&placing, -ENOMEM, "out of memory");
    int err = take(&placing);
    for (uint32_t i = 0; !err && i < placing.shards && i < cpus_max; i++)
        cpus[i] = placing.chosen[i % placing.chosen_count];
    release(&placing, placing.chosen, chosen_bytes(topology));
    return err ? err : (int)placing.shards;
}

int torc_placement_parse(const char *text, enum torc_placement *placement, const char **near)
{
    static const char *const NAMES[] = {[TORC_PLACE_ALL] = "all",
                                        [TORC_PLACE_SPREAD] = "spread",
                                        [TORC_PLACE_PACK] = "pack",
                                        [TORC_PLACE_CORES] = "cores"};
    static const char NEAR[] = "near:";
    *near = NULL;
    if (!strncmp(text, NEAR, sizeof(NEAR) - 1) && text[sizeof(NEAR) - 1]) {
        *placement = TORC_PLACE_NEAR;
        *near = text + sizeof(NEAR) - 1;
        return 0;
    }
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(NAMES); i++) {
        if (!strcmp(text, NAMES[i])) {
            *placement = (enum torc_placement)i;
            return 0;
        }
    }
    return -EINVAL;
}
