/* SPDX-License-Identifier: MIT
 *
 * A host for core alone: malloc'ed memory, and a virtual clock that jumps to the moment that the loop wants to sleep to.
 * A test that sleeps a week takes no time. Nothing in it is a system call of torc's, so the same tests run anywhere.
 */
#ifndef TORC_TESTS_CORE_HOST_H
#define TORC_TESTS_CORE_HOST_H

#include <errno.h>
#include <sys/mman.h>

#include "core/exec_internal.h"
#include "tests/harness.h"

struct core_host {
    struct torci_host host;
    uint64_t now_ns;
    int64_t fail_at; /* the allocation that fails, counted down; negative: none */
    size_t bytes;    /* allocated and mapped now */
    char reported[512];
    void (*on_turn)(void); /* runs in every turn, outside of any task */
    uint64_t step_ns;      /* added at every look at the clock */
};

static uint64_t core_host_now(void *context)
{
    struct core_host *self = (struct core_host *)context;
    self->now_ns += self->step_ns;
    return self->now_ns;
}

static bool core_host_fails(struct core_host *self)
{
    return self->fail_at >= 0 && self->fail_at-- == 0;
}

static void *core_host_alloc(void *context, size_t size)
{
    struct core_host *self = (struct core_host *)context;
    if (core_host_fails(self))
        return NULL;
    self->bytes += size;
    return calloc(1, size);
}

static void core_host_free(void *context, void *memory, size_t size)
{
    ((struct core_host *)context)->bytes -= size;
    free(memory);
}

static void *core_host_map(void *context, size_t size)
{
    struct core_host *self = (struct core_host *)context;
    if (core_host_fails(self))
        return NULL;
    self->bytes += size;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void core_host_unmap(void *context, void *memory, size_t size)
{
    ((struct core_host *)context)->bytes -= size;
    munmap(memory, size);
}

static int core_host_guard(void *context, void *memory, size_t size)
{
    if (core_host_fails((struct core_host *)context))
        return -ENOMEM;
    return mprotect(memory, size, PROT_NONE) ? -errno : 0;
}

static void core_host_report(void *context, const char *line)
{
    struct core_host *self = (struct core_host *)context;
    snprintf(self->reported, sizeof self->reported, "%s", line);
    fprintf(stderr, "%s\n", line);
}

static int core_host_turn(void *context, uint64_t wait_until_ns)
{
    struct core_host *self = (struct core_host *)context;
    if (self->on_turn)
        self->on_turn();
    if (wait_until_ns == UINT64_MAX && !torci_this->top.first_runnable)
        return -EDEADLK; /* every task waits for another */
    if (wait_until_ns > self->now_ns && wait_until_ns != UINT64_MAX)
        self->now_ns = wait_until_ns;
    return 0;
}

static void core_host_init(struct core_host *self)
{
    *self = (struct core_host){
        .host = {.context = self,
                 .now_ns = core_host_now,
                 .alloc = core_host_alloc,
                 .free = core_host_free,
                 .map_context = self,
                 .map = core_host_map,
                 .unmap = core_host_unmap,
                 .guard = core_host_guard,
                 .report = core_host_report,
                 .turn = core_host_turn},
        .now_ns = TORC_SEC,
        .fail_at = -1,
    };
}

/* Runs FN(ARG) as the main task of a fresh executor on SELF. */
static inline int core_host_run_on(struct core_host *self, const struct torci_exec_config *config,
                                   torc_task_fn *fn, void *arg)
{
    static struct torci_exec exec;
    int err = torci_exec_init(&exec, &self->host, config);
    if (err)
        return err;
    int result = torci_exec_run(&exec, fn, arg);
    if (result != -EDEADLK)
        torci_exec_deinit(&exec);
    return result;
}

static inline int core_host_run(torc_task_fn *fn, void *arg)
{
    struct core_host host;
    core_host_init(&host);
    int result = core_host_run_on(&host, &(struct torci_exec_config){0}, fn, arg);
    CHECK_EQ(host.bytes, 0);
    return result;
}

#endif
