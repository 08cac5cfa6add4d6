/* SPDX-License-Identifier: MIT
 *
 * Boot: from a config to a set of running shards and back. shard/shard_internal.h has the life of a set.
 */
#include "shard/run.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/time.h"
#include "io/executor_internal.h"
#include "shard/environment_internal.h"
#include "shard/placement_internal.h"
#include "shard/shard_internal.h"

enum {
    LINE_MAX = 256,
    LAST_POSTS_LOOK_NS = 1000 * 1000,
    BURIED_LOOK_NS = 1000 * 1000, /* how often the thread of a broken executor looks at its mail */
};

/* ---- threads that wait for each other ---- */

static void futex_wait(const struct torci_kernel *kernel, uint32_t *word, uint32_t value)
{
    (void)TORCI_CALL(kernel, SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0);
}

/* Returns early when somebody wakes it, and when it likes. */
static void futex_wait_for(const struct torci_kernel *kernel, uint32_t *word, uint32_t value,
                           uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_nsec = (long)timeout_ns};
    (void)TORCI_CALL(kernel, SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&timeout);
}

static void futex_wake_all(const struct torci_kernel *kernel, uint32_t *word)
{
    (void)TORCI_CALL(kernel, SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

/* Until all that are expected have come. */
static void barrier_wait(const struct torci_kernel *kernel, struct torci_barrier *barrier)
{
    /* ACQ_REL and the acquire below: what each did before is seen by all after */
    uint32_t round = __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == barrier->expected) {
        __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
        futex_wake_all(kernel, &barrier->round);
        return;
    }
    while (__atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round)
        futex_wait(kernel, &barrier->round, round);
}

/* ---- the life of a shard ---- */

void torci_set_nudge(struct torci_set *set)
{
    for (uint32_t id = 0; id < set->count; id++)
        torci_mesh_wake(set->shards[id], id, TORCI_BIT_LOOK);
}

void torci_set_shutdown(struct torci_set *set)
{
    /* ACQ_REL pairs with torci_shard_look */
    if (!__atomic_exchange_n(&set->shutting_down, 1, __ATOMIC_ACQ_REL))
        torci_set_nudge(set);
}

static uint32_t left(const uint32_t *count)
{
    return __atomic_load_n(count, __ATOMIC_ACQUIRE); /* pairs with one_less */
}

static void one_less(struct torci_set *set, uint32_t *count)
{
    if (!__atomic_sub_fetch(count, 1, __ATOMIC_ACQ_REL))
        torci_set_nudge(set);
}

/* It has nothing to serve, and takes nothing new. Once. */
static void leave_busy(struct torci_shard *shard)
{
    /* RELEASE pairs with torci_drain_look's acquire; the count is what others act on */
    if (__atomic_exchange_n(&shard->busy, 0, __ATOMIC_RELEASE))
        one_less(shard->set, &shard->set->busy_left);
}

void torci_shard_look(struct torci_shard *shard)
{
    struct torci_set *set = shard->set;
    if (shard->buried)
        return;
    torci_drain_look(shard);
    if (__atomic_load_n(&set->shutting_down, __ATOMIC_ACQUIRE) && !shard->told_shutdown) {
        shard->told_shutdown = true;
        torci_exec_cancel_main(&shard->io.exec);
        if (shard->stopping)
            torc_scope_cancel(&shard->served);
    }
    torc_event_set(&shard->look);
}

/* Until the set has come so far that DONE says so. In the first task, masked. */
static void wait_for(struct torci_shard *shard, bool (*done)(const struct torci_shard *shard))
{
    while (!done(shard)) {
        torc_event_reset(&shard->look);
        int err = torc_event_wait(&shard->look);
        TORC_ASSERT(!err); /* nothing interrupts a masked section */
    }
}

static bool may_stop(const struct torci_shard *shard)
{
    return shard->told_shutdown || !left(&shard->set->mains_left);
}

static bool is_quiet(const struct torci_shard *shard)
{
    return !left(&shard->set->busy_left);
}

/* All mains have ended, and what they have posted is in the lanes. It may have to wait for tasks, with nothing that would
 * tell us when the last of it has begun. */
static void take_last_posts(struct torci_shard *shard)
{
    for (uint64_t pause_ns = 0;
         !shard->told_shutdown && (torci_mesh_has_work(shard) || shard->letters.first);
         pause_ns = LAST_POSTS_LOOK_NS) {
        int err = torc_sleep(pause_ns); /* at least one turn of the loop */
        TORC_ASSERT(!err);
    }
}

/* After main: serves the other shards until nobody needs it any more. */
static void linger(struct torci_shard *shard)
{
    struct torci_set *set = shard->set;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    shard->main_ended = true;
    torci_mesh_flush_all(shard); /* what main has posted is there before anyone may stop */
    one_less(set, &set->mains_left);
    wait_for(shard, may_stop);
    take_last_posts(shard);
    shard->stopping = true;
    if (shard->told_shutdown)
        torc_scope_cancel(&shard->served);
    int failed = torc_scope_join(&shard->served);
    (void)failed; /* who asked for the work has been told */
    /* While the others are there to take it: once all are quiet nobody makes room in a full lane any more. */
    wait_for(shard, torci_mesh_is_flushed);
    leave_busy(shard);
    wait_for(shard, is_quiet);
    torc_mask_leave(&mask);
}

/* The first one counts. */
static void keep_error(struct torci_set *set, int err)
{
    int none = 0;
    /* RELAXED: read after the threads have been joined */
    (void)__atomic_compare_exchange_n(&set->first_error, &none, err, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED);
}

static void note_error(struct torci_set *set, int err)
{
    keep_error(set, err);
    torci_set_shutdown(set);
}

/* The first task of every shard. */
static int first_task(void *arg)
{
    struct torci_shard *shard = (struct torci_shard *)arg;
    struct torci_set *set = shard->set;
    torc_scope_init(&shard->served);
    torc_event_init(&shard->look);
    int result = torci_signals_shutdown_start(&shard->io);
    if (!result)
        result = set->main(set->arg);
    if (result < 0)
        note_error(set, result);
    linger(shard);
    torci_drain_stop(shard);
    torci_signals_shutdown_stop(&shard->io);
    shard->ended = true;
    return result;
}

/* ---- opening ---- */

/* Before any main begins: a signal that one of them is sent must not find nobody. */
static int take_signals(struct torci_shard *shard)
{
    if (shard->id || shard->io.config.keep_signals)
        return 0;
    int err = torci_signals_shutdown_prepare(&shard->io);
    if (err)
        torci_io_say(shard->io.kernel,
                     "torc: signals can't be watched: raise the limit of open files (ulimit -n), "
                     "or set torc_config.keep_signals");
    return err;
}

static int prepare_wake(struct torci_shard *shard)
{
    if (shard->set->count == 1)
        return 0;
    int err = torci_io_wake_prepare(&shard->io);
    if (err)
        torci_io_say(shard->io.kernel, "torc: no descriptor to wake a shard by: raise the limit of "
                                       "open files (ulimit -n)");
    return err;
}

static int open_shard(struct torci_shard *shard)
{
    struct torci_io *io = &shard->io;
    const struct torci_seat *seat = &shard->set->seats[shard->id];
    if (seat->shared)
        io->config.spin_ns = 0;
    io->shares_cpu = seat->shared;
    int err = torci_io_open(io, seat->cpu);
    if (err)
        return err;
    torci_mesh_touch(shard);
    err = prepare_wake(shard);
    if (!err)
        err = take_signals(shard);
    if (err)
        torci_io_close(io);
    return err;
}

/* One after another, so that a failure is told once and the first one counts. Whether the set is complete. */
static bool open_in_turn(struct torci_shard *shard)
{
    struct torci_set *set = shard->set;
    const struct torci_kernel *kernel = set->kernel;
    uint32_t turn;
    /* ACQUIRE pairs with the release below */
    while ((turn = __atomic_load_n(&set->open_turn, __ATOMIC_ACQUIRE)) != shard->id)
        futex_wait(kernel, &set->open_turn, turn);
    int err = set->open_error ? -ECANCELED : open_shard(shard);
    if (err && !set->open_error)
        set->open_error = err;
    __atomic_store_n(&set->open_turn, shard->id + 1, __ATOMIC_RELEASE);
    futex_wake_all(kernel, &set->open_turn);
    barrier_wait(kernel, &set->opened);
    if (!err && set->open_error)
        torci_io_close(&shard->io);
    return !set->open_error;
}

/* The executor has ended before its tasks had: its ring is broken. The others must be able to end in order all the same,
 * so its mail is still taken, and its work refused. */
static void bury(struct torci_shard *shard, int err)
{
    struct torci_set *set = shard->set;
    torci_this = &shard->io.exec;
    shard->buried = shard->stopping = true;
    note_error(set, err);
    if (!shard->main_ended)
        one_less(set, &set->mains_left);
    torci_mesh_bury(shard);
    torci_calls_bury(shard);
    torci_letters_bury(shard);
    leave_busy(shard);
    uint32_t left_to_wait;
    while ((left_to_wait = left(&set->busy_left)) > 0) {
        shard->io.outside.turn(&shard->io);
        futex_wait_for(set->kernel, &set->busy_left, left_to_wait, BURIED_LOOK_NS);
    }
    shard->io.outside.turn(&shard->io);
    torci_this = NULL;
}

static void run_shard(struct torci_shard *shard)
{
    struct torci_set *set = shard->set;
    if (!open_in_turn(shard))
        return;
    int result = torci_io_run(&shard->io, first_task, shard);
    if (!shard->ended)
        bury(shard, result);
    else if (result < 0)
        keep_error(set, result); /* main's own is kept already; or the ring's, when all had ended */
    else if (shard->id == 0)
        set->result = result;
    /* Until the last one has sent its last message every ring must be there to be woken by it. */
    if (shard->id == 0)
        torci_gateways_shut(set);
    barrier_wait(set->kernel, &set->drained);
    torci_letters_refuse(shard);
    torci_calls_deinit(shard);
    torci_io_close(&shard->io);
}

static void thread_main(void *arg)
{
    run_shard((struct torci_shard *)arg);
}

static void shutdown_asked(struct torci_io *io)
{
    struct torci_shard *shard = TORC_CONTAINER_OF(io, struct torci_shard, io);
    torci_drain_start(shard);
    torci_set_shutdown(shard->set);
}

static int create_shard(struct torci_set *set, uint32_t id)
{
    const struct torci_host *host = &set->kernel->host;
    struct torci_shard *shard =
        (struct torci_shard *)host->map(host->map_context, sizeof(struct torci_shard));
    if (!shard) {
        torci_io_say(set->kernel, "torc: out of memory");
        return -ENOMEM;
    }
    set->shards[id] = shard;
    shard->set = set;
    shard->id = shard->io.id = id;
    shard->busy = 1;
    torci_letters_init(&shard->letters);
    torci_io_prepare(&shard->io, &set->config);
    shard->io.counters = torci_counters_of(&set->counters, id);
    shard->io.counter_set = &set->counters.set;
    int err = torci_arena_open(set->arenas, id, set->seats[id].node, &shard->arena);
    if (err)
        return err;
    torci_arena_watch(shard->arena, shard->io.counters);
    torci_arena_host(shard->arena, &shard->io.host);
    err = torci_alloc_init(&shard->alloc, shard->arena);
    if (!err)
        err = torci_returns_init(shard);
    if (!err)
        err = torci_mesh_create(shard);
    if (err)
        torci_io_say(set->kernel, "torc: out of memory");
    shard->io.outside.shutdown = shutdown_asked;
    return err;
}

static void destroy_shards(struct torci_set *set)
{
    const struct torci_host *host = &set->kernel->host;
    for (uint32_t id = 0; id < set->count && set->shards[id]; id++) {
        torci_mesh_destroy(set->shards[id]);
        torci_alloc_deinit(&set->shards[id]->alloc);
        host->unmap(host->map_context, set->shards[id], sizeof(struct torci_shard));
    }
    torci_arena_set_destroy(set->arenas);
    host->free(host->context, set->shards, set->count * sizeof *set->shards);
}

/* All memory first: after this only threads and rings can fail. A failure is one line. */
static int create_shards(struct torci_set *set)
{
    const struct torci_host *host = &set->kernel->host;
    set->shards =
        (struct torci_shard **)host->alloc(host->context, set->count * sizeof *set->shards);
    if (!set->shards) {
        torci_io_say(set->kernel, "torc: out of memory");
        return -ENOMEM;
    }
    const struct torci_arena_options options = {.arena_bytes = set->config.arena_bytes,
                                                .hugepages = set->config.hugepages,
                                                .prefault = set->config.prefault,
                                                .eager_bytes = torci_mesh_lanes_bytes(set->count) +
                                                               TORCI_ARENA_UNIT};
    int err = torci_arena_set_create(set->kernel, &options, set->count, &set->arenas);
    for (uint32_t id = 0; id < set->count && !err; id++)
        err = create_shard(set, id);
    for (uint32_t id = 0; id < set->count && !err; id++)
        torci_mesh_connect(set->shards[id]);
    if (err)
        destroy_shards(set);
    return err;
}

static int start_threads(struct torci_set *set)
{
    const struct torci_kernel *kernel = set->kernel;
    for (uint32_t id = 1; id < set->count; id++) {
        char name[16];
        snprintf(name, sizeof name, "torc-%u", (unsigned)id);
        int err = kernel->thread_start(kernel->host.context, thread_main, set->shards[id], name,
                                       &set->shards[id]->thread);
        if (err) {
            char line[LINE_MAX];
            snprintf(line, sizeof line,
                     "torc: shard %u gets no thread: raise the limit of processes (ulimit -u), or "
                     "ask for fewer shards",
                     (unsigned)id);
            torci_io_say(kernel, line);
            /* Those that were started come as far as the first barrier. */
            set->opened.expected = id;
            set->open_error = err;
            return err;
        }
        set->started++;
    }
    return 0;
}

static int run_set(struct torci_set *set)
{
    const struct torci_kernel *kernel = set->kernel;
    int err = create_shards(set);
    if (err)
        return err;
    set->opened.expected = set->drained.expected = set->count;
    set->mains_left = set->busy_left = set->count;
    (void)start_threads(set); /* noted in open_error */
    run_shard(set->shards[0]);
    for (uint32_t id = 1; id <= set->started; id++)
        kernel->thread_join(kernel->host.context, set->shards[id]->thread);
    destroy_shards(set);
    torci_gateways_put(set);
    if (set->open_error)
        return set->open_error;
    return set->first_error ? set->first_error : set->result;
}

int torc_run(const struct torc_config *given, torc_task_fn *main, void *arg)
{
    if (torci_this)
        return -EBUSY;
    struct torci_set set = {.config = torci_config_with_defaults(given), .main = main, .arg = arg};
    set.kernel = set.config.kernel;
    int err = torci_environment_apply(&set.config);
    if (!err)
        err = torci_config_check(&set.config);
    if (!err)
        err = torci_place(set.kernel, &set.config, &set.seats, &set.count);
    if (err)
        return err;
    err = torci_counters_open(set.kernel, set.config.counters, set.count, &set.counters);
    if (!err) {
        err = run_set(&set);
        torci_counters_close(&set.counters);
    }
    torci_place_free(set.kernel, set.seats, set.count);
    return err;
}

uint32_t torc_shard_id(void)
{
    return torci_shard_this()->id;
}

uint32_t torc_shard_count(void)
{
    return torci_shard_this()->set->count;
}

unsigned torc_shard_cpu(uint32_t shard)
{
    const struct torci_set *set = torci_shard_this()->set;
    TORC_ASSERT(shard < set->count);
    return (unsigned)set->shards[shard]->io.cpu;
}

void torc_shutdown(void)
{
    torci_set_shutdown(torci_shard_this()->set);
}

bool torc_is_shutting_down(void)
{
    return torci_shard_this()->told_shutdown;
}
