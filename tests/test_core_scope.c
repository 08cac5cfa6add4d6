/* SPDX-License-Identifier: MIT
 *
 * Scopes: joining, the first failure, cancellation down the tree, and spawns at awkward moments.
 */
#include "core/event.h"
#include "tests/core_tasks.h"

static struct torc_event event;
static unsigned ended;

static int give_back(void *arg)
{
    ended++;
    return (int)(intptr_t)arg;
}

static int wait_for_event(void *arg)
{
    (void)arg;
    int err = torc_event_wait(&event);
    ended++;
    return err;
}

static int sleep_ms(void *arg)
{
    int err = torc_sleep((uintptr_t)arg * TORC_MS);
    ended++;
    return err;
}

/* Fails with ARG when it is cancelled. */
static int fail_on_cancel(void *arg)
{
    int err = torc_event_wait(&event);
    ended++;
    return err ? (int)(intptr_t)arg : 0;
}

/* Needs a while to clean up when it is cancelled. */
static int clean_up_slowly(void *arg)
{
    struct torc_mask mask;
    int err = torc_event_wait(&event);
    torc_mask_enter(&mask);
    MUST(torc_sleep((uintptr_t)arg * TORC_MS));
    torc_mask_leave(&mask);
    ended++;
    return err;
}

static int empty_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_scope_join(&all));
    torc_scope_init(&all); /* its memory may be used again */
    return torc_scope_join(&all);
}

TEST(scope, empty_one_joins_at_once)
{
    MUST(run(empty_main, NULL));
}

static int join_waits_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (uintptr_t i = 1; i <= 10; i++)
        MUST(torc_spawn(&all, sleep_ms, (void *)i));
    MUST(torc_scope_join(&all));
    CHECK_EQ(ended, 10);
    CHECK_EQ(machine.now_ns, TORC_SEC + 10 * TORC_MS);
    return 0;
}

TEST(scope, join_waits_for_the_last)
{
    MUST(run(join_waits_main, NULL));
}

static int join_late_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, give_back, (void *)(intptr_t)-EIO));
    settle();
    CHECK_EQ(ended, 1);
    CHECK_EQ(torc_scope_join(&all), -EIO);
    return 0;
}

TEST(scope, join_after_all_ended_still_tells_the_failure)
{
    MUST(run(join_late_main, NULL));
}

static int first_failure_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, give_back, (void *)(intptr_t)5)); /* positive: no failure */
    MUST(torc_spawn(&all, give_back, (void *)(intptr_t)-ENOENT));
    MUST(torc_spawn(&all, give_back, (void *)(intptr_t)-EIO));
    MUST(torc_spawn(&all, sleep_ms, (void *)5)); /* spared without cancel_on_error */
    CHECK_EQ(torc_scope_join(&all), -ENOENT);
    CHECK_EQ(ended, 4);
    CHECK_EQ(machine.now_ns, TORC_SEC + 5 * TORC_MS);
    return 0;
}

TEST(scope, join_returns_the_first_failure)
{
    MUST(run(first_failure_main, NULL));
}

static int fail_after_ms(void *arg)
{
    MUST(torc_sleep((uintptr_t)arg * TORC_MS));
    ended++;
    return -EPIPE;
}

static int cancel_on_error_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init_with(&all, &(struct torc_scope_options){.cancel_on_error = true});
    for (int i = 0; i < 5; i++)
        MUST(torc_spawn(&all, wait_for_event, NULL));
    MUST(torc_spawn(&all, fail_after_ms, (void *)3));
    MUST(torc_spawn(&all, sleep_ms, (void *)1)); /* ends well before */
    CHECK_EQ(torc_scope_join(&all), -EPIPE);
    CHECK_EQ(ended, 7);
    CHECK_EQ(machine.now_ns, TORC_SEC + 3 * TORC_MS);
    return 0;
}

TEST(scope, first_failure_cancels_the_rest_when_asked)
{
    MUST(run(cancel_on_error_main, NULL));
}

static int spawn_after_error_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init_with(&all, &(struct torc_scope_options){.cancel_on_error = true});
    MUST(torc_spawn(&all, give_back, (void *)(intptr_t)-EIO));
    settle();
    CHECK_EQ(torc_spawn(&all, give_back, NULL), -ECANCELED);
    CHECK_EQ(torc_scope_join(&all), -EIO);
    CHECK_EQ(ended, 1);
    return 0;
}

TEST(scope, nothing_can_be_spawned_into_a_cancelled_one)
{
    MUST(run(spawn_after_error_main, NULL));
}

/* A task that fails because a sibling's failure cancelled it does not take that one's place. */
static int explicit_cancel_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    for (int i = 0; i < 4; i++)
        MUST(torc_spawn(&all, wait_for_event, NULL));
    settle();
    torc_scope_cancel(&all);
    CHECK_EQ(ended, 0); /* does not wait */
    torc_scope_cancel(&all);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    CHECK_EQ(ended, 4);
    torc_scope_cancel(&all); /* harmless */
    return 0;
}

TEST(scope, cancel_reaches_every_task_and_does_not_wait)
{
    MUST(run(explicit_cancel_main, NULL));
}

static int cancel_unbegun_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    for (int i = 0; i < 4; i++)
        MUST(torc_spawn(&all, wait_for_event, NULL));
    torc_scope_cancel(&all);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    CHECK_EQ(ended, 4);
    return 0;
}

TEST(scope, cancel_reaches_tasks_that_have_not_begun)
{
    MUST(run(cancel_unbegun_main, NULL));
}

static struct torc_scope *shared;

static int cancel_own_scope(void *arg)
{
    (void)arg;
    torc_scope_cancel(shared);
    CHECK_EQ(torc_task_check(), -ECANCELED);
    ended++;
    return 0;
}

static int cancel_from_inside_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    shared = &all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, wait_for_event, NULL));
    MUST(torc_spawn(&all, cancel_own_scope, NULL));
    MUST(torc_spawn(&all, wait_for_event, NULL));
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    CHECK_EQ(ended, 3);
    MUST(torc_task_check()); /* the owner is not of its scope */
    return 0;
}

TEST(scope, task_can_cancel_its_own_scope)
{
    MUST(run(cancel_from_inside_main, NULL));
}

/* ---- interrupted joins ---- */

static int deadline_join_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_deadline deadline;
    torc_event_init(&event);
    torc_scope_init(&all);
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    for (uintptr_t i = 1; i <= 3; i++)
        MUST(torc_spawn(&all, clean_up_slowly, (void *)(i * 7)));
    MUST(torc_spawn(&all, sleep_ms, (void *)2));
    CHECK_EQ(torc_scope_join(&all), -ETIMEDOUT);
    CHECK_EQ(ended, 4);
    CHECK_EQ(machine.now_ns, TORC_SEC + 31 * TORC_MS); /* the slowest of them */
    CHECK(torc_deadline_leave(&deadline));
    return 0;
}

TEST(scope, join_past_its_deadline_cancels_and_waits_for_all)
{
    MUST(run(deadline_join_main, NULL));
}

static int failure_before_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_deadline deadline;
    torc_event_init(&event);
    torc_scope_init(&all);
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    MUST(torc_spawn(&all, fail_after_ms, (void *)3));
    MUST(torc_spawn(&all, wait_for_event, NULL));
    CHECK_EQ(torc_scope_join(&all), -EPIPE);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(machine.now_ns, TORC_SEC + 10 * TORC_MS);
    return 0;
}

TEST(scope, failure_that_came_before_the_interruption_is_returned)
{
    MUST(run(failure_before_main, NULL));
}

static int failure_after_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_deadline deadline;
    torc_event_init(&event);
    torc_scope_init(&all);
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    MUST(torc_spawn(&all, fail_on_cancel, (void *)(intptr_t)-EBADF));
    MUST(torc_spawn(&all, wait_for_event, NULL));
    CHECK_EQ(torc_scope_join(&all), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    return 0;
}

TEST(scope, failures_that_follow_an_interruption_do_not_hide_it)
{
    MUST(run(failure_after_main, NULL));
}

static int spawn_timed_join(void *arg)
{
    (void)arg;
    struct torc_scope inner;
    struct torc_deadline deadline;
    torc_scope_init(&inner);
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    MUST(torc_spawn(&inner, fail_on_cancel, (void *)(intptr_t)-EBADF));
    MUST(torc_spawn(&inner, clean_up_slowly, (void *)20));
    CHECK_EQ(torc_scope_join(&inner), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(machine.now_ns, TORC_SEC + 30 * TORC_MS);
    return torc_task_check();
}

static int interrupted_twice_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, spawn_timed_join, NULL));
    MUST(torc_sleep(15 * TORC_MS));
    torc_scope_cancel(&all);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    return 0;
}

TEST(scope, join_interrupted_twice_returns_the_first_reason)
{
    MUST(run(interrupted_twice_main, NULL));
}

static int joined_already(void *arg)
{
    struct torc_scope inner;
    (void)arg;
    torc_scope_init(&inner);
    MUST(torc_spawn(&inner, wait_for_event, NULL));
    int result = torc_scope_join(&inner);
    ended++;
    return result;
}

static int same_turn_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task one;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, joined_already, NULL));
    settle();
    torc_event_set(&event);
    while (ended < 1) /* the inner task has ended, its joiner is ready and has not run */
        torc_yield();
    CHECK_EQ(ended, 1);
    torc_task_cancel(&one);
    CHECK_EQ(torc_task_join(&one), 0);
    return torc_scope_join(&all);
}

TEST(scope, join_that_was_over_before_the_cancel_returns_its_result)
{
    MUST(run(same_turn_main, NULL));
}

static int cancelled_before_join(void *arg)
{
    struct torc_scope inner;
    (void)arg;
    CHECK_EQ(torc_task_check(), -ECANCELED);
    torc_scope_init(&inner);
    MUST(torc_spawn(&inner, wait_for_event, NULL));
    MUST(torc_spawn(&inner, clean_up_slowly, (void *)4));
    CHECK_EQ(torc_scope_join(&inner), -ECANCELED);
    CHECK_EQ(ended, 2);
    torc_scope_init(&inner);
    MUST(torc_spawn(&inner, wait_for_event, NULL)); /* sticky: every later join is cut short, too */
    CHECK_EQ(torc_scope_join(&inner), -ECANCELED);
    CHECK_EQ(torc_sleep(1), -ECANCELED);
    return 0;
}

static int cancelled_before_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, cancelled_before_join, NULL));
    torc_scope_cancel(&all);
    MUST(torc_scope_join(&all));
    CHECK_EQ(ended, 3);
    return 0;
}

TEST(scope, join_by_a_cancelled_task_cancels_at_once)
{
    MUST(run(cancelled_before_main, NULL));
}

static int join_in_mask(void *arg)
{
    struct torc_scope inner;
    struct torc_mask mask;
    (void)arg;
    torc_mask_enter(&mask);
    torc_scope_init(&inner);
    MUST(torc_spawn(&inner, sleep_ms, (void *)20));
    MUST(torc_scope_join(&inner));
    torc_mask_leave(&mask);
    CHECK_EQ(torc_task_check(), -ECANCELED);
    return 0;
}

static int masked_join_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, join_in_mask, NULL));
    MUST(torc_sleep(TORC_MS));
    torc_scope_cancel(&all);
    MUST(torc_scope_join(&all));
    CHECK_EQ(machine.now_ns, TORC_SEC + 20 * TORC_MS);
    return 0;
}

TEST(scope, masked_join_is_not_interrupted)
{
    MUST(run(masked_join_main, NULL));
}

/* ---- nesting ---- */

enum { TREE_DEPTH = 5, TREE_WIDTH = 3 };

static int grow_tree(void *arg)
{
    uintptr_t depth = (uintptr_t)arg;
    struct torc_scope inner;
    if (!depth)
        return wait_for_event(NULL);
    torc_scope_init(&inner);
    for (int i = 0; i < TREE_WIDTH; i++)
        MUST(torc_spawn(&inner, grow_tree, (void *)(depth - 1)));
    return torc_scope_join(&inner);
}

static int tree_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, grow_tree, (void *)TREE_DEPTH));
    settle();
    CHECK_EQ(torci_this->fibers_live, 1 + (729 - 1) / 2);
    torc_scope_cancel(&all);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    CHECK_EQ(ended, 243);
    CHECK_EQ(torci_this->fibers_live, 1);
    return 0;
}

TEST(scope, cancel_goes_down_the_tree)
{
    MUST(run(tree_main, NULL));
}

static int deepest;

static int descend(void *arg)
{
    intptr_t left = (intptr_t)arg;
    struct torc_scope inner;
    if (!left) {
        deepest = 1;
        return wait_for_event(NULL);
    }
    torc_scope_init(&inner);
    MUST(torc_spawn_with(&inner, &(struct torc_task_options){.stack_bytes = TORCI_STACK_MIN},
                         descend, (void *)(left - 1)));
    return torc_scope_join(&inner);
}

static int cancel_from_small_stack(void *arg)
{
    torc_scope_cancel((struct torc_scope *)arg);
    return 0;
}

static int chain_main(void *arg)
{
    (void)arg;
    struct torc_scope chain, other;
    torc_event_init(&event);
    torc_scope_init(&chain);
    torc_scope_init(&other);
    MUST(torc_spawn(&chain, descend, (void *)(intptr_t)(MANY_TASKS - 10)));
    while (!deepest)
        torc_yield();
    MUST(torc_spawn_with(&other, &(struct torc_task_options){.stack_bytes = TORCI_STACK_MIN},
                         cancel_from_small_stack, &chain));
    MUST(torc_scope_join(&other));
    CHECK_EQ(torc_scope_join(&chain), -ECANCELED);
    CHECK_EQ(ended, 1);
    return 0;
}

TEST(scope, cancel_goes_down_a_chain_deeper_than_a_stack)
{
    MUST(run(chain_main, NULL));
}

static int inner_first_main(void *arg)
{
    (void)arg;
    struct torc_scope outer, inner;
    torc_event_init(&event);
    torc_scope_init(&outer);
    torc_scope_init(&inner);
    MUST(torc_spawn(&outer, wait_for_event, NULL));
    MUST(torc_spawn(&inner, give_back, (void *)(intptr_t)-EIO));
    CHECK_EQ(torc_scope_join(&inner), -EIO);
    CHECK_EQ(ended, 1); /* the outer one has nothing to do with it */
    torc_event_set(&event);
    return torc_scope_join(&outer);
}

TEST(scope, failure_of_an_inner_scope_stays_inside)
{
    MUST(run(inner_first_main, NULL));
}

/* ---- spawns at awkward moments ---- */

static int spawn_a_sibling(void *arg)
{
    uintptr_t left = (uintptr_t)arg;
    ended++;
    if (left)
        MUST(torc_spawn(shared, spawn_a_sibling, (void *)(left - 1)));
    return 0;
}

static int siblings_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    shared = &all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, spawn_a_sibling, (void *)99));
    MUST(torc_scope_join(&all));
    CHECK_EQ(ended, 100);
    return 0;
}

TEST(scope, tasks_spawn_siblings_while_the_join_is_under_way)
{
    MUST(run(siblings_main, NULL));
}

/* A task of another scope spawns into one whose last task has just ended: its joiner is awake and has not run. */
static int spawn_between(void *arg)
{
    (void)arg;
    CHECK_EQ(shared->live, 0);
    MUST(torc_spawn(shared, give_back, NULL));
    MUST(torc_spawn(shared, sleep_ms, (void *)5));
    return 0;
}

static int join_shared(void *arg)
{
    struct torc_scope inner;
    (void)arg;
    shared = &inner;
    torc_scope_init(&inner);
    MUST(torc_spawn(&inner, wait_for_event, NULL));
    MUST(torc_scope_join(&inner));
    CHECK_EQ(ended, 3);
    return 0;
}

static int between_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, join_shared, NULL));
    settle();
    /* in the line: the inner task, the one that spawns, and only then the joiner */
    torc_event_set(&event);
    MUST(torc_spawn(&all, spawn_between, NULL));
    MUST(torc_scope_join(&all));
    CHECK_EQ(ended, 3);
    CHECK_EQ(machine.now_ns, TORC_SEC + 5 * TORC_MS);
    return 0;
}

TEST(scope, spawn_between_the_last_end_and_the_joiner_is_joined_too)
{
    MUST(run(between_main, NULL));
}

/* The same, and the late tasks end before the joiner has had its turn: it must not be woken twice. */
static int join_across_queues(void *arg)
{
    struct torc_scope inner;
    (void)arg;
    shared = &inner;
    torc_scope_init(&inner);
    MUST(torc_spawn_with(&inner, &(struct torc_task_options){.queue = &torci_this->root},
                         wait_for_event, NULL));
    MUST(torc_scope_join(&inner));
    CHECK_EQ(ended, 3);
    return 0;
}

static int twice_main(void *arg)
{
    struct torc_queue other;
    struct torc_scope all;
    (void)arg;
    torc_event_init(&event);
    MUST(torc_queue_init(&other, NULL));
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.queue = &other}, join_across_queues,
                         NULL));
    MUST(torc_sleep(TORC_MS));
    torc_event_set(&event);
    for (unsigned i = 1; i <= 3; i++) {
        torc_yield(); /* to the task, not to the joiner: it is in a queue whose turn it is not */
        CHECK_EQ(ended, i);
        CHECK_EQ(shared->live, 0);
        if (i < 3)
            MUST(torc_spawn(shared, give_back, NULL));
    }
    MUST(torc_scope_join(&all));
    return torc_queue_deinit(&other);
}

TEST(scope, joiner_on_its_way_is_not_woken_again)
{
    MUST(run(twice_main, NULL));
}
