/* SPDX-License-Identifier: MIT
 *
 * Sharded services: one instance of a struct of yours on every shard, started and stopped in order, called by message. Each
 * instance is touched by its own shard only and needs no lock.
 *
 *     static const struct torc_service_type counters = {.size_bytes = sizeof(struct counter), .start = open_counter};
 *
 *     err = torc_service_start(&service, &counters, NULL);                  // shard 0's first
 *     total = torc_service_call(service, shard, add, &amount);              // add(instance there, &amount)
 *     struct counter *mine = torc_service_here(service);                    // this shard's: no message
 *     err = torc_service_stop(service);                                     // shard 0's last
 *     torc_service_destroy(service);
 *
 * Shard rule: a service may be called from any shard; it is started, stopped and destroyed by one and the same task, and
 * stopping it is that task's duty, also when it is cancelled: its shards stay until then.
 */
#ifndef TORC_SHARD_SERVICE_H
#define TORC_SHARD_SERVICE_H

#include "core/task.h"

TORC_BEGIN_DECLS

struct torc_service;

struct torc_service_type {
    const char *name;  /* of the tasks that keep the instances, for reports; NULL: "service" */
    size_t size_bytes; /* of an instance, more than 0 */
    /* Makes INSTANCE, which is zeroed, ready, in a task on its shard. May call the instances that have been started
     * before it, and keep SERVICE to call its peers later. 0 or a negative errno; NULL: nothing to do. */
    int (*start)(void *instance, struct torc_service *service, void *arg);
    /* Gives up what INSTANCE holds, in a task on its shard that can't be interrupted. Nobody is in it any more. The
     * instances of lower shards can still be called. NULL: nothing to do. */
    void (*stop)(void *instance);
};

typedef int torc_service_fn(void *instance, void *arg);

/* Starts an instance on each shard, shard 0's first, one after another; each lies in its shard's memory. ARG must stay until
 * this returns; TYPE until the service is destroyed. When a start fails, or the caller is interrupted, those that have
 * been started are stopped in reverse order.
 * 0 and a service that must be stopped and destroyed; start's failure; -ENOMEM, -EAGAIN (tasks), -ESHUTDOWN, -EIO of the
 * shard that could not; -ECANCELED, -ETIMEDOUT. In a task. */
int torc_service_start(struct torc_service **service, const struct torc_service_type *type,
                       void *arg) TORC_MUST_CHECK;

/* Stops the instances, the last shard's first. From the moment that an instance's turn has come, calls to it get
 * -ESHUTDOWN; those that are in it are waited for. If the caller is interrupted, those that came from other shards are
 * cancelled, and it goes on; all are stopped when it returns. 0, -ECANCELED, -ETIMEDOUT. In the task that started it. */
int torc_service_stop(struct torc_service *service) TORC_MUST_CHECK;
/* After that: nobody may call it any more. */
void torc_service_destroy(struct torc_service *service);

/* Runs FN(instance, ARG) on SHARD as torc_call does, with its results and errors; on the caller's own shard in place.
 * -ESHUTDOWN: the instance has not been started, or is being stopped. In a task. */
int torc_service_call(struct torc_service *service, uint32_t shard, torc_service_fn *fn,
                      void *arg) TORC_MUST_CHECK;
/* The same on all shards at the same time, as torc_call_all. */
int torc_service_call_all(struct torc_service *service, torc_service_fn *fn,
                          void *arg) TORC_MUST_CHECK;

/* This shard's instance: a load. NULL while there is none. Who uses it over something that blocks must know by other
 * means that it is not being stopped. */
void *torc_service_here(const struct torc_service *service);
/* SHARD's instance, which may be touched on that shard only: an address to hand on. NULL while there is none. */
void *torc_service_at(const struct torc_service *service, uint32_t shard);

TORC_END_DECLS

#endif
