/* SPDX-License-Identifier: MIT
 *
 * Regions: memory of the arena that is registered (pinned) with the shard's ring, once, and lent in pieces to buffer pools
 * as these come and go. A registration pins every page, and what may be pinned is limited (RLIMIT_MEMLOCK), so a region is
 * what the first piece takes, or an eighth of all that is pinned already if that is more: the ring's slots for buffers
 * (torc_config.buffers_max) then last for thousands of pools, and an eighth at most is pinned in vain.
 *
 * Pieces of 2 MiB or more lie in the dense zone, where pages may be huge. The kernel counts the whole of a huge page of
 * which a piece uses some as pinned; small pieces therefore, and large ones where the limit is too small for that, are of
 * pages of the usual size.
 *
 * Thread rule: on the shard's own thread.
 */
#ifndef TORC_SHARD_REGION_INTERNAL_H
#define TORC_SHARD_REGION_INTERNAL_H

#include "core/list.h"

struct torci_arena;
struct torci_region;

#define TORCI_REGION_BYTES_MAX ((size_t)1 << 30) /* what the kernel takes in one registration */

/* Caller's memory, stays where it is until it is given back. */
struct torci_region_piece {
    struct torci_link link; /* in its region, by address */
    struct torci_region *region;
    char *memory;
    size_t size_bytes;
    int index; /* of the registration */
};

/* A piece of SIZE_BYTES: a multiple of 4,096, up to TORCI_REGION_BYTES_MAX. Not zeroed. -ENOMEM: no memory, or the
 * locked-memory limit is too small, with one line; -ENOSPC: the ring has no slot left. */
int torci_region_take(struct torci_arena *arena, size_t size_bytes,
                      struct torci_region_piece *piece) TORC_MUST_CHECK;
void torci_region_give(struct torci_arena *arena, struct torci_region_piece *piece);

#endif
