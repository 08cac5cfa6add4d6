/* SPDX-License-Identifier: MIT
 *
 * Group commit: 64 writers each want their record on the disk before they go on, and it is the sync that costs. One
 * committer collects records for as long as half a millisecond, writes them, syncs once, and tells all their writers.
 *
 * Run: build/examples/pipeline 50
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc.h>

enum { WRITERS = 64, GROUP_MAX = 32, CHANNEL_SLOTS = 16, RECORD_BYTES = 32 };

static struct writer {
    char record[RECORD_BYTES];
    struct torc_event durable;
} writers[WRITERS];
static struct writer *slots[CHANNEL_SLOTS];
static struct torc_channel records;
static uint64_t each;
static unsigned syncs;

static int write_records(void *arg)
{
    struct writer *self = arg;
    int err = 0;
    torc_event_init_auto(&self->durable);
    for (uint64_t i = 0; i < each && !err; i++) {
        memset(self->record, 'a' + (int)(i % 26), RECORD_BYTES);
        err = torc_channel_send(&records, &self); // waits while the channel is full
        if (!err)
            err = torc_event_wait(&self->durable);
    }
    return err;
}

static int commit(void *file)
{
    static char text[GROUP_MAX][RECORD_BYTES];
    struct writer *group[GROUP_MAX];
    uint64_t count;
    for (uint64_t done = 0; done < WRITERS * each; done += count) {
        struct torc_case cases[2] = {{0}}; // a zeroed case is never ready: no time limit at first
        for (count = 0; count < GROUP_MAX; count++) {
            cases[0] = torc_channel_recv_case(&records, &group[count]);
            int which = torc_select(cases, 2);
            if (which < 0)
                return which;
            if (which == 1)
                break; // the half millisecond is over
            memcpy(text[count], group[count]->record, RECORD_BYTES);
            if (!count)
                cases[1] = torc_timeout_case(TORC_MS / 2);
        }
        int err =
            torc_file_write_full_at(file, text, count * RECORD_BYTES, done * RECORD_BYTES, NULL);
        if (!err)
            err = torc_file_fdatasync(file);
        if (err)
            return err; // the scope cancels the writers: none takes its record for durable
        syncs++;
        for (uint64_t i = 0; i < count; i++)
            torc_event_set(&group[i]->durable);
    }
    return 0;
}

static int app(void *path)
{
    struct torc_file_options options = {.write = true, .create = true, .exclusive = true};
    struct torc_file f;
    struct torc_scope all;
    int err = torc_channel_init(&records, sizeof slots[0], CHANNEL_SLOTS, slots);
    if (!err)
        err = torc_file_open(&f, path, &options);
    if (err)
        return err;
    err = torc_file_unlink(NULL, path); // it lives on until the close, whatever happens
    uint64_t start = torc_now_ns();
    torc_scope_init_with(&all, &(struct torc_scope_options){.cancel_on_error = true});
    if (!err)
        err = torc_spawn(&all, commit, &f);
    for (int i = 0; i < WRITERS && !err; i++)
        err = torc_spawn(&all, write_records, &writers[i]);
    if (err)
        torc_scope_cancel(&all);
    int failed = torc_scope_join(&all);
    torc_file_close(&f);
    if (!err && !failed)
        printf("%llu records made durable by %u syncs in %.1f ms\n",
               WRITERS * (unsigned long long)each, syncs, (double)(torc_now_ns() - start) / 1e6);
    return err ? err : failed;
}

int main(int argc, char **argv)
{
    char *end = "";
    each = argc > 1 ? strtoul(argv[1], &end, 10) : 50;
    if (*end || !each || each > 1000000) {
        fprintf(stderr, "usage: pipeline [RECORDS for each writer, 1 to 1000000]\n");
        return 1;
    }
    int err = torc_run(NULL, app, "pipeline.tmp");
    if (err)
        fprintf(stderr, "pipeline: pipeline.tmp: %s\n", strerror(-err));
    return err ? 1 : 0;
}
