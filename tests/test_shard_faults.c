/* SPDX-License-Identifier: MIT
 *
 * Sets of shards that something goes wrong with: what can't be had at boot, rings that break, and programs that crash.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/time.h"
#include "shard/call.h"
#include "shard/run.h"
#include "shard/shard_internal.h"
#include "tests/fault_kernel.h"

enum { SHARDS = 3 };

static struct fault_kernel fault;
static unsigned mains; /* atomic */

static struct torc_config setup(void)
{
    fault_kernel_init(&fault);
    mains = 0;
    return (struct torc_config){
        .shards = SHARDS, .kernel = &fault.kernel, .keep_signals = true, .no_stall_report = true};
}

static int tell_shard(void *arg)
{
    (void)arg;
    return (int)torc_shard_id();
}

/* Something of everything that a shard may need memory for. */
static int visit_all(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&mains, 1, __ATOMIC_SEQ_CST);
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        int got = torc_call(shard, tell_shard, NULL);
        if (got < 0)
            return got;
        CHECK_EQ(got, shard);
    }
    return 0;
}

/* ---- what can't be had ---- */

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Makes each call of KINDS fail in turn, until one run needs no more of them. */
static void sweep(unsigned kinds, bool after, int error)
{
    for (long n = 0;; n++) {
        struct torc_config config = setup();
        int before = open_descriptors();
        config.keep_signals = false;
        fault.fail_kinds = kinds;
        fault.fail_nth = n;
        fault.fail_after = after;
        int result = torc_run(&config, visit_all, NULL);
        fault_kernel_check_clean(&fault);
        CHECK_EQ(open_descriptors(), before);
        if (!fault.failed) {
            CHECK_EQ(result, 0);
            CHECK(n > 0);
            return;
        }
        CHECK(result <= 0);
        /* of a call that fails there may be warnings, too */
        if (!mains && (!result || !fault.lines || (fault.lines > SHARDS && kinds != FAULT_CALL)))
            TEST_FAIL("call %ld: %d, %u lines, %s", n, result, fault.lines, fault.line[0]);
        if (!mains && error)
            CHECK_EQ(result, error);
        CHECK(n < 5000);
    }
}

TEST(shard_faults, a_ring_that_can_not_be_had_ends_the_start)
{
    sweep(FAULT_SETUP, false, -ENOMEM);
    sweep(FAULT_SETUP, true, -ENOMEM);
    sweep(FAULT_RING_MAP, false, -ENOMEM);
}

TEST(shard_faults, a_thread_that_can_not_be_had_ends_the_start)
{
    sweep(FAULT_THREAD, false, -EAGAIN);
    sweep(FAULT_THREAD, true, -EAGAIN);
    sweep(FAULT_PIN, false, -EINVAL);
}

TEST(shard_faults, memory_that_can_not_be_had_is_an_error)
{
    sweep(FAULT_ALLOC, false, -ENOMEM);
    sweep(FAULT_MAP, false, -ENOMEM);
    sweep(FAULT_MAP, true, -ENOMEM);
}

TEST(shard_faults, a_descriptor_that_can_not_be_had_is_an_error)
{
    sweep(FAULT_CALL, false, 0);
    sweep(FAULT_CALL, true, 0);
}

static unsigned setups, fails_at;

static int fail_one_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    if (setups == fails_at) /* every rung of the ladder */
        return -ENOMEM;
    int ring = fault_ring_setup(context, entries, params);
    setups += ring >= 0;
    return ring;
}

/* What too little lockable memory looks like. */
TEST(shard_faults, the_shard_whose_ring_failed_says_what_to_do)
{
    for (fails_at = 0; fails_at < SHARDS; fails_at++) {
        struct torc_config config = setup();
        setups = 0;
        fault.kernel.ring_setup = fail_one_setup;
        CHECK_EQ(torc_run(&config, visit_all, NULL), -ENOMEM);
        CHECK_EQ(fault.lines, 1);
        CHECK(fault_kernel_said(&fault, "ulimit -l"));
        CHECK_EQ(mains, 0);
        fault_kernel_check_clean(&fault);
    }
}

/* ---- a ring that breaks ---- */

static uint32_t broken_shard;
static bool broken; /* atomic */

static int break_one(void *context, int ring, unsigned to_submit, unsigned min_complete,
                     unsigned flags, const void *arg, size_t size)
{
    if (__atomic_load_n(&broken, __ATOMIC_ACQUIRE) && torci_this &&
        torci_shard_this()->id == broken_shard)
        return -EBADF;
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

static void break_now(void)
{
    __atomic_store_n(&broken, true, __ATOMIC_RELEASE);
    if (torc_shard_id() != broken_shard)
        torci_mesh_wake(torci_shard_this()->set->shards[broken_shard], torc_shard_id(),
                        TORCI_BIT_LOOK);
}

static void run_broken(torc_task_fn *main)
{
    for (broken_shard = 0; broken_shard < SHARDS; broken_shard++) {
        struct torc_config config = setup();
        fault.kernel.ring_enter = break_one;
        broken = false;
        CHECK_EQ(torc_run(&config, main, NULL), -EBADF);
        CHECK_EQ(mains, SHARDS);
        CHECK(fault_kernel_said(&fault, "torc: the ring failed: errno 9"));
        fault_kernel_check_clean(&fault);
    }
}

static int break_and_sleep(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&mains, 1, __ATOMIC_SEQ_CST);
    if (torc_shard_id() == broken_shard)
        break_now();
    int err = torc_sleep(60 * TORC_SEC);
    CHECK(torc_shard_id() != broken_shard && torc_is_shutting_down());
    return err;
}

TEST(shard_faults, others_end_in_order_when_a_ring_breaks)
{
    run_broken(break_and_sleep);
}

/* The broken one has been through with main, and serves. */
static int break_from_outside(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&mains, 1, __ATOMIC_SEQ_CST);
    if (torc_shard_id() == broken_shard)
        return 0;
    if (torc_shard_id() == (broken_shard + 1) % SHARDS) {
        const uint32_t *left = &torci_shard_this()->set->mains_left;
        while (__atomic_load_n(left, __ATOMIC_ACQUIRE) == SHARDS) /* pairs with one_less in run.c */
            CHECK_EQ(torc_sleep(TORC_MS), 0);
        break_now();
    }
    return torc_sleep(60 * TORC_SEC);
}

TEST(shard_faults, a_ring_may_break_after_main_has_ended)
{
    run_broken(break_from_outside);
}

static int hold(void *arg)
{
    (void)arg;
    break_now();
    return torc_sleep(60 * TORC_SEC);
}

/* A call to the broken one is answered, whoever it is from. */
static int call_the_broken(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&mains, 1, __ATOMIC_SEQ_CST);
    if (torc_shard_id() == broken_shard)
        return 0;
    int err = torc_call(broken_shard, hold, NULL);
    CHECK(err == -EIO || err == -ECANCELED || err == -ESHUTDOWN);
    return 0;
}

TEST(shard_faults, calls_to_a_broken_shard_end)
{
    run_broken(call_the_broken);
}

/* The last moment: every shard is quiet but for the one that breaks. */
static int break_at_the_end(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&mains, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static long enters_until; /* atomic */

static int break_later(void *context, int ring, unsigned to_submit, unsigned min_complete,
                       unsigned flags, const void *arg, size_t size)
{
    if (torci_this && torci_shard_this()->id == broken_shard &&
        __atomic_sub_fetch(&enters_until, 1, __ATOMIC_RELAXED) < 0)
        return -EBADF;
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

TEST(shard_faults, a_ring_may_break_at_any_enter)
{
    for (long n = 0; n < 60; n++) {
        struct torc_config config = setup();
        broken_shard = (uint32_t)(n % SHARDS);
        enters_until = n / SHARDS;
        fault.kernel.ring_enter = break_later;
        int result = torc_run(&config, n % 2 ? visit_all : break_at_the_end, NULL);
        if (enters_until < 0
                ? result != -EBADF && result != -EIO && result != -ECANCELED && result != -ESHUTDOWN
                : result)
            TEST_FAIL("after %ld enters of shard %u: %d", n / SHARDS, broken_shard, result);
        fault_kernel_check_clean(&fault);
    }
}

/* ---- crashes ---- */

struct crash {
    int number;
    bool by_panic;
    uint32_t shard;
};

static unsigned zero; /* atomic, so that nobody knows it */

static __attribute__((noinline)) unsigned crash_now(const struct crash *crash)
{
    char *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned none = __atomic_load_n(&zero, __ATOMIC_RELAXED);
    if (crash->by_panic)
        TORC_ASSERT(none != 0);
    switch (crash->number) {
    case SIGSEGV: return (unsigned)*(nothing + none);
    case SIGABRT: abort();
    default: return raise(crash->number) ? none : 1;
    }
}

static int crash_in_a_task(void *arg)
{
    return (int)crash_now(arg) + 1;
}

static int crash_there(void *arg)
{
    const struct crash *crash = arg;
    struct torc_scope scope;
    if (torc_shard_id() != crash->shard)
        return torc_sleep(60 * TORC_SEC);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.name = "unlucky"},
                             crash_in_a_task, arg),
             0);
    return torc_scope_join(&scope);
}

static int nothing_to_do(void *arg)
{
    (void)arg;
    return 0;
}

/* As a program that is started: a runner or a sanitizer may have taken them. */
static void default_actions(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(numbers); i++)
        signal(numbers[i], SIG_DFL);
}

static void (*before_crash)(void); /* in the child, before the runs */

static int crash_in_child(struct crash crash, char *text, size_t size)
{
    int ends[2], status;
    size_t length = 0;
    CHECK_EQ(pipe(ends), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        struct torc_config config = {.shards = SHARDS, .keep_signals = true};
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        default_actions();
        if (before_crash)
            before_crash();
        for (int i = 0; i < 3; i++)
            if (torc_run(&config, nothing_to_do, NULL))
                _exit(1);
        _exit(torc_run(&config, crash_there, &crash) & 127);
    }
    close(ends[1]);
    for (ssize_t got; (got = read(ends[0], text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

TEST(shard_faults, a_crash_is_told_with_shard_task_and_stack)
{
    static const struct {
        int number;
        const char *name;
    } FAULTS[] = {{SIGSEGV, "SIGSEGV at address 0x"},
                  {SIGBUS, "SIGBUS; it was at:\n"},
                  {SIGILL, "SIGILL; it was at:\n"},
                  {SIGFPE, "SIGFPE; it was at:\n"},
                  {SIGABRT, "SIGABRT; it was at:\n"}};
    char text[8192], wanted[128];
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(FAULTS); i++)
        for (uint32_t shard = 0; shard < SHARDS; shard += SHARDS - 1) {
            struct crash crash = {.number = FAULTS[i].number, .shard = shard};
            int status = crash_in_child(crash, text, sizeof text);
            if (!WIFSIGNALED(status) || WTERMSIG(status) != crash.number)
                TEST_FAIL("status %x: %s", (unsigned)status, text);
            snprintf(wanted, sizeof wanted, "torc: shard %u on CPU ", shard);
            const char *line = strstr(text, wanted);
            snprintf(wanted, sizeof wanted, ", task \"unlucky\": %s", FAULTS[i].name);
            if (!line || !strstr(line, wanted) || !strstr(line, "crash_in_a_task+0x"))
                TEST_FAIL("%s", text);
            CHECK(!strstr(line + 1, "torc: shard")); /* once */
        }
}

TEST(shard_faults, a_broken_contract_is_told_with_its_stack)
{
    char text[8192];
    struct crash crash = {.by_panic = true, .shard = 1};
    int status = crash_in_child(crash, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    const char *line = strstr(text, "in task \"unlucky\": none != 0\n");
    CHECK(line != NULL);
    CHECK(strstr(line, "torc: shard 1 on CPU ") && strstr(line, "crash_in_a_task+0x"));
}

static void exit_42(int number)
{
    (void)number;
    _exit(42);
}

static void handle_segv(void)
{
    signal(SIGSEGV, exit_42);
}

TEST(shard_faults, a_handler_of_the_program_comes_after_ours)
{
    char text[8192];
    before_crash = handle_segv;
    int status = crash_in_child((struct crash){.number = SIGSEGV, .shard = 2}, text, sizeof text);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    CHECK(strstr(text, "torc: shard 2 on CPU ") != NULL);
}

static void other_handler(int number)
{
    (void)number;
}

static int change_one(void *arg)
{
    (void)arg;
    if (torc_shard_id() == 1)
        signal(SIGFPE, other_handler);
    return 0;
}

TEST(shard_faults, handlers_and_masks_are_as_before_after_the_run)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    sigset_t mask, now;
    sigemptyset(&mask);
    sigaddset(&mask, SIGBUS);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(numbers); i++)
        signal(numbers[i], exit_42);
    for (int i = 0; i < 3; i++) {
        struct torc_config config = setup();
        CHECK_EQ(torc_run(&config, i < 2 ? nothing_to_do : change_one, NULL), 0);
        for (size_t j = 0; j < TORC_ARRAY_LENGTH(numbers); j++) {
            struct sigaction action;
            sigaction(numbers[j], NULL, &action);
            /* what the program has changed meanwhile stays */
            CHECK(action.sa_handler == (i == 2 && numbers[j] == SIGFPE ? other_handler : exit_42));
        }
        sigprocmask(SIG_SETMASK, NULL, &now);
        for (int number = 1; number < 32; number++)
            CHECK_EQ(sigismember(&now, number), sigismember(&mask, number));
    }
}
