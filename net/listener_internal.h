/* SPDX-License-Identifier: MIT
 *
 * Listeners as servers see them: they give connections to on_accept, unless they are paused; then they keep them.
 */
#ifndef TORC_NET_LISTENER_INTERNAL_H
#define TORC_NET_LISTENER_INTERNAL_H

#include "net/net_internal.h"
#include "net/serve.h"

/* What TEXT says, names looked up: -EPROTOTYPE: it is not of streams; torc_resolve's errors. */
int torci_listener_resolve(const char *text, struct torc_address *address) TORC_MUST_CHECK;
/* torc_listen for an ADDRESS that is known. SHARED: others of this process may bind it too, after this; nobody else may,
 * nor may somebody have it, unless options.socket.reuse_port is set. */
int torci_listen(struct torc_listener *listener, const struct torc_address *address,
                 const struct torc_serve_options *options, bool shared) TORC_MUST_CHECK;

/* Accepts from now on, or again; first what was kept. */
void torci_listener_resume(struct torc_listener *listener);
/* Accepts no more; what the kernel hands over all the same is kept. */
void torci_listener_pause(struct torc_listener *listener);
/* FD can't be served now: it is kept, and offered again when a descriptor is closed, or in a tenth of a second. */
void torci_listener_hold(struct torc_listener *listener, int fd);

/* Closes what was accepted and is not served, so that the peer sees a reset. */
void torci_connection_reset(struct torci_net *net, int fd, bool direct);

#endif
