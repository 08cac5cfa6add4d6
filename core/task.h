/* SPDX-License-Identifier: MIT
 *
 * Tasks and the scopes that own them. A task is a function with a stack of its own that runs on one executor from its
 * first instruction to its last; it gives up the CPU only inside a torc call that says so. A scope owns the tasks that
 * were spawned into it and can't be left before they have ended: no task outlives what it uses.
 *
 *     struct torc_scope all;
 *     torc_scope_init(&all);
 *     err = torc_spawn(&all, reader, &job);
 *     failed = torc_scope_join(&all);
 *
 * Cancellation and deadlines end whatever a task blocks in: the call returns -ECANCELED or -ETIMEDOUT, and so does
 * every later call that would block, until the deadline's section is left or the task has ended. A call that had
 * already got its result when the interruption came returns that result: nothing is lost. No interrupted call returns
 * before the kernel has let go of the caller's buffers.
 *
 * Shard rule: every function here is called on the executor's own thread; those that say "in a task" from a task, the
 * others also from a completion function. All structs are the caller's memory and stay where they are while in use.
 */
#ifndef TORC_CORE_TASK_H
#define TORC_CORE_TASK_H

#include "core/base.h"
#include "core/context.h"
#include "core/list.h"
#include "core/wheel.h"

TORC_BEGIN_DECLS

/* What a task runs. Its result is an int of the caller's meaning, where negative is a failure (a negative errno). */
typedef int torc_task_fn(void *arg);

enum {
    TORC_TASK_NAME_MAX = 31, /* longer names are cut */
    TORC_LOCALS_MAX = 8,     /* task-local slots an executor */
    TORC_STACK_DEFAULT = 64 * 1024,
};

struct torci_fiber;
struct torc_queue;

struct torc_scope_options {
    bool cancel_on_error; /* the first task that returns a negative result cancels the rest */
};

/* Fields are private. */
struct torc_scope {
    struct torci_link fibers; /* those alive */
    struct torci_fiber *owner;
    struct torci_wait *joiner;
    struct torc_scope *next_to_cancel;
    uint32_t live;
    int first_error;
    int join_result; /* once the join was interrupted */
    bool cancel_on_error, cancelled;
};

/* A handle on one task, for who wants its result or to cancel it alone. Caller's memory, which the spawn fills in and
 * which must stay until the task has ended. Fields are private. */
struct torc_task {
    struct torci_fiber *fiber; /* NULL once ended */
    struct torci_link joiners;
    int result;
};

struct torc_task_options {
    const char *name; /* for reports; copied; NULL: "task" */
    size_t
        stack_bytes; /* 0: the executor's default; rounded up to a power of two, at most 16 MiB */
    struct torc_queue *queue; /* NULL: the spawner's */
    struct torc_task *task;   /* NULL: nobody asks for this one */
};

/* Opens a scope owned by the running task. It must be joined, whatever happens, before its memory goes. In a task. */
void torc_scope_init(struct torc_scope *scope);
/* The same with options; NULL is all zero. */
void torc_scope_init_with(struct torc_scope *scope, const struct torc_scope_options *options);

/* Starts FN(ARG) as a task of SCOPE: it is queued behind the tasks that are ready, FN is not entered yet. ARG stays the
 * caller's and must live until the task has ended. Does not block; does not allocate once as many tasks have lived at
 * the same time before.
 * 0; -EAGAIN: the executor's limit of tasks is reached; -ENOMEM: no memory for a stack; -ECANCELED: the scope was
 * cancelled; -EINVAL: a stack size beyond 16 MiB, a queue that is a group. On error nothing was started. */
int torc_spawn(struct torc_scope *scope, torc_task_fn *fn, void *arg) TORC_MUST_CHECK;
int torc_spawn_with(struct torc_scope *scope, const struct torc_task_options *options,
                    torc_task_fn *fn, void *arg) TORC_MUST_CHECK;

/* Waits until every task of SCOPE has ended and closes it. In a task, the scope's owner.
 * 0, or the first negative result of a task. If the caller is cancelled or its deadline passes meanwhile, the scope is
 * cancelled, the wait goes on until the last task has ended, and -ECANCELED or -ETIMEDOUT is returned (or the failure
 * that came before it). */
int torc_scope_join(struct torc_scope *scope) TORC_MUST_CHECK;
/* Cancels every task of SCOPE; later spawns into it fail with -ECANCELED. Does not wait. */
void torc_scope_cancel(struct torc_scope *scope);

/* Waits for one task and returns its result. -ECANCELED, -ETIMEDOUT: the caller was interrupted; the task goes on. The
 * task's own scope must still be joined. In a task. */
int torc_task_join(struct torc_task *task) TORC_MUST_CHECK;
/* Asks one task to end; harmless when it has ended. */
void torc_task_cancel(struct torc_task *task);
bool torc_task_is_done(const struct torc_task *task);

/* Lets the other ready tasks of the queue run before the caller goes on. In a task. Not a cancellation point. */
static inline void torc_yield(void);
/* The same as a symbol of the library, for languages that can't use inline functions. */
void torc_task_yield(void);
/* True when the running task has used up its quota or the kernel has events waiting: a long computation asks every few
 * microseconds and yields. Costs a clock read and a load. */
bool torc_should_yield(void);
/* 0, or what a blocking call would return right now: -ECANCELED or -ETIMEDOUT. Inside a deadline it reads the clock, so
 * that a long computation which does not yield sees it pass. In a task. */
int torc_task_check(void) TORC_MUST_CHECK;

/* The running task's name; "loop" outside of any. The pointer is good until the task ends or is renamed. */
const char *torc_task_name(void);
void torc_task_set_name(const char *name);

/* The most bytes of a stack that any task of this executor has used so far, to the word. Looks through all stacks: for
 * tests, and to choose torc_config.stack_bytes. */
size_t torc_stack_high_water(void);

/* Task-local slots: a key is good on every task of this executor; a task starts with NULL in each. */
struct torc_local {
    uint8_t slot;
};
/* Takes a slot for the executor's life. DESTROY, if not NULL, gets each task's non-NULL value when that task ends, with
 * the slot NULL again; it must not block. What it sets in other slots or its own is destroyed too, in up to four rounds.
 * -EAGAIN: all TORC_LOCALS_MAX are taken. */
int torc_local_create(struct torc_local *key, void (*destroy)(void *value)) TORC_MUST_CHECK;
void *torc_local_get(struct torc_local key);
void torc_local_set(struct torc_local key, void *value);

/* A section of the running task with a time limit. Sections nest; the nearest limit wins. Fields are private. */
struct torc_deadline {
    struct torci_timer timer;
    struct torci_fiber *fiber;
    struct torc_deadline *outer;
    uint64_t when_ns;
    uint32_t mask_depth;
    bool expired;
};
/* From here on, what blocks ends with -ETIMEDOUT once TIMEOUT_NS have passed. In a task; never fails. */
void torc_deadline_enter(struct torc_deadline *deadline, uint64_t timeout_ns);
/* The same for a moment of torc_now_ns(). */
void torc_deadline_enter_at(struct torc_deadline *deadline, uint64_t when_ns);
/* Ends the section, innermost first. True if its limit, or a nearer one around it, has passed. */
bool torc_deadline_leave(struct torc_deadline *deadline);

/* A section in which the running task can't be interrupted from outside: for cleaning up. A cancel, or the end of a
 * deadline that began outside, is kept and takes effect when the section ends; deadlines entered inside work. Sections
 * nest. */
struct torc_mask {
    struct torci_fiber *fiber;
};
void torc_mask_enter(struct torc_mask *mask);
void torc_mask_leave(struct torc_mask *mask);

struct torci_switch torci_yield_begin(void);
static inline void torc_yield(void)
{
    struct torci_switch way = torci_yield_begin();
    torci_context_switch(way.from, way.to);
    torci_switch_end();
}

TORC_END_DECLS

#endif
