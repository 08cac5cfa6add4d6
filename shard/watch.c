/* SPDX-License-Identifier: MIT
 *
 * Making and removing the file that others watch the counters in. The one difficulty is a name that is taken: by a
 * process that lives, by one that has died, or by something that is none of ours. Two starters that find the same dead
 * file must not remove each other's new one, hence the order:
 *
 *     take the lock of what is there, see that it still has its name, remove the name, let go
 *     create the name, take the lock, see that it still has its name
 *
 * Only who holds the lock of a file removes its name.
 */
#include "shard/watch_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "io/executor_internal.h"
#include "shard/sysfile_internal.h"

enum {
    LINE_MAX = TORCI_COUNTERS_PATH_BYTES + 160,
    PAGE_BYTES =
        4096, /* apart enough for a page's owner to be its node, and not to share a cache line */
    NAMES_MAX = 16,    /* of one process: of so many torc_run at a time */
    ATTEMPTS_MAX = 16, /* while others create and remove the same name */
};

static size_t rounded(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

static size_t block_stride(void)
{
    return rounded(sizeof(struct torci_counters), PAGE_BYTES);
}

/* ---- the name ---- */

static int lock(const struct torci_kernel *kernel, int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return (int)TORCI_CALL(kernel, SYS_fcntl, fd, F_OFD_SETLK, (long)&whole);
}

static bool has_name(const struct torci_kernel *kernel, int fd)
{
    struct stat stat;
    return !TORCI_CALL(kernel, SYS_fstat, fd, (long)&stat) && stat.st_nlink > 0;
}

/* Whether what FD is open on was made by us, or was being made. */
static bool is_ours(const struct torci_kernel *kernel, int fd)
{
    char magic[sizeof TORC_COUNTER_FILE_MAGIC] = {0};
    long got = TORCI_CALL(kernel, SYS_pread64, fd, (long)magic, sizeof magic, 0);
    return got >= 0 && (got < (long)sizeof magic || !magic[0] ||
                        !memcmp(magic, TORC_COUNTER_FILE_MAGIC, sizeof magic));
}

/* A file is in our way. 0: it is gone; -EBUSY: its writer lives; -EEXIST: it is none of ours. */
static int remove_dead(const struct torci_kernel *kernel, const char *path)
{
    long fd = TORCI_CALL(kernel, SYS_openat, AT_FDCWD, (long)path,
                         O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return fd == -ENOENT ? 0 : -EEXIST;
    int err = 0;
    if (!is_ours(kernel, (int)fd))
        err = -EEXIST;
    else if (lock(kernel, (int)fd))
        err = -EBUSY;
    else if (has_name(kernel, (int)fd))
        err = (int)TORCI_CALL(kernel, SYS_unlinkat, AT_FDCWD, (long)path, 0);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    return err;
}

/* A new, locked file at PATH: its descriptor, or an error. */
static int create(const struct torci_kernel *kernel, const char *path)
{
    int err = -EBUSY;
    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        long fd = TORCI_CALL(kernel, SYS_openat, AT_FDCWD, (long)path,
                             O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd == -EEXIST) {
            err = remove_dead(kernel, path);
            if (err)
                return err;
            continue;
        }
        if (fd < 0)
            return (int)fd;
        err = lock(kernel, (int)fd);
        if (!err && has_name(kernel, (int)fd))
            return (int)fd;
        if (err && err != -EAGAIN && err != -EACCES) /* there are no locks here at all */
            (void)TORCI_CALL(kernel, SYS_unlinkat, AT_FDCWD, (long)path, 0);
        (void)TORCI_CALL(kernel, SYS_close, fd);
        if (err && err != -EAGAIN && err != -EACCES)
            return err;
        err = -EBUSY; /* somebody took ours for a dead one: again */
    }
    return err;
}

/* /dev/shm/torc.UID.PID, and with a third number for the second torc_run of a process and so on. */
static int create_auto(struct torci_counters_file *file)
{
    const struct torci_kernel *kernel = file->kernel;
    unsigned uid = (unsigned)TORCI_CALL(kernel, SYS_getuid, 0);
    unsigned pid = (unsigned)TORCI_CALL(kernel, SYS_getpid, 0);
    int fd = -EBUSY;
    for (unsigned n = 1; n <= NAMES_MAX && fd == -EBUSY; n++) {
        int length = snprintf(file->path, sizeof file->path, "/dev/shm/torc.%u.%u", uid, pid);
        if (n > 1)
            snprintf(file->path + length, sizeof file->path - (size_t)length, ".%u", n);
        fd = create(kernel, file->path);
    }
    return fd;
}

/* ---- what is in it ---- */

static void write_program(const struct torci_kernel *kernel, char *program)
{
    char text[TORC_COUNTER_PROGRAM_BYTES];
    int length = torci_sysfile_read(kernel, text, sizeof text, "/proc/self/cmdline");
    if (length <= 0 || !text[0]) /* a program may have written over it */
        length = torci_sysfile_read(kernel, text, sizeof text, "/proc/self/comm");
    while (length > 0 && text[length - 1] <= ' ')
        length--;
    for (int i = 0; i < length; i++)
        program[i] = text[i] > ' ' && text[i] < 127 ? text[i] : ' ';
}

static void write_head(struct torci_counters_file *file, uint32_t shards)
{
    const struct torci_kernel *kernel = file->kernel;
    struct torc_counter_file *head = (struct torc_counter_file *)file->memory;
    struct timespec now = {0};
    (void)TORCI_CALL(kernel, SYS_clock_gettime, CLOCK_REALTIME, (long)&now);
    memcpy(head->magic, TORC_COUNTER_FILE_MAGIC, sizeof head->magic);
    head->byte_order = TORC_COUNTER_FILE_BYTE_ORDER;
    head->version = TORC_COUNTER_FILE_VERSION;
    head->file_bytes = file->size_bytes;
    head->header_bytes = sizeof *head;
    head->info_bytes = sizeof(struct torc_counter_info);
    head->info_count = torc_counter_count(NULL);
    head->shard_count = shards;
    head->info_offset = sizeof *head;
    head->block_offset = file->blocks_at;
    head->block_stride = block_stride();
    head->started_ns = (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
    head->pid = (uint32_t)TORCI_CALL(kernel, SYS_getpid, 0);
    write_program(kernel, head->program);
    memcpy((char *)file->memory + head->info_offset, torci_counter_infos(),
           (size_t)head->info_count * head->info_bytes);
    /* RELEASE pairs with torc_counters_attach */
    __atomic_store_n(&head->ready, 1, __ATOMIC_RELEASE);
}

static int map_file(struct torci_counters_file *file)
{
    long err = TORCI_CALL(file->kernel, SYS_fallocate, file->fd, 0, 0, (long)file->size_bytes);
    if (err)
        return (int)err;
    long memory = TORCI_CALL(file->kernel, SYS_mmap, 0, (long)file->size_bytes,
                             PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (memory < 0 && memory > -PAGE_BYTES)
        return (int)memory;
    file->memory = (void *)(uintptr_t)memory;
    return 0;
}

static void explain(const struct torci_counters_file *file, const char *where, int err)
{
    char line[LINE_MAX];
    const char *path = file->path[0] ? file->path : where;
    switch (err) {
    case -EINVAL:
        snprintf(line, sizeof line,
                 "torc: counters=%.64s: neither \"auto\" nor a path (with a slash)", where);
        break;
    case -EBUSY:
        snprintf(line, sizeof line, "torc: counters: another process shares its own in %s", path);
        break;
    case -EEXIST:
        snprintf(line, sizeof line,
                 "torc: counters: %s is there and no file of counters: remove it, "
                 "or name another",
                 path);
        break;
    case -ENOSPC:
        snprintf(line, sizeof line, "torc: counters: no room for the %zu KiB of %s",
                 file->size_bytes / 1024, path);
        break;
    default: snprintf(line, sizeof line, "torc: counters: %s can't be made: errno %d", path, -err);
    }
    torci_io_say(file->kernel, line);
}

static int open_file(struct torci_counters_file *file, const char *where, uint32_t shards)
{
    bool is_auto = !strcmp(where, "auto") || !strcmp(where, "1");
    size_t length = strlen(where);
    int err = -EINVAL;
    file->blocks_at = rounded(sizeof(struct torc_counter_file) +
                                  torc_counter_count(NULL) * sizeof(struct torc_counter_info),
                              PAGE_BYTES);
    file->size_bytes = file->blocks_at + shards * block_stride();
    if (is_auto) {
        err = create_auto(file);
    } else if (strchr(where, '/') && length < sizeof file->path) {
        memcpy(file->path, where, length + 1);
        err = create(file->kernel, file->path);
    }
    if (err >= 0) {
        file->fd = err;
        err = map_file(file);
    }
    if (err) {
        explain(file, where, err);
        torci_counters_close(file);
        return err;
    }
    write_head(file, shards);
    return 0;
}

static int open_memory(struct torci_counters_file *file, uint32_t shards)
{
    const struct torci_host *host = &file->kernel->host;
    file->size_bytes = shards * block_stride();
    file->memory = host->map(host->map_context, file->size_bytes);
    if (file->memory)
        return 0;
    torci_io_say(file->kernel, "torc: out of memory");
    return -ENOMEM;
}

int torci_counters_open(const struct torci_kernel *kernel, const char *where, uint32_t shards,
                        struct torci_counters_file *file)
{
    *file = (struct torci_counters_file){.kernel = kernel, .fd = -1};
    bool wanted = where && where[0] && strcmp(where, "0") != 0;
    int err = wanted ? open_file(file, where, shards) : open_memory(file, shards);
    if (!err)
        torci_counter_set_init(&file->set, (char *)file->memory + file->blocks_at, block_stride(),
                               shards);
    return err;
}

struct torci_counters *torci_counters_of(const struct torci_counters_file *file, uint32_t shard)
{
    TORC_ASSERT(shard < file->set.shard_count);
    return (struct torci_counters *)(void *)((char *)file->memory + file->blocks_at +
                                             shard * block_stride());
}

void torci_counters_close(struct torci_counters_file *file)
{
    const struct torci_kernel *kernel = file->kernel;
    if (file->fd < 0) {
        if (file->memory)
            kernel->host.unmap(kernel->host.map_context, file->memory, file->size_bytes);
        file->memory = NULL;
        return;
    }
    /* the name goes while the lock is held */
    (void)TORCI_CALL(kernel, SYS_unlinkat, AT_FDCWD, (long)file->path, 0);
    if (file->memory)
        (void)TORCI_CALL(kernel, SYS_munmap, (long)file->memory, (long)file->size_bytes);
    (void)TORCI_CALL(kernel, SYS_close, file->fd);
    file->memory = NULL;
    file->fd = -1;
}
