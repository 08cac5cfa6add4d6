/* SPDX-License-Identifier: MIT */
#include "apps/torc/engine_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512 };

__attribute__((format(printf, 2, 3))) static int complain(int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("torc bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return err;
}

static int complain_open(const struct bench_job *job, const char *path, int err)
{
    if (err == -EOPNOTSUPP && job->polled)
        return complain(err, "%s: its device has no poll queues: leave hipri=1 out", path);
    if ((err == -EINVAL || err == -EOPNOTSUPP) && job->direct)
        return complain(err, "%s: its file system has no direct I/O: leave direct=1 out", path);
    if (err == -EMFILE)
        return complain(err, "%s: too many open files: raise `ulimit -n`", path);
    if (err == -ENOSPC && job->register_files)
        return complain(err, "%s: no room to register it: leave registerfiles=1 out", path);
    return complain(err, "%s can't be opened: %s", path, strerror(-err));
}

static int check_alignment(const struct torc_file *file, const struct bench_instance *in,
                           unsigned index)
{
    const struct bench_job *job = in->job;
    uint64_t start = in->spans[index].start;
    for (int d = 0; d < BENCH_DIRECTIONS; d++)
        if (job->does[d] && (job->block_bytes[d] | start) % file->offset_align)
            return complain(
                -EINVAL,
                "job \"%s\": direct=1 on %s needs multiples of %u bytes, and bs is %" PRIu64
                ", offset %" PRIu64,
                job->name, in->targets[index]->path, file->offset_align, job->block_bytes[d],
                start);
    return 0;
}

/* Only advice, as in fio: what is dirty or in use stays in the page cache. */
static void advise(struct torc_file *file, const struct bench_job *job)
{
    enum torc_advice pattern = job->random ? TORC_ADVICE_RANDOM : TORC_ADVICE_SEQUENTIAL;
    if (job->invalidate && torc_file_advise(file, 0, 0, TORC_ADVICE_DONT_NEED))
        complain(0, "note: the page cache could not be dropped");
    if (!job->direct && torc_file_advise(file, 0, 0, pattern))
        complain(0, "note: read-ahead could not be set");
}

static int open_one(struct torc_file *file, const struct bench_instance *in, unsigned index)
{
    const struct bench_job *job = in->job;
    const char *path = in->targets[index]->path;
    struct torc_file_options options = {
        .write = job->does[BENCH_WRITE],
        .direct = job->direct,
        .fixed_slot = job->register_files,
        .poll = job->polled ? TORC_POLL_REQUIRED : TORC_POLL_NEVER,
    };
    int err = torc_file_open(file, path, &options);
    if (err)
        return complain_open(job, path, err);
    err = check_alignment(file, in, index);
    if (err)
        torc_file_close(file);
    else
        advise(file, job);
    return err;
}

int bench_files_open(struct bench_files *files, const struct bench_instance *in)
{
    *files = (struct bench_files){.items = calloc(in->file_count, sizeof(struct torc_file))};
    if (!files->items)
        return complain(-ENOMEM, "no memory for %u files", in->file_count);
    for (; files->count < in->file_count; files->count++) {
        int err = open_one(&files->items[files->count], in, files->count);
        if (err) {
            bench_files_close(files);
            return err;
        }
    }
    return 0;
}

void bench_files_close(struct bench_files *files)
{
    while (files->count)
        torc_file_close(&files->items[--files->count]);
    free(files->items);
    files->items = NULL;
}

static void fill_random(uint64_t *words, uint64_t count, uint64_t *random)
{
    for (uint64_t i = 0; i < count; i++)
        words[i] = bench_random(random);
}

static size_t buffer_bytes(const struct bench_job *job)
{
    uint64_t largest = 0;
    for (int d = 0; d < BENCH_DIRECTIONS; d++)
        if (job->does[d] && job->block_bytes[d] > largest)
            largest = job->block_bytes[d];
    return (largest + TORC_BUFFER_ALIGNMENT - 1) / TORC_BUFFER_ALIGNMENT * TORC_BUFFER_ALIGNMENT;
}

size_t bench_buffers_bytes(const struct bench_job *job)
{
    return buffer_bytes(job) * job->depth;
}

int bench_buffers_init(struct torc_buffer_pool *pool, const struct bench_job *job, void *memory)
{
    size_t bytes = buffer_bytes(job);
    struct torc_buffer_pool_options options = {
        .classes = {{.buffer_bytes = bytes, .count = job->depth}},
        .pinning = job->fixed_buffers ? TORC_PIN_REQUIRED : TORC_PIN_NEVER,
        .memory = memory,
    };
    int err = torc_buffer_pool_init(pool, &options);
    if (err == -EINVAL)
        return complain(err, "job \"%s\": iodepth=%u buffers of %zu bytes are more than 16 GiB",
                        job->name, job->depth, bytes);
    if (err)
        return complain(err, "job \"%s\": no memory for iodepth=%u buffers of %zu bytes%s",
                        job->name, job->depth, bytes,
                        job->fixed_buffers ? ": raise `ulimit -l`, or leave fixedbufs=1 out" : "");
    return 0;
}

void bench_buffers_fill(const struct bench_job *job, struct torc_buffer *buffer, uint64_t *random)
{
    if (job->does[BENCH_WRITE] && !job->zero_buffers)
        fill_random(buffer->data, buffer->size_bytes / sizeof(uint64_t), random);
    else
        memset(buffer->data, 0, buffer->size_bytes);
}

void bench_buffers_prepare(const struct bench_job *job, void *buffer, uint64_t length,
                           uint64_t *random)
{
    if (job->zero_buffers)
        return;
    if (job->refill_buffers) {
        fill_random(buffer, (length + 7) / 8, random);
    } else if (job->scramble_buffers) {
        /* A device that drops duplicate blocks sees none. */
        uint64_t word = bench_random(random);
        for (uint64_t at = 0; at < length; at += SECTOR)
            memcpy((char *)buffer + at, &(uint64_t){word + at}, sizeof(word));
    }
}
