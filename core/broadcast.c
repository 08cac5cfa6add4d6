/* SPDX-License-Identifier: MIT
 *
 * Broadcast. Values are numbered from 0; number n is in slot n mod capacity until n + capacity is sent. A waiting
 * subscriber has seen all there is; it is woken without a value and reads its own from the ring when it runs, because
 * what one subscriber takes stays there for the others. So a wake promises a value: the one it wanted, or, if it ran so
 * late that this one is gone, the oldest there is.
 */
#include "core/broadcast.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

int torc_broadcast_init(struct torc_broadcast *broadcast, size_t value_bytes, uint32_t capacity,
                        void *slots)
{
    if (value_bytes == 0 || !slots || !capacity || (capacity & (capacity - 1)))
        return -EINVAL;
    broadcast->slots = slots;
    broadcast->sent = 0;
    broadcast->capacity = capacity;
    broadcast->closed = false;
    broadcast->value_bytes = value_bytes;
    torci_link_init(&broadcast->waiters);
    broadcast->home = torci_this;
    return 0;
}

static char *slot_of(const struct torc_broadcast *broadcast, uint64_t number)
{
    return broadcast->slots + (number & (broadcast->capacity - 1)) * broadcast->value_bytes;
}

int torc_broadcast_send(struct torc_broadcast *broadcast, const void *value)
{
    TORCI_CHECK_HOME(broadcast);
    if (broadcast->closed)
        return -EPIPE;
    torci_copy_value(slot_of(broadcast, broadcast->sent++), value, broadcast->value_bytes);
    torci_wait_wake_all(&broadcast->waiters, 0);
    return 0;
}

void torc_broadcast_close(struct torc_broadcast *broadcast)
{
    TORCI_CHECK_HOME(broadcast);
    broadcast->closed = true;
    torci_wait_wake_all(&broadcast->waiters, -EPIPE);
}

void torc_subscriber_init(struct torc_subscriber *subscriber, struct torc_broadcast *broadcast)
{
    subscriber->broadcast = broadcast;
    subscriber->next = broadcast->sent;
}

int64_t torc_subscriber_try_recv(struct torc_subscriber *subscriber, void *value)
{
    const struct torc_broadcast *broadcast = subscriber->broadcast;
    TORCI_CHECK_HOME(broadcast);
    uint64_t behind = broadcast->sent - subscriber->next;
    if (behind == 0)
        return broadcast->closed ? -EPIPE : -EAGAIN;
    uint64_t lost = behind > broadcast->capacity ? behind - broadcast->capacity : 0;
    subscriber->next += lost;
    torci_copy_value(value, slot_of(broadcast, subscriber->next++), broadcast->value_bytes);
    return (int64_t)lost;
}

int64_t torc_subscriber_recv(struct torc_subscriber *subscriber, void *value)
{
    int64_t lost = torc_subscriber_try_recv(subscriber, value);
    if (lost != -EAGAIN)
        return lost;
    TORC_ASSERT(TORCI_IS_HOME(subscriber->broadcast));
    int err = torci_block(&subscriber->broadcast->waiters, NULL);
    return err ? err : torc_subscriber_try_recv(subscriber, value);
}

static bool case_poll(struct torc_case *one)
{
    one->result = torc_subscriber_try_recv(one->object, one->value);
    return one->result != -EAGAIN;
}

static void case_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_subscriber *subscriber = one->object;
    torci_list_push_back(&subscriber->broadcast->waiters, &wait->link);
}

static void case_leave(struct torc_case *one, bool won)
{
    if (won && one->result == 0)
        one->result = torc_subscriber_try_recv(one->object, one->value);
}

struct torc_case torc_subscriber_case(struct torc_subscriber *subscriber, void *value)
{
    static const struct torci_case_kind kind = {case_poll, case_arm, case_leave};
    return torci_case_make(&kind, subscriber, value, 0);
}
