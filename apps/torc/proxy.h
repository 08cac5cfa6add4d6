/* SPDX-License-Identifier: MIT
 *
 * `torc proxy`: what its parts share. proxy_options.c makes the spec, proxy_balance.c chooses backends and keeps their
 * books, proxy_relay.c serves a connection, proxy_report.c tells what there was, proxy.c runs it all.
 *
 * Every shard has a struct proxy_shard of its own and chooses by what it has seen itself; only reports look at them all:
 * by a call to each shard while they run, directly when they have ended.
 */
#ifndef TORC_APPS_PROXY_H
#define TORC_APPS_PROXY_H

#include <torc.h>

enum {
    PROXY_LISTEN_MAX = 16,
    PROXY_BACKENDS_MAX = 64,
    PROXY_SHARDS_MAX = 1024,
    PROXY_OUT_DOUBLINGS_MAX = 5, /* of the time that a backend is left out */
};

struct proxy;

enum proxy_balance { PROXY_ROUND_ROBIN, PROXY_LEAST_CONNECTIONS };

/* What the command line says; read only once it is made. */
struct proxy_spec {
    char *listen[PROXY_LISTEN_MAX];
    char *to[PROXY_BACKENDS_MAX];
    unsigned listen_count, to_count;
    enum proxy_balance balance;
    uint64_t connect_ns; /* for one attempt, its lookup included */
    uint64_t attempts;   /* different backends that are tried for one connection */
    uint64_t idle_ns, half_close_ns, drain_ns;
    uint64_t eject_after; /* failures in a row; 0: never */
    uint64_t eject_ns;
    uint64_t connections_max; /* all shards together; 0: none */
    uint64_t shards;          /* 0: one a CPU */
    const char *cpus;
    bool json, quiet, check;
};

enum proxy_verdict { PROXY_RUN, PROXY_DONE, PROXY_REFUSED };

/* Fills in SPEC. What is wrong is said in one line. PROXY_DONE: help was asked for. The spec is to be freed in any case. */
enum proxy_verdict proxy_spec_read(struct proxy_spec *spec, int argc, char **argv);
void proxy_spec_free(struct proxy_spec *spec);

/* ------ Backends */

/* Sums of what happened, and how many are at it. */
struct proxy_counts {
    uint64_t connections; /* that were connected */
    uint64_t failures;    /* attempts to connect that failed */
    uint64_t broken;      /* connections that the backend lost */
    uint64_t ejections;
    uint64_t active;
    uint64_t to_bytes, from_bytes;
};

/* A backend as one shard sees it. */
struct proxy_backend {
    struct proxy_counts counts;
    uint64_t out_until_ns; /* 0: it is in */
    uint64_t was_out_ns;   /* until when it was left out the last time */
    uint64_t out_ns;       /* and for how long */
    uint32_t refused_in_row, broken_in_row;
    bool on_trial; /* somebody tries whether it is back */
};

struct proxy_shard {
    const struct proxy_spec *spec;
    uint32_t next; /* who is asked first */
    uint64_t accepted;
    uint64_t unserved; /* no backend could be had */
    uint64_t retries;  /* attempts after the first of a connection */
    uint64_t idle;     /* ended since nothing moved */
    uint64_t cut;      /* ended by the end of the drain */
    uint64_t lost;     /* clients that failed */
    struct torci_link connections;
    struct proxy_backend backends[PROXY_BACKENDS_MAX];
};

/* Which backends a connection has tried. */
struct proxy_tried {
    uint64_t map;
};

/* The next backend for a connection, or -ENOENT: all have been tried. One that is left out is chosen only as a trial when its
 * time is up, or if there is no other. */
int proxy_choose(struct proxy_shard *shard, struct proxy_tried *tried, uint64_t now_ns);
/* What came of an attempt. */
void proxy_connected(struct proxy_shard *shard, int index);
void proxy_refused(struct proxy_shard *shard, int index, uint64_t now_ns);
/* It was not the backend's fault: nothing is known of it. */
void proxy_gave_up(struct proxy_shard *shard, int index);
/* What came of a connection. SPOKE: anything has come from the backend. */
void proxy_ended(struct proxy_shard *shard, int index, bool broken, bool spoke, uint64_t now_ns);

/* ------ Connections */

/* Of the shard's connections, while it is relayed. */
struct proxy_connection {
    struct torci_link link;
    int index;
    struct torc_relay_result result;
};

/* One of the addresses that a shard serves. */
struct proxy_server {
    struct proxy *proxy;
    struct proxy_shard *shard;
    unsigned index; /* of the address */
};

/* A torc_stream_fn; ARG is a struct proxy_server. */
int proxy_serve_connection(struct torc_stream *client, void *arg);

/* ------ Reports */

/* What a shard knows, with its connections of this moment. */
struct proxy_report {
    uint64_t accepted, unserved, retries, idle, cut, lost;
    struct proxy_counts backends[PROXY_BACKENDS_MAX];
    uint32_t out[PROXY_BACKENDS_MAX]; /* shards that leave it out now */
    uint32_t shards;
};

void proxy_report_shard(struct proxy_report *report, const struct proxy_shard *shard,
                        uint64_t now_ns);
void proxy_report_add(struct proxy_report *total, const struct proxy_report *report);
void proxy_report_text(const struct proxy_report *report, const struct proxy_spec *spec,
                       double seconds);
void proxy_report_json(const struct proxy_report *report, const struct proxy_spec *spec,
                       double seconds);

#endif
