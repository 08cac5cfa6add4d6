/* SPDX-License-Identifier: MIT
 *
 * The resolver of one shard: what names it knows, and which it has asked for. One job of the blocking pool a name, however
 * many wait for it; nobody waits longer than he likes, because the job's memory belongs to the name and not to a task.
 *
 *             asked for                    a thread is free             the answer
 *   unknown ------------> queued, if there -------------> running ------------------> known, for a while
 *      ^                  are enough running                ^                              |
 *      '--- nobody waits any more ----'                     '--- too old, and asked for ---'
 *
 * Half of the pool's threads at most run lookups, so that a resolver that hangs leaves some to the others.
 */
#ifndef TORC_NET_RESOLVE_INTERNAL_H
#define TORC_NET_RESOLVE_INTERNAL_H

#include "core/host_internal.h"
#include "core/list.h"
#include "net/address_internal.h"

enum { TORCI_NAMES_MAX = 256 }; /* known and asked for */

struct torci_host_address {
    bool is_ipv6;
    uint8_t bytes[16]; /* 4 of IPv4 */
    uint32_t scope;
};

/* On a thread of the pool: up to MAX addresses of HOST, the best first; how many (> 0), or -ENOENT, -EAGAIN, -ENOMEM. */
typedef int torci_lookup_fn(const char *host, struct torci_host_address *found, unsigned max);
torci_lookup_fn torci_lookup_system;

struct torci_resolver {
    torci_lookup_fn *lookup; /* torci_lookup_system; tests have others */
    struct torci_link names; /* the one that was used last first */
    struct torci_link queue; /* those that no thread has got yet */
    uint32_t count, running;
};

void torci_resolver_init(struct torci_resolver *resolver);
/* No lookup is running any more: the blocking pool has been taken down. HOST: the one of its executor. */
void torci_resolver_deinit(struct torci_resolver *resolver, const struct torci_host *host);

/* torc_resolve for a name. */
int torci_resolver_find(struct torci_resolver *resolver, const struct torci_name *name,
                        struct torc_address *addresses, unsigned max) TORC_MUST_CHECK;

#endif
