/* SPDX-License-Identifier: MIT
 *
 * fio's job files: [section] lines, option lines, comments from ; or # to the end of the line, `include FILE`, and in
 * values ${ENVIRONMENT}, $ncpus, $pagesize and $mb_memory. What stands under [global] holds for the sections below it.
 * Every error names FILE:LINE.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/torc/options.h"

enum {
    LINE_BYTES = 4096,
    INCLUDE_DEPTH_MAX = 8,
};

struct reader {
    struct bench_spec *spec;
    struct bench_job *job; /* the section's; NULL before the first one */
    struct bench_settings *settings;
    bool wait_for_earlier; /* the next section is the first of a further file */
    unsigned depth;
    /* of the file being read now */
    const char *path;
    unsigned line;
};

static int fail_here(struct reader *r, int err, const char *what, const char *detail)
{
    return bench_fail(r->spec, err, "%s:%u: %s%s", r->path, r->line, what, detail);
}

static uint64_t value_of(int name)
{
    long value = sysconf(name);
    return value > 0 ? (uint64_t)value : 1;
}

/* The text for the variable at the start of AT and how long its name is; 0: none. */
static size_t keyword(const char *at, char *text, size_t size)
{
    static const char *const NAMES[] = {"$ncpus", "$pagesize", "$mb_memory"};
    uint64_t values[] = {value_of(_SC_NPROCESSORS_ONLN), value_of(_SC_PAGESIZE),
                         value_of(_SC_PHYS_PAGES) / ((1 << 20) / value_of(_SC_PAGESIZE))};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        if (!strncmp(at, NAMES[i], strlen(NAMES[i]))) {
            snprintf(text, size, "%llu", (unsigned long long)values[i]);
            return strlen(NAMES[i]);
        }
    return 0;
}

/* The variable at FROM, which starts with '$': its text into TO, its length into *USED (1: a '$' that means itself). */
static int expand_one(struct reader *r, const char *from, char *to, size_t room, size_t *used)
{
    *used = keyword(from, to, room);
    if (*used)
        return 0;
    *used = 1;
    snprintf(to, room, "$");
    if (from[1] != '{')
        return 0;
    const char *end = strchr(from, '}');
    if (!end)
        return fail_here(r, -EINVAL, "${ without }", "");
    char name[256];
    snprintf(name, sizeof(name), "%.*s", (int)(end - from - 2), from + 2);
    const char *value = getenv(name);
    if (!value)
        return fail_here(r, -EINVAL, "the environment has no ", name);
    if ((size_t)snprintf(to, room, "%s", value) >= room)
        return fail_here(r, -EINVAL, "line too long after ", name);
    *used = (size_t)(end - from) + 1;
    return 0;
}

static int expand(struct reader *r, const char *from, char *to)
{
    size_t length = 0;
    while (*from) {
        size_t used = 1;
        to[length] = *from;
        to[length + 1] = '\0';
        if (*from == '$') {
            int err = expand_one(r, from, to + length, LINE_BYTES - length, &used);
            if (err)
                return err;
        }
        from += used;
        length += strlen(to + length);
        if (length + 2 > LINE_BYTES)
            return fail_here(r, -EINVAL, "line too long", "");
    }
    to[length] = '\0';
    return 0;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

static int read_section(struct reader *r, char *text)
{
    char *end = strchr(text, ']');
    if (!end || end[1])
        return fail_here(r, -EINVAL, "not a section: write [NAME]", "");
    *end = '\0';
    const char *name = trim(text + 1);
    if (!*name)
        return fail_here(r, -EINVAL, "a section needs a name: [NAME]", "");
    if (!strcmp(name, "global")) {
        r->job = &r->spec->defaults;
        r->settings = &r->spec->globals;
        return 0;
    }
    int err = bench_spec_add_job(r->spec, name, &r->job);
    if (err)
        return err;
    r->settings = &r->job->settings;
    if (r->wait_for_earlier)
        r->job->stonewall = true;
    r->wait_for_earlier = false;
    return 0;
}

static int read_file(struct reader *r, const char *path);

/* As written, or beside the file that includes it. */
static int read_include(struct reader *r, const char *path)
{
    if (r->depth == INCLUDE_DEPTH_MAX)
        return fail_here(r, -ELOOP, "includes nested too deep: ", path);
    char beside[PATH_MAX];
    const char *slash = strrchr(r->path, '/');
    int length = snprintf(beside, sizeof(beside), "%.*s/%s", slash ? (int)(slash - r->path) : 1,
                          slash ? r->path : ".", path);
    if (*path != '/' && access(path, R_OK) && length > 0 && (size_t)length < sizeof(beside) &&
        !access(beside, R_OK))
        path = beside;
    if (access(path, R_OK))
        return fail_here(r, -errno, "can't read the included file ", path);
    const char *outer_path = r->path;
    unsigned outer_line = r->line;
    r->depth++;
    int err = read_file(r, path);
    r->depth--;
    r->path = outer_path;
    r->line = outer_line;
    return err;
}

static int read_option(struct reader *r, char *text)
{
    char where[PATH_MAX + 16], expanded[LINE_BYTES];
    char *value = strchr(text, '=');
    if (value)
        *value++ = '\0';
    char *name = trim(text);
    if (!*name || name[strcspn(name, " \t")])
        return fail_here(r, -EINVAL, "neither [SECTION] nor OPTION=VALUE: ", name);
    if (!r->job)
        return fail_here(r, -EINVAL, "an option before the first section: put it under [global]",
                         "");
    if (value) {
        int err = expand(r, trim(value), expanded);
        if (err)
            return err;
    }
    snprintf(where, sizeof(where), "%s:%u: ", r->path, r->line);
    return bench_option_set(r->spec, r->job, r->settings, where, name, value ? expanded : NULL);
}

static int read_line(struct reader *r, char *line)
{
    line[strcspn(line, ";#")] = '\0';
    char *text = trim(line);
    if (!*text)
        return 0;
    if (*text == '[')
        return read_section(r, text);
    if (!strncmp(text, "include", 7) && isspace((unsigned char)text[7]))
        return read_include(r, trim(text + 7));
    return read_option(r, text);
}

static int read_lines(struct reader *r, FILE *file)
{
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), file)) {
        r->line++;
        size_t length = strlen(line);
        if (length == sizeof(line) - 1 && line[length - 1] != '\n')
            return fail_here(r, -EINVAL, "line too long", "");
        int err = read_line(r, line);
        if (err)
            return err;
    }
    return ferror(file) ? bench_fail(r->spec, -errno, "%s: %s", r->path, strerror(errno)) : 0;
}

static int read_file(struct reader *r, const char *path)
{
    bool is_stdin = !strcmp(path, "-");
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    if (!file)
        return bench_fail(r->spec, -errno, "%s: %s", path, strerror(errno));
    r->path = is_stdin ? "standard input" : path;
    r->line = 0;
    int err = read_lines(r, file);
    if (!is_stdin)
        fclose(file);
    return err;
}

int bench_spec_read_file(struct bench_spec *spec, const char *path)
{
    /* In fio each file starts from what the command line's defaults are, not from the last file's [global]. */
    struct bench_job defaults = spec->defaults;
    struct reader r = {.spec = spec, .wait_for_earlier = spec->job_count != 0};
    unsigned before = spec->job_count;
    int err = read_file(&r, path);
    spec->defaults = defaults;
    if (!err && spec->job_count == before)
        return bench_fail(spec, -EINVAL, "%s: no job: it needs a section besides [global]", path);
    return err;
}
