/* SPDX-License-Identifier: MIT
 *
 * A shard and the set that it belongs to. A shard is an executor (struct torci_io) and its ends of the lanes to all
 * others; everything of it but what is named atomic is its own thread's. The set outlives all its shards.
 *
 * The life of a set, as boot (shard/run.c) moves it; each step is taken by the last shard to be ready for it:
 *
 *     opening     one thread after another makes its executor; the first failure ends it all
 *     running     every shard runs main; a shard whose main has returned 0 goes on serving
 *     stopping    all mains have ended, or a shutdown was asked for and this shard's main has ended: the shard refuses
 *                 new work and waits for what it still serves (on shutdown it cancels that first)
 *     quiet       no shard serves anything any more, so nobody can send: executors end, rings are closed
 */
#ifndef TORC_SHARD_SHARD_INTERNAL_H
#define TORC_SHARD_SHARD_INTERNAL_H

#include "core/event.h"
#include "core/wheel.h"
#include "io/io_internal.h"
#include "shard/call_internal.h"
#include "shard/mesh_internal.h"
#include "shard/placement_internal.h"
#include "shard/returns_internal.h"
#include "shard/thread_internal.h"
#include "shard/watch_internal.h"

/* Threads that wait for each other. Atomic; ROUND is a futex. */
struct torci_barrier {
    uint32_t expected, arrived, round;
};

struct torci_set {
    const struct torci_kernel *kernel;
    struct torc_config config; /* all defaults filled in */
    struct torci_seat *seats;
    uint32_t count;
    struct torci_arena_set *arenas;
    struct torci_counters_file counters;
    struct torci_shard **shards;
    torc_task_fn *main;
    void *arg;
    struct torc_gateway *gateways; /* atomic: all that were ever opened */
    struct torci_barrier opened, drained;
    uint32_t open_turn; /* atomic, futex: the shard that may open now */
    int open_error;     /* the first failure to open; whose turn it is may touch it */
    uint32_t started;   /* threads, besides the caller's */
    int result;         /* shard 0's */

    /* Atomic all: looked at by every shard when it is nudged. */
    _Alignas(TORCI_LANE_LINE) int first_error; /* of a main */
    uint32_t shutting_down;
    uint32_t mains_left; /* shards whose main has not ended */
    uint32_t busy_left;  /* shards that serve or may serve */
    uint32_t drain_over; /* its time is: each shard is to say what it has left */
};

struct torci_shard {
    struct torci_io io;
    struct torci_set *set;
    uint32_t id;
    uintptr_t thread; /* but for shard 0, which runs in the caller's */
    struct torci_arena *arena;
    struct torci_alloc alloc;
    struct torci_returns returns;
    struct torci_mesh mesh;
    struct torci_calls calls;
    struct torci_letters letters;
    struct torc_scope served; /* tasks that run for others; owned by the first task */
    struct torc_event look;   /* the set's state has moved */
    struct torci_timer drain; /* of shard 0 */
    uint32_t busy;            /* atomic: it is one of busy_left */
    uint32_t drain_told;      /* atomic: it has said what it has left */
    bool told_shutdown;
    bool main_ended;
    bool ended;    /* the first task has come to its end */
    bool buried;   /* the executor has broken down; the thread only takes mail */
    bool stopping; /* new work is refused with -ESHUTDOWN */
};

static inline struct torci_shard *torci_shard_this(void)
{
    return TORC_CONTAINER_OF(torci_io_this(), struct torci_shard, io);
}

/* The set has moved on (mesh: TORCI_BIT_LOOK). */
void torci_shard_look(struct torci_shard *shard);

/* Starts an orderly shutdown of the set. Any shard. */
void torci_set_shutdown(struct torci_set *set);
/* The set's state has moved: every shard is to look. Any thread of it. */
void torci_set_nudge(struct torci_set *set);

/* shard/drain.c: how long a signal leaves the tasks to end. Started on shard 0 by the first signal, which the process
 * dies of when the time is over. */
void torci_drain_start(struct torci_shard *shard);
void torci_drain_stop(struct torci_shard *shard);
/* On any shard when it looks: says what it has left, once, if the time is over. */
void torci_drain_look(struct torci_shard *shard);

#endif
