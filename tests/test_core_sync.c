/* SPDX-License-Identifier: MIT
 *
 * Events, wait groups, gates, locks and semaphores: what is particular to each. What all waiters have in common is in
 * test_core_waiters.c.
 */
#include <errno.h>
#include <signal.h>

#include "core/event.h"
#include "core/lock.h"
#include "core/semaphore.h"
#include "tests/core_host.h"
#include "tests/sync_model.h"

#define MUST(call) CHECK_EQ((call), 0)

static struct torc_event event;
static struct torc_wait_group group;
static struct torc_gate gate;
static struct torc_mutex mutex;
static struct torc_rwlock rwlock;
static struct torc_condition condition;
static struct torc_semaphore semaphore;

/* What happened, in order. */
static char story[64];
static void tell(char what)
{
    size_t length = strlen(story);
    CHECK(length + 1 < sizeof story);
    story[length] = what;
}

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        torc_yield();
}

static int event_main(void *arg)
{
    (void)arg;
    torc_event_init(&event);
    CHECK_EQ(torc_event_try_wait(&event), -EAGAIN);
    torc_event_set(&event);
    CHECK(torc_event_is_set(&event));
    MUST(torc_event_wait(&event));
    MUST(torc_event_try_wait(&event));
    torc_event_reset(&event);
    CHECK_EQ(torc_event_try_wait(&event), -EAGAIN);
    return 0;
}

TEST(event, stays_set_until_it_is_reset)
{
    MUST(core_host_run(event_main, NULL));
}

static int wait_for_event(void *arg)
{
    int err = torc_event_wait(&event);
    if (!err)
        tell(*(const char *)arg);
    return err;
}

static int event_reset_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_event_init(&event);
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, wait_for_event, "a"));
    MUST(torc_spawn(&scope, wait_for_event, "b"));
    settle();
    torc_event_set(&event);
    torc_event_reset(&event);
    MUST(torc_scope_join(&scope));
    CHECK_STR(story, "ab");
    CHECK(!torc_event_is_set(&event));
    return 0;
}

TEST(event, that_is_reset_at_once_has_let_its_waiters_through)
{
    MUST(core_host_run(event_reset_main, NULL));
}

static int auto_event_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_event_init_auto(&event);
    torc_event_set(&event);
    torc_event_set(&event);
    MUST(torc_event_wait(&event));
    CHECK_EQ(torc_event_try_wait(&event), -EAGAIN);

    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, wait_for_event, "a"));
    MUST(torc_spawn(&scope, wait_for_event, "b"));
    settle();
    torc_event_set(&event);
    CHECK(!torc_event_is_set(&event)); /* a has it, though it has not run */
    settle();
    CHECK_STR(story, "a");
    torc_event_set(&event);
    MUST(torc_scope_join(&scope));
    CHECK_STR(story, "ab");
    return 0;
}

TEST(event, with_auto_reset_lets_one_through_for_each_set)
{
    MUST(core_host_run(auto_event_main, NULL));
}

static int finish_work(void *arg)
{
    (void)arg;
    int err = torc_sleep(TORC_MS);
    torc_wait_group_done(&group);
    return err;
}

static int group_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_wait_group_init(&group);
    MUST(torc_wait_group_wait(&group)); /* nothing to wait for */
    torc_scope_init(&scope);
    for (int round = 0; round < 2; round++) {
        uint64_t began = torc_now_ns();
        torc_wait_group_add(&group, 3);
        for (int i = 0; i < 3; i++)
            MUST(torc_spawn(&scope, finish_work, NULL));
        CHECK_EQ(torc_wait_group_try_wait(&group), -EAGAIN);
        MUST(torc_wait_group_wait(&group));
        CHECK(torc_now_ns() - began >= TORC_MS);
        MUST(torc_wait_group_try_wait(&group));
    }
    return torc_scope_join(&scope);
}

TEST(wait_group, waits_for_the_last_and_can_be_used_again)
{
    MUST(core_host_run(group_main, NULL));
}

static int group_underflow_main(void *arg)
{
    (void)arg;
    torc_wait_group_init(&group);
    torc_wait_group_done(&group);
    return 0;
}

TEST_DYING(wait_group, dies_of_more_done_than_was_added, SIGABRT)
{
    MUST(core_host_run(group_underflow_main, NULL));
}

static int visit(void *arg)
{
    (void)arg;
    MUST(torc_gate_enter(&gate));
    int err = torc_sleep(TORC_MS);
    tell('l');
    torc_gate_leave(&gate);
    return err;
}

static int gate_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_gate_init(&gate);
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, visit, NULL));
    MUST(torc_spawn(&scope, visit, NULL));
    settle();
    CHECK(!torc_gate_is_closed(&gate));

    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, TORC_US);
    CHECK_EQ(torc_gate_close(&gate), -ETIMEDOUT);
    torc_deadline_leave(&deadline);
    CHECK(torc_gate_is_closed(&gate)); /* shut all the same */
    CHECK_EQ(torc_gate_enter(&gate), -ESHUTDOWN);
    CHECK_EQ(torc_gate_try_close(&gate), -EAGAIN);
    CHECK_STR(story, "");

    MUST(torc_gate_close(&gate));
    CHECK_STR(story, "ll");
    MUST(torc_gate_try_close(&gate));
    MUST(torc_gate_close(&gate));
    CHECK_EQ(torc_gate_enter(&gate), -ESHUTDOWN);
    return torc_scope_join(&scope);
}

TEST(gate, close_refuses_the_next_and_waits_for_all_inside)
{
    MUST(core_host_run(gate_main, NULL));
}

static int gate_underflow_main(void *arg)
{
    (void)arg;
    torc_gate_init(&gate);
    torc_gate_leave(&gate);
    return 0;
}

TEST_DYING(gate, dies_of_a_leave_without_an_enter, SIGABRT)
{
    MUST(core_host_run(gate_underflow_main, NULL));
}

static int take_mutex(void *arg)
{
    MUST(torc_mutex_lock(&mutex));
    CHECK(torc_mutex_is_mine(&mutex));
    tell(*(const char *)arg);
    torc_yield();
    torc_mutex_unlock(&mutex);
    CHECK(!torc_mutex_is_mine(&mutex));
    return 0;
}

static int mutex_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_mutex_init(&mutex);
    MUST(torc_mutex_try_lock(&mutex));
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, take_mutex, "a"));
    MUST(torc_spawn(&scope, take_mutex, "b"));
    settle();
    CHECK_STR(story, "");
    torc_mutex_unlock(&mutex);
    CHECK_EQ(torc_mutex_try_lock(&mutex), -EAGAIN); /* it is a's already */
    MUST(torc_mutex_lock(&mutex));
    tell('m');
    torc_mutex_unlock(&mutex);
    CHECK_STR(story, "abm");
    return torc_scope_join(&scope);
}

TEST(mutex, that_is_awaited_cannot_be_taken_in_passing)
{
    MUST(core_host_run(mutex_main, NULL));
}

static int mutex_twice_main(void *arg)
{
    (void)arg;
    torc_mutex_init(&mutex);
    MUST(torc_mutex_lock(&mutex));
    return torc_mutex_lock(&mutex);
}

TEST_DYING(mutex, dies_of_being_locked_twice_by_its_owner, SIGABRT)
{
    MUST(core_host_run(mutex_twice_main, NULL));
}

static int unlock_mutex(void *arg)
{
    (void)arg;
    torc_mutex_unlock(&mutex);
    return 0;
}

static int mutex_stranger_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_mutex_init(&mutex);
    MUST(torc_mutex_lock(&mutex));
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, unlock_mutex, NULL));
    return torc_scope_join(&scope);
}

TEST_DYING(mutex, dies_of_being_unlocked_by_a_stranger, SIGABRT)
{
    MUST(core_host_run(mutex_stranger_main, NULL));
}

static int take_read(void *arg)
{
    int err = torc_rwlock_read_lock(&rwlock);
    if (err)
        return err;
    tell(*(const char *)arg);
    MUST(torc_sleep(TORC_US));
    tell('.');
    torc_rwlock_read_unlock(&rwlock);
    return 0;
}

static int take_write(void *arg)
{
    int err = torc_rwlock_write_lock(&rwlock);
    if (err)
        return err;
    tell(*(const char *)arg);
    MUST(torc_sleep(TORC_US));
    tell('.');
    torc_rwlock_write_unlock(&rwlock);
    return 0;
}

static int rwlock_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_rwlock_init(&rwlock);
    torc_scope_init(&scope);
    MUST(torc_rwlock_read_lock(&rwlock));
    MUST(torc_spawn(&scope, take_read, "a"));
    settle();
    MUST(torc_spawn(&scope, take_write, "X"));
    settle();
    CHECK_EQ(torc_rwlock_try_read_lock(&rwlock), -EAGAIN); /* X has come before */
    MUST(torc_spawn(&scope, take_read, "b"));
    MUST(torc_spawn(&scope, take_read, "c"));
    MUST(torc_spawn(&scope, take_write, "Y"));
    MUST(torc_spawn(&scope, take_read, "d"));
    torc_rwlock_read_unlock(&rwlock);
    MUST(torc_scope_join(&scope));
    CHECK_STR(story, "a.X.bc..Y.d.");
    MUST(torc_rwlock_try_write_lock(&rwlock));
    CHECK_EQ(rwlock.readers, 0);
    torc_rwlock_write_unlock(&rwlock);
    return 0;
}

TEST(rwlock, serves_readers_and_writers_in_one_line)
{
    MUST(core_host_run(rwlock_main, NULL));
}

static int rwlock_cancel_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task writer;
    torc_rwlock_init(&rwlock);
    torc_scope_init(&scope);
    MUST(torc_rwlock_read_lock(&rwlock));
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &writer}, take_write, "X"));
    MUST(torc_spawn(&scope, take_read, "a"));
    MUST(torc_spawn(&scope, take_read, "b"));
    MUST(torc_spawn(&scope, take_write, "Y"));
    settle();
    CHECK_STR(story, "");
    torc_task_cancel(&writer);
    settle();
    CHECK_STR(story, "ab"); /* beside the main task, which still reads */
    torc_rwlock_read_unlock(&rwlock);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    CHECK_STR(story, "ab..Y.");
    return 0;
}

TEST(rwlock, a_cancelled_writer_lets_the_readers_behind_it_pass)
{
    MUST(core_host_run(rwlock_cancel_main, NULL));
}

static int hold_write(void *arg)
{
    (void)arg;
    int err = torc_rwlock_write_lock(&rwlock);
    if (!err) {
        tell('X');
        torc_rwlock_write_unlock(&rwlock);
    }
    return err;
}

static int rwlock_served_then_cancelled_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task writer;
    torc_rwlock_init(&rwlock);
    torc_scope_init(&scope);
    MUST(torc_rwlock_read_lock(&rwlock));
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &writer}, hold_write, NULL));
    MUST(torc_spawn(&scope, take_read, "a"));
    settle();
    torc_rwlock_read_unlock(&rwlock);
    torc_task_cancel(&writer);
    MUST(torc_scope_join(&scope));
    CHECK_STR(story, "Xa.");
    return 0;
}

TEST(rwlock, a_writer_that_was_served_before_its_cancel_holds_the_lock)
{
    MUST(core_host_run(rwlock_served_then_cancelled_main, NULL));
}

static int rwlock_underflow_main(void *arg)
{
    (void)arg;
    torc_rwlock_init(&rwlock);
    torc_rwlock_read_unlock(&rwlock);
    return 0;
}

TEST_DYING(rwlock, dies_of_more_unlocks_than_locks, SIGABRT)
{
    MUST(core_host_run(rwlock_underflow_main, NULL));
}

static int wait_for_condition(void *arg)
{
    MUST(torc_mutex_lock(&mutex));
    int err = torc_condition_wait(&condition, &mutex);
    CHECK(torc_mutex_is_mine(&mutex));
    tell(err == -ECANCELED ? 'C' : *(const char *)arg);
    torc_mutex_unlock(&mutex);
    return 0;
}

static int condition_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task waiter;
    torc_mutex_init(&mutex);
    torc_condition_init(&condition);
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &waiter}, wait_for_condition,
                         "a"));
    MUST(torc_spawn(&scope, wait_for_condition, "b"));
    settle();
    MUST(torc_mutex_lock(&mutex)); /* the waiters have given it back */
    torc_task_cancel(&waiter);
    settle();
    CHECK_STR(story, ""); /* cancelled, but not without the mutex */
    torc_condition_signal(&condition);
    settle();
    CHECK_STR(story, "");
    torc_mutex_unlock(&mutex);
    MUST(torc_scope_join(&scope));
    CHECK_STR(story, "Cb"); /* the signal was not spent on the cancelled one */
    return 0;
}

TEST(condition, wait_returns_with_the_mutex_even_when_cancelled)
{
    MUST(core_host_run(condition_main, NULL));
}

static uint64_t permits_of[] = {0, 1, 2, 3, 4, 5};

static int take_permits(void *arg)
{
    uint64_t permits = *(const uint64_t *)arg;
    int err = torc_semaphore_acquire(&semaphore, permits);
    if (!err)
        tell((char)('0' + permits));
    return err;
}

static int semaphore_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_semaphore_init(&semaphore, 3);
    MUST(torc_semaphore_try_acquire(&semaphore, 2));
    CHECK_EQ(torc_semaphore_try_acquire(&semaphore, 2), -EAGAIN);
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, take_permits, &permits_of[4]));
    MUST(torc_spawn(&scope, take_permits, &permits_of[1]));
    settle();
    CHECK_EQ(torc_semaphore_available(&semaphore), 1);
    CHECK_EQ(torc_semaphore_try_acquire(&semaphore, 1), -EAGAIN); /* not past the line */
    MUST(torc_semaphore_try_acquire(&semaphore, 0));
    CHECK_STR(story, "");
    torc_semaphore_release(&semaphore, 2);
    settle();
    CHECK_STR(story, "");
    torc_semaphore_release(&semaphore, 2);
    CHECK_EQ(torc_semaphore_available(&semaphore), 0); /* 4 and 1 are taken, though nobody ran */
    MUST(torc_scope_join(&scope));
    CHECK_STR(story, "41");
    return 0;
}

TEST(semaphore, a_big_request_is_not_overtaken)
{
    MUST(core_host_run(semaphore_main, NULL));
}

static int semaphore_cancel_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task big;
    torc_semaphore_init(&semaphore, 3);
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &big}, take_permits,
                         &permits_of[5]));
    MUST(torc_spawn(&scope, take_permits, &permits_of[1]));
    MUST(torc_spawn(&scope, take_permits, &permits_of[2]));
    MUST(torc_spawn(&scope, take_permits, &permits_of[3]));
    settle();
    CHECK_STR(story, "");
    torc_task_cancel(&big);
    settle();
    CHECK_STR(story, "12");
    torc_semaphore_release(&semaphore, 3);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    CHECK_STR(story, "123");
    CHECK_EQ(torc_semaphore_available(&semaphore), 0);
    return 0;
}

TEST(semaphore, a_cancelled_big_request_lets_those_behind_it_pass)
{
    MUST(core_host_run(semaphore_cancel_main, NULL));
}

static int semaphore_overflow_main(void *arg)
{
    (void)arg;
    torc_semaphore_init(&semaphore, UINT64_MAX);
    torc_semaphore_release(&semaphore, 1);
    return 0;
}

TEST_DYING(semaphore, dies_of_more_permits_than_it_can_count, SIGABRT)
{
    MUST(core_host_run(semaphore_overflow_main, NULL));
}

/* The crowds. */

static uint64_t inside, inside_max;

static void mutex_set_up(void)
{
    torc_mutex_init(&mutex);
    inside = inside_max = 0;
}

static int mutex_step(struct crowd *crowd, int who)
{
    uint64_t began = crowd_queue_up(crowd, who);
    int err =
        crowd_served(crowd, who, began,
                     crowd_draw(crowd, 8) ? torc_mutex_lock(&mutex) : torc_mutex_try_lock(&mutex));
    if (err)
        return err == -EAGAIN ? 0 : err;
    CHECK_EQ(++inside, 1);
    crowd_linger(crowd);
    CHECK_EQ(inside--, 1);
    torc_mutex_unlock(&mutex);
    return 0;
}

static void mutex_end(struct crowd *crowd)
{
    (void)crowd;
    MUST(torc_mutex_try_lock(&mutex));
    torc_mutex_unlock(&mutex);
}

TEST(mutex, a_random_crowd_is_inside_one_at_a_time_in_order)
{
    crowd_run(&(struct crowd_test){mutex_step, NULL, mutex_set_up, mutex_end});
}

static uint64_t readers, writers, readers_max;

static void rwlock_set_up(void)
{
    torc_rwlock_init(&rwlock);
    readers = writers = readers_max = 0;
}

static int rwlock_step(struct crowd *crowd, int who)
{
    bool write = crowd_draw(crowd, 3) == 0;
    uint64_t began = crowd_queue_up(crowd, who);
    int err =
        crowd_served(crowd, who, began,
                     write ? torc_rwlock_write_lock(&rwlock) : torc_rwlock_read_lock(&rwlock));
    if (err)
        return err;
    *(write ? &writers : &readers) += 1;
    CHECK(writers == 0 || (writers == 1 && readers == 0));
    readers_max = readers > readers_max ? readers : readers_max;
    crowd_linger(crowd);
    CHECK(writers == 0 || (writers == 1 && readers == 0));
    *(write ? &writers : &readers) -= 1;
    if (write)
        torc_rwlock_write_unlock(&rwlock);
    else
        torc_rwlock_read_unlock(&rwlock);
    return 0;
}

static void rwlock_end(struct crowd *crowd)
{
    (void)crowd;
    CHECK(readers_max > 1);
    MUST(torc_rwlock_try_write_lock(&rwlock));
    torc_rwlock_write_unlock(&rwlock);
}

TEST(rwlock, a_random_crowd_never_reads_beside_a_writer)
{
    crowd_run(&(struct crowd_test){rwlock_step, NULL, rwlock_set_up, rwlock_end});
}

enum { PERMITS = 7 };

static void semaphore_set_up(void)
{
    torc_semaphore_init(&semaphore, PERMITS);
    inside = inside_max = 0;
}

static int semaphore_step(struct crowd *crowd, int who)
{
    uint64_t permits = 1 + crowd_draw(crowd, PERMITS);
    uint64_t began = crowd_queue_up(crowd, who);
    int err = crowd_served(crowd, who, began, torc_semaphore_acquire(&semaphore, permits));
    if (err)
        return err;
    inside += permits;
    CHECK(inside <= PERMITS);
    CHECK(inside + torc_semaphore_available(&semaphore) <= PERMITS);
    crowd_linger(crowd);
    inside -= permits;
    torc_semaphore_release(&semaphore, permits);
    return 0;
}

static void semaphore_end(struct crowd *crowd)
{
    (void)crowd;
    CHECK_EQ(torc_semaphore_available(&semaphore), PERMITS);
    MUST(torc_semaphore_try_acquire(&semaphore, PERMITS));
}

TEST(semaphore, a_random_crowd_conserves_the_permits)
{
    crowd_run(&(struct crowd_test){semaphore_step, NULL, semaphore_set_up, semaphore_end});
}

/* A bounded buffer from a mutex and two conditions, the schoolbook way: a signal that got lost would leave somebody
 * asleep beside a buffer that is neither full nor empty. */
enum { BUFFER_MAX = 3 };
static struct torc_condition not_full, not_empty;
static uint64_t buffered, produced, consumed;

static void buffer_set_up(void)
{
    torc_mutex_init(&mutex);
    torc_condition_init(&not_full);
    torc_condition_init(&not_empty);
    buffered = produced = consumed = 0;
}

static int buffer_step(struct crowd *crowd, int who)
{
    bool produce = who % 2;
    int err = torc_mutex_lock(&mutex);
    if (err) {
        crowd->interrupted++;
        return err;
    }
    while (!err && buffered == (produce ? BUFFER_MAX : 0)) {
        err = torc_condition_wait(produce ? &not_full : &not_empty, &mutex);
        CHECK(torc_mutex_is_mine(&mutex));
    }
    if (!err) {
        buffered += produce ? 1 : UINT64_MAX;
        *(produce ? &produced : &consumed) += 1;
        crowd_linger(crowd);
        torc_condition_signal(produce ? &not_empty : &not_full);
        crowd->served++;
    } else {
        crowd->interrupted++;
    }
    torc_mutex_unlock(&mutex);
    return err;
}

static void buffer_end(struct crowd *crowd)
{
    (void)crowd;
    CHECK_EQ(produced - consumed, buffered);
    CHECK(buffered <= BUFFER_MAX);
    MUST(torc_mutex_try_lock(&mutex));
    torc_mutex_unlock(&mutex);
}

TEST(condition, a_random_crowd_shares_a_bounded_buffer)
{
    crowd_run(&(struct crowd_test){buffer_step, NULL, buffer_set_up, buffer_end});
}

/* Visitors of a resource that is taken down and put up again. */
static bool resource_is_up;

static void gate_set_up(void)
{
    torc_gate_init(&gate);
    resource_is_up = true;
    inside = 0;
}

static int gate_step(struct crowd *crowd, int who)
{
    if (who > 0) {
        int err = torc_gate_enter(&gate);
        if (err)
            return err == -ESHUTDOWN ? torc_sleep(TORC_US) : err;
        inside++;
        CHECK(resource_is_up);
        crowd_linger(crowd);
        CHECK(resource_is_up);
        inside--;
        torc_gate_leave(&gate);
        crowd->served++;
        return 0;
    }
    int err = torc_gate_close(&gate);
    if (err) {
        crowd->interrupted++;
        return err;
    }
    CHECK_EQ(inside, 0);
    resource_is_up = false;
    crowd_linger(crowd);
    CHECK_EQ(inside, 0);
    gate_set_up();
    return torc_sleep(20 * TORC_US);
}

static void gate_end(struct crowd *crowd)
{
    (void)crowd;
    CHECK_EQ(inside, 0);
    MUST(torc_gate_close(&gate));
}

TEST(gate, a_random_crowd_never_uses_what_was_taken_down)
{
    crowd_run(&(struct crowd_test){gate_step, NULL, gate_set_up, gate_end});
}

/* Sets of an auto-reset event are permits that do not add up beyond one. */
static uint64_t sets, through;

static void auto_set_up(void)
{
    torc_event_init_auto(&event);
    sets = through = 0;
}

static int auto_step(struct crowd *crowd, int who)
{
    if (who % 2) {
        sets += !torc_event_is_set(&event);
        torc_event_set(&event);
        return torc_sleep(crowd_draw(crowd, 10 * TORC_US));
    }
    uint64_t began = crowd_queue_up(crowd, who);
    int err = crowd_served(crowd, who, began, torc_event_wait(&event));
    through += !err;
    return err;
}

static void auto_end(struct crowd *crowd)
{
    (void)crowd;
    CHECK_EQ(through + torc_event_is_set(&event), sets);
}

TEST(event, a_random_crowd_passes_once_for_each_set)
{
    crowd_run(&(struct crowd_test){auto_step, NULL, auto_set_up, auto_end});
}
