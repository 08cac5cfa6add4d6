/* SPDX-License-Identifier: MIT
 *
 * A threaded program that hands work to torc: four threads of its own, which know nothing of tasks, count on the shards
 * and wait for each result.
 *
 * Run: build/examples/foreign_thread
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { THREADS = 4, CALLS = 1000 };

struct worker {
    struct torc_gateway *gateway;
    uint32_t shards;
    int last;
    pthread_t thread;
};

static _Thread_local int counter; // one a shard

static int add(void *amount)
{
    return counter += *(int *)amount;
}

static void *work(void *arg) // an ordinary thread
{
    struct worker *self = arg;
    for (uint32_t i = 0; i < CALLS && self->last >= 0; i++) {
        int one = 1;
        self->last = torc_thread_call(self->gateway, i % self->shards, add, &one);
    }
    return NULL;
}

struct crew {
    struct worker workers[THREADS];
    int started;
};

static int join(void *arg) // on the blocking pool: joining a thread would stop the shard
{
    struct crew *crew = arg;
    for (int i = 0; i < crew->started; i++)
        pthread_join(crew->workers[i].thread, NULL);
    return 0;
}

static int total(void *arg, void *part)
{
    (void)arg;
    *(int *)part = counter;
    return 0;
}

static void fold(void *sum, const void *part)
{
    *(int *)sum += *(const int *)part;
}

static int hire(struct crew *crew, struct torc_gateway *gateway)
{
    int err = 0;
    while (crew->started < THREADS && !err) {
        struct worker *next = &crew->workers[crew->started];
        *next = (struct worker){.gateway = gateway, .shards = torc_shard_count()};
        err = -pthread_create(&next->thread, NULL, work, next);
        crew->started += !err;
    }
    return err;
}

static int app(void *arg)
{
    static const struct torc_map_reduce counted = {total, fold, sizeof(int)};
    struct crew crew = {.started = 0};
    struct torc_gateway *gateway;
    int sum = 0;
    (void)arg;
    if (torc_shard_id() > 0)
        return 0;
    int err = torc_gateway_open(&gateway);
    if (err)
        return err;
    err = hire(&crew, gateway);
    int failed = torc_blocking(join, &crew);
    torc_gateway_close(gateway);
    if (!err && !failed)
        err = torc_map_reduce(&counted, NULL, &sum);
    printf("%d threads made %d calls\n", crew.started, sum);
    return err ? err : failed;
}

int main(void)
{
    int err = torc_run(NULL, app, NULL);
    if (err)
        fprintf(stderr, "foreign_thread: %s\n", strerror(-err));
    return err ? 1 : 0;
}
