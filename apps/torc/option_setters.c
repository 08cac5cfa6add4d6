/* SPDX-License-Identifier: MIT
 *
 * One function for each kind of value that an option can have.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/torc/options.h"
#include "apps/torc/units.h"

static void *field_of(struct bench_job *job, const struct bench_option *option)
{
    return (char *)job + option->field;
}

static int bad_size(struct bench_spec *spec, int err, const char *also)
{
    if (err == -ERANGE)
        return bench_fail(spec, err, "out of range");
    return bench_fail(spec, err, "not a size: write bytes, or 4k, 1m, 2g%s", also);
}

static int in_range(struct bench_spec *spec, const struct bench_option *option, uint64_t value)
{
    if (value >= option->min && value <= option->max)
        return 0;
    return bench_fail(spec, -ERANGE, "must be %" PRIu64 " to %" PRIu64, option->min, option->max);
}

/* Counts may have fio's suffixes: number_ios=10k. */
static int parse_count(struct bench_spec *spec, struct bench_job *job,
                       const struct bench_option *option, const char *text, uint64_t *value)
{
    int err = bench_parse_size(text, job->kb_base, value);
    if (err)
        return bench_fail(spec, err, "%s: must be %" PRIu64 " to %" PRIu64,
                          err == -ERANGE ? "out of range" : "not a number", option->min,
                          option->max);
    return in_range(spec, option, *value);
}

static int parse_flag(struct bench_spec *spec, const char *text, bool *value)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return bench_fail(spec, -EINVAL, "must be 0 or 1");
    *value = *text == '1';
    return 0;
}

int bench_set_flag(struct bench_spec *spec, struct bench_job *job,
                   const struct bench_option *option, const char *text)
{
    return parse_flag(spec, text, field_of(job, option));
}

int bench_set_not_flag(struct bench_spec *spec, struct bench_job *job,
                       const struct bench_option *option, const char *text)
{
    bool value = false;
    int err = parse_flag(spec, text, &value);
    if (!err)
        *(bool *)field_of(job, option) = !value;
    return err;
}

int bench_set_count32(struct bench_spec *spec, struct bench_job *job,
                      const struct bench_option *option, const char *text)
{
    uint64_t value;
    int err = parse_count(spec, job, option, text, &value);
    if (!err)
        *(uint32_t *)field_of(job, option) = (uint32_t)value;
    return err;
}

int bench_set_count64(struct bench_spec *spec, struct bench_job *job,
                      const struct bench_option *option, const char *text)
{
    uint64_t value;
    int err = parse_count(spec, job, option, text, &value);
    if (!err)
        *(uint64_t *)field_of(job, option) = value;
    return err;
}

int bench_set_mix_write(struct bench_spec *spec, struct bench_job *job,
                        const struct bench_option *option, const char *text)
{
    uint64_t value;
    int err = parse_count(spec, job, option, text, &value);
    if (!err)
        job->mix_read = 100 - (uint32_t)value;
    return err;
}

int bench_set_bytes(struct bench_spec *spec, struct bench_job *job,
                    const struct bench_option *option, const char *text)
{
    uint64_t value;
    int err = bench_parse_size(text, job->kb_base, &value);
    if (err)
        return bad_size(spec, err, "");
    err = in_range(spec, option, value);
    if (!err)
        *(uint64_t *)field_of(job, option) = value;
    return err;
}

int bench_set_amount(struct bench_spec *spec, struct bench_job *job,
                     const struct bench_option *option, const char *text)
{
    struct bench_amount amount = {0, 0};
    int err = bench_parse_size_or_percent(text, job->kb_base, &amount.bytes, &amount.percent);
    if (err == -ERANGE && strchr(text, '%'))
        return bench_fail(spec, err, "must be 1%% to 100%%");
    if (!err && amount.bytes > INT64_MAX)
        err = -ERANGE;
    if (err)
        return bad_size(spec, err, " or 25%");
    *(struct bench_amount *)field_of(job, option) = amount;
    return 0;
}

int bench_set_seconds(struct bench_spec *spec, struct bench_job *job,
                      const struct bench_option *option, const char *text)
{
    uint64_t ns;
    int err = bench_parse_time(text, UINT64_C(1000000000), &ns);
    if (err == -EINVAL)
        return bench_fail(spec, err, "not a time: write seconds, or 500ms, 90s, 2m, 1h");
    if (err || ns > option->max)
        return bench_fail(spec, -ERANGE, "out of range");
    *(uint64_t *)field_of(job, option) = ns;
    return 0;
}

int bench_set_text(struct bench_spec *spec, struct bench_job *job,
                   const struct bench_option *option, const char *text)
{
    if (!*text)
        return bench_fail(spec, -EINVAL, "must not be empty");
    const char *copy = bench_copy(spec, text, strlen(text));
    if (!copy)
        return -ENOMEM;
    *(const char **)field_of(job, option) = copy;
    return 0;
}

int bench_set_engine(struct bench_spec *spec, struct bench_job *job,
                     const struct bench_option *option, const char *text)
{
    (void)option;
    job->engine = bench_copy(spec, text, strlen(text));
    return job->engine ? 0 : -ENOMEM;
}

struct mode {
    const char *name;
    bool reads, writes, random;
};

static const struct mode MODES[] = {
    {"read", true, false, false},    {"write", false, true, false},
    {"randread", true, false, true}, {"randwrite", false, true, true},
    {"rw", true, true, false},       {"readwrite", true, true, false},
    {"randrw", true, true, true},
};

int bench_set_mode(struct bench_spec *spec, struct bench_job *job,
                   const struct bench_option *option, const char *text)
{
    (void)option;
    for (size_t i = 0; i < sizeof(MODES) / sizeof(MODES[0]); i++)
        if (!strcmp(MODES[i].name, text)) {
            job->does[BENCH_READ] = MODES[i].reads;
            job->does[BENCH_WRITE] = MODES[i].writes;
            job->random = MODES[i].random;
            return 0;
        }
    return bench_fail(spec, -EINVAL,
                      "must be read, write, randread, randwrite, rw, readwrite or randrw%s",
                      strstr(text, "trim") ? " (trim is not supported)"
                      : strchr(text, ':')  ? " (the form MODE:COUNT is not supported)"
                                           : "");
}

/* "8k", "8k,32k", "8k,", ",32k"; a third part, for trims, is checked and has nothing to act on. */
int bench_set_blocks(struct bench_spec *spec, struct bench_job *job,
                     const struct bench_option *option, const char *text)
{
    enum { PARTS_MAX = BENCH_DIRECTIONS + 1, PART_BYTES = 32 };
    uint64_t sizes[PARTS_MAX] = {0};
    unsigned parts = 0;
    for (const char *at = text;; parts++) {
        char part[PART_BYTES];
        size_t length = strcspn(at, ",");
        if (parts == PARTS_MAX || length >= sizeof(part))
            return bench_fail(spec, -EINVAL,
                              "not a block size: write 4k, or READ,WRITE as in 4k,64k");
        snprintf(part, sizeof(part), "%.*s", (int)length, at);
        int err = length ? bench_parse_size(part, job->kb_base, &sizes[parts]) : 0;
        if (err)
            return strpbrk(part, "-:")
                       ? bench_fail(spec, err, "ranges of block sizes are not supported")
                       : bad_size(spec, err, " or READ,WRITE as in 4k,64k");
        err = length ? in_range(spec, option, sizes[parts]) : 0;
        if (err)
            return err;
        at += length;
        if (!*at++)
            break;
    }
    if (!text[strspn(text, ",")])
        return bench_fail(spec, -EINVAL, "must not be empty");
    if (sizes[BENCH_READ])
        job->block_bytes[BENCH_READ] = sizes[BENCH_READ];
    if (sizes[BENCH_WRITE])
        job->block_bytes[BENCH_WRITE] = sizes[BENCH_WRITE];
    else if (!parts)
        job->block_bytes[BENCH_WRITE] = sizes[BENCH_READ];
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int bench_set_percentiles(struct bench_spec *spec, struct bench_job *job,
                          const struct bench_option *option, const char *text)
{
    (void)option;
    double list[BENCH_PERCENTILES_MAX];
    unsigned count = 0;
    for (const char *at = text;; count++) {
        char part[32];
        size_t length = strcspn(at, ":");
        if (count == BENCH_PERCENTILES_MAX)
            return bench_fail(spec, -E2BIG, "more than %d percentiles", BENCH_PERCENTILES_MAX);
        if (length >= sizeof(part))
            return bench_fail(spec, -EINVAL, "not a list of percentiles: write 50:99:99.9");
        snprintf(part, sizeof(part), "%.*s", (int)length, at);
        if (bench_parse_decimal(part, &list[count]))
            return bench_fail(spec, -EINVAL, "not a list of percentiles: write 50:99:99.9");
        if (!(list[count] >= 0 && list[count] <= 100))
            return bench_fail(spec, -ERANGE, "percentiles must be 0 to 100");
        at += length;
        if (!*at++)
            break;
    }
    job->percentile_count = count + 1;
    qsort(list, job->percentile_count, sizeof(list[0]), by_value);
    memcpy(job->percentiles, list, job->percentile_count * sizeof(list[0]));
    return 0;
}

int bench_set_kb_base(struct bench_spec *spec, struct bench_job *job,
                      const struct bench_option *option, const char *text)
{
    (void)option;
    if (strcmp(text, "1000") != 0 && strcmp(text, "1024") != 0)
        return bench_fail(spec, -EINVAL, "must be 1000 or 1024");
    job->kb_base = text[1] == '0' && text[2] == '0' ? 1000 : 1024;
    return 0;
}
