/* SPDX-License-Identifier: MIT
 *
 * Connections without descriptors of the process: as many as the ring's table holds, whatever the limit of open files is, and
 * served as others are.
 */
#include "core/time.h"
#include "io/io_internal.h"
#include "io/resource.h"
#include "net/serve.h"
#include "tests/fault_kernel.h"
#include "tests/net_scene.h"

static int echo(struct torc_stream *stream, void *arg)
{
    (void)arg;
    char memory[4096];
    ssize_t n;
    while ((n = torc_stream_read(stream, memory, sizeof memory)) > 0)
        if ((n = torc_stream_write_all(stream, memory, (size_t)n)) < 0)
            break;
    return (int)n;
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

static torc_stream_fn *const both[] = {echo, echo_some};

/* COUNT connections, all open before the first one ends, in a process with a limit of its own. */
static int connect_many(struct scene *scene, int count, int at_a_time)
{
    static int fds[1024];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < count; i++)
        if ((fds[i] = scene_connect(scene)) < 0)
            return 1;
    for (int i = 0; i < count; i += at_a_time) {
        for (int k = i; k < i + at_a_time; k++)
            if (!scene_echo(fds[k], "there and back"))
                return 2;
        for (int k = i; k < i + at_a_time; k++)
            scene_reset(fds[k]);
    }
    return 0;
}

struct many {
    int count, at_a_time;
};

static void many(struct scene *scene)
{
    const struct many *many = scene->arg;
    int status;
    WANT(scene_wait_for(scene, 1));
    pid_t child = fork();
    if (!child)
        _exit(connect_many(scene, many->count, many->at_a_time));
    WANT(child > 0 && waitpid(child, &status, 0) == child);
    WANT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static rlim_t soft_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

static void set_limit(rlim_t soft, rlim_t hard)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = soft;
    limit.rlim_max = hard ? hard : limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

TEST(direct, serves_more_than_the_limit_of_files)
{
    set_limit(64, 0);
    for (int handler = 0; handler < 2; handler++) {
        struct many how = {500, 500};
        struct scene scene = {.serve = both[handler], .handler = handler, .client = many};
        scene.arg = &how;
        scene.options.direct = true;
        CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
        CHECK_EQ(soft_limit(), 64); /* as it was */
    }
}

TEST(direct, every_way_of_spreading_has_them)
{
    static const enum torc_spread spreads[] = {TORC_SPREAD_KERNEL, TORC_SPREAD_ROUND_ROBIN,
                                               TORC_SPREAD_LEAST_LOADED};
    for (int i = 0; i < 6; i++) {
        struct many how = {60, 60};
        struct scene scene = {.serve = both[i % 2], .handler = i % 2, .client = many, .arg = &how};
        scene.options.direct = true;
        scene.options.spread = spreads[i / 2];
        CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 3}), 0);
    }
}

/* Sixteen slots, of which two are not for connections. */
TEST(direct, a_full_table_waits)
{
    struct many how = {60, 6};
    struct scene scene = {.serve = echo, .client = many, .arg = &how};
    scene.options.direct = true;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1, .files_max = 16}), 0);
}

static void nobody(struct scene *scene)
{
    WANT(!scene_wait_for(scene, 1));
}

TEST(direct, a_table_above_the_hard_limit_is_said)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    struct scene scene = {.serve = echo, .client = nobody};
    scene.options.direct = true;
    set_limit(200, 500);
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 2, .kernel = &fault.kernel}),
             -EMFILE);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, "files_max"));
    fault_kernel_check_clean(&fault);
}

TEST(direct, an_older_kernel_is_said)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    fault.register_opcode_max = IORING_REGISTER_SYNC_CANCEL; /* 5.19 and a little */
    struct scene scene = {.serve = echo, .client = nobody};
    scene.options.direct = true;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1, .kernel = &fault.kernel}),
             -EOPNOTSUPP);
    CHECK_EQ(fault.lines, 1);
}

/* ---- what is done to a stream ---- */

enum { LARGE_BYTES = 4 << 20 };

static int everything(struct torc_stream *stream, void *arg)
{
    char line[64], *large;
    struct torc_address peer, local;
    int on = 1;
    (void)arg;
    ssize_t n = torc_stream_read_line(stream, line, sizeof line);
    if (n < 0)
        return n == -EPIPE ? 0 : (int)n;
    if (!strcmp(line, "abort")) {
        torc_stream_abort(stream);
        return 0;
    }
    if (!strcmp(line, "about")) {
        int err = torc_stream_peer(stream, &peer);
        if (!err)
            err = torc_stream_local(stream, &local);
        if (!err)
            err = torc_stream_set_option(stream, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        snprintf(line, sizeof line, "%d %u %u\n", err, torc_address_port(&peer),
                 torc_address_port(&local));
        return torc_stream_print(stream, line) ? -EIO : 0;
    }
    large = calloc(1, LARGE_BYTES);
    n = torc_stream_write_all(stream, large, LARGE_BYTES);
    free(large);
    int err = n < 0 ? (int)n : torc_stream_end(stream);
    return err ? err : (int)torc_stream_read(stream, line, sizeof line);
}

static void try_everything(struct scene *scene)
{
    static char large[LARGE_BYTES];
    char text[64] = {0}, wanted[64];
    struct sockaddr_in own = {0};
    socklen_t size = sizeof own;
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "abort\n", 6) && scene_end(fd) == -ECONNRESET);
    close(fd);
    fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "about\n", 6));
    WANT(!getsockname(fd, (struct sockaddr *)&own, &size));
    snprintf(wanted, sizeof wanted, "0 %u %u\n", ntohs(own.sin_port),
             torc_address_port(&scene->address));
    WANT(scene_receive(fd, text, strlen(wanted)) && !strcmp(text, wanted));
    WANT(scene_end(fd) == 0);
    close(fd);
    fd = scene_connect(scene);
    WANT(fd >= 0 && scene_send(fd, "large\n", 6) && scene_receive(fd, large, sizeof large));
    WANT(scene_end(fd) == 0); /* half-closed: our own half is still heard */
    WANT(scene_send(fd, "x", 1));
    close(fd);
}

TEST(direct, streams_can_do_everything)
{
    for (int handler = 0; handler < 2; handler++) {
        struct scene scene = {.serve = everything, .client = try_everything, .handler = handler};
        scene.options.direct = true;
        CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
    }
}

static void refused(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    int fd = scene_connect(scene);
    WANT(fd >= 0 && scene_echo(fd, "x"));
    for (int i = 0; i < 10; i++) {
        int other = scene_connect(scene);
        WANT(other == -ECONNRESET || (other >= 0 && scene_end(other) == -ECONNRESET));
        if (other >= 0)
            close(other);
    }
    close(fd);
}

TEST(direct, who_is_above_the_limit_is_reset)
{
    struct scene scene = {.serve = echo, .client = refused};
    scene.options.direct = true;
    scene.options.connections_max = 1;
    scene.options.at_limit = TORC_LIMIT_REFUSE;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
}

/* ---- beside other slots ---- */

static int slots_beside(void *arg)
{
    struct torc_listener listener;
    const struct torc_serve_options options = {.direct = true};
    (void)arg;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_EQ(torc_slot_register(fd), 0);
    CHECK_EQ(torc_listen(&listener, "tcp://127.0.0.1:0", &options), 0);
    for (int i = 1; i < 4; i++)
        CHECK_EQ(torc_slot_register(fd), i);
    CHECK_EQ(torc_slot_register(fd), -ENOSPC);
    for (int i = 0; i < 4; i++)
        torc_slot_unregister(i);
    torc_listener_close(&listener);
    close(fd);
    return 0;
}

static int slots_in_the_way(void *arg)
{
    struct torc_listener listener;
    const struct torc_serve_options options = {.direct = true};
    (void)arg;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(torc_slot_register(fd), i);
    CHECK_EQ(torc_listen(&listener, "tcp://127.0.0.1:0", &options), -ENOSPC);
    for (int i = 0; i < 5; i++)
        torc_slot_unregister(i);
    close(fd);
    return 0;
}

TEST(direct, an_eighth_is_left_for_others)
{
    const struct torc_config config = {.shards = 1, .files_max = 32};
    CHECK_EQ(torc_run(&config, slots_beside, NULL), 0);
    CHECK_EQ(torc_run(&config, slots_in_the_way, NULL), 0);
}
