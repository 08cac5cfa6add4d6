/* SPDX-License-Identifier: MIT
 *
 * The report for programs. Every key is always there: what is not known, or does not apply, is null, and a limit that
 * is none is null with a key beside it that says so. Keys are added over time, never renamed.
 */
#include <string.h>
#include <torc.h>

#include "apps/torc/commands.h"
#include "apps/torc/info.h"
#include "apps/torc/json.h"

static void put_number(struct bench_json *json, const char *key, int64_t value)
{
    if (value < 0)
        bench_json_null(json, key);
    else
        bench_json_number(json, key, value);
}

static void put_limit(struct bench_json *json, const char *key, int64_t value)
{
    put_number(json, key, value == INFO_UNLIMITED ? INFO_UNKNOWN : value);
}

static void put_text(struct bench_json *json, const char *key, const char *value)
{
    if (value && value[0])
        bench_json_text(json, key, value);
    else
        bench_json_null(json, key);
}

static void put_switch(struct bench_json *json, const char *key, int64_t value)
{
    if (value < 0)
        bench_json_null(json, key);
    else
        bench_json_bool(json, key, value != 0);
}

static void put_machine(struct bench_json *json, const struct info_machine *m)
{
    bench_json_object(json, "kernel");
    put_text(json, "system", m->system);
    put_text(json, "release", m->release);
    put_text(json, "architecture", m->architecture);
    bench_json_end_object(json);
    bench_json_object(json, "machine");
    put_text(json, "cpu", m->cpu);
    put_number(json, "packages", m->packages);
    put_number(json, "cores", m->cores);
    put_number(json, "threads", m->threads);
    put_switch(json, "smt", m->cores > 0 ? m->threads > m->cores : INFO_UNKNOWN);
    put_number(json, "numa_nodes", m->numa_nodes);
    put_number(json, "l3_caches", m->l3_count);
    put_number(json, "l3_bytes", m->l3_bytes);
    put_number(json, "allowed", m->allowed);
    put_text(json, "allowed_cpus", m->allowed_cpus);
    put_number(json, "shards", m->shards);
    if (m->quota_milli == INFO_UNLIMITED)
        bench_json_null(json, "quota_cpus");
    else
        bench_json_fraction(json, "quota_cpus", (double)m->quota_milli / 1000);
    put_number(json, "memory_bytes", m->memory_bytes);
    bench_json_end_object(json);
}

static void put_items(struct bench_json *json, const char *key, const struct torc_ring_info *ring,
                      enum torc_ring_kind kind)
{
    struct torc_ring_item item;
    bench_json_array(json, key);
    for (uint32_t number = 0; torc_ring_item_get(ring, kind, number, &item); number++) {
        bench_json_object(json, NULL);
        bench_json_count(json, "number", number);
        bench_json_text(json, "name", item.name);
        bench_json_text(json, "since", item.since);
        bench_json_bool(json, "present", item.is_there);
        bench_json_bool(json, "used_by_torc", item.is_used);
        if (kind == TORC_RING_SETUP)
            bench_json_bool(json, "in_use", !ring->error && (ring->setup_flags >> number & 1));
        bench_json_end_object(json);
    }
    bench_json_end_array(json);
}

static void put_ring(struct bench_json *json, const struct torc_ring_info *ring)
{
    bench_json_object(json, "io_uring");
    bench_json_bool(json, "available", !ring->error);
    bench_json_number(json, "error", ring->error);
    put_text(json, "why", ring->why);
    if (ring->error) {
        bench_json_null(json, "rung");
    } else {
        bench_json_object(json, "rung");
        bench_json_count(json, "number", ring->rung + 1);
        bench_json_count(json, "count", ring->rungs);
        bench_json_text(json, "name", ring->rung_name);
        bench_json_end_object(json);
    }
    put_items(json, "setup_flags", ring, TORC_RING_SETUP);
    put_items(json, "features", ring, TORC_RING_FEATURE);
    put_items(json, "operations", ring, TORC_RING_OP);
    bench_json_count(json, "newer_operations", ring->newer_ops);
    put_items(json, "abilities", ring, TORC_RING_ABILITY);
    bench_json_end_object(json);
}

static void put_limits(struct bench_json *json, const struct info_limits *l)
{
    bench_json_object(json, "limits");
    put_limit(json, "locked_memory_bytes", l->locked_soft);
    put_limit(json, "locked_memory_hard_bytes", l->locked_hard);
    bench_json_bool(json, "locked_memory_unlimited",
                    l->may_lock_more || l->locked_soft == INFO_UNLIMITED);
    put_limit(json, "open_files", l->files_soft);
    put_limit(json, "open_files_hard", l->files_hard);
    put_number(json, "io_uring_disabled", l->uring_disabled);
    put_number(json, "max_map_count", l->maps_max);
    bench_json_bool(json, "guard_markers", l->has_guard_markers);
    put_number(json, "huge_page_bytes", l->huge_page_bytes);
    put_number(json, "huge_pages", l->huge_pages);
    put_number(json, "huge_pages_free", l->huge_pages_free);
    put_text(json, "transparent_huge_pages", l->transparent);
    put_text(json, "clock_source", l->clock);
    bench_json_bool(json, "counter_trusted", l->counter_is_trusted);
    bench_json_end_object(json);
}

static void put_device(struct bench_json *json, const struct info_device *d)
{
    bench_json_object(json, NULL);
    bench_json_text(json, "name", d->name);
    put_text(json, "driver", d->driver);
    put_text(json, "model", d->model);
    put_number(json, "size_bytes", d->size_bytes);
    put_text(json, "scheduler", d->scheduler);
    put_number(json, "queue_depth", d->queue_depth);
    put_number(json, "hardware_queues", d->hardware_queues);
    put_switch(json, "rotational", d->rotational);
    put_switch(json, "read_only", d->read_only);
    put_text(json, "write_cache", d->write_cache);
    put_switch(json, "fua", d->fua);
    put_switch(json, "io_poll", d->io_poll);
    if (d->io_poll < 0)
        bench_json_null(json, "io_poll_delay");
    else
        bench_json_number(json, "io_poll_delay", d->io_poll_delay);
    put_number(json, "poll_queues", d->poll_queues);
    put_number(json, "logical_block_bytes", d->logical_bytes);
    put_number(json, "physical_block_bytes", d->physical_bytes);
    put_number(json, "dio_offset_align", d->logical_bytes);
    put_number(json, "dio_memory_align", d->memory_align);
    put_number(json, "io_min_bytes", d->io_min_bytes);
    put_number(json, "io_optimal_bytes", d->io_optimal_bytes);
    put_number(json, "io_max_bytes", d->io_max_bytes);
    put_switch(json, "discard", d->discard_max_bytes);
    put_number(json, "discard_max_bytes", d->discard_max_bytes);
    put_number(json, "atomic_write_max_bytes", d->atomic_write_max_bytes);
    put_number(json, "write_back_latency_us", d->write_back_latency_us);
    put_text(json, "zoned", d->zoned);
    bench_json_array(json, "mounts");
    for (unsigned i = 0; i < d->mount_count; i++)
        bench_json_text(json, NULL, d->mounts[i]);
    bench_json_end_array(json);
    bench_json_end_object(json);
}

void info_print_json(const struct info *info, FILE *out)
{
    struct bench_json json;
    bench_json_init(&json, out);
    bench_json_object(&json, NULL);
    bench_json_object(&json, "torc");
    bench_json_text(&json, "version", TORC_APP_VERSION);
    bench_json_end_object(&json);
    put_machine(&json, &info->machine);
    put_ring(&json, info->ring);
    put_limits(&json, &info->limits);
    info_put_arenas(&json, &info->arenas);
    bench_json_array(&json, "devices");
    for (unsigned i = 0; i < info->devices.count; i++)
        put_device(&json, &info->devices.items[i]);
    bench_json_end_array(&json);
    bench_json_array(&json, "missing");
    for (unsigned i = 0; i < info->hint_count; i++) {
        bench_json_object(&json, NULL);
        bench_json_text(&json, "what", info->hints[i].what);
        bench_json_text(&json, "mend", info->hints[i].mend);
        bench_json_end_object(&json);
    }
    bench_json_end_array(&json);
    bench_json_end_object(&json);
}
