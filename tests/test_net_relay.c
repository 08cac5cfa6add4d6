/* SPDX-License-Identifier: MIT
 *
 * Relays: what goes through them, both ways, how each kind of end is told to the other side, and what limits them. A
 * and B are the relay's sides; `left` and `right` are who is behind them. Everything runs over TCP, over Unix sockets and
 * through a filter, which has the relay copy.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/time.h"
#include "io/io_internal.h"
#include "net/net_internal.h"
#include "net/relay.h"
#include "shard/alloc.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

enum { WAIT_ROUNDS = 20000 };

static struct fault_kernel fault;

static int run(torc_task_fn *main, void *arg)
{
    fault_kernel_init(&fault);
    int result = run_shard(&(struct torc_config){.kernel = &fault.kernel, .no_stall_report = true},
                           main, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

/* ------ Four streams: left - a, b - right */

enum kind { KIND_UNIX, KIND_TCP, KIND_FILTER, KIND_COUNT };

struct quad {
    struct torc_stream left, a, b, right;
    struct torc_relay_options options;
    struct torc_relay_result result;
    int error;
    bool done;
    struct torc_scope tasks;
    struct torc_task relay;
};

static void tcp_pair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&at, &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fds[0], (struct sockaddr *)&at, sizeof at), 0);
    fds[1] = accept(listener, NULL, NULL);
    CHECK(fds[1] >= 0);
    close(listener);
}

static void pair(enum kind kind, struct torc_stream *one, struct torc_stream *other)
{
    int fds[2];
    if (kind == KIND_TCP)
        tcp_pair(fds);
    else
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(torc_stream_adopt(one, fds[0]), 0);
    CHECK_EQ(torc_stream_adopt(other, fds[1]), 0);
}

/* A filter that changes nothing but the way. */
static ssize_t plain_write(struct torc_stream *stream, const struct iovec *pieces, unsigned count)
{
    return torci_send(stream, pieces, count);
}

static ssize_t plain_fill(struct torc_stream *stream)
{
    const struct torci_chunk *chunk = torci_input_first(stream);
    if (!chunk)
        return stream->ended ? torci_input_end(stream) : -EAGAIN;
    size_t size = chunk->to - chunk->from;
    char *room = torci_kept_room(stream, size);
    if (!room)
        return -ENOMEM;
    memcpy(room, torci_chunk_memory(stream->net, stream->in_first) + chunk->from, size);
    torci_kept_add(stream, size);
    torci_input_consume(stream, size);
    return (ssize_t)size;
}

static void plain_close(struct torc_stream *stream)
{
    stream->filter = NULL;
}

static struct torci_filter plain = {.write = plain_write, .fill = plain_fill, .close = plain_close};

static void quad_open(struct quad *quad, enum kind kind)
{
    memset(quad, 0, sizeof *quad);
    pair(kind, &quad->left, &quad->a);
    pair(kind, &quad->b, &quad->right);
    if (kind == KIND_FILTER)
        quad->b.filter = &plain;
    torc_scope_init(&quad->tasks);
}

static int relay_main(void *arg)
{
    struct quad *quad = (struct quad *)arg;
    quad->error = torc_relay(&quad->a, &quad->b, &quad->options, &quad->result);
    quad->done = true;
    return 0;
}

static void quad_start(struct quad *quad)
{
    CHECK_EQ(torc_spawn_with(&quad->tasks, &(struct torc_task_options){.task = &quad->relay},
                             relay_main, quad),
             0);
}

/* The relay has ended, with ERROR and END; what is open is closed. */
static void quad_end(struct quad *quad, int error, enum torc_relay_end end)
{
    CHECK_EQ(torc_scope_join(&quad->tasks), 0);
    CHECK(quad->done);
    CHECK_EQ(quad->error, error);
    CHECK_EQ(quad->result.end, end);
    if (quad->left.net)
        torc_stream_close(&quad->left);
    torc_stream_close(&quad->a);
    torc_stream_close(&quad->b);
    torc_stream_close(&quad->right);
}

static void until(const bool *flag)
{
    for (int i = 0; i < WAIT_ROUNDS && !*flag; i++)
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK(*flag);
}

/* ------ Traffic whose bytes tell their place */

static unsigned char byte_at(uint64_t place)
{
    return (unsigned char)((place * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

struct flow {
    struct torc_stream *stream;
    uint64_t size, place;
    uint64_t piece_max, seed;
    bool end; /* after SIZE */
};

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static int talk(void *arg)
{
    struct flow *flow = (struct flow *)arg;
    enum { PIECE = 200 * 1024 };
    unsigned char *bytes = torc_alloc(PIECE);
    CHECK(bytes != NULL);
    while (flow->place < flow->size) {
        uint64_t most = flow->piece_max ? flow->piece_max : PIECE;
        uint64_t size = flow->seed ? next_random(&flow->seed) % most + 1 : most;
        if (size > flow->size - flow->place)
            size = flow->size - flow->place;
        for (uint64_t i = 0; i < size; i++)
            bytes[i] = byte_at(flow->place + i);
        CHECK_EQ(torc_stream_write_all(flow->stream, bytes, size), (ssize_t)size);
        flow->place += size;
    }
    torc_free(bytes);
    return flow->end ? torc_stream_end(flow->stream) : torc_stream_flush(flow->stream);
}

/* Reads SIZE bytes, which must be right, or, if END, all and the end behind. */
static int hear(void *arg)
{
    struct flow *flow = (struct flow *)arg;
    const void *data;
    while (flow->end || flow->place < flow->size) {
        ssize_t n = torc_stream_peek(flow->stream, &data);
        if (n <= 0)
            return (int)n;
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(((const unsigned char *)data)[i], byte_at(flow->place + (uint64_t)i));
        flow->place += (uint64_t)n;
        torc_stream_consume(flow->stream, (size_t)n);
    }
    return 0;
}

struct dialogue {
    struct flow there, heard_there, back, heard_back;
};

static void converse(struct quad *quad, struct dialogue *d, uint64_t there, uint64_t back,
                     uint64_t seed)
{
    *d = (struct dialogue){
        .there = {&quad->left, there, 0, 0, seed, true},
        .heard_there = {&quad->right, 0, 0, 0, 0, true},
        .back = {&quad->right, back, 0, 0, seed, true},
        .heard_back = {&quad->left, 0, 0, 0, 0, true},
    };
    CHECK_EQ(torc_spawn(&quad->tasks, talk, &d->there), 0);
    CHECK_EQ(torc_spawn(&quad->tasks, hear, &d->heard_there), 0);
    CHECK_EQ(torc_spawn(&quad->tasks, talk, &d->back), 0);
    CHECK_EQ(torc_spawn(&quad->tasks, hear, &d->heard_back), 0);
}

static int both_ways(void *arg)
{
    (void)arg;
    static const uint64_t sizes[][2] = {{1, 1}, {0, 0}, {100, 0}, {0, 3 << 20}, {5 << 20, 7 << 20}};
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct quad quad;
            struct dialogue d;
            quad_open(&quad, (enum kind)kind);
            quad_start(&quad);
            converse(&quad, &d, sizes[i][0], sizes[i][1], 0x1234567 + i);
            quad_end(&quad, 0, TORC_RELAY_DONE);
            CHECK_EQ(d.heard_there.place, sizes[i][0]);
            CHECK_EQ(d.heard_back.place, sizes[i][1]);
            CHECK_EQ(quad.result.a_to_b_bytes, sizes[i][0]);
            CHECK_EQ(quad.result.b_to_a_bytes, sizes[i][1]);
            CHECK(quad.result.a_ended && quad.result.b_ended);
        }
    return 0;
}

TEST(relay, everything_arrives_both_ways_and_ends_are_passed_on)
{
    CHECK_EQ(run(both_ways, NULL), 0);
}

/* 64 MiB in all, through relays of which each ends at other places, sixteen at a time. */
static int many_at_once(void *arg)
{
    (void)arg;
    enum { PAIRS = 16, ROUNDS = 8 };
    static struct quad quads[PAIRS];
    static struct dialogue dialogues[PAIRS];
    uint64_t seed = 88172645463325252u, total = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PAIRS; i++) {
            uint64_t there = next_random(&seed) % (1 << (10 + i % 10));
            uint64_t back = next_random(&seed) % (1 << (20 - i % 10));
            quad_open(&quads[i], (enum kind)(i % KIND_COUNT));
            quad_start(&quads[i]);
            converse(&quads[i], &dialogues[i], there, back, next_random(&seed));
            total += there + back;
        }
        for (int i = 0; i < PAIRS; i++) {
            quad_end(&quads[i], 0, TORC_RELAY_DONE);
            CHECK_EQ(dialogues[i].heard_there.place, dialogues[i].there.size);
            CHECK_EQ(dialogues[i].heard_back.place, dialogues[i].back.size);
        }
    }
    CHECK(total > 8 << 20);
    return 0;
}

TEST(relay, many_relays_at_once_mix_nothing_up)
{
    CHECK_EQ(run(many_at_once, NULL), 0);
}

/* Small messages behind full chunks, in sockets that are full: what finds no room behind a chunk is sent with it. */
static int mixed_sizes(void *arg)
{
    (void)arg;
    enum { ROUNDS = 400, LARGE = 1 << 16, SMALL = 300 };
    struct quad quad;
    quad_open(&quad, KIND_UNIX);
    quad_start(&quad);
    struct flow there = {&quad.left, 0, 0, 0, 0, false};
    struct flow heard = {&quad.right, (uint64_t)ROUNDS * (LARGE + SMALL), 0, 0, 0, false};
    CHECK_EQ(torc_spawn(&quad.tasks, hear, &heard), 0);
    for (int i = 0; i < ROUNDS; i++) {
        there.size += LARGE;
        there.piece_max = LARGE;
        CHECK_EQ(talk(&there), 0);
        there.size += SMALL;
        there.piece_max = SMALL / 3;
        CHECK_EQ(talk(&there), 0);
    }
    CHECK_EQ(torc_stream_end(&quad.left), 0);
    CHECK_EQ(torc_stream_end(&quad.right), 0);
    quad_end(&quad, 0, TORC_RELAY_DONE);
    CHECK_EQ(heard.place, heard.size);
    return 0;
}

TEST(relay, small_messages_behind_full_chunks_arrive)
{
    CHECK_EQ(run(mixed_sizes, NULL), 0);
}

static int without_buffer_rings(void *arg)
{
    (void)arg;
    struct quad quad;
    struct dialogue d;
    quad_open(&quad, KIND_TCP);
    CHECK(!quad.a.net->slots);
    quad_start(&quad);
    converse(&quad, &d, 1 << 20, 3 << 20, 99);
    quad_end(&quad, 0, TORC_RELAY_DONE);
    CHECK_EQ(d.heard_there.place, 1 << 20);
    CHECK_EQ(d.heard_back.place, 3 << 20);
    return 0;
}

TEST(relay, works_on_a_kernel_without_buffer_rings)
{
    fault_kernel_init(&fault);
    fault.register_opcode_max = 21; /* IORING_REGISTER_PBUF_RING is 22 */
    struct torc_config config = {.kernel = &fault.kernel, .no_stall_report = true};
    CHECK_EQ(run_shard(&config, without_buffer_rings, NULL), 0);
    fault_kernel_check_clean(&fault);
}

/* A message that comes as the loop submits something else, before it spins, and that wakes no task. */
static void nothing(struct torc_op *op, int result, uint32_t flags)
{
    (void)op, (void)result, (void)flags;
}

static int nobody_wakes(void *arg)
{
    (void)arg;
    struct quad quad;
    struct torc_op nops[300];
    int left[2];
    memset(&quad, 0, sizeof quad);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, left), 0);
    CHECK_EQ(torc_stream_adopt(&quad.a, left[1]), 0);
    pair(KIND_UNIX, &quad.b, &quad.right);
    torc_scope_init(&quad.tasks);
    quad_start(&quad);
    torc_yield();
    for (int i = 0; i < 300; i++) {
        struct io_uring_sqe *sqe;
        struct torc_deadline deadline;
        char byte;
        CHECK_EQ(write(left[0], "x", 1), 1);
        CHECK_EQ(torc_op_start(&nops[i], nothing, &sqe), 0);
        io_uring_prep_nop(sqe);
        torc_deadline_enter(&deadline, 20 * TORC_SEC);
        CHECK_EQ(torc_stream_read(&quad.right, &byte, 1), 1);
        CHECK(!torc_deadline_leave(&deadline));
    }
    close(left[0]);
    torc_stream_close(&quad.right);
    quad_end(&quad, 0, TORC_RELAY_DONE);
    return 0;
}

TEST(relay, a_message_that_wakes_nobody_is_sent_on)
{
    CHECK_EQ(run(nobody_wakes, NULL), 0);
}

/* ------ Ends */

static void say(struct torc_stream *stream, const char *text)
{
    CHECK_EQ(torc_stream_print(stream, text), 0);
}

static void expect(struct torc_stream *stream, const char *text)
{
    char got[64];
    size_t size = strlen(text);
    CHECK_EQ(torc_stream_read_exactly(stream, got, size), (ssize_t)size);
    CHECK_EQ(memcmp(got, text, size), 0);
}

static void expect_end(struct torc_stream *stream, int error)
{
    char byte;
    CHECK_EQ(torc_stream_read(stream, &byte, 1), error);
}

static int half_closed(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct quad quad;
        quad_open(&quad, (enum kind)kind);
        quad_start(&quad);
        say(&quad.left, "question");
        CHECK_EQ(torc_stream_end(&quad.left), 0);
        expect(&quad.right, "question");
        expect_end(&quad.right, 0);
        CHECK(!quad.done);
        say(&quad.right, "answer");
        expect(&quad.left, "answer");
        say(&quad.right, ", and more");
        expect(&quad.left, ", and more");
        CHECK_EQ(torc_stream_end(&quad.right), 0);
        expect_end(&quad.left, 0);
        quad_end(&quad, 0, TORC_RELAY_DONE);
    }
    return 0;
}

TEST(relay, one_side_goes_on_after_the_other_has_ended)
{
    CHECK_EQ(run(half_closed, NULL), 0);
}

static int resets(void *arg)
{
    (void)arg;
    for (int from_left = 0; from_left < 2; from_left++) {
        struct quad quad;
        quad_open(&quad, KIND_TCP);
        struct torc_stream *near = from_left ? &quad.left : &quad.right;
        struct torc_stream *far = from_left ? &quad.right : &quad.left;
        quad_start(&quad);
        say(near, "last words");
        CHECK_EQ(torc_stream_flush(near), 0);
        expect(far, "last words");
        torc_stream_abort(near);
        until(&quad.done);
        CHECK(!quad.result.a_ended && !quad.result.b_ended);
        torc_stream_abort(from_left ? &quad.b : &quad.a);
        expect_end(far, -ECONNRESET);
        quad_end(&quad, -ECONNRESET, from_left ? TORC_RELAY_A_FAILED : TORC_RELAY_B_FAILED);
    }
    return 0;
}

TEST(relay, a_reset_ends_it_and_says_whose_it_was)
{
    CHECK_EQ(run(resets, NULL), 0);
}

static int last_words(void *arg)
{
    (void)arg;
    struct quad quad;
    quad_open(&quad, KIND_TCP);
    say(&quad.right, "no thanks");
    CHECK_EQ(torc_stream_flush(&quad.right), 0);
    torc_stream_abort(&quad.right);
    quad_start(&quad);
    expect(&quad.left, "no thanks");
    say(&quad.left, "but"); /* finds that nobody is there, if the reset has not been heard of */
    until(&quad.done);
    CHECK(!quad.result.b_ended);
    CHECK(quad.error == -ECONNRESET || quad.error == -EPIPE);
    quad_end(&quad, quad.error, TORC_RELAY_B_FAILED);
    return 0;
}

TEST(relay, what_a_side_said_before_it_failed_is_delivered)
{
    CHECK_EQ(run(last_words, NULL), 0);
}

/* The right side has ended properly and then takes nothing more: the left has all, and writes to nobody. */
static int ended_then_gone(void *arg)
{
    (void)arg;
    struct quad quad;
    quad_open(&quad, KIND_TCP);
    quad_start(&quad);
    say(&quad.right, "bye");
    torc_stream_close(&quad.right);
    expect(&quad.left, "bye");
    expect_end(&quad.left, 0);
    for (int i = 0; i < WAIT_ROUNDS && !quad.b.out_error; i++) {
        say(&quad.left, "are you there?");
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    }
    until(&quad.done); /* without another word */
    CHECK(quad.result.b_ended && !quad.result.a_ended);
    quad_end(&quad, quad.error, TORC_RELAY_B_FAILED);
    CHECK(quad.error == -ECONNRESET || quad.error == -EPIPE);
    return 0;
}

TEST(relay, a_side_that_goes_after_its_end_is_noticed_by_writing)
{
    CHECK_EQ(run(ended_then_gone, NULL), 0);
}

static int both_reset(void *arg)
{
    (void)arg;
    struct quad quad;
    quad_open(&quad, KIND_TCP);
    struct flow there = {&quad.left, 64 << 10, 0, 0, 0, false};
    struct flow back = {&quad.right, 64 << 10, 0, 0, 0, false};
    CHECK_EQ(talk(&there), 0);
    CHECK_EQ(talk(&back), 0);
    torc_stream_abort(&quad.left);
    torc_stream_abort(&quad.right);
    quad_start(&quad);
    until(&quad.done);
    CHECK(quad.error == -ECONNRESET || quad.error == -EPIPE);
    quad_end(&quad, quad.error, quad.result.end);
    return 0;
}

TEST(relay, ends_when_both_sides_are_gone_before_it_begins)
{
    CHECK_EQ(run(both_reset, NULL), 0);
}

/* ------ What is there before, and after */

static int held_input(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct quad quad;
        char line[32];
        const void *data;
        quad_open(&quad, (enum kind)kind);
        say(&quad.left, "CONNECT\nbody");
        CHECK_EQ(torc_stream_read_line(&quad.a, line, sizeof line), 7);
        CHECK_STR(line, "CONNECT");
        /* kept, since it is wanted in one piece that no chunk holds; chunks behind it */
        struct flow big = {&quad.right, 150 << 10, 0, 0, 0, false};
        struct torc_task talker;
        CHECK_EQ(
            torc_spawn_with(&quad.tasks, &(struct torc_task_options){.task = &talker}, talk, &big),
            0);
        CHECK(torc_stream_peek_at_least(&quad.b, 100 << 10, &data) >= 100 << 10);
        CHECK(quad.b.kept != NULL);
        quad_start(&quad);
        expect(&quad.right, "body");
        struct flow heard = {&quad.left, 150 << 10, 0, 0, 0, false};
        CHECK_EQ(hear(&heard), 0);
        CHECK_EQ(torc_stream_end(&quad.left), 0);
        CHECK_EQ(torc_task_join(&talker), 0);
        CHECK_EQ(torc_stream_end(&quad.right), 0);
        quad_end(&quad, 0, TORC_RELAY_DONE);
    }
    return 0;
}

TEST(relay, input_that_is_held_already_goes_first)
{
    CHECK_EQ(run(held_input, NULL), 0);
}

static int limited(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (uint64_t limit = 1; limit < 300 << 10; limit = limit * 11 + 3) {
            struct quad quad;
            quad_open(&quad, (enum kind)kind);
            quad.options.bytes_max = limit;
            quad_start(&quad);
            struct flow there = {&quad.left, limit + 10, 0, 0, 0, false};
            struct flow heard = {&quad.right, limit, 0, 0, 0, false};
            CHECK_EQ(torc_spawn(&quad.tasks, talk, &there), 0);
            CHECK_EQ(hear(&heard), 0);
            until(&quad.done);
            CHECK_EQ(quad.result.a_to_b_bytes, limit);
            CHECK_EQ(heard.place, limit);
            struct flow rest = {&quad.a, limit + 10, limit, 0, 0, false};
            CHECK_EQ(hear(&rest), 0); /* nothing was lost */
            quad_end(&quad, -EFBIG, TORC_RELAY_LIMIT);
        }
    return 0;
}

TEST(relay, the_limit_is_exact_and_the_rest_can_still_be_read)
{
    CHECK_EQ(run(limited, NULL), 0);
}

static int interrupted(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct quad quad;
        quad_open(&quad, (enum kind)kind);
        quad_start(&quad);
        say(&quad.left, "before");
        expect(&quad.right, "before");
        torc_task_cancel(&quad.relay);
        until(&quad.done);
        say(&quad.left, "after");
        expect(&quad.a, "after");
        say(&quad.b, "too");
        expect(&quad.right, "too");
        quad_end(&quad, -ECANCELED, TORC_RELAY_INTERRUPTED);

        quad_open(&quad, (enum kind)kind);
        struct torc_deadline deadline;
        torc_deadline_enter(&deadline, TORC_MS);
        CHECK_EQ(relay_main(&quad), 0);
        CHECK(torc_deadline_leave(&deadline));
        quad_end(&quad, -ETIMEDOUT, TORC_RELAY_INTERRUPTED);
    }
    return 0;
}

TEST(relay, an_interrupted_one_leaves_both_streams_usable)
{
    CHECK_EQ(run(interrupted, NULL), 0);
}

/* ------ Time */

static int idle(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct quad quad;
        quad_open(&quad, (enum kind)kind);
        quad.options.idle_ns = 4 * TORC_MS;
        quad_start(&quad);
        until(&quad.done);
        quad_end(&quad, -ETIMEDOUT, TORC_RELAY_IDLE);

        quad_open(&quad, (enum kind)kind);
        quad.options.half_idle_ns = 4 * TORC_MS;
        quad_start(&quad);
        say(&quad.left, "x");
        expect(&quad.right, "x");
        CHECK_EQ(torc_sleep(20 * TORC_MS), 0);
        CHECK(!quad.done); /* neither has ended */
        CHECK_EQ(torc_stream_end(&quad.left), 0);
        until(&quad.done);
        CHECK(quad.result.a_ended && !quad.result.b_ended);
        quad_end(&quad, -ETIMEDOUT, TORC_RELAY_IDLE);
    }
    return 0;
}

TEST(relay, ends_when_nothing_moves_for_too_long)
{
    CHECK_EQ(run(idle, NULL), 0);
}

/* One that does not read is idle too, whatever the other would say. */
static int stuck(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct quad quad;
        quad_open(&quad, (enum kind)kind);
        quad.options.idle_ns = 200 * TORC_MS;
        quad_start(&quad);
        char *bytes = torc_alloc(1 << 16);
        CHECK(bytes != NULL);
        memset(bytes, 0, 1 << 16);
        while (!quad.done) {
            ssize_t n = torc_stream_try_write(&quad.left, bytes, 1 << 16);
            CHECK(n > 0 || n == -EAGAIN);
            CHECK_EQ(torc_sleep(100 * TORC_US), 0);
        }
        torc_free(bytes);
        torc_stream_abort(&quad.left);
        torc_stream_abort(&quad.a);
        torc_stream_abort(&quad.b);
        quad_end(&quad, -ETIMEDOUT, TORC_RELAY_IDLE);
    }
    return 0;
}

TEST(relay, a_side_that_never_reads_counts_as_idle)
{
    CHECK_EQ(run(stuck, NULL), 0);
}

/* ------ Back-pressure */

static int slow_reader(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct quad quad;
        quad_open(&quad, (enum kind)kind);
        struct torci_net *net = quad.a.net;
        quad_start(&quad);
        struct flow there = {&quad.left, 64 << 20, 0, 0, 0, true};
        struct flow heard = {&quad.right, 0, 0, 0, 0, true};
        CHECK_EQ(torc_spawn(&quad.tasks, talk, &there), 0);
        bool is_stopped = false;
        uint64_t last = 0;
        for (int i = 0, still = 0; i < WAIT_ROUNDS && !is_stopped; i++) {
            CHECK_EQ(torc_sleep(TORC_MS), 0);
            still = there.place == last ? still + 1 : 0;
            last = there.place;
            is_stopped = still > 20 && quad.b.out_state == TORCI_OUT_BLOCKED && !quad.a.armed;
            CHECK(quad.a.in_chunks < 64);
        }
        CHECK(is_stopped);
        CHECK(net->free_count + net->held + 64 > net->count);
        CHECK_EQ(hear(&heard), 0);
        CHECK_EQ(heard.place, 64 << 20);
        CHECK_EQ(torc_stream_end(&quad.right), 0);
        quad_end(&quad, 0, TORC_RELAY_DONE);
    }
    return 0;
}

TEST(relay, who_takes_nothing_stops_the_other_from_being_read)
{
    CHECK_EQ(run(slow_reader, NULL), 0);
}

/* ------ Failing calls */

/* Two words each way, and the ends; the ends of the pairs are what nothing fails for. */
static int relay_words(struct quad *quad, const int fds[4])
{
    char word[8];
    for (int i = 0; i < 4; i += 3) {
        CHECK_EQ(write(fds[i], "word", 4), 4);
        CHECK_EQ(shutdown(fds[i], SHUT_WR), 0);
    }
    int err = torc_relay(&quad->a, &quad->b, NULL, &quad->result);
    for (int i = 0; i < 4 && !err; i += 3)
        CHECK_EQ(read(fds[i], word, sizeof word), 4);
    return err;
}

static int small_talk(void *arg)
{
    struct quad quad;
    int fds[4];
    memset(&quad, 0, sizeof quad);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds + 2), 0);
    int err = torc_stream_adopt(&quad.a, fds[1]), err_b = torc_stream_adopt(&quad.b, fds[2]);
    if (!err && !err_b) {
        if (arg)
            quad.b.filter = &plain;
        err = relay_words(&quad, fds);
    }
    if (quad.a.net)
        torc_stream_close(&quad.a);
    else
        close(fds[1]);
    if (quad.b.net)
        torc_stream_close(&quad.b);
    else
        close(fds[2]);
    close(fds[0]);
    close(fds[3]);
    return err ? err : err_b;
}

static void fail_each(unsigned kinds, bool filtered)
{
    for (long n = 0; n < 10000; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = kinds;
        fault.fail_nth = n;
        struct torc_config config = {.kernel = &fault.kernel, .no_stall_report = true};
        int err = run_alone(&config, small_talk, filtered ? &fault : NULL);
        fault_kernel_check_clean(&fault);
        if (!fault.failed) {
            CHECK_EQ(err, 0);
            return;
        }
    }
    TEST_FAIL("it never came to an end");
}

TEST(relay, survives_the_failure_of_any_allocation)
{
    fail_each(FAULT_ALLOC | FAULT_MAP, false);
    fail_each(FAULT_ALLOC | FAULT_MAP, true);
}

TEST(relay, survives_the_failure_of_any_call)
{
    fail_each(FAULT_CALL, false);
    fail_each(FAULT_CALL, true);
}
