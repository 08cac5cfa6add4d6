/* SPDX-License-Identifier: MIT
 *
 * torc-micro: what each mechanism costs, one JSON object a line. The benchmarks are tasks of one executor, pinned as any
 * program's are. Each figure is the best of a few runs inside one process; compare.py takes the best of many processes.
 *
 *     torc-micro [NAME…] [--json] [--path FILE] [--depth N] [--batch N] [--seconds S] [--cpu N]
 */
#include "bench/micro.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct micro_options micro;

static int run_nothing(void *arg)
{
    (void)arg;
    return 0;
}

uint64_t micro_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * TORC_SEC + (uint64_t)t.tv_nsec;
}

void micro_die(const char *what, int err)
{
    fprintf(stderr, "torc-micro: %s: %s\n", what, strerror(-err));
    exit(1);
}

void micro_spawn(struct torc_scope *scope, torc_task_fn *fn, void *arg)
{
    int err = torc_spawn(scope, fn, arg);
    if (err)
        micro_die("spawn", err);
}

void micro_join(struct torc_scope *scope)
{
    int err = torc_scope_join(scope);
    if (err)
        micro_die("a task", err);
}

/* The least time that one of RUNS calls of ROUND takes, per unit of work, in ns. */
static double best_ns(unsigned runs, void (*round)(void), double units)
{
    double best = 1e30;
    for (unsigned run = 0; run < runs; run++) {
        uint64_t start = torc_now_ns();
        round();
        double ns = (double)(torc_now_ns() - start) / units;
        best = ns < best ? ns : best;
    }
    return best;
}

/* ---- switch: two bare contexts ---- */

enum { SWITCH_ROUNDS = 1000000, SWITCH_STACK = 64 * 1024 };
static struct torci_context here, there;

static void bounce(void)
{
    for (;;)
        torci_context_switch(&there, &here);
}

static void switch_round(void)
{
    for (unsigned i = 0; i < SWITCH_ROUNDS; i++)
        torci_context_switch(&here, &there);
}

static void bench_switch(void)
{
    static _Alignas(64) char stack[SWITCH_STACK];
    torci_context_make(&there, stack + sizeof stack - 64, bounce);
    printf("{\"bench\":\"switch\",\"ns\":%.2f}\n", best_ns(20, switch_round, 2.0 * SWITCH_ROUNDS));
}

/* ---- yield: 1,000 tasks in turn ---- */

enum { YIELD_TASKS = 1000, YIELDS = 1000 };

static int yield_often(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < YIELDS; i++)
        torc_yield();
    return 0;
}

static void yield_round(void)
{
    struct torc_scope all;
    torc_scope_init(&all);
    for (unsigned i = 0; i < YIELD_TASKS; i++)
        micro_spawn(&all, yield_often, NULL);
    micro_join(&all);
}

static void bench_yield(void)
{
    printf("{\"bench\":\"yield\",\"tasks\":%d,\"ns\":%.2f}\n", YIELD_TASKS,
           best_ns(20, yield_round, (double)YIELD_TASKS * YIELDS));
}

/* ---- spawn ---- */

enum { SPAWN_BATCH = 1000, SPAWN_ROUNDS = 100 };

static void spawn_round(void)
{
    for (unsigned round = 0; round < SPAWN_ROUNDS; round++) {
        struct torc_scope all;
        torc_scope_init(&all);
        for (unsigned i = 0; i < SPAWN_BATCH; i++)
            micro_spawn(&all, run_nothing, NULL);
        micro_join(&all);
    }
}

static void bench_spawn_join(void)
{
    printf("{\"bench\":\"spawn_join\",\"tasks\":%d,\"ns\":%.2f}\n", SPAWN_BATCH,
           best_ns(30, spawn_round, (double)SPAWN_BATCH * SPAWN_ROUNDS));
}

enum { SPAWN_ONE_ROUNDS = 100000 };

static void spawn_one_round(void)
{
    for (unsigned i = 0; i < SPAWN_ONE_ROUNDS; i++) {
        struct torc_scope one;
        torc_scope_init(&one);
        micro_spawn(&one, run_nothing, NULL);
        micro_join(&one);
    }
}

static void bench_spawn_one(void)
{
    printf("{\"bench\":\"spawn_one\",\"ns\":%.2f}\n",
           best_ns(30, spawn_one_round, SPAWN_ONE_ROUNDS));
}

/* ---- chan: 8-byte values through 128 slots ---- */

enum { CHAN_MESSAGES = 1000000, CHAN_SLOTS = 128 };
static struct torc_channel channel;

static int produce(void *arg)
{
    (void)arg;
    int err = 0;
    for (uint64_t i = 0; i < CHAN_MESSAGES && !err; i++)
        err = torc_channel_send(&channel, &i);
    torc_channel_close(&channel);
    return err;
}

static int consume(void *arg)
{
    (void)arg;
    uint64_t value, sum = 0;
    while (torc_channel_recv(&channel, &value) == 0)
        sum += value;
    return sum == (uint64_t)CHAN_MESSAGES * (CHAN_MESSAGES - 1) / 2 ? 0 : -EIO;
}

static void chan_round(void)
{
    static uint64_t slots[CHAN_SLOTS];
    int err = torc_channel_init(&channel, sizeof slots[0], CHAN_SLOTS, slots);
    if (err)
        micro_die("channel", err);
    struct torc_scope both;
    torc_scope_init(&both);
    micro_spawn(&both, produce, NULL);
    micro_spawn(&both, consume, NULL);
    micro_join(&both);
}

static void bench_chan(void)
{
    printf("{\"bench\":\"chan\",\"slots\":%d,\"ns\":%.2f}\n", CHAN_SLOTS,
           best_ns(20, chan_round, CHAN_MESSAGES));
}

/* ---- should_yield ---- */

enum { ASKS = 1000000 };

static void should_yield_round(void)
{
    for (unsigned i = 0; i < ASKS; i++)
        if (torc_should_yield())
            torc_yield();
}

static void bench_should_yield(void)
{
    printf("{\"bench\":\"should_yield\",\"ns\":%.2f}\n", best_ns(20, should_yield_round, ASKS));
}

/* ---- timer: how late ---- */

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void timer_case(unsigned ms, unsigned count, bool precise)
{
    static int64_t late[1000];
    for (unsigned i = 0; i < count; i++) {
        uint64_t start = torc_now_ns(), wanted = ms * TORC_MS;
        int err = precise ? torc_sleep_precise(wanted) : torc_sleep(wanted);
        if (err)
            micro_die("sleep", err);
        late[i] = (int64_t)(torc_now_ns() - start - wanted);
    }
    qsort(late, count, sizeof late[0], compare_i64);
    unsigned median = count / 2, p99 = (count * 99 - 1) / 100;
    printf("{\"bench\":\"timer\",\"ms\":%u,\"mode\":\"%s\",\"min_us\":%.1f,\"p50_us\":%.1f,"
           "\"p99_us\":%.1f,\"max_us\":%.1f}\n",
           ms, precise ? "precise" : "parked", (double)late[0] / 1e3, (double)late[median] / 1e3,
           (double)late[p99] / 1e3, (double)late[count - 1] / 1e3);
}

static void bench_timer(void)
{
    static const struct {
        unsigned ms, count;
    } cases[] = {{1, 500}, {10, 200}, {100, 50}};
    for (unsigned precise = 0; precise < 2; precise++)
        for (size_t i = 0; i < TORC_ARRAY_LENGTH(cases); i++)
            timer_case(cases[i].ms, cases[i].count, precise);
}

/* ---- parked: the memory of a task that waits ---- */

enum { PARKED_TASKS = 10000 };

static long resident_bytes(void)
{
    long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &size, &pages) != 2)
        micro_die("/proc/self/statm", -EIO);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static int wait_for_end(void *arg)
{
    int err = torc_event_wait((struct torc_event *)arg);
    return err;
}

static void bench_parked(void)
{
    static struct torc_event end;
    torc_event_init(&end);
    struct torc_scope all;
    torc_scope_init(&all);
    long before = resident_bytes();
    for (unsigned i = 0; i < PARKED_TASKS; i++)
        micro_spawn(&all, wait_for_end, &end);
    torc_yield();
    long after = resident_bytes();
    torc_event_set(&end);
    micro_join(&all);
    printf("{\"bench\":\"parked\",\"tasks\":%d,\"bytes\":%.0f,\"fiber_bytes\":%zu}\n", PARKED_TASKS,
           (double)(after - before) / PARKED_TASKS, sizeof(struct torci_fiber));
}

enum needs {
    NEEDS_NOTHING,
    NEEDS_PATH,
    NEEDS_NO_SHARD, /* starts its own set of them */
};

static const struct {
    const char *name;
    void (*run)(void);
    const char *what;
    enum needs needs;
} benches[] = {
    {"switch", bench_switch, "one bare context switch", NEEDS_NOTHING},
    {"yield", bench_yield, "1,000 tasks that yield in turn", NEEDS_NOTHING},
    {"spawn_join", bench_spawn_join, "1,000 tasks started, then joined; each with a stack",
     NEEDS_NOTHING},
    {"spawn_one", bench_spawn_one, "one task started and joined", NEEDS_NOTHING},
    {"chan", bench_chan, "a message through a bounded channel", NEEDS_NOTHING},
    {"should_yield", bench_should_yield, "the question whether to yield", NEEDS_NOTHING},
    {"timer", bench_timer, "how late a sleep of 1, 10, 100 ms ends, parked and precise",
     NEEDS_NOTHING},
    {"parked", bench_parked, "memory of a task that waits", NEEDS_NOTHING},
    {"alloc", micro_alloc, "torc_alloc and torc_free of 64 bytes", NEEDS_NOTHING},
    {"nop", micro_nop, "128 tasks that send no-ops", NEEDS_NOTHING},
    {"nop1", micro_nop1, "one task that sends no-ops", NEEDS_NOTHING},
    {"read", micro_read, "random reads by --depth tasks", NEEDS_PATH},
    {"read_op", micro_read_op, "random reads by embedded ops", NEEDS_PATH},
    {"alloc_remote", micro_alloc_remote, "64 bytes freed on another shard and taken back",
     NEEDS_NO_SHARD},
    {"xchan", micro_xchan, "64-byte messages one way between two shards, in place", NEEDS_NO_SHARD},
    {"call", micro_call, "a call to another shard and its answer, both looking for it",
     NEEDS_NO_SHARD},
    {"call_park", micro_call_park, "the same, both asleep in between", NEEDS_NO_SHARD},
    {"turn", micro_turn, "a turn of the loop among 2 and among 64 shards", NEEDS_NO_SHARD},
    {"xchan_copy", micro_xchan_copy, "the same by send and recv", NEEDS_NO_SHARD},
};

static bool wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

struct selection {
    int count;
    char **names;
};

/* How many were wanted of those that start shards themselves, or of the others; runs them too unless COUNT_ONLY. */
static unsigned run_kind(const struct selection *selected, bool own_set, bool count_only)
{
    unsigned count = 0;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(benches); i++) {
        if ((benches[i].needs == NEEDS_NO_SHARD) != own_set ||
            !(selected->count ? wanted(benches[i].name, selected->count, selected->names)
                              : benches[i].needs != NEEDS_PATH || micro.path))
            continue;
        count++;
        if (!count_only) {
            benches[i].run();
            fflush(stdout);
        }
    }
    return count;
}

static int run_benches(void *arg)
{
    (void)run_kind((const struct selection *)arg, false, false);
    return 0;
}

static void usage(FILE *to)
{
    fprintf(to, "torc-micro [NAME…] [--json] [--path FILE] [--depth N] [--batch N] [--seconds S] "
                "[--cpu N]\nPrints one JSON object a line. Without a NAME, all of:\n");
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(benches); i++)
        fprintf(to, "  %-13s %s\n", benches[i].name, benches[i].what);
}

static int bad(const char *what, const char *which)
{
    fprintf(stderr, "torc-micro: %s %s; --help lists what there is\n", what, which);
    return 1;
}

static int check_names(int count, char **names)
{
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (size_t k = 0; k < TORC_ARRAY_LENGTH(benches); k++)
            if (!strcmp(names[i], benches[k].name)) {
                known = true;
                if (benches[k].needs == NEEDS_PATH && !micro.path)
                    return bad("--path FILE is missing for", names[i]);
            }
        if (!known)
            return bad("no benchmark", names[i]);
    }
    return 0;
}

/* The present option's value, 0 to MOST; otherwise 0, and *RIGHT is false. */
static double number(double most, bool *right)
{
    char *end;
    double value = strtod(optarg, &end);
    if (end != optarg && !*end && value >= 0 && value <= most)
        return value;
    *right = false;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},          {"path", required_argument, NULL, 'p'},
        {"depth", required_argument, NULL, 'd'},   {"batch", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 's'}, {"cpu", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},          {0}};
    struct torc_config config = {.shards = 1};
    micro = (struct micro_options){.depth = 128, .batch = 32, .seconds = 1};
    bool right = true;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;)
        switch (o) {
        case 'j': break; /* the only output there is */
        case 'p': micro.path = optarg; break;
        case 'd': micro.depth = (unsigned)number(MICRO_DEPTH_MAX, &right); break;
        case 'b': micro.batch = (unsigned)number(UINT32_MAX, &right); break;
        case 's': micro.seconds = number(3600, &right); break;
        case 'c': micro.cpus = config.cpus = optarg; break;
        case 'h': usage(stdout); return 0;
        default: return 1;
        }
    if (!right || micro.depth < 1 || micro.batch < 1 || micro.seconds <= 0)
        return bad("out of range:", "--depth is 1 to 4096, --batch 1 and more, --seconds above 0 "
                                    "up to 3600, --cpu a CPU's number");
    struct selection selected = {argc - optind, argv + optind};
    if (check_names(selected.count, selected.names))
        return 1;
    /* the benchmarks keep the CPU busy on purpose */
    config.no_stall_report = true;
    int err = run_kind(&selected, false, true) ? torc_run(&config, run_benches, &selected) : 0;
    (void)run_kind(&selected, true, false);
    if (ferror(stdout)) {
        fputs("torc-micro: standard output can't be written\n", stderr);
        return 1;
    }
    return err ? 1 : 0;
}
