/* SPDX-License-Identifier: MIT
 *
 * The code itself under weak memory, for GenMC: the lane's header, and the functions of shard/mesh.c and io/loop.c that
 * agree on waking, which weak.sh copies out of these files into functions.h. Here is what stands around them: as much of
 * the structs as they touch, threads, and what must hold when all threads have ended.
 *
 * A receiver that would sleep and finds no doorbell ends there, asleep. A doorbell stays until it is answered, so at the
 * end: whoever is asleep has one, or there is nothing for him. Messages and letters are plain memory, so that a missing
 * order is a race, which GenMC reports too.
 *
 * SCENARIO: 1 two messages through a lane of one slot; 2 two senders; 3 two foreign threads; 4 a lane of two slots.
 */
#include <assert.h>
#include <pthread.h>
#include <stddef.h>

#include "shard/lane_internal.h"

#ifndef SCENARIO
#define SCENARIO 1
#endif

enum {
    SHARDS = SCENARIO == 2 ? 3 : 2,
    THREADS = SCENARIO == 1 || SCENARIO == 4 ? 1 : 2, /* beside the receiver's */
    MESSAGES = THREADS == 1 ? 2 : 1,
    ROUNDS = SCENARIO == 1 ? 3 : 2,
    SLOTS = SCENARIO == 4 ? 2 : 1,
    TORCI_LANES = 1,
};
enum torci_lane_kind { TORCI_LANE_WORK };
enum torci_bit { TORCI_BIT_WORK, TORCI_BIT_ROOM, TORCI_BITS };

struct torci_shard;
struct torci_message {
    uint64_t word;
};
struct torci_pile_link {
    struct torci_pile_link *next;
};
struct torci_pile {
    struct torci_pile_link *newest;
};
struct torci_letter {
    struct torci_pile_link link;
    void (*fn)(struct torci_shard *self, struct torci_letter *letter);
    int content;
};
struct torci_io {
    struct {
        const uint64_t *map;
        uint32_t map_words;
    } outside;
    struct {
        uint32_t parked;
    } wake;
    uint32_t bell; /* in its completion queue, which the kernel locks */
};
struct torci_peer {
    uint32_t id;
    struct torci_lane_writer to[TORCI_LANES];
    struct torci_lane_reader from[TORCI_LANES];
    uint8_t empty_looks[TORCI_LANES];
};
struct torci_mesh {
    uint64_t *map;
    struct torci_pile inbox;
};
struct torci_set {
    uint32_t count;
};
struct torci_shard {
    struct torci_io io;
    struct torci_mesh mesh;
    struct torci_set *set;
    uint32_t id;
};
struct lane {
    struct torci_lane ends;
    struct torci_message slots[SLOTS];
};

static uint64_t maps[SHARDS];
static struct torci_shard shards[SHARDS];
static struct torci_set set = {.count = SHARDS};
static struct lane lanes[SHARDS]; /* lane i is written by shard i */

static void ring(struct torci_io *to)
{
    __atomic_store_n(&to->bell, 1, __ATOMIC_SEQ_CST);
}

static struct torci_shard *shard_of(const struct torci_shard *self, uint32_t id)
{
    (void)self;
    return &shards[id];
}

#include <functions.h> /* of weak.sh */

static struct torci_peer peer_by_lane(uint32_t id, struct lane *lane)
{
    return (struct torci_peer){
        .id = id,
        .to[0] = {.lane = &lane->ends, .count = SLOTS, .slot_bytes = sizeof(struct torci_message)},
        .from[0] = {
            .lane = &lane->ends, .count = SLOTS, .slot_bytes = sizeof(struct torci_message)}};
}

static bool has_bit(const struct torci_shard *self, uint32_t from, enum torci_bit bit)
{
    return __atomic_load_n(self->mesh.map, __ATOMIC_ACQUIRE) & mask_of(index_of(from, bit));
}

/* ---- shard 0 receives ---- */

static struct torci_peer senders[SHARDS]; /* as shard 0 sees them */
static bool asleep;
static int letters;

static void letter_came(struct torci_shard *self, struct torci_letter *letter)
{
    (void)self;
    letters += letter->content;
}

static void take(struct torci_shard *self, struct torci_peer *peer)
{
    struct torci_lane_reader *reader = &peer->from[0];
    for (struct torci_message *message; (message = torci_lane_reader_slot(reader)) != NULL;) {
        assert(message->word == reader->next + 1);
        torci_lane_reader_pop(reader);
    }
    if (torci_lane_reader_is_ahead(reader))
        tell_of_room(self, peer, reader);
}

static void turn(struct torci_shard *self)
{
    for (uint32_t from = 1; from < SHARDS; from++)
        if (has_bit(self, from, TORCI_BIT_WORK))
            take(self, &senders[from]);
    if (has_bit(self, SHARDS, TORCI_BIT_WORK)) {
        take_bit(&self->mesh, index_of(SHARDS, TORCI_BIT_WORK));
        torci_mesh_take_inbox(self);
    }
}

static bool may_sleep(struct torci_shard *self)
{
    for (uint32_t from = 1; from < SHARDS; from++)
        if (has_bit(self, from, TORCI_BIT_WORK) && !unwatch(self, &senders[from], TORCI_LANE_WORK))
            return false;
    return !has_bit(self, SHARDS, TORCI_BIT_WORK);
}

/* As park in io/loop.c does it; false: it sleeps for good, unless a doorbell comes after all. */
static bool park(struct torci_shard *self)
{
    if (!may_sleep(self))
        return true;
    park_begins(&self->io);
    if (!is_marked(&self->io)) {
        if (!__atomic_load_n(&self->io.bell, __ATOMIC_SEQ_CST))
            return false;
        __atomic_store_n(&self->io.bell, 0, __ATOMIC_SEQ_CST);
    }
    park_ends(&self->io);
    return true;
}

static void *receive(void *arg)
{
    for (int round = 0; round < ROUNDS && !asleep; round++) {
        turn(&shards[0]);
        asleep = !park(&shards[0]);
    }
    return arg;
}

/* ---- who sends ---- */

static struct torci_peer receivers[SHARDS]; /* shard 0, as they see it */
static bool waits;

static void *send(void *arg)
{
    struct torci_shard *self = (struct torci_shard *)arg;
    struct torci_peer *peer = &receivers[self->id];
    for (int i = 0; i < MESSAGES && !waits; i++) {
        struct torci_message *slot = find_slot(&peer->to[0]);
        if (slot) {
            slot->word = peer->to[0].next + 1;
            torci_lane_writer_push(&peer->to[0]);
            torci_lane_writer_publish(&peer->to[0]);
            signal_peer(self, peer, TORCI_BIT_WORK);
        } else {
            waits = true;
        }
    }
    return NULL;
}

static void *send_letter(void *arg)
{
    struct torci_letter *letter = (struct torci_letter *)arg;
    letter->fn = letter_came;
    letter->content = 1;
    torci_mesh_push(&shards[0], letter);
    return NULL;
}

int main(void)
{
    pthread_t receiver, sender[2];
    static struct torci_letter letter[2];
    for (uint32_t id = 0; id < SHARDS; id++) {
        shards[id] = (struct torci_shard){
            .io.outside = {&maps[id], 1}, .mesh.map = &maps[id], .set = &set, .id = id};
        senders[id] = peer_by_lane(id, &lanes[id]);
        receivers[id] = peer_by_lane(0, &lanes[id]);
    }
    pthread_create(&receiver, NULL, receive, NULL);
    for (int i = 0; i < THREADS; i++)
        if (SCENARIO == 3)
            pthread_create(&sender[i], NULL, send_letter, &letter[i]);
        else
            pthread_create(&sender[i], NULL, send, &shards[1 + i]);
    pthread_join(receiver, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(sender[i], NULL);

    bool rung = shards[0].io.bell;
    for (uint32_t id = 1; id < SHARDS; id++) {
        struct torci_lane_writer *writer = &receivers[id].to[0];
        assert(!asleep || rung || senders[id].from[0].next == writer->next);
        if (id == 1 && waits && lanes[id].ends.head == writer->next)
            assert(has_bit(&shards[1], 0, TORCI_BIT_ROOM));
    }
    assert(!asleep || rung || !shards[0].mesh.inbox.newest);
    return 0;
}
