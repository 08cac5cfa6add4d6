/* SPDX-License-Identifier: MIT
 *
 * Regions and their pieces. A region's pieces are a list by address; what lies between them is free.
 */
#include "shard/region_internal.h"

#include <errno.h>

#include "io/io_internal.h"
#include "io/resource.h"
#include "shard/arena_internal.h"

enum {
    EXTRA_SHIFT = 3,            /* of what is pinned, an eighth may be pinned ahead */
    EXTRA_BYTES_MAX = 64 << 20, /* but no more than this */
    PAGE = 4096,
};

struct torci_region {
    struct torci_link link;   /* in the arena */
    struct torci_link pieces; /* by address */
    char *memory;
    size_t size_bytes;
    int index;
};

static struct torci_region *region_at(struct torci_link *link)
{
    return TORC_CONTAINER_OF(link, struct torci_region, link);
}

static void drop(struct torci_arena *arena, struct torci_region *region)
{
    const struct torci_host *host = &arena->kernel->host;
    torc_buffer_unregister(region->index);
    torci_list_unlink(&region->link);
    torci_arena_unmap(arena, region->memory, region->size_bytes);
    arena->pinned_bytes -= region->size_bytes;
    host->free(host->context, region, sizeof *region);
}

void torci_arena_forget_regions(struct torci_arena *arena)
{
    struct torci_link *at;
    while ((at = torci_list_pop_front(&arena->regions)) != NULL)
        arena->kernel->host.free(arena->kernel->host.context, region_at(at),
                                 sizeof(struct torci_region));
}

/* Puts PIECE into the first gap of REGION that is large enough; whether there is one. */
static bool fit(struct torci_region *region, size_t size_bytes, struct torci_region_piece *piece)
{
    char *low = region->memory, *end = region->memory + region->size_bytes;
    struct torci_link *at;
    torci_list_each (at, &region->pieces) {
        struct torci_region_piece *next = TORC_CONTAINER_OF(at, struct torci_region_piece, link);
        if ((size_t)(next->memory - low) >= size_bytes)
            break;
        low = next->memory + next->size_bytes;
    }
    if (at == &region->pieces && (size_t)(end - low) < size_bytes)
        return false;
    torci_list_push_back(at, &piece->link); /* before AT */
    piece->region = region;
    piece->memory = low;
    piece->size_bytes = size_bytes;
    piece->index = region->index;
    return true;
}

enum attempt { QUIETLY, SAYING_WHY };

/* A new region with no piece yet. */
static int make(struct torci_arena *arena, bool dense, size_t size_bytes, enum attempt attempt,
                struct torci_region **made)
{
    const struct torci_host *host = &arena->kernel->host;
    struct torci_region *region = (struct torci_region *)host->alloc(host->context, sizeof *region);
    if (!region)
        return -ENOMEM;
    region->memory = (char *)torci_arena_map_in(arena, TORC_ARENA_DMA, dense, size_bytes);
    region->size_bytes = size_bytes;
    int index = -ENOMEM;
    if (region->memory)
        index = attempt == QUIETLY ? torci_buffer_register(region->memory, size_bytes)
                                   : torc_buffer_register(region->memory, size_bytes);
    if (index < 0) {
        torci_arena_unmap(arena, region->memory, size_bytes);
        host->free(host->context, region, sizeof *region);
        return index;
    }
    region->index = index;
    torci_link_init(&region->pieces);
    torci_list_push_back(&arena->regions, &region->link);
    arena->pinned_bytes += size_bytes;
    *made = region;
    return 0;
}

/* What a new region for SIZE_BYTES is to be: rounded so that no memory of a unit or of a huge page lies idle beside it. */
static size_t region_bytes(const struct torci_arena *arena, size_t size_bytes, bool dense)
{
    size_t ahead = arena->pinned_bytes >> EXTRA_SHIFT;
    if (ahead > EXTRA_BYTES_MAX)
        ahead = EXTRA_BYTES_MAX;
    size_t wanted = size_bytes > ahead ? size_bytes : ahead;
    size_t step = dense && arena->got != TORC_HUGEPAGES_NONE ? TORCI_HUGE_PAGE : PAGE;
    return (wanted + step - 1) & ~(step - 1);
}

int torci_region_take(struct torci_arena *arena, size_t size_bytes,
                      struct torci_region_piece *piece)
{
    struct torci_region *region;
    struct torci_link *at;
    TORC_ASSERT(size_bytes && size_bytes <= TORCI_REGION_BYTES_MAX);
    torci_list_each (at, &arena->regions)
        if (fit(region_at(at), size_bytes, piece))
            return 0;
    bool dense = size_bytes >= TORCI_HUGE_PAGE;
    int err = make(arena, dense, region_bytes(arena, size_bytes, dense), QUIETLY, &region);
    if (err == -ENOMEM) /* whole huge pages, or what was to be ahead, may have been too much */
        err = make(arena, false, size_bytes, SAYING_WHY, &region);
    if (err)
        return err;
    bool fits = fit(region, size_bytes, piece);
    TORC_ASSERT(fits);
    return 0;
}

void torci_region_give(struct torci_arena *arena, struct torci_region_piece *piece)
{
    struct torci_region *region = piece->region;
    torci_list_unlink(&piece->link);
    if (torci_list_is_empty(&region->pieces))
        drop(arena, region);
}
