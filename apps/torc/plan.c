/* SPDX-License-Identifier: MIT */
#include "apps/torc/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int device_size(struct bench_spec *spec, struct bench_target *target)
{
    int fd = open(target->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int err = errno;
        /* sysfs tells the size to everyone; the refusal to write must not depend on the right to read. */
        char name[64];
        snprintf(name, sizeof(name), "/sys/dev/block/%u:%u/size", major(target->device),
                 minor(target->device));
        FILE *file = fopen(name, "re");
        unsigned long long sectors = 0;
        int got = file ? fscanf(file, "%llu", &sectors) : 0;
        if (file)
            fclose(file);
        target->size_bytes = sectors * 512;
        return got == 1 ? 0 : bench_fail(spec, -err, "%s: %s", target->path, strerror(err));
    }
    int err = ioctl(fd, BLKGETSIZE64, &target->size_bytes) ? -errno : 0;
    close(fd);
    return err ? bench_fail(spec, err, "%s: its size can't be read: %s", target->path,
                            strerror(-err))
               : 0;
}

static int look_at(struct bench_spec *spec, struct bench_target *target)
{
    struct stat st;
    if (stat(target->path, &st)) {
        if (errno == ENOENT)
            return 0;
        return bench_fail(spec, -errno, "%s: %s", target->path, strerror(errno));
    }
    target->exists = true;
    if (S_ISDIR(st.st_mode))
        return bench_fail(spec, -EISDIR,
                          "%s is a directory: name a file in it, or write directory=%s",
                          target->path, target->path);
    if (S_ISBLK(st.st_mode)) {
        target->is_device = true;
        target->device = st.st_rdev;
        return device_size(spec, target);
    }
    if (!S_ISREG(st.st_mode))
        return bench_fail(spec, -EINVAL, "%s is neither a regular file nor a block device",
                          target->path);
    target->device = st.st_dev;
    target->size_bytes = (uint64_t)st.st_size;
    return 0;
}

static int find_target(struct bench_plan *plan, const char *path, const struct bench_job *job,
                       struct bench_target **out)
{
    struct bench_target **link = &plan->targets;
    for (; *link; link = &(*link)->next)
        if (!strcmp((*link)->path, path)) {
            *out = *link;
            return 0;
        }
    struct bench_target *target = bench_alloc(plan->spec, sizeof(*target));
    if (!target)
        return -ENOMEM;
    *target = (struct bench_target){.first_job = job->name, .claim = -1};
    target->path = bench_copy(plan->spec, path, strlen(path));
    if (!target->path)
        return -ENOMEM;
    *link = *out = target;
    return look_at(plan->spec, target);
}

/* The next item of a ':'-separated list, without its backslashes; NULL at the end. */
static const char *next_item(const char *list, char *item, size_t size)
{
    size_t length = 0;
    if (!*list)
        return NULL;
    for (; *list && *list != ':'; list++) {
        if (list[0] == '\\' && list[1] == ':')
            list++;
        if (length + 1 < size)
            item[length++] = *list;
    }
    item[length] = '\0';
    return *list ? list + 1 : list;
}

static unsigned count_items(const char *list)
{
    char item[PATH_MAX];
    unsigned count = 0;
    while ((list = next_item(list, item, sizeof(item))))
        count++;
    return count;
}

/* Copies of a job spread over the directories in turn, as in fio. */
static void pick_directory(const struct bench_job *job, unsigned number, char *directory,
                           size_t size)
{
    unsigned count = job->directory ? count_items(job->directory) : 0;
    const char *at = job->directory;
    *directory = '\0';
    for (unsigned i = 0; count && i <= number % count; i++)
        at = next_item(at, directory, size);
}

static int name_file(struct bench_plan *plan, struct bench_instance *in, const char *name,
                     unsigned index)
{
    char directory[PATH_MAX], path[PATH_MAX];
    pick_directory(in->job, in->number, directory, sizeof(directory));
    bool bare = !*directory || *name == '/';
    int length =
        snprintf(path, sizeof(path), "%s%s%s", bare ? "" : directory, bare ? "" : "/", name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return bench_fail(plan->spec, -ENAMETOOLONG, "job \"%s\": a file name is too long",
                          in->job->name);
    return find_target(plan, path, in->job, &in->targets[index]);
}

static int name_files(struct bench_plan *plan, struct bench_instance *in)
{
    const struct bench_job *job = in->job;
    char item[PATH_MAX];
    in->file_count = job->filename ? count_items(job->filename) : 1;
    in->targets = bench_alloc(plan->spec, in->file_count * sizeof(*in->targets));
    in->spans = bench_alloc(plan->spec, in->file_count * sizeof(*in->spans));
    if (!in->targets || !in->spans)
        return -ENOMEM;
    if (!job->filename) {
        snprintf(item, sizeof(item), "%s.%u.0", job->name, in->number);
        return name_file(plan, in, item, 0);
    }
    const char *at = job->filename;
    for (unsigned i = 0; (at = next_item(at, item, sizeof(item))); i++) {
        int err = name_file(plan, in, item, i);
        if (err)
            return err;
    }
    return 0;
}

static uint64_t percent_of(uint64_t bytes, uint32_t percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static uint64_t larger_block(const struct bench_job *job)
{
    uint64_t largest = 1;
    for (int d = 0; d < BENCH_DIRECTIONS; d++)
        if (job->does[d] && job->block_bytes[d] > largest)
            largest = job->block_bytes[d];
    return largest;
}

static uint64_t smaller_block(const struct bench_job *job)
{
    uint64_t read = job->block_bytes[BENCH_READ], write = job->block_bytes[BENCH_WRITE];
    if (!job->does[BENCH_READ] || !job->does[BENCH_WRITE])
        return larger_block(job);
    return read < write ? read : write;
}

static uint64_t span_start(const struct bench_instance *in, const struct bench_target *target)
{
    const struct bench_job *job = in->job;
    uint64_t start = job->offset.bytes, block = larger_block(job);
    if (job->offset.percent && block)
        start = percent_of(target->size_bytes, job->offset.percent) / block * block;
    return start + job->offset_increment * in->number;
}

static int size_span(struct bench_plan *plan, struct bench_instance *in, unsigned index)
{
    const struct bench_job *job = in->job;
    struct bench_target *target = in->targets[index];
    struct bench_span *span = &in->spans[index];
    uint64_t there = target->size_bytes;
    span->start = span_start(in, target);
    uint64_t rest = there > span->start ? there - span->start : 0;
    if (job->size.percent)
        span->bytes = percent_of(there, job->size.percent);
    else
        span->bytes = job->size.bytes ? job->size.bytes / in->file_count : rest;
    if ((target->is_device || job->size.percent) && span->bytes > rest)
        span->bytes = rest; /* a device can't be extended; fio goes to its end too */
    if (!span->bytes && !job->size.bytes && !target->is_device)
        return bench_fail(plan->spec, -EINVAL,
                          "job \"%s\": %s %s: say how large with size=1g or so", job->name,
                          target->path, target->exists ? "is empty there" : "does not exist");
    if (span->bytes < larger_block(job))
        return bench_fail(plan->spec, -EINVAL,
                          "job \"%s\": %" PRIu64 " bytes of %s are less than one block of %" PRIu64
                          ": more size or less bs",
                          job->name, span->bytes, target->path, larger_block(job));
    uint64_t needed = span->start + span->bytes;
    if (needed > INT64_MAX)
        return bench_fail(plan->spec, -EFBIG, "job \"%s\": offset and size are beyond 2^63",
                          job->name);
    if (needed > target->needed_bytes)
        target->needed_bytes = needed;
    return 0;
}

static void mark_target(struct bench_target *target, const struct bench_job *job)
{
    target->is_read |= job->does[BENCH_READ];
    target->is_written |= job->does[BENCH_WRITE];
    target->wants_data |= job->does[BENCH_READ] || job->overwrite;
    target->unlink |= job->unlink;
}

static int plan_instance(struct bench_plan *plan, struct bench_instance *in)
{
    const struct bench_job *job = in->job;
    int err = name_files(plan, in);
    uint64_t total = 0;
    for (unsigned i = 0; !err && i < in->file_count; i++) {
        err = size_span(plan, in, i);
        /* the rest behind the last whole block is not transferred */
        uint64_t block = smaller_block(job);
        total += block ? in->spans[i].bytes / block * block : 0;
        mark_target(in->targets[i], job);
    }
    if (err)
        return err;
    in->limit_bytes = total;
    if (job->io_size.percent)
        in->limit_bytes = percent_of(total, job->io_size.percent);
    else if (job->io_size.bytes)
        in->limit_bytes = job->io_size.bytes;
    uint64_t seed = job->seed;
    if (!job->same_random && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return bench_fail(plan->spec, -EIO, "no random numbers from the kernel");
    /* Copies of a job must not follow the same path. */
    in->seed = seed + in->number * UINT64_C(0xd1342543de82ef95);
    return 0;
}

static int check_sizes(const struct bench_plan *plan)
{
    for (const struct bench_target *t = plan->targets; t; t = t->next)
        if (plan->spec->read_only && !t->is_device && t->needed_bytes > t->size_bytes)
            return bench_fail(plan->spec, -EROFS,
                              "%s has %" PRIu64 " bytes, the jobs read %" PRIu64
                              ", and --readonly forbids to extend it: lower size",
                              t->path, t->size_bytes, t->needed_bytes);
    return 0;
}

int bench_plan_make(struct bench_plan *plan, struct bench_spec *spec)
{
    *plan = (struct bench_plan){.spec = spec};
    unsigned count = 0;
    for (unsigned i = 0; i < spec->job_count; i++)
        count += spec->jobs[i]->copies;
    plan->instances = bench_alloc(spec, count * sizeof(*plan->instances));
    if (!plan->instances)
        return -ENOMEM;
    for (unsigned i = 0; i < spec->job_count; i++)
        for (unsigned copy = 0; copy < spec->jobs[i]->copies; copy++) {
            struct bench_instance *in = &plan->instances[plan->instance_count++];
            in->job = spec->jobs[i];
            in->number = copy;
            int err = plan_instance(plan, in);
            if (err)
                return err;
        }
    return check_sizes(plan);
}

void bench_plan_deinit(struct bench_plan *plan)
{
    for (struct bench_target *t = plan->targets; t; t = t->next) {
        if (t->claim >= 0)
            close(t->claim);
        t->claim = -1;
        if (t->created && t->unlink && unlink(t->path))
            fprintf(stderr, "torc bench: %s can't be removed: %s\n", t->path, strerror(errno));
        t->created = false;
    }
}
