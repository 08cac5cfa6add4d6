/* SPDX-License-Identifier: MIT
 *
 * A directory for a test's files, on a disk and on tmpfs, and a way to run a test's body in a task that leaves no
 * descriptor behind. The including file defines _GNU_SOURCE.
 */
#ifndef TORC_TESTS_DMA_DIR_H
#define TORC_TESTS_DMA_DIR_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "io/run.h"

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

static inline int test_run_body(void *arg)
{
    struct test_body *body = arg;
    int before = test_open_descriptors();
    int result = body->fn(body->dir);
    CHECK_EQ(test_open_descriptors(), before);
    return result;
}

/* Runs BODY(directory) as the first task, once in a directory of PARENT. */
static inline void test_in_directory(const struct torc_config *config, torc_task_fn *body,
                                     const char *parent)
{
    struct test_dir dir;
    test_dir_make(&dir, parent);
    CHECK_EQ(torc_run(config, test_run_body, &(struct test_body){body, &dir}), 0);
    test_dir_remove(&dir);
}

/* On a disk, and on tmpfs where there is one. */
static inline void test_in_directories(torc_task_fn *body)
{
    test_in_directory(NULL, body, test_disk());
    if (access("/dev/shm", W_OK) == 0)
        test_in_directory(NULL, body, "/dev/shm");
}

#endif
