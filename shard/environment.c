/* SPDX-License-Identifier: MIT */
#include "shard/environment_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/executor_internal.h"
#include "shard/mesh_internal.h"
#include "shard/placement.h"

enum { LINE_MAX = 256 };

static int refuse(const struct torc_config *config, const char *name, const char *text,
                  const char *wanted)
{
    char line[LINE_MAX];
    snprintf(line, sizeof line, "torc: %s=%.64s: %s", name, text, wanted);
    torci_io_say(config->kernel, line);
    return -EINVAL;
}

/* NULL also for an empty value, which is how a variable is switched off for one command. */
static const char *variable(const char *name)
{
    const char *text = getenv(name);
    return text && *text ? text : NULL;
}

/* NAME's value in *OUT if that is zero. */
static int apply_number(const struct torc_config *config, const char *name, uint64_t least,
                        uint64_t most, uint64_t *out)
{
    const char *text = *out ? NULL : variable(name);
    if (!text)
        return 0;
    uint64_t value = 0;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9' || value > (UINT64_MAX - 9) / 10) {
            value = UINT64_MAX;
            break;
        }
        value = value * 10 + (uint64_t)(*at - '0');
    }
    if (value < least || value > most) {
        char wanted[LINE_MAX / 2];
        snprintf(wanted, sizeof wanted, "a number from %llu to %llu is wanted",
                 (unsigned long long)least, (unsigned long long)most);
        return refuse(config, name, text, wanted);
    }
    *out = value;
    return 0;
}

/* NAME's value as one of WORDS, whose index goes to *OUT if that is zero. */
static int apply_word(const struct torc_config *config, const char *name, const char *const words[],
                      const char *wanted, unsigned *out)
{
    const char *text = *out ? NULL : variable(name);
    if (!text)
        return 0;
    for (unsigned i = 0; words[i]; i++)
        if (!strcmp(text, words[i])) {
            *out = i;
            return 0;
        }
    return refuse(config, name, text, wanted);
}

static int apply_placement(struct torc_config *config)
{
    const char *text = variable("TORC_PLACEMENT");
    if (config->placement || config->near || config->place || !text)
        return 0;
    if (torc_placement_parse(text, &config->placement, &config->near))
        return refuse(config, "TORC_PLACEMENT", text,
                      "all, spread, pack, cores or near:DEVICE is wanted");
    return 0;
}

static int apply_spin(struct torc_config *config)
{
    const char *text = config->spin_ns || config->no_spin ? NULL : variable("TORC_SPIN");
    if (text && !strcmp(text, "off")) {
        config->no_spin = true;
        return 0;
    }
    return apply_number(config, "TORC_SPIN", 0, 1000 * TORC_SEC, &config->spin_ns);
}

int torci_environment_apply(struct torc_config *config)
{
    static const char *const pages[] = {"auto", "none", "transparent", "reserved", NULL};
    uint64_t shards = config->shards;
    unsigned hugepages = (unsigned)config->hugepages;
    int err = apply_number(config, "TORC_SHARDS", 1, TORCI_SHARDS_MAX, &shards);
    if (!err)
        err = apply_spin(config);
    if (!err)
        err = apply_number(config, "TORC_ARENA", 1, UINT64_C(1) << 46, &config->arena_bytes);
    if (!err)
        err = apply_word(config, "TORC_HUGEPAGES", pages,
                         "auto, none, transparent or reserved is wanted", &hugepages);
    if (!err)
        err = apply_placement(config);
    config->shards = (uint32_t)shards;
    config->hugepages = (enum torc_hugepages)hugepages;
    if (!config->cpus && !config->place)
        config->cpus = variable("TORC_CPUS");
    if (!config->counters)
        config->counters = variable("TORC_COUNTERS");
    return err;
}
