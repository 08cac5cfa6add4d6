/* SPDX-License-Identifier: MIT
 *
 * How queues share the CPU. Tasks spend virtual time by burn(), so every share is exact to a slice.
 */
#include "core/event.h"
#include "core/random_internal.h"
#include "tests/core_tasks.h"

static struct torc_event event;
static bool stop;

static int wait_here(void *arg)
{
    (void)arg;
    return torc_event_wait(&event);
}

static int return_at_once(void *arg)
{
    (void)arg;
    return 0;
}

static void check_queues(void)
{
    CHECK(torci_queue_check(&torci_this->top));
}

/* On a machine whose queues are looked over in every turn, with a quota of 1 ms. */
enum { QUOTA_NS = 1000 * 1000 };
static int run_checked(torc_task_fn *fn)
{
    core_host_init(&machine);
    machine.on_turn = check_queues;
    return run_with(&(struct torci_exec_config){.quota_ns = QUOTA_NS}, fn, NULL);
}

/* Computes in steps of 10 us for as long as the test lasts, and yields when it should. */
static int compute(void *arg)
{
    (void)arg;
    while (!stop) {
        burn(10 * TORC_US);
        if (torc_should_yield())
            torc_yield();
    }
    return 0;
}

static int compute_when_set(void *arg)
{
    MUST(torc_event_wait(&event));
    return compute(arg);
}

/* The same in one queue or another, one task each. */
static void spawn_into(struct torc_scope *scope, struct torc_queue *queue, torc_task_fn *fn,
                       void *arg)
{
    MUST(torc_spawn_with(scope, &(struct torc_task_options){.queue = queue}, fn, arg));
}

static void init_queue(struct torc_queue *queue, uint32_t shares, struct torc_queue *parent)
{
    MUST(torc_queue_init(
        queue, &(struct torc_queue_options){.name = "q", .shares = shares, .parent = parent}));
}

/* Within two slices of its part of TOTAL_NS. */
static void check_part(const struct torc_queue *queue, uint64_t before_ns, uint64_t wanted_ns)
{
    uint64_t got_ns = torc_queue_cpu_ns(queue) - before_ns;
    if (got_ns + 3 * QUOTA_NS < wanted_ns || got_ns > wanted_ns + 3 * QUOTA_NS)
        TEST_FAIL("%llu ns of CPU, not %llu", (unsigned long long)got_ns,
                  (unsigned long long)wanted_ns);
}

/* ---- shares ---- */

static int shares_main(void *arg)
{
    (void)arg;
    static struct torc_queue queues[4];
    static const uint32_t shares[4] = {100, 200, 50, 650};
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 4; i++) {
        init_queue(&queues[i], shares[i], NULL);
        for (int k = 0; k <= i; k++) /* how many tasks a queue has does not matter */
            spawn_into(&all, &queues[i], compute, NULL);
    }
    MUST(torc_sleep(TORC_SEC));
    for (int i = 0; i < 4; i++)
        check_part(&queues[i], 0, TORC_MS * shares[i]);
    stop = true;
    MUST(torc_scope_join(&all));
    for (int i = 0; i < 4; i++)
        MUST(torc_queue_deinit(&queues[i]));
    return 0;
}

TEST(queue, shares_divide_the_cpu)
{
    MUST(run_checked(shares_main));
}

static int nested_main(void *arg)
{
    (void)arg;
    static struct torc_queue alone, group, first, second, inner, third;
    struct torc_scope all;
    torc_scope_init(&all);
    init_queue(&alone, 100, NULL);
    init_queue(&group, 300, NULL);
    init_queue(&first, 100, &group);
    init_queue(&second, 200, &group);
    init_queue(&inner, 300, &group);
    init_queue(&third, 7, &inner); /* alone in its group: shares do not matter */
    struct torc_queue *leaves[] = {&alone, &first, &second, &third};
    static const unsigned parts_ms[] = {600, 300, 600, 900}; /* of 2,400 */
    for (int i = 0; i < 4; i++)
        spawn_into(&all, leaves[i], compute, NULL);
    MUST(torc_sleep(2400 * TORC_MS));
    for (int i = 0; i < 4; i++)
        check_part(leaves[i], 0, parts_ms[i] * TORC_MS);
    check_part(&group, 0, 1800 * TORC_MS);
    CHECK_EQ(torc_queue_deinit(&group), -EBUSY);
    stop = true;
    MUST(torc_scope_join(&all));
    CHECK_EQ(torc_queue_deinit(&group), -EBUSY);
    for (int i = 0; i < 4; i++)
        MUST(torc_queue_deinit(leaves[i]));
    CHECK_EQ(torc_queue_deinit(&group), -EBUSY);
    MUST(torc_queue_deinit(&inner));
    MUST(torc_queue_deinit(&group));
    return 0;
}

TEST(queue, groups_divide_their_shares_among_their_members)
{
    MUST(run_checked(nested_main));
}

static int slept_main(void *arg)
{
    (void)arg;
    static struct torc_queue one, two;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    init_queue(&one, 100, NULL);
    init_queue(&two, 300, NULL);
    spawn_into(&all, &one, compute_when_set, NULL);
    spawn_into(&all, &two, compute_when_set, NULL);
    MUST(torc_sleep(TORC_SEC)); /* nobody is runnable */
    torc_event_set(&event);
    MUST(torc_sleep(100 * TORC_MS));
    check_part(&one, 0, 25 * TORC_MS);
    check_part(&two, 0, 75 * TORC_MS);
    stop = true;
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&one));
    return torc_queue_deinit(&two);
}

TEST(queue, shares_hold_after_all_have_slept)
{
    MUST(run_checked(slept_main));
}

static int change_main(void *arg)
{
    (void)arg;
    static struct torc_queue one, two;
    struct torc_scope all;
    torc_scope_init(&all);
    init_queue(&one, 0, NULL); /* the default */
    init_queue(&two, 100, NULL);
    spawn_into(&all, &one, compute, NULL);
    spawn_into(&all, &two, compute, NULL);
    MUST(torc_sleep(100 * TORC_MS));
    check_part(&one, 0, 50 * TORC_MS);
    uint64_t one_ns = torc_queue_cpu_ns(&one), two_ns = torc_queue_cpu_ns(&two);
    MUST(torc_queue_set_shares(&two, 900));
    MUST(torc_sleep(100 * TORC_MS));
    check_part(&one, one_ns, 10 * TORC_MS);
    check_part(&two, two_ns, 90 * TORC_MS);
    stop = true;
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&one));
    return torc_queue_deinit(&two);
}

TEST(queue, shares_can_change)
{
    MUST(run_checked(change_main));
}

static int tell_in_turn(void *arg)
{
    for (int i = 0; i < 3; i++) {
        tell((char)(intptr_t)arg);
        torc_yield();
    }
    return 0;
}

static int fifo_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (intptr_t letter = 'a'; letter < 'f'; letter++)
        MUST(torc_spawn(&all, tell_in_turn, (void *)letter));
    MUST(torc_scope_join(&all));
    CHECK_STR(story, "abcdeabcdeabcde");
    return 0;
}

TEST(queue, tasks_of_one_queue_run_in_turn)
{
    MUST(run_checked(fifo_main));
}

/* ---- waking ---- */

static int no_credit_main(void *arg)
{
    (void)arg;
    static struct torc_queue busy, idle;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    init_queue(&busy, 100, NULL);
    init_queue(&idle, 100, NULL);
    spawn_into(&all, &busy, compute, NULL);
    spawn_into(&all, &idle, compute_when_set, NULL);
    MUST(torc_sleep(TORC_SEC));
    uint64_t busy_ns = torc_queue_cpu_ns(&busy), idle_ns = torc_queue_cpu_ns(&idle);
    CHECK_EQ(idle_ns, 0);
    torc_event_set(&event);
    MUST(torc_sleep(100 * TORC_MS));
    check_part(&busy, busy_ns, 50 * TORC_MS);
    check_part(&idle, idle_ns, 50 * TORC_MS);
    stop = true;
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&busy));
    return torc_queue_deinit(&idle);
}

TEST(queue, time_asleep_gives_no_credit)
{
    MUST(run_checked(no_credit_main));
}

/* What a waking queue owes nobody: one that its goal let run ahead of its share must not drag the waker along. */
static int no_debt_main(void *arg)
{
    (void)arg;
    static struct torc_queue poor, rich, waker;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_queue_init(
        &poor, &(struct torc_queue_options){.shares = 1, .latency_goal_ns = 50 * TORC_US}));
    init_queue(&rich, 100, NULL);
    init_queue(&waker, 100, NULL);
    spawn_into(&all, &rich, compute, NULL);
    spawn_into(&all, &waker, compute_when_set, NULL);
    MUST(torc_sleep(300 * TORC_MS));
    spawn_into(&all, &poor, compute, NULL);
    MUST(torc_sleep(10 * TORC_MS));
    CHECK(poor.vruntime > rich.vruntime + 50 * TORC_MS);
    uint64_t rich_ns = torc_queue_cpu_ns(&rich), waker_ns = torc_queue_cpu_ns(&waker);
    torc_event_set(&event);
    MUST(torc_sleep(80 * TORC_MS));
    check_part(&rich, rich_ns, 40 * TORC_MS);
    check_part(&waker, waker_ns, 40 * TORC_MS);
    stop = true;
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&poor));
    MUST(torc_queue_deinit(&rich));
    return torc_queue_deinit(&waker);
}

TEST(queue, waker_starts_level_with_the_least)
{
    MUST(run_checked(no_debt_main));
}

/* ---- latency goals ---- */

static uint64_t worst_late_ns, set_at_ns;

/* Waits for the event again and again, notes how late it gets to run, and works for ARG ns. */
static int serve_events(void *arg)
{
    for (;;) {
        MUST(torc_event_wait(&event));
        if (stop)
            return 0;
        uint64_t late = torc_now_ns() - set_at_ns;
        worst_late_ns = late > worst_late_ns ? late : worst_late_ns;
        burn((uintptr_t)arg);
    }
}

/* As compute, and sets the event twice in a row every 8 ms: the second time its queue is ahead of the others. */
static int compute_and_set(void *arg)
{
    (void)arg;
    uint64_t gap_ns = 700 * TORC_US;
    set_at_ns = torc_now_ns();
    while (!stop) {
        burn(10 * TORC_US);
        if (torc_now_ns() >= set_at_ns + gap_ns) {
            set_at_ns = torc_now_ns();
            gap_ns = 8 * TORC_MS - gap_ns;
            torc_event_set(&event);
        }
        if (torc_should_yield())
            torc_yield();
    }
    torc_event_set(&event);
    return 0;
}

static uint64_t latency_with_goal(uint64_t goal_ns)
{
    static struct torc_queue busy[3], quick;
    struct torc_scope all;
    stop = false;
    worst_late_ns = 0;
    torc_event_init_auto(&event);
    torc_scope_init(&all);
    for (int i = 0; i < 3; i++) {
        init_queue(&busy[i], 1000, NULL);
        spawn_into(&all, &busy[i], i ? compute : compute_and_set, NULL);
        spawn_into(&all, &busy[i], compute, NULL);
    }
    MUST(torc_queue_init(&quick,
                         &(struct torc_queue_options){.shares = 1000, .latency_goal_ns = goal_ns}));
    spawn_into(&all, &quick, serve_events, (void *)(uintptr_t)(400 * TORC_US));
    MUST(torc_sleep(2 * TORC_SEC));
    stop = true;
    MUST(torc_scope_join(&all));
    for (int i = 0; i < 3; i++)
        MUST(torc_queue_deinit(&busy[i]));
    MUST(torc_queue_deinit(&quick));
    return worst_late_ns;
}

static int goal_main(void *arg)
{
    (void)arg;
    static const uint64_t goals_us[] = {50, 200, 400, 500};
    CHECK(latency_with_goal(0) > 500 * TORC_US); /* or the rest proves nothing */
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(goals_us); i++) {
        uint64_t late_ns = latency_with_goal(goals_us[i] * TORC_US);
        CHECK(late_ns > 0);
        if (late_ns > goals_us[i] * TORC_US)
            TEST_FAIL("%llu us late", (unsigned long long)(late_ns / TORC_US));
    }
    return 0;
}

TEST(queue, latency_goal_is_kept_while_others_compute)
{
    MUST(run_checked(goal_main));
}

/* The decision itself, at its edges: two queues are ready, and a third of a group. */
static int edges_main(void *arg)
{
    (void)arg;
    static struct torc_queue goal, other, plain;
    static const uint64_t now = 50 * TORC_SEC, min = 7 * TORC_SEC;
    struct torci_exec *exec = torci_this;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_queue_init(&goal,
                         &(struct torc_queue_options){.shares = 200, .latency_goal_ns = 100}));
    MUST(torc_queue_init(&other, &(struct torc_queue_options){.latency_goal_ns = 600}));
    init_queue(&plain, 100, NULL);
    spawn_into(&all, &goal, return_at_once, NULL);
    spawn_into(&all, &plain, return_at_once, NULL);
    exec->root.vruntime = min + TORC_SEC; /* our own: out of the way */
    exec->top.vruntime_min = min;
    exec->now_ns = now;
    plain.vruntime = min;

    goal.vruntime = min + 1;
    goal.start_by_ns = now + 51; /* its claim begins at half of the goal, in 1 ns */
    CHECK(torci_queue_pick(exec) == &plain);
    CHECK_EQ(torci_queue_slice_end(exec, &plain), now + 1);
    CHECK_EQ(torci_queue_slice_end(exec, &goal), now + QUOTA_NS);
    goal.start_by_ns = now + 50;
    CHECK(torci_queue_pick(exec) == &goal);
    goal.vruntime = min + QUOTA_NS / 2; /* a quota ahead, by its shares */
    CHECK(torci_queue_pick(exec) == &goal);
    goal.vruntime++;
    CHECK(torci_queue_pick(exec) == &plain);
    CHECK_EQ(torci_queue_slice_end(exec, &plain), now + QUOTA_NS);
    goal.vruntime = min - 1; /* nobody's turn is as near, claim or none */
    goal.start_by_ns = now + 99;
    CHECK(torci_queue_pick(exec) == &goal);

    spawn_into(&all, &other, return_at_once, NULL);
    goal.vruntime = other.vruntime = min + 5;
    goal.start_by_ns = now + 50;
    other.start_by_ns = now + 49; /* both may claim; this one is due earlier */
    CHECK(torci_queue_pick(exec) == &other);
    other.start_by_ns = now + 51;
    CHECK(torci_queue_pick(exec) == &goal);
    torci_queue_charge(exec, &goal, 10); /* has started: a new claim begins */
    CHECK_EQ(goal.start_by_ns, now + 100);
    CHECK_EQ(torc_queue_cpu_ns(&goal), 10);

    exec->root.vruntime = min;
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&goal));
    MUST(torc_queue_deinit(&other));
    return torc_queue_deinit(&plain);
}

TEST(queue, claim_begins_at_half_of_the_goal_and_ends_a_quota_ahead)
{
    MUST(run_checked(edges_main));
}

static int wake_goal_main(void *arg)
{
    (void)arg;
    static struct torc_queue goal;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_queue_init(&goal, &(struct torc_queue_options){.latency_goal_ns = 100 * TORC_US}));
    spawn_into(&all, &goal, wait_here, NULL);
    MUST(torc_sleep(1));
    CHECK(torci_this->budget > 0);
    uint64_t turns = torci_this->counters->loop_turns;
    torc_event_set(&event);
    burn(50 * TORC_US - 1);
    CHECK(!torc_should_yield());
    burn(1);
    CHECK(torc_should_yield());
    torci_this->budget = 0;
    CHECK_EQ(torci_this->counters->loop_turns, turns);
    MUST(torc_scope_join(&all));

    torc_event_init(&event);
    torc_scope_init(&all);
    spawn_into(&all, &goal, wait_here, NULL);
    MUST(torc_sleep(1));
    turns = torci_this->counters->loop_turns;
    torc_event_set(&event);
    torc_yield();                                          /* the first switch goes to the loop */
    CHECK_EQ(torci_this->counters->loop_turns, turns + 2); /* its slice, and ours */
    MUST(torc_scope_join(&all));
    return torc_queue_deinit(&goal);
}

TEST(queue, waking_with_a_goal_ends_the_slice_that_is_going_on)
{
    MUST(run_checked(wake_goal_main));
}

static int goal_share_main(void *arg)
{
    (void)arg;
    static struct torc_queue busy, greedy;
    static const uint64_t goals[] = {1, 10 * TORC_US, 100 * TORC_US, TORC_MS, 10 * TORC_MS};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(goals); i++) {
        struct torc_scope all;
        stop = false;
        torc_scope_init(&all);
        init_queue(&busy, 300, NULL);
        MUST(torc_queue_init(&greedy, &(struct torc_queue_options){.latency_goal_ns = goals[i]}));
        spawn_into(&all, &busy, compute, NULL);
        spawn_into(&all, &greedy, compute, NULL);
        MUST(torc_sleep(400 * TORC_MS));
        check_part(&busy, 0, 300 * TORC_MS);
        check_part(&greedy, 0, 100 * TORC_MS);
        stop = true;
        MUST(torc_scope_join(&all));
        MUST(torc_queue_deinit(&busy));
        MUST(torc_queue_deinit(&greedy));
    }
    return 0;
}

TEST(queue, latency_goal_gives_no_more_than_the_share)
{
    MUST(run_checked(goal_share_main));
}

static int huge_goal_main(void *arg)
{
    (void)arg;
    static struct torc_queue busy, patient;
    struct torc_scope all;
    torc_scope_init(&all);
    init_queue(&busy, 300, NULL);
    MUST(torc_queue_init(&patient, &(struct torc_queue_options){.latency_goal_ns = UINT64_MAX}));
    CHECK_EQ(patient.latency_goal_ns, 0);
    spawn_into(&all, &busy, compute, NULL);
    spawn_into(&all, &patient, compute, NULL);
    MUST(torc_sleep(40 * TORC_MS));
    check_part(&busy, 0, 30 * TORC_MS);
    stop = true;
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&busy));
    return torc_queue_deinit(&patient);
}

TEST(queue, latency_goal_near_the_end_of_time_is_none)
{
    MUST(run_checked(huge_goal_main));
}

/* ---- slices ---- */

static int quota_main(void *arg)
{
    (void)arg;
    MUST(torc_sleep(1)); /* a slice begins now */
    CHECK(!torc_should_yield());
    burn(QUOTA_NS - 1);
    CHECK(!torc_should_yield());
    burn(1);
    CHECK(torc_should_yield());
    CHECK(torc_should_yield());
    uint64_t turns = torci_this->counters->loop_turns;
    torc_yield();
    CHECK_EQ(torci_this->counters->loop_turns, turns + 1);
    CHECK(!torc_should_yield());
    return 0;
}

TEST(queue, should_yield_when_the_quota_is_up)
{
    MUST(run_checked(quota_main));
}

static uint32_t kernel_flags;

static int flags_main(void *arg)
{
    (void)arg;
    torci_this->kernel_flags = &kernel_flags;
    torci_this->kernel_flags_mask = 6;
    kernel_flags = 1;
    CHECK(!torc_should_yield());
    kernel_flags = 4;
    CHECK(torc_should_yield());
    uint64_t turns = torci_this->counters->loop_turns;
    torc_yield(); /* to the loop, whoever is ready */
    CHECK_EQ(torci_this->counters->loop_turns, turns + 1);
    kernel_flags = 0;
    CHECK(!torc_should_yield());
    return 0;
}

static int flags_outer_main(void *arg)
{
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, flags_main, arg));
    MUST(torc_spawn(&all, tell_in_turn, (void *)(intptr_t)'x'));
    return torc_scope_join(&all);
}

TEST(queue, should_yield_when_the_kernel_has_work)
{
    MUST(run_checked(flags_outer_main));
}

/* The loop looks up now and then even if tasks only ever switch among themselves: after a burst that adapts to how
 * long tasks run between two switches. */
static uint64_t burn_ns, longest_burst_ns, last_turn_ns;

static void note_turn(void)
{
    uint64_t burst = machine.now_ns - last_turn_ns;
    longest_burst_ns = last_turn_ns && burst > longest_burst_ns ? burst : longest_burst_ns;
    last_turn_ns = machine.now_ns;
}

static int switch_often(void *arg)
{
    (void)arg;
    while (!stop) {
        burn(burn_ns);
        torc_yield();
    }
    return 0;
}

static int burst_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 10; i++)
        MUST(torc_spawn(&all, switch_often, NULL));
    static const uint64_t lengths[] = {10, 1000, 20000, 100, 200000, 50};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(lengths); i++) {
        burn_ns = lengths[i];
        for (int k = 0; k < 16; k++) /* to adapt */
            MUST(torc_sleep(TORC_MS));
        longest_burst_ns = 0;
        uint64_t turns = torci_this->counters->loop_turns, began = torc_now_ns();
        MUST(torc_sleep(20 * TORC_MS));
        uint64_t mean = (torc_now_ns() - began) / (torci_this->counters->loop_turns - turns);
        CHECK(longest_burst_ns <= 4 * TORCI_BURST_NS || longest_burst_ns <= 2 * burn_ns);
        CHECK(mean >= TORCI_BURST_NS / 4 || torci_this->burst == TORCI_BURST_MAX);
    }
    stop = true;
    return torc_scope_join(&all);
}

TEST(queue, loop_looks_up_after_a_burst_of_bounded_length)
{
    core_host_init(&machine);
    machine.on_turn = note_turn;
    MUST(run_with(&(struct torci_exec_config){0}, burst_main, NULL));
}

/* A burst that should_yield cuts short says nothing about how long one is. */
static int cut_main(void *arg)
{
    (void)arg;
    torci_this->kernel_flags = &kernel_flags;
    torci_this->kernel_flags_mask = kernel_flags = 1;
    uint32_t burst = torci_this->burst;
    for (int i = 0; i < 100; i++) {
        CHECK(torc_should_yield());
        torc_yield();
    }
    CHECK_EQ(torci_this->burst, burst);
    kernel_flags = 0;
    for (uint32_t i = 0; i < 10 * burst; i++)
        torc_yield();
    CHECK(torci_this->burst > burst); /* one that was used up does */
    return 0;
}

TEST(queue, burst_that_was_cut_short_does_not_lengthen_the_next)
{
    MUST(run_checked(cut_main));
}

/* ---- starvation ---- */

/* Yields for ever in no time at all, as a simulated machine has it. */
static int spin_for_free(void *arg)
{
    (void)arg;
    while (!stop)
        torc_yield();
    return 0;
}

static int set_stop(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        torc_yield();
    stop = true;
    return 0;
}

static int free_main(void *arg)
{
    (void)arg;
    static struct torc_queue queues[2];
    struct torc_scope all;
    for (int first = 0; first < 2; first++) {
        stop = false;
        torc_scope_init(&all);
        init_queue(&queues[0], TORC_SHARES_MAX, NULL);
        init_queue(&queues[1], 1, NULL);
        spawn_into(&all, &queues[first], first ? set_stop : spin_for_free, NULL);
        spawn_into(&all, &queues[!first], first ? spin_for_free : set_stop, NULL);
        MUST(torc_scope_join(&all));
        MUST(torc_queue_deinit(&queues[0]));
        MUST(torc_queue_deinit(&queues[1]));
    }
    return 0;
}

TEST(queue, slices_that_take_no_time_starve_nobody)
{
    MUST(run_checked(free_main));
}

static int count_sleeps(void *arg)
{
    for (int i = 0; i < 100; i++)
        MUST(torc_sleep(10 * TORC_US));
    *(bool *)arg = true;
    return 0;
}

static int timers_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    burn_ns = 100;
    for (int i = 0; i < 20; i++)
        MUST(torc_spawn(&all, switch_often, NULL));
    MUST(torc_spawn(&all, count_sleeps, &stop));
    return torc_scope_join(&all);
}

TEST(queue, busy_tasks_do_not_starve_timers)
{
    MUST(run_checked(timers_main));
}

/* ---- errors ---- */

static int errors_main(void *arg)
{
    (void)arg;
    static struct torc_queue queue, member;
    struct torc_scope all;
    torc_event_init(&event);
    CHECK_EQ(torc_queue_init(&queue, &(struct torc_queue_options){.shares = TORC_SHARES_MAX + 1}),
             -EINVAL);
    MUST(torc_queue_init(&queue, &(struct torc_queue_options){.shares = TORC_SHARES_MAX}));
    CHECK_EQ(torc_queue_set_shares(&queue, 0), -EINVAL);
    CHECK_EQ(torc_queue_set_shares(&queue, TORC_SHARES_MAX + 1), -EINVAL);
    MUST(torc_queue_set_shares(&queue, 1));

    torc_scope_init(&all);
    spawn_into(&all, &queue, wait_here, NULL);
    CHECK_EQ(torc_queue_deinit(&queue), -EBUSY);
    CHECK_EQ(torc_queue_init(&member, &(struct torc_queue_options){.parent = &queue}), -EINVAL);
    settle();
    CHECK_EQ(torc_queue_deinit(&queue), -EBUSY); /* parked tasks count */
    torc_event_set(&event);
    MUST(torc_scope_join(&all));

    MUST(torc_queue_init(&member, &(struct torc_queue_options){.parent = &queue}));
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn_with(&all, &(struct torc_task_options){.queue = &queue}, wait_here, NULL),
             -EINVAL);
    spawn_into(&all, &member, wait_here, NULL);
    MUST(torc_scope_join(&all));
    CHECK_EQ(torc_queue_deinit(&queue), -EBUSY);
    MUST(torc_queue_deinit(&member));
    torc_scope_init(&all);
    spawn_into(&all, &queue, wait_here, NULL); /* no group any more */
    MUST(torc_scope_join(&all));
    MUST(torc_queue_deinit(&queue));
    MUST(torc_queue_init(&queue, NULL));
    CHECK_EQ(queue.shares, TORC_SHARES_DEFAULT);
    return torc_queue_deinit(&queue);
}

TEST(queue, bad_options_and_queues_in_use_are_errors)
{
    MUST(run_checked(errors_main));
}

/* ---- the ring of ready tasks ---- */

static uintptr_t next_number;

static int check_number(void *arg)
{
    CHECK_EQ((uintptr_t)arg, next_number % MANY_TASKS);
    next_number++;
    torc_yield();
    CHECK_EQ((uintptr_t)arg, next_number % MANY_TASKS);
    next_number++;
    return 0;
}

static int ring_main(void *arg)
{
    static struct torc_queue queue;
    struct torc_scope all;
    uintptr_t skew = *(uintptr_t *)arg;
    init_queue(&queue, 100, NULL);
    torc_scope_init(&all);
    for (uintptr_t i = 0; i < skew; i++) { /* move the ring's start */
        spawn_into(&all, &queue, return_at_once, NULL);
        MUST(torc_sleep(0));
    }
    for (uintptr_t i = 0; i < MANY_TASKS; i++)
        spawn_into(&all, &queue, check_number, (void *)i);
    MUST(torc_scope_join(&all));
    CHECK_EQ(next_number, 2 * MANY_TASKS);
    return torc_queue_deinit(&queue);
}

TEST(queue, ten_thousand_ready_tasks_stay_in_order)
{
    for (uintptr_t skew = 0; skew < 40; skew += 13) {
        next_number = 0;
        MUST(run(ring_main, &skew));
    }
}

/* Queues that come and go, wake and sleep in groups, at random: the structure holds in every turn. */
enum { QUEUES = 12 };
static struct torc_queue crowd[QUEUES];
static struct torci_random dice;

static int wander(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        uint64_t what = torci_random_below(&dice, 4);
        burn(torci_random_below(&dice, 30 * TORC_US));
        if (what == 0)
            MUST(torc_sleep(torci_random_below(&dice, TORC_MS)));
        else
            torc_yield();
    }
    return 0;
}

static int crowd_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (unsigned i = 0; i < QUEUES; i++)
        MUST(torc_queue_init(&crowd[i],
                             &(struct torc_queue_options){
                                 .shares = (uint32_t)(1 + torci_random_below(&dice, 500)),
                                 .latency_goal_ns = torci_random_below(&dice, 2) * 300 * TORC_US,
                                 .parent = i < 4 ? NULL : &crowd[i % 4]}));
    for (unsigned i = 0; i < 60; i++)
        spawn_into(&all, &crowd[4 + i % (QUEUES - 4)], wander, NULL);
    MUST(torc_scope_join(&all));
    uint64_t members = 0, groups = 0;
    for (unsigned i = QUEUES; i-- > 0;) {
        *(i < 4 ? &groups : &members) += torc_queue_cpu_ns(&crowd[i]);
        CHECK(!crowd[i].runnable);
        MUST(torc_queue_deinit(&crowd[i]));
    }
    CHECK_EQ(groups, members);
    return 0;
}

TEST(queue, random_queues_keep_their_structure)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        torci_random_seed(&dice, seed);
        MUST(run_checked(crowd_main));
    }
}
