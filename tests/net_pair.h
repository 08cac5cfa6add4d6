/* SPDX-License-Identifier: MIT
 *
 * For tests of streams: a stream and, as its peer, a plain socket that the test drives by itself, on kernels with and
 * without buffer rings, with a descriptor and with a direct one; and a check that the room has everything back.
 *
 *     static int body(enum net_kind kind) { struct net_pair pair; net_pair_open(&pair, kind); … net_pair_close(&pair); }
 *     NET_TEST(stream, does_this, body)        // over TCP and a Unix socket, in each kernel
 */
#ifndef TORC_TESTS_NET_PAIR_H
#define TORC_TESTS_NET_PAIR_H

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/time.h"
#include "io/abi_internal.h"
#include "net/net_internal.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

enum net_kind { NET_UNIX, NET_TCP, NET_KINDS };
enum net_kernel { NET_KERNEL_NEW, NET_KERNEL_OLD, NET_KERNELS };

/* Streams have no descriptor of the process. */
static bool net_direct;

struct net_pair {
    struct torc_stream stream;
    int peer; /* does not block */
};

/* Two connected sockets. */
static inline void net_sockets(enum net_kind kind, int ends[2])
{
    if (kind == NET_UNIX) {
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        return;
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(ends[0], (struct sockaddr *)&at, sizeof at), 0);
    ends[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(ends[1] >= 0);
    close(listener);
}

static inline void net_pair_open(struct net_pair *pair, enum net_kind kind)
{
    int ends[2];
    net_sockets(kind, ends);
    pair->peer = ends[1];
    if (net_direct) {
        struct torci_net *net;
        CHECK_EQ(torci_net_get(&net), 0);
        CHECK_EQ(torci_slots_share(net->io), 0);
        int slot = torci_make_direct(net, ends[0]);
        CHECK(slot >= 0);
        CHECK_EQ(torci_stream_open(&pair->stream, slot, true), 0);
    } else {
        CHECK_EQ(torc_stream_adopt(&pair->stream, ends[0]), 0);
    }
}

static inline void net_pair_close(struct net_pair *pair)
{
    torc_stream_close(&pair->stream);
    if (pair->peer >= 0)
        close(pair->peer);
}

static inline void net_peer_close(struct net_pair *pair)
{
    close(pair->peer);
    pair->peer = -1;
}

/* Of TCP: the other side gets a reset. */
static inline void net_peer_reset(struct net_pair *pair)
{
    const struct linger reset = {.l_onoff = 1};
    CHECK_EQ(setsockopt(pair->peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    net_peer_close(pair);
}

/* All SIZE bytes; the task sleeps while the socket is full. */
static inline void net_peer_send(const struct net_pair *pair, const void *memory, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(pair->peer, (const char *)memory + done, size - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            CHECK(torc_poll_fd(pair->peer, TORC_WRITABLE) > 0);
        else
            CHECK(n > 0);
        done += n > 0 ? (size_t)n : 0;
    }
}

/* Up to SIZE bytes, fewer only at the end. */
static inline size_t net_peer_receive(const struct net_pair *pair, void *memory, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = recv(pair->peer, (char *)memory + done, size - done, 0);
        if (n == 0)
            break;
        if (n < 0 && errno == EAGAIN)
            CHECK(torc_poll_fd(pair->peer, TORC_READABLE) > 0);
        else
            CHECK(n > 0);
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

static inline void net_peer_expect(const struct net_pair *pair, const char *text)
{
    char got[256];
    CHECK(strlen(text) < sizeof got);
    CHECK_EQ(net_peer_receive(pair, got, strlen(text)), strlen(text));
    CHECK_EQ(memcmp(got, text, strlen(text)), 0);
}

/* Lets what has come be taken by an armed receive: a turn of the loop or two. */
static inline void net_turns(void)
{
    for (int i = 0; i < 4; i++)
        CHECK_EQ(ring_nop(), 0);
}

/* Waits until SIZE bytes can be read without waiting. */
static inline void net_wait_available(const struct torc_stream *stream, size_t size)
{
    while (torc_stream_available(stream) < size)
        CHECK_EQ(torc_sleep(20 * TORC_US), 0);
}

static inline struct torci_net *net_room(void)
{
    return (struct torci_net *)torci_io_this()->traffic.net;
}

/* Every chunk is free or lent to the kernel, and nobody stands in a line. */
static inline void net_check_back(void)
{
    const struct torci_net *net = net_room();
    if (!net)
        return;
    CHECK_EQ(net->free_count + net->held - net->held_small, net->count);
    if (net->small_memory)
        CHECK_EQ(net->small_free_count + net->held_small, net->count * TORCI_SMALL_CHUNKS);
    CHECK_EQ(net->io->traffic.live, 0);
    CHECK(torci_list_is_empty(&net->dirty) && torci_list_is_empty(&net->queued));
    CHECK(torci_list_is_empty(&net->starved) && torci_list_is_empty(&net->crowded));
    CHECK(torci_list_is_empty(&net->armed));
}

/* Bytes that tell where they belong. */
static inline char net_byte(uint64_t at)
{
    return (char)(at * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static inline void net_fill(char *memory, size_t size, uint64_t at)
{
    for (size_t i = 0; i < size; i++)
        memory[i] = net_byte(at + i);
}

static inline void net_check_bytes(const char *memory, size_t size, uint64_t at)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != net_byte(at + i))
            TEST_FAIL("byte %llu is wrong", (unsigned long long)(at + i));
}

struct net_run {
    int (*body)(enum net_kind kind);
    enum net_kind kind;
};

static inline int net_run_main(void *arg)
{
    const struct net_run *run = (const struct net_run *)arg;
    unsigned files = ring_open_descriptors();
    int result = run->body(run->kind);
    net_check_back();
    CHECK_EQ(ring_open_descriptors(), files);
    return result;
}

static inline int net_no_rings(void *context, int ring, unsigned opcode, void *arg, unsigned count)
{
    if ((opcode & INT32_MAX) == IORING_REGISTER_PBUF_RING)
        return -EINVAL;
    return fault_ring_register(context, ring, opcode, arg, count);
}

static inline void net_old_kernel(struct fault_kernel *fault)
{
    fault->kernel.ring_register = net_no_rings;
    fault->features_hidden = TORCI_FEATURE_MIN_WAIT;
}

static inline void net_test(int (*body)(enum net_kind kind), struct torc_config config)
{
    for (int way = 0; way < 2 * NET_KERNELS; way++)
        for (int kind = 0; kind < NET_KINDS; kind++) {
            struct fault_kernel fault;
            struct net_run run = {body, (enum net_kind)kind};
            fault_kernel_init(&fault);
            net_direct = way >= NET_KERNELS;
            if (way % NET_KERNELS == NET_KERNEL_OLD)
                net_old_kernel(&fault);
            config.kernel = &fault.kernel;
            config.no_stall_report = true;
            CHECK_EQ(run_shard(&config, net_run_main, &run), 0);
            fault_kernel_check_clean(&fault);
        }
}

#define NET_TEST(suite, name, body) \
    TEST(suite, name) \
    { \
        net_test(body, (struct torc_config){0}); \
    }

#endif
