/* SPDX-License-Identifier: MIT
 *
 * Measured with an echo server on one CPU and its client on another, against a plain epoll loop (bench/compare.py
 * --only echo):
 *
 *     waiting for a batch   100 and 1,000 connections: 10 to 15 % less CPU a message on an EPYC, where a server that is
 *                           faster than its clients only makes smaller turns, and waiting a moment turns what it saves
 *                           into idle time; 5 to 8 % more on a Xeon whose sleeps are dear. So both ways are tried, and
 *                           tried again from time to time, and the one that takes less CPU a message is kept. For
 *                           half of the active connections at most: to wait for nearly all makes server and clients
 *                           take turns, which halves the rate
 *     spinning              a virtual machine's sleep costs both sides more than the wait for the next message. One
 *                           connection: 2.6 times the rate for the same CPU. Four connections with 64 messages of 512 B,
 *                           or four of 16 KiB, on their way: a third and a seventh less CPU, in a relay a third and
 *                           nothing. After large messages 10 us do it; where it has not paid lately it rests
 */
#include "io/pace_internal.h"

#include <time.h>

#include "io/abi_internal.h"
#include "io/io_internal.h"

enum {
    WANT_MAX = 64,
    MIN_WAIT_US = 50,
    SPIN_NS = 50 * 1000,
    SPIN_LARGE_NS = 20 * 1000, /* after a large message: it is not answered at once */
    RETRY_TURNS = 64,          /* after so many a cap is forgotten */
    EPOCH_TURNS = 64,
    TRY_EPOCHS = 6,
    PATIENCE_MIN = 64,
    PATIENCE_MAX = 2048,
    BATCHING_SAVES = 16, /* one part in so many of the CPU, or it is not worth its wait */
    NO_SPIN_SAVES = 10,  /* or the messages may as well be answered sooner */
    REST_MAX = 255,
};

static uint64_t thread_cpu_ns(const struct torci_io *io)
{
    struct timespec used;
    long err =
        TORCI_CALL(io->kernel, SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)(uintptr_t)&used);
    return err < 0 ? 0 : (uint64_t)used.tv_sec * TORC_SEC + (uint64_t)used.tv_nsec;
}

/* What the other way costs is not known before it has been gone for some epochs, the first of which is of both. */
static void change_ways(struct torci_trial *trial)
{
    trial->on = !trial->on;
    trial->settling = true;
}

/* Whether ON is the better way; it needs to be so by one part in WORTHWHILE. */
static bool is_on_better(const struct torci_trial *trial, uint64_t worthwhile)
{
    return trial->cost[true] < trial->cost[false] - trial->cost[false] / worthwhile;
}

void torci_trial_judge(struct torci_trial *trial, uint64_t cost, uint64_t worthwhile)
{
    if (trial->settling) {
        trial->settling = false;
        return;
    }
    uint64_t *mean = &trial->cost[trial->on];
    *mean = *mean ? *mean - *mean / 4 + cost / 4 : cost;
    if (!trial->patience)
        trial->patience = trial->stay = PATIENCE_MIN;
    if (--trial->stay)
        return;
    if (!trial->trying) {
        trial->trying = true;
        trial->stay = TRY_EPOCHS;
        change_ways(trial);
        trial->cost[trial->on] = 0;
        return;
    }
    trial->trying = false;
    if (is_on_better(trial, worthwhile) == trial->on) {
        trial->patience = PATIENCE_MIN;
    } else {
        change_ways(trial);
        if (trial->patience < PATIENCE_MAX)
            trial->patience *= 4;
    }
    trial->stay = trial->patience;
}

static void end_epoch(struct torci_io *io)
{
    struct torci_pace *pace = &io->pace;
    uint64_t began_ns = pace->cpu_ns;
    pace->active = io->traffic.active;
    io->traffic.active = 0;
    io->traffic.epoch++;
    pace->cpu_ns = thread_cpu_ns(io);
    if (began_ns && pace->cpu_ns > began_ns) {
        uint64_t cost = (pace->cpu_ns - began_ns) * 16 / pace->epoch_messages;
        if (pace->epoch_messages >= EPOCH_TURNS * TORCI_PACE_MANY)
            torci_trial_judge(&pace->batching, cost, BATCHING_SAVES);
        else
            torci_trial_judge(&pace->no_spin, cost, NO_SPIN_SAVES);
    }
    pace->epoch_turns = pace->epoch_messages = 0;
}

void torci_pace_turn(struct torci_io *io)
{
    struct torci_pace *pace = &io->pace;
    pace->last = io->traffic.came;
    pace->largest_bytes = io->traffic.largest_bytes;
    io->traffic.came = io->traffic.largest_bytes = 0;
    pace->epoch_messages += pace->last;
    if (pace->last && ++pace->epoch_turns == EPOCH_TURNS)
        end_epoch(io);
}

/* Connections that take part: idle ones answer nobody, however many there are. */
static uint32_t active_connections(const struct torci_io *io)
{
    if (!io->pace.active)
        return io->traffic.live;
    return io->pace.active > io->traffic.active ? io->pace.active : io->traffic.active;
}

uint32_t torci_pace_want(struct torci_io *io, uint32_t *min_wait_us)
{
    struct torci_pace *pace = &io->pace;
    uint32_t last = pace->last, half = active_connections(io) / 2;
    if (last < pace->wanted / 2) /* far fewer came than were waited for */
        pace->cap = last ? last : 1;
    else if (++pace->turns % RETRY_TURNS == 0)
        pace->cap = 0;
    pace->wanted = 0;
    if (!pace->batching.on || last < TORCI_PACE_MANY || half < TORCI_PACE_MANY ||
        !(io->ring.features & TORCI_FEATURE_MIN_WAIT))
        return 1;
    uint32_t cap = pace->cap ? pace->cap : WANT_MAX, want = last + last / 8;
    if (want > cap)
        want = cap;
    if (want > half)
        want = half;
    pace->wanted = want;
    *min_wait_us = MIN_WAIT_US;
    return want;
}

uint64_t torci_pace_spin_ns(struct torci_io *io)
{
    struct torci_pace *pace = &io->pace;
    if (!pace->last || pace->last >= TORCI_PACE_MANY || pace->no_spin.on || io->shares_cpu ||
        io->config.no_spin)
        return 0;
    if (pace->rest) {
        pace->rest--;
        return 0;
    }
    return pace->largest_bytes > TORCI_PACE_LARGE_BYTES ? SPIN_LARGE_NS : SPIN_NS;
}

void torci_pace_spun(struct torci_io *io, bool came)
{
    struct torci_pace *pace = &io->pace;
    if (came)
        pace->back = 0;
    else
        pace->back = pace->back < REST_MAX / 2 ? pace->back * 2 + 1 : REST_MAX;
    pace->rest = pace->back;
}
