/* SPDX-License-Identifier: MIT
 *
 * `torc bench` from its arguments to its report. Exit status: 0 all jobs ran; 1 something was refused or failed, which
 * one line on standard error explains. Nothing is run, created or written before all of the input has been checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "apps/torc/commands.h"
#include "apps/torc/placement.h"
#include "apps/torc/report.h"
#include "apps/torc/run.h"

static const char ENGINE[] = "io_uring";

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What is done differently from what was asked, each once. */
static void warn_differences(const struct bench_plan *plan)
{
    const struct bench_spec *spec = plan->spec;
    const char *engine = NULL;
    for (unsigned i = 0; i < spec->job_count; i++) {
        const struct bench_job *job = spec->jobs[i];
        if (strcmp(job->engine, ENGINE) != 0 && (!engine || job->one_at_a_time))
            engine = job->engine;
    }
    if (engine)
        fprintf(stderr, "torc bench: note: ioengine=%s runs on io_uring%s\n", engine,
                !strcmp(engine, "libaio") || !strcmp(engine, "posixaio") ? ""
                                                                         : ", one I/O at a time");
    if (plan->copies_max > 1)
        fprintf(
            stderr,
            "torc bench: note: up to %u copies run as tasks of one thread on one CPU: there are "
            "more copies than CPUs for them\n",
            plan->copies_max);
}

static bool joins(const struct bench_result *result, const struct bench_instance *in)
{
    return result->job->group_reporting && in->job->group_reporting &&
           result->group == in->job->group;
}

/* One record for each copy, or with group_reporting for each group. */
static unsigned collect(const struct bench_run *run, struct bench_result *results)
{
    unsigned count = 0;
    for (unsigned i = 0; i < run->plan->instance_count; i++) {
        const struct bench_instance *in = &run->plan->instances[i];
        unsigned at = 0;
        while (at < count && !joins(&results[at], in))
            at++;
        if (at < count) {
            bench_stats_merge(results[at].stats, run->stats[i]);
            continue;
        }
        results[count++] = (struct bench_result){in->job, in->job->group, run->stats[i]};
    }
    return count;
}

static int write_reports(const struct bench_report *report, FILE *out)
{
    if (report->spec->format_json)
        bench_report_json(report, out);
    if (report->spec->format_normal)
        bench_report_text(report, out);
    if (!fflush(out) && !ferror(out))
        return 0;
    fprintf(stderr, "torc bench: the report can't be written: %s\n", strerror(errno));
    return -EIO;
}

struct session {
    struct bench_spec spec;
    struct bench_plan plan;
    struct bench_run run;
    struct bench_disks disks;
    FILE *out;
    bool made_output;
    uint64_t began_ms;
};

static void announce(struct session *s)
{
    if (s->spec.format_normal)
        bench_report_announce(&s->plan, ENGINE, s->out);
}

static int report(struct session *s)
{
    if (s->out != stdout) {
        (void)!ftruncate(fileno(s->out), 0); /* of what is no file there is nothing to cut */
        announce(s);
    }
    struct bench_result *results = calloc(s->plan.instance_count, sizeof(*results));
    if (!results) {
        fputs("torc bench: no memory for the report\n", stderr);
        return -ENOMEM;
    }
    bool show_disks = true;
    for (unsigned i = 0; i < s->spec.job_count; i++)
        show_disks = show_disks && s->spec.jobs[i]->disk_util;
    struct bench_report r = {
        .spec = &s->spec,
        .results = results,
        .result_count = collect(&s->run, results),
        .disks = s->disks.items,
        .disk_count = s->disks.count,
        .show_disks = show_disks,
        .finished_ms = clock_ms(CLOCK_REALTIME),
        .elapsed_seconds = (unsigned)((clock_ms(CLOCK_MONOTONIC) - s->began_ms) / 1000 + 1),
        .engine = ENGINE,
        .cpus = &s->plan.cpus,
    };
    int err = write_reports(&r, s->out);
    free(results);
    return err;
}

/* Why the report must not go to what AT is; NULL: it may. */
static const char *refuse_output(const struct bench_plan *plan, const struct stat *at)
{
    struct stat other;
    if (S_ISBLK(at->st_mode))
        return "is a block device";
    for (const struct bench_target *t = plan->targets; S_ISREG(at->st_mode) && t; t = t->next)
        if (!stat(t->path, &other) && other.st_dev == at->st_dev && other.st_ino == at->st_ino)
            return "is a file of the jobs";
    return NULL;
}

/* What an earlier run has reported stays until this one has something to report. */
static int open_output(struct session *s)
{
    const char *path = s->spec.output;
    if (!path)
        return 0;
    struct stat at;
    s->made_output = stat(path, &at) != 0;
    const char *refusal = s->made_output ? NULL : refuse_output(&s->plan, &at);
    if (refusal)
        return bench_fail(&s->spec, -EINVAL, "--output=%s: %s: name another file", path, refusal);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    s->out = fd < 0 ? NULL : fdopen(fd, "w");
    if (s->out)
        return 0;
    int err = -errno;
    if (fd >= 0)
        close(fd);
    return bench_fail(&s->spec, err, "--output=%s: %s", path, strerror(-err));
}

/* Everything that can refuse comes before anything that changes. */
static int prepare(struct session *s)
{
    static struct bench_machine machine; /* too large for a comfortable stack */
    int err = bench_plan_make(&s->plan, &s->spec);
    if (!err)
        err = bench_machine_read(&machine, bench_plan_largest_wave(&s->plan), &s->spec);
    if (!err)
        err = bench_plan_place(&s->plan, &machine);
    if (!err)
        err = bench_plan_check(&s->plan);
    if (!err)
        err = open_output(s);
    if (!err && (err = bench_run_try(&s->plan)))
        return err;
    if (!err)
        err = bench_plan_lay_out(&s->plan);
    if (err)
        fprintf(stderr, "torc bench: %s\n", s->spec.error);
    return err;
}

static int measure(struct session *s)
{
    warn_differences(&s->plan);
    bench_plan_warn(&s->plan);
    if (s->out == stdout)
        announce(s);
    bench_disks_begin(&s->disks, &s->plan, clock_ms(CLOCK_MONOTONIC));
    int err = bench_run(&s->run, &s->plan);
    bench_disks_end(&s->disks, clock_ms(CLOCK_MONOTONIC));
    int unwritten = s->run.began ? report(s) : 0;
    bench_run_deinit(&s->run);
    return err ? err : unwritten;
}

/* Nothing was measured: nothing is left behind. */
static void leave_no_trace(struct session *s)
{
    bench_plan_undo(&s->plan);
    if (s->made_output && s->out && unlink(s->spec.output))
        fprintf(stderr, "torc bench: --output=%s: %s\n", s->spec.output, strerror(errno));
}

/* Blocks SIGINT and SIGTERM, unless they are ignored, so that what has been laid out can be taken back first. */
static sigset_t hold_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    sigset_t held, before;
    sigemptyset(&held);
    for (unsigned i = 0; i < 2; i++) {
        struct sigaction now;
        if (!sigaction(numbers[i], NULL, &now) && now.sa_handler != SIG_IGN)
            sigaddset(&held, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &held, &before);
    return before;
}

static int run_session(struct session *s)
{
    s->out = stdout;
    sigset_t before = hold_signals();
    int err = prepare(s);
    if (err)
        leave_no_trace(s);
    sigprocmask(SIG_SETMASK, &before, NULL); /* a signal that came meanwhile ends us here */
    if (!err) {
        err = measure(s);
        if (!s->run.began)
            leave_no_trace(s);
    }
    if (s->out && s->out != stdout && fclose(s->out) && !err) {
        fprintf(stderr, "torc bench: --output=%s: %s\n", s->spec.output, strerror(errno));
        err = -EIO;
    }
    bench_plan_deinit(&s->plan);
    return err;
}

int torc_bench_main(int argc, char **argv)
{
    static struct session session; /* too large for a comfortable stack */
    struct bench_spec *spec = &session.spec;
    session.began_ms = clock_ms(CLOCK_MONOTONIC);
    /* A file-size limit is an error of the write, not the end of the program. */
    signal(SIGXFSZ, SIG_IGN);
    bench_spec_init(spec);
    int err = bench_spec_read_arguments(spec, argc, argv);
    bool run = err == BENCH_RUN;
    if (run)
        err = bench_spec_finish(spec);
    if (err < 0)
        fprintf(stderr, "torc bench: %s\n", spec->error);
    else if (run && !spec->parse_only)
        err = run_session(&session);
    bench_spec_deinit(spec);
    return err < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
