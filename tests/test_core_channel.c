/* SPDX-License-Identifier: MIT
 *
 * Channels, oneshots, broadcasts and watches: what is particular to each. What all waiters have in common is in
 * test_core_waiters.c.
 */
#include <errno.h>

#include "core/broadcast.h"
#include "core/channel.h"
#include "core/oneshot.h"
#include "core/watch.h"
#include "tests/core_host.h"
#include "tests/sync_model.h"

#define MUST(call) CHECK_EQ((call), 0)

enum { CAPACITY_MAX = 8 };

static struct torc_channel channel;
static uint64_t slots[CAPACITY_MAX];

static void settle(void)
{
    for (int i = 0; i < 20; i++)
        torc_yield();
}

static int init_main(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_channel_init(&channel, 0, 4, slots), -EINVAL);
    CHECK_EQ(torc_channel_init(&channel, 8, 3, slots), -EINVAL);
    CHECK_EQ(torc_channel_init(&channel, 8, 4, NULL), -EINVAL);
    MUST(torc_channel_init(&channel, 8, 0, NULL));
    MUST(torc_channel_init(&channel, 8, 1, slots));

    struct torc_broadcast broadcast;
    CHECK_EQ(torc_broadcast_init(&broadcast, 8, 0, slots), -EINVAL);
    CHECK_EQ(torc_broadcast_init(&broadcast, 8, 6, slots), -EINVAL);
    CHECK_EQ(torc_broadcast_init(&broadcast, 0, 4, slots), -EINVAL);
    CHECK_EQ(torc_broadcast_init(&broadcast, 8, 4, NULL), -EINVAL);
    MUST(torc_broadcast_init(&broadcast, 8, 1, slots));

    struct torc_oneshot oneshot;
    CHECK_EQ(torc_oneshot_init(&oneshot, 0, slots), -EINVAL);
    CHECK_EQ(torc_oneshot_init(&oneshot, 8, NULL), -EINVAL);

    struct torc_watch watch;
    CHECK_EQ(torc_watch_init(&watch, 0, slots), -EINVAL);
    CHECK_EQ(torc_watch_init(&watch, 8, NULL), -EINVAL);
    return 0;
}

TEST(channel, refuses_sizes_that_it_cannot_hold)
{
    MUST(core_host_run(init_main, NULL));
}

static int sizes_main(void *arg)
{
    (void)arg;
    static unsigned char memory[4 * 40], in[40], out[40];
    for (size_t size = 1; size <= sizeof in; size++) {
        MUST(torc_channel_init(&channel, size, 4, memory));
        for (unsigned round = 0; round < 10; round++) {
            for (unsigned n = 0; n < 3; n++) {
                memset(in, (int)(round * 3 + n + size), sizeof in);
                MUST(torc_channel_try_send(&channel, in));
            }
            CHECK_EQ(torc_channel_count(&channel), 3);
            for (unsigned n = 0; n < 3; n++) {
                memset(in, (int)(round * 3 + n + size), sizeof in);
                memset(out, 0xee, sizeof out);
                MUST(torc_channel_try_recv(&channel, out));
                CHECK(memcmp(in, out, size) == 0);
                CHECK(size == sizeof out || out[size] == 0xee);
            }
        }
        CHECK_EQ(torc_channel_try_recv(&channel, out), -EAGAIN);
    }
    return 0;
}

TEST(channel, carries_values_of_any_size)
{
    MUST(core_host_run(sizes_main, NULL));
}

static int wrap_main(void *arg)
{
    (void)arg;
    MUST(torc_channel_init(&channel, sizeof slots[0], 4, slots));
    channel.sent = channel.received = UINT32_MAX - 1;
    uint64_t value;
    for (uint64_t n = 0; n < 4; n++)
        MUST(torc_channel_try_send(&channel, &n));
    CHECK_EQ(torc_channel_try_send(&channel, &value), -EAGAIN);
    CHECK_EQ(torc_channel_count(&channel), 4);
    for (uint64_t n = 0; n < 4; n++) {
        MUST(torc_channel_try_recv(&channel, &value));
        CHECK_EQ(value, n);
    }
    CHECK_EQ(torc_channel_try_recv(&channel, &value), -EAGAIN);
    return 0;
}

TEST(channel, counts_on_past_four_thousand_million_values)
{
    MUST(core_host_run(wrap_main, NULL));
}

static uint64_t got[64];
static uint32_t got_count;

static int recv_all(void *arg)
{
    (void)arg;
    for (;;) {
        uint64_t value = UINT64_MAX;
        int err = torc_channel_recv(&channel, &value);
        if (err) {
            CHECK_EQ(value, UINT64_MAX);
            return err;
        }
        CHECK(got_count < TORC_ARRAY_LENGTH(got));
        got[got_count++] = value;
    }
}

static int close_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    MUST(torc_channel_init(&channel, sizeof slots[0], 4, slots));
    for (uint64_t n = 0; n < 3; n++)
        MUST(torc_channel_send(&channel, &n));
    CHECK(!torc_channel_is_closed(&channel));
    torc_channel_close(&channel);
    torc_channel_close(&channel);
    CHECK(torc_channel_is_closed(&channel));
    CHECK_EQ(torc_channel_send(&channel, &(uint64_t){9}), -EPIPE);
    CHECK_EQ(torc_channel_try_send(&channel, &(uint64_t){9}), -EPIPE);
    MUST(torc_spawn(&scope, recv_all, NULL));
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    CHECK_EQ(got_count, 3);
    CHECK_EQ(got[2], 2);
    uint64_t value;
    CHECK_EQ(torc_channel_try_recv(&channel, &value), -EPIPE);
    return 0;
}

TEST(channel, that_is_closed_can_be_drained)
{
    MUST(core_host_run(close_main, NULL));
}

static int close_on_receivers_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task tasks[3];
    MUST(torc_channel_init(&channel, sizeof slots[0], 4, slots));
    torc_scope_init(&scope);
    for (int i = 0; i < 3; i++)
        MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &tasks[i]}, recv_all,
                             NULL));
    settle();
    MUST(torc_channel_try_send(&channel, &(uint64_t){7}));
    torc_channel_close(&channel); /* the first has its value, the others the end */
    torc_task_cancel(&tasks[1]);  /* too late: it has been told */
    for (int i = 0; i < 3; i++)
        CHECK_EQ(torc_task_join(&tasks[i]), -EPIPE);
    CHECK_EQ(got_count, 1);
    CHECK_EQ(got[0], 7);
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    return 0;
}

TEST(channel, close_wakes_the_receivers)
{
    MUST(core_host_run(close_on_receivers_main, NULL));
}

static int send_one(void *arg)
{
    return torc_channel_send(&channel, arg);
}

static int close_on_senders_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task tasks[2];
    uint64_t values[] = {10, 11}, value;
    MUST(torc_channel_init(&channel, sizeof slots[0], 1, slots));
    MUST(torc_channel_send(&channel, &(uint64_t){1}));
    torc_scope_init(&scope);
    for (int i = 0; i < 2; i++)
        MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &tasks[i]}, send_one,
                             &values[i]));
    settle();
    MUST(torc_channel_recv(&channel, &value)); /* the first sender's value takes the free slot */
    CHECK_EQ(value, 1);
    torc_channel_close(&channel);
    MUST(torc_task_join(&tasks[0]));
    CHECK_EQ(torc_task_join(&tasks[1]), -EPIPE);
    MUST(torc_channel_recv(&channel, &value));
    CHECK_EQ(value, 10);
    CHECK_EQ(torc_channel_recv(&channel, &value), -EPIPE);
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    return 0;
}

TEST(channel, close_gives_waiting_senders_their_values_back)
{
    MUST(core_host_run(close_on_senders_main, NULL));
}

static int count_to_20(void *arg)
{
    (void)arg;
    for (uint64_t n = 0; n < 20; n++)
        MUST(torc_channel_send(&channel, &n));
    torc_channel_close(&channel);
    return 0;
}

static int order_main(void *arg)
{
    uint32_t capacity = *(const uint32_t *)arg;
    struct torc_scope scope;
    got_count = 0;
    MUST(torc_channel_init(&channel, sizeof slots[0], capacity, capacity ? slots : NULL));
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, count_to_20, NULL));
    MUST(torc_spawn(&scope, recv_all, NULL));
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    CHECK_EQ(got_count, 20);
    for (uint64_t n = 0; n < 20; n++)
        CHECK_EQ(got[n], n);
    return 0;
}

TEST(channel, keeps_the_order_at_every_capacity)
{
    for (uint32_t capacity = 0; capacity <= CAPACITY_MAX; capacity = capacity ? capacity * 2 : 1)
        MUST(core_host_run(order_main, &capacity));
}

static uint32_t sends_done;
static int send_three(void *arg)
{
    (void)arg;
    for (uint64_t n = 0; n < 3; n++) {
        MUST(torc_channel_send(&channel, &n));
        sends_done++;
    }
    return 0;
}

static int rendezvous_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    uint64_t value = 0;
    MUST(torc_channel_init(&channel, sizeof slots[0], 0, NULL));
    CHECK_EQ(torc_channel_try_send(&channel, &value), -EAGAIN);
    CHECK_EQ(torc_channel_try_recv(&channel, &value), -EAGAIN);
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, send_three, NULL));
    for (uint64_t n = 0; n < 3; n++) {
        settle();
        CHECK_EQ(sends_done, n);
        CHECK_EQ(torc_channel_count(&channel), 0);
        MUST(torc_channel_recv(&channel, &value));
        CHECK_EQ(value, n);
    }
    return torc_scope_join(&scope);
}

TEST(channel, without_slots_is_a_rendezvous)
{
    MUST(core_host_run(rendezvous_main, NULL));
}

/* A random crowd: values are numbered, and each number's fate is recorded on both sides. */

enum { VALUES_MAX = 1 << 16 };
enum fate { UNSENT, SENT, KEPT };
static unsigned char fates[VALUES_MAX];
static unsigned char receipts[VALUES_MAX];
static uint64_t value_count;
static uint64_t last_seen[CROWD][CROWD]; /* by receiver and sender */
static unsigned char sender_of[VALUES_MAX];
static uint32_t crowd_capacity;

static void channel_set_up(void)
{
    memset(fates, UNSENT, sizeof fates);
    memset(receipts, 0, sizeof receipts);
    memset(last_seen, 0, sizeof last_seen);
    value_count = 1;
    MUST(torc_channel_init(&channel, sizeof slots[0], crowd_capacity,
                           crowd_capacity ? slots : NULL));
}

static void record(int who, uint64_t value)
{
    CHECK(value > 0 && value < value_count);
    CHECK_EQ(receipts[value]++, 0);
    uint64_t *last = &last_seen[who][sender_of[value]];
    CHECK(value > *last); /* a sender's values reach a receiver in order */
    *last = value;
}

static int channel_step(struct crowd *crowd, int who)
{
    bool try = crowd_draw(crowd, 6) == 0;
    uint64_t value;
    int err;
    if (who % 2) {
        CHECK(value_count < VALUES_MAX);
        value = value_count++;
        sender_of[value] = (unsigned char)who;
        err = try ? torc_channel_try_send(&channel, &value) : torc_channel_send(&channel, &value);
        fates[value] = err ? KEPT : SENT;
    } else {
        err = try ? torc_channel_try_recv(&channel, &value) : torc_channel_recv(&channel, &value);
        if (!err)
            record(who, value);
    }
    crowd->served += !err;
    crowd->interrupted += err == -ECANCELED || err == -ETIMEDOUT;
    return err == -EAGAIN || err == -EPIPE ? 0 : err;
}

static void channel_stop(struct crowd *crowd)
{
    (void)crowd;
    torc_channel_close(&channel);
}

static void channel_end(struct crowd *crowd)
{
    (void)crowd;
    uint64_t value;
    while (!torc_channel_try_recv(&channel, &value)) {
        CHECK(value < value_count);
        CHECK_EQ(receipts[value]++, 0);
    }
    for (value = 1; value < value_count; value++)
        CHECK_EQ(receipts[value], fates[value] == SENT);
}

TEST(channel, a_random_crowd_receives_each_value_that_was_sent_once)
{
    for (crowd_capacity = 0; crowd_capacity <= CAPACITY_MAX;
         crowd_capacity = crowd_capacity ? crowd_capacity * 2 : 1)
        crowd_run(&(struct crowd_test){channel_step, channel_stop, channel_set_up, channel_end});
}

static struct torc_oneshot oneshot;
static uint64_t oneshot_slot;

static int recv_oneshot(void *arg)
{
    uint64_t *value = (uint64_t *)arg;
    return torc_oneshot_recv(&oneshot, value);
}

static int oneshot_main(void *arg)
{
    (void)arg;
    uint64_t value = 0;
    MUST(torc_oneshot_init(&oneshot, sizeof oneshot_slot, &oneshot_slot));
    CHECK_EQ(torc_oneshot_try_recv(&oneshot, &value), -EAGAIN);
    MUST(torc_oneshot_send(&oneshot, &(uint64_t){5}));
    CHECK_EQ(torc_oneshot_send(&oneshot, &(uint64_t){6}), -EALREADY);
    torc_oneshot_close(&oneshot); /* the value is there all the same */
    MUST(torc_oneshot_recv(&oneshot, &value));
    CHECK_EQ(value, 5);
    CHECK_EQ(torc_oneshot_recv(&oneshot, &value), -EPIPE);
    CHECK_EQ(torc_oneshot_send(&oneshot, &value), -EALREADY);

    MUST(torc_oneshot_init(&oneshot, sizeof oneshot_slot, &oneshot_slot));
    torc_oneshot_close(&oneshot);
    torc_oneshot_close(&oneshot);
    CHECK_EQ(torc_oneshot_send(&oneshot, &value), -EPIPE);
    CHECK_EQ(torc_oneshot_try_recv(&oneshot, &value), -EPIPE);
    return 0;
}

TEST(oneshot, is_sent_once_and_received_once)
{
    MUST(core_host_run(oneshot_main, NULL));
}

static int oneshot_waiters_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task tasks[3];
    uint64_t values[3] = {0, 0, 0};
    MUST(torc_oneshot_init(&oneshot, sizeof oneshot_slot, &oneshot_slot));
    torc_scope_init(&scope);
    for (int i = 0; i < 3; i++)
        MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &tasks[i]}, recv_oneshot,
                             &values[i]));
    settle();
    torc_task_cancel(&tasks[0]);
    MUST(torc_oneshot_send(&oneshot, &(uint64_t){8}));
    CHECK_EQ(torc_task_join(&tasks[0]), -ECANCELED);
    MUST(torc_task_join(&tasks[1]));
    CHECK_EQ(torc_task_join(&tasks[2]), -EPIPE);
    CHECK_EQ(values[0] + values[2], 0);
    CHECK_EQ(values[1], 8);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    return 0;
}

TEST(oneshot, goes_to_the_oldest_receiver_that_still_waits)
{
    MUST(core_host_run(oneshot_waiters_main, NULL));
}

static int oneshot_close_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    uint64_t value = 0;
    MUST(torc_oneshot_init(&oneshot, sizeof oneshot_slot, &oneshot_slot));
    torc_scope_init(&scope);
    MUST(torc_spawn(&scope, recv_oneshot, &value));
    settle();
    torc_oneshot_close(&oneshot);
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    return 0;
}

TEST(oneshot, close_wakes_the_receiver)
{
    MUST(core_host_run(oneshot_close_main, NULL));
}

/* Requests and answers: each asker has a oneshot, gives up at random, and gets its own answer or none. */
static struct torc_oneshot answers[CROWD];
static uint64_t answer_slots[CROWD], questions[CROWD], question_count;

static void oneshot_set_up(void)
{
    memset(questions, 0, sizeof questions);
    question_count = 0;
}

static int oneshot_step(struct crowd *crowd, int who)
{
    int asker = who - who % 2;
    if (who % 2) {
        if (questions[asker]) {
            int err = torc_oneshot_send(&answers[asker], &questions[asker]);
            CHECK(err == 0 || err == -EALREADY || err == -EPIPE);
        }
        return torc_sleep(crowd_draw(crowd, 10 * TORC_US));
    }
    MUST(torc_oneshot_init(&answers[who], sizeof answer_slots[who], &answer_slots[who]));
    uint64_t answer = 0, question = ++question_count;
    questions[who] = question;
    int err = torc_oneshot_recv(&answers[who], &answer);
    torc_oneshot_close(&answers[who]);
    if (!err)
        CHECK_EQ(answer, question);
    crowd->served += !err;
    crowd->interrupted += err == -ECANCELED || err == -ETIMEDOUT;
    return err;
}

static void oneshot_end(struct crowd *crowd)
{
    CHECK(crowd->served + crowd->interrupted == question_count);
}

TEST(oneshot, a_random_crowd_gets_its_own_answers)
{
    crowd_run(&(struct crowd_test){oneshot_step, NULL, oneshot_set_up, oneshot_end});
}

static struct torc_broadcast broadcast;

static int broadcast_main(void *arg)
{
    (void)arg;
    struct torc_subscriber early, late;
    uint64_t value;
    MUST(torc_broadcast_init(&broadcast, sizeof slots[0], 4, slots));
    MUST(torc_broadcast_send(&broadcast, &(uint64_t){0})); /* nobody listens */
    torc_subscriber_init(&early, &broadcast);
    CHECK_EQ(torc_subscriber_try_recv(&early, &value), -EAGAIN);
    MUST(torc_broadcast_send(&broadcast, &(uint64_t){1}));
    torc_subscriber_init(&late, &broadcast);
    MUST(torc_broadcast_send(&broadcast, &(uint64_t){2}));
    for (uint64_t n = 1; n <= 2; n++) {
        MUST(torc_subscriber_recv(&early, &value));
        CHECK_EQ(value, n);
    }
    MUST(torc_subscriber_recv(&late, &value));
    CHECK_EQ(value, 2);

    for (uint64_t n = 3; n <= 9; n++)
        MUST(torc_broadcast_send(&broadcast, &n));
    torc_broadcast_close(&broadcast);
    CHECK_EQ(torc_broadcast_send(&broadcast, &value), -EPIPE);
    CHECK_EQ(torc_subscriber_recv(&late, &value), 3); /* 3, 4 and 5 are gone */
    CHECK_EQ(value, 6);
    for (uint64_t n = 7; n <= 9; n++) {
        MUST(torc_subscriber_recv(&late, &value));
        CHECK_EQ(value, n);
    }
    CHECK_EQ(torc_subscriber_recv(&late, &value), -EPIPE);
    CHECK_EQ(torc_subscriber_try_recv(&early, &value), 3);
    return 0;
}

TEST(broadcast, tells_a_slow_subscriber_how_many_it_lost)
{
    MUST(core_host_run(broadcast_main, NULL));
}

static int recv_broadcast(void *arg)
{
    struct torc_subscriber subscriber;
    torc_subscriber_init(&subscriber, &broadcast);
    return (int)torc_subscriber_recv(&subscriber, arg);
}

static int broadcast_lag_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task task, cut_off;
    uint64_t value = 0, none = 0;
    MUST(torc_broadcast_init(&broadcast, sizeof slots[0], 2, slots));
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, recv_broadcast,
                         &value));
    settle();
    for (uint64_t n = 0; n < 5; n++) /* before the woken one runs */
        MUST(torc_broadcast_send(&broadcast, &n));
    CHECK_EQ(torc_task_join(&task), 3);
    CHECK_EQ(value, 3);

    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &cut_off}, recv_broadcast,
                         &none));
    settle();
    torc_broadcast_close(&broadcast);
    CHECK_EQ(torc_task_join(&cut_off), -EPIPE);
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    return 0;
}

TEST(broadcast, that_overtakes_a_woken_subscriber_says_so)
{
    MUST(core_host_run(broadcast_lag_main, NULL));
}

/* Each subscriber keeps its place over its members' lives; what it got and what it lost add up to what was sent. */
static struct torc_subscriber subscribers[CROWD];
static uint64_t expected[CROWD], lost_count;

static void broadcast_set_up(void)
{
    MUST(torc_broadcast_init(&broadcast, sizeof slots[0], 4, slots));
    for (int i = 0; i < CROWD; i++) {
        torc_subscriber_init(&subscribers[i], &broadcast);
        expected[i] = 0;
    }
}

static int broadcast_step(struct crowd *crowd, int who)
{
    uint64_t value;
    if (who < 2) {
        for (uint64_t n = crowd_draw(crowd, 4); n > 0; n--) {
            value = broadcast.sent;
            MUST(torc_broadcast_send(&broadcast, &value));
        }
        return torc_sleep(crowd_draw(crowd, 30 * TORC_US));
    }
    int64_t lost = torc_subscriber_recv(&subscribers[who], &value);
    if (lost >= 0) {
        CHECK_EQ(value, expected[who] + (uint64_t)lost);
        expected[who] = value + 1;
        lost_count += (uint64_t)lost;
        crowd->served++;
    } else {
        crowd->interrupted++;
    }
    return lost < 0 ? (int)lost : 0;
}

static void broadcast_end(struct crowd *crowd)
{
    (void)crowd;
    CHECK(lost_count > 0);
    for (int i = 2; i < CROWD; i++) {
        uint64_t value;
        int64_t lost;
        while ((lost = torc_subscriber_try_recv(&subscribers[i], &value)) >= 0) {
            CHECK_EQ(value, expected[i] + (uint64_t)lost);
            expected[i] = value + 1;
        }
        CHECK_EQ(expected[i], broadcast.sent);
    }
}

TEST(broadcast, a_random_crowd_misses_only_what_it_is_told_of)
{
    crowd_run(&(struct crowd_test){broadcast_step, NULL, broadcast_set_up, broadcast_end});
}

static struct torc_watch watch;
static uint64_t watched;

static int watch_main(void *arg)
{
    (void)arg;
    struct torc_watcher watcher;
    uint64_t value = 0;
    watched = 5;
    MUST(torc_watch_init(&watch, sizeof watched, &watched));
    torc_watcher_init(&watcher, &watch);
    MUST(torc_watcher_wait(&watcher, &value)); /* what it began with */
    CHECK_EQ(value, 5);
    CHECK_EQ(torc_watcher_try_wait(&watcher, &value), -EAGAIN);
    for (uint64_t n = 6; n < 9; n++)
        MUST(torc_watch_send(&watch, &n));
    MUST(torc_watcher_wait(&watcher, &value));
    CHECK_EQ(value, 8); /* the latest only */
    CHECK_EQ(torc_watcher_try_wait(&watcher, &value), -EAGAIN);
    MUST(torc_watch_send(&watch, &value)); /* the same again is a change */
    torc_watch_close(&watch);
    CHECK_EQ(torc_watch_send(&watch, &value), -EPIPE);
    MUST(torc_watcher_wait(&watcher, &value));
    CHECK_EQ(torc_watcher_wait(&watcher, &value), -EPIPE);
    value = 0;
    torc_watch_read(&watch, &value);
    CHECK_EQ(value, 8);
    return 0;
}

TEST(watch, shows_the_latest_value_once)
{
    MUST(core_host_run(watch_main, NULL));
}

static int wait_for_second(void *arg)
{
    struct torc_watcher watcher;
    torc_watcher_init(&watcher, &watch);
    MUST(torc_watcher_wait(&watcher, arg));
    return torc_watcher_wait(&watcher, arg);
}

static int watch_close_main(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task first, second;
    uint64_t value = 0, other = 0;
    MUST(torc_watch_init(&watch, sizeof watched, &watched));
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &first}, wait_for_second,
                         &value));
    settle();
    MUST(torc_watch_send(&watch, &(uint64_t){3}));
    MUST(torc_watch_send(&watch, &(uint64_t){4}));
    MUST(torc_task_join(&first));
    CHECK_EQ(value, 4);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &second}, wait_for_second,
                         &other));
    settle();
    torc_watch_close(&watch);
    CHECK_EQ(torc_task_join(&second), -EPIPE);
    CHECK_EQ(torc_scope_join(&scope), -EPIPE);
    return 0;
}

TEST(watch, wakes_its_watchers_on_change_and_on_close)
{
    MUST(core_host_run(watch_close_main, NULL));
}

static struct torc_watcher watchers[CROWD];
static uint64_t seen[CROWD];

static void watch_set_up(void)
{
    watched = 0;
    memset(seen, 0, sizeof seen);
    MUST(torc_watch_init(&watch, sizeof watched, &watched));
    for (int i = 0; i < CROWD; i++) {
        uint64_t value;
        torc_watcher_init(&watchers[i], &watch);
        MUST(torc_watcher_try_wait(&watchers[i], &value));
    }
}

static int watch_step(struct crowd *crowd, int who)
{
    uint64_t value;
    if (who < 2) {
        torc_watch_read(&watch, &value);
        value++;
        MUST(torc_watch_send(&watch, &value));
        return torc_sleep(crowd_draw(crowd, 30 * TORC_US));
    }
    int err = torc_watcher_wait(&watchers[who], &value);
    if (!err) {
        CHECK(value > seen[who]);
        CHECK_EQ(value, watched);
        seen[who] = value;
    }
    crowd->served += !err;
    crowd->interrupted += err != 0;
    return err;
}

static void watch_end(struct crowd *crowd)
{
    (void)crowd;
    for (int i = 2; i < CROWD; i++) {
        uint64_t value;
        int err = torc_watcher_try_wait(&watchers[i], &value);
        CHECK_EQ(err, seen[i] == watched ? -EAGAIN : 0);
    }
}

TEST(watch, a_random_crowd_ends_up_with_the_last_value)
{
    crowd_run(&(struct crowd_test){watch_step, NULL, watch_set_up, watch_end});
}
