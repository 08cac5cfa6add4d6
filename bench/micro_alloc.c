/* SPDX-License-Identifier: MIT
 *
 * torc-micro's benchmarks of the allocator: pairs of torc_alloc and torc_free on one shard, and blocks that another
 * shard frees, of which both sides' time counts: chaining and sending there, taking back here.
 */
#include <stdio.h>

#include "bench/micro.h"

enum {
    BYTES = 64,
    HELD = 1000,
    PAIRS = 1000 * 1000,
    RUNS = 20,
    REMOTE = 4096, /* blocks a round: they fit into a lane, so that each side can be timed alone */
    ROUNDS = 200,
};

static double since(uint64_t began_ns, double units)
{
    return (double)(torc_now_ns() - began_ns) / units;
}

static void keep_least(double *least, double value)
{
    if (*least <= 0 || value < *least)
        *least = value;
}

static void *must_alloc(void)
{
    void *block = torc_alloc(BYTES);
    if (!block)
        micro_die("torc_alloc", -12);
    return block;
}

void micro_alloc(void)
{
    static void *held[HELD];
    double pair_ns = 0, held_ns = 0;
    for (unsigned run = 0; run < RUNS; run++) {
        uint64_t began = torc_now_ns();
        for (unsigned i = 0; i < PAIRS; i++)
            torc_free(must_alloc());
        keep_least(&pair_ns, since(began, PAIRS));
        began = torc_now_ns();
        for (unsigned i = 0; i < PAIRS / HELD; i++) {
            for (unsigned k = 0; k < HELD; k++)
                held[k] = must_alloc();
            for (unsigned k = 0; k < HELD; k++)
                torc_free(held[k]);
        }
        keep_least(&held_ns, since(began, PAIRS));
    }
    printf("{\"bench\":\"alloc\",\"bytes\":%d,\"ns\":%.2f,\"held\":%d,\"held_ns\":%.2f}\n", BYTES,
           pair_ns, HELD, held_ns);
}

static struct {
    void *blocks[REMOTE];
    uint32_t step; /* atomic: whose turn it is: even the owner's, odd the other's */
    double free_ns, home_ns;
} remote;

/* Watched without a yield: what has come from the other side is not taken before its time. */
static void wait_for_step(uint32_t step)
{
    while (__atomic_load_n(&remote.step, __ATOMIC_ACQUIRE) != step) { /* pairs with next_step */
    }
}

static void next_step(uint32_t step)
{
    __atomic_store_n(&remote.step, step + 1, __ATOMIC_RELEASE);
}

static void end_turn(void)
{
    torci_exec_end_slice(torci_this);
    torc_yield();
}

static void free_there(uint32_t step)
{
    wait_for_step(step);
    uint64_t sum = 0;
    for (unsigned i = 0; i < REMOTE; i++) /* who frees a block has used it */
        sum += *(uint64_t *)remote.blocks[i];
    if (sum != (uint64_t)REMOTE * (REMOTE - 1) / 2)
        micro_die("alloc_remote: a block has changed", -5);
    uint64_t began = torc_now_ns();
    for (unsigned i = 0; i < REMOTE; i++)
        torc_free(remote.blocks[i]);
    end_turn(); /* which sends the rest */
    keep_least(&remote.free_ns, since(began, REMOTE));
    next_step(step);
}

static void take_home(uint32_t step)
{
    struct torc_alloc_stats stats;
    for (unsigned i = 0; i < REMOTE; i++) {
        remote.blocks[i] = must_alloc();
        *(uint64_t *)remote.blocks[i] = i;
    }
    torc_alloc_stats_get(&stats);
    uint64_t wanted = stats.remote_received + REMOTE;
    next_step(step);
    wait_for_step(step + 2);
    uint64_t began = torc_now_ns();
    end_turn();
    double ns = since(began, REMOTE);
    torc_alloc_stats_get(&stats);
    if (stats.remote_received == wanted) /* all at once: else it was not this that was timed */
        keep_least(&remote.home_ns, ns);
    while (stats.remote_received < wanted) {
        end_turn();
        torc_alloc_stats_get(&stats);
    }
}

static int remote_main(void *arg)
{
    (void)arg;
    for (uint32_t round = 0; round < ROUNDS; round++)
        if (torc_shard_id())
            free_there(2 * round + 1);
        else
            take_home(2 * round);
    return 0;
}

void micro_alloc_remote(void)
{
    struct torc_config config = {
        .shards = 2, .cpus = micro.cpus, .spin_ns = 100 * TORC_US, .no_stall_report = true};
    int err = torc_run(&config, remote_main, NULL);
    if (err)
        micro_die("torc_run", err);
    printf(
        "{\"bench\":\"alloc_remote\",\"bytes\":%d,\"ns\":%.2f,\"free_ns\":%.2f,\"home_ns\":%.2f}\n",
        BYTES, remote.free_ns + remote.home_ns, remote.free_ns, remote.home_ns);
}
