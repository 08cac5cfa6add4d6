/* SPDX-License-Identifier: MIT
 *
 * Twenty tasks that do random things to one object, get cancelled and replaced at random and set themselves random
 * deadlines, on a virtual clock. The object's test brings the step that each task repeats and the invariants; this file
 * brings the crowd. The same seed gives the same run.
 */
#ifndef TORC_TESTS_SYNC_MODEL_H
#define TORC_TESTS_SYNC_MODEL_H

#include "core/random_internal.h"
#include "core/time.h"
#include "tests/core_host.h"

enum { CROWD = 20, CROWD_CANCELS = 200 };

struct crowd {
    struct torci_random random;
    /* One step of task WHO; what it holds it must give back before it returns, negative once it is interrupted. */
    int (*step)(struct crowd *crowd, int who);
    void (*stop)(
        struct crowd *crowd); /* lets go on whoever is still blocked; NULL: they are cancelled */
    bool stopping;
    uint64_t steps, served, interrupted;  /* so that a test can tell that all of it came up */
    uint64_t next_ticket, tickets[CROWD]; /* of those that are in a blocking call; 0: not */
};

struct crowd_member {
    struct crowd *crowd;
    int who;
    struct torc_task task;
};

static inline uint64_t crowd_draw(struct crowd *crowd, uint64_t bound)
{
    return torci_random_below(&crowd->random, bound);
}

/* A moment in which others run, even if the task is cancelled. */
static inline void crowd_linger(struct crowd *crowd)
{
    struct torc_mask mask;
    torc_mask_enter(&mask);
    if (crowd_draw(crowd, 2))
        torc_yield();
    else
        CHECK_EQ(torc_sleep(crowd_draw(crowd, 20 * TORC_US)), 0);
    torc_mask_leave(&mask);
}

/* Around a blocking call that is served first come, first served: nobody who began to wait before it may still wait when
 * it has waited and got what it wanted. */
static inline uint64_t crowd_queue_up(struct crowd *crowd, int who)
{
    crowd->tickets[who] = ++crowd->next_ticket;
    return crowd->steps;
}
static inline int crowd_served(struct crowd *crowd, int who, uint64_t began_at, int result)
{
    uint64_t ticket = crowd->tickets[who];
    crowd->tickets[who] = 0;
    if (result < 0) {
        crowd->interrupted++;
        return result;
    }
    crowd->served++;
    if (crowd->steps != began_at) /* it has waited */
        for (int i = 0; i < CROWD; i++)
            CHECK(!crowd->tickets[i] || crowd->tickets[i] > ticket);
    return result;
}

static inline int crowd_member_main(void *arg)
{
    struct crowd_member *self = (struct crowd_member *)arg;
    struct crowd *crowd = self->crowd;
    while (!crowd->stopping) {
        crowd->steps++;
        struct torc_deadline deadline;
        bool hurried = crowd_draw(crowd, 3) == 0;
        if (hurried)
            torc_deadline_enter(&deadline, crowd_draw(crowd, 30 * TORC_US));
        int err = crowd->step(crowd, self->who);
        if (hurried)
            torc_deadline_leave(&deadline);
        crowd->steps++;
        if (err == -ECANCELED || torc_task_check())
            break;
        if (crowd_draw(crowd, 4) == 0 && torc_sleep(crowd_draw(crowd, 40 * TORC_US)))
            break;
    }
    return 0;
}

static inline void crowd_spawn(struct torc_scope *scope, struct crowd_member *member)
{
    CHECK_EQ(torc_spawn_with(scope, &(struct torc_task_options){.task = &member->task},
                             crowd_member_main, member),
             0);
}

/* The main task: sends the crowd in, cancels and replaces some, and stops the rest. */
static inline int crowd_main(void *arg)
{
    struct crowd *crowd = (struct crowd *)arg;
    struct crowd_member members[CROWD];
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < CROWD; i++) {
        members[i] = (struct crowd_member){.crowd = crowd, .who = i};
        crowd_spawn(&scope, &members[i]);
    }
    for (int i = 0; i < CROWD_CANCELS; i++) {
        CHECK_EQ(torc_sleep(crowd_draw(crowd, 50 * TORC_US)), 0);
        struct crowd_member *unlucky = &members[crowd_draw(crowd, CROWD)];
        torc_task_cancel(&unlucky->task);
        CHECK_EQ(torc_task_join(&unlucky->task), 0);
        crowd_spawn(&scope, unlucky);
    }
    crowd->stopping = true;
    if (crowd->stop)
        crowd->stop(crowd);
    else
        torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK(crowd->served > 100);
    return 0;
}

/* Runs STEP's crowd once for each of the fixed seeds; SET_UP before and CHECK_END after each, inside the main task. */
struct crowd_test {
    int (*step)(struct crowd *crowd, int who);
    void (*stop)(struct crowd *crowd);
    void (*set_up)(void);
    void (*check_end)(struct crowd *crowd);
};

struct crowd_run {
    const struct crowd_test *test;
    struct crowd crowd;
};

static inline int crowd_run_main(void *arg)
{
    struct crowd_run *run = (struct crowd_run *)arg;
    run->test->set_up();
    int err = crowd_main(&run->crowd);
    run->test->check_end(&run->crowd);
    return err;
}

static inline void crowd_run(const struct crowd_test *test)
{
    static const uint64_t seeds[] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(seeds); i++) {
        struct crowd_run run = {.test = test, .crowd = {.step = test->step, .stop = test->stop}};
        torci_random_seed(&run.crowd.random, seeds[i]);
        int result = core_host_run(crowd_run_main, &run);
        if (result)
            TEST_FAIL("seed %" PRIu64 ": %d", seeds[i], result);
        CHECK(run.crowd.interrupted > 10);
    }
}

#endif
