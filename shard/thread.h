/* SPDX-License-Identifier: MIT
 *
 * The way in for other threads: work for the shards from threads that are none, so that a threaded program can use torc
 * for a part of what it does.
 *
 *     struct torc_gateway *gateway;                    // in a task
 *     err = torc_gateway_open(&gateway);
 *     ...
 *     int total = torc_thread_call(gateway, owner, add, &amount);      // in any thread: waits, in the kernel
 *
 * A gateway does not keep the shards running. When they have ended it answers -ESHUTDOWN until it is closed.
 *
 * It has places for a fixed number of functions that have been sent and have not ended. A thread that dies while it waits
 * takes one along; nothing else is lost, and the function goes on, so what its argument points to must not be on that
 * thread's stack if such a thing can happen. (Waiting is no cancellation point, so this takes asynchronous cancellation, or
 * an exit in a signal's handler. A thread that is ended so in the middle of a send, which is some instructions long, keeps
 * the shards from ending.)
 *
 * Thread rule: open in a task; close from anywhere; everything else from any thread but a shard's own, which would wait
 * for itself and gets -EDEADLK.
 */
#ifndef TORC_SHARD_THREAD_H
#define TORC_SHARD_THREAD_H

#include "core/task.h"

TORC_BEGIN_DECLS

struct torc_gateway;

enum { TORC_GATEWAY_PLACES = 256 };

/* 0 and a gateway, which is to be closed; -ENOMEM; -EMFILE, -ENFILE: no descriptor to wake the shard by. */
int torc_gateway_open(struct torc_gateway **gateway) TORC_MUST_CHECK;
/* No thread may be in a call with GATEWAY, or make one afterwards; posted functions still run. Its memory goes when the
 * shards have ended as well. */
void torc_gateway_close(struct torc_gateway *gateway);

/* Runs FN(ARG) as a task on SHARD; sleeps until it has ended; returns what it returned. ARG stays the caller's. Waits for
 * a free place before, if need be.
 * Besides FN's own results: -EINVAL: no such shard; -ESHUTDOWN: it is stopping or gone; -EAGAIN: it has reached
 * torc_config.tasks_max; -ENOMEM: it has no memory for a task; -EIO: its ring has failed; -EDEADLK. */
int torc_thread_call(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn,
                     void *arg) TORC_MUST_CHECK;
/* The same, but after TIMEOUT_NS FN is cancelled: -ETIMEDOUT, once it has ended, unless it returned something else all
 * the same. */
int torc_thread_call_within(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn,
                            void *arg, uint64_t timeout_ns) TORC_MUST_CHECK;

/* Runs FN(ARG) as a task on SHARD some time later; what it returns is dropped. ARG belongs to FN if 0 is returned, but
 * when SHARD is stopping by the time it comes there, FN never runs. Sleeps while there is no free place. Those of one thread
 * to one shard begin in the order in which they were sent.
 * 0; -EINVAL, -ESHUTDOWN, -EDEADLK as above. */
int torc_thread_post(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn,
                     void *arg) TORC_MUST_CHECK;
/* The same, but never sleeps: -EAGAIN: there is no free place. */
int torc_thread_try_post(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn,
                         void *arg) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
