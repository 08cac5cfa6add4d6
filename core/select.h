/* SPDX-License-Identifier: MIT
 *
 * Waiting for the first of several things. Each thing is a case, made by the function that its primitive offers
 * (torc_channel_recv_case, torc_event_case …) or by one of those below; exactly one case takes effect, the others are as
 * if they had never been asked for.
 *
 *     struct torc_case cases[] = {
 *         torc_channel_recv_case(&requests, &request),
 *         torc_event_case(&stop),
 *         torc_timeout_case(50 * TORC_MS),
 *     };
 *     switch (torc_select(cases, 3)) {
 *     case 0: return cases[0].result ? drained() : serve(&request);
 *     case 1: return 0;
 *     case 2: return idle();
 *     default: return torc_task_check();   // cancelled, or the deadline around has passed
 *     }
 *
 * Shard rule: everything on the owning executor's thread. Nothing here allocates or calls back.
 */
#ifndef TORC_CORE_SELECT_H
#define TORC_CORE_SELECT_H

#include "core/task.h"

TORC_BEGIN_DECLS

enum { TORC_SELECT_MAX = 32 }; /* cases in one select */

struct torci_case_kind;

/* Made by a ..._case function; a zeroed case is never ready, which is how a loop leaves one out. Apart from RESULT the
 * fields are private. A case may be used for many selects, one at a time. The objects and buffers that it names are the
 * caller's and must live until the select has returned. */
struct torc_case {
    const struct torci_case_kind *kind;
    void *object;
    void *value;
    uint64_t amount;
    int64_t
        result; /* of the case that took effect: what the call it stands for would have returned */
};

/* Waits until one of COUNT cases can take effect, lets it, and returns its index; its RESULT is set. A case that ends in
 * an error (a closed channel's -EPIPE) counts as ready. If several are ready the first is looked for from a place that
 * changes from call to call, so that none starves; while parked, the one that comes first wins. In a task; blocks.
 * -ECANCELED, -ETIMEDOUT: interrupted, no case took effect. -EINVAL: COUNT is above TORC_SELECT_MAX or no case is set. */
int torc_select(struct torc_case *cases, uint32_t count) TORC_MUST_CHECK;
/* The same with priorities: of several that are ready, the one with the lowest index. */
int torc_select_in_order(struct torc_case *cases, uint32_t count) TORC_MUST_CHECK;
/* Never blocks. The index of a case that was ready and took effect, or -EAGAIN; -EINVAL as above. In a task. */
int torc_select_try(struct torc_case *cases, uint32_t count) TORC_MUST_CHECK;

/* Ready TIMEOUT_NS from now, the moment the case is made; RESULT is 0. Only looked at when nothing else is ready, so a
 * TIMEOUT_NS of 0 makes the select a look without a wait. */
struct torc_case torc_timeout_case(uint64_t timeout_ns);
/* The same for a moment of torc_now_ns(). */
struct torc_case torc_timeout_case_at(uint64_t when_ns);

/* Ready when TASK has ended; RESULT is the task's. */
struct torc_case torc_task_case(struct torc_task *task);

TORC_END_DECLS

#endif
