/* SPDX-License-Identifier: MIT
 *
 * A path that is worse than loopback: between two networks of the test's own, with a small MTU, with packets that get
 * lost, over IPv4 and IPv6. Every byte arrives, in order, both ways at the same time.
 */
#include <arpa/inet.h>

#include "tests/net_namespaces.h"
#include "tests/net_pair.h"

enum { BYTES = 1 << 20 };

static int ends[2];

/* One packet in 33 of those that come is dropped, in both networks. */
static bool lose_packets(const struct net_namespaces *both)
{
    bool made = true;
    for (int i = 0; i < 2; i++) {
        net_namespaces_go(i ? both->here : both->there);
        made = made && system("nft 'add table inet torc; add chain inet torc in "
                              "{ type filter hook input priority 0; }; add rule inet torc in "
                              "numgen random mod 33 < 1 drop' 2>/dev/null") == 0;
    }
    return made;
}

/* A connection from here to there. */
static void connect_across(const struct net_namespaces *both, int family)
{
    struct sockaddr_storage at = {.ss_family = (sa_family_t)family};
    struct sockaddr_in *four = (struct sockaddr_in *)&at;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&at;
    socklen_t size = family == AF_INET ? sizeof *four : sizeof *six;
    CHECK_EQ(family == AF_INET ? inet_pton(family, "10.9.0.2", &four->sin_addr)
                               : inet_pton(family, "fd09::2", &six->sin6_addr),
             1);
    net_namespaces_go(both->there);
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&at, size), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    net_namespaces_go(both->here);
    ends[0] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(ends[0], (struct sockaddr *)&at, size), 0);
    ends[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(ends[1] >= 0);
    close(listener);
}

static int peer_sends(void *arg)
{
    const struct net_pair *pair = (const struct net_pair *)arg;
    static char block[20000];
    for (size_t at = 0; at < BYTES;) {
        size_t size = BYTES - at < sizeof block ? BYTES - at : sizeof block;
        net_fill(block, size, at);
        net_peer_send(pair, block, size);
        at += size;
    }
    CHECK_EQ(shutdown(pair->peer, SHUT_WR), 0);
    return 0;
}

static int peer_takes(void *arg)
{
    const struct net_pair *pair = (const struct net_pair *)arg;
    static char got[BYTES + 1];
    CHECK_EQ(net_peer_receive(pair, got, BYTES + 1), BYTES);
    net_check_bytes(got, BYTES, 0);
    return 0;
}

static int we_send(void *arg)
{
    struct net_pair *pair = (struct net_pair *)arg;
    static char block[BYTES];
    net_fill(block, BYTES, 0);
    for (size_t at = 0, size = 1; at < BYTES; at += size, size = size * 3 % 50000 + 1) {
        size = size < BYTES - at ? size : BYTES - at;
        CHECK_EQ(torc_stream_write_all(&pair->stream, block + at, size), size);
    }
    CHECK_EQ(torc_stream_end(&pair->stream), 0);
    return 0;
}

static int both_ways(void *arg)
{
    struct net_pair pair = {.peer = ends[1]};
    struct torc_scope scope;
    const void *data;
    size_t at = 0;
    ssize_t n;
    (void)arg;
    CHECK_EQ(torc_stream_adopt(&pair.stream, ends[0]), 0);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, peer_sends, &pair), 0);
    CHECK_EQ(torc_spawn(&scope, peer_takes, &pair), 0);
    CHECK_EQ(torc_spawn(&scope, we_send, &pair), 0);
    while ((n = torc_stream_peek(&pair.stream, &data)) > 0) {
        net_check_bytes((const char *)data, (size_t)n, at);
        torc_stream_consume(&pair.stream, (size_t)n);
        at += (size_t)n;
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(at, BYTES);
    CHECK_EQ(torc_scope_join(&scope), 0);
    net_pair_close(&pair);
    net_check_back();
    return 0;
}

static void carry(const struct net_namespaces *both)
{
    static const int families[] = {AF_INET, AF_INET6};
    for (unsigned i = 0; i < 2; i++) {
        struct fault_kernel fault;
        fault_kernel_init(&fault);
        struct torc_config config = {.kernel = &fault.kernel, .no_stall_report = true};
        connect_across(both, families[i]);
        CHECK_EQ(run_shard(&config, both_ways, NULL), 0);
        fault_kernel_check_clean(&fault);
    }
}

TEST(path, all_arrives_through_small_packets)
{
    struct net_namespaces both;
    net_namespaces_make(&both);
    CHECK(net_ip("link set here mtu 1280")); /* the least that IPv6 has */
    net_namespaces_go(both.there);
    CHECK(net_ip("link set there mtu 1280"));
    carry(&both);
}

TEST(path, all_arrives_although_packets_get_lost)
{
    struct net_namespaces both;
    net_namespaces_make(&both);
    if (!lose_packets(&both))
        TEST_SKIP("no nft, or it may not drop packets here");
    carry(&both);
}
