/* SPDX-License-Identifier: MIT
 *
 * Handlers: a connection that has input stands in the server's line of ready ones; a worker, which is a task, takes one
 * after another and calls the handler. So a turn that brings input for a hundred connections costs one switch, and a
 * connection without input holds neither stack nor chunk.
 *
 *     idle --input, end--> ready --worker--> running --result > 0, nothing more has come--> idle
 *                            ^                  |  result > 0, more has come
 *                            '------------------'  result <= 0, or the end was seen: closed
 *
 * A handler that blocks keeps its worker; the end of the turn, and the next input, find that and let another one go on.
 */
#include <errno.h>

#include "net/serve_internal.h"
#include "shard/alloc.h"

enum { WORKERS_IDLE_MAX = 64 };

struct torci_worker {
    struct torci_server *server;
    struct torci_fiber *fiber;
    struct torci_link link; /* in the server's idle ones */
    struct torci_wait *wait;
};

struct connection {
    struct torc_stream stream;
    struct torci_server *server;
    struct torci_link ready;
    bool running, came, end_told;
};

static void wake(struct torci_worker *worker)
{
    struct torci_wait *wait = worker->wait;
    worker->wait = NULL;
    torci_wait_wake(wait, 0);
}

static void make_ready(struct connection *connection)
{
    struct torci_server *server = connection->server;
    if (torci_link_is_queued(&connection->ready))
        return;
    torci_list_push_back(&server->ready, &connection->ready);
    torci_handlers_look(server);
}

static void on_event(struct torc_stream *stream, unsigned events)
{
    (void)events;
    struct connection *connection = TORC_CONTAINER_OF(stream, struct connection, stream);
    if (connection->running)
        connection->came = true;
    else
        make_ready(connection);
}

/* Whether there is a reason to call the handler again: input that it has not seen, or that stood behind what it took. */
static bool has_work(struct connection *connection)
{
    struct torc_stream *stream = &connection->stream;
    bool more =
        (connection->came || stream->taken) && (stream->in_first != TORCI_NO_CHUNK || stream->kept);
    if (stream->ended || torci_stream_is_leaving(stream)) {
        bool told = connection->end_told;
        connection->end_told = true;
        return !told || more;
    }
    return more;
}

static void close_connection(struct connection *connection, int result)
{
    struct torci_server *server = connection->server;
    connection->running = true; /* nobody makes it ready any more */
    torci_server_leave(server, &connection->stream, result);
    torc_free(connection);
    torci_server_ended(server);
}

/* A filter may have nothing to show for what has come: half a record, or a step of its handshake. */
static int call(struct connection *connection)
{
    struct torci_server *server = connection->server;
    struct torc_stream *stream = &connection->stream;
    int ready = stream->filter ? stream->filter->ready(stream) : 1;
    if (ready == -EAGAIN)
        return 1;
    if (ready <= 0)
        return ready;
    if (stream->ended || torci_stream_is_leaving(stream))
        connection->end_told = true;
    return server->fn(stream, server->arg);
}

static void run(struct connection *connection)
{
    struct torc_stream *stream = &connection->stream;
    int result;
    connection->running = true;
    do {
        connection->came = stream->taken = false;
        result = call(connection);
    } while (result > 0 && has_work(connection));
    if (result > 0 && connection->end_told)
        result = stream->in_error;
    if (result > 0 && stream->in_first != TORCI_NO_CHUNK)
        result = torci_input_keep(stream) ? -ENOMEM : result;
    if (result <= 0) {
        close_connection(connection, result);
        return;
    }
    connection->running = false;
    torci_receive_arm(stream);
}

static int work(void *arg)
{
    struct torci_worker worker = {.server = (struct torci_server *)arg,
                                  .fiber = torci_fiber_self()};
    struct torci_server *server = worker.server;
    torci_link_init(&worker.link);
    server->active = &worker;
    server->starting = false;
    while (!server->stopping || !torci_list_is_empty(&server->ready)) {
        struct torci_link *at;
        while (server->active == &worker && (at = torci_list_pop_front(&server->ready)))
            run(TORC_CONTAINER_OF(at, struct connection, ready));
        if (server->active == &worker)
            server->active = NULL;
        if (server->stopping)
            break;
        if (server->idle_count >= WORKERS_IDLE_MAX)
            break;
        server->idle_count++;
        torci_list_push_front(&server->idle, &worker.link);
        int err = torci_stream_park(&worker.wait);
        torci_list_unlink(&worker.link);
        server->idle_count--;
        if (err)
            break;
    }
    if (server->active == &worker)
        server->active = NULL;
    server->workers--;
    return 0;
}

/* Another worker takes over. */
static void wake_worker(struct torci_server *server)
{
    struct torci_link *at;
    while ((at = torci_list_pop_front(&server->idle))) {
        struct torci_worker *worker = TORC_CONTAINER_OF(at, struct torci_worker, link);
        if (!worker->wait)
            continue; /* it was cancelled, and has not run since */
        server->active = worker;
        wake(worker);
        return;
    }
    if (server->starting)
        return;
    if (torc_spawn_with(&server->tasks, &(struct torc_task_options){.name = "handler"}, work,
                        server)) {
        server->net->io->traffic.dirty = true; /* the end of the next turn tries again */
        return;
    }
    server->starting = true;
    server->workers++;
}

void torci_handlers_look(struct torci_server *server)
{
    if (torci_list_is_empty(&server->ready))
        return;
    struct torci_worker *active = server->active;
    if (active && !active->fiber->park)
        return; /* it is at it, or will be */
    server->active = NULL;
    wake_worker(server);
}

void torci_handler_start(struct torci_server *server, int fd)
{
    struct connection *connection = (struct connection *)torc_alloc(sizeof *connection);
    if (!connection) {
        torci_server_refuse(server, fd);
        torci_server_ended(server);
        return;
    }
    if (torci_server_enter(server, &connection->stream, fd)) {
        torc_free(connection);
        torci_server_ended(server);
        return;
    }
    connection->server = server;
    torci_link_init(&connection->ready);
    connection->running = connection->came = connection->end_told = false;
    connection->stream.on_event = on_event;
    int err = server->options.tls ? torci_tls_accept(&connection->stream, server->options.tls) : 0;
    if (err)
        close_connection(connection, err);
    else
        torci_receive_arm(&connection->stream);
}

void torci_handlers_drain(struct torci_server *server)
{
    struct torci_link *at, *after;
    torci_list_each_safe (at, after, &server->streams) {
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, owner_link);
        struct connection *connection = TORC_CONTAINER_OF(stream, struct connection, stream);
        if (!connection->running)
            make_ready(connection);
    }
}

void torci_handlers_stop(struct torci_server *server)
{
    server->stopping = true;
    struct torci_link *at;
    while ((at = torci_list_pop_front(&server->idle))) {
        struct torci_worker *worker = TORC_CONTAINER_OF(at, struct torci_worker, link);
        if (worker->wait)
            wake(worker);
    }
}
