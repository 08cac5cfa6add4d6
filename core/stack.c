/* SPDX-License-Identifier: MIT
 *
 * Stack slabs and free lists. A slab is mapped whole and carved one stack at a time, so that a stack costs neither
 * memory nor a guard call before somebody needs it. Slabs of a class grow with what it already has.
 */
#include "core/stack_internal.h"

#include <errno.h>
#include <string.h>

#include "core/sanitizer_internal.h"

enum {
    SLAB_STACKS_MIN = 16,
    SLAB_STACKS_MAX = 1024,
    SLAB_BYTES_MAX = 256 << 20,
    COLOUR_LINES =
        24, /* 1.5 KiB: the descriptor, the colour and a shallow task's frames share one page */
    LINE = 64,
};

void torci_stacks_init(struct torci_stacks *stacks, const struct torci_host *host)
{
    memset(stacks, 0, sizeof *stacks);
    stacks->host = host;
}

static size_t stride(unsigned stack_class)
{
    return torci_stack_size(stack_class) + TORCI_PAGE;
}

static struct torci_stack *descriptor(char *low, unsigned stack_class)
{
    return (struct torci_stack *)(void *)(low + torci_stack_size(stack_class)) - 1;
}

static char *slab_stack_low(const struct torci_stack_slab *slab, uint32_t index)
{
    return slab->memory + index * stride(slab->stack_class) + TORCI_PAGE;
}

void torci_stacks_deinit(struct torci_stacks *stacks)
{
    const struct torci_host *host = stacks->host;
    while (stacks->slabs) {
        struct torci_stack_slab *slab = stacks->slabs;
        stacks->slabs = slab->next;
        for (uint32_t i = 0; i < slab->carved; i++)
            torci_sanitizer_stack_gone(descriptor(slab_stack_low(slab, i), slab->stack_class));
        host->unmap(host->map_context, slab->memory, slab->size_bytes);
        host->free(host->context, slab, sizeof *slab);
    }
    memset(stacks, 0, sizeof *stacks);
}

int torci_stack_class(size_t size_bytes)
{
    for (int stack_class = 0; stack_class < TORCI_STACK_CLASSES; stack_class++)
        if (size_bytes <= torci_stack_size((unsigned)stack_class))
            return stack_class;
    return -EINVAL;
}

static struct torci_stack_slab *slab_with_room(struct torci_stacks *stacks, unsigned stack_class)
{
    const struct torci_host *host = stacks->host;
    uint64_t count = SLAB_STACKS_MIN;
    for (struct torci_stack_slab *slab = stacks->slabs; slab; slab = slab->next) {
        if (slab->stack_class != stack_class)
            continue;
        if (slab->carved < slab->count)
            return slab;
        count += slab->count;
    }
    if (count > SLAB_STACKS_MAX)
        count = SLAB_STACKS_MAX;
    if (count * stride(stack_class) > SLAB_BYTES_MAX)
        count = SLAB_BYTES_MAX / stride(stack_class);
    struct torci_stack_slab *slab =
        (struct torci_stack_slab *)host->alloc(host->context, sizeof *slab);
    if (!slab)
        return NULL;
    slab->count = (uint32_t)count;
    slab->stack_class = (uint8_t)stack_class;
    slab->size_bytes = count * stride(stack_class);
    slab->memory = (char *)host->map(host->map_context, slab->size_bytes);
    if (!slab->memory) {
        host->free(host->context, slab, sizeof *slab);
        return NULL;
    }
    slab->next = stacks->slabs;
    stacks->slabs = slab;
    return slab;
}

static int carve(struct torci_stacks *stacks, unsigned stack_class)
{
    struct torci_stack_slab *slab = slab_with_room(stacks, stack_class);
    if (!slab)
        return -ENOMEM;
    char *low = slab_stack_low(slab, slab->carved);
    int err = stacks->host->guard(stacks->host->map_context, low - TORCI_PAGE, TORCI_PAGE);
    if (err)
        return err;
    struct torci_stack *stack = descriptor(low, stack_class);
    uintptr_t top = (uintptr_t)stack - (stacks->colour++ % COLOUR_LINES) * LINE;
    stack->low = low;
    stack->top = (void *)(top & ~(uintptr_t)15);
    stack->stack_class = (uint8_t)stack_class;
    torci_sanitizer_stack_made(stack);
    slab->carved++;
    torci_stacks_put(stacks, stack);
    return 0;
}

int torci_stacks_reserve(struct torci_stacks *stacks, unsigned stack_class)
{
    if (TORC_UNLIKELY(stacks->free_count[stack_class] == stacks->reserved[stack_class])) {
        int err = carve(stacks, stack_class);
        if (err)
            return err;
    }
    stacks->reserved[stack_class]++;
    return 0;
}

struct torci_stack *torci_stacks_take(struct torci_stacks *stacks, unsigned stack_class)
{
    TORC_ASSERT(stacks->reserved[stack_class] > 0);
    struct torci_stack *stack = stacks->free[stack_class];
    stacks->free[stack_class] = stack->next_free;
    stacks->free_count[stack_class]--;
    stacks->reserved[stack_class]--;
    return stack;
}

void torci_stacks_put(struct torci_stacks *stacks, struct torci_stack *stack)
{
    stack->fiber = NULL;
    stack->next_free = stacks->free[stack->stack_class];
    stacks->free[stack->stack_class] = stack;
    stacks->free_count[stack->stack_class]++;
}

/* Reads memory that ASan may hold poisoned: frames of tasks that are parked. */
TORCI_NO_SANITIZE size_t torci_stack_high_water(const struct torci_stack *stack)
{
    const char *top = (const char *)stack->top, *at = stack->low;
    torci_sanitizer_reveal(stack);
    while (at < top && !*(const uintptr_t *)(const void *)at)
        at += sizeof(uintptr_t);
    return (size_t)(top - at);
}

size_t torci_stacks_high_water(const struct torci_stacks *stacks)
{
    size_t most = 0;
    for (const struct torci_stack_slab *slab = stacks->slabs; slab; slab = slab->next)
        for (uint32_t i = 0; i < slab->carved; i++) {
            size_t used =
                torci_stack_high_water(descriptor(slab_stack_low(slab, i), slab->stack_class));
            most = used > most ? used : most;
        }
    return most;
}

const struct torci_stack *torci_stacks_find_guard(const struct torci_stacks *stacks,
                                                  const void *address)
{
    for (const struct torci_stack_slab *slab = stacks->slabs; slab; slab = slab->next) {
        uintptr_t offset = (uintptr_t)address - (uintptr_t)slab->memory;
        if (offset >= slab->size_bytes)
            continue;
        uint32_t index = (uint32_t)(offset / stride(slab->stack_class));
        bool in_guard = offset % stride(slab->stack_class) < TORCI_PAGE;
        return in_guard && index < slab->carved
                   ? descriptor(slab_stack_low(slab, index), slab->stack_class)
                   : NULL;
    }
    return NULL;
}
