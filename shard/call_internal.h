/* SPDX-License-Identifier: MIT
 *
 * Calls between the two shards that take part in one:
 *
 *     caller (shard/call.c)                                receiver (shard/serve.c)
 *     struct torci_call on the task's stack
 *     request -------- work lane -----------------------> record, task of shard.served
 *       | interrupted: cancel -------- control lane ----> the task is cancelled, or the request is taken out of the lane
 *     the task is ready <-------- control lane -------- answer
 *
 * A request carries the address of the caller's struct, which the receiver hands back and never looks at, and a number
 * that no other call of that shard has: the cancel names it, so that a cancel that comes too late finds nothing. Each
 * request is answered exactly once; the struct is free when the answer has come.
 *
 * The receiver never writes into the caller's struct, and so costs it no cache miss; that is why it needs a table to find
 * what a cancel means.
 */
#ifndef TORC_SHARD_CALL_INTERNAL_H
#define TORC_SHARD_CALL_INTERNAL_H

#include "core/task.h"
#include "shard/call.h"
#include "shard/mesh_internal.h"

/* What the words of a request are. Posts have no call and no deadline. */
enum torci_request {
    TORCI_REQUEST_FN,
    TORCI_REQUEST_ARG,
    TORCI_REQUEST_CALL,
    TORCI_REQUEST_ID,
    TORCI_REQUEST_DEADLINE,  /* ns; UINT64_MAX: none */
    TORCI_REQUEST_CANCELLED, /* set by the receiver, in the lane */
    TORCI_POST_DROP = TORCI_REQUEST_CALL,
    TORCI_POST_VALUE = TORCI_REQUEST_ARG, /* of torc_post_copy: up to the end */
};
_Static_assert((TORCI_MESSAGE_WORDS - TORCI_POST_VALUE) * 8 >= TORC_POST_COPY_MAX, "it fits");

/* A function that runs here for another shard, or whose answer has not gone out. */
struct torci_served {
    struct torci_served *next; /* free, or of the same bucket */
    torc_task_fn *fn;
    void *arg;
    uint64_t call, id, deadline_ns; /* as in the request; CALL is 0 of a post */
    uint32_t from;
    uint32_t name_from; /* whom NAME names, plus one */
    struct torc_task task;
    union {
        struct torci_note answer;
        uint64_t value[TORC_POST_COPY_MAX / 8];
    };
    char name[TORC_TASK_NAME_MAX + 1];
};

/* A shard's side of both. All zero at the start. */
struct torci_calls {
    uint64_t last_id; /* of the calls made here */

    struct torci_served *free;
    void *chunks;
    uint32_t records;              /* there are */
    uint32_t serving;              /* tasks */
    struct torci_served **buckets; /* calls by caller and number; as many as records, rounded up */
    uint32_t bucket_count;
    struct torci_served spare; /* for a refusal when there is no memory for more */
    bool spare_in_use;
};

/* After the shard has served its last. */
void torci_calls_deinit(struct torci_shard *shard);
/* The shard's tasks will never run again: answers -EIO to all who wait for one. */
void torci_calls_bury(struct torci_shard *shard);
/* A record of a task that serves others; NULL: not now. It may be put back by the task itself, whose end writes to
 * record->task once more: nothing comes in between on this shard. */
struct torci_served *torci_served_take(struct torci_shard *self);
void torci_served_put(struct torci_shard *self, struct torci_served *record);
/* Starts FN(ARG), which decrements calls.serving at its end, as a task that serves others. As torc_spawn_with. */
int torci_calls_start(struct torci_shard *self, const struct torc_task_options *options,
                      torc_task_fn *fn, void *arg) TORC_MUST_CHECK;
/* The running task runs for another shard, or under one that does. */
bool torci_calls_is_serving(const struct torci_shard *shard);

/* Handlers of messages. */
torci_message_fn torci_take_call, torci_take_post, torci_take_post_copy, torci_take_cancel;
torci_message_fn torci_take_answer;

#endif
