/* SPDX-License-Identifier: MIT
 *
 * Tasks: results and handles, names, task-local slots, limits, and the contracts that abort when they are broken.
 */
#include <signal.h>

#include "core/event.h"
#include "tests/core_tasks.h"

static struct torc_event event;

static int give_back(void *arg)
{
    return (int)(intptr_t)arg;
}

static int yield_and_give_back(void *arg)
{
    torc_yield();
    return (int)(intptr_t)arg;
}

static int tell_letter(void *arg)
{
    tell((char)(intptr_t)arg);
    return 0;
}

static int wait_for_event(void *arg)
{
    (void)arg;
    return torc_event_wait(&event);
}

TEST(task, main_result_is_the_result_of_the_run)
{
    CHECK_EQ(run(give_back, (void *)(intptr_t)42), 42);
    CHECK_EQ(run(give_back, (void *)(intptr_t)-5), -5);
    CHECK_EQ(run(yield_and_give_back, (void *)(intptr_t)7), 7);
}

static int order_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (intptr_t letter = 'a'; letter <= 'e'; letter++)
        MUST(torc_spawn(&all, tell_letter, (void *)letter));
    CHECK_STR(story, ""); /* none is entered by its spawn */
    torc_yield();
    CHECK_STR(story, "abcde");
    return torc_scope_join(&all);
}

TEST(task, tasks_begin_in_the_order_of_their_spawns)
{
    MUST(run(order_main, NULL));
}

static int handles_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task tasks[4];
    torc_scope_init(&all);
    for (intptr_t i = 0; i < 4; i++)
        MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &tasks[i]},
                             i & 1 ? give_back : yield_and_give_back, (void *)(i * 10 - 10)));
    CHECK(!torc_task_is_done(&tasks[1]));
    CHECK_EQ(torc_task_join(&tasks[3]), 20);
    CHECK_EQ(torc_task_join(&tasks[0]), -10);
    CHECK(torc_task_is_done(&tasks[1]));
    CHECK_EQ(torc_task_join(&tasks[2]), 10);
    CHECK_EQ(torc_task_join(&tasks[1]), 0);
    CHECK_EQ(torc_task_join(&tasks[0]), -10); /* as often as one likes */
    torc_task_cancel(&tasks[0]);              /* harmless: it has ended */
    CHECK_EQ(torc_scope_join(&all), -10);
    CHECK_EQ(torc_task_join(&tasks[2]), 10); /* the handle outlives the scope */
    return 0;
}

TEST(task, handle_gives_the_result_before_and_after_the_end)
{
    MUST(run(handles_main, NULL));
}

static int join_it(void *arg)
{
    return torc_task_join((struct torc_task *)arg) == 9 ? 0 : -EIO;
}

static int joiners_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task one, joiner;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, yield_and_give_back,
                         (void *)(intptr_t)9));
    for (int i = 0; i < 5; i++)
        MUST(torc_spawn(&all, join_it, &one));
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &joiner}, join_it, &one));
    MUST(torc_task_join(&joiner));
    return torc_scope_join(&all);
}

TEST(task, many_can_join_one)
{
    MUST(run(joiners_main, NULL));
}

static int interrupted_join_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task one;
    struct torc_deadline deadline;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, wait_for_event, NULL));
    torc_deadline_enter(&deadline, 10 * TORC_MS);
    CHECK_EQ(torc_task_join(&one), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK(!torc_task_is_done(&one)); /* it goes on */
    torc_event_set(&event);
    CHECK_EQ(torc_task_join(&one), 0);
    return torc_scope_join(&all);
}

TEST(task, interrupted_join_of_a_task_leaves_the_task_alone)
{
    MUST(run(interrupted_join_main, NULL));
}

static int cancel_one_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task first, second;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &first}, wait_for_event, NULL));
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &second}, wait_for_event, NULL));
    torc_yield();
    torc_task_cancel(&first);
    torc_task_cancel(&first);
    CHECK_EQ(torc_task_join(&first), -ECANCELED);
    CHECK(!torc_task_is_done(&second));
    torc_event_set(&event);
    CHECK_EQ(torc_task_join(&second), 0);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    return 0;
}

TEST(task, cancel_of_one_spares_its_siblings)
{
    MUST(run(cancel_one_main, NULL));
}

static int entered;
static int note_entry(void *arg)
{
    (void)arg;
    entered++;
    CHECK_EQ(torc_task_check(), -ECANCELED);
    torc_yield(); /* not a cancellation point */
    return torc_sleep(TORC_SEC);
}

static int cancel_unbegun_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    struct torc_task one;
    torc_scope_init(&all);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.task = &one}, note_entry, NULL));
    torc_task_cancel(&one);
    CHECK_EQ(torc_task_join(&one), -ECANCELED);
    CHECK_EQ(entered, 1); /* so that what it owns is released by its own code */
    CHECK_EQ(machine.now_ns, TORC_SEC);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    return 0;
}

TEST(task, cancelled_before_it_began_it_runs_and_cannot_block)
{
    MUST(run(cancel_unbegun_main, NULL));
}

static int check_free(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_task_check(), 0);
    return torc_sleep(1);
}

static int reuse_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, wait_for_event, NULL));
    torc_scope_cancel(&all);
    const struct torci_fiber *cancelled =
        TORC_CONTAINER_OF(all.fibers.next, struct torci_fiber, in_scope);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    torc_scope_init(&all);
    MUST(torc_spawn(&all, check_free, NULL));
    CHECK(TORC_CONTAINER_OF(all.fibers.next, struct torci_fiber, in_scope) == cancelled);
    return torc_scope_join(&all);
}

TEST(task, cancel_does_not_reach_the_next_task_of_the_same_fiber)
{
    MUST(run(reuse_main, NULL));
}

/* ---- names ---- */

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";

static int check_long_name(void *arg)
{
    (void)arg;
    CHECK_EQ(strlen(torc_task_name()), TORC_TASK_NAME_MAX);
    CHECK(strncmp(torc_task_name(), alphabet, TORC_TASK_NAME_MAX) == 0);
    torc_task_set_name("short");
    CHECK_STR(torc_task_name(), "short");
    torc_task_set_name(alphabet + 36 - TORC_TASK_NAME_MAX);
    CHECK_STR(torc_task_name(), alphabet + 36 - TORC_TASK_NAME_MAX);
    torc_task_set_name("");
    CHECK_STR(torc_task_name(), "");
    return 0;
}

static int check_no_name(void *arg)
{
    (void)arg;
    CHECK_STR(torc_task_name(), "task"); /* not that of the fiber's last user */
    return 0;
}

static int names_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    CHECK_STR(torc_task_name(), "main");
    torc_scope_init(&all);
    char name[sizeof alphabet];
    memcpy(name, alphabet, sizeof alphabet);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.name = name}, check_long_name, NULL));
    memset(name, 'x', sizeof name); /* it was copied */
    MUST(torc_scope_join(&all));
    torc_scope_init(&all);
    MUST(torc_spawn(&all, check_no_name, NULL));
    return torc_scope_join(&all);
}

TEST(task, names_are_copied_and_cut)
{
    CHECK_STR(torc_task_name(), "loop");
    MUST(run(names_main, NULL));
}

/* ---- task-local slots ---- */

static struct torc_local local_key, other_key;
static int destroyed[8];
static unsigned destroyed_count;

static void note_destroyed(void *value)
{
    CHECK(destroyed_count < TORC_ARRAY_LENGTH(destroyed));
    destroyed[destroyed_count++] = *(int *)value;
    CHECK(torc_local_get(local_key) == NULL);
}

static int values[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static int use_local(void *arg)
{
    CHECK(torc_local_get(local_key) == NULL);
    CHECK(torc_local_get(other_key) == NULL);
    torc_local_set(local_key, arg);
    torc_local_set(other_key, &values[0]);
    torc_yield();
    CHECK(torc_local_get(local_key) == arg);
    return 0;
}

static int locals_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    MUST(torc_local_create(&local_key, note_destroyed));
    MUST(torc_local_create(&other_key, NULL));
    torc_local_set(local_key, &values[7]);
    for (int round = 0; round < 2; round++) {
        torc_scope_init(&all);
        for (int i = 1; i <= 2; i++)
            MUST(torc_spawn(&all, use_local, &values[2 * round + i]));
        MUST(torc_spawn(&all, give_back, NULL)); /* sets none: nothing to destroy */
        MUST(torc_scope_join(&all));
    }
    CHECK_EQ(destroyed_count, 4);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(destroyed[i], i + 1);
    CHECK(torc_local_get(local_key) == &values[7]);
    torc_local_set(local_key, NULL);
    return 0;
}

TEST(task, local_is_destroyed_once_and_begins_as_null)
{
    MUST(run(locals_main, NULL));
    CHECK_EQ(destroyed_count, 4);
}

static int slots_main(void *arg)
{
    (void)arg;
    struct torc_local keys[TORC_LOCALS_MAX + 1];
    for (unsigned i = 0; i < TORC_LOCALS_MAX; i++)
        MUST(torc_local_create(&keys[i], NULL));
    CHECK_EQ(torc_local_create(&keys[TORC_LOCALS_MAX], NULL), -EAGAIN);
    for (unsigned i = 0; i < TORC_LOCALS_MAX; i++)
        torc_local_set(keys[i], &values[i]);
    for (unsigned i = 0; i < TORC_LOCALS_MAX; i++)
        CHECK(torc_local_get(keys[i]) == &values[i]);
    return 0;
}

TEST(task, local_slots_run_out)
{
    MUST(run(slots_main, NULL));
}

/* A destructor that sets a slot again, one that was gone through before: the value must not reach the next task. */
static unsigned set_again;

static void set_earlier_slot(void *value)
{
    if (set_again++ < 2)
        torc_local_set(local_key, value);
    torc_local_set(other_key, value);
}

static int set_other(void *arg)
{
    CHECK(torc_local_get(local_key) == NULL);
    CHECK(torc_local_get(other_key) == NULL);
    torc_local_set(other_key, arg);
    return 0;
}

static int resurrection_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    MUST(torc_local_create(&local_key, NULL));
    MUST(torc_local_create(&other_key, set_earlier_slot));
    for (int i = 0; i < 3; i++) {
        set_again = 0;
        torc_scope_init(&all);
        MUST(torc_spawn(&all, set_other, &values[i]));
        MUST(torc_scope_join(&all));
        CHECK(set_again > 1); /* what it sets is destroyed as well, a few times */
    }
    return 0;
}

TEST(task, local_set_by_a_destructor_does_not_reach_the_next_task)
{
    MUST(run(resurrection_main, NULL));
}

/* ---- limits and memory ---- */

static int limit_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_event_init(&event);
    torc_scope_init(&all);
    for (int i = 0; i < 9; i++) /* and we are the tenth */
        MUST(torc_spawn(&all, wait_for_event, NULL));
    CHECK_EQ(torc_spawn(&all, wait_for_event, NULL), -EAGAIN);
    torc_event_set(&event);
    torc_yield();
    MUST(torc_spawn(&all, wait_for_event, NULL)); /* room again */
    return torc_scope_join(&all);
}

TEST(task, limit_of_live_tasks_is_an_error)
{
    core_host_init(&machine);
    MUST(run_with(&(struct torci_exec_config){.tasks_max = 10}, limit_main, NULL));
}

static int main_only(void *arg)
{
    struct torc_scope all;
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, give_back, arg), -EAGAIN);
    return torc_scope_join(&all);
}

TEST(task, limit_of_one_leaves_main_alone)
{
    core_host_init(&machine);
    MUST(run_with(&(struct torci_exec_config){.tasks_max = 1}, main_only, NULL));
}

static int million_main(void *arg)
{
    (void)arg;
    enum { BATCH = 100, BATCHES = 10000 };
    size_t bytes = 0;
    for (int batch = 0; batch < BATCHES; batch++) {
        struct torc_scope all;
        torc_scope_init(&all);
        for (int i = 0; i < BATCH; i++)
            MUST(torc_spawn(&all, batch % 100 ? give_back : yield_and_give_back, NULL));
        MUST(torc_scope_join(&all));
        if (!batch) {
            bytes = machine.bytes;
            machine.fail_at = 0; /* the next allocation of any kind would fail */
        }
    }
    CHECK_EQ(machine.bytes, bytes);
    CHECK_EQ(machine.fail_at, 0);
    return 0;
}

TEST(task, million_spawns_allocate_nothing_once_the_pool_is_warm)
{
    MUST(run(million_main, NULL));
}

/* Call n of the host's allocators fails, for every n until the run needs no further one. Whatever could not be started
 * is an error of the spawn, the rest runs, and all memory comes back. */
static unsigned started, ended;

static int count_end(void *arg)
{
    (void)arg;
    torc_yield();
    ended++;
    return 0;
}

static int starve_main(void *arg)
{
    struct torc_queue queue;
    struct torc_scope all;
    int failed = 0;
    MUST(torc_queue_init(&queue, &(struct torc_queue_options){.name = "second"}));
    torc_scope_init(&all);
    for (unsigned i = 0; i < 40; i++) {
        int err = torc_spawn_with(&all,
                                  &(struct torc_task_options){.stack_bytes = i % 5 ? 0 : 128 * 1024,
                                                              .queue = i & 1 ? &queue : NULL},
                                  count_end, NULL);
        started += !err;
        CHECK(!err || err == -ENOMEM);
        failed = err ? err : failed;
    }
    MUST(torc_scope_join(&all));
    CHECK_EQ(ended, started);
    MUST(torc_queue_deinit(&queue));
    *(int *)arg = failed;
    return 0;
}

TEST(task, every_allocation_that_fails_is_an_error_and_nothing_leaks)
{
    int64_t n = 0, failures = 0;
    for (bool hit = true; hit; n++) {
        int failed = 0;
        started = ended = 0;
        core_host_init(&machine);
        machine.fail_at = n;
        int result = run_with(&(struct torci_exec_config){0}, starve_main, &failed);
        CHECK(result == 0 || result == -ENOMEM);
        CHECK(result == 0 || started == 0);
        hit = machine.fail_at < 0;
        CHECK_EQ(hit, result || failed);
        CHECK(!hit || started < 40);
        failures += hit;
    }
    CHECK(failures > 50); /* a guard for every stack alone is 41 */
}

static int bad_options_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    size_t bytes = machine.bytes;
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn_with(&all, &(struct torc_task_options){.stack_bytes = (16 << 20) + 1},
                             give_back, NULL),
             -EINVAL);
    CHECK_EQ(torc_spawn_with(&all, &(struct torc_task_options){.stack_bytes = SIZE_MAX}, give_back,
                             NULL),
             -EINVAL);
    CHECK_EQ(machine.bytes, bytes);
    CHECK_EQ(torci_this->fibers_live, 1);
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.stack_bytes = 1}, give_back, NULL));
    MUST(torc_spawn_with(&all, &(struct torc_task_options){.stack_bytes = 16 << 20}, give_back,
                         NULL));
    return torc_scope_join(&all);
}

TEST(task, stack_beyond_16_mib_is_refused)
{
    struct torci_exec exec;
    core_host_init(&machine);
    CHECK_EQ(torci_exec_init(&exec, &machine.host,
                             &(struct torci_exec_config){.stack_bytes = (16 << 20) + 1}),
             -EINVAL);
    MUST(run(bad_options_main, NULL));
}

/* The driver fails while tasks are parked. */
static int failing_turn(void *context, uint64_t wait_until_ns)
{
    (void)context, (void)wait_until_ns;
    return -EBADF;
}

static int parked_main(void *arg)
{
    (void)arg;
    torc_event_init(&event);
    return torc_event_wait(&event);
}

TEST(task, failure_of_the_driver_ends_the_run)
{
    core_host_init(&machine);
    machine.host.turn = failing_turn;
    CHECK_EQ(run_with(&(struct torci_exec_config){0}, parked_main, NULL), -EBADF);
}

/* ---- spawns from outside of any task ---- */

static struct torc_scope *outside_scope;
static struct torci_timer outside_timer;
static unsigned outside_turns;

static void spawn_from_timer(struct torci_timer *timer)
{
    (void)timer;
    CHECK(torci_this->current == NULL);
    CHECK_STR(torc_task_name(), "loop");
    MUST(torc_spawn(outside_scope, tell_letter, (void *)(intptr_t)'t'));
}

static void spawn_from_turn(void)
{
    if (outside_scope && ++outside_turns <= 3)
        MUST(torc_spawn(outside_scope, tell_letter, (void *)(intptr_t)'h'));
}

static int keep_open(void *arg)
{
    (void)arg;
    return torc_sleep(TORC_SEC);
}

static int outside_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, keep_open, NULL));
    torci_timer_init(&outside_timer, spawn_from_timer);
    torci_wheel_arm(&torci_this->wheel, &outside_timer, torc_now_ns() + TORC_MS);
    outside_scope = &all;
    MUST(torc_scope_join(&all));
    outside_scope = NULL;
    CHECK(strchr(story, 't') && strchr(story, 'h'));
    return 0;
}

TEST(task, completion_functions_and_timers_can_spawn)
{
    core_host_init(&machine);
    machine.on_turn = spawn_from_turn;
    MUST(run_with(&(struct torci_exec_config){0}, outside_main, NULL));
}

/* A deep backlog of tasks that never block runs on one stack. */
static int one_stack_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < 1000; i++)
        MUST(torc_spawn(&all, give_back, NULL));
    MUST(torc_scope_join(&all));
    size_t used = 0;
    for (struct torci_stack *at = torci_this->stacks.free[torci_this->stack_class]; at;
         at = at->next_free)
        used += torci_stack_high_water(at) > 0;
    CHECK_EQ(used, 1);
    return 0;
}

TEST(task, thousand_tasks_that_never_block_touch_one_stack)
{
    MUST(run(one_stack_main, NULL));
}

/* ---- contracts ---- */

static int leave_scope_open(void *arg)
{
    (void)arg;
    static struct torc_scope all;
    torc_scope_init(&all);
    return 0;
}
TEST_DYING(contract, returning_with_an_open_scope_aborts, SIGABRT)
{
    (void)run(leave_scope_open, NULL);
}

static int leave_deadline_open(void *arg)
{
    (void)arg;
    static struct torc_deadline deadline;
    torc_deadline_enter(&deadline, TORC_SEC);
    return 0;
}
TEST_DYING(contract, returning_inside_a_deadline_aborts, SIGABRT)
{
    (void)run(leave_deadline_open, NULL);
}

static int leave_mask_open(void *arg)
{
    (void)arg;
    static struct torc_mask mask;
    torc_mask_enter(&mask);
    return 0;
}
TEST_DYING(contract, returning_inside_a_mask_aborts, SIGABRT)
{
    (void)run(leave_mask_open, NULL);
}

static int leave_outer_first(void *arg)
{
    (void)arg;
    struct torc_deadline outer, inner;
    torc_deadline_enter(&outer, TORC_SEC);
    torc_deadline_enter(&inner, TORC_MS);
    (void)torc_deadline_leave(&outer);
    return 0;
}
TEST_DYING(contract, leaving_the_outer_deadline_first_aborts, SIGABRT)
{
    (void)run(leave_outer_first, NULL);
}

static int leave_mask_before_deadline(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    torc_deadline_enter(&deadline, TORC_SEC);
    torc_mask_leave(&mask);
    return 0;
}
TEST_DYING(contract, leaving_a_mask_before_the_deadline_inside_aborts, SIGABRT)
{
    (void)run(leave_mask_before_deadline, NULL);
}

static int leave_deadline_inside_mask(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    struct torc_mask mask;
    torc_deadline_enter(&deadline, TORC_SEC);
    torc_mask_enter(&mask);
    (void)torc_deadline_leave(&deadline);
    return 0;
}
TEST_DYING(contract, leaving_a_deadline_from_inside_a_mask_aborts, SIGABRT)
{
    (void)run(leave_deadline_inside_mask, NULL);
}

static struct torc_deadline foreign_deadline;
static int leave_foreign_deadline(void *arg)
{
    (void)arg;
    (void)torc_deadline_leave(&foreign_deadline);
    return 0;
}
static int enter_and_spawn(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    torc_deadline_enter(&foreign_deadline, TORC_SEC);
    MUST(torc_spawn(&all, leave_foreign_deadline, NULL));
    return torc_scope_join(&all);
}
TEST_DYING(contract, leaving_the_deadline_of_another_task_aborts, SIGABRT)
{
    (void)run(enter_and_spawn, NULL);
}

static int join_foreign_scope(void *arg)
{
    return torc_scope_join((struct torc_scope *)arg);
}
static int lend_scope(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_spawn(&all, join_foreign_scope, &all));
    return torc_scope_join(&all);
}
TEST_DYING(contract, joining_the_scope_of_another_task_aborts, SIGABRT)
{
    (void)run(lend_scope, NULL);
}

static int join_twice(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_scope_join(&all));
    return torc_scope_join(&all);
}
TEST_DYING(contract, joining_a_scope_twice_aborts, SIGABRT)
{
    (void)run(join_twice, NULL);
}

static int spawn_into_closed_scope(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    MUST(torc_scope_join(&all));
    return torc_spawn(&all, give_back, NULL);
}
TEST_DYING(contract, spawning_into_a_scope_that_was_joined_aborts, SIGABRT)
{
    (void)run(spawn_into_closed_scope, NULL);
}

static void sleep_in_turn(void)
{
    CHECK_EQ(torc_sleep(1), 0);
}
TEST_DYING(contract, blocking_in_the_loop_aborts, SIGABRT)
{
    core_host_init(&machine);
    machine.on_turn = sleep_in_turn;
    (void)run_with(&(struct torci_exec_config){0}, yield_and_give_back, NULL);
}

static void yield_in_turn(void)
{
    torc_yield();
}
TEST_DYING(contract, yielding_in_the_loop_aborts, SIGABRT)
{
    core_host_init(&machine);
    machine.on_turn = yield_in_turn;
    (void)run_with(&(struct torci_exec_config){0}, yield_and_give_back, NULL);
}

TEST_DYING(contract, blocking_outside_of_an_executor_aborts, SIGABRT)
{
    CHECK_EQ(torc_sleep(1), 0);
}

TEST_DYING(contract, yielding_outside_of_an_executor_aborts, SIGABRT)
{
    torc_yield();
}

TEST_DYING(contract, opening_a_scope_outside_of_a_task_aborts, SIGABRT)
{
    struct torc_scope all;
    torc_scope_init(&all);
}

static int run_inside(void *arg)
{
    static struct torci_exec inner;
    (void)arg;
    MUST(torci_exec_init(&inner, &machine.host, &(struct torci_exec_config){0}));
    return torci_exec_run(&inner, give_back, NULL);
}
TEST_DYING(contract, running_an_executor_inside_of_one_aborts, SIGABRT)
{
    (void)run(run_inside, NULL);
}

/* The line that a broken contract prints names the task and the place. */
static void check_report(void *context, const char *what)
{
    core_host_report(context, what);
    if (!strstr(what, "\"careless\"") || !strstr(what, "task.c:"))
        _Exit(3);
}

static int careless(void *arg)
{
    torc_task_set_name("careless");
    return leave_scope_open(arg);
}
TEST_DYING(contract, report_names_the_task, SIGABRT)
{
    core_host_init(&machine);
    machine.host.report = check_report;
    (void)run_with(&(struct torci_exec_config){0}, careless, NULL);
}
