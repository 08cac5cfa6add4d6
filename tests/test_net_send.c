/* SPDX-License-Identifier: MIT
 *
 * Output: what is gathered, in which order it leaves, and that all of it arrives whatever the peers, the queue and the
 * chunks are like. Files to sockets.
 */
#include <fcntl.h>

#include "core/random_internal.h"
#include "tests/net_pair.h"

static uint64_t sends(void)
{
    const struct torci_counters *counters = torci_io_this()->exec.counters;
    return counters->net_sends + counters->net_sends_queued;
}

/* ---- gathering ---- */

static int gathered(enum net_kind kind)
{
    struct net_pair pair;
    char got[400];
    net_pair_open(&pair, kind);
    uint64_t before = sends();
    for (int i = 0; i < 100; i++)
        CHECK_EQ(torc_stream_print(&pair.stream, "word"), 0);
    CHECK_EQ(sends(), before);
    CHECK_EQ(net_peer_receive(&pair, got, sizeof got), sizeof got);
    CHECK_EQ(sends(), before + 1);
    before = sends();
    CHECK_EQ(torc_stream_print(&pair.stream, "before"), 0);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0);
    CHECK_EQ(sends(), before + 1);
    CHECK_EQ(torc_stream_flush(&pair.stream), 0); /* nothing to send */
    CHECK_EQ(sends(), before + 1);
    net_peer_expect(&pair, "before");
    net_pair_close(&pair);
    return 0;
}
NET_TEST(send, small_writes_leave_together, gathered)

static int ordered(enum net_kind kind)
{
    static char large[50000], got[3 * 50000 + 3 * 5];
    struct net_pair pair;
    net_pair_open(&pair, kind);
    const int room = 1 << 20; /* all of it, so that nobody has to read meanwhile */
    CHECK_EQ(torc_stream_set_option(&pair.stream, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        net_fill(large, 5, at);
        CHECK_EQ(torc_stream_write_all(&pair.stream, large, 5), 5);
        net_fill(large, sizeof large, at + 5);
        CHECK_EQ(torc_stream_write_all(&pair.stream, large, sizeof large), sizeof large);
        at += 5 + sizeof large;
    }
    CHECK_EQ(net_peer_receive(&pair, got, sizeof got), sizeof got);
    net_check_bytes(got, sizeof got, 0);
    net_pair_close(&pair);
    return 0;
}
NET_TEST(send, small_and_large_writes_keep_their_order, ordered)

static int many_pieces(enum net_kind kind)
{
    static char bytes[100 * 700], got[sizeof bytes];
    struct iovec pieces[200];
    struct net_pair pair;
    size_t size = 0;
    net_pair_open(&pair, kind);
    for (unsigned i = 0; i < 200; i++) { /* each second one is empty */
        size_t part = i % 2 ? 0 : 1 + i * 7 % 700;
        pieces[i] = (struct iovec){bytes + size, part};
        size += part;
    }
    net_fill(bytes, size, 0);
    CHECK_EQ(torc_stream_writev_all(&pair.stream, pieces, 200), size);
    CHECK_EQ(torc_stream_print(&pair.stream, "end"), 0);
    CHECK_EQ(net_peer_receive(&pair, got, size), size);
    net_check_bytes(got, size, 0);
    net_peer_expect(&pair, "end");
    net_pair_close(&pair);
    return 0;
}
NET_TEST(send, any_number_of_pieces_is_one_write, many_pieces)

static int no_more_than_goes(enum net_kind kind)
{
    static char block[200000], got[200000];
    struct net_pair pair;
    net_pair_open(&pair, kind);
    size_t at = 0;
    ssize_t n;
    net_fill(block, sizeof block, 0);
    do {
        n = torc_stream_try_write(&pair.stream, block, sizeof block);
        CHECK(n == -EAGAIN || (n > 0 && n <= (ssize_t)sizeof block));
        at += n > 0 ? (size_t)n : 0;
    } while (n == (ssize_t)sizeof block);
    CHECK(at > 0);
    for (size_t done = 0; done < at;) { /* every block begins anew */
        size_t part = at - done < sizeof got ? at - done : sizeof got;
        CHECK_EQ(net_peer_receive(&pair, got, part), part);
        net_check_bytes(got, part, 0);
        done += part;
    }
    net_pair_close(&pair);
    return 0;
}
NET_TEST(send, try_write_takes_what_goes, no_more_than_goes)

/* ---- everybody at once ---- */

enum { CROWD = 48, CROWD_BYTES = 300000 };

struct member {
    struct net_pair pair;
    uint64_t seed;
    size_t largest;
    bool slow; /* the peer; with little room on the way */
};

static int member_writer(void *arg)
{
    struct member *member = (struct member *)arg;
    struct torci_random random;
    char *own = malloc(member->largest);
    CHECK(own != NULL);
    torci_random_seed(&random, member->seed);
    for (size_t at = 0; at < CROWD_BYTES;) {
        size_t size = 1 + torci_random_below(&random, member->largest);
        size = size < CROWD_BYTES - at ? size : CROWD_BYTES - at;
        net_fill(own, size, at);
        CHECK_EQ(torc_stream_write_all(&member->pair.stream, own, size), size);
        memset(own, 0, size);
        at += size;
        if (torci_random_below(&random, 2))
            torc_yield();
    }
    free(own);
    CHECK_EQ(torc_stream_end(&member->pair.stream), 0);
    return 0;
}

static int member_peer(void *arg)
{
    struct member *member = (struct member *)arg;
    struct torci_random random;
    char got[5000];
    size_t at = 0, n;
    torci_random_seed(&random, member->seed + 1);
    do {
        size_t size = 1 + torci_random_below(&random, sizeof got);
        n = net_peer_receive(&member->pair, got, size);
        net_check_bytes(got, n, at);
        at += n;
        if (member->slow && torci_random_below(&random, 4) == 0)
            CHECK_EQ(torc_sleep(50 * TORC_US), 0);
    } while (n);
    CHECK_EQ(at, CROWD_BYTES);
    return 0;
}

static int crowd(enum net_kind kind, size_t largest)
{
    static struct member members[CROWD];
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (unsigned i = 0; i < CROWD; i++) {
        members[i] = (struct member){.seed = i * 2 + 1, .largest = largest, .slow = i % 2};
        net_pair_open(&members[i].pair, kind);
        const int little = 4096;
        if (members[i].slow)
            CHECK_EQ(torc_stream_set_option(&members[i].pair.stream, SOL_SOCKET, SO_SNDBUF, &little,
                                            sizeof little),
                     0);
        CHECK_EQ(torc_spawn(&scope, member_writer, &members[i]), 0);
        CHECK_EQ(torc_spawn(&scope, member_peer, &members[i]), 0);
    }
    /* Turns with many messages, so that sends go by the queue. */
    for (int i = 0; i < 2000; i++) {
        torci_io_this()->traffic.came += 100;
        torc_yield();
    }
    CHECK_EQ(torc_scope_join(&scope), 0);
    if (largest < TORCI_SMALL_BYTES && torci_io_this()->ring.sq_entries > CROWD)
        CHECK(torci_io_this()->exec.counters->net_sends_queued > CROWD);
    CHECK(torci_io_this()->exec.counters->net_blocked > 0);
    for (unsigned i = 0; i < CROWD; i++)
        net_pair_close(&members[i].pair);
    return 0;
}

static int crowd_small(enum net_kind kind)
{
    return crowd(kind, 3000);
}
static int crowd_large(enum net_kind kind)
{
    return crowd(kind, 100000);
}
NET_TEST(send, small_writes_of_many_arrive, crowd_small)
NET_TEST(send, large_writes_of_many_arrive, crowd_large)

TEST(send, all_arrives_with_tiny_queues)
{
    net_test(crowd_small, (struct torc_config){.ring_entries = 4, .completion_entries = 8});
    net_test(crowd_large, (struct torc_config){.ring_entries = 4, .completion_entries = 8});
}

/* Many sends of one submission fail at once, more than there is room for completions. */
static int all_fail(enum net_kind kind)
{
    static struct net_pair pairs[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        net_pair_open(&pairs[i], kind);
        CHECK_EQ(torc_stream_print(&pairs[i].stream, "unread"), 0);
        CHECK_EQ(torc_stream_flush(&pairs[i].stream), 0);
    }
    for (unsigned i = 0; i < CROWD; i++)
        if (i % 3)
            net_peer_reset(&pairs[i]);
    for (unsigned i = 0; i < CROWD; i++)
        CHECK_EQ(torc_stream_print(&pairs[i].stream, "text"), 0);
    torci_io_this()->traffic.came = 100;
    for (unsigned i = 0; i < CROWD; i++) {
        int err = torc_stream_flush(&pairs[i].stream);
        if (i % 3)
            CHECK(err == -EPIPE || err == -ECONNRESET);
        else
            CHECK_EQ(err, 0);
        if (!err)
            net_peer_expect(&pairs[i], "unreadtext");
        torci_io_this()->traffic.came = 100;
    }
    for (unsigned i = 0; i < CROWD; i++)
        net_pair_close(&pairs[i]);
    return 0;
}

/* The same, but the turn's end hands them over. */
static int all_fail_queued(enum net_kind kind)
{
    static struct net_pair pairs[CROWD];
    unsigned failed = 0;
    for (unsigned i = 0; i < CROWD; i++) {
        net_pair_open(&pairs[i], kind);
        if (i % 3)
            net_peer_reset(&pairs[i]);
    }
    for (unsigned i = 0; i < CROWD; i++)
        CHECK_EQ(torc_stream_print(&pairs[i].stream, "text"), 0);
    uint64_t queued = torci_io_this()->exec.counters->net_sends_queued;
    torci_io_this()->traffic.came = 100;
    net_turns();
    CHECK_EQ(torci_io_this()->exec.counters->net_sends_queued - queued, CROWD);
    for (unsigned i = 0; i < CROWD; i++) {
        CHECK_EQ(pairs[i].stream.out_state, TORCI_OUT_IDLE);
        failed += pairs[i].stream.out_error != 0;
        CHECK_EQ(pairs[i].stream.out_error != 0, i % 3 != 0);
        if (pairs[i].peer >= 0)
            net_peer_expect(&pairs[i], "text");
        net_pair_close(&pairs[i]);
    }
    CHECK_EQ(failed, CROWD - CROWD / 3);
    return 0;
}

TEST(send, each_queued_send_that_fails_tells_its_stream)
{
    net_test(all_fail, (struct torc_config){0});
    net_test(all_fail_queued, (struct torc_config){0});
}

TEST(send, failures_beyond_the_completion_queue_are_not_taken_for_success)
{
    net_test(all_fail, (struct torc_config){.ring_entries = 8, .completion_entries = 8});
    net_test(all_fail_queued, (struct torc_config){.ring_entries = 64, .completion_entries = 64});
    net_test(all_fail_queued, (struct torc_config){.ring_entries = 8, .completion_entries = 8});
}

/* Streams are closed while their sends are in the queue. */
static int closed_while_queued(enum net_kind kind)
{
    static struct net_pair pairs[CROWD];
    for (unsigned i = 0; i < CROWD; i++)
        net_pair_open(&pairs[i], kind);
    for (unsigned i = 0; i < CROWD; i++)
        CHECK_EQ(torc_stream_print(&pairs[i].stream, "text"), 0);
    torci_io_this()->traffic.came = 100;
    torci_send_turn(net_room());
    for (unsigned i = 0; i < CROWD; i++) {
        CHECK_EQ(pairs[i].stream.out_state, TORCI_OUT_QUEUED);
        if (i % 2)
            torc_stream_abort(&pairs[i].stream);
        else
            torc_stream_close(&pairs[i].stream);
        if (i + 1 < CROWD) { /* the others went with it */
            torci_io_this()->traffic.came = 100;
            CHECK_EQ(torc_stream_print(&pairs[i + 1].stream, "more"), 0);
            if (pairs[i + 1].stream.out_state == TORCI_OUT_IDLE)
                torci_send_turn(net_room());
        }
        if (i % 2 == 0)
            net_peer_expect(&pairs[i], i ? "textmore" : "text");
        close(pairs[i].peer);
    }
    return 0;
}
NET_TEST(send, a_stream_may_be_closed_while_its_send_is_queued, closed_while_queued)

/* ---- files ---- */

static int file_of(size_t size)
{
    char path[] = "/tmp/torc-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(unlink(path), 0);
    char *bytes = malloc(size + 1);
    CHECK(bytes != NULL);
    net_fill(bytes, size, 0);
    CHECK_EQ(pwrite(fd, bytes, size, 0), size);
    free(bytes);
    return fd;
}

struct whole {
    const struct net_pair *pair;
    uint64_t at;
    size_t got;
};

static int take_whole(void *arg)
{
    struct whole *whole = (struct whole *)arg;
    static char block[65536];
    size_t n;
    while ((n = net_peer_receive(whole->pair, block, sizeof block)) > 0) {
        net_check_bytes(block, n, whole->at + whole->got);
        whole->got += n;
    }
    return 0;
}

static int send_file(enum net_kind kind)
{
    enum { SIZE = 3 << 20 };
    static const struct {
        uint64_t offset, size, sent;
    } parts[] = {
        {0, 0, 0},           {0, 1, 1},    {5, 100000, 100000}, {0, SIZE, SIZE},
        {1, SIZE, SIZE - 1}, {SIZE, 1, 0}, {SIZE + 10, 10, 0},  {SIZE - 1, 1u << 31, 1},
    };
    int fd = file_of(SIZE);
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(parts); i++) {
        struct net_pair pair;
        struct torc_scope scope;
        net_pair_open(&pair, kind);
        struct whole whole = {&pair, parts[i].offset, 0};
        torc_scope_init(&scope);
        CHECK_EQ(torc_spawn(&scope, take_whole, &whole), 0);
        CHECK_EQ(torc_stream_send_file(&pair.stream, fd, parts[i].offset, parts[i].size),
                 parts[i].sent);
        CHECK_EQ(torc_stream_end(&pair.stream), 0);
        CHECK_EQ(torc_scope_join(&scope), 0);
        CHECK_EQ(whole.got, parts[i].sent);
        net_pair_close(&pair);
    }
    close(fd);
    return 0;
}
NET_TEST(send, files_go_as_they_are, send_file)

static int send_file_errors(enum net_kind kind)
{
    enum { SIZE = 12 << 20 };
    struct net_pair pair;
    struct torc_deadline deadline;
    int fd = file_of(SIZE);
    net_pair_open(&pair, kind);
    CHECK_EQ(torc_stream_send_file(&pair.stream, fd, UINT64_MAX, 1), -EINVAL);
    CHECK_EQ(torc_stream_send_file(&pair.stream, fd, 1, UINT64_MAX), -EINVAL);
    CHECK_EQ(torc_stream_send_file(&pair.stream, -1, 0, 1), -EBADF);
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_stream_send_file(&pair.stream, fd, 0, SIZE), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    net_peer_reset(&pair);
    ssize_t n = torc_stream_send_file(&pair.stream, fd, 0, SIZE);
    CHECK(n == -EPIPE || n == -ECONNRESET);
    net_pair_close(&pair);
    close(fd);
    return 0;
}
NET_TEST(send, what_stops_a_file_is_told, send_file_errors)
