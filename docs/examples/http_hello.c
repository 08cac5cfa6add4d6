/* SPDX-License-Identifier: MIT
 *
 * An HTTP/1.1 server that greets whoever asks, on every CPU: keep-alive, pipelining, bodies of any length. llhttp parses, or
 * http_parser, which it grew out of. What it knows about half a request stays with the connection, so that a client
 * that dawdles costs no task and no buffer.
 *
 * Run: build/examples/http_hello tcp://127.0.80.1:8080
 * Try: curl -sSf http://127.0.80.1:8080/
 */
#define _POSIX_C_SOURCE 200809L // gmtime_r
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <torc.h>

#if __has_include(<llhttp.h>)
#include <llhttp.h>
#else
#include <http_parser.h>
typedef http_parser llhttp_t;
typedef http_parser_settings llhttp_settings_t;
#define llhttp_should_keep_alive http_should_keep_alive
#endif

#define GREETING "Hello, world\n"

enum { HEAD_MAX = 16 * 1024 };

struct shard {
    char answer[256]; /* a whole one; made again when its second is over */
    size_t answer_bytes, head_bytes;
    uint64_t stale_ns;
};

struct connection {
    llhttp_t parser;
    struct torc_stream *stream;
    struct shard *shard;
    uint32_t head_bytes; /* of this request */
    uint8_t matched;     /* bytes of "Expect" that a header's name begins with, or NOTHING */
    bool naming;         /* in a header's name */
    bool expects;        /* 100 Continue */
    bool closing;        /* the answer to the last request is on its way */
    int error;           /* of the stream */
};

static const char expect[] = "expect";
enum { EXPECT = sizeof expect - 1, NOTHING };

/* ------ Answers */

static void make_answer(struct shard *self)
{
    struct timespec now;
    struct tm utc;
    char date[32];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now.tv_sec, &utc));
    int head = snprintf(self->answer, sizeof self->answer,
                        "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\n"
                        "Content-Length: %zu\r\n",
                        date, strlen(GREETING));
    self->head_bytes = (size_t)head;
    self->answer_bytes = self->head_bytes + sizeof "\r\n" GREETING - 1;
    memcpy(self->answer + head, "\r\n" GREETING, sizeof "\r\n" GREETING);
    self->stale_ns = torc_turn_ns() + TORC_SEC - (uint64_t)now.tv_nsec;
}

static ssize_t answer(struct connection *c)
{
    struct shard *self = c->shard;
    bool keep = llhttp_should_keep_alive(&c->parser);
    bool usual = keep && c->parser.http_major == 1 && c->parser.http_minor > 0;
    if (torc_turn_ns() >= self->stale_ns)
        make_answer(self);
    size_t size = self->answer_bytes;
    if (c->parser.method == HTTP_HEAD)
        size -= strlen(GREETING);
    if (usual)
        return torc_stream_write_all(c->stream, self->answer, size);
    const char *more = keep ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
    struct iovec pieces[] = {{self->answer, self->head_bytes},
                             {(char *)more, strlen(more)},
                             {self->answer + self->head_bytes, size - self->head_bytes}};
    c->closing = !keep;
    return torc_stream_writev_all(c->stream, pieces, 3);
}

/* ------ What the parser tells; anything but 0 stops it */

static int on_begin(llhttp_t *parser)
{
    struct connection *c = parser->data;
    c->head_bytes = 0;
    c->naming = c->expects = false;
    torc_stream_set_busy(c->stream, true);
    return 0;
}

static int on_head(llhttp_t *parser, const char *at, size_t size)
{
    (void)at;
    struct connection *c = parser->data;
    c->head_bytes += (uint32_t)size;
    return c->head_bytes > HEAD_MAX;
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
    struct connection *c = parser->data;
    if (!c->naming)
        c->matched = 0;
    c->naming = true; // the rest of it may come with the next piece
    for (size_t i = 0; i < size && c->matched != NOTHING; i++)
        c->matched =
            c->matched < EXPECT && (at[i] | 0x20) == expect[c->matched] ? c->matched + 1 : NOTHING;
    return on_head(parser, at, size);
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct connection *c = parser->data;
    c->expects |= c->naming && c->matched == EXPECT;
    c->naming = false;
    return on_head(parser, at, size);
}

static int on_headers(llhttp_t *parser)
{
    struct connection *c = parser->data;
    if (parser->method == HTTP_CONNECT)
        return -EOPNOTSUPP;
    parser->upgrade = 0; // HTTP/1.1 is all we speak
    if (c->expects)
        c->error = torc_stream_print(c->stream, "HTTP/1.1 100 Continue\r\n\r\n");
    return c->error;
}

static int on_complete(llhttp_t *parser)
{
    struct connection *c = parser->data;
    ssize_t n = answer(c);
    c->error = n < 0 ? (int)n : 0;
    torc_stream_set_busy(c->stream, false);
    return c->error || c->closing;
}

static const llhttp_settings_t events = {.on_message_begin = on_begin,
                                         .on_url = on_head,
                                         .on_header_field = on_name,
                                         .on_header_value = on_value,
                                         .on_headers_complete = on_headers,
                                         .on_message_complete = on_complete};

#if __has_include(<llhttp.h>)
static bool parse(llhttp_t *parser, const char *data, size_t size)
{
    return llhttp_execute(parser, data, size) == HPE_OK;
}
#else
static void llhttp_init(llhttp_t *parser, enum http_parser_type type, const llhttp_settings_t *all)
{
    (void)all;
    http_parser_init(parser, type);
}

static bool parse(llhttp_t *parser, const char *data, size_t size)
{
    return http_parser_execute(parser, &events, data, size) == size &&
           HTTP_PARSER_ERRNO(parser) == HPE_OK;
}
#endif

/* ------ Connections */

/* Says what is wrong, and ends. */
static int refuse(struct connection *c)
{
    const char *why =
        c->head_bytes > HEAD_MAX ? "431 Request Header Fields Too Large" : "400 Bad Request";
    char line[128];
    snprintf(line, sizeof line, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
             why);
    return torc_stream_print(c->stream, line);
}

/* Runs when something has come. */
static int serve(struct torc_stream *s, void *arg)
{
    (void)arg;
    struct connection *c = torc_stream_user(s);
    if (!c)
        return -ENOMEM;
    const void *data;
    ssize_t n = torc_stream_peek(s, &data);
    if (n <= 0)
        return (int)n;
    if (parse(&c->parser, data, (size_t)n)) {
        torc_stream_consume(s, (size_t)n);
        return 1; // call again when there is more
    }
    // What is left unread tells the server that the peer may still be sending, and to close with care.
    return c->error || c->closing ? c->error : refuse(c);
}

static void *connected(struct torc_stream *s, void *shard)
{
    struct connection *c = torc_alloc(sizeof *c);
    if (c) {
        memset(c, 0, sizeof *c);
        c->stream = s;
        c->shard = shard;
        llhttp_init(&c->parser, HTTP_REQUEST, &events);
        c->parser.data = c;
    }
    return c;
}

static void closed(struct torc_stream *s, void *shard)
{
    (void)shard;
    torc_free(torc_stream_user(s));
}

static int shard_main(void *address)
{
    static const struct torc_serve_options options = {
        .connected = connected, .closed = closed, .idle_ns = 60 * TORC_SEC};
    struct shard self = {.stale_ns = 0};
    return torc_serve_handler(address, serve, &self, &options);
}

int main(int argc, char **argv)
{
    int err = torc_run(NULL, shard_main, argc > 1 ? argv[1] : "tcp://127.0.0.1:8080");
    return err ? 1 : 0;
}
