/* SPDX-License-Identifier: MIT
 *
 * How the room counts: transfers by size and direction when they go to the ring, and how long a task's take.
 */
#ifndef TORC_DMA_STATS_INTERNAL_H
#define TORC_DMA_STATS_INTERNAL_H

#include "io/io_internal.h"

/* A task's operation that began at BEGAN_NS is back. It ended when the loop last looked at the clock, right after it had
 * reaped: one look at the clock less for each transfer. */
static inline void torci_dma_count_ns(struct torci_counter_histogram *histogram, uint64_t began_ns)
{
    uint64_t ended_ns = torci_this->now_ns;
    torci_count_ns(histogram, ended_ns > began_ns ? ended_ns - began_ns : 0);
}

#endif
