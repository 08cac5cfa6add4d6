/* SPDX-License-Identifier: MIT
 *
 * The executor: everything that a shard's tasks, queues and timers hang off. One a thread in production; torci_this is
 * the only thread-local of the library, so a simulator can run many executors on one thread by swapping it.
 */
#ifndef TORC_CORE_EXEC_INTERNAL_H
#define TORC_CORE_EXEC_INTERNAL_H

#include "core/context_internal.h"
#include "core/host_internal.h"
#include "core/queue.h"
#include "core/stack_internal.h"
#include "core/task.h"
#include "core/wait_internal.h"
#include "core/wheel.h"

/* A live task. The first cache line holds all that a switch touches. */
struct torci_fiber {
    struct torci_context context; /* context.ip is NULL until the first run */
    struct torci_fiber *next_ready;
    struct torc_queue *queue;
    struct torci_wait *wait; /* what it is parked on; NULL while ready or running */
    int16_t interrupt;       /* what a blocking call returns now: 0, -ECANCELED, -ETIMEDOUT */
    uint8_t stack_class;
    bool cancelled;
    uint32_t mask_depth;

    torc_task_fn *fn;
    void *arg;
    struct torci_stack *stack; /* bound at the first run, given back at the end */
    struct torc_scope *scope;
    struct torci_link in_scope;
    struct torc_task *handle;
    struct torc_deadline *deadline; /* innermost */
    void *locals[TORC_LOCALS_MAX];
    uint32_t open_scopes;
    char name[TORC_TASK_NAME_MAX + 1];
};
_Static_assert(offsetof(struct torci_fiber, fn) == 64, "the switch touches one line");
_Static_assert(sizeof(struct torci_fiber) <= 256, "a parked task costs a page of stack and this");

struct torci_exec_config {
    uint32_t tasks_max; /* live at the same time; 0: TORCI_TASKS_MAX_DEFAULT */
    size_t stack_bytes; /* default of tasks; 0: TORC_STACK_DEFAULT */
    uint64_t quota_ns;  /* how long tasks run between two looks at the ring; 0: TORCI_QUOTA_NS */
};

enum {
    TORCI_TASKS_MAX_DEFAULT = 1 << 20,
    TORCI_QUOTA_NS = 500 * 1000,
};

struct torci_exec {
    struct torci_fiber *current;  /* NULL in the loop */
    struct torc_queue *running;   /* whose slice it is */
    uint32_t budget;              /* switches left before the loop looks up; the least is 1 */
    uint32_t burst;               /* the budget that a slice starts with: about BURST_NS worth */
    uint64_t slice_end;           /* in clock units of torci_exec_clock */
    const uint32_t *kernel_flags; /* nonzero under kernel_flags_mask: the kernel has work for us */
    uint32_t kernel_flags_mask;
    struct torci_context loop;

    const struct torci_host *host;
    struct torci_exec_config config;
    struct torc_queue root;
    struct torci_wheel wheel;
    struct torci_stacks stacks;
    struct torci_fiber *free_fibers;
    void *fiber_slabs;
    uint32_t fibers_live;
    uint64_t turns;
    uint64_t slice_began_ns;
    uint64_t wake_lag_ns; /* how late the machine wakes us: what precise timers spin away */
    void (*local_destroy[TORC_LOCALS_MAX])(void *);
    uint8_t locals_used;
    struct torci_wait *main_done;
    void *owner; /* of the room above: its own state of this shard */
};

extern _Thread_local struct torci_exec *torci_this;

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
        return host->now_ns(host->context);
    __extension__ typedef unsigned __int128 wide;
    return host->tick_base_ns +
           (uint64_t)(((wide)(torci_ticks() - host->tick_base) * host->tick_mult) >>
                      host->tick_shift);
}

/* Whoever finds the fault address inside a guard page: the task it belongs to, or NULL. Async-signal-safe. */
const struct torci_fiber *torci_exec_find_overflow(const struct torci_exec *exec,
                                                   const void *address);

#endif
