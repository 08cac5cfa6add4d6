/* SPDX-License-Identifier: MIT
 *
 * Calls and posts between shards: results, order, deadlines, cancels, shutdown, and what happens when tasks run out.
 */
#include <errno.h>

#include "shard/shard_internal.h"
#include "tests/harness.h"
#include "torc.h"

enum { FEW = 3 };

static int run_on(uint32_t shards, torc_task_fn *main, void *arg)
{
    return torc_run(&(struct torc_config){.shards = shards, .keep_signals = true}, main, arg);
}

/* ---- calls ---- */

struct question {
    int number;
    uint32_t answered_by;
    char task[TORC_TASK_NAME_MAX + 1];
};

static int answer_question(void *arg)
{
    struct question *question = arg;
    question->answered_by = torc_shard_id();
    snprintf(question->task, sizeof question->task, "%s", torc_task_name());
    return question->number * 2;
}

static int ask_everyone(void *arg)
{
    (void)arg;
    for (uint32_t shard = 0; shard < torc_shard_count(); shard++) {
        struct question question = {.number = (int)shard + 100};
        CHECK_EQ(torc_call(shard, answer_question, &question), 2 * question.number);
        CHECK_EQ(question.answered_by, shard);
        char name[64] = "main";
        if (shard != torc_shard_id())
            snprintf(name, sizeof name, "call from shard %u", (unsigned)torc_shard_id());
        CHECK_STR(question.task, name);
    }
    return 0;
}

TEST(call, runs_there_and_returns_the_result)
{
    CHECK_EQ(run_on(1, ask_everyone, NULL), 0);
    CHECK_EQ(run_on(FEW, ask_everyone, NULL), 0);
    CHECK_EQ(run_on(12, ask_everyone, NULL), 0);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int ask_nobody(void *arg)
{
    (void)arg;
    uint32_t count = torc_shard_count();
    char large[TORC_POST_COPY_MAX + 1] = {0};
    CHECK_EQ(torc_call(count, do_nothing, NULL), -EINVAL);
    CHECK_EQ(torc_post(UINT32_MAX, do_nothing, NULL), -EINVAL);
    CHECK_EQ(torc_try_post(count, do_nothing, NULL), -EINVAL);
    CHECK_EQ(torc_post_copy(count, do_nothing, large, 1), -EINVAL);
    CHECK_EQ(torc_post_copy(0, do_nothing, large, sizeof large), -EINVAL);
    return 0;
}

TEST(call, shard_that_is_not_there_is_an_error)
{
    CHECK_EQ(run_on(1, ask_nobody, NULL), 0);
    CHECK_EQ(run_on(FEW, ask_nobody, NULL), 0);
}

/* From shard to shard and back, each waiting for the next. */
static int descend(void *arg)
{
    int depth = *(int *)arg, rest = depth - 1;
    if (!depth)
        return 0;
    int below = torc_call((torc_shard_id() + 1) % torc_shard_count(), descend, &rest);
    return below < 0 ? below : below + 1;
}

TEST(call, function_may_call_back_to_any_depth)
{
    int depth = 100;
    CHECK_EQ(run_on(2, descend, &depth), 100);
    CHECK_EQ(run_on(FEW, descend, &depth), 100);
}

struct many {
    struct torc_scope all;
    uint64_t sum;
};

static int call_next_often(void *arg)
{
    struct many *many = arg;
    for (int i = 0; i < 100; i++) {
        struct question question = {.number = i};
        uint32_t next = (torc_shard_id() + 1) % torc_shard_count();
        CHECK_EQ(torc_call(next, answer_question, &question), 2 * i);
        many->sum += (uint64_t)question.number;
    }
    return 0;
}

static int call_from_many_tasks(void *arg)
{
    (void)arg;
    struct many many = {.sum = 0};
    torc_scope_init(&many.all);
    for (int i = 0; i < 500; i++)
        CHECK_EQ(torc_spawn(&many.all, call_next_often, &many), 0);
    CHECK_EQ(torc_scope_join(&many.all), 0);
    CHECK_EQ(many.sum, 500 * 99 * 50);
    return 0;
}

TEST(call, more_at_a_time_than_a_lane_holds)
{
    CHECK_EQ(run_on(2, call_from_many_tasks, NULL), 0);
    CHECK_EQ(run_on(FEW, call_from_many_tasks, NULL), 0);
}

/* ---- deadlines and cancels ---- */

static struct torc_event never[64]; /* one for each shard */
static int seen_there;              /* atomic: what the function's blocking call returned */
static uint32_t runs;               /* atomic */

static int see(int result)
{
    __atomic_store_n(&seen_there, result, __ATOMIC_RELAXED);
    return result;
}

static int sleep_long(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&runs, 1, __ATOMIC_RELAXED);
    return see(torc_sleep(1000 * TORC_SEC));
}

static int call_with_deadline(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    CHECK_EQ(torc_call(1, sleep_long, NULL), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    /* on a busy machine it may have passed before the function began */
    CHECK(!runs || seen_there == -ETIMEDOUT || seen_there == -ECANCELED);
    return 0;
}

TEST(call, deadline_ends_what_runs_there)
{
    CHECK_EQ(run_on(2, call_with_deadline, NULL), 0);
}

static int has_deadline(void *arg)
{
    const struct torc_deadline *deadline = torci_this->current->deadline;
    return deadline && deadline->when_ns == *(const uint64_t *)arg;
}

static int call_inside_sections(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_deadline far, near;
    uint64_t when_ns = torc_now_ns() + 500 * TORC_SEC;
    torc_deadline_enter_at(&near, when_ns);
    torc_deadline_enter_at(&far, when_ns + TORC_SEC);
    CHECK_EQ(torc_call(1, has_deadline, &when_ns), 1); /* the nearest goes along */
    struct torc_mask mask;
    torc_mask_enter(&mask);
    CHECK_EQ(torc_call(1, has_deadline, &when_ns), 0); /* none holds inside the mask */
    torc_mask_leave(&mask);
    (void)torc_deadline_leave(&far);
    (void)torc_deadline_leave(&near);
    CHECK_EQ(torc_call(1, has_deadline, &when_ns), 0);
    return 0;
}

TEST(call, nearest_deadline_that_holds_goes_along)
{
    CHECK_EQ(run_on(2, call_inside_sections, NULL), 0);
}

static int wait_until_told(void *arg)
{
    struct torc_event *begun = arg;
    CHECK_EQ(torc_try_post(0, (torc_task_fn *)(void *)torc_event_set, begun), 0);
    return see(torc_event_wait(&never[torc_shard_id()]));
}

static int call_and_be_cancelled(void *arg)
{
    return torc_call(1, wait_until_told, arg);
}

static int cancel_a_caller(void *arg)
{
    (void)arg;
    torc_event_init(&never[torc_shard_id()]);
    if (torc_shard_id() != 0)
        return 0;
    struct torc_event begun;
    struct torc_scope scope;
    struct torc_task task;
    torc_event_init(&begun);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task},
                             call_and_be_cancelled, &begun),
             0);
    CHECK_EQ(torc_event_wait(&begun), 0);
    torc_task_cancel(&task);
    CHECK_EQ(torc_task_join(&task), -ECANCELED);
    CHECK_EQ(seen_there, -ECANCELED);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    return 0;
}

TEST(call, cancel_of_the_caller_ends_what_runs_there)
{
    CHECK_EQ(run_on(2, cancel_a_caller, NULL), 0);
}

static int finish_all_the_same(void *arg)
{
    int seen = wait_until_told(arg);
    return seen == -ECANCELED ? 77 : seen;
}

static int call_what_finishes(void *arg)
{
    return torc_call(1, finish_all_the_same, arg);
}

static int cancel_too_late(void *arg)
{
    (void)arg;
    torc_event_init(&never[torc_shard_id()]);
    if (torc_shard_id() != 0)
        return 0;
    struct torc_event begun;
    struct torc_scope scope;
    struct torc_task task;
    torc_event_init(&begun);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, call_what_finishes,
                             &begun),
             0);
    CHECK_EQ(torc_event_wait(&begun), 0);
    torc_task_cancel(&task);
    CHECK_EQ(torc_task_join(&task), 77);
    return torc_scope_join(&scope);
}

TEST(call, result_that_came_all_the_same_is_not_lost)
{
    CHECK_EQ(run_on(2, cancel_too_late, NULL), 0);
}

/* Shard 1 keeps its loop from turning until the request has been published. */
static int cancel_in_the_lane(void *arg)
{
    (void)arg;
    struct torci_shard *self = torci_shard_this();
    if (self->id == 1) {
        struct torci_message *request;
        while (!(request = torci_mesh_unread(&self->mesh.peers[0], 0)))
            ;
        const struct torci_message cancel = {torci_take_cancel, {request->words[TORCI_REQUEST_ID]}};
        CHECK(torci_take_cancel(self, 0, &cancel));
        return 0;
    }
    CHECK_EQ(torc_call(1, sleep_long, NULL), -ECANCELED);
    CHECK_EQ(runs, 0);
    return 0;
}

TEST(call, request_that_was_not_taken_is_cancelled_in_the_lane)
{
    runs = 0;
    CHECK_EQ(run_on(2, cancel_in_the_lane, NULL), 0);
}

static int sleep_a_little(void *arg)
{
    (void)arg;
    int err = torc_sleep(100 * TORC_US);
    return err ? err : 5;
}

/* Deadlines that pass at about the time of the answer: nothing is left over, and results are of one kind or the other. */
static int race_with_answers(void *arg)
{
    (void)arg;
    uint32_t count = torc_shard_count();
    for (int i = 0; i < 300; i++) {
        struct torc_deadline deadline;
        torc_deadline_enter(&deadline, (uint64_t)i * TORC_US);
        int result = torc_call((torc_shard_id() + 1) % count, sleep_a_little, NULL);
        CHECK(result == 5 || result == -ETIMEDOUT);
        (void)torc_deadline_leave(&deadline);
    }
    return 0;
}

TEST(call, deadline_and_answer_may_come_together)
{
    CHECK_EQ(run_on(2, race_with_answers, NULL), 0);
    CHECK_EQ(run_on(7, race_with_answers, NULL), 0);
}

/* ---- posts ---- */

enum { POSTS = 2000 };

static struct {
    uint32_t count;
    uint32_t last[64]; /* of each sender, on one receiver */
} came[64];

struct numbered {
    uint32_t from, number;
};

static int receive(void *arg)
{
    const struct numbered *post = arg;
    uint32_t me = torc_shard_id();
    CHECK_EQ(post->number, came[me].last[post->from] + 1);
    came[me].last[post->from] = post->number;
    came[me].count++;
    return 0;
}

static int post_to_all(void *arg)
{
    (void)arg;
    for (uint32_t i = 1; i <= POSTS; i++)
        for (uint32_t to = 0; to < torc_shard_count(); to++)
            CHECK_EQ(torc_post_copy(to, receive, &(struct numbered){torc_shard_id(), i},
                                    sizeof(struct numbered)),
                     0);
    return 0;
}

static void check_posts(uint32_t shards)
{
    memset(came, 0, sizeof came);
    const struct torc_config config = {.shards = shards, .tasks_max = 100, .keep_signals = true};
    CHECK_EQ(torc_run(&config, post_to_all, NULL), 0);
    for (uint32_t i = 0; i < shards; i++)
        CHECK_EQ(came[i].count, shards * POSTS);
}

TEST(post, all_run_in_the_order_of_their_sender_before_the_end)
{
    check_posts(1);
    check_posts(2);
    check_posts(7);
}

static int take_ownership(void *arg)
{
    int value = *(int *)arg;
    free(arg);
    __atomic_fetch_add(&runs, (uint32_t)value, __ATOMIC_RELAXED);
    return -EIO; /* nobody sees it */
}

static int post_memory(void *arg)
{
    (void)arg;
    int *value = malloc(sizeof *value);
    *value = 3;
    CHECK_EQ(torc_post((torc_shard_id() + 1) % torc_shard_count(), take_ownership, value), 0);
    return 0;
}

TEST(post, argument_belongs_to_the_function)
{
    runs = 0;
    CHECK_EQ(run_on(FEW, post_memory, NULL), 0);
    CHECK_EQ(runs, FEW * 3);
}

static bool go_on; /* atomic */

static int post_until_full(void *arg)
{
    (void)arg;
    if (torc_shard_id() == 1) {
        while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE)) /* the loop does not turn */
            ;
        return 0;
    }
    uint32_t sent = 0;
    int err;
    int *value;
    while (!(err = torc_try_post(1, take_ownership, value = calloc(1, sizeof *value))))
        sent++;
    CHECK_EQ(err, -EAGAIN);
    free(value); /* it is still ours */
    CHECK_EQ(sent, TORCI_LANE_SLOTS);
    /* who may wait does, and who has a deadline not for ever */
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_post(1, take_ownership, NULL), -ETIMEDOUT);
    CHECK_EQ(torc_call(1, take_ownership, NULL), -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    __atomic_store_n(&go_on, true, __ATOMIC_RELEASE);
    int one = 1;
    CHECK_EQ(torc_call(1, answer_question, &(struct question){.number = one}), 2);
    return 0;
}

TEST(post, full_lane_is_told_or_waited_for)
{
    CHECK_EQ(run_on(2, post_until_full, NULL), 0);
}

/* ---- all shards ---- */

static uint32_t visited[64];

static int visit(void *arg)
{
    visited[torc_shard_id()]++;
    return (int)torc_shard_id() == *(int *)arg ? -EDOM : (int)torc_shard_id();
}

static int visit_all(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    int nobody = -1, last = (int)torc_shard_count() - 1, results[64];
    CHECK_EQ(torc_call_all(visit, &nobody), 0);
    CHECK_EQ(torc_call_each(visit, &last, results), -EDOM);
    for (int i = 0; i <= last; i++) {
        CHECK_EQ(visited[i], 2);
        CHECK_EQ(results[i], i == last ? -EDOM : i);
    }
    return 0;
}

TEST(call_all, runs_once_on_each_and_tells_of_a_failure)
{
    CHECK_EQ(run_on(1, visit_all, NULL), 0);
    memset(visited, 0, sizeof visited);
    CHECK_EQ(run_on(7, visit_all, NULL), 0);
}

/* Each waits until all have come: only if they run at the same time does anyone return. */
static int meet(void *arg)
{
    uint32_t *here = arg;
    __atomic_fetch_add(here, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(here, __ATOMIC_SEQ_CST) < torc_shard_count()) {
        int err = torc_sleep(10 * TORC_US);
        if (err)
            return err;
    }
    return 0;
}

static int meet_all(void *arg)
{
    (void)arg;
    uint32_t here = 0;
    return torc_shard_id() == 0 ? torc_call_all(meet, &here) : 0;
}

TEST(call_all, all_run_at_the_same_time)
{
    CHECK_EQ(run_on(7, meet_all, NULL), 0);
}

static int sleep_except_here(void *arg)
{
    return torc_shard_id() == 0 ? 0 : sleep_long(arg);
}

static int call_all_with_deadline(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    int results[64];
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    CHECK_EQ(torc_call_each(sleep_except_here, NULL, results), -ETIMEDOUT);
    CHECK_EQ(torc_call_each(sleep_except_here, NULL, results), -ETIMEDOUT); /* it has passed */
    for (uint32_t i = 0; i < torc_shard_count(); i++)
        CHECK_EQ(results[i], -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    return 0;
}

TEST(call_all, deadline_ends_all)
{
    CHECK_EQ(run_on(7, call_all_with_deadline, NULL), 0);
}

struct part {
    uint64_t sum;
    uint32_t shards;
};

static int sum_up(void *arg, void *part)
{
    struct part *mine = part;
    CHECK_EQ(mine->sum, 0);
    mine->sum = *(const uint64_t *)arg * torc_shard_id();
    mine->shards = 1;
    return torc_shard_id() == 5 && *(const uint64_t *)arg == 0 ? -EDOM : 0;
}

static void add_up(void *total, const void *part)
{
    struct part *to = total;
    CHECK_EQ(((const struct part *)part)->sum, to->shards * 10);
    to->sum += ((const struct part *)part)->sum;
    to->shards++;
}

static int map_and_reduce(void *arg)
{
    (void)arg;
    const struct torc_map_reduce job = {sum_up, add_up, sizeof(struct part)};
    const struct torc_map_reduce too_large = {sum_up, add_up, SIZE_MAX};
    struct part total = {0};
    uint64_t factor = 10, nothing = 0;
    uint32_t count = torc_shard_count();
    CHECK_EQ(torc_map_reduce(&job, &factor, &total), 0);
    CHECK_EQ(total.sum, 10 * count * (count - 1) / 2);
    CHECK_EQ(total.shards, count);
    CHECK_EQ(torc_map_reduce(&too_large, &factor, &total), -ENOMEM);
    if (count > 5)
        CHECK_EQ(torc_map_reduce(&job, &nothing, &total), -EDOM);
    return 0;
}

TEST(map_reduce, folds_one_part_of_each_shard_in_order)
{
    CHECK_EQ(run_on(1, map_and_reduce, NULL), 0);
    CHECK_EQ(run_on(7, map_and_reduce, NULL), 0);
}

/* ---- the end ---- */

static uint32_t dropped; /* atomic */

static void count_drop(void *arg)
{
    (void)arg;
    __atomic_fetch_add(&dropped, 1, __ATOMIC_RELAXED);
}

static int call_who_stops(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    torc_shutdown();
    int err;
    while (!(err = torc_call(1, do_nothing, NULL)))
        torc_yield();
    CHECK_EQ(err, -ESHUTDOWN);
    CHECK_EQ(
        torc_post_with(1, &(struct torc_post_options){.drop = count_drop}, take_ownership, NULL),
        0);
    CHECK_EQ(torc_post(1, take_ownership, NULL), 0);
    CHECK_EQ(torc_call(1, do_nothing, NULL), -ESHUTDOWN); /* behind it */
    CHECK_EQ(dropped, 1);
    torc_mask_leave(&mask);
    return 0;
}

TEST(call, shard_that_is_stopping_refuses)
{
    CHECK_EQ(run_on(2, call_who_stops, NULL), 0);
}

static int serve_while_others_end(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    return ask_everyone(NULL);
}

TEST(call, shard_whose_main_has_ended_still_serves)
{
    CHECK_EQ(run_on(FEW, serve_while_others_end, NULL), 0);
}

static int sleep_there_until_shutdown(void *arg)
{
    (void)arg;
    if (torc_shard_id() == 1) {
        CHECK_EQ(torc_sleep(2 * TORC_MS), 0);
        return -EDOM;
    }
    int err = torc_call((torc_shard_id() + 1) % torc_shard_count(), sleep_long, NULL);
    CHECK(err == -ECANCELED || err == -ESHUTDOWN);
    return err;
}

TEST(call, shutdown_ends_calls)
{
    CHECK_EQ(run_on(2, sleep_there_until_shutdown, NULL), -EDOM);
    CHECK_EQ(run_on(7, sleep_there_until_shutdown, NULL), -EDOM);
}

/* ---- a shard whose ring fails ---- */

static const struct torci_kernel *linux_kernel;
static bool broken; /* shard 1's alone */

static int enter_or_fail(void *context, int ring, unsigned to_submit, unsigned min_complete,
                         unsigned flags, const void *arg, size_t arg_size)
{
    if (torci_this && torci_shard_this()->id == 1 && broken)
        return -EBADF;
    return linux_kernel->ring_enter(context, ring, to_submit, min_complete, flags, arg, arg_size);
}

static int break_the_ring(void *arg)
{
    (void)arg;
    broken = true;
    return torc_sleep(1000 * TORC_SEC);
}

static int call_who_breaks(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    CHECK_EQ(torc_call(1, break_the_ring, NULL), -EIO);
    int later = torc_call(1, do_nothing, NULL);
    CHECK(later == -EIO || later == -ESHUTDOWN);
    torc_mask_leave(&mask);
    return 0;
}

TEST(call, shard_whose_ring_fails_answers)
{
    linux_kernel = torci_kernel_linux_get();
    struct torci_kernel kernel = *linux_kernel;
    kernel.ring_enter = enter_or_fail;
    const struct torc_config config = {.shards = 2, .keep_signals = true, .kernel = &kernel};
    CHECK_EQ(torc_run(&config, call_who_breaks, NULL), -EBADF);
}
