/* SPDX-License-Identifier: MIT
 *
 * torc on a kernel that follows a script: what a real one does once in a million rounds happens here every time. That
 * it runs at all shows that nothing above the shim knows which kernel it is on.
 */
#include <errno.h>
#include <liburing.h>
#include <signal.h>

#include "io/io_internal.h"
#include "tests/ring_ops.h"
#include "tests/scripted_kernel.h"

static struct scripted_kernel script;

/* ---- a third kernel ---- */

static int every_opcode(void *arg)
{
    (void)arg;
    char text[] = "torn at no seam", back[sizeof text] = "";
    CHECK_EQ(ring_nop(), 0);
    CHECK_EQ(ring_write(3, text, sizeof text, 100), sizeof text);
    CHECK_EQ(ring_read(3, back, sizeof back, 100), sizeof back);
    CHECK_STR(back, text);
    CHECK_EQ(ring_read(3, back, 8, SCRIPTED_FILE_BYTES - 3), 3);
    uint64_t began = torc_now_ns();
    CHECK_EQ(ring_timeout(5000), -ETIME);
    CHECK_EQ(torc_now_ns() - began, 5000);
    CHECK_EQ(torc_sleep(7000), 0);
    CHECK_EQ(torc_now_ns() - began, 12000);
    scripted_fire(&script, 5, 1); /* nobody polls yet */
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 1000);
    CHECK_EQ(ring_poll(5), -ETIMEDOUT);
    CHECK(torc_deadline_leave(&deadline));
    return 42;
}

TEST(script, a_third_kernel_runs_the_same_code)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, every_opcode, NULL), 42);
    CHECK_EQ(script.waits > 0, true);
}

TEST(script, indices_wrap_around)
{
    for (uint32_t back = 0; back < 8; back++) {
        scripted_init(&script);
        script.first_index = UINT32_MAX - back;
        CHECK_EQ(scripted_run(&script, every_opcode, NULL), 42);
    }
}

static int sleep_past_a_second(void *arg)
{
    (void)arg;
    uint64_t began = torc_now_ns();
    CHECK_EQ(torc_sleep(3 * TORC_SEC / 2), 0);
    CHECK_EQ(torc_now_ns() - began, 3 * TORC_SEC / 2);
    return 0;
}

TEST(script, a_sleep_of_more_than_a_second_is_not_longer)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, sleep_past_a_second, NULL), 0);
}

/* ---- who gets which result ---- */

enum { READERS = 40 };

static int read_own(void *arg)
{
    unsigned mine = (unsigned)(uintptr_t)arg;
    char memory[READERS + 1] = "";
    CHECK_EQ(ring_read(3, memory, mine, mine), mine);
    for (unsigned i = 0; i < mine; i++)
        CHECK_EQ(memory[i], (char)(mine + i));
    return 0;
}

static int read_all(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (uintptr_t i = 1; i <= READERS; i++)
        CHECK_EQ(torc_spawn(&all, read_own, (void *)i), 0);
    return torc_scope_join(&all);
}

TEST(script, each_task_gets_its_own_result_in_any_order)
{
    for (unsigned variant = 0; variant < 32; variant++) {
        scripted_init(&script);
        for (unsigned i = 0; i < SCRIPTED_FILE_BYTES; i++)
            script.file[i] = (char)i;
        script.reversed = variant & 1;
        script.batch = variant & 2 ? 1 : 0;
        script.delay_ns = variant & 4 ? 3000 : 0;
        script.take_max = variant & 8 ? 3 : 0;
        script.config.ring_entries = 4;
        script.config.completion_entries = variant & 16 ? 4 : 8;
        CHECK_EQ(scripted_run(&script, read_all, NULL), 0);
    }
}

/* ---- embedded ---- */

static struct ring_op many[48];

static int flood(void *arg)
{
    (void)arg;
    struct io_uring_sqe *sqe;
    memset(many, 0, sizeof many);
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(many); i++) {
        CHECK_EQ(torc_op_start(&many[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_nop(sqe);
    }
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(many); i++)
        CHECK_EQ(many[i].ran, 0); /* never inside a start, though the ring had to be entered */
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(many); i++)
        CHECK_EQ(many[i].ran, 1);
    return 0;
}

TEST(script, nothing_is_lost_when_the_completion_queue_overflows)
{
    scripted_init(&script);
    script.config.ring_entries = 4;
    script.config.completion_entries = 8;
    CHECK_EQ(scripted_run(&script, flood, NULL), 0);
    CHECK(script.has_overflowed);
}

static int multishot(void *arg)
{
    (void)arg;
    struct ring_op poll = {.ran = 0};
    struct io_uring_sqe *sqe;
    CHECK_EQ(torc_op_start(&poll.op, ring_op_done, &sqe), 0);
    io_uring_prep_poll_multishot(sqe, 5, 1);
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(torc_sleep(1000), 0);
        scripted_fire(&script, 5, i);
        CHECK_EQ(torc_sleep(1000), 0);
        CHECK_EQ(poll.ran, i);
        CHECK_EQ(poll.result, i);
        CHECK(poll.flags & IORING_CQE_F_MORE);
    }
    CHECK_EQ(torc_op_cancel(&poll.op), 0);
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK_EQ(poll.ran, 4);
    CHECK_EQ(poll.result, -ECANCELED);
    CHECK(!(poll.flags & IORING_CQE_F_MORE));
    return 0;
}

TEST(script, a_multishot_runs_until_its_last_completion)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, multishot, NULL), 0);
    CHECK_EQ(scripted_pending(&script), 0);
}

/* A task's operation that tells twice, the way a zero-copy send does: its result, then that the buffer is free. */
static int wait_twice(void *arg)
{
    struct torc_op *op = arg;
    struct io_uring_sqe *sqe;
    CHECK_EQ(torc_op_begin(op, &sqe), 0);
    io_uring_prep_poll_multishot(sqe, 5, 1);
    return torc_op_wait(op);
}

static int two_completions(void *arg)
{
    (void)arg;
    struct torc_scope scope;
    struct torc_task task;
    struct torc_op op;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, wait_twice, &op),
             0);
    CHECK_EQ(torc_sleep(1000), 0);
    scripted_fire(&script, 5, 17);
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK(!torc_task_is_done(&task)); /* the kernel still has it */
    struct scripted_op *last = script.ops;
    while (!last->used)
        last++;
    last->used = false;
    scripted_post(&script, (uint64_t)(uintptr_t)&op, 0, IORING_CQE_F_NOTIF);
    CHECK_EQ(torc_sleep(1000), 0);
    CHECK(torc_task_is_done(&task));
    CHECK_EQ(torc_task_join(&task), 17);
    return torc_scope_join(&scope);
}

TEST(script, a_task_waits_for_the_last_completion_and_gets_the_first_result)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, two_completions, NULL), 0);
}

/* ---- no room ---- */

struct victim {
    struct torc_task task;
    int result;
    uint64_t ended_ns;
};

static int wait_at_poll(void *arg)
{
    struct victim *victim = arg;
    victim->result = ring_poll(5);
    victim->ended_ns = torc_now_ns();
    return 0;
}

enum { CROWD = 100 };

static int nop_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++)
        CHECK_EQ(ring_nop(), 0);
    return 0;
}

static int crowd(void *arg)
{
    (void)arg;
    struct torc_scope all;
    torc_scope_init(&all);
    for (int i = 0; i < CROWD; i++)
        CHECK_EQ(torc_spawn(&all, nop_often, NULL), 0);
    return torc_scope_join(&all);
}

TEST(script, tasks_wait_for_room_while_the_kernel_refuses)
{
    static const int errnos[] = {-EAGAIN, -EBUSY, -EINTR};
    for (int i = 0; i < 3; i++) {
        scripted_init(&script);
        script.config.ring_entries = 4;
        script.config.completion_entries = 8;
        script.refusals = 50;
        script.refusal = errnos[i];
        CHECK_EQ(scripted_run(&script, crowd, NULL), 0);
        CHECK_EQ(script.refusals, 0);
    }
}

static struct victim pollers[4];

/* The queue is full of polls, which the kernel refuses and then takes: none of them will end, and so nothing but the
 * room that there is now can wake who waits for it. */
static int wait_for_room_among_polls(void *arg)
{
    bool *cancels = arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &pollers[i].task},
                                 wait_at_poll, &pollers[i]),
                 0);
    torc_yield();
    torc_yield();
    script.refusal = -EAGAIN;
    script.refusals = *cancels ? 1 : 2;
    if (*cancels)
        torc_task_cancel(&pollers[1].task);
    else
        CHECK_EQ(ring_nop(), 0);
    if (*cancels)
        CHECK_EQ(torc_task_join(&pollers[1].task), 0);
    CHECK_EQ(script.refusals, 0);
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pollers[i].result, -ECANCELED);
    return 0;
}

TEST(script, room_that_comes_without_a_completion_is_seen)
{
    bool cancels = false;
    scripted_init(&script);
    script.config.ring_entries = 4;
    script.config.completion_entries = 8;
    CHECK_EQ(scripted_run(&script, wait_for_room_among_polls, &cancels), 0);
}

TEST(script, a_cancel_that_found_no_room_is_made_up_for)
{
    bool cancels = true;
    scripted_init(&script);
    script.config.ring_entries = 4;
    script.config.completion_entries = 8;
    CHECK_EQ(scripted_run(&script, wait_for_room_among_polls, &cancels), 0);
}

static int chain_of_four(void *arg)
{
    (void)arg;
    struct ring_op chain[5] = {0};
    struct io_uring_sqe *sqe;
    CHECK_EQ(torc_op_reserve(5), -EINVAL);
    CHECK_EQ(torc_op_reserve(4), 0);
    CHECK_EQ(torc_op_start(&chain[0].op, ring_op_done, &sqe), 0);
    io_uring_prep_nop(sqe);
    uint64_t before = script.enters;
    CHECK_EQ(torc_op_reserve(4), 0); /* one is in the way */
    CHECK_EQ(script.enters, before + 1);
    for (int i = 1; i < 5; i++) {
        CHECK_EQ(torc_op_start(&chain[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_nop(sqe);
    }
    CHECK_EQ(script.enters, before + 1);
    CHECK_EQ(script.submitted, 1);
    CHECK_EQ(torc_sleep(1000), 0);
    script.refusals = 1000;
    script.refusal = -EBUSY;
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(torc_op_start(&chain[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_nop(sqe);
    }
    CHECK_EQ(torc_op_start(&chain[4].op, ring_op_done, &sqe), -EAGAIN);
    CHECK_EQ(torc_op_reserve(1), -EAGAIN);
    script.refusals = 0;
    CHECK_EQ(torc_sleep(1000), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(chain[i].ran, i < 4 ? 2 : 1);
    return 0;
}

TEST(script, reserved_entries_go_side_by_side)
{
    scripted_init(&script);
    script.config.ring_entries = 4;
    CHECK_EQ(scripted_run(&script, chain_of_four, NULL), 0);
}

/* ---- batches ---- */

static struct torc_batch batch;
static struct ring_op members[8];

static void start_batch(void)
{
    torc_batch_init(&batch);
    for (int i = 0; i < 8; i++) {
        struct io_uring_sqe *sqe;
        members[i] = (struct ring_op){.batch = &batch};
        CHECK_EQ(torc_batch_start(&batch, &members[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_poll_add(sqe, 20 + i, 1);
    }
}

static int wait_batch(void *arg)
{
    (void)arg;
    return torc_batch_wait(&batch, 8);
}

/* The deadline of a batch's task and its last completion are seen in one turn, in either order. */
static int batch_and_deadline(void *arg)
{
    bool *deadline_first = arg;
    struct torc_scope scope;
    struct torc_task task;
    start_batch();
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, wait_batch, NULL),
             0);
    CHECK_EQ(torc_sleep(1000), 0);
    for (int i = 0; i < 8; i++)
        scripted_fire(&script, 20 + i, 1);
    if (*deadline_first) {
        torc_task_cancel(&task); /* ready, but it has not run yet when the loop reaps */
        torci_this->budget = 0;
        torc_yield();
    } else {
        CHECK_EQ(torc_sleep(1000), 0);
        torc_task_cancel(&task);
    }
    int result = torc_task_join(&task);
    CHECK_EQ(torc_scope_join(&scope), *deadline_first ? -ECANCELED : 0);
    CHECK_EQ(result, *deadline_first ? -ECANCELED : 8);
    if (*deadline_first) {
        CHECK_EQ(torc_sleep(1000), 0);
        CHECK_EQ(torc_batch_wait(&batch, 100), 8); /* the count was kept */
    }
    CHECK_EQ(torc_batch_wait(&batch, 1), 0);
    return 0;
}

TEST(script, a_batch_survives_an_interruption_in_its_last_turn)
{
    bool deadline_first[] = {false, true};
    for (int i = 0; i < 2; i++) {
        scripted_init(&script);
        CHECK_EQ(scripted_run(&script, batch_and_deadline, &deadline_first[i]), 0);
    }
}

static void start_timeouts(void)
{
    static struct __kernel_timespec after[8];
    torc_batch_init(&batch);
    for (int i = 0; i < 8; i++) {
        struct io_uring_sqe *sqe;
        members[i] = (struct ring_op){.batch = &batch};
        after[i] = (struct __kernel_timespec){.tv_nsec = 1000 * (i + 1)};
        CHECK_EQ(torc_batch_start(&batch, &members[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_timeout(sqe, &after[i], 0, 0);
    }
}

static int batch_of_timeouts(void *arg)
{
    (void)arg;
    start_timeouts();
    uint64_t began = torc_now_ns(), waits = script.waits;
    CHECK_EQ(torc_batch_wait(&batch, 5), 5);
    CHECK_EQ(torc_now_ns() - began, 5000);
    CHECK_EQ(script.waits - waits, 1);
    CHECK_EQ(torc_batch_wait(&batch, 5), 3);
    CHECK_EQ(script.waits - waits, 2);
    return 0;
}

TEST(script, a_batch_sleeps_once_for_all_that_it_wants)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, batch_of_timeouts, NULL), 0);
}

static int time_out_once(void *arg)
{
    uint64_t *ended = arg;
    CHECK_EQ(ring_timeout(2500), -ETIME);
    *ended = torc_now_ns();
    return 0;
}

/* Another task's operation ends while the batch's waits for eight. */
static int batch_and_another(void *arg)
{
    (void)arg;
    uint64_t ended = 0, began = torc_now_ns();
    struct torc_scope scope;
    torc_scope_init(&scope);
    CHECK_EQ(torc_spawn(&scope, time_out_once, &ended), 0);
    start_timeouts();
    CHECK_EQ(torc_batch_wait(&batch, 8), 8);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(ended - began, 2500);
    return 0;
}

TEST(script, a_batch_does_not_hold_up_another_task)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, batch_and_another, NULL), 0);
}

static int yield_meanwhile(void *arg)
{
    (void)arg;
    struct ring_op one = {.ran = 0};
    struct io_uring_sqe *sqe;
    CHECK_EQ(torc_op_start(&one.op, ring_op_done, &sqe), 0);
    io_uring_prep_nop(sqe);
    uint64_t began = torc_now_ns();
    while (!one.ran && torc_now_ns() - began < 10 * TORC_MS)
        torc_yield();
    CHECK_EQ(one.ran, 1);
    return 0;
}

TEST(script, busy_tasks_do_not_keep_an_entry_from_the_kernel)
{
    scripted_init(&script);
    script.step_ns = 1000;
    CHECK_EQ(scripted_run(&script, yield_meanwhile, NULL), 0);
}

/* ---- the end ---- */

static struct ring_op forgotten[6];

static int forget(void *arg)
{
    (void)arg;
    for (int i = 0; i < 6; i++) {
        struct io_uring_sqe *sqe;
        forgotten[i] = (struct ring_op){.ran = 0};
        CHECK_EQ(torc_op_start(&forgotten[i].op, ring_op_done, &sqe), 0);
        if (i % 2)
            io_uring_prep_poll_multishot(sqe, 5, 1);
        else
            io_uring_prep_poll_add(sqe, 5, 1);
    }
    return 6;
}

TEST(script, what_was_forgotten_completes_at_shutdown)
{
    scripted_init(&script);
    script.config.ring_entries = 4;
    script.batch = 1;
    CHECK_EQ(scripted_run(&script, forget, NULL), 6);
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(forgotten[i].ran, 1);
        CHECK_EQ(forgotten[i].result, -ECANCELED);
    }
    CHECK_EQ(scripted_pending(&script), 0);
}

static int restarts;

static void restart(struct torc_op *op, int result, uint32_t flags)
{
    (void)result, (void)flags;
    struct io_uring_sqe *sqe;
    if (restarts++ < 3 && !torc_op_start(op, restart, &sqe))
        io_uring_prep_poll_add(sqe, 5, 1);
}

static int forget_a_restarter(void *arg)
{
    static struct torc_op op;
    (void)arg;
    restarts = -1;
    restart(&op, 0, 0);
    return 6;
}

TEST(script, what_is_started_during_shutdown_ends_too)
{
    scripted_init(&script);
    CHECK_EQ(scripted_run(&script, forget_a_restarter, NULL), 6);
    CHECK_EQ(restarts, 4);
    CHECK_EQ(scripted_pending(&script), 0);
    CHECK(script.now_ns < 2 * TORC_SEC); /* nobody waited for long */
}

static int forget_slow_ones(void *arg)
{
    static struct __kernel_timespec after[48];
    (void)arg;
    for (int i = 0; i < 48; i++) {
        struct io_uring_sqe *sqe;
        many[i] = (struct ring_op){.ran = 0};
        after[i] = (struct __kernel_timespec){.tv_sec = i};
        CHECK_EQ(torc_op_start(&many[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_timeout(sqe, &after[i], 0, 0);
    }
    return 6;
}

/* A kernel that knows no "cancel all": as long as something ends now and then, the shutdown does not give up. */
TEST(script, shutdown_is_patient)
{
    scripted_init(&script);
    script.refuses_any = true;
    CHECK_EQ(scripted_run(&script, forget_slow_ones, NULL), 6);
    for (int i = 0; i < 48; i++)
        CHECK_EQ(many[i].ran, 1);
}

static int prepare_to_be_woken(void *arg)
{
    (void)arg;
    CHECK_EQ(torci_io_wake_prepare(torci_io_this()), 0);
    CHECK_EQ(torc_sleep(TORC_MS), 0); /* a turn, in which the poll for wake-ups is started */
    CHECK_EQ(scripted_pending(&script), 1);
    return 6;
}

/* The same kernel: what is torc's own can still be named. */
TEST(script, shutdown_ends_its_own_poll_by_name)
{
    scripted_init(&script);
    script.refuses_any = true;
    CHECK_EQ(scripted_run(&script, prepare_to_be_woken, NULL), 6);
    CHECK_EQ(scripted_pending(&script), 0);
}

static int fill_and_end(void *arg)
{
    (void)arg;
    for (int i = 0; i < 4; i++) {
        struct io_uring_sqe *sqe;
        forgotten[i] = (struct ring_op){.ran = 0};
        CHECK_EQ(torc_op_start(&forgotten[i].op, ring_op_done, &sqe), 0);
        io_uring_prep_poll_add(sqe, 5, 1);
    }
    script.refusal = -EBUSY;
    script.refusals = 5;
    return 6;
}

TEST(script, shutdown_waits_for_room)
{
    scripted_init(&script);
    script.config.ring_entries = 4;
    CHECK_EQ(scripted_run(&script, fill_and_end, NULL), 6);
    CHECK_EQ(script.refusals, 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(forgotten[i].ran, 1);
}

static int refuse_to_end(void *arg)
{
    (void)forget(arg);
    script.cancels_stay = true;
    return 6;
}

TEST(script, shutdown_says_what_did_not_end)
{
    scripted_init(&script);
    script.refuses_any = true;
    CHECK_EQ(scripted_run(&script, refuse_to_end, NULL), -ETIMEDOUT);
    CHECK(strstr(script.said, "6 operations did not end at shutdown") != NULL);
}

static int break_the_ring(void *arg)
{
    const int *how = arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(torc_spawn(&scope, wait_at_poll, &pollers[i]), 0);
    CHECK_EQ(torc_sleep(1000), 0);
    script.refusal = *how;
    script.refusals = UINT32_MAX;
    return torc_scope_join(&scope);
}

TEST(script, a_ring_that_breaks_ends_the_run_with_a_line)
{
    static int errnos[] = {-EBADR, -EBADF, -ENOMEM};
    for (int i = 0; i < 3; i++) {
        scripted_init(&script);
        CHECK_EQ(scripted_run(&script, break_the_ring, &errnos[i]), errnos[i]);
        CHECK(strstr(script.said, "the ring failed") != NULL);
    }
}

/* ---- the ledger of debug builds ---- */

#if defined(TORC_DEBUG) && TORC_DEBUG

static int nop_and_sleep(void *arg)
{
    (void)arg;
    int result = ring_nop();
    return torc_sleep(1000) ? -EIO : result;
}

TEST_DYING(script, the_ledger_finds_a_second_completion, SIGABRT)
{
    scripted_init(&script);
    script.twice = true;
    (void)scripted_run(&script, nop_and_sleep, NULL);
}

static int invented(void *arg)
{
    (void)arg;
    struct torc_op never = {.done = ring_op_done};
    scripted_post(&script, (uint64_t)(uintptr_t)&never, 0, 0);
    return torc_sleep(1000);
}

TEST_DYING(script, the_ledger_finds_a_completion_of_what_was_never_submitted, SIGABRT)
{
    scripted_init(&script);
    (void)scripted_run(&script, invented, NULL);
}

static int start_twice(void *arg)
{
    (void)arg;
    struct ring_op op = {.ran = 0};
    for (int i = 0; i < 2; i++) {
        struct io_uring_sqe *sqe;
        CHECK_EQ(torc_op_start(&op.op, ring_op_done, &sqe), 0);
        io_uring_prep_poll_add(sqe, 5, 1);
    }
    return torc_sleep(1000);
}

TEST_DYING(script, the_ledger_finds_an_operation_that_is_started_twice, SIGABRT)
{
    scripted_init(&script);
    (void)scripted_run(&script, start_twice, NULL);
}

#endif
