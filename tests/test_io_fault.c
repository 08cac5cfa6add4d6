/* SPDX-License-Identifier: MIT
 *
 * Every allocation and every ring call fails once: at call n = 0, 1, 2, … until the run needs no more calls than that. No
 * crash, no leak of memory or descriptors, no hang; a run that does not succeed returns a negative errno, and one that
 * never got to its main task says why.
 */
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include "io/blocking.h"
#include "io/resource.h"
#include "io/signals.h"
#include "tests/fault_kernel.h"
#include "tests/ring_ops.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

/* The first failure of the program below, which goes on as a program would: by cleaning up and saying so. */
static int failure;
static bool main_began;
/* What the main task has open: when the ring breaks it never gets to close it. */
static struct torc_signals signals = {.fd = -1};
static int ends[2] = {-1, -1};

static bool good(int result)
{
    if (result < 0 && !failure)
        failure = result;
    return result >= 0;
}

static int add_one(void *arg)
{
    return ++*(int *)arg;
}

static int some_nops(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++) {
        int err = ring_nop();
        if (err)
            return err;
    }
    return 0;
}

static void use_tables(void)
{
    static char memory[4096];
    int buffer = torc_buffer_register(memory, sizeof memory), slot = torc_slot_register(0);
    if (good(buffer))
        torc_buffer_unregister(buffer);
    if (good(slot))
        torc_slot_unregister(slot);
}

static void use_signals(void)
{
    if (!good(torc_signals_open(&signals, (const int[]){SIGUSR1}, 1)))
        return;
    raise(SIGUSR1);
    int number = torc_signals_wait(&signals);
    CHECK(number == SIGUSR1 || !good(number));
    torc_signals_close(&signals);
}

static void use_tasks(void)
{
    static struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 40; i++) /* more than the pool and the queue begin with */
        (void)good(torc_spawn(&scope, some_nops, NULL));
    (void)good(torc_scope_join(&scope));
}

static void use_pipe(void)
{
    char byte;
    static struct ring_op op;
    ring_pipe(ends);
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 20 * TORC_US);
    CHECK_EQ(ring_read(ends[0], &byte, 1, (uint64_t)-1), -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    CHECK_EQ(ring_write(ends[1], "x", 1, (uint64_t)-1), 1);
    CHECK_EQ(ring_read(ends[0], &byte, 1, (uint64_t)-1), 1);
    int err = ring_op_poll(&op, ends[1], true);
    if (err)
        CHECK_EQ(err, -EAGAIN);
    ring_pipe_close(ends); /* its poll is forgotten */
    ends[0] = ends[1] = -1;
}

static int program(void *arg)
{
    int number = 0;
    (void)arg;
    main_began = true;
    (void)good(ring_nop());
    use_tables();
    use_signals();
    use_tasks();
    use_pipe();
    int ran = torc_blocking(add_one, &number);
    CHECK(!good(ran) || number == 1);
    return failure ? failure : 42;
}

static void close_what_is_left(void)
{
    sigset_t usr1;
    close(ends[0]);
    close(ends[1]);
    close(signals.fd);
    ends[0] = ends[1] = signals.fd = -1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &usr1, NULL);
}

static void ignore(int number)
{
    (void)number;
}

/* Taking a block back from a signal never fails. */
static long call(void *context, long number, const long arguments[6])
{
    if (number == SYS_rt_sigprocmask && arguments[0] == SIG_UNBLOCK)
        return fault.real->call(fault.real->host.context, number, arguments);
    return fault_call(context, number, arguments);
}

static void sweep(unsigned kinds, bool after, int error)
{
    sigset_t none, now;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGUSR1, ignore); /* one that nobody waited for has its usual effect in the end */
    for (long n = 0;; n++) {
        unsigned descriptors = ring_open_descriptors();
        fault_kernel_init(&fault);
        fault.kernel.call = call;
        fault.fail_kinds = kinds;
        fault.fail_nth = n;
        fault.fail_after = after;
        fault.fail_errno = error;
        failure = 0;
        main_began = false;
        struct torc_config config = {.kernel = &fault.kernel,
                                     .ring_entries = 4,
                                     .completion_entries = 8,
                                     .no_stall_report = !(kinds & FAULT_STALL)};
        int result = run_alone(&config, program, NULL);
        fault_kernel_check_clean(&fault);
        close_what_is_left();
        CHECK_EQ(ring_open_descriptors(), descriptors);
        sigprocmask(SIG_SETMASK, NULL, &now);
        CHECK(!sigismember(&now, SIGTERM) && !sigismember(&now, SIGINT));
        CHECK(result == 42 || result < 0);
        CHECK(result == 42 || fault.failed);
        if (!main_began)
            CHECK_EQ(fault.lines, 1);
        if (!fault.failed)
            return;
        CHECK(n < 2000);
    }
}

TEST(io_fault, an_allocation_that_fails_is_an_error)
{
    sweep(FAULT_ALLOC, false, 0);
    sweep(FAULT_MAP, false, 0);
    sweep(FAULT_GUARD, false, 0);
}

TEST(io_fault, allocations_that_fail_from_then_on_are_errors)
{
    sweep(FAULT_ALLOC | FAULT_MAP | FAULT_GUARD, true, 0);
}

TEST(io_fault, a_ring_call_that_fails_is_an_error)
{
    sweep(FAULT_SETUP, false, 0);
    sweep(FAULT_SETUP, false, EINVAL);
    sweep(FAULT_REGISTER, false, 0);
    sweep(FAULT_REGISTER, false, EINVAL);
    sweep(FAULT_REGISTER, true, EINVAL);
    sweep(FAULT_RING_MAP, false, 0);
}

TEST(io_fault, an_enter_that_fails_without_harm_changes_nothing)
{
    static const int errnos[] = {EINTR, EAGAIN, EBUSY, ETIME};
    for (int i = 0; i < 4; i++)
        sweep(FAULT_ENTER, false, errnos[i]);
}

TEST(io_fault, an_enter_that_fails_for_good_ends_the_run)
{
    static const int errnos[] = {EBADF, EBADR, ENOMEM, EFAULT};
    for (int i = 0; i < 4; i++)
        sweep(FAULT_ENTER, false, errnos[i]);
    sweep(FAULT_ENTER, true, EBADF);
}

TEST(io_fault, a_call_that_fails_is_an_error)
{
    sweep(FAULT_CALL, false, 0);
    sweep(FAULT_CALL, true, 0);
    sweep(FAULT_CALL, false, ENOMEM);
}

TEST(io_fault, a_thread_that_fails_is_an_error)
{
    sweep(FAULT_THREAD, false, 0);
    sweep(FAULT_PIN, false, 0);
    sweep(FAULT_PIN, false, ENOMEM);
    sweep(FAULT_STALL, false, 0);
}

TEST(io_fault, anything_that_fails_is_an_error)
{
    sweep(FAULT_ANY & ~(unsigned)FAULT_ENTER, false, 0);
}

/* ---- a ring that breaks while jobs run and wait ---- */

static sem_t let_go;
static bool broken;
static bool second_ran;

static int hold(void *arg)
{
    sem_wait(&let_go);
    return *(int *)arg;
}

static int never(void *arg)
{
    (void)arg;
    second_ran = true;
    return 0;
}

static int call_never(void *arg)
{
    return torc_blocking(never, arg);
}

static int call_hold(void *arg)
{
    return torc_blocking(hold, arg);
}

static int break_with_jobs(void *arg)
{
    struct torc_scope scope;
    torc_scope_init(&scope);
    if (!good(torc_spawn(&scope, call_hold, arg)) || !good(torc_spawn(&scope, call_never, arg)))
        return failure;
    (void)good(torc_sleep(0)); /* one job runs, the other waits for its thread */
    broken = true;
    return torc_scope_join(&scope);
}

/* The job that runs goes on when the ring has broken, and not before. */
static int breaking_enter(void *context, int ring, unsigned to_submit, unsigned min_complete,
                          unsigned flags, const void *arg, size_t size)
{
    if (!broken)
        return fault_ring_enter(context, ring, to_submit, min_complete, flags, arg, size);
    sem_post(&let_go);
    return -EBADF;
}

TEST(io_fault, a_ring_that_breaks_waits_for_the_job_that_runs)
{
    int answer = 5;
    fault_kernel_init(&fault);
    fault.kernel.ring_enter = breaking_enter;
    sem_init(&let_go, 0, 0);
    struct torc_config config = {.kernel = &fault.kernel, .blocking_threads = 1};
    CHECK_EQ(run_alone(&config, break_with_jobs, &answer), -EBADF);
    CHECK(!second_ran);
    CHECK(fault_kernel_said(&fault, "the ring failed"));
    fault_kernel_check_clean(&fault);
}
