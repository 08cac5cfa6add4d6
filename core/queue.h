/* SPDX-License-Identifier: MIT
 *
 * Task queues: how the tasks of one executor share its CPU. Between queues the one with the least weighted CPU time
 * runs next (virtual runtime: time used / shares); inside a queue tasks run in turn. Queues nest: a group's shares are
 * divided among its members, and it has no tasks of its own. A queue that wakes after idling starts level with the
 * others and gets no credit for the time it slept. A latency goal says when, and not how much: it holds among the members
 * of one group, for a queue that has not had more than its share. Owned by one executor; every function on its thread.
 */
#ifndef TORC_CORE_QUEUE_H
#define TORC_CORE_QUEUE_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torci_fiber;

enum { TORC_SHARES_DEFAULT = 100, TORC_SHARES_MAX = 10000 };

struct torc_queue_options {
    const char *name; /* for reports; kept by pointer: a string that outlives the queue */
    uint32_t shares;  /* 1 to TORC_SHARES_MAX; 0: TORC_SHARES_DEFAULT */
    uint64_t
        latency_goal_ns; /* how late its tasks may start while others run; 0: no goal; beyond an hour: none */
    struct torc_queue *parent; /* a group; NULL: beside the executor's own queue */
};

/* Caller's memory; fields are private. */
struct torc_queue {
    /* The ready tasks, a ring with room for all that name the queue. An array and not a list: following a list costs a
     * store-to-load round trip per link in every switch (yield 5.5 -> 3 ns), and an array can be prefetched. */
    struct torci_fiber **ready;
    uint32_t head, tail, mask; /* free running; ready[head & mask] is the oldest */
    struct torc_queue *parent;
    struct torc_queue *first_runnable, *next_runnable; /* the runnable members; my next sibling */
    const char *name;
    uint64_t vruntime; /* ns * TORC_SHARES_DEFAULT / shares */
    uint64_t
        vruntime_min; /* of the runnable members, and never less than before: where a waker starts */
    uint64_t latency_goal_ns;
    uint64_t start_by_ns; /* with a goal, while runnable: when its tasks must have started */
    uint64_t cpu_ns;      /* used so far */
    uint32_t shares;
    uint32_t tasks, members; /* that name it; one of the two is 0 */
    bool runnable;
};

/* OPTIONS may be NULL: all zero. -EINVAL: shares out of range, or a parent that has tasks. The queue must stay where it
 * is until deinit. */
int torc_queue_init(struct torc_queue *queue,
                    const struct torc_queue_options *options) TORC_MUST_CHECK;
/* Gives its memory back. -EBUSY: tasks or member queues still name it. */
int torc_queue_deinit(struct torc_queue *queue) TORC_MUST_CHECK;
/* -EINVAL: out of range; takes effect with the next slice. */
int torc_queue_set_shares(struct torc_queue *queue, uint32_t shares) TORC_MUST_CHECK;
/* CPU time that the queue's tasks, its members' included, have used, in ns. */
uint64_t torc_queue_cpu_ns(const struct torc_queue *queue);

TORC_END_DECLS

#endif
