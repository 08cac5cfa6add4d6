/* SPDX-License-Identifier: MIT
 *
 * Runs of units: handing out, taking back, merging. How zones get their memory from the machine is in arena_set.c.
 */
#include "shard/arena_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "io/abi_internal.h"

enum run_state {
    RUN_NONE, /* not an end of a run */
    RUN_FREE,
    RUN_USED,
    RUN_LOST,
};

enum {
    NO_RUN = UINT32_MAX >> 1,
    HUGE_UNITS = TORCI_HUGE_PAGE / TORCI_ARENA_UNIT,
    FITS_TRIED_MAX = 8, /* runs of a size's own bin that are looked at */
};

/* Bin b holds runs of at least bin_units(b) units: one size each below 8, then eight to a power of two. */
static unsigned bin_of(uint32_t units)
{
    if (units < 8)
        return units;
    unsigned exponent = 31 - (unsigned)__builtin_clz(units);
    return (exponent - 2) * 8 + (units >> (exponent - 3) & 7);
}

/* A run of at least UNITS in the bins from BIN on; NO_RUN if there is none. */
static uint32_t first_from(const struct torci_zone *zone, unsigned bin)
{
    for (unsigned word = bin / 64; word < TORC_ARRAY_LENGTH(zone->bins_used); word++) {
        uint64_t used = zone->bins_used[word];
        if (word == bin / 64)
            used &= UINT64_MAX << bin % 64;
        if (used)
            return zone->bins[word * 64 + (unsigned)__builtin_ctzll(used)];
    }
    return NO_RUN;
}

static uint32_t find_free(const struct torci_zone *zone, uint32_t units)
{
    unsigned bin = bin_of(units);
    uint32_t at = zone->bins_used[bin / 64] >> bin % 64 & 1 ? zone->bins[bin] : NO_RUN;
    for (unsigned tried = 0; at != NO_RUN && tried < FITS_TRIED_MAX; tried++) {
        if (zone->runs[at].units >= units)
            return at;
        at = zone->runs[at].next;
    }
    return bin + 1 < TORCI_ARENA_BINS ? first_from(zone, bin + 1) : NO_RUN;
}

static void write_ends(struct torci_zone *zone, uint32_t first, const struct torci_run *run)
{
    zone->runs[first + run->units - 1] = *run;
    zone->runs[first] = *run;
}

static void put_free(struct torci_zone *zone, uint32_t first, uint32_t units, bool dirty)
{
    unsigned bin = bin_of(units);
    uint64_t bit = UINT64_C(1) << bin % 64;
    struct torci_run run = {
        .units = units, .next = NO_RUN, .prev = NO_RUN, .state = RUN_FREE, .dirty = dirty};
    if (zone->bins_used[bin / 64] & bit) {
        run.next = zone->bins[bin];
        zone->runs[run.next].prev = first;
    }
    write_ends(zone, first, &run);
    zone->bins[bin] = first;
    zone->bins_used[bin / 64] |= bit;
}

static struct torci_run take_free(struct torci_zone *zone, uint32_t first)
{
    struct torci_run run = zone->runs[first];
    TORC_ASSERT(run.state == RUN_FREE);
    unsigned bin = bin_of(run.units);
    if (run.next != NO_RUN)
        zone->runs[run.next].prev = run.prev;
    if (run.prev != NO_RUN)
        zone->runs[run.prev].next = run.next;
    else if (run.next != NO_RUN)
        zone->bins[bin] = run.next;
    else
        zone->bins_used[bin / 64] &= ~(UINT64_C(1) << bin % 64);
    zone->runs[first].state = zone->runs[first + run.units - 1].state = RUN_NONE;
    return run;
}

/* Reserved huge pages end here and others begin: no run lies on both sides, because older kernels do not register such
 * memory in one piece. */
static bool is_seam(const struct torci_zone *zone, uint32_t unit)
{
    return unit == zone->seam && unit > 0;
}

static uint32_t aligned(uint32_t unit, uint32_t align)
{
    return (unit + align - 1) & ~(align - 1);
}

/* Moves the frontier up to END; what is new and the free run below it, if there is one on this side of the seam, are one
 * free run. */
static void extend(struct torci_zone *zone, uint32_t end)
{
    uint32_t first = zone->frontier;
    bool dirty = false;
    if (first && !is_seam(zone, first) && zone->runs[first - 1].state == RUN_FREE) {
        first -= zone->runs[first - 1].units;
        dirty = take_free(zone, first).dirty;
    }
    zone->frontier = end;
    put_free(zone, first, end - first, dirty);
}

/* Makes a free run at the frontier that has room for UNITS from a multiple of ALIGN on. Twice at most: reserved huge
 * pages may turn out to have run out, and what follows them begins anew. */
static int grow(struct torci_arena *arena, struct torci_zone *zone, uint32_t units, uint32_t align,
                uint32_t *first)
{
    for (;;) {
        uint32_t start = zone->frontier;
        if (start && !is_seam(zone, start) && zone->runs[start - 1].state == RUN_FREE)
            start -= zone->runs[start - 1].units;
        uint32_t end = aligned(start, align) + units;
        if (units > zone->units || end > zone->units)
            return -ENOMEM;
        *first = start;
        if (end <= zone->frontier)
            return 0;
        int err = torci_zone_commit(arena, zone, (size_t)end << TORCI_ARENA_UNIT_SHIFT);
        if (err)
            return err;
        if (start >= zone->seam || end <= zone->seam) {
            extend(zone, end);
            return 0;
        }
        if (zone->frontier < zone->seam)
            extend(zone, zone->seam);
    }
}

static bool is_dense(const struct torci_arena *arena, const void *memory)
{
    return (uintptr_t)memory - (uintptr_t)arena->dense.base < (uint64_t)arena->dense.units
                                                                  << TORCI_ARENA_UNIT_SHIFT;
}

/* The run that begins at MEMORY. */
static uint32_t find_used(const struct torci_zone *zone, const void *memory)
{
    uintptr_t offset = (uintptr_t)memory - (uintptr_t)zone->base;
    TORC_ASSERT(offset % TORCI_ARENA_UNIT == 0);
    TORC_ASSERT(offset >> TORCI_ARENA_UNIT_SHIFT < zone->frontier);
    uint32_t first = (uint32_t)(offset >> TORCI_ARENA_UNIT_SHIFT);
    TORC_ASSERT(zone->runs[first].state == RUN_USED);
    return first;
}

static char *unit_at(const struct torci_zone *zone, uint32_t unit)
{
    return zone->base + ((size_t)unit << TORCI_ARENA_UNIT_SHIFT);
}

static void show(const struct torci_arena *arena)
{
    struct torci_counters *counters = arena->counters;
    if (!counters)
        return;
    torci_gauge_set(&counters->arena_free, arena->size_bytes - arena->used_total_bytes);
    torci_gauge_set(&counters->arena_stacks, arena->used_bytes[TORC_ARENA_STACKS]);
    torci_gauge_set(&counters->arena_buffers, arena->used_bytes[TORC_ARENA_DMA]);
    torci_gauge_set(&counters->arena_lanes, arena->used_bytes[TORC_ARENA_LANES]);
    torci_gauge_set(&counters->arena_small, arena->used_bytes[TORC_ARENA_SLABS]);
}

void torci_arena_watch(struct torci_arena *arena, struct torci_counters *counters)
{
    arena->counters = counters;
    torci_gauge_set(&counters->arena_bytes, arena->size_bytes);
    show(arena);
}

static void account(struct torci_arena *arena, enum torc_arena_use use, uint64_t bytes)
{
    arena->used_bytes[use] += bytes;
    arena->used_total_bytes += bytes;
    if (arena->used_total_bytes > arena->high_water_bytes)
        arena->high_water_bytes = arena->used_total_bytes;
    show(arena);
}

static void discount(struct torci_arena *arena, enum torc_arena_use use, uint64_t bytes)
{
    arena->used_bytes[use] -= bytes;
    arena->used_total_bytes -= bytes;
    show(arena);
}

void *torci_arena_map(struct torci_arena *arena, enum torc_arena_use use, size_t size_bytes)
{
    static const bool dense[TORC_ARENA_USES] = {
        [TORC_ARENA_DMA] = true, [TORC_ARENA_LANES] = true, [TORC_ARENA_SLABS] = true};
    return torci_arena_map_in(arena, use, dense[use], size_bytes);
}

void *torci_arena_map_in(struct torci_arena *arena, enum torc_arena_use use, bool dense,
                         size_t size_bytes)
{
    struct torci_zone *zone = dense ? &arena->dense : &arena->sparse;
    if (!size_bytes || size_bytes > (uint64_t)zone->units << TORCI_ARENA_UNIT_SHIFT)
        return NULL;
    uint32_t units = (uint32_t)((size_bytes - 1) >> TORCI_ARENA_UNIT_SHIFT) + 1;
    /* Large dense runs are of whole huge pages: one that is used in part only costs as much. */
    uint32_t align = dense && units >= HUGE_UNITS ? HUGE_UNITS : 1;
    uint32_t first = find_free(zone, units + align - 1);
    if (first == NO_RUN && grow(arena, zone, units, align, &first))
        return NULL;
    struct torci_run run = take_free(zone, first);
    uint32_t end = first + run.units, start = aligned(first, align);
    if (start > first)
        put_free(zone, first, start - first, run.dirty);
    if (end > start + units)
        put_free(zone, start + units, end - start - units, run.dirty);
    first = start;
    write_ends(zone, first,
               &(struct torci_run){.units = units, .state = RUN_USED, .use = (uint8_t)use});
    account(arena, use, (uint64_t)units << TORCI_ARENA_UNIT_SHIFT);
    char *memory = unit_at(zone, first);
    if (run.dirty && use != TORC_ARENA_DMA && use != TORC_ARENA_SLABS)
        memset(memory, 0, (size_t)units << TORCI_ARENA_UNIT_SHIFT);
    return memory;
}

/* Gives a run's pages back to the machine as far as that is of use; whether the run is all zero now. */
static bool drop_pages(struct torci_arena *arena, struct torci_zone *zone, uint32_t first,
                       uint32_t units)
{
    /* Reserved huge pages once given back might be gone at the next touch, and prefaulted memory is to stay. */
    if (first < zone->reserved || (zone->is_dense && arena->prefault))
        return false;
    uintptr_t low = (uintptr_t)unit_at(zone, first), high = (uintptr_t)unit_at(zone, first + units);
    uintptr_t low_page = (low + zone->page_bytes - 1) & ~(uintptr_t)(zone->page_bytes - 1);
    uintptr_t high_page = high & ~(uintptr_t)(zone->page_bytes - 1);
    if (low_page >=
        high_page) /* less than a huge page: to split one would cost more than it frees */
        return false;
    long err = TORCI_CALL(arena->kernel, SYS_madvise, (long)low_page, (long)(high_page - low_page),
                          MADV_DONTNEED);
    return !err && low_page == low && high_page == high;
}

/* Guards may be anywhere in a stack slab: marked pages, or on older kernels protected ones. */
static int remove_guards(struct torci_arena *arena, void *memory, size_t bytes)
{
    long err = TORCI_CALL(arena->kernel, SYS_madvise, (long)(uintptr_t)memory, (long)bytes,
                          TORCI_MADV_GUARD_REMOVE);
    if (err == -EINVAL || err == -ENOSYS)
        err = arena->kernel->commit(arena->kernel->host.context, memory, bytes);
    return (int)err;
}

void torci_arena_unmap(struct torci_arena *arena, void *memory, size_t size_bytes)
{
    if (!memory)
        return;
    struct torci_zone *zone = is_dense(arena, memory) ? &arena->dense : &arena->sparse;
    uint32_t first = find_used(zone, memory);
    struct torci_run run = zone->runs[first];
    TORC_ASSERT(run.units == (size_bytes - 1) / TORCI_ARENA_UNIT + 1);
    size_t bytes = (size_t)run.units << TORCI_ARENA_UNIT_SHIFT;
    discount(arena, (enum torc_arena_use)run.use, bytes);
    if (run.use == TORC_ARENA_STACKS && remove_guards(arena, memory, bytes)) {
        run.state = RUN_LOST;
        write_ends(zone, first, &run);
        arena->lost_bytes += bytes;
        return;
    }
    bool dirty = !drop_pages(arena, zone, first, run.units);
    zone->runs[first].state = zone->runs[first + run.units - 1].state = RUN_NONE;
    uint32_t units = run.units, after = first + units;
    if (after < zone->frontier && !is_seam(zone, after) && zone->runs[after].state == RUN_FREE) {
        run = take_free(zone, after);
        units += run.units;
        dirty |= run.dirty;
    }
    if (first > 0 && !is_seam(zone, first) && zone->runs[first - 1].state == RUN_FREE) {
        first -= zone->runs[first - 1].units;
        run = take_free(zone, first);
        units += run.units;
        dirty |= run.dirty;
    }
    put_free(zone, first, units, dirty);
}

size_t torci_arena_mapped_bytes(const struct torci_arena *arena, const void *memory)
{
    const struct torci_zone *zone = is_dense(arena, memory) ? &arena->dense : &arena->sparse;
    return (size_t)zone->runs[find_used(zone, memory)].units << TORCI_ARENA_UNIT_SHIFT;
}

static void *host_map(void *context, size_t size_bytes)
{
    return torci_arena_map((struct torci_arena *)context, TORC_ARENA_STACKS, size_bytes);
}

static void host_unmap(void *context, void *memory, size_t size_bytes)
{
    torci_arena_unmap((struct torci_arena *)context, memory, size_bytes);
}

static int host_guard(void *context, void *memory, size_t size_bytes)
{
    const struct torci_host *host = &((struct torci_arena *)context)->kernel->host;
    return host->guard(host->map_context, memory, size_bytes);
}

void torci_arena_host(struct torci_arena *arena, struct torci_host *host)
{
    host->map_context = arena;
    host->map = host_map;
    host->unmap = host_unmap;
    host->guard = host_guard;
}

void torci_arena_each(const struct torci_arena *arena,
                      bool (*fn)(void *context, enum torc_arena_use use, char *memory,
                                 size_t size_bytes),
                      void *context)
{
    const struct torci_zone *zones[] = {&arena->dense, &arena->sparse};
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(zones); i++)
        for (uint32_t at = 0; at < zones[i]->frontier; at += zones[i]->runs[at].units) {
            const struct torci_run *run = &zones[i]->runs[at];
            if (run->state == RUN_USED &&
                !fn(context, (enum torc_arena_use)run->use, unit_at(zones[i], at),
                    (size_t)run->units << TORCI_ARENA_UNIT_SHIFT))
                return;
        }
}

static bool check_zone(const struct torci_zone *zone, uint64_t used[TORC_ARENA_USES],
                       uint64_t *lost)
{
    uint64_t free_runs = 0, binned = 0;
    uint8_t before = RUN_NONE;
    for (uint32_t at = 0; at < zone->frontier;) {
        const struct torci_run *run = &zone->runs[at];
        if (run->state == RUN_NONE || !run->units || run->units > zone->frontier - at)
            return false;
        if (at < zone->seam && at + run->units > zone->seam)
            return false;
        const struct torci_run *end = &zone->runs[at + run->units - 1];
        if (end->state != run->state || end->units != run->units)
            return false;
        uint64_t bytes = (uint64_t)run->units << TORCI_ARENA_UNIT_SHIFT;
        if (run->state == RUN_FREE && before == RUN_FREE && !is_seam(zone, at))
            return false; /* they should have been merged */
        if (run->state == RUN_FREE)
            free_runs++;
        else if (run->state == RUN_LOST)
            *lost += bytes;
        else
            used[run->use] += bytes;
        before = run->state;
        at += run->units;
    }
    for (unsigned bin = 0; bin < TORCI_ARENA_BINS; bin++) {
        uint32_t at = zone->bins_used[bin / 64] >> bin % 64 & 1 ? zone->bins[bin] : NO_RUN;
        for (; at != NO_RUN; at = zone->runs[at].next)
            if (zone->runs[at].state != RUN_FREE || bin_of(zone->runs[at].units) != bin ||
                ++binned > free_runs)
                return false;
    }
    return binned == free_runs;
}

bool torci_arena_check(const struct torci_arena *arena)
{
    uint64_t used[TORC_ARENA_USES] = {0}, total = 0, lost = 0;
    if (!check_zone(&arena->dense, used, &lost) || !check_zone(&arena->sparse, used, &lost))
        return false;
    for (unsigned use = 0; use < TORC_ARENA_USES; use++) {
        if (used[use] != arena->used_bytes[use])
            return false;
        total += used[use];
    }
    return total == arena->used_total_bytes && lost == arena->lost_bytes &&
           arena->high_water_bytes >= total;
}
