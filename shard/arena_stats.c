/* SPDX-License-Identifier: MIT
 *
 * What is known about an arena: its sums, and the truth about its pages, which only the kernel knows: on which node they
 * are (move_pages) and whether it has made huge ones of them (pagemap).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "io/abi_internal.h"
#include "shard/arena_internal.h"

enum {
    PAGE = 4096,
    ASKED_AT_ONCE = 256,
    ASKED_MAX = 8192,  /* pages of a use that are asked for, touched or not */
    SAMPLED_MAX = 256, /* touched pages of a use after which no more are asked for */
    READ_BYTES = 2048,
    REGIONS_AT_ONCE = 32,
    LINE_BYTES = 128,
};

/* Asks for COUNT pages of one run. Pages that nobody has touched are nowhere. */
static int sample(const struct torci_arena *arena, char *at, unsigned count,
                  struct torc_arena_use_stats *use)
{
    void *pages[ASKED_AT_ONCE];
    int status[ASKED_AT_ONCE];
    for (unsigned i = 0; i < count; i++)
        pages[i] = at + (size_t)i * PAGE;
    long err = TORCI_CALL(arena->kernel, SYS_move_pages, 0, count, (long)(uintptr_t)pages, 0,
                          (long)(uintptr_t)status, 0);
    for (unsigned i = 0; !err && i < count; i++) {
        use->pages_sampled += status[i] >= 0;
        use->pages_on_node += status[i] >= 0 && (arena->node < 0 || status[i] == arena->node);
    }
    return (int)err;
}

struct walk {
    const struct torci_arena *arena;
    struct torc_arena_stats *stats;
    unsigned asked[TORC_ARENA_USES];
};

static void sample_run(struct walk *walk, enum torc_arena_use use, char *memory, size_t bytes)
{
    struct torc_arena_use_stats *stats = &walk->stats->uses[use];
    for (size_t at = 0; at < bytes && !walk->stats->sample_error; at += ASKED_AT_ONCE * PAGE) {
        if (stats->pages_sampled >= SAMPLED_MAX || walk->asked[use] >= ASKED_MAX)
            return;
        size_t left = (bytes - at) / PAGE;
        unsigned count = left < ASKED_AT_ONCE ? (unsigned)left : ASKED_AT_ONCE;
        walk->asked[use] += count;
        walk->stats->sample_error = sample(walk->arena, memory + at, count, stats);
    }
}

static bool each_run(void *context, enum torc_arena_use use, char *memory, size_t bytes)
{
    struct walk *walk = (struct walk *)context;
    sample_run(walk, use, memory, bytes);
    return !walk->stats->sample_error;
}

/* One line of smaps: "low-high …" begins a mapping, "AnonHugePages: N kB" is what we want of it. */
struct smaps {
    uintptr_t low, high; /* the arena */
    bool inside;
    int64_t huge_bytes;
};

static uint64_t number(const char **at, unsigned base)
{
    uint64_t value = 0;
    for (;; ++*at) {
        char c = **at;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16;
        if (digit >= base)
            return value;
        value = value * base + digit;
    }
}

static void read_line(struct smaps *smaps, const char *line)
{
    static const char wanted[] = "AnonHugePages:";
    if (!strncmp(line, wanted, sizeof wanted - 1)) {
        line += sizeof wanted - 1;
        while (*line == ' ')
            line++;
        if (smaps->inside)
            smaps->huge_bytes += (int64_t)number(&line, 10) * 1024;
        return;
    }
    const char *at = line;
    uint64_t low = number(&at, 16);
    if (at == line || *at != '-')
        return;
    at++;
    smaps->inside = low < smaps->high && number(&at, 16) > smaps->low;
}

static long open_file(const struct torci_arena *arena, const char *path)
{
    return TORCI_CALL(arena->kernel, SYS_openat, AT_FDCWD, (long)(uintptr_t)path,
                      O_RDONLY | O_CLOEXEC);
}

/* By the text of all mappings: before 6.7. */
static int64_t read_smaps(const struct torci_arena *arena)
{
    struct smaps smaps = {.low = (uintptr_t)arena->base,
                          .high = (uintptr_t)arena->base + arena->size_bytes / 2};
    char text[READ_BYTES], line[LINE_BYTES] = "";
    size_t length = 0;
    long fd = open_file(arena, "/proc/self/smaps");
    if (fd < 0)
        return fd;
    long size;
    while ((size = TORCI_CALL(arena->kernel, SYS_read, fd, (long)(uintptr_t)text, sizeof text)) > 0)
        for (long i = 0; i < size; i++) {
            if (text[i] != '\n') {
                if (length < sizeof line - 1)
                    line[length++] = text[i];
                continue;
            }
            line[length] = 0;
            length = 0;
            read_line(&smaps, line);
        }
    (void)TORCI_CALL(arena->kernel, SYS_close, fd);
    return size < 0 ? size : smaps.huge_bytes;
}

/* From LOW to HIGH; a negative errno where the kernel does not know how. */
static int64_t scan_pages(const struct torci_arena *arena, uintptr_t low, uintptr_t high)
{
    struct torci_page_region regions[REGIONS_AT_ONCE];
    int64_t huge_bytes = 0;
    long found = 0, fd = open_file(arena, "/proc/self/pagemap");
    if (fd < 0)
        return fd;
    while (low < high && found >= 0) {
        struct torci_page_scan scan = {.size = sizeof scan,
                                       .start = low,
                                       .end = high,
                                       .regions = (uintptr_t)regions,
                                       .regions_max = REGIONS_AT_ONCE,
                                       .mask = TORCI_PAGE_IS_HUGE,
                                       .returned = TORCI_PAGE_IS_HUGE};
        found = TORCI_CALL(arena->kernel, SYS_ioctl, fd, TORCI_PAGE_SCAN, (long)(uintptr_t)&scan);
        for (long i = 0; i < found; i++)
            huge_bytes += (int64_t)(regions[i].end - regions[i].start);
        if (found >= 0 && scan.walk_end <= low)
            found = -EIO;
        low = (uintptr_t)scan.walk_end;
    }
    (void)TORCI_CALL(arena->kernel, SYS_close, fd);
    return found < 0 ? found : huge_bytes;
}

/* Of the dense zone: the sparse one has none, which also keeps the mappings of two arenas apart. */
static int64_t transparent_bytes(const struct torci_arena *arena)
{
    const struct torci_zone *zone = &arena->dense;
    uintptr_t low = (uintptr_t)zone->base + ((uintptr_t)zone->reserved << TORCI_ARENA_UNIT_SHIFT);
    if (arena->got != TORC_HUGEPAGES_TRANSPARENT)
        return 0;
    int64_t bytes = scan_pages(arena, low, (uintptr_t)zone->base + zone->committed_bytes);
    return bytes >= 0 ? bytes : read_smaps(arena);
}

void torci_arena_stats_get(const struct torci_arena *arena, struct torc_arena_stats *stats)
{
    const struct torci_zone *dense = &arena->dense, *sparse = &arena->sparse;
    *stats = (struct torc_arena_stats){
        .node = arena->node < 0 ? -1 : arena->node,
        .bound = arena->bound,
        .pages = arena->got,
        .size_bytes = arena->size_bytes,
        .committed_bytes = dense->committed_bytes + sparse->committed_bytes,
        .used_bytes = arena->used_total_bytes,
        .high_water_bytes = arena->high_water_bytes,
        .reserved_bytes = (uint64_t)dense->reserved << TORCI_ARENA_UNIT_SHIFT,
        .pinned_bytes = arena->pinned_bytes,
        .lost_bytes = arena->lost_bytes,
        .transparent_bytes = transparent_bytes(arena),
    };
    for (unsigned use = 0; use < TORC_ARENA_USES; use++)
        stats->uses[use].bytes = arena->used_bytes[use];
    struct walk walk = {.arena = arena, .stats = stats};
    torci_arena_each(arena, each_run, &walk);
}
