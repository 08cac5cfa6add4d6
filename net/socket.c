/* SPDX-License-Identifier: MIT
 *
 * Sockets and what they are told: one table of settings, worked off in its order, so that each option stands in one line.
 * What a kind of socket does not have is left out; what the kernel refuses is an error, because an option that was asked
 * for and is not there is worse than none.
 */
#include "net/socket.h"

#include <errno.h>
#include <linux/in6.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "core/time.h"
#include "io/io_internal.h"
#include "net/socket_internal.h"

enum { CONGESTION_NAME_MAX = 15, HALF_CLOSED_PAUSE_NS = 1000 * 1000 };

struct setting {
    bool wanted;
    int level, name, value;
};

/* The kernel takes ints, and cuts buffers to its own limits. */
static int as_int(uint32_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

static int set_all(int fd, const struct setting *settings, size_t count)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    for (size_t i = 0; i < count; i++) {
        const struct setting *at = &settings[i];
        if (!at->wanted)
            continue;
        long err = TORCI_CALL(kernel, SYS_setsockopt, fd, at->level, at->name, (long)&at->value,
                              sizeof at->value);
        if (err)
            return (int)err;
    }
    return 0;
}

static int set_text(int fd, int level, int name, const char *text)
{
    return (int)TORCI_CALL(torci_kernel_this(), SYS_setsockopt, fd, level, name, (long)text,
                           (long)strlen(text));
}

static int apply_any(int fd, const struct torc_socket_options *o)
{
    const struct setting settings[] = {
        {o->receive_bytes, SOL_SOCKET, SO_RCVBUF, as_int(o->receive_bytes)},
        {o->send_bytes, SOL_SOCKET, SO_SNDBUF, as_int(o->send_bytes)},
    };
    return set_all(fd, settings, TORC_ARRAY_LENGTH(settings));
}

static bool is_multicast(const struct torc_address *address)
{
    if (address->storage.ss_family == AF_INET)
        return IN_MULTICAST(
            ntohl(((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr));
    return IN6_IS_ADDR_MULTICAST(&((const struct sockaddr_in6 *)&address->storage)->sin6_addr);
}

/* Datagram sockets share a port without a word when all of them say SO_REUSEADDR, and one gets the messages: only of a
 * group, where each gets its copy, is that what one wants. */
static bool reuses_address(const struct torc_address *address, const struct torc_socket_options *o,
                           enum torci_role role)
{
    if (o->no_reuse_address)
        return false;
    return role == TORCI_ROLE_LISTENER || (role == TORCI_ROLE_DATAGRAM && is_multicast(address));
}

static int apply_internet(int fd, const struct torc_address *address,
                          const struct torc_socket_options *o, enum torci_role role)
{
    bool six = address->storage.ss_family == AF_INET6, datagram = role == TORCI_ROLE_DATAGRAM;
    bool accepts = role != TORCI_ROLE_CONNECTION;
    const struct setting settings[] = {
        {reuses_address(address, o, role), SOL_SOCKET, SO_REUSEADDR, 1},
        {o->reuse_port, SOL_SOCKET, SO_REUSEPORT, 1},
        {six && accepts, SOL_IPV6, IPV6_V6ONLY, o->v6only}, /* the sysctl's default may differ */
        {o->broadcast && datagram, SOL_SOCKET, SO_BROADCAST, 1},
        {o->mark, SOL_SOCKET, SO_MARK, (int)o->mark},
        /* An IPv6 socket has the IPv4 ones, too: for mapped addresses. */
        {o->transparent, SOL_IP, IP_TRANSPARENT, 1},
        {o->transparent && six, SOL_IPV6, IPV6_TRANSPARENT, 1},
        {o->free_bind, SOL_IP, IP_FREEBIND, 1},
        {o->free_bind && six, SOL_IPV6, IPV6_FREEBIND, 1},
        {o->tos, SOL_IP, IP_TOS, o->tos},
        {o->tos && six, SOL_IPV6, IPV6_TCLASS, o->tos},
        {o->hops, SOL_IP, IP_TTL, o->hops},
        {o->hops && six, SOL_IPV6, IPV6_UNICAST_HOPS, o->hops},
        {o->hops && datagram, SOL_IP, IP_MULTICAST_TTL, o->hops},
        {o->hops && datagram && six, SOL_IPV6, IPV6_MULTICAST_HOPS, o->hops},
        {o->priority, SOL_SOCKET, SO_PRIORITY, o->priority}, /* after IP_TOS, which sets one */
    };
    int err = set_all(fd, settings, TORC_ARRAY_LENGTH(settings));
    if (err || !o->device)
        return err;
    if (!*o->device || strlen(o->device) >= IFNAMSIZ) /* the kernel would cut it, or unbind */
        return -ENODEV;
    return set_text(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device);
}

static int set_linger(int fd, const struct torc_socket_options *o)
{
    const struct linger linger = {.l_onoff = 1,
                                  .l_linger = o->reset_on_close ? 0 : as_int(o->linger_s)};
    if (!o->reset_on_close && !o->linger_s)
        return 0;
    return (int)TORCI_CALL(torci_kernel_this(), SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER,
                           (long)&linger, sizeof linger);
}

static int apply_tcp(int fd, const struct torc_socket_options *o, enum torci_role role)
{
    bool listener = role == TORCI_ROLE_LISTENER, probes = o->keepalive_s;
    const struct setting settings[] = {
        {!o->nagle, SOL_TCP, TCP_NODELAY, 1},
        {o->unsent_bytes, SOL_TCP, TCP_NOTSENT_LOWAT, as_int(o->unsent_bytes)},
        {probes, SOL_SOCKET, SO_KEEPALIVE, 1},
        {probes, SOL_TCP, TCP_KEEPIDLE, as_int(o->keepalive_s)},
        {probes && o->keepalive_interval_s, SOL_TCP, TCP_KEEPINTVL,
         as_int(o->keepalive_interval_s)},
        {probes && o->keepalive_count, SOL_TCP, TCP_KEEPCNT, as_int(o->keepalive_count)},
        {o->user_timeout_ms, SOL_TCP, TCP_USER_TIMEOUT, as_int(o->user_timeout_ms)},
        {o->defer_accept_s && listener, SOL_TCP, TCP_DEFER_ACCEPT, as_int(o->defer_accept_s)},
        {o->fast_open && listener, SOL_TCP, TCP_FASTOPEN, as_int(o->fast_open)},
    };
    int err = set_all(fd, settings, TORC_ARRAY_LENGTH(settings));
    if (!err)
        err = set_linger(fd, o);
    if (err || !o->congestion)
        return err;
    if (strlen(o->congestion) > CONGESTION_NAME_MAX)
        return -ENOENT;
    return set_text(fd, SOL_TCP, TCP_CONGESTION, o->congestion);
}

int torci_socket_apply(int fd, const struct torc_address *address,
                       const struct torc_socket_options *options, enum torci_role role)
{
    int err = apply_any(fd, options);
    if (!err && address->storage.ss_family != AF_UNIX)
        err = apply_internet(fd, address, options, role);
    if (!err && address->transport == TORC_TCP)
        err = apply_tcp(fd, options, role);
    return err;
}

int torci_socket_create(const struct torc_address *address,
                        const struct torc_socket_options *options, bool listener)
{
    const struct torci_kernel *kernel = torci_kernel_this();
    bool stream = address->transport == TORC_TCP || address->transport == TORC_UNIX;
    int type = (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = (int)TORCI_CALL(kernel, SYS_socket, address->storage.ss_family, type, 0);
    if (fd < 0)
        return fd;
    enum torci_role role = !stream    ? TORCI_ROLE_DATAGRAM
                           : listener ? TORCI_ROLE_LISTENER
                                      : TORCI_ROLE_CONNECTION;
    int err = torci_socket_apply(fd, address, options, role);
    if (!err)
        return fd;
    (void)TORCI_CALL(kernel, SYS_close, fd);
    return err;
}

static int poll_once(int fd, unsigned events)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_poll_add(sqe, fd, events);
    return torc_op_wait(&op);
}

int torc_poll_fd(int fd, int events)
{
    unsigned asked = (events & TORC_READABLE ? POLLIN | POLLRDHUP : 0u) |
                     (events & TORC_WRITABLE ? POLLOUT : 0u);
    for (;;) {
        int came = poll_once(fd, asked);
        if (came < 0)
            return came;
        /* What the peer has closed can be read: it gives the end. */
        int ready = (came & (int)asked & (POLLIN | POLLRDHUP) ? TORC_READABLE : 0) |
                    (came & POLLOUT ? TORC_WRITABLE : 0) |
                    (came & (int)(asked | POLLHUP) & (POLLHUP | POLLRDHUP) ? TORC_HANGUP : 0) |
                    (came & POLLERR ? TORC_FAILED : 0);
        if (ready)
            return ready;
        /* The ring, unlike poll(2), always tells of a peer that has ended its half, again and again. Who waits for room
         * to write to such a peer is the rare one who looks a thousand times a second. */
        int err = torc_sleep(HALF_CLOSED_PAUSE_NS);
        if (err)
            return err;
    }
}
