/* SPDX-License-Identifier: MIT
 *
 * The executor: everything that a shard's tasks, queues and timers hang off. One a thread in production; torci_this is
 * the only thread-local of the library, so a simulator can run many executors on one thread by swapping it.
 */
#ifndef TORC_CORE_EXEC_INTERNAL_H
#define TORC_CORE_EXEC_INTERNAL_H

#include "core/context.h"
#include "core/counters_internal.h"
#include "core/host_internal.h"
#include "core/park.h"
#include "core/queue.h"
#include "core/stack_internal.h"
#include "core/task.h"
#include "core/wait_internal.h"
#include "core/wheel.h"

/* A live task. The first cache line holds all that a switch touches. */
struct torci_fiber {
    _Alignas(64) struct torci_context context; /* context.ip is NULL until the first run */
    struct torci_fiber *next_free;
    struct torc_queue *queue;
    struct torci_park *park; /* what it is parked on; NULL while ready or running */
    int16_t interrupt;       /* what a blocking call returns now: 0, -ECANCELED, -ETIMEDOUT */
    uint8_t stack_class;
    bool cancelled, named;

    torc_task_fn *fn; /* NULL while the fiber is free */
    void *arg;
    struct torci_stack *stack; /* bound at the first run, given back at the end */
    struct torc_scope *scope;
    struct torci_link in_scope;
    struct torc_task *handle;
    struct torc_deadline *deadline; /* innermost */
    uint32_t mask_depth;
    uint32_t open_scopes;
    void *locals[TORC_LOCALS_MAX];     /* all NULL while the fiber is free */
    char name[TORC_TASK_NAME_MAX + 1]; /* if named */
};
_Static_assert(offsetof(struct torci_fiber, fn) == 64, "the switch touches one line");
_Static_assert(sizeof(struct torci_fiber) <= 256, "a parked task costs a page of stack and this");

struct torci_exec_config {
    uint32_t tasks_max; /* live at the same time; 0: TORCI_TASKS_MAX_DEFAULT */
    size_t stack_bytes; /* default of tasks; 0: TORC_STACK_DEFAULT */
    uint64_t quota_ns;  /* how long tasks run between two looks at the ring; 0: TORCI_QUOTA_NS */
    struct torci_counters *counters; /* zeroed, and the set they are in; NULL: the executor's own */
    const struct torc_counter_set *counter_set;
};

enum {
    TORCI_TASKS_MAX_DEFAULT = 1 << 20,
    TORCI_QUOTA_NS = 500 * 1000,
    TORCI_BURST_NS =
        50 * 1000, /* tasks switch among themselves for this long between two looks at the ring */
    TORCI_BURST_MAX = 4096,
};

struct torci_exec {
    struct torci_fiber *current; /* NULL in the loop */
    struct torc_queue *running;  /* whose slice it is */
    uint32_t budget;             /* switches left before the loop looks up */
    uint32_t budget_cut;         /* how much of it was taken away */
    bool cut;       /* the budget was taken away: it says nothing about the length of a burst */
    uint32_t burst; /* the budget that a slice starts with: about TORCI_BURST_NS worth */
    uint64_t slice_end_ns;
    const uint32_t *kernel_flags; /* any of kernel_flags_mask set: the kernel has work for us */
    uint32_t kernel_flags_mask;
    uint32_t spinning; /* precise timers that are due soon: the loop must not sleep */
    struct torci_context loop;
    struct torc_queue top;  /* the group that all queues are members of in the end */
    struct torc_queue root; /* the queue of tasks that name none */

    struct torci_counters *counters;
    const struct torc_counter_set *counter_set;
    const struct torci_host *host;
    struct torci_wheel wheel;
    struct torci_stacks stacks;
    struct torci_fiber *free_fibers;
    void *fiber_slabs;
    uint32_t fibers_live, tasks_max;
    struct torc_scope *scopes_to_cancel;
    bool cancelling; /* somebody up the stack is at it */
    uint8_t stack_class;
    uint8_t locals_used;
    void (*local_destroy[TORC_LOCALS_MAX])(void *);
    uint64_t quota_ns;
    uint64_t now_ns; /* read once a turn of the loop */
    uint64_t gauges_due_ns;
    uint64_t *idle_ns; /* the counter that the driver's waiting is added to: it says what it does */
    uint64_t wake_lag_ns;  /* how late the machine wakes a sleeper, the recent worst */
    uint64_t select_state; /* of the generator that says where a select looks first */
    struct torc_task main;
    int driver_error; /* what ended the executor before its tasks had ended; 0: nothing did */
    void *owner;      /* the room above: its own state of this executor */

    /* The sanitizers' idea of the loop's stack. */
    const void *loop_stack_low;
    size_t loop_stack_size;
    void *loop_sanitizer_fiber, *loop_save;

    struct torci_counters own_counters; /* where nobody else has any for us */
    struct torc_counter_set own_counter_set;
};

/* initial-exec: one load, where position-independent code by default makes a call. */
#define TORCI_TLS __attribute__((tls_model("initial-exec")))
extern TORCI_TLS _Thread_local struct torci_exec *torci_this;

/* HOST must outlive the executor. -ENOMEM, -EINVAL. */
int torci_exec_init(struct torci_exec *exec, const struct torci_host *host,
                    const struct torci_exec_config *config) TORC_MUST_CHECK;
/* After torci_exec_run has returned. */
void torci_exec_deinit(struct torci_exec *exec);

/* Runs MAIN(ARG) as the first task, on the calling thread, and returns its result when it, and so every task under it,
 * has ended; a negative errno if it could not be started or the driver failed. */
int torci_exec_run(struct torci_exec *exec, torc_task_fn *main, void *arg) TORC_MUST_CHECK;

/* Asks the main task to end. */
void torci_exec_cancel_main(struct torci_exec *exec);

/* From the loop: runs the oldest ready task of QUEUE, and those after it, until the slice is over. */
void torci_switch_to_tasks(struct torci_exec *exec, struct torc_queue *queue);
/* The running task's result is RESULT: settles with its scope and handle. In task.c; the fiber is free afterwards. */
void torci_fiber_finish(struct torci_exec *exec, struct torci_fiber *fiber, int result);
/* Sets what the fiber's blocking calls return, from its cancelled flag and deadlines, and ends the one it is in. */
void torci_fiber_refresh(struct torci_fiber *fiber);
void torci_fiber_cancel(struct torci_fiber *fiber);

/* The live task after FIBER, in no particular order; NULL is before the first and after the last. */
const struct torci_fiber *torci_fibers_next(const struct torci_exec *exec,
                                            const struct torci_fiber *fiber);
/* Gives all fibers' memory back. */
void torci_fibers_unmap(struct torci_exec *exec);

/* A fiber without a scope: the main task. As torc_spawn_with. */
int torci_fiber_spawn(struct torci_exec *exec, struct torc_scope *scope,
                      const struct torc_task_options *options, torc_task_fn *fn,
                      void *arg) TORC_MUST_CHECK;

/* Makes QUEUE, and the groups it is in, runnable. */
void torci_queue_activate(struct torci_exec *exec, struct torc_queue *queue);
/* The runnable queue whose turn it is; NULL if there is none. */
struct torc_queue *torci_queue_pick(struct torci_exec *exec);
/* When other queues want the CPU back at the latest, for a slice of QUEUE that begins now. */
uint64_t torci_queue_slice_end(const struct torci_exec *exec, const struct torc_queue *queue);
/* QUEUE has run for USED_NS; it leaves the runnable ones if it has no task. */
void torci_queue_charge(struct torci_exec *exec, struct torc_queue *queue, uint64_t used_ns);
bool torci_queue_check(const struct torc_queue *group);

static inline bool torci_queue_is_empty(const struct torc_queue *queue)
{
    return queue->head == queue->tail;
}

static inline void torci_queue_push(struct torc_queue *queue, struct torci_fiber *fiber)
{
    queue->ready[queue->tail++ & queue->mask] = fiber;
}

/* The oldest ready task; there must be one. */
static inline struct torci_fiber *torci_queue_pop(struct torc_queue *queue)
{
    return queue->ready[queue->head++ & queue->mask];
}

/* One task more will name QUEUE: room for it. -ENOMEM. */
int torci_queue_grow(const struct torci_host *host, struct torc_queue *queue) TORC_MUST_CHECK;
void torci_queue_free(const struct torci_host *host, struct torc_queue *queue);

static inline void torci_fiber_ready(struct torci_exec *exec, struct torci_fiber *fiber)
{
    struct torc_queue *queue = fiber->queue;
    torci_queue_push(queue, fiber);
    if (TORC_UNLIKELY(!queue->runnable))
        torci_queue_activate(exec, queue);
}

/* The end of a wait that stands in no line (any more): its task is ready, and nothing can interrupt it now. */
static inline void torci_park_finish(struct torci_exec *exec, struct torci_park *park, int result)
{
    struct torci_fiber *fiber = park->fiber;
    TORC_ASSERT(fiber->park == park); /* parked, and not woken twice */
    park->result = result;
    fiber->park = NULL;
    torci_fiber_ready(exec, fiber);
}

/* The loop comes next, whoever is ready. */
static inline void torci_exec_end_slice(struct torci_exec *exec)
{
    exec->budget_cut += exec->budget;
    exec->budget = 0;
    exec->cut = true;
}

/* The running task of this thread's executor; there must be one: only tasks block. */
static inline struct torci_fiber *torci_fiber_self(void)
{
    TORC_ASSERT(torci_this != NULL && torci_this->current != NULL);
    return torci_this->current;
}

static inline uint64_t torci_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
#error "torc runs on x86-64 and aarch64"
#endif
}

/* Now, in ns of the host's monotonic clock. */
static inline uint64_t torci_host_now_ns(const struct torci_host *host)
{
    if (TORC_UNLIKELY(!host->tick_mult))
        return host->now_ns(host->context) + host->tick_base_ns;
    __extension__ typedef unsigned __int128 wide;
    return host->tick_base_ns +
           (uint64_t)(((wide)(torci_ticks() - host->tick_base) * host->tick_mult) >>
                      host->tick_shift);
}

/* Whoever finds the fault address inside a guard page: the task it belongs to, or NULL. Async-signal-safe. */
const struct torci_fiber *torci_exec_find_overflow(const struct torci_exec *exec,
                                                   const void *address);

#endif
