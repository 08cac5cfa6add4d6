/* SPDX-License-Identifier: MIT
 *
 * Registered regions: how many registrations many pools take, how much is pinned for nobody, and what a small limit of
 * locked memory does.
 */
#include <linux/capability.h>
#include <sys/resource.h>

#include "dma/buffer.h"
#include "dma/stats.h"
#include "shard/alloc.h"
#include "shard/region_internal.h"
#include "shard/shard_internal.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

enum { POOLS = 400 };
static struct torc_buffer_pool pools[POOLS];

static int open_pool(unsigned i, size_t bytes)
{
    return torc_buffer_pool_init(
        &pools[i], &(struct torc_buffer_pool_options){.total_bytes = bytes, .buffer_bytes = 4096});
}

static uint64_t pinned(void)
{
    struct torc_arena_stats stats;
    torc_arena_stats_get(&stats);
    return stats.pinned_bytes;
}

static size_t pool_bytes(unsigned i)
{
    return (size_t)(1 + i % 7) * 4096;
}

static int many_pools(void *arg)
{
    uint64_t wanted = 0;
    (void)arg;
    CHECK_EQ(open_pool(0, 40 << 10), 0);
    CHECK_EQ(pinned(), 40 << 10); /* the first: what it takes and no more */
    torc_buffer_pool_deinit(&pools[0]);
    CHECK_EQ(pinned(), 0);
    for (unsigned i = 0; i < POOLS; i++) {
        CHECK_EQ(open_pool(i, pool_bytes(i)), 0);
        CHECK(torc_buffer_pool_is_pinned(&pools[i]));
        wanted += pool_bytes(i);
    }
    CHECK(pinned() >= wanted);
    CHECK(pinned() <= wanted + wanted / 4);
    /* each its own memory */
    struct torc_buffer *buffers[POOLS];
    for (unsigned i = 0; i < POOLS; i++) {
        CHECK_EQ(torc_buffer_get(&pools[i], 1, &buffers[i]), 0);
        memset(buffers[i]->data, (int)(i % 251), 4096);
    }
    for (unsigned i = 0; i < POOLS; i++) {
        CHECK_EQ(*(unsigned char *)buffers[i]->data, i % 251);
        torc_buffer_put(buffers[i]);
    }
    /* what one gives back another gets */
    uint64_t before = pinned();
    for (unsigned i = 0; i < POOLS; i += 2)
        torc_buffer_pool_deinit(&pools[i]);
    for (unsigned i = 0; i < POOLS; i += 2)
        CHECK_EQ(open_pool(i, pool_bytes(i)), 0);
    CHECK(pinned() <= before);
    for (unsigned i = 0; i < POOLS; i++)
        torc_buffer_pool_deinit(&pools[i]);
    CHECK_EQ(pinned(), 0);
    return 0;
}
TEST(region, hundreds_of_pools_share_a_few_registrations)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fault.kernel, .buffers_max = 48},
                       many_pools, NULL),
             0);
    fault_kernel_check_clean(&fault);
}

static int left_open(void *arg)
{
    (void)arg;
    CHECK_EQ(open_pool(0, 1 << 20), 0);
    return 0;
}
TEST(region, pools_left_open_at_the_end_take_their_regions_along)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fault.kernel}, left_open, NULL), 0);
    CHECK_EQ(__atomic_load_n(&fault.mapped_bytes, __ATOMIC_RELAXED), 0);
}

/* CAP_IPC_LOCK would lift the limit. */
static void limit_locked_memory(rlim_t bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    CHECK_EQ(syscall(SYS_capget, &header, data), 0);
    data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    CHECK_EQ(syscall(SYS_capset, &header, data), 0);
    CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){bytes, bytes}), 0);
}

static int near_the_limit(void *arg)
{
    struct fault_kernel *fault = arg;
    CHECK_EQ(open_pool(0, 6 << 20), 0);
    CHECK_EQ(fault->lines, 0);
    /* an eighth ahead would be too much: just what it takes then */
    CHECK_EQ(open_pool(1, 512 << 10), 0);
    CHECK_EQ(fault->lines, 0);
    CHECK_EQ(pinned(), (6 << 20) + (512 << 10));
    CHECK_EQ(open_pool(2, 2 << 20), -ENOMEM);
    CHECK_EQ(fault->lines, 1);
    CHECK(fault_kernel_said(fault, "ulimit -l"));
    CHECK_EQ(pinned(), (6 << 20) + (512 << 10));
    torc_buffer_pool_deinit(&pools[0]);
    torc_buffer_pool_deinit(&pools[1]);
    return 0;
}
TEST(region, near_the_limit_of_locked_memory_nothing_is_pinned_ahead)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    limit_locked_memory((6 << 20) + (600 << 10));
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, near_the_limit, &fault), 0);
    fault_kernel_check_clean(&fault);
}

static int use_pools(void *arg)
{
    (void)arg;
    int err = open_pool(0, 3 << 20);
    if (err)
        return err;
    err = open_pool(1, 4096);
    if (!err)
        torc_buffer_pool_deinit(&pools[1]);
    torc_buffer_pool_deinit(&pools[0]);
    CHECK_EQ(pinned(), 0);
    return err;
}
TEST(region, any_call_may_fail)
{
    struct fault_kernel fault;
    for (long n = 0;; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ALLOC | FAULT_MAP | FAULT_REGISTER | FAULT_CALL;
        fault.fail_nth = n;
        /* alone: 64 shards make thousands of calls, and a run for each of them takes minutes */
        int err = run_alone(&(struct torc_config){.kernel = &fault.kernel, .keep_signals = true},
                            use_pools, NULL);
        fault_kernel_check_clean(&fault);
        CHECK(err <= 0);
        if (!fault.failed) {
            CHECK_EQ(err, 0);
            CHECK(n > 10);
            break;
        }
    }
}
