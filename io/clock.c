/* SPDX-License-Identifier: MIT
 *
 * See clock_internal.h. Everything rests on one measurement: the counter and the clock at the same moment.
 */
#include "io/clock_internal.h"

#include "core/exec_internal.h"

__extension__ typedef unsigned __int128 wide;

enum {
    SAMPLE_TRIES = 16,
    SAMPLE_WIDTH_MAX_NS = 2000, /* wider: the machine took us off the CPU at every try */
    RATE_CHANGE_MAX = 1024,     /* 1/1024: NTP slews by half of that */
};

struct sample {
    uint64_t ticks, ns, width_ns;
};

/* The narrowest of several tries: an interrupt between the two readings makes one wide. What remains of the error is
 * the same each time, so it cancels out of a rate. */
static struct sample sample_take(const struct torci_host *host)
{
    struct sample best = {.width_ns = UINT64_MAX};
    for (int i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t before = host->now_ns(host->context);
        uint64_t ticks = torci_ticks();
        uint64_t width_ns = host->now_ns(host->context) - before;
        if (width_ns < best.width_ns)
            best =
                (struct sample){.ticks = ticks, .ns = before + width_ns / 2, .width_ns = width_ns};
    }
    return best;
}

/* ns a tick as a multiplier; 0 if it does not fit into 32 bits. */
static uint32_t rate_of(uint64_t ns, uint64_t ticks, uint32_t shift)
{
    if (!ticks)
        return 0;
    wide rate = ((wide)ns << shift) / ticks;
    return rate <= UINT32_MAX ? (uint32_t)rate : 0;
}

void torci_clock_calibrate(struct torci_host *host)
{
    struct sample from = sample_take(host);
    while (host->now_ns(host->context) - from.ns < TORCI_CLOCK_CALIBRATE_NS)
        ;
    struct sample to = sample_take(host);
    /* The largest shift whose multiplier leaves the top bit free, for the rate to grow: parts of 10^9. */
    for (uint32_t shift = 40; shift; shift--) {
        uint32_t rate = rate_of(to.ns - from.ns, to.ticks - from.ticks, shift);
        if (!rate || rate > INT32_MAX)
            continue;
        host->tick_base = to.ticks;
        host->tick_base_ns = to.ns;
        host->tick_shift = shift;
        host->tick_mult = rate;
        return;
    }
}

static void clock_due(struct torci_clock *clock, const struct torci_host *host)
{
    clock->due_ns = host->tick_base_ns + clock->interval_ns;
    clock->interval_ns *= 2;
    if (clock->interval_ns > TORCI_CLOCK_TUNE_MAX_NS)
        clock->interval_ns = TORCI_CLOCK_TUNE_MAX_NS;
}

void torci_clock_start(struct torci_clock *clock, struct torci_host *host)
{
    *clock = (struct torci_clock){.due_ns = UINT64_MAX};
    if (!host->tick_mult)
        return;
    struct sample now = sample_take(host);
    clock->ticks = host->tick_base = now.ticks;
    clock->ns = host->tick_base_ns = now.ns;
    clock->rate = host->tick_mult;
    clock->interval_ns = TORCI_CLOCK_TUNE_MIN_NS;
    clock_due(clock, host);
}

/* The rate since the last sample, unless something other than steering moved one of the two: a suspend, a stopped
 * virtual machine. */
static uint32_t rate_measure(const struct torci_clock *clock, const struct torci_host *host,
                             const struct sample *now)
{
    uint32_t rate = rate_of(now->ns - clock->ns, now->ticks - clock->ticks, host->tick_shift);
    uint32_t change = rate > clock->rate ? rate - clock->rate : clock->rate - rate;
    bool plausible = now->ns - clock->ns >= TORCI_CLOCK_TUNE_MIN_NS / 2 &&
                     change <= clock->rate / RATE_CHANGE_MAX;
    return plausible ? rate : clock->rate;
}

void torci_clock_tune(struct torci_clock *clock, struct torci_host *host)
{
    if (!host->tick_mult) {
        clock->due_ns = UINT64_MAX;
        return;
    }
    struct sample now = sample_take(host);
    uint64_t ours =
        host->tick_base_ns +
        (uint64_t)(((wide)(now.ticks - host->tick_base) * host->tick_mult) >> host->tick_shift);
    if (now.width_ns > SAMPLE_WIDTH_MAX_NS) {
        clock->due_ns = ours + TORCI_CLOCK_TUNE_MIN_NS;
        return;
    }
    if (ours > now.ns + TORCI_CLOCK_LOST_NS) {
        host->tick_mult = 0;
        host->tick_base_ns = ours - now.ns;
        clock->due_ns = UINT64_MAX;
        host->report(host->context, "the CPU's time-stamp counter jumped ahead of the clock: torc "
                                    "reads the kernel's clock from here on");
        return;
    }
    uint64_t elapsed_ns = now.ns - clock->ns;
    clock->rate = rate_measure(clock, host, &now);
    clock->ticks = host->tick_base = now.ticks;
    clock->ns = now.ns;
    host->tick_mult = clock->rate;
    host->tick_base_ns = now.ns;
    if (ours > now.ns) {
        /* Lost again over a second, or as long as it took to see if that was longer: an executor that sleeps for ten
         * seconds now must not lose ten times too much. LOST / TUNE_MAX bounds the slowing to 0.5 %. */
        uint64_t horizon_ns =
            elapsed_ns > TORCI_CLOCK_TUNE_MAX_NS ? elapsed_ns : TORCI_CLOCK_TUNE_MAX_NS;
        host->tick_base_ns = ours;
        host->tick_mult -= (uint32_t)((wide)clock->rate * (ours - now.ns) / horizon_ns);
    }
    clock_due(clock, host);
}
