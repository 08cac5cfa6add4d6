/* SPDX-License-Identifier: MIT
 *
 * TLS: who gets to talk to whom, under which name, by which protocol, with which session; and what a context complains of.
 */
#ifdef TORC_TLS
#include "tests/tls_meeting.h"

#include <openssl/err.h>
#endif

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "net/tls.h"
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

TLS_TEST(tls, client_and_server_talk)
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

TLS_TEST(tls, client_refuses_another_name)
{
    check_refused(&server_identity, "app2", "hostname mismatch");
    check_refused(&server_identity, "127.0.0.2", "IP address mismatch");
    return nothing_is_left();
}

TLS_TEST(tls, client_refuses_who_is_late_early_or_unknown)
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

TLS_TEST(tls, client_takes_an_address_for_a_name)
{
    struct meeting m = meet_with(server_options(), client_options(), "127.0.0.1");
    CHECK_EQ(m.client.shaken, 0);
    CHECK_STR(m.server.info.server_name, ""); /* an address is not sent */
    return nothing_is_left();
}

TLS_TEST(tls, client_that_trusts_anyone_does)
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

TLS_TEST(tls, server_verifies_clients)
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

TLS_TEST(tls, server_shows_the_certificate_for_the_name)
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

TLS_TEST(tls, name_may_have_two_kinds_of_keys)
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

TLS_TEST(tls, protocols_are_agreed_upon)
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

TLS_TEST(tls, client_resumes_its_last_session_with_a_server)
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
TLS_TEST(tls, session_is_good_for_a_context_of_the_same_options_and_no_other)
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

TLS_TEST(tls, no_tickets_no_resumption)
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
TLS_TEST(tls, sessions_are_kept_of_so_many_servers_only)
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

TLS_TEST(tls, tls_1_2_is_spoken_and_resumed_unless_forbidden)
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

struct foreign_server {
    int fd;
    SSL_CTX *ctx;
    pthread_t thread;
};

static void *be_foreign_server(void *arg)
{
    struct foreign_server *server = arg;
    char word[8];
    SSL *ssl = SSL_new(server->ctx);
    SSL_set_fd(ssl, server->fd);
    CHECK_EQ(SSL_accept(ssl), 1);
    CHECK_EQ(SSL_read(ssl, word, 5), 5);
    CHECK_EQ(SSL_write(ssl, "HELLO", 5), 5);
    while (SSL_read(ssl, word, 5) > 0)
        ;
    SSL_free(ssl);
    close(server->fd);
    return NULL;
}

TLS_TEST(tls, client_resumes_by_tls_1_2_too)
{
    struct side side = {.tls = context(client_options()), .name = "localhost", .then = say_hello};
    struct foreign_server server = {.ctx = SSL_CTX_new(TLS_server_method())};
    SSL_CTX_set_max_proto_version(server.ctx, TLS1_2_VERSION);
    CHECK(SSL_CTX_use_cert_and_key(server.ctx, server_identity.certificate, server_identity.key,
                                   NULL, 1));
    for (int i = 0; i < 2; i++) {
        int fds[2];
        make_pair(fds);
        side.fd = fds[0];
        server.fd = fds[1];
        CHECK_EQ(pthread_create(&server.thread, NULL, be_foreign_server, &server), 0);
        CHECK_EQ(take_side(&side), 0);
        CHECK_EQ(pthread_join(server.thread, NULL), 0);
        CHECK_EQ(side.shaken, 0);
        CHECK_EQ(side.said, 0);
        CHECK_STR(side.info.version, "TLSv1.2");
        CHECK_EQ(side.info.resumed, i);
    }
    SSL_CTX_free(server.ctx);
    torc_tls_context_destroy(side.tls);
    return nothing_is_left();
}

TLS_TEST(tls, keys_are_renewed_and_nothing_is_renegotiated)
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

/* ------ No memory */

static long allocations_left =
    -1; /* of OpenSSL's, of this thread alone; negative: as many as it likes */

static bool allocation_fails(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

static void *scarce_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size == 0 || allocation_fails() ? NULL : malloc(size);
}

static void *scarce_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return allocation_fails() ? NULL : realloc(memory, size);
}

static void scarce_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

/* Both sides say hello, or one of them learns that there is no memory. */
static bool meet_with_allocations(long count)
{
    struct torc_tls_options server = server_options(), client = client_options();
    struct meeting m = {.server = {.then = answer_hello}, .client = {.then = say_hello}};
    allocations_left = count;
    int err = torc_tls_context_create(&m.server.tls, &server);
    if (!err)
        err = torc_tls_context_create(&m.client.tls, &client);
    if (!err)
        meet(&m);
    bool ran_out = allocations_left < 0;
    allocations_left = -1;
    torc_tls_context_destroy(m.server.tls);
    torc_tls_context_destroy(m.client.tls);
    CHECK(!ERR_peek_error());
    return ran_out;
}

static int scarce_main(void *arg)
{
    (void)arg;
    long count = 0;
    meet_with_allocations(LONG_MAX);
    while (meet_with_allocations(count))
        count += 1 + count / 40;
    CHECK(count > 1000);
    return nothing_is_left();
}

TEST(tls, survives_openssl_without_memory)
{
    if (!CRYPTO_set_mem_functions(scarce_malloc, scarce_realloc, scarce_free))
        TEST_SKIP("the runner uses OpenSSL itself; the one of instrumented tests does not");
    make_identities();
    fault_kernel_init(&fault); /* which keeps the lines to itself */
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, scarce_main, NULL), 0);
    free_identities();
}

#endif
