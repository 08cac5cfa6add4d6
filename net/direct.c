#include "net/net_internal.h"
#include <errno.h>
void torci_close_direct(struct torci_net *net, int slot)
{
    (void)net;
    (void)slot;
}
int torci_shutdown_direct(struct torc_stream *s)
{
    (void)s;
    return -EOPNOTSUPP;
}
int torci_stream_borrow_fd(const struct torc_stream *s)
{
    (void)s;
    return -EOPNOTSUPP;
}
