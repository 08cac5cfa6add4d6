/* SPDX-License-Identifier: MIT
 *
 * Names: lookups off the ring by a resolver of the test's own, which counts, fails and hangs as it is told; the cache with
 * its limits; callers that don't wait any longer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/mount.h>
#include <unistd.h>

#include "core/time.h"
#include "io/blocking.h"
#include "net/net_internal.h"
#include "shard/run.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

static struct fault_kernel fault;

/* ---- a resolver ---- */

static unsigned asked, inside; /* atomic: lookups that have begun, and those under way */
static unsigned inside_most;   /* atomic */
static sem_t let_go;           /* one for each name that begins with "hang" */

/* "hang…" waits to be let go; "none…" there is none; "down…" no server answers; "memory…" no memory; "many…" has more
 * addresses than are kept; everything else has 10.0.0.N, where N is its number among the calls, and ::1. */
static int test_lookup(const char *host, struct torci_host_address *found, unsigned max)
{
    unsigned number = __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
    unsigned now = __atomic_add_fetch(&inside, 1, __ATOMIC_RELAXED);
    if (now > __atomic_load_n(&inside_most, __ATOMIC_RELAXED))
        __atomic_store_n(&inside_most, now, __ATOMIC_RELAXED);
    if (!strncmp(host, "hang", 4))
        while (sem_wait(&let_go))
            ;
    __atomic_sub_fetch(&inside, 1, __ATOMIC_RELAXED);
    if (!strncmp(host, "none", 4))
        return -ENOENT;
    if (!strncmp(host, "down", 4))
        return -EAGAIN;
    if (!strncmp(host, "memory", 6))
        return -ENOMEM;
    if (!strncmp(host, "many", 4)) {
        for (unsigned i = 0; i < max; i++)
            found[i] = (struct torci_host_address){.bytes = {10, 0, 1, (uint8_t)i}};
        return (int)max;
    }
    found[0] = (struct torci_host_address){.bytes = {10, 0, 0, (uint8_t)number}};
    found[1] = (struct torci_host_address){.is_ipv6 = true, .scope = INT32_MAX};
    found[1].bytes[15] = 1;
    return 2;
}

static unsigned asked_so_far(void)
{
    return __atomic_load_n(&asked, __ATOMIC_RELAXED);
}

/* Until as many lookups are under way; no time passes but what they need to begin. */
static void wait_for_inside(unsigned count)
{
    while (__atomic_load_n(&inside, __ATOMIC_RELAXED) != count)
        torc_yield();
}

static struct torci_resolver *resolver(void)
{
    struct torci_net *net;
    CHECK_EQ(torci_net_get(&net), 0);
    return &net->resolver;
}

/* ---- a clock that the test moves ---- */

static uint64_t ahead_ns; /* atomic */

static uint64_t moved_now_ns(void *context)
{
    return fault_now_ns(context) + __atomic_load_n(&ahead_ns, __ATOMIC_RELAXED);
}

static void move_clock(uint64_t by_ns)
{
    __atomic_add_fetch(&ahead_ns, by_ns, __ATOMIC_RELAXED);
}

static torc_task_fn *body;

static int with_test_lookup(void *arg)
{
    resolver()->lookup = test_lookup;
    return body(arg);
}

static void setup(void)
{
    fault_kernel_init(&fault);
    fault.kernel.host.now_ns = moved_now_ns;
    fault.kernel.host.tick_mult = 0; /* or the CPU's own counter is asked */
    asked = inside = inside_most = 0;
    sem_init(&let_go, 0, 0);
}

static int run_with(struct torc_config config, torc_task_fn *main, void *arg)
{
    config.kernel = &fault.kernel;
    config.no_stall_report = true; /* the first line is to be the one that is waited for */
    body = main;
    int result = run_shard(&config, with_test_lookup, arg);
    fault_kernel_check_clean(&fault);
    return result;
}

static int run(torc_task_fn *main)
{
    setup();
    return run_with((struct torc_config){0}, main, NULL);
}

/* The last byte of the first address of TEXT; or the error. */
static int last_byte(const char *text)
{
    struct torc_address address;
    int count = torc_resolve(text, &address, 1);
    if (count < 0)
        return count;
    CHECK_EQ(count, 1);
    struct sockaddr_in in;
    memcpy(&in, &address.storage, sizeof in);
    CHECK_EQ(in.sin_family, AF_INET);
    return (int)(ntohl(in.sin_addr.s_addr) & 255);
}

/* ---- answers ---- */

static int resolve_kinds(void *arg)
{
    (void)arg;
    struct torc_address all[TORC_RESOLVE_MAX];
    char text[TORC_ADDRESS_TEXT_MAX];
    CHECK_EQ(torc_resolve("tcp://app:80", all, TORC_RESOLVE_MAX), 2);
    CHECK_STR(torc_address_format(&all[0], text), "tcp://10.0.0.1:80");
    CHECK_STR(torc_address_format(&all[1], text), "tcp://[::1%2147483647]:80");
    CHECK_EQ(all[1].length, sizeof(struct sockaddr_in6));
    CHECK_EQ(torc_resolve("udp://app:5353", all, 1), 1);
    CHECK_STR(torc_address_format(&all[0], text), "udp://10.0.0.1:5353");
    CHECK_EQ(asked_so_far(), 1);
    CHECK_EQ(torc_resolve("tcp://many:1", all, TORC_RESOLVE_MAX), TORC_RESOLVE_MAX);
    CHECK_STR(torc_address_format(&all[15], text), "tcp://10.0.1.15:1");
    CHECK_EQ(torc_resolve("tcp://none:1", all, 1), -ENOENT);
    CHECK_EQ(torc_resolve("tcp://down:1", all, 1), -EAGAIN);
    CHECK_EQ(torc_resolve("tcp://memory:1", all, 1), -ENOMEM);
    CHECK_EQ(torci_this->counters->net_lookups, 5);
    return 0;
}

TEST(resolve, gives_the_addresses_of_a_name_or_the_reason_why_not)
{
    CHECK_EQ(run(resolve_kinds), 0);
}

static int resolve_numbers(void *arg)
{
    (void)arg;
    struct torc_address address;
    char text[TORC_ADDRESS_TEXT_MAX];
    CHECK_EQ(torc_resolve("tcp://127.0.0.1:80", &address, 1), 1);
    CHECK_STR(torc_address_format(&address, text), "tcp://127.0.0.1:80");
    CHECK_EQ(torc_resolve("unix:/run/x", &address, 1), 1);
    CHECK_EQ(torc_resolve("tcp://app:", &address, 1), -EINVAL);
    CHECK_EQ(torc_resolve("tcp://127.0.0.1:80", &address, 0), -EINVAL);
    CHECK_EQ(torc_resolve("tcp://app:80", &address, 0), -EINVAL);
    CHECK_EQ(asked_so_far(), 0);
    return 0;
}

TEST(resolve, numbers_need_no_lookup)
{
    CHECK_EQ(run(resolve_numbers), 0);
}

static int resolve_localhost(void *arg)
{
    (void)arg;
    resolver()->lookup = torci_lookup_system;
    struct torc_address all[TORC_RESOLVE_MAX];
    int count = torc_resolve("tcp://LocalHost:80", all, TORC_RESOLVE_MAX);
    CHECK(count >= 1);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(torc_address_port(&all[i]), 80);
        for (int j = 0; j < i; j++)
            CHECK(!torc_address_equal(&all[i], &all[j]));
        if (all[i].storage.ss_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, &all[i].storage, sizeof in);
            CHECK_EQ(ntohl(in.sin_addr.s_addr) >> 24, 127);
        } else {
            struct sockaddr_in6 in;
            memcpy(&in, &all[i].storage, sizeof in);
            CHECK(IN6_IS_ADDR_LOOPBACK(&in.sin6_addr));
        }
    }
    return 0;
}

TEST(resolve, the_system_knows_localhost)
{
    CHECK_EQ(run(resolve_localhost), 0);
}

/* A hosts file of the test's own: both families, one address twice, and more than are kept. */
static bool own_hosts_file(void)
{
    static const char path[] = "/tmp/torc-test-hosts-XXXXXX";
    char name[sizeof path];
    memcpy(name, path, sizeof path);
    if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return false;
    int fd = mkstemp(name);
    if (fd < 0)
        return false;
    FILE *file = fdopen(fd, "w");
    fputs("127.0.0.5 torc-both\n::5 torc-both\n127.0.0.5 torc-both\n::5 torc-both\n", file);
    for (int i = 1; i <= 20; i++)
        fprintf(file, "127.0.1.%d torc-many\n", i);
    fclose(file);
    bool mounted = !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
                   !mount(name, "/etc/hosts", NULL, MS_BIND, NULL);
    unlink(name);
    return mounted;
}

static int resolve_hosts(void *arg)
{
    (void)arg;
    resolver()->lookup = torci_lookup_system;
    struct torc_address all[TORC_RESOLVE_MAX], four, six;
    CHECK_EQ(torc_address_parse("tcp://127.0.0.5:80", &four), 0);
    CHECK_EQ(torc_address_parse("tcp://[::5]:80", &six), 0);
    CHECK_EQ(torc_resolve("tcp://torc-both:80", all, TORC_RESOLVE_MAX), 2);
    bool in_order = torc_address_equal(&all[0], &four);
    CHECK(torc_address_equal(&all[in_order ? 0 : 1], &four));
    CHECK(torc_address_equal(&all[in_order ? 1 : 0], &six));
    CHECK_EQ(torc_resolve("tcp://torc-many:80", all, TORC_RESOLVE_MAX), TORC_RESOLVE_MAX);
    return 0;
}

TEST(resolve, the_system_s_addresses_are_of_both_families_and_each_comes_once)
{
    if (!own_hosts_file())
        TEST_SKIP("no hosts file of one's own can be mounted");
    CHECK_EQ(run(resolve_hosts), 0);
}

/* ---- what is kept ---- */

static int age(void *arg)
{
    (void)arg;
    CHECK_EQ(last_byte("tcp://a:80"), 1);
    move_clock(59 * TORC_SEC);
    CHECK_EQ(last_byte("tcp://A:81"), 1);
    move_clock(2 * TORC_SEC);
    CHECK_EQ(last_byte("tcp://a:80"), 2);
    CHECK_EQ(last_byte("tcp://a:80"), 2);
    CHECK_EQ(last_byte("tcp://none:80"), -ENOENT);
    CHECK_EQ(last_byte("tcp://none:80"), -ENOENT);
    CHECK_EQ(last_byte("tcp://down:80"), -EAGAIN);
    CHECK_EQ(last_byte("tcp://down:80"), -EAGAIN);
    CHECK_EQ(asked_so_far(), 4);
    move_clock(1100 * TORC_MS);
    CHECK_EQ(last_byte("tcp://none:80"), -ENOENT);
    CHECK_EQ(last_byte("tcp://down:80"), -EAGAIN);
    CHECK_EQ(asked_so_far(), 6);
    /* that is ours, and may be over at once */
    CHECK_EQ(last_byte("tcp://memory:80"), -ENOMEM);
    CHECK_EQ(last_byte("tcp://memory:80"), -ENOMEM);
    CHECK_EQ(asked_so_far(), 8);
    return 0;
}

TEST(resolve, answers_are_kept_for_a_minute_and_failures_for_a_second)
{
    CHECK_EQ(run(age), 0);
}

static void name_text(char text[32], unsigned number)
{
    snprintf(text, 32, "tcp://name%u:80", number);
}

static int fill(void *arg)
{
    (void)arg;
    char text[32];
    for (unsigned i = 0; i < TORCI_NAMES_MAX; i++) {
        name_text(text, i);
        CHECK(last_byte(text) >= 0);
    }
    CHECK_EQ(resolver()->count, TORCI_NAMES_MAX);
    CHECK_EQ(asked_so_far(), TORCI_NAMES_MAX);
    CHECK(last_byte("tcp://name0:80") >= 0); /* used last now */
    CHECK_EQ(asked_so_far(), TORCI_NAMES_MAX);
    CHECK(last_byte("tcp://another:80") >= 0);
    CHECK_EQ(resolver()->count, TORCI_NAMES_MAX);
    CHECK(last_byte("tcp://name0:80") >= 0);
    CHECK(last_byte("tcp://name2:80") >= 0);
    CHECK_EQ(asked_so_far(), TORCI_NAMES_MAX + 1);
    CHECK(last_byte("tcp://name1:80") >= 0); /* it had to go */
    CHECK_EQ(asked_so_far(), TORCI_NAMES_MAX + 2);
    CHECK(torci_list_check(&resolver()->names, TORCI_NAMES_MAX + 1));
    return 0;
}

TEST(resolve, keeps_256_names_the_one_used_longest_ago_goes)
{
    CHECK_EQ(run(fill), 0);
}

/* ---- at the same time ---- */

struct caller {
    struct torc_task task;
    char text[32];
    uint64_t deadline_ns;
    int result;
    bool ended;
};

static int call_resolve(void *arg)
{
    struct caller *caller = arg;
    struct torc_deadline deadline;
    struct torc_address address;
    if (caller->deadline_ns)
        torc_deadline_enter(&deadline, caller->deadline_ns);
    caller->result = torc_resolve(caller->text, &address, 1);
    if (caller->deadline_ns)
        (void)torc_deadline_leave(&deadline);
    caller->ended = true;
    if (caller->result > 0)
        CHECK_EQ(address.storage.ss_family, AF_INET);
    return 0;
}

static void spawn_caller(struct torc_scope *scope, struct caller *caller, const char *text)
{
    snprintf(caller->text, sizeof caller->text, "%s", text);
    CHECK_EQ(torc_spawn_with(scope, &(struct torc_task_options){.task = &caller->task},
                             call_resolve, caller),
             0);
}

static int share(void *arg)
{
    (void)arg;
    static struct caller callers[20];
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 20; i++)
        spawn_caller(&scope, &callers[i], "tcp://hang:80");
    wait_for_inside(1);
    for (int i = 0; i < 3; i++)
        torc_yield();
    sem_post(&let_go);
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(callers[i].result, 1);
    CHECK_EQ(asked_so_far(), 1);
    return 0;
}

TEST(resolve, callers_of_one_name_share_one_lookup)
{
    CHECK_EQ(run(share), 0);
}

/* A failure is everybody's, too. */
static int share_failure(void *arg)
{
    (void)arg;
    static struct caller callers[3];
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 3; i++)
        spawn_caller(&scope, &callers[i], "tcp://none:80");
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(callers[i].result, -ENOENT);
    CHECK_EQ(asked_so_far(), 1);
    return 0;
}

TEST(resolve, callers_of_one_name_share_its_failure)
{
    CHECK_EQ(run(share_failure), 0);
}

static int add_one(void *arg)
{
    return *(int *)arg + 1;
}

/* Two lookups hang and more wait; the other two threads serve others meanwhile. */
static int half_the_pool(void *arg)
{
    (void)arg;
    static struct caller callers[5];
    struct torc_scope scope;
    int one = 1;
    torc_scope_init(&scope);
    for (unsigned i = 0; i < 5; i++) {
        char text[32];
        snprintf(text, sizeof text, "tcp://hang%u:80", i);
        spawn_caller(&scope, &callers[i], text);
    }
    wait_for_inside(2);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(torc_blocking(add_one, &one), 2);
    CHECK_EQ(asked_so_far(), 2);
    for (int i = 0; i < 5; i++)
        sem_post(&let_go);
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(callers[i].result, 1);
    CHECK_EQ(asked_so_far(), 5);
    CHECK_EQ(__atomic_load_n(&inside_most, __ATOMIC_RELAXED), 2);
    return 0;
}

TEST(resolve, lookups_take_half_of_the_pool_at_most)
{
    setup();
    CHECK_EQ(run_with((struct torc_config){.blocking_threads = 4}, half_the_pool, NULL), 0);
}

static int all_hang(void *arg)
{
    (void)arg;
    static struct caller callers[TORCI_NAMES_MAX];
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (unsigned i = 0; i < TORCI_NAMES_MAX; i++) {
        char text[32];
        snprintf(text, sizeof text, "tcp://hang%u:80", i);
        spawn_caller(&scope, &callers[i], text);
    }
    wait_for_inside(1);
    CHECK_EQ(resolver()->count, TORCI_NAMES_MAX);
    CHECK_EQ(last_byte("tcp://a:80"), -EAGAIN);
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (unsigned i = 0; i < TORCI_NAMES_MAX; i++)
        CHECK_EQ(callers[i].result, -ECANCELED);
    /* those that had not begun are forgotten, and never begin */
    CHECK_EQ(resolver()->count, 1);
    CHECK_EQ(resolver()->running, 1);
    CHECK(torci_list_is_empty(&resolver()->queue));
    sem_post(&let_go);
    CHECK_EQ(last_byte("tcp://a:80"), 2);
    CHECK_EQ(asked_so_far(), 2);
    return 0;
}

TEST(resolve, when_all_names_hang_a_new_one_is_refused)
{
    setup();
    CHECK_EQ(run_with((struct torc_config){.blocking_threads = 1}, all_hang, NULL), 0);
}

/* ---- callers that leave ---- */

static int leave_hanging(void *arg)
{
    (void)arg;
    static struct caller callers[3] = {{.deadline_ns = 2 * TORC_MS}};
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (int i = 0; i < 3; i++)
        spawn_caller(&scope, &callers[i], "tcp://hang:80");
    wait_for_inside(1);
    CHECK_EQ(torc_task_join(&callers[0].task), 0);
    CHECK_EQ(callers[0].result, -ETIMEDOUT);
    torc_task_cancel(&callers[1].task);
    CHECK_EQ(torc_task_join(&callers[1].task), 0);
    CHECK_EQ(callers[1].result, -ECANCELED);
    CHECK(!callers[2].ended);
    CHECK_EQ(__atomic_load_n(&inside, __ATOMIC_RELAXED),
             1); /* it still hangs, and the third caller waits on */
    sem_post(&let_go);
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(callers[2].result, 1);
    CHECK_EQ(asked_so_far(), 1);
    return 0;
}

TEST(resolve, a_caller_that_is_interrupted_leaves_at_once)
{
    CHECK_EQ(run(leave_hanging), 0);
}

static int nobody_waits(void *arg)
{
    (void)arg;
    static struct caller caller = {.deadline_ns = 2 * TORC_MS};
    struct torc_scope scope;
    torc_scope_init(&scope);
    spawn_caller(&scope, &caller, "tcp://hang:80");
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(caller.result, -ETIMEDOUT);
    sem_post(&let_go);
    while (resolver()->running)
        torc_yield();
    CHECK_EQ(last_byte("tcp://hang:80"), 1); /* kept, although nobody had waited for it */
    CHECK_EQ(asked_so_far(), 1);
    return 0;
}

TEST(resolve, the_answer_that_nobody_waited_for_is_kept)
{
    CHECK_EQ(run(nobody_waits), 0);
}

static int leave_cancelled(void *arg)
{
    struct caller *caller = arg;
    struct torc_scope scope;
    torc_scope_init(&scope);
    spawn_caller(&scope, caller, "tcp://a:80");
    torc_task_cancel(&caller->task); /* before it runs */
    CHECK_EQ(torc_scope_join(&scope), 0);
    CHECK_EQ(asked_so_far(), 0);
    CHECK_EQ(resolver()->count, 0);
    return 0;
}

TEST(resolve, a_cancelled_task_asks_nothing)
{
    setup();
    struct caller caller = {.result = 0};
    CHECK_EQ(run_with((struct torc_config){0}, leave_cancelled, &caller), 0);
    CHECK_EQ(caller.result, -ECANCELED);
}

/* ---- the end of the shard ---- */

static int end_hanging(void *arg)
{
    static struct caller callers[3];
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (unsigned i = 0; i < 3; i++) {
        char text[32];
        snprintf(text, sizeof text, "tcp://hang%u:80", i);
        spawn_caller(&scope, &callers[i], text);
    }
    wait_for_inside(1);
    torc_scope_cancel(&scope);
    CHECK_EQ(torc_scope_join(&scope), 0);
    return *(int *)arg;
}

/* The pool says that it waits. */
static void *let_go_when_told(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&fault.lines, __ATOMIC_RELAXED))
        sched_yield();
    sem_post(&let_go);
    return NULL;
}

TEST(resolve, the_shard_ends_when_the_resolver_that_hangs_comes_back)
{
    setup();
    int result = 5;
    pthread_t thread;
    pthread_create(&thread, NULL, let_go_when_told, NULL);
    CHECK_EQ(run_with((struct torc_config){.blocking_threads = 1}, end_hanging, &result), 5);
    pthread_join(thread, NULL);
    CHECK(fault_kernel_said(&fault, "waiting for the end of 1 job"));
    CHECK_EQ(asked_so_far(), 1);
}

/* ---- everything fails once ---- */

static int sweep_main(void *arg)
{
    (void)arg;
    static struct caller callers[4];
    memset(callers, 0, sizeof callers);
    struct torci_net *net;
    int err = torci_net_get(&net);
    if (err)
        return err;
    net->resolver.lookup = test_lookup;
    struct torc_scope scope;
    torc_scope_init(&scope);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(callers[i].text, sizeof callers[i].text, "tcp://a%u:80", i / 2);
        err = torc_spawn(&scope, call_resolve, &callers[i]);
        if (err)
            break;
    }
    CHECK_EQ(torc_scope_join(&scope), 0);
    for (unsigned i = 0; i < 4 && !err; i++)
        if (callers[i].result < 0)
            err = callers[i].result;
    return err;
}

TEST(resolve, survives_any_call_failing)
{
    for (long n = 0;; n++) {
        setup();
        fault.fail_kinds = FAULT_ALLOC | FAULT_MAP | FAULT_THREAD | FAULT_CALL;
        fault.fail_nth = n;
        struct torc_config config = {.kernel = &fault.kernel, .blocking_threads = 2};
        int result = run_alone(&config, sweep_main, NULL);
        CHECK(result == 0 || fault.failed);
        fault_kernel_check_clean(&fault);
        if (!fault.failed)
            break;
        CHECK(n < 1000);
    }
}
