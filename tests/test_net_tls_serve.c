/* SPDX-License-Identifier: MIT
 *
 * Servers of both kinds with TLS: who has finished the handshake is served, and nobody else costs a worker, or for long.
 */
#ifdef TORC_TLS
#include "tests/tls_meeting.h"
#endif

#include "net/serve_internal.h"
#include "tests/harness.h"

#ifndef TORC_TLS

TEST(tls_serve, with_openssl)
{
    TEST_SKIP("built without OpenSSL");
}

#else

struct server {
    struct torc_listener listener;
    struct torc_serve_options options;
    struct torc_scope scope;
    struct torc_task task;
    bool is_handler;
    unsigned calls;
};

static int serve_by_task(struct torc_stream *stream, void *arg)
{
    struct server *server = arg;
    char bytes[5000];
    ssize_t n;
    server->calls++;
    while ((n = torc_stream_read(stream, bytes, sizeof bytes)) > 0)
        if ((n = torc_stream_write_all(stream, bytes, (size_t)n)) < 0)
            break;
    return (int)n;
}

/* One piece a call; and never called in vain. */
static int serve_by_handler(struct torc_stream *stream, void *arg)
{
    struct server *server = arg;
    const void *data;
    server->calls++;
    CHECK(stream->kept || stream->ended || stream->draining);
    ssize_t n = torc_stream_peek(stream, &data);
    if (n > 5000)
        n = 5000;
    if (n > 0 && (n = torc_stream_write_all(stream, data, (size_t)n)) > 0)
        torc_stream_consume(stream, (size_t)n);
    return (int)n;
}

static int serve(void *arg)
{
    struct server *server = arg;
    int err =
        server->is_handler
            ? torc_serve_handler_on(&server->listener, serve_by_handler, server, &server->options)
            : torc_serve_on(&server->listener, serve_by_task, server, &server->options);
    return err == -ECANCELED ? 0 : err;
}

static void start(struct server *server, bool is_handler, struct torc_tls_options tls)
{
    server->is_handler = is_handler;
    server->calls = 0;
    server->options = (struct torc_serve_options){.tls = context(tls)};
    CHECK_EQ(torc_listen(&server->listener, "tcp://127.0.0.1:0", NULL), 0);
    torc_scope_init(&server->scope);
    struct torc_task_options options = {.task = &server->task};
    CHECK_EQ(torc_spawn_with(&server->scope, &options, serve, server), 0);
}

static void stop(struct server *server)
{
    torc_task_cancel(&server->task);
    CHECK_EQ(torc_scope_join(&server->scope), 0);
    torc_listener_close(&server->listener);
    torc_tls_context_destroy(server->options.tls);
}

static void dial(const struct server *server, struct torc_stream *stream)
{
    CHECK_EQ(torc_connect_to(stream, torc_listener_address(&server->listener), NULL), 0);
}

struct visitor {
    struct server *server;
    struct torc_tls_context *tls;
    unsigned number;
};

enum { VISITORS = 20, LONG_BYTES = 100000 };

static int write_long(void *arg)
{
    static char bytes[LONG_BYTES];
    for (size_t i = 0; i < LONG_BYTES; i++)
        bytes[i] = (char)(i % 251);
    CHECK_EQ(torc_stream_write_all(arg, bytes, LONG_BYTES), LONG_BYTES);
    return torc_stream_end(arg);
}

/* Short words in turn, then one message that is longer than all buffers, and the end of both. */
static int visit(void *arg)
{
    struct visitor *visitor = arg;
    struct torc_stream stream;
    struct torc_scope scope;
    char word[32], echo[32];
    const void *data;
    dial(visitor->server, &stream);
    CHECK_EQ(torc_tls_start(&stream, visitor->tls, "localhost"), 0);
    for (unsigned i = 0; i < 5; i++) {
        int size = snprintf(word, sizeof word, "%u says %u", visitor->number, i);
        CHECK_EQ(torc_stream_print(&stream, word), 0);
        CHECK_EQ(torc_stream_read_exactly(&stream, echo, (size_t)size), size);
        CHECK(!memcmp(word, echo, (size_t)size));
    }
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, write_long, &stream), 0);
    CHECK(torc_stream_peek_at_least(&stream, LONG_BYTES, &data) >= LONG_BYTES);
    for (size_t i = 0; i < LONG_BYTES; i++)
        CHECK_EQ(((const unsigned char *)data)[i], i % 251);
    torc_stream_consume(&stream, LONG_BYTES);
    CHECK_EQ(torc_stream_peek(&stream, &data), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    torc_stream_close(&stream);
    return 0;
}

static void visit_once(struct server *server)
{
    struct visitor one = {.server = server, .tls = context(client_options())};
    CHECK_EQ(visit(&one), 0);
    torc_tls_context_destroy(one.tls);
}

static void check_echo(bool is_handler)
{
    struct server server;
    struct visitor visitors[VISITORS];
    struct torc_scope scope;
    start(&server, is_handler, server_options());
    torc_scope_init(&scope);
    struct torc_tls_context *tls = context(client_options());
    for (unsigned i = 0; i < VISITORS; i++) {
        visitors[i] = (struct visitor){.server = &server, .tls = tls, .number = i};
        CHECK_EQ(torc_spawn(&scope, visit, &visitors[i]), 0);
    }
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK(server.calls >= VISITORS);
    stop(&server);
    torc_tls_context_destroy(tls);
}

TLS_TEST(tls_serve, everybody_gets_his_own_echo)
{
    check_echo(false);
    check_echo(true);
    return nothing_is_left();
}

enum { SILENT = 50 };

static void start_with_silent(struct server *server, bool is_handler, uint64_t handshake_ns,
                              const char *words, struct torc_stream silent[SILENT])
{
    struct torc_tls_options options = server_options();
    options.handshake_ns = handshake_ns;
    start(server, is_handler, options);
    for (int i = 0; i < SILENT; i++) {
        dial(server, &silent[i]);
        CHECK_EQ(torc_stream_print(&silent[i], words), 0);
        CHECK_EQ(torc_stream_flush(&silent[i]), 0);
    }
}

/* However long they may stay: others are served meanwhile. */
static void check_patience(bool is_handler, const char *words)
{
    struct server server;
    struct torc_stream silent[SILENT];
    struct torci_net *net;
    start_with_silent(&server, is_handler, 1000 * TORC_SEC, words, silent);
    visit_once(&server);
    CHECK_EQ(torci_net_get(&net), 0);
    if (is_handler)
        CHECK(TORC_CONTAINER_OF(net->servers.next, struct torci_server, net_link)->workers <= 2);
    for (int i = 0; i < SILENT; i++)
        torc_stream_close(&silent[i]);
    stop(&server);
}

static void check_limit(bool is_handler, const char *words)
{
    struct server server;
    struct torc_stream silent[SILENT];
    char more;
    start_with_silent(&server, is_handler, 20 * TORC_MS, words, silent);
    for (int i = 0; i < SILENT; i++) {
        ssize_t n = torc_stream_read(&silent[i], &more, 1);
        CHECK(n == 0 || n == -ECONNRESET);
        torc_stream_close(&silent[i]);
    }
    stop(&server);
    CHECK_EQ(server.calls, 0);
}

/* They say nothing, or half a word. */
TLS_TEST(tls_serve, silent_connections_hold_no_worker)
{
    for (int is_handler = 0; is_handler < 2; is_handler++) {
        check_patience(is_handler, "");
        check_patience(is_handler, "\x16\x03\x01\x02");
    }
    return nothing_is_left();
}

TLS_TEST(tls_serve, silent_connections_are_closed_in_time)
{
    for (int is_handler = 0; is_handler < 2; is_handler++) {
        check_limit(is_handler, "");
        check_limit(is_handler, "\x16\x03\x01\x02");
    }
    return nothing_is_left();
}

/* A handler is called for what it can read: not for a step of the handshake, nor for each byte of a record. */
TLS_TEST(tls_serve, handler_is_not_called_for_half_a_record)
{
    enum { WORDS = 3 };
    struct server server;
    struct wire wire = {.cut_after = -1, .change_from = -1, .piece = 1};
    struct torc_tls_context *tls = context(client_options());
    start(&server, true, server_options());
    const struct torc_address *at = torc_listener_address(&server.listener);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fd, (const struct sockaddr *)&at->storage, at->length), 0);
    wire_start_to(&wire, fd);
    struct torc_stream stream;
    char echo[5];
    CHECK_EQ(torc_stream_adopt(&stream, wire.outer[1]), 0);
    CHECK_EQ(torc_tls_start(&stream, tls, "localhost"), 0);
    for (unsigned i = 1; i <= WORDS; i++) {
        CHECK_EQ(torc_stream_print(&stream, "hello"), 0);
        CHECK_EQ(torc_stream_read_exactly(&stream, echo, sizeof echo), sizeof echo);
        CHECK_EQ(server.calls, i);
    }
    CHECK_EQ(torc_stream_end(&stream), 0);
    CHECK_EQ(torc_stream_read(&stream, echo, 1), 0);
    CHECK_EQ(server.calls, WORDS + 1);
    torc_stream_close(&stream);
    CHECK_EQ(pthread_join(wire.thread, NULL), 0);
    stop(&server);
    torc_tls_context_destroy(tls);
    return nothing_is_left();
}

/* A handler that takes less than there is is called again for the rest, though that came in the same record, or lies still
 * encrypted in a chunk. */
TLS_TEST(tls_serve, nothing_waits_for_more_to_come)
{
    enum { MESSAGES = 30, BYTES = 9000 };
    struct server server;
    struct torc_stream stream;
    const void *data;
    static char bytes[BYTES];
    struct torc_tls_context *tls = context(client_options());
    start(&server, true, server_options());
    dial(&server, &stream);
    CHECK_EQ(torc_tls_start(&stream, tls, "localhost"), 0);
    for (unsigned i = 0; i < MESSAGES; i++)
        CHECK_EQ(torc_stream_write_all(&stream, bytes, BYTES), BYTES);
    CHECK(torc_stream_peek_at_least(&stream, MESSAGES * BYTES, &data) > 0);
    torc_stream_consume(&stream, MESSAGES * BYTES);
    torc_stream_close(&stream);
    stop(&server);
    torc_tls_context_destroy(tls);
    return nothing_is_left();
}

/* With a drain that would outlast the test: a handshake is no reason to wait, and who idles is told the end. */
static void check_drain(bool is_handler)
{
    struct server server;
    struct torc_stream silent, idle;
    struct torc_tls_options options = server_options();
    struct torc_tls_context *tls = context(client_options());
    char echo[5];
    options.handshake_ns = 1000 * TORC_SEC;
    start(&server, is_handler, options);
    server.options.drain_ns = 1000 * TORC_SEC;
    dial(&server, &silent);
    CHECK_EQ(torc_stream_print(&silent, "\x16\x03\x01"), 0);
    CHECK_EQ(torc_stream_flush(&silent), 0);
    dial(&server, &idle);
    CHECK_EQ(torc_tls_start(&idle, tls, "localhost"), 0);
    CHECK_EQ(torc_stream_print(&idle, "hello"), 0);
    CHECK_EQ(torc_stream_read_exactly(&idle, echo, sizeof echo), sizeof echo);
    stop(&server);
    CHECK_EQ(torc_stream_read(&idle, echo, 1), 0); /* by close_notify */
    ssize_t n = torc_stream_read(&silent, echo, 1);
    CHECK(n == 0 || n == -ECONNRESET);
    torc_stream_close(&idle);
    torc_stream_close(&silent);
    torc_tls_context_destroy(tls);
}

TLS_TEST(tls_serve, drain_ends_handshakes_and_idle_connections)
{
    check_drain(false);
    check_drain(true);
    return nothing_is_left();
}

static void check_refusal(bool is_handler)
{
    struct server server;
    struct torc_stream stream;
    struct torc_tls_options options = server_options();
    struct torc_tls_context *tls = context(client_options());
    char more;
    options.verify_peer = true;
    options.authorities = authority.certificate_path;
    start(&server, is_handler, options);
    dial(&server, &stream);
    int shaken = torc_tls_start(&stream, tls, "localhost");
    CHECK_EQ(shaken ? shaken : torc_stream_read(&stream, &more, 1), -EACCES);
    torc_stream_close(&stream);
    CHECK_EQ(server.calls, 0);
    stop(&server);
    torc_tls_context_destroy(tls);
}

TLS_TEST(tls_serve, who_is_not_trusted_is_not_served)
{
    check_refusal(false);
    check_refusal(true);
    return nothing_is_left();
}

#endif
