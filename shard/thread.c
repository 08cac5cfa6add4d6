/* SPDX-License-Identifier: MIT
 *
 * Gateways: shard/thread.h. What a thread sends lies in a place of the gateway's memory, never on its own stack, so that
 * it may die at any moment:
 *
 *     free --thread--> in the shard's inbox --shard--> task --shard--> done --thread--> free
 *
 * A place is free again when nobody refers to it: the thread that waits, the shard, and the cancel that the thread may
 * have sent after it. A thread that died keeps its reference until the gateway's memory goes.
 *
 * The memory belongs to the user's handle and to the set, whoever lets go last. A thread may touch a shard only between
 * enter and leave; the end of the set closes that door and waits until nobody is inside.
 */
#include "shard/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "shard/shard_internal.h"
#include "shard/thread_internal.h"

enum { PLACE_NONE = UINT32_MAX };
#define DOOR_SHUT (UINT32_C(1) << 31)

struct place {
    struct torci_letter letter, cancel;
    struct torc_gateway *gateway;
    torc_task_fn *fn;
    void *arg;
    struct torci_served *served; /* the shard's: while FN is a task */
    int result;
    uint32_t refs;                  /* atomic */
    uint32_t done;                  /* atomic, futex: RESULT is there */
    uint32_t next_free;             /* index */
    bool waited_for;                /* a call */
    struct torci_shard *running_on; /* atomic: the shard that FN is a task of */
};

struct torc_gateway {
    const struct torci_kernel *kernel;
    struct torci_set *set;
    struct torc_gateway *next; /* of the set */
    uint32_t refs;             /* atomic: the user, the set */
    uint32_t door;             /* atomic, futex: threads inside, DOOR_SHUT */
    uint64_t free;             /* atomic: the first free place, and a count of changes above it */
    uint32_t freed;            /* atomic, futex: changes when a place becomes free for who waits */
    uint32_t waiting;          /* atomic: threads that do */
    struct place places[TORC_GATEWAY_PLACES];
};

/* ---- sleeping ---- */

/* Until *WORD is no longer VALUE, somebody wakes us, or it is UNTIL_NS: -ETIMEDOUT then. Or earlier. */
static int sleep_on(const struct torci_kernel *kernel, uint32_t *word, uint32_t value,
                    uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / TORC_SEC),
                             .tv_nsec = (long)(until_ns % TORC_SEC)};
    bool limited = until_ns != UINT64_MAX;
    return (int)TORCI_CALL(kernel, SYS_futex, (long)word,
                           FUTEX_WAIT_BITSET_PRIVATE, /* which takes a moment, not a duration */
                           value, limited ? (long)&until : 0, 0, (long)FUTEX_BITSET_MATCH_ANY);
}

static void wake(const struct torci_kernel *kernel, uint32_t *word, int count)
{
    (void)TORCI_CALL(kernel, SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count);
}

/* ---- the door ---- */

static bool enter(struct torc_gateway *gateway)
{
    /* ACQUIRE pairs with torci_gateways_shut; who is inside before it shuts is waited for */
    if (!(__atomic_fetch_add(&gateway->door, 1, __ATOMIC_ACQUIRE) & DOOR_SHUT))
        return true;
    (void)__atomic_fetch_sub(&gateway->door, 1, __ATOMIC_RELAXED);
    return false;
}

static void leave(struct torc_gateway *gateway)
{
    const struct torci_kernel *kernel = gateway->kernel;
    uint32_t *door = &gateway->door;
    /* RELEASE pairs with torci_gateways_shut: what we have pushed is there. What it was may end the set and close the
     * gateway, so from here on its memory is not touched; a wake-up that nobody waits for any more does no harm. */
    if (__atomic_sub_fetch(door, 1, __ATOMIC_RELEASE) & DOOR_SHUT)
        wake(kernel, door, 1);
}

static int push(struct place *place, uint32_t shard, struct torci_letter *letter)
{
    struct torc_gateway *gateway = place->gateway;
    if (!enter(gateway))
        return -ESHUTDOWN;
    int err = shard < gateway->set->count ? 0 : -EINVAL;
    if (!err)
        torci_mesh_push(gateway->set->shards[shard], letter);
    leave(gateway);
    return err;
}

/* ---- places ---- */

/* The first free place's index in the low half; a count in the high one keeps a slow thread from mistaking a place that
 * was taken and given back for one that never was. */
static uint64_t pack(uint64_t seen, uint32_t index)
{
    return ((seen >> 32) + 1) << 32 | index;
}

static struct place *try_take(struct torc_gateway *gateway)
{
    /* ACQUIRE here and below pairs with put_place: what the last user did with the place is over */
    uint64_t seen = __atomic_load_n(&gateway->free, __ATOMIC_ACQUIRE);
    struct place *place;
    do {
        if ((uint32_t)seen == PLACE_NONE)
            return NULL;
        place = &gateway->places[(uint32_t)seen];
    } while (!__atomic_compare_exchange_n(
        &gateway->free, &seen, pack(seen, __atomic_load_n(&place->next_free, __ATOMIC_RELAXED)),
        true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return place;
}

static void put_place(struct place *place)
{
    struct torc_gateway *gateway = place->gateway;
    /* ACQ_REL pairs with itself: the last one sees what all have done with it */
    if (__atomic_sub_fetch(&place->refs, 1, __ATOMIC_ACQ_REL))
        return;
    uint64_t seen = __atomic_load_n(&gateway->free, __ATOMIC_RELAXED);
    do
        __atomic_store_n(&place->next_free, (uint32_t)seen, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&gateway->free, &seen,
                                        pack(seen, (uint32_t)(place - gateway->places)), true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    /* SEQ_CST pairs with take: either it finds the place, or we find it waiting */
    if (__atomic_load_n(&gateway->waiting, __ATOMIC_SEQ_CST)) {
        (void)__atomic_fetch_add(&gateway->freed, 1, __ATOMIC_SEQ_CST);
        wake(gateway->kernel, &gateway->freed, 1);
    }
}

static bool is_shut(const struct torc_gateway *gateway)
{
    return __atomic_load_n(&gateway->door, __ATOMIC_SEQ_CST) & DOOR_SHUT;
}

/* -ESHUTDOWN; -ETIMEDOUT. */
static int take(struct torc_gateway *gateway, uint64_t until_ns, struct place **place)
{
    int err = 0;
    if ((*place = try_take(gateway)))
        return 0;
    (void)__atomic_fetch_add(&gateway->waiting, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        uint32_t freed = __atomic_load_n(&gateway->freed, __ATOMIC_SEQ_CST);
        if (is_shut(gateway))
            err = -ESHUTDOWN;
        if (err || (*place = try_take(gateway)))
            break;
        if (sleep_on(gateway->kernel, &gateway->freed, freed, until_ns) == -ETIMEDOUT)
            err = -ETIMEDOUT;
    }
    (void)__atomic_fetch_sub(&gateway->waiting, 1, __ATOMIC_RELAXED);
    return err;
}

/* ---- on the shard ---- */

/* Others look at it only to see that it is not theirs. */
static void set_running(struct place *place, struct torci_shard *on)
{
    __atomic_store_n(&place->running_on, on, __ATOMIC_RELAXED); /* pairs with torci_letters_bury */
}

static void finish(struct place *place, int result)
{
    set_running(place, NULL);
    if (place->waited_for) {
        place->result = result;
        __atomic_store_n(&place->done, 1, __ATOMIC_RELEASE); /* pairs with wait_for_end */
        wake(place->gateway->kernel, &place->done, 1);
    }
    put_place(place);
}

static int serve(void *arg)
{
    struct torci_served *served = (struct torci_served *)arg;
    struct place *place = (struct place *)served->arg;
    struct torci_shard *self = torci_shard_this();
    int result = place->fn(place->arg);
    self->calls.serving--;
    torci_served_put(self, served);
    finish(place, result);
    return 0;
}

static int start_task(struct torci_shard *self, struct place *place)
{
    struct torci_served *served = torci_served_take(self);
    if (!served)
        return -ENOMEM;
    const struct torc_task_options options = {.name = "call from a thread", .task = &served->task};
    served->arg = place;
    int err = torci_calls_start(self, &options, serve, served);
    if (err)
        torci_served_put(self, served);
    place->served = served;
    return err;
}

/* False: not yet. */
static bool start(struct torci_shard *self, struct place *place)
{
    int err = self->buried ? -EIO : self->stopping ? -ESHUTDOWN : 0;
    bool refused = err != 0;
    if (!err)
        err = start_task(self, place);
    set_running(place, err ? NULL : self);
    if (err && !refused && !place->waited_for)
        return false; /* there is no task, but there will be */
    if (refused)
        torci_count(&self->io.exec.counters->call_dropped);
    if (err)
        finish(place, err);
    return true;
}

void torci_letters_init(struct torci_letters *letters)
{
    letters->first = NULL;
    letters->end = &letters->first;
}

static void take_letter(struct torci_shard *self, struct torci_letter *letter)
{
    struct torci_letters *letters = &self->letters;
    struct place *place = TORC_CONTAINER_OF(letter, struct place, letter);
    /* a call is told at once, a post goes behind those that came before it */
    if ((place->waited_for || !letters->first) && start(self, place))
        return;
    letter->next = NULL;
    *letters->end = letter;
    letters->end = &letter->next;
    torci_mesh_stalled(self);
}

void torci_letters_retry(struct torci_shard *self)
{
    struct torci_letters *letters = &self->letters;
    for (struct torci_letter *letter; (letter = letters->first);) {
        struct torci_letter *next = letter->next;
        if (!start(self, TORC_CONTAINER_OF(letter, struct place, letter))) {
            torci_mesh_stalled(self);
            return;
        }
        letters->first = next;
        if (!next)
            letters->end = &letters->first;
    }
}

static void take_cancel(struct torci_shard *self, struct torci_letter *letter)
{
    (void)self;
    struct place *place = TORC_CONTAINER_OF(letter, struct place, cancel);
    if (place->running_on)
        torc_task_cancel(&place->served->task);
    put_place(place);
}

void torci_letters_bury(struct torci_shard *self)
{
    struct torc_gateway *gateway = __atomic_load_n(&self->set->gateways, __ATOMIC_ACQUIRE);
    for (; gateway; gateway = gateway->next)
        for (uint32_t i = 0; i < TORC_GATEWAY_PLACES; i++)
            if (__atomic_load_n(&gateway->places[i].running_on, __ATOMIC_RELAXED) == self)
                finish(&gateway->places[i], -EIO);
}

void torci_letters_refuse(struct torci_shard *self)
{
    self->stopping = true;
    torci_letters_retry(self);
    torci_mesh_take_inbox(self);
}

/* ---- in the thread ---- */

static struct place *prepare(struct place *place, torc_task_fn *fn, void *arg, bool waited_for)
{
    place->letter.fn = take_letter;
    place->cancel.fn = take_cancel;
    place->fn = fn;
    place->arg = arg;
    place->done = 0;
    place->waited_for = waited_for;
    set_running(place, NULL);
    __atomic_store_n(&place->refs, waited_for ? 2 : 1, __ATOMIC_RELAXED); /* nobody else knows it */
    return place;
}

static void put_unsent(struct place *place)
{
    __atomic_store_n(&place->refs, 1, __ATOMIC_RELAXED);
    put_place(place);
}

/* After the time that is given FN is cancelled, and then waited for as long as it takes: it may be using the caller's
 * memory. */
static int wait_for_end(struct place *place, uint32_t shard, uint64_t until_ns)
{
    struct torc_gateway *gateway = place->gateway;
    bool cancelled = false;
    while (!__atomic_load_n(&place->done, __ATOMIC_ACQUIRE)) { /* pairs with finish */
        if (sleep_on(gateway->kernel, &place->done, 0, until_ns) != -ETIMEDOUT || cancelled)
            continue;
        cancelled = true;
        until_ns = UINT64_MAX;
        (void)__atomic_fetch_add(&place->refs, 1, __ATOMIC_RELAXED);
        if (push(place, shard, &place->cancel))
            put_place(place); /* the set has ended, and with it FN */
    }
    int result = place->result;
    return cancelled && result == -ECANCELED ? -ETIMEDOUT : result;
}

static int call_until(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn, void *arg,
                      uint64_t until_ns)
{
    struct place *place;
    if (torci_this)
        return -EDEADLK;
    int err = take(gateway, until_ns, &place);
    if (err)
        return err;
    err = push(prepare(place, fn, arg, true), shard, &place->letter);
    if (err) {
        put_unsent(place);
        return err;
    }
    int result = wait_for_end(place, shard, until_ns);
    put_place(place);
    return result;
}

int torc_thread_call(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn, void *arg)
{
    return call_until(gateway, shard, fn, arg, UINT64_MAX);
}

int torc_thread_call_within(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn,
                            void *arg, uint64_t timeout_ns)
{
    const struct torci_host *host = &gateway->kernel->host;
    uint64_t now = host->now_ns(host->context);
    uint64_t until = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
    return call_until(gateway, shard, fn, arg, until);
}

static int post(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn, void *arg,
                bool may_sleep)
{
    struct place *place = NULL;
    if (torci_this)
        return -EDEADLK;
    int err = may_sleep ? take(gateway, UINT64_MAX, &place) : 0;
    if (!may_sleep && !(place = try_take(gateway)))
        err = is_shut(gateway) ? -ESHUTDOWN : -EAGAIN;
    if (err)
        return err;
    err = push(prepare(place, fn, arg, false), shard, &place->letter);
    if (err)
        put_unsent(place);
    return err;
}

int torc_thread_post(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn, void *arg)
{
    return post(gateway, shard, fn, arg, true);
}

int torc_thread_try_post(struct torc_gateway *gateway, uint32_t shard, torc_task_fn *fn, void *arg)
{
    return post(gateway, shard, fn, arg, false);
}

/* ---- its life ---- */

static void put_gateway(struct torc_gateway *gateway)
{
    const struct torci_host *host = &gateway->kernel->host;
    /* ACQ_REL pairs with itself: the last one out sees what the others have done */
    if (!__atomic_sub_fetch(&gateway->refs, 1, __ATOMIC_ACQ_REL))
        host->free(host->context, gateway, sizeof *gateway);
}

int torc_gateway_open(struct torc_gateway **out)
{
    struct torci_shard *self = torci_shard_this();
    struct torci_set *set = self->set;
    const struct torci_host *host = &set->kernel->host;
    int err = torci_io_wake_prepare(&self->io); /* several shards have done that at the start */
    if (err)
        return err;
    struct torc_gateway *gateway =
        (struct torc_gateway *)host->alloc(host->context, sizeof *gateway);
    if (!gateway)
        return -ENOMEM;
    gateway->kernel = set->kernel;
    gateway->set = set;
    gateway->refs = 2;
    for (uint32_t i = 0; i < TORC_GATEWAY_PLACES; i++) {
        gateway->places[i].gateway = gateway;
        gateway->places[i].next_free = i + 1 < TORC_GATEWAY_PLACES ? i + 1 : PLACE_NONE;
    }
    gateway->next = __atomic_load_n(&set->gateways, __ATOMIC_RELAXED);
    /* RELEASE pairs with torci_gateways_shut */
    while (!__atomic_compare_exchange_n(&set->gateways, &gateway->next, gateway, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    *out = gateway;
    return 0;
}

void torc_gateway_close(struct torc_gateway *gateway)
{
    put_gateway(gateway);
}

void torci_gateways_shut(struct torci_set *set)
{
    struct torc_gateway *gateway = __atomic_load_n(&set->gateways, __ATOMIC_ACQUIRE);
    for (; gateway; gateway = gateway->next) {
        uint32_t seen = __atomic_fetch_or(&gateway->door, DOOR_SHUT, __ATOMIC_SEQ_CST) | DOOR_SHUT;
        while (seen != DOOR_SHUT) {
            (void)sleep_on(gateway->kernel, &gateway->door, seen, UINT64_MAX);
            seen = __atomic_load_n(&gateway->door, __ATOMIC_ACQUIRE); /* pairs with leave */
        }
        /* who waits for a place is told */
        (void)__atomic_fetch_add(&gateway->freed, 1, __ATOMIC_SEQ_CST);
        wake(gateway->kernel, &gateway->freed, INT32_MAX);
    }
}

void torci_gateways_put(struct torci_set *set)
{
    for (struct torc_gateway *gateway; (gateway = set->gateways);) {
        set->gateways = gateway->next;
        put_gateway(gateway);
    }
}
