/* SPDX-License-Identifier: MIT
 *
 * Listeners by hand: what accept gives and what it waits for, what becomes of connections that nobody takes, paths of Unix sockets,
 * and failures of the kernel that must neither end a listener nor make it spin.
 */
#include "net/serve.h"

#include <sys/stat.h>

#include "core/time.h"
#include "io/io_internal.h"
#include "tests/fault_kernel.h"
#include "tests/net_scene.h"

/* In a task; blocking calls of the test's own are good as long as the kernel alone answers them. */
#define MUST(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            return -EPROTO; \
        } \
    } while (0)

static int run(torc_task_fn *main, void *arg)
{
    int files = scene_open_files();
    int result = torc_run(&(struct torc_config){.shards = 1}, main, arg);
    CHECK_EQ(scene_open_files(), files);
    return result;
}

static int connect_to(const struct torc_listener *listener)
{
    struct scene scene = {.address = *torc_listener_address(listener)};
    return scene_connect(&scene);
}

/* ---- accepting ---- */

static int accept_some(void *arg)
{
    enum { COUNT = 200 };
    const char *text = arg;
    static int fds[COUNT];
    struct torc_listener listener;
    struct torc_stream stream;
    struct torc_deadline deadline;
    MUST(torc_listen(&listener, text, NULL) == 0);
    for (int i = 0; i < COUNT; i++)
        MUST((fds[i] = connect_to(&listener)) >= 0 && scene_send(fds[i], &i, sizeof i));
    for (int i = 0, got; i < COUNT; i++) { /* in the order in which they came */
        MUST(torc_accept(&listener, &stream) == 0);
        MUST(torc_stream_read_exactly(&stream, &got, sizeof got) == sizeof got && got == i);
        torc_stream_close(&stream);
        close(fds[i]);
    }
    torc_deadline_enter(&deadline, TORC_MS);
    MUST(torc_accept(&listener, &stream) == -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    /* the accept that was under way gets this one, and keeps it */
    MUST((fds[0] = connect_to(&listener)) >= 0);
    MUST(torc_sleep(TORC_MS) == 0 && torc_accept(&listener, &stream) == 0);
    torc_stream_close(&stream);
    close(fds[0]);
    torc_listener_close(&listener);
    torc_listener_close(&listener); /* harmless */
    return 0;
}

TEST(listener, accepts_in_order_and_loses_nothing)
{
    CHECK_EQ(run(accept_some, "tcp://127.0.0.1:0"), 0);
    CHECK_EQ(run(accept_some, "tcp://[::1]:0"), 0);
    CHECK_EQ(run(accept_some, "unix:@torc-listener"), 0);
}

static int accept_one(void *arg)
{
    struct torc_stream stream;
    int err = torc_accept(arg, &stream);
    if (!err)
        torc_stream_close(&stream);
    return err;
}

static int close_under(void *arg)
{
    struct torc_scope scope;
    struct torc_task task;
    struct torc_listener listener;
    (void)arg;
    MUST(torc_listen(&listener, "tcp://127.0.0.1:0", NULL) == 0);
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &task}, accept_one,
                         &listener) == 0);
    MUST(torc_sleep(TORC_MS) == 0);
    torc_listener_close(&listener);
    MUST(torc_task_join(&task) == -ECANCELED);
    MUST(torc_scope_join(&scope) == -ECANCELED);
    return 0;
}

TEST(listener, closing_wakes_who_accepts)
{
    CHECK_EQ(run(close_under, NULL), 0);
}

/* Some were accepted ahead, the others are in the kernel's queue. */
static int close_with_some(void *arg)
{
    enum { COUNT = 20 };
    int fds[COUNT];
    struct torc_listener listener;
    struct torc_stream stream;
    struct torc_deadline deadline;
    (void)arg;
    MUST(torc_listen(&listener, "tcp://127.0.0.1:0", NULL) == 0);
    torc_deadline_enter(&deadline, TORC_MS);
    MUST(torc_accept(&listener, &stream) == -ETIMEDOUT);
    (void)torc_deadline_leave(&deadline);
    for (int i = 0; i < COUNT; i++)
        MUST((fds[i] = connect_to(&listener)) >= 0);
    MUST(torc_sleep(TORC_MS) == 0);
    torc_listener_close(&listener);
    for (int i = 0; i < COUNT; i++) {
        MUST(scene_end(fds[i]) == -ECONNRESET);
        close(fds[i]);
    }
    return 0;
}

TEST(listener, what_nobody_took_is_reset)
{
    CHECK_EQ(run(close_with_some, NULL), 0);
}

/* ---- serving on a listener of one's own ---- */

static int echo_once(struct torc_stream *stream, void *arg)
{
    char byte;
    (void)arg;
    ssize_t n = torc_stream_read(stream, &byte, 1);
    return n <= 0 ? (int)n : torc_stream_write_all(stream, &byte, 1) < 0 ? -EIO : 0;
}

struct serving {
    struct torc_listener *listener;
    struct torc_task task;
};

static void stop_serving(struct torc_stream *stream, void *arg)
{
    struct serving *serving = arg;
    (void)stream;
    torc_task_cancel(&serving->task);
}

static int serve_on(void *arg)
{
    struct serving *serving = arg;
    return torc_serve_on(serving->listener, echo_once, serving,
                         &(struct torc_serve_options){.closed = stop_serving});
}

static int serve_one(struct torc_listener *listener)
{
    struct torc_scope scope;
    struct serving serving = {.listener = listener};
    torc_scope_init(&scope);
    MUST(torc_spawn_with(&scope, &(struct torc_task_options){.task = &serving.task}, serve_on,
                         &serving) == 0);
    return torc_scope_join(&scope);
}

static int serve_twice(void *arg)
{
    struct torc_listener listener;
    struct torc_stream stream;
    char byte = 0;
    (void)arg;
    MUST(torc_listen(&listener, "tcp://127.0.0.1:0", NULL) == 0);
    for (int i = 0; i < 2; i++) {
        int fd = connect_to(&listener);
        MUST(fd >= 0 && scene_send(fd, "x", 1));
        MUST(serve_one(&listener) == -ECANCELED);
        MUST(scene_receive(fd, &byte, 1) && byte == 'x');
        close(fd);
    }
    int fd = connect_to(&listener); /* and by hand after it */
    MUST(fd >= 0 && torc_accept(&listener, &stream) == 0);
    torc_stream_close(&stream);
    close(fd);
    torc_listener_close(&listener);
    return 0;
}

TEST(listener, outlives_its_servers)
{
    CHECK_EQ(run(serve_twice, NULL), 0);
}

/* ---- addresses ---- */

static int bad_addresses(void *arg)
{
    struct torc_listener first, second;
    char text[TORC_ADDRESS_TEXT_MAX];
    (void)arg;
    MUST(torc_listen(&first, "tcp://127.0.0.1:0", NULL) == 0);
    MUST(torc_address_port(torc_listener_address(&first)) > 0);
    torc_address_format(torc_listener_address(&first), text);
    MUST(torc_listen(&second, text, NULL) == -EADDRINUSE);
    MUST(torc_listen(&second, "tcp://192.0.2.1:0", NULL) == -EADDRNOTAVAIL);
    MUST(torc_listen(&second, "tcp://127.0.0.1:x", NULL) == -EINVAL);
    MUST(torc_listen(&second, "udp://127.0.0.1:0", NULL) == -EPROTOTYPE);
    MUST(torc_listen(&second, "unix:/nowhere/at/all", NULL) == -ENOENT);
    torc_listener_close(&first);
    MUST(torc_listen(&second, text, NULL) == 0); /* at once, whatever is in TIME_WAIT */
    torc_listener_close(&second);
    return 0;
}

TEST(listener, bad_addresses_are_told_apart)
{
    CHECK_EQ(run(bad_addresses, NULL), 0);
}

static char path[64], text_of_path[80];

static void make_path(void)
{
    snprintf(path, sizeof path, "/tmp/torc-listener-%ld", (long)getpid());
    snprintf(text_of_path, sizeof text_of_path, "unix:%s", path);
    unlink(path);
}

/* A socket that nobody has any more. */
static void leave_socket(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(fd, 1), 0);
    close(fd);
}

static int listen_on_path(void *arg)
{
    struct torc_listener first, second;
    (void)arg;
    MUST(torc_listen(&first, text_of_path, NULL) == 0);
    MUST(torc_listen(&second, text_of_path, NULL) == -EADDRINUSE); /* it lives */
    int fd = connect_to(&first);
    MUST(fd >= 0);
    close(fd);
    torc_listener_close(&first);
    MUST(access(path, F_OK) == -1);
    return 0;
}

TEST(listener, a_dead_servers_path_is_taken_over)
{
    make_path();
    leave_socket();
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_EQ(run(listen_on_path, NULL), 0);
}

static int listen_in_vain(void *arg)
{
    struct torc_listener listener;
    return torc_listen(&listener, text_of_path, NULL) == *(int *)arg ? 0 : -EPROTO;
}

TEST(listener, a_file_that_is_no_socket_stays)
{
    int wanted = -EADDRINUSE;
    make_path();
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK_EQ(run(listen_in_vain, &wanted), 0);
    CHECK_EQ(unlink(path), 0);
}

TEST(listener, a_forbidden_directory_is_said)
{
    int wanted = -EACCES;
    make_path();
    CHECK_EQ(mkdir(path, 0700), 0);
    snprintf(text_of_path, sizeof text_of_path, "unix:%s/socket", path);
    bool root = geteuid() == 0;
    CHECK_EQ(root ? seteuid(65534) : chmod(path, 0500), 0);
    int result = torc_run(&(struct torc_config){.shards = 1}, listen_in_vain, &wanted);
    if (root)
        CHECK_EQ(seteuid(0), 0);
    CHECK_EQ(rmdir(path), 0);
    CHECK_EQ(result, 0);
}

/* ---- more than the backlog ---- */

static int echo(struct torc_stream *stream, void *arg)
{
    char memory[256];
    ssize_t n;
    (void)arg;
    while ((n = torc_stream_read(stream, memory, sizeof memory)) > 0)
        if ((n = torc_stream_write_all(stream, memory, (size_t)n)) < 0)
            break;
    return (int)n;
}

/* Those that find the queue full are told nothing, and try again by themselves. */
static void more_than_the_backlog(struct scene *scene)
{
    enum { COUNT = 64 };
    int fds[COUNT];
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < COUNT; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        WANT(connect(fds[i], (struct sockaddr *)&scene->address.storage, scene->address.length) ==
                 0 ||
             errno == EINPROGRESS);
    }
    for (int i = 0; i < COUNT; i++) {
        struct pollfd ready = {.fd = fds[i], .events = POLLOUT};
        WANT(poll(&ready, 1, SCENE_PATIENCE_S * 1000) == 1 && ready.revents == POLLOUT);
        WANT(!fcntl(fds[i], F_SETFL, 0));
        scene_patience(fds[i]);
        WANT(scene_echo(fds[i], "x"));
        scene_reset(fds[i]);
    }
}

TEST(listener, an_overflow_of_the_backlog_passes)
{
    struct scene scene = {.serve = echo, .client = more_than_the_backlog};
    scene.options.socket.backlog = 2;
    CHECK_EQ(scene_play(&scene, &(struct torc_config){.shards = 1}), 0);
}

/* ---- failures of accept ---- */

/* Every accept that goes to the kernel while there are FAILURES left fails with ERROR there: 6.11 has no-ops with a result
 * of one's choice. */
static struct {
    int error;
    uint32_t failures, failed; /* atomic */
    struct torci_kernel kernel;
    const struct torci_kernel *real;
} broken;

static int enter_with_failures(void *context, int ring_fd, unsigned to_submit,
                               unsigned min_complete, unsigned flags, const void *arg, size_t size)
{
    enum { CHOOSE_RESULT = 1 };
    struct torci_ring *ring = &torci_io_this()->ring;
    for (uint32_t i = 0; i < to_submit; i++) {
        struct io_uring_sqe *sqe = &ring->sqes[(ring->tail - to_submit + i) & ring->sq_mask];
        if (sqe->opcode != IORING_OP_ACCEPT || !broken.failures)
            continue;
        uint64_t user_data = sqe->user_data;
        memset(sqe, 0, sizeof *sqe);
        sqe->opcode = IORING_OP_NOP;
        sqe->user_data = user_data;
        sqe->rw_flags = CHOOSE_RESULT;
        sqe->len = (uint32_t)broken.error;
        broken.failures--;
        broken.failed++;
    }
    return broken.real->ring_enter(context, ring_fd, to_submit, min_complete, flags, arg, size);
}

static int can_choose(void *arg)
{
    struct torc_op op;
    struct io_uring_sqe *sqe;
    (void)arg;
    int err = torc_op_begin(&op, &sqe);
    MUST(!err);
    io_uring_prep_nop(sqe);
    sqe->rw_flags = 1;
    sqe->len = (uint32_t)-ENFILE;
    return torc_op_wait(&op) == -ENFILE;
}

static void one_echo(struct scene *scene)
{
    WANT(scene_wait_for(scene, 1));
    for (int i = 0; i < 3; i++) {
        int fd = scene_connect(scene);
        WANT(fd >= 0 && scene_echo(fd, "x"));
        close(fd);
    }
}

static uint64_t waits;

static int serve_and_count(void *arg)
{
    int err = scene_main(arg);
    waits = torci_io_this()->exec.counters->net_accept_waits;
    return err;
}

/* Each costs a tenth of a second, or is one connection's own affair. */
TEST(listener, survives_every_failure)
{
    static const int errors[] = {-ENFILE,       -EMFILE, -ENOMEM, -ENOBUFS,
                                 -ECONNABORTED, -EPERM,  -EPROTO, -ENETDOWN};
    if (torc_run(&(struct torc_config){.shards = 1}, can_choose, NULL) != 1)
        TEST_SKIP("this kernel has no no-ops that fail");
    broken.real = torci_kernel_linux_get();
    broken.kernel = *broken.real;
    broken.kernel.ring_enter = enter_with_failures;
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct scene scene = {.serve = echo, .client = one_echo};
        broken.error = errors[i];
        broken.failures = 3;
        broken.failed = 0;
        CHECK_EQ(scene_play_main(&scene,
                                 &(struct torc_config){.shards = 1, .kernel = &broken.kernel},
                                 serve_and_count),
                 0);
        CHECK_EQ(broken.failed, 3);
        CHECK_EQ(waits, i < 4 ? 3 : 0);
    }
}
