/* SPDX-License-Identifier: MIT
 *
 * The drawing of a machine. Packages and nodes are titles, each L3 group is a block, each core a column of it with its
 * threads below each other, and each thread a cell: its CPU's number and, behind a colon, its shard's. A level of which
 * there is one is told in the line above the drawing and not drawn.
 */
#include <inttypes.h>
#include <string.h>
#include <torc.h>

#include "apps/torc/commands.h"
#include "apps/torc/info_read.h"
#include "apps/torc/info_text.h"
#include "apps/torc/info_topology.h"
#include "apps/torc/json.h"

enum {
    WIDTH_SMALL = 80,
    WIDTH_BIG = 100,
    CPUS_BIG = 64,
    CELL_BYTES = 32,
    GAP = 2,
    LABEL_BYTES = 32,
    CACHE_COLUMNS = 7,
};

struct drawing {
    struct info_page *page;
    const struct info_layout *layout;
    const struct torc_topology *topology;
    int cpu_width, shard_width; /* of a cell's two sides */
    int label_width;
    uint32_t columns; /* cells in a line */
    int pending;      /* blanks before the next cell: none is left at the end of a line */
    bool has_cache, has_free, has_forbidden, has_crowd, has_pair;
};

static struct info_short count_of(uint32_t count, const char *one)
{
    struct info_short out;
    info_format(out.text, sizeof(out.text), "%u %s%s", count, one, count == 1 ? "" : "s");
    return out;
}

/* ---- cells ---- */

/* How many shards a CPU has, and the first two. */
static uint32_t shards_of(const struct info_layout *layout, uint32_t cpu, uint32_t first[2])
{
    uint32_t count = 0;
    for (uint32_t shard = 0; shard < layout->shards; shard++) {
        if (layout->cpus[shard] != (int)cpu)
            continue;
        if (count < 2)
            first[count] = shard;
        count++;
    }
    return count;
}

/* What stands behind the number: ":3", ":3+5", ":32x" for a crowd, " ." for none, " x" for a CPU that is not allowed. */
static void right_side(struct drawing *drawing, const struct torc_topology_cpu *cpu,
                       char text[CELL_BYTES])
{
    uint32_t first[2], count = shards_of(drawing->layout, cpu->cpu, first);
    if (!cpu->is_allowed) {
        drawing->has_forbidden = true;
        info_format(text, CELL_BYTES, " x");
    } else if (!count) {
        drawing->has_free = true;
        info_format(text, CELL_BYTES, " .");
    } else if (count == 1) {
        info_format(text, CELL_BYTES, ":%u", first[0]);
    } else if (count == 2) {
        drawing->has_pair = true;
        info_format(text, CELL_BYTES, ":%u+%u", first[0], first[1]);
    } else {
        drawing->has_crowd = true;
        info_format(text, CELL_BYTES, ":%ux", count);
    }
}

static int cell_width(const struct drawing *drawing)
{
    return GAP + drawing->cpu_width + drawing->shard_width;
}

static void put_cell(struct drawing *drawing, const struct torc_topology_cpu *cpu)
{
    const struct info_page *page = drawing->page;
    char right[CELL_BYTES];
    right_side(drawing, cpu, right);
    bool is_used = right[0] == ':';
    fprintf(page->out, "%*s%s%*u%s%s%s", drawing->pending + GAP, "", is_used ? "" : page->faint,
            drawing->cpu_width, cpu->cpu, is_used ? page->bold : "", right, page->plain);
    drawing->pending = drawing->shard_width - (int)strlen(right);
}

/* ---- blocks ---- */

/* Behind the last of as many cores as fit into a line, of those from FIRST to END. */
static uint32_t line_end(const struct drawing *drawing, uint32_t first, uint32_t end)
{
    const struct torc_topology_cpu *cpus = drawing->topology->cpus;
    uint32_t cores = 1, at = first + 1;
    for (; at < end; at++)
        if (cpus[at].core != cpus[at - 1].core && ++cores > drawing->columns)
            break;
    return at;
}

/* The threads with this number of the cores from FIRST to END. A core that has none leaves its column empty. */
static void put_line(struct drawing *drawing, uint32_t thread, uint32_t first, uint32_t end)
{
    const struct torc_topology_cpu *cpus = drawing->topology->cpus;
    drawing->pending = 0;
    for (uint32_t at = first, next; at < end; at = next) {
        const struct torc_topology_cpu *found = NULL;
        for (next = at; next < end && cpus[next].core == cpus[at].core; next++)
            if (cpus[next].thread == thread)
                found = &cpus[next];
        if (found)
            put_cell(drawing, found);
        else
            drawing->pending += cell_width(drawing);
    }
    fputc('\n', drawing->page->out);
}

/* CPUs that share all levels and are of one kind. */
static void put_block(struct drawing *drawing, const char *label, uint32_t first, uint32_t end)
{
    const struct torc_topology_cpu *cpus = drawing->topology->cpus;
    for (uint32_t at = first, stop; at < end; at = stop) {
        uint32_t threads = 0;
        stop = line_end(drawing, at, end);
        for (uint32_t i = at; i < stop; i++)
            threads = cpus[i].thread >= threads ? cpus[i].thread + 1 : threads;
        for (uint32_t thread = 0; thread < threads; thread++) {
            fprintf(drawing->page->out, "%-*s", drawing->label_width, label);
            put_line(drawing, thread, at, stop);
            label = "";
        }
    }
}

static const char *kind_name(const struct torc_topology *topology, uint32_t kind)
{
    static const char *const TWO[] = {"E cores", "P cores"};
    static const char *const THREE[] = {"LP-E cores", "E cores", "P cores"};
    if (topology->kind_count == 2)
        return TWO[kind];
    return topology->kind_count == 3 ? THREE[kind] : "";
}

/* "    L3 12  P cores", without what goes without saying. */
static void label_of(const struct drawing *drawing, const struct torc_topology_cpu *cpu,
                     char label[LABEL_BYTES])
{
    const struct torc_topology *topology = drawing->topology;
    int indent = 2 + 2 * (topology->package_count > 1) + 2 * (topology->node_count > 1);
    char cache[16] = "no L3";
    if (topology->l3s[cpu->l3].is_cache)
        info_format(cache, sizeof(cache), "L3 %u", cpu->l3);
    if (topology->l3_count == 1 || !drawing->has_cache)
        cache[0] = '\0';
    info_format(label, LABEL_BYTES, "%*s%-*s%s", indent, "",
                cache[0] && topology->kind_count > 1 ? CACHE_COLUMNS : 0, cache,
                kind_name(topology, cpu->kind));
}

static void put_titles(const struct drawing *drawing, const struct torc_topology_cpu *before,
                       const struct torc_topology_cpu *cpu)
{
    const struct torc_topology *topology = drawing->topology;
    const struct torc_topology_node *node = &topology->nodes[cpu->node];
    const struct info_page *page = drawing->page;
    bool is_new = !before || before->package != cpu->package;
    if (is_new && topology->package_count > 1)
        fprintf(page->out, "%s  %spackage %u%s\n", before ? "\n" : "", page->bold, cpu->package,
                page->plain);
    if (topology->node_count > 1 && (is_new || before->node != cpu->node))
        fprintf(page->out, "%*snode %u  %s%s%s\n", topology->package_count > 1 ? 4 : 2, "",
                node->number, page->faint,
                node->memory_bytes ? info_bytes((int64_t)node->memory_bytes).text : "no memory",
                page->plain);
}

static bool is_one_block(const struct torc_topology_cpu *a, const struct torc_topology_cpu *b)
{
    return a->package == b->package && a->node == b->node && a->l3 == b->l3 && a->kind == b->kind;
}

static void put_machine(struct drawing *drawing)
{
    const struct torc_topology_cpu *cpus = drawing->topology->cpus;
    uint32_t count = drawing->topology->cpu_count;
    for (uint32_t first = 0, end; first < count; first = end) {
        char label[LABEL_BYTES];
        for (end = first + 1; end < count && is_one_block(&cpus[end], &cpus[first]);)
            end++;
        put_titles(drawing, first ? &cpus[first - 1] : NULL, &cpus[first]);
        label_of(drawing, &cpus[first], label);
        put_block(drawing, label, first, end);
    }
}

static bool has_cpus(const struct torc_topology *topology, uint32_t node)
{
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        if (topology->cpus[i].node == node)
            return true;
    return false;
}

static void put_memory_only(const struct drawing *drawing)
{
    const struct torc_topology *topology = drawing->topology;
    const struct info_page *page = drawing->page;
    bool is_first = true;
    for (uint32_t i = 0; i < topology->node_count; i++) {
        if (has_cpus(topology, i))
            continue;
        fprintf(page->out, "%s  node %u  %s%s, without CPUs%s\n", is_first ? "\n" : "",
                topology->nodes[i].number, page->faint,
                info_bytes((int64_t)topology->nodes[i].memory_bytes).text, page->plain);
        is_first = false;
    }
}

/* ---- around the drawing ---- */

static void measure(struct drawing *drawing)
{
    const struct torc_topology *topology = drawing->topology;
    uint32_t width = drawing->page->style->width;
    uint32_t widest = 1, here = 0;
    for (uint32_t i = 0; i < topology->l3_count; i++)
        drawing->has_cache = drawing->has_cache || topology->l3s[i].is_cache;
    for (uint32_t i = 0; i < topology->cpu_count; i++) {
        const struct torc_topology_cpu *cpu = &topology->cpus[i];
        char text[CELL_BYTES];
        int length = (int)info_format(text, sizeof(text), "%u", cpu->cpu);
        drawing->cpu_width = length > drawing->cpu_width ? length : drawing->cpu_width;
        right_side(drawing, cpu, text);
        length = (int)strlen(text);
        drawing->shard_width = length > drawing->shard_width ? length : drawing->shard_width;
        label_of(drawing, cpu, text);
        length = (int)strlen(text);
        drawing->label_width = length > drawing->label_width ? length : drawing->label_width;
        bool is_same = i && is_one_block(cpu, cpu - 1);
        here = is_same ? here + (cpu->core != cpu[-1].core) : 1;
        widest = here > widest ? here : widest;
    }
    drawing->columns = (width - (uint32_t)drawing->label_width) / (uint32_t)cell_width(drawing);
    /* a group that needs several lines gets lines of a round number */
    while (drawing->columns < widest && drawing->columns & (drawing->columns - 1))
        drawing->columns &= drawing->columns - 1;
    drawing->columns = drawing->columns ? drawing->columns : 1;
}

/* "16 L3 caches of 32 MiB"; "" where none is named. */
static struct info_short caches(const struct torc_topology *topology)
{
    struct info_short out = {""};
    uint32_t count = 0;
    uint64_t bytes = 0;
    bool is_even = true;
    for (uint32_t i = 0; i < topology->l3_count; i++) {
        if (!topology->l3s[i].is_cache)
            continue;
        is_even = is_even && (!count || bytes == topology->l3s[i].size_bytes);
        bytes = topology->l3s[i].size_bytes;
        count++;
    }
    if (count)
        info_format(out.text, sizeof(out.text), ", %s%s%s", count_of(count, "L3 cache").text,
                    is_even && bytes ? " of " : "",
                    is_even && bytes ? info_bytes((int64_t)bytes).text : "");
    return out;
}

static void put_summary(const struct drawing *drawing)
{
    const struct torc_topology *topology = drawing->topology;
    const struct info_layout *layout = drawing->layout;
    struct info_page *page = drawing->page;
    char quota[INFO_SHORT_BYTES] = "no quota", threads[INFO_SHORT_BYTES] = "no SMT";
    char memory[2 * INFO_SHORT_BYTES] = "";
    if (topology->node_count == 1 && topology->nodes[0].memory_bytes)
        info_format(memory, sizeof(memory), " of %s",
                    info_bytes((int64_t)topology->nodes[0].memory_bytes).text);
    if (topology->cpu_count > topology->core_count)
        info_format(threads, sizeof(threads), "%u threads", topology->cpu_count);
    if (!topology->is_this_machine)
        info_row(page, "not here", "HWLOC_SYNTHETIC or HWLOC_XMLFILE describes another machine");
    if (topology->is_known)
        info_row(page, "machine", "%s, %s%s%s, %s, %s",
                 count_of(topology->package_count, "package").text,
                 count_of(topology->node_count, "NUMA node").text, memory, caches(topology).text,
                 count_of(topology->core_count, "core").text, threads);
    else
        info_row(page, "machine", "unknown to hwloc: only the allowed CPUs are listed");
    if (topology->quota_milli)
        info_format(quota, sizeof(quota), "a quota of %.2f CPUs",
                    (double)topology->quota_milli / 1000);
    if (topology->allowed_count == topology->cpu_count)
        info_row(page, "allowed", "all %u CPUs, %s", topology->cpu_count, quota);
    else
        info_row(page, "allowed", "%u of %u CPUs, %s", topology->allowed_count, topology->cpu_count,
                 quota);
    if (layout->is_list)
        info_row(page, "shards", "%u on the CPUs of a list", layout->shards);
    else
        info_row(page, "shards", "%u, placement %s", layout->shards, layout->placement);
    for (const char *line = layout->note; *line;) {
        size_t length = strcspn(line, "\n"), prefix = strncmp(line, "torc: ", 6) ? 0 : 6;
        info_row(page, "", "%.*s", (int)(length - prefix), line + prefix);
        line += length + (line[length] != '\0');
    }
}

static void put_legend(const struct drawing *drawing)
{
    struct info_page *page = drawing->page;
    bool has_smt = drawing->topology->cpu_count > drawing->topology->core_count;
    fputc('\n', page->out);
    info_row(page, "7:3", "shard 3 on CPU 7%s", has_smt ? "; a core's threads are a column" : "");
    if (drawing->has_pair)
        info_row(page, "7:3+5", "two shards on it, 3 and 5");
    if (drawing->has_crowd)
        info_row(page, "7:9x", "nine shards on it");
    if (drawing->has_free)
        info_row(page, "7 .", "no shard on it");
    if (drawing->has_forbidden)
        info_row(page, "7 x", "not allowed to this process");
}

void info_print_layout(const struct info_layout *layout, const struct info_style *given, FILE *out)
{
    struct info_style style = *given;
    struct info_page page = {.out = out, .style = &style};
    struct drawing drawing = {.page = &page, .layout = layout, .topology = layout->topology};
    unsigned most = layout->topology->cpu_count > CPUS_BIG ? WIDTH_BIG : WIDTH_SMALL;
    style.width = style.width < most ? style.width : most;
    info_page_colours(&page);
    measure(&drawing);
    put_summary(&drawing);
    fputc('\n', out);
    put_machine(&drawing);
    put_memory_only(&drawing);
    put_legend(&drawing);
}

/* ---- for programs ---- */

static void put_cpu(struct bench_json *json, const struct info_layout *layout,
                    const struct torc_topology_cpu *cpu)
{
    bench_json_object(json, NULL);
    bench_json_count(json, "cpu", cpu->cpu);
    bench_json_count(json, "package", cpu->package);
    bench_json_count(json, "node", layout->topology->nodes[cpu->node].number);
    bench_json_count(json, "l3", cpu->l3);
    bench_json_count(json, "core", cpu->core);
    bench_json_count(json, "thread", cpu->thread);
    bench_json_count(json, "kind", cpu->kind);
    bench_json_bool(json, "allowed", cpu->is_allowed);
    bench_json_array(json, "shards");
    for (uint32_t shard = 0; shard < layout->shards; shard++)
        if (layout->cpus[shard] == (int)cpu->cpu)
            bench_json_count(json, NULL, shard);
    bench_json_end_array(json);
    bench_json_end_object(json);
}

static void put_places(struct bench_json *json, const struct torc_topology *topology)
{
    bench_json_array(json, "nodes");
    for (uint32_t i = 0; i < topology->node_count; i++) {
        bench_json_object(json, NULL);
        bench_json_count(json, "node", topology->nodes[i].number);
        bench_json_count(json, "memory_bytes", topology->nodes[i].memory_bytes);
        bench_json_bool(json, "has_cpus", has_cpus(topology, i));
        bench_json_end_object(json);
    }
    bench_json_end_array(json);
    bench_json_array(json, "l3s");
    for (uint32_t i = 0; i < topology->l3_count; i++) {
        bench_json_object(json, NULL);
        bench_json_bool(json, "is_cache", topology->l3s[i].is_cache);
        bench_json_count(json, "size_bytes", topology->l3s[i].size_bytes);
        bench_json_end_object(json);
    }
    bench_json_end_array(json);
}

void info_print_layout_json(const struct info_layout *layout, FILE *out)
{
    const struct torc_topology *topology = layout->topology;
    struct bench_json json;
    bench_json_init(&json, out);
    bench_json_object(&json, NULL);
    bench_json_bool(&json, "this_machine", topology->is_this_machine);
    bench_json_bool(&json, "known", topology->is_known);
    bench_json_count(&json, "packages", topology->package_count);
    bench_json_count(&json, "cores", topology->core_count);
    bench_json_count(&json, "kinds", topology->kind_count);
    bench_json_count(&json, "allowed", topology->allowed_count);
    if (topology->quota_milli)
        bench_json_fraction(&json, "quota_cpus", (double)topology->quota_milli / 1000);
    else
        bench_json_null(&json, "quota_cpus");
    put_places(&json, topology);
    bench_json_array(&json, "cpus");
    for (uint32_t i = 0; i < topology->cpu_count; i++)
        put_cpu(&json, layout, &topology->cpus[i]);
    bench_json_end_array(&json);
    bench_json_object(&json, "placement");
    bench_json_text(&json, "policy", layout->is_list ? "list" : layout->placement);
    bench_json_array(&json, "shards"); /* the CPU of each */
    for (uint32_t shard = 0; shard < layout->shards; shard++)
        bench_json_number(&json, NULL, layout->cpus[shard]);
    bench_json_end_array(&json);
    bench_json_text(&json, "note", layout->note);
    bench_json_end_object(&json);
    bench_json_end_object(&json);
}
