/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include "apps/torc/engine_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "torc.h"

enum {
    PAGE = 4096,
    HUGE_PAGE = 2 << 20,
    SECTOR = 512,
    /* <linux/stat.h> before 6.1 lacks these */
    DIOALIGN_MASK = 0x2000,
    DIOALIGN_OFFSET_WORD = 38, /* of struct statx in 32-bit words: stx_dio_offset_align */
};

__attribute__((format(printf, 2, 3))) static int complain(int err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("torc bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return err;
}
