/* SPDX-License-Identifier: MIT
 *
 * Servers whose requests come in pieces: handlers that take less than there is, and drains that meet half a request.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/harness.h"
#include "tests/run_shard.h"
#include "torc.h"

enum { PIECE = 1000, REQUEST = 8 };

struct server {
    struct torc_listener listener;
    struct torc_scope scope;
    struct torc_task task;
    torc_stream_fn *fn;
    bool is_handler;
    struct torc_stream *stream; /* the server's end */
    size_t had;                 /* of the request */
};

static int serve(void *arg)
{
    struct server *server = arg;
    int err = server->is_handler
                  ? torc_serve_handler_on(&server->listener, server->fn, server, NULL)
                  : torc_serve_on(&server->listener, server->fn, server, NULL);
    return err == -ECANCELED ? 0 : err;
}

static void start(struct server *server, torc_stream_fn *fn, bool is_handler,
                  struct torc_stream *client)
{
    server->fn = fn;
    server->is_handler = is_handler;
    CHECK_EQ(torc_listen(&server->listener, "tcp://127.0.0.1:0", NULL), 0);
    torc_scope_init(&server->scope);
    struct torc_task_options options = {.task = &server->task};
    CHECK_EQ(torc_spawn_with(&server->scope, &options, serve, server), 0);
    const struct torc_address *at = torc_listener_address(&server->listener);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fd, (const struct sockaddr *)&at->storage, at->length), 0);
    CHECK_EQ(torc_stream_adopt(client, fd), 0);
}

static void stop(struct server *server, struct torc_stream *client)
{
    torc_stream_close(client);
    torc_task_cancel(&server->task);
    CHECK_EQ(torc_scope_join(&server->scope), 0);
    torc_listener_close(&server->listener);
}

/* ---- a handler that takes a byte at a time ---- */

static int take_one(struct torc_stream *s, void *arg)
{
    (void)arg;
    const void *data;
    ssize_t n = torc_stream_peek(s, &data);
    if (n > 0 && (n = torc_stream_write_all(s, data, 1)) > 0)
        torc_stream_consume(s, 1);
    return (int)n;
}

static int send_a_piece(void *arg)
{
    (void)arg;
    struct server server = {.had = 0};
    struct torc_stream client;
    char sent[PIECE], got[PIECE];
    for (int i = 0; i < PIECE; i++)
        sent[i] = (char)i;
    start(&server, take_one, true, &client);
    CHECK_EQ(torc_stream_write_all(&client, sent, PIECE), PIECE);
    CHECK_EQ(torc_stream_read_exactly(&client, got, PIECE), PIECE);
    CHECK_EQ(memcmp(sent, got, PIECE), 0);
    CHECK_EQ(torc_stream_write_all(&client, sent, PIECE), PIECE);
    CHECK_EQ(torc_stream_end(&client), 0); /* what lies before the end is not lost by it */
    CHECK_EQ(torc_stream_read_exactly(&client, got, PIECE), PIECE);
    CHECK_EQ(torc_stream_read(&client, got, 1), 0);
    stop(&server, &client);
    return 0;
}

TEST(pieces, handler_is_called_again_for_what_stood_behind_what_it_took)
{
    CHECK_EQ(run_shard(NULL, send_a_piece, NULL), 0);
}

/* ---- a handler that takes lines ---- */

static int take_line(struct torc_stream *s, void *arg)
{
    struct server *server = arg;
    const void *data;
    ssize_t n = torc_stream_peek(s, &data);
    if (n <= 0)
        return (int)n;
    server->stream = s;
    server->had = (size_t)n;
    const char *end = memchr(data, '\n', (size_t)n);
    if (!end)
        return 1; /* its rest has not come */
    n = end + 1 - (const char *)data;
    ssize_t sent = torc_stream_write_all(s, data, (size_t)n);
    torc_stream_consume(s, (size_t)n);
    return (int)sent;
}

static int send_half_lines(void *arg)
{
    (void)arg;
    struct server server = {.had = 0};
    struct torc_stream client;
    char got[8] = "";
    start(&server, take_line, true, &client);
    for (size_t i = 1; i <= 3; i++) {
        CHECK_EQ(torc_stream_print(&client, "x"), 0);
        while (server.had < i)
            CHECK_EQ(torc_sleep(0), 0);
    }
    CHECK_EQ(torc_stream_print(&client, "\nyy\nz"), 0);
    CHECK_EQ(torc_stream_read_exactly(&client, got, 7), 7);
    CHECK_STR(got, "xxx\nyy\n");
    stop(&server, &client);
    return 0;
}

TEST(pieces, handler_sees_what_it_left_together_with_what_has_come)
{
    CHECK_EQ(run_shard(NULL, send_half_lines, NULL), 0);
}

/* ---- half a request, then a drain ---- */

static int parse(struct torc_stream *s, void *arg)
{
    struct server *server = arg;
    const void *data;
    ssize_t n = torc_stream_peek(s, &data);
    if (n <= 0)
        return (int)n;
    server->stream = s;
    server->had += (size_t)n;
    torc_stream_consume(s, (size_t)n);
    torc_stream_set_busy(s, server->had < REQUEST);
    int err = torc_stream_print(s, server->had < REQUEST ? "?" : "!");
    return err ? err : 1;
}

static int read_whole(struct torc_stream *s, void *arg)
{
    struct server *server = arg;
    char request[REQUEST];
    server->stream = s;
    int err = torc_stream_print(s, "?");
    if (err || torc_stream_read_exactly(s, request, sizeof request) != sizeof request)
        return -EBADMSG;
    return torc_stream_print(s, "!");
}

static void drain_in_the_middle(torc_stream_fn *fn, bool is_handler)
{
    struct server server = {.had = 0};
    struct torc_stream client;
    char got[2] = "";
    start(&server, fn, is_handler, &client);
    CHECK_EQ(torc_stream_print(&client, "1234"), 0);
    CHECK_EQ(torc_stream_read_exactly(&client, got, 1), 1);
    CHECK_EQ(got[0], '?');
    while (server.stream->received_bytes < REQUEST / 2 || torc_stream_available(server.stream))
        CHECK_EQ(torc_sleep(0), 0);
    torc_task_cancel(&server.task);
    while (!torc_stream_is_draining(server.stream))
        CHECK_EQ(torc_sleep(0), 0);
    CHECK_EQ(torc_stream_print(&client, "5678"), 0);
    CHECK_EQ(torc_stream_read_exactly(&client, got, 1), 1);
    CHECK_EQ(got[0], '!');
    CHECK_EQ(torc_stream_read(&client, got, 1), 0); /* answered, it leaves */
    stop(&server, &client);
}

static int drain_handler(void *arg)
{
    (void)arg;
    drain_in_the_middle(parse, true);
    return 0;
}

static int drain_task(void *arg)
{
    (void)arg;
    drain_in_the_middle(read_whole, false);
    return 0;
}

TEST(pieces, drain_waits_for_a_handler_that_is_busy)
{
    CHECK_EQ(run_shard(NULL, drain_handler, NULL), 0);
}

TEST(pieces, drain_waits_for_the_rest_of_an_exact_read)
{
    CHECK_EQ(run_shard(NULL, drain_task, NULL), 0);
}
