/* SPDX-License-Identifier: MIT
 *
 * Certificates for tests, made on the spot: no file that expires lies in the repository. PEM "files" are in memory, and are
 * opened by the name that /proc has for them.
 *
 *     struct identity authority, server;
 *     identity_make(&authority, NULL, &(struct identity_options){.name = "authority", .is_authority = true});
 *     identity_make(&server, &authority, &(struct identity_options){.name = "server", .alternatives = "DNS:localhost"});
 *     ... server.certificate_path, server.key_path ...
 *     identity_free(&server);
 */
#ifndef TORC_TESTS_TLS_CERTIFICATES_H
#define TORC_TESTS_TLS_CERTIFICATES_H

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/harness.h"

enum { IDENTITY_PATH_BYTES = 40 };

struct identity {
    X509 *certificate;
    EVP_PKEY *key;
    int certificate_fd, key_fd;
    char certificate_path[IDENTITY_PATH_BYTES], key_path[IDENTITY_PATH_BYTES];
};

struct identity_options {
    const char *name;         /* the subject's CN */
    const char *alternatives; /* "DNS:localhost,IP:127.0.0.1" */
    const char *password;     /* of the key's file */
    long from_s, until_s;     /* from now; 0, 0: yesterday until tomorrow */
    bool is_authority, is_rsa;
};

/* A file of TEXT's bytes that has a path. */
static inline int identity_file(const void *text, size_t size, char path[IDENTITY_PATH_BYTES])
{
    int fd = memfd_create("pem", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, size), size);
    snprintf(path, IDENTITY_PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static inline int identity_bio_file(BIO *bio, char path[IDENTITY_PATH_BYTES])
{
    char *text;
    long size = BIO_get_mem_data(bio, &text);
    int fd = identity_file(text, (size_t)size, path);
    BIO_free(bio);
    return fd;
}

static inline void identity_extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    CHECK(extension);
    CHECK(X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

/* ISSUER NULL: it signs itself. */
static inline void identity_make(struct identity *identity, const struct identity *issuer,
                                 const struct identity_options *options)
{
    static long serial = 1;
    const long day = 24L * 60 * 60;
    bool dated = options->from_s || options->until_s;
    X509 *it = X509_new();
    EVP_PKEY *key = options->is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    CHECK(it && key);
    X509_set_version(it, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(it), serial++);
    X509_gmtime_adj(X509_getm_notBefore(it), dated ? options->from_s : -day);
    X509_gmtime_adj(X509_getm_notAfter(it), dated ? options->until_s : day);
    X509_set_pubkey(it, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(it), "CN", MBSTRING_ASC,
                               (const unsigned char *)options->name, -1, -1, 0);
    X509 *signer = issuer ? issuer->certificate : it;
    X509_set_issuer_name(it, X509_get_subject_name(signer));
    identity_extend(it, signer, NID_basic_constraints,
                    options->is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (options->alternatives)
        identity_extend(it, signer, NID_subject_alt_name, options->alternatives);
    CHECK(X509_sign(it, issuer ? issuer->key : key, EVP_sha256()));
    identity->certificate = it;
    identity->key = key;
    BIO *bio = BIO_new(BIO_s_mem());
    CHECK(PEM_write_bio_X509(bio, it));
    if (issuer) /* the chain, without which a leaf behind an intermediate is worth nothing */
        CHECK(PEM_write_bio_X509(bio, issuer->certificate));
    identity->certificate_fd = identity_bio_file(bio, identity->certificate_path);
    bio = BIO_new(BIO_s_mem());
    CHECK(PEM_write_bio_PKCS8PrivateKey(bio, key, options->password ? EVP_aes_128_cbc() : NULL,
                                        NULL, 0, NULL,
                                        __extension__(void *)(uintptr_t) options->password));
    identity->key_fd = identity_bio_file(bio, identity->key_path);
}

static inline void identity_free(struct identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    close(identity->certificate_fd);
    close(identity->key_fd);
}

#endif
