/* SPDX-License-Identifier: MIT
 *
 * Waiting for a moment: events, wait groups, gates. Caller's memory, initialised once; there is nothing to release, and
 * the memory may go when no task waits on it. Waiters are served in the order they came.
 *
 * What blocks is called in a task and ends with -ECANCELED or -ETIMEDOUT when the task is interrupted before it was
 * served; the rest may be called from completion functions and timers too. Nothing here allocates or calls back.
 * Shard rule: on the thread of the executor that the object was initialised on.
 */
#ifndef TORC_CORE_EVENT_H
#define TORC_CORE_EVENT_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;

/* An event is set or not. A plain one stays set until it is reset and lets everybody through; one with auto-reset lets
 * exactly one wait through for each time it goes from unset to set. Fields are private. */
struct torc_event {
    struct torci_link waiters;
    struct torci_exec *home;
    bool is_set, auto_reset;
};

/* Not set. */
void torc_event_init(struct torc_event *event);
void torc_event_init_auto(struct torc_event *event);
/* Lets all that wait now through, and those who come before the next reset. With auto-reset: the oldest waiter, or, if
 * nobody waits, the next to come; setting it twice before that is setting it once. */
void torc_event_set(struct torc_event *event);
/* Whoever was let through before stays so. */
void torc_event_reset(struct torc_event *event);
bool torc_event_is_set(const struct torc_event *event);
/* Blocks until the event is set. 0, -ECANCELED, -ETIMEDOUT. */
int torc_event_wait(struct torc_event *event) TORC_MUST_CHECK;
/* 0 or -EAGAIN: not set. */
int torc_event_try_wait(struct torc_event *event) TORC_MUST_CHECK;
/* A case that stands for torc_event_wait. */
struct torc_case torc_event_case(struct torc_event *event);

/* Counts work that is under way; waiters go on when none is left. May be used again after that. Fields are private. */
struct torc_wait_group {
    struct torci_link waiters;
    struct torci_exec *home;
    uint64_t count;
};

/* No work. */
void torc_wait_group_init(struct torc_wait_group *group);
/* COUNT pieces more. */
void torc_wait_group_add(struct torc_wait_group *group, uint64_t count);
/* One piece less; there must have been one. The last lets all waiters go on. */
void torc_wait_group_done(struct torc_wait_group *group);
/* Blocks until the count has been 0. 0, -ECANCELED, -ETIMEDOUT. */
int torc_wait_group_wait(struct torc_wait_group *group) TORC_MUST_CHECK;
/* 0 or -EAGAIN: work is left. */
int torc_wait_group_try_wait(struct torc_wait_group *group) TORC_MUST_CHECK;

/* Who uses a resource enters and leaves; who takes it down closes the gate and waits until everybody is out. Fields are
 * private. */
struct torc_gate {
    struct torci_link closers;
    struct torci_exec *home;
    uint64_t inside;
    bool closed;
};

/* Open, nobody inside. */
void torc_gate_init(struct torc_gate *gate);
/* 0: the caller is inside and owes a leave. -ESHUTDOWN: the gate is closed or closing; nothing is owed. Never blocks. */
int torc_gate_enter(struct torc_gate *gate) TORC_MUST_CHECK;
/* Pays for one enter; any task may do it. */
void torc_gate_leave(struct torc_gate *gate);
/* Shuts the gate, for good, and blocks until all have left. May be called by several, and again. 0; -ECANCELED,
 * -ETIMEDOUT: the gate is shut but somebody is still inside. */
int torc_gate_close(struct torc_gate *gate) TORC_MUST_CHECK;
/* The same without the wait. 0 or -EAGAIN: shut, but somebody is still inside. */
int torc_gate_try_close(struct torc_gate *gate) TORC_MUST_CHECK;
bool torc_gate_is_closed(const struct torc_gate *gate);

TORC_END_DECLS

#endif
