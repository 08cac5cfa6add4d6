/* SPDX-License-Identifier: MIT
 *
 * Addresses, for the rest of the room: text that may have a name in it, and what is wrong with it in words.
 */
#ifndef TORC_NET_ADDRESS_INTERNAL_H
#define TORC_NET_ADDRESS_INTERNAL_H

#include "net/address.h"

enum { TORCI_NAME_MAX = 253 }; /* characters of a host's name: what DNS can carry */

/* What is left to be looked up: the host in lower case, and what the addresses that are found are to have. */
struct torci_name {
    enum torc_transport transport;
    uint16_t port;
    char host[TORCI_NAME_MAX + 1];
};

/* As torc_address_parse; -EDESTADDRREQ: NAME is filled in; -EINVAL: *WHY says what is wrong and how it is written. */
int torci_address_read(const char *text, struct torc_address *address, struct torci_name *name,
                       const char **why) TORC_MUST_CHECK;

#endif
