/* SPDX-License-Identifier: MIT
 *
 * Placement near a device, on trees of devices that each test writes.
 */
#include "shard/near_internal.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "shard/placement_internal.h"
#include "tests/shard_machine.h"

static struct machine machine;
static const char BOX[] = "pack:2 [numa(memory=64GB)] l3:2 core:4 pu:1"; /* nodes 0-7 and 8-15 */

/* A PCI device next to node 1 with this below it; both with what sysfs has. */
static void put_pci(const char *slot, const char *cpus, const char *below)
{
    char path[256];
    snprintf(path, sizeof(path), "/sys/devices/pci0000:00/0000:00:01.0/%s/local_cpulist", slot);
    machine_put(&machine, path, "%s\n", cpus);
    snprintf(path, sizeof(path), "/sys/devices/pci0000:00/0000:00:01.0/local_cpulist");
    machine_put(&machine, path, "0-15\n"); /* a bridge further up knows less */
    snprintf(path, sizeof(path), "/sys/devices/pci0000:00/0000:00:01.0/%s/%s/uevent", slot, below);
    machine_put(&machine, path, "\n");
}

static void begin(void)
{
    machine_init(&machine);
    machine.source.synthetic = BOX;
    machine_allow(&machine, "0-15");
}

/* An NVMe disk on node 1 with a partition, as 259:0 and 259:1. */
static void put_nvme(void)
{
    put_pci("0000:41:00.0", "8-15", "nvme/nvme0/nvme0n1/nvme0n1p1");
    machine_link(&machine, "/sys/class/block/nvme0n1",
                 "../../devices/pci0000:00/0000:00:01.0/0000:41:00.0/nvme/nvme0/nvme0n1");
    machine_link(&machine, "/sys/dev/block/259:0",
                 "../../devices/pci0000:00/0000:00:01.0/0000:41:00.0/nvme/nvme0/nvme0n1");
    machine_link(&machine, "/sys/dev/block/259:1",
                 "../../devices/pci0000:00/0000:00:01.0/0000:41:00.0/nvme/nvme0/nvme0n1/nvme0n1p1");
}

/* What is near NAME, or why not. */
static const char *near(const char *name)
{
    static char text[TORCI_CPU_WHY_BYTES];
    struct torci_cpus cpus;
    int found = torci_near_find(&machine.fault.kernel, machine.root, name, &cpus, text);
    if (found >= 0) {
        torci_cpus_format(&cpus, text, sizeof(text));
        CHECK_EQ(found, torci_cpus_count(&cpus));
    }
    return text;
}

TEST(shard_near, disk_and_partition_by_path_and_by_name)
{
    begin();
    put_nvme();
    CHECK_STR(near("nvme0n1"), "8-15");
    machine.device = "/dev/nvme0n1";
    CHECK_STR(near("/dev/nvme0n1"), "8-15");
    machine.device_minor = 1;
    CHECK_STR(near("/dev/nvme0n1"), "8-15");
    machine_deinit(&machine);
}

TEST(shard_near, file_is_where_its_disk_is)
{
    struct stat st;
    char link[64], file[128];
    begin();
    put_nvme();
    machine_put(&machine, "/file", "x");
    snprintf(file, sizeof(file), "%s/file", machine.root);
    CHECK_EQ(stat(file, &st), 0);
    if (!major(st.st_dev))
        machine.btrfs_file = file; /* such ones are tested below */
    snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
    machine_link(&machine, link, "../../class/block/nvme0n1");
    CHECK_STR(near(file), major(st.st_dev) ? "8-15" : "");
    machine_deinit(&machine);
}

TEST(shard_near, file_system_without_a_device_number_is_where_it_is_mounted_from)
{
    static const char MOUNTS[] = "7 1 0:33 / /other rw shared:7 - btrfs /dev/other rw,subvol=/\n"
                                 "8 1 0:34 / /data rw shared:7 - btrfs /dev/nvme0n1 rw,subvol=/\n"
                                 "9 1 0:35 / /run rw - tmpfs tmpfs rw\n"
                                 "88 1 0:36 / /torn rw shared:7";
    begin();
    put_nvme();
    machine.device = "/dev/nvme0n1";
    machine.btrfs_file = "/data/file";
    machine.mount_id = 8;
    CHECK_STR(near("/data/file"), ""); /* no table of mounts */
    machine_put(&machine, "/proc/self/mountinfo", "%s", MOUNTS);
    CHECK_STR(near("/data/file"), "8-15");
    machine.mount_id = 9; /* from no disk */
    CHECK_STR(near("/data/file"), "");
    machine.mount_id = 88;
    CHECK_STR(near("/data/file"), "");
    machine.mount_id = 10;
    CHECK_STR(near("/data/file"), "");
    machine.fault.fail_kinds = FAULT_ALLOC;
    machine.fault.fail_nth = 0;
    machine.mount_id = 8;
    CHECK_STR(near("/data/file"), "");
    machine_deinit(&machine);
}

TEST(shard_near, network_interface_by_name)
{
    begin();
    put_pci("0000:42:00.0", "0-3", "net/eth0");
    machine_link(&machine, "/sys/class/net/eth0",
                 "../../devices/pci0000:00/0000:00:01.0/0000:42:00.0/net/eth0");
    CHECK_STR(near("eth0"), "0-3");
    machine_deinit(&machine);
}

TEST(shard_near, bond_is_where_its_members_are)
{
    begin();
    put_pci("0000:42:00.0", "0-3", "net/eth0");
    put_pci("0000:43:00.0", "8-11", "net/eth1");
    machine_link(&machine, "/sys/class/net/eth0",
                 "../../devices/pci0000:00/0000:00:01.0/0000:42:00.0/net/eth0");
    machine_link(&machine, "/sys/class/net/eth1",
                 "../../devices/pci0000:00/0000:00:01.0/0000:43:00.0/net/eth1");
    machine_put(&machine, "/sys/devices/virtual/net/bond0/bonding/slaves", "eth0 eth1\n");
    machine_link(&machine, "/sys/class/net/bond0", "../../devices/virtual/net/bond0");
    CHECK_STR(near("bond0"), "0-3,8-11");
    /* one that is its own member ends, too */
    machine_put(&machine, "/sys/devices/virtual/net/bond0/bonding/slaves", "bond0 eth1\n");
    CHECK_STR(near("bond0"), "8-11");
    machine_deinit(&machine);
}

TEST(shard_near, node_number_serves_where_there_is_no_list)
{
    begin();
    machine_put(&machine, "/sys/devices/platform/ACPI0/numa_node", "1\n");
    machine_put(&machine, "/sys/devices/platform/ACPI0/virtio2/block/vda/size", "1\n");
    machine_put(&machine, "/sys/devices/system/node/node1/cpulist", "8-15\n");
    machine_link(&machine, "/sys/class/block/vda",
                 "../../devices/platform/ACPI0/virtio2/block/vda");
    CHECK_STR(near("vda"), "8-15");
    machine_put(&machine, "/sys/devices/platform/ACPI0/numa_node", "0\n");
    machine_put(&machine, "/sys/devices/system/node/node0/cpulist", "0-7\n");
    CHECK_STR(near("vda"), "0-7");
    /* what knows nothing is passed by on the way up */
    machine_put(&machine, "/sys/devices/platform/ACPI0/virtio2/local_cpulist", "\n");
    machine_put(&machine, "/sys/devices/platform/ACPI0/virtio2/numa_node", "-1\n");
    CHECK_STR(near("vda"), "0-7");
    machine_put(&machine, "/sys/devices/platform/ACPI0/virtio2/numa_node", "7\n");
    CHECK_STR(near("vda"), "0-7");
    machine_deinit(&machine);
}

TEST(shard_near, device_made_of_others_is_where_they_are)
{
    begin();
    put_nvme();
    machine_put(&machine, "/sys/devices/virtual/block/dm-0/size", "1\n");
    machine_link(&machine, "/sys/devices/virtual/block/dm-0/slaves/nvme0n1p1",
                 "../../../../../dev/block/259:1");
    machine_link(&machine, "/sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
    CHECK_STR(near("dm-0"), "8-15");
    /* a partition of such a device */
    machine_put(&machine, "/sys/devices/virtual/block/dm-0/dm-0p1/size", "1\n");
    machine_link(&machine, "/sys/class/block/dm-0p1", "../../devices/virtual/block/dm-0/dm-0p1");
    CHECK_STR(near("dm-0p1"), "8-15");
    /* a loop device is where its file is */
    machine_put(&machine, "/sys/devices/virtual/block/loop7/loop/backing_file", "/dev/fake\n");
    machine_link(&machine, "/sys/class/block/loop7", "../../devices/virtual/block/loop7");
    machine.device = "/dev/fake";
    CHECK_STR(near("loop7"), "8-15");
    machine_deinit(&machine);
}

TEST(shard_near, nvme_with_several_paths_is_where_its_controllers_are)
{
    begin();
    put_pci("0000:41:00.0", "8-11", "nvme/nvme0/nvme0c0n1");
    put_pci("0000:42:00.0", "0-3", "nvme/nvme1/nvme0c1n1");
    static const char SUBSYSTEM[] = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0/";
    char path[128];
    snprintf(path, sizeof(path), "%snvme0n1/size", SUBSYSTEM);
    machine_put(&machine, path, "1\n");
    snprintf(path, sizeof(path), "%snvme0", SUBSYSTEM);
    machine_link(&machine, path, "../../../pci0000:00/0000:00:01.0/0000:41:00.0/nvme/nvme0");
    snprintf(path, sizeof(path), "%snvme1", SUBSYSTEM);
    machine_link(&machine, path, "../../../pci0000:00/0000:00:01.0/0000:42:00.0/nvme/nvme1");
    /* another name space of the subsystem is none of its controllers */
    put_pci("0000:43:00.0", "12-15", "nvme/nvme2/nvme0c2n2");
    snprintf(path, sizeof(path), "%snvme0n2", SUBSYSTEM);
    machine_link(&machine, path, "../../../pci0000:00/0000:00:01.0/0000:43:00.0/nvme/nvme2");
    machine_link(&machine, "/sys/class/block/nvme0n1",
                 "../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1");
    CHECK_STR(near("nvme0n1"), "0-3,8-11");
    machine_deinit(&machine);
}

TEST(shard_near, device_of_nowhere_is_near_to_none)
{
    begin();
    machine_put(&machine, "/sys/devices/virtual/block/zram0/size", "1\n");
    machine_link(&machine, "/sys/class/block/zram0", "../../devices/virtual/block/zram0");
    CHECK_STR(near("zram0"), "");
    machine_deinit(&machine);
}

TEST(shard_near, unknown_names_are_refused)
{
    static const char *const WRONG[] = {"eth7", "", ".", "..", "/nowhere/at/all", "../class"};
    begin();
    put_nvme();
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(WRONG); i++) {
        char wanted[128];
        snprintf(wanted, sizeof(wanted),
                 "no block device, file or network interface is called \"%s\"", WRONG[i]);
        CHECK_STR(near(WRONG[i]), wanted);
    }
    CHECK_STR(near("/dev/null/x"), "\"/dev/null/x\" can't be looked at: errno 20");
    machine_deinit(&machine);
}

/* ---- placement ---- */

static struct torci_seat *seats;
static uint32_t count;

static int place(struct torc_config config)
{
    if (seats)
        machine.fault.kernel.host.free(&machine.fault, seats, count * sizeof(*seats));
    seats = NULL;
    machine.fault.lines = 0;
    return torci_place_on(&machine.source, &config, &seats, &count);
}

static void placed(struct torc_config config, const char *wanted)
{
    struct torci_cpu_list list;
    CHECK_EQ(place(config), 0);
    torci_cpu_list_init(&list, wanted);
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(seats[i].cpu, torci_cpu_list_next(&list));
    CHECK_EQ(torci_cpu_list_next(&list), TORCI_CPU_LIST_END);
}

static void finish(void)
{
    machine.fault.kernel.host.free(&machine.fault, seats, count * sizeof(*seats));
    seats = NULL;
    machine_deinit(&machine);
}

TEST(shard_near, shards_are_next_to_the_disk_then_on_its_package_then_elsewhere)
{
    begin();
    machine.source.synthetic = "pack:2 group:2 [numa(memory=9GB)] core:4 pu:1";
    put_pci("0000:41:00.0", "8-11", "nvme/nvme0/nvme0n1");
    machine_link(&machine, "/sys/class/block/nvme0n1",
                 "../../devices/pci0000:00/0000:00:01.0/0000:41:00.0/nvme/nvme0/nvme0n1");
    struct torc_config config = {.placement = TORC_PLACE_NEAR, .near = "nvme0n1"};
    placed(config, "8-11");
    CHECK_EQ(seats[0].node, 2);
    config.shards = 2;
    placed(config, "8-9");
    config.shards = 6;
    placed(config, "8-13");
    config.shards = 10;
    placed(config, "8-15,0,1");
    config.placement = TORC_PLACE_ALL; /* the device says it as well */
    config.shards = 0;
    placed(config, "8-11");
    CHECK_EQ(machine.fault.lines, 0);
    finish();
}

TEST(shard_near, siblings_next_to_the_disk_go_before_cores_elsewhere)
{
    begin();
    put_nvme();
    machine.source.synthetic = "pack:2 [numa(memory=9GB)] core:4 pu:2";
    placed((struct torc_config){.near = "nvme0n1", .shards = 3}, "8,10,12");
    placed((struct torc_config){.near = "nvme0n1", .shards = 5}, "8-10,12,14");
    placed((struct torc_config){.near = "nvme0n1", .shards = 9}, "8-15,0");
    finish();
}

TEST(shard_near, quota_counts_near_a_device_too)
{
    begin();
    put_nvme();
    machine_put(&machine, "/proc/self/cgroup", "0::/\n");
    machine_put(&machine, "/sys/fs/cgroup/cpu.max", "300000 100000\n");
    placed((struct torc_config){.near = "nvme0n1"}, "8-10");
    CHECK_EQ(machine.fault.lines, 1);
    finish();
}

TEST(shard_near, what_is_not_to_be_had_is_said)
{
    begin();
    put_nvme();
    machine_put(&machine, "/sys/devices/virtual/block/zram0/size", "1\n");
    machine_link(&machine, "/sys/class/block/zram0", "../../devices/virtual/block/zram0");
    placed((struct torc_config){.near = "zram0"}, "0-15");
    CHECK_STR(machine.fault.line[0],
              "torc: nothing says which CPUs are near \"zram0\": all are taken as such");
    machine_allow(&machine, "0-7");
    placed((struct torc_config){.near = "nvme0n1", .shards = 3}, "0-2");
    CHECK_STR(machine.fault.line[0],
              "torc: none of the CPUs near \"nvme0n1\" may be used: others are taken");
    machine.source.synthetic = "core:8 pu:1"; /* one node: everything is near */
    placed((struct torc_config){.near = "zram0"}, "0-7");
    CHECK_EQ(machine.fault.lines, 0);
    CHECK_EQ(place((struct torc_config){.near = "eth7"}), -ENODEV);
    CHECK_STR(machine.fault.line[0],
              "torc: no block device, file or network interface is called \"eth7\"");
    CHECK_EQ(place((struct torc_config){.placement = TORC_PLACE_NEAR}), -EINVAL);
    CHECK(strstr(machine.fault.line[0], "torc: placement near needs torc_config.near") != NULL);
    machine_deinit(&machine);
}
