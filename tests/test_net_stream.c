/* SPDX-License-Identifier: MIT
 *
 * The life of a stream: opening, half-closes, ends, failures, interruptions, and closing in every state. Each test runs
 * over TCP and over a Unix socket, on this kernel and on one without buffer rings.
 */
#include <fcntl.h>
#include <netinet/tcp.h>

#include "tests/net_pair.h"

/* ---- plain traffic, half-closes ---- */

static int both_ways(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_write_all(&pair.stream, "ping", 4), 4);
    net_peer_expect(&pair, "ping");
    net_peer_send(&pair, "pong", 4);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 4);
    CHECK_EQ(memcmp(buf, "pong", 4), 0);
    CHECK_EQ(pair.stream.received_bytes, 4);
    CHECK_EQ(pair.stream.sent_bytes, 4);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, carries_bytes_both_ways, both_ways)

static int end_after_data(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    net_peer_send(&pair, "last", 4);
    net_peer_close(&pair);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, 3), 3);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 1);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 0);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, ends_after_its_data, end_after_data)

static int our_half_close(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_print(&pair.stream, "all"), 0);
    CHECK_EQ(torc_stream_end(&pair.stream), 0);
    CHECK_EQ(torc_stream_end(&pair.stream), 0);
    CHECK_EQ(net_peer_receive(&pair, buf, sizeof buf), 3); /* and the end */
    CHECK_EQ(torc_stream_write_all(&pair.stream, "x", 1), -EPIPE);
    CHECK_EQ(torc_stream_try_write(&pair.stream, "x", 1), -EPIPE);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0);
    net_peer_send(&pair, "answer", 6);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 6);
    net_peer_send(&pair, "more", 4);
    net_peer_close(&pair);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 4);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, goes_on_reading_after_its_own_end, our_half_close)

static int their_half_close(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    CHECK_EQ(shutdown(pair.peer, SHUT_WR), 0);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(torc_stream_print(&pair.stream, "still"), 0);
        net_peer_expect(&pair, "still");
    }
    CHECK_EQ(torc_stream_end(&pair.stream), 0);
    CHECK_EQ(net_peer_receive(&pair, buf, sizeof buf), 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, goes_on_writing_after_the_peers_end, their_half_close)

static int nothing(enum net_kind kind)
{
    struct net_pair pair;
    char byte;
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_read(&pair.stream, &byte, 0), 0); /* does not wait */
    CHECK_EQ(torc_stream_read_exactly(&pair.stream, &byte, 0), 0);
    CHECK_EQ(torc_stream_write_all(&pair.stream, &byte, 0), 0);
    CHECK_EQ(torc_stream_writev_all(&pair.stream, NULL, 0), 0);
    CHECK_EQ(torc_stream_try_write(&pair.stream, &byte, 0), 0);
    CHECK_EQ(torc_stream_print(&pair.stream, ""), 0);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0);
    torc_stream_consume(&pair.stream, 0);
    net_turns();
    CHECK_EQ(recv(pair.peer, &byte, 1, 0), -1);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, nothing_is_nothing, nothing)

/* ---- interruptions ---- */

static int interrupted_read(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_deadline deadline;
    char buf[16];
    net_pair_open(&pair, kind);
    for (int i = 0; i < 3; i++) {
        torc_deadline_enter(&deadline, TORC_MS);
        CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), -ETIMEDOUT);
        CHECK(torc_deadline_leave(&deadline));
    }
    net_peer_send(&pair, "late", 4);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 4);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, an_interrupted_read_loses_nothing, interrupted_read)

struct reader {
    struct torc_stream *stream;
    ssize_t result;
    char buf[32];
    bool is_over;
};

static int read_some(void *arg)
{
    struct reader *reader = (struct reader *)arg;
    reader->result = torc_stream_read(reader->stream, reader->buf, sizeof reader->buf);
    reader->is_over = true;
    return 0;
}

static int cancelled_with_data(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_scope scope;
    struct torc_task task;
    net_pair_open(&pair, kind);
    struct reader reader = {.stream = &pair.stream};
    torc_scope_init(&scope);
    CHECK_EQ(
        torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, read_some, &reader), 0);
    net_turns();
    net_peer_send(&pair, "x", 1); /* both come in the same turn */
    torc_task_cancel(&task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK(reader.result == 1 || reader.result == -ECANCELED);
    if (reader.result != 1)
        CHECK_EQ(torc_stream_read(&pair.stream, reader.buf, sizeof reader.buf), 1);
    CHECK_EQ(reader.buf[0], 'x');
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, a_cancel_beside_data_loses_nothing, cancelled_with_data)

static int cancelled_before(void *arg)
{
    struct net_pair *pair = (struct net_pair *)arg;
    char buf[16];
    struct torc_mask mask;
    torc_mask_enter(&mask);
    net_peer_send(pair, "here", 4);
    net_wait_available(&pair->stream, 4);
    torc_mask_leave(&mask);
    /* What does not have to wait goes on. */
    CHECK_EQ(torc_stream_read(&pair->stream, buf, sizeof buf), 4);
    CHECK_EQ(torc_stream_write_all(&pair->stream, "there", 5), 5);
    int flushed = torc_stream_flush(&pair->stream);
    CHECK(flushed == 0 ||
          (net_direct && flushed == -ECANCELED)); /* by the ring: may have to wait */
    CHECK_EQ(torc_stream_read(&pair->stream, buf, sizeof buf), -ECANCELED);
    torc_stream_close(&pair->stream);
    return 0;
}

static int closing_cancelled(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_scope scope;
    struct torc_deadline deadline;
    char buf[16];
    net_pair_open(&pair, kind);
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), -ETIMEDOUT); /* it is armed */
    (void)torc_deadline_leave(&deadline);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, cancelled_before, &pair), 0);
    net_turns();
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    net_peer_expect(&pair, "there");
    CHECK_EQ(net_peer_receive(&pair, buf, sizeof buf), 0);
    close(pair.peer);
    return 0;
}
NET_TEST(stream, a_cancelled_task_does_all_that_need_not_wait, closing_cancelled)

/* Writes until the socket and the chunk are full. How many bytes. */
static size_t stuff(struct net_pair *pair)
{
    static char block[4096];
    size_t done = 0;
    for (;;) {
        net_fill(block, sizeof block, done);
        ssize_t n = torc_stream_try_write(&pair->stream, block, sizeof block);
        if (n == -EAGAIN && pair->stream.out_state == TORCI_OUT_BLOCKED)
            break;
        if (n == -EAGAIN) /* only the chunk is full: nothing but the ring sends it */
            net_turns();
        CHECK(n > 0 || (net_direct && n == -EAGAIN));
        done += n > 0 ? (size_t)n : 0;
    }
    return done;
}

static void expect_stuffed(const struct net_pair *pair, size_t size)
{
    static char block[65536];
    for (size_t done = 0; done < size;) {
        size_t part = size - done < sizeof block ? size - done : sizeof block;
        CHECK_EQ(net_peer_receive(pair, block, part), part);
        net_check_bytes(block, part, done);
        done += part;
    }
}

static int interrupted_flush(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_deadline deadline;
    net_pair_open(&pair, kind);
    size_t size = stuff(&pair);
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_stream_flush(&pair.stream), -ETIMEDOUT);
    CHECK_EQ(torc_stream_end(&pair.stream), -ETIMEDOUT);
    if (!net_direct)
        CHECK_EQ(torc_stream_release(&pair.stream), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    expect_stuffed(&pair, size);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0);
    CHECK_EQ(torc_stream_print(&pair.stream, "on"), 0);
    net_peer_expect(&pair, "on");
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, an_interrupted_flush_loses_nothing, interrupted_flush)

static int interrupted_write(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_deadline deadline;
    enum { SIZE = 16 << 20 };
    char *block = malloc(SIZE);
    CHECK(block != NULL);
    net_fill(block, SIZE, 0);
    net_pair_open(&pair, kind);
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    CHECK_EQ(torc_stream_write_all(&pair.stream, block, SIZE), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    memset(block, 0, SIZE); /* it is ours again */
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    torc_stream_close(&pair.stream); /* nobody reads: the deadline ends this, if it waits */
    (void)torc_deadline_leave(&deadline);
    size_t got = net_peer_receive(&pair, block, SIZE);
    CHECK(got > 0 && got < SIZE); /* some first part of it */
    net_check_bytes(block, got, 0);
    close(pair.peer);
    free(block);
    return 0;
}
NET_TEST(stream, of_an_interrupted_write_the_peer_gets_a_first_part, interrupted_write)

/* ---- the end of the connection in every state ---- */

static int lost_while_reading(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    struct torc_scope scope;
    net_pair_open(&pair, kind);
    struct reader reader = {.stream = &pair.stream};
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, read_some, &reader), 0);
    net_turns();
    CHECK(pair.stream.reader != NULL);
    net_peer_reset(&pair);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(reader.result, kind == NET_TCP ? -ECONNRESET : 0);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), reader.result);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, a_reset_wakes_its_reader, lost_while_reading)

static int lost_while_idle(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    net_peer_reset(&pair);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), kind == NET_TCP ? -ECONNRESET : 0);
    CHECK(torc_stream_write_all(&pair.stream, "x", 1) == 1); /* it is not sent yet */
    CHECK_EQ(torc_stream_flush(&pair.stream), -EPIPE);
    CHECK_EQ(torc_stream_flush(&pair.stream), -EPIPE);
    CHECK_EQ(torc_stream_write_all(&pair.stream, "x", 1), -EPIPE);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, a_lost_connection_fails_writes, lost_while_idle)

static int data_before_reset(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_print(&pair.stream, "unread"), 0);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0);
    net_peer_send(&pair, "bye", 3);
    net_wait_available(&pair.stream, 0);
    net_peer_close(&pair); /* with unread input: a reset, of Unix sockets too */
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 3);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), -ECONNRESET);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), -ECONNRESET);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, gives_what_came_before_a_reset, data_before_reset)

/* A server answers and closes without having read all: the client's write fails, and the answer is there. */
static int answer_before_failure(enum net_kind kind, bool armed)
{
    struct net_pair pair;
    struct torc_deadline deadline;
    char buf[16];
    net_pair_open(&pair, kind);
    if (armed) {
        torc_deadline_enter(&deadline, TORC_MS);
        CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), -ETIMEDOUT);
        (void)torc_deadline_leave(&deadline);
    }
    CHECK_EQ(torc_stream_print(&pair.stream, "request"), 0);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0);
    net_peer_send(&pair, "no", 2);
    net_peer_close(&pair);
    int err = 0;
    for (int i = 0; i < 100 && !err; i++) { /* no turn of the loop: the send meets the error */
        CHECK_EQ(torc_stream_print(&pair.stream, "more"), 0);
        err = torc_stream_flush(&pair.stream);
    }
    CHECK(err == -EPIPE || err == -ECONNRESET);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 2);
    CHECK_EQ(memcmp(buf, "no", 2), 0);
    ssize_t n = torc_stream_read(&pair.stream, buf, sizeof buf);
    CHECK(n == -ECONNRESET || n == 0);
    CHECK_EQ(torc_stream_flush(&pair.stream), err);
    net_pair_close(&pair);
    return 0;
}

static int answer_before_failure_armed(enum net_kind kind)
{
    return answer_before_failure(kind, true);
}
static int answer_before_failure_idle(enum net_kind kind)
{
    return answer_before_failure(kind, false);
}
NET_TEST(stream, a_failed_send_leaves_the_answer_to_be_read, answer_before_failure_armed)
NET_TEST(stream, a_failed_send_leaves_the_answer_to_be_read_later, answer_before_failure_idle)

struct writer {
    struct torc_stream *stream;
    int result;
};

static int write_for_ever(void *arg)
{
    struct writer *writer = (struct writer *)arg;
    static char block[100000];
    ssize_t n;
    while ((n = torc_stream_write_all(writer->stream, block, sizeof block)) > 0)
        ;
    writer->result = (int)n;
    return 0;
}

static int lost_while_both(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_scope scope;
    net_pair_open(&pair, kind);
    struct reader reader = {.stream = &pair.stream};
    struct writer writer = {.stream = &pair.stream};
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, read_some, &reader), 0);
    CHECK_EQ(torc_spawn(&scope, write_for_ever, &writer), 0);
    while (!pair.stream.writer || !pair.stream.reader)
        CHECK_EQ(ring_nop(), 0);
    net_peer_reset(&pair);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK(writer.result == -EPIPE || writer.result == -ECONNRESET);
    CHECK_EQ(reader.result, -ECONNRESET); /* of a Unix socket with unread data, too */
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, a_reset_wakes_reader_and_writer, lost_while_both)

static int peer_stops_reading(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    if (kind == NET_UNIX) { /* TCP knows no such thing */
        CHECK_EQ(shutdown(pair.peer, SHUT_RD), 0);
        CHECK_EQ(torc_stream_print(&pair.stream, "x"), 0);
        CHECK_EQ(torc_stream_flush(&pair.stream), -EPIPE);
        net_peer_send(&pair, "but", 3);
        CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 3);
    }
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, a_peer_that_takes_no_more_may_still_talk, peer_stops_reading)

/* ---- closing in every state ---- */

static void arm(struct torc_stream *stream)
{
    struct torc_deadline deadline;
    char byte;
    torc_deadline_enter(&deadline, 100 * TORC_US);
    CHECK_EQ(torc_stream_read(stream, &byte, 1), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    CHECK(stream->armed);
}

enum { FRESH, ARMED, DIRTY, BLOCKED, HAS_INPUT, ENDED, FAILED, EVERYTHING, STATES };

static void bring_to(struct net_pair *pair, int state)
{
    char byte;
    if (state == ARMED || state == EVERYTHING)
        arm(&pair->stream);
    if (state == HAS_INPUT || state == EVERYTHING) {
        net_peer_send(pair, "input", 5);
        CHECK_EQ(torc_stream_read(&pair->stream, &byte, 1), 1);
    }
    if (state == DIRTY)
        CHECK_EQ(torc_stream_print(&pair->stream, "text"), 0);
    if (state == BLOCKED || state == EVERYTHING)
        (void)stuff(pair);
    if (state == ENDED) {
        CHECK_EQ(shutdown(pair->peer, SHUT_WR), 0);
        CHECK_EQ(torc_stream_read(&pair->stream, &byte, 1), 0);
    }
    if (state == FAILED) {
        net_peer_reset(pair);
        CHECK(torc_stream_read(&pair->stream, &byte, 1) <= 0);
    }
}

static int close_in_states(enum net_kind kind)
{
    for (int state = 0; state < STATES; state++) {
        struct net_pair pair;
        struct torc_deadline deadline;
        char buf[8];
        net_pair_open(&pair, kind);
        bring_to(&pair, state);
        torc_deadline_enter(&deadline, 2 * TORC_MS);
        torc_stream_close(&pair.stream);
        (void)torc_deadline_leave(&deadline);
        torc_stream_close(&pair.stream);
        torc_stream_abort(&pair.stream);
        if (state == DIRTY)
            net_peer_expect(&pair, "text");
        if (state == FRESH || state == ARMED || state == DIRTY || state == ENDED)
            CHECK_EQ(net_peer_receive(&pair, buf, sizeof buf), 0);
        if (pair.peer >= 0)
            close(pair.peer);
        net_check_back();
    }
    return 0;
}
NET_TEST(stream, closes_in_every_state, close_in_states)

static int abort_in_states(enum net_kind kind)
{
    static char buf[1 << 20];
    for (int state = 0; state < STATES; state++) {
        struct net_pair pair;
        net_pair_open(&pair, kind);
        bring_to(&pair, state);
        torc_stream_abort(&pair.stream);
        torc_stream_abort(&pair.stream);
        torc_stream_close(&pair.stream);
        if (pair.peer >= 0 && kind == NET_TCP) {
            ssize_t n;
            while ((n = recv(pair.peer, buf, sizeof buf, 0)) > 0 || (n < 0 && errno == EAGAIN))
                if (n < 0)
                    CHECK(torc_poll_fd(pair.peer, TORC_READABLE) > 0);
            CHECK_EQ(n, -1);
            CHECK_EQ(errno, ECONNRESET);
        }
        if (pair.peer >= 0)
            close(pair.peer);
        net_check_back();
    }
    return 0;
}
NET_TEST(stream, aborts_in_every_state, abort_in_states)

static int close_stream(void *arg)
{
    torc_stream_close((struct torc_stream *)arg);
    return 0;
}

static int close_waits(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_scope scope;
    char byte;
    net_pair_open(&pair, kind);
    size_t size = stuff(&pair);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, close_stream, &pair.stream), 0);
    net_turns();
    CHECK(pair.stream.writer != NULL);
    expect_stuffed(&pair, size);
    CHECK_EQ(net_peer_receive(&pair, &byte, 1), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    close(pair.peer);
    return 0;
}
NET_TEST(stream, close_sends_what_is_left, close_waits)

/* ---- adopting and giving back ---- */

static int adopt_errors(enum net_kind kind)
{
    struct torc_stream stream;
    int ends[2], type = kind == NET_TCP ? AF_INET : AF_UNIX;
    ring_pipe(ends);
    CHECK_EQ(torc_stream_adopt(&stream, ends[0]), -ENOTSOCK);
    ring_pipe_close(ends);
    CHECK_EQ(torc_stream_adopt(&stream, -1), -EBADF);
    int fd = socket(type, SOCK_STREAM, 0);
    CHECK_EQ(torc_stream_adopt(&stream, fd), -EINVAL); /* not connected */
    close(fd);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    CHECK_EQ(torc_stream_adopt(&stream, ends[0]), -EINVAL);
    ring_pipe_close(ends);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    CHECK_EQ(torc_stream_adopt(&stream, ends[0]), -EINVAL);
    ring_pipe_close(ends);
    return 0;
}
NET_TEST(stream, adopts_nothing_but_connected_stream_sockets, adopt_errors)

static int release_and_adopt(enum net_kind kind)
{
    struct net_pair pair;
    char buf[16];
    net_pair_open(&pair, kind);
    if (net_direct) { /* it has none */
        CHECK_EQ(torc_stream_release(&pair.stream), -EINVAL);
        net_pair_close(&pair);
        return 0;
    }
    arm(&pair.stream);
    net_peer_send(&pair, "early", 5);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, 2), 2);
    CHECK_EQ(torc_stream_print(&pair.stream, "sent"), 0);
    CHECK_EQ(torc_stream_release(&pair.stream), -EBUSY);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 3);
    net_peer_send(&pair, "x", 1); /* it reads on */
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 1);
    int fd = torc_stream_release(&pair.stream);
    CHECK(fd >= 0);
    net_peer_expect(&pair, "sent");
    net_peer_send(&pair, "later", 5);
    CHECK_EQ(torc_poll_fd(fd, TORC_READABLE), TORC_READABLE); /* nobody has taken it */
    CHECK_EQ(recv(fd, buf, sizeof buf, MSG_PEEK | MSG_DONTWAIT), 5);
    CHECK_EQ(torc_stream_adopt(&pair.stream, fd), 0);
    CHECK_EQ(torc_stream_read(&pair.stream, buf, sizeof buf), 5);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, a_descriptor_can_be_given_back_and_adopted_again, release_and_adopt)

/* ---- about it ---- */

static int names(enum net_kind kind)
{
    struct net_pair pair;
    struct torc_address local, peer;
    struct sockaddr_in of_peer = {0};
    socklen_t size = sizeof of_peer;
    int one = 1, got = 0;
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_local(&pair.stream, &local), 0);
    CHECK_EQ(torc_stream_peer(&pair.stream, &peer), 0);
    if (kind == NET_TCP) {
        CHECK_EQ(local.transport, TORC_TCP);
        CHECK_EQ(getsockname(pair.peer, (struct sockaddr *)&of_peer, &size), 0);
        CHECK_EQ(torc_address_port(&peer), ntohs(of_peer.sin_port));
        CHECK_EQ(peer.length, size);
        CHECK_EQ(torc_stream_set_option(&pair.stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one),
                 0);
        size = sizeof got;
        if (!net_direct)
            CHECK_EQ(getsockopt(pair.stream.fd, IPPROTO_TCP, TCP_NODELAY, &got, &size), 0);
        CHECK_EQ(got, !net_direct);
    } else {
        CHECK_EQ(local.transport, TORC_UNIX);
        CHECK_EQ(torc_stream_set_option(&pair.stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one),
                 -EOPNOTSUPP);
    }
    CHECK_EQ(torc_stream_set_option(&pair.stream, SOL_SOCKET, 9999, &one, sizeof one),
             -ENOPROTOOPT);
    CHECK(torc_stream_user(&pair.stream) == NULL);
    torc_stream_set_user(&pair.stream, &one);
    CHECK(torc_stream_user(&pair.stream) == &one);
    CHECK(!torc_stream_is_draining(&pair.stream));
    net_peer_reset(&pair);
    CHECK_EQ(torc_stream_local(&pair.stream, &local), 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(stream, knows_its_ends_and_options, names)
