/* SPDX-License-Identifier: MIT
 *
 * The small test runner: for sanitizer builds and for other architectures under qemu-user. Every test runs in a
 * process of its own with a time limit; what it says goes to stderr, the verdicts go as TAP to stdout or to
 * --tap=FILE, as Criterion's do. A pattern as argument runs only the tests that match SUITE::NAME.
 *
 *     fork ── child: run, exit(0) ──> status 0: ok          (leak checkers may turn it into a failure)
 *                    test_fail    ──> NOT_OK  : not ok, the message is in the shared page
 *                    test_skip    ──> SKIPPED : ok # SKIP
 */
#include "tests/harness.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOT_OK = 76, SKIPPED = 77, MESSAGE_MAX = 1024 };

static struct test_case *first, **last = &first;
static char *message; /* shared with the child, which writes why it failed or skipped */

void test_register(struct test_case *test)
{
    *last = test;
    last = &test->next;
}

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    int length = snprintf(message, MESSAGE_MAX, "%s:%d: ", file, line);
    va_start(args, format);
    vsnprintf(message + length, (size_t)(MESSAGE_MAX - length), format, args);
    va_end(args);
    /* Not exit(): a failed test leaves what it has open, and a leak report would bury the reason. */
    _exit(NOT_OK);
}

void test_skip(const char *why)
{
    snprintf(message, MESSAGE_MAX, "%s", why);
    _exit(SKIPPED);
}

/* Waits for CHILD to end, with SIGCHLD blocked; kills it when its time is up, and says so. */
static bool wait_bounded(pid_t child, int seconds, const sigset_t *sigchld, int *status)
{
    struct timespec now, left = {.tv_sec = 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + seconds;
    while (waitpid(child, status, WNOHANG) == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        left.tv_sec = end - now.tv_sec;
        if (left.tv_sec <= 0) {
            kill(child, SIGKILL);
            waitpid(child, status, 0);
            return false;
        }
        sigtimedwait(sigchld, NULL, &left);
    }
    return true;
}

static bool run_in_child(const struct test_case *test, int *status)
{
    sigset_t sigchld, before;
    message[0] = 0;
    fflush(NULL);
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, &before);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        test->run();
        exit(0);
    }
    bool in_time = wait_bounded(child, test->seconds, &sigchld, status);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return in_time;
}

/* True if the test did what it had to; otherwise WHY says what it did. */
static bool judge(const struct test_case *test, int status, char *why, size_t why_bytes)
{
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    if (code == NOT_OK)
        snprintf(why, why_bytes, "%s", message);
    else if (code)
        snprintf(why, why_bytes, "ended with exit code %d", code);
    else if (signal && signal != test->signal)
        snprintf(why, why_bytes, "died of signal %d (%s)", signal, strsignal(signal));
    else if (!signal && test->signal)
        snprintf(why, why_bytes, "should have died of signal %d", test->signal);
    else
        return true;
    return false;
}

int main(int argc, char **argv)
{
    FILE *tap = stdout;
    const char *pattern = "*";
    char name[256], why[MESSAGE_MAX + 64];
    int passed = 0, failed = 0, skipped = 0, status;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--tap=", 6) != 0)
            pattern = argv[i];
        else if (!(tap = fopen(argv[i] + 6, "we"))) {
            perror(argv[i] + 6);
            return 2;
        }
    }
    message = mmap(NULL, MESSAGE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (message == MAP_FAILED) {
        perror("mmap");
        return 2;
    }

    for (struct test_case *test = first; test; test = test->next) {
        snprintf(name, sizeof name, "%s::%s", test->suite, test->name);
        if (fnmatch(pattern, name, 0) != 0)
            continue;
        bool in_time = run_in_child(test, &status);
        if (!in_time)
            snprintf(why, sizeof why, "ran past %d s", test->seconds);
        if (in_time && WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
            fprintf(tap, "ok - %s  # SKIP %s\n", name, message);
            skipped++;
        } else if (in_time && judge(test, status, why, sizeof why)) {
            fprintf(tap, "ok - %s\n", name);
            passed++;
        } else {
            fprintf(tap, "not ok - %s %s\n", name, why);
            fprintf(stderr, "[FAIL] %s: %s\n", name, why);
            failed++;
        }
    }
    fprintf(tap, "1..%d\n", passed + failed + skipped);
    if (fclose(tap) != 0) {
        perror("the TAP file");
        return 2;
    }
    fprintf(stderr, "Tested: %d | Passing: %d | Failing: %d | Skipped: %d\n", passed + failed,
            passed, failed, skipped);
    return failed ? 1 : 0;
}
