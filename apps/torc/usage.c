/* SPDX-License-Identifier: MIT */
#include "apps/torc/usage.h"

#include <pthread.h>

static uint64_t ns_between(struct timeval from, struct timeval to)
{
    int64_t us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_usec - from.tv_usec);
    return us > 0 ? (uint64_t)us * 1000 : 0;
}

void bench_usage_start(struct bench_usage_meter *meter)
{
    getrusage(RUSAGE_THREAD, &meter->charged);
    if (pthread_getcpuclockid(pthread_self(), &meter->clock))
        meter->clock = CLOCK_THREAD_CPUTIME_ID;
}

struct bench_usage bench_usage_take(struct bench_usage_meter *meter)
{
    struct rusage now, *old = &meter->charged;
    getrusage(RUSAGE_THREAD, &now);
    struct bench_usage spent = {
        .user_ns = ns_between(old->ru_utime, now.ru_utime),
        .system_ns = ns_between(old->ru_stime, now.ru_stime),
        .switches = (uint64_t)(now.ru_nvcsw - old->ru_nvcsw + now.ru_nivcsw - old->ru_nivcsw),
        .major_faults = (uint64_t)(now.ru_majflt - old->ru_majflt),
        .minor_faults = (uint64_t)(now.ru_minflt - old->ru_minflt),
    };
    meter->charged = now;
    return spent;
}

void bench_usage_add_share(struct bench_usage *usage, const struct bench_usage *spent,
                           unsigned shares)
{
    usage->user_ns += spent->user_ns / shares;
    usage->system_ns += spent->system_ns / shares;
    usage->switches += spent->switches / shares;
    usage->major_faults += spent->major_faults / shares;
    usage->minor_faults += spent->minor_faults / shares;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    return clock_gettime(clock, &now) ? 0 : (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
}

uint64_t bench_usage_helpers_ns(const struct bench_usage_meter *meters, unsigned count)
{
    uint64_t known = 0;
    for (unsigned i = 0; i < count; i++)
        known += clock_ns(meters[i].clock);
    uint64_t all = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    return all > known ? all - known : 0;
}
