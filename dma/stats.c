/* SPDX-License-Identifier: MIT
 *
 * The room's counters of what was done in another way than asked, as a struct.
 */
#include "dma/stats.h"

#include "dma/stats_internal.h"

void torc_dma_stats_get(struct torc_dma_stats *stats)
{
    const struct torci_counters *counters = torci_this->counters;
    *stats = (struct torc_dma_stats){
        .bounce_reads = counters->dma_bounce_reads,
        .pool_calls = counters->dma_pool_calls,
        .unpinned_pools = counters->dma_unpinned_pools,
        .short_resumes = counters->dma_short_resumes,
        .alignment_guesses = counters->dma_alignment_guesses,
        .direct_ignored = counters->dma_direct_ignored,
        .poll_refused = counters->dma_poll_refused,
        .closes_in_line = counters->dma_closes_in_line,
    };
}
