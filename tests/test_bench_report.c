/* SPDX-License-Identifier: MIT
 *
 * What leaves the program: JSON that is always valid, numbers as fio prints them, statistics that add up.
 */
#include <math.h>

#include "apps/torc/format.h"
#include "apps/torc/json.h"
#include "apps/torc/report.h"
#include "tests/harness.h"

TEST(bench_json, layout_is_fios)
{
    char *text;
    size_t size;
    struct bench_json json;
    FILE *out = open_memstream(&text, &size);
    bench_json_init(&json, out);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "a", "b");
    bench_json_object(&json, "o");
    bench_json_end_object(&json);
    bench_json_array(&json, "l");
    bench_json_object(&json, NULL);
    bench_json_count(&json, "n", UINT64_MAX);
    bench_json_number(&json, "m", -1);
    bench_json_fraction(&json, "f", 1.5);
    bench_json_end_object(&json);
    bench_json_array(&json, NULL);
    bench_json_end_array(&json);
    bench_json_end_array(&json);
    bench_json_fraction(&json, "nan", NAN);
    bench_json_fraction(&json, "inf", INFINITY);
    bench_json_end_object(&json);
    fclose(out);
    CHECK_STR(text, "{\n"
                    "  \"a\" : \"b\",\n"
                    "  \"o\" : {},\n"
                    "  \"l\" : [\n"
                    "    {\n"
                    "      \"n\" : 18446744073709551615,\n"
                    "      \"m\" : -1,\n"
                    "      \"f\" : 1.500000\n"
                    "    },\n"
                    "    []\n"
                    "  ],\n"
                    "  \"nan\" : 0.000000,\n"
                    "  \"inf\" : 0.000000\n"
                    "}\n");
    free(text);
}

TEST(bench_json, text_is_escaped_and_always_utf8)
{
    static const char *const CASES[][2] = {
        {"plain", "\"plain\""},
        {"q\"b\\s/", "\"q\\\"b\\\\s/\""},
        {"\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
        {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
        {"\xe2\x82\xac \xf0\x9f\x98\x80", "\"\xe2\x82\xac \xf0\x9f\x98\x80\""},
        {"\xff\xfe", "\"\\ufffd\\ufffd\""},
        {"\xc3", "\"\\ufffd\""},                                  /* cut off */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},                       /* overlong */
        {"\xe0\x9f\xbf", "\"\\ufffd\\ufffd\\ufffd\""},            /* overlong */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* half of a surrogate pair */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* beyond U+10FFFF */
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char *text;
        size_t size;
        struct bench_json json;
        FILE *out = open_memstream(&text, &size);
        bench_json_init(&json, out);
        bench_json_text(&json, NULL, CASES[i][0]);
        fclose(out);
        CHECK_STR(text, CASES[i][1]);
        free(text);
    }
}

TEST(bench_format, numbers_are_fios)
{
    static const struct {
        uint64_t value;
        int digits;
        bool binary;
        const char *unit, *text;
    } CASES[] = {
        {0, 4, false, "", "0"},
        {8003, 4, false, "", "8003"},
        {67139, 4, false, "", "67.1k"},
        {829000, 4, false, "", "829k"},
        {3101234, 4, false, "", "3101k"},
        {4096, 4, true, "B", "4096B"},
        {65536, 4, true, "B", "64.0KiB"},
        {1 << 20, 4, true, "B", "1024KiB"},
        {16 << 20, 4, true, "B", "16.0MiB"},
        {262ull << 20, 4, true, "B/s", "262MiB/s"},
        {274726912, 4, false, "B/s", "275MB/s"},
        {4869712, 6, false, "", "4869.7k"},
        {257573, 6, false, "", "257573"},
        {UINT64_MAX, 4, true, "B", "16.0EiB"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        CHECK_STR(
            bench_format(CASES[i].value, CASES[i].digits, CASES[i].binary, CASES[i].unit).text,
            CASES[i].text);
}

TEST(bench_stats, levels_have_fios_bounds)
{
    static const unsigned DEPTHS[][2] = {{1, 0},  {2, 1},  {3, 1},  {4, 2},  {7, 2},    {8, 3},
                                         {31, 4}, {32, 5}, {63, 5}, {64, 6}, {32768, 6}};
    static const unsigned BATCHES[][2] = {{0, 0},  {1, 1},  {4, 1},   {5, 2},  {8, 2},
                                          {9, 3},  {16, 3}, {17, 4},  {32, 4}, {33, 5},
                                          {64, 5}, {65, 6}, {9999, 6}};
    for (size_t i = 0; i < sizeof(DEPTHS) / sizeof(DEPTHS[0]); i++)
        CHECK_EQ(bench_depth_level(DEPTHS[i][0]), DEPTHS[i][1]);
    for (size_t i = 0; i < sizeof(BATCHES) / sizeof(BATCHES[0]); i++)
        CHECK_EQ(bench_batch_level(BATCHES[i][0]), BATCHES[i][1]);
}

TEST(bench_stats, series_is_the_sample_mean_and_deviation)
{
    struct bench_series s = {0};
    CHECK(bench_series_deviation(&s) == 0);
    for (int i = 1; i <= 5; i++)
        bench_series_add(&s, i * 10);
    CHECK_EQ(s.count, 5);
    CHECK(s.min == 10 && s.max == 50 && s.mean == 30);
    CHECK(fabs(bench_series_deviation(&s) - 15.811388) < 1e-6);
}

TEST(bench_stats, windows_count_only_their_own)
{
    static struct bench_stats stats;
    bench_stats_begin(&stats, 1000);
    struct bench_direction_stats *r = &stats.direction[BENCH_READ];
    r->ios = 100, r->bytes = 100 * 1024;
    bench_stats_tick(&stats, 1000 + 499 * TORC_MS);
    CHECK_EQ(r->iops.count, 0);
    bench_stats_tick(&stats, 1000 + 500 * TORC_MS);
    CHECK_EQ(r->iops.count, 1);
    CHECK(r->iops.mean == 200 && r->bw_kib.mean == 200);
    r->ios = 400, r->bytes = 400 * 1024;
    bench_stats_tick(&stats, 1000 + 1500 * TORC_MS);
    CHECK_EQ(r->iops.count, 2);
    CHECK(r->iops.max == 300 && r->iops.min == 200);
    CHECK_EQ(stats.direction[BENCH_WRITE].iops.count, 0);
    bench_stats_end(&stats, 1000 + 1600 * TORC_MS);
    CHECK_EQ(r->iops.count, 2);
    CHECK_EQ(r->runtime_ns, 1600 * TORC_MS);
    CHECK_EQ(stats.direction[BENCH_WRITE].runtime_ns, 0);
}

TEST(bench_stats, a_short_run_is_one_window)
{
    static struct bench_stats stats;
    bench_stats_begin(&stats, 0);
    stats.direction[BENCH_WRITE].ios = 10;
    bench_stats_end(&stats, 100 * TORC_MS);
    CHECK_EQ(stats.direction[BENCH_WRITE].iops.count, 1);
    CHECK(stats.direction[BENCH_WRITE].iops.mean == 100);
}

TEST(bench_stats, ramp_time_is_forgotten)
{
    static struct bench_stats stats;
    bench_stats_init(&stats);
    stats.started_ms = 77;
    torc_histogram_record(&stats.direction[BENCH_READ].clat, 5);
    stats.direction[BENCH_READ].ios = 3;
    bench_stats_begin(&stats, 9);
    CHECK_EQ(stats.direction[BENCH_READ].ios, 0);
    CHECK_EQ(torc_histogram_count(&stats.direction[BENCH_READ].clat), 0);
    CHECK_EQ(stats.started_ms, 77);
    CHECK_EQ(stats.began_ns, 9);
}

TEST(bench_stats, latency_buckets_have_decimal_bounds)
{
    static struct bench_stats stats;
    static const struct {
        uint64_t ns;
        unsigned unit;
        const char *name;
    } CASES[] = {
        {1, BENCH_UNIT_NS, "2"},
        {2, BENCH_UNIT_NS, "4"},
        {99, BENCH_UNIT_NS, "100"},
        {100, BENCH_UNIT_NS, "250"},
        {900, BENCH_UNIT_NS, "1000"},
        {1100, BENCH_UNIT_US, "2"},
        {60000, BENCH_UNIT_US, "100"},
        {900000, BENCH_UNIT_US, "1000"},
        {1500000, BENCH_UNIT_MS, "2"},
        {1990000000, BENCH_UNIT_MS, "2000"},
        {2100000000, BENCH_UNIT_MS, ">=2000"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct bench_latency_bucket buckets[BENCH_LATENCY_BUCKETS];
        bench_stats_init(&stats);
        torc_histogram_record(&stats.direction[i % 2].clat, CASES[i].ns);
        bench_latency_buckets(&stats, buckets);
        for (int b = 0; b < BENCH_LATENCY_BUCKETS; b++) {
            bool here = buckets[b].unit == CASES[i].unit && !strcmp(buckets[b].name, CASES[i].name);
            if (buckets[b].percent != (here ? 100 : 0))
                TEST_FAIL("%" PRIu64 " ns: %s is %f %%", CASES[i].ns, buckets[b].name,
                          buckets[b].percent);
        }
    }
}

TEST(bench_stats, merging_adds_up)
{
    static struct bench_stats a, b;
    bench_stats_begin(&a, 0);
    bench_stats_begin(&b, 0);
    a.direction[BENCH_READ].ios = 10, a.direction[BENCH_READ].bytes = 1000;
    b.direction[BENCH_READ].ios = 30, b.direction[BENCH_READ].bytes = 3000;
    a.depth_levels[0] = 1, b.depth_levels[0] = 2;
    b.error = -5;
    torc_histogram_record(&a.sync, 10);
    torc_histogram_record(&b.sync, 30);
    bench_stats_end(&a, TORC_SEC / 10);
    bench_stats_end(&b, TORC_SEC / 5);
    bench_stats_merge(&a, &b);
    CHECK_EQ(a.jobs, 2);
    CHECK_EQ(a.error, -5);
    CHECK_EQ(a.direction[BENCH_READ].ios, 40);
    CHECK_EQ(a.direction[BENCH_READ].bytes, 4000);
    CHECK_EQ(a.direction[BENCH_READ].runtime_ns, TORC_SEC / 5);
    CHECK(a.direction[BENCH_READ].iops.mean == 250);
    CHECK_EQ(a.depth_levels[0], 3);
    CHECK_EQ(torc_histogram_count(&a.sync), 2);
}
