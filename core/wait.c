/* SPDX-License-Identifier: MIT
 *
 * Parking and waking: core/wait_internal.h says how.
 */
#include "core/wait_internal.h"

#include <string.h>

#include "core/exec_internal.h"

/* The default way out of a wait: nobody has handed anything over, so the task just leaves the line. */
static void leave_line(struct torci_park *park, int reason)
{
    torci_wait_wake(TORC_CONTAINER_OF(park, struct torci_wait, park), reason);
}

void torci_wait_init(struct torci_wait *wait)
{
    torci_wait_init_select(wait, 1);
}

void torci_wait_init_select(struct torci_wait *waits, uint32_t count)
{
    struct torci_fiber *self = torci_fiber_self();
    memset(waits, 0, count * sizeof *waits);
    for (uint32_t i = 0; i < count; i++) {
        torci_link_init(&waits[i].link);
        waits[i].park.fiber = self;
        waits[i].park.interrupt = leave_line;
        waits[i].siblings = waits;
        waits[i].sibling_count = count;
    }
}

int torci_wait_pending(void)
{
    return torci_fiber_self()->interrupt;
}

void torci_wait_wake(struct torci_wait *wait, int result)
{
    struct torci_wait *first = wait->siblings;
    for (uint32_t i = 0; i < first->sibling_count; i++) {
        torci_list_unlink(&first[i].link);
        if (&first[i] == wait)
            first->winner = i;
    }
    torci_park_finish(torci_this, &first->park, result);
}
