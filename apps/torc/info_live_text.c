/* SPDX-License-Identifier: MIT
 *
 * The table of `torc info --live`: what happened a second between the last two looks, a column a shard; where those do
 * not fit the page, their mean, the least and the most of them.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/torc/format.h"
#include "apps/torc/info_live.h"

enum { NAME_COLUMNS = 26, UNIT_COLUMNS = 5, CELL_COLUMNS = 9, DIGITS = 4 };

/* How the numbers of a row are written. */
enum look { LOOK_NUMBER, LOOK_BYTES, LOOK_SHARE, LOOK_TIME };

struct table {
    const struct live_source *source;
    FILE *out;
    uint32_t shards;
    bool summary;   /* too many for a column each */
    double *values; /* a row's: one a shard, NAN where there is none */
    double seconds;
};

struct row {
    const char *name, *unit;
    enum look look;
    double all;
};

static void print_time(double ns, char *text, size_t size)
{
    static const char *const UNITS[] = {"ns", "us", "ms", "s"};
    unsigned unit = 0;
    for (; ns >= 1000 && unit < 3; unit++)
        ns /= 1000;
    snprintf(text, size, ns < 10 && unit ? "%.1f%s" : "%.0f%s", ns, UNITS[unit]);
}

static void print_cell(const struct table *table, enum look look, double value)
{
    char text[BENCH_FORMAT_BYTES] = "-";
    bool is_share = look == LOOK_SHARE ||
                    (look == LOOK_NUMBER && value > 0 && value < 10 && value != floor(value));
    if (look == LOOK_TIME && !isnan(value))
        print_time(value, text, sizeof(text));
    else if (is_share)
        snprintf(text, sizeof(text), "%.1f", value);
    else if (!isnan(value))
        snprintf(text, sizeof(text), "%s",
                 bench_format((uint64_t)(value + 0.5), DIGITS, look == LOOK_BYTES, "").text);
    fprintf(table->out, "%*s", CELL_COLUMNS, text);
}

static void print_summary(const struct table *table, const struct row *row)
{
    double sum = 0;
    uint32_t count = 0, least = 0, most = 0;
    for (uint32_t i = 0; i < table->shards; i++) {
        double value = table->values[i];
        if (isnan(value))
            continue;
        if (!count || value < table->values[least])
            least = i;
        if (!count || value > table->values[most])
            most = i;
        sum += value;
        count++;
    }
    print_cell(table, row->look, count ? sum / count : NAN);
    print_cell(table, row->look, count ? table->values[least] : NAN);
    print_cell(table, row->look, count ? table->values[most] : NAN);
    if (count)
        fprintf(table->out, "%*u", CELL_COLUMNS, (unsigned)most);
}

static void print_row(const struct table *table, const struct row *row)
{
    fprintf(table->out, "%-*s%-*s", NAME_COLUMNS, row->name, UNIT_COLUMNS, row->unit);
    if (table->shards > 1)
        print_cell(table, row->look, row->all);
    if (table->summary)
        print_summary(table, row);
    for (uint32_t i = 0; i < table->shards && !table->summary; i++)
        print_cell(table, row->look, table->values[i]);
    putc('\n', table->out);
}

static void print_rates(const struct table *table, const struct torc_counter_info *info,
                        uint32_t counter)
{
    const struct live_source *source = table->source;
    bool is_time = info->kind == TORC_COUNTER_SUM && !strcmp(info->unit, "ns");
    bool is_bytes = !strcmp(info->unit, "bytes");
    struct row row = {.name = info->name,
                      .unit = is_time    ? "%"
                              : is_bytes ? "B/s"
                                         : "/s",
                      .look = is_time    ? LOOK_SHARE
                              : is_bytes ? LOOK_BYTES
                                         : LOOK_NUMBER};
    for (uint32_t i = 0; i < table->shards; i++) {
        uint64_t grown = torc_counter_read(&source->now.set, i, counter) -
                         torc_counter_read(&source->before.set, i, counter);
        double value = (double)grown / table->seconds;
        table->values[i] = is_time ? value / 1e7 : value;
        row.all += table->values[i];
    }
    if (is_time)
        row.all /= table->shards;
    print_row(table, &row);
}

static void print_levels(const struct table *table, const struct torc_counter_info *info,
                         uint32_t counter)
{
    bool is_time = !strcmp(info->unit, "ns"), is_bytes = !strcmp(info->unit, "bytes");
    struct row row = {.name = info->name,
                      .unit = is_bytes ? "B" : "",
                      .look = is_time    ? LOOK_TIME
                              : is_bytes ? LOOK_BYTES
                                         : LOOK_NUMBER};
    for (uint32_t i = 0; i < table->shards; i++) {
        double value = (double)torc_counter_read(&table->source->now.set, i, counter);
        table->values[i] = value;
        row.all = is_time ? fmax(row.all, value) : row.all + value;
    }
    print_row(table, &row);
}

static double percentile_of(const struct live_source *source, uint32_t shard, uint32_t counter,
                            double percent)
{
    struct torc_counter_histogram now, before;
    torc_counter_read_histogram(&source->now.set, shard, counter, &now);
    torc_counter_read_histogram(&source->before.set, shard, counter, &before);
    torc_counter_histogram_subtract(&now, &before);
    return now.count ? (double)torc_counter_percentile(&now, percent) : NAN;
}

static void print_durations(const struct table *table, const struct torc_counter_info *info,
                            uint32_t counter)
{
    static const struct {
        double percent;
        const char *name;
    } ROWS[] = {{50, "p50"}, {99, "p99"}, {99.9, "p999"}};
    struct torc_counter_info samples = *info;
    samples.unit[0] = '\0';
    print_rates(table, &samples, counter);
    for (unsigned r = 0; r < TORC_ARRAY_LENGTH(ROWS); r++) {
        struct row row = {.name = "", .unit = ROWS[r].name, .look = LOOK_TIME};
        row.all = percentile_of(table->source, TORC_ALL_SHARDS, counter, ROWS[r].percent);
        for (uint32_t i = 0; i < table->shards; i++)
            table->values[i] = percentile_of(table->source, i, counter, ROWS[r].percent);
        print_row(table, &row);
    }
}

static void print_columns(const struct table *table)
{
    static const char *const SUMMARY[] = {"all", "mean", "least", "most", "of shard"};
    FILE *out = table->out;
    fprintf(out, "%*s", NAME_COLUMNS + UNIT_COLUMNS, "");
    for (unsigned i = 0; table->summary && i < TORC_ARRAY_LENGTH(SUMMARY); i++)
        fprintf(out, "%*s", CELL_COLUMNS, SUMMARY[i]);
    if (!table->summary && table->shards > 1)
        fprintf(out, "%*s", CELL_COLUMNS, "all");
    for (uint32_t i = 0; i < table->shards && !table->summary; i++) {
        char head[32];
        snprintf(head, sizeof(head), "shard %u", (unsigned)i);
        fprintf(out, "%*s", CELL_COLUMNS, head);
    }
    putc('\n', out);
}

static bool same_group(const char *a, const char *b)
{
    size_t length = strcspn(a, "_");
    return !strncmp(a, b, length) && (b[length] == '_' || !b[length]);
}

void live_print_table(const struct live_source *source, unsigned columns, bool all, FILE *out)
{
    const struct torc_counter_set *set = &source->now.set;
    uint32_t shards = torc_counter_shards(set);
    struct table table = {
        .source = source,
        .out = out,
        .shards = shards,
        .summary = NAME_COLUMNS + UNIT_COLUMNS + (uint64_t)CELL_COLUMNS * (shards + 1) > columns,
        .seconds = (double)(source->now.at_ns - source->before.at_ns) / 1e9,
        .values = calloc(shards, sizeof(double)),
    };
    if (!table.values)
        return;
    table.summary = table.summary && shards > 1;
    print_columns(&table);
    const char *last = NULL;
    for (uint32_t i = 0; i < torc_counter_count(set); i++) {
        const struct torc_counter_info *info = torc_counter_info(set, i);
        if (!all && !torc_counter_read(set, TORC_ALL_SHARDS, i))
            continue;
        if (last && !same_group(last, info->name))
            putc('\n', out);
        last = info->name;
        if (info->kind == TORC_COUNTER_HISTOGRAM)
            print_durations(&table, info, i);
        else if (info->kind == TORC_COUNTER_SUM)
            print_rates(&table, info, i);
        else
            print_levels(&table, info, i);
    }
    free(table.values);
}
