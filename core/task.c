/* SPDX-License-Identifier: MIT
 *
 * Tasks: their birth in a scope, their end, and everything that can interrupt them between the two.
 */
#include "core/task.h"

#include <errno.h>
#include <string.h>

#include "core/exec_internal.h"
#include "core/time.h"

enum {
    FIBER_SLAB_BYTES = 64 * 1024,
    DESTROY_ROUNDS_MAX = 4, /* as POSIX has it for threads */
};

/* A slab's first fiber-sized piece links it to the next slab. */
static int grow_fibers(struct torci_exec *exec)
{
    void *slab = exec->host->map(exec->host->map_context, FIBER_SLAB_BYTES);
    if (!slab)
        return -ENOMEM;
    *(void **)slab = exec->fiber_slabs;
    exec->fiber_slabs = slab;
    struct torci_fiber *fibers = (struct torci_fiber *)slab;
    for (size_t i = FIBER_SLAB_BYTES / sizeof *fibers - 1; i > 0; i--) {
        fibers[i].next_free = exec->free_fibers;
        exec->free_fibers = &fibers[i];
    }
    return 0;
}

void torci_fibers_unmap(struct torci_exec *exec)
{
    while (exec->fiber_slabs) {
        void *slab = exec->fiber_slabs;
        exec->fiber_slabs = *(void **)slab;
        exec->host->unmap(exec->host->map_context, slab, FIBER_SLAB_BYTES);
    }
    exec->free_fibers = NULL;
}

const struct torci_fiber *torci_fibers_next(const struct torci_exec *exec,
                                            const struct torci_fiber *fiber)
{
    const size_t each = FIBER_SLAB_BYTES / sizeof *fiber;
    bool found = fiber == NULL;
    for (void *slab = exec->fiber_slabs; slab; slab = *(void **)slab) {
        const struct torci_fiber *fibers = (const struct torci_fiber *)slab;
        bool here = fiber && fiber > fibers && fiber < fibers + each;
        if (!found && !here)
            continue;
        for (size_t i = found ? 1 : (size_t)(fiber - fibers) + 1; i < each; i++)
            if (fibers[i].fn)
                return &fibers[i];
        found = true;
    }
    return NULL;
}

void torc_scope_init_with(struct torc_scope *scope, const struct torc_scope_options *options)
{
    struct torci_fiber *self = torci_fiber_self();
    torci_link_init(&scope->fibers);
    scope->owner = self;
    scope->joiner = NULL;
    scope->live = 0;
    scope->first_error = 0;
    scope->join_result = 0;
    scope->cancel_on_error = options && options->cancel_on_error;
    scope->cancelled = false;
    self->open_scopes++;
}

void torc_scope_init(struct torc_scope *scope)
{
    torc_scope_init_with(scope, NULL);
}

static void copy_name(struct torci_fiber *fiber, const char *name)
{
    size_t length = 0;
    while (length < TORC_TASK_NAME_MAX && name[length])
        length++;
    memcpy(fiber->name, name, length);
    fiber->name[length] = '\0';
    fiber->named = true;
}

static int choose_stack_class(const struct torci_exec *exec,
                              const struct torc_task_options *options)
{
    return options && options->stack_bytes ? torci_stack_class(options->stack_bytes)
                                           : exec->stack_class;
}

int torci_fiber_spawn(struct torci_exec *exec, struct torc_scope *scope,
                      const struct torc_task_options *options, torc_task_fn *fn, void *arg)
{
    int stack_class = choose_stack_class(exec, options);
    if (TORC_UNLIKELY(stack_class < 0))
        return stack_class;
    struct torc_queue *queue = options && options->queue ? options->queue
                               : exec->current           ? exec->current->queue
                                                         : &exec->root;
    if (TORC_UNLIKELY(queue->members > 0))
        return -EINVAL;
    if (TORC_UNLIKELY(exec->fibers_live >= exec->tasks_max))
        return -EAGAIN;
    if (TORC_UNLIKELY(!exec->free_fibers)) {
        int err = grow_fibers(exec);
        if (err)
            return err;
    }
    if (TORC_UNLIKELY(!queue->ready || queue->tasks > queue->mask)) {
        int err = torci_queue_grow(exec->host, queue);
        if (err)
            return err;
    }
    int err = torci_stacks_reserve(&exec->stacks, (unsigned)stack_class);
    if (TORC_UNLIKELY(err))
        return err;

    struct torci_fiber *fiber = exec->free_fibers;
    exec->free_fibers = fiber->next_free;
    exec->fibers_live++;
    torci_count(&exec->counters->task_spawned);
    torci_count(&exec->counters->task_live);
    queue->tasks++;
    fiber->context.ip = NULL;
    fiber->queue = queue;
    fiber->park = NULL;
    fiber->interrupt = 0;
    fiber->stack_class = (uint8_t)stack_class;
    fiber->cancelled = false;
    fiber->mask_depth = 0;
    fiber->open_scopes = 0;
    fiber->fn = fn;
    fiber->arg = arg;
    fiber->stack = NULL;
    fiber->scope = scope;
    fiber->handle = NULL;
    fiber->deadline = NULL;
    fiber->named = false;
    if (options) {
        if (options->name)
            copy_name(fiber, options->name);
        if (options->task) {
            fiber->handle = options->task;
            options->task->fiber = fiber;
            options->task->result = 0;
            torci_link_init(&options->task->joiners);
        }
    }
    if (scope) {
        torci_list_push_back(&scope->fibers, &fiber->in_scope);
        scope->live++;
    }
    torci_fiber_ready(exec, fiber);
    return 0;
}

int torc_spawn_with(struct torc_scope *scope, const struct torc_task_options *options,
                    torc_task_fn *fn, void *arg)
{
    TORC_ASSERT(scope->owner != NULL); /* joined already */
    if (TORC_UNLIKELY(scope->cancelled))
        return -ECANCELED;
    return torci_fiber_spawn(torci_this, scope, options, fn, arg);
}

int torc_spawn(struct torc_scope *scope, torc_task_fn *fn, void *arg)
{
    return torc_spawn_with(scope, NULL, fn, arg);
}

static void leave_scope(struct torci_fiber *fiber, struct torc_scope *scope, int result)
{
    torci_list_unlink(&fiber->in_scope);
    scope->live--;
    if (TORC_UNLIKELY(result < 0)) {
        if (!scope->first_error)
            scope->first_error = result;
        if (scope->cancel_on_error)
            torc_scope_cancel(scope);
    }
    if (!scope->live && scope->joiner) {
        struct torci_wait *joiner = scope->joiner;
        scope->joiner = NULL; /* it is on its way; a spawn from outside may still come before it */
        torci_wait_wake(joiner, 0);
    }
}

/* Whether there was one. */
static bool destroy_locals_once(struct torci_exec *exec, struct torci_fiber *fiber)
{
    bool some = false;
    for (uint8_t slot = 0; slot < exec->locals_used; slot++) {
        void *value = fiber->locals[slot];
        fiber->locals[slot] = NULL;
        if (value && exec->local_destroy[slot]) {
            exec->local_destroy[slot](value);
            some = true;
        }
    }
    return some;
}

/* A destructor may set slots anew; these are destroyed as well, but not for ever. */
static void destroy_locals(struct torci_exec *exec, struct torci_fiber *fiber)
{
    for (unsigned round = 0; round < DESTROY_ROUNDS_MAX; round++)
        if (!destroy_locals_once(exec, fiber))
            return;
    memset(fiber->locals, 0, sizeof fiber->locals);
}

void torci_fiber_finish(struct torci_exec *exec, struct torci_fiber *fiber, int result)
{
    if (exec->locals_used)
        destroy_locals(exec, fiber);
    TORC_ASSERT(fiber->open_scopes == 0); /* a scope must be joined before its function returns */
    TORC_ASSERT(fiber->deadline == NULL); /* so must a deadline be left */
    TORC_ASSERT(fiber->mask_depth == 0);
    if (fiber->handle) {
        fiber->handle->fiber = NULL;
        fiber->handle->result = result;
        torci_wait_wake_all(&fiber->handle->joiners, result);
    }
    if (fiber->scope)
        leave_scope(fiber, fiber->scope, result);
    fiber->queue->tasks--;
    exec->fibers_live--;
    torci_count_add(&exec->counters->task_live, UINT64_MAX);
    fiber->fn = NULL;
    fiber->next_free = exec->free_fibers;
    exec->free_fibers = fiber;
}

/* A join does not end before its tasks have: being interrupted, it passes the interruption on to them. What they return
 * from then on is the echo of that; the join's result is what was known before. */
static void join_interrupt(struct torci_park *park, int reason)
{
    struct torci_wait *wait = TORC_CONTAINER_OF(park, struct torci_wait, park);
    struct torc_scope *scope = (struct torc_scope *)wait->value;
    scope->join_result = scope->first_error ? scope->first_error : reason;
    torc_scope_cancel(scope);
}

int torc_scope_join(struct torc_scope *scope)
{
    TORC_ASSERT(scope->owner == torci_fiber_self());
    /* Again if something outside of the scope spawned into it between the last task's end and now. */
    while (scope->live) {
        struct torci_wait wait;
        torci_wait_init(&wait);
        wait.park.interrupt = join_interrupt;
        wait.value = scope;
        scope->joiner = &wait;
        (void)torci_wait_park(&wait);
    }
    scope->owner->open_scopes--;
    scope->owner = NULL;
    return scope->join_result ? scope->join_result : scope->first_error;
}

/* A task that is joining passes a cancel on to its own scope, and so down the tree. By a list and not by recursion:
 * scopes nest deeper than a stack has room for calls. */
void torc_scope_cancel(struct torc_scope *scope)
{
    struct torci_exec *exec = torci_this;
    if (scope->cancelled)
        return;
    scope->cancelled = true;
    scope->next_to_cancel = exec->scopes_to_cancel;
    exec->scopes_to_cancel = scope;
    if (exec->cancelling)
        return;
    exec->cancelling = true;
    while ((scope = exec->scopes_to_cancel)) {
        struct torci_link *at;
        exec->scopes_to_cancel = scope->next_to_cancel;
        torci_list_each (at, &scope->fibers)
            torci_fiber_cancel(TORC_CONTAINER_OF(at, struct torci_fiber, in_scope));
    }
    exec->cancelling = false;
}

int torc_task_join(struct torc_task *task)
{
    if (!task->fiber)
        return task->result;
    struct torci_wait wait;
    torci_wait_init(&wait);
    torci_list_push_back(&task->joiners, &wait.link);
    return torci_wait_park(&wait);
}

void torc_task_cancel(struct torc_task *task)
{
    if (task->fiber)
        torci_fiber_cancel(task->fiber);
}

bool torc_task_is_done(const struct torc_task *task)
{
    return !task->fiber;
}

const char *torc_task_name(void)
{
    const struct torci_fiber *self = torci_this ? torci_this->current : NULL;
    return !self ? "loop" : self->named ? self->name : "task";
}

void torc_task_set_name(const char *name)
{
    copy_name(torci_fiber_self(), name);
}

int torc_local_create(struct torc_local *key, void (*destroy)(void *value))
{
    struct torci_exec *exec = torci_this;
    if (exec->locals_used == TORC_LOCALS_MAX)
        return -EAGAIN;
    key->slot = exec->locals_used++;
    exec->local_destroy[key->slot] = destroy;
    return 0;
}

void *torc_local_get(struct torc_local key)
{
    return torci_fiber_self()->locals[key.slot];
}

void torc_local_set(struct torc_local key, void *value)
{
    torci_fiber_self()->locals[key.slot] = value;
}
