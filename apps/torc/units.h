/* SPDX-License-Identifier: MIT
 *
 * Numbers as fio's job language writes them: 64k, 0x200, 1MiB, 25%, 2m (minutes, where a time is meant). Sizes come
 * out in bytes, times in nanoseconds. No state; nothing is printed.
 */
#ifndef TORC_APPS_UNITS_H
#define TORC_APPS_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* TEXT as a whole: decimal or 0x… digits and an optional suffix, upper or lower case. With KB_BASE 1024 (fio's
 * default) k, m, g, t and p, alone or with b or i, are powers of 1024 and kib, mib … powers of 1000; with 1000 it is
 * the other way round. -EINVAL: not such a number; -ERANGE: more than 64 bits. */
int bench_parse_size(const char *text, unsigned kb_base, uint64_t *bytes);

/* The same, or a percentage `N%` of 1 to 100: then *PERCENT is set and *BYTES is 0. */
int bench_parse_size_or_percent(const char *text, unsigned kb_base, uint64_t *bytes,
                                uint32_t *percent);

/* A time with suffix d, h, m, s, ms, us or ns (and their longer forms); a bare number counts UNIT_NS. */
int bench_parse_time(const char *text, uint64_t unit_ns, uint64_t *ns);

/* A plain integer of either sign: decimal or 0x…. */
int bench_parse_integer(const char *text, int64_t *value);

/* 99.5; digits with at most one point. */
int bench_parse_decimal(const char *text, double *value);

#endif
