/* SPDX-License-Identifier: MIT
 *
 * Makes regular files as long as the jobs need, as fio does: what is going to be read is written with data that does
 * not compress, so that reads reach the disk; for jobs that only write, space is reserved. What a file holds already
 * stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "apps/torc/plan.h"

enum {
    LAYOUT_BLOCK = 1 << 20,
    EXTENTS_A_CALL = 128,
};

static int write_all(int fd, const char *data, size_t length, uint64_t offset)
{
    while (length) {
        ssize_t wrote = pwrite(fd, data, length, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote ? -errno : -EIO;
        data += wrote;
        offset += (uint64_t)wrote;
        length -= (size_t)wrote;
    }
    return 0;
}

static bool is_interrupted(void)
{
    sigset_t pending;
    return !sigpending(&pending) &&
           (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}

static int fill(int fd, uint64_t from, uint64_t to)
{
    uint64_t *words = malloc(LAYOUT_BLOCK), state = from ^ to;
    int err = words ? 0 : -ENOMEM;
    while (!err && from < to) {
        for (size_t i = 0; i < LAYOUT_BLOCK / sizeof(*words); i++)
            words[i] = bench_random(&state);
        size_t length = to - from < LAYOUT_BLOCK ? (size_t)(to - from) : LAYOUT_BLOCK;
        err = is_interrupted() ? -EINTR : write_all(fd, (const char *)words, length, from);
        from += length;
    }
    free(words);
    return err;
}

static int reserve(int fd, uint64_t from, uint64_t to)
{
    if (!fallocate(fd, 0, (off_t)from, (off_t)(to - from)))
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return -errno;
    return ftruncate(fd, (off_t)to) ? -errno : 0;
}

static int fail_extend(struct bench_spec *spec, const struct bench_target *target, int err)
{
    if (err == -EINTR)
        return bench_fail(spec, err, "interrupted while %s was laid out", target->path);
    if (err == -ENOSPC)
        return bench_fail(spec, err, "%s: no space left: lower size, or name a file elsewhere",
                          target->path);
    if (err == -EFBIG)
        return bench_fail(spec, err,
                          "%s: %" PRIu64
                          " bytes are more than the file system or the limit on file "
                          "sizes (ulimit -f) allows: lower size",
                          target->path, target->needed_bytes);
    return bench_fail(spec, err, "%s can't be extended: %s", target->path, strerror(-err));
}

/* To find out by filling the disk would take long, and leave others without space meanwhile. */
static int check_space(struct bench_spec *spec, const struct bench_target *target, int fd)
{
    struct statvfs fs;
    uint64_t more = target->needed_bytes - target->size_bytes;
    if (fstatvfs(fd, &fs) || !fs.f_blocks || !fs.f_frsize || more / fs.f_frsize < fs.f_bfree)
        return 0;
    return bench_fail(spec, -ENOSPC,
                      "%s: no space left: it needs %" PRIu64
                      " MiB more, the file system has %" PRIu64
                      " MiB: lower size, or name a file elsewhere",
                      target->path, (more >> 20) + 1, (uint64_t)fs.f_bfree * fs.f_frsize >> 20);
}

static int extend(struct bench_spec *spec, struct bench_target *target, int fd)
{
    int err = check_space(spec, target, fd);
    if (err)
        return err;
    fprintf(stderr, "%s: Laying out IO file (1 file / %" PRIu64 "MiB)\n", target->first_job,
            target->needed_bytes >> 20);
    target->extended = true;
    err = (target->wants_data ? fill : reserve)(fd, target->size_bytes, target->needed_bytes);
    if (!err && fsync(fd))
        err = -errno;
    return err ? fail_extend(spec, target, err) : 0;
}

static int fail_create(struct bench_spec *spec, const struct bench_target *target, int err)
{
    const char *slash = strrchr(target->path, '/');
    if (err == -ENOENT && slash)
        return bench_fail(spec, err, "%s can't be created: make the directory %.*s first",
                          target->path, (int)(slash - target->path + (slash == target->path)),
                          target->path);
    return bench_fail(spec, err, "%s can't be %s: %s", target->path,
                      target->exists ? "opened" : "created", strerror(-err));
}

static int lay_out(struct bench_spec *spec, struct bench_target *target)
{
    if (target->exists && target->size_bytes >= target->needed_bytes)
        return 0;
    int fd = open(target->path, O_RDWR | O_CREAT | O_CLOEXEC | (target->exists ? 0 : O_EXCL), 0644);
    if (fd < 0)
        return fail_create(spec, target, -errno);
    struct stat st;
    if (!fstat(fd, &st))
        target->device = st.st_dev;
    target->created = !target->exists;
    target->exists = true;
    int err = extend(spec, target, fd);
    close(fd);
    return err;
}

int bench_plan_lay_out(struct bench_plan *plan)
{
    for (struct bench_target *t = plan->targets; t; t = t->next) {
        int err = t->is_device ? 0 : lay_out(plan->spec, t);
        if (err)
            return err;
    }
    return 0;
}

void bench_plan_undo(struct bench_plan *plan)
{
    for (struct bench_target *t = plan->targets; t; t = t->next) {
        if (t->created ? unlink(t->path) : t->extended && truncate(t->path, (off_t)t->size_bytes))
            fprintf(stderr, "torc bench: %s can't be put back to what it was: %s\n", t->path,
                    strerror(errno));
        t->created = t->extended = false;
    }
}

/* How many of the bytes [0, LENGTH) of FD the disk has never seen, holes included; 0 too when that can't be told. */
static uint64_t unwritten_bytes(int fd, uint64_t length)
{
    union {
        struct fiemap map;
        char room[sizeof(struct fiemap) + EXTENTS_A_CALL * sizeof(struct fiemap_extent)];
    } query;
    uint64_t written = 0, at = 0;
    for (bool last = false; !last && at < length;) {
        memset(&query, 0, sizeof(query));
        query.map.fm_start = at;
        query.map.fm_length = length - at;
        query.map.fm_flags = FIEMAP_FLAG_SYNC;
        query.map.fm_extent_count = EXTENTS_A_CALL;
        if (ioctl(fd, FS_IOC_FIEMAP, &query.map))
            return 0;
        last = query.map.fm_mapped_extents == 0;
        for (uint32_t i = 0; i < query.map.fm_mapped_extents; i++) {
            const struct fiemap_extent *e = &query.map.fm_extents[i];
            uint64_t end = e->fe_logical + e->fe_length;
            uint64_t from = e->fe_logical > at ? e->fe_logical : at;
            at = end < length ? end : length;
            if (!(e->fe_flags & FIEMAP_EXTENT_UNWRITTEN) && at > from)
                written += at - from;
            last |= (e->fe_flags & FIEMAP_EXTENT_LAST) != 0;
        }
    }
    return length - written;
}

static void warn_unwritten(const struct bench_target *target)
{
    int fd = open(target->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    uint64_t missing = unwritten_bytes(fd, target->needed_bytes);
    close(fd);
    if (missing)
        fprintf(
            stderr,
            "torc bench: warning: %.3g%% of %s was never written: reading that does not reach the "
            "disk; remove the file and let torc bench write it anew\n",
            100.0 * (double)missing / (double)target->needed_bytes, target->path);
}

void bench_plan_warn(const struct bench_plan *plan)
{
    for (const struct bench_target *t = plan->targets; t; t = t->next)
        if (t->is_read && !t->is_device)
            warn_unwritten(t);
}
