/* SPDX-License-Identifier: MIT
 *
 * Work that would block the executor (a resolver, a library that reads files, a long computation) on a thread of a
 * bounded pool. The task sleeps, the executor goes on.
 */
#ifndef TORC_IO_BLOCKING_H
#define TORC_IO_BLOCKING_H

#include "core/task.h"

TORC_BEGIN_DECLS

/* Runs FN(ARG) on a pool thread and returns its result. FN must not call torc, and must return. The pool has at most
 * torc_config.blocking_threads threads, started when first needed; jobs beyond that wait in turn.
 * -EAGAIN: no thread could be started and none is running (FN did not run); -ECANCELED, -ETIMEDOUT: interrupted before
 * FN began (it did not run). Once FN runs the call waits for its end, whatever happens, because FN uses the caller's
 * memory; its result is returned then. The first call makes an eventfd: -EMFILE, -ENFILE, -ENOMEM. In a task. Does not
 * allocate. */
int torc_blocking(torc_task_fn *fn, void *arg) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
