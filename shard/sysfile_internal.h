/* SPDX-License-Identifier: MIT
 *
 * Small files of /proc and /sys, read through the shim before there is a ring to read them with. ROOT stands before
 * every path: "" here, a made-up machine in the tests.
 */
#ifndef TORC_SHARD_SYSFILE_INTERNAL_H
#define TORC_SHARD_SYSFILE_INTERNAL_H

#include "io/kernel_internal.h"

enum { TORCI_PATH_BYTES = 512 };

/* The file's beginning, cut to SIZE with its final zero, into TEXT. Its length, or what open and read return. */
int torci_sysfile_read(const struct torci_kernel *kernel, char *text, size_t size,
                       const char *path) TORC_MUST_CHECK;

/* The number that TEXT begins with; -1 where it begins with none. END, if not NULL, is where it ends. */
int64_t torci_number(const char *text, const char **end);

#endif
