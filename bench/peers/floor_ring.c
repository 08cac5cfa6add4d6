// SPDX-License-Identifier: MIT
// The floor under every disk and ring figure: no-ops or random O_DIRECT reads by hand-written C on bare liburing, with
// no task, no timer and no error policy between the loop and the kernel. Whatever torc adds shows as the distance.
//
// It does all the measuring that torc must do too: each operation's latency goes into a histogram, stamped once when
// its batch is filled and once when it is reaped. The recipe is the cheapest known for one thread: SINGLE_ISSUER with
// DEFER_TASKRUN, a registered ring, file and buffer region, few enters for many operations.
// --plain shows what the registrations buy; nothing is ever written to the target.
//
//   floor_ring nop  [--depth N] [--batch N] [--seconds S]
//   floor_ring read PATH [--depth N] [--batch N] [--block BYTES] [--seconds S] [--plain]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 4096,
    RING_MIN = 128,
    PAGE = 4096,
    FINE_BITS = 6, // 64 buckets to each power of two: a percentile is right to 1/128
    FINE = 1 << FINE_BITS,
    BUCKETS = FINE * (64 - FINE_BITS + 1),
    CLOCK_EVERY = 64, // turns between looks at the clock: at depth 1 a look costs a tenth of a turn
};

struct plan {
    const char *path; // NULL: no-ops
    unsigned depth, batch, block_bytes;
    double seconds;
    bool plain;
};

struct result {
    uint64_t done, failed, ticks;
    uint64_t wall_ns, cpu_ns;
};

struct load {
    struct io_uring ring;
    int fd;
    uint64_t blocks, random;
    uint32_t block_bytes;
    unsigned idle; // how many of idle_slots are free
    // Each slot's SQE is rendered once; a submission copies it and fills in the offset.
    struct io_uring_sqe rendered[DEPTH_MAX];
    uint32_t idle_slots[DEPTH_MAX];
    uint64_t filled_at[DEPTH_MAX];
    uint64_t histogram[BUCKETS];
};

static struct load load;

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("floor_ring: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static inline uint64_t ticks_now(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t t;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(t));
    return t;
#else
#error "floor_ring knows the tick counters of x86-64 and aarch64"
#endif
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline unsigned bucket_of(uint64_t ticks)
{
    if (ticks < FINE)
        return (unsigned)ticks;
    unsigned top = 63u - (unsigned)__builtin_clzll(ticks), shift = top - FINE_BITS;
    return (shift + 1) * FINE + ((unsigned)(ticks >> shift) & (FINE - 1));
}

// The middle of the bucket in which the sample of that rank lies.
static double percentile_ticks(const uint64_t *histogram, uint64_t total, double fraction)
{
    uint64_t rank = (uint64_t)(fraction * (double)total), seen = 0;
    unsigned b = 0;
    while (b < BUCKETS - 1 && (seen += histogram[b]) <= rank)
        b++;
    if (b < FINE)
        return (double)b;
    unsigned shift = b / FINE - 1;
    return ((double)(FINE + b % FINE) + 0.5) * (double)(1ull << shift);
}

static void target_open(const struct plan *plan)
{
    struct stat st;
    uint64_t bytes;
    load.fd = open(plan->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (load.fd < 0 || fstat(load.fd, &st))
        die("%s: %s", plan->path, strerror(errno));
    bytes = (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode) && ioctl(load.fd, BLKGETSIZE64, &bytes))
        die("%s: size: %s", plan->path, strerror(errno));
    load.blocks = bytes / plan->block_bytes;
    if (!load.blocks)
        die("%s: smaller than one block of %u bytes", plan->path, plan->block_bytes);
}

static void ring_open(const struct plan *plan)
{
    struct io_uring_params params = {
        .flags =
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
    };
    // A ring of a few entries has its heads, tails and entries in the same cache lines: 2 % at depth 1.
    unsigned entries = plan->depth < RING_MIN ? RING_MIN : plan->depth;
    int err = io_uring_queue_init_params(entries, &load.ring, &params);
    if (err)
        die("io_uring: %s (Linux 6.1 or newer is needed, and io_uring allowed)", strerror(-err));
    err = io_uring_register_ring_fd(&load.ring);
    if (err != 1)
        die("registering the ring: %s", strerror(-err));
}

static void slots_render(const struct plan *plan)
{
    size_t bytes = (size_t)plan->depth * plan->block_bytes;
    char *region = NULL;
    int err;
    if (plan->path) {
        region = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
        if (!region)
            die("no memory for %zu bytes of buffers", bytes);
        memset(region, 0xa5, bytes); // pages must be there before the clock starts
    }
    if (plan->path && !plan->plain) {
        struct iovec all = {region, bytes};
        if ((err = io_uring_register_buffers(&load.ring, &all, 1)))
            die("registering %zu bytes of buffers: %s (see ulimit -l)", bytes, strerror(-err));
        if ((err = io_uring_register_files(&load.ring, &load.fd, 1)))
            die("registering the file: %s", strerror(-err));
    }
    for (unsigned i = 0; i < plan->depth; i++) {
        struct io_uring_sqe *sqe = &load.rendered[i];
        char *buffer = region + (size_t)i * plan->block_bytes;
        if (!plan->path) {
            io_uring_prep_nop(sqe);
        } else if (plan->plain) {
            io_uring_prep_read(sqe, load.fd, buffer, plan->block_bytes, 0);
        } else {
            io_uring_prep_read_fixed(sqe, 0, buffer, plan->block_bytes, 0, 0);
            sqe->flags |= IOSQE_FIXED_FILE;
        }
        sqe->user_data = i;
        load.idle_slots[load.idle++] = i;
    }
}

static inline uint64_t random_block(void)
{
    // A Weyl sequence through one multiply-and-fold: two multiplications, no division.
    load.random += 0x9e3779b97f4a7c15u;
    unsigned __int128 wide = (unsigned __int128)load.random * 0xd1342543de82ef95u;
    uint64_t mixed = (uint64_t)(wide >> 64) ^ (uint64_t)wide;
    return (uint64_t)(((unsigned __int128)mixed * load.blocks) >> 64);
}

// Turns every idle slot into a queued operation. The ring has room: it is at least as large as the depth.
static inline __attribute__((always_inline)) void fill(bool reads)
{
    uint64_t now = ticks_now();
    while (load.idle) {
        uint32_t slot = load.idle_slots[--load.idle];
        struct io_uring_sqe *sqe = io_uring_get_sqe(&load.ring);
        *sqe = load.rendered[slot];
        if (reads)
            sqe->off = random_block() * load.block_bytes;
        load.filled_at[slot] = now;
    }
}

static inline __attribute__((always_inline)) unsigned reap(bool reads, uint64_t *failed)
{
    struct io_uring_cqe *cqe;
    uint64_t now = ticks_now();
    unsigned head, count = 0;
    io_uring_for_each_cqe(&load.ring, head, cqe)
    {
        uint32_t slot = (uint32_t)cqe->user_data;
        if (reads)
            *failed += cqe->res != (int)load.block_bytes;
        load.histogram[bucket_of(now - load.filled_at[slot])]++;
        load.idle_slots[load.idle++] = slot;
        count++;
    }
    io_uring_cq_advance(&load.ring, count);
    return count;
}

// Compiled once for reads and once for no-ops, so that neither pays for the other's branches.
static inline __attribute__((always_inline)) void turns(const struct plan *plan, struct result *out,
                                                        bool reads)
{
    uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(plan->seconds * 1e9);
    for (unsigned turn = 1; turn % CLOCK_EVERY || clock_ns(CLOCK_MONOTONIC) < end_ns; turn++) {
        fill(reads);
        int err = io_uring_submit_and_wait(&load.ring, plan->batch);
        if (err < 0 && err != -EINTR)
            die("enter: %s", strerror(-err));
        out->done += reap(reads, &out->failed);
    }
}

static struct result run(const struct plan *plan)
{
    struct result r = {0};
    uint64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
             ticks = ticks_now();
    if (plan->path)
        turns(plan, &r, true);
    else
        turns(plan, &r, false);
    r.ticks = ticks_now() - ticks;
    // The scheduler's own nanoseconds, of all threads, kernel workers included.
    r.cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    r.wall_ns = clock_ns(CLOCK_MONOTONIC) - wall;
    return r;
}

static void report(const struct plan *plan, const struct result *r)
{
    double done = (double)r->done, us_per_tick = (double)r->wall_ns / (double)r->ticks / 1e3;
    double rate = done * 1e9 / (double)r->wall_ns;
    if (plan->path) {
        printf("{\"bench\":\"read\",\"runtime\":\"%s\",\"path\":\"",
               plan->plain ? "floor-plain" : "floor");
        for (const char *p = plan->path; *p; p++)
            printf(*p == '"' || *p == '\\' ? "\\%c" : "%c", *p);
        printf("\",\"depth\":%u,\"batch\":%u,\"block\":%u,\"iops\":%.0f", plan->depth, plan->batch,
               plan->block_bytes, rate);
    } else {
        printf("{\"bench\":\"%s\",\"runtime\":\"floor\",\"in_flight\":%u,\"batch\":%u,\"ops_per_"
               "s\":%.0f",
               plan->depth == 1 ? "nop1" : "nop", plan->depth, plan->batch, rate);
    }
    printf(",\"ns\":%.2f,\"cpu_ns\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"failed\":%llu}\n",
           1e9 / rate, (double)r->cpu_ns / done,
           percentile_ticks(load.histogram, r->done, 0.50) * us_per_tick,
           percentile_ticks(load.histogram, r->done, 0.99) * us_per_tick,
           (unsigned long long)r->failed);
}

static double number(const char *option, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die("--%s: %s is no number from %g to %g", option, text, least, most);
    return value;
}

static struct plan plan_parse(int argc, char **argv)
{
    enum { DEPTH = 1, BATCH, BLOCK, SECONDS, PLAIN };
    static const struct option options[] = {
        {"depth", required_argument, NULL, DEPTH}, {"batch", required_argument, NULL, BATCH},
        {"block", required_argument, NULL, BLOCK}, {"seconds", required_argument, NULL, SECONDS},
        {"plain", no_argument, NULL, PLAIN},       {0},
    };
    struct plan p = {.depth = 128, .batch = 32, .block_bytes = 4096, .seconds = 1};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case DEPTH: p.depth = (unsigned)number("depth", optarg, 1, DEPTH_MAX); break;
        case BATCH: p.batch = (unsigned)number("batch", optarg, 1, DEPTH_MAX); break;
        case BLOCK: p.block_bytes = (unsigned)number("block", optarg, 512, 1 << 20); break;
        case SECONDS: p.seconds = number("seconds", optarg, 0.01, 3600); break;
        case PLAIN: p.plain = true; break;
        default: exit(2);
        }
    }
    if (optind == argc - 2 && !strcmp(argv[optind], "read"))
        p.path = argv[optind + 1];
    else if (optind != argc - 1 || strcmp(argv[optind], "nop"))
        die("say `nop` or `read PATH`; options: --depth --batch --block --seconds --plain");
    if (p.batch > p.depth)
        p.batch = p.depth;
    return p;
}

int main(int argc, char **argv)
{
    struct plan plan = plan_parse(argc, argv);
    load.block_bytes = plan.block_bytes;
    load.random = clock_ns(CLOCK_MONOTONIC);
    if (plan.path)
        target_open(&plan);
    ring_open(&plan);
    slots_render(&plan);
    struct result r = run(&plan);
    report(&plan, &r);
    return r.failed != 0;
}
