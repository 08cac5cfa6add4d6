// SPDX-License-Identifier: MIT
// The floor under a TCP relay: plain epoll, one thread, one buffer of 64 KiB for all. What one side sends goes to the other
// at once; what that does not take is kept for it, and its sender is not read before it is gone. So at most one buffer is
// kept a direction. Half-close is passed on; a pair ends with both directions, or with the first error.
//
//   floor_relay PORT BACKEND_PORT
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

enum { EVENTS = 256, BUFFER_BYTES = 65536, BACKLOG = 4096 };

struct side {
    int fd;
    bool connected, ended; // ended: read to the end of what it sends
    uint32_t watched;      // epoll's events
    char *kept;            // for this side, NULL: nothing
    size_t kept_from, kept_to;
    struct side *other;
    struct pair *pair;
};

struct pair {
    struct side client, backend;
    bool over;
    struct pair *next_over;
};

static int watched, listener;
static struct sockaddr_in backend_at = {.sin_family = AF_INET};
static struct pair *pairs_over; // freed after the turn: its events may still name them

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "floor_relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct side *s)
{
    bool read = s->connected && s->other->connected && !s->ended && !s->other->kept;
    uint32_t events = (read ? EPOLLIN : 0u) | (s->kept || !s->connected ? EPOLLOUT : 0u);
    if (events == s->watched)
        return;
    // Nobody is watched for nothing: a hang-up would be told again and again, and what came before it must go on first.
    struct epoll_event e = {.events = events, .data.ptr = s};
    int how = !events ? EPOLL_CTL_DEL : s->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(watched, how, s->fd, &e))
        die("epoll");
    s->watched = events;
}

static void pair_end(struct pair *p)
{
    if (p->over)
        return;
    p->over = true;
    close(p->client.fd);
    close(p->backend.fd);
    p->next_over = pairs_over;
    pairs_over = p;
}

static void keep(struct side *s, const char *bytes, size_t count)
{
    s->kept = malloc(count);
    if (!s->kept) {
        pair_end(s->pair);
        return;
    }
    memcpy(s->kept, bytes, count);
    s->kept_from = 0;
    s->kept_to = count;
}

static void move_on(struct side *from)
{
    static char buffer[BUFFER_BYTES];
    struct side *to = from->other;
    ssize_t got = recv(from->fd, buffer, sizeof(buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == 0) {
        from->ended = true;
        shutdown(to->fd, SHUT_WR);
    }
    if (got < 0 || (got == 0 && to->ended)) {
        pair_end(from->pair);
        return;
    }
    ssize_t sent = got ? send(to->fd, buffer, (size_t)got, MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN) {
        pair_end(from->pair);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done < (size_t)got)
        keep(to, buffer + done, (size_t)got - done);
}

static void give_kept(struct side *s)
{
    ssize_t sent = send(s->fd, s->kept + s->kept_from, s->kept_to - s->kept_from, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            pair_end(s->pair);
        return;
    }
    s->kept_from += (size_t)sent;
    if (s->kept_from == s->kept_to) {
        free(s->kept);
        s->kept = NULL;
    }
}

static void connected(struct side *s)
{
    int err = 0;
    socklen_t bytes = sizeof(err);
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &bytes);
    if (err)
        pair_end(s->pair);
    else
        s->connected = true;
}

static void event(struct side *s)
{
    struct pair *p = s->pair;
    if (!s->connected)
        connected(s);
    else if (s->kept)
        give_kept(s);
    else
        move_on(s);
    if (p->over)
        return;
    watch(s);
    watch(s->other);
}

static void pair_begin(int fd)
{
    int one = 1, up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pair *p = calloc(1, sizeof(*p));
    if (up < 0 || !p) {
        close(fd);
        close(up);
        free(p);
        return;
    }
    setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    p->client = (struct side){.fd = fd, .connected = true, .other = &p->backend, .pair = p};
    p->backend = (struct side){.fd = up, .other = &p->client, .pair = p};
    if (connect(up, (struct sockaddr *)&backend_at, sizeof(backend_at)) && errno != EINPROGRESS)
        pair_end(p);
    else
        watch(&p->backend);
}

static void listener_open(uint16_t port)
{
    int one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = backend_at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); // accepted ones inherit it
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, BACKLOG))
        die("listen");
    watched = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll_ctl(watched, EPOLL_CTL_ADD, listener, &e))
        die("epoll");
}

static void turn(void)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(watched, events, EVENTS, -1), fd;
    for (int i = 0; i < count; i++) {
        struct side *s = events[i].data.ptr;
        if (!s && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
            pair_begin(fd);
        else if (s && !s->pair->over)
            event(s);
    }
    for (struct pair *p; (p = pairs_over);) {
        pairs_over = p->next_over;
        free(p->client.kept);
        free(p->backend.kept);
        free(p);
    }
}

int main(int argc, char **argv)
{
    long port = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    long backend = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (port < 1 || port > 65535 || backend < 1 || backend > 65535) {
        fputs("floor_relay PORT BACKEND_PORT\n", stderr);
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    backend_at.sin_port = htons((uint16_t)backend);
    listener_open((uint16_t)port);
    for (;;)
        turn();
}
