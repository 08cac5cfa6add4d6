/* SPDX-License-Identifier: MIT
 *
 * Every shard floods every other at the same time, with calls, calls within calls, and posts that post again, while there
 * are hardly any tasks: nothing waits in a circle, nothing is lost.
 */
#include <errno.h>

#include "tests/harness.h"
#include "torc.h"

enum { SHARDS_MAX = 64 };

/* Each shard's own, and a line for each. */
static struct tally {
    _Alignas(128) uint64_t posts_sent, posts_ran;
    uint64_t calls_made, calls_ran, refused;
} tally[SHARDS_MAX];

static struct tally *mine(void)
{
    return &tally[torc_shard_id()];
}

static uint32_t neighbour(uint32_t distance)
{
    return (torc_shard_id() + distance) % torc_shard_count();
}

/* The answer, or that there was no task, or that it is too late: of what posts have left over when the mains have ended. */
static void expect_answer(int result)
{
    mine()->calls_made += result == 3;
    mine()->refused += result != 3;
    CHECK(result == 3 || result == -EAGAIN || result == -ESHUTDOWN);
}

struct relay {
    uint32_t hops;
};

/* Runs for another shard, and posts or calls on. */
static int relay(void *arg)
{
    struct relay *given = arg;
    mine()->posts_ran++;
    if (!given->hops)
        return 0;
    struct relay next = {given->hops - 1};
    int err = torc_post_copy(neighbour(given->hops), relay, &next, sizeof next);
    CHECK(!err || err == -EAGAIN); /* the lane is stuck, and we run for another shard */
    mine()->posts_sent += !err;
    return 0;
}

static int count(void *arg)
{
    (void)arg;
    mine()->calls_ran++;
    return 3;
}

static int count_further(void *arg)
{
    uint32_t *hops = arg;
    mine()->calls_ran++;
    if ((*hops)--)
        expect_answer(torc_call(neighbour(*hops + 1), count_further, hops));
    return 3;
}

struct rounds {
    uint32_t count;
};

static int flood(void *arg)
{
    const struct rounds *rounds = arg;
    for (uint32_t i = 0; i < rounds->count; i++)
        for (uint32_t distance = 0; distance < torc_shard_count(); distance++) {
            struct relay post = {i % 3};
            CHECK_EQ(torc_post_copy(neighbour(distance), relay, &post, sizeof post), 0);
            mine()->posts_sent++;
            if (distance) {
                uint32_t hops = i % 4;
                expect_answer(torc_call(neighbour(distance), count_further, &hops));
                expect_answer(torc_call(neighbour(distance), count, NULL));
            }
        }
    return 0;
}

/* Three tasks a shard, which is what it may have for itself. */
static int flood_with_few_tasks(void *arg)
{
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(torc_spawn(&all, flood, arg), 0);
    return torc_scope_join(&all);
}

static void check_flood(uint32_t shards, uint32_t rounds)
{
    struct rounds arg = {rounds};
    memset(tally, 0, sizeof tally);
    const struct torc_config config = {
        .shards = shards, .tasks_max = 3, .keep_signals = true, .no_stall_report = true};
    CHECK_EQ(torc_run(&config, flood_with_few_tasks, &arg), 0);
    struct tally sum = {0};
    for (uint32_t i = 0; i < shards; i++) {
        sum.posts_sent += tally[i].posts_sent;
        sum.calls_made += tally[i].calls_made;
        sum.calls_ran += tally[i].calls_ran;
    }
    CHECK_EQ(sum.calls_ran, sum.calls_made);
    CHECK(sum.calls_ran > 0);
    /* posts of posts may come to a shard that is stopping; all others have run */
    uint64_t ran = 0;
    for (uint32_t i = 0; i < shards; i++)
        ran += tally[i].posts_ran;
    CHECK(ran <= sum.posts_sent);
    CHECK(ran >= (uint64_t)shards * 2 * rounds * shards);
}

TEST(flood, two_shards)
{
    check_flood(2, 2000);
}

TEST(flood, seven_shards)
{
    check_flood(7, 200);
}

TEST(flood, sixty_four_shards)
{
    check_flood(64, 5);
}

/* Posts that wait for tasks fill all lanes in both directions while every task that there is waits for an answer. */
static int call_next(void *arg)
{
    uint32_t hops = 8;
    expect_answer(torc_call(neighbour(1), count_further, &hops));
    (void)arg;
    return 0;
}

static int post_calls(void *arg)
{
    const struct rounds *rounds = arg;
    for (uint32_t i = 0; i < rounds->count; i++)
        for (uint32_t distance = 1; distance < torc_shard_count(); distance++)
            CHECK_EQ(torc_post(neighbour(distance), call_next, NULL), 0);
    return 0;
}

static void check_lanes_full_of_callers(uint32_t shards, uint32_t count_each)
{
    struct rounds arg = {count_each};
    memset(tally, 0, sizeof tally);
    const struct torc_config config = {
        .shards = shards, .tasks_max = 1, .keep_signals = true, .no_stall_report = true};
    CHECK_EQ(torc_run(&config, post_calls, &arg), 0);
    uint64_t ran = 0, made = 0, refused = 0;
    for (uint32_t i = 0; i < shards; i++) {
        ran += tally[i].calls_ran;
        made += tally[i].calls_made;
        refused += tally[i].refused;
    }
    CHECK(ran >= made);
    CHECK(made + refused >= (uint64_t)shards * (shards - 1) * count_each);
}

TEST(flood, lanes_full_of_posts_that_call)
{
    check_lanes_full_of_callers(2, 3000);
    check_lanes_full_of_callers(7, 500);
}
