/* SPDX-License-Identifier: MIT
 *
 * TLS of a library that was built without OpenSSL: there is no context, so nobody comes further than asking for one.
 */
#include "net/tls.h"

#include <errno.h>

#include "io/executor_internal.h"
#include "net/net_internal.h"

int torc_tls_context_create(struct torc_tls_context **context,
                            const struct torc_tls_options *options)
{
    (void)options;
    *context = NULL;
    torci_io_say(torci_kernel_this(), "torc: TLS: this libtorc was built without OpenSSL: install "
                                      "libssl-dev and build it again");
    return -EOPNOTSUPP;
}

void torc_tls_context_destroy(struct torc_tls_context *context)
{
    (void)context;
}

int torc_tls_start(struct torc_stream *stream, struct torc_tls_context *context,
                   const char *server_name)
{
    (void)stream;
    (void)context;
    (void)server_name;
    return -EOPNOTSUPP;
}

int torci_tls_accept(struct torc_stream *stream, struct torc_tls_context *context)
{
    return torc_tls_start(stream, context, NULL);
}

int torc_tls_info_get(const struct torc_stream *stream, struct torc_tls_info *info)
{
    (void)stream;
    (void)info;
    return -EOPNOTSUPP;
}
