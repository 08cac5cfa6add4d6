/* SPDX-License-Identifier: MIT
 *
 * From a config to a running executor and back. Parts are brought up in one order and taken down in the reverse; every
 * failure on the way up is one line that says what to do about it.
 */
#include "io/executor_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "io/explain_internal.h"
#include "io/signals_internal.h"

enum {
    RING_ENTRIES_DEFAULT = 256,
    COMPLETIONS_PER_ENTRY = 4,
    COMPLETIONS_MIN = 4096,
    BLOCKING_THREADS_DEFAULT = 4,
    BUFFERS_DEFAULT = 64,
    FILES_DEFAULT = 1024,
    KERNEL_WORKERS_MAX = 8,
    STALL_DEFAULT_NS = 100 * 1000 * 1000,
    LINE_MAX = 256,
};
#define DRAIN_DEFAULT_NS (10 * TORC_SEC)

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value ? value : standard;
}

struct torc_config torci_config_with_defaults(const struct torc_config *given)
{
    struct torc_config config = given ? *given : (struct torc_config){0};
    config.ring_entries = or_default(config.ring_entries, RING_ENTRIES_DEFAULT);
    uint32_t completions = config.ring_entries * COMPLETIONS_PER_ENTRY;
    config.completion_entries = or_default(
        config.completion_entries, completions > COMPLETIONS_MIN ? completions : COMPLETIONS_MIN);
    config.blocking_threads = or_default(config.blocking_threads, BLOCKING_THREADS_DEFAULT);
    config.buffers_max = or_default(config.buffers_max, BUFFERS_DEFAULT);
    config.files_max = or_default(config.files_max, FILES_DEFAULT);
    config.stall_ns = config.stall_ns ? config.stall_ns : STALL_DEFAULT_NS;
    config.drain_ns = config.drain_ns ? config.drain_ns : DRAIN_DEFAULT_NS;
    if (!config.kernel)
        config.kernel = torci_kernel_linux_get();
    return config;
}

/* Kernel workers, for what can't be done without sleeping, share our CPU: few of them, before the first one starts. */
static void limit_kernel_workers(struct torci_io *io)
{
    unsigned most[2] = {KERNEL_WORKERS_MAX, KERNEL_WORKERS_MAX}; /* bounded work, unbounded work */
    (void)io->kernel->ring_register(io->kernel->host.context, io->ring.real_fd,
                                    IORING_REGISTER_IOWQ_MAX_WORKERS, most, 2);
}

struct torci_ring *torci_io_poll_ring(struct torci_io *io)
{
    if (io->poll_ring.real_fd == TORCI_RING_NONE) {
        int err = torci_ring_init(&io->poll_ring, io->kernel, io->config.ring_entries,
                                  io->config.completion_entries, true);
        if (err)
            io->poll_ring.real_fd = TORCI_RING_REFUSED;
        io->poll_ring.counters = io->exec.counters;
    }
    return io->poll_ring.real_fd >= 0 ? &io->poll_ring : NULL;
}

static const char *fault_name(int number)
{
    switch (number) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGILL: return "SIGILL";
    case SIGFPE: return "SIGFPE";
    default: return "SIGABRT";
    }
}

/* In the fault handler: what a person needs to know. */
static void report_fault(int number, const void *address)
{
    const struct torci_exec *exec = torci_this;
    if (!exec || !exec->owner)
        return; /* not a thread of ours, or not at work */
    const struct torci_io *io = (const struct torci_io *)exec->owner;
    const struct torci_fiber *fiber = address ? torci_exec_find_overflow(exec, address) : NULL;
    char line[LINE_MAX], where[32] = "";
    if (fiber) {
        snprintf(line, sizeof line,
                 "torc: task \"%s\" overflowed its stack of %zu KiB: give it more with "
                 "torc_task_options.stack_bytes",
                 fiber->named ? fiber->name : "task",
                 torci_stack_size(fiber->stack->stack_class) / 1024);
        torci_io_say(io->kernel, line);
        return;
    }
    if (address)
        snprintf(where, sizeof where, " at address %p", address);
    snprintf(line, sizeof line, "torc: shard %u on CPU %d, task \"%s\": %s%s; it was at:", io->id,
             io->cpu, torc_task_name(), fault_name(number), where);
    torci_io_say(io->kernel, line);
    io->kernel->backtrace(io->kernel->host.context);
}

/* In the stall timer's handler, once for every stall_ns of CPU time: the same task, and no switch since? */
static void watch_stall(void)
{
    struct torci_exec *exec = torci_this;
    if (!exec || !exec->owner)
        return;
    struct torci_io *io = (struct torci_io *)exec->owner;
    const struct torci_fiber *fiber = exec->current;
    bool same = fiber && io->stall.fiber == fiber &&
                io->stall.turns == exec->counters->loop_turns && io->stall.budget == exec->budget;
    io->stall.fiber = fiber;
    io->stall.turns = exec->counters->loop_turns;
    io->stall.budget = exec->budget;
    if (!same) {
        io->stall.reports = 0;
        return;
    }
    /* 1, 2, 4, 8, … intervals: a task that never yields does not fill the disk with reports */
    uint32_t n = ++io->stall.reports;
    if (n & (n - 1))
        return;
    torci_count(&exec->counters->stall_reports);
    char line[LINE_MAX];
    unsigned long long stalled_ms = io->config.stall_ns * n / TORC_MS;
    snprintf(line, sizeof line,
             "torc: task \"%s\" has not yielded for more than %llu ms of CPU time: call "
             "torc_yield, or move the work to torc_blocking; it is at:",
             fiber->named ? fiber->name : "task", stalled_ms);
    torci_io_say(io->kernel, line);
    io->kernel->backtrace(io->kernel->host.context);
}

static int bring_up_ring(struct torci_io *io)
{
    const struct torc_config *config = &io->config;
    int err = torci_ring_init(&io->ring, io->kernel, config->ring_entries,
                              config->completion_entries, false);
    if (err) {
        char why[TORCI_EXPLAIN_BYTES], line[TORCI_EXPLAIN_BYTES + sizeof "torc: "];
        torci_explain_ring_error(io->kernel, err, config->ring_entries, config->completion_entries,
                                 why);
        snprintf(line, sizeof line, "torc: %s", why);
        torci_io_say(io->kernel, line);
        return err;
    }
    io->ring.counters = io->exec.counters;
    torci_ring_probe_ops(&io->ring, io->ops);
    limit_kernel_workers(io);
    io->exec.kernel_flags = io->ring.kernel_flags;
    io->exec.kernel_flags_mask = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
    return 0;
}

/* The tasks are gone in mid-flight. What they had with the kernel ends now as far as it can, because the memory that it
 * writes to goes next. */
static void abandon(struct torci_io *io)
{
    struct io_uring_sync_cancel_reg all = {.fd = -EBADF,
                                           .flags =
                                               IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
                                           .timeout = {.tv_sec = 1}};
    (void)io->kernel->ring_register(io->kernel->host.context, io->ring.real_fd,
                                    IORING_REGISTER_SYNC_CANCEL, &all, 1);
    torci_signals_shutdown_abandon(io);
}

int torci_io_run(struct torci_io *io, torc_task_fn *main, void *arg)
{
    if (!io->config.no_stall_report)
        (void)io->kernel->stall_timer(io->kernel->host.context, io->config.stall_ns, watch_stall);
    int result = torci_exec_run(&io->exec, main, arg);
    if (!io->exec.counters->loop_turns)
        torci_io_say(io->kernel, "torc: no memory for the first task");
    if (!io->config.no_stall_report)
        (void)io->kernel->stall_timer(io->kernel->host.context, 0, NULL);
    char line[LINE_MAX];
    if (io->exec.driver_error) {
        snprintf(line, sizeof line, "torc: the ring failed: errno %d", -io->exec.driver_error);
        torci_io_say(io->kernel, line);
        abandon(io);
        return result;
    }
    torci_this = &io->exec;
    int drained = torci_io_drain(io);
    torci_this = NULL;
    torci_signals_shutdown_abandon(io);
    if (drained) {
        snprintf(line, sizeof line, "torc: %u operations did not end at shutdown: errno %d",
                 io->ring.in_flight + io->poll_ring.in_flight, -drained);
        torci_io_say(io->kernel, line);
        return result < 0 ? result : drained;
    }
    return result;
}

int torci_config_check(const struct torc_config *config)
{
    if (config->ring_entries > TORCI_RING_ENTRIES_MAX ||
        config->completion_entries < config->ring_entries ||
        config->blocking_threads > TORCI_BLOCKING_THREADS_MAX || config->buffers_max > 16384 ||
        config->files_max > 1 << 20 || torci_stack_class(config->stack_bytes) < 0) {
        torci_io_say(config->kernel,
                     "torc: a value of torc_config is out of range: see io/config.h");
        return -EINVAL;
    }
    return 0;
}

static int enter_thread(struct torci_io *io, int cpu)
{
    char line[LINE_MAX];
    int got = io->kernel->thread_enter(io->kernel->host.context, cpu, report_fault);
    if (got == -EINVAL && cpu >= 0) {
        snprintf(line, sizeof line,
                 "torc: CPU %d is not one that this process may use: see taskset", cpu);
        torci_io_say(io->kernel, line);
    } else if (got < 0) {
        snprintf(line, sizeof line, "torc: the thread can't be made an executor: errno %d", -got);
        torci_io_say(io->kernel, line);
    }
    if (got < 0)
        return got;
    io->cpu = got;
    return 0;
}

void torci_io_prepare(struct torci_io *io, const struct torc_config *config)
{
    io->kernel = config->kernel;
    io->config = *config;
    io->host = io->kernel->host;
    io->host.turn = torci_io_turn;
    io->wake.event_fd = -1;
    io->poll_ring.real_fd = TORCI_RING_NONE;
    torci_link_init(&io->cancel_retry);
    torci_link_init(&io->cancel_missed);
    torci_timer_init(&io->missed_timer, torci_op_cancel_again);
    torci_link_init(&io->room_waiters);
}

int torci_io_open(struct torci_io *io, int cpu)
{
    const struct torc_config *config = &io->config;
    const struct torci_exec_config exec_config = {.tasks_max = config->tasks_max,
                                                  .stack_bytes = config->stack_bytes,
                                                  .quota_ns = config->quota_ns,
                                                  .counters = io->counters,
                                                  .counter_set = io->counter_set};
    int err = enter_thread(io, cpu);
    if (err)
        return err;
    torci_clock_start(&io->clock, &io->host);
    err = torci_exec_init(&io->exec, &io->host, &exec_config);
    if (err)
        goto out_thread;
    io->exec.owner = io;
    err = bring_up_ring(io);
    if (err)
        goto out_exec;
    err = torci_blocking_init(&io->blocking, io, config->blocking_threads);
    if (!err)
        return 0;
    torci_io_say(io->kernel, "torc: out of memory");
    torci_ring_deinit(&io->ring);
out_exec:
    torci_exec_deinit(&io->exec);
out_thread:
    io->kernel->thread_leave(io->kernel->host.context);
    return err;
}

void torci_io_close(struct torci_io *io)
{
    const struct torci_kernel *kernel = io->kernel;
    torci_signals_shutdown_abandon(io);
    torci_blocking_deinit(&io->blocking);
    if (io->traffic.close)
        io->traffic.close(io);
    torci_slots_free(io, &io->buffers);
    torci_slots_free(io, &io->files);
    if (io->poll_ring.real_fd >= 0)
        torci_ring_deinit(&io->poll_ring);
    torci_ring_deinit(&io->ring);
    if (io->wake.event_fd >= 0)
        (void)TORCI_CALL(kernel, SYS_close, io->wake.event_fd);
    torci_exec_deinit(&io->exec);
    kernel->thread_leave(kernel->host.context);
}
