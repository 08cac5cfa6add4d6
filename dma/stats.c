/* SPDX-License-Identifier: MIT
 *
 * Reading the room's counters.
 */
#include "dma/stats.h"

#include <string.h>

#include "dma/stats_internal.h"

void torc_dma_stats_get(struct torc_dma_stats *stats)
{
    memcpy(stats, torci_io_this()->dma_counters, sizeof *stats);
}
