/* SPDX-License-Identifier: MIT
 *
 * What sockets can be told, in one struct for listeners, connections and datagrams; zero is a sensible default
 * everywhere. What a kind of socket does not have is left out; what the kernel refuses is the error of the call that makes
 * the socket: -EPERM without the rights that are named below, -ENODEV for an unknown device, -ENOENT for an unknown congestion
 * control, -EINVAL for a value out of range.
 *
 * And readiness of any descriptor, for libraries that have their own sockets.
 */
#ifndef TORC_NET_SOCKET_H
#define TORC_NET_SOCKET_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torc_address;

struct torc_socket_options {
    bool nagle;             /* let the kernel gather small segments; default: TCP_NODELAY */
    bool no_reuse_address;  /* of listeners, and datagrams of a group; default: SO_REUSEADDR */
    bool reuse_port;        /* SO_REUSEPORT; torc_serve sets it where it needs it */
    bool v6only;            /* an IPv6 listener takes no IPv4 */
    bool broadcast;         /* of datagrams */
    bool reset_on_close;    /* linger of 0: close resets the connection */
    bool transparent;       /* IP_TRANSPARENT, with CAP_NET_ADMIN or CAP_NET_RAW */
    bool free_bind;         /* an address that is not there (yet) */
    uint32_t backlog;       /* of listeners; default 4,096, cut by net.core.somaxconn */
    uint32_t receive_bytes; /* SO_RCVBUF; default: the kernel's, which grows by itself */
    uint32_t send_bytes;    /* SO_SNDBUF; likewise */
    uint32_t unsent_bytes;  /* TCP_NOTSENT_LOWAT; default: none */
    uint32_t linger_s;      /* close waits so long for unsent data, on a kernel worker */
    uint32_t keepalive_s;   /* idle time before the first probe; default: no probes */
    uint32_t keepalive_interval_s, keepalive_count; /* with keepalive_s; default: the kernel's */
    uint32_t user_timeout_ms; /* TCP_USER_TIMEOUT: unacknowledged data ends the connection */
    uint32_t defer_accept_s;  /* TCP_DEFER_ACCEPT */
    uint32_t fast_open;       /* of listeners: queue length for TCP Fast Open */
    uint32_t mark;            /* SO_MARK, with CAP_NET_ADMIN */
    uint8_t tos;              /* IP_TOS, IPV6_TCLASS */
    uint8_t hops;             /* TTL, hop limit; of multicast too */
    uint8_t priority;         /* SO_PRIORITY; above 6 with CAP_NET_ADMIN */
    const char *device;       /* bind to this interface */
    const char *congestion;   /* TCP_CONGESTION, "bbr" */
};

enum { TORC_READABLE = 1, TORC_WRITABLE = 2, TORC_HANGUP = 4, TORC_FAILED = 8 };

/* Sleeps until FD, of any kind that poll(2) knows, is ready for one of EVENTS (TORC_READABLE, TORC_WRITABLE; the others are always
 * looked for): which it is ready for, more than 0; or -EBADF, -ECANCELED, -ETIMEDOUT. FD stays the caller's, and must stay
 * open meanwhile. In a task; several may wait for one descriptor. */
int torc_poll_fd(int fd, int events) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
