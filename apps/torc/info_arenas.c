/* SPDX-License-Identifier: MIT
 *
 * `torc info`'s section on the memory of shards.
 */
#include "apps/torc/info_arenas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <torc.h>

#include "apps/torc/info_read.h"
#include "apps/torc/info_text.h"
#include "apps/torc/json.h"

enum {
    SHARDS_MAX = 1024,
    TOUCHED_BYTES = 1 << 20, /* of small objects, so that there are pages to look at */
    PAGE_BYTES = 4096,
};

static int look(void *arg)
{
    struct info_arenas *arenas = arg;
    uint32_t shard = torc_shard_id();
    char *memory = torc_alloc(TOUCHED_BYTES);
    if (!memory)
        return -ENOMEM;
    for (size_t at = 0; at < TOUCHED_BYTES; at += PAGE_BYTES)
        memory[at] = 1;
    if (shard < SHARDS_MAX)
        torc_arena_stats_get(&arenas->items[shard]);
    torc_free(memory);
    if (!shard) /* the others do not touch it, and torc_run() waits for all */
        arenas->count = torc_shard_count() < SHARDS_MAX ? torc_shard_count() : SHARDS_MAX;
    return 0;
}

static void find_nodes(struct info_arenas *arenas, const char *root)
{
    for (unsigned node = 0; node < INFO_NODES_MAX; node++) {
        static const char POOL[] = "hugepages/hugepages-2048kB";
        struct info_node *found = &arenas->nodes[arenas->node_count];
        found->node = node;
        found->huge_pages =
            info_read_number("%s/sys/devices/system/node/node%u/%s/nr_hugepages", root, node, POOL);
        found->huge_pages_free = info_read_number(
            "%s/sys/devices/system/node/node%u/%s/free_hugepages", root, node, POOL);
        arenas->node_count += found->huge_pages >= 0;
    }
}

bool info_arenas_find(struct info_arenas *arenas, const char *root, bool ring)
{
    memset(arenas, 0, sizeof(*arenas));
    find_nodes(arenas, root);
    if (!ring)
        return true;
    arenas->items = calloc(SHARDS_MAX, sizeof(*arenas->items));
    if (!arenas->items)
        return false;
    const struct torc_config config = {.keep_signals = true, .no_stall_report = true};
    arenas->error = torc_run(&config, look, arenas);
    if (arenas->error)
        arenas->count = 0;
    return true;
}

void info_arenas_free(struct info_arenas *arenas)
{
    free(arenas->items);
}

static const char *pages_name(enum torc_hugepages pages)
{
    return pages == TORC_HUGEPAGES_RESERVED      ? "reserved"
           : pages == TORC_HUGEPAGES_TRANSPARENT ? "transparent"
                                                 : "none";
}

static uint64_t sampled(const struct torc_arena_stats *arena, uint64_t *on_node)
{
    uint64_t pages = 0;
    *on_node = 0;
    for (unsigned use = 0; use < TORC_ARENA_USES; use++) {
        pages += arena->uses[use].pages_sampled;
        *on_node += arena->uses[use].pages_on_node;
    }
    return pages;
}

/* Shards whose arenas are alike are one row: the first one that is not like FIRST. */
static unsigned end_of_group(const struct info_arenas *arenas, unsigned first, uint64_t *pages,
                             uint64_t *on_node)
{
    const struct torc_arena_stats *like = &arenas->items[first];
    unsigned at = first;
    *pages = *on_node = 0;
    for (; at < arenas->count; at++) {
        const struct torc_arena_stats *arena = &arenas->items[at];
        uint64_t here;
        if (arena->node != like->node || arena->pages != like->pages ||
            arena->sample_error != like->sample_error || arena->bound != like->bound)
            break;
        *pages += sampled(arena, &here);
        *on_node += here;
    }
    return at;
}

static void print_group(struct info_page *page, const struct info_arenas *arenas, unsigned first,
                        unsigned end, uint64_t pages, uint64_t on_node)
{
    const struct torc_arena_stats *arena = &arenas->items[first];
    char label[32], node[64] = "on any node", placed[128];
    if (end - first == 1)
        info_format(label, sizeof(label), "shard %u", first);
    else
        info_format(label, sizeof(label), "shards %u-%u", first, end - 1);
    if (arena->node >= 0)
        info_format(node, sizeof(node), "on node %d%s", arena->node, arena->bound ? ", bound" : "");
    if (arena->sample_error)
        info_format(placed, sizeof(placed), "placement not told (%s)",
                    strerror(-arena->sample_error));
    else
        info_format(placed, sizeof(placed), "%" PRIu64 " of %" PRIu64 " pages looked at are there",
                    on_node, pages);
    info_row(page, label, "%s of address space each, %s, huge pages: %s, %s",
             info_bytes((int64_t)arena->size_bytes).text, node, pages_name(arena->pages), placed);
}

void info_print_arenas(struct info_page *page, const struct info_arenas *arenas)
{
    if (!arenas->count && !arenas->node_count && !arenas->error)
        return;
    info_title(page, "memory of shards");
    for (unsigned first = 0; first < arenas->count;) {
        uint64_t pages, on_node;
        unsigned end = end_of_group(arenas, first, &pages, &on_node);
        print_group(page, arenas, first, end, pages, on_node);
        first = end;
    }
    if (arenas->error)
        info_row(page, "shards", "can't be started: %s", strerror(-arenas->error));
    for (unsigned i = 0; i < arenas->node_count; i++) {
        const struct info_node *node = &arenas->nodes[i];
        char label[32];
        info_format(label, sizeof(label), "node %" PRId64, node->node);
        info_row(page, label, "%" PRId64 " reserved huge pages of 2 MiB, %" PRId64 " free",
                 node->huge_pages, node->huge_pages_free);
    }
}

void info_put_arenas(struct bench_json *json, const struct info_arenas *arenas)
{
    bench_json_array(json, "arenas");
    for (unsigned i = 0; i < arenas->count; i++) {
        const struct torc_arena_stats *arena = &arenas->items[i];
        uint64_t on_node, pages = sampled(arena, &on_node);
        bench_json_object(json, NULL);
        bench_json_count(json, "shard", i);
        bench_json_number(json, "node", arena->node);
        bench_json_bool(json, "bound", arena->bound);
        bench_json_text(json, "huge_pages", pages_name(arena->pages));
        bench_json_count(json, "size_bytes", arena->size_bytes);
        bench_json_count(json, "used_bytes", arena->used_bytes);
        bench_json_count(json, "reserved_bytes", arena->reserved_bytes);
        bench_json_number(json, "transparent_bytes", arena->transparent_bytes);
        bench_json_count(json, "pages_sampled", pages);
        bench_json_count(json, "pages_on_node", on_node);
        bench_json_number(json, "sample_error", arena->sample_error);
        bench_json_end_object(json);
    }
    bench_json_end_array(json);
    bench_json_array(json, "nodes");
    for (unsigned i = 0; i < arenas->node_count; i++) {
        bench_json_object(json, NULL);
        bench_json_number(json, "node", arenas->nodes[i].node);
        bench_json_number(json, "huge_pages", arenas->nodes[i].huge_pages);
        bench_json_number(json, "huge_pages_free", arenas->nodes[i].huge_pages_free);
        bench_json_end_object(json);
    }
    bench_json_end_array(json);
}
