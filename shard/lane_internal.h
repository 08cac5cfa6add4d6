/* SPDX-License-Identifier: MIT
 *
 * A lane: a ring of slots of one size between exactly one writing and one reading thread, without locks. What both
 * touch is the struct torci_lane: the writer's line, the reader's line, the slots. What only one of them needs (where it
 * is, how far it has seen the other) lies with that side, so that a cache line moves between CPUs only to carry news:
 *
 *     writer  fills slots ... publishes: tail = next (release)      once a batch
 *     reader  sees the tail (acquire), reads slots ... releases: head = next (release)      once a batch
 *
 * Indices count slots since the beginning; 64 bits do not wrap. Whether anybody sleeps is not the lane's business
 * (shard/mesh.c). Thread rule: a writer's functions on the writing thread, a reader's on the reading one.
 */
#ifndef TORC_SHARD_LANE_INTERNAL_H
#define TORC_SHARD_LANE_INTERNAL_H

#include "core/base.h"
#include "core/sanitizer_internal.h"

enum { TORCI_LANE_LINE = 128 }; /* two cache lines: x86 fetches them in pairs */

struct torci_lane {
    _Alignas(TORCI_LANE_LINE) uint64_t tail; /* atomic: slots published */
    _Alignas(TORCI_LANE_LINE) uint64_t head; /* atomic: slots read */
    uint32_t waiting; /* atomic: the writer waits for room; the reader that clears it tells it so */
    uint32_t stuck;   /* atomic: the reader can't take what is first */
    _Alignas(TORCI_LANE_LINE) char slots[];
};
_Static_assert(sizeof(struct torci_lane) == 2 * TORCI_LANE_LINE, "one line for each side");

struct torci_lane_writer {
    struct torci_lane *lane;
    uint64_t next, published, head_seen;
    uint32_t count, slot_bytes; /* COUNT is a power of two */
};

struct torci_lane_reader {
    struct torci_lane *lane;
    uint64_t next, released, tail_seen;
    uint32_t count, slot_bytes;
};

/* The memory of a lane: aligned to TORCI_LANE_LINE, zeroed. */
static inline size_t torci_lane_bytes(uint32_t count, uint32_t slot_bytes)
{
    size_t bytes = sizeof(struct torci_lane) + (size_t)count * slot_bytes;
    return (bytes + TORCI_LANE_LINE - 1) & ~(size_t)(TORCI_LANE_LINE - 1);
}

static inline void *torci_lane_slot(struct torci_lane *lane, uint64_t index, uint32_t count,
                                    uint32_t slot_bytes)
{
    return lane->slots + (index & (count - 1)) * slot_bytes;
}

/* The next slot to fill; NULL: the lane is full. */
static inline void *torci_lane_writer_slot(struct torci_lane_writer *writer)
{
    if (TORC_UNLIKELY(writer->next - writer->head_seen == writer->count)) {
        /* pairs with torci_lane_reader_release: the slot's old content has been read */
        writer->head_seen = __atomic_load_n(&writer->lane->head, __ATOMIC_ACQUIRE);
        if (writer->next - writer->head_seen == writer->count)
            return NULL;
    }
    return torci_lane_slot(writer->lane, writer->next, writer->count, writer->slot_bytes);
}

/* The slot is filled. */
static inline void torci_lane_writer_push(struct torci_lane_writer *writer)
{
    writer->next++;
}

static inline uint64_t torci_lane_writer_unpublished(const struct torci_lane_writer *writer)
{
    return writer->next - writer->published;
}

static inline void torci_lane_writer_publish(struct torci_lane_writer *writer)
{
    writer->published = writer->next;
    /* pairs with torci_lane_reader_slot: the slots are filled */
    __atomic_store_n(&writer->lane->tail, writer->next, __ATOMIC_RELEASE);
}

/* The oldest slot that has not been popped; NULL: there is none. */
static inline void *torci_lane_reader_slot(struct torci_lane_reader *reader)
{
    if (reader->next == reader->tail_seen) {
        /* pairs with torci_lane_writer_publish */
        reader->tail_seen = __atomic_load_n(&reader->lane->tail, __ATOMIC_ACQUIRE);
        if (reader->next == reader->tail_seen)
            return NULL;
    }
    return torci_lane_slot(reader->lane, reader->next, reader->count, reader->slot_bytes);
}

static inline void torci_lane_reader_pop(struct torci_lane_reader *reader)
{
    reader->next++;
}

static inline bool torci_lane_reader_is_ahead(const struct torci_lane_reader *reader)
{
    return reader->next != reader->released;
}

/* What was popped may be written again. */
static inline void torci_lane_reader_release(struct torci_lane_reader *reader)
{
    reader->released = reader->next;
    /* pairs with torci_lane_writer_slot: the slots have been read */
    __atomic_store_n(&reader->lane->head, reader->next, __ATOMIC_RELEASE);
}

/* Between the two halves of an agreement that needs them seen in this order by everyone: "I have published, do you
 * sleep?", "I am going to sleep, have you published?". TSan knows read-modify-writes but no fences; SCRATCH is any word
 * that the caller may touch so. */
static inline void torci_lane_fence(uint64_t *scratch)
{
#if defined(TORCI_TSAN)
    (void)__atomic_fetch_add(scratch, 0, __ATOMIC_SEQ_CST);
#elif defined(TORCI_LANE_NO_FENCE) /* tests/test_shard_wake_stress.c must fail then */
    (void)scratch;
#else
    (void)scratch;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

#endif
