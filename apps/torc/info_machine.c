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
#include "apps/torc/info_topology.h"

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
    info_shards_find(machine);
    if (info_read_text(text, sizeof(text), "%s/proc/meminfo", root)) {
        int64_t kib = info_find_number(text, "MemTotal", 10);
        machine->memory_bytes = kib < 0 ? INFO_UNKNOWN : kib * 1024;
    }
}
