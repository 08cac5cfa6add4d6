/* SPDX-License-Identifier: MIT
 *
 * What the sync primitives share: how a task joins the end of a queue of waiters, the shard check, and the copy of a
 * small value.
 *
 * All primitives keep one rule: what a waiter waits for (a permit, a lock, a value) changes hands at the moment of the
 * wake and not when the woken task gets to run. So a waiter that is cancelled after that has it and says so, one that is
 * cancelled before has nothing, and nobody who comes later can overtake. A waiter that leaves a queue because it was
 * interrupted looks, when it runs, whether those behind it may pass now.
 */
#ifndef TORC_CORE_SYNC_INTERNAL_H
#define TORC_CORE_SYNC_INTERNAL_H

#include <string.h>

#include "core/exec_internal.h"

/* An object belongs to the executor that it was initialised on; one made before any executor ran belongs to whoever
 * uses it. The check costs a thread-local read, so the fast paths have it in debug builds only; parking always has. */
#define TORCI_IS_HOME(object) (!(object)->home || (object)->home == torci_this)
#define TORCI_CHECK_HOME(object) TORC_DEBUG_ASSERT(TORCI_IS_HOME(object))

/* Parks the running task at the end of QUEUE. 0 or whatever it is woken with, -ECANCELED, -ETIMEDOUT. */
static inline int torci_block(struct torci_link *queue, void *value)
{
    struct torci_wait wait;
    torci_wait_init(&wait);
    wait.value = value;
    torci_list_push_back(queue, &wait.link);
    return torci_wait_park(&wait);
}

static __attribute__((noinline, unused)) int torci_copy_large(void *to, const void *from,
                                                              size_t size_bytes)
{
    memcpy(to, from, size_bytes);
    return 0;
}

/* One value of SIZE_BYTES; always 0, so that a fast path can end in it. A copy of constant size is a load and a store; a
 * call of memcpy with a size that is known only at run time costs more than the rest of a send. */
static inline int torci_copy_value(void *to, const void *from, size_t size_bytes)
{
    switch (size_bytes) {
    case 8: memcpy(to, from, 8); return 0;
    case 4: memcpy(to, from, 4); return 0;
    case 16: memcpy(to, from, 16); return 0;
    default: return torci_copy_large(to, from, size_bytes);
    }
}

#endif
