/* SPDX-License-Identifier: MIT
 *
 * A relay is two ways, each from one stream to the other. Input comes on the loop and its chunk becomes the other
 * side's output as it is: no copy, no switch to a task. The task that called sleeps until there is an end to be passed
 * on, or until it is over.
 *
 *     a chunk has come --the other side has no output--> its output: leaves at the end of the turn
 *         |    |
 *         |    '--it has, but with room for a small message: copied behind it
 *         '--it has: stays input, until the other side tells of room. No receive is armed before that, and one that is
 *            armed ends when the stream holds its limit
 *
 * What a side said before it ended, or failed, goes to the other first; and what was said to it before. One that can't be
 * written to any more is still read to its end.
 *
 * Where one of the streams has a filter, its input exists only when somebody reads: there two tasks copy.
 */
#include "net/relay.h"

#include <errno.h>

#include "core/time.h"
#include "net/net_internal.h"

enum { IDLE_LOOKS = 4 }; /* in the time after which a relay is idle */

struct way {
    struct torci_relay *relay;
    struct torc_stream *from, *to;
    uint64_t *bytes; /* handed over: in the result */
    uint64_t left;   /* that may be */
    bool end_came;
    bool end_due; /* the task is to pass it on */
    bool ended;   /* it has */
};

struct torci_relay {
    struct way ways[2]; /* from A, from B */
    struct torci_wait *waiter;
    struct torci_timer idle;
    uint64_t idle_ns, half_idle_ns;
    uint64_t seen_bytes; /* by the timer, of all that came and went */
    unsigned still;      /* looks since that has changed */
    bool over;
    enum torc_relay_end end;
    int error;
};

static inline struct way *back(const struct way *way)
{
    return &way->relay->ways[way == &way->relay->ways[0]];
}

static void wake(struct torci_relay *relay)
{
    struct torci_wait *waiter = relay->waiter;
    relay->waiter = NULL;
    if (waiter)
        torci_wait_wake(waiter, 0);
}

static void finish(struct torci_relay *relay, enum torc_relay_end end, int error)
{
    if (relay->over)
        return;
    relay->over = true;
    relay->end = end;
    relay->error = error;
    wake(relay);
}

static void fail(struct torci_relay *relay, const struct torc_stream *stream, int error)
{
    finish(relay, stream == relay->ways[0].from ? TORC_RELAY_A_FAILED : TORC_RELAY_B_FAILED, error);
}

/* ------ The timer: no message has to touch it */

static uint64_t idle_limit(const struct torci_relay *relay)
{
    return relay->ways[0].end_came || relay->ways[1].end_came ? relay->half_idle_ns
                                                              : relay->idle_ns;
}

static void look_again(struct torci_relay *relay, uint64_t limit_ns)
{
    uint64_t wait_ns = limit_ns / IDLE_LOOKS;
    torci_wheel_arm(&torci_this->wheel, &relay->idle, torc_now_ns() + (wait_ns ? wait_ns : 1));
}

static void look_for_idleness(struct torci_timer *timer)
{
    struct torci_relay *relay = TORC_CONTAINER_OF(timer, struct torci_relay, idle);
    uint64_t bytes = 0, limit_ns = idle_limit(relay);
    for (int i = 0; i < 2; i++)
        bytes += relay->ways[i].from->received_bytes + relay->ways[i].from->sent_bytes;
    relay->still = bytes == relay->seen_bytes ? relay->still + 1 : 0;
    relay->seen_bytes = bytes;
    if (relay->still >= IDLE_LOOKS)
        finish(relay, TORC_RELAY_IDLE, -ETIMEDOUT);
    else if (limit_ns)
        look_again(relay, limit_ns);
}

/* One side has ended: from now on the other limit holds. */
static void limit_half(struct torci_relay *relay)
{
    relay->still = 0;
    torci_wheel_cancel(&torci_this->wheel, &relay->idle);
    if (relay->half_idle_ns && !relay->over)
        look_again(relay, relay->half_idle_ns);
}

/* ------ On the loop */

static inline bool has_input(const struct torc_stream *stream)
{
    return stream->in_first != TORCI_NO_CHUNK || stream->kept;
}

static inline void count(struct way *way, size_t size)
{
    *way->bytes += size;
    way->left -= size;
}

/* A part of the first piece of input, which stays the input's memory: small ones are copied, others sent from where they
 * are. False: there is no room. */
static bool send_some(struct way *way, char *data, size_t size)
{
    if (size > way->left)
        size = way->left;
    if (size > TORCI_SMALL_BYTES || !torci_send_gather(way->to, data, size)) {
        ssize_t sent = torci_send_now(way->to, &(struct iovec){data, size}, 1);
        if (sent <= 0)
            return false;
        size = (size_t)sent;
    }
    count(way, size);
    torc_stream_consume(way->from, size);
    if (!way->left && has_input(way->from))
        finish(way->relay, TORC_RELAY_LIMIT, -EFBIG);
    return true;
}

/* The first piece of input, or a part of it: false: the other side has no room. */
static bool hand_over(struct way *way)
{
    struct torc_stream *from = way->from;
    if (TORC_UNLIKELY(!way->left)) {
        finish(way->relay, TORC_RELAY_LIMIT, -EFBIG);
        return false;
    }
    if (TORC_UNLIKELY(from->kept != NULL))
        return send_some(way, from->kept->bytes + from->kept->from,
                         from->kept->to - from->kept->from);
    const struct torci_chunk *chunk = torci_input_first(from);
    size_t size = chunk->to - chunk->from;
    if (TORC_LIKELY(size <= way->left && torci_output_is_empty(way->to))) {
        torci_send_chunk(way->to, torci_input_take(from));
        count(way, size);
        return true;
    }
    if (size > way->left || size <= TORCI_SMALL_BYTES)
        return send_some(way, torci_chunk_memory(from->net, from->in_first) + chunk->from, size);
    return false;
}

/* All that FROM has said has been handed over, and no more will come. */
static void end_way(struct way *way)
{
    struct torci_relay *relay = way->relay;
    if (!way->end_came) {
        way->end_came = true;
        limit_half(relay);
    }
    if (!torci_send_is_idle(way->to)) {
        torci_send_want_room(way->to);
        return;
    }
    if (way->from->in_error) {
        fail(relay, way->from, way->from->in_error);
        return;
    }
    way->end_due = true;
    wake(relay);
}

static void move(struct way *way)
{
    struct torc_stream *from = way->from, *to = way->to;
    if (way->relay->over || way->ended || way->end_due)
        return;
    to->wants_room = false;
    if (TORC_UNLIKELY(to->out_error != 0)) {
        /* What it has said first, if that can be told. */
        if (back(way)->ended || from->out_error)
            fail(way->relay, to, to->out_error);
        return;
    }
    bool room = true;
    while (has_input(from) && !way->relay->over && (room = hand_over(way)))
        ;
    if (way->relay->over)
        return;
    if (TORC_UNLIKELY(!room))
        torci_send_want_room(to);
    else if (TORC_UNLIKELY(from->ended))
        end_way(way);
    else if (TORC_UNLIKELY(!from->armed))
        torci_receive_arm(from);
}

static void on_event(struct torc_stream *stream, unsigned events)
{
    struct torci_relay *relay = stream->relay;
    bool is_a = stream == relay->ways[0].from;
    if (events & TORCI_EVENT_INPUT)
        move(&relay->ways[!is_a]);
    if (events & TORCI_EVENT_ROOM)
        move(&relay->ways[is_a]);
}

/* ------ The task */

static void pass_end(struct way *way)
{
    struct torci_relay *relay = way->relay;
    way->end_due = false;
    int err = torc_stream_end(way->to);
    if (err == -ECANCELED || err == -ETIMEDOUT) {
        finish(relay, TORC_RELAY_INTERRUPTED, err);
        return;
    }
    if (err && err != -ENOTCONN) /* it has gone meanwhile: its own way says why */
        fail(relay, way->to, err);
    way->ended = true;
    if (back(way)->ended)
        finish(relay, TORC_RELAY_DONE, 0);
    if (way->from->out_error) /* it was only waited for what it had to say */
        fail(relay, way->from, way->from->out_error);
}

static void wait_on_loop(struct torci_relay *relay)
{
    struct way *ways = relay->ways;
    void (*saved[2])(struct torc_stream * stream, unsigned events);
    for (int i = 0; i < 2; i++) {
        saved[i] = ways[i].from->on_event;
        ways[i].from->relay = relay;
        ways[i].from->on_event = on_event;
    }
    for (int i = 0; i < 2; i++)
        move(&ways[i]);
    while (!relay->over) {
        if (ways[0].end_due || ways[1].end_due) {
            pass_end(&ways[ways[0].end_due ? 0 : 1]);
            continue;
        }
        int err = torci_stream_park(&relay->waiter);
        if (err)
            finish(relay, TORC_RELAY_INTERRUPTED, err);
    }
    for (int i = 0; i < 2; i++) {
        ways[i].from->on_event = saved[i];
        ways[i].from->relay = NULL;
        ways[i].from->wants_room = false;
    }
}

/* ------ Through filters */

/* As torc_stream_peek, but a server's drain is no end: what is relayed goes on. */
static ssize_t peek(struct torc_stream *stream, const void **data)
{
    bool was = stream->draining;
    ssize_t n;
    do {
        was |= stream->draining;
        stream->draining = false;
        n = torc_stream_peek(stream, data);
    } while (n == 0 && stream->draining);
    stream->draining |= was;
    return n;
}

static int copy(void *arg)
{
    struct way *way = (struct way *)arg;
    struct torci_relay *relay = way->relay;
    const void *data;
    ssize_t n;
    while ((n = peek(way->from, &data)) > 0) {
        size_t size = (size_t)n < way->left ? (size_t)n : way->left;
        if (!size) {
            finish(relay, TORC_RELAY_LIMIT, -EFBIG);
            return 0;
        }
        ssize_t written = torc_stream_write_all(way->to, data, size);
        if (written < 0) {
            fail(relay, way->to, (int)written);
            return 0;
        }
        count(way, size);
        torc_stream_consume(way->from, size);
    }
    if (n < 0) {
        fail(relay, way->from, (int)n);
        return 0;
    }
    way->end_came = true;
    limit_half(relay);
    pass_end(way);
    return 0;
}

static void wait_for_copies(struct torci_relay *relay)
{
    struct torc_scope copies;
    const struct torc_task_options options = {.name = "relay"};
    torc_scope_init(&copies);
    int err = torc_spawn_with(&copies, &options, copy, &relay->ways[0]);
    if (!err)
        err = torc_spawn_with(&copies, &options, copy, &relay->ways[1]);
    if (!err && !relay->over)
        err = torci_stream_park(&relay->waiter);
    if (err)
        finish(relay, TORC_RELAY_INTERRUPTED, err);
    torc_scope_cancel(&copies);
    torci_ignore(torc_scope_join(&copies));
}

int torc_relay(struct torc_stream *a, struct torc_stream *b,
               const struct torc_relay_options *options, struct torc_relay_result *result)
{
    static const struct torc_relay_options defaults;
    if (!options)
        options = &defaults;
    struct torc_relay_result own;
    if (!result)
        result = &own;
    *result = (struct torc_relay_result){.end = TORC_RELAY_DONE};
    uint64_t left = options->bytes_max ? options->bytes_max : UINT64_MAX;
    struct torci_relay relay = {
        .ways = {{.from = a, .to = b, .bytes = &result->a_to_b_bytes, .left = left},
                 {.from = b, .to = a, .bytes = &result->b_to_a_bytes, .left = left}},
        .idle_ns = options->idle_ns,
        .half_idle_ns = options->half_idle_ns ? options->half_idle_ns : options->idle_ns,
    };
    relay.ways[0].relay = relay.ways[1].relay = &relay;
    torci_timer_init(&relay.idle, look_for_idleness);
    if (relay.idle_ns)
        look_again(&relay, relay.idle_ns);
    if (a->filter || b->filter)
        wait_for_copies(&relay);
    else
        wait_on_loop(&relay);
    torci_wheel_cancel(&torci_this->wheel, &relay.idle);
    result->a_ended = relay.ways[0].ended;
    result->b_ended = relay.ways[1].ended;
    result->end = relay.end;
    return relay.error;
}
