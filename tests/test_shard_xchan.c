/* SPDX-License-Identifier: MIT
 *
 * Channels between shards: order, back-pressure, closing, interruption, memory. Two tasks on the first and the last
 * shard of a set of two, or of as many as TORC_SHARDS says; with one shard the tasks share it.
 */
#include <signal.h>

#include "tests/fault_kernel.h"
#include "tests/harness.h"

#include "core/random_internal.h"
#include "core/select_internal.h"
#include "shard/xchan_internal.h"
#include "torc.h"

enum { GAP_US = 50 };

static struct pair {
    size_t value_bytes;
    uint32_t capacity;
    int (*send)(struct torc_xsender *sender);
    int (*recv)(struct torc_xreceiver *receiver);
    struct torc_xsender *sender; /* atomic, as STEP */
    uint32_t step;
} pair;

static void step_set(uint32_t step)
{
    __atomic_store_n(&pair.step, step, __ATOMIC_RELEASE);
}

static void step_wait(uint32_t step)
{
    while (__atomic_load_n(&pair.step, __ATOMIC_ACQUIRE) < step)
        CHECK_EQ(torc_sleep(GAP_US * TORC_US), 0);
}

static int run_sender(void *arg)
{
    (void)arg;
    struct torc_xsender *sender;
    while (!(sender = __atomic_load_n(&pair.sender, __ATOMIC_ACQUIRE)))
        CHECK_EQ(torc_sleep(GAP_US * TORC_US), 0);
    int err = pair.send(sender);
    if (!err)
        torc_xchan_close_sender(sender);
    return 0;
}

static int run_receiver(void *arg)
{
    (void)arg;
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    CHECK_EQ(torc_xchan_open(pair.value_bytes, pair.capacity, &receiver, &sender), 0);
    __atomic_store_n(&pair.sender, sender, __ATOMIC_RELEASE);
    if (!pair.recv(receiver))
        torc_xchan_close_receiver(receiver);
    return 0;
}

static int pair_main(void *arg)
{
    const uint64_t *used = &torci_shard_this()->arena->used_bytes[TORC_ARENA_LANES];
    uint64_t used_before = *used;
    struct torc_scope all;
    torc_scope_init(&all);
    if (torc_shard_id() == 0)
        CHECK_EQ(torc_spawn(&all, run_receiver, arg), 0);
    if (torc_shard_id() == torc_shard_count() - 1)
        CHECK_EQ(torc_spawn(&all, run_sender, arg), 0);
    int err = torc_scope_join(&all);
    while (*used != used_before) /* the sender may be the last to close */
        CHECK_EQ(torc_sleep(GAP_US * TORC_US), 0);
    return err;
}

static uint64_t spin_ns;

/* Returns 0: the end is closed for it. */
static void run_pair_of(uint32_t shards, size_t value_bytes, uint32_t capacity,
                        int (*send)(struct torc_xsender *sender),
                        int (*recv)(struct torc_xreceiver *receiver))
{
    pair = (struct pair){value_bytes, capacity, send, recv, NULL, 0};
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    struct torc_config config = {
        .shards = shards, .kernel = &fault.kernel, .spin_ns = spin_ns, .no_stall_report = true};
    CHECK_EQ(torc_run(&config, pair_main, NULL), 0);
    fault_kernel_check_clean(&fault);
}

static void run_pair(size_t value_bytes, uint32_t capacity,
                     int (*send)(struct torc_xsender *sender),
                     int (*recv)(struct torc_xreceiver *receiver))
{
    run_pair_of(getenv("TORC_SHARDS") ? 0 : 2, value_bytes, capacity, send, recv);
}

/* ---- order ---- */

enum { VALUES = 3000 };

/* Value I: its number in the first bytes, the rest derived from it. */
static void fill(unsigned char *value, size_t bytes, uint32_t i)
{
    for (size_t b = 0; b < bytes; b++)
        value[b] = (unsigned char)(b < 4 ? i >> 8 * b : i + b);
}

static void check_value(const unsigned char *value, size_t bytes, uint32_t i)
{
    unsigned char wanted[TORC_XCHAN_VALUE_MAX];
    fill(wanted, bytes, i);
    CHECK(!memcmp(value, wanted, bytes));
}

/* Now and then something that moves the two sides against each other. */
static void stumble(struct torci_random *random)
{
    switch (torci_random_next(random) % 64) {
    case 0: torc_yield(); break;
    case 1: CHECK_EQ(torc_sleep(torci_random_next(random) % (20 * TORC_US)), 0); break;
    default: break;
    }
}

static int send_in_order(struct torc_xsender *sender)
{
    struct torci_random random;
    torci_random_seed(&random, pair.capacity);
    unsigned char value[TORC_XCHAN_VALUE_MAX];
    for (uint32_t i = 0; i < VALUES; i++) {
        fill(value, pair.value_bytes, i);
        CHECK_EQ(torc_xchan_send(sender, value), 0);
        stumble(&random);
    }
    return 0;
}

static int recv_in_order(struct torc_xreceiver *receiver)
{
    struct torci_random random;
    torci_random_seed(&random, pair.value_bytes);
    unsigned char value[TORC_XCHAN_VALUE_MAX];
    for (uint32_t i = 0; i < VALUES; i++) {
        CHECK_EQ(torc_xchan_recv(receiver, value), 0);
        check_value(value, pair.value_bytes, i);
        stumble(&random);
    }
    memset(value, 77, sizeof value);
    CHECK_EQ(torc_xchan_recv(receiver, value), -EPIPE);
    CHECK_EQ(value[0], 77);
    CHECK_EQ(torc_xchan_try_recv(receiver, value), -EPIPE);
    return 0;
}

TEST(shard_xchan, values_arrive_in_order_whatever_their_size)
{
    static const size_t sizes[] = {1, 7, 8, 64, 100, TORC_XCHAN_VALUE_MAX};
    static const uint32_t capacities[] = {1, 2, 7, 64, 1000};
    for (size_t s = 0; s < TORC_ARRAY_LENGTH(sizes); s++)
        run_pair(sizes[s], capacities[s % TORC_ARRAY_LENGTH(capacities)], send_in_order,
                 recv_in_order);
    for (size_t c = 0; c < TORC_ARRAY_LENGTH(capacities); c++)
        run_pair(8, capacities[c], send_in_order, recv_in_order);
}

TEST(shard_xchan, two_tasks_of_one_shard_can_use_it)
{
    run_pair_of(1, 8, 1, send_in_order, recv_in_order);
    run_pair_of(1, 64, 100, send_in_order, recv_in_order);
}

/* Only whole arrays have numbers here, so sizes are 4. */
static int send_arrays(struct torc_xsender *sender)
{
    struct torci_random random;
    torci_random_seed(&random, 1);
    uint32_t values[200];
    for (uint32_t i = 0; i < VALUES;) {
        uint32_t count = 1 + (uint32_t)torci_random_next(&random) % 199;
        count = count < VALUES - i ? count : VALUES - i;
        for (uint32_t k = 0; k < count; k++)
            values[k] = i + k;
        if (torci_random_next(&random) % 2) {
            CHECK_EQ(torc_xchan_send_many(sender, values, count), (int)count);
            i += count;
            continue;
        }
        int sent = torc_xchan_try_send_many(sender, values, count);
        CHECK(sent == -EAGAIN || (sent > 0 && sent <= (int)count));
        if (sent < 0)
            torc_yield();
        else
            i += (uint32_t)sent;
    }
    return 0;
}

static int recv_arrays(struct torc_xreceiver *receiver)
{
    struct torci_random random;
    torci_random_seed(&random, 2);
    uint32_t values[200];
    for (uint32_t i = 0; i < VALUES;) {
        uint32_t most = 1 + (uint32_t)torci_random_next(&random) % 199;
        int taken = torci_random_next(&random) % 2
                        ? torc_xchan_recv_many(receiver, values, most)
                        : torc_xchan_try_recv_many(receiver, values, most);
        if (taken == -EAGAIN) {
            torc_yield();
            continue;
        }
        CHECK(taken > 0 && taken <= (int)most);
        for (int k = 0; k < taken; k++)
            CHECK_EQ(values[k], i + (uint32_t)k);
        i += (uint32_t)taken;
    }
    CHECK_EQ(torc_xchan_recv_many(receiver, values, 1), -EPIPE);
    return 0;
}

TEST(shard_xchan, arrays_keep_the_order_too)
{
    run_pair(4, 7, send_arrays, recv_arrays);
    run_pair(4, 128, send_arrays, recv_arrays);
}

/* ---- in place ---- */

TORC_XCHAN(numbers, uint64_t);

static int send_in_place(struct torc_xsender *sender)
{
    struct torci_random random;
    torci_random_seed(&random, 5);
    for (uint64_t i = 0; i < VALUES;) {
        uint64_t *slots;
        int room = numbers_reserve(sender, &slots);
        CHECK(room > 0 && room <= (int)pair.capacity);
        uint32_t some = (uint32_t)torci_random_below(&random, (uint64_t)room + 1);
        some = some < VALUES - i ? some : (uint32_t)(VALUES - i);
        for (uint32_t k = 0; k < some; k++)
            slots[k] = i++;
        torc_xchan_commit(sender, some);
        stumble(&random);
    }
    return 0;
}

static int recv_in_place(struct torc_xreceiver *receiver)
{
    struct torci_random random;
    torci_random_seed(&random, 6);
    const uint64_t *values;
    for (uint64_t i = 0; i < VALUES;) {
        int there = numbers_peek(receiver, &values);
        CHECK(there > 0 && there <= (int)pair.capacity);
        uint32_t some = (uint32_t)torci_random_below(&random, (uint64_t)there + 1);
        for (uint32_t k = 0; k < some; k++)
            CHECK_EQ(values[k], i++);
        torc_xchan_release(receiver, some);
        stumble(&random);
    }
    CHECK_EQ(numbers_peek(receiver, &values), -EPIPE);
    return 0;
}

TEST(shard_xchan, values_can_be_written_and_read_in_place)
{
    run_pair(8, 10, send_in_place, recv_in_place);
    run_pair(8, 300, send_in_order, recv_in_order);
}

static int release_too_many(struct torc_xreceiver *receiver)
{
    const uint64_t *values;
    int there = numbers_peek(receiver, &values);
    torc_xchan_release(receiver, (uint32_t)there + 1);
    return 0;
}

TEST_DYING(shard_xchan, more_than_there_is_can_not_be_released, SIGABRT)
{
    run_pair(8, 10, send_in_place, release_too_many);
}

/* ---- back-pressure ---- */

static int send_until_full(struct torc_xsender *sender)
{
    for (uint64_t i = 0; i < pair.capacity; i++)
        CHECK_EQ(numbers_try_send(sender, &i), 0);
    uint64_t more = pair.capacity;
    CHECK_EQ(numbers_try_send(sender, &more), -EAGAIN);
    step_set(1);
    /* One has been taken out of the middle of what the receiver sees: that is room. */
    CHECK_EQ(numbers_send(sender, &more), 0);
    CHECK_EQ(numbers_try_send(sender, &more), -EAGAIN);
    step_set(2);
    return 0;
}

static int recv_one(struct torc_xreceiver *receiver)
{
    uint64_t value;
    step_wait(1);
    CHECK_EQ(numbers_recv(receiver, &value), 0);
    CHECK_EQ(value, 0);
    step_wait(2);
    for (uint64_t i = 1; i <= pair.capacity; i++) {
        CHECK_EQ(numbers_recv(receiver, &value), 0);
        CHECK_EQ(value, i);
    }
    CHECK_EQ(numbers_recv(receiver, &value), -EPIPE);
    return 0;
}

TEST(shard_xchan, one_value_taken_is_room_for_one)
{
    run_pair(8, 8, send_until_full, recv_one);
    run_pair(8, 1, send_until_full, recv_one);
    run_pair(8, 333, send_until_full, recv_one);
}

static int send_one_and_wait(struct torc_xsender *sender)
{
    uint64_t value = 1;
    CHECK_EQ(numbers_send(sender, &value), 0);
    step_wait(1); /* without closing or flushing: the end of the turn publishes */
    value = 2;
    CHECK_EQ(numbers_send(sender, &value), 0);
    torc_xchan_flush(sender);
    uint64_t until = torc_now_ns();
    while (__atomic_load_n(&pair.step, __ATOMIC_ACQUIRE) < 2)
        if (torc_shard_count() == 1 || torc_now_ns() > until + TORC_SEC)
            torc_yield(); /* but the receiver may be on this shard */
    return 0;
}

static int recv_single(struct torc_xreceiver *receiver)
{
    uint64_t value;
    for (uint64_t i = 1; i <= 2; i++) {
        CHECK_EQ(numbers_recv(receiver, &value), 0);
        CHECK_EQ(value, i);
        step_set((uint32_t)i);
    }
    return 0;
}

TEST(shard_xchan, a_turn_publishes_and_flush_does_not_wait_for_it)
{
    run_pair(8, 8, send_one_and_wait, recv_single);
}

/* ---- closing ---- */

static int send_until_closed(struct torc_xsender *sender)
{
    uint64_t sent = 0;
    int err;
    while (!(err = numbers_send(sender, &sent)))
        sent++;
    CHECK_EQ(err, -EPIPE);
    CHECK_EQ(numbers_try_send(sender, &sent), -EPIPE);
    CHECK_EQ(torc_xchan_send_many(sender, &sent, 1), -EPIPE);
    CHECK(sent >= 5);
    return 0;
}

static int recv_five(struct torc_xreceiver *receiver)
{
    uint64_t value;
    for (uint64_t i = 0; i < 5; i++) {
        CHECK_EQ(numbers_recv(receiver, &value), 0);
        CHECK_EQ(value, i);
    }
    if (torc_shard_count() > 1)
        CHECK_EQ(torc_sleep(TORC_MS), 0); /* it is parked on the full ring, as a rule */
    return 0;
}

TEST(shard_xchan, sender_learns_that_the_receiver_has_closed)
{
    run_pair(8, 4, send_until_closed, recv_five);
    run_pair(8, 1000, send_until_closed, recv_five);
}

static int send_nothing(struct torc_xsender *sender)
{
    (void)sender;
    return 0;
}

static int recv_nothing(struct torc_xreceiver *receiver)
{
    uint64_t value;
    CHECK_EQ(numbers_recv(receiver, &value), -EPIPE);
    return 0;
}

TEST(shard_xchan, receiver_that_waits_learns_that_the_sender_has_closed)
{
    run_pair(8, 4, send_nothing, recv_nothing);
}

static int drop_both(void *arg)
{
    (void)arg;
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    CHECK_EQ(numbers_open(4, &receiver, &sender), 0);
    uint64_t value = 1;
    CHECK_EQ(numbers_send(sender, &value), 0);
    torc_xchan_close_receiver(receiver);
    CHECK_EQ(numbers_send(sender, &value), 0); /* its window was open */
    torc_yield();
    CHECK_EQ(torc_sleep(1), 0);
    CHECK_EQ(numbers_send(sender, &value), -EPIPE);
    torc_xchan_close_sender(sender);
    CHECK_EQ(numbers_open(4, &receiver, &sender), 0);
    torc_xchan_close_sender(sender); /* never used */
    CHECK_EQ(numbers_recv(receiver, &value), -EPIPE);
    torc_xchan_close_receiver(receiver);
    CHECK_EQ(torc_xchan_open(0, 4, &receiver, &sender), -EINVAL);
    CHECK_EQ(torc_xchan_open(TORC_XCHAN_VALUE_MAX + 1, 4, &receiver, &sender), -EINVAL);
    CHECK_EQ(torc_xchan_open(8, 0, &receiver, &sender), -EINVAL);
    CHECK_EQ(torc_xchan_open(8, TORC_XCHAN_CAPACITY_MAX + 1, &receiver, &sender), -EINVAL);
    return 0;
}

TEST(shard_xchan, ends_that_nobody_uses_can_be_closed)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 1, .kernel = &fault.kernel}, drop_both, NULL),
             0);
    fault_kernel_check_clean(&fault);
}

static int open_without_memory(void *arg)
{
    (void)arg;
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    CHECK_EQ(torc_xchan_open(TORC_XCHAN_VALUE_MAX, TORC_XCHAN_CAPACITY_MAX, &receiver, &sender),
             -ENOMEM);
    return 0;
}

TEST(shard_xchan, no_memory_is_an_error)
{
    struct torc_config config = {.shards = 1, .arena_bytes = UINT64_C(1) << 30};
    CHECK_EQ(torc_run(&config, open_without_memory, NULL), 0);
}

/* ---- interruption ---- */

enum { DEADLINES = 400 };

static int send_slowly(struct torc_xsender *sender)
{
    struct torci_random random;
    torci_random_seed(&random, 3);
    for (uint64_t i = 0; i < DEADLINES; i++) {
        struct torc_deadline deadline;
        int err;
        do {
            torc_deadline_enter(&deadline, torci_random_next(&random) % (30 * TORC_US));
            err = numbers_send(sender, &i);
            (void)torc_deadline_leave(&deadline);
            CHECK(!err || err == -ETIMEDOUT);
        } while (err);
        if (torci_random_next(&random) % 4 == 0)
            CHECK_EQ(torc_sleep(torci_random_next(&random) % (40 * TORC_US)), 0);
    }
    return 0;
}

static int recv_with_deadlines(struct torc_xreceiver *receiver)
{
    struct torci_random random;
    torci_random_seed(&random, 4);
    for (uint64_t i = 0; i < DEADLINES; i++) {
        struct torc_deadline deadline;
        uint64_t value = 12345678;
        int err;
        do {
            torc_deadline_enter(&deadline, torci_random_next(&random) % (30 * TORC_US));
            err = numbers_recv(receiver, &value);
            (void)torc_deadline_leave(&deadline);
            CHECK(!err || (err == -ETIMEDOUT && value == 12345678));
        } while (err);
        CHECK_EQ(value, i);
    }
    uint64_t value;
    CHECK_EQ(numbers_recv(receiver, &value), -EPIPE);
    return 0;
}

TEST(shard_xchan, deadlines_lose_nothing_and_send_nothing_twice)
{
    run_pair(8, 2, send_slowly, recv_with_deadlines);
    run_pair(8, 64, send_slowly, recv_with_deadlines);
}

static int wait_for_value(void *arg)
{
    uint64_t value;
    return numbers_recv((struct torc_xreceiver *)arg, &value);
}

static int recv_cancelled(struct torc_xreceiver *receiver)
{
    struct torc_scope all;
    torc_scope_init(&all);
    struct torc_task task;
    CHECK_EQ(
        torc_spawn_with(&all, &(struct torc_task_options){.task = &task}, wait_for_value, receiver),
        0);
    torc_yield();
    torc_task_cancel(&task);
    CHECK_EQ(torc_task_join(&task), -ECANCELED);
    CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    step_set(1);
    uint64_t value;
    CHECK_EQ(numbers_recv(receiver, &value), 0);
    CHECK_EQ(value, 5);
    return 0;
}

static int send_after_cancel(struct torc_xsender *sender)
{
    step_wait(1);
    uint64_t value = 5;
    CHECK_EQ(numbers_send(sender, &value), 0);
    return 0;
}

TEST(shard_xchan, cancelled_receiver_leaves_the_channel_to_the_next)
{
    run_pair(8, 2, send_after_cancel, recv_cancelled);
}

/* ---- select ---- */

static int recv_by_select(struct torc_xreceiver *receiver)
{
    uint64_t value = 0, expected = 0, timeouts = 0;
    struct torc_event never;
    torc_event_init(&never);
    for (;;) {
        struct torc_case cases[] = {
            torc_xchan_recv_case(receiver, &value),
            torc_event_case(&never),
            torc_timeout_case(20 * TORC_US),
        };
        int index = torc_select(cases, TORC_ARRAY_LENGTH(cases));
        CHECK(index == 0 || index == 2);
        if (index == 2) {
            timeouts++;
            continue;
        }
        if (cases[0].result == -EPIPE)
            break;
        CHECK_EQ(cases[0].result, 0);
        CHECK_EQ(value, expected);
        expected++;
    }
    CHECK_EQ(expected, DEADLINES);
    return 0;
}

TEST(shard_xchan, select_takes_each_value_once)
{
    run_pair(8, 2, send_slowly, recv_by_select);
    run_pair(8, 100, send_slowly, recv_by_select);
}

static int send_when_asked(struct torc_xsender *sender)
{
    step_wait(1);
    uint64_t value = 7;
    CHECK_EQ(numbers_send(sender, &value), 0);
    torc_xchan_flush(sender);
    step_set(2);
    step_wait(3);
    return 0;
}

/* A case that is never ready, and during whose poll the value comes: after the channel has been looked at, before the
 * select waits on it. */
static bool poll_late(struct torc_case *one)
{
    (void)one;
    step_set(1);
    while (__atomic_load_n(&pair.step, __ATOMIC_ACQUIRE) < 2)
        ;
    return false;
}

static void arm_nothing(struct torc_case *one, struct torci_wait *wait)
{
    (void)one, (void)wait;
}

static int select_late(struct torc_xreceiver *receiver)
{
    static const struct torci_case_kind late = {poll_late, arm_nothing, NULL};
    uint64_t value = 0;
    struct torc_case cases[] = {torc_xchan_recv_case(receiver, &value),
                                torci_case_make(&late, NULL, NULL, 0)};
    CHECK_EQ(torc_select_in_order(cases, TORC_ARRAY_LENGTH(cases)), 0);
    CHECK_EQ(value, 7);
    step_set(3);
    return 0;
}

TEST(shard_xchan, select_misses_nothing_that_comes_as_it_parks)
{
    run_pair_of(2, 8, 64, send_when_asked, select_late);
}

/* ---- sleepers ---- */

enum { TRIPS = 10000 };

static struct torc_xsender *way_back; /* atomic */

/* Also over the end of a turn, at which an end that was just used would look again. */
static void linger(struct torci_random *random)
{
    if (torci_random_below(random, 2))
        CHECK_EQ(torc_sleep(1), 0);
    for (uint64_t left = torci_random_below(random, 3000); left; left--)
        __asm__ volatile("" : "+r"(left));
}

/* One value is on its way at any time: whoever misses it sleeps for ever. */
static int echo(struct torc_xsender *sender)
{
    struct torc_xreceiver *receiver;
    struct torc_xsender *back;
    struct torci_random random;
    torci_random_seed(&random, 7);
    CHECK_EQ(numbers_open(2, &receiver, &back), 0);
    __atomic_store_n(&way_back, back, __ATOMIC_RELEASE);
    for (uint64_t i = 0; i < TRIPS; i++) {
        uint64_t value;
        CHECK_EQ(numbers_send(sender, &i), 0);
        linger(&random);
        CHECK_EQ(numbers_recv(receiver, &value), 0);
        CHECK_EQ(value, i);
    }
    torc_xchan_close_receiver(receiver);
    return 0;
}

static int send_back(struct torc_xreceiver *receiver)
{
    struct torci_random random;
    torci_random_seed(&random, 8);
    uint64_t value;
    while (!numbers_recv(receiver, &value)) {
        struct torc_xsender *back = __atomic_load_n(&way_back, __ATOMIC_ACQUIRE);
        linger(&random);
        CHECK_EQ(numbers_send(back, &value), 0);
        linger(&random);
    }
    torc_xchan_close_sender(way_back);
    return 0;
}

TEST(shard_xchan, no_wake_is_lost)
{
    run_pair(8, 2, echo, send_back);
    spin_ns = 100 * TORC_US; /* where there are CPUs enough the other side is then awake */
    run_pair(8, 2, echo, send_back);
}

/* ---- closing under fire ---- */

static int send_some(struct torc_xsender *sender)
{
    struct torci_random random;
    torci_random_seed(&random, __atomic_load_n(&pair.step, __ATOMIC_RELAXED));
    uint64_t count = torci_random_next(&random) % 200;
    int err = 0;
    for (uint64_t i = 0; i < count && !err; i++)
        err = numbers_send(sender, &i);
    CHECK(!err || err == -EPIPE);
    torc_xchan_close_sender(sender);
    return 1;
}

static int recv_some(struct torc_xreceiver *receiver)
{
    struct torci_random random;
    torci_random_seed(&random, 1000 + __atomic_load_n(&pair.step, __ATOMIC_RELAXED));
    uint64_t count = torci_random_next(&random) % 200, value;
    int err = 0;
    for (uint64_t i = 0; i < count && !err; i++) {
        err = numbers_recv(receiver, &value);
        CHECK(err || value == i);
    }
    CHECK(!err || err == -EPIPE);
    torc_xchan_close_receiver(receiver);
    return 1;
}

enum { CLOSINGS = 300 };

static int close_often_receiver(struct torc_xreceiver *receiver)
{
    for (uint32_t i = 1;; i++) {
        (void)recv_some(receiver);
        if (i == CLOSINGS)
            return 1;
        struct torc_xsender *sender;
        CHECK_EQ(numbers_open(1 + i % 70, &receiver, &sender), 0);
        while (__atomic_load_n(&pair.sender, __ATOMIC_ACQUIRE))
            torc_yield();
        __atomic_store_n(&pair.step, i, __ATOMIC_RELAXED);
        __atomic_store_n(&pair.sender, sender, __ATOMIC_RELEASE);
    }
}

static int close_often_sender(struct torc_xsender *sender)
{
    for (uint32_t i = 1;; i++) {
        __atomic_store_n(&pair.sender, NULL, __ATOMIC_RELEASE);
        (void)send_some(sender);
        if (i == CLOSINGS)
            return 1;
        while (!(sender = __atomic_load_n(&pair.sender, __ATOMIC_ACQUIRE)))
            torc_yield();
    }
}

TEST(shard_xchan, closing_at_any_moment_leaves_nothing_behind)
{
    run_pair(8, 3, close_often_sender, close_often_receiver);
}

/* ---- broken contracts ---- */

static int steal(struct torc_xsender *sender)
{
    uint64_t value = 1;
    CHECK_EQ(numbers_send(sender, &value), 0);
    CHECK_EQ(torc_sleep(1), 0); /* its window is closed */
    step_set(1);
    step_wait(2);
    return 0;
}

static int use_anothers_end(struct torc_xreceiver *receiver)
{
    (void)receiver;
    step_wait(1);
    uint64_t value = 2;
    CHECK_EQ(numbers_try_send(pair.sender, &value), 0);
    step_set(2);
    return 0;
}

TEST_DYING(shard_xchan, end_of_another_shard_is_refused, SIGABRT)
{
    run_pair_of(2, 8, 2, steal, use_anothers_end);
}
