/* SPDX-License-Identifier: MIT
 *
 * What the tests of datagrams share.
 */
#ifndef TORC_TESTS_NET_DATAGRAMS_H
#define TORC_TESTS_NET_DATAGRAMS_H

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "core/time.h"
#include "net/datagram.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

enum { BATCH = TORC_DATAGRAM_BATCH_MAX, ROOM = 65536 };

static struct fault_kernel fault;
static struct torc_config config;

static inline void setup(void)
{
    fault_kernel_init(&fault);
    config = (struct torc_config){.kernel = &fault.kernel, .no_stall_report = true};
}

static inline void run(torc_task_fn *main, void *arg)
{
    setup();
    CHECK_EQ(run_shard(&config, main, arg), 0);
    fault_kernel_check_clean(&fault);
}

static inline unsigned open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static inline void open_at(struct torc_datagram *datagram, const char *address)
{
    CHECK_EQ(torc_datagram_open(datagram, address, NULL), 0);
}

/* To the one that is open already. */
static inline void open_connected(struct torc_datagram *datagram, const struct torc_datagram *to)
{
    char text[TORC_ADDRESS_TEXT_MAX];
    struct torc_datagram_options options = {
        .connect = torc_address_format(torc_datagram_address(to), text)};
    CHECK_EQ(torc_datagram_open(datagram, NULL, &options), 0);
}

/* A receive that is not to find anything. */
static inline ssize_t receive_for(struct torc_datagram *datagram, uint64_t timeout_ns)
{
    char byte;
    struct torc_deadline limit;
    torc_deadline_enter(&limit, timeout_ns);
    ssize_t n = torc_datagram_receive(datagram, &byte, 1, NULL);
    torc_deadline_leave(&limit);
    return n;
}

static inline void send_number(struct torc_datagram *datagram, uint32_t number,
                               const struct torc_address *to)
{
    CHECK_EQ(torc_datagram_send(datagram, &number, sizeof number, to), sizeof number);
}

static inline uint32_t receive_number(struct torc_datagram *datagram)
{
    uint32_t number = UINT32_MAX;
    CHECK_EQ(torc_datagram_receive(datagram, &number, sizeof number, NULL), sizeof number);
    return number;
}

/* "unixgram:@…", different in every test: they may run at the same time. */
static inline char *abstract(const char *name)
{
    static char text[64];
    snprintf(text, sizeof text, "unixgram:@torc-test-%d-%s", (int)getpid(), name);
    return text;
}

static char unix_path[64]; /* of a Unix socket */

static inline const char *unix_text(char *text)
{
    snprintf(text, TORC_ADDRESS_TEXT_MAX, "unixgram:%s", unix_path);
    return text;
}

static inline void make_path(void)
{
    snprintf(unix_path, sizeof unix_path, "/tmp/torc-test-%d.sock", (int)getpid());
    unlink(unix_path);
}

#endif
