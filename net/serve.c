/* SPDX-License-Identifier: MIT
 *
 * The life of a server, and a task for each connection.
 *
 *     serving ------------> draining ---------------------------> over
 *        |   cancelled:        |  no connection is left, or
 *        |   the listener      |  drain_ns have passed: the rest
 *        |   is closed         |  is cancelled
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/time.h"
#include "io/executor_internal.h"
#include "net/serve_internal.h"
#include "net/tls.h"
#include "shard/alloc.h"
#include "shard/run.h"

enum { CONNECTIONS_DEFAULT = 1000 * 1000 };
#define DRAIN_DEFAULT_NS (5 * TORC_SEC)

struct start {
    struct torci_server *server;
    int fd;
};

void torci_server_refuse(struct torci_server *server, int fd)
{
    torci_count(&server->net->io->exec.counters->net_refused);
    if (server->listener->direct)
        torci_close_direct(server->net, fd);
    else
        (void)TORCI_CALL(server->net->io->kernel, SYS_close, fd);
}

int torci_server_enter(struct torci_server *server, struct torc_stream *stream, int fd)
{
    int err = torci_stream_open(stream, fd, server->listener->direct);
    if (err) {
        torci_server_refuse(server, fd);
        return err;
    }
    stream->draining = server->draining;
    torci_list_push_back(&server->streams, &stream->owner_link);
    if (server->options.connected)
        stream->user = server->options.connected(stream, server->arg);
    return 0;
}

static bool is_lost(int result)
{
    return result == -ECONNRESET || result == -EPIPE || result == -ETIMEDOUT ||
           result == -ECANCELED;
}

void torci_server_leave(struct torci_server *server, struct torc_stream *stream, int result)
{
    if (result < 0 && !is_lost(result))
        torci_count(&server->net->io->exec.counters->net_failures);
    if (server->options.closed)
        server->options.closed(stream, server->arg);
    torci_list_unlink(&stream->owner_link);
    torc_stream_close(stream);
}

void torci_server_ended(struct torci_server *server)
{
    server->live--;
    if (server->listener->paused && !server->draining)
        torci_listener_resume(server->listener);
    if (!server->live && server->drained) {
        struct torci_wait *wait = server->drained;
        server->drained = NULL;
        torci_wait_wake(wait, 0);
    }
}

static int connection(void *arg)
{
    struct start start = *(struct start *)arg;
    torc_free(arg);
    struct torci_server *server = start.server;
    struct torc_stream stream; /* on the task's own page */
    if (!torci_server_enter(server, &stream, start.fd)) {
        struct torc_tls_context *tls = server->options.tls;
        int result = tls ? torc_tls_start(&stream, tls, NULL) : 0;
        if (!result)
            result = server->fn(&stream, server->arg);
        torci_server_leave(server, &stream, result);
    }
    torci_server_ended(server);
    return 0;
}

void torci_task_start(struct torci_server *server, int fd)
{
    struct start *start = (struct start *)torc_alloc(sizeof *start);
    if (start) {
        *start = (struct start){server, fd};
        if (!torc_spawn_with(&server->tasks, &(struct torc_task_options){.name = "connection"},
                             connection, start))
            return;
    }
    torc_free(start);
    torci_server_refuse(server, fd);
    torci_server_ended(server);
}

static void on_accept(struct torc_listener *listener, int fd)
{
    struct torci_server *server = (struct torci_server *)listener->server;
    if (server->live >= server->options.connections_max) {
        torci_server_refuse(server, fd);
        return;
    }
    server->live++;
    if (server->live >= server->options.connections_max &&
        server->options.at_limit == TORC_LIMIT_WAIT)
        torci_listener_pause(listener);
    if (server->is_handler)
        torci_handler_start(server, fd);
    else
        torci_task_start(server, fd);
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
}

static int serve_on(struct torc_listener *listener, torc_stream_fn *fn, void *arg,
                    const struct torc_serve_options *options, bool is_handler)
{
    struct torci_server server = {
        .listener = listener, .net = listener->net, .fn = fn, .arg = arg, .is_handler = is_handler};
    if (options)
        server.options = *options;
    if (!server.options.connections_max)
        server.options.connections_max = CONNECTIONS_DEFAULT;
    if (!server.options.drain_ns)
        server.options.drain_ns = DRAIN_DEFAULT_NS;
    torci_link_init(&server.streams);
    torci_link_init(&server.ready);
    torci_link_init(&server.idle);
    torci_link_init(&server.net_link);
    torc_scope_init(&server.tasks);
    if (is_handler)
        torci_list_push_back(&listener->net->servers, &server.net_link);
    listener->server = &server;
    listener->on_accept = on_accept;
    torci_listener_resume(listener);
    struct torci_wait *forever = NULL;
    int err = torci_stream_park(&forever);
    struct torc_mask mask;
    torc_mask_enter(&mask);
    listener->closing = true;
    torci_listener_pause(listener);
    drain(&server);
    if (is_handler)
        torci_handlers_stop(&server);
    torci_ignore(torc_scope_join(&server.tasks));
    torci_list_unlink(&server.net_link);
    torc_mask_leave(&mask);
    return torc_is_shutting_down() ? 0 : err;
}

static int serve(const char *address, torc_stream_fn *fn, void *arg,
                 const struct torc_serve_options *options, bool is_handler)
{
    struct torc_serve_options own = options ? *options : (struct torc_serve_options){0};
    struct torc_listener listener;
    own.socket.reuse_port = torc_shard_count() > 1;
    int err = torc_listen(&listener, address, &own);
    if (err) {
        char why[TORC_ADDRESS_WHY_BYTES], line[TORC_ADDRESS_WHY_BYTES + 8];
        snprintf(line, sizeof line, "torc: %s", torc_address_explain(address, err, why));
        torci_io_say(torci_kernel_this(), line);
        return err;
    }
    err = serve_on(&listener, fn, arg, &own, is_handler);
    torc_listener_close(&listener);
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
