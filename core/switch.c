/* SPDX-License-Identifier: MIT
 *
 * Where one stack is left for another: who comes next, and the first and last frame of every task. core/context.h says
 * why these functions must stay opaque to their callers: no LTO for this object.
 *
 * Tasks of one queue switch to each other directly; they go through the loop when the queue is empty, the slice's
 * budget is used up, or the next task belongs to another queue.
 *
 * TSan's idea of which stack we are on changes inside most of these functions: see TORCI_NO_TSAN.
 */
#include "core/switch_internal.h"

TORCI_TLS _Thread_local struct torci_exec *torci_this;

static void fiber_entry(void);

__attribute__((noinline)) void torci_bind_stack(struct torci_exec *exec, struct torci_fiber *fiber)
{
    fiber->stack = torci_stacks_take(&exec->stacks, fiber->stack_class);
    fiber->stack->fiber = fiber;
    torci_context_make(&fiber->context, fiber->stack->top, fiber_entry);
}

/* The outermost frame of every task. When a task ends and the next one has not begun yet, that one begins right here,
 * on the stack that is still warm. */
static TORCI_NO_TSAN void fiber_entry(void)
{
    struct torci_exec *exec = torci_this;
    torci_sanitizer_arrive(exec, exec->current, true);
    for (;;) {
        struct torci_fiber *fiber = exec->current;
        struct torci_stack *stack = fiber->stack;
        torci_fiber_finish(exec, fiber, fiber->fn(fiber->arg));
        struct torci_fiber *next = torci_choose_next(exec, exec->running);
        if (next && !next->context.ip && next->stack_class == stack->stack_class) {
            exec->stacks.reserved[stack->stack_class]--;
            next->stack = stack;
            stack->fiber = next;
            next->context.ip = stack; /* has begun; its first switch writes the truth */
            continue;
        }
        torci_stacks_put(&exec->stacks, stack);
        struct torci_context *to = torci_context_of(exec, next), gone;
        torci_sanitizer_leave(exec, next, NULL);
        torci_context_switch(&gone, to);
        __builtin_unreachable();
    }
}

TORCI_NO_TSAN struct torci_switch torci_yield_begin(void)
{
    struct torci_fiber *self = torci_fiber_self();
    struct torci_exec *exec = torci_this;
    torci_queue_push(exec->running, self); /* alone, we are our own successor */
    return (struct torci_switch){&self->context, torci_way_out(exec, self)};
}

void torc_task_yield(void)
{
    torc_yield();
}

TORCI_NO_TSAN struct torci_switch torci_wait_begin(struct torci_wait *wait)
{
    struct torci_exec *exec = torci_this;
    struct torci_park *park = &wait->siblings->park;
    TORC_ASSERT(park->fiber == exec->current && !exec->current->park);
    return torci_park_begin(exec, park);
}

TORCI_NO_TSAN void torci_switch_end(void)
{
    struct torci_exec *exec = torci_this;
    torci_sanitizer_arrive(exec, exec->current, false);
}

TORCI_NO_TSAN void torci_switch_to_tasks(struct torci_exec *exec, struct torc_queue *queue)
{
    exec->running = queue;
    exec->budget = exec->burst;
    exec->budget_cut = 0;
    exec->cut = false;
    struct torci_fiber *next = torci_choose_next(exec, queue);
    struct torci_context *to = torci_context_of(exec, next);
    torci_sanitizer_leave(exec, next, &exec->loop_save);
    torci_context_switch(&exec->loop, to);
    torci_switch_end();
    exec->running = NULL;
}
