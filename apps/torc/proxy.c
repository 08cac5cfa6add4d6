/* SPDX-License-Identifier: MIT
 *
 * `torc proxy`: every shard accepts connections and relays them to backends of its own choice. Shard 0 begins: it takes
 * the ports, so that one which is taken is said once and nothing has started yet, and says where it listens; then the
 * others follow, on the very ports that it has got.
 */
#include "apps/torc/proxy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/torc/commands.h"

#define DRAIN_SLACK_NS (5 * TORC_SEC) /* for closing, after the drain */

struct proxy {
    const struct proxy_spec *spec;
    struct proxy_shard *shards; /* PROXY_SHARDS_MAX of them; those that run are used */
    uint32_t shard_count;
    struct torc_signals signals;
    uint64_t began_ns;
    double seconds;          /* that it has served, at the end */
    struct torc_event begun; /* on shard 0: it listens, or has given up */
    int begin_error;
    bool has_begun;
    char address[PROXY_LISTEN_MAX][TORC_ADDRESS_TEXT_MAX]; /* where it listens */
};

struct server {
    struct proxy *proxy;
    struct torc_listener listener;
    struct torc_serve_options options;
};

static double seconds_since(uint64_t began_ns)
{
    return (double)(torc_now_ns() - began_ns) / (double)TORC_SEC;
}

/* ------ Reports */

static int map_report(void *arg, void *part)
{
    const struct proxy *proxy = (const struct proxy *)arg;
    proxy_report_shard((struct proxy_report *)part, &proxy->shards[torc_shard_id()], torc_now_ns());
    return 0;
}

static void reduce_report(void *total, const void *part)
{
    proxy_report_add((struct proxy_report *)total, (const struct proxy_report *)part);
}

/* Each SIGUSR1 has a table printed. */
static int watch_signals(void *arg)
{
    static const struct torc_map_reduce job = {map_report, reduce_report,
                                               sizeof(struct proxy_report)};
    static struct proxy_report report; /* too large for a stack, and there is one such task */
    struct proxy *proxy = (struct proxy *)arg;
    while (torc_signals_wait(&proxy->signals) > 0) {
        memset(&report, 0, sizeof report);
        if (torc_map_reduce(&job, proxy, &report))
            break;
        proxy_report_text(&report, proxy->spec, seconds_since(proxy->began_ns));
    }
    return 0; /* it is over, or ending: the last report is the end's */
}

static void report_end(const struct proxy *proxy)
{
    static struct proxy_report total, one;
    for (uint32_t i = 0; i < proxy->shard_count; i++) {
        proxy_report_shard(&one, &proxy->shards[i], UINT64_MAX);
        proxy_report_add(&total, &one);
    }
    if (proxy->spec->json)
        proxy_report_json(&total, proxy->spec, proxy->seconds);
    else if (!proxy->spec->quiet)
        proxy_report_text(&total, proxy->spec, proxy->seconds);
}

/* ------ A shard's life */

static uint32_t connections_of_shard(const struct proxy_spec *spec)
{
    uint32_t count = torc_shard_count();
    return (uint32_t)((spec->connections_max + count - 1) / count);
}

static int serve(void *arg)
{
    struct server *server = (struct server *)arg;
    return torc_serve_on(&server->listener, proxy_serve_connection, server->proxy->shards,
                         &server->options);
}

/* Whoever comes while the others are drained is to be refused, and not to wait for nothing. */
static int close_at_end(void *arg)
{
    struct server *server = (struct server *)arg;
    int err;
    do
        err = torc_sleep(3600 * TORC_SEC);
    while (!err);
    torc_listener_close(&server->listener);
    return 0;
}

static int say_why(const char *address, int err)
{
    char why[TORC_ADDRESS_WHY_BYTES];
    if (err != -ECANCELED)
        fprintf(stderr, "torc proxy: %s\n", torc_address_explain(address, err, why));
    return err;
}

/* Listens on everything. Shard 0 goes first, and the others take what it has got; but for Unix sockets, which can't be
 * shared: those are its own. */
static int listen_all(struct proxy *proxy, struct server *servers, unsigned *count)
{
    const struct proxy_spec *spec = proxy->spec;
    bool first = torc_shard_id() == 0;
    *count = 0;
    for (unsigned i = 0; i < spec->listen_count; i++) {
        const char *address = first ? spec->listen[i] : proxy->address[i];
        struct server *server = &servers[*count];
        if (!first && !strncmp(address, "unix:", 5))
            continue;
        *server = (struct server){
            .proxy = proxy,
            .options = {.socket = {.reuse_port = torc_shard_count() > 1},
                        .connections_max = connections_of_shard(spec),
                        .drain_ns = spec->drain_ns ? spec->drain_ns : 1},
        };
        int err = torc_listen(&server->listener, address, &server->options);
        if (err)
            return say_why(address, err);
        ++*count;
        if (first)
            torc_address_format(torc_listener_address(&server->listener), proxy->address[i]);
    }
    return 0;
}

static void say_where(const struct proxy *proxy)
{
    fputs("torc proxy: listening on", stderr);
    for (unsigned i = 0; i < proxy->spec->listen_count; i++)
        fprintf(stderr, "%s %s", i ? "," : "", proxy->address[i]);
    fprintf(stderr, "; %u backend%s, %u shard%s\n", proxy->spec->to_count,
            proxy->spec->to_count > 1 ? "s" : "", torc_shard_count(),
            torc_shard_count() > 1 ? "s" : "");
}

static int serve_all(struct proxy *proxy, struct server *servers, unsigned count)
{
    struct torc_scope all;
    torc_scope_init_with(&all, &(struct torc_scope_options){.cancel_on_error = true});
    int err = 0;
    for (unsigned i = 0; i < count && !err; i++) {
        err = torc_spawn(&all, serve, &servers[i]);
        if (!err)
            err = torc_spawn(&all, close_at_end, &servers[i]);
    }
    if (!err && torc_shard_id() == 0)
        err = torc_spawn(&all, watch_signals, proxy);
    if (err)
        torc_scope_cancel(&all);
    int joined = torc_scope_join(&all);
    return err ? err : joined;
}

static int begin_first(struct proxy *proxy, struct server *servers, unsigned *count)
{
    proxy->shard_count = torc_shard_count();
    proxy->began_ns = torc_now_ns();
    int err = torc_signals_open(&proxy->signals, &(const int){SIGUSR1}, 1);
    if (err) {
        fprintf(stderr, "torc proxy: SIGUSR1 can't be waited for: %s\n", strerror(-err));
        return err;
    }
    err = listen_all(proxy, servers, count);
    if (!err)
        say_where(proxy);
    proxy->has_begun = !err;
    return err;
}

/* On shard 0. */
static int wait_for_begin(void *arg)
{
    struct proxy *proxy = (struct proxy *)arg;
    int err = torc_event_wait(&proxy->begun);
    return err ? err : proxy->begin_error;
}

static int begin(struct proxy *proxy, struct server *servers, unsigned *count)
{
    int err;
    if (torc_shard_id() == 0) {
        err = begin_first(proxy, servers, count);
        proxy->begin_error = err ? -ECANCELED : 0; /* it has been said */
        torc_event_set(&proxy->begun);
    } else {
        err = torc_call(0, wait_for_begin, proxy);
        if (!err)
            err = listen_all(proxy, servers, count);
    }
    return err;
}

static int shard_main(void *arg)
{
    struct proxy *proxy = (struct proxy *)arg;
    struct proxy_shard *shard = &proxy->shards[torc_shard_id()];
    unsigned count = 0;
    shard->spec = proxy->spec;
    torci_link_init(&shard->connections);
    struct server *servers =
        (struct server *)torc_alloc(proxy->spec->listen_count * sizeof *servers);
    if (!servers) {
        fputs("torc proxy: out of memory\n", stderr);
        return -ENOMEM;
    }
    int err = begin(proxy, servers, &count);
    if (!err)
        err = serve_all(proxy, servers, count);
    for (unsigned i = 0; i < count; i++)
        torc_listener_close(&servers[i].listener);
    torc_free(servers);
    if (torc_shard_id() == 0 && proxy->has_begun) {
        proxy->seconds = seconds_since(proxy->began_ns);
        torc_signals_close(&proxy->signals);
    }
    return torc_is_shutting_down() && err == -ECANCELED ? 0 : err;
}

static int run(const struct proxy_spec *spec)
{
    struct proxy proxy = {.spec = spec};
    const struct torc_config config = {.shards = (uint32_t)spec->shards,
                                       .cpus = spec->cpus,
                                       .drain_ns = spec->drain_ns + DRAIN_SLACK_NS};
    proxy.shards = (struct proxy_shard *)calloc(PROXY_SHARDS_MAX, sizeof *proxy.shards);
    if (!proxy.shards) {
        fputs("torc proxy: out of memory\n", stderr);
        return 1;
    }
    torc_event_init(&proxy.begun);
    int result = torc_run(&config, shard_main, &proxy);
    if (proxy.has_begun)
        report_end(&proxy);
    free(proxy.shards);
    return result < 0 ? 1 : 0;
}

int torc_proxy_main(int argc, char **argv)
{
    struct proxy_spec spec;
    enum proxy_verdict verdict = proxy_spec_read(&spec, argc, argv);
    int status = verdict == PROXY_REFUSED ? 2 : 0;
    if (verdict == PROXY_RUN && spec.check)
        printf("torc proxy: the arguments are fine: %u to listen on, %u backend%s\n",
               spec.listen_count, spec.to_count, spec.to_count > 1 ? "s" : "");
    else if (verdict == PROXY_RUN)
        status = run(&spec);
    proxy_spec_free(&spec);
    return status;
}
