/* SPDX-License-Identifier: MIT
 *
 * Two thousand reads in flight and one task: each request embeds its op, a completion function records it, and the
 * batch lets the executor sleep for many completions at a time. 4 KiB at random places of a file; without one, of
 * itself.
 *
 * Run: build/examples/ops README.md
 */
#include <liburing.h> // ahead of all others: it asks libc for what -std=c17 hides

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { IN_FLIGHT = 2000, READS = 100000, WAKE_FOR = 100, BLOCK = 4096 };

static struct request {
    struct torc_op op;
    struct request *next_free;
    uint64_t began_ns;
} requests[IN_FLIGHT], *free_requests;
static _Alignas(BLOCK) char memory[IN_FLIGHT][BLOCK];
static struct torc_batch batch;
static struct torc_histogram latency;
static int first_error;

static void done(struct torc_op *op, int result, uint32_t flags)
{
    struct request *self = TORC_CONTAINER_OF(op, struct request, op);
    (void)flags; // of interest to multishot operations
    if (result < 0 && !first_error)
        first_error = result;
    torc_histogram_record(&latency, torc_now_ns() - self->began_ns);
    self->next_free = free_requests;
    free_requests = self;
    torc_batch_done(&batch);
}

static uint64_t random_below(uint64_t limit)
{
    static uint64_t state;
    state = state * UINT64_C(6364136223846793005) + 1;
    return (state >> 33) % limit;
}

static int start_reads(const struct torc_file *f, uint64_t blocks, unsigned *left)
{
    uint64_t now = torc_now_ns();
    while (free_requests && *left) {
        struct request *next = free_requests;
        struct io_uring_sqe *sqe;
        int err = torc_batch_start(&batch, &next->op, done, &sqe);
        if (err)
            return err == -EAGAIN ? 0 : err; // the kernel is full: completions first
        io_uring_prep_read(sqe, f->fd, memory[next - requests], BLOCK,
                           random_below(blocks) * BLOCK);
        free_requests = next->next_free;
        next->began_ns = now;
        --*left;
    }
    return 0;
}

static int app(void *path)
{
    struct torc_file f;
    struct torc_mask mask;
    int err = torc_file_open(&f, path, &(struct torc_file_options){.direct = true});
    if (err == -EOPNOTSUPP)
        err = torc_file_open(&f, path, NULL);
    if (err)
        return err;
    int64_t size = torc_file_size(&f);
    uint64_t blocks = size > BLOCK ? (uint64_t)size / BLOCK : 1;
    torc_batch_init(&batch);
    torc_histogram_init(&latency);
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        requests[i].next_free = free_requests;
        free_requests = &requests[i];
    }
    unsigned left = READS;
    uint64_t start = torc_now_ns();
    int n;
    do {
        n = start_reads(&f, blocks, &left);
        if (!n)
            n = torc_batch_wait(&batch, WAKE_FOR); // 0: nothing left in flight
    } while (n > 0);
    double seconds = (double)(torc_now_ns() - start) / 1e9;
    torc_mask_enter(&mask); // interrupted or not: until the last one the kernel writes to memory
    while (torc_batch_wait(&batch, IN_FLIGHT) > 0)
        ;
    torc_mask_leave(&mask);
    torc_file_close(&f);
    if (n < 0 || first_error)
        return n < 0 ? n : first_error;
    printf("%.0f reads/s, p50 %.0f us, p99 %.0f us\n", READS / seconds,
           (double)torc_histogram_percentile(&latency, 50) / 1e3,
           (double)torc_histogram_percentile(&latency, 99) / 1e3);
    return 0;
}

int main(int argc, char **argv)
{
    char *path = argc > 1 ? argv[1] : argv[0];
    int err = torc_run(NULL, app, path);
    if (err)
        fprintf(stderr, "ops: %s: %s\n", path, strerror(-err));
    return err ? 1 : 0;
}
