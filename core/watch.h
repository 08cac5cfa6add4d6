/* SPDX-License-Identifier: MIT
 *
 * Watch: one value that changes, and tasks that want its latest state: a configuration, a leader, a progress mark.
 * Watchers see the newest value, not each one. Caller's memory throughout. A watcher is a version number, no
 * registration: there is nothing to undo, and the watch's memory may go when no task waits on it.
 *
 * Nothing here allocates or calls back. Shard rule: on the thread of the executor that it was initialised on.
 */
#ifndef TORC_CORE_WATCH_H
#define TORC_CORE_WATCH_H

#include "core/list.h"
#include "core/select.h"

TORC_BEGIN_DECLS

struct torci_exec;

/* Fields are private. */
struct torc_watch {
    void *slot;
    size_t value_bytes;
    uint64_t version; /* 1 for the value it began with */
    bool closed;
    struct torci_link waiters;
    struct torci_exec *home;
};

/* Fields are private. */
struct torc_watcher {
    struct torc_watch *watch;
    uint64_t seen; /* the version that it has got; 0: none */
};

/* SLOT is VALUE_BYTES (> 0) of the caller's memory that hold the first value; it belongs to the watch from now on.
 * -EINVAL. */
int torc_watch_init(struct torc_watch *watch, size_t value_bytes, void *slot) TORC_MUST_CHECK;
/* Replaces the value by a copy of *VALUE. Never blocks. 0; -EPIPE: closed. Also from completion functions. */
int torc_watch_send(struct torc_watch *watch, const void *value) TORC_MUST_CHECK;
/* The latest value into *VALUE; for those who do not follow its changes. */
void torc_watch_read(const struct torc_watch *watch, void *value);
/* No more changes. Watchers get the last value if they have not seen it, then -EPIPE. Harmless to repeat. */
void torc_watch_close(struct torc_watch *watch);

/* The present value counts as not seen: the first wait returns it at once. WATCHER is the caller's memory and used by one
 * task at a time. */
void torc_watcher_init(struct torc_watcher *watcher, struct torc_watch *watch);
/* Blocks until the value is another version than the watcher's last and copies the latest into *VALUE. 0; -EPIPE: closed
 * and seen; -ECANCELED, -ETIMEDOUT: interrupted while it waited. On error *VALUE is unchanged. In a task. */
int torc_watcher_wait(struct torc_watcher *watcher, void *value) TORC_MUST_CHECK;
/* The same without blocking: -EAGAIN if nothing has changed. */
int torc_watcher_try_wait(struct torc_watcher *watcher, void *value) TORC_MUST_CHECK;
/* A case that stands for torc_watcher_wait. */
struct torc_case torc_watcher_case(struct torc_watcher *watcher, void *value);

TORC_END_DECLS

#endif
