/* SPDX-License-Identifier: MIT
 *
 * One value, sent once and received once: an answer that somebody else will give. Caller's memory; there is nothing to
 * release, and it may go when no task waits on it. Nothing here allocates or calls back. Shard rule: on the thread of the
 * executor that it was initialised on.
 */
#ifndef TORC_CORE_ONESHOT_H
#define TORC_CORE_ONESHOT_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;

enum torci_oneshot_state {
    TORCI_ONESHOT_OPEN,
    TORCI_ONESHOT_FULL, /* the value waits in the slot */
    TORCI_ONESHOT_DONE, /* it was taken, or there will be none */
};

/* Fields are private. */
struct torc_oneshot {
    struct torci_link receivers;
    struct torci_exec *home;
    void *slot;
    size_t value_bytes;
    enum torci_oneshot_state state;
    bool was_sent;
};

/* SLOT is VALUE_BYTES (> 0) of the caller's memory and belongs to the oneshot from now on. -EINVAL. */
int torc_oneshot_init(struct torc_oneshot *oneshot, size_t value_bytes, void *slot) TORC_MUST_CHECK;
/* Gives *VALUE to the oldest receiver, or keeps a copy for the first that comes; other receivers get -EPIPE. Never blocks.
 * 0; -EALREADY: a value was sent before; -EPIPE: closed before. On error *VALUE stays the caller's. Also from completion
 * functions. */
int torc_oneshot_send(struct torc_oneshot *oneshot, const void *value) TORC_MUST_CHECK;
/* Blocks until the value is there and takes it into *VALUE. 0; -EPIPE: it was taken before, or there will never be one;
 * -ECANCELED, -ETIMEDOUT: interrupted, nothing was taken. In a task. */
int torc_oneshot_recv(struct torc_oneshot *oneshot, void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if there is no value yet. */
int torc_oneshot_try_recv(struct torc_oneshot *oneshot, void *value) TORC_MUST_CHECK;
/* There will be no value; receivers get -EPIPE. One that was sent before can still be received. Harmless to repeat. */
void torc_oneshot_close(struct torc_oneshot *oneshot);
/* A case that stands for torc_oneshot_recv. */
struct torc_case torc_oneshot_case(struct torc_oneshot *oneshot, void *value);

TORC_END_DECLS

#endif
