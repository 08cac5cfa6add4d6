/* SPDX-License-Identifier: MIT
 *
 * The receiver's side of calls and posts (shard/call_internal.h): requests become tasks, results become answers.
 *
 * No shard ever waits for another in a circle, however few tasks it may have:
 *     - functions of other shards may have SERVED_MIN tasks whatever torc_config.tasks_max says, so that a shard's own
 *       tasks can't keep them out
 *     - a call that finds no task is refused, at once and also behind posts that fill the lane
 *     - a post that finds no task stays in the lane, until one has ended
 *     - a task that runs for another shard does not wait for room in a lane that is stuck like this (shard/mesh.c)
 * So what waits for a task waits for functions that wait for nobody's.
 */
#include <errno.h>
#include <string.h>

#include "core/time.h"
#include "shard/call_internal.h"
#include "shard/shard_internal.h"

enum {
    SERVED_MIN = 16,
    CHUNK_BYTES = 16 * 1024,
    RECORDS_SPARE = 256, /* beyond the tasks: answers that wait for room */
    BUCKETS_MIN = 64,
};

struct chunk {
    struct chunk *next;
    struct torci_served records[];
};

enum { CHUNK_RECORDS = (CHUNK_BYTES - sizeof(struct chunk)) / sizeof(struct torci_served) };

/* ---- records ---- */

static struct torci_served **bucket_of(const struct torci_calls *calls, uint32_t from, uint64_t id)
{
    /* numbers of one caller are dense; callers are kept apart by an odd factor */
    uint64_t hash = id + from * UINT64_C(0x9E3779B97F4A7C15);
    return &calls->buckets[hash & (calls->bucket_count - 1)];
}

static void remember(struct torci_calls *calls, struct torci_served *record)
{
    struct torci_served **bucket = bucket_of(calls, record->from, record->id);
    record->next = *bucket;
    *bucket = record;
}

static void forget(struct torci_calls *calls, struct torci_served *record)
{
    struct torci_served **at = bucket_of(calls, record->from, record->id);
    while (*at != record)
        at = &(*at)->next;
    *at = record->next;
}

static struct torci_served *find(const struct torci_calls *calls, uint32_t from, uint64_t id)
{
    struct torci_served *at = calls->bucket_count ? *bucket_of(calls, from, id) : NULL;
    while (at && (at->id != id || at->from != from))
        at = at->next;
    return at;
}

/* As many buckets as there may be records, so that a chain is a record long. */
static int grow_buckets(struct torci_shard *self, uint32_t records)
{
    struct torci_calls *calls = &self->calls;
    const struct torci_host *host = &self->io.host;
    uint32_t old_count = calls->bucket_count, count = old_count ? old_count : BUCKETS_MIN;
    struct torci_served **old = calls->buckets;
    while (count < records)
        count *= 2;
    if (count == old_count)
        return 0;
    struct torci_served **buckets =
        (struct torci_served **)host->alloc(host->context, count * sizeof *buckets);
    if (!buckets)
        return -ENOMEM;
    calls->buckets = buckets;
    calls->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct torci_served *record; (record = old[i]);) {
            old[i] = record->next;
            remember(calls, record);
        }
    if (old)
        host->free(host->context, old, old_count * sizeof *old);
    return 0;
}

static void grow(struct torci_shard *self)
{
    struct torci_calls *calls = &self->calls;
    const struct torci_host *host = &self->io.host;
    if (calls->records >= (uint64_t)self->io.exec.tasks_max + SERVED_MIN + RECORDS_SPARE ||
        grow_buckets(self, calls->records + CHUNK_RECORDS))
        return;
    struct chunk *chunk = (struct chunk *)host->map(host->map_context, CHUNK_BYTES);
    if (!chunk)
        return;
    chunk->next = (struct chunk *)calls->chunks;
    calls->chunks = chunk;
    calls->records += CHUNK_RECORDS;
    for (unsigned i = CHUNK_RECORDS; i-- > 0;) {
        chunk->records[i].next = calls->free;
        calls->free = &chunk->records[i];
    }
}

struct torci_served *torci_served_take(struct torci_shard *self)
{
    struct torci_calls *calls = &self->calls;
    if (TORC_UNLIKELY(!calls->free))
        grow(self);
    struct torci_served *record = calls->free;
    if (TORC_LIKELY(record != NULL))
        calls->free = record->next;
    return record;
}

/* One to refuse a call with. */
static struct torci_served *take_spare(struct torci_shard *self)
{
    struct torci_calls *calls = &self->calls;
    struct torci_served *record = torci_served_take(self);
    if (record || calls->spare_in_use)
        return record;
    calls->spare_in_use = true;
    return &calls->spare;
}

void torci_served_put(struct torci_shard *self, struct torci_served *record)
{
    struct torci_calls *calls = &self->calls;
    record->call = 0;
    if (record == &calls->spare) {
        calls->spare_in_use = false;
        return;
    }
    record->next = calls->free;
    calls->free = record;
}

void torci_calls_deinit(struct torci_shard *shard)
{
    struct torci_calls *calls = &shard->calls;
    const struct torci_host *host = &shard->io.host;
    for (struct chunk *chunk; (chunk = (struct chunk *)calls->chunks);) {
        calls->chunks = chunk->next;
        host->unmap(host->map_context, chunk, CHUNK_BYTES);
    }
    if (calls->buckets)
        host->free(host->context, calls->buckets, calls->bucket_count * sizeof *calls->buckets);
    memset(calls, 0, sizeof *calls);
}

/* ---- answers ---- */

static void answer_gone(struct torci_shard *self, struct torci_note *note)
{
    torci_served_put(self, TORC_CONTAINER_OF(note, struct torci_served, answer));
}

/* The record is gone afterwards, or when the lane has had room for it. */
static void answer(struct torci_shard *self, struct torci_served *record, int result)
{
    record->answer.queued = false;
    record->answer.gone = answer_gone;
    record->answer.message =
        (struct torci_message){torci_take_answer, {record->call, (uint64_t)result}};
    torci_mesh_control(self, record->from, &record->answer);
    if (TORC_LIKELY(!record->answer.queued))
        torci_served_put(self, record);
}

void torci_calls_bury(struct torci_shard *shard)
{
    struct torci_calls *calls = &shard->calls;
    for (uint32_t i = 0; i < calls->bucket_count; i++)
        for (struct torci_served *record; (record = calls->buckets[i]);) {
            calls->buckets[i] = record->next;
            answer(shard, record, -EIO);
        }
}

/* ---- tasks ---- */

static int serve(void *arg)
{
    struct torci_served *record = (struct torci_served *)arg;
    struct torci_shard *self = torci_shard_this();
    struct torc_deadline deadline;
    bool limited = record->call && record->deadline_ns != UINT64_MAX;
    if (limited)
        torc_deadline_enter_at(&deadline, record->deadline_ns);
    /* A caller who has left must not be waited for; but a post owns its argument and has to see to it. */
    int result = record->call ? torc_task_check() : 0;
    if (!result)
        result = record->fn(record->arg);
    if (limited)
        (void)torc_deadline_leave(&deadline);
    self->calls.serving--;
    /* The task is still to end, and will then write to record->task: without a switch in between. */
    if (record->call) {
        forget(&self->calls, record);
        torci_count(&self->io.exec.counters->call_served);
        uint32_t from = record->from;
        answer(self, record, result);
        torci_mesh_hurry(self, from);
    } else {
        torci_served_put(self, record);
    }
    return 0; /* the result is not this shard's business */
}

/* "call from shard 12"; formatted anew only when the record has served another shard before. */
static void name_record(struct torci_served *record)
{
    static const char prefix[] = "call from shard ";
    if (TORC_LIKELY(record->name_from == record->from + 1))
        return;
    record->name_from = record->from + 1;
    char digits[10];
    size_t count = 0, length = sizeof prefix - 1;
    for (uint32_t left = record->from; left || !count; left /= 10)
        digits[count++] = (char)('0' + left % 10);
    memcpy(record->name, prefix, length);
    while (count)
        record->name[length++] = digits[--count];
    record->name[length] = '\0';
}

int torci_calls_start(struct torci_shard *self, const struct torc_task_options *options,
                      torc_task_fn *fn, void *arg)
{
    struct torci_exec *exec = &self->io.exec;
    uint32_t tasks_max = exec->tasks_max;
    if (self->calls.serving < SERVED_MIN)
        exec->tasks_max = UINT32_MAX;
    int err = torc_spawn_with(&self->served, options, fn, arg);
    exec->tasks_max = tasks_max;
    self->calls.serving += !err;
    return err;
}

static int start(struct torci_shard *self, struct torci_served *record)
{
    name_record(record);
    const struct torc_task_options options = {.name = record->name, .task = &record->task};
    return torci_calls_start(self, &options, serve, record);
}

bool torci_calls_is_serving(const struct torci_shard *shard)
{
    const struct torci_fiber *at = torci_fiber_self();
    while (at->scope && at->scope != &shard->served)
        at = at->scope->owner;
    return at->scope != NULL;
}

/* ---- requests ---- */

static int refusal(const struct torci_shard *self)
{
    return TORC_LIKELY(!self->stopping) ? 0 : self->buried ? -EIO : -ESHUTDOWN;
}

static void fill_call(struct torci_served *record, uint32_t from,
                      const struct torci_message *message)
{
    const uint64_t *words = message->words;
    record->fn = (torc_task_fn *)(uintptr_t)words[TORCI_REQUEST_FN];
    record->arg = (void *)(uintptr_t)words[TORCI_REQUEST_ARG];
    record->call = words[TORCI_REQUEST_CALL];
    record->id = words[TORCI_REQUEST_ID];
    record->deadline_ns = words[TORCI_REQUEST_DEADLINE];
    record->from = from;
}

/* Answers a request that never becomes a task. False: there is no memory to say so in. */
static bool refuse_call(struct torci_shard *self, uint32_t from,
                        const struct torci_message *message, int err)
{
    struct torci_served *record = take_spare(self);
    if (!record)
        return false;
    fill_call(record, from, message);
    answer(self, record, err);
    return true;
}

bool torci_take_call(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    int err = refusal(self);
    if (message->words[TORCI_REQUEST_CANCELLED])
        err = -ECANCELED;
    if (TORC_UNLIKELY(err))
        return refuse_call(self, from, message, err);
    struct torci_served *record = torci_served_take(self);
    if (TORC_UNLIKELY(!record))
        return refuse_call(self, from, message, -ENOMEM);
    fill_call(record, from, message);
    err = start(self, record);
    if (TORC_UNLIKELY(err))
        answer(self, record, err);
    else
        remember(&self->calls, record);
    return true;
}

static bool take_nothing(struct torci_shard *self, uint32_t from,
                         const struct torci_message *message)
{
    (void)self;
    (void)from;
    (void)message;
    return true;
}

/* Answers the calls that wait behind a post that waits for a task: theirs might have to end first. The slots are this
 * side's until the lane is released. */
static void refuse_calls_behind(struct torci_shard *self, uint32_t from)
{
    struct torci_peer *peer = &self->mesh.peers[from];
    struct torci_message *message;
    for (uint64_t i = 1; (message = torci_mesh_unread(peer, i)); i++)
        if (message->fn == torci_take_call && refuse_call(self, from, message, -EAGAIN))
            message->fn = take_nothing;
}

/* ITSELF says that the value is in the message. */
static bool take_post(struct torci_shard *self, uint32_t from, const struct torci_message *message,
                      bool by_value)
{
    const uint64_t *words = message->words;
    if (TORC_UNLIKELY(refusal(self) != 0)) {
        void (*drop)(void *) =
            by_value ? NULL : (void (*)(void *))(uintptr_t)words[TORCI_POST_DROP];
        torci_count(&self->io.exec.counters->call_dropped);
        if (drop)
            drop((void *)(uintptr_t)words[TORCI_REQUEST_ARG]);
        return true;
    }
    struct torci_served *record = torci_served_take(self);
    int err = record ? 0 : -ENOMEM;
    if (record) {
        record->call = 0;
        record->from = from;
        record->fn = (torc_task_fn *)(uintptr_t)words[TORCI_REQUEST_FN];
        record->arg = by_value ? record->value : (void *)(uintptr_t)words[TORCI_REQUEST_ARG];
        if (by_value)
            memcpy(record->value, &words[TORCI_POST_VALUE], sizeof record->value);
        err = start(self, record);
        if (err)
            torci_served_put(self, record);
    }
    if (TORC_UNLIKELY(err))
        refuse_calls_behind(self, from);
    return !err;
}

bool torci_take_post(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    return take_post(self, from, message, false);
}

bool torci_take_post_copy(struct torci_shard *self, uint32_t from,
                          const struct torci_message *message)
{
    return take_post(self, from, message, true);
}

/* ---- cancels ---- */

/* The sender has published its requests before it sent the cancel. */
static struct torci_message *find_unread(struct torci_peer *peer, uint64_t id)
{
    struct torci_message *message;
    for (uint64_t i = 0; (message = torci_mesh_unread(peer, i)); i++)
        if (message->fn == torci_take_call && message->words[TORCI_REQUEST_ID] == id)
            return message;
    return NULL;
}

bool torci_take_cancel(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    uint64_t id = message->words[0];
    struct torci_served *record = find(&self->calls, from, id);
    if (record) {
        torc_task_cancel(&record->task);
        return true;
    }
    struct torci_message *request = find_unread(&self->mesh.peers[from], id);
    if (!request)
        return true; /* its answer is on its way */
    if (refuse_call(self, from, request, -ECANCELED))
        request->fn = take_nothing;
    else
        request->words[TORCI_REQUEST_CANCELLED] = 1;
    return true;
}
