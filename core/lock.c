/* SPDX-License-Identifier: MIT
 *
 * Mutex, reader-writer lock, condition. Unlocking hands over: the new owner is set before it is woken.
 *
 * The reader-writer lock's waiters stand in one line, a writer marked by a value that is not NULL. Invariant, whenever
 * no function of this file runs: the head of the line can't be admitted, except between the moment a waiter in front of
 * it was interrupted and the moment that waiter runs and admits.
 */
#include "core/lock.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

void torc_mutex_init(struct torc_mutex *mutex)
{
    mutex->owner = NULL;
    torci_link_init(&mutex->waiters);
    mutex->home = torci_this;
}

int torc_mutex_try_lock(struct torc_mutex *mutex)
{
    TORCI_CHECK_HOME(mutex);
    struct torci_fiber *self = torci_fiber_self();
    TORC_ASSERT(mutex->owner != self);
    if (mutex->owner)
        return -EAGAIN;
    mutex->owner = self;
    return 0;
}

int torc_mutex_lock(struct torc_mutex *mutex)
{
    if (TORC_LIKELY(!torc_mutex_try_lock(mutex)))
        return 0;
    TORC_ASSERT(TORCI_IS_HOME(mutex));
    return torci_block(&mutex->waiters, NULL);
}

void torc_mutex_unlock(struct torc_mutex *mutex)
{
    TORCI_CHECK_HOME(mutex);
    TORC_ASSERT(mutex->owner == torci_fiber_self());
    struct torci_wait *next = torci_wait_first(&mutex->waiters);
    mutex->owner = next ? next->park.fiber : NULL;
    if (next)
        torci_wait_wake(next, 0);
}

bool torc_mutex_is_mine(const struct torc_mutex *mutex)
{
    return mutex->owner == torci_fiber_self();
}

static bool mutex_poll(struct torc_case *one)
{
    one->result = 0;
    return torc_mutex_try_lock(one->object) == 0;
}

static void mutex_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_mutex *mutex = one->object;
    torci_list_push_back(&mutex->waiters, &wait->link);
}

struct torc_case torc_mutex_case(struct torc_mutex *mutex)
{
    static const struct torci_case_kind kind = {mutex_poll, mutex_arm, NULL};
    return torci_case_make(&kind, mutex, NULL, 0);
}

void torc_rwlock_init(struct torc_rwlock *lock)
{
    lock->writer = NULL;
    lock->readers = 0;
    torci_link_init(&lock->waiters);
    lock->home = torci_this;
}

static void rwlock_admit(struct torc_rwlock *lock)
{
    struct torci_wait *first;
    while (!lock->writer && (first = torci_wait_first(&lock->waiters))) {
        if (!first->value)
            lock->readers++;
        else if (!lock->readers)
            lock->writer = first->park.fiber;
        else
            return;
        torci_wait_wake(first, 0);
    }
}

int torc_rwlock_try_read_lock(struct torc_rwlock *lock)
{
    TORCI_CHECK_HOME(lock);
    TORC_ASSERT(lock->writer != torci_fiber_self());
    if (lock->writer || !torci_list_is_empty(&lock->waiters))
        return -EAGAIN;
    lock->readers++;
    return 0;
}

int torc_rwlock_try_write_lock(struct torc_rwlock *lock)
{
    TORCI_CHECK_HOME(lock);
    TORC_ASSERT(lock->writer != torci_fiber_self());
    if (lock->writer || lock->readers || !torci_list_is_empty(&lock->waiters))
        return -EAGAIN;
    lock->writer = torci_fiber_self();
    return 0;
}

static int rwlock_block(struct torc_rwlock *lock, void *writer_mark)
{
    TORC_ASSERT(TORCI_IS_HOME(lock));
    int err = torci_block(&lock->waiters, writer_mark);
    if (err)
        rwlock_admit(lock);
    return err;
}

int torc_rwlock_read_lock(struct torc_rwlock *lock)
{
    if (!torc_rwlock_try_read_lock(lock))
        return 0;
    return rwlock_block(lock, NULL);
}

int torc_rwlock_write_lock(struct torc_rwlock *lock)
{
    if (!torc_rwlock_try_write_lock(lock))
        return 0;
    return rwlock_block(lock, lock);
}

void torc_rwlock_read_unlock(struct torc_rwlock *lock)
{
    TORCI_CHECK_HOME(lock);
    TORC_ASSERT(lock->readers > 0);
    lock->readers--;
    rwlock_admit(lock);
}

void torc_rwlock_write_unlock(struct torc_rwlock *lock)
{
    TORCI_CHECK_HOME(lock);
    TORC_ASSERT(lock->writer == torci_fiber_self());
    lock->writer = NULL;
    rwlock_admit(lock);
}

void torc_condition_init(struct torc_condition *condition)
{
    torci_link_init(&condition->waiters);
    condition->home = torci_this;
}

int torc_condition_wait(struct torc_condition *condition, struct torc_mutex *mutex)
{
    TORC_ASSERT(TORCI_IS_HOME(condition));
    struct torci_wait wait;
    torci_wait_init(&wait);
    torci_list_push_back(&condition->waiters, &wait.link);
    torc_mutex_unlock(mutex);
    int err = torci_wait_park(&wait);

    struct torc_mask mask;
    torc_mask_enter(&mask);
    int lock_err = torc_mutex_lock(mutex);
    torc_mask_leave(&mask);
    TORC_ASSERT(lock_err == 0);
    return err;
}

void torc_condition_signal(struct torc_condition *condition)
{
    TORCI_CHECK_HOME(condition);
    torci_wait_wake_first(&condition->waiters, 0);
}

void torc_condition_broadcast(struct torc_condition *condition)
{
    TORCI_CHECK_HOME(condition);
    torci_wait_wake_all(&condition->waiters, 0);
}
