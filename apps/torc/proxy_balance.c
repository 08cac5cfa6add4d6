/* SPDX-License-Identifier: MIT
 *
 * Which backend is next, and what is believed of each from what it did:
 *
 *     in --N attempts in a row failed, or N connections in a row broke before a byte--> out
 *      ^                                                                                 |
 *      |                                                                                 | its time is up
 *      '-- the attempt succeeds -- on trial (one connection) <---------------------------'
 *                                     '-- it fails: out for twice as long
 *
 * Time is handed in; nothing here waits, allocates or prints.
 */
#include <errno.h>

#include "apps/torc/proxy.h"

static bool was_tried(const struct proxy_tried *tried, uint32_t index)
{
    return tried->map >> index & 1;
}

static bool is_in(const struct proxy_backend *backend, uint64_t now_ns)
{
    return !backend->out_until_ns || (backend->out_until_ns <= now_ns && !backend->on_trial);
}

/* The first, or the least busy, of those that are in; round robin between equals. */
static int choose_in(const struct proxy_shard *shard, const struct proxy_tried *tried,
                     uint64_t now_ns)
{
    const struct proxy_spec *spec = shard->spec;
    int best = -1;
    for (uint32_t i = 0; i < spec->to_count; i++) {
        uint32_t at = (shard->next + i) % spec->to_count;
        const struct proxy_backend *backend = &shard->backends[at];
        if (was_tried(tried, at) || !is_in(backend, now_ns))
            continue;
        if (spec->balance == PROXY_ROUND_ROBIN)
            return (int)at;
        if (best < 0 || backend->counts.active < shard->backends[best].counts.active)
            best = (int)at;
    }
    return best;
}

/* Better one that has failed than none at all: the one that would be back soonest. */
static int choose_out(const struct proxy_shard *shard, const struct proxy_tried *tried)
{
    int best = -1;
    for (uint32_t i = 0; i < shard->spec->to_count; i++)
        if (!was_tried(tried, i) &&
            (best < 0 || shard->backends[i].out_until_ns < shard->backends[best].out_until_ns))
            best = (int)i;
    return best;
}

int proxy_choose(struct proxy_shard *shard, struct proxy_tried *tried, uint64_t now_ns)
{
    int chosen = choose_in(shard, tried, now_ns);
    if (chosen < 0)
        chosen = choose_out(shard, tried);
    if (chosen < 0)
        return -ENOENT;
    struct proxy_backend *backend = &shard->backends[chosen];
    backend->on_trial = backend->out_until_ns != 0;
    /* counted from now on, or connections that come together would all find the same one idle */
    backend->counts.active++;
    tried->map |= UINT64_C(1) << chosen;
    shard->next = ((uint32_t)chosen + 1) % shard->spec->to_count;
    return chosen;
}

/* Twice as long as the last time if that is not long ago. */
static void eject(const struct proxy_spec *spec, struct proxy_backend *backend, uint64_t now_ns)
{
    uint64_t longest_ns = spec->eject_ns << PROXY_OUT_DOUBLINGS_MAX;
    bool again = backend->on_trial || now_ns < backend->was_out_ns + backend->out_ns;
    backend->out_ns = again && backend->out_ns ? 2 * backend->out_ns : spec->eject_ns;
    if (backend->out_ns > longest_ns)
        backend->out_ns = longest_ns;
    backend->out_until_ns = backend->was_out_ns = now_ns + backend->out_ns;
    backend->refused_in_row = backend->broken_in_row = 0;
    backend->counts.ejections++;
}

static void note_failure(const struct proxy_shard *shard, struct proxy_backend *backend,
                         uint32_t *in_row, uint64_t now_ns)
{
    bool is_out = backend->out_until_ns != 0;
    bool failed_trial = backend->on_trial && now_ns >= backend->out_until_ns;
    ++*in_row;
    if (failed_trial ||
        (!is_out && shard->spec->eject_after && *in_row >= shard->spec->eject_after))
        eject(shard->spec, backend, now_ns);
    backend->on_trial = false;
}

void proxy_connected(struct proxy_shard *shard, int index)
{
    struct proxy_backend *backend = &shard->backends[index];
    backend->counts.connections++;
    backend->refused_in_row = 0;
    backend->out_until_ns = 0;
    backend->on_trial = false;
}

void proxy_refused(struct proxy_shard *shard, int index, uint64_t now_ns)
{
    struct proxy_backend *backend = &shard->backends[index];
    backend->counts.active--;
    backend->counts.failures++;
    note_failure(shard, backend, &backend->refused_in_row, now_ns);
}

void proxy_gave_up(struct proxy_shard *shard, int index)
{
    struct proxy_backend *backend = &shard->backends[index];
    backend->counts.active--;
    backend->on_trial = false;
}

void proxy_ended(struct proxy_shard *shard, int index, bool broken, bool spoke, uint64_t now_ns)
{
    struct proxy_backend *backend = &shard->backends[index];
    backend->counts.active--;
    backend->counts.broken += broken;
    if (spoke || !broken)
        backend->broken_in_row = 0;
    else
        note_failure(shard, backend, &backend->broken_in_row, now_ns);
}
