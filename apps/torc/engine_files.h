/* SPDX-License-Identifier: MIT
 *
 * The files and buffers of a running job: opened, checked against what O_DIRECT asks for, registered with the ring when
 * the job wants that. Errors are a negative errno after one line on standard error that says what to do.
 */
#ifndef TORC_APPS_ENGINE_FILES_H
#define TORC_APPS_ENGINE_FILES_H

#include "apps/torc/plan.h"

struct bench_file {
    int fd;
    int handle;    /* what goes into sqe->fd: fd, or the slot */
    uint8_t flags; /* of the sqe: IOSQE_FIXED_FILE or 0 */
};

struct bench_files {
    struct bench_file *items;
    unsigned count;
};

/* In a task; close too. On error nothing stays open. */
int bench_files_open(struct bench_files *files, const struct bench_instance *instance);
void bench_files_close(struct bench_files *files);

/* One page-aligned area of COUNT buffers of STRIDE bytes. */
struct bench_buffers {
    char *memory;
    size_t size, stride;
    int index; /* registered with the ring; -1: not */
};

int bench_buffers_init(struct bench_buffers *buffers, const struct bench_job *job, uint64_t *random);
void bench_buffers_deinit(struct bench_buffers *buffers);
/* New contents for a write, as the job's buffer options say. */
void bench_buffers_prepare(const struct bench_job *job, void *buffer, uint64_t length,
                           uint64_t *random);

#endif
