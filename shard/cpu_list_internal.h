/* SPDX-License-Identifier: MIT
 *
 * Sets of CPUs, and lists of them as people and the kernel write them: "0-3,8,10-14:2". Pure.
 */
#ifndef TORC_SHARD_CPU_LIST_INTERNAL_H
#define TORC_SHARD_CPU_LIST_INTERNAL_H

#include "core/base.h"

enum {
    TORCI_CPUS_MAX = 8192, /* the most that Linux can be built for */
    TORCI_CPU_LIST_END = TORCI_CPUS_MAX,
    TORCI_CPU_WHY_BYTES = 128,
};

/* In the layout of sched_getaffinity. */
struct torci_cpus {
    unsigned long words[TORCI_CPUS_MAX / (8 * sizeof(unsigned long))];
};

static inline bool torci_cpus_has(const struct torci_cpus *cpus, unsigned cpu)
{
    enum { BITS = 8 * sizeof(unsigned long) };
    return cpu < TORCI_CPUS_MAX && (cpus->words[cpu / BITS] >> cpu % BITS & 1);
}

static inline void torci_cpus_add(struct torci_cpus *cpus, unsigned cpu)
{
    enum { BITS = 8 * sizeof(unsigned long) };
    cpus->words[cpu / BITS] |= 1UL << cpu % BITS;
}

unsigned torci_cpus_count(const struct torci_cpus *cpus);
/* The first CPU from FROM on; TORCI_CPUS_MAX: there is none. */
unsigned torci_cpus_next(const struct torci_cpus *cpus, unsigned from);

/* Walks a list in the order in which it is written. */
struct torci_cpu_list {
    const char *at;
    unsigned next, last, step;
    bool has_begun;
    char why[TORCI_CPU_WHY_BYTES];
};

void torci_cpu_list_init(struct torci_cpu_list *list, const char *text);
/* A CPU, TORCI_CPU_LIST_END behind the last one, or -EINVAL for what is no list; why then says what is wrong with it.
 * A list is N, FIRST-LAST or FIRST-LAST:STEP, with commas between; nothing, or white space at the end, is an empty one. */
int torci_cpu_list_next(struct torci_cpu_list *list) TORC_MUST_CHECK;

/* All of TEXT into CPUS. How many there are, or -EINVAL, with a sentence of TORCI_CPU_WHY_BYTES at most in WHY: not a
 * list, an empty one, a CPU that is named twice. */
int torci_cpu_list_parse(const char *text, struct torci_cpus *cpus, char *why) TORC_MUST_CHECK;

/* "0-3,8", cut with an ellipsis. */
void torci_cpus_format(const struct torci_cpus *cpus, char *text, size_t size);

#endif
