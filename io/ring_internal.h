/* SPDX-License-Identifier: MIT
 *
 * One io_uring ring by its memory alone: the set-up ladder, taking SQEs, entering, reaping. No other file knows where
 * the heads and tails are. Everything goes through the kernel shim, so the same code drives a simulated ring.
 *
 * liburing's prep and CQE helpers are used for their layouts; its set-up and queue functions are not: those of 2.3
 * corrupt a ring without SQ array and know nothing of a shim.
 */
#ifndef TORC_IO_RING_INTERNAL_H
#define TORC_IO_RING_INTERNAL_H

#include <liburing.h>

#include "core/base.h"
#include "core/counters_internal.h"
#include "io/kernel_internal.h"

struct torci_ledger;

struct torci_ring {
    struct io_uring_sqe *sqes;
    uint32_t *sq_tail;      /* shared with the kernel */
    uint32_t *kernel_flags; /* IORING_SQ_* */
    uint32_t sq_mask, sq_entries;
    uint32_t tail;      /* ours: entries taken */
    uint32_t submitted; /* ours: entries that the kernel has consumed */
    uint32_t settled; /* ours: of those, what the kernel said in their submission has been reaped */

    struct io_uring_cqe *cqes;
    uint32_t *cq_head;
    uint32_t *cq_tail;
    uint32_t cq_mask, cq_entries;

    uint32_t in_flight;   /* ops without their terminal CQE */
    int fd;               /* or the registered index */
    unsigned enter_flags; /* IORING_ENTER_REGISTERED_RING if that */

    int real_fd;
    uint32_t setup_flags, features;
    uint8_t rung;
    const struct torci_kernel *kernel;
    struct torci_ledger *ledger; /* debug builds */
    void *rings;                 /* both, mapped as one */
    size_t rings_size, sqes_size;
    struct torci_counters *counters; /* of its executor, which sets this after init */
};

enum {
    TORCI_RING_ENTRIES_MAX = 32768,
    TORCI_RING_NONE = -1,    /* real_fd of a ring that is not there */
    TORCI_RING_REFUSED = -2, /* and will not be */
};

/* ENTRIES is rounded up to a power of two. POLLED asks for IOPOLL. -ENOSYS, -EPERM, -ENOMEM, -EMFILE, -EINVAL;
 * -EOPNOTSUPP: what torc needs came in 5.15. */
int torci_ring_init(struct torci_ring *ring, const struct torci_kernel *kernel, uint32_t entries,
                    uint32_t completion_entries, bool polled) TORC_MUST_CHECK;
/* Nothing may be in flight. */
void torci_ring_deinit(struct torci_ring *ring);

/* The flags of the ladder's rung, 0 first, or -EINVAL below the last one; and its name for people. */
int64_t torci_ring_rung_flags(unsigned rung);
const char *torci_ring_rung_name(unsigned rung);

/* Which opcodes the kernel knows: bit n of OPS for opcode n. None when it does not tell, or memory is short. */
void torci_ring_probe_ops(const struct torci_ring *ring, uint64_t ops[4]);

/* Gives the kernel what is queued and, if MIN_COMPLETE > 0, waits for that many completions or until TIMEOUT_NS
 * (relative; UINT64_MAX: none) have passed; runs deferred work if EVENTS. 0 also for the harmless endings (-EINTR,
 * -ETIME, -EAGAIN, -EBUSY: reap and come back); other errors are fatal to the ring. */
int torci_ring_enter(struct torci_ring *ring, uint32_t min_complete, uint64_t timeout_ns,
                     bool events) TORC_MUST_CHECK;

/* The same, but satisfied with one completion once MIN_WAIT_US have passed. Where the ring has
 * TORCI_FEATURE_MIN_WAIT. */
int torci_ring_enter_batch(struct torci_ring *ring, uint32_t min_complete, uint64_t timeout_ns,
                           bool events, uint32_t min_wait_us) TORC_MUST_CHECK;

static inline uint32_t torci_ring_pending(const struct torci_ring *ring)
{
    return ring->tail - ring->submitted;
}

static inline uint32_t torci_ring_ready(const struct torci_ring *ring)
{
    /* pairs with the kernel's release of the tail after it has written the entries */
    return __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head;
}

/* The kernel asks to be entered: deferred work, or completions that did not fit. */
static inline bool torci_ring_wants_enter(const struct torci_ring *ring)
{
    return (__atomic_load_n(ring->kernel_flags, __ATOMIC_RELAXED) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Room for COUNT entries, submitting if need be. -EAGAIN, -EINVAL (more than the ring has). */
int torci_ring_reserve(struct torci_ring *ring, uint32_t count) TORC_MUST_CHECK;

/* The next entry, zeroed. NULL: no room even after submitting. */
static inline struct io_uring_sqe *torci_ring_sqe(struct torci_ring *ring)
{
    if (TORC_UNLIKELY(torci_ring_pending(ring) == ring->sq_entries) && torci_ring_reserve(ring, 1))
        return NULL;
    struct io_uring_sqe *sqe = &ring->sqes[ring->tail++ & ring->sq_mask];
    __builtin_memset(sqe, 0, sizeof *sqe);
    return sqe;
}

#endif
