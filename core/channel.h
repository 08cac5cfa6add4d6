/* SPDX-License-Identifier: MIT
 *
 * A bounded channel between tasks of one executor: values of one size, first in first out, each received exactly once.
 * A full channel makes its senders wait, an empty one its receivers, both served in the order they came. A capacity of 0
 * makes it a rendezvous: a send returns when a receiver has the value.
 *
 *     struct request slots[128];
 *     struct torc_channel channel;
 *     err = torc_channel_init(&channel, sizeof slots[0], 128, slots);
 *     ...
 *     err = torc_channel_send(&channel, &request);
 *
 * Values are copied; what a value points to passes from sender to receiver when the send returns 0. Caller's memory
 * throughout; there is nothing to release, and it may go when no task waits on it. Nothing here allocates or calls back.
 * Shard rule: on the thread of the executor that the channel was initialised on.
 */
#ifndef TORC_CORE_CHANNEL_H
#define TORC_CORE_CHANNEL_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;

/* Fields are private. */
struct torc_channel {
    char *slots;
    uint32_t sent, received; /* values put into and taken from the slots; they wrap */
    uint32_t capacity;
    bool closed;
    size_t value_bytes;
    struct torci_link senders, receivers;
    struct torci_exec *home;
};

/* Open and empty, for values of VALUE_BYTES. SLOTS is CAPACITY * VALUE_BYTES of the caller's memory and belongs to the
 * channel from now on; NULL for capacity 0. -EINVAL: VALUE_BYTES is 0, CAPACITY neither 0 nor a power of two up to 2^31,
 * or SLOTS is missing. */
int torc_channel_init(struct torc_channel *channel, size_t value_bytes, uint32_t capacity,
                      void *slots) TORC_MUST_CHECK;

/* Copies *VALUE into the channel; blocks while it is full. 0; -EPIPE: closed; -ECANCELED, -ETIMEDOUT: interrupted while it
 * waited. On error nothing was sent. In a task. */
int torc_channel_send(struct torc_channel *channel, const void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if it is full. Also from completion functions. */
int torc_channel_try_send(struct torc_channel *channel, const void *value) TORC_MUST_CHECK;

/* Takes the oldest value into *VALUE; blocks while there is none. 0; -EPIPE: closed and drained; -ECANCELED, -ETIMEDOUT:
 * interrupted while it waited. On error *VALUE is unchanged and nothing was taken. In a task. */
int torc_channel_recv(struct torc_channel *channel, void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if it is empty. Also from completion functions. */
int torc_channel_try_recv(struct torc_channel *channel, void *value) TORC_MUST_CHECK;

/* No more sends. Senders that wait get -EPIPE and keep their values; what is in the channel can still be received, then
 * receivers get -EPIPE, those that wait at once. Does not block; harmless to repeat. */
void torc_channel_close(struct torc_channel *channel);
bool torc_channel_is_closed(const struct torc_channel *channel);
/* Values in the channel now; those of waiting senders are not in it. */
uint32_t torc_channel_count(const struct torc_channel *channel);

/* Cases that stand for torc_channel_send and torc_channel_recv. *VALUE is read, or written, when the case takes effect:
 * at any moment until the select returns. */
struct torc_case torc_channel_send_case(struct torc_channel *channel, const void *value);
struct torc_case torc_channel_recv_case(struct torc_channel *channel, void *value);

TORC_END_DECLS

#endif
