/* SPDX-License-Identifier: MIT
 *
 * A server and its clients in one test: torc serves on the test's own thread (and those of its shards), and a plain
 * thread with blocking sockets plays the other side. When that has returned, the process gets SIGTERM: the server drains.
 *
 *     static void client(struct scene *scene)
 *     {
 *         int fd = scene_connect(scene);
 *         WANT(fd >= 0);
 *         ...
 *     }
 *     struct scene scene = {.serve = echo, .client = client};
 *     CHECK_EQ(scene_play(&scene, NULL), 0);
 *
 * scene_play also checks that no descriptor is left. Whatever the client waits for ends after SCENE_PATIENCE_S.
 */
#ifndef TORC_TESTS_NET_SCENE_H
#define TORC_TESTS_NET_SCENE_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/serve.h"
#include "shard/run.h"
#include "tests/harness.h"

enum { SCENE_PATIENCE_S = 60 };

struct scene {
    const char *listen; /* NULL: tcp://127.0.0.1:0 */
    torc_stream_fn *serve;
    bool handler;
    struct torc_serve_options options;
    void (*client)(struct scene *scene);
    void *arg; /* the test's own */

    struct torc_address address; /* where it listens */
    uint32_t shards;             /* atomic: that listen */
    const char *failed;          /* what the client wanted, and where */
    int failed_line;
    bool stopped; /* atomic */
    int pipe[2];
};

#define WANT(condition) \
    do { \
        if (!(condition)) { \
            scene->failed = #condition; \
            scene->failed_line = __LINE__; \
            return; \
        } \
    } while (0)

static inline void scene_listening(const struct torc_address *address, void *arg)
{
    struct scene *scene = arg;
    (void)!write(scene->pipe[1], address, sizeof *address);
    __atomic_add_fetch(&scene->shards, 1, __ATOMIC_SEQ_CST);
}

/* Until COUNT shards listen. */
static inline bool scene_wait_for(struct scene *scene, uint32_t count)
{
    struct torc_address address;
    while (count--) {
        if (read(scene->pipe[0], &address, sizeof address) != sizeof address)
            return false;
        if (scene->address.length && !torc_address_equal(&scene->address, &address))
            return false; /* all have the same one */
        scene->address = address;
    }
    return true;
}

static inline void scene_patience(int fd)
{
    const struct timeval patience = {.tv_sec = SCENE_PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

/* A blocking connection, or a negative errno. */
static inline int scene_connect(struct scene *scene)
{
    int fd = socket(scene->address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    scene_patience(fd);
    if (connect(fd, (struct sockaddr *)&scene->address.storage, scene->address.length) == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

static inline bool scene_send(int fd, const void *memory, size_t size)
{
    return send(fd, memory, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* Closes with a reset, which leaves no socket in TIME_WAIT: for who connects without end. */
static inline void scene_reset(int fd)
{
    const struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
}

/* SIZE bytes, all of them. */
static inline bool scene_receive(int fd, void *memory, size_t size)
{
    return recv(fd, memory, size, MSG_WAITALL) == (ssize_t)size;
}

/* There and back. */
static inline bool scene_echo(int fd, const char *text)
{
    char back[256];
    size_t size = strlen(text);
    return scene_send(fd, text, size) && scene_receive(fd, back, size) && !memcmp(back, text, size);
}

/* 0: the peer has ended; or how else reading ends. */
static inline int scene_end(int fd)
{
    char byte[4096];
    ssize_t n;
    while ((n = recv(fd, byte, sizeof byte, 0)) > 0)
        ;
    return n < 0 ? -errno : 0;
}

static inline int scene_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Once: a second signal would end the process. */
static inline void scene_stop(struct scene *scene)
{
    if (!__atomic_exchange_n(&scene->stopped, true, __ATOMIC_SEQ_CST))
        kill(getpid(), SIGTERM);
}

static inline void *scene_thread(void *arg)
{
    struct scene *scene = arg;
    scene->client(scene);
    scene_stop(scene);
    return NULL;
}

static inline int scene_main(void *arg)
{
    struct scene *scene = arg;
    const char *address = scene->listen ? scene->listen : "tcp://127.0.0.1:0";
    return scene->handler ? torc_serve_handler(address, scene->serve, scene, &scene->options)
                          : torc_serve(address, scene->serve, scene, &scene->options);
}

/* torc_run's result with MAIN on every shard. */
static inline int scene_play_main(struct scene *scene, const struct torc_config *config,
                                  torc_task_fn *main)
{
    pthread_t thread;
    sigset_t ours, before;
    int files = scene_open_files();
    scene->options.listening = scene_listening;
    CHECK_EQ(pipe2(scene->pipe, O_CLOEXEC), 0);
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    CHECK_EQ(pthread_create(&thread, NULL, scene_thread, scene), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    int result = torc_run(config, main, scene);
    __atomic_store_n(&scene->stopped, true, __ATOMIC_SEQ_CST);
    close(scene->pipe[1]); /* whoever still waits for the server sees that there is none */
    pthread_join(thread, NULL);
    close(scene->pipe[0]);
    if (scene->failed)
        TEST_FAIL("line %d: %s (handler %d, result %d)", scene->failed_line, scene->failed,
                  scene->handler, result);
    CHECK_EQ(scene_open_files(), files);
    return result;
}

static inline int scene_play(struct scene *scene, const struct torc_config *config)
{
    return scene_play_main(scene, config, scene_main);
}

/* Without TORC_SHARDS, one shard. */
static inline const struct torc_config *scene_config(struct torc_config *config)
{
    const char *shards = getenv("TORC_SHARDS");
    if (!shards || !*shards)
        config->shards = 1;
    return config;
}

#endif
