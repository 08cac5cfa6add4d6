/* SPDX-License-Identifier: MIT
 *
 * `torc info --live --json`: one object a look, with every counter of every shard: as it stands, and how much of it
 * came a second since the look before.
 */
#include <string.h>

#include "apps/torc/info_live.h"
#include "apps/torc/json.h"

struct page {
    struct bench_json json;
    const struct live_source *source;
    double seconds;
};

static const char *kind_name(uint32_t kind)
{
    switch (kind) {
    case TORC_COUNTER_SUM: return "counter";
    case TORC_COUNTER_GAUGE: return "gauge";
    case TORC_COUNTER_HISTOGRAM: return "histogram";
    default: return "unknown";
    }
}

static void print_values(struct page *page, uint32_t counter)
{
    bench_json_array(&page->json, "value");
    for (uint32_t i = 0; i < torc_counter_shards(&page->source->now.set); i++)
        bench_json_count(&page->json, NULL, torc_counter_read(&page->source->now.set, i, counter));
    bench_json_end_array(&page->json);
}

static void print_rates(struct page *page, uint32_t counter)
{
    const struct live_source *source = page->source;
    bench_json_array(&page->json, "per_second");
    for (uint32_t i = 0; i < torc_counter_shards(&source->now.set); i++) {
        uint64_t grown = torc_counter_read(&source->now.set, i, counter) -
                         torc_counter_read(&source->before.set, i, counter);
        bench_json_fraction(&page->json, NULL, (double)grown / page->seconds);
    }
    bench_json_end_array(&page->json);
}

/* Of the durations since the look before. */
static void print_durations(struct page *page, uint32_t counter)
{
    static const struct {
        const char *name;
        double percent;
    } PERCENTILES[] = {{"p50_ns", 50}, {"p90_ns", 90}, {"p99_ns", 99}, {"p999_ns", 99.9}};
    const struct live_source *source = page->source;
    bench_json_array(&page->json, "durations");
    for (uint32_t i = 0; i < torc_counter_shards(&source->now.set); i++) {
        struct torc_counter_histogram now, before;
        torc_counter_read_histogram(&source->now.set, i, counter, &now);
        torc_counter_read_histogram(&source->before.set, i, counter, &before);
        torc_counter_histogram_subtract(&now, &before);
        bench_json_object(&page->json, NULL);
        bench_json_count(&page->json, "count", now.count);
        bench_json_fraction(&page->json, "mean_ns",
                            now.count ? (double)now.sum_ns / (double)now.count : 0);
        for (unsigned p = 0; p < TORC_ARRAY_LENGTH(PERCENTILES); p++)
            bench_json_count(&page->json, PERCENTILES[p].name,
                             torc_counter_percentile(&now, PERCENTILES[p].percent));
        bench_json_end_object(&page->json);
    }
    bench_json_end_array(&page->json);
}

static void print_counter(struct page *page, uint32_t counter)
{
    const struct torc_counter_info *info = torc_counter_info(&page->source->now.set, counter);
    bench_json_object(&page->json, NULL);
    bench_json_text(&page->json, "name", info->name);
    bench_json_text(&page->json, "kind", kind_name(info->kind));
    bench_json_text(&page->json, "unit", info->unit);
    bench_json_text(&page->json, "help", info->help);
    print_values(page, counter);
    if (info->kind == TORC_COUNTER_SUM || info->kind == TORC_COUNTER_HISTOGRAM)
        print_rates(page, counter);
    if (info->kind == TORC_COUNTER_HISTOGRAM)
        print_durations(page, counter);
    bench_json_end_object(&page->json);
}

void live_print_json(const struct live_source *source, FILE *out)
{
    const struct torc_counter_file *file = source->now.file;
    struct page page = {.source = source,
                        .seconds = (double)(source->now.at_ns - source->before.at_ns) / 1e9};
    bench_json_init(&page.json, out);
    bench_json_object(&page.json, NULL);
    bench_json_count(&page.json, "pid", file->pid);
    bench_json_text(&page.json, "program", file->program);
    bench_json_count(&page.json, "shards", file->shard_count);
    bench_json_count(&page.json, "started_ns", file->started_ns);
    bench_json_fraction(&page.json, "seconds", page.seconds);
    bench_json_array(&page.json, "counters");
    for (uint32_t i = 0; i < torc_counter_count(&source->now.set); i++)
        print_counter(&page, i);
    bench_json_end_array(&page.json);
    bench_json_end_object(&page.json);
    putc('\n', out);
}
