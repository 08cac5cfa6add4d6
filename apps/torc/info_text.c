/* SPDX-License-Identifier: MIT
 *
 * The report for people: sections of labelled rows, a table of disks, the hints last because they are what one acts on.
 * Colours mark titles and what is absent or to be done, nothing else; without them nothing is lost.
 */
#include "apps/torc/info_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <torc.h>

#include "apps/torc/commands.h"
#include "apps/torc/info.h"
#include "apps/torc/info_read.h"

void info_title(struct info_page *page, const char *text)
{
    fprintf(page->out, "\n%s%s%s\n", page->bold, text, page->plain);
}

/* Continues the row; a word that would pass the edge goes to the next line, below the first one. */
static void put_word(struct info_page *page, const char *word)
{
    size_t length = strlen(word);
    if (page->column + 1 + length > page->style->width && page->column > INFO_LABEL_COLUMNS) {
        fprintf(page->out, "\n%*s", INFO_LABEL_COLUMNS, "");
        page->column = INFO_LABEL_COLUMNS;
    } else if (page->column > INFO_LABEL_COLUMNS) {
        fputc(' ', page->out);
        page->column++;
    }
    fputs(word, page->out);
    page->column += (unsigned)length;
}

void info_row(struct info_page *page, const char *label, const char *format, ...)
{
    char text[2048], *rest = NULL;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    info_make_printable(text);
    fprintf(page->out, "  %-*s", INFO_LABEL_COLUMNS - 2, label);
    page->column = INFO_LABEL_COLUMNS;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        put_word(page, word);
    fputc('\n', page->out);
}

struct info_short info_bytes(int64_t bytes)
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    struct info_short out;
    unsigned unit = 0;
    if (bytes == INFO_UNLIMITED || bytes < 0) {
        info_format(out.text, sizeof(out.text), "%s", bytes < 0 ? "unknown" : "unlimited");
        return out;
    }
    double value = (double)bytes;
    while (value >= 1024 && unit + 1 < sizeof(UNITS) / sizeof(UNITS[0])) {
        value /= 1024;
        unit++;
    }
    bool is_whole = value >= 100 || value - (double)(int64_t)value < 0.05;
    info_format(out.text, sizeof(out.text), "%.*f %s", is_whole ? 0 : 1, value, UNITS[unit]);
    return out;
}

static struct info_short count(int64_t value)
{
    struct info_short out;
    if (value == INFO_UNLIMITED || value < 0)
        info_format(out.text, sizeof(out.text), "%s", value < 0 ? "unknown" : "unlimited");
    else
        info_format(out.text, sizeof(out.text), "%" PRId64, value);
    return out;
}

static struct info_short plural(int64_t number, const char *one)
{
    struct info_short out;
    info_format(out.text, sizeof(out.text), "%" PRId64 " %s%s", number, one,
                number == 1 ? "" : "s");
    return out;
}

static void print_machine(struct info_page *page, const struct info *info)
{
    const struct info_machine *m = &info->machine;
    const struct info_limits *l = &info->limits;
    char cache[64] = "", quota[64] = "no quota", pages[64] = "no huge pages";
    info_title(page, "machine");
    info_row(page, "kernel", "%s %s, %s", m->system, m->release, m->architecture);
    if (m->l3_count > 0)
        info_format(cache, sizeof(cache), ", %s of %s",
                    m->l3_count == 1 ? "L3" : plural(m->l3_count, "L3 cache").text,
                    info_bytes(m->l3_bytes).text);
    if (m->threads < 0)
        info_row(page, "CPU", "unknown");
    else
        info_row(page, "CPU", "%s%s%s, %s, %s, %s%s", m->cpu, m->cpu[0] ? ": " : "",
                 plural(m->packages, "package").text, plural(m->cores, "core").text,
                 m->threads > m->cores ? plural(m->threads, "thread").text : "no SMT",
                 plural(m->numa_nodes, "NUMA node").text, cache);
    if (m->quota_milli != INFO_UNLIMITED)
        info_format(quota, sizeof(quota), "a quota of %.2f CPUs", (double)m->quota_milli / 1000);
    if (m->allowed < 0)
        info_row(page, "allowed", "unknown, %s", quota);
    else
        info_row(page, "allowed", "%s (%s), %s", plural(m->allowed, "CPU").text, m->allowed_cpus,
                 quota);
    if (m->shards > 0)
        info_row(page, "shards", "%" PRId64 " by default; torc info --topology draws them",
                 m->shards);
    if (l->huge_pages > 0)
        info_format(pages, sizeof(pages), "%" PRId64 " huge pages of %s (%" PRId64 " free)",
                    l->huge_pages, info_bytes(l->huge_page_bytes).text, l->huge_pages_free);
    info_row(page, "memory", "%s, %s, transparent ones: %s", info_bytes(m->memory_bytes).text,
             pages, l->transparent[0] ? l->transparent : "unknown");
    info_row(page, "clock", "%s%s", l->clock[0] ? l->clock : "unknown",
             l->counter_is_trusted ? ", the counter is trusted" : ", the counter is not trusted");
}

/* ---- io_uring ---- */

/* How many there are, and those of the others that torc would use. */
static void print_tally(struct info_page *page, const char *label,
                        const struct torc_ring_info *ring, enum torc_ring_kind kind)
{
    struct torc_ring_item item;
    char lacking[1024] = "";
    size_t used = 0;
    uint32_t known = 0, here = 0;
    for (; torc_ring_item_get(ring, kind, known, &item); known++) {
        here += item.is_there;
        if (item.is_used && !item.is_there && used < sizeof(lacking) - 1)
            used += info_format(lacking + used, sizeof(lacking) - used, "%s %s (%s)",
                                used ? "," : "; torc would use", item.name, item.since);
    }
    if (here == known)
        info_row(page, label, "all %u", known);
    else
        info_row(page, label, "%u of %u%s", here, known, used ? lacking : ", all that torc uses");
}

/* Everything of one kind in columns, the oldest first: + it is here, - it is not. */
static void print_grid(struct info_page *page, const char *heading,
                       const struct torc_ring_info *ring, enum torc_ring_kind kind)
{
    enum { FRAME = 9 }; /* mark, version, blanks */
    struct torc_ring_item item;
    unsigned longest = 0;
    for (uint32_t n = 0; torc_ring_item_get(ring, kind, n, &item); n++)
        longest = strlen(item.name) > longest ? (unsigned)strlen(item.name) : longest;
    unsigned columns = page->style->width / (longest + FRAME), gap = 2;
    info_title(page, heading);
    for (uint32_t n = 0; torc_ring_item_get(ring, kind, n, &item); n++) {
        bool starts = n % columns == 0;
        if (starts && n)
            fputc('\n', page->out);
        fprintf(page->out, "%*s%s%s %-*s %s%s", starts ? 2 : (int)gap, "",
                item.is_there ? "" : page->faint, item.is_there ? "+" : "-", (int)longest,
                item.name, item.since, item.is_there ? "" : page->plain);
        gap = 2 + 4 - (unsigned)strlen(item.since);
    }
    fputc('\n', page->out);
}

static void print_flags(struct info_page *page, const struct torc_ring_info *ring)
{
    char flags[512] = "none";
    size_t used = 0;
    struct torc_ring_item item;
    for (uint32_t bit = 0; torc_ring_item_get(ring, TORC_RING_SETUP, bit, &item); bit++)
        if (ring->setup_flags >> bit & 1 && used < sizeof(flags) - 1)
            used +=
                info_format(flags + used, sizeof(flags) - used, "%s%s", used ? " " : "", item.name);
    info_row(page, "flags", "%s", flags);
}

static void print_ring(struct info_page *page, const struct torc_ring_info *ring)
{
    info_title(page, "io_uring");
    if (ring->error) {
        info_row(page, "ring", "none: %.*s", (int)strcspn(ring->why, ":"), ring->why);
        return;
    }
    info_row(page, "ring", "rung %u of %u: %s", ring->rung + 1, ring->rungs, ring->rung_name);
    print_flags(page, ring);
    print_tally(page, "features", ring, TORC_RING_FEATURE);
    print_tally(page, "operations", ring, TORC_RING_OP);
    print_tally(page, "abilities", ring, TORC_RING_ABILITY);
    if (ring->newer_ops)
        info_row(page, "", "and %s that this torc has no name for",
                 plural(ring->newer_ops, "operation").text);
    if (!page->style->all)
        return;
    print_grid(page, "set-up flags and the kernels that brought them", ring, TORC_RING_SETUP);
    print_grid(page, "features", ring, TORC_RING_FEATURE);
    print_grid(page, "operations", ring, TORC_RING_OP);
    print_grid(page, "abilities", ring, TORC_RING_ABILITY);
}

static void print_limits(struct info_page *page, const struct info_limits *l)
{
    info_title(page, "limits");
    info_row(page, "pinned", "%s%s", info_bytes(l->locked_soft).text,
             l->may_lock_more && l->locked_soft != INFO_UNLIMITED ? ", not enforced (CAP_IPC_LOCK)"
                                                                  : "");
    info_row(page, "open files", "%s, may be raised to %s", count(l->files_soft).text,
             count(l->files_hard).text);
    info_row(page, "mappings", "%s, %s", count(l->maps_max).text,
             l->has_guard_markers ? "stack guards need none" : "one for each stack guard");
    if (l->uring_disabled >= 0)
        info_row(page, "sysctl", "io_uring_disabled=%" PRId64, l->uring_disabled);
}

/* One line each; what would pass the edge puts the remedy, which is to be copied whole, on the next line. */
static void print_hints(struct info_page *page, const struct info *info)
{
    info_title(page, "what is missing");
    if (!info->hint_count)
        fputs("  nothing\n", page->out);
    for (unsigned i = 0; i < info->hint_count; i++) {
        const struct info_hint *hint = &info->hints[i];
        bool fits = strlen(hint->what) + strlen(hint->mend) + 4 <= page->style->width;
        fprintf(page->out, "  %s:%s%s%s%s\n", hint->what, fits ? " " : "\n      ", page->mark,
                hint->mend, page->plain);
    }
}

void info_page_colours(struct info_page *page)
{
    bool is_on = page->style->colour;
    page->bold = is_on ? "\033[1m" : "";
    page->faint = is_on ? "\033[2m" : "";
    page->mark = is_on ? "\033[33m" : "";
    page->plain = is_on ? "\033[0m" : "";
}

void info_print_text(const struct info *info, const struct info_style *style, FILE *out)
{
    struct info_page page = {.out = out, .style = style};
    info_page_colours(&page);
    fprintf(out, "%storc %s%s\n", page.bold, TORC_APP_VERSION, page.plain);
    print_machine(&page, info);
    print_ring(&page, info->ring);
    print_limits(&page, &info->limits);
    info_print_arenas(&page, &info->arenas);
    info_print_devices(&page, &info->devices);
    print_hints(&page, info);
}
