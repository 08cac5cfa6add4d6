/* SPDX-License-Identifier: MIT
 *
 * Where a device is, by sysfs: /sys/dev/block/MAJOR:MINOR and /sys/class/net/NAME lead into the tree of devices, and the
 * nearest one above that is on a bus (PCI, as a rule) says which CPUs are local to it. The tree is climbed by "..",
 * which the kernel resolves behind symbolic links. Devices made of others (dm, md, loop, bond, NVMe with several paths)
 * are where those are. hwloc has no part in it: it would read every device to find one.
 */
#include "shard/near_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>

#include "io/abi_internal.h"
#include "shard/sysfile_internal.h"

enum {
    CLIMB_MAX = 12,    /* from a partition to the root of PCI it is 8 */
    NESTING_MAX = 5,   /* a loop device on a file on LVM on RAID on NVMe */
    LIST_BYTES = 2048, /* a list of CPUs */
    MOUNTS_BYTES = 256 * 1024,
    NAME_BYTES = 256,
};

struct search {
    const struct torci_kernel *kernel;
    const char *root;
    struct torci_cpus *cpus;
    unsigned nesting;
};

static int look_for(struct search *search, const char *name);

static bool there_is(const struct search *search, const char *path)
{
    struct statx statx;
    return TORCI_CALL(search->kernel, SYS_statx, AT_FDCWD, (long)path, 0, 0, (long)&statx) == 0;
}

/* The CPUs of a list in a file. How many, or a negative errno. Its buffer is not to be in every caller's frame. */
__attribute__((noinline)) static int add_list(const struct torci_kernel *kernel, const char *path,
                                              struct torci_cpus *cpus)
{
    char text[LIST_BYTES];
    struct torci_cpu_list list;
    int got = torci_sysfile_read(kernel, text, sizeof(text), path), cpu, count = 0;
    if (got < 0)
        return got;
    torci_cpu_list_init(&list, text);
    while ((cpu = torci_cpu_list_next(&list)) >= 0 && cpu != TORCI_CPU_LIST_END) {
        torci_cpus_add(cpus, (unsigned)cpu);
        count++;
    }
    return cpu < 0 ? cpu : count;
}

/* What the directory BASE of sysfs, or the nearest one above it that knows, says. */
static int climb(struct search *search, const char *base)
{
    char path[TORCI_PATH_BYTES], text[32];
    size_t length = strlen(base);
    if (length + 3 * CLIMB_MAX + sizeof("/local_cpulist") > sizeof(path))
        return -ENAMETOOLONG;
    memcpy(path, base, length + 1);
    for (int level = 0; level < CLIMB_MAX; level++, length += 3) {
        snprintf(path + length, sizeof(path) - length, "/local_cpulist");
        int count = add_list(search->kernel, path, search->cpus);
        if (count > 0)
            return count;
        snprintf(path + length, sizeof(path) - length, "/numa_node");
        if (torci_sysfile_read(search->kernel, text, sizeof(text), path) > 0 &&
            torci_number(text, NULL) >= 0) {
            char node[TORCI_PATH_BYTES];
            snprintf(node, sizeof(node), "%s/sys/devices/system/node/node%lld/cpulist",
                     search->root, (long long)torci_number(text, NULL));
            count = add_list(search->kernel, node, search->cpus);
            if (count > 0)
                return count;
        }
        memcpy(path + length, "/..", sizeof("/.."));
    }
    return 0;
}

/* ---- devices made of others ---- */

struct dirent64 { /* getdents64's, which glibc names only for itself */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* "nvme0" but neither "nvme0n1" nor "nvme0c0n1". */
static bool is_nvme_controller(const char *name)
{
    const char *end;
    return !strncmp(name, "nvme", 4) && torci_number(name + 4, &end) >= 0 && !*end;
}

/* Climbs from each entry of the directory; of controllers only where that is asked for. */
static int climb_entries(struct search *search, const char *directory, bool controllers)
{
    uint64_t buffer[128];
    char path[TORCI_PATH_BYTES];
    int found = 0;
    long fd = TORCI_CALL(search->kernel, SYS_openat, AT_FDCWD, (long)directory,
                         O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    for (;;) {
        long got = TORCI_CALL(search->kernel, SYS_getdents64, fd, (long)buffer, sizeof(buffer));
        if (got <= 0)
            break;
        const char *at = (const char *)buffer, *end = at + got;
        while (at < end) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)at;
            at += entry->length;
            if (entry->name[0] == '.' || (controllers && !is_nvme_controller(entry->name)))
                continue;
            snprintf(path, sizeof(path), "%s/%s", directory, entry->name);
            int count = climb(search, path);
            found += count > 0 ? count : 0;
        }
    }
    (void)TORCI_CALL(search->kernel, SYS_close, fd);
    return found;
}

/* What the block device with this directory is made of. */
static int look_below(struct search *search, const char *base)
{
    /* of a disk, and of a partition, which is a directory of its disk */
    static const char *const SLAVES[] = {"/slaves", "/../slaves"};
    static const char *const PATHS[] = {"/..", "/../.."};
    static const char *const BACKING[] = {"/loop/backing_file", "/../loop/backing_file"};
    char path[TORCI_PATH_BYTES], file[TORCI_PATH_BYTES];
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(SLAVES); i++) {
        snprintf(path, sizeof(path), "%s%s", base, SLAVES[i]);
        int found = climb_entries(search, path, false);
        if (found)
            return found;
        snprintf(path, sizeof(path), "%s%s", base, PATHS[i]);
        found = climb_entries(search, path, true);
        if (found)
            return found;
        snprintf(path, sizeof(path), "%s%s", base, BACKING[i]);
        if (torci_sysfile_read(search->kernel, file, sizeof(file), path) > 0) {
            file[strcspn(file, "\n")] = '\0';
            return look_for(search, file);
        }
    }
    return 0;
}

/* A bond is where its members are. */
static int look_at_members(struct search *search, const char *base)
{
    char path[TORCI_PATH_BYTES + sizeof("/bonding/slaves")], names[LIST_BYTES];
    int found = 0;
    snprintf(path, sizeof(path), "%s/bonding/slaves", base);
    if (torci_sysfile_read(search->kernel, names, sizeof(names), path) <= 0)
        return 0;
    for (char *name = names; *name;) {
        size_t length = strcspn(name, " \n");
        char *next = name + length + (name[length] != '\0');
        name[length] = '\0';
        if (length) {
            int count = look_for(search, name);
            found += count > 0 ? count : 0;
        }
        name = next;
    }
    return found;
}

/* ---- names ---- */

/* What is mounted there, for file systems that have no device number of their own (btrfs, ZFS). A line of mountinfo:
 * ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS */
static int mounted_source(const struct search *search, uint64_t mount_id, char *source)
{
    const struct torci_kernel *kernel = search->kernel;
    char path[TORCI_PATH_BYTES];
    int err = -ENOENT;
    char *text = (char *)kernel->host.alloc(kernel->host.context, MOUNTS_BYTES);
    if (!text)
        return -ENOMEM;
    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", search->root);
    int got = torci_sysfile_read(kernel, text, MOUNTS_BYTES, path);
    for (char *line = text; got > 0 && line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        char *tail = strstr(line, " - ");
        if (tail && torci_number(line, NULL) == (int64_t)mount_id) {
            tail += 3;
            tail += strcspn(tail, " ");
            tail += *tail == ' ';
            tail[strcspn(tail, " ")] = '\0';
            if (*tail == '/') {
                snprintf(source, NAME_BYTES, "%s", tail);
                err = 0;
            }
            break;
        }
        line = end;
    }
    kernel->host.free(kernel->host.context, text, MOUNTS_BYTES);
    return err;
}

static int look_at_path(struct search *search, const char *name)
{
    struct statx statx;
    char base[TORCI_PATH_BYTES], source[NAME_BYTES];
    long err = TORCI_CALL(search->kernel, SYS_statx, AT_FDCWD, (long)name, 0,
                          STATX_TYPE | STATX_MNT_ID, (long)&statx);
    if (err)
        return (int)err;
    bool is_device = (statx.stx_mode & 0170000) == 0060000;
    uint32_t major = is_device ? statx.stx_rdev_major : statx.stx_dev_major;
    uint32_t minor = is_device ? statx.stx_rdev_minor : statx.stx_dev_minor;
    if (!major && !is_device)
        return mounted_source(search, statx.stx_mnt_id, source) ? 0 : look_for(search, source);
    snprintf(base, sizeof(base), "%s/sys/dev/block/%u:%u", search->root, major, minor);
    int found = climb(search, base);
    return found ? found : look_below(search, base);
}

static int look_for(struct search *search, const char *name)
{
    char base[TORCI_PATH_BYTES];
    int found;
    if (search->nesting == NESTING_MAX)
        return 0;
    search->nesting++;
    if (strchr(name, '/')) {
        found = look_at_path(search, name);
        goto out;
    }
    snprintf(base, sizeof(base), "%s/sys/class/net/%s", search->root, name);
    if (there_is(search, base)) {
        found = climb(search, base);
        found = found ? found : look_at_members(search, base);
        goto out;
    }
    snprintf(base, sizeof(base), "%s/sys/class/block/%s", search->root, name);
    if (there_is(search, base)) {
        found = climb(search, base);
        found = found ? found : look_below(search, base);
        goto out;
    }
    found = -ENODEV;
out:
    search->nesting--;
    return found;
}

int torci_near_find(const struct torci_kernel *kernel, const char *root, const char *name,
                    struct torci_cpus *cpus, char *why)
{
    struct search search = {.kernel = kernel, .root = root, .cpus = cpus};
    *cpus = (struct torci_cpus){0};
    int found =
        !name[0] || !strcmp(name, ".") || !strcmp(name, "..") ? -ENODEV : look_for(&search, name);
    if (found >= 0)
        return (int)torci_cpus_count(cpus);
    if (found == -ENODEV || found == -ENOENT)
        snprintf(why, TORCI_CPU_WHY_BYTES,
                 "no block device, file or network interface is called \"%.48s\"", name);
    else
        snprintf(why, TORCI_CPU_WHY_BYTES, "\"%.48s\" can't be looked at: errno %d", name, -found);
    return found;
}
