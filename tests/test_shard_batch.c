/* SPDX-License-Identifier: MIT
 *
 * A shard that waits for many completions at a time, and is called meanwhile: its doorbell is one completion of many, so
 * who has had mail lately waits for them one by one.
 */
#include <errno.h>
#include <liburing.h>
#include <unistd.h>

#include "core/exec_internal.h"
#include "io/kernel_internal.h"
#include "tests/harness.h"
#include "torc.h"

enum { READS = 8, PATIENCE_MS = 10000 };

struct batch_read {
    struct torc_op op;
    struct torc_batch *batch;
    char byte;
};

static struct torci_kernel kernel;
static int pipe_ends[2];
static uint32_t waits_for_all; /* of shard 1, for all reads at once; atomic: read by shard 0 */

static int watching_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                          unsigned flags, const void *arg, size_t size)
{
    if (torci_this && torc_shard_id() == 1 && min_complete == READS)
        __atomic_add_fetch(&waits_for_all, 1, __ATOMIC_RELAXED);
    return torci_kernel_linux.ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

static void read_done(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct batch_read *read = (struct batch_read *)(void *)op;
    CHECK_EQ(result, 1);
    torc_batch_done(read->batch);
}

static int wait_for_reads(void)
{
    struct batch_read reads[READS];
    struct torc_batch batch;
    torc_batch_init(&batch);
    for (int i = 0; i < READS; i++) {
        struct io_uring_sqe *sqe;
        reads[i].batch = &batch;
        CHECK_EQ(torc_batch_start(&batch, &reads[i].op, read_done, &sqe), 0);
        io_uring_prep_read(sqe, pipe_ends[0], &reads[i].byte, 1, (uint64_t)-1);
    }
    CHECK_EQ(torc_batch_wait(&batch, READS), READS);
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static uint32_t waited_for_all(void)
{
    return __atomic_load_n(&waits_for_all, __ATOMIC_RELAXED);
}

static int call_the_reader(void *arg)
{
    (void)arg;
    if (torc_shard_id() == 1)
        return wait_for_reads();
    for (int ms = 0; !waited_for_all(); ms++) {
        CHECK(ms < PATIENCE_MS);
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    }
    CHECK_EQ(torc_call(1, nothing, NULL), 0);
    uint32_t before = waited_for_all();
    CHECK_EQ(torc_sleep(60 * TORC_MS), 0); /* a wait for all is repeated every 20 ms */
    CHECK_EQ(waited_for_all(), before);
    CHECK_EQ(write(pipe_ends[1], "12345678", READS), READS);
    return 0;
}

TEST(batch, who_has_had_mail_waits_for_completions_one_by_one)
{
    CHECK_EQ(pipe(pipe_ends), 0);
    kernel = *torci_kernel_linux_get();
    kernel.ring_enter = watching_enter;
    const struct torc_config two = {.shards = 2, .kernel = &kernel};
    CHECK_EQ(torc_run(&two, call_the_reader, NULL), 0);
}
