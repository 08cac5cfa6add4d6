/* SPDX-License-Identifier: MIT
 *
 * Handlers: when they are called, and what those do to the rest that block, never take anything, or never end.
 */
#include "core/time.h"
#include "io/io_internal.h"
#include "net/serve.h"
#include "shard/alloc.h"
#include "tests/net_scene.h"

static int play(struct scene *scene)
{
    struct torc_config config = {0};
    scene->handler = true;
    return scene_play(scene, scene_config(&config));
}

static int echo_some(struct torc_stream *stream, void *arg)
{
    (void)arg;
    const void *data;
    ssize_t n = torc_stream_peek(stream, &data);
    if (n > 0 && (n = torc_stream_write_all(stream, data, (size_t)n)) > 0)
        torc_stream_consume(stream, (size_t)n);
    return (int)n;
}

enum { MANY = 200 };

static uint32_t go, waiting, calls, ends, nested; /* atomic */

static uint32_t see(uint32_t *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void more(uint32_t *count)
{
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static void wait_for(uint32_t *count, uint32_t least)
{
    while (see(count) < least)
        sched_yield();
}

static void reset(void)
{
    uint32_t *const all[] = {&go, &waiting, &calls, &ends, &nested};
    for (int i = 0; i < 5; i++)
        __atomic_store_n(all[i], 0, __ATOMIC_SEQ_CST);
}

/* 'w' waits until somebody has said 'g'; 't' tells how many tasks there are; all else is echoed. */
static int wait_or_go(struct torc_stream *stream, void *arg)
{
    const void *data;
    char text[16];
    ssize_t n = torc_stream_peek(stream, &data);
    if (n <= 0)
        return (int)n;
    char what = *(const char *)data;
    if (what == 'w') {
        more(&waiting);
        int err = 0;
        while (!err && !see(&go))
            err = torc_sleep(TORC_MS);
        if (err)
            return err;
    } else if (what == 'g') {
        more(&go);
    } else if (what == 't') {
        torc_stream_consume(stream, 1);
        snprintf(text, sizeof text, "%07u\n", (unsigned)torci_this->fibers_live);
        return (int)torc_stream_write_all(stream, text, 8);
    }
    return echo_some(stream, arg);
}

static int tasks_of(int fd)
{
    char text[9] = {0};
    return scene_send(fd, "t", 1) && scene_receive(fd, text, 8) ? (int)strtol(text, NULL, 10) : -1;
}

static void many_block(struct scene *scene)
{
    static int fds[MANY];
    WANT(scene_wait_for(scene, 1));
    int other = scene_connect(scene);
    WANT(other >= 0 && scene_echo(other, "x"));
    for (int i = 0; i < MANY; i++)
        WANT((fds[i] = scene_connect(scene)) >= 0 && scene_send(fds[i], "w", 1));
    wait_for(&waiting, MANY);
    WANT(scene_echo(other, "still served"));
    WANT(scene_echo(other, "g"));
    for (int i = 0; i < MANY; i++) {
        char byte;
        WANT(scene_receive(fds[i], &byte, 1) && byte == 'w');
        close(fds[i]);
    }
    /* those that have nothing to do go, but for some */
    while (tasks_of(other) > 80)
        sched_yield();
    close(other);
}

TEST(handler, blocks_and_others_go_on)
{
    struct scene scene = {.serve = wait_or_go, .client = many_block};
    reset();
    CHECK_EQ(play(&scene), 0);
}

/* So many tasks that only some of them find one. */
static void more_than_tasks(struct scene *scene)
{
    int fds[20];
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < 20; i++)
        WANT((fds[i] = scene_connect(scene)) >= 0 && scene_send(fds[i], "w", 1));
    wait_for(&waiting, 3);
    more(&go);
    for (int i = 0; i < 20; i++) {
        char byte;
        WANT(scene_receive(fds[i], &byte, 1) && byte == 'w');
    }
    for (int i = 0; i < 20; i++) {
        WANT(scene_echo(fds[i], "x"));
        close(fds[i]);
    }
}

TEST(handler, without_a_task_waits_for_one)
{
    struct scene scene = {.serve = wait_or_go, .client = more_than_tasks, .handler = true};
    reset();
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1, .tasks_max = 8}), 0);
}

/* At the end of a drain, nobody is left that could close them. */
static void blocked_at_the_end(struct scene *scene)
{
    int fds[20];
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < 20; i++)
        WANT((fds[i] = scene_connect(scene)) >= 0 && scene_send(fds[i], "w", 1));
    wait_for(&waiting, 3);
    scene_stop(scene);
    for (int i = 0; i < 20; i++) {
        int end = scene_end(fds[i]);
        WANT(end == 0 || end == -ECONNRESET);
        close(fds[i]);
    }
}

TEST(handler, that_never_ran_is_closed_at_the_end)
{
    struct scene scene = {.serve = wait_or_go, .client = blocked_at_the_end, .handler = true};
    scene.options.drain_ns = 20 * TORC_MS;
    reset();
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1, .tasks_max = 8}), 0);
}

static int echo_alone(struct torc_stream *stream, void *arg)
{
    if (torc_stream_user(stream))
        more(&nested);
    torc_stream_set_user(stream, arg);
    int err = torc_sleep(1000);
    int result = err ? err : echo_some(stream, arg);
    torc_yield();
    torc_stream_set_user(stream, NULL);
    return result;
}

static void one_byte_after_another(struct scene *scene)
{
    enum { BYTES = 2000 };
    char back[BYTES];
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene), on = 1;
    WANT(fd >= 0 && !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    for (int i = 0; i < BYTES; i++)
        WANT(scene_send(fd, "x", 1));
    WANT(scene_receive(fd, back, BYTES));
    close(fd);
}

TEST(handler, is_called_once_at_a_time)
{
    struct scene scene = {.serve = echo_alone, .client = one_byte_after_another};
    reset();
    CHECK_EQ(play(&scene), 0);
    CHECK_EQ(nested, 0);
}

/* ---- the end ---- */

static int (*take)(struct torc_stream *stream);

static int count_ends(struct torc_stream *stream, void *arg)
{
    (void)arg;
    const void *data;
    size_t there = torc_stream_available(stream);
    more(&calls);
    if (there)
        return take(stream);
    if (torc_stream_peek(stream, &data) == 0)
        more(&ends);
    return 1; /* as if it had not noticed */
}

static int take_all(struct torc_stream *stream)
{
    torc_stream_consume(stream, torc_stream_available(stream));
    return 1;
}

static int take_a_byte(struct torc_stream *stream)
{
    torc_stream_consume(stream, 1);
    return 1;
}

static void write_and_end(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "abc", 3));
    WANT(!shutdown(fd, SHUT_WR));
    WANT(scene_end(fd) == 0);
    close(fd);
}

static void end_at_once(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && !shutdown(fd, SHUT_WR) && scene_end(fd) == 0);
    close(fd);
}

TEST(handler, is_told_of_the_end_once)
{
    static int (*const takes[])(struct torc_stream *) = {take_all, take_a_byte};
    static void (*const clients[])(struct scene *) = {write_and_end, end_at_once};
    for (int how = 0; how < 2; how++)
        for (int client = 0; client < 2; client++) {
            struct scene scene = {.serve = count_ends, .client = clients[client]};
            take = takes[how];
            reset();
            CHECK_EQ(play(&scene), 0);
            CHECK_EQ(ends, 1);
        }
}

static int take_nothing(struct torc_stream *stream)
{
    (void)stream;
    return 1;
}

/* It is called for the input, perhaps for the end, and then no more. */
TEST(handler, that_leaves_the_rest_ends_with_the_peer)
{
    struct scene scene = {.serve = count_ends, .client = write_and_end};
    take = take_nothing;
    reset();
    CHECK_EQ(play(&scene), 0);
    CHECK(calls >= 1 && calls <= 2);
}

/* ---- leaving input ---- */

/* Answers whole lines, one a call. */
static int one_line(struct torc_stream *stream, void *arg)
{
    const void *data;
    (void)arg;
    more(&calls);
    size_t there = torc_stream_available(stream);
    ssize_t n =
        there ? torc_stream_peek_at_least(stream, there, &data) : torc_stream_peek(stream, &data);
    if (n <= 0)
        return (int)n;
    const char *end = memchr(data, '\n', (size_t)n);
    if (!end)
        return 1;
    size_t size = (size_t)(end + 1 - (const char *)data);
    n = torc_stream_write_all(stream, data, size);
    torc_stream_consume(stream, size);
    return (int)n;
}

static void lines(struct scene *scene)
{
    char back[16];
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene), other = scene_connect(scene);
    WANT(fd >= 0 && other >= 0);
    WANT(scene_echo(fd, "one\ntwo\nthree\n")); /* in one go */
    reset();
    WANT(scene_send(fd, "f", 1));
    for (int i = 0; i < 10; i++)
        WANT(scene_echo(other, "\n"));
    WANT(see(&calls) <= 11); /* the half line has not been looked at again and again */
    WANT(scene_send(fd, "our\n", 4));
    WANT(scene_receive(fd, back, 5) && !memcmp(back, "four\n", 5));
    close(fd);
    close(other);
}

TEST(handler, takes_a_line_a_call)
{
    struct scene scene = {.serve = one_line, .client = lines};
    reset();
    CHECK_EQ(play(&scene), 0);
}

static void send_without_end(struct scene *scene)
{
    static const char memory[1 << 16];
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0);
    for (int i = 0; i < 100000; i++)
        if (send(fd, memory, sizeof memory, MSG_NOSIGNAL) < 0)
            break;
    WANT(errno == ECONNRESET || errno == EPIPE);
    close(fd);
}

TEST(handler, that_takes_nothing_is_ended_at_the_limit)
{
    struct scene scene = {.serve = one_line, .client = send_without_end};
    reset();
    CHECK_EQ(play(&scene), 0);
}

/* ---- many that are slow ---- */

static uint64_t bytes_at_most; /* of one shard's memory for connections */

static int note_memory(struct torc_stream *stream, void *arg)
{
    struct torc_alloc_stats stats;
    torc_alloc_stats_get(&stats);
    __atomic_store_n(&bytes_at_most, stats.live_bytes, __ATOMIC_SEQ_CST);
    return one_line(stream, arg);
}

/* Holds COUNT connections with half a request each, in a process of its own, until its input ends. */
static pid_t hold_half_requests(struct scene *scene, int count, int ends_[2])
{
    int ready[2];
    char byte;
    if (pipe(ready))
        return -1;
    pid_t child = fork();
    if (child)
        return close(ready[1]), read(ready[0], &byte, 1) == 1 ? (close(ready[0]), child) : -1;
    close(ends_[1]);
    for (int i = 0; i < count; i++) {
        int fd = scene_connect(scene);
        if (fd < 0 || !scene_send(fd, "GET / HTT", 9))
            _exit(1);
    }
    (void)!write(ready[1], "x", 1);
    (void)!read(ends_[0], &byte, 1);
    _exit(0);
}

enum { CONNECTION_BYTES_MAX = 640 }; /* with the half request */

static void slow_loris(struct scene *scene)
{
    struct rlimit limit;
    int ends_[2], status;
    WANT(scene_wait_for(scene, 1));
    WANT(!getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    WANT(!setrlimit(RLIMIT_NOFILE, &limit) && !pipe(ends_));
    int count = limit.rlim_max > 10200 ? 10000 : (int)limit.rlim_max - 200;
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_echo(fd, "\n"));
    uint64_t before = __atomic_load_n(&bytes_at_most, __ATOMIC_SEQ_CST);
    pid_t child = hold_half_requests(scene, count, ends_);
    WANT(child > 0);
    wait_for(&calls, (uint32_t)count); /* each has been looked at */
    WANT(scene_echo(fd, "x\n"));
    uint64_t after = __atomic_load_n(&bytes_at_most, __ATOMIC_SEQ_CST);
    WANT(after - before < (uint64_t)count * CONNECTION_BYTES_MAX);
    close(ends_[0]);
    close(ends_[1]);
    WANT(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
    close(fd);
}

TEST(handler, ten_thousand_half_requests_cost_little)
{
    struct scene scene = {.serve = note_memory, .client = slow_loris, .handler = true};
    reset();
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
}

/* Answers with more than any buffer holds. */
static int flood(struct torc_stream *stream, void *arg)
{
    static const char memory[1 << 16];
    const void *data;
    (void)arg;
    ssize_t n = torc_stream_peek(stream, &data);
    if (n <= 0 || *(const char *)data == '\n')
        return n <= 0 ? (int)n : one_line(stream, arg);
    torc_stream_consume(stream, (size_t)n);
    more(&waiting);
    for (int i = 0; i < 1024 && n > 0; i++)
        n = torc_stream_write_all(stream, memory, sizeof memory);
    return (int)n;
}

static void nobody_reads(struct scene *scene)
{
    static int fds[MANY];
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < MANY; i++)
        WANT((fds[i] = scene_connect(scene)) >= 0 && scene_send(fds[i], "x", 1));
    wait_for(&waiting, MANY);
    int other = scene_connect(scene);
    WANT(other >= 0);
    for (int i = 0; i < 10; i++)
        WANT(scene_echo(other, "\n"));
    close(other);
    for (int i = 0; i < MANY; i++)
        scene_reset(fds[i]);
}

TEST(handler, readers_that_never_read_hold_nobody_up)
{
    struct scene scene = {.serve = flood, .client = nobody_reads};
    scene.options.socket.send_bytes = 64 * 1024;
    reset();
    CHECK_EQ(play(&scene), 0);
}

/* ---- a peer that has vanished ---- */

static int last_result;

static int note_result(struct torc_stream *stream, void *arg)
{
    int result = echo_some(stream, arg);
    if (result <= 0)
        __atomic_store_n(&last_result, result ? result : 1, __ATOMIC_SEQ_CST);
    return result;
}

/* A socket under repair is closed without a word. */
static void vanish(struct scene *scene)
{
    enum { REPAIR = 19 }; /* TCP_REPAIR */
    int on = 1;
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_echo(fd, "x"));
    bool can = !setsockopt(fd, IPPROTO_TCP, REPAIR, &on, sizeof on);
    close(fd);
    *(bool *)scene->arg = can;
    while (!__atomic_load_n(&last_result, __ATOMIC_SEQ_CST))
        sched_yield();
}

TEST(handler, hears_that_a_peer_has_vanished)
{
    for (int how = 0; how < 2; how++) {
        bool can = false;
        struct scene scene = {.serve = note_result, .client = vanish, .arg = &can};
        last_result = 0;
        if (how == 0)
            scene.options.idle_ns = 50 * TORC_MS;
        else
            scene.options.socket = (struct torc_socket_options){
                .keepalive_s = 1, .keepalive_interval_s = 1, .keepalive_count = 2};
        CHECK_EQ(play(&scene), 0);
        if (!can)
            TEST_SKIP("a socket is only repaired with CAP_NET_ADMIN");
        CHECK(last_result == -ETIMEDOUT || last_result == -ECONNRESET);
    }
}
