/* SPDX-License-Identifier: MIT
 *
 * Listeners as servers see them.
 */
#ifndef TORC_NET_LISTENER_INTERNAL_H
#define TORC_NET_LISTENER_INTERNAL_H

#include "net/net_internal.h"
#include "net/serve.h"

/* Accepts from now on, or again. */
void torci_listener_resume(struct torc_listener *listener);
/* Accepts no more; what the kernel hands over all the same still comes. */
void torci_listener_pause(struct torc_listener *listener);

#endif
