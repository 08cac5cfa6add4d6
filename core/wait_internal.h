/* SPDX-License-Identifier: MIT
 *
 * How a task blocks, once for all of torc. A wait lies on the parked task's stack and is linked into the FIFO of what
 * the task waits for (a mutex, a channel, nothing at all for a ring operation). It ends in exactly one of two ways:
 *
 *     torci_wait_wake(wait, result)     whoever has what the task waits for hands it over: the wait is unlinked and the
 *                                       task made ready, in one step. From then on an interruption can't take it back,
 *                                       so no value and no permit is lost.
 *     park.interrupt(park, reason)       the task was cancelled or its deadline passed (-ECANCELED, -ETIMEDOUT). The
 *                                       default unlinks and wakes with the reason; a ring operation instead asks the
 *                                       kernel to cancel and lets the completion wake it.
 *
 * A select parks on several waits at once (siblings); the first that is woken unlinks the others.
 */
#ifndef TORC_CORE_WAIT_INTERNAL_H
#define TORC_CORE_WAIT_INTERNAL_H

#include "core/context.h"
#include "core/list.h"
#include "core/park.h"

struct torci_fiber;

struct torci_wait {
    struct torci_park park;
    struct torci_link link;
    void *value; /* for whoever wakes: where to put or find what is handed over */
    /* Of a select: all its waits, the same in each, and, in the first, which one won. Only the first one's park counts. */
    struct torci_wait *siblings;
    uint32_t sibling_count, winner;
};

/* Of the running task; linked nowhere yet. Its interruption is the default: out of the line. */
void torci_wait_init(struct torci_wait *wait);
/* Makes COUNT waits the arms of one select. */
void torci_wait_init_select(struct torci_wait *waits, uint32_t count);

/* What a blocking call of the running task must return at once: 0, -ECANCELED or -ETIMEDOUT. */
int torci_wait_pending(void);

/* Parks the running task until the wait (or a sibling) is woken or interrupted; its result. An interruption that is
 * already pending counts. WAIT must be linked before. */
struct torci_switch torci_wait_begin(struct torci_wait *wait);
static inline int torci_wait_park(struct torci_wait *wait)
{
    struct torci_switch way = torci_wait_begin(wait);
    torci_context_switch(way.from, way.to);
    torci_switch_end();
    return wait->siblings->park.result;
}

/* Hands RESULT to the task behind WAIT and makes it ready. Callable from tasks, completion functions and timers. */
void torci_wait_wake(struct torci_wait *wait, int result);

/* The oldest wait of a FIFO; NULL if empty. It stays linked. */
static inline struct torci_wait *torci_wait_first(const struct torci_link *head)
{
    return torci_list_is_empty(head) ? NULL
                                     : TORC_CONTAINER_OF(head->next, struct torci_wait, link);
}

/* Wakes the oldest wait, if any; whether there was one. */
static inline bool torci_wait_wake_first(struct torci_link *head, int result)
{
    struct torci_wait *first = torci_wait_first(head);
    if (first)
        torci_wait_wake(first, result);
    return first != NULL;
}

/* Wakes all that are linked now. */
static inline void torci_wait_wake_all(struct torci_link *head, int result)
{
    while (torci_wait_wake_first(head, result))
        ;
}

#endif
