/* SPDX-License-Identifier: MIT
 *
 * Which CPUs are near a device.
 */
#ifndef TORC_SHARD_NEAR_INTERNAL_H
#define TORC_SHARD_NEAR_INTERNAL_H

#include "io/kernel_internal.h"
#include "shard/cpu_list_internal.h"

/* NAME is the path of a block device or of any file, whose device is meant, or the name of a network interface or of a
 * block device. How many CPUs are next to it, in CPUS; 0: it is there, but nothing says where; negative: a sentence of
 * TORCI_CPU_WHY_BYTES at most is in WHY. ROOT stands in front of /sys and /proc. */
int torci_near_find(const struct torci_kernel *kernel, const char *root, const char *name,
                    struct torci_cpus *cpus, char *why) TORC_MUST_CHECK;

#endif
