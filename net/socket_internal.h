#ifndef S
#define S
#include "net/address.h"
#include "net/socket.h"
int torci_socket_create(const struct torc_address *a, const struct torc_socket_options *o, bool l);
#endif
