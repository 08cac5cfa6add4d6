/* SPDX-License-Identifier: MIT
 *
 * One line on standard error that is written over and over: what is running, how fast it goes, how long it still
 * takes. Once a second, so that it costs the measurement nothing; from what the shards publish (struct bench_live).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/torc/format.h"
#include "apps/torc/run.h"

struct totals {
    uint64_t ios, bytes;
};

bool bench_progress_is_wanted(const struct bench_spec *spec)
{
    return spec->eta == BENCH_ETA_ALWAYS || (spec->eta == BENCH_ETA_AUTO && isatty(STDERR_FILENO));
}

static struct totals count_up(const struct bench_run *run)
{
    struct totals t = {0, 0};
    for (unsigned i = 0; i < run->plan->instance_count; i++) {
        t.ios += __atomic_load_n(&run->live[i].ios, __ATOMIC_RELAXED);
        t.bytes += __atomic_load_n(&run->live[i].bytes, __ATOMIC_RELAXED);
    }
    return t;
}

static bool is_running(const struct bench_run *run, unsigned index)
{
    return __atomic_load_n(&run->live[index].running, __ATOMIC_RELAXED);
}

/* Seconds until the wave has ended as far as its runtimes tell; 0: they don't. */
static uint64_t seconds_left(const struct bench_run *run, uint64_t now)
{
    uint64_t left = 0;
    for (unsigned i = 0; i < run->plan->instance_count; i++) {
        const struct bench_job *job = run->plan->instances[i].job;
        uint64_t end = __atomic_load_n(&run->live[i].began_ns, __ATOMIC_RELAXED) + job->runtime_ns;
        if (is_running(run, i) && job->runtime_ns && end > now && end - now > left)
            left = end - now;
    }
    return (left + TORC_SEC - 1) / TORC_SEC;
}

static void print_line(const struct bench_run *run, struct totals rate, uint64_t left)
{
    const char *name = NULL;
    unsigned running = 0;
    for (unsigned i = 0; i < run->plan->instance_count; i++)
        if (is_running(run, i) && !running++)
            name = run->plan->instances[i].job->name;
    if (!name)
        return;
    fprintf(stderr, "\rtorc bench: %s", name);
    if (running > 1)
        fprintf(stderr, " and %u more", running - 1);
    struct bench_text bytes = bench_format(rate.bytes, 3, true, "B/s");
    int digits = (int)strspn(bytes.text, "0123456789.");
    fprintf(stderr, ": %s IOPS, %.*s %s", bench_format(rate.ios, 3, false, "").text, digits,
            bytes.text, bytes.text + digits);
    if (left)
        fprintf(stderr, ", %" PRIu64 " s left", left);
    fputs("\033[K", stderr);
    fflush(stderr);
}

int bench_progress(void *arg)
{
    struct bench_run *run = arg;
    struct torc_interval second;
    struct totals last = count_up(run);
    uint64_t then = torc_now_ns();
    torc_interval_init(&second, TORC_SEC);
    while (torc_interval_wait(&second) > 0) {
        struct totals all = count_up(run);
        uint64_t now = torc_now_ns();
        double seconds = (double)(now - then) / 1e9;
        /* The end of ramp_time sets the counts back. */
        if (all.ios >= last.ios)
            print_line(run,
                       (struct totals){(uint64_t)((double)(all.ios - last.ios) / seconds),
                                       (uint64_t)((double)(all.bytes - last.bytes) / seconds)},
                       seconds_left(run, now));
        last = all;
        then = now;
    }
    fputs("\r\033[K", stderr);
    return 0;
}
