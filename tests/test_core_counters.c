/* SPDX-License-Identifier: MIT
 *
 * The counters' table, the reading of it, and what core itself counts.
 */
#include <errno.h>
#include <pthread.h>

#include "core/counters_internal.h"
#include "core/random_internal.h"
#include "core/time.h"
#include "tests/core_host.h"

static uint64_t value_of(const char *name)
{
    int counter = torc_counter_find(NULL, name);
    CHECK(counter >= 0);
    return torc_counter_read(NULL, TORC_ALL_SHARDS, (uint32_t)counter);
}

TEST(counters, names_are_unique_and_every_line_says_something)
{
    uint32_t count = torc_counter_count(NULL);
    CHECK(count > 50);
    CHECK_EQ(torc_counter_shards(NULL), 0);
    CHECK(torc_counters() == NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct torc_counter_info *info = torc_counter_info(NULL, i);
        CHECK(info->name[0] && info->help[0]);
        CHECK(strchr(info->name, '_') != NULL);
        CHECK(memchr(info->name, 0, sizeof info->name) != NULL);
        CHECK(memchr(info->unit, 0, sizeof info->unit) != NULL);
        CHECK(memchr(info->help, 0, sizeof info->help) != NULL);
        CHECK_EQ(torc_counter_find(NULL, info->name), i);
        bool is_time =
            strlen(info->name) > 3 && !strcmp(info->name + strlen(info->name) - 3, "_ns");
        CHECK_EQ(is_time, !strcmp(info->unit, "ns"));
    }
    CHECK_EQ(torc_counter_find(NULL, "no_such"), -ENOENT);
}

/* The line of docs/counters.md that COUNTER must have. */
static void expected_line(const struct torc_counter_info *info, char *line, size_t size)
{
    static const char *const kinds[] = {"", "counter", "gauge", "histogram"};
    snprintf(line, size, "| `%s` | %s | %s | %s |\n", info->name, kinds[info->kind], info->unit,
             info->help);
}

/* Run from the top of the source tree, as tests/run.sh does. */
TEST(counters, document_has_them_all_in_their_order_and_no_other)
{
    FILE *document = fopen("docs/counters.md", "r");
    if (!document)
        TEST_SKIP("docs/counters.md is not here");
    char got[512], wanted[512];
    uint32_t counter = 0;
    while (fgets(got, sizeof got, document)) {
        if (strncmp(got, "| `", 3) != 0)
            continue;
        CHECK(counter < torc_counter_count(NULL));
        expected_line(torc_counter_info(NULL, counter++), wanted, sizeof wanted);
        CHECK_STR(got, wanted);
    }
    fclose(document);
    CHECK_EQ(counter, torc_counter_count(NULL));
}

TEST(counters, lines_cover_the_block_without_overlap)
{
    static unsigned char seen[sizeof(struct torci_counters)];
    for (uint32_t i = 0; i < torc_counter_count(NULL); i++) {
        const struct torc_counter_info *info = torc_counter_info(NULL, i);
        CHECK_EQ(info->words, info->kind == TORC_COUNTER_HISTOGRAM ? 1 + TORC_COUNTER_BUCKETS : 1);
        for (uint32_t at = info->offset; at < info->offset + 8 * info->words; at++) {
            CHECK(at < sizeof seen);
            CHECK_EQ(seen[at], 0);
            seen[at] = 1;
        }
    }
    CHECK(memchr(seen, 0, sizeof seen) == NULL);
}

TEST(counters, buckets_lie_side_by_side_and_are_an_eighth_off_at_most)
{
    CHECK_EQ(torc_counter_bucket_low(0), 0);
    for (uint32_t i = 0; i < TORC_COUNTER_BUCKETS; i++) {
        uint64_t low = torc_counter_bucket_low(i), next = torc_counter_bucket_low(i + 1);
        CHECK(low < next);
        CHECK_EQ(torci_counter_bucket(low), i);
        CHECK_EQ(torci_counter_bucket(next - 1), i);
        CHECK(next <= 64 || 4 * (next - low) <= low);
    }
    CHECK_EQ(torc_counter_bucket_low(TORC_COUNTER_BUCKETS), UINT64_C(1) << 35);
    CHECK_EQ(torci_counter_bucket(UINT64_MAX), TORC_COUNTER_BUCKETS - 1);
}

TEST(counters, size_classes_end_with_their_sizes)
{
    static const uint64_t last[] = {4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20};
    CHECK_EQ(torci_counter_size_class(0), 0);
    CHECK_EQ(torci_counter_size_class(1), 0);
    for (uint32_t i = 0; i < TORC_ARRAY_LENGTH(last); i++) {
        CHECK_EQ(torci_counter_size_class(last[i]), i);
        CHECK_EQ(torci_counter_size_class(last[i] + 1), i + 1);
    }
    CHECK_EQ(torci_counter_size_class(UINT64_MAX), TORCI_COUNTER_SIZES - 1);
}

TEST(counters, percentiles_and_intervals)
{
    static struct torci_counters blocks[3];
    struct torc_counter_set set;
    struct torc_counter_histogram before, after;
    torci_counter_set_init(&set, blocks, sizeof blocks[0], 3);
    uint32_t counter = (uint32_t)torc_counter_find(&set, "call_ns");
    torc_counter_read_histogram(&set, TORC_ALL_SHARDS, counter, &before);
    CHECK_EQ(before.count, 0);
    CHECK_EQ(torc_counter_percentile(&before, 50), 0);
    torci_count_ns(&blocks[0].call_ns, 1000000);
    torc_counter_read_histogram(&set, TORC_ALL_SHARDS, counter, &before);
    for (unsigned i = 0; i < 90; i++)
        torci_count_ns(&blocks[1].call_ns, 1000);
    for (unsigned i = 0; i < 10; i++)
        torci_count_ns(&blocks[2].call_ns, 50000);
    torc_counter_read_histogram(&set, 1, counter, &after);
    CHECK_EQ(after.count, 90);
    CHECK_EQ(after.sum_ns, 90000);
    torc_counter_read_histogram(&set, TORC_ALL_SHARDS, counter, &after);
    CHECK_EQ(after.count, 101);
    CHECK_EQ(torc_counter_read(&set, TORC_ALL_SHARDS, counter), 101);
    CHECK_EQ(torc_counter_read(&set, 2, counter), 10);
    torc_counter_histogram_subtract(&after, &before);
    CHECK_EQ(after.count, 100);
    CHECK_EQ(after.sum_ns, 590000);
    CHECK_EQ(torc_counter_percentile(&after, 0), 960); /* 896 to 1,024 */
    CHECK_EQ(torc_counter_percentile(&after, 90), 960);
    CHECK_EQ(torc_counter_percentile(&after, 91), 53248); /* 49,152 to 57,344 */
    CHECK_EQ(torc_counter_percentile(&after, 100), 53248);
}

static int yield_often(void *arg)
{
    for (unsigned i = 0; i < *(unsigned *)arg; i++)
        torc_yield();
    return 0;
}

static int count_switches(void *arg)
{
    (void)arg;
    uint64_t spawned = value_of("task_spawned"), before = value_of("task_switches");
    uint64_t turns = value_of("loop_turns");
    unsigned yields = 1000;
    struct torc_scope all;
    torc_scope_init(&all);
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(torc_spawn(&all, yield_often, &yields), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK_EQ(value_of("task_spawned"), spawned + 10);
    /* counted once a slice: of the slice that is going on nothing yet */
    struct torc_scope after;
    torc_scope_init(&after);
    torci_exec_end_slice(torci_this);
    torc_yield();
    CHECK_EQ(torc_scope_join(&after), 0);
    /* each task's begin and its yields, our join and our yield; and our first run, if not in "before" */
    uint64_t switches = value_of("task_switches") - before;
    CHECK(switches >= 10 * 1001 + 2 && switches <= 10 * 1001 + 3);
    CHECK(value_of("loop_turns") > turns);
    CHECK(value_of("loop_slice_ns") > 0);
    return 0;
}

TEST(counters, switches_are_counted_although_no_switch_counts)
{
    CHECK_EQ(core_host_run(count_switches, NULL), 0);
}

static int sleep_a_while(void *arg)
{
    (void)arg;
    return torc_sleep(TORC_US); /* so short that gauges are not due in between */
}

static struct {
    uint64_t live, armed;
} gauges;

static void watch_gauges(void)
{
    uint64_t live = value_of("task_live"), armed = value_of("timer_armed");
    gauges.live = live > gauges.live ? live : gauges.live;
    gauges.armed = armed > gauges.armed ? armed : gauges.armed;
}

static int sleep_together(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (unsigned i = 0; i < 5; i++)
        CHECK_EQ(torc_spawn(&all, sleep_a_while, NULL), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK_EQ(value_of("task_live"), 1);
    CHECK_EQ(torc_sleep(TORC_US), 0);
    CHECK_EQ(value_of("timer_armed"), 1); /* as before that sleep */
    return 0;
}

TEST(counters, gauges_are_shown_before_a_sleep)
{
    struct core_host host;
    core_host_init(&host);
    host.on_turn = watch_gauges;
    CHECK_EQ(core_host_run_on(&host, &(struct torci_exec_config){0}, sleep_together, NULL), 0);
    CHECK_EQ(gauges.live, 6);
    CHECK_EQ(gauges.armed, 5);
}

/* ---- readers beside the writer ---- */

enum { SAMPLES = 200000 };
static struct torci_counters shared;

static void *read_along(void *arg)
{
    struct torc_counter_set *set = arg;
    uint32_t sum = (uint32_t)torc_counter_find(set, "call_made");
    uint32_t histogram = (uint32_t)torc_counter_find(set, "call_ns");
    uint64_t last = 0;
    while (last < SAMPLES) {
        struct torc_counter_histogram copy;
        uint64_t now = torc_counter_read(set, 0, sum);
        CHECK(now >= last);
        last = now;
        torc_counter_read_histogram(set, 0, histogram, &copy);
        CHECK(copy.count <= SAMPLES);
    }
    return NULL;
}

TEST(counters, reader_in_another_thread_sees_them_grow)
{
    struct torc_counter_set set;
    pthread_t thread;
    torci_counter_set_init(&set, &shared, sizeof shared, 1);
    CHECK_EQ(pthread_create(&thread, NULL, read_along, &set), 0);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        torci_count_ns(&shared.call_ns, i);
        torci_count(&shared.call_made);
    }
    pthread_join(thread, NULL);
    CHECK_EQ(torc_counter_read(&set, 0, (uint32_t)torc_counter_find(&set, "call_ns")), SAMPLES);
}

/* ---- a file's memory ---- */

static struct image {
    struct torc_counter_file file;
    struct torc_counter_info infos[2];
    uint64_t blocks[2][8];
} image;

static void make_image(void)
{
    memset(&image, 0, sizeof image);
    image.file = (struct torc_counter_file){
        .magic = TORC_COUNTER_FILE_MAGIC,
        .byte_order = TORC_COUNTER_FILE_BYTE_ORDER,
        .version = TORC_COUNTER_FILE_VERSION,
        .file_bytes = sizeof image,
        .header_bytes = sizeof image.file,
        .info_bytes = sizeof image.infos[0],
        .info_count = 2,
        .shard_count = 2,
        .info_offset = offsetof(struct image, infos),
        .block_offset = offsetof(struct image, blocks),
        .block_stride = sizeof image.blocks[0],
        .pid = 1,
        .ready = 1,
        .program = "made up",
    };
    image.infos[0] = (struct torc_counter_info){
        .name = "new_thing", .help = "from a later version", .kind = 77, .offset = 56, .words = 1};
    image.infos[1] = (struct torc_counter_info){.name = "short_ns",
                                                .unit = "ns",
                                                .help = "fewer buckets than ours",
                                                .kind = TORC_COUNTER_HISTOGRAM,
                                                .offset = 8,
                                                .words = 4};
    image.blocks[0][7] = 5;
    image.blocks[1][7] = 6;
    image.blocks[1][1] = 100;
    image.blocks[1][3] = 2;
}

TEST(counters, attach_reads_what_another_version_wrote)
{
    struct torc_counter_set set;
    struct torc_counter_histogram histogram;
    make_image();
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image), 0);
    CHECK_EQ(torc_counter_count(&set), 2);
    CHECK_EQ(torc_counter_shards(&set), 2);
    CHECK_EQ(torc_counter_find(&set, "new_thing"), 0);
    CHECK_EQ(torc_counter_read(&set, 0, 0), 5);
    CHECK_EQ(torc_counter_read(&set, TORC_ALL_SHARDS, 0), 11);
    CHECK_EQ(torc_counter_read(&set, 1, 1), 2);
    torc_counter_read_histogram(&set, 1, 1, &histogram);
    CHECK_EQ(histogram.sum_ns, 100);
    CHECK_EQ(histogram.buckets[1], 2);
    torc_counter_read_histogram(&set, 1, 0, &histogram);
    CHECK_EQ(histogram.count, 0);
}

/* Each field of the image once damaged: REFUSED is what attach must say. */
#define CHECK_REFUSED(lvalue, bad, wanted) \
    do { \
        make_image(); \
        (lvalue) = (bad); \
        CHECK_EQ(torc_counters_attach(&set, &image, sizeof image), (wanted)); \
    } while (0)

TEST(counters, attach_believes_nothing)
{
    struct torc_counter_set set;
    make_image();
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image.file - 1), -EPROTO);
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image - 1), -EPROTO);
    CHECK_EQ(torc_counters_attach(&set, (char *)&image + 4, sizeof image - 4), -EPROTO);
    CHECK_REFUSED(image.file.ready, 0, -EAGAIN);
    CHECK_REFUSED(image.file.magic[0], 'x', -EPROTO);
    CHECK_REFUSED(image.file.byte_order, 0x04030201, -EPROTONOSUPPORT);
    CHECK_REFUSED(image.file.version, 2, -EPROTONOSUPPORT);
    CHECK_REFUSED(image.file.header_bytes, sizeof image.file - 8, -EPROTO);
    CHECK_REFUSED(image.file.info_bytes, sizeof image.infos[0] - 8, -EPROTO);
    CHECK_REFUSED(image.file.info_count, UINT32_MAX, -EPROTO);
    CHECK_REFUSED(image.file.shard_count, 0, -EPROTO);
    CHECK_REFUSED(image.file.shard_count, UINT32_MAX, -EPROTO);
    CHECK_REFUSED(image.file.info_offset, UINT64_MAX - 7, -EPROTO);
    CHECK_REFUSED(image.file.info_offset, image.file.info_offset + 4, -EPROTO);
    CHECK_REFUSED(image.file.block_offset, image.file.block_offset + 8, -EPROTO);
    CHECK_REFUSED(image.file.block_stride, UINT64_C(1) << 62, -EPROTO);
    CHECK_REFUSED(image.infos[1].words, 8, -EPROTO);
    CHECK_REFUSED(image.infos[1].words, 0, -EPROTO);
    CHECK_REFUSED(image.infos[0].offset, 64, -EPROTO);
    CHECK_REFUSED(image.infos[0].offset, 60, -EPROTO);
    CHECK_REFUSED(image.infos[0].name[0], 0, -EPROTO);
    make_image();
    image.file.shard_count = 1;
    image.file.block_stride += 4; /* which there is room for */
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image), -EPROTO);
    make_image();
    memset(image.infos[0].help, 'x', sizeof image.infos[0].help);
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image), -EPROTO);
    make_image();
    memset(image.file.program, 'x', sizeof image.file.program);
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image), -EPROTO);
    make_image();
    CHECK_EQ(torc_counters_attach(&set, &image, sizeof image), 0);
}
