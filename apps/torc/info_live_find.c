/* SPDX-License-Identifier: MIT
 *
 * Where files of counters are, whether somebody writes them, and what is in them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apps/torc/info_live.h"

/* A file of a few shards has some tens of KiB, one of a thousand 8 MiB. */
enum { FILE_BYTES_MAX = 64 << 20 };

static const char DIRECTORY[] = "/dev/shm";

/* Whether a writer has it: they hold a lock as long as they live. */
static bool has_writer(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return !fcntl(fd, F_OFD_GETLK, &whole) && whole.l_type != F_UNLCK;
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static int by_pid(const void *left, const void *right)
{
    const struct live_file *a = left, *b = right;
    return a->pid != b->pid ? (a->pid > b->pid) - (a->pid < b->pid) : strcmp(a->path, b->path);
}

unsigned live_find(struct live_file *files)
{
    unsigned count = 0;
    DIR *directory = opendir(DIRECTORY);
    if (!directory)
        return 0;
    for (const struct dirent *entry; count < LIVE_FILES_MAX && (entry = readdir(directory));) {
        struct live_file *file = &files[count];
        char rest;
        if (sscanf(entry->d_name, "torc.%u.%u%c", &file->uid, &file->pid, &rest) < 2 ||
            strlen(entry->d_name) > LIVE_PATH_BYTES - sizeof(DIRECTORY) - 1)
            continue;
        snprintf(file->path, sizeof(file->path), "%s/%s", DIRECTORY, entry->d_name);
        int fd = open_file(file->path);
        file->error = fd < 0 ? fd : 0;
        file->alive = fd >= 0 && has_writer(fd);
        if (fd >= 0)
            close(fd);
        count++;
    }
    closedir(directory);
    qsort(files, count, sizeof(*files), by_pid);
    return count;
}

static int look(struct live_source *source, struct live_copy *copy)
{
    size_t got = 0;
    while (got < source->size) {
        ssize_t n = pread(source->fd, (char *)copy->memory + got, source->size - got, (off_t)got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPROTO;
        got += (size_t)n;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    copy->at_ns = (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
    copy->file = copy->memory;
    return torc_counters_attach(&copy->set, copy->memory, source->size);
}

int live_open(struct live_source *source, const char *path)
{
    struct stat stat;
    *source = (struct live_source){.fd = open_file(path)};
    if (source->fd < 0)
        return source->fd;
    int err = -EPROTO;
    if (fstat(source->fd, &stat)) {
        err = -errno;
        goto out;
    }
    if (!S_ISREG(stat.st_mode) || stat.st_size > FILE_BYTES_MAX || stat.st_size <= 0)
        goto out;
    source->size = (size_t)stat.st_size;
    source->before.memory = malloc(source->size);
    source->now.memory = malloc(source->size);
    err = -ENOMEM;
    if (!source->before.memory || !source->now.memory)
        goto out;
    err = look(source, &source->now);
    if (!err && !has_writer(source->fd))
        err = -ESRCH;
    if (!err)
        return 0;
out:
    live_close(source);
    return err;
}

int live_look(struct live_source *source)
{
    struct live_copy last = source->before;
    source->before = source->now;
    source->now = last;
    if (!has_writer(source->fd))
        return -ESRCH;
    return look(source, &source->now);
}

void live_close(struct live_source *source)
{
    free(source->before.memory);
    free(source->now.memory);
    close(source->fd);
    source->fd = -1;
    source->before.memory = source->now.memory = NULL;
}
