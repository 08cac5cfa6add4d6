/* SPDX-License-Identifier: MIT
 *
 * Meshes of channels between all shards, and broadcasts: joining, floods, closing, failures. On as many shards as
 * TORC_SHARDS says, else on 1, 2, 7 and 24.
 */
#include "tests/fault_kernel.h"
#include "tests/harness.h"

#include "core/random_internal.h"
#include "shard/shard_internal.h"
#include "torc.h"

enum { VALUES = 300, SHARDS_MOST = 64 };

struct value {
    uint32_t from, number;
};
TORC_XCHAN(values, struct value);

static struct torc_fabric fabric;
static uint32_t expected[SHARDS_MOST][SHARDS_MOST]; /* by receiver, sender */
static uint32_t received[SHARDS_MOST];

static void run_on(uint32_t shards, torc_task_fn *main)
{
    memset(expected, 0, sizeof expected);
    memset(received, 0, sizeof received);
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    struct torc_config config = {
        .shards = shards, .kernel = &fault.kernel, .no_stall_report = true};
    CHECK_EQ(torc_run(&config, main, NULL), 0);
    fault_kernel_check_clean(&fault);
}

static void run_all(const struct torc_fabric *given, torc_task_fn *main)
{
    static const uint32_t sizes[] = {1, 2, 7, 24};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++) {
        fabric = *given;
        run_on(getenv("TORC_SHARDS") ? 0 : sizes[i], main);
    }
}

/* ---- everyone to everyone ---- */

static int send_to_all(void *arg)
{
    struct torc_fabric_node *node = (struct torc_fabric_node *)arg;
    struct torci_random random;
    torci_random_seed(&random, torc_shard_id());
    for (uint32_t i = 0; i < VALUES; i++) {
        struct value value = {torc_shard_id(), i};
        if (i % 2)
            CHECK_EQ(torc_fabric_send_all(node, &value, NULL), 0);
        else
            for (uint32_t to = 0; to < torc_shard_count(); to++)
                if (node->to[to])
                    CHECK_EQ(values_send(node->to[to], &value), 0);
        if (torci_random_below(&random, 32) == 0)
            torc_yield();
    }
    for (uint32_t to = 0; to < torc_shard_count(); to++)
        if (node->to[to]) {
            torc_xchan_close_sender(node->to[to]);
            node->to[to] = NULL;
        }
    return 0;
}

static void recv_from_all(struct torc_fabric_node *node, uint32_t senders)
{
    uint32_t id = torc_shard_id();
    int err;
    do {
        struct value value;
        uint32_t from;
        err = torc_fabric_recv(node, &value, &from);
        if (err)
            break;
        CHECK_EQ(value.from, from);
        CHECK_EQ(value.number, expected[id][from]);
        expected[id][from]++;
        received[id]++;
    } while (!err);
    CHECK_EQ(err, -EPIPE);
    CHECK_EQ(received[id], senders * VALUES);
}

static int flood(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    struct torc_scope all;
    torc_scope_init(&all);
    CHECK_EQ(torc_fabric_join(&fabric, &node), 0);
    for (uint32_t id = 0; id < torc_shard_count(); id++) {
        CHECK_EQ(node.to[id] != NULL, id != torc_shard_id());
        CHECK_EQ(node.from[id] != NULL, id != torc_shard_id());
    }
    CHECK_EQ(torc_spawn(&all, send_to_all, &node), 0);
    recv_from_all(&node, torc_shard_count() - 1);
    CHECK_EQ(torc_scope_join(&all), 0);
    torc_fabric_leave(&node);
    /* The meeting is over for all, and its memory has gone. */
    while (__atomic_load_n(&fabric.meeting, __ATOMIC_ACQUIRE))
        CHECK_EQ(torc_sleep(50 * TORC_US), 0);
    return 0;
}

TEST(shard_fabric, flood_of_the_full_mesh_arrives_in_order)
{
    run_all(&(struct torc_fabric){.value_bytes = sizeof(struct value), .capacity = 8}, flood);
    run_all(&(struct torc_fabric){.value_bytes = sizeof(struct value), .capacity = 200}, flood);
}

/* ---- broadcast ---- */

static int broadcast(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    struct torc_scope all;
    torc_scope_init(&all);
    bool sends = fabric.sender == torc_shard_id();
    CHECK_EQ(torc_fabric_join(&fabric, &node), 0);
    for (uint32_t id = 0; id < torc_shard_count(); id++) {
        CHECK_EQ(node.to[id] != NULL, sends);
        CHECK_EQ(node.from[id] != NULL, id == fabric.sender);
    }
    if (sends)
        CHECK_EQ(torc_spawn(&all, send_to_all, &node), 0);
    recv_from_all(&node, 1);
    CHECK_EQ(torc_scope_join(&all), 0);
    torc_fabric_leave(&node);
    return 0;
}

TEST(shard_fabric, broadcast_reaches_every_shard)
{
    run_all(&(struct torc_fabric){.value_bytes = sizeof(struct value),
                                  .capacity = 16,
                                  .broadcast = true},
            broadcast);
}

static int sender_is_not_there(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    CHECK_EQ(torc_fabric_join(&fabric, &node), -EINVAL);
    return 0;
}

TEST(shard_fabric, broadcast_needs_a_sender_that_exists)
{
    run_all(
        &(struct torc_fabric){
            .value_bytes = sizeof(struct value), .capacity = 16, .broadcast = true, .sender = 1000},
        sender_is_not_there);
}

/* ---- receivers that leave ---- */

static int leave_at_once(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    CHECK_EQ(torc_fabric_join(&fabric, &node), 0);
    struct value value = {0, 0};
    if (torc_shard_id()) {
        torc_fabric_leave(&node);
        return 0;
    }
    int err;
    do
        err = torc_fabric_send_all(&node, &value, NULL);
    while (!err && torc_shard_count() > 1);
    CHECK_EQ(err, torc_shard_count() > 1 ? -EPIPE : 0);
    CHECK_EQ(torc_fabric_recv(&node, &value, NULL), -EPIPE);
    CHECK_EQ(torc_fabric_try_recv(&node, &value, NULL), -EPIPE);
    torc_fabric_leave(&node);
    return 0;
}

TEST(shard_fabric, shards_that_have_left_are_passed_over)
{
    run_all(&(struct torc_fabric){.value_bytes = sizeof(struct value), .capacity = 8},
            leave_at_once);
}

static bool may_leave; /* atomic */

static int all_but_one_leave(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    struct value value = {0, 0};
    CHECK_EQ(torc_fabric_join(&fabric, &node), 0);
    if (torc_shard_id() == 1) {
        CHECK_EQ(torc_fabric_recv(&node, &value, NULL), 0);
        while (!__atomic_load_n(&may_leave, __ATOMIC_ACQUIRE))
            CHECK_EQ(torc_sleep(50 * TORC_US), 0);
    }
    if (torc_shard_id() == 0) {
        uint32_t sent;
        while (torc_xchan_send(node.to[2], &value) != -EPIPE)
            torc_yield();
        CHECK_EQ(torc_fabric_send_all(&node, &value, &sent), 0);
        CHECK_EQ(sent, 2);
        __atomic_store_n(&may_leave, true, __ATOMIC_RELEASE);
    }
    torc_fabric_leave(&node);
    return 0;
}

TEST(shard_fabric, one_shard_that_is_left_still_gets_it)
{
    fabric = (struct torc_fabric){.value_bytes = sizeof(struct value), .capacity = 8};
    run_on(3, all_but_one_leave);
}

/* ---- joins that fail ---- */

static int one_has_no_memory(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    bool full = torc_shard_id() == 0; /* most of its arena is taken, though none of it touched */
    if (full)
        CHECK_EQ(torc_xchan_open(4096, 90000, &receiver, &sender), 0);
    CHECK_EQ(torc_fabric_join(&fabric, &node), full ? -ENOMEM : -EPIPE);
    if (full) {
        torc_xchan_close_sender(sender);
        torc_xchan_close_receiver(receiver);
    }
    return 0;
}

TEST(shard_fabric, failure_of_one_is_the_failure_of_all)
{
    fabric = (struct torc_fabric){.value_bytes = 4096, .capacity = 65536};
    struct torc_config config = {.shards = 2, .arena_bytes = UINT64_C(1) << 30};
    CHECK_EQ(torc_run(&config, one_has_no_memory, NULL), 0);
}

static int fail_on_one(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    struct torc_deadline deadline;
    /* the first shard is late: the others have given up by then, or some of them */
    if (torc_shard_id() == 0) {
        CHECK_EQ(torc_sleep(200 * TORC_US), 0);
        int err = torc_fabric_join(&fabric, &node);
        CHECK(err == -EPIPE || !err);
        if (!err)
            torc_fabric_leave(&node);
        return 0;
    }
    torc_deadline_enter(&deadline, 100 * TORC_US * torc_shard_id());
    int err = torc_fabric_join(&fabric, &node);
    (void)torc_deadline_leave(&deadline);
    CHECK(err == -ETIMEDOUT || err == -EPIPE || !err);
    if (!err)
        torc_fabric_leave(&node);
    return 0;
}

TEST(shard_fabric, interrupted_join_fails_for_all_or_for_none)
{
    for (unsigned i = 0; i < 5; i++)
        run_all(&(struct torc_fabric){.value_bytes = sizeof(struct value), .capacity = 8},
                fail_on_one);
}

static int values_too_large(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    int err = torc_fabric_join(&fabric, &node);
    CHECK_EQ(err, torc_shard_count() > 1 ? -EINVAL : 0);
    if (!err)
        torc_fabric_leave(&node);
    return 0;
}

TEST(shard_fabric, fabric_out_of_range_is_refused)
{
    run_all(&(struct torc_fabric){.value_bytes = TORC_XCHAN_VALUE_MAX + 1, .capacity = 8},
            values_too_large);
}
