/* SPDX-License-Identifier: MIT
 *
 * How torc proxy chooses backends: in turn, the least busy, and never one that is left out while there is another. Time
 * is made up.
 */
#include <errno.h>

#include "apps/torc/proxy.h"
#include "tests/harness.h"

enum { OUT_NS = 1000 };

static struct proxy_spec spec;
static struct proxy_shard shard;

static void setup(unsigned backends, enum proxy_balance balance)
{
    spec = (struct proxy_spec){
        .to_count = backends, .balance = balance, .eject_after = 3, .eject_ns = OUT_NS};
    memset(&shard, 0, sizeof shard);
    shard.spec = &spec;
}

static int choose(uint64_t now_ns)
{
    struct proxy_tried tried = {0};
    return proxy_choose(&shard, &tried, now_ns);
}

static int serve(uint64_t now_ns)
{
    int index = choose(now_ns);
    proxy_connected(&shard, index);
    return index;
}

static void refuse(int index, int times, uint64_t now_ns)
{
    for (int i = 0; i < times; i++) {
        shard.backends[index].counts.active++;
        proxy_refused(&shard, index, now_ns);
    }
}

TEST(proxy_balance, everybody_has_a_turn)
{
    setup(3, PROXY_ROUND_ROBIN);
    for (int i = 0; i < 9; i++)
        CHECK_EQ(serve(1), i % 3);
    CHECK_EQ(shard.backends[0].counts.active, 3);
    CHECK_EQ(shard.backends[0].counts.connections, 3);
}

TEST(proxy_balance, each_is_tried_once_for_a_connection)
{
    setup(3, PROXY_ROUND_ROBIN);
    struct proxy_tried tried = {0};
    for (int i = 0; i < 3; i++)
        CHECK_EQ(proxy_choose(&shard, &tried, 1), i);
    CHECK_EQ(proxy_choose(&shard, &tried, 1), -ENOENT);
}

TEST(proxy_balance, the_most_backends_fit_the_map)
{
    setup(PROXY_BACKENDS_MAX, PROXY_ROUND_ROBIN);
    struct proxy_tried tried = {0};
    for (int i = 0; i < PROXY_BACKENDS_MAX; i++)
        CHECK_EQ(proxy_choose(&shard, &tried, 1), i);
    CHECK_EQ(proxy_choose(&shard, &tried, 1), -ENOENT);
}

TEST(proxy_balance, the_least_busy_is_next_and_equals_take_turns)
{
    setup(3, PROXY_LEAST_CONNECTIONS);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(serve(1), i % 3);
    proxy_ended(&shard, 1, false, true, 1);
    proxy_ended(&shard, 1, false, true, 1);
    proxy_ended(&shard, 2, false, true, 1);
    CHECK_EQ(serve(1), 1);
    CHECK_EQ(serve(1), 2);
    CHECK_EQ(serve(1), 1);
}

TEST(proxy_balance, who_is_being_connected_to_counts_as_busy)
{
    setup(2, PROXY_LEAST_CONNECTIONS);
    CHECK_EQ(choose(1), 0);
    CHECK_EQ(choose(1), 1);
    proxy_refused(&shard, 1, 1);
    CHECK_EQ(choose(1), 1);
}

TEST(proxy_balance, failures_in_a_row_leave_a_backend_out)
{
    setup(2, PROXY_ROUND_ROBIN);
    refuse(0, 2, 1);
    proxy_connected(&shard, 0);
    refuse(0, 2, 1);
    CHECK_EQ(shard.backends[0].counts.ejections, 0);
    refuse(0, 1, 1);
    CHECK_EQ(shard.backends[0].counts.ejections, 1);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(serve(OUT_NS), 1);
}

TEST(proxy_balance, ejection_can_be_switched_off)
{
    setup(2, PROXY_ROUND_ROBIN);
    spec.eject_after = 0;
    refuse(0, 1000, 1);
    CHECK_EQ(shard.backends[0].counts.ejections, 0);
    CHECK_EQ(serve(1), 0);
}

TEST(proxy_balance, one_connection_tries_whether_a_backend_is_back)
{
    setup(2, PROXY_ROUND_ROBIN);
    refuse(0, 3, 1);
    shard.next = 0;
    CHECK_EQ(choose(1 + OUT_NS), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(serve(1 + OUT_NS), 1); /* the trial is under way */
    proxy_connected(&shard, 0);
    CHECK_EQ(serve(1 + OUT_NS), 0);
    CHECK_EQ(serve(1 + OUT_NS), 1);
}

TEST(proxy_balance, a_failed_trial_doubles_the_time_up_to_a_limit)
{
    setup(2, PROXY_ROUND_ROBIN);
    uint64_t now = 1, out = OUT_NS;
    refuse(0, 3, now);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(shard.backends[0].out_until_ns - now, out);
        shard.next = 0;
        CHECK_EQ(choose(now + out - 1), 1);
        now += out;
        shard.next = 0;
        CHECK_EQ(choose(now), 0);
        proxy_refused(&shard, 0, now);
        if (i < PROXY_OUT_DOUBLINGS_MAX)
            out *= 2;
    }
    CHECK_EQ(out, OUT_NS << PROXY_OUT_DOUBLINGS_MAX);
}

TEST(proxy_balance, a_long_time_without_failures_is_forgiven)
{
    setup(2, PROXY_ROUND_ROBIN);
    refuse(0, 3, 1);
    shard.next = 0;
    uint64_t back = 1 + OUT_NS;
    CHECK_EQ(serve(back), 0);
    refuse(0, 3, back + OUT_NS / 2); /* soon after */
    CHECK_EQ(shard.backends[0].out_ns, 2 * OUT_NS);
    back += OUT_NS / 2 + 2 * OUT_NS;
    shard.next = 0;
    CHECK_EQ(serve(back), 0);
    refuse(0, 3, back + 2 * OUT_NS); /* as long as it was out */
    CHECK_EQ(shard.backends[0].out_ns, OUT_NS);
}

TEST(proxy_balance, a_trial_that_was_given_up_can_be_repeated)
{
    setup(2, PROXY_ROUND_ROBIN);
    refuse(0, 3, 1);
    for (int i = 0; i < 3; i++) {
        shard.next = 0;
        CHECK_EQ(choose(1 + OUT_NS), 0);
        proxy_gave_up(&shard, 0);
    }
    CHECK_EQ(shard.backends[0].counts.active, 0);
    CHECK_EQ(shard.backends[0].counts.ejections, 1);
}

TEST(proxy_balance, when_all_are_left_out_the_one_that_is_back_first_is_tried)
{
    setup(3, PROXY_ROUND_ROBIN);
    refuse(0, 3, 30);
    refuse(1, 3, 10);
    refuse(2, 3, 20);
    struct proxy_tried tried = {0};
    CHECK_EQ(proxy_choose(&shard, &tried, 40), 1);
    CHECK_EQ(proxy_choose(&shard, &tried, 40), 2);
    proxy_refused(&shard, 1, 40);
    CHECK_EQ(shard.backends[1].counts.ejections, 1); /* its time was not up: nothing new is known */
    CHECK_EQ(proxy_choose(&shard, &tried, 40), 0);
    proxy_connected(&shard, 0);
    CHECK_EQ(serve(41), 0);
    CHECK_EQ(serve(41), 0);
}

TEST(proxy_balance, who_accepts_and_breaks_before_a_byte_is_left_out_too)
{
    setup(2, PROXY_ROUND_ROBIN);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(serve(1), 0);
        proxy_ended(&shard, 0, true, false, 1);
        shard.next = 0;
    }
    CHECK_EQ(serve(1), 0);
    proxy_ended(&shard, 0, true, true, 1); /* broke in the middle: it works at times */
    for (int i = 0; i < 3; i++) {
        shard.next = 0;
        CHECK_EQ(serve(1), 0);
        proxy_ended(&shard, 0, true, false, 1);
    }
    CHECK_EQ(shard.backends[0].counts.broken, 6);
    CHECK_EQ(shard.backends[0].counts.ejections, 1);
    CHECK_EQ(shard.backends[0].counts.active, 0);
    shard.next = 0;
    CHECK_EQ(serve(2), 1);
}
