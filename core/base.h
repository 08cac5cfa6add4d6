/* SPDX-License-Identifier: MIT
 *
 * What every header of torc needs: attributes, units, assertions, C++ guards. No types, no state.
 */
#ifndef TORC_CORE_BASE_H
#define TORC_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define TORC_BEGIN_DECLS extern "C" {
#define TORC_END_DECLS }
#else
#define TORC_BEGIN_DECLS
#define TORC_END_DECLS
#endif

/* The caller must look at what such a function returns. */
#define TORC_MUST_CHECK __attribute__((warn_unused_result))
#define TORC_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define TORC_NORETURN __attribute__((noreturn))
#define TORC_LIKELY(x) __builtin_expect(!!(x), 1)
#define TORC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define TORC_ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that holds MEMBER, from the member's address. */
#define TORC_CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Durations are in nanoseconds everywhere; these spell them out. */
#define TORC_US UINT64_C(1000)
#define TORC_MS UINT64_C(1000000)
#define TORC_SEC UINT64_C(1000000000)

TORC_BEGIN_DECLS

/* Prints one line that names the broken invariant and the running task, if this thread runs an executor, and aborts. */
TORC_NORETURN void torc_panic(const char *file, int line, const char *what);

TORC_END_DECLS

/* Stays on in release builds: for invariants of torc and of its caller that are cheap to test. Never for what the
 * kernel, the disk, the network or the user says. */
#define TORC_ASSERT(condition) \
    (TORC_LIKELY(condition) ? (void)0 : torc_panic(__FILE__, __LINE__, #condition))

/* For the costly ones; on with -DTORC_DEBUG=1 (the sanitizer builds). */
#if defined(TORC_DEBUG) && TORC_DEBUG
#define TORC_DEBUG_ASSERT(condition) TORC_ASSERT(condition)
#else
#define TORC_DEBUG_ASSERT(condition) ((void)sizeof(condition))
#endif

#endif
