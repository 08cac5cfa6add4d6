// SPDX-License-Identifier: MIT
// Asks a server that answers each request, over many connections, and prints one JSON line: rate, latencies, errors, and
// with --pid the server's CPU time for each request, read when the measured window opens and when it closes.
//
// Closed loop: each connection keeps --depth requests in flight. Open loop (--rate): requests fall due on a clock, and their
// latency counts from then, whether or not a connection was free: a server that stalls pays for all who waited meanwhile.
// What has no answer a second after the window closed is reckoned at its age then, not left out.
//
// Every connection is opened with one request and its answer, so what is counted as open has been accepted, whatever the
// backlog. Towards 127.0.0.0/8 they come from 200 source addresses in turn, for 50,000 of them need more ports than one has,
// as do those that --renew closes.
//
//   load --to tcp://127.0.0.1:PORT|tcp://[::1]:PORT|udp://HOST:PORT|unix:PATH|unix:@NAME
//        [--connections N] [--message BYTES | --request TEXT] [--reply BYTES] [--depth N] [--seconds S] [--warm S]
//        [--rate N] [--renew N] [--idle N] [--settle S] [--pid PID] [--check]
//   --renew N    closes a connection after N answers and opens another
//   --idle N     opens as many that then stay silent; with --pid also prints what memory each holds in the server
//   --check      compares each answer with its request
// Exit code: 0; 1 when something failed; 2 for wrong arguments.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 1024,
    MESSAGE_MAX = 1 << 20,
    CONNECTIONS_MAX = 1000000,
    GREET_AT_ONCE = 64,
    SOURCES = 200, // 127.0.0.2 and on
    SPARE_DESCRIPTORS = 64,
    EVENTS = 256,
    SEND_BYTES = 1 << 16, // at most this, or one message
    INPUT_BYTES = 1 << 18,
    PATIENCE_SECONDS = 5, // to connect, and for the first answer
    FINE_BITS = 6,        // 64 buckets to each power of two
    FINE = 1 << FINE_BITS,
    BUCKETS = FINE * (64 - FINE_BITS + 1),
};

static const uint64_t second_ns = 1000000000, lost_after_ns = 200000000;

struct connection {
    int fd; // -1: broken
    bool write_watched;
    uint32_t asked, answered;            // requests so far, those owed included; answers so far
    uint32_t owed;                       // not yet, or not wholly, handed to the socket
    uint32_t request_bytes, reply_bytes; // of the request and the answer that are under way
    uint64_t *due_ns;                    // of requests [answered, asked), a ring of due_slots
};

static struct {
    struct sockaddr_storage to;
    socklen_t to_bytes;
    int family, type;
    size_t connections, idle, message_bytes, reply_bytes, depth, renew;
    double seconds, warm, rate, settle;
    pid_t pid;
    bool check, sources;
} plan = {
    .connections = 1, .message_bytes = 64, .depth = 1, .seconds = 1, .warm = 0.2, .settle = 1};

static char *requests; // the request again and again
static size_t requests_bytes;
static char input[INPUT_BYTES];
static struct connection *connections;
static size_t due_slots, live;
static unsigned long dialled;
static int watched; // the epoll

static struct {
    uint64_t from_ns, end_ns, opened_ns, closed_ns; // planned, and as it came
    uint64_t cpu_before_ns, cpu_after_ns;
} window;

static struct {
    uint64_t histogram[BUCKETS];
    uint64_t recorded, requests, errors, lost, unanswered;
    uint64_t due, issued_due; // open loop: due within the window so far, answered of these
    long idle_bytes;
} tally;

static _Noreturn __attribute__((format(printf, 2, 3))) void die(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * second_ns + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static void pause_seconds(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

// ---- the server's CPU time and memory ----

// Of all its threads, the kernel's workers for it and those that have ended included.
static uint64_t server_cpu_ns(void)
{
    clockid_t clock;
    if (!plan.pid)
        return 0;
    if (clock_getcpuclockid(plan.pid, &clock))
        die(1, "there is no process %d", (int)plan.pid);
    return clock_ns(clock);
}

// What /proc/PID/statm says is rounded by per-CPU counters; this is counted.
static long server_resident_bytes(void)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)plan.pid);
    FILE *f = fopen(path, "r");
    if (!f)
        die(1, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), f))
        if (!strncmp(line, "Rss:", 4))
            kib = strtol(line + 4, NULL, 10);
    fclose(f);
    return kib * 1024;
}

// ---- latencies ----

static void record(uint64_t ns)
{
    unsigned bucket = (unsigned)ns;
    if (ns >= FINE) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - FINE_BITS;
        bucket = (shift + 1) * FINE + ((unsigned)(ns >> shift) & (FINE - 1));
    }
    tally.histogram[bucket]++;
    tally.recorded++;
}

// The middle of the bucket in which the sample of that rank lies.
static double percentile_us(double fraction)
{
    uint64_t rank = (uint64_t)(fraction * (double)tally.recorded), seen = 0;
    unsigned b = 0;
    while (b < BUCKETS - 1 && (seen += tally.histogram[b]) <= rank)
        b++;
    if (b < FINE)
        return tally.recorded ? b / 1e3 : 0;
    return ((double)(FINE + b % FINE) + 0.5) * (double)(1ull << (b / FINE - 1)) / 1e3;
}

// ---- connections ----

static int dial(void)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int one = 1, fd = socket(plan.family, plan.type | SOCK_CLOEXEC, 0);
    unsigned long number = dialled++;
    if (fd < 0)
        die(1, "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)); // bounds connect() too
    if (plan.sources) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(number % SOURCES));
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
            die(1, "bind: %s", strerror(errno));
    }
    // A blocking connect over loopback does not sleep and needs no second look, unlike EINPROGRESS.
    if (connect(fd, (struct sockaddr *)&plan.to, plan.to_bytes))
        die(1, "connect: connection %lu: %s", number + 1,
            strerror(errno == EINPROGRESS ? ETIMEDOUT : errno));
    if (plan.family != AF_UNIX && plan.type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void greet_await(int fd)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_SECONDS}, none = {0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    for (size_t got = 0; got < plan.reply_bytes;) {
        ssize_t n =
            recv(fd, input,
                 plan.reply_bytes - got < INPUT_BYTES ? plan.reply_bytes - got : INPUT_BYTES, 0);
        if (n <= 0)
            die(1, "a new connection was %s",
                n == 0            ? "closed without an answer"
                : errno == EAGAIN ? "not answered"
                                  : strerror(errno));
        got += (size_t)n;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
}

// Opens COUNT connections, a few at a time, and sees each of them answer once.
static void greet(int *fds, size_t count)
{
    for (size_t first = 0, end; first < count; first = end) {
        end = count - first < GREET_AT_ONCE ? count : first + GREET_AT_ONCE;
        for (size_t i = first; i < end; i++) {
            fds[i] = dial();
            if (send(fds[i], requests, plan.message_bytes, MSG_NOSIGNAL) !=
                (ssize_t)plan.message_bytes)
                die(1, "a new connection does not take a message");
        }
        for (size_t i = first; i < end; i++)
            greet_await(fds[i]);
    }
}

// In a child: opens its share and keeps it until the parent has ended.
static _Noreturn void hold(size_t count, int ready, int parent)
{
    char byte = 0;
    int *fds = calloc(count, sizeof(*fds));
    if (!fds)
        die(1, "no memory");
    greet(fds, count);
    if (write(ready, &byte, 1) == 1)
        byte = (char)read(parent, &byte, 1);
    _exit(0);
}

// One process may not have that many descriptors, so children hold what stays silent. One after the other, so that no more
// than GREET_AT_ONCE wait to be accepted.
static void hold_idle(void)
{
    struct rlimit limit;
    int parent[2], ready[2];
    getrlimit(RLIMIT_NOFILE, &limit);
    size_t share = (size_t)limit.rlim_cur - SPARE_DESCRIPTORS;
    if (pipe2(parent, O_CLOEXEC))
        die(1, "pipe: %s", strerror(errno));
    for (size_t held = 0, count; held < plan.idle; held += count) {
        char byte;
        count = plan.idle - held < share ? plan.idle - held : share;
        pid_t child = pipe2(ready, O_CLOEXEC) ? -errno : fork();
        if (child < 0)
            die(1, "no process for idle connections");
        if (child == 0) {
            close(parent[1]);
            hold(count, ready[1], parent[0]);
        }
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1)
            exit(1); // the child has said why
        close(ready[0]);
        dialled += count;
    }
    close(parent[0]); // the other end stays open until this process ends
}

static void open_idle(void)
{
    long before = 0;
    if (plan.pid) { // what the server allocates once, for its first connection, is no part of it
        int first;
        greet(&first, 1);
        close(first);
        pause_seconds(plan.settle);
        before = server_resident_bytes();
    }
    hold_idle();
    if (plan.pid) {
        pause_seconds(plan.settle);
        tally.idle_bytes = (server_resident_bytes() - before) / (long)plan.idle;
    }
}

static void watch(struct connection *c, bool write, int how)
{
    struct epoll_event e = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(watched, how, c->fd, &e))
        die(1, "epoll: %s", strerror(errno));
    c->write_watched = write;
}

static void open_connections(void)
{
    int *fds = calloc(plan.connections, sizeof(*fds));
    for (due_slots = 1; due_slots < plan.depth; due_slots *= 2)
        ;
    uint64_t *due = calloc(plan.connections * due_slots, sizeof(*due));
    connections = calloc(plan.connections, sizeof(*connections));
    watched = epoll_create1(EPOLL_CLOEXEC);
    if (!fds || !due || !connections || watched < 0)
        die(1, "no memory for %zu connections", plan.connections);
    greet(fds, plan.connections);
    for (size_t i = 0; i < plan.connections; i++) {
        connections[i] = (struct connection){.fd = fds[i], .due_ns = due + i * due_slots};
        watch(&connections[i], false, EPOLL_CTL_ADD);
    }
    live = plan.connections;
    free(fds);
}

static void broken(struct connection *c)
{
    tally.errors++;
    close(c->fd);
    c->fd = -1;
    live--;
}

// ---- asking ----

// Hands what is owed to the socket, as far as that takes it.
static void push(struct connection *c)
{
    while (c->owed) {
        size_t bytes = c->owed * plan.message_bytes - c->request_bytes;
        if (bytes > requests_bytes - c->request_bytes)
            bytes = requests_bytes - c->request_bytes;
        ssize_t n = send(c->fd, requests + c->request_bytes, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            broken(c);
            return;
        }
        size_t done = c->request_bytes + (size_t)n;
        c->owed -= (uint32_t)(done / plan.message_bytes);
        c->request_bytes = (uint32_t)(done % plan.message_bytes);
    }
    if (c->write_watched != (c->owed > 0))
        watch(c, c->owed > 0, EPOLL_CTL_MOD);
}

static bool measured(uint64_t due_ns)
{
    return due_ns >= window.from_ns && due_ns < window.end_ns;
}

static void owe(struct connection *c, uint64_t due_ns, size_t count)
{
    if (plan.renew && count > plan.renew - c->asked)
        count = plan.renew - c->asked;
    for (size_t i = 0; i < count; i++)
        c->due_ns[c->asked++ & (due_slots - 1)] = due_ns;
    c->owed += (uint32_t)count;
    if (plan.rate > 0 && measured(due_ns))
        tally.due += count;
}

static void renew(struct connection *c)
{
    close(c->fd); // which takes it from the epoll
    *c = (struct connection){.fd = dial(), .due_ns = c->due_ns};
    watch(c, false, EPOLL_CTL_ADD);
}

static void answered(struct connection *c, uint64_t now)
{
    uint64_t due = c->due_ns[c->answered++ & (due_slots - 1)];
    if (plan.rate > 0 ? !measured(due) : !window.opened_ns)
        return;
    tally.issued_due++;
    tally.requests++;
    record(now - due);
}

static void compare(const struct connection *c, size_t bytes)
{
    size_t at = c->reply_bytes;
    for (size_t i = 0, n; i < bytes; i += n, at = (at + n) % plan.message_bytes) {
        n = bytes - i < requests_bytes - at ? bytes - i : requests_bytes - at;
        if (memcmp(input + i, requests + at, n) != 0)
            die(1, "an answer differs from its request");
    }
}

static void readable(struct connection *c)
{
    ssize_t n = recv(c->fd, input, INPUT_BYTES, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    size_t waiting = (size_t)(c->asked - c->answered) * plan.reply_bytes;
    if (plan.type == SOCK_DGRAM && !waiting)
        return;                                           // late, and given up by resend_lost()
    if (n <= 0 || c->reply_bytes + (size_t)n > waiting) { // ended, or more than was asked for
        broken(c);
        return;
    }
    if (plan.check)
        compare(c, (size_t)n);
    uint64_t now = now_ns();
    size_t bytes = c->reply_bytes + (size_t)n, count = 0;
    for (; bytes >= plan.reply_bytes; bytes -= plan.reply_bytes, count++)
        answered(c, now);
    c->reply_bytes = (uint32_t)bytes;
    if (plan.renew && c->answered == plan.renew) {
        renew(c);
        count = plan.depth;
    }
    if (count && plan.rate <= 0) {
        owe(c, now, count);
        push(c);
    }
}

// Open loop: gives what is due by NOW to connections in turn; what finds none free stays due. Returns when the next is.
static uint64_t issue(double *next_due, uint64_t now)
{
    static size_t turn;
    double gap_ns = 1e9 / plan.rate;
    while (*next_due <= (double)now) {
        size_t tries = 0;
        struct connection *c;
        do
            c = &connections[turn++ % plan.connections];
        while ((c->fd < 0 || c->asked - c->answered >= plan.depth ||
                (plan.renew && c->asked >= plan.renew)) &&
               ++tries < plan.connections);
        if (tries == plan.connections)
            return now + second_ns; // an answer comes first
        owe(c, (uint64_t)*next_due, 1);
        *next_due += gap_ns;
        push(c);
    }
    return (uint64_t)*next_due;
}

// A datagram whose answer does not come is asked again.
static void resend_lost(uint64_t now)
{
    for (size_t i = 0; i < plan.connections; i++) {
        struct connection *c = &connections[i];
        uint32_t missing = c->asked - c->answered;
        if (!missing || c->fd < 0 || now - c->due_ns[c->answered & (due_slots - 1)] < lost_after_ns)
            continue;
        tally.lost += missing;
        c->answered = c->asked;
        c->owed = 0;
        if (plan.rate <= 0) {
            owe(c, now, missing);
            push(c);
        }
    }
}

static void wait_and_serve(uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), wait_ns = until_ns > now ? until_ns - now : 0;
    struct timespec t = {.tv_sec = (time_t)(wait_ns / second_ns),
                         .tv_nsec = (long)(wait_ns % second_ns)};
    int n = epoll_pwait2(watched, events, EVENTS, &t, NULL);
    if (n < 0 && errno != EINTR)
        die(1, "epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT && c->fd >= 0)
            push(c);
        if (events[i].events & ~(unsigned)EPOLLOUT && c->fd >= 0)
            readable(c);
    }
}

// What never had an answer counts with the age that it has reached.
static void reckon_unanswered(double next_due, uint64_t now)
{
    for (; next_due < (double)window.end_ns; next_due += 1e9 / plan.rate, tally.unanswered++)
        record(now - (uint64_t)next_due);
    for (size_t i = 0; i < plan.connections; i++)
        for (uint32_t k = connections[i].answered; k != connections[i].asked; k++) {
            uint64_t due = connections[i].due_ns[k & (due_slots - 1)];
            if (!measured(due))
                continue;
            record(now - due);
            tally.unanswered++;
        }
}

static void run(void)
{
    uint64_t start = now_ns(), now = start, tended = start;
    double next_due = (double)start;
    window.from_ns = start + (uint64_t)(plan.warm * 1e9);
    window.end_ns = window.from_ns + (uint64_t)(plan.seconds * 1e9);
    for (size_t i = 0; plan.rate <= 0 && i < plan.connections; i++) {
        owe(&connections[i], start, plan.depth);
        push(&connections[i]);
    }
    for (; live && now < window.end_ns; now = now_ns()) {
        if (!window.opened_ns && now >= window.from_ns) {
            window.cpu_before_ns = server_cpu_ns();
            window.opened_ns = now_ns();
        }
        uint64_t until = window.opened_ns ? window.end_ns : window.from_ns;
        if (plan.rate > 0) {
            uint64_t next = issue(&next_due, now);
            until = next < until ? next : until;
        }
        if (plan.type == SOCK_DGRAM) {
            until = until < now + lost_after_ns ? until : now + lost_after_ns;
            if (now - tended > lost_after_ns)
                resend_lost(tended = now);
        }
        wait_and_serve(until);
    }
    window.cpu_after_ns = server_cpu_ns();
    window.closed_ns = now_ns();
    if (plan.rate <= 0)
        return;
    uint64_t give_up = window.end_ns + second_ns;
    for (; live && now < give_up &&
           (next_due < (double)window.end_ns || tally.issued_due < tally.due);
         now = now_ns()) {
        issue(&next_due, window.end_ns - 1);
        wait_and_serve(give_up);
    }
    reckon_unanswered(next_due, now);
}

static void report(void)
{
    double took_ns = (double)(window.closed_ns - window.opened_ns), count = (double)tally.requests;
    printf("{\"requests\":%llu,\"errors\":%llu", (unsigned long long)tally.requests,
           (unsigned long long)tally.errors);
    if (plan.connections && tally.requests) {
        printf(
            ",\"ops_per_s\":%.0f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f",
            count * 1e9 / took_ns, percentile_us(0.5), percentile_us(0.9), percentile_us(0.99),
            percentile_us(0.999));
        if (plan.pid)
            printf(",\"cpu_ns\":%.1f",
                   (double)(window.cpu_after_ns - window.cpu_before_ns) / count);
    }
    if (plan.rate > 0)
        printf(",\"unanswered\":%llu", (unsigned long long)tally.unanswered);
    if (plan.type == SOCK_DGRAM)
        printf(",\"lost\":%llu", (unsigned long long)tally.lost);
    if (plan.idle && plan.pid)
        printf(",\"idle_bytes\":%ld", tally.idle_bytes);
    puts("}");
}

// ---- arguments ----

static double number(const char *option, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die(2, "--%s: %s is no number from %g to %g", option, text, least, most);
    return value;
}

static void to_unix(const char *path)
{
    struct sockaddr_un *to = (struct sockaddr_un *)&plan.to;
    size_t length = strlen(path);
    if (!length || length >= sizeof(to->sun_path))
        die(2, "--to: the path of a Unix socket has 1 to %zu bytes", sizeof(to->sun_path) - 1);
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, path, length);
    if (*path == '@')
        to->sun_path[0] = '\0';
    plan.family = AF_UNIX;
    plan.type = SOCK_STREAM;
    plan.to_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*path != '@'));
}

static void to_inet(const char *text, const char *whole)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    bool bracketed = *text == '[' && colon && colon[-1] == ']';
    size_t length = colon ? (size_t)(colon - text) - (bracketed ? 2 : 0) : sizeof(host);
    if (length >= sizeof(host))
        die(2, "--to: %s is no tcp://HOST:PORT, udp://HOST:PORT or unix:PATH", whole);
    memcpy(host, text + bracketed, length);
    host[length] = '\0';
    uint16_t port = htons((uint16_t)number("to", colon + 1, 1, 65535));
    struct sockaddr_in *v4 = (struct sockaddr_in *)&plan.to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&plan.to;
    if (!bracketed && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        plan.to_bytes = sizeof(*v4);
        plan.sources = ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    } else if (bracketed && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        plan.to_bytes = sizeof(*v6);
    } else {
        die(2, "--to: %s: the host must be a numeric address", whole);
    }
    plan.family = plan.to.ss_family;
}

static void to_parse(const char *text)
{
    if (!strncmp(text, "unix:", 5)) {
        to_unix(text + 5);
        return;
    }
    plan.type = !strncmp(text, "udp://", 6) ? SOCK_DGRAM : SOCK_STREAM;
    if (plan.type == SOCK_STREAM && strncmp(text, "tcp://", 6) != 0)
        die(2, "--to: %s is no tcp://HOST:PORT, udp://HOST:PORT or unix:PATH", text);
    to_inet(text + 6, text);
}

// Fills `requests`, as many as one send may carry. A datagram is one request.
static void requests_make(const char *text)
{
    char *one = malloc(text ? strlen(text) + 1 : plan.message_bytes);
    size_t bytes = 0;
    if (!one)
        die(1, "no memory");
    for (const char *s = text; s && *s; s++) {
        bool escaped = *s == '\\' && (s[1] == 'r' || s[1] == 'n');
        s += escaped;
        one[bytes++] = !escaped ? *s : *s == 'r' ? '\r' : '\n';
    }
    if (!text)
        for (; bytes < plan.message_bytes; bytes++)
            one[bytes] = (char)('a' + (bytes + bytes / 26) % 26);
    if (!bytes)
        die(2, "--request: is empty");
    plan.message_bytes = bytes;
    size_t copies = plan.type == SOCK_DGRAM || bytes >= SEND_BYTES ? 1 : SEND_BYTES / bytes;
    requests_bytes = copies * bytes;
    requests = malloc(requests_bytes);
    if (!requests)
        die(1, "no memory");
    for (size_t i = 0; i < copies; i++)
        memcpy(requests + i * bytes, one, bytes);
    free(one);
}

static void arguments(int argc, char **argv)
{
    enum {
        TO = 1,
        CONNECTIONS,
        MESSAGE,
        REQUEST,
        REPLY,
        DEPTH,
        SECONDS,
        WARM,
        RATE,
        RENEW,
        IDLE,
        SETTLE,
        PID,
        CHECK
    };
    static const struct option options[] = {
        {"to", 1, NULL, TO},
        {"connections", 1, NULL, CONNECTIONS},
        {"message", 1, NULL, MESSAGE},
        {"request", 1, NULL, REQUEST},
        {"reply", 1, NULL, REPLY},
        {"depth", 1, NULL, DEPTH},
        {"seconds", 1, NULL, SECONDS},
        {"warm", 1, NULL, WARM},
        {"rate", 1, NULL, RATE},
        {"renew", 1, NULL, RENEW},
        {"idle", 1, NULL, IDLE},
        {"settle", 1, NULL, SETTLE},
        {"pid", 1, NULL, PID},
        {"check", 0, NULL, CHECK},
        {0},
    };
    const char *text = NULL;
    for (int o, at = 0; (o = getopt_long(argc, argv, "", options, &at)) != -1;) {
        const char *name = o == '?' ? "" : options[at].name;
        switch (o) {
        case TO: to_parse(optarg); break;
        case CONNECTIONS:
            plan.connections = (size_t)number(name, optarg, 0, CONNECTIONS_MAX);
            break;
        case MESSAGE: plan.message_bytes = (size_t)number(name, optarg, 1, MESSAGE_MAX); break;
        case REQUEST: text = optarg; break;
        case REPLY: plan.reply_bytes = (size_t)number(name, optarg, 1, MESSAGE_MAX); break;
        case DEPTH: plan.depth = (size_t)number(name, optarg, 1, DEPTH_MAX); break;
        case SECONDS: plan.seconds = number(name, optarg, 0.01, 3600); break;
        case WARM: plan.warm = number(name, optarg, 0, 3600); break;
        case RATE: plan.rate = number(name, optarg, 1, 1e8); break;
        case RENEW: plan.renew = (size_t)number(name, optarg, 1, 1e9); break;
        case IDLE: plan.idle = (size_t)number(name, optarg, 0, CONNECTIONS_MAX); break;
        case SETTLE: plan.settle = number(name, optarg, 0, 3600); break;
        case PID: plan.pid = (pid_t)number(name, optarg, 1, 1 << 30); break;
        case CHECK: plan.check = true; break;
        default: exit(2);
        }
    }
    if (optind != argc || !plan.to_bytes)
        die(2, "say --to ADDRESS, and options only");
    if (!plan.connections && !plan.idle)
        die(2, "no connections: nothing to do");
    requests_make(text);
    if (!plan.reply_bytes)
        plan.reply_bytes = plan.message_bytes;
    if (plan.check && plan.reply_bytes != plan.message_bytes)
        die(2, "--check: the answer is as long as the request");
}

// As many as may be, and at least those that are needed, which only root may raise the limit for.
static void descriptors_allow(size_t needed)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < needed)
        limit.rlim_max = needed;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        die(1, "%zu descriptors are needed: ulimit -n allows fewer", needed);
}

int main(int argc, char **argv)
{
    arguments(argc, argv);
    descriptors_allow(plan.connections + SPARE_DESCRIPTORS);
    prctl(PR_SET_TIMERSLACK, 1L); // or each sleep of the open loop ends 50 us late
    if (plan.idle)
        open_idle();
    if (plan.connections) {
        open_connections();
        run();
    }
    report();
    return tally.errors || (plan.connections && !tally.requests);
}
