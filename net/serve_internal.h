/* SPDX-License-Identifier: MIT
 *
 * A server: a listener, what runs for its connections, and which of them there are. net/serve.c has its life and the way with a task a
 * connection, net/handler.c the way with handlers.
 */
#ifndef TORC_NET_SERVE_INTERNAL_H
#define TORC_NET_SERVE_INTERNAL_H

#include "net/listener_internal.h"

struct torci_worker;

struct torci_server {
    struct torc_listener *listener;
    struct torci_net *net;
    torc_stream_fn *fn;
    void *arg;
    struct torc_serve_options options;
    struct torc_scope tasks;   /* of connections, or of handlers */
    struct torci_link streams; /* open ones, by owner_link */
    uint32_t live;
    bool draining;
    struct torci_wait *drained;

    /* Handlers: net/handler.c */
    bool is_handler;
    struct torci_link net_link;  /* of the servers that look for work at the end of a turn */
    struct torci_link ready;     /* connections with something to be done */
    struct torci_link idle;      /* workers that wait for some */
    struct torci_worker *active; /* who takes them */
    uint32_t workers, idle_count;
    bool starting; /* a worker that has not run yet */
    bool stopping; /* workers end */
};

/* A connection of FD begins, in the way of the server. */
void torci_task_start(struct torci_server *server, int fd);
void torci_handler_start(struct torci_server *server, int fd);
/* Before and after: the server's books. */
int torci_server_enter(struct torci_server *server, struct torc_stream *stream, int fd);
void torci_server_leave(struct torci_server *server, struct torc_stream *stream, int result);
/* One connection less: it has gone, and all that was its own. */
void torci_server_ended(struct torci_server *server);
/* FD can't be served. */
void torci_server_refuse(struct torci_server *server, int fd);

/* Handlers are told that the server is draining: idle connections end. */
void torci_handlers_drain(struct torci_server *server);
/* Somebody has to look after connections that are ready. */
void torci_handlers_look(struct torci_server *server);
void torci_handlers_stop(struct torci_server *server);

#endif
