/* SPDX-License-Identifier: MIT
 *
 * 128 tasks read one file in parallel, 4 KiB each, spread over the whole of it, past the page cache. A task for every
 * read, plain blocking code in each, and the disk has all of them at once. Without an argument it reads itself.
 *
 * Run: build/examples/readers README.md
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

static bool direct = true;
static struct torc_file f;
static _Alignas(4096) char blocks[128][4096];
static struct job {
    struct torc_file *file;
    char *buf;
    uint64_t offset;
} jobs[128];

static int read_one(void *arg)
{
    struct job *j = arg;
    return (int)torc_file_read_at(j->file, j->buf, 4096, j->offset); // bytes or a negative errno
}

static int app(void *path)
{
    struct torc_scope all;
    int err = torc_file_open(&f, path, &(struct torc_file_options){.direct = direct});
    if (err)
        return err;
    torc_scope_init(&all);
    for (int i = 0; i < 128 && !err; i++)
        err = torc_spawn(&all, read_one, &jobs[i]);
    int failed = torc_scope_join(&all); // every task has ended; the first failure, if any
    torc_file_close(&f);
    return err ? err : failed;
}

static int timed(void *path)
{
    int err = torc_file_open(&f, path, NULL);
    if (err)
        return err;
    int64_t size = torc_file_size(&f);
    torc_file_close(&f);
    if (size < 0)
        return (int)size;
    for (unsigned i = 0; i < 128; i++)
        jobs[i] = (struct job){&f, blocks[i], (uint64_t)size / 128 / 4096 * 4096 * i};
    uint64_t start = torc_now_ns();
    err = app(path);
    if (err == -EOPNOTSUPP) { // this file system knows no direct I/O
        direct = false;
        err = app(path);
    }
    if (!err)
        printf("128 reads, %s: %.2f ms from open to close\n", direct ? "direct" : "buffered",
               (double)(torc_now_ns() - start) / 1e6);
    return err;
}

int main(int argc, char **argv)
{
    char *path = argc > 1 ? argv[1] : argv[0];
    const struct torc_config one = {.shards = 1};
    int err = torc_run(&one, timed, path);
    if (err)
        fprintf(stderr, "readers: %s: %s\n", path, strerror(-err));
    return err ? 1 : 0;
}
