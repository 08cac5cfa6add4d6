/* SPDX-License-Identifier: MIT
 *
 * How shards talk: for each ordered pair two lanes of 64-byte slots, and who wakes whom.
 *
 *     work      requests. Each is taken by its handler or left there, which stalls the lane: that is the back-pressure
 *     control   answers, cancels, returned memory, wake-ups. Handlers never block and take everything, and what finds no
 *               room is chained at the sender, so control gets through however many requests are stuck, and no cycle of
 *               full lanes can close
 *
 * A receiver has a map of bits, a few for each sender, that says where to look; peers that never talk cost nothing.
 * A bit that is set means "this lane is being watched", not "there is a message": the receiver goes on watching a lane
 * for a while after it was found empty, so that a steady flow touches the map no more. Two agreements, each of the
 * form store, full fence, load on both sides, make sure that nothing is missed:
 *
 *     sender      publish the tail        fence    bit clear? set it, then: parked? clear that and ring the bell
 *     receiver    clear the bit           fence    lane still empty? if not, set the bit again
 *
 *     sender      set the bit             fence    parked? (exchange)
 *     receiver    set parked              fence    any bit set? then do not sleep
 *
 * Slots are published in batches: when PUBLISH_BATCH have gathered, and at the end of each turn of the loop.
 *
 * Shard rule: on the shard's own thread, but for torci_mesh_mark, torci_mesh_wake and torci_mesh_push.
 */
#ifndef TORC_SHARD_MESH_INTERNAL_H
#define TORC_SHARD_MESH_INTERNAL_H

#include "core/list.h"
#include "core/pile_internal.h"
#include "io/op.h"
#include "shard/lane_internal.h"

struct torci_shard;
struct torci_kernel;
struct torc_config;

enum {
    TORCI_LANE_SLOTS = 256,
    TORCI_MESSAGE_BYTES = 64,
    TORCI_MESSAGE_WORDS = 7,
    TORCI_SHARDS_MAX = 1024,
};

enum torci_lane_kind {
    TORCI_LANE_WORK,
    TORCI_LANE_CONTROL,
    TORCI_LANES,
};

/* Bits of a sender in the receiver's map. */
enum torci_bit {
    TORCI_BIT_WORK = TORCI_LANE_WORK,
    TORCI_BIT_CONTROL = TORCI_LANE_CONTROL,
    TORCI_BIT_ROOM, /* a lane that you found full has room */
    TORCI_BIT_LOOK, /* the state of the set has moved; from foreign threads: the inbox has something */
    TORCI_BITS,
};

struct torci_message;

/* Runs on the receiving shard's loop; must not block. The message is gone when it returns. Of a work message: false
 * leaves it where it is, and it is offered again in a later turn. Of a control message: always true. */
typedef bool torci_message_fn(struct torci_shard *self, uint32_t from,
                              const struct torci_message *message);

struct torci_message {
    torci_message_fn *fn;
    uint64_t words[TORCI_MESSAGE_WORDS]; /* FN knows what they are */
};
_Static_assert(sizeof(struct torci_message) == TORCI_MESSAGE_BYTES, "a slot");

/* A control message in memory of the sender's own, where it waits for room. */
struct torci_note {
    struct torci_link link;
    bool queued; /* until it has gone out the memory must stay */
    /* Told when a note that was queued has gone out, and is free; NULL: nobody. */
    void (*gone)(struct torci_shard *self, struct torci_note *note);
    struct torci_message message;
};

/* Something of this shard's own that is done once at the end of the turn, before what has been sent is published. FN may
 * send control messages and wake tasks. */
struct torci_chore {
    struct torci_link link;
    void (*fn)(struct torci_shard *self, struct torci_chore *chore);
};

/* From a foreign thread, in memory that both sides agree on. FN runs on the shard's loop and owns the letter. */
struct torci_letter {
    struct torci_pile_link link;
    struct torci_letter *next; /* where the receiver keeps it */
    void (*fn)(struct torci_shard *self, struct torci_letter *letter);
};

/* Another shard, seen from this one; itself included, which keeps the code free of a special case. */
struct torci_peer {
    struct torci_lane_writer to[TORCI_LANES];
    struct torci_lane_reader from[TORCI_LANES];
    uint8_t empty_looks[TORCI_LANES]; /* turns in a row that found the watched lane empty */
    bool stalled;                     /* its work was refused: offered again in each turn */
    bool is_dirty;                    /* in mesh.dirty: has something to publish */
    struct torci_peer *next_dirty;
    struct torci_link notes;        /* control messages without room */
    struct torci_link room_waiters; /* tasks that wait for room in the work lane */
    uint32_t id;
    struct torc_op bell; /* MSG_RING to it */
    bool bell_in_flight;
};

struct torci_mesh {
    struct torci_peer *peers; /* one for each shard */
    struct torci_peer *dirty;
    struct torci_link chores;
    char *lanes; /* those that lead here, as many for each sender as there are kinds */
    size_t lanes_bytes;
    uint32_t map_words;
    uint64_t *map; /* atomic words; the last bit's is the foreign threads' */
    bool stalled;  /* some peer is */
    struct torci_pile inbox;
};

/* What the lanes that lead to one of COUNT shards take of its arena. */
size_t torci_mesh_lanes_bytes(uint32_t count);
/* Makes the lanes that lead to SHARD; those of all shards must be made before any is opened. -ENOMEM. */
int torci_mesh_create(struct torci_shard *shard) TORC_MUST_CHECK;
/* On the shard's own pinned thread, before any message: the first touch of the lanes, which makes a huge page of them and
 * decides on its node where no policy could. Whoever wakes all shards would else do it for all of them, a stall of 100 ms
 * with 64. */
void torci_mesh_touch(struct torci_shard *shard);
/* Finds the writers' ends. */
void torci_mesh_connect(struct torci_shard *shard);
void torci_mesh_destroy(struct torci_shard *shard);

/* Sends work to shard TO. -EAGAIN: the lane is full. */
int torci_mesh_try_send(struct torci_shard *self, uint32_t to,
                        const struct torci_message *message) TORC_MUST_CHECK;
/* The same, but the running task waits for room. -ECANCELED, -ETIMEDOUT: nothing was sent. -EAGAIN: nor was it, since
 * the lane is stuck and the task runs for another shard: see shard/serve.c. */
int torci_mesh_send(struct torci_shard *self, uint32_t to,
                    const struct torci_message *message) TORC_MUST_CHECK;
/* Sends NOTE's message as control. Never blocks, never fails; when NOTE is left queued it stays the mesh's until it is
 * not. The note must not be queued already. */
void torci_mesh_control(struct torci_shard *self, uint32_t to, struct torci_note *note);
/* Publishes what has been sent to TO at once, for whoever can't wait for the end of the turn. */
void torci_mesh_flush(struct torci_shard *self, uint32_t to);
void torci_mesh_flush_all(struct torci_shard *self);
/* The same if the running task is about to leave the CPU to nobody: then the turn is at its end but for the loop's
 * book-keeping, and the other side may be looking for it. */
void torci_mesh_hurry(struct torci_shard *self, uint32_t to);
/* Work that was published for us has not been taken. */
bool torci_mesh_has_work(const struct torci_shard *self);

/* The work of PEER that is published and not taken, the oldest first: the receiver may change it there. NULL: there are
 * no more than INDEX. */
struct torci_message *torci_mesh_unread(struct torci_peer *peer, uint64_t index);

/* Has CHORE done at the end of this turn, if it is not to be done anyway. */
void torci_mesh_chore(struct torci_shard *self, struct torci_chore *chore);
static inline void torci_chore_init(struct torci_chore *chore,
                                    void (*fn)(struct torci_shard *self, struct torci_chore *chore))
{
    torci_link_init(&chore->link);
    chore->fn = fn;
}
static inline void torci_chore_cancel(struct torci_chore *chore)
{
    torci_list_unlink(&chore->link);
}

/* Sets BIT of sender FROM in the map of TO; whether it was clear before. Any thread. */
bool torci_mesh_mark(struct torci_shard *to, uint32_t from, enum torci_bit bit);
/* Marks, and wakes TO by its eventfd if it sleeps. Any thread. */
void torci_mesh_wake(struct torci_shard *to, uint32_t from, enum torci_bit bit);
/* Hands LETTER to shard TO. Any thread. The caller makes sure that the set is still there. */
void torci_mesh_push(struct torci_shard *to, struct torci_letter *letter);

/* The ring is broken, and a bell that was queued on it may never be heard: whoever it was for is woken otherwise. */
void torci_mesh_bury(struct torci_shard *self);

/* Takes what foreign threads have sent. */
void torci_mesh_take_inbox(struct torci_shard *self);
/* Something that came can't be taken yet: it is offered again in each turn. */
void torci_mesh_stalled(struct torci_shard *self);

/* Nothing waits to be sent. */
bool torci_mesh_is_flushed(const struct torci_shard *shard);

#endif
