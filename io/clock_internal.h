/* SPDX-License-Identifier: MIT
 *
 * Keeps an executor's counter clock (torci_host.tick_*) on the line of CLOCK_MONOTONIC. The kernel steers that clock
 * (NTP) and tells nobody its rate, and a rate measured once over 2 ms is wrong by up to 5 ppm on a virtual machine, 0.5
 * us at 100 ms and 18 ms an hour. So the executor measures again, at first after 16 ms, then at longer and longer
 * intervals up to a second: over 128 ms the error is below 0.1 ppm. One measurement costs about a microsecond.
 *
 * What the executor reads never goes back: being late is mended at once, being early by running slower for a while. A
 * counter that is further ahead than can be mended so is dropped for now_ns(), to which what it was ahead is added for
 * good: timers are set by this clock alone, and the ring's timeouts are relative.
 *
 * One owner: the executor whose table it is. No system calls of its own: a clock is what host->now_ns says.
 */
#ifndef TORC_IO_CLOCK_INTERNAL_H
#define TORC_IO_CLOCK_INTERNAL_H

#include "core/host_internal.h"

enum {
    TORCI_CLOCK_CALIBRATE_NS = 2 * 1000 * 1000,
    TORCI_CLOCK_TUNE_MIN_NS = 16 * 1000 * 1000,
    TORCI_CLOCK_TUNE_MAX_NS = 1000 * 1000 * 1000,
    TORCI_CLOCK_LOST_NS = 5 * 1000 * 1000, /* this far ahead: the counter is broken */
};

struct torci_clock {
    uint64_t due_ns; /* torci_clock_tune is wanted when the executor's clock is there */
    uint64_t interval_ns;
    uint64_t ticks, ns; /* the same moment by both */
    uint32_t rate;      /* tick_mult without the correction that is under way */
};

/* Fills in host->tick_*: spins for TORCI_CLOCK_CALIBRATE_NS. */
void torci_clock_calibrate(struct torci_host *host);
/* On the executor's own thread, before anybody reads its clock: counters of two CPUs may differ. */
void torci_clock_start(struct torci_clock *clock, struct torci_host *host);
/* When due_ns has come, or earlier. Nothing to do without a counter: due_ns is UINT64_MAX then. */
void torci_clock_tune(struct torci_clock *clock, struct torci_host *host);

#endif
