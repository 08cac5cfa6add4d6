/* SPDX-License-Identifier: MIT
 *
 * A kernel that does as it is told: the third implementation of struct torci_kernel, with ring memory and a clock of its
 * own. It knows NOP, READ and WRITE of one file in memory, TIMEOUT, POLL_ADD and ASYNC_CANCEL; what completes when, in
 * which order, and what a cancel is answered, the test says. Time stands still but for waits, so every run is the same.
 *
 *     struct scripted_kernel script;
 *     scripted_init(&script);
 *     script.delay_ns = TORC_MS;
 *     result = scripted_run(&script, main, arg);
 *
 * A wait that nothing can end is answered with -EDEADLK: a test that would hang fails instead. One executor at a time.
 */
#ifndef TORC_TESTS_SCRIPTED_KERNEL_H
#define TORC_TESTS_SCRIPTED_KERNEL_H

#include "io/kernel_internal.h"
#include "shard/run.h"
#include "tests/harness.h"

enum {
    SCRIPTED_ENTRIES_MAX = 64,
    SCRIPTED_OPS_MAX = 512,
    SCRIPTED_FILE_BYTES = 4096,
    SCRIPTED_CANCELS_MAX = 4,
};

struct io_uring_sqe;
struct io_uring_cqe;

/* What the kernel has been given and not answered. */
struct scripted_op {
    uint64_t user_data, due_ns, sequence;
    int32_t result;
    uint8_t opcode;
    bool used, multishot;
    int fd;
    char *memory;
    uint32_t length;
    uint64_t offset;
};

/* How one cancel goes. All zero: its target ends at once with -ECANCELED, before the answer 0. */
struct scripted_cancel {
    int answer;
    uint64_t answer_after_ns;
    int target_result; /* 0: -ECANCELED */
    uint64_t target_after_ns;
    bool spares_target; /* it goes on as if nothing had been asked */
};

struct scripted_kernel {
    struct torci_kernel kernel;
    struct torc_config config; /* for scripted_run */

    /* The script. */
    uint64_t step_ns;  /* added at every look at the clock */
    uint64_t delay_ns; /* from submission to completion of NOP, READ and WRITE */
    bool reversed;     /* the newest of what is due is posted first */
    unsigned batch;    /* completions posted at most before torc is asked to enter again; 0: all */
    unsigned take_max; /* entries taken by one enter; 0: all */
    unsigned refusals; /* enters to come that fail with REFUSAL and do nothing */
    int refusal;       /* a negative errno */
    bool refuses_any;  /* flags of a cancel are -EINVAL, as before 5.19 */
    bool twice;        /* every completion is posted two times */
    unsigned cancels_count; /* the first cancels go as in CANCELS, later ones as if all zero */
    bool cancels_stay;      /* later ones change nothing: -EALREADY */
    struct scripted_cancel cancels[SCRIPTED_CANCELS_MAX];
    uint32_t first_index; /* where the ring's heads and tails start */

    /* What happened. */
    uint64_t now_ns, enters, submitted, cancels_seen, waits;
    bool has_overflowed;
    long bytes; /* allocated and mapped now */
    char file[SCRIPTED_FILE_BYTES];
    char said[256]; /* the last line reported */

    struct scripted_op ops[SCRIPTED_OPS_MAX];
    struct scripted_ring *ring;
    struct io_uring_sqe *sqes;
};

void scripted_init(struct scripted_kernel *script);
/* torc_run with script->config; checks that all memory came back. */
int scripted_run(struct scripted_kernel *script, torc_task_fn *main, void *arg);
/* Completes the polls of FD. */
void scripted_fire(struct scripted_kernel *script, int fd, int result);
/* A completion out of nowhere. */
void scripted_post(struct scripted_kernel *script, uint64_t user_data, int result, uint32_t flags);
/* In flight by the kernel's count. */
unsigned scripted_pending(const struct scripted_kernel *script);

#endif
