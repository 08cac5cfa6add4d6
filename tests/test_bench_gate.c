/* SPDX-License-Identifier: MIT
 *
 * Gates between shards: nobody goes through before all have arrived, everybody does then, in whatever order the news
 * comes; who is interrupted there does not hang.
 */
#include <errno.h>
#include <string.h>

#include "apps/torc/gate.h"
#include "apps/torc/usage.h"
#include "tests/harness.h"

enum { SHARDS = 3, GATES = 200, TASKS = 4 };

static struct {
    struct bench_gates gates;
    uint32_t arrived[GATES]; /* atomic */
    uint32_t last[GATES];    /* atomic: how many were told that they were */
} t;

static uint32_t arrivals_at(uint32_t gate)
{
    return gate % 2 ? SHARDS : SHARDS + SHARDS * TASKS;
}

static int arrive(uint32_t gate)
{
    __atomic_fetch_add(&t.arrived[gate], 1,
                       __ATOMIC_RELAXED); /* ordered by the gate, which is what is tested */
    int arrived = bench_gate_arrive(&t.gates, gate);
    if (arrived > 0)
        __atomic_fetch_add(&t.last[gate], 1, __ATOMIC_RELAXED);
    return arrived < 0 ? arrived : 0;
}

static int pass(uint32_t gate)
{
    int err = bench_gate_wait(&t.gates, gate);
    CHECK(err || __atomic_load_n(&t.arrived[gate], __ATOMIC_RELAXED) == arrivals_at(gate));
    return err;
}

static int copy(void *arg)
{
    uint32_t gate = *(uint32_t *)arg;
    int err = arrive(gate);
    return err ? err : pass(gate);
}

static int through_all_gates(void *arg)
{
    (void)arg;
    bench_gates_enter(&t.gates);
    for (uint32_t gate = 0; gate < GATES; gate += 2) {
        struct torc_scope copies;
        torc_scope_init(&copies);
        for (int i = 0; i < TASKS; i++)
            CHECK_EQ(torc_spawn(&copies, copy, &gate), 0);
        CHECK_EQ(arrive(gate), 0); /* but does not wait there: it may be far ahead of the news */
        CHECK_EQ(torc_scope_join(&copies), 0);
        CHECK_EQ(arrive(gate + 1), 0);
        CHECK_EQ(pass(gate + 1), 0);
    }
    return 0;
}

static void make_gates(uint32_t count)
{
    memset(&t, 0, sizeof(t));
    CHECK_EQ(bench_gates_init(&t.gates, count, SHARDS), 0);
    for (uint32_t gate = 0; gate < count; gate++) {
        bench_gate_expect(&t.gates, gate, 1);
        bench_gate_expect(&t.gates, gate, arrivals_at(gate) - 1);
    }
}

TEST(bench_gate, all_shards_pass_together)
{
    make_gates(GATES);
    CHECK_EQ(torc_run(&(struct torc_config){.shards = SHARDS}, through_all_gates, NULL), 0);
    for (uint32_t gate = 0; gate < GATES; gate++)
        CHECK_EQ(t.last[gate], 1);
    bench_gates_deinit(&t.gates);
}

/* One shard never arrives, but ends everything. */
static int one_stays_away(void *arg)
{
    (void)arg;
    bench_gates_enter(&t.gates);
    if (torc_shard_id() == 1) {
        torc_shutdown();
        return 0;
    }
    int arrived = bench_gate_arrive(&t.gates, 1);
    CHECK(arrived == 0 || arrived == -ECANCELED);
    CHECK_EQ(bench_gate_wait(&t.gates, 1), -ECANCELED);
    return 0;
}

TEST(bench_gate, who_waits_in_vain_can_be_interrupted)
{
    make_gates(2);
    CHECK_EQ(torc_run(&(struct torc_config){.shards = SHARDS}, one_stays_away, NULL), 0);
    bench_gates_deinit(&t.gates);
}

static struct bench_usage_meter meter;

static void burn(uint64_t ns)
{
    uint64_t end = torc_now_ns() + ns;
    while (torc_now_ns() < end)
        ;
}

static int use_processor(void *arg)
{
    (void)arg;
    bench_usage_start(&meter);
    uint64_t helpers = bench_usage_helpers_ns(&meter, 1);
    burn(50 * TORC_MS);
    struct bench_usage spent = bench_usage_take(&meter), sum = {.user_ns = 5}, none;
    CHECK(spent.user_ns + spent.system_ns > 0);
    bench_usage_add_share(&sum, &spent, 2);
    bench_usage_add_share(&sum, &spent, 2);
    CHECK_EQ(sum.user_ns, 5 + spent.user_ns / 2 * 2);
    CHECK_EQ(sum.system_ns, spent.system_ns / 2 * 2);
    none = bench_usage_take(&meter);
    CHECK(none.user_ns + none.system_ns < spent.user_ns + spent.system_ns);
    /* Nobody else is at work in this process: what this thread uses is not the helpers'. */
    CHECK(bench_usage_helpers_ns(&meter, 1) < helpers + 25 * TORC_MS);
    return 0;
}

TEST(bench_usage, a_thread_pays_for_itself_and_once)
{
    CHECK_EQ(
        torc_run(&(struct torc_config){.shards = 1, .no_stall_report = true}, use_processor, NULL),
        0);
}
