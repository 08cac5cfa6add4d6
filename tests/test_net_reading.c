/* SPDX-License-Identifier: MIT
 *
 * Reading in pieces: whole ones, delimited ones, lines; limits, ends, interruptions, and what a drain means to them. The
 * peer's bytes come in separate chunks where a test says so.
 */
#include "core/random_internal.h"
#include "tests/net_pair.h"

/* Sends TEXT so that it is a chunk of its own. */
static void send_chunk(struct net_pair *pair, const char *text)
{
    size_t before = torc_stream_available(&pair->stream);
    struct torc_deadline deadline;
    const void *data;
    net_peer_send(pair, text, strlen(text));
    if (!net_room()->slots)
        return; /* there it is received when it is read */
    torci_receive_arm(&pair->stream);
    net_wait_available(&pair->stream, before + strlen(text));
    torc_deadline_enter(&deadline, TORC_SEC);
    CHECK(torc_stream_peek(&pair->stream, &data) > 0);
    CHECK(!torc_deadline_leave(&deadline));
}

/* By the address of what GOT comes with: arguments are evaluated in any order. */
static void expect(const void *const *data, ssize_t got, const char *text)
{
    CHECK_EQ(got, strlen(text));
    CHECK_EQ(memcmp(*data, text, strlen(text)), 0);
}

static int peek_and_consume(enum net_kind kind)
{
    struct net_pair pair;
    const void *data;
    net_pair_open(&pair, kind);
    send_chunk(&pair, "abcdef");
    expect(&data, torc_stream_peek(&pair.stream, &data), "abcdef");
    torc_stream_consume(&pair.stream, 2);
    CHECK_EQ(torc_stream_available(&pair.stream), 4);
    expect(&data, torc_stream_peek(&pair.stream, &data), "cdef");
    expect(&data, torc_stream_peek_at_least(&pair.stream, 4, &data), "cdef");
    send_chunk(&pair, "ghi");
    expect(&data, torc_stream_peek_at_least(&pair.stream, 7, &data), "cdefghi");
    expect(&data, torc_stream_peek(&pair.stream, &data), "cdefghi");
    torc_stream_consume(&pair.stream, 3);
    send_chunk(&pair, "jk"); /* behind what is kept */
    expect(&data, torc_stream_peek_at_least(&pair.stream, 6, &data), "fghijk");
    torc_stream_consume(&pair.stream, 6);
    CHECK_EQ(torc_stream_available(&pair.stream), 0);
    CHECK(pair.stream.kept == NULL);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, peeks_at_pieces_across_chunks, peek_and_consume)

static int limits(enum net_kind kind)
{
    struct net_pair pair;
    const void *data;
    char line[8];
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_peek_at_least(&pair.stream, TORC_STREAM_PIECE_MAX + 1, &data), -EMSGSIZE);
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "", 0, &data), -EINVAL);
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "12345678901234567", 0, &data), -EINVAL);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, 0), -EINVAL);
    send_chunk(&pair, "0123456789\r\n");
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "\r\n", 11, &data), -EMSGSIZE);
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "\r\n", 11, &data), -EMSGSIZE);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), -EMSGSIZE);
    CHECK_EQ(torc_stream_available(&pair.stream), 12); /* all stays */
    expect(&data, torc_stream_peek_until(&pair.stream, "\r\n", 12, &data), "0123456789\r\n");
    torc_stream_consume(&pair.stream, 12);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, keeps_to_limits, limits)

/* A delimiter of four that is cut at each place, with beginnings of itself before. */
static int cut_delimiter(enum net_kind kind)
{
    static const char *const text = "a\r\n\r\r\nb\r\n\r\n";
    for (size_t cut = 1; cut < strlen(text); cut++) {
        struct net_pair pair;
        const void *data;
        char first[16] = {0};
        net_pair_open(&pair, kind);
        memcpy(first, text, cut);
        send_chunk(&pair, first);
        send_chunk(&pair, text + cut);
        send_chunk(&pair, "rest");
        ssize_t n = torc_stream_peek_until(&pair.stream, "\r\n\r\n", 0, &data);
        expect(&data, n, text);
        torc_stream_consume(&pair.stream, (size_t)n);
        expect(&data, torc_stream_peek_at_least(&pair.stream, 4, &data), "rest");
        net_pair_close(&pair);
    }
    return 0;
}
NET_TEST(reading, finds_a_delimiter_wherever_it_is_cut, cut_delimiter)

static int byte_by_byte(enum net_kind kind)
{
    struct net_pair pair;
    char line[16];
    net_pair_open(&pair, kind);
    pair.stream.in_max = 16;
    for (const char *at = "one\r\n\ntwo\n"; *at; at++)
        send_chunk(&pair, (const char[2]){*at});
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 3);
    CHECK_STR(line, "one");
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 0);
    CHECK_STR(line, "");
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 3);
    CHECK_STR(line, "two");
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, reads_lines_that_come_byte_by_byte, byte_by_byte)

static int line_sizes(enum net_kind kind)
{
    struct net_pair pair;
    char line[8];
    net_pair_open(&pair, kind);
    send_chunk(&pair, "1234567\r\n1234567\n12345678\n");
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 7);
    CHECK_STR(line, "1234567");
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 7);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), -EMSGSIZE);
    CHECK_EQ(torc_stream_available(&pair.stream), 9);
    send_chunk(&pair, "\rx\n");
    char more[16];
    CHECK_EQ(torc_stream_read_line(&pair.stream, more, sizeof more), 8);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 2); /* a lone \r is a byte */
    CHECK_STR(line, "\rx");
    send_chunk(&pair, "end");
    net_peer_close(&pair);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, 3), -EMSGSIZE);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), 3);
    CHECK_STR(line, "end");
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), -EPIPE);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, knows_how_long_a_line_may_be, line_sizes)

static int ends_within(enum net_kind kind)
{
    struct net_pair pair;
    const void *data;
    char buf[16];
    net_pair_open(&pair, kind);
    send_chunk(&pair, "abc");
    net_peer_close(&pair);
    CHECK_EQ(torc_stream_peek_at_least(&pair.stream, 4, &data), -EPIPE);
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "\n", 0, &data), -EPIPE);
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 4), -EPIPE);
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 3), 3); /* all had stayed */
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 3), 0);
    CHECK_EQ(torc_stream_peek_at_least(&pair.stream, 1, &data), 0);
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "\n", 0, &data), -EPIPE);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, tells_an_end_within_from_one_before, ends_within)

static int interrupted(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_deadline deadline;
    const void *data;
    char buf[16], line[16];
    net_pair_open(&pair, kind);
    send_chunk(&pair, "abc");
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 6), -ETIMEDOUT);
    CHECK_EQ(torc_stream_peek_at_least(&pair.stream, 6, &data), -ETIMEDOUT);
    CHECK_EQ(torc_stream_peek_until(&pair.stream, "\n", 0, &data), -ETIMEDOUT);
    CHECK_EQ(torc_stream_read_line(&pair.stream, line, sizeof line), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(torc_stream_available(&pair.stream), 3);
    send_chunk(&pair, "def");
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 6), 6);
    CHECK_EQ(memcmp(buf, "abcdef", 6), 0);
    torc_deadline_enter(&deadline, TORC_MS); /* from what is kept and a chunk behind it */
    send_chunk(&pair, "gh");
    CHECK_EQ(torc_stream_peek_at_least(&pair.stream, 3, &data), -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    send_chunk(&pair, "ij");
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 6), -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    send_chunk(&pair, "kl");
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, buf, 6), 6);
    CHECK_EQ(memcmp(buf, "ghijkl", 6), 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, an_interrupted_one_takes_nothing, interrupted)

/* ---- a server that drains ---- */

struct drained {
    struct torc_stream *stream;
    ssize_t (*read)(struct torc_stream *stream);
    ssize_t result;
};

static ssize_t by_read(struct torc_stream *stream)
{
    char buf[4];
    return torc_stream_read(stream, buf, sizeof buf);
}
static ssize_t by_peek(struct torc_stream *stream)
{
    const void *data;
    return torc_stream_peek(stream, &data);
}
static ssize_t by_read_exactly(struct torc_stream *stream)
{
    char buf[4];
    return torc_stream_read_exactly(stream, buf, sizeof buf);
}
static ssize_t by_peek_at_least(struct torc_stream *stream)
{
    const void *data;
    return torc_stream_peek_at_least(stream, 4, &data);
}
static ssize_t by_peek_until(struct torc_stream *stream)
{
    const void *data;
    return torc_stream_peek_until(stream, "\n", 0, &data);
}
static ssize_t by_read_line(struct torc_stream *stream)
{
    char line[16];
    return torc_stream_read_line(stream, line, sizeof line);
}

static const struct {
    ssize_t (*read)(struct torc_stream *stream);
    int at_border; /* what it gives when nothing has come */
    int within;    /* when "ab" has come, and then "c\n" */
    bool goes_on;  /* waits for the rest */
} drains[] = {
    {by_read, 0, 2, false},           {by_peek, 0, 2, false},
    {by_read_exactly, 0, 4, true},    {by_peek_at_least, 0, 4, true},
    {by_peek_until, -EPIPE, 4, true}, {by_read_line, -EPIPE, 3, true},
};

static int drained_reader(void *arg)
{
    struct drained *drained = (struct drained *)arg;
    drained->result = drained->read(drained->stream);
    return 0;
}

static void drain(struct torc_stream *stream)
{
    stream->draining = true; /* what a server does */
    if (stream->reader)
        torci_stream_tell(stream, TORCI_EVENT_INPUT);
}

static int draining(enum net_kind kind)
{
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(drains); i++)
        for (int partial = 0; partial < 2; partial++)
            for (int before = 0; before < 2; before++) {
                struct net_pair pair;
                struct torc_scope scope;
                net_pair_open(&pair, kind);
                struct drained drained = {.stream = &pair.stream, .read = drains[i].read};
                if (partial)
                    send_chunk(&pair, "ab");
                if (partial && !net_room()->slots) { /* somebody must fetch it */
                    const void *data;
                    CHECK_EQ(torc_stream_peek(&pair.stream, &data), 2);
                }
                if (before)
                    drain(&pair.stream);
                torc_scope_init(&scope);
                CHECK_EQ(torc_spawn(&scope, drained_reader, &drained), 0);
                net_turns();
                if (!before)
                    drain(&pair.stream);
                net_turns();
                if (partial && drains[i].goes_on)
                    CHECK(pair.stream.reader != NULL);
                net_peer_send(&pair, "c\n", 2);
                CHECK_EQ(torc_scope_join(&scope), 0);
                CHECK_EQ(drained.result, partial ? drains[i].within : drains[i].at_border);
                net_pair_close(&pair);
            }
    return 0;
}
NET_TEST(reading, a_drain_ends_what_has_not_begun_and_nothing_else, draining)

/* ---- against a model ---- */

enum { MODEL_BYTES = 4 << 20 };

static int model_writer(void *arg)
{
    const struct net_pair *pair = (const struct net_pair *)arg;
    static char block[200000];
    struct torci_random random;
    torci_random_seed(&random, 7);
    for (uint64_t at = 0; at < MODEL_BYTES;) {
        size_t size = 1 + torci_random_below(&random, 1u << torci_random_below(&random, 17));
        if (size > MODEL_BYTES - at)
            size = MODEL_BYTES - at;
        net_fill(block, size, at);
        net_peer_send(pair, block, size);
        at += size;
        if (torci_random_below(&random, 4) == 0)
            CHECK_EQ(torc_sleep(10 * TORC_US), 0);
    }
    CHECK_EQ(shutdown(pair->peer, SHUT_WR), 0);
    return 0;
}

static ssize_t model_step(struct torc_stream *stream, struct torci_random *random, uint64_t at)
{
    static char buf[300000];
    const void *data;
    struct torc_deadline deadline;
    size_t size = 1 + torci_random_below(random, 1u << torci_random_below(random, 18));
    if (size > MODEL_BYTES - at)
        size = MODEL_BYTES - at;
    ssize_t n = 0, taken = 0;
    bool limited = torci_random_below(random, 3) == 0;
    if (limited)
        torc_deadline_enter(&deadline, torci_random_below(random, 20) * TORC_US);
    switch (torci_random_below(random, 4)) {
    case 0:
        n = taken = torc_stream_read(stream, buf, size);
        data = buf;
        break;
    case 1:
        n = taken = torc_stream_read_exactly(stream, buf, size);
        data = buf;
        break;
    case 2: n = torc_stream_peek(stream, &data); break;
    default: n = torc_stream_peek_at_least(stream, size, &data); break;
    }
    if (limited)
        (void)torc_deadline_leave(&deadline);
    if (n < 0) {
        CHECK(limited);
        CHECK_EQ(n, -ETIMEDOUT);
        return 0;
    }
    CHECK(n > 0);
    net_check_bytes((const char *)data, (size_t)n, at);
    if (!taken) {
        taken = 1 + (ssize_t)torci_random_below(random, (uint64_t)n);
        torc_stream_consume(stream, (size_t)taken);
    }
    return taken;
}

static int model(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_scope scope;
    struct torci_random random;
    char byte;
    net_pair_open(&pair, kind);
    torci_random_seed(&random, 42);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, model_writer, &pair), 0);
    for (uint64_t at = 0; at < MODEL_BYTES;)
        at += (uint64_t)model_step(&pair.stream, &random, at);
    CHECK_EQ(torc_stream_read(&pair.stream, &byte, 1), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(reading, all_forms_mixed_and_interrupted_read_every_byte_once, model)
