/* SPDX-License-Identifier: MIT
 *
 * The room's state of an executor: made, hooked into the loop, and its chunks lent to the kernel.
 */
#include "net/serve_internal.h"

#include <errno.h>
#include <string.h>

#include "io/abi_internal.h"

enum {
    LEVEL_MIN = 8,
    PEAK_REFILLS = 256, /* after so many the level is looked at again */
};

static size_t memory_bytes(uint32_t count)
{
    return (size_t)count * TORCI_CHUNK_STRIDE;
}

static size_t tables_bytes(uint32_t count)
{
    return count * (sizeof(struct torci_chunk) + sizeof(uint16_t));
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
    for (net->count = TORCI_CHUNKS_MAX; net->count >= TORCI_CHUNKS_MIN; net->count /= 2) {
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
    net->free = (uint16_t *)(net->chunks + net->count);
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
    torci_link_init(&net->servers);
    torci_link_init(&net->waiting_for_files);
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

/* Two turns' worth, looked at again from time to time. */
static void choose_level(struct torci_net *net)
{
    if (net->used > net->peak)
        net->peak = net->used;
    if (++net->refills % PEAK_REFILLS == 0) {
        net->level = LEVEL_MIN + 2 * net->peak;
        net->peak = 0;
    }
    if (net->level < 2 * net->used)
        net->level = 2 * net->used;
    if (net->level > net->count)
        net->level = net->count;
    net->used = 0;
}

static void lend(struct torci_net *net)
{
    if (!net->slots)
        return;
    uint16_t tail = net->slots_tail;
    for (; net->held < net->level && net->free_count; net->held++) {
        uint16_t chunk = net->free[--net->free_count];
        struct io_uring_buf *slot = &net->slots->bufs[tail++ & (net->count - 1)];
        slot->addr = (uint64_t)(uintptr_t)torci_chunk_memory(net, chunk);
        slot->len = TORCI_CHUNK_BYTES;
        slot->bid = chunk;
    }
    if (tail == net->slots_tail)
        return;
    net->slots_tail = tail;
    /* pairs with the kernel's acquire: the entries are written before it */
    __atomic_store_n(&net->slots->tail, tail, __ATOMIC_RELEASE);
}

/* As many receives as there are chunks for: all of them would only end again. */
static void feed_starved(struct torci_net *net)
{
    uint32_t chunks = net->slots ? net->held : net->free_count;
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
    lend(net);
    feed_starved(net);
}
