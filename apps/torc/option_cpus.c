/* SPDX-License-Identifier: MIT
 *
 * The options that say where a job runs and where its memory lies. Only their form is checked here; whether this
 * machine has such a CPU or node is found out when the plan is made (placement.c).
 */
#include <errno.h>
#include <string.h>

#include "apps/torc/options.h"
#include "apps/torc/units.h"

static int keep(struct bench_spec *spec, const struct bench_numbers *set,
                const struct bench_numbers **out)
{
    struct bench_numbers *copy = bench_alloc(spec, sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    *copy = *set;
    *out = copy;
    return 0;
}

int bench_set_cpus(struct bench_spec *spec, struct bench_job *job,
                   const struct bench_option *option, const char *text)
{
    job->cpus_option = option->name;
    struct bench_numbers set;
    int err = bench_numbers_parse(text, &set);
    if (err == -ERANGE)
        return bench_fail(spec, err, "CPUs must be 0 to %d, and ranges ascend",
                          BENCH_NUMBERS_MAX - 1);
    if (err)
        return bench_fail(spec, err, "not a list of CPUs: write 0,5,8-15");
    return keep(spec, &set, &job->cpus);
}

int bench_set_cpu_mask(struct bench_spec *spec, struct bench_job *job,
                       const struct bench_option *option, const char *text)
{
    job->cpus_option = option->name;
    struct bench_numbers set = {{0}};
    int err = bench_parse_size(text, job->kb_base, &set.words[0]);
    if (!err && !set.words[0])
        err = -ERANGE;
    if (err)
        return bench_fail(spec, err,
                          "must be a number with a bit for each CPU, as 0x22 for CPUs 1 and 5; "
                          "cpus_allowed takes a list");
    return keep(spec, &set, &job->cpus);
}

int bench_set_cpu_policy(struct bench_spec *spec, struct bench_job *job,
                         const struct bench_option *option, const char *text)
{
    (void)option;
    job->split_cpus = !strcmp(text, "split");
    if (!job->split_cpus && strcmp(text, "shared") != 0)
        return bench_fail(spec, -EINVAL, "must be shared or split");
    return 0;
}

/* "all" is the full set, whatever the machine has. */
static int parse_nodes(struct bench_spec *spec, const char *text, const struct bench_numbers **out)
{
    struct bench_numbers set;
    if (!strcmp(text, "all")) {
        memset(&set, 0xff, sizeof(set));
        return keep(spec, &set, out);
    }
    int err = bench_numbers_parse(text, &set);
    if (err == -ERANGE)
        return bench_fail(spec, err, "nodes must be 0 to %d, and ranges ascend",
                          BENCH_NUMBERS_MAX - 1);
    if (err)
        return bench_fail(spec, err, "not a list of nodes: write 0,2 or 0-3 or all");
    return keep(spec, &set, out);
}

int bench_set_cpu_nodes(struct bench_spec *spec, struct bench_job *job,
                        const struct bench_option *option, const char *text)
{
    (void)option;
    return parse_nodes(spec, text, &job->cpu_nodes);
}

struct memory_mode {
    const char *name;
    enum bench_memory_mode mode;
};

static const struct memory_mode MEMORY_MODES[] = {
    {"default", BENCH_MEMORY_DEFAULT},
    {"local", BENCH_MEMORY_LOCAL},
    {"bind", BENCH_MEMORY_BIND},
    {"prefer", BENCH_MEMORY_PREFER},
    {"interleave", BENCH_MEMORY_INTERLEAVE},
};

static const struct memory_mode *find_memory_mode(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof(MEMORY_MODES) / sizeof(MEMORY_MODES[0]); i++)
        if (strlen(MEMORY_MODES[i].name) == length && !strncmp(MEMORY_MODES[i].name, text, length))
            return &MEMORY_MODES[i];
    return NULL;
}

/* MODE or MODE:NODES. As in fio, bind and interleave without nodes mean all of them. */
int bench_set_memory_policy(struct bench_spec *spec, struct bench_job *job,
                            const struct bench_option *option, const char *text)
{
    (void)option;
    size_t length = strcspn(text, ":");
    const char *nodes = text[length] ? text + length + 1 : NULL;
    const struct memory_mode *mode = find_memory_mode(text, length);
    if (!mode)
        return bench_fail(spec, -EINVAL, "must be default, local, bind, prefer or interleave");
    const struct bench_numbers *set = NULL;
    if (mode->mode == BENCH_MEMORY_DEFAULT || mode->mode == BENCH_MEMORY_LOCAL) {
        if (nodes)
            return bench_fail(spec, -EINVAL, "%s takes no nodes", mode->name);
    } else if (mode->mode == BENCH_MEMORY_PREFER &&
               (!nodes || nodes[strspn(nodes, "0123456789")])) {
        return bench_fail(spec, -EINVAL, "prefer takes one node, as in prefer:0");
    } else {
        int err = parse_nodes(spec, nodes ? nodes : "all", &set);
        if (err)
            return err;
    }
    job->memory_mode = mode->mode;
    job->memory_nodes = set;
    return 0;
}
