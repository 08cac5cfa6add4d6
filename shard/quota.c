/* SPDX-License-Identifier: MIT
 *
 * The CPU time that the control groups of this process grant it. The kernel counts it per period over all CPUs, and stops
 * every thread of the group when it is spent: more running shards than the quota has CPUs means that all of them stand
 * still for tens of milliseconds, in every period.
 */
#include <stdio.h>
#include <string.h>

#include "shard/sysfile_internal.h"
#include "shard/topology_internal.h"

enum { GROUPS_BYTES = 2048, LEVELS_MAX = 64 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t in_milli(int64_t quota, int64_t period)
{
    return quota > 0 && quota < INT64_MAX / 1000 && period > 0 ? quota * 1000 / period
                                                               : TORCI_QUOTA_NONE;
}

static int64_t number_of_file(const struct torci_kernel *kernel, const char *group,
                              const char *name)
{
    char path[2 * TORCI_PATH_BYTES], text[64];
    snprintf(path, sizeof(path), "%s/%s", group, name);
    return torci_sysfile_read(kernel, text, sizeof(text), path) > 0 ? torci_number(text, NULL) : -1;
}

/* Of the group with this directory: cpu.max says "150000 100000" or "max 100000", the older kind has a file for each,
 * and -1 for no quota. */
static int64_t group_quota(const struct torci_kernel *kernel, const char *group)
{
    char path[2 * TORCI_PATH_BYTES], text[64];
    snprintf(path, sizeof(path), "%s/cpu.max", group);
    if (torci_sysfile_read(kernel, text, sizeof(text), path) > 0) {
        const char *end;
        int64_t quota = torci_number(text, &end);
        return quota < 0 ? TORCI_QUOTA_NONE
                         : in_milli(quota, *end == ' ' ? torci_number(end + 1, NULL) : -1);
    }
    return in_milli(number_of_file(kernel, group, "cpu.cfs_quota_us"),
                    number_of_file(kernel, group, "cpu.cfs_period_us"));
}

/* A group has what the tightest of those above it leaves. In a container the path may be the host's and lead nowhere
 * here; the mount itself is the container's group then, and it is looked at last. */
static int64_t path_quota(const struct torci_kernel *kernel, const char *root, const char *mount,
                          const char *path)
{
    char group[TORCI_PATH_BYTES];
    int64_t least = TORCI_QUOTA_NONE;
    int length = snprintf(group, sizeof(group), "%s/sys/fs/cgroup%s", root, mount);
    if (length < 0 || (size_t)length >= sizeof(group))
        return least;
    size_t top = (size_t)length;
    snprintf(group + top, sizeof(group) - top, "%s", path);
    for (int level = 0; level < LEVELS_MAX; level++) {
        size_t end = strlen(group);
        while (end > top && group[end - 1] == '/')
            group[--end] = '\0';
        least = smaller(least, group_quota(kernel, group));
        if (end <= top)
            break;
        *strrchr(group, '/') = '\0';
    }
    return least;
}

/* Whether "cpuset,cpu,io" names the controller "cpu". */
static bool names_cpu(const char *controllers, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t word = strcspn(controllers + at, ",:");
        if (word == 3 && !memcmp(controllers + at, "cpu", 3))
            return true;
        at += word + 1;
    }
    return false;
}

int64_t torci_quota_milli(const struct torci_kernel *kernel, const char *root)
{
    char path[TORCI_PATH_BYTES], text[GROUPS_BYTES];
    int64_t least = TORCI_QUOTA_NONE;
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (torci_sysfile_read(kernel, text, sizeof(text), path) <= 0)
        return least;
    for (char *line = text, *next; line && *line; line = next) { /* NUMBER:CONTROLLERS:PATH */
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        controllers++;
        size_t length = (size_t)(group - controllers);
        group++;
        if (!length) {
            least = smaller(least, path_quota(kernel, root, "", group));
            /* where both kinds are mounted, the newer one is here */
            least = smaller(least, path_quota(kernel, root, "/unified", group));
        } else if (names_cpu(controllers, length)) {
            least = smaller(least, path_quota(kernel, root, "/cpu", group));
            least = smaller(least, path_quota(kernel, root, "/cpu,cpuacct", group));
        }
    }
    return least;
}
