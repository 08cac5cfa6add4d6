/* SPDX-License-Identifier: MIT */
#include "apps/torc/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int count_digits(uint64_t value)
{
    int digits = 1;
    for (; value >= 10; value /= 10)
        digits++;
    return digits;
}

struct bench_text bench_format(uint64_t value, int digits, bool binary, const char *unit)
{
    static const char *const PREFIXES[2][7] = {{"", "k", "M", "G", "T", "P", "E"},
                                               {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}};
    struct bench_text out;
    uint64_t base = binary ? 1024 : 1000, rest = 0;
    int power = 0;
    while (count_digits(value) > digits && power < 6) {
        rest = value % base;
        value /= base;
        power++;
    }
    const char *prefix = PREFIXES[binary][power];
    int decimals = digits - count_digits(value) - 1;
    if (!power || decimals < 1) {
        value += power && 2 * rest >= base;
        snprintf(out.text, sizeof(out.text), "%" PRIu64 "%s%s", value, prefix, unit);
        return out;
    }
    double fraction = (double)value + (double)rest / (double)base;
    snprintf(out.text, sizeof(out.text), "%.*f%s%s", decimals, fraction, prefix, unit);
    return out;
}
