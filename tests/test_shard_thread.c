/* SPDX-License-Identifier: MIT
 *
 * Work for the shards from threads that are none: results, timeouts, full gateways, the end of the set, dying threads.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/harness.h"
#include "torc.h"

enum { THREADS = 4, ROUNDS = 500 };

static struct torc_gateway *gateway;
static uint32_t shards;
static struct torc_event finished; /* shard 0's: main may return */

static int finish(void *arg)
{
    (void)arg;
    torc_event_set(&finished);
    return 0;
}

/* Starts FN in a thread, and serves it until it says that it is finished. */
static int serve_thread(void *(*fn)(void *))
{
    pthread_t thread;
    CHECK_EQ(torc_gateway_open(&gateway), 0);
    shards = torc_shard_count();
    torc_event_init(&finished);
    CHECK_EQ(pthread_create(&thread, NULL, fn, NULL), 0);
    CHECK_EQ(pthread_detach(thread), 0);
    return torc_event_wait(&finished);
}

static void run_on(uint32_t count, uint32_t tasks_max, torc_task_fn *main)
{
    const struct torc_config config = {
        .shards = count, .tasks_max = tasks_max, .keep_signals = true};
    CHECK_EQ(torc_run(&config, main, NULL), 0);
    torc_gateway_close(gateway);
}

/* ---- calls ---- */

struct question {
    int number;
    uint32_t answered_by;
};

static int answer(void *arg)
{
    struct question *question = arg;
    question->answered_by = torc_shard_id();
    CHECK_STR(torc_task_name(), "call from a thread");
    return 2 * question->number;
}

static void *ask(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct question question = {.number = i};
        uint32_t shard = (uint32_t)i % shards;
        CHECK_EQ(torc_thread_call(gateway, shard, answer, &question), 2 * i);
        CHECK_EQ(question.answered_by, shard);
    }
    CHECK_EQ(torc_thread_call(gateway, shards, answer, NULL), -EINVAL);
    CHECK_EQ(torc_thread_post(gateway, shards, answer, NULL), -EINVAL);
    return NULL;
}

static void *ask_in_many_threads(void *arg)
{
    (void)arg;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, ask, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(torc_thread_post(gateway, 0, finish, NULL), 0);
    return NULL;
}

static int serve_many(void *arg)
{
    (void)arg;
    return torc_shard_id() == 0 ? serve_thread(ask_in_many_threads) : 0;
}

TEST(thread, calls_run_there_and_return_the_result)
{
    run_on(1, 0, serve_many);
    run_on(3, 0, serve_many);
    run_on(7, 0, serve_many);
}

static int call_oneself(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_gateway_open(&gateway), 0);
    CHECK_EQ(torc_thread_call(gateway, 0, answer, NULL), -EDEADLK);
    CHECK_EQ(torc_thread_post(gateway, 0, answer, NULL), -EDEADLK);
    CHECK_EQ(torc_thread_try_post(gateway, 0, answer, NULL), -EDEADLK);
    return 0;
}

TEST(thread, that_is_a_shard_is_refused)
{
    run_on(1, 0, call_oneself);
}

/* ---- timeouts ---- */

static int seen;

static int sleep_long(void *arg)
{
    return *(int *)arg = torc_sleep(1000 * TORC_SEC);
}

static int finish_all_the_same(void *arg)
{
    (void)sleep_long(arg);
    return 7;
}

static void *ask_with_timeout(void *arg)
{
    (void)arg;
    for (uint32_t shard = 0; shard < shards; shard++) {
        CHECK_EQ(torc_thread_call_within(gateway, shard, sleep_long, &seen, 2 * TORC_MS),
                 -ETIMEDOUT);
        CHECK_EQ(seen, -ECANCELED);
        CHECK_EQ(torc_thread_call_within(gateway, shard, finish_all_the_same, &seen, 2 * TORC_MS),
                 7);
        struct question question = {.number = 4};
        CHECK_EQ(torc_thread_call_within(gateway, shard, answer, &question, UINT64_MAX), 8);
    }
    CHECK_EQ(torc_thread_post(gateway, 0, finish, NULL), 0);
    return NULL;
}

static int serve_timeouts(void *arg)
{
    (void)arg;
    return torc_shard_id() == 0 ? serve_thread(ask_with_timeout) : 0;
}

TEST(thread, timeout_cancels_and_waits_for_the_end)
{
    run_on(1, 0, serve_timeouts);
    run_on(2, 0, serve_timeouts);
}

/* Timeouts that pass at about the time of the answer. */
static int sleep_a_little(void *arg)
{
    (void)arg;
    int err = torc_sleep(100 * TORC_US);
    return err ? err : 5;
}

static void *race_with_answers(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < 300; i++) {
        int result = torc_thread_call_within(gateway, (uint32_t)i % shards, sleep_a_little, NULL,
                                             i * TORC_US);
        CHECK(result == 5 || result == -ETIMEDOUT);
    }
    CHECK_EQ(torc_thread_post(gateway, 0, finish, NULL), 0);
    return NULL;
}

static int serve_races(void *arg)
{
    (void)arg;
    return torc_shard_id() == 0 ? serve_thread(race_with_answers) : 0;
}

TEST(thread, timeout_and_answer_may_come_together)
{
    run_on(1, 0, serve_races);
    run_on(2, 0, serve_races);
}

/* ---- posts ---- */

static uint32_t came; /* shard 0's own */
static struct torc_event may_go;

static int hold(void *arg)
{
    (void)arg;
    return torc_event_wait(&may_go);
}

static int let_go(void *arg)
{
    (void)arg;
    torc_event_set(&may_go);
    return 0;
}

static int count_in_order(void *arg)
{
    CHECK_EQ(came, (uintptr_t)arg);
    came++;
    return 0;
}

static int how_many(void *arg)
{
    (void)arg;
    return (int)came;
}

static void *post_often(void *arg)
{
    (void)arg;
    for (uintptr_t i = 0; i < 5000; i++) /* many more than there are places: it waits */
        CHECK_EQ(torc_thread_post(gateway, 0, count_in_order, (void *)i), 0);
    CHECK_EQ(torc_thread_call(gateway, 0, how_many, NULL), 5000);
    /* now every place is held by a function that does not end */
    for (int held = 0; held < TORC_GATEWAY_PLACES;) {
        int err = torc_thread_try_post(gateway, 0, hold, NULL);
        CHECK(!err || err == -EAGAIN); /* the shard may not have let go of the last one yet */
        held += !err;
    }
    CHECK_EQ(torc_thread_try_post(gateway, 0, hold, NULL), -EAGAIN);
    CHECK_EQ(torc_thread_call_within(gateway, 0, how_many, NULL, TORC_MS), -ETIMEDOUT);
    return NULL;
}

static int serve_posts(void *arg)
{
    (void)arg;
    came = 0;
    torc_event_init(&may_go);
    CHECK_EQ(torc_gateway_open(&gateway), 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, post_often, NULL), 0);
    while (pthread_tryjoin_np(thread, NULL))
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    return let_go(NULL);
}

TEST(thread, posts_come_in_order_and_wait_for_a_place)
{
    run_on(1, 0, serve_posts);
}

static int sleep_and_count(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_sleep(0), 0);
    came++;
    return 0;
}

static void *post_to_few_tasks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++)
        CHECK_EQ(torc_thread_post(gateway, 0, sleep_and_count, NULL), 0);
    CHECK_EQ(torc_thread_post(gateway, 0, finish, NULL), 0);
    return NULL;
}

static int serve_few_tasks(void *arg)
{
    (void)arg;
    came = 0;
    return serve_thread(post_to_few_tasks);
}

TEST(thread, posts_wait_for_tasks)
{
    run_on(1, 1, serve_few_tasks);
    CHECK_EQ(came, 200);
}

/* ---- the end ---- */

static void *call_for_ever(void *arg)
{
    int result;
    struct question question = {.number = 1};
    while ((result = torc_thread_call(gateway, (uint32_t)(uintptr_t)arg, answer, &question)) == 2)
        ;
    CHECK_EQ(result, -ESHUTDOWN);
    return NULL;
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void *post_for_ever(void *arg)
{
    int err;
    while (!(err = torc_thread_post(gateway, (uint32_t)(uintptr_t)arg, do_nothing, NULL)))
        ;
    CHECK_EQ(err, -ESHUTDOWN);
    return NULL;
}

static pthread_t callers[THREADS];

static int end_under_load(void *arg)
{
    (void)arg;
    if (torc_shard_id() != 0)
        return 0;
    CHECK_EQ(torc_gateway_open(&gateway), 0);
    void *last = (void *)(uintptr_t)(torc_shard_count() - 1);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&callers[i], NULL, i % 2 ? post_for_ever : call_for_ever,
                                i < 2 ? NULL : last),
                 0);
    return torc_sleep(3 * TORC_MS);
}

static void check_end(uint32_t count)
{
    const struct torc_config config = {.shards = count, .keep_signals = true};
    CHECK_EQ(torc_run(&config, end_under_load, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(callers[i], NULL), 0);
    CHECK_EQ(torc_thread_call(gateway, 0, answer, NULL), -ESHUTDOWN);
    CHECK_EQ(torc_thread_try_post(gateway, 0, answer, NULL), -ESHUTDOWN);
    torc_gateway_close(gateway);
}

TEST(thread, set_may_end_while_threads_call)
{
    for (int i = 0; i < 10; i++) {
        check_end(1);
        check_end(2);
    }
}

/* ---- threads that die ---- */

static bool asleep; /* atomic: the function runs */
static int *kept;   /* the argument: no thread's stack */

static int hold_and_tell(void *arg)
{
    *(int *)arg = 1;
    __atomic_store_n(&asleep, true, __ATOMIC_RELEASE);
    int err = torc_event_wait(&may_go);
    *(int *)arg = 2;
    return err;
}

static int dying; /* atomic: its thread's number */

/* It is in the wait itself, and not on its way there. */
static bool is_waiting(int thread)
{
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
    FILE *file = fopen(path, "re");
    if (!file)
        TEST_SKIP("/proc does not tell what a thread waits for");
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    unsigned long number, word, operation;
    return read && sscanf(line, "%lu %lx %lx", &number, &word, &operation) == 3 &&
           number == SYS_futex && operation == FUTEX_WAIT_BITSET_PRIVATE;
}

static void *die_in_mid_call(void *arg)
{
    (void)arg;
    __atomic_store_n(&dying, gettid(), __ATOMIC_RELEASE);
    CHECK_EQ(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL), 0);
    (void)!torc_thread_call(gateway, 0, hold_and_tell, kept);
    TEST_FAIL("it lives");
}

static int kill_a_caller(void *arg)
{
    (void)arg;
    pthread_t thread;
    kept = calloc(1, sizeof *kept);
    torc_event_init(&may_go);
    CHECK_EQ(torc_gateway_open(&gateway), 0);
    CHECK_EQ(pthread_create(&thread, NULL, die_in_mid_call, NULL), 0);
    while (!__atomic_load_n(&asleep, __ATOMIC_ACQUIRE))
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    while (!is_waiting(__atomic_load_n(&dying, __ATOMIC_ACQUIRE)))
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK_EQ(pthread_cancel(thread), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(*kept, 1);
    return let_go(NULL);
}

TEST(thread, that_dies_while_it_waits_leaves_nothing_behind)
{
#if defined(__SANITIZE_ADDRESS__)
    TEST_SKIP("ASan takes the frames that a dead thread leaves behind for live ones");
#endif
    run_on(1, 0, kill_a_caller);
    CHECK_EQ(*kept, 2);
    free(kept);
}

static void *close_early(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_thread_post(gateway, 0, finish, NULL), 0);
    torc_gateway_close(gateway);
    return NULL;
}

static int serve_closed(void *arg)
{
    (void)arg;
    return serve_thread(close_early);
}

TEST(thread, gateway_may_be_closed_before_the_end)
{
    const struct torc_config config = {.shards = 1, .keep_signals = true};
    CHECK_EQ(torc_run(&config, serve_closed, NULL), 0);
}
