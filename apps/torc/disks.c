/* SPDX-License-Identifier: MIT */
#include "apps/torc/disks.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static FILE *open_attribute(dev_t number, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(number), minor(number), name);
    return fopen(path, "re");
}

static bool read_number(dev_t number, const char *name, dev_t *result)
{
    unsigned major_number, minor_number;
    FILE *file = open_attribute(number, name);
    bool found = file && fscanf(file, "%u:%u", &major_number, &minor_number) == 2;
    if (file)
        fclose(file);
    if (found)
        *result = makedev(major_number, minor_number);
    return found;
}

static bool read_counts(dev_t number, struct bench_disk_counts *counts)
{
    FILE *file = open_attribute(number, "stat");
    uint64_t v[11], in_flight;
    bool found =
        file && fscanf(file,
                       "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                       " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                       &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &in_flight, &v[8],
                       &v[9]) == 11;
    if (file)
        fclose(file);
    if (found)
        *counts = (struct bench_disk_counts){
            .ios = {v[0], v[4]},
            .merges = {v[1], v[5]},
            .sectors = {v[2], v[6]},
            .ticks_ms = {v[3], v[7]},
            .busy_ms = v[8],
            .queue_ms = v[9],
        };
    return found;
}

static void name_disk(struct bench_disk *disk)
{
    char path[64], link[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(disk->number), minor(disk->number));
    ssize_t length = readlink(path, link, sizeof(link) - 1);
    link[length > 0 ? length : 0] = '\0';
    const char *slash = strrchr(link, '/');
    snprintf(disk->name, sizeof(disk->name), "%.*s", (int)sizeof(disk->name) - 1,
             slash ? slash + 1 : "?");
}

static void add_disk(struct bench_disks *disks, dev_t number)
{
    /* A partition has no busy time of its own worth showing: fio reports the whole disk. */
    dev_t whole;
    FILE *partition = open_attribute(number, "partition");
    if (partition) {
        fclose(partition);
        if (read_number(number, "../dev", &whole))
            number = whole;
    }
    for (unsigned i = 0; i < disks->count; i++)
        if (disks->items[i].number == number)
            return;
    if (disks->count == BENCH_DISKS_MAX)
        return;
    struct bench_disk *disk = &disks->items[disks->count];
    *disk = (struct bench_disk){.number = number};
    if (!read_counts(number, &disk->before))
        return;
    name_disk(disk);
    disks->count++;
}

/* The devices that NUMBER is made of, if it is mapped or a RAID. */
static void add_parts(struct bench_disks *disks, dev_t number)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/slaves", major(number), minor(number));
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char attribute[NAME_MAX + 32];
        dev_t part;
        snprintf(attribute, sizeof(attribute), "slaves/%s/dev", entry->d_name);
        if (entry->d_name[0] != '.' && read_number(number, attribute, &part))
            add_disk(disks, part);
    }
    if (directory)
        closedir(directory);
}

void bench_disks_begin(struct bench_disks *disks, const struct bench_plan *plan, uint64_t now_ms)
{
    disks->count = 0;
    disks->began_ms = now_ms;
    for (const struct bench_target *t = plan->targets; t; t = t->next) {
        add_disk(disks, t->device);
        add_parts(disks, t->device);
    }
}

void bench_disks_end(struct bench_disks *disks, uint64_t now_ms)
{
    for (unsigned i = 0; i < disks->count; i++) {
        struct bench_disk *disk = &disks->items[i];
        struct bench_disk_counts now, *old = &disk->before;
        if (!read_counts(disk->number, &now))
            now = *old; /* unplugged: nothing to say of it */
        for (int d = 0; d < BENCH_DIRECTIONS; d++) {
            disk->during.ios[d] = now.ios[d] - old->ios[d];
            disk->during.merges[d] = now.merges[d] - old->merges[d];
            disk->during.sectors[d] = now.sectors[d] - old->sectors[d];
            disk->during.ticks_ms[d] = now.ticks_ms[d] - old->ticks_ms[d];
        }
        disk->during.busy_ms = now.busy_ms - old->busy_ms;
        disk->during.queue_ms = now.queue_ms - old->queue_ms;
        disk->watched_ms = now_ms - disks->began_ms;
    }
}

double bench_disk_util(const struct bench_disk *disk)
{
    double util =
        disk->watched_ms ? 100.0 * (double)disk->during.busy_ms / (double)disk->watched_ms : 0;
    return util > 100 ? 100 : util;
}
