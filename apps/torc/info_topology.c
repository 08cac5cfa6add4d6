/* SPDX-License-Identifier: MIT
 *
 * `torc info --topology`: the machine and its shards, found by the library and printed by info_layout.c. The environment
 * counts as it does for torc_run(), and hwloc's variables put another machine in this one's place.
 */
#include "apps/torc/info_topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <torc.h>

#include "apps/torc/info_read.h"

enum { SHARDS_MAX = 1024 };

static int refuse(const char *what, const char *value, const char *wanted)
{
    fprintf(stderr, "torc info: %s \"%s\": %s\n", what, value, wanted);
    return -EINVAL;
}

/* A wish of the command line in a config. */
static int understand(const struct info_wish *wish, struct torc_config *config)
{
    if (wish->shards) {
        char *end;
        long shards = strtol(wish->shards, &end, 10);
        if (end == wish->shards || *end || shards < 1 || shards > SHARDS_MAX)
            return refuse("--shards", wish->shards, "a number from 1 to 1024 is wanted");
        config->shards = (uint32_t)shards;
    }
    if (wish->placement && torc_placement_parse(wish->placement, &config->placement, &config->near))
        return refuse("--placement", wish->placement,
                      "all, spread, pack, cores or near:DEVICE is wanted");
    config->cpus = wish->cpus;
    return 0;
}

/* What decides, in the order in which the library looks; the variables count where no option was given. */
static void name_placement(const struct info_wish *wish, struct info_layout *layout)
{
    const char *cpus = getenv("TORC_CPUS"), *placement = getenv("TORC_PLACEMENT");
    layout->is_list = (wish->cpus && *wish->cpus) || (!wish->cpus && cpus && *cpus);
    layout->placement = placement && *placement ? placement : "all";
    if (wish->placement)
        layout->placement = wish->placement;
}

/* The library's lines, which begin as those of torc_run() do. */
static void complain(const char *note, int err)
{
    if (note[0])
        fprintf(stderr, "%s\n", note);
    else if (err != -EINVAL) /* of which the library has told already */
        fprintf(stderr, "torc info: %s\n", strerror(-err));
}

int info_topology_main(const struct info_wish *wish, const struct info_style *style, bool json)
{
    static int cpus[SHARDS_MAX];
    const struct torc_topology *topology;
    struct info_layout layout = {.cpus = cpus};
    struct torc_config config = {.shards = 0};
    if (understand(wish, &config))
        return 1;
    int err = torc_topology_load(&topology);
    if (err) {
        fprintf(stderr, "torc info: the CPUs can't be listed: %s\n", strerror(-err));
        return 1;
    }
    int shards = torc_topology_place(topology, &config, cpus, SHARDS_MAX, layout.note);
    if (shards < 0) {
        complain(layout.note, shards);
        torc_topology_free(topology);
        return 1;
    }
    layout.topology = topology;
    name_placement(wish, &layout);
    layout.shards = (uint32_t)shards;
    if (json)
        info_print_layout_json(&layout, stdout);
    else
        info_print_layout(&layout, style, stdout);
    torc_topology_free(topology);
    return 0;
}

void info_shards_find(struct info_machine *machine)
{
    char note[TORC_PLACE_NOTE_BYTES];
    const struct torc_topology *topology;
    machine->shards = INFO_UNKNOWN;
    machine->quota_milli = INFO_UNLIMITED;
    if (torc_topology_load(&topology))
        return;
    if (topology->quota_milli)
        machine->quota_milli = topology->quota_milli;
    machine->shards = torc_topology_place(topology, NULL, NULL, 0, note);
    torc_topology_free(topology);
}
