/* SPDX-License-Identifier: MIT
 *
 * Small operations for tests that run in torc_run on a real ring, and a main task that tries all that a rung of the
 * set-up ladder must be able to do.
 */
#ifndef TORC_TESTS_RING_OPS_H
#define TORC_TESTS_RING_OPS_H

#include <liburing.h>

#include "core/task.h"
#include "core/time.h"
#include "io/op.h"
#include "shard/run.h"
#include "tests/harness.h"

/* From a task; the result of torc_op_begin or torc_op_wait. */
int ring_nop(void);
int ring_read(int fd, void *memory, unsigned size, uint64_t offset);
int ring_write(int fd, const void *memory, unsigned size, uint64_t offset);
int ring_poll(int fd);
int ring_timeout(uint64_t ns);

/* An embedded operation that remembers what it was told. */
struct ring_op {
    struct torc_op op;
    int ran, result;
    uint32_t flags;
    unsigned order; /* of its first completion among all: 1, 2, … */
    struct torc_batch *batch;
};
void ring_op_done(struct torc_op *op, int result, uint32_t flags);
/* Starts it as a NOP, READ at the start or current place, POLL. */
int ring_op_nop(struct ring_op *op, unsigned flags);
int ring_op_read(struct ring_op *op, int fd, void *memory, unsigned size, unsigned flags);
int ring_op_poll(struct ring_op *op, int fd, bool multishot);
/* Sleeps until it has completed COUNT times. */
void ring_op_wait(const struct ring_op *op, int count);

/* A main task; 42 if all went well. */
int ring_ops_all(void *arg);

/* A pipe whose ends are closed by ring_pipe_close. */
void ring_pipe(int ends[2]);
void ring_pipe_close(int ends[2]);
/* Entries of /proc/self/fd. */
unsigned ring_open_descriptors(void);

#endif
