/* SPDX-License-Identifier: MIT
 *
 * Channels between shards: shard/xchan_internal.h says how they work.
 */
#include "shard/xchan_internal.h"

#include <errno.h>

#include "core/select_internal.h"
#include "core/sync_internal.h"

enum {
    SPINS = 32, /* pauses, of some 10 to 40 ns each */
    CACHE_LINE = 64,
    PREFETCH_LINES_MAX = 64,
};

static struct torci_xsender *sender_of(struct torc_xsender *face)
{
    return TORC_CONTAINER_OF(face, struct torci_xsender, face);
}

static struct torci_xreceiver *receiver_of(struct torc_xreceiver *face)
{
    return TORC_CONTAINER_OF(face, struct torci_xreceiver, face);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- memory ---- */

static void free_block(struct torci_shard *owner, struct torc_xchan *chan)
{
    torci_arena_unmap(owner->arena, chan, chan->block_bytes);
}

static bool free_note(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)from;
    free_block(self, (struct torc_xchan *)(uintptr_t)message->words[0]);
    return true;
}

/* By END's owner, which has one reference less. */
static void put_reference(struct torci_xend *end)
{
    struct torc_xchan *chan = end->chan;
    /* ACQ_REL: what the others did with the block is done before it is freed */
    if (__atomic_sub_fetch(&chan->references, 1, __ATOMIC_ACQ_REL))
        return;
    struct torci_shard *owner = chan->receiver.end.home;
    if (owner == end->home) {
        free_block(owner, chan);
        return;
    }
    end->note.message = (struct torci_message){free_note, {(uintptr_t)chan}};
    torci_mesh_control(end->home, owner->id, &end->note);
}

/* ---- waking ---- */

static struct torci_xend *other_of(struct torci_xend *end)
{
    struct torc_xchan *chan = end->chan;
    return end == &chan->sender.end ? &chan->receiver.end : &chan->sender.end;
}

static enum torci_xside side_of(const struct torci_xend *end)
{
    return end == &end->chan->sender.end ? TORCI_XSIDE_SENDER : TORCI_XSIDE_RECEIVER;
}

static uint64_t sender_next(const struct torci_xsender *sender)
{
    return sender->lap + (uint64_t)(sender->face.at - sender->end.chan->ring);
}

static uint64_t receiver_next(const struct torci_xreceiver *receiver)
{
    return receiver->lap + (uint64_t)(receiver->face.at - receiver->end.chan->ring);
}

static bool is_closed(const struct torc_xchan *chan, enum torci_xside side)
{
    return __atomic_load_n(&chan->closed[side], __ATOMIC_ACQUIRE); /* pairs with close_end */
}

static uint64_t room_of(struct torci_xsender *sender)
{
    struct torc_xchan *chan = sender->end.chan;
    uint64_t next = sender_next(sender);
    if (chan->ring_bytes - (next - sender->head_seen) < chan->batch_bytes)
        /* pairs with release: the values there have been read */
        sender->head_seen = __atomic_load_n(&chan->head, __ATOMIC_ACQUIRE);
    return chan->ring_bytes - (next - sender->head_seen);
}

static uint64_t values_of(struct torci_xreceiver *receiver)
{
    uint64_t next = receiver_next(receiver);
    if (receiver->tail_seen == next)
        /* pairs with publish: the values are written */
        receiver->tail_seen = __atomic_load_n(&receiver->end.chan->tail, __ATOMIC_ACQUIRE);
    return receiver->tail_seen - next;
}

/* A wait for the other side would end at once. */
static bool can_go(struct torci_xend *end)
{
    struct torc_xchan *chan = end->chan;
    if (side_of(end) == TORCI_XSIDE_SENDER)
        return room_of(&chan->sender) || is_closed(chan, TORCI_XSIDE_RECEIVER);
    return values_of(&chan->receiver) || is_closed(chan, TORCI_XSIDE_SENDER);
}

bool torci_xchan_arm(struct torci_xend *end)
{
    uint32_t *waits = &end->chan->waits[side_of(end)];
    /* pairs with wake_other: either it sees that we wait, or we see what it has done */
    __atomic_store_n(waits, 1, __ATOMIC_SEQ_CST);
    torci_lane_fence(&end->fence);
    if (!can_go(end))
        return true;
    __atomic_store_n(waits, 0, __ATOMIC_RELAXED); /* a note may be on its way: it finds nobody */
    return false;
}

static void disarm(struct torci_xend *end)
{
    __atomic_store_n(&end->chan->waits[side_of(end)], 0, __ATOMIC_RELAXED);
}

/* The other side has moved, or says so: notes may be late, and about a wait that has long ended. */
static void look_after_waiter(struct torci_xend *end)
{
    if (end->closed)
        return;
    if (!torci_list_is_empty(&end->waiters) && !torci_xchan_arm(end))
        torci_wait_wake_first(&end->waiters, 0);
    if (end->moved)
        end->moved(end);
}

static bool wake_note(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)self, (void)from;
    struct torci_xend *end = (struct torci_xend *)(uintptr_t)message->words[0];
    look_after_waiter(end);
    put_reference(end);
    return true;
}

/* Whether the other side was told. */
static bool wake_other(struct torci_xend *end)
{
    struct torci_xend *other = other_of(end);
    uint32_t *waits = &end->chan->waits[side_of(other)];
    /* pairs with arm */
    if (TORC_LIKELY(!__atomic_load_n(waits, __ATOMIC_SEQ_CST)) ||
        !__atomic_exchange_n(waits, 0, __ATOMIC_SEQ_CST))
        return false;
    if (end->note.queued)
        return false; /* has not gone out yet: it will be taken after what we have just done */
    if (other->home == end->home) {
        look_after_waiter(other);
        return false;
    }
    (void)__atomic_add_fetch(&end->chan->references, 1, __ATOMIC_RELAXED); /* we have one already */
    end->note.message = (struct torci_message){wake_note, {(uintptr_t)other}};
    torci_mesh_control(end->home, other->home->id, &end->note);
    return true;
}

/* In the middle of a turn: the other side waits, so it is told at once. */
static void wake_other_now(struct torci_xend *end)
{
    if (TORC_UNLIKELY(wake_other(end)))
        torci_mesh_flush(end->home, other_of(end)->home->id);
}

/* ---- the two windows ---- */

static void publish(struct torci_xsender *sender)
{
    uint64_t next = sender_next(sender);
    if (next == sender->published)
        return;
    sender->published = next;
    /* pairs with values_of: the values are written */
    __atomic_store_n(&sender->end.chan->tail, next, __ATOMIC_RELEASE);
}

static void release(struct torci_xreceiver *receiver)
{
    uint64_t next = receiver_next(receiver);
    if (next == receiver->released)
        return;
    receiver->released = next;
    /* pairs with room_of: the values have been read */
    __atomic_store_n(&receiver->end.chan->head, next, __ATOMIC_RELEASE);
}

/* Closes the window. Whether the other side was told, by a note that has not been published yet. */
static bool settle(struct torci_xend *end)
{
    struct torc_xchan *chan = end->chan;
    if (side_of(end) == TORCI_XSIDE_SENDER) {
        chan->sender.face.stop = chan->sender.face.at;
        publish(&chan->sender);
    } else {
        chan->receiver.face.stop = chan->receiver.face.at;
        release(&chan->receiver);
    }
    torci_lane_fence(&end->fence);
    return wake_other(end);
}

static void settle_now(struct torci_xend *end)
{
    if (settle(end))
        torci_mesh_flush(end->home, other_of(end)->home->id);
}

/* Once a turn, for an end whose window was open. */
static void end_of_turn(struct torci_shard *self, struct torci_chore *chore)
{
    (void)self;
    struct torci_xend *end = TORC_CONTAINER_OF(chore, struct torci_xend, chore);
    (void)settle(end);
    look_after_waiter(end);
}

/* The reader's CPU has these lines: they are asked for together here, or each store would wait for its own in turn.
 * 128 -> 169 million messages a second (torc-micro xchan). The builtin is a prefetch for reading on plain x86-64, which
 * makes it worse. */
static void prefetch_for_writing(const char *from, const char *to)
{
    const char *most = from + (size_t)CACHE_LINE * PREFETCH_LINES_MAX;
    for (const char *line = from; line < to && line < most; line += CACHE_LINE)
#if defined(__x86_64__)
        __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
        __builtin_prefetch(line, 1);
#endif
}

int torci_xchan_room(struct torc_xsender *face)
{
    struct torci_xsender *sender = sender_of(face);
    struct torc_xchan *chan = sender->end.chan;
    if (TORC_UNLIKELY(!sender->end.home))
        sender->end.home = torci_shard_this();
    TORC_ASSERT(sender->end.home == torci_shard_this());
    publish(sender);
    wake_other_now(&sender->end);
    if (is_closed(chan, TORCI_XSIDE_RECEIVER))
        return -EPIPE;
    uint64_t room = room_of(sender);
    if (!room)
        return -EAGAIN;
    if (face->at == chan->ring + chan->ring_bytes) {
        face->at = chan->ring;
        sender->lap += chan->ring_bytes;
    }
    uint64_t to_end = (uint64_t)(chan->ring + chan->ring_bytes - face->at);
    face->stop = face->at + least(least(room, to_end), chan->batch_bytes);
    prefetch_for_writing(face->at, face->stop);
    torci_mesh_chore(sender->end.home, &sender->end.chore);
    return 0;
}

int torci_xchan_look(struct torc_xreceiver *face)
{
    struct torci_xreceiver *receiver = receiver_of(face);
    struct torc_xchan *chan = receiver->end.chan;
    TORC_ASSERT(receiver->end.home == torci_shard_this());
    uint64_t next = receiver_next(receiver);
    if (receiver->tail_seen == next || next - receiver->released >= chan->part_bytes) {
        release(receiver);
        wake_other_now(&receiver->end);
    }
    uint64_t values = values_of(receiver);
    if (!values) {
        if (!is_closed(chan, TORCI_XSIDE_SENDER))
            return -EAGAIN;
        values = values_of(receiver); /* its last ones came before */
        if (!values)
            return -EPIPE;
    }
    if (face->at == chan->ring + chan->ring_bytes) {
        face->at = chan->ring;
        receiver->lap += chan->ring_bytes;
    }
    uint64_t to_end = (uint64_t)(chan->ring + chan->ring_bytes - face->at);
    face->stop = face->at + least(least(values, to_end), chan->part_bytes);
    torci_mesh_chore(receiver->end.home, &receiver->end.chore);
    return 0;
}

struct torci_xend *torci_xchan_end(struct torc_xreceiver *receiver)
{
    return &receiver_of(receiver)->end;
}

void torci_xchan_watch(struct torc_xreceiver *receiver, struct torc_fabric_node *node,
                       uint32_t peer, void (*moved)(struct torci_xend *end))
{
    struct torci_xend *end = torci_xchan_end(receiver);
    end->node = node;
    end->peer = peer;
    end->moved = moved;
}

/* ---- waiting ---- */

/* Parking and being woken costs both sides more than a batch does: where the loop would spin anyway, with nothing else to
 * run, the task does so for a moment. Whether something came. 97 -> 118 million messages a second (torc-micro xchan_copy). */
static bool spin(struct torci_xend *end)
{
    struct torci_shard *self = end->home;
    if (!self->io.config.spin_ns || !torci_queue_is_empty(torci_fiber_self()->queue))
        return false;
    for (unsigned i = 0; i < SPINS; i++) {
        if (can_go(end))
            return true;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#else
        __asm__ volatile("yield");
#endif
    }
    return false;
}

static int wait_for_other(struct torci_xend *end)
{
    TORC_ASSERT(torci_list_is_empty(&end->waiters)); /* one task at a time */
    if (spin(end))
        return 0;
    settle_now(end);
    if (!torci_xchan_arm(end))
        return 0;
    int err = torci_block(&end->waiters, NULL);
    if (err)
        disarm(end);
    return err;
}

int torci_xchan_room_wait(struct torc_xsender *face)
{
    int err;
    while ((err = torci_xchan_room(face)) == -EAGAIN)
        if ((err = wait_for_other(&sender_of(face)->end)))
            return err;
    return err;
}

int torci_xchan_look_wait(struct torc_xreceiver *face)
{
    int err;
    while ((err = torci_xchan_look(face)) == -EAGAIN)
        if ((err = wait_for_other(&receiver_of(face)->end)))
            return err;
    return err;
}

void torc_xchan_flush(struct torc_xsender *face)
{
    struct torci_xend *end = &sender_of(face)->end;
    if (!end->home)
        return; /* nothing was ever sent */
    settle_now(end);
}

/* ---- many at a time ---- */

/* Copies COUNT values between an array and the ring; the ring's slots are a little larger. */
static void copy_many(char *to, size_t to_stride, const char *from, size_t from_stride,
                      size_t value_bytes, size_t count)
{
    if (to_stride == from_stride) {
        memcpy(to, from, count * to_stride);
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * to_stride, from + i * from_stride, value_bytes);
}

static int send_many(struct torc_xsender *sender, const void *values, uint32_t count,
                     int (*room)(struct torc_xsender *sender))
{
    size_t value_bytes = sender->value_bytes, stride = torci_xchan_stride(value_bytes);
    uint32_t sent = 0;
    while (sent < count) {
        int err = sender->at == sender->stop ? room(sender) : 0;
        if (err)
            return sent ? (int)sent : err;
        uint32_t some = (uint32_t)least((size_t)(sender->stop - sender->at) / stride, count - sent);
        copy_many(sender->at, stride, (const char *)values + sent * value_bytes, value_bytes,
                  value_bytes, some);
        sender->at += some * stride;
        sent += some;
    }
    return (int)sent;
}

int torc_xchan_send_many(struct torc_xsender *sender, const void *values, uint32_t count)
{
    return send_many(sender, values, count, torci_xchan_room_wait);
}

int torc_xchan_try_send_many(struct torc_xsender *sender, const void *values, uint32_t count)
{
    return send_many(sender, values, count, torci_xchan_room);
}

static int recv_many(struct torc_xreceiver *receiver, void *values, uint32_t count,
                     int (*look)(struct torc_xreceiver *receiver))
{
    size_t value_bytes = receiver->value_bytes, stride = torci_xchan_stride(value_bytes);
    uint32_t taken = 0;
    while (taken < count) {
        if (receiver->at == receiver->stop) {
            int err = taken ? torci_xchan_look(receiver) : look(receiver);
            if (err)
                return taken ? (int)taken : err;
        }
        uint32_t some =
            (uint32_t)least((size_t)(receiver->stop - receiver->at) / stride, count - taken);
        copy_many((char *)values + taken * value_bytes, value_bytes, receiver->at, stride,
                  value_bytes, some);
        receiver->at += some * stride;
        taken += some;
    }
    return (int)taken;
}

int torc_xchan_recv_many(struct torc_xreceiver *receiver, void *values, uint32_t count)
{
    return recv_many(receiver, values, count, torci_xchan_look_wait);
}

int torc_xchan_try_recv_many(struct torc_xreceiver *receiver, void *values, uint32_t count)
{
    return recv_many(receiver, values, count, torci_xchan_look);
}

/* ---- select ---- */

static bool case_poll(struct torc_case *one)
{
    one->result = torc_xchan_try_recv((struct torc_xreceiver *)one->object, one->value);
    return one->result != -EAGAIN;
}

static void case_arm(struct torc_case *one, struct torci_wait *wait)
{
    struct torci_xend *end = &receiver_of((struct torc_xreceiver *)one->object)->end;
    TORC_ASSERT(torci_list_is_empty(&end->waiters));
    torci_list_push_back(&end->waiters, &wait->link);
    /* What has come since the poll must not be waited for, and a task that is not parked yet can't be woken. */
    if (!torci_xchan_arm(end))
        torci_mesh_chore(end->home, &end->chore);
}

static void case_leave(struct torc_case *one, bool won)
{
    disarm(&receiver_of((struct torc_xreceiver *)one->object)->end);
    if (won)
        (void)case_poll(one);
}

struct torc_case torc_xchan_recv_case(struct torc_xreceiver *receiver, void *value)
{
    static const struct torci_case_kind kind = {case_poll, case_arm, case_leave};
    return torci_case_make(&kind, receiver, value, 0);
}

/* ---- opening and closing ---- */

static void init_end(struct torci_xend *end, struct torc_xchan *chan)
{
    end->chan = chan;
    torci_link_init(&end->waiters);
    torci_chore_init(&end->chore, end_of_turn);
}

int torc_xchan_open(size_t value_bytes, uint32_t capacity, struct torc_xreceiver **receiver,
                    struct torc_xsender **sender)
{
    if (value_bytes == 0 || value_bytes > TORC_XCHAN_VALUE_MAX || capacity == 0 ||
        capacity > TORC_XCHAN_CAPACITY_MAX)
        return -EINVAL;
    struct torci_shard *self = torci_shard_this();
    size_t stride = torci_xchan_stride(value_bytes), ring_bytes = stride * capacity;
    size_t block_bytes = sizeof(struct torc_xchan) + ring_bytes;
    struct torc_xchan *chan =
        (struct torc_xchan *)torci_arena_map(self->arena, TORC_ARENA_LANES, block_bytes);
    if (!chan)
        return -ENOMEM;
    chan->block_bytes = block_bytes;
    chan->ring_bytes = ring_bytes;
    chan->batch_bytes = (uint32_t)(stride * least(TORCI_XCHAN_BATCH, capacity));
    chan->part_bytes = stride * ((capacity + TORCI_XCHAN_PARTS - 1) / TORCI_XCHAN_PARTS);
    chan->references = 2;
    init_end(&chan->sender.end, chan);
    init_end(&chan->receiver.end, chan);
    chan->receiver.end.home = self;
    *sender = &chan->sender.face;
    *receiver = &chan->receiver.face;
    **sender = (struct torc_xsender){chan->ring, chan->ring, value_bytes};
    **receiver = (struct torc_xreceiver){chan->ring, chan->ring, value_bytes};
    return 0;
}

static void close_end(struct torci_xend *end)
{
    TORC_ASSERT(torci_list_is_empty(&end->waiters));
    TORC_ASSERT(end->home == torci_shard_this() && !end->closed);
    /* after the last values: pairs with is_closed */
    __atomic_store_n(&end->chan->closed[side_of(end)], 1, __ATOMIC_RELEASE);
    (void)settle(end);
    torci_chore_cancel(&end->chore);
    end->closed = true;
    put_reference(end);
}

void torc_xchan_close_sender(struct torc_xsender *face)
{
    struct torci_xsender *sender = sender_of(face);
    if (!sender->end.home)
        sender->end.home = torci_shard_this();
    publish(sender);
    close_end(&sender->end);
}

void torc_xchan_close_receiver(struct torc_xreceiver *face)
{
    close_end(&receiver_of(face)->end);
}
