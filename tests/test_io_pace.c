/* SPDX-License-Identifier: MIT
 *
 * The pace by itself: turns that the test makes up, against a kernel that only tells how much CPU time was used.
 */
#include <errno.h>
#include <time.h>

#include "io/abi_internal.h"
#include "io/io_internal.h"
#include "tests/harness.h"

enum { EPOCH_TURNS = 64, MESSAGES = 32 };

static struct torci_io io;
static uint64_t used_ns;
static bool refuses;

static long tell_cpu_time(void *context, long number, const long arguments[6])
{
    (void)context;
    if (refuses || number != SYS_clock_gettime || arguments[0] != CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    struct timespec *time = (struct timespec *)(uintptr_t)arguments[1];
    time->tv_sec = (time_t)(used_ns / TORC_SEC);
    time->tv_nsec = (long)(used_ns % TORC_SEC);
    return 0;
}

static void setup(uint32_t connections)
{
    static struct torci_kernel kernel;
    kernel.call = tell_cpu_time;
    io = (struct torci_io){.kernel = &kernel};
    io.ring.features = TORCI_FEATURE_MIN_WAIT;
    io.traffic.live = connections;
    used_ns = 1;
    refuses = false;
}

/* A turn that brought so many messages, all of ACTIVE connections' in their first turn of an epoch. */
static uint32_t turn(uint32_t messages, uint32_t bytes, uint32_t active, uint32_t *min_wait_us)
{
    io.traffic.came = messages;
    io.traffic.largest_bytes = bytes;
    io.traffic.active = active;
    torci_pace_turn(&io);
    *min_wait_us = 0;
    return torci_pace_want(&io, min_wait_us);
}

/* Epochs whose messages cost WITHOUT and WITH ns of CPU time each; how many of them waited for batches. */
static uint32_t epochs(uint32_t count, uint64_t without, uint64_t with)
{
    uint32_t batching = 0, us;
    for (uint32_t i = 0; i < count; i++) {
        batching += io.pace.batching.on;
        for (uint32_t j = 0; j < EPOCH_TURNS; j++) {
            used_ns += MESSAGES * (io.pace.batching.on ? with : without);
            (void)turn(MESSAGES, 64, 100, &us);
        }
    }
    return batching;
}

TEST(pace, waits_for_batches_where_they_cost_less)
{
    setup(100);
    uint32_t batching = epochs(500, 4000, 3600);
    CHECK(io.pace.batching.on && !io.pace.batching.trying);
    CHECK(batching > 400);
}

TEST(pace, does_not_where_they_cost_more)
{
    setup(100);
    uint32_t batching = epochs(1000, 4000, 4300);
    CHECK(!io.pace.batching.on || io.pace.batching.trying);
    CHECK(batching > 6);   /* it has looked */
    CHECK(batching < 200); /* and not often */
}

TEST(pace, goes_back_when_batches_pay_no_more)
{
    setup(100);
    epochs(300, 4000, 3600);
    CHECK(io.pace.batching.on);
    epochs(4000, 3600, 4000);
    CHECK(!io.pace.batching.on || io.pace.batching.trying);
}

/* Epochs of one message a turn, which cost SPINNING or SLEEPING ns; how many of them slept at once. */
static uint32_t small_epochs(uint32_t count, uint64_t spinning, uint64_t sleeping)
{
    uint32_t slept = 0, us;
    for (uint32_t i = 0; i < count; i++) {
        slept += io.pace.no_spin.on;
        for (uint32_t j = 0; j < EPOCH_TURNS; j++) {
            used_ns += io.pace.no_spin.on ? sleeping : spinning;
            (void)turn(1, 64, 1, &us);
            CHECK_EQ(torci_pace_spin_ns(&io) > 0, !io.pace.no_spin.on);
        }
    }
    return slept;
}

TEST(pace, spins_where_sleeping_costs_about_as_much)
{
    setup(1);
    uint32_t slept = small_epochs(4000, 25000, 24500);
    CHECK(slept > 6 && slept < 200);
}

TEST(pace, sleeps_at_once_where_spinning_only_burns)
{
    setup(1);
    uint32_t slept = small_epochs(1000, 40000, 20000);
    CHECK(slept > 900);
    CHECK(small_epochs(4000, 20000, 40000) < 2500); /* and no longer when that changes */
}

TEST(pace, does_not_try_where_nobody_tells_the_cpu_time)
{
    setup(100);
    refuses = true;
    CHECK_EQ(epochs(200, 4000, 3600), 0);
}

TEST(pace, asks_for_as_many_again_up_to_half_of_the_active_connections)
{
    uint32_t us;
    setup(1000);
    io.pace.batching.on = true;
    CHECK_EQ(turn(7, 64, 100, &us), 1);
    CHECK_EQ(us, 0);
    CHECK_EQ(turn(16, 64, 100, &us), 18);
    CHECK(us > 0);
    CHECK_EQ(turn(200, 64, 1000, &us), 64);
    for (uint32_t i = 0; i < EPOCH_TURNS; i++)
        (void)turn(40, 64, 20, &us);
    CHECK_EQ(turn(40, 64, 20, &us), 10); /* 980 of them only listen */
}

TEST(pace, does_not_wait_again_for_what_did_not_come)
{
    uint32_t us;
    setup(1000);
    io.pace.batching.on = true;
    CHECK_EQ(turn(56, 64, 1000, &us), 63);
    CHECK_EQ(turn(20, 64, 1000, &us), 20); /* less than half of it: no more than that for a while */
    CHECK_EQ(turn(40, 64, 1000, &us), 20);
}

TEST(pace, never_waits_for_batches_without_the_kernels_help)
{
    uint32_t us;
    setup(1000);
    io.ring.features = 0;
    io.pace.batching.on = true;
    CHECK_EQ(turn(56, 64, 1000, &us), 1);
}

TEST(pace, spins_after_few_messages_and_less_after_large_ones)
{
    uint32_t us;
    setup(4);
    CHECK_EQ(torci_pace_spin_ns(&io), 0);
    (void)turn(2, 64, 2, &us);
    uint64_t small_ns = torci_pace_spin_ns(&io);
    (void)turn(2, 65536, 2, &us);
    uint64_t large_ns = torci_pace_spin_ns(&io);
    CHECK(small_ns > large_ns && large_ns > 0);
    (void)turn(8, 64, 4, &us);
    CHECK_EQ(torci_pace_spin_ns(&io), 0);
}

TEST(pace, never_spins_on_a_shared_cpu_or_when_told_not_to)
{
    uint32_t us;
    setup(4);
    (void)turn(2, 64, 2, &us);
    io.shares_cpu = true;
    CHECK_EQ(torci_pace_spin_ns(&io), 0);
    io.shares_cpu = false;
    io.config.no_spin = true;
    CHECK_EQ(torci_pace_spin_ns(&io), 0);
}

/* How many turns without spinning until the next attempt, which FAILS or not. */
static uint32_t turns_of_rest(bool came)
{
    uint32_t us, rest = 0;
    for (;; rest++) {
        (void)turn(1, 64, 1, &us);
        if (torci_pace_spin_ns(&io))
            break;
        CHECK(rest < 1000);
    }
    torci_pace_spun(&io, came);
    return rest;
}

TEST(pace, rests_longer_the_more_often_spinning_was_in_vain)
{
    setup(1);
    CHECK_EQ(turns_of_rest(true), 0);
    CHECK_EQ(turns_of_rest(false), 0);
    CHECK_EQ(turns_of_rest(false), 1);
    CHECK_EQ(turns_of_rest(false), 3);
    for (int i = 0; i < 10; i++)
        (void)turns_of_rest(false);
    CHECK_EQ(turns_of_rest(true), 255);
    CHECK_EQ(turns_of_rest(true), 0);
}
