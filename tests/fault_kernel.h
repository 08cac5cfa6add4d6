/* SPDX-License-Identifier: MIT
 *
 * The Linux kernel with a will of its own: for tests that need calls to fail, an older kernel, or the lines that torc
 * prints. Everything else goes to torci_kernel_linux unchanged.
 *
 *     struct fault_kernel fault;
 *     for (long n = 0;; n++) {
 *         fault_kernel_init(&fault);
 *         fault.fail_kinds = FAULT_ALLOC | FAULT_MAP;
 *         fault.fail_nth = n;
 *         int err = run_alone(&(struct torc_config){.kernel = &fault.kernel}, main, arg);
 *         fault_kernel_check_clean(&fault);
 *         if (!fault.failed)
 *             break;                       // call n was never made: all have been tried
 *     }
 *
 * Several executors may have it at a time, and their pool threads; which of them makes the nth call is then anybody's
 * guess, so tests that count say run_alone.
 */
#ifndef TORC_TESTS_FAULT_KERNEL_H
#define TORC_TESTS_FAULT_KERNEL_H

#include <errno.h>
#include <linux/io_uring.h>

#include "io/kernel_internal.h"
#include "tests/harness.h"

/* Kinds of calls, and what each returns when it is made to fail and fail_errno is 0. */
enum {
    FAULT_ALLOC = 1 << 0,    /* NULL */
    FAULT_MAP = 1 << 1,      /* NULL; commit: ENOMEM */
    FAULT_GUARD = 1 << 2,    /* ENOMEM */
    FAULT_SETUP = 1 << 3,    /* ENOMEM */
    FAULT_ENTER = 1 << 4,    /* EINTR: harmless; others end the run */
    FAULT_REGISTER = 1 << 5, /* ENOMEM */
    FAULT_RING_MAP = 1 << 6, /* NULL */
    FAULT_RANDOM = 1 << 7,   /* EIO */
    FAULT_THREAD = 1 << 8,   /* EAGAIN */
    FAULT_PIN = 1 << 9,      /* thread_enter: EINVAL */
    FAULT_STALL = 1 << 10,   /* stall_timer: EAGAIN */
    FAULT_CALL = 1 << 11, /* EMFILE; not for futex and close, which never fail for such a reason */
    FAULT_ANY = (1 << 12) - 1,

    FAULT_LINES_MAX = 32,
    FAULT_LINE_BYTES = 256,
};

struct fault_kernel {
    struct torci_kernel kernel; /* hand out its address */
    const struct torci_kernel *real;

    unsigned fail_kinds;
    long fail_nth;   /* the call that fails, 0 first, among those of fail_kinds; negative: none */
    bool fail_after; /* and all later ones */
    int fail_errno;  /* positive; 0: the usual one */
    long calls;      /* atomic: of fail_kinds so far */
    bool failed;     /* atomic: it has come to that */

    /* An older kernel, or one that is told to refuse. */
    unsigned setup_flags_refused; /* EINVAL */
    unsigned features_hidden;
    unsigned register_opcode_max; /* EINVAL beyond; 0: no limit */
    int setup_errno;              /* positive: every set-up fails with it */

    long allocated_bytes, mapped_bytes; /* atomic: not given back yet */
    uint64_t enters;                    /* atomic */
    bool hears_crowd;                   /* that shards share a CPU is one of the lines, too */
    unsigned lines;                     /* atomic: reported; the first FAULT_LINES_MAX are kept */
    char line[FAULT_LINES_MAX][FAULT_LINE_BYTES];
};

/* Whether this call is the one. RELAXED all over: the counters order nothing, they are only counted by several. */
static inline bool fault_now(struct fault_kernel *fault, unsigned kind)
{
    if (!(fault->fail_kinds & kind) || fault->fail_nth < 0)
        return false;
    long n = __atomic_fetch_add(&fault->calls, 1, __ATOMIC_RELAXED);
    bool now = n == fault->fail_nth || (fault->fail_after && n > fault->fail_nth);
    if (now)
        __atomic_store_n(&fault->failed, true, __ATOMIC_RELAXED);
    return now;
}

static inline int fault_errno(const struct fault_kernel *fault, int usual)
{
    return -(fault->fail_errno ? fault->fail_errno : usual);
}

static inline uint64_t fault_now_ns(void *context)
{
    struct fault_kernel *fault = context;
    return fault->real->host.now_ns(fault->real->host.context);
}

static inline void *fault_alloc(void *context, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_ALLOC))
        return NULL;
    void *memory = fault->real->host.alloc(fault->real->host.context, size_bytes);
    if (memory)
        __atomic_fetch_add(&fault->allocated_bytes, (long)size_bytes, __ATOMIC_RELAXED);
    return memory;
}

static inline void fault_free(void *context, void *memory, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (memory)
        __atomic_fetch_sub(&fault->allocated_bytes, (long)size_bytes, __ATOMIC_RELAXED);
    fault->real->host.free(fault->real->host.context, memory, size_bytes);
}

static inline void *fault_map(void *context, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_MAP))
        return NULL;
    void *memory = fault->real->host.map(fault->real->host.map_context, size_bytes);
    if (memory)
        __atomic_fetch_add(&fault->mapped_bytes, (long)size_bytes, __ATOMIC_RELAXED);
    return memory;
}

static inline void *fault_reserve(void *context, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_MAP))
        return NULL;
    void *memory = fault->real->reserve(fault->real->host.context, size_bytes);
    if (memory)
        __atomic_fetch_add(&fault->mapped_bytes, (long)size_bytes, __ATOMIC_RELAXED);
    return memory;
}

static inline int fault_commit(void *context, void *memory, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_MAP))
        return fault_errno(fault, ENOMEM);
    return fault->real->commit(fault->real->host.context, memory, size_bytes);
}

static inline void fault_unmap(void *context, void *memory, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    __atomic_fetch_sub(&fault->mapped_bytes, (long)size_bytes, __ATOMIC_RELAXED);
    fault->real->host.unmap(fault->real->host.map_context, memory, size_bytes);
}

static inline int fault_guard(void *context, void *memory, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_GUARD))
        return fault_errno(fault, ENOMEM);
    return fault->real->host.guard(fault->real->host.map_context, memory, size_bytes);
}

static inline void fault_report(void *context, const char *line)
{
    struct fault_kernel *fault = context;
    /* Due on a machine with fewer CPUs than shards, and not on another. */
    if (!fault->hears_crowd && strstr(line, " take turns "))
        return;
    unsigned n = __atomic_fetch_add(&fault->lines, 1, __ATOMIC_RELAXED);
    if (n < FAULT_LINES_MAX)
        snprintf(fault->line[n], FAULT_LINE_BYTES, "%s", line);
}

static inline int fault_ring_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    struct fault_kernel *fault = context;
    if (fault->setup_errno)
        return -fault->setup_errno;
    if (params->flags & fault->setup_flags_refused)
        return -EINVAL;
    if (fault_now(fault, FAULT_SETUP))
        return fault_errno(fault, ENOMEM);
    int ring = fault->real->ring_setup(fault->real->host.context, entries, params);
    if (ring >= 0)
        params->features &= ~fault->features_hidden;
    return ring;
}

static inline int fault_ring_enter(void *context, int ring, unsigned to_submit,
                                   unsigned min_complete, unsigned flags, const void *arg,
                                   size_t arg_size)
{
    struct fault_kernel *fault = context;
    __atomic_fetch_add(&fault->enters, 1, __ATOMIC_RELAXED);
    if (fault_now(fault, FAULT_ENTER))
        return fault_errno(fault, EINTR);
    return fault->real->ring_enter(fault->real->host.context, ring, to_submit, min_complete, flags,
                                   arg, arg_size);
}

static inline int fault_ring_register(void *context, int ring, unsigned opcode, void *arg,
                                      unsigned count)
{
    struct fault_kernel *fault = context;
    /* the top bit says only how the ring is named: IORING_REGISTER_USE_REGISTERED_RING */
    if (fault->register_opcode_max && (opcode & INT32_MAX) > fault->register_opcode_max)
        return -EINVAL;
    if (fault_now(fault, FAULT_REGISTER))
        return fault_errno(fault, ENOMEM);
    return fault->real->ring_register(fault->real->host.context, ring, opcode, arg, count);
}

static inline void *fault_ring_map(void *context, int ring, uint64_t offset, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_RING_MAP))
        return NULL;
    void *memory = fault->real->ring_map(fault->real->host.context, ring, offset, size_bytes);
    if (memory) /* it is given back by host.unmap */
        __atomic_fetch_add(&fault->mapped_bytes, (long)size_bytes, __ATOMIC_RELAXED);
    return memory;
}

static inline int fault_wake(void *context, int event_fd)
{
    struct fault_kernel *fault = context;
    return fault->real->wake(fault->real->host.context, event_fd);
}

static inline int fault_random(void *context, void *memory, size_t size_bytes)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_RANDOM))
        return fault_errno(fault, EIO);
    return fault->real->random(fault->real->host.context, memory, size_bytes);
}

static inline int fault_thread_start(void *context, void (*fn)(void *arg), void *arg,
                                     const char *name, uintptr_t *thread)
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_THREAD))
        return fault_errno(fault, EAGAIN);
    return fault->real->thread_start(fault->real->host.context, fn, arg, name, thread);
}

static inline void fault_thread_join(void *context, uintptr_t thread)
{
    struct fault_kernel *fault = context;
    fault->real->thread_join(fault->real->host.context, thread);
}

static inline int fault_thread_enter(void *context, int cpu,
                                     void (*on_fault)(int number, const void *address))
{
    struct fault_kernel *fault = context;
    if (fault_now(fault, FAULT_PIN))
        return fault_errno(fault, EINVAL);
    return fault->real->thread_enter(fault->real->host.context, cpu, on_fault);
}

static inline void fault_thread_leave(void *context)
{
    struct fault_kernel *fault = context;
    fault->real->thread_leave(fault->real->host.context);
}

static inline int fault_stall_timer(void *context, uint64_t interval_ns, void (*on_stall)(void))
{
    struct fault_kernel *fault = context;
    if (interval_ns && fault_now(fault, FAULT_STALL))
        return fault_errno(fault, EAGAIN);
    return fault->real->stall_timer(fault->real->host.context, interval_ns, on_stall);
}

static inline void fault_backtrace(void *context)
{
    struct fault_kernel *fault = context;
    fault->real->backtrace(fault->real->host.context);
}

static inline long fault_call(void *context, long number, const long arguments[6])
{
    struct fault_kernel *fault = context;
    if (number != SYS_futex && number != SYS_close && fault_now(fault, FAULT_CALL))
        return fault_errno(fault, EMFILE);
    return fault->real->call(fault->real->host.context, number, arguments);
}

/* Faultless until a field says otherwise. */
static inline void fault_kernel_init(struct fault_kernel *fault)
{
    memset(fault, 0, sizeof *fault);
    fault->fail_nth = -1;
    fault->real = torci_kernel_linux_get();
    fault->kernel = *fault->real;
    fault->kernel.host.context = fault->kernel.host.map_context = fault;
    fault->kernel.host.now_ns = fault_now_ns;
    fault->kernel.host.alloc = fault_alloc;
    fault->kernel.host.free = fault_free;
    fault->kernel.host.map = fault_map;
    fault->kernel.host.unmap = fault_unmap;
    fault->kernel.host.guard = fault_guard;
    fault->kernel.host.report = fault_report;
    fault->kernel.ring_setup = fault_ring_setup;
    fault->kernel.ring_enter = fault_ring_enter;
    fault->kernel.ring_register = fault_ring_register;
    fault->kernel.ring_map = fault_ring_map;
    fault->kernel.reserve = fault_reserve;
    fault->kernel.commit = fault_commit;
    fault->kernel.wake = fault_wake;
    fault->kernel.random = fault_random;
    fault->kernel.thread_start = fault_thread_start;
    fault->kernel.thread_join = fault_thread_join;
    fault->kernel.thread_enter = fault_thread_enter;
    fault->kernel.thread_leave = fault_thread_leave;
    fault->kernel.stall_timer = fault_stall_timer;
    fault->kernel.backtrace = fault_backtrace;
    fault->kernel.call = fault_call;
}

/* Set-up flags that kernels before a version refuse; each includes the later ones. */
enum {
    FAULT_FLAGS_BEFORE_6_6 = 1 << 16,                          /* NO_SQARRAY */
    FAULT_FLAGS_BEFORE_6_1 = FAULT_FLAGS_BEFORE_6_6 | 1 << 13, /* DEFER_TASKRUN */
    FAULT_FLAGS_BEFORE_6_0 = FAULT_FLAGS_BEFORE_6_1 | 1 << 12, /* SINGLE_ISSUER */
    /* COOP_TASKRUN, TASKRUN_FLAG, SQE128, CQE32 */
    FAULT_FLAGS_BEFORE_5_19 = FAULT_FLAGS_BEFORE_6_0 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11,
    FAULT_FLAGS_BEFORE_5_18 = FAULT_FLAGS_BEFORE_5_19 | 1 << 7, /* SUBMIT_ALL */
};

/* Whether a reported line contains TEXT. */
static inline bool fault_kernel_said(const struct fault_kernel *fault, const char *text)
{
    for (unsigned i = 0; i < fault->lines && i < FAULT_LINES_MAX; i++)
        if (strstr(fault->line[i], text))
            return true;
    return false;
}

/* Everything has been given back. */
static inline void fault_kernel_check_clean(const struct fault_kernel *fault)
{
    CHECK_EQ(__atomic_load_n(&fault->allocated_bytes, __ATOMIC_RELAXED), 0);
    CHECK_EQ(__atomic_load_n(&fault->mapped_bytes, __ATOMIC_RELAXED), 0);
}

#endif
