/* SPDX-License-Identifier: MIT
 *
 * Two thousand reads in flight and one task: each request embeds its op, and the function that is called at its
 * completion records the latency and starts the next read. 4 KiB all over a file; without one, of itself.
 *
 * Run: build/examples/ops README.md
 */
#define _GNU_SOURCE 1 // <liburing.h> needs of libc what -std=c17 hides
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { IN_FLIGHT = 2000, READS = 100000, WAKE_FOR = 100, BLOCK = 4096 };

static struct request {
    struct torc_op op;
    uint64_t began_ns;
} requests[IN_FLIGHT];
static _Alignas(BLOCK) char memory[IN_FLIGHT][BLOCK];
static struct torc_file f;
static struct torc_batch batch;
static struct torc_histogram latency;
static uint64_t blocks, started;
static int failed;

static void done(struct torc_op *op, int result, uint32_t flags);

static int start(struct request *self)
{
    struct io_uring_sqe *sqe;
    int err = torc_batch_start(&batch, &self->op, done, &sqe);
    if (err)
        return err == -EAGAIN ? 0 : err; // the kernel takes no more just now: one less in flight
    io_uring_prep_read(sqe, f.fd, memory[self - requests], BLOCK,
                       started++ * 7919 % blocks * BLOCK);
    self->began_ns = torc_now_ns();
    return 0;
}

static void done(struct torc_op *op, int result, uint32_t flags)
{
    struct request *self = TORC_CONTAINER_OF(op, struct request, op);
    (void)flags; // of interest to multishot operations
    torc_histogram_record(&latency, torc_now_ns() - self->began_ns);
    if (result < 0)
        failed = result;
    if (started < READS && !failed)
        failed = start(self);
    torc_batch_done(&batch);
}

static int app(void *path)
{
    struct torc_mask mask;
    int err = torc_file_open(&f, path, &(struct torc_file_options){.direct = true});
    if (err == -EOPNOTSUPP)
        err = torc_file_open(&f, path, NULL);
    if (err)
        return err;
    int64_t size = torc_file_size(&f);
    blocks = size > BLOCK ? (uint64_t)size / BLOCK : 1;
    torc_histogram_init(&latency);
    torc_batch_init(&batch);
    uint64_t began_ns = torc_now_ns();
    for (int i = 0; i < IN_FLIGHT && !err; i++)
        err = start(&requests[i]);
    int n;
    while ((n = torc_batch_wait(&batch, WAKE_FOR)) > 0) // 0: nothing is left in flight
        ;
    failed = failed ? failed : n ? n : err; // and nothing more is started
    double seconds = (double)(torc_now_ns() - began_ns) / 1e9;
    torc_mask_enter(&mask); // interrupted or not: until the last one the kernel writes to memory
    while (torc_batch_wait(&batch, WAKE_FOR) > 0)
        ;
    torc_mask_leave(&mask);
    torc_file_close(&f);
    if (!failed)
        printf("%.0f reads/s, p50 %.0f us, p99 %.0f us\n",
               (double)torc_histogram_count(&latency) / seconds,
               (double)torc_histogram_percentile(&latency, 50) / 1e3,
               (double)torc_histogram_percentile(&latency, 99) / 1e3);
    return failed;
}

int main(int argc, char **argv)
{
    char *path = argc > 1 ? argv[1] : argv[0];
    const struct torc_config one = {.shards = 1};
    int err = torc_run(&one, app, path);
    if (err)
        fprintf(stderr, "ops: %s: %s\n", path, strerror(-err));
    return err ? 1 : 0;
}
