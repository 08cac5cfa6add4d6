/* SPDX-License-Identifier: MIT
 *
 * The production kernel shim, function by function. What kills a process is tried in a child, whose standard error is
 * read; the child first gives SIGSEGV its default action back, which a sanitizer may have taken.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/context.h"
#include "core/exec_internal.h"
#include "io/kernel_internal.h"
#include "tests/harness.h"

enum { PAGE = 4096 };

static const struct torci_kernel *const kernel = &torci_kernel_linux;

static uint64_t now_ns(void)
{
    return kernel->host.now_ns(NULL);
}

/* Runs FN in a child; its wait status. TEXT gets what it wrote to standard error. */
static int child(void (*fn)(void), char *text, size_t text_size)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGSEGV, SIG_DFL);
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, text_size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- memory ---- */

TEST(kernel, mapped_memory_is_zeroed_and_page_aligned)
{
    size_t size = 64 * PAGE;
    unsigned char *memory = kernel->host.map(NULL, size);
    CHECK(memory != NULL);
    CHECK_EQ((uintptr_t)memory % PAGE, 0);
    for (size_t i = 0; i < size; i++)
        CHECK_EQ(memory[i], 0);
    kernel->host.unmap(NULL, memory, size);
}

TEST(kernel, mapped_memory_costs_what_is_touched)
{
    size_t size = 8 << 20;
    unsigned char *memory = kernel->host.map(NULL, size), resident[(8 << 20) / PAGE];
    CHECK(memory != NULL);
    memory[size / 2] = 1;
    CHECK_EQ(mincore(memory, size, resident), 0);
    unsigned pages = 0;
    for (size_t i = 0; i < size / PAGE; i++)
        pages += resident[i] & 1;
    CHECK_EQ(pages, 1);
    kernel->host.unmap(NULL, memory, size);
}

TEST(kernel, no_memory_is_null)
{
    CHECK(kernel->host.map(NULL, (size_t)1 << 60) == NULL);
    unsigned char *memory = kernel->host.alloc(NULL, 100);
    CHECK(memory != NULL);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(memory[i], 0);
    kernel->host.free(NULL, memory, 100);
}

static void touch_guard(void)
{
    unsigned char *memory = kernel->host.map(NULL, 3 * PAGE);
    if (!memory || kernel->host.guard(NULL, memory + PAGE, PAGE))
        _exit(2);
    memory[PAGE - 1] = memory[2 * PAGE] = 1; /* the neighbours are as before */
    __atomic_store_n(&memory[PAGE + 100], 1, __ATOMIC_RELAXED);
    _exit(3);
}

/* A kernel without guard markers: madvise knows no advice 102. */
static void touch_guard_on_an_old_kernel(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 102, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
        _exit(4);
    touch_guard();
}

TEST(kernel, guard_pages_fault)
{
    char text[4096];
    int status = child(touch_guard, text, sizeof text);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST(kernel, guard_pages_fault_on_old_kernels)
{
    char text[4096];
    int status = child(touch_guard_on_an_old_kernel, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 4)
        TEST_SKIP("seccomp is not to be had");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- clock, randomness, wake, calls ---- */

TEST(kernel, clock_is_the_monotonic_one)
{
    struct timespec t;
    uint64_t before = now_ns();
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t after = now_ns(), between = (uint64_t)t.tv_sec * TORC_SEC + (uint64_t)t.tv_nsec;
    CHECK(before <= between && between <= after);
}

TEST(kernel, counter_clock_runs_beside_it)
{
    const struct torci_kernel *got = torci_kernel_linux_get();
    CHECK(got == torci_kernel_linux_get());
    CHECK(got->host.now_ns == kernel->host.now_ns);
    uint64_t last = torci_host_now_ns(&got->host);
    for (uint64_t end = now_ns() + 50 * TORC_MS; last < end;) {
        uint64_t before = now_ns(), ours = torci_host_now_ns(&got->host), after = now_ns();
        CHECK(ours >= last);
        /* never tuned: 400 ppm of 50 ms, a hundred times what is measured */
        CHECK(ours + 20 * 1000 >= before && ours <= after + 20 * 1000);
        last = ours;
    }
}

TEST(kernel, randomness_differs)
{
    unsigned char a[300] = {0}, b[300] = {0};
    CHECK_EQ(kernel->random(NULL, a, sizeof a), 0);
    CHECK_EQ(kernel->random(NULL, b, sizeof b), 0);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK(memcmp(a + 200, b + 200, 100) != 0);
}

TEST(kernel, wake_adds_one)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t count = 0;
    CHECK_EQ(kernel->wake(NULL, fd), 0);
    CHECK_EQ(kernel->wake(NULL, fd), 0);
    CHECK_EQ(read(fd, &count, sizeof count), 8);
    CHECK_EQ(count, 2);
    count = UINT64_MAX - 1;
    CHECK_EQ(write(fd, &count, sizeof count), 8);
    CHECK_EQ(kernel->wake(NULL, fd), 0); /* full is awake enough */
    close(fd);
    CHECK_EQ(kernel->wake(NULL, fd), -EBADF);
}

TEST(kernel, calls_return_negative_errnos)
{
    CHECK_EQ(TORCI_CALL(kernel, SYS_getpid, 0), getpid());
    CHECK_EQ(TORCI_CALL(kernel, SYS_close, -1), -EBADF);
    CHECK_EQ(kernel->ring_enter(NULL, -1, 0, 0, 0, NULL, 0), -EBADF);
    CHECK_EQ(kernel->ring_register(NULL, 0, 1000, NULL, 0), -EINVAL);
    CHECK(kernel->ring_map(NULL, -1, 0, PAGE) == NULL);
    CHECK(kernel->ring_setup(NULL, 0, NULL) < 0);
}

static void report_two(void)
{
    kernel->host.report(NULL, "one line");
    kernel->host.report(NULL, "");
}

TEST(kernel, report_writes_lines)
{
    char text[256];
    CHECK_EQ(child(report_two, text, sizeof text), 0);
    CHECK_STR(text, "one line\n\n");
}

/* ---- helper threads ---- */

struct seen {
    sigset_t blocked;
    cpu_set_t cpus;
    char name[16];
    bool ran;
};

static void look_round(void *arg)
{
    struct seen *seen = arg;
    pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
    sched_getaffinity(0, sizeof seen->cpus, &seen->cpus);
    pthread_getname_np(pthread_self(), seen->name, sizeof seen->name);
    seen->ran = true;
}

static void know_nothing(int number, const void *address)
{
    (void)number, (void)address;
}

static bool comes_from_a_fault(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE ||
           number == SIGABRT;
}

TEST(kernel, helper_thread_is_named_unpinned_and_deaf)
{
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    int cpu = kernel->thread_enter(NULL, -1, know_nothing);
    CHECK(cpu >= 0);

    struct seen seen = {0};
    uintptr_t thread;
    CHECK_EQ(kernel->thread_start(NULL, look_round, &seen, "a name far too long", &thread), 0);
    kernel->thread_join(NULL, thread);
    CHECK(seen.ran);
    CHECK_STR(seen.name, "a name far too ");
    CHECK(CPU_EQUAL(&seen.cpus, &before));
    for (int number = 1; number <= SIGRTMAX; number++)
        if (number != SIGKILL && number != SIGSTOP && (number < 32 || number >= SIGRTMIN))
            CHECK_EQ(sigismember(&seen.blocked, number), !comes_from_a_fault(number));
    sigset_t mine;
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    CHECK_EQ(sigismember(&mine, SIGUSR1), 0);
    kernel->thread_leave(NULL);
}

/* ---- entering and leaving ---- */

static int first_cpu(const cpu_set_t *cpus)
{
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, cpus))
        cpu++;
    return cpu;
}

TEST(kernel, enter_pins_and_leave_undoes_it)
{
    cpu_set_t before, during, after;
    stack_t stack_before, stack_after;
    struct sigaction action_before, action_during, action_after;
    sched_getaffinity(0, sizeof before, &before);
    sigaltstack(NULL, &stack_before);
    sigaction(SIGSEGV, NULL, &action_before);
    int slack = prctl(PR_GET_TIMERSLACK);

    int cpu = kernel->thread_enter(NULL, -1, know_nothing);
    CHECK_EQ(cpu, first_cpu(&before));
    sched_getaffinity(0, sizeof during, &during);
    CHECK_EQ(CPU_COUNT(&during), 1);
    CHECK_EQ(first_cpu(&during), cpu);
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), 1);
    sigaction(SIGSEGV, NULL, &action_during);
    CHECK(action_during.sa_sigaction != action_before.sa_sigaction);
    CHECK_EQ(kernel->thread_enter(NULL, -1, know_nothing), -EBUSY);

    kernel->thread_leave(NULL);
    sched_getaffinity(0, sizeof after, &after);
    sigaltstack(NULL, &stack_after);
    sigaction(SIGSEGV, NULL, &action_after);
    CHECK(CPU_EQUAL(&before, &after));
    CHECK_EQ(prctl(PR_GET_TIMERSLACK), slack);
    CHECK(stack_after.ss_sp == stack_before.ss_sp);
    CHECK_EQ(stack_after.ss_flags, stack_before.ss_flags);
    CHECK(action_after.sa_sigaction == action_before.sa_sigaction);
    kernel->thread_leave(NULL); /* not entered: nothing happens */
}

TEST(kernel, enter_takes_the_cpu_asked_for_or_says_no)
{
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof before, &before);
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET((size_t)last, &before))
        last--;
    CHECK_EQ(kernel->thread_enter(NULL, last, know_nothing), last);
    CHECK_EQ(sched_getcpu(), last);
    kernel->thread_leave(NULL);
    CHECK_EQ(kernel->thread_enter(NULL, 8191, know_nothing), -EINVAL);
    CHECK_EQ(kernel->thread_enter(NULL, 1 << 20, know_nothing), -EINVAL);
    sched_getaffinity(0, sizeof after, &after);
    CHECK(CPU_EQUAL(&before, &after));
}

TEST(kernel, enter_stays_on_the_cpus_that_are_allowed)
{
    cpu_set_t before, one;
    sched_getaffinity(0, sizeof before, &before);
    if (CPU_COUNT(&before) < 2)
        TEST_SKIP("one CPU");
    int first = first_cpu(&before), last = CPU_SETSIZE - 1;
    while (!CPU_ISSET((size_t)last, &before))
        last--;
    CPU_ZERO(&one);
    CPU_SET((size_t)last, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(kernel->thread_enter(NULL, first, know_nothing), -EINVAL);
    CHECK_EQ(kernel->thread_enter(NULL, -1, know_nothing), last);
    kernel->thread_leave(NULL);
}

static void enter_and_leave(void *arg)
{
    struct sigaction action;
    CHECK(kernel->thread_enter(NULL, -1, know_nothing) >= 0);
    kernel->thread_leave(NULL);
    sigaction(SIGSEGV, NULL, &action);
    *(bool *)arg = action.sa_flags & SA_ONSTACK;
}

TEST(kernel, the_last_thread_to_leave_gives_the_handlers_back)
{
    struct sigaction before, after;
    sigaction(SIGSEGV, NULL, &before);
    CHECK(kernel->thread_enter(NULL, -1, know_nothing) >= 0);
    uintptr_t thread;
    bool still_ours = false;
    CHECK_EQ(kernel->thread_start(NULL, enter_and_leave, &still_ours, "second", &thread), 0);
    kernel->thread_join(NULL, thread);
    CHECK(still_ours);
    kernel->thread_leave(NULL);
    sigaction(SIGSEGV, NULL, &after);
    CHECK(after.sa_sigaction == before.sa_sigaction);
}

/* ---- stack overflow ---- */

enum { SMALL_STACK = 2 << 20 }; /* TSan wants one */
static unsigned char *small_stack;

static void know_the_guard(int number, const void *address)
{
    const unsigned char *at = address;
    bool in_guard = at >= small_stack && at < small_stack + PAGE;
    kernel->host.report(NULL, number != SIGSEGV ? "not SIGSEGV"
                              : !address        ? "no address"
                              : in_guard        ? "task \"deep\" used up its stack"
                                                : "a fault elsewhere");
}

static unsigned recurse(unsigned depth)
{
    unsigned char frame[1024];
    memset(frame, (int)depth, sizeof frame);
    __asm__ volatile("" : : "r"(frame) : "memory");
    return depth == UINT32_MAX ? frame[0] : recurse(depth + 1) + frame[depth % sizeof frame];
}

static void *overflow(void *arg)
{
    if (kernel->thread_enter(NULL, -1, know_the_guard) < 0)
        _exit(2);
    _exit(recurse(0) && arg ? 3 : 4);
}

static void overflow_in_a_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    small_stack = kernel->host.map(NULL, PAGE + SMALL_STACK);
    if (!small_stack || kernel->host.guard(NULL, small_stack, PAGE))
        _exit(5);
    pthread_attr_init(&attr);
    if (pthread_attr_setstack(&attr, small_stack + PAGE, SMALL_STACK) ||
        pthread_create(&thread, &attr, overflow, NULL))
        _exit(6);
    pthread_join(thread, NULL);
}

TEST(kernel, stack_overflow_is_named_and_kills)
{
    char text[4096];
    int status = child(overflow_in_a_thread, text, sizeof text);
    CHECK_STR(text, "task \"deep\" used up its stack\n");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void fault_elsewhere(void)
{
    if (kernel->thread_enter(NULL, -1, know_the_guard) < 0)
        _exit(2);
    unsigned char *memory = kernel->host.map(NULL, PAGE);
    mprotect(memory, PAGE, PROT_NONE);
    __atomic_store_n(memory, 1, __ATOMIC_RELAXED);
}

static void fault_sent(void)
{
    if (kernel->thread_enter(NULL, -1, know_the_guard) < 0)
        _exit(2);
    kill(getpid(), SIGSEGV);
}

TEST(kernel, other_faults_kill_as_ever)
{
    char text[4096];
    int status = child(fault_elsewhere, text, sizeof text);
    CHECK_STR(text, "a fault elsewhere\n");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = child(fault_sent, text, sizeof text);
    CHECK_STR(text, "no address\n");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- the stall timer ---- */

static unsigned stalls; /* atomic: written by the handler */

static void count_stall(void)
{
    __atomic_fetch_add(&stalls, 1, __ATOMIC_RELAXED); /* nothing is published with it */
    errno = EDOM; /* what a handler's own calls may do to the interrupted code's errno */
}

static unsigned stalls_now(void)
{
    return __atomic_load_n(&stalls, __ATOMIC_RELAXED);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * TORC_SEC + (uint64_t)t.tv_nsec;
}

static void burn(uint64_t duration_ns)
{
    for (uint64_t end = cpu_ns() + duration_ns; cpu_ns() < end;)
        ;
}

TEST(kernel, stall_timer_counts_cpu_time_only)
{
    CHECK_EQ(kernel->stall_timer(NULL, 10 * TORC_MS, count_stall), -EINVAL); /* not entered */
    CHECK(kernel->thread_enter(NULL, -1, know_nothing) >= 0);
    CHECK_EQ(kernel->stall_timer(NULL, 10 * TORC_MS, count_stall), 0);

    struct timespec nap = {.tv_nsec = 100 * 1000 * 1000};
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL), 0); /* not interrupted */
    CHECK_EQ(stalls_now(), 0);

    errno = 0;
    for (uint64_t limit = now_ns() + 20 * TORC_SEC; stalls_now() < 3 && now_ns() < limit;)
        burn(TORC_MS);
    CHECK(stalls_now() >= 3);
    CHECK_EQ(errno, 0);

    CHECK_EQ(kernel->stall_timer(NULL, 0, NULL), 0);
    unsigned before = stalls_now();
    burn(50 * TORC_MS);
    CHECK_EQ(stalls_now(), before);
    kernel->thread_leave(NULL);
}

TEST(kernel, leaving_stops_the_stall_timer)
{
    struct sigaction before[65], after;
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
        sigaction(number, NULL, &before[number]);
    CHECK(kernel->thread_enter(NULL, -1, know_nothing) >= 0);
    CHECK_EQ(kernel->stall_timer(NULL, 10 * TORC_MS, count_stall), 0);
    CHECK_EQ(kernel->stall_timer(NULL, 20 * TORC_MS, count_stall), 0); /* changes it */
    kernel->thread_leave(NULL);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        sigaction(number, NULL, &after);
        CHECK(after.sa_sigaction == before[number].sa_sigaction);
    }
    unsigned now = stalls_now();
    burn(50 * TORC_MS);
    CHECK_EQ(stalls_now(), now);
}

/* ---- backtraces ---- */

static __attribute__((noinline)) void innermost_of_all(void)
{
    kernel->backtrace(NULL);
    __asm__ volatile("" : : : "memory"); /* no tail call */
}

static __attribute__((noinline)) void middle_of_all(void)
{
    innermost_of_all();
    __asm__ volatile("" : : : "memory");
}

TEST(kernel, backtrace_names_static_functions)
{
    char text[8192];
    CHECK_EQ(child(middle_of_all, text, sizeof text), 0);
    char *inner = strstr(text, "innermost_of_all+0x"), *middle = strstr(text, "middle_of_all+0x");
    CHECK(inner && middle && inner < middle);
#ifndef TORC_DEBUG /* a sanitizer puts a frame of its own below */
    CHECK(inner == text);
#endif
}

static struct torci_context back, fiber;

static void first_of_fiber(void)
{
    middle_of_all();
    torci_context_switch(&fiber, &back);
}

static void trace_in_fiber(void)
{
    char *stack = kernel->host.map(NULL, 64 * 1024);
    torci_context_make(&fiber, stack + 64 * 1024, first_of_fiber);
    torci_context_switch(&back, &fiber);
}

TEST(kernel, backtrace_ends_at_a_fibers_first_frame)
{
    char text[8192];
    CHECK_EQ(child(trace_in_fiber, text, sizeof text), 0);
    char *first = strstr(text, "first_of_fiber+0x");
    CHECK(first != NULL);
    char *end = strchr(first, '\n');
    CHECK(end && end[1] == '\0');
}

static void trace_and_exit(void)
{
    kernel->backtrace(NULL);
    _exit(0);
}

static __attribute__((noinline)) void busy_function(void)
{
    burn(20 * TORC_SEC);
    __asm__ volatile("" : : : "memory");
}

static void trace_from_handler(void)
{
    if (kernel->thread_enter(NULL, -1, know_nothing) < 0 ||
        kernel->stall_timer(NULL, 20 * TORC_MS, trace_and_exit))
        _exit(2);
    busy_function();
    _exit(3);
}

TEST(kernel, backtrace_from_a_handler_sees_what_was_interrupted)
{
    char text[8192];
    CHECK_EQ(child(trace_from_handler, text, sizeof text), 0);
    CHECK(strstr(text, "busy_function+0x") != NULL);
}
