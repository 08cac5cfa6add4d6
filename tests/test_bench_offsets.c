/* SPDX-License-Identifier: MIT
 *
 * Where a workload goes: every block once, mixes in their proportion, bounds kept; and the map under it.
 */
#include <errno.h>

#include "apps/torc/offsets.h"
#include "tests/harness.h"

enum { KB = 1024 };

static struct bench_job job_of(bool reads, bool writes, bool random)
{
    return (struct bench_job){
        .block_bytes = {4 * KB, 4 * KB},
        .does = {reads, writes},
        .random = random,
        .mix_read = 50,
    };
}

TEST(bench_map, takes_each_block_once_and_nothing_else)
{
    static const uint64_t SIZES[] = {1,    2,    63,     64,     65,     127,     128,         4095,
                                     4096, 4097, 262144, 262145, 300000, 64 * 65, 64 * 64 * 65};
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        struct bench_map map;
        uint64_t count = SIZES[i], state = i;
        unsigned char *seen = calloc(count, 1);
        CHECK_EQ(bench_map_init(&map, count), 0);
        for (int round = 0; round < 2; round++) {
            for (uint64_t n = 0; n < count; n++) {
                CHECK_EQ(map.used, n);
                uint64_t block = bench_map_take(&map, bench_random(&state) % count);
                CHECK(block < count);
                CHECK_EQ(seen[block]++, round);
            }
            CHECK_EQ(map.used, count);
            bench_map_clear(&map);
        }
        bench_map_deinit(&map);
        free(seen);
    }
}

TEST(bench_map, prefers_the_block_asked_for_and_then_the_next)
{
    struct bench_map map;
    CHECK_EQ(bench_map_init(&map, 200), 0);
    CHECK_EQ(bench_map_take(&map, 70), 70);
    CHECK_EQ(bench_map_take(&map, 70), 71);
    CHECK_EQ(bench_map_take(&map, 199), 199);
    CHECK_EQ(bench_map_take(&map, 199), 0);
    for (uint64_t b = 1; b < 70; b++)
        CHECK_EQ(bench_map_take(&map, b), b);
    CHECK_EQ(bench_map_take(&map, 5), 72);
    bench_map_deinit(&map);
}

TEST(bench_offsets, sequential_wraps_at_the_end_of_whole_blocks)
{
    struct bench_job job = job_of(true, false, false);
    struct bench_span span = {.start = 8 * KB, .bytes = 10 * KB}; /* two blocks and a rest */
    struct bench_offsets o;
    static const uint64_t WANTED[] = {8, 12, 8, 12, 8};
    CHECK_EQ(bench_offsets_init(&o, &job, &span, 1, 1), 0);
    for (size_t i = 0; i < sizeof(WANTED) / sizeof(WANTED[0]); i++) {
        const struct bench_io *io = bench_offsets_next(&o);
        CHECK_EQ(io->offset, WANTED[i] * KB);
        CHECK_EQ(io->direction, BENCH_READ);
    }
    bench_offsets_rewind(&o);
    CHECK_EQ(bench_offsets_next(&o)->offset, 8 * KB);
    bench_offsets_deinit(&o);
}

TEST(bench_offsets, files_take_turns)
{
    struct bench_job job = job_of(false, true, false);
    struct bench_span spans[3] = {{0, 16 * KB}, {4 * KB, 16 * KB}, {8 * KB, 16 * KB}};
    struct bench_offsets o;
    CHECK_EQ(bench_offsets_init(&o, &job, spans, 3, 1), 0);
    for (unsigned i = 0; i < 12; i++) {
        const struct bench_io *io = bench_offsets_next(&o);
        CHECK_EQ(io->file, i % 3);
        CHECK_EQ(io->offset, (i % 3 + i / 3) * 4 * KB);
        CHECK_EQ(io->direction, BENCH_WRITE);
    }
    bench_offsets_deinit(&o);
}

static void check_coverage(struct bench_job job, bool repeats)
{
    enum { BLOCKS = 5000 };
    struct bench_span span = {.start = 4 * KB, .bytes = BLOCKS * 4 * KB + KB};
    struct bench_offsets o;
    unsigned char seen[BLOCKS] = {0};
    unsigned fresh = 0;
    CHECK_EQ(bench_offsets_init(&o, &job, &span, 1, 42), 0);
    for (unsigned i = 0; i < BLOCKS; i++) {
        const struct bench_io *io = bench_offsets_next(&o);
        CHECK_EQ((io->offset - span.start) % (4 * KB), 0);
        uint64_t block = (io->offset - span.start) / (4 * KB);
        CHECK(block < BLOCKS);
        fresh += !seen[block];
        seen[block] = 1;
    }
    /* Drawn with replacement 63 % of the blocks come up. */
    if (repeats)
        CHECK(fresh > BLOCKS * 6 / 10 && fresh < BLOCKS * 66 / 100);
    else
        CHECK_EQ(fresh, BLOCKS);
    bench_offsets_deinit(&o);
}

TEST(bench_offsets, random_visits_every_block_once)
{
    check_coverage(job_of(true, false, true), false);
    check_coverage(job_of(false, true, true), false);
}

TEST(bench_offsets, a_mix_shares_the_blocks)
{
    check_coverage(job_of(true, true, true), false);
}

TEST(bench_offsets, norandommap_repeats)
{
    struct bench_job job = job_of(true, false, true);
    job.no_random_map = true;
    check_coverage(job, true);
}

TEST(bench_offsets, after_all_blocks_a_new_round_begins)
{
    struct bench_job job = job_of(true, false, true);
    struct bench_span span = {0, 16 * KB};
    struct bench_offsets o;
    CHECK_EQ(bench_offsets_init(&o, &job, &span, 1, 7), 0);
    for (int round = 0; round < 50; round++) {
        unsigned seen = 0;
        for (int i = 0; i < 4; i++) {
            const struct bench_io *io = bench_offsets_next(&o);
            seen |= 1u << io->offset / (4 * KB);
        }
        CHECK_EQ(seen, 15);
    }
    bench_offsets_deinit(&o);
}

TEST(bench_offsets, each_direction_has_its_block_size)
{
    struct bench_job job = job_of(true, true, true);
    job.block_bytes[BENCH_WRITE] = 64 * KB;
    struct bench_span span = {0, 1024 * KB};
    struct bench_offsets o;
    unsigned seen[2][256] = {{0}}, count[2] = {0, 0};
    CHECK_EQ(bench_offsets_init(&o, &job, &span, 1, 7), 0);
    while (count[BENCH_READ] < 256 && count[BENCH_WRITE] < 16) {
        const struct bench_io *io = bench_offsets_next(&o);
        uint64_t block = job.block_bytes[io->direction];
        CHECK_EQ(io->offset % block, 0);
        CHECK(io->offset + block <= 1024 * KB);
        CHECK_EQ(seen[io->direction][io->offset / block]++, 0);
        count[io->direction]++;
    }
    bench_offsets_deinit(&o);
}

TEST(bench_offsets, a_mix_keeps_its_proportion)
{
    static const uint32_t MIXES[] = {0, 1, 30, 50, 70, 99, 100};
    enum { DRAWS = 200000 };
    for (size_t i = 0; i < sizeof(MIXES) / sizeof(MIXES[0]); i++) {
        struct bench_job job = job_of(true, true, false);
        job.mix_read = MIXES[i];
        struct bench_span span = {0, 64 * KB};
        struct bench_offsets o;
        unsigned reads = 0;
        CHECK_EQ(bench_offsets_init(&o, &job, &span, 1, i), 0);
        for (unsigned n = 0; n < DRAWS; n++) {
            const struct bench_io *io = bench_offsets_next(&o);
            reads += io->direction == BENCH_READ;
        }
        bench_offsets_deinit(&o);
        unsigned wanted = DRAWS / 100 * MIXES[i], off = DRAWS / 200;
        if (MIXES[i] == 0 || MIXES[i] == 100)
            off = 0;
        CHECK(reads + off >= wanted && reads <= wanted + off);
    }
}

TEST(bench_offsets, one_seed_is_one_sequence)
{
    struct bench_job job = job_of(true, true, true);
    struct bench_span span = {0, 4096 * KB};
    struct bench_offsets a, b, c;
    unsigned differ = 0;
    CHECK_EQ(bench_offsets_init(&a, &job, &span, 1, 5), 0);
    CHECK_EQ(bench_offsets_init(&b, &job, &span, 1, 5), 0);
    CHECK_EQ(bench_offsets_init(&c, &job, &span, 1, 6), 0);
    for (int i = 0; i < 1000; i++) {
        const struct bench_io *x = bench_offsets_next(&a), *y = bench_offsets_next(&b);
        CHECK(x->offset == y->offset && x->direction == y->direction);
        differ += x->offset != bench_offsets_next(&c)->offset;
    }
    CHECK(differ > 900);
    bench_offsets_deinit(&a);
    bench_offsets_deinit(&b);
    bench_offsets_deinit(&c);
}
