/* SPDX-License-Identifier: MIT
 *
 * Names to addresses: see resolve_internal.h for a name's life. getaddrinfo can't be interrupted and may take as long as
 * /etc/resolv.conf says (30 s and more), so whoever waits for it must be able to leave. At the shard's end a lookup that
 * runs is waited for nevertheless, by the pool, which says so: a thread can't be taken out of a library.
 *
 * A name that nobody knows is remembered for a second only, so that a caller who tries again in a loop costs nothing and
 * one who waits for a name to appear sees it soon. Failures of this very machine (no memory, no thread) are not remembered.
 */
#include "net/resolve_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "core/time.h"
#include "net/net_internal.h"

#define KEEP_NS (60 * TORC_SEC)
#define KEEP_FAILURE_NS TORC_SEC

enum known_state { NAME_KNOWN, NAME_QUEUED, NAME_RUNNING };

struct known_name {
    struct torci_link link;    /* of all names */
    struct torci_link queued;  /* of those that wait for a thread */
    struct torci_link waiters; /* struct waiter */
    struct torci_resolver *resolver;
    struct torci_job job;
    torci_lookup_fn *lookup;
    enum known_state state;
    uint32_t hash;
    int result; /* addresses, or a negative errno */
    uint64_t until_ns;
    struct torci_host_address found[TORC_RESOLVE_MAX]; /* the job's while it runs */
    char host[TORCI_NAME_MAX + 1];
};

/* On the stack of a task that waits. The answer is copied there at once: by the time the task runs the name may have been
 * forgotten in favour of others. */
struct waiter {
    struct torci_wait wait;
    struct known_name *known;
    const struct torci_name *name;
    struct torc_address *addresses;
    unsigned max;
};

/* ---- asking the system ---- */

static bool take_address(struct torci_host_address *to, const struct addrinfo *from)
{
    memset(to, 0, sizeof *to);
    if (from->ai_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, from->ai_addr, sizeof in);
        to->is_ipv6 = true;
        to->scope = in.sin6_scope_id;
        memcpy(to->bytes, &in.sin6_addr, sizeof in.sin6_addr);
    } else if (from->ai_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from->ai_addr, sizeof in);
        memcpy(to->bytes, &in.sin_addr, sizeof in.sin_addr);
    } else {
        return false;
    }
    return true;
}

static bool has_address(const struct torci_host_address *found, unsigned count,
                        const struct torci_host_address *one)
{
    for (unsigned i = 0; i < count; i++)
        if (found[i].is_ipv6 == one->is_ipv6 && found[i].scope == one->scope &&
            !memcmp(found[i].bytes, one->bytes, sizeof one->bytes))
            return true;
    return false;
}

static int lookup_error(int error)
{
    switch (error) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY: return -ENOENT;
    case EAI_MEMORY: return -ENOMEM;
    default: return -EAGAIN; /* no server answers, or none that makes sense */
    }
}

int torci_lookup_system(const char *host, struct torci_host_address *found, unsigned max)
{
    /* Streams, so that each address comes once. Both families, whatever this machine has: those that can't be reached are
     * sorted to the end (RFC 6724) and fail at once. */
    static const struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    unsigned count = 0;
    int error = getaddrinfo(host, NULL, &wanted, &list);
    if (error)
        return lookup_error(error);
    for (const struct addrinfo *at = list; at && count < max; at = at->ai_next)
        /* a hosts file may name one twice */
        if (take_address(&found[count], at) && !has_address(found, count, &found[count]))
            count++;
    freeaddrinfo(list);
    return count ? (int)count : -ENOENT;
}

static int run_lookup(void *arg)
{
    struct known_name *known = arg;
    return known->lookup(known->host, known->found, TORC_RESOLVE_MAX);
}

/* ---- names ---- */

/* FNV-1a. */
static uint32_t hash_of(const char *host)
{
    uint32_t hash = 2166136261;
    for (; *host; host++)
        hash = (hash ^ (uint8_t)*host) * 16777619;
    return hash;
}

static struct known_name *find(struct torci_resolver *resolver, const char *host)
{
    uint32_t hash = hash_of(host);
    struct torci_link *at;
    torci_list_each (at, &resolver->names) {
        struct known_name *known = TORC_CONTAINER_OF(at, struct known_name, link);
        if (known->hash != hash || strcmp(known->host, host) != 0)
            continue;
        torci_list_unlink(at);
        torci_list_push_front(&resolver->names, at);
        return known;
    }
    return NULL;
}

static void forget(struct known_name *known, const struct torci_host *host)
{
    torci_list_unlink(&known->link);
    torci_list_unlink(&known->queued);
    known->resolver->count--;
    host->free(host->context, known, sizeof *known);
}

/* One name less: that which nobody has used for the longest time. Those that are being looked up must stay. */
static bool make_room(struct torci_resolver *resolver)
{
    for (struct torci_link *at = resolver->names.prev; at != &resolver->names; at = at->prev) {
        struct known_name *known = TORC_CONTAINER_OF(at, struct known_name, link);
        if (known->state != NAME_KNOWN)
            continue;
        forget(known, torci_this->host);
        return true;
    }
    return false;
}

static int remember(struct torci_resolver *resolver, const char *host, struct known_name **out)
{
    if (resolver->count >= TORCI_NAMES_MAX && !make_room(resolver))
        return -EAGAIN;
    struct known_name *known = torci_this->host->alloc(torci_this->host->context, sizeof *known);
    if (!known)
        return -ENOMEM;
    known->resolver = resolver;
    known->hash = hash_of(host);
    memcpy(known->host, host, strlen(host) + 1);
    torci_link_init(&known->queued);
    torci_link_init(&known->waiters);
    torci_list_push_front(&resolver->names, &known->link);
    resolver->count++;
    *out = known;
    return 0;
}

/* ---- lookups ---- */

static int answer(const struct known_name *known, const struct torci_name *name,
                  struct torc_address *addresses, unsigned max)
{
    if (known->result < 0)
        return known->result;
    unsigned count = (unsigned)known->result < max ? (unsigned)known->result : max;
    for (unsigned i = 0; i < count; i++) {
        const struct torci_host_address *found = &known->found[i];
        struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_scope_id = found->scope};
        struct sockaddr_in four = {.sin_family = AF_INET};
        memcpy(&six.sin6_addr, found->bytes, sizeof six.sin6_addr);
        memcpy(&four.sin_addr, found->bytes, sizeof four.sin_addr);
        addresses[i] = (struct torc_address){.transport = name->transport};
        addresses[i].length = found->is_ipv6 ? sizeof six : sizeof four;
        memcpy(&addresses[i].storage, found->is_ipv6 ? (const void *)&six : (const void *)&four,
               addresses[i].length);
        torc_address_set_port(&addresses[i], name->port);
    }
    return (int)count;
}

/* The answer is there: for all who wait, and for those who ask within KEEP. */
static void settle(struct known_name *known, int result, uint64_t keep_ns)
{
    known->state = NAME_KNOWN;
    known->result = result;
    known->until_ns = torc_now_ns() + keep_ns;
    while (!torci_list_is_empty(&known->waiters)) {
        struct torci_wait *wait = torci_wait_first(&known->waiters);
        struct waiter *waiter = TORC_CONTAINER_OF(wait, struct waiter, wait);
        int count = answer(known, waiter->name, waiter->addresses, waiter->max);
        torci_wait_wake(wait, count);
    }
}

static void lookup_done(struct torci_job *job);

static int begin(struct known_name *known)
{
    known->lookup = known->resolver->lookup;
    int err = torci_job_start(&known->job, run_lookup, known, lookup_done);
    if (err)
        return err;
    torci_count(&torci_this->counters->net_lookups);
    known->state = NAME_RUNNING;
    known->resolver->running++;
    return 0;
}

static bool may_begin(const struct torci_resolver *resolver)
{
    uint32_t threads = torci_io_this()->blocking.threads_max;
    return resolver->running < (threads > 1 ? threads / 2 : 1);
}

static void lookup_done(struct torci_job *job)
{
    struct known_name *known = TORC_CONTAINER_OF(job, struct known_name, job);
    struct torci_resolver *resolver = known->resolver;
    int result = job->result;
    resolver->running--;
    settle(known, result, result > 0 ? KEEP_NS : result == -ENOMEM ? 0 : KEEP_FAILURE_NS);
    while (may_begin(resolver)) {
        struct torci_link *next = torci_list_pop_front(&resolver->queue);
        if (!next)
            return;
        int err = begin(TORC_CONTAINER_OF(next, struct known_name, queued));
        TORC_ASSERT(!err); /* there is a thread: the one that has this moment come back */
    }
}

static int ask(struct known_name *known)
{
    struct torci_resolver *resolver = known->resolver;
    if (may_begin(resolver))
        return begin(known);
    known->state = NAME_QUEUED;
    torci_list_push_back(&resolver->queue, &known->queued);
    return 0;
}

/* A lookup that has not begun, and that nobody waits for any more, does not begin. */
static void leave(struct torci_park *park, int reason)
{
    struct waiter *waiter = TORC_CONTAINER_OF(park, struct waiter, wait.park);
    struct known_name *known = waiter->known;
    torci_wait_wake(&waiter->wait, reason);
    if (known->state == NAME_QUEUED && torci_list_is_empty(&known->waiters))
        forget(known, torci_this->host);
}

int torci_resolver_find(struct torci_resolver *resolver, const struct torci_name *name,
                        struct torc_address *addresses, unsigned max)
{
    struct known_name *known = find(resolver, name->host);
    if (known && known->state == NAME_KNOWN && torc_now_ns() < known->until_ns)
        return answer(known, name, addresses, max);
    int err = torci_wait_pending();
    if (!err && !known)
        err = remember(resolver, name->host, &known);
    if (!err && known->state == NAME_KNOWN)
        err = ask(known);
    if (err)
        return err;
    struct waiter waiter = {.known = known, .name = name, .addresses = addresses, .max = max};
    torci_wait_init(&waiter.wait);
    waiter.wait.park.interrupt = leave;
    torci_list_push_back(&known->waiters, &waiter.wait.link);
    return torci_wait_park(&waiter.wait);
}

void torci_resolver_init(struct torci_resolver *resolver)
{
    *resolver = (struct torci_resolver){.lookup = torci_lookup_system};
    torci_link_init(&resolver->names);
    torci_link_init(&resolver->queue);
}

void torci_resolver_deinit(struct torci_resolver *resolver, const struct torci_host *host)
{
    struct torci_link *at, *after;
    torci_list_each_safe (at, after, &resolver->names)
        forget(TORC_CONTAINER_OF(at, struct known_name, link), host);
}

int torc_resolve(const char *text, struct torc_address *addresses, unsigned max)
{
    struct torci_name name;
    const char *why;
    struct torci_net *net;
    if (!max)
        return -EINVAL;
    int err = torci_address_read(text, addresses, &name, &why);
    if (err != -EDESTADDRREQ)
        return err ? err : 1;
    err = torci_net_get(&net);
    return err ? err : torci_resolver_find(&net->resolver, &name, addresses, max);
}
