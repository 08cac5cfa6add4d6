/* SPDX-License-Identifier: MIT
 *
 * Processor time. What an executor's thread uses is charged, piece by piece, to the copies at work on it. Beside those
 * threads the kernel's workers (io-wq) serve the jobs: their time is what the process has used and no executor has.
 */
#ifndef TORC_APPS_USAGE_H
#define TORC_APPS_USAGE_H

#include <sys/resource.h>
#include <time.h>

#include "apps/torc/stats.h"

/* One executor's; on its own thread, but for bench_usage_helpers_ns. */
struct bench_usage_meter {
    struct rusage charged; /* up to here somebody has paid */
    unsigned payers;       /* copies at work on this executor */
    clockid_t clock;       /* of the thread, for others to read */
};

void bench_usage_start(struct bench_usage_meter *meter);
/* What the thread has used since the last call. */
struct bench_usage bench_usage_take(struct bench_usage_meter *meter);
/* Adds one of SHARES equal parts of SPENT. */
void bench_usage_add_share(struct bench_usage *usage, const struct bench_usage *spent,
                           unsigned shares);
/* What threads without a meter have used so far. All COUNT meters have been started, their threads live. */
uint64_t bench_usage_helpers_ns(const struct bench_usage_meter *meters, unsigned count);

#endif
