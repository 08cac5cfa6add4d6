/* SPDX-License-Identifier: MIT
 *
 * The counter clock against a clock that the test may bend: the machine's own, plus an offset, at another rate.
 */
#include <time.h>

#include "core/exec_internal.h"
#include "core/time.h"
#include "io/clock_internal.h"
#include "tests/harness.h"
#include "tests/run_shard.h"

static struct {
    int64_t offset_ns; /* added from now on */
    int64_t ppm;       /* faster than the machine's, since BENT_NS */
    uint64_t bent_ns;
    unsigned reports;
} bend;

static uint64_t machine_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t bent_now_ns(void *context)
{
    (void)context;
    uint64_t now_ns = machine_ns();
    int64_t gained_ns = (int64_t)(now_ns - bend.bent_ns) * bend.ppm / 1000000;
    return now_ns + (uint64_t)(bend.offset_ns + gained_ns);
}

static void count_report(void *context, const char *line)
{
    (void)context;
    (void)line;
    bend.reports++;
}

static void start(struct torci_host *host, struct torci_clock *clock)
{
    *host = (struct torci_host){.now_ns = bent_now_ns, .report = count_report};
    torci_clock_calibrate(host);
    CHECK(host->tick_mult != 0);
    torci_clock_start(clock, host);
}

/* How far ahead of the bent clock the counter clock is for certain: a preemption between the readings proves nothing.
 */
static int64_t ahead_ns(const struct torci_host *host)
{
    uint64_t before = bent_now_ns(NULL), ours = torci_host_now_ns(host);
    uint64_t after = bent_now_ns(NULL);
    if (ours > after)
        return (int64_t)(ours - after);
    return ours < before ? -(int64_t)(before - ours) : 0;
}

/* Reads the clock for DURATION_NS and tunes it as a loop does; it must not go back, nor by more than WORST_NS away. */
static void follow(struct torci_host *host, struct torci_clock *clock, uint64_t duration_ns,
                   int64_t worst_ns)
{
    uint64_t last = torci_host_now_ns(host), end = machine_ns() + duration_ns;
    while (machine_ns() < end) {
        uint64_t now = torci_host_now_ns(host);
        CHECK(now >= last);
        last = now;
        if (now >= clock->due_ns)
            torci_clock_tune(clock, host);
        int64_t ahead = ahead_ns(host);
        if (ahead > worst_ns || -ahead > worst_ns)
            TEST_FAIL("%" PRId64 " ns off", ahead);
    }
}

TEST(clock, stays_on_the_line)
{
    struct torci_host host;
    struct torci_clock clock;
    start(&host, &clock);
    uint64_t first_due_ns = clock.due_ns;
    follow(&host, &clock, 400 * TORC_MS, 20 * 1000);
    CHECK(clock.due_ns > first_due_ns);
    CHECK(host.tick_mult != 0);
}

TEST(clock, follows_a_clock_that_is_steered)
{
    struct torci_host host;
    struct torci_clock clock;
    start(&host, &clock);
    bend.bent_ns = machine_ns();
    bend.ppm = 400; /* unmended it would be 160 us off in the end */
    int64_t rate = clock.rate;
    follow(&host, &clock, 400 * TORC_MS, 120 * 1000);
    int64_t gained_ppm = ((int64_t)clock.rate - rate) * 1000000 / rate;
    CHECK(gained_ppm > 300 && gained_ppm < 500);
    torci_clock_tune(&clock, &host);
    bend.offset_ns += (int64_t)(machine_ns() - bend.bent_ns) * bend.ppm / 1000000;
    bend.bent_ns = machine_ns();
    follow(&host, &clock, 30 * TORC_MS, 20 * 1000);
}

TEST(clock, steps_forward_when_late)
{
    struct torci_host host;
    struct torci_clock clock;
    start(&host, &clock);
    uint32_t rate = clock.rate;
    bend.offset_ns += 50 * 1000 * 1000;
    CHECK(ahead_ns(&host) < -40 * 1000 * 1000);
    torci_clock_tune(&clock, &host);
    CHECK(ahead_ns(&host) > -20 * 1000);
    CHECK_EQ(clock.rate, rate); /* a step says nothing about the rate */
}

TEST(clock, slows_down_when_early_and_never_goes_back)
{
    struct torci_host host;
    struct torci_clock clock;
    start(&host, &clock);
    follow(&host, &clock, 30 * TORC_MS,
           20 * 1000); /* the bent clock itself must not go back either */
    bend.offset_ns -= 2 * 1000 * 1000;
    uint64_t last = torci_host_now_ns(&host);
    torci_clock_tune(&clock, &host);
    CHECK(torci_host_now_ns(&host) >= last);
    CHECK(host.tick_mult < clock.rate);
    int64_t ahead = ahead_ns(&host);
    CHECK(ahead > 1900 * 1000);
    for (uint64_t end = machine_ns() + 100 * TORC_MS; machine_ns() < end;)
        ;
    /* 2 ms in a second: 0.2 ms in 100 */
    CHECK(ahead_ns(&host) < ahead - 150 * 1000);
    CHECK_EQ(bend.reports, 0);
}

TEST(clock, drops_a_counter_that_ran_away)
{
    struct torci_host host;
    struct torci_clock clock;
    start(&host, &clock);
    follow(&host, &clock, 30 * TORC_MS, 20 * 1000);
    uint64_t last = torci_host_now_ns(&host);
    bend.offset_ns -= 20 * 1000 * 1000;
    torci_clock_tune(&clock, &host);
    CHECK_EQ(host.tick_mult, 0);
    CHECK_EQ(bend.reports, 1);
    CHECK(clock.due_ns == UINT64_MAX);
    CHECK(torci_host_now_ns(&host) >= last); /* the wheel does not turn back */
    bend.offset_ns += 20 * 1000 * 1000;
    CHECK(ahead_ns(&host) > 15 * 1000 * 1000);
}

TEST(clock, leaves_a_host_without_counter_alone)
{
    struct torci_host host = {.now_ns = bent_now_ns, .report = count_report};
    struct torci_clock clock;
    torci_clock_start(&clock, &host);
    CHECK(clock.due_ns == UINT64_MAX);
    clock.due_ns = 0;
    torci_clock_tune(&clock, &host);
    CHECK(clock.due_ns == UINT64_MAX);
    CHECK_EQ(host.tick_mult, 0);
}

/* ---- in an executor ---- */

static int stay_a_while(void *arg)
{
    const struct torci_host *host = torci_this->host;
    uint32_t *first = arg, rate = host->tick_mult;
    *first = rate;
    if (!rate)
        return 2;
    uint64_t end = torc_now_ns() + 200 * TORC_MS;
    while (torc_now_ns() < end && host->tick_mult == rate)
        if (torc_sleep(TORC_MS))
            return 3;
    return host->tick_mult != rate;
}

TEST(clock, an_executor_tunes_it)
{
    uint32_t first = 0;
    int result = run_shard(NULL, stay_a_while, &first);
    if (!first)
        TEST_SKIP("this machine's counter is not its clock");
    CHECK_EQ(result, 1); /* to nine digits no two measurements agree */
}
