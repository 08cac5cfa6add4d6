/* SPDX-License-Identifier: MIT
 *
 * Chunks run short: peers that never read what they are sent, tasks that never read what comes, halves of requests. However
 * many of those there are, the other connections go on, and in the end every chunk is back. The pool is a
 * small one, of an arena of 64 MiB.
 */
#include "shard/arena_internal.h"
#include "tests/net_pair.h"

enum { ARENA_BYTES = 64 << 20, STUCK = 300, MOVING = 100, MESSAGES = 50 };

static struct torc_config small_arena(void)
{
    return (struct torc_config){.arena_bytes = ARENA_BYTES, .stack_bytes = 16 * 1024};
}

struct line {
    struct net_pair pair;
    ssize_t result;
    bool is_over;
};

static struct line stuck[STUCK], moving[MOVING];

static int echo(void *arg)
{
    struct line *line = (struct line *)arg;
    char buf[4096];
    ssize_t n;
    while ((n = torc_stream_read(&line->pair.stream, buf, sizeof buf)) > 0)
        if ((n = torc_stream_write_all(&line->pair.stream, buf, (size_t)n)) < 0)
            break;
    line->result = n;
    line->is_over = true;
    torc_stream_close(&line->pair.stream);
    return 0;
}

/* The same with what it has been shown, which it holds while it waits. */
static int echo_view(void *arg)
{
    struct line *line = (struct line *)arg;
    const void *data;
    ssize_t n;
    while ((n = torc_stream_peek(&line->pair.stream, &data)) > 0) {
        size_t size = (size_t)n;
        if ((n = torc_stream_write_all(&line->pair.stream, data, size)) < 0)
            break;
        torc_stream_consume(&line->pair.stream, size);
    }
    line->result = n;
    line->is_over = true;
    torc_stream_close(&line->pair.stream);
    return 0;
}

static int never_reads(void *arg)
{
    (void)arg;
    struct torci_wait *never = NULL;
    return torci_stream_park(&never);
}

/* Sends until nothing goes any more; whether anything went. */
static bool push(struct line *line)
{
    static char block[65536];
    bool some = false;
    while (send(line->pair.peer, block, sizeof block, MSG_NOSIGNAL) > 0)
        some = true;
    return some;
}

static int exchange(void *arg)
{
    struct line *line = (struct line *)arg;
    static const size_t sizes[] = {1, 100, 5000, 30000};
    char *out = malloc(30000), *in = malloc(30000);
    CHECK(out && in);
    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t size = sizes[i % TORC_ARRAY_LENGTH(sizes)];
        net_fill(out, size, i);
        net_peer_send(&line->pair, out, size);
        CHECK_EQ(net_peer_receive(&line->pair, in, size), size);
        CHECK_EQ(memcmp(in, out, size), 0);
    }
    CHECK_EQ(shutdown(line->pair.peer, SHUT_WR), 0);
    CHECK_EQ(net_peer_receive(&line->pair, in, 1), 0);
    free(out);
    free(in);
    return 0;
}

static void open_line(struct line *line, enum net_kind kind)
{
    const int some = 65536; /* or the test would be about the kernel's memory */
    *line = (struct line){.is_over = false};
    net_pair_open(&line->pair, kind);
    CHECK_EQ(torc_stream_set_option(&line->pair.stream, SOL_SOCKET, SO_SNDBUF, &some, sizeof some),
             0);
    CHECK_EQ(setsockopt(line->pair.peer, SOL_SOCKET, SO_RCVBUF, &some, sizeof some), 0);
}

static void spawn(struct torc_scope *scope, torc_task_fn *fn, struct line *line)
{
    static const struct torc_task_options options = {.stack_bytes = 16 * 1024};
    CHECK_EQ(torc_spawn_with(scope, &options, fn, line), 0);
}

/* MOVING connections talk beside STUCK ones of which FN is made. */
static void talk_beside(enum net_kind kind, torc_task_fn *fn)
{
    struct torc_scope held, talking;
    bool some = true;
    torc_scope_init(&held);
    for (unsigned i = 0; i < STUCK; i++) {
        open_line(&stuck[i], kind);
        if (fn == never_reads)
            torci_receive_arm(&stuck[i].pair.stream);
        spawn(&held, fn, &stuck[i]);
    }
    while (some) { /* until everything is full */
        some = false;
        for (unsigned i = 0; i < STUCK; i++)
            some |= push(&stuck[i]);
        net_turns();
    }
    torc_scope_init(&talking);
    for (unsigned i = 0; i < MOVING; i++) {
        open_line(&moving[i], kind);
        spawn(&talking, i % 2 ? echo : echo_view, &moving[i]);
        spawn(&talking, exchange, &moving[i]);
    }
    CHECK_EQ(torc_scope_join(&talking), 0);
    for (unsigned i = 0; i < MOVING; i++) {
        CHECK(moving[i].is_over);
        CHECK_EQ(moving[i].result, 0);
        close(moving[i].pair.peer);
    }
    for (unsigned i = 0; i < STUCK; i++)
        CHECK(!stuck[i].is_over);
    torc_scope_cancel(&held);
    CHECK(torc_scope_join(&held) == 0 || fn == never_reads);
    for (unsigned i = 0; i < STUCK; i++)
        net_pair_close(&stuck[i].pair);
}

static int peers_never_read(enum net_kind kind)
{
    talk_beside(kind, echo);
    return 0;
}
static int peers_never_read_views(enum net_kind kind)
{
    talk_beside(kind, echo_view);
    return 0;
}
static int tasks_never_read(enum net_kind kind)
{
    talk_beside(kind, never_reads);
    return 0;
}

TEST(pool, peers_that_never_read_leave_the_others_enough)
{
    net_test(peers_never_read, small_arena());
}

TEST(pool, so_do_those_whose_input_is_held_while_it_is_answered)
{
    net_test(peers_never_read_views, small_arena());
}

TEST(pool, so_do_tasks_that_never_read)
{
    net_test(tasks_never_read, small_arena());
}

static int reads_a_line(void *arg)
{
    struct line *line = (struct line *)arg;
    char text[200];
    line->result = torc_stream_read_line(&line->pair.stream, text, sizeof text);
    line->is_over = true;
    torc_stream_close(&line->pair.stream);
    return 0;
}

/* A half holds memory of its own size, and no chunk. */
static int halves(enum net_kind kind)
{
    enum { HALVES = 800 };
    static struct line lines[HALVES];
    struct torc_scope scope;
    static const struct torc_task_options options = {.stack_bytes = 8 * 1024};
    torc_scope_init(&scope);
    for (unsigned i = 0; i < HALVES; i++) {
        lines[i] = (struct line){.is_over = false};
        net_pair_open(&lines[i].pair, kind);
        CHECK_EQ(torc_spawn_with(&scope, &options, reads_a_line, &lines[i]), 0);
        net_peer_send(&lines[i].pair, "GET / HTTP/1.1 and no end", 25);
    }
    for (unsigned i = 0; i < HALVES; i++)
        while (!lines[i].pair.stream.kept)
            CHECK_EQ(torc_sleep(20 * TORC_US), 0);
    const struct torci_net *net = net_room();
    CHECK_EQ(net->free_count + net->held - net->held_small, net->count);
    for (unsigned i = 0; i < HALVES; i++) {
        CHECK(lines[i].pair.stream.kept->size <= 64);
        net_peer_send(&lines[i].pair, "!\n", 2);
    }
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (unsigned i = 0; i < HALVES; i++) {
        CHECK_EQ(lines[i].result, 26);
        close(lines[i].pair.peer);
    }
    return 0;
}

TEST(pool, half_a_request_holds_no_chunk)
{
    net_test(halves, small_arena());
}

/* Nothing is left at all: what comes waits, and goes on as soon as chunks are back. */
static int all_are_gone(enum net_kind kind)
{
    static uint16_t taken[TORCI_CHUNKS_MAX * (1 + TORCI_SMALL_CHUNKS)];
    uint32_t count = 0, answers = 0;
    struct net_pair pair;
    char buf[16];
    struct torc_deadline deadline;
    net_pair_open(&pair, kind);
    struct torci_net *net = net_room();
    const struct torci_counters *counters = net->io->exec.counters;
    ssize_t n;
    do { /* what the kernel has been lent is used up, too */
        for (uint16_t chunk; (chunk = torci_chunk_take_input(net)) != TORCI_NO_CHUNK;)
            taken[count++] = chunk;
        net_peer_send(&pair, "one", 3);
        torc_deadline_enter(&deadline, 5 * TORC_MS);
        n = torc_stream_read(&pair.stream, buf, sizeof buf);
        (void)torc_deadline_leave(&deadline);
        CHECK(n == 3 || n == -ETIMEDOUT);
        CHECK(answers++ < net->count);
    } while (n > 0);
    CHECK(torci_link_is_queued(&pair.stream.in_link));
    uint64_t starved = counters->net_starved;
    CHECK(starved > 0);
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    CHECK(counters->net_starved < starved + 10); /* it does not ask again and again */
    while (count)
        torci_chunk_put(net, taken[--count]);
    net->io->traffic.dirty = true;
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 3);
    net_pair_close(&pair);
    return 0;
}

TEST(pool, a_receive_waits_for_a_chunk)
{
    net_test(all_are_gone, small_arena());
}

/* Without a chunk for output writers send from their own memory. */
static int no_output(enum net_kind kind)
{
    static char block[300000], got[300000];
    struct net_pair pair;
    struct torc_scope scope;
    net_pair_open(&pair, kind);
    net_turns();
    struct torci_net *net = net_room();
    net->pressed = true;
    net_fill(block, sizeof block, 0);
    for (size_t size = 1; size <= sizeof block; size *= 7) {
        struct net_pair *at = &pair;
        torc_scope_init(&scope);
        CHECK_EQ(torc_stream_write_all(&pair.stream, block, size < 50000 ? size : 50000),
                 size < 50000 ? size : 50000);
        CHECK(pair.stream.out == TORCI_NO_CHUNK);
        CHECK_EQ(net_peer_receive(at, got, size < 50000 ? size : 50000),
                 size < 50000 ? size : 50000);
        net_check_bytes(got, size < 50000 ? size : 50000, 0);
        CHECK_EQ(torc_scope_join(&scope), 0);
        net->pressed = true;
    }
    net->pressed = false;
    net_pair_close(&pair);
    return 0;
}

TEST(pool, writers_do_without_a_chunk)
{
    net_test(no_output, small_arena());
}

TEST(pool, is_a_part_of_the_arena)
{
    struct torc_config config = {.arena_bytes = TORCI_ARENA_BYTES_MIN};
    for (int i = 0; i < 4; i++, config.arena_bytes *= 2)
        net_test(no_output, config);
}
