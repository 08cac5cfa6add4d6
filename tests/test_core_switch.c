/* SPDX-License-Identifier: MIT
 *
 * The context switch: what a task had before it, it has after it, whatever the compiler made of the code around.
 * test_core_switch_o3.c is this file again, compiled with -O3.
 */
#include <stdarg.h>

#include "tests/core_tasks.h"

#ifndef SUITE
#define SUITE switch
#endif

enum { COUNTERS = 128, ROUNDS = 500 };

/* Nobody takes the addresses of these, so a compiler that sees everything that a function of this file does may keep
 * them in registers across its calls. With the library compiled for LTO, gcc 12 does from -O2 on: of the 64,000
 * increments around give_way 627 are left. */
static uint64_t counted, counted_around;
static double weighed;
static struct {
    uint32_t first, second;
} pair;
static uint64_t counted_parked;

static __attribute__((noinline)) void give_way(void)
{
    torc_yield();
}

static int count_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        counted++;
        torc_yield();
        weighed += 0.5;
        pair.first++;
        torc_yield();
        pair.second += 2;
    }
    return 0;
}

static int count_around(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        counted_around++;
        give_way();
    }
    return 0;
}

static int count_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < COUNTERS; i++)
        MUST(torc_spawn(&all, count_often, NULL));
    MUST(torc_scope_join(&all));
    torc_scope_init(&all);
    for (int i = 0; i < COUNTERS; i++)
        MUST(torc_spawn(&all, count_around, NULL));
    MUST(torc_scope_join(&all));
    CHECK_EQ(counted, COUNTERS * ROUNDS);
    CHECK_EQ(counted_around, COUNTERS * ROUNDS);
    CHECK(weighed == COUNTERS * ROUNDS / 2.0);
    CHECK_EQ(pair.first, COUNTERS * ROUNDS);
    CHECK_EQ(pair.second, 2 * COUNTERS * ROUNDS);
    return 0;
}

TEST(SUITE, switch_is_opaque)
{
    MUST(run(count_main, NULL));
}

/* The same for the parking switch, which io and the sync primitives inline. */
static struct torci_link line;

static __attribute__((noinline)) int park_here(void)
{
    struct torci_wait wait;
    torci_wait_init(&wait);
    torci_list_push_back(&line, &wait.link);
    return torci_wait_park(&wait);
}

static int count_parked(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        counted_parked++;
        CHECK_EQ(park_here(), i);
    }
    return 0;
}

static int count_parked_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torci_link_init(&line);
    torc_scope_init(&all);
    for (int i = 0; i < COUNTERS; i++)
        MUST(torc_spawn(&all, count_parked, NULL));
    for (int i = 0; i < ROUNDS; i++) {
        torc_yield();
        CHECK_EQ(counted_parked, (i + 1) * COUNTERS);
        torci_wait_wake_all(&line, i);
    }
    MUST(torc_scope_join(&all));
    CHECK_EQ(counted_parked, COUNTERS * ROUNDS);
    return 0;
}

TEST(SUITE, parking_is_opaque)
{
    MUST(run(count_parked_main, NULL));
}

/* More live values than there are registers, of both kinds, across a switch in a loop. */
#define EACH(what) \
    what(0) what(1) what(2) what(3) what(4) what(5) what(6) what(7) what(8) what(9) what(10) \
        what(11) what(12) what(13) what(14) what(15) what(16) what(17) what(18) what(19)
#define DECLARE(n) \
    uint64_t i##n = seed * (n + 3); \
    double d##n = (double)(seed + n) * 0.25;
#define STEP(n) \
    i##n = i##n * 5 + n; \
    d##n = d##n * 0.5 + n;
#define ADD(n) sum += i##n ^ (uint64_t)(d##n * 1024);

#define MIX(name, between) \
    static __attribute__((noinline)) uint64_t name(uint64_t seed) \
    { \
        EACH(DECLARE) \
        for (int round = 0; round < 40; round++) { \
            EACH(STEP) \
            between; \
        } \
        uint64_t sum = 0; \
        EACH(ADD) \
        return sum; \
    }

MIX(mix_alone, (void)0)
MIX(mix_yielding, torc_yield())
MIX(mix_yielding_by_call, torc_task_yield())
MIX(mix_sleeping, CHECK_EQ(torc_sleep(seed % 7), 0))

static int mix(void *arg)
{
    uint64_t seed = (uintptr_t)arg, wanted = mix_alone(seed);
    CHECK_EQ(mix_yielding(seed), wanted);
    CHECK_EQ(mix_yielding_by_call(seed), wanted);
    CHECK_EQ(mix_sleeping(seed), wanted);
    return 0;
}

static int mix_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (uintptr_t i = 0; i < 50; i++)
        MUST(torc_spawn(&all, mix, (void *)(i * 77 + 1)));
    MUST(torc_scope_join(&all));
    return 0;
}

TEST(SUITE, registers_survive_a_switch)
{
    MUST(run(mix_main, NULL));
}

/* A frame that is aligned further than the ABI has it and whose size is known at run time only: clang addresses it by a
 * register that no clobber list can tell it not to use. */
static __attribute__((noinline)) uint64_t aligned_frame(uint64_t seed)
{
    _Alignas(64) uint64_t fixed[32];
    uint64_t count = 8 + seed % 40, sum = 0;
    uint64_t *sized = __builtin_alloca(count * sizeof *sized);
    for (uint64_t i = 0; i < 32; i++)
        fixed[i] = seed * (i + 1);
    for (uint64_t i = 0; i < count; i++)
        sized[i] = seed + i;
    __asm__ volatile("" : : "r"(fixed), "r"(sized) : "memory");
    for (int round = 0; round < 10; round++) {
        torc_yield();
        fixed[round] += sized[round % 8];
        sized[round % 8]++;
    }
    __asm__ volatile("" : : "r"(fixed), "r"(sized) : "memory");
    for (uint64_t i = 0; i < 32; i++)
        sum += fixed[i];
    for (uint64_t i = 0; i < count; i++)
        sum ^= sized[i];
    return sum + (uintptr_t)fixed % 64;
}

static uint64_t seed_of(unsigned i)
{
    return 1000 * i + i;
}

static uint64_t frame_sums[32];

static int aligned_frame_task(void *arg)
{
    unsigned i = (unsigned)(uintptr_t)arg;
    frame_sums[i] = aligned_frame(seed_of(i));
    return 0;
}

static int aligned_frame_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    uint64_t alone[32];
    for (unsigned i = 0; i < 32; i++)
        alone[i] = aligned_frame(seed_of(i)); /* with nobody else to switch to */
    torc_scope_init(&all);
    for (uintptr_t i = 0; i < 32; i++)
        MUST(torc_spawn(&all, aligned_frame_task, (void *)i));
    MUST(torc_scope_join(&all));
    for (unsigned i = 0; i < 32; i++)
        CHECK_EQ(frame_sums[i], alone[i]);
    return 0;
}

TEST(SUITE, frames_of_run_time_size_survive_a_switch)
{
    MUST(run(aligned_frame_main, NULL));
}

static __attribute__((noinline)) bool is_aligned(const void *address)
{
    return (uintptr_t)address % 16 == 0;
}

static __attribute__((noinline)) double second_of(int count, ...)
{
    va_list args;
    va_start(args, count);
    (void)va_arg(args, double);
    double second = va_arg(args, double);
    va_end(args);
    return second;
}

/* Aligned as the ABI has it, which compilers believe and do not mend. */
static int look_at_alignment(void *arg)
{
    (void)arg;
    _Alignas(16) char local[16];
    char text[64];
    CHECK(is_aligned(local));
    CHECK(is_aligned(__builtin_frame_address(0)));
    torc_yield();
    CHECK(is_aligned(local));
    CHECK(second_of(2, 1.5, 2.5) == 2.5);
    snprintf(text, sizeof text, "%.2f %.1Lf", 3.25, (long double)-1.5);
    CHECK_STR(text, "3.25 -1.5");
    return 0;
}

static int alignment_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 60; i++)
        MUST(torc_spawn(&all, look_at_alignment, NULL));
    MUST(torc_scope_join(&all));
    return look_at_alignment(NULL);
}

TEST(SUITE, stacks_are_aligned_as_the_abi_wants)
{
    MUST(run(alignment_main, NULL));
}

/* Every level keeps a value of its own across switches on the way down and on the way up. */
static __attribute__((noinline)) uint64_t dive(unsigned depth, uint64_t salt)
{
    uint64_t kept[4] = {salt, depth, salt ^ depth, ~salt};
    torc_yield();
    uint64_t below = depth ? dive(depth - 1, salt * 3 + 1) : 0;
    torc_yield();
    CHECK(kept[0] == salt && kept[1] == depth && kept[2] == (salt ^ depth) && kept[3] == ~salt);
    return below + kept[2];
}

static uint64_t dive_alone(unsigned depth, uint64_t salt)
{
    return (depth ? dive_alone(depth - 1, salt * 3 + 1) : 0) + (salt ^ depth);
}

static int dive_task(void *arg)
{
    uint64_t salt = (uintptr_t)arg;
    unsigned depth = 50 + (unsigned)(salt % 50);
    CHECK_EQ(dive(depth, salt), dive_alone(depth, salt));
    return 0;
}

static int dive_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (uintptr_t i = 1; i <= 32; i++)
        MUST(torc_spawn(&all, dive_task, (void *)(i * 13)));
    MUST(torc_scope_join(&all));
    return 0;
}

TEST(SUITE, frames_survive_switches_at_every_depth)
{
    MUST(run(dive_main, NULL));
}

/* Tasks that end at once hand their stack to the next one, which begins without a switch; others begin by one, from a
 * task or from the loop. All must find a whole stack. */
static const struct torci_stack *warm;
static unsigned warm_runs, cold_runs;

static int run_once(void *arg)
{
    const struct torci_stack *mine = torci_this->current->stack;
    CHECK(mine->fiber == torci_this->current);
    *(mine == warm ? &warm_runs : &cold_runs) += 1;
    warm = mine;
    MUST(look_at_alignment(NULL)); /* parks, so that the next one needs another stack */
    CHECK(mine->fiber == torci_this->current);
    return (int)(intptr_t)arg;
}

static int end_at_once(void *arg)
{
    (void)arg;
    const struct torci_stack *mine = torci_this->current->stack;
    *(mine == warm ? &warm_runs : &cold_runs) += 1;
    warm = mine;
    return 0;
}

static int warm_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 100; i++)
        MUST(torc_spawn(&all, end_at_once, NULL));
    MUST(torc_scope_join(&all));
    CHECK_EQ(cold_runs, 1);
    CHECK_EQ(warm_runs, 99);
    torc_scope_init(&all);
    for (int i = 0; i < 100; i++)
        MUST(torc_spawn(&all, i % 3 ? end_at_once : run_once, NULL));
    MUST(torc_scope_join(&all));
    return 0;
}

TEST(SUITE, task_begins_on_the_warm_stack_of_the_one_that_ended)
{
    MUST(run(warm_main, NULL));
}

static int fill_big_frame(void *arg)
{
    (void)arg;
    volatile char frame[96 * 1024];
    for (size_t i = 0; i < sizeof frame; i += 512)
        frame[i] = 1;
    return frame[512] - 1;
}

static int big_after_small_main(void *arg)
{
    (void)arg;
    const struct torc_task_options big = {.stack_bytes = 192 * 1024};
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 8; i++) {
        MUST(torc_spawn(&all, end_at_once, NULL));
        MUST(torc_spawn_with(&all, &big, fill_big_frame, NULL));
    }
    return torc_scope_join(&all);
}

TEST(SUITE, warm_stack_of_another_size_is_not_taken_over)
{
    MUST(run(big_after_small_main, NULL));
}

/* A million switches by way of the loop and as many first runs: nothing may pile up, TSan's record of calls included. */
static int yield_once(void *arg)
{
    (void)arg;
    torc_yield();
    return 0;
}

static int pile_up_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_queue other;
    enum { TIMES = UNDER_TSAN ? 100000 : 300000 };
    MUST(torc_queue_init(&other, &(struct torc_queue_options){.name = "other"}));
    for (int i = 0; i < TIMES; i += 10) {
        torc_scope_init(&all);
        for (int k = 0; k < 10; k++)
            MUST(torc_spawn_with(&all, &(struct torc_task_options){.queue = k & 1 ? &other : NULL},
                                 yield_once, NULL));
        torci_this->budget = (uint32_t)(i / 10 % 7); /* the loop's turn comes at odd moments */
        MUST(torc_scope_join(&all));
    }
    MUST(torc_queue_deinit(&other));
    for (int i = 0; i < TIMES; i++)
        MUST(torc_sleep(0)); /* leaves by parking, comes back from the loop */
    return 0;
}

TEST(SUITE, nothing_piles_up_over_many_switches)
{
    MUST(run(pile_up_main, NULL));
}

/* A lone task that yields is its own successor. */
static int lone_main(void *arg)
{
    (void)arg;
    uint64_t kept = 0;
    for (int i = 0; i < 1000; i++) {
        kept += (uint64_t)i;
        torc_yield();
    }
    CHECK_EQ(kept, 499500);
    return 7;
}

TEST(SUITE, lone_task_yields_to_itself)
{
    CHECK_EQ(run(lone_main, NULL), 7);
}

/* All stacks in use at once, each with its own content. */
static uint64_t many_sum;

static int hold_value(void *arg)
{
    uint64_t kept[8];
    for (unsigned i = 0; i < 8; i++)
        kept[i] = (uintptr_t)arg * (i + 1);
    for (int round = 0; round < 3; round++)
        torc_yield();
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(kept[i], (uintptr_t)arg * (i + 1));
    many_sum += kept[0];
    return 0;
}

static int many_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (uintptr_t i = 1; i <= MANY_TASKS; i++)
        MUST(torc_spawn(&all, hold_value, (void *)i));
    torc_yield();
    CHECK_EQ(torci_this->fibers_live, MANY_TASKS + 1);
    MUST(torc_scope_join(&all));
    CHECK_EQ(many_sum, (uint64_t)MANY_TASKS * (MANY_TASKS + 1) / 2);
    return 0;
}

TEST(SUITE, ten_thousand_tasks_hold_their_stacks_at_once)
{
    MUST(run(many_main, NULL));
}
