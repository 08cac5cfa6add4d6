/* SPDX-License-Identifier: MIT
 *
 * A pile: an intrusive stack onto which any thread pushes and which its owner takes as a whole, in the order of the
 * pushes. Lock-free; what was pushed is the owner's, and nobody else looks at it again, so there is no ABA.
 *
 * Thread rule: push from any thread, take by one. Both are sequentially consistent: a pusher who then looks whether the
 * owner sleeps, and an owner who says that it will and then looks at the pile, can't miss each other.
 */
#ifndef TORC_CORE_PILE_INTERNAL_H
#define TORC_CORE_PILE_INTERNAL_H

#include "core/base.h"

struct torci_pile_link {
    struct torci_pile_link *next;
};

struct torci_pile {
    struct torci_pile_link *newest; /* atomic */
};

static inline void torci_pile_push(struct torci_pile *pile, struct torci_pile_link *link)
{
    /* RELAXED: only compared */
    link->next = __atomic_load_n(&pile->newest, __ATOMIC_RELAXED);
    /* SEQ_CST pairs with torci_pile_take: what LINK is part of has been written */
    while (!__atomic_compare_exchange_n(&pile->newest, &link->next, link, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
}

static inline bool torci_pile_is_empty(const struct torci_pile *pile)
{
    return !__atomic_load_n(&pile->newest, __ATOMIC_SEQ_CST); /* pairs with torci_pile_push */
}

/* The oldest, which leads to the others; NULL if there is none. */
static inline struct torci_pile_link *torci_pile_take(struct torci_pile *pile)
{
    /* ACQUIRE pairs with torci_pile_push */
    struct torci_pile_link *newest = __atomic_exchange_n(&pile->newest, NULL, __ATOMIC_ACQUIRE);
    struct torci_pile_link *oldest = NULL;
    while (newest) {
        struct torci_pile_link *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

#endif
