/* SPDX-License-Identifier: MIT
 *
 * torc_alloc and torc_free as users see them, and the way home of what was freed elsewhere.
 */
#include "shard/returns_internal.h"

#include <errno.h>
#include <string.h>

#include "shard/shard_internal.h"

int torci_returns_init(struct torci_shard *shard)
{
    struct torci_returns *returns = &shard->returns;
    uint32_t count = shard->set->count;
    returns->to = (struct torci_return *)torci_arena_map(shard->arena, TORC_ARENA_OTHER,
                                                         count * sizeof *returns->to);
    if (!returns->to)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        returns->to[i].owner = i;
    return 0;
}

/* The owner takes its blocks back: those of all strands in turn, so that the next ones are on their way meanwhile. */
static bool take_back(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    struct torci_free_block *strands[TORCI_RETURN_STRANDS];
    uint64_t left = message->words[0];
    (void)from;
    for (unsigned i = 0; i < TORCI_RETURN_STRANDS; i++) {
        strands[i] = (struct torci_free_block *)(uintptr_t)message->words[1 + i];
        __builtin_prefetch(strands[i], 1);
    }
    self->alloc.remote_received += left;
    torci_count_add(&self->io.exec.counters->alloc_freed, left);
    for (unsigned i = 0; left; i = i + 1 < TORCI_RETURN_STRANDS ? i + 1 : 0) {
        struct torci_free_block *block = strands[i];
        if (!block)
            continue;
        torci_alloc_unpoison(block, sizeof *block);
        strands[i] = block->next;
        __builtin_prefetch(strands[i], 1);
        block->mark = 0;
        torci_alloc_put(&self->alloc, block);
        left--;
    }
    return true;
}

static void send_home(struct torci_shard *self, struct torci_return *back)
{
    back->note.message.fn = take_back;
    back->note.message.words[0] = back->blocks;
    for (unsigned i = 0; i < TORCI_RETURN_STRANDS; i++)
        back->note.message.words[1 + i] = (uintptr_t)back->strands[i];
    memset(back->strands, 0, sizeof back->strands);
    back->blocks = 0;
    self->alloc.remote_batches++;
    torci_mesh_control(self, back->owner, &back->note);
}

void torci_returns_flush(struct torci_shard *self)
{
    struct torci_return **at = &self->returns.pending;
    while (*at) {
        struct torci_return *back = *at;
        if (back->note.queued) { /* until there is room, which starts a turn */
            at = &back->next_pending;
            continue;
        }
        *at = back->next_pending;
        back->is_pending = false;
        if (back->blocks)
            send_home(self, back);
    }
}

/* MEMORY is not in this shard's slabs. */
static void free_elsewhere(struct torci_shard *self, void *memory)
{
    uint64_t owner = torci_arena_shard_of(self->set->arenas, memory);
    TORC_ASSERT(owner < self->set->count && owner != self->id); /* torc_alloc has returned it */
    struct torci_return *back = &self->returns.to[owner];
    struct torci_free_block *block = (struct torci_free_block *)memory;
    TORC_ASSERT(!torci_alloc_is_poisoned(block));
    torci_alloc_unpoison(block, sizeof *block);
    TORC_ASSERT(block->mark != torci_alloc_mark(block)); /* freed twice */
    struct torci_free_block **strand = &back->strands[back->blocks % TORCI_RETURN_STRANDS];
    block->mark = torci_alloc_mark(block);
    block->next = *strand;
    *strand = block;
    torci_alloc_poison(block, sizeof *block);
    self->alloc.remote_sent++;
    torci_count(&self->io.exec.counters->alloc_sent_home);
    back->blocks++;
    if (!back->is_pending) {
        back->is_pending = true;
        back->next_pending = self->returns.pending;
        self->returns.pending = back;
        self->io.outside.busy = true; /* the turn ends with torci_returns_flush */
    }
    if (back->blocks >= TORCI_RETURN_BLOCKS && !back->note.queued)
        send_home(self, back);
}

void *torc_alloc(size_t size_bytes)
{
    struct torci_shard *self = torci_shard_this();
    void *memory = torci_alloc_get(&self->alloc, size_bytes);
    if (TORC_LIKELY(memory != NULL))
        torci_count(&self->io.exec.counters->alloc_made);
    return memory;
}

void torc_free(void *memory)
{
    struct torci_shard *self = torci_shard_this();
    if (!memory)
        return;
    if (TORC_UNLIKELY((uintptr_t)memory - (uintptr_t)self->alloc.base >= self->alloc.dense_bytes)) {
        free_elsewhere(self, memory);
        return;
    }
    torci_alloc_put(&self->alloc, memory);
    torci_count(&self->io.exec.counters->alloc_freed);
}

size_t torc_alloc_size(const void *memory)
{
    const struct torci_set *set = torci_shard_this()->set;
    uint64_t owner = torci_arena_shard_of(set->arenas, memory);
    TORC_ASSERT(owner < set->count);
    return torci_alloc_size(&set->shards[owner]->alloc, memory);
}

void torc_alloc_stats_get(struct torc_alloc_stats *stats)
{
    torci_alloc_stats_get(&torci_shard_this()->alloc, stats);
}

void torc_arena_stats_get(struct torc_arena_stats *stats)
{
    torci_arena_stats_get(torci_shard_this()->arena, stats);
}
