/* SPDX-License-Identifier: MIT
 *
 * Two recorders write a line each millisecond. One runs into its deadline, the other is cancelled, and neither leaves
 * its scratch file behind. Ctrl-C ends them in the same tidy way.
 *
 * Run: build/examples/deadline
 */
#include <stdio.h>
#include <string.h>
#include <torc.h>

struct recorder {
    const char *path;
    uint64_t limit_ns;
};

static int write_lines(struct torc_file *f)
{
    struct torc_interval tick;
    torc_interval_init(&tick, TORC_MS);
    for (uint64_t line = 0; line < 1000; line++) {
        int64_t due = torc_interval_wait(&tick); // a deadline or a cancel ends whatever sleeps
        if (due < 0)
            return (int)due;
        int err = torc_file_write_full_at(f, "one more line\n", 14, 14 * line, NULL);
        if (err)
            return err;
    }
    return 0;
}

static int record(void *arg)
{
    const struct recorder *self = arg;
    struct torc_file f;
    struct torc_deadline limit;
    struct torc_mask mask;
    struct torc_file_options options = {.write = true, .create = true, .exclusive = true};
    int err = torc_file_open(&f, self->path, &options);
    if (err)
        return err;
    torc_deadline_enter(&limit, self->limit_ns);
    err = write_lines(&f);
    torc_deadline_leave(&limit);
    torc_mask_enter(&mask); // nothing interrupts us until the leave: time to tidy up
    torc_file_close(&f);
    int left_behind = torc_file_unlink(NULL, self->path);
    torc_mask_leave(&mask);
    printf("%s: %s\n", self->path, err ? strerror(-err) : "complete");
    return left_behind;
}

static int app(void *arg)
{
    struct recorder late = {"late.tmp", 15 * TORC_MS}, unwanted = {"unwanted.tmp", TORC_SEC};
    struct torc_scope all;
    struct torc_task handle;
    (void)arg;
    torc_scope_init(&all);
    int err = torc_spawn(&all, record, &late);
    if (!err)
        err =
            torc_spawn_with(&all, &(struct torc_task_options){.task = &handle}, record, &unwanted);
    if (!err)
        err = torc_sleep(20 * TORC_MS);
    if (!err)
        torc_task_cancel(&handle);
    int failed = torc_scope_join(&all); // interrupted, it cancels both and waits all the same
    return failed ? failed : err;
}

int main(void)
{
    const struct torc_config one = {.shards = 1};
    int err = torc_run(&one, app, NULL);
    if (err)
        fprintf(stderr, "deadline: late.tmp, unwanted.tmp: %s\n", strerror(-err));
    return err ? 1 : 0;
}
