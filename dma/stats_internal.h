/* SPDX-License-Identifier: MIT
 *
 * Where the room's counters are kept: in the executor's io state, which knows only how many there are.
 */
#ifndef TORC_DMA_STATS_INTERNAL_H
#define TORC_DMA_STATS_INTERNAL_H

#include "dma/stats.h"
#include "io/io_internal.h"

/* In the order of struct torc_dma_stats. */
enum torci_dma_counter {
    TORCI_DMA_BOUNCE_READS,
    TORCI_DMA_POOL_CALLS,
    TORCI_DMA_UNPINNED_POOLS,
    TORCI_DMA_SHORT_RESUMES,
    TORCI_DMA_ALIGNMENT_GUESSES,
    TORCI_DMA_DIRECT_IGNORED,
    TORCI_DMA_POLL_REFUSED,
    TORCI_DMA_CLOSES_IN_LINE,
    TORCI_DMA_COUNTERS
};
_Static_assert(sizeof(struct torc_dma_stats) == TORCI_DMA_COUNTERS * sizeof(uint64_t),
               "one field a counter");
_Static_assert(TORCI_DMA_COUNTERS <=
                   sizeof((struct torci_io *)NULL)->dma_counters / sizeof(uint64_t),
               "the executor has room for them");

static inline void torci_dma_count(enum torci_dma_counter counter)
{
    torci_io_this()->dma_counters[counter]++;
}

#endif
