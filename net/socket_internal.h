/* SPDX-License-Identifier: MIT
 *
 * Sockets as bare descriptors, for listeners, connections and datagrams.
 */
#ifndef TORC_NET_SOCKET_INTERNAL_H
#define TORC_NET_SOCKET_INTERNAL_H

#include "net/address.h"
#include "net/socket.h"

/* What a socket is for: some options belong to one kind only, and are left out elsewhere. */
enum torci_role { TORCI_ROLE_LISTENER = 1, TORCI_ROLE_CONNECTION, TORCI_ROLE_DATAGRAM };

enum { TORCI_BACKLOG_DEFAULT = 4096 };

/* A socket of ADDRESS's kind, non-blocking, closed by exec, with all OPTIONS; not bound to anything. The descriptor; or a
 * negative errno, and nothing is left:
 * -EMFILE, -ENFILE, -ENOMEM, -EAFNOSUPPORT (no IPv6); -EPERM: the mark, transparent or a priority above 6 needs CAP_NET_ADMIN;
 * -ENODEV: there is no such interface; -ENOENT: the kernel has no such congestion control; -EINVAL: a value out of range. */
int torci_socket_create(const struct torc_address *address,
                        const struct torc_socket_options *options, bool listener) TORC_MUST_CHECK;
/* All OPTIONS to FD, which is a socket of ADDRESS's kind. 0, or as above; FD stays the caller's. */
int torci_socket_apply(int fd, const struct torc_address *address,
                       const struct torc_socket_options *options,
                       enum torci_role role) TORC_MUST_CHECK;

#endif
