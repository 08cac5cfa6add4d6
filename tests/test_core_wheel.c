/* SPDX-License-Identifier: MIT
 *
 * The timer wheel by its contract, then against a naive model that keeps all timers in an array, on a fixed list of
 * seeds. Nothing here waits: time is what the test says it is.
 */
#include "core/random_internal.h"
#include "core/wheel.h"
#include "tests/harness.h"

#include <signal.h>

enum { CROWD = 400000 }; /* so many that anything quadratic runs into the time limit */

/* A timer that writes down its turn, then does what the test put into ACT. */
struct probe {
    struct torci_timer timer;
    unsigned fired, turn;
    void (*act)(struct probe *probe);
};

static struct torci_wheel wheel;
static unsigned turns;

static struct probe *probe_of(struct torci_timer *timer)
{
    return TORC_CONTAINER_OF(timer, struct probe, timer);
}

static void note_turn(struct torci_timer *timer)
{
    struct probe *probe = probe_of(timer);
    CHECK(!torci_timer_is_armed(timer));
    CHECK(timer->when_ns <= wheel.now_ns);
    probe->fired++;
    probe->turn = ++turns;
    if (probe->act)
        probe->act(probe);
}

static void probe_init(struct probe *probe)
{
    memset(probe, 0, sizeof(*probe));
    torci_timer_init(&probe->timer, note_turn);
}

static void arm(struct probe *probe, uint64_t when_ns)
{
    torci_wheel_arm(&wheel, &probe->timer, when_ns);
}

TEST(wheel, an_empty_one_has_nothing_to_do)
{
    torci_wheel_init(&wheel, 77);
    CHECK(torci_wheel_check(&wheel));
    CHECK_EQ(torci_wheel_next(&wheel), UINT64_MAX);
    CHECK_EQ(torci_wheel_advance(&wheel, 77), 0);
    CHECK_EQ(torci_wheel_advance(&wheel, UINT64_MAX), 0);
    CHECK(torci_wheel_check(&wheel));
}

/* Distances just below, at and just above each power of two, from times just below, at and just above each. */
TEST(wheel, fires_at_its_time_and_not_a_nanosecond_before)
{
    for (unsigned from = 0; from < 64 * 3; from++) {
        for (unsigned distance = 0; distance < 64 * 3; distance++) {
            uint64_t start = (UINT64_C(1) << from / 3) - 1 + from % 3;
            uint64_t ahead = (UINT64_C(1) << distance / 3) - 1 + distance % 3;
            if (ahead == 0 || ahead > UINT64_MAX - start)
                continue;
            struct probe probe;
            probe_init(&probe);
            torci_wheel_init(&wheel, start);
            arm(&probe, start + ahead);
            CHECK(torci_timer_is_armed(&probe.timer));
            CHECK_EQ(torci_wheel_next(&wheel), start + ahead);
            CHECK_EQ(torci_wheel_advance(&wheel, start + ahead / 2), 0);
            CHECK_EQ(torci_wheel_advance(&wheel, start + ahead - 1), 0);
            CHECK_EQ(torci_wheel_next(&wheel), start + ahead);
            CHECK_EQ(torci_wheel_advance(&wheel, start + ahead), 1);
            CHECK_EQ(probe.fired, 1);
            CHECK_EQ(torci_wheel_next(&wheel), UINT64_MAX);
        }
    }
    CHECK(torci_wheel_check(&wheel));
}

TEST(wheel, fires_in_order_of_time_then_of_arming)
{
    static const uint64_t when[] = {5000, 70, 5000, 4096, 5001, 70, 1 << 20, 4095, 5000};
    static const unsigned wanted[] = {5, 1, 6, 4, 8, 2, 9, 3, 7};
    struct probe probes[TORC_ARRAY_LENGTH(when)];
    torci_wheel_init(&wheel, 0);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(when); i++) {
        probe_init(&probes[i]);
        arm(&probes[i], when[i]);
    }
    CHECK_EQ(torci_wheel_advance(&wheel, TORC_SEC), TORC_ARRAY_LENGTH(when));
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(when); i++)
        CHECK_EQ(probes[i].turn, wanted[i]);
}

/* One is armed from afar and comes down level by level, the other is armed when its time is near. */
TEST(wheel, equal_times_keep_the_order_of_arming_across_levels)
{
    static const uint64_t ahead[] = {UINT64_C(3) << 36, UINT64_C(1) << 35, 5000, 3};
    struct probe probes[4];
    uint64_t when = (UINT64_C(3) << 36) + 12345;
    torci_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 4; i++) {
        probe_init(&probes[i]);
        CHECK_EQ(torci_wheel_advance(&wheel, when - ahead[i]), 0);
        arm(&probes[i], when);
        CHECK(torci_wheel_check(&wheel));
    }
    CHECK_EQ(torci_wheel_advance(&wheel, when), 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(probes[i].turn, i + 1);
}

TEST(wheel, arming_again_moves_a_timer)
{
    struct probe moved, other;
    probe_init(&moved);
    probe_init(&other);
    torci_wheel_init(&wheel, 1000);
    arm(&moved, 2000);
    arm(&other, 2000);
    arm(&moved, 9000);
    CHECK_EQ(torci_wheel_advance(&wheel, 8999), 1);
    arm(&moved, 1 << 30);
    arm(&moved, 9001);
    CHECK_EQ(torci_wheel_next(&wheel), 9001);
    CHECK_EQ(torci_wheel_advance(&wheel, 9001), 1);
    CHECK_EQ(moved.fired, 1);

    /* For the same time again: behind the other. */
    arm(&moved, 9500);
    arm(&other, 9500);
    arm(&moved, 9500);
    CHECK_EQ(torci_wheel_advance(&wheel, 9500), 2);
    CHECK(other.turn < moved.turn);
}

TEST(wheel, cancelled_timers_do_not_fire)
{
    struct probe probes[3];
    torci_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 3; i++) {
        probe_init(&probes[i]);
        torci_wheel_cancel(&wheel, &probes[i].timer);
        arm(&probes[i], i == 2 ? 0 : 100);
    }
    torci_wheel_cancel(&wheel, &probes[0].timer);
    torci_wheel_cancel(&wheel, &probes[0].timer);
    torci_wheel_cancel(&wheel, &probes[2].timer);
    CHECK(!torci_timer_is_armed(&probes[0].timer));
    CHECK(torci_wheel_check(&wheel));
    CHECK_EQ(torci_wheel_advance(&wheel, 200), 1);
    CHECK_EQ(probes[1].fired, 1);
    CHECK_EQ(torci_wheel_next(&wheel), UINT64_MAX);
}

TEST(wheel, a_time_in_the_past_fires_at_the_next_advance)
{
    struct probe past, present, future;
    probe_init(&past);
    probe_init(&present);
    probe_init(&future);
    torci_wheel_init(&wheel, 1000);
    arm(&future, 1001);
    arm(&present, 1000);
    arm(&past, 3);
    CHECK_EQ(past.fired + present.fired, 0);
    CHECK_EQ(torci_wheel_next(&wheel), 3);
    CHECK(torci_wheel_check(&wheel));
    CHECK_EQ(torci_wheel_advance(&wheel, 1000), 2);
    CHECK_EQ(past.turn, 1);
    CHECK_EQ(present.turn, 2);
    CHECK_EQ(past.timer.when_ns, 3);
    CHECK_EQ(torci_wheel_next(&wheel), 1001);
    CHECK_EQ(torci_wheel_advance(&wheel, 1001), 1);
}

TEST(wheel, standing_still_fires_nothing_twice)
{
    struct probe probe;
    probe_init(&probe);
    torci_wheel_init(&wheel, 5);
    arm(&probe, 6);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(torci_wheel_advance(&wheel, 5), 0);
    CHECK_EQ(torci_wheel_advance(&wheel, 6), 1);
    CHECK_EQ(torci_wheel_advance(&wheel, 6), 0);
}

static void arm_for_now(struct probe *probe)
{
    arm(probe, wheel.now_ns);
}

TEST(wheel, a_timer_that_arms_itself_for_now_fires_once_an_advance)
{
    struct probe probe;
    probe_init(&probe);
    probe.act = arm_for_now;
    torci_wheel_init(&wheel, 0);
    arm(&probe, 10);
    CHECK_EQ(torci_wheel_advance(&wheel, 20), 1);
    CHECK(torci_timer_is_armed(&probe.timer));
    CHECK_EQ(torci_wheel_next(&wheel), 20);
    CHECK_EQ(torci_wheel_advance(&wheel, 20), 1);
    CHECK_EQ(torci_wheel_advance(&wheel, 30), 1);
    CHECK_EQ(probe.fired, 3);
    CHECK(torci_wheel_check(&wheel));
}

static struct probe *victim, *moved_on, *spawned;

static void meddle(struct probe *probe)
{
    (void)probe;
    CHECK(torci_wheel_check(&wheel));
    CHECK_EQ(torci_wheel_next(&wheel), 101);
    torci_wheel_cancel(&wheel, &victim->timer);
    arm(moved_on, 5000);
    arm(spawned, 150);
    CHECK(torci_wheel_check(&wheel));
}

/* All due at once: the first to fire takes one off, puts one off, and arms one for a time this advance has passed. */
TEST(wheel, fire_functions_may_cancel_and_arm_what_is_due)
{
    struct probe probes[4];
    for (unsigned i = 0; i < 4; i++)
        probe_init(&probes[i]);
    probes[0].act = meddle;
    victim = &probes[1];
    moved_on = &probes[2];
    spawned = &probes[3];
    torci_wheel_init(&wheel, 0);
    arm(&probes[0], 100);
    arm(victim, 101);
    arm(moved_on, 102);
    CHECK_EQ(torci_wheel_advance(&wheel, 200), 1);
    CHECK(!torci_timer_is_armed(&victim->timer));
    CHECK_EQ(torci_wheel_next(&wheel), 150);
    CHECK_EQ(torci_wheel_advance(&wheel, 200), 1);
    CHECK_EQ(spawned->fired, 1);
    CHECK_EQ(torci_wheel_advance(&wheel, 5000), 1);
    CHECK_EQ(moved_on->fired, 1);
    CHECK_EQ(victim->fired, 0);
    CHECK(torci_wheel_check(&wheel));
}

static void scribble(struct probe *probe)
{
    memset(probe, 0xa5, sizeof(*probe));
}

TEST(wheel, a_timer_may_vanish_when_it_fires)
{
    struct probe probes[3];
    torci_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 3; i++) {
        probe_init(&probes[i]);
        probes[i].act = scribble;
        arm(&probes[i], 1000);
    }
    CHECK_EQ(torci_wheel_advance(&wheel, 2000), 3);
    CHECK(torci_wheel_check(&wheel));
}

static void repeat(struct probe *probe)
{
    arm(probe, probe->timer.when_ns + 1000);
}

TEST(wheel, a_repeating_timer_keeps_its_grid)
{
    struct probe probe;
    probe_init(&probe);
    probe.act = repeat;
    torci_wheel_init(&wheel, 0);
    arm(&probe, 1000);
    while (probe.fired < 1000) {
        uint64_t next = torci_wheel_next(&wheel);
        CHECK_EQ(next, (probe.fired + 1) * UINT64_C(1000));
        /* Sometimes late by more than a period, then it catches up: one turn an advance. */
        uint64_t now = next + (probe.fired % 7 == 0 ? 2500 : 0);
        CHECK_EQ(torci_wheel_advance(&wheel, now > wheel.now_ns ? now : wheel.now_ns), 1);
    }
}

TEST(wheel, one_jump_over_all_levels_keeps_the_order)
{
    struct probe probes[64];
    torci_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < 64; i++) {
        probe_init(&probes[i]);
        arm(&probes[i], UINT64_MAX >> i);
    }
    CHECK(torci_wheel_check(&wheel));
    CHECK_EQ(torci_wheel_advance(&wheel, UINT64_MAX), 64);
    for (unsigned i = 0; i < 64; i++)
        CHECK_EQ(probes[i].turn, 64 - i);
    /* The end of time is a time like any other. */
    arm(&probes[0], UINT64_MAX);
    CHECK_EQ(torci_wheel_advance(&wheel, UINT64_MAX), 1);
}

TEST(wheel, next_is_exact_for_few_and_a_bound_that_leads_there_for_many)
{
    static struct probe probes[TORCI_WHEEL_SCAN_MAX + 1];
    uint64_t base = UINT64_C(5) << 40;
    torci_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < TORCI_WHEEL_SCAN_MAX; i++) {
        probe_init(&probes[i]);
        arm(&probes[i], base + 900 - i);
        CHECK_EQ(torci_wheel_next(&wheel), base + 900 - i);
    }
    probe_init(&probes[TORCI_WHEEL_SCAN_MAX]);
    arm(&probes[TORCI_WHEEL_SCAN_MAX], base + 900);
    CHECK_EQ(torci_wheel_next(&wheel), base + 900 - (TORCI_WHEEL_SCAN_MAX - 1)); /* still known */
    arm(&probes[TORCI_WHEEL_SCAN_MAX - 1], base + 900 - (TORCI_WHEEL_SCAN_MAX - 1));
    uint64_t bound = torci_wheel_next(&wheel);
    CHECK_EQ(bound, UINT64_C(1) << 42); /* where the slot of level 7 begins */

    unsigned fired = 0, steps = 0;
    while (fired == 0) {
        bound = torci_wheel_next(&wheel);
        CHECK(bound > wheel.now_ns || steps == 0);
        CHECK(bound <= base + 900 - TORCI_WHEEL_SCAN_MAX + 1);
        fired = torci_wheel_advance(&wheel, bound);
        CHECK(torci_wheel_check(&wheel));
        CHECK(++steps <= TORCI_WHEEL_LEVELS);
    }
    CHECK_EQ(fired, 1);
    CHECK_EQ(wheel.now_ns, base + 900 - TORCI_WHEEL_SCAN_MAX + 1);
}

static struct probe crowd[CROWD];

/* After an advance that fired all of the crowd: in order of time, and of index among equals. */
static void check_crowd_order(void)
{
    static unsigned by_turn[CROWD + 1];
    for (unsigned i = 0; i < CROWD; i++) {
        CHECK_EQ(crowd[i].fired, 1);
        by_turn[crowd[i].turn] = i;
    }
    for (unsigned turn = 2; turn <= CROWD; turn++) {
        const struct torci_timer *before = &crowd[by_turn[turn - 1]].timer,
                                 *after = &crowd[by_turn[turn]].timer;
        CHECK(before->when_ns < after->when_ns ||
              (before->when_ns == after->when_ns && by_turn[turn - 1] < by_turn[turn]));
    }
}

TEST(wheel, a_crowd_at_one_time_is_not_quadratic)
{
    torci_wheel_init(&wheel, 12345);
    for (unsigned i = 0; i < CROWD; i++) {
        probe_init(&crowd[i]);
        arm(&crowd[i], TORC_SEC);
    }
    for (uint64_t now = 20000; now < TORC_SEC; now += TORC_MS)
        CHECK_EQ(torci_wheel_advance(&wheel, now), 0);
    CHECK_EQ(torci_wheel_advance(&wheel, TORC_SEC), CROWD);
    check_crowd_order();
}

TEST(wheel, a_crowd_within_a_millisecond_is_not_quadratic)
{
    struct torci_random random;
    torci_random_seed(&random, 5);
    torci_wheel_init(&wheel, TORC_SEC);
    for (unsigned i = 0; i < CROWD; i++) {
        probe_init(&crowd[i]);
        arm(&crowd[i], TORC_SEC + 1 + torci_random_below(&random, TORC_MS));
    }
    unsigned fired = 0;
    while (fired < CROWD) {
        uint64_t next = torci_wheel_next(&wheel);
        fired += torci_wheel_advance(&wheel, next);
    }
    check_crowd_order();
}

TEST(wheel, a_crowd_in_the_past_is_not_quadratic_either)
{
    struct torci_random random;
    torci_random_seed(&random, 6);
    torci_wheel_init(&wheel, TORC_SEC);
    for (unsigned i = 0; i < CROWD; i++) {
        probe_init(&crowd[i]);
        arm(&crowd[i], i % 2 ? torci_random_below(&random, 1000) : TORC_SEC - i);
    }
    CHECK_EQ(torci_wheel_next(&wheel), 0);
    CHECK_EQ(torci_wheel_advance(&wheel, TORC_SEC), CROWD);
    check_crowd_order();
    CHECK(torci_wheel_check(&wheel));
}

/* The wheel against an array. Each timer of the array knows what the contract says about it. */
enum { MODEL_TIMERS = 150, MODEL_STEPS = 15000 };

static struct model_timer {
    struct torci_timer timer;
    bool armed, due; /* due: the present advance will fire it unless something happens */
    uint64_t when_ns, sequence;
} model[MODEL_TIMERS];

static struct torci_random dice;
static uint64_t model_now, model_sequence;
static bool model_in_fire;

static uint64_t draw_when(void)
{
    uint64_t ahead = torci_random_next(&dice) >> torci_random_below(&dice, 64), when;
    switch (torci_random_below(&dice, 8)) {
    case 0: return model_now - (ahead < model_now ? ahead : model_now);    /* past or present */
    case 1: return model[torci_random_below(&dice, MODEL_TIMERS)].when_ns; /* as another */
    case 2: when = (model_now | 63) + 1; break;
    case 3: /* the edge of a slot, or next to it */
        when = model_now + ahead;
        when &= UINT64_MAX << torci_random_below(&dice, 64);
        when += torci_random_below(&dice, 3) - 1;
        return when;
    case 4: when = model_now + torci_random_below(&dice, 200); break;
    default: when = model_now + ahead; break;
    }
    return when < model_now ? UINT64_MAX : when;
}

static void model_arm(struct model_timer *timer)
{
    uint64_t when = draw_when();
    torci_wheel_arm(&wheel, &timer->timer, when);
    timer->armed = true;
    timer->due = false;
    timer->when_ns = when;
    timer->sequence = model_sequence++;
}

static void model_cancel(struct model_timer *timer)
{
    torci_wheel_cancel(&wheel, &timer->timer);
    timer->armed = timer->due = false;
}

static void model_act(void)
{
    struct model_timer *timer = &model[torci_random_below(&dice, MODEL_TIMERS)];
    if (torci_random_below(&dice, 5) < 3)
        model_arm(timer);
    else
        model_cancel(timer);
}

static bool is_before(const struct model_timer *a, const struct model_timer *b)
{
    return a->when_ns < b->when_ns || (a->when_ns == b->when_ns && a->sequence < b->sequence);
}

/* The first of all armed timers, or of those that are due. */
static struct model_timer *model_first(bool due_only)
{
    struct model_timer *first = NULL;
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        if (model[i].armed && (model[i].due || !due_only) &&
            (!first || is_before(&model[i], first)))
            first = &model[i];
    }
    return first;
}

static void model_check(void)
{
    unsigned armed = 0;
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        CHECK_EQ(torci_timer_is_armed(&model[i].timer), model[i].armed);
        armed += model[i].armed;
    }
    CHECK(torci_wheel_check(&wheel));
    const struct model_timer *first = model_first(false);
    uint64_t truth = first ? first->when_ns : UINT64_MAX, next = torci_wheel_next(&wheel);
    CHECK(next <= truth);
    if (armed <= TORCI_WHEEL_SCAN_MAX)
        CHECK_EQ(next, truth);
    /* A bound of the future leads on: waiting for it is not waiting in circles. */
    if (!model_in_fire && truth > model_now && armed > 0)
        CHECK(next > model_now);
}

static void model_fire(struct torci_timer *fired)
{
    struct model_timer *timer = TORC_CONTAINER_OF(fired, struct model_timer, timer);
    CHECK(timer == model_first(true));
    timer->armed = timer->due = false;
    model_in_fire = true;
    for (uint64_t acts = torci_random_below(&dice, 4); acts > 0; acts--)
        model_act();
    if (torci_random_below(&dice, 8) == 0)
        model_check();
    model_in_fire = false;
}

static uint64_t draw_advance(void)
{
    uint64_t ahead = torci_random_next(&dice) >> torci_random_below(&dice, 64);
    uint64_t next = torci_wheel_next(&wheel), now;
    switch (torci_random_below(&dice, 8)) {
    case 0: return model_now;
    case 1: now = next - 1; break;
    case 2:
    case 3:
    case 4: now = next; break;
    case 5: now = model_now + (ahead >> 20); break;
    case 6: now = model_now + torci_random_below(&dice, 5000); break;
    default: now = model_now + (ahead >> torci_random_below(&dice, 30)); break;
    }
    /* The end of time is reached on purpose only: afterwards nothing can be armed ahead. */
    return now < model_now || now == UINT64_MAX ? model_now : now;
}

static void run_model(uint64_t seed, uint64_t start)
{
    torci_random_seed(&dice, seed);
    model_now = start;
    torci_wheel_init(&wheel, start);
    for (unsigned i = 0; i < MODEL_TIMERS; i++) {
        memset(&model[i], 0, sizeof(model[i]));
        torci_timer_init(&model[i].timer, model_fire);
    }
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        /* Phases with many and with few timers. */
        if (torci_random_below(&dice, 3) > 0) {
            struct model_timer *timer = &model[torci_random_below(&dice, MODEL_TIMERS)];
            if (torci_random_below(&dice, 8) < (step / 1000 % 2 ? 2U : 6U))
                model_arm(timer);
            else
                model_cancel(timer);
        } else {
            unsigned due = 0;
            model_now = draw_advance();
            for (unsigned i = 0; i < MODEL_TIMERS; i++) {
                model[i].due = model[i].armed && model[i].when_ns <= model_now;
                due += model[i].due;
            }
            CHECK(torci_wheel_advance(&wheel, model_now) <= due);
            CHECK(!model_first(true));
        }
        model_check();
    }
}

TEST(wheel, agrees_with_the_naive_model)
{
    static const uint64_t seeds[] = {1, 2, 3, 5, 8, 13, 21, 1234567, UINT64_C(0xfeedface)};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(seeds); i++) {
        run_model(seeds[i], 0);
        run_model(seeds[i], (seeds[i] << 50) + seeds[i]);
    }
}

TEST(wheel, agrees_with_the_naive_model_near_the_end_of_time)
{
    static const uint64_t seeds[] = {4, 6, 9};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(seeds); i++)
        run_model(seeds[i], UINT64_MAX - (UINT64_C(1) << 20 * i));
}

TEST(wheel, check_sees_what_is_broken)
{
    struct probe near, far;
    probe_init(&near);
    probe_init(&far);
    torci_wheel_init(&wheel, 1000);
    arm(&near, 1001);
    arm(&far, TORC_SEC);
    CHECK(torci_wheel_check(&wheel));

    far.timer.when_ns = 2 * TORC_SEC;
    CHECK(!torci_wheel_check(&wheel));
    far.timer.when_ns = TORC_SEC + (UINT64_C(1) << 24); /* the same level, the next slot */
    CHECK(!torci_wheel_check(&wheel));
    far.timer.when_ns = TORC_SEC;
    wheel.now_ns = 1001;
    CHECK(!torci_wheel_check(&wheel));
    wheel.now_ns = 1000;
    wheel.used[7] |= 1;
    CHECK(!torci_wheel_check(&wheel));
    wheel.used[7] = 0;
    wheel.armed++;
    CHECK(!torci_wheel_check(&wheel));
    wheel.armed -= 2;
    CHECK(!torci_wheel_check(&wheel));
    wheel.armed++;
    struct torci_link *next = near.timer.link.next;
    near.timer.link.next = &near.timer.link;
    CHECK(!torci_wheel_check(&wheel));
    near.timer.link.next = next;
    CHECK(torci_wheel_check(&wheel));

    /* DUE is empty between advances, and in order within one. */
    torci_wheel_cancel(&wheel, &near.timer);
    torci_wheel_cancel(&wheel, &far.timer);
    wheel.armed = 2;
    near.timer.when_ns = 900;
    far.timer.when_ns = 901;
    torci_list_push_back(&wheel.due, &near.timer.link);
    torci_list_push_back(&wheel.due, &far.timer.link);
    CHECK(!torci_wheel_check(&wheel));
    wheel.advancing = true;
    CHECK(torci_wheel_check(&wheel));
    near.timer.when_ns = 902;
    CHECK(!torci_wheel_check(&wheel));
    torci_wheel_init(&wheel, 0); /* forget the two, which end here */
}

TEST_DYING(wheel, the_clock_must_not_go_back, SIGABRT)
{
    torci_wheel_init(&wheel, 1000);
    torci_wheel_advance(&wheel, 999);
}

static void advance_inside(struct probe *probe)
{
    (void)probe;
    torci_wheel_advance(&wheel, wheel.now_ns);
}

TEST_DYING(wheel, a_fire_function_must_not_advance, SIGABRT)
{
    struct probe probe;
    probe_init(&probe);
    probe.act = advance_inside;
    torci_wheel_init(&wheel, 0);
    arm(&probe, 1);
    torci_wheel_advance(&wheel, 1);
}
