/* SPDX-License-Identifier: MIT
 *
 * How a ring comes up: the ladder of set-up flags, kernels that lack something, and what is said when there is no ring.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/abi_internal.h"
#include "io/io_internal.h"
#include "io/resource.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

/* What an old kernel refuses beside flags; laid over fault's functions. */
static struct {
    unsigned sparse;         /* IORING_REGISTER_: empty tables by number, -EINVAL */
    unsigned opcode;         /* this one, -EBUSY */
    bool cancel_flags;       /* a cancel that does not go by user_data is -EINVAL */
    int sysctl;              /* io_uring_disabled; negative: no such file */
    size_t sq_size, cq_size; /* what the rings take; mapped last */
    struct io_uring_params params;
    struct io_uring_sqe *sqes;
    uint32_t *sq_tail, sq_head, setups;
} old;

static int old_setup(void *context, unsigned entries, struct io_uring_params *params)
{
    int fd = fault_ring_setup(context, entries, params);
    old.setups++;
    old.params = *params;
    return fd;
}

static void *old_map(void *context, int ring, uint64_t offset, size_t size)
{
    char *memory = fault_ring_map(context, ring, offset, size);
    if (offset == IORING_OFF_SQES)
        old.sqes = (struct io_uring_sqe *)memory;
    else
        old.cq_size = size;
    if (memory && offset == IORING_OFF_SQ_RING)
        old.sq_tail = (uint32_t *)(memory + old.params.sq_off.tail);
    return memory;
}

static int old_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                     unsigned flags, const void *arg, size_t size)
{
    for (; old.cancel_flags && old.sq_head != *old.sq_tail; old.sq_head++) {
        struct io_uring_sqe *sqe = &old.sqes[old.sq_head & (old.params.sq_entries - 1)];
        if (sqe->opcode == IORING_OP_ASYNC_CANCEL && sqe->cancel_flags)
            sqe->opcode = 255;
    }
    return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
}

static int old_register(void *context, int ring, unsigned opcode, void *arg, unsigned count)
{
    if (old.opcode && opcode == old.opcode)
        return -EBUSY;
    bool table = opcode == IORING_REGISTER_BUFFERS2 || opcode == IORING_REGISTER_FILES2;
    if (table && old.sparse &&
        (((struct io_uring_rsrc_register *)arg)->flags & IORING_RSRC_REGISTER_SPARSE))
        return -EINVAL;
    return fault_ring_register(context, ring, opcode, arg, count);
}

static long old_call(void *context, long number, const long arguments[6])
{
    if (number == SYS_openat &&
        !strcmp((const char *)arguments[1], "/proc/sys/kernel/io_uring_disabled")) {
        int ends[2];
        char digit = (char)('0' + old.sysctl);
        if (old.sysctl < 0)
            return -ENOENT;
        ring_pipe(ends);
        CHECK_EQ(write(ends[1], &digit, 1), 1);
        close(ends[1]);
        return ends[0];
    }
    return fault_call(context, number, arguments);
}

static void setup(void)
{
    fault_kernel_init(&fault);
    memset(&old, 0, sizeof old);
    fault.kernel.ring_setup = old_setup;
    fault.kernel.ring_enter = old_enter;
    fault.kernel.ring_register = old_register;
    fault.kernel.ring_map = old_map;
    fault.kernel.call = old_call;
}

/* One ring: OLD says what was asked of it. */
static int run(torc_task_fn *main, void *arg)
{
    unsigned before = ring_open_descriptors();
    struct torc_config config = {.kernel = &fault.kernel};
    int result = run_alone(&config, main, arg);
    fault_kernel_check_clean(&fault);
    CHECK_EQ(ring_open_descriptors(), before);
    return result;
}

/* ---- the ladder ---- */

static int tell_rung(void *arg)
{
    (void)arg;
    CHECK_EQ(ring_ops_all(NULL), 42);
    return torci_io_this()->ring.rung;
}

TEST(ring, the_best_rung_that_the_kernel_takes_is_used)
{
    static const struct {
        unsigned refused;
        int rung;
    } kernels[] = {
        {0, 0},
        {FAULT_FLAGS_BEFORE_6_6, 1},  /* 6.5 */
        {FAULT_FLAGS_BEFORE_6_1, 2},  /* 6.0 */
        {FAULT_FLAGS_BEFORE_6_0, 2},  /* 5.19 */
        {FAULT_FLAGS_BEFORE_5_19, 3}, /* 5.18 */
        {FAULT_FLAGS_BEFORE_5_18, 3}, /* 5.15 */
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(kernels); i++) {
        setup();
        fault.setup_flags_refused = kernels[i].refused;
        old.sparse = old.cancel_flags = kernels[i].rung == 3;
        CHECK_EQ(run(tell_rung, NULL), kernels[i].rung);
        CHECK_EQ(old.setups, kernels[i].rung + 1);
        CHECK_EQ(old.params.flags & ~(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP),
                 torci_ring_rung_flags((unsigned)kernels[i].rung));
        CHECK(torci_ring_rung_name((unsigned)kernels[i].rung) != NULL);
    }
    CHECK_EQ(torci_ring_rung_flags(4), -EINVAL);
    CHECK(torci_ring_rung_name(4) == NULL);
}

TEST(ring, only_einval_steps_down)
{
    static const int errnos[] = {EPERM, ENOMEM, EMFILE, ENFILE, ENOSYS};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(errnos); i++) {
        setup();
        fault.setup_errno = errnos[i];
        CHECK_EQ(run(ring_ops_all, NULL), -errnos[i]);
        CHECK_EQ(old.setups, 1);
        CHECK_EQ(fault.lines, 1);
    }
    setup();
    fault.setup_errno = EINVAL;
    CHECK_EQ(run(ring_ops_all, NULL), -EINVAL);
    CHECK_EQ(old.setups, 4);
    CHECK(fault_kernel_said(&fault, "256 entries and 4096 completions"));
}

TEST(ring, what_is_not_there_is_done_without)
{
    setup(); /* the probe */
    old.opcode = IORING_REGISTER_PROBE;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
    setup(); /* one ring more than a thread may register */
    old.opcode = IORING_REGISTER_RING_FDS;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
    setup(); /* limits for kernel workers */
    old.opcode = IORING_REGISTER_IOWQ_MAX_WORKERS;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
    setup();
    fault.fail_kinds = FAULT_STALL;
    fault.fail_nth = 0;
    CHECK_EQ(run(ring_ops_all, NULL), 42);
}

TEST(ring, a_kernel_without_the_needed_features_is_refused)
{
    static const unsigned needed[] = {IORING_FEAT_SINGLE_MMAP, IORING_FEAT_NODROP,
                                      IORING_FEAT_EXT_ARG};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(needed); i++) {
        setup();
        fault.features_hidden = needed[i];
        CHECK_EQ(run(ring_ops_all, NULL), -EOPNOTSUPP);
        CHECK(fault_kernel_said(&fault, "5.15"));
    }
}

/* Without an SQ array its offset is 0: a size worked out from that is too small or too large. */
TEST(ring, the_mapping_ends_with_what_the_ring_has)
{
    for (unsigned refused = 0; refused < 2; refused++) {
        setup();
        fault.setup_flags_refused = refused ? FAULT_FLAGS_BEFORE_6_6 : 0;
        CHECK_EQ(run(ring_ops_all, NULL), 42);
        const struct io_uring_params *params = &old.params;
        size_t entries_end = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
        size_t array_end =
            refused ? params->sq_off.array + params->sq_entries * sizeof(uint32_t) : 0;
        CHECK_EQ(old.cq_size, entries_end > array_end ? entries_end : array_end);
        CHECK_EQ(!(params->flags & TORCI_SETUP_NO_SQARRAY), refused);
    }
}

static int sizes(void *arg)
{
    struct torci_io *io = torci_io_this();
    const uint32_t *wanted = arg;
    CHECK_EQ(io->ring.sq_entries, wanted[0]);
    CHECK_EQ(io->ring.cq_entries, wanted[1]);
    return ring_ops_all(NULL);
}

TEST(ring, sizes_are_rounded_up)
{
    static const struct {
        uint32_t entries, completions, got[2];
    } sizes_of[] = {{4, 8, {4, 8}},
                    {5, 9, {8, 16}},
                    {8, 8, {8, 8}},
                    {0, 0, {256, 4096}},
                    {2000, 0, {2048, 8192}}};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(sizes_of); i++) {
        setup();
        struct torc_config config = {.kernel = &fault.kernel,
                                     .ring_entries = sizes_of[i].entries,
                                     .completion_entries = sizes_of[i].completions};
        CHECK_EQ(run_shard(&config, sizes, (void *)(uintptr_t)sizes_of[i].got), 42);
    }
}

TEST(ring, values_out_of_range_are_refused_with_a_line)
{
    const struct torc_config wrong[] = {
        {.ring_entries = 32769},         {.ring_entries = 8, .completion_entries = 7},
        {.ring_entries = UINT32_MAX},    {.blocking_threads = 65},
        {.buffers_max = 16385},          {.files_max = (1 << 20) + 1},
        {.stack_bytes = (16 << 20) + 1},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(wrong); i++) {
        setup();
        struct torc_config config = wrong[i];
        config.kernel = &fault.kernel;
        CHECK_EQ(run_shard(&config, ring_ops_all, NULL), -EINVAL);
        CHECK_EQ(fault.lines, 1);
        CHECK_EQ(old.setups, 0);
        fault_kernel_check_clean(&fault);
    }
}

static int run_inside(void *arg)
{
    return run_shard(NULL, ring_ops_all, arg);
}

TEST(ring, a_thread_runs_one_executor_at_a_time)
{
    setup();
    CHECK_EQ(run(run_inside, NULL), -EBUSY);
}

static void *run_beside(void *result)
{
    *(int *)result = run_shard(NULL, ring_ops_all, NULL);
    return NULL;
}

TEST(ring, two_threads_run_one_each)
{
    pthread_t thread;
    int other = 0;
    CHECK_EQ(pthread_create(&thread, NULL, run_beside, &other), 0);
    setup();
    CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fault.kernel}, ring_ops_all, NULL), 42);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(other, 42);
}

/* ---- what is said ---- */

TEST(ring, every_reason_has_its_line)
{
    static const struct {
        int err, sysctl;
        const char *line;
    } reasons[] = {
        {ENOSYS, 0, "a seccomp filter hides io_uring"}, /* the sysctl is there, so the code is */
        {ENOSYS, -1, "torc: this kernel has no usable io_uring: Linux 5.15 or newer is needed"},
        {EPERM, 2, "torc: io_uring is switched off: sysctl -w kernel.io_uring_disabled=0"},
        {EPERM, 1, "kernel.io_uring_group"},
        {EPERM, 0, "seccomp"},
        {EPERM, -1, "seccomp"},
        {ENOMEM, 0, "ulimit -l"},
        {EMFILE, 0, "ulimit -n"},
        {ENFILE, 0, "errno 23"},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(reasons); i++) {
        setup();
        fault.setup_errno = reasons[i].err;
        old.sysctl = reasons[i].sysctl;
        CHECK_EQ(run(ring_ops_all, NULL), -reasons[i].err);
        CHECK_EQ(fault.lines, 1);
        CHECK(fault_kernel_said(&fault, reasons[i].line));
    }
}

/* In a child: limits and rights do not come back. The line it reported, or why not. */
static void in_child(void (*fn)(void), char *text, size_t text_size)
{
    int ends[2], status;
    ring_pipe(ends);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], text + length, text_size - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

static int pin_much(void *arg)
{
    (void)arg;
    size_t size = 64 << 20;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int index = torc_buffer_register(memory, size);
    munmap(memory, size);
    int small = torc_buffer_register(&size, sizeof size);
    return index == -ENOMEM && small == 0 ? 0 : index == -ENOMEM ? -EIO : index;
}

static void pin_without_rights(void)
{
    struct rlimit limit = {8 << 20, 8 << 20};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) || (getuid() == 0 && setresuid(65534, 65534, 65534)))
        _exit(2);
    _exit(run_shard(NULL, pin_much, NULL) ? 3 : 0);
}

TEST(ring, memory_that_can_not_be_pinned_is_explained)
{
    char text[1024];
    in_child(pin_without_rights, text, sizeof text);
    CHECK_STR(without_crowd(text),
              "torc: 65536 KiB can't be pinned: the locked-memory limit is too small: ulimit "
              "-l 131072 or more, or LimitMEMLOCK= of the service\n");
}

static void run_without_descriptors(void)
{
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit limit = {(rlim_t)next + 1, (rlim_t)next + 1};
    if (next < 0 || setrlimit(RLIMIT_NOFILE, &limit))
        _exit(2);
    _exit(run_shard(NULL, ring_ops_all, NULL) == -EMFILE ? 0 : 3);
}

TEST(ring, too_many_open_files_are_explained)
{
    char text[1024];
    in_child(run_without_descriptors, text, sizeof text);
    CHECK_STR(without_crowd(text), "torc: too many open files: raise the limit (ulimit -n)\n");
}

/* The ring itself fits, the signals' descriptor does not. */
static void run_with_one_descriptor(void)
{
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit limit = {(rlim_t)next + 2, (rlim_t)next + 2};
    if (next < 0 || setrlimit(RLIMIT_NOFILE, &limit))
        _exit(2);
    _exit(run_alone(NULL, ring_ops_all, NULL) == -EMFILE ? 0 : 3);
}

TEST(ring, too_few_descriptors_for_signals_are_explained)
{
    char text[1024];
    in_child(run_with_one_descriptor, text, sizeof text);
    CHECK(strstr(text, "ulimit -n") != NULL);
}

/* ---- tables ---- */

static int fill_tables(void *arg)
{
    static char memory[4096];
    (void)arg;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(torc_buffer_register(memory, sizeof memory), i);
        CHECK_EQ(torc_slot_register(0), i);
    }
    CHECK_EQ(torc_buffer_register(memory, sizeof memory), -ENOSPC);
    CHECK_EQ(torc_slot_register(0), -ENOSPC);
    torc_buffer_unregister(1);
    torc_slot_unregister(1);
    CHECK_EQ(torc_buffer_register((void *)(uintptr_t)4096, 4096), -EFAULT);
    CHECK_EQ(torc_slot_register(-1), -EBADF);
    CHECK_EQ(torc_slot_register(1000000), -EBADF);
    CHECK_EQ(torc_buffer_register(memory, sizeof memory), 1);
    CHECK_EQ(torc_slot_register(0), 1);
    return 42;
}

static int close_by_slot(void *arg)
{
    int ends[2];
    (void)arg;
    ring_pipe(ends);
    int slot = torc_slot_register(ends[1]);
    CHECK(slot >= 0);
    close(ends[1]); /* the table holds it open */
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 5 * TORC_MS);
    CHECK_EQ(ring_poll(ends[0]), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    torc_slot_unregister(slot);
    torc_deadline_enter(&deadline, 5 * TORC_SEC);
    CHECK(ring_poll(ends[0]) > 0); /* the end of the pipe */
    CHECK(!torc_deadline_leave(&deadline));
    close(ends[0]);
    return 0;
}

TEST(ring, a_slot_lets_its_file_go)
{
    setup();
    CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fault.kernel}, close_by_slot, NULL), 0);
    fault_kernel_check_clean(&fault);
}

TEST(ring, tables_have_the_room_that_was_asked_for)
{
    for (unsigned sparse = 0; sparse < 2; sparse++) {
        setup();
        old.sparse = sparse;
        struct torc_config config = {.kernel = &fault.kernel, .buffers_max = 3, .files_max = 3};
        CHECK_EQ(run_shard(&config, fill_tables, NULL), 42);
        fault_kernel_check_clean(&fault);
    }
}
