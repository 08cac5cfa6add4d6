/* SPDX-License-Identifier: MIT
 *
 * Locks for critical sections that block inside: mutex, reader-writer lock, condition. Tasks of one executor run one at
 * a time, so a section that does not block needs no lock at all. Caller's memory, initialised once; there is nothing to
 * release, and the memory may go when nobody holds or awaits it.
 *
 * Strictly first come, first served: unlocking hands the lock to the oldest waiter, which owns it from that moment on,
 * and a lock that somebody awaits can't be taken in passing. What blocks is called in a task and ends with -ECANCELED or
 * -ETIMEDOUT when the task is interrupted before it was served: the lock is not held then. Nothing here allocates or
 * calls back. Shard rule: on the thread of the executor that the object was initialised on.
 */
#ifndef TORC_CORE_LOCK_H
#define TORC_CORE_LOCK_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;
struct torci_fiber;

/* Held by one task at a time; not recursive: locking what one holds is a broken contract and aborts. Fields are
 * private. */
struct torc_mutex {
    struct torci_fiber *owner;
    struct torci_link waiters;
    struct torci_exec *home;
};

/* Not held. */
void torc_mutex_init(struct torc_mutex *mutex);
/* Blocks until the running task holds the mutex. 0, -ECANCELED, -ETIMEDOUT. */
int torc_mutex_lock(struct torc_mutex *mutex) TORC_MUST_CHECK;
/* 0 or -EAGAIN: held. In a task. */
int torc_mutex_try_lock(struct torc_mutex *mutex) TORC_MUST_CHECK;
/* By the task that holds it. Does not block: the next owner runs when its turn comes. */
void torc_mutex_unlock(struct torc_mutex *mutex);
/* Whether the running task holds it: for assertions. */
bool torc_mutex_is_mine(const struct torc_mutex *mutex);
/* A case that stands for torc_mutex_lock. */
struct torc_case torc_mutex_case(struct torc_mutex *mutex);

/* Held by one writer or by any number of readers. Readers that come while a writer waits queue behind it, so neither
 * side starves; hence a task that holds it for reading must not ask for it again. Fields are private. */
struct torc_rwlock {
    struct torci_fiber *writer;
    uint64_t readers;
    struct torci_link waiters; /* readers and writers in one line */
    struct torci_exec *home;
};

/* Not held. */
void torc_rwlock_init(struct torc_rwlock *lock);
/* Block until the running task holds the lock to read, or to write. 0, -ECANCELED, -ETIMEDOUT. */
int torc_rwlock_read_lock(struct torc_rwlock *lock) TORC_MUST_CHECK;
int torc_rwlock_write_lock(struct torc_rwlock *lock) TORC_MUST_CHECK;
/* 0 or -EAGAIN: held by the other side, or somebody waits. In a task. */
int torc_rwlock_try_read_lock(struct torc_rwlock *lock) TORC_MUST_CHECK;
int torc_rwlock_try_write_lock(struct torc_rwlock *lock) TORC_MUST_CHECK;
/* Pays for one read lock. Does not block. */
void torc_rwlock_read_unlock(struct torc_rwlock *lock);
/* By the task that holds it to write. Does not block. */
void torc_rwlock_write_unlock(struct torc_rwlock *lock);

/* Tells tasks that sleep inside a mutex's section that its state has changed. Fields are private.
 *
 *     while (!err && queue_is_empty(&queue))
 *         err = torc_condition_wait(&not_empty, &mutex);
 */
struct torc_condition {
    struct torci_link waiters;
    struct torci_exec *home;
};

void torc_condition_init(struct torc_condition *condition);
/* Gives MUTEX, which the running task holds, back, blocks until signalled and takes it again, in one step as seen by
 * others. The task holds MUTEX again when this returns, whatever it returns: taking it back can't be interrupted. 0: a
 * signal was meant for this task, but the state may have changed again since; -ECANCELED, -ETIMEDOUT: none was. */
int torc_condition_wait(struct torc_condition *condition, struct torc_mutex *mutex) TORC_MUST_CHECK;
/* Wakes the oldest waiter, if any. The caller need not hold the mutex. */
void torc_condition_signal(struct torc_condition *condition);
/* Wakes all that wait now. */
void torc_condition_broadcast(struct torc_condition *condition);

TORC_END_DECLS

#endif
