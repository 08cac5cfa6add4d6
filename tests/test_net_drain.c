/* SPDX-License-Identifier: MIT
 *
 * How servers end: the whole of them in order, and connections that say nothing. In both ways of serving.
 */
#include "core/time.h"
#include "net/serve.h"
#include "tests/net_scene.h"

enum { ANSWER_BYTES = 32 << 20, PIECE = 8 };

static int play(struct scene *scene)
{
    struct torc_config config = {0};
    return scene_play(scene, scene_config(&config));
}

/* Eight bytes, and the same eight back. */
static int pieces(struct torc_stream *stream, void *arg)
{
    (void)arg;
    char piece[PIECE];
    ssize_t n;
    while ((n = torc_stream_read_exactly(stream, piece, sizeof piece)) > 0)
        if ((n = torc_stream_write_all(stream, piece, sizeof piece)) < 0)
            break;
    return (int)n;
}

/* The same without blocking. */
static int pieces_there(struct torc_stream *stream, void *arg)
{
    (void)arg;
    const void *data;
    ssize_t n = torc_stream_available(stream) < PIECE ? 1 : PIECE;
    if (n == 1)
        return torc_stream_available(stream) ? 1 : (int)torc_stream_peek(stream, &data);
    n = torc_stream_peek_at_least(stream, PIECE, &data);
    if (n < PIECE)
        return (int)n;
    n = torc_stream_write_all(stream, data, PIECE);
    torc_stream_consume(stream, PIECE);
    return (int)n;
}

static torc_stream_fn *const both[] = {pieces, pieces_there};

/* The idle one's end says that the server drains; the other one is in the middle of something. */
static void half_a_piece(struct scene *scene)
{
    char piece[PIECE];
    WANT(scene_wait_for(scene, 1));
    int idle = scene_connect(scene), busy = scene_connect(scene);
    WANT(idle >= 0 && busy >= 0);
    WANT(scene_echo(idle, "12345678") && scene_echo(busy, "12345678"));
    WANT(scene_send(busy, "abcdefghijkl", 12));
    WANT(scene_receive(busy, piece, PIECE));
    scene_stop(scene);
    WANT(scene_end(idle) == 0);
    close(idle);
    WANT(scene_send(busy, "mnop", 4));
    WANT(scene_receive(busy, piece, PIECE) && !memcmp(piece, "ijklmnop", PIECE));
    WANT(scene_end(busy) == 0);
    close(busy);
}

TEST(drain, half_a_request_gets_its_answer)
{
    for (int handler = 0; handler < 2; handler++)
        for (int how = 0; how < 2; how++) {
            struct scene scene = {.serve = both[how], .client = half_a_piece};
            scene.handler = handler;
            if (how == 1 && !handler)
                continue; /* a task ends when it returns */
            CHECK_EQ(play(&scene), 0);
        }
}

static int large_answer(struct torc_stream *stream, void *arg)
{
    (void)arg;
    const void *data;
    ssize_t n = torc_stream_peek(stream, &data);
    if (n <= 0)
        return (int)n;
    torc_stream_consume(stream, 1);
    char memory[1024];
    memset(memory, 'a', sizeof memory);
    for (int i = 0; i < ANSWER_BYTES / 1024 && n > 0; i++)
        n = torc_stream_write_all(stream, memory, sizeof memory);
    return n < 0 ? (int)n : 0;
}

static bool receive_answer(int fd, size_t left)
{
    static char memory[1 << 16];
    while (left) {
        ssize_t n = recv(fd, memory, left < sizeof memory ? left : sizeof memory, 0);
        if (n <= 0)
            return false;
        left -= (size_t)n;
    }
    return true;
}

/* What more the client has said is never read: closed at once, the server would answer it with a reset, which would take what
 * is under way with it. */
static void ask_twice(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "xy", 2));
    WANT(receive_answer(fd, ANSWER_BYTES));
    WANT(scene_end(fd) == 0);
    close(fd);
}

/* The end of the idle one says that the server drains; then the answer is still under way, since nobody has read it. */
static void ask_while_it_drains(struct scene *scene)
{
    char byte;
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene), idle = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "x", 1) && scene_receive(fd, &byte, 1));
    scene_stop(scene);
    WANT(scene_end(idle) == 0);
    close(idle);
    WANT(scene_send(fd, "and another", 11));
    WANT(receive_answer(fd, ANSWER_BYTES - 1));
    WANT(scene_send(fd, "and a third", 11));
    WANT(scene_end(fd) == 0);
    close(fd);
}

TEST(drain, an_answer_is_not_cut)
{
    for (int handler = 0; handler < 2; handler++)
        for (int draining = 0; draining < 2; draining++) {
            struct scene scene = {.serve = large_answer, .handler = handler};
            scene.client = draining ? ask_while_it_drains : ask_twice;
            CHECK_EQ(play(&scene), 0);
        }
}

static void many_idle(struct scene *scene)
{
    enum { COUNT = 500 };
    static int fds[COUNT];
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < COUNT; i++)
        WANT((fds[i] = scene_connect(scene)) >= 0);
    for (int i = 0; i < COUNT; i++)
        WANT(scene_echo(fds[i], "12345678"));
    scene_stop(scene);
    for (int i = 0; i < COUNT; i++) {
        WANT(scene_end(fds[i]) == 0);
        if (i % 3) /* some don't care, and keep theirs open */
            close(fds[i]);
    }
    WANT(!scene_wait_for(scene, UINT32_MAX)); /* the server has gone all the same */
    for (int i = 0; i < COUNT; i += 3)
        close(fds[i]);
}

TEST(drain, idle_connections_end)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = both[handler], .client = many_idle};
        scene.handler = handler;
        CHECK_EQ(play(&scene), 0);
    }
}

static int never_ends(struct torc_stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
    int err = torc_sleep(UINT64_MAX / 2);
    return err;
}

static void wait_for_the_end(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "x", 1));
    while (!__atomic_load_n((uint32_t *)scene->arg, __ATOMIC_SEQ_CST))
        sched_yield();
    scene_stop(scene);
    int end = scene_end(fd);
    WANT(end == 0 || end == -ECONNRESET);
    close(fd);
}

static uint32_t begun; /* atomic */

static int begin_and_never_end(struct torc_stream *stream, void *arg)
{
    __atomic_store_n(&begun, 1, __ATOMIC_SEQ_CST);
    return never_ends(stream, arg);
}

static int begin_and_write(struct torc_stream *stream, void *arg)
{
    static const char memory[1 << 16];
    (void)arg;
    ssize_t n = 1;
    __atomic_store_n(&begun, 1, __ATOMIC_SEQ_CST);
    while (n > 0)
        n = torc_stream_write_all(stream, memory, sizeof memory);
    return (int)n;
}

/* Neither does it read what it is sent before the server has gone. */
static void never_read(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "x", 1));
    while (!__atomic_load_n(&begun, __ATOMIC_SEQ_CST))
        sched_yield();
    scene_stop(scene);
    WANT(!scene_wait_for(scene, UINT32_MAX));
    close(fd);
}

TEST(drain, what_does_not_end_is_cancelled)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = begin_and_never_end, .client = wait_for_the_end};
        begun = 0;
        scene.arg = &begun;
        scene.handler = handler;
        scene.options.drain_ns = 50 * TORC_MS;
        CHECK_EQ(play(&scene), 0);
        begun = 0;
        scene = (struct scene){.serve = begin_and_write, .client = never_read};
        scene.handler = handler;
        scene.options.drain_ns = 50 * TORC_MS;
        CHECK_EQ(play(&scene), 0);
    }
}

/* ---- connections on which nothing moves ---- */

/* One says something now and then, until the other, which does not, has been closed. */
static void one_of_two_is_silent(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int silent = scene_connect(scene), other = scene_connect(scene);
    struct pollfd end = {.fd = silent, .events = POLLIN};
    WANT(silent >= 0 && other >= 0);
    WANT(scene_echo(silent, "12345678"));
    while (poll(&end, 1, 5) == 0)
        WANT(scene_echo(other, "12345678"));
    WANT(scene_end(silent) == 0);
    WANT(scene_echo(other, "12345678"));
    close(silent);
    close(other);
}

TEST(idle, who_says_nothing_is_closed)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = both[handler], .client = one_of_two_is_silent};
        scene.handler = handler;
        scene.options.idle_ns = 500 * TORC_MS;
        CHECK_EQ(play(&scene), 0);
    }
}

static int end_seen; /* atomic */

static int note_end(struct torc_stream *stream, void *arg)
{
    int result = pieces(stream, arg);
    __atomic_store_n(&end_seen, result, __ATOMIC_SEQ_CST);
    return result;
}

static void silent(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_echo(fd, "12345678") && scene_send(fd, "123", 3));
    WANT(scene_end(fd) == 0 || errno == ECONNRESET);
    close(fd);
}

TEST(idle, the_function_is_told_of_a_time_out)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = note_end, .client = silent};
        scene.handler = handler;
        scene.options.idle_ns = 20 * TORC_MS;
        end_seen = 0;
        CHECK_EQ(play(&scene), 0);
        CHECK_EQ(end_seen, -ETIMEDOUT);
    }
}

static int write_until_it_fails(struct torc_stream *stream, void *arg)
{
    int result = begin_and_write(stream, arg);
    __atomic_store_n(&end_seen, result, __ATOMIC_SEQ_CST);
    return result;
}

static void reads_nothing(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "x", 1));
    while (!__atomic_load_n(&end_seen, __ATOMIC_SEQ_CST))
        sched_yield();
    close(fd);
}

TEST(idle, who_reads_nothing_is_closed)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = write_until_it_fails, .client = reads_nothing};
        scene.handler = handler;
        scene.options.idle_ns = 50 * TORC_MS;
        end_seen = 0;
        CHECK_EQ(play(&scene), 0);
        CHECK_EQ(end_seen, -ETIMEDOUT);
    }
}

static int think_and_answer(struct torc_stream *stream, void *arg)
{
    char piece[PIECE];
    (void)arg;
    ssize_t n = torc_stream_read_exactly(stream, piece, sizeof piece);
    if (n <= 0)
        return (int)n;
    int err = torc_sleep(300 * TORC_MS); /* many times the limit */
    return err ? err : (int)torc_stream_write_all(stream, piece, sizeof piece);
}

static void ask_once(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_echo(fd, "12345678"));
    close(fd);
}

TEST(idle, who_is_being_served_is_not)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = think_and_answer, .client = ask_once};
        scene.handler = handler;
        scene.options.idle_ns = 20 * TORC_MS;
        CHECK_EQ(play(&scene), 0);
    }
}
