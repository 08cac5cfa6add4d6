/* SPDX-License-Identifier: MIT
 *
 * torc-micro's benchmark of channels between shards: 64-byte messages one way, each written and read word by word, in
 * rounds as short as the other side by side runs (bench/peers), since the host moves the two CPUs about.
 */
#include <errno.h>
#include <stdio.h>

#include "bench/micro.h"

enum { CAPACITY = 1024, ROUNDS = 5 };

static struct {
    struct torc_xsender *sender; /* atomic */
    bool copies;
    double ns; /* the best round's, a message */
    uint64_t sum;
} xchan;

struct message {
    uint64_t word[8];
};
TORC_XCHAN(messages, struct message);

static uint64_t messages_wanted(void)
{
    return (uint64_t)(micro.seconds * 2e7);
}

static int send_in_place(struct torc_xsender *sender, uint64_t count)
{
    for (uint64_t i = 0; i < count;) {
        struct message *slots;
        int room = messages_reserve(sender, &slots);
        if (room < 0)
            return room;
        uint32_t some = (uint64_t)room < count - i ? (uint32_t)room : (uint32_t)(count - i);
        for (uint32_t k = 0; k < some; k++, i++)
            for (unsigned w = 0; w < 8; w++)
                slots[k].word[w] = i + w;
        torc_xchan_commit(sender, some);
    }
    return 0;
}

static int send_copies(struct torc_xsender *sender, uint64_t count)
{
    int err = 0;
    for (uint64_t i = 0; i < count && !err; i++) {
        struct message message = {{i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7}};
        err = messages_send(sender, &message);
    }
    return err;
}

static int send_all(void)
{
    /* shared memory in place of a call, which has a benchmark of its own */
    struct torc_xsender *sender;
    while (!(sender = __atomic_load_n(&xchan.sender, __ATOMIC_ACQUIRE)))
        torc_yield();
    uint64_t count = messages_wanted();
    int err = xchan.copies ? send_copies(sender, count) : send_in_place(sender, count);
    torc_xchan_close_sender(sender);
    return err;
}

static uint64_t recv_in_place(struct torc_xreceiver *receiver)
{
    const struct message *values;
    uint64_t count = 0;
    int some;
    while ((some = messages_peek(receiver, &values)) > 0) {
        for (int k = 0; k < some; k++)
            xchan.sum += values[k].word[0];
        torc_xchan_release(receiver, (uint32_t)some);
        count += (uint64_t)some;
    }
    return count;
}

static uint64_t recv_copies(struct torc_xreceiver *receiver)
{
    struct message message;
    uint64_t count = 0, sum = 0;
    while (!messages_recv(receiver, &message)) {
        sum += message.word[0];
        count++;
    }
    xchan.sum += sum;
    return count;
}

static int recv_all(void)
{
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    struct message message;
    int err = messages_open(CAPACITY, &receiver, &sender);
    __atomic_store_n(&xchan.sender, sender, __ATOMIC_RELEASE);
    if (!err)
        err = messages_recv(receiver, &message);
    if (err)
        return err;
    uint64_t began = torc_now_ns();
    uint64_t count = 1 + (xchan.copies ? recv_copies(receiver) : recv_in_place(receiver));
    double ns = (double)(torc_now_ns() - began) / (double)count;
    torc_xchan_close_receiver(receiver);
    xchan.ns = xchan.ns < ns ? xchan.ns : ns;
    return count == messages_wanted() ? 0 : -EPROTO;
}

static int shard_main(void *arg)
{
    (void)arg;
    return torc_shard_id() ? recv_all() : send_all();
}

static void measure(const char *name, bool copies)
{
    struct torc_config config = {
        .shards = 2, .cpus = micro.cpus, .spin_ns = 100 * TORC_US, .no_stall_report = true};
    xchan.ns = 1e30;
    xchan.copies = copies;
    for (unsigned round = 0; round < ROUNDS; round++) {
        __atomic_store_n(&xchan.sender, NULL, __ATOMIC_RELEASE);
        int err = torc_run(&config, shard_main, NULL);
        if (err)
            micro_die(name, err);
    }
    printf("{\"bench\":\"%s\",\"bytes\":64,\"ns\":%.2f,\"millions_per_s\":%.1f}\n", name, xchan.ns,
           1e3 / xchan.ns);
}

void micro_xchan(void)
{
    measure("xchan", false);
}

void micro_xchan_copy(void)
{
    measure("xchan_copy", true);
}
