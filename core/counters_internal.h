/* SPDX-License-Identifier: MIT
 *
 * The counters' one table, and how a shard counts. From TORCI_COUNTERS come the block's fields, the schema that readers
 * get, and the check of docs/counters.md; a new counter is one line here and one there.
 *
 * Only the owning shard's thread writes a block. A store is plain but for its width: a reader, whose relaxed loads
 * are in core/counters.c, sees a whole value, and the compiler keeps none in a register for ever. Counting orders
 * nothing.
 */
#ifndef TORC_CORE_COUNTERS_INTERNAL_H
#define TORC_CORE_COUNTERS_INTERNAL_H

#include "core/counters.h"

/* clang-format off: a table */
#define TORCI_COUNTERS(COUNTER, GAUGE, HISTOGRAM, BY_SIZE) \
    COUNTER(loop_turns, "", "turns of the loop") \
    HISTOGRAM(loop_slice_ns, "ns", "how long tasks ran between two looks at the ring") \
    GAUGE(loop_wake_lag_ns, "ns", "how late the machine wakes a sleeper: the recent worst") \
    COUNTER(spin_turns, "", "turns that looked for events without sleeping, for spin_ns at most") \
    COUNTER(spin_ns, "ns", "time in those") \
    COUNTER(park_turns, "", "turns that waited in the kernel") \
    COUNTER(park_ns, "ns", "time in those") \
    COUNTER(wake_sent, "", "doorbells rung at shards that slept") \
    COUNTER(wake_elided, "", "publications to shards that were awake, which need none") \
    COUNTER(wake_received, "", "doorbells heard, of shards and of other threads") \
    COUNTER(ring_enters, "", "system calls that submit, wait or collect") \
    COUNTER(ring_sqes, "", "operations that the kernel took") \
    COUNTER(ring_cqes, "", "completions") \
    GAUGE(ring_in_flight, "", "operations that have not completed") \
    COUNTER(task_switches, "", "times a task was resumed") \
    COUNTER(task_spawned, "", "tasks started") \
    GAUGE(task_live, "", "tasks that have not ended") \
    GAUGE(task_ready, "", "tasks that wait for the CPU: the length of the run queues") \
    GAUGE(timer_armed, "", "timers that are armed") \
    COUNTER(stall_reports, "", "reports of tasks that did not yield") \
    COUNTER(blocking_jobs, "", "jobs given to the blocking pool") \
    COUNTER(message_work_sent, "", "requests sent to other shards") \
    COUNTER(message_work_received, "", "requests of other shards that were begun") \
    COUNTER(message_control_sent, "", "replies, cancels, frees and wakes sent to other shards") \
    COUNTER(message_control_received, "", "replies, cancels, frees and wakes of other shards") \
    COUNTER(message_waits, "", "requests that found their lane full") \
    COUNTER(message_deferred, "", \
            "control messages that found their lane full and went out later") \
    COUNTER(call_made, "", "calls to other shards begun") \
    COUNTER(call_served, "", "calls of other shards answered") \
    COUNTER(call_posts, "", "functions sent to other shards without waiting") \
    COUNTER(call_dropped, "", "functions sent to this shard when it was stopping, and not run") \
    HISTOGRAM(call_ns, "ns", "from a call's begin to its answer, at the caller: of one in 16") \
    GAUGE(arena_bytes, "bytes", "the shard's arena, all of it") \
    GAUGE(arena_free, "bytes", "not handed out") \
    GAUGE(arena_stacks, "bytes", "handed out for stacks and task descriptors") \
    GAUGE(arena_buffers, "bytes", "handed out for buffers of files") \
    GAUGE(arena_lanes, "bytes", "handed out for lanes of messages") \
    GAUGE(arena_small, "bytes", "handed out for small objects") \
    COUNTER(alloc_made, "", "small objects allocated") \
    COUNTER(alloc_freed, "", "small objects of this shard freed, by whomever") \
    COUNTER(alloc_sent_home, "", "small objects of other shards freed here") \
    BY_SIZE(dma_reads, "", "reads of files") \
    BY_SIZE(dma_read_bytes, "bytes", "asked for by reads of files") \
    BY_SIZE(dma_writes, "", "writes of files") \
    BY_SIZE(dma_write_bytes, "bytes", "handed over by writes of files") \
    COUNTER(dma_syncs, "", "syncs of files") \
    HISTOGRAM(dma_read_ns, "ns", \
              "from a read to its result; of started ones every eighth stands for eight") \
    HISTOGRAM(dma_write_ns, "ns", \
              "from a write to its result; of started ones every eighth stands for eight") \
    HISTOGRAM(dma_sync_ns, "ns", "from a task's sync to its result") \
    COUNTER(dma_bounce_reads, "", "unaligned reads of direct files, through a bounce buffer") \
    COUNTER(dma_pool_calls, "", "operations that the ring lacks, done by the blocking pool") \
    COUNTER(dma_unpinned_pools, "", "buffer pools that the kernel refused to pin") \
    COUNTER(dma_short_resumes, "", "times a full-length transfer went on after a short one") \
    COUNTER(dma_alignment_guesses, "", "direct files whose alignment the kernel did not tell") \
    COUNTER(dma_direct_ignored, "", "direct files that the file system buffers all the same") \
    COUNTER(dma_poll_refused, "", "files that asked for polling where no device polls") \
    COUNTER(dma_closes_in_line, "", "closes by a system call because the ring took no more") \
    GAUGE(net_streams, "", "open streams") \
    COUNTER(net_accepted, "", "connections that were accepted") \
    COUNTER(net_connected, "", "connections that were made to others") \
    COUNTER(net_lookups, "", "names that the resolver was asked for") \
    COUNTER(net_refused, "", "connections that were closed unserved: a limit, or no memory") \
    COUNTER(net_accept_waits, "", "times a listener waited for a descriptor") \
    COUNTER(net_failures, "", \
            "connections whose function failed otherwise than by losing its peer") \
    COUNTER(net_receives, "", "chunks of input") \
    COUNTER(net_received_bytes, "bytes", "received by streams") \
    COUNTER(net_starved, "", "receives that found no chunk") \
    COUNTER(net_pressed, "", "times most chunks were with streams that do not read") \
    COUNTER(net_sends, "", "calls that sent") \
    COUNTER(net_sends_queued, "", "sends by entries of the queue") \
    COUNTER(net_sent_bytes, "bytes", "sent by streams") \
    COUNTER(net_blocked, "", "times a stream's peer took no more") \
    COUNTER(net_tls_handshakes, "", "TLS handshakes that succeeded, on either side") \
    COUNTER(net_tls_resumed, "", "of those: with the session of an earlier one") \
    COUNTER(net_datagrams_received, "", "datagrams received; what was coalesced is one") \
    COUNTER(net_datagram_received_bytes, "bytes", "received in those") \
    COUNTER(net_datagrams_sent, "", "datagrams sent; what is cut up by the kernel is one") \
    COUNTER(net_datagram_sent_bytes, "bytes", "sent in those")
/* clang-format on */

/* Log-linear: up to 64 ns in steps of 8, then four buckets an octave, up to 34 s. */
enum { TORCI_COUNTER_UNIT_BITS = 3, TORCI_COUNTER_OCTAVE_BITS = 2 };

struct torci_counter_histogram {
    uint64_t sum_ns;
    uint64_t buckets[TORC_COUNTER_BUCKETS];
};

/* Transfers: up to 4 KiB, 16 KiB, 64 KiB, 256 KiB, 1 MiB, and above. */
enum { TORCI_COUNTER_SIZES = 6 };

/* One shard's block: about 6 KB. Zeroed memory is a fresh one. */
struct torci_counters {
#define TORCI_COUNTER_FIELD(name, unit, help) uint64_t name;
#define TORCI_COUNTER_HISTOGRAM_FIELD(name, unit, help) struct torci_counter_histogram name;
#define TORCI_COUNTER_SIZES_FIELD(name, unit, help) uint64_t name[TORCI_COUNTER_SIZES];
    TORCI_COUNTERS(TORCI_COUNTER_FIELD, TORCI_COUNTER_FIELD, TORCI_COUNTER_HISTOGRAM_FIELD,
                   TORCI_COUNTER_SIZES_FIELD)
#undef TORCI_COUNTER_FIELD
#undef TORCI_COUNTER_HISTOGRAM_FIELD
#undef TORCI_COUNTER_SIZES_FIELD
};

/* On the owner's thread. One instruction where there is such a one: gcc 12 makes three of an atomic load and store, and
 * a task that sends no-ops one by one (torc-micro nop1) counts nine times for each. */
static inline void torci_count_add(uint64_t *counter, uint64_t n)
{
#if defined(__x86_64__)
    __asm__("addq %1, %0" : "+m"(*counter) : "er"(n));
#else
    /* RELAXED, both, and in torci_gauge_set: they pair with a reader's load */
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
#endif
}

static inline void torci_count(uint64_t *counter)
{
    torci_count_add(counter, 1);
}

static inline void torci_gauge_set(uint64_t *gauge, uint64_t value)
{
    __atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

static inline uint32_t torci_counter_bucket(uint64_t ns)
{
    uint64_t units = ns >> TORCI_COUNTER_UNIT_BITS;
    /* as in torc_histogram_index: bits dropped below the leading ones, small values exact without a branch */
    unsigned leading = 63u ^ (unsigned)__builtin_clzll(units | 1 << TORCI_COUNTER_OCTAVE_BITS);
    unsigned dropped = leading - TORCI_COUNTER_OCTAVE_BITS;
    uint64_t index = ((uint64_t)dropped << TORCI_COUNTER_OCTAVE_BITS) + (units >> dropped);
    return (uint32_t)(index < TORC_COUNTER_BUCKETS ? index : TORC_COUNTER_BUCKETS - 1);
}

/* A sample that stands for TIMES of them. */
static inline void torci_count_ns_times(struct torci_counter_histogram *histogram, uint64_t ns,
                                        uint64_t times)
{
    torci_count_add(&histogram->buckets[torci_counter_bucket(ns)], times);
    torci_count_add(&histogram->sum_ns, ns * times);
}

static inline void torci_count_ns(struct torci_counter_histogram *histogram, uint64_t ns)
{
    torci_count_ns_times(histogram, ns, 1);
}

/* Which class a transfer of SIZE bytes belongs to: each is four times as large as the one before. */
static inline uint32_t torci_counter_size_class(uint64_t size_bytes)
{
    uint64_t pages = (size_bytes - (size_bytes > 0)) >> 12; /* full ones before its last byte */
    unsigned bits = 63 - (unsigned)__builtin_clzll(pages << 1 | 1);
    uint32_t index = (bits + 1) / 2;
    return index < TORCI_COUNTER_SIZES ? index : TORCI_COUNTER_SIZES - 1;
}

/* The set of SHARDS blocks that lie STRIDE bytes apart. */
void torci_counter_set_init(struct torc_counter_set *set, const void *blocks, size_t stride,
                            uint32_t shards);
/* The schema: torc_counter_count(NULL) lines side by side. */
const struct torc_counter_info *torci_counter_infos(void);

#endif
