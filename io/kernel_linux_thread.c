/* SPDX-License-Identifier: MIT
 *
 * The production kernel: threads. Starting helpers, and what a thread becomes while it runs an executor: pinned, woken
 * on time, with a signal stack of its own, so that a task that has used up its stack can still be named.
 *
 *     thread_enter    the thread's own state goes into a struct entered, which lies with its signal stack in one
 *                     mapping; the first of the process also installs the handlers of what ends a program
 *     stall_timer     a CPU-time timer of this thread; the first of the process also installs its signal's handler
 *     thread_leave    all of it undone, in reverse; the last of the process gives the handlers back
 *
 * Signal dispositions are the process's, masks and signal stacks the thread's. All state is guarded by process.lock,
 * except what handlers read, which is named there. A thread's entry is found by its thread id: these are cold calls,
 * and the library has no thread-local but torci_this.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "io/kernel_linux_internal.h"

#ifndef sigev_notify_thread_id /* glibc has the field but not always its name */
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    CPUS_MAX = 8192, /* the most that Linux can be built for; a glibc cpu_set_t has 1,024 */
    PAGE = 4096,
    /* A frame for the signal (3.5 KiB with AVX-512, 11 with AMX), unwinding, the report. */
    SIGNAL_STACK = 32 * 1024,
    FAULT_PAUSE_NS = 10 * 1000 * 1000,
    FAULT_PAUSES = 100,
};

typedef void fault_fn(int number, const void *address);

/* What ends a program where it stands: broken code, and abort. Never blocked in a thread of ours: the kernel would kill
 * without a word. */
static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

enum { FAULTS_COUNT = sizeof FAULTS / sizeof FAULTS[0] };

struct cpus {
    unsigned long words[CPUS_MAX / (8 * sizeof(unsigned long))];
};

struct entered {
    struct entered *next;
    pid_t tid;
    int slack_ns;
    struct cpus cpus;
    stack_t signal_stack;
    timer_t timer;
    bool timer_set, stall_was_blocked;
    sigset_t faults_blocked; /* of FAULTS, by whoever had this thread before */
    void (*on_stall)(void);  /* read by this thread's handler alone */
};
_Static_assert(sizeof(struct entered) <= PAGE, "it has the mapping's last page");

enum { ENTERED_BYTES = PAGE + SIGNAL_STACK + PAGE }; /* guard, stack, struct entered */

static struct {
    pthread_mutex_t lock;
    struct entered *threads;
    struct cpus cpus; /* of the first thread that entered, before it was pinned */
    unsigned stall_users;
    int stall_signal;
    struct sigaction old_stall;
    /* For the fault handler: written before it is installed, and not while it is. */
    struct sigaction old_faults[FAULTS_COUNT];
    fault_fn *on_fault; /* atomic; the same function whoever enters */
    pid_t faulting;     /* atomic: the thread that tells of its fault; 0: none */
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- helper threads ---- */

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[16];
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    (void)prctl(PR_SET_NAME, start.name);
    start.fn(start.arg);
    return NULL;
}

/* A thread inherits its creator's CPUs, and the creator is pinned. */
static int attr_unpin(pthread_attr_t *attr)
{
    (void)pthread_mutex_lock(&process.lock);
    struct cpus cpus = process.cpus;
    bool pinned = process.threads != NULL;
    (void)pthread_mutex_unlock(&process.lock);
    return pinned ? pthread_attr_setaffinity_np(attr, sizeof cpus, (cpu_set_t *)cpus.words) : 0;
}

int torci_linux_thread_start(void *context, void (*fn)(void *arg), void *arg, const char *name,
                             uintptr_t *thread)
{
    (void)context;
    struct start *start = calloc(1, sizeof *start);
    if (!start)
        return -ENOMEM;
    start->fn = fn;
    start->arg = arg;
    memcpy(start->name, name, strnlen(name, sizeof start->name - 1));

    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err) {
        free(start);
        return -err;
    }
    err = attr_unpin(&attr);
    if (!err) {
        /* The new thread inherits the mask, so there is no moment at which it could take a signal. */
        sigset_t most, before;
        (void)sigfillset(&most);
        for (int i = 0; i < FAULTS_COUNT; i++)
            (void)sigdelset(&most, FAULTS[i]);
        (void)pthread_sigmask(SIG_SETMASK, &most, &before);
        pthread_t created;
        err = pthread_create(&created, &attr, thread_main, start);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!err)
            *thread = (uintptr_t)created;
    }
    (void)pthread_attr_destroy(&attr);
    if (err)
        free(start);
    return -err;
}

void torci_linux_thread_join(void *context, uintptr_t thread)
{
    (void)context;
    (void)pthread_join((pthread_t)thread, NULL);
}

/* ---- faults ---- */

/* One thread at a time: another one's fault waits, so that handing over does not end the process in the middle of this
 * one's lines; not for long, since whoever was there before us may go on. False: this thread has faulted while it told
 * of a fault. */
static bool fault_take_turn(void)
{
    static const struct timespec pause = {.tv_nsec = FAULT_PAUSE_NS};
    for (int pauses = 0;; pauses++) {
        pid_t other = 0;
        /* ACQ_REL: nothing is handed over, but the lines of two must not mix */
        if (__atomic_compare_exchange_n(&process.faulting, &other, gettid(), false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return true;
        if (other == gettid())
            return false;
        if (pauses == FAULT_PAUSES)
            return true;
        (void)nanosleep(&pause, NULL);
    }
}

static void fault_handler(int number, siginfo_t *info, void *machine)
{
    (void)machine;
    int before = errno;
    bool by_kernel = info->si_code > 0;
    /* ACQUIRE pairs with the release in fault_handlers_install */
    fault_fn *on_fault = __atomic_load_n(&process.on_fault, __ATOMIC_ACQUIRE);
    bool tells = fault_take_turn();
    if (tells && on_fault)
        on_fault(number, by_kernel ? info->si_addr : NULL);
    /* Back to the instruction: it faults again and meets whoever was there before us, a sanitizer or the default with
     * its core file. */
    for (int i = 0; i < FAULTS_COUNT; i++)
        if (FAULTS[i] == number)
            (void)sigaction(number, &process.old_faults[i], NULL);
    if (tells) /* RELEASE pairs with fault_take_turn */
        __atomic_store_n(&process.faulting, 0, __ATOMIC_RELEASE);
    if (!by_kernel) /* sent by somebody; nothing would fault again */
        (void)syscall(SYS_tgkill, getpid(), gettid(), number);
    errno = before;
}

/* Of the first COUNT, unless the program has put others there meanwhile. */
static void fault_handlers_remove(int count)
{
    struct sigaction now;
    for (int i = 0; i < count; i++)
        if (!sigaction(FAULTS[i], NULL, &now) && now.sa_sigaction == fault_handler)
            (void)sigaction(FAULTS[i], &process.old_faults[i], NULL);
}

static int fault_handlers_install(fault_fn *on_fault)
{
    struct sigaction action = {.sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&action.sa_mask);
    /* RELEASE pairs with the acquire in fault_handler */
    __atomic_store_n(&process.on_fault, on_fault, __ATOMIC_RELEASE);
    for (int i = 0; i < FAULTS_COUNT; i++)
        if (sigaction(FAULTS[i], NULL, &process.old_faults[i]) ||
            sigaction(FAULTS[i], &action, NULL)) {
            int err = -errno;
            fault_handlers_remove(i);
            return err;
        }
    return 0;
}

/* The calling thread takes its own faults, whatever its creator had blocked. */
static void faults_unblock(sigset_t *blocked)
{
    sigset_t faults, before;
    (void)sigemptyset(&faults);
    for (int i = 0; i < FAULTS_COUNT; i++)
        (void)sigaddset(&faults, FAULTS[i]);
    (void)pthread_sigmask(SIG_UNBLOCK, &faults, &before);
    (void)sigandset(blocked, &faults, &before);
}

/* ---- entering and leaving ---- */

/* Of the calling thread; NULL if it has not entered. LINK is where it hangs. */
static struct entered *entered_find(struct entered ***link)
{
    pid_t tid = gettid();
    struct entered **at = &process.threads;
    while (*at && (*at)->tid != tid)
        at = &(*at)->next;
    if (link)
        *link = at;
    return *at;
}

static struct entered *entered_create(void)
{
    char *memory = torci_linux_map(NULL, ENTERED_BYTES);
    if (!memory)
        return NULL;
    if (torci_linux_guard(NULL, memory, PAGE)) {
        torci_linux_unmap(NULL, memory, ENTERED_BYTES);
        return NULL;
    }
    struct entered *self = (void *)(memory + PAGE + SIGNAL_STACK);
    self->tid = gettid();
    return self;
}

static char *entered_memory(struct entered *self)
{
    return (char *)self - SIGNAL_STACK - PAGE;
}

static int cpus_first(const struct cpus *cpus)
{
    for (int cpu = 0; cpu < CPUS_MAX; cpu++)
        if (CPU_ISSET_S((size_t)cpu, sizeof *cpus, (const cpu_set_t *)cpus->words))
            return cpu;
    return -EINVAL;
}

/* Pins the thread and remembers where it was allowed to run. The CPU. */
static int entered_pin(struct entered *self, int cpu)
{
    /* The system call and not glibc's wrapper: both take a mask of any size. */
    if (syscall(SYS_sched_getaffinity, 0, sizeof self->cpus, self->cpus.words) < 0)
        return -errno;
    if (cpu < 0)
        cpu = cpus_first(&self->cpus);
    if (cpu < 0 || cpu >= CPUS_MAX ||
        !CPU_ISSET_S((size_t)cpu, sizeof self->cpus, (const cpu_set_t *)self->cpus.words))
        return -EINVAL;
    struct cpus one = {0};
    CPU_SET_S((size_t)cpu, sizeof one, (cpu_set_t *)one.words);
    if (syscall(SYS_sched_setaffinity, 0, sizeof one, one.words) < 0)
        return -errno;
    return cpu;
}

static void entered_unpin(struct entered *self)
{
    (void)syscall(SYS_sched_setaffinity, 0, sizeof self->cpus, self->cpus.words);
}

static int entered_set_signal_stack(struct entered *self)
{
    stack_t stack = {.ss_sp = entered_memory(self) + PAGE, .ss_size = SIGNAL_STACK};
    return sigaltstack(&stack, &self->signal_stack) ? -errno : 0;
}

/* Gives the thread credentials of its own, the same as before. Threads share those that they were made with, and each
 * request that io_uring hands to a worker takes and drops a reference to them: with several executors that one count
 * goes back and forth between their CPUs (`bench/compare.py --only shards`: 3 % of the reads of two shards). Any call
 * that might change credentials makes a copy; this one is allowed to everybody and changes nothing. */
static void separate_credentials(void)
{
    int keep = prctl(PR_GET_KEEPCAPS);
    if (keep >= 0)
        (void)prctl(PR_SET_KEEPCAPS, (unsigned long)keep);
}

/* With process.lock held. The CPU. */
static int enter(struct entered *self, int cpu, fault_fn *on_fault)
{
    int pinned = entered_pin(self, cpu);
    if (pinned < 0)
        return pinned;
    int err = entered_set_signal_stack(self);
    if (err)
        goto unpin;
    if (!process.threads) {
        err = fault_handlers_install(on_fault);
        if (err)
            goto unstack;
        process.cpus = self->cpus;
    }
    faults_unblock(&self->faults_blocked);
    /* By default the kernel may be 50 us late with a timer, to serve several at once. */
    self->slack_ns = prctl(PR_GET_TIMERSLACK);
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    separate_credentials();
    self->next = process.threads;
    process.threads = self;
    return pinned;

unstack:
    (void)sigaltstack(&self->signal_stack, NULL);
unpin:
    entered_unpin(self);
    return err;
}

int torci_linux_thread_enter(void *context, int cpu, fault_fn *on_fault)
{
    (void)context;
    torci_linux_backtrace_prepare();
    (void)pthread_mutex_lock(&process.lock);
    int result = -EBUSY;
    if (!entered_find(NULL)) {
        struct entered *self = entered_create();
        result = self ? enter(self, cpu, on_fault) : -ENOMEM;
        if (self && result < 0)
            torci_linux_unmap(NULL, entered_memory(self), ENTERED_BYTES);
    }
    (void)pthread_mutex_unlock(&process.lock);
    return result;
}

static void stall_stop(struct entered *self);

void torci_linux_thread_leave(void *context)
{
    (void)context;
    (void)pthread_mutex_lock(&process.lock);
    struct entered **link, *self = entered_find(&link);
    if (self) {
        stall_stop(self);
        *link = self->next;
        if (!process.threads)
            fault_handlers_remove(FAULTS_COUNT);
        (void)pthread_sigmask(SIG_BLOCK, &self->faults_blocked, NULL);
        if (self->slack_ns > 0)
            (void)prctl(PR_SET_TIMERSLACK, (unsigned long)self->slack_ns);
        (void)sigaltstack(&self->signal_stack, NULL);
        entered_unpin(self);
        torci_linux_unmap(NULL, entered_memory(self), ENTERED_BYTES);
    }
    (void)pthread_mutex_unlock(&process.lock);
}

/* ---- the stall timer ---- */

static void stall_handler(int number, siginfo_t *info, void *machine)
{
    (void)number;
    (void)machine;
    if (info->si_code != SI_TIMER)
        return;
    struct entered *self = info->si_value.sival_ptr;
    int before = errno; /* of the code that was interrupted */
    self->on_stall();
    errno = before;
}

/* The highest real-time signal that nobody handles: applications count from SIGRTMIN up. -EAGAIN: all are taken. */
static int stall_handler_install(void)
{
    struct sigaction action = {.sa_sigaction = stall_handler,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--) {
        if (sigaction(number, NULL, &process.old_stall) ||
            process.old_stall.sa_handler != SIG_DFL || sigaction(number, &action, NULL))
            continue;
        process.stall_signal = number;
        return 0;
    }
    return -EAGAIN;
}

static sigset_t stall_mask(void)
{
    sigset_t mask;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, process.stall_signal);
    return mask;
}

static int stall_start(struct entered *self)
{
    int err = process.stall_users ? 0 : stall_handler_install();
    if (err)
        return err;
    /* CPU time of the thread: while it sleeps nothing runs down, so an idle program is left in peace. */
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = process.stall_signal};
    event.sigev_value.sival_ptr = self;
    event.sigev_notify_thread_id = self->tid;
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &self->timer)) {
        err = -errno;
        if (!process.stall_users)
            (void)sigaction(process.stall_signal, &process.old_stall, NULL);
        return err;
    }
    sigset_t mask = stall_mask(), before;
    (void)pthread_sigmask(SIG_UNBLOCK, &mask, &before);
    self->stall_was_blocked = sigismember(&before, process.stall_signal) == 1;
    self->timer_set = true;
    process.stall_users++;
    return 0;
}

static void stall_stop(struct entered *self)
{
    if (!self->timer_set)
        return;
    /* A signal that is on its way arrives at the latest when one of these system calls returns; SELF is still there. */
    (void)timer_delete(self->timer);
    self->timer_set = false;
    if (self->stall_was_blocked) {
        sigset_t mask = stall_mask();
        (void)pthread_sigmask(SIG_BLOCK, &mask, NULL);
    }
    if (!--process.stall_users)
        (void)sigaction(process.stall_signal, &process.old_stall, NULL);
}

int torci_linux_stall_timer(void *context, uint64_t interval_ns, void (*on_stall)(void))
{
    (void)context;
    (void)pthread_mutex_lock(&process.lock);
    struct entered *self = entered_find(NULL);
    int err = self ? 0 : -EINVAL;
    if (self)
        stall_stop(self);
    if (self && interval_ns) {
        self->on_stall = on_stall;
        err = stall_start(self);
    }
    if (self && self->timer_set) {
        struct timespec each = {.tv_sec = (time_t)(interval_ns / TORC_SEC),
                                .tv_nsec = (long)(interval_ns % TORC_SEC)};
        struct itimerspec times = {.it_interval = each, .it_value = each};
        if (timer_settime(self->timer, 0, &times, NULL)) {
            err = -errno;
            stall_stop(self);
        }
    }
    (void)pthread_mutex_unlock(&process.lock);
    return err;
}
