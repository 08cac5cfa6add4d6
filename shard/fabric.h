/* SPDX-License-Identifier: MIT
 *
 * Channels between all shards at once: a full mesh, in which every shard has a sender to and a receiver from every other,
 * or a broadcast, in which one shard has a sender to every shard. All shards join it together.
 *
 *     static struct torc_fabric fabric = {.value_bytes = sizeof(struct item), .capacity = 256};
 *
 *     struct torc_fabric_node node;                          // in the main of every shard
 *     err = torc_fabric_join(&fabric, &node);                // returns when all have come
 *     err = torc_xchan_send(node.to[owner_of(&item)], &item);
 *     err = torc_fabric_recv(&node, &item, &from);           // from whoever has sent something
 *     torc_fabric_leave(&node);
 *
 * Shards that send nothing cost their receivers nothing.
 *
 * Shard rule: a node is used on the shard that joined with it; each of its ends, and receiving from all, by one task at a
 * time. Only joining allocates.
 */
#ifndef TORC_SHARD_FABRIC_H
#define TORC_SHARD_FABRIC_H

#include "core/list.h"
#include "shard/xchan.h"

TORC_BEGIN_DECLS

struct torci_meeting;

/* Shared by all shards: a static object, or one in memory that all can reach. Filled in before the first shard joins and
 * constant from then on. The last field is private. */
struct torc_fabric {
    size_t value_bytes; /* 1 to TORC_XCHAN_VALUE_MAX */
    uint32_t capacity;  /* of each channel; 1 to TORC_XCHAN_CAPACITY_MAX */
    bool broadcast;     /* SENDER alone sends, to all shards and itself */
    uint32_t sender;
    struct torci_meeting *meeting; /* atomic */
};

/* Caller's memory; stays where it is until it has left. All but TO and FROM is private. */
struct torc_fabric_node {
    struct torc_xsender **to;     /* by shard; NULL where there is no channel */
    struct torc_xreceiver **from; /* likewise */
    uint64_t *ready;              /* bit n: FROM[n] may have something */
    uint32_t count;               /* shards */
    uint32_t next;                /* whose turn it is to be received from */
    uint32_t open;                /* of FROM: not yet closed and drained */
    struct torci_link waiters;
    bool met; /* the meeting is over, with RESULT */
    int result;
    void *memory;
    size_t memory_bytes;
};

/* Joins FABRIC and waits until every shard of the set has. All must, each once; when all have left they may again.
 * 0; -EINVAL: FABRIC is out of range; -ENOMEM; -ECANCELED, -ETIMEDOUT: interrupted. If it fails for one shard it fails
 * for all, for the others with -EPIPE, none has joined, and FABRIC must be filled in anew. In a task. */
int torc_fabric_join(struct torc_fabric *fabric, struct torc_fabric_node *node) TORC_MUST_CHECK;
/* Closes all ends of NODE. Does not block. */
void torc_fabric_leave(struct torc_fabric_node *node);

/* Sends *VALUE to all shards that NODE has a sender to, in turn; blocks while a channel is full. Shards that have left
 * are passed over. 0; -EPIPE: all have; -ECANCELED, -ETIMEDOUT: interrupted, *VALUE has gone to the first *SENT of
 * them, which may be NULL. In a task. */
int torc_fabric_send_all(struct torc_fabric_node *node, const void *value,
                         uint32_t *sent) TORC_MUST_CHECK;
/* Takes a value from any shard, whose number goes to *FROM unless it is NULL; in turn, if several have some. Blocks while
 * none has. Errors as of torc_xchan_recv; -EPIPE when all have closed and nothing is left. In a task. */
int torc_fabric_recv(struct torc_fabric_node *node, void *value, uint32_t *from) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if there is none. */
int torc_fabric_try_recv(struct torc_fabric_node *node, void *value,
                         uint32_t *from) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
