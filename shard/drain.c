/* SPDX-License-Identifier: MIT
 *
 * The limit of an orderly shutdown: torc_config.drain_ns after the signal that has started it, whoever still has tasks is
 * named, and the process dies of that signal.
 *
 *     shard 0's timer fires   drain_over is set, every shard is told to look
 *     each shard              says how many tasks it has left and what some are called: only it may read its own state
 *     a moment later          shard 0 names those that have not answered, because a task keeps their CPU, and ends it all
 */
#include <stdio.h>

#include "core/exec_internal.h"
#include "io/executor_internal.h"
#include "io/signals_internal.h"
#include "shard/shard_internal.h"

enum { NAMES_MAX = 8, LINE_MAX = 512 };
#define ANSWER_NS (100 * TORC_MS)

static double waited_seconds(const struct torci_shard *shard)
{
    return (double)shard->set->config.drain_ns / TORC_SEC;
}

/* Tasks that have something to do: a first task that has come to its end only waits for the other shards. */
static const struct torci_fiber *next_task(const struct torci_shard *shard,
                                           const struct torci_fiber *task)
{
    const struct torci_exec *exec = &shard->io.exec;
    do
        task = torci_fibers_next(exec, task);
    while (task && shard->main_ended && task == exec->main.fiber);
    return task;
}

void torci_drain_look(struct torci_shard *shard)
{
    /* ACQUIRE pairs with out_of_patience */
    if (!__atomic_load_n(&shard->set->drain_over, __ATOMIC_ACQUIRE) || shard->drain_told)
        return;
    char line[LINE_MAX], names[LINE_MAX / 2];
    uint32_t tasks = 0, named = 0;
    size_t used = 0;
    names[0] = '\0';
    for (const struct torci_fiber *task = NULL; (task = next_task(shard, task));) {
        tasks++;
        if (named == NAMES_MAX || !task->named)
            continue;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s\"%s\"", named ? ", " : ": ",
                                 task->name);
        named++;
    }
    if (tasks) {
        snprintf(line, sizeof line, "torc: %g s after the signal shard %u still has %u task%s%s%s",
                 waited_seconds(shard), shard->id, tasks, tasks > 1 ? "s" : "", names,
                 named && named < tasks ? " and others" : "");
        torci_io_say(shard->io.kernel, line);
    }
    /* RELEASE pairs with end */
    __atomic_store_n(&shard->drain_told, 1, __ATOMIC_RELEASE);
}

static void end(struct torci_timer *timer)
{
    struct torci_shard *self = TORC_CONTAINER_OF(timer, struct torci_shard, drain);
    struct torci_set *set = self->set;
    char line[LINE_MAX];
    torci_drain_look(self);
    for (uint32_t id = 0; id < set->count; id++) {
        const struct torci_shard *shard = set->shards[id];
        /* ACQUIRE both: pair with the releases in torci_drain_look and leave_busy */
        if (__atomic_load_n(&shard->drain_told, __ATOMIC_ACQUIRE) ||
            !__atomic_load_n(&shard->busy, __ATOMIC_ACQUIRE))
            continue;
        snprintf(line, sizeof line,
                 "torc: %g s after the signal shard %u does not answer: a task of it has not "
                 "yielded since",
                 waited_seconds(self), id);
        torci_io_say(self->io.kernel, line);
    }
    torci_signals_die(self->io.kernel, self->io.signals.taken);
}

static void out_of_patience(struct torci_timer *timer)
{
    struct torci_shard *self = TORC_CONTAINER_OF(timer, struct torci_shard, drain);
    /* RELEASE pairs with torci_drain_look */
    __atomic_store_n(&self->set->drain_over, 1, __ATOMIC_RELEASE);
    torci_set_nudge(self->set);
    torci_timer_init(&self->drain, end);
    torci_wheel_arm(&self->io.exec.wheel, &self->drain,
                    torci_host_now_ns(self->io.exec.host) + ANSWER_NS);
}

void torci_drain_start(struct torci_shard *shard)
{
    torci_timer_init(&shard->drain, out_of_patience);
    torci_wheel_arm(&shard->io.exec.wheel, &shard->drain,
                    torci_host_now_ns(shard->io.exec.host) + shard->set->config.drain_ns);
}

void torci_drain_stop(struct torci_shard *shard)
{
    if (shard->drain.fire)
        torci_wheel_cancel(&shard->io.exec.wheel, &shard->drain);
}
