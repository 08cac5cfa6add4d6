/* SPDX-License-Identifier: MIT
 *
 * What the kernel has and liburing 2.3 does not know yet: numbers of the io_uring and system call interfaces, under the
 * project's own names. They are ABI and never change. (liburing's opcodes are enums, so #ifndef can't ask for them, and
 * its header shares an include guard with <linux/io_uring.h>.)
 */
#ifndef TORC_IO_ABI_INTERNAL_H
#define TORC_IO_ABI_INTERNAL_H

#include "core/base.h"

enum {
    TORCI_SETUP_NO_MMAP = 1 << 14,            /* 6.5 */
    TORCI_SETUP_REGISTERED_FD_ONLY = 1 << 15, /* 6.5 */
    TORCI_SETUP_NO_SQARRAY = 1 << 16,         /* 6.6 */
    TORCI_SETUP_HYBRID_IOPOLL = 1 << 17,      /* 6.13 */

    TORCI_FEATURE_MIN_WAIT = 1 << 15, /* 6.12 */

    TORCI_OP_FIXED_FD_INSTALL = 54, /* 6.8 */
    TORCI_OP_FTRUNCATE = 55,        /* 6.9: off is the new size */

    TORCI_REGISTER_CLOCK = 29,         /* 6.12 */
    TORCI_REGISTER_CLONE_BUFFERS = 30, /* 6.12 */

    TORCI_BUFFER_RING_INCREMENTAL = 2, /* 6.12 */
};

/* IORING_OP_URING_CMD on a socket, 6.7: fields of the SQE that older headers have no names for lie at these offsets. */
enum {
    TORCI_SOCKET_SETSOCKOPT = 3, /* cmd_op */
    TORCI_SQE_LEVEL_AT = 16,     /* uint32_t, and optname behind it */
    TORCI_SQE_OPTION_BYTES_AT = 44,
    TORCI_SQE_OPTION_AT = 48, /* uint64_t: where the value lies */
};

/* madvise, and the policies and flags of mbind and get_mempolicy. */
enum {
    TORCI_MADV_POPULATE_WRITE = 23, /* 5.14 */
    TORCI_MADV_GUARD_REMOVE = 103,  /* 6.13 */

    TORCI_MPOL_PREFERRED = 1,
    TORCI_MPOL_BIND = 2,
    TORCI_MPOL_MEMS_ALLOWED = 4,
    TORCI_NODES_MAX = 1024, /* that a kernel can be built for */

    TORCI_MAP_HUGE_2MB = 21 << 26,
};

/* The ioctl of /proc/self/pagemap that finds pages of a kind: 6.7. */
#define TORCI_PAGE_SCAN 0xc0606610UL
enum { TORCI_PAGE_IS_HUGE = 1 << 6 };
struct torci_page_scan {
    uint64_t size, flags, start, end;
    uint64_t walk_end; /* where it had to stop */
    uint64_t regions, regions_max, pages_max;
    uint64_t inverted, mask, any_of, returned;
};
struct torci_page_region {
    uint64_t start, end, kinds;
};
_Static_assert(sizeof(struct torci_page_scan) == 96, "kernel layout");
_Static_assert(sizeof(struct torci_page_region) == 24, "kernel layout");

/* What registrations take; the first one's flags are called padding by headers before 6.4. */
struct torci_buffer_ring_register {
    uint64_t address;
    uint32_t entries;
    uint16_t group, flags;
    uint64_t reserved[3];
};
struct torci_clock_register {
    uint32_t clock;
    uint32_t reserved[3];
};
struct torci_clone_buffers {
    uint32_t source_ring, flags, source_offset, offset, count;
    uint32_t reserved[3];
};
_Static_assert(sizeof(struct torci_buffer_ring_register) == 40, "kernel layout");
_Static_assert(sizeof(struct torci_clock_register) == 16, "kernel layout");
_Static_assert(sizeof(struct torci_clone_buffers) == 32, "kernel layout");

/* statx: what is asked for and told, beyond STATX_BASIC_STATS. */
enum {
    TORCI_STATX_TYPE = 0x1,
    TORCI_STATX_SIZE = 0x200,
    TORCI_STATX_BASIC = 0x7ff,
    TORCI_STATX_BTIME = 0x800,
    TORCI_STATX_DIOALIGN = 0x2000,      /* 6.1; of block devices 6.11 */
    TORCI_STATX_WRITE_ATOMIC = 0x10000, /* 6.11 */
};

struct torci_statx_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};

/* struct statx in full: headers before 6.1 end it before the alignments. */
struct torci_statx {
    uint32_t mask; /* which fields are filled in */
    uint32_t block_bytes;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, reserved0;
    uint64_t inode, size, blocks, attributes_mask;
    struct torci_statx_time accessed, created, changed, modified;
    uint32_t special_major, special_minor, device_major, device_minor;
    uint64_t mount;
    uint32_t dio_memory_align, dio_offset_align;
    uint64_t subvolume;
    uint32_t atomic_write_min, atomic_write_max, atomic_write_segments_max, dio_read_offset_align;
    uint64_t reserved1[9];
};
_Static_assert(offsetof(struct torci_statx, mode) == 28, "kernel layout");
_Static_assert(offsetof(struct torci_statx, accessed) == 64, "kernel layout");
_Static_assert(offsetof(struct torci_statx, special_major) == 128, "kernel layout");
_Static_assert(offsetof(struct torci_statx, dio_memory_align) == 152, "kernel layout");
_Static_assert(offsetof(struct torci_statx, atomic_write_min) == 168, "kernel layout");
_Static_assert(sizeof(struct torci_statx) == 256, "kernel layout");

#endif
