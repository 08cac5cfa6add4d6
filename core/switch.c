/* SPDX-License-Identifier: MIT
 *
 * Every place where one stack is left for another, and nothing else: see core/context_internal.h for why these
 * functions must stay opaque to their callers. No static variables in this file.
 *
 * Tasks of one queue switch to each other directly; they go through the loop when the queue is empty, the slice's
 * budget is used up, or the next task belongs to another queue.
 */
#include "core/exec_internal.h"
#include "core/sanitizer_internal.h"

#if defined(__GNUC__) && !defined(__clang__)
#define OPAQUE __attribute__((noipa))
#else
#define OPAQUE __attribute__((noinline))
#endif

_Thread_local struct torci_exec *torci_this;

/* Goes from one context to another; TO_STACK is NULL for the loop. Returns when somebody switches back. */
static inline __attribute__((always_inline)) void go(struct torci_exec *exec,
                                                     struct torci_context *from,
                                                     struct torci_context *to,
                                                     struct torci_stack *to_stack)
{
    void *save = NULL;
    torci_sanitizer_leave(exec, to_stack, &save);
    torci_context_switch(from, to);
    torci_sanitizer_arrive(exec, save);
}

static inline struct torci_fiber *take_first(struct torc_queue *queue)
{
    struct torci_fiber *first = queue->head;
    queue->head = first->next_ready;
    /* its saved registers, while we are busy leaving: a queue of a thousand tasks is not in the first-level cache */
    __builtin_prefetch(queue->head);
    return first;
}

static void fiber_entry(void);

static __attribute__((noinline, cold)) void bind_stack(struct torci_exec *exec,
                                                       struct torci_fiber *fiber)
{
    fiber->stack = torci_stacks_take(&exec->stacks, fiber->stack_class);
    fiber->stack->fiber = fiber;
    torci_context_make(&fiber->context, fiber->stack->top, fiber_entry);
}

static inline __attribute__((always_inline)) void
go_to_fiber(struct torci_exec *exec, struct torci_context *from, struct torci_fiber *fiber)
{
    exec->current = fiber;
    if (TORC_UNLIKELY(!fiber->context.ip))
        bind_stack(exec, fiber);
    go(exec, from, &fiber->context, fiber->stack);
}

/* The outermost frame of every task. When a task ends and the next one has not begun yet, that one begins right here,
 * on the stack that is still warm. */
static TORCI_NO_TSAN void fiber_entry(void)
{
    struct torci_exec *exec = torci_this;
    torci_sanitizer_arrive(exec, NULL);
    for (;;) {
        struct torci_fiber *fiber = exec->current;
        struct torci_stack *stack = fiber->stack;
        torci_fiber_finish(exec, fiber, fiber->fn(fiber->arg));
        struct torci_fiber *next = NULL;
        if (exec->running->head && exec->budget) {
            exec->budget--;
            next = take_first(exec->running);
        }
        if (next && !next->context.ip && next->stack_class == stack->stack_class) {
            exec->stacks.reserved[stack->stack_class]--;
            exec->stacks.free_count[stack->stack_class]--;
            next->stack = stack;
            stack->fiber = next;
            next->context.ip = stack; /* begun; overwritten by its first switch */
            exec->current = next;
            continue;
        }
        struct torci_context gone;
        torci_stacks_put(&exec->stacks, stack);
        if (next) {
            exec->current = next;
            if (!next->context.ip)
                bind_stack(exec, next);
        } else {
            exec->current = NULL;
        }
        torci_sanitizer_leave(exec, next ? next->stack : NULL, NULL);
        torci_context_switch(&gone, next ? &next->context : &exec->loop);
        __builtin_unreachable();
    }
}

OPAQUE void torci_switch_away(void)
{
    struct torci_exec *exec = torci_this;
    struct torci_fiber *self = exec->current;
    struct torc_queue *queue = exec->running;
    if (TORC_LIKELY(queue->head && exec->budget)) {
        exec->budget--;
        go_to_fiber(exec, &self->context, take_first(queue));
    } else {
        exec->current = NULL;
        go(exec, &self->context, &exec->loop, NULL);
    }
}

OPAQUE void torc_yield(void)
{
    struct torci_exec *exec = torci_this;
    struct torci_fiber *self = exec->current;
    struct torc_queue *queue = exec->running;
    if (TORC_LIKELY(exec->budget)) {
        exec->budget--;
        if (!queue->head)
            return; /* alone; the budget sees to it that the ring is looked at */
        self->next_ready = NULL;
        queue->tail->next_ready = self;
        queue->tail = self;
        go_to_fiber(exec, &self->context, take_first(queue));
    } else {
        torci_fiber_ready(exec, self);
        exec->current = NULL;
        go(exec, &self->context, &exec->loop, NULL);
    }
}

OPAQUE void torci_switch_to_tasks(struct torci_exec *exec, struct torc_queue *queue)
{
    exec->running = queue;
    exec->budget = exec->burst;
    go_to_fiber(exec, &exec->loop, take_first(queue));
    exec->running = NULL;
}
