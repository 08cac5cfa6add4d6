/* SPDX-License-Identifier: MIT
 *
 * Directories: handles, syncing, and listing. No ring can list: getdents64 runs on the blocking pool and fills memory
 * that the executor provides, because only the executor may allocate. The kernel's records are kept as they come.
 */
#include "dma/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "dma/file_internal.h"
#include "io/blocking.h"

/* struct linux_dirent64, which no header of the kernel's exports. */
struct record {
    uint64_t inode;
    int64_t next_offset;
    uint16_t length; /* of the record */
    uint8_t type;
    char name[5]; /* and more, ends with a NUL */
};
_Static_assert(offsetof(struct record, name) == 19, "kernel layout");

enum {
    PAGE = 4096,
    LIST_FIRST_BYTES = 64 * 1024,
    RECORD_MIN = 24, /* a name of one byte */
};

int torc_directory_open(struct torc_directory *directory, const struct torc_directory *at,
                        const char *path)
{
    *directory = (struct torc_directory){-1, torci_this};
    int fd = TORCI_FILE_CALL(IORING_OP_OPENAT, SYS_openat, torci_directory_fd(at), (long)path,
                             O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    directory->fd = fd;
    return 0;
}

void torc_directory_close(struct torc_directory *directory)
{
    int fd = torci_directory_fd(directory);
    directory->fd = -1;
    torci_file_close_fd(fd);
}

int torc_directory_sync(struct torc_directory *directory)
{
    return TORCI_FILE_CALL(IORING_OP_FSYNC, SYS_fsync, torci_directory_fd(directory));
}

struct fill {
    const struct torci_kernel *kernel;
    unsigned char *memory;
    size_t size, used;
    int fd;
    bool ended;
};

/* On a pool thread: reads until the end or until the next record might not fit. */
static int fill(void *arg)
{
    struct fill *f = arg;
    while (f->size - f->used >= TORC_DIRECTORY_READ_MIN) {
        /* The kernel takes an int and refuses what is negative as one. */
        size_t room = f->size - f->used;
        long n = TORCI_CALL(f->kernel, SYS_getdents64, f->fd, (long)(f->memory + f->used),
                            (long)(room < TORCI_TRANSFER_MAX ? room : TORCI_TRANSFER_MAX));
        if (n < 0)
            return (int)n;
        if (n == 0) {
            f->ended = true;
            break;
        }
        f->used += (size_t)n;
    }
    return 0;
}

ssize_t torc_directory_read(struct torc_directory *directory, void *memory, size_t size)
{
    struct fill f = {torci_kernel_this(), memory, size, 0, torci_directory_fd(directory), false};
    if (size < TORC_DIRECTORY_READ_MIN || (uintptr_t)memory % sizeof(uint64_t))
        return -EINVAL;
    int err = torc_blocking(fill, &f);
    return err ? err : (ssize_t)f.used;
}

int torc_directory_rewind(struct torc_directory *directory)
{
    long at =
        TORCI_CALL(torci_kernel_this(), SYS_lseek, torci_directory_fd(directory), 0, SEEK_SET);
    return at < 0 ? (int)at : 0;
}

/* Doubles the list's memory, up to SIZE_MAX_BYTES. */
static int grow(struct torc_directory_list *list, size_t size_max_bytes)
{
    const struct torci_host *host = torci_this->host;
    size_t size = list->size ? 2 * list->size : LIST_FIRST_BYTES;
    if (size > size_max_bytes)
        size = size_max_bytes;
    if (size == list->size)
        return -EOVERFLOW;
    unsigned char *memory = host->map(host->map_context, size);
    if (!memory)
        return -ENOMEM;
    if (list->memory) {
        memcpy(memory, list->memory, list->used);
        host->unmap(host->map_context, list->memory, list->size);
    }
    list->memory = memory;
    list->size = size;
    return 0;
}

/* The list has reached its bound; 0 if it has reached the directory's end as well. */
static int expect_end(struct torc_directory *directory)
{
    _Alignas(uint64_t) unsigned char scratch[TORC_DIRECTORY_READ_MIN];
    ssize_t n = torc_directory_read(directory, scratch, sizeof scratch);
    if (n < 0)
        return (int)n;
    return n == 0 ? 0 : -EOVERFLOW;
}

static int fill_list(struct torc_directory *directory, size_t size_max_bytes,
                     struct torc_directory_list *list)
{
    struct fill f = {.kernel = torci_kernel_this(), .fd = torci_directory_fd(directory)};
    int err = torc_directory_rewind(directory);
    while (!err && !f.ended) {
        err = grow(list, size_max_bytes);
        if (err == -EOVERFLOW)
            return expect_end(directory);
        if (err)
            break;
        f.memory = list->memory;
        f.size = list->size;
        err = torc_blocking(fill, &f);
        list->used = f.used;
    }
    return err;
}

int torc_directory_list(struct torc_directory *directory, size_t size_max_bytes,
                        struct torc_directory_list *list)
{
    if (size_max_bytes == 0)
        size_max_bytes = TORC_DIRECTORY_LIST_MAX;
    *list = (struct torc_directory_list){.owner = torci_this};
    if (size_max_bytes > SIZE_MAX / 2)
        return -EINVAL;
    size_max_bytes = (size_max_bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    int err = fill_list(directory, size_max_bytes, list);
    if (err)
        torc_directory_list_free(list);
    return err;
}

void torc_directory_list_free(struct torc_directory_list *list)
{
    TORC_ASSERT(list->owner == torci_this);
    const struct torci_host *host = torci_this->host;
    if (list->memory)
        host->unmap(host->map_context, list->memory, list->size);
    *list = (struct torc_directory_list){.owner = torci_this};
}

static bool is_dot_or_dot_dot(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

bool torc_directory_next(const void *memory, size_t used, size_t *position,
                         struct torc_directory_entry *entry)
{
    while (used - *position >= RECORD_MIN) {
        const unsigned char *start = (const unsigned char *)memory + *position;
        const struct record *record = (const void *)start;
        if (record->length < RECORD_MIN || record->length > used - *position)
            return false;
        *position += record->length;
        const char *name = (const char *)start + offsetof(struct record, name);
        if (is_dot_or_dot_dot(name))
            continue;
        size_t room = record->length - offsetof(struct record, name);
        *entry = (struct torc_directory_entry){
            .name = name,
            .inode = record->inode,
            .name_length = (uint16_t)strnlen(name, room),
            .type = record->type,
        };
        return true;
    }
    return false;
}
