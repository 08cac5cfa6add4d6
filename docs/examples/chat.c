/* SPDX-License-Identifier: MIT
 *
 * A chat: whoever connects gives a name, and from then on sees every line that anybody writes, on whichever CPU that is served.
 * A connection has two tasks, one that reads and one that writes. Each shard has a broadcast for its own connections,
 * and sends what they say to the broadcasts of the others. Who reads too slowly misses lines, and delays nobody.
 *
 * Run: build/examples/chat tcp://127.0.80.3:7000
 * Try: printf 'ada\nhello\n' | socat -t 5 - TCP:127.0.80.3:7000 | grep 'ada: hello'
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { NAME_MAX_BYTES = 24, LINE_MAX_BYTES = 400, KEPT_LINES = 256 };

struct line {
    char text[NAME_MAX_BYTES + LINE_MAX_BYTES + 8];
};

struct room { /* a shard's */
    struct torc_broadcast lines;
    struct line kept[KEPT_LINES];
    struct torc_mutex sending;
    struct torc_fabric_node others;
};

struct visitor {
    struct torc_stream *stream;
    struct torc_subscriber lines;
};

static struct torc_fabric fabric = {.value_bytes = sizeof(struct line), .capacity = 64};

static int say(struct room *room, const char *name, const char *between, const char *text)
{
    struct line line;
    snprintf(line.text, sizeof line.text, "%s%s%s\n", name, between, text);
    for (char *at = line.text; at[0] && at[1]; at++) // no escape sequences for others' terminals
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    int err = torc_broadcast_send(&room->lines, &line);
    if (!err)
        err = torc_mutex_lock(&room->sending); // a sender is one task's at a time
    if (err)
        return err;
    err = torc_fabric_send_all(&room->others, &line, NULL);
    torc_mutex_unlock(&room->sending);
    return err == -EPIPE ? 0 : err; // there is no other shard, or all have left
}

static int hear_others(void *arg)
{
    struct room *room = arg;
    struct line line;
    int err = 0;
    while (!err && !(err = torc_fabric_recv(&room->others, &line, NULL)))
        err = torc_broadcast_send(&room->lines, &line);
    return err == -EPIPE ? 0 : err;
}

static int write_lines(void *arg)
{
    struct visitor *self = arg;
    struct line line;
    int64_t missed;
    int err = 0;
    while (!err && (missed = torc_subscriber_recv(&self->lines, &line)) >= 0) {
        char notice[64];
        snprintf(notice, sizeof notice, "* you have missed %lld lines\n", (long long)missed);
        if (missed)
            err = torc_stream_print(self->stream, notice);
        if (!err)
            err = torc_stream_print(self->stream, line.text);
    }
    return err;
}

static int visit(struct torc_stream *s, void *arg)
{
    struct room *room = arg;
    char name[NAME_MAX_BYTES + 1], text[LINE_MAX_BYTES + 1];
    int err = torc_stream_print(s, "your name? ");
    ssize_t n = err ? err : torc_stream_read_line(s, name, sizeof name);
    if (n <= 0)
        return (int)n;

    struct visitor self = {.stream = s};
    struct torc_scope writer;
    torc_subscriber_init(&self.lines, &room->lines);
    torc_scope_init(&writer);
    err = torc_spawn(&writer, write_lines, &self);
    if (!err)
        err = say(room, name, " ", "is here");
    while (!err && (n = torc_stream_read_line(s, text, sizeof text)) >= 0)
        err = say(room, name, ": ", text);

    int left = say(room, name, " ", "has left");
    torc_yield(); // the visitor's own last lines go out
    torc_scope_cancel(&writer);
    int failed = torc_scope_join(&writer);
    if (n == -EMSGSIZE)
        err = torc_stream_print(s, "* that line is too long\n");
    return err ? err : n < 0 && n != -EMSGSIZE ? (int)n : left ? left : failed;
}

static int serve(struct room *room, const char *address)
{
    int err = torc_broadcast_init(&room->lines, sizeof(struct line), KEPT_LINES, room->kept);
    torc_mutex_init(&room->sending);
    if (!err)
        err = torc_fabric_join(&fabric, &room->others);
    if (err)
        return err;
    struct torc_scope all;
    torc_scope_init(&all);
    err = torc_spawn(&all, hear_others, room);
    if (!err)
        err = torc_serve(address, visit, room, NULL);
    torc_scope_cancel(&all);
    int failed = torc_scope_join(&all);
    torc_fabric_leave(&room->others);
    return err ? err : failed == -ECANCELED ? 0 : failed;
}

static int shard_main(void *address)
{
    struct room *room = torc_alloc(sizeof *room);
    if (!room)
        return -ENOMEM;
    int err = serve(room, address);
    torc_free(room);
    return err;
}

int main(int argc, char **argv)
{
    int err = torc_run(NULL, shard_main, argc > 1 ? argv[1] : "tcp://127.0.0.1:7000");
    return err ? 1 : 0;
}
