/* SPDX-License-Identifier: MIT
 *
 * Buffer pools. The memory is one mapping; the buffers' descriptors are an array of their own, so that a transfer that
 * overruns its buffer can't reach them. A free buffer hangs in its class's stack, a taken one in nothing.
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

static const size_t region_bytes_max = (size_t)1
                                       << 30; /* what the kernel takes in one registration */

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
        if (bytes <= previous || bytes % TORC_BUFFER_ALIGNMENT || bytes > region_bytes_max)
            return -EINVAL;
        if (classes[i].count > TORC_BUFFER_REGIONS_MAX * region_bytes_max / bytes)
            return -EINVAL;
        previous = bytes;
        pool->classes[i].buffer_bytes = bytes;
        torci_link_init(&pool->classes[i].waiters);
        pool->class_count = (uint8_t)(i + 1);
        pool->memory_bytes += bytes * classes[i].count;
        pool->buffer_count += classes[i].count;
        counts[i] = classes[i].count;
    }
    bool fits =
        pool->memory_bytes && pool->memory_bytes <= TORC_BUFFER_REGIONS_MAX * region_bytes_max;
    return fits ? 0 : -EINVAL;
}

static void push_free(struct torc_buffer *buffer)
{
    struct torc_buffer **head = &buffer->pool->classes[buffer->size_class].free;
    buffer->next_free = *head;
    *head = buffer;
}

/* Last first, so that the first get returns the lowest address. */
static void cut(struct torc_buffer_pool *pool, const uint32_t counts[TORC_BUFFER_CLASSES_MAX])
{
    unsigned char *end = pool->memory + pool->memory_bytes;
    struct torc_buffer *buffer = pool->buffers + pool->buffer_count;
    for (unsigned class = pool->class_count; class -- > 0;)
        for (uint32_t i = 0; i < counts[class]; i++) {
            end -= pool->classes[class].buffer_bytes;
            *--buffer = (struct torc_buffer){.data = end,
                                             .size_bytes = pool->classes[class].buffer_bytes,
                                             .index = -1,
                                             .size_class = (uint8_t) class,
                                             .pool = pool};
            push_free(buffer);
        }
}

static void unregister(struct torc_buffer_pool *pool)
{
    while (pool->region_count)
        torc_buffer_unregister(pool->regions[--pool->region_count]);
    for (uint32_t i = 0; i < pool->buffer_count; i++)
        pool->buffers[i].index = -1;
}

/* Registers the memory in regions that end where a buffer ends. */
static int pin(struct torc_buffer_pool *pool)
{
    for (uint32_t first = 0, next; first < pool->buffer_count; first = next) {
        size_t bytes = 0;
        for (next = first; next < pool->buffer_count; next++) {
            if (bytes + pool->buffers[next].size_bytes > region_bytes_max)
                break;
            bytes += pool->buffers[next].size_bytes;
        }
        int index = pool->region_count < TORC_BUFFER_REGIONS_MAX
                        ? torc_buffer_register(pool->buffers[first].data, bytes)
                        : -EINVAL;
        if (index < 0) {
            unregister(pool);
            return index;
        }
        pool->regions[pool->region_count++] = index;
        for (uint32_t i = first; i < next; i++)
            pool->buffers[i].index = index;
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
    if (pool->buffers)
        host->free(host->context, pool->buffers, pool->buffer_count * sizeof *pool->buffers);
    if (pool->memory)
        host->unmap(host->map_context, pool->memory, pool->memory_bytes);
    memset(pool, 0, sizeof *pool);
}

int torc_buffer_pool_init(struct torc_buffer_pool *pool,
                          const struct torc_buffer_pool_options *options)
{
    TORC_ASSERT(torci_this != NULL);
    const struct torci_host *host = torci_this->host;
    uint32_t counts[TORC_BUFFER_CLASSES_MAX] = {0};
    memset(pool, 0, sizeof *pool);
    int err = plan(pool, options, counts);
    if (err)
        return err;
    pool->owner = torci_this;
    pool->memory = host->map(host->map_context, pool->memory_bytes);
    pool->buffers = host->alloc(host->context, pool->buffer_count * sizeof *pool->buffers);
    if (!pool->memory || !pool->buffers) {
        release(pool);
        return -ENOMEM;
    }
    cut(pool, counts);
    if (options->pinning == TORC_PIN_NEVER)
        return 0;
    err = pin(pool);
    if (err && options->pinning == TORC_PIN_PREFERRED) {
        report_unpinned(pool, err);
        return 0;
    }
    if (err)
        release(pool);
    return err;
}

void torc_buffer_pool_deinit(struct torc_buffer_pool *pool)
{
    TORC_ASSERT(pool->owner == torci_this);
    TORC_ASSERT(pool->taken == 0);
    for (unsigned i = 0; i < pool->class_count; i++)
        TORC_ASSERT(torci_list_is_empty(&pool->classes[i].waiters));
    unregister(pool);
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
    return pool->region_count > 0;
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
