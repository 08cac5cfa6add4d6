/* SPDX-License-Identifier: MIT
 *
 * Which queue runs next. Each group keeps a list of its runnable members; picking walks down from the top group to the
 * member with the least virtual runtime. The lists are short (queues are made by hand, not one a connection), so they
 * are scanned: that is faster than a heap up to dozens of members.
 *
 * Latency goals: a queue that wakes with a goal notes until when it wants to have started. It ends the slice that is
 * going on early, and once half of its goal is used up it goes before all queues without such a claim. The claim is one
 * on time and not on more time: it lapses while the queue is more than a quota ahead of the others, or a short goal would
 * starve them.
 */
#include "core/queue.h"

#include <errno.h>
#include <string.h>

#include "core/exec_internal.h"

/* In virtual time a slice may take none, and with many shares a short one next to none: a queue that pays nothing is
 * never done. About what a turn of the loop costs. */
enum { CHARGE_MIN_NS = 100 };
#define LATENCY_GOAL_MAX_NS (3600 * TORC_SEC)

int torc_queue_init(struct torc_queue *queue, const struct torc_queue_options *options)
{
    static const struct torc_queue_options defaults;
    options = options ? options : &defaults;
    struct torc_queue *parent = options->parent ? options->parent : &torci_this->top;
    memset(queue, 0, sizeof *queue);
    int err = torc_queue_set_shares(queue, options->shares ? options->shares : TORC_SHARES_DEFAULT);
    if (err)
        return err;
    if (parent->tasks)
        return -EINVAL;
    queue->name = options->name ? options->name : "queue";
    if (options->latency_goal_ns <= LATENCY_GOAL_MAX_NS)
        queue->latency_goal_ns = options->latency_goal_ns;
    queue->parent = parent;
    parent->members++;
    return 0;
}

int torc_queue_deinit(struct torc_queue *queue)
{
    if (queue->tasks || queue->members)
        return -EBUSY;
    TORC_ASSERT(torci_queue_is_empty(queue));
    if (queue->runnable)
        torci_queue_charge(torci_this, queue, 0);
    torci_queue_free(torci_this->host, queue);
    queue->parent->members--;
    return 0;
}

enum { READY_MIN = 16 };

int torci_queue_grow(const struct torci_host *host, struct torc_queue *queue)
{
    uint32_t room = queue->ready ? queue->mask + 1 : 0;
    if (queue->tasks < room)
        return 0;
    uint32_t wanted = room ? 2 * room : READY_MIN;
    struct torci_fiber **ready =
        (struct torci_fiber **)host->alloc(host->context, wanted * sizeof *ready);
    if (!ready)
        return -ENOMEM;
    for (uint32_t i = 0; i < wanted; i++) /* entries not in use are still looked at, to prefetch */
        ready[i] = room ? queue->ready[(queue->head + i) & queue->mask] : torci_this->free_fibers;
    torci_queue_free(host, queue);
    queue->ready = ready;
    queue->mask = wanted - 1;
    queue->tail -= queue->head;
    queue->head = 0;
    return 0;
}

void torci_queue_free(const struct torci_host *host, struct torc_queue *queue)
{
    if (queue->ready)
        host->free(host->context, queue->ready, (queue->mask + 1) * sizeof *queue->ready);
    queue->ready = NULL;
}

int torc_queue_set_shares(struct torc_queue *queue, uint32_t shares)
{
    if (!shares || shares > TORC_SHARES_MAX)
        return -EINVAL;
    queue->shares = shares;
    return 0;
}

uint64_t torc_queue_cpu_ns(const struct torc_queue *queue)
{
    return queue->cpu_ns;
}

void torci_queue_activate(struct torci_exec *exec, struct torc_queue *queue)
{
    for (struct torc_queue *at = queue; at->parent && !at->runnable; at = at->parent) {
        at->runnable = true;
        if (at->vruntime < at->parent->vruntime_min)
            at->vruntime = at->parent->vruntime_min;
        at->next_runnable = at->parent->first_runnable;
        at->parent->first_runnable = at;
        if (at->latency_goal_ns) {
            uint64_t now = torci_host_now_ns(exec->host);
            at->start_by_ns = now + at->latency_goal_ns;
            if (exec->running && exec->running != at) {
                torci_exec_end_slice(exec);
                uint64_t end = now + at->latency_goal_ns / 2;
                exec->slice_end_ns = end < exec->slice_end_ns ? end : exec->slice_end_ns;
            }
        }
    }
}

static uint64_t weighted(const struct torc_queue *queue, uint64_t used_ns)
{
    return TORC_LIKELY(queue->shares == TORC_SHARES_DEFAULT)
               ? used_ns
               : used_ns * TORC_SHARES_DEFAULT / queue->shares;
}

/* From when on a runnable queue goes before the others: from half of its goal on. Never without a goal, nor after more
 * than its share. */
static uint64_t claim_ns(const struct torci_exec *exec, const struct torc_queue *queue)
{
    if (!queue->latency_goal_ns ||
        queue->vruntime > queue->parent->vruntime_min + weighted(queue, exec->quota_ns))
        return UINT64_MAX;
    return queue->start_by_ns - queue->latency_goal_ns / 2;
}

static struct torc_queue *best_member(const struct torci_exec *exec, const struct torc_queue *group)
{
    struct torc_queue *best = group->first_runnable;
    for (struct torc_queue *at = best->next_runnable; at; at = at->next_runnable) {
        bool late = claim_ns(exec, at) <= exec->now_ns;
        bool best_late = claim_ns(exec, best) <= exec->now_ns;
        if (late != best_late ? late
            : late            ? at->start_by_ns < best->start_by_ns
                              : at->vruntime < best->vruntime)
            best = at;
    }
    return best;
}

struct torc_queue *torci_queue_pick(struct torci_exec *exec)
{
    struct torc_queue *at = &exec->top;
    if (!at->first_runnable)
        return NULL;
    while (at->first_runnable)
        at = best_member(exec, at);
    return at;
}

uint64_t torci_queue_slice_end(const struct torci_exec *exec, const struct torc_queue *queue)
{
    uint64_t end_ns = exec->now_ns + exec->quota_ns;
    for (const struct torc_queue *level = queue; level->parent; level = level->parent)
        for (const struct torc_queue *at = level->parent->first_runnable; at;
             at = at->next_runnable) {
            uint64_t claim = at == level ? UINT64_MAX : claim_ns(exec, at);
            end_ns = claim < end_ns ? claim : end_ns;
        }
    return end_ns;
}

static void deactivate(struct torc_queue *queue)
{
    struct torc_queue **at = &queue->parent->first_runnable;
    while (*at != queue)
        at = &(*at)->next_runnable;
    *at = queue->next_runnable;
    queue->runnable = false;
}

/* LAST is the member that has just run. When it leaves the group with nobody runnable, it is the measure itself. */
static void raise_minimum(struct torc_queue *group, const struct torc_queue *last)
{
    uint64_t least = group->first_runnable ? UINT64_MAX : last->vruntime;
    for (const struct torc_queue *at = group->first_runnable; at; at = at->next_runnable)
        least = at->vruntime < least ? at->vruntime : least;
    group->vruntime_min = least; /* never less than it was: nobody becomes runnable below it */
}

void torci_queue_charge(struct torci_exec *exec, struct torc_queue *queue, uint64_t used_ns)
{
    uint64_t charged_ns = used_ns < CHARGE_MIN_NS ? CHARGE_MIN_NS : used_ns;
    for (struct torc_queue *at = queue; at->parent; at = at->parent) {
        at->cpu_ns += used_ns;
        at->vruntime += weighted(at, charged_ns);
        if (at->latency_goal_ns)
            at->start_by_ns = exec->now_ns + at->latency_goal_ns;
        if (torci_queue_is_empty(at) && !at->first_runnable)
            deactivate(at);
        raise_minimum(at->parent, at);
    }
}

bool torci_queue_check(const struct torc_queue *group)
{
    for (const struct torc_queue *at = group->first_runnable; at; at = at->next_runnable) {
        if (!at->runnable || at->parent != group ||
            (!torci_queue_is_empty(at) && at->first_runnable))
            return false;
        if (torci_queue_is_empty(at) && !at->first_runnable)
            return false;
        if (at->members && !torci_queue_check(at))
            return false;
    }
    return true;
}
