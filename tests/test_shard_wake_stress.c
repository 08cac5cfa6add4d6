/* SPDX-License-Identifier: MIT
 *
 * Messages between real shards that sleep at random, millions of them: none may be lost, come twice, out of order or torn,
 * and none may lie unread while its receiver sleeps.
 *
 * Each sending shard sends bursts of random length to random others, publishes at random moments, waits for room or tries
 * again, dawdles, and at times asks for an answer and sleeps until it comes; nothing else would wake it, or the shard that
 * owes the answer. So a lost wake-up shows as an answer that is not there in PATIENCE.
 *
 * TORC_STRESS_MESSAGES says how many (make stress-channels: 10^9), TORC_STRESS_SEED repeats a run's choices, though not
 * the machine's.
 */
#define TEST_SECONDS 3600

#include <sched.h>
#include <time.h>

#include "core/event.h"
#include "core/random_internal.h"
#include "core/sanitizer_internal.h"
#include "core/time.h"
#include "shard/run.h"
#include "shard/shard_internal.h"
#include "tests/harness.h"

enum {
    SHARDS_MAX = 5,
    BURST_MAX = 2048,
    DAWDLE_BITS =
        16, /* of the number of turns of an empty loop: up to some 20 us, all scales alike */
#if defined(TORCI_TSAN) || defined(TORCI_ASAN)
    MESSAGES_DEFAULT = 100 * 1000,
#else
    MESSAGES_DEFAULT = 2 * 1000 * 1000,
#endif
};
#define SECONDS_DEFAULT (0.6) /* and then a test has done enough, unless a number was asked for */
#define PATIENCE (30 * TORC_SEC)

/* Of one shard's messages to another. */
struct flow {
    uint64_t sent;                      /* the sender's */
    _Alignas(128) uint64_t came, wrong; /* the receiver's, as is the note */
    struct torci_note answer;
};

static struct stress {
    struct flow flows[SHARDS_MAX][SHARDS_MAX]; /* from, to */
    struct torc_event answered[SHARDS_MAX];
    uint64_t messages_each, end_ns, seed;
    uint32_t senders;
    uint64_t rounds[SHARDS_MAX], parks[SHARDS_MAX], wakes[SHARDS_MAX];
    bool lost[SHARDS_MAX];
} stress;

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

static bool answer_came(struct torci_shard *self, uint32_t from,
                        const struct torci_message *message)
{
    (void)from;
    (void)message;
    torc_event_set(&stress.answered[self->id]);
    return true;
}

static bool message_came(struct torci_shard *self, uint32_t from,
                         const struct torci_message *message)
{
    struct flow *flow = &stress.flows[from][self->id];
    flow->wrong += message->words[0] != flow->came ||
                   message->words[TORCI_MESSAGE_WORDS - 1] != ~message->words[0];
    flow->came++;
    if (message->words[1]) {
        flow->answer.message.fn = answer_came;
        torci_mesh_control(self, from, &flow->answer);
    }
    return true;
}

static void dawdle(struct torci_random *random)
{
    uint64_t turns = torci_random_below(random, 1 << torci_random_below(random, DAWDLE_BITS + 1));
    for (uint64_t left = turns; left; left--)
        __asm__ volatile("" ::: "memory");
}

static int send_one(struct torci_shard *self, uint32_t to, bool wants_answer,
                    struct torci_random *random)
{
    struct flow *flow = &stress.flows[self->id][to];
    struct torci_message message = {
        .fn = message_came,
        .words = {flow->sent, wants_answer, [TORCI_MESSAGE_WORDS - 1] = ~flow->sent}};
    flow->sent++;
    for (;;) {
        int err = torci_mesh_try_send(self, to, &message);
        if (err != -EAGAIN)
            return err;
        if (torci_random_below(random, 2))
            return torci_mesh_send(self, to, &message);
        torc_yield();
    }
}

/* Sleeps until what was sent to TO has been answered for. */
static int settle(struct torci_shard *self, uint32_t to, struct torci_random *random)
{
    struct torc_deadline deadline;
    torc_event_reset(&stress.answered[self->id]);
    int err = send_one(self, to, true, random);
    if (torci_random_below(random, 2))
        torci_mesh_flush(self, to);
    torc_deadline_enter(&deadline, PATIENCE);
    if (!err)
        err = torc_event_wait(&stress.answered[self->id]);
    torc_deadline_leave(&deadline);
    return err;
}

static uint64_t burst_length(struct torci_random *random)
{
    uint64_t kind = torci_random_below(random, 4);
    return kind < 2 ? kind : torci_random_below(random, kind == 2 ? 40 : BURST_MAX);
}

static int send_rounds(struct torci_shard *self)
{
    struct torci_random random;
    torci_random_seed(&random, stress.seed + self->id);
    uint64_t sent = 0;
    int err = 0;
    while (!err && sent < stress.messages_each && torc_now_ns() < stress.end_ns) {
        uint32_t to = (uint32_t)torci_random_below(&random, torc_shard_count() - 1);
        to += to >= self->id;
        for (uint64_t left = burst_length(&random); left && !err; left--, sent++)
            err = send_one(self, to, false, &random);
        if (torci_random_below(&random, 2))
            torci_mesh_flush(self, to);
        dawdle(&random);
        if (!err && torci_random_below(&random, 4))
            err = settle(self, to, &random);
        stress.rounds[self->id]++;
    }
    for (uint32_t to = 0; to < torc_shard_count() && !err; to++)
        if (to != self->id)
            err = settle(self, to, &random);
    return err;
}

static int stress_main(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    torc_event_init(&stress.answered[self->id]);
    int err = self->id < stress.senders ? send_rounds(self) : 0;
    stress.lost[self->id] = err == -ETIMEDOUT;
    stress.parks[self->id] = self->io.exec.counters->park_turns;
    stress.wakes[self->id] = self->io.exec.counters->wake_sent;
    return err;
}

/* ---- the runs ---- */

/* The first COUNT of the CPUs that we may use, or all. */
static const char *first_cpus(unsigned count)
{
    static char text[128];
    cpu_set_t allowed;
    CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    size_t length = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && count; cpu++) {
        if (!CPU_ISSET(cpu, &allowed))
            continue;
        length += (size_t)snprintf(text + length, sizeof text - length, length ? ",%u" : "%u", cpu);
        count--;
    }
    return text;
}

static void check_flow(uint32_t from, uint32_t to)
{
    struct flow *flow = &stress.flows[from][to];
    CHECK_EQ(flow->wrong, 0);
    CHECK_EQ(flow->came, flow->sent);
}

/* PART of all the messages, in percent. */
static void run(uint32_t shards, uint32_t senders, bool same_cpu, uint64_t spin_ns, uint64_t part)
{
    const char *number = getenv("TORC_STRESS_MESSAGES"), *seed = getenv("TORC_STRESS_SEED");
    uint64_t messages = number ? strtoull(number, NULL, 10) : MESSAGES_DEFAULT;
    uint64_t began = clock_ns();
    memset(&stress, 0, sizeof stress);
    stress.seed = seed ? strtoull(seed, NULL, 10) : began;
    stress.senders = senders;
    stress.messages_each = messages / 100 * part / senders;
    stress.end_ns = number ? UINT64_MAX : began + (uint64_t)(SECONDS_DEFAULT * TORC_SEC);
    fprintf(stderr, "stress: seed %" PRIu64 "\n", stress.seed);
    struct torc_config config = {.shards = shards,
                                 .cpus = first_cpus(same_cpu ? 1 : shards),
                                 .spin_ns = spin_ns,
                                 .no_stall_report = true};
    int result = torc_run(&config, stress_main, NULL);

    uint64_t sent = 0, rounds = 0, parks = 0, wakes = 0;
    for (uint32_t from = 0; from < shards; from++) {
        for (uint32_t to = 0; to < shards; to++)
            sent += stress.flows[from][to].sent;
        rounds += stress.rounds[from];
        parks += stress.parks[from];
        wakes += stress.wakes[from];
    }
    fprintf(stderr,
            "stress: %u shards on %s: %" PRIu64 " messages, %" PRIu64 " rounds, %" PRIu64
            " parks, %" PRIu64 " wakes sent, %.1f s\n",
            shards, config.cpus, sent, rounds, parks, wakes, (double)(clock_ns() - began) / 1e9);
    for (uint32_t from = 0; from < shards; from++)
        CHECK(!stress.lost[from]);
    CHECK_EQ(result, 0);
    for (uint32_t from = 0; from < shards; from++)
        for (uint32_t to = 0; to < shards; to++)
            check_flow(from, to);
    CHECK(parks > 0 && wakes > 0);
}

TEST(wake_stress, one_way_between_two_cpus)
{
    run(2, 1, false, 0, 40);
}

TEST(wake_stress, both_ways_between_two_cpus)
{
    run(2, 2, false, 0, 30);
}

TEST(wake_stress, both_ways_with_some_spinning)
{
    run(2, 2, false, 3 * TORC_US, 15);
}

TEST(wake_stress, both_ways_on_the_same_cpu)
{
    run(2, 2, true, 0, 5);
}

TEST(wake_stress, everybody_to_everybody)
{
    run(SHARDS_MAX, SHARDS_MAX, false, 0, 10);
}
