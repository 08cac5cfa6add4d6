/* SPDX-License-Identifier: MIT
 *
 * What the ring keeps for its operations: registered (pinned) buffers and direct descriptors. Both save the kernel work
 * on every operation that uses them. Owned by the executor on whose thread they were made.
 */
#ifndef TORC_IO_RESOURCE_H
#define TORC_IO_RESOURCE_H

#include "core/base.h"

TORC_BEGIN_DECLS

/* Pins SIZE_BYTES at MEMORY (up to 1 GiB) and registers them; the index for IORING_OP_READ_FIXED and its kin.
 * MEMORY stays the caller's and mapped until torc_buffer_unregister.
 * -ENOMEM: RLIMIT_MEMLOCK is too small (one line says by how much); -ENOSPC: all torc_config.buffers_max slots are
 * taken; -EINVAL, -EFAULT: bad memory. May block briefly (pinning touches every page). */
int torc_buffer_register(void *memory, size_t size_bytes) TORC_MUST_CHECK;
/* No operation may use INDEX any more. */
void torc_buffer_unregister(int index);

/* Puts FD into the ring's table; the slot, for sqe->fd with IOSQE_FIXED_FILE. FD stays the caller's and open: the slot
 * holds a reference of its own. -ENOSPC: all torc_config.files_max slots are taken; -EBADF; -EMFILE: files_max is above the hard limit
 * RLIMIT_NOFILE (the soft one is raised for the moment that it takes). */
int torc_slot_register(int fd) TORC_MUST_CHECK;
void torc_slot_unregister(int slot);

TORC_END_DECLS

#endif
