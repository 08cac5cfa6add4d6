/* SPDX-License-Identifier: MIT
 *
 * The servers of one address on all shards. They find each other on shard 0, which keeps a list of them: the first that
 * comes leads, listens, and announces what came of it; the others wait for that. Then either every shard has a listener
 * on what the leader got (so they all have the same port), or the leader accepts for all and posts descriptors.
 *
 *     shard 0's list --> spread --> a member a shard: how many connections it has, or is going to have
 *
 * Who touches what: the list, `joined`, and what is announced belong to shard 0, `next` to the leader. A member's server
 * belongs to its shard; the leader only asks whether there is one. The rest is atomic, and a spread goes when its last
 * reference does: each member has one, each descriptor on its way, and the list.
 *
 * A descriptor on its way is never lost: it arrives at a server, or at a shard without one any more, or is dropped by a shard that
 * is stopping; the latter two close it.
 */
#include <errno.h>
#include <string.h>

#include "core/event.h"
#include "net/serve_internal.h"
#include "shard/alloc.h"
#include "shard/call.h"
#include "shard/run.h"

enum { NOBODY = UINT32_MAX };

struct member {
    _Alignas(64) uint32_t live;  /* atomic */
    struct torci_server *server; /* atomic; NULL: it takes nothing */
    bool joined;
};

struct torci_spread {
    struct torci_link link;
    torc_stream_fn *fn;
    const char *text; /* a copy, behind the members */
    uint32_t refs;    /* atomic */
    uint32_t waiting; /* atomic: the leader is to be told of room */
    uint32_t count, leader, next;
    struct torc_event known; /* shard 0's */
    int error;
    bool shares;
    struct torc_address address;
    struct member members[];
};

static void room(struct torci_spread *spread);

static void put(struct torci_spread *spread)
{
    /* ACQ_REL: whoever frees it sees what the others have done with it */
    if (!__atomic_sub_fetch(&spread->refs, 1, __ATOMIC_ACQ_REL))
        torc_free(spread);
}

static void get(struct torci_spread *spread)
{
    (void)__atomic_add_fetch(&spread->refs, 1, __ATOMIC_RELAXED); /* of one who has one */
}

/* ---- finding each other: on shard 0 ---- */

struct join {
    const struct torci_spread_key *key;
    struct torci_joined *joined;
    uint32_t shard;
};

static void unlist(struct torci_spread *spread)
{
    if (!torci_link_is_queued(&spread->link))
        return;
    torci_list_unlink(&spread->link);
    put(spread);
}

static struct torci_spread *create(const struct join *join)
{
    uint32_t count = torc_shard_count();
    size_t bytes = sizeof(struct torci_spread) + count * sizeof(struct member);
    size_t text_bytes = strlen(join->key->text) + 1;
    size_t line = _Alignof(struct torci_spread), rounded = (bytes + text_bytes + line - 1) / line;
    /* a multiple of the alignment is aligned so */
    struct torci_spread *spread = (struct torci_spread *)torc_alloc(rounded * line);
    if (!spread)
        return NULL;
    memset(spread, 0, bytes);
    spread->text = memcpy((char *)spread + bytes, join->key->text, text_bytes);
    spread->fn = join->key->fn;
    spread->refs = 2; /* the list's and the leader's */
    spread->count = count;
    spread->leader = join->shard;
    torc_event_init(&spread->known);
    torci_link_init(&spread->link);
    return spread;
}

/* The one that this shard is not in yet. Of one that has failed nobody is left who would take it off the list. */
static struct torci_spread *find(struct torci_net *net, const struct join *join)
{
    struct torci_link *at, *after;
    torci_list_each_safe (at, after, &net->spreads) {
        struct torci_spread *spread = TORC_CONTAINER_OF(at, struct torci_spread, link);
        if (spread->fn != join->key->fn || strcmp(spread->text, join->key->text) != 0)
            continue;
        if (!spread->members[join->shard].joined)
            return spread;
        if (spread->error)
            unlist(spread);
    }
    return NULL;
}

static bool all_have_come(const struct torci_spread *spread)
{
    for (uint32_t i = 0; i < spread->count; i++)
        if (!spread->members[i].joined)
            return false;
    return true;
}

static int follow(struct torci_spread *spread, const struct join *join)
{
    struct member *member = &spread->members[join->shard];
    get(spread);
    member->joined = true;
    int err = torc_event_wait(&spread->known);
    if (err) {
        member->joined = false;
    } else {
        err = spread->error;
        join->joined->told = err != 0;
        join->joined->spread = spread;
        join->joined->leads = false;
        join->joined->shares = spread->shares;
        join->joined->address = spread->address;
    }
    if (err) {
        if (all_have_come(spread))
            unlist(spread);
        put(spread);
    }
    return err;
}

static int join(void *arg)
{
    struct join *join = (struct join *)arg;
    struct torci_net *net;
    int err = torci_net_get(&net);
    if (err)
        return err;
    struct torci_spread *spread = find(net, join);
    if (spread)
        return follow(spread, join);
    spread = create(join);
    if (!spread)
        return -ENOMEM;
    spread->members[join->shard].joined = true;
    torci_list_push_back(&net->spreads, &spread->link);
    join->joined->spread = spread;
    join->joined->leads = true;
    return 0;
}

int torci_spread_join(const struct torci_spread_key *key, struct torci_joined *joined)
{
    struct join join_ = {key, joined, torc_shard_id()};
    int err = torc_call(0, join, &join_);
    if (err)
        joined->spread = NULL;
    return err;
}

struct announcement {
    struct torci_spread *spread;
    int error;
    bool shares;
    struct torc_address address;
};

static int announce(void *arg)
{
    const struct announcement *what = (const struct announcement *)arg;
    struct torci_spread *spread = what->spread;
    spread->error = what->error;
    spread->shares = what->shares;
    spread->address = what->address;
    torc_event_set(&spread->known);
    return 0;
}

/* Where this fails, because shard 0 is stopping, nobody waits there any more. */
void torci_spread_announce(struct torci_spread *spread, int error, bool shares,
                           const struct torc_address *address)
{
    struct announcement what = {.spread = spread, .error = error, .shares = shares};
    if (!error)
        what.address = *address;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    torci_ignore(torc_call(0, announce, &what));
    torc_mask_leave(&mask);
}

struct leave {
    struct torci_spread *spread;
    uint32_t shard;
};

/* Without the one that accepts for all, or without anybody, it can't be joined any more. One that has failed stays until all have
 * heard of it. */
static int leave(void *arg)
{
    const struct leave *what = (const struct leave *)arg;
    struct torci_spread *spread = what->spread;
    if (spread->error) {
        if (all_have_come(spread))
            unlist(spread);
        return 0;
    }
    spread->members[what->shard].joined = false;
    bool some = false;
    for (uint32_t i = 0; i < spread->count; i++)
        some |= spread->members[i].joined;
    if (!some || (!spread->shares && spread->leader == what->shard))
        unlist(spread);
    return 0;
}

void torci_spread_leave(struct torci_spread *spread)
{
    struct leave what = {spread, torc_shard_id()};
    struct torci_server *none = NULL;
    struct torc_mask mask;
    /* RELEASE pairs with has_room's acquire; the server is only used on this shard */
    __atomic_store_n(&spread->members[what.shard].server, none, __ATOMIC_RELEASE);
    torc_mask_enter(&mask);
    torci_ignore(torc_call(0, leave, &what));
    torc_mask_leave(&mask);
    put(spread);
}

bool torci_spread_hands_out(const struct torci_spread *spread)
{
    return !spread->shares;
}

void torci_spread_enter(struct torci_server *server)
{
    __atomic_store_n(&server->spread->members[torc_shard_id()].server, server, __ATOMIC_RELEASE);
    room(server->spread);
}

/* ---- handing out: the leader's side ---- */

static uint32_t live_of(const struct member *member)
{
    return __atomic_load_n(&member->live, __ATOMIC_SEQ_CST); /* pairs with torci_spread_ended */
}

static bool has_room(const struct member *member, uint32_t most)
{
    return __atomic_load_n(&member->server, __ATOMIC_ACQUIRE) && live_of(member) < most;
}

/* Who gets the next connection. */
static uint32_t choose(const struct torci_spread *spread, const struct torc_serve_options *options)
{
    uint32_t best = NOBODY, fewest = UINT32_MAX;
    for (uint32_t i = 0; i < spread->count; i++) {
        uint32_t at = (spread->next + i) % spread->count;
        const struct member *member = &spread->members[at];
        if (!has_room(member, options->connections_max))
            continue;
        if (options->spread != TORC_SPREAD_LEAST_LOADED)
            return at;
        if (live_of(member) < fewest) {
            fewest = live_of(member);
            best = at;
        }
    }
    return best;
}

struct handed {
    struct torci_spread *spread;
    int fd;
};

/* On the shard that it came to, which has nobody for it. */
static void lost(struct handed *handed)
{
    struct torci_spread *spread = handed->spread;
    (void)TORCI_CALL(torci_kernel_this(), SYS_close, handed->fd);
    torci_spread_ended(spread);
    torc_free(handed);
    put(spread);
}

static void drop(void *arg)
{
    lost((struct handed *)arg);
}

/* A member's side: a connection has come. */
static int take_over(void *arg)
{
    struct handed *handed = (struct handed *)arg;
    struct torci_spread *spread = handed->spread;
    struct torci_server *server = spread->members[torc_shard_id()].server;
    if (!server || server->draining) {
        lost(handed);
        return 0;
    }
    int fd = handed->fd;
    torc_free(handed);
    if (server->options.direct)
        fd = torci_make_direct(server->net, fd);
    /* the server may have gone while the task slept */
    server = spread->members[torc_shard_id()].server;
    if (fd < 0 || !server || server->draining || torci_server_take(server, fd)) {
        if (fd >= 0 && server)
            torci_server_refuse(server, fd);
        torci_spread_ended(spread);
    }
    put(spread);
    return 0;
}

static int send_to(struct torci_spread *spread, uint32_t shard, int fd)
{
    const struct torc_post_options options = {.dont_wait = true, .drop = drop};
    struct handed *handed = (struct handed *)torc_alloc(sizeof *handed);
    if (!handed)
        return -ENOMEM;
    *handed = (struct handed){spread, fd};
    get(spread);
    int err = torc_post_with(shard, &options, take_over, handed);
    if (err) {
        torc_free(handed);
        put(spread);
    }
    return err;
}

static int give_to(struct torci_server *server, uint32_t shard, int fd)
{
    struct torci_spread *spread = server->spread;
    struct member *member = &spread->members[shard];
    (void)__atomic_add_fetch(&member->live, 1, __ATOMIC_RELAXED);
    int err = shard == spread->leader && !server->options.direct ? torci_server_take(server, fd)
                                                                 : send_to(spread, shard, fd);
    if (err)
        (void)__atomic_sub_fetch(&member->live, 1, __ATOMIC_RELAXED);
    else
        spread->next = shard + 1;
    return err;
}

/* Nobody has room: whoever has some again sees that the leader waits, or the leader sees the room. */
static void wait_for_room(struct torci_server *server)
{
    struct torci_spread *spread = server->spread;
    torci_listener_pause(server->listener);
    /* SEQ_CST, as the loads of the members' counts after it: pairs with torci_spread_ended */
    __atomic_store_n(&spread->waiting, 1, __ATOMIC_SEQ_CST);
    if (choose(spread, &server->options) != NOBODY &&
        __atomic_exchange_n(&spread->waiting, 0, __ATOMIC_RELAXED))
        torci_listener_resume(server->listener);
}

void torci_spread_give(struct torci_server *server, int fd)
{
    struct torci_spread *spread = server->spread;
    bool waits = server->options.at_limit == TORC_LIMIT_WAIT;
    uint32_t to = choose(spread, &server->options);
    if (to == NOBODY && !waits) {
        torci_count(&server->net->io->exec.counters->net_refused);
        torci_connection_reset(server->net, fd, false);
        return;
    }
    int err = to == NOBODY ? -EAGAIN : give_to(server, to, fd);
    if (err && to != NOBODY && to != spread->leader &&
        has_room(&spread->members[spread->leader], server->options.connections_max))
        err = give_to(server, spread->leader, fd); /* the lane is full: no need to wait */
    if (err)
        torci_listener_hold(server->listener, fd);
    if (waits && choose(spread, &server->options) == NOBODY)
        wait_for_room(server);
}

/* On the leader's shard. */
static int go_on(void *arg)
{
    struct torci_spread *spread = (struct torci_spread *)arg;
    struct torci_server *server = spread->members[torc_shard_id()].server;
    if (server && server->listener)
        torci_listener_resume(server->listener);
    put(spread);
    return 0;
}

static void forget(void *arg)
{
    put((struct torci_spread *)arg);
}

/* There is some again. If the leader's lane is full, the next one to end tells it. */
static void room(struct torci_spread *spread)
{
    const struct torc_post_options options = {.dont_wait = true, .drop = forget};
    if (!__atomic_load_n(&spread->waiting, __ATOMIC_SEQ_CST) ||
        !__atomic_exchange_n(&spread->waiting, 0, __ATOMIC_SEQ_CST))
        return;
    get(spread);
    if (torc_post_with(spread->leader, &options, go_on, spread)) {
        put(spread);
        __atomic_store_n(&spread->waiting, 1, __ATOMIC_SEQ_CST);
    }
}

void torci_spread_ended(struct torci_spread *spread)
{
    struct member *member = &spread->members[torc_shard_id()];
    /* SEQ_CST, before the load of WAITING: pairs with wait_for_room */
    (void)__atomic_sub_fetch(&member->live, 1, __ATOMIC_SEQ_CST);
    room(spread);
}
