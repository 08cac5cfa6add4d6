/* SPDX-License-Identifier: MIT
 *
 * An echo server on every CPU whose idle connections cost a few hundred bytes: the function runs when something has come.
 *
 * Run: build/examples/echo_handler tcp://127.0.80.5:7000
 * Try: echo hello | socat -t 5 - TCP:127.0.80.5:7000 | grep hello
 */
#include <torc.h>

static int echo(struct torc_stream *s, void *arg)
{
    const void *data;
    ssize_t n = torc_stream_peek(s, &data); // what is there, where it lies
    if (n > 0 && (n = torc_stream_write_all(s, data, (size_t)n)) > 0)
        torc_stream_consume(s, (size_t)n);
    return (int)n; // more than 0: call again when there is more
}

static int shard_main(void *address)
{
    return torc_serve_handler(address, echo, NULL, NULL);
}

int main(int argc, char **argv)
{
    return torc_run(NULL, shard_main, argc > 1 ? argv[1] : "tcp://127.0.0.1:7000");
}
