/* SPDX-License-Identifier: MIT
 *
 * One executor, from a config to a running one and back, on the thread that is to be it. Boot (shard/run.c) starts
 * several; a failure on the way up is one line that says what to do about it.
 */
#ifndef TORC_IO_EXECUTOR_INTERNAL_H
#define TORC_IO_EXECUTOR_INTERNAL_H

#include "io/io_internal.h"

/* CONFIG with every default filled in. */
struct torc_config torci_config_with_defaults(const struct torc_config *given);
/* 0, or -EINVAL and a line. */
int torci_config_check(const struct torc_config *config) TORC_MUST_CHECK;

/* IO is zeroed but for what torci_io_prepare has set. Pins the thread to CPU (the first allowed one if negative), makes
 * the ring and everything else; after an error there is nothing to close. */
void torci_io_prepare(struct torci_io *io, const struct torc_config *config);
int torci_io_open(struct torci_io *io, int cpu) TORC_MUST_CHECK;
/* Runs MAIN(ARG) as the first task until every task has ended and nothing is in flight; its result, or a negative errno
 * after a line. */
int torci_io_run(struct torci_io *io, torc_task_fn *main, void *arg) TORC_MUST_CHECK;
void torci_io_close(struct torci_io *io);

/* A line for the operator. */
static inline void torci_io_say(const struct torci_kernel *kernel, const char *line)
{
    kernel->host.report(kernel->host.context, line);
}

#endif
