/* SPDX-License-Identifier: MIT
 *
 * One error number has several causes, and each has another remedy. The sysctl io_uring_disabled tells them apart: it
 * exists (since 6.6) only where the kernel was built with io_uring, so that
 *
 *     -EPERM    2: switched off    1: kept for a group    0, or no such file: a seccomp filter
 *     -ENOSYS   it can be read: a seccomp filter plays an old kernel    no such file: none built in, or too old
 */
#include "io/explain_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum { UNREADABLE = -1, FOR_ALL = 0, FOR_GROUP = 1, FOR_NOBODY = 2 };

static int read_disabled(const struct torci_kernel *kernel)
{
    char digit = 0;
    long fd = TORCI_CALL(kernel, SYS_openat, AT_FDCWD, (long)"/proc/sys/kernel/io_uring_disabled",
                         O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return UNREADABLE;
    long n = TORCI_CALL(kernel, SYS_read, fd, (long)&digit, 1);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    return n == 1 && digit >= '0' && digit <= '2' ? digit - '0' : UNREADABLE;
}

/* NULL: there is no more to say than the number. */
static const char *cause_of(int err, int disabled)
{
    switch (err) {
    case -ENOSYS:
        if (disabled != UNREADABLE)
            return "a seccomp filter hides io_uring: run with a profile that allows "
                   "io_uring_setup, io_uring_enter and io_uring_register";
        return "this kernel has no usable io_uring: Linux 5.15 or newer is needed, with "
               "CONFIG_IO_URING; inside a container a seccomp profile may hide it";
    case -EOPNOTSUPP: return "this kernel's io_uring is too old: Linux 5.15 or newer is needed";
    case -EPERM:
        if (disabled == FOR_NOBODY)
            return "io_uring is switched off: sysctl -w kernel.io_uring_disabled=0";
        if (disabled == FOR_GROUP)
            return "io_uring is for members of the group kernel.io_uring_group and CAP_SYS_ADMIN "
                   "only: join it, or sysctl -w kernel.io_uring_disabled=0";
        return "a seccomp filter forbids io_uring (Docker and containerd do so by default): run "
               "with a profile that allows io_uring_setup, io_uring_enter and io_uring_register";
    case -EACCES:
        return "a security module forbids io_uring to this process (SELinux: see ausearch -m avc)";
    case -ENOMEM:
        return "no memory for the ring: raise the locked-memory limit (ulimit -l) or ask for fewer "
               "ring_entries";
    case -EMFILE: return "too many open files: raise the limit (ulimit -n)";
    default: return NULL;
    }
}

void torci_explain_ring_error(const struct torci_kernel *kernel, int err, uint32_t entries,
                              uint32_t completion_entries, char line[TORCI_EXPLAIN_BYTES])
{
    const char *cause = cause_of(err, read_disabled(kernel));
    if (cause)
        snprintf(line, TORCI_EXPLAIN_BYTES, "%s", cause);
    else
        snprintf(line, TORCI_EXPLAIN_BYTES,
                 "the ring can't be set up with %u entries and %u completions: errno %d", entries,
                 completion_entries, -err);
}
