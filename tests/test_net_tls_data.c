/* SPDX-License-Identifier: MIT
 *
 * TLS: what becomes of data and of connections that are large, slow, cut, forged, interrupted or half closed.
 */
#ifdef TORC_TLS
#include "tests/tls_meeting.h"
#endif

#include "tests/harness.h"

#ifndef TORC_TLS

TEST(tls_data, with_openssl)
{
    TEST_SKIP("built without OpenSSL");
}

#else

/* ------ Much data */

enum { MUCH = 1 << 20 };

static unsigned char at_offset(size_t offset, bool from_server)
{
    return (unsigned char)(offset * 31 + offset / 251 + from_server);
}

/* Sizes that are never a record's, a chunk's, or a page's. */
static size_t odd_size(size_t offset)
{
    static const size_t sizes[] = {1, 7, 1021, 4099, 16385, 65537, 131071, 3};
    return sizes[(offset * 2654435761u >> 13) % TORC_ARRAY_LENGTH(sizes)];
}

struct much {
    struct torc_stream *stream;
    bool from_server;
    unsigned char *bytes;
};

static int write_much(void *arg)
{
    struct much *much = arg;
    for (size_t i = 0; i < MUCH; i++)
        much->bytes[i] = at_offset(i, much->from_server);
    for (size_t done = 0; done < MUCH;) {
        size_t part = odd_size(done);
        if (part > MUCH - done)
            part = MUCH - done;
        ssize_t n;
        if (done % 3) {
            n = torc_stream_write_all(much->stream, much->bytes + done, part);
        } else {
            struct iovec pieces[3] = {{much->bytes + done, part / 3},
                                      {much->bytes + done + part / 3, 0},
                                      {much->bytes + done + part / 3, part - part / 3}};
            n = torc_stream_writev_all(much->stream, pieces, 3);
        }
        if (n < 0)
            return (int)n;
        done += part;
    }
    return torc_stream_end(much->stream);
}

static int read_much(struct torc_stream *stream, bool from_server)
{
    unsigned char *bytes = malloc(131072);
    size_t done = 0;
    ssize_t n;
    while ((n = torc_stream_read(stream, bytes, odd_size(done / 7))) > 0) {
        for (size_t i = 0; i < (size_t)n; i++)
            CHECK_EQ(bytes[i], at_offset(done + i, from_server));
        done += (size_t)n;
    }
    free(bytes);
    if (!n && done != MUCH)
        return -EBADMSG;
    return (int)n;
}

static int exchange(struct torc_stream *stream, bool is_server)
{
    struct much much = {stream, is_server, malloc(MUCH)};
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, write_much, &much), 0);
    int err = read_much(stream, !is_server);
    int failed = torc_scope_join(&scope);
    free(much.bytes);
    return err ? err : failed;
}

static int exchange_as_server(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    return exchange(stream, true);
}

static int exchange_as_client(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    return exchange(stream, false);
}

static void check_exchange(struct wire *wire)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = exchange_as_server},
                        .client = {.tls = context(client_options()), .then = exchange_as_client}};
    if (wire)
        meet_over(&m, wire, true);
    else
        meet(&m);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
}

TLS_TEST(tls_data, a_mebibyte_both_ways_at_once)
{
    check_exchange(NULL);
    check_exchange(&(struct wire){.cut_after = -1, .change_from = -1, .piece = 1021});
    return nothing_is_left();
}

TLS_TEST(tls_data, peers_that_send_byte_by_byte_are_understood)
{
    struct wire wire = {.cut_after = -1, .change_from = -1, .piece = 1};
    struct meeting m = {.server = {.tls = context(server_options()), .then = answer_hello},
                        .client = {.tls = context(client_options()), .then = say_hello}};
    meet_over(&m, &wire, false);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

static int read_pieces(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    const void *data;
    char line[16];
    CHECK_EQ(torc_stream_peek_until(stream, "\n", 0, &data), 6);
    CHECK(!memcmp(data, "first\n", 6));
    torc_stream_consume(stream, 6);
    CHECK_EQ(torc_stream_read_line(stream, line, sizeof line), 6);
    CHECK_STR(line, "second");
    CHECK(torc_stream_peek_at_least(stream, 40000, &data) >= 40000);
    CHECK_EQ(((const char *)data)[39999], 'z');
    torc_stream_consume(stream, 40000);
    CHECK_EQ(torc_stream_peek(stream, &data), 0);
    CHECK_EQ(torc_stream_available(stream), 0);
    return 0;
}

static int write_pieces(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static char many[40000];
    memset(many, 'z', sizeof many);
    CHECK_EQ(torc_stream_print(stream, "first\nsec"), 0);
    CHECK_EQ(torc_stream_flush(stream), 0);
    CHECK_EQ(torc_stream_print(stream, "ond\r\n"), 0);
    CHECK_EQ(torc_stream_write_all(stream, many, sizeof many), sizeof many);
    return 0;
}

TLS_TEST(tls_data, lines_and_pieces_cross_records)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = write_pieces},
                        .client = {.tls = context(client_options()), .then = read_pieces}};
    meet(&m);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* ------ Ends */

static int ask_and_end(struct torc_stream *stream, struct meeting *meeting)
{
    CHECK_EQ(torc_stream_print(stream, "question"), 0);
    CHECK_EQ(torc_stream_end(stream), 0);
    CHECK_EQ(torc_stream_end(stream), 0);
    CHECK_EQ(torc_stream_write_all(stream, "x", 1), -EPIPE);
    CHECK_EQ(torc_stream_try_write(stream, "x", 1), -EPIPE);
    char answer[6];
    CHECK_EQ(torc_stream_read_exactly(stream, answer, 6), 6);
    return read_end(stream, meeting);
}

static int answer_after_the_end(struct torc_stream *stream, struct meeting *meeting)
{
    char question[8], more;
    CHECK_EQ(torc_stream_read_exactly(stream, question, 8), 8);
    CHECK_EQ(read_end(stream, meeting), 0);
    CHECK_EQ(torc_stream_read(stream, &more, 1), 0);
    return torc_stream_print(stream, "answer");
}

TLS_TEST(tls_data, half_close_leaves_the_other_direction_open)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = answer_after_the_end},
                        .client = {.tls = context(client_options()), .then = ask_and_end}};
    meet(&m);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* A TCP end can be anybody's; only close_notify is the peer's. */
static int shut_the_socket(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    CHECK_EQ(torc_stream_flush(stream), 0);
    CHECK_EQ(shutdown(stream->fd, SHUT_WR), 0);
    char more;
    ssize_t n;
    while ((n = torc_stream_read(stream, &more, 1)) > 0)
        ;
    return 0;
}

static int expect_cut(struct torc_stream *stream, struct meeting *meeting)
{
    char more;
    CHECK_EQ(read_end(stream, meeting), -EPIPE);
    CHECK_EQ(torc_stream_read(stream, &more, 1), -EPIPE); /* and it stays so */
    return 0;
}

TLS_TEST(tls_data, an_end_that_the_peer_has_not_announced_is_an_error)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = shut_the_socket},
                        .client = {.tls = context(client_options()), .then = expect_cut}};
    meet(&m);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

static bool is_loss(int result)
{
    return result == -EPIPE || result == -ECONNRESET;
}

/* At each byte of the handshake, and of what is said after it: both sides end, with an error that says so. */
static void check_cuts(bool reset)
{
    struct torc_tls_context *server = context(server_options()),
                            *client = context(client_options());
    bool whole = false;
    for (long cut = 0; !whole; cut += 53) {
        struct wire wire = {.cut_after = cut, .change_from = -1, .reset = reset};
        struct meeting m = {.server = {.tls = server, .then = answer_hello},
                            .client = {.tls = client, .then = say_hello}};
        meet_over(&m, &wire, true);
        int served = m.server.shaken ? m.server.shaken : m.server.said;
        int called = m.client.shaken ? m.client.shaken : m.client.said;
        if (served && !is_loss(served))
            CHECK_EQ(served, -EPIPE);
        if (called && !is_loss(called))
            CHECK_EQ(called, -EPIPE);
        if (wire.done[0] && wire.done[1])
            whole = true;
        CHECK(cut < 20000);
    }
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
}

TLS_TEST(tls_data, reset_at_any_byte)
{
    check_cuts(true);
    return nothing_is_left();
}

TLS_TEST(tls_data, cut_at_any_byte)
{
    check_cuts(false);
    return nothing_is_left();
}

static int send_until_it_fails(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static const char zeros[100000];
    ssize_t n;
    while ((n = torc_stream_write_all(stream, zeros, sizeof zeros)) > 0)
        ;
    CHECK_EQ(torc_stream_write_all(stream, zeros, 1), n);
    return (int)n;
}

static int abort_at_once(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char some[1000];
    CHECK_EQ(torc_stream_read_exactly(stream, some, sizeof some), sizeof some);
    torc_stream_abort(stream);
    return 0;
}

TLS_TEST(tls_data, writer_hears_of_a_reset)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = send_until_it_fails},
                        .client = {.tls = context(client_options()), .then = abort_at_once}};
    int fds[2];
    make_tcp_pair(fds);
    m.server.fd = fds[0];
    m.client.fd = fds[1];
    hold(&m);
    CHECK(is_loss(m.server.said));
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* ------ Lies */

static int count_much(struct torc_stream *stream, struct meeting *meeting)
{
    int result = read_end(stream, meeting), again = read_end(stream, meeting);
    CHECK_EQ(again, result);
    return result;
}

static int write_some(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static const char zeros[5000];
    ssize_t n = torc_stream_write_all(stream, zeros, sizeof zeros);
    return n < 0 ? (int)n : 0;
}

/* One bit, anywhere: in the handshake, in a ticket, in data, in the end. */
TLS_TEST(tls_data, no_changed_byte_passes)
{
    struct torc_tls_options options = client_options();
    struct torc_tls_context *server = context(server_options());
    bool whole = false;
    for (long at = 5; !whole; at += 211) {
        struct torc_tls_context *client = context(options);
        struct wire wire = {.cut_after = -1, .change_from = at};
        struct meeting m = {.server = {.tls = server, .then = write_some},
                            .client = {.tls = client, .then = count_much}};
        meet_over(&m, &wire, false);
        whole = wire.from_server <= at;
        int called = m.client.shaken ? m.client.shaken : m.client.said;
        if (whole)
            CHECK_EQ(called, 0);
        else
            CHECK(called == -EPROTO || called == -EACCES || called == -EPIPE);
        torc_tls_context_destroy(client);
        CHECK(at < 30000);
    }
    torc_tls_context_destroy(server);
    return nothing_is_left();
}

/* What a side says to a peer that only sends TEXT and ends; descriptors: ours, theirs. */
static int answer_to(const char *text, size_t size, bool as_server)
{
    int fds[2];
    make_pair(fds);
    struct side side = {.fd = fds[0],
                        .tls = context(as_server ? server_options() : client_options()),
                        .name = as_server ? NULL : "localhost"};
    CHECK_EQ(write(fds[1], text, size), size);
    CHECK_EQ(shutdown(fds[1], SHUT_WR), 0);
    CHECK_EQ(take_side(&side), 0);
    close(fds[1]);
    torc_tls_context_destroy(side.tls);
    return side.shaken;
}

TLS_TEST(tls_data, peer_that_speaks_no_tls_is_found_out)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n", greeting[] = "220 mail ESMTP\r\n";
    CHECK_EQ(answer_to(request, sizeof request - 1, true), -EPROTO);
    CHECK_EQ(answer_to(greeting, sizeof greeting - 1, true), -EPROTO);
    CHECK_EQ(answer_to(greeting, sizeof greeting - 1, false), -EPROTO);
    CHECK_EQ(answer_to("", 0, true), -EPIPE);
    CHECK_EQ(answer_to("", 0, false), -EPIPE);
    CHECK_EQ(answer_to("\x16\x03\x01", 3, true), -EPIPE);
    CHECK_EQ(answer_to("\x16\x03\x01\xff\xff rubbish", 12, true), -EPROTO);
    return nothing_is_left();
}

/* ------ Changing over */

static bool line_came;

static int change_over(void *arg)
{
    struct side *side = arg;
    struct torc_stream stream;
    char line[64];
    CHECK_EQ(torc_stream_adopt(&stream, side->fd), 0);
    if (side->name) {
        CHECK_EQ(torc_stream_print(&stream, "STARTTLS\n"), 0);
        while (!line_came) /* or both would come as one */
            CHECK_EQ(torc_sleep(TORC_MS), 0);
    } else {
        /* As much as to find the first byte of the handshake read ahead. */
        const void *data;
        CHECK_EQ(torc_stream_peek_until(&stream, "\n", 0, &data), 9);
        line_came = true;
        CHECK(torc_stream_peek_at_least(&stream, 10, &data) >= 10);
        CHECK_EQ(torc_stream_read_line(&stream, line, sizeof line), 8);
    }
    struct torc_tls_info info;
    CHECK_EQ(torc_tls_info_get(&stream, &info), -EOPNOTSUPP);
    side->shaken = torc_tls_start(&stream, side->tls, side->name);
    CHECK_EQ(torc_tls_start(&stream, side->tls, side->name), -EINVAL);
    CHECK_EQ(torc_stream_release(&stream), -EINVAL);
    if (!side->shaken)
        side->said = side->then(&stream, NULL);
    torc_stream_close(&stream);
    return 0;
}

TLS_TEST(tls_data, plain_stream_can_change_over)
{
    int fds[2];
    make_pair(fds);
    struct side server = {.fd = fds[0], .tls = context(server_options()), .then = answer_hello};
    struct side client = {
        .fd = fds[1], .tls = context(client_options()), .name = "localhost", .then = say_hello};
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, change_over, &server), 0);
    CHECK_EQ(torc_spawn(&scope, change_over, &client), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(server.shaken, 0);
    CHECK_EQ(client.said, 0);
    CHECK_EQ(server.said, 0);
    torc_tls_context_destroy(server.tls);
    torc_tls_context_destroy(client.tls);
    return nothing_is_left();
}

/* ------ Interruptions */

static int shake_as_both(void *arg)
{
    (void)arg;
    struct torc_tls_context *server = context(server_options()),
                            *client = context(client_options());
    CHECK_EQ(shake_with_nobody(server, NULL), -ECANCELED);
    CHECK_EQ(shake_with_nobody(client, "localhost"), -ECANCELED);
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
    return 0;
}

TLS_TEST(tls_data, handshake_that_nobody_answers_ends_by_deadline_or_cancel)
{
    struct torc_tls_options server = server_options(), client = client_options();
    struct torc_deadline limit;
    struct torc_tls_context *tls = context(server);
    torc_deadline_enter(&limit, 10 * TORC_MS);
    CHECK_EQ(shake_with_nobody(tls, NULL), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&limit));
    torc_tls_context_destroy(tls);
    server.handshake_ns = client.handshake_ns = 5 * TORC_MS;
    tls = context(server);
    CHECK_EQ(shake_with_nobody(tls, NULL), -ETIMEDOUT);
    torc_tls_context_destroy(tls);
    tls = context(client);
    CHECK_EQ(shake_with_nobody(tls, "localhost"), -ETIMEDOUT);
    torc_tls_context_destroy(tls);
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, shake_as_both, NULL), 0);
    torc_yield();
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    return nothing_is_left();
}

static bool go_on; /* what was written in time has been counted: the reader may begin */

/* The peer reads nothing: memory stays bounded, and an interrupted writer leaves whole records behind. */
static int write_in_vain(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static const char zeros[100000];
    struct torci_net *net = stream->net;
    struct torc_deadline limit;
    uint32_t before = net->free_count;
    ssize_t n;
    torc_deadline_enter(&limit, 20 * TORC_MS);
    while ((n = torc_stream_write_all(stream, zeros, sizeof zeros)) > 0)
        ;
    (void)torc_deadline_leave(&limit);
    CHECK_EQ(n, -ETIMEDOUT);
    CHECK(before - net->free_count < 16);
    CHECK_EQ(torc_stream_try_write(stream, zeros, sizeof zeros), -EAGAIN);
    go_on = true;
    while ((n = torc_stream_try_write(stream, "end", 3)) == -EAGAIN)
        torc_yield();
    CHECK_EQ(n, 3);
    return torc_stream_end(stream);
}

static int read_late(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char last[3] = "", bytes[1000];
    ssize_t n;
    while (!go_on)
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    while ((n = torc_stream_read(stream, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            memmove(last, last + 1, 2);
            last[2] = bytes[i];
        }
    CHECK_EQ(n, 0);
    CHECK(!memcmp(last, "end", 3));
    return 0;
}

TLS_TEST(tls_data, interrupted_writer_leaves_the_stream_whole)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = write_in_vain},
                        .client = {.tls = context(client_options()), .then = read_late}};
    go_on = false;
    meet(&m);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

#endif
