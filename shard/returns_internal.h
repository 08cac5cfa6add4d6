/* SPDX-License-Identifier: MIT
 *
 * Blocks that were freed on another shard than their own, on their way home. Those of one owner are chained until
 * TORCI_RETURN_BLOCKS have gathered or the loop's turn ends, and sent as one control message: it can't fail and never
 * waits. The links are in the blocks, so no memory is needed, and there are TORCI_RETURN_STRANDS chains, because each
 * block's line is in the cache of the CPU that freed it: the owner fetches several at once instead of one after the
 * other (1.6 times as fast with six as with one: torc-micro alloc_remote).
 *
 * A note that the lane had no room for is the mesh's until it has gone out; what is freed meanwhile gathers for the
 * next.
 */
#ifndef TORC_SHARD_RETURNS_INTERNAL_H
#define TORC_SHARD_RETURNS_INTERNAL_H

#include "shard/alloc_internal.h"
#include "shard/mesh_internal.h"

enum {
    TORCI_RETURN_BLOCKS = 64,
    TORCI_RETURN_STRANDS = TORCI_MESSAGE_WORDS - 1,
};

/* To one owner. */
struct torci_return {
    struct torci_free_block *strands[TORCI_RETURN_STRANDS];
    uint32_t blocks;
    uint32_t owner;
    struct torci_return *next_pending;
    bool is_pending;
    struct torci_note note;
};

struct torci_returns {
    struct torci_return *to; /* one for each shard */
    struct torci_return *pending;
};

/* -ENOMEM. SHARD has its arena. */
int torci_returns_init(struct torci_shard *shard) TORC_MUST_CHECK;
/* Sends what has gathered. At the end of a turn. */
void torci_returns_flush(struct torci_shard *shard);

#endif
