/* SPDX-License-Identifier: MIT
 *
 * Handlers: a connection that has input stands in the server's line of ready ones; a worker, which is a task, takes one
 * after another and calls the handler. So a turn that brings input for a hundred connections costs one switch, and a
 * connection without input holds neither stack nor chunk.
 *
 *     idle --input, end--> ready --worker--> running --result > 0, and nothing more to be seen--> idle
 *                                               |  result <= 0, or the end was told
 *                                               v
 *                           ending (the peer may still read) --its end, a moment--> ready --worker--> closed
 *
 * The handler is called again at once when there is input that it has not seen, or that stood behind what it took; what it
 * has left alone waits for more. After the last input it is called once more: reading then says how it ended.
 *
 * A handler that blocks keeps its worker; the end of the turn, and the next input, find that and let another one go on.
 */
#include <errno.h>

#include "core/time.h"
#include "net/serve_internal.h"
#include "shard/alloc.h"

enum { WORKERS_IDLE_MAX = 64 };
#define ENDING_NS (500 * TORC_MS) /* a peer has once to twice as long to end after us */

struct torci_worker {
    struct torci_server *server;
    struct torci_fiber *fiber;
    struct torci_link link; /* in the server's idle ones */
    struct torci_wait *wait;
};

struct connection {
    struct torc_stream stream;
    struct torci_server *server;
    struct torci_link ready; /* or ending */
    bool running, came, ending;
};

static void wake(struct torci_worker *worker)
{
    struct torci_wait *wait = worker->wait;
    worker->wait = NULL;
    torci_wait_wake(wait, 0);
}

static struct connection *of_stream(const struct torc_stream *stream)
{
    return TORC_CONTAINER_OF(stream, struct connection, stream);
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
    struct connection *connection = of_stream(stream);
    if (connection->running)
        connection->came = true;
    else
        make_ready(connection);
}

/* What a filter has not made anything of yet is no input. */
static inline bool has_input(struct torc_stream *stream)
{
    if (TORC_UNLIKELY(stream->filter != NULL))
        return stream->filter->ready(stream) > 0;
    return stream->in_first != TORCI_NO_CHUNK || stream->kept;
}

/* There is nothing left to be read, and there won't be. */
static inline bool is_leaving(struct torc_stream *stream)
{
    return torci_stream_is_leaving(stream) && !has_input(stream);
}

static inline bool has_work(struct connection *connection)
{
    struct torc_stream *stream = &connection->stream;
    if (stream->ended)
        return true;
    if (has_input(stream))
        return connection->came || stream->taken;
    return torci_stream_is_leaving(stream);
}

/* What the handler has left alone gives its chunks back; there is a limit to how much may be left. */
static int keep(struct torc_stream *stream)
{
    if (torci_input_keep(stream))
        return -ENOMEM;
    stream->taken = false; /* by the handler */
    size_t most = (size_t)stream->in_max * TORCI_CHUNK_BYTES;
    return torc_stream_available(stream) < most ? 1 : -EMSGSIZE;
}

/* The handler's result, or what its connection ends with because it was told of the end. */
static int call(struct connection *connection)
{
    struct torci_server *server = connection->server;
    struct torc_stream *stream = &connection->stream;
    int result;
    do {
        bool ended = stream->ended, leaving = is_leaving(stream);
        /* What it left, waiting for the rest, and what has come since: one piece. */
        if (TORC_UNLIKELY(stream->kept && !stream->taken)) {
            result = keep(stream);
            if (result <= 0)
                break;
        }
        connection->came = stream->taken = false;
        int ready = stream->filter ? stream->filter->ready(stream) : 1;
        if (ready == -EAGAIN && leaving)
            ready = 1; /* its handshake was over: it is told of the end */
        if (ready <= 0)
            return ready != -EAGAIN ? ready : ended ? stream->in_error : 1;
        result = server->fn(stream, server->arg);
        if (result > 0 && (ended || leaving) && !stream->taken)
            result = stream->in_error;
    } while (result > 0 && has_work(connection));
    return result;
}

static void destroy(struct connection *connection)
{
    struct torci_server *server = connection->server;
    connection->stream.on_event = NULL;
    torc_stream_close(&connection->stream);
    torc_free(connection);
    torci_server_ended(server);
}

static void on_ending(struct torc_stream *stream, unsigned events)
{
    (void)events;
    struct connection *connection = of_stream(stream);
    torci_input_drop(stream);
    if (!stream->ended) {
        torci_receive_arm(stream);
        return;
    }
    torci_list_unlink(&connection->ready);
    make_ready(connection);
}

/* The older half has had its time. */
static void ending_over(struct torci_timer *timer)
{
    struct torci_server *server = TORC_CONTAINER_OF(timer, struct torci_server, ending_timer);
    struct torci_link *at;
    while ((at = torci_list_pop_front(&server->ending[0])))
        make_ready(TORC_CONTAINER_OF(at, struct connection, ready));
    torci_list_splice_back(&server->ending[0], &server->ending[1]);
    if (!torci_list_is_empty(&server->ending[0]))
        torci_wheel_arm(&server->net->io->exec.wheel, timer, torc_now_ns() + ENDING_NS);
}

/* We have ended; the peer reads what is left, and ends too. No task waits for that. */
static void begin_ending(struct connection *connection)
{
    struct torci_server *server = connection->server;
    connection->ending = true;
    connection->stream.on_event = on_ending;
    torci_list_push_back(&server->ending[1], &connection->ready);
    if (!torci_timer_is_armed(&server->ending_timer))
        torci_wheel_arm(&server->net->io->exec.wheel, &server->ending_timer,
                        torc_now_ns() + ENDING_NS);
    torci_input_drop(&connection->stream);
    torci_receive_arm(&connection->stream);
}

static void close_connection(struct connection *connection, int result)
{
    struct torci_server *server = connection->server;
    struct torc_stream *stream = &connection->stream;
    bool polite = torci_server_is_polite(server, stream);
    torci_server_left(server, stream, result);
    if (polite && !stream->ended && !stream->out_error)
        begin_ending(connection);
    else
        destroy(connection);
}

static void run(struct connection *connection)
{
    struct torc_stream *stream = &connection->stream;
    int result;
    if (TORC_UNLIKELY(connection->ending)) {
        destroy(connection);
        return;
    }
    connection->running = true;
    result = call(connection);
    if (result > 0 && (stream->in_first != TORCI_NO_CHUNK || stream->kept))
        result = keep(stream);
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
    for (;;) {
        struct torci_link *at;
        while (server->active == &worker && (at = torci_list_pop_front(&server->ready)))
            run(TORC_CONTAINER_OF(at, struct connection, ready));
        if (server->active == &worker)
            server->active = NULL;
        if (server->stopping || server->idle_count >= WORKERS_IDLE_MAX)
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
                        server))
        return; /* the end of the next turn tries again */
    server->starting = true;
    server->workers++;
}

void torci_handlers_look(struct torci_server *server)
{
    if (torci_list_is_empty(&server->ready) || server->stopping)
        return;
    server->net->io->traffic.dirty = true; /* the end of the next turn sees whether it got on */
    struct torci_worker *active = server->active;
    if (active && !active->fiber->park)
        return; /* it is at it, or will be */
    server->active = NULL;
    wake_worker(server);
}

int torci_handler_start(struct torci_server *server, int fd)
{
    struct connection *connection = (struct connection *)torc_alloc(sizeof *connection);
    if (!connection)
        return -ENOMEM;
    connection->server = server;
    torci_link_init(&connection->ready);
    connection->running = connection->came = connection->ending = false;
    torci_server_enter(server, &connection->stream, fd);
    connection->stream.on_event = on_event;
    if (server->options.tls && torci_tls_accept(&connection->stream, server->options.tls)) {
        connection->stream.ended = true; /* a worker ends it */
        connection->stream.in_error = -ENOMEM;
        make_ready(connection);
        return 0;
    }
    torci_receive_arm(&connection->stream);
    return 0;
}

void torci_handlers_init(struct torci_server *server)
{
    torci_link_init(&server->ready);
    torci_link_init(&server->idle);
    torci_link_init(&server->net_link);
    torci_link_init(&server->ending[0]);
    torci_link_init(&server->ending[1]);
    torci_timer_init(&server->ending_timer, ending_over);
}

/* Half a request is waited for. */
void torci_handlers_drain(struct torci_server *server)
{
    struct torci_link *at, *after;
    torci_list_each_safe (at, after, &server->streams) {
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, owner_link);
        struct connection *connection = of_stream(stream);
        if (!connection->running && is_leaving(stream))
            make_ready(connection);
    }
}

bool torci_handler_is_idle(const struct torc_stream *stream)
{
    return !of_stream(stream)->running;
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

/* Those that are not are still among the server's streams. */
static void abort_ending(struct torci_link *list)
{
    struct torci_link *at;
    while ((at = torci_list_pop_front(list))) {
        struct connection *connection = TORC_CONTAINER_OF(at, struct connection, ready);
        if (connection->ending) {
            connection->stream.on_event = NULL;
            torc_stream_abort(&connection->stream);
            destroy(connection);
        }
    }
}

void torci_handlers_close_rest(struct torci_server *server)
{
    struct torci_link *at;
    abort_ending(&server->ready);
    abort_ending(&server->ending[0]);
    abort_ending(&server->ending[1]);
    while ((at = torci_list_pop_front(&server->streams))) {
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, owner_link);
        stream->on_event = NULL;
        if (server->options.closed)
            server->options.closed(stream, server->arg);
        torc_stream_abort(stream);
        destroy(of_stream(stream));
    }
    torci_wheel_cancel(&server->net->io->exec.wheel, &server->ending_timer);
}
