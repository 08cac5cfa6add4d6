/* SPDX-License-Identifier: MIT
 *
 * What this machine could do better, and the one command or setting that makes it. A hint is given where somebody can
 * act on it and it is known to matter, never for the sake of completeness.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <torc.h>

#include "apps/torc/info.h"
#include "apps/torc/info_read.h"
#include "apps/torc/info_text.h"

enum {
    /* A depth of 128 with 128 KiB each, four times over. */
    LOCKED_WANTED = 64 << 20,
    FILES_WANTED = 8192,
    /* 100,000 stacks, each with a guard page that splits a mapping in two. */
    MAPS_WANTED = 262144,
    /* The ladder's rungs from which a newer kernel is worth a hint: between the first two no difference was measured. */
    RUNG_WORTH_A_HINT = 2,
    RUNG_DEFERRED = 1,
};

/* The first line of the text is what is missing, the second one mends it. */
__attribute__((format(printf, 2, 3))) static void hint(struct info *info, const char *format, ...)
{
    char text[2 * INFO_HINT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    char *mend = strchr(text, '\n');
    if (!mend || info->hint_count == INFO_HINTS_MAX)
        return;
    *mend++ = '\0';
    struct info_hint *h = &info->hints[info->hint_count++];
    info_copy(h->what, sizeof(h->what), text);
    info_copy(h->mend, sizeof(h->mend), mend);
}

static void hint_ring(struct info *info)
{
    const struct torc_ring_info *ring = info->ring;
    if (ring->error) {
        /* the line is "cause: remedy" already */
        size_t cause = strcspn(ring->why, ":");
        hint(info, "%.*s\n%s", (int)cause, ring->why,
             ring->why + cause + strspn(ring->why + cause, ": "));
        return;
    }
    if (info->limits.uring_disabled > 0)
        hint(info, "io_uring is for privileged users only\nsysctl -w kernel.io_uring_disabled=0");
    if (ring->rung >= RUNG_WORTH_A_HINT)
        hint(info, "the ring makes do with %s\na kernel that has %s", ring->rung_name,
             torc_ring_rung_name(RUNG_DEFERRED));
}

static void hint_limits(struct info *info)
{
    const struct info_limits *l = &info->limits;
    if (l->locked_soft >= 0 && l->locked_soft < LOCKED_WANTED && !l->may_lock_more)
        hint(info, "only %s may be pinned for registered buffers\n%s",
             info_bytes(l->locked_soft).text,
             l->locked_hard == INFO_UNLIMITED
                 ? "ulimit -l unlimited"
                 : "LimitMEMLOCK=infinity in the service, or memlock in limits.conf");
    if (l->files_soft >= 0 && l->files_soft < FILES_WANTED)
        hint(info, "only %" PRId64 " files and sockets may be open\n%s", l->files_soft,
             l->files_hard >= FILES_WANTED
                 ? "ulimit -n 8192"
                 : "LimitNOFILE=65536 in the service, or nofile in limits.conf");
    if (!l->has_guard_markers && l->maps_max >= 0 && l->maps_max < MAPS_WANTED)
        hint(info,
             "each stack's guard takes a mapping, so about %" PRId64
             " tasks fit\nsysctl -w vm.max_map_count=1048576",
             l->maps_max / 2);
    if (l->clock[0] && !l->counter_is_trusted && info_has_word(l->clocks, "tsc"))
        hint(info,
             "clock source %s is slower to read than the CPU's counter\n"
             "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
             l->clock);
}

static void hint_scheduler(struct info *info, const struct info_device *device)
{
    bool is_nvme = !strcmp(device->driver, "nvme");
    /* Where a device has queues enough for everybody, ordering requests once more only takes time. */
    if ((is_nvme || device->hardware_queues > 1) && device->rotational != 1 &&
        device->scheduler[0] && strcmp(device->scheduler, "none") != 0)
        hint(info, "%s: scheduler %s costs CPU time\necho none > /sys/block/%s/queue/scheduler",
             device->name, device->scheduler, device->name);
}

/* One parameter mends all of them. */
static void hint_poll_queues(struct info *info)
{
    const char *first = NULL;
    unsigned others = 0;
    for (unsigned i = 0; i < info->devices.count; i++) {
        const struct info_device *device = &info->devices.items[i];
        if (strcmp(device->driver, "nvme") != 0 || device->io_poll != 0 || device->poll_queues > 0)
            continue;
        others += first != NULL;
        first = first ? first : device->name;
    }
    char more[32] = "";
    if (others)
        info_format(more, sizeof(more), " and %u more", others);
    if (first)
        hint(info,
             "%s%s: no poll queues, so no polled I/O\nkernel parameter nvme.poll_queues=%" PRId64,
             first, more, info->machine.allowed > 0 ? info->machine.allowed : 1);
}

void info_hints_find(struct info *info)
{
    info->hint_count = 0;
    hint_ring(info);
    hint_limits(info);
    for (unsigned i = 0; i < info->devices.count; i++)
        hint_scheduler(info, &info->devices.items[i]);
    hint_poll_queues(info);
}
