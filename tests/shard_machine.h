/* SPDX-License-Identifier: MIT
 *
 * Machines that are not here: hwloc's synthetic descriptions and XML of tests/topologies, with a kernel that says which
 * CPUs are allowed and where this thread runs, and a directory that stands in front of /proc and /sys.
 *
 *     machine_init(&machine);
 *     machine.source.synthetic = "core:4 pu:2";
 *     machine_allow(&machine, "1-3");
 */
#ifndef TORC_TESTS_SHARD_MACHINE_H
#define TORC_TESTS_SHARD_MACHINE_H

#include <ftw.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shard/topology_internal.h"
#include "tests/fault_kernel.h"
#include "tests/harness.h"

struct machine {
    struct fault_kernel fault; /* first: it is the kernel's context */
    struct torci_topology_source source;
    struct torci_cpus allowed;
    int running_on;         /* negative: the kernel does not say */
    int affinity_errno;     /* positive: asking for the allowed CPUs fails */
    const char *device;     /* the path of a block device that is not there … */
    unsigned device_minor;  /* … 259:this */
    const char *btrfs_file; /* a file whose file system has no device number … */
    uint64_t mount_id;      /* … and is mounted as this */
    char root[64];          /* "": no directory was made */
};

static inline long machine_call(void *context, long number, const long arguments[6])
{
    struct machine *machine = context;
    if (number == SYS_sched_getaffinity) {
        if (machine->affinity_errno)
            return -machine->affinity_errno;
        memcpy((void *)(uintptr_t)arguments[2], &machine->allowed, sizeof(machine->allowed));
        return (long)sizeof(machine->allowed);
    }
    if (number == SYS_getcpu) {
        *(unsigned *)(uintptr_t)arguments[0] = (unsigned)machine->running_on;
        return machine->running_on < 0 ? -ENOSYS : 0;
    }
    const char *path = number == SYS_statx ? (const char *)(uintptr_t)arguments[1] : "";
    struct statx *statx = (struct statx *)(uintptr_t)arguments[4];
    if (machine->device && !strcmp(path, machine->device)) {
        *statx = (struct statx){
            .stx_mode = S_IFBLK, .stx_rdev_major = 259, .stx_rdev_minor = machine->device_minor};
        return 0;
    }
    if (machine->btrfs_file && !strcmp(path, machine->btrfs_file)) {
        *statx = (struct statx){.stx_mode = S_IFREG, .stx_mnt_id = machine->mount_id};
        return 0;
    }
    return fault_call(context, number, arguments);
}

static inline void machine_allow(struct machine *machine, const char *list)
{
    char why[TORCI_CPU_WHY_BYTES];
    CHECK(torci_cpu_list_parse(list, &machine->allowed, why) > 0);
}

/* No quota, nothing allowed yet, and nothing of the machine that the tests run on. */
static inline void machine_init(struct machine *machine)
{
    memset(machine, 0, sizeof(*machine));
    fault_kernel_init(&machine->fault);
    machine->fault.hears_crowd = true;
    machine->fault.kernel.call = machine_call;
    machine->source.kernel = &machine->fault.kernel;
    machine->source.root = "/nonexistent";
    machine->source.as_this_machine = true;
    machine->running_on = -1;
}

static inline void machine_put(struct machine *machine, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes the directories of PATH below the root, which is made with the first one. */
static inline const char *machine_path(struct machine *machine, const char *path)
{
    static char full[512];
    if (!machine->root[0]) {
        snprintf(machine->root, sizeof(machine->root), "/tmp/torc-machine-XXXXXX");
        CHECK(mkdtemp(machine->root) != NULL);
        machine->source.root = machine->root;
    }
    snprintf(full, sizeof(full), "%s%s", machine->root, path);
    for (char *slash = full + strlen(machine->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(full, 0755);
        *slash = '/';
    }
    return full;
}

static inline void machine_put(struct machine *machine, const char *path, const char *format, ...)
{
    FILE *file = fopen(machine_path(machine, path), "w");
    CHECK(file != NULL);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    CHECK_EQ(fclose(file), 0);
}

/* A symbolic link; TARGET is relative to where it lies. */
static inline void machine_link(struct machine *machine, const char *path, const char *target)
{
    CHECK_EQ(symlink(target, machine_path(machine, path)), 0);
}

static inline int machine_remove_one(const char *path, const struct stat *st, int type,
                                     struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void machine_deinit(struct machine *machine)
{
    fault_kernel_check_clean(&machine->fault);
    if (machine->root[0])
        CHECK_EQ(nftw(machine->root, machine_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
