/* SPDX-License-Identifier: MIT
 *
 * For tests of one executor: runs MAIN(ARG) on a set of one shard, whatever the machine has.
 */
#ifndef TORC_TESTS_RUN_SHARD_H
#define TORC_TESTS_RUN_SHARD_H

#include "shard/run.h"

static inline TORC_MUST_CHECK int run_shard(const struct torc_config *given, torc_task_fn *main,
                                            void *arg)
{
    struct torc_config config = given ? *given : (struct torc_config){0};
    config.shards = 1;
    return torc_run(&config, main, arg);
}

#endif
