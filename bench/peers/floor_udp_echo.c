// SPDX-License-Identifier: MIT
// The floor under a UDP echo: one thread that takes as many datagrams as wait and sends all answers, two system calls for
// up to 64 of them.
//
//   floor_udp_echo PORT
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { AT_ONCE = 64, DATAGRAM_BYTES = 65536 };

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "floor_udp_echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

int main(int argc, char **argv)
{
    static char memory[AT_ONCE][DATAGRAM_BYTES];
    static struct mmsghdr messages[AT_ONCE];
    static struct iovec parts[AT_ONCE];
    static struct sockaddr_in peers[AT_ONCE];
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fputs("floor_udp_echo PORT\n", stderr);
        return 2;
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)))
        die("bind");
    for (;;) {
        for (int i = 0; i < AT_ONCE; i++) {
            parts[i] = (struct iovec){memory[i], DATAGRAM_BYTES};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                                  .msg_namelen = sizeof(peers[i]),
                                                  .msg_iov = &parts[i],
                                                  .msg_iovlen = 1};
        }
        int count = recvmmsg(fd, messages, AT_ONCE, MSG_WAITFORONE, NULL);
        if (count < 0 && errno != EINTR && errno != ECONNREFUSED)
            die("recvmmsg");
        for (int i = 0; i < count; i++)
            parts[i].iov_len = messages[i].msg_len;
        for (int done = 0, sent;
             done<count; done += sent> 0 ? sent : 1) // one that fails is dropped
            sent = sendmmsg(fd, messages + done, (unsigned)(count - done), 0);
    }
}
