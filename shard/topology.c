/* SPDX-License-Identifier: MIT
 *
 * The machine, from hwloc's tree to a table of CPUs. The one object of the library that calls hwloc, which reads /sys by
 * itself: the structure of the hardware is no event that a simulation would want to decide. What may differ between two
 * runs on one machine, the allowed CPUs and the quota, comes through the shim.
 */
#include "shard/topology_internal.h"

#include <errno.h>
#include <hwloc.h>
#include <string.h>

/* A topology and what frees it; the arrays follow in the same allocation. */
struct loaded {
    struct torc_topology face;
    struct torci_host host;
    size_t size_bytes;
};

/* While one is filled in. */
struct draft {
    hwloc_topology_t tree; /* NULL: hwloc had nothing */
    struct torc_topology_cpu *cpus;
    struct torc_topology_node *nodes;
    struct torc_topology_l3 *l3s;
    struct torc_topology *face;
};

/* ---- hwloc ---- */

/* Only what the table needs. Without hwloc's x86 component, which would run CPUID on each CPU in turn and so move this
 * thread over all of them, and without distances: 0.2 ms instead of 0.7 with 2 CPUs, where a CPU more costs some
 * twenty files to read. */
static int configure(hwloc_topology_t tree)
{
    static const hwloc_obj_type_t WANTED[] = {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_CORE, HWLOC_OBJ_L3CACHE};
    unsigned long flags = HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED;
#if HWLOC_API_VERSION >= 0x00020800
    flags |= HWLOC_TOPOLOGY_FLAG_NO_DISTANCES | HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS;
#endif
    if (hwloc_topology_set_flags(tree, flags) ||
        hwloc_topology_set_all_types_filter(tree, HWLOC_TYPE_FILTER_KEEP_NONE))
        return -EINVAL;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(WANTED); i++)
        if (hwloc_topology_set_type_filter(tree, WANTED[i], HWLOC_TYPE_FILTER_KEEP_ALL))
            return -EINVAL;
    /* Without groups hwloc has no place for the nodes of a package that has several, and hangs all of them on it. */
    return hwloc_topology_set_type_filter(tree, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
}

static hwloc_topology_t tree_read(const struct torci_topology_source *source)
{
    hwloc_topology_t tree;
    if (hwloc_topology_init(&tree))
        return NULL;
    bool is_given = source->synthetic || source->xml_path;
    if (source->synthetic && hwloc_topology_set_synthetic(tree, source->synthetic))
        goto fail;
    if (source->xml_path && hwloc_topology_set_xml(tree, source->xml_path))
        goto fail;
    if (!is_given)
        (void)hwloc_topology_set_components(tree, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
    if (configure(tree) || hwloc_topology_load(tree))
        goto fail;
    return tree;
fail:
    hwloc_topology_destroy(tree);
    return NULL;
}

/* The hardware is read once a process and kept: a program may start many sets of shards, and its tests do. CPUs that are
 * plugged in later are added from the allowed ones. */
static hwloc_topology_t tree_of_machine(const struct torci_topology_source *source)
{
    static hwloc_topology_t kept;
    /* ACQUIRE pairs with the release in the exchange below */
    hwloc_topology_t tree = __atomic_load_n(&kept, __ATOMIC_ACQUIRE);
    if (tree)
        return tree;
    hwloc_topology_t mine = tree_read(source);
    if (!mine)
        return NULL;
    /* RELEASE, so that others see the tree; ACQUIRE, so that the loser sees the winner's */
    if (__atomic_compare_exchange_n(&kept, &tree, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return mine;
    hwloc_topology_destroy(mine);
    return tree;
}

static unsigned count_of(hwloc_topology_t tree, hwloc_obj_type_t type)
{
    int count = tree ? hwloc_get_nbobjs_by_type(tree, type) : 0;
    return count > 0 ? (unsigned)count : 0;
}

/* ---- from the tree to the table ---- */

static void fill_nodes(struct draft *draft)
{
    unsigned count = count_of(draft->tree, HWLOC_OBJ_NUMANODE);
    for (unsigned i = 0; i < count; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(draft->tree, HWLOC_OBJ_NUMANODE, i);
        draft->nodes[i].number = node->os_index;
        draft->nodes[i].memory_bytes = node->attr->numanode.local_memory;
    }
    draft->face->node_count = count;
}

static void fill_l3s(struct draft *draft)
{
    unsigned count = count_of(draft->tree, HWLOC_OBJ_L3CACHE);
    for (unsigned i = 0; i < count; i++) {
        hwloc_obj_t cache = hwloc_get_obj_by_type(draft->tree, HWLOC_OBJ_L3CACHE, i);
        draft->l3s[i] = (struct torc_topology_l3){cache->attr->cache.size, true};
    }
    draft->face->l3_count = count;
}

/* Of several nodes around a CPU (memory on the package or behind CXL beside the usual one) its own is the one with the
 * lowest number: Linux numbers nodes that have CPUs before those that have none. */
static uint32_t node_of(const struct draft *draft, hwloc_obj_t pu)
{
    const struct torc_topology_node *best = NULL;
    for (uint32_t i = 0; i < draft->face->node_count; i++) {
        const struct torc_topology_node *node = &draft->nodes[i];
        if (hwloc_bitmap_isset(pu->nodeset, node->number) && (!best || node->number < best->number))
            best = node;
    }
    return best ? (uint32_t)(best - draft->nodes) : 0;
}

/* Where no cache is named: the group of those at the same place that have none either. */
static uint32_t group_without_l3(struct draft *draft, const struct torc_topology_cpu *of)
{
    for (uint32_t i = draft->face->cpu_count; i-- > 0;) {
        const struct torc_topology_cpu *cpu = &draft->cpus[i];
        if (cpu->package == of->package && cpu->node == of->node && !draft->l3s[cpu->l3].is_cache)
            return cpu->l3;
    }
    return draft->face->l3_count++;
}

/* 0 where hwloc can't tell the kinds apart. */
static uint32_t kind_of(hwloc_topology_t tree, hwloc_obj_t pu)
{
    int efficiency = -1;
    int kind = hwloc_cpukinds_get_by_cpuset(tree, pu->cpuset, 0);
    if (kind < 0 || hwloc_cpukinds_get_info(tree, (unsigned)kind, NULL, &efficiency, NULL, NULL, 0))
        return 0;
    return efficiency > 0 ? (uint32_t)efficiency : 0;
}

static uint32_t ancestor_of(const struct draft *draft, hwloc_obj_t pu, hwloc_obj_type_t type,
                            uint32_t otherwise)
{
    hwloc_obj_t found = hwloc_get_ancestor_obj_by_type(draft->tree, type, pu);
    return found ? found->logical_index : otherwise;
}

static void fill_cpus(struct draft *draft)
{
    struct torc_topology *face = draft->face;
    unsigned count = count_of(draft->tree, HWLOC_OBJ_PU);
    unsigned cores = count_of(draft->tree, HWLOC_OBJ_CORE);
    for (unsigned i = 0; i < count; i++) {
        hwloc_obj_t pu = hwloc_get_obj_by_type(draft->tree, HWLOC_OBJ_PU, i);
        struct torc_topology_cpu *cpu = &draft->cpus[face->cpu_count];
        if (pu->os_index >= TORCI_CPUS_MAX)
            continue;
        cpu->cpu = pu->os_index;
        cpu->core = ancestor_of(draft, pu, HWLOC_OBJ_CORE, UINT32_MAX);
        if (cpu->core == UINT32_MAX)
            cpu->core = cores++;
        cpu->package = ancestor_of(draft, pu, HWLOC_OBJ_PACKAGE, 0);
        cpu->node = node_of(draft, pu);
        cpu->l3 = ancestor_of(draft, pu, HWLOC_OBJ_L3CACHE, UINT32_MAX);
        if (cpu->l3 == UINT32_MAX)
            cpu->l3 = group_without_l3(draft, cpu);
        cpu->kind = kind_of(draft->tree, pu);
        const struct torc_topology_cpu *before = face->cpu_count ? cpu - 1 : NULL;
        cpu->thread = before && before->core == cpu->core ? before->thread + 1 : 0;
        if (cpu->kind >= face->kind_count)
            face->kind_count = cpu->kind + 1;
        face->cpu_count++;
    }
    face->core_count = cores;
    face->package_count = count_of(draft->tree, HWLOC_OBJ_PACKAGE);
}

/* Those of the allowed CPUs that the tree lacks, as cores of their own: all of them where hwloc knows nothing, and what
 * was plugged in after the machine was read. */
static void add_missing(struct draft *draft, const struct torci_cpus *allowed)
{
    struct torc_topology *face = draft->face;
    struct torci_cpus known = {0};
    for (uint32_t i = 0; i < face->cpu_count; i++)
        torci_cpus_add(&known, draft->cpus[i].cpu);
    for (unsigned n = torci_cpus_next(allowed, 0); n < TORCI_CPUS_MAX;
         n = torci_cpus_next(allowed, n + 1)) {
        if (torci_cpus_has(&known, n))
            continue;
        struct torc_topology_cpu *cpu = &draft->cpus[face->cpu_count];
        cpu->cpu = n;
        cpu->core = face->core_count++;
        cpu->l3 = group_without_l3(draft, cpu);
        face->cpu_count++;
    }
}

static void mark_allowed(struct draft *draft, const struct torci_cpus *allowed)
{
    struct torc_topology *face = draft->face;
    hwloc_const_bitmap_t set = allowed ? NULL : hwloc_topology_get_allowed_cpuset(draft->tree);
    for (uint32_t i = 0; i < face->cpu_count; i++) {
        struct torc_topology_cpu *cpu = &draft->cpus[i];
        cpu->is_allowed =
            allowed ? torci_cpus_has(allowed, cpu->cpu) : hwloc_bitmap_isset(set, cpu->cpu) != 0;
        face->allowed_count += cpu->is_allowed;
    }
}

static size_t aligned(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

/* ALLOWED is NULL where TREE is another machine's and knows itself. */
static struct loaded *convert(const struct torci_kernel *kernel, hwloc_topology_t tree,
                              const struct torci_cpus *allowed)
{
    size_t cpus = count_of(tree, HWLOC_OBJ_PU) + (allowed ? torci_cpus_count(allowed) : 0);
    size_t nodes = count_of(tree, HWLOC_OBJ_NUMANODE) + 1;
    size_t l3s = count_of(tree, HWLOC_OBJ_L3CACHE) + cpus; /* at worst each is a group */
    size_t at_cpus = aligned(sizeof(struct loaded));
    size_t at_nodes = at_cpus + aligned(cpus * sizeof(struct torc_topology_cpu));
    size_t at_l3s = at_nodes + aligned(nodes * sizeof(struct torc_topology_node));
    size_t size = at_l3s + l3s * sizeof(struct torc_topology_l3);

    struct loaded *loaded = (struct loaded *)kernel->host.alloc(kernel->host.context, size);
    if (!loaded)
        return NULL;
    loaded->host = kernel->host;
    loaded->size_bytes = size;
    char *memory = (char *)loaded;
    struct draft draft = {
        .tree = tree,
        .cpus = (struct torc_topology_cpu *)(void *)(memory + at_cpus),
        .nodes = (struct torc_topology_node *)(void *)(memory + at_nodes),
        .l3s = (struct torc_topology_l3 *)(void *)(memory + at_l3s),
        .face = &loaded->face,
    };
    struct torc_topology *face = draft.face;
    *face = (struct torc_topology){.cpus = draft.cpus, .nodes = draft.nodes, .l3s = draft.l3s};
    if (tree) {
        fill_nodes(&draft);
        fill_l3s(&draft);
        fill_cpus(&draft);
    }
    if (allowed)
        add_missing(&draft, allowed);
    mark_allowed(&draft, allowed);
    face->is_known = tree != NULL;
    face->node_count = face->node_count ? face->node_count : 1;
    face->package_count = face->package_count ? face->package_count : 1;
    face->kind_count = face->kind_count ? face->kind_count : 1;
    return loaded;
}

/* ---- the ways in ---- */

int torci_cpus_allowed(const struct torci_kernel *kernel, struct torci_cpus *cpus)
{
    *cpus = (struct torci_cpus){0};
    long err = TORCI_CALL(kernel, SYS_sched_getaffinity, 0, sizeof(*cpus), (long)cpus);
    if (err < 0)
        return (int)err;
    return torci_cpus_count(cpus) ? 0 : -EINVAL;
}

int torci_topology_load(const struct torci_topology_source *source,
                        const struct torc_topology **topology)
{
    const struct torci_kernel *kernel = source->kernel;
    bool is_given = source->synthetic || source->xml_path;
    hwloc_topology_t tree = NULL;
    if (is_given)
        tree = tree_read(source);
    else if (!source->no_hwloc)
        tree = tree_of_machine(source);
    if (is_given && !tree)
        return -EINVAL;
    /* HWLOC_XMLFILE in the environment must not move shards to CPUs that are not here; as a description of this machine it
     * counts with HWLOC_THISSYSTEM=1. */
    if (!is_given && tree && source->only_this_machine && !hwloc_topology_is_thissystem(tree))
        tree = NULL;
    bool is_this_machine = !tree || source->as_this_machine || hwloc_topology_is_thissystem(tree);
    struct torci_cpus allowed;
    int err = is_this_machine ? torci_cpus_allowed(kernel, &allowed) : 0;
    struct loaded *loaded = err ? NULL : convert(kernel, tree, is_this_machine ? &allowed : NULL);
    if (is_given)
        hwloc_topology_destroy(tree);
    if (!loaded)
        return err ? err : -ENOMEM;
    loaded->face.is_this_machine = is_this_machine;
    if (is_this_machine) {
        int64_t quota = torci_quota_milli(kernel, source->root ? source->root : "");
        loaded->face.quota_milli = quota == TORCI_QUOTA_NONE ? 0 : quota;
    }
    *topology = &loaded->face;
    return 0;
}

int torc_topology_load(const struct torc_topology **topology)
{
    const struct torci_topology_source source = {.kernel = torci_kernel_linux_get()};
    return torci_topology_load(&source, topology);
}

void torc_topology_free(const struct torc_topology *topology)
{
    if (!topology)
        return;
    struct loaded *loaded = (struct loaded *)(void *)(uintptr_t)topology;
    _Static_assert(offsetof(struct loaded, face) == 0, "the face is where the allocation begins");
    struct torci_host host = loaded->host;
    host.free(host.context, loaded, loaded->size_bytes);
}
