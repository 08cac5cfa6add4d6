/* SPDX-License-Identifier: MIT
 *
 * Stacks: classes, reuse, colours, guards, high-water marks, and what happens when memory runs out.
 */
#include <signal.h>

#include "core/event.h"
#include "core/stack_internal.h"
#include "tests/core_tasks.h"

static struct torci_stacks stacks;
static struct torc_event event;

static void set_up(void)
{
    core_host_init(&machine);
    torci_stacks_init(&stacks, &machine.host);
}

static void tear_down(void)
{
    torci_stacks_deinit(&stacks);
    CHECK_EQ(machine.bytes, 0);
}

static struct torci_stack *take(unsigned stack_class)
{
    MUST(torci_stacks_reserve(&stacks, stack_class));
    return torci_stacks_take(&stacks, stack_class);
}

/* ---- the pool ---- */

TEST(stack, class_is_the_smallest_power_of_two_that_holds_the_size)
{
    CHECK_EQ(torci_stack_class(0), 0);
    CHECK_EQ(torci_stack_class(TORCI_STACK_MIN), 0);
    for (int i = 0; i < TORCI_STACK_CLASSES; i++) {
        size_t size = torci_stack_size((unsigned)i);
        CHECK_EQ(torci_stack_class(size), i);
        CHECK_EQ(torci_stack_class(size - 1), i);
        CHECK_EQ(torci_stack_class(size + 1), i + 1 < TORCI_STACK_CLASSES ? i + 1 : -EINVAL);
    }
    CHECK_EQ(torci_stack_size(TORCI_STACK_CLASSES - 1), 16 << 20);
    CHECK_EQ(torci_stack_class(SIZE_MAX), -EINVAL);
}

TEST(stack, last_one_put_is_the_first_one_taken)
{
    struct torci_stack *taken[40];
    set_up();
    for (int i = 0; i < 40; i++)
        taken[i] = take(2);
    for (int i = 0; i < 40; i++)
        torci_stacks_put(&stacks, taken[i]);
    for (int i = 40; i-- > 0;)
        CHECK(take(2) == taken[i]);
    tear_down();
}

TEST(stack, classes_have_pools_of_their_own)
{
    set_up();
    struct torci_stack *small = take(0), *large = take(5);
    CHECK_EQ(small->stack_class, 0);
    CHECK_EQ(large->stack_class, 5);
    torci_stacks_put(&stacks, small);
    torci_stacks_put(&stacks, large);
    CHECK(take(5) == large);
    CHECK(take(0) == small);
    CHECK(take(0) != large);
    tear_down();
}

TEST(stack, promise_is_kept_although_others_take)
{
    set_up();
    for (int i = 0; i < 100; i++)
        MUST(torci_stacks_reserve(&stacks, 1));
    size_t bytes = machine.bytes;
    machine.fail_at = 0;
    for (int i = 0; i < 100; i++)
        (void)torci_stacks_take(&stacks, 1);
    CHECK_EQ(machine.fail_at, 0); /* nobody asked for memory */
    CHECK_EQ(machine.bytes, bytes);
    tear_down();
}

TEST_DYING(stack, taking_what_was_not_promised_aborts, SIGABRT)
{
    set_up();
    MUST(torci_stacks_reserve(&stacks, 1));
    (void)torci_stacks_take(&stacks, 1);
    (void)torci_stacks_take(&stacks, 1);
}

/* All stacks of a class lie apart, whole, with a guard below each, and are aligned. */
TEST(stack, stacks_do_not_overlap)
{
    enum { COUNT = 200 };
    static struct torci_stack *taken[TORCI_STACK_CLASSES * COUNT];
    unsigned count = 0;
    set_up();
    for (unsigned stack_class = 0; stack_class < TORCI_STACK_CLASSES; stack_class++)
        for (unsigned i = 0; i < (stack_class < 6 ? COUNT : 20); i++)
            taken[count++] = take(stack_class);
    for (unsigned i = 0; i < count; i++) {
        const struct torci_stack *stack = taken[i];
        const char *low = stack->low, *end = low + torci_stack_size(stack->stack_class);
        CHECK_EQ((uintptr_t)low % TORCI_PAGE, 0);
        CHECK_EQ((uintptr_t)stack->top % 16, 0);
        CHECK((const char *)stack->top > end - TORCI_PAGE); /* a shallow task touches one page */
        CHECK((const char *)stack->top <= (const char *)stack && (const char *)(stack + 1) == end);
        CHECK(torci_stacks_find_guard(&stacks, low - 1) == stack);
        CHECK(torci_stacks_find_guard(&stacks, low - TORCI_PAGE) == stack);
        CHECK(torci_stacks_find_guard(&stacks, low) == NULL);
        CHECK(torci_stacks_find_guard(&stacks, stack->top) == NULL);
        CHECK(torci_stacks_find_guard(&stacks, end - 1) == NULL);
        for (unsigned k = 0; k < i; k++) {
            const char *other = taken[k]->low;
            CHECK(other - TORCI_PAGE >= end ||
                  other + torci_stack_size(taken[k]->stack_class) <= low - TORCI_PAGE);
        }
    }
    CHECK(torci_stacks_find_guard(&stacks, NULL) == NULL);
    CHECK(torci_stacks_find_guard(&stacks, &count) == NULL);
    tear_down();
}

/* The guard of a stack that is not made yet is nobody's. */
TEST(stack, room_for_more_has_no_guard_yet)
{
    set_up();
    const struct torci_stack *stack = take(0);
    const char *next = stack->low + torci_stack_size(0);
    CHECK(torci_stacks_find_guard(&stacks, next) == NULL);
    CHECK(torci_stacks_find_guard(&stacks, stack->low - 1) == stack);
    tear_down();
}

/* The first frames of tasks side by side must not fall into the same cache sets. */
TEST(stack, neighbours_differ_in_colour)
{
    enum { COLOURS = 24, SETS_BYTES = 4096 }; /* a set index is taken from 4 KiB of address */
    size_t lines[COLOURS];
    set_up();
    for (int i = 0; i < COLOURS; i++) {
        lines[i] = (uintptr_t)take(2)->top % SETS_BYTES / 64;
        for (int k = 0; k < i; k++)
            CHECK(lines[i] != lines[k]);
    }
    tear_down();
}

TEST(stack, slabs_grow_with_what_there_is)
{
    set_up();
    unsigned slabs = 0;
    for (int i = 0; i < 3000; i++)
        (void)take(0);
    for (struct torci_stack_slab *slab = stacks.slabs; slab; slab = slab->next) {
        CHECK(slab->count <= 1024);
        slabs++;
    }
    CHECK(slabs > 3 && slabs < 12);
    (void)take(TORCI_STACK_CLASSES - 1);
    CHECK(stacks.slabs->size_bytes <= 256 << 20);
    tear_down();
}

/* ---- memory runs out ---- */

TEST(stack, every_failure_on_the_way_is_an_error_and_loses_nothing)
{
    int64_t n = 0;
    for (bool hit = true; hit; n++) {
        unsigned failed = 0;
        set_up();
        machine.fail_at = n;
        for (unsigned i = 0; i < 60; i++) {
            int err = torci_stacks_reserve(&stacks, i % 3);
            CHECK(err == 0 || err == -ENOMEM);
            if (err) {
                failed++;
                MUST(torci_stacks_reserve(&stacks, i % 3)); /* it failed once: all is well again */
            }
            CHECK(torci_stacks_take(&stacks, i % 3) != NULL);
        }
        hit = machine.fail_at < 0;
        CHECK_EQ(failed, hit);
        tear_down();
    }
    CHECK(n > 60 + 6);
}

/* ---- tasks on them ---- */

static int touch_guard(void *arg)
{
    (void)arg;
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would make an exit code of it */
    volatile char *low = torci_this->current->stack->low;
    low[0] = 1;
    if (torci_exec_find_overflow(torci_this, (char *)torci_this->current->stack->low - 1) !=
        torci_this->current)
        return -EIO;
    low[-1] = 1;
    return 0;
}

TEST_DYING(stack, touching_the_guard_faults, SIGSEGV)
{
    (void)run(touch_guard, NULL);
}

static int touch_guard_of_neighbour(void *arg)
{
    struct torc_scope all;
    if (arg)
        return touch_guard(NULL);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, touch_guard_of_neighbour, &event));
    return torc_scope_join(&all);
}

TEST_DYING(stack, touching_the_guard_of_a_later_stack_faults, SIGSEGV)
{
    (void)run(touch_guard_of_neighbour, NULL);
}

static __attribute__((noinline)) unsigned recurse_far(volatile unsigned *depth)
{
    volatile char frame[2000];
    frame[0] = (char)++*depth;
    frame[sizeof frame - 1] = 0;
    return *depth < 1000000 ? recurse_far(depth) + (unsigned)frame[0] : 0;
}

static int overflow(void *arg)
{
    (void)arg;
    unsigned depth = 0;
    signal(SIGSEGV, SIG_DFL);
    return (int)recurse_far(&depth);
}

TEST_DYING(stack, overflow_faults, SIGSEGV)
{
    (void)run(overflow, NULL);
}

#if !UNDER_SANITIZER /* whose builds have no -fstack-clash-protection */
/* One allocation larger than the guard: the compiler's probes must find it. */
static __attribute__((noinline)) int jump_over(size_t size)
{
    volatile char *frame = __builtin_alloca(size);
    frame[0] = 1;
    return frame[0];
}

static int overflow_far(void *arg)
{
    signal(SIGSEGV, SIG_DFL);
    return jump_over((uintptr_t)arg);
}

TEST_DYING(stack, overflow_by_one_huge_frame_faults, SIGSEGV)
{
    (void)run(overflow_far, (void *)(uintptr_t)(3 * TORC_STACK_DEFAULT));
}

TEST_DYING(stack, overflow_by_a_frame_a_little_larger_than_the_stack_faults, SIGSEGV)
{
    (void)run(overflow_far, (void *)(uintptr_t)(TORC_STACK_DEFAULT + 2 * TORCI_PAGE));
}
#endif

static int report_overflow_main(void *arg)
{
    (void)arg;
    const char *low = torci_this->current->stack->low;
    CHECK(torci_exec_find_overflow(torci_this, low - 1) == torci_this->current);
    CHECK(torci_exec_find_overflow(torci_this, low - TORCI_PAGE) == torci_this->current);
    CHECK(torci_exec_find_overflow(torci_this, low) == NULL);
    return 0;
}

TEST(stack, overflow_is_found_to_be_the_task_s)
{
    MUST(run(report_overflow_main, NULL));
}

/* ---- the high-water mark ---- */

static size_t marked;

/* Writes one word so far below the top; nothing that it calls may reach deeper. */
static int mark_at(void *arg)
{
    struct torci_stack *stack = torci_this->current->stack;
    uintptr_t *word = (uintptr_t *)(void *)((char *)stack->top - (uintptr_t)arg);
    *word = 1;
    marked = torci_stack_high_water(stack);
    *word = 0;
    return 0;
}

static int high_water_main(void *arg)
{
    (void)arg;
    static const uintptr_t depths[] = {30008, 30016, 31000, 40000, 60000};
    struct torc_scope all;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(depths); i++) {
        torc_scope_init(&all);
        MUST(torc_spawn(&all, mark_at, (void *)depths[i]));
        MUST(torc_scope_join(&all));
        CHECK_EQ(marked, depths[i]);
    }
    return 0;
}

TEST(stack, high_water_mark_is_exact_to_the_word)
{
    set_up();
    struct torci_stack *stack = take(2);
    CHECK_EQ(torci_stack_high_water(stack), 0);
    uintptr_t *top = stack->top;
    top[-1] = 1;
    CHECK_EQ(torci_stack_high_water(stack), sizeof *top);
    size_t words = (size_t)((char *)stack->top - stack->low) / sizeof *top;
    *(uintptr_t *)(void *)stack->low = 1;
    CHECK_EQ(torci_stack_high_water(stack), words * sizeof *top);
    torci_stacks_put(&stacks, stack);
    CHECK(take(2) == stack);
    CHECK_EQ(torci_stack_high_water(stack), words * sizeof *top); /* of all tasks that it had */
    tear_down();
    MUST(run(high_water_main, NULL));
}

/* ---- sizes ---- */

static int use_bytes(void *arg)
{
    size_t size = (uintptr_t)arg;
    const struct torci_stack *stack = torci_this->current->stack;
    CHECK(torci_stack_size(stack->stack_class) >= size);
    volatile char *frame = __builtin_alloca(size - 12 * 1024);
    for (size_t i = 0; i < size - 12 * 1024; i += 1024)
        frame[i] = (char)i;
    torc_yield();
    for (size_t i = 0; i < size - 12 * 1024; i += 1024)
        CHECK_EQ(frame[i], (char)i); /* NOLINT: the analyser has no idea that the loops agree */
    CHECK(torci_stack_high_water(stack) >= size - 13 * 1024);
    return 0;
}

static int big_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int round = 0; round < 2; round++)
        for (size_t size = TORCI_STACK_MIN; size <= 16 << 20; size *= 2)
            MUST(torc_spawn_with(&all, &(struct torc_task_options){.stack_bytes = size}, use_bytes,
                                 (void *)size));
    return torc_scope_join(&all);
}

TEST(stack, tasks_can_use_the_whole_of_stacks_of_all_sizes)
{
    MUST(run(big_main, NULL));
}

static int default_size_main(void *arg)
{
    CHECK_EQ(torci_stack_size(torci_this->current->stack->stack_class), (uintptr_t)arg);
    struct torc_scope all;
    torc_scope_init(&all);
    if (torci_this->fibers_live == 1)
        MUST(torc_spawn(&all, default_size_main, arg));
    return torc_scope_join(&all);
}

TEST(stack, default_size_is_the_executor_s)
{
    MUST(run(default_size_main, (void *)(uintptr_t)TORC_STACK_DEFAULT));
    core_host_init(&machine);
    MUST(run_with(&(struct torci_exec_config){.stack_bytes = 100000}, default_size_main,
                  (void *)(uintptr_t)131072));
}

static int return_at_once(void *arg)
{
    (void)arg;
    return 0;
}

/* Tasks of two sizes in turn: a warm stack goes to the next task only if it is large enough for it. */
static int mixed_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 300; i++) {
        size_t size = i % 3 ? 256 * 1024 : TORCI_STACK_MIN;
        MUST(torc_spawn_with(&all, &(struct torc_task_options){.stack_bytes = size},
                             i % 7 ? return_at_once : use_bytes, (void *)size));
    }
    MUST(torc_scope_join(&all));
    for (int i = 0; i < TORCI_STACK_CLASSES; i++)
        CHECK_EQ(torci_this->stacks.reserved[i], 0);
    return 0;
}

TEST(stack, tasks_of_several_sizes_take_turns)
{
    MUST(run(mixed_main, NULL));
}

static int wait_here(void *arg)
{
    (void)arg;
    return torc_event_wait(&event);
}

static int many_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    size_t bytes = 0;
    for (int round = 0; round < 3; round++) {
        torc_event_init(&event);
        torc_scope_init(&all);
        for (int i = 0; i < MANY_TASKS; i++)
            MUST(torc_spawn(&all, wait_here, NULL));
        torc_yield();
        CHECK_EQ(torci_this->stacks.free_count[torci_this->stack_class], 0);
        torc_event_set(&event);
        MUST(torc_scope_join(&all));
        CHECK_EQ(torci_this->stacks.free_count[torci_this->stack_class], MANY_TASKS);
        CHECK(!round || machine.bytes == bytes); /* the next round needs no more */
        bytes = machine.bytes;
    }
    return 0;
}

TEST(stack, ten_thousand_parked_tasks_each_have_one_and_give_it_back)
{
    MUST(run(many_main, NULL));
}
