/* SPDX-License-Identifier: MIT
 *
 * Connecting: one address, or a race of several (RFC 8305, Happy Eyeballs). Each attempt of a race is a task of one scope;
 * the first that gets through ends it, and leaving the scope ends the others:
 *
 *     begin the next attempt --> wait: one has failed, or the delay is over, and there are more --> again
 *                                      one has got through, or none is left, or the caller is interrupted --> the end
 *
 * A socket that is not the winner's is closed by the attempt that made it, so nothing is left whatever happens.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "core/event.h"
#include "core/time.h"
#include "net/net_internal.h"
#include "net/socket_internal.h"

enum { BACKLOG_PAUSE_MIN_NS = 1000 * 1000, BACKLOG_PAUSE_MAX_NS = 50 * 1000 * 1000 };
#define ATTEMPT_DELAY_NS (250 * TORC_MS)

struct plan {
    const struct torc_connect_options *options;
    bool binds;
    struct torc_address bind;
};

static long call_with(const struct torc_address *address, long number, int fd)
{
    return TORCI_CALL(torci_kernel_this(), number, fd, (long)(uintptr_t)&address->storage,
                      address->length);
}

static void close_fd(int fd)
{
    (void)TORCI_CALL(torci_kernel_this(), SYS_close, fd);
}

static int family_of(const struct torc_address *address)
{
    return address->storage.ss_family;
}

static bool is_any_ipv6(const struct torc_address *address)
{
    return family_of(address) == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&address->storage)->sin6_addr);
}

/* Where a connection to TO is to come from: -EAFNOSUPPORT: it can't, from there. */
static int choose_bind(const struct plan *plan, const struct torc_address *to,
                       struct torc_address *from)
{
    *from = plan->bind;
    if (family_of(from) == family_of(to))
        return 0;
    if (family_of(to) != AF_INET || !is_any_ipv6(from))
        return -EAFNOSUPPORT;
    memset(&from->storage, 0, sizeof from->storage);
    from->storage.ss_family = AF_INET;
    from->length = sizeof(struct sockaddr_in);
    torc_address_set_port(from, torc_address_port(&plan->bind));
    return 0;
}

static int bind_from(const struct plan *plan, const struct torc_address *to, int fd)
{
    struct torc_address from;
    const int one = 1;
    int err = choose_bind(plan, to, &from);
    if (err)
        return err;
    if (family_of(&from) != AF_UNIX) {
        /* A port that connect chooses need only be free towards that one peer. One that is given may still be in
         * TIME_WAIT from the last time. */
        bool given = torc_address_port(&from) != 0;
        long set =
            TORCI_CALL(torci_kernel_this(), SYS_setsockopt, fd, given ? SOL_SOCKET : SOL_IP,
                       given ? SO_REUSEADDR : IP_BIND_ADDRESS_NO_PORT, (long)&one, sizeof one);
        if (set < 0 && given)
            return (int)set;
    }
    return (int)call_with(&from, SYS_bind, fd);
}

/* It is there at once or not at all, or the backlog is full, of which nothing tells when it no longer is. */
static int connect_unix(int fd, const struct torc_address *to)
{
    uint64_t pause_ns = BACKLOG_PAUSE_MIN_NS;
    for (;;) {
        int err = torc_task_check();
        if (!err)
            err = (int)call_with(to, SYS_connect, fd);
        if (err != -EAGAIN)
            return err;
        torci_ignore(torc_sleep(pause_ns)); /* an interruption is seen above */
        if (pause_ns < BACKLOG_PAUSE_MAX_NS)
            pause_ns *= 2;
    }
}

static int connect_tcp(int fd, const struct torc_address *to)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    int err = torc_op_begin(&op, &sqe);
    if (err)
        return err;
    io_uring_prep_connect(sqe, fd, (const struct sockaddr *)&to->storage, to->length);
    return torc_op_wait(&op);
}

/* The connected descriptor, or a negative errno, and nothing is left. */
static int connect_one(const struct plan *plan, const struct torc_address *to)
{
    int fd = torci_socket_create(to, &plan->options->socket, false);
    if (fd < 0)
        return fd;
    int err = plan->binds ? bind_from(plan, to, fd) : 0;
    if (!err)
        err = family_of(to) == AF_UNIX ? connect_unix(fd, to) : connect_tcp(fd, to);
    if (!err)
        return fd;
    close_fd(fd);
    return err;
}

/* ---- several addresses ---- */

struct race {
    const struct plan *plan;
    const struct torc_address *addresses; /* in the order of trying */
    unsigned tried, running;
    struct torc_event changed; /* an attempt has ended */
    int fd;                    /* the winner's; negative: there is none yet */
    int error;                 /* of the last one that failed */
};

/* Tasks begin in the order of their spawning. */
static int attempt(void *arg)
{
    struct race *race = arg;
    int fd = connect_one(race->plan, &race->addresses[race->tried++]);
    if (fd < 0)
        race->error = fd;
    else if (race->fd < 0)
        race->fd = fd;
    else
        close_fd(fd); /* a moment too late */
    race->running--;
    torc_event_set(&race->changed);
    return 0;
}

/* 0: an attempt has ended, or DELAY_NS have passed. -ECANCELED, -ETIMEDOUT: it is the caller's time that is up. */
static int wait_for_change(struct race *race, uint64_t delay_ns)
{
    struct torc_deadline delay;
    if (delay_ns == UINT64_MAX)
        return torc_event_wait(&race->changed);
    torc_deadline_enter(&delay, delay_ns);
    int err = torc_event_wait(&race->changed);
    (void)torc_deadline_leave(&delay);
    return err == -ETIMEDOUT ? torc_task_check() : err;
}

static int run_race(const struct plan *plan, const struct torc_address *addresses, unsigned count)
{
    struct race race = {.plan = plan, .addresses = addresses, .fd = -EBADF};
    struct torc_scope scope;
    uint64_t delay_ns = plan->options->attempt_delay_ns;
    unsigned begun = 0;
    int err = 0;
    torc_event_init_auto(&race.changed);
    torc_scope_init(&scope);
    while (race.fd < 0 && !err && (begun < count || race.running)) {
        if (begun < count) {
            err = torc_spawn(&scope, attempt, &race);
            if (err && !race.running)
                break;
            count = err ? begun : count; /* no room for one more: with those that run, then */
            race.running += !err;
            begun += !err;
        }
        err = wait_for_change(&race, begun == count ? UINT64_MAX
                                     : delay_ns     ? delay_ns
                                                    : ATTEMPT_DELAY_NS);
    }
    torc_scope_cancel(&scope);
    torci_ignore(torc_scope_join(&scope));
    if (race.fd >= 0) /* nothing that was got is lost to an interruption */
        return race.fd;
    return err ? err : race.error;
}

/* Families in turn, beginning with that of the first address; within a family the order stays (RFC 8305, 4). */
static void interleave(struct torc_address *addresses, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        unsigned next = i;
        while (next < count && family_of(&addresses[next]) == family_of(&addresses[i - 1]))
            next++;
        if (next == count)
            return;
        struct torc_address moved = addresses[next];
        memmove(&addresses[i + 1], &addresses[i], (next - i) * sizeof *addresses);
        addresses[i] = moved;
    }
}

/* ---- the calls ---- */

static int make_plan(const struct torc_connect_options *options, struct plan *plan)
{
    plan->options = options;
    plan->binds = options->bind != NULL;
    return plan->binds ? torc_address_parse(options->bind, &plan->bind) : 0;
}

static int connect_any(struct torc_stream *stream, const struct torc_connect_options *options,
                       struct torc_address *addresses, unsigned count)
{
    struct plan plan;
    if (addresses->transport != TORC_TCP && addresses->transport != TORC_UNIX)
        return -EPROTOTYPE;
    int err = make_plan(options, &plan);
    if (err)
        return err;
    if (plan.binds && plan.bind.transport != addresses->transport)
        return -EPROTOTYPE;
    interleave(addresses, count);
    int fd = count == 1 ? connect_one(&plan, addresses) : run_race(&plan, addresses, count);
    if (fd < 0)
        return fd;
    err = torci_stream_open(stream, fd, false);
    if (err)
        close_fd(fd);
    else
        torci_count(&torci_this->counters->net_connected);
    return err;
}

static const struct torc_connect_options defaults;

/* The call's own limit, around all of it. */
static void limit_enter(struct torc_deadline *limit, const struct torc_connect_options *options)
{
    if (options->timeout_ns)
        torc_deadline_enter(limit, options->timeout_ns);
}

static void limit_leave(struct torc_deadline *limit, const struct torc_connect_options *options)
{
    if (options->timeout_ns)
        (void)torc_deadline_leave(limit);
}

int torc_connect(struct torc_stream *stream, const char *address,
                 const struct torc_connect_options *options)
{
    struct torc_address addresses[TORC_RESOLVE_MAX];
    struct torc_deadline limit;
    if (!options)
        options = &defaults;
    limit_enter(&limit, options);
    int result = torc_resolve(address, addresses, TORC_RESOLVE_MAX);
    if (result > 0)
        result = connect_any(stream, options, addresses, (unsigned)result);
    limit_leave(&limit, options);
    return result;
}

int torc_connect_to(struct torc_stream *stream, const struct torc_address *address,
                    const struct torc_connect_options *options)
{
    struct torc_address copy = *address;
    struct torc_deadline limit;
    if (!options)
        options = &defaults;
    limit_enter(&limit, options);
    int err = connect_any(stream, options, &copy, 1);
    limit_leave(&limit, options);
    return err;
}
