/* SPDX-License-Identifier: MIT
 *
 * The production kernel: Linux by its system calls. This file is the table, the ring, memory and the clock; threads and
 * signals are in kernel_linux_thread.c, names for addresses in kernel_linux_symbols.c. It holds no state of an executor
 * and keeps none of the caller's memory. Every function may be called on any thread.
 */
#include "io/kernel_linux_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "io/clock_internal.h"
#include "io/kernel_internal.h"

/* Linux 6.13; Debian 12's headers end at 6.1. */
enum { GUARD_INSTALL = 102 };

static long result_of(long returned)
{
    return returned < 0 ? -errno : returned;
}

static int linux_ring_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    (void)context;
    return (int)result_of(syscall(SYS_io_uring_setup, entries, params));
}

static int linux_ring_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                            unsigned flags, const void *arg, size_t arg_size)
{
    (void)context;
    return (int)result_of(
        syscall(SYS_io_uring_enter, ring, to_submit, min_complete, flags, arg, arg_size));
}

static int linux_ring_register(void *context, int ring, unsigned opcode, void *arg, unsigned count)
{
    (void)context;
    return (int)result_of(syscall(SYS_io_uring_register, ring, opcode, arg, count));
}

static void *linux_ring_map(void *context, int ring, uint64_t offset, size_t size_bytes)
{
    (void)context;
    /* POPULATE: the loop must not take its first page faults between two completions. */
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
                        (off_t)offset);
    return memory == MAP_FAILED ? NULL : memory;
}

static void *linux_alloc(void *context, size_t size_bytes)
{
    (void)context;
    return calloc(1, size_bytes);
}

static void linux_free(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    (void)size_bytes;
    free(memory);
}

void *torci_linux_map(void *context, size_t size_bytes)
{
    (void)context;
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    /* A parked task's stack is to cost the one page that it has touched, not the 2 MiB around it. It fails where the
     * kernel has no huge pages, which is as good. */
    (void)madvise(memory, size_bytes, MADV_NOHUGEPAGE);
    return memory;
}

void torci_linux_unmap(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    (void)munmap(memory, size_bytes);
}

int torci_linux_guard(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    static bool refused; /* by this kernel, once and for all */
    /* Guard markers live in the page tables; mprotect splits the mapping instead, and a process has 65,530 of those.
     * RELAXED, with the store below: at worst another thread asks the kernel once more. */
    if (!__atomic_load_n(&refused, __ATOMIC_RELAXED)) {
        if (!madvise(memory, size_bytes, GUARD_INSTALL))
            return 0;
        if (errno != EINVAL)
            return -errno;
        __atomic_store_n(&refused, true, __ATOMIC_RELAXED);
    }
    return (int)result_of(mprotect(memory, size_bytes, PROT_NONE));
}

static void *linux_reserve(void *context, size_t size_bytes)
{
    (void)context;
    /* PROT_NONE is not charged, even where vm.overcommit_memory=2 charges all that could be written to. */
    void *memory =
        mmap(NULL, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int linux_commit(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    return (int)result_of(mprotect(memory, size_bytes, PROT_READ | PROT_WRITE));
}

static uint64_t linux_now_ns(void *context)
{
    (void)context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

void torci_linux_report(void *context, const char *line)
{
    (void)context;
    /* One writev, so that lines of several threads don't mix; stdio would lock and allocate. */
    struct iovec parts[] = {
        {.iov_base = __extension__(void *)(uintptr_t) line, .iov_len = strlen(line)},
        {.iov_base = "\n", .iov_len = 1},
    };
    ssize_t written = writev(STDERR_FILENO, parts, 2);
    (void)written; /* who has no standard error reads no report */
}

static int linux_wake(void *context, int event_fd)
{
    (void)context;
    uint64_t one = 1;
    for (;;) {
        if (write(event_fd, &one, sizeof one) == (ssize_t)sizeof one)
            return 0;
        if (errno == EAGAIN) /* the counter is full: it has been woken 2^64 - 2 times */
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

static int linux_random(void *context, void *memory, size_t size_bytes)
{
    (void)context;
    for (size_t filled = 0; filled < size_bytes;) {
        ssize_t got = getrandom((char *)memory + filled, size_bytes - filled, 0);
        if (got >= 0)
            filled += (size_t)got;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static long linux_call(void *context, long number, const long arguments[6])
{
    (void)context;
    return result_of(syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                             arguments[4], arguments[5]));
}

const struct torci_kernel torci_kernel_linux = {
    .host =
        {
            .now_ns = linux_now_ns,
            .alloc = linux_alloc,
            .free = linux_free,
            .map = torci_linux_map,
            .unmap = torci_linux_unmap,
            .guard = torci_linux_guard,
            .report = torci_linux_report,
        },
    .ring_setup = linux_ring_setup,
    .ring_enter = linux_ring_enter,
    .ring_register = linux_ring_register,
    .ring_map = linux_ring_map,
    .reserve = linux_reserve,
    .commit = linux_commit,
    .wake = linux_wake,
    .random = linux_random,
    .thread_start = torci_linux_thread_start,
    .thread_join = torci_linux_thread_join,
    .thread_enter = torci_linux_thread_enter,
    .thread_leave = torci_linux_thread_leave,
    .stall_timer = torci_linux_stall_timer,
    .backtrace = torci_linux_backtrace,
    .call = linux_call,
};

/* Whether CLOCK_MONOTONIC itself is made of the counter that torci_ticks reads. The kernel is the one to ask: it
 * compares the CPUs' counters at boot and watches them afterwards. CPUID's flags say only what the CPU was built for.
 * Not taken for reliable: kvm-clock. Since Linux 5.1 a guest with an invariant counter prefers "tsc", so one that runs
 * on kvm-clock either lacks it or has found it unstable (or its operator chose so). There, a clock read costs a call
 * into the vDSO, about 25 ns instead of 10. */
static bool counter_is_reliable(void)
{
    static const char path[] = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
#if defined(__x86_64__)
    static const char wanted[] = "tsc\n";
#else
    static const char wanted[] = "arch_sys_counter\n";
#endif
    char name[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, name, sizeof name);
    (void)close(fd);
    return size == (ssize_t)sizeof wanted - 1 && !memcmp(name, wanted, sizeof wanted - 1);
}

static struct torci_kernel calibrated;

/* Against CLOCK_MONOTONIC, not by CPUID's frequency leaves or CLOCK_MONOTONIC_RAW: the ring's timeouts run on
 * CLOCK_MONOTONIC, which NTP steers by up to 500 ppm away from either. */
static void calibrate(void)
{
    calibrated = torci_kernel_linux;
    if (counter_is_reliable())
        torci_clock_calibrate(&calibrated.host);
}

const struct torci_kernel *torci_kernel_linux_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, calibrate);
    return &calibrated;
}
