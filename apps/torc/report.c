/* SPDX-License-Identifier: MIT
 *
 * What both reports compute in the same way.
 */
#include "apps/torc/report.h"

double bench_per_second(uint64_t amount, uint64_t ns)
{
    return ns ? (double)amount * 1e9 / (double)ns : 0;
}

uint64_t bench_to_ms(uint64_t ns)
{
    return (ns + TORC_MS / 2) / TORC_MS;
}

const char *bench_mode_name(const struct bench_job *job)
{
    if (job->does[BENCH_READ] && job->does[BENCH_WRITE])
        return job->random ? "randrw" : "rw";
    if (job->does[BENCH_WRITE])
        return job->random ? "randwrite" : "write";
    return job->random ? "randread" : "read";
}

static void add_to_total(struct bench_group_total *total, const struct bench_direction_stats *s)
{
    uint64_t rate = (uint64_t)bench_per_second(s->bytes, s->runtime_ns);
    uint64_t ms = bench_to_ms(s->runtime_ns);
    bool first = !total->bytes;
    total->bytes += s->bytes;
    if (first || rate < total->slowest)
        total->slowest = rate;
    if (rate > total->fastest)
        total->fastest = rate;
    if (first || ms < total->shortest_ms)
        total->shortest_ms = ms;
    if (ms > total->longest_ms)
        total->longest_ms = ms;
}

struct bench_group_total bench_report_total(const struct bench_report *report, unsigned group,
                                            enum bench_direction direction)
{
    struct bench_group_total total = {0};
    uint64_t longest_ns = 0;
    for (unsigned i = 0; i < report->result_count; i++) {
        const struct bench_result *result = &report->results[i];
        const struct bench_direction_stats *s = &result->stats->direction[direction];
        if (result->group != group || !s->bytes)
            continue;
        add_to_total(&total, s);
        if (s->runtime_ns > longest_ns)
            longest_ns = s->runtime_ns;
    }
    total.bytes_per_second = (uint64_t)bench_per_second(total.bytes, longest_ns);
    return total;
}
