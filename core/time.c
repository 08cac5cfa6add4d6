/* SPDX-License-Identifier: MIT
 *
 * Sleeping. A precise sleep arms a second timer ahead of the real one; between the two the loop polls instead of
 * sleeping in the kernel, so that other tasks go on and the real timer is seen the moment it is due.
 */
#include "core/time.h"

#include "core/exec_internal.h"

struct sleeper {
    struct torci_wait wait;
    struct torci_timer timer;
    struct torci_timer early; /* of a precise sleep */
    struct torci_exec *exec;
    bool spinning;
};

uint64_t torc_now_ns(void)
{
    TORC_ASSERT(torci_this != NULL);
    return torci_host_now_ns(torci_this->host);
}

uint64_t torc_turn_ns(void)
{
    TORC_ASSERT(torci_this != NULL);
    return torci_this->now_ns;
}

static void time_is_up(struct torci_timer *timer)
{
    struct torci_wait *wait = &TORC_CONTAINER_OF(timer, struct sleeper, timer)->wait;
    /* interrupted in this very turn: awake already, and about to disarm the timer */
    if (wait->park.fiber->park == &wait->park)
        torci_wait_wake(wait, 0);
}

static void start_spinning(struct torci_timer *timer)
{
    struct sleeper *sleeper = TORC_CONTAINER_OF(timer, struct sleeper, early);
    sleeper->spinning = true;
    sleeper->exec->spinning++;
}

static int sleep_until(uint64_t when_ns, uint64_t lead_ns)
{
    struct sleeper sleeper;
    torci_wait_init(&sleeper.wait);
    struct torci_exec *exec = sleeper.exec = torci_this;
    sleeper.spinning = false;
    torci_timer_init(&sleeper.timer, time_is_up);
    torci_timer_init(&sleeper.early, start_spinning);
    torci_wheel_arm(&exec->wheel, &sleeper.timer, when_ns);
    if (lead_ns)
        torci_wheel_arm(&exec->wheel, &sleeper.early, when_ns > lead_ns ? when_ns - lead_ns : 0);
    int result = torci_wait_park(&sleeper.wait);
    torci_wheel_cancel(&exec->wheel, &sleeper.timer);
    torci_wheel_cancel(&exec->wheel, &sleeper.early);
    if (sleeper.spinning)
        exec->spinning--;
    return result;
}

/* UINT64_MAX, which is never, if that is beyond the end of time. */
static uint64_t later(uint64_t when_ns, uint64_t duration_ns)
{
    return duration_ns < UINT64_MAX - when_ns ? when_ns + duration_ns : UINT64_MAX;
}

int torc_sleep_until(uint64_t when_ns)
{
    return sleep_until(when_ns, 0);
}

int torc_sleep(uint64_t duration_ns)
{
    return sleep_until(later(torc_now_ns(), duration_ns), 0);
}

int torc_sleep_precise(uint64_t duration_ns)
{
    uint64_t when_ns = later(torc_now_ns(), duration_ns);
    /* twice the worst that was seen lately: what comes later than that is the price */
    return sleep_until(when_ns, 2 * torci_this->wake_lag_ns);
}

void torc_interval_init(struct torc_interval *interval, uint64_t period_ns)
{
    TORC_ASSERT(period_ns > 0);
    interval->period_ns = period_ns;
    interval->next_ns = later(torc_now_ns(), period_ns);
}

int64_t torc_interval_wait(struct torc_interval *interval)
{
    /* A turn of the loop even when late: whoever is late every time must not keep the others from running. */
    int err = torc_sleep_until(interval->next_ns);
    if (err)
        return err;
    uint64_t missed = (torc_now_ns() - interval->next_ns) / interval->period_ns;
    interval->next_ns =
        later(interval->next_ns + missed * interval->period_ns, interval->period_ns);
    return (int64_t)missed + 1;
}
