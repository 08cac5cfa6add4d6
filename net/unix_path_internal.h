/* SPDX-License-Identifier: MIT
 *
 * Unix sockets' paths: bind makes one, nobody but us removes it, and a program that died has left its own behind.
 */
#ifndef TORC_NET_UNIX_PATH_INTERNAL_H
#define TORC_NET_UNIX_PATH_INTERNAL_H

#include "net/address.h"

/* Binds FD, of whatever transport. A path that no living socket has is taken over; *MADE tells whether there is one to be
 * removed at the end. bind's errors; -EADDRINUSE too where there is a file of another kind. */
int torci_bind(int fd, const struct torc_address *address, bool *made) TORC_MUST_CHECK;
void torci_unix_path_remove(const struct torc_address *address);

#endif
