/* SPDX-License-Identifier: MIT
 *
 * What a parked task is parked on, as far as the rest of torc must know it: whose it is, how to interrupt it, what came
 * of it. Part of every op and of every wait (core/wait_internal.h says how it works). Fields are private.
 */
#ifndef TORC_CORE_PARK_H
#define TORC_CORE_PARK_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torci_fiber;

struct torci_park {
    struct torci_fiber *fiber;
    /* The task was cancelled or its deadline passed (REASON); called at most once. Ends the wait, or sees to it that it
     * ends. */
    void (*interrupt)(struct torci_park *park, int reason);
    int result;
    int reason; /* of the interruption; 0: there was none */
};

TORC_END_DECLS

#endif
