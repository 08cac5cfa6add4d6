/* SPDX-License-Identifier: MIT
 *
 * The counting semaphore. A wait's value points to the number of permits it wants. Invariant, whenever no function of
 * this file runs: the head of the line wants more than is free, except between the moment a waiter in front of it was
 * interrupted (or its select won by another case) and the moment that waiter runs and admits.
 */
#include "core/semaphore.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

void torc_semaphore_init(struct torc_semaphore *semaphore, uint64_t permits)
{
    semaphore->free = permits;
    torci_link_init(&semaphore->waiters);
    semaphore->home = torci_this;
}

static void admit(struct torc_semaphore *semaphore)
{
    struct torci_wait *first;
    while ((first = torci_wait_first(&semaphore->waiters))) {
        const uint64_t *wanted = first->value;
        if (*wanted > semaphore->free)
            return;
        semaphore->free -= *wanted;
        torci_wait_wake(first, 0);
    }
}

int torc_semaphore_try_acquire(struct torc_semaphore *semaphore, uint64_t permits)
{
    TORCI_CHECK_HOME(semaphore);
    if (permits == 0)
        return 0;
    if (permits > semaphore->free || !torci_list_is_empty(&semaphore->waiters))
        return -EAGAIN;
    semaphore->free -= permits;
    return 0;
}

int torc_semaphore_acquire(struct torc_semaphore *semaphore, uint64_t permits)
{
    if (TORC_LIKELY(!torc_semaphore_try_acquire(semaphore, permits)))
        return 0;
    TORC_ASSERT(TORCI_IS_HOME(semaphore));
    int err = torci_block(&semaphore->waiters, &permits);
    if (err)
        admit(semaphore);
    return err;
}

void torc_semaphore_release(struct torc_semaphore *semaphore, uint64_t permits)
{
    TORCI_CHECK_HOME(semaphore);
    TORC_ASSERT(permits <= UINT64_MAX - semaphore->free);
    semaphore->free += permits;
    admit(semaphore);
}

uint64_t torc_semaphore_available(const struct torc_semaphore *semaphore)
{
    return semaphore->free;
}

static bool case_poll(struct torc_case *one)
{
    one->result = 0;
    return torc_semaphore_try_acquire(one->object, one->amount) == 0;
}

static void case_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_semaphore *semaphore = one->object;
    wait->value = &one->amount;
    torci_list_push_back(&semaphore->waiters, &wait->link);
}

static void case_leave(struct torc_case *one, bool won)
{
    if (!won)
        admit(one->object);
}

struct torc_case torc_semaphore_case(struct torc_semaphore *semaphore, uint64_t permits)
{
    static const struct torci_case_kind kind = {case_poll, case_arm, case_leave};
    return torci_case_make(&kind, semaphore, NULL, permits);
}
