#include "net/net_internal.h"
#include "net/socket_internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int torc_address_parse(const char *text, struct torc_address *a)
{
    char host[64];
    int port;
    if (sscanf(text, "tcp://%63[^:]:%d", host, &port) != 2)
        return -EINVAL;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &in.sin_addr);
    memset(a, 0, sizeof *a);
    a->transport = TORC_TCP;
    a->length = sizeof in;
    memcpy(&a->storage, &in, sizeof in);
    return 0;
}
int torc_resolve(const char *t, struct torc_address *a, unsigned m)
{
    (void)t;
    (void)a;
    (void)m;
    return -ENOENT;
}
const char *torc_address_explain(const char *text, int e, char *why)
{
    snprintf(why, 320, "%s: errno %d", text, -e);
    return why;
}
int torci_socket_create(const struct torc_address *a, const struct torc_socket_options *o, bool l)
{
    int one = 1;
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 4);
    if (l && o->reuse_port)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, 4);
    return fd;
}
