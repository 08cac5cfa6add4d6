/* SPDX-License-Identifier: MIT
 *
 * Datagrams that need a network: multicast from one machine to another, and paths with an MTU.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/net_datagrams.h"
#include "tests/net_namespaces.h"

static struct net_namespaces both;

static void open_in(int namespace_fd, struct torc_datagram *datagram, const char *address,
                    const struct torc_datagram_options *options)
{
    net_namespaces_go(namespace_fd);
    CHECK_EQ(torc_datagram_open(datagram, address, options), 0);
    net_namespaces_go(both.here);
}

static void run_in_two(torc_task_fn *main, void *arg)
{
    net_namespaces_make(&both);
    setup();
    CHECK_EQ(run_first(&config, main, arg), 0); /* on the thread that may change its network */
    fault_kernel_check_clean(&fault);
}

static struct torc_address address_of(const char *text, uint16_t port)
{
    struct torc_address address;
    CHECK_EQ(torc_address_parse(text, &address), 0);
    torc_address_set_port(&address, port);
    return address;
}

/* ---- multicast ---- */

struct family {
    const char *any, *group, *other;
};

static const struct family v4 = {"udp://0.0.0.0:0", "udp://239.1.2.3:0", "udp://239.1.2.4:0"};
static const struct family v6 = {"udp://[::]:0", "udp://[ff15::1]:0", "udp://[ff15::2]:0"};
/* IPv4 groups on a socket for both */
static const struct family mixed = {"udp://[::]:0", "udp://239.1.2.3:0", "udp://239.1.2.4:0"};

static int groups(void *arg)
{
    const struct family *family = arg;
    struct torc_datagram sender, listener;
    const struct torc_datagram_options few = {.socket = {.hops = 1}};
    open_in(both.here, &sender, family->any, &few);
    open_in(both.there, &listener, family->any, NULL);
    uint16_t port = torc_address_port(torc_datagram_address(&listener));
    struct torc_address group = address_of(family->group, port);
    struct torc_address other = address_of(family->other, port), from;
    CHECK_EQ(torc_datagram_multicast(&sender, "here", true), 0);

    send_number(&sender, 1, &group);
    CHECK_EQ(receive_for(&listener, 20 * TORC_MS), -ETIMEDOUT); /* it has not joined */
    CHECK_EQ(torc_datagram_join(&listener, family->group, "there"), 0);
    CHECK_EQ(torc_datagram_join(&listener, family->group, "there"), -EADDRINUSE);
    send_number(&sender, 2, &other);
    send_number(&sender, 3, &group);
    uint32_t number = 0;
    CHECK_EQ(torc_datagram_receive(&listener, &number, 4, &from), 4);
    CHECK_EQ(number, 3);
    send_number(&listener, 4, &from); /* answered to the sender alone */
    CHECK_EQ(receive_number(&sender), 4);
    CHECK_EQ(torc_datagram_join(&listener, family->other, "there"), 0);
    send_number(&sender, 5, &other);
    CHECK_EQ(receive_number(&listener), 5);
    CHECK_EQ(torc_datagram_leave(&listener, family->group, "there"), 0);
    CHECK_EQ(torc_datagram_leave(&listener, family->group, "there"), -EADDRNOTAVAIL);
    send_number(&sender, 6, &group);
    send_number(&sender, 7, &other);
    CHECK_EQ(receive_number(&listener), 7);
    torc_datagram_close(&sender);
    torc_datagram_close(&listener);
    return 0;
}

TEST(multicast, groups_are_heard_by_who_has_joined)
{
    run_in_two(groups, (void *)&v4);
}

TEST(multicast, ipv6_groups_are_heard_by_who_has_joined)
{
    run_in_two(groups, (void *)&v6);
}

TEST(multicast, ipv4_groups_are_heard_on_sockets_for_both_families)
{
    run_in_two(groups, (void *)&mixed);
}

static int one_machine(void *arg)
{
    const struct family *family = arg;
    struct torc_datagram sender, one, two;
    const struct torc_datagram_options shared = {.socket = {.reuse_port = true}};
    char text[TORC_ADDRESS_TEXT_MAX];
    open_in(both.here, &one, family->any, &shared);
    uint16_t port = torc_address_port(torc_datagram_address(&one));
    open_in(both.here, &two, torc_address_format(torc_datagram_address(&one), text), &shared);
    open_in(both.here, &sender, family->any, NULL);
    struct torc_address group = address_of(family->group, port);
    struct torc_address other = address_of(family->other, port);
    CHECK_EQ(torc_datagram_join(&one, family->group, "here"), 0);
    CHECK_EQ(torc_datagram_join(&two, family->other, "here"), 0);
    CHECK_EQ(torc_datagram_multicast(&sender, "here", true), 0);
    send_number(&sender, 1, &group);
    send_number(&sender, 2, &other);
    CHECK_EQ(receive_number(&one), 1); /* each hears its own group, though the port is one */
    CHECK_EQ(receive_number(&two), 2);
    CHECK_EQ(receive_for(&one, TORC_MS), -ETIMEDOUT);
    CHECK_EQ(receive_for(&two, TORC_MS), -ETIMEDOUT);
    CHECK_EQ(torc_datagram_join(&two, family->group, "here"), 0);
    send_number(&sender, 3, &group);
    CHECK_EQ(receive_number(&one), 3); /* and both of them one that both have joined */
    CHECK_EQ(receive_number(&two), 3);
    CHECK_EQ(torc_datagram_multicast(&sender, "here", false), 0);
    send_number(&sender, 4, &group);
    CHECK_EQ(receive_for(&one, TORC_MS), -ETIMEDOUT); /* no loop */
    torc_datagram_close(&sender);
    torc_datagram_close(&one);
    torc_datagram_close(&two);
    return 0;
}

TEST(multicast, listeners_of_one_port_hear_their_own_groups)
{
    run_in_two(one_machine, (void *)&v4);
}

TEST(multicast, listeners_of_one_port_hear_their_own_ipv6_groups)
{
    run_in_two(one_machine, (void *)&v6);
}

/* Whether the thread's network knows of INTERFACE being in GROUP, as the kernel writes it. */
static bool is_member(const char *interface, const char *group)
{
    char line[256];
    bool found = false;
    FILE *file = fopen("/proc/thread-self/net/igmp6", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        found |= strstr(line, interface) && strstr(line, group);
    fclose(file);
    return found;
}

static int interfaces(void *arg)
{
    struct torc_datagram sender, listener;
    (void)arg;
    open_in(both.here, &sender, "udp://0.0.0.0:0", NULL);
    open_in(both.there, &listener, "udp://0.0.0.0:0", NULL);
    uint16_t port = torc_address_port(torc_datagram_address(&listener));
    struct torc_address group = address_of("udp://239.1.2.3:0", port);
    CHECK_EQ(torc_datagram_join(&listener, "udp://239.1.2.3:0", NULL), 0); /* by the route */
    CHECK_EQ(torc_datagram_multicast(&sender, "lo", true), 0);
    send_number(&sender, 1, &group);
    CHECK_EQ(receive_for(&listener, 20 * TORC_MS), -ETIMEDOUT);
    CHECK_EQ(torc_datagram_multicast(&sender, NULL, true), 0);
    send_number(&sender, 2, &group);
    CHECK_EQ(receive_number(&listener), 2);
    torc_datagram_close(&listener);

    /* the scope of an IPv6 group names the interface as well */
    open_in(both.there, &listener, "udp://[::]:0", NULL);
    port = torc_address_port(torc_datagram_address(&listener));
    net_namespaces_go(both.there);
    CHECK_EQ(torc_datagram_join(&listener, "udp://[ff12::7%there]:0", NULL), 0);
    net_namespaces_go(both.here);
    torc_datagram_close(&sender);
    open_in(both.here, &sender, "udp://[fd09::1]:0", NULL);
    group = address_of("udp://[ff12::7%here]:0", port);
    send_number(&sender, 3, &group);
    CHECK_EQ(receive_number(&listener), 3);
    torc_datagram_close(&listener);
    CHECK(net_ip("link add spare type veth peer name unused"));
    CHECK(net_ip("link set spare up"));
    CHECK_EQ(torc_datagram_join(&sender, "udp://[ff12::8%spare]:0", NULL), 0);
    CHECK(is_member("spare", "ff120000000000000000000000000008"));
    CHECK_EQ(torc_datagram_leave(&sender, "udp://[ff12::8%spare]:0", NULL), 0);
    CHECK(!is_member("spare", "ff120000000000000000000000000008"));
    torc_datagram_close(&sender);
    return 0;
}

TEST(multicast, the_interface_is_the_one_that_was_named)
{
    run_in_two(interfaces, NULL);
}

static int wrong_groups(void *arg)
{
    struct torc_datagram four, six, local;
    (void)arg;
    open_at(&four, "udp://127.0.0.1:0");
    open_at(&six, "udp://:0");
    open_at(&local, abstract("wrong"));
    CHECK_EQ(torc_datagram_join(&four, "udp://10.0.0.1:0", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_join(&four, "udp://[ff15::1]:0", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_join(&four, "tcp://239.1.2.3:0", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_join(&four, "udp://group.example:0", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_join(&four, "239.1.2.3", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_join(&four, "udp://239.1.2.3:0", "nowhere"), -ENODEV);
    CHECK_EQ(torc_datagram_join(&four, "udp://239.1.2.3:0", "an-interface-with-a-long-name"),
             -ENODEV);
    CHECK_EQ(torc_datagram_join(&six, "udp://[::1]:0", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_leave(&four, "udp://239.1.2.3:0", "lo"), -EADDRNOTAVAIL);
    CHECK_EQ(torc_datagram_join(&local, "udp://239.1.2.3:0", "lo"), -EINVAL);
    CHECK_EQ(torc_datagram_multicast(&local, NULL, true), -EINVAL);
    CHECK_EQ(torc_datagram_multicast(&four, "nowhere", true), -ENODEV);
    torc_datagram_close(&four);
    torc_datagram_close(&six);
    torc_datagram_close(&local);
    return 0;
}

TEST(multicast, what_is_no_group_is_refused)
{
    run(wrong_groups, NULL);
}

/* ---- a path with an MTU: 1,500 bytes ---- */

static int receive_segments(struct torc_datagram *datagram, size_t size, size_t segment)
{
    static char room[ROOM];
    int count = 0;
    for (size_t at = 0; at < size; at += segment, count++) {
        size_t piece = size - at < segment ? size - at : segment;
        CHECK_EQ(torc_datagram_receive(datagram, room, sizeof room, NULL), piece);
        for (size_t i = 0; i < piece; i++)
            CHECK_EQ(room[i], (char)((at + i) / 100));
    }
    return count;
}

static int over_a_path(void *arg)
{
    struct torc_datagram sender, listener;
    static char text[40000];
    struct torc_message message = {.data = {text, sizeof text}, .segment_bytes = 1400};
    (void)arg;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i / 100);
    const struct torc_datagram_options roomy = {.socket = {.receive_bytes = 1 << 20}};
    open_in(both.there, &listener, "udp://10.9.0.2:0", &roomy);
    char at[TORC_ADDRESS_TEXT_MAX];
    const struct torc_datagram_options options = {
        .connect = torc_address_format(torc_datagram_address(&listener), at)};
    open_in(both.here, &sender, NULL, &options);
    CHECK_EQ(torc_datagram_send_batch(&sender, &message, 1), 1);
    CHECK_EQ(receive_segments(&listener, sizeof text, 1400), 29);
    message.segment_bytes = 3000; /* above the path's: each goes alone, in fragments */
    CHECK_EQ(torc_datagram_send_batch(&sender, &message, 1), 1);
    CHECK_EQ(receive_segments(&listener, sizeof text, 3000), 14);

    int never = IP_PMTUDISC_DO; /* fragment */
    CHECK_EQ(setsockopt(sender.fd, IPPROTO_IP, IP_MTU_DISCOVER, &never, sizeof never), 0);
    CHECK_EQ(torc_datagram_send(&sender, text, 1473, NULL), -EMSGSIZE);
    CHECK_EQ(torc_datagram_send_batch(&sender, &message, 1), -EMSGSIZE);
    CHECK_EQ(torc_datagram_send(&sender, text, 1472, NULL), 1472);
    CHECK_EQ(receive_segments(&listener, 1472, 1472), 1);
    torc_datagram_close(&sender);
    torc_datagram_close(&listener);
    return 0;
}

TEST(multicast, segments_cross_a_path_or_go_in_fragments)
{
    run_in_two(over_a_path, NULL);
}

static int cable_is_pulled(void *arg)
{
    struct torc_datagram sender;
    struct torc_address to;
    (void)arg;
    open_in(both.here, &sender, "udp://10.9.0.1:0", NULL);
    to = address_of("udp://10.8.0.1:0", 9);
    CHECK_EQ(torc_datagram_send(&sender, "x", 1, &to), -ENETUNREACH);
    CHECK(net_ip("link set here down"));
    to = address_of("udp://10.9.0.2:0", 9);
    CHECK_EQ(torc_datagram_send(&sender, "x", 1, &to), -ENETUNREACH);
    CHECK(net_ip("link set here up"));
    CHECK_EQ(torc_datagram_send(&sender, "x", 1, &to), 1);
    torc_datagram_close(&sender);
    return 0;
}

TEST(multicast, without_a_way_there_a_send_says_so)
{
    run_in_two(cable_is_pulled, NULL);
}
