/* SPDX-License-Identifier: MIT
 *
 * Set-up and entering of one ring. What the kernel's answers to an enter mean is decided here and nowhere else:
 *
 *     n >= 0            n entries were taken; the rest stay queued for the next enter
 *     -EINTR, -ETIME    a wait that ended early: normal
 *     -EAGAIN, -EBUSY   out of requests, or completions must be reaped first: come back after reaping
 *     anything else     the ring is broken (-EBADR: a completion was lost): the executor ends
 */
#include "io/ring_internal.h"

#include <errno.h>
#include <string.h>

#include "io/abi_internal.h"
#include "io/ledger_internal.h"

/* Best first; the next one is tried when the kernel refuses the flags with -EINVAL, and only then. */
static const struct {
    uint32_t flags;
    const char *name;
} ladder[] = {
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
         IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | TORCI_SETUP_NO_SQARRAY,
     "deferred task work, no SQ array (6.6)"},
    {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
         IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
     "deferred task work (6.1)"},
    {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
     "cooperative task work (5.19)"},
    {0, "plain (5.15)"},
};

enum { FEATURES_NEEDED = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG };

int64_t torci_ring_rung_flags(unsigned rung)
{
    return rung < TORC_ARRAY_LENGTH(ladder) ? (int64_t)ladder[rung].flags : -EINVAL;
}

const char *torci_ring_rung_name(unsigned rung)
{
    return rung < TORC_ARRAY_LENGTH(ladder) ? ladder[rung].name : NULL;
}

static int set_up(struct torci_ring *ring, uint32_t entries, uint32_t flags,
                  struct io_uring_params *params)
{
    uint32_t wanted_completions = params->cq_entries;
    int fd = -EINVAL;
    for (ring->rung = 0; ring->rung < TORC_ARRAY_LENGTH(ladder); ring->rung++) {
        memset(params, 0, sizeof *params);
        params->cq_entries = wanted_completions;
        params->flags = ladder[ring->rung].flags | flags;
        fd = ring->kernel->ring_setup(ring->kernel->host.context, entries, params);
        if (fd != -EINVAL)
            return fd;
    }
    return fd;
}

static int map_rings(struct torci_ring *ring, const struct io_uring_params *params)
{
    const struct torci_kernel *kernel = ring->kernel;
    size_t sq_size = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    if (params->flags & TORCI_SETUP_NO_SQARRAY)
        sq_size = 0;
    size_t cq_size = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    ring->rings_size = sq_size > cq_size ? sq_size : cq_size;
    ring->rings =
        kernel->ring_map(kernel->host.context, ring->real_fd, IORING_OFF_SQ_RING, ring->rings_size);
    if (!ring->rings)
        return -ENOMEM;
    ring->sqes_size = params->sq_entries * sizeof(struct io_uring_sqe);
    ring->sqes = (struct io_uring_sqe *)kernel->ring_map(kernel->host.context, ring->real_fd,
                                                         IORING_OFF_SQES, ring->sqes_size);
    return ring->sqes ? 0 : -ENOMEM;
}

static uint32_t *field(const struct torci_ring *ring, uint32_t offset)
{
    return (uint32_t *)(void *)((char *)ring->rings + offset);
}

static void find_fields(struct torci_ring *ring, const struct io_uring_params *params)
{
    ring->sq_tail = field(ring, params->sq_off.tail);
    ring->kernel_flags = field(ring, params->sq_off.flags);
    ring->sq_entries = *field(ring, params->sq_off.ring_entries);
    ring->sq_mask = ring->sq_entries - 1;
    ring->cq_head = field(ring, params->cq_off.head);
    ring->cq_tail = field(ring, params->cq_off.tail);
    ring->cq_entries = *field(ring, params->cq_off.ring_entries);
    ring->cq_mask = ring->cq_entries - 1;
    ring->cqes = (struct io_uring_cqe *)(void *)field(ring, params->cq_off.cqes);
    ring->tail = ring->submitted = ring->settled = *ring->sq_tail;
    if (!(params->flags & TORCI_SETUP_NO_SQARRAY)) {
        uint32_t *array = field(ring, params->sq_off.array);
        for (uint32_t i = 0; i < ring->sq_entries; i++)
            array[i] = i; /* entry i is always SQE i: nobody needs the indirection */
    }
}

/* Saves a file reference in every enter. 16 rings a thread may have it; one more does without. */
static void register_ring_fd(struct torci_ring *ring)
{
    struct io_uring_rsrc_update update = {.offset = UINT32_MAX, .data = (unsigned)ring->real_fd};
    int n = ring->kernel->ring_register(ring->kernel->host.context, ring->real_fd,
                                        IORING_REGISTER_RING_FDS, &update, 1);
    if (n == 1) {
        ring->fd = (int)update.offset;
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
}

/* Of rings that somebody has for a moment: written by all, read by none. */
static struct torci_counters nobodys;

int torci_ring_init(struct torci_ring *ring, const struct torci_kernel *kernel, uint32_t entries,
                    uint32_t completion_entries, bool polled)
{
    memset(ring, 0, sizeof *ring);
    ring->kernel = kernel;
    ring->counters = &nobodys;
    ring->fd = ring->real_fd = -1;
    if (!entries || entries > TORCI_RING_ENTRIES_MAX || completion_entries < entries)
        return -EINVAL;
    struct io_uring_params params = {.cq_entries = completion_entries};
    uint32_t flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | (polled ? IORING_SETUP_IOPOLL : 0);
    int fd = set_up(ring, entries, flags, &params);
    if (fd < 0)
        return fd;
    ring->fd = ring->real_fd = fd;
    ring->setup_flags = params.flags;
    ring->features = params.features;
    int err = -EOPNOTSUPP;
    if ((params.features & FEATURES_NEEDED) != FEATURES_NEEDED)
        goto out;
    err = map_rings(ring, &params);
    if (err)
        goto out;
    find_fields(ring, &params);
    err = torci_ledger_create(&ring->ledger, kernel, ring->tail);
    if (err)
        goto out;
    register_ring_fd(ring);
    return 0;
out:
    torci_ring_deinit(ring);
    return err;
}

void torci_ring_deinit(struct torci_ring *ring)
{
    if (ring->real_fd < 0)
        return;
    const struct torci_kernel *kernel = ring->kernel;
    torci_ledger_destroy(ring->ledger, kernel, ring->in_flight);
    if (ring->sqes)
        kernel->host.unmap(kernel->host.map_context, ring->sqes, ring->sqes_size);
    if (ring->rings)
        kernel->host.unmap(kernel->host.map_context, ring->rings, ring->rings_size);
    if (ring->enter_flags) {
        struct io_uring_rsrc_update update = {.offset = (uint32_t)ring->fd};
        (void)kernel->ring_register(kernel->host.context, ring->real_fd, IORING_UNREGISTER_RING_FDS,
                                    &update, 1);
    }
    (void)TORCI_CALL(kernel, SYS_close, ring->real_fd);
    ring->real_fd = -1;
}

void torci_ring_probe_ops(const struct torci_ring *ring, uint64_t ops[4])
{
    enum { OPS = 256 };
    size_t size = sizeof(struct io_uring_probe) + OPS * sizeof(struct io_uring_probe_op);
    const struct torci_kernel *kernel = ring->kernel;
    memset(ops, 0, OPS / 8);
    struct io_uring_probe *probe =
        (struct io_uring_probe *)kernel->host.alloc(kernel->host.context, size);
    if (!probe)
        return;
    if (kernel->ring_register(kernel->host.context, ring->real_fd, IORING_REGISTER_PROBE, probe,
                              OPS) == 0)
        for (unsigned i = 0; i < probe->ops_len && i < OPS; i++)
            if (probe->ops[i].flags & IO_URING_OP_SUPPORTED)
                ops[i / 64] |= UINT64_C(1) << i % 64;
    kernel->host.free(kernel->host.context, probe, size);
}

int torci_ring_enter(struct torci_ring *ring, uint32_t min_complete, uint64_t timeout_ns,
                     bool events)
{
    return torci_ring_enter_batch(ring, min_complete, timeout_ns, events, 0);
}

int torci_ring_enter_batch(struct torci_ring *ring, uint32_t min_complete, uint64_t timeout_ns,
                           bool events, uint32_t min_wait_us)
{
    uint32_t to_submit = torci_ring_pending(ring);
    unsigned flags = ring->enter_flags | (events || min_complete ? IORING_ENTER_GETEVENTS : 0u);
    struct __kernel_timespec timeout;
    struct io_uring_getevents_arg extended = {0};
    const void *arg = NULL;
    size_t arg_size = 0;
    /* Only where there is something to wait for: a zero timespec costs 17 us. */
    if (min_complete && (timeout_ns != UINT64_MAX || min_wait_us)) {
        if (timeout_ns != UINT64_MAX) {
            timeout.tv_sec = (int64_t)(timeout_ns / TORC_SEC);
            timeout.tv_nsec = (long long)(timeout_ns % TORC_SEC);
            extended.ts = (uint64_t)(uintptr_t)&timeout;
        }
        extended.pad = min_wait_us; /* its name in 6.12 */
        arg = &extended;
        arg_size = sizeof extended;
        flags |= IORING_ENTER_EXT_ARG;
    }
    torci_ledger_submit(ring->ledger, ring);
    /* pairs with the kernel's acquire of the tail: the entries are written before it */
    __atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
    int n = ring->kernel->ring_enter(ring->kernel->host.context, ring->fd, to_submit, min_complete,
                                     flags, arg, arg_size);
    torci_count(&ring->counters->ring_enters);
    if (TORC_LIKELY(n >= 0)) {
        ring->submitted += (uint32_t)n;
        torci_count_add(&ring->counters->ring_sqes, (uint32_t)n);
        return 0;
    }
    return n == -EINTR || n == -ETIME || n == -EAGAIN || n == -EBUSY ? 0 : n;
}

int torci_ring_reserve(struct torci_ring *ring, uint32_t count)
{
    if (count > ring->sq_entries)
        return -EINVAL;
    while (ring->sq_entries - torci_ring_pending(ring) < count) {
        uint32_t before = torci_ring_pending(ring);
        int err = torci_ring_enter(ring, 0, UINT64_MAX, false);
        if (err)
            return err;
        if (torci_ring_pending(ring) == before)
            return -EAGAIN;
    }
    return 0;
}
