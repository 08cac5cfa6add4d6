/* SPDX-License-Identifier: MIT
 *
 * Sharded services: shard/service.h. Each instance has a task on its shard that lives as long as it does, begun by a call
 * of a task beside the starter:
 *
 *     starter            keeper, beside the starter       live, on the instance's shard
 *     spawn ------------> torc_call --------------------> start
 *     wait <---------------------------- started -------- wait, can't be interrupted
 *     ...
 *     stop order ---------------------------------------> close the gate, wait until it is empty, stop
 *     join <------------- ends <------------------------- ends
 *
 * Orders are control messages, which a shard takes to its very end: so instances are stopped in order on a shutdown too,
 * when their shards refuse calls already; and a shard can't end while its live task has not.
 */
#include "shard/service.h"

#include <errno.h>
#include <string.h>

#include "core/event.h"
#include "shard/alloc.h"
#include "shard/call.h"
#include "shard/run.h"
#include "shard/shard_internal.h"

struct seat {
    _Alignas(TORCI_LANE_LINE) void *instance; /* atomic: written by its shard */
    /* its shard's */
    struct torc_service *service;
    uint32_t shard;
    struct torc_gate gate;
    struct torc_event stop;
    struct torci_link inside; /* calls of other shards */
    struct torci_fiber *starting;
    struct torci_note started_note, taken_notes[2];
    bool seated, stop_ordered;
    /* the starter's */
    struct torc_task keeper;
    struct torci_note order_notes[2];
    uint32_t orders, orders_taken;
    bool started;
};

struct torc_service {
    const struct torc_service_type *type;
    void *arg;
    uint32_t home, count;
    struct torc_scope keepers; /* owned by the starter */
    struct torc_event moved;   /* home's: a seat has been started, or a keeper has ended */
    struct seat seats[];
};

/* A call that is in an instance. */
struct visit {
    struct torci_link link;
    struct torci_fiber *fiber;
};

static size_t service_bytes(uint32_t count)
{
    return sizeof(struct torc_service) + count * sizeof(struct seat);
}

/* ---- orders ---- */

static void tell(struct torci_note *note, uint32_t to, torci_message_fn *fn, struct seat *seat)
{
    struct torci_shard *self = torci_shard_this();
    note->queued = false;
    note->gone = NULL;
    note->message = (struct torci_message){fn, {(uint64_t)(uintptr_t)seat}};
    torci_mesh_control(self, to, note);
}

static struct seat *seat_of(const struct torci_message *message)
{
    return (struct seat *)(uintptr_t)message->words[0];
}

static bool take_started(struct torci_shard *self, uint32_t from,
                         const struct torci_message *message)
{
    (void)self;
    (void)from;
    struct seat *seat = seat_of(message);
    seat->started = true;
    torc_event_set(&seat->service->moved);
    return true;
}

/* The order's memory is the seat's, which must stay until it has been taken. */
static bool take_taken(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)self;
    (void)from;
    struct seat *seat = seat_of(message);
    seat->orders_taken++;
    torc_event_set(&seat->service->moved);
    return true;
}

static bool take_stop(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)self;
    struct seat *seat = seat_of(message);
    seat->stop_ordered =
        true; /* perhaps before the call has come that begins the instance's life */
    if (seat->starting)
        torci_fiber_cancel(seat->starting);
    if (seat->seated)
        torc_event_set(&seat->stop);
    tell(&seat->taken_notes[0], from, take_taken, seat);
    return true;
}

static bool take_cancel(struct torci_shard *self, uint32_t from,
                        const struct torci_message *message)
{
    (void)self;
    struct seat *seat = seat_of(message);
    struct torci_link *at;
    if (seat->seated)
        torci_list_each (at, &seat->inside)
            torci_fiber_cancel(TORC_CONTAINER_OF(at, struct visit, link)->fiber);
    tell(&seat->taken_notes[1], from, take_taken, seat);
    return true;
}

/* ---- an instance's life ---- */

static void set_instance(struct seat *seat, void *instance)
{
    /* RELEASE pairs with torc_service_at */
    __atomic_store_n(&seat->instance, instance, __ATOMIC_RELEASE);
}

static int start(struct seat *seat, void *instance)
{
    const struct torc_service_type *type = seat->service->type;
    seat->starting = torci_fiber_self();
    int err = seat->stop_ordered ? -ECANCELED : 0;
    if (!err && type->start)
        err = type->start(instance, seat->service, seat->service->arg);
    seat->starting = NULL;
    return err;
}

static int live(void *arg)
{
    struct seat *seat = (struct seat *)arg;
    const struct torc_service_type *type = seat->service->type;
    void *instance = torc_alloc(type->size_bytes);
    if (!instance)
        return -ENOMEM;
    memset(instance, 0, type->size_bytes);
    int err = start(seat, instance);
    if (err < 0)
        goto out;
    struct torc_mask mask;
    torc_mask_enter(&mask);
    set_instance(seat, instance);
    tell(&seat->started_note, seat->service->home, take_started, seat);
    err = torc_event_wait(&seat->stop);
    if (!err)
        err = torc_gate_close(&seat->gate);
    TORC_ASSERT(!err); /* nothing interrupts a masked section */
    if (type->stop)
        type->stop(instance);
    set_instance(seat, NULL);
    torc_mask_leave(&mask);
out:
    torc_free(instance);
    return err;
}

/* What the seat's own shard must do: gates and events belong to who has made them. */
static int sit_down(void *arg)
{
    struct seat *seat = (struct seat *)arg;
    torc_gate_init(&seat->gate);
    torc_event_init(&seat->stop);
    torci_link_init(&seat->inside);
    seat->seated = true;
    if (seat->stop_ordered)
        torc_event_set(&seat->stop);
    return live(seat);
}

static int keep(void *arg)
{
    struct seat *seat = (struct seat *)arg;
    int result = torc_call(seat->shard, sit_down, seat); /* the end comes by order */
    torc_event_set(&seat->service->moved);
    return result;
}

/* ---- start and stop ---- */

/* Orders SEAT to stop and waits until it has. HURRY: its callers are cancelled; whoever is interrupted is in one. */
static int stop_seat(struct seat *seat, int hurry)
{
    tell(&seat->order_notes[seat->orders++], seat->shard, take_stop, seat);
    if (!hurry) {
        int err = torc_task_join(&seat->keeper);
        hurry = torc_task_is_done(&seat->keeper) ? 0 : err;
    }
    if (hurry)
        tell(&seat->order_notes[seat->orders++], seat->shard, take_cancel, seat);
    struct torc_mask mask;
    torc_mask_enter(&mask);
    while (!torc_task_is_done(&seat->keeper) || seat->orders_taken < seat->orders) {
        torc_event_reset(&seat->service->moved);
        int err = torc_event_wait(&seat->service->moved);
        TORC_ASSERT(!err); /* nothing interrupts a masked section */
    }
    torc_mask_leave(&mask);
    return hurry;
}

/* The last first. 0, or what has interrupted us. */
static int stop_seats(struct torc_service *service, uint32_t count, int hurry)
{
    while (count > 0)
        hurry = stop_seat(&service->seats[--count], hurry);
    int failed = torc_scope_join(&service->keepers);
    (void)failed; /* they have ended, and each has been looked at */
    return hurry;
}

/* 0: it is there, and its keeper has to be told to end. Negative: its keeper has ended, or there is none. */
static int start_seat(struct seat *seat)
{
    struct torc_service *service = seat->service;
    const char *name = service->type->name;
    const struct torc_task_options options = {.name = name ? name : "service",
                                              .task = &seat->keeper};
    int err = torc_spawn_with(&service->keepers, &options, keep, seat);
    if (err)
        return err;
    while (!err && !seat->started && !torc_task_is_done(&seat->keeper)) {
        torc_event_reset(&service->moved);
        err = torc_event_wait(&service->moved);
    }
    if (err)
        return stop_seat(seat, err);
    return torc_task_is_done(&seat->keeper) ? torc_task_join(&seat->keeper) : 0;
}

int torc_service_start(struct torc_service **out, const struct torc_service_type *type, void *arg)
{
    struct torci_shard *self = torci_shard_this();
    const struct torci_host *host = &self->io.host;
    uint32_t count = self->set->count;
    TORC_ASSERT(type->size_bytes > 0);
    /* it must be aligned as its seats are: whole pages */
    struct torc_service *service =
        (struct torc_service *)host->map(host->map_context, service_bytes(count));
    if (!service)
        return -ENOMEM;
    service->type = type;
    service->arg = arg;
    service->home = self->id;
    service->count = count;
    torc_scope_init(&service->keepers);
    torc_event_init(&service->moved);
    int err = 0;
    uint32_t started = 0;
    for (; started < count && !err; started += !err) {
        struct seat *seat = &service->seats[started];
        seat->service = service;
        seat->shard = started;
        err = start_seat(seat);
    }
    if (err) {
        (void)stop_seats(service, started, 0);
        host->unmap(host->map_context, service, service_bytes(count));
        return err;
    }
    *out = service;
    return 0;
}

int torc_service_stop(struct torc_service *service)
{
    TORC_ASSERT(torci_shard_this()->id == service->home);
    return stop_seats(service, service->count, 0);
}

void torc_service_destroy(struct torc_service *service)
{
    const struct torci_host *host = &torci_shard_this()->io.host;
    TORC_ASSERT(torci_shard_this()->id == service->home);
    host->unmap(host->map_context, service, service_bytes(service->count));
}

/* ---- calls ---- */

struct invocation {
    struct torc_service *service;
    torc_service_fn *fn;
    void *arg;
    uint32_t from;
};

static int invoke(void *arg)
{
    const struct invocation *what = (const struct invocation *)arg;
    uint32_t here = torc_shard_id();
    struct seat *seat = &what->service->seats[here];
    if (!seat->instance || torc_gate_enter(&seat->gate))
        return -ESHUTDOWN;
    struct visit visit = {.fiber = torci_fiber_self()};
    torci_link_init(&visit.link);
    if (here != what->from) /* a task of this call alone: it can be cancelled */
        torci_list_push_back(&seat->inside, &visit.link);
    int result = what->fn(seat->instance, what->arg);
    torci_list_unlink(&visit.link);
    torc_gate_leave(&seat->gate);
    return result;
}

int torc_service_call(struct torc_service *service, uint32_t shard, torc_service_fn *fn, void *arg)
{
    struct invocation what = {service, fn, arg, torc_shard_id()};
    return torc_call(shard, invoke, &what);
}

int torc_service_call_all(struct torc_service *service, torc_service_fn *fn, void *arg)
{
    struct invocation what = {service, fn, arg, torc_shard_id()};
    return torc_call_all(invoke, &what);
}

void *torc_service_here(const struct torc_service *service)
{
    return torc_service_at(service, torc_shard_id());
}

void *torc_service_at(const struct torc_service *service, uint32_t shard)
{
    TORC_ASSERT(shard < service->count);
    return __atomic_load_n(&service->seats[shard].instance, __ATOMIC_ACQUIRE); /* set_instance */
}
