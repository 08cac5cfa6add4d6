/* SPDX-License-Identifier: MIT
 *
 * `torc proxy`: every shard serves every address, and relays what it accepts to backends of its own choice. When shard 0
 * listens on all of them it says where.
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
    double seconds;                                        /* that it has served, at the end */
    unsigned listening;                                    /* on so many addresses does shard 0 */
    char address[PROXY_LISTEN_MAX][TORC_ADDRESS_TEXT_MAX]; /* which they are */
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

static void say_where(const struct proxy *proxy)
{
    fputs("torc proxy: listening on", stderr);
    for (unsigned i = 0; i < proxy->spec->listen_count; i++)
        fprintf(stderr, "%s %s", i ? "," : "", proxy->address[i]);
    fprintf(stderr, "; %u backend%s, %u shard%s\n", proxy->spec->to_count,
            proxy->spec->to_count > 1 ? "s" : "", torc_shard_count(),
            torc_shard_count() > 1 ? "s" : "");
}

static void on_listening(const struct torc_address *address, void *arg)
{
    const struct proxy_server *server = (const struct proxy_server *)arg;
    struct proxy *proxy = server->proxy;
    if (torc_shard_id() != 0)
        return;
    torc_address_format(address, proxy->address[server->index]);
    if (++proxy->listening == proxy->spec->listen_count)
        say_where(proxy);
}

static int serve(void *arg)
{
    const struct proxy_server *server = (const struct proxy_server *)arg;
    const struct proxy_spec *spec = server->proxy->spec;
    uint32_t shards = torc_shard_count();
    const struct torc_serve_options options = {
        .connections_max = (uint32_t)((spec->connections_max + shards - 1) / shards),
        .drain_ns = spec->drain_ns ? spec->drain_ns : 1,
        .listening = on_listening,
    };
    return torc_serve(spec->listen[server->index], proxy_serve_connection, arg, &options);
}

static int serve_all(struct proxy *proxy, struct proxy_server *servers)
{
    struct torc_scope all;
    torc_scope_init_with(&all, &(struct torc_scope_options){.cancel_on_error = true});
    int err = 0;
    for (unsigned i = 0; i < proxy->spec->listen_count && !err; i++) {
        servers[i] = (struct proxy_server){proxy, &proxy->shards[torc_shard_id()], i};
        err = torc_spawn(&all, serve, &servers[i]);
    }
    if (!err && torc_shard_id() == 0)
        err = torc_spawn(&all, watch_signals, proxy);
    if (err)
        torc_scope_cancel(&all);
    int joined = torc_scope_join(&all);
    return err ? err : joined;
}

/* What there is once: on shard 0. */
static int begin(struct proxy *proxy)
{
    proxy->shard_count = torc_shard_count();
    proxy->began_ns = torc_now_ns();
    int err = torc_signals_open(&proxy->signals, &(const int){SIGUSR1}, 1);
    if (err)
        fprintf(stderr, "torc proxy: SIGUSR1 can't be waited for: %s\n", strerror(-err));
    return err;
}

static void end(struct proxy *proxy)
{
    proxy->seconds = seconds_since(proxy->began_ns);
    torc_signals_close(&proxy->signals);
}

static int shard_main(void *arg)
{
    struct proxy *proxy = (struct proxy *)arg;
    struct proxy_shard *shard = &proxy->shards[torc_shard_id()];
    struct proxy_server servers[PROXY_LISTEN_MAX];
    bool first = torc_shard_id() == 0;
    shard->spec = proxy->spec;
    torci_link_init(&shard->connections);
    int err = first ? begin(proxy) : 0;
    if (err)
        return err;
    err = serve_all(proxy, servers);
    if (first)
        end(proxy);
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
    int result = torc_run(&config, shard_main, &proxy);
    if (proxy.listening == spec->listen_count)
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
