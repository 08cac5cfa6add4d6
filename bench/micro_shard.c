/* SPDX-License-Identifier: MIT
 *
 * torc-micro's benchmarks of several shards: what a call costs there and back, while both sides look for it and while
 * both sleep in between; and what a turn of the loop costs among many shards that have nothing to say.
 */
#include <errno.h>
#include <stdio.h>

#include "bench/micro.h"

enum {
    ROUNDS = 5,
    CALL_ROUNDS = 200, /* short ones: the machine's other work leaves some of them alone */
    SPINNING_CALLS = 2000,
    PARKING_CALLS = 200,
    TURNS = 500000,
    FEW_SHARDS = 2,
    MANY_SHARDS = 64,
};

/* ---- calls ---- */

static struct {
    unsigned calls;
    double ns; /* of one, the best round */
} call;

static int answer(void *arg)
{
    return *(const int *)arg + 1;
}

static int call_often(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    for (unsigned round = 0; round < CALL_ROUNDS; round++) {
        uint64_t began = torc_now_ns();
        for (unsigned i = 0; i < call.calls; i++) {
            int number = (int)i, got = torc_call(1, answer, &number);
            if (got != number + 1)
                return got < 0 ? got : -EPROTO;
        }
        double ns = (double)(torc_now_ns() - began) / call.calls;
        call.ns = call.ns < ns ? call.ns : ns;
    }
    return 0;
}

static void measure_calls(const char *name, uint64_t spin_ns, unsigned calls)
{
    const struct torc_config config = {
        .shards = 2, .cpus = micro.cpus, .spin_ns = spin_ns, .no_stall_report = true};
    call.calls = calls;
    call.ns = 1e30;
    int err = torc_run(&config, call_often, NULL);
    if (err)
        micro_die(name, err);
    printf("{\"bench\":\"%s\",\"ns\":%.0f}\n", name, call.ns);
}

void micro_call(void)
{
    measure_calls("call", TORC_SEC, SPINNING_CALLS);
}

void micro_call_park(void)
{
    measure_calls("call_park", 0, PARKING_CALLS);
}

/* ---- turns ---- */

static double turn_ns; /* of one, the best round */

static int turn_often(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    uint64_t began = torc_now_ns();
    for (unsigned i = 0; i < TURNS; i++) {
        torci_exec_end_slice(torci_this); /* so that the loop comes round, and not we */
        torc_yield();
    }
    double ns = (double)(torc_now_ns() - began) / TURNS;
    turn_ns = turn_ns < ns ? turn_ns : ns;
    return 0;
}

static double measure_turns(uint32_t shards, double best_ns)
{
    const struct torc_config config = {
        .shards = shards, .cpus = micro.cpus, .no_stall_report = true};
    turn_ns = best_ns;
    int err = torc_run(&config, turn_often, NULL);
    if (err)
        micro_die("turn", err);
    return turn_ns;
}

void micro_turn(void)
{
    double few = 1e30, many = 1e30;
    for (unsigned round = 0; round < ROUNDS; round++) {
        few = measure_turns(FEW_SHARDS, few);
        many = measure_turns(MANY_SHARDS, many);
    }
    printf("{\"bench\":\"turn\",\"shards\":%d,\"ns\":%.1f}\n", FEW_SHARDS, few);
    printf("{\"bench\":\"turn\",\"shards\":%d,\"ns\":%.1f,\"ratio\":%.2f}\n", MANY_SHARDS, many,
           many / few);
}
