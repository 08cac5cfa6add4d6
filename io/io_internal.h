/* SPDX-License-Identifier: MIT
 *
 * The io room's state of one executor: its ring, its view of the kernel, and what stands on them. Hangs off
 * torci_exec.owner.
 */
#ifndef TORC_IO_IO_INTERNAL_H
#define TORC_IO_IO_INTERNAL_H

#include "core/exec_internal.h"
#include "io/blocking_internal.h"
#include "io/clock_internal.h"
#include "io/config.h"
#include "io/kernel_internal.h"
#include "io/op.h"
#include "io/pace_internal.h"
#include "io/ring_internal.h"
#include "io/signals_internal.h"

/* Which entries of a table that the ring keeps are free. */
struct torci_slots {
    uint32_t *free; /* a stack of them; NULL until the table is registered */
    uint32_t free_count, count;
    uint32_t shared_from; /* of files: from here on the kernel chooses; 0: nowhere */
    uint32_t shared_free; /* of those: neither taken nor promised to an operation */
};

/* What the room above has to do with the loop: mail from other threads. All zero: nothing. */
struct torci_outside {
    const uint64_t
        *map; /* MAP_WORDS words, atomic: other threads set bits in them when TURN is to look */
    uint32_t map_words;
    bool busy;                         /* the owner's: TURN has something to do anyway */
    void (*turn)(struct torci_io *io); /* takes and sends */
    bool (*came)(struct torci_io *io); /* is there something to take? Looks at memory alone */
    bool (*may_sleep)(
        struct torci_io
            *io); /* from now on whoever has something sets a bit; false: somebody has not */
    void (*shutdown)(struct torci_io *io); /* an orderly one is asked for */
};

/* What the network room tells the loop about its traffic, and has it do. All zero: there is none. */
struct torci_traffic {
    void *net;                          /* the room's state of this executor */
    bool dirty;                         /* FLUSH has something to do */
    bool queued;                        /* silent sends are in the queue: enter this turn */
    bool awaited;                       /* ... and somebody sleeps until they are over: don't */
    uint32_t came;                      /* messages that have come since the loop last waited */
    uint32_t largest_bytes;             /* of those */
    uint32_t live;                      /* connections */
    uint32_t active;                    /* of those: that a message has come over in this epoch */
    uint16_t epoch;                     /* some turns; the loop counts them */
    void (*flush)(struct torci_io *io); /* after tasks have run, before the ring is entered */
    void (*submitted)(struct torci_io *io); /* after that: what the sends said has been reaped */
    void (*close)(struct torci_io *io);     /* nothing is in flight any more, no job runs */
};

struct torci_io {
    const struct torci_kernel *kernel;
    struct torci_host host;   /* the kernel's, with our turn */
    struct torci_clock clock; /* keeps host.tick_* right */
    struct torci_ring ring;
    struct torci_ring poll_ring; /* IOPOLL; made when a file first asks for it: real_fd says so */
    struct torci_exec exec;
    struct torc_config config;
    struct torci_counters *counters; /* for the executor to write, and the set they are in */
    const struct torc_counter_set *counter_set;
    struct torc_batch *batch; /* the one that a task began to wait on last, while it does */
    uint64_t entered_ns;
    uint64_t mail_until_ns; /* a batch is not slept for as a whole before this */
    uint64_t ops[4];        /* bit n: the kernel knows opcode n */
    struct torci_slots buffers, files;
    struct torci_blocking blocking;
    uint32_t internal_ops;           /* in flight, but nobody's: the wake poll, the signal poll */
    struct torci_link room_waiters;  /* tasks that found the queue full and the kernel unwilling */
    struct torci_link cancel_missed; /* of tasks: the kernel did not find what they aim at */
    struct torci_timer missed_timer; /* when those are repeated */
    uint64_t missed_ns, missed_pause_ns;
    struct torci_link cancel_retry; /* of torci_op_wait: their cancel found no room in the queue */
    struct torci_wake {
        struct torc_op op; /* multishot poll on event_fd */
        bool armed;
        int event_fd; /* -1 until somebody may wake us from outside */
        _Alignas(
            128) uint32_t parked; /* atomic: 1 while asleep or about to be; others look at it */
    } wake;
    _Alignas(128) struct torci_outside outside;
    struct torci_traffic traffic;
    struct torci_pace pace;
    struct torci_signal_watch signals;
    uint32_t id; /* the shard's, for what is said to people */
    int cpu;
    bool shares_cpu;     /* with other shards: whoever spins keeps them from running */
    struct torci_stall { /* of the signal handler alone: what it saw the last time */
        const struct torci_fiber *fiber;
        uint64_t turns;
        uint32_t budget, reports;
    } stall;
};

static inline struct torci_io *torci_io_this(void)
{
    TORC_ASSERT(torci_this != NULL);
    return TORC_CONTAINER_OF(torci_this, struct torci_io, exec);
}

/* This executor's kernel, for set-up calls that may not sleep. */
static inline const struct torci_kernel *torci_kernel_this(void)
{
    return torci_io_this()->kernel;
}

/* What user_data carries beside an op's address: its low bits. */
enum {
    TORCI_TAG_OP = 0,
    TORCI_TAG_CANCEL = 1, /* the cancel's own CQE; the address is of the op that it aims at */
    TORCI_TAG_NONE = 2,   /* nobody cares for this completion */
    TORCI_TAG_BELL = 3, /* another ring's message: it has woken us, and that was all; no address */
    TORCI_TAG_SILENT = 3, /* with an address: an op that completes only when it fails */
    TORCI_TAG_MASK = 3,
};

static inline bool torci_ring_has_op(const struct torci_io *io, unsigned opcode)
{
    return opcode < 256 && (io->ops[opcode / 64] >> opcode % 64 & 1);
}

/* The IOPOLL ring, made on first use; NULL where there can be none. For reads and writes of files whose device has poll
 * queues, and nothing else. */
struct torci_ring *torci_io_poll_ring(struct torci_io *io);

/* torc_op_begin on one of the rings. What is on the polled one can't be cancelled. */
int torci_op_begin_on(struct torci_ring *ring, struct torc_op *op,
                      struct io_uring_sqe **sqe) TORC_MUST_CHECK;
int torci_op_start_on(struct torci_ring *ring, struct torc_op *op, torc_op_fn *done,
                      struct io_uring_sqe **sqe) TORC_MUST_CHECK;
/* For an operation that ends within its submission: it is not counted as in flight, and DONE runs only if it fails or
 * falls short, before the ring has been reaped after that submission. The caller adds IOSQE_CQE_SKIP_SUCCESS. */
int torci_op_start_silent(struct torc_op *op, torc_op_fn *done,
                          struct io_uring_sqe **sqe) TORC_MUST_CHECK;
/* Hands every completion that has come to its op. Whether there were any. */
bool torci_op_reap(struct torci_io *io, struct torci_ring *ring);
/* The fire function of missed_timer. */
void torci_op_cancel_again(struct torci_timer *timer);
/* Once a turn, after reaping: tries again what found no room, and wakes the tasks that wait for some. */
void torci_op_retry(struct torci_io *io);

/* The driver: host.turn of the executor. CONTEXT is the kernel's; the executor's own state comes from torci_this. */
int torci_io_turn(void *context, uint64_t wait_until_ns);
/* Cancels and completes what is in flight after the last task has ended: the internal ops and forgotten embedded ones.
 * -ETIMEDOUT: something can't be cancelled and doesn't end. */
int torci_io_drain(struct torci_io *io) TORC_MUST_CHECK;

/* torc_buffer_register that says nothing, for who has something else to try. */
int torci_buffer_register(void *memory, size_t size_bytes) TORC_MUST_CHECK;
void torci_slots_free(struct torci_io *io, struct torci_slots *slots);
/* From now on the kernel can be told to choose a slot itself (file_index UINT32_MAX): in the upper seven eighths of the
 * table, which torc_slot_register keeps out of. Idempotent. As torc_slot_register's errors; -ENOSPC too if it has slots there;
 * -EOPNOTSUPP: that came with 6.0. */
int torci_slots_share(struct torci_io *io) TORC_MUST_CHECK;
/* Empties a slot that the kernel has chosen, here and now. */
void torci_slot_clear(struct torci_io *io, int slot);
/* An SQE whose completion nobody cares for. -EAGAIN: no room. */
int torci_op_start_unheard(struct torci_io *io, struct io_uring_sqe **sqe) TORC_MUST_CHECK;

/* Makes torci_io_wake work from other threads: an eventfd and its poll. Idempotent; 0 or a negative errno. */
int torci_io_wake_prepare(struct torci_io *io) TORC_MUST_CHECK;
/* From any thread, after it has published what the executor is to find (release): wakes it if it sleeps. */
void torci_io_wake(struct torci_io *io);

/* Called by the loop after each turn and before it parks: hand finished jobs to their tasks. Whether there were any. */
bool torci_blocking_reap(struct torci_blocking *blocking);

#endif
