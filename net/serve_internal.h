/* SPDX-License-Identifier: MIT
 *
 * A server: what runs for the connections of one shard, and which of them there are. net/serve.c has its life and the way
 * with a task a connection, net/handler.c the way with handlers, net/idle.c the end of connections that say nothing,
 * net/spread.c how the servers of several shards come to their connections.
 */
#ifndef TORC_NET_SERVE_INTERNAL_H
#define TORC_NET_SERVE_INTERNAL_H

#include "net/listener_internal.h"

struct torci_worker;
struct torci_spread;

struct torci_server {
    struct torc_listener *listener; /* NULL: another shard accepts */
    struct torci_spread *spread;    /* the servers of the other shards; NULL: there are none */
    struct torci_net *net;
    const struct torc_address *address;
    torc_stream_fn *fn;
    void *arg;
    struct torc_serve_options options;
    struct torc_scope tasks;   /* of connections, or of handlers */
    struct torci_link streams; /* open ones, by owner_link */
    uint32_t live;
    bool draining;
    struct torci_wait *drained;

    struct torci_timer idle_timer; /* net/idle.c */
    uint64_t idle_tick_ns;
    uint64_t idle_next_ns; /* when the next round begins */
    uint32_t idle_left;    /* streams to be looked at in this round */

    /* Handlers: net/handler.c */
    bool is_handler;
    struct torci_link net_link; /* of the servers that look for work at the end of a turn */
    struct torci_link ready;    /* connections with something to be done */
    struct torci_link idle;     /* workers that wait for some */
    struct torci_link
        ending[2]; /* connections that wait for their peers' end: since a while, not so long */
    struct torci_timer ending_timer;
    struct torci_worker *active; /* who takes them */
    uint32_t workers, idle_count;
    bool starting; /* a worker that has not run yet */
    bool stopping; /* workers end */
};

/* Another connection for this shard: FD, which may be direct. -EAGAIN, -ENOMEM, -ECANCELED: it stays the caller's. */
int torci_server_take(struct torci_server *server, int fd) TORC_MUST_CHECK;
/* FD can't be served. */
void torci_server_refuse(struct torci_server *server, int fd);
/* The same in the way of the server. */
int torci_task_start(struct torci_server *server, int fd) TORC_MUST_CHECK;
int torci_handler_start(struct torci_server *server, int fd) TORC_MUST_CHECK;
/* The server's books: before the function runs, and after. LEFT sends what is left to be sent. */
void torci_server_enter(struct torci_server *server, struct torc_stream *stream, int fd);
void torci_server_left(struct torci_server *server, struct torc_stream *stream, int result);
/* Whether the peer is told of the end and given time to read: a close would cut what it has not read yet. */
bool torci_server_is_polite(const struct torci_server *server, const struct torc_stream *stream);
/* One connection less: it has gone, and all that was its own. */
void torci_server_ended(struct torci_server *server);

void torci_handlers_init(struct torci_server *server);
/* Handlers are told that the server is draining: idle connections end. */
void torci_handlers_drain(struct torci_server *server);
/* Somebody has to look after connections that are ready. */
void torci_handlers_look(struct torci_server *server);
/* Workers end once nothing is ready. */
void torci_handlers_stop(struct torci_server *server);
/* Closes what has found no worker. In the serving task, after the last worker has ended. */
void torci_handlers_close_rest(struct torci_server *server);
/* Its handler is not running. */
bool torci_handler_is_idle(const struct torc_stream *stream);

void torci_idle_start(struct torci_server *server);
void torci_idle_stop(struct torci_server *server);

/* ------ Servers of several shards: net/spread.c */

/* This shard's place among the servers of ADDRESS, and what is to be done: the first that comes listens, and announces what
 * has come of it; the others learn that here. */
struct torci_joined {
    struct torci_spread *spread;
    bool leads;
    bool shares; /* of who doesn't lead: listen on ADDRESS too */
    bool told;   /* of an error: the leader has said it */
    struct torc_address address;
};

struct torci_spread_key {
    const char *text;
    torc_stream_fn *fn; /* but not its argument, which may be a shard's own */
};

/* 0; the leader's error; -ENOMEM, -ECANCELED, -ETIMEDOUT, torc_call's. */
int torci_spread_join(const struct torci_spread_key *key,
                      struct torci_joined *joined) TORC_MUST_CHECK;
/* ERROR, or where it listens; SHARES: the others are to listen as well. */
void torci_spread_announce(struct torci_spread *spread, int error, bool shares,
                           const struct torc_address *address);
/* SERVER takes connections from now on; not any more. */
void torci_spread_enter(struct torci_server *server);
void torci_spread_leave(struct torci_spread *spread);
/* Whether it is one shard that accepts for all. */
bool torci_spread_hands_out(const struct torci_spread *spread);
/* FD to one of the shards; to nobody, if there is no room, which is seen to here. */
void torci_spread_give(struct torci_server *server, int fd);
/* A connection that was given to this shard is over. */
void torci_spread_ended(struct torci_spread *spread);

#endif
