/* SPDX-License-Identifier: MIT
 *
 * Meshes of channels. Set up at a meeting in shared memory:
 *
 *     the first one makes the meeting's memory
 *     each shard    opens its receivers, lays the senders out at its seat, and counts itself in
 *     the last one  sends a note to the first, which takes its senders from all seats and sends the note on to the next
 *                   shard; when it is back at the first everybody is served, and the meeting is over
 *
 * The count and the failure share one word, so that a join which is interrupted is either in time, and then fails for
 * all, or too late, and then waits for the note, which is on its way.
 *
 * Receiving from all: a receiver is ready (may have something) or armed (was found empty; its sender tells us). Only the
 * ready ones are looked at.
 */
#include "shard/fabric.h"

#include <errno.h>

#include "core/sync_internal.h"
#include "shard/xchan_internal.h"

#define FAILED (UINT32_C(1) << 31)

/* A shard's place at the meeting. */
struct seat {
    struct torci_note note;
    struct torc_fabric_node *node; /* NULL: it has not come, or has gone */
};

struct torci_meeting {
    struct torc_fabric *fabric;
    uint32_t state; /* atomic: how many have come, FAILED */
    uint32_t count, first;
    bool going_round;
    size_t bytes;
    struct torc_xsender *
        *senders; /* to each shard, from each; a shard may leave before all have taken theirs */
    struct seat seats[];
};

static bool has_channel(const struct torc_fabric *fabric, uint32_t from, uint32_t to)
{
    return fabric->broadcast ? from == fabric->sender : from != to;
}

/* ---- the meeting ---- */

static struct torci_meeting *find_meeting(struct torci_shard *self, struct torc_fabric *fabric)
{
    /* ACQUIRE pairs with the exchange below */
    struct torci_meeting *found = __atomic_load_n(&fabric->meeting, __ATOMIC_ACQUIRE);
    if (found)
        return found;
    uint32_t count = self->set->count;
    size_t seats_end = sizeof(struct torci_meeting) + count * sizeof(struct seat);
    size_t bytes = seats_end + (size_t)count * count * sizeof(struct torc_xsender *);
    struct torci_meeting *meeting =
        (struct torci_meeting *)torci_arena_map(self->arena, TORC_ARENA_LANES, bytes);
    if (!meeting)
        return NULL;
    meeting->fabric = fabric;
    meeting->count = count;
    meeting->first = self->id;
    meeting->bytes = bytes;
    meeting->senders = (struct torc_xsender **)(void *)((char *)meeting + seats_end);
    if (__atomic_compare_exchange_n(&fabric->meeting, &found, meeting, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return meeting;
    torci_arena_unmap(self->arena, meeting, bytes);
    return found; /* another shard was faster */
}

static bool note_came(struct torci_shard *self, uint32_t from, const struct torci_message *message);

static void send_note(struct torci_shard *self, struct torci_meeting *meeting, uint32_t to)
{
    struct torci_note *note = &meeting->seats[self->id].note;
    note->message = (struct torci_message){note_came, {(uintptr_t)meeting}};
    torci_mesh_control(self, to, note);
}

/* All have come, or one has failed and the rest have come. */
static bool note_came(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)from;
    struct torci_meeting *meeting = (struct torci_meeting *)(uintptr_t)message->words[0];
    if (self->id == meeting->first && meeting->going_round) {
        /* RELEASE pairs with find_meeting of the next time */
        __atomic_store_n(&meeting->fabric->meeting, NULL, __ATOMIC_RELEASE);
        torci_arena_unmap(self->arena, meeting, meeting->bytes);
        return true;
    }
    if (self->id == meeting->first)
        meeting->going_round = true;
    struct torc_fabric_node *node = meeting->seats[self->id].node;
    /* ACQUIRE pairs with count_in: all seats are laid out */
    bool failed = __atomic_load_n(&meeting->state, __ATOMIC_ACQUIRE) & FAILED;
    if (node && !failed)
        for (uint32_t to = 0; to < meeting->count; to++)
            node->to[to] = meeting->senders[to * meeting->count + self->id];
    if (node) {
        node->met = true;
        node->result = failed ? -EPIPE : 0;
        torci_wait_wake_all(&node->waiters, 0);
    }
    send_note(self, meeting, self->id + 1 == meeting->count ? 0 : self->id + 1);
    return true;
}

static void count_in(struct torci_shard *self, struct torci_meeting *meeting, bool failed)
{
    /* ACQ_REL: our seat is laid out, and the last one sees all */
    if (failed)
        (void)__atomic_or_fetch(&meeting->state, FAILED, __ATOMIC_ACQ_REL);
    uint32_t state = __atomic_add_fetch(&meeting->state, 1, __ATOMIC_ACQ_REL);
    TORC_ASSERT((state & ~FAILED) <= meeting->count); /* joined twice */
    if ((state & ~FAILED) == meeting->count)
        send_note(self, meeting, meeting->first);
}

/* ---- joining and leaving ---- */

static int alloc_node(struct torci_shard *self, struct torc_fabric_node *node)
{
    uint32_t count = self->set->count;
    *node = (struct torc_fabric_node){.count = count};
    torci_link_init(&node->waiters);
    const struct torci_host *host = &self->io.kernel->host;
    /* to, from, the senders that lead here, ready */
    node->memory_bytes = (size_t)count * 3 * sizeof(void *) + (count + 63) / 64 * sizeof(uint64_t);
    node->memory = host->alloc(host->context, node->memory_bytes);
    if (!node->memory)
        return -ENOMEM;
    node->to = (struct torc_xsender **)node->memory;
    node->from = (struct torc_xreceiver **)(void *)(node->to + count);
    node->ready = (uint64_t *)(void *)(node->from + 2 * (size_t)count);
    return 0;
}

static struct torc_xsender **own_senders(const struct torc_fabric_node *node)
{
    return node->to + 2 * (size_t)node->count;
}

static void set_ready(struct torc_fabric_node *node, uint32_t from, bool ready)
{
    uint64_t bit = UINT64_C(1) << from % 64;
    if (ready)
        node->ready[from / 64] |= bit;
    else
        node->ready[from / 64] &= ~bit;
}

static bool is_ready(const struct torc_fabric_node *node, uint32_t from)
{
    return node->ready[from / 64] >> from % 64 & 1;
}

/* An armed receiver's sender has told us something; not always the truth. */
static void moved(struct torci_xend *end)
{
    struct torc_fabric_node *node = end->node;
    if (is_ready(node, end->peer) || torci_xchan_arm(end))
        return;
    set_ready(node, end->peer, true);
    torci_wait_wake_first(&node->waiters, 0);
}

static int open_receivers(struct torci_shard *self, const struct torc_fabric *fabric,
                          struct torc_fabric_node *node)
{
    struct torc_xsender **senders = own_senders(node);
    for (uint32_t from = 0; from < node->count; from++) {
        if (!has_channel(fabric, from, self->id))
            continue;
        int err = torc_xchan_open(fabric->value_bytes, fabric->capacity, &node->from[from],
                                  &senders[from]);
        if (err)
            return err;
        torci_xchan_watch(node->from[from], node, from, moved);
        set_ready(node, from, true);
        node->open++;
    }
    return 0;
}

void torc_fabric_leave(struct torc_fabric_node *node)
{
    TORC_ASSERT(torci_list_is_empty(&node->waiters));
    const struct torci_host *host = &torci_shard_this()->io.kernel->host;
    for (uint32_t id = 0; node->memory && id < node->count; id++) {
        if (node->to[id])
            torc_xchan_close_sender(node->to[id]);
        if (node->from[id])
            torc_xchan_close_receiver(node->from[id]);
    }
    if (node->memory)
        host->free(host->context, node->memory, node->memory_bytes);
    *node = (struct torc_fabric_node){.count = 0};
    torci_link_init(&node->waiters);
}

/* Nobody has taken the senders from our seat, and nobody will. */
static void give_up(struct torc_fabric_node *node)
{
    for (uint32_t id = 0; node->memory && id < node->count; id++)
        if (own_senders(node)[id])
            torc_xchan_close_sender(own_senders(node)[id]);
    torc_fabric_leave(node);
}

/* Whether it was in time: then all joins fail. */
static bool call_off(struct torci_meeting *meeting)
{
    uint32_t came = __atomic_load_n(&meeting->state, __ATOMIC_ACQUIRE);
    while ((came & ~FAILED) != meeting->count &&
           !__atomic_compare_exchange_n(&meeting->state, &came, came | FAILED, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        ;
    return (came & ~FAILED) != meeting->count;
}

/* Until the note has come, or an interruption has made the meeting fail. */
static int wait_for_note(struct torci_shard *self, struct torci_meeting *meeting,
                         struct torc_fabric_node *node)
{
    int err = torci_block(&node->waiters, NULL);
    if (!err || node->met)
        return node->result;
    if (call_off(meeting)) {
        meeting->seats[self->id].node = NULL;
        return err;
    }
    struct torc_mask mask;
    torc_mask_enter(&mask);
    err = torci_block(&node->waiters, NULL);
    TORC_ASSERT(!err); /* nothing interrupts a masked section */
    torc_mask_leave(&mask);
    return node->result;
}

int torc_fabric_join(struct torc_fabric *fabric, struct torc_fabric_node *node)
{
    struct torci_shard *self = torci_shard_this();
    if (fabric->broadcast && fabric->sender >= self->set->count)
        return -EINVAL; /* every shard sees that */
    struct torci_meeting *meeting = find_meeting(self, fabric);
    int err = alloc_node(self, node);
    if (!meeting) {
        give_up(node);
        return -ENOMEM;
    }
    if (!err)
        err = open_receivers(self, fabric, node);
    struct seat *seat = &meeting->seats[self->id];
    if (!err) {
        memcpy(&meeting->senders[self->id * meeting->count], own_senders(node),
               meeting->count * sizeof *meeting->senders);
        seat->node = node;
    }
    count_in(self, meeting, err != 0);
    if (!err)
        err = wait_for_note(self, meeting, node);
    if (err)
        give_up(node);
    return err;
}

/* ---- sending to all, receiving from any ---- */

int torc_fabric_send_all(struct torc_fabric_node *node, const void *value, uint32_t *sent)
{
    uint32_t reached = 0, tried = 0;
    int err = 0;
    for (uint32_t to = 0; to < node->count; to++) {
        if (!node->to[to])
            continue;
        err = torc_xchan_send(node->to[to], value);
        if (err && err != -EPIPE)
            break;
        tried++;
        reached += !err;
    }
    if (sent)
        *sent = tried;
    return err == -EPIPE && reached ? 0 : err;
}

/* The first that is ready at or cyclically after START; COUNT if none is. */
static uint32_t find_ready(const struct torc_fabric_node *node, uint32_t start)
{
    uint32_t words = (node->count + 63) / 64;
    for (uint32_t i = 0; i <= words; i++) {
        uint32_t word = (start / 64 + i) % words;
        uint64_t bits = node->ready[word];
        if (i == 0)
            bits &= ~UINT64_C(0) << start % 64;
        if (bits)
            return word * 64 + (uint32_t)__builtin_ctzll(bits);
    }
    return node->count;
}

int torc_fabric_try_recv(struct torc_fabric_node *node, void *value, uint32_t *from)
{
    uint32_t peer;
    while ((peer = find_ready(node, node->next)) < node->count) {
        struct torc_xreceiver *receiver = node->from[peer];
        int err = torc_xchan_try_recv(receiver, value);
        node->next = peer + 1 == node->count ? 0 : peer + 1;
        if (!err) {
            if (from)
                *from = peer;
            return 0;
        }
        if (err == -EPIPE) {
            torc_xchan_close_receiver(receiver);
            node->from[peer] = NULL;
            node->open--;
            set_ready(node, peer, false);
        } else if (torci_xchan_arm(torci_xchan_end(receiver))) {
            set_ready(node, peer, false);
        }
    }
    return node->open ? -EAGAIN : -EPIPE;
}

int torc_fabric_recv(struct torc_fabric_node *node, void *value, uint32_t *from)
{
    int err;
    while ((err = torc_fabric_try_recv(node, value, from)) == -EAGAIN) {
        TORC_ASSERT(torci_list_is_empty(&node->waiters)); /* one task at a time */
        err = torci_block(&node->waiters, NULL);
        if (err)
            break;
    }
    return err;
}
