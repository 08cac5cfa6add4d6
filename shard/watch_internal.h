/* SPDX-License-Identifier: MIT
 *
 * Where the shards' counters lie: one mapping with a block for each shard, pages apart. On request it is a file
 * (core/counters.h has the format), so that another process can watch; nobody here ever waits for a reader.
 *
 *     off    [blocks]                                    memory of the process alone
 *     file   [head, schema][block][block] …              mapped shared, mode 0600
 *
 * The file's writer holds a lock on it (an OFD lock, which ends with the process however that ends), and removes it at the
 * end. What is found without a lock is left over from a process that has crashed, and is replaced.
 */
#ifndef TORC_SHARD_WATCH_INTERNAL_H
#define TORC_SHARD_WATCH_INTERNAL_H

#include "core/counters_internal.h"
#include "io/kernel_internal.h"

enum { TORCI_COUNTERS_PATH_BYTES = 256 };

struct torci_counters_file {
    const struct torci_kernel *kernel;
    struct torc_counter_set set;
    void *memory;
    size_t size_bytes;
    size_t blocks_at;
    int fd; /* negative: it is no file */
    char path[TORCI_COUNTERS_PATH_BYTES];
};

/* Zeroed blocks for SHARDS shards. WHERE is torc_config.counters: NULL, "" or "0": in no file; "auto" or "1":
 * /dev/shm/torc.UID.PID; a path: there. The file's room is taken at once, so that a full file system is an error here
 * and never a signal later.
 * 0; -ENOMEM; or, with one line that says what to do, what the file could not be made for: -EINVAL: WHERE is none of
 * these; -EEXIST: something else is there; -EBUSY: another process uses it; -ENOSPC, -EACCES and so on. */
int torci_counters_open(const struct torci_kernel *kernel, const char *where, uint32_t shards,
                        struct torci_counters_file *file) TORC_MUST_CHECK;
struct torci_counters *torci_counters_of(const struct torci_counters_file *file, uint32_t shard);
/* After the last shard has ended. */
void torci_counters_close(struct torci_counters_file *file);

#endif
