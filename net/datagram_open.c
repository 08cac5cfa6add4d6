/* SPDX-License-Identifier: MIT
 *
 * How datagram sockets come to be and go. Opening is a chain of steps: the addresses, the socket with its options, bound,
 * connected, told to coalesce. On an error the descriptor is closed, and a path that was made goes with it.
 */
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include "net/datagram_internal.h"
#include "net/socket_internal.h"
#include "net/unix_path_internal.h"

static bool is_unix(const struct torc_datagram *datagram)
{
    return datagram->transport == TORC_UNIX_DATAGRAM;
}

/* The first address of TEXT that goes with FAMILY (0: any). IPv6 sockets talk to IPv4 as well. */
static int look_up(const char *text, int family, struct torc_address *address)
{
    struct torc_address found[TORC_RESOLVE_MAX];
    int count = torc_resolve(text, found, TORC_RESOLVE_MAX);
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++) {
        *address = found[i];
        if (!family || family == AF_INET6 || found[i].storage.ss_family == family)
            break;
    }
    bool datagrams = address->transport == TORC_UDP || address->transport == TORC_UNIX_DATAGRAM;
    return datagrams ? 0 : -EPROTOTYPE;
}

static int look_up_both(const char *local, const char *peer, struct torc_datagram *datagram)
{
    memset(datagram, 0, sizeof *datagram);
    datagram->fd = -1;
    datagram->owner = torci_this;
    if (!local && !peer)
        return -EINVAL;
    int err = local ? look_up(local, 0, &datagram->address) : 0;
    if (!err && peer)
        err = look_up(peer, datagram->address.storage.ss_family, &datagram->peer);
    if (err)
        return err;
    datagram->transport = local ? datagram->address.transport : datagram->peer.transport;
    return peer && datagram->peer.transport != datagram->transport ? -EINVAL : 0;
}

/* Without an address of its own a Unix socket could not be answered: the kernel makes up an abstract one. UDP sockets get
 * a port when they are connected or send. */
static int bind_local(struct torc_datagram *datagram, bool named)
{
    struct torc_address any = {.transport = TORC_UNIX_DATAGRAM, .length = sizeof(sa_family_t)};
    any.storage.ss_family = AF_UNIX;
    if (named)
        return torci_bind(datagram->fd, &datagram->address, &datagram->unlink);
    return is_unix(datagram) ? torci_bind(datagram->fd, &any, &datagram->unlink) : 0;
}

static int get_name(const struct torc_datagram *datagram, long number, struct torc_address *address)
{
    socklen_t length = sizeof address->storage;
    long err = TORCI_DATAGRAM_CALL(datagram, number, torci_datagram_pointer(&address->storage),
                                   torci_datagram_pointer(&length));
    if (err < 0)
        return (int)err;
    address->transport = datagram->transport;
    address->length = length;
    return 0;
}

static int set_up(struct torc_datagram *datagram, const char *address,
                  const struct torc_datagram_options *options)
{
    const int on = 1;
    long err = bind_local(datagram, address != NULL);
    if (err >= 0 && options->connect)
        err = TORCI_DATAGRAM_CALL(datagram, SYS_connect,
                                  torci_datagram_pointer(&datagram->peer.storage),
                                  datagram->peer.length);
    if (err >= 0 && options->coalesce)
        err = is_unix(datagram)
                  ? -EINVAL
                  : TORCI_DATAGRAM_CALL(datagram, SYS_setsockopt, IPPROTO_UDP, UDP_GRO,
                                        torci_datagram_pointer(&on), sizeof on);
    datagram->connected = options->connect != NULL;
    datagram->coalesces = options->coalesce;
    return err < 0 ? (int)err : get_name(datagram, SYS_getsockname, &datagram->address);
}

int torc_datagram_open(struct torc_datagram *datagram, const char *address,
                       const struct torc_datagram_options *options)
{
    static const struct torc_datagram_options defaults;
    if (!options)
        options = &defaults;
    int err = look_up_both(address, options->connect, datagram);
    if (err)
        return err;
    int fd = torci_socket_create(address ? &datagram->address : &datagram->peer, &options->socket,
                                 false);
    if (fd < 0)
        return fd;
    datagram->fd = fd;
    err = set_up(datagram, address, options);
    if (err)
        torc_datagram_close(datagram);
    return err;
}

static int get_option(const struct torc_datagram *datagram, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof value;
    long err = TORCI_DATAGRAM_CALL(datagram, SYS_getsockopt, level, name,
                                   torci_datagram_pointer(&value), torci_datagram_pointer(&size));
    return err < 0 ? (int)err : value;
}

int torc_datagram_adopt(struct torc_datagram *datagram, int fd)
{
    struct torc_datagram adopted = {.owner = torci_this, .fd = fd};
    int type = get_option(&adopted, SOL_SOCKET, SO_TYPE);
    int family = get_option(&adopted, SOL_SOCKET, SO_DOMAIN);
    if (type < 0)
        return type;
    if (type != SOCK_DGRAM || (family != AF_INET && family != AF_INET6 && family != AF_UNIX))
        return -EINVAL;
    adopted.transport = family == AF_UNIX ? TORC_UNIX_DATAGRAM : TORC_UDP;
    adopted.coalesces = family != AF_UNIX && get_option(&adopted, IPPROTO_UDP, UDP_GRO) > 0;
    int err = get_name(&adopted, SYS_getsockname, &adopted.address);
    if (err)
        return err;
    adopted.connected = get_name(&adopted, SYS_getpeername, &adopted.peer) == 0;
    *datagram = adopted;
    return 0;
}

int torc_datagram_release(struct torc_datagram *datagram)
{
    TORC_ASSERT(datagram->owner == torci_this);
    int fd = datagram->fd;
    datagram->fd = -1;
    return fd;
}

void torc_datagram_close(struct torc_datagram *datagram)
{
    if (datagram->fd < 0)
        return;
    TORC_ASSERT(datagram->owner == torci_this);
    if (datagram->unlink)
        torci_unix_path_remove(&datagram->address);
    (void)TORCI_DATAGRAM_CALL(datagram, SYS_close, 0);
    datagram->fd = -1;
}

const struct torc_address *torc_datagram_address(const struct torc_datagram *datagram)
{
    return &datagram->address;
}
