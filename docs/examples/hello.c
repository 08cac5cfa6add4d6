/* SPDX-License-Identifier: MIT
 *
 * The first program: one task for each name, all of them asleep at the same time on one CPU, none left behind.
 *
 * Run: build/examples/hello Ada Grace Edsger
 */
#include <stdio.h>
#include <string.h>
#include <torc.h>

static int greet(void *name)
{
    for (int i = 1; i <= 3; i++) {
        printf("hello, %s (%d)\n", (const char *)name, i);
        int err = torc_sleep(20 * TORC_MS); // this task sleeps, the others run
        if (err)
            return err; // interrupted: Ctrl-C, for one
    }
    return 0;
}

static int app(void *arg)
{
    struct torc_scope all;
    torc_scope_init(&all);
    int err = 0;
    for (char **name = arg; *name && !err; name++)
        err = torc_spawn(&all, greet, *name);
    int failed = torc_scope_join(&all); // every task has ended; the first failure, if any
    return err ? err : failed;
}

int main(int argc, char **argv)
{
    char *world[] = {"world", NULL};
    const struct torc_config one = {.shards = 1};
    int err = torc_run(&one, app, argc > 1 ? argv + 1 : world);
    if (err)
        fprintf(stderr, "hello: %s\n", strerror(-err));
    return err ? 1 : 0;
}
