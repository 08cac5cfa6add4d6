/* SPDX-License-Identifier: MIT
 *
 * A channel from one task to one task on another shard (or on the same): values of one size, first in first out, copied
 * into a ring that lies on the receiver's node. The sender's end and the receiver's are two objects, each owned by the
 * shard that uses it; neither ever locks.
 *
 *     TORC_XCHAN(samples, struct sample)           // samples_send, samples_recv and so on, checked by the compiler
 *
 *     struct torc_xreceiver *receiver;             // on the shard that receives
 *     struct torc_xsender *sender;
 *     err = samples_open(1024, &receiver, &sender);
 *     ... hand SENDER over, as an argument of a call or in shared memory ...
 *     while (!(err = samples_recv(receiver, &sample)))
 *         use(&sample);                            // -EPIPE: the sender has closed, and all has been received
 *     torc_xchan_close_receiver(receiver);
 *
 *     err = samples_send(sender, &sample);         // on the shard that sends: the first use makes it the owner
 *     torc_xchan_close_sender(sender);
 *
 * Values go out in batches: when 64 have gathered, when the ring is full, and at the end of each turn of the loop, so at
 * the latest when the sending shard runs out of tasks; torc_xchan_flush does it now. Sending and receiving are a compare
 * and a copy, inlined, as long as neither side has to look at the other.
 *
 * Shard rule: an end is used on its owner's thread alone, by one task at a time. Nothing but torc_xchan_open allocates,
 * nothing calls back.
 */
#ifndef TORC_SHARD_XCHAN_H
#define TORC_SHARD_XCHAN_H

#include <string.h>

#include "core/select.h"

TORC_BEGIN_DECLS

enum {
    TORC_XCHAN_VALUE_MAX = 4096,       /* bytes of a value */
    TORC_XCHAN_CAPACITY_MAX = 1 << 20, /* values in the ring */
};

/* Fields are private: the slot that is next, and the first one for which the other side has to be asked. */
struct torc_xsender {
    char *at, *stop;
    size_t value_bytes;
};

struct torc_xreceiver {
    char *at, *stop;
    size_t value_bytes;
};

/* Makes a channel for CAPACITY values of VALUE_BYTES. The calling shard owns *RECEIVER; *SENDER may be handed to any
 * shard, and belongs to the one that uses it first. Both must be closed, each by its owner (a sender that nobody wants:
 * by anyone); the channel's memory goes with the later one, and with the end of torc_run at the latest.
 * 0; -EINVAL: VALUE_BYTES is 0 or above TORC_XCHAN_VALUE_MAX, CAPACITY is 0 or above TORC_XCHAN_CAPACITY_MAX; -ENOMEM. */
int torc_xchan_open(size_t value_bytes, uint32_t capacity, struct torc_xreceiver **receiver,
                    struct torc_xsender **sender) TORC_MUST_CHECK;

/* No more values; those that were sent can still be received, then the receiver gets -EPIPE. SENDER is gone. Does not
 * block; no task may be waiting in it. */
void torc_xchan_close_sender(struct torc_xsender *sender);
/* No more values are wanted: those in the ring are dropped, and the sender gets -EPIPE at the latest when its batch is
 * full or its turn of the loop has ended. RECEIVER is gone. Does not block; no task may be waiting in it. */
void torc_xchan_close_receiver(struct torc_xreceiver *receiver);

/* Copies *VALUE into the channel; blocks while it is full. 0; -EPIPE: the receiver has closed; -ECANCELED, -ETIMEDOUT:
 * interrupted while it waited. On error nothing was sent. In a task. */
static inline int torc_xchan_send(struct torc_xsender *sender, const void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if it is full. Also from completion functions. */
static inline int torc_xchan_try_send(struct torc_xsender *sender,
                                      const void *value) TORC_MUST_CHECK;
/* Sends an array of COUNT (> 0) values in order; blocks while the channel is full. How many were sent: fewer than COUNT
 * only if the call was ended meanwhile by what the next call will return. Errors as above if none was sent. In a task. */
int torc_xchan_send_many(struct torc_xsender *sender, const void *values,
                         uint32_t count) TORC_MUST_CHECK;
/* The same without blocking: as many as there is room for; -EAGAIN if there is none. */
int torc_xchan_try_send_many(struct torc_xsender *sender, const void *values,
                             uint32_t count) TORC_MUST_CHECK;
/* Makes what has been sent visible at once, and wakes the receiver if it waits. */
void torc_xchan_flush(struct torc_xsender *sender);

/* Takes the oldest value into *VALUE; blocks while there is none. 0; -EPIPE: closed and drained; -ECANCELED, -ETIMEDOUT:
 * interrupted while it waited. On error *VALUE is unchanged and nothing was taken. In a task. */
static inline int torc_xchan_recv(struct torc_xreceiver *receiver, void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if there is none. Also from completion functions. */
static inline int torc_xchan_try_recv(struct torc_xreceiver *receiver, void *value) TORC_MUST_CHECK;
/* Takes what is there, at most COUNT (> 0) values, into an array; blocks while there is none. How many; errors as above.
 * In a task. */
int torc_xchan_recv_many(struct torc_xreceiver *receiver, void *values,
                         uint32_t count) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if there is none. */
int torc_xchan_try_recv_many(struct torc_xreceiver *receiver, void *values,
                             uint32_t count) TORC_MUST_CHECK;

/* Without copying: COUNT values have been filled in, or read, in place; at most as many as NAME_reserve or NAME_peek of
 * TORC_XCHAN has just returned, and nothing of this channel's end was called in between. What is not committed was never
 * sent, what is not released is still there. */
static inline void torc_xchan_commit(struct torc_xsender *sender, uint32_t count);
static inline void torc_xchan_release(struct torc_xreceiver *receiver, uint32_t count);

/* A case that stands for torc_xchan_recv; *VALUE is written when the select returns. */
struct torc_case torc_xchan_recv_case(struct torc_xreceiver *receiver, void *value);

/* Functions for one type, which are also faster, since the size is known: NAME_open(capacity, &receiver, &sender),
 * NAME_send, NAME_try_send, NAME_recv, NAME_try_recv, and for work in place
 *     int NAME_reserve(sender, &slots)     how many values may be filled in at SLOTS, 1 or more; blocks while there is no
 *                                          room; errors of torc_xchan_send
 *     int NAME_peek(receiver, &values)     how many values are to be read at VALUES, 1 or more; blocks while there is
 *                                          none; errors of torc_xchan_recv
 * The pointers are good until the task gives up the CPU. */
#define TORC_XCHAN(name, type) \
    static inline TORC_MUST_CHECK __attribute__((unused)) int name##_open( \
        uint32_t capacity, struct torc_xreceiver **receiver, struct torc_xsender **sender) \
    { \
        return torc_xchan_open(sizeof(type), capacity, receiver, sender); \
    } \
    static inline TORC_MUST_CHECK \
        __attribute__((unused)) int name##_reserve(struct torc_xsender *sender, type **slots) \
    { \
        TORC_DEBUG_ASSERT(sender->value_bytes == sizeof(type)); \
        int err = sender->at == sender->stop ? torci_xchan_room_wait(sender) : 0; \
        *slots = (type *)(void *)sender->at; \
        return err ? err \
                   : (int)((size_t)(sender->stop - sender->at) / \
                           torci_xchan_stride(sizeof(type))); \
    } \
    static inline TORC_MUST_CHECK __attribute__((unused)) int name##_peek( \
        struct torc_xreceiver *receiver, const type **values) \
    { \
        TORC_DEBUG_ASSERT(receiver->value_bytes == sizeof(type)); \
        int err = receiver->at == receiver->stop ? torci_xchan_look_wait(receiver) : 0; \
        *values = (const type *)(const void *)receiver->at; \
        return err ? err \
                   : (int)((size_t)(receiver->stop - receiver->at) / \
                           torci_xchan_stride(sizeof(type))); \
    } \
    TORCI_XCHAN_PUT(name##_send, type, torci_xchan_room_wait) \
    TORCI_XCHAN_PUT(name##_try_send, type, torci_xchan_room) \
    TORCI_XCHAN_TAKE(name##_recv, type, torci_xchan_look_wait) \
    TORCI_XCHAN_TAKE(name##_try_recv, type, torci_xchan_look) \
    _Static_assert(sizeof(type) <= TORC_XCHAN_VALUE_MAX, "a value is too large")

/* By assignment and not by memcpy: the compiler then builds a value in its slot, and reads no more of it than is used.
 * What counts is how many stores stand in line behind those that miss the cache (torc-micro xchan). */
#define TORCI_XCHAN_PUT(function, type, room) \
    static inline TORC_MUST_CHECK __attribute__((unused)) int function( \
        struct torc_xsender *sender, const type *value) \
    { \
        TORC_DEBUG_ASSERT(sender->value_bytes == sizeof(type)); \
        int err = TORC_UNLIKELY(sender->at == sender->stop) ? room(sender) : 0; \
        if (TORC_LIKELY(!err)) { \
            char *at = sender->at; \
            *(type *)(void *)at = *value; \
            sender->at = at + torci_xchan_stride(sizeof(type)); \
        } \
        return err; \
    }
#define TORCI_XCHAN_TAKE(function, type, look) \
    static inline TORC_MUST_CHECK __attribute__((unused)) int function( \
        struct torc_xreceiver *receiver, type *value) \
    { \
        TORC_DEBUG_ASSERT(receiver->value_bytes == sizeof(type)); \
        int err = TORC_UNLIKELY(receiver->at == receiver->stop) ? look(receiver) : 0; \
        if (TORC_LIKELY(!err)) { \
            char *at = receiver->at; \
            receiver->at = at + torci_xchan_stride(sizeof(type)); \
            *value = *(const type *)(const void *)at; \
        } \
        return err; \
    }

/* What the inline halves call when they have come to STOP: afterwards AT is not STOP, or why not. */
int torci_xchan_room(struct torc_xsender *sender);
int torci_xchan_room_wait(struct torc_xsender *sender);
int torci_xchan_look(struct torc_xreceiver *receiver);
int torci_xchan_look_wait(struct torc_xreceiver *receiver);

/* From a value's slot to the next one's. */
static inline size_t torci_xchan_stride(size_t value_bytes)
{
    return (value_bytes + 7) & ~(size_t)7;
}

static inline void torc_xchan_commit(struct torc_xsender *sender, uint32_t count)
{
    sender->at += count * torci_xchan_stride(sender->value_bytes);
    TORC_ASSERT(sender->at <= sender->stop);
}

static inline void torc_xchan_release(struct torc_xreceiver *receiver, uint32_t count)
{
    receiver->at += count * torci_xchan_stride(receiver->value_bytes);
    TORC_ASSERT(receiver->at <= receiver->stop);
}

static inline TORC_MUST_CHECK int torci_xchan_put(struct torc_xsender *sender, const void *value,
                                                  size_t value_bytes,
                                                  int (*room)(struct torc_xsender *sender))
{
    TORC_DEBUG_ASSERT(sender->value_bytes == value_bytes);
    if (TORC_UNLIKELY(sender->at == sender->stop)) {
        int err = room(sender);
        if (err)
            return err;
    }
    char *at = sender->at;
    memcpy(at, value, value_bytes);
    sender->at = at + torci_xchan_stride(value_bytes);
    return 0;
}

static inline TORC_MUST_CHECK int torci_xchan_take(struct torc_xreceiver *receiver, void *value,
                                                   size_t value_bytes,
                                                   int (*look)(struct torc_xreceiver *receiver))
{
    TORC_DEBUG_ASSERT(receiver->value_bytes == value_bytes);
    if (TORC_UNLIKELY(receiver->at == receiver->stop)) {
        int err = look(receiver);
        if (err)
            return err;
    }
    const char *at = receiver->at;
    receiver->at += torci_xchan_stride(value_bytes);
    memcpy(value, at, value_bytes);
    return 0;
}

static inline TORC_MUST_CHECK int torc_xchan_send(struct torc_xsender *sender, const void *value)
{
    return torci_xchan_put(sender, value, sender->value_bytes, torci_xchan_room_wait);
}

static inline TORC_MUST_CHECK int torc_xchan_try_send(struct torc_xsender *sender,
                                                      const void *value)
{
    return torci_xchan_put(sender, value, sender->value_bytes, torci_xchan_room);
}

static inline TORC_MUST_CHECK int torc_xchan_recv(struct torc_xreceiver *receiver, void *value)
{
    return torci_xchan_take(receiver, value, receiver->value_bytes, torci_xchan_look_wait);
}

static inline TORC_MUST_CHECK int torc_xchan_try_recv(struct torc_xreceiver *receiver, void *value)
{
    return torci_xchan_take(receiver, value, receiver->value_bytes, torci_xchan_look);
}

TORC_END_DECLS

#endif
