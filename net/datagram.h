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

enum { TORC_DATAGRAM_BATCH_MAX = 32 };

struct torc_datagram_options {
    struct torc_socket_options socket;
    const char *connect; /* the one peer; default: none */
    bool
        coalesce; /* UDP_GRO: messages of one sender may come as one; read by receive_batch alone */
};

struct torci_exec;

/* Caller's memory. Fields are private. */
struct torc_datagram {
    struct torci_exec *owner;
    int fd;
    enum torc_transport transport;
    bool connected, coalesces, unlink;
    struct torc_address address, peer;
};

/* A socket that is bound to ADDRESS (port 0: the kernel chooses; NULL: where the kernel likes, of the connect option's
 * family). With options.socket.reuse_port every shard can have one of the same address. Names are looked up. A Unix path that
 * a dead program has left is taken over; it is removed at close.
 * torc_resolve's errors; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EMFILE, …; -ECONNREFUSED, -ENOENT: there is no such Unix socket
 * to connect to; -EPROTOTYPE: not of datagrams; -EINVAL: malformed, no address at all, or two that don't go together. In
 * a task. */
int torc_datagram_open(struct torc_datagram *datagram, const char *address,
                       const struct torc_datagram_options *options) TORC_MUST_CHECK;
/* Makes one of FD, which is the datagram's from now on. -ENOTSOCK, -EINVAL (not of datagrams): it stays the caller's. */
int torc_datagram_adopt(struct torc_datagram *datagram, int fd) TORC_MUST_CHECK;
/* Returns the descriptor, which is the caller's again. */
int torc_datagram_release(struct torc_datagram *datagram) TORC_MUST_CHECK;
/* No task is in a call any more. Closing twice is harmless. */
void torc_datagram_close(struct torc_datagram *datagram);
/* Where it is bound: with the port that the kernel has chosen. */
const struct torc_address *torc_datagram_address(const struct torc_datagram *datagram);

/* The calls below, in tasks, any number at a time: they give -ECANCELED and -ETIMEDOUT too, and then nothing was received or
 * sent. -ECONNREFUSED of a connected one: nobody is there to take an earlier message. It is said once, the call
 * did nothing else, and the socket can be used on. */

/* The next message: its size, which may be 0, and, unless FROM is NULL, where it came from. -EMSGSIZE: it was larger than
 * SIZE; it is gone. */
ssize_t torc_datagram_receive(struct torc_datagram *datagram, void *memory, size_t size,
                              struct torc_address *from) TORC_MUST_CHECK;
/* One message, to TO (NULL: the connected peer). Waits while the kernel takes none: its own buffer, or the queue of a Unix
 * receiver, is full. -EMSGSIZE: too large for the protocol or the path; -EDESTADDRREQ: TO is NULL and there is no peer;
 * -ECONNREFUSED, -ENOENT: no such Unix receiver. */
ssize_t torc_datagram_send(struct torc_datagram *datagram, const void *memory, size_t size,
                           const struct torc_address *to) TORC_MUST_CHECK;

/* Several messages at once, up to TORC_DATAGRAM_BATCH_MAX; else -EINVAL. */
struct torc_message {
    struct iovec data;        /* received: iov_len is room before and the message's size after */
    struct torc_address peer; /* from, or to (a transport of 0: the connected peer) */
    /* 0: DATA is one message. Else it is several of so many bytes each, the last one perhaps shorter. Sent, it leaves as one
     * for all if it has at most 64 pieces and 65,507 bytes and the path allows (GSO), else piece by piece. */
    uint16_t segment_bytes;
    bool truncated; /* it was larger than the room */
};
/* Waits for the first and takes those that have come: how many, more than 0. */
int torc_datagram_receive_batch(struct torc_datagram *datagram, struct torc_message *messages,
                                unsigned count) TORC_MUST_CHECK;
/* How many were sent, which is less than COUNT only when the next one failed or the task was interrupted; or the first one's
 * error. What was received can be sent back as it is. */
int torc_datagram_send_batch(struct torc_datagram *datagram, const struct torc_message *messages,
                             unsigned count) TORC_MUST_CHECK;

/* Multicast: GROUP as "udp://239.1.2.3:0" or "udp://[ff15::1]:0"; INTERFACE by name, NULL: the kernel chooses. A socket that has
 * joined any hears no groups but those that it has joined; for several on one port of a machine, all set reuse_port.
 * -EINVAL: not a group, or not of the socket's family; -ENODEV: no such interface, or no route to the group; -EADDRINUSE: joined
 * already; -EADDRNOTAVAIL: not joined. */
int torc_datagram_join(struct torc_datagram *datagram, const char *group,
                       const char *interface_name) TORC_MUST_CHECK;
int torc_datagram_leave(struct torc_datagram *datagram, const char *group,
                        const char *interface_name) TORC_MUST_CHECK;
/* Which interface multicast leaves by, and whether this machine hears it too (default: it does). */
int torc_datagram_multicast(struct torc_datagram *datagram, const char *interface_name,
                            bool loop) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
