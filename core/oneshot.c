/* SPDX-License-Identifier: MIT
 *
 * The oneshot. A receiver's wait points to where it wants the value.
 *
 *            send, nobody waits              recv
 *     open ----------------------> full -------------> done
 *       |  send, somebody waits; close                  ^
 *       +-----------------------------------------------+
 */
#include "core/oneshot.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

int torc_oneshot_init(struct torc_oneshot *oneshot, size_t value_bytes, void *slot)
{
    if (value_bytes == 0 || !slot)
        return -EINVAL;
    torci_link_init(&oneshot->receivers);
    oneshot->home = torci_this;
    oneshot->slot = slot;
    oneshot->value_bytes = value_bytes;
    oneshot->state = TORCI_ONESHOT_OPEN;
    oneshot->was_sent = false;
    return 0;
}

int torc_oneshot_send(struct torc_oneshot *oneshot, const void *value)
{
    TORCI_CHECK_HOME(oneshot);
    if (oneshot->state != TORCI_ONESHOT_OPEN)
        return oneshot->was_sent ? -EALREADY : -EPIPE;
    oneshot->was_sent = true;
    struct torci_wait *receiver = torci_wait_first(&oneshot->receivers);
    if (!receiver) {
        torci_copy_value(oneshot->slot, value, oneshot->value_bytes);
        oneshot->state = TORCI_ONESHOT_FULL;
        return 0;
    }
    torci_copy_value(receiver->value, value, oneshot->value_bytes);
    oneshot->state = TORCI_ONESHOT_DONE;
    torci_wait_wake(receiver, 0);
    torci_wait_wake_all(&oneshot->receivers, -EPIPE);
    return 0;
}

int torc_oneshot_try_recv(struct torc_oneshot *oneshot, void *value)
{
    TORCI_CHECK_HOME(oneshot);
    if (oneshot->state == TORCI_ONESHOT_OPEN)
        return -EAGAIN;
    if (oneshot->state == TORCI_ONESHOT_DONE)
        return -EPIPE;
    torci_copy_value(value, oneshot->slot, oneshot->value_bytes);
    oneshot->state = TORCI_ONESHOT_DONE;
    return 0;
}

int torc_oneshot_recv(struct torc_oneshot *oneshot, void *value)
{
    int err = torc_oneshot_try_recv(oneshot, value);
    if (err != -EAGAIN)
        return err;
    TORC_ASSERT(TORCI_IS_HOME(oneshot));
    return torci_block(&oneshot->receivers, value);
}

void torc_oneshot_close(struct torc_oneshot *oneshot)
{
    TORCI_CHECK_HOME(oneshot);
    if (oneshot->state != TORCI_ONESHOT_OPEN)
        return;
    oneshot->state = TORCI_ONESHOT_DONE;
    torci_wait_wake_all(&oneshot->receivers, -EPIPE);
}

static bool case_poll(struct torc_case *one)
{
    one->result = torc_oneshot_try_recv(one->object, one->value);
    return one->result != -EAGAIN;
}

static void case_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torc_oneshot *oneshot = one->object;
    wait->value = one->value;
    torci_list_push_back(&oneshot->receivers, &wait->link);
}

struct torc_case torc_oneshot_case(struct torc_oneshot *oneshot, void *value)
{
    static const struct torci_case_kind kind = {case_poll, case_arm, NULL};
    return torci_case_make(&kind, oneshot, value, 0);
}
