/* SPDX-License-Identifier: MIT
 *
 * The inside of a channel between two shards: one block of memory with both ends, what they share, and the ring.
 *
 *     sender's lines      where it writes, how much of that is published, how far it has seen the receiver; its note
 *     receiver's lines    likewise
 *     tail                bytes published: the sender stores, the receiver looks
 *     head                bytes released: the receiver stores, the sender looks
 *     flags               who waits, who has closed, who still needs the memory: rarely written
 *     the ring
 *
 * An end has a window, [at, stop), in which the inline functions move without telling anyone. Only torci_xchan_room and
 * torci_xchan_look open one, and then the end is on the mesh's list of chores: at the end of the turn what has moved is
 * published (or released) and the window closed. So nobody waits for values or room that are only noted in a window for
 * longer than a turn.
 *
 * Waking is the agreement of shard/mesh_internal.h once more, for each side:
 *
 *     sender      tail = next         fence    receiver_waits? clear that and send it a note
 *     receiver    receiver_waits = 1  fence    still nothing between tail and us? then park
 *
 * and the same with room in place of values. A batch in the middle of a turn is published without the fence, which would
 * make the CPU wait for all the slots just written: it looks at the flag all the same, and what it misses then the chore
 * finds at the end of the turn, behind a fence.
 *
 * Each end that is open has a reference on the block, and so has each note on its way; whoever gives the last one back
 * has the receiver's shard free the memory, which comes from there.
 */
#ifndef TORC_SHARD_XCHAN_INTERNAL_H
#define TORC_SHARD_XCHAN_INTERNAL_H

#include "shard/shard_internal.h"
#include "shard/xchan.h"

enum {
    TORCI_XCHAN_BATCH = 64, /* values that are published together at the latest */
    TORCI_XCHAN_PARTS = 4,  /* the ring is given back in so many parts */
};

struct torc_fabric_node;

enum torci_xside {
    TORCI_XSIDE_SENDER,
    TORCI_XSIDE_RECEIVER,
};

/* What both ends have; the owner's alone but for HOME. */
struct torci_xend {
    struct torc_xchan *chan;
    struct torci_shard
        *home; /* NULL: nobody's yet. Read by the other side once a flag has told it to wake us */
    struct torci_link waiters; /* the task that waits, if any */
    struct torci_chore chore;
    struct torci_note note; /* wakes the other side */
    /* Of a receiver that is in a mesh of channels: told of what has come, as a waiter is. */
    void (*moved)(struct torci_xend *end);
    struct torc_fabric_node *node;
    uint32_t peer;
    uint64_t fence; /* scratch */
    bool closed;
};

struct torci_xsender {
    struct torc_xsender face;
    uint64_t lap;       /* bytes of the stream at the ring's beginning */
    uint64_t published; /* what tail says */
    uint64_t head_seen;
    struct torci_xend end;
};

struct torci_xreceiver {
    struct torc_xreceiver face;
    uint64_t lap;
    uint64_t released; /* what head says */
    uint64_t tail_seen;
    struct torci_xend end;
};

struct torc_xchan {
    _Alignas(TORCI_LANE_LINE) struct torci_xsender sender;
    _Alignas(TORCI_LANE_LINE) struct torci_xreceiver receiver;
    _Alignas(TORCI_LANE_LINE) uint64_t tail; /* atomic */
    _Alignas(TORCI_LANE_LINE) uint64_t head; /* atomic */
    /* Atomic, but for the sizes, which do not change. */
    _Alignas(TORCI_LANE_LINE) uint32_t waits[2]; /* by side */
    uint32_t closed[2];
    uint32_t references;
    uint32_t batch_bytes;
    uint64_t ring_bytes, part_bytes;
    size_t block_bytes;
    _Alignas(TORCI_LANE_LINE) char ring[];
};

/* Asks the other side to wake END. False: there is no need to wait. */
bool torci_xchan_arm(struct torci_xend *end);
struct torci_xend *torci_xchan_end(struct torc_xreceiver *receiver);
/* MOVED is called when something has come that END was armed for; perhaps in vain. */
void torci_xchan_watch(struct torc_xreceiver *receiver, struct torc_fabric_node *node,
                       uint32_t peer, void (*moved)(struct torci_xend *end));

#endif
