/* SPDX-License-Identifier: MIT
 *
 * A call that may take no longer than 10 ms. The limit goes along: on the other shard it ends the sleep that the
 * function is in, the function tidies up there, and only then does the call return.
 *
 * Run: build/examples/call_deadline
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

static int take_long(void *arg)
{
    unsigned *asked_by = arg; // the caller's memory: good until this function has returned
    int err = torc_sleep(TORC_SEC);
    printf("shard %u, for shard %u: %s\n", torc_shard_id(), *asked_by,
           err ? strerror(-err) : "slept well");
    return err;
}

static int app(void *arg)
{
    unsigned me = torc_shard_id();
    struct torc_deadline limit;
    (void)arg;
    if (me > 0)
        return 0;
    torc_deadline_enter(&limit, 10 * TORC_MS);
    int err = torc_call(torc_shard_count() - 1, take_long, &me);
    torc_deadline_leave(&limit);
    printf("shard %u: the call says: %s\n", me, strerror(-err));
    return err == -ETIMEDOUT ? 0 : err; // what this example wants to show
}

int main(void)
{
    int err = torc_run(NULL, app, NULL);
    if (err)
        fprintf(stderr, "call_deadline: %s\n", strerror(-err));
    return err ? 1 : 0;
}
