/* SPDX-License-Identifier: MIT
 *
 * Select: poll the cases; if none is ready, stand in every queue at once, park, and let the first hand-over end it.
 *
 *     poll each -> one ready: it has taken effect, done
 *     arm each  -> park -> woken through one wait, which unlinks the others in the same step
 *     leave each: the winner completes its result, the losers let those behind them pass
 *
 * Nothing runs between polling and arming, so no case becomes ready unseen. All timeouts of a select share one timer,
 * set to the nearest.
 */
#include "core/select.h"

#include <errno.h>

#include "core/exec_internal.h"
#include "core/random_internal.h"
#include "core/select_internal.h"
#include "core/time.h"

/* The winner of a select that was interrupted. */
#define NOBODY UINT32_MAX

struct selection {
    struct torci_wait waits[TORC_SELECT_MAX]; /* one a case, whether it is armed or not */
    struct torci_timer timer;
    uint32_t timeout_index; /* the case that the timer stands for */
};

static bool timeout_poll(struct torc_case *one)
{
    (void)one;
    return false; /* only when nothing else is ready: see find_timeout */
}

static void timeout_arm(struct torc_case *one, struct torci_wait *wait)
{
    (void)one;
    (void)wait;
}

static const struct torci_case_kind timeout_kind = {timeout_poll, timeout_arm, NULL};

struct torc_case torc_timeout_case_at(uint64_t when_ns)
{
    return torci_case_make(&timeout_kind, NULL, NULL, when_ns);
}

struct torc_case torc_timeout_case(uint64_t timeout_ns)
{
    uint64_t now = torc_now_ns();
    return torc_timeout_case_at(timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX);
}

static bool task_poll(struct torc_case *one)
{
    const struct torc_task *task = (const struct torc_task *)one->object;
    if (!torc_task_is_done(task))
        return false;
    one->result = task->result;
    return true;
}

static void task_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_task *task = (struct torc_task *)one->object;
    torci_list_push_back(&task->joiners, &wait->link);
}

struct torc_case torc_task_case(struct torc_task *task)
{
    static const struct torci_case_kind kind = {task_poll, task_arm, NULL};
    return torci_case_make(&kind, task, NULL, 0);
}

/* The timeout that passes first; COUNT if there is none. */
static uint32_t find_timeout(const struct torc_case *cases, uint32_t count)
{
    uint32_t nearest = count;
    for (uint32_t i = 0; i < count; i++)
        if (cases[i].kind == &timeout_kind &&
            (nearest == count || cases[i].amount < cases[nearest].amount))
            nearest = i;
    return nearest;
}

/* The first case at or cyclically after START that could take effect, and did; -EAGAIN. */
static int poll_cases(struct torc_case *cases, uint32_t count, uint32_t start)
{
    for (uint32_t i = 0, at = start; i < count; i++) {
        if (cases[at].kind && cases[at].kind->poll(&cases[at]))
            return (int)at;
        at = at + 1 == count ? 0 : at + 1;
    }
    uint32_t timeout = find_timeout(cases, count);
    if (timeout == count || cases[timeout].amount > torc_now_ns())
        return -EAGAIN;
    cases[timeout].result = 0;
    return (int)timeout;
}

static void time_is_up(struct torci_timer *timer)
{
    struct selection *selection = TORC_CONTAINER_OF(timer, struct selection, timer);
    struct torci_park *park = &selection->waits[0].park;
    /* another case has won, or an interruption, in this very turn: awake already, and about to disarm the timer */
    if (park->fiber->park == park)
        torci_wait_wake(&selection->waits[selection->timeout_index], 0);
}

static void interrupted(struct torci_park *park, int reason)
{
    struct torci_wait *wait = TORC_CONTAINER_OF(park, struct torci_wait, park);
    torci_wait_wake(wait, reason);
    wait->siblings->winner = NOBODY;
}

static void arm_cases(struct selection *selection, struct torc_case *cases, uint32_t count)
{
    torci_wait_init_select(selection->waits, count);
    selection->waits[0].park.interrupt = interrupted;
    for (uint32_t i = 0; i < count; i++)
        if (cases[i].kind)
            cases[i].kind->arm(&cases[i], &selection->waits[i]);

    torci_timer_init(&selection->timer, time_is_up);
    selection->timeout_index = find_timeout(cases, count);
    if (selection->timeout_index < count)
        torci_wheel_arm(&torci_this->wheel, &selection->timer,
                        cases[selection->timeout_index].amount);
}

static int park_on_cases(struct torc_case *cases, uint32_t count)
{
    struct selection selection;
    arm_cases(&selection, cases, count);
    int result = torci_wait_park(&selection.waits[0]);
    torci_wheel_cancel(&torci_this->wheel, &selection.timer);

    uint32_t winner = selection.waits[0].winner;
    if (winner != NOBODY)
        cases[winner].result = result;
    for (uint32_t i = 0; i < count; i++)
        if (cases[i].kind && cases[i].kind->leave)
            cases[i].kind->leave(&cases[i], i == winner);
    return winner == NOBODY ? result : (int)winner;
}

/* 0, or -EINVAL for what would never return. */
static int check(const struct torc_case *cases, uint32_t count)
{
    if (count > TORC_SELECT_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++)
        if (cases[i].kind)
            return 0;
    return -EINVAL;
}

/* Where a fair select looks first. Not simply one further each time: tasks that select in turn would each see the same
 * few places for ever. Deterministic: the same run gives the same places. */
static uint32_t next_start(uint32_t count)
{
    return (uint32_t)(((torci_random_split(&torci_this->select_state) >> 32) * count) >> 32);
}

int torc_select(struct torc_case *cases, uint32_t count)
{
    int index = check(cases, count);
    if (index < 0)
        return index;
    index = poll_cases(cases, count, next_start(count));
    return index == -EAGAIN ? park_on_cases(cases, count) : index;
}

int torc_select_in_order(struct torc_case *cases, uint32_t count)
{
    int index = check(cases, count);
    if (index < 0)
        return index;
    index = poll_cases(cases, count, 0);
    return index == -EAGAIN ? park_on_cases(cases, count) : index;
}

int torc_select_try(struct torc_case *cases, uint32_t count)
{
    int err = check(cases, count);
    return err ? err : poll_cases(cases, count, next_start(count));
}
