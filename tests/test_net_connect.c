/* SPDX-License-Identifier: MIT
 *
 * Connecting: one address and several, those that refuse, hang or can't be reached, and that nothing is left behind. The
 * names are the test's own; each address of loopback is a host: one that answers, one that refuses, one that hangs.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/time.h"
#include "net/net_internal.h"
#include "shard/run.h"
#include "tests/fault_kernel.h"
#include "tests/net_namespaces.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

/* ---- hosts ---- */

enum { GOOD = 1, REFUSES, HANGS, GOOD_TOO, HANGS_TOO, REFUSES_TOO };
enum { FILLERS = 4 };

static uint16_t port; /* of all of them */
static int good = -1, good_too = -1;
static int fillers[2][FILLERS];

static struct sockaddr_in host_address(int host)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(0x7f000000u + 10u + (unsigned)host)};
}

static int listen_at(int host, int backlog)
{
    struct sockaddr_in in = host_address(host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) || listen(fd, backlog)) {
        close(fd);
        return -EADDRINUSE;
    }
    return fd;
}

/* A listener with a full backlog: SYNs are dropped, as by a packet filter. */
static int hang_at(int host, int filler[FILLERS])
{
    struct sockaddr_in in = host_address(host);
    int fd = listen_at(host, 0);
    if (fd < 0)
        return fd;
    for (int i = 0; i < FILLERS; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(filler[i], (struct sockaddr *)&in, sizeof in);
    }
    struct pollfd first = {.fd = filler[0], .events = POLLOUT};
    CHECK_EQ(poll(&first, 1, -1), 1);
    return fd;
}

/* All with one port, which the kernel chooses for the first. */
static void open_hosts(void)
{
    for (int round = 0; round < 100; round++) {
        port = 0;
        good = listen_at(GOOD, 64);
        CHECK(good >= 0);
        struct sockaddr_in in = {0};
        socklen_t size = sizeof in;
        CHECK_EQ(getsockname(good, (struct sockaddr *)&in, &size), 0);
        port = ntohs(in.sin_port);
        good_too = listen_at(GOOD_TOO, 64);
        if (good_too >= 0 && hang_at(HANGS, fillers[0]) >= 0 && hang_at(HANGS_TOO, fillers[1]) >= 0)
            return;
        close(good);
        close(good_too);
    }
    TEST_FAIL("no port that is free on all addresses");
}

/* A name is a list of hosts, "a" the first; 's' stands for ::1; 'y' and 'z' for the other end of a cable, by IPv6 and IPv4, and
 * 'w' and 'x' for nobody there. */
static int test_lookup(const char *host, struct torci_host_address *found, unsigned max)
{
    unsigned count = 0;
    for (; *host && count < max; host++) {
        if (*host == 's')
            found[count++] = (struct torci_host_address){.is_ipv6 = true, .bytes[15] = 1};
        else if (*host == 'w' || *host == 'y')
            found[count++] = (struct torci_host_address){
                .is_ipv6 = true, .bytes = {0xfd, 9, [15] = *host == 'w' ? 77 : 2}};
        else if (*host == 'x' || *host == 'z')
            found[count++] =
                (struct torci_host_address){.bytes = {10, 9, 0, *host == 'x' ? 77 : 2}};
        else if (*host >= 'a' && *host <= 'h')
            found[count++] =
                (struct torci_host_address){.bytes = {127, 0, 0, (uint8_t)(10 + *host - 'a' + 1)}};
    }
    return count ? (int)count : -ENOENT;
}

static const char *text_of(const char *hosts)
{
    static char text[64];
    snprintf(text, sizeof text, "tcp://%s:%u", hosts, port);
    return text;
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 512; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- running ---- */

static torc_task_fn *body;

/* The state of the room, its resolver's thread and the wake-up are there before descriptors are counted. */
static int prepared(void *arg)
{
    struct torci_net *net;
    struct torc_address address;
    CHECK_EQ(torci_net_get(&net), 0);
    net->resolver.lookup = test_lookup;
    CHECK_EQ(torc_resolve("tcp://abc:1", &address, 1), 1);
    int before = open_descriptors();
    int result = body(arg);
    CHECK_EQ(open_descriptors(), before);
    CHECK_EQ(net->io->traffic.live, 0);
    return result;
}

static int run(torc_task_fn *main, void *arg)
{
    fault_kernel_init(&fault);
    body = main;
    int result = run_shard(&(struct torc_config){.kernel = &fault.kernel}, prepared, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

static struct torc_address peer_of(int fd)
{
    struct torc_address peer = {.transport = TORC_TCP, .length = sizeof peer.storage};
    CHECK_EQ(getpeername(fd, (struct sockaddr *)&peer.storage, &peer.length), 0);
    return peer;
}

/* Which host the stream is connected with. */
static int host_of(const struct torc_stream *stream)
{
    struct torc_address peer = peer_of(stream->fd);
    struct sockaddr_in in;
    memcpy(&in, &peer.storage, sizeof in);
    CHECK_EQ(in.sin_family, AF_INET);
    CHECK_EQ(ntohs(in.sin_port), port);
    return (int)(ntohl(in.sin_addr.s_addr) & 255) - 10;
}

/* Connects to HOSTS; the host that it got, or the errno. */
static int connected(const char *hosts, const struct torc_connect_options *options)
{
    struct torc_stream stream;
    int err = torc_connect(&stream, text_of(hosts), options);
    if (err)
        return err;
    int host = host_of(&stream);
    torc_stream_close(&stream);
    return host;
}

/* So that nothing happens by the passing of time, or all does. */
static const struct torc_connect_options patient = {.attempt_delay_ns = 3600 * TORC_SEC},
                                         hasty = {.attempt_delay_ns = TORC_MS};

/* ---- one address ---- */

static int connect_good(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    CHECK_EQ(torc_connect(&stream, text_of("a"), NULL), 0);
    CHECK_EQ(torci_this->counters->net_connected, 1);
    CHECK_EQ(host_of(&stream), GOOD);
    int fd = accept4(good, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    char got[8];
    CHECK_EQ(torc_stream_print(&stream, "hello"), 0);
    CHECK_EQ(torc_stream_flush(&stream), 0);
    CHECK_EQ(read(fd, got, sizeof got), 5);
    CHECK_EQ(write(fd, "you", 3), 3);
    CHECK_EQ(torc_stream_read(&stream, got, sizeof got), 3);
    close(fd);
    torc_stream_close(&stream);

    struct torc_address address;
    CHECK_EQ(torc_resolve(text_of("a"), &address, 1), 1);
    CHECK_EQ(torc_connect_to(&stream, &address, NULL), 0);
    CHECK_EQ(host_of(&stream), GOOD);
    torc_stream_close(&stream);
    return 0;
}

TEST(connect, gives_a_stream_that_works)
{
    open_hosts();
    CHECK_EQ(run(connect_good, NULL), 0);
}

static int connect_ipv6(void *arg)
{
    struct torc_stream stream;
    struct torc_address peer;
    char text[TORC_ADDRESS_TEXT_MAX];
    CHECK_EQ(torc_connect(&stream, arg, NULL), 0);
    peer = peer_of(stream.fd);
    CHECK_STR(torc_address_format(&peer, text), arg);
    torc_stream_close(&stream);
    port = torc_address_port(&peer);
    const struct torc_connect_options from = {.bind = "tcp://127.0.0.1:0"};
    CHECK_EQ(torc_connect(&stream, arg, &from), -EAFNOSUPPORT);
    CHECK_EQ(torc_connect(&stream, text_of("bs"), &patient), 0);
    peer = peer_of(stream.fd);
    CHECK_STR(torc_address_format(&peer, text), arg);
    torc_stream_close(&stream);
    return 0;
}

TEST(connect, by_ipv6)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, size))
        TEST_SKIP("no IPv6 here");
    CHECK_EQ(listen(fd, 8), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    char text[64];
    snprintf(text, sizeof text, "tcp://[::1]:%u", ntohs(in.sin6_port));
    CHECK_EQ(run(connect_ipv6, text), 0);
}

static int connect_refused(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    CHECK_EQ(connected("b", NULL), -ECONNREFUSED);
    CHECK_EQ(torc_connect(&stream, "tcp://app:", NULL), -EINVAL);
    CHECK_EQ(torc_connect(&stream, "tcp://nop:1", NULL), -ENOENT);
    CHECK_EQ(torc_connect(&stream, "udp://127.0.0.1:1", NULL), -EPROTOTYPE);
    CHECK_EQ(torc_connect(&stream, "unixgram:@x", NULL), -EPROTOTYPE);
    CHECK_EQ(torc_connect(&stream, "unix:/nonexistent/socket", NULL), -ENOENT);
    CHECK_EQ(torc_connect(&stream, "unix:@torc-nobody-is-there", NULL), -ECONNREFUSED);
    const struct torc_connect_options device = {.socket.device = "nosuch0"};
    CHECK_EQ(connected("a", &device), -ENODEV);
    return 0;
}

TEST(connect, each_refusal_has_its_errno)
{
    open_hosts();
    CHECK_EQ(run(connect_refused, NULL), 0);
}

static int connect_options(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    const struct torc_connect_options options = {.socket = {.hops = 7, .nagle = true}};
    CHECK_EQ(torc_connect(&stream, text_of("a"), &options), 0);
    int value = 0;
    socklen_t size = sizeof value;
    CHECK_EQ(getsockopt(stream.fd, SOL_IP, IP_TTL, &value, &size), 0);
    CHECK_EQ(value, 7);
    CHECK_EQ(getsockopt(stream.fd, SOL_TCP, TCP_NODELAY, &value, &size), 0);
    CHECK_EQ(value, 0);
    CHECK(fcntl(stream.fd, F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(stream.fd, F_GETFD) & FD_CLOEXEC);
    torc_stream_close(&stream);
    return 0;
}

TEST(connect, the_socket_has_its_options)
{
    open_hosts();
    CHECK_EQ(run(connect_options, NULL), 0);
}

static int hang_until_deadline(void *arg)
{
    (void)arg;
    const struct torc_connect_options short_time = {.timeout_ns = 5 * TORC_MS};
    CHECK_EQ(connected("c", &short_time), -ETIMEDOUT);
    CHECK_EQ(torc_task_check(), 0); /* that limit was the call's */
    struct torc_address address;
    struct torc_stream stream;
    CHECK_EQ(torc_resolve(text_of("c"), &address, 1), 1);
    CHECK_EQ(torc_connect_to(&stream, &address, &short_time), -ETIMEDOUT);
    CHECK_EQ(torc_task_check(), 0);
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    CHECK_EQ(connected("c", NULL), -ETIMEDOUT);
    CHECK_EQ(torc_task_check(), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    return 0;
}

TEST(connect, a_host_that_hangs_costs_the_deadline_and_no_more)
{
    open_hosts();
    CHECK_EQ(run(hang_until_deadline, NULL), 0);
}

struct caller {
    struct torc_task task;
    const char *text;
    const struct torc_connect_options *options;
    struct torc_stream stream;
    int result;
};

static int call_connect(void *arg)
{
    struct caller *caller = arg;
    caller->result = torc_connect(&caller->stream, caller->text, caller->options);
    return 0;
}

static void spawn_caller(struct torc_scope *scope, struct caller *caller)
{
    CHECK_EQ(torc_spawn_with(scope, &(struct torc_task_options){.task = &caller->task},
                             call_connect, caller),
             0);
}

/* All the connections that one attempt after the other makes are under way when the caller is cancelled. */
static int cancel_in_connect(void *arg)
{
    static char text[64];
    struct caller caller = {.text = text, .options = &hasty};
    struct torc_scope scope;
    int before = open_descriptors(), wanted = (int)strlen(arg);
    snprintf(text, sizeof text, "%s", text_of(arg));
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller);
    while (open_descriptors() < before + wanted)
        CHECK_EQ(torc_sleep(100 * TORC_US), 0);
    for (int i = 0; i < 3; i++)
        torc_yield();
    torc_task_cancel(&caller.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, -ECANCELED);
    return 0;
}

TEST(connect, a_cancel_in_the_middle_leaves_nothing)
{
    open_hosts();
    CHECK_EQ(run(cancel_in_connect, "c"), 0);
    CHECK_EQ(run(cancel_in_connect, "cece"), 0);
}

static int cancelled_before(void *arg)
{
    (void)arg;
    struct caller caller = {.text = text_of("ad")};
    struct torc_scope scope;
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller);
    torc_task_cancel(&caller.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, -ECANCELED);
    caller.text = "tcp://127.0.0.11:1";
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller);
    torc_task_cancel(&caller.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, -ECANCELED);
    return 0;
}

TEST(connect, a_cancelled_task_connects_nowhere)
{
    open_hosts();
    CHECK_EQ(run(cancelled_before, NULL), 0);
}

/* ---- several ---- */

static int second_wins(void *arg)
{
    (void)arg;
    /* one that refuses is not waited for */
    CHECK_EQ(connected("ba", &patient), GOOD);
    CHECK_EQ(connected("bfd", &patient), GOOD_TOO);
    /* one that hangs is waited for so long, and goes on */
    CHECK_EQ(connected("ca", &hasty), GOOD);
    CHECK_EQ(connected("ceba", &hasty), GOOD);
    /* the first that answers is taken, and no other is asked */
    CHECK_EQ(connected("ad", &patient), GOOD);
    CHECK_EQ(connected("da", &patient), GOOD_TOO);
    /* the last one's error */
    CHECK_EQ(connected("bf", &patient), -ECONNREFUSED);
    const struct torc_connect_options soon = {.attempt_delay_ns = TORC_MS,
                                              .timeout_ns = 10 * TORC_MS};
    CHECK_EQ(connected("ce", &soon), -ETIMEDOUT);
    CHECK_EQ(connected("cb", &soon), -ETIMEDOUT);
    return 0;
}

TEST(connect, the_first_that_answers_wins)
{
    open_hosts();
    CHECK_EQ(run(second_wins, NULL), 0);
}

/* By default the next one is begun a quarter of a second later. */
static int default_delay(void *arg)
{
    (void)arg;
    uint64_t began_ns = torc_now_ns();
    CHECK_EQ(connected("ca", NULL), GOOD);
    CHECK(torc_now_ns() - began_ns >= 250 * TORC_MS);
    return 0;
}

TEST(connect, the_next_attempt_begins_after_a_quarter_of_a_second)
{
    open_hosts();
    CHECK_EQ(run(default_delay, NULL), 0);
}

/* Several answer at the same time: one is taken, the others are closed. */
static int many_answer(void *arg)
{
    (void)arg;
    const struct torc_connect_options at_once = {.attempt_delay_ns = 1};
    for (int i = 0; i < 50; i++) {
        int host = connected("adadadad", &at_once);
        CHECK(host == GOOD || host == GOOD_TOO);
        for (int fd; (fd = accept4(good, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
            close(fd);
        for (int fd; (fd = accept4(good_too, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
            close(fd);
    }
    return 0;
}

TEST(connect, one_of_many_that_answer_is_taken_and_the_others_are_closed)
{
    open_hosts();
    CHECK_EQ(run(many_answer, NULL), 0);
}

/* Which families were asked for, one letter a socket. */
static char families[32];

/* The pool's threads make calls, too, but no sockets. */
static long note_families(void *context, long number, const long arguments[6])
{
    if (number == SYS_socket) {
        size_t used = strlen(families);
        CHECK(used < sizeof families - 1);
        families[used] = arguments[0] == AF_INET6 ? '6' : '4';
    }
    return fault_call(context, number, arguments);
}

static int refused_all(void *arg)
{
    memset(families, 0, sizeof families);
    CHECK_EQ(connected(arg, &patient), -ECONNREFUSED);
    return 0;
}

/* Until each has been tried, and a little longer. */
static int hangs_and_refuses(void *arg)
{
    static char text[64];
    struct caller caller = {.text = text, .options = &hasty};
    struct torc_scope scope;
    size_t wanted = strlen(arg);
    snprintf(text, sizeof text, "%s", text_of(arg));
    memset(families, 0, sizeof families);
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller);
    while (strlen(families) < wanted)
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    torc_task_cancel(&caller.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, -ECANCELED);
    return 0;
}

static void check_order(torc_task_fn *main, const char *hosts, const char *wanted)
{
    char copy[32];
    snprintf(copy, sizeof copy, "%s", hosts);
    fault_kernel_init(&fault);
    fault.kernel.call = note_families;
    body = main;
    CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fault.kernel}, prepared, copy), 0);
    fault_kernel_check_clean(&fault);
    CHECK_STR(families, wanted);
}

TEST(connect, each_address_is_tried_once)
{
    open_hosts();
    check_order(refused_all, "bbb", "444");
    check_order(refused_all, "bbbbbbbbbbbbbbbb", "4444444444444444"); /* as many as there may be */
    check_order(hangs_and_refuses, "cb", "44");
    check_order(hangs_and_refuses, "bcbb", "4444");
}

TEST(connect, families_take_turns)
{
    if (access("/proc/net/if_inet6", F_OK))
        TEST_SKIP("no IPv6 here");
    open_hosts();
    check_order(refused_all, "bbssb", "46464");
    check_order(refused_all, "ssbb", "6464");
    check_order(refused_all, "sbbbb", "64444");
    check_order(refused_all, "bbbs", "4644");
}

/* ---- from where ---- */

static void check_from(const char *hosts, const char *from, const char *wanted, bool any_port)
{
    struct torc_stream stream;
    const struct torc_connect_options options = {.bind = from, .attempt_delay_ns = 3600 * TORC_SEC};
    char text[TORC_ADDRESS_TEXT_MAX];
    CHECK_EQ(torc_connect(&stream, text_of(hosts), &options), 0);
    int fd = accept4(good, NULL, NULL, SOCK_CLOEXEC);
    CHECK(fd >= 0);
    struct torc_address peer = peer_of(fd);
    CHECK(torc_address_port(&peer) != 0);
    if (any_port)
        torc_address_set_port(&peer, 0);
    CHECK_STR(torc_address_format(&peer, text), wanted);
    torc_stream_abort(&stream);
    close(fd);
}

static int bind_kinds(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    check_from("a", "tcp://127.0.0.77:0", "tcp://127.0.0.77:0", true);
    check_from("ba", "tcp://127.0.0.77:0", "tcp://127.0.0.77:0", true);
    check_from("a", "tcp://:0", "tcp://127.0.0.1:0", true);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* a port that is free */
    CHECK_EQ(bind(fd, (struct sockaddr *)&in, size), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    close(fd);
    char from[64];
    snprintf(from, sizeof from, "tcp://127.0.0.1:%u", ntohs(in.sin_port));
    check_from("a", from, from, false);
    check_from("a", from, from, false);
    char any[64];
    snprintf(any, sizeof any, "tcp://:%u", ntohs(in.sin_port));
    check_from("a", any, from, false);
    static const struct {
        const char *from;
        int error;
    } bad[] = {
        {"tcp://127.0.0.1", -EINVAL},       {"tcp://localhost:0", -EDESTADDRREQ},
        {"udp://127.0.0.1:0", -EPROTOTYPE}, {"tcp://192.0.2.1:0", -EADDRNOTAVAIL},
        {"tcp://[::1]:0", -EAFNOSUPPORT},   {"unix:@x", -EPROTOTYPE},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(bad); i++) {
        const struct torc_connect_options options = {.bind = bad[i].from};
        int err = torc_connect(&stream, text_of("a"), &options);
        if (err != bad[i].error)
            TEST_FAIL("%s gives %d", bad[i].from, err);
    }
    return 0;
}

/* ---- Unix sockets ---- */

static int unix_listener(char text[64])
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t size = sizeof un;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&un, sizeof(sa_family_t)),
             0); /* the kernel finds a name */
    CHECK_EQ(listen(fd, 0), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&un, &size), 0);
    struct torc_address address = {.transport = TORC_UNIX, .length = size};
    memcpy(&address.storage, &un, size);
    char whole[TORC_ADDRESS_TEXT_MAX];
    snprintf(text, 64, "%s", torc_address_format(&address, whole));
    return fd;
}

static int unix_backlog(void *arg)
{
    (void)arg;
    char text[64];
    int listener = unix_listener(text);
    struct torc_stream first, stream;
    CHECK_EQ(torc_connect(&first, text, NULL), 0);
    const struct torc_connect_options short_time = {.timeout_ns = 5 * TORC_MS};
    CHECK_EQ(torc_connect(&stream, text, &short_time), -ETIMEDOUT); /* the backlog is full */
    struct caller caller = {.text = text};
    struct torc_scope scope;
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller);
    for (int i = 0; i < 3; i++)
        torc_yield();
    CHECK(!torc_task_is_done(&caller.task));
    torc_task_cancel(&caller.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, -ECANCELED);
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller);
    for (int i = 0; i < 3; i++)
        torc_yield();
    CHECK(!torc_task_is_done(&caller.task));
    close(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, 0);
    torc_stream_close(&caller.stream);
    torc_stream_close(&first);
    close(listener);
    return 0;
}

TEST(connect, a_full_unix_backlog_is_waited_for)
{
    CHECK_EQ(run(unix_backlog, NULL), 0);
}

/* ---- networks of the test's own ---- */

/* A network with nothing in it but a loopback that is down. */
static void loopback_up(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

/* Elsewhere others may take the port that was free a moment ago. */
TEST(connect, comes_from_the_address_that_is_asked_for)
{
    if (!net_unshare())
        TEST_SKIP("no network namespace can be made");
    loopback_up();
    open_hosts();
    CHECK_EQ(run(bind_kinds, NULL), 0);
}

static int connect_unreachable(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    CHECK_EQ(torc_connect(&stream, "tcp://192.0.2.1:80", NULL), -ENETUNREACH);
    CHECK_EQ(torc_connect(&stream, text_of("ab"), &patient), -ENETUNREACH);
    return 0;
}

TEST(connect, without_a_network_nothing_can_be_reached)
{
    if (!net_unshare())
        TEST_SKIP("no network namespace can be made");
    port = 80;
    CHECK_EQ(run(connect_unreachable, NULL), 0);
}

static int exhaust_ports(void *arg)
{
    (void)arg;
    struct torc_stream first, second;
    CHECK_EQ(torc_connect(&first, text_of("a"), NULL), 0);
    CHECK_EQ(torc_connect(&second, text_of("a"), NULL), -EADDRNOTAVAIL);
    /* also from an address that is given; but towards another host the same port is free */
    const struct torc_connect_options from = {.bind = "tcp://127.0.0.1:0"};
    CHECK_EQ(torc_connect(&second, text_of("a"), &from), -EADDRNOTAVAIL);
    CHECK_EQ(torc_connect(&second, text_of("d"), &from), 0);
    torc_stream_close(&second);
    torc_stream_close(&first);
    return 0;
}

static int connect_no_way(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    CHECK_EQ(torc_connect(&stream, "tcp://192.0.2.1:80", NULL), -EHOSTUNREACH);
    CHECK_EQ(torc_connect(&stream, "tcp://198.51.100.1:80", NULL), -EACCES);
    return 0;
}

TEST(connect, a_router_that_says_no_is_believed)
{
    if (!net_ip("-V"))
        TEST_SKIP("no ip: iproute2 is not installed");
    if (!net_unshare())
        TEST_SKIP("no network namespace can be made");
    loopback_up();
    CHECK(net_ip("route add unreachable 192.0.2.0/24"));
    CHECK(net_ip("route add prohibit 198.51.100.0/24"));
    CHECK_EQ(run(connect_no_way, NULL), 0);
}

static int connect_over_cable(void *arg)
{
    (void)arg;
    struct torc_stream stream;
    struct torc_address peer;
    char text[TORC_ADDRESS_TEXT_MAX];
    /* without either family's answer the other one's is not waited for longer than the delay */
    CHECK_EQ(torc_connect(&stream, text_of("wz"), &hasty), 0);
    peer = peer_of(stream.fd);
    torc_address_set_port(&peer, 0);
    CHECK_STR(torc_address_format(&peer, text), "tcp://10.9.0.2:0");
    torc_stream_close(&stream);
    CHECK_EQ(torc_connect(&stream, text_of("xy"), &hasty), 0);
    peer = peer_of(stream.fd);
    torc_address_set_port(&peer, 0);
    CHECK_STR(torc_address_format(&peer, text), "tcp://[fd09::2]:0");
    torc_stream_close(&stream);
    const struct torc_connect_options soon = {.attempt_delay_ns = TORC_MS,
                                              .timeout_ns = 20 * TORC_MS};
    CHECK_EQ(torc_connect(&stream, text_of("wx"), &soon), -ETIMEDOUT);
    return 0;
}

/* On the cable nobody answers for one of the two addresses of a name. */
TEST(connect, a_family_that_leads_nowhere_costs_a_moment)
{
    struct net_namespaces both;
    net_namespaces_make(&both);
    net_namespaces_go(both.there);
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&in, size), 0);
    CHECK_EQ(listen(fd, 8), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    port = ntohs(in.sin6_port);
    net_namespaces_go(both.here);
    CHECK_EQ(run(connect_over_cable, NULL), 0);
}

TEST(connect, no_port_is_left)
{
    if (!net_unshare())
        TEST_SKIP("no network namespace can be made");
    loopback_up();
    port = 7;
    good = listen_at(GOOD, 64);
    good_too = listen_at(GOOD_TOO, 64);
    CHECK(good >= 0 && good_too >= 0);
    CHECK(net_write_text("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000"));
    CHECK_EQ(run(exhaust_ports, NULL), 0);
}

/* ---- everything fails once ---- */

static int sweep_name(void *arg)
{
    /* The limit is for the rounds in which only the host that hangs is left. */
    const struct torc_connect_options options = {
        .attempt_delay_ns = TORC_MS, .timeout_ns = 2 * TORC_SEC, .bind = "tcp://:0"};
    struct torci_net *net;
    struct torc_stream stream;
    int err = torci_net_get(&net);
    if (err)
        return err;
    net->resolver.lookup = test_lookup;
    err = torc_connect(&stream, text_of(arg), &options);
    if (!err)
        torc_stream_close(&stream);
    return err;
}

/* The stream is the first that needs the room's state. */
static int sweep_number(void *arg)
{
    struct torc_stream stream;
    int err = torc_connect(&stream, arg, NULL);
    if (!err)
        torc_stream_close(&stream);
    return err;
}

static void sweep(torc_task_fn *main, const char *arg)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", arg);
    int before = open_descriptors();
    for (long n = 0;; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ALLOC | FAULT_MAP | FAULT_THREAD | FAULT_CALL;
        fault.fail_nth = n;
        int result = run_alone(&(struct torc_config){.kernel = &fault.kernel}, main, copy);
        CHECK(result == 0 || fault.failed);
        for (int fd; (fd = accept4(good, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
            close(fd); /* its backlog must not fill */
        CHECK_EQ(open_descriptors(), before);
        fault_kernel_check_clean(&fault);
        if (!fault.failed)
            break;
        CHECK(n < 1000);
    }
}

TEST(connect, survives_any_call_failing)
{
    open_hosts();
    char text[64];
    snprintf(text, sizeof text, "tcp://127.0.0.%d:%u", 10 + GOOD, port);
    sweep(sweep_number, text);
    sweep(sweep_name, "a");
    sweep(sweep_name, "bca");
}
