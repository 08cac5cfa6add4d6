/* SPDX-License-Identifier: MIT
 *
 * `torc info`: looks at everything first, prints then. Exit status 0 also on a machine without io_uring or without
 * disks: saying so is its job.
 */
#include "apps/torc/info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <torc.h>
#include <unistd.h>

#include "apps/torc/commands.h"
#include "apps/torc/info_live.h"
#include "apps/torc/info_topology.h"

enum { WIDTH_DEFAULT = 100, WIDTH_MIN = 60 };

static const char HELP[] =
    "torc info: what this machine offers to torc, what is missing, and what mends it\n\n"
    "usage: torc info [--all] [--json]\n"
    "       torc info --topology [--shards N] [--placement P] [--cpus LIST] [--json]\n"
    "       torc info --live [PID | FILE] [--interval S] [--count N] [--all] [--json]\n\n"
    "  --all     every operation, feature and flag with the kernel that brought it, every\n"
    "            detail of every block device\n"
    "  --json    all of that as one JSON document\n"
    "  --topology       draw the machine instead, with the shard that torc_run() would put on\n"
    "                   each CPU; as TORC_SHARDS, TORC_PLACEMENT and TORC_CPUS say, or:\n"
    "  --shards N       that many shards\n"
    "  --placement P    all, spread, pack, cores, or near:DEVICE (a disk, a file, a network\n"
    "                   interface)\n"
    "  --cpus LIST      on these CPUs: 0-3,8,10-14:2\n"
    "  --live           the counters of a process that runs with TORC_COUNTERS=1: a table\n"
    "                   every S seconds (1), N times; with --all also what never happened;\n"
    "                   with --json one object; without a PID, which processes there are\n"
    "  --help    this page\n\n"
    "examples:\n"
    "  torc info                                          one screen\n"
    "  torc info --json | jq '.missing[].mend'            the commands that would help\n"
    "  torc info --json | jq -r '.io_uring.rung.name'     how the ring is set up\n"
    "  torc info --topology --placement spread --shards 8\n"
    "  HWLOC_SYNTHETIC='pack:2 l3:4 core:8 pu:2' torc info --topology     a machine made up\n"
    "  torc info --json | jq '.devices[] | {name, scheduler, queue_depth}'\n"
    "  torc info --live 4711 --interval 0.5               watch process 4711\n";

struct options {
    bool all, json, help, topology;
    struct info_wish wish;
};

/* The value of "--name VALUE" or "--name=VALUE" in *VALUE. Whether argv[*AT] is NAME at all. */
static bool take_value(int argc, char **argv, int *at, const char *name, const char **value)
{
    size_t length = strlen(name);
    if (strncmp(argv[*at], name, length) != 0)
        return false;
    if (argv[*at][length] == '=')
        *value = argv[*at] + length + 1;
    else if (!argv[*at][length])
        *value = *at + 1 < argc ? argv[++*at] : "";
    else
        return false;
    return true;
}

static bool is_live(const char *option)
{
    return !strcmp(option, "--live") || !strncmp(option, "--live=", sizeof("--live"));
}

/* --live has options of its own. */
static bool wants_live(int argc, char **argv)
{
    bool live = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return false;
        live |= is_live(argv[i]);
    }
    return live;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--all") || !strcmp(argv[i], "-a")) {
            options->all = true;
        } else if (!strcmp(argv[i], "--json")) {
            options->json = true;
        } else if (!strcmp(argv[i], "--topology")) {
            options->topology = true;
        } else if (take_value(argc, argv, &i, "--shards", &options->wish.shards) ||
                   take_value(argc, argv, &i, "--placement", &options->wish.placement) ||
                   take_value(argc, argv, &i, "--cpus", &options->wish.cpus) || is_live(argv[i])) {
            continue;
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            options->help = true;
        } else {
            fprintf(stderr,
                    "torc info: no option is called \"%s\"; `torc info --help` lists them\n",
                    argv[i]);
            return false;
        }
    }
    bool has_wish = options->wish.shards || options->wish.placement || options->wish.cpus;
    if (has_wish && !options->topology)
        fputs("torc info: --shards, --placement and --cpus go with --topology\n", stderr);
    return options->topology || !has_wish;
}

static struct info_style style_of(FILE *out, bool all)
{
    struct info_style style = {.all = all, .width = WIDTH_DEFAULT};
    const char *no_colour = getenv("NO_COLOR");
    struct winsize window;
    if (!isatty(fileno(out)))
        return style;
    style.colour = !no_colour || !no_colour[0];
    if (!ioctl(fileno(out), TIOCGWINSZ, &window) && window.ws_col >= WIDTH_MIN)
        style.width = window.ws_col;
    return style;
}

static int finish(int status)
{
    if (!fflush(stdout) && !ferror(stdout))
        return status;
    fprintf(stderr, "torc info: the report can't be written: %s\n", strerror(errno));
    return 1;
}

int torc_info_main(int argc, char **argv)
{
    static const char HERE[] = "";
    struct options options = {0};
    if (wants_live(argc, argv))
        return torc_info_live_main(argc, argv);
    if (!parse(argc, argv, &options))
        return 1;
    if (options.help) {
        fputs(HELP, stdout);
        return 0;
    }
    struct info_style style = style_of(stdout, options.all);
    if (options.topology)
        return finish(info_topology_main(&options.wish, &style, options.json));
    static struct info info;
    static struct torc_ring_info ring;
    int err = torc_ring_info(NULL, &ring);
    (void)err; /* it is in the report */
    info.ring = &ring;
    info_machine_find(&info.machine, HERE);
    info_limits_find(&info.limits, HERE);
    if (!info_arenas_find(&info.arenas, HERE, !ring.error) ||
        !info_devices_find(&info.devices, HERE)) {
        fputs("torc info: out of memory\n", stderr);
        return 1;
    }
    info_hints_find(&info);
    if (options.json)
        info_print_json(&info, stdout);
    else
        info_print_text(&info, &style, stdout);
    info_devices_free(&info.devices);
    info_arenas_free(&info.arenas);
    return finish(0);
}
