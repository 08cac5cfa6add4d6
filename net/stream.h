/* SPDX-License-Identifier: MIT
 *
 * A stream: bytes both ways over a connected socket, TCP or Unix, with or without TLS. Input lies in the shard's receive
 * buffers until it is read, output is gathered and leaves when the task blocks or the turn of the loop ends, whichever is
 * first: small writes in a row make one system call, and nobody has to flush.
 *
 *     struct torc_stream s;
 *     int err = torc_connect(&s, "tcp://example.org:80", NULL);
 *     if (err)
 *         return err;
 *     err = torc_stream_print(&s, "GET / HTTP/1.0\r\nHost: example.org\r\n\r\n");
 *     while ((n = torc_stream_read(&s, buf, sizeof buf)) > 0)
 *         ...
 *     torc_stream_close(&s);
 *
 * Interrupted calls (-ECANCELED, -ETIMEDOUT) lose nothing: what was read stays to be read, and what was written and not
 * sent stays to be sent.
 *
 * A failed connection (-ECONNRESET, -EPIPE, …) gives what had come before the failure, and the error from then on.
 *
 * Shard rule: a stream belongs to the shard that it was opened on. In tasks; one task may read while another writes, not two of
 * either. To hand a connection to another shard, release its descriptor there and adopt it here.
 */
#ifndef TORC_NET_STREAM_H
#define TORC_NET_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "core/list.h"
#include "io/op.h"
#include "net/address.h"
#include "net/socket.h"

TORC_BEGIN_DECLS

struct ucred; /* of <sys/socket.h>, for who defines _GNU_SOURCE */
struct torci_net;
struct torci_wait;
struct torci_filter;
struct torci_kept;
struct torci_relay;

/* Caller's memory, stays where it is from open to close. Fields are private. */
struct torc_stream {
    struct torci_net *net;
    int fd;                     /* or, if direct, the slot */
    uint16_t in_first, in_last; /* chunks of input */
    uint16_t in_chunks, in_max;
    uint16_t epoch; /* in which it was active last */
    uint16_t out;   /* chunk of output */
    uint8_t out_state;
    bool armed;        /* the receive */
    bool renew;        /* it is to begin anew */
    bool stopping;     /* no other one may begin */
    uint16_t in_fetch; /* a chunk that is being filled, where only readiness is told */
    bool out_ended;    /* by torc_stream_end */
    bool direct;
    bool ended; /* no more input will come */
    bool draining;
    bool busy;                   /* ... which it has to wait for: torc_stream_set_busy */
    bool taken;                  /* some of the input, since this was last set to false */
    bool wants_room;             /* on_event is to be told of room */
    uint8_t idle_rounds;         /* in which nothing moved: net/idle.c */
    uint32_t idle_moved;         /* bytes in all, the last time */
    int in_error, out_error;     /* what the socket said, once there is no more */
    uint32_t sq_index, sq_bytes; /* of a queued send */
    struct torc_op receive, transmit;
    struct torci_link link;       /* dirty, queued, starved: one list at a time for output */
    struct torci_link in_link;    /* starved, crowded */
    struct torci_link owner_link; /* the server's */
    struct torci_wait *reader, *writer;
    /* Tells of input (or its end) and of room for output; NULL: a task waits. */
    void (*on_event)(struct torc_stream *stream, unsigned events);
    struct torci_kept *kept;     /* input that had to be made one piece */
    struct torci_filter *filter; /* TLS */
    struct torci_relay *relay;   /* that it is a side of */
    void *user;                  /* torc_stream_set_user */
    uint64_t received_bytes, sent_bytes;
};

/* ------ Opening and closing */

struct torc_connect_options {
    struct torc_socket_options socket;
    const char *bind;    /* from this address, in numbers: "tcp://10.0.0.1:0" */
    uint64_t timeout_ns; /* for all of it, the lookup included; default: the task's deadline */
    uint64_t
        attempt_delay_ns; /* before the next address is tried beside this one; default 250 ms */
};

/* Connects to ADDRESS, which may have a name. Its addresses are tried in turn, IPv6 and IPv4 alternating, each
 * some time after the one before without waiting for that to fail (Happy Eyeballs, RFC 8305); the first that answers is
 * taken. OPTIONS may be NULL.
 * 0; torc_resolve's errors, also of bind, where -EDESTADDRREQ is a name; -EPROTOTYPE: an address of datagrams; the error of
 * the last address that was tried: -ECONNREFUSED, -ENETUNREACH, -ETIMEDOUT, -EADDRNOTAVAIL (of bind; or no port is left), -EADDRINUSE
 * (bind's port), -EAFNOSUPPORT (bind's is of another kind), -ENOENT and -EACCES (a Unix path), …; what an option gave; -ECANCELED.
 * On error there is nothing to close. In a task. */
int torc_connect(struct torc_stream *stream, const char *address,
                 const struct torc_connect_options *options) TORC_MUST_CHECK;
/* The same for one address. */
int torc_connect_to(struct torc_stream *stream, const struct torc_address *address,
                    const struct torc_connect_options *options) TORC_MUST_CHECK;

/* Two streams that are connected with each other, on this shard. */
int torc_stream_pair(struct torc_stream streams[2]) TORC_MUST_CHECK;

/* Makes a stream of FD, a connected stream socket, which is the stream's from now on (and set to not block). -ENOTSOCK, -EINVAL
 * (not connected, not a stream), -ENOMEM: FD stays the caller's. */
int torc_stream_adopt(struct torc_stream *stream, int fd) TORC_MUST_CHECK;
/* Gives the descriptor back, after what was written has been sent. Input that has been received and not read would be lost:
 * -EBUSY, and the stream stays; read it first. -ECANCELED, -ETIMEDOUT, the stream's error: it stays. */
int torc_stream_release(struct torc_stream *stream) TORC_MUST_CHECK;

/* Sends what is left (for which it waits as long as the peer reads, unless the task is interrupted or linger says less), and closes.
 * Never fails; whoever must know calls torc_stream_flush before. Closing twice is harmless. */
void torc_stream_close(struct torc_stream *stream);
/* Closes at once, with a reset; what was not sent is dropped. */
void torc_stream_abort(struct torc_stream *stream);

/* ------ Reading: more than 0 bytes, 0 at the peer's end, or a negative errno */

/* At least one byte, at most SIZE. Of SIZE 0: 0, at once. */
ssize_t torc_stream_read(struct torc_stream *stream, void *memory, size_t size) TORC_MUST_CHECK;
/* All SIZE bytes. -EPIPE: the peer has ended within them; 0: before the first. On error nothing has been taken; -ENOMEM: what had
 * been could not be put back, and the input is at its end. */
ssize_t torc_stream_read_exactly(struct torc_stream *stream, void *memory,
                                 size_t size) TORC_MUST_CHECK;

/* A look at the input without a copy: *DATA points to as many bytes as are returned, valid until the next call that reads,
 * consumes or closes. At least one byte. */
ssize_t torc_stream_peek(struct torc_stream *stream, const void **data) TORC_MUST_CHECK;
/* The same for at least SIZE bytes in one piece. -EPIPE: the peer has ended before that; -EMSGSIZE: SIZE is above
 * TORC_STREAM_PIECE_MAX. */
ssize_t torc_stream_peek_at_least(struct torc_stream *stream, size_t size,
                                  const void **data) TORC_MUST_CHECK;
/* The same until the DELIMITER (1 to 16 bytes) has come, which is part of what is returned: a line, a header. -EMSGSIZE: not within LIMIT
 * bytes (0: TORC_STREAM_PIECE_MAX); all stays to be read. -EPIPE: the peer has ended before it. */
ssize_t torc_stream_peek_until(struct torc_stream *stream, const char *delimiter, size_t limit,
                               const void **data) TORC_MUST_CHECK;
/* Takes SIZE bytes, which the last peek has shown, off the input. */
void torc_stream_consume(struct torc_stream *stream, size_t size);

/* The next line without its end ("\n" or "\r\n"), and a NUL behind it, in LINE; -EMSGSIZE: longer than SIZE - 1, nothing was
 * taken. The last line may lack an end. An empty line is 0 bytes, so the peer's end is -EPIPE here, always. */
ssize_t torc_stream_read_line(struct torc_stream *stream, char *line, size_t size) TORC_MUST_CHECK;

enum { TORC_STREAM_PIECE_MAX = 1 << 20 };

/* How many bytes can be read without waiting; does not ask the kernel. */
size_t torc_stream_available(const struct torc_stream *stream);

/* ------ Writing */

/* All SIZE bytes, or a negative errno. Waits while the peer takes nothing. Small ones leave by the end of the turn, large
 * ones at once; MEMORY is the caller's again in any case. Of an interrupted one (-ECANCELED, -ETIMEDOUT) a first part has been
 * taken, possibly nothing, and will be sent; how much is not told, so nothing that makes sense can be written behind it.
 * -EPIPE: after torc_stream_end, or the peer takes no more; -ECONNRESET, -ETIMEDOUT, …: the connection is lost. */
ssize_t torc_stream_write_all(struct torc_stream *stream, const void *memory,
                              size_t size) TORC_MUST_CHECK;
ssize_t torc_stream_writev_all(struct torc_stream *stream, const struct iovec *pieces,
                               unsigned count) TORC_MUST_CHECK;
/* As much as can be taken without waiting: 0 or more. -EAGAIN: nothing. */
ssize_t torc_stream_try_write(struct torc_stream *stream, const void *memory,
                              size_t size) TORC_MUST_CHECK;
/* write_all of a string. */
int torc_stream_print(struct torc_stream *stream, const char *text) TORC_MUST_CHECK;
/* SIZE bytes of the file FD, which is not open with O_DIRECT, from OFFSET on; however cold the file is, the shard is not
 * blocked. Bytes sent, less than SIZE at the file's end. As write_all; and -ENOMEM, -EINVAL (beyond 2^63), what reading gave. */
ssize_t torc_stream_send_file(struct torc_stream *stream, int fd, uint64_t offset,
                              uint64_t size) TORC_MUST_CHECK;
/* Waits until the kernel has all that was written. */
int torc_stream_flush(struct torc_stream *stream) TORC_MUST_CHECK;
/* Half-close: the peer reads an end after all that was written. Reading goes on. Twice is harmless. */
int torc_stream_end(struct torc_stream *stream) TORC_MUST_CHECK;

/* ------ About it */

int torc_stream_local(const struct torc_stream *stream,
                      struct torc_address *address) TORC_MUST_CHECK;
int torc_stream_peer(const struct torc_stream *stream,
                     struct torc_address *address) TORC_MUST_CHECK;
/* Who is at the other end of a Unix stream. -EOPNOTSUPP: it is none. */
int torc_stream_credentials(const struct torc_stream *stream, struct ucred *who) TORC_MUST_CHECK;
/* setsockopt for what struct torc_socket_options lacks. */
int torc_stream_set_option(struct torc_stream *stream, int level, int name, const void *value,
                           size_t size) TORC_MUST_CHECK;
/* The server that this stream belongs to is ending: answer what was asked, and end. */
bool torc_stream_is_draining(const struct torc_stream *stream);
/* BUSY: half a request has been read, and kept elsewhere. Reads wait for the rest of it then, draining or not, and an idle
 * connection's end by a drain is put off, until this is taken back. For who reads on and on: a read of one call knows by itself. */
void torc_stream_set_busy(struct torc_stream *stream, bool busy);
/* A pointer of the handler's own, NULL at first, that stays with the connection. */
void torc_stream_set_user(struct torc_stream *stream, void *user);
void *torc_stream_user(const struct torc_stream *stream);

/* Unix streams; else -EOPNOTSUPP. */
enum { TORC_STREAM_FDS_MAX = 253 }; /* that the kernel lets travel together */
/* COUNT descriptors travel with the SIZE (> 0) bytes at MEMORY: SIZE, or a negative errno. They stay open here. Interrupted, nothing
 * has gone, or the stream is of no use for writing, as with write_all. -EBADF: one of them is none. */
ssize_t torc_stream_send_fds(struct torc_stream *stream, const void *memory, size_t size,
                             const int *fds, unsigned count) TORC_MUST_CHECK;
/* As torc_stream_read, with the descriptors that came along, closed by exec: *COUNT is room in FDS before, and how many came after; what has
 * no room is closed. To be used for all reads of a stream that gets descriptors, in a task: what a handler is called for
 * has been received without them. */
ssize_t torc_stream_receive_fds(struct torc_stream *stream, void *memory, size_t size, int *fds,
                                unsigned *count) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
