/* SPDX-License-Identifier: MIT
 *
 * Multicast: which groups a socket hears, and how its own messages leave. Option levels go by the group's family: an IPv6
 * socket can be in IPv4 groups, too.
 */
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net/datagram_internal.h"

enum { IPV6_ALL_GROUPS = 29 }; /* IPV6_MULTICAST_ALL, 4.20 */

static long set_option(const struct torc_datagram *datagram, int level, int name, const void *value,
                       size_t size)
{
    return TORCI_DATAGRAM_CALL(datagram, SYS_setsockopt, level, name, torci_datagram_pointer(value),
                               (long)size);
}

/* The interface's number; 0 of none. */
static int index_of(const struct torc_datagram *datagram, const char *interface_name)
{
    struct ifreq request = {0};
    if (!interface_name)
        return 0;
    size_t length = strlen(interface_name);
    if (length >= sizeof request.ifr_name)
        return -ENODEV;
    memcpy(request.ifr_name, interface_name, length);
    long err =
        TORCI_DATAGRAM_CALL(datagram, SYS_ioctl, SIOCGIFINDEX, torci_datagram_pointer(&request));
    return err < 0 ? (int)err : request.ifr_ifindex;
}

static bool is_v6(const struct torc_address *address)
{
    return address->storage.ss_family == AF_INET6;
}

static int change(const struct torc_datagram *datagram, const char *group,
                  const char *interface_name, int name)
{
    TORC_ASSERT(datagram->owner == torci_this);
    struct torc_address address;
    int err = torc_address_parse(group, &address);
    if (err)
        return -EINVAL;
    if (address.transport != TORC_UDP || datagram->transport != TORC_UDP ||
        (is_v6(&address) && !is_v6(&datagram->address)))
        return -EINVAL;
    int index = index_of(datagram, interface_name);
    if (index < 0)
        return index;
    if (!index && is_v6(&address))
        index = (int)((const struct sockaddr_in6 *)&address.storage)->sin6_scope_id;
    struct group_req request = {.gr_interface = (uint32_t)index};
    memcpy(&request.gr_group, &address.storage, address.length);
    long said = set_option(datagram, is_v6(&address) ? IPPROTO_IPV6 : IPPROTO_IP, name, &request,
                           sizeof request);
    return said < 0 ? (int)said : 0;
}

int torc_datagram_join(struct torc_datagram *datagram, const char *group,
                       const char *interface_name)
{
    const int off = 0;
    int err = change(datagram, group, interface_name, MCAST_JOIN_GROUP);
    if (err)
        return err;
    /* By default a socket hears whatever any program of the machine has joined. */
    (void)set_option(datagram, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off);
    if (is_v6(&datagram->address))
        (void)set_option(datagram, IPPROTO_IPV6, IPV6_ALL_GROUPS, &off, sizeof off);
    return 0;
}

int torc_datagram_leave(struct torc_datagram *datagram, const char *group,
                        const char *interface_name)
{
    return change(datagram, group, interface_name, MCAST_LEAVE_GROUP);
}

int torc_datagram_multicast(struct torc_datagram *datagram, const char *interface_name, bool loop)
{
    TORC_ASSERT(datagram->owner == torci_this);
    if (datagram->transport != TORC_UDP)
        return -EINVAL;
    int index = index_of(datagram, interface_name);
    if (index < 0)
        return index;
    const int loops = loop;
    const struct ip_mreqn interface = {.imr_ifindex = index};
    long err = set_option(datagram, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface);
    if (err >= 0)
        err = set_option(datagram, IPPROTO_IP, IP_MULTICAST_LOOP, &loops, sizeof loops);
    if (err >= 0 && is_v6(&datagram->address))
        err = set_option(datagram, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index);
    if (err >= 0 && is_v6(&datagram->address))
        err = set_option(datagram, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &loops, sizeof loops);
    return err < 0 ? (int)err : 0;
}
