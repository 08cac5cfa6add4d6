/* SPDX-License-Identifier: MIT
 *
 * How a test runs its body on a shard.
 *
 *     run_shard    on a set of as many shards as TORC_SHARDS says, one without it: the body is the main of one of them,
 *                  the last unless TORC_TEST_SHARD says which; the other mains return at once and their shards serve.
 *                  Whatever holds for one executor must hold for each of several
 *     run_first    the same on shard 0, the calling thread: for what only that one does, as hearing signals
 *     run_alone    on a set of one, whatever is asked for: for tests that count calls of the kernel, make the nth of them
 *                  fail, or have a kernel that knows only one ring
 */
#ifndef TORC_TESTS_RUN_SHARD_H
#define TORC_TESTS_RUN_SHARD_H

#include <stdlib.h>
#include <string.h>

#include "shard/run.h"

struct run_shard {
    torc_task_fn *main;
    void *arg;
    uint32_t at; /* or the last, if there are not as many */
    int result;
};

static inline int run_shard_main(void *arg)
{
    struct run_shard *run = (struct run_shard *)arg;
    uint32_t last = torc_shard_count() - 1;
    if (torc_shard_id() != (run->at < last ? run->at : last))
        return 0;
    run->result = run->main(run->arg);
    return run->result;
}

typedef int run_fn(const struct torc_config *given, torc_task_fn *main, void *arg);

static inline TORC_MUST_CHECK int run_alone(const struct torc_config *given, torc_task_fn *main,
                                            void *arg)
{
    struct torc_config config = given ? *given : (struct torc_config){0};
    config.shards = 1;
    return torc_run(&config, main, arg);
}

static inline TORC_MUST_CHECK int run_at(uint32_t at, const struct torc_config *given,
                                         torc_task_fn *main, void *arg)
{
    const char *shards = getenv("TORC_SHARDS");
    if (!shards || !*shards)
        return run_alone(given, main, arg);
    struct run_shard run = {.main = main, .arg = arg, .at = at};
    int result = torc_run(given, run_shard_main, &run);
    /* What is not negative is shard 0's. */
    return result < 0 ? result : run.result;
}

static inline TORC_MUST_CHECK int run_shard(const struct torc_config *given, torc_task_fn *main,
                                            void *arg)
{
    const char *chosen = getenv("TORC_TEST_SHARD");
    return run_at(chosen ? (uint32_t)strtoul(chosen, NULL, 10) : UINT32_MAX, given, main, arg);
}

/* What was written to standard error, without the line that is due on a machine with fewer CPUs than shards. */
static inline const char *without_crowd(const char *text)
{
    const char *end = strchr(text, '\n'), *crowd = strstr(text, " take turns ");
    return end && crowd && crowd < end ? end + 1 : text;
}

static inline TORC_MUST_CHECK int run_first(const struct torc_config *given, torc_task_fn *main,
                                            void *arg)
{
    return run_at(0, given, main, arg);
}

#endif
