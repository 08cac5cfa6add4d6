/* SPDX-License-Identifier: MIT
 *
 * What core asks of whoever hosts it: memory, a clock, a place for one line of text, and a driver that looks for
 * events. core itself makes no system call, so the same code runs on a real ring (io/), on a simulated machine and in
 * its own tests, which each fill in this table. The table outlives the executor that was made with it.
 */
#ifndef TORC_CORE_HOST_INTERNAL_H
#define TORC_CORE_HOST_INTERNAL_H

#include "core/base.h"

struct torci_host {
    void *context; /* handed to every function below but map, unmap and guard */

    /* Monotonic nanoseconds. */
    uint64_t (*now_ns)(void *context);

    /* The clock as a counter that the CPU reads itself: ns = tick_base_ns + ((ticks - tick_base) * tick_mult
     * >> tick_shift), on the same time line as now_ns. tick_mult is 0 where there is no such counter or time is simulated;
     * now_ns is asked instead, and tick_base_ns is how far ahead of it the time is that has been read already. */
    uint64_t tick_base_ns, tick_base;
    uint32_t tick_mult, tick_shift;

    /* Zeroed small memory, NULL when there is none. */
    void *(*alloc)(void *context, size_t size_bytes);
    void (*free)(void *context, void *memory, size_t size_bytes);

    void *
        map_context; /* handed to these three: an executor's memory comes from an arena of its own */
    /* Zeroed, page-aligned memory that is committed by touching it; NULL when there is none. */
    void *(*map)(void *map_context, size_t size_bytes);
    void (*unmap)(void *map_context, void *memory, size_t size_bytes);
    /* Makes pages fault on every access, until they are unmapped; 0 or a negative errno. */
    int (*guard)(void *map_context, void *memory, size_t size_bytes);

    /* One line for the operator, without a newline. */
    void (*report)(void *context, const char *line);

    /* Looks for events and makes their tasks ready. Returns at once when wait_until_ns is 0; otherwise may sleep until
     * then (UINT64_MAX: until an event). May return early. 0 or a negative errno, which ends the executor. */
    int (*turn)(void *context, uint64_t wait_until_ns);
};

#endif
