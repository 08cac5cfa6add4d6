/* SPDX-License-Identifier: MIT
 *
 * The nth allocation, mapping, registration or system call fails, for n = 0, 1, 2, … until none does: whoever opens, reads,
 * writes and closes streams is told or gets along, and nothing is left behind. What is left to the kernel (entering the ring)
 * fails in ways that a program does not see.
 */
#include "tests/net_pair.h"

enum { ROUNDS_MAX = 400 };

static int ends_before[2];

static int tolerated(ssize_t n)
{
    CHECK(n >= 0 || n == -ENOMEM || n == -EMFILE || n == -EPIPE || n == -ECONNRESET ||
          n == -ETIMEDOUT);
    return n < 0 ? (int)n : 0;
}

/* Everything once; the first failure ends it, as it would end a program's function. */
static int all_calls(struct torc_stream *stream, int peer)
{
    static char block[100000];
    char buf[64];
    const void *data;
    struct torc_deadline deadline;
    struct net_pair pair = {.peer = peer};
    torc_deadline_enter(&deadline, TORC_SEC);
    int err = tolerated(torc_stream_print(stream, "hello"));
    if (!err)
        err = tolerated(torc_stream_flush(stream));
    if (!err)
        net_peer_expect(&pair, "hello");
    net_peer_send(&pair, "one line\nhalf", 13);
    if (!err)
        err = tolerated(torc_stream_read_line(stream, buf, sizeof buf));
    if (!err)
        CHECK_STR(buf, "one line");
    if (!err)
        err = tolerated(torc_stream_peek_at_least(stream, 4, &data));
    net_peer_send(&pair, " and half", 9);
    if (!err)
        err = tolerated(torc_stream_read_exactly(stream, buf, 13));
    if (!err)
        CHECK_EQ(memcmp(buf, "half and half", 13), 0);
    if (!err)
        err = tolerated(torc_stream_write_all(stream, block, sizeof block));
    if (!err) {
        static char got[sizeof block];
        CHECK_EQ(net_peer_receive(&pair, got, sizeof got), sizeof got);
        err = tolerated(torc_stream_end(stream));
    }
    if (!err) {
        CHECK_EQ(shutdown(peer, SHUT_WR), 0);
        ssize_t n = torc_stream_read(stream, buf, sizeof buf);
        CHECK(n <= 0); /* the end, or its failure */
        err = tolerated(n);
    }
    (void)torc_deadline_leave(&deadline);
    return err;
}

static int all_main(void *arg)
{
    struct torc_stream stream;
    (void)arg;
    int err = torc_stream_adopt(&stream, ends_before[0]);
    if (err) {
        (void)tolerated(err);
        close(ends_before[0]);
        return 0;
    }
    (void)all_calls(&stream, ends_before[1]);
    torc_stream_close(&stream);
    net_check_back();
    return 0;
}

static void sweep(unsigned kinds, enum net_kind kind, bool old, int error)
{
    long n;
    for (n = 0; n < ROUNDS_MAX; n++) {
        struct fault_kernel fault;
        unsigned files = ring_open_descriptors();
        fault_kernel_init(&fault);
        if (old)
            net_old_kernel(&fault);
        fault.fail_kinds = kinds;
        fault.fail_nth = n;
        fault.fail_errno = error;
        net_sockets(kind, ends_before);
        struct torc_config config = {.kernel = &fault.kernel, .no_stall_report = true};
        bool ran = false;
        int err = run_alone(&config, all_main, &ran);
        CHECK(err == 0 || fault.failed);
        close(ends_before[1]);
        if (err) /* nobody has come to adopt it */
            close(ends_before[0]);
        fault_kernel_check_clean(&fault);
        CHECK_EQ(ring_open_descriptors(), files);
        if (!fault.failed)
            break;
    }
    CHECK(n > 0 && n < ROUNDS_MAX);
}

static void sweep_all(unsigned kinds, int error)
{
    for (int kind = 0; kind < NET_KINDS; kind++)
        for (int old = 0; old < 2; old++)
            sweep(kinds, (enum net_kind)kind, old, error);
}

TEST(net_faults, memory_may_run_out_anywhere)
{
    sweep_all(FAULT_ALLOC | FAULT_MAP, 0);
}

TEST(net_faults, any_registration_may_be_refused)
{
    sweep_all(FAULT_REGISTER, 0);
}

TEST(net_faults, any_call_may_fail)
{
    sweep_all(FAULT_CALL, ENOMEM);
}

TEST(net_faults, any_enter_may_be_interrupted)
{
    sweep_all(FAULT_ENTER, 0);
    sweep_all(FAULT_ENTER, EAGAIN);
}
