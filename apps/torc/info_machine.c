/* SPDX-License-Identifier: MIT
 *
 * Kernel, processors and memory. The processors are hwloc's business, which knows every machine; it is told to look at
 * all of them, also at those that this process may not use.
 */
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "apps/torc/info.h"
#include "apps/torc/info_read.h"

static void find_kernel(struct info_machine *machine)
{
    struct utsname name;
    if (uname(&name))
        return;
    info_copy(machine->system, sizeof(machine->system), name.sysname);
    info_copy(machine->release, sizeof(machine->release), name.release);
    info_copy(machine->architecture, sizeof(machine->architecture), name.machine);
}

static void find_allowed(struct info_machine *machine, hwloc_topology_t topology)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (set && !hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_THREAD)) {
        machine->allowed = hwloc_bitmap_weight(set);
        hwloc_bitmap_list_snprintf(machine->allowed_cpus, sizeof(machine->allowed_cpus), set);
    }
    hwloc_bitmap_free(set);
}

static void find_processors(struct info_machine *machine)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology))
        return;
    (void)hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    if (!hwloc_topology_load(topology)) {
        machine->packages = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PACKAGE);
        machine->cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
        machine->threads = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
        machine->numa_nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
        machine->l3_count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_L3CACHE);
        hwloc_obj_t cache = hwloc_get_obj_by_type(topology, HWLOC_OBJ_L3CACHE, 0);
        machine->l3_bytes = cache ? (int64_t)cache->attr->cache.size : INFO_UNKNOWN;
        hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
        const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
        info_copy(machine->cpu, sizeof(machine->cpu), model ? model : "");
        find_allowed(machine, topology);
    }
    hwloc_topology_destroy(topology);
}

/* ---- control groups ---- */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t quota_of(int64_t quota, int64_t period)
{
    return quota > 0 && period > 0 ? quota * 1000 / period : INFO_UNLIMITED;
}

/* Of one group: cpu.max says "150000 100000" or "max 100000", the older kind has a file for each. */
static int64_t group_quota(const char *root, const char *mount, const char *group)
{
    char text[64], *end;
    if (info_read_text(text, sizeof(text), "%s%s%s/cpu.max", root, mount, group)) {
        long long quota = strtoll(text, &end, 10);
        return end == text ? INFO_UNLIMITED : quota_of(quota, strtoll(end, NULL, 10));
    }
    return quota_of(info_read_number("%s%s%s/cpu.cfs_quota_us", root, mount, group),
                    info_read_number("%s%s%s/cpu.cfs_period_us", root, mount, group));
}

/* A group has what the tightest of those above it leaves. In a container the path may be the host's and lead nowhere
 * here; the mount itself is the container's group then, and it is looked at last. */
static int64_t path_quota(const char *root, const char *mount, const char *path)
{
    char group[512];
    int64_t least = INFO_UNLIMITED;
    info_copy(group, sizeof(group), path);
    for (;;) {
        char *slash = strrchr(group, '/');
        if (slash && !slash[1])
            *slash = '\0';
        least = smaller(least, group_quota(root, mount, group));
        if (!group[0] || !(slash = strrchr(group, '/')))
            return least;
        *slash = '\0';
    }
}

int64_t info_quota_find(const char *root)
{
    char text[4096], *next = text;
    int64_t least = INFO_UNLIMITED;
    info_read_text(text, sizeof(text), "%s/proc/self/cgroup", root);
    while (next && *next) { /* NUMBER:CONTROLLERS:PATH */
        char *line = next;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *controllers = strchr(line, ':'),
             *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        if (controllers[1] == '\0') {
            least = smaller(least, path_quota(root, "/sys/fs/cgroup", path));
        } else if (info_has_word(controllers + 1, "cpu")) {
            least = smaller(least, path_quota(root, "/sys/fs/cgroup/cpu", path));
            least = smaller(least, path_quota(root, "/sys/fs/cgroup/cpu,cpuacct", path));
        }
    }
    return least;
}

void info_machine_find(struct info_machine *machine, const char *root)
{
    char text[4096];
    *machine = (struct info_machine){.packages = INFO_UNKNOWN,
                                     .cores = INFO_UNKNOWN,
                                     .threads = INFO_UNKNOWN,
                                     .numa_nodes = INFO_UNKNOWN,
                                     .l3_count = INFO_UNKNOWN,
                                     .l3_bytes = INFO_UNKNOWN,
                                     .allowed = INFO_UNKNOWN,
                                     .memory_bytes = INFO_UNKNOWN};
    find_kernel(machine);
    find_processors(machine);
    machine->quota_milli = info_quota_find(root);
    if (info_read_text(text, sizeof(text), "%s/proc/meminfo", root)) {
        int64_t kib = info_find_number(text, "MemTotal", 10);
        machine->memory_bytes = kib < 0 ? INFO_UNKNOWN : kib * 1024;
    }
}
