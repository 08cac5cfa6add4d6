/* SPDX-License-Identifier: MIT
 *
 * Files when things go wrong: transfers that stop short, tasks that are interrupted, kernels that tell less, locks that
 * are held, and every call of the kernel failing once.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "core/time.h"
#include "dma/directory.h"
#include "dma/file.h"
#include "dma/stats.h"
#include "tests/dma_dir.h"
#include "tests/run_shard.h"

enum { BLOCK = 4096 };

static _Alignas(BLOCK) unsigned char in[32 * BLOCK], out[32 * BLOCK];

static void fill_pattern(unsigned seed)
{
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
    memset(in, 0xee, sizeof in);
}

static uint64_t stats_of(size_t field_offset)
{
    struct torc_dma_stats stats;
    uint64_t value;
    torc_dma_stats_get(&stats);
    memcpy(&value, (char *)&stats + field_offset, sizeof value);
    return value;
}
#define STAT(field) stats_of(offsetof(struct torc_dma_stats, field))

static void make_file(const char *path, size_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, out, size), size);
    close(fd);
}

/* ---- transfers that stop short ---- */

enum { TRANSFERS_MAX = 64 };

/* Sits between the ring and the kernel: shortens reads and writes before the kernel sees them, or their results
 * afterwards, and keeps a list of them. */
static struct short_kernel {
    struct fault_kernel fault; /* first: it is the context */
    struct io_uring_params params;
    unsigned char *rings;
    struct io_uring_sqe *sqes;
    uint32_t length_max; /* of an entry; 0: leave it */
    int32_t result;      /* that the next RESULTS transfers report instead of their own */
    unsigned results;
    uint64_t pending[TRANSFERS_MAX]; /* user_data of transfers without a completion yet */
    unsigned pending_count;
    struct {
        uint64_t offset;
        uint32_t length;
    } seen[TRANSFERS_MAX];
    unsigned seen_count;
} between;

static int short_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    int ring = fault_ring_setup(context, entries, params);
    if (ring >= 0)
        between.params = *params;
    return ring;
}

static void *short_map(void *context, int ring, uint64_t offset, size_t size_bytes)
{
    void *memory = fault_ring_map(context, ring, offset, size_bytes);
    if (offset == IORING_OFF_SQES)
        between.sqes = memory;
    else
        between.rings = memory;
    return memory;
}

static uint32_t ring_field(uint32_t offset)
{
    uint32_t value;
    memcpy(&value, between.rings + offset, sizeof value);
    return value;
}

static void shorten_entry(struct io_uring_sqe *sqe)
{
    if (sqe->opcode != IORING_OP_READ && sqe->opcode != IORING_OP_WRITE)
        return;
    if (between.length_max && sqe->len > between.length_max)
        sqe->len = between.length_max;
    CHECK(between.seen_count < TRANSFERS_MAX);
    between.seen[between.seen_count].offset = sqe->off;
    between.seen[between.seen_count++].length = sqe->len;
    if (between.results) {
        between.results--;
        between.pending[between.pending_count++] = sqe->user_data;
    }
}

static void shorten_result(struct io_uring_cqe *cqe)
{
    for (unsigned i = 0; i < between.pending_count; i++)
        if (between.pending[i] == cqe->user_data) {
            between.pending[i] = between.pending[--between.pending_count];
            if (cqe->res > between.result)
                cqe->res = between.result;
            return;
        }
}

static int short_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                       unsigned flags, const void *arg, size_t arg_size)
{
    uint32_t tail = ring_field(between.params.sq_off.tail);
    for (uint32_t i = tail - to_submit; i != tail; i++)
        shorten_entry(&between.sqes[i & (between.params.sq_entries - 1)]);
    int n = fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, arg_size);
    struct io_uring_cqe *cqes = (void *)(between.rings + between.params.cq_off.cqes);
    for (uint32_t i = ring_field(between.params.cq_off.head);
         i != ring_field(between.params.cq_off.tail); i++)
        shorten_result(&cqes[i & (between.params.cq_entries - 1)]);
    return n;
}

static void between_watch(uint32_t length_max, int32_t result, unsigned results)
{
    between.length_max = length_max;
    between.result = result;
    between.results = results;
    between.pending_count = between.seen_count = 0;
}

static void on_short_kernel(torc_task_fn *body)
{
    fault_kernel_init(&between.fault);
    between.fault.kernel.ring_setup = short_setup;
    between.fault.kernel.ring_map = short_map;
    between.fault.kernel.ring_enter = short_enter;
    test_in_directory_by(run_alone, &between.fault.kernel, body, test_disk());
    fault_kernel_check_clean(&between.fault);
}

static int resumes(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    size_t written = 0;
    for (int direct = 0; direct < 2; direct++) {
        fill_pattern((unsigned)direct);
        CHECK_EQ(torc_file_open(
                     &f, test_path(dir, direct ? "d" : "b"),
                     &(struct torc_file_options){.write = true, .create = true, .direct = direct}),
                 0);
        uint64_t before = STAT(short_resumes);
        between_watch(3 * BLOCK, 0, 0);
        CHECK_EQ(torc_file_write_full_at(&f, out, 10 * BLOCK, BLOCK, &written), 0);
        CHECK_EQ(written, 10 * BLOCK);
        CHECK_EQ(between.seen_count, 4);
        CHECK_EQ(between.seen[3].offset, 10 * BLOCK);
        CHECK_EQ(between.seen[3].length, BLOCK);
        CHECK_EQ(STAT(short_resumes), before + 3);
        CHECK_EQ(torc_file_read_full_at(&f, in, 10 * BLOCK, BLOCK), 10 * BLOCK);
        CHECK_EQ(STAT(short_resumes), before + 6);
        CHECK_EQ(memcmp(in, out, 10 * BLOCK), 0);
        CHECK_EQ(torc_file_read_full_at(&f, in, 20 * BLOCK, BLOCK), 10 * BLOCK);
        CHECK_EQ(torc_file_read_at(&f, in, 10 * BLOCK, BLOCK), 3 * BLOCK); /* as it comes */
        between_watch(0, 0, 0);
        torc_file_close(&f);
    }
    return 0;
}
TEST(dma_faults, full_transfers_go_on_after_short_ones)
{
    on_short_kernel(resumes);
}

static int resumes_unaligned(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    size_t written = 0;
    fill_pattern(9);
    CHECK_EQ(
        torc_file_open(&f, test_path(dir, "d"),
                       &(struct torc_file_options){.write = true, .create = true, .direct = true}),
        0);
    /* stops inside the third block: that block is written again */
    between_watch(0, 2 * BLOCK + 100, 1);
    CHECK_EQ(torc_file_write_full_at(&f, out, 8 * BLOCK, 0, &written), 0);
    CHECK_EQ(written, 8 * BLOCK);
    CHECK_EQ(between.seen_count, 2);
    CHECK_EQ(between.seen[1].offset, 2 * BLOCK);
    CHECK_EQ(between.seen[1].length, 6 * BLOCK);

    /* stops inside the first block, and again at the same place: no way on */
    between_watch(0, 100, 2);
    CHECK_EQ(torc_file_write_full_at(&f, out, 8 * BLOCK, 0, &written), -EIO);
    CHECK_EQ(written, 100);
    between_watch(0, BLOCK + 100, 1);
    between.results = 2;
    CHECK_EQ(torc_file_write_full_at(&f, out, 2 * BLOCK, 0, &written), 0);

    /* a direct read that stops inside a block is taken for the end of the file */
    between_watch(0, 3 * BLOCK + 10, 1);
    CHECK_EQ(torc_file_read_full_at(&f, in, 8 * BLOCK, 0), 3 * BLOCK + 10);
    CHECK_EQ(between.seen_count, 1);
    torc_file_close(&f);

    CHECK_EQ(
        torc_file_open(&f, test_path(dir, "d"),
                       &(struct torc_file_options){.write = true, .append = true, .direct = true}),
        0);
    between_watch(0, BLOCK + 100, 1); /* going back would append twice */
    CHECK_EQ(torc_file_write_full_at(&f, out, 2 * BLOCK, 0, &written), -EIO);
    CHECK_EQ(written, BLOCK + 100);
    CHECK_EQ(between.seen_count, 1);
    torc_file_close(&f);

    CHECK_EQ(torc_file_open(&f, test_path(dir, "b"),
                            &(struct torc_file_options){.write = true, .create = true}),
             0);
    between_watch(0, 0, 1);
    CHECK_EQ(torc_file_write_full_at(&f, out, 10, 0, &written), -EIO); /* took nothing */
    CHECK_EQ(written, 0);
    between_watch(0, 7, 1);
    CHECK_EQ(torc_file_write_full_at(&f, out, 10, 0, &written), 0);
    CHECK_EQ(between.seen[1].offset, 7);
    CHECK_EQ(torc_file_write_full_at(&f, out, 0, 0, &written), 0);
    CHECK_EQ(written, 0);
    between_watch(0, 0, 0);
    torc_file_close(&f);
    return 0;
}
TEST(dma_faults, direct_writes_resume_at_whole_blocks_or_fail)
{
    on_short_kernel(resumes_unaligned);
}

static int bounces_little(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    fill_pattern(13);
    make_file(test_path(dir, "f"), sizeof out);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){
                                .direct = true, .bounce = true, .bounce_bytes = 4 * BLOCK}),
             0);
    const uint32_t unit = f.offset_align;
    between_watch(0, 0, 0);
    CHECK_EQ(torc_file_read_at(&f, in, 2, unit - 1), 2);
    CHECK_EQ(between.seen_count, 1);
    CHECK_EQ(between.seen[0].offset, 0);
    CHECK_EQ(between.seen[0].length, 2 * unit);
    between_watch(0, 0, 0);
    CHECK_EQ(torc_file_read_at(&f, in, 6 * BLOCK, 1), 6 * BLOCK);
    CHECK_EQ(between.seen_count, 2);
    CHECK_EQ(between.seen[0].length, 4 * BLOCK);
    CHECK_EQ(between.seen[1].offset, 4 * BLOCK);
    CHECK_EQ(between.seen[1].length, 2 * BLOCK + unit);
    CHECK_EQ(memcmp(in, out + 1, 6 * BLOCK), 0);
    torc_file_close(&f);
    return 0;
}
TEST(dma_faults, a_bounced_read_takes_no_more_blocks_than_it_needs)
{
    on_short_kernel(bounces_little);
}

/* ---- interruption ---- */

static int read_forever(void *arg)
{
    struct torc_file *f = arg;
    return (int)torc_file_read_at(f, in, 10, 0);
}

static int interrupted_reads(void *arg)
{
    struct torc_file f;
    struct torc_scope scope;
    struct torc_task task;
    struct torc_deadline deadline;
    int ends[2];
    (void)arg;
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQ(torc_file_adopt(&f, ends[0], NULL), 0);

    torc_deadline_enter(&deadline, 3 * TORC_MS);
    CHECK_EQ(torc_file_read_at(&f, in, 10, 0), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));

    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, read_forever, &f),
             0);
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    torc_task_cancel(&task);
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);

    /* nothing of the two is left with the kernel to take what comes now */
    CHECK_EQ(write(ends[1], "0123456789", 10), 10);
    CHECK_EQ(torc_file_read_at(&f, in, 10, 0), 10);
    CHECK_EQ(memcmp(in, "0123456789", 10), 0);

    torc_deadline_enter(&deadline, 0);
    CHECK_EQ(torc_sleep(TORC_MS), -ETIMEDOUT);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    CHECK_EQ(torc_file_read_at(&f, in, 1, 0), -ETIMEDOUT); /* although it would not block */
    int fd = f.fd;
    torc_file_close(&f); /* works all the same */
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK(torc_deadline_leave(&deadline));
    close(ends[1]);
    return 0;
}
TEST(dma_faults, reading_can_be_interrupted)
{
    test_in_directories(interrupted_reads);
}

static int interrupted_open(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct torc_file_info info;
    struct torc_directory d;
    struct torc_directory_list list;
    struct torc_deadline deadline;
    make_file(test_path(dir, "f"), BLOCK);
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    torc_deadline_enter(&deadline, 0);
    CHECK_EQ(torc_sleep(TORC_MS), -ETIMEDOUT);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), NULL), -ETIMEDOUT);
    CHECK_EQ(f.fd, -1);
    CHECK_EQ(torc_file_unlink(&d, "f"), -ETIMEDOUT);
    CHECK_EQ(torc_file_stat_path(&d, "f", &info), -ETIMEDOUT);
    CHECK_EQ(torc_directory_sync(&d), -ETIMEDOUT);
    CHECK_EQ(torc_directory_list(&d, 0, &list), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    torc_directory_close(&d);
    CHECK_EQ(access(test_path(dir, "f"), F_OK), 0);
    return 0;
}
TEST(dma_faults, an_interrupted_task_starts_nothing)
{
    test_in_directories(interrupted_open);
}

static struct torc_file bounced;

static int bounce_read(void *arg)
{
    return (int)torc_file_read_at(&bounced, (unsigned char *)arg + 1, 6000, 100);
}

/* More tasks than bounce buffers: the others wait in turn. */
static int many_bounces(void *arg)
{
    struct test_dir *dir = arg;
    static unsigned char memory[12][8192];
    struct torc_scope scope;
    fill_pattern(77);
    make_file(test_path(dir, "f"), sizeof out);
    CHECK_EQ(torc_file_open(
                 &bounced, test_path(dir, "f"),
                 &(struct torc_file_options){.direct = true, .bounce = true, .bounce_count = 2}),
             0);
    torc_scope_init(&scope);
    for (int i = 0; i < 12; i++)
        CHECK_EQ(torc_spawn(&scope, bounce_read, memory[i]), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (int i = 0; i < 12; i++)
        CHECK_EQ(memcmp(memory[i] + 1, out + 100, 6000), 0);
    CHECK_EQ(STAT(bounce_reads), 12);
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 0);
    CHECK_EQ(torc_sleep(TORC_MS), -ETIMEDOUT);
    CHECK_EQ(torc_file_read_at(&bounced, in, 10, 1), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    torc_file_close(&bounced);
    return 0;
}
TEST(dma_faults, bounced_reads_share_their_buffers)
{
    test_in_directories(many_bounces);
}

/* ---- locks ---- */

static struct torc_file lock_a, lock_b;
static int lock_steps;

static int wait_for_lock(void *arg)
{
    (void)arg;
    int err = torc_file_lock(&lock_b, NULL);
    lock_steps++;
    return err;
}

static int waits_for_lock(void *arg)
{
    struct test_dir *dir = arg;
    const struct torc_file_options options = {.write = true, .create = true};
    struct torc_scope scope;
    struct torc_deadline deadline;
    lock_steps = 0;
    CHECK_EQ(torc_file_open(&lock_a, test_path(dir, "f"), &options), 0);
    CHECK_EQ(torc_file_open(&lock_b, test_path(dir, "f"), &options), 0);
    CHECK_EQ(torc_file_lock(&lock_a, NULL), 0);
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, wait_for_lock, NULL), 0);
    CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    CHECK_EQ(lock_steps, 0);
    CHECK_EQ(torc_file_unlock(&lock_a, NULL), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(lock_steps, 1);

    torc_deadline_enter(&deadline, 4 * TORC_MS);
    CHECK_EQ(torc_file_lock(&lock_a, NULL), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    torc_file_close(&lock_b);
    CHECK_EQ(torc_file_lock(&lock_a, NULL), 0);
    torc_file_close(&lock_a);
    return 0;
}
TEST(dma_faults, waiting_for_a_lock_ends_with_it_or_the_deadline)
{
    test_in_directories(waits_for_lock);
}

/* ---- kernels that tell less ---- */

static enum { TELL_ALL, TELL_NO_ALIGNMENT, TELL_NOT_DIRECT } told;

static long telling_call(void *context, long number, const long arguments[6])
{
    long result = fault_call(context, number, arguments);
    if (number == SYS_statx && result == 0) {
        struct torci_statx *statx = (void *)arguments[4];
        if (told == TELL_NO_ALIGNMENT)
            statx->mask &= ~(uint32_t)TORCI_STATX_DIOALIGN;
        if (told == TELL_NOT_DIRECT) {
            statx->mask |= TORCI_STATX_DIOALIGN;
            statx->dio_memory_align = statx->dio_offset_align = 0;
        }
    }
    return result;
}

static long sysfs_block_size(const struct stat *st)
{
    static const char *const forms[] = {"/sys/dev/block/%u:%u/queue/logical_block_size",
                                        "/sys/dev/block/%u:%u/../queue/logical_block_size"};
    for (int i = 0; i < 2; i++) {
        char path[128];
        long bytes = 0;
        snprintf(path, sizeof path, i ? forms[1] : forms[0], major(st->st_dev), minor(st->st_dev));
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        CHECK_EQ(fscanf(file, "%ld", &bytes), 1);
        fclose(file);
        return bytes;
    }
    return 4096;
}

static int guesses(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct stat st;
    make_file(test_path(dir, "f"), BLOCK);
    CHECK_EQ(stat(test_path(dir, "f"), &st), 0);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &(struct torc_file_options){.direct = true}),
             0);
    CHECK(f.is_direct);
    CHECK_EQ(f.offset_align, sysfs_block_size(&st));
    CHECK_EQ(f.memory_align, f.offset_align);
    CHECK_EQ(STAT(alignment_guesses), 1);
    CHECK_EQ(torc_file_read_at(&f, in, f.offset_align, f.offset_align),
             f.offset_align < BLOCK ? f.offset_align : 0);
    CHECK_EQ(torc_file_read_at(&f, in, f.offset_align / 2, 0), -EINVAL);
    torc_file_close(&f);
    return 0;
}
TEST(dma_faults, alignment_comes_from_the_device_when_the_file_system_is_silent)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    fault.kernel.call = telling_call;
    told = TELL_NO_ALIGNMENT;
    test_in_directory(&fault.kernel, guesses, test_disk());
    fault_kernel_check_clean(&fault);
}

static int not_direct(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    make_file(test_path(dir, "f"), BLOCK);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){.direct = true, .bounce = true}),
             0);
    CHECK(!f.is_direct);
    CHECK_EQ(f.offset_align, 1);
    CHECK_EQ(STAT(direct_ignored), 1);
    torc_file_close(&f);
    return 0;
}
TEST(dma_faults, a_file_system_that_buffers_direct_files_is_reported)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    fault.kernel.call = telling_call;
    told = TELL_NOT_DIRECT;
    test_in_directory(&fault.kernel, not_direct, test_disk());
    CHECK(fault_kernel_said(&fault, "its file system buffers it"));
    fault_kernel_check_clean(&fault);
}

static int counts_pool_calls(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){.write = true, .create = true}),
             0);
    CHECK_EQ(STAT(pool_calls), 1);
    CHECK_EQ(torc_file_truncate(&f, 100), 0);
    CHECK_EQ(torc_file_size(&f), 100);
    CHECK_EQ(STAT(pool_calls), 3);
    torc_file_close(&f);
    CHECK_EQ(STAT(closes_in_line), 1);
    return 0;
}
TEST(dma_faults, what_the_pool_does_instead_of_the_ring_is_counted)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    fault.kernel.ring_register = test_register_few_ops;
    test_in_directory(&fault.kernel, counts_pool_calls, test_disk());
    fault_kernel_check_clean(&fault);
}

/* ---- polling ---- */

/* Not by test_in_directory: the polled ring stays when the file is closed. */
static void on_disk(const struct torci_kernel *kernel, torc_task_fn *body)
{
    struct test_dir dir;
    test_dir_make(&dir, test_disk());
    CHECK_EQ(
        run_shard(&(struct torc_config){.kernel = kernel, .no_stall_report = true}, body, &dir), 0);
    test_dir_remove(&dir);
}

static int polls(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    fill_pattern(3);
    make_file(test_path(dir, "f"), 8 * BLOCK);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){.direct = true, .poll = TORC_POLL_AUTO}),
             0);
    CHECK_EQ(STAT(poll_refused), !f.is_polled);
    CHECK_EQ(torc_file_read_at(&f, in, 8 * BLOCK, 0), 8 * BLOCK);
    CHECK_EQ(memcmp(in, out, 8 * BLOCK), 0);
    bool polled = f.is_polled;
    torc_file_close(&f);
    CHECK_EQ(
        torc_file_open(&f, test_path(dir, "f"),
                       &(struct torc_file_options){.direct = true, .poll = TORC_POLL_REQUIRED}),
        polled ? 0 : -EOPNOTSUPP);
    if (polled)
        torc_file_close(&f);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){.poll = TORC_POLL_REQUIRED}),
             -EOPNOTSUPP); /* the page cache does not poll */
    return 0;
}
TEST(dma_faults, polling_is_used_only_where_a_read_proves_it)
{
    on_disk(NULL, polls);
}

static int pretends_to_poll(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    fill_pattern(4);
    CHECK_EQ(
        torc_file_open(&f, test_path(dir, "f"),
                       &(struct torc_file_options){.write = true, .create = true, .direct = true}),
        0);
    CHECK_EQ(torc_file_write_at(&f, out, 8 * BLOCK, 0), 8 * BLOCK);
    torc_file_close(&f);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){.write = true,
                                                        .direct = true,
                                                        .fixed_slot = true,
                                                        .poll = TORC_POLL_REQUIRED}),
             0);
    CHECK(f.is_polled);
    CHECK_EQ(torc_file_read_at(&f, in, 8 * BLOCK, 0), 8 * BLOCK);
    CHECK_EQ(memcmp(in, out, 8 * BLOCK), 0);
    CHECK_EQ(torc_file_write_at(&f, out + BLOCK, BLOCK, 0), BLOCK);
    CHECK_EQ(torc_file_read_full_at(&f, in, BLOCK, 0), BLOCK);
    CHECK_EQ(memcmp(in, out + BLOCK, BLOCK), 0);

    struct torc_buffer_pool pool;
    struct torc_buffer *buffer;
    CHECK_EQ(
        torc_buffer_pool_init(
            &pool, &(struct torc_buffer_pool_options){.total_bytes = BLOCK, .buffer_bytes = BLOCK}),
        0);
    CHECK_EQ(torc_buffer_get(&pool, BLOCK, &buffer), 0);
    CHECK_EQ(torc_file_read_fixed(&f, buffer, 0, BLOCK, 2 * BLOCK), BLOCK);
    CHECK_EQ(memcmp(buffer->data, out + 2 * BLOCK, BLOCK), 0);
    torc_buffer_put(buffer);
    torc_buffer_pool_deinit(&pool);
    CHECK_EQ(torc_file_fdatasync(&f), 0); /* by the main ring */
    torc_file_close(&f);
    return 0;
}

/* Where no device polls: a second ring that is an ordinary one. */
static int setup_without_polling(void *context, unsigned entries, struct io_uring_params *params)
{
    params->flags &= ~IORING_SETUP_IOPOLL;
    return fault_ring_setup(context, entries, params);
}
TEST(dma_faults, polled_files_use_the_second_ring)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    fault.kernel.ring_setup = setup_without_polling;
    on_disk(&fault.kernel, pretends_to_poll);
    fault_kernel_check_clean(&fault);
}

/* ---- every call fails once ---- */

static int use_a_file(struct test_dir *dir, struct torc_file *f)
{
    struct torc_file_info info;
    ssize_t n = torc_file_write_at(f, out, 2 * BLOCK, 0);
    if (n >= 0)
        n = torc_file_read_at(f, in + 1, 100, 100);
    if (n >= 0)
        n = torc_file_truncate(f, BLOCK);
    if (n >= 0)
        n = torc_file_stat(f, &info);
    if (n >= 0)
        n = torc_file_lock(f, NULL);
    (void)dir;
    return n < 0 ? (int)n : 0;
}

static int use_everything(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_directory d;
    struct torc_directory_list list;
    struct torc_file f;
    int err = torc_directory_open(&d, NULL, dir->path);
    if (err)
        return err;
    err = torc_file_open(&f, "f",
                         &(struct torc_file_options){.write = true,
                                                     .create = true,
                                                     .direct = true,
                                                     .bounce = true,
                                                     .fixed_slot = true,
                                                     .poll = TORC_POLL_AUTO,
                                                     .at = &d});
    if (!err) {
        err = use_a_file(dir, &f);
        torc_file_close(&f);
    }
    if (!err)
        err = torc_file_unlink(&d, "f");
    if (!err) {
        err = torc_directory_list(&d, 0, &list);
        if (!err)
            torc_directory_list_free(&list);
    }
    torc_directory_close(&d);
    return err;
}

static void sweep(bool few_ops, unsigned kinds)
{
    struct fault_kernel fault;
    struct test_dir dir;
    long n = 0;
    test_dir_make(&dir, test_disk());
    for (;; n++) {
        int before = test_open_descriptors();
        fault_kernel_init(&fault);
        if (few_ops)
            fault.kernel.ring_register = test_register_few_ops;
        fault.fail_kinds = kinds;
        fault.fail_nth = n;
        int err = run_alone(&(struct torc_config){.kernel = &fault.kernel, .no_stall_report = true},
                            use_everything, &dir);
        fault_kernel_check_clean(&fault);
        CHECK_EQ(test_open_descriptors(), before);
        CHECK(err <= 0);
        if (!fault.failed) {
            CHECK_EQ(err, 0);
            break;
        }
    }
    CHECK(n > 3);
    test_dir_remove(&dir);
}
TEST(dma_faults, any_call_may_fail)
{
    sweep(false, FAULT_ANY & ~(unsigned)FAULT_ENTER);
}
TEST(dma_faults, any_call_may_fail_on_an_older_ring)
{
    sweep(true, FAULT_ANY & ~(unsigned)FAULT_ENTER);
}
TEST(dma_faults, any_enter_may_end_early)
{
    sweep(false, FAULT_ENTER);
}
