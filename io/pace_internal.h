/* SPDX-License-Identifier: MIT
 *
 * The pace of a loop that serves connections: how many messages a turn should wait for, and whether it pays to look at
 * memory for a while before sleeping. Both are chosen from what the last turn looked like; without traffic neither
 * happens. All fields zero is a fresh one.
 */
#ifndef TORC_IO_PACE_INTERNAL_H
#define TORC_IO_PACE_INTERNAL_H

#include "core/base.h"

struct torci_io;

enum {
    TORCI_PACE_MANY = 8,           /* messages in a turn that are worth working in batches for */
    TORCI_PACE_LARGE_BYTES = 4096, /* a message above this is waited for less long by spinning */
};

/* Something that may save CPU or not, on this machine, under this load: tried from time to time. */
struct torci_trial {
    bool on, trying, settling;
    uint32_t stay;     /* epochs until the other way is tried, or judged */
    uint32_t patience; /* epochs between two tries */
    uint64_t cost
        [2]; /* CPU a message without and with, in 1/16 ns: the mean of late epochs; 0: not known */
};

struct torci_pace {
    uint32_t last;          /* messages of the turn that has just ended */
    uint32_t largest_bytes; /* of those */
    uint32_t wanted;        /* by the last batched wait */
    uint32_t cap;           /* on that; 0: none */
    uint32_t turns;
    uint32_t rest, back; /* turns left without spinning, and how many the last failure cost */

    /* An epoch is some turns with messages. */
    uint32_t epoch_turns, epoch_messages; /* of the present one */
    uint32_t active; /* connections that were active in the one before; 0: there was none */
    uint64_t cpu_ns; /* of the thread, when it began */

    struct torci_trial batching, no_spin;
};

/* The loop has nothing to do: the turn is over. */
void torci_pace_turn(struct torci_io *io);
/* How many completions the wait that comes now is for, at least 1; if more, *MIN_WAIT_US says how long it may take longer
 * for it. */
uint32_t torci_pace_want(struct torci_io *io, uint32_t *min_wait_us);
/* How long to spin now; 0: not at all. If it was not 0, torci_pace_spun is told what came of it. */
uint64_t torci_pace_spin_ns(struct torci_io *io);
void torci_pace_spun(struct torci_io *io, bool came);
/* An epoch is over whose messages took COST each. It is kept on, where it was tried, if it saves one part in WORTHWHILE. */
void torci_trial_judge(struct torci_trial *trial, uint64_t cost, uint64_t worthwhile);

#endif
