/* SPDX-License-Identifier: MIT
 *
 * TLS 1.2 and 1.3 over a stream, by OpenSSL: the same calls, encrypted. Part of the library where OpenSSL was found when it was
 * built; else torc_tls_context_create says so and returns -EOPNOTSUPP.
 *
 *     err = torc_tls_context_create(&tls, &(struct torc_tls_options){.certificate = "cert.pem", .key = "key.pem"});
 *     err = torc_serve("tcp://:8443", hello, NULL, &(struct torc_serve_options){.tls = tls});
 *
 *     err = torc_tls_context_create(&tls, NULL);
 *     err = torc_connect(&s, "tcp://example.org:443", NULL);
 *     err = torc_tls_start(&s, tls, "example.org");
 *
 * What is different of an encrypted stream: torc_stream_end and torc_stream_close also tell the peer by TLS that nothing follows; a
 * peer whose connection ends without telling so has been cut off, or somebody has cut it off: reading gives -EPIPE then, not 0.
 * torc_stream_release, torc_stream_send_fds and torc_stream_receive_fds don't work.
 *
 * Sessions are resumed by tickets. Their keys are made when the process first makes a context, live as long as it does, and
 * are the same for contexts of the same options and files: a client may come back to another shard. Clients remember the
 * last session with each of 64 servers.
 *
 * Shard rule: a context belongs to the shard that made it. Making it reads files, which blocks: do so at the start. It starts
 * with OpenSSL's own configuration, openssl.cnf, whose rules hold.
 */
#ifndef TORC_NET_TLS_H
#define TORC_NET_TLS_H

#include "net/stream.h"

TORC_BEGIN_DECLS

enum { TORC_TLS_NAMES_MAX = 16 };

struct torc_tls_certificate {
    const char
        *server_name; /* as the client asks for it (SNI); "*.example.org" for one label more */
    const char *certificate; /* PEM file, the chain behind it */
    const char *key;         /* PEM file, without password */
};

struct torc_tls_options {
    const char *certificate, *key; /* for whatever name; of a client: if the server asks for one */
    /* Of a server, and for certain names, which go first; ends with one without a name. Of a name that several entries
     * have, the client may choose among their kinds of keys. */
    struct torc_tls_certificate names[TORC_TLS_NAMES_MAX];
    /* PEM file of who is trusted. Default: the system's of a context without any certificate, which is a client's; else nobody. */
    const char *authorities;
    bool
        verify_peer; /* of a server: only clients with a certificate that AUTHORITIES have signed */
    bool trust_anyone;            /* of a client: don't verify. For tests */
    const char *const *protocols; /* ALPN, best first, ended by NULL */
    int version_min;              /* 12 or 13; default 12 */
    bool no_tickets;              /* sessions are not resumed */
    uint64_t handshake_ns;        /* after which it fails with -ETIMEDOUT; default 10 s */
};

struct torc_tls_context;

/* OPTIONS may be NULL, and may go afterwards. -EOPNOTSUPP: no OpenSSL; -ENOENT, -EACCES and the like: of a file; -EINVAL: what is in
 * it, or options that make no sense; -ENOMEM; each with one line on standard error that says which. On a shard. */
int torc_tls_context_create(struct torc_tls_context **context,
                            const struct torc_tls_options *options) TORC_MUST_CHECK;
/* No stream uses it any more. NULL is fine. */
void torc_tls_context_destroy(struct torc_tls_context *context);

/* Handshake as a client for SERVER_NAME (a name or an address in numbers, which the server's certificate must have), or as a server
 * (NULL). STREAM is encrypted from here on; on error it is only to be closed. What has been read ahead counts as the
 * handshake's, so a plain stream can change over at any point.
 * -EACCES: one of the two does not trust the other's certificate; -EPROTO: the peer does not speak TLS, or there is no version, cipher or
 * protocol in common; -EPIPE: the peer ended before it was done; -EINVAL: the stream is encrypted already, SERVER_NAME is no
 * name, or a client's context has no authorities; -ENOMEM; the stream's errors; -ECANCELED, -ETIMEDOUT. In a task.
 * torc_serve_options.tls does this by itself, before the function is called. */
int torc_tls_start(struct torc_stream *stream, struct torc_tls_context *context,
                   const char *server_name) TORC_MUST_CHECK;

struct torc_tls_info {
    const char *version, *cipher; /* static */
    const char *trouble; /* static: what was wrong with the peer or the handshake; NULL: nothing */
    char protocol[256];  /* ALPN; empty: none */
    char server_name[256];  /* that the client asked for */
    char peer_subject[256]; /* of the peer's certificate, "/CN=example.org"; empty: it has none */
    bool resumed;
};
/* May be called after a handshake that failed, too. -EOPNOTSUPP: the stream is not encrypted. */
int torc_tls_info_get(const struct torc_stream *stream, struct torc_tls_info *info) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
