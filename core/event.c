/* SPDX-License-Identifier: MIT
 *
 * Events, wait groups, gates. Each lets all or one of its waiters go on when its condition comes true; a woken waiter
 * returns 0 even if the condition is false again by the time it runs.
 */
#include "core/event.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

void torc_event_init(struct torc_event *event)
{
    torci_link_init(&event->waiters);
    event->home = torci_this;
    event->is_set = false;
    event->auto_reset = false;
}

void torc_event_init_auto(struct torc_event *event)
{
    torc_event_init(event);
    event->auto_reset = true;
}

void torc_event_set(struct torc_event *event)
{
    TORCI_CHECK_HOME(event);
    if (event->auto_reset && torci_wait_wake_first(&event->waiters, 0))
        return;
    event->is_set = true;
    torci_wait_wake_all(&event->waiters, 0);
}

void torc_event_reset(struct torc_event *event)
{
    TORCI_CHECK_HOME(event);
    event->is_set = false;
}

bool torc_event_is_set(const struct torc_event *event)
{
    return event->is_set;
}

int torc_event_try_wait(struct torc_event *event)
{
    TORCI_CHECK_HOME(event);
    if (!event->is_set)
        return -EAGAIN;
    event->is_set = !event->auto_reset;
    return 0;
}

int torc_event_wait(struct torc_event *event)
{
    if (!torc_event_try_wait(event))
        return 0;
    TORC_ASSERT(TORCI_IS_HOME(event));
    return torci_block(&event->waiters, NULL);
}

static bool event_poll(struct torc_case *one)
{
    one->result = 0;
    return torc_event_try_wait(one->object) == 0;
}

static void event_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_event *event = one->object;
    torci_list_push_back(&event->waiters, &wait->link);
}

struct torc_case torc_event_case(struct torc_event *event)
{
    static const struct torci_case_kind kind = {event_poll, event_arm, NULL};
    return torci_case_make(&kind, event, NULL, 0);
}

void torc_wait_group_init(struct torc_wait_group *group)
{
    torci_link_init(&group->waiters);
    group->home = torci_this;
    group->count = 0;
}

void torc_wait_group_add(struct torc_wait_group *group, uint64_t count)
{
    TORCI_CHECK_HOME(group);
    TORC_ASSERT(count <= UINT64_MAX - group->count);
    group->count += count;
}

void torc_wait_group_done(struct torc_wait_group *group)
{
    TORCI_CHECK_HOME(group);
    TORC_ASSERT(group->count > 0);
    if (--group->count == 0)
        torci_wait_wake_all(&group->waiters, 0);
}

int torc_wait_group_try_wait(struct torc_wait_group *group)
{
    TORCI_CHECK_HOME(group);
    return group->count ? -EAGAIN : 0;
}

int torc_wait_group_wait(struct torc_wait_group *group)
{
    if (!torc_wait_group_try_wait(group))
        return 0;
    TORC_ASSERT(TORCI_IS_HOME(group));
    return torci_block(&group->waiters, NULL);
}

void torc_gate_init(struct torc_gate *gate)
{
    torci_link_init(&gate->closers);
    gate->home = torci_this;
    gate->inside = 0;
    gate->closed = false;
}

int torc_gate_enter(struct torc_gate *gate)
{
    TORCI_CHECK_HOME(gate);
    if (gate->closed)
        return -ESHUTDOWN;
    gate->inside++;
    return 0;
}

void torc_gate_leave(struct torc_gate *gate)
{
    TORCI_CHECK_HOME(gate);
    TORC_ASSERT(gate->inside > 0);
    if (--gate->inside == 0)
        torci_wait_wake_all(&gate->closers, 0);
}

int torc_gate_try_close(struct torc_gate *gate)
{
    TORCI_CHECK_HOME(gate);
    gate->closed = true;
    return gate->inside ? -EAGAIN : 0;
}

int torc_gate_close(struct torc_gate *gate)
{
    if (!torc_gate_try_close(gate))
        return 0;
    TORC_ASSERT(TORCI_IS_HOME(gate));
    return torci_block(&gate->closers, NULL);
}

bool torc_gate_is_closed(const struct torc_gate *gate)
{
    return gate->closed;
}
