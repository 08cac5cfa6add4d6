/* SPDX-License-Identifier: MIT
 *
 * What the files of the production shim (kernel_linux*.c) share. Nobody else includes this.
 */
#ifndef TORC_IO_KERNEL_LINUX_INTERNAL_H
#define TORC_IO_KERNEL_LINUX_INTERNAL_H

#include "core/base.h"

/* kernel_linux.c: one line to standard error, in one write. Async-signal-safe. */
void torci_linux_report(void *context, const char *line);
/* Address space with a guard below or none; committed by touching. */
void *torci_linux_map(void *context, size_t size_bytes);
void torci_linux_unmap(void *context, void *memory, size_t size_bytes);
int torci_linux_guard(void *context, void *memory, size_t size_bytes);

/* kernel_linux_thread.c: as in struct torci_kernel. */
int torci_linux_thread_start(void *context, void (*fn)(void *arg), void *arg, const char *name,
                             uintptr_t *thread);
void torci_linux_thread_join(void *context, uintptr_t thread);
int torci_linux_thread_enter(void *context, int cpu,
                             void (*on_fault)(int number, const void *address));
void torci_linux_thread_leave(void *context);
int torci_linux_stall_timer(void *context, uint64_t interval_ns, void (*on_stall)(void));

/* kernel_linux_symbols.c */
void torci_linux_backtrace(void *context);
/* Loads what backtrace would otherwise load in a signal handler. Any thread, again and again. */
void torci_linux_backtrace_prepare(void);

#endif
