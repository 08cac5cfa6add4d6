/* SPDX-License-Identifier: MIT
 *
 * One face for two test runners: Criterion natively, and harness_small.c (a forking loop of a page) where Criterion
 * does not exist: under qemu-user for another architecture. A test file includes this and nothing of either runner.
 *
 *     TEST(wheel, fires_in_order) { CHECK(x); CHECK_EQ(got, wanted); }
 *
 * Each test runs in a process of its own with a time limit; a failed CHECK ends the test.
 */
#ifndef TORC_TESTS_HARNESS_H
#define TORC_TESTS_HARNESS_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A test file may define its own limit before it includes this. */
#ifndef TEST_SECONDS
#define TEST_SECONDS 120
#endif

#ifdef TORC_TEST_SMALL

struct test_case {
    const char *suite, *name;
    void (*run)(void);
    int signal; /* the signal that the test must die of; 0: it must return */
    int seconds;
    struct test_case *next;
};
void test_register(struct test_case *test);
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void test_skip(const char *why) __attribute__((noreturn));

#define TEST_DYING(suite_, name_, signal_) \
    static void suite_##_##name_(void); \
    static struct test_case suite_##_##name_##_case = {#suite_,   #name_,       suite_##_##name_, \
                                                       (signal_), TEST_SECONDS, NULL}; \
    __attribute__((constructor)) static void suite_##_##name_##_add(void) \
    { \
        test_register(&suite_##_##name_##_case); \
    } \
    static void suite_##_##name_(void)
#define TEST(suite_, name_) TEST_DYING(suite_, name_, 0)
#define TEST_FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define TEST_SKIP(why) test_skip(why)

#else

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define TEST(suite_, name_) Test(suite_, name_, .timeout = TEST_SECONDS)
/* A test that must die of a signal: SIGABRT for a broken contract. */
#define TEST_DYING(suite_, name_, signal_) \
    Test(suite_, name_, .timeout = TEST_SECONDS, .signal = (signal_))
#define TEST_FAIL(...) cr_fatal(__VA_ARGS__)
#define TEST_SKIP(why) cr_skip_test("%s", why)

#endif

#define CHECK(condition) \
    do { \
        if (!(condition)) \
            TEST_FAIL("%s", #condition); \
    } while (0)

/* Integers of any width; prints both. */
#define CHECK_EQ(got, wanted) \
    do { \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted); \
        if (got_ != wanted_) \
            TEST_FAIL("%s is %lld, not %lld (%s)", #got, got_, wanted_, #wanted); \
    } while (0)

#define CHECK_STR(got, wanted) \
    do { \
        const char *got_ = (got), *wanted_ = (wanted); \
        if (strcmp(got_, wanted_) != 0) \
            TEST_FAIL("%s is \"%s\", not \"%s\"", #got, got_, wanted_); \
    } while (0)

#endif
