/* SPDX-License-Identifier: MIT
 *
 * `torc info` on machines that are not here: /proc and /sys are files that each test writes.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <torc.h>

#include "apps/torc/info.h"
#include "apps/torc/info_text.h"
#include "tests/dma_dir.h"
#include "tests/harness.h"

static struct test_dir root;

static void put(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(const char *path, const char *format, ...)
{
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root.path, path);
    for (char *slash = full + strlen(root.path) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    CHECK(file);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    CHECK_EQ(fclose(file), 0);
}

static void put_queue(const char *disk, const char *attribute, const char *value)
{
    char path[256];
    snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", disk, attribute);
    put(path, "%s\n", value);
}

static void put_disk(const char *name, unsigned major, unsigned minor, long sectors)
{
    char path[256];
    snprintf(path, sizeof(path), "/sys/block/%s/size", name);
    put(path, "%ld\n", sectors);
    snprintf(path, sizeof(path), "/sys/block/%s/dev", name);
    put(path, "%u:%u\n", major, minor);
}

static void put_nvme(const char *name, unsigned minor, const char *scheduler, const char *poll)
{
    char path[256];
    put_disk(name, 259, minor, 4000);
    snprintf(path, sizeof(path), "/sys/block/%s/device/model", name);
    put(path, "Fast Disk 9000            \n");
    for (int queue = 0; queue < 4; queue++) {
        snprintf(path, sizeof(path), "/sys/block/%s/mq/%d/cpu_list", name, queue);
        put(path, "%d\n", queue);
    }
    put_queue(name, "scheduler", scheduler);
    put_queue(name, "io_poll", poll);
    put_queue(name, "io_poll_delay", "-1");
    put_queue(name, "nr_requests", "1023");
    put_queue(name, "rotational", "0");
    put_queue(name, "write_cache", "write back");
    put_queue(name, "fua", "1");
    put_queue(name, "logical_block_size", "4096");
    put_queue(name, "dma_alignment", "3");
    put_queue(name, "max_sectors_kb", "1280");
}

static struct info_devices found(void)
{
    struct info_devices devices;
    CHECK(info_devices_find(&devices, root.path));
    return devices;
}

TEST(info_devices, attributes_come_from_sysfs)
{
    test_dir_make(&root, "/tmp");
    put_nvme("nvme0n1", 0, "none [mq-deadline] kyber", "0");
    put("/sys/module/nvme/parameters/poll_queues", "2\n");
    struct info_devices devices = found();
    CHECK(devices.visible);
    CHECK_EQ(devices.count, 1);
    const struct info_device *d = &devices.items[0];
    CHECK_STR(d->name, "nvme0n1");
    CHECK_STR(d->driver, "nvme");
    CHECK_STR(d->model, "Fast Disk 9000");
    CHECK_EQ(d->size_bytes, 4000 * 512);
    CHECK_STR(d->scheduler, "mq-deadline");
    CHECK_STR(d->schedulers, "none [mq-deadline] kyber");
    CHECK_EQ(d->hardware_queues, 4);
    CHECK_EQ(d->queue_depth, 1023);
    CHECK_STR(d->write_cache, "back");
    CHECK_EQ(d->fua, 1);
    CHECK_EQ(d->io_poll, 0);
    CHECK_EQ(d->io_poll_delay, -1);
    CHECK_EQ(d->poll_queues, 2);
    CHECK_EQ(d->logical_bytes, 4096);
    CHECK_EQ(d->memory_align, 4);
    CHECK_EQ(d->io_max_bytes, 1280 * 1024);
    CHECK_EQ(d->physical_bytes, INFO_UNKNOWN);
    CHECK_EQ(d->mount_count, 0);
    info_devices_free(&devices);
    test_dir_remove(&root);
}

TEST(info_devices, what_holds_nothing_is_left_out_and_the_rest_is_in_order)
{
    test_dir_make(&root, "/tmp");
    put_disk("sda", 8, 0, 100);
    put_disk("sr0", 11, 0, 0);
    put_disk("loop0", 7, 0, 0);
    put_disk("loop1", 7, 1, 8);
    put("/sys/block/loop1/loop/backing_file", "/images/one\n");
    put_disk("ram0", 1, 0, 8192);
    put_disk("nvme0c0n1", 259, 1, 100);
    put("/sys/block/nvme0c0n1/hidden", "1\n");
    put_disk("nvme10n1", 259, 2, 100);
    put_disk("nvme9n1", 259, 3, 100);
    struct info_devices devices = found();
    static const char *const names[] = {"loop1", "nvme9n1", "nvme10n1", "sda"};
    CHECK_EQ(devices.count, 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK_STR(devices.items[i].name, names[i]);
    CHECK_STR(devices.items[0].model, "/images/one");
    CHECK_EQ(devices.items[3].queue_depth, INFO_UNKNOWN);
    info_devices_free(&devices);
    test_dir_remove(&root);
}

TEST(info_devices, a_machine_without_sysfs_shows_none)
{
    test_dir_make(&root, "/tmp");
    struct info_devices devices = found();
    CHECK(!devices.visible);
    CHECK_EQ(devices.count, 0);
    info_devices_free(&devices);
    test_dir_remove(&root);
}

/* sda: a partition with a file system, one below a mapped volume, one with btrfs, which numbers itself. */
TEST(info_devices, mounts_are_found_through_partitions_and_volumes)
{
    test_dir_make(&root, "/tmp");
    put_disk("sda", 8, 0, 100);
    for (int i = 1; i <= 3; i++) {
        char path[256];
        snprintf(path, sizeof(path), "/sys/block/sda/sda%d/partition", i);
        put(path, "%d\n", i);
        snprintf(path, sizeof(path), "/sys/block/sda/sda%d/dev", i);
        put(path, "8:%d\n", i);
    }
    put("/sys/block/sda/sda2/holders/dm-0/size", "8\n");
    put_disk("dm-0", 253, 0, 50);
    put("/sys/block/dm-0/dm/name", "vg-data\n");
    put("/proc/self/mountinfo",
        "21 1 0:20 / /proc rw - proc proc rw\n"
        "30 1 8:1 /etc/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
        "31 1 8:1 / /srv/my\\040disk rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"
        "32 1 253:0 / /data rw - xfs /dev/mapper/vg-data rw\n"
        "33 1 0:40 / /btrfs rw - btrfs /dev/sda3 rw\n"
        "34 1 8:16 / /other rw - ext4 /dev/sdb rw\n"
        "35 1 8:1 / /srv/my\\040disk rw - ext4 /dev/sda1 rw\n"
        "nonsense\n");
    struct info_devices devices = found();
    CHECK_EQ(devices.count, 2);
    CHECK_STR(devices.items[0].model, "vg-data");
    CHECK_EQ(devices.items[0].mount_count, 1);
    CHECK_STR(devices.items[0].mounts[0], "/data");
    const struct info_device *sda = &devices.items[1];
    CHECK_EQ(sda->mount_count, 4);
    bool seen[4] = {false};
    static const char *const points[] = {"/srv/my disk", "/etc/hosts", "/data", "/btrfs"};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < 4; k++)
            seen[k] = seen[k] || !strcmp(sda->mounts[i], points[k]);
    CHECK(seen[0] && seen[1] && seen[2] && seen[3]);
    info_devices_free(&devices);
    test_dir_remove(&root);
}

/* ---- limits ---- */

TEST(info_limits, come_from_proc_and_sys)
{
    struct info_limits limits;
    test_dir_make(&root, "/tmp");
    put("/proc/sys/kernel/io_uring_disabled", "1\n");
    put("/proc/sys/vm/max_map_count", "65530\n");
    put("/proc/meminfo", "MemTotal: 1000 kB\nHugePages_Total:   7\nHugePages_Free: 3\n"
                         "Hugepagesize:    2048 kB\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    put("/sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet tsc\n");
    info_limits_find(&limits, root.path);
    CHECK_EQ(limits.uring_disabled, 1);
    CHECK_EQ(limits.maps_max, 65530);
    CHECK_EQ(limits.huge_pages, 7);
    CHECK_EQ(limits.huge_pages_free, 3);
    CHECK_EQ(limits.huge_page_bytes, 2 << 20);
    CHECK_STR(limits.transparent, "never");
    CHECK_STR(limits.clock, "hpet");
    CHECK(!limits.counter_is_trusted);
    CHECK(!limits.may_lock_more);
    put("/proc/self/status", "Name:\tx\nCapEff:\t0000000000004000\n");
    put("/proc/self/uid_map", "         0       1000          1\n");
    info_limits_find(&limits, root.path);
    CHECK(!limits.may_lock_more); /* root of a user namespace alone */
    put("/proc/self/uid_map", "         0          0 4294967295\n");
    put("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    info_limits_find(&limits, root.path);
    CHECK(limits.may_lock_more);
    CHECK(limits.counter_is_trusted);
    test_dir_remove(&root);
}

/* ---- hints ---- */

static struct torc_ring_info ring;
static struct info info;

/* A machine that lacks nothing. */
static void make_perfect(void)
{
    ring = (struct torc_ring_info){.rungs = 4};
    ring.rung_name = torc_ring_rung_name(0);
    info = (struct info){.ring = &ring};
    info.machine.allowed = 8;
    info.limits = (struct info_limits){.locked_soft = INFO_UNLIMITED,
                                       .locked_hard = INFO_UNLIMITED,
                                       .files_soft = 1 << 20,
                                       .files_hard = 1 << 20,
                                       .maps_max = 65530,
                                       .has_guard_markers = true,
                                       .clock = "tsc",
                                       .clocks = "tsc",
                                       .counter_is_trusted = true};
}

static void check_hint(const char *what, const char *mend)
{
    info_hints_find(&info);
    CHECK_EQ(info.hint_count, 1);
    CHECK_STR(info.hints[0].what, what);
    CHECK_STR(info.hints[0].mend, mend);
}

TEST(info_hints, a_perfect_machine_gets_none)
{
    make_perfect();
    info_hints_find(&info);
    CHECK_EQ(info.hint_count, 0);
    ring.rung = 1; /* what the first rung has over it was within the noise */
    info_hints_find(&info);
    CHECK_EQ(info.hint_count, 0);
}

TEST(info_hints, each_shortage_has_its_remedy)
{
    make_perfect();
    info.limits.locked_soft = 8 << 20;
    check_hint("only 8 MiB may be pinned for registered buffers", "ulimit -l unlimited");
    info.limits.locked_hard = 8 << 20;
    check_hint("only 8 MiB may be pinned for registered buffers",
               "LimitMEMLOCK=infinity in the service, or memlock in limits.conf");
    info.limits.may_lock_more = true;
    info.limits.files_soft = 1024;
    check_hint("only 1024 files and sockets may be open", "ulimit -n 8192");
    make_perfect();
    info.limits.has_guard_markers = false;
    check_hint("each stack's guard takes a mapping, so about 32765 tasks fit",
               "sysctl -w vm.max_map_count=1048576");
    make_perfect();
    info.limits.counter_is_trusted = false;
    memcpy(info.limits.clock, "hpet", 5);
    memcpy(info.limits.clocks, "hpet tsc", 9);
    check_hint("clock source hpet is slower to read than the CPU's counter",
               "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource");
    memcpy(info.limits.clocks, "hpet acpi", 10); /* there is no other: nothing to be done */
    info_hints_find(&info);
    CHECK_EQ(info.hint_count, 0);
}

TEST(info_hints, the_ring_says_what_would_help_it)
{
    make_perfect();
    ring.rung = 3;
    ring.rung_name = torc_ring_rung_name(3);
    check_hint("the ring makes do with plain (5.15)", "a kernel that has deferred task work (6.1)");
    make_perfect();
    info.limits.uring_disabled = 1;
    check_hint("io_uring is for privileged users only", "sysctl -w kernel.io_uring_disabled=0");
    ring.error = -EPERM;
    snprintf(ring.why, sizeof(ring.why), "io_uring is switched off: sysctl -w a.b=0");
    check_hint("io_uring is switched off", "sysctl -w a.b=0");
}

TEST(info_hints, nvme_wants_no_scheduler_and_poll_queues)
{
    test_dir_make(&root, "/tmp");
    make_perfect();
    put_nvme("nvme0n1", 0, "none [mq-deadline]", "1");
    put_nvme("nvme1n1", 1, "[none] mq-deadline", "1");
    info.devices = found();
    check_hint("nvme0n1: scheduler mq-deadline costs CPU time",
               "echo none > /sys/block/nvme0n1/queue/scheduler");
    info_devices_free(&info.devices);
    put_nvme("nvme0n1", 0, "[none] mq-deadline", "0");
    put_nvme("nvme1n1", 1, "[none] mq-deadline", "0");
    info.devices = found();
    check_hint("nvme0n1 and 1 more: no poll queues, so no polled I/O",
               "kernel parameter nvme.poll_queues=8");
    info_devices_free(&info.devices);
    test_dir_remove(&root);
}

/* ---- text ---- */

TEST(info_text, hostile_names_reach_no_terminal_and_lines_stay_inside)
{
    test_dir_make(&root, "/tmp");
    make_perfect();
    put_disk("sda", 8, 0, 100);
    put("/sys/block/sda/device/model", "\033[2Jgone\n");
    put("/proc/self/mountinfo", "1 1 8:0 / /a\\033b rw - ext4 /dev/sda rw\n");
    info.devices = found();
    char *text;
    size_t size;
    struct info_style style = {.all = true, .width = 80};
    FILE *out = open_memstream(&text, &size);
    info_print_text(&info, &style, out);
    fclose(out);
    CHECK(strstr(text, "?[2Jgone"));
    CHECK(strstr(text, "/a?b"));
    CHECK(!strchr(text, '\033'));
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        CHECK(strcspn(line, "\n") <= 80);
    }
    free(text);
    info_devices_free(&info.devices);
    test_dir_remove(&root);
}

/* ---- the memory of shards ---- */

static char *arenas_as_text(const struct info_arenas *arenas)
{
    char *text;
    size_t size;
    const struct info_style style = {.width = 200};
    struct info_page page = {.out = open_memstream(&text, &size), .style = &style};
    info_page_colours(&page);
    info_print_arenas(&page, arenas);
    fclose(page.out);
    return text;
}

TEST(info_arenas, reserved_pages_are_counted_by_node)
{
    struct info_arenas arenas;
    test_dir_make(&root, "/tmp");
    put("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
    put("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    put("/sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "1\n");
    put("/sys/devices/system/node/node2/hugepages/hugepages-2048kB/free_hugepages", "0\n");
    CHECK(info_arenas_find(&arenas, root.path, false));
    CHECK_EQ(arenas.node_count, 2);
    CHECK_EQ(arenas.nodes[0].huge_pages, 8);
    CHECK_EQ(arenas.nodes[0].huge_pages_free, 3);
    CHECK_EQ(arenas.nodes[1].node, 2);
    CHECK_EQ(arenas.nodes[1].huge_pages_free, 0);
    CHECK_EQ(arenas.count, 0); /* no ring, no shards */
    char *text = arenas_as_text(&arenas);
    CHECK(strstr(text, "8 reserved huge pages of 2 MiB, 3 free"));
    free(text);
    info_arenas_free(&arenas);
    test_dir_remove(&root);
}

TEST(info_arenas, shards_that_are_alike_are_one_row)
{
    struct torc_arena_stats items[4];
    for (int i = 0; i < 4; i++)
        items[i] = (struct torc_arena_stats){
            .node = i < 3 ? 0 : 1,
            .bound = true,
            .pages = TORC_HUGEPAGES_RESERVED,
            .size_bytes = 1 << 30,
            .uses = {[TORC_ARENA_DMA] = {.pages_sampled = 10, .pages_on_node = 9}}};
    items[3].sample_error = -EPERM;
    const struct info_arenas arenas = {.count = 4, .items = items};
    char *text = arenas_as_text(&arenas);
    CHECK(strstr(text, "shards 0-2"));
    CHECK(strstr(text, "on node 0, bound, huge pages: reserved, 27 of 30 pages"));
    CHECK(strstr(text, "shard 3"));
    CHECK(strstr(text, "on node 1, bound, huge pages: reserved, placement not told"));
    free(text);
}
