/* SPDX-License-Identifier: MIT
 *
 * From options to what OpenSSL needs to know. Files are read here, through the shim, and never again; all that is wrong with them
 * or with the options is told here, in one line.
 */
#include "net/tls_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/executor_internal.h"
#include "shard/alloc.h"
#include "shard/sysfile_internal.h"

enum { FILE_BYTES_MIN = 64 * 1024, FILE_BYTES_MAX = 16 << 20, LINE_BYTES = 512 };
#define HANDSHAKE_DEFAULT_NS (10 * TORC_SEC)

/* Where systems keep those whom everybody trusts: Debian and its kin, Fedora and its, openSUSE, Alpine and the BSDs. */
static const char *const system_authorities[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

TORC_PRINTF(2, 3) static int complain(int error, const char *format, ...)
{
    char line[LINE_BYTES];
    int head = snprintf(line, sizeof line, "torc: TLS: ");
    va_list args;
    va_start(args, format);
    vsnprintf(line + head, sizeof line - (size_t)head, format, args);
    va_end(args);
    torci_io_say(torci_kernel_this(), line);
    return error;
}

static int no_memory(void)
{
    return complain(-ENOMEM, "no memory for a context");
}

/* ------ Files */

static int complain_of_file(int error, const char *path)
{
    switch (error) {
    case -ENOENT: return complain(error, "there is no file %s", path);
    case -EACCES: return complain(error, "%s: this user may not read it", path);
    case -ENOMEM: return no_memory();
    case -EFBIG: return complain(error, "%s is larger than 16 MiB", path);
    default: return complain(error, "%s can't be read: errno %d", path, -error);
    }
}

/* The whole file in memory of torc_alloc: its length, or the error. */
static int read_file(const char *path, char **text)
{
    for (size_t size = FILE_BYTES_MIN; size <= FILE_BYTES_MAX; size *= 4) {
        *text = (char *)torc_alloc(size);
        if (!*text)
            return -ENOMEM;
        int length = torci_sysfile_read(torci_kernel_this(), *text, size, path);
        if (length >= 0 && (size_t)length < size - 1)
            return length;
        torc_free(*text);
        if (length < 0)
            return length;
    }
    return -EFBIG;
}

/* As something that OpenSSL reads, and into the hash; to be closed. */
struct file {
    char *text;
    int length;
    BIO *bio;
};

static int open_file(struct torc_tls_context *context, struct file *file, const char *path)
{
    file->length = read_file(path, &file->text);
    if (file->length < 0)
        return file->length;
    file->bio = BIO_new_mem_buf(file->text, file->length);
    if (file->bio && EVP_DigestUpdate(context->hash, &file->length, sizeof file->length) &&
        EVP_DigestUpdate(context->hash, file->text, (size_t)file->length))
        return 0;
    BIO_free(file->bio);
    torc_free(file->text);
    return -ENOMEM;
}

static void close_file(struct file *file)
{
    BIO_free(file->bio);
    OPENSSL_cleanse(file->text, (size_t)file->length);
    torc_free(file->text);
}

/* OpenSSL would ask for it at the terminal. */
static int no_password(char *to, int size, int writing, void *context)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)context;
    return 0;
}

/* Why the last call of OpenSSL failed; its errors are gone then. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return text ? text : "it does not say why";
}

static bool lacks_memory(void)
{
    return ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE;
}

/* ------ Certificates */

static void free_certificate(struct torci_tls_certificate *certificate)
{
    X509_free(certificate->leaf);
    EVP_PKEY_free(certificate->key);
    sk_X509_pop_free(certificate->chain, X509_free);
}

/* What is behind the leaf, until the file ends. */
static int read_chain(struct torci_tls_certificate *to, BIO *bio)
{
    X509 *next;
    to->chain = sk_X509_new_null();
    while (to->chain && (next = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
        if (!sk_X509_push(to->chain, next)) {
            X509_free(next);
            return -ENOMEM;
        }
    if (!to->chain || lacks_memory())
        return -ENOMEM;
    unsigned long last = ERR_peek_last_error();
    return ERR_GET_REASON(last) == PEM_R_NO_START_LINE ? 0 : -EINVAL;
}

static int read_certificate(struct torc_tls_context *context, struct torci_tls_certificate *to,
                            const char *path)
{
    struct file file;
    int err = open_file(context, &file, path);
    if (err)
        return complain_of_file(err, path);
    ERR_clear_error();
    to->leaf = PEM_read_bio_X509(file.bio, NULL, no_password, NULL);
    if (to->leaf)
        err = read_chain(to, file.bio);
    else
        err = lacks_memory() ? -ENOMEM : -EINVAL;
    close_file(&file);
    if (err == -ENOMEM)
        return no_memory();
    return err ? complain(err, "%s holds no certificates in PEM: %s", path, reason()) : 0;
}

static int read_key(struct torc_tls_context *context, struct torci_tls_certificate *to,
                    const char *path)
{
    struct file file;
    int err = open_file(context, &file, path);
    if (err)
        return complain_of_file(err, path);
    ERR_clear_error();
    to->key = PEM_read_bio_PrivateKey(file.bio, NULL, no_password, NULL);
    if (!to->key)
        err = lacks_memory() ? -ENOMEM : -EINVAL;
    close_file(&file);
    if (err == -ENOMEM)
        return no_memory();
    return err ? complain(err, "%s holds no private key in PEM, or one with a password: %s", path,
                          reason())
               : 0;
}

/* Both files, and whether OpenSSL would serve with them. */
static int load_certificate(struct torc_tls_context *context, struct torci_tls_certificate *to,
                            const char *certificate, const char *key)
{
    if (!certificate || !key)
        return complain(-EINVAL, "a certificate goes with a key: %s has none",
                        certificate ? certificate
                        : key       ? key
                                    : "a server name");
    int err = read_certificate(context, to, certificate);
    if (!err)
        err = read_key(context, to, key);
    if (err)
        return err;
    ERR_clear_error();
    if (!X509_check_private_key(to->leaf, to->key)) {
        ERR_clear_error();
        return complain(-EINVAL, "%s is not the key of %s", key, certificate);
    }
    SSL *probe = SSL_new(context->ssl);
    bool fine = probe && SSL_use_cert_and_key(probe, to->leaf, to->key, to->chain, 1);
    SSL_free(probe);
    if (fine)
        return 0;
    return lacks_memory() ? no_memory()
                          : complain(-EINVAL, "%s can't be used: %s", certificate, reason());
}

static int load_own(struct torc_tls_context *context, const struct torc_tls_options *options)
{
    struct torci_tls_certificate own = {.leaf = NULL};
    if (!options->certificate && !options->key)
        return 0;
    int err = load_certificate(context, &own, options->certificate, options->key);
    if (!err && !SSL_CTX_use_cert_and_key(context->ssl, own.leaf, own.key, own.chain, 1))
        err = no_memory();
    free_certificate(&own);
    context->has_certificate = !err;
    return err;
}

static int load_named(struct torc_tls_context *context, const struct torc_tls_options *options)
{
    int err = 0;
    while (!err && context->names_count < TORC_TLS_NAMES_MAX) {
        const struct torc_tls_certificate *from = &options->names[context->names_count];
        struct torci_tls_certificate *to = &context->names[context->names_count];
        if (!from->server_name)
            break;
        size_t length = strnlen(from->server_name, sizeof to->server_name);
        if (!length || length == sizeof to->server_name)
            return complain(-EINVAL, "a server name has 1 to 255 characters");
        memcpy(to->server_name, from->server_name, length);
        context->names_count++;
        if (!EVP_DigestUpdate(context->hash, from->server_name, length + 1))
            return no_memory();
        err = load_certificate(context, to, from->certificate, from->key);
    }
    return err;
}

/* ------ Who is trusted */

static int trust(struct torc_tls_context *context, X509 *authority)
{
    if (!X509_STORE_add_cert(SSL_CTX_get_cert_store(context->ssl), authority))
        return -ENOMEM;
    if (context->verify_peer && !SSL_CTX_add_client_CA(context->ssl, authority))
        return -ENOMEM;
    return 0;
}

static int load_authorities(struct torc_tls_context *context, const char *path)
{
    struct file file;
    X509 *next;
    int err = open_file(context, &file, path);
    if (err)
        return err;
    ERR_clear_error();
    while (!err && (next = PEM_read_bio_X509_AUX(file.bio, NULL, no_password, NULL))) {
        err = trust(context, next);
        X509_free(next);
        context->has_authorities = true;
    }
    if (!err && lacks_memory())
        err = -ENOMEM;
    if (!err &&
        (!context->has_authorities || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE))
        err = complain(-EINVAL, "%s holds no certificates in PEM: %s", path, reason());
    close_file(&file);
    return err;
}

static int load_trust(struct torc_tls_context *context, const struct torc_tls_options *options)
{
    if (options->authorities) {
        int err = load_authorities(context, options->authorities);
        return err && err != -EINVAL ? complain_of_file(err, options->authorities) : err;
    }
    if (context->verify_peer)
        return complain(-EINVAL, "verify_peer needs authorities: who signs the clients' "
                                 "certificates");
    if (context->trust_anyone || context->has_certificate || context->names_count)
        return 0;
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(system_authorities); i++) {
        int err = load_authorities(context, system_authorities[i]);
        if (!err || err == -EINVAL)
            return err;
        if (err == -ENOMEM)
            return no_memory();
    }
    return complain(-ENOENT, "this system has no list of authorities: install ca-certificates, or "
                             "name a file");
}

/* ------ What is said in the handshake */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool names_equal(const char *a, const char *b)
{
    for (; *a && lower(*a) == lower(*b); a++)
        b++;
    return !*a && !*b;
}

static bool matches(const char *pattern, const char *name, bool wild)
{
    if (pattern[0] != '*' || pattern[1] != '.')
        return !wild && names_equal(pattern, name);
    const char *rest = strchr(name, '.');
    return wild && rest && rest != name && names_equal(pattern + 1, rest);
}

/* How many of the certificates for NAME are used now. */
static unsigned use_certificates(const struct torc_tls_context *context, SSL *ssl, const char *name,
                                 bool wild)
{
    unsigned used = 0;
    for (unsigned i = 0; i < context->names_count; i++) {
        const struct torci_tls_certificate *at = &context->names[i];
        if (!matches(at->server_name, name, wild))
            continue;
        if (!used)
            SSL_certs_clear(ssl);
        used += SSL_use_cert_and_key(ssl, at->leaf, at->key, at->chain, 1) == 1;
    }
    return used;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct torc_tls_context *context = (const struct torc_tls_context *)arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name || !context->names_count)
        return SSL_TLSEXT_ERR_OK;
    if (use_certificates(context, ssl, name, false) || use_certificates(context, ssl, name, true) ||
        context->has_certificate)
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The best of ours that the client has, too; RFC 7301 wants an end of it if there is none. */
static int on_protocols(SSL *ssl, const unsigned char **chosen, unsigned char *length,
                        const unsigned char *theirs, unsigned theirs_bytes, void *arg)
{
    (void)ssl;
    const struct torc_tls_context *context = (const struct torc_tls_context *)arg;
    const unsigned char *own = context->protocols, *end = own + context->protocols_bytes;
    for (; own < end; own += own[0] + 1)
        for (unsigned at = 0; at < theirs_bytes; at += theirs[at] + 1u)
            if (theirs[at] == own[0] && !memcmp(theirs + at, own, own[0] + 1u)) {
                *chosen = own + 1;
                *length = own[0];
                return SSL_TLSEXT_ERR_OK;
            }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int set_protocols(struct torc_tls_context *context, const char *const *protocols)
{
    for (; *protocols; protocols++) {
        size_t length = strnlen(*protocols, 256);
        unsigned room = (unsigned)sizeof context->protocols - context->protocols_bytes;
        if (!length || length > 255 || length + 1 > room)
            return complain(-EINVAL, "protocols have 1 to 255 bytes each, and 256 together with "
                                     "one more for each");
        context->protocols[context->protocols_bytes++] = (unsigned char)length;
        memcpy(context->protocols + context->protocols_bytes, *protocols, length);
        context->protocols_bytes += (unsigned)length;
    }
    if (context->protocols_bytes)
        SSL_CTX_set_alpn_select_cb(context->ssl, on_protocols, context);
    return 0;
}

/* ------ All of it */

static int configure(struct torc_tls_context *context, const struct torc_tls_options *options)
{
    SSL_CTX *ssl = context->ssl;
    int version = options->version_min ? options->version_min : 12;
    if (version != 12 && version != 13)
        return complain(-EINVAL, "version_min is 12 or 13");
    SSL_CTX_set_app_data(ssl, context);
    SSL_CTX_set_min_proto_version(ssl, version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 (options->no_tickets ? SSL_OP_NO_TICKET : 0));
    /* An idle stream holds no buffers of OpenSSL's: 34 KiB each. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl, options->no_tickets
                                            ? SSL_SESS_CACHE_OFF
                                            : SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (options->no_tickets)
        SSL_CTX_set_num_tickets(ssl, 0);
    SSL_CTX_set_tlsext_servername_callback(ssl, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ssl, context);
    context->verify_peer = options->verify_peer;
    context->trust_anyone = options->trust_anyone;
    context->handshake_ns = options->handshake_ns ? options->handshake_ns : HANDSHAKE_DEFAULT_NS;
    int err = options->protocols ? set_protocols(context, options->protocols) : 0;
    if (!err)
        err = load_own(context, options);
    if (!err)
        err = load_named(context, options);
    return err ? err : load_trust(context, options);
}

/* Sessions are for contexts that would have come to the same result in a full handshake. */
static int seal(struct torc_tls_context *context, const struct torc_tls_options *options)
{
    unsigned char digest[TORCI_TLS_DIGEST_BYTES];
    const unsigned char choices[] = {options->verify_peer, options->trust_anyone,
                                     (unsigned char)options->version_min};
    bool fine = EVP_DigestUpdate(context->hash, choices, sizeof choices) &&
                EVP_DigestUpdate(context->hash, context->protocols, context->protocols_bytes) &&
                EVP_DigestFinal_ex(context->hash, digest, NULL);
    EVP_MD_CTX_free(context->hash);
    context->hash = NULL;
    return fine && !torci_tls_resume_prepare(context, digest) ? 0 : no_memory();
}

int torc_tls_context_create(struct torc_tls_context **out, const struct torc_tls_options *options)
{
    static const struct torc_tls_options defaults;
    *out = NULL;
    if (!options)
        options = &defaults;
    struct torc_tls_context *context = (struct torc_tls_context *)torc_alloc(sizeof *context);
    if (!context)
        return no_memory();
    memset(context, 0, sizeof *context);
    context->io = torci_io_this();
    ERR_clear_error();
    context->ssl = SSL_CTX_new(TLS_method());
    context->bio = torci_tls_bio_create();
    context->hash = EVP_MD_CTX_new();
    int err = 0;
    if (!context->ssl || !context->bio || !context->hash ||
        !EVP_DigestInit_ex(context->hash, EVP_sha256(), NULL))
        err = no_memory();
    if (!err)
        err = configure(context, options);
    if (!err)
        err = seal(context, options);
    ERR_clear_error();
    if (err)
        torc_tls_context_destroy(context);
    else
        *out = context;
    return err;
}

void torc_tls_context_destroy(struct torc_tls_context *context)
{
    if (!context)
        return;
    torci_tls_forget_all(context);
    for (unsigned i = 0; i < context->names_count; i++)
        free_certificate(&context->names[i]);
    EVP_MD_CTX_free(context->hash);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    ERR_clear_error();
    torc_free(context);
}
