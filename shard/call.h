/* SPDX-License-Identifier: MIT
 *
 * Calls: running a function on another shard, as a task of that shard, by message and without locks.
 *
 *     torc_call         run it there, wait here, get its result
 *     torc_post         run it there, don't wait for it
 *     torc_call_all     run it on every shard at the same time
 *     torc_map_reduce   the same, and fold what they found
 *
 *     static int add(void *amount)                      // on the shard that owns the counter: no lock
 *     {
 *         return counter += *(const int *)amount;
 *     }
 *
 *     int total = torc_call(owner, add, &amount);
 *
 * Cancellation and deadlines cross shards: the caller's deadline goes along and holds for the function's blocking calls
 * too; when the caller is interrupted the function is cancelled where it runs, and the call returns once it has ended
 * there. So memory of the caller's is good for the function as long as it runs, and never touched after.
 *
 * Functions sent by one task to one shard begin in the order in which they were sent. A function may block, call and
 * post in its turn, also back to where it came from.
 *
 * Back-pressure: the lane between two shards has a fixed number of places. Who finds it full waits for room (in the
 * order they came) or, in the try_ form, gets -EAGAIN. Only one case is refused instead: the receiver has no task left,
 * and who wants to wait runs for another shard itself; two shards could so wait for each other for ever.
 *
 * Shard rule: in a task, but for what says "anywhere on a shard". Nothing here allocates once as many functions have been
 * at work at the same time before.
 */
#ifndef TORC_SHARD_CALL_H
#define TORC_SHARD_CALL_H

#include "core/task.h"

TORC_BEGIN_DECLS

enum { TORC_POST_COPY_MAX = 40 }; /* bytes that go along with a post */

/* Runs FN(ARG) as a task on SHARD and returns what it returned. ARG stays the caller's; FN may use it until it returns.
 * On the caller's own shard FN is called at once, by the caller's task.
 * Besides FN's own results: -EINVAL: no such shard; -ESHUTDOWN: it is stopping, or gone; -EAGAIN: it has reached
 * torc_config.tasks_max; -ENOMEM: it has no memory for a task; -EIO: its ring has failed; and FN has not run, or, with
 * -EIO, may have run in part. -ECANCELED, -ETIMEDOUT: the caller was interrupted, and FN was cancelled or never run; if FN
 * returned something else all the same, that is the result. */
int torc_call(uint32_t shard, torc_task_fn *fn, void *arg) TORC_MUST_CHECK;

/* Runs FN(ARG) as a task on SHARD, which may be the caller's own, some time later. What FN returns is dropped. ARG
 * belongs to FN from the moment that torc_post returns 0. Waits for room, if need be.
 * 0; -EINVAL: no such shard; -EAGAIN: see the top; -ECANCELED, -ETIMEDOUT: the caller was interrupted while it waited.
 * On error ARG stays the caller's.
 * What was posted by a main function, or before one of them ended by tasks under it, runs before its shard stops, unless
 * there is a shutdown. What comes to a shard that is stopping is dropped: FN never runs; torc_post_with can say what is to
 * become of ARG then. */
int torc_post(uint32_t shard, torc_task_fn *fn, void *arg) TORC_MUST_CHECK;
/* The same, but never waits: -EAGAIN: there is no room. Anywhere on a shard. */
int torc_try_post(uint32_t shard, torc_task_fn *fn, void *arg) TORC_MUST_CHECK;

struct torc_post_options {
    bool dont_wait; /* -EAGAIN instead, and so anywhere on a shard */
    /* Called with ARG in place of FN, on SHARD's loop, when SHARD is stopping. Must not block. */
    void (*drop)(void *arg);
};
/* OPTIONS may be NULL: all zero. */
int torc_post_with(uint32_t shard, const struct torc_post_options *options, torc_task_fn *fn,
                   void *arg) TORC_MUST_CHECK;

/* torc_post, but ARG is a copy of SIZE_BYTES (at most TORC_POST_COPY_MAX, else -EINVAL) at VALUE, aligned to 8 bytes, that
 * lives while FN runs: nobody has to own it. */
int torc_post_copy(uint32_t shard, torc_task_fn *fn, const void *value,
                   size_t size_bytes) TORC_MUST_CHECK;

/* Runs FN(ARG) on every shard, the caller's included, all at the same time, and returns when all have ended. ARG stays
 * the caller's, and is everybody's meanwhile.
 * 0, or the first negative result that came: FN's, or one of torc_call's. When the caller is interrupted all are
 * cancelled, and it is -ECANCELED or -ETIMEDOUT. */
int torc_call_all(torc_task_fn *fn, void *arg) TORC_MUST_CHECK;
/* The same, and each shard's result goes to RESULTS[shard]: room for torc_shard_count() of them. */
int torc_call_each(torc_task_fn *fn, void *arg, int *results) TORC_MUST_CHECK;

/* What torc_map_reduce does: MAP(arg, part) on each shard fills in a part of its own, zeroed and PART_BYTES long; then
 * REDUCE(total, part) on the caller's shard folds the parts, shard 0's first. */
struct torc_map_reduce {
    int (*map)(void *arg, void *part);
    void (*reduce)(void *total, const void *part);
    size_t part_bytes;
};
/* ARG and TOTAL stay the caller's. Allocates the parts for as long as it takes.
 * 0; -ENOMEM; or a negative result as of torc_call_all: TOTAL has not been touched then. */
int torc_map_reduce(const struct torc_map_reduce *job, void *arg, void *total) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
