/* SPDX-License-Identifier: MIT
 *
 * The machine's layout: as a drawing, as JSON, and as one line of the report.
 */
#ifndef TORC_APPS_INFO_TOPOLOGY_H
#define TORC_APPS_INFO_TOPOLOGY_H

#include <stdint.h>

#include "apps/torc/info.h"

struct torc_topology;

enum { INFO_NOTE_BYTES = 512 };

/* What is to be drawn. */
struct info_layout {
    const struct torc_topology *topology;
    bool is_list;          /* of CPUs, and not a policy */
    const char *placement; /* the policy's name */
    uint32_t shards;
    const int *cpus; /* of each shard */
    char note[INFO_NOTE_BYTES];
};

/* The options of `torc info --topology`; all may be NULL. */
struct info_wish {
    const char *shards, *placement, *cpus;
};

/* `torc info --topology`: finds out and prints. The exit status; what was wrong has been said. */
int info_topology_main(const struct info_wish *wish, const struct info_style *style, bool json);

/* How many shards torc_run() starts here, and the control group's quota. */
void info_shards_find(struct info_machine *machine);

void info_print_layout(const struct info_layout *layout, const struct info_style *style, FILE *out);
void info_print_layout_json(const struct info_layout *layout, FILE *out);

#endif
