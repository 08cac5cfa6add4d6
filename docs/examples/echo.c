/* SPDX-License-Identifier: MIT
 *
 * An echo server on every CPU, with a task for each connection.
 *
 * Run: build/examples/echo tcp://127.0.80.4:7000
 * Try: echo hello | socat -t 5 - TCP:127.0.80.4:7000 | grep hello
 */
#include <torc.h>

static int echo(struct torc_stream *s, void *arg)
{
    char buf[16384];
    ssize_t n;
    while ((n = torc_stream_read(s, buf, sizeof buf)) > 0)
        if ((n = torc_stream_write_all(s, buf, (size_t)n)) < 0)
            break;
    return (int)n;
}

static int shard_main(void *address)
{
    return torc_serve(address, echo, NULL, NULL); // on each shard, until shutdown
}

int main(int argc, char **argv)
{
    return torc_run(NULL, shard_main, argc > 1 ? argv[1] : "tcp://127.0.0.1:7000");
}
