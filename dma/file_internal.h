/* SPDX-License-Identifier: MIT
 *
 * What the parts of the file code share: one way to make a system call sleep only the task, and the steps of opening.
 */
#ifndef TORC_DMA_FILE_INTERNAL_H
#define TORC_DMA_FILE_INTERNAL_H

#include "dma/directory.h"
#include "dma/file.h"
#include "dma/stats_internal.h"
#include "io/abi_internal.h"

/* One system call in the form in which both the ring and the blocking pool can make it. */
struct torci_file_call {
    uint8_t opcode; /* IORING_OP_*, whose entry is filled in from the arguments */
    long number;    /* SYS_*, to which they belong */
    long arguments[6];
};

/* Makes the call on the ring, or on the blocking pool if the ring lacks the operation, which is counted. The call's
 * result, or -ECANCELED, -ETIMEDOUT. In a task. */
int torci_file_call(const struct torci_file_call *call) TORC_MUST_CHECK;
/* Makes it on the blocking pool, for what no ring can do. In a task. */
int torci_file_call_blocking(long number, const long arguments[6]) TORC_MUST_CHECK;

#define TORCI_FILE_CALL(opcode_, number_, ...) \
    torci_file_call(&(struct torci_file_call){(opcode_), (number_), {__VA_ARGS__}})

/* Closes a descriptor for certain: also in an interrupted task, and when the ring takes nothing. In a task. */
void torci_file_close_fd(int fd);

/* What a relative path starts from. */
int torci_directory_fd(const struct torc_directory *directory);

/* Finds out how FILE's direct I/O must be aligned, from what STATX says and otherwise from the device, and sets its
 * alignments and masks. 0, or the task's interruption. */
int torci_file_align(struct torc_file *file, const struct torci_statx *statx) TORC_MUST_CHECK;

/* Serves a read of any offset, length and memory through FILE's bounce buffers: SIZE bytes unless the file ends. */
ssize_t torci_file_bounce(struct torc_file *file,
                          const struct torc_transfer *transfer) TORC_MUST_CHECK;

/* Proves with one read that FILE's device polls, and switches the file to the polled ring. -EOPNOTSUPP: it does not, or
 * nothing could be read to prove it. */
int torci_file_poll_probe(struct torc_file *file) TORC_MUST_CHECK;

/* The largest transfer that read(2) and its kin do at once. */
enum { TORCI_TRANSFER_MAX = 0x7ffff000, TORCI_PIECES_MAX = 1024 };

#endif
