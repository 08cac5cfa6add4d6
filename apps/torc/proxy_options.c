/* SPDX-License-Identifier: MIT
 *
 * The command line of `torc proxy`. Everything is looked at before anything is started, addresses too; only names are
 * left to be looked up when they are connected to, since who they belong to changes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/torc/proxy.h"
#include "apps/torc/units.h"

enum { COUNT_MAX = 100 * 1000 * 1000 };
#define DAYS_MAX_NS (365 * 24 * 3600 * TORC_SEC)

static const char HELP[] =
    "torc proxy: passes connections on to backends, byte for byte\n\n"
    "usage: torc proxy --listen ADDRESS --to ADDRESS[,ADDRESS]... [OPTION]...\n\n"
    "  --listen A[,A]...     where to accept: tcp://:8080, tcp://[::1]:8080, unix:/run/p.sock;\n"
    "                        port 0: the kernel chooses, and the first line says which\n"
    "  --to A[,A]...         the backends, of the same forms, names too; again to add more\n"
    "  --balance HOW         round-robin (default), or least-connections; each shard counts\n"
    "                        its own\n"
    "  --connect-timeout T   for one attempt, with the lookup of its name (5s)\n"
    "  --attempts N          backends that are tried for one connection (3)\n"
    "  --idle-timeout T      nothing moved either way (10m; 0: never)\n"
    "  --half-close-timeout T  the same once one side has ended (1m; 0: never)\n"
    "  --connections N       at most so many at a time; more wait in the kernel (no limit)\n"
    "  --eject-after N       failures in a row after which a backend is left out (3; 0: never)\n"
    "  --eject-time T        for so long, doubled each time up to 32 times that (10s); then\n"
    "                        one connection tries it\n"
    "  --drain T             what is connected may go on for so long after SIGTERM (10s)\n"
    "  --shards N            threads (one a CPU)\n"
    "  --cpus LIST           on these CPUs: 0-3,8\n"
    "  --json                the counters at the end as a JSON document on standard output\n"
    "  --quiet               no counters at the end\n"
    "  --check               look at the arguments, start nothing\n"
    "  --help                this page\n\n"
    "Times: 250ms, 5s, 2m, 1h; a bare number is seconds. SIGUSR1 prints the counters, SIGTERM\n"
    "and SIGINT stop accepting and drain, a second one ends at once. Exit status: 0 after an\n"
    "orderly end, 1 if it could not run, 2 if the arguments are wrong.\n\n"
    "examples:\n"
    "  torc proxy --listen tcp://:8080 --to tcp://app1:80,tcp://app2:80\n"
    "  torc proxy --listen tcp://:5432 --to tcp://db1:5432,tcp://db2:5432 \\\n"
    "             --balance least-connections --idle-timeout 0\n"
    "  torc proxy --listen tcp://:6379 --to unix:/run/valkey.sock --shards 1\n"
    "  torc proxy --listen unix:/run/app.sock --to tcp://10.0.0.5:80 --json >counters.json\n"
    "  kill -USR1 $(pidof torc)                                the counters until now\n";

/* VALUE is NULL for a switch. False: it has said why. */
typedef bool read_fn(struct proxy_spec *spec, const char *name, char *value);

struct option {
    const char *name;
    read_fn *read;
    bool takes_value;
};

static bool refuse(const char *name, const char *value, const char *why)
{
    fprintf(stderr, "torc proxy: %s %s: %s\n", name, value, why);
    return false;
}

static bool read_addresses(char *value, char **list, unsigned *count, unsigned max,
                           const char *name)
{
    for (char *rest = value, *text; (text = strsep(&rest, ","));) {
        if (*count == max) {
            fprintf(stderr, "torc proxy: %s: more than %u addresses\n", name, max);
            return false;
        }
        list[*count] = strdup(text);
        if (!list[*count])
            return refuse(name, text, "out of memory");
        ++*count;
    }
    return true;
}

static bool read_listen(struct proxy_spec *spec, const char *name, char *value)
{
    return read_addresses(value, spec->listen, &spec->listen_count, PROXY_LISTEN_MAX, name);
}

static bool read_to(struct proxy_spec *spec, const char *name, char *value)
{
    return read_addresses(value, spec->to, &spec->to_count, PROXY_BACKENDS_MAX, name);
}

static bool read_balance(struct proxy_spec *spec, const char *name, char *value)
{
    if (!strcmp(value, "round-robin") || !strcmp(value, "roundrobin"))
        spec->balance = PROXY_ROUND_ROBIN;
    else if (!strcmp(value, "least-connections") || !strcmp(value, "leastconn"))
        spec->balance = PROXY_LEAST_CONNECTIONS;
    else
        return refuse(name, value, "must be round-robin or least-connections");
    return true;
}

static bool read_time(uint64_t *ns, const char *name, const char *value, bool zero)
{
    if (bench_parse_time(value, TORC_SEC, ns))
        return refuse(name, value, "is no time: write 250ms, 5s, 2m or 1h");
    if (*ns > DAYS_MAX_NS)
        return refuse(name, value, "must be a year at most");
    if (!*ns && !zero)
        return refuse(name, value, "must be more than 0");
    return true;
}

static bool read_count(uint64_t *count, const char *name, const char *value, uint64_t min,
                       uint64_t max)
{
    int64_t number;
    if (!bench_parse_integer(value, &number) && number >= (int64_t)min && number <= (int64_t)max) {
        *count = (uint64_t)number;
        return true;
    }
    fprintf(stderr, "torc proxy: %s %s: must be a number from %u to %u\n", name, value,
            (unsigned)min, (unsigned)max);
    return false;
}

static bool read_connect(struct proxy_spec *spec, const char *name, char *value)
{
    return read_time(&spec->connect_ns, name, value, false);
}

static bool read_idle(struct proxy_spec *spec, const char *name, char *value)
{
    return read_time(&spec->idle_ns, name, value, true);
}

static bool read_half_close(struct proxy_spec *spec, const char *name, char *value)
{
    return read_time(&spec->half_close_ns, name, value, true);
}

static bool read_drain(struct proxy_spec *spec, const char *name, char *value)
{
    return read_time(&spec->drain_ns, name, value, true);
}

static bool read_eject_time(struct proxy_spec *spec, const char *name, char *value)
{
    return read_time(&spec->eject_ns, name, value, false);
}

static bool read_attempts(struct proxy_spec *spec, const char *name, char *value)
{
    return read_count(&spec->attempts, name, value, 1, PROXY_BACKENDS_MAX);
}

static bool read_eject_after(struct proxy_spec *spec, const char *name, char *value)
{
    return read_count(&spec->eject_after, name, value, 0, COUNT_MAX);
}

static bool read_connections(struct proxy_spec *spec, const char *name, char *value)
{
    return read_count(&spec->connections_max, name, value, 1, COUNT_MAX);
}

static bool read_shards(struct proxy_spec *spec, const char *name, char *value)
{
    return read_count(&spec->shards, name, value, 1, PROXY_SHARDS_MAX);
}

static bool read_cpus(struct proxy_spec *spec, const char *name, char *value)
{
    (void)name;
    spec->cpus = value;
    return true;
}

static bool read_json(struct proxy_spec *spec, const char *name, char *value)
{
    (void)name, (void)value;
    return spec->json = true;
}

static bool read_quiet(struct proxy_spec *spec, const char *name, char *value)
{
    (void)name, (void)value;
    return spec->quiet = true;
}

static bool read_check(struct proxy_spec *spec, const char *name, char *value)
{
    (void)name, (void)value;
    return spec->check = true;
}

static const struct option OPTIONS[] = {
    {"--listen", read_listen, true},
    {"--to", read_to, true},
    {"--balance", read_balance, true},
    {"--connect-timeout", read_connect, true},
    {"--attempts", read_attempts, true},
    {"--idle-timeout", read_idle, true},
    {"--half-close-timeout", read_half_close, true},
    {"--connections", read_connections, true},
    {"--eject-after", read_eject_after, true},
    {"--eject-time", read_eject_time, true},
    {"--drain", read_drain, true},
    {"--shards", read_shards, true},
    {"--cpus", read_cpus, true},
    {"--json", read_json, false},
    {"--quiet", read_quiet, false},
    {"--check", read_check, false},
};

/* "--name value" or "--name=value" at *AT, which moves to the last argument that was used. */
static bool read_option(struct proxy_spec *spec, int argc, char **argv, int *at)
{
    char *text = argv[*at];
    size_t length = strcspn(text, "=");
    for (size_t i = 0; i < sizeof OPTIONS / sizeof OPTIONS[0]; i++) {
        const struct option *option = &OPTIONS[i];
        if (strlen(option->name) != length || strncmp(option->name, text, length) != 0)
            continue;
        char *value = text[length] ? text + length + 1 : NULL;
        if (!option->takes_value && value) {
            fprintf(stderr, "torc proxy: %s takes no value\n", option->name);
            return false;
        }
        if (option->takes_value && !value && *at + 1 < argc)
            value = argv[++*at];
        if (option->takes_value && (!value || !*value)) {
            fprintf(stderr, "torc proxy: %s needs a value\n", option->name);
            return false;
        }
        return option->read(spec, option->name, value);
    }
    fprintf(stderr, "torc proxy: no option is called \"%.*s\"; `torc proxy --help` lists them\n",
            (int)length, text);
    return false;
}

/* BACKEND: to be connected to, so it must say where. */
static bool check_address(const char *text, bool backend)
{
    char why[TORC_ADDRESS_WHY_BYTES];
    struct torc_address address = {0};
    int err = torc_address_parse(text, &address);
    if (err && err != -EDESTADDRREQ) {
        fprintf(stderr, "torc proxy: %s\n", torc_address_explain(text, err, why));
        return false;
    }
    if (!strncmp(text, "udp:", 4) || !strncmp(text, "unixgram:", 9))
        return refuse(backend ? "--to" : "--listen", text,
                      "datagrams are not passed on: write tcp:// or unix:");
    if (backend && !err && address.transport == TORC_TCP && !torc_address_port(&address))
        return refuse("--to", text, "a backend needs a port");
    if (backend && !strncmp(text, "tcp://:", 7))
        return refuse("--to", text, "a backend needs a host");
    return true;
}

static bool check(struct proxy_spec *spec)
{
    if (!spec->listen_count || !spec->to_count) {
        fprintf(stderr,
                "torc proxy: %s is missing: torc proxy --listen tcp://:8080 --to tcp://app1:80\n",
                spec->listen_count ? "--to" : "--listen");
        return false;
    }
    for (unsigned i = 0; i < spec->listen_count; i++) {
        if (!check_address(spec->listen[i], false))
            return false;
        for (unsigned j = 0; j < i; j++)
            if (!strcmp(spec->listen[i], spec->listen[j]))
                return refuse("--listen", spec->listen[i], "is given twice");
    }
    for (unsigned i = 0; i < spec->to_count; i++)
        if (!check_address(spec->to[i], true))
            return false;
    return true;
}

enum proxy_verdict proxy_spec_read(struct proxy_spec *spec, int argc, char **argv)
{
    *spec = (struct proxy_spec){
        .connect_ns = 5 * TORC_SEC,
        .attempts = 3,
        .idle_ns = 600 * TORC_SEC,
        .half_close_ns = 60 * TORC_SEC,
        .drain_ns = 10 * TORC_SEC,
        .eject_after = 3,
        .eject_ns = 10 * TORC_SEC,
    };
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(HELP, stdout);
            return PROXY_DONE;
        }
    for (int i = 1; i < argc; i++)
        if (!read_option(spec, argc, argv, &i))
            return PROXY_REFUSED;
    return check(spec) ? PROXY_RUN : PROXY_REFUSED;
}

void proxy_spec_free(struct proxy_spec *spec)
{
    for (unsigned i = 0; i < spec->listen_count; i++)
        free(spec->listen[i]);
    for (unsigned i = 0; i < spec->to_count; i++)
        free(spec->to[i]);
}
