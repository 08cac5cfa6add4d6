/* SPDX-License-Identifier: MIT
 *
 * What the dma room did in another way than was asked: every fall-back is counted, none is silent. Counters belong to
 * an executor, only grow and are never reset; they are the same as those of core/counters.h, in one struct.
 */
#ifndef TORC_DMA_STATS_H
#define TORC_DMA_STATS_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torc_dma_stats {
    uint64_t bounce_reads;   /* unaligned reads of direct files, served through a bounce buffer */
    uint64_t pool_calls;     /* operations that this ring lacks, done by the blocking pool */
    uint64_t unpinned_pools; /* buffer pools that the kernel refused to pin */
    uint64_t short_resumes;  /* times a full-length read or write had to go on after a short one */
    uint64_t alignment_guesses; /* direct files whose alignment the kernel did not tell */
    uint64_t direct_ignored; /* files opened as direct that the file system buffers all the same */
    uint64_t poll_refused;   /* files that asked for polling on a device without poll queues */
    uint64_t closes_in_line; /* closed by a system call because the ring took no more */
};

/* This executor's counters, as of now. On an executor's thread. */
void torc_dma_stats_get(struct torc_dma_stats *stats);

TORC_END_DECLS

#endif
