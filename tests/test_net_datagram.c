/* SPDX-License-Identifier: MIT
 *
 * Datagrams on loopback and over Unix sockets, one at a time: borders, senders, sizes, waiting, and what is said when nobody is
 * there. Batches and opening are in test_net_datagram_batch.c, networks of their own in test_net_multicast.c.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/event.h"
#include "io/io_internal.h"
#include "tests/net_datagrams.h"

/* ---- one at a time ---- */

static int borders(void *address)
{
    struct torc_datagram a, b;
    struct torc_address from;
    static char text[ROOM];
    static const size_t sizes[] = {5, 0, 1, 1400, 9000, 0};
    open_at(&a, address);
    open_at(&b, address);
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(sizes); i++) {
        memset(text, (int)('a' + i), sizes[i]);
        CHECK_EQ(torc_datagram_send(&a, text, sizes[i], torc_datagram_address(&b)), sizes[i]);
    }
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(sizes); i++) {
        CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, i % 2 ? NULL : &from), sizes[i]);
        CHECK(torc_address_equal(&from, torc_datagram_address(&a)));
        if (sizes[i])
            CHECK(text[0] == (char)('a' + i) && text[sizes[i] - 1] == text[0]);
    }
    CHECK_EQ(torc_datagram_send(&b, "back", 4, &from), 4);
    CHECK_EQ(torc_datagram_receive(&a, text, sizeof text, NULL), 4);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, messages_keep_their_borders_and_tell_their_sender)
{
    run(borders, "udp://127.0.0.1:0");
}

TEST(datagram, messages_keep_their_borders_over_ipv6)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local) != 0)
        TEST_SKIP("no IPv6 here");
    run(borders, "udp://[::1]:0");
}

static int unix_borders(void *arg)
{
    struct torc_datagram a, b, nameless;
    struct torc_address from;
    char text[16];
    (void)arg;
    open_at(&b, abstract("borders"));
    open_connected(&a, &b);
    CHECK_EQ(torc_datagram_send(&a, "one", 3, NULL), 3);
    CHECK_EQ(torc_datagram_send(&a, "", 0, NULL), 0);
    CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, &from), 3);
    CHECK(torc_address_equal(&from, torc_datagram_address(&a))); /* the kernel gave it one */
    CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, &from), 0);
    CHECK_EQ(torc_datagram_send(&b, "back", 4, &from), 4);
    CHECK_EQ(torc_datagram_receive(&a, text, sizeof text, NULL), 4);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(torc_datagram_adopt(&nameless, fd), 0);
    CHECK_EQ(torc_datagram_send(&nameless, "who", 3, torc_datagram_address(&b)), 3);
    CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, &from), 3);
    CHECK_EQ(from.length, sizeof(sa_family_t));
    CHECK(torc_datagram_send(&b, "back", 4, &from) < 0);
    torc_datagram_close(&nameless);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, unix_messages_can_be_answered)
{
    run(unix_borders, NULL);
}

static int too_large_for_the_room(void *address)
{
    struct torc_datagram a, b;
    char text[8] = "";
    open_at(&b, address);
    open_connected(&a, &b);
    CHECK_EQ(torc_datagram_send(&a, "0123456789", 10, NULL), 10);
    CHECK_EQ(torc_datagram_send(&a, "x", 1, NULL), 1);
    CHECK_EQ(torc_datagram_send(&a, "", 0, NULL), 0);
    CHECK_EQ(torc_datagram_send(&a, "01234567", 8, NULL), 8);
    CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, NULL), -EMSGSIZE);
    CHECK_EQ(torc_datagram_receive(&b, text, 0, NULL), -EMSGSIZE);
    CHECK_EQ(torc_datagram_receive(&b, text, 0, NULL), 0);
    CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, NULL), 8);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, what_is_larger_than_the_room_is_gone_and_said)
{
    run(too_large_for_the_room, "udp://127.0.0.1:0");
    run(too_large_for_the_room, abstract("room"));
}

static int too_large_to_send(void *arg)
{
    static char large[1 << 20];
    struct torc_datagram a, b;
    (void)arg;
    open_at(&b, "udp://127.0.0.1:0");
    open_connected(&a, &b);
    CHECK_EQ(torc_datagram_send(&a, large, 65508, NULL), -EMSGSIZE);
    CHECK_EQ(torc_datagram_send(&a, large, 65507, NULL), 65507);
    CHECK_EQ(torc_datagram_receive(&b, large, sizeof large, NULL), 65507);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    open_at(&b, abstract("large"));
    open_connected(&a, &b);
    CHECK_EQ(torc_datagram_send(&a, large, sizeof large, NULL), -EMSGSIZE);
    send_number(&a, 1, NULL);
    CHECK_EQ(receive_number(&b), 1);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, what_is_too_large_is_not_sent)
{
    run(too_large_to_send, NULL);
}

static int dual(void *arg)
{
    struct torc_datagram v4, any;
    struct torc_message message = {.data = {(char[8]){0}, 8}};
    struct torc_address to, from;
    (void)arg;
    open_at(&any, "udp://:0");
    open_at(&v4, "udp://127.0.0.1:0");
    CHECK_EQ(torc_address_parse("udp://127.0.0.1:0", &to), 0);
    torc_address_set_port(&to, torc_address_port(torc_datagram_address(&any)));
    CHECK_EQ(torc_datagram_send(&v4, "one", 3, &to), 3);
    CHECK_EQ(torc_datagram_send(&v4, "two", 3, &to), 3);
    CHECK_EQ(torc_datagram_receive(&any, message.data.iov_base, 8, &from), 3);
    CHECK(torc_address_equal(&from, torc_datagram_address(&v4)));
    CHECK_EQ(torc_datagram_receive_batch(&any, &message, 1), 1);
    CHECK(torc_address_equal(&message.peer, torc_datagram_address(&v4)));
    CHECK_EQ(torc_datagram_send_batch(&any, &message, 1), 1);
    CHECK_EQ(torc_datagram_receive(&v4, message.data.iov_base, 8, &from), 3);
    CHECK(torc_address_equal(&from, &to));
    torc_datagram_close(&v4);
    torc_datagram_close(&any);
    return 0;
}

TEST(datagram, a_socket_for_both_families_tells_ipv4_senders_as_such)
{
    run(dual, NULL);
}

/* ---- waiting ---- */

static int receive_five(void *arg)
{
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ(receive_number(arg), i);
    return 0;
}

static int receive_waits(void *address)
{
    struct torc_datagram a, b;
    struct torc_scope all;
    open_at(&b, address);
    open_connected(&a, &b);
    CHECK_EQ(receive_for(&b, TORC_MS), -ETIMEDOUT);
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, receive_five, &b), 0);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK_EQ(torc_sleep(i % 2 * 100 * TORC_US), 0);
        send_number(&a, i, NULL);
    }
    CHECK_EQ(torc_scope_join(&all), 0);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, a_receive_waits_for_a_message)
{
    run(receive_waits, "udp://127.0.0.1:0");
    run(receive_waits, abstract("waits"));
}

enum { MANY = 3000 };

struct hasty {
    struct torc_datagram *datagram;
    const struct torc_address *to;
    unsigned interrupted;
};

static uint64_t haste_ns(unsigned *state)
{
    *state = *state * 1103515245 + 12345;
    return (*state >> 16) % 40 * TORC_US / 4;
}

/* Unix datagrams get lost nowhere on the way, so whatever is missing was lost here. */
static int send_hastily(void *arg)
{
    struct hasty *self = arg;
    unsigned state = 1;
    for (uint32_t i = 0; i < MANY;) {
        struct torc_deadline limit;
        torc_deadline_enter(&limit, haste_ns(&state));
        ssize_t n = torc_datagram_send(self->datagram, &i, sizeof i, self->to);
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
    for (uint32_t i = 0, got = 0; i < MANY;) {
        struct torc_deadline limit;
        torc_deadline_enter(&limit, haste_ns(&state));
        ssize_t n = torc_datagram_receive(self->datagram, &got, sizeof got, NULL);
        torc_deadline_leave(&limit);
        CHECK(n == sizeof got || n == -ETIMEDOUT);
        if (n > 0)
            CHECK_EQ(got, i++);
        else
            self->interrupted++;
        if (i % 100 == 99) /* the sender's turn to find no room */
            CHECK_EQ(torc_sleep(200 * TORC_US), 0);
    }
    return 0;
}

static int hasty(void *named)
{
    struct torc_datagram a, b;
    struct torc_scope all;
    char text[TORC_ADDRESS_TEXT_MAX];
    struct torc_datagram_options small = {.socket = {.send_bytes = 4608}}; /* a dozen messages */
    open_at(&b, abstract("hasty"));
    small.connect = torc_address_format(torc_datagram_address(&b), text);
    CHECK_EQ(torc_datagram_open(&a, NULL, &small), 0);
    struct hasty sender = {&a, named ? torc_datagram_address(&b) : NULL, 0},
                 receiver = {&b, NULL, 0};
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, receive_hastily, &receiver), 0);
    CHECK_EQ(torc_spawn(&all, send_hastily, &sender), 0);
    CHECK_EQ(torc_scope_join(&all), 0);
    CHECK(sender.interrupted > 0);
    CHECK(receiver.interrupted > 0);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, deadlines_lose_nothing_and_repeat_nothing)
{
    run(hasty, NULL);
}

TEST(datagram, deadlines_lose_nothing_on_the_way_to_a_named_receiver)
{
    run(hasty, "named");
}

static int receive_until_cancelled(void *arg)
{
    uint32_t *next = *(uint32_t **)arg;
    struct torc_datagram *datagram = ((struct torc_datagram **)arg)[1];
    for (;;) {
        uint32_t number;
        ssize_t n = torc_datagram_receive(datagram, &number, sizeof number, NULL);
        if (n < 0)
            return (int)n;
        CHECK_EQ(number, (*next)++);
    }
}

static int cancelled(void *arg)
{
    struct torc_datagram a, b;
    uint32_t next = 0;
    void *context[2] = {&next, &b};
    (void)arg;
    open_at(&b, abstract("cancel"));
    open_connected(&a, &b);
    for (uint32_t i = 0; i < 200; i++) {
        struct torc_scope all;
        torc_scope_init(&all);
        CHECK_EQ(torc_spawn(&all, receive_until_cancelled, context), 0);
        if (i % 3)
            torc_yield();
        send_number(&a, i, NULL); /* and in the same turn: */
        torc_scope_cancel(&all);
        CHECK_EQ(torc_scope_join(&all), -ECANCELED);
    }
    while (next < 200)
        CHECK_EQ(receive_number(&b), next++);
    CHECK_EQ(receive_for(&b, TORC_MS), -ETIMEDOUT);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, a_cancel_loses_nothing)
{
    run(cancelled, NULL);
}

static int share_messages(void *arg)
{
    uint32_t *seen = ((void **)arg)[1], number;
    for (int i = 0; i < 20; i++) {
        number = receive_number(((void **)arg)[0]);
        CHECK_EQ(seen[number]++, 0);
    }
    return 0;
}

static int several_receivers(void *arg)
{
    struct torc_datagram a, b;
    struct torc_scope all;
    static uint32_t seen[200];
    void *context[2] = {&b, seen};
    (void)arg;
    memset(seen, 0, sizeof seen);
    open_at(&b, "udp://127.0.0.1:0");
    open_connected(&a, &b);
    torc_scope_init(&all);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(torc_spawn(&all, share_messages, context), 0);
    for (uint32_t i = 0; i < 200; i++) {
        send_number(&a, i, NULL);
        if (i % 7 == 0)
            CHECK_EQ(torc_sleep(0), 0);
    }
    CHECK_EQ(torc_scope_join(&all), 0);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, several_tasks_share_a_socket)
{
    run(several_receivers, NULL);
}

static int never_idle(void *arg)
{
    struct torc_datagram self;
    struct torc_deadline limit;
    ssize_t n = 0;
    (void)arg;
    open_at(&self, "udp://127.0.0.1:0");
    torc_deadline_enter(&limit, 5 * TORC_MS);
    for (long rounds = 0; n >= 0; rounds++) {
        uint32_t number;
        CHECK(rounds < 50 * 1000 * 1000);
        n = torc_datagram_send(&self, &number, 4, torc_datagram_address(&self));
        if (n >= 0)
            n = torc_datagram_receive(&self, &number, 4, NULL);
    }
    torc_deadline_leave(&limit);
    CHECK_EQ(n, -ETIMEDOUT);
    torc_datagram_close(&self);
    return 0;
}

TEST(datagram, who_never_has_to_wait_still_lets_time_pass)
{
    run(never_idle, NULL);
}

/* ---- no room ---- */

enum { FLOOD = 2000 };

struct flood {
    struct torc_datagram *datagram;
    const struct torc_address *to;
    size_t size;
    uint32_t sent;
    bool batch;
    struct torc_event gone; /* the end of it */
};

static int flood(void *arg)
{
    struct flood *self = arg;
    static char text[4096];
    while (self->sent < FLOOD) {
        int n = 1;
        memcpy(text, &self->sent, sizeof self->sent);
        if (self->batch) {
            struct torc_message message = {.data = {text, self->size}};
            if (self->to)
                message.peer = *self->to;
            n = torc_datagram_send_batch(self->datagram, &message, 1);
        } else {
            ssize_t size = torc_datagram_send(self->datagram, text, self->size, self->to);
            n = size == (ssize_t)self->size ? 1 : (int)size;
        }
        if (n < 0)
            return n;
        self->sent++;
    }
    return 0;
}

static int flooded(void *arg)
{
    const struct flood *given = arg;
    struct torc_datagram a, b;
    struct torc_scope all;
    /* whose own buffer is what fills: that of large messages */
    struct torc_datagram_options small = {.socket = {.send_bytes = given->size > 100 ? 16384 : 0}};
    static char text[4096];
    unsigned files = open_files();
    open_at(&b, abstract("flood"));
    if (given->to) {
        CHECK_EQ(torc_datagram_open(&a, abstract("flooder"), &small), 0);
    } else {
        char name[TORC_ADDRESS_TEXT_MAX];
        small.connect = torc_address_format(torc_datagram_address(&b), name);
        CHECK_EQ(torc_datagram_open(&a, NULL, &small), 0);
    }
    struct flood self = *given;
    self.datagram = &a;
    self.to = given->to ? torc_datagram_address(&b) : NULL;
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, flood, &self), 0);
    uint32_t before;
    do { /* until it waits */
        before = self.sent;
        CHECK_EQ(torc_sleep(2 * TORC_MS), 0);
    } while (self.sent != before);
    CHECK(before < FLOOD);
    uint64_t enters = torci_this->counters->ring_enters;
    CHECK_EQ(torc_sleep(10 * TORC_MS), 0);
    CHECK(torci_this->counters->ring_enters - enters < 100); /* and does not spin */
    for (uint32_t i = 0; i < FLOOD; i++) {
        uint32_t number;
        CHECK_EQ(torc_datagram_receive(&b, text, sizeof text, NULL), self.size);
        memcpy(&number, text, sizeof number);
        CHECK_EQ(number, i);
    }
    CHECK_EQ(torc_scope_join(&all), 0);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    CHECK_EQ(open_files(), files);
    return 0;
}

static const struct torc_address somewhere;

TEST(datagram, a_sender_waits_for_its_peer_to_read)
{
    run(flooded, &(struct flood){.size = 4});
    run(flooded, &(struct flood){.size = 4, .batch = true});
}

TEST(datagram, a_sender_waits_for_whom_it_names_to_read)
{
    run(flooded, &(struct flood){.size = 4, .to = &somewhere});
    run(flooded, &(struct flood){.size = 4, .to = &somewhere, .batch = true});
}

TEST(datagram, a_sender_waits_for_its_own_buffer)
{
    run(flooded, &(struct flood){.size = 4000});
    run(flooded, &(struct flood){.size = 4000, .to = &somewhere});
}

/* On loopback UDP never finds its buffer full: here the kernel says so now and then. */
static unsigned calls, refusals;

static long refuse_sends(void *context, long number, const long arguments[6])
{
    if ((number == SYS_sendto || number == SYS_sendmmsg) && calls++ % 3) {
        refusals++;
        return -EAGAIN;
    }
    return fault_call(context, number, arguments);
}

static int send_against_refusals(void *arg)
{
    struct torc_datagram a, b;
    struct torc_message messages[2];
    (void)arg;
    open_at(&b, "udp://127.0.0.1:0");
    open_connected(&a, &b);
    for (uint32_t i = 0; i < 60; i += 3) {
        uint32_t more[2] = {i + 1, i + 2};
        send_number(&a, i, i % 2 ? NULL : torc_datagram_address(&b));
        for (int k = 0; k < 2; k++)
            messages[k] = (struct torc_message){.data = {&more[k], sizeof more[k]}};
        CHECK_EQ(torc_datagram_send_batch(&a, messages, 2), 2);
        for (uint32_t k = 0; k < 3; k++)
            CHECK_EQ(receive_number(&b), i + k);
    }
    CHECK(refusals > 60);
    torc_datagram_close(&a);
    torc_datagram_close(&b);
    return 0;
}

TEST(datagram, a_full_buffer_is_waited_for)
{
    setup();
    fault.kernel.call = refuse_sends;
    CHECK_EQ(run_alone(&config, send_against_refusals, NULL), 0);
    fault_kernel_check_clean(&fault);
}

/* ---- nobody there ---- */

static int refused(void *arg)
{
    struct torc_datagram a, b;
    struct torc_message messages[3];
    char text[TORC_ADDRESS_TEXT_MAX];
    (void)arg;
    open_at(&b, "udp://127.0.0.1:0");
    open_connected(&a, &b);
    torc_address_format(torc_datagram_address(&b), text);
    torc_datagram_close(&b);

    send_number(&a, 0, NULL);
    CHECK_EQ(receive_for(&a, TORC_SEC), -ECONNREFUSED);
    CHECK_EQ(receive_for(&a, TORC_MS), -ETIMEDOUT); /* said once */
    send_number(&a, 0, NULL);
    uint32_t number = 1;
    CHECK_EQ(torc_datagram_send(&a, &number, sizeof number, NULL), -ECONNREFUSED);
    CHECK_EQ(receive_for(&a, TORC_MS), -ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        messages[i] = (struct torc_message){.data = {&number, sizeof number}};
    CHECK_EQ(torc_datagram_send_batch(&a, messages, 1), 1);
    CHECK_EQ(torc_datagram_receive_batch(&a, messages, 1), -ECONNREFUSED);

    open_at(&b, text);
    send_number(&a, 7, NULL);
    CHECK_EQ(receive_number(&b), 7);
    send_number(&b, 8, torc_datagram_address(&a));
    CHECK_EQ(receive_number(&a), 8);
    torc_datagram_close(&b);

    /* who has no peer hears nothing of it */
    struct torc_datagram c;
    open_at(&c, "udp://127.0.0.1:0");
    CHECK_EQ(torc_datagram_send(&c, "x", 1, torc_datagram_address(&a)), 1);
    torc_datagram_close(&a);
    CHECK_EQ(torc_datagram_send(&c, "x", 1, torc_datagram_address(&a)), 1);
    CHECK_EQ(receive_for(&c, TORC_MS), -ETIMEDOUT);
    torc_datagram_close(&c);
    return 0;
}

TEST(datagram, a_peer_that_is_not_there_is_told_once)
{
    run(refused, NULL);
}

static int flood_result(void *arg)
{
    struct flood *self = arg;
    int result = flood(arg);
    torc_event_set(&self->gone);
    CHECK_EQ(result, -ECONNREFUSED);
    return 0;
}

static int receiver_goes(void *named)
{
    struct torc_datagram a, b;
    struct torc_scope all;
    char text[TORC_ADDRESS_TEXT_MAX];
    make_path();
    open_at(&b, unix_text(text));
    struct torc_datagram_options options = {.connect = named ? NULL : text};
    CHECK_EQ(torc_datagram_open(&a, abstract("left"), &options), 0);
    struct torc_address to = *torc_datagram_address(&b);
    struct flood self = {.datagram = &a, .to = named ? &to : NULL, .size = 4};
    torc_event_init(&self.gone);
    torc_scope_init(&all);
    CHECK_EQ(torc_spawn(&all, flood_result, &self), 0);
    CHECK_EQ(torc_sleep(2 * TORC_MS), 0);
    CHECK(self.sent < FLOOD);
    int fd = torc_datagram_release(&b); /* so that the path stays */
    close(fd);
    CHECK_EQ(torc_event_wait(&self.gone), 0);
    CHECK_EQ(torc_scope_join(&all), 0);

    uint32_t number = 5;
    CHECK_EQ(torc_datagram_send(&a, &number, 4, self.to), -ECONNREFUSED);
    open_at(&b, text); /* takes the path over, and the sender finds it again */
    send_number(&a, 6, self.to);
    CHECK_EQ(receive_number(&b), 6);
    torc_datagram_close(&b);
    CHECK_EQ(access(unix_path, F_OK), -1);
    if (!named) /* what the kernel has noticed by itself */
        CHECK_EQ(torc_datagram_send(&a, &number, 4, NULL), -ECONNREFUSED);
    CHECK_EQ(torc_datagram_send(&a, &number, 4, self.to), -ENOENT);
    torc_datagram_close(&a);
    return 0;
}

TEST(datagram, a_receiver_that_goes_ends_the_wait_and_may_come_back)
{
    run(receiver_goes, NULL);
}

TEST(datagram, a_named_receiver_that_goes_ends_the_wait)
{
    run(receiver_goes, "named");
}

static int pair_ends(void *arg)
{
    struct torc_datagram a, b;
    int fds[2];
    (void)arg;
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(torc_datagram_adopt(&a, fds[0]), 0);
    CHECK_EQ(torc_datagram_adopt(&b, fds[1]), 0);
    send_number(&a, 3, NULL);
    CHECK_EQ(receive_number(&b), 3);
    torc_datagram_close(&b);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(torc_datagram_send(&a, "x", 1, NULL), -ECONNREFUSED);
    torc_datagram_close(&a);
    return 0;
}

TEST(datagram, half_a_pair_knows_that_the_other_has_gone)
{
    run(pair_ends, NULL);
}
