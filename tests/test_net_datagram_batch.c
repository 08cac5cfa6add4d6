/* SPDX-License-Identifier: MIT
 *
 * Many datagrams at a time, many in one (GSO, GRO), and how datagram sockets come to be and go.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "io/io_internal.h"
#include "tests/net_datagrams.h"

/* ---- several at once ---- */

static int batches(void *address)
{
    struct torc_datagram a, b;
    static struct torc_message out[BATCH], in[BATCH];
    static uint32_t numbers[BATCH], room[BATCH];
    open_at(&b, address);
    open_connected(&a, &b);
    for (unsigned i = 0; i < BATCH; i++) {
        numbers[i] = i;
        out[i] = (struct torc_message){.data = {&numbers[i], i % 3 ? sizeof numbers[i] : 0}};
        if (i % 2)
            out[i].peer = *torc_datagram_address(&b);
    }
    unsigned sent = 0, got = 0; /* a Unix receiver may hold fewer than a batch */
    while (got < BATCH) {
        unsigned some = BATCH - sent < 8 ? BATCH - sent : 8;
        if (some)
            CHECK_EQ(torc_datagram_send_batch(&a, out + sent, some), some);
        sent += some;
        for (unsigned i = 0; i < BATCH; i++)
            in[i].data = (struct iovec){&room[i], sizeof room[i]};
        int n = torc_datagram_receive_batch(&b, in, BATCH);
        CHECK(n > 0 && (unsigned)n <= sent - got);
        for (int i = 0; i < n; i++, got++) {
            CHECK_EQ(in[i].data.iov_len, got % 3 ? sizeof room[0] : 0);
            CHECK(!in[i].truncated && !in[i].segment_bytes);
            CHECK(torc_address_equal(&in[i].peer, torc_datagram_address(&a)));
            if (got % 3)
                CHECK_EQ(room[i], got);
        }
    }
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram_batch, batches_keep_order_borders_and_senders)
{
    run(batches, "udp://127.0.0.1:0");
    run(batches, abstract("batches"));
}

static int batch_errors(void *arg)
{
    static char large[65508];
    struct torc_datagram a, b, alone;
    struct torc_message messages[4];
    (void)arg;
    open_at(&b, "udp://127.0.0.1:0");
    open_connected(&a, &b);
    open_at(&alone, "udp://127.0.0.1:0");
    for (int i = 0; i < 4; i++)
        messages[i] = (struct torc_message){.data = {large, 1}};
    CHECK_EQ(torc_datagram_send_batch(&a, messages, 0), -EINVAL);
    CHECK_EQ(torc_datagram_send_batch(&a, messages, BATCH + 1), -EINVAL);
    CHECK_EQ(torc_datagram_receive_batch(&b, messages, 0), -EINVAL);
    CHECK_EQ(torc_datagram_receive_batch(&b, messages, BATCH + 1), -EINVAL);
    messages[2].data.iov_len = sizeof large;
    CHECK_EQ(torc_datagram_send_batch(&a, messages, 4), 2);
    CHECK_EQ(torc_datagram_send_batch(&a, messages + 2, 2), -EMSGSIZE);
    CHECK_EQ(torc_datagram_send_batch(&a, messages + 3, 1), 1);
    CHECK_EQ(torc_datagram_receive_batch(&b, messages, 4), 3);

    messages[0] = (struct torc_message){.data = {large, 1}, .peer = *torc_datagram_address(&b)};
    messages[1] = messages[0];
    messages[1].peer.transport = 0;
    CHECK_EQ(torc_datagram_send_batch(&alone, messages, 2), 1);
    CHECK_EQ(torc_datagram_send_batch(&alone, messages + 1, 1), -EDESTADDRREQ);
    CHECK_EQ(torc_datagram_send(&alone, large, 1, NULL), -EDESTADDRREQ);
    messages[0].peer.transport = TORC_TCP;
    CHECK_EQ(torc_datagram_send_batch(&a, messages, 1), -EINVAL);
    CHECK_EQ(torc_datagram_send(&a, large, 1, &messages[0].peer), -EINVAL);

    torc_datagram_close(&alone);
    open_at(&alone, abstract("alone"));
    CHECK_EQ(torc_datagram_send(&alone, large, 1, NULL), -EDESTADDRREQ);

    /* too large for the room, between others */
    CHECK_EQ(receive_for(&b, TORC_SEC), 1);
    CHECK_EQ(torc_datagram_send(&a, "1", 1, NULL), 1);
    CHECK_EQ(torc_datagram_send(&a, "22", 2, NULL), 2);
    CHECK_EQ(torc_datagram_send(&a, "3", 1, NULL), 1);
    char room[3] = "";
    for (int i = 0; i < 3; i++)
        messages[i].data = (struct iovec){&room[i], 1};
    CHECK_EQ(torc_datagram_receive_batch(&b, messages, 4), 3);
    CHECK(!messages[0].truncated && messages[1].truncated && !messages[2].truncated);
    CHECK_EQ(messages[1].data.iov_len, 1);
    CHECK(!memcmp(room, "123", 3));
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    torc_datagram_close(&alone);
    return 0;
}

TEST(datagram_batch, a_batch_ends_before_what_fails)
{
    run(batch_errors, NULL);
}

/* ---- several in one ---- */

enum { SEGMENT = 1000 };

static char pattern[200 * SEGMENT];

static void fill_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(i / SEGMENT * 31 + i % SEGMENT);
}

/* Receives one by one what SIZE bytes of the pattern were cut into. */
static void expect_pieces(struct torc_datagram *datagram, size_t size)
{
    static char room[ROOM];
    for (size_t at = 0; at < size; at += SEGMENT) {
        size_t piece = size - at < SEGMENT ? size - at : SEGMENT;
        CHECK_EQ(torc_datagram_receive(datagram, room, sizeof room, NULL), piece);
        CHECK(!memcmp(room, pattern + at, piece));
    }
}

static int receive_pieces(void *arg)
{
    expect_pieces(((void **)arg)[0], *(size_t *)((void **)arg)[1]);
    return 0;
}

static int cut_up(void *address)
{
    static const size_t sizes[] = {10 * SEGMENT, 10 * SEGMENT + 1, 2 * SEGMENT + 1,
                                   SEGMENT,      SEGMENT - 1,      0,
                                   64 * SEGMENT, 65 * SEGMENT,     100 * SEGMENT + 17};
    struct torc_datagram a, b;
    fill_pattern();
    CHECK_EQ(
        torc_datagram_open(&b, address,
                           &(struct torc_datagram_options){.socket = {.receive_bytes = 1 << 20}}),
        0);
    open_connected(&a, &b);
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(sizes); i++) {
        struct torc_scope all;
        size_t size = sizes[i];
        void *context[2] = {&b, &size};
        struct torc_message messages[2] = {{.data = {(char[4]){"plain"[0]}, 1}},
                                           {.data = {pattern, size}, .segment_bytes = SEGMENT}};
        uint64_t sent_before = torci_this->counters->net_datagrams_sent;
        char byte;
        torc_scope_init(&all);
        CHECK_EQ(torc_datagram_send(&a, "", 0, NULL), 0);
        CHECK_EQ(torc_datagram_receive(&b, &byte, 1, NULL), 0);
        CHECK_EQ(torc_spawn(&all, receive_pieces, context), 0);
        CHECK_EQ(torc_datagram_send_batch(&a, messages + 1, 1), 1);
        if (!size) {
            torc_scope_cancel(&all); /* an empty message is one, and none of the pieces */
            CHECK_EQ(torc_datagram_receive(&b, &byte, 1, NULL), 0);
        }
        CHECK_EQ(torc_scope_join(&all), 0);
        /* one walk through the stack wherever the kernel can */
        if (size <= 64 * SEGMENT && torc_datagram_address(&b)->transport == TORC_UDP)
            CHECK_EQ(torci_this->counters->net_datagrams_sent - sent_before, 2);
        /* behind another one */
        if (size < 8 * SEGMENT) {
            CHECK_EQ(torc_datagram_send_batch(&a, messages, 2), 2);
            CHECK_EQ(torc_datagram_receive(&b, &byte, 1, NULL), 1);
            if (size)
                expect_pieces(&b, size);
            else
                CHECK_EQ(torc_datagram_receive(&b, &byte, 1, NULL), 0);
        }
    }
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram_batch, one_message_for_several_arrives_as_several)
{
    run(cut_up, "udp://127.0.0.1:0");
}

TEST(datagram_batch, one_message_for_several_goes_over_unix_sockets_too)
{
    run(cut_up, abstract("cut"));
}

static int coalesced(void *arg)
{
    struct torc_datagram a, b;
    static char room[4][ROOM];
    struct torc_message messages[4];
    char byte;
    (void)arg;
    fill_pattern();
    CHECK_EQ(torc_datagram_open(&b, "udp://127.0.0.1:0",
                                &(struct torc_datagram_options){.coalesce = true}),
             0);
    open_connected(&a, &b);
    CHECK_EQ(torc_datagram_receive(&b, &byte, 1, NULL), -EINVAL); /* it could not say how many */
    size_t size = 20 * SEGMENT + 5;
    messages[0] = (struct torc_message){.data = {pattern, size}, .segment_bytes = SEGMENT};
    messages[1] = (struct torc_message){.data = {pattern, 3}};
    CHECK_EQ(torc_datagram_send_batch(&a, messages, 2), 2);
    size_t at = 0;
    bool several = false;
    while (at < size + 3) {
        for (int i = 0; i < 4; i++)
            messages[i].data = (struct iovec){room[i], ROOM};
        int n = torc_datagram_receive_batch(&b, messages, 4);
        CHECK(n > 0);
        CHECK_EQ(torc_datagram_send_batch(&b, messages, (unsigned)n), n); /* back as it is */
        for (int i = 0; i < n; i++) {
            CHECK(!memcmp(room[i], at < size ? pattern + at : pattern, messages[i].data.iov_len));
            CHECK(messages[i].segment_bytes == 0 || messages[i].segment_bytes == SEGMENT);
            several |= messages[i].segment_bytes != 0;
            at += messages[i].data.iov_len;
        }
    }
    CHECK(several);

    /* room for less than one of them */
    messages[0] = (struct torc_message){.data = {pattern, size}, .segment_bytes = SEGMENT};
    CHECK_EQ(torc_datagram_send_batch(&a, messages, 1), 1);
    messages[0].data = (struct iovec){room[0], SEGMENT / 2};
    CHECK_EQ(torc_datagram_receive_batch(&b, messages, 1), 1);
    CHECK(messages[0].truncated && messages[0].segment_bytes == 0);
    CHECK_EQ(messages[0].data.iov_len, SEGMENT / 2);

    expect_pieces(&a, size);
    CHECK_EQ(torc_datagram_receive(&a, room[0], ROOM, NULL), 3);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram_batch, messages_of_one_sender_come_together_and_go_back_so)
{
    run(coalesced, NULL);
}

/* ---- opening ---- */

static int bad_addresses(void *arg)
{
    static const struct {
        const char *address, *connect;
        int err;
    } cases[] = {
        {NULL, NULL, -EINVAL},
        {"tcp://127.0.0.1:0", NULL, -EPROTOTYPE},
        {"unix:/tmp/torc-test-none", NULL, -EPROTOTYPE},
        {"udp://127.0.0.1:0", "tcp://127.0.0.1:80", -EPROTOTYPE},
        {"udp://127.0.0.1:0", "unixgram:@x", -EINVAL},
        {"udp://127.0.0.1", NULL, -EINVAL},
        {"udp://127.0.0.1:70000", NULL, -EINVAL},
        {"nonsense", NULL, -EINVAL},
        {"udp://192.0.2.1:5000", NULL, -EADDRNOTAVAIL},
        {"unixgram:/nonexistent/dir/socket", NULL, -ENOENT},
        {NULL, "unixgram:/nonexistent/socket", -ENOENT},
        {NULL, "unixgram:@torc-test-nobody", -ECONNREFUSED},
    };
    struct torc_datagram datagram;
    (void)arg;
    torc_datagram_close(&(struct torc_datagram){.fd = -1});
    unsigned files = open_files();
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(cases); i++) {
        struct torc_datagram_options options = {.connect = cases[i].connect};
        CHECK_EQ(torc_datagram_open(&datagram, cases[i].address, &options), cases[i].err);
        torc_datagram_close(&datagram); /* harmless */
    }
    CHECK_EQ(torc_datagram_open(&datagram, abstract("coalesce"),
                                &(struct torc_datagram_options){.coalesce = true}),
             -EINVAL);
    CHECK_EQ(open_files(), files);
    return 0;
}

TEST(datagram_batch, bad_addresses_are_refused_and_nothing_is_left)
{
    run(bad_addresses, NULL);
}

static int taken_ports(void *arg)
{
    struct torc_datagram a, b, c;
    char text[TORC_ADDRESS_TEXT_MAX];
    struct torc_datagram_options shared = {.socket = {.reuse_port = true}};
    (void)arg;
    open_at(&a, "udp://127.0.0.1:0");
    CHECK(torc_address_port(torc_datagram_address(&a)) != 0);
    torc_address_format(torc_datagram_address(&a), text);
    CHECK_EQ(torc_datagram_open(&b, text, NULL), -EADDRINUSE);
    CHECK_EQ(torc_datagram_open(&b, text, &shared), -EADDRINUSE);
    torc_datagram_close(&a);
    CHECK_EQ(torc_datagram_open(&b, text, &shared), 0);
    CHECK_EQ(torc_datagram_open(&c, text, &shared), 0);
    torc_datagram_close(&b);
    torc_datagram_close(&c);
    return 0;
}

TEST(datagram_batch, a_port_is_shared_only_when_asked_for)
{
    run(taken_ports, NULL);
}

static int unix_paths(void *arg)
{
    struct torc_datagram a, b;
    char text[TORC_ADDRESS_TEXT_MAX];
    struct stat before, after;
    (void)arg;
    make_path();
    open_at(&a, unix_text(text));
    CHECK_EQ(stat(unix_path, &before), 0);
    CHECK_EQ(torc_datagram_open(&b, text, NULL), -EADDRINUSE);
    CHECK_EQ(stat(unix_path, &after), 0);
    CHECK_EQ(after.st_ino, before.st_ino);
    close(torc_datagram_release(&a));
    CHECK_EQ(access(unix_path, F_OK), 0);
    open_at(&b, text);
    send_number(&b, 4, torc_datagram_address(&b));
    CHECK_EQ(receive_number(&b), 4);
    torc_datagram_close(&b);
    CHECK_EQ(access(unix_path, F_OK), -1);

    /* a file of the user's is nobody's to remove */
    int fd = open(unix_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQ(torc_datagram_open(&b, text, NULL), -EADDRINUSE);
    CHECK_EQ(access(unix_path, F_OK), 0);
    unlink(unix_path);

    /* a stream's socket that lives is not dead for being asked as a datagram's */
    struct sockaddr_storage storage;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(&storage, &torc_datagram_address(&b)->storage, sizeof storage);
    CHECK_EQ(bind(fd, (struct sockaddr *)&storage, torc_datagram_address(&b)->length), 0);
    CHECK_EQ(torc_datagram_open(&a, text, NULL), -EADDRINUSE);
    CHECK_EQ(access(unix_path, F_OK), 0);
    close(fd);
    unlink(unix_path);
    return 0;
}

TEST(datagram_batch, a_path_is_taken_over_from_the_dead_alone)
{
    run(unix_paths, NULL);
}

static int adoption(void *arg)
{
    struct torc_datagram a, b;
    int fds[2];
    (void)arg;
    CHECK_EQ(torc_datagram_adopt(&a, -1), -EBADF);
    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(torc_datagram_adopt(&a, fds[0]), -ENOTSOCK);
    close(fds[0]);
    close(fds[1]);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(torc_datagram_adopt(&a, fd), -EINVAL);
    close(fd);
    open_at(&b, "udp://127.0.0.1:0");
    open_connected(&a, &b);
    int given = torc_datagram_release(&a); /* blocking or not is all the same */
    CHECK_EQ(fcntl(given, F_SETFL, 0), 0);
    CHECK_EQ(torc_datagram_adopt(&a, given), 0);
    send_number(&a, 9, NULL);
    CHECK_EQ(receive_number(&b), 9);
    CHECK_EQ(receive_for(&a, TORC_MS), -ETIMEDOUT);
    int on = 1;
    given = torc_datagram_release(&b);
    CHECK_EQ(setsockopt(given, IPPROTO_UDP, UDP_GRO, &on, sizeof on), 0);
    CHECK_EQ(torc_datagram_adopt(&b, given), 0);
    char byte;
    CHECK_EQ(torc_datagram_receive(&b, &byte, 1, NULL), -EINVAL);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram_batch, a_foreign_socket_is_taken_as_it_is)
{
    run(adoption, NULL);
}

/* ---- every call of the kernel fails once ---- */

static int exchange(void)
{
    struct torc_datagram a = {.fd = -1}, b = {.fd = -1};
    struct torc_message message = {.data = {(char[4]){0}, 4}};
    char text[TORC_ADDRESS_TEXT_MAX];
    uint32_t number = 1;
    int err = torc_datagram_open(
        &b, unix_text(text), &(struct torc_datagram_options){.socket = {.receive_bytes = 9999}});
    if (!err)
        err = torc_datagram_open(&a, NULL, &(struct torc_datagram_options){.connect = text});
    ssize_t n = err;
    if (!err && (n = torc_datagram_send(&a, &number, 4, NULL)) == 4)
        n = torc_datagram_receive(&b, &number, 4, &message.peer);
    if (n == 4)
        n = torc_datagram_send_batch(&b, &message, 1);
    if (n == 1)
        n = torc_datagram_receive_batch(&a, &message, 1);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return n < 0 ? (int)n : 0;
}

static int every_call_fails_once(void *arg)
{
    (void)arg;
    unsigned files = open_files(), survived = 0;
    make_path();
    for (long nth = 0;; nth++) {
        CHECK(nth < 100);
        fault.fail_kinds = FAULT_CALL;
        fault.fail_nth = nth;
        fault.calls = 0;
        fault.failed = false;
        int err = exchange();
        fault.fail_nth = -1;
        CHECK(err == 0 || (err == -EMFILE && fault.failed));
        survived += fault.failed && !err;
        CHECK_EQ(open_files(), files);
        unlink(unix_path); /* if the one that failed was the unlink */
        if (!fault.failed)
            break;
    }
    CHECK_EQ(survived, 1); /* the removal of the path, of which nobody is told */
    return 0;
}

TEST(datagram_batch, whatever_fails_nothing_is_left_open)
{
    setup();
    CHECK_EQ(run_alone(&config, every_call_fails_once, NULL), 0);
    fault_kernel_check_clean(&fault);
}
