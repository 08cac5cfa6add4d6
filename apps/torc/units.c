/* SPDX-License-Identifier: MIT */
#include "apps/torc/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct suffix {
    const char *text;
    uint64_t factor;
};

static const struct suffix TIMES[] = {
    {"d", UINT64_C(86400000000000)},
    {"day", UINT64_C(86400000000000)},
    {"days", UINT64_C(86400000000000)},
    {"h", UINT64_C(3600000000000)},
    {"hour", UINT64_C(3600000000000)},
    {"hours", UINT64_C(3600000000000)},
    {"m", UINT64_C(60000000000)},
    {"min", UINT64_C(60000000000)},
    {"minute", UINT64_C(60000000000)},
    {"minutes", UINT64_C(60000000000)},
    {"s", UINT64_C(1000000000)},
    {"sec", UINT64_C(1000000000)},
    {"ms", UINT64_C(1000000)},
    {"msec", UINT64_C(1000000)},
    {"us", UINT64_C(1000)},
    {"usec", UINT64_C(1000)},
    {"ns", 1},
    {"nsec", 1},
};

/* The digits at the start of TEXT; *REST is what follows them. */
static int parse_digits(const char *text, uint64_t *value, const char **rest)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    /* strtoull would take blanks and a sign, and with a sign wrap round. */
    if (hex ? !isxdigit((unsigned char)text[2]) : !isdigit((unsigned char)text[0]))
        return -EINVAL;
    char *end;
    errno = 0;
    *value = strtoull(text, &end, hex ? 16 : 10);
    *rest = end;
    return errno ? -errno : 0;
}

static int multiply(uint64_t value, uint64_t factor, uint64_t *product)
{
    return __builtin_mul_overflow(value, factor, product) ? -ERANGE : 0;
}

static int size_factor(const char *suffix, unsigned kb_base, uint64_t *factor)
{
    static const char LETTERS[] = "kmgtp";
    *factor = 1;
    if (!*suffix || strcasecmp(suffix, "b") == 0)
        return 0;
    const char *letter = strchr(LETTERS, tolower((unsigned char)*suffix));
    if (!letter)
        return -EINVAL;
    uint64_t base = kb_base;
    /* fio 3.33 takes "4ki" for "4k": only the full "kib" has the other base. */
    if (strcasecmp(suffix + 1, "ib") == 0)
        base = kb_base == 1024 ? 1000 : 1024;
    else if (suffix[1] && strcasecmp(suffix + 1, "b") != 0 && strcasecmp(suffix + 1, "i") != 0)
        return -EINVAL;
    for (long power = letter - LETTERS; power >= 0; power--)
        *factor *= base;
    return 0;
}

int bench_parse_size(const char *text, unsigned kb_base, uint64_t *bytes)
{
    const char *suffix;
    uint64_t value, factor;
    int err = parse_digits(text, &value, &suffix);
    if (!err)
        err = size_factor(suffix, kb_base, &factor);
    return err ? err : multiply(value, factor, bytes);
}

int bench_parse_size_or_percent(const char *text, unsigned kb_base, uint64_t *bytes,
                                uint32_t *percent)
{
    const char *suffix;
    uint64_t value;
    int err = parse_digits(text, &value, &suffix);
    if (err)
        return err;
    *percent = 0;
    if (strcmp(suffix, "%") != 0)
        return bench_parse_size(text, kb_base, bytes);
    if (value < 1 || value > 100)
        return -ERANGE;
    *percent = (uint32_t)value;
    *bytes = 0;
    return 0;
}

int bench_parse_time(const char *text, uint64_t unit_ns, uint64_t *ns)
{
    const char *suffix;
    uint64_t value;
    int err = parse_digits(text, &value, &suffix);
    if (err)
        return err;
    if (!*suffix)
        return multiply(value, unit_ns, ns);
    for (size_t i = 0; i < sizeof(TIMES) / sizeof(TIMES[0]); i++)
        if (!strcasecmp(suffix, TIMES[i].text))
            return multiply(value, TIMES[i].factor, ns);
    return -EINVAL;
}

int bench_parse_integer(const char *text, int64_t *value)
{
    const char *rest;
    uint64_t magnitude;
    bool negative = *text == '-';
    int err = parse_digits(text + negative, &magnitude, &rest);
    if (err)
        return err;
    if (*rest)
        return -EINVAL;
    if (magnitude > INT64_MAX)
        return -ERANGE;
    *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return 0;
}

int bench_parse_decimal(const char *text, double *value)
{
    if (!*text || text[strspn(text, "0123456789.")] || !strcmp(text, "."))
        return -EINVAL;
    char *end;
    *value = strtod(text, &end);
    return *end ? -EINVAL : 0;
}
