/* SPDX-License-Identifier: MIT
 *
 * A pipeline over two shards: the last one makes samples, the first one adds them up. The channel between them is opened
 * where the samples arrive, and its sending end goes along with a post.
 *
 * Run: build/examples/xchannel
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { SAMPLES = 1000000, CAPACITY = 1024 };

struct sample {
    uint64_t at, value;
};
TORC_XCHAN(samples, struct sample);

static int make_samples(void *sender)
{
    int err = 0;
    for (uint64_t i = 0; i < SAMPLES && !err; i++)
        err = samples_send(sender, &(struct sample){i, i * i}); // waits while the channel is full
    torc_xchan_close_sender(sender);                            // what was sent still arrives
    return err;
}

static int add_up(void)
{
    struct torc_xreceiver *receiver;
    struct torc_xsender *sender;
    int err = samples_open(CAPACITY, &receiver, &sender);
    if (err)
        return err;
    err = torc_post(torc_shard_count() - 1, make_samples, sender); // it is that shard's now
    if (err)
        torc_xchan_close_sender(sender);

    struct sample sample;
    uint64_t sum = 0, count = 0;
    while (!err && !(err = samples_recv(receiver, &sample))) {
        sum += sample.value;
        count++;
    }
    torc_xchan_close_receiver(receiver);
    printf("%" PRIu64 " samples from shard %" PRIu32 ", sum %" PRIu64 "\n", count,
           torc_shard_count() - 1, sum);
    return err == -EPIPE ? 0 : err; // the sender has closed, and all has come
}

static int shard_main(void *arg)
{
    (void)arg;
    return torc_shard_id() == 0 ? add_up() : 0; // the others serve
}

int main(void)
{
    int err = torc_run(NULL, shard_main, NULL);
    if (err)
        fprintf(stderr, "xchannel: %s\n", strerror(-err));
    return err ? 1 : 0;
}
