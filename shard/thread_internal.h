/* SPDX-License-Identifier: MIT
 *
 * The gateways of a set, as boot and the mesh see them.
 */
#ifndef TORC_SHARD_THREAD_INTERNAL_H
#define TORC_SHARD_THREAD_INTERNAL_H

#include "shard/mesh_internal.h"
#include "shard/thread.h"

struct torci_set;

/* What threads have posted and found no task for: offered again in each turn, as stalled work is. */
struct torci_letters {
    struct torci_letter *first, **end;
};

void torci_letters_init(struct torci_letters *letters);
void torci_letters_retry(struct torci_shard *self);

/* The shard's tasks will never run again: answers -EIO to the threads that wait for one. */
void torci_letters_bury(struct torci_shard *self);
/* No shard runs tasks any more: from here on no letter reaches any of them. Once a set. */
void torci_gateways_shut(struct torci_set *set);
/* After that: answers what this shard has not taken. */
void torci_letters_refuse(struct torci_shard *self);
/* After that, on all shards: what users have closed goes. */
void torci_gateways_put(struct torci_set *set);

#endif
