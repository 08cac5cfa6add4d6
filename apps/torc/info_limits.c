/* SPDX-License-Identifier: MIT
 *
 * What the system and its administrator grant to this process, and how it keeps time.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "apps/torc/info.h"
#include "apps/torc/info_read.h"

enum {
    CAPABILITY_IPC_LOCK = 14,
    ADVICE_GUARD_INSTALL = 102, /* 6.13; older headers do not know it */
};

static void find_rlimit(int resource, int64_t *soft, int64_t *hard)
{
    struct rlimit limit;
    *soft = *hard = INFO_UNKNOWN;
    if (getrlimit((__rlimit_resource_t)resource, &limit))
        return;
    *soft = limit.rlim_cur > INT64_MAX ? INFO_UNLIMITED : (int64_t)limit.rlim_cur;
    *hard = limit.rlim_max > INT64_MAX ? INFO_UNLIMITED : (int64_t)limit.rlim_max;
}

/* The capability counts only in the first user namespace, whose map is the identity over all users. */
static bool may_lock_more(const char *root)
{
    char status[4096], map[128];
    if (!info_read_text(status, sizeof(status), "%s/proc/self/status", root) ||
        !info_read_text(map, sizeof(map), "%s/proc/self/uid_map", root))
        return false;
    int64_t effective = info_find_number(status, "CapEff", 16);
    return effective > 0 && (effective >> CAPABILITY_IPC_LOCK & 1) && strstr(map, "4294967295");
}

static bool has_guard_markers(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    bool has = !madvise(page, size, ADVICE_GUARD_INSTALL);
    munmap(page, size);
    return has;
}

static void find_pages(struct info_limits *limits, const char *root)
{
    char text[4096];
    limits->huge_page_bytes = limits->huge_pages = limits->huge_pages_free = INFO_UNKNOWN;
    if (info_read_text(text, sizeof(text), "%s/proc/meminfo", root)) {
        int64_t kib = info_find_number(text, "Hugepagesize", 10);
        limits->huge_page_bytes = kib < 0 ? INFO_UNKNOWN : kib * 1024;
        limits->huge_pages = info_find_number(text, "HugePages_Total", 10);
        limits->huge_pages_free = info_find_number(text, "HugePages_Free", 10);
    }
    info_read_text(text, sizeof(text), "%s/sys/kernel/mm/transparent_hugepage/enabled", root);
    info_chosen_word(limits->transparent, sizeof(limits->transparent), text);
}

/* torc reads the counter itself only where the kernel does, too: it compares the CPUs' counters at boot and watches them
 * afterwards. */
static void find_clock(struct info_limits *limits, const char *root)
{
    static const char DIRECTORY[] = "/sys/devices/system/clocksource/clocksource0";
    info_read_text(limits->clock, sizeof(limits->clock), "%s%s/current_clocksource", root,
                   DIRECTORY);
    info_read_text(limits->clocks, sizeof(limits->clocks), "%s%s/available_clocksource", root,
                   DIRECTORY);
    limits->counter_is_trusted =
        !strcmp(limits->clock, "tsc") || !strcmp(limits->clock, "arch_sys_counter");
}

void info_limits_find(struct info_limits *limits, const char *root)
{
    memset(limits, 0, sizeof(*limits));
    find_rlimit(RLIMIT_MEMLOCK, &limits->locked_soft, &limits->locked_hard);
    find_rlimit(RLIMIT_NOFILE, &limits->files_soft, &limits->files_hard);
    limits->may_lock_more = may_lock_more(root);
    limits->uring_disabled = info_read_number("%s/proc/sys/kernel/io_uring_disabled", root);
    limits->maps_max = info_read_number("%s/proc/sys/vm/max_map_count", root);
    limits->has_guard_markers = has_guard_markers();
    find_pages(limits, root);
    find_clock(limits, root);
}
