/* SPDX-License-Identifier: MIT
 *
 * A storm: connections that come, talk at random, end by halves, reset or just go, at full speed, on a server with tasks and
 * one with handlers, with room for few chunks. What comes back must be what was sent; when it is over every
 * descriptor, chunk, task and stream is back where it was. TORC_STORM_SECONDS says how long (make stress-net: 60).
 */
#define TEST_SECONDS 600

#include <time.h>

#include "core/random_internal.h"
#include "io/blocking.h"
#include "net/serve.h"
#include "tests/net_pair.h"

enum { CLIENTS = 2, LINES = 64, STUCK_MAX = 8 << 20 };

struct client {
    struct sockaddr_in to[2];
    uint64_t seed, until_ns;
    uint64_t connections, bytes, resets;
};

struct line {
    int fd; /* negative: none */
    uint64_t sent, got;
    bool ended, talks; /* takes what comes */
    bool patient; /* stays until something has come: a server that lags behind sees some alive */
};

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t storm_ns(void)
{
    const char *seconds = getenv("TORC_STORM_SECONDS");
    return seconds && *seconds ? strtoull(seconds, NULL, 10) * TORC_SEC : TORC_SEC / 4;
}

static void line_close(struct client *client, struct line *line, bool reset)
{
    const struct linger linger = {.l_onoff = 1};
    if (reset)
        (void)setsockopt(line->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    client->resets += reset;
    client->bytes += line->got;
    close(line->fd);
    line->fd = -1;
}

static void line_open(struct client *client, struct line *line, struct torci_random *random)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct sockaddr_in *to = &client->to[torci_random_below(random, 2)];
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS) {
        close(fd);
        return;
    }
    client->connections++;
    *line = (struct line){.fd = fd, .talks = torci_random_below(random, 8) != 0};
    line->patient = line->talks && torci_random_below(random, 4) == 0;
}

static void line_send(struct client *client, struct line *line, struct torci_random *random)
{
    static __thread char block[100000];
    size_t size = 1 + torci_random_below(random, UINT64_C(1) << torci_random_below(random, 17));
    if (size > sizeof block)
        size = sizeof block;
    if (line->ended || line->sent - line->got > STUCK_MAX)
        return;
    net_fill(block, size, line->sent);
    ssize_t n = send(line->fd, block, size, MSG_NOSIGNAL);
    if (n > 0)
        line->sent += (uint64_t)n;
    else if (errno != EAGAIN && errno != ENOTCONN)
        line_close(client, line, false);
}

/* An echo gives back what it got, in order. */
static void line_take(struct client *client, struct line *line)
{
    static __thread char block[65536];
    ssize_t n = recv(line->fd, block, sizeof block, 0);
    if (n > 0) {
        net_check_bytes(block, (size_t)n, line->got);
        line->got += (uint64_t)n;
        if (line->got > line->sent)
            TEST_FAIL("more came back than was sent");
    } else if (n == 0) {
        if (line->ended && line->got != line->sent)
            TEST_FAIL("%llu of %llu bytes came back", (unsigned long long)line->got,
                      (unsigned long long)line->sent);
        line_close(client, line, false);
    } else if (errno != EAGAIN && errno != ENOTCONN) {
        line_close(client, line, false);
    }
}

static void line_step(struct client *client, struct line *line, struct torci_random *random)
{
    if (line->fd < 0) {
        line_open(client, line, random);
        return;
    }
    unsigned what = (unsigned)torci_random_below(random, 40);
    if (what < 2 && line->patient && !line->got)
        what = 3;
    switch (what) {
    case 0: line_close(client, line, true); return;
    case 1: line_close(client, line, false); return;
    case 2:
        if (!shutdown(line->fd, SHUT_WR))
            line->ended = true;
        return;
    default:
        line_send(client, line, random);
        if (line->fd >= 0 && line->talks)
            line_take(client, line);
    }
}

static int client_main(void *arg)
{
    struct client *client = (struct client *)arg;
    struct line lines[LINES];
    struct torci_random random;
    torci_random_seed(&random, client->seed);
    for (unsigned i = 0; i < LINES; i++)
        lines[i].fd = -1;
    /* On a busy machine for as long as something of everything takes. */
    while (clock_ns() < client->until_ns ||
           (client->until_ns && (client->connections < 20 || !client->resets || !client->bytes)))
        for (unsigned i = 0; i < LINES; i++)
            line_step(client, &lines[torci_random_below(&random, LINES)], &random);
    for (unsigned i = 0; i < LINES; i++)
        if (lines[i].fd >= 0)
            line_close(client, &lines[i], i % 2);
    return 0;
}

/* Views and copies, some of which stop in the middle. */
static int echo(struct torc_stream *stream, void *arg)
{
    char buf[3000];
    const void *data;
    ssize_t n;
    (void)arg;
    do {
        n = torc_stream_read(stream, buf, sizeof buf);
        if (n > 0)
            n = torc_stream_write_all(stream, buf, (size_t)n);
        if (n > 0)
            n = torc_stream_peek(stream, &data);
        if (n > 0) {
            n = torc_stream_write_all(stream, data, (size_t)n);
            if (n > 0)
                torc_stream_consume(stream, (size_t)n);
        }
    } while (n > 0);
    return (int)n;
}

static int echo_once(struct torc_stream *stream, void *arg)
{
    const void *data;
    (void)arg;
    ssize_t n = torc_stream_peek(stream, &data);
    if (n > 0)
        n = torc_stream_write_all(stream, data, (size_t)n);
    if (n > 0)
        torc_stream_consume(stream, (size_t)n);
    return (int)n;
}

struct server {
    struct torc_listener listener;
    bool is_handler;
};

static int serve(void *arg)
{
    struct server *server = (struct server *)arg;
    const struct torc_serve_options options = {.drain_ns = 100 * TORC_MS, .connections_max = 2000};
    int err = server->is_handler
                  ? torc_serve_handler_on(&server->listener, echo_once, NULL, &options)
                  : torc_serve_on(&server->listener, echo, NULL, &options);
    CHECK(err == 0 || err == -ECANCELED);
    return 0;
}

static int blow(void *arg)
{
    struct client *client = (struct client *)arg;
    return torc_blocking(client_main, client);
}

static void storm(void)
{
    static struct server servers[2];
    static struct client clients[CLIENTS];
    struct torc_scope serving, blowing;
    torc_scope_init(&serving);
    torc_scope_init(&blowing);
    for (int i = 0; i < 2; i++) {
        servers[i] = (struct server){.is_handler = i};
        CHECK_EQ(torc_listen(&servers[i].listener, "tcp://127.0.0.1:0", NULL), 0);
        CHECK_EQ(torc_spawn(&serving, serve, &servers[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.seed = 11 + i, .until_ns = clock_ns() + storm_ns()};
        for (int k = 0; k < 2; k++)
            memcpy(&clients[i].to[k], &torc_listener_address(&servers[k].listener)->storage,
                   sizeof clients[i].to[k]);
        CHECK_EQ(torc_spawn(&blowing, blow, &clients[i]), 0);
    }
    CHECK_EQ(torc_scope_join(&blowing), 0);
    while (torci_io_this()->traffic.live) /* each must see its end without being cancelled */
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    torc_scope_cancel(&serving);
    CHECK_EQ(torc_scope_join(&serving), 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        CHECK(clients[i].connections >= 20 && clients[i].resets > 0 && clients[i].bytes > 0);
    for (int i = 0; i < 2; i++)
        torc_listener_close(&servers[i].listener);
}

static int storm_main(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_blocking(client_main, &(struct client){.seed = 1}), 0); /* its eventfd stays */
    unsigned files = ring_open_descriptors();
    storm();
    net_check_back();
    CHECK_EQ(ring_open_descriptors(), files);
    return 0;
}

static void run_storm(struct torc_config config)
{
    for (int kernel = 0; kernel < NET_KERNELS; kernel++) {
        struct fault_kernel fault;
        fault_kernel_init(&fault);
        if (kernel == NET_KERNEL_OLD)
            net_old_kernel(&fault);
        config.kernel = &fault.kernel;
        config.blocking_threads = CLIENTS;
        CHECK_EQ(run_shard(&config, storm_main, NULL), 0);
        fault_kernel_check_clean(&fault);
    }
}

TEST(storm, everything_is_back_when_it_is_over)
{
    run_storm((struct torc_config){0});
}

TEST(storm, with_little_memory_and_short_queues)
{
    run_storm((struct torc_config){
        .arena_bytes = 64 << 20, .ring_entries = 16, .completion_entries = 32});
}
