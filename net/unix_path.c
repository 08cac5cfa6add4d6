/* SPDX-License-Identifier: MIT
 *
 * See net/unix_path_internal.h. These calls reach a file system, but no further than its memory: the ring would hand each of
 * them to a kernel worker, for longer than they take.
 */
#include "net/unix_path_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/un.h>

#include "io/abi_internal.h"
#include "io/io_internal.h"

enum { TYPE_MASK = 0170000, TYPE_SOCKET = 0140000 }; /* of a mode */

static long pointer(const void *memory)
{
    return (long)(uintptr_t)memory;
}

/* PATH has room for the NUL that the kernel does without. Returns it; "" of an abstract address and of none. */
static const char *path_of(const struct torc_address *address,
                           char path[sizeof(struct sockaddr_un)])
{
    const struct sockaddr_un *local = (const struct sockaddr_un *)&address->storage;
    size_t length = 0;
    if (local->sun_family == AF_UNIX && address->length > offsetof(struct sockaddr_un, sun_path))
        length = address->length - offsetof(struct sockaddr_un, sun_path);
    memcpy(path, local->sun_path, length);
    path[length] = 0;
    return path;
}

static bool is_socket(const struct torci_kernel *kernel, const char *path)
{
    struct torci_statx statx;
    return TORCI_CALL(kernel, SYS_statx, AT_FDCWD, pointer(path), AT_SYMLINK_NOFOLLOW,
                      TORCI_STATX_TYPE, pointer(&statx)) >= 0 &&
           (statx.mode & TYPE_MASK) == TYPE_SOCKET;
}

/* Asked for as datagrams, a stream's socket says that it is of another type: a server sees no connection of ours. */
static bool is_dead(const struct torci_kernel *kernel, const struct torc_address *address)
{
    int fd = (int)TORCI_CALL(kernel, SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    long err = TORCI_CALL(kernel, SYS_connect, fd, pointer(&address->storage), address->length);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    return err == -ECONNREFUSED;
}

int torci_bind(int fd, const struct torc_address *address, bool *made)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    char memory[sizeof(struct sockaddr_un)];
    const char *path = path_of(address, memory);
    long err = TORCI_CALL(kernel, SYS_bind, fd, pointer(&address->storage), address->length);
    if (err == -EADDRINUSE && *path && is_socket(kernel, path) && is_dead(kernel, address)) {
        (void)TORCI_CALL(kernel, SYS_unlinkat, AT_FDCWD, pointer(path), 0);
        err = TORCI_CALL(kernel, SYS_bind, fd, pointer(&address->storage), address->length);
    }
    *made = err >= 0 && *path;
    return err < 0 ? (int)err : 0;
}

void torci_unix_path_remove(const struct torc_address *address)
{
    char memory[sizeof(struct sockaddr_un)];
    const char *path = path_of(address, memory);
    if (*path)
        (void)TORCI_CALL(torci_kernel_this(), SYS_unlinkat, AT_FDCWD, pointer(path), 0);
}
