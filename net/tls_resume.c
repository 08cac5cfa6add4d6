/* SPDX-License-Identifier: MIT
 *
 * Sessions that go on where the last one ended. A server keeps none: each is in its ticket, sealed with keys that are made of one
 * secret of the process and of all that a session depends on, so that a client may come back to another shard, and no session
 * of one kind of context is taken by another. A client keeps the last one with each server.
 */
#include "net/tls_internal.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum {
    TICKET_KEY_BYTES = 80
}; /* a name, a key to sign with and one to seal with: OpenSSL's layout */

static struct {
    CRYPTO_ONCE once;
    bool made;
    unsigned char bytes[TORCI_TLS_DIGEST_BYTES];
} secret = {.once = CRYPTO_ONCE_STATIC_INIT};

static void make_secret(void)
{
    secret.made = RAND_priv_bytes(secret.bytes, sizeof secret.bytes) == 1;
}

/* Piece NUMBER of the keys. */
static bool derive(unsigned char number, const unsigned char digest[TORCI_TLS_DIGEST_BYTES],
                   unsigned char piece[TORCI_TLS_DIGEST_BYTES])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool fine = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(hash, secret.bytes, sizeof secret.bytes) &&
                EVP_DigestUpdate(hash, digest, TORCI_TLS_DIGEST_BYTES) &&
                EVP_DigestUpdate(hash, &number, 1) && EVP_DigestFinal_ex(hash, piece, NULL);
    EVP_MD_CTX_free(hash);
    return fine;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct torc_tls_context *context =
        (struct torc_tls_context *)SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const char *server_name = (const char *)SSL_get_app_data(ssl);
    if (!server_name[0] || !SSL_SESSION_is_resumable(session))
        return 0;
    torci_tls_remember(context, server_name, session);
    return 1;
}

int torci_tls_resume_prepare(struct torc_tls_context *context,
                             const unsigned char digest[TORCI_TLS_DIGEST_BYTES])
{
    unsigned char keys[3 * TORCI_TLS_DIGEST_BYTES];
    _Static_assert(sizeof keys >= TICKET_KEY_BYTES, "three pieces are enough");
    bool fine = CRYPTO_THREAD_run_once(&secret.once, make_secret) && secret.made &&
                SSL_CTX_get_tlsext_ticket_keys(context->ssl, NULL, 0) == TICKET_KEY_BYTES;
    for (unsigned char i = 0; i < 3 && fine; i++)
        fine = derive(i, digest, keys + i * TORCI_TLS_DIGEST_BYTES);
    fine = fine && SSL_CTX_set_tlsext_ticket_keys(context->ssl, keys, TICKET_KEY_BYTES) &&
           SSL_CTX_set_session_id_context(context->ssl, digest, TORCI_TLS_DIGEST_BYTES);
    OPENSSL_cleanse(keys, sizeof keys);
    SSL_CTX_sess_set_new_cb(context->ssl, on_new_session);
    return fine ? 0 : -ENOMEM;
}

static struct torci_tls_session *find(struct torc_tls_context *context, const char *server_name)
{
    for (unsigned i = 0; i < context->sessions_count; i++)
        if (!strcmp(context->sessions[i].server_name, server_name))
            return &context->sessions[i];
    return NULL;
}

void torci_tls_resume(struct torc_tls_context *context, SSL *ssl, const char *server_name)
{
    struct torci_tls_session *last = find(context, server_name);
    if (last)
        torci_ignore(SSL_set_session(ssl, last->session));
}

void torci_tls_remember(struct torc_tls_context *context, const char *server_name,
                        SSL_SESSION *session)
{
    struct torci_tls_session *at = find(context, server_name);
    if (!at && context->sessions_count < TORCI_TLS_SESSIONS_MAX)
        at = &context->sessions[context->sessions_count++];
    else if (!at)
        at = &context->sessions[context->sessions_next++ % TORCI_TLS_SESSIONS_MAX];
    SSL_SESSION_free(at->session);
    at->session = session;
    memcpy(at->server_name, server_name, strlen(server_name) + 1);
}

void torci_tls_forget_all(struct torc_tls_context *context)
{
    for (unsigned i = 0; i < context->sessions_count; i++)
        SSL_SESSION_free(context->sessions[i].session);
    context->sessions_count = 0;
}
