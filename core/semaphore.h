/* SPDX-License-Identifier: MIT
 *
 * A counting semaphore: permits that are taken and given back in any amount. Strictly first come, first served: while a
 * big request waits, smaller ones that came later wait behind it, whatever is free; if it gives up, they pass. Caller's
 * memory, initialised once; there is nothing to release, and the memory may go when no task waits on it.
 *
 * Nothing here allocates or calls back. Shard rule: on the thread of the executor that it was initialised on.
 */
#ifndef TORC_CORE_SEMAPHORE_H
#define TORC_CORE_SEMAPHORE_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;

/* Fields are private. */
struct torc_semaphore {
    uint64_t free;
    struct torci_link waiters;
    struct torci_exec *home;
};

/* PERMITS are free; there is no upper limit. */
void torc_semaphore_init(struct torc_semaphore *semaphore, uint64_t permits);
/* Blocks until PERMITS can be taken at once, all of them; 0 permits are always there. The caller gives them back, or
 * lets another do so. 0; -ECANCELED, -ETIMEDOUT: none was taken. In a task. */
int torc_semaphore_acquire(struct torc_semaphore *semaphore, uint64_t permits) TORC_MUST_CHECK;
/* 0 or -EAGAIN: fewer are free, or somebody waits. Also from completion functions. */
int torc_semaphore_try_acquire(struct torc_semaphore *semaphore, uint64_t permits) TORC_MUST_CHECK;
/* Gives PERMITS, or adds new ones. Also from completion functions. */
void torc_semaphore_release(struct torc_semaphore *semaphore, uint64_t permits);
/* How many are free: not promised to any waiter. */
uint64_t torc_semaphore_available(const struct torc_semaphore *semaphore);
/* A case that stands for torc_semaphore_acquire. */
struct torc_case torc_semaphore_case(struct torc_semaphore *semaphore, uint64_t permits);

TORC_END_DECLS

#endif
