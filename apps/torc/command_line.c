/* SPDX-License-Identifier: MIT
 *
 * The arguments of `torc bench`: switches of the program, job files, and fio's way of writing jobs as options:
 * --name=… begins a job, what follows belongs to it. Options before the first --name (or after --name=global) are
 * defaults, as if under [global]; files are read last and may override them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "apps/torc/commands.h"
#include "apps/torc/options.h"

struct arguments {
    struct bench_spec *spec;
    struct bench_job *job; /* that --name began; NULL: defaults */
    struct bench_list files;
    bool set_something;
    char **next; /* what is still to be read */
    bool done;
};

/* VALUE is NULL if there is none. */
typedef int switch_fn(struct arguments *a, const char *value);

struct program_switch {
    const char *name;
    switch_fn *read;
    enum { VALUE_NONE, VALUE_NEEDED, VALUE_OPTIONAL } value;
    const char *help;
};

static const struct program_switch SWITCHES[];

static const char USAGE[] =
    "usage: torc bench [SWITCH]... [JOBFILE]...\n"
    "       torc bench [SWITCH]... --name=JOB --OPTION=VALUE...\n\n"
    "Measures reads and writes of files and block devices as fio does: same options, same job\n"
    "files, same reports.\n";

static const char EXAMPLES[] =
    "\nexamples:\n"
    "  torc bench --name=try --filename=/tmp/try --size=1g --direct=1 --rw=randread --iodepth=32 "
    "--runtime=10\n"
    "  torc bench --name=mix --directory=/srv --size=4g --rw=randrw --rwmixread=70 --time_based "
    "--runtime=1m\n"
    "  torc bench --output-format=json --output=result.json nightly.fio\n"
    "  torc bench --help=iodepth\n\n"
    "Devices in use are never written: mounted ones, those with partitions, holders or a "
    "signature\n"
    "of a file system. --i-will-lose-data=/dev/DEVICE lifts that for one of them.\n";

static int read_help(struct arguments *a, const char *value)
{
    a->done = true;
    if (value && strcmp(value, "all") != 0)
        return bench_option_help(a->spec, value);
    fputs(USAGE, stdout);
    puts("\nswitches:");
    for (const struct program_switch *s = SWITCHES; s->name; s++)
        if (s->help)
            printf("  --%-25s %s\n", s->name, s->help);
    puts("\noptions of a job (--help=OPTION says more):");
    int err = bench_option_help(a->spec, NULL);
    fputs(EXAMPLES, stdout);
    return err;
}

static int read_version(struct arguments *a, const char *value)
{
    (void)value;
    a->done = true;
    puts("torc bench " TORC_APP_VERSION);
    return 0;
}

static int read_output(struct arguments *a, const char *value)
{
    a->spec->output = bench_copy(a->spec, value, strlen(value));
    return a->spec->output ? 0 : -ENOMEM;
}

static int read_format(struct arguments *a, const char *value)
{
    struct bench_spec *spec = a->spec;
    spec->format_normal = spec->format_json = spec->format_bins = false;
    for (const char *at = value;; at++) {
        size_t length = strcspn(at, ",");
        if (length == 6 && !strncmp(at, "normal", length))
            spec->format_normal = true;
        else if (length == 4 && !strncmp(at, "json", length))
            spec->format_json = true;
        else if (length == 5 && !strncmp(at, "json+", length))
            spec->format_json = spec->format_bins = true;
        else
            return bench_fail(spec, -EINVAL,
                              "--output-format=%s: must be normal, json or json+ (or normal,json); "
                              "terse is not supported",
                              value);
        at += length;
        if (!*at)
            return 0;
    }
}

static int read_minimal(struct arguments *a, const char *value)
{
    (void)value;
    return bench_fail(a->spec, -EINVAL,
                      "--minimal: the terse format is not supported: use --output-format=json");
}

static int read_eta(struct arguments *a, const char *value)
{
    static const char *const WORDS[] = {"auto", "always", "never"};
    for (unsigned i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++)
        if (!strcmp(WORDS[i], value)) {
            a->spec->eta = (enum bench_eta)i;
            return 0;
        }
    return bench_fail(a->spec, -EINVAL, "--eta=%s: must be auto, always or never", value);
}

static int read_parse_only(struct arguments *a, const char *value)
{
    (void)value;
    a->spec->parse_only = true;
    return 0;
}

static int read_read_only(struct arguments *a, const char *value)
{
    (void)value;
    a->spec->read_only = true;
    return 0;
}

static int read_section_switch(struct arguments *a, const char *value)
{
    return bench_list_add(a->spec, &a->spec->sections, value);
}

static int read_lose_data(struct arguments *a, const char *value)
{
    return bench_list_add(a->spec, &a->spec->lose_data, value);
}

static const struct program_switch SWITCHES[] = {
    {"output", read_output, VALUE_NEEDED, "write the report to a file instead of standard output"},
    {"output-format", read_format, VALUE_NEEDED, "normal, json or json+ (json with histograms)"},
    {"eta", read_eta, VALUE_NEEDED,
     "progress on standard error: auto (on a terminal), always, never"},
    {"parse-only", read_parse_only, VALUE_NONE, "check the jobs, touch nothing, run nothing"},
    {"readonly", read_read_only, VALUE_NONE, "refuse every job that writes"},
    {"section", read_section_switch, VALUE_NEEDED, "run only this job; may be repeated"},
    {"i-will-lose-data", read_lose_data, VALUE_NEEDED,
     "let jobs write to this device, whatever is on it"},
    {"minimal", read_minimal, VALUE_OPTIONAL, NULL},
    {"help", read_help, VALUE_OPTIONAL, "this page, or one option's: --help=OPTION"},
    {"cmdhelp", read_help, VALUE_OPTIONAL, NULL},
    {"version", read_version, VALUE_NONE, "print the version"},
    {NULL, NULL, VALUE_NONE, NULL},
};

static const struct program_switch *find_switch(const char *name)
{
    for (const struct program_switch *s = SWITCHES; s->name; s++)
        if (!strcmp(s->name, name))
            return s;
    return NULL;
}

static int begin_job(struct arguments *a, const char *name)
{
    if (!strcmp(name, "global")) {
        a->job = NULL;
        return 0;
    }
    return bench_spec_add_job(a->spec, name, &a->job);
}

static int read_job_option(struct arguments *a, const char *name, const char *value)
{
    const struct bench_option *option = bench_option_find(name);
    /* "--rw randread" as getopt has it; a switch takes its value only with '='. */
    if (option && !option->bare && !value && *a->next)
        value = *a->next++;
    if (option && !strcmp(option->name, "name") && value) {
        int err = begin_job(a, value);
        if (err || !a->job)
            return err;
    }
    struct bench_job *job = a->job ? a->job : &a->spec->defaults;
    a->set_something = true;
    return bench_option_set(a->spec, job, a->job ? &job->settings : &a->spec->globals, "--", name,
                            value);
}

static int read_dashed(struct arguments *a, const char *text)
{
    char name[64];
    size_t length = strcspn(text, "=");
    const char *value = text[length] ? text + length + 1 : NULL;
    if (!length || length >= sizeof(name))
        return bench_fail(a->spec, -EINVAL, "%s: no such option; `torc bench --help` lists them",
                          text);
    snprintf(name, sizeof(name), "%.*s", (int)length, text);
    const struct program_switch *s = find_switch(name);
    if (!strcmp(name, "h"))
        s = find_switch("help");
    if (!s)
        return read_job_option(a, name, value);
    if (s->value == VALUE_NEEDED && !value && *a->next)
        value = *a->next++;
    if (s->value == VALUE_NEEDED && !value)
        return bench_fail(a->spec, -EINVAL, "--%s: needs a value", name);
    if (s->value == VALUE_NONE && value)
        return bench_fail(a->spec, -EINVAL, "--%s: takes no value", name);
    return s->read(a, value);
}

/* Options without --name and without a file are one job. */
static int add_nameless_job(struct arguments *a)
{
    struct bench_spec *spec = a->spec;
    if (spec->job_count || a->files.count || !a->set_something)
        return 0;
    struct bench_job *job;
    int err = bench_spec_add_job(spec, "torc", &job);
    if (err)
        return err;
    job->settings = spec->globals;
    spec->globals = (struct bench_settings){NULL, NULL};
    return 0;
}

int bench_spec_read_arguments(struct bench_spec *spec, int argc, char **argv)
{
    struct arguments a = {.spec = spec, .next = argv + (argc > 0)};
    spec->format_normal = true;
    while (*a.next && !a.done) {
        const char *argument = *a.next++;
        int err;
        if (argument[0] != '-' || !argument[1])
            err = bench_list_add(spec, &a.files, argument);
        else
            err = read_dashed(&a, argument + 1 + (argument[1] == '-'));
        if (err)
            return err;
    }
    if (a.done)
        return BENCH_DONE;
    for (unsigned i = 0; i < a.files.count; i++) {
        int err = bench_spec_read_file(spec, a.files.items[i]);
        if (err)
            return err;
    }
    int err = add_nameless_job(&a);
    return err ? err : BENCH_RUN;
}
