/* SPDX-License-Identifier: MIT
 *
 * torc-micro's benchmarks on the ring: no-ops and random reads, by tasks and by embedded ops.
 */
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/micro.h"
#include "core/random_internal.h"

/* ---- no-ops ---- */

enum { NOPS = 2000000, NOP_TASKS = 128 };

static int send_nops(void *arg)
{
    unsigned count = *(const unsigned *)arg;
    for (unsigned i = 0; i < count; i++) {
        struct torc_op op;
        struct io_uring_sqe *sqe;
        int err = torc_op_begin(&op, &sqe);
        if (err)
            return err;
        io_uring_prep_nop(sqe);
        err = torc_op_wait(&op);
        if (err)
            return err;
    }
    return 0;
}

static void nops(const char *name, unsigned tasks, unsigned total)
{
    double best = 1e30;
    for (unsigned run = 0; run < 5; run++) {
        unsigned each = total / tasks;
        struct torc_scope all;
        torc_scope_init(&all);
        uint64_t start = torc_now_ns();
        for (unsigned i = 0; i < tasks; i++)
            micro_spawn(&all, send_nops, &each);
        micro_join(&all);
        double ns = (double)(torc_now_ns() - start) / (each * tasks);
        best = ns < best ? ns : best;
    }
    printf("{\"bench\":\"%s\",\"in_flight\":%u,\"ns\":%.1f,\"ops_per_s\":%.0f}\n", name, tasks,
           best, 1e9 / best);
}

void micro_nop(void)
{
    nops("nop", NOP_TASKS, NOPS);
}

void micro_nop1(void)
{
    nops("nop1", 1, NOPS / 8);
}

/* ---- random reads ---- */

static struct reads {
    struct torc_file file;
    char *memory;
    int buffer; /* its index with the ring, or negative */
    uint64_t blocks, end_ns, done, failed, slowest;
    struct torci_random random;
    struct torc_histogram latency;
} reads;

struct reader {
    struct torc_op op; /* of the embedded form */
    struct torc_batch *batch;
    struct reader *next_free;
    char *buf;
    uint64_t began_ns;
};
static struct reader readers[MICRO_DEPTH_MAX];
static struct reader *free_readers;

static uint64_t random_offset(void)
{
    return torci_random_below(&reads.random, reads.blocks) * MICRO_BLOCK;
}

static void prepare_reads(void)
{
    int err = torc_file_open(&reads.file, micro.path,
                             &(struct torc_file_options){.direct = true, .fixed_slot = true});
    if (err)
        micro_die(micro.path, err);
    int64_t size = torc_file_size(&reads.file);
    if (size < MICRO_BLOCK)
        micro_die(micro.path, size < 0 ? (int)size : -ENOSPC);
    reads.blocks = (uint64_t)size / MICRO_BLOCK;
    size_t bytes = (size_t)micro.depth * MICRO_BLOCK;
    reads.memory = aligned_alloc(MICRO_BLOCK, bytes);
    if (!reads.memory)
        micro_die("memory", -ENOMEM);
    reads.buffer = torc_buffer_register(reads.memory, bytes);
    for (unsigned i = 0; i < micro.depth; i++)
        readers[i].buf = reads.memory + (size_t)i * MICRO_BLOCK;
    torci_random_seed(&reads.random, 1);
    torc_histogram_init(&reads.latency);
    reads.done = reads.failed = 0;
}

static void finish_reads(const char *name, uint64_t took_ns, uint64_t cpu_ns)
{
    printf("{\"bench\":\"%s\",\"path\":\"%s\",\"depth\":%u,\"batch\":%u,\"iops\":%.0f,\"ns\":%.1f,"
           "\"cpu_ns\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"failed\":%llu}\n",
           name, micro.path, micro.depth, micro.batch, (double)reads.done / ((double)took_ns / 1e9),
           (double)took_ns / (double)reads.done, (double)cpu_ns / (double)reads.done,
           (double)torc_histogram_percentile(&reads.latency, 50) / 1e3,
           (double)torc_histogram_percentile(&reads.latency, 99) / 1e3,
           (unsigned long long)reads.failed);
    if (reads.buffer >= 0)
        torc_buffer_unregister(reads.buffer);
    free(reads.memory);
    torc_file_close(&reads.file);
}

static int read_often(void *arg)
{
    struct reader *self = arg;
    uint64_t now = torc_now_ns();
    while (now < reads.end_ns) {
        uint64_t began = now;
        ssize_t n = torc_file_read_at(&reads.file, self->buf, MICRO_BLOCK, random_offset());
        now = torc_now_ns();
        torc_histogram_record(&reads.latency, now - began);
        reads.failed += n != MICRO_BLOCK;
        reads.done++;
    }
    return 0;
}

void micro_read(void)
{
    prepare_reads();
    struct torc_scope all;
    torc_scope_init(&all);
    uint64_t start = torc_now_ns(), cpu = micro_cpu_ns();
    reads.end_ns = start + (uint64_t)(micro.seconds * 1e9);
    for (unsigned i = 0; i < micro.depth; i++)
        micro_spawn(&all, read_often, &readers[i]);
    micro_join(&all);
    finish_reads("read", torc_now_ns() - start, micro_cpu_ns() - cpu);
}

/* One look at the clock serves a whole batch: at submission, and when the batch has come back. */
static uint64_t reaped_ns;

static void read_done(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct reader *self = TORC_CONTAINER_OF(op, struct reader, op);
    if (!self->batch->completed)
        reaped_ns = torc_now_ns();
    torc_histogram_record(&reads.latency, reaped_ns - self->began_ns);
    reads.failed += result != MICRO_BLOCK;
    self->next_free = free_readers;
    free_readers = self;
    torc_batch_done(self->batch);
}

static void start_read(struct reader *self, uint64_t now)
{
    struct io_uring_sqe *sqe;
    int err = torc_batch_start(self->batch, &self->op, read_done, &sqe);
    if (err)
        micro_die("start", err);
    self->began_ns = now;
    if (reads.buffer >= 0)
        io_uring_prep_read_fixed(sqe, reads.file.slot, self->buf, MICRO_BLOCK, random_offset(),
                                 reads.buffer);
    else
        io_uring_prep_read(sqe, reads.file.slot, self->buf, MICRO_BLOCK, random_offset());
    sqe->flags |= IOSQE_FIXED_FILE;
}

void micro_read_op(void)
{
    prepare_reads();
    struct torc_batch batch;
    torc_batch_init(&batch);
    for (unsigned i = 0; i < micro.depth; i++) {
        readers[i].batch = &batch;
        readers[i].next_free = free_readers;
        free_readers = &readers[i];
    }
    uint64_t start = torc_now_ns(), cpu = micro_cpu_ns(), now = start;
    reads.end_ns = start + (uint64_t)(micro.seconds * 1e9);
    do {
        while (free_readers && now < reads.end_ns) {
            struct reader *next = free_readers;
            free_readers = next->next_free;
            start_read(next, now);
        }
        int n = torc_batch_wait(&batch, micro.batch);
        if (n < 0)
            micro_die("wait", n);
        reads.done += (uint64_t)n;
        now = torc_now_ns();
    } while (batch.in_flight || now < reads.end_ns);
    finish_reads("read_op", torc_now_ns() - start, micro_cpu_ns() - cpu);
}
