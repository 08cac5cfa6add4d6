/* SPDX-License-Identifier: MIT
 *
 * The mesh under load: every ordered pair, full lanes, refused work, floods in all directions, sleepers, missing
 * doorbells, foreign threads. Sets of 2, 7 and 64 shards on however few CPUs there are, so whoever waits sleeps.
 */
#define TEST_SECONDS 300

#include <signal.h>

#include "tests/fault_kernel.h"
#include "tests/harness.h"

#include "core/random_internal.h"
#include "core/wait_internal.h"
#include "shard/shard_internal.h"
#include "torc.h"

enum {
    SHARDS_MOST = 64,
    NOTES_MOST = 600,
    GAP_US = 100,
};

/* What each shard knows of itself; only its own thread touches it, but for what is atomic. */
static struct state {
    uint64_t expected[SHARDS_MOST][TORCI_LANES]; /* next number of each sender */
    uint64_t received, answers, letters;
    bool refuse; /* atomic: work is refused */
    struct torc_event event;
    struct torci_note notes[SHARDS_MOST]; /* to each peer, one at a time */
    struct torci_note *many;
} states[SHARDS_MOST];

static uint32_t met; /* atomic */
static uint64_t target;

static struct state *mine(void)
{
    return &states[torc_shard_id()];
}

/* All shards have come here for the STEPth time. */
static void meet(uint32_t step)
{
    __atomic_add_fetch(&met, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&met, __ATOMIC_ACQUIRE) < step * torc_shard_count())
        CHECK_EQ(torc_sleep(GAP_US * TORC_US), 0);
}

static void wait_until(const uint64_t *value, uint64_t wanted)
{
    while (*value < wanted) {
        torc_event_reset(&mine()->event);
        if (*value < wanted)
            CHECK_EQ(torc_event_wait(&mine()->event), 0);
    }
}

static void run_mesh(uint32_t shards, torc_task_fn *main)
{
    memset(states, 0, sizeof states);
    met = 0;
    /* what CPUs there are is no concern of these tests, nor is how long a task waits for its turn */
    struct torc_config config = {.shards = shards, .no_stall_report = true};
    CHECK_EQ(torc_run(&config, main, NULL), 0);
}

static const uint32_t sizes[] = {1, 2, 7, SHARDS_MOST};

/* ---- every ordered pair ---- */

static bool take_numbered(struct torci_shard *self, uint32_t from,
                          const struct torci_message *message)
{
    struct state *state = &states[self->id];
    uint64_t kind = message->words[1];
    if (kind == TORCI_LANE_WORK && __atomic_load_n(&state->refuse, __ATOMIC_RELAXED))
        return false;
    CHECK_EQ(message->words[0], state->expected[from][kind]);
    CHECK_EQ(message->words[6], ~message->words[0]); /* all of it has come */
    CHECK_EQ(message->words[2], from);
    state->expected[from][kind]++;
    state->received++;
    torc_event_set(&state->event);
    return true;
}

static struct torci_message numbered(uint64_t number, enum torci_lane_kind kind)
{
    return (struct torci_message){take_numbered,
                                  {number, (uint64_t)kind, torc_shard_id(), 0, 0, 0, ~number}};
}

static void send_work(uint32_t to, uint64_t number)
{
    struct torci_message message = numbered(number, TORCI_LANE_WORK);
    CHECK_EQ(torci_mesh_send(torci_shard_this(), to, &message), 0);
}

static int everyone_to_everyone(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    uint32_t count = torc_shard_count();
    struct state *state = mine();
    torc_event_init(&state->event);
    /* more notes than a control lane holds, where memory allows it */
    uint32_t each = count > 8 ? 20 : NOTES_MOST;
    state->many = (struct torci_note *)calloc((size_t)each * count, sizeof *state->many);
    meet(1);
    for (uint32_t i = 0; i < each; i++)
        for (uint32_t k = 0; k < count; k++) {
            uint32_t to = (self->id + k) % count;
            struct torci_note *note = &state->many[to * each + i];
            note->message = numbered(i, TORCI_LANE_CONTROL);
            torci_mesh_control(self, to, note);
            send_work(to, i);
        }
    wait_until(&state->received, (uint64_t)each * count * TORCI_LANES);
    meet(2); /* all notes have been taken, so none is queued */
    for (uint32_t i = 0; i < each * count; i++)
        CHECK(!state->many[i].queued);
    CHECK(torci_mesh_is_flushed(self));
    free(state->many);
    return 0;
}

TEST(shard_mesh, every_pair_gets_all_messages_in_order)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++)
        run_mesh(sizes[i], everyone_to_everyone);
}

enum { BURST = 5000, BURSTS = 10 };

/* In one go, while the other shard is reading: some go straight into the lane, some have to wait. */
static int send_bursts(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    struct state *state = mine();
    torc_event_init(&state->event);
    meet(1);
    if (self->id) {
        wait_until(&state->received, BURST * BURSTS);
        return 0;
    }
    state->many = (struct torci_note *)calloc(BURST, sizeof *state->many);
    for (uint32_t i = 0; i < BURST * BURSTS; i++) {
        struct torci_note *note = &state->many[i % BURST];
        while (note->queued)
            CHECK_EQ(torc_sleep(TORC_US), 0);
        note->message = numbered(i, TORCI_LANE_CONTROL);
        torci_mesh_control(self, 1, note);
    }
    while (!torci_mesh_is_flushed(self))
        CHECK_EQ(torc_sleep(TORC_US), 0);
    free(state->many);
    return 0;
}

TEST(shard_mesh, notes_that_wait_for_room_are_not_overtaken)
{
    run_mesh(2, send_bursts);
}

/* ---- back-pressure ---- */

/* Shard 0 fills the lane to the last one, which refuses; with one shard, its own. */
static int fill_a_lane(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    uint32_t to = torc_shard_count() - 1;
    struct state *receiver = &states[to];
    torc_event_init(&mine()->event);
    if (self->id == to)
        __atomic_store_n(&receiver->refuse, true, __ATOMIC_RELAXED);
    meet(1);
    if (self->id == 0) {
        uint64_t sent = 0;
        for (;; sent++) {
            struct torci_message message = numbered(sent, TORCI_LANE_WORK);
            if (torci_mesh_try_send(self, to, &message))
                break;
            if (sent % 50 == 0)
                CHECK_EQ(torc_sleep(TORC_US), 0);
        }
        CHECK_EQ(sent, TORCI_LANE_SLOTS);
        for (unsigned i = 0; i < 20; i++) {
            struct torci_message message = numbered(sent, TORCI_LANE_WORK);
            struct torc_deadline deadline;
            torc_deadline_enter(&deadline, 50 * TORC_US);
            CHECK_EQ(torci_mesh_send(self, to, &message), -ETIMEDOUT);
            (void)torc_deadline_leave(&deadline);
        }
        __atomic_store_n(&receiver->refuse, false, __ATOMIC_RELAXED);
        for (unsigned i = 0; i < 3 * TORCI_LANE_SLOTS; i++)
            send_work(to, sent++);
    }
    if (self->id == to)
        while (receiver->received < 4 * TORCI_LANE_SLOTS) /* turns in which it is offered again */
            CHECK_EQ(torc_sleep(GAP_US * TORC_US), 0);
    CHECK(self->id != to || receiver->received == 4 * TORCI_LANE_SLOTS);
    return 0;
}

TEST(shard_mesh, full_lane_makes_senders_wait_and_loses_nothing)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++)
        run_mesh(sizes[i], fill_a_lane);
}

/* Nobody takes work before having got a control message from everyone, and all work lanes are full. */
static int stuck_all_over(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    uint32_t count = torc_shard_count();
    struct state *state = mine();
    torc_event_init(&state->event);
    __atomic_store_n(&state->refuse, true, __ATOMIC_RELAXED);
    meet(1);
    uint64_t sent[SHARDS_MOST] = {0};
    for (uint32_t to = 0; to < count; to++)
        for (;;) {
            struct torci_message message = numbered(sent[to], TORCI_LANE_WORK);
            if (torci_mesh_try_send(self, to, &message))
                break;
            sent[to]++;
        }
    meet(2);
    for (uint32_t to = 0; to < count; to++) {
        CHECK_EQ(sent[to], TORCI_LANE_SLOTS);
        state->notes[to].message = numbered(0, TORCI_LANE_CONTROL);
        torci_mesh_control(self, to, &state->notes[to]);
    }
    wait_until(&state->received, count);
    CHECK_EQ(state->received, count);
    __atomic_store_n(&state->refuse, false, __ATOMIC_RELAXED);
    torc_yield();
    wait_until(&state->received, count + (uint64_t)count * TORCI_LANE_SLOTS);
    meet(3);
    return 0;
}

TEST(shard_mesh, control_passes_by_work_that_is_stuck)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++)
        run_mesh(sizes[i], stuck_all_over);
}

/* ---- floods ---- */

enum { ANSWERS_AT_ONCE = 3 };

static bool take_answer(struct torci_shard *self, uint32_t from,
                        const struct torci_message *message)
{
    (void)from, (void)message;
    states[self->id].answers++;
    torc_event_set(&states[self->id].event);
    return true;
}

/* Answers from a few notes, and refuses while they all wait for room. */
static bool take_question(struct torci_shard *self, uint32_t from,
                          const struct torci_message *message)
{
    struct state *state = &states[self->id];
    for (uint32_t i = 0; i < ANSWERS_AT_ONCE; i++) {
        struct torci_note *note = &state->notes[i];
        if (note->queued)
            continue;
        CHECK_EQ(message->words[0], state->expected[from][0]);
        state->expected[from][0]++;
        state->received++;
        note->message = (struct torci_message){take_answer, {0}};
        torci_mesh_control(self, from, note);
        return true;
    }
    return false;
}

static int flood(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    uint32_t count = torc_shard_count();
    struct state *state = mine();
    torc_event_init(&state->event);
    meet(1);
    for (uint64_t i = 0; i < target; i++)
        for (uint32_t k = 0; k < count; k++) {
            uint32_t to = (self->id + k) % count;
            struct torci_message message = {take_question, {i}};
            CHECK_EQ(torci_mesh_send(self, to, &message), 0);
        }
    while (state->answers < target * count || state->received < target * count)
        CHECK_EQ(torc_sleep(GAP_US * TORC_US), 0);
    meet(2);
    CHECK_EQ(state->answers, target * count);
    CHECK_EQ(state->received, target * count);
    return 0;
}

TEST(shard_mesh, flood_in_all_directions_ends)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++) {
        target = sizes[i] < 8 ? 5000 : 300; /* more than a lane holds */
        run_mesh(sizes[i], flood);
    }
}

/* ---- sleepers ---- */

enum { TRIPS = 1500 };

static bool take_ball(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)from, (void)message;
    states[self->id].received++;
    torc_event_set(&states[self->id].event);
    return true;
}

static void throw_ball(uint32_t to)
{
    struct torci_note *note = &mine()->notes[to];
    if (note->queued)
        return;
    note->message = (struct torci_message){take_ball, {0}};
    torci_mesh_control(torci_shard_this(), to, note);
}

/* Shards play in pairs; both sleep between two balls, or are just about to. */
static void play(uint64_t trips)
{
    struct state *state = mine();
    uint32_t partner = torc_shard_id() ^ 1;
    struct torci_random random;
    torci_random_seed(&random, torc_shard_id());
    if (partner >= torc_shard_count())
        return;
    for (uint64_t i = 1; i <= trips; i++) {
        if (torc_shard_id() % 2 == 0)
            throw_ball(partner);
        wait_until(&state->received, i);
        for (uint64_t yields = torci_random_below(&random, 4); yields; yields--)
            torc_yield();
        if (torci_random_below(&random, 16) == 0)
            CHECK_EQ(torc_sleep(torci_random_below(&random, 20 * TORC_US)), 0);
        if (torc_shard_id() % 2)
            throw_ball(partner);
    }
}

static int play_all(void *arg)
{
    (void)arg;
    torc_event_init(&mine()->event);
    meet(1);
    play(target);
    return 0;
}

TEST(shard_mesh, no_wake_is_lost)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++) {
        target = sizes[i] < 8 ? TRIPS : TRIPS / 10;
        run_mesh(sizes[i], play_all);
    }
}

static int play_without_bells(void *arg)
{
    (void)arg;
    struct torci_io *io = &torci_shard_this()->io;
    io->ops[IORING_OP_MSG_RING / 64] &= ~(UINT64_C(1) << IORING_OP_MSG_RING % 64);
    return play_all(arg);
}

TEST(shard_mesh, without_ring_messages_the_eventfd_wakes)
{
    target = TRIPS / 10;
    run_mesh(2, play_without_bells);
    run_mesh(7, play_without_bells);
}

static int play_with_broken_bells(void *arg)
{
    (void)arg;
    struct torci_io *io = &torci_shard_this()->io;
    torc_event_init(&mine()->event);
    int ring = io->ring.real_fd;
    io->ring.real_fd = -1; /* what the others ring at; our own enters know the ring by its index */
    meet(1);
    play(target);
    CHECK_EQ(torc_sleep(1), 0); /* the last ball is published, and its bell rung */
    meet(2);
    io->ring.real_fd = ring;
    return 0;
}

TEST(shard_mesh, ring_message_that_fails_is_made_good_by_the_eventfd)
{
    target = TRIPS / 10;
    run_mesh(2, play_with_broken_bells);
    run_mesh(7, play_with_broken_bells);
}

/* ---- what does not talk costs nothing ---- */

static unsigned bits_set(const struct torci_shard *self)
{
    unsigned bits = 0;
    for (uint32_t i = 0; i < self->mesh.map_words; i++)
        bits +=
            (unsigned)__builtin_popcountll(__atomic_load_n(&self->mesh.map[i], __ATOMIC_RELAXED));
    return bits;
}

static int one_busy_pair(void *arg)
{
    struct torci_shard *self = torci_shard_this();
    struct state *state = mine();
    (void)everyone_to_everyone(arg);
    state->received = 0;
    meet(3);
    /* The lanes of the round before were watched for a while; whoever is about to sleep stops watching. */
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    meet(4);
    if (self->id < 2) {
        play(500);
        for (uint32_t i = 0; i < self->mesh.map_words; i++) {
            uint64_t partner = (UINT64_C(1) << TORCI_BITS) - 1;
            uint64_t may = i ? 0 : partner << (self->id ^ 1) * TORCI_BITS;
            uint64_t word = __atomic_load_n(&self->mesh.map[i], __ATOMIC_RELAXED);
            if (word & ~may)
                TEST_FAIL("word %u of the map is %llx", (unsigned)i, (unsigned long long)word);
        }
    }
    return 0;
}

TEST(shard_mesh, lanes_that_are_quiet_are_not_watched)
{
    run_mesh(SHARDS_MOST, one_busy_pair);
}

static uint64_t turns_of_others(void)
{
    uint64_t turns = 0;
    int counter = torc_counter_find(NULL, "loop_turns");
    CHECK(counter >= 0);
    for (uint32_t id = 1; id < torc_shard_count(); id++)
        turns += torc_counter_read(NULL, id, (uint32_t)counter);
    return turns;
}

static uint64_t quiet_ns;

/* Shards that have nothing to do stay asleep: from some moment on, their loops do not turn. */
static int sleep_well(void *arg)
{
    (void)arg;
    torc_event_init(&mine()->event);
    meet(1);
    if (torc_shard_id()) {
        wait_until(&mine()->received, 1);
        return 0;
    }
    uint64_t before, after = turns_of_others();
    unsigned tries = 0;
    do {
        before = after;
        CHECK_EQ(torc_sleep(quiet_ns), 0);
        after = turns_of_others();
    } while (after != before && ++tries < 20);
    CHECK_EQ(after - before, 0);
    CHECK_EQ(bits_set(torci_shard_this()), 0);
    for (uint32_t id = 1; id < torc_shard_count(); id++)
        throw_ball(id);
    return 0;
}

TEST(shard_mesh, shards_with_nothing_to_do_stay_asleep)
{
    quiet_ns = 1500 * TORC_MS; /* longer than the clock's interval of tuning */
    run_mesh(SHARDS_MOST, sleep_well);
    quiet_ns = 200 * TORC_MS;
    run_mesh(2, sleep_well);
}

/* ---- foreign threads ---- */

enum { THREADS = 4, LETTERS = 500 };

struct letter {
    struct torci_letter letter;
    uint32_t thread;
    uint64_t number;
};

static struct thread {
    uint32_t index;
    uintptr_t handle;
    struct torci_set *set;
    struct letter letters[LETTERS];
} threads[THREADS];

static void take_letter(struct torci_shard *self, struct torci_letter *base)
{
    struct letter *letter = TORC_CONTAINER_OF(base, struct letter, letter);
    struct state *state = &states[self->id];
    /* letters of one thread to one shard come in the order they were sent: every count-th is ours */
    CHECK_EQ(letter->number, state->expected[letter->thread][0] * self->set->count + self->id);
    state->expected[letter->thread][0]++;
    state->letters++;
    torc_event_set(&state->event);
}

static void send_letters(void *arg)
{
    struct thread *thread = (struct thread *)arg;
    uint32_t count = thread->set->count;
    for (uint64_t i = 0; i < LETTERS; i++) {
        thread->letters[i] = (struct letter){{.fn = take_letter}, thread->index, i};
        torci_mesh_push(thread->set->shards[i % count], &thread->letters[i].letter);
    }
}

static int read_letters(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    const struct torci_kernel *kernel = self->io.kernel;
    uint32_t count = torc_shard_count();
    torc_event_init(&mine()->event);
    meet(1);
    for (uint32_t i = 0; i < THREADS && self->id == 0; i++) {
        threads[i].index = i;
        threads[i].set = self->set;
        CHECK_EQ(kernel->thread_start(kernel->host.context, send_letters, &threads[i], "foreign",
                                      &threads[i].handle),
                 0);
    }
    wait_until(&mine()->letters, (LETTERS / count + (self->id < LETTERS % count)) * THREADS);
    meet(2);
    for (uint32_t i = 0; i < THREADS && self->id == 0; i++)
        kernel->thread_join(kernel->host.context, threads[i].handle);
    return 0;
}

TEST(shard_mesh, letters_of_foreign_threads_come_once_and_in_order)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes); i++)
        if (sizes[i] > 1) /* nobody else's thread sends to a set of one */
            run_mesh(sizes[i], read_letters);
}

/* ---- broken contracts ---- */

static int send_note_twice(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    torc_event_init(&mine()->event);
    for (unsigned i = 0; i < 4 * TORCI_LANE_SLOTS; i++) { /* one will be chained */
        mine()->notes[i % 2].message = (struct torci_message){take_ball, {0}};
        torci_mesh_control(self, 1, &mine()->notes[i % 2]);
    }
    return 0;
}

TEST_DYING(shard_mesh, note_that_is_queued_can_not_be_sent_again, SIGABRT)
{
    run_mesh(2, send_note_twice);
}
