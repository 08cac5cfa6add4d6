/* SPDX-License-Identifier: MIT
 *
 * One connection of `torc proxy`: a backend is found, bytes are moved, and each side is told how the other ended: an end
 * as an end, everything else (a reset, a timeout, the end of the drain) as a reset, so that nobody takes a part for the
 * whole.
 */
#include <errno.h>

#include "apps/torc/proxy.h"

/* Trouble of our own, that another backend would not mend. */
static bool is_ours(int err)
{
    return err == -ECANCELED || err == -EMFILE || err == -ENFILE || err == -ENOMEM ||
           err == -ENOBUFS;
}

/* Its index, or -ENOENT. */
static int connect_backend(struct proxy_shard *shard, struct torc_stream *backend)
{
    const struct proxy_spec *spec = shard->spec;
    const struct torc_connect_options options = {.timeout_ns = spec->connect_ns};
    struct proxy_tried tried = {0};
    for (uint64_t attempt = 0; attempt < spec->attempts; attempt++) {
        int index = proxy_choose(shard, &tried, torc_now_ns());
        if (index < 0)
            return -ENOENT;
        shard->retries += attempt > 0;
        int err = torc_connect(backend, spec->to[index], &options);
        if (!err) {
            proxy_connected(shard, index);
            return index;
        }
        if (is_ours(err)) {
            proxy_gave_up(shard, index);
            return -ENOENT;
        }
        proxy_refused(shard, index, torc_now_ns());
    }
    return -ENOENT;
}

static void end_both(struct proxy_shard *shard, const struct torc_relay_result *result,
                     struct torc_stream *client, struct torc_stream *backend)
{
    bool whole_client = false, whole_backend = false; /* they have got all that there was */
    switch (result->end) {
    case TORC_RELAY_DONE: whole_client = whole_backend = true; break;
    case TORC_RELAY_A_FAILED:
        whole_backend = result->a_ended;
        shard->lost++;
        break;
    case TORC_RELAY_B_FAILED: whole_client = result->b_ended; break;
    case TORC_RELAY_IDLE: shard->idle++; break;
    case TORC_RELAY_INTERRUPTED: shard->cut++; break;
    case TORC_RELAY_LIMIT: break;
    }
    if (whole_backend)
        torc_stream_close(backend);
    else
        torc_stream_abort(backend);
    if (whole_client)
        torc_stream_close(client);
    else
        torc_stream_abort(client);
}

int proxy_serve_connection(struct torc_stream *client, void *arg)
{
    struct proxy_shard *shard = ((const struct proxy_server *)arg)->shard;
    const struct proxy_spec *spec = shard->spec;
    const struct torc_relay_options options = {.idle_ns = spec->idle_ns,
                                               .half_idle_ns = spec->half_close_ns};
    struct proxy_connection connection = {.index = -1};
    struct torc_stream backend;
    shard->accepted++;
    connection.index = connect_backend(shard, &backend);
    if (connection.index < 0) {
        shard->unserved++;
        torc_stream_abort(client);
        return 0;
    }
    torci_list_push_back(&shard->connections, &connection.link);
    int err = torc_relay(client, &backend, &options, &connection.result);
    (void)err; /* the result says more */
    torci_list_unlink(&connection.link);
    const struct torc_relay_result *result = &connection.result;
    struct proxy_counts *counts = &shard->backends[connection.index].counts;
    counts->to_bytes += result->a_to_b_bytes;
    counts->from_bytes += result->b_to_a_bytes;
    proxy_ended(shard, connection.index, result->end == TORC_RELAY_B_FAILED && !result->b_ended,
                result->b_to_a_bytes > 0, torc_now_ns());
    end_both(shard, result, client, &backend);
    return 0;
}
