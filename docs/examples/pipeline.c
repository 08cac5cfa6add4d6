/* SPDX-License-Identifier: MIT
 *
 * Group commit: 64 writers each want their record on the disk before they go on, and it is the sync that costs. One
 * committer collects records for as long as half a millisecond, writes them, syncs once, and tells all their writers.
 *
 * Run: build/examples/pipeline
 */
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { WRITERS = 64, RECORDS = 50 * WRITERS, GROUP_MAX = 32, CHANNEL_SLOTS = 16, BYTES = 32 };

static struct writer {
    char record[BYTES];
    struct torc_event durable;
} writers[WRITERS];
static struct torc_channel channel;

static int write_records(void *arg)
{
    struct writer *self = arg;
    int err = 0;
    torc_event_init_auto(&self->durable);
    for (int i = 0; i < RECORDS / WRITERS && !err; i++) {
        memset(self->record, 'a' + i % 26, BYTES);
        err = torc_channel_send(&channel, &self); // waits while the channel is full
        if (!err)
            err = torc_event_wait(&self->durable);
    }
    return err;
}

static int commit(void *file)
{
    static char text[GROUP_MAX][BYTES];
    struct writer *group[GROUP_MAX];
    unsigned done = 0, count = 0, syncs = 0;
    for (; done < RECORDS; done += count, syncs++) {
        struct torc_case cases[2] = {{0}}; // a zeroed case is never ready: no time limit at first
        for (count = 0; count < GROUP_MAX; count++) {
            cases[0] = torc_channel_recv_case(&channel, &group[count]);
            int which = torc_select(cases, 2);
            if (which < 0)
                return which;
            if (which == 1)
                break; // the half millisecond is over
            memcpy(text[count], group[count]->record, BYTES);
            if (!count)
                cases[1] = torc_timeout_case(TORC_MS / 2);
        }
        int err = torc_file_write_full_at(file, text, count * BYTES, done * BYTES, NULL);
        if (!err)
            err = torc_file_fdatasync(file);
        if (err)
            return err; // the scope cancels the writers: none takes its record for durable
        for (unsigned i = 0; i < count; i++)
            torc_event_set(&group[i]->durable);
    }
    printf("%u records made durable by %u syncs\n", done, syncs);
    return 0;
}

static int app(void *path)
{
    static struct writer *slots[CHANNEL_SLOTS];
    struct torc_file_options options = {.write = true, .create = true, .exclusive = true};
    struct torc_file f;
    struct torc_scope all;
    int err = torc_channel_init(&channel, sizeof slots[0], CHANNEL_SLOTS, slots);
    if (!err)
        err = torc_file_open(&f, path, &options);
    if (err)
        return err;
    err = torc_file_unlink(NULL, path); // it lives on until the close, whatever happens
    torc_scope_init_with(&all, &(struct torc_scope_options){.cancel_on_error = true});
    if (!err)
        err = torc_spawn(&all, commit, &f);
    for (int i = 0; i < WRITERS && !err; i++)
        err = torc_spawn(&all, write_records, &writers[i]);
    if (err)
        torc_scope_cancel(&all);
    int failed = torc_scope_join(&all);
    torc_file_close(&f);
    return err ? err : failed;
}

int main(void)
{
    const struct torc_config one = {.shards = 1};
    int err = torc_run(&one, app, "pipeline.tmp");
    if (err)
        fprintf(stderr, "pipeline: pipeline.tmp: %s\n", strerror(-err));
    return err ? 1 : 0;
}
