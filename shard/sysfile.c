/* SPDX-License-Identifier: MIT
 *
 * Small files of /proc and /sys.
 */
#include "shard/sysfile_internal.h"

#include <errno.h>
#include <fcntl.h>

int torci_sysfile_read(const struct torci_kernel *kernel, char *text, size_t size, const char *path)
{
    text[0] = '\0';
    long fd = TORCI_CALL(kernel, SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return (int)fd;
    size_t length = 0;
    long got = 0;
    while (length < size - 1) {
        got = TORCI_CALL(kernel, SYS_read, fd, (long)(text + length), (long)(size - 1 - length));
        if (got == -EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    (void)TORCI_CALL(kernel, SYS_close, fd);
    text[length] = '\0';
    return got < 0 ? (int)got : (int)length;
}

int64_t torci_number(const char *text, const char **end)
{
    int64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (value < INT64_MAX / 16)
            value = value * 10 + (*at - '0');
    if (end)
        *end = at;
    return at == text ? -1 : value;
}
