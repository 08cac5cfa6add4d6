/* SPDX-License-Identifier: MIT
 *
 * A task that uses up its stack: the process dies of SIGSEGV, and the line before that names the task.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/exec_internal.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

static uint64_t volatile depth_reached;

/* Not a tail call, and not a loop in disguise. */
static __attribute__((noinline)) uint64_t recurse(uint64_t depth)
{
    volatile char frame[512] = {0};
    frame[depth % sizeof frame] = (char)depth;
    depth_reached = depth;
    uint64_t below = depth < UINT64_MAX ? recurse(depth + 1) : 0;
    return below + (uint64_t)frame[depth % sizeof frame];
}

static int deep(void *arg)
{
    (void)arg;
    return (int)recurse(0);
}

/* One frame that is larger than the stack and its guard page. */
static __attribute__((noinline)) int wide_frame(void)
{
    volatile char frame[96 * 1024];
    frame[0] = 1;
    frame[sizeof frame - 1] = 2;
    return frame[0];
}

static int wide(void *arg)
{
    (void)arg;
    return wide_frame();
}

struct overflow {
    torc_task_fn *fn;
    const char *name;
    size_t stack_bytes;
};

static int spawn_it(void *arg)
{
    const struct overflow *overflow = arg;
    struct torc_scope scope;
    struct torc_task_options options = {.name = overflow->name,
                                        .stack_bytes = overflow->stack_bytes};
    torc_scope_init(&scope);
    CHECK_EQ(ring_nop(), 0);
    CHECK_EQ(torc_spawn_with(&scope, &options, overflow->fn, NULL), 0);
    return torc_scope_join(&scope);
}

static int fault_elsewhere(void *arg)
{
    (void)arg;
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[100] = 1;
    return page[101];
}

/* In the last page of its own stack, which is not the guard's. */
static int fault_on_the_stack(void *arg)
{
    (void)arg;
    volatile char *page = torci_this->current->stack->low;
    if (mprotect((void *)(uintptr_t)page, TORCI_PAGE, PROT_NONE))
        return errno;
    page[TORCI_PAGE - 1] = 1;
    return 0;
}

/* What a child that runs OVERFLOW writes to standard error; it must die of SIGSEGV. */
static void die(struct overflow overflow, char *text, size_t text_size)
{
    int ends[2], status;
    ring_pipe(ends);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL); /* a sanitizer or the runner may have taken it */
        dup2(ends[1], STDERR_FILENO);
        _exit(run_shard(NULL, spawn_it, &overflow) & 127);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, text_size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status))
        TEST_FAIL("exit code %d: %s", WEXITSTATUS(status), text);
    CHECK_EQ(WTERMSIG(status), SIGSEGV);
}

TEST(overflow, the_task_is_named)
{
    char text[1024];
    die((struct overflow){.fn = deep, .name = "recursive"}, text, sizeof text);
    CHECK_STR(without_crowd(text),
              "torc: task \"recursive\" overflowed its stack of 64 KiB: give it more with "
              "torc_task_options.stack_bytes\n");
}

TEST(overflow, a_task_without_a_name_is_reported_too)
{
    char text[1024];
    die((struct overflow){.fn = deep, .stack_bytes = 100000}, text, sizeof text);
    CHECK_STR(without_crowd(text),
              "torc: task \"task\" overflowed its stack of 128 KiB: give it more with "
              "torc_task_options.stack_bytes\n");
}

TEST(overflow, a_frame_larger_than_the_guard_does_not_get_past_it)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    TEST_SKIP("instrumented code is not built with stack probes");
#endif
    char text[1024];
    die((struct overflow){.fn = wide, .name = "wide"}, text, sizeof text);
    CHECK(strstr(text, "task \"wide\" overflowed its stack of 64 KiB") != NULL);
}

TEST(overflow, other_faults_are_not_blamed_on_a_stack)
{
    char text[1024];
    die((struct overflow){.fn = fault_elsewhere, .name = "innocent"}, text, sizeof text);
    CHECK(strstr(text, "task \"innocent\": SIGSEGV at address ") && !strstr(text, "overflowed"));
    die((struct overflow){.fn = fault_on_the_stack, .name = "innocent"}, text, sizeof text);
    CHECK(strstr(text, "task \"innocent\": SIGSEGV at address ") && !strstr(text, "overflowed"));
}
