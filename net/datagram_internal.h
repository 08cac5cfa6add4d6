/* SPDX-License-Identifier: MIT
 *
 * What the datagram files share. Every call tries without waiting first, by a plain system call, and waits for readiness
 * by a poll on the ring: an interrupted wait has taken nothing from the socket and given nothing to it, so nothing can be
 * lost.
 */
#ifndef TORC_NET_DATAGRAM_INTERNAL_H
#define TORC_NET_DATAGRAM_INTERNAL_H

#include <errno.h>

#include "io/io_internal.h"
#include "net/datagram.h"

static inline long torci_datagram_pointer(const void *memory)
{
    return (long)(uintptr_t)memory;
}

#define TORCI_DATAGRAM_CALL(datagram, number, ...) \
    TORCI_CALL(torci_kernel_this(), number, (datagram)->fd, __VA_ARGS__)

/* Every call begins with it: 0, -ECANCELED or -ETIMEDOUT. Under load no call ever waits, so here others get their turn. */
static inline int torci_datagram_enter(const struct torc_datagram *datagram)
{
    TORC_ASSERT(datagram->owner == torci_this);
    TORC_ASSERT(datagram->fd >= 0);
    if (TORC_UNLIKELY(torc_should_yield()))
        torc_yield();
    return torci_wait_pending();
}

/* One call has brought COUNT messages. */
static inline void torci_datagram_came(unsigned count, size_t bytes)
{
    struct torci_io *io = torci_io_this();
    struct torci_counters *counters = io->exec.counters;
    torci_count_add(&counters->net_datagrams_received, count);
    torci_count_add(&counters->net_datagram_received_bytes, bytes);
    /* the loop spins a moment for the next message where that pays */
    io->traffic.came++;
    if (bytes > io->traffic.largest_bytes)
        io->traffic.largest_bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

static inline void torci_datagram_went(unsigned count, size_t bytes)
{
    struct torci_counters *counters = torci_this->counters;
    torci_count_add(&counters->net_datagrams_sent, count);
    torci_count_add(&counters->net_datagram_sent_bytes, bytes);
}

/* The kernel has filled in LENGTH bytes of FROM. IPv4 senders are told as such on IPv6 sockets too. */
void torci_datagram_set_peer(const struct torc_datagram *datagram, socklen_t length,
                             struct torc_address *from);
/* Whether messages can go to TO, which is NULL or of transport 0 for the connected peer: 0, -EINVAL, -EDESTADDRREQ. */
static inline int torci_datagram_check_to(const struct torc_datagram *datagram,
                                          const struct torc_address *to)
{
    if (!to || !to->transport)
        return datagram->connected ? 0 : -EDESTADDRREQ;
    return to->transport == datagram->transport ? 0 : -EINVAL;
}

/* A send to TO has given ERROR: waits for what there is to wait for, or mends the socket. 0: try again; else what the
 * caller is to return. */
int torci_datagram_recover(struct torc_datagram *datagram, int error,
                           const struct torc_address *to) TORC_MUST_CHECK;

#endif
