/* SPDX-License-Identifier: MIT
 *
 * The shards' blocks, and the file that lets others watch them: its name, its lock, its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <torc.h>
#include <unistd.h>

#include "shard/watch_internal.h"
#include "tests/fault_kernel.h"

static char directory[64], path[96];

/* A directory of the test's own, and the name of a file in it. */
static void make_path(void)
{
    snprintf(directory, sizeof directory, "/dev/shm/torc-test-XXXXXX");
    if (!mkdtemp(directory)) {
        snprintf(directory, sizeof directory, "./torc-test-XXXXXX");
        CHECK(mkdtemp(directory) != NULL);
    }
    snprintf(path, sizeof path, "%s/counters", directory);
}

/* Nothing may be left in it. */
static void remove_directory(void)
{
    CHECK_EQ(rmdir(directory), 0);
}

static bool exists(const char *name)
{
    struct stat stat_;
    return !lstat(name, &stat_);
}

static void write_file(const char *name, const char *text, size_t size)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, size), size);
    close(fd);
}

/* The file as another process would map it. */
struct view {
    const void *memory;
    size_t size;
    struct torc_counter_set set;
};

static int view_open(struct view *view, const char *name)
{
    struct stat stat_;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(fstat(fd, &stat_), 0);
    CHECK_EQ(stat_.st_mode & 0777, 0600);
    view->size = (size_t)stat_.st_size;
    view->memory = mmap(NULL, view->size, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(view->memory != MAP_FAILED);
    close(fd);
    return torc_counters_attach(&view->set, view->memory, view->size);
}

static uint64_t read_named(const struct torc_counter_set *set, uint32_t shard, const char *name)
{
    int counter = torc_counter_find(set, name);
    CHECK(counter >= 0);
    return torc_counter_read(set, shard, (uint32_t)counter);
}

/* ---- each shard its block ---- */

enum { SHARDS = 3 };

static int write_own_block(void *arg)
{
    (void)arg;
    uint32_t id = torc_shard_id();
    CHECK_EQ(torc_counter_shards(NULL), SHARDS);
    for (uint32_t i = 0; i <= id; i++)
        CHECK_EQ(torc_sleep(10), 0);
    CHECK_EQ(read_named(NULL, id, "task_live"), 1);
    CHECK(read_named(NULL, id, "loop_turns") > id);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SHARDS; i++)
        sum += read_named(NULL, i, "task_spawned");
    CHECK(sum <= read_named(NULL, TORC_ALL_SHARDS, "task_spawned"));
    return 0;
}

TEST(shard_counters, each_shard_writes_a_block_of_its_own)
{
    CHECK_EQ(torc_run(&(struct torc_config){.shards = SHARDS}, write_own_block, NULL), 0);
}

/* ---- what io and dma count ---- */

static uint64_t own(const char *name)
{
    return read_named(NULL, torc_shard_id(), name);
}

static int send_nops(void *arg)
{
    (void)arg;
    enum { NOPS = 20 };
    uint64_t enters = own("ring_enters"), sqes = own("ring_sqes"), cqes = own("ring_cqes");
    uint64_t parks = own("park_turns");
    for (unsigned i = 0; i < NOPS; i++) {
        struct torc_op op;
        struct io_uring_sqe *sqe;
        CHECK_EQ(torc_op_begin(&op, &sqe), 0);
        io_uring_prep_nop(sqe);
        CHECK_EQ(torc_op_wait(&op), 0);
    }
    CHECK(own("ring_enters") >= enters + NOPS);
    CHECK_EQ(own("ring_sqes"), sqes + NOPS);
    CHECK_EQ(own("ring_cqes"), cqes + NOPS);
    CHECK_EQ(own("park_turns"), parks + NOPS);
    CHECK(own("park_ns") > 0);
    CHECK_EQ(own("spin_turns"), 0);
    return 0;
}

TEST(shard_counters, ring_counts_what_goes_in_and_out)
{
    struct torc_config config = {.shards = 1, .keep_signals = true};
    CHECK_EQ(torc_run(&config, send_nops, NULL), 0);
}

static int spin_and_park(void *arg)
{
    (void)arg;
    /* A stalled machine may find the timer due at once: then once more. */
    uint64_t parks = own("park_turns");
    while (own("park_turns") == parks)
        CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    CHECK(own("spin_turns") > 0);
    CHECK(own("spin_ns") >= 100 * TORC_US); /* all of the time, since it slept afterwards */
    CHECK(own("park_ns") > 0);
    return 0;
}

TEST(shard_counters, spinning_and_sleeping_are_told_apart)
{
    struct torc_config config = {.shards = 1, .keep_signals = true, .spin_ns = 100 * TORC_US};
    CHECK_EQ(torc_run(&config, spin_and_park, NULL), 0);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int stall(void *arg)
{
    (void)arg;
    CHECK_EQ(torc_blocking(nothing, NULL), 0);
    CHECK_EQ(torc_blocking(nothing, NULL), 0);
    CHECK_EQ(own("blocking_jobs"), 2);
    while (!own("stall_reports"))
        ; /* uses CPU time until it is reported */
    return 0;
}

TEST(shard_counters, stalls_and_blocking_jobs_are_counted)
{
    struct fault_kernel fault; /* keeps the line */
    fault_kernel_init(&fault);
    struct torc_config config = {.shards = 1, .stall_ns = TORC_MS, .kernel = &fault.kernel};
    CHECK_EQ(torc_run(&config, stall, NULL), 0);
}

static struct torc_batch batch;

static void started_done(struct torc_op *op, int result, uint32_t flags)
{
    (void)op;
    (void)flags;
    CHECK_EQ(result, 20000);
    torc_batch_done(&batch);
}

static int transfer(void *arg)
{
    (void)arg;
    static char memory[20000];
    struct torc_file file;
    struct torc_file_options options = {.write = true, .create = true};
    struct iovec pieces[2] = {{memory, 3000}, {memory, 3000}};
    CHECK_EQ(torc_file_open(&file, path, &options), 0);
    CHECK_EQ(torc_file_write_at(&file, memory, 20000, 0), 20000);
    CHECK_EQ(torc_file_write_at(&file, memory, 4096, 0), 4096);
    CHECK_EQ(torc_file_readv_at(&file, pieces, 2, 0), 6000);
    struct torc_op op;
    struct torc_transfer whole = {.memory = memory, .size = sizeof memory, .batch = &batch};
    torc_batch_init(&batch);
    for (unsigned i = 0; i < 9; i++) { /* the first and the last are timed */
        CHECK_EQ(torc_file_start_read(&file, &whole, &op, started_done), 0);
        CHECK_EQ(torc_batch_wait(&batch, 1), 1);
    }
    CHECK_EQ(torc_file_fdatasync(&file), 0);
    torc_file_close(&file);
    CHECK_EQ(own("dma_writes_4k"), 1);
    CHECK_EQ(own("dma_write_bytes_4k"), 4096);
    CHECK_EQ(own("dma_writes_64k"), 1);
    CHECK_EQ(own("dma_write_bytes_64k"), 20000);
    CHECK_EQ(own("dma_write_ns"), 2);
    CHECK_EQ(own("dma_reads_16k"), 1);
    CHECK_EQ(own("dma_read_bytes_16k"), 6000);
    CHECK_EQ(own("dma_reads_64k"), 9);
    CHECK_EQ(own("dma_read_ns"), 1 + 2 * 8); /* the task's, and two that stand for eight each */
    CHECK_EQ(own("dma_syncs"), 1);
    CHECK_EQ(own("dma_sync_ns"), 1);
    return 0;
}

TEST(shard_counters, transfers_are_counted_by_size_and_direction)
{
    make_path();
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 1}, transfer, NULL), 0);
    CHECK_EQ(unlink(path), 0);
    remove_directory();
}

/* ---- a reader that is no shard ---- */

static void *read_until_told(void *arg)
{
    const struct torc_counter_set *set = *(const struct torc_counter_set **)arg;
    uint64_t last = 0;
    while (last < 200) {
        uint64_t turns = read_named(set, TORC_ALL_SHARDS, "loop_turns");
        CHECK(turns >= last);
        last = turns;
    }
    return NULL;
}

static int run_until_read(void *arg)
{
    pthread_t thread;
    const struct torc_counter_set *set = torc_counters();
    CHECK_EQ(pthread_create(&thread, NULL, read_until_told, &set), 0);
    while (read_named(NULL, TORC_ALL_SHARDS, "loop_turns") < 200)
        CHECK_EQ(torc_sleep(1000), 0);
    pthread_join(thread, NULL);
    (void)arg;
    return 0;
}

TEST(shard_counters, foreign_thread_reads_while_shards_count)
{
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 2}, run_until_read, NULL), 0);
}

/* ---- the file ---- */

static int look_at_file(void *arg)
{
    (void)arg;
    struct view view;
    CHECK_EQ(view_open(&view, path), 0);
    const struct torc_counter_file *file = view.memory;
    CHECK_EQ(file->pid, getpid());
    char program[TORC_COUNTER_PROGRAM_BYTES] = {
        0}; /* the test runner's worker may have another name */
    int fd = open("/proc/self/cmdline", O_RDONLY);
    CHECK(fd >= 0 && read(fd, program, sizeof program - 1) >= 0);
    close(fd);
    CHECK(!strncmp(file->program, program, strlen(program)));
    CHECK(file->program[0]);
    CHECK_EQ(torc_counter_count(&view.set), torc_counter_count(NULL));
    CHECK_EQ(torc_counter_shards(&view.set), torc_shard_count());
    for (uint32_t i = 0; i < torc_counter_count(NULL); i++)
        CHECK(!memcmp(torc_counter_info(&view.set, i), torc_counter_info(NULL, i),
                      sizeof(struct torc_counter_info)));
    uint64_t before = read_named(&view.set, torc_shard_id(), "loop_turns");
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK(read_named(&view.set, torc_shard_id(), "loop_turns") > before);
    munmap((void *)(uintptr_t)view.memory, view.size);
    return 0;
}

TEST(shard_counters, file_holds_the_schema_and_is_gone_at_the_end)
{
    make_path();
    CHECK_EQ(torc_run(&(struct torc_config){.shards = 2, .counters = path}, look_at_file, NULL), 0);
    remove_directory();
}

static void auto_path(char *name, size_t size, unsigned n)
{
    int length =
        snprintf(name, size, "/dev/shm/torc.%u.%u", (unsigned)getuid(), (unsigned)getpid());
    if (n > 1)
        snprintf(name + length, size - (size_t)length, ".%u", n);
}

TEST(shard_counters, auto_names_are_counted_up_within_a_process)
{
    struct torci_counters_file first, second;
    const struct torci_kernel *kernel = torci_kernel_linux_get();
    char name[64];
    if (access("/dev/shm", W_OK))
        TEST_SKIP("no /dev/shm");
    CHECK_EQ(torci_counters_open(kernel, "auto", 1, &first), 0);
    auto_path(name, sizeof name, 1);
    CHECK_STR(first.path, name);
    CHECK_EQ(torci_counters_open(kernel, "1", 1, &second), 0);
    auto_path(name, sizeof name, 2);
    CHECK_STR(second.path, name);
    torci_counters_close(&first);
    CHECK(!exists(first.path));
    CHECK(exists(second.path));
    torci_counters_close(&second);
    CHECK(!exists(second.path));
}

TEST(shard_counters, file_of_a_dead_process_is_replaced)
{
    make_path();
    struct torci_counters_file file;
    const struct torci_kernel *kernel = torci_kernel_linux_get();
    pid_t child = fork();
    if (!child) /* ends without closing, as a crash would */
        _exit(torci_counters_open(kernel, path, 4, &file) ? 1 : 0);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    CHECK(exists(path));
    CHECK_EQ(torci_counters_open(kernel, path, 2, &file), 0);
    struct view view;
    CHECK_EQ(view_open(&view, path), 0);
    CHECK_EQ(torc_counter_shards(&view.set), 2);
    torci_counters_close(&file);
    /* and one that died before it had written anything */
    write_file(path, "", 0);
    CHECK_EQ(torci_counters_open(kernel, path, 2, &file), 0);
    torci_counters_close(&file);
    remove_directory();
}

/* What torc_run says and returns for WHERE. */
static void check_refused(const char *where, int wanted, const char *line)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    struct torci_counters_file file;
    CHECK_EQ(torci_counters_open(&fault.kernel, where, 1, &file), wanted);
    CHECK_EQ(fault.lines, 1);
    CHECK(strstr(fault.line[0], line) != NULL);
    fault_kernel_check_clean(&fault);
}

TEST(shard_counters, what_is_in_the_way_is_left_alone)
{
    make_path();
    struct torci_counters_file file;
    CHECK_EQ(torci_counters_open(torci_kernel_linux_get(), path, 1, &file), 0);
    check_refused(path, -EBUSY, "another process");
    CHECK(exists(path));
    torci_counters_close(&file);
    write_file(path, "precious data", 13);
    check_refused(path, -EEXIST, "no file of counters");
    CHECK(exists(path));
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(symlink("elsewhere", path), 0);
    check_refused(path, -EEXIST, "no file of counters");
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(mkdir(path, 0700), 0);
    check_refused(path, -EEXIST, "no file of counters");
    CHECK_EQ(rmdir(path), 0);
    remove_directory();
    check_refused(path, -ENOENT, "can't be made");
    check_refused("yes", -EINVAL, "neither");
}

TEST(shard_counters, off_makes_no_file)
{
    static const char *const off[] = {NULL, "", "0"};
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(off); i++) {
        struct torci_counters_file file;
        CHECK_EQ(torci_counters_open(torci_kernel_linux_get(), off[i], 64, &file), 0);
        CHECK(file.fd < 0);
        CHECK_EQ((uintptr_t)torci_counters_of(&file, 63) % 64, 0);
        torci_counters_close(&file);
    }
}

TEST(shard_counters, no_failure_leaves_a_file)
{
    make_path();
    for (long n = 0;; n++) {
        struct fault_kernel fault;
        struct torci_counters_file file;
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_CALL;
        fault.fail_errno = ENOSPC;
        fault.fail_nth = n;
        int err = torci_counters_open(&fault.kernel, path, 2, &file);
        bool failed = fault.failed;
        fault.fail_kinds = 0;
        if (err) {
            CHECK(failed);
            CHECK_EQ(fault.lines, 1);
        } else {
            torci_counters_close(&file);
        }
        CHECK(!exists(path));
        if (!failed)
            break;
    }
    remove_directory();
}
