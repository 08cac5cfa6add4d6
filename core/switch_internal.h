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
static inline struct torci_fiber *torci_take_first(struct torc_queue *queue)
{
    uint32_t head = queue->head++;
    __builtin_prefetch(queue->ready[(head + 3) & queue->mask]);
    return queue->ready[head & queue->mask];
}

/* Makes the next task of the queue the running one, or nobody if it is the loop's turn. Where to go. */
static inline struct torci_context *torci_choose_next(struct torci_exec *exec,
                                                      struct torc_queue *queue)
{
    if (TORC_UNLIKELY(torci_queue_is_empty(queue) || !exec->budget)) {
        exec->current = NULL;
        return &exec->loop;
    }
    exec->budget--;
    struct torci_fiber *next = torci_take_first(queue);
    exec->current = next;
    return &next->context;
}

/* SELF is in nobody's way any more: where to go. TSan's idea of where we are changes here: a function that returns after
 * this must not be instrumented. */
static inline __attribute__((always_inline)) struct torci_context *
torci_way_out(struct torci_exec *exec, struct torci_fiber *self)
{
    struct torci_context *to = torci_choose_next(exec, exec->running);
    if (TORC_UNLIKELY(!to->ip))
        torci_bind_stack(exec, exec->current);
    torci_sanitizer_leave(exec, exec->current, &self->stack->sanitizer_save);
    return to;
}

/* Parks the running task, which is not interrupted yet, until torci_park_finish. The switch is the caller's. */
static inline __attribute__((always_inline)) struct torci_switch
torci_park_begin(struct torci_exec *exec, struct torci_park *park)
{
    struct torci_fiber *self = park->fiber;
    TORC_DEBUG_ASSERT(self == exec->current && !self->park && !self->interrupt);
    self->park = park;
    return (struct torci_switch){&self->context, torci_way_out(exec, self)};
}

#endif
