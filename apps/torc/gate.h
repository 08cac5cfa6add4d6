/* SPDX-License-Identifier: MIT
 *
 * A point of time that tasks on several shards reach together: who waits goes on when all have arrived. Used once.
 */
#ifndef TORC_APPS_GATE_H
#define TORC_APPS_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct bench_gate {
    uint32_t missing; /* atomic: arrivals to come */
};

/* Before anybody arrives. */
void bench_gate_init(struct bench_gate *gate, uint32_t arrivals);
/* True for the last one. Never blocks. */
bool bench_gate_arrive(struct bench_gate *gate);
/* In a task. 0, or -ECANCELED: interrupted before all have arrived. */
int bench_gate_wait(struct bench_gate *gate);

#endif
