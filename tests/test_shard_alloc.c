/* SPDX-License-Identifier: MIT
 *
 * The allocator of a shard: sizes, reuse, exhaustion, broken contracts, and its own books against a model's.
 */
#include "shard/alloc_internal.h"

#include <signal.h>

#include "core/random_internal.h"
#include "core/time.h"
#include "shard/run.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;
static struct torci_arena_set *set;
static struct torci_arena *arena;
static struct torci_alloc alloc;

static void begin(uint64_t arena_bytes)
{
    fault_kernel_init(&fault);
    CHECK_EQ(torci_arena_set_create(&fault.kernel,
                                    &(struct torci_arena_options){.arena_bytes = arena_bytes,
                                                                  .hugepages = TORC_HUGEPAGES_NONE},
                                    1, &set),
             0);
    CHECK_EQ(torci_arena_open(set, 0, -1, &arena), 0);
    CHECK_EQ(torci_alloc_init(&alloc, arena), 0);
}

static void end(void)
{
    CHECK(torci_alloc_check(&alloc));
    CHECK(torci_arena_check(arena));
    torci_alloc_deinit(&alloc);
    torci_arena_set_destroy(set);
    fault_kernel_check_clean(&fault);
}

static const uint64_t large_arena = (uint64_t)1 << 30;

/* ---- sizes ---- */

TEST(alloc, classes_hold_what_they_say_and_waste_an_eighth_at_most)
{
    for (size_t size = 0; size <= TORC_ALLOC_CLASS_BYTES_MAX; size++) {
        unsigned size_class = torci_alloc_class_of(size);
        CHECK(size_class < TORC_ALLOC_CLASSES);
        uint32_t bytes = torci_alloc_class_bytes(size_class);
        CHECK(bytes >= size && bytes % 16 == 0);
        if (size_class)
            CHECK(torci_alloc_class_bytes(size_class - 1) < size);
        if (size > 128)
            CHECK((bytes - size) * 8 <= bytes);
    }
    CHECK_EQ(torci_alloc_class_of(TORC_ALLOC_CLASS_BYTES_MAX), TORC_ALLOC_CLASSES - 1);
}

TEST(alloc, every_size_is_aligned_and_its_own)
{
    static unsigned char *blocks[3000];
    begin(large_arena);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++) {
        size_t size = i < 2000 ? i : (i - 2000) * 577;
        blocks[i] = torci_alloc_get(&alloc, size);
        CHECK(blocks[i] != NULL);
        CHECK_EQ((uintptr_t)blocks[i] % 16, 0);
        if (size % 64 == 0 && size)
            CHECK_EQ((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], (int)(i % 251), size);
    }
    CHECK(torci_alloc_check(&alloc));
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++) {
        size_t size = i < 2000 ? i : (i - 2000) * 577;
        for (size_t k = 0; k < size; k += size / 5 + 1)
            CHECK_EQ(blocks[i][k], i % 251);
        torci_alloc_put(&alloc, blocks[i]);
    }
    end();
}

TEST(alloc, large_objects_are_of_whole_units)
{
    struct torc_alloc_stats stats;
    begin(large_arena);
    char *first = torci_alloc_get(&alloc, TORC_ALLOC_CLASS_BYTES_MAX + 1);
    char *second = torci_alloc_get(&alloc, 10 << 20);
    CHECK(first && second);
    memset(first, 1, TORC_ALLOC_CLASS_BYTES_MAX + 1);
    memset(second, 2, 10 << 20);
    torci_alloc_stats_get(&alloc, &stats);
    CHECK_EQ(stats.large_blocks, 2);
    CHECK_EQ(stats.large_bytes, 5 * (64 << 10) + (10 << 20));
    CHECK_EQ(stats.live_blocks, 2);
    torci_alloc_put(&alloc, first);
    torci_alloc_put(&alloc, second);
    torci_alloc_stats_get(&alloc, &stats);
    CHECK_EQ(stats.live_bytes, 0);
    CHECK_EQ(arena->used_bytes[TORC_ARENA_SLABS], 0);
    end();
}

/* ---- reuse ---- */

TEST(alloc, what_was_freed_last_comes_first)
{
    begin(large_arena);
    void *first = torci_alloc_get(&alloc, 100), *second = torci_alloc_get(&alloc, 100);
    torci_alloc_put(&alloc, first);
    torci_alloc_put(&alloc, second);
    CHECK(torci_alloc_get(&alloc, 97) == second);
    CHECK(torci_alloc_get(&alloc, 112) == first);
    CHECK(torci_alloc_get(&alloc, 113) != NULL); /* another class */
    end();
}

TEST(alloc, slabs_go_back_when_they_are_empty)
{
    static void *blocks[20000];
    struct torc_alloc_stats stats;
    begin(large_arena);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++)
            CHECK((blocks[i] = torci_alloc_get(&alloc, 1000)) != NULL);
        torci_alloc_stats_get(&alloc, &stats);
        CHECK_EQ(stats.live_blocks, TORC_ARRAY_LENGTH(blocks));
        CHECK_EQ(stats.live_bytes, TORC_ARRAY_LENGTH(blocks) * 1024);
        CHECK(stats.slab_bytes >= stats.live_bytes);
        CHECK(stats.slab_bytes < stats.live_bytes * 9 / 8);
        for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++)
            torci_alloc_put(&alloc, blocks[i * 7919 % TORC_ARRAY_LENGTH(blocks)]);
        torci_alloc_stats_get(&alloc, &stats);
        CHECK_EQ(stats.live_blocks, 0);
        CHECK_EQ(stats.slabs, 1); /* the one in use */
        CHECK(torci_alloc_check(&alloc));
        CHECK(arena->used_bytes[TORC_ARENA_SLABS] <= 2 * TORCI_ARENA_UNIT); /* and the kept one */
    }
    end();
}

TEST(alloc, a_slab_serves_another_class_after_it_was_empty)
{
    static void *blocks[5000];
    begin(large_arena);
    for (size_t size = 16; size <= 4096; size *= 2) {
        for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++) {
            CHECK((blocks[i] = torci_alloc_get(&alloc, size)) != NULL);
            memset(blocks[i], 0xee, size);
        }
        for (size_t i = TORC_ARRAY_LENGTH(blocks); i-- > 0;)
            torci_alloc_put(&alloc, blocks[i]);
    }
    /* one current slab a class and the kept one, of a unit each */
    CHECK(arena->used_bytes[TORC_ARENA_SLABS] <= 10 * TORCI_ARENA_UNIT);
    end();
}

static void random_walk(uint64_t seed)
{
    enum { HELD = 2000 };
    static struct {
        unsigned char *block;
        size_t size;
        unsigned char mark;
    } held[HELD];
    struct torci_random random;
    uint64_t blocks = 0;
    begin(large_arena);
    memset(held, 0, sizeof held);
    torci_random_seed(&random, seed);
    for (unsigned round = 0; round < 100000; round++) {
        unsigned i = (unsigned)torci_random_below(&random, HELD);
        if (held[i].block) {
            if (held[i].size)
                CHECK(held[i].block[0] == held[i].mark &&
                      held[i].block[held[i].size - 1] == held[i].mark);
            torci_alloc_put(&alloc, held[i].block);
            held[i].block = NULL;
            blocks--;
        } else {
            held[i].size =
                torci_random_below(&random, UINT64_C(1) << torci_random_below(&random, 20));
            held[i].block = torci_alloc_get(&alloc, held[i].size);
            held[i].mark = (unsigned char)round;
            CHECK(held[i].block != NULL);
            if (held[i].size)
                held[i].block[0] = held[i].block[held[i].size - 1] = held[i].mark;
            blocks++;
        }
        if (round % 10000 == 0) {
            struct torc_alloc_stats stats;
            torci_alloc_stats_get(&alloc, &stats);
            CHECK_EQ(stats.live_blocks, blocks);
            CHECK(torci_alloc_check(&alloc));
            CHECK(torci_arena_check(arena));
        }
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i].block)
            torci_alloc_put(&alloc, held[i].block);
    end();
}
TEST(alloc, agrees_with_a_model)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        random_walk(seed);
}

/* ---- exhaustion ---- */

TEST(alloc, exhaustion_is_null_and_passes)
{
    static void *blocks[40000];
    struct torc_alloc_stats stats;
    size_t count = 0;
    begin(16 << 20);
    while (count < TORC_ARRAY_LENGTH(blocks) && (blocks[count] = torci_alloc_get(&alloc, 256)))
        count++;
    CHECK(count < TORC_ARRAY_LENGTH(blocks));
    CHECK(count > 8 << 20 >> 9);
    CHECK(torci_alloc_get(&alloc, 1 << 20) == NULL);
    CHECK(torci_alloc_get(&alloc, SIZE_MAX) == NULL);
    torci_alloc_stats_get(&alloc, &stats);
    CHECK_EQ(stats.failed, 3);
    CHECK(torci_alloc_check(&alloc));
    torci_alloc_put(&alloc, blocks[--count]);
    CHECK(torci_alloc_get(&alloc, 256) == blocks[count]);
    torci_alloc_put(&alloc, blocks[count]);
    while (count)
        torci_alloc_put(&alloc, blocks[--count]);
    CHECK(torci_alloc_get(&alloc, 1 << 20) != NULL);
    end();
}

/* ---- broken contracts ---- */

TEST_DYING(alloc, freeing_twice_is_fatal, SIGABRT)
{
    begin(large_arena);
    void *block = torci_alloc_get(&alloc, 64);
    CHECK(torci_alloc_get(&alloc, 64) != NULL);
    torci_alloc_put(&alloc, block);
    torci_alloc_put(&alloc, block);
}

TEST_DYING(alloc, freeing_twice_with_others_between_is_fatal, SIGABRT)
{
    void *blocks[100];
    begin(large_arena);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++)
        blocks[i] = torci_alloc_get(&alloc, 64);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++)
        torci_alloc_put(&alloc, blocks[i]);
    torci_alloc_put(&alloc, blocks[50]);
}

TEST_DYING(alloc, freeing_a_large_object_twice_is_fatal, SIGABRT)
{
    begin(large_arena);
    void *block = torci_alloc_get(&alloc, 1 << 20);
    torci_alloc_put(&alloc, block);
    torci_alloc_put(&alloc, block);
}

TEST_DYING(alloc, freeing_into_a_slab_that_is_gone_is_fatal, SIGABRT)
{
    static char *blocks[3000];
    begin(large_arena);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++)
        blocks[i] = torci_alloc_get(&alloc, 1024);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(blocks); i++)
        torci_alloc_put(&alloc, blocks[i]);
    torci_alloc_put(&alloc, blocks[1500]);
}

TEST_DYING(alloc, freeing_what_is_not_ours_is_fatal, SIGABRT)
{
    begin(large_arena);
    torci_alloc_put(&alloc, torci_arena_map(arena, TORC_ARENA_DMA, 4096));
}

TEST_DYING(alloc, freeing_a_stack_is_fatal, SIGABRT)
{
    begin(large_arena);
    torci_alloc_put(&alloc, torci_arena_map(arena, TORC_ARENA_STACKS, 4096));
}

TEST(alloc, no_memory_for_its_table_is_an_error)
{
    begin(large_arena);
    torci_alloc_deinit(&alloc);
    fault.fail_kinds = FAULT_MAP;
    fault.fail_nth = 0;
    fault.fail_after = true;
    CHECK(torci_arena_map(arena, TORC_ARENA_OTHER, 256 << 20) == NULL);
    while (torci_arena_map(arena, TORC_ARENA_OTHER, 1)) {
    }
    CHECK_EQ(torci_alloc_init(&alloc, arena), -ENOMEM);
    torci_alloc_deinit(&alloc);
    torci_arena_set_destroy(set);
    fault_kernel_check_clean(&fault);
}

/* ---- as users see it ---- */

static int one_shard(void *arg)
{
    struct torc_alloc_stats stats;
    struct torc_arena_stats arena_stats;
    (void)arg;
    torc_free(NULL);
    char *small = torc_alloc(100), *large = torc_alloc(1 << 20);
    CHECK(small && large);
    CHECK_EQ(torc_alloc_size(small), 112);
    CHECK_EQ(torc_alloc_size(large), 1 << 20);
    torc_alloc_stats_get(&stats);
    CHECK_EQ(stats.live_blocks, 2);
    CHECK_EQ(stats.live_bytes, 112 + (1 << 20));
    torc_arena_stats_get(&arena_stats);
    CHECK(arena_stats.uses[TORC_ARENA_STACKS].bytes > 0);
    CHECK(arena_stats.uses[TORC_ARENA_LANES].bytes > 0);
    CHECK_EQ(arena_stats.uses[TORC_ARENA_SLABS].bytes, (1 << 20) + TORCI_ARENA_UNIT);
    CHECK(arena_stats.pages != TORC_HUGEPAGES_AUTO);
    if (!arena_stats.sample_error)
        CHECK(arena_stats.uses[TORC_ARENA_STACKS].pages_sampled > 0);
    torc_free(small);
    torc_free(large);
    torc_alloc_stats_get(&stats);
    CHECK_EQ(stats.live_blocks, 0);
    return 0;
}
TEST(alloc, users_allocate_from_their_shard)
{
    CHECK_EQ(run_shard(NULL, one_shard, NULL), 0);
}

enum { SHARDS = 3, EACH = 5000 };
static struct {
    void *blocks[EACH];
    uint32_t filled; /* atomic */
} tables[SHARDS];

static size_t size_of(size_t i)
{
    return i % 1000 == 7 ? (size_t)300 << 10 : i * 37 % 3000;
}

/* Frees what the shard before has allocated, and waits until its own have come home. */
static int free_the_neighbours(void *arg)
{
    uint32_t self = torc_shard_id(), other = (self + 1) % SHARDS;
    struct torc_alloc_stats stats;
    (void)arg;
    for (size_t i = 0; i < EACH; i++) {
        unsigned char *block = torc_alloc(size_of(i));
        CHECK(block != NULL);
        memset(block, (int)self, size_of(i));
        tables[self].blocks[i] = block;
    }
    /* RELEASE pairs with the ACQUIRE below: the table and the blocks are written */
    __atomic_store_n(&tables[self].filled, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&tables[other].filled, __ATOMIC_ACQUIRE))
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
    for (size_t i = 0; i < EACH; i++) {
        unsigned char *block = tables[other].blocks[i];
        size_t size = size_of(i);
        CHECK(!size || (block[0] == other && block[size - 1] == other));
        CHECK(torc_alloc_size(block) >= size);
        torc_free(block);
    }
    do {
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        torc_alloc_stats_get(&stats);
    } while (stats.remote_received < EACH);
    CHECK_EQ(stats.remote_sent, EACH);
    CHECK(stats.remote_batches >= EACH / 64);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_EQ(stats.large_bytes, 0);
    return 0;
}
TEST(alloc, what_another_shard_frees_comes_home)
{
    CHECK_EQ(torc_run(&(struct torc_config){.shards = SHARDS}, free_the_neighbours, NULL), 0);
}

/* More batches on the way than a lane has slots: they wait, and nothing is lost. */
enum { FLOOD = 60000 };
static void *flood[FLOOD];
static uint32_t flood_filled, flood_freed;
static int flood_home(void *arg)
{
    struct torc_alloc_stats stats;
    (void)arg;
    if (torc_shard_id()) {
        while (!__atomic_load_n(&flood_filled, __ATOMIC_ACQUIRE))
            CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        for (size_t i = 0; i < FLOOD; i++)
            torc_free(flood[i]);
        __atomic_store_n(&flood_freed, 1, __ATOMIC_RELEASE);
        return 0;
    }
    for (size_t i = 0; i < FLOOD; i++)
        CHECK((flood[i] = torc_alloc(48)) != NULL);
    __atomic_store_n(&flood_filled, 1, __ATOMIC_RELEASE); /* pairs with the loop above */
    while (!__atomic_load_n(&flood_freed, __ATOMIC_ACQUIRE)) {
        /* takes nothing meanwhile, so that the lane fills up */
    }
    do {
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        torc_alloc_stats_get(&stats);
    } while (stats.remote_received < FLOOD);
    CHECK_EQ(stats.live_blocks, 0);
    return 0;
}
TEST(alloc, more_returns_than_a_lane_holds_wait_and_are_not_lost)
{
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 2}, flood_home, NULL), 0);
}

/* A few blocks, less than a batch, by a shard that has nothing more to do. */
static int frees_and_sleeps(void *arg)
{
    struct torc_alloc_stats stats;
    (void)arg;
    if (torc_shard_id()) {
        while (!__atomic_load_n(&flood_filled, __ATOMIC_ACQUIRE))
            CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        for (size_t i = 0; i < 3; i++)
            torc_free(flood[i]);
        CHECK_EQ(torc_sleep(600 * TORC_SEC), -ECANCELED);
        return 0;
    }
    for (size_t i = 0; i < 3; i++)
        flood[i] = torc_alloc(48);
    __atomic_store_n(&flood_filled, 1, __ATOMIC_RELEASE); /* pairs with the loop above */
    do {
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        torc_alloc_stats_get(&stats);
    } while (stats.remote_received < 3);
    torc_shutdown();
    return 0;
}
TEST(alloc, a_few_blocks_go_home_before_the_shard_sleeps)
{
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 2}, frees_and_sleeps, NULL), 0);
}

static int frees_a_foreign_block_twice(void *arg)
{
    (void)arg;
    if (!torc_shard_id()) {
        flood[0] = torc_alloc(100);
        __atomic_store_n(&flood_filled, 1, __ATOMIC_RELEASE);
        return torc_sleep(60 * TORC_SEC);
    }
    while (!__atomic_load_n(&flood_filled, __ATOMIC_ACQUIRE))
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
    torc_free(flood[0]);
    torc_free(flood[0]);
    return 0;
}
TEST_DYING(alloc, freeing_a_foreign_block_twice_is_fatal, SIGABRT)
{
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 2}, frees_a_foreign_block_twice, NULL), 0);
}

static int frees_what_is_nobodys(void *arg)
{
    (void)arg;
    torc_free(flood);
    return 0;
}
TEST_DYING(alloc, freeing_what_is_in_no_arena_is_fatal, SIGABRT)
{
    CHECK_EQ(run_shard(NULL, frees_what_is_nobodys, NULL), 0);
}

TEST_DYING(alloc, threads_that_are_no_shard_may_not_free, SIGABRT)
{
    torc_free(flood);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static long no_huge_pages(void *context, long number, const long arguments[6])
{
    return number == SYS_madvise && arguments[2] == 23 /* populate */
               ? -EFAULT
               : fault_call(context, number, arguments);
}
TEST(alloc, a_start_without_the_reserved_pages_is_one_line)
{
    fault_kernel_init(&fault);
    fault.kernel.call = no_huge_pages;
    struct torc_config config = {
        .kernel = &fault.kernel, .shards = 2, .hugepages = TORC_HUGEPAGES_RESERVED};
    CHECK_EQ(torc_run(&config, nothing, NULL), -ENOMEM);
    CHECK(fault_kernel_said(&fault, "huge pages"));
    fault_kernel_check_clean(&fault);
    config.hugepages = TORC_HUGEPAGES_AUTO;
    config.arena_bytes = 1;
    CHECK_EQ(torc_run(&config, nothing, NULL), -EINVAL);
    CHECK(fault_kernel_said(&fault, "torc_config.arena_bytes"));
    fault_kernel_check_clean(&fault);
    config.arena_bytes = (uint64_t)16 << 40; /* of 64, more than there are addresses */
    config.shards = 64;
    CHECK_EQ(torc_run(&config, nothing, NULL), -ENOMEM);
    CHECK(fault_kernel_said(&fault, "no address space for 64 arenas"));
    fault_kernel_check_clean(&fault);
}
