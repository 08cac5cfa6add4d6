/* SPDX-License-Identifier: MIT
 *
 * What every blocking call of core has in common, tested through one table: waiters are served in the order they came;
 * one that is cancelled or runs out of time leaves the line wherever it stands and the others don't notice; one that was
 * served before it was interrupted has got what it was served.
 */
#include <errno.h>

#include "core/broadcast.h"
#include "core/channel.h"
#include "core/event.h"
#include "core/lock.h"
#include "core/oneshot.h"
#include "core/semaphore.h"
#include "core/time.h"
#include "core/watch.h"
#include "tests/core_host.h"

enum { WAITERS = 5 };

struct kind {
    const char *name;
    void (*set_up)(void);
    int (*block)(int who);
    void (*serve)(void);   /* gives one waiter what it waits for */
    void (*release)(void); /* what a served waiter owes */
    bool serves_all;       /* one serve, and all go on, one after the other */
    bool in_task;          /* serve needs a running task */
};

#define CHECK_KIND(kind, got, wanted) \
    do { \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted); \
        if (got_ != wanted_) \
            TEST_FAIL("%s: %s is %lld, not %lld", (kind)->name, #got, got_, wanted_); \
    } while (0)
#define MUST(call) CHECK_EQ((call), 0)

static struct torc_event event;
static struct torc_wait_group group;
static struct torc_gate gate;
static struct torc_mutex mutex;
static struct torc_rwlock rwlock;
static struct torc_condition condition;
static struct torc_semaphore semaphore;
static struct torc_channel channel;
static struct torc_oneshot oneshots[WAITERS];
static struct torc_broadcast broadcast;
static struct torc_watch watch;
static struct torc_task ended[WAITERS];
static uint64_t slots[4], oneshot_slots[WAITERS];
static uint64_t next_value;

static void event_set_up(void)
{
    torc_event_init(&event);
}
static void auto_event_set_up(void)
{
    torc_event_init_auto(&event);
}
static int event_block(int who)
{
    (void)who;
    return torc_event_wait(&event);
}
static void event_serve(void)
{
    torc_event_set(&event);
}

static void group_set_up(void)
{
    torc_wait_group_init(&group);
    torc_wait_group_add(&group, 1);
}
static int group_block(int who)
{
    (void)who;
    return torc_wait_group_wait(&group);
}
static void group_serve(void)
{
    torc_wait_group_done(&group);
}

static void gate_set_up(void)
{
    torc_gate_init(&gate);
    MUST(torc_gate_enter(&gate));
}
static int gate_block(int who)
{
    (void)who;
    return torc_gate_close(&gate);
}
static void gate_serve(void)
{
    torc_gate_leave(&gate);
}

static void mutex_set_up(void)
{
    torc_mutex_init(&mutex);
    MUST(torc_mutex_lock(&mutex));
}
static int mutex_block(int who)
{
    (void)who;
    return torc_mutex_lock(&mutex);
}
static void mutex_release(void)
{
    torc_mutex_unlock(&mutex);
}

static void rwlock_set_up(void)
{
    torc_rwlock_init(&rwlock);
    MUST(torc_rwlock_write_lock(&rwlock));
}
static int rwlock_read_block(int who)
{
    (void)who;
    return torc_rwlock_read_lock(&rwlock);
}
static int rwlock_write_block(int who)
{
    (void)who;
    return torc_rwlock_write_lock(&rwlock);
}
static void rwlock_write_release(void)
{
    torc_rwlock_write_unlock(&rwlock);
}
static void rwlock_read_release(void)
{
    torc_rwlock_read_unlock(&rwlock);
}

static void condition_set_up(void)
{
    torc_mutex_init(&mutex);
    torc_condition_init(&condition);
}
static int condition_block(int who)
{
    (void)who;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    MUST(torc_mutex_lock(&mutex));
    torc_mask_leave(&mask);
    int err = torc_condition_wait(&condition, &mutex);
    CHECK(torc_mutex_is_mine(&mutex));
    torc_mutex_unlock(&mutex);
    return err;
}
static void condition_signal(void)
{
    torc_condition_signal(&condition);
}
static void condition_broadcast(void)
{
    torc_condition_broadcast(&condition);
}

static void semaphore_set_up(void)
{
    torc_semaphore_init(&semaphore, 1);
}
static int semaphore_block(int who)
{
    (void)who;
    return torc_semaphore_acquire(&semaphore, 2);
}
static void semaphore_serve(void)
{
    torc_semaphore_release(&semaphore, 2);
}

static void channel_set_up(void)
{
    next_value = 0;
    MUST(torc_channel_init(&channel, sizeof slots[0], TORC_ARRAY_LENGTH(slots), slots));
}
static void full_channel_set_up(void)
{
    channel_set_up();
    while (!torc_channel_try_send(&channel, &next_value))
        next_value++;
    next_value = 0;
}
static void rendezvous_set_up(void)
{
    next_value = 0;
    MUST(torc_channel_init(&channel, sizeof slots[0], 0, NULL));
}
static int recv_block(int who)
{
    (void)who;
    uint64_t value;
    return torc_channel_recv(&channel, &value);
}
static void recv_serve(void)
{
    MUST(torc_channel_try_send(&channel, &next_value));
}
static int send_block(int who)
{
    uint64_t value = (uint64_t)who;
    return torc_channel_send(&channel, &value);
}
static void send_serve(void)
{
    uint64_t value;
    MUST(torc_channel_try_recv(&channel, &value));
}

static void oneshot_set_up(void)
{
    next_value = 0;
    for (int i = 0; i < WAITERS; i++)
        MUST(torc_oneshot_init(&oneshots[i], sizeof oneshot_slots[i], &oneshot_slots[i]));
}
static int oneshot_block(int who)
{
    uint64_t value;
    return torc_oneshot_recv(&oneshots[who], &value);
}
static void oneshot_serve(void)
{
    for (int i = 0; i < WAITERS; i++)
        MUST(torc_oneshot_send(&oneshots[i], &next_value));
}

static void broadcast_set_up(void)
{
    MUST(torc_broadcast_init(&broadcast, sizeof slots[0], TORC_ARRAY_LENGTH(slots), slots));
}
static int broadcast_block(int who)
{
    (void)who;
    struct torc_subscriber subscriber;
    uint64_t value;
    torc_subscriber_init(&subscriber, &broadcast);
    return (int)torc_subscriber_recv(&subscriber, &value);
}
static void broadcast_serve(void)
{
    MUST(torc_broadcast_send(&broadcast, &next_value));
}

static void watch_set_up(void)
{
    MUST(torc_watch_init(&watch, sizeof slots[0], slots));
}
static int watch_block(int who)
{
    (void)who;
    struct torc_watcher watcher;
    uint64_t value;
    torc_watcher_init(&watcher, &watch);
    MUST(torc_watcher_wait(&watcher, &value)); /* the present value */
    return torc_watcher_wait(&watcher, &value);
}
static void watch_serve(void)
{
    MUST(torc_watch_send(&watch, &next_value));
}

/* The same queues, stood in by a select that has other cases, too, which never become ready. */
static int select_among(struct torc_case one)
{
    struct torc_case cases[] = {torc_timeout_case(TORC_SEC), one, torc_task_case(&ended[0])};
    int index = torc_select(cases, TORC_ARRAY_LENGTH(cases));
    if (index < 0)
        return index;
    CHECK_EQ(index, 1);
    return (int)cases[1].result;
}
static int never_ends(void *arg)
{
    (void)arg;
    return torc_sleep(UINT64_MAX);
}
static int select_event_block(int who)
{
    (void)who;
    return select_among(torc_event_case(&event));
}
static int select_mutex_block(int who)
{
    (void)who;
    return select_among(torc_mutex_case(&mutex));
}
static int select_semaphore_block(int who)
{
    (void)who;
    return select_among(torc_semaphore_case(&semaphore, 2));
}
static int select_recv_block(int who)
{
    (void)who;
    uint64_t value;
    return select_among(torc_channel_recv_case(&channel, &value));
}
static int select_send_block(int who)
{
    uint64_t value = (uint64_t)who;
    return select_among(torc_channel_send_case(&channel, &value));
}
static int select_oneshot_block(int who)
{
    uint64_t value;
    return select_among(torc_oneshot_case(&oneshots[who], &value));
}
static int select_broadcast_block(int who)
{
    (void)who;
    struct torc_subscriber subscriber;
    uint64_t value;
    torc_subscriber_init(&subscriber, &broadcast);
    return select_among(torc_subscriber_case(&subscriber, &value));
}
static int select_watch_block(int who)
{
    (void)who;
    struct torc_watcher watcher;
    uint64_t value;
    torc_watcher_init(&watcher, &watch);
    MUST(torc_watcher_wait(&watcher, &value));
    return select_among(torc_watcher_case(&watcher, &value));
}

static const struct kind kinds[] = {
    {"event", event_set_up, event_block, event_serve, NULL, true, false},
    {"auto-reset event", auto_event_set_up, event_block, event_serve, NULL, false, false},
    {"wait group", group_set_up, group_block, group_serve, NULL, true, false},
    {"gate", gate_set_up, gate_block, gate_serve, NULL, true, false},
    {"mutex", mutex_set_up, mutex_block, mutex_release, mutex_release, true, true},
    {"readers", rwlock_set_up, rwlock_read_block, rwlock_write_release, rwlock_read_release, true,
     true},
    {"writers", rwlock_set_up, rwlock_write_block, rwlock_write_release, rwlock_write_release, true,
     true},
    {"signalled condition", condition_set_up, condition_block, condition_signal, NULL, false,
     false},
    {"broadcast condition", condition_set_up, condition_block, condition_broadcast, NULL, true,
     false},
    {"semaphore", semaphore_set_up, semaphore_block, semaphore_serve, NULL, false, false},
    {"receivers", channel_set_up, recv_block, recv_serve, NULL, false, false},
    {"senders", full_channel_set_up, send_block, send_serve, NULL, false, false},
    {"rendezvous receivers", rendezvous_set_up, recv_block, recv_serve, NULL, false, false},
    {"rendezvous senders", rendezvous_set_up, send_block, send_serve, NULL, false, false},
    {"oneshots", oneshot_set_up, oneshot_block, oneshot_serve, NULL, true, false},
    {"broadcast", broadcast_set_up, broadcast_block, broadcast_serve, NULL, true, false},
    {"watch", watch_set_up, watch_block, watch_serve, NULL, true, false},
    {"select event", auto_event_set_up, select_event_block, event_serve, NULL, false, false},
    {"select mutex", mutex_set_up, select_mutex_block, mutex_release, mutex_release, true, true},
    {"select semaphore", semaphore_set_up, select_semaphore_block, semaphore_serve, NULL, false,
     false},
    {"select recv", channel_set_up, select_recv_block, recv_serve, NULL, false, false},
    {"select send", full_channel_set_up, select_send_block, send_serve, NULL, false, false},
    {"select oneshot", oneshot_set_up, select_oneshot_block, oneshot_serve, NULL, true, false},
    {"select broadcast", broadcast_set_up, select_broadcast_block, broadcast_serve, NULL, true,
     false},
    {"select watch", watch_set_up, select_watch_block, watch_serve, NULL, true, false},
};

struct waiter {
    const struct kind *kind;
    int who, result;
    bool done;
    uint64_t timeout_ns; /* 0: none */
    struct torc_task task;
};

static struct waiter waiters[WAITERS];
static int order[WAITERS], served_count;

static int wait_in_line(void *arg)
{
    struct waiter *self = (struct waiter *)arg;
    struct torc_deadline deadline;
    if (self->timeout_ns)
        torc_deadline_enter(&deadline, self->timeout_ns);
    self->result = self->kind->block(self->who);
    if (self->timeout_ns)
        torc_deadline_leave(&deadline);
    self->done = true;
    if (!self->result) {
        order[served_count++] = self->who;
        if (self->kind->release)
            self->kind->release();
    }
    return 0;
}

/* Everybody who can run has, several times over. */
static void settle(void)
{
    for (int i = 0; i < 4 * WAITERS; i++)
        torc_yield();
}

/* All waiters in line, the one numbered WITH_DEADLINE (-1: none) for a millisecond at most. */
static void line_up(const struct kind *kind, struct torc_scope *scope, int with_deadline)
{
    torc_scope_init(scope);
    MUST(torc_spawn_with(scope, &(struct torc_task_options){.task = &ended[0]}, never_ends, NULL));
    kind->set_up();
    served_count = 0;
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] =
            (struct waiter){.kind = kind, .who = i, .timeout_ns = i == with_deadline ? TORC_MS : 0};
        MUST(torc_spawn_with(scope, &(struct torc_task_options){.task = &waiters[i].task},
                             wait_in_line, &waiters[i]));
    }
    settle();
    for (int i = 0; i < WAITERS; i++)
        CHECK_KIND(kind, waiters[i].done, false);
}

/* Serves until COUNT have been, and checks that they were all but MISSING (-1: nobody), in order. */
static void serve_rest(const struct kind *kind, int count, int missing)
{
    while (served_count < count) {
        int before = served_count;
        kind->serve();
        settle();
        CHECK_KIND(kind, served_count, kind->serves_all ? count : before + 1);
    }
    for (int i = 0, who = 0; i < count; i++, who++) {
        who += who == missing;
        CHECK_KIND(kind, order[i], who);
    }
}

static void leave_line(struct torc_scope *scope)
{
    torc_task_cancel(&ended[0]);
    CHECK_EQ(torc_scope_join(scope), -ECANCELED); /* of the one that never ends */
}

static int fifo(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    struct torc_scope scope;
    line_up(kind, &scope, -1);
    serve_rest(kind, WAITERS, -1);
    leave_line(&scope);
    return 0;
}

static int cancel_anywhere(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    for (int who = 0; who < WAITERS; who++) {
        struct torc_scope scope;
        line_up(kind, &scope, -1);
        torc_task_cancel(&waiters[who].task);
        settle();
        CHECK_KIND(kind, waiters[who].done, true);
        CHECK_KIND(kind, waiters[who].result, -ECANCELED);
        CHECK_KIND(kind, served_count, 0);
        serve_rest(kind, WAITERS - 1, who);
        leave_line(&scope);
    }
    return 0;
}

static int deadline_anywhere(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    for (int who = 0; who < WAITERS; who++) {
        struct torc_scope scope;
        line_up(kind, &scope, who);
        MUST(torc_sleep(TORC_MS / 2));
        CHECK_KIND(kind, waiters[who].done, false);
        MUST(torc_sleep(TORC_MS));
        CHECK_KIND(kind, waiters[who].done, true);
        CHECK_KIND(kind, waiters[who].result, -ETIMEDOUT);
        CHECK_KIND(kind, served_count, 0);
        serve_rest(kind, WAITERS - 1, who);
        leave_line(&scope);
    }
    return 0;
}

static int cancel_after_hand_over(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    struct torc_scope scope;
    line_up(kind, &scope, -1);
    kind->serve();
    torc_task_cancel(&waiters[0].task);
    settle();
    CHECK_KIND(kind, waiters[0].done, true);
    CHECK_KIND(kind, waiters[0].result, 0);
    serve_rest(kind, WAITERS, -1);
    leave_line(&scope);
    return 0;
}

static int cancel_before_hand_over(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    struct torc_scope scope;
    line_up(kind, &scope, -1);
    torc_task_cancel(&waiters[0].task);
    kind->serve();
    settle();
    CHECK_KIND(kind, waiters[0].result, -ECANCELED);
    CHECK_KIND(kind, served_count, kind->serves_all ? WAITERS - 1 : 1);
    serve_rest(kind, WAITERS - 1, 0);
    leave_line(&scope);
    return 0;
}

/* A cancelled task still gets what is there, but waits for nothing. */
static int cancelled_before_it_blocks(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &ended[0]}, never_ends, NULL));
    kind->set_up();
    served_count = 0;
    waiters[0] = (struct waiter){.kind = kind};
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &waiters[0].task},
                         wait_in_line, &waiters[0]));
    torc_task_cancel(&waiters[0].task);
    settle();
    CHECK_KIND(kind, waiters[0].done, true);
    CHECK_KIND(kind, waiters[0].result, -ECANCELED);
    leave_line(&scope);
    return 0;
}

static void (*serve_outside)(void);
static void serve_in_turn(void)
{
    CHECK(torci_this->current == NULL);
    if (serve_outside)
        serve_outside();
    serve_outside = NULL;
}

static int served_outside(void *arg)
{
    const struct kind *kind = (const struct kind *)arg;
    struct torc_scope scope;
    line_up(kind, &scope, -1);
    while (served_count < WAITERS) {
        int before = served_count;
        serve_outside = kind->serve;
        MUST(torc_sleep(1));
        settle();
        CHECK_KIND(kind, served_count, kind->serves_all ? WAITERS : before + 1);
    }
    serve_rest(kind, WAITERS, -1);
    leave_line(&scope);
    return 0;
}

static void for_all_kinds(torc_task_fn *fn)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(kinds); i++) {
        struct kind kind = kinds[i];
        CHECK_KIND(&kind, core_host_run(fn, &kind), 0);
    }
}

TEST(waiters, are_served_in_the_order_they_came)
{
    for_all_kinds(fifo);
}

TEST(waiters, that_are_cancelled_leave_the_line_at_any_place)
{
    for_all_kinds(cancel_anywhere);
}

TEST(waiters, that_time_out_leave_the_line_at_any_place)
{
    for_all_kinds(deadline_anywhere);
}

TEST(waiters, keep_what_they_were_served_before_a_cancel)
{
    for_all_kinds(cancel_after_hand_over);
}

TEST(waiters, cancelled_first_are_passed_over)
{
    for_all_kinds(cancel_before_hand_over);
}

TEST(waiters, that_are_cancelled_already_never_park)
{
    for_all_kinds(cancelled_before_it_blocks);
}

TEST(waiters, are_served_from_outside_of_any_task)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(kinds); i++) {
        struct kind kind = kinds[i];
        if (kind.in_task)
            continue;
        struct core_host host;
        core_host_init(&host);
        host.on_turn = serve_in_turn;
        CHECK_KIND(&kind,
                   core_host_run_on(&host, &(struct torci_exec_config){0}, served_outside, &kind),
                   0);
    }
}

/* The sleep's timer and the deadline's fire in one advance of the wheel, in the order in which they were armed. */
static int sleep_to_the_deadline(void *arg)
{
    struct torc_deadline deadline;
    (void)arg;
    uint64_t when_ns = torc_now_ns() + TORC_MS;
    torc_deadline_enter_at(&deadline, when_ns);
    int err = torc_sleep_until(when_ns);
    CHECK(err == 0 || err == -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(torc_sleep(TORC_MS), 0); /* the timer of the first is disarmed */
    return 0;
}

TEST(waiters, may_sleep_exactly_until_their_deadline)
{
    CHECK_EQ(core_host_run(sleep_to_the_deadline, NULL), 0);
}
