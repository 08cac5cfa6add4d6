/* SPDX-License-Identifier: MIT
 *
 * Broadcast: every subscriber sees every value that is sent from its subscription on, in order. The sender never waits:
 * the last values are kept in a ring, and a subscriber that falls behind by more than the ring holds loses the oldest
 * and is told how many. Caller's memory throughout. A subscription is a place in the sequence, no registration: there is
 * nothing to undo, and the broadcast's memory may go when no task waits on it.
 *
 * Nothing here allocates or calls back. Shard rule: on the thread of the executor that it was initialised on.
 */
#ifndef TORC_CORE_BROADCAST_H
#define TORC_CORE_BROADCAST_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;

/* Fields are private. */
struct torc_broadcast {
    char *slots;
    uint64_t sent; /* values ever; the last CAPACITY of them are in the slots */
    uint32_t capacity;
    bool closed;
    size_t value_bytes;
    struct torci_link waiters;
    struct torci_exec *home;
};

/* Fields are private. */
struct torc_subscriber {
    struct torc_broadcast *broadcast;
    uint64_t next; /* the value it wants */
};

/* Open. SLOTS is CAPACITY * VALUE_BYTES of the caller's memory and belongs to the broadcast from now on. -EINVAL:
 * VALUE_BYTES is 0, SLOTS is NULL, or CAPACITY is no power of two up to 2^31. */
int torc_broadcast_init(struct torc_broadcast *broadcast, size_t value_bytes, uint32_t capacity,
                        void *slots) TORC_MUST_CHECK;
/* Sends a copy of *VALUE to all subscribers; it is not an error that there are none. Never blocks. 0; -EPIPE: closed.
 * Also from completion functions. */
int torc_broadcast_send(struct torc_broadcast *broadcast, const void *value) TORC_MUST_CHECK;
/* No more sends. Subscribers receive what is kept, then -EPIPE. Harmless to repeat. */
void torc_broadcast_close(struct torc_broadcast *broadcast);

/* Begins with the next value that is sent. SUBSCRIBER is the caller's memory and used by one task at a time. */
void torc_subscriber_init(struct torc_subscriber *subscriber, struct torc_broadcast *broadcast);
/* Takes the subscriber's next value into *VALUE; blocks while there is none. How many values were lost just before this
 * one: 0 for a subscriber that keeps up. -EPIPE: closed and nothing left; -ECANCELED, -ETIMEDOUT: interrupted while it
 * waited. On error *VALUE is unchanged and nothing was passed over. In a task. */
int64_t torc_subscriber_recv(struct torc_subscriber *subscriber, void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if there is none. */
int64_t torc_subscriber_try_recv(struct torc_subscriber *subscriber, void *value) TORC_MUST_CHECK;
/* A case that stands for torc_subscriber_recv. */
struct torc_case torc_subscriber_case(struct torc_subscriber *subscriber, void *value);

TORC_END_DECLS

#endif
