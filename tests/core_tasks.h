/* SPDX-License-Identifier: MIT
 *
 * What the tests of core's own tasks share: one virtual machine a test, tasks that tell a story letter by letter, and
 * CPU time that is spent by saying so.
 */
#ifndef TORC_TESTS_CORE_TASKS_H
#define TORC_TESTS_CORE_TASKS_H

#include "core/time.h"
#include "tests/core_host.h"

#define MUST(call) CHECK_EQ((call), 0)

#if !defined(__has_feature)
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#define UNDER_SANITIZER 1
#elif defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define UNDER_TSAN 0
#define UNDER_SANITIZER 1
#else
#define UNDER_TSAN 0
#define UNDER_SANITIZER 0
#endif

/* TSan knows 8,128 threads, and each stack counts as one. */
enum { MANY_TASKS = UNDER_TSAN ? 2000 : 10000 };

static struct core_host machine;

/* Runs FN(ARG) as the main task of a fresh machine; everything must be given back at the end. */
static inline int run_with(const struct torci_exec_config *config, torc_task_fn *fn, void *arg)
{
    int result = core_host_run_on(&machine, config, fn, arg);
    CHECK_EQ(machine.bytes, 0);
    return result;
}

static inline int run(torc_task_fn *fn, void *arg)
{
    core_host_init(&machine);
    return run_with(&(struct torci_exec_config){0}, fn, arg);
}

/* The running task computes for so long. */
static inline void burn(uint64_t ns)
{
    machine.now_ns += ns;
}

/* What happened, in order. */
static char story[256];

static inline void tell(char what)
{
    size_t length = strlen(story);
    CHECK(length + 1 < sizeof story);
    story[length] = what;
}

static inline void settle(void)
{
    for (int i = 0; i < 20; i++)
        torc_yield();
}

#endif
