/* SPDX-License-Identifier: MIT */
#include "apps/torc/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/torc/engine_files.h"
#include "apps/torc/engine_memory.h"

struct bench_engine;

enum { DO_SYNC = BENCH_DIRECTIONS }; /* as a slot's `does`, beside the directions */

/* Two cache lines: what starting and reaping need of one operation. */
struct bench_slot {
    struct torc_op op;             /* first: the completion function gets its address */
    struct torc_transfer transfer; /* but for size and offset the same all the time */
    struct torc_buffer *buffer;
    struct bench_engine *engine;
    uint64_t start_ns, issue_ns;
    int32_t result;
    uint32_t file;
    uint32_t does; /* enum bench_direction, or DO_SYNC */
};

struct bench_engine {
    /* what the hot loop uses most */
    struct bench_stats *stats;
    struct bench_live *live;
    struct bench_slot **free; /* a stack: the last one used is warm */
    struct bench_slot **done;
    uint32_t free_count, done_count;
    uint32_t in_flight; /* started and not yet reaped */
    uint32_t syncs_every, writes_since_sync, last_written;
    bool sync_due, stopping;
    const struct bench_io *next; /* drawn, but refused by the full ring; NULL: none */
    struct torc_batch batch;
    uint64_t now_ns;                  /* the last clock read: what comes next starts then */
    uint64_t left_bytes, left_ios;    /* to start in this loop, in this job */
    uint64_t end_ns, ramp_end_ns;     /* UINT64_MAX: none */
    uint64_t random;                  /* for buffers */
    uint32_t fresh[BENCH_DIRECTIONS]; /* started in this batch */

    const struct bench_instance *instance;
    const struct bench_job *job;
    const struct bench_engine_env *env;
    struct bench_slot *slots;
    struct bench_offsets offsets;
    struct bench_files files;
    struct torc_buffer_pool buffers;
    bool has_buffers;
    struct bench_memory memory; /* that they lie in, if not in the arena */
    uint32_t sync_flags;
    uint32_t loops_left;
    int error;
};

static void on_done(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct bench_slot *slot = (struct bench_slot *)(void *)op;
    struct bench_engine *e = slot->engine;
    slot->result = result;
    e->done[e->done_count++] = slot;
    torc_batch_done(&e->batch);
}

/* The next loop, or the end of what is to be started. */
static void end_loop(struct bench_engine *e)
{
    if (!e->job->time_based && --e->loops_left == 0) {
        e->stopping = true;
        return;
    }
    bench_offsets_rewind(&e->offsets);
    e->left_bytes = e->instance->limit_bytes;
}

static void count_started(struct bench_engine *e, uint32_t bytes)
{
    if (--e->left_ios == 0)
        e->stopping = true;
    e->left_bytes -= bytes < e->left_bytes ? bytes : e->left_bytes;
    if (!e->left_bytes)
        end_loop(e);
}

typedef int start_fn(struct torc_file *file, const struct torc_transfer *transfer,
                     struct torc_op *op, torc_op_fn *done);
static start_fn *const START[BENCH_DIRECTIONS] = {torc_file_start_read, torc_file_start_write};

static int start_transfer(struct bench_engine *e, struct bench_slot *slot)
{
    const struct bench_io *io = e->next ? e->next : bench_offsets_next(&e->offsets);
    uint32_t bytes = (uint32_t)e->offsets.block_bytes[io->direction];
    slot->transfer.size = bytes;
    slot->transfer.offset = io->offset;
    if (io->direction == BENCH_WRITE)
        bench_buffers_prepare(e->job, slot->buffer->data, bytes, &e->random);
    int err = START[io->direction](&e->files.items[io->file], &slot->transfer, &slot->op, on_done);
    e->next = err ? io : NULL;
    if (TORC_UNLIKELY(err))
        return err;
    slot->does = io->direction;
    slot->file = io->file;
    e->fresh[io->direction]++;
    if (io->direction == BENCH_WRITE) {
        e->last_written = io->file;
        if (e->syncs_every && ++e->writes_since_sync == e->syncs_every) {
            e->writes_since_sync = 0;
            e->sync_due = true;
        }
    }
    count_started(e, bytes);
    return 0;
}

static int start_sync(struct bench_engine *e, struct bench_slot *slot, uint32_t index)
{
    struct io_uring_sqe *sqe;
    int err = torc_batch_start(&e->batch, &slot->op, on_done, &sqe);
    if (err)
        return err;
    io_uring_prep_fsync(sqe, e->files.items[index].fd, e->sync_flags);
    slot->does = DO_SYNC;
    slot->file = index;
    e->sync_due = false;
    return 0;
}

/* COUNT transfers have been started one after another, the first when DEPTH others were in flight. */
static void count_depths(struct bench_stats *stats, uint32_t depth, uint32_t count)
{
    while (count) {
        unsigned level = bench_depth_level(depth + 1);
        uint32_t rest = level == BENCH_LEVELS - 1 ? count : (2u << level) - 1 - depth;
        uint32_t here = count < rest ? count : rest;
        stats->depth_levels[level] += here;
        depth += here;
        count -= here;
    }
}

static void count_batch(struct bench_engine *e, uint32_t count, uint64_t slat_ns)
{
    uint32_t transfers = 0;
    for (int d = 0; d < BENCH_DIRECTIONS; d++) {
        if (e->fresh[d])
            torc_histogram_record_n(&e->stats->direction[d].slat, slat_ns, e->fresh[d]);
        transfers += e->fresh[d];
        e->fresh[d] = 0;
    }
    count_depths(e->stats, e->in_flight, transfers);
    e->stats->submit_levels[bench_batch_level(count)]++;
    e->in_flight += count;
}

/* Up to iodepth_batch free slots into operations; how many. */
static uint32_t fill_batch(struct bench_engine *e)
{
    uint32_t count = 0, room = e->job->batch < e->free_count ? e->job->batch : e->free_count;
    uint64_t start = e->now_ns;
    while (count < room && (!e->stopping || e->sync_due)) {
        struct bench_slot *slot = e->free[e->free_count - 1];
        int err = e->sync_due ? start_sync(e, slot, e->last_written) : start_transfer(e, slot);
        if (err) /* the ring is full: what is in flight makes room */
            break;
        e->free_count--;
        slot->start_ns = start;
        count++;
    }
    if (!count)
        return 0;
    uint64_t issue = e->now_ns = torc_now_ns();
    for (uint32_t i = 0; i < count; i++)
        e->free[e->free_count + i]->issue_ns = issue;
    count_batch(e, count, issue - start);
    return count;
}

/* Hands over what is queued: room for a whole ring is there only after that. */
static int submit(struct bench_engine *e)
{
    return torc_op_reserve(e->env->ring_entries);
}

/* Batches until the depth is reached. All but the last are handed over here; that one goes with the wait, which saves
 * a system call. */
static void fill(struct bench_engine *e)
{
    while (e->free_count && fill_batch(e) && e->free_count && (!e->stopping || e->sync_due))
        if (submit(e))
            return;
}

static void fail(struct bench_engine *e, const struct bench_slot *slot, int err)
{
    static const char *const WHAT[] = {"read", "write", "fsync"};
    e->stopping = true;
    e->sync_due = false;
    if (e->error)
        return;
    e->error = err;
    const char *path = e->instance->targets[slot->file]->path;
    if (slot->does == DO_SYNC)
        fprintf(stderr, "torc bench: job \"%s\": fsync of %s: %s\n", e->job->name, path,
                strerror(-err));
    else
        fprintf(stderr, "torc bench: job \"%s\": %s of %u bytes of %s at %" PRIu64 ": %s\n",
                e->job->name, WHAT[slot->does], (unsigned)slot->transfer.size, path,
                slot->transfer.offset,
                err == -ENODATA ? "nothing is there: has the file been cut?" : strerror(-err));
}

/* A result that is not the whole block; whether it still counts as a transfer. */
static bool is_short(struct bench_engine *e, const struct bench_slot *slot)
{
    if (slot->result <= 0) {
        fail(e, slot, slot->result ? slot->result : slot->does == BENCH_READ ? -ENODATA : -ENOSPC);
        return false;
    }
    e->stats->direction[slot->does].short_ios++;
    return true;
}

static void reap_sync(struct bench_engine *e, const struct bench_slot *slot, uint64_t now)
{
    if (slot->result < 0)
        fail(e, slot, slot->result);
    else
        torc_histogram_record(&e->stats->sync, now - slot->issue_ns);
}

static void reap(struct bench_engine *e, uint64_t now)
{
    uint32_t count = e->done_count < e->job->complete_max ? e->done_count : e->job->complete_max;
    for (uint32_t i = 0; i < count; i++) {
        struct bench_slot *slot = e->done[i];
        e->free[e->free_count++] = slot;
        if (TORC_UNLIKELY(slot->does == DO_SYNC)) {
            reap_sync(e, slot, now);
            continue;
        }
        if (TORC_UNLIKELY(slot->result != (int32_t)slot->transfer.size) && !is_short(e, slot))
            continue;
        struct bench_direction_stats *s = &e->stats->direction[slot->does];
        torc_histogram_record(&s->clat, now - slot->issue_ns);
        torc_histogram_record(&s->lat, now - slot->start_ns);
        s->ios++;
        s->bytes += (uint32_t)slot->result;
    }
    e->in_flight -= count;
    e->done_count -= count;
    if (e->done_count) /* iodepth_batch_complete_max left some */
        memmove(e->done, e->done + count, e->done_count * sizeof(struct bench_slot *));
    e->stats->complete_levels[bench_batch_level(count)]++;
}

/* Once a batch: the counts are plain for us, who alone change them. */
static void publish(struct bench_engine *e)
{
    const struct bench_direction_stats *s = e->stats->direction;
    __atomic_store_n(&e->live->ios, s[BENCH_READ].ios + s[BENCH_WRITE].ios, __ATOMIC_RELAXED);
    __atomic_store_n(&e->live->bytes, s[BENCH_READ].bytes + s[BENCH_WRITE].bytes, __ATOMIC_RELAXED);
}

static uint32_t wanted_completions(const struct bench_engine *e)
{
    const struct bench_job *job = e->job;
    uint32_t wanted = job->complete_min ? job->complete_min : 1;
    if (e->stopping && !e->sync_due)
        return e->in_flight;
    if (e->in_flight > job->depth_low && e->in_flight - job->depth_low > wanted)
        return e->in_flight - job->depth_low;
    return wanted;
}

/* Runtime counts from the end of ramp_time as it was noticed: under load that may be late. */
static uint64_t end_of_runtime(const struct bench_engine *e, uint64_t now)
{
    return e->job->runtime_ns ? now + e->job->runtime_ns : UINT64_MAX;
}

/* From here on it counts: forgets what was measured before. */
static void begin_measuring(struct bench_engine *e, uint64_t now)
{
    bench_stats_begin(e->stats, now);
    __atomic_store_n(&e->live->began_ns, now, __ATOMIC_RELAXED);
    e->env->begins(e->env->context, e->instance);
}

static void pass_time(struct bench_engine *e, uint64_t now)
{
    if (TORC_UNLIKELY(now >= e->ramp_end_ns)) {
        e->ramp_end_ns = UINT64_MAX;
        e->left_bytes = e->instance->limit_bytes;
        e->end_ns = end_of_runtime(e, now);
        begin_measuring(e, now);
    }
    bench_stats_tick(e->stats, now);
    if (TORC_UNLIKELY(now >= e->end_ns))
        e->stopping = true;
}

/* Waits until nothing is with the kernel any more, whatever interrupts: the buffers are about to go. */
static void drain(struct bench_engine *e)
{
    struct torc_mask mask;
    torc_mask_enter(&mask);
    while (e->in_flight) {
        if (e->in_flight > e->done_count && torc_batch_wait(&e->batch, e->in_flight) < 0)
            break;
        reap(e, torc_now_ns());
    }
    torc_mask_leave(&mask);
}

/* One turn: false when there is nothing left to do. */
static bool turn(struct bench_engine *e)
{
    fill(e);
    if (!e->in_flight) {
        /* Other jobs may have filled the ring. */
        if (!e->stopping)
            torc_yield();
        e->now_ns = torc_now_ns();
        return !e->stopping && !torc_task_check();
    }
    uint32_t wanted = wanted_completions(e);
    int got =
        wanted > e->done_count ? torc_batch_wait(&e->batch, wanted - e->done_count) : submit(e);
    if (got == -ECANCELED || got == -ETIMEDOUT)
        return false;
    uint64_t reaped_ns = torc_turn_ns();
    reap(e, reaped_ns);
    publish(e);
    e->now_ns = reaped_ns > e->now_ns ? reaped_ns : e->now_ns;
    pass_time(e, e->now_ns);
    return true;
}

static void work(struct bench_engine *e)
{
    while (turn(e))
        ;
    e->stopping = true;
    e->sync_due = false;
    drain(e);
}

static void sync_at_end(struct bench_engine *e)
{
    for (uint32_t i = 0; i < e->files.count && !e->error; i++) {
        struct bench_slot *slot = e->free[--e->free_count];
        slot->start_ns = slot->issue_ns = torc_now_ns();
        if (start_sync(e, slot, i)) {
            e->free_count++;
            fail(e, slot, -EAGAIN);
        } else {
            e->in_flight++;
        }
        drain(e);
    }
}

static int init_slots(struct bench_engine *e)
{
    uint32_t depth = e->job->depth;
    e->slots = calloc(depth, sizeof(*e->slots));
    e->free = calloc(depth, sizeof(struct bench_slot *));
    e->done = calloc(depth, sizeof(struct bench_slot *));
    if (!e->slots || !e->free || !e->done)
        return -ENOMEM;
    for (uint32_t i = 0; i < depth; i++) {
        struct bench_slot *slot = &e->slots[i];
        int err = torc_buffer_try_get(&e->buffers, 1, &slot->buffer);
        if (err)
            return err;
        bench_buffers_fill(e->job, slot->buffer, &e->random);
        slot->engine = e;
        slot->transfer = (struct torc_transfer){
            .memory = slot->buffer->data, .buffer = slot->buffer, .batch = &e->batch};
        e->free[depth - 1 - i] = slot;
    }
    e->free_count = depth;
    torc_batch_init(&e->batch);
    return 0;
}

static void choose_syncs(struct bench_engine *e)
{
    e->syncs_every = e->job->fsync ? e->job->fsync : e->job->fdatasync;
    e->sync_flags = e->job->fdatasync ? IORING_FSYNC_DATASYNC : 0;
}

static void begin(struct bench_engine *e)
{
    const struct bench_job *job = e->job;
    uint64_t now = e->now_ns = torc_now_ns();
    e->left_bytes = e->instance->limit_bytes;
    e->left_ios = job->number_ios ? job->number_ios : UINT64_MAX;
    e->loops_left = job->loops;
    e->ramp_end_ns = job->ramp_ns ? now + job->ramp_ns : UINT64_MAX;
    e->end_ns = job->ramp_ns ? UINT64_MAX : end_of_runtime(e, now);
    begin_measuring(e, now);
}

static int fail_memory(const struct bench_job *job)
{
    fprintf(stderr,
            "torc bench: job \"%s\": out of memory: lower iodepth or size, or add norandommap=1\n",
            job->name);
    return -ENOMEM;
}

static int set_up(struct bench_engine *e)
{
    const struct bench_instance *in = e->instance;
    int err = bench_memory_map(&e->memory, in, bench_buffers_bytes(e->job));
    if (err)
        return err;
    err = bench_buffers_init(&e->buffers, e->job, e->memory.start);
    if (err)
        return err;
    e->has_buffers = true;
    if (bench_offsets_init(&e->offsets, e->job, in->spans, in->file_count, in->seed) ||
        init_slots(e))
        return fail_memory(e->job);
    return 0;
}

static void tear_down(struct bench_engine *e)
{
    for (uint32_t i = 0; e->slots && i < e->job->depth; i++)
        if (e->slots[i].buffer)
            torc_buffer_put(e->slots[i].buffer);
    if (e->has_buffers)
        torc_buffer_pool_deinit(&e->buffers);
    bench_memory_unmap(&e->memory);
    bench_offsets_deinit(&e->offsets);
    free(e->slots);
    free(e->free);
    free(e->done);
}

static int run(struct bench_engine *e)
{
    if (e->env->ready(e->env->context, e->instance))
        return 0;
    if (e->job->start_delay_ns && torc_sleep(e->job->start_delay_ns))
        return 0;
    choose_syncs(e);
    begin(e);
    work(e);
    if (e->job->end_fsync && e->job->does[BENCH_WRITE])
        sync_at_end(e);
    bench_stats_end(e->stats, torc_now_ns());
    if (e->ramp_end_ns != UINT64_MAX)
        fprintf(stderr,
                "torc bench: warning: job \"%s\" ended within its ramp_time: its figures are of "
                "that\n",
                e->job->name);
    return e->error;
}

static int open_and_run(struct bench_engine *e)
{
    int err = bench_files_open(&e->files, e->instance);
    if (err)
        return err;
    err = set_up(e);
    if (!err)
        err = run(e);
    tear_down(e);
    bench_files_close(&e->files);
    return err;
}

int bench_engine_run(const struct bench_instance *instance, const struct bench_engine_env *env,
                     struct bench_stats *stats, struct bench_live *live)
{
    struct bench_engine *e = calloc(1, sizeof(*e));
    if (!e)
        return stats->error = fail_memory(instance->job);
    e->instance = instance;
    e->job = instance->job;
    e->env = env;
    e->stats = stats;
    e->live = live;
    e->random = ~instance->seed;
    stats->error = open_and_run(e);
    free(e);
    return stats->error;
}
