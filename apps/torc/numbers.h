/* SPDX-License-Identifier: MIT
 *
 * A set of small numbers: CPUs, or NUMA nodes. A plain value; its text is the kernel's and fio's: "0-3,8".
 */
#ifndef TORC_APPS_NUMBERS_H
#define TORC_APPS_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BENCH_NUMBERS_MAX =
        4096, /* numbers are below that; Linux is built for at most 8,192 CPUs, and nobody has them */
    BENCH_NUMBERS_WORDS = BENCH_NUMBERS_MAX / 64,
};

struct bench_numbers {
    uint64_t words[BENCH_NUMBERS_WORDS];
};

static inline bool bench_numbers_has(const struct bench_numbers *set, unsigned number)
{
    return number < BENCH_NUMBERS_MAX && (set->words[number / 64] >> number % 64 & 1);
}

static inline void bench_numbers_add(struct bench_numbers *set, unsigned number)
{
    set->words[number / 64] |= UINT64_C(1) << number % 64;
}

unsigned bench_numbers_count(const struct bench_numbers *set);
/* The first member that is FROM or more; BENCH_NUMBERS_MAX: none. */
unsigned bench_numbers_next(const struct bench_numbers *set, unsigned from);
/* Member number INDEX % count, counted from 0; BENCH_NUMBERS_MAX: the set is empty. */
unsigned bench_numbers_nth(const struct bench_numbers *set, unsigned index);
/* Leaves in SET what is in OTHER too. */
void bench_numbers_intersect(struct bench_numbers *set, const struct bench_numbers *other);
/* The first member of SET that is not in OTHER; BENCH_NUMBERS_MAX: none. */
unsigned bench_numbers_first_outside(const struct bench_numbers *set,
                                     const struct bench_numbers *other);

/* Reads "0,5,8-15" into SET. 0; -EINVAL: no such list, or an empty one; -ERANGE: a number of BENCH_NUMBERS_MAX or more, or
 * a range that runs backwards. */
int bench_numbers_parse(const char *text, struct bench_numbers *set);
/* Writes the list, cut short with "…" where SIZE is too small; returns TEXT. */
const char *bench_numbers_text(const struct bench_numbers *set, char *text, size_t size);

#endif
