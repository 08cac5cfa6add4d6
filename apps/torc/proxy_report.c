/* SPDX-License-Identifier: MIT
 *
 * What `torc proxy` tells of its connections: a table on standard error, or a JSON document on standard output.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apps/torc/format.h"
#include "apps/torc/json.h"
#include "apps/torc/proxy.h"

enum { NAME_WIDTH_MIN = 7, NAME_WIDTH_MAX = 40 };

static void add_counts(struct proxy_counts *total, const struct proxy_counts *counts)
{
    total->connections += counts->connections;
    total->failures += counts->failures;
    total->broken += counts->broken;
    total->ejections += counts->ejections;
    total->active += counts->active;
    total->to_bytes += counts->to_bytes;
    total->from_bytes += counts->from_bytes;
}

void proxy_report_shard(struct proxy_report *report, const struct proxy_shard *shard,
                        uint64_t now_ns)
{
    *report = (struct proxy_report){
        .accepted = shard->accepted,
        .unserved = shard->unserved,
        .retries = shard->retries,
        .idle = shard->idle,
        .cut = shard->cut,
        .lost = shard->lost,
        .shards = 1,
    };
    for (unsigned i = 0; i < shard->spec->to_count; i++) {
        report->backends[i] = shard->backends[i].counts;
        report->out[i] = shard->backends[i].out_until_ns > now_ns;
    }
    const struct torci_link *at;
    torci_list_each (at, &shard->connections) {
        const struct proxy_connection *connection =
            TORC_CONTAINER_OF(at, struct proxy_connection, link);
        report->backends[connection->index].to_bytes += connection->result.a_to_b_bytes;
        report->backends[connection->index].from_bytes += connection->result.b_to_a_bytes;
    }
}

void proxy_report_add(struct proxy_report *total, const struct proxy_report *report)
{
    total->accepted += report->accepted;
    total->unserved += report->unserved;
    total->retries += report->retries;
    total->idle += report->idle;
    total->cut += report->cut;
    total->lost += report->lost;
    total->shards += report->shards;
    for (int i = 0; i < PROXY_BACKENDS_MAX; i++) {
        add_counts(&total->backends[i], &report->backends[i]);
        total->out[i] += report->out[i];
    }
}

static struct proxy_counts sum(const struct proxy_report *report)
{
    struct proxy_counts all = {0};
    for (int i = 0; i < PROXY_BACKENDS_MAX; i++)
        add_counts(&all, &report->backends[i]);
    return all;
}

static void print_line(const char *name, int width, const struct proxy_counts *counts,
                       const char *state)
{
    fprintf(stderr,
            "  %-*s %8" PRIu64 " %12" PRIu64 " %9" PRIu64 " %9" PRIu64 " %8" PRIu64
            " %11s %13s%s\n",
            width, name, counts->active, counts->connections, counts->failures, counts->broken,
            counts->ejections, bench_format(counts->to_bytes, 4, true, "B").text,
            bench_format(counts->from_bytes, 4, true, "B").text, state);
}

void proxy_report_text(const struct proxy_report *report, const struct proxy_spec *spec,
                       double seconds)
{
    const struct proxy_counts all = sum(report);
    int width = NAME_WIDTH_MIN;
    for (unsigned i = 0; i < spec->to_count; i++)
        if ((int)strlen(spec->to[i]) > width)
            width = (int)strlen(spec->to[i]);
    if (width > NAME_WIDTH_MAX)
        width = NAME_WIDTH_MAX;
    fprintf(stderr,
            "torc proxy: %.1f s: %" PRIu64 " accepted, %" PRIu64 " unserved, %" PRIu64
            " retries, %" PRIu64 " idle, %" PRIu64 " cut, %" PRIu64 " lost\n",
            seconds, report->accepted, report->unserved, report->retries, report->idle, report->cut,
            report->lost);
    fprintf(stderr, "  %-*s %8s %12s %9s %9s %8s %11s %13s\n", width, "backend", "active",
            "connections", "failures", "broken", "ejected", "to it", "from it");
    for (unsigned i = 0; i < spec->to_count; i++)
        print_line(spec->to[i], width, &report->backends[i], report->out[i] ? "  out" : "");
    if (spec->to_count > 1)
        print_line("total", width, &all, "");
}

static void write_counts(struct bench_json *json, const struct proxy_counts *counts)
{
    bench_json_count(json, "active", counts->active);
    bench_json_count(json, "connections", counts->connections);
    bench_json_count(json, "failures", counts->failures);
    bench_json_count(json, "broken", counts->broken);
    bench_json_count(json, "ejections", counts->ejections);
    bench_json_count(json, "to_bytes", counts->to_bytes);
    bench_json_count(json, "from_bytes", counts->from_bytes);
}

void proxy_report_json(const struct proxy_report *report, const struct proxy_spec *spec,
                       double seconds)
{
    const struct proxy_counts all = sum(report);
    struct bench_json json;
    bench_json_init(&json, stdout);
    bench_json_object(&json, NULL);
    bench_json_fraction(&json, "seconds", seconds);
    bench_json_count(&json, "shards", report->shards);
    bench_json_count(&json, "accepted", report->accepted);
    bench_json_count(&json, "unserved", report->unserved);
    bench_json_count(&json, "retries", report->retries);
    bench_json_count(&json, "idle", report->idle);
    bench_json_count(&json, "cut", report->cut);
    bench_json_count(&json, "lost", report->lost);
    bench_json_array(&json, "backends");
    for (unsigned i = 0; i < spec->to_count; i++) {
        bench_json_object(&json, NULL);
        bench_json_text(&json, "address", spec->to[i]);
        bench_json_bool(&json, "out", report->out[i] > 0);
        write_counts(&json, &report->backends[i]);
        bench_json_end_object(&json);
    }
    bench_json_end_array(&json);
    bench_json_object(&json, "total");
    write_counts(&json, &all);
    bench_json_end_object(&json);
    bench_json_end_object(&json);
    putchar('\n');
}
