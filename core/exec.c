/* SPDX-License-Identifier: MIT
 *
 * The loop: run tasks, fire timers, look at the ring, sleep. One turn:
 *
 *     clock -> timers -> one slice of the queue whose turn it is -> the driver (which enters the ring, or sleeps)
 *
 * The driver decides what a look costs: see io/loop.c.
 */
#include "core/exec_internal.h"

#include <errno.h>
#include <string.h>

#include "core/sanitizer_internal.h"
#include "core/time.h"

enum {
    WAKE_LAG_FIRST_NS = 100 * 1000, /* believed until the machine has been seen to wake us */
    WAKE_LAG_MAX_NS = 1000 * 1000,
    GAUGES_EVERY_NS = 1000 * 1000, /* while there is no sleep to show them before */
};

int torci_exec_init(struct torci_exec *exec, const struct torci_host *host,
                    const struct torci_exec_config *config)
{
    size_t stack_bytes = config->stack_bytes ? config->stack_bytes : TORC_STACK_DEFAULT;
    int stack_class = torci_stack_class(stack_bytes);
    if (stack_class < 0)
        return stack_class;
    memset(exec, 0, sizeof *exec);
    exec->host = host;
    exec->stack_class = (uint8_t)stack_class;
    exec->tasks_max = config->tasks_max ? config->tasks_max : TORCI_TASKS_MAX_DEFAULT;
    exec->quota_ns = config->quota_ns ? config->quota_ns : TORCI_QUOTA_NS;
    torci_counter_set_init(&exec->own_counter_set, &exec->own_counters, sizeof exec->own_counters,
                           1);
    exec->counters = config->counters ? config->counters : &exec->own_counters;
    exec->idle_ns = &exec->counters->park_ns;
    exec->counter_set = config->counters ? config->counter_set : &exec->own_counter_set;
    exec->burst = 64;
    exec->wake_lag_ns = WAKE_LAG_FIRST_NS;
    exec->now_ns = torci_host_now_ns(host);
    static const uint32_t no_flags;
    exec->kernel_flags = &no_flags;
    torci_stacks_init(&exec->stacks, host);
    torci_wheel_init(&exec->wheel, exec->now_ns);
    exec->top.shares = exec->root.shares = TORC_SHARES_DEFAULT;
    exec->top.name = "top";
    exec->root.name = "main";
    exec->root.parent = &exec->top;
    exec->top.members = 1;
    return 0;
}

void torci_exec_deinit(struct torci_exec *exec)
{
    torci_stacks_deinit(&exec->stacks);
    torci_queue_free(exec->host, &exec->root);
    torci_fibers_unmap(exec);
}

/* Bursts are counted in switches, which costs nothing, and adjusted to last about as long as they should. */
static void adapt_burst(struct torci_exec *exec, uint64_t used_ns)
{
    if (used_ns > 2 * TORCI_BURST_NS)
        exec->burst = exec->burst > 1 ? exec->burst / 2 : 1;
    else if (!exec->budget && !exec->cut && used_ns < TORCI_BURST_NS / 2 &&
             exec->burst < TORCI_BURST_MAX)
        exec->burst *= 2;
}

static void run_slice(struct torci_exec *exec, struct torc_queue *queue)
{
    uint64_t began = exec->now_ns;
    exec->slice_end_ns = torci_queue_slice_end(exec, queue);
    if (!torci_queue_is_empty(queue)) {
        torci_switch_to_tasks(exec, queue);
        /* what the budget has lost: so no switch has to count itself */
        torci_count_add(&exec->counters->task_switches,
                        exec->burst - exec->budget - exec->budget_cut);
    }
    exec->now_ns = torci_host_now_ns(exec->host);
    uint64_t used_ns = exec->now_ns - began;
    torci_count_ns(&exec->counters->loop_slice_ns, used_ns);
    adapt_burst(exec, used_ns);
    torci_queue_charge(exec, queue, used_ns);
}

/* The tasks of GROUP's runnable queues that are ready. */
static uint64_t count_ready(const struct torc_queue *group)
{
    uint64_t ready = 0;
    for (const struct torc_queue *at = group->first_runnable; at; at = at->next_runnable)
        ready += at->tail - at->head + count_ready(at);
    return ready;
}

/* Gauges that nobody keeps up to date, since what they show changes far more often than anyone looks. */
static __attribute__((noinline)) void show_gauges(struct torci_exec *exec)
{
    struct torci_counters *counters = exec->counters;
    exec->gauges_due_ns = exec->now_ns + GAUGES_EVERY_NS;
    torci_gauge_set(&counters->task_ready, count_ready(&exec->top));
    torci_gauge_set(&counters->timer_armed, exec->wheel.armed);
    torci_gauge_set(&counters->loop_wake_lag_ns, exec->wake_lag_ns);
}

/* How late a sleep that a timer ended was: the recent worst, forgotten slowly. */
static void learn_wake_lag(struct torci_exec *exec, uint64_t wanted_ns)
{
    if (exec->now_ns < wanted_ns)
        return; /* an event woke us */
    uint64_t lag = exec->now_ns - wanted_ns;
    uint64_t faded = exec->wake_lag_ns - exec->wake_lag_ns / 32;
    exec->wake_lag_ns = lag > WAKE_LAG_MAX_NS ? WAKE_LAG_MAX_NS : lag > faded ? lag : faded;
}

static int turn(struct torci_exec *exec)
{
    const struct torci_host *host = exec->host;
    uint64_t until = 0;
    if (!exec->top.first_runnable && !exec->spinning && exec->fibers_live) {
        until = torci_wheel_next(&exec->wheel);
        if (until <= exec->now_ns)
            until = 0;
    }
    if (TORC_UNLIKELY(exec->now_ns >= exec->gauges_due_ns))
        show_gauges(exec);
    if (until) { /* it may be long before anything changes */
        torci_gauge_set(&exec->counters->task_ready, 0);
        torci_gauge_set(&exec->counters->timer_armed, exec->wheel.armed);
    }
    int err = host->turn(host->context, until);
    uint64_t now_ns = torci_host_now_ns(host);
    if (until)
        torci_count_add(exec->idle_ns, now_ns - exec->now_ns);
    exec->now_ns = now_ns;
    if (until && until != UINT64_MAX)
        learn_wake_lag(exec, until);
    return err;
}

int torci_exec_run(struct torci_exec *exec, torc_task_fn *main, void *arg)
{
    TORC_ASSERT(torci_this == NULL);
    torci_this = exec;
    torci_sanitizer_loop_starts(exec);
    int err = torci_fiber_spawn(
        exec, NULL, &(struct torc_task_options){.name = "main", .task = &exec->main}, main, arg);
    while (!err && exec->fibers_live) {
        torci_count(&exec->counters->loop_turns);
        if (exec->wheel.armed)
            (void)torci_wheel_advance(&exec->wheel, exec->now_ns);
        struct torc_queue *queue = torci_queue_pick(exec);
        if (queue)
            run_slice(exec, queue);
        err = turn(exec);
    }
    torci_this = NULL;
    exec->driver_error = exec->counters->loop_turns ? err : 0;
    return err ? err : exec->main.result;
}

bool torc_should_yield(void)
{
    struct torci_exec *exec = torci_this;
    /* pairs with nothing: a hint that the kernel sets at its leisure */
    uint32_t flags = __atomic_load_n(exec->kernel_flags, __ATOMIC_RELAXED);
    if (TORC_LIKELY(!(flags & exec->kernel_flags_mask) &&
                    torci_host_now_ns(exec->host) < exec->slice_end_ns))
        return false;
    torci_exec_end_slice(exec); /* so that the yield does not go to the next task in line */
    return true;
}

size_t torc_stack_high_water(void)
{
    return torci_stacks_high_water(&torci_this->stacks);
}

const struct torci_fiber *torci_exec_find_overflow(const struct torci_exec *exec,
                                                   const void *address)
{
    const struct torci_stack *stack = torci_stacks_find_guard(&exec->stacks, address);
    return stack ? stack->fiber : NULL;
}

void torci_exec_cancel_main(struct torci_exec *exec)
{
    torc_task_cancel(&exec->main);
}
