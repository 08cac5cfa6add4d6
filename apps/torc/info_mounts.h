/* SPDX-License-Identifier: MIT
 *
 * The mount table of this process, read once.
 */
#ifndef TORC_APPS_INFO_MOUNTS_H
#define TORC_APPS_INFO_MOUNTS_H

#include "apps/torc/info.h"

struct info_mount {
    unsigned major, minor;
    bool is_whole; /* from the file system's root on, no bind mount of a part */
    const char *source, *point;
};

struct info_mounts {
    char *text; /* what the items point into */
    unsigned count;
    struct info_mount *items;
};

/* Empty when it can't be read or memory is short. */
void info_mounts_read(struct info_mounts *mounts, const char *root);
void info_mounts_free(struct info_mounts *mounts);
/* Adds to DEVICE where the block device NAME, MAJOR:MINOR, is mounted; each place once. */
void info_mounts_add(const struct info_mounts *mounts, struct info_device *device, const char *name,
                     unsigned major, unsigned minor);

#endif
