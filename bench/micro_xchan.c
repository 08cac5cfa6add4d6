/* SPDX-License-Identifier: MIT
 *
 * torc-micro's benchmark of channels between shards: 64-byte messages one way, each written and read word by word, in
 * rounds as short as the other side by side runs (bench/peers), since the host moves the two CPUs about.
 */
#include <stdio.h>

#include "bench/micro.h"

enum { CAPACITY = 1024, ROUNDS = 5 };

static struct {
    struct torc_xsender *sender;
    struct torc_event opened;
    double ns;
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

static int send_all(void)
{
    /* shared memory in place of a call, which has a benchmark of its own */
    struct torc_xsender *sender;
    while (!(sender = __atomic_load_n(&xchan.sender, __ATOMIC_ACQUIRE)))
        torc_yield();
    uint64_t count = messages_wanted();
    int err = 0;
    for (uint64_t i = 0; i < count && !err; i++) {
        struct message message;
        for (unsigned w = 0; w < 8; w++)
            message.word[w] = i + w;
        err = messages_send(sender, &message);
    }
    torc_xchan_close_sender(sender);
    return err;
}

static int recv_all(void)
{
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    int err = messages_open(CAPACITY, &receiver, &sender);
    if (err)
        micro_die("xchan", err);
    struct message message;
    uint64_t count = 1, sum = 0;
    __atomic_store_n(&xchan.sender, sender, __ATOMIC_RELEASE);
    err = messages_recv(receiver, &message);
    if (err)
        micro_die("xchan", err);
    uint64_t began = torc_now_ns();
    while (!(err = messages_recv(receiver, &message))) {
        sum += message.word[0];
        count++;
    }
    double ns = (double)(torc_now_ns() - began) / (double)count;
    torc_xchan_close_receiver(receiver);
    if (count != messages_wanted())
        micro_die("xchan lost messages", err);
    xchan.ns = xchan.ns && xchan.ns < ns ? xchan.ns : ns;
    xchan.sum = sum;
    return 0;
}

static int shard_main(void *arg)
{
    (void)arg;
    return torc_shard_id() ? recv_all() : send_all();
}

void micro_xchan(void)
{
    struct torc_config config = {
        .shards = 2, .cpus = micro.cpus, .spin_ns = 100 * TORC_US, .no_stall_report = true};
    for (unsigned round = 0; round < ROUNDS; round++) {
        __atomic_store_n(&xchan.sender, NULL, __ATOMIC_RELEASE);
        int err = torc_run(&config, shard_main, NULL);
        if (err)
            micro_die("torc_run", err);
    }
    printf("{\"bench\":\"xchan\",\"bytes\":64,\"ns\":%.2f,\"millions_per_s\":%.1f}\n", xchan.ns,
           1e3 / xchan.ns);
}
