/* SPDX-License-Identifier: MIT
 *
 * Servers of several shards: who gets which connection, limits, what is said when it can't start, the orderly end.
 */
#include "net/serve.h"

#include "core/time.h"
#include "io/io_internal.h"
#include "tests/fault_kernel.h"
#include "tests/net_scene.h"

static const enum torc_spread spreads[] = {TORC_SPREAD_KERNEL, TORC_SPREAD_ROUND_ROBIN,
                                           TORC_SPREAD_LEAST_LOADED};
enum { SPREADS = 3, MANY = 40 };

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

/* The number of the shard, and an echo after that. */
static int tell_shard(struct torc_stream *stream, void *arg)
{
    char shard = (char)('0' + torc_shard_id());
    ssize_t n = torc_stream_write_all(stream, &shard, 1);
    return n < 0 ? (int)n : echo(stream, arg);
}

static int shard_of(int fd)
{
    char shard;
    return fd >= 0 && scene_receive(fd, &shard, 1) ? shard - '0' : -1;
}

/* ---- spreading ---- */

static void many_echo(struct scene *scene)
{
    int fds[MANY];
    WANT(scene_wait_for(scene, *(uint32_t *)scene->arg));
    for (int i = 0; i < MANY; i++)
        WANT((fds[i] = scene_connect(scene)) >= 0);
    for (int i = 0; i < MANY; i++)
        WANT(scene_echo(fds[i], "there and back"));
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
}

TEST(serve, spreads_over_any_number_of_shards)
{
    static const uint32_t shards[] = {1, 2, 3, 7};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned spread = 0; spread < SPREADS; spread++) {
            uint32_t count = shards[i];
            struct scene scene = {.serve = echo, .client = many_echo, .arg = &count};
            scene.options.spread = spreads[spread];
            CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = count}), 0);
        }
}

static void in_turn(struct scene *scene)
{
    int fds[12], shards[12];
    WANT(scene_wait_for(scene, 3));
    for (int i = 0; i < 12; i++) {
        fds[i] = scene_connect(scene);
        shards[i] = shard_of(fds[i]);
        WANT(shards[i] >= 0);
    }
    for (int i = 3; i < 12; i++)
        WANT(shards[i] == shards[i - 3] && shards[i] != shards[i - 1]);
    for (int i = 0; i < 12; i++)
        close(fds[i]);
}

TEST(serve, round_robin_takes_shards_in_turn)
{
    struct scene scene = {.serve = tell_shard, .client = in_turn};
    scene.options.spread = TORC_SPREAD_ROUND_ROBIN;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 3}), 0);
}

static uint32_t closed_count; /* atomic */

static void count_closed(struct torc_stream *stream, void *arg)
{
    (void)stream;
    (void)arg;
    __atomic_add_fetch(&closed_count, 1, __ATOMIC_SEQ_CST);
}

static void wait_closed(uint32_t count)
{
    while (__atomic_load_n(&closed_count, __ATOMIC_SEQ_CST) < count)
        sched_yield();
}

/* Takes four of nine away from one shard: it gets the next ones. */
static void to_the_emptiest(struct scene *scene)
{
    int fds[9], shards[9], per_shard[3] = {0}, more[3];
    uint32_t closed = 0;
    WANT(scene_wait_for(scene, 3));
    for (int i = 0; i < 9; i++) {
        fds[i] = scene_connect(scene);
        shards[i] = shard_of(fds[i]);
        WANT(shards[i] >= 0);
        per_shard[shards[i]]++;
    }
    WANT(per_shard[0] == 3 && per_shard[1] == 3 && per_shard[2] == 3);
    for (int i = 0; i < 9; i++)
        if (shards[i] == 1) {
            close(fds[i]);
            fds[i] = -1;
            closed++;
        }
    wait_closed(closed);
    for (int i = 0; i < 2; i++) {
        more[i] = scene_connect(scene);
        WANT(shard_of(more[i]) == 1);
    }
    for (int i = 0; i < 9; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    close(more[0]);
    close(more[1]);
}

TEST(serve, least_loaded_goes_where_there_are_fewest)
{
    struct scene scene = {.serve = tell_shard, .client = to_the_emptiest};
    scene.options.spread = TORC_SPREAD_LEAST_LOADED;
    scene.options.closed = count_closed;
    closed_count = 0;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 3}), 0);
}

static const char *socket_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "unix:/tmp/torc-serve-%ld", (long)getpid());
    return path;
}

TEST(serve, unix_sockets_are_handed_out)
{
    uint32_t count = 3;
    struct scene scene = {
        .listen = socket_path(), .serve = echo, .client = many_echo, .arg = &count};
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = count}), 0);
    CHECK_EQ(access(socket_path() + strlen("unix:"), F_OK), -1);
}

/* Connects and leaves, without end, until the server has gone. */
static void *storm(void *arg)
{
    struct scene *scene = arg;
    for (int i = 0; i < 100000; i++) {
        int fd = scene_connect(scene);
        if (fd < 0)
            break;
        if (i % 16 == 0)
            (void)!scene_echo(fd, "x"); /* or the queue grows to thousands that nobody waits for */
        else if (i % 3)
            (void)!scene_send(fd, "x", 1);
        scene_reset(fd);
    }
    return NULL;
}

static void storm_until_the_end(struct scene *scene)
{
    static pthread_t threads[2];
    WANT(scene_wait_for(scene, 3));
    for (int i = 0; i < 2; i++)
        WANT(!pthread_create(&threads[i], NULL, storm, scene));
    for (int i = 0; i < 50; i++) {
        int fd = scene_connect(scene);
        WANT(fd >= 0);
        WANT(scene_echo(fd, "x"));
        scene_reset(fd);
    }
    scene_stop(scene);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* scene_play counts descriptors. */
TEST(serve, what_is_on_its_way_at_the_end_is_closed)
{
    for (int i = 0; i < 4; i++) {
        struct scene scene = {.serve = echo, .client = storm_until_the_end};
        scene.options.spread = i % 2 ? TORC_SPREAD_ROUND_ROBIN : TORC_SPREAD_LEAST_LOADED;
        CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 3}), 0);
    }
}

/* ---- what can't be served ---- */

static void nobody(struct scene *scene)
{
    WANT(!scene_wait_for(scene, 1)); /* it ends before it listens */
}

static int listen_somewhere(struct torc_address *address, bool reuse_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    on = reuse_port;
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(fd, 8), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *address = (struct torc_address){.transport = TORC_TCP, .length = sizeof at};
    memcpy(&address->storage, &at, sizeof at);
    return fd;
}

static void fails(const char *address, int error, const char *words, enum torc_spread spread,
                  uint32_t shards)
{
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    struct scene scene = {.listen = address, .serve = echo, .client = nobody};
    scene.options.spread = spread;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.kernel = &fault.kernel, .shards = shards}),
             error);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, words));
    fault_kernel_check_clean(&fault);
}

TEST(serve, a_port_that_is_taken_is_said_once)
{
    for (int reuse = 0; reuse < 2; reuse++) {
        struct torc_address address;
        char text[TORC_ADDRESS_TEXT_MAX];
        int fd = listen_somewhere(&address, reuse);
        torc_address_format(&address, text);
        for (unsigned spread = 0; spread < SPREADS; spread++)
            for (uint32_t shards = 1; shards < 5; shards += 3)
                fails(text, -EADDRINUSE, text, spreads[spread], shards);
        close(fd);
    }
}

TEST(serve, an_address_of_another_machine_is_said_once)
{
    fails("tcp://192.0.2.1:7", -EADDRNOTAVAIL, "192.0.2.1", TORC_SPREAD_AUTO, 3);
    fails("tcp://192.0.2.1:7", -EADDRNOTAVAIL, "192.0.2.1", TORC_SPREAD_AUTO, 1);
}

TEST(serve, nonsense_is_said_once)
{
    fails("tcp://127.0.0.1:99999", -EINVAL, "99999", TORC_SPREAD_AUTO, 2);
    fails("udp://127.0.0.1:0", -EPROTOTYPE, "udp", TORC_SPREAD_AUTO, 2);
    fails("unix:@torc-spread", -EOPNOTSUPP, "torc-spread", TORC_SPREAD_KERNEL, 2);
}

static int retry_main(void *arg)
{
    for (int i = 0; i < 20; i++) {
        int err = scene_main(arg);
        if (err != -EADDRINUSE)
            return err < 0 ? err : -EIO;
    }
    return 0;
}

TEST(serve, who_could_not_listen_may_try_again)
{
    struct torc_address address;
    char text[TORC_ADDRESS_TEXT_MAX];
    struct fault_kernel fault;
    fault_kernel_init(&fault);
    int fd = listen_somewhere(&address, false);
    struct scene scene = {.serve = echo, .client = nobody};
    scene.listen = torc_address_format(&address, text);
    CHECK_EQ(scene_play_main(&scene, &(struct torc_config){.kernel = &fault.kernel, .shards = 3},
                             retry_main),
             0);
    fault_kernel_check_clean(&fault);
    close(fd);
}

/* Every call that can fail at the start does, one after another. */
static int one_turn(void *arg)
{
    struct torc_deadline deadline;
    torc_deadline_enter(&deadline, 1);
    int err = scene_main(arg);
    bool passed = torc_deadline_leave(&deadline);
    return err == -ETIMEDOUT && passed ? 0 : err;
}

static void ignore(const struct torc_address *address, void *arg)
{
    (void)address;
    (void)arg;
}

TEST(serve, every_failure_at_the_start_is_returned)
{
    for (long n = 0;; n++) {
        struct fault_kernel fault;
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ANY & ~(unsigned)(FAULT_ENTER | FAULT_STALL | FAULT_RANDOM);
        fault.fail_nth = n;
        struct scene scene = {.serve = echo};
        scene.options.listening = ignore;
        struct torc_config config = {.kernel = &fault.kernel, .shards = 1};
        int err = torc_run(&config, one_turn, &scene);
        CHECK(err <= 0);
        fault_kernel_check_clean(&fault);
        if (!fault.failed) {
            CHECK_EQ(err, 0);
            break;
        }
    }
}

/* ---- limits ---- */

static uint32_t running, most_running; /* atomic */

static int count_running(struct torc_stream *stream, void *arg)
{
    uint32_t now = __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    uint32_t most = __atomic_load_n(&most_running, __ATOMIC_SEQ_CST);
    while (now > most && !__atomic_compare_exchange_n(&most_running, &most, now, false,
                                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
    int result = echo(stream, arg);
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    return result;
}

/* All are connected before the first one ends. */
static void more_than_the_limit(struct scene *scene)
{
    int fds[MANY];
    WANT(scene_wait_for(scene, *(uint32_t *)scene->arg));
    for (int i = 0; i < MANY; i++) {
        WANT((fds[i] = scene_connect(scene)) >= 0);
        WANT(scene_send(fds[i], "x", 1));
    }
    for (int done = 0; done < MANY;) {
        struct pollfd polls[MANY];
        for (int i = 0; i < MANY; i++)
            polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        WANT(poll(polls, MANY, SCENE_PATIENCE_S * 1000) > 0);
        for (int i = 0; i < MANY; i++)
            if (polls[i].revents) {
                char byte;
                WANT(scene_receive(fds[i], &byte, 1) && byte == 'x');
                close(fds[i]);
                fds[i] = -1;
                done++;
            }
    }
}

TEST(serve, who_is_above_the_limit_waits)
{
    static const uint32_t shards[] = {1, 3};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned spread = 0; spread < SPREADS; spread++) {
            uint32_t count = shards[i];
            struct scene scene = {
                .serve = count_running, .client = more_than_the_limit, .arg = &count};
            scene.options.spread = spreads[spread];
            scene.options.connections_max = 3;
            running = most_running = 0;
            CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = count}), 0);
            CHECK(most_running > 0 && most_running <= 3 * count);
        }
}

/* With a large limit they come by multishot accept, in one turn, and some too many. */
TEST(serve, what_comes_in_one_turn_is_held)
{
    uint32_t count = 1;
    struct scene scene = {.serve = count_running, .client = more_than_the_limit, .arg = &count};
    scene.options.connections_max = 3;
    running = most_running = 0;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
    CHECK_EQ(most_running, 3);
}

static void refused_above(struct scene *scene)
{
    int fds[3];
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < 3; i++) {
        WANT((fds[i] = scene_connect(scene)) >= 0);
        WANT(scene_echo(fds[i], "x"));
    }
    for (int i = 0; i < 10; i++) {
        int fd = scene_connect(scene);
        WANT(fd == -ECONNRESET || (fd >= 0 && scene_end(fd) == -ECONNRESET));
        if (fd >= 0)
            close(fd);
    }
    uint32_t closed = __atomic_load_n(&closed_count, __ATOMIC_SEQ_CST);
    close(fds[0]);
    wait_closed(closed + 1);
    /* the hook comes before the count goes down */
    for (bool served = false; !served;) {
        fds[0] = scene_connect(scene);
        served = fds[0] >= 0 && scene_echo(fds[0], "x");
        if (fds[0] >= 0)
            close(fds[0]);
    }
    close(fds[1]);
    close(fds[2]);
}

TEST(serve, who_is_above_the_limit_is_reset)
{
    for (unsigned spread = 0; spread < SPREADS; spread++) {
        struct scene scene = {.serve = echo, .client = refused_above};
        scene.options.connections_max = 3;
        scene.options.at_limit = TORC_LIMIT_REFUSE;
        scene.options.closed = count_closed;
        scene.options.spread = spreads[spread];
        CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
    }
}

/* ---- out of descriptors ---- */

/* The clients are another process: the limit is the server's alone. Each holds on to its connection until all have been
 * heard that there is room for. */
static int clients_process(const struct scene *given, int count, int batch)
{
    struct scene scene = *given;
    int fds[64];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < count; i++)
        if ((fds[i] = scene_connect(&scene)) < 0)
            return 1;
    for (int i = 0; i < count; i += batch) {
        for (int k = i; k < i + batch; k++)
            if (!scene_echo(fds[k], "x"))
                return 2;
        for (int k = i; k < i + batch; k++)
            close(fds[k]);
    }
    return 0;
}

static void from_another_process(struct scene *scene)
{
    int status = -1;
    WANT(scene_wait_for(scene, 1));
    pid_t child = fork();
    if (!child)
        _exit(clients_process(scene, 60, 4));
    WANT(child > 0 && waitpid(child, &status, 0) == child);
    WANT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static uint64_t waits;

static int serve_with_few_files(void *arg)
{
    struct rlimit had, few;
    getrlimit(RLIMIT_NOFILE, &had);
    few = had;
    few.rlim_cur = (rlim_t)scene_open_files() + 12;
    setrlimit(RLIMIT_NOFILE, &few);
    int err = scene_main(arg);
    setrlimit(RLIMIT_NOFILE, &had);
    waits = torci_io_this()->exec.counters->net_accept_waits;
    return err;
}

/* It waits ten times a second, and whenever one was closed: not thousands of times. */
static void check_waits(void)
{
    CHECK(waits > 0 && waits < 1000);
}

TEST(serve, without_descriptors_it_waits_for_some)
{
    struct scene scene = {.serve = echo, .client = from_another_process};
    CHECK_EQ(scene_play_main(&scene, &(struct torc_config){.shards = 1}, serve_with_few_files), 0);
    check_waits();
}
