/* SPDX-License-Identifier: MIT
 *
 * What the kernel has and liburing 2.3 does not know yet: numbers of the io_uring and system call interfaces, under the
 * project's own names. They are ABI and never change. (liburing's opcodes are enums, so #ifndef can't ask for them, and
 * its header shares an include guard with <linux/io_uring.h>.)
 */
#ifndef TORC_IO_ABI_INTERNAL_H
#define TORC_IO_ABI_INTERNAL_H

enum {
    TORCI_SETUP_NO_SQARRAY = 1 << 16, /* 6.6 */
};

#endif
