/* SPDX-License-Identifier: MIT
 *
 * Moving bytes both ways between two streams: the heart of a proxy. No task runs for it and no buffer is held while
 * nothing moves. A side's end is passed on (half-close); a side that takes nothing stops the other from being read.
 *
 *     struct torc_relay_result result;
 *     int err = torc_relay(&client, &backend, &(struct torc_relay_options){.idle_ns = 60 * TORC_SEC}, &result);
 */
#ifndef TORC_NET_RELAY_H
#define TORC_NET_RELAY_H

#include "net/stream.h"

TORC_BEGIN_DECLS

struct torc_relay_options {
    uint64_t idle_ns;      /* nothing moved either way for so long (or a quarter more): -ETIMEDOUT;
                              default: never */
    uint64_t half_idle_ns; /* the same once one side has ended; default: idle_ns */
    uint64_t bytes_max;    /* each way; -EFBIG; default: none */
};

enum torc_relay_end {
    TORC_RELAY_DONE = 0, /* both sides have ended */
    TORC_RELAY_A_FAILED, /* reading from or writing to A: whoever is behind B is best told by
                            torc_stream_abort, unless a_ended */
    TORC_RELAY_B_FAILED,
    TORC_RELAY_IDLE,
    TORC_RELAY_LIMIT,
    TORC_RELAY_INTERRUPTED,
};

struct torc_relay_result {
    uint64_t a_to_b_bytes, b_to_a_bytes;
    bool a_ended, b_ended; /* its end was passed on to the other side */
    enum torc_relay_end end;
};

/* Relays until both sides have ended; input that either stream holds already goes first. When one fails, what it had said
 * before is handed over first. Both stay open and the caller's; nobody else reads or writes them meanwhile. A server's drain
 * does not end it.
 * 0, or the negative errno that ended it; -ECANCELED, -ETIMEDOUT (an interruption, or idle); -ENOMEM, -EAGAIN (tasks), with
 * TORC_RELAY_INTERRUPTED, if one of them is encrypted. RESULT, which may be NULL, is filled in in any case; its bytes are
 * up to date while the relay runs. In a task. */
int torc_relay(struct torc_stream *a, struct torc_stream *b,
               const struct torc_relay_options *options,
               struct torc_relay_result *result) TORC_MUST_CHECK;

TORC_END_DECLS

#endif
