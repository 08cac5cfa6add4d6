/* SPDX-License-Identifier: MIT
 *
 * The kernel shim: every way in which torc touches the machine, as one small table. kernel_linux.c is the production
 * implementation and the one object of the library that may import system calls, clocks, randomness or threads. A
 * simulated kernel, or one made of plain system calls, fills in the same table and gets the same ring memory: above
 * the shim only the ring ABI is known (SQEs are filled in, CQEs are read), so nothing there changes.
 *
 * Every function takes the table's context and returns 0 or more, or a negative errno.
 */
#ifndef TORC_IO_KERNEL_INTERNAL_H
#define TORC_IO_KERNEL_INTERNAL_H

#include <sys/syscall.h>

#include "core/host_internal.h"

struct io_uring_params;

struct torci_kernel {
    /* Memory, clock, report: handed to core as they are. host.context is this table's context, too, and
     * host.map_context the same. host.turn is filled in by the executor in its own copy, where map, unmap and guard are an
     * arena's. */
    struct torci_host host;

    /* io_uring_setup, io_uring_enter, io_uring_register: arguments as in the system calls. A ring fd that was
     * registered is passed with IORING_ENTER_REGISTERED_RING in enter's flags, with
     * IORING_REGISTER_USE_REGISTERED_RING in the opcode. */
    int (*ring_setup)(void *context, unsigned entries, struct io_uring_params *params);
    int (*ring_enter)(void *context, int ring, unsigned to_submit, unsigned min_complete,
                      unsigned flags, const void *arg, size_t arg_size);
    int (*ring_register)(void *context, int ring, unsigned opcode, void *arg, unsigned count);
    /* Ring memory at one of the IORING_OFF_ offsets. NULL when it can't be mapped. */
    void *(*ring_map)(void *context, int ring, uint64_t offset, size_t size_bytes);

    /* Address space that is charged to nobody and may not be touched, page-aligned; NULL when there is none. What is
     * committed of it is like what host.map returns, but for the size of its pages, which is as the machine has it;
     * host.unmap gives back any part. */
    void *(*reserve)(void *context, size_t size_bytes);
    int (*commit)(void *context, void *memory, size_t size_bytes);

    /* Adds one to an eventfd; from any thread. */
    int (*wake)(void *context, int event_fd);
    /* Fills MEMORY with randomness for seeds and identifiers. */
    int (*random)(void *context, void *memory, size_t size_bytes);

    /* Starts a thread that runs FN(ARG) with all signals blocked but those that a fault raises, named NAME (at most 15 characters), allowed on the
     * CPUs that the process had before torc pinned any; join waits for its end. */
    int (*thread_start)(void *context, void (*fn)(void *arg), void *arg, const char *name,
                        uintptr_t *thread);
    void (*thread_join)(void *context, uintptr_t thread);

    /* Prepares the calling thread for an executor: pinned to CPU (the first allowed one if negative), short timer
     * slack, a signal stack, and handlers for what ends a program (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT), which call
     * ON_FAULT on the thread that met it and then hand over to whoever handled the signal before; and undoes it.
     * ON_FAULT is async-signal-safe and reports what it knows; ADDRESS is NULL where the signal has none. The CPU that
     * it got. */
    int (*thread_enter)(void *context, int cpu, void (*on_fault)(int number, const void *address));
    void (*thread_leave)(void *context);

    /* Calls ON_STALL on this thread, from a signal handler, for every INTERVAL_NS of CPU time that it uses; an idle
     * thread is never disturbed. 0 stops it. ON_STALL is async-signal-safe. */
    int (*stall_timer)(void *context, uint64_t interval_ns, void (*on_stall)(void));
    /* Writes the calling thread's stack as text to standard error. Async-signal-safe. */
    void (*backtrace)(void *context);

    /* Any other system call, as syscall(2) but with the negative errno as its result. Not for reading and writing, but
     * for small files of /proc and /sys before there is a ring, and never for what can sleep long on an executor's
     * thread. */
    long (*call)(void *context, long number, const long arguments[6]);
};

extern const struct torci_kernel torci_kernel_linux;

/* Starts the production kernel's clock: calibrates the CPU's counter once a process. Idempotent, any thread. */
const struct torci_kernel *torci_kernel_linux_get(void);

#define TORCI_CALL(kernel, number, ...) \
    (kernel)->call((kernel)->host.context, (number), (const long[6]){__VA_ARGS__})

#endif
