/* SPDX-License-Identifier: MIT
 *
 * TLS over a stream, by OpenSSL: the same calls, encrypted. Part of the library where OpenSSL was found when it was built; else
 * torc_tls_context_create says so and returns -EOPNOTSUPP.
 *
 *     err = torc_tls_context_create(&tls, &(struct torc_tls_options){.certificate = "cert.pem", .key = "key.pem"});
 *     err = torc_serve("tcp://:8443", hello, NULL, &(struct torc_serve_options){.tls = tls});
 *
 *     err = torc_connect(&s, "tcp://example.org:443", NULL);
 *     err = torc_tls_start(&s, tls, "example.org");
 *
 * Shard rule: a context belongs to the shard that made it. Reading its files blocks: make it at the start.
 */
#ifndef TORC_NET_TLS_H
#define TORC_NET_TLS_H

#include "net/stream.h"

TORC_BEGIN_DECLS

enum { TORC_TLS_SERVER_NAMES_MAX = 16 };

struct torc_tls_certificate {
    const char
        *server_name; /* as the client asks for it (SNI); "*.example.org" too; NULL: any other */
    const char *certificate; /* PEM file, the chain behind it */
    const char *key;         /* PEM file */
};

struct torc_tls_options {
    const char *certificate, *key; /* of a server, for whatever name */
    struct torc_tls_certificate names[TORC_TLS_SERVER_NAMES_MAX]; /* and for certain ones */
    const char *authorities; /* PEM file of who is trusted; default: the system's */
    bool
        verify_peer; /* of a server: ask clients for a certificate. Clients always verify, unless: */
    bool trust_anyone;            /* of a client: don't verify. For tests */
    const char *const *protocols; /* ALPN, best first, ended by NULL */
    int version_min;              /* 12 or 13; default 12 */
    bool no_tickets;              /* no session resumption */
    bool kernel;                  /* kTLS where the kernel and the cipher allow it */
};

struct torc_tls_context;

/* OPTIONS may go afterwards. -EOPNOTSUPP: no OpenSSL; -ENOENT, -EACCES: a file; -EINVAL: what is in it, or options that make no
 * sense; -ENOMEM; each with one line on standard error. */
int torc_tls_context_create(struct torc_tls_context **context,
                            const struct torc_tls_options *options) TORC_MUST_CHECK;
/* No stream uses it any more. */
void torc_tls_context_destroy(struct torc_tls_context *context);

/* Handshake as a client for SERVER_NAME (which the certificate must name), or as a server (NULL). STREAM is encrypted from here on; on
 * error it is only to be closed. -EACCES: the peer's certificate is not trusted; -EPROTO: it does not speak TLS, or no version or
 * cipher in common; the stream's errors; -ECANCELED, -ETIMEDOUT. In a task. */
int torc_tls_start(struct torc_stream *stream, struct torc_tls_context *context,
                   const char *server_name) TORC_MUST_CHECK;

struct torc_tls_info {
    const char *version, *cipher; /* static */
    char protocol[32];            /* ALPN; empty: none */
    char server_name[256];        /* that the client asked for */
    char peer_subject[256];       /* of the peer's certificate; empty: it has none */
    bool resumed, kernel_sends, kernel_receives;
};
/* -EOPNOTSUPP: the stream is not encrypted. */
int torc_tls_info_get(const struct torc_stream *stream, struct torc_tls_info *info) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
