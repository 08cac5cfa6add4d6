/* SPDX-License-Identifier: MIT
 *
 * Buffer pools: what they hand out, who gets it when there is not enough, and what happens where memory can't be pinned.
 */
#include "dma/buffer.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/task.h"
#include "core/time.h"
#include "dma/stats.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

enum { PAGE = 4096 };

static void in_torc(torc_task_fn *body)
{
    CHECK_EQ(run_shard(NULL, body, NULL), 0);
}

static struct torc_buffer_pool pool;

static void make_pool(uint32_t count)
{
    CHECK_EQ(torc_buffer_pool_init(
                 &pool, &(struct torc_buffer_pool_options){.total_bytes = (size_t)count * PAGE,
                                                           .buffer_bytes = PAGE}),
             0);
}

static int fixed_size(void *arg)
{
    struct torc_buffer *buffers[8], *none = NULL;
    (void)arg;
    CHECK_EQ(
        torc_buffer_pool_init(&pool, &(struct torc_buffer_pool_options){.total_bytes = 9 * 8192 - 1,
                                                                        .buffer_bytes = 8192}),
        0);
    CHECK(torc_buffer_pool_is_pinned(&pool));
    CHECK(torc_buffer_pool_check(&pool));
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(torc_buffer_try_get(&pool, 8192, &buffers[i]), 0);
        CHECK_EQ((uintptr_t)buffers[i]->data % TORC_BUFFER_ALIGNMENT, 0);
        CHECK_EQ(buffers[i]->size_bytes, 8192);
        CHECK(buffers[i]->index >= 0);
        memset(buffers[i]->data, i, 8192);
    }
    for (int i = 0; i < 8; i++)
        for (size_t k = 0; k < 8192; k += 511)
            CHECK_EQ(((unsigned char *)buffers[i]->data)[k], i);
    CHECK_EQ(torc_buffer_try_get(&pool, 1, &none), -ENOBUFS);
    CHECK_EQ(torc_buffer_try_get(&pool, 8193, &none), -EINVAL);
    CHECK_EQ(torc_buffer_get(&pool, 8193, &none), -EINVAL);
    CHECK(torc_buffer_pool_check(&pool));

    torc_buffer_put(buffers[3]);
    CHECK(torc_buffer_pool_check(&pool));
    CHECK_EQ(torc_buffer_try_get(&pool, 0, &none), 0);
    CHECK(none == buffers[3]);
    for (int i = 0; i < 8; i++)
        torc_buffer_put(buffers[i]);
    CHECK(torc_buffer_pool_check(&pool));
    torc_buffer_pool_deinit(&pool);
    return 0;
}
TEST(dma_buffer, a_pool_lends_distinct_aligned_registered_buffers)
{
    in_torc(fixed_size);
}

static int given_memory(void *arg)
{
    enum { COUNT = 5 };
    char *memory = aligned_alloc(PAGE, (size_t)COUNT * PAGE);
    (void)arg;
    CHECK(memory != NULL);
    struct torc_buffer_pool_options options = {.classes = {{.buffer_bytes = PAGE, .count = COUNT}},
                                               .memory = memory};
    for (int pinned = 0; pinned < 2; pinned++) {
        struct torc_buffer *buffers[COUNT];
        options.pinning = pinned ? TORC_PIN_REQUIRED : TORC_PIN_NEVER;
        CHECK_EQ(torc_buffer_pool_init(&pool, &options), 0);
        CHECK_EQ(torc_buffer_pool_is_pinned(&pool), pinned);
        for (int i = 0; i < COUNT; i++) {
            CHECK_EQ(torc_buffer_try_get(&pool, PAGE, &buffers[i]), 0);
            CHECK((char *)buffers[i]->data == memory + (size_t)i * PAGE);
            CHECK_EQ(buffers[i]->index >= 0, pinned);
        }
        memset(memory, pinned, (size_t)COUNT * PAGE);
        for (int i = 0; i < COUNT; i++)
            torc_buffer_put(buffers[i]);
        torc_buffer_pool_deinit(&pool);
        for (size_t i = 0; i < (size_t)COUNT * PAGE; i++) /* still the caller's, and as it was */
            CHECK_EQ(memory[i], pinned);
    }
    options.memory = memory + 512;
    CHECK_EQ(torc_buffer_pool_init(&pool, &options), -EINVAL);
    free(memory);
    return 0;
}
TEST(dma_buffer, a_pool_can_lie_in_the_callers_memory)
{
    in_torc(given_memory);
}

static int classes(void *arg)
{
    struct torc_buffer *small[2], *large, *none;
    (void)arg;
    CHECK_EQ(torc_buffer_pool_init(&pool,
                                   &(struct torc_buffer_pool_options){
                                       .classes = {{.buffer_bytes = PAGE, .count = 2},
                                                   {.buffer_bytes = 16 * PAGE, .count = 1}}}),
             0);
    CHECK_EQ(torc_buffer_try_get(&pool, 1, &small[0]), 0);
    CHECK_EQ(torc_buffer_try_get(&pool, PAGE, &small[1]), 0);
    CHECK_EQ(small[1]->size_bytes, PAGE);
    CHECK_EQ(torc_buffer_try_get(&pool, PAGE, &none), -ENOBUFS); /* although a large one is free */
    CHECK_EQ(torc_buffer_try_get(&pool, PAGE + 1, &large), 0);
    CHECK_EQ(large->size_bytes, 16 * PAGE);
    CHECK_EQ(torc_buffer_try_get(&pool, PAGE + 1, &none), -ENOBUFS);
    torc_buffer_put(small[0]);
    CHECK_EQ(torc_buffer_try_get(&pool, PAGE + 1, &none), -ENOBUFS);
    torc_buffer_put(small[1]);
    torc_buffer_put(large);
    CHECK(torc_buffer_pool_check(&pool));
    torc_buffer_pool_deinit(&pool);
    return 0;
}
TEST(dma_buffer, a_class_never_lends_to_another)
{
    in_torc(classes);
}

static int bad_options(void *arg)
{
    static const struct torc_buffer_pool_options bad[] = {
        {.total_bytes = 0},
        {.total_bytes = PAGE},
        {.total_bytes = PAGE - 1, .buffer_bytes = PAGE},
        {.total_bytes = 1 << 20, .buffer_bytes = 1000},
        {.total_bytes = (size_t)4 << 30, .buffer_bytes = (size_t)2 << 30},
        {.total_bytes = (size_t)17 << 30, .buffer_bytes = 1 << 20},
        {.total_bytes = SIZE_MAX, .buffer_bytes = PAGE},
        {.total_bytes = PAGE, .buffer_bytes = PAGE, .classes = {{PAGE, 1}}},
        {.classes = {{2 * PAGE, 1}, {PAGE, 1}}},
        {.classes = {{PAGE, 1}, {PAGE, 1}}},
        {.classes = {{PAGE + 512, 1}}},
        {.classes = {{0, 1}}},
        {.classes = {{1 << 20, UINT32_MAX}}},
        {.classes = {{1 << 20, 16 << 10}, {2 << 20, 1}}},
    };
    (void)arg;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(bad); i++)
        if (torc_buffer_pool_init(&pool, &bad[i]) != -EINVAL)
            TEST_FAIL("options %zu were taken", i);
    return 0;
}
TEST(dma_buffer, sizes_that_make_no_pool_are_refused)
{
    in_torc(bad_options);
}

/* ---- waiting ---- */

static int order[4], order_count;

static int wait_and_note(void *arg)
{
    int number = *(int *)arg;
    struct torc_buffer *buffer;
    int err = torc_buffer_get(&pool, 1, &buffer);
    if (err)
        return err;
    order[order_count++] = number;
    torc_yield();
    torc_buffer_put(buffer);
    return 0;
}

static int in_order(void *arg)
{
    static int numbers[] = {0, 1, 2, 3};
    struct torc_scope scope;
    struct torc_buffer *buffer, *none;
    (void)arg;
    make_pool(1);
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0);
    torc_scope_init(&scope);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(torc_spawn(&scope, wait_and_note, &numbers[i]), 0);
    torc_yield();
    CHECK_EQ(order_count, 0);
    torc_buffer_put(buffer); /* now the first waiter's */
    CHECK_EQ(torc_buffer_try_get(&pool, 1, &none), -ENOBUFS);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(order_count, 4);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(order[i], i);
    CHECK(torc_buffer_pool_check(&pool));
    torc_buffer_pool_deinit(&pool);
    return 0;
}
TEST(dma_buffer, waiters_are_served_in_the_order_of_asking)
{
    in_torc(in_order);
}

static int wait_with_deadline(void *arg)
{
    struct torc_deadline deadline;
    struct torc_buffer *buffer;
    (void)arg;
    torc_deadline_enter(&deadline, 2 * TORC_MS);
    int err = torc_buffer_get(&pool, 1, &buffer);
    CHECK(torc_deadline_leave(&deadline));
    CHECK_EQ(err, -ETIMEDOUT);
    return 0;
}

static int interrupted(void *arg)
{
    static int number = 7;
    struct torc_scope scope;
    struct torc_task task;
    struct torc_buffer *buffer;
    (void)arg;
    make_pool(1);
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0);
    torc_scope_init(&scope);
    CHECK_EQ(
        torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, wait_and_note, &number),
        0);
    CHECK_EQ(torc_spawn(&scope, wait_with_deadline, NULL), 0);
    CHECK_EQ(torc_spawn(&scope, wait_and_note, &number), 0);
    torc_yield();
    torc_task_cancel(&task);
    CHECK_EQ(torc_sleep(5 * TORC_MS), 0);
    CHECK(torc_task_is_done(&task));
    CHECK_EQ(torc_task_join(&task), -ECANCELED);
    CHECK_EQ(order_count, 0);
    torc_buffer_put(buffer); /* goes past the two that gave up */
    CHECK_EQ(torc_scope_join(&scope), -ECANCELED);
    CHECK_EQ(order_count, 1);
    CHECK(torc_buffer_pool_check(&pool));

    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 0);
    CHECK_EQ(torc_sleep(TORC_MS), -ETIMEDOUT);
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0); /* what need not block does not fail */
    struct torc_buffer *second;
    CHECK_EQ(torc_buffer_get(&pool, 1, &second), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    torc_buffer_put(buffer);
    torc_buffer_pool_deinit(&pool);
    return 0;
}
TEST(dma_buffer, an_interrupted_waiter_leaves_the_queue)
{
    in_torc(interrupted);
}

/* Handed over and cancelled in the same turn: the buffer is kept, not lost. */
static int handed_over(void *arg)
{
    static int number = 1;
    struct torc_scope scope;
    struct torc_task task;
    struct torc_buffer *buffer;
    (void)arg;
    make_pool(1);
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0);
    torc_scope_init(&scope);
    CHECK_EQ(
        torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, wait_and_note, &number),
        0);
    torc_yield();
    torc_buffer_put(buffer);
    torc_task_cancel(&task);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(order_count, 1);
    CHECK(torc_buffer_pool_check(&pool));
    torc_buffer_pool_deinit(&pool);
    return 0;
}
TEST(dma_buffer, what_was_handed_over_is_not_lost_to_a_cancel)
{
    in_torc(handed_over);
}

/* ---- broken contracts ---- */

static int puts_twice(void *arg)
{
    struct torc_buffer *buffer;
    (void)arg;
    make_pool(2);
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0);
    torc_buffer_put(buffer);
    torc_buffer_put(buffer);
    return 0;
}
TEST_DYING(dma_buffer, giving_back_twice_is_fatal, SIGABRT)
{
    in_torc(puts_twice);
}

static int forgets(void *arg)
{
    struct torc_buffer *buffer;
    (void)arg;
    make_pool(2);
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0);
    torc_buffer_pool_deinit(&pool);
    return 0;
}
TEST_DYING(dma_buffer, ending_a_pool_with_a_buffer_out_is_fatal, SIGABRT)
{
    in_torc(forgets);
}

/* ---- pinning ---- */

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

static int unpinnable(void *arg)
{
    struct torc_buffer_pool_options options = {.total_bytes = 32 << 20, .buffer_bytes = 64 << 10};
    struct torc_dma_stats stats;
    struct torc_buffer *buffer;
    (void)arg;
    CHECK_EQ(torc_buffer_pool_init(&pool, &options), -ENOMEM);
    options.pinning = TORC_PIN_PREFERRED;
    CHECK_EQ(torc_buffer_pool_init(&pool, &options), 0);
    CHECK(!torc_buffer_pool_is_pinned(&pool));
    CHECK_EQ(torc_buffer_get(&pool, 1, &buffer), 0);
    CHECK_EQ(buffer->index, -1);
    torc_buffer_put(buffer);
    torc_buffer_pool_deinit(&pool);
    torc_dma_stats_get(&stats);
    CHECK_EQ(stats.unpinned_pools, 1);

    options.total_bytes = 256 << 10; /* fits */
    CHECK_EQ(torc_buffer_pool_init(&pool, &options), 0);
    CHECK(torc_buffer_pool_is_pinned(&pool));
    torc_buffer_pool_deinit(&pool);

    options.pinning = TORC_PIN_NEVER;
    CHECK_EQ(torc_buffer_pool_init(&pool, &options), 0);
    CHECK(!torc_buffer_pool_is_pinned(&pool));
    torc_buffer_pool_deinit(&pool);
    torc_dma_stats_get(&stats);
    CHECK_EQ(stats.unpinned_pools, 1); /* was not asked for */
    return 0;
}
TEST(dma_buffer, too_little_lockable_memory_fails_or_is_reported)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    limit_locked_memory(8 << 20);
    CHECK_EQ(run_alone(&(struct torc_config){.kernel = &fault.kernel}, unpinnable, NULL), 0);
    CHECK(fault_kernel_said(&fault, "stays unpinned"));
    CHECK(fault_kernel_said(&fault, "ulimit -l"));
    fault_kernel_check_clean(&fault);
}

/* Pretends to pin: no machine has to have so much memory. */
static int register_nothing(void *context, int ring, unsigned opcode, void *arg, unsigned count)
{
    (void)context, (void)ring, (void)opcode, (void)arg, (void)count;
    return 0;
}

static int many_regions(void *arg)
{
    struct torc_buffer *buffers[5];
    (void)arg;
    CHECK_EQ(torc_buffer_pool_init(
                 &pool, &(struct torc_buffer_pool_options){.total_bytes = (size_t)5 * (400 << 20),
                                                           .buffer_bytes = 400 << 20}),
             0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(torc_buffer_get(&pool, 1, &buffers[i]), 0);
    /* two fit into the gigabyte that a registration may have */
    CHECK_EQ(buffers[0]->index, buffers[1]->index);
    CHECK(buffers[1]->index != buffers[2]->index);
    CHECK_EQ(buffers[2]->index, buffers[3]->index);
    CHECK(buffers[3]->index != buffers[4]->index);
    CHECK(buffers[0]->index != buffers[4]->index);
    for (int i = 0; i < 5; i++)
        torc_buffer_put(buffers[i]);
    torc_buffer_pool_deinit(&pool);
    return 0;
}
static int many_regions_main(void *arg)
{
    struct fault_kernel *fault = arg;
    fault->kernel.ring_register = register_nothing;
    return many_regions(NULL);
}
TEST(dma_buffer, large_pools_take_several_registrations)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fault.kernel}, many_regions_main, &fault),
             0);
    fault_kernel_check_clean(&fault);
}

/* ---- every call fails once ---- */

static int use(void *arg)
{
    struct torc_buffer *buffer;
    (void)arg;
    int err = torc_buffer_pool_init(
        &pool, &(struct torc_buffer_pool_options){.classes = {{PAGE, 4}, {8 * PAGE, 2}},
                                                  .pinning = TORC_PIN_REQUIRED});
    if (err)
        return err;
    err = torc_buffer_get(&pool, 2 * PAGE, &buffer);
    if (!err)
        torc_buffer_put(buffer);
    CHECK(torc_buffer_pool_check(&pool));
    torc_buffer_pool_deinit(&pool);
    return err;
}
TEST(dma_buffer, any_call_may_fail)
{
    struct fault_kernel fault;
    long n = 0;
    for (;; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ALLOC | FAULT_MAP | FAULT_REGISTER;
        fault.fail_nth = n;
        int err = run_alone(&(struct torc_config){.kernel = &fault.kernel}, use, NULL);
        fault_kernel_check_clean(&fault);
        if (!fault.failed) {
            CHECK_EQ(err, 0);
            break;
        }
        CHECK(err <= 0);
    }
    CHECK(n >= 3);
}
