/* SPDX-License-Identifier: MIT
 *
 * Keeps a benchmark from destroying data: a block device is written only if nothing uses it and nothing is on it.
 * Looked at, cheapest and most telling first:
 *
 *     mounts (/proc/self/mountinfo), swap (/proc/swaps), holders and partitions (/sys), of the device and, for a
 *     partition, of the disk it lies on; then an exclusive open, which the kernel refuses while anything else holds
 *     the device or a part of it; then the signatures that libblkid knows.
 *
 * A look that can't be taken counts as a reason to refuse. The exclusive descriptor is kept for the whole run, so that
 * nobody can mount the device meanwhile. --i-will-lose-data=PATH, with the very path that the job has, lifts all this.
 */
#include <blkid/blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "apps/torc/plan.h"

struct verdict {
    char *reason;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool refuse(struct verdict *v, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(v->reason, v->size, format, arguments);
    va_end(arguments);
    return true;
}

static bool is_device(const char *path, dev_t number)
{
    struct stat st;
    return *path == '/' && !stat(path, &st) && S_ISBLK(st.st_mode) && st.st_rdev == number;
}

/* mountinfo: id parent MAJOR:MINOR root MOUNTPOINT options … - type SOURCE options. A file system on several devices
 * shows a number of its own, so the source is compared too. */
static bool is_mounted(dev_t number, struct verdict *v)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file)
        return refuse(v, "can't be checked: /proc/self/mountinfo: %s", strerror(errno));
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, file) > 0) {
        unsigned major_number, minor_number;
        char point[PATH_MAX], source[PATH_MAX] = "";
        if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major_number, &minor_number, point) != 3)
            continue;
        const char *tail = strstr(line, " - ");
        if (tail && sscanf(tail, " - %*s %4095s", source) != 1)
            *source = '\0';
        found = number == makedev(major_number, minor_number) || is_device(source, number);
        if (found)
            refuse(v, "is mounted on %s", point);
    }
    free(line);
    fclose(file);
    return found;
}

static bool is_swap(dev_t number, struct verdict *v)
{
    FILE *file = fopen("/proc/swaps", "re");
    if (!file) /* a kernel without swap has none */
        return false;
    char line[PATH_MAX + 128], path[PATH_MAX];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file))
        found = sscanf(line, "%4095s", path) == 1 && is_device(path, number);
    fclose(file);
    return found && refuse(v, "is used as swap");
}

/* The first entry of /sys/dev/block/NUMBER/SUB that counts, into NAME; with FILE only an entry that contains it. */
static bool first_entry(dev_t number, const char *sub, const char *file, char *name, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(number), minor(number), sub);
    DIR *directory = opendir(path);
    if (!directory)
        return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(directory));) {
        char inside[PATH_MAX];
        snprintf(inside, sizeof(inside), "%s/%s", entry->d_name, file ? file : "");
        found = entry->d_name[0] != '.' && (!file || !faccessat(dirfd(directory), inside, F_OK, 0));
        if (found)
            snprintf(name, size, "%s", entry->d_name);
    }
    closedir(directory);
    return found;
}

static bool is_held(dev_t number, struct verdict *v)
{
    char name[NAME_MAX + 1];
    return first_entry(number, "holders", NULL, name, sizeof(name)) &&
           refuse(v, "is part of %s", name);
}

static bool has_partitions(dev_t number, struct verdict *v)
{
    char name[NAME_MAX + 1];
    return first_entry(number, "", "partition", name, sizeof(name)) &&
           refuse(v, "has partitions (%s)", name);
}

/* The disk that partition NUMBER lies on; false: it is not a partition. */
static bool parent_of(dev_t number, dev_t *parent)
{
    char path[128];
    unsigned major_number, minor_number;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(number), minor(number));
    if (access(path, F_OK))
        return false;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(number), minor(number));
    FILE *file = fopen(path, "re");
    bool found = file && fscanf(file, "%u:%u", &major_number, &minor_number) == 2;
    if (file)
        fclose(file);
    if (found)
        *parent = makedev(major_number, minor_number);
    return found;
}

static bool is_used_whole(dev_t number, struct verdict *v)
{
    return is_mounted(number, v) || is_swap(number, v) || is_held(number, v);
}

/* What libblkid finds at FD: a file system, a member of something (LVM, RAID, LUKS), a partition table. */
static bool has_signature(int fd, struct verdict *v)
{
    blkid_probe probe = blkid_new_probe();
    if (!probe || blkid_probe_set_device(probe, fd, 0, 0)) {
        blkid_free_probe(probe);
        return refuse(v, "can't be looked at for signatures: %s", strerror(errno));
    }
    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
    blkid_probe_enable_partitions(probe, 1);
    const char *type = NULL;
    /* 1: nothing found. -2, two signatures at once, is data as well. */
    int found = blkid_do_safeprobe(probe);
    bool refused = false;
    if (found == -2)
        refused = refuse(v, "carries more than one signature");
    else if (found < 0)
        refused = refuse(v, "can't be read for signatures: %s", strerror(errno));
    else if (!found && !blkid_probe_lookup_value(probe, "TYPE", &type, NULL))
        refused = refuse(v, "carries data: %s", type);
    else if (!found && !blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL))
        refused = refuse(v, "carries a partition table: %s", type);
    blkid_free_probe(probe);
    return refused;
}

static bool is_refused_by_content(const char *path, struct verdict *v)
{
    int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
    if (fd < 0)
        return errno == EBUSY ? refuse(v, "is in use by the kernel or another program")
                              : refuse(v, "can't be looked at for signatures: %s", strerror(errno));
    bool refused = has_signature(fd, v);
    close(fd);
    return refused;
}

bool bench_device_in_use(const char *path, dev_t number, char *reason, size_t size)
{
    struct verdict v = {reason, size};
    dev_t parent;
    if (is_used_whole(number, &v) || has_partitions(number, &v))
        return true;
    if (parent_of(number, &parent)) {
        char why[512];
        struct verdict whole = {why, sizeof(why)};
        if (is_used_whole(parent, &whole))
            return refuse(&v, "is a partition of a disk that %s", why);
    }
    return is_refused_by_content(path, &v);
}

static bool is_given_up(const struct bench_spec *spec, const char *path)
{
    for (unsigned i = 0; i < spec->lose_data.count; i++)
        if (!strcmp(spec->lose_data.items[i], path))
            return true;
    return false;
}

static int check_target(struct bench_spec *spec, struct bench_target *target)
{
    char reason[512];
    bool given_up = is_given_up(spec, target->path);
    if (!given_up && bench_device_in_use(target->path, target->device, reason, sizeof(reason)))
        return bench_fail(spec, -EBUSY,
                          "%s %s: not written. If all data on it may be lost, add "
                          "--i-will-lose-data=%s",
                          target->path, reason, target->path);
    target->claim = open(target->path, O_WRONLY | O_CLOEXEC | (given_up ? 0 : O_EXCL));
    if (target->claim >= 0)
        return 0;
    return bench_fail(spec, -errno, "%s can't be opened for writing: %s", target->path,
                      strerror(errno));
}

int bench_plan_check(struct bench_plan *plan)
{
    for (struct bench_target *t = plan->targets; t; t = t->next) {
        int err = t->is_device && t->is_written ? check_target(plan->spec, t) : 0;
        if (err)
            return err;
    }
    return 0;
}
