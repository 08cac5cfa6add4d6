/* SPDX-License-Identifier: MIT
 *
 * Stacks: mapped in slabs, a guard page below each, handed out last in first out so that the next task runs on memory
 * that is still in the cache. Classes are powers of two from 16 KiB to 16 MiB. A stack is bound to a task at its first
 * run and not at its spawn, so that a thousand tasks that never block run on one warm stack; torci_stacks_reserve at
 * the spawn makes sure that there will be one.
 *
 * The descriptor lies at the top of the stack's own memory; below it, a few cache lines that differ from stack to stack
 * (colouring) keep the first frames of many parked tasks from falling into the same cache sets. For the same reason
 * stacks are a page further apart than a power of two: the guard page is beside the 64 KiB and not inside.
 */
#ifndef TORC_CORE_STACK_INTERNAL_H
#define TORC_CORE_STACK_INTERNAL_H

#include "core/host_internal.h"

enum {
    TORCI_STACK_CLASSES = 11, /* 16 KiB << class */
    TORCI_STACK_MIN = 16 * 1024,
    TORCI_PAGE = 4096,
};

struct torci_fiber;

struct torci_stack {
    struct torci_stack *next_free;
    char *low; /* lowest usable byte; the guard page ends here */
    void *top; /* where the first frame starts, coloured, 16-byte aligned */
    struct torci_fiber *fiber;
    void *sanitizer_fiber; /* TSan's shadow of this stack */
    void *sanitizer_save;  /* ASan's, while it is left */
    unsigned valgrind_id;
    uint8_t stack_class;
};

struct torci_stack_slab {
    struct torci_stack_slab *next;
    char *memory;
    size_t size_bytes;
    uint32_t count, carved; /* stacks that it has room for; that were made of it so far */
    uint8_t stack_class;
};

struct torci_stacks {
    const struct torci_host *host;
    struct torci_stack *free[TORCI_STACK_CLASSES];
    uint32_t free_count[TORCI_STACK_CLASSES]; /* not in use by a task that has run */
    uint32_t reserved[TORCI_STACK_CLASSES]; /* of those: promised to tasks that have not run yet */
    struct torci_stack_slab *slabs;         /* all, newest first */
    uint32_t colour;
};

void torci_stacks_init(struct torci_stacks *stacks, const struct torci_host *host);
void torci_stacks_deinit(struct torci_stacks *stacks);

/* The class that holds SIZE_BYTES; -EINVAL beyond 16 MiB. */
int torci_stack_class(size_t size_bytes) TORC_MUST_CHECK;
static inline size_t torci_stack_size(unsigned stack_class)
{
    return (size_t)TORCI_STACK_MIN << stack_class;
}

/* Promises one stack of a class; maps more if need be. -ENOMEM. */
int torci_stacks_reserve(struct torci_stacks *stacks, unsigned stack_class) TORC_MUST_CHECK;
/* Makes good one promise. Never fails. */
struct torci_stack *torci_stacks_take(struct torci_stacks *stacks, unsigned stack_class);
/* Gives a stack back; it may still be the running one until the next switch. */
void torci_stacks_put(struct torci_stacks *stacks, struct torci_stack *stack);

/* The most bytes that any task has ever used of this stack, to the word: stacks start zeroed and are never cleaned. The
 * colour and the descriptor, up to 2 KiB, come on top. */
size_t torci_stack_high_water(const struct torci_stack *stack);
/* The most of all. */
size_t torci_stacks_high_water(const struct torci_stacks *stacks);
/* The stack whose guard page holds ADDRESS, or NULL. Async-signal-safe. */
const struct torci_stack *torci_stacks_find_guard(const struct torci_stacks *stacks,
                                                  const void *address);

#endif
