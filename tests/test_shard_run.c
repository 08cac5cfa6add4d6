/* SPDX-License-Identifier: MIT
 *
 * The life of a set of shards: the barrier, results, serving, shutdown, signals and their limit, variables of the
 * environment. What ends the process is tried in a child.
 */
#include "shard/run.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/time.h"
#include "io/signals.h"
#include "shard/call.h"
#include "shard/shard_internal.h"
#include "tests/fault_kernel.h"

enum { SHARDS = 5, MANY = 64 };

static struct fault_kernel fault;
static unsigned setups, mains; /* atomic */

static unsigned now(const unsigned *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void add(unsigned *count)
{
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static int count_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    int ring = fault_ring_setup(context, entries, params);
    if (ring >= 0)
        add(&setups);
    return ring;
}

static void setup(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    fault_kernel_init(&fault);
    fault.kernel.ring_setup = count_setup;
    setups = mains = 0;
}

/* On a busy machine even a correct shard may be slow enough to be reported. */
static int run(uint32_t shards, torc_task_fn *main, void *arg)
{
    struct torc_config config = {
        .shards = shards, .kernel = &fault.kernel, .no_stall_report = true};
    int result = torc_run(&config, main, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

/* ---- mains and their results ---- */

static int see_all_open(void *arg)
{
    unsigned *seen = arg;
    CHECK_EQ(now(&setups), torc_shard_count());
    CHECK_EQ(torc_shard_count(), MANY);
    add(&seen[torc_shard_id()]);
    add(&mains);
    return 0;
}

TEST(run, no_main_begins_before_every_shard_is_open)
{
    unsigned seen[MANY] = {0};
    setup();
    CHECK_EQ(run(MANY, see_all_open, seen), 0);
    CHECK_EQ(mains, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(seen[i], 1);
    CHECK_EQ(fault.lines, 0);
}

static int own_number(void *arg)
{
    return (int)torc_shard_id() + *(int *)arg;
}

TEST(run, without_an_error_it_is_shard_0s_result)
{
    int base = 40;
    setup();
    CHECK_EQ(run(SHARDS, own_number, &base), 40);
}

static int fail_on(void *arg)
{
    if (torc_shard_id() == *(uint32_t *)arg)
        return -EXDEV;
    int err = torc_sleep(60 * TORC_SEC);
    CHECK(torc_is_shutting_down());
    return err;
}

TEST(run, the_first_error_cancels_the_others_and_is_the_result)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        setup();
        CHECK_EQ(run(SHARDS, fail_on, &shard), -EXDEV);
        CHECK_EQ(fault.lines, 0);
    }
}

static int shut_down_from(void *arg)
{
    if (torc_shard_id() == *(uint32_t *)arg)
        torc_shutdown();
    CHECK_EQ(torc_sleep(60 * TORC_SEC), -ECANCELED);
    CHECK(torc_is_shutting_down());
    return 7;
}

TEST(run, any_shard_may_shut_all_down)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        setup();
        CHECK_EQ(run(SHARDS, shut_down_from, &shard), 7);
    }
}

static int tell_shard(void *arg)
{
    (void)arg;
    return (int)torc_shard_id();
}

static int call_those_that_returned(void *arg)
{
    (void)arg;
    if (torc_shard_id())
        return 0;
    const uint32_t *left = &torci_shard_this()->set->mains_left;
    while (__atomic_load_n(left, __ATOMIC_ACQUIRE) > 1) /* pairs with one_less in run.c */
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    for (uint32_t shard = 1; shard < SHARDS; shard++)
        CHECK_EQ(torc_call(shard, tell_shard, NULL), shard);
    return 0;
}

TEST(run, a_shard_whose_main_has_returned_serves)
{
    setup();
    CHECK_EQ(run(SHARDS, call_those_that_returned, NULL), 0);
}

static int sleep_and_count_turns(void *arg)
{
    unsigned *most = arg;
    uint64_t before = torci_this->counters->loop_turns;
    CHECK_EQ(torc_sleep(300 * TORC_MS), 0);
    uint64_t turns = torci_this->counters->loop_turns - before;
    if (turns > 40)
        add(most);
    return 0;
}

/* Were they to spin, the two CPUs would turn each loop thousands of times. */
TEST(run, shards_that_share_a_cpu_sleep_and_never_spin)
{
    unsigned busy = 0;
    setup();
    struct timespec cpu;
    struct torc_config config = {
        .shards = MANY, .kernel = &fault.kernel, .spin_ns = TORC_SEC, .cpus = "0"};
    CHECK_EQ(torc_run(&config, sleep_and_count_turns, &busy), 0);
    CHECK_EQ(busy, 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    CHECK(cpu.tv_sec < 20);
}

/* ---- signals ---- */

static int signal_myself(void *arg)
{
    if (torc_shard_id() == SHARDS - 1)
        kill(getpid(), *(int *)arg);
    return torc_sleep(60 * TORC_SEC);
}

TEST(run, a_signal_ends_all_shards_in_order)
{
    static int numbers[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        setup();
        CHECK_EQ(run(SHARDS, signal_myself, &numbers[i]), -ECANCELED);
        CHECK_EQ(fault.lines, 0);
    }
}

/* Runs FN in a child, whose standard error is TEXT; its status. */
static int in_child(void (*fn)(void), char *text, size_t size)
{
    int ends[2], status;
    size_t length = 0;
    CHECK_EQ(pipe(ends), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        setup();
        fn();
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

static int stubborn(void *arg)
{
    (void)arg;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    int err = torc_sleep(100 * TORC_SEC);
    torc_mask_leave(&mask);
    return err;
}

static int have_stubborn_tasks(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    uint32_t id = torc_shard_id();
    if (id == 0) {
        kill(getpid(), SIGTERM);
        return 0;
    }
    if (id == 1) { /* never looks up again */
        torc_task_set_name("hog");
        for (;;)
            (void)torc_now_ns();
    }
    if (id == 3)
        return torc_sleep(60 * TORC_SEC);
    torc_scope_init(&scope);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(torc_spawn_with(&scope,
                                 &(struct torc_task_options){.name = i ? "flusher" : "writer"},
                                 stubborn, NULL),
                 0);
    CHECK_EQ(torc_spawn(&scope, stubborn, NULL), 0);
    return torc_scope_join(&scope);
}

static void drain_out(void)
{
    struct torc_config config = {
        .shards = 4, .drain_ns = 300 * TORC_MS, .no_stall_report = true, .blocking_threads = 1};
    _exit(torc_run(&config, have_stubborn_tasks, NULL) & 127);
}

TEST(run, a_drain_that_takes_too_long_says_who_is_left_and_ends)
{
    char text[4096];
    int status = in_child(drain_out, text, sizeof text);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM)
        TEST_FAIL("status %x: %s", (unsigned)status, text);
    const char *left = strstr(text, "torc: 0.3 s after the signal shard 2 still has 4 tasks: ");
    if (!left || !strstr(left, "\"main\"") || !strstr(left, "\"writer\"") ||
        !strstr(left, "\"flusher\"") || !strstr(left, " and others\n"))
        TEST_FAIL("%s", text);
    CHECK(strstr(text, "torc: 0.3 s after the signal shard 1 does not answer: a task of it has not "
                       "yielded since\n") != NULL);
    CHECK(!strstr(text, "signal shard 0") && !strstr(text, "signal shard 3"));
}

static int end_slowly(void *arg)
{
    (void)arg;
    if (torc_shard_id() == 1)
        kill(getpid(), SIGTERM);
    CHECK_EQ(torc_sleep(60 * TORC_SEC), -ECANCELED);
    struct torc_mask mask;
    torc_mask_enter(&mask);
    CHECK_EQ(torc_sleep(50 * TORC_MS), 0);
    torc_mask_leave(&mask);
    return 3;
}

static void drain_in_time(void)
{
    struct torc_config config = {.shards = 3, .drain_ns = 60 * TORC_SEC, .kernel = &fault.kernel};
    _exit(torc_run(&config, end_slowly, NULL) == 3 && !fault_kernel_said(&fault, "signal") ? 33
                                                                                           : 1);
}

TEST(run, a_drain_in_time_is_the_programs_own_end)
{
    char text[1024];
    int status = in_child(drain_in_time, text, sizeof text);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 33)
        TEST_FAIL("status %x: %s", (unsigned)status, text);
}

static int hang_twice(void *arg)
{
    (void)arg;
    if (torc_shard_id() == 2)
        kill(getpid(), SIGTERM);
    while (!torc_is_shutting_down())
        torc_yield();
    kill(getpid(), SIGINT);
    return stubborn(NULL);
}

static void signal_twice(void)
{
    _exit(run(3, hang_twice, NULL) & 127);
}

TEST(run, a_second_signal_ends_the_process_at_once)
{
    char text[1024];
    int status = in_child(signal_twice, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

static unsigned signal_at;

static int signal_in_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    if (now(&setups) == signal_at)
        kill(getpid(), SIGTERM);
    return count_setup(context, entries, params);
}

static int sleep_long(void *arg)
{
    (void)arg;
    return torc_sleep(60 * TORC_SEC);
}

static void signal_while_booting(void)
{
    fault.kernel.ring_setup = signal_in_setup;
    _exit(run(3, sleep_long, NULL) == -ECANCELED ? 9 : 1);
}

/* Before shard 0 is open there is nothing to end in order; then it has the signals. */
TEST(run, a_signal_while_booting_ends_it_too)
{
    char text[1024];
    for (signal_at = 0; signal_at < 3; signal_at++) {
        int status = in_child(signal_while_booting, text, sizeof text);
        if (signal_at == 0)
            CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
        else
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    }
}

static int open_signals(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    int err = torc_signals_open(&signals, (int[]){SIGUSR1}, 1);
    CHECK_EQ(err, torc_shard_id() ? -EINVAL : 0);
    if (!err)
        torc_signals_close(&signals);
    return 0;
}

TEST(run, only_shard_0_can_take_signals)
{
    setup();
    CHECK_EQ(run(3, open_signals, NULL), 0);
}

/* ---- the environment ---- */

static const char *const VARIABLES[] = {"TORC_SHARDS",  "TORC_SPIN",      "TORC_ARENA",
                                        "TORC_CPUS",    "TORC_HUGEPAGES", "TORC_PLACEMENT",
                                        "TORC_COUNTERS"};

static void clear_environment(void)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(VARIABLES); i++)
        unsetenv(VARIABLES[i]);
}

static int count_main(void *arg)
{
    uint32_t *count = arg;
    add(&mains);
    if (!torc_shard_id())
        *count = torc_shard_count();
    return 0;
}

static int run_plain(uint32_t *count)
{
    return torc_run(&(struct torc_config){.kernel = &fault.kernel, .no_stall_report = true},
                    count_main, count);
}

TEST(run, variables_that_make_no_sense_start_nothing)
{
    static const struct {
        const char *name, *value;
    } BAD[] = {
        {"TORC_SHARDS", "0"},
        {"TORC_SHARDS", "x"},
        {"TORC_SHARDS", "-1"},
        {"TORC_SHARDS", "1025"},
        {"TORC_SHARDS", "2 "},
        {"TORC_SPIN", "1ms"},
        {"TORC_SPIN", "1000000000001"},
        {"TORC_ARENA", "1G"},
        {"TORC_ARENA", "0"},
        {"TORC_HUGEPAGES", "yes"},
        {"TORC_PLACEMENT", "nearby"},
        {"TORC_PLACEMENT", "near:"},
        {"TORC_CPUS", "a-b"},
        {"TORC_CPUS", "8191"},
        {"TORC_SHARDS", "99999999999999999999999"},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(BAD); i++) {
        uint32_t count = 0;
        clear_environment();
        setup();
        setenv(BAD[i].name, BAD[i].value, 1);
        CHECK_EQ(run_plain(&count), -EINVAL);
        CHECK_EQ(fault.lines, 1);
        if (!fault_kernel_said(&fault, BAD[i].name) && !fault_kernel_said(&fault, BAD[i].value))
            TEST_FAIL("%s=%s: %s", BAD[i].name, BAD[i].value, fault.line[0]);
        CHECK_EQ(setups + mains, 0);
        fault_kernel_check_clean(&fault);
    }
}

TEST(run, variables_fill_in_what_the_config_leaves_open)
{
    static const struct {
        const char *name, *value;
    } GOOD[] = {
        {"TORC_SPIN", "1000"},       {"TORC_SPIN", "0"},         {"TORC_ARENA", "1073741824"},
        {"TORC_SPIN", "off"},        {"TORC_HUGEPAGES", "none"}, {"TORC_HUGEPAGES", "auto"},
        {"TORC_PLACEMENT", "all"},   {"TORC_PLACEMENT", "pack"}, {"TORC_PLACEMENT", "spread"},
        {"TORC_PLACEMENT", "cores"}, {"TORC_SHARDS", ""},        {"TORC_COUNTERS", "auto"},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(GOOD); i++) {
        clear_environment();
        setup();
        setenv("TORC_SHARDS", "3", 1);
        setenv(GOOD[i].name, GOOD[i].value, 1);
        CHECK_EQ(run_plain(&count), 0);
        CHECK(count == 3 || !*GOOD[i].value);
        CHECK_EQ(mains, count);
        CHECK_EQ(fault.lines, 0);
    }
    /* and the config goes first */
    setup();
    setenv("TORC_SHARDS", "nonsense", 1);
    CHECK_EQ(
        torc_run(&(struct torc_config){.shards = 2, .kernel = &fault.kernel}, count_main, &count),
        0);
    CHECK_EQ(count, 2);
}
