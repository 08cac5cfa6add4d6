/* SPDX-License-Identifier: MIT
 *
 * The files and buffers of a running job: opened, checked against what direct I/O asks for, registered with the ring
 * when the job wants that. Errors are a negative errno after one line on standard error that says what to do.
 */
#ifndef TORC_APPS_ENGINE_FILES_H
#define TORC_APPS_ENGINE_FILES_H

#include "apps/torc/plan.h"
#include "torc.h"

struct bench_files {
    struct torc_file *items;
    unsigned count;
};

/* In a task; close too. On error nothing stays open. */
int bench_files_open(struct bench_files *files, const struct bench_instance *instance);
void bench_files_close(struct bench_files *files);

/* What the buffers of a copy take, one for each I/O in flight. */
size_t bench_buffers_bytes(const struct bench_job *job);
/* A pool of them, pinned with fixedbufs=1, in MEMORY or, if that is NULL, in the shard's arena. */
int bench_buffers_init(struct torc_buffer_pool *pool, const struct bench_job *job, void *memory);
/* First contents, from the state RANDOM. Touches all of it, so that the first I/O does not pay for page faults. */
void bench_buffers_fill(const struct bench_job *job, struct torc_buffer *buffer, uint64_t *random);
/* New contents for a write, as the job's buffer options say. The buffer may be used up to the next multiple of 8. */
void bench_buffers_prepare(const struct bench_job *job, void *buffer, uint64_t length,
                           uint64_t *random);

#endif
