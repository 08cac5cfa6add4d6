/* SPDX-License-Identifier: MIT
 *
 * The op ledger of debug builds: every operation that was submitted gets exactly one terminal completion, and until
 * then nobody touches the memory that the kernel may write to. In release builds each function is nothing.
 *
 * Reads' buffers are poisoned for ASan while in flight, since it sees none of the kernel's writes: a task that looks
 * into its buffer too early, frees it or starts a second read into it is found at that moment.
 */
#ifndef TORC_IO_LEDGER_INTERNAL_H
#define TORC_IO_LEDGER_INTERNAL_H

#include "io/ring_internal.h"

#if defined(TORC_DEBUG) && TORC_DEBUG

/* FIRST_INDEX: of the entry that the ring will take first. -ENOMEM. */
int torci_ledger_create(struct torci_ledger **ledger, const struct torci_kernel *kernel,
                        uint32_t first_index) TORC_MUST_CHECK;
/* IN_FLIGHT by the ring's count: if that is nothing, every operation must have completed. */
void torci_ledger_destroy(struct torci_ledger *ledger, const struct torci_kernel *kernel,
                          uint32_t in_flight);
/* Notes the entries that are about to be published. */
void torci_ledger_submit(struct torci_ledger *ledger, const struct torci_ring *ring);
/* A completion was reaped; panics if nobody waits for it. */
void torci_ledger_complete(struct torci_ledger *ledger, uint64_t user_data, uint32_t flags);

#else

static inline int torci_ledger_create(struct torci_ledger **ledger,
                                      const struct torci_kernel *kernel, uint32_t first_index)
{
    (void)kernel, (void)first_index;
    *ledger = NULL;
    return 0;
}
static inline void torci_ledger_destroy(struct torci_ledger *ledger,
                                        const struct torci_kernel *kernel, uint32_t in_flight)
{
    (void)ledger, (void)kernel, (void)in_flight;
}
static inline void torci_ledger_submit(struct torci_ledger *ledger, const struct torci_ring *ring)
{
    (void)ledger, (void)ring;
}
static inline void torci_ledger_complete(struct torci_ledger *ledger, uint64_t user_data,
                                         uint32_t flags)
{
    (void)ledger, (void)user_data, (void)flags;
}

#endif

#endif
