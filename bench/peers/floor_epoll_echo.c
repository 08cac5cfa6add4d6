// SPDX-License-Identifier: MIT
// Echo over plain epoll, one thread: what a careful C programmer writes by hand, level-triggered, one buffer of 64 KiB for
// all. What a peer does not take is kept for it, and nothing more is read from it before that is gone.
//
//   floor_epoll_echo PORT
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, BUFFER_BYTES = 65536, BACKLOG = 4096, PEERS = 1 << 20 };

struct rest {
    char *bytes; // NULL: there is none
    size_t from, to;
};

static struct rest rests[PEERS]; // by descriptor
static int watched;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "floor_epoll_echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int fd, uint32_t events, int how)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(watched, how, fd, &e))
        die("epoll");
}

static void leave(int fd)
{
    free(rests[fd].bytes);
    rests[fd].bytes = NULL;
    close(fd);
}

static void keep(int fd, const char *bytes, size_t count)
{
    struct rest *r = &rests[fd];
    *r = (struct rest){.bytes = malloc(count), .to = count};
    if (!r->bytes) {
        leave(fd);
        return;
    }
    memcpy(r->bytes, bytes, count);
    watch(fd, EPOLLOUT, EPOLL_CTL_MOD);
}

static void readable(int fd)
{
    static char buffer[BUFFER_BYTES];
    ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    ssize_t sent = got > 0 ? send(fd, buffer, (size_t)got, MSG_NOSIGNAL) : got;
    if (got > 0 && sent == got)
        return;
    if (got > 0 && (sent > 0 || errno == EAGAIN)) {
        size_t done = sent > 0 ? (size_t)sent : 0;
        keep(fd, buffer + done, (size_t)got - done);
    } else if (got == 0 || errno != EAGAIN) {
        leave(fd);
    }
}

static void writable(int fd)
{
    struct rest *r = &rests[fd];
    ssize_t sent = send(fd, r->bytes + r->from, r->to - r->from, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            leave(fd);
        return;
    }
    r->from += (size_t)sent;
    if (r->from < r->to)
        return;
    free(r->bytes);
    r->bytes = NULL;
    watch(fd, EPOLLIN, EPOLL_CTL_MOD);
}

// One at a time: more may be there than descriptors are left, and the epoll says again that somebody waits.
static void accept_one(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
}

static int listener_open(uint16_t port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); // accepted ones inherit it
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, BACKLOG))
        die("listen");
    return fd;
}

int main(int argc, char **argv)
{
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fputs("floor_epoll_echo PORT\n", stderr);
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < PEERS ? limit.rlim_max : PEERS;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listener_open((uint16_t)port);
    watched = epoll_create1(EPOLL_CLOEXEC);
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(watched, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_one(fd);
            else if (rests[fd].bytes)
                writable(fd);
            else
                readable(fd);
        }
    }
}
