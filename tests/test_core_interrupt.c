/* SPDX-License-Identifier: MIT
 *
 * What ends a blocking call from outside: cancellation, deadlines, and the masks that hold them off. By example first,
 * then thousands of random programs against a model of a page.
 */
#include "core/event.h"
#include "core/random_internal.h"
#include "tests/core_tasks.h"

static struct torc_event event;

static uint64_t elapsed_ms(void)
{
    return (machine.now_ns - TORC_SEC) / TORC_MS;
}

/* Runs FN as a task of its own that is cancelled after so many ms, and returns its result. */
static int cancel_after(uint64_t ms, torc_task_fn *fn)
{
    struct torc_scope all;
    struct torc_task one;
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, fn, NULL));
    MUST(torc_sleep(ms * TORC_MS));
    torc_task_cancel(&one);
    int result = torc_task_join(&one);
    int joined = torc_scope_join(&all);
    CHECK_EQ(joined, result < 0 ? result : 0);
    return result;
}

/* ---- cancel ---- */

static int sleep_long(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_sleep(TORC_SEC), -ECANCELED);
    CHECK_EQ(elapsed_ms(), 5);
    return 3;
}

static int cancel_sleep_main(void *arg)
{
    (void)arg;
    CHECK_EQ(cancel_after(5, sleep_long), 3);
    return 0;
}

TEST(interrupt, cancel_ends_a_sleep_at_once)
{
    MUST(run(cancel_sleep_main, NULL));
}

static int stay_cancelled(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(torc_sleep(TORC_SEC), -ECANCELED);
        CHECK_EQ(torc_event_wait(&event), -ECANCELED);
        CHECK_EQ(torc_task_check(), -ECANCELED);
        torc_yield();
    }
    CHECK_EQ(elapsed_ms(), 5);
    return 0;
}

static int sticky_main(void *arg)
{
    (void)arg;
    torc_event_init(&event);
    return cancel_after(5, stay_cancelled);
}

TEST(interrupt, cancel_is_sticky)
{
    MUST(run(sticky_main, NULL));
}

static int succeed_when_cancelled(void *arg)
{
    (void)arg;
    MUST(torc_event_wait(&event));
    CHECK_EQ(torc_task_check(), -ECANCELED);
    torc_event_set(&event);
    MUST(torc_event_wait(&event)); /* need not block */
    return 0;
}

static int same_turn_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task one;
    torc_event_init_auto(&event);
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, succeed_when_cancelled,
                         NULL));
    torc_yield();
    torc_event_set(&event);
    torc_task_cancel(&one); /* it has what it waits for, and has not run since */
    CHECK_EQ(torc_task_join(&one), 0);
    return torc_scope_join(&all);
}

TEST(interrupt, call_that_has_its_result_returns_it_although_cancelled)
{
    MUST(run(same_turn_main, NULL));
}

static int cancel_beats_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task one;
    torc_event_init_auto(&event);
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, stay_cancelled, NULL));
    MUST(torc_sleep(5 * TORC_MS));
    torc_task_cancel(&one);
    torc_event_set(&event); /* too late for that one: the event stays for another */
    CHECK_EQ(torc_event_try_wait(&event), 0);
    CHECK_EQ(torc_task_join(&one), 0);
    return torc_scope_join(&all);
}

TEST(interrupt, cancelled_call_takes_nothing)
{
    MUST(run(cancel_beats_main, NULL));
}

/* A deadline and what it waits for at the same nanosecond: one of the two, and nothing lost. */
static int tie_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    CHECK_EQ(torc_sleep(10 * TORC_MS), -ETIMEDOUT); /* armed first, fires first */
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(elapsed_ms(), 10);
    torc_deadline_enter(&deadline, 10 * TORC_MS + 1);
    MUST(torc_sleep(10 * TORC_MS));
    CHECK(!torc_deadline_leave(&deadline));
    CHECK_EQ(elapsed_ms(), 20);
    return 0;
}

TEST(interrupt, deadline_wins_a_tie_and_loses_by_a_nanosecond)
{
    MUST(run(tie_main, NULL));
}

/* ---- deadlines ---- */

static int deadline_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    MUST(torc_sleep(4 * TORC_MS));
    MUST(torc_sleep(4 * TORC_MS));
    CHECK_EQ(torc_sleep(4 * TORC_MS), -ETIMEDOUT);
    CHECK_EQ(elapsed_ms(), 10);
    CHECK_EQ(torc_sleep(4 * TORC_MS), -ETIMEDOUT);
    CHECK_EQ(torc_task_check(), -ETIMEDOUT);
    CHECK_EQ(elapsed_ms(), 10);
    CHECK(torc_deadline_leave(&deadline));
    MUST(torc_task_check());
    MUST(torc_sleep(TORC_MS)); /* over */
    return 0;
}

TEST(interrupt, deadline_covers_a_section_and_ends_with_it)
{
    MUST(run(deadline_main, NULL));
}

static int nearest_inner_main(void *arg)
{
    (void)arg;
    struct torc_deadline outer, inner;
    torc_deadline_enter(&outer, 10 * TORC_MS);
    torc_deadline_enter(&inner, 3 * TORC_MS);
    CHECK_EQ(torc_sleep(TORC_SEC), -ETIMEDOUT);
    CHECK_EQ(elapsed_ms(), 3);
    CHECK(torc_deadline_leave(&inner));
    MUST(torc_sleep(2 * TORC_MS)); /* the outer one has time left */
    CHECK_EQ(torc_sleep(TORC_SEC), -ETIMEDOUT);
    CHECK_EQ(elapsed_ms(), 10);
    CHECK(torc_deadline_leave(&outer));
    return 0;
}

TEST(interrupt, nearer_inner_deadline_wins_and_gives_the_outer_back)
{
    MUST(run(nearest_inner_main, NULL));
}

static int nearest_outer_main(void *arg)
{
    (void)arg;
    struct torc_deadline outer, middle, inner;
    torc_deadline_enter(&outer, 3 * TORC_MS);
    torc_deadline_enter(&middle, 10 * TORC_MS);
    torc_deadline_enter(&inner, UINT64_MAX);
    CHECK_EQ(torc_sleep(TORC_SEC), -ETIMEDOUT);
    CHECK_EQ(elapsed_ms(), 3);
    CHECK(torc_deadline_leave(&inner)); /* a nearer limit around it has passed */
    CHECK_EQ(torc_sleep(1), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&middle));
    CHECK_EQ(torc_sleep(1), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&outer));
    MUST(torc_sleep(1));
    return 0;
}

TEST(interrupt, nearer_outer_deadline_wins)
{
    MUST(run(nearest_outer_main, NULL));
}

static int in_time_main(void *arg)
{
    (void)arg;
    struct torc_deadline outer, inner;
    torc_deadline_enter(&outer, 5 * TORC_MS);
    torc_deadline_enter(&inner, 9 * TORC_MS);
    MUST(torc_sleep(2 * TORC_MS));
    CHECK(!torc_deadline_leave(&inner));
    CHECK(!torc_deadline_leave(&outer));
    MUST(torc_sleep(20 * TORC_MS)); /* neither timer is left behind */
    CHECK_EQ(torci_this->wheel.armed, 0);
    return 0;
}

TEST(interrupt, deadline_left_in_time_never_fires)
{
    MUST(run(in_time_main, NULL));
}

static int zero_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    torc_event_init(&event);
    for (uint64_t past = 0; past < 2; past++) {
        if (past)
            torc_deadline_enter_at(&deadline, 5);
        else
            torc_deadline_enter(&deadline, 0);
        CHECK_EQ(torc_event_wait(&event), -ETIMEDOUT);
        CHECK_EQ(torc_sleep(0), -ETIMEDOUT);
        torc_event_set(&event);
        MUST(torc_event_wait(&event)); /* what need not block works */
        torc_event_reset(&event);
        CHECK(torc_deadline_leave(&deadline));
    }
    torc_deadline_enter(&deadline, 0);
    CHECK_EQ(torc_task_check(), -ETIMEDOUT); /* before the loop has seen it */
    CHECK(torc_deadline_leave(&deadline));
    torc_deadline_enter(&deadline, 0);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(machine.now_ns, TORC_SEC);
    return 0;
}

TEST(interrupt, deadline_of_zero_ends_all_that_blocks)
{
    MUST(run(zero_main, NULL));
}

static int endless_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline, nearly;
    torc_deadline_enter(&deadline, UINT64_MAX);
    torc_deadline_enter(&nearly, UINT64_MAX - TORC_SEC - 1);
    MUST(torc_sleep(TORC_SEC * 1000000));
    CHECK(!torc_deadline_leave(&nearly));
    CHECK(!torc_deadline_leave(&deadline));
    torc_deadline_enter_at(&deadline, UINT64_MAX);
    MUST(torc_sleep(TORC_SEC));
    CHECK(!torc_deadline_leave(&deadline));
    return 0;
}

TEST(interrupt, deadline_beyond_the_end_of_time_never_comes)
{
    MUST(run(endless_main, NULL));
}

/* Time passes in a computation: nobody has fired a timer. */
static int compute_main(void *arg)
{
    (void)arg;
    struct torc_deadline outer, inner;
    torc_deadline_enter(&outer, 10 * TORC_MS);
    torc_deadline_enter(&inner, 5 * TORC_MS);
    MUST(torc_task_check());
    burn(5 * TORC_MS - 1);
    MUST(torc_task_check());
    burn(1);
    CHECK_EQ(torc_task_check(), -ETIMEDOUT);
    CHECK_EQ(torc_sleep(0), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&inner));
    MUST(torc_task_check());
    burn(6 * TORC_MS);
    CHECK(torc_deadline_leave(&outer));
    MUST(torc_task_check());
    return 0;
}

TEST(interrupt, computation_sees_its_deadline_pass)
{
    MUST(run(compute_main, NULL));
}

static int result_after_deadline_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    torc_event_init(&event);
    torc_event_set(&event);
    torc_deadline_enter(&deadline, TORC_MS);
    burn(2 * TORC_MS);
    MUST(torc_event_wait(&event));
    CHECK(torc_deadline_leave(&deadline)); /* in vain or not, time was up */
    return 0;
}

TEST(interrupt, call_that_need_not_block_succeeds_past_the_deadline)
{
    MUST(run(result_after_deadline_main, NULL));
}

/* ---- masks ---- */

static int clean_up_masked(void *arg)
{
    (void)arg;
    struct torc_mask mask, inner;
    struct torc_deadline deadline;
    CHECK_EQ(torc_sleep(TORC_SEC), -ECANCELED);
    torc_mask_enter(&mask);
    MUST(torc_task_check());
    MUST(torc_sleep(10 * TORC_MS));
    torc_mask_enter(&inner);
    MUST(torc_sleep(10 * TORC_MS));
    torc_mask_leave(&inner);
    MUST(torc_sleep(TORC_MS));
    torc_deadline_enter(&deadline, 4 * TORC_MS); /* to clean up must not take for ever */
    CHECK_EQ(torc_sleep(TORC_SEC), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    MUST(torc_sleep(0));
    torc_mask_leave(&mask);
    CHECK_EQ(torc_sleep(0), -ECANCELED);
    CHECK_EQ(elapsed_ms(), 30);
    return 0;
}

static int mask_main(void *arg)
{
    (void)arg;
    return cancel_after(5, clean_up_masked);
}

TEST(interrupt, mask_lets_a_cancelled_task_clean_up)
{
    MUST(run(mask_main, NULL));
}

static int cancelled_inside_mask(void *arg)
{
    (void)arg;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    MUST(torc_sleep(20 * TORC_MS));
    MUST(torc_task_check());
    torc_mask_leave(&mask);
    CHECK_EQ(elapsed_ms(), 20);
    CHECK_EQ(torc_task_check(), -ECANCELED);
    CHECK_EQ(torc_sleep(TORC_SEC), -ECANCELED);
    return 0;
}

static int cancel_masked_main(void *arg)
{
    (void)arg;
    return cancel_after(5, cancelled_inside_mask);
}

TEST(interrupt, cancel_waits_for_the_end_of_the_mask)
{
    MUST(run(cancel_masked_main, NULL));
}

static int deferred_main(void *arg)
{
    (void)arg;
    struct torc_deadline outer, inner;
    struct torc_mask mask;
    torc_deadline_enter(&outer, 5 * TORC_MS);
    torc_mask_enter(&mask);
    MUST(torc_sleep(8 * TORC_MS));
    MUST(torc_task_check());
    torc_deadline_enter(&inner, 100 * TORC_MS);
    MUST(torc_sleep(2 * TORC_MS));
    CHECK(!torc_deadline_leave(&inner)); /* only what began inside counts inside */
    torc_mask_leave(&mask);
    CHECK_EQ(torc_sleep(1), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&outer));
    CHECK_EQ(elapsed_ms(), 10);
    return 0;
}

TEST(interrupt, deadline_from_outside_is_deferred_by_a_mask)
{
    MUST(run(deferred_main, NULL));
}

static int mask_in_mask_main(void *arg)
{
    (void)arg;
    struct torc_mask outer, inner;
    struct torc_deadline deadline;
    torc_mask_enter(&outer);
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    torc_mask_enter(&inner);
    MUST(torc_sleep(8 * TORC_MS));
    torc_mask_leave(&inner);
    CHECK_EQ(torc_sleep(1), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    MUST(torc_sleep(1));
    torc_mask_leave(&outer);
    return 0;
}

TEST(interrupt, inner_mask_defers_the_deadline_of_the_outer)
{
    MUST(run(mask_in_mask_main, NULL));
}

/* ---- against a model ---- */

enum { SECTIONS_MAX = 12, STEPS = 400, PROGRAMS = 16, SEEDS = 120 };

/* One random program: what it has entered, and what must come of the next blocking call. Times of deadlines and sleeps
 * are even and those of cancels odd, so that no two causes are due at once. */
struct program {
    struct torci_random random;
    uint64_t cancelled_at;
    struct torci_timer canceller;
    struct torc_task handle;
    unsigned depth, masks;
    struct section {
        bool is_mask;
        uint64_t when_ns;
        unsigned masks; /* around it */
        struct torc_deadline deadline;
        struct torc_mask mask;
    } sections[SECTIONS_MAX];
    unsigned outcomes[3];
};

static bool with_burns;
static uint64_t most_ns; /* how far apart the times of a seed lie */

static uint64_t draw(struct program *program, uint64_t bound)
{
    return torci_random_below(&program->random, bound);
}

static uint64_t even_time(struct program *program)
{
    return 2 * draw(program, most_ns / 2);
}

/* The nearest limit that counts behind the masks that are open now. */
static uint64_t nearest_limit(const struct program *program)
{
    uint64_t nearest = UINT64_MAX;
    for (unsigned i = 0; i < program->depth; i++) {
        const struct section *at = &program->sections[i];
        if (!at->is_mask && at->masks == program->masks && at->when_ns < nearest)
            nearest = at->when_ns;
    }
    return nearest;
}

/* What the executor knows already, from its last look at the clock or from a check. */
static int known(const struct program *program)
{
    uint64_t seen_ns = torci_this->wheel.now_ns;
    if (!program->masks && program->cancelled_at <= seen_ns)
        return -ECANCELED;
    for (unsigned i = 0; i < program->depth; i++) {
        const struct section *at = &program->sections[i];
        if (!at->is_mask && at->masks == program->masks &&
            (at->when_ns <= seen_ns || at->deadline.expired))
            return -ETIMEDOUT;
    }
    return 0;
}

static void step_sleep(struct program *program)
{
    uint64_t now = torc_now_ns(), end = now + even_time(program), wake = end;
    uint64_t limit = nearest_limit(program);
    uint64_t cancel = program->masks ? UINT64_MAX : program->cancelled_at;
    int wanted = known(program);
    if (wanted) {
        wake = now;
    } else if (limit <= end || cancel <= end) {
        wanted = limit < cancel ? -ETIMEDOUT : -ECANCELED;
        wake = limit < cancel ? limit : cancel;
    }
    CHECK_EQ(torc_sleep_until(end), wanted);
    program->outcomes[!wanted ? 0 : wanted == -ETIMEDOUT ? 1 : 2]++;
    if (with_burns)
        CHECK(torc_now_ns() >= wake);
    else
        CHECK_EQ(torc_now_ns(), wake > now ? wake : now);
}

static void step_check(struct program *program)
{
    int wanted = known(program);
    if (!wanted && nearest_limit(program) <= torc_now_ns())
        wanted = -ETIMEDOUT;
    CHECK_EQ(torc_task_check(), wanted);
}

static void step_enter(struct program *program)
{
    struct section *section = &program->sections[program->depth++];
    section->masks = program->masks;
    section->is_mask = draw(program, 3) == 0;
    if (section->is_mask) {
        torc_mask_enter(&section->mask);
        program->masks++;
        return;
    }
    uint64_t timeout_ns = even_time(program);
    section->when_ns = torc_now_ns() + timeout_ns;
    torc_deadline_enter(&section->deadline, timeout_ns);
}

static void step_leave(struct program *program)
{
    struct section *section = &program->sections[program->depth - 1];
    if (section->is_mask) {
        torc_mask_leave(&section->mask);
        program->masks--;
    } else {
        bool passed = nearest_limit(program) <= torc_now_ns();
        CHECK_EQ(torc_deadline_leave(&section->deadline), passed);
    }
    program->depth--;
}

static void cancel_program(struct torci_timer *timer)
{
    torc_task_cancel(&TORC_CONTAINER_OF(timer, struct program, canceller)->handle);
}

static int run_program(void *arg)
{
    struct program *program = arg;
    for (int i = 0; i < STEPS; i++) {
        uint64_t dice = draw(program, 10);
        if (dice < 3 && program->depth < SECTIONS_MAX)
            step_enter(program);
        else if (dice < 6 && program->depth)
            step_leave(program);
        else if (dice < 9)
            step_sleep(program);
        else if (with_burns && draw(program, 2))
            burn(even_time(program) / 4 * 2);
        else
            step_check(program);
    }
    while (program->depth)
        step_leave(program);
    torci_wheel_cancel(&torci_this->wheel, &program->canceller);
    return 0;
}

static int model_main(void *arg)
{
    static struct program programs[PROGRAMS];
    static unsigned outcomes[3];
    struct torc_scope all;
    uint64_t seed = *(uint64_t *)arg;
    memset(programs, 0, sizeof programs);
    torc_scope_init(&all);
    for (unsigned i = 0; i < PROGRAMS; i++) {
        struct program *program = &programs[i];
        torci_random_seed(&program->random, seed * PROGRAMS + i);
        MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &program->handle},
                             run_program, program));
        program->cancelled_at = UINT64_MAX;
        torci_timer_init(&program->canceller, cancel_program);
        if (draw(program, 2)) {
            program->cancelled_at = torc_now_ns() + 200 * even_time(program) + 1;
            torci_wheel_arm(&torci_this->wheel, &program->canceller, program->cancelled_at);
        }
    }
    MUST(torc_scope_join(&all));
    CHECK_EQ(torci_this->wheel.armed, 0);
    CHECK(torci_wheel_check(&torci_this->wheel));
    for (unsigned i = 0; i < PROGRAMS; i++)
        for (unsigned k = 0; k < 3; k++)
            outcomes[k] += programs[i].outcomes[k];
    if (seed == SEEDS - 1)
        for (unsigned k = 0; k < 3; k++)
            CHECK(outcomes[k] > SEEDS * PROGRAMS * STEPS / 100); /* the model was not idle */
    return 0;
}

TEST(interrupt, random_sections_do_as_the_model_says)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        with_burns = seed & 1;
        most_ns = UINT64_C(8) << (seed % 8 * 4); /* from ties at every step to seconds */
        MUST(run(model_main, &seed));
    }
}

/* ---- random trees of scopes that are cancelled at random moments ---- */

struct tree {
    struct torci_random random;
    unsigned begun, ended, alive_max;
};

static int grow(void *arg);

struct node {
    struct tree *tree;
    unsigned depth;
};

static int grow_children(struct tree *tree, unsigned depth)
{
    struct torc_scope scope;
    struct torc_deadline deadline;
    struct node child = {tree, depth + 1};
    bool timed = torci_random_below(&tree->random, 3) == 0;
    if (timed)
        torc_deadline_enter(&deadline, torci_random_below(&tree->random, 40));
    torc_scope_init_with(&scope, &(struct torc_scope_options){
                                     .cancel_on_error = torci_random_below(&tree->random, 2) == 0});
    unsigned count = (unsigned)torci_random_below(&tree->random, 5), spawned = 0;
    for (unsigned i = 0; i < count; i++) {
        int err = torc_spawn(&scope, grow, &child);
        CHECK(err == 0 || err == -ECANCELED);
        spawned += !err;
        if (torci_random_below(&tree->random, 4) == 0)
            torc_yield();
    }
    if (torci_random_below(&tree->random, 6) == 0)
        torc_scope_cancel(&scope);
    int result = torc_scope_join(&scope);
    CHECK(result == 0 || result == -ECANCELED || result == -ETIMEDOUT || result == -EIO);
    CHECK(spawned || result == 0);
    CHECK(torci_list_is_empty(&scope.fibers));
    return timed && torc_deadline_leave(&deadline) && result == -ETIMEDOUT ? 0 : result;
}

static int grow(void *arg)
{
    struct node node = *(struct node *)arg;
    struct tree *tree = node.tree;
    int result;
    tree->begun++;
    if (tree->begun - tree->ended > tree->alive_max)
        tree->alive_max = tree->begun - tree->ended;
    uint64_t dice = torci_random_below(&tree->random, 10);
    if (dice < 6 && node.depth < 6)
        result = grow_children(tree, node.depth);
    else if (dice < 9)
        result = torc_sleep(torci_random_below(&tree->random, 50));
    else
        result = -EIO;
    tree->ended++;
    return result;
}

static int tree_main(void *arg)
{
    struct tree *tree = arg;
    unsigned before = 0;
    for (int i = 0; i < 50; i++) {
        (void)grow_children(tree, 0);
        CHECK_EQ(tree->begun, tree->ended); /* nobody is left behind, and nobody was skipped */
        CHECK_EQ(torci_this->fibers_live, 1);
        CHECK_EQ(torci_this->wheel.armed, 0);
        CHECK(tree->begun >= before);
        before = tree->begun;
    }
    return 0;
}

TEST(interrupt, random_trees_end_whole)
{
    unsigned begun = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct tree tree = {.begun = 0};
        torci_random_seed(&tree.random, seed);
        MUST(run(tree_main, &tree));
        begun += tree.begun;
    }
    CHECK(begun > 20000);
}
