/* SPDX-License-Identifier: MIT
 *
 * Time: the executor's clock, sleeping, and intervals that do not drift. All in nanoseconds of the monotonic clock.
 */
#ifndef TORC_CORE_TIME_H
#define TORC_CORE_TIME_H

#include "core/base.h"

TORC_BEGIN_DECLS

/* Monotonic time. Costs a read of the CPU's counter where that is reliable. On an executor's thread. */
uint64_t torc_now_ns(void);

/* When the loop looked at the clock last: right after it had reaped what this turn is about. A load: the stamp for
 * everything that a turn has brought. On an executor's thread. */
uint64_t torc_turn_ns(void);

/* Sleeps at least DURATION_NS; 0 is one turn of the loop. In a task.
 * 0, or -ECANCELED, -ETIMEDOUT. */
int torc_sleep(uint64_t duration_ns) TORC_MUST_CHECK;
/* Sleeps until torc_now_ns() >= WHEN_NS. */
int torc_sleep_until(uint64_t when_ns) TORC_MUST_CHECK;
/* The same, but the executor wakes early and spins for the last stretch: late by a microsecond or two instead of by the
 * machine's wake-up latency, for a busy CPU in that stretch (the executor learns how long it must be). */
int torc_sleep_precise(uint64_t duration_ns) TORC_MUST_CHECK;

/* Ticks at start + n * period. Caller's memory; fields are private. */
struct torc_interval {
    uint64_t next_ns, period_ns;
};
/* The first tick is one PERIOD_NS (> 0) from now. */
void torc_interval_init(struct torc_interval *interval, uint64_t period_ns);
/* Waits for the next tick. How many ticks were due since the last call (1 when in time; more when the caller was late:
 * they are not made up for), or -ECANCELED, -ETIMEDOUT. In a task. */
int64_t torc_interval_wait(struct torc_interval *interval) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
