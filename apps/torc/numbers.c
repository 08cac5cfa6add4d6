/* SPDX-License-Identifier: MIT */
#include "apps/torc/numbers.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

unsigned bench_numbers_count(const struct bench_numbers *set)
{
    unsigned count = 0;
    for (unsigned i = 0; i < BENCH_NUMBERS_WORDS; i++)
        count += (unsigned)__builtin_popcountll(set->words[i]);
    return count;
}

unsigned bench_numbers_next(const struct bench_numbers *set, unsigned from)
{
    for (unsigned i = from / 64; i < BENCH_NUMBERS_WORDS; i++) {
        uint64_t word = set->words[i];
        if (i == from / 64)
            word &= ~UINT64_C(0) << from % 64;
        if (word)
            return i * 64 + (unsigned)__builtin_ctzll(word);
    }
    return BENCH_NUMBERS_MAX;
}

unsigned bench_numbers_nth(const struct bench_numbers *set, unsigned index)
{
    unsigned count = bench_numbers_count(set), number = bench_numbers_next(set, 0);
    for (unsigned i = 0; count && i < index % count; i++)
        number = bench_numbers_next(set, number + 1);
    return number;
}

void bench_numbers_intersect(struct bench_numbers *set, const struct bench_numbers *other)
{
    for (unsigned i = 0; i < BENCH_NUMBERS_WORDS; i++)
        set->words[i] &= other->words[i];
}

unsigned bench_numbers_first_outside(const struct bench_numbers *set,
                                     const struct bench_numbers *other)
{
    struct bench_numbers rest;
    for (unsigned i = 0; i < BENCH_NUMBERS_WORDS; i++)
        rest.words[i] = set->words[i] & ~other->words[i];
    return bench_numbers_next(&rest, 0);
}

/* A number without sign or blanks; what lies beyond every set becomes BENCH_NUMBERS_MAX. */
static int parse_number(const char **at, unsigned *number)
{
    if (!isdigit((unsigned char)**at))
        return -EINVAL;
    for (*number = 0; isdigit((unsigned char)**at); (*at)++) {
        *number = *number * 10 + (unsigned)(**at - '0');
        if (*number > BENCH_NUMBERS_MAX)
            *number = BENCH_NUMBERS_MAX;
    }
    return 0;
}

int bench_numbers_parse(const char *text, struct bench_numbers *set)
{
    *set = (struct bench_numbers){{0}};
    for (const char *at = text;; at++) {
        unsigned first = 0, last;
        int err = parse_number(&at, &first);
        last = first;
        if (!err && *at == '-') {
            at++;
            err = parse_number(&at, &last);
        }
        if (err || (*at && *at != ','))
            return -EINVAL;
        if (last < first || last >= BENCH_NUMBERS_MAX)
            return -ERANGE;
        for (unsigned number = first; number <= last; number++)
            bench_numbers_add(set, number);
        if (!*at)
            return 0;
    }
}

const char *bench_numbers_text(const struct bench_numbers *set, char *text, size_t size)
{
    static const char CUT[] = "…";
    size_t length = 0;
    *text = '\0';
    for (unsigned first = bench_numbers_next(set, 0); first < BENCH_NUMBERS_MAX;) {
        char item[32];
        unsigned last = first;
        while (bench_numbers_has(set, last + 1))
            last++;
        if (last > first)
            snprintf(item, sizeof(item), "%s%u-%u", length ? "," : "", first, last);
        else
            snprintf(item, sizeof(item), "%s%u", length ? "," : "", first);
        size_t more = strlen(item);
        if (length + more + sizeof(CUT) > size) {
            if (length + sizeof(CUT) <= size)
                memcpy(text + length, CUT, sizeof(CUT));
            break;
        }
        memcpy(text + length, item, more + 1);
        length += more;
        first = bench_numbers_next(set, last + 1);
    }
    return text;
}
