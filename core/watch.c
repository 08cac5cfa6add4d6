/* SPDX-License-Identifier: MIT
 *
 * Watch. A waiting watcher has seen the present version; it is woken without a value and reads the latest when it runs.
 */
#include "core/watch.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

int torc_watch_init(struct torc_watch *watch, size_t value_bytes, void *slot)
{
    if (value_bytes == 0 || !slot)
        return -EINVAL;
    watch->slot = slot;
    watch->value_bytes = value_bytes;
    watch->version = 1;
    watch->closed = false;
    torci_link_init(&watch->waiters);
    watch->home = torci_this;
    return 0;
}

int torc_watch_send(struct torc_watch *watch, const void *value)
{
    TORCI_CHECK_HOME(watch);
    if (watch->closed)
        return -EPIPE;
    torci_copy_value(watch->slot, value, watch->value_bytes);
    watch->version++;
    torci_wait_wake_all(&watch->waiters, 0);
    return 0;
}

void torc_watch_read(const struct torc_watch *watch, void *value)
{
    TORCI_CHECK_HOME(watch);
    torci_copy_value(value, watch->slot, watch->value_bytes);
}

void torc_watch_close(struct torc_watch *watch)
{
    TORCI_CHECK_HOME(watch);
    watch->closed = true;
    torci_wait_wake_all(&watch->waiters, -EPIPE);
}

void torc_watcher_init(struct torc_watcher *watcher, struct torc_watch *watch)
{
    watcher->watch = watch;
    watcher->seen = 0;
}

int torc_watcher_try_wait(struct torc_watcher *watcher, void *value)
{
    const struct torc_watch *watch = watcher->watch;
    if (watcher->seen == watch->version)
        return watch->closed ? -EPIPE : -EAGAIN;
    torc_watch_read(watch, value);
    watcher->seen = watch->version;
    return 0;
}

int torc_watcher_wait(struct torc_watcher *watcher, void *value)
{
    int err = torc_watcher_try_wait(watcher, value);
    if (err != -EAGAIN)
        return err;
    TORC_ASSERT(TORCI_IS_HOME(watcher->watch));
    err = torci_block(&watcher->watch->waiters, NULL);
    return err ? err : torc_watcher_try_wait(watcher, value);
}

static bool case_poll(struct torc_case *one)
{
    one->result = torc_watcher_try_wait(one->object, one->value);
    return one->result != -EAGAIN;
}

static void case_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_watcher *watcher = one->object;
    torci_list_push_back(&watcher->watch->waiters, &wait->link);
}

static void case_leave(struct torc_case *one, bool won)
{
    if (won && one->result == 0)
        one->result = torc_watcher_try_wait(one->object, one->value);
}

struct torc_case torc_watcher_case(struct torc_watcher *watcher, void *value)
{
    static const struct torci_case_kind kind = {case_poll, case_arm, case_leave};
    return torci_case_make(&kind, watcher, value, 0);
}
