/* SPDX-License-Identifier: MIT
 *
 * Starting and ending: torc_run makes an executor of the calling thread and runs a program's first task on it.
 */
#ifndef TORC_IO_RUN_H
#define TORC_IO_RUN_H

#include "core/task.h"

TORC_BEGIN_DECLS

struct torci_kernel;

/* Zero means the default everywhere, so {0} and a NULL config are the same. */
struct torc_config {
    uint32_t tasks_max;          /* live tasks; default 1,048,576 */
    uint32_t stack_bytes;        /* of a task that asks for nothing else; default 64 KiB */
    uint32_t ring_entries;       /* submission queue; default 256 */
    uint32_t completion_entries; /* completion queue; default 4 x ring_entries, at least 4,096 */
    uint32_t blocking_threads;   /* most threads for torc_blocking; default 4 */
    uint32_t buffers_max;        /* slots for registered buffers; default 64 */
    uint32_t files_max;          /* slots for direct descriptors; default 1,024 */
    uint64_t quota_ns; /* how long tasks run before the loop looks at the ring; default 0.5 ms */
    uint64_t spin_ns;  /* how long an idle executor looks for events before it sleeps; default 0 */
    uint64_t park_ns;  /* the longest sleep; default: until there is an event */
    uint64_t
        stall_ns;   /* CPU time without a switch after which a task is reported; default 100 ms */
    int cpu_plus_1; /* 1 + the CPU to be pinned to; default: the first one allowed */
    bool
        keep_signals; /* leave SIGINT and SIGTERM alone; by default they start an orderly shutdown */
    bool no_stall_report;
    const struct torci_kernel *kernel; /* of tests and simulators; default: Linux */
};

/* Runs MAIN(ARG) as the first task, in the calling thread, and returns when it and all the tasks under it have ended.
 * MAIN's result, or, with one line on standard error that says what to do, a negative errno:
 * -ENOSYS, -EPERM, -EOPNOTSUPP: io_uring is not to be had, or too old; -ENOMEM: memory or RLIMIT_MEMLOCK; -EINVAL: a
 * config out of range, a CPU that is not allowed; -EMFILE: RLIMIT_NOFILE; -EBUSY: this thread runs an executor already.
 * Several threads may each run one. A signal that is sent to the process reaches one thread that does not block it, and of
 * several executors one: let the others keep_signals and be told by that one, and start other threads with SIGINT and
 * SIGTERM blocked, as the blocking pool's are. */
int torc_run(const struct torc_config *config, torc_task_fn *main, void *arg) TORC_MUST_CHECK;

/* Starts an orderly shutdown: the first task is cancelled, and with it all that it joins. What SIGINT and SIGTERM do;
 * a second signal ends the process at once. On the executor's thread. */
void torc_shutdown(void);
/* Whether one has been started. */
bool torc_is_shutting_down(void);

TORC_END_DECLS

#endif
