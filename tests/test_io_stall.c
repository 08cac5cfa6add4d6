/* SPDX-License-Identifier: MIT
 *
 * The stall report: who keeps the CPU is named, with a backtrace; who gives it up is not. CPU time is what counts, so a
 * busy machine makes nobody look slow. Where nobody may be reported the shard is alone: to start and wake sixty others is
 * more than the 10 ms that these tests allow.
 */
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;
static unsigned backtraces;

static void count_backtrace(void *context)
{
    (void)context;
    backtraces++;
}

static struct torc_config setup(void)
{
    fault_kernel_init(&fault);
    backtraces = 0;
    fault.kernel.backtrace = count_backtrace;
    return (struct torc_config){.kernel = &fault.kernel, .stall_ns = 10 * TORC_MS};
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

static void burn(uint64_t ns)
{
    for (uint64_t end = cpu_ns() + ns; cpu_ns() < end;)
        ;
}

/* What ends a hog: that many reports more, or a pipe that has something; in any case a few seconds. The machine may be
 * busy, and late with its timers. */
struct patience {
    unsigned reports;
    int pipe;
};

static bool is_served(const struct patience *patience, unsigned before)
{
    int ready = 0;
    if (patience->pipe)
        return ioctl(patience->pipe, FIONREAD, &ready) || ready;
    /* RELAXED: the writer is a signal handler of this thread */
    return __atomic_load_n(&fault.lines, __ATOMIC_RELAXED) >= before + patience->reports;
}

static int hog(void *arg)
{
    unsigned before = fault.lines;
    torc_task_set_name("hog");
    for (uint64_t end = cpu_ns() + 5 * TORC_SEC; cpu_ns() < end && !is_served(arg, before);)
        burn(TORC_MS);
    return 0;
}

static int main_with_hog(void *arg)
{
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, hog, arg), 0);
    return torc_scope_join(&scope);
}

/* Reports come after 2, 3, 5, 9, 17, … intervals: the first observation only notes who runs. */
TEST(stall, a_task_that_never_yields_is_named_at_growing_intervals)
{
    struct torc_config config = setup();
    struct patience patience = {.reports = 3};
    CHECK_EQ(run_shard(&config, main_with_hog, &patience), 0);
    CHECK_EQ(fault.lines, 3);
    CHECK_EQ(backtraces, fault.lines);
    for (unsigned i = 0; i < fault.lines; i++)
        CHECK(strstr(fault.line[i], "torc: task \"hog\" has not yielded for ") != NULL);
    CHECK(strstr(fault.line[0], "for more than 10 ms of CPU time") != NULL);
    CHECK(strstr(fault.line[1], "for more than 20 ms of CPU time") != NULL);
    CHECK(strstr(fault.line[2], "for more than 40 ms of CPU time") != NULL);
    fault_kernel_check_clean(&fault);
}

static int hog_twice(void *arg)
{
    int err = main_with_hog(arg);
    return err ? err : main_with_hog(arg);
}

TEST(stall, the_next_task_is_reported_anew)
{
    struct torc_config config = setup();
    struct patience patience = {.reports = 2};
    CHECK_EQ(run_shard(&config, hog_twice, &patience), 0);
    CHECK_EQ(fault.lines, 4);
    unsigned first = 0;
    for (unsigned i = 0; i < fault.lines; i++)
        first += strstr(fault.line[i], "for more than 10 ms") != NULL;
    CHECK_EQ(first, 2);
}

static int polite(void *arg)
{
    for (uint64_t end = cpu_ns() + *(uint64_t *)arg; cpu_ns() < end;) {
        burn(TORC_MS);
        torc_yield();
    }
    return 0;
}

static int main_polite(void *arg)
{
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(torc_spawn(&scope, polite, arg), 0);
    return torc_scope_join(&scope);
}

TEST(stall, a_task_that_yields_is_not_reported)
{
    struct torc_config config = setup();
    uint64_t ns = 150 * TORC_MS;
    CHECK_EQ(run_alone(&config, main_polite, &ns), 0);
    CHECK_EQ(run_alone(&config, polite, &ns), 0); /* alone: the loop turns all the same */
    CHECK_EQ(fault.lines, 0);
}

static int burn_long(void *arg)
{
    burn(*(uint64_t *)arg);
    return 0;
}

static int asleep(void *arg)
{
    (void)arg;
    return torc_sleep(100 * TORC_MS);
}

TEST(stall, a_parked_task_is_not_reported)
{
    struct torc_config config = setup();
    CHECK_EQ(run_alone(&config, asleep, NULL), 0);
    CHECK_EQ(fault.lines, 0);
}

TEST(stall, nothing_is_reported_when_not_wanted)
{
    struct torc_config config = setup();
    uint64_t ns = 60 * TORC_MS;
    config.no_stall_report = true;
    CHECK_EQ(run_alone(&config, burn_long, &ns), 0);
    CHECK_EQ(fault.lines, 0);
}

/* With the machine's own backtrace: it names the function that does not end. */
TEST(stall, the_backtrace_names_the_function)
{
    int ends[2], saved = dup(STDERR_FILENO);
    char text[8192];
    struct torc_config config = setup();
    config.kernel = NULL;
    ring_pipe(ends);
    struct patience patience = {.pipe = ends[0]};
    dup2(ends[1], STDERR_FILENO);
    int result = run_alone(&config, main_with_hog, &patience); /* one line is what ends the hog */
    dup2(saved, STDERR_FILENO);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    close(saved);
    CHECK_EQ(result, 0);
    CHECK(n > 0);
    text[n] = '\0';
    const char *line = strstr(text, "task \"hog\" has not yielded");
    CHECK(line != NULL);
    CHECK(strstr(line, "\nhog+0x") != NULL || strstr(line, "\nburn+0x") != NULL ||
          strstr(line, "\nis_served+0x") != NULL);
}
