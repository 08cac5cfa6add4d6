/* SPDX-License-Identifier: MIT
 *
 * What ASan, TSan and Valgrind must be told about stacks and switches. Without them each of these is nothing.
 */
#ifndef TORC_CORE_SANITIZER_INTERNAL_H
#define TORC_CORE_SANITIZER_INTERNAL_H

#include "core/exec_internal.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TORCI_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define TORCI_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define TORCI_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define TORCI_TSAN 1
#endif

#ifdef TORCI_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define TORCI_NO_SANITIZE __attribute__((no_sanitize("address")))
#elif defined(TORCI_TSAN)
#include <sanitizer/tsan_interface.h>
#define TORCI_NO_SANITIZE __attribute__((no_sanitize("thread")))
#else
#define TORCI_NO_SANITIZE
#endif

/* A function in which the stack changes: TSan would note its entry on one stack and its return on the other, or, of the
 * outermost frame, no return at all, and its record of each stack's calls would drift out of its bounds. For gcc the
 * attribute is enough; clang notes calls all the same unless told otherwise. What such a function calls on the way to
 * the switch must be inlined into it, and gcc inlines across the attribute only what is always_inline. */
#ifdef TORCI_TSAN
#ifdef __clang__
#define TORCI_NO_TSAN __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation))
#else
#define TORCI_NO_TSAN __attribute__((no_sanitize("thread")))
#endif
#define TORCI_SWITCH_INLINE static inline __attribute__((always_inline))
#else
#define TORCI_NO_TSAN
#define TORCI_SWITCH_INLINE static inline
#endif

/* valgrind/valgrind.h is code to be inlined, not a library; it costs a few instructions once a stack. */
#if defined(TORC_VALGRIND)
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>
#endif

static inline void torci_sanitizer_stack_made(struct torci_stack *stack)
{
    (void)stack;
#ifdef TORCI_TSAN
    stack->sanitizer_fiber = __tsan_create_fiber(0);
#endif
#ifdef TORC_VALGRIND
    stack->valgrind_id = VALGRIND_STACK_REGISTER(stack->low, stack);
#endif
}

static inline void torci_sanitizer_stack_gone(struct torci_stack *stack)
{
    (void)stack;
#ifdef TORCI_ASAN
    /* frames that were left by a switch and not by a return may still be marked */
    __asan_unpoison_memory_region(stack->low, torci_stack_size(stack->stack_class));
#endif
#ifdef TORCI_TSAN
    __tsan_destroy_fiber(stack->sanitizer_fiber);
#endif
#ifdef TORC_VALGRIND
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
#endif
}

/* Before leaving for NEXT, NULL being the loop; *SAVE keeps what arriving back needs. A stack that is left for good
 * passes NULL for SAVE. */
TORCI_SWITCH_INLINE void torci_sanitizer_leave(struct torci_exec *exec, struct torci_fiber *next,
                                               void **save)
{
    (void)exec, (void)next, (void)save;
#ifdef TORCI_ASAN
    __sanitizer_start_switch_fiber(save, next ? next->stack->low : exec->loop_stack_low,
                                   next ? torci_stack_size(next->stack->stack_class)
                                        : exec->loop_stack_size);
#endif
#ifdef TORCI_TSAN
    __tsan_switch_to_fiber(next ? next->stack->sanitizer_fiber : exec->loop_sanitizer_fiber, 0);
#endif
}

/* After arriving at SELF, NULL being the loop. */
TORCI_SWITCH_INLINE void torci_sanitizer_arrive(struct torci_exec *exec, struct torci_fiber *self,
                                                bool first)
{
    (void)exec, (void)self, (void)first;
#ifdef TORCI_ASAN
    void *save = first ? NULL : self ? self->stack->sanitizer_save : exec->loop_save;
    const void *low;
    size_t size;
    __sanitizer_finish_switch_fiber(save, &low, &size);
    if (!exec->loop_stack_low) { /* the first switch of all comes from the loop */
        exec->loop_stack_low = low;
        exec->loop_stack_size = size;
    }
#endif
}

/* Somebody is going to read the whole stack, whatever its frames have left undefined. */
static inline void torci_sanitizer_reveal(const struct torci_stack *stack)
{
    (void)stack;
#ifdef TORC_VALGRIND
    (void)VALGRIND_MAKE_MEM_DEFINED(stack->low, (size_t)((const char *)stack->top - stack->low));
#endif
}

static inline void torci_sanitizer_loop_starts(struct torci_exec *exec)
{
    (void)exec;
#ifdef TORCI_TSAN
    exec->loop_sanitizer_fiber = __tsan_get_current_fiber();
#endif
}

#endif
