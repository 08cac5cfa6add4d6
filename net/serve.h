/* SPDX-License-Identifier: MIT
 *
 * Servers: listen, accept, and run a function for each connection, on each shard.
 *
 *     static int echo(struct torc_stream *s, void *arg)
 *     {
 *         char buf[16384];
 *         ssize_t n;
 *         while ((n = torc_stream_read(s, buf, sizeof buf)) > 0)
 *             if ((n = torc_stream_write_all(s, buf, (size_t)n)) < 0)
 *                 break;
 *         return (int)n;
 *     }
 *
 *     err = torc_serve("tcp://:7000", echo, NULL, NULL);     // in every shard's main; until shutdown
 *
 * Two ways to serve. torc_serve gives every connection a task: straight code that keeps its state on its stack, for a page
 * of memory and a little more. torc_serve_handler calls the function whenever a connection has input and it is not
 * running already; it reads what is there and returns, so that an idle connection holds neither stack nor buffer. It may
 * read on and block all the same: it keeps its task until it returns.
 *
 * Shutdown: when the serving task is cancelled (torc_run does that to mains on SIGTERM) the listener is closed first. A
 * read that would begin to wait for a new request gives 0, as if the peer had ended; one that waits for the rest of
 * something (read_exactly, peek_until, …) goes on. Connections are closed so that a peer gets all that was written to it. What has
 * not ended within drain_ns is cancelled.
 */
#ifndef TORC_NET_SERVE_H
#define TORC_NET_SERVE_H

#include "core/wheel.h"
#include "net/stream.h"

TORC_BEGIN_DECLS

struct torc_tls_context;
struct torc_listener;

/* What runs for a connection; STREAM is closed after it. Of a task's function any result ends the connection. Of a handler's: more
 * than 0: go on, call me when there is more; 0 or less: close it. A handler is called once at a time for a connection; again
 * at once while it takes something and leaves more; for what it leaves alone when more has come (with input_max bytes left
 * alone the connection ends as a failure); and once for the end, when reading says 0 or the error. A negative result other than -ECANCELED and those of lost
 * connections (-ECONNRESET, -EPIPE, -ETIMEDOUT) is counted as net_failures. */
typedef int torc_stream_fn(struct torc_stream *stream, void *arg);

/* How connections come to shards. */
enum torc_spread {
    TORC_SPREAD_AUTO = 0, /* by the kernel for TCP, round robin for Unix sockets */
    TORC_SPREAD_KERNEL, /* every shard has a listener (SO_REUSEPORT), the kernel chooses by a hash */
    TORC_SPREAD_ROUND_ROBIN, /* the first shard that comes accepts for all, and hands out in turn */
    TORC_SPREAD_LEAST_LOADED, /* ... to the shard with the fewest connections */
};

enum torc_at_limit {
    TORC_LIMIT_WAIT = 0, /* accept no more until one ends: they wait in the kernel's backlog */
    TORC_LIMIT_REFUSE,   /* accept and reset */
};

struct torc_serve_options {
    struct torc_socket_options socket; /* of the listener; connections inherit it */
    enum torc_spread spread;
    uint32_t connections_max; /* on each shard; default 1,000,000 */
    enum torc_at_limit at_limit;
    bool direct; /* connections have no descriptor of the process but one of the ring, which
                           RLIMIT_NOFILE does not count: torc_config.files_max says how many; 6.0 */
    uint64_t
        idle_ns; /* a connection that waits for its peer, while nothing comes and nothing can be sent
                           for so long (or a quarter more), ends: -ETIMEDOUT; default: never */
    uint64_t drain_ns;  /* see the top; default: 5 s */
    uint32_t input_max; /* bytes that are received ahead for one connection; default 256 KiB */
    struct torc_tls_context *tls; /* net/tls.h */
    /* Hooks, on each shard; NULL: none. They must not block. */
    void (*listening)(const struct torc_address *address, void *arg); /* before it accepts */
    void *(*connected)(struct torc_stream *stream, void *arg);        /* makes its user pointer */
    void (*closed)(struct torc_stream *stream, void *arg); /* after the function, before close */
};

/* Listens on ADDRESS and serves until the task is cancelled; to be called by the main of every shard, with the same ADDRESS and FN;
 * ARG may be state of the shard's own. The first shard that comes binds the address, which nobody else may have, also with
 * SO_REUSEPORT (unless options.socket.reuse_port); of port 0 all shards get the port that the first has got. When that one ends alone
 * and the others have no listeners, nothing comes to them any more.
 * 0 after an orderly end, also by a shutdown. Or, with one line on standard error that says what to do, before anything was
 * served: -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EINVAL, -ENOENT, -EMFILE, -ENOMEM, …; -EPROTOTYPE: no address of streams;
 * -EOPNOTSUPP: Unix sockets spread by the kernel, direct before 6.0. What the first shard could not, none can: one line. */
int torc_serve(const char *address, torc_stream_fn *fn, void *arg,
               const struct torc_serve_options *options) TORC_MUST_CHECK;
int torc_serve_handler(const char *address, torc_stream_fn *fn, void *arg,
                       const struct torc_serve_options *options) TORC_MUST_CHECK;

/* ------ The same in parts: for who wants the port before, several listeners, or to accept by hand */

/* Caller's memory, stays where it is until it is closed. Fields are private. */
struct torc_listener {
    struct torci_net *net;
    int fd;
    bool direct, armed, cancelling, closing, paused, resuming, failed;
    bool one_by_one; /* no multishot: there may not be room for all that come */
    bool unlink;     /* the path, at close */
    struct torc_op accept;
    struct torci_timer again;  /* after a failure */
    struct torci_link link;    /* of those that wait for a descriptor */
    struct torci_wait *waiter; /* torc_accept's */
    int *ready;                /* accepted and not taken yet, in a ring */
    uint32_t ready_first, ready_count, ready_size, backlog;
    /* Takes a connection on the loop; NULL: they wait for torc_accept. */
    void (*on_accept)(struct torc_listener *listener, int fd);
    void *server;
    struct torc_address address;
};

/* Listens. Says nothing: torc_address_explain has the words. OPTIONS may be NULL; of its fields socket and direct count.
 * A Unix path that a dead server has left is taken over (one that lives: -EADDRINUSE); it is removed at close. As torc_serve's
 * errors. In a task. */
int torc_listen(struct torc_listener *listener, const char *address,
                const struct torc_serve_options *options) TORC_MUST_CHECK;
/* The address that it has: with the port that the kernel has chosen. */
const struct torc_address *torc_listener_address(const struct torc_listener *listener);
/* Waits for a connection. Out of descriptors (-EMFILE, -ENFILE) it waits too, and tries again when one has been closed, and ten times a
 * second. -ECANCELED, -ETIMEDOUT. In a task. */
int torc_accept(struct torc_listener *listener, struct torc_stream *stream) TORC_MUST_CHECK;
/* Connections that nobody has taken are reset; who waits in torc_accept gets -ECANCELED. In a task. */
void torc_listener_close(struct torc_listener *listener);

/* torc_serve for a listener of this shard, which stays the caller's and may be served again; options.socket, spread and direct
 * mean nothing here. */
int torc_serve_on(struct torc_listener *listener, torc_stream_fn *fn, void *arg,
                  const struct torc_serve_options *options) TORC_MUST_CHECK;
int torc_serve_handler_on(struct torc_listener *listener, torc_stream_fn *fn, void *arg,
                          const struct torc_serve_options *options) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
