/* SPDX-License-Identifier: MIT
 *
 * An encrypted stream.
 *
 *     handshaking --done--> established --the peer's close_notify--> reading ends; writing goes on
 *          |                    |  '-----our own: end, close ------> writing ends; reading goes on
 *          '---error, deadline--'-----------------> failed: ERROR is what every call says from then on
 *
 * Whatever is to be written finds its room in the chunk of output before OpenSSL is asked to encrypt it. So no record is ever
 * left half written, and an interrupted writer leaves the stream whole.
 */
#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "core/time.h"
#include "shard/alloc.h"

struct tls {
    struct torci_filter filter;
    struct torc_stream *stream;
    struct torc_tls_context *context;
    SSL *ssl;
    struct torci_kept *before; /* what had been read ahead when it began */
    struct torci_timer limit;  /* of a handshake that no task waits for */
    int error;
    bool established;
    bool peer_ended, ended; /* by close_notify */
    const char *trouble;
    char server_name[]; /* of a client; else empty */
};

static struct tls *tls_of(const struct torc_stream *stream)
{
    return TORC_CONTAINER_OF(stream->filter, struct tls, filter);
}

/* ------ OpenSSL's view of the socket */

static size_t take_before(struct tls *tls, char *to, size_t size)
{
    struct torci_kept *before = tls->before;
    size_t part = before->to - before->from < size ? before->to - before->from : size;
    memcpy(to, before->bytes + before->from, part);
    before->from += (uint32_t)part;
    if (before->from == before->to) {
        torc_free(before);
        tls->before = NULL;
    }
    return part;
}

static bool has_input(const struct tls *tls)
{
    return tls->before || tls->stream->in_first != TORCI_NO_CHUNK;
}

static int bio_read(BIO *bio, char *to, size_t size, size_t *got)
{
    struct tls *tls = (struct tls *)BIO_get_data(bio);
    struct torc_stream *stream = tls->stream;
    BIO_clear_retry_flags(bio);
    *got = 0;
    if (!has_input(tls)) {
        if (!stream->ended)
            BIO_set_retry_read(bio);
        return 0;
    }
    if (tls->before) {
        *got = take_before(tls, to, size);
        return 1;
    }
    const struct torci_chunk *chunk = torci_input_first(stream);
    *got = chunk->to - chunk->from < size ? chunk->to - chunk->from : size;
    memcpy(to, torci_chunk_memory(stream->net, stream->in_first) + chunk->from, *got);
    torci_input_consume(stream, *got);
    return 1;
}

static int bio_write(BIO *bio, const char *from, size_t size, size_t *written)
{
    struct tls *tls = (struct tls *)BIO_get_data(bio);
    struct torc_stream *stream = tls->stream;
    BIO_clear_retry_flags(bio);
    *written = 0;
    if (stream->out_error)
        return 0;
    if (!torci_send_make_room(stream, size) || !torci_send_gather(stream, from, size)) {
        if (!stream->out_error)
            BIO_set_retry_write(bio);
        return 0;
    }
    *written = size;
    return 1;
}

static long bio_control(BIO *bio, int what, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    const struct tls *tls = (const struct tls *)BIO_get_data(bio);
    if (what == BIO_CTRL_EOF)
        return tls->stream->ended && !has_input(tls);
    return what == BIO_CTRL_FLUSH; /* the rest are questions, to which the answer is no */
}

BIO_METHOD *torci_tls_bio_create(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "torc stream");
    if (method && BIO_meth_set_read_ex(method, bio_read) &&
        BIO_meth_set_write_ex(method, bio_write) && BIO_meth_set_ctrl(method, bio_control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ------ What went wrong */

/* The peer's alerts that are about our certificate. */
static bool is_distrust(int alert)
{
    switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case TLS13_AD_CERTIFICATE_REQUIRED: return true;
    default: return false;
    }
}

/* What one error of OpenSSL's is to us. */
static int judge(unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    if (reason == ERR_R_MALLOC_FAILURE)
        return -ENOMEM;
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return -EPROTO;
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return -EPIPE;
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
        is_distrust(reason - SSL_AD_REASON_OFFSET))
        return -EACCES;
    return -EPROTO;
}

/* Empties OpenSSL's queue of errors, which is the thread's: the next stream must not find them there. The first that says more than
 * that the protocol was broken counts. -EPIPE: the socket has ended, or OpenSSL has nothing to complain of. */
static int judge_errors(struct tls *tls)
{
    unsigned long code = ERR_peek_error();
    int result = code ? -EPROTO : -EPIPE;
    if (code)
        tls->trouble = ERR_reason_error_string(code);
    while ((code = ERR_get_error()))
        if (result == -EPROTO)
            result = judge(code);
    return result;
}

/* A call of OpenSSL's has failed for good. */
static int fail(struct tls *tls)
{
    const struct torc_stream *stream = tls->stream;
    long distrust = tls->context->trust_anyone ? X509_V_OK : SSL_get_verify_result(tls->ssl);
    int error = judge_errors(tls);
    if (error == -EPROTO && distrust != X509_V_OK) {
        error = -EACCES;
        tls->trouble = X509_verify_cert_error_string(distrust);
    }
    if (error == -EPIPE && stream->ended && !has_input(tls))
        error = stream->in_error ? stream->in_error : -EPIPE;
    else if (error == -EPIPE && stream->out_error)
        error = stream->out_error;
    tls->error = error;
    return error;
}

/* ------ The handshake */

static void established(struct tls *tls)
{
    struct torci_counters *counters = tls->stream->net->io->exec.counters;
    tls->established = true;
    torci_wheel_cancel(&tls->stream->net->io->exec.wheel, &tls->limit);
    torci_count(&counters->net_tls_handshakes);
    if (SSL_session_reused(tls->ssl))
        torci_count(&counters->net_tls_resumed);
}

/* As far as it goes: 0: done; -EAGAIN: input has to come first; -ENOBUFS: there has to be room for output; else it has failed. */
static int shake_hands(struct tls *tls)
{
    if (tls->error)
        return tls->error;
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        established(tls);
        return 0;
    }
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return -EAGAIN;
    case SSL_ERROR_WANT_WRITE: return -ENOBUFS;
    default: return fail(tls);
    }
}

/* A server that is ending has no use for a connection which has not asked for anything yet. */
static int wait_and_shake_hands(struct tls *tls)
{
    int err;
    while ((err = shake_hands(tls)) == -EAGAIN || err == -ENOBUFS) {
        if (tls->stream->draining)
            err = -ECANCELED;
        else
            err = err == -EAGAIN ? torci_receive_wait(tls->stream) : torci_send_wait(tls->stream);
        if (err)
            break;
    }
    if (err)
        tls->error = err;
    return err;
}

/* ------ Reading */

static ssize_t tls_fill(struct torc_stream *stream)
{
    struct tls *tls = tls_of(stream);
    size_t got = 0, wanted, part;
    if (tls->error || tls->peer_ended)
        return tls->error;
    if (!tls->established)
        return -EAGAIN;
    ERR_clear_error();
    /* Nothing of a record is left with OpenSSL: what can be read is kept, or lies in chunks. */
    while ((wanted = got < TORCI_TLS_RECORD_MAX ? TORCI_TLS_RECORD_MAX - got
                                                : (size_t)SSL_pending(tls->ssl))) {
        char *room = torci_kept_room(stream, wanted);
        if (!room)
            return got ? (ssize_t)got : -ENOMEM;
        if (!SSL_read_ex(tls->ssl, room, wanted, &part))
            break;
        torci_kept_add(stream, part);
        got += part;
    }
    if (stream->kept->from == stream->kept->to)
        torci_kept_consume(stream, 0);
    if (got)
        return (ssize_t)got; /* what else there was to say is said the next time */
    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        tls->peer_ended = stream->ended = true;
        torci_input_drop(stream);
        return 0;
    default: return fail(tls);
    }
}

static int tls_ready(struct torc_stream *stream)
{
    struct tls *tls = tls_of(stream);
    if (!tls->established) {
        int err = shake_hands(tls);
        stream->wants_room = false;
        if (err == -ENOBUFS)
            torci_send_want_room(stream);
        if (err == -ENOBUFS || err == -EAGAIN)
            return stream->draining ? -ECANCELED : -EAGAIN;
        if (err)
            return err;
    }
    if (stream->kept)
        return 1;
    return tls_fill(stream) == -EAGAIN ? -EAGAIN : 1;
}

/* ------ Writing */

/* What writing says, if it says no. */
static int closed_for_writing(const struct tls *tls)
{
    if (tls->stream->out_error)
        return tls->stream->out_error;
    if (tls->error)
        return tls->error;
    return tls->ended ? -EPIPE : 0;
}

static int put_record(struct tls *tls, const void *memory, size_t size)
{
    size_t written;
    ERR_clear_error();
    if (SSL_write_ex(tls->ssl, memory, size, &written) && written == size)
        return 0;
    return fail(tls);
}

/* The next bytes of PIECES after SKIP, as many as go into one record: a short head and what follows it are not sent as two. */
static size_t next_record(struct torc_tls_context *context, const struct iovec *pieces,
                          unsigned count, size_t skip, const void **record)
{
    size_t size = 0;
    for (unsigned i = 0; i < count && size < TORCI_TLS_RECORD_MAX; i++) {
        if (skip >= pieces[i].iov_len) {
            skip -= pieces[i].iov_len;
            continue;
        }
        const char *from = (const char *)pieces[i].iov_base + skip;
        size_t part = pieces[i].iov_len - skip;
        if (part > TORCI_TLS_RECORD_MAX - size)
            part = TORCI_TLS_RECORD_MAX - size;
        skip = 0;
        if (size == 0 && (part == TORCI_TLS_RECORD_MAX || i + 1 == count)) {
            *record = from;
            return part;
        }
        memcpy(context->record + size, from, part);
        size += part;
    }
    *record = context->record;
    return size;
}

static ssize_t tls_write(struct torc_stream *stream, const struct iovec *pieces, unsigned count)
{
    struct tls *tls = tls_of(stream);
    size_t size = 0, done = 0;
    for (unsigned i = 0; i < count; i++)
        size += pieces[i].iov_len;
    for (;;) {
        int err = closed_for_writing(tls);
        if (err)
            return err;
        if (done == size)
            return (ssize_t)size;
        size_t part = size - done < TORCI_TLS_RECORD_MAX ? size - done : TORCI_TLS_RECORD_MAX;
        if (torci_send_make_room(stream, part + TORCI_TLS_OVERHEAD_MAX)) {
            const void *record;
            part = next_record(tls->context, pieces, count, done, &record);
            err = put_record(tls, record, part);
            done += part;
        } else if (!stream->out_error) {
            err = torci_send_wait(stream);
        }
        if (err)
            return err;
    }
}

static ssize_t tls_try_write(struct torc_stream *stream, const void *memory, size_t size)
{
    struct tls *tls = tls_of(stream);
    size_t done = 0;
    int err = closed_for_writing(tls);
    while (!err && done < size) {
        size_t part = size - done < TORCI_TLS_RECORD_MAX ? size - done : TORCI_TLS_RECORD_MAX;
        if (!torci_send_make_room(stream, part + TORCI_TLS_OVERHEAD_MAX))
            break;
        err = put_record(tls, (const char *)memory + done, part);
        if (!err)
            done += part;
    }
    if (err || stream->out_error)
        return stream->out_error ? stream->out_error : err;
    return done || !size ? (ssize_t)done : -EAGAIN;
}

/* ------ Beginning and end */

static int tls_end(struct torc_stream *stream)
{
    struct tls *tls = tls_of(stream);
    int err = tls->ended ? stream->out_error : closed_for_writing(tls);
    if (err || tls->ended)
        return err;
    if (!tls->established)
        return -EPIPE;
    while (!torci_send_make_room(stream, TORCI_TLS_OVERHEAD_MAX)) {
        err = stream->out_error ? stream->out_error : torci_send_wait(stream);
        if (err)
            return err;
    }
    tls->ended = true;
    ERR_clear_error();
    return SSL_shutdown(tls->ssl) < 0 ? fail(tls) : 0;
}

static void tls_close(struct torc_stream *stream)
{
    struct tls *tls = tls_of(stream);
    torci_wheel_cancel(&stream->net->io->exec.wheel, &tls->limit);
    if (tls->established)
        torci_ignore(tls_end(stream));
    stream->filter = NULL;
    SSL_free(tls->ssl);
    ERR_clear_error();
    torc_free(tls->before);
    torc_free(tls);
}

static void limit_passed(struct torci_timer *timer)
{
    struct tls *tls = TORC_CONTAINER_OF(timer, struct tls, limit);
    tls->error = -ETIMEDOUT;
    torci_stream_tell(tls->stream, TORCI_EVENT_INPUT);
}

/* As a client: who is to be at the other end, and how that is found out. False: no memory, or no name. */
static bool prepare_client(struct tls *tls)
{
    struct torc_tls_context *context = tls->context;
    const char *name = tls->server_name;
    SSL_set_connect_state(tls->ssl);
    SSL_set_verify(tls->ssl, context->trust_anyone ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* An address is not sent as a name: RFC 6066, section 3. */
    if (!X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name) &&
        !(SSL_set1_host(tls->ssl, name) && SSL_set_tlsext_host_name(tls->ssl, name)))
        return false;
    if (context->protocols_bytes &&
        SSL_set_alpn_protos(tls->ssl, context->protocols, context->protocols_bytes))
        return false;
    torci_tls_resume(context, tls->ssl, name);
    return true;
}

static bool prepare(struct tls *tls)
{
    struct torc_tls_context *context = tls->context;
    tls->ssl = SSL_new(context->ssl);
    BIO *bio = tls->ssl ? BIO_new(context->bio) : NULL;
    if (!bio)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    if (!SSL_set_app_data(tls->ssl, tls->server_name))
        return false;
    if (tls->server_name[0])
        return prepare_client(tls);
    SSL_set_accept_state(tls->ssl);
    SSL_set_verify(tls->ssl,
                   context->verify_peer ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                        : SSL_VERIFY_NONE,
                   NULL);
    return true;
}

static int attach(struct torc_stream *stream, struct torc_tls_context *context,
                  const char *server_name)
{
    size_t length = server_name ? strnlen(server_name, TORCI_TLS_NAME_BYTES) : 0;
    TORC_ASSERT(context->io == stream->net->io);
    if (stream->filter || length == TORCI_TLS_NAME_BYTES || (server_name && !length))
        return -EINVAL;
    if (server_name && !context->has_authorities && !context->trust_anyone)
        return -EINVAL;
    struct tls *tls = (struct tls *)torc_alloc(sizeof *tls + length + 1);
    if (!tls)
        return -ENOMEM;
    memset(tls, 0, sizeof *tls);
    tls->filter =
        (struct torci_filter){tls_write, tls_try_write, tls_fill, tls_ready, tls_end, tls_close};
    tls->stream = stream;
    tls->context = context;
    torci_timer_init(&tls->limit, limit_passed);
    if (length)
        memcpy(tls->server_name, server_name, length);
    tls->server_name[length] = '\0';
    ERR_clear_error();
    if (!prepare(tls)) {
        int err = judge_errors(tls) == -ENOMEM ? -ENOMEM : -EINVAL;
        SSL_free(tls->ssl);
        torc_free(tls);
        return err;
    }
    tls->before = stream->kept;
    stream->kept = NULL;
    stream->filter = &tls->filter;
    return 0;
}

int torc_tls_start(struct torc_stream *stream, struct torc_tls_context *context,
                   const char *server_name)
{
    int err = attach(stream, context, server_name);
    if (err)
        return err;
    struct torc_deadline limit;
    torc_deadline_enter(&limit, context->handshake_ns);
    err = wait_and_shake_hands(tls_of(stream));
    (void)torc_deadline_leave(&limit);
    return err;
}

int torci_tls_accept(struct torc_stream *stream, struct torc_tls_context *context)
{
    int err = attach(stream, context, NULL);
    if (err)
        return err;
    torci_wheel_arm(&stream->net->io->exec.wheel, &tls_of(stream)->limit,
                    torc_now_ns() + context->handshake_ns);
    return 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t length = from ? strnlen(from, size - 1) : 0;
    if (length)
        memcpy(to, from, length);
    to[length] = '\0';
}

int torc_tls_info_get(const struct torc_stream *stream, struct torc_tls_info *info)
{
    if (!stream->filter)
        return -EOPNOTSUPP;
    const struct tls *tls = tls_of(stream);
    memset(info, 0, sizeof *info);
    info->version = SSL_get_version(tls->ssl);
    info->cipher = SSL_get_cipher_name(tls->ssl);
    info->trouble = tls->trouble;
    info->resumed = SSL_session_reused(tls->ssl);
    const unsigned char *protocol;
    unsigned length;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &length);
    if (length && length < sizeof info->protocol)
        memcpy(info->protocol, protocol, length);
    copy_text(info->server_name, sizeof info->server_name,
              SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name));
    const X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    if (peer && !X509_NAME_oneline(X509_get_subject_name(peer), info->peer_subject,
                                   (int)sizeof info->peer_subject))
        info->peer_subject[0] = '\0';
    ERR_clear_error();
    return 0;
}
