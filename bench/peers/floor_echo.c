// SPDX-License-Identifier: MIT
// The floor under every echo figure: one thread, hand-written C on bare liburing, by the cheapest recipe that measuring
// found. It looks at what the last turn brought and chooses by that. Needs Linux 6.12.
//
//   receive  multishot into 64 KiB provided buffers. Free ones lie on a stack and the kernel holds about two turns' worth:
//            a ring is first in, first out, and a whole pool of large buffers would walk through the cache.
//   send     many small completions in the turn: a send SQE each that is done or has failed when the submission returns and
//            says something only if it failed. Few, or large ones: send() at once.
//   wait     after many: for about as many again, but hardly longer than for one. After few and small ones: spin a while on
//            user memory, as long as that pays.
//
// One descriptor is one index of `peers`. A peer has one send in flight at a time, or a short one would be overtaken, and
// is not received from while it does not read.
//
//   floor_echo PORT
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    SQ_ENTRIES = 4096,
    CQ_ENTRIES = 32768,
    BUFFERS = 4096,
    BUFFER_BYTES = 65536,
    PEERS = 1 << 20,
    BACKLOG = 4096,
    HELD_LEAST = 8, // buffers in the kernel's hands
    MANY = 8,       // completions that make a turn a large one
    WAIT_MOST = 64, // completions
    WAIT_US = 50,   // longer than for the first one
    LARGE = 4096,   // bytes
    SPIN_NS = 50000,
    REST_MOST = 255, // turns without spinning, after it did not pay
    NONE = -1,
    FEATURE_MIN_WAIT = 1 << 15, // IORING_FEAT_MIN_TIMEOUT is newer than the headers
};

enum kind { ACCEPT = 1, RECEIVE, SEND, WRITABLE, CANCEL };
enum sending { READY, QUEUED, BLOCKED }; // QUEUED: in an SQE; BLOCKED: the peer does not read

struct buffer {
    int next;          // of the same peer
    unsigned from, to; // bytes still to be sent
};

struct peer {
    int first, last; // buffers to be sent
    char sending, receiving, ended;
};

static struct io_uring ring;
static struct io_uring_buf_ring *provided;
static char *memory;
static struct buffer buffers[BUFFERS];
static struct peer peers[PEERS];
static int idle[BUFFERS], idle_count;     // a stack
static int queued[PEERS], queued_count;   // peers with a send in an SQE
static unsigned held, level = HELD_LEAST; // buffers that the kernel has, and is to have
static unsigned peers_open;

static _Noreturn void die(const char *what, int err)
{
    fprintf(stderr, "floor_echo: %s: %s\n", what, strerror(err));
    exit(1);
}

static struct io_uring_sqe *sqe_get(enum kind kind, int op, int fd)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&ring)))
        io_uring_submit(&ring);
    io_uring_prep_rw(op, sqe, fd, NULL, 0, 0);
    sqe->user_data = (uint64_t)kind << 32 | (uint32_t)fd;
    return sqe;
}

// ---- a peer ----

static void buffer_sent(struct peer *p)
{
    idle[idle_count++] = p->first;
    p->first = buffers[p->first].next;
}

static void receive_stop(int fd)
{
    sqe_get(CANCEL, IORING_OP_ASYNC_CANCEL, fd)->addr = (uint64_t)RECEIVE << 32 | (uint32_t)fd;
}

// After anything that may have been the last of a peer's: closes it, or receives again.
static void settle(int fd)
{
    struct peer *p = &peers[fd];
    if (p->sending != READY || p->receiving || p->first != NONE)
        return;
    if (p->ended) {
        close(fd);
        peers_open--;
        return;
    }
    struct io_uring_sqe *sqe = sqe_get(RECEIVE, IORING_OP_RECV, fd);
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    p->receiving = true;
}

// A reset that send() reports may never reach the armed receive, so that is cancelled, not awaited.
static void broken(int fd)
{
    struct peer *p = &peers[fd];
    p->ended = true;
    while (p->first != NONE)
        buffer_sent(p);
    receive_stop(fd);
}

static void blocked(int fd)
{
    peers[fd].sending = BLOCKED;
    sqe_get(WRITABLE, IORING_OP_POLL_ADD, fd)->poll32_events = POLLOUT;
    receive_stop(fd);
}

static void send_now(int fd)
{
    for (struct peer *p = &peers[fd]; p->first != NONE;) {
        struct buffer *b = &buffers[p->first];
        const char *start = memory + (size_t)p->first * BUFFER_BYTES + b->from;
        ssize_t n = send(fd, start, b->to - b->from, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            (errno == EAGAIN ? blocked : broken)(fd);
            return;
        }
        b->from += (unsigned)n;
        if (b->from == b->to)
            buffer_sent(p);
    }
}

static void send_queue(int fd)
{
    struct peer *p = &peers[fd];
    struct buffer *b = &buffers[p->first];
    struct io_uring_sqe *sqe = sqe_get(SEND, IORING_OP_SEND, fd);
    sqe->addr = (uintptr_t)(memory + (size_t)p->first * BUFFER_BYTES + b->from);
    sqe->len = b->to - b->from;
    sqe->msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    p->sending = QUEUED;
    queued[queued_count++] = fd;
}

// The first COUNT queued sends were submitted and every completion was seen: those that left none are done.
static void sends_done(int count)
{
    for (int i = 0; i < count; i++)
        if (peers[queued[i]].sending == QUEUED) {
            buffer_sent(&peers[queued[i]]);
            peers[queued[i]].sending = READY;
        }
    for (int i = 0; i < count; i++) {
        int fd = queued[i];
        if (peers[fd].sending == READY && peers[fd].first != NONE)
            send_queue(fd);
        else
            settle(fd);
    }
    queued_count -= count;
    memmove(queued, queued + count, (size_t)queued_count * sizeof(*queued));
}

// ---- completions ----

static void received(int fd, const struct io_uring_cqe *cqe, bool many)
{
    struct peer *p = &peers[fd];
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        int b = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        held--;
        if (cqe->res > 0 && !p->ended) {
            buffers[b] = (struct buffer){.next = NONE, .to = (unsigned)cqe->res};
            if (p->first == NONE)
                p->first = b;
            else
                buffers[p->last].next = b;
            p->last = b;
        } else {
            idle[idle_count++] = b;
        }
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        p->receiving = false;
    if (cqe->res == -ENOBUFS)
        level += HELD_LEAST; // doubled it would overflow: every peer says so at once
    else if (cqe->res <= 0 && cqe->res != -ECANCELED)
        p->ended = true;
    if (p->sending == READY && p->first != NONE)
        (many && cqe->res <= LARGE ? send_queue : send_now)(fd);
    settle(fd);
}

static void accept_arm(int listener)
{
    sqe_get(ACCEPT, IORING_OP_ACCEPT, listener)->ioprio = IORING_ACCEPT_MULTISHOT;
}

static void completed(const struct io_uring_cqe *cqe, bool many)
{
    int fd = (int)(uint32_t)cqe->user_data;
    struct peer *p = &peers[fd];
    switch ((enum kind)(cqe->user_data >> 32)) {
    case ACCEPT:
        if (cqe->res >= 0) {
            peers_open++;
            peers[cqe->res] = (struct peer){.first = NONE};
            settle(cqe->res);
        }
        if (!(cqe->flags & IORING_CQE_F_MORE))
            accept_arm(fd);
        break;
    case RECEIVE: received(fd, cqe, many); break;
    case SEND: // a queued send that failed or fell short
        p->sending = READY;
        if (cqe->res > 0)
            buffers[p->first].from += (unsigned)cqe->res;
        (cqe->res > 0 || cqe->res == -EAGAIN ? blocked : broken)(fd);
        break;
    case WRITABLE:
        p->sending = READY;
        send_now(fd);
        settle(fd);
        break;
    case CANCEL: // misses a receive that is running at this moment
        if (cqe->res < 0 && p->receiving && (p->ended || p->sending == BLOCKED))
            receive_stop(fd);
        break;
    }
}

// ---- a turn ----

// Tops the kernel's buffers up to the level: twice what a turn uses, looked at again now and then.
static void provide(unsigned last)
{
    static unsigned peak, turns;
    int added = 0;
    if (last > peak)
        peak = last;
    if (++turns % 256 == 0) {
        level = HELD_LEAST + 2 * peak;
        peak = 0;
    }
    if (level < 2 * last)
        level = 2 * last;
    if (level > BUFFERS)
        level = BUFFERS;
    for (; held < level && idle_count; held++, added++) {
        int b = idle[--idle_count];
        io_uring_buf_ring_add(provided, memory + (size_t)b * BUFFER_BYTES, BUFFER_BYTES,
                              (unsigned short)b, BUFFERS - 1, added);
    }
    io_uring_buf_ring_advance(provided, added);
}

static bool something(void)
{
    return io_uring_cq_ready(&ring) || __atomic_load_n(ring.sq.kflags, __ATOMIC_RELAXED) &
                                           (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static void spin(void)
{
    static unsigned rest, next_rest;
    if (rest) {
        rest--;
        return;
    }
    for (int64_t end = now_ns() + SPIN_NS; !something() && now_ns() < end;)
        for (int i = 0; i < 16 && !something(); i++)
            relax();
    next_rest = something() ? 0 : next_rest * 2 + 1 < REST_MOST ? next_rest * 2 + 1 : REST_MOST;
    rest = next_rest;
}

// COUNT completions, or as many as there are WAIT_US after the first could have been reaped.
static void wait_for(unsigned count)
{
    struct {
        uint64_t sigmask;
        uint32_t sigmask_bytes, min_wait_us;
        uint64_t timeout;
    } arg = {.sigmask_bytes = 8, .min_wait_us = WAIT_US}; // struct io_uring_getevents_arg of 6.12
    io_uring_enter2((unsigned)ring.enter_ring_fd, 0, count,
                    IORING_ENTER_REGISTERED_RING | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                    (void *)&arg, sizeof(arg));
}

// LAST: completions of the turn before; LARGEST: bytes of its largest receive.
static void turn_wait(unsigned last, int largest)
{
    // To wait for all would idle the peers meanwhile, so for half at most; and where far fewer came than were waited for,
    // for no more than came, until the 64th turn tries again.
    static unsigned wanted, most = WAIT_MOST, turns;
    most = last < wanted / 2 ? last : ++turns % 64 ? most : WAIT_MOST;
    wanted = 0;
    if (last >= MANY && peers_open / 2 >= MANY) {
        wanted = last + last / 8 < most ? last + last / 8 : most;
        if (wanted > peers_open / 2)
            wanted = peers_open / 2;
        io_uring_submit(&ring);
        wait_for(wanted);
        return;
    }
    if (last && largest <= LARGE && !something()) {
        io_uring_submit(&ring);
        spin();
    }
    io_uring_submit_and_wait(&ring, 1);
}

static unsigned turn_reap(int *largest)
{
    unsigned head = *ring.cq.khead, count = io_uring_cq_ready(&ring);
    *largest = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct io_uring_cqe *cqe = &ring.cq.cqes[(head + i) & *ring.cq.kring_mask];
        if (cqe->user_data >> 32 == RECEIVE && cqe->res > *largest)
            *largest = cqe->res;
        completed(cqe, count >= MANY);
    }
    io_uring_cq_advance(&ring, count);
    return count;
}

// ---- set-up ----

static int listener_open(uint16_t port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); // accepted ones inherit it
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, BACKLOG))
        die("listen", errno);
    return fd;
}

static void ring_open(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CQSIZE,
        .cq_entries = CQ_ENTRIES,
    };
    int err = io_uring_queue_init_params(SQ_ENTRIES, &ring, &params);
    if (err)
        die("io_uring", -err);
    if (!(params.features & FEATURE_MIN_WAIT))
        die("io_uring (Linux 6.12 is needed)", ENOSYS);
    err = io_uring_register_ring_fd(&ring);
    if (err != 1)
        die("registering the ring", -err);
    size_t pool = (size_t)BUFFERS * BUFFER_BYTES;
    memory = mmap(NULL, pool + BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                  MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED)
        die("buffers", errno);
    provided = (struct io_uring_buf_ring *)(memory + pool);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)provided, .ring_entries = BUFFERS};
    err = io_uring_register_buf_ring(&ring, &reg, 0);
    if (err)
        die("registering the buffers", -err);
    while (idle_count < BUFFERS) {
        idle[idle_count] = idle_count;
        idle_count++;
    }
}

int main(int argc, char **argv)
{
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fputs("floor_echo PORT\n", stderr);
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < PEERS ? limit.rlim_max : PEERS;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listener_open((uint16_t)port), largest = 0;
    ring_open();
    accept_arm(listener);
    for (unsigned last = 0;;) {
        int submitted =
            queued_count; // those queued while completions are reaped belong to the next turn
        provide(last);
        turn_wait(last, largest);
        while (io_uring_sq_ready(&ring))
            io_uring_submit(&ring);
        last = turn_reap(&largest);
        sends_done(submitted);
    }
}
