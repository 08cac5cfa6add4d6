/* SPDX-License-Identifier: MIT */
#include "apps/torc/info_mounts.h"

#include <stdlib.h>
#include <string.h>

#include "apps/torc/info_read.h"

enum { MOUNT_TABLE_BYTES = 1 << 20 };

/* The kernel writes blanks and the like as \ooo. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        bool is_octal = from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                        from[2] <= '7' && from[3] >= '0' && from[3] <= '7';
        *to = is_octal ? (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'))
                       : *from;
        from += is_octal ? 4 : 1;
    }
    *to = '\0';
}

/* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]... - TYPE SOURCE OPTIONS */
static bool parse(char *line, struct info_mount *mount)
{
    enum { NUMBER = 2, ROOT = 3, POINT = 4, FIXED = 6 };
    char *fields[FIXED], *rest = NULL, *end;
    for (int i = 0; i < FIXED; i++)
        if (!(fields[i] = strtok_r(i ? NULL : line, " ", &rest)))
            return false;
    char *field;
    while ((field = strtok_r(NULL, " ", &rest)) && strcmp(field, "-") != 0)
        continue;
    char *type = strtok_r(NULL, " ", &rest), *source = strtok_r(NULL, " ", &rest);
    if (!type || !source)
        return false;
    mount->major = (unsigned)strtoul(fields[NUMBER], &end, 10);
    mount->minor = *end == ':' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
    mount->is_whole = !strcmp(fields[ROOT], "/");
    unescape(fields[POINT]);
    unescape(source);
    mount->point = fields[POINT];
    mount->source = source;
    return true;
}

void info_mounts_read(struct info_mounts *mounts, const char *root)
{
    *mounts = (struct info_mounts){.text = malloc(MOUNT_TABLE_BYTES)};
    if (!mounts->text ||
        !info_read_text(mounts->text, MOUNT_TABLE_BYTES, "%s/proc/self/mountinfo", root))
        return;
    unsigned lines = 1;
    for (const char *at = mounts->text; (at = strchr(at, '\n')); at++)
        lines++;
    mounts->items = calloc(lines, sizeof(mounts->items[0]));
    if (!mounts->items)
        return;
    char *rest = NULL;
    for (char *line = strtok_r(mounts->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        mounts->count += parse(line, &mounts->items[mounts->count]);
}

void info_mounts_free(struct info_mounts *mounts)
{
    free(mounts->text);
    free(mounts->items);
    *mounts = (struct info_mounts){0};
}

/* Some file systems (btrfs) have a number of their own, so that only the source tells the device. */
static bool is_on(const struct info_mount *mount, const char *name, unsigned major, unsigned minor)
{
    static const char DEVICES[] = "/dev/";
    if (mount->major == major && mount->minor == minor)
        return true;
    return !strncmp(mount->source, DEVICES, sizeof(DEVICES) - 1) &&
           !strcmp(mount->source + sizeof(DEVICES) - 1, name);
}

static void add(struct info_device *device, const char *point)
{
    for (unsigned i = 0; i < device->mount_count; i++)
        if (!strcmp(device->mounts[i], point))
            return;
    if (device->mount_count < INFO_MOUNTS_MAX)
        info_copy(device->mounts[device->mount_count++], INFO_MOUNT_BYTES, point);
}

void info_mounts_add(const struct info_mounts *mounts, struct info_device *device, const char *name,
                     unsigned major, unsigned minor)
{
    for (int whole = 1; whole >= 0; whole--)
        for (unsigned i = 0; i < mounts->count; i++)
            if (mounts->items[i].is_whole == (whole == 1) &&
                is_on(&mounts->items[i], name, major, minor))
                add(device, mounts->items[i].point);
}
