/* SPDX-License-Identifier: MIT
 *
 * The bounded channel. A waiting task's wait points to its value: a sender that finds a receiver waiting copies straight
 * into the receiver's memory, a receiver that frees a slot fills it from the oldest sender's. Hence, whenever no function
 * of this file runs:
 *
 *     a receiver waits   =>  no value is in the slots, the channel is open
 *     a sender waits     =>  the slots are full, the channel is open
 *
 * The other side is woken once and not once a value: after the wake the receiver no longer waits, and what is sent until
 * it runs goes into the slots. A full run of 128 values costs two wakes and two switches.
 */
#include "core/channel.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

int torc_channel_init(struct torc_channel *channel, size_t value_bytes, uint32_t capacity,
                      void *slots)
{
    if (value_bytes == 0 || (capacity & (capacity - 1)) || (capacity && !slots))
        return -EINVAL;
    channel->slots = slots;
    channel->sent = channel->received = 0;
    channel->capacity = capacity;
    channel->closed = false;
    channel->value_bytes = value_bytes;
    torci_link_init(&channel->senders);
    torci_link_init(&channel->receivers);
    channel->home = torci_this;
    return 0;
}

static inline char *slot_of(const struct torc_channel *channel, uint32_t position)
{
    return channel->slots + (size_t)(position & (channel->capacity - 1)) * channel->value_bytes;
}

static inline int send_now(struct torc_channel *channel, const void *value)
{
    TORCI_CHECK_HOME(channel);
    if (TORC_UNLIKELY(channel->closed))
        return -EPIPE;
    struct torci_wait *receiver = torci_wait_first(&channel->receivers);
    if (TORC_UNLIKELY(receiver != NULL)) {
        torci_copy_value(receiver->value, value, channel->value_bytes);
        torci_wait_wake(receiver, 0);
        return 0;
    }
    if (TORC_UNLIKELY(channel->sent - channel->received == channel->capacity))
        return -EAGAIN;
    torci_copy_value(slot_of(channel, channel->sent++), value, channel->value_bytes);
    return 0;
}

static inline int recv_now(struct torc_channel *channel, void *value)
{
    TORCI_CHECK_HOME(channel);
    struct torci_wait *sender = torci_wait_first(&channel->senders);
    if (TORC_UNLIKELY(channel->sent == channel->received)) {
        if (!sender)
            return channel->closed ? -EPIPE : -EAGAIN;
        torci_copy_value(value, sender->value, channel->value_bytes);
        torci_wait_wake(sender, 0);
        return 0;
    }
    torci_copy_value(value, slot_of(channel, channel->received++), channel->value_bytes);
    if (TORC_UNLIKELY(sender != NULL)) {
        torci_copy_value(slot_of(channel, channel->sent++), sender->value, channel->value_bytes);
        torci_wait_wake(sender, 0);
    }
    return 0;
}

/* Apart from the fast path, which then needs no frame. What a sender's wait points to is only read. */
static __attribute__((noinline)) int block(struct torc_channel *channel, struct torci_link *queue,
                                           const void *value)
{
    TORC_ASSERT(TORCI_IS_HOME(channel));
    return torci_block(queue, (void *)(uintptr_t)value);
}

int torc_channel_try_send(struct torc_channel *channel, const void *value)
{
    return send_now(channel, value);
}

int torc_channel_send(struct torc_channel *channel, const void *value)
{
    int err = send_now(channel, value);
    return TORC_LIKELY(err != -EAGAIN) ? err : block(channel, &channel->senders, value);
}

int torc_channel_try_recv(struct torc_channel *channel, void *value)
{
    return recv_now(channel, value);
}

int torc_channel_recv(struct torc_channel *channel, void *value)
{
    int err = recv_now(channel, value);
    return TORC_LIKELY(err != -EAGAIN) ? err : block(channel, &channel->receivers, value);
}

void torc_channel_close(struct torc_channel *channel)
{
    TORCI_CHECK_HOME(channel);
    channel->closed = true;
    torci_wait_wake_all(&channel->senders, -EPIPE);
    torci_wait_wake_all(&channel->receivers, -EPIPE);
}

bool torc_channel_is_closed(const struct torc_channel *channel)
{
    return channel->closed;
}

uint32_t torc_channel_count(const struct torc_channel *channel)
{
    return channel->sent - channel->received;
}

static bool send_poll(struct torc_case *one)
{
    one->result = send_now(one->object, one->value);
    return one->result != -EAGAIN;
}

static void send_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_channel *channel = one->object;
    wait->value = one->value;
    torci_list_push_back(&channel->senders, &wait->link);
}

struct torc_case torc_channel_send_case(struct torc_channel *channel, const void *value)
{
    static const struct torci_case_kind kind = {send_poll, send_arm, NULL};
    return torci_case_make(&kind, channel, (void *)(uintptr_t)value, 0);
}

static bool recv_poll(struct torc_case *one)
{
    one->result = recv_now(one->object, one->value);
    return one->result != -EAGAIN;
}

static void recv_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_channel *channel = one->object;
    wait->value = one->value;
    torci_list_push_back(&channel->receivers, &wait->link);
}

struct torc_case torc_channel_recv_case(struct torc_channel *channel, void *value)
{
    static const struct torci_case_kind kind = {recv_poll, recv_arm, NULL};
    return torci_case_make(&kind, channel, value, 0);
}
