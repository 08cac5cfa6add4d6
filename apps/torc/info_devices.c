/* SPDX-License-Identifier: MIT
 *
 * Block devices as /sys/block shows them. Left out is what holds nothing: RAM disks, loop devices without a file, drives
 * without a medium, and the hidden paths below a multipath device.
 */
#include <dirent.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/torc/info.h"
#include "apps/torc/info_mounts.h"
#include "apps/torc/info_read.h"

enum {
    SECTOR_BYTES = 512,
    HOLDERS_DEPTH_MAX = 8, /* a volume on a RAID on a crypt on a partition … */
};

static const struct {
    const char *attribute;
    size_t at;
} numbers[] = {
    {"queue/nr_requests", offsetof(struct info_device, queue_depth)},
    {"queue/rotational", offsetof(struct info_device, rotational)},
    {"ro", offsetof(struct info_device, read_only)},
    {"queue/fua", offsetof(struct info_device, fua)},
    {"queue/io_poll", offsetof(struct info_device, io_poll)},
    {"queue/io_poll_delay", offsetof(struct info_device, io_poll_delay)},
    {"queue/logical_block_size", offsetof(struct info_device, logical_bytes)},
    {"queue/physical_block_size", offsetof(struct info_device, physical_bytes)},
    {"queue/dma_alignment", offsetof(struct info_device, memory_align)},
    {"queue/minimum_io_size", offsetof(struct info_device, io_min_bytes)},
    {"queue/optimal_io_size", offsetof(struct info_device, io_optimal_bytes)},
    {"queue/max_sectors_kb", offsetof(struct info_device, io_max_bytes)},
    {"queue/discard_max_bytes", offsetof(struct info_device, discard_max_bytes)},
    {"queue/atomic_write_max_bytes", offsetof(struct info_device, atomic_write_max_bytes)},
    {"queue/wbt_lat_usec", offsetof(struct info_device, write_back_latency_us)},
};

/* How many entries of a directory are named by a number. */
static int64_t count_numbered(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return INFO_UNKNOWN;
    int64_t count = 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
    closedir(directory);
    return count;
}

static void find_driver(struct info_device *device, const char *directory)
{
    char path[INFO_PATH_BYTES], target[PATH_MAX];
    info_format(path, sizeof(path), "%s/device/driver", directory);
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length > 0) {
        target[length] = '\0';
        const char *slash = strrchr(target, '/');
        info_copy(device->driver, sizeof(device->driver), slash ? slash + 1 : target);
        return;
    }
    /* the others are named after theirs: nvme0n1, dm-3, md0, loop7 */
    size_t letters = strcspn(device->name, "-0123456789") + 1;
    info_copy(device->driver, letters < sizeof(device->driver) ? letters : sizeof(device->driver),
              device->name);
}

static void find_model(struct info_device *device, const char *directory)
{
    static const char *const PLACES[] = {"device/model", "dm/name", "loop/backing_file",
                                         "md/level"};
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++)
        if (info_read_text(device->model, sizeof(device->model), "%s/%s", directory, PLACES[i]))
            return;
}

static void find_queue(struct info_device *device, const char *directory, const char *root)
{
    char text[INFO_TEXT_BYTES], path[INFO_PATH_BYTES];
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        int64_t *number = (int64_t *)(void *)((char *)device + numbers[i].at);
        *number = info_read_number("%s/%s", directory, numbers[i].attribute);
    }
    if (device->memory_align >= 0)
        device->memory_align++; /* the kernel keeps a mask */
    if (device->io_max_bytes >= 0)
        device->io_max_bytes *= 1024;
    info_read_text(text, sizeof(text), "%s/queue/write_cache", directory);
    info_copy(device->write_cache, sizeof(device->write_cache),
              !strcmp(text, "write back")      ? "back"
              : !strcmp(text, "write through") ? "through"
                                               : "");
    info_read_text(device->schedulers, sizeof(device->schedulers), "%s/queue/scheduler", directory);
    info_chosen_word(device->scheduler, sizeof(device->scheduler), device->schedulers);
    info_read_text(device->zoned, sizeof(device->zoned), "%s/queue/zoned", directory);
    info_format(path, sizeof(path), "%s/mq", directory);
    device->hardware_queues = count_numbered(path);
    device->poll_queues =
        info_read_number("%s/sys/module/%s/parameters/poll_queues", root, device->driver);
}

struct search {
    const char *root;
    const struct info_mounts *mounts;
    struct info_device *device;
};

static void find_partition_mounts(const struct search *search, const char *directory, int depth);

/* Where the device or partition in DIRECTORY is mounted, and all that lies on it or is made of it. */
static void find_mounts(const struct search *search, const char *directory, const char *name,
                        int depth)
{
    char path[INFO_PATH_BYTES], text[INFO_TEXT_BYTES], mapped[INFO_TEXT_BYTES + 8], *end;
    if (info_read_text(text, sizeof(text), "%s/dev", directory)) {
        unsigned major = (unsigned)strtoul(text, &end, 10);
        unsigned minor = *end == ':' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
        if (info_read_text(text, sizeof(text), "%s/dm/name", directory)) {
            info_format(mapped, sizeof(mapped), "mapper/%s", text);
            name = mapped;
        }
        info_mounts_add(search->mounts, search->device, name, major, minor);
    }
    info_format(path, sizeof(path), "%s/holders", directory);
    DIR *holders = depth < HOLDERS_DEPTH_MAX ? opendir(path) : NULL;
    for (const struct dirent *entry; holders && (entry = readdir(holders));) {
        if (entry->d_name[0] == '.')
            continue;
        info_format(path, sizeof(path), "%s/sys/block/%s", search->root, entry->d_name);
        find_mounts(search, path, entry->d_name, depth + 1);
    }
    if (holders)
        closedir(holders);
    find_partition_mounts(search, directory, depth);
}

static void find_partition_mounts(const struct search *search, const char *directory, int depth)
{
    DIR *entries = opendir(directory);
    for (const struct dirent *entry; entries && (entry = readdir(entries));) {
        char path[INFO_PATH_BYTES];
        if (entry->d_name[0] == '.' ||
            info_read_number("%s/%s/partition", directory, entry->d_name) < 0)
            continue;
        info_format(path, sizeof(path), "%s/%s", directory, entry->d_name);
        find_mounts(search, path, entry->d_name, depth);
    }
    if (entries)
        closedir(entries);
}

/* False: not one to report. */
static bool find_device(const struct search *search, const char *name)
{
    struct info_device *device = search->device;
    char directory[INFO_PATH_BYTES];
    info_format(directory, sizeof(directory), "%s/sys/block/%s", search->root, name);
    memset(device, 0, sizeof(*device));
    int64_t sectors = info_read_number("%s/size", directory);
    if (sectors <= 0 || info_read_number("%s/hidden", directory) > 0)
        return false;
    info_copy(device->name, sizeof(device->name), name);
    device->size_bytes = sectors * SECTOR_BYTES;
    find_driver(device, directory);
    if (!strcmp(device->driver, "ram"))
        return false;
    find_model(device, directory);
    find_queue(device, directory, search->root);
    find_mounts(search, directory, name, 0);
    return true;
}

bool info_devices_find(struct info_devices *devices, const char *root)
{
    char path[INFO_PATH_BYTES];
    struct dirent **entries;
    *devices = (struct info_devices){0};
    info_format(path, sizeof(path), "%s/sys/block", root);
    int count = scandir(path, &entries, NULL, versionsort);
    if (count < 0)
        return true;
    devices->visible = true;
    unsigned most = count < INFO_DEVICES_MAX ? (unsigned)count : INFO_DEVICES_MAX;
    devices->items = calloc(most + 1, sizeof(devices->items[0]));
    struct info_mounts mounts;
    info_mounts_read(&mounts, root);
    for (int i = 0; i < count; i++) {
        if (devices->items && devices->count < most && entries[i]->d_name[0] != '.') {
            struct search search = {root, &mounts, &devices->items[devices->count]};
            devices->count += find_device(&search, entries[i]->d_name);
        }
        free(entries[i]);
    }
    free(entries);
    info_mounts_free(&mounts);
    return devices->items != NULL;
}

void info_devices_free(struct info_devices *devices)
{
    free(devices->items);
    *devices = (struct info_devices){0};
}
