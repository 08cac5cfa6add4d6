/* SPDX-License-Identifier: MIT
 *
 * Addresses: what is read, what is refused and in which words, and that what is written is read again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/address.h"
#include "net/address_internal.h"
#include "shard/run.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct torc_address parsed(const char *text)
{
    struct torc_address address;
    memset(&address, 0xa5, sizeof address);
    int err = torc_address_parse(text, &address);
    if (err)
        TEST_FAIL("%s gives %d", text, err);
    return address;
}

static struct sockaddr_in as_ipv4(const struct torc_address *address)
{
    struct sockaddr_in in;
    CHECK_EQ(address->length, sizeof in);
    memcpy(&in, &address->storage, sizeof in);
    CHECK_EQ(in.sin_family, AF_INET);
    return in;
}

static struct sockaddr_in6 as_ipv6(const struct torc_address *address)
{
    struct sockaddr_in6 in;
    CHECK_EQ(address->length, sizeof in);
    memcpy(&in, &address->storage, sizeof in);
    CHECK_EQ(in.sin6_family, AF_INET6);
    CHECK_EQ(in.sin6_flowinfo, 0);
    return in;
}

static struct sockaddr_un as_unix(const struct torc_address *address)
{
    struct sockaddr_un un = {0};
    CHECK(address->length <= sizeof un);
    memcpy(&un, &address->storage, address->length);
    CHECK_EQ(un.sun_family, AF_UNIX);
    return un;
}

/* ---- reading ---- */

TEST(address, reads_ipv4)
{
    struct torc_address address = parsed("tcp://127.0.0.1:7000");
    CHECK_EQ(address.transport, TORC_TCP);
    CHECK_EQ(ntohl(as_ipv4(&address).sin_addr.s_addr), 0x7f000001);
    CHECK_EQ(torc_address_port(&address), 7000);
    CHECK_EQ(ntohs(as_ipv4(&address).sin_port), 7000);
    address = parsed("udp://239.1.2.3:0");
    CHECK_EQ(address.transport, TORC_UDP);
    CHECK_EQ(torc_address_port(&address), 0);
    address = parsed("tcp://255.255.255.255:65535");
    CHECK_EQ(torc_address_port(&address), 65535);
}

TEST(address, reads_ipv6)
{
    struct torc_address address = parsed("tcp://[::1]:7000");
    struct sockaddr_in6 in = as_ipv6(&address);
    CHECK(IN6_IS_ADDR_LOOPBACK(&in.sin6_addr));
    CHECK_EQ(ntohs(in.sin6_port), 7000);
    CHECK_EQ(in.sin6_scope_id, 0);
    address = parsed("udp://[2001:db8:1:2:3:4:5:6]:1");
    CHECK_EQ(as_ipv6(&address).sin6_addr.s6_addr[15], 6);
    address = parsed("tcp://[::ffff:10.1.2.3]:1");
    in = as_ipv6(&address);
    CHECK(IN6_IS_ADDR_V4MAPPED(&in.sin6_addr));
}

TEST(address, reads_the_scope_by_name_and_by_number)
{
    struct torc_address by_name = parsed("udp://[ff02::1%lo]:5000");
    CHECK_EQ(as_ipv6(&by_name).sin6_scope_id, if_nametoindex("lo"));
    struct torc_address by_number = parsed("udp://[ff02::1%1]:5000");
    CHECK_EQ(as_ipv6(&by_number).sin6_scope_id, 1);
    struct torc_address far = parsed("udp://[fe80::1%2147483647]:5000");
    CHECK_EQ(as_ipv6(&far).sin6_scope_id, 2147483647);
}

TEST(address, reads_unix_paths)
{
    struct torc_address address = parsed("unix:/run/app.sock");
    CHECK_EQ(address.transport, TORC_UNIX);
    CHECK_STR(as_unix(&address).sun_path, "/run/app.sock");
    CHECK_EQ(address.length, offsetof(struct sockaddr_un, sun_path) + strlen("/run/app.sock") + 1);
    CHECK_EQ(torc_address_port(&address), 0);
    address = parsed("unixgram:app sock:80");
    CHECK_EQ(address.transport, TORC_UNIX_DATAGRAM);
    CHECK_STR(as_unix(&address).sun_path, "app sock:80");
}

TEST(address, reads_abstract_names)
{
    struct torc_address address = parsed("unix:@name");
    struct sockaddr_un un = as_unix(&address);
    CHECK_EQ(address.length, offsetof(struct sockaddr_un, sun_path) + 5);
    CHECK(!memcmp(un.sun_path, "\0name", 5));
}

TEST(address, unix_paths_fit_to_the_last_byte)
{
    char text[128] = "unix:";
    memset(text + 5, 'x', 107);
    struct torc_address address = parsed(text);
    CHECK_EQ(address.length, sizeof(struct sockaddr_un));
    CHECK_EQ(strlen(as_unix(&address).sun_path), 107);
    text[5 + 107] = 'x';
    CHECK_EQ(torc_address_parse(text, &address), -EINVAL);
    text[5] = '@';
    CHECK_EQ(torc_address_parse(text, &address), -EINVAL);
    text[5 + 107] = '\0';
    address = parsed(text);
    CHECK_EQ(address.length, sizeof(struct sockaddr_un) - 1);
}

/* ---- any address of this machine: as the machine is ---- */

static struct fault_kernel fault;
static long socket_says; /* of AF_INET6: a negative errno */

static long some_sockets_fail(void *context, long number, const long arguments[6])
{
    if (number == SYS_socket && arguments[0] == AF_INET6 && socket_says)
        return socket_says;
    return fault_call(context, number, arguments);
}

static int read_any(void *arg)
{
    return torc_address_parse("tcp://:8080", arg);
}

static struct torc_address any_where_sockets_say(int error)
{
    struct torc_address address;
    fault_kernel_init(&fault);
    fault.kernel.call = some_sockets_fail;
    socket_says = error;
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, read_any, &address), 0);
    CHECK_EQ(torc_address_port(&address), 8080);
    fault_kernel_check_clean(&fault);
    return address;
}

TEST(address, an_empty_host_is_any_address)
{
    struct torc_address address = any_where_sockets_say(0);
    if (access("/proc/net/if_inet6", F_OK) == 0) {
        struct sockaddr_in6 in = as_ipv6(&address);
        CHECK(IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr));
    } else {
        CHECK_EQ(as_ipv4(&address).sin_addr.s_addr, INADDR_ANY);
    }
    struct torc_address outside = parsed("tcp://:8080"); /* before any executor runs */
    CHECK(torc_address_equal(&address, &outside));
}

TEST(address, without_ipv6_it_is_any_ipv4_address)
{
    struct torc_address address = any_where_sockets_say(-EAFNOSUPPORT);
    CHECK_EQ(as_ipv4(&address).sin_addr.s_addr, INADDR_ANY);
}

TEST(address, without_descriptors_it_is_any_ipv6_address)
{
    struct torc_address address = any_where_sockets_say(-EMFILE);
    CHECK_EQ(as_ipv6(&address).sin6_scope_id, 0);
}

static int read_scope(void *arg)
{
    fault.fail_kinds = FAULT_CALL; /* not those that bring the executor up */
    int err = torc_address_parse("tcp://[fe80::1%lo]:1", arg);
    fault.fail_kinds = 0;
    return err;
}

TEST(address, a_scope_that_cannot_be_looked_up_says_why)
{
    struct torc_address address = {.length = 77};
    CHECK_EQ(torc_address_parse("tcp://[fe80::1%nosuch0]:1", &address), -ENODEV);
    for (long n = 0;; n++) {
        fault_kernel_init(&fault);
        fault.fail_nth = n;
        int err = run_alone(&(struct torc_config){.kernel = &fault.kernel}, read_scope, &address);
        fault_kernel_check_clean(&fault);
        if (!fault.failed)
            break;
        CHECK_EQ(err, -EMFILE);
        CHECK_EQ(address.length, 77);
        CHECK(n < 100);
    }
    CHECK_EQ(as_ipv6(&address).sin6_scope_id, if_nametoindex("lo"));
}

/* ---- names ---- */

TEST(address, a_name_is_left_to_the_resolver)
{
    struct torc_address address = {.length = 77};
    struct torci_name name;
    const char *why;
    CHECK_EQ(torc_address_parse("tcp://app1:80", &address), -EDESTADDRREQ);
    CHECK_EQ(torci_address_read("udp://App_1.Example-2.ORG.:65535", &address, &name, &why),
             -EDESTADDRREQ);
    CHECK_STR(name.host, "app_1.example-2.org.");
    CHECK_EQ(name.port, 65535);
    CHECK_EQ(name.transport, TORC_UDP);
    CHECK_EQ(address.length, 77);
    CHECK_EQ(torci_address_read("tcp://AZaz09.x:9", &address, &name, &why), -EDESTADDRREQ);
    CHECK_STR(name.host, "azaz09.x");
    CHECK_EQ(name.port, 9);
    char longest[] = "tcp://a123456789b123456789c123456789d123456789e123456789f123456789g12:80";
    CHECK_EQ(torc_address_parse(longest, &address), -EDESTADDRREQ); /* 63 */
    CHECK_EQ(torc_address_parse("tcp://3com.com:80", &address), -EDESTADDRREQ);
    CHECK_EQ(torc_address_parse("tcp://1.2.3.4a:80", &address), -EDESTADDRREQ);
}

TEST(address, names_have_at_most_253_characters)
{
    char host[254], text[300];
    struct torc_address address;
    memset(host, 'x', sizeof host);
    for (size_t i = 60; i < sizeof host; i += 61)
        host[i] = '.';
    snprintf(text, sizeof text, "tcp://%.253s:80", host);
    CHECK_EQ(torc_address_parse(text, &address), -EDESTADDRREQ);
    snprintf(text, sizeof text, "tcp://%.254s:80", host);
    CHECK_EQ(torc_address_parse(text, &address), -EINVAL);
}

/* ---- what is refused ---- */

static const struct bad {
    const char *text, *why; /* a part of the line */
} bads[] = {
    {"", "begins with tcp://"},
    {"127.0.0.1:80", "begins with tcp://"},
    {"http://a:80", "begins with tcp://"},
    {"TCP://a:80", "begins with tcp://"},
    {"tcp:/a:80", "begins with tcp://"},
    {" tcp://a:80", "begins with tcp://"},
    {"tcp://", "port is missing"},
    {"tcp://a", "port is missing"},
    {"tcp://127.0.0.1", "port is missing"},
    {"tcp://[::1]", "port is missing"},
    {"tcp://[::1]x:80", "port is missing"},
    {"tcp://a/b:80", "port is missing"},
    {"tcp://a:", "port is missing after the colon"},
    {"tcp://:", "port is missing after the colon"},
    {"tcp://a:65536", "0 to 65535"},
    {"tcp://a:99999999999999999999999", "0 to 65535"},
    {"tcp://a:-1", "must be a number, and nothing may follow"},
    {"tcp://a:+1", "must be a number"},
    {"tcp://a: 1", "must be a number"},
    {"tcp://a:80/", "nothing may follow"},
    {"tcp://a:80 ", "nothing may follow"},
    {"tcp://a:http", "must be a number"},
    {"tcp://::1:80", "in brackets"},
    {"tcp://fe80::1:80", "in brackets"},
    {"tcp://1::2:80", "in brackets"},
    {"tcp://[::1:80", "never closed"},
    {"tcp://[", "never closed"},
    {"tcp://[]:80", "no IPv6 address"},
    {"tcp://[127.0.0.1]:80", "no IPv6 address"},
    {"tcp://[::g]:80", "no IPv6 address"},
    {"tcp://[1:2:3:4:5:6:7:8:9]:80", "no IPv6 address"},
    {"tcp://[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd]:80",
     "no IPv6 address"},
    {"tcp://[fe80::1%]:80", "comes an interface"},
    {"tcp://[fe80::1%eth0123456789abcde]:80", "comes an interface"},
    {"tcp://[fe80::1%eth0123456789abc]:80", "comes an interface"}, /* 16 characters: one too many */
    {"tcp://[fe80::1%nosuch0]:80", "no such interface"},
    {"tcp://[fe80::1%1x]:80", "no such interface"},
    {"tcp://[fe80::1%0]:80", "no such interface"},
    {"tcp://256.1.1.1:80", "four numbers"},
    {"tcp://1.2.3:80", "four numbers"},
    {"tcp://127.1:80", "four numbers"},
    {"tcp://2130706433:80", "four numbers"},
    {"tcp://0x7f.1:80", "four numbers"},
    {"tcp://127.0.0.0x1:80", "four numbers"},
    {"tcp://1.2.3.04:80", "four numbers"},
    {"tcp://1.2.3.4.5:80", "four numbers"},
    {"tcp://a..b:80", "letters, digits"},
    {"tcp://.a:80", "letters, digits"},
    {"tcp://-a:80", "letters, digits"},
    {"tcp://a b:80", "letters, digits"},
    {"tcp://user@host:80", "letters, digits"},
    {"tcp://*:80", "letters, digits"},
    {"tcp://\xc3\xa9.fr:80", "letters, digits"},
    {"tcp://a123456789b123456789c123456789d123456789e123456789f123456789g123:80", "letters"},
    {"unix:", "path is missing"},
    {"unixgram:", "path is missing"},
    {"unix:@", "name is missing after the @"},
    {"unix://", NULL}, /* a directory, but that is for the kernel to say */
};

TEST(address, each_malformed_one_has_its_words)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(bads); i++) {
        struct torc_address address, before;
        char why[TORC_ADDRESS_WHY_BYTES];
        memset(&address, 0x5a, sizeof address);
        before = address;
        int err = torc_address_parse(bads[i].text, &address);
        if (!bads[i].why) {
            CHECK_EQ(err, 0);
            continue;
        }
        if (err != -EINVAL && err != -ENODEV)
            TEST_FAIL("%s gives %d", bads[i].text, err);
        CHECK(!memcmp(&address, &before, sizeof address));
        CHECK(torc_address_explain(bads[i].text, err, why) == why);
        if (!strstr(why, bads[i].why))
            TEST_FAIL("%s is explained as: %s", bads[i].text, why);
    }
}

TEST(address, each_error_has_its_words)
{
    static const struct {
        const char *text;
        int error;
        const char *why;
    } all[] = {
        {"tcp://app1:80", -EDESTADDRREQ, "in numbers"},
        {"tcp://app1:80", -ENOENT, "no such name"},
        {"unix:/run/x", -ENOENT, "no such path"},
        {"tcp://app1:80", -EAGAIN, "resolv.conf"},
        {"tcp://1.2.3.4:80", -EAGAIN, "no room"},
        {"unix:/run/x", -EAGAIN, "too many waiting"},
        {"tcp://:80", -EADDRINUSE, "another port"},
        {"unix:/run/x", -EADDRINUSE, "another path"},
        {"tcp://1.2.3.4:80", -EADDRNOTAVAIL, "no interface"},
        {"tcp://:80", -EACCES, "CAP_NET_BIND_SERVICE"},
        {"unix:/run/x", -EACCES, "rights of the path"},
        {"tcp://:80", -EPERM, "CAP_NET_ADMIN"},
        {"tcp://a:80", -ECONNREFUSED, "nobody listens"},
        {"tcp://a:80", -ETIMEDOUT, "no answer in time"},
        {"tcp://a:80", -ENETUNREACH, "no way to it"},
        {"tcp://a:80", -EHOSTUNREACH, "no way to it"},
        {"tcp://[::1]:80", -EAFNOSUPPORT, "IPv6"},
        {"udp://[::1]:80", -EPROTOTYPE, "wrong kind"},
        {"tcp://:80", -EMFILE, "ulimit -n"},
        {"tcp://:80", -ENFILE, "fs.file-max"},
        {"tcp://:80", -ENOMEM, "out of memory"},
        {"tcp://:80", -ENOBUFS, "out of memory"},
        {"tcp://app", -ENOMEM, "out of memory"}, /* the error that it gave, not the one it has */
        {"tcp://:80", -ECANCELED, "cancelled"},
        {"tcp://:80", -EINVAL, "the kernel refuses it"},
        {"tcp://:80", -EXFULL, "errno 54"},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(all); i++) {
        char why[TORC_ADDRESS_WHY_BYTES];
        torc_address_explain(all[i].text, all[i].error, why);
        if (strncmp(why, all[i].text, strlen(all[i].text)) != 0 || !strstr(why, all[i].why))
            TEST_FAIL("%s, %d is explained as: %s", all[i].text, all[i].error, why);
    }
}

TEST(address, an_explanation_is_one_line_that_fits)
{
    char text[2000], why[TORC_ADDRESS_WHY_BYTES + 8];
    memset(why, 'w', sizeof why);
    memset(text, 'x', sizeof text);
    memcpy(text, "tcp://\n\x1b[31m\xff", 13);
    text[sizeof text - 1] = '\0';
    for (int error = -200; error <= 0; error++) {
        torc_address_explain(text, error, why);
        CHECK(strlen(why) < TORC_ADDRESS_WHY_BYTES);
        CHECK(strstr(why, "tcp://??[31m?") == why);
        CHECK(!strchr(why, '\n'));
        CHECK(strstr(why, "...: ") != NULL);
    }
    CHECK_EQ(why[sizeof why - 1], 'w');
    torc_address_explain("unix:/a b\x7f", -ENOENT, why);
    CHECK(strstr(why, "unix:/a b?: ") == why);
    text[120] = '\0'; /* as much as is shown */
    memset(text + 6, 'x', 114);
    torc_address_explain(text, -ENOENT, why);
    CHECK(!strncmp(why, text, 120) && why[120] == ':');
}

/* ---- writing ---- */

TEST(address, what_is_written_is_read_again)
{
    static const char *const texts[] = {
        "tcp://127.0.0.1:7000",
        "tcp://0.0.0.0:0",
        "udp://255.255.255.255:65535",
        "tcp://[::1]:80",
        "tcp://[::]:80",
        "udp://[ff02::1%lo]:5000",
        "udp://[fe80::1%2147483647]:5000",
        "tcp://[::ffff:10.1.2.3]:1",
        "tcp://[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
        "unix:/run/app.sock",
        "unix:relative path:80",
        "unix:./@name",
        "unixgram:/run/app.sock",
        "unix:@name",
        "unixgram:@a@b",
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(texts); i++) {
        char text[TORC_ADDRESS_TEXT_MAX];
        struct torc_address address = parsed(texts[i]);
        CHECK(torc_address_format(&address, text) == text);
        CHECK_STR(text, texts[i]);
        struct torc_address again = parsed(text);
        CHECK(torc_address_equal(&address, &again));
    }
}

TEST(address, the_longest_ones_fit)
{
    char written[TORC_ADDRESS_TEXT_MAX + 8], text[128] = "unixgram:@";
    memset(written, 'w', sizeof written);
    memset(text + 10, 'x', 106);
    struct torc_address address = parsed(text);
    CHECK_STR(torc_address_format(&address, written), text);
    CHECK_EQ(written[sizeof written - 1], 'w');
}

/* What the kernel says of sockets that others have made: no name, a path without its NUL, NULs within a name. */
TEST(address, what_only_the_kernel_says_is_written_too)
{
    char text[TORC_ADDRESS_TEXT_MAX];
    struct torc_address nameless = {.transport = TORC_UNIX, .length = sizeof(sa_family_t)};
    nameless.storage.ss_family = AF_UNIX;
    CHECK_STR(torc_address_format(&nameless, text), "unix:");
    struct torc_address path = parsed("unix:/run/a"), bare = path;
    bare.length--;
    CHECK(torc_address_equal(&path, &bare));
    CHECK_STR(torc_address_format(&bare, text), "unix:/run/a");
    CHECK(!torc_address_equal(&path, &nameless));
    struct torc_address full = {.transport = TORC_UNIX, .length = sizeof(struct sockaddr_un)};
    memset(&full.storage, 'x', sizeof(struct sockaddr_un));
    full.storage.ss_family = AF_UNIX;
    CHECK_EQ(strlen(torc_address_format(&full, text)), 5 + 108);
    struct torc_address odd = parsed("unix:@abc");
    ((struct sockaddr_un *)&odd.storage)->sun_path[2] = '\0';
    CHECK_STR(torc_address_format(&odd, text), "unix:@a@c");
    struct torc_address at_path = parsed("unix:x@b");
    ((struct sockaddr_un *)&at_path.storage)->sun_path[0] = '@';
    CHECK_STR(torc_address_format(&at_path, text), "unix:./@@b");
}

/* ---- asking ---- */

TEST(address, equal_is_transport_host_port_and_scope)
{
    static const char *const texts[] = {
        "tcp://127.0.0.1:1",
        "tcp://127.0.0.1:2",
        "tcp://127.0.0.2:1",
        "udp://127.0.0.1:1",
        "tcp://[::1]:1",
        "tcp://[::1]:2",
        "tcp://[::2]:1",
        "tcp://[fe80::1%1]:1",
        "tcp://[fe80::1%2]:1",
        "tcp://[::ffff:127.0.0.1]:1",
        "unix:/a",
        "unix:/b",
        "unix:/ab",
        "unix:@a",
        "unix:@ab",
        "unixgram:/a",
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(texts); i++)
        for (size_t j = 0; j < TORC_ARRAY_LENGTH(texts); j++) {
            struct torc_address a = parsed(texts[i]), b = parsed(texts[j]);
            if (torc_address_equal(&a, &b) != (i == j))
                TEST_FAIL("%s and %s", texts[i], texts[j]);
        }
}

TEST(address, the_port_can_be_changed)
{
    struct torc_address four = parsed("tcp://127.0.0.1:1"), six = parsed("tcp://[::1]:1"),
                        path = parsed("unix:/a"), before = path;
    torc_address_set_port(&four, 4000);
    torc_address_set_port(&six, 6000);
    torc_address_set_port(&path, 1);
    CHECK_EQ(ntohs(as_ipv4(&four).sin_port), 4000);
    CHECK_EQ(ntohs(as_ipv6(&six).sin6_port), 6000);
    CHECK(!memcmp(&path, &before, sizeof path));
}
