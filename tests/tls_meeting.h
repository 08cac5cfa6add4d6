/* SPDX-License-Identifier: MIT
 *
 * Meetings: a client and a server, each a task, with a socket pair or a wire between them. A wire is a thread that passes bytes
 * on, and can be slow, cut, or tell lies.
 *
 *     TLS_TEST(tls, they_talk)
 *     {
 *         struct meeting m = {.server = {.tls = context(server_options()), .then = answer_hello},
 *                             .client = {.tls = context(client_options()), .then = say_hello}};
 *         meet(&m);
 *         ...
 *         return nothing_is_left();
 *     }
 */
#ifndef TORC_TESTS_TLS_MEETING_H
#define TORC_TESTS_TLS_MEETING_H

#include "tests/tls_certificates.h" /* OpenSSL's headers first: they define what they need of libc */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/time.h"
#include "net/net_internal.h"
#include "net/tls.h"
#include "tests/run_shard.h"

/* ------ Who there is */

static struct identity authority, stranger; /* who signs, and who signs but is not trusted */
static struct identity server_identity, client_identity;

static inline void make_identities(void)
{
    identity_make(&authority, NULL,
                  &(struct identity_options){.name = "authority", .is_authority = true});
    identity_make(&stranger, NULL,
                  &(struct identity_options){.name = "stranger", .is_authority = true});
    identity_make(&server_identity, &authority,
                  &(struct identity_options){
                      .name = "server", .alternatives = "DNS:localhost,DNS:app1,IP:127.0.0.1"});
    identity_make(&client_identity, &authority, &(struct identity_options){.name = "client"});
}

static inline void free_identities(void)
{
    identity_free(&authority);
    identity_free(&stranger);
    identity_free(&server_identity);
    identity_free(&client_identity);
}

static inline struct torc_tls_options server_options(void)
{
    return (struct torc_tls_options){.certificate = server_identity.certificate_path,
                                     .key = server_identity.key_path};
}

static inline struct torc_tls_options client_options(void)
{
    return (struct torc_tls_options){.authorities = authority.certificate_path};
}

static inline struct torc_tls_context *context(struct torc_tls_options options)
{
    struct torc_tls_context *tls;
    CHECK_EQ(torc_tls_context_create(&tls, &options), 0);
    return tls;
}

/* ------ Meetings */

struct meeting;
typedef int side_fn(struct torc_stream *stream, struct meeting *meeting);

struct side {
    int fd;
    struct torc_tls_context *tls;
    const char *name; /* of the server, for the client */
    side_fn *then;    /* after the handshake */
    int shaken, said; /* results of the two */
    struct torc_tls_info info;
    struct meeting *meeting;
};

struct meeting {
    struct side server, client;
};

static inline int take_side(void *arg)
{
    struct side *side = arg;
    struct torc_stream stream;
    int err = torc_stream_adopt(&stream, side->fd);
    if (err)
        return err;
    side->shaken = torc_tls_start(&stream, side->tls, side->name);
    if (!torc_tls_info_get(&stream, &side->info) && !side->shaken && side->then)
        side->said = side->then(&stream, side->meeting);
    torc_stream_close(&stream);
    return 0;
}

static inline void make_pair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void make_tcp_pair(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&in, size), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&in, &size), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(fds[1], (struct sockaddr *)&in, size), 0);
    fds[0] = accept(listener, NULL, NULL);
    CHECK(fds[0] >= 0);
    close(listener);
}

/* Both sides, whose descriptors are theirs, until both have ended. */
static inline void hold(struct meeting *meeting)
{
    struct torc_scope scope;
    meeting->server.meeting = meeting->client.meeting = meeting;
    if (!meeting->client.name)
        meeting->client.name = "localhost";
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, take_side, &meeting->server), 0);
    CHECK_EQ(torc_spawn(&scope, take_side, &meeting->client), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
}

static inline void meet(struct meeting *meeting)
{
    int fds[2];
    make_pair(fds);
    meeting->server.fd = fds[0];
    meeting->client.fd = fds[1];
    hold(meeting);
}

/* A handshake that is not answered. */
static inline int shake_with_nobody(struct torc_tls_context *tls, const char *name)
{
    int fds[2];
    make_pair(fds);
    struct side side = {.fd = fds[0], .tls = tls, .name = name};
    CHECK_EQ(take_side(&side), 0);
    close(fds[1]);
    return side.shaken;
}

/* The same for options that live as long as the meeting. */
static inline struct meeting meet_with(struct torc_tls_options server,
                                       struct torc_tls_options client, const char *name)
{
    struct meeting meeting = {.server.tls = context(server),
                              .client = {.tls = context(client), .name = name}};
    meet(&meeting);
    torc_tls_context_destroy(meeting.server.tls);
    torc_tls_context_destroy(meeting.client.tls);
    return meeting;
}

static inline int nothing_is_left(void)
{
    struct torci_net *net;
    int err = torci_net_get(&net);
    if (err)
        return err;
    CHECK_EQ(net->free_count + net->held, net->count);
    CHECK_EQ(net->io->traffic.live, 0);
    return 0;
}

/* MAIN on a shard, between making and freeing the identities. */
static inline void run_with_identities(torc_task_fn *main)
{
    make_identities();
    CHECK_EQ(run_shard(NULL, main, NULL), 0);
    free_identities();
}

#define TLS_TEST(suite, name) \
    static int name##_main(void *arg); \
    TEST(suite, name) \
    { \
        run_with_identities(name##_main); \
    } \
    static int name##_main(void *arg __attribute__((unused)))

/* ------ Wires */

struct wire {
    int ends[2];      /* its own */
    int outer[2];     /* the server's and the client's, for the meeting */
    size_t piece;     /* passed on at a time; 0: what comes */
    long cut_after;   /* bytes both ways; negative: never */
    bool reset;       /* ... by a reset, else by an end */
    long change_from; /* which byte from the server is changed; negative: none */
    long passed, from_server;
    bool done[2];
    pthread_t thread;
};

static inline bool pass_on(struct wire *wire, int from)
{
    unsigned char bytes[4096];
    size_t most = wire->piece ? wire->piece : sizeof bytes;
    if (wire->cut_after >= 0 && (long)most > wire->cut_after - wire->passed)
        most = (size_t)(wire->cut_after - wire->passed);
    if (!most)
        return false;
    ssize_t n = read(wire->ends[from], bytes, most);
    if (n <= 0) {
        wire->done[from] = true;
        shutdown(wire->ends[!from], SHUT_WR);
        return !wire->done[!from];
    }
    if (from == 0) {
        long at = wire->change_from - wire->from_server;
        if (wire->change_from >= 0 && at >= 0 && at < n)
            bytes[at] ^= 1;
        wire->from_server += n;
    }
    wire->passed += n;
    for (ssize_t sent = 0; sent < n;) {
        ssize_t more = send(wire->ends[!from], bytes + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (more <= 0)
            break;
        sent += more;
    }
    return true;
}

static inline void *pass(void *arg)
{
    struct wire *wire = arg;
    bool going = true;
    while (going) {
        struct pollfd ready[2] = {{.fd = wire->done[0] ? -1 : wire->ends[0], .events = POLLIN},
                                  {.fd = wire->done[1] ? -1 : wire->ends[1], .events = POLLIN}};
        poll(ready, 2, -1);
        for (int from = 0; from < 2 && going; from++)
            if (ready[from].revents)
                going = pass_on(wire, from);
    }
    for (int end = 0; end < 2; end++) {
        const struct linger at_once = {.l_onoff = 1};
        if (wire->reset)
            setsockopt(wire->ends[end], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(wire->ends[end]);
    }
    return NULL;
}

static inline void wire_start(struct wire *wire, bool tcp)
{
    for (int end = 0; end < 2; end++) {
        int fds[2];
        (tcp ? make_tcp_pair : make_pair)(fds);
        wire->outer[end] = fds[0];
        wire->ends[end] = fds[1];
    }
    CHECK_EQ(pthread_create(&wire->thread, NULL, pass, wire), 0);
}

/* To a server that FD is connected with. */
static inline void wire_start_to(struct wire *wire, int fd)
{
    int fds[2];
    make_pair(fds);
    wire->ends[0] = fd;
    wire->outer[0] = -1;
    wire->outer[1] = fds[0];
    wire->ends[1] = fds[1];
    CHECK_EQ(pthread_create(&wire->thread, NULL, pass, wire), 0);
}

static inline void meet_over(struct meeting *meeting, struct wire *wire, bool tcp)
{
    wire_start(wire, tcp);
    meeting->server.fd = wire->outer[0];
    meeting->client.fd = wire->outer[1];
    hold(meeting);
    CHECK_EQ(pthread_join(wire->thread, NULL), 0);
}

/* ------ What they say */

static inline int say_hello(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char word[8];
    int err = torc_stream_print(stream, "hello");
    if (err)
        return err;
    ssize_t n = torc_stream_read_exactly(stream, word, 5);
    if (n < 0)
        return (int)n;
    return n == 5 && !memcmp(word, "HELLO", 5) ? 0 : -EBADMSG;
}

static inline int answer_hello(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char word[8];
    ssize_t n = torc_stream_read_exactly(stream, word, 5);
    if (n < 0)
        return (int)n;
    if (n != 5 || memcmp(word, "hello", 5))
        return -EBADMSG;
    return torc_stream_print(stream, "HELLO");
}

/* Reads until the end, which it returns. */
static inline int read_end(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char bytes[256];
    ssize_t n;
    while ((n = torc_stream_read(stream, bytes, sizeof bytes)) > 0)
        ;
    return (int)n;
}

#endif
