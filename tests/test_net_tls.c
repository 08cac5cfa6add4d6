/* SPDX-License-Identifier: MIT
 *
 * TLS: who gets to talk to whom, and what becomes of a connection that is cut, slow, forged or forgotten.
 *
 * Most tests are a meeting: a client and a server, each a task, with a socket pair or a wire between them. A wire is a thread
 * that passes bytes on, and can be slow, cut, or tell lies.
 */
#ifdef TORC_TLS
#include "tests/tls_certificates.h" /* OpenSSL's headers first: they define what they need of libc */
#endif

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/counters.h"
#include "core/time.h"
#include "net/net_internal.h"
#include "net/serve.h"
#include "net/tls.h"
#include "shard/alloc.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

#ifndef TORC_TLS

static int ask_main(void *arg)
{
    (void)arg;
    struct torc_tls_context *tls;
    CHECK_EQ(torc_tls_context_create(&tls, NULL), -EOPNOTSUPP);
    CHECK(!tls);
    torc_tls_context_destroy(tls);
    return 0;
}

TEST(tls, that_is_not_there_says_what_to_install)
{
    fault_kernel_init(&fault);
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, ask_main, NULL), 0);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, "libssl-dev"));
}

TEST(tls, with_openssl)
{
    TEST_SKIP("built without OpenSSL");
}

#else

/* ------ Who there is */

static struct identity authority, stranger; /* who signs, and who signs but is not trusted */
static struct identity server_identity, client_identity;

static void make_identities(void)
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

static void free_identities(void)
{
    identity_free(&authority);
    identity_free(&stranger);
    identity_free(&server_identity);
    identity_free(&client_identity);
}

static struct torc_tls_options server_options(void)
{
    return (struct torc_tls_options){.certificate = server_identity.certificate_path,
                                     .key = server_identity.key_path};
}

static struct torc_tls_options client_options(void)
{
    return (struct torc_tls_options){.authorities = authority.certificate_path};
}

static struct torc_tls_context *context(struct torc_tls_options options)
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

static int take_side(void *arg)
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

static void make_pair(int fds[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void make_tcp_pair(int fds[2])
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
static void hold(struct meeting *meeting)
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

static void meet(struct meeting *meeting)
{
    int fds[2];
    make_pair(fds);
    meeting->server.fd = fds[0];
    meeting->client.fd = fds[1];
    hold(meeting);
}

/* The same for options that live as long as the meeting. */
static struct meeting meet_with(struct torc_tls_options server, struct torc_tls_options client,
                                const char *name)
{
    struct meeting meeting = {.server.tls = context(server),
                              .client = {.tls = context(client), .name = name}};
    meet(&meeting);
    torc_tls_context_destroy(meeting.server.tls);
    torc_tls_context_destroy(meeting.client.tls);
    return meeting;
}

static int nothing_is_left(void)
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
static void run_with_identities(torc_task_fn *main)
{
    make_identities();
    CHECK_EQ(run_shard(NULL, main, NULL), 0);
    free_identities();
}

#define TLS_TEST(name) \
    static int name##_main(void *arg); \
    TEST(tls, name) \
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

static bool pass_on(struct wire *wire, int from)
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

static void *pass(void *arg)
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

static void wire_start(struct wire *wire, bool tcp)
{
    for (int end = 0; end < 2; end++) {
        int fds[2];
        (tcp ? make_tcp_pair : make_pair)(fds);
        wire->outer[end] = fds[0];
        wire->ends[end] = fds[1];
    }
    CHECK_EQ(pthread_create(&wire->thread, NULL, pass, wire), 0);
}

static void meet_over(struct meeting *meeting, struct wire *wire, bool tcp)
{
    wire_start(wire, tcp);
    meeting->server.fd = wire->outer[0];
    meeting->client.fd = wire->outer[1];
    hold(meeting);
    CHECK_EQ(pthread_join(wire->thread, NULL), 0);
}

/* ------ What they say */

static int say_hello(struct torc_stream *stream, struct meeting *meeting)
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

static int answer_hello(struct torc_stream *stream, struct meeting *meeting)
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
static int read_end(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char bytes[256];
    ssize_t n;
    while ((n = torc_stream_read(stream, bytes, sizeof bytes)) > 0)
        ;
    return (int)n;
}

TLS_TEST(client_and_server_talk)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = answer_hello},
                        .client = {.tls = context(client_options()), .then = say_hello}};
    meet(&m);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    CHECK_STR(m.client.info.version, "TLSv1.3");
    CHECK_STR(m.client.info.cipher, m.server.info.cipher);
    CHECK_STR(m.server.info.server_name, "localhost");
    CHECK_STR(m.client.info.peer_subject, "/CN=server");
    CHECK_STR(m.server.info.peer_subject, "");
    CHECK_STR(m.client.info.protocol, "");
    CHECK(!m.client.info.resumed && !m.client.info.trouble);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* ------ Trust */

static void check_refused(const struct identity *shown, const char *name, const char *trouble)
{
    struct torc_tls_options server = {.certificate = shown->certificate_path,
                                      .key = shown->key_path};
    struct meeting m = meet_with(server, client_options(), name);
    CHECK_EQ(m.client.shaken, -EACCES);
    CHECK(m.client.info.trouble);
    CHECK_STR(m.client.info.trouble, trouble);
    CHECK_EQ(m.server.shaken, -EACCES);
}

TLS_TEST(client_refuses_another_name)
{
    check_refused(&server_identity, "app2", "hostname mismatch");
    check_refused(&server_identity, "127.0.0.2", "IP address mismatch");
    return nothing_is_left();
}

TLS_TEST(client_refuses_who_is_late_early_or_unknown)
{
    const long day = 24L * 60 * 60;
    struct identity old, young, alone, other;
    identity_make(
        &old, &authority,
        &(struct identity_options){
            .name = "old", .alternatives = "DNS:localhost", .from_s = -2 * day, .until_s = -day});
    identity_make(
        &young, &authority,
        &(struct identity_options){
            .name = "young", .alternatives = "DNS:localhost", .from_s = day, .until_s = 2 * day});
    identity_make(&alone, NULL,
                  &(struct identity_options){.name = "alone", .alternatives = "DNS:localhost"});
    identity_make(&other, &stranger,
                  &(struct identity_options){.name = "other", .alternatives = "DNS:localhost"});
    check_refused(&old, "localhost", "certificate has expired");
    check_refused(&young, "localhost", "certificate is not yet valid");
    check_refused(&alone, "localhost", "self-signed certificate");
    check_refused(&other, "localhost", "self-signed certificate in certificate chain");
    identity_free(&old);
    identity_free(&young);
    identity_free(&alone);
    identity_free(&other);
    return nothing_is_left();
}

TLS_TEST(client_takes_an_address_for_a_name)
{
    struct meeting m = meet_with(server_options(), client_options(), "127.0.0.1");
    CHECK_EQ(m.client.shaken, 0);
    CHECK_STR(m.server.info.server_name, ""); /* an address is not sent */
    return nothing_is_left();
}

TLS_TEST(client_that_trusts_anyone_does)
{
    struct meeting m =
        meet_with(server_options(), (struct torc_tls_options){.trust_anyone = true}, "whoever");
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.server.shaken, 0);
    return nothing_is_left();
}

/* A client of TLS 1.3 has finished before the server has seen its certificate: it learns of it by reading. */
static void check_client_certificate(const struct identity *shown, int result)
{
    struct torc_tls_options server = server_options(), client = client_options();
    server.authorities = authority.certificate_path;
    server.verify_peer = true;
    if (shown) {
        client.certificate = shown->certificate_path;
        client.key = shown->key_path;
    }
    struct meeting m = {.server = {.tls = context(server), .then = answer_hello},
                        .client = {.tls = context(client), .then = say_hello}};
    meet(&m);
    CHECK_EQ(m.server.shaken, result);
    CHECK_EQ(m.client.shaken ? m.client.shaken : m.client.said, result);
    CHECK_STR(m.server.info.peer_subject, result ? "" : "/CN=client");
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
}

TLS_TEST(server_verifies_clients)
{
    struct identity other;
    identity_make(&other, &stranger, &(struct identity_options){.name = "other"});
    check_client_certificate(&client_identity, 0);
    check_client_certificate(NULL, -EACCES);
    check_client_certificate(&other, -EACCES);
    identity_free(&other);
    return nothing_is_left();
}

/* ------ Names and protocols */

TLS_TEST(server_shows_the_certificate_for_the_name)
{
    struct identity exact, wild;
    identity_make(&exact, &authority,
                  &(struct identity_options){.name = "exact", .alternatives = "DNS:a.example.org"});
    identity_make(&wild, &authority,
                  &(struct identity_options){.name = "wild", .alternatives = "DNS:*.example.org"});
    struct torc_tls_options server = server_options();
    server.names[0] =
        (struct torc_tls_certificate){"*.example.org", wild.certificate_path, wild.key_path};
    server.names[1] =
        (struct torc_tls_certificate){"A.example.org", exact.certificate_path, exact.key_path};
    static const struct {
        const char *name, *subject;
    } cases[] = {
        {"a.example.org", "/CN=exact"}, {"b.example.org", "/CN=wild"},
        {"B.Example.org", "/CN=wild"},  {"localhost", "/CN=server"},
        {"127.0.0.1", "/CN=server"},
    };
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(cases); i++) {
        struct meeting m = meet_with(server, client_options(), cases[i].name);
        CHECK_EQ(m.client.shaken, 0);
        CHECK_STR(m.client.info.peer_subject, cases[i].subject);
    }
    /* A star stands for one label: these get the certificate for whatever name, which is not theirs. */
    CHECK_EQ(meet_with(server, client_options(), "x.a.example.org").client.shaken, -EACCES);
    CHECK_EQ(meet_with(server, client_options(), "example.org").client.shaken, -EACCES);
    server.certificate = server.key = NULL;
    struct meeting m = meet_with(server, client_options(), "localhost");
    CHECK_EQ(m.server.shaken, -EPROTO);
    CHECK_EQ(m.client.shaken, -EPROTO);
    CHECK_STR(m.client.info.trouble, "tlsv1 unrecognized name");
    identity_free(&exact);
    identity_free(&wild);
    return nothing_is_left();
}

TLS_TEST(name_may_have_two_kinds_of_keys)
{
    struct identity rsa;
    identity_make(
        &rsa, &authority,
        &(struct identity_options){.name = "rsa", .alternatives = "DNS:localhost", .is_rsa = true});
    struct torc_tls_options server = {
        .names = {{"localhost", rsa.certificate_path, rsa.key_path},
                  {"localhost", server_identity.certificate_path, server_identity.key_path}}};
    struct meeting m = meet_with(server, client_options(), "localhost");
    CHECK_EQ(m.client.shaken, 0); /* it prefers the shorter signature */
    CHECK_STR(m.client.info.peer_subject, "/CN=server");
    server.names[1].server_name = NULL;
    m = meet_with(server, client_options(), "localhost");
    CHECK_STR(m.client.info.peer_subject, "/CN=rsa");
    identity_free(&rsa);
    return nothing_is_left();
}

TLS_TEST(protocols_are_agreed_upon)
{
    static const char *const ours[] = {"h2", "http/1.1", NULL};
    static const char *const theirs[] = {"spdy", "http/1.1", "h2", NULL};
    static const char *const odd[] = {"h3", "h", NULL};
    struct torc_tls_options server = server_options(), client = client_options();
    server.protocols = ours;
    client.protocols = theirs;
    struct meeting m = meet_with(server, client, "localhost");
    CHECK_EQ(m.client.shaken, 0);
    CHECK_STR(m.client.info.protocol, "h2"); /* the server's best */
    CHECK_STR(m.server.info.protocol, "h2");
    client.protocols = odd;
    m = meet_with(server, client, "localhost");
    CHECK_EQ(m.client.shaken, -EPROTO);
    CHECK_EQ(m.server.shaken, -EPROTO);
    CHECK_STR(m.client.info.trouble, "tlsv1 alert no application protocol");
    client.protocols = NULL;
    m = meet_with(server, client, "localhost");
    CHECK_EQ(m.client.shaken, 0);
    CHECK_STR(m.server.info.protocol, "");
    client.protocols = ours;
    m = meet_with(server_options(), client, "localhost");
    CHECK_EQ(m.client.shaken, 0);
    CHECK_STR(m.client.info.protocol, "");
    return nothing_is_left();
}

/* ------ Resuming */

static bool resumes(struct torc_tls_context *server, struct torc_tls_context *client,
                    const char *name)
{
    struct meeting m = {.server = {.tls = server, .then = answer_hello},
                        .client = {.tls = client, .then = say_hello, .name = name}};
    meet(&m);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.client.said, 0);
    CHECK_EQ(m.client.info.resumed, m.server.info.resumed);
    CHECK_STR(m.client.info.peer_subject, "/CN=server");
    return m.client.info.resumed;
}

TLS_TEST(client_resumes_its_last_session_with_a_server)
{
    struct torc_tls_context *server = context(server_options()),
                            *client = context(client_options());
    CHECK(!resumes(server, client, "localhost"));
    for (int i = 0; i < 3; i++)
        CHECK(resumes(server, client, "localhost"));
    CHECK(!resumes(server, client, "app1"));
    CHECK(resumes(server, client, "app1"));
    struct torc_tls_context *other = context(client_options());
    CHECK(!resumes(server, other, "localhost"));
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
    torc_tls_context_destroy(other);
    return nothing_is_left();
}

/* As when the next connection comes to another shard. */
TLS_TEST(session_is_good_for_a_context_of_the_same_options_and_no_other)
{
    static const char *const protocols[] = {"h2", NULL};
    struct torc_tls_options options = server_options();
    struct torc_tls_context *server = context(options), *same = context(options),
                            *client = context(client_options());
    options.protocols = protocols;
    struct torc_tls_context *other = context(options);
    CHECK(!resumes(server, client, "localhost"));
    CHECK(resumes(same, client, "localhost"));
    CHECK(!resumes(other, client, "localhost"));
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(same);
    torc_tls_context_destroy(other);
    torc_tls_context_destroy(client);
    return nothing_is_left();
}

TLS_TEST(no_tickets_no_resumption)
{
    struct torc_tls_options options = server_options();
    options.no_tickets = true;
    struct torc_tls_context *server = context(options), *client = context(client_options());
    CHECK(!resumes(server, client, "localhost"));
    CHECK(!resumes(server, client, "localhost"));
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
    return nothing_is_left();
}

/* The 65th server takes the place of the first. */
TLS_TEST(sessions_are_kept_of_so_many_servers_only)
{
    enum { NAMES = 64 };
    char name[32];
    struct torc_tls_context *server = context(server_options()),
                            *client = context((struct torc_tls_options){.trust_anyone = true});
    for (int i = 0; i <= NAMES; i++) {
        snprintf(name, sizeof name, "app-%d", i);
        CHECK(!resumes(server, client, name));
    }
    CHECK(!resumes(server, client, "app-0")); /* and it takes that of the second */
    CHECK(resumes(server, client, "app-64"));
    CHECK(resumes(server, client, "app-2"));
    CHECK(!resumes(server, client, "app-1"));
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
    return nothing_is_left();
}

/* ------ Much data */

enum { MUCH = 1 << 20 };

static unsigned char at_offset(size_t offset, bool from_server)
{
    return (unsigned char)(offset * 31 + offset / 251 + from_server);
}

/* Sizes that are never a record's, a chunk's, or a page's. */
static size_t odd_size(size_t offset)
{
    static const size_t sizes[] = {1, 7, 1021, 4099, 16385, 65537, 131071, 3};
    return sizes[(offset * 2654435761u >> 13) % TORC_ARRAY_LENGTH(sizes)];
}

struct much {
    struct torc_stream *stream;
    bool from_server;
    unsigned char *bytes;
};

static int write_much(void *arg)
{
    struct much *much = arg;
    for (size_t i = 0; i < MUCH; i++)
        much->bytes[i] = at_offset(i, much->from_server);
    for (size_t done = 0; done < MUCH;) {
        size_t part = odd_size(done);
        if (part > MUCH - done)
            part = MUCH - done;
        ssize_t n;
        if (done % 3) {
            n = torc_stream_write_all(much->stream, much->bytes + done, part);
        } else {
            struct iovec pieces[3] = {{much->bytes + done, part / 3},
                                      {much->bytes + done + part / 3, 0},
                                      {much->bytes + done + part / 3, part - part / 3}};
            n = torc_stream_writev_all(much->stream, pieces, 3);
        }
        if (n < 0)
            return (int)n;
        done += part;
    }
    return torc_stream_end(much->stream);
}

static int read_much(struct torc_stream *stream, bool from_server)
{
    unsigned char *bytes = malloc(131072);
    size_t done = 0;
    ssize_t n;
    while ((n = torc_stream_read(stream, bytes, odd_size(done / 7))) > 0) {
        for (size_t i = 0; i < (size_t)n; i++)
            CHECK_EQ(bytes[i], at_offset(done + i, from_server));
        done += (size_t)n;
    }
    free(bytes);
    if (!n && done != MUCH)
        return -EBADMSG;
    return (int)n;
}

static int exchange(struct torc_stream *stream, bool is_server)
{
    struct much much = {stream, is_server, malloc(MUCH)};
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, write_much, &much), 0);
    int err = read_much(stream, !is_server);
    int failed = torc_scope_join(&scope);
    free(much.bytes);
    return err ? err : failed;
}

static int exchange_as_server(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    return exchange(stream, true);
}

static int exchange_as_client(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    return exchange(stream, false);
}

static void check_exchange(struct wire *wire)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = exchange_as_server},
                        .client = {.tls = context(client_options()), .then = exchange_as_client}};
    if (wire)
        meet_over(&m, wire, true);
    else
        meet(&m);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
}

TLS_TEST(a_mebibyte_both_ways_at_once)
{
    check_exchange(NULL);
    check_exchange(&(struct wire){.cut_after = -1, .change_from = -1, .piece = 1021});
    return nothing_is_left();
}

TLS_TEST(peers_that_send_byte_by_byte_are_understood)
{
    struct wire wire = {.cut_after = -1, .change_from = -1, .piece = 1};
    struct meeting m = {.server = {.tls = context(server_options()), .then = answer_hello},
                        .client = {.tls = context(client_options()), .then = say_hello}};
    meet_over(&m, &wire, false);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

static int read_pieces(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    const void *data;
    char line[16];
    CHECK_EQ(torc_stream_peek_until(stream, "\n", 0, &data), 6);
    CHECK(!memcmp(data, "first\n", 6));
    torc_stream_consume(stream, 6);
    CHECK_EQ(torc_stream_read_line(stream, line, sizeof line), 6);
    CHECK_STR(line, "second");
    CHECK(torc_stream_peek_at_least(stream, 40000, &data) >= 40000);
    CHECK_EQ(((const char *)data)[39999], 'z');
    torc_stream_consume(stream, 40000);
    CHECK_EQ(torc_stream_peek(stream, &data), 0);
    CHECK_EQ(torc_stream_available(stream), 0);
    return 0;
}

static int write_pieces(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static char many[40000];
    memset(many, 'z', sizeof many);
    CHECK_EQ(torc_stream_print(stream, "first\nsec"), 0);
    CHECK_EQ(torc_stream_flush(stream), 0);
    CHECK_EQ(torc_stream_print(stream, "ond\r\n"), 0);
    CHECK_EQ(torc_stream_write_all(stream, many, sizeof many), sizeof many);
    return 0;
}

TLS_TEST(lines_and_pieces_cross_records)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = write_pieces},
                        .client = {.tls = context(client_options()), .then = read_pieces}};
    meet(&m);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* ------ Ends */

static int ask_and_end(struct torc_stream *stream, struct meeting *meeting)
{
    CHECK_EQ(torc_stream_print(stream, "question"), 0);
    CHECK_EQ(torc_stream_end(stream), 0);
    CHECK_EQ(torc_stream_end(stream), 0);
    CHECK_EQ(torc_stream_write_all(stream, "x", 1), -EPIPE);
    CHECK_EQ(torc_stream_try_write(stream, "x", 1), -EPIPE);
    char answer[6];
    CHECK_EQ(torc_stream_read_exactly(stream, answer, 6), 6);
    return read_end(stream, meeting);
}

static int answer_after_the_end(struct torc_stream *stream, struct meeting *meeting)
{
    char question[8], more;
    CHECK_EQ(torc_stream_read_exactly(stream, question, 8), 8);
    CHECK_EQ(read_end(stream, meeting), 0);
    CHECK_EQ(torc_stream_read(stream, &more, 1), 0);
    return torc_stream_print(stream, "answer");
}

TLS_TEST(half_close_leaves_the_other_direction_open)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = answer_after_the_end},
                        .client = {.tls = context(client_options()), .then = ask_and_end}};
    meet(&m);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* A TCP end can be anybody's; only close_notify is the peer's. */
static int shut_the_socket(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    CHECK_EQ(torc_stream_flush(stream), 0);
    CHECK_EQ(shutdown(stream->fd, SHUT_WR), 0);
    char more;
    ssize_t n;
    while ((n = torc_stream_read(stream, &more, 1)) > 0)
        ;
    return 0;
}

static int expect_cut(struct torc_stream *stream, struct meeting *meeting)
{
    char more;
    CHECK_EQ(read_end(stream, meeting), -EPIPE);
    CHECK_EQ(torc_stream_read(stream, &more, 1), -EPIPE); /* and it stays so */
    return 0;
}

TLS_TEST(an_end_that_the_peer_has_not_announced_is_an_error)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = shut_the_socket},
                        .client = {.tls = context(client_options()), .then = expect_cut}};
    meet(&m);
    CHECK_EQ(m.server.shaken, 0);
    CHECK_EQ(m.client.shaken, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

static bool is_loss(int result)
{
    return result == -EPIPE || result == -ECONNRESET;
}

/* At each byte of the handshake, and of what is said after it: both sides end, with an error that says so. */
static void check_cuts(bool reset)
{
    struct torc_tls_context *server = context(server_options()),
                            *client = context(client_options());
    bool whole = false;
    for (long cut = 0; !whole; cut += 53) {
        struct wire wire = {.cut_after = cut, .change_from = -1, .reset = reset};
        struct meeting m = {.server = {.tls = server, .then = answer_hello},
                            .client = {.tls = client, .then = say_hello}};
        meet_over(&m, &wire, true);
        int served = m.server.shaken ? m.server.shaken : m.server.said;
        int called = m.client.shaken ? m.client.shaken : m.client.said;
        if (served && !is_loss(served))
            CHECK_EQ(served, -EPIPE);
        if (called && !is_loss(called))
            CHECK_EQ(called, -EPIPE);
        if (wire.done[0] && wire.done[1])
            whole = true;
        CHECK(cut < 20000);
    }
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
}

TLS_TEST(reset_at_any_byte)
{
    check_cuts(true);
    return nothing_is_left();
}

TLS_TEST(cut_at_any_byte)
{
    check_cuts(false);
    return nothing_is_left();
}

static int send_until_it_fails(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static const char zeros[100000];
    ssize_t n;
    while ((n = torc_stream_write_all(stream, zeros, sizeof zeros)) > 0)
        ;
    CHECK_EQ(torc_stream_write_all(stream, zeros, 1), n);
    return (int)n;
}

static int abort_at_once(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char some[1000];
    CHECK_EQ(torc_stream_read_exactly(stream, some, sizeof some), sizeof some);
    torc_stream_abort(stream);
    return 0;
}

TLS_TEST(writer_hears_of_a_reset)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = send_until_it_fails},
                        .client = {.tls = context(client_options()), .then = abort_at_once}};
    int fds[2];
    make_tcp_pair(fds);
    m.server.fd = fds[0];
    m.client.fd = fds[1];
    hold(&m);
    CHECK(is_loss(m.server.said));
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* ------ Lies */

static int count_much(struct torc_stream *stream, struct meeting *meeting)
{
    int result = read_end(stream, meeting), again = read_end(stream, meeting);
    CHECK_EQ(again, result);
    return result;
}

static int write_some(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static const char zeros[5000];
    ssize_t n = torc_stream_write_all(stream, zeros, sizeof zeros);
    return n < 0 ? (int)n : 0;
}

/* One bit, anywhere: in the handshake, in a ticket, in data, in the end. */
TLS_TEST(no_changed_byte_passes)
{
    struct torc_tls_options options = client_options();
    struct torc_tls_context *server = context(server_options());
    bool whole = false;
    for (long at = 5; !whole; at += 211) {
        struct torc_tls_context *client = context(options);
        struct wire wire = {.cut_after = -1, .change_from = at};
        struct meeting m = {.server = {.tls = server, .then = write_some},
                            .client = {.tls = client, .then = count_much}};
        meet_over(&m, &wire, false);
        whole = wire.from_server <= at;
        int called = m.client.shaken ? m.client.shaken : m.client.said;
        if (whole)
            CHECK_EQ(called, 0);
        else
            CHECK(called == -EPROTO || called == -EACCES || called == -EPIPE);
        torc_tls_context_destroy(client);
        CHECK(at < 30000);
    }
    torc_tls_context_destroy(server);
    return nothing_is_left();
}

/* What a side says to a peer that only sends TEXT and ends; descriptors: ours, theirs. */
static int answer_to(const char *text, size_t size, bool as_server)
{
    int fds[2];
    make_pair(fds);
    struct side side = {.fd = fds[0],
                        .tls = context(as_server ? server_options() : client_options()),
                        .name = as_server ? NULL : "localhost"};
    CHECK_EQ(write(fds[1], text, size), size);
    CHECK_EQ(shutdown(fds[1], SHUT_WR), 0);
    CHECK_EQ(take_side(&side), 0);
    close(fds[1]);
    torc_tls_context_destroy(side.tls);
    return side.shaken;
}

TLS_TEST(peer_that_speaks_no_tls_is_found_out)
{
    static const char request[] = "GET / HTTP/1.0\r\n\r\n", greeting[] = "220 mail ESMTP\r\n";
    CHECK_EQ(answer_to(request, sizeof request - 1, true), -EPROTO);
    CHECK_EQ(answer_to(greeting, sizeof greeting - 1, true), -EPROTO);
    CHECK_EQ(answer_to(greeting, sizeof greeting - 1, false), -EPROTO);
    CHECK_EQ(answer_to("", 0, true), -EPIPE);
    CHECK_EQ(answer_to("", 0, false), -EPIPE);
    CHECK_EQ(answer_to("\x16\x03\x01", 3, true), -EPIPE);
    CHECK_EQ(answer_to("\x16\x03\x01\xff\xff rubbish", 12, true), -EPROTO);
    return nothing_is_left();
}

/* ------ Somebody else's TLS: OpenSSL with blocking calls, on a thread */

struct foreigner {
    int fd;
    int version; /* the only one that it speaks */
    bool renegotiates, updates_keys;
    SSL_SESSION *session;
    bool resumed;
    int result;
    pthread_t thread;
};

static void *be_foreign(void *arg)
{
    struct foreigner *foreigner = arg;
    char word[8];
    sigset_t broken_pipe; /* OpenSSL writes to sockets as to files */
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &broken_pipe, NULL);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(ctx, foreigner->version);
    SSL_CTX_set_max_proto_version(ctx, foreigner->version);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, foreigner->fd);
    if (foreigner->session)
        SSL_set_session(ssl, foreigner->session);
    foreigner->result = SSL_connect(ssl) == 1 ? 0 : -EPROTO;
    foreigner->resumed = SSL_session_reused(ssl);
    if (!foreigner->result && foreigner->updates_keys)
        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    if (!foreigner->result && foreigner->renegotiates)
        foreigner->result = SSL_renegotiate(ssl) && SSL_do_handshake(ssl) == 1 ? 0 : -EPERM;
    else if (!foreigner->result && SSL_write(ssl, "hello", 5) != 5)
        foreigner->result = -EIO;
    else if (!foreigner->result && (SSL_read(ssl, word, 5) != 5 || memcmp(word, "HELLO", 5)))
        foreigner->result = -EBADMSG;
    SSL_SESSION_free(foreigner->session);
    foreigner->session = SSL_get1_session(ssl);
    SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(foreigner->fd);
    return NULL;
}

static void meet_foreigner(struct foreigner *foreigner, struct side *side)
{
    int fds[2];
    make_pair(fds);
    side->fd = fds[0];
    foreigner->fd = fds[1];
    CHECK_EQ(pthread_create(&foreigner->thread, NULL, be_foreign, foreigner), 0);
    CHECK_EQ(take_side(side), 0);
    CHECK_EQ(pthread_join(foreigner->thread, NULL), 0);
}

TLS_TEST(tls_1_2_is_spoken_and_resumed_unless_forbidden)
{
    struct foreigner foreigner = {.version = TLS1_2_VERSION};
    struct side side = {.tls = context(server_options()), .then = answer_hello};
    meet_foreigner(&foreigner, &side);
    CHECK_EQ(side.shaken, 0);
    CHECK_STR(side.info.version, "TLSv1.2");
    CHECK_EQ(foreigner.result, 0);
    CHECK(!foreigner.resumed);
    meet_foreigner(&foreigner, &side);
    CHECK_EQ(foreigner.result, 0);
    CHECK(foreigner.resumed && side.info.resumed);
    torc_tls_context_destroy(side.tls);
    struct torc_tls_options strict = server_options();
    strict.version_min = 13;
    side.tls = context(strict);
    meet_foreigner(&foreigner, &side);
    CHECK_EQ(side.shaken, -EPROTO);
    CHECK_STR(side.info.trouble, "unsupported protocol");
    torc_tls_context_destroy(side.tls);
    SSL_SESSION_free(foreigner.session);
    return nothing_is_left();
}

TLS_TEST(keys_are_renewed_and_nothing_is_renegotiated)
{
    struct foreigner modern = {.version = TLS1_3_VERSION, .updates_keys = true};
    struct foreigner old = {.version = TLS1_2_VERSION, .renegotiates = true};
    struct side side = {.tls = context(server_options()), .then = answer_hello};
    meet_foreigner(&modern, &side);
    CHECK_EQ(modern.result, 0);
    CHECK_EQ(side.said, 0);
    side.then = read_end;
    meet_foreigner(&old, &side);
    CHECK_EQ(old.result, -EPERM);
    torc_tls_context_destroy(side.tls);
    SSL_SESSION_free(modern.session);
    SSL_SESSION_free(old.session);
    return nothing_is_left();
}

/* ------ Changing over */

static int change_over(void *arg)
{
    struct side *side = arg;
    struct torc_stream stream;
    char line[64];
    CHECK_EQ(torc_stream_adopt(&stream, side->fd), 0);
    if (side->name) {
        CHECK_EQ(torc_stream_print(&stream, "STARTTLS\n"), 0);
    } else {
        /* As much as to find the first byte of the handshake read ahead. */
        const void *data;
        CHECK_EQ(torc_stream_peek_until(&stream, "\n", 0, &data), 9);
        CHECK(torc_stream_peek_at_least(&stream, 10, &data) >= 10);
        CHECK_EQ(torc_stream_read_line(&stream, line, sizeof line), 8);
    }
    struct torc_tls_info info;
    CHECK_EQ(torc_tls_info_get(&stream, &info), -EOPNOTSUPP);
    side->shaken = torc_tls_start(&stream, side->tls, side->name);
    CHECK_EQ(torc_tls_start(&stream, side->tls, side->name), -EINVAL);
    CHECK_EQ(torc_stream_release(&stream), -EINVAL);
    if (!side->shaken)
        side->said = side->then(&stream, NULL);
    torc_stream_close(&stream);
    return 0;
}

TLS_TEST(plain_stream_can_change_over)
{
    int fds[2];
    make_pair(fds);
    struct side server = {.fd = fds[0], .tls = context(server_options()), .then = answer_hello};
    struct side client = {
        .fd = fds[1], .tls = context(client_options()), .name = "localhost", .then = say_hello};
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, change_over, &server), 0);
    CHECK_EQ(torc_spawn(&scope, change_over, &client), 0);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(server.shaken, 0);
    CHECK_EQ(client.said, 0);
    CHECK_EQ(server.said, 0);
    torc_tls_context_destroy(server.tls);
    torc_tls_context_destroy(client.tls);
    return nothing_is_left();
}

/* ------ Interruptions */

static int shake_with_nobody(struct torc_tls_context *tls, const char *name)
{
    int fds[2];
    make_pair(fds);
    struct side side = {.fd = fds[0], .tls = tls, .name = name};
    CHECK_EQ(take_side(&side), 0);
    close(fds[1]);
    return side.shaken;
}

static int shake_as_both(void *arg)
{
    (void)arg;
    struct torc_tls_context *server = context(server_options()),
                            *client = context(client_options());
    CHECK_EQ(shake_with_nobody(server, NULL), -ECANCELED);
    CHECK_EQ(shake_with_nobody(client, "localhost"), -ECANCELED);
    torc_tls_context_destroy(server);
    torc_tls_context_destroy(client);
    return 0;
}

TLS_TEST(handshake_that_nobody_answers_ends_by_deadline_or_cancel)
{
    struct torc_tls_options server = server_options(), client = client_options();
    struct torc_deadline limit;
    struct torc_tls_context *tls = context(server);
    torc_deadline_enter(&limit, 10 * TORC_MS);
    CHECK_EQ(shake_with_nobody(tls, NULL), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&limit));
    torc_tls_context_destroy(tls);
    server.handshake_ns = client.handshake_ns = 5 * TORC_MS;
    tls = context(server);
    CHECK_EQ(shake_with_nobody(tls, NULL), -ETIMEDOUT);
    torc_tls_context_destroy(tls);
    tls = context(client);
    CHECK_EQ(shake_with_nobody(tls, "localhost"), -ETIMEDOUT);
    torc_tls_context_destroy(tls);
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, shake_as_both, NULL), 0);
    torc_yield();
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    return nothing_is_left();
}

static bool go_on; /* what was written in time has been counted: the reader may begin */

/* The peer reads nothing: memory stays bounded, and an interrupted writer leaves whole records behind. */
static int write_in_vain(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    static const char zeros[100000];
    struct torci_net *net = stream->net;
    struct torc_deadline limit;
    uint32_t before = net->free_count;
    ssize_t n;
    torc_deadline_enter(&limit, 20 * TORC_MS);
    while ((n = torc_stream_write_all(stream, zeros, sizeof zeros)) > 0)
        ;
    (void)torc_deadline_leave(&limit);
    CHECK_EQ(n, -ETIMEDOUT);
    CHECK(before - net->free_count < 16);
    CHECK_EQ(torc_stream_try_write(stream, zeros, sizeof zeros), -EAGAIN);
    go_on = true;
    while ((n = torc_stream_try_write(stream, "end", 3)) == -EAGAIN)
        torc_yield();
    CHECK_EQ(n, 3);
    return torc_stream_end(stream);
}

static int read_late(struct torc_stream *stream, struct meeting *meeting)
{
    (void)meeting;
    char last[3] = "", bytes[1000];
    ssize_t n;
    while (!go_on)
        CHECK_EQ(torc_sleep(TORC_MS), 0);
    while ((n = torc_stream_read(stream, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            memmove(last, last + 1, 2);
            last[2] = bytes[i];
        }
    CHECK_EQ(n, 0);
    CHECK(!memcmp(last, "end", 3));
    return 0;
}

TLS_TEST(interrupted_writer_leaves_the_stream_whole)
{
    struct meeting m = {.server = {.tls = context(server_options()), .then = write_in_vain},
                        .client = {.tls = context(client_options()), .then = read_late}};
    go_on = false;
    meet(&m);
    CHECK_EQ(m.server.said, 0);
    CHECK_EQ(m.client.said, 0);
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    return nothing_is_left();
}

/* ------ Contexts */

static void check_complaint(struct torc_tls_options options, int error, const char *words)
{
    struct torc_tls_context *tls;
    fault.lines = 0;
    CHECK_EQ(torc_tls_context_create(&tls, &options), error);
    CHECK(!tls);
    CHECK_EQ(fault.lines, 1);
    if (!fault_kernel_said(&fault, words))
        CHECK_STR(fault.line[0], words);
}

static int complain_main(void *arg)
{
    (void)arg;
    static const char *const none[] = {"", NULL};
    struct torc_tls_options good = server_options(), bad = good;
    char path[IDENTITY_PATH_BYTES];
    struct identity locked;
    identity_make(&locked, NULL,
                  &(struct identity_options){.name = "locked", .password = "secret"});
    int fd = identity_file("no PEM at all\n", 14, path);
    bad.key = NULL;
    check_complaint(bad, -EINVAL, "goes with a key");
    bad.key = "no/such/file";
    check_complaint(bad, -ENOENT, "there is no file no/such/file");
    bad.key = "/";
    check_complaint(bad, -EISDIR, "can't be read");
    bad.key = path;
    check_complaint(bad, -EINVAL, "no private key");
    bad.key = client_identity.key_path;
    check_complaint(bad, -EINVAL, "is not the key of");
    bad.key = locked.key_path;
    bad.certificate = locked.certificate_path;
    check_complaint(bad, -EINVAL, "with a password");
    bad.certificate = path;
    check_complaint(bad, -EINVAL, "no certificates");
    bad = good;
    bad.authorities = path;
    check_complaint(bad, -EINVAL, "no certificates");
    bad.authorities = "no/such/file";
    check_complaint(bad, -ENOENT, "no/such/file");
    bad = good;
    bad.verify_peer = true;
    check_complaint(bad, -EINVAL, "verify_peer needs authorities");
    bad = good;
    bad.version_min = 11;
    check_complaint(bad, -EINVAL, "version_min");
    bad = good;
    bad.protocols = none;
    check_complaint(bad, -EINVAL, "protocols");
    bad = good;
    bad.names[0].server_name = "localhost";
    check_complaint(bad, -EINVAL, "goes with a key");
    identity_free(&locked);
    close(fd);
    return 0;
}

TEST(tls, what_is_wrong_with_a_context_is_said_in_one_line)
{
    make_identities();
    fault_kernel_init(&fault);
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, complain_main, NULL), 0);
    free_identities();
}

static int misuse_main(void *arg)
{
    (void)arg;
    struct torc_tls_context *server = context(server_options());
    char long_name[300];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    CHECK_EQ(shake_with_nobody(server, "localhost"), -EINVAL); /* it trusts nobody */
    torc_tls_context_destroy(server);
    struct torc_tls_context *client = context(client_options());
    CHECK_EQ(shake_with_nobody(client, ""), -EINVAL);
    CHECK_EQ(shake_with_nobody(client, long_name), -EINVAL);
    torc_tls_context_destroy(client);
    torc_tls_context_destroy(NULL);
    return nothing_is_left();
}

TEST(tls, misuse_is_an_error)
{
    run_with_identities(misuse_main);
}

static int create_main(void *arg)
{
    (void)arg;
    struct torc_tls_options options = server_options();
    options.authorities = authority.certificate_path;
    options.verify_peer = true;
    struct torc_tls_context *tls;
    int err = torc_tls_context_create(&tls, &options);
    torc_tls_context_destroy(tls);
    return err;
}

TEST(tls, context_survives_any_call_failing)
{
    make_identities();
    for (long n = 0;; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ALLOC | FAULT_MAP | FAULT_CALL;
        fault.fail_nth = n;
        int result = run_alone(&(struct torc_config){.kernel = &fault.kernel}, create_main, NULL);
        CHECK(result == 0 || fault.failed);
        fault_kernel_check_clean(&fault);
        if (!fault.failed)
            break;
        CHECK(n < 1000);
    }
    free_identities();
}

#endif
