/* SPDX-License-Identifier: MIT
 *
 * Points of time that tasks on several shards reach together: who waits at a gate goes on when all have arrived there.
 * The gates of a set are passed in their order, each once. The last to arrive tells every shard by a post, so that who
 * waits costs nothing.
 */
#ifndef TORC_APPS_GATE_H
#define TORC_APPS_GATE_H

#include "torc.h"

/* What a shard knows: its own alone touches it. */
struct bench_gate_side {
    _Alignas(64) struct torc_event changed;
    uint32_t opened; /* gates: the first so many are open */
};

struct bench_gates {
    uint32_t *missing; /* atomic: arrivals to come at each */
    struct bench_gate_side *sides;
    uint32_t count, shard_count;
};

/* Closed gates, each for no arrivals yet: SHARDS and COUNT of them. -ENOMEM. On error there is nothing to deinit. */
int bench_gates_init(struct bench_gates *gates, uint32_t count, uint32_t shard_count);
void bench_gates_deinit(struct bench_gates *gates);
/* Before the shards start: ARRIVALS more are needed at GATE. */
void bench_gate_expect(struct bench_gates *gates, uint32_t gate, uint32_t arrivals);

/* On each shard, before it arrives anywhere. */
void bench_gates_enter(struct bench_gates *gates);
/* In a task; blocks for a moment at most. 1: the last one, the gate opens; 0: others are missing; a negative errno: they
 * could not be told, and all shards are being shut down. */
int bench_gate_arrive(struct bench_gates *gates, uint32_t gate);
/* In a task. 0, or -ECANCELED: interrupted before all had arrived. */
int bench_gate_wait(struct bench_gates *gates, uint32_t gate);

#endif
