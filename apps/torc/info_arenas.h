/* SPDX-License-Identifier: MIT
 *
 * The memory of shards: which huge pages the nodes have, and what the arenas of a set that is started for a moment really
 * get, asked of the kernel.
 */
#ifndef TORC_APPS_INFO_ARENAS_H
#define TORC_APPS_INFO_ARENAS_H

#include <stdbool.h>
#include <stdint.h>

struct bench_json;
struct info_page;
struct torc_arena_stats;

enum { INFO_NODES_MAX = 64 };

struct info_node {
    int64_t node, huge_pages, huge_pages_free; /* reserved ones of 2 MiB */
};

struct info_arenas {
    int error; /* why no shard could be started */
    unsigned count;
    struct torc_arena_stats *items; /* by shard; on the heap */
    unsigned node_count;
    struct info_node nodes[INFO_NODES_MAX];
};

/* Starts shards unless there is no RING for them. False: out of memory. */
bool info_arenas_find(struct info_arenas *arenas, const char *root, bool ring);
void info_arenas_free(struct info_arenas *arenas);

void info_print_arenas(struct info_page *page, const struct info_arenas *arenas);
void info_put_arenas(struct bench_json *json, const struct info_arenas *arenas);

#endif
