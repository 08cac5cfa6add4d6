/* SPDX-License-Identifier: MIT
 *
 * torc_run's own signals: SIGINT and SIGTERM start an orderly shutdown, and a second one ends the process at once.
 */
#ifndef TORC_IO_SIGNALS_INTERNAL_H
#define TORC_IO_SIGNALS_INTERNAL_H

#include "io/op.h"

struct torci_io;
struct torci_kernel;

struct torci_signal_watch {
    struct torc_op op; /* multishot poll on fd */
    struct torci_io *io;
    uint64_t mask;      /* watched; 0: nothing is */
    uint64_t unblocked; /* of those: not blocked before we came */
    int fd;
    int taken; /* the signal that has started the shutdown; 0: none */
    bool in_flight, stopping;
};

/* Takes the two over, except one that the process ignores (nohup, a shell's background job): from here on they wait for
 * torci_signals_shutdown_start. On the executor's thread. 0 or a negative errno, and then nothing has changed. */
int torci_signals_shutdown_prepare(struct torci_io *io) TORC_MUST_CHECK;
/* Hears them. The watch counts as one of io->internal_ops from here until torci_signals_shutdown_stop has cancelled it
 * and its last completion was reaped. In the first task. On an error they are given back. */
int torci_signals_shutdown_start(struct torci_io *io) TORC_MUST_CHECK;
/* Gives them back. Harmless when not started. The loop must run on until io->internal_ops is 0. */
void torci_signals_shutdown_stop(struct torci_io *io);
/* Ends the process as the signal NUMBER does by itself: whoever waits for it sees that. */
void torci_signals_die(const struct torci_kernel *kernel, int number);
/* For a ring that runs no more: gives them back at once. */
void torci_signals_shutdown_abandon(struct torci_io *io);

#endif
