// SPDX-License-Identifier: MIT
// An echo server as a C programmer writes it with libuv: one loop, a buffer for each connection, kept between reads. The
// answer is tried at once; what the socket does not take is queued, and nothing is read meanwhile, for the buffer is in use.
//
//   uv_echo PORT [BUFFER_BYTES]
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { BACKLOG = 4096 };

struct connection {
    uv_tcp_t tcp;
    uv_write_t write;
    char buffer[]; // buffer_bytes
};

static size_t buffer_bytes = 65536;

static void closed(uv_handle_t *handle)
{
    free(handle);
}

static void leave(uv_stream_t *stream)
{
    uv_close((uv_handle_t *)stream, closed);
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    *out = uv_buf_init(((struct connection *)handle)->buffer, (unsigned)buffer_bytes);
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

static void written(uv_write_t *write, int status)
{
    if (status < 0 || uv_read_start(write->handle, lend, received))
        leave(write->handle);
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct connection *c = (struct connection *)stream;
    if (count == 0) // EAGAIN
        return;
    if (count < 0) {
        leave(stream);
        return;
    }
    uv_buf_t rest = uv_buf_init(buffer->base, (unsigned)count);
    int taken = uv_try_write(stream, &rest, 1);
    if (taken == count)
        return;
    if (taken > 0)
        rest = uv_buf_init(buffer->base + taken, (unsigned)(count - taken));
    uv_read_stop(stream);
    if (uv_write(&c->write, stream, &rest, 1, written))
        leave(stream);
}

static void connected(uv_stream_t *listener, int status)
{
    struct connection *c = status < 0 ? NULL : malloc(sizeof(*c) + buffer_bytes);
    if (!c)
        return;
    uv_tcp_init(listener->loop, &c->tcp);
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) || uv_tcp_nodelay(&c->tcp, 1) ||
        uv_read_start((uv_stream_t *)&c->tcp, lend, received))
        leave((uv_stream_t *)&c->tcp);
}

int main(int argc, char **argv)
{
    long port = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    long bytes = argc > 2 ? strtol(argv[2], NULL, 10) : 65536;
    if (port < 1 || port > 65535 || bytes < 1 || bytes > 1 << 24) {
        fputs("uv_echo PORT [BUFFER_BYTES]\n", stderr);
        return 2;
    }
    buffer_bytes = (size_t)bytes;
    uv_tcp_t listener;
    struct sockaddr_in at;
    int err = uv_ip4_addr("127.0.0.1", (int)port, &at);
    if (!err)
        err = uv_tcp_init(uv_default_loop(), &listener);
    if (!err)
        err = uv_tcp_bind(&listener, (const struct sockaddr *)&at, 0);
    if (!err)
        err = uv_listen((uv_stream_t *)&listener, BACKLOG, connected);
    if (err) {
        fprintf(stderr, "uv_echo: port %ld: %s\n", port, uv_strerror(err));
        return 1;
    }
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
