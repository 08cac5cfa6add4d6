/* SPDX-License-Identifier: MIT
 *
 * What a stream's socket says about itself, and is told. Of a direct descriptor a normal one is borrowed for the call,
 * for which the task sleeps.
 */
#include <errno.h>
#include <fcntl.h>

#include "net/net_internal.h"

/* A call on the stream's descriptor with three more arguments. */
static int call(const struct torc_stream *stream, long number, const long arguments[4])
{
    const struct torci_kernel *kernel = stream->net->io->kernel;
    int fd = stream->direct ? torci_stream_borrow_fd(stream) : stream->fd;
    if (fd < 0)
        return fd;
    long result =
        TORCI_CALL(kernel, number, fd, arguments[0], arguments[1], arguments[2], arguments[3]);
    if (stream->direct)
        (void)TORCI_CALL(kernel, SYS_close, fd);
    return (int)result;
}

static int name_of(const struct torc_stream *stream, long number, struct torc_address *address)
{
    struct torc_address name = {.transport = TORC_TCP, .length = sizeof name.storage};
    int err = call(stream, number,
                   (const long[4]){(long)(uintptr_t)&name.storage, (long)(uintptr_t)&name.length});
    if (err < 0)
        return err;
    if (name.storage.ss_family == AF_UNIX)
        name.transport = TORC_UNIX;
    *address = name;
    return 0;
}

int torc_stream_local(const struct torc_stream *stream, struct torc_address *address)
{
    return name_of(stream, SYS_getsockname, address);
}

int torc_stream_peer(const struct torc_stream *stream, struct torc_address *address)
{
    return name_of(stream, SYS_getpeername, address);
}

int torc_stream_set_option(struct torc_stream *stream, int level, int name, const void *value,
                           size_t size)
{
    return call(stream, SYS_setsockopt,
                (const long[4]){level, name, (long)(uintptr_t)value, (long)size});
}
