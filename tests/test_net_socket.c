/* SPDX-License-Identifier: MIT
 *
 * Sockets: each option is read back from the kernel, each refusal has its errno; readiness of any descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/time.h"
#include "net/net_internal.h"
#include "net/socket_internal.h"
#include "shard/run.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

static int run(torc_task_fn *main, void *arg)
{
    fault_kernel_init(&fault);
    int result = run_shard(&(struct torc_config){.kernel = &fault.kernel}, main, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

/* ---- options ---- */

struct request {
    const char *address;
    bool listener;
    struct torc_socket_options options;
    int fd;
};

static int create(void *arg)
{
    struct request *request = arg;
    struct torc_address address;
    CHECK_EQ(torc_address_parse(request->address, &address), 0);
    request->fd = torci_socket_create(&address, &request->options, request->listener);
    return 0;
}

/* The descriptor, which is for the test to close, or the errno. */
static int made(const char *address, bool listener, struct torc_socket_options options)
{
    struct request request = {.address = address, .listener = listener, .options = options};
    CHECK_EQ(run(create, &request), 0);
    return request.fd;
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(fd, level, name, &value, &size))
        TEST_FAIL("getsockopt %d, %d: errno %d", level, name, errno);
    return value;
}

static bool has_ipv6(void)
{
    return access("/proc/net/if_inet6", F_OK) == 0;
}

TEST(socket, is_of_the_address_s_kind_and_does_not_block)
{
    static const struct {
        const char *address;
        int domain, type;
    } kinds[] = {
        {"tcp://127.0.0.1:0", AF_INET, SOCK_STREAM}, {"udp://127.0.0.1:0", AF_INET, SOCK_DGRAM},
        {"tcp://[::1]:0", AF_INET6, SOCK_STREAM},    {"udp://[::1]:0", AF_INET6, SOCK_DGRAM},
        {"unix:/nowhere", AF_UNIX, SOCK_STREAM},     {"unixgram:@x", AF_UNIX, SOCK_DGRAM},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(kinds); i++) {
        if (kinds[i].domain == AF_INET6 && !has_ipv6())
            continue;
        int fd = made(kinds[i].address, false, (struct torc_socket_options){0});
        CHECK(fd >= 0);
        CHECK_EQ(option(fd, SOL_SOCKET, SO_DOMAIN), kinds[i].domain);
        CHECK_EQ(option(fd, SOL_SOCKET, SO_TYPE), kinds[i].type);
        CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
    }
}

/* What a socket has before anybody has told it anything. */
static int plain(int domain, int type, int level, int name)
{
    int fd = socket(domain, type, 0);
    int value = option(fd, level, name);
    close(fd);
    return value;
}

TEST(socket, zero_is_the_kernel_s_default_but_for_delays_and_reuse)
{
    int fd = made("tcp://127.0.0.1:0", true, (struct torc_socket_options){0});
    CHECK_EQ(option(fd, SOL_TCP, TCP_NODELAY), 1);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_LINGER), 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_RCVBUF), plain(AF_INET, SOCK_STREAM, SOL_SOCKET, SO_RCVBUF));
    CHECK_EQ(option(fd, SOL_SOCKET, SO_SNDBUF), plain(AF_INET, SOCK_STREAM, SOL_SOCKET, SO_SNDBUF));
    CHECK_EQ(option(fd, SOL_IP, IP_TTL), plain(AF_INET, SOCK_STREAM, SOL_IP, IP_TTL));
    CHECK_EQ(option(fd, SOL_IP, IP_TOS), 0);
    CHECK_EQ(option(fd, SOL_TCP, TCP_USER_TIMEOUT), 0);
    CHECK_EQ(option(fd, SOL_TCP, TCP_DEFER_ACCEPT), 0);
    close(fd);
    fd = made("tcp://127.0.0.1:0", false, (struct torc_socket_options){0});
    CHECK_EQ(option(fd, SOL_TCP, TCP_NODELAY), 1);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
    close(fd);
    fd = made("udp://127.0.0.1:0", false, (struct torc_socket_options){0});
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_BROADCAST), 0);
    close(fd);
    fd = made("udp://239.1.2.3:0", false, (struct torc_socket_options){0});
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    close(fd);
}

TEST(socket, flags_are_set)
{
    int fd =
        made("tcp://127.0.0.1:0", true,
             (struct torc_socket_options){
                 .nagle = true, .no_reuse_address = true, .reuse_port = true, .free_bind = true});
    CHECK_EQ(option(fd, SOL_TCP, TCP_NODELAY), 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEPORT), 1);
    CHECK_EQ(option(fd, SOL_IP, IP_FREEBIND), 1);
    close(fd);
    fd = made("udp://127.0.0.1:0", false, (struct torc_socket_options){.broadcast = true});
    CHECK_EQ(option(fd, SOL_SOCKET, SO_BROADCAST), 1);
    close(fd);
    fd = made("udp://239.1.2.3:0", false, (struct torc_socket_options){.no_reuse_address = true});
    CHECK_EQ(option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
    close(fd);
}

TEST(socket, v6only_is_set_and_cleared_whatever_the_default)
{
    if (!has_ipv6())
        TEST_SKIP("no IPv6 here");
    int fd = made("tcp://[::1]:0", true, (struct torc_socket_options){.v6only = true});
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_V6ONLY), 1);
    close(fd);
    fd = made("udp://[::1]:0", false, (struct torc_socket_options){.v6only = true});
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_V6ONLY), 1);
    close(fd);
    fd = made("tcp://[::1]:0", true, (struct torc_socket_options){0});
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_V6ONLY), 0);
    close(fd);
}

TEST(socket, buffers_are_set)
{
    static const char *const addresses[] = {"tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix:@x",
                                            "unixgram:@x"};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(addresses); i++) {
        int fd = made(addresses[i], false,
                      (struct torc_socket_options){.receive_bytes = 30000, .send_bytes = 20000});
        CHECK_EQ(option(fd, SOL_SOCKET, SO_RCVBUF), 60000); /* the kernel doubles them */
        CHECK_EQ(option(fd, SOL_SOCKET, SO_SNDBUF), 40000);
        close(fd);
    }
    int fd =
        made("tcp://127.0.0.1:0", false,
             (struct torc_socket_options){.receive_bytes = UINT32_MAX}); /* cut, not negative */
    CHECK(option(fd, SOL_SOCKET, SO_RCVBUF) > 60000);
    close(fd);
}

TEST(socket, tcp_numbers_are_set)
{
    int fd = made("tcp://127.0.0.1:0", true,
                  (struct torc_socket_options){.unsent_bytes = 16384,
                                               .user_timeout_ms = 1234,
                                               .defer_accept_s = 3,
                                               .fast_open = 7,
                                               .keepalive_s = 11,
                                               .keepalive_interval_s = 12,
                                               .keepalive_count = 13,
                                               .congestion = "reno"});
    CHECK_EQ(option(fd, SOL_TCP, TCP_NOTSENT_LOWAT), 16384);
    CHECK_EQ(option(fd, SOL_TCP, TCP_USER_TIMEOUT), 1234);
    CHECK_EQ(option(fd, SOL_TCP, TCP_DEFER_ACCEPT), 3);
    CHECK_EQ(option(fd, SOL_TCP, TCP_FASTOPEN), 7);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_EQ(option(fd, SOL_TCP, TCP_KEEPIDLE), 11);
    CHECK_EQ(option(fd, SOL_TCP, TCP_KEEPINTVL), 12);
    CHECK_EQ(option(fd, SOL_TCP, TCP_KEEPCNT), 13);
    char name[16] = "";
    socklen_t size = sizeof name;
    CHECK_EQ(getsockopt(fd, SOL_TCP, TCP_CONGESTION, name, &size), 0);
    CHECK_STR(name, "reno");
    close(fd);
    /* Without a time there are no probes, and what is a listener's is not a connection's. */
    fd = made("tcp://127.0.0.1:0", false,
              (struct torc_socket_options){.keepalive_interval_s = 12,
                                           .keepalive_count = 13,
                                           .defer_accept_s = 3,
                                           .fast_open = 7});
    CHECK_EQ(option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    CHECK_EQ(option(fd, SOL_TCP, TCP_KEEPCNT), plain(AF_INET, SOCK_STREAM, SOL_TCP, TCP_KEEPCNT));
    CHECK_EQ(option(fd, SOL_TCP, TCP_KEEPINTVL),
             plain(AF_INET, SOCK_STREAM, SOL_TCP, TCP_KEEPINTVL));
    CHECK_EQ(option(fd, SOL_TCP, TCP_DEFER_ACCEPT), 0);
    CHECK_EQ(option(fd, SOL_TCP, TCP_FASTOPEN), 0);
    close(fd);
}

static struct linger linger_of(int fd)
{
    struct linger linger = {.l_onoff = 77};
    socklen_t size = sizeof linger;
    CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size), 0);
    return linger;
}

TEST(socket, linger_is_set)
{
    int fd = made("tcp://127.0.0.1:0", false, (struct torc_socket_options){.linger_s = 5});
    CHECK_EQ(linger_of(fd).l_onoff, 1);
    CHECK_EQ(linger_of(fd).l_linger, 5);
    close(fd);
    fd = made("tcp://127.0.0.1:0", false,
              (struct torc_socket_options){.linger_s = 5, .reset_on_close = true});
    CHECK_EQ(linger_of(fd).l_onoff, 1);
    CHECK_EQ(linger_of(fd).l_linger, 0);
    close(fd);
    fd = made("tcp://127.0.0.1:0", false, (struct torc_socket_options){0});
    CHECK_EQ(linger_of(fd).l_onoff, 0);
    close(fd);
}

TEST(socket, packets_are_marked_as_asked)
{
    const struct torc_socket_options options = {.tos = 0x28, .hops = 9, .priority = 4};
    int fd = made("tcp://127.0.0.1:0", false, options);
    CHECK_EQ(option(fd, SOL_IP, IP_TOS), 0x28);
    CHECK_EQ(option(fd, SOL_IP, IP_TTL), 9);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_PRIORITY), 4); /* although IP_TOS sets one, too */
    close(fd);
    fd = made("udp://127.0.0.1:0", false, options);
    CHECK_EQ(option(fd, SOL_IP, IP_TTL), 9);
    CHECK_EQ(option(fd, SOL_IP, IP_MULTICAST_TTL), 9);
    close(fd);
    if (!has_ipv6())
        return;
    fd = made("udp://[::1]:0", false, options);
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_TCLASS), 0x28);
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_UNICAST_HOPS), 9);
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_MULTICAST_HOPS), 9);
    CHECK_EQ(option(fd, SOL_IP, IP_TTL), 9); /* for mapped addresses */
    CHECK_EQ(option(fd, SOL_IP, IP_TOS), 0x28);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_PRIORITY), 4);
    close(fd);
}

static void check_device(const char *address)
{
    int fd = made(address, false, (struct torc_socket_options){.device = "lo"});
    CHECK(fd >= 0);
    char name[16] = "";
    socklen_t size = sizeof name;
    CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size), 0);
    CHECK_STR(name, "lo");
    close(fd);
}

TEST(socket, is_bound_to_a_device)
{
    check_device("tcp://127.0.0.1:0");
    check_device("udp://127.0.0.1:0");
}

/* Rights are taken from this thread alone, and given back: the test runner needs none meanwhile. */
static bool drop_rights(void)
{
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    struct {
        uint32_t effective, permitted, inheritable;
    } none[2] = {{0, 0, 0}, {0, 0, 0}};
    return syscall(SYS_capset, &header, none) == 0;
}

static bool may_mark(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
    bool may = setsockopt(fd, SOL_SOCKET, SO_MARK, &one, sizeof one) == 0;
    close(fd);
    return may;
}

TEST(socket, rights_set_marks_and_make_it_transparent)
{
    if (!may_mark())
        TEST_SKIP("needs CAP_NET_ADMIN");
    int fd =
        made("tcp://127.0.0.1:0", false,
             (struct torc_socket_options){.mark = 0xfedcba98, .transparent = true, .priority = 7});
    CHECK(fd >= 0);
    CHECK_EQ((unsigned)option(fd, SOL_SOCKET, SO_MARK), 0xfedcba98);
    CHECK_EQ(option(fd, SOL_IP, IP_TRANSPARENT), 1);
    CHECK_EQ(option(fd, SOL_SOCKET, SO_PRIORITY), 7);
    close(fd);
    if (!has_ipv6())
        return;
    fd = made("tcp://[::1]:0", true,
              (struct torc_socket_options){.transparent = true, .free_bind = true});
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_TRANSPARENT), 1);
    CHECK_EQ(option(fd, SOL_IPV6, IPV6_FREEBIND), 1);
    close(fd);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Each of these, and no descriptor is left. */
static void check_refused(const char *address, struct torc_socket_options options, int error)
{
    int before = open_descriptors();
    int fd = made(address, true, options);
    if (fd != error)
        TEST_FAIL("%s gives %d, not %d", address, fd, error);
    CHECK_EQ(open_descriptors(), before);
}

TEST(socket, without_rights_they_are_refused)
{
    if (!drop_rights())
        TEST_SKIP("capabilities can't be dropped");
    CHECK(!may_mark());
    check_refused("tcp://127.0.0.1:0", (struct torc_socket_options){.mark = 1}, -EPERM);
    check_refused("udp://127.0.0.1:0", (struct torc_socket_options){.mark = 1}, -EPERM);
    check_refused("tcp://127.0.0.1:0", (struct torc_socket_options){.transparent = true}, -EPERM);
    check_refused("tcp://127.0.0.1:0", (struct torc_socket_options){.priority = 7}, -EPERM);
}

TEST(socket, what_the_kernel_does_not_know_is_refused)
{
    const char *const tcp = "tcp://127.0.0.1:0";
    check_refused(tcp, (struct torc_socket_options){.device = "nosuch0"}, -ENODEV);
    check_refused(tcp, (struct torc_socket_options){.device = "lo0123456789abcdef"}, -ENODEV);
    check_refused(tcp, (struct torc_socket_options){.device = ""}, -ENODEV);
    check_refused(tcp, (struct torc_socket_options){.congestion = "nosuch"}, -ENOENT);
    check_refused(tcp, (struct torc_socket_options){.congestion = "reno56789abcdefg"}, -ENOENT);
    check_refused(tcp, (struct torc_socket_options){.keepalive_s = 40000}, -EINVAL);
    check_refused(tcp, (struct torc_socket_options){.keepalive_s = 1, .keepalive_count = 200},
                  -EINVAL);
}

TEST(socket, unix_sockets_leave_out_what_they_lack)
{
    int fd = made("unix:@x", true,
                  (struct torc_socket_options){.device = "nosuch0",
                                               .congestion = "nosuch",
                                               .mark = 1,
                                               .tos = 1,
                                               .hops = 1,
                                               .linger_s = 1,
                                               .keepalive_s = 1,
                                               .reuse_port = true,
                                               .transparent = true,
                                               .v6only = true});
    CHECK(fd >= 0);
    CHECK_EQ(linger_of(fd).l_onoff, 0);
    close(fd);
}

static const struct torc_socket_options everything = {
    .reuse_port = true,
    .free_bind = true,
    .receive_bytes = 30000,
    .send_bytes = 30000,
    .unsent_bytes = 1,
    .linger_s = 1,
    .keepalive_s = 1,
    .keepalive_interval_s = 1,
    .keepalive_count = 1,
    .user_timeout_ms = 1,
    .defer_accept_s = 1,
    .fast_open = 1,
    .tos = 8,
    .hops = 1,
    .priority = 1,
    .device = "lo",
    .congestion = "reno",
};

static int sweep_main(void *arg)
{
    struct torc_address address;
    int *calls = arg;
    CHECK_EQ(torc_address_parse("tcp://127.0.0.1:0", &address), 0);
    int before = open_descriptors();
    for (long n = 0;; n++) {
        fault.fail_kinds = FAULT_CALL;
        fault.fail_nth = n;
        fault.calls = 0;
        fault.failed = false;
        int fd = torci_socket_create(&address, &everything, true);
        fault.fail_kinds = 0;
        if (!fault.failed) {
            CHECK(fd >= 0);
            close(fd);
            break;
        }
        CHECK_EQ(fd, -EMFILE);
        CHECK_EQ(open_descriptors(), before);
        ++*calls;
    }
    return 0;
}

TEST(socket, each_call_that_fails_is_told_and_leaves_nothing)
{
    int calls = 0;
    fault_kernel_init(&fault);
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, sweep_main, &calls), 0);
    CHECK(calls > 15);
    fault_kernel_check_clean(&fault);
}

/* ---- readiness ---- */

struct poller {
    struct torc_task task;
    int fd, events;
    int result;
};

static int poll_task(void *arg)
{
    struct poller *poller = arg;
    poller->result = torc_poll_fd(poller->fd, poller->events);
    return 0;
}

static void spawn_poller(struct torc_scope *scope, struct poller *poller)
{
    CHECK_EQ(torc_spawn_with(scope, &(struct torc_task_options){.task = &poller->task}, poll_task,
                             poller),
             0);
}

static int poll_kinds(void *arg)
{
    (void)arg;
    int pair[2], pipes[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_EQ(torc_poll_fd(pair[0], TORC_WRITABLE), TORC_WRITABLE);
    CHECK_EQ(torc_poll_fd(pair[0], TORC_READABLE | TORC_WRITABLE), TORC_WRITABLE);
    CHECK_EQ(write(pair[1], "x", 1), 1);
    CHECK_EQ(torc_poll_fd(pair[0], TORC_READABLE), TORC_READABLE);
    CHECK_EQ(torc_poll_fd(pair[0], TORC_READABLE | TORC_WRITABLE), TORC_READABLE | TORC_WRITABLE);
    close(pair[1]);
    CHECK_EQ(torc_poll_fd(pair[0], TORC_READABLE), TORC_READABLE | TORC_HANGUP);
    CHECK_EQ(torc_poll_fd(pair[0], 0), TORC_HANGUP);
    close(pair[0]);
    CHECK_EQ(pipe(pipes), 0);
    close(pipes[1]);
    CHECK_EQ(torc_poll_fd(pipes[0], TORC_READABLE), TORC_HANGUP); /* nothing but the end */
    close(pipes[0]);
    CHECK_EQ(pipe(pipes), 0);
    close(pipes[0]);
    CHECK_EQ(torc_poll_fd(pipes[1], TORC_WRITABLE), TORC_WRITABLE | TORC_FAILED);
    close(pipes[1]);
    CHECK_EQ(torc_poll_fd(pipes[1], TORC_WRITABLE), -EBADF);
    CHECK_EQ(torc_poll_fd(-1, TORC_READABLE), -EBADF);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* of a kind that is always ready */
    CHECK(torc_poll_fd(file, TORC_READABLE) & TORC_READABLE);
    close(file);
    return 0;
}

TEST(poll_fd, says_what_a_descriptor_is_ready_for)
{
    CHECK_EQ(run(poll_kinds, NULL), 0);
}

static int poll_several(void *arg)
{
    (void)arg;
    static struct poller pollers[4];
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 4; i++) {
        pollers[i] = (struct poller){.fd = fd, .events = TORC_READABLE};
        spawn_poller(&scope, &pollers[i]);
    }
    for (int i = 0; i < 3; i++)
        torc_yield();
    for (int i = 0; i < 4; i++)
        CHECK(!torc_task_is_done(&pollers[i].task));
    eventfd_write(fd, 1);
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pollers[i].result, TORC_READABLE);
    close(fd);
    return 0;
}

TEST(poll_fd, several_wait_for_one)
{
    CHECK_EQ(run(poll_several, NULL), 0);
}

/* The peer writes no more but reads, and there is no room: that it has ended is nothing to wake up for. */
static int poll_half_closed(void *arg)
{
    (void)arg;
    static char filler[1 << 16];
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    while (write(pair[0], filler, sizeof filler) > 0)
        ;
    CHECK_EQ(shutdown(pair[1], SHUT_WR), 0);
    CHECK_EQ(torc_poll_fd(pair[0], TORC_READABLE), TORC_READABLE | TORC_HANGUP);
    struct poller poller = {.fd = pair[0], .events = TORC_WRITABLE};
    struct torc_scope scope;
    torc_scope_init(&scope);
    spawn_poller(&scope, &poller);
    CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    CHECK(!torc_task_is_done(&poller.task));
    while (read(pair[1], filler, sizeof filler) > 0)
        ;
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(poller.result, TORC_WRITABLE);
    close(pair[0]);
    close(pair[1]);
    return 0;
}

TEST(poll_fd, a_peer_that_has_ended_its_half_does_not_wake_a_writer)
{
    CHECK_EQ(run(poll_half_closed, NULL), 0);
}

static int poll_interrupted(void *arg)
{
    (void)arg;
    struct poller poller = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = TORC_READABLE};
    struct torc_scope scope;
    torc_scope_init(&scope);
    spawn_poller(&scope, &poller);
    for (int i = 0; i < 3; i++)
        torc_yield();
    torc_task_cancel(&poller.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(poller.result, -ECANCELED);
    poller.result = 0;
    torc_scope_init(&scope);
    spawn_poller(&scope, &poller);
    torc_task_cancel(&poller.task); /* before it runs */
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(poller.result, -ECANCELED);
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_poll_fd(poller.fd, TORC_READABLE), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    close(poller.fd);
    return 0;
}

TEST(poll_fd, ends_when_its_task_is_interrupted)
{
    CHECK_EQ(run(poll_interrupted, NULL), 0);
}
