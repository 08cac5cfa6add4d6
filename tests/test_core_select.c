/* SPDX-License-Identifier: MIT
 *
 * Select: exactly one case takes effect, the others leave no trace; fair, or in order; ended by a timeout, a task's end, a
 * cancel. That each case keeps the rules of its queue is tested in test_core_waiters.c.
 */
#include <errno.h>

#include "core/broadcast.h"
#include "core/channel.h"
#include "core/event.h"
#include "core/lock.h"
#include "core/oneshot.h"
#include "core/select.h"
#include "core/semaphore.h"
#include "core/watch.h"
#include "tests/core_host.h"
#include "tests/sync_model.h"

#define MUST(call) CHECK_EQ((call), 0)

enum { CHANNELS = 3, CAPACITY = 4 };

static struct torc_channel channels[CHANNELS];
static uint64_t slots[CHANNELS][CAPACITY];
static struct torc_event event;
static struct torc_semaphore semaphore;
static struct torc_mutex mutex;
static struct torc_broadcast broadcast;
static struct torc_subscriber subscriber;
static struct torc_watch watch;
static struct torc_watcher watcher;

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        torc_yield();
}

static void channels_set_up(uint32_t capacity)
{
    for (int i = 0; i < CHANNELS; i++)
        MUST(torc_channel_init(&channels[i], sizeof slots[0][0], capacity,
                               capacity ? slots[i] : NULL));
}

static int bad_main(void *arg)
{
    (void)arg;
    static struct torc_case cases[TORC_SELECT_MAX + 1];
    torc_event_init(&event);
    CHECK_EQ(torc_select(cases, 0), -EINVAL);
    CHECK_EQ(torc_select(cases, TORC_SELECT_MAX), -EINVAL); /* none is set */
    CHECK_EQ(torc_select_try(cases, 1), -EINVAL);
    CHECK_EQ(torc_select_in_order(cases, 1), -EINVAL);
    cases[TORC_SELECT_MAX - 1] = torc_event_case(&event);
    CHECK_EQ(torc_select_try(cases, TORC_SELECT_MAX), -EAGAIN);
    CHECK_EQ(torc_select_try(cases, TORC_SELECT_MAX + 1), -EINVAL);
    torc_event_set(&event);
    CHECK_EQ(torc_select(cases, TORC_SELECT_MAX), TORC_SELECT_MAX - 1);
    return 0;
}

TEST(select, refuses_what_could_never_end)
{
    MUST(core_host_run(bad_main, NULL));
}

static int ready_main(void *arg)
{
    (void)arg;
    uint64_t value = 0, other = 77;
    channels_set_up(CAPACITY);
    torc_semaphore_init(&semaphore, 5);
    torc_mutex_init(&mutex);
    MUST(torc_channel_send(&channels[1], &(uint64_t){42}));
    struct torc_case cases[] = {
        torc_channel_recv_case(&channels[0], &other),
        torc_channel_recv_case(&channels[1], &value),
        torc_timeout_case(0),
    };
    CHECK_EQ(torc_select(cases, 3), 1);
    MUST(cases[1].result);
    CHECK_EQ(value, 42);
    CHECK_EQ(other, 77);
    CHECK_EQ(torc_select(cases, 3), 2); /* nothing left: the timeout of 0 */

    struct torc_case takes[] = {torc_semaphore_case(&semaphore, 6), torc_mutex_case(&mutex)};
    CHECK_EQ(torc_select_try(takes, 2), 1);
    CHECK(torc_mutex_is_mine(&mutex));
    torc_mutex_unlock(&mutex);
    takes[0] = torc_semaphore_case(&semaphore, 4);
    CHECK_EQ(torc_select_in_order(takes, 2), 0);
    CHECK(!torc_mutex_is_mine(&mutex));
    CHECK_EQ(torc_semaphore_available(&semaphore), 1);

    torc_channel_close(&channels[0]);
    CHECK_EQ(torc_select(cases, 3), 0);
    CHECK_EQ(cases[0].result, -EPIPE);
    return 0;
}

TEST(select, takes_what_is_ready_and_nothing_else)
{
    MUST(core_host_run(ready_main, NULL));
}

static int all_kinds_main(void *arg)
{
    (void)arg;
    static uint64_t memory[4], watched = 1, answered;
    struct torc_oneshot oneshot;
    uint64_t value = 0;
    MUST(torc_oneshot_init(&oneshot, sizeof answered, &answered));
    MUST(torc_broadcast_init(&broadcast, sizeof memory[0], 2, memory));
    torc_subscriber_init(&subscriber, &broadcast);
    MUST(torc_watch_init(&watch, sizeof watched, &watched));
    torc_watcher_init(&watcher, &watch);
    MUST(torc_watcher_try_wait(&watcher, &value));
    struct torc_case cases[] = {
        torc_oneshot_case(&oneshot, &value),
        torc_subscriber_case(&subscriber, &value),
        torc_watcher_case(&watcher, &value),
    };
    CHECK_EQ(torc_select_try(cases, 3), -EAGAIN);
    MUST(torc_oneshot_send(&oneshot, &(uint64_t){10}));
    CHECK_EQ(torc_select(cases, 3), 0);
    CHECK_EQ(value, 10);
    cases[0].kind = NULL;
    for (uint64_t n = 20; n < 25; n++)
        MUST(torc_broadcast_send(&broadcast, &n));
    CHECK_EQ(torc_select(cases, 3), 1);
    CHECK_EQ(cases[1].result, 3); /* lost */
    CHECK_EQ(value, 23);
    cases[1].kind = NULL;
    MUST(torc_watch_send(&watch, &(uint64_t){30}));
    CHECK_EQ(torc_select(cases, 3), 2);
    MUST(cases[2].result);
    CHECK_EQ(value, 30);
    CHECK_EQ(torc_select_try(cases, 3), -EAGAIN);
    torc_watch_close(&watch);
    CHECK_EQ(torc_select(cases, 3), 2);
    CHECK_EQ(cases[2].result, -EPIPE);
    return 0;
}

TEST(select, knows_oneshots_broadcasts_and_watches)
{
    MUST(core_host_run(all_kinds_main, NULL));
}

static int fair_main(void *arg)
{
    (void)arg;
    unsigned taken[CHANNELS] = {0};
    uint64_t value = 0;
    channels_set_up(CAPACITY);
    for (unsigned round = 0; round < 3000; round++) {
        struct torc_case cases[CHANNELS];
        for (int i = 0; i < CHANNELS; i++) {
            if (!torc_channel_count(&channels[i]))
                MUST(torc_channel_send(&channels[i], &value));
            cases[i] = torc_channel_recv_case(&channels[i], &value);
        }
        int index = torc_select(cases, CHANNELS);
        CHECK(index >= 0);
        taken[index]++;
        CHECK_EQ(torc_select_in_order(cases, CHANNELS), index == 0 ? 1 : 0);
    }
    for (int i = 0; i < CHANNELS; i++)
        CHECK(taken[i] > 900 && taken[i] < 1100);
    return 0;
}

TEST(select, gives_every_ready_case_its_share)
{
    MUST(core_host_run(fair_main, NULL));
}

static int timeout_main(void *arg)
{
    (void)arg;
    torc_event_init(&event);
    uint64_t began = torc_now_ns();
    struct torc_case cases[] = {
        torc_timeout_case(3 * TORC_MS),
        torc_event_case(&event),
        torc_timeout_case_at(began + 2 * TORC_MS),
        torc_timeout_case(UINT64_MAX),
    };
    CHECK_EQ(torc_select(cases, 4), 2);
    MUST(cases[2].result);
    CHECK_EQ(torc_now_ns() - began, 2 * TORC_MS);
    CHECK_EQ(torc_select(cases, 4), 2); /* it has passed and stays so */
    CHECK_EQ(torc_now_ns() - began, 2 * TORC_MS);
    cases[2].kind = NULL;
    CHECK_EQ(torc_select(cases, 4), 0);
    CHECK_EQ(torc_now_ns() - began, 3 * TORC_MS);
    torc_event_set(&event);
    CHECK_EQ(torc_select(cases, 4), 1); /* a timeout that has passed yields to what is ready */
    cases[0] = cases[1] = torc_timeout_case(0);
    CHECK_EQ(torc_select_try(cases, 2), 0); /* of equal ones the first */
    CHECK_EQ(torci_this->wheel.armed, 0);
    return 0;
}

TEST(select, ends_with_the_nearest_timeout)
{
    MUST(core_host_run(timeout_main, NULL));
}

static int end_after(void *arg)
{
    int result = *(const int *)arg;
    int err = torc_sleep((uint64_t)result * TORC_MS);
    return err ? err : result;
}

static int task_main(void *arg)
{
    (void)arg;
    static const int lives[] = {5, 2};
    struct torc_scope scope;
    struct torc_task tasks[2];
    torc_scope_init(&scope);
    for (int i = 0; i < 2; i++)
        MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &tasks[i]}, end_after,
                             (void *)(uintptr_t)&lives[i]));
    struct torc_case cases[] = {torc_task_case(&tasks[0]), torc_task_case(&tasks[1])};
    CHECK_EQ(torc_select(cases, 2), 1);
    CHECK_EQ(cases[1].result, 2);
    CHECK_EQ(torc_select_try(cases, 2), 1); /* an ended task stays ready */
    torc_task_cancel(&tasks[0]);
    CHECK_EQ(torc_select(&cases[0], 1), 0);
    CHECK_EQ(cases[0].result, -ECANCELED);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    return 0;
}

TEST(select, sees_the_end_of_a_task)
{
    MUST(core_host_run(task_main, NULL));
}

static struct torc_task awaited;
static struct torc_oneshot answer_once;
static uint64_t answer_slot, answer;
static int finished[2], finished_count;

static int select_task(void *arg)
{
    struct torc_case one = torc_task_case(&awaited);
    CHECK_EQ(torc_select(&one, 1), 0);
    finished[finished_count++] = *(const int *)arg;
    return 0;
}

static int select_oneshot(void *arg)
{
    struct torc_case one = torc_oneshot_case(&answer_once, &answer);
    CHECK_EQ(torc_select(&one, 1), 0);
    CHECK_EQ(one.result, *(const int *)arg ? -EPIPE : 0);
    finished[finished_count++] = *(const int *)arg;
    return 0;
}

static int waiters_in_line_main(void *arg)
{
    (void)arg;
    static int ids[] = {0, 1}, life = 1;
    struct torc_scope scope;
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &awaited}, end_after, &life));
    MUST(torc_oneshot_init(&answer_once, sizeof answer_slot, &answer_slot));
    for (int i = 0; i < 2; i++)
        MUST(torc_spawn(&scope, select_task, &ids[i]));
    MUST(torc_sleep(2 * TORC_MS));
    CHECK_EQ(finished_count, 2);
    CHECK_EQ(finished[0], 0);

    finished_count = 0;
    for (int i = 0; i < 2; i++)
        MUST(torc_spawn(&scope, select_oneshot, &ids[i]));
    settle();
    MUST(torc_oneshot_send(&answer_once, &(uint64_t){6}));
    MUST(torc_scope_join(&scope));
    CHECK_EQ(finished_count, 2);
    CHECK_EQ(finished[0], 0);
    CHECK_EQ(answer, 6);
    return 0;
}

TEST(select, waits_in_line_for_a_task_and_for_an_answer)
{
    MUST(core_host_run(waiters_in_line_main, NULL));
}

static uint64_t news_slots[2], state_slot, news, state;

/* Ends with the index of the case that won, or 10 times the result of one that was not 0. */
static int select_news(void *arg)
{
    (void)arg;
    struct torc_case cases[] = {torc_event_case(&event), torc_subscriber_case(&subscriber, &news),
                                torc_watcher_case(&watcher, &state)};
    int index = torc_select(cases, 3);
    CHECK(index >= 0);
    return cases[index].result ? 10 * (int)cases[index].result : index;
}

static void start_news(struct torc_scope *scope, struct torc_task *task)
{
    MUST(torc_spawn_with(scope, &(struct torc_task_options){.task = task}, select_news, NULL));
    settle();
    CHECK(!torc_task_is_done(task));
    news = state = 0;
}

static int news_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task task;
    uint64_t value = 0;
    torc_event_init_auto(&event);
    MUST(torc_broadcast_init(&broadcast, sizeof news, 2, news_slots));
    torc_subscriber_init(&subscriber, &broadcast);
    MUST(torc_watch_init(&watch, sizeof state, &state_slot));
    torc_watcher_init(&watcher, &watch);
    MUST(torc_watcher_try_wait(&watcher, &value));
    torc_scope_init(&scope);

    start_news(&scope, &task);
    for (uint64_t n = 1; n <= 5; n++) /* it is woken by the first and late for three */
        MUST(torc_broadcast_send(&broadcast, &n));
    CHECK_EQ(torc_task_join(&task), 30);
    CHECK_EQ(news, 4);
    CHECK_EQ(torc_subscriber_try_recv(&subscriber, &value), 0);

    start_news(&scope, &task);
    MUST(torc_watch_send(&watch, &(uint64_t){7}));
    MUST(torc_watch_send(&watch, &(uint64_t){8}));
    CHECK_EQ(torc_task_join(&task), 2);
    CHECK_EQ(state, 8);
    CHECK_EQ(torc_watcher_try_wait(&watcher, &value), -EAGAIN);

    start_news(&scope, &task);
    torc_event_set(&event);
    MUST(torc_broadcast_send(&broadcast, &(uint64_t){9})); /* too late for this select */
    MUST(torc_watch_send(&watch, &(uint64_t){10}));
    CHECK_EQ(torc_task_join(&task), 0);
    CHECK_EQ(news + state, 0);
    CHECK_EQ(torc_subscriber_try_recv(&subscriber, &value), 0);
    CHECK_EQ(value, 9);
    MUST(torc_watcher_try_wait(&watcher, &value));
    CHECK_EQ(value, 10);

    start_news(&scope, &task);
    torc_broadcast_close(&broadcast);
    CHECK_EQ(torc_task_join(&task), 10 * -EPIPE);
    CHECK_EQ(torc_scope_join(&scope), 10 * -EPIPE);
    return 0;
}

TEST(select, reads_news_only_for_the_case_that_won)
{
    MUST(core_host_run(news_main, NULL));
}

static int chosen;
static uint64_t chosen_value;
static int64_t chosen_result;

static int select_two(void *arg)
{
    (void)arg;
    struct torc_case cases[] = {
        torc_channel_recv_case(&channels[0], &chosen_value),
        torc_channel_recv_case(&channels[1], &chosen_value),
    };
    chosen = torc_select(cases, 2);
    if (chosen >= 0)
        chosen_result = cases[chosen].result;
    return 0;
}

static int one_effect_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task task;
    uint64_t value;
    channels_set_up(CAPACITY);
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, select_two, NULL));
    settle();
    MUST(torc_channel_send(&channels[1], &(uint64_t){1}));
    MUST(torc_channel_send(&channels[0], &(uint64_t){2})); /* before the woken one runs */
    torc_task_cancel(&task);
    MUST(torc_scope_join(&scope));
    CHECK_EQ(chosen, 1);
    CHECK_EQ(chosen_value, 1);
    MUST(torc_channel_try_recv(&channels[0], &value));
    CHECK_EQ(value, 2);
    CHECK_EQ(torc_channel_try_recv(&channels[1], &value), -EAGAIN);
    return 0;
}

TEST(select, only_the_first_of_two_hand_overs_takes_effect)
{
    MUST(core_host_run(one_effect_main, NULL));
}

static int closed_while_parked_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    channels_set_up(CAPACITY);
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, select_two, NULL));
    settle();
    torc_channel_close(&channels[1]);
    MUST(torc_scope_join(&scope));
    CHECK_EQ(chosen, 1); /* and not an error of the select itself */
    CHECK_EQ(chosen_result, -EPIPE);
    return 0;
}

TEST(select, a_channel_that_closes_is_a_case_that_is_ready)
{
    MUST(core_host_run(closed_while_parked_main, NULL));
}

static int select_big(void *arg)
{
    struct torc_case cases[] = {torc_semaphore_case(&semaphore, 5), torc_event_case(&event),
                                torc_timeout_case(TORC_MS)};
    *(int *)arg = torc_select(cases, 3);
    return 0;
}

static unsigned passed;
static int take_one(void *arg)
{
    (void)arg;
    MUST(torc_semaphore_acquire(&semaphore, 1));
    passed++;
    return 0;
}

/* How the select with the big request ends: 1 by its event, 2 by its timeout, -ECANCELED. */
static int losing_semaphore_main(void *arg)
{
    int how = *(const int *)arg, ended = 0;
    struct torc_scope scope;
    struct torc_task big;
    passed = 0;
    torc_event_init(&event);
    torc_semaphore_init(&semaphore, 2);
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &big}, select_big, &ended));
    MUST(torc_spawn(&scope, take_one, NULL));
    MUST(torc_spawn(&scope, take_one, NULL));
    settle();
    CHECK_EQ(passed, 0);
    if (how == 1)
        torc_event_set(&event);
    else if (how == 2)
        MUST(torc_sleep(2 * TORC_MS));
    else
        torc_task_cancel(&big);
    MUST(torc_scope_join(&scope));
    CHECK_EQ(ended, how);
    CHECK_EQ(passed, 2);
    CHECK_EQ(torc_semaphore_available(&semaphore), 0);
    return 0;
}

TEST(select, a_losing_request_for_permits_lets_those_behind_it_pass)
{
    static int hows[] = {1, 2, -ECANCELED};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(hows); i++)
        MUST(core_host_run(losing_semaphore_main, &hows[i]));
}

static int timed_main(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    torc_event_init(&event);
    struct torc_case cases[] = {torc_event_case(&event), torc_timeout_case(TORC_SEC)};
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_select(cases, 2), -ETIMEDOUT);
    CHECK_EQ(torc_select(cases, 2), -ETIMEDOUT);
    torc_event_set(&event);
    CHECK_EQ(torc_select(cases, 2), 0); /* what is there can be had all the same */
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(torci_this->wheel.armed, 0);
    return 0;
}

TEST(select, a_deadline_around_it_is_not_a_case)
{
    MUST(core_host_run(timed_main, NULL));
}

/* Both ends of one rendezvous in one select must not meet themselves. */
static int select_both_ends(void *arg)
{
    uint64_t mine = *(const uint64_t *)arg, got = 0;
    struct torc_case cases[] = {torc_channel_send_case(&channels[0], &mine),
                                torc_channel_recv_case(&channels[0], &got)};
    int index = torc_select(cases, 2);
    CHECK(index >= 0);
    MUST(cases[index].result);
    chosen_value += index == 0 ? mine : 1000 * got;
    return 0;
}

static int both_ends_main(void *arg)
{
    (void)arg;
    static uint64_t ids[] = {1, 2};
    struct torc_scope scope;
    channels_set_up(0);
    chosen_value = 0;
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, select_both_ends, &ids[0]));
    settle();
    CHECK_EQ(chosen_value, 0);
    MUST(torc_spawn(&scope, select_both_ends, &ids[1]));
    MUST(torc_scope_join(&scope));
    CHECK(chosen_value == 1001 || chosen_value == 2002);
    return 0;
}

TEST(select, both_ends_of_a_rendezvous_meet_another_task)
{
    MUST(core_host_run(both_ends_main, NULL));
}

/* A random crowd that sends and receives on three channels and takes permits, by select and by plain calls. */

enum { VALUES_MAX = 1 << 16, PERMITS = 4 };
static unsigned char was_sent[VALUES_MAX], receipts[VALUES_MAX];
static uint64_t value_count, inside;
static uint32_t crowd_capacity;

static void crowd_set_up(void)
{
    memset(was_sent, 0, sizeof was_sent);
    memset(receipts, 0, sizeof receipts);
    value_count = 1;
    inside = 0;
    channels_set_up(crowd_capacity);
    torc_semaphore_init(&semaphore, PERMITS);
    torc_mutex_init(&mutex);
}

static void received(uint64_t value)
{
    CHECK(value > 0 && value < value_count);
    CHECK_EQ(receipts[value]++, 0);
}

static void use_permits(struct crowd *crowd, uint64_t permits)
{
    inside += permits;
    CHECK(inside + torc_semaphore_available(&semaphore) <= PERMITS);
    crowd_linger(crowd);
    inside -= permits;
    torc_semaphore_release(&semaphore, permits);
}

static int crowd_select(struct crowd *crowd)
{
    uint64_t mine = value_count++, got = 0, permits = 1 + crowd_draw(crowd, PERMITS);
    CHECK(value_count < VALUES_MAX);
    struct torc_case cases[] = {
        torc_channel_send_case(&channels[crowd_draw(crowd, CHANNELS)], &mine),
        torc_channel_recv_case(&channels[crowd_draw(crowd, CHANNELS)], &got),
        torc_channel_recv_case(&channels[crowd_draw(crowd, CHANNELS)], &got),
        torc_semaphore_case(&semaphore, permits),
        torc_mutex_case(&mutex),
        torc_timeout_case(crowd_draw(crowd, 60 * TORC_US)),
    };
    for (int i = 0; i < 5; i++)
        if (crowd_draw(crowd, 3) == 0)
            cases[i].kind = NULL;
    int index = crowd_draw(crowd, 2) ? torc_select(cases, 6) : torc_select_in_order(cases, 6);
    if (index < 0)
        return index;
    if (index != 1 && index != 2)
        CHECK_EQ(got, 0);
    if (cases[index].result) {
        CHECK_EQ(cases[index].result, -EPIPE);
        return -EPIPE;
    }
    switch (index) {
    case 0: was_sent[mine] = 1; break;
    case 1:
    case 2: received(got); break;
    case 3: use_permits(crowd, permits); break;
    case 4:
        crowd_linger(crowd);
        torc_mutex_unlock(&mutex);
        break;
    default: break;
    }
    return 0;
}

static int crowd_plain(struct crowd *crowd)
{
    struct torc_channel *channel = &channels[crowd_draw(crowd, CHANNELS)];
    uint64_t value = 0, permits = 1 + crowd_draw(crowd, PERMITS);
    int err;
    switch (crowd_draw(crowd, 3)) {
    case 0:
        value = value_count++;
        err = torc_channel_send(channel, &value);
        was_sent[value] = !err;
        return err;
    case 1:
        err = torc_channel_recv(channel, &value);
        if (!err)
            received(value);
        return err;
    default:
        err = torc_semaphore_acquire(&semaphore, permits);
        if (!err)
            use_permits(crowd, permits);
        return err;
    }
}

static int crowd_step(struct crowd *crowd, int who)
{
    int err = who % 4 ? crowd_select(crowd) : crowd_plain(crowd);
    crowd->served += !err;
    crowd->interrupted += err == -ECANCELED || err == -ETIMEDOUT;
    return err == -EPIPE ? 0 : err;
}

static void crowd_stop(struct crowd *crowd)
{
    (void)crowd;
    for (int i = 0; i < CHANNELS; i++)
        torc_channel_close(&channels[i]);
}

static void crowd_end(struct crowd *crowd)
{
    (void)crowd;
    uint64_t value;
    for (int i = 0; i < CHANNELS; i++)
        while (!torc_channel_try_recv(&channels[i], &value))
            received(value);
    for (value = 1; value < value_count; value++)
        CHECK_EQ(receipts[value], was_sent[value]);
    CHECK_EQ(inside, 0);
    CHECK_EQ(torc_semaphore_available(&semaphore), PERMITS);
    MUST(torc_mutex_try_lock(&mutex));
    torc_mutex_unlock(&mutex);
    CHECK_EQ(torci_this->wheel.armed, 0);
}

TEST(select, a_random_crowd_loses_and_doubles_nothing)
{
    for (crowd_capacity = 0; crowd_capacity <= CAPACITY;
         crowd_capacity = crowd_capacity ? crowd_capacity * 4 : 1)
        crowd_run(&(struct crowd_test){crowd_step, crowd_stop, crowd_set_up, crowd_end});
}
