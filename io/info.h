/* SPDX-License-Identifier: MIT
 *
 * What this kernel's io_uring has, found out by asking it: scratch rings are set up, tried and closed again. For
 * reports and for programs that choose at start; nothing in here is needed to use torc.
 */
#ifndef TORC_IO_INFO_H
#define TORC_IO_INFO_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torci_kernel;

enum torc_ring_kind {
    TORC_RING_SETUP = 0, /* flags that a ring can be set up with; number: the bit */
    TORC_RING_FEATURE,   /* what every ring of this kernel has; number: the bit */
    TORC_RING_OP,        /* operations; number: the opcode */
    TORC_RING_ABILITY,   /* what can be registered with a ring; number: torc's own */
    TORC_RING_KINDS,
};

enum { TORC_RING_WHY_BYTES = 224 };

struct torc_ring_info {
    int error;                     /* 0: there is io_uring; else what setting up a ring answers */
    char why[TORC_RING_WHY_BYTES]; /* with an error: one line, cause and remedy; else empty */
    uint32_t rung, rungs; /* of the set-up ladder: the best one is 0, the last one rungs - 1 */
    const char *rung_name;
    uint32_t setup_flags, features;   /* of a ring as torc_run makes it: IORING_SETUP_, _FEAT_ */
    uint32_t newer_ops;               /* that the kernel has and torc has no name for */
    uint64_t has[TORC_RING_KINDS][4]; /* bit n of a kind: the kernel has number n */
};

/* Fills in INFO and returns info->error: -ENOSYS, -EPERM, -EACCES, -ENOMEM, -EMFILE, …; with an error nothing but error
 * and why means anything. KERNEL is one of tests and simulators; NULL: Linux. Any thread; takes about a millisecond, and
 * a few descriptors at a time, all of which are given back. */
int torc_ring_info(const struct torci_kernel *kernel, struct torc_ring_info *info) TORC_MUST_CHECK;

struct torc_ring_item {
    const char *name;  /* as in <linux/io_uring.h>, without the prefix; abilities in words */
    const char *since; /* the first kernel that has it, "6.1" */
    bool is_used;      /* torc makes use of it where it is */
    bool is_there;
};

/* What torc knows of NUMBER, 0 first. False: it knows no such number, nor any greater one of this kind. */
bool torc_ring_item_get(const struct torc_ring_info *info, enum torc_ring_kind kind,
                        uint32_t number, struct torc_ring_item *item);
/* The name of a rung of the ladder: what it sets up, and the kernel that has it. NULL: there is no such rung. */
const char *torc_ring_rung_name(uint32_t rung);

TORC_END_DECLS

#endif
