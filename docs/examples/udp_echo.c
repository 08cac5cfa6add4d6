/* SPDX-License-Identifier: MIT
 *
 * A UDP echo server on every CPU, many messages with each call: every shard has a socket of the same address, and the
 * kernel always gives the same sender's messages to the same one.
 *
 * Run: build/examples/udp_echo udp://127.0.80.6:7000
 * Try: echo hello | socat -t 2 - UDP:127.0.80.6:7000 | grep hello
 */
#include <errno.h>
#include <stdio.h>
#include <torc.h>

// The largest message, and a little more, or all would begin in the same set of the cache.
enum { COUNT = TORC_DATAGRAM_BATCH_MAX, ROOM = 65536 + 320 };

static int echo(struct torc_datagram *socket, char *memory)
{
    struct torc_message messages[COUNT];
    for (;;) {
        for (int i = 0; i < COUNT; i++)
            messages[i].data = (struct iovec){memory + i * ROOM, ROOM};
        int came = torc_datagram_receive_batch(socket, messages, COUNT); // those that are there
        if (came < 0)
            return came == -ECANCELED ? 0 : came;
        for (int at = 0; at < came;) {
            int went = torc_datagram_send_batch(socket, messages + at, (unsigned)(came - at));
            at += went > 0 ? went : 1; // one that fails is left out
        }
    }
}

static int shard_main(void *address)
{
    const struct torc_datagram_options options = {.socket = {.reuse_port = true}, .coalesce = true};
    struct torc_datagram socket;
    char why[TORC_ADDRESS_WHY_BYTES];
    char *memory = torc_alloc(COUNT * ROOM);
    if (!memory)
        return -ENOMEM;
    int err = torc_datagram_open(&socket, address, &options);
    if (!err) {
        err = echo(&socket, memory);
        torc_datagram_close(&socket);
    } else {
        fprintf(stderr, "udp_echo: %s\n", torc_address_explain(address, err, why));
    }
    torc_free(memory);
    return err;
}

int main(int argc, char **argv)
{
    return torc_run(NULL, shard_main, argc > 1 ? argv[1] : "udp://127.0.0.1:7000") ? 1 : 0;
}
