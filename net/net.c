/* SPDX-License-Identifier: MIT
 *
 * The room's state of an executor: made, hooked into the loop, and its chunks lent to the kernel.
 */
#include "net/net_internal.h"

#include <errno.h>
#include <string.h>

#include "io/abi_internal.h"
#include "net/serve_internal.h"

enum {
    LEVEL_MIN = 8,
    LEVEL_SPARE = 2,
    FEW = 16,          /* messages in a turn */
    ARENA_PART = 8,    /* of a chosen arena, what the pool takes if that is more than the least */
    PEAK_REFILLS = 64, /* after so many the level is looked at again */
};

static size_t memory_bytes(uint32_t count)
{
    return (size_t)count * TORCI_CHUNK_STRIDE;
}

static size_t small_bytes(uint32_t count)
{
    return (size_t)count * TORCI_SMALL_CHUNKS * TORCI_SMALL_CHUNK_BYTES;
}

/* For chunks of both sizes. */
static size_t tables_bytes(uint32_t count)
{
    return (size_t)count * (1 + TORCI_SMALL_CHUNKS) *
           (sizeof(struct torci_chunk) + sizeof(uint16_t));
}

static size_t slots_bytes(uint32_t count)
{
    return count * sizeof(struct io_uring_buf);
}

static void destroy(struct torci_net *net)
{
    const struct torci_host *host = &net->io->host;
    torci_resolver_deinit(&net->resolver, host);
    if (net->memory)
        host->unmap(host->map_context, net->memory, memory_bytes(net->count));
    if (net->small_memory)
        host->unmap(host->map_context, net->small_memory, small_bytes(net->count));
    if (net->chunks)
        host->unmap(host->map_context, net->chunks, tables_bytes(net->count));
    if (net->slots)
        host->unmap(host->map_context, net->slots, slots_bytes(net->count));
    net->io->traffic = (struct torci_traffic){.net = NULL};
    host->free(host->context, net, sizeof *net);
}

static void on_close(struct torci_io *io)
{
    struct torci_net *net = (struct torci_net *)io->traffic.net;
    if (net->slots) {
        struct torci_buffer_ring_register ring = {.group = TORCI_BUFFER_GROUP};
        (void)io->kernel->ring_register(io->kernel->host.context, io->ring.real_fd,
                                        IORING_UNREGISTER_PBUF_RING, &ring, 1);
    }
    destroy(net);
}

static void on_flush(struct torci_io *io)
{
    struct torci_net *net = (struct torci_net *)io->traffic.net;
    io->traffic.dirty = false;
    struct torci_link *at;
    torci_net_refill(net);
    torci_send_turn(net);
    torci_list_each (at, &net->servers)
        torci_handlers_look(TORC_CONTAINER_OF(at, struct torci_server, net_link));
}

static void on_submitted(struct torci_io *io)
{
    torci_send_submitted((struct torci_net *)io->traffic.net);
}

/* Before 5.19 the kernel has no such rings, and before 6.0 no multishot receive: there a stream waits for readiness. */
static bool register_slots(struct torci_net *net)
{
    struct torci_io *io = net->io;
    struct torci_buffer_ring_register ring = {.address = (uint64_t)(uintptr_t)net->slots,
                                              .entries = net->count,
                                              .group = TORCI_BUFFER_GROUP};
    return torci_ring_has_op(io, IORING_OP_SEND_ZC) && /* came with it */
           !io->kernel->ring_register(io->kernel->host.context, io->ring.real_fd,
                                      IORING_REGISTER_PBUF_RING, &ring, 1);
}

static int map_chunks(struct torci_net *net)
{
    const struct torci_host *host = &net->io->host;
    uint64_t arena_bytes = net->io->config.arena_bytes;
    for (net->count = TORCI_CHUNKS_MAX; net->count >= TORCI_CHUNKS_MIN; net->count /= 2) {
        if (arena_bytes && net->count > TORCI_CHUNKS_MIN &&
            memory_bytes(net->count) > arena_bytes / ARENA_PART)
            continue;
        net->memory = (char *)host->map(host->map_context, memory_bytes(net->count));
        if (net->memory)
            break;
    }
    if (!net->memory)
        return -ENOMEM;
    net->chunks = (struct torci_chunk *)host->map(host->map_context, tables_bytes(net->count));
    net->slots = (struct io_uring_buf_ring *)host->map(host->map_context, slots_bytes(net->count));
    if (!net->chunks || !net->slots)
        return -ENOMEM;
    net->free = (uint16_t *)(net->chunks + (1 + TORCI_SMALL_CHUNKS) * net->count);
    net->small_free = net->free + net->count;
    while (net->free_count < net->count) {
        net->free[net->free_count] = (uint16_t)(net->count - 1 - net->free_count);
        net->free_count++;
    }
    return 0;
}

static int create(struct torci_io *io, struct torci_net **out)
{
    struct torci_net *net = (struct torci_net *)io->host.alloc(io->host.context, sizeof *net);
    if (!net)
        return -ENOMEM;
    net->io = io;
    net->level = LEVEL_MIN;
    torci_link_init(&net->dirty);
    torci_link_init(&net->queued);
    torci_link_init(&net->starved);
    torci_link_init(&net->armed);
    torci_link_init(&net->crowded);
    torci_link_init(&net->servers);
    torci_link_init(&net->waiting_for_files);
    torci_link_init(&net->spreads);
    torci_resolver_init(&net->resolver);
    int err = map_chunks(net);
    if (err) {
        destroy(net);
        return err;
    }
    if (!register_slots(net)) {
        io->host.unmap(io->host.map_context, net->slots, slots_bytes(net->count));
        net->slots = NULL;
    }
    io->traffic.net = net;
    io->traffic.flush = on_flush;
    io->traffic.submitted = on_submitted;
    io->traffic.close = on_close;
    io->traffic.dirty = true; /* the kernel is lent its first chunks */
    *out = net;
    return 0;
}

int torci_net_get(struct torci_net **net)
{
    struct torci_io *io = torci_io_this();
    *net = (struct torci_net *)io->traffic.net;
    return TORC_LIKELY(*net != NULL) ? 0 : create(io, net);
}

/* What a turn uses and as much again, or receives run dry. Where turns bring few but large messages, little more than what
 * they use: the kernel fills chunks in the order in which it got them, so the more it holds, the colder each one is
 * (16 KiB echo and relay: a tenth less CPU with 4 instead of 12). */
static uint32_t level_for(const struct torci_net *net, uint32_t used)
{
    return net->large && used <= FEW ? used + LEVEL_SPARE : 2 * used + LEVEL_MIN;
}

static void choose_level(struct torci_net *net)
{
    if (net->io->traffic.largest_bytes > TORCI_PACE_LARGE_BYTES)
        net->large = net->large_came = true;
    if (net->used > net->peak)
        net->peak = net->used;
    uint32_t least = level_for(net, net->peak);
    bool look = ++net->refills % PEAK_REFILLS == 0;
    if (look || net->level < least)
        net->level = least;
    if (look) {
        net->peak = 0;
        net->large = net->large_came;
        net->large_came = false;
    }
    if (net->level > net->count)
        net->level = net->count;
    net->used = 0;
}

/* Before the first small chunk is needed. Without memory for them the room does without. */
static void map_small(struct torci_net *net)
{
    const struct torci_host *host = &net->io->host;
    if (net->small_memory)
        return;
    net->small_memory = (char *)host->map(host->map_context, small_bytes(net->count));
    if (!net->small_memory)
        return;
    uint32_t all = net->count * (1 + TORCI_SMALL_CHUNKS);
    while (net->small_free_count < all - net->count) {
        net->small_free[net->small_free_count] = (uint16_t)(all - 1 - net->small_free_count);
        net->small_free_count++;
    }
}

/* Receives that go on and on begin anew, as such of one chunk. */
static void renew_all(struct torci_net *net)
{
    while (!torci_list_is_empty(&net->armed)) {
        struct torc_stream *stream =
            TORC_CONTAINER_OF(net->armed.next, struct torc_stream, in_link);
        stream->renew = true;
        torci_receive_crowd(stream);
    }
}

static void look_at_pressure(struct torci_net *net)
{
    uint32_t with_streams = net->count - net->free_count - (net->held - net->held_small);
    if (TORC_LIKELY(!net->pressed) && with_streams > net->count / 4 * 3) {
        net->pressed = true;
        torci_count(&net->io->exec.counters->net_pressed);
        map_small(net);
        renew_all(net);
    } else if (TORC_UNLIKELY(net->pressed) && with_streams < net->count / 2) {
        net->pressed = false;
    }
}

/* TORCI_NO_CHUNK: all are taken. */
static uint16_t take_any(struct torci_net *net)
{
    if (TORC_UNLIKELY(net->pressed) && net->small_free_count)
        return net->small_free[--net->small_free_count];
    return net->free_count ? net->free[--net->free_count] : TORCI_NO_CHUNK;
}

uint16_t torci_chunk_take_input(struct torci_net *net)
{
    look_at_pressure(net);
    return take_any(net);
}

static void lend(struct torci_net *net)
{
    if (!net->slots)
        return;
    uint16_t tail = net->slots_tail, chunk;
    for (; net->held < net->level && (chunk = take_any(net)) != TORCI_NO_CHUNK; net->held++) {
        struct io_uring_buf *slot = &net->slots->bufs[tail++ & (net->count - 1)];
        slot->addr = (uint64_t)(uintptr_t)torci_chunk_memory(net, chunk);
        slot->len = torci_chunk_bytes(net, chunk);
        slot->bid = chunk;
        net->held_small += chunk >= net->count;
    }
    if (tail == net->slots_tail)
        return;
    net->slots_tail = tail;
    /* pairs with the kernel's acquire: the entries are written before it */
    __atomic_store_n(&net->slots->tail, tail, __ATOMIC_RELEASE);
}

/* The kernel does not find a receive that is just running; then it will have something to say, and the end of that turn
 * asks again. */
static void end_crowded(struct torci_net *net)
{
    struct torci_link *at, *after;
    torci_list_each_safe (at, after, &net->crowded) {
        struct torc_stream *stream = TORC_CONTAINER_OF(at, struct torc_stream, in_link);
        if (torci_receive_is_full(stream)) {
            torci_ignore(torc_op_cancel(&stream->receive));
        } else {
            torci_list_unlink(at);
            torci_list_push_back(&net->armed, at);
        }
    }
    if (!torci_list_is_empty(&net->crowded))
        net->io->traffic.dirty = true;
}

/* As many receives as there are chunks for: all of them would only end again. */
static void feed_starved(struct torci_net *net)
{
    uint32_t chunks = net->slots ? net->held : net->free_count + net->small_free_count;
    struct torci_link *at;
    if (torci_list_is_empty(&net->starved))
        return;
    if (net->slots && net->level < net->count)
        net->level += LEVEL_MIN;
    for (; chunks && (at = torci_list_pop_front(&net->starved)); chunks--)
        torci_receive_arm(TORC_CONTAINER_OF(at, struct torc_stream, in_link));
    if (!torci_list_is_empty(&net->starved))
        net->io->traffic.dirty = true;
}

void torci_net_refill(struct torci_net *net)
{
    choose_level(net);
    look_at_pressure(net);
    lend(net);
    if (TORC_UNLIKELY(!torci_list_is_empty(&net->crowded)))
        end_crowded(net);
    feed_starved(net);
}
