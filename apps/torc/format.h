/* SPDX-License-Identifier: MIT
 *
 * Numbers as fio prints them: few digits and a prefix, "26.3k", "103MiB/s". Each returns its buffer.
 */
#ifndef TORC_APPS_FORMAT_H
#define TORC_APPS_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_FORMAT_BYTES = 32 };

struct bench_text {
    char text[BENCH_FORMAT_BYTES];
};

/* VALUE in at most DIGITS digits (and a point when they allow one), scaled by powers of 1024 with Ki, Mi … if BINARY,
 * else of 1000 with k, M …, followed by UNIT. */
struct bench_text bench_format(uint64_t value, int digits, bool binary, const char *unit);

#endif
