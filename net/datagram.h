/* SPDX-License-Identifier: MIT
 *
 * Datagrams: UDP and Unix. Messages with their borders, from and to anywhere, or connected to one peer.
 *
 *     struct torc_datagram socket;
 *     int err = torc_datagram_open(&socket, "udp://:5000", NULL);
 *     while ((n = torc_datagram_receive(&socket, buf, sizeof buf, &from)) >= 0)
 *         err = torc_datagram_send(&socket, buf, (size_t)n, &from);
 *     torc_datagram_close(&socket);
 *
 * Shard rule: as a stream's (net/stream.h).
 */
#ifndef TORC_NET_DATAGRAM_H
#define TORC_NET_DATAGRAM_H

#include <sys/uio.h>

#include "net/address.h"
#include "net/socket.h"

TORC_BEGIN_DECLS

enum { TORC_DATAGRAM_BATCH_MAX = 64 };

struct torc_datagram_options {
    struct torc_socket_options socket;
    const char *connect; /* the one peer; default: none */
    bool coalesce; /* UDP_GRO: several messages of one sender may come as one: see receive_batch */
};

/* Caller's memory. Fields are private. */
struct torc_datagram {
    int fd;
    enum torc_transport transport;
    bool connected, coalesces, unlink, hot;
    struct torc_address address;
};

/* A socket that is bound to ADDRESS (port 0: the kernel chooses; NULL: of the connect option's family, bound to nothing). With
 * options.socket.reuse_port every shard can have one of the same address. As torc_listen's errors. In a task. */
int torc_datagram_open(struct torc_datagram *datagram, const char *address,
                       const struct torc_datagram_options *options) TORC_MUST_CHECK;
int torc_datagram_adopt(struct torc_datagram *datagram, int fd) TORC_MUST_CHECK;
/* The descriptor is the caller's again. */
int torc_datagram_release(struct torc_datagram *datagram);
void torc_datagram_close(struct torc_datagram *datagram);
const struct torc_address *torc_datagram_address(const struct torc_datagram *datagram);

/* The next message: its size, which may be 0, and, unless FROM is NULL, where it came from. -EMSGSIZE: it was larger than
 * SIZE; it is gone. -ECONNREFUSED: of a connected one, the peer is not there; it can be used on. */
ssize_t torc_datagram_receive(struct torc_datagram *datagram, void *memory, size_t size,
                              struct torc_address *from) TORC_MUST_CHECK;
/* One message, to TO (NULL: the connected peer). Waits while the kernel takes none. -EMSGSIZE: too large for the protocol or the
 * path; -EDESTADDRREQ: TO is NULL and there is no peer. */
ssize_t torc_datagram_send(struct torc_datagram *datagram, const void *memory, size_t size,
                           const struct torc_address *to) TORC_MUST_CHECK;

/* Several messages at once. */
struct torc_message {
    struct iovec data;        /* received: iov_len is room before and the message's size after */
    struct torc_address peer; /* from, or to (a transport of 0: the connected peer) */
    uint16_t
        segment_bytes; /* 0: DATA is one message. Else it is several of so many bytes each, the last one perhaps
                                 shorter: to be sent by UDP_SEGMENT (GSO), or received coalesced (GRO) */
    bool truncated;
};
/* Waits for the first and takes those that have come, up to COUNT (at most TORC_DATAGRAM_BATCH_MAX): how many, more than 0. */
int torc_datagram_receive_batch(struct torc_datagram *datagram, struct torc_message *messages,
                                unsigned count) TORC_MUST_CHECK;
/* How many were sent, which is less than COUNT only when one failed after others; or the first one's error. */
int torc_datagram_send_batch(struct torc_datagram *datagram, const struct torc_message *messages,
                             unsigned count) TORC_MUST_CHECK;

/* Multicast: GROUP as "udp://239.1.2.3:0" or "udp://[ff15::1]:0"; INTERFACE by name, NULL: the kernel chooses. */
int torc_datagram_join(struct torc_datagram *datagram, const char *group,
                       const char *interface_name) TORC_MUST_CHECK;
int torc_datagram_leave(struct torc_datagram *datagram, const char *group,
                        const char *interface_name) TORC_MUST_CHECK;
/* Which interface multicast leaves by, and whether this machine hears it too (default: it does). */
int torc_datagram_multicast(struct torc_datagram *datagram, const char *interface_name,
                            bool loop) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
