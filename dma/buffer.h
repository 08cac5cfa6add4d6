/* SPDX-License-Identifier: MIT
 *
 * Buffers for direct I/O: memory of the shard's arena, aligned to 4,096 bytes, pinned and registered with its ring, and
 * cut into buffers of a few sizes. Taking one and giving it back is O(1) and allocates nothing. Pools share
 * registrations, so many small ones take few of the ring's slots.
 *
 *     struct torc_buffer_pool pool;
 *     struct torc_buffer *buffer;
 *     int err = torc_buffer_pool_init(&pool, &(struct torc_buffer_pool_options){
 *         .classes = {{.buffer_bytes = 4096, .count = 256}, {.buffer_bytes = 131072, .count = 32}}});
 *     err = torc_buffer_get(&pool, 4096, &buffer);
 *     n = torc_file_read_fixed(&f, buffer, 0, 4096, offset);
 *     torc_buffer_put(buffer);
 *
 * A request is served from the smallest class that fits and from no other: a class never lends to a smaller one, so
 * small requests can't starve large ones. Who waits is served in the order of asking.
 *
 * Shard rule: a pool belongs to the executor on whose thread it was made; every function runs there.
 */
#ifndef TORC_DMA_BUFFER_H
#define TORC_DMA_BUFFER_H

#include "core/base.h"
#include "core/list.h"

TORC_BEGIN_DECLS

enum {
    TORC_BUFFER_ALIGNMENT = 4096,
    TORC_BUFFER_CLASSES_MAX = 8,
    TORC_BUFFER_REGIONS_MAX = 16, /* registrations a pool may use; the kernel takes 1 GiB in each */
};

/* What a pool does when the kernel refuses to pin its memory (RLIMIT_MEMLOCK). */
enum torc_buffer_pinning {
    TORC_PIN_REQUIRED = 0, /* init fails with -ENOMEM */
    TORC_PIN_PREFERRED, /* the pool works unpinned; one line is reported and the fall-back counted */
    TORC_PIN_NEVER,     /* memory that no ring needs to know */
};

struct torc_buffer_class {
    size_t buffer_bytes; /* a multiple of TORC_BUFFER_ALIGNMENT, at most 1 GiB; ascending */
    uint32_t count;
};

struct torc_buffer_pool_options {
    /* Either total_bytes cut into buffers of buffer_bytes each (a remainder is left out) … */
    size_t total_bytes;
    size_t buffer_bytes;
    /* … or classes; the first with a count of 0 ends them. */
    struct torc_buffer_class classes[TORC_BUFFER_CLASSES_MAX];
    enum torc_buffer_pinning pinning;
    /* For who must choose where buffers lie: the caller's own memory, aligned and large enough for all of them, mapped
     * until deinit. Default: the shard's arena. */
    void *memory;
};

struct torc_buffer_pool;
struct torci_region_piece;

/* One buffer. Its holder reads these fields and changes none. */
struct torc_buffer {
    void *data; /* aligned to TORC_BUFFER_ALIGNMENT */
    size_t size_bytes;
    int32_t index; /* of the registration, for IORING_OP_READ_FIXED and its kin; -1: not pinned */
    uint8_t size_class;
    bool taken;
    struct torc_buffer *next_free;
    struct torc_buffer_pool *pool;
};

/* Caller's memory, stays where it is until deinit. Fields are private. */
struct torc_buffer_pool {
    struct torc_buffer *buffers;
    struct torci_region_piece *pieces; /* of memory */
    char *given;                       /* the caller's memory; NULL: the arena's */
    size_t memory_bytes;
    uint32_t buffer_count, taken;
    uint8_t class_count, piece_count;
    bool pinned;
    struct {
        size_t buffer_bytes;
        struct torc_buffer *free; /* the one given back last comes first: it is warm */
        struct torci_link waiters;
    } classes[TORC_BUFFER_CLASSES_MAX];
    void *owner; /* the executor */
};

/* Takes the pool's memory from the arena, pinned. May take a moment: pinning touches every page.
 * -EINVAL: no size, sizes that are not ascending multiples of the alignment, more than TORC_BUFFER_REGIONS_MAX GiB,
 * unaligned memory;
 * -ENOMEM: no memory, or RLIMIT_MEMLOCK is too small (one line says by how much); -ENOSPC: the ring has no slot left
 * for a registration. On error nothing is held. */
int torc_buffer_pool_init(struct torc_buffer_pool *pool,
                          const struct torc_buffer_pool_options *options) TORC_MUST_CHECK;
/* Every buffer has been given back and nobody waits. */
void torc_buffer_pool_deinit(struct torc_buffer_pool *pool);

/* Lends a buffer of at least SIZE_BYTES; the caller owes it back. Its bytes are what the last user left.
 * 0; -ENOBUFS: all of that class are taken; -EINVAL: no class is that large. Never blocks. */
int torc_buffer_try_get(struct torc_buffer_pool *pool, size_t size_bytes,
                        struct torc_buffer **buffer) TORC_MUST_CHECK;
/* The same, but sleeps until there is one. -ECANCELED, -ETIMEDOUT; -EINVAL. In a task. */
int torc_buffer_get(struct torc_buffer_pool *pool, size_t size_bytes,
                    struct torc_buffer **buffer) TORC_MUST_CHECK;
/* Gives it back; whoever waits longest for its class gets it at once. No operation may use it any more. */
void torc_buffer_put(struct torc_buffer *buffer);

/* Whether the ring knows the pool's memory. */
bool torc_buffer_pool_is_pinned(const struct torc_buffer_pool *pool);
/* Walks the pool: every free buffer is in its class's list once and the counts agree. For tests. */
bool torc_buffer_pool_check(const struct torc_buffer_pool *pool);

TORC_END_DECLS

#endif
