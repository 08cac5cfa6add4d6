/* SPDX-License-Identifier: MIT
 *
 * Signals: those of torc_run, and those that a task waits for. What ends the process is tried in a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/time.h"
#include "io/signals.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;
static bool keep_signals;

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* On shard 0: the other shards' threads have all signals blocked. Alone where calls fail. */
static int run(torc_task_fn *main, void *arg)
{
    struct torc_config config = {.kernel = &fault.kernel, .keep_signals = keep_signals};
    int before = open_descriptors();
    int result = (fault.fail_kinds ? run_alone : run_first)(&config, main, arg);
    CHECK_EQ(open_descriptors(), before);
    return result;
}

/* As a shell starts a program, whatever the test runner has changed. */
static void setup(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    fault_kernel_init(&fault);
}

/* Runs MAIN in a child; the signal that it died of, or minus its exit code, which is MAIN's result. */
static int death_of(torc_task_fn *main)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid)
        _exit(run(main, NULL) & 127);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static bool is_blocked(int number)
{
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    return sigismember(&now, number) == 1;
}

/* ---- torc_run's own ---- */

static int sleep_through(void *arg)
{
    int number = *(int *)arg;
    CHECK(!torc_is_shutting_down());
    if (number > 0)
        kill(getpid(), number); /* to the process */
    else
        raise(-number); /* to this thread */
    int err = torc_sleep(60 * TORC_SEC);
    CHECK(torc_is_shutting_down());
    return err;
}

TEST(signals, the_first_signal_cancels_the_main_task)
{
    static int numbers[] = {SIGTERM, SIGINT, -SIGTERM, -SIGINT};
    setup();
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(run(sleep_through, &numbers[i]), -ECANCELED);
        CHECK(!is_blocked(SIGTERM));
        CHECK(!is_blocked(SIGINT));
    }
    fault_kernel_check_clean(&fault);
}

static void swallow(int number)
{
    (void)number;
}

/* Cleans up for a minute after the first signal: the user does not want to wait, and no handler is in the way. */
static int slow_to_end(void *arg)
{
    (void)arg;
    signal(SIGINT, swallow);
    kill(getpid(), SIGTERM);
    if (torc_sleep(60 * TORC_SEC) != -ECANCELED)
        return 1;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    kill(getpid(), SIGINT);
    int err = torc_sleep(60 * TORC_SEC);
    torc_mask_leave(&mask);
    return err ? 2 : 3;
}

TEST(signals, the_second_signal_ends_the_process)
{
    setup();
    CHECK_EQ(death_of(slow_to_end), SIGINT);
}

static int raise_term(void *arg)
{
    (void)arg;
    raise(SIGTERM);
    return 9;
}

TEST(signals, are_left_alone_when_asked)
{
    setup();
    keep_signals = true;
    CHECK_EQ(death_of(raise_term), SIGTERM);
}

static int raise_ignored(void *arg)
{
    (void)arg;
    CHECK(!is_blocked(SIGINT));
    CHECK(is_blocked(SIGTERM));
    raise(SIGINT);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(torc_sleep(0), 0);
    CHECK(!torc_is_shutting_down());
    return 3;
}

TEST(signals, an_ignored_signal_stays_ignored)
{
    setup();
    signal(SIGINT, SIG_IGN);
    CHECK_EQ(run(raise_ignored, NULL), 3);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

TEST(signals, a_mask_is_left_as_it_was)
{
    setup();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(run(do_nothing, NULL), 0);
    CHECK(is_blocked(SIGTERM));
    CHECK(!is_blocked(SIGINT));
}

/* A signal that came too late to be seen has its usual effect once the run is over. */
TEST(signals, a_late_signal_is_not_lost)
{
    setup();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        int result = run(raise_term, NULL);
        _exit(result == 9 || result == -ECANCELED ? 9 : 1);
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    /* The loop saw it while it ended, or the default action came: nothing in between. */
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) ||
          (WIFEXITED(status) && WEXITSTATUS(status) == 9));
}

/* ---- waited for by a task ---- */

static int wait_for_several(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    CHECK_EQ(torc_signals_open(&signals, (int[]){SIGUSR1, SIGUSR2}, 2), 0);
    CHECK(is_blocked(SIGUSR1) && is_blocked(SIGUSR2));
    kill(getpid(), SIGUSR1);
    CHECK_EQ(torc_signals_wait(&signals), SIGUSR1);
    raise(SIGUSR2);
    CHECK_EQ(torc_signals_wait(&signals), SIGUSR2);
    kill(getpid(), SIGUSR1); /* two at once: both are told, one by one */
    raise(SIGUSR2);
    int first = torc_signals_wait(&signals), second = torc_signals_wait(&signals);
    CHECK_EQ(first + second, SIGUSR1 + SIGUSR2);
    CHECK(first != second);
    torc_signals_close(&signals);
    CHECK(!is_blocked(SIGUSR1) && !is_blocked(SIGUSR2));
    CHECK(!torc_is_shutting_down());
    return 0;
}

TEST(signals, come_to_the_task_that_waits)
{
    setup();
    CHECK_EQ(run(wait_for_several, NULL), 0);
    fault_kernel_check_clean(&fault);
}

static int wait_one(void *arg)
{
    return torc_signals_wait(arg);
}

static int wait_parked(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    struct torc_scope scope;
    struct torc_task task;
    CHECK_EQ(torc_signals_open(&signals, (int[]){SIGUSR1}, 1), 0);
    torc_scope_init(&scope);
    CHECK_EQ(
        torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, wait_one, &signals), 0);
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK(!torc_task_is_done(&task));
    kill(getpid(), SIGUSR1);
    CHECK_EQ(torc_scope_join(&scope), 0); /* results are positive */
    CHECK_EQ(torc_task_join(&task), SIGUSR1);
    torc_signals_close(&signals);
    return 0;
}

TEST(signals, wake_a_task_that_sleeps)
{
    setup();
    CHECK_EQ(run(wait_parked, NULL), 0);
}

static unsigned thefts;

/* Another thread of the process takes the first signal between its announcement and our look. */
static long steal_first(void *context, long number, const long arguments[6])
{
    long result = fault_call(context, number, arguments);
    if (number == SYS_rt_sigtimedwait && result == SIGUSR1 && !thefts++)
        return -EAGAIN;
    return result;
}

static int wait_stolen(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    struct torc_scope scope;
    struct torc_task task;
    CHECK_EQ(torc_signals_open(&signals, (int[]){SIGUSR1, SIGUSR2}, 2), 0);
    torc_scope_init(&scope);
    CHECK_EQ(
        torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, wait_one, &signals), 0);
    raise(SIGUSR1);
    while (!thefts)
        CHECK_EQ(torc_sleep(0), 0);
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    CHECK(!torc_task_is_done(&task));
    raise(SIGUSR2);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(torc_task_join(&task), SIGUSR2);
    torc_signals_close(&signals);
    return 0;
}

TEST(signals, one_that_another_took_first_is_waited_for_again)
{
    setup();
    fault.kernel.call = steal_first;
    CHECK_EQ(run(wait_stolen, NULL), 0);
}

static int wait_interrupted(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    struct torc_deadline deadline;
    struct torc_scope scope;
    CHECK_EQ(torc_signals_open(&signals, (int[]){SIGUSR1}, 1), 0);
    torc_deadline_enter(&deadline, TORC_MS);
    CHECK_EQ(torc_signals_wait(&signals), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, wait_one, &signals), 0);
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    raise(SIGUSR1); /* what comes now is not swallowed by the waits that ended */
    CHECK_EQ(torc_signals_wait(&signals), SIGUSR1);
    torc_signals_close(&signals);
    return 0;
}

TEST(signals, waiting_can_be_interrupted)
{
    setup();
    CHECK_EQ(run(wait_interrupted, NULL), 0);
}

static int open_badly(void *arg)
{
    (void)arg;
    static const int bad[] = {0, 65, -1, SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 32, 33};
    struct torc_signals signals;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(torc_signals_open(&signals, (int[]){SIGUSR1, bad[i]}, 2), -EINVAL);
        CHECK(!is_blocked(SIGUSR1));
    }
    CHECK_EQ(torc_signals_open(&signals, NULL, 0), -EINVAL);
    CHECK_EQ(torc_signals_open(&signals, (int[]){64}, 1), 0);
    torc_signals_close(&signals);
    return 0;
}

TEST(signals, those_that_nobody_can_take_are_refused)
{
    setup();
    CHECK_EQ(run(open_badly, NULL), 0);
}

static int close_with_pending(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    if (torc_signals_open(&signals, (int[]){SIGUSR1}, 1))
        return 1;
    raise(SIGUSR1);
    torc_signals_close(&signals);
    return 2;
}

TEST(signals, what_is_pending_at_close_has_its_usual_effect)
{
    setup();
    CHECK_EQ(death_of(close_with_pending), SIGUSR1);
}

static int close_blocked_before(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    CHECK_EQ(torc_signals_open(&signals, (int[]){SIGUSR1, SIGUSR2}, 2), 0);
    torc_signals_close(&signals);
    CHECK(is_blocked(SIGUSR1));
    CHECK(!is_blocked(SIGUSR2));
    return 0;
}

TEST(signals, what_was_blocked_before_stays_blocked)
{
    setup();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(run(close_blocked_before, NULL), 0);
}

static int open_wait_close(void *arg)
{
    (void)arg;
    struct torc_signals signals;
    int err = torc_signals_open(&signals, (int[]){SIGUSR1}, 1);
    if (err) {
        CHECK(!is_blocked(SIGUSR1));
        return err;
    }
    raise(SIGUSR1);
    err = torc_signals_wait(&signals);
    if (err < 0) {
        sigset_t set;
        int number;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigwait(&set, &number); /* still there; or closing would be the end of us */
    }
    torc_signals_close(&signals);
    return err < 0 ? err : 0;
}

TEST(signals, survive_any_call_failing)
{
    setup();
    for (long n = 0;; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_CALL;
        fault.fail_nth = n;
        int result = run(open_wait_close, NULL);
        CHECK(result == 0 || fault.failed);
        if (!fault.failed)
            break;
        /* a failed unblock leaves its signal blocked; no caller can help that */
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        CHECK(n < 1000);
    }
    fault_kernel_check_clean(&fault);
}
