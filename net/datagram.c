/* SPDX-License-Identifier: MIT
 *
 * One datagram at a time. net/datagram_batch.c has many at a time, net/datagram_open.c how sockets come to be.
 *
 * A receive looks before it waits: with 32 messages in flight that is 1.7 times cheaper than to wait at once, and with one
 * it costs nothing that could be measured. It waits by a poll and then calls, since a receive on the ring, which would save
 * the call, measures the same (0.98 to 1.07): the kernel takes longer to prepare one. So one way serves all forms.
 */
#include "net/datagram_internal.h"

#include <netinet/in.h>
#include <poll.h>
#include <string.h>

void torci_datagram_set_peer(const struct torc_datagram *datagram, socklen_t length,
                             struct torc_address *from)
{
    from->transport = datagram->transport;
    from->length = length;
    if (length < sizeof(sa_family_t)) { /* a Unix socket that is bound to nothing */
        from->storage.ss_family = AF_UNIX;
        from->length = sizeof(sa_family_t);
    }
    if (from->storage.ss_family != AF_INET6)
        return;
    const struct sockaddr_in6 mapped = *(const struct sockaddr_in6 *)&from->storage;
    if (!IN6_IS_ADDR_V4MAPPED(&mapped.sin6_addr))
        return;
    struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = mapped.sin6_port};
    memcpy(&plain.sin_addr, &mapped.sin6_addr.s6_addr[12], sizeof plain.sin_addr);
    memcpy(&from->storage, &plain, sizeof plain);
    from->length = sizeof plain;
}

/* ---- receiving ---- */

static ssize_t try_receive(struct torc_datagram *datagram, void *memory, size_t size,
                           struct torc_address *from)
{
    socklen_t length = sizeof from->storage;
    long n = TORCI_DATAGRAM_CALL(datagram, SYS_recvfrom, torci_datagram_pointer(memory), (long)size,
                                 MSG_DONTWAIT | MSG_TRUNC,
                                 from ? torci_datagram_pointer(&from->storage) : 0,
                                 from ? torci_datagram_pointer(&length) : 0);
    if (n < 0)
        return n;
    torci_datagram_came(1, (size_t)n);
    if (TORC_UNLIKELY((size_t)n > size))
        return -EMSGSIZE;
    if (from)
        torci_datagram_set_peer(datagram, length, from);
    return n;
}

ssize_t torc_datagram_receive(struct torc_datagram *datagram, void *memory, size_t size,
                              struct torc_address *from)
{
    int err = datagram->coalesces ? -EINVAL : torci_datagram_enter(datagram);
    if (err)
        return err;
    ssize_t n;
    /* again and again: a message whose checksum is wrong makes the socket readable, too, and is dropped */
    while ((n = try_receive(datagram, memory, size, from)) == -EAGAIN) {
        int ready = torc_poll_fd(datagram->fd, TORC_READABLE);
        if (ready < 0)
            return ready;
    }
    return n;
}

/* ---- sending ---- */

static bool has_room(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    const struct __kernel_timespec now = {0};
    long n = TORCI_CALL(torci_kernel_this(), SYS_ppoll, torci_datagram_pointer(&one), 1,
                        torci_datagram_pointer(&now), 0, 0);
    return n > 0 && one.revents & POLLOUT;
}

static int wait_for_room(int fd)
{
    int ready = torc_poll_fd(fd, TORC_WRITABLE);
    return ready < 0 ? ready : 0;
}

/* The queue of the Unix socket TO is full, which only a socket that is connected to it can be polled for: that is what makes the
 * kernel tell us when the receiver reads, or goes away. If it isn't, our own buffer is full of what others have not read. */
static int wait_for_receiver(const struct torc_datagram *datagram, const struct torc_address *to)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    int fd =
        (int)TORCI_CALL(kernel, SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    int err = (int)TORCI_CALL(kernel, SYS_connect, fd, torci_datagram_pointer(&to->storage),
                              (long)to->length);
    if (!err)
        err = wait_for_room(has_room(fd) ? datagram->fd : fd);
    (void)TORCI_CALL(kernel, SYS_close, fd);
    return err;
}

/* When the peer of a Unix socket has gone, the kernel says so once and forgets it; UDP goes on. */
static int connect_again(const struct torc_datagram *datagram)
{
    if (datagram->peer.length <= sizeof(sa_family_t)) /* of a pair: it can't come back */
        return -ECONNREFUSED;
    return (int)TORCI_DATAGRAM_CALL(datagram, SYS_connect,
                                    torci_datagram_pointer(&datagram->peer.storage),
                                    (long)datagram->peer.length);
}

int torci_datagram_recover(struct torc_datagram *datagram, int error, const struct torc_address *to)
{
    bool local = datagram->transport == TORC_UNIX_DATAGRAM;
    bool named = to && to->transport;
    if (error == -ENOTCONN && local && !named)
        return connect_again(datagram);
    if (error != -EAGAIN)
        return error;
    return local && named ? wait_for_receiver(datagram, to) : wait_for_room(datagram->fd);
}

ssize_t torc_datagram_send(struct torc_datagram *datagram, const void *memory, size_t size,
                           const struct torc_address *to)
{
    int err = torci_datagram_enter(datagram);
    if (!err)
        err = torci_datagram_check_to(datagram, to);
    bool named = to && to->transport;
    while (!err) {
        long n = TORCI_DATAGRAM_CALL(datagram, SYS_sendto, torci_datagram_pointer(memory),
                                     (long)size, MSG_DONTWAIT | MSG_NOSIGNAL,
                                     named ? torci_datagram_pointer(&to->storage) : 0,
                                     named ? (long)to->length : 0);
        if (TORC_LIKELY(n >= 0)) {
            torci_datagram_went(1, (size_t)n);
            return n;
        }
        err = torci_datagram_recover(datagram, (int)n, to);
    }
    return err;
}
