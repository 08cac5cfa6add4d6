/* SPDX-License-Identifier: MIT
 *
 * Connections on which nothing moves. Not a timer each, nor a list that every message would have to change: in each eighth of
 * the limit all streams of the server are asked once whether anything has moved, a few of them a turn of the loop. So one
 * ends after the limit and at most a quarter of it more, and traffic costs nothing.
 *
 * Only who waits for the peer is idle, not who computes or waits for somebody else.
 */
#include <errno.h>

#include "core/time.h"
#include "net/serve_internal.h"

enum {
    ROUNDS = 8, /* without a move */
    STREAMS_A_TURN = 256,
    TICK_MIN_NS = 1000 * 1000,
};

static bool waits_for_peer(const struct torci_server *server, const struct torc_stream *stream)
{
    return stream->reader || stream->writer ||
           (server->is_handler && torci_handler_is_idle(stream));
}

static bool is_over(const struct torci_server *server, struct torc_stream *stream)
{
    uint32_t moved = (uint32_t)(stream->received_bytes + stream->sent_bytes);
    if (moved != stream->idle_moved || !waits_for_peer(server, stream)) {
        stream->idle_moved = moved;
        stream->idle_rounds = 0;
        return false;
    }
    if (stream->idle_rounds <= ROUNDS)
        stream->idle_rounds++;
    return stream->idle_rounds == ROUNDS + 1;
}

/* The reader gets -ETIMEDOUT; if output is left that the peer does not take, so does the writer. */
static void give_up(struct torc_stream *stream)
{
    if (stream->writer || !torci_output_is_empty(stream)) {
        torci_send_fail(stream, -ETIMEDOUT);
        return;
    }
    if (stream->ended)
        return;
    stream->ended = true;
    stream->in_error = -ETIMEDOUT;
    torci_stream_tell(stream, TORCI_EVENT_INPUT);
}

static void look(struct torci_timer *timer)
{
    struct torci_server *server = TORC_CONTAINER_OF(timer, struct torci_server, idle_timer);
    struct torci_wheel *wheel = &server->net->io->exec.wheel;
    uint64_t now = torc_now_ns();
    if (!server->idle_left) {
        server->idle_left = server->live;
        server->idle_next_ns = now + server->idle_tick_ns;
    }
    for (unsigned i = 0; i < STREAMS_A_TURN && server->idle_left; i++, server->idle_left--) {
        struct torci_link *at = torci_list_pop_front(&server->streams);
        if (!at) {
            server->idle_left = 0;
            break;
        }
        torci_list_push_back(&server->streams, at);
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, owner_link);
        if (is_over(server, stream))
            give_up(stream);
    }
    torci_wheel_arm(wheel, timer, server->idle_left ? now : server->idle_next_ns);
}

void torci_idle_start(struct torci_server *server)
{
    torci_timer_init(&server->idle_timer, look);
    if (!server->options.idle_ns)
        return;
    uint64_t tick = server->options.idle_ns / ROUNDS;
    server->idle_tick_ns = tick < TICK_MIN_NS ? TICK_MIN_NS : tick;
    torci_wheel_arm(&server->net->io->exec.wheel, &server->idle_timer,
                    torc_now_ns() + server->idle_tick_ns);
}

void torci_idle_stop(struct torci_server *server)
{
    torci_wheel_cancel(&server->net->io->exec.wheel, &server->idle_timer);
}
