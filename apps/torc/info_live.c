/* SPDX-License-Identifier: MIT
 *
 * `torc info --live`: which processes share their counters, and one of them watched until it ends, the count is full, or
 * somebody presses Ctrl-C.
 */
#include "apps/torc/info_live.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "apps/torc/info_read.h"

enum {
    WIDTH_DEFAULT = 80,
    WIDTH_MIN = 60,
    LIST_COLUMNS = 27, /* before a command */
    INTERVAL_MAX_S = 3600,
};

struct options {
    const char *target;          /* PID or path; NULL: list what there is */
    uint64_t interval_ns, count; /* count 0: without end */
    bool json, all;
};

static struct live_file files[LIVE_FILES_MAX];

static bool wrong(const char *option, const char *wanted)
{
    fprintf(stderr, "torc info: %s: %s\n", option, wanted);
    return false;
}

static bool read_interval(const char *text, uint64_t *interval_ns)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0.01) || seconds > INTERVAL_MAX_S)
        return wrong("--interval", "seconds are wanted, from 0.01 to 3600");
    *interval_ns = (uint64_t)(seconds * 1e9);
    return true;
}

static bool read_count(const char *text, uint64_t *count)
{
    char *end;
    *count = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-' || !*count)
        return wrong("--count", "how many tables is wanted, 1 or more");
    return true;
}

/* Whether argv[*I] is `--name=VALUE` or `--name VALUE`. *VALUE is NULL if there is none, and *I moved past it. */
static bool is_option(const char *name, int *i, int argc, char **argv, const char **value)
{
    size_t length = strlen(name);
    const char *rest = argv[*i] + length;
    if (strncmp(argv[*i], name, length) != 0 || (*rest && *rest != '='))
        return false;
    *value = NULL;
    if (*rest)
        *value = rest + 1;
    else if (*i + 1 < argc && argv[*i + 1][0] != '-')
        *value = argv[++*i];
    return true;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        bool sound = true;
        if (is_option("--interval", &i, argc, argv, &value))
            sound = read_interval(value ? value : "", &options->interval_ns);
        else if (is_option("--count", &i, argc, argv, &value))
            sound = read_count(value ? value : "", &options->count);
        else if (is_option("--live", &i, argc, argv, &value))
            options->target = value ? value : options->target;
        else if (!strcmp(argv[i], "--json"))
            options->json = true;
        else if (!strcmp(argv[i], "--all") || !strcmp(argv[i], "-a"))
            options->all = true;
        else if (argv[i][0] != '-' && !options->target)
            options->target = argv[i];
        else
            sound = wrong(argv[i], "no option of --live; `torc info --help` lists them");
        if (!sound)
            return false;
    }
    if (options->json && !options->count)
        options->count = 1;
    return true;
}

static unsigned page_columns(void)
{
    struct winsize window;
    bool is_known = isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) &&
                    window.ws_col >= WIDTH_MIN;
    return is_known ? window.ws_col : WIDTH_DEFAULT;
}

/* ---- the list ---- */

static void print_age(uint64_t started_ns, char *text, size_t size)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * TORC_SEC + (uint64_t)now.tv_nsec;
    unsigned long long seconds = now_ns > started_ns ? (now_ns - started_ns) / TORC_SEC : 0;
    if (seconds < 60)
        snprintf(text, size, "%llu s", seconds);
    else if (seconds < 3600)
        snprintf(text, size, "%llu min", seconds / 60);
    else if (seconds < 48 * 3600)
        snprintf(text, size, "%llu h", seconds / 3600);
    else
        snprintf(text, size, "%llu days", seconds / 86400);
}

static void print_line(const struct live_file *file)
{
    struct live_source source;
    char age[32];
    int err = live_open(&source, file->path);
    if (err) {
        printf("%8u  %s can't be read: %s\n", file->pid, file->path, strerror(-err));
        return;
    }
    print_age(source.now.file->started_ns, age, sizeof(age));
    printf("%8u %7u  %-8s %.*s\n", file->pid, (unsigned)source.now.file->shard_count, age,
           (int)(page_columns() - LIST_COLUMNS), source.now.file->program);
    live_close(&source);
}

static int list(void)
{
    unsigned count = live_find(files), alive = 0, dead = 0;
    for (unsigned i = 0; i < count; i++) {
        bool readable = files[i].alive || files[i].error;
        dead += !readable;
        if (!readable)
            continue;
        if (!alive++)
            puts("     PID  SHARDS  SINCE    COMMAND");
        print_line(&files[i]);
    }
    if (!alive)
        puts("no process shares its counters: start one with TORC_COUNTERS=1 in its environment");
    else
        puts("\n`torc info --live PID` watches one of them");
    for (unsigned i = 0; dead && i < count; i++)
        if (!files[i].alive && !files[i].error)
            printf("left by a process that has crashed: rm %s\n", files[i].path);
    return 0;
}

/* ---- one process ---- */

static void explain_pid(unsigned pid, const struct live_file *found)
{
    char name[64] = "";
    if (found && (found->error == -EACCES || found->error == -EPERM)) {
        fprintf(stderr, "torc info: process %u belongs to user %u: ask as that user, or as root\n",
                pid, found->uid);
    } else if (kill((pid_t)pid, 0) && errno == ESRCH) {
        fprintf(stderr, "torc info: there is no process %u\n", pid);
    } else {
        info_read_text(name, sizeof(name), "/proc/%u/comm", pid);
        fprintf(stderr,
                "torc info: process %u (%s) does not share its counters: start it with "
                "TORC_COUNTERS=1 in its environment\n",
                pid, name);
    }
}

static void explain_path(const char *path, int err)
{
    const char *why = err == -EPROTO            ? "is no file of counters, or a damaged one"
                      : err == -EPROTONOSUPPORT ? "was written by a torc that this one can't read"
                      : err == -ESRCH           ? "was left by a process that has ended"
                      : err == -EAGAIN          ? "is just being made: ask again"
                                                : NULL;
    if (why)
        fprintf(stderr, "torc info: %s %s\n", path, why);
    else
        fprintf(stderr, "torc info: %s can't be read: %s\n", path, strerror(-err));
}

static int open_pid(struct live_source *source, unsigned pid)
{
    const struct live_file *found = NULL;
    unsigned count = live_find(files);
    for (unsigned i = 0; i < count && (!found || !found->alive); i++)
        if (files[i].pid == pid)
            found = &files[i];
    if (!found || !found->alive) {
        explain_pid(pid, found);
        return -ENOENT;
    }
    int err = live_open(source, found->path);
    if (err)
        explain_path(found->path, err);
    return err;
}

static int open_target(struct live_source *source, const char *target)
{
    if (*target && !target[strspn(target, "0123456789")] && strlen(target) < 10)
        return open_pid(source, (unsigned)strtoul(target, NULL, 10));
    int err = strchr(target, '/') ? live_open(source, target) : -EINVAL;
    if (err == -EINVAL)
        fprintf(stderr, "torc info: --live %s: a process's number is wanted, or a file's path\n",
                target);
    else if (err)
        explain_path(target, err);
    return err;
}

static void print_table(const struct live_source *source, bool all)
{
    const struct torc_counter_file *file = source->now.file;
    char age[32], title[TORC_COUNTER_PROGRAM_BYTES + 64];
    unsigned columns = page_columns();
    if (isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    print_age(file->started_ns, age, sizeof(age));
    snprintf(title, sizeof(title), "process %u, for %s: %s", (unsigned)file->pid, age,
             file->program);
    printf("%.*s\n\n", (int)columns, title);
    live_print_table(source, columns, all, stdout);
}

static int watch(struct live_source *source, const struct options *options)
{
    struct timespec pause = {.tv_sec = (time_t)(options->interval_ns / TORC_SEC),
                             .tv_nsec = (long)(options->interval_ns % TORC_SEC)};
    for (uint64_t n = 0; !options->count || n < options->count; n++) {
        nanosleep(&pause, NULL);
        int err = live_look(source);
        if (err == -ESRCH) {
            fputs("the process has ended\n", stderr);
            return n ? 0 : 1;
        }
        if (err) {
            fprintf(stderr, "torc info: the counters can't be read any more: %s\n", strerror(-err));
            return 1;
        }
        if (options->json) {
            live_print_json(source, stdout);
        } else {
            if (n && !isatty(STDOUT_FILENO))
                putchar('\n');
            print_table(source, options->all);
        }
        if (fflush(stdout))
            return 1; /* main says why */
    }
    return 0;
}

int torc_info_live_main(int argc, char **argv)
{
    struct options options = {.interval_ns = TORC_SEC};
    struct live_source source;
    if (!parse(argc, argv, &options))
        return 1;
    if (!options.target)
        return list();
    if (open_target(&source, options.target))
        return 1;
    int status = watch(&source, &options);
    live_close(&source);
    return status;
}
