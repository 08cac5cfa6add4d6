/* SPDX-License-Identifier: MIT
 *
 * The first program on every CPU: each shard says hello, in the order of their numbers, because shard 0 asks them one
 * after another. A shard whose main has returned goes on serving.
 *
 * Run: build/examples/hello_shards
 */
#include <stdio.h>
#include <string.h>
#include <torc.h>

static int hello(void *greeting)
{
    printf("%s from shard %u of %u, on CPU %u\n", (const char *)greeting, torc_shard_id(),
           torc_shard_count(), torc_shard_cpu(torc_shard_id()));
    return 0;
}

static int app(void *greeting)
{
    if (torc_shard_id() > 0)
        return 0;
    int err = 0;
    for (uint32_t shard = 0; shard < torc_shard_count() && !err; shard++)
        err = torc_call(shard, hello, greeting); // runs there, waits here
    return err;
}

int main(int argc, char **argv)
{
    char world[] = "hello";
    int err = torc_run(NULL, app, argc > 1 ? argv[1] : world); // app runs on every shard
    if (err)
        fprintf(stderr, "hello_shards: %s\n", strerror(-err));
    return err ? 1 : 0;
}
