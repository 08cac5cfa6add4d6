/* SPDX-License-Identifier: MIT
 *
 * What a primitive implements so that it can be a case of a select. select.c knows no primitive but tasks and time.
 */
#ifndef TORC_CORE_SELECT_INTERNAL_H
#define TORC_CORE_SELECT_INTERNAL_H

#include "core/select.h"
#include "core/wait_internal.h"

struct torci_case_kind {
    /* Takes effect if that is possible at once: true, with one->result set. False: nothing has changed. */
    bool (*poll)(struct torc_case *one);
    /* Links WAIT at the end of the object's queue, its value set as for the blocking call. poll has just said no, and
     * nothing has run since. */
    void (*arm)(struct torc_case *one, struct torci_wait *wait);
    /* After an arm, when the select is over and all its waits are unlinked. WON: this one was woken; one->result is what
     * it was woken with and may be bettered. Otherwise: those behind it in the queue may be able to pass now. NULL: there
     * is nothing to do. */
    void (*leave)(struct torc_case *one, bool won);
};

static inline struct torc_case torci_case_make(const struct torci_case_kind *kind, void *object,
                                               void *value, uint64_t amount)
{
    struct torc_case one = {kind, object, value, amount, 0};
    return one;
}

#endif
