/* SPDX-License-Identifier: MIT
 *
 * Where arenas come from: address space for a set of them, and then, zone by zone and on demand, memory of the kind and
 * on the node that was asked for. What can't be had is said in one line.
 *
 * An arena's address space:
 *
 *     dense zone        half of it, less half of the tables
 *     sparse zone       the other half
 *     tables            one struct torci_run a unit, committed along with their zone
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/sanitizer_internal.h"
#include "io/abi_internal.h"
#include "shard/arena_internal.h"

enum {
    LINE_BYTES = 320,
    PAGE = 4096,
    GROWTH_SHIFT =
        3, /* a zone grows by an eighth of itself at least: few calls, little ahead of the need */
    NODE_WORDS = TORCI_NODES_MAX / 64,
};

/* TSan leaves an application 1.5 TiB of address space in all, and ASan shadows what is unmapped. */
#if defined(TORCI_TSAN) || defined(TORCI_ASAN)
#define BYTES_DEFAULT ((uint64_t)8 << 30)
#else
#define BYTES_DEFAULT ((uint64_t)64 << 30)
#endif

static void say(const struct torci_kernel *kernel, const char *line)
{
    kernel->host.report(kernel->host.context, line);
}

/* Address space for COUNT arenas of 1 << SHIFT each and what it takes to begin at a huge page. */
static bool reserve(struct torci_arena_set *set, uint32_t shift)
{
    set->memory_bytes = ((size_t)set->count << shift) + TORCI_HUGE_PAGE;
    set->memory = (char *)set->kernel->reserve(set->kernel->host.context, set->memory_bytes);
    if (!set->memory)
        return false;
    uintptr_t base =
        ((uintptr_t)set->memory + TORCI_HUGE_PAGE - 1) & ~((uintptr_t)TORCI_HUGE_PAGE - 1);
    set->base = set->memory + (base - (uintptr_t)set->memory);
    set->shift = shift;
    return true;
}

int torci_arena_set_create(const struct torci_kernel *kernel,
                           const struct torci_arena_options *options, uint32_t count,
                           struct torci_arena_set **set)
{
    char line[LINE_BYTES];
    uint64_t asked = options->arena_bytes;
    if (!count || (asked && (asked < TORCI_ARENA_BYTES_MIN || asked > TORCI_ARENA_BYTES_MAX)) ||
        options->hugepages > TORC_HUGEPAGES_RESERVED) {
        snprintf(line, sizeof line,
                 "torc: an arena of %llu MiB is out of range: torc_config.arena_bytes is at least "
                 "16 MiB and at most 16 TiB",
                 (unsigned long long)(asked >> 20));
        say(kernel, line);
        return -EINVAL;
    }
    size_t own_bytes = sizeof **set + count * sizeof *(*set)->arenas;
    struct torci_arena_set *made =
        (struct torci_arena_set *)kernel->host.alloc(kernel->host.context, own_bytes);
    if (!made) {
        say(kernel, "torc: out of memory");
        return -ENOMEM;
    }
    made->kernel = kernel;
    made->options = *options;
    made->count = count;
    made->own_bytes = own_bytes;
    for (uint32_t i = 0; i < count; i++)
        torci_link_init(&made->arenas[i].regions);
    uint64_t wanted = asked ? asked : BYTES_DEFAULT;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(wanted) + !!(wanted & (wanted - 1));
    bool reserved = reserve(made, shift);
    /* Nobody has asked for that much: take what the limits leave. */
    while (!reserved && !asked && (UINT64_C(1) << shift) > TORCI_ARENA_BYTES_MIN)
        reserved = reserve(made, --shift);
    if (!reserved) {
        snprintf(line, sizeof line,
                 "torc: no address space for %u arenas of %llu MiB: raise the limit (ulimit -v), "
                 "start fewer shards, or ask for less with torc_config.arena_bytes",
                 count, (unsigned long long)((UINT64_C(1) << shift) >> 20));
        say(kernel, line);
        kernel->host.free(kernel->host.context, made, own_bytes);
        return -ENOMEM;
    }
    *set = made;
    return 0;
}

void torci_arena_set_destroy(struct torci_arena_set *set)
{
    if (!set)
        return;
    const struct torci_host *host = &set->kernel->host;
    for (uint32_t i = 0; i < set->count; i++)
        torci_arena_forget_regions(&set->arenas[i]);
    host->unmap(host->map_context, set->memory, set->memory_bytes);
    host->free(host->context, set, set->own_bytes);
}

/* Nodes that this process may use; 0 where the kernel doesn't know or doesn't say. */
static unsigned nodes_allowed(const struct torci_kernel *kernel)
{
    unsigned long mask[NODE_WORDS] = {0};
    long err = TORCI_CALL(kernel, SYS_get_mempolicy, 0, (long)(uintptr_t)mask, TORCI_NODES_MAX, 0,
                          TORCI_MPOL_MEMS_ALLOWED);
    unsigned count = 0;
    for (unsigned i = 0; !err && i < NODE_WORDS; i++)
        for (; mask[i]; mask[i] &= mask[i] - 1)
            count++;
    return count;
}

static long set_policy(const struct torci_arena *arena, const void *memory, size_t bytes,
                       int policy)
{
    unsigned long mask[NODE_WORDS] = {0};
    if (arena->node >= TORCI_NODES_MAX)
        return -EINVAL;
    mask[arena->node / 64] = 1UL << arena->node % 64;
    /* the kernel takes one bit less than it is told */
    return TORCI_CALL(arena->kernel, SYS_mbind, (long)(uintptr_t)memory, (long)bytes, policy,
                      (long)(uintptr_t)mask, TORCI_NODES_MAX + 1, 0);
}

/* Preferred and not strict: where the node is full, a page from elsewhere, which the statistics show, is better than
 * the process killed for want of memory while other nodes have some. */
static void bind(struct torci_arena *arena)
{
    if (arena->node < 0 || nodes_allowed(arena->kernel) == 1)
        return; /* nothing to choose */
    long err = set_policy(arena, arena->base, arena->size_bytes, TORCI_MPOL_PREFERRED);
    arena->bound = !err;
    /* -EPERM and -ENOSYS: containers forbid it by default. The first touch, by a pinned thread, does most of it. */
    if (!err || err == -EPERM || err == -ENOSYS)
        return;
    char line[LINE_BYTES];
    snprintf(line, sizeof line,
             "torc: shard %u's memory can't be put on node %d (errno %ld): is the node in the "
             "cpuset's mems?",
             arena->shard, arena->node, -err);
    say(arena->kernel, line);
}

/* A number in a file of sysfs; negative if there is none. */
static long read_number(const struct torci_kernel *kernel, const char *path)
{
    char text[32] = "";
    long fd = TORCI_CALL(kernel, SYS_openat, AT_FDCWD, (long)(uintptr_t)path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    long size = TORCI_CALL(kernel, SYS_read, fd, (long)(uintptr_t)text, sizeof text - 1);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    long number = 0;
    if (size <= 0 || text[0] < '0' || text[0] > '9')
        return -ENODATA;
    for (const char *at = text; *at >= '0' && *at <= '9' && number < INT32_MAX; at++)
        number = number * 10 + (*at - '0');
    return number;
}

/* Reserved ones were asked for and are not there: how to get them, once. */
static void explain_no_pages(struct torci_arena *arena, size_t bytes)
{
    char line[LINE_BYTES], pool[96];
    if (arena->told_no_pages)
        return;
    arena->told_no_pages = true;
    if (arena->node >= 0)
        snprintf(pool, sizeof pool, "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB",
                 arena->node);
    else
        snprintf(pool, sizeof pool, "/sys/kernel/mm/hugepages/hugepages-2048kB");
    char path[128];
    snprintf(path, sizeof path, "%s/free_hugepages", pool);
    long free_pages = read_number(arena->kernel, path);
    if (free_pages < 0)
        snprintf(
            line, sizeof line,
            "torc: shard %u's memory is to be of reserved huge pages, and this kernel has none "
            "of 2 MiB: set hugepages (TORC_HUGEPAGES) to transparent",
            arena->shard);
    else
        snprintf(
            line, sizeof line,
            "torc: shard %u wants %zu more reserved huge pages of 2 MiB and %ld are free: sysctl "
            "vm.nr_hugepages, or write a larger number to %s/nr_hugepages",
            arena->shard, bytes / TORCI_HUGE_PAGE, free_pages, pool);
    say(arena->kernel, line);
}

/* Address space of reserved huge pages, none of which is taken yet. */
static int open_reserved(struct torci_arena *arena)
{
    struct torci_zone *zone = &arena->dense;
    size_t bytes = (size_t)zone->units << TORCI_ARENA_UNIT_SHIFT;
    long at = TORCI_CALL(
        arena->kernel, SYS_mmap, (long)(uintptr_t)zone->base, (long)bytes, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED | MAP_HUGETLB | TORCI_MAP_HUGE_2MB,
        -1, 0);
    if (at < 0 && at > -PAGE)
        return (int)at;
    arena->got = TORC_HUGEPAGES_RESERVED;
    /* Strict: pages of this kind are asked for only where their absence is an answer. */
    if (arena->bound)
        (void)set_policy(arena, zone->base, bytes, TORCI_MPOL_BIND);
    return 0;
}

/* What follows the reserved huge pages, if there are any, is made of other ones. */
static int close_reserved(struct torci_arena *arena)
{
    struct torci_zone *zone = &arena->dense;
    char *rest = zone->base + zone->committed_bytes;
    size_t bytes = ((size_t)zone->units << TORCI_ARENA_UNIT_SHIFT) - zone->committed_bytes;
    long at = TORCI_CALL(arena->kernel, SYS_mmap, (long)(uintptr_t)rest, (long)bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (at < 0 && at > -PAGE)
        return -ENOMEM;
    if (arena->bound)
        (void)set_policy(arena, rest, bytes, TORCI_MPOL_PREFERRED);
    arena->got = TORC_HUGEPAGES_NONE;
    zone->seam = zone->reserved;
    return 0;
}

/* Asks for transparent ones from FROM on; a kernel that has none leaves pages of the usual size. */
static void ask_for_transparent(struct torci_arena *arena, size_t from_bytes)
{
    struct torci_zone *zone = &arena->dense;
    size_t bytes = ((size_t)zone->units << TORCI_ARENA_UNIT_SHIFT) - from_bytes;
    long err = TORCI_CALL(arena->kernel, SYS_madvise, (long)(uintptr_t)(zone->base + from_bytes),
                          (long)bytes, MADV_HUGEPAGE);
    arena->got = err ? TORC_HUGEPAGES_NONE : TORC_HUGEPAGES_TRANSPARENT;
    zone->page_bytes = err ? PAGE : TORCI_HUGE_PAGE;
}

/* Touches all pages, which also says whether there are any: at a touch by us that would be a signal. */
static int populate(const struct torci_arena *arena, char *memory, size_t bytes)
{
    long err = TORCI_CALL(arena->kernel, SYS_madvise, (long)(uintptr_t)memory, (long)bytes,
                          TORCI_MADV_POPULATE_WRITE);
    return err ? -ENOMEM : 0;
}

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) & ~(unit - 1);
}

static int commit_table(struct torci_arena *arena, struct torci_zone *zone, size_t zone_bytes)
{
    size_t wanted =
        round_up((zone_bytes >> TORCI_ARENA_UNIT_SHIFT) * sizeof *zone->runs, TORCI_ARENA_UNIT);
    if (wanted <= zone->runs_committed_bytes)
        return 0;
    int err = arena->kernel->commit(arena->kernel->host.context,
                                    (char *)zone->runs + zone->runs_committed_bytes,
                                    wanted - zone->runs_committed_bytes);
    if (!err)
        zone->runs_committed_bytes = wanted;
    return err;
}

static int commit_reserved(struct torci_arena *arena, struct torci_zone *zone, size_t wanted)
{
    wanted = round_up(wanted, TORCI_HUGE_PAGE);
    size_t more = wanted - zone->committed_bytes;
    char *memory = zone->base + zone->committed_bytes;
    int err = commit_table(arena, zone, wanted);
    if (!err)
        err = arena->kernel->commit(arena->kernel->host.context, memory, more);
    if (!err)
        err = populate(arena, memory, more);
    if (!err) {
        zone->committed_bytes = wanted;
        zone->reserved = (uint32_t)(wanted >> TORCI_ARENA_UNIT_SHIFT);
    } else if (arena->wanted == TORC_HUGEPAGES_RESERVED) {
        explain_no_pages(arena, more);
    }
    return err;
}

static int commit_plain(struct torci_arena *arena, struct torci_zone *zone, size_t wanted)
{
    size_t least = round_up(wanted, zone->is_dense ? TORCI_HUGE_PAGE : TORCI_ARENA_UNIT);
    size_t most = (size_t)zone->units << TORCI_ARENA_UNIT_SHIFT;
    bool touch = zone->is_dense && arena->prefault;
    wanted = least;
    if (!touch && wanted < zone->committed_bytes + (zone->committed_bytes >> GROWTH_SHIFT))
        wanted = round_up(zone->committed_bytes + (zone->committed_bytes >> GROWTH_SHIFT),
                          TORCI_HUGE_PAGE);
    if (wanted > most)
        wanted = most;
    for (;; wanted = least) {
        size_t more = wanted - zone->committed_bytes;
        char *memory = zone->base + zone->committed_bytes;
        int err = commit_table(arena, zone, wanted);
        if (!err)
            err = arena->kernel->commit(arena->kernel->host.context, memory, more);
        if (!err && touch)
            err = populate(arena, memory, more);
        if (!err)
            zone->committed_bytes = wanted;
        if (!err || wanted <= least)
            return err ? -ENOMEM : 0;
    }
}

int torci_zone_commit(struct torci_arena *arena, struct torci_zone *zone, size_t wanted_bytes)
{
    if (wanted_bytes <= zone->committed_bytes)
        return 0;
    if (!zone->is_dense || arena->got != TORC_HUGEPAGES_RESERVED)
        return commit_plain(arena, zone, wanted_bytes);
    int err = commit_reserved(arena, zone, wanted_bytes);
    if (!err || arena->wanted == TORC_HUGEPAGES_RESERVED)
        return err;
    err = close_reserved(arena);
    if (err)
        return err;
    ask_for_transparent(arena, zone->committed_bytes);
    return commit_plain(arena, zone, wanted_bytes);
}

static void lay_out(struct torci_arena *arena)
{
    size_t half = arena->size_bytes / 2;
    size_t table = round_up((half >> TORCI_ARENA_UNIT_SHIFT) * sizeof(struct torci_run), PAGE);
    size_t tables = round_up(2 * table, TORCI_HUGE_PAGE);
    char *end = arena->base + arena->size_bytes;
    arena->dense = (struct torci_zone){.base = arena->base,
                                       .units = (uint32_t)(half >> TORCI_ARENA_UNIT_SHIFT),
                                       .is_dense = true,
                                       .page_bytes = PAGE,
                                       .runs = (struct torci_run *)(void *)(end - tables)};
    arena->sparse =
        (struct torci_zone){.base = arena->base + half,
                            .units = (uint32_t)((half - tables) >> TORCI_ARENA_UNIT_SHIFT),
                            .page_bytes = PAGE,
                            .runs = (struct torci_run *)(void *)(end - tables + table)};
}

int torci_arena_open(struct torci_arena_set *set, uint32_t shard, int node,
                     struct torci_arena **opened)
{
    struct torci_arena *arena = &set->arenas[shard];
    *arena = (struct torci_arena){.kernel = set->kernel,
                                  .set = set,
                                  .base = set->base + ((size_t)shard << set->shift),
                                  .size_bytes = UINT64_C(1) << set->shift,
                                  .shard = shard,
                                  .node = node,
                                  .prefault = set->options.prefault,
                                  .wanted = set->options.hugepages,
                                  .got = TORC_HUGEPAGES_NONE};
    torci_link_init(&arena->regions);
    lay_out(arena);
    bind(arena);
    /* A parked task's stack is to cost the one page that it has touched, not the 2 MiB around it. It fails where the
     * kernel has no huge pages, which is as good; so it does below. */
    (void)TORCI_CALL(arena->kernel, SYS_madvise, (long)(uintptr_t)arena->sparse.base,
                     (long)(arena->size_bytes / 2), MADV_NOHUGEPAGE);
    size_t eager = set->options.eager_bytes ? set->options.eager_bytes : TORCI_HUGE_PAGE;
    int err = 0;
    if (arena->wanted == TORC_HUGEPAGES_AUTO || arena->wanted == TORC_HUGEPAGES_RESERVED)
        err = open_reserved(arena);
    if (err && arena->wanted == TORC_HUGEPAGES_RESERVED) {
        explain_no_pages(arena, eager);
        return -ENOMEM;
    }
    if (arena->wanted == TORC_HUGEPAGES_NONE)
        (void)TORCI_CALL(arena->kernel, SYS_madvise, (long)(uintptr_t)arena->dense.base,
                         (long)(arena->size_bytes / 2), MADV_NOHUGEPAGE);
    else if (arena->got != TORC_HUGEPAGES_RESERVED)
        ask_for_transparent(arena, 0);
    if (arena->got == TORC_HUGEPAGES_RESERVED || arena->prefault)
        err = torci_zone_commit(arena, &arena->dense, eager);
    else
        err = 0;
    if (err && !arena->told_no_pages)
        say(arena->kernel, "torc: out of memory for a shard's arena");
    if (err)
        return -ENOMEM;
    *opened = arena;
    return 0;
}
