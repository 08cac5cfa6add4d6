/* SPDX-License-Identifier: MIT
 *
 * A directory for a test's files, on a disk and on tmpfs, and a way to run a test's body in a task that leaves no
 * descriptor behind.
 */
#ifndef TORC_TESTS_DMA_DIR_H
#define TORC_TESTS_DMA_DIR_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/abi_internal.h"
#include "io/blocking.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

struct test_dir {
    char path[128];
};

static inline int test_dir_remove_one(const char *path, const struct stat *st, int type,
                                      struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void test_dir_remove(struct test_dir *dir)
{
    CHECK_EQ(nftw(dir->path, test_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void test_dir_make(struct test_dir *dir, const char *parent)
{
    memset(dir, 0, sizeof *dir);
    CHECK((size_t)snprintf(dir->path, sizeof dir->path, "%s/torc-test-XXXXXX", parent) <
          sizeof dir->path);
    CHECK(mkdtemp(dir->path) != NULL);
}

/* NAME inside the directory; good for three more calls. */
static inline const char *test_path(const struct test_dir *dir, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir->path, name);
    return path;
}

/* A place on a real file system: /tmp is often tmpfs. */
static inline const char *test_disk(void)
{
    const char *chosen = getenv("TORC_TEST_DIR");
    return chosen ? chosen : "/var/tmp";
}

static inline int test_open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int count = 0;
    CHECK(d != NULL);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

struct test_body {
    torc_task_fn *fn;
    struct test_dir *dir;
};

static inline int test_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static inline int test_run_body(void *arg)
{
    struct test_body *body = arg;
    /* the pool's first job makes the executor's eventfd, which stays */
    CHECK_EQ(torc_blocking(test_nothing, NULL), 0);
    int before = test_open_descriptors();
    int result = body->fn(body->dir);
    CHECK_EQ(test_open_descriptors(), before);
    return result;
}

/* Runs BODY(directory) as the first task by RUN, once in a directory of PARENT. KERNEL may be NULL. */
static inline void test_in_directory_by(run_fn *run, const struct torci_kernel *kernel,
                                        torc_task_fn *body, const char *parent)
{
    /* the tests themselves make plain system calls that may sleep */
    struct torc_config config = {.kernel = kernel, .no_stall_report = true};
    struct test_dir dir;
    test_dir_make(&dir, parent);
    CHECK_EQ(run(&config, test_run_body, &(struct test_body){body, &dir}), 0);
    test_dir_remove(&dir);
}

static inline void test_in_directory(const struct torci_kernel *kernel, torc_task_fn *body,
                                     const char *parent)
{
    test_in_directory_by(run_shard, kernel, body, parent);
}

/* A ring that knows reading and writing and no other operation on files. */
static inline int test_register_few_ops(void *context, int ring, unsigned opcode, void *arg,
                                        unsigned count)
{
    int result = fault_ring_register(context, ring, opcode, arg, count);
    if ((opcode & INT32_MAX) != IORING_REGISTER_PROBE || result < 0)
        return result;
    struct io_uring_probe *probe = arg;
    static const uint8_t missing[] = {
        IORING_OP_OPENAT,          IORING_OP_CLOSE,     IORING_OP_STATX,    IORING_OP_FSYNC,
        IORING_OP_SYNC_FILE_RANGE, IORING_OP_FALLOCATE, TORCI_OP_FTRUNCATE, IORING_OP_FADVISE,
        IORING_OP_RENAMEAT,        IORING_OP_UNLINKAT,  IORING_OP_MKDIRAT,  IORING_OP_SYMLINKAT,
        IORING_OP_LINKAT};
    for (size_t i = 0; i < sizeof missing; i++)
        probe->ops[missing[i]].flags = 0;
    return result;
}

/* On a disk; on tmpfs where there is one; and with a ring that leaves most of it to the blocking pool. */
static inline void test_in_directories(torc_task_fn *body)
{
    struct fault_kernel fault;
    test_in_directory(NULL, body, test_disk());
    if (access("/dev/shm", W_OK) == 0)
        test_in_directory(NULL, body, "/dev/shm");
    fault_kernel_init(&fault);
    fault.kernel.ring_register = test_register_few_ops;
    test_in_directory(&fault.kernel, body, test_disk());
    fault_kernel_check_clean(&fault);
}

#endif
