/* SPDX-License-Identifier: MIT
 *
 * Three recorders write a line each millisecond, for 40 ms. One has the time it needs, one runs into its deadline, one
 * is cancelled halfway; each leaves its whole file or none at all. Ctrl-C ends them in the same tidy way.
 *
 * Run: build/examples/deadline 15
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc.h>

static struct recorder {
    const char *path;
    uint64_t limit_ns;
    bool complete;
    struct torc_task task;
} recorders[] = {{.path = "whole.tmp"}, {.path = "late.tmp"}, {.path = "unwanted.tmp"}};

static int write_lines(struct torc_file *f)
{
    struct torc_interval tick;
    torc_interval_init(&tick, TORC_MS);
    for (uint64_t line = 0; line < 40; line++) {
        int64_t due = torc_interval_wait(&tick); // a deadline or a cancel ends whatever sleeps
        if (due < 0)
            return (int)due;
        int err = torc_file_write_full_at(f, "one more line\n", 14, 14 * line, NULL);
        if (err)
            return err;
    }
    return torc_file_fdatasync(f);
}

static int record(void *arg)
{
    struct recorder *self = arg;
    struct torc_file_options options = {.write = true, .create = true, .exclusive = true};
    struct torc_file f;
    struct torc_deadline limit;
    struct torc_mask mask;
    int err = torc_file_open(&f, self->path, &options);
    if (err)
        return err;
    torc_deadline_enter(&limit, self->limit_ns);
    err = write_lines(&f);
    torc_deadline_leave(&limit);
    self->complete = !err;
    torc_mask_enter(&mask); // nothing interrupts us until the leave: time to tidy up
    torc_file_close(&f);
    int in_the_way = err ? torc_file_unlink(NULL, self->path) : 0;
    torc_mask_leave(&mask);
    printf("%-13s %s\n", self->path,
           err == -ETIMEDOUT   ? "ran out of time"
           : err == -ECANCELED ? "was cancelled"
           : err               ? strerror(-err)
                               : "is complete");
    return err == -ETIMEDOUT || err == -ECANCELED ? in_the_way : err;
}

static int remove_complete(void)
{
    struct torc_mask mask;
    int err = 0;
    torc_mask_enter(&mask);
    for (int i = 0; i < 3 && !err; i++)
        if (recorders[i].complete)
            err = torc_file_unlink(NULL, recorders[i].path);
    torc_mask_leave(&mask);
    return err;
}

static int app(void *arg)
{
    struct torc_scope all;
    int err = 0;
    recorders[0].limit_ns = recorders[2].limit_ns = TORC_SEC;
    recorders[1].limit_ns = *(const uint64_t *)arg * TORC_MS;
    torc_scope_init(&all);
    for (int i = 0; i < 3 && !err; i++)
        err = torc_spawn_with(&all, &(struct torc_task_options){.task = &recorders[i].task}, record,
                              &recorders[i]);
    if (!err)
        err = torc_sleep(20 * TORC_MS);
    if (!err)
        torc_task_cancel(&recorders[2].task);
    int failed = torc_scope_join(&all); // interrupted, it cancels the three and waits all the same
    int left = remove_complete();
    return err ? err : failed ? failed : left;
}

int main(int argc, char **argv)
{
    char *end = "";
    uint64_t limit_ms = argc > 1 ? strtoul(argv[1], &end, 10) : 15;
    if (*end || !limit_ms || limit_ms > 1000) {
        fprintf(stderr, "usage: deadline [MILLISECONDS, 1 to 1000]\n");
        return 1;
    }
    int err = torc_run(NULL, app, &limit_ms);
    if (err)
        fprintf(stderr, "deadline: whole.tmp, late.tmp, unwanted.tmp: %s\n", strerror(-err));
    return err ? 1 : 0;
}
