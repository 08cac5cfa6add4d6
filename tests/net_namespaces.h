/* SPDX-License-Identifier: MIT
 *
 * Two networks that nobody else is in, joined by a cable (veth): for what loopback has not, a path with an MTU,
 * multicast that leaves a machine, a cable that is pulled.
 *
 *     here                          there
 *     10.9.0.1, fd09::1 on "here"   10.9.0.2, fd09::2 on "there"
 *
 * The test's thread starts in the first. A socket belongs to the network that its thread was in when it was made:
 * net_namespaces_go moves the calling thread, which a task may do as long as it makes sockets by calls of its own thread.
 */
#ifndef TORC_TESTS_NET_NAMESPACES_H
#define TORC_TESTS_NET_NAMESPACES_H

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

struct net_namespaces {
    int here, there; /* descriptors of the two */
};

static inline bool net_write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

static inline bool net_unshare(void)
{
    char uid_map[32], gid_map[32];
    snprintf(uid_map, sizeof uid_map, "0 %u 1", getuid());
    snprintf(gid_map, sizeof gid_map, "0 %u 1", getgid());
    return unshare(CLONE_NEWNET) == 0 || (unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 &&
                                          net_write_text("/proc/self/setgroups", "deny") &&
                                          net_write_text("/proc/self/uid_map", uid_map) &&
                                          net_write_text("/proc/self/gid_map", gid_map));
}

/* Runs ip with ARGUMENTS; whether it was pleased. */
static inline bool net_ip(const char *arguments)
{
    char command[256];
    snprintf(command, sizeof command, "ip %s >/dev/null 2>&1", arguments);
    return system(command) == 0;
}

/* The calling thread is in NAMESPACE from now on. */
static inline void net_namespaces_go(int namespace_fd)
{
    CHECK_EQ(setns(namespace_fd, CLONE_NEWNET), 0);
}

static inline bool net_namespaces_cable(const struct net_namespaces *both, const char *parent)
{
    char command[200];
    net_namespaces_go(both->here);
    snprintf(command, sizeof command, "link add here type veth peer name there netns %s", parent);
    return net_ip("link set lo up") && net_ip(command) && net_ip("addr add 10.9.0.1/24 dev here") &&
           net_ip("addr add fd09::1/64 dev here nodad") && net_ip("link set here up") &&
           net_ip("route add 224.0.0.0/4 dev here") &&
           (net_namespaces_go(both->there), net_ip("link set lo up")) &&
           net_ip("addr add 10.9.0.2/24 dev there") &&
           net_ip("addr add fd09::2/64 dev there nodad") && net_ip("link set there up") &&
           net_ip("route add 224.0.0.0/4 dev there");
}

/* Before anything of torc runs. Skips the test where it is not allowed. */
static inline void net_namespaces_make(struct net_namespaces *both)
{
    int ready[2];
    char path[64], parent[32], byte;
    if (!net_ip("-V"))
        TEST_SKIP("no ip: iproute2 is not installed");
    if (!net_unshare())
        TEST_SKIP("no network namespaces here");
    both->here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    /* The kernel names the other one by a process that is in it. */
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void)!write(ready[1], unshare(CLONE_NEWNET) == 0 ? "y" : "n", 1);
        for (;;)
            pause();
    }
    bool made = read(ready[0], &byte, 1) == 1 && byte == 'y';
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
    snprintf(parent, sizeof parent, "%d", (int)child);
    both->there = open(path, O_RDONLY | O_CLOEXEC);
    made = made && both->here >= 0 && both->there >= 0 && net_namespaces_cable(both, parent);
    close(ready[0]);
    close(ready[1]);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    if (!made)
        TEST_SKIP("no veth in a network namespace here");
    net_namespaces_go(both->here);
}

#endif
