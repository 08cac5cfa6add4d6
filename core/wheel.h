/* SPDX-License-Identifier: MIT
 *
 * The timers of one executor: a hierarchical wheel, arm and cancel in O(1), as nearly every network timeout is armed
 * and cancelled and never fires. After G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987.
 *
 * Eleven levels of 64 slots; a slot of level l is 64^l ns wide, so level 0 resolves single nanoseconds and the last
 * level ends with uint64. The wheel's time and a timer's, written in base 64, agree down to some digit: that digit's
 * position is the timer's level and the timer's digit there its slot. Hence:
 *
 *   1. A timer's slot lies above the wheel's own digit of that level, so slots never wrap and none holds two laps.
 *   2. All of a level is earlier than all of the next: the earliest timer is in the first used slot of the first used
 *      level.
 *   3. Equal times are always in the same slot, in the order of arming; a slot of level 0 holds one time only.
 *
 * When time reaches a slot of a higher level, its timers move down, each at most once a level; empty slots cost
 * nothing, however far the clock jumps. What is armed for the past or the present waits in a list of its own, LATE.
 *
 *            arm                advance reaches its time            its turn
 *   idle ----------> slot or LATE --------------------------> DUE ------------> idle, then fire()
 *     ^                   |  cancel                            |  cancel
 *     +-------------------+------------------------------------+
 *
 * No clock of its own: the caller says what time it is, in nanoseconds since any epoch. Timers are the caller's memory
 * and must stay put while armed. Never allocates, never fails. One owner; no thread safety.
 */
#ifndef TORC_CORE_WHEEL_H
#define TORC_CORE_WHEEL_H

#include "core/list.h"

TORC_BEGIN_DECLS

enum {
    TORCI_WHEEL_BITS = 6,
    TORCI_WHEEL_SLOTS = 1 << TORCI_WHEEL_BITS,
    TORCI_WHEEL_LEVELS = (64 + TORCI_WHEEL_BITS - 1) / TORCI_WHEEL_BITS,
    /* How many timers torci_wheel_next() looks at before it settles for a bound. */
    TORCI_WHEEL_SCAN_MAX = 32,
};

/* Embed it and find the rest with TORC_CONTAINER_OF. To be read by all, written by the wheel alone. */
struct torci_timer {
    struct torci_link link;
    uint64_t when_ns; /* as last armed; kept after firing, for timers that repeat */
    void (*fire)(struct torci_timer *timer);
};

/* About 11 KB. */
struct torci_wheel {
    uint64_t now_ns;
    uint64_t next_ns; /* the earliest time that is armed; 0: to be found */
    uint64_t
        quiet_ns; /* no used slot begins before this: until then an advance only sets the time */
    size_t armed; /* timers in slots, LATE and DUE */
    bool advancing;
    uint64_t used[TORCI_WHEEL_LEVELS]; /* bit s of level l: slots[l][s] is not empty */
    struct torci_link late, due;
    struct torci_link slots[TORCI_WHEEL_LEVELS][TORCI_WHEEL_SLOTS];
};

/* Makes it an empty wheel whose time is NOW_NS. An empty one needs no deinit. */
void torci_wheel_init(struct torci_wheel *wheel, uint64_t now_ns);

/* Makes TIMER idle; FIRE will be called each time that it is due. Not for an armed one: cancel it first. */
void torci_timer_init(struct torci_timer *timer, void (*fire)(struct torci_timer *timer));

/* TIMER will fire at the first advance to WHEN_NS or later. A time that is past or present already is legal and fires
 * at the next advance, never inside this call, nor in the advance that is calling the fire function this is called
 * from: a timer that arms itself for the present cannot keep an advance from ending. An armed timer is moved, and goes behind
 * those of the same time. O(1): a few ns. */
void torci_wheel_arm(struct torci_wheel *wheel, struct torci_timer *timer, uint64_t when_ns);

/* TIMER will not fire, even if the present advance has it due; its memory is the caller's again. Harmless for an idle
 * one. O(1). */
void torci_wheel_cancel(struct torci_wheel *wheel, struct torci_timer *timer);

/* False from just before its fire function is called. */
static inline bool torci_timer_is_armed(const struct torci_timer *timer)
{
    return torci_link_is_queued(&timer->link);
}

/* Sets the time to NOW_NS, which must not be before the last one, and fires all that were armed for NOW_NS or earlier,
 * in the order of their times, equal ones in the order of arming. Returns how many fired. A fire function may arm and
 * cancel any timer and free its own; it must not advance. Each timer is moved a bounded number of times between arm and
 * fire; only those of LATE are sorted, in O(n log n) if they were not armed in order. */
unsigned torci_wheel_advance(struct torci_wheel *wheel, uint64_t now_ns);

/* When to advance next: the earliest time that is armed, or, if more than TORCI_WHEEL_SCAN_MAX timers share the first
 * slot above level 0, the start of that slot, which is no later. Advancing to such a bound may fire nothing, but
 * takes at least one level off, so the answer is exact after ten such steps at most. At or before the present time if a timer is
 * LATE. UINT64_MAX if none is armed. */
uint64_t torci_wheel_next(struct torci_wheel *wheel);

/* Whether the whole structure holds its invariants; walks all timers. For tests and debug builds. */
bool torci_wheel_check(const struct torci_wheel *wheel);

TORC_END_DECLS

#endif
