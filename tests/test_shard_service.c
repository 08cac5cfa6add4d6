/* SPDX-License-Identifier: MIT
 *
 * Sharded services: the order of start and stop, calls, peers, failing starts, and stops that have to wait or to hurry.
 */
#include <errno.h>

#include "tests/harness.h"
#include "torc.h"

enum { SHARDS_MAX = 64 };

/* What happened, in the order it did; written by one shard after another. */
static struct {
    int what[4 * SHARDS_MAX]; /* shard + 1 for a start, -(shard + 1) for a stop */
    uint32_t count;           /* atomic */
} history;

static void note(int what)
{
    history.what[__atomic_fetch_add(&history.count, 1, __ATOMIC_ACQ_REL)] = what;
}

struct counter {
    uint64_t value;
    uint32_t home;
    struct torc_service *service;
    struct torc_event never;
};

static int failing_shard; /* -1: none */

static int start_counter(void *instance, struct torc_service *service, void *arg)
{
    struct counter *counter = instance;
    CHECK_EQ(counter->value, 0);
    CHECK(torc_service_here(service) == NULL); /* not before it is ready */
    counter->value = *(const uint64_t *)arg;
    counter->home = torc_shard_id();
    counter->service = service;
    torc_event_init(&counter->never);
    if ((int)counter->home == failing_shard)
        return -EDOM;
    note((int)counter->home + 1);
    return 0;
}

static void stop_counter(void *instance)
{
    struct counter *counter = instance;
    CHECK_EQ(counter->home, torc_shard_id());
    note(-(int)counter->home - 1);
}

static const struct torc_service_type counters = {.name = "counter",
                                                  .size_bytes = sizeof(struct counter),
                                                  .start = start_counter,
                                                  .stop = stop_counter};

static int add(void *instance, void *arg)
{
    struct counter *counter = instance;
    CHECK_EQ(counter->home, torc_shard_id());
    counter->value += *(const uint64_t *)arg;
    return (int)counter->value;
}

static void reset(void)
{
    memset(&history, 0, sizeof history);
    failing_shard = -1;
}

static void check_order(uint32_t shards)
{
    CHECK_EQ(history.count, 2 * shards);
    for (uint32_t i = 0; i < shards; i++) {
        CHECK_EQ(history.what[i], i + 1);
        CHECK_EQ(history.what[2 * shards - 1 - i], -(int)i - 1);
    }
}

static int run_on(uint32_t shards, torc_task_fn *main)
{
    reset();
    return torc_run(&(struct torc_config){.shards = shards, .keep_signals = true}, main, NULL);
}

static int use_service(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_service *service;
    uint64_t start = 100, one = 1;
    uint32_t count = torc_shard_count();
    CHECK_EQ(torc_service_start(&service, &counters, &start), 0);
    for (uint32_t shard = 0; shard < count; shard++) {
        CHECK(torc_service_at(service, shard) != NULL);
        CHECK_EQ(torc_service_call(service, shard, add, &one), 101);
    }
    CHECK_EQ(torc_service_call_all(service, add, &one), 0);
    CHECK_EQ(((struct counter *)torc_service_here(service))->value, 102);
    CHECK_EQ(torc_service_call(service, count - 1, add, &one), 103);
    CHECK_EQ(torc_service_call(service, count, add, &one), -EINVAL);
    CHECK_EQ(torc_service_stop(service), 0);
    for (uint32_t shard = 0; shard < count; shard++) {
        CHECK_EQ(torc_service_call(service, shard, add, &one), -ESHUTDOWN);
        CHECK(torc_service_at(service, shard) == NULL);
    }
    torc_service_destroy(service);
    return 0;
}

TEST(service, starts_in_order_and_stops_in_reverse)
{
    CHECK_EQ(run_on(1, use_service), 0);
    check_order(1);
    CHECK_EQ(run_on(2, use_service), 0);
    check_order(2);
    CHECK_EQ(run_on(7, use_service), 0);
    check_order(7);
}

static int fail_to_start(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_service *service = NULL;
    uint64_t start = 0;
    failing_shard = 2;
    CHECK_EQ(torc_service_start(&service, &counters, &start), -EDOM);
    CHECK(service == NULL);
    return 0;
}

TEST(service, failing_start_stops_those_before_it)
{
    CHECK_EQ(run_on(5, fail_to_start), 0);
    check_order(2);
}

/* Each passes the call on to its peer, down to shard 0. */
static int pass_down(void *instance, void *arg)
{
    struct counter *counter = instance;
    if (counter->home == 0)
        return 1;
    int below = torc_service_call(counter->service, counter->home - 1, pass_down, arg);
    return below < 0 ? below : below + 1;
}

static int call_peers(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_service *service;
    uint64_t start = 0;
    CHECK_EQ(torc_service_start(&service, &counters, &start), 0);
    CHECK_EQ(torc_service_call(service, torc_shard_count() - 1, pass_down, NULL),
             torc_shard_count());
    CHECK_EQ(torc_service_stop(service), 0);
    torc_service_destroy(service);
    return 0;
}

TEST(service, instances_call_their_peers)
{
    CHECK_EQ(run_on(7, call_peers), 0);
}

static uint32_t entered; /* atomic */
static uint32_t left;    /* atomic */

static int stay_a_while(void *instance, void *arg)
{
    (void)instance;
    __atomic_fetch_add(&entered, 1, __ATOMIC_ACQ_REL);
    int err = torc_sleep(*(const uint64_t *)arg);
    __atomic_fetch_add(&left, 1, __ATOMIC_ACQ_REL);
    return err;
}

struct visitor {
    struct torc_service *service;
    uint64_t stay_ns;
    int result;
};

static int visit_last(void *arg)
{
    struct visitor *visitor = arg;
    visitor->result = torc_service_call(visitor->service, torc_shard_count() - 1, stay_a_while,
                                        &visitor->stay_ns);
    return 0;
}

static struct visitor visitor;

static int start_with_visitor(struct torc_scope *scope, uint64_t stay_ns)
{
    uint64_t start = 0;
    entered = left = 0;
    torc_scope_init(scope);
    CHECK_EQ(torc_service_start(&visitor.service, &counters, &start), 0);
    visitor.stay_ns = stay_ns;
    visitor.result = 1;
    CHECK_EQ(torc_spawn(scope, visit_last, &visitor), 0);
    while (!__atomic_load_n(&entered, __ATOMIC_ACQUIRE))
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
    return 0;
}

static int stop_under_a_call(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_scope scope;
    CHECK_EQ(start_with_visitor(&scope, 5 * TORC_MS), 0);
    CHECK_EQ(torc_service_stop(visitor.service), 0);
    CHECK_EQ(__atomic_load_n(&left, __ATOMIC_ACQUIRE), 1); /* it was waited for */
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(visitor.result, 0);
    torc_service_destroy(visitor.service);
    return 0;
}

TEST(service, stop_waits_for_calls)
{
    CHECK_EQ(run_on(3, stop_under_a_call), 0);
    check_order(3);
}

static int stop_with_deadline(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_scope scope;
    CHECK_EQ(start_with_visitor(&scope, 1000 * TORC_SEC), 0);
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 2 * TORC_MS);
    CHECK_EQ(torc_service_stop(visitor.service), -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(visitor.result, -ECANCELED);
    torc_service_destroy(visitor.service);
    return 0;
}

TEST(service, stop_that_is_interrupted_cancels_calls_and_stops_all)
{
    CHECK_EQ(run_on(3, stop_with_deadline), 0);
    check_order(3);
}

/* The starter is cancelled; the other shards refuse calls long before it stops the service. */
static int stop_on_shutdown(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_service *service;
    uint64_t start = 0;
    CHECK_EQ(torc_service_start(&service, &counters, &start), 0);
    torc_shutdown();
    CHECK_EQ(torc_sleep(1000 * TORC_SEC), -ECANCELED);
    struct torc_mask mask;
    torc_mask_enter(&mask);
    CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    torc_mask_leave(&mask);
    CHECK_EQ(torc_service_stop(service), -ECANCELED);
    torc_service_destroy(service);
    return 0;
}

TEST(service, stops_in_order_on_a_shutdown)
{
    CHECK_EQ(run_on(7, stop_on_shutdown), 0);
    check_order(7);
}

static struct torc_task starter; /* shard 0's */

static int cancel_starter(void *arg)
{
    (void)arg;
    torc_task_cancel(&starter);
    return 0;
}

static int start_slowly(void *instance, struct torc_service *service, void *arg)
{
    int err = start_counter(instance, service, arg);
    if (err || torc_shard_id() != torc_shard_count() - 1)
        return err;
    history.count--; /* it does not come so far */
    CHECK_EQ(torc_post(0, cancel_starter, NULL), 0);
    return torc_sleep(1000 * TORC_SEC);
}

static int start_and_be_cancelled(void *arg)
{
    (void)arg;
    static const struct torc_service_type slow = {
        .size_bytes = sizeof(struct counter), .start = start_slowly, .stop = stop_counter};
    struct torc_service *service;
    uint64_t start = 0;
    CHECK_EQ(torc_service_start(&service, &slow, &start), -ECANCELED);
    return 0;
}

static int cancel_a_start(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &starter},
                             start_and_be_cancelled, NULL),
             0);
    return torc_scope_join(&scope);
}

TEST(service, start_that_is_interrupted_stops_those_before_it)
{
    CHECK_EQ(run_on(1, cancel_a_start), 0);
    CHECK_EQ(run_on(4, cancel_a_start), 0);
    check_order(3);
}
