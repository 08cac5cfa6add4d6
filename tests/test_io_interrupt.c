/* SPDX-License-Identifier: MIT
 *
 * Interruptions on a kernel that follows a script: every order in which an operation, its cancel and its deadline can
 * end.
 */
#include <errno.h>

#include "core/event.h"
#include "core/select.h"
#include "io/io_internal.h"
#include "tests/ring_ops.h"
#include "tests/scripted_kernel.h"

static struct scripted_kernel script;

struct victim {
    struct torc_task task;
    int result;
    uint64_t ended_ns;
};

static int wait_at_poll(void *arg)
{
    struct victim *victim = arg;
    victim->result = ring_poll(5);
    victim->ended_ns = torc_now_ns();
    return 0;
}

static struct victim victim;

static int cancel_victim(void *arg)
{
    uint64_t *ended_after = arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    memset(&victim, 0, sizeof victim);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &victim.task},
                             wait_at_poll, &victim),
             0);
    CHECK_EQ(torc_sleep(1000), 0);
    uint64_t began = torc_now_ns();
    torc_task_cancel(&victim.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    *ended_after = victim.ended_ns - began;
    return 0;
}

/* The answer to a cancel and the end of its target come in either order, now or later: the task goes on after both. */
TEST(interrupt, an_interrupted_task_goes_on_when_the_kernel_holds_nothing)
{
    static const int answers[] = {0, -ENOENT, -EALREADY}, results[] = {0, 3, -EIO};
    static const uint64_t delays[] = {0, 400, 9000};
    for (unsigned i = 0; i < 3 * 3 * 3 * 3 * 2; i++) {
        struct scripted_cancel how = {.answer = answers[i % 3],
                                      .target_result = results[i / 3 % 3],
                                      .answer_after_ns = delays[i / 9 % 3],
                                      .target_after_ns = delays[i / 27 % 3]};
        uint64_t later =
            how.answer_after_ns > how.target_after_ns ? how.answer_after_ns : how.target_after_ns;
        uint64_t ended_after = 0;
        scripted_init(&script);
        script.reversed = i / 81;
        script.cancels[0] = how;
        script.cancels_count = 1;
        CHECK_EQ(scripted_run(&script, cancel_victim, &ended_after), 0);
        CHECK_EQ(victim.result, how.target_result ? how.target_result : -ECANCELED);
        CHECK_EQ(ended_after, later);
    }
}

/* The cancel comes while the request is nowhere that the kernel looks: behind a link, between two threads. */
TEST(interrupt, a_cancel_that_missed_is_repeated)
{
    static const int answers[] = {-ENOENT, -EALREADY};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t ended_after = 0;
        scripted_init(&script);
        for (unsigned n = 0; n < 3; n++)
            script.cancels[n] = (struct scripted_cancel){answers[i], 0, 0, 0, true};
        script.cancels_count = 3;
        CHECK_EQ(scripted_run(&script, cancel_victim, &ended_after), 0);
        CHECK_EQ(victim.result, -ECANCELED);
        CHECK_EQ(script.cancels_seen, 4);
        CHECK(ended_after < TORC_SEC);
    }
}

/* An operation that can't be cancelled is asked about now and then, not all the time. */
TEST(interrupt, a_cancel_that_can_not_succeed_costs_little)
{
    uint64_t ended_after = 0;
    scripted_init(&script);
    script.cancels[0] = (struct scripted_cancel){-EALREADY, 0, 7, 10 * TORC_SEC, false};
    script.cancels_count = 1;
    script.cancels_stay = true;
    CHECK_EQ(scripted_run(&script, cancel_victim, &ended_after), 0);
    CHECK_EQ(victim.result, 7);
    CHECK_EQ(ended_after, 10 * TORC_SEC);
    CHECK(script.cancels_seen < 200);
}

/* The operation ends in the pause after a cancel that missed: no other cancel follows. */
static int end_in_the_pause(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &victim.task},
                             wait_at_poll, &victim),
             0);
    CHECK_EQ(torc_sleep(1000), 0);
    torc_task_cancel(&victim.task);
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK_EQ(script.cancels_seen, 1);
    scripted_fire(&script, 5, 9);
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK(torc_task_is_done(&victim.task));
    CHECK_EQ(victim.result, 9);
    CHECK_EQ(torc_sleep(TORC_SEC), 0);
    CHECK_EQ(script.cancels_seen, 1);
    return torc_scope_join(&scope);
}

TEST(interrupt, nothing_is_cancelled_that_has_ended)
{
    scripted_init(&script);
    script.cancels[0] = (struct scripted_cancel){-ENOENT, 0, 0, 0, true};
    script.cancels_count = 1;
    CHECK_EQ(scripted_run(&script, end_in_the_pause, NULL), 0);
}

/* The operation ends while its cancel still waits for room: nobody will answer that one. */
static int end_without_room(void *arg)
{
    (void)arg;
    struct ring_op fill[4] = {0};
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &victim.task},
                             wait_at_poll, &victim),
             0);
    CHECK_EQ(torc_sleep(1000), 0);
    for (int i = 0; i < 4; i++) {
        struct io_uring_sqe *sqe;
        CHECK_EQ(torc_op_start(&fill[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_nop(sqe);
    }
    script.refusal = -EBUSY;
    script.refusals = 1000;
    torc_task_cancel(&victim.task);
    struct scripted_op *op = script.ops;
    while (!op->used)
        op++;
    op->used = false;
    scripted_post(&script, op->user_data, 9, 0);
    for (int i = 0; i < 100 && !torc_task_is_done(&victim.task); i++)
        torc_yield();
    CHECK(torc_task_is_done(&victim.task));
    CHECK(script.refusals > 0);
    script.refusals = 0;
    CHECK_EQ(victim.result, 9);
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK_EQ(script.cancels_seen, 0);
    CHECK_EQ(fill[3].ran, 1);
    return torc_scope_join(&scope);
}

TEST(interrupt, an_operation_can_end_before_its_cancel_finds_room)
{
    scripted_init(&script);
    script.config.ring_entries = 4;
    CHECK_EQ(scripted_run(&script, end_without_room, NULL), 0);
}

static int late_completion(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &victim.task},
                             wait_at_poll, &victim),
             0);
    CHECK_EQ(torc_sleep(1000), 0);
    torc_task_cancel(&victim.task);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(torc_sleep(10000), 0);
        CHECK(!torc_task_is_done(&victim.task));
    }
    CHECK_EQ(torc_sleep(TORC_SEC), 0);
    CHECK(torc_task_is_done(&victim.task));
    CHECK_EQ(victim.result, -ECANCELED);
    return torc_scope_join(&scope);
}

TEST(interrupt, no_interruption_ends_before_the_operation)
{
    scripted_init(&script);
    script.cancels[0] = (struct scripted_cancel){0, 0, 0, 900000000, false};
    script.cancels_count = 1;
    CHECK_EQ(scripted_run(&script, late_completion, NULL), 0);
}

static int poll_with_deadline(void *arg)
{
    struct torc_deadline deadline;
    struct victim *self = arg;
    torc_deadline_enter(&deadline, 1000);
    self->result = ring_poll(5);
    (void)torc_deadline_leave(&deadline);
    return 0;
}

/* A cancel and a deadline at once make one cancel for the kernel; the first of the two is the reason. */
static int cancel_and_deadline(void *arg)
{
    int *wanted = arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &victim.task},
                             poll_with_deadline, &victim),
             0);
    CHECK_EQ(torc_sleep(*wanted == -ECANCELED ? 500 : 1500), 0);
    torc_task_cancel(&victim.task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(victim.result, *wanted);
    CHECK_EQ(script.cancels_seen, 1);
    return 0;
}

TEST(interrupt, the_first_of_cancel_and_deadline_is_the_reason)
{
    static int reasons[] = {-ECANCELED, -ETIMEDOUT};
    for (int i = 0; i < 2; i++) {
        scripted_init(&script);
        script.cancels[0] = (struct scripted_cancel){0, 5000, 0, 4000, false};
        script.cancels_count = 1;
        CHECK_EQ(scripted_run(&script, cancel_and_deadline, &reasons[i]), 0);
    }
}

static int masked(void *arg)
{
    (void)arg;
    struct torc_mask mask;
    struct torc_deadline inner, outer;
    torc_deadline_enter(&outer, 1000);
    torc_mask_enter(&mask);
    CHECK_EQ(ring_timeout(5000), -ETIME); /* not interrupted: the limit is outside */
    torc_deadline_enter(&inner, 1000);
    CHECK_EQ(ring_poll(5), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&inner));
    torc_mask_leave(&mask);
    CHECK_EQ(ring_nop(), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&outer));
    return ring_nop();
}

TEST(interrupt, a_masked_section_is_not_interrupted_from_outside)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, masked, NULL), 0);
}

/* The end of a sleep and that of its deadline fall into one turn of the loop; the task is woken by the first. */
static int sleep_to_its_deadline(void *arg)
{
    int64_t *apart = arg;
    struct torc_deadline deadline;
    uint64_t when = torc_now_ns() + 1000;
    torc_deadline_enter_at(&deadline, when);
    int err = torc_sleep_until((uint64_t)((int64_t)when + *apart));
    CHECK_EQ(err, *apart < 0 ? 0 : -ETIMEDOUT);
    script.now_ns += 5000;
    (void)torc_deadline_leave(&deadline);
    torc_deadline_enter_at(&deadline, when + 10000);
    CHECK_EQ(torc_sleep_precise(10000), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    return 0;
}

TEST(interrupt, a_sleep_ends_once)
{
    static int64_t apart[] = {-1, 0, 1};
    for (int i = 0; i < 3; i++) {
        scripted_init(&script);
        script.step_ns = 100;
        CHECK_EQ(scripted_run(&script, sleep_to_its_deadline, &apart[i]), 0);
    }
}

static struct torc_event happening;

static int select_with_timeout(void *arg)
{
    (void)arg;
    struct torc_case cases[] = {torc_event_case(&happening), torc_timeout_case(1000)};
    return torc_select(cases, 2);
}

/* The event comes first, and the time is up before the task has run. */
static int event_and_timeout(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task task;
    torc_event_init(&happening);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task},
                             select_with_timeout, NULL),
             0);
    CHECK_EQ(torc_sleep(100), 0);
    torc_event_set(&happening);
    script.now_ns += 5000;
    torci_this->budget = 0; /* the loop turns, and the timers with it, before the task's turn */
    torc_yield();
    CHECK_EQ(torc_task_join(&task), 0);
    return torc_scope_join(&scope);
}

TEST(interrupt, a_select_ends_once)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, event_and_timeout, NULL), 0);
}

static int expired_before(void *arg)
{
    (void)arg;
    struct torc_deadline deadline;
    struct torc_op op;
    struct io_uring_sqe *sqe;
    /* expires while nothing blocks: the next begin refuses */
    torc_deadline_enter(&deadline, 0);
    torc_yield();
    for (int i = 0; i < 100 && !torc_task_check(); i++)
        torc_yield();
    uint64_t submitted = script.submitted;
    CHECK_EQ(torc_op_begin(&op, &sqe), -ETIMEDOUT);
    CHECK_EQ(script.submitted, submitted);
    CHECK(torc_deadline_leave(&deadline));
    /* expires between begin and wait: cancelled right behind its submission */
    CHECK_EQ(torc_op_begin(&op, &sqe), 0);
    io_uring_prep_poll_add(sqe, 5, 1);
    torci_this->current->interrupt = -ECANCELED;
    torci_this->current->cancelled = true;
    CHECK_EQ(torc_op_wait(&op), -ECANCELED);
    return 0;
}

TEST(interrupt, an_interruption_that_is_there_already_counts)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, expired_before, NULL), 0);
}
