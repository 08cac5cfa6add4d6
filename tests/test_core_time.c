/* SPDX-License-Identifier: MIT
 *
 * Sleeping, precisely too, and intervals.
 */
#include <signal.h>

#include "core/event.h"
#include "core/select.h"
#include "tests/core_tasks.h"

static uint64_t elapsed(void)
{
    return machine.now_ns - TORC_SEC;
}

/* ---- sleeping ---- */

static int sleep_main(void *arg)
{
    (void)arg;
    MUST(torc_sleep(1));
    CHECK_EQ(elapsed(), 1);
    MUST(torc_sleep(7 * 24 * 3600 * TORC_SEC));
    CHECK_EQ(elapsed(), 7 * 24 * 3600 * TORC_SEC + 1);
    MUST(torc_sleep_until(torc_now_ns() + 5));
    MUST(torc_sleep_until(3)); /* long past */
    CHECK_EQ(elapsed(), 7 * 24 * 3600 * TORC_SEC + 6);
    return 0;
}

TEST(time, sleep_ends_at_its_nanosecond)
{
    MUST(run(sleep_main, NULL));
}

static int sleep_and_tell(void *arg)
{
    uintptr_t ms = (uintptr_t)arg;
    int err = torc_sleep(ms * TORC_MS);
    tell((char)('a' + ms));
    return err;
}

static int order_main(void *arg)
{
    (void)arg;
    static const uintptr_t times[] = {5, 3, 9, 1, 7, 3, 0, 9};
    struct torc_scope all;
    torc_scope_init(&all);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(times); i++)
        MUST(torc_spawn(&all, sleep_and_tell, (void *)times[i]));
    MUST(torc_scope_join(&all));
    CHECK_STR(story, "abddfhjj");
    return 0;
}

TEST(time, sleepers_wake_in_the_order_of_their_times)
{
    MUST(run(order_main, NULL));
}

static int sleep_zero_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        uint64_t turns = torci_this->counters->loop_turns;
        MUST(torc_sleep(0));
        CHECK_EQ(torci_this->counters->loop_turns, turns + 1);
    }
    CHECK_EQ(elapsed(), 0);
    return 0;
}

TEST(time, sleep_of_zero_is_one_turn_of_the_loop)
{
    MUST(run(sleep_zero_main, NULL));
}

static int endless_main(void *arg)
{
    (void)arg;
    static const uint64_t endless[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - TORC_SEC,
                                       UINT64_MAX - TORC_SEC - TORC_MS};
    struct torc_deadline deadline;
    for (size_t i = 0; i < 2 * TORC_ARRAY_LENGTH(endless); i++) {
        torc_deadline_enter(&deadline, 10);
        CHECK_EQ(i & 1 ? torc_sleep(endless[i / 2]) : torc_sleep_precise(endless[i / 2]),
                 -ETIMEDOUT);
        CHECK(torc_deadline_leave(&deadline));
        CHECK_EQ(elapsed(), 10 * (i + 1));
    }
    torc_deadline_enter(&deadline, 10);
    CHECK_EQ(torc_sleep_until(UINT64_MAX), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    return 0;
}

TEST(time, durations_near_the_end_of_time_do_not_wrap)
{
    MUST(run(endless_main, NULL));
}

static int sleep_forever(void *arg)
{
    (void)arg;
    return torc_sleep(UINT64_MAX);
}

TEST(time, sleep_for_ever_sleeps_for_ever)
{
    core_host_init(&machine); /* with nothing that could end it, the host says so */
    CHECK_EQ(core_host_run_on(&machine, &(struct torci_exec_config){0}, sleep_forever, NULL),
             -EDEADLK);
}

/* The deadline around a sleep, and the sleep, are due in the same turn of a loop that comes late. */
static int both_due_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    for (int precise = 0; precise < 2; precise++) {
        torc_deadline_enter(&deadline, 10);
        CHECK_EQ(precise ? torc_sleep_precise(20) : torc_sleep(20), -ETIMEDOUT);
        CHECK(torc_deadline_leave(&deadline));
        CHECK_EQ(torci_this->wheel.armed, 0);
        CHECK_EQ(torci_this->spinning, 0);
    }
    torc_deadline_enter(&deadline, 20);
    MUST(torc_sleep(10));
    CHECK(torc_deadline_leave(&deadline)); /* past, but it came second */
    return 0;
}

static int late_turn(void *context, uint64_t wait_until_ns)
{
    int err = core_host_turn(context, wait_until_ns);
    burn(50);
    return err;
}

TEST(time, sleep_and_deadline_can_be_due_at_once)
{
    core_host_init(&machine);
    machine.host.turn = late_turn;
    MUST(run_with(&(struct torci_exec_config){0}, both_due_main, NULL));
}

static struct torc_event event;
static struct torci_timer setter;
static void set_event(struct torci_timer *timer)
{
    (void)timer;
    torc_event_set(&event);
}

/* The same of a select: what it waits for comes, then its timeout, and only then its task's turn. */
static int select_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    torc_event_init_auto(&event);
    torci_timer_init(&setter, set_event);
    torci_wheel_arm(&torci_this->wheel, &setter, torc_now_ns() + 10);
    struct torc_case cases[] = {torc_event_case(&event), torc_timeout_case(20)};
    CHECK_EQ(torc_select(cases, 2), 0);
    torc_deadline_enter(&deadline, 10);
    cases[1] = torc_timeout_case(20);
    CHECK_EQ(torc_select(cases, 2), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(torci_this->wheel.armed, 0);
    return 0;
}

TEST(time, select_can_be_served_and_time_out_at_once)
{
    core_host_init(&machine);
    machine.host.turn = late_turn;
    MUST(run_with(&(struct torci_exec_config){0}, select_main, NULL));
}

/* ---- precise sleeps, on a machine that wakes late ---- */

enum { LAG_NS = 80 * 1000, LOOK_NS = 300 };
static uint64_t polls, sleeps;

/* A sleep ends LAG_NS after the time that was asked for, a look without a sleep costs LOOK_NS. */
static int lagging_turn(void *context, uint64_t wait_until_ns)
{
    bool sleeping = wait_until_ns > machine.now_ns;
    int err = core_host_turn(context, wait_until_ns);
    burn(sleeping ? LAG_NS : LOOK_NS);
    *(sleeping ? &sleeps : &polls) += 1;
    return err;
}

static int precise_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        uint64_t start = torc_now_ns();
        MUST(torc_sleep(10 * TORC_MS));
        CHECK(torc_now_ns() - start >= 10 * TORC_MS + LAG_NS);
        start = torc_now_ns();
        polls = sleeps = 0;
        MUST(torc_sleep_precise(10 * TORC_MS));
        uint64_t late = torc_now_ns() - start - 10 * TORC_MS;
        CHECK(late <= 2 * LOOK_NS);
        CHECK_EQ(sleeps, 1);
        CHECK(polls > 10 && polls < 2000); /* spins for the last stretch, and for no more */
        CHECK_EQ(torci_this->spinning, 0);
    }
    uint64_t start = torc_now_ns();
    MUST(torc_sleep_precise(5000)); /* shorter than the stretch: spins at once */
    CHECK(torc_now_ns() - start <= 5000 + 2 * LOOK_NS);
    MUST(torc_sleep_precise(0));
    return 0;
}

TEST(time, precise_sleep_is_on_time_on_a_machine_that_wakes_late)
{
    core_host_init(&machine);
    machine.host.turn = lagging_turn;
    MUST(run_with(&(struct torci_exec_config){0}, precise_main, NULL));
}

/* Events wake the machine before the time that the timers asked for. */
static int early_turn(void *context, uint64_t wait_until_ns)
{
    if (wait_until_ns > machine.now_ns + TORC_MS)
        wait_until_ns = machine.now_ns + TORC_MS;
    return core_host_turn(context, wait_until_ns);
}

static int early_main(void *arg)
{
    (void)arg;
    uint64_t lag_ns = torci_this->wake_lag_ns;
    MUST(torc_sleep(3 * TORC_MS + 5));
    CHECK_EQ(elapsed(), 3 * TORC_MS + 5);
    CHECK(torci_this->wake_lag_ns <= lag_ns); /* that was not the machine waking late */
    return 0;
}

TEST(time, wake_ups_by_events_do_not_count_as_late)
{
    core_host_init(&machine);
    machine.host.turn = early_turn;
    MUST(run_with(&(struct torci_exec_config){0}, early_main, NULL));
}

static int interrupted_spin(void *arg)
{
    (void)arg;
    return torc_sleep_precise(10 * TORC_MS);
}

static int cancel_spin_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, interrupted_spin, NULL));
    while (!torci_this->spinning)
        MUST(torc_sleep(10 * 1000));
    torc_scope_cancel(&all);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    CHECK_EQ(torci_this->spinning, 0);
    CHECK_EQ(torci_this->wheel.armed, 0);
    return 0;
}

TEST(time, cancelled_precise_sleep_stops_the_spinning)
{
    core_host_init(&machine);
    machine.host.turn = lagging_turn;
    MUST(run_with(&(struct torci_exec_config){0}, cancel_spin_main, NULL));
}

static int count_turns(void *arg)
{
    uint64_t *turns = arg;
    while (torci_this->fibers_live > 2)
        if (torci_this->spinning) {
            torc_yield();
            ++*turns;
        } else {
            MUST(torc_sleep(TORC_US));
        }
    return 0;
}

static int spin_shared_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    uint64_t turns = 0;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, interrupted_spin, NULL));
    MUST(torc_spawn(&all, count_turns, &turns));
    MUST(torc_scope_join(&all));
    CHECK(turns > 10); /* the others go on meanwhile */
    return 0;
}

TEST(time, others_run_while_a_precise_sleep_spins)
{
    core_host_init(&machine);
    machine.host.turn = lagging_turn;
    MUST(run_with(&(struct torci_exec_config){0}, spin_shared_main, NULL));
}

/* ---- intervals ---- */

static int no_drift_main(void *arg)
{
    (void)arg;
    struct torc_interval interval;
    torc_interval_init(&interval, TORC_MS);
    for (uint64_t i = 1; i <= 1000; i++) {
        CHECK_EQ(torc_interval_wait(&interval), 1);
        CHECK_EQ(elapsed(), i * TORC_MS + LAG_NS);
        burn(i * 700 % (TORC_MS - LAG_NS)); /* work of all lengths below the period */
    }
    return 0;
}

TEST(time, interval_does_not_drift)
{
    core_host_init(&machine);
    machine.host.turn = lagging_turn;
    MUST(run_with(&(struct torci_exec_config){0}, no_drift_main, NULL));
}

static int late_main(void *arg)
{
    (void)arg;
    struct torc_interval interval;
    torc_interval_init(&interval, 10 * TORC_MS);
    burn(35 * TORC_MS);
    CHECK_EQ(torc_interval_wait(&interval), 3); /* 10, 20, 30 */
    CHECK_EQ(elapsed(), 35 * TORC_MS);
    CHECK_EQ(torc_interval_wait(&interval), 1);
    CHECK_EQ(elapsed(), 40 * TORC_MS); /* back in step */
    burn(10 * TORC_MS);
    CHECK_EQ(torc_interval_wait(&interval), 1); /* due this very nanosecond */
    CHECK_EQ(elapsed(), 50 * TORC_MS);
    burn(20 * TORC_MS - 1);
    CHECK_EQ(torc_interval_wait(&interval), 1);
    CHECK_EQ(torc_interval_wait(&interval), 1);
    CHECK_EQ(elapsed(), 70 * TORC_MS);
    return 0;
}

TEST(time, late_interval_counts_what_it_missed)
{
    MUST(run(late_main, NULL));
}

static int always_late(void *arg)
{
    struct torc_interval interval;
    (void)arg;
    torc_interval_init(&interval, TORC_MS);
    for (int i = 0; i < 10; i++) {
        burn(5 * TORC_MS);
        CHECK(torc_interval_wait(&interval) > 1);
    }
    tell('i');
    return 0;
}

static int tell_in_between(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        tell('o');
        torc_yield();
    }
    return 0;
}

static int always_late_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, always_late, NULL));
    MUST(torc_spawn(&all, tell_in_between, NULL));
    MUST(torc_scope_join(&all));
    CHECK_STR(story, "oooi");
    return 0;
}

TEST(time, interval_that_is_always_late_lets_others_run)
{
    MUST(run(always_late_main, NULL));
}

static int interval_interrupted_main(void *arg)
{
    (void)arg;
    struct torc_interval interval;
    struct torc_deadline deadline;
    torc_interval_init(&interval, 10 * TORC_MS);
    torc_deadline_enter(&deadline, 15 * TORC_MS);
    CHECK_EQ(torc_interval_wait(&interval), 1);
    CHECK_EQ(torc_interval_wait(&interval), -ETIMEDOUT);
    CHECK_EQ(torc_interval_wait(&interval), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(elapsed(), 15 * TORC_MS);
    CHECK_EQ(torc_interval_wait(&interval), 1); /* no tick was lost by that */
    CHECK_EQ(elapsed(), 20 * TORC_MS);
    return 0;
}

TEST(time, interrupted_interval_keeps_its_ticks)
{
    MUST(run(interval_interrupted_main, NULL));
}

static int long_interval_main(void *arg)
{
    (void)arg;
    static const uint64_t periods[] = {UINT64_MAX, UINT64_MAX - TORC_SEC, UINT64_MAX / 2 + 1};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(periods); i++) {
        struct torc_interval interval;
        struct torc_deadline deadline;
        torc_interval_init(&interval, periods[i]);
        torc_deadline_enter(&deadline, TORC_SEC);
        CHECK_EQ(torc_interval_wait(&interval), -ETIMEDOUT);
        CHECK(torc_deadline_leave(&deadline));
    }
    struct torc_interval interval;
    uint64_t first = torc_now_ns() + UINT64_MAX / 2 + 1;
    torc_interval_init(&interval, UINT64_MAX / 2 + 1);
    CHECK_EQ(torc_interval_wait(&interval), 1);
    CHECK_EQ(torc_now_ns(), first);
    CHECK_EQ(interval.next_ns, UINT64_MAX); /* the second tick is beyond the end of time */
    return 0;
}

TEST(time, interval_near_the_end_of_time_does_not_wrap)
{
    MUST(run(long_interval_main, NULL));
}

static int zero_interval(void *arg)
{
    (void)arg;
    struct torc_interval interval;
    torc_interval_init(&interval, 0);
    return 0;
}

TEST_DYING(time, interval_of_zero_aborts, SIGABRT)
{
    (void)run(zero_interval, NULL);
}
