/* SPDX-License-Identifier: MIT
 *
 * What net/tls.c (streams), net/tls_context.c (options, certificates) and net/tls_resume.c (sessions) share. Where the library is
 * built without OpenSSL net/tls_none.c stands in for all three.
 *
 * OpenSSL sees a shard's streams one call at a time: its calls never park, because its view of the socket (a BIO) takes from the
 * chunks of input and adds to the chunk of output, and says "not now" where those have nothing or no room.
 */
#ifndef TORC_NET_TLS_INTERNAL_H
#define TORC_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/net_internal.h"
#include "net/tls.h"

enum {
    TORCI_TLS_RECORD_MAX = 16 * 1024, /* plain bytes in one record */
    TORCI_TLS_OVERHEAD_MAX = 512, /* what a record has more, and a message that goes before it */
    TORCI_TLS_NAME_BYTES = 256,
    TORCI_TLS_SESSIONS_MAX = 64,
    TORCI_TLS_DIGEST_BYTES = 32,
};

struct torci_tls_certificate {
    char server_name[TORCI_TLS_NAME_BYTES];
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};

/* The last session with a server. */
struct torci_tls_session {
    SSL_SESSION *session;
    char server_name[TORCI_TLS_NAME_BYTES];
};

struct torc_tls_context {
    struct torci_io *io;
    SSL_CTX *ssl;
    BIO_METHOD *bio;
    uint64_t handshake_ns;
    bool has_certificate, has_authorities, verify_peer, trust_anyone;
    EVP_MD_CTX *hash; /* while it is made: of all that its sessions depend on */
    unsigned char protocols[256];
    unsigned protocols_bytes;
    struct torci_tls_certificate names[TORC_TLS_NAMES_MAX];
    unsigned names_count;
    struct torci_tls_session sessions[TORCI_TLS_SESSIONS_MAX];
    unsigned sessions_count, sessions_next; /* which one goes when there are more */
    char record[TORCI_TLS_RECORD_MAX];      /* pieces that are to go in one record */
};

/* ------ net/tls.c */

/* How OpenSSL reaches the socket; NULL: no memory. */
BIO_METHOD *torci_tls_bio_create(void);

/* ------ net/tls_resume.c */

/* Sessions of the context will be resumed by whoever has the same DIGEST in this process. 0 or -ENOMEM. */
int torci_tls_resume_prepare(struct torc_tls_context *context,
                             const unsigned char digest[TORCI_TLS_DIGEST_BYTES]) TORC_MUST_CHECK;
/* SSL is going to be a client of SERVER_NAME: with the session of the last time, if there was one. */
void torci_tls_resume(struct torc_tls_context *context, SSL *ssl, const char *server_name);
/* Takes SESSION over. */
void torci_tls_remember(struct torc_tls_context *context, const char *server_name,
                        SSL_SESSION *session);
void torci_tls_forget_all(struct torc_tls_context *context);

#endif
