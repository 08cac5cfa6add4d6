/* SPDX-License-Identifier: MIT
 *
 * What ends a blocking call from outside: cancellation, ambient deadlines, and the masked sections that hold both off.
 *
 * A fiber keeps one number, `interrupt`: what a blocking call would return now. It is worked out anew whenever one of
 * its causes changes, so the hot paths test a single field:
 *
 *     cancelled and not masked                                      -ECANCELED
 *     a deadline has passed that was entered at this mask depth     -ETIMEDOUT
 *     otherwise                                                     0
 */
#include <errno.h>

#include "core/exec_internal.h"
#include "core/time.h"

static int work_out(const struct torci_fiber *fiber)
{
    if (fiber->cancelled && !fiber->mask_depth)
        return -ECANCELED;
    for (const struct torc_deadline *at = fiber->deadline; at; at = at->outer)
        if (at->expired && at->mask_depth == fiber->mask_depth)
            return -ETIMEDOUT;
    return 0;
}

void torci_fiber_refresh(struct torci_fiber *fiber)
{
    int reason = work_out(fiber);
    fiber->interrupt = (int16_t)reason;
    struct torci_park *park = fiber->park;
    if (!reason || !park || park->reason)
        return;
    park->reason = reason;
    park->interrupt(park, reason);
}

void torci_fiber_cancel(struct torci_fiber *fiber)
{
    fiber->cancelled = true;
    torci_fiber_refresh(fiber);
}

static void deadline_passed(struct torci_timer *timer)
{
    struct torc_deadline *deadline = TORC_CONTAINER_OF(timer, struct torc_deadline, timer);
    deadline->expired = true;
    torci_fiber_refresh(deadline->fiber);
}

int torc_task_check(void)
{
    struct torci_fiber *self = torci_fiber_self();
    struct torc_deadline *innermost =
        self->deadline; /* its limit is the nearest of its mask depth */
    if (!self->interrupt && innermost && torc_now_ns() >= innermost->when_ns) {
        innermost->expired = true;
        torci_fiber_refresh(self);
    }
    return self->interrupt;
}

void torc_deadline_enter_at(struct torc_deadline *deadline, uint64_t when_ns)
{
    struct torci_fiber *self = torci_fiber_self();
    struct torc_deadline *outer = self->deadline;
    deadline->fiber = self;
    deadline->outer = outer;
    deadline->mask_depth = self->mask_depth;
    deadline->expired = false;
    deadline->when_ns = when_ns;
    torci_timer_init(&deadline->timer, deadline_passed);
    self->deadline = deadline;
    /* A nearer limit around us fires first and ends this section, too: no timer of our own. */
    if (outer && outer->mask_depth == self->mask_depth && outer->when_ns <= when_ns)
        deadline->when_ns = outer->when_ns;
    else
        torci_wheel_arm(&torci_this->wheel, &deadline->timer, when_ns);
}

void torc_deadline_enter(struct torc_deadline *deadline, uint64_t timeout_ns)
{
    uint64_t now = torc_now_ns();
    torc_deadline_enter_at(deadline, timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX);
}

bool torc_deadline_leave(struct torc_deadline *deadline)
{
    struct torci_fiber *self = deadline->fiber;
    TORC_ASSERT(self == torci_fiber_self());
    TORC_ASSERT(self->deadline == deadline); /* innermost first */
    TORC_ASSERT(self->mask_depth == deadline->mask_depth);
    /* by the clock: the loop may not have come round to the timer since */
    bool passed = deadline->expired || torc_now_ns() >= deadline->when_ns;
    torci_wheel_cancel(&torci_this->wheel, &deadline->timer);
    self->deadline = deadline->outer;
    torci_fiber_refresh(self);
    return passed;
}

void torc_mask_enter(struct torc_mask *mask)
{
    mask->fiber = torci_fiber_self();
    mask->fiber->mask_depth++;
    torci_fiber_refresh(mask->fiber);
}

void torc_mask_leave(struct torc_mask *mask)
{
    struct torci_fiber *self = torci_fiber_self();
    TORC_ASSERT(mask->fiber == self && self->mask_depth > 0);
    TORC_ASSERT(!self->deadline || self->deadline->mask_depth < self->mask_depth);
    self->mask_depth--;
    torci_fiber_refresh(self);
}
