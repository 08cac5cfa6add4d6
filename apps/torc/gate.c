/* SPDX-License-Identifier: MIT */
#include "apps/torc/gate.h"

#include <errno.h>
#include <stdlib.h>

int bench_gates_init(struct bench_gates *gates, uint32_t count, uint32_t shard_count)
{
    enum { LINE = _Alignof(struct bench_gate_side) };
    *gates = (struct bench_gates){.count = count, .shard_count = shard_count};
    gates->missing = calloc(count, sizeof(*gates->missing));
    gates->sides = aligned_alloc(LINE, shard_count * sizeof(*gates->sides));
    if (gates->missing && gates->sides)
        return 0;
    bench_gates_deinit(gates);
    return -ENOMEM;
}

void bench_gates_deinit(struct bench_gates *gates)
{
    free(gates->missing);
    free(gates->sides);
    *gates = (struct bench_gates){0};
}

void bench_gate_expect(struct bench_gates *gates, uint32_t gate, uint32_t arrivals)
{
    gates->missing[gate] += arrivals;
}

void bench_gates_enter(struct bench_gates *gates)
{
    struct bench_gate_side *side = &gates->sides[torc_shard_id()];
    torc_event_init(&side->changed);
    side->opened = 0;
}

struct opening {
    struct bench_gates *gates;
    uint32_t opened;
};

/* On every shard. The post of a later gate, from another shard, may have come first. */
static int open_here(void *arg)
{
    const struct opening *opening = arg;
    struct bench_gate_side *side = &opening->gates->sides[torc_shard_id()];
    if (opening->opened > side->opened)
        side->opened = opening->opened;
    torc_event_set(&side->changed);
    return 0;
}

int bench_gate_arrive(struct bench_gates *gates, uint32_t gate)
{
    /* pairs with itself: the last to arrive has seen what all others did before they arrived, and tells it on */
    if (__atomic_sub_fetch(&gates->missing[gate], 1, __ATOMIC_ACQ_REL))
        return 0;
    struct opening opening = {gates, gate + 1};
    for (uint32_t shard = 0; shard < gates->shard_count; shard++) {
        int err = torc_post_copy(shard, open_here, &opening, sizeof(opening));
        if (err) {
            torc_shutdown(); /* rather than have a shard wait for ever */
            return err;
        }
    }
    return 1;
}

int bench_gate_wait(struct bench_gates *gates, uint32_t gate)
{
    struct bench_gate_side *side = &gates->sides[torc_shard_id()];
    int err = 0;
    while (!err && side->opened <= gate) {
        torc_event_reset(&side->changed);
        err = torc_event_wait(&side->changed);
    }
    return err;
}
