/* SPDX-License-Identifier: MIT
 *
 * Millions of random rounds on the real ring, with queues of four and eight: tasks start operations of every kind, and
 * are cancelled and timed out at any moment. What must hold at the end is counted by the test itself:
 *
 *     every operation had exactly one outcome, and one that it may have;
 *     every byte that a write was told to have written was read once or is still in its pipe: an interrupted read has
 *     consumed nothing, an interrupted write has written nothing;
 *     nothing is left with the kernel.
 *
 * TORC_STRESS_ROUNDS says how many (a round is one operation), TORC_STRESS_SEED repeats a run's choices, though not the
 * kernel's.
 */
#define TEST_SECONDS 1800

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/event.h"
#include "core/random_internal.h"
#include "core/sanitizer_internal.h"
#include "io/io_internal.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

enum {
    WORKERS = 48,
    PIPES = 8,
    PIPE_BYTES = 4096,
    TRANSFER_MAX = 24,
    MISSION_MAX = 24, /* rounds of one task's life */
    PATIENCE_NS = 30 * 1000,
#if defined(TORCI_TSAN)
    ROUNDS_DEFAULT = 30000,
#elif defined(TORCI_ASAN)
    ROUNDS_DEFAULT = 200000,
#else
    ROUNDS_DEFAULT = 200000,
#endif
    SECONDS_DEFAULT = 90, /* and then it is enough, unless a number was asked for */
};

enum kind { NOP, READ, WRITE, TIMEOUT, POLL, EMBEDDED, BATCH, CHAIN, KINDS };
static const char *const kind_names[] = {"nop",  "read",     "write", "timeout",
                                         "poll", "embedded", "batch", "chain"};

enum outcome { DONE, CANCELLED, TIMED_OUT, OUTCOMES };

struct flow {
    int ends[2];
    uint64_t written, read, written_sum, read_sum;
};

static struct stress {
    struct torci_random random;
    uint64_t rounds, rounds_max, end_ns;
    uint64_t started[KINDS], ended[KINDS][OUTCOMES];
    struct flow flows[PIPES];
    struct torc_task tasks[WORKERS];
    bool alive[WORKERS];
    uint64_t cancels;
    bool cuts_chains; /* between two entries of a chain the kernel may stop taking */
} stress;

static uint32_t below(uint32_t limit)
{
    return (uint32_t)torci_random_below(&stress.random, limit);
}

/* One round is over: RESULT is what the operation returned, GOOD whether that is a result it may have by itself. */
static int settle(enum kind kind, int result, bool good)
{
    enum outcome outcome = result == -ECANCELED   ? CANCELLED
                           : result == -ETIMEDOUT ? TIMED_OUT
                                                  : DONE;
    if (outcome == DONE && !good)
        TEST_FAIL("a %s returned %d", kind_names[kind], result);
    stress.ended[kind][outcome]++;
    return result == -ECANCELED ? result : 0;
}

static void begin_round(enum kind kind)
{
    stress.started[kind]++;
    stress.rounds++;
}

/* ---- rounds of a task ---- */

static int round_read(struct flow *flow)
{
    unsigned char memory[TRANSFER_MAX];
    uint32_t size = 1 + below(TRANSFER_MAX);
    int n = ring_read(flow->ends[0], memory, size, (uint64_t)-1);
    for (int i = 0; i < n; i++)
        flow->read_sum += memory[i];
    flow->read += n > 0 ? (uint64_t)n : 0;
    return settle(READ, n, n > 0 && n <= (int)size);
}

static int round_write(struct flow *flow)
{
    unsigned char memory[TRANSFER_MAX] = {0};
    uint32_t size = 1 + below(TRANSFER_MAX);
    for (uint32_t i = 0; i < size; i++)
        memory[i] = (unsigned char)below(256);
    int n = ring_write(flow->ends[1], memory, size, (uint64_t)-1);
    for (uint32_t i = 0; i < size && (int)i < n; i++)
        flow->written_sum += memory[i];
    flow->written += n > 0 ? (uint64_t)n : 0;
    return settle(WRITE, n, n > 0 && n <= (int)size);
}

/* An embedded operation, left alone or cancelled; it ends exactly once in either case. */
struct lone {
    struct torc_op op;
    struct torc_event ended;
    int ran, result;
    struct __kernel_timespec after;
};

static void lone_done(struct torc_op *op, int result, uint32_t flags)
{
    struct lone *lone = TORC_CONTAINER_OF(op, struct lone, op);
    CHECK(!(flags & IORING_CQE_F_MORE));
    lone->ran++;
    lone->result = result;
    torc_event_set(&lone->ended);
}

static int round_embedded(struct flow *flow)
{
    struct lone lone = {.ran = 0};
    struct torc_mask mask;
    struct io_uring_sqe *sqe;
    uint32_t what = below(3);
    torc_event_init(&lone.ended);
    torc_mask_enter(&mask); /* the op lies on this stack */
    int err;
    for (unsigned tries = 0; (err = torc_op_start(&lone.op, lone_done, &sqe)) == -EAGAIN; tries++) {
        CHECK(tries < 100000);
        CHECK_EQ(torc_sleep(0), 0);
    }
    CHECK_EQ(err, 0);
    if (what == 0) {
        io_uring_prep_nop(sqe);
    } else if (what == 1) {
        lone.after.tv_nsec = below(50000);
        io_uring_prep_timeout(sqe, &lone.after, 0, 0);
    } else {
        io_uring_prep_poll_add(sqe, flow->ends[0], POLLIN);
    }
    if (below(2))
        torc_yield();
    /* a poll may never end by itself; a cancel may find no room, or miss */
    for (unsigned tries = 0; !lone.ran; tries++) {
        struct torc_deadline deadline;
        CHECK(tries < 100000);
        if (what == 2 || below(4) == 0)
            stress.cancels += torc_op_cancel(&lone.op) == 0;
        torc_deadline_enter(&deadline, 1000 + below(PATIENCE_NS));
        (void)!torc_event_wait(&lone.ended);
        (void)torc_deadline_leave(&deadline);
    }
    CHECK_EQ(lone.ran, 1);
    torc_mask_leave(&mask);
    return settle(EMBEDDED, lone.result == -ECANCELED ? 0 : lone.result,
                  lone.result == -ECANCELED || (what == 0   ? lone.result == 0
                                                : what == 1 ? lone.result == -ETIME
                                                            : lone.result & POLLIN));
}

static int round_batch(struct flow *flow)
{
    struct torc_batch batch;
    struct ring_op ops[4];
    struct torc_mask mask;
    uint32_t started = 0, taken = 0;
    torc_batch_init(&batch);
    for (uint32_t i = 0; i < 4; i++) {
        ops[i] = (struct ring_op){.batch = &batch};
        started +=
            (i % 2 ? ring_op_poll(&ops[i], flow->ends[1], false) : ring_op_nop(&ops[i], 0)) == 0;
    }
    int n = torc_batch_wait(&batch, 1 + below(4));
    taken += n > 0 ? (uint32_t)n : 0;
    torc_mask_enter(&mask);
    for (uint32_t i = 0; i < 4; i++) /* the polls: nothing to read at a write end */
        if (i % 2 && batch.in_flight)
            stress.cancels += torc_op_cancel(&ops[i].op) == 0;
    for (unsigned tries = 0; batch.in_flight; tries++) {
        struct torc_deadline deadline;
        CHECK(tries < 100000);
        torc_deadline_enter(&deadline, PATIENCE_NS);
        int more = torc_batch_wait(&batch, 4);
        (void)torc_deadline_leave(&deadline);
        taken += more > 0 ? (uint32_t)more : 0;
        for (uint32_t i = 1; more < 0 && i < 4; i += 2)
            if (!ops[i].ran)
                stress.cancels += torc_op_cancel(&ops[i].op) == 0;
    }
    int rest = torc_batch_wait(&batch, 4);
    CHECK(rest >= 0);
    torc_mask_leave(&mask);
    CHECK_EQ(taken + (uint32_t)rest, started);
    stress.rounds += started > 1 ? started - 1 : 0;
    return settle(BATCH, n, n >= 0);
}

static int round_chain(struct flow *flow)
{
    struct torc_op first, second;
    struct io_uring_sqe *sqe;
    if (torc_op_reserve(2))
        return settle(CHAIN, 0, true);
    int err = torc_op_begin(&first, &sqe);
    if (err)
        return settle(CHAIN, err, false);
    io_uring_prep_nop(sqe);
    sqe->flags |= IOSQE_IO_LINK;
    CHECK_EQ(torc_op_begin(&second, &sqe), 0);
    io_uring_prep_poll_add(sqe, flow->ends[0], POLLIN);
    int later = torc_op_wait(&second);
    int sooner = torc_op_wait(&first);
    CHECK(stress.cuts_chains || later < 0 || sooner == 0);
    return settle(CHAIN, later, later > 0);
}

static int round_any(enum kind kind)
{
    struct flow *flow = &stress.flows[below(PIPES)];
    int result;
    begin_round(kind);
    switch (kind) {
    case NOP: result = ring_nop(); return settle(kind, result, result == 0);
    case READ: return round_read(flow);
    case WRITE: return round_write(flow);
    case TIMEOUT:
        result = ring_timeout(below(20000));
        return settle(kind, result, result == -ETIME);
    case POLL: result = ring_poll(flow->ends[0]); return settle(kind, result, result & POLLIN);
    case EMBEDDED: return round_embedded(flow);
    case BATCH: return round_batch(flow);
    case CHAIN: return round_chain(flow);
    default: return -EINVAL;
    }
}

/* Which kind comes next: cheap ones often. */
static enum kind choose(void)
{
    static const unsigned char shares[KINDS] = {30, 24, 24, 4, 6, 5, 3, 4};
    uint32_t at = below(100), kind = 0;
    while (at >= shares[kind])
        at -= shares[kind++];
    return (enum kind)kind;
}

static int mission(void *arg)
{
    (void)arg;
    uint32_t count = 1 + below(MISSION_MAX);
    int err = 0;
    for (uint32_t i = 0; i < count && !err; i++) {
        enum kind kind = choose();
        struct torc_deadline deadline;
        /* what could wait for ever always has a limit, at times none that is left */
        bool limited = (kind != NOP && kind != TIMEOUT) || below(2);
        if (limited)
            torc_deadline_enter(&deadline, below(8) ? below(PATIENCE_NS) : 0);
        err = round_any(kind);
        if (limited)
            (void)torc_deadline_leave(&deadline);
        uint32_t victim = below(WORKERS);
        if (below(40) == 0 && stress.alive[victim])
            torc_task_cancel(&stress.tasks[victim]);
    }
    return 0;
}

static int work(void *arg)
{
    size_t self = (size_t)(uintptr_t)arg;
    while (stress.rounds < stress.rounds_max && torc_now_ns() < stress.end_ns) {
        struct torc_scope scope;
        torc_scope_init(&scope);
        CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &stress.tasks[self]},
                                 mission, NULL),
                 0);
        stress.alive[self] = true;
        CHECK_EQ(torc_scope_join(&scope), 0);
        stress.alive[self] = false;
    }
    return 0;
}

/* ---- the account ---- */

static void check_flow(struct flow *flow)
{
    unsigned char memory[PIPE_BYTES];
    int left;
    CHECK_EQ(ioctl(flow->ends[0], FIONREAD, &left), 0);
    CHECK_EQ(flow->written - flow->read, left);
    while (left > 0) {
        ssize_t n = read(flow->ends[0], memory, sizeof memory);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            flow->read_sum += memory[i];
        left -= (int)n;
    }
    CHECK_EQ(flow->read_sum, flow->written_sum);
    ring_pipe_close(flow->ends);
}

static int stress_main(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < PIPES; i++) {
        ring_pipe(stress.flows[i].ends);
        CHECK(fcntl(stress.flows[i].ends[0], F_SETPIPE_SZ, PIPE_BYTES) > 0);
    }
    for (uintptr_t i = 0; i < WORKERS; i++)
        CHECK_EQ(torc_spawn(&all, work, (void *)i), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    const struct torci_io *io = torci_io_this();
    for (int i = 0; i < 1000 && io->ring.in_flight != io->internal_ops; i++)
        CHECK_EQ(torc_sleep(100 * TORC_US), 0); /* the answers to the last cancels */
    CHECK_EQ(io->ring.in_flight, io->internal_ops);
    for (int i = 0; i < PIPES; i++)
        check_flow(&stress.flows[i]);
    return 42;
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

static void print_account(uint64_t seed, uint64_t took_ns)
{
    fprintf(stderr, "stress: %" PRIu64 " rounds in %.1f s, %.2f us each, seed %" PRIu64 "\n",
            stress.rounds, (double)took_ns / 1e9, (double)took_ns / 1e3 / (double)stress.rounds,
            seed);
    for (int kind = 0; kind < KINDS; kind++)
        fprintf(stderr,
                "stress: %-8s %9" PRIu64 " started, %9" PRIu64 " done, %8" PRIu64
                " cancelled, %9" PRIu64 " timed out\n",
                kind_names[kind], stress.started[kind], stress.ended[kind][DONE],
                stress.ended[kind][CANCELLED], stress.ended[kind][TIMED_OUT]);
}

static void run_stress(const struct torci_kernel *kernel, uint64_t part)
{
    const char *rounds = getenv("TORC_STRESS_ROUNDS"), *seed_text = getenv("TORC_STRESS_SEED");
    uint64_t began = clock_ns(), seed = seed_text ? strtoull(seed_text, NULL, 10) : began;
    memset(&stress, 0, sizeof stress);
    torci_random_seed(&stress.random, seed);
    stress.cuts_chains = kernel != NULL;
    stress.rounds_max = (rounds ? strtoull(rounds, NULL, 10) : ROUNDS_DEFAULT) / part;
    stress.end_ns = began + (rounds ? TEST_SECONDS - 60 : SECONDS_DEFAULT) * TORC_SEC;
    struct torc_config config = {
        .kernel = kernel, .ring_entries = 4, .completion_entries = 8, .no_stall_report = true};
    fprintf(stderr, "stress: seed %" PRIu64 "\n", seed);
    /* a kernel of the test's own has one script for all rings */
    CHECK_EQ((kernel ? run_alone : run_shard)(&config, stress_main, NULL), 42);
    print_account(seed, clock_ns() - began);
    CHECK(!rounds || stress.rounds >= stress.rounds_max);
    for (int kind = 0; kind < KINDS; kind++) {
        uint64_t ended = 0;
        for (int outcome = 0; outcome < OUTCOMES; outcome++)
            ended += stress.ended[kind][outcome];
        CHECK_EQ(ended, stress.started[kind]);
        CHECK(stress.ended[kind][DONE] > 0);
    }
}

TEST(stress, every_operation_ends_once_and_no_byte_is_lost)
{
    run_stress(NULL, 1);
}

/* The same on a kernel that refuses now and then, or stops in the middle of what it is given. */
static struct torci_random moods;

static int moody_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                       unsigned flags, const void *arg, size_t size)
{
    static const int errnos[] = {-EINTR, -EAGAIN, -EBUSY, -ETIME};
    uint64_t mood = torci_random_below(&moods, 16);
    if (mood < 2)
        return errnos[torci_random_below(&moods, 4)];
    if (mood == 2 && to_submit > 1) {
        to_submit--;
        min_complete = 0;
        flags &= ~IORING_ENTER_EXT_ARG;
        arg = NULL;
        size = 0;
    }
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

TEST(stress, holds_on_a_kernel_that_refuses_now_and_then)
{
    static struct fault_kernel fault;
    fault_kernel_init(&fault);
    torci_random_seed(&moods, 5);
    fault.kernel.ring_enter = moody_enter;
    run_stress(&fault.kernel, 4);
    fault_kernel_check_clean(&fault);
}
