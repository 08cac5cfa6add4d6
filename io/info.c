/* SPDX-License-Identifier: MIT
 *
 * The names and birthdays of what io_uring has, and the questions that find out what of it is here. Versions are never
 * concluded from: distributions carry features back and switch them off. What has a bit or a probe is read there; the
 * rest is tried on a ring made for it.
 */
#include "io/info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "io/abi_internal.h"
#include "io/explain_internal.h"
#include "io/ring_internal.h"

enum {
    SCRATCH_ENTRIES = 8,
    SCRATCH_SLOTS = 2,
    PAGE_BYTES = 4096, /* a multiple of what buffer rings want; larger pages only round it up */
    /* Flags below this one are older than what every ring of torc's needs (5.11), those above it are tried. */
    SETUP_TRIED_FIRST = 7,
};
_Static_assert((int)TORC_RING_WHY_BYTES == (int)TORCI_EXPLAIN_BYTES, "the line fits");

struct trait {
    const char *name, *since;
    bool is_used;
};

/* By bit. What a flag can't be without stands beside it, in setup_needs. */
static const struct trait setup_traits[] = {
    {"IOPOLL", "5.1", true},        {"SQPOLL", "5.1", false},
    {"SQ_AFF", "5.1", false},       {"CQSIZE", "5.5", true},
    {"CLAMP", "5.6", true},         {"ATTACH_WQ", "5.6", false},
    {"R_DISABLED", "5.10", false},  {"SUBMIT_ALL", "5.18", true},
    {"COOP_TASKRUN", "5.19", true}, {"TASKRUN_FLAG", "5.19", true},
    {"SQE128", "5.19", false},      {"CQE32", "5.19", false},
    {"SINGLE_ISSUER", "6.0", true}, {"DEFER_TASKRUN", "6.1", true},
    {"NO_MMAP", "6.5", false},      {"REGISTERED_FD_ONLY", "6.5", false},
    {"NO_SQARRAY", "6.6", true},    {"HYBRID_IOPOLL", "6.13", false},
    {"CQE_MIXED", "6.18", false},   {"SQE_MIXED", "6.19", false},
};

static const struct trait feature_traits[] = {
    {"SINGLE_MMAP", "5.4", true},       {"NODROP", "5.5", true},
    {"SUBMIT_STABLE", "5.5", true},     {"RW_CUR_POS", "5.6", false},
    {"CUR_PERSONALITY", "5.6", false},  {"FAST_POLL", "5.7", true},
    {"POLL_32BITS", "5.9", false},      {"SQPOLL_NONFIXED", "5.11", false},
    {"EXT_ARG", "5.11", true},          {"NATIVE_WORKERS", "5.12", true},
    {"RSRC_TAGS", "5.13", true},        {"CQE_SKIP", "5.17", false},
    {"LINKED_FILE", "5.17", false},     {"REG_REG_RING", "6.3", false},
    {"RECVSEND_BUNDLE", "6.10", false}, {"MIN_TIMEOUT", "6.12", true},
    {"RW_ATTR", "6.14", false},         {"NO_IOWAIT", "6.15", false},
};

static const struct trait op_traits[] = {
    {"NOP", "5.1", true},
    {"READV", "5.1", true},
    {"WRITEV", "5.1", true},
    {"FSYNC", "5.1", true},
    {"READ_FIXED", "5.1", true},
    {"WRITE_FIXED", "5.1", true},
    {"POLL_ADD", "5.1", true},
    {"POLL_REMOVE", "5.1", false},
    {"SYNC_FILE_RANGE", "5.2", true},
    {"SENDMSG", "5.3", false},
    {"RECVMSG", "5.3", false},
    {"TIMEOUT", "5.4", false},
    {"TIMEOUT_REMOVE", "5.5", false},
    {"ACCEPT", "5.5", true},
    {"ASYNC_CANCEL", "5.5", true},
    {"LINK_TIMEOUT", "5.5", false},
    {"CONNECT", "5.5", true},
    {"FALLOCATE", "5.6", true},
    {"OPENAT", "5.6", true},
    {"CLOSE", "5.6", true},
    {"FILES_UPDATE", "5.6", false},
    {"STATX", "5.6", true},
    {"READ", "5.6", true},
    {"WRITE", "5.6", true},
    {"FADVISE", "5.6", true},
    {"MADVISE", "5.6", false},
    {"SEND", "5.6", true},
    {"RECV", "5.6", true},
    {"OPENAT2", "5.6", false},
    {"EPOLL_CTL", "5.6", false},
    {"SPLICE", "5.7", false},
    {"PROVIDE_BUFFERS", "5.7", false},
    {"REMOVE_BUFFERS", "5.7", false},
    {"TEE", "5.8", false},
    {"SHUTDOWN", "5.11", false},
    {"RENAMEAT", "5.11", true},
    {"UNLINKAT", "5.11", true},
    {"MKDIRAT", "5.15", true},
    {"SYMLINKAT", "5.15", true},
    {"LINKAT", "5.15", true},
    {"MSG_RING", "5.18", true},
    {"FSETXATTR", "5.19", false},
    {"SETXATTR", "5.19", false},
    {"FGETXATTR", "5.19", false},
    {"GETXATTR", "5.19", false},
    {"SOCKET", "5.19", false},
    {"URING_CMD", "5.19", false},
    {"SEND_ZC", "6.0", false},
    {"SENDMSG_ZC", "6.1", false},
    {"READ_MULTISHOT", "6.7", false},
    {"WAITID", "6.7", false},
    {"FUTEX_WAIT", "6.7", false},
    {"FUTEX_WAKE", "6.7", false},
    {"FUTEX_WAITV", "6.7", false},
    {"FIXED_FD_INSTALL", "6.8", false},
    {"FTRUNCATE", "6.9", true},
    {"BIND", "6.11", false},
    {"LISTEN", "6.11", false},
    {"RECV_ZC", "6.15", false},
    {"EPOLL_WAIT", "6.15", false},
    {"READV_FIXED", "6.15", false},
    {"WRITEV_FIXED", "6.15", false},
    {"PIPE", "6.16", false},
    {"NOP128", "6.19", false},
    {"URING_CMD128", "6.19", false},
};

enum ability {
    WORKER_LIMITS = 0,
    REGISTERED_RING,
    SPARSE_BUFFERS,
    SPARSE_FILES,
    BUFFER_RINGS,
    FILE_RANGES,
    SYNC_CANCEL,
    INCREMENTAL_BUFFERS,
    WAIT_CLOCK,
    CLONED_BUFFERS,
    ABILITIES,
};

static const struct trait ability_traits[ABILITIES] = {
    [WORKER_LIMITS] = {"worker limits", "5.15", true},
    [REGISTERED_RING] = {"registered ring", "5.18", true},
    [SPARSE_BUFFERS] = {"sparse buffer table", "5.19", true},
    [SPARSE_FILES] = {"sparse file table", "5.19", true},
    [BUFFER_RINGS] = {"buffer rings", "5.19", true},
    [FILE_RANGES] = {"file slot ranges", "6.0", false},
    [SYNC_CANCEL] = {"synchronous cancel", "6.0", true},
    [INCREMENTAL_BUFFERS] = {"incremental buffer rings", "6.12", false},
    [WAIT_CLOCK] = {"choice of wait clock", "6.12", false},
    [CLONED_BUFFERS] = {"cloned buffer tables", "6.12", false},
};

static const struct {
    const struct trait *traits;
    uint32_t count;
} kinds[TORC_RING_KINDS] = {
    [TORC_RING_SETUP] = {setup_traits, TORC_ARRAY_LENGTH(setup_traits)},
    [TORC_RING_FEATURE] = {feature_traits, TORC_ARRAY_LENGTH(feature_traits)},
    [TORC_RING_OP] = {op_traits, TORC_ARRAY_LENGTH(op_traits)},
    [TORC_RING_ABILITY] = {ability_traits, TORC_ARRAY_LENGTH(ability_traits)},
};

static void mark(struct torc_ring_info *info, enum torc_ring_kind kind, uint32_t number, bool there)
{
    uint64_t bit = UINT64_C(1) << number % 64;
    info->has[kind][number / 64] |= there ? bit : 0;
}

static bool is_marked(const struct torc_ring_info *info, enum torc_ring_kind kind, uint32_t number)
{
    return info->has[kind][number / 64] >> number % 64 & 1;
}

/* ---- set-up flags ---- */

static uint32_t setup_needs(uint32_t flag)
{
    switch (flag) {
    case IORING_SETUP_TASKRUN_FLAG: return IORING_SETUP_COOP_TASKRUN;
    case IORING_SETUP_DEFER_TASKRUN: return IORING_SETUP_SINGLE_ISSUER;
    case TORCI_SETUP_REGISTERED_FD_ONLY: return TORCI_SETUP_NO_MMAP;
    case TORCI_SETUP_HYBRID_IOPOLL: return IORING_SETUP_IOPOLL;
    default: return 0;
    }
}

/* What the kernel does not know is -EINVAL. NO_MMAP, for which there is no memory here, gets as far as -EFAULT where it
 * is known; any other error (no memory, no descriptor left) proves nothing. */
static bool setup_flag_is_known(const struct torci_kernel *kernel, uint32_t flag)
{
    struct io_uring_params params = {.flags = flag | setup_needs(flag)};
    int fd = kernel->ring_setup(kernel->host.context, SCRATCH_ENTRIES, &params);
    if (fd >= 0)
        (void)TORCI_CALL(kernel, SYS_close, fd);
    return fd >= 0 || fd == -EFAULT;
}

static void find_setup_flags(const struct torci_kernel *kernel, struct torc_ring_info *info)
{
    for (uint32_t bit = 0; bit < TORC_ARRAY_LENGTH(setup_traits); bit++)
        mark(info, TORC_RING_SETUP, bit,
             bit < SETUP_TRIED_FIRST || setup_flag_is_known(kernel, UINT32_C(1) << bit));
}

/* ---- abilities ---- */

static int ring_register(const struct torci_ring *ring, unsigned opcode, void *arg, unsigned count)
{
    return ring->kernel->ring_register(ring->kernel->host.context, ring->real_fd, opcode, arg,
                                       count);
}

static bool can_register_sparse(const struct torci_ring *ring, unsigned opcode)
{
    struct io_uring_rsrc_register table = {.nr = SCRATCH_SLOTS,
                                           .flags = IORING_RSRC_REGISTER_SPARSE};
    return ring_register(ring, opcode, &table, sizeof table) == 0;
}

/* Each buffer group has a number of its own, so one ring can try several. */
static bool can_register_buffer_ring(const struct torci_ring *ring, uint16_t group, uint16_t flags)
{
    const struct torci_host *host = &ring->kernel->host;
    void *memory = host->map(host->map_context, PAGE_BYTES);
    if (!memory)
        return false;
    struct torci_buffer_ring_register buffers = {.address = (uint64_t)(uintptr_t)memory,
                                                 .entries = SCRATCH_ENTRIES,
                                                 .group = group,
                                                 .flags = flags};
    bool can = ring_register(ring, IORING_REGISTER_PBUF_RING, &buffers, 1) == 0;
    /* the kernel has the pages until the ring goes, which is soon; it does not need the mapping */
    host->unmap(host->map_context, memory, PAGE_BYTES);
    return can;
}

static bool can_cancel_at_once(const struct torci_ring *ring)
{
    /* of a request that nobody made, so the kernel that understands finds none */
    struct io_uring_sync_cancel_reg cancel;
    memset(&cancel, 0, sizeof cancel);
    cancel.addr = 1;
    cancel.fd = -1;
    cancel.timeout.tv_sec = cancel.timeout.tv_nsec = -1;
    return ring_register(ring, IORING_REGISTER_SYNC_CANCEL, &cancel, 1) == -ENOENT;
}

static bool can_clone_buffers(const struct torci_ring *ring)
{
    /* from itself: refused for its table being in use (-EBUSY) or, without one, for having nothing to give (-ENXIO) */
    struct torci_clone_buffers clone = {.source_ring = (uint32_t)ring->real_fd};
    int err = ring_register(ring, TORCI_REGISTER_CLONE_BUFFERS, &clone, 1);
    return err == -EBUSY || err == -ENXIO;
}

static bool has_ability(const struct torci_ring *ring, enum ability ability)
{
    unsigned unchanged[2] = {0, 0};
    struct io_uring_file_index_range range = {.len = SCRATCH_SLOTS};
    struct torci_clock_register clock = {.clock = CLOCK_MONOTONIC};
    switch (ability) {
    case WORKER_LIMITS:
        return ring_register(ring, IORING_REGISTER_IOWQ_MAX_WORKERS, unchanged, 2) == 0;
    case REGISTERED_RING: return ring->enter_flags != 0;
    case SPARSE_BUFFERS: return can_register_sparse(ring, IORING_REGISTER_BUFFERS2);
    case SPARSE_FILES: return can_register_sparse(ring, IORING_REGISTER_FILES2);
    case BUFFER_RINGS: return can_register_buffer_ring(ring, 0, 0);
    case FILE_RANGES: return ring_register(ring, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0) == 0;
    case SYNC_CANCEL: return can_cancel_at_once(ring);
    case INCREMENTAL_BUFFERS:
        return can_register_buffer_ring(ring, 1, TORCI_BUFFER_RING_INCREMENTAL);
    case WAIT_CLOCK: return ring_register(ring, TORCI_REGISTER_CLOCK, &clock, 0) == 0;
    case CLONED_BUFFERS: return can_clone_buffers(ring);
    case ABILITIES: break;
    }
    return false;
}

/* ---- the whole ---- */

static void find_ops(const struct torci_ring *ring, struct torc_ring_info *info)
{
    torci_ring_probe_ops(ring, info->has[TORC_RING_OP]);
    for (uint32_t number = TORC_ARRAY_LENGTH(op_traits); number < 256; number++)
        info->newer_ops += is_marked(info, TORC_RING_OP, number);
}

int torc_ring_info(const struct torci_kernel *kernel, struct torc_ring_info *info)
{
    struct torci_ring ring;
    kernel = kernel ? kernel : torci_kernel_linux_get();
    memset(info, 0, sizeof *info);
    while (torci_ring_rung_name(info->rungs))
        info->rungs++;
    info->error = torci_ring_init(&ring, kernel, SCRATCH_ENTRIES, SCRATCH_ENTRIES, false);
    if (info->error) {
        torci_explain_ring_error(kernel, info->error, SCRATCH_ENTRIES, SCRATCH_ENTRIES, info->why);
        return info->error;
    }
    info->rung = ring.rung;
    info->rung_name = torci_ring_rung_name(ring.rung);
    info->setup_flags = ring.setup_flags;
    info->features = ring.features;
    info->has[TORC_RING_FEATURE][0] = ring.features;
    find_ops(&ring, info);
    for (int ability = 0; ability < ABILITIES; ability++)
        mark(info, TORC_RING_ABILITY, (uint32_t)ability, has_ability(&ring, (enum ability)ability));
    torci_ring_deinit(&ring);
    find_setup_flags(kernel, info);
    return 0;
}

bool torc_ring_item_get(const struct torc_ring_info *info, enum torc_ring_kind kind,
                        uint32_t number, struct torc_ring_item *item)
{
    if (number >= kinds[kind].count)
        return false;
    const struct trait *trait = &kinds[kind].traits[number];
    *item = (struct torc_ring_item){.name = trait->name,
                                    .since = trait->since,
                                    .is_used = trait->is_used,
                                    .is_there = !info->error && is_marked(info, kind, number)};
    return true;
}

const char *torc_ring_rung_name(uint32_t rung)
{
    return torci_ring_rung_name(rung);
}
