/* SPDX-License-Identifier: MIT
 *
 * What only Unix streams can: pairs, credentials, descriptors that travel with bytes. None may ever be lost or left open.
 */
#define TEST_SECONDS 60
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/time.h"
#include "io/abi_internal.h"
#include "io/io_internal.h"
#include "net/serve.h"
#include "net/stream.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;
static struct torc_config config;

static void setup(void)
{
    fault_kernel_init(&fault);
    config = (struct torc_config){.kernel = &fault.kernel, .no_stall_report = true};
}

static void run(torc_task_fn *main, void *arg)
{
    setup();
    CHECK_EQ(run_shard(&config, main, arg), 0);
    fault_kernel_check_clean(&fault);
}

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void open_pair(struct torc_stream pair[2])
{
    CHECK_EQ(torc_stream_pair(pair), 0);
}

static void close_pair(struct torc_stream pair[2])
{
    torc_stream_close(&pair[0]);
    torc_stream_close(&pair[1]);
}

static void expect_text(struct torc_stream *stream, const char *text)
{
    char got[64];
    size_t size = strlen(text);
    CHECK_EQ(torc_stream_read_exactly(stream, got, size), size);
    CHECK(!memcmp(got, text, size));
}

/* Whether both are the same file. */
static bool is_same(int one, int two)
{
    struct stat first, second;
    return fstat(one, &first) == 0 && fstat(two, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

static int some_file(void)
{
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    close(ends[1]);
    return ends[0];
}

static void send_fds(struct torc_stream *stream, const char *text, const int *fds, unsigned count)
{
    CHECK_EQ(torc_stream_send_fds(stream, text, strlen(text), fds, count), strlen(text));
}

static unsigned receive(struct torc_stream *stream, const char *text, int *fds, unsigned room)
{
    char got[64];
    unsigned count = room;
    CHECK_EQ(torc_stream_receive_fds(stream, got, strlen(text), fds, &count), strlen(text));
    CHECK(!memcmp(got, text, strlen(text)));
    CHECK(count <= room);
    return count;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(close(fds[i]), 0);
}

/* ---- pairs and credentials ---- */

static int talk(void *arg)
{
    struct torc_stream pair[2];
    struct ucred who = {0};
    char byte;
    (void)arg;
    unsigned files = open_files();
    open_pair(pair);
    CHECK_EQ(torc_stream_print(&pair[0], "there"), 0);
    expect_text(&pair[1], "there");
    CHECK_EQ(torc_stream_print(&pair[1], "back"), 0);
    expect_text(&pair[0], "back");
    CHECK_EQ(torc_stream_credentials(&pair[0], &who), 0);
    CHECK_EQ(who.pid, getpid());
    CHECK_EQ(who.uid, getuid());
    CHECK_EQ(who.gid, getgid());
    torc_stream_close(&pair[0]);
    CHECK_EQ(torc_stream_read(&pair[1], &byte, 1), 0);
    torc_stream_close(&pair[1]);
    CHECK_EQ(open_files(), files);
    return 0;
}

TEST(net_unix, a_pair_talks_and_knows_who_is_there)
{
    run(talk, NULL);
}

static int pair_fails(void *arg)
{
    struct torc_stream pair[2];
    (void)arg;
    open_pair(pair); /* the room's own state is made once */
    close_pair(pair);
    unsigned files = open_files();
    for (long nth = 0;; nth++) {
        CHECK(nth < 20);
        fault.fail_kinds = FAULT_CALL | FAULT_ALLOC;
        fault.fail_nth = nth;
        fault.calls = 0;
        fault.failed = false;
        int err = torc_stream_pair(pair);
        fault.fail_nth = -1;
        CHECK_EQ(err, fault.failed ? -EMFILE : 0);
        if (!err)
            break;
        CHECK_EQ(open_files(), files);
    }
    close_pair(pair);
    return 0;
}

TEST(net_unix, a_pair_that_fails_leaves_nothing)
{
    setup();
    CHECK_EQ(run_alone(&config, pair_fails, NULL), 0);
    fault_kernel_check_clean(&fault);
}

static void open_tcp(struct torc_stream pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&at, length), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(getsockname(listener, (struct sockaddr *)&at, &length), 0);
    CHECK_EQ(connect(one, (struct sockaddr *)&at, length), 0);
    int two = accept(listener, NULL, NULL);
    CHECK(two >= 0);
    close(listener);
    CHECK_EQ(torc_stream_adopt(&pair[0], one), 0);
    CHECK_EQ(torc_stream_adopt(&pair[1], two), 0);
}

static int not_over_tcp(void *arg)
{
    struct torc_stream pair[2];
    struct ucred who;
    int fd = 0;
    unsigned count = 1;
    char byte;
    (void)arg;
    open_tcp(pair);
    CHECK_EQ(torc_stream_credentials(&pair[0], &who), -EOPNOTSUPP);
    CHECK_EQ(torc_stream_send_fds(&pair[0], "x", 1, &fd, 1), -EOPNOTSUPP);
    CHECK_EQ(torc_stream_print(&pair[1], "here"), 0);
    CHECK_EQ(torc_stream_receive_fds(&pair[0], &byte, 1, &fd, &count), -EOPNOTSUPP);
    CHECK_EQ(count, 0);
    expect_text(&pair[0], "here"); /* it is of use as it was */
    close_pair(pair);
    return 0;
}

TEST(net_unix, tcp_has_no_descriptors_and_no_credentials)
{
    run(not_over_tcp, NULL);
}

/* ---- descriptors ---- */

static int arrive(void *arg)
{
    static int fds[TORC_STREAM_FDS_MAX + 1], got[TORC_STREAM_FDS_MAX + 1];
    static const unsigned counts[] = {1, 0, 2, 3, 16, TORC_STREAM_FDS_MAX};
    struct torc_stream pair[2];
    (void)arg;
    unsigned files = open_files();
    open_pair(pair);
    int file = some_file();
    for (unsigned i = 0; i <= TORC_STREAM_FDS_MAX; i++)
        fds[i] = file;
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(counts); i++) {
        send_fds(&pair[0], "bytes", fds, counts[i]);
        unsigned count = receive(&pair[1], "bytes", got, TORC_STREAM_FDS_MAX + 1);
        CHECK_EQ(count, counts[i]);
        for (unsigned k = 0; k < count; k++) {
            CHECK(got[k] != file && is_same(got[k], file));
            CHECK_EQ(fcntl(got[k], F_GETFD), FD_CLOEXEC);
        }
        close_all(got, count);
    }
    CHECK_EQ(torc_stream_send_fds(&pair[0], "x", 1, fds, TORC_STREAM_FDS_MAX + 1), -EINVAL);
    CHECK_EQ(torc_stream_send_fds(&pair[0], "x", 0, fds, 1), -EINVAL);
    fds[1] = -1;
    CHECK_EQ(torc_stream_send_fds(&pair[0], "x", 1, fds, 2), -EBADF);
    send_fds(&pair[0], "good", fds, 1);
    CHECK_EQ(receive(&pair[1], "good", got, 1), 1);
    close(got[0]);
    close(file);
    close_pair(pair);
    CHECK_EQ(open_files(), files);
    return 0;
}

TEST(net_unix, descriptors_arrive_with_their_bytes)
{
    run(arrive, NULL);
}

static int no_room(void *arg)
{
    struct torc_stream pair[2];
    int fds[4], got[4];
    (void)arg;
    open_pair(pair);
    for (int i = 0; i < 4; i++)
        fds[i] = some_file();
    unsigned files = open_files();
    for (unsigned room = 0; room <= 4; room++) {
        send_fds(&pair[0], "some", fds, 4);
        unsigned count = receive(&pair[1], "some", got, room);
        CHECK_EQ(count, room);
        CHECK_EQ(open_files(), files + count);
        for (unsigned i = 0; i < count; i++)
            CHECK(is_same(got[i], fds[i]));
        close_all(got, count);
    }
    /* what nobody receives is closed with the stream */
    send_fds(&pair[0], "late", fds, 4);
    close_all(fds, 4);
    close_pair(pair);
    CHECK_EQ(open_files(), files - 6);
    return 0;
}

TEST(net_unix, what_has_no_room_is_closed)
{
    run(no_room, NULL);
}

static int no_descriptors_left(void *arg)
{
    struct torc_stream pair[2];
    struct rlimit limit, few;
    int fds[4], got[8];
    (void)arg;
    open_pair(pair);
    for (int i = 0; i < 4; i++)
        fds[i] = some_file();
    send_fds(&pair[0], "some", fds, 4);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    few.rlim_cur = (rlim_t)fds[3] + 3;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    unsigned count = receive(&pair[1], "some", got, 8);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(count, 2);
    close_all(got, count);
    close_all(fds, 4);
    close_pair(pair);
    return 0;
}

TEST(net_unix, bytes_come_when_descriptors_can_not)
{
    run(no_descriptors_left, NULL);
}

/* ---- in the stream's order ---- */

/* Bytes, bytes with a descriptor, bytes. */
static void send_and_expect(struct torc_stream pair[2], int file)
{
    char all[32] = "";
    size_t have = 0;
    unsigned came = 0;
    int got[2];
    CHECK_EQ(torc_stream_print(&pair[0], "first "), 0); /* gathered, and not sent yet */
    send_fds(&pair[0], "second", &file, 1);
    CHECK_EQ(torc_stream_print(&pair[0], " third"), 0);
    CHECK_EQ(torc_stream_flush(&pair[0]), 0);
    while (have < 18) {
        unsigned count = 2;
        ssize_t n = torc_stream_receive_fds(&pair[1], all + have, sizeof all - have, got, &count);
        CHECK(n > 0);
        /* the kernel does not mix what has come with descriptors with what comes after */
        CHECK(!count || have + (size_t)n == 12);
        have += (size_t)n;
        came += count;
    }
    CHECK_STR(all, "first second third");
    CHECK_EQ(came, 1);
    close(got[0]);
}

static int ordered(void *arg)
{
    struct torc_stream pair[2];
    char text[8];
    int file = some_file(), got[2];
    (void)arg;
    open_pair(pair);
    for (int i = 0; i < 100; i++) /* now and then the turn ends within, and all is sent anyway */
        send_and_expect(pair, file);

    /* in pieces: the descriptors are with the first */
    unsigned count = 2;
    send_fds(&pair[0], "pieces", &file, 1);
    CHECK_EQ(torc_stream_receive_fds(&pair[1], text, 2, got, &count), 2);
    CHECK_EQ(count, 1);
    close(got[0]);
    CHECK_EQ(receive(&pair[1], "eces", got, 2), 0);
    close(file);
    close_pair(pair);
    return 0;
}

TEST(net_unix, descriptors_keep_their_place_in_the_stream)
{
    run(ordered, NULL);
}

static int mixed_with_reads(void *arg)
{
    struct torc_stream pair[2];
    int file = some_file(), got[2];
    (void)arg;
    open_pair(pair);
    unsigned files = open_files();
    CHECK_EQ(torc_stream_print(&pair[0], "a"), 0);
    expect_text(&pair[1], "a");
    send_fds(&pair[0], "lost", &file, 1);
    CHECK_EQ(torc_sleep(TORC_MS), 0); /* the receive of the read has it */
    CHECK_EQ(open_files(), files);
    CHECK_EQ(receive(&pair[1], "lost", got, 2), 0);
    for (int i = 0; i < 10; i++) {
        send_fds(&pair[0], "kept", &file, 1);
        CHECK_EQ(receive(&pair[1], "kept", got, 2), 1);
        close(got[0]);
    }
    CHECK_EQ(torc_stream_print(&pair[0], "plain"), 0);
    expect_text(&pair[1], "plain");
    CHECK_EQ(torc_stream_print(&pair[0], "ab"), 0);
    expect_text(&pair[1], "a");
    CHECK_EQ(receive(&pair[1], "b", got, 2), 0);
    CHECK_EQ(open_files(), files);
    close(file);
    close_pair(pair);
    return 0;
}

TEST(net_unix, reads_and_receives_take_turns)
{
    run(mixed_with_reads, NULL);
}

/* ---- waiting ---- */

enum { MANY = 1000 };

static uint64_t haste_ns(unsigned *state)
{
    *state = *state * 1103515245 + 12345;
    return (*state >> 16) % 40 * TORC_US / 4;
}

struct hasty {
    struct torc_stream *stream;
    int file;
    unsigned interrupted;
};

static int send_hastily(void *arg)
{
    struct hasty *self = arg;
    unsigned state = 1;
    for (uint32_t i = 0; i < MANY;) {
        struct torc_deadline limit;
        torc_deadline_enter(&limit, haste_ns(&state));
        ssize_t n = torc_stream_send_fds(self->stream, &i, sizeof i, &self->file, 1);
        torc_deadline_leave(&limit);
        CHECK(n == sizeof i || n == -ETIMEDOUT);
        if (n > 0)
            i++;
        else
            self->interrupted++;
    }
    return 0;
}

static int receive_hastily(void *arg)
{
    struct hasty *self = arg;
    unsigned state = 2;
    for (uint32_t i = 0, number; i < MANY;) {
        struct torc_deadline limit;
        int fds[2];
        unsigned count = 2;
        torc_deadline_enter(&limit, haste_ns(&state));
        ssize_t n = torc_stream_receive_fds(self->stream, &number, sizeof number, fds, &count);
        torc_deadline_leave(&limit);
        CHECK(n == sizeof number || n == -ETIMEDOUT);
        if (n > 0) {
            CHECK_EQ(number, i++);
            CHECK_EQ(count, 1);
            CHECK(is_same(fds[0], self->file));
            close(fds[0]);
        } else {
            CHECK_EQ(count, 0);
            self->interrupted++;
        }
        if (i % 200 == 199) /* the sender's turn to find no room */
            CHECK_EQ(torc_sleep(TORC_MS), 0);
    }
    return 0;
}

static int hasty(void *arg)
{
    struct torc_stream pair[2];
    struct torc_scope all;
    int small = 4096;
    (void)arg;
    open_pair(pair);
    CHECK_EQ(torc_stream_set_option(&pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    struct hasty sender = {&pair[0], some_file(), 0}, receiver = {&pair[1], sender.file, 0};
    unsigned files = open_files();
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, receive_hastily, &receiver), 0);
    CHECK_EQ(torc_spawn(&all, send_hastily, &sender), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK(sender.interrupted > 0);
    CHECK(receiver.interrupted > 0);
    CHECK_EQ(open_files(), files);
    close(sender.file);
    close_pair(pair);
    return 0;
}

TEST(net_unix, deadlines_lose_neither_bytes_nor_descriptors)
{
    run(hasty, NULL);
}

enum { LARGE = 3 << 20 };
static char large[LARGE], room[LARGE];

static int send_large(void *arg)
{
    struct hasty *self = arg;
    CHECK_EQ(torc_stream_send_fds(self->stream, large, LARGE, &self->file, 1), LARGE);
    return 0;
}

static int large_message(void *arg)
{
    struct torc_stream pair[2];
    struct torc_scope all;
    int fds[2];
    unsigned came = 0;
    (void)arg;
    open_pair(pair);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 7 + i / 4096);
    struct hasty sender = {&pair[0], some_file(), 0};
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, send_large, &sender), 0);
    for (size_t at = 0; at < LARGE;) {
        unsigned count = 2;
        ssize_t n = torc_stream_receive_fds(&pair[1], room + at, LARGE - at, fds, &count);
        CHECK(n > 0);
        CHECK(!count || at == 0);
        at += (size_t)n;
        came += count;
    }
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK_EQ(came, 1);
    CHECK(!memcmp(large, room, LARGE));
    close(fds[0]);
    close(sender.file);
    close_pair(pair);
    return 0;
}

TEST(net_unix, more_than_the_socket_holds_goes_with_descriptors)
{
    run(large_message, NULL);
}

/* ---- ends ---- */

static int ends(void *arg)
{
    struct torc_stream pair[2];
    int file = some_file(), got;
    unsigned count = 1;
    char byte;
    (void)arg;
    open_pair(pair);
    send_fds(&pair[0], "last", &file, 1);
    torc_stream_close(&pair[0]);
    CHECK_EQ(torc_stream_send_fds(&pair[1], "x", 1, &file, 1), -EPIPE);
    CHECK_EQ(torc_stream_send_fds(&pair[1], "x", 1, &file, 1), -EPIPE);
    CHECK_EQ(torc_stream_print(&pair[1], "x"), -EPIPE);
    close_pair(pair);

    open_pair(pair);
    send_fds(&pair[0], "last", &file, 1);
    torc_stream_close(&pair[0]);
    CHECK_EQ(receive(&pair[1], "last", &got, 1), 1);
    close(got);
    for (int i = 0; i < 2; i++) {
        count = 1;
        CHECK_EQ(torc_stream_receive_fds(&pair[1], &byte, 1, &got, &count), 0);
        CHECK_EQ(count, 0);
    }
    CHECK_EQ(torc_stream_read(&pair[1], &byte, 1), 0);
    torc_stream_close(&pair[1]);

    /* it has not read what it was sent, which is a failure, from now on */
    open_pair(pair);
    send_fds(&pair[1], "unread", &file, 1);
    torc_stream_close(&pair[0]);
    for (int i = 0; i < 2; i++) {
        count = 1;
        CHECK_EQ(torc_stream_receive_fds(&pair[1], &byte, 1, &got, &count), -ECONNRESET);
    }
    torc_stream_close(&pair[1]);
    close(file);
    return 0;
}

TEST(net_unix, the_other_end_goes)
{
    run(ends, NULL);
}

static int end_later(void *arg)
{
    CHECK_EQ(torc_sleep(TORC_MS), 0);
    torc_stream_close(arg);
    return 0;
}

static int ends_a_wait(void *arg)
{
    struct torc_stream pair[2];
    struct torc_scope all;
    int got;
    unsigned count = 1;
    char byte;
    (void)arg;
    open_pair(pair);
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, end_later, &pair[0]), 0);
    CHECK_EQ(torc_stream_receive_fds(&pair[1], &byte, 1, &got, &count), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    torc_stream_close(&pair[1]);

    /* and a stream is closed although its receive was given up in the middle */
    struct torc_deadline limit;
    open_pair(pair);
    torc_deadline_enter(&limit, TORC_MS);
    CHECK_EQ(torc_stream_receive_fds(&pair[1], &byte, 1, &got, &count), -ETIMEDOUT);
    torc_deadline_leave(&limit);
    close_pair(pair);
    return 0;
}

TEST(net_unix, the_end_is_an_end_of_waiting)
{
    run(ends_a_wait, NULL);
}

/* ---- in a server ---- */

static int take_a_file(struct torc_stream *stream, void *arg)
{
    struct ucred who;
    int fd;
    unsigned count = 1;
    char byte;
    ssize_t n;
    CHECK_EQ(torc_stream_credentials(stream, &who), 0);
    CHECK_EQ(who.pid, getpid());
    while ((n = torc_stream_receive_fds(stream, &byte, 1, &fd, &count)) > 0) {
        CHECK_EQ(count, 1);
        CHECK_EQ(torc_stream_send_fds(stream, "?", 1, &fd, 1), 1);
        close(fd);
        CHECK_EQ(torc_stream_print(stream, "!"), 0);
    }
    *(ssize_t *)arg = n;
    return (int)n;
}

static int serve_files(void *arg)
{
    int err = torc_serve_on(((void **)arg)[0], take_a_file, ((void **)arg)[1], NULL);
    CHECK(err == 0 || err == -ECANCELED);
    return 0;
}

static int served(void *arg)
{
    struct torc_listener listener;
    struct torc_stream client;
    struct torc_scope all;
    char text[TORC_ADDRESS_TEXT_MAX];
    ssize_t end = 1;
    void *context[2] = {&listener, &end};
    snprintf(text, sizeof text, "unix:@torc-test-%d-files", (int)getpid());
    const struct torc_serve_options options = {.direct = arg != NULL};
    CHECK_EQ(torc_listen(&listener, text, &options), 0);
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, serve_files, context), 0);
    CHECK_EQ(torc_connect(&client, text, NULL), 0);
    int file = some_file();
    unsigned files = 0;
    for (int i = 0, fd; i < 5; i++) {
        send_fds(&client, "x", &file, 1);
        CHECK_EQ(receive(&client, "?", &fd, 1), 1);
        CHECK(is_same(fd, file));
        close(fd);
        CHECK_EQ(receive(&client, "!", &fd, 1), 0);
        if (i == 0)
            files = open_files(); /* the server has accepted by now */
    }
    CHECK_EQ(open_files(), files);
    torc_scope_cancel(&all); /* the server drains: who waits for a request sees an end */
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK_EQ(end, 0);
    close(file);
    torc_stream_close(&client);
    torc_listener_close(&listener);
    return 0;
}

TEST(net_unix, a_server_that_drains_ends_the_wait_for_descriptors)
{
    run(served, NULL);
}

static int has_borrowing(void *arg)
{
    *(bool *)arg = torci_ring_has_op(torci_io_this(), TORCI_OP_FIXED_FD_INSTALL);
    return 0;
}

TEST(net_unix, connections_without_a_descriptor_get_descriptors_too)
{
    bool can = false;
    run(has_borrowing, &can);
    if (!can)
        TEST_SKIP("no descriptors for direct ones before Linux 6.8");
    run(served, "direct");
}
