/* SPDX-License-Identifier: MIT
 *
 * The life of a server, and a task for each connection.
 *
 *     serving ------------> draining ---------------------------> over
 *        |   cancelled:        |  no connection is left, or
 *        |   the listener      |  drain_ns have passed: the rest
 *        |   is closed         |  is cancelled
 */
#include "net/serve_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/time.h"
#include "io/executor_internal.h"
#include "net/tls.h"
#include "shard/alloc.h"
#include "shard/run.h"

enum {
    CONNECTIONS_DEFAULT = 1000 * 1000,
    ROOM_FEW = 64, /* so few more connections are accepted one by one */
};
#define DRAIN_DEFAULT_NS (5 * TORC_SEC)
#define PEER_END_NS TORC_SEC /* how long a peer may take to end after we have */

/* The stream is not on its task's stack: with 1,000 connections a page less for each message to find is a tenth less CPU. */
struct served {
    struct torc_stream stream;
    struct torci_server *server;
    int fd;
};

void torci_server_refuse(struct torci_server *server, int fd)
{
    torci_count(&server->net->io->exec.counters->net_refused);
    torci_connection_reset(server->net, fd, server->options.direct);
}

void torci_server_enter(struct torci_server *server, struct torc_stream *stream, int fd)
{
    int err = torci_stream_open(stream, fd, server->options.direct);
    TORC_ASSERT(!err); /* the room's state is there, and nothing else can fail */
    uint32_t chunks = server->options.input_max / TORCI_CHUNK_BYTES;
    if (server->options.input_max)
        stream->in_max = (uint16_t)(chunks < 1 ? 1 : chunks < UINT16_MAX ? chunks : UINT16_MAX);
    stream->draining = server->draining;
    torci_list_push_back(&server->streams, &stream->owner_link);
    if (server->options.connected)
        stream->user = server->options.connected(stream, server->arg);
}

static bool is_lost(int result)
{
    return result == -ECONNRESET || result == -EPIPE || result == -ETIMEDOUT ||
           result == -ECANCELED;
}

/* The stream stays among the server's until it has sent everything: whoever takes nothing is idle, too. */
void torci_server_left(struct torci_server *server, struct torc_stream *stream, int result)
{
    if (result < 0 && !is_lost(result))
        torci_count(&server->net->io->exec.counters->net_failures);
    if (server->options.closed)
        server->options.closed(stream, server->arg);
    if (torci_server_is_polite(server, stream))
        torci_ignore(torc_stream_end(stream));
    else if (!torci_output_is_empty(stream))
        torci_ignore(torc_stream_flush(stream));
    torci_list_unlink(&stream->owner_link);
}

/* Closed with input that nobody has read, or when more comes, the kernel sends a reset, and the peer may lose what it was
 * sent before. */
bool torci_server_is_polite(const struct torci_server *server, const struct torc_stream *stream)
{
    return !stream->ended && !stream->out_error &&
           (server->draining || torc_stream_available(stream));
}

void torci_server_ended(struct torci_server *server)
{
    struct torc_listener *listener = server->listener;
    server->live--;
    if (server->spread && torci_spread_hands_out(server->spread))
        torci_spread_ended(server->spread);
    else if (listener && listener->paused)
        torci_listener_resume(listener);
    if (!server->live && server->drained) {
        struct torci_wait *wait = server->drained;
        server->drained = NULL;
        torci_wait_wake(wait, 0);
    }
}

/* In a task that may wait: until the peer has ended as well, for a moment. */
static void wait_for_end(struct torc_stream *stream)
{
    struct torc_deadline deadline;
    int err = 0;
    torc_deadline_enter(&deadline, PEER_END_NS);
    while (!err && !stream->ended) {
        torci_input_drop(stream);
        err = torci_receive_wait(stream);
    }
    (void)torc_deadline_leave(&deadline);
}

static int serve_connection(void *arg)
{
    struct served *served = (struct served *)arg;
    struct torci_server *server = served->server;
    struct torc_stream *stream = &served->stream;
    torci_server_enter(server, stream, served->fd);
    struct torc_tls_context *tls = server->options.tls;
    int result = tls ? torc_tls_start(stream, tls, NULL) : 0;
    if (!result)
        result = server->fn(stream, server->arg);
    bool polite = torci_server_is_polite(server, stream);
    torci_server_left(server, stream, result);
    if (polite)
        wait_for_end(stream);
    torc_stream_close(stream);
    torc_free(served);
    torci_server_ended(server);
    return 0;
}

int torci_task_start(struct torci_server *server, int fd)
{
    struct served *served = (struct served *)torc_alloc(sizeof *served);
    if (!served)
        return -ENOMEM;
    served->server = server;
    served->fd = fd;
    int err = torc_spawn_with(&server->tasks, &(struct torc_task_options){.name = "connection"},
                              serve_connection, served);
    if (err)
        torc_free(served);
    return err;
}

int torci_server_take(struct torci_server *server, int fd)
{
    int err = server->is_handler ? torci_handler_start(server, fd) : torci_task_start(server, fd);
    server->live += !err;
    return err;
}

static void on_accept(struct torc_listener *listener, int fd)
{
    struct torci_server *server = (struct torci_server *)listener->server;
    uint32_t most = server->options.connections_max;
    if (server->spread && torci_spread_hands_out(server->spread)) {
        torci_spread_give(server, fd);
        return;
    }
    if (server->live >= most) {
        torci_server_refuse(server, fd);
        return;
    }
    if (torci_server_take(server, fd)) {
        torci_listener_hold(listener, fd);
        return;
    }
    if (server->options.at_limit != TORC_LIMIT_WAIT)
        return;
    listener->one_by_one = most - server->live < ROOM_FEW;
    if (server->live >= most)
        torci_listener_pause(listener);
}

/* Whoever waits for a new request sees an end. */
static void begin_drain(struct torci_server *server)
{
    struct torci_link *at, *after;
    server->draining = true;
    torci_list_each_safe (at, after, &server->streams) {
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, owner_link);
        stream->draining = true;
        if (stream->reader)
            torci_stream_tell(stream, TORCI_EVENT_INPUT);
    }
    if (server->is_handler)
        torci_handlers_drain(server);
}

static void drain(struct torci_server *server)
{
    struct torc_deadline deadline;
    begin_drain(server);
    torc_deadline_enter(&deadline, server->options.drain_ns);
    while (server->live && !torci_stream_park(&server->drained))
        ;
    (void)torc_deadline_leave(&deadline);
    if (server->live)
        torc_scope_cancel(&server->tasks);
    if (server->is_handler)
        torci_handlers_stop(server);
    torci_ignore(torc_scope_join(&server->tasks));
    if (server->is_handler)
        torci_handlers_close_rest(server);
    TORC_ASSERT(!server->live);
}

static void init(struct torci_server *server, torc_stream_fn *fn, void *arg,
                 const struct torc_serve_options *options, bool is_handler)
{
    *server = (struct torci_server){.fn = fn, .arg = arg, .is_handler = is_handler};
    if (options)
        server->options = *options;
    if (!server->options.connections_max)
        server->options.connections_max = CONNECTIONS_DEFAULT;
    if (!server->options.drain_ns)
        server->options.drain_ns = DRAIN_DEFAULT_NS;
    torci_link_init(&server->streams);
    torci_handlers_init(server);
}

/* One shard may hear of the end before another. */
static int at_end(int err)
{
    bool interrupted = err == -ECANCELED || err == -ETIMEDOUT;
    return err == -ESHUTDOWN || (interrupted && torc_is_shutting_down()) ? 0 : err;
}

/* Serves what comes to LISTENER (unless it is NULL) and from other shards until the task is cancelled. OWNED: the
 * listener is closed before connections are drained. */
static int run(struct torci_server *server, struct torc_listener *listener, bool owned)
{
    struct torci_wait *forever = NULL;
    struct torc_mask mask;
    uint32_t slots = server->net->io->files.shared_free;
    if (server->options.direct && server->options.connections_max > slots)
        server->options.connections_max = slots;
    server->listener = listener;
    torc_scope_init(&server->tasks);
    if (server->is_handler)
        torci_list_push_back(&server->net->servers, &server->net_link);
    torci_idle_start(server);
    if (server->spread)
        torci_spread_enter(server);
    if (server->options.listening)
        server->options.listening(server->address, server->arg);
    if (listener) {
        listener->server = server;
        listener->on_accept = on_accept;
        listener->one_by_one = server->options.at_limit == TORC_LIMIT_WAIT &&
                               server->options.connections_max < ROOM_FEW;
        torci_listener_resume(listener);
    }
    int err = torci_stream_park(&forever);
    torc_mask_enter(&mask);
    server->listener = NULL;
    if (listener) {
        torci_listener_pause(listener);
        listener->on_accept = NULL;
        listener->server = NULL;
    }
    if (listener && owned)
        torc_listener_close(listener);
    drain(server);
    torci_idle_stop(server);
    torci_list_unlink(&server->net_link);
    torc_mask_leave(&mask);
    return at_end(err);
}

static int serve_on(struct torc_listener *listener, torc_stream_fn *fn, void *arg,
                    const struct torc_serve_options *options, bool is_handler)
{
    struct torci_server server;
    init(&server, fn, arg, options, is_handler);
    server.net = listener->net;
    server.address = &listener->address;
    server.options.direct = listener->direct;
    return run(&server, listener, false);
}

static int say(const char *address, int err, const struct torc_serve_options *options)
{
    char why[TORC_ADDRESS_WHY_BYTES], line[TORC_ADDRESS_WHY_BYTES + 8];
    struct torci_io *io = torci_io_this();
    if (!err || err == -ECANCELED || err == -ETIMEDOUT)
        return err;
    if (err == -EMFILE && options->direct && !io->files.free)
        snprintf(line, sizeof line,
                 "torc: %s: the ring can't have a table of %u files: raise the hard limit of open "
                 "files (ulimit -Hn), or lower torc_config.files_max",
                 address, (unsigned)io->config.files_max);
    else
        snprintf(line, sizeof line, "torc: %s", torc_address_explain(address, err, why));
    torci_io_say(torci_kernel_this(), line);
    return err;
}

/* Listens for all shards, or for the first of them: *SHARES. */
static int listen_first(struct torc_listener *listener, const char *text,
                        struct torc_serve_options *options, bool *shares)
{
    struct torc_address address;
    int err = torci_listener_resolve(text, &address);
    if (err)
        return err;
    bool by_kernel = options->spread == TORC_SPREAD_KERNEL ||
                     (options->spread == TORC_SPREAD_AUTO && address.transport == TORC_TCP);
    if (by_kernel && address.transport != TORC_TCP)
        return -EOPNOTSUPP;
    *shares = by_kernel && torc_shard_count() > 1;
    if (!by_kernel && torc_shard_count() > 1 && options->direct) {
        options->direct = false; /* until they have come to their shard */
        err = torci_slots_share(torci_io_this());
    }
    return err ? err : torci_listen(listener, &address, options, *shares);
}

/* This shard's listener, if it has one of its own: *LISTENS. */
static int find_listener(const struct torci_spread_key *key, struct torci_joined *joined,
                         const struct torc_serve_options *given, struct torc_listener *listener)
{
    struct torc_serve_options options = *given;
    int err = 0;
    if (joined->leads) {
        err = listen_first(listener, key->text, &options, &joined->shares);
        if (joined->spread)
            torci_spread_announce(joined->spread, err, joined->shares, &listener->address);
        joined->address = listener->address;
    } else if (joined->shares) {
        options.socket.reuse_port = true;
        err = torci_listen(listener, &joined->address, &options, true);
    } else if (options.direct) {
        err = torci_slots_share(torci_io_this());
    }
    return err ? say(key->text, err, given) : 0;
}

static int serve(const char *address, torc_stream_fn *fn, void *arg,
                 const struct torc_serve_options *options, bool is_handler)
{
    const struct torci_spread_key key = {address, fn};
    struct torci_server server;
    struct torc_listener listener;
    struct torci_joined joined = {.leads = true};
    init(&server, fn, arg, options, is_handler);
    int err = torci_net_get(&server.net);
    if (err)
        return say(address, err, &server.options);
    if (torc_shard_count() > 1) {
        err = torci_spread_join(&key, &joined);
        if (err)
            return joined.told ? err : say(address, at_end(err), &server.options);
    }
    err = find_listener(&key, &joined, &server.options, &listener);
    server.spread = joined.spread;
    server.address = &joined.address;
    if (!err)
        err = run(&server, joined.leads || joined.shares ? &listener : NULL, true);
    if (joined.spread)
        torci_spread_leave(joined.spread);
    return err;
}

int torc_serve(const char *address, torc_stream_fn *fn, void *arg,
               const struct torc_serve_options *options)
{
    return serve(address, fn, arg, options, false);
}

int torc_serve_handler(const char *address, torc_stream_fn *fn, void *arg,
                       const struct torc_serve_options *options)
{
    return serve(address, fn, arg, options, true);
}

int torc_serve_on(struct torc_listener *listener, torc_stream_fn *fn, void *arg,
                  const struct torc_serve_options *options)
{
    return serve_on(listener, fn, arg, options, false);
}

int torc_serve_handler_on(struct torc_listener *listener, torc_stream_fn *fn, void *arg,
                          const struct torc_serve_options *options)
{
    return serve_on(listener, fn, arg, options, true);
}
