/* SPDX-License-Identifier: MIT
 *
 * Buffer pools. The memory is pieces of the arena's registered regions; the buffers' descriptors are an array of their
 * own, so that a transfer that overruns its buffer can't reach them. A free buffer hangs in its class's stack, a taken
 * one in nothing.
 *
 * Invariant: a class has waiters only while its stack is empty, because put hands over to the first of them.
 */
#include "dma/buffer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/wait_internal.h"
#include "io/io_internal.h"
#include "io/resource.h"
#include "shard/region_internal.h"
#include "shard/shard_internal.h"

/* Fills in the pool's classes and totals. */
static int plan(struct torc_buffer_pool *pool, const struct torc_buffer_pool_options *options,
                uint32_t counts[TORC_BUFFER_CLASSES_MAX])
{
    struct torc_buffer_class classes[TORC_BUFFER_CLASSES_MAX];
    memcpy(classes, options->classes, sizeof classes);
    if (options->buffer_bytes) {
        size_t count = options->total_bytes / options->buffer_bytes;
        if (classes[0].count || count > UINT32_MAX)
            return -EINVAL;
        classes[0] = (struct torc_buffer_class){options->buffer_bytes, (uint32_t)count};
    }
    size_t previous = 0;
    for (unsigned i = 0; i < TORC_BUFFER_CLASSES_MAX && classes[i].count; i++) {
        size_t bytes = classes[i].buffer_bytes;
        if (bytes <= previous || bytes % TORC_BUFFER_ALIGNMENT || bytes > TORCI_REGION_BYTES_MAX)
            return -EINVAL;
        if (classes[i].count > TORC_BUFFER_REGIONS_MAX * TORCI_REGION_BYTES_MAX / bytes)
            return -EINVAL;
        previous = bytes;
        pool->classes[i].buffer_bytes = bytes;
        torci_link_init(&pool->classes[i].waiters);
        pool->class_count = (uint8_t)(i + 1);
        pool->memory_bytes += bytes * classes[i].count;
        pool->buffer_count += classes[i].count;
        counts[i] = classes[i].count;
    }
    bool fits = pool->memory_bytes &&
                pool->memory_bytes <= TORC_BUFFER_REGIONS_MAX * TORCI_REGION_BYTES_MAX;
    return fits ? 0 : -EINVAL;
}

static void push_free(struct torc_buffer *buffer)
{
    struct torc_buffer **head = &buffer->pool->classes[buffer->size_class].free;
    buffer->next_free = *head;
    *head = buffer;
}

/* Describes the buffers, which have no memory yet. */
static void describe(struct torc_buffer_pool *pool, const uint32_t counts[TORC_BUFFER_CLASSES_MAX])
{
    struct torc_buffer *buffer = pool->buffers;
    for (unsigned class = 0; class < pool->class_count; class ++)
        for (uint32_t i = 0; i < counts[class]; i++)
            *buffer++ = (struct torc_buffer){.size_bytes = pool->classes[class].buffer_bytes,
                                             .index = -1,
                                             .size_class = (uint8_t) class,
                                             .pool = pool};
}

static void give_pieces(struct torc_buffer_pool *pool)
{
    struct torci_arena *arena = torci_shard_this()->arena;
    while (pool->piece_count) {
        struct torci_region_piece *piece = &pool->pieces[--pool->piece_count];
        if (pool->given && pool->pinned)
            torc_buffer_unregister(piece->index);
        else if (pool->given)
            continue;
        else if (pool->pinned)
            torci_region_give(arena, piece);
        else
            torci_arena_unmap(arena, piece->memory, piece->size_bytes);
    }
    pool->pinned = false;
}

static int take_unpinned(struct torci_region_piece *piece, size_t size_bytes)
{
    piece->memory = (char *)torci_arena_map(torci_shard_this()->arena, TORC_ARENA_DMA, size_bytes);
    piece->size_bytes = size_bytes;
    piece->index = -1;
    return piece->memory ? 0 : -ENOMEM;
}

/* From FIRST bytes into what the caller gave. */
static int take_given(struct torc_buffer_pool *pool, bool pinned, size_t first, size_t size_bytes,
                      struct torci_region_piece *piece)
{
    char *memory = pool->given + first;
    int index = pinned ? torc_buffer_register(memory, size_bytes) : -1;
    if (pinned && index < 0)
        return index;
    *piece =
        (struct torci_region_piece){.memory = memory, .size_bytes = size_bytes, .index = index};
    return 0;
}

/* Memory for the buffers, in pieces that end where a buffer ends. On error none is held. */
static int take_pieces(struct torc_buffer_pool *pool, bool pinned)
{
    size_t piece_max = pinned ? TORCI_REGION_BYTES_MAX : pool->memory_bytes;
    size_t taken_bytes = 0;
    pool->pinned = pinned;
    for (uint32_t first = 0, next; first < pool->buffer_count; first = next) {
        size_t bytes = 0;
        for (next = first; next < pool->buffer_count; next++) {
            if (bytes + pool->buffers[next].size_bytes > piece_max)
                break;
            bytes += pool->buffers[next].size_bytes;
        }
        struct torci_region_piece *piece = &pool->pieces[pool->piece_count];
        int err = -EINVAL;
        if (pool->piece_count < TORC_BUFFER_REGIONS_MAX)
            err = pool->given ? take_given(pool, pinned, taken_bytes, bytes, piece)
                  : pinned    ? torci_region_take(torci_shard_this()->arena, bytes, piece)
                              : take_unpinned(piece, bytes);
        if (err) {
            give_pieces(pool);
            return err;
        }
        pool->piece_count++;
        taken_bytes += bytes;
        char *at = piece->memory;
        for (uint32_t i = first; i < next; at += pool->buffers[i++].size_bytes) {
            pool->buffers[i].data = at;
            pool->buffers[i].index = piece->index;
        }
    }
    return 0;
}

static void report_unpinned(const struct torc_buffer_pool *pool, int err)
{
    const struct torci_host *host = torci_this->host;
    char line[160];
    snprintf(line, sizeof line,
             "torc: a buffer pool of %zu KiB stays unpinned (error %d): its reads and writes cost "
             "more CPU time",
             pool->memory_bytes >> 10, -err);
    host->report(host->context, line);
    torci_count(&torci_this->counters->dma_unpinned_pools);
}

static void release(struct torc_buffer_pool *pool)
{
    const struct torci_host *host = torci_this->host;
    if (pool->pieces) {
        give_pieces(pool);
        host->free(host->context, pool->pieces, TORC_BUFFER_REGIONS_MAX * sizeof *pool->pieces);
    }
    if (pool->buffers)
        host->free(host->context, pool->buffers, pool->buffer_count * sizeof *pool->buffers);
    memset(pool, 0, sizeof *pool);
}

int torc_buffer_pool_init(struct torc_buffer_pool *pool,
                          const struct torc_buffer_pool_options *options)
{
    TORC_ASSERT(torci_this != NULL);
    const struct torci_host *host = torci_this->host;
    uint32_t counts[TORC_BUFFER_CLASSES_MAX] = {0};
    memset(pool, 0, sizeof *pool);
    int err =
        (uintptr_t)options->memory % TORC_BUFFER_ALIGNMENT ? -EINVAL : plan(pool, options, counts);
    if (err)
        return err;
    pool->given = (char *)options->memory;
    pool->owner = torci_this;
    pool->pieces = (struct torci_region_piece *)host->alloc(
        host->context, TORC_BUFFER_REGIONS_MAX * sizeof *pool->pieces);
    pool->buffers = (struct torc_buffer *)host->alloc(host->context,
                                                      pool->buffer_count * sizeof *pool->buffers);
    err = pool->pieces && pool->buffers ? 0 : -ENOMEM;
    if (!err) {
        describe(pool, counts);
        err = take_pieces(pool, options->pinning != TORC_PIN_NEVER);
    }
    if (err && pool->buffers && pool->pieces && options->pinning == TORC_PIN_PREFERRED) {
        int why = err;
        err = take_pieces(pool, false);
        if (!err)
            report_unpinned(pool, why);
    }
    if (err) {
        release(pool);
        return err;
    }
    for (uint32_t i = pool->buffer_count;
         i-- > 0;) /* so that the first get has the lowest address */
        push_free(&pool->buffers[i]);
    return 0;
}

void torc_buffer_pool_deinit(struct torc_buffer_pool *pool)
{
    TORC_ASSERT(pool->owner == torci_this);
    TORC_ASSERT(pool->taken == 0);
    for (unsigned i = 0; i < pool->class_count; i++)
        TORC_ASSERT(torci_list_is_empty(&pool->classes[i].waiters));
    release(pool);
}

/* The class that serves SIZE_BYTES; class_count if none does. */
static unsigned class_of(const struct torc_buffer_pool *pool, size_t size_bytes)
{
    unsigned class = 0;
    while (class < pool->class_count && pool->classes[class].buffer_bytes < size_bytes)
        class ++;
    return class;
}

static struct torc_buffer *pop_free(struct torc_buffer_pool *pool, unsigned class)
{
    struct torc_buffer *buffer = pool->classes[class].free;
    if (!buffer)
        return NULL;
    TORC_ASSERT(!buffer->taken);
    pool->classes[class].free = buffer->next_free;
    buffer->next_free = NULL;
    buffer->taken = true;
    pool->taken++;
    return buffer;
}

int torc_buffer_try_get(struct torc_buffer_pool *pool, size_t size_bytes,
                        struct torc_buffer **buffer)
{
    TORC_ASSERT(pool->owner == torci_this);
    unsigned class = class_of(pool, size_bytes);
    if (class == pool->class_count)
        return -EINVAL;
    *buffer = pop_free(pool, class);
    return *buffer ? 0 : -ENOBUFS;
}

int torc_buffer_get(struct torc_buffer_pool *pool, size_t size_bytes, struct torc_buffer **buffer)
{
    int err = torc_buffer_try_get(pool, size_bytes, buffer);
    if (err != -ENOBUFS)
        return err;
    struct torci_wait wait;
    torci_wait_init(&wait);
    wait.value = buffer;
    torci_list_push_back(&pool->classes[class_of(pool, size_bytes)].waiters, &wait.link);
    return torci_wait_park(&wait);
}

void torc_buffer_put(struct torc_buffer *buffer)
{
    struct torc_buffer_pool *pool = buffer->pool;
    TORC_ASSERT(pool->owner == torci_this);
    TORC_ASSERT(buffer->taken);
    struct torci_wait *first = torci_wait_first(&pool->classes[buffer->size_class].waiters);
    if (first) {
        *(struct torc_buffer **)first->value = buffer;
        torci_wait_wake(first, 0);
        return;
    }
    buffer->taken = false;
    pool->taken--;
    push_free(buffer);
}

bool torc_buffer_pool_is_pinned(const struct torc_buffer_pool *pool)
{
    return pool->pinned;
}

bool torc_buffer_pool_check(const struct torc_buffer_pool *pool)
{
    uint32_t free_count = 0;
    for (unsigned class = 0; class < pool->class_count; class ++) {
        const struct torc_buffer *at = pool->classes[class].free;
        if (at && !torci_list_is_empty(&pool->classes[class].waiters))
            return false;
        for (; at; at = at->next_free)
            if (at->taken || at->size_class != class || ++free_count > pool->buffer_count)
                return false;
    }
    return free_count + pool->taken == pool->buffer_count;
}
