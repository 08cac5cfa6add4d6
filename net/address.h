/* SPDX-License-Identifier: MIT
 *
 * Where a socket is, or is to be: IPv4, IPv6 and Unix addresses, and the text that people write for them.
 *
 *     tcp://127.0.0.1:7000   tcp://[::1]:7000   tcp://:8080 (any address of this machine)   tcp://app1:80 (a name)
 *     udp://239.1.2.3:5000   udp://[ff02::1%eth0]:5000
 *     unix:/run/app.sock     unix:@name (abstract)      unixgram:/run/app.sock (datagrams)
 *
 * Values: copy them as you like. Names are resolved off the ring, by the blocking pool, and kept for a while.
 */
#ifndef TORC_NET_ADDRESS_H
#define TORC_NET_ADDRESS_H

#include <sys/socket.h>

#include "core/base.h"

TORC_BEGIN_DECLS

enum torc_transport { TORC_TCP = 1, TORC_UDP, TORC_UNIX, TORC_UNIX_DATAGRAM };

enum {
    TORC_ADDRESS_TEXT_MAX = 256,  /* bytes of any address as text, its NUL included */
    TORC_ADDRESS_WHY_BYTES = 320, /* of a line that says what is wrong with one */
    TORC_RESOLVE_MAX = 16,        /* addresses of one name that are kept */
};

struct torc_address {
    enum torc_transport transport;
    socklen_t length; /* of what is used of storage */
    struct sockaddr_storage storage;
};

/* Reads TEXT, which must hold an address in numbers (or of a Unix socket); an empty host is any address of this machine,
 * IPv6 with IPv4 mapped where the machine has IPv6. Port 0 is legal: the kernel chooses. Never blocks. Anywhere, also before
 * torc_run.
 * 0; -EINVAL: malformed; -EDESTADDRREQ: the host is a name: torc_resolve; -ENODEV: there is no interface of a scope's name,
 * -EMFILE, -ENFILE: it can't be looked up. On error ADDRESS is not touched. */
int torc_address_parse(const char *text, struct torc_address *address) TORC_MUST_CHECK;

/* One line for people: what is wrong with TEXT, for which parse, resolve, listen or connect gave ERROR, and what to do. WHY
 * holds TORC_ADDRESS_WHY_BYTES; returns it. */
const char *torc_address_explain(const char *text, int error, char *why);

/* Writes ADDRESS as parse reads it; TEXT holds TORC_ADDRESS_TEXT_MAX bytes. Returns TEXT. What only the kernel can say of a
 * Unix socket is not read again: "unix:" has no name, and NULs within an abstract name become @. */
const char *torc_address_format(const struct torc_address *address, char *text);
/* Whether both are the same transport, host, port and scope, or path. */
bool torc_address_equal(const struct torc_address *a, const struct torc_address *b);
/* The port; 0 of a Unix address. */
uint16_t torc_address_port(const struct torc_address *address);
void torc_address_set_port(struct torc_address *address, uint16_t port);

/* As parse, but names are looked up: writes up to MAX addresses in the order in which they are to be tried, and returns how
 * many. A name's addresses are kept on this shard for a minute (a failure for a second), and of 256 names at most; lookups
 * of the same name at the same time share one job of the blocking pool, of which lookups take half the threads at most.
 * As parse; -EINVAL also: MAX is 0; -ENOENT: there is no such name; -EAGAIN: the resolver can't be reached now, or no thread could
 * be started, or 256 names are being looked up; -ENOMEM; -ECANCELED, -ETIMEDOUT: the caller was interrupted, and does not wait
 * for the resolver however long that hangs. (torc_run does, at its end, and says so: a thread can't be taken out of a resolver.)
 * In a task. */
int torc_resolve(const char *text, struct torc_address *addresses, unsigned max) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
