/* SPDX-License-Identifier: MIT
 *
 * Starting and ending: torc_run makes an executor on every CPU and runs a program on all of them.
 *
 *     static int shard_main(void *arg)
 *     {
 *         printf("hello from shard %u of %u\n", torc_shard_id(), torc_shard_count());
 *         return 0;
 *     }
 *
 *     int main(void)
 *     {
 *         return torc_run(NULL, shard_main, NULL);
 *     }
 */
#ifndef TORC_SHARD_RUN_H
#define TORC_SHARD_RUN_H

#include "core/task.h"
#include "io/config.h"

TORC_BEGIN_DECLS

/* Runs MAIN(ARG) as the first task of every shard, and returns when all of them and all the tasks under them have ended.
 * Shard 0 is the calling thread; the others are threads of their own, each pinned to its CPU. No MAIN begins before every
 * shard is ready. A shard whose MAIN has returned 0 or more stays and serves the others until all have returned. The
 * first negative result starts a shutdown of all the others.
 * That first negative result; without one, what MAIN returned on shard 0. Or, with one line on standard error that says
 * what to do, a negative errno:
 * -ENOSYS, -EPERM, -EOPNOTSUPP: io_uring is not to be had, or too old; -ENOMEM: memory or RLIMIT_MEMLOCK; -EINVAL: a
 * config or a variable of the environment out of range, a CPU that is not allowed; -EMFILE: RLIMIT_NOFILE; -EBUSY: this
 * thread runs an executor already.
 * SIGINT and SIGTERM start an orderly shutdown, unless torc_config.keep_signals; a second one, or torc_config.drain_ns
 * without an end, ends the process at once. A signal that is sent to the process reaches some thread that does not block
 * it: start other threads with these two blocked, as torc's own are. */
int torc_run(const struct torc_config *config, torc_task_fn *main, void *arg) TORC_MUST_CHECK;

/* Which shard the calling thread is, 0 first, and how many there are. On a shard's thread. */
uint32_t torc_shard_id(void);
uint32_t torc_shard_count(void);
/* The CPU that SHARD is pinned to. On a shard's thread. */
unsigned torc_shard_cpu(uint32_t shard);

/* Starts an orderly shutdown of all shards: every first task is cancelled, and with it all that it joins. Returns at
 * once. On any shard. */
void torc_shutdown(void);
/* Whether this shard has been told of one. */
bool torc_is_shutting_down(void);

TORC_END_DECLS

#endif
