/* SPDX-License-Identifier: MIT
 *
 * An echo server for more connections than RLIMIT_NOFILE allows: they are the rings' own descriptors, as many on each shard
 * as that limit says. 50,000 where it is 20,000: TORC_SHARDS=3 build/examples/echo_crowd tcp://127.0.0.1:7000
 *
 * Run: build/examples/echo_crowd tcp://127.0.80.9:7000
 * Try: echo hello | socat -t 5 - TCP:127.0.80.9:7000 | grep hello
 */
#include <sys/resource.h>
#include <torc.h>

enum { OTHER_FILES = 1000 }; // what the table of a ring leaves to everything else

static int echo(struct torc_stream *s, void *arg)
{
    const void *data;
    ssize_t n = torc_stream_peek(s, &data);
    if (n > 0 && (n = torc_stream_write_all(s, data, (size_t)n)) > 0)
        torc_stream_consume(s, (size_t)n);
    return (int)n;
}

static int shard_main(void *address)
{
    return torc_serve_handler(address, echo, NULL, &(struct torc_serve_options){.direct = true});
}

int main(int argc, char **argv)
{
    struct rlimit files = {.rlim_max = 0};
    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_max <= OTHER_FILES)
        return 1;
    rlim_t most = files.rlim_max < 1 << 20 ? files.rlim_max : 1 << 20;
    struct torc_config config = {.files_max = (uint32_t)(most - OTHER_FILES)};
    return torc_run(&config, shard_main, argc > 1 ? argv[1] : "tcp://127.0.0.1:7000");
}
