/* SPDX-License-Identifier: MIT
 *
 * The caller's side of calls, and posts: shard/call_internal.h says how the two sides work together.
 */
#include "shard/call.h"

#include <errno.h>
#include <string.h>

#include "core/time.h"
#include "core/wait_internal.h"
#include "shard/call_internal.h"
#include "shard/run.h"
#include "shard/shard_internal.h"

enum {
    TIMED_CALLS = 16
}; /* one of so many: two looks at the clock are a tenth of a call between two spinning shards */

/* A call, or one function on many shards, as the task that waits for it sees it. */
struct torci_call {
    struct torci_wait wait;
    uint64_t id;
    uint32_t left; /* answers to come */
    bool waiting;  /* the task does */
    bool many;
    int result;               /* of many: the first failure */
    int *results;             /* of many, by shard; may be NULL */
    struct torci_note cancel; /* goes to one receiver after another */
    uint32_t cancel_to, sent_end;
};

static uint64_t deadline_of(const struct torci_fiber *fiber)
{
    const struct torc_deadline *deadline = fiber->deadline;
    /* WHEN_NS is the nearest of its mask depth; those outside of a mask don't count within */
    return deadline && deadline->mask_depth == fiber->mask_depth ? deadline->when_ns : UINT64_MAX;
}

static void init(struct torci_shard *self, struct torci_call *call)
{
    call->id = ++self->calls.last_id;
    call->left = 0;
    call->waiting = call->many = false;
    call->result = 0;
    call->results = NULL;
    call->cancel.queued = false;
}

static int request(struct torci_shard *self, struct torci_call *call, uint32_t to, torc_task_fn *fn,
                   void *arg)
{
    const struct torci_message message = {
        torci_take_call,
        {[TORCI_REQUEST_FN] = (uint64_t)(uintptr_t)fn,
         [TORCI_REQUEST_ARG] = (uint64_t)(uintptr_t)arg,
         [TORCI_REQUEST_CALL] = (uint64_t)(uintptr_t)call,
         [TORCI_REQUEST_ID] = call->id,
         [TORCI_REQUEST_DEADLINE] = deadline_of(torci_fiber_self())},
    };
    int err = torci_mesh_send(self, to, &message);
    call->left += !err;
    return err;
}

static void note_result(struct torci_call *call, uint32_t shard, int result)
{
    if (!call->many) {
        call->result = result;
        return;
    }
    if (call->results)
        call->results[shard] = result;
    if (result < 0 && !call->result)
        call->result = result;
}

bool torci_take_answer(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)self;
    struct torci_call *call = (struct torci_call *)(uintptr_t)message->words[0];
    note_result(call, from, (int)message->words[1]);
    if (--call->left == 0 && call->waiting)
        torci_wait_wake(&call->wait, 0);
    return true;
}

/* To one after another, since there is one note: goes on when that has found room. Who has answered finds nothing. */
static void send_cancels(struct torci_shard *self, struct torci_call *call)
{
    while (call->cancel_to < call->sent_end && !call->cancel.queued) {
        uint32_t to = call->cancel_to++;
        if (to == self->id)
            continue;
        /* the receiver looks for the request in its lane, too */
        torci_mesh_flush(self, to);
        torci_mesh_control(self, to, &call->cancel);
    }
}

static void cancel_gone(struct torci_shard *self, struct torci_note *note)
{
    send_cancels(self, TORC_CONTAINER_OF(note, struct torci_call, cancel));
}

static void interrupted(struct torci_park *park, int reason)
{
    (void)reason;
    struct torci_wait *wait = TORC_CONTAINER_OF(park, struct torci_wait, park);
    struct torci_call *call = TORC_CONTAINER_OF(wait, struct torci_call, wait);
    call->cancel.message = (struct torci_message){torci_take_cancel, {call->id}};
    call->cancel.gone = cancel_gone;
    send_cancels(torci_shard_this(), call);
}

/* Until all have answered, whatever happens: they may be using the caller's memory. */
static int wait_for_answers(struct torci_call *call)
{
    if (call->left) {
        call->waiting = true;
        torci_wait_init(&call->wait);
        call->wait.park.interrupt = interrupted;
        (void)torci_wait_park(&call->wait);
        int reason = call->wait.park.reason;
        if (TORC_UNLIKELY(call->cancel.queued))
            torci_list_unlink(&call->cancel.link);
        /* the echo of our own cancel */
        if (reason && (call->result == -ECANCELED || call->result == -ETIMEDOUT))
            return reason;
    }
    return call->result;
}

int torc_call(uint32_t shard, torc_task_fn *fn, void *arg)
{
    struct torci_shard *self = torci_shard_this();
    if (shard == self->id)
        return fn(arg);
    if (TORC_UNLIKELY(shard >= self->set->count))
        return -EINVAL;
    struct torci_counters *counters = self->io.exec.counters;
    struct torci_call call;
    init(self, &call);
    bool timed = call.id % TIMED_CALLS == 0;
    uint64_t began_ns = timed ? torc_now_ns() : 0;
    call.cancel_to = shard;
    call.sent_end = shard + 1;
    int err = request(self, &call, shard, fn, arg);
    if (TORC_UNLIKELY(err))
        return err;
    torci_count(&counters->call_made);
    torci_mesh_hurry(self, shard);
    int result = wait_for_answers(&call);
    if (timed)
        torci_count_ns(&counters->call_ns, torc_now_ns() - began_ns);
    return result;
}

int torc_call_each(torc_task_fn *fn, void *arg, int *results)
{
    struct torci_shard *self = torci_shard_this();
    struct torci_call call;
    init(self, &call);
    call.many = true;
    call.results = results;
    call.cancel_to = 0;
    int err = 0;
    for (uint32_t to = 0; to < self->set->count; to++) {
        call.sent_end = to;
        if (!err) /* interrupted: nothing more is begun; what else may happen is one shard's */
            err = torci_wait_pending();
        if (to == self->id)
            continue;
        int failed = err ? err : request(self, &call, to, fn, arg);
        if (failed)
            note_result(&call, to, failed);
    }
    call.sent_end = self->set->count;
    torci_count_add(&self->io.exec.counters->call_made, call.left);
    note_result(&call, self->id, err ? err : fn(arg));
    return wait_for_answers(&call);
}

int torc_call_all(torc_task_fn *fn, void *arg)
{
    return torc_call_each(fn, arg, NULL);
}

/* ---- map and reduce ---- */

enum { PART_LINE = 64 }; /* parts of different shards share no cache line */

struct map_reduce {
    const struct torc_map_reduce *job;
    void *arg;
    char *parts;
    size_t stride;
};

static int map_part(void *arg)
{
    const struct map_reduce *all = (const struct map_reduce *)arg;
    return all->job->map(all->arg, all->parts + torc_shard_id() * all->stride);
}

int torc_map_reduce(const struct torc_map_reduce *job, void *arg, void *total)
{
    struct torci_shard *self = torci_shard_this();
    const struct torci_host *host = &self->io.host;
    uint32_t count = self->set->count;
    if (job->part_bytes > SIZE_MAX / count - PART_LINE)
        return -ENOMEM;
    struct map_reduce all = {job, arg, NULL,
                             (job->part_bytes + PART_LINE) & ~(size_t)(PART_LINE - 1)};
    all.parts = (char *)host->alloc(host->context, count * all.stride);
    if (!all.parts)
        return -ENOMEM;
    int err = torc_call_all(map_part, &all);
    for (uint32_t i = 0; i < count && !err; i++)
        job->reduce(total, all.parts + i * all.stride);
    host->free(host->context, all.parts, count * all.stride);
    return err;
}

/* ---- posts ---- */

static int post(uint32_t shard, const struct torci_message *message, bool wait)
{
    struct torci_shard *self = torci_shard_this();
    if (TORC_UNLIKELY(shard >= self->set->count))
        return -EINVAL;
    int err =
        wait ? torci_mesh_send(self, shard, message) : torci_mesh_try_send(self, shard, message);
    if (!err)
        torci_count(&self->io.exec.counters->call_posts);
    return err;
}

int torc_post_with(uint32_t shard, const struct torc_post_options *options, torc_task_fn *fn,
                   void *arg)
{
    const struct torci_message message = {
        torci_take_post,
        {[TORCI_REQUEST_FN] = (uint64_t)(uintptr_t)fn,
         [TORCI_REQUEST_ARG] = (uint64_t)(uintptr_t)arg,
         [TORCI_POST_DROP] = options ? (uint64_t)(uintptr_t)options->drop : 0},
    };
    return post(shard, &message, !options || !options->dont_wait);
}

int torc_post(uint32_t shard, torc_task_fn *fn, void *arg)
{
    return torc_post_with(shard, NULL, fn, arg);
}

int torc_try_post(uint32_t shard, torc_task_fn *fn, void *arg)
{
    return torc_post_with(shard, &(struct torc_post_options){.dont_wait = true}, fn, arg);
}

int torc_post_copy(uint32_t shard, torc_task_fn *fn, const void *value, size_t size_bytes)
{
    struct torci_message message = {torci_take_post_copy,
                                    {[TORCI_REQUEST_FN] = (uint64_t)(uintptr_t)fn}};
    if (size_bytes > TORC_POST_COPY_MAX)
        return -EINVAL;
    memcpy(&message.words[TORCI_POST_VALUE], value, size_bytes);
    return post(shard, &message, true);
}
