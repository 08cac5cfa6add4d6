/* SPDX-License-Identifier: MIT
 *
 * Files, on a disk and on tmpfs: every function of dma/file.h, and every refusal that it names.
 */
#include "dma/file.h"

#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "core/time.h"
#include "dma/directory.h"
#include "dma/stats.h"
#include "tests/dma_dir.h"
#include "tests/run_shard.h"

enum { BLOCK = 4096 };

static _Alignas(BLOCK) unsigned char in[64 * BLOCK], out[64 * BLOCK];

static const struct torc_file_options new_buffered = {.write = true, .create = true},
                                      new_direct = {.write = true, .create = true, .direct = true};

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

/* A file of SIZE pattern bytes. */
static void make_file(const char *path, size_t size)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, out, size), size);
    close(fd);
}

/* ---- opening ---- */

static int opens(void *arg)
{
    struct test_dir *dir = arg;
    const char *path = test_path(dir, "f");
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, path, NULL), -ENOENT);
    CHECK_EQ(torc_file_open(&f, path, &(struct torc_file_options){.create = true, .mode = 0640}),
             0);
    CHECK(f.fd >= 0 && f.slot == -1 && !f.is_direct && !f.is_device && !f.is_polled);
    CHECK_EQ(f.memory_align, 1);
    CHECK_EQ(f.offset_align, 1);
    CHECK(fcntl(f.fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(fcntl(f.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    CHECK_EQ(torc_file_write_at(&f, out, 1, 0), -EBADF);
    torc_file_close(&f);
    struct stat st;
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0640);

    CHECK_EQ(torc_file_open(&f, path,
                            &(struct torc_file_options){
                                .write_only = true, .create = true, .exclusive = true}),
             -EEXIST);
    CHECK_EQ(torc_file_open(
                 &f, path,
                 &(struct torc_file_options){.write_only = true, .dsync = true, .append = true}),
             0);
    CHECK_EQ(fcntl(f.fd, F_GETFL) & (O_ACCMODE | O_DSYNC | O_SYNC | O_APPEND),
             O_WRONLY | O_DSYNC | O_APPEND);
    CHECK_EQ(torc_file_write_at(&f, "ab", 2, 0), 2);
    CHECK_EQ(torc_file_write_at(&f, "cd", 2, 0), 2);
    CHECK_EQ(torc_file_size(&f), 4);
    CHECK_EQ(torc_file_read_at(&f, in, 1, 0), -EBADF);
    torc_file_close(&f);

    CHECK_EQ(torc_file_open(&f, path,
                            &(struct torc_file_options){
                                .write = true, .sync = true, .truncate = true, .no_atime = true}),
             0);
    CHECK_EQ(fcntl(f.fd, F_GETFL) & (O_ACCMODE | O_SYNC | O_NOATIME), O_RDWR | O_SYNC | O_NOATIME);
    CHECK_EQ(torc_file_size(&f), 0);
    torc_file_close(&f);

    const char *link = test_path(dir, "link");
    CHECK_EQ(symlink("f", link), 0);
    CHECK_EQ(torc_file_open(&f, link, NULL), 0);
    torc_file_close(&f);
    CHECK_EQ(torc_file_open(&f, link, &(struct torc_file_options){.no_follow = true}), -ELOOP);
    return 0;
}
TEST(dma_file, opens_with_every_flag)
{
    test_in_directories(opens);
}

static int opens_directory(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, dir->path, NULL), -EISDIR);
    CHECK_EQ(torc_file_open(&f, dir->path, &(struct torc_file_options){.direct = true}), -EISDIR);
    CHECK_EQ(torc_file_open(&f, dir->path, &(struct torc_file_options){.write = true}), -EISDIR);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "no/where"), &new_direct), -ENOENT);
    CHECK_EQ(f.fd, -1);
    return 0;
}
TEST(dma_file, open_refuses_a_directory)
{
    test_in_directories(opens_directory);
}

static int opens_undirect(void *arg)
{
    (void)arg;
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, "/proc/self/status", &(struct torc_file_options){.direct = true}),
             -EOPNOTSUPP);
    return 0;
}
TEST(dma_file, open_refuses_direct_where_the_file_system_has_none)
{
    test_in_directory(NULL, opens_undirect, test_disk());
}

static int contradictions(void *arg)
{
    struct test_dir *dir = arg;
    static const struct torc_file_options bad[] = {
        {.write = true, .write_only = true},
        {.truncate = true},
        {.append = true},
        {.temporary = true},
        {.exclusive = true},
        {.write_flags = TORC_RW_DSYNC},
        {.write = true, .write_flags = 0x1},
        {.write = true, .write_flags = 0x100},
        {.write = true, .temporary = true, .create = true},
        {.write = true, .temporary = true, .truncate = true},
        {.write_only = true, .direct = true, .bounce = true},
        {.create = true, .mode = 010000},
        {.poll = (enum torc_poll)3},
        {.direct = true, .bounce = true, .bounce_bytes = 1000},
    };
    make_file(test_path(dir, "f"), BLOCK);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(bad); i++) {
        struct torc_file f;
        if (torc_file_open(&f, test_path(dir, "f"), &bad[i]) != -EINVAL)
            TEST_FAIL("options %zu were taken", i);
    }
    return 0;
}
TEST(dma_file, open_refuses_options_that_contradict_each_other)
{
    test_in_directories(contradictions);
}

static int descriptor_zero(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    int saved = dup(0);
    CHECK(saved >= 0);
    make_file(test_path(dir, "f"), 10);
    close(0);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), NULL), 0);
    CHECK_EQ(f.fd, 0);
    CHECK_EQ(torc_file_read_at(&f, in, 10, 0), 10);
    torc_file_close(&f);
    CHECK_EQ(fcntl(0, F_GETFD), -1);
    CHECK_EQ(dup2(saved, 0), 0);
    close(saved);
    return 0;
}
TEST(dma_file, descriptor_zero_is_as_good_as_any)
{
    test_in_directory(NULL, descriptor_zero, test_disk());
}

static int slots_return(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    const char *path = test_path(dir, "f");
    make_file(path, 10);
    for (int i = 0; i < 1100; i++) { /* more than the ring has slots */
        CHECK_EQ(torc_file_open(&f, path, &(struct torc_file_options){.fixed_slot = true}), 0);
        torc_file_close(&f);
    }
    return 0;
}
TEST(dma_file, closing_gives_the_slot_back)
{
    test_in_directory(NULL, slots_return, test_disk());
}

static int relative(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_directory d;
    struct torc_file f;
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    CHECK_EQ(torc_file_open(&f, "here",
                            &(struct torc_file_options){.write = true, .create = true, .at = &d}),
             0);
    torc_file_close(&f);
    CHECK_EQ(access(test_path(dir, "here"), F_OK), 0);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_file, open_starts_at_the_directory_given)
{
    test_in_directories(relative);
}

static int runs_out_of_descriptors(void *arg)
{
    struct test_dir *dir = arg;
    static struct torc_file files[64];
    const char *path = test_path(dir, "f");
    struct rlimit old;
    int count = 0, err = 0;
    make_file(path, 1);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    rlim_t few = (rlim_t)test_open_descriptors() + 20;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){few, old.rlim_max}), 0);
    for (; count < 64 && !err; count++)
        err = torc_file_open(&files[count], path, NULL);
    CHECK_EQ(err, -EMFILE);
    while (--count > 0)
        torc_file_close(&files[count - 1]);
    CHECK_EQ(torc_file_open(&files[0], path, NULL), 0);
    torc_file_close(&files[0]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    return 0;
}
TEST(dma_file, open_says_that_descriptors_have_run_out)
{
    test_in_directories(runs_out_of_descriptors);
}

static int adopts(void *arg)
{
    struct test_dir *dir = arg;
    const char *path = test_path(dir, "f");
    struct torc_file f;
    make_file(path, 2 * BLOCK);
    int fd = open(path, O_RDWR | O_DIRECT | O_APPEND | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(torc_file_adopt(&f, fd, &(struct torc_file_options){.fixed_slot = true}), 0);
    CHECK(f.is_direct && f.is_append && f.slot >= 0);
    CHECK_EQ(torc_file_read_at(&f, in, BLOCK, BLOCK), BLOCK);
    CHECK_EQ(memcmp(in, out + BLOCK, BLOCK), 0);
    torc_file_close(&f);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);

    CHECK_EQ(torc_file_adopt(&f, fd, NULL), -EBADF);
    fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQ(torc_file_adopt(&f, fd, NULL), -EISDIR);
    CHECK_EQ(torc_file_adopt(&f, fd, &(struct torc_file_options){.write_flags = 1}), -EINVAL);
    CHECK_EQ(torc_file_adopt(&f, fd, &(struct torc_file_options){.poll = (enum torc_poll)3}),
             -EINVAL);
    CHECK_EQ(close(fd), 0); /* still ours */
    return 0;
}
TEST(dma_file, adopt_takes_over_a_descriptor)
{
    fill_pattern(1);
    test_in_directories(adopts);
}

/* ---- transfers ---- */

static void round_trip(struct torc_file *f)
{
    fill_pattern(7);
    CHECK_EQ(torc_file_write_at(f, out, sizeof out, 0), sizeof out);
    CHECK_EQ(torc_file_read_at(f, in, sizeof in, 0), sizeof in);
    CHECK_EQ(memcmp(in, out, sizeof in), 0);

    CHECK_EQ(torc_file_write_at(f, out + BLOCK, BLOCK, 9 * BLOCK), BLOCK);
    CHECK_EQ(torc_file_read_at(f, in, 3 * BLOCK, 8 * BLOCK), 3 * BLOCK);
    CHECK_EQ(memcmp(in, out + 8 * BLOCK, BLOCK), 0);
    CHECK_EQ(memcmp(in + BLOCK, out + BLOCK, BLOCK), 0);
    CHECK_EQ(memcmp(in + 2 * BLOCK, out + 10 * BLOCK, BLOCK), 0);

    CHECK_EQ(torc_file_read_at(f, in, BLOCK, sizeof out), 0);                 /* at the end */
    CHECK_EQ(torc_file_read_at(f, in, 2 * BLOCK, sizeof out - BLOCK), BLOCK); /* over it */
    CHECK_EQ(torc_file_read_at(f, in, 0, 0), 0);
    CHECK_EQ(torc_file_read_at(f, in, BLOCK, (uint64_t)INT64_MAX + 1), -EINVAL);
    CHECK_EQ(torc_file_write_at(f, out, BLOCK, UINT64_MAX), -EINVAL);
}

static int transfers(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "buffered"), &new_buffered), 0);
    round_trip(&f);
    CHECK_EQ(torc_file_write_at(&f, "xyz", 3, 4095), 3); /* no alignment asked for */
    CHECK_EQ(torc_file_read_at(&f, in + 1, 3, 4095), 3);
    CHECK_EQ(memcmp(in + 1, "xyz", 3), 0);
    torc_file_close(&f);

    CHECK_EQ(torc_file_open(&f, test_path(dir, "direct"), &new_direct), 0);
    CHECK(f.is_direct);
    round_trip(&f);
    torc_file_close(&f);

    struct torc_file_options slot = new_direct;
    slot.fixed_slot = true;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "slot"), &slot), 0);
    CHECK(f.slot >= 0);
    round_trip(&f);
    torc_file_close(&f);
    return 0;
}
TEST(dma_file, reads_back_what_was_written)
{
    test_in_directories(transfers);
}

static int large_offset(void *arg)
{
    struct test_dir *dir = arg;
    const uint64_t far = UINT64_C(5) << 30;
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "sparse"), &new_direct), 0);
    CHECK_EQ(torc_file_write_at(&f, out, BLOCK, far), BLOCK);
    CHECK_EQ(torc_file_size(&f), far + BLOCK);
    CHECK_EQ(torc_file_read_at(&f, in, BLOCK, far), BLOCK);
    CHECK_EQ(memcmp(in, out, BLOCK), 0);
    CHECK_EQ(torc_file_read_at(&f, in, BLOCK, far - BLOCK), BLOCK);
    CHECK(in[0] == 0 && memcmp(in, in + 1, BLOCK - 1) == 0);
    torc_file_close(&f);
    return 0;
}
TEST(dma_file, offsets_have_64_bits)
{
    fill_pattern(3);
    test_in_directories(large_offset);
}

static int vectored(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct iovec pieces[3] = {
        {out + 8 * BLOCK, BLOCK}, {out, 2 * BLOCK}, {out + 20 * BLOCK, BLOCK}};
    for (int direct = 0; direct < 2; direct++) {
        fill_pattern(11);
        CHECK_EQ(torc_file_open(&f, test_path(dir, direct ? "d" : "b"),
                                direct ? &new_direct : &new_buffered),
                 0);
        CHECK_EQ(torc_file_writev_at(&f, pieces, 3, BLOCK), 4 * BLOCK);
        CHECK_EQ(torc_file_readv_at(&f, (struct iovec[]){{in + BLOCK, 3 * BLOCK}, {in, 2 * BLOCK}},
                                    2, BLOCK),
                 4 * BLOCK);
        CHECK_EQ(memcmp(in + BLOCK, out + 8 * BLOCK, BLOCK), 0);
        CHECK_EQ(memcmp(in + 2 * BLOCK, out, 2 * BLOCK), 0);
        CHECK_EQ(memcmp(in, out + 20 * BLOCK, BLOCK), 0);
        CHECK_EQ(torc_file_readv_at(&f, pieces, 1025, 0), -EINVAL);
        struct torc_transfer both = {.memory = in, .pieces = pieces, .piece_count = 1};
        CHECK_EQ(torc_file_read(&f, &both), -EINVAL);
        ssize_t unaligned = torc_file_readv_at(
            &f, (struct iovec[]){{in, BLOCK}, {in + BLOCK + 1, BLOCK}}, 2, BLOCK);
        CHECK_EQ(unaligned, direct ? -EINVAL : 2 * BLOCK);
        torc_file_close(&f);
    }
    return 0;
}
TEST(dma_file, vectors_are_read_and_written_in_order)
{
    test_in_directories(vectored);
}

static int fixed(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct torc_buffer_pool pool;
    struct torc_buffer *a, *b;
    for (int pinning = TORC_PIN_REQUIRED; pinning <= TORC_PIN_NEVER; pinning += TORC_PIN_NEVER) {
        CHECK_EQ(torc_buffer_pool_init(&pool,
                                       &(struct torc_buffer_pool_options){
                                           .total_bytes = 16 * BLOCK,
                                           .buffer_bytes = 4 * BLOCK,
                                           .pinning = (enum torc_buffer_pinning)pinning}),
                 0);
        CHECK_EQ(torc_buffer_try_get(&pool, 1, &a), 0);
        CHECK_EQ(torc_buffer_try_get(&pool, 1, &b), 0);
        CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &new_direct), 0);
        fill_pattern((unsigned)pinning + 17);
        memcpy(a->data, out, 4 * BLOCK);
        memset(b->data, 0, 4 * BLOCK);
        CHECK_EQ(torc_file_write_fixed(&f, a, BLOCK, 3 * BLOCK, 0), 3 * BLOCK);
        CHECK_EQ(torc_file_read_fixed(&f, b, 2 * BLOCK, 2 * BLOCK, BLOCK), 2 * BLOCK);
        CHECK_EQ(memcmp((char *)b->data + 2 * BLOCK, out + 2 * BLOCK, 2 * BLOCK), 0);
        CHECK_EQ(*(unsigned char *)b->data, 0);

        CHECK_EQ(torc_file_read_fixed(&f, b, BLOCK, 4 * BLOCK, 0), -EINVAL);
        CHECK_EQ(torc_file_read_fixed(&f, b, 5 * BLOCK, BLOCK, 0), -EINVAL);
        CHECK_EQ(torc_file_write_fixed(&f, b, SIZE_MAX - BLOCK + 1, BLOCK, 0), -EINVAL);
        struct torc_transfer elsewhere = {.memory = in, .size = BLOCK, .buffer = b};
        CHECK_EQ(torc_file_read(&f, &elsewhere), -EINVAL);
        torc_buffer_put(a);
        torc_buffer_put(b);
        torc_file_close(&f);
        torc_buffer_pool_deinit(&pool);
    }
    return 0;
}
TEST(dma_file, fixed_buffers_are_used_inside_their_bounds)
{
    test_in_directories(fixed);
}

static int flags(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct torc_file_options options = new_direct;
    options.write_flags = TORC_RW_DSYNC;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &options), 0);
    CHECK_EQ(torc_file_write_at(&f, out, 4 * BLOCK, 0), 4 * BLOCK);
    struct torc_transfer transfer = {
        .memory = out, .size = BLOCK, .offset = 0, .flags = TORC_RW_APPEND | TORC_RW_SYNC};
    CHECK_EQ(torc_file_write(&f, &transfer), BLOCK);
    CHECK_EQ(torc_file_size(&f), 5 * BLOCK);
    transfer.flags = 0x40000000; /* the kernel knows no such flag */
    CHECK_EQ(torc_file_write(&f, &transfer), -EOPNOTSUPP);
    transfer.flags = 0;
    CHECK_EQ(torc_file_read(&f, &(struct torc_transfer){.memory = in, .size = BLOCK}), BLOCK);
    torc_file_close(&f);
    return 0;
}
TEST(dma_file, flags_go_with_each_transfer)
{
    fill_pattern(5);
    test_in_directories(flags);
}

struct started {
    struct torc_op op;
    struct torc_batch *batch;
    int result;
};

static void count_started(struct torc_op *op, int result, uint32_t op_flags)
{
    struct started *s = TORC_CONTAINER_OF(op, struct started, op);
    (void)op_flags;
    s->result = result;
    torc_batch_done(s->batch);
}

static int starts(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct torc_batch batch;
    struct started s[8];
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &new_direct), 0);
    torc_batch_init(&batch);
    for (unsigned i = 0; i < 8; i++) {
        s[i].batch = &batch;
        CHECK_EQ(torc_file_start_write(&f,
                                       &(struct torc_transfer){.memory = out + i * BLOCK,
                                                               .size = BLOCK,
                                                               .offset = i * BLOCK,
                                                               .batch = &batch},
                                       &s[i].op, count_started),
                 0);
    }
    CHECK_EQ(torc_batch_wait(&batch, 8), 8);
    for (unsigned i = 0; i < 8; i++) {
        CHECK_EQ(s[i].result, BLOCK);
        CHECK_EQ(torc_file_start_read(&f,
                                      &(struct torc_transfer){.memory = in + i * BLOCK,
                                                              .size = BLOCK,
                                                              .offset = i * BLOCK,
                                                              .batch = &batch},
                                      &s[i].op, count_started),
                 0);
    }
    CHECK_EQ(torc_batch_wait(&batch, 8), 8);
    CHECK_EQ(memcmp(in, out, 8 * BLOCK), 0);
    CHECK_EQ(torc_file_start_read(&f, &(struct torc_transfer){.memory = in + 1, .size = BLOCK},
                                  &s[0].op, count_started),
             -EINVAL);
    torc_file_close(&f);
    return 0;
}
TEST(dma_file, transfers_can_be_started_without_a_task)
{
    fill_pattern(23);
    test_in_directories(starts);
}

/* ---- alignment and bounce ---- */

static int unaligned(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &new_direct), 0);
    CHECK(f.offset_align >= 512 && (f.offset_align & (f.offset_align - 1)) == 0);
    CHECK(f.memory_align >= 1 && f.memory_align <= f.offset_align);
    CHECK_EQ(torc_file_write_at(&f, out, BLOCK, 0), BLOCK);
    CHECK_EQ(torc_file_read_at(&f, in, f.offset_align, 0), f.offset_align);
    CHECK_EQ(torc_file_read_at(&f, in, BLOCK - 1, 0), -EINVAL);
    CHECK_EQ(torc_file_read_at(&f, in, BLOCK, 1), -EINVAL);
    if (f.memory_align > 1) {
        CHECK_EQ(torc_file_read_at(&f, in + 1, BLOCK, 0), -EINVAL);
        CHECK_EQ(torc_file_read_at(&f, in + f.memory_align, BLOCK, 0), BLOCK);
    }
    CHECK_EQ(torc_file_write_at(&f, out, 100, 0), -EINVAL);
    CHECK_EQ(torc_file_write_full_at(&f, out, 100, 0, NULL), -EINVAL);
    CHECK_EQ(STAT(bounce_reads), 0);
    torc_file_close(&f);
    return 0;
}
TEST(dma_file, unaligned_direct_transfers_are_refused)
{
    test_in_directories(unaligned);
}

static int bounces(void *arg)
{
    struct test_dir *dir = arg;
    const size_t size = sizeof out - 1000; /* ends inside a block */
    struct torc_file f;
    make_file(test_path(dir, "f"), size);
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"),
                            &(struct torc_file_options){
                                .direct = true, .bounce = true, .bounce_bytes = 2 * BLOCK}),
             0);
    static const struct {
        size_t memory, size;
        uint64_t offset;
    } reads[] = {
        {0, 1, 0},          {1, 1, 4095},        {3, 4096, 1},     {0, 8192, 4096},
        {5, 20000, 12345},  {1, 262144 - 99, 0}, {0, 100, 260000}, {7, 5000, 262144 - 1000 - 1},
        {0, 262144, 50000}, {2, 512, 511},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(reads); i++) {
        size_t want =
            reads[i].offset + reads[i].size <= size ? reads[i].size : size - reads[i].offset;
        memset(in, 0xee, sizeof in);
        CHECK_EQ(torc_file_read_full_at(&f, in + reads[i].memory, reads[i].size, reads[i].offset),
                 want);
        CHECK_EQ(memcmp(in + reads[i].memory, out + reads[i].offset, want), 0);
        for (size_t k = 0; k < reads[i].memory; k++)
            CHECK_EQ(in[k], 0xee);
        if (reads[i].memory + want < sizeof in)
            CHECK_EQ(in[reads[i].memory + want], 0xee);
    }
    CHECK_EQ(torc_file_read_at(&f, in, 10, size), 0);
    CHECK_EQ(torc_file_read_at(&f, in, 10, size + 100000), 0);
    CHECK(STAT(bounce_reads) >= 9);

    uint64_t before = STAT(bounce_reads);
    CHECK_EQ(torc_file_read_at(&f, in, BLOCK, BLOCK), BLOCK); /* aligned: not bounced */
    CHECK_EQ(STAT(bounce_reads), before);

    struct iovec pieces[] = {{in, 100}, {in + 5000, 9000}, {in + 20000, 1}};
    CHECK_EQ(torc_file_readv_at(&f, pieces, 3, 4000), 9101);
    CHECK_EQ(memcmp(in, out + 4000, 100), 0);
    CHECK_EQ(memcmp(in + 5000, out + 4100, 9000), 0);
    CHECK_EQ(in[20000], out[13100]);
    CHECK_EQ(torc_file_readv_at(&f, pieces, 3, size - 150), 150);
    torc_file_close(&f);

    struct torc_file_options writable = {.write = true, .direct = true, .bounce = true};
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &writable), 0);
    CHECK_EQ(torc_file_write_at(&f, out, 100, 0), -EINVAL);
    torc_file_close(&f);
    return 0;
}
TEST(dma_file, bounce_serves_any_offset_length_and_memory)
{
    fill_pattern(31);
    test_in_directories(bounces);
}

/* ---- full-length helpers ---- */

static int full_reads(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    const size_t size = 10 * BLOCK + 777;
    make_file(test_path(dir, "f"), size);
    for (int direct = 0; direct < 2; direct++) {
        CHECK_EQ(
            torc_file_open(&f, test_path(dir, "f"), &(struct torc_file_options){.direct = direct}),
            0);
        memset(in, 0, sizeof in);
        CHECK_EQ(torc_file_read_full_at(&f, in, 5 * BLOCK, 0), 5 * BLOCK);
        CHECK_EQ(torc_file_read_full_at(&f, in, sizeof in, 0), size);
        CHECK_EQ(memcmp(in, out, size), 0);
        CHECK_EQ(torc_file_read_full_at(&f, in, 4 * BLOCK, 8 * BLOCK), 2 * BLOCK + 777);
        CHECK_EQ(torc_file_read_full_at(&f, in, BLOCK, 11 * BLOCK), 0);
        torc_file_close(&f);
    }
    return 0;
}
TEST(dma_file, full_reads_end_at_the_end_of_the_file)
{
    fill_pattern(41);
    test_in_directories(full_reads);
}

static int file_size_limit(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct rlimit old;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (int direct = 0; direct < 2; direct++) {
        size_t written = 1;
        CHECK_EQ(torc_file_open(&f, test_path(dir, direct ? "d" : "b"),
                                direct ? &new_direct : &new_buffered),
                 0);
        CHECK_EQ(setrlimit(RLIMIT_FSIZE, &(struct rlimit){10 * BLOCK, old.rlim_max}), 0);
        CHECK_EQ(torc_file_write_full_at(&f, out, sizeof out, 0, &written), -EFBIG);
        CHECK_EQ(written, 10 * BLOCK);
        CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
        CHECK_EQ(torc_file_read_full_at(&f, in, sizeof in, 0), 10 * BLOCK);
        CHECK_EQ(memcmp(in, out, 10 * BLOCK), 0);
        CHECK_EQ(torc_file_write_full_at(&f, out, sizeof out, 0, &written), 0);
        CHECK_EQ(written, sizeof out);
        torc_file_close(&f);
    }
    CHECK(STAT(short_resumes) >= 2);
    return 0;
}
TEST(dma_file, full_writes_say_how_far_they_got)
{
    fill_pattern(43);
    test_in_directories(file_size_limit);
}

static int fills_the_disk(void *arg)
{
    struct test_dir *dir = arg;
    const size_t room = 32 * BLOCK;
    struct torc_file f;
    for (int direct = 0; direct < 2; direct++) {
        size_t written = 0;
        CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), direct ? &new_direct : &new_buffered), 0);
        CHECK_EQ(torc_file_write_full_at(&f, out, sizeof out, 0, &written), -ENOSPC);
        CHECK(written > room / 2 && written <= room);
        CHECK_EQ(torc_file_write_at(&f, out, BLOCK, sizeof out), -ENOSPC);
        CHECK_EQ(torc_file_allocate(&f, 0, 2 * room, false), -ENOSPC);
        CHECK_EQ(torc_file_truncate(&f, 0), 0);
        CHECK_EQ(torc_file_write_at(&f, out, BLOCK, 0), BLOCK);
        CHECK_EQ(torc_file_truncate(&f, 0), 0);
        torc_file_close(&f);
    }
    return 0;
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* A mount namespace of this process's own; with a user namespace where one must be root for that. */
static bool enter_namespace(void)
{
    char uid_map[32], gid_map[32];
    snprintf(uid_map, sizeof uid_map, "0 %u 1", getuid());
    snprintf(gid_map, sizeof gid_map, "0 %u 1", getgid());
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_text("/proc/self/setgroups", "deny") ||
         !write_text("/proc/self/uid_map", uid_map) || !write_text("/proc/self/gid_map", gid_map)))
        return false;
    /* or the mount would be seen outside */
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

TEST(dma_file, a_full_disk_is_reported_and_survived)
{
    struct test_dir dir;
    fill_pattern(47);
    if (!enter_namespace())
        TEST_SKIP("no namespace to mount a small file system in");
    test_dir_make(&dir, "/tmp");
    if (mount("none", dir.path, "tmpfs", 0, "size=128k,mode=0777") != 0) {
        rmdir(dir.path);
        TEST_SKIP("no mounting in a namespace");
    }
    CHECK_EQ(run_shard(NULL, fills_the_disk, &dir), 0);
    CHECK_EQ(umount(dir.path), 0);
    CHECK_EQ(rmdir(dir.path), 0);
}

/* ---- durability, space, attributes ---- */

static int meta(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file f;
    struct torc_file_info info;
    struct stat st;
    CHECK_EQ(torc_file_open(&f, test_path(dir, "f"), &new_buffered), 0);
    CHECK_EQ(torc_file_write_at(&f, out, 10 * BLOCK, 0), 10 * BLOCK);
    CHECK_EQ(torc_file_write_back(&f, 0, 4 * BLOCK), 0);
    CHECK_EQ(torc_file_write_back(&f, 0, 0), 0);
    CHECK_EQ(torc_file_write_back(&f, 0, UINT64_C(1) << 33), 0);
    CHECK_EQ(torc_file_write_back(&f, UINT64_MAX, 1), -EINVAL);
    CHECK_EQ(torc_file_fdatasync(&f), 0);
    CHECK_EQ(torc_file_fsync(&f), 0);

    CHECK_EQ(torc_file_allocate(&f, 0, 20 * BLOCK, true), 0);
    CHECK_EQ(torc_file_size(&f), 10 * BLOCK);
    CHECK_EQ(torc_file_stat(&f, &info), 0);
    CHECK(info.allocated_bytes >= 20 * BLOCK);
    CHECK_EQ(torc_file_allocate(&f, 0, 20 * BLOCK, false), 0);
    CHECK_EQ(torc_file_size(&f), 20 * BLOCK);
    CHECK_EQ(torc_file_allocate(&f, 0, 0, false), -EINVAL);
    CHECK_EQ(torc_file_allocate(&f, INT64_MAX, 2, false), -EINVAL);

    CHECK_EQ(torc_file_punch(&f, 2 * BLOCK, 3 * BLOCK), 0);
    CHECK_EQ(torc_file_size(&f), 20 * BLOCK);
    CHECK_EQ(torc_file_read_at(&f, in, 6 * BLOCK, BLOCK), 6 * BLOCK);
    CHECK_EQ(memcmp(in, out + BLOCK, BLOCK), 0);
    CHECK(in[BLOCK] == 0 && memcmp(in + BLOCK, in + BLOCK + 1, 3 * BLOCK - 1) == 0);
    CHECK_EQ(memcmp(in + 4 * BLOCK, out + 5 * BLOCK, 2 * BLOCK), 0);

    CHECK_EQ(torc_file_truncate(&f, 3), 0);
    CHECK_EQ(torc_file_size(&f), 3);
    CHECK_EQ(torc_file_truncate(&f, UINT64_MAX), -EINVAL);

    CHECK_EQ(torc_file_stat(&f, &info), 0);
    CHECK_EQ(fstat(f.fd, &st), 0);
    CHECK_EQ(info.inode, st.st_ino);
    CHECK_EQ(info.mode, st.st_mode);
    CHECK_EQ(info.links, 1);
    CHECK_EQ(info.user, st.st_uid);
    CHECK_EQ(info.modified_ns, st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
    CHECK_EQ(info.changed_ns, st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
    CHECK_EQ(info.block_bytes, st.st_blksize);

    CHECK_EQ(torc_file_advise(&f, 0, 0, TORC_ADVICE_SEQUENTIAL), 0);
    CHECK_EQ(torc_file_advise(&f, 0, BLOCK, TORC_ADVICE_WILL_NEED), 0);
    CHECK_EQ(torc_file_advise(&f, 0, UINT64_C(1) << 33, TORC_ADVICE_DONT_NEED), 0);
    CHECK_EQ(torc_file_advise(&f, 0, 0, (enum torc_advice)99), -EINVAL);
    CHECK_EQ(torc_file_set_lifetime(&f, TORC_LIFETIME_SHORT), 0);
    uint64_t lifetime = 0;
    CHECK_EQ(fcntl(f.fd, F_GET_RW_HINT, &lifetime), 0);
    CHECK_EQ(lifetime, TORC_LIFETIME_SHORT);
    CHECK_EQ(torc_file_set_lifetime(&f, (enum torc_lifetime)77), -EINVAL);
    torc_file_close(&f);

    CHECK_EQ(torc_file_stat_path(NULL, test_path(dir, "f"), &info), 0);
    CHECK_EQ(info.size_bytes, 3);
    CHECK_EQ(torc_file_stat_path(NULL, test_path(dir, "absent"), &info), -ENOENT);
    return 0;
}
TEST(dma_file, space_size_and_attributes)
{
    fill_pattern(53);
    test_in_directories(meta);
}

static int copies(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file from, to;
    make_file(test_path(dir, "from"), sizeof out);
    CHECK_EQ(torc_file_open(&from, test_path(dir, "from"), NULL), 0);
    CHECK_EQ(torc_file_open(&to, test_path(dir, "to"), &new_buffered), 0);
    CHECK_EQ(torc_file_copy(&from, 1000, &to, 500, 10000), 10000);
    CHECK_EQ(torc_file_size(&to), 10500);
    CHECK_EQ(torc_file_read_full_at(&to, in, sizeof in, 500), 10000);
    CHECK_EQ(memcmp(in, out + 1000, 10000), 0);
    CHECK_EQ(torc_file_copy(&from, sizeof out - 10, &to, 0, 1 << 30), 10);
    CHECK_EQ(torc_file_copy(&from, sizeof out, &to, 0, 100), 0);
    CHECK_EQ(torc_file_copy(&to, 0, &from, 0, 100), -EBADF);
    CHECK_EQ(torc_file_truncate(&to, 0), 0);
    CHECK_EQ(truncate(test_path(dir, "from"), 40 << 20), 0); /* several turns of the pool */
    CHECK_EQ(torc_file_copy(&from, 0, &to, 0, 40 << 20), 40 << 20);
    CHECK_EQ(torc_file_size(&to), 40 << 20);
    CHECK_EQ(torc_file_copy(&to, 0, &to, 10, 100), -EINVAL);
    CHECK_EQ(torc_file_copy(&from, UINT64_MAX, &to, 10, 100), -EINVAL);
    torc_file_close(&from);
    torc_file_close(&to);
    return 0;
}
TEST(dma_file, copy_stays_inside_the_kernel)
{
    fill_pattern(59);
    test_in_directories(copies);
}

/* ---- names ---- */

static int names(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_directory d;
    struct torc_file f;
    struct torc_file_info info;
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    make_file(test_path(dir, "a"), 5);
    CHECK_EQ(torc_file_rename(&d, "a", &d, "b", 0), 0);
    CHECK_EQ(torc_file_rename(&d, "a", &d, "b", 0), -ENOENT);
    make_file(test_path(dir, "a"), 9);
    CHECK_EQ(torc_file_rename(&d, "a", &d, "b", TORC_RENAME_NO_REPLACE), -EEXIST);
    CHECK_EQ(torc_file_rename(&d, "a", NULL, test_path(dir, "b"), TORC_RENAME_EXCHANGE), 0);
    CHECK_EQ(torc_file_stat_path(&d, "b", &info), 0);
    CHECK_EQ(info.size_bytes, 9);

    CHECK_EQ(torc_file_link(&d, "b", &d, "c"), 0);
    CHECK_EQ(torc_file_link(&d, "b", &d, "c"), -EEXIST);
    CHECK_EQ(torc_file_stat_path(&d, "c", &info), 0);
    CHECK_EQ(info.links, 2);
    CHECK_EQ(torc_file_symlink("c", &d, "s"), 0);
    CHECK_EQ(torc_file_stat_path(&d, "s", &info), 0);
    CHECK_EQ(info.mode & S_IFMT, S_IFLNK);

    CHECK_EQ(torc_file_open(
                 &f, ".", &(struct torc_file_options){.write = true, .temporary = true, .at = &d}),
             0);
    CHECK_EQ(torc_file_write_at(&f, "born", 4, 0), 4);
    CHECK_EQ(torc_file_link_open(&f, &d, "named"), 0);
    CHECK_EQ(torc_file_link_open(&f, &d, "no/such"), -ENOENT);
    torc_file_close(&f);
    CHECK_EQ(torc_file_stat_path(&d, "named", &info), 0);
    CHECK_EQ(info.size_bytes, 4);

    CHECK_EQ(torc_file_unlink(&d, "c"), 0);
    CHECK_EQ(torc_file_unlink(&d, "c"), -ENOENT);
    CHECK_EQ(torc_file_unlink(NULL, dir->path), -EISDIR);
    CHECK_EQ(torc_directory_sync(&d), 0);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_file, names_come_move_and_go)
{
    test_in_directories(names);
}

/* ---- locks ---- */

static int locks(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_file a, b, reader;
    CHECK_EQ(torc_file_open(&a, test_path(dir, "f"), &new_buffered), 0);
    CHECK_EQ(torc_file_open(&b, test_path(dir, "f"), &new_buffered), 0);
    CHECK_EQ(torc_file_open(&reader, test_path(dir, "f"), NULL), 0);
    const struct torc_file_lock low = {.offset = 0, .size = 10, .exclusive = true},
                                high = {.offset = 10, .size = 0, .exclusive = true},
                                low_shared = {.offset = 0, .size = 10};
    CHECK_EQ(torc_file_try_lock(&a, &low), 0);
    CHECK_EQ(torc_file_try_lock(&b, &low), -EAGAIN);
    CHECK_EQ(torc_file_try_lock(&b, NULL), -EAGAIN);
    CHECK_EQ(torc_file_try_lock(&b, &low_shared), -EAGAIN);
    CHECK_EQ(torc_file_try_lock(&b, &high), 0);
    CHECK_EQ(torc_file_lock(&a, &low_shared), 0); /* lowers its own */
    CHECK_EQ(torc_file_try_lock(&b, &low_shared), 0);
    CHECK_EQ(torc_file_try_lock(&reader, &low_shared), 0);
    CHECK_EQ(torc_file_try_lock(&reader, &low), -EBADF);
    CHECK_EQ(torc_file_unlock(&reader, NULL), 0);
    CHECK_EQ(torc_file_unlock(&a, NULL), 0);
    CHECK_EQ(torc_file_try_lock(&b, &low), 0);
    CHECK_EQ(torc_file_try_lock(&a, &low), -EAGAIN);
    torc_file_close(&b); /* releases */
    CHECK_EQ(torc_file_try_lock(&a, NULL), 0);
    CHECK_EQ(torc_file_try_lock(&a, &(struct torc_file_lock){.offset = UINT64_MAX}), -EINVAL);
    torc_file_close(&a);
    torc_file_close(&reader);
    return 0;
}
TEST(dma_file, locks_exclude_two_opens_of_one_process)
{
    test_in_directories(locks);
}
