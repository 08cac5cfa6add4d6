/* SPDX-License-Identifier: MIT
 *
 * The policy of the loop's pace, on an executor that is only a struct: how many messages a turn waits for, and when
 * it spins.
 */
#include "io/abi_internal.h"
#include "io/io_internal.h"
#include "tests/harness.h"

static struct torci_io *made_up(uint32_t live)
{
    static struct torci_io io;
    memset(&io, 0, sizeof io);
    io.ring.features = TORCI_FEATURE_MIN_WAIT;
    io.traffic.live = live;
    return &io;
}

/* A turn of CAME messages, the largest of BYTES, and what the next wait is for. */
static uint32_t turn(struct torci_io *io, uint32_t came, uint32_t bytes)
{
    uint32_t min_wait_us = 0;
    io->traffic.came = came;
    io->traffic.largest_bytes = bytes;
    torci_pace_turn(io);
    CHECK_EQ(io->traffic.came, 0);
    CHECK_EQ(io->traffic.largest_bytes, 0);
    uint32_t want = torci_pace_want(io, &min_wait_us);
    CHECK(want >= 1);
    CHECK_EQ(min_wait_us > 0, want > 1);
    return want;
}

TEST(pace, waits_for_one_without_traffic)
{
    CHECK_EQ(turn(made_up(0), 0, 0), 1);
    CHECK_EQ(turn(made_up(1000), 0, 0), 1);
    CHECK_EQ(turn(made_up(1000), TORCI_PACE_MANY - 1, 64), 1);
    CHECK_EQ(turn(made_up(2), 100, 64), 1);
    CHECK_EQ(turn(made_up(2 * TORCI_PACE_MANY - 1), 100, 64), 1);
}

TEST(pace, waits_for_a_batch_where_many_come)
{
    struct torci_io *io = made_up(1000);
    CHECK(turn(io, TORCI_PACE_MANY, 64) > TORCI_PACE_MANY);
    uint32_t before = 0;
    for (uint32_t came = TORCI_PACE_MANY; came <= 1000; came *= 2) {
        io = made_up(1000);
        uint32_t want = turn(io, came, 64);
        CHECK(want >= before && want <= came + came / 8);
        before = want;
    }
    CHECK_EQ(before, 64); /* never for more */
}

TEST(pace, does_not_wait_for_more_than_half_of_the_connections)
{
    CHECK_EQ(turn(made_up(40), 40, 64), 20);
    CHECK_EQ(turn(made_up(100), 100, 64), 50);
}

TEST(pace, does_not_wait_where_the_kernel_can_not_stop_waiting)
{
    struct torci_io *io = made_up(1000);
    io->ring.features = 0;
    CHECK_EQ(turn(io, 100, 64), 1);
}

TEST(pace, waits_for_fewer_when_fewer_come)
{
    struct torci_io *io = made_up(1000);
    CHECK_EQ(turn(io, 64, 64), 64);
    CHECK_EQ(turn(io, 20, 64), 20); /* less than half of it: no more than that for a while */
    CHECK_EQ(turn(io, 64, 64), 20);
    unsigned turns = 0;
    while (turn(io, 64, 64) == 20) {
        turns++;
        CHECK(turns < 1000);
    }
    CHECK(turns > 10);
    CHECK_EQ(turn(io, 64, 64), 64); /* forgotten */
}

TEST(pace, idle_connections_do_not_count)
{
    struct torci_io *io = made_up(1000);
    for (int i = 0; i < 1000; i++) { /* 30 connections take part, each in every turn */
        if (i % 64 == 0)
            io->traffic.active = 30;
        (void)turn(io, 30, 64);
    }
    CHECK_EQ(turn(io, 30, 64), 15);
}

TEST(pace, spins_after_small_turns_only)
{
    struct torci_io *io = made_up(1);
    CHECK_EQ(torci_pace_spin_ns(io), 0); /* nothing has come at all */
    (void)turn(io, 1, 64);
    CHECK(torci_pace_spin_ns(io) > 0);
    (void)turn(io, TORCI_PACE_MANY, 64);
    CHECK_EQ(torci_pace_spin_ns(io), 0);
    (void)turn(io, 1, 64);
    uint64_t small = torci_pace_spin_ns(io);
    (void)turn(io, 1, TORCI_PACE_LARGE_BYTES + 1);
    CHECK(torci_pace_spin_ns(io) < small);
    (void)turn(io, 0, 0);
    CHECK_EQ(torci_pace_spin_ns(io), 0);
}

TEST(pace, does_not_spin_where_others_need_the_cpu_or_nobody_wants_it)
{
    struct torci_io *io = made_up(1);
    io->shares_cpu = true;
    (void)turn(io, 1, 64);
    CHECK_EQ(torci_pace_spin_ns(io), 0);
    io = made_up(1);
    io->config.no_spin = true;
    (void)turn(io, 1, 64);
    CHECK_EQ(torci_pace_spin_ns(io), 0);
}

/* Turns that pass until it spins again. */
static unsigned rest(struct torci_io *io)
{
    unsigned turns = 0;
    for (;; turns++) {
        (void)turn(io, 1, 64);
        if (torci_pace_spin_ns(io))
            return turns;
        CHECK(turns < 10000);
    }
}

TEST(pace, rests_longer_each_time_that_spinning_was_in_vain)
{
    struct torci_io *io = made_up(1);
    unsigned before = 0;
    CHECK_EQ(rest(io), 0);
    for (int i = 0; i < 8; i++) {
        torci_pace_spun(io, false);
        unsigned now = rest(io);
        CHECK(now > before);
        before = now;
    }
    for (int i = 0; i < 4; i++) {
        torci_pace_spun(io, false);
        CHECK_EQ(rest(io), 255);
    }
    torci_pace_spun(io, true);
    CHECK_EQ(rest(io), 0);
}
