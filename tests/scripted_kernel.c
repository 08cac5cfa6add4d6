/* SPDX-License-Identifier: MIT
 *
 * See scripted_kernel.h. Entries are taken into a table; what is due goes from there to the completion queue when torc
 * enters with GETEVENTS. What finds no room in the queue stays in the table and raises CQ_OVERFLOW.
 */
#include "tests/scripted_kernel.h"
#include "tests/run_shard.h"

#include <errno.h>
#include <liburing.h>
#include <sys/mman.h>

struct scripted_ring {
    uint32_t sq_head, sq_tail, sq_entries, sq_flags;
    uint32_t cq_head, cq_tail, cq_entries;
    uint32_t array[SCRIPTED_ENTRIES_MAX];
    struct io_uring_cqe cqes[2 * SCRIPTED_ENTRIES_MAX];
};

static struct scripted_kernel *self_of(void *context)
{
    return context;
}

/* ---- memory, clock, report ---- */

static uint64_t now_ns(void *context)
{
    return self_of(context)->now_ns += self_of(context)->step_ns;
}

static void *alloc_memory(void *context, size_t size)
{
    self_of(context)->bytes += (long)size;
    return calloc(1, size);
}

static void free_memory(void *context, void *memory, size_t size)
{
    self_of(context)->bytes -= (long)size;
    free(memory);
}

static void *map_memory(void *context, size_t size)
{
    self_of(context)->bytes += (long)size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int commit_memory(void *context, void *memory, size_t size)
{
    (void)context, (void)memory, (void)size;
    return 0;
}

static void unmap_memory(void *context, void *memory, size_t size)
{
    self_of(context)->bytes -= (long)size;
    munmap(memory, size);
}

static int guard_memory(void *context, void *memory, size_t size)
{
    (void)context;
    return mprotect(memory, size, PROT_NONE) ? -errno : 0;
}

static void report(void *context, const char *line)
{
    snprintf(self_of(context)->said, sizeof self_of(context)->said, "%s", line);
}

/* ---- completing ---- */

static struct scripted_op *op_find(struct scripted_kernel *script, uint64_t user_data)
{
    for (size_t i = 0; i < SCRIPTED_OPS_MAX; i++)
        if (script->ops[i].used && script->ops[i].user_data == user_data)
            return &script->ops[i];
    return NULL;
}

unsigned scripted_pending(const struct scripted_kernel *script)
{
    unsigned count = 0;
    for (size_t i = 0; i < SCRIPTED_OPS_MAX; i++)
        count += script->ops[i].used;
    return count;
}

static uint32_t ready(const struct scripted_ring *ring)
{
    return ring->cq_tail - __atomic_load_n(&ring->cq_head, __ATOMIC_ACQUIRE);
}

void scripted_post(struct scripted_kernel *script, uint64_t user_data, int result, uint32_t flags)
{
    struct scripted_ring *ring = script->ring;
    struct io_uring_cqe *cqe = &ring->cqes[ring->cq_tail % ring->cq_entries];
    cqe->user_data = user_data;
    cqe->res = result;
    cqe->flags = flags;
    __atomic_store_n(&ring->cq_tail, ring->cq_tail + 1, __ATOMIC_RELEASE);
}

/* The kernel may write where the program may not: the buffer is poisoned. Volatile keeps memcpy out. */
__attribute__((no_sanitize("address"))) static void copy(volatile char *to,
                                                         const volatile char *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = from[i];
}

static void transfer(struct scripted_kernel *script, struct scripted_op *op)
{
    uint64_t room = op->offset < SCRIPTED_FILE_BYTES ? SCRIPTED_FILE_BYTES - op->offset : 0;
    uint32_t size = op->length < room ? op->length : (uint32_t)room;
    if (op->opcode == IORING_OP_READ)
        copy(op->memory, script->file + op->offset, size);
    else
        copy(script->file + op->offset, op->memory, size);
    op->result = (int32_t)size;
}

/* The next one to be posted, of those that are due. */
static struct scripted_op *op_due(struct scripted_kernel *script)
{
    struct scripted_op *best = NULL;
    for (size_t i = 0; i < SCRIPTED_OPS_MAX; i++) {
        struct scripted_op *op = &script->ops[i];
        if (!op->used || op->due_ns > script->now_ns)
            continue;
        bool before = !best || op->due_ns < best->due_ns ||
                      (op->due_ns == best->due_ns && op->sequence < best->sequence);
        if (!best || before != script->reversed)
            best = op;
    }
    return best;
}

static void op_post(struct scripted_kernel *script, struct scripted_op *op)
{
    bool transfers = op->opcode == IORING_OP_READ || op->opcode == IORING_OP_WRITE;
    if (transfers && !op->result)
        transfer(script, op);
    op->used = op->multishot && op->result >= 0;
    op->due_ns = UINT64_MAX;
    for (int i = 0; i < 1 + script->twice; i++)
        scripted_post(script, op->user_data, op->result, op->used ? IORING_CQE_F_MORE : 0);
}

static void deliver(struct scripted_kernel *script)
{
    struct scripted_ring *ring = script->ring;
    struct scripted_op *op;
    uint32_t flags = 0;
    for (unsigned posted = 0; (op = op_due(script)); posted++) {
        if (ready(ring) == ring->cq_entries) {
            flags = IORING_SQ_CQ_OVERFLOW;
            script->has_overflowed = true;
            break;
        }
        if (script->batch && posted == script->batch) {
            flags = IORING_SQ_TASKRUN;
            break;
        }
        op_post(script, op);
    }
    __atomic_store_n(&ring->sq_flags, flags, __ATOMIC_RELAXED);
}

void scripted_fire(struct scripted_kernel *script, int fd, int result)
{
    for (size_t i = 0; i < SCRIPTED_OPS_MAX; i++) {
        struct scripted_op *op = &script->ops[i];
        if (op->used && op->opcode == IORING_OP_POLL_ADD && op->fd == fd) {
            op->result = result;
            op->due_ns = script->now_ns;
            __atomic_store_n(&script->ring->sq_flags, IORING_SQ_TASKRUN, __ATOMIC_RELAXED);
        }
    }
}

/* ---- taking entries ---- */

static void cancel_all(struct scripted_kernel *script, struct scripted_op *cancel)
{
    for (size_t i = 0; i < SCRIPTED_OPS_MAX; i++) {
        struct scripted_op *op = &script->ops[i];
        if (!op->used || op == cancel)
            continue;
        op->result = -ECANCELED;
        op->due_ns = script->now_ns;
        cancel->result++;
    }
}

static void cancel_one(struct scripted_kernel *script, struct scripted_op *cancel, uint64_t target)
{
    struct scripted_cancel how = {0};
    if (script->cancels_seen < script->cancels_count)
        how = script->cancels[script->cancels_seen];
    else if (script->cancels_stay)
        how = (struct scripted_cancel){.answer = -EALREADY, .spares_target = true};
    script->cancels_seen++;
    struct scripted_op *op = op_find(script, target);
    cancel->result = op || how.answer ? how.answer : -ENOENT;
    cancel->due_ns += how.answer_after_ns;
    if (!op || how.spares_target)
        return;
    op->result = how.target_result ? how.target_result : -ECANCELED;
    op->due_ns = script->now_ns + how.target_after_ns;
}

static void take(struct scripted_kernel *script, const struct io_uring_sqe *sqe)
{
    struct scripted_op *op = script->ops;
    while (op->used)
        op++;
    CHECK(op < script->ops + SCRIPTED_OPS_MAX);
    *op = (struct scripted_op){.used = true,
                               .user_data = sqe->user_data,
                               .opcode = sqe->opcode,
                               .sequence = script->submitted++,
                               .fd = sqe->fd,
                               .memory = (char *)(uintptr_t)sqe->addr,
                               .length = sqe->len,
                               .offset = sqe->off,
                               .due_ns = script->now_ns};
    switch (sqe->opcode) {
    case IORING_OP_NOP:
    case IORING_OP_READ:
    case IORING_OP_WRITE: op->due_ns += script->delay_ns; break;
    case IORING_OP_POLL_ADD:
        op->due_ns = UINT64_MAX;
        op->multishot = sqe->len & IORING_POLL_ADD_MULTI;
        break;
    case IORING_OP_TIMEOUT: {
        const struct __kernel_timespec *after = (const void *)(uintptr_t)sqe->addr;
        op->due_ns += (uint64_t)after->tv_sec * TORC_SEC + (uint64_t)after->tv_nsec;
        op->result = -ETIME;
        break;
    }
    case IORING_OP_ASYNC_CANCEL:
        if (sqe->cancel_flags && script->refuses_any)
            op->result = -EINVAL;
        else if (sqe->cancel_flags)
            cancel_all(script, op);
        else
            cancel_one(script, op, sqe->addr);
        break;
    default: op->result = -EINVAL;
    }
}

/* ---- the ring ---- */

static int ring_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    struct scripted_kernel *script = context;
    if (entries > SCRIPTED_ENTRIES_MAX || (entries & (entries - 1)) ||
        params->cq_entries > 2 * SCRIPTED_ENTRIES_MAX)
        return -ENOMEM;
    uint32_t completions = params->cq_entries;
    if (params->flags & (IORING_SETUP_IOPOLL | 1u << 16)) /* polling; no SQ array */
        return -EINVAL;
    script->ring = map_memory(context, sizeof *script->ring);
    script->sqes = map_memory(context, entries * sizeof *script->sqes);
    struct scripted_ring *ring = script->ring;
    ring->sq_head = ring->sq_tail = ring->cq_head = ring->cq_tail = script->first_index;
    ring->sq_entries = params->sq_entries = entries;
    ring->cq_entries = params->cq_entries = completions;
    params->features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    params->sq_off = (struct io_sqring_offsets){
        .head = offsetof(struct scripted_ring, sq_head),
        .tail = offsetof(struct scripted_ring, sq_tail),
        .ring_entries = offsetof(struct scripted_ring, sq_entries),
        .flags = offsetof(struct scripted_ring, sq_flags),
        .array = offsetof(struct scripted_ring, array),
    };
    params->cq_off = (struct io_cqring_offsets){
        .head = offsetof(struct scripted_ring, cq_head),
        .tail = offsetof(struct scripted_ring, cq_tail),
        .ring_entries = offsetof(struct scripted_ring, cq_entries),
        .cqes = offsetof(struct scripted_ring, cqes),
    };
    return 7;
}

/* Gives the ring back at the size that it was mapped with, whatever torc has worked out. */
static void *ring_map(void *context, int fd, uint64_t offset, size_t size)
{
    struct scripted_kernel *script = context;
    CHECK_EQ(fd, 7);
    bool sqes = offset == IORING_OFF_SQES;
    size_t mapped = sqes ? script->ring->sq_entries * sizeof *script->sqes : sizeof *script->ring;
    CHECK(size <= mapped);
    script->bytes += (long)size - (long)mapped; /* unmap is told SIZE */
    return sqes ? (void *)script->sqes : (void *)script->ring;
}

static int wait_for(struct scripted_kernel *script, unsigned min_complete, uint64_t until_ns)
{
    script->waits++;
    while (ready(script->ring) < min_complete) {
        uint64_t next_ns = UINT64_MAX;
        for (size_t i = 0; i < SCRIPTED_OPS_MAX; i++)
            if (script->ops[i].used && script->ops[i].due_ns < next_ns)
                next_ns = script->ops[i].due_ns;
        if (next_ns == UINT64_MAX && until_ns == UINT64_MAX)
            return -EDEADLK;
        if (next_ns > until_ns) {
            script->now_ns = until_ns;
            return -ETIME;
        }
        script->now_ns = next_ns > script->now_ns ? next_ns : script->now_ns;
        deliver(script);
    }
    return 0;
}

static int ring_enter(void *context, int fd, unsigned to_submit, unsigned min_complete,
                      unsigned flags, const void *arg, size_t arg_size)
{
    struct scripted_kernel *script = context;
    struct scripted_ring *ring = script->ring;
    CHECK_EQ(fd, 7);
    CHECK(++script->enters < 1000000);
    if (script->refusals) {
        script->refusals--;
        return script->refusal;
    }
    int taken = 0;
    if (script->take_max && to_submit > script->take_max)
        to_submit = script->take_max;
    while (to_submit-- && ring->sq_head != __atomic_load_n(&ring->sq_tail, __ATOMIC_ACQUIRE)) {
        take(script, &script->sqes[ring->array[ring->sq_head % ring->sq_entries]]);
        ring->sq_head++;
        taken++;
    }
    if (!(flags & IORING_ENTER_GETEVENTS))
        return taken;
    uint64_t until_ns = UINT64_MAX;
    if (flags & IORING_ENTER_EXT_ARG) {
        CHECK_EQ(arg_size, sizeof(struct io_uring_getevents_arg));
        const struct io_uring_getevents_arg *extended = arg;
        const struct __kernel_timespec *after = (const void *)(uintptr_t)extended->ts;
        CHECK(after->tv_sec || after->tv_nsec); /* a zero timespec is slow: see ring.c */
        until_ns = script->now_ns + (uint64_t)after->tv_sec * TORC_SEC + (uint64_t)after->tv_nsec;
    }
    deliver(script);
    int err = min_complete ? wait_for(script, min_complete, until_ns) : 0;
    return taken && err != -EDEADLK ? taken : err;
}

static int ring_register(void *context, int fd, unsigned opcode, void *arg, unsigned count)
{
    (void)context, (void)fd, (void)opcode, (void)arg, (void)count;
    return -EINVAL;
}

/* ---- the rest of the machine ---- */

static int wake(void *context, int fd)
{
    scripted_fire(context, fd, 1);
    return 0;
}

static int no_random(void *context, void *memory, size_t size)
{
    (void)context;
    memset(memory, 4, size);
    return 0;
}

static int no_thread(void *context, void (*fn)(void *arg), void *arg, const char *name,
                     uintptr_t *thread)
{
    (void)context, (void)fn, (void)arg, (void)name, (void)thread;
    return -EAGAIN;
}

static void no_join(void *context, uintptr_t thread)
{
    (void)context, (void)thread;
}

static int enter_thread(void *context, int cpu, void (*on_fault)(int, const void *))
{
    (void)context, (void)on_fault;
    return cpu < 0 ? 0 : cpu;
}

static void leave_thread(void *context)
{
    (void)context;
}

static int no_stalls(void *context, uint64_t interval_ns, void (*on_stall)(void))
{
    (void)context, (void)interval_ns, (void)on_stall;
    return 0;
}

static long call(void *context, long number, const long arguments[6])
{
    (void)context, (void)arguments;
    return number == SYS_close ? 0 : number == SYS_eventfd2 ? 9 : -ENOSYS;
}

void scripted_init(struct scripted_kernel *script)
{
    memset(script, 0, sizeof *script);
    script->now_ns = TORC_SEC;
    script->kernel = (struct torci_kernel){
        .host = {.context = script,
                 .map_context = script,
                 .now_ns = now_ns,
                 .alloc = alloc_memory,
                 .free = free_memory,
                 .map = map_memory,
                 .unmap = unmap_memory,
                 .guard = guard_memory,
                 .report = report},
        .ring_setup = ring_setup,
        .ring_enter = ring_enter,
        .ring_register = ring_register,
        .ring_map = ring_map,
        .reserve = map_memory,
        .commit = commit_memory,
        .wake = wake,
        .random = no_random,
        .thread_start = no_thread,
        .thread_join = no_join,
        .thread_enter = enter_thread,
        .thread_leave = leave_thread,
        .stall_timer = no_stalls,
        .backtrace = leave_thread,
        .call = call,
    };
    script->config = (struct torc_config){.kernel = &script->kernel,
                                          .ring_entries = 16,
                                          .completion_entries = 32,
                                          .keep_signals = true};
}

int scripted_run(struct scripted_kernel *script, torc_task_fn *main, void *arg)
{
    int result = run_alone(&script->config, main, arg);
    CHECK_EQ(script->bytes, 0);
    return result;
}
