/* SPDX-License-Identifier: MIT
 *
 * The way out of a task, for the functions that a switch stands between: switch.c, and the wait for a ring operation,
 * which happens so often that a call more counts.
 */
#ifndef TORC_CORE_SWITCH_INTERNAL_H
#define TORC_CORE_SWITCH_INTERNAL_H

#include "core/exec_internal.h"
#include "core/sanitizer_internal.h"

/* Gives a task that has not run yet its stack. */
void torci_bind_stack(struct torci_exec *exec, struct torci_fiber *fiber);

/* The oldest ready task; a fiber further down the line is fetched into the cache meanwhile. (Fetching their frames, too,
 * costs more than it saves.) */
TORCI_SWITCH_INLINE struct torci_fiber *torci_take_first(struct torc_queue *queue)
{
    uint32_t head = queue->head++;
    __builtin_prefetch(queue->ready[(head + 3) & queue->mask]);
    return queue->ready[head & queue->mask];
}

/* Makes the next task of the queue the running one, or nobody if it is the loop's turn. */
TORCI_SWITCH_INLINE struct torci_fiber *torci_choose_next(struct torci_exec *exec,
                                                          struct torc_queue *queue)
{
    struct torci_fiber *next = NULL;
    if (TORC_LIKELY(!torci_queue_is_empty(queue) && exec->budget)) {
        exec->budget--;
        next = torci_take_first(queue);
    }
    exec->current = next;
    return next;
}

/* Where NEXT, which may be the loop, goes on. */
TORCI_SWITCH_INLINE struct torci_context *torci_context_of(struct torci_exec *exec,
                                                           struct torci_fiber *next)
{
    if (TORC_UNLIKELY(!next))
        return &exec->loop;
    if (TORC_UNLIKELY(!next->context.ip))
        torci_bind_stack(exec, next);
    return &next->context;
}

/* SELF is in nobody's way any more: where to go. TSan's idea of where we are changes here: a function that returns after
 * this must not be instrumented. */
TORCI_SWITCH_INLINE struct torci_context *torci_way_out(struct torci_exec *exec,
                                                        struct torci_fiber *self)
{
    struct torci_fiber *next = torci_choose_next(exec, exec->running);
    struct torci_context *to = torci_context_of(exec, next);
    torci_sanitizer_leave(exec, next, &self->stack->sanitizer_save);
    return to;
}

/* Parks the running task until torci_park_finish. An interruption that is already pending counts. The switch is the
 * caller's. */
TORCI_SWITCH_INLINE struct torci_switch torci_park_begin(struct torci_exec *exec,
                                                         struct torci_park *park)
{
    struct torci_fiber *self = park->fiber;
    TORC_DEBUG_ASSERT(self == exec->current && !self->park);
    self->park = park;
    if (TORC_UNLIKELY(self->interrupt != 0))
        torci_fiber_refresh(self); /* may make us ready at once */
    return (struct torci_switch){&self->context, torci_way_out(exec, self)};
}

#endif
