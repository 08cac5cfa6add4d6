/* SPDX-License-Identifier: MIT
 *
 * What torc says of a kernel's io_uring: of this one, of older ones, and of those that give none.
 */
#include <dirent.h>
#include <liburing.h>

#include "io/explain_internal.h"
#include "io/info.h"
#include "tests/fault_kernel.h"
#include "tests/run_shard.h"

/* ---- a kernel whose sysctl the test sets ---- */

enum { SYSCTL_FD = 1 << 20, SYSCTL_IS_MISSING = 0 };

struct sysctl_kernel {
    struct fault_kernel fault; /* first: the table's context is its address */
    char digit;
};

static long sysctl_call(void *context, long number, const long arguments[6])
{
    struct sysctl_kernel *self = context;
    if (number == SYS_openat &&
        !strcmp((const char *)arguments[1], "/proc/sys/kernel/io_uring_disabled"))
        return self->digit == SYSCTL_IS_MISSING ? -ENOENT : SYSCTL_FD;
    if (number == SYS_read && arguments[0] == SYSCTL_FD) {
        *(char *)arguments[1] = self->digit;
        return 1;
    }
    if (number == SYS_close && arguments[0] == SYSCTL_FD)
        return 0;
    return fault_call(context, number, arguments);
}

static void sysctl_kernel_init(struct sysctl_kernel *self, int setup_errno, char digit)
{
    fault_kernel_init(&self->fault);
    self->fault.kernel.call = sysctl_call;
    self->fault.setup_errno = setup_errno;
    self->digit = digit;
}

static int never(void *arg)
{
    (void)arg;
    TEST_FAIL("the first task ran without a ring");
    return 0;
}

/* ---- causes ---- */

static const struct cause {
    int error;
    char digit;
    const char *says;
} causes[] = {
    {EPERM, '2', "switched off: sysctl -w kernel.io_uring_disabled=0"},
    {EPERM, '1', "members of the group kernel.io_uring_group"},
    {EPERM, '0', "a seccomp filter forbids io_uring"},
    {ENOSYS, SYSCTL_IS_MISSING, "Linux 5.15 or newer"},
    {ENOSYS, '0', "a seccomp filter hides io_uring"},
    {EACCES, '0', "a security module forbids io_uring"},
    {ENOMEM, '0', "ulimit -l"},
    {EMFILE, '0', "ulimit -n"},
    {EIO, '0', "errno 5"},
};

TEST(info, each_cause_of_no_ring_has_a_line_of_its_own)
{
    char seen[TORC_ARRAY_LENGTH(causes)][TORC_RING_WHY_BYTES];
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(causes); i++) {
        struct sysctl_kernel fake;
        struct torc_ring_info info;
        sysctl_kernel_init(&fake, causes[i].error, causes[i].digit);
        CHECK_EQ(torc_ring_info(&fake.fault.kernel, &info), -causes[i].error);
        CHECK_EQ(info.error, -causes[i].error);
        if (!strstr(info.why, causes[i].says))
            TEST_FAIL("\"%s\" does not say \"%s\"", info.why, causes[i].says);
        CHECK(!strchr(info.why, '\n'));
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(seen[k], info.why) != 0);
        memcpy(seen[i], info.why, sizeof(seen[i]));
        fault_kernel_check_clean(&fake.fault);
    }
}

TEST(info, old_kernels_without_the_sysctl_forbid_by_seccomp)
{
    struct sysctl_kernel fake;
    struct torc_ring_info info;
    sysctl_kernel_init(&fake, EPERM, SYSCTL_IS_MISSING);
    CHECK_EQ(torc_ring_info(&fake.fault.kernel, &info), -EPERM);
    CHECK(strstr(info.why, "a seccomp filter forbids"));
}

TEST(info, torc_run_reports_the_same_line)
{
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(causes) - 1; i++) { /* the last one names its sizes */
        struct sysctl_kernel fake;
        struct torc_ring_info info;
        sysctl_kernel_init(&fake, causes[i].error, causes[i].digit);
        int err = torc_ring_info(&fake.fault.kernel, &info);
        CHECK_EQ(run_shard(&(struct torc_config){.kernel = &fake.fault.kernel}, never, NULL), err);
        CHECK_EQ(fake.fault.lines, 1);
        CHECK(!strncmp(fake.fault.line[0], "torc: ", 6));
        CHECK_STR(fake.fault.line[0] + 6, info.why);
    }
}

TEST(info, a_ring_without_what_torc_needs_is_none)
{
    struct sysctl_kernel fake;
    struct torc_ring_info info;
    sysctl_kernel_init(&fake, 0, SYSCTL_IS_MISSING);
    fake.fault.features_hidden = IORING_FEAT_EXT_ARG;
    if (torc_ring_info(NULL, &info))
        TEST_SKIP(info.why);
    CHECK_EQ(torc_ring_info(&fake.fault.kernel, &info), -EOPNOTSUPP);
    CHECK(strstr(info.why, "Linux 5.15 or newer"));
    fault_kernel_check_clean(&fake.fault);
}

/* ---- names ---- */

static const char *name_of(enum torc_ring_kind kind, uint32_t number)
{
    static struct torc_ring_info none;
    static struct torc_ring_item item;
    CHECK(torc_ring_item_get(&none, kind, number, &item));
    CHECK(!item.is_there);
    return item.name;
}

TEST(info, names_stand_at_the_kernels_numbers)
{
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_NOP), "NOP");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_FSYNC), "FSYNC");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_ASYNC_CANCEL), "ASYNC_CANCEL");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_FALLOCATE), "FALLOCATE");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_OPENAT2), "OPENAT2");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_TEE), "TEE");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_LINKAT), "LINKAT");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_MSG_RING), "MSG_RING");
    CHECK_STR(name_of(TORC_RING_OP, IORING_OP_SEND_ZC), "SEND_ZC");
    CHECK_STR(name_of(TORC_RING_OP, 55), "FTRUNCATE");
    CHECK_STR(name_of(TORC_RING_OP, 64), "URING_CMD128");
    CHECK_STR(name_of(TORC_RING_FEATURE, (uint32_t)__builtin_ctz(IORING_FEAT_EXT_ARG)), "EXT_ARG");
    CHECK_STR(name_of(TORC_RING_FEATURE, (uint32_t)__builtin_ctz(IORING_FEAT_LINKED_FILE)),
              "LINKED_FILE");
    CHECK_STR(name_of(TORC_RING_SETUP, (uint32_t)__builtin_ctz(IORING_SETUP_DEFER_TASKRUN)),
              "DEFER_TASKRUN");
    CHECK_STR(name_of(TORC_RING_SETUP, 16), "NO_SQARRAY");
}

static bool is_there(const struct torc_ring_info *info, enum torc_ring_kind kind, const char *name)
{
    struct torc_ring_item item;
    for (uint32_t n = 0; torc_ring_item_get(info, kind, n, &item); n++)
        if (!strcmp(item.name, name))
            return item.is_there;
    TEST_FAIL("no item is called %s", name);
    return false;
}

/* ---- kernels ---- */

static const struct {
    unsigned refused;
    uint32_t rung;
    const char *last, *first; /* the newest flag that is left, the oldest one that is not */
} kernels[] = {
    {0, 0, "NO_SQARRAY", NULL},
    {FAULT_FLAGS_BEFORE_6_6, 1, "DEFER_TASKRUN", "NO_SQARRAY"},
    {FAULT_FLAGS_BEFORE_6_1, 2, "SINGLE_ISSUER", "DEFER_TASKRUN"},
    {FAULT_FLAGS_BEFORE_6_0, 2, "CQE32", "SINGLE_ISSUER"},
    {FAULT_FLAGS_BEFORE_5_19, 3, "SUBMIT_ALL", "COOP_TASKRUN"},
    {FAULT_FLAGS_BEFORE_5_18, 3, "R_DISABLED", "SUBMIT_ALL"},
};

TEST(info, older_kernels_stand_on_lower_rungs)
{
    struct torc_ring_info here;
    if (torc_ring_info(NULL, &here))
        TEST_SKIP(here.why);
    if (here.rung != 0)
        TEST_SKIP("this kernel is an old one itself");
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(kernels); i++) {
        struct fault_kernel fault;
        struct torc_ring_info info;
        fault_kernel_init(&fault);
        fault.setup_flags_refused = kernels[i].refused;
        CHECK_EQ(torc_ring_info(&fault.kernel, &info), 0);
        CHECK_EQ(info.rung, kernels[i].rung);
        CHECK_EQ(info.rungs, 4);
        CHECK_STR(info.rung_name, torc_ring_rung_name(info.rung));
        CHECK_EQ(info.setup_flags & kernels[i].refused, 0);
        CHECK(is_there(&info, TORC_RING_SETUP, kernels[i].last));
        CHECK(!kernels[i].first || !is_there(&info, TORC_RING_SETUP, kernels[i].first));
        fault_kernel_check_clean(&fault);
    }
    CHECK(!torc_ring_rung_name(4));
}

TEST(info, abilities_go_with_what_may_be_registered)
{
    struct fault_kernel fault;
    struct torc_ring_info info;
    fault_kernel_init(&fault);
    if (torc_ring_info(&fault.kernel, &info))
        TEST_SKIP(info.why);
    CHECK(is_there(&info, TORC_RING_ABILITY, "worker limits"));
    CHECK(is_there(&info, TORC_RING_OP, "READ_FIXED"));
    fault.register_opcode_max = IORING_REGISTER_IOWQ_MAX_WORKERS;
    CHECK_EQ(torc_ring_info(&fault.kernel, &info), 0);
    CHECK(is_there(&info, TORC_RING_ABILITY, "worker limits"));
    CHECK(!is_there(&info, TORC_RING_ABILITY, "registered ring"));
    CHECK(!is_there(&info, TORC_RING_ABILITY, "synchronous cancel"));
    fault.register_opcode_max = IORING_REGISTER_FILES;
    CHECK_EQ(torc_ring_info(&fault.kernel, &info), 0);
    CHECK(!is_there(&info, TORC_RING_ABILITY, "sparse buffer table"));
    CHECK(!is_there(&info, TORC_RING_OP, "READ_FIXED"));
}

/* None of them can be compiled out, so a kernel that shows a feature of 6.12 has all of them. */
TEST(info, kernels_since_6_12_have_every_ability)
{
    struct torc_ring_info info;
    struct torc_ring_item item;
    if (torc_ring_info(NULL, &info))
        TEST_SKIP(info.why);
    if (!is_there(&info, TORC_RING_FEATURE, "MIN_TIMEOUT"))
        TEST_SKIP("this kernel is older than 6.12");
    for (uint32_t n = 0; torc_ring_item_get(&info, TORC_RING_ABILITY, n, &item); n++)
        if (!item.is_there)
            TEST_FAIL("%s: not found", item.name);
}

/* The kernel that runs the tests has what its own bits say; the features are the one thing that can be held against
 * each other without trusting the code under test. */
TEST(info, features_and_probe_are_the_kernels)
{
    struct torc_ring_info info;
    struct io_uring_params params = {0};
    const struct torci_kernel *linux_kernel = torci_kernel_linux_get();
    if (torc_ring_info(NULL, &info))
        TEST_SKIP(info.why);
    int ring = linux_kernel->ring_setup(NULL, 4, &params);
    CHECK(ring >= 0);
    CHECK_EQ(TORCI_CALL(linux_kernel, SYS_close, ring), 0);
    CHECK_EQ(info.features, params.features);
    CHECK_EQ(is_there(&info, TORC_RING_FEATURE, "CQE_SKIP"),
             (params.features & IORING_FEAT_CQE_SKIP) != 0);
    struct io_uring_probe *probe = io_uring_get_probe();
    CHECK(probe);
    for (uint32_t op = 0; op < 64; op++)
        CHECK_EQ(info.has[TORC_RING_OP][0] >> op & 1,
                 op <= probe->last_op && (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0);
    io_uring_free_probe(probe);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

TEST(info, every_failing_call_is_survived_and_nothing_leaks)
{
    struct torc_ring_info info;
    if (torc_ring_info(NULL, &info))
        TEST_SKIP(info.why);
    unsigned before = open_descriptors();
    for (long n = 0;; n++) {
        struct fault_kernel fault;
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ANY;
        fault.fail_nth = n;
        int err = torc_ring_info(&fault.kernel, &info);
        CHECK_EQ(err, info.error);
        CHECK_EQ(err != 0, info.why[0] != '\0');
        fault_kernel_check_clean(&fault);
        CHECK_EQ(open_descriptors(), before);
        if (!fault.failed)
            break;
        CHECK(n < 1000);
    }
}
