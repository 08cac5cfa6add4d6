/* SPDX-License-Identifier: MIT
 *
 * Directories: as the place that relative paths start from, as something to sync so that a new name survives a crash,
 * and as a list of names.
 *
 *     struct torc_directory d;
 *     err = torc_directory_open(&d, NULL, "/var/lib/store");
 *     err = torc_file_open(&f, "log.0", &(struct torc_file_options){.write = true, .create = true, .at = &d});
 *     err = torc_directory_sync(&d);
 *     torc_directory_close(&d);
 *
 * The contracts of dma/file.h hold here, too.
 */
#ifndef TORC_DMA_DIRECTORY_H
#define TORC_DMA_DIRECTORY_H

#include <sys/types.h>

#include "core/base.h"

TORC_BEGIN_DECLS

/* Caller's memory; fd may be read. */
struct torc_directory {
    int32_t fd;
    void *owner; /* the executor */
};

/* AT: what a relative PATH starts from, NULL the working directory. -ENOTDIR: it is something else; -ENOENT, -EACCES,
 * -EMFILE, … On error nothing is held. */
int torc_directory_open(struct torc_directory *directory, const struct torc_directory *at,
                        const char *path) TORC_MUST_CHECK;
/* As torc_file_close. */
void torc_directory_close(struct torc_directory *directory);
/* Makes the names in it durable: those made, renamed and removed so far. */
int torc_directory_sync(struct torc_directory *directory) TORC_MUST_CHECK;

/* mkdir and rmdir. MODE is lessened by the umask; 0: 0777. -EEXIST, -ENOENT, -ENOTEMPTY, -ENOTDIR, … */
int torc_directory_create(const struct torc_directory *at, const char *path,
                          uint32_t mode) TORC_MUST_CHECK;
int torc_directory_remove(const struct torc_directory *at, const char *path) TORC_MUST_CHECK;

enum torc_entry_type { /* the kernel's DT_ values */
                       TORC_ENTRY_UNKNOWN =
                           0, /* the file system does not say: ask torc_file_stat_path */
                       TORC_ENTRY_FIFO = 1,
                       TORC_ENTRY_CHARACTER_DEVICE = 2,
                       TORC_ENTRY_DIRECTORY = 4,
                       TORC_ENTRY_BLOCK_DEVICE = 6,
                       TORC_ENTRY_FILE = 8,
                       TORC_ENTRY_SYMLINK = 10,
                       TORC_ENTRY_SOCKET = 12,
};

struct torc_directory_entry {
    const char *name; /* inside the list's memory */
    uint64_t inode;
    uint16_t name_length;
    uint8_t type; /* enum torc_entry_type */
};

enum {
    TORC_DIRECTORY_READ_MIN = 512,       /* memory for the longest name there can be */
    TORC_DIRECTORY_LIST_MAX = 256 << 20, /* default bound of a list: some eight million names */
};

/* Reads on: fills MEMORY (aligned to 8, SIZE at least TORC_DIRECTORY_READ_MIN bytes) with the next entries, for
 * torc_directory_next. Bytes used; 0 at the end. Names that come or go meanwhile may or may not be seen. Works on the
 * blocking pool. */
ssize_t torc_directory_read(struct torc_directory *directory, void *memory,
                            size_t size) TORC_MUST_CHECK;
/* Starts again from the first entry. */
int torc_directory_rewind(struct torc_directory *directory) TORC_MUST_CHECK;

/* All names of a directory in memory of their own. Fields are private. */
struct torc_directory_list {
    unsigned char *memory;
    size_t size, used;
    void *owner; /* the executor */
};
/* Reads the whole directory into a list that grows up to SIZE_MAX_BYTES (0: TORC_DIRECTORY_LIST_MAX), in no order;
 * "." and ".." are left out when it is walked. The caller frees it.
 * -EOVERFLOW: it would not fit; -ENOMEM. On error nothing is held. Allocates. */
int torc_directory_list(struct torc_directory *directory, size_t size_max_bytes,
                        struct torc_directory_list *list) TORC_MUST_CHECK;
void torc_directory_list_free(struct torc_directory_list *list);

/* The next entry of what torc_directory_read or a list holds; *POSITION starts as 0. False: no more. */
bool torc_directory_next(const void *memory, size_t used, size_t *position,
                         struct torc_directory_entry *entry);
static inline bool torc_directory_list_next(const struct torc_directory_list *list,
                                            size_t *position, struct torc_directory_entry *entry)
{
    return torc_directory_next(list->memory, list->used, position, entry);
}

TORC_END_DECLS

#endif
