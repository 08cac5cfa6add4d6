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
#include "core/exec_internal.h"
#include "core/sanitizer_internal.h"

TORCI_TLS _Thread_local struct torci_exec *torci_this;

/* The oldest ready task. A thousand of them are not in the first-level cache: fetch those after it while we are busy
 * leaving, the fiber first and its frame a switch later. */
static inline struct torci_fiber *take_first(struct torc_queue *queue)
{
    uint32_t head = queue->head++;
    __builtin_prefetch(queue->ready[(head + 3) & queue->mask]);
    __builtin_prefetch(queue->ready[(head + 1) & queue->mask]->context.sp);
    return queue->ready[head & queue->mask];
}

static void fiber_entry(void);

static __attribute__((noinline)) void bind_stack(struct torci_exec *exec, struct torci_fiber *fiber)
{
    fiber->stack = torci_stacks_take(&exec->stacks, fiber->stack_class);
    fiber->stack->fiber = fiber;
    torci_context_make(&fiber->context, fiber->stack->top, fiber_entry);
}

/* Makes the next task of the queue the running one, or nobody if it is the loop's turn. Where to go. */
static inline struct torci_context *choose_next(struct torci_exec *exec, struct torc_queue *queue)
{
    if (TORC_UNLIKELY(torci_queue_is_empty(queue) || !exec->budget)) {
        exec->current = NULL;
        return &exec->loop;
    }
    exec->budget--;
    struct torci_fiber *next = take_first(queue);
    exec->current = next;
    return &next->context;
}

TORCI_SWITCH_INLINE struct torci_switch way_out(struct torci_exec *exec, struct torci_fiber *self,
                                                struct torc_queue *queue)
{
    struct torci_context *to = choose_next(exec, queue);
    if (TORC_UNLIKELY(!to->ip))
        bind_stack(exec, exec->current);
    torci_sanitizer_leave(exec, exec->current, &self->stack->sanitizer_save);
    return (struct torci_switch){&self->context, to};
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
        struct torci_context *to = choose_next(exec, exec->running);
        struct torci_fiber *next = exec->current;
        if (!to->ip && next->stack_class == stack->stack_class) {
            exec->stacks.reserved[stack->stack_class]--;
            next->stack = stack;
            stack->fiber = next;
            to->ip = stack; /* has begun; its first switch writes the truth */
            continue;
        }
        torci_stacks_put(&exec->stacks, stack);
        if (!to->ip)
            bind_stack(exec, next);
        torci_sanitizer_leave(exec, next, NULL);
        struct torci_context gone;
        torci_context_switch(&gone, to);
        __builtin_unreachable();
    }
}

TORCI_NO_TSAN struct torci_switch torci_yield_begin(void)
{
    struct torci_fiber *self = torci_fiber_self();
    struct torci_exec *exec = torci_this;
    struct torc_queue *queue = exec->running;
    torci_queue_push(queue, self); /* alone, we are our own successor */
    return way_out(exec, self, queue);
}

void torc_task_yield(void)
{
    torc_yield();
}

TORCI_NO_TSAN struct torci_switch torci_wait_begin(struct torci_wait *wait)
{
    struct torci_exec *exec = torci_this;
    struct torci_fiber *self = exec->current;
    TORC_ASSERT(wait->fiber == self && !self->wait);
    self->wait = wait->siblings;
    if (TORC_UNLIKELY(self->interrupt != 0))
        torci_fiber_refresh(self); /* may make us ready at once */
    return way_out(exec, self, exec->running);
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
    exec->cut = false;
    struct torci_context *to = choose_next(exec, queue);
    if (!to->ip)
        bind_stack(exec, exec->current);
    torci_sanitizer_leave(exec, exec->current, &exec->loop_save);
    torci_context_switch(&exec->loop, to);
    torci_switch_end();
    exec->running = NULL;
}
