/* SPDX-License-Identifier: MIT
 *
 * Signals as something a task waits for. (SIGINT and SIGTERM are torc_run's own unless torc_config.keep_signals.)
 */
#ifndef TORC_IO_SIGNALS_H
#define TORC_IO_SIGNALS_H

#include "core/base.h"

TORC_BEGIN_DECLS

/* Caller's memory; fields are private. */
struct torc_signals {
    uint64_t mask;      /* bit n - 1 is signal n */
    uint64_t unblocked; /* of those: not blocked before */
    int fd;
};

/* Takes the COUNT signals in SIGNALS (numbers 1 to 64) away from their default action, for the whole process: they are
 * blocked in the calling thread, so open before other threads are started. torc's own have all signals blocked from
 * the start, but for shard 0's, which is the caller of torc_run: only that shard can open them. -EINVAL: another shard,
 * not a signal that can be taken (KILL, STOP, 32, 33, those that a fault raises), or none at all; -EMFILE, -ENFILE,
 * -ENOMEM. On error nothing has changed. On an executor's thread. */
int torc_signals_open(struct torc_signals *signals, const int *numbers,
                      unsigned count) TORC_MUST_CHECK;
/* Sleeps until one of them comes; its number, or -ECANCELED, -ETIMEDOUT. One task at a time. In a task. */
int torc_signals_wait(struct torc_signals *signals) TORC_MUST_CHECK;
/* Gives them back: what was pending then has its usual effect. */
void torc_signals_close(struct torc_signals *signals);

TORC_END_DECLS

#endif
