/* SPDX-License-Identifier: MIT
 *
 * Why the kernel gives no ring, in one line for somebody who can change it. What torc_run reports and what
 * torc_ring_info hands out are these same lines.
 */
#ifndef TORC_IO_EXPLAIN_INTERNAL_H
#define TORC_IO_EXPLAIN_INTERNAL_H

#include "io/kernel_internal.h"

enum { TORCI_EXPLAIN_BYTES = 224 };

/* ERR is what torci_ring_init answered when asked for ENTRIES and COMPLETION_ENTRIES. The line has no newline and no
 * program's name in front. Looks at /proc/sys through the kernel's table; does not allocate. */
void torci_explain_ring_error(const struct torci_kernel *kernel, int err, uint32_t entries,
                              uint32_t completion_entries, char line[TORCI_EXPLAIN_BYTES]);

#endif
