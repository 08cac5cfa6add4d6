/* SPDX-License-Identifier: MIT
 *
 * What only Unix streams can: descriptors that travel with bytes, and knowing who is at the other end. TCP would take the
 * descriptors and drop them without a word, so each call asks what kind of socket it has.
 *
 * Descriptors are lost where bytes are received by somebody who does not ask for them, and that is what a stream's usual
 * receive does. So a reader of descriptors ends that one, waits by a poll in its place (any other reader takes it for a
 * receive that has brought nothing) and makes the call itself.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "net/net_internal.h"

/* FDS_MAX of them, all that the kernel lets travel together. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(TORC_STREAM_FDS_MAX * sizeof(int))];
};

static long pointer(const void *memory)
{
    return (long)(uintptr_t)memory;
}

/* The descriptor of a Unix stream, borrowed if it has none: -EOPNOTSUPP: it is another one, or what is sent is encrypted. */
static int get_fd(const struct torc_stream *stream)
{
    int fd = stream->direct ? torci_stream_borrow_fd(stream) : stream->fd;
    if (fd < 0)
        return fd;
    int family = 0;
    socklen_t size = sizeof family;
    long err = TORCI_CALL(stream->net->io->kernel, SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN,
                          pointer(&family), pointer(&size));
    if (err >= 0 && family == AF_UNIX && !stream->filter)
        return fd;
    if (stream->direct)
        (void)TORCI_CALL(stream->net->io->kernel, SYS_close, fd);
    return err < 0 ? (int)err : -EOPNOTSUPP;
}

static void put_fd(const struct torc_stream *stream, int fd)
{
    if (stream->direct)
        (void)TORCI_CALL(stream->net->io->kernel, SYS_close, fd);
}

int torc_stream_pair(struct torc_stream streams[2])
{
    const struct torci_kernel *kernel = torci_kernel_this();
    int fds[2];
    long err = TORCI_CALL(kernel, SYS_socketpair, AF_UNIX,
                          SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pointer(fds));
    if (err < 0)
        return (int)err;
    for (int i = 0; i < 2; i++) {
        err = torci_stream_open(&streams[i], fds[i], false);
        if (!err)
            continue;
        (void)TORCI_CALL(kernel, SYS_close, fds[1]);
        if (i == 0)
            (void)TORCI_CALL(kernel, SYS_close, fds[0]);
        else
            torc_stream_close(&streams[0]);
        return (int)err;
    }
    return 0;
}

int torc_stream_credentials(const struct torc_stream *stream, struct ucred *who)
{
    int fd = get_fd(stream);
    if (fd < 0)
        return fd;
    socklen_t size = sizeof *who;
    long err = TORCI_CALL(stream->net->io->kernel, SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED,
                          pointer(who), pointer(&size));
    put_fd(stream, fd);
    return err < 0 ? (int)err : 0;
}

/* As the datagrams' calls (net/datagram_internal.h): who never has to wait lets others have their turn here. */
static int enter(void)
{
    if (TORC_UNLIKELY(torc_should_yield()))
        torc_yield();
    return torci_wait_pending();
}

/* ---- sending ---- */

static long try_send(struct torc_stream *stream, struct iovec *piece, const int *fds,
                     unsigned count)
{
    union control control;
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = 1};
    int fd = get_fd(stream);
    if (fd < 0)
        return fd;
    if (count) {
        size_t bytes = count * sizeof *fds;
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, bytes);
        message.msg_control = &control;
        message.msg_controllen = CMSG_LEN(bytes);
    }
    torci_count(&stream->net->io->exec.counters->net_sends);
    long n = TORCI_CALL(stream->net->io->kernel, SYS_sendmsg, fd, pointer(&message),
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    put_fd(stream, fd);
    return n;
}

static int wait_for_room(const struct torc_stream *stream)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_add(sqe, stream->fd, POLLOUT);
    if (stream->direct)
        sqe->flags |= IOSQE_FIXED_FILE;
    int came = torc_op_wait(&op);
    return came < 0 ? came : 0;
}

ssize_t torc_stream_send_fds(struct torc_stream *stream, const void *memory, size_t size,
                             const int *fds, unsigned count)
{
    if (!size || count > TORC_STREAM_FDS_MAX)
        return -EINVAL;
    struct iovec piece = {__extension__(void *)(uintptr_t) memory, size};
    long n;
    int err = enter();
    if (!err)
        err = torci_send_flush(stream); /* what was written before goes first */
    if (err)
        return err;
    while ((n = try_send(stream, &piece, fds, count)) == -EAGAIN)
        if ((err = wait_for_room(stream)))
            return err;
    if (n == -EPIPE || n == -ECONNRESET)
        torci_send_fail(stream, (int)n);
    if (n < 0)
        return n;
    stream->sent_bytes += (uint64_t)n;
    torci_count_add(&stream->net->io->exec.counters->net_sent_bytes, (uint64_t)n);
    /* The descriptors are with the first byte; the others may have found no room. */
    if ((size_t)n < size) {
        ssize_t rest = torc_stream_write_all(stream, (const char *)memory + n, size - (size_t)n);
        if (rest < 0)
            return rest;
    }
    return (ssize_t)size;
}

/* ---- receiving ---- */

static void readable(struct torc_op *op, int result, uint32_t flags)
{
    (void)result, (void)flags; /* the call that follows finds out */
    struct torc_stream *stream = TORC_CONTAINER_OF(op, struct torc_stream, receive);
    stream->armed = stream->renew = false;
    torci_list_unlink(&stream->in_link);
    torci_stream_tell(stream, TORCI_EVENT_INPUT);
}

static int wait_for_input(struct torc_stream *stream)
{
    struct io_uring_sqe *sqe;
    TORC_ASSERT(!stream->reader); /* one task reads a stream */
    if (!stream->armed) {
        int err = torc_op_start(&stream->receive, readable, &sqe);
        if (err == -EAGAIN) { /* no room in the queue: there is with the next turn */
            torc_yield();
            return torci_wait_pending();
        }
        io_uring_prep_poll_add(sqe, stream->fd, POLLIN | POLLRDHUP);
        if (stream->direct)
            sqe->flags |= IOSQE_FIXED_FILE;
        stream->armed = true;
    }
    return torci_stream_park(&stream->reader);
}

/* How many descriptors there are in MESSAGE, to FDS. What the socket's owner may have asked the kernel to add by options
 * of its own is passed over. */
static unsigned take_fds(const struct msghdr *message, int *fds)
{
    const char *at = (const char *)message->msg_control;
    size_t left = message->msg_controllen;
    unsigned count = 0;
    while (left >= sizeof(struct cmsghdr)) {
        struct cmsghdr header;
        memcpy(&header, at, sizeof header);
        if (header.cmsg_len < sizeof header || header.cmsg_len > left)
            break;
        if (header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS) {
            size_t bytes = header.cmsg_len - CMSG_LEN(0);
            memcpy(fds + count, at + CMSG_LEN(0), bytes);
            count += (unsigned)(bytes / sizeof *fds);
        }
        size_t step = CMSG_ALIGN(header.cmsg_len);
        if (step >= left)
            break;
        at += step;
        left -= step;
    }
    return count;
}

/* The kernel gets room for exactly as many descriptors as the caller has, and closes the others itself: none is ever ours
 * to lose. */
static long try_receive(const struct torc_stream *stream, int fd, struct iovec *piece, int *fds,
                        unsigned room, unsigned *count)
{
    union control control;
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = 1};
    if (room) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_LEN(room * sizeof *fds);
    }
    long n = TORCI_CALL(stream->net->io->kernel, SYS_recvmsg, fd, pointer(&message),
                        MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *count = n >= 0 && room ? take_fds(&message, fds) : 0;
    return n;
}

static ssize_t received(struct torc_stream *stream, long n)
{
    struct torci_io *io = stream->net->io;
    if (n <= 0) {
        stream->ended = true;
        stream->in_error = (int)n;
        return n;
    }
    stream->received_bytes += (uint64_t)n;
    torci_count(&io->exec.counters->net_receives);
    torci_count_add(&io->exec.counters->net_received_bytes, (uint64_t)n);
    io->traffic.came++;
    return n;
}

ssize_t torc_stream_receive_fds(struct torc_stream *stream, void *memory, size_t size, int *fds,
                                unsigned *count)
{
    unsigned room = *count < TORC_STREAM_FDS_MAX ? *count : TORC_STREAM_FDS_MAX;
    struct iovec piece = {memory, size};
    *count = 0;
    if (!size)
        return -EINVAL;
    int err = enter();
    if (err)
        return err;
    if (!stream->armed || stream->receive.done != readable)
        torci_receive_stop(stream);    /* also if it only waits for a chunk */
    if (torc_stream_available(stream)) /* of a read that knew nothing of descriptors */
        return torc_stream_read(stream, memory, size);
    while (!stream->ended) {
        int fd = get_fd(stream);
        if (fd < 0)
            return fd;
        long n = try_receive(stream, fd, &piece, fds, room, count);
        put_fd(stream, fd);
        if (n != -EAGAIN)
            return received(stream, n);
        if (torci_stream_is_leaving(stream))
            return 0;
        err = wait_for_input(stream);
        if (err)
            return err;
    }
    return torci_input_end(stream);
}
