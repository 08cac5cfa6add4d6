/* SPDX-License-Identifier: MIT */
#include "apps/torc/gate.h"

#include "torc.h"

void bench_gate_init(struct bench_gate *gate, uint32_t arrivals)
{
    gate->missing = arrivals;
}

bool bench_gate_arrive(struct bench_gate *gate)
{
    /* pairs with bench_gate_wait: what was done before the gate is seen behind it */
    return __atomic_sub_fetch(&gate->missing, 1, __ATOMIC_ACQ_REL) == 0;
}

int bench_gate_wait(struct bench_gate *gate)
{
    int err = 0;
    /* pairs with bench_gate_arrive */
    while (!err && __atomic_load_n(&gate->missing, __ATOMIC_ACQUIRE))
        err = torc_sleep(100 * TORC_US);
    return err;
}
