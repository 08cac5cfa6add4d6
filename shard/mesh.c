/* SPDX-License-Identifier: MIT
 *
 * The mesh: shard/mesh_internal.h says how it works. Called by the loop through struct torci_outside:
 *
 *     turn        when a bit of the map is set, or something waits to be sent: take, then publish
 *     came        while it spins: has anything come on a watched lane?
 *     may_sleep   before it sleeps: stop watching
 */
#include "shard/mesh_internal.h"

#include <errno.h>
#include <string.h>

#include "core/wait_internal.h"
#include "shard/shard_internal.h"

enum {
    PUBLISH_BATCH = 32, /* slots that are worth a fence of their own */
    /* Slots given back at a time: a writer that waits for room has more than that many unread ones before it, so fewer need
     * not be told of; and the fence is not between a call and its answer (call: 40 ns less there and back). */
    RELEASE_BATCH = 32,
    TAKE_MAX = TORCI_LANE_SLOTS,
    EMPTY_LOOKS_MAX = 64, /* turns that a lane is watched after its last message */
};

_Static_assert((int)RELEASE_BATCH < (int)TORCI_LANE_SLOTS, "a full lane is always told of");

/* ---- the map ---- */

static uint32_t index_of(uint32_t from, enum torci_bit bit)
{
    return from * TORCI_BITS + (uint32_t)bit;
}

static uint64_t mask_of(uint32_t index)
{
    return UINT64_C(1) << index % 64;
}

static bool mark(struct torci_mesh *mesh, uint32_t index)
{
    uint64_t *word = &mesh->map[index / 64];
    /* SEQ_CST: after the fence of whoever has something to say; pairs with unwatch and take_bit */
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) & mask_of(index))
        return false;
    return !(__atomic_fetch_or(word, mask_of(index), __ATOMIC_SEQ_CST) & mask_of(index));
}

/* Clears a bit before its cause is looked at, so that a later cause sets it again. */
static void take_bit(struct torci_mesh *mesh, uint32_t index)
{
    /* pairs with mark */
    (void)__atomic_fetch_and(&mesh->map[index / 64], ~mask_of(index), __ATOMIC_SEQ_CST);
    torci_lane_fence(mesh->map);
}

bool torci_mesh_mark(struct torci_shard *to, uint32_t from, enum torci_bit bit)
{
    torci_lane_fence(to->mesh.map);
    return mark(&to->mesh, index_of(from, bit));
}

void torci_mesh_wake(struct torci_shard *to, uint32_t from, enum torci_bit bit)
{
    if (torci_mesh_mark(to, from, bit))
        torci_io_wake(&to->io);
}

void torci_mesh_push(struct torci_shard *to, struct torci_letter *letter)
{
    torci_pile_push(&to->mesh.inbox, &letter->link);
    torci_mesh_wake(to, to->set->count, 0);
}

/* ---- sending ---- */

static struct torci_shard *shard_of(const struct torci_shard *self, uint32_t id)
{
    return self->set->shards[id];
}

static struct torci_counters *counters_of(struct torci_shard *self)
{
    return self->io.exec.counters;
}

static void bell_done(struct torc_op *op, int result, uint32_t flags)
{
    (void)flags;
    struct torci_peer *peer = TORC_CONTAINER_OF(op, struct torci_peer, bell);
    struct torci_shard *self = torci_shard_this();
    peer->bell_in_flight = false;
    if (result < 0) /* its completion queue is full, say: it must not be left asleep */
        (void)self->io.kernel->wake(self->io.kernel->host.context,
                                    shard_of(self, peer->id)->io.wake.event_fd);
}

/* On our own ring, with whatever else is to be submitted: no system call more. Between two pinned shards that both sleep
 * (torc-micro call_park, best of five interleaved runs on a busy machine) a call takes 36 us so and 39 us by eventfd. */
static int queue_bell(struct torci_shard *self, struct torci_peer *peer)
{
    struct io_uring_sqe *sqe;
    if (peer->bell_in_flight || self->buried || !torci_ring_has_op(&self->io, IORING_OP_MSG_RING))
        return -EAGAIN;
    int err = torc_op_start(&peer->bell, bell_done, &sqe);
    if (err)
        return err;
    peer->bell_in_flight = true;
    io_uring_prep_msg_ring(sqe, shard_of(self, peer->id)->io.ring.real_fd, 0, TORCI_TAG_BELL, 0);
    return 0;
}

void torci_mesh_bury(struct torci_shard *self)
{
    const struct torci_kernel *kernel = self->io.kernel;
    for (uint32_t id = 0; id < self->set->count; id++)
        if (self->mesh.peers[id].bell_in_flight)
            (void)kernel->wake(kernel->host.context, shard_of(self, id)->io.wake.event_fd);
}

static void ring_bell(struct torci_shard *self, struct torci_peer *peer)
{
    struct torci_io *to = &shard_of(self, peer->id)->io;
    /* pairs with park in io/loop.c: the bit is set, so either it sees that, or we see it asleep */
    if (!__atomic_exchange_n(&to->wake.parked, 0, __ATOMIC_SEQ_CST)) {
        torci_count(&counters_of(self)->wake_elided);
        return;
    }
    torci_count(&counters_of(self)->wake_sent);
    if (queue_bell(self, peer))
        (void)self->io.kernel->wake(self->io.kernel->host.context, to->wake.event_fd);
}

static void signal_peer(struct torci_shard *self, struct torci_peer *peer, enum torci_bit bit)
{
    if (torci_mesh_mark(shard_of(self, peer->id), self->id, bit))
        ring_bell(self, peer);
    else
        torci_count(&counters_of(self)->wake_elided);
}

static void publish(struct torci_shard *self, struct torci_peer *peer, enum torci_lane_kind kind)
{
    struct torci_counters *counters = counters_of(self);
    torci_count_add(kind == TORCI_LANE_WORK ? &counters->message_work_sent
                                            : &counters->message_control_sent,
                    torci_lane_writer_unpublished(&peer->to[kind]));
    torci_lane_writer_publish(&peer->to[kind]);
    signal_peer(self, peer, (enum torci_bit)kind);
}

static void make_dirty(struct torci_shard *self, struct torci_peer *peer)
{
    if (peer->is_dirty)
        return;
    peer->is_dirty = true;
    peer->next_dirty = self->mesh.dirty;
    self->mesh.dirty = peer;
    self->io.outside.busy = true;
}

static void flush_peer(struct torci_shard *self, struct torci_peer *peer)
{
    for (int kind = 0; kind < TORCI_LANES; kind++)
        if (torci_lane_writer_unpublished(&peer->to[kind]))
            publish(self, peer, (enum torci_lane_kind)kind);
}

void torci_mesh_flush(struct torci_shard *self, uint32_t to)
{
    flush_peer(self, &self->mesh.peers[to]);
}

void torci_mesh_hurry(struct torci_shard *self, uint32_t to)
{
    const struct torc_queue *running = self->io.exec.running;
    if (!running || torci_queue_is_empty(running))
        torci_mesh_flush(self, to);
}

void torci_mesh_flush_all(struct torci_shard *self)
{
    for (struct torci_peer *peer; (peer = self->mesh.dirty);) {
        self->mesh.dirty = peer->next_dirty;
        peer->is_dirty = false;
        flush_peer(self, peer);
    }
}

/* A slot to fill, or NULL after asking the reader to tell us of room. */
static struct torci_message *find_slot(struct torci_lane_writer *writer)
{
    struct torci_message *slot = torci_lane_writer_slot(writer);
    if (TORC_LIKELY(slot != NULL))
        return slot;
    /* pairs with tell_of_room: either it sees us waiting, or we see its head */
    __atomic_store_n(&writer->lane->waiting, 1, __ATOMIC_SEQ_CST);
    torci_lane_fence(&writer->published);
    /* If there is room now the word stays as it is: another task may wait behind it. At worst we are told in vain. */
    return torci_lane_writer_slot(writer);
}

static bool lane_send(struct torci_shard *self, struct torci_peer *peer, enum torci_lane_kind kind,
                      const struct torci_message *message)
{
    struct torci_lane_writer *writer = &peer->to[kind];
    struct torci_message *slot = find_slot(writer);
    if (TORC_UNLIKELY(!slot)) {
        /* what fills the lane has to be seen before it can be taken */
        if (torci_lane_writer_unpublished(writer))
            publish(self, peer, kind);
        return false;
    }
    *slot = *message;
    torci_lane_writer_push(writer);
    if (torci_lane_writer_unpublished(writer) == PUBLISH_BATCH)
        publish(self, peer, kind);
    else
        make_dirty(self, peer);
    return true;
}

int torci_mesh_try_send(struct torci_shard *self, uint32_t to, const struct torci_message *message)
{
    struct torci_peer *peer = &self->mesh.peers[to];
    /* who waits already goes first */
    return torci_list_is_empty(&peer->room_waiters) &&
                   lane_send(self, peer, TORCI_LANE_WORK, message)
               ? 0
               : -EAGAIN;
}

static bool is_stuck(const struct torci_lane_writer *writer)
{
    /* pairs with set_stuck: if it is too early to see that, the wake-up that comes after it is not */
    return __atomic_load_n(&writer->lane->stuck, __ATOMIC_ACQUIRE);
}

int torci_mesh_send(struct torci_shard *self, uint32_t to, const struct torci_message *message)
{
    struct torci_peer *peer = &self->mesh.peers[to];
    int err = torci_wait_pending();
    if (err || !torci_mesh_try_send(self, to, message))
        return err;
    torci_count(&counters_of(self)->message_waits);
    do {
        if (is_stuck(&peer->to[TORCI_LANE_WORK]) && torci_calls_is_serving(self))
            return -EAGAIN;
        struct torci_wait wait;
        torci_wait_init(&wait);
        torci_list_push_back(&peer->room_waiters, &wait.link);
        err = torci_wait_park(&wait);
    } while (!err && !lane_send(self, peer, TORCI_LANE_WORK, message));
    return err;
}

void torci_mesh_control(struct torci_shard *self, uint32_t to, struct torci_note *note)
{
    struct torci_peer *peer = &self->mesh.peers[to];
    TORC_ASSERT(!note->queued);
    if (TORC_LIKELY(torci_list_is_empty(&peer->notes)) &&
        lane_send(self, peer, TORCI_LANE_CONTROL, &note->message))
        return;
    torci_count(&counters_of(self)->message_deferred);
    note->queued = true;
    torci_list_push_back(&peer->notes, &note->link);
}

/* The peer has read from a lane that we had found full. */
static void room_came(struct torci_shard *self, struct torci_peer *peer)
{
    while (!torci_list_is_empty(&peer->notes)) {
        struct torci_link *first = torci_list_pop_front(&peer->notes);
        struct torci_note *note = TORC_CONTAINER_OF(first, struct torci_note, link);
        /* Out of our hands before it is sent: what it says may be that its memory can go. */
        note->queued = false;
        void (*gone)(struct torci_shard *, struct torci_note *) = note->gone;
        if (!lane_send(self, peer, TORCI_LANE_CONTROL, &note->message)) {
            note->queued = true;
            torci_list_push_front(&peer->notes, first);
            break;
        }
        if (gone)
            gone(self, note);
    }
    torci_wait_wake_all(&peer->room_waiters, 0);
}

void torci_mesh_chore(struct torci_shard *self, struct torci_chore *chore)
{
    if (torci_link_is_queued(&chore->link))
        return;
    torci_list_push_back(&self->mesh.chores, &chore->link);
    self->io.outside.busy = true;
}

static void do_chores(struct torci_shard *self)
{
    struct torci_link now, *first;
    torci_link_init(&now);
    torci_list_splice_back(&now, &self->mesh.chores); /* what these ask for is the next turn's */
    while ((first = torci_list_pop_front(&now))) {
        struct torci_chore *chore = TORC_CONTAINER_OF(first, struct torci_chore, link);
        chore->fn(self, chore);
    }
}

bool torci_mesh_is_flushed(const struct torci_shard *shard)
{
    for (uint32_t i = 0; i < shard->set->count; i++)
        if (!torci_list_is_empty(&shard->mesh.peers[i].notes))
            return false;
    return shard->mesh.dirty == NULL && torci_list_is_empty(&shard->mesh.chores);
}

/* ---- taking ---- */

static void tell_of_room(struct torci_shard *self, struct torci_peer *peer,
                         struct torci_lane_reader *reader)
{
    torci_lane_reader_release(reader);
    torci_lane_fence(&reader->released);
    uint32_t *waiting = &reader->lane->waiting;
    /* pairs with find_slot */
    if (TORC_UNLIKELY(__atomic_load_n(waiting, __ATOMIC_SEQ_CST)) &&
        __atomic_exchange_n(waiting, 0, __ATOMIC_SEQ_CST))
        signal_peer(self, peer, TORCI_BIT_ROOM);
}

/* For those of the sender's tasks that must not wait as long as this may take. */
static void set_stuck(struct torci_shard *self, struct torci_peer *peer, bool stuck)
{
    uint32_t *at = &peer->from[TORCI_LANE_WORK].lane->stuck;
    if (TORC_LIKELY(__atomic_load_n(at, __ATOMIC_RELAXED) == stuck)) /* ours alone */
        return;
    __atomic_store_n(at, stuck, __ATOMIC_RELEASE); /* pairs with is_stuck */
    if (stuck)
        signal_peer(self, peer, TORCI_BIT_ROOM);
}

struct torci_message *torci_mesh_unread(struct torci_peer *peer, uint64_t index)
{
    struct torci_lane_reader *reader = &peer->from[TORCI_LANE_WORK];
    /* ACQUIRE pairs with torci_lane_writer_publish */
    uint64_t tail = __atomic_load_n(&reader->lane->tail, __ATOMIC_ACQUIRE);
    if (index >= tail - reader->next)
        return NULL;
    return (struct torci_message *)torci_lane_slot(reader->lane, reader->next + index,
                                                   reader->count, reader->slot_bytes);
}

static bool lane_has(const struct torci_lane_reader *reader)
{
    /* ACQUIRE pairs with torci_lane_writer_publish; in unwatch the fence before it is what counts */
    return __atomic_load_n(&reader->lane->tail, __ATOMIC_ACQUIRE) != reader->next;
}

bool torci_mesh_has_work(const struct torci_shard *self)
{
    for (uint32_t id = 0; id < self->set->count; id++)
        if (lane_has(&self->mesh.peers[id].from[TORCI_LANE_WORK]))
            return true;
    return false;
}

/* From now on the sender tells. False: it has published meanwhile, and did not. */
static bool unwatch(struct torci_shard *self, struct torci_peer *peer, enum torci_lane_kind kind)
{
    uint32_t index = index_of(peer->id, (enum torci_bit)kind);
    peer->empty_looks[kind] = 0;
    take_bit(&self->mesh, index);
    if (!lane_has(&peer->from[kind]))
        return true;
    (void)__atomic_fetch_or(&self->mesh.map[index / 64], mask_of(index), __ATOMIC_SEQ_CST);
    return false;
}

static void take_lane(struct torci_shard *self, struct torci_peer *peer, enum torci_lane_kind kind)
{
    struct torci_lane_reader *reader = &peer->from[kind];
    struct torci_counters *counters = counters_of(self);
    bool stalled = false;
    uint64_t began = reader->next;
    while (reader->next - began < TAKE_MAX) {
        const struct torci_message *message = torci_lane_reader_slot(reader);
        if (!message)
            break;
        stalled = !message->fn(self, peer->id, message);
        if (stalled)
            break;
        torci_lane_reader_pop(reader);
    }
    uint64_t taken = reader->next - began;
    if (taken) {
        torci_count_add(kind == TORCI_LANE_WORK ? &counters->message_work_received
                                                : &counters->message_control_received,
                        taken);
        peer->empty_looks[kind] = 0;
    }
    if (reader->next - reader->released >= RELEASE_BATCH ||
        (stalled && torci_lane_reader_is_ahead(reader)))
        tell_of_room(self, peer, reader);
    if (!taken && !stalled && ++peer->empty_looks[kind] == EMPTY_LOOKS_MAX) {
        (void)unwatch(self, peer, kind);
    }
    if (kind == TORCI_LANE_WORK)
        set_stuck(self, peer, stalled);
    if (TORC_UNLIKELY(stalled)) {
        TORC_ASSERT(kind == TORCI_LANE_WORK);
        /* The bit says that we watch; a stalled lane must not keep us awake. */
        take_bit(&self->mesh, index_of(peer->id, TORCI_BIT_WORK));
        self->mesh.stalled = peer->stalled = true;
    }
}

void torci_mesh_stalled(struct torci_shard *self)
{
    self->mesh.stalled = true;
    self->io.outside.busy = true;
}

/* Offers again what was refused. */
static void retry_stalled(struct torci_shard *self)
{
    self->mesh.stalled = false;
    torci_letters_retry(self);
    for (uint32_t id = 0; id < self->set->count; id++) {
        struct torci_peer *peer = &self->mesh.peers[id];
        if (!peer->stalled)
            continue;
        peer->stalled = false;
        (void)mark(&self->mesh, index_of(id, TORCI_BIT_WORK));
        take_lane(self, peer, TORCI_LANE_WORK);
    }
}

void torci_mesh_take_inbox(struct torci_shard *self)
{
    for (struct torci_pile_link *at = torci_pile_take(&self->mesh.inbox), *next; at; at = next) {
        struct torci_letter *letter = TORC_CONTAINER_OF(at, struct torci_letter, link);
        next = at->next; /* a letter may be gone once it has been read */
        letter->fn(self, letter);
    }
}

static void take(struct torci_shard *self, uint32_t index)
{
    uint32_t from = index / TORCI_BITS;
    enum torci_bit bit = (enum torci_bit)(index % TORCI_BITS);
    if (bit == TORCI_BIT_WORK || bit == TORCI_BIT_CONTROL) {
        if (from < self->set->count) {
            take_lane(self, &self->mesh.peers[from], (enum torci_lane_kind)bit);
            return;
        }
        take_bit(&self->mesh, index);
        torci_mesh_take_inbox(self);
        return;
    }
    take_bit(&self->mesh, index);
    if (bit == TORCI_BIT_ROOM)
        room_came(self, &self->mesh.peers[from]);
    else
        torci_shard_look(self);
}

/* For each bit that is set now. */
#define FOR_EACH_BIT(mesh, index) \
    for (uint32_t word_ = 0, index = 0; word_ < (mesh)->map_words; word_++) \
        for (uint64_t left_ = __atomic_load_n(&(mesh)->map[word_], __ATOMIC_ACQUIRE); \
             left_ && (index = word_ * 64 + (uint32_t)__builtin_ctzll(left_), true); \
             left_ &= left_ - 1)

static void mesh_turn(struct torci_io *io)
{
    struct torci_shard *self = TORC_CONTAINER_OF(io, struct torci_shard, io);
    struct torci_mesh *mesh = &self->mesh;
    FOR_EACH_BIT(mesh, index)
    take(self, index);
    if (self->returns.pending)
        torci_returns_flush(self);
    if (!torci_list_is_empty(&mesh->chores))
        do_chores(self);
    /* After all that may have freed what the work was refused for the want of: nothing else may come to wake us. */
    if (TORC_UNLIKELY(mesh->stalled))
        retry_stalled(self);
    torci_mesh_flush_all(self);
    if (self->stopping && !self->buried)
        torc_event_set(&self->look); /* its first task may wait until all has gone out */
    io->outside.busy = mesh->stalled || !torci_list_is_empty(&mesh->chores);
}

static bool mesh_came(struct torci_io *io)
{
    struct torci_shard *self = TORC_CONTAINER_OF(io, struct torci_shard, io);
    FOR_EACH_BIT(&self->mesh, index)
    {
        uint32_t from = index / TORCI_BITS, bit = index % TORCI_BITS;
        if (from == self->set->count || bit >= TORCI_LANES)
            return true;
        const struct torci_lane_reader *reader = &self->mesh.peers[from].from[bit];
        if (lane_has(reader)) {
            /* on its way while the turn comes round to it */
            __builtin_prefetch(
                torci_lane_slot(reader->lane, reader->next, reader->count, reader->slot_bytes));
            return true;
        }
    }
    return false;
}

static bool mesh_may_sleep(struct torci_io *io)
{
    struct torci_shard *self = TORC_CONTAINER_OF(io, struct torci_shard, io);
    if (self->mesh.dirty || !torci_list_is_empty(&self->mesh.chores))
        return false;
    FOR_EACH_BIT(&self->mesh, index)
    {
        uint32_t from = index / TORCI_BITS, bit = index % TORCI_BITS;
        if (from == self->set->count || bit >= TORCI_LANES ||
            !unwatch(self, &self->mesh.peers[from], (enum torci_lane_kind)bit))
            return false;
    }
    return true;
}

/* ---- set-up ---- */

static struct torci_lane *lane_at(const struct torci_mesh *mesh, uint32_t from,
                                  enum torci_lane_kind kind)
{
    size_t each = torci_lane_bytes(TORCI_LANE_SLOTS, TORCI_MESSAGE_BYTES);
    return (struct torci_lane *)(void *)(mesh->lanes + (from * TORCI_LANES + (size_t)kind) * each);
}

static uint32_t map_words(uint32_t count)
{
    return (count * TORCI_BITS + 1 + 63) / 64;
}

static size_t map_bytes(uint32_t count)
{
    return (map_words(count) * sizeof(uint64_t) + TORCI_LANE_LINE - 1) &
           ~(size_t)(TORCI_LANE_LINE - 1);
}

size_t torci_mesh_lanes_bytes(uint32_t count)
{
    return map_bytes(count) +
           (size_t)count * TORCI_LANES * torci_lane_bytes(TORCI_LANE_SLOTS, TORCI_MESSAGE_BYTES);
}

int torci_mesh_create(struct torci_shard *shard)
{
    const struct torci_host *host = &shard->io.host;
    struct torci_mesh *mesh = &shard->mesh;
    uint32_t count = shard->set->count;
    mesh->map_words = map_words(count);
    size_t lanes_at = map_bytes(count);
    mesh->lanes_bytes = torci_mesh_lanes_bytes(count);
    mesh->peers =
        (struct torci_peer *)host->alloc(host->context, count * sizeof(struct torci_peer));
    mesh->map = (uint64_t *)torci_arena_map(shard->arena, TORC_ARENA_LANES, mesh->lanes_bytes);
    if (!mesh->peers || !mesh->map)
        return -ENOMEM;
    mesh->lanes = (char *)mesh->map + lanes_at;
    torci_link_init(&mesh->chores);
    shard->io.outside = (struct torci_outside){.map = mesh->map,
                                               .map_words = mesh->map_words,
                                               .turn = mesh_turn,
                                               .came = mesh_came,
                                               .may_sleep = mesh_may_sleep};
    return 0;
}

void torci_mesh_touch(struct torci_shard *shard)
{
    (void)__atomic_fetch_or(&shard->mesh.map[0], 0, __ATOMIC_RELAXED); /* orders nothing */
}

void torci_mesh_connect(struct torci_shard *shard)
{
    for (uint32_t id = 0; id < shard->set->count; id++) {
        struct torci_peer *peer = &shard->mesh.peers[id];
        peer->id = id;
        torci_link_init(&peer->notes);
        torci_link_init(&peer->room_waiters);
        for (int i = 0; i < TORCI_LANES; i++) {
            enum torci_lane_kind kind = (enum torci_lane_kind)i;
            peer->to[i] = (struct torci_lane_writer){
                .lane = lane_at(&shard_of(shard, id)->mesh, shard->id, kind),
                .count = TORCI_LANE_SLOTS,
                .slot_bytes = TORCI_MESSAGE_BYTES};
            peer->from[i] = (struct torci_lane_reader){.lane = lane_at(&shard->mesh, id, kind),
                                                       .count = TORCI_LANE_SLOTS,
                                                       .slot_bytes = TORCI_MESSAGE_BYTES};
        }
    }
}

void torci_mesh_destroy(struct torci_shard *shard)
{
    const struct torci_host *host = &shard->io.host;
    struct torci_mesh *mesh = &shard->mesh;
    if (mesh->map)
        torci_arena_unmap(shard->arena, mesh->map, mesh->lanes_bytes);
    if (mesh->peers)
        host->free(host->context, mesh->peers, shard->set->count * sizeof(struct torci_peer));
}
