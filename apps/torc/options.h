/* SPDX-License-Identifier: MIT
 *
 * The options of a job: one table drives the parser, the ranges, `--help` and the suggestions for misspelt names.
 */
#ifndef TORC_APPS_OPTIONS_H
#define TORC_APPS_OPTIONS_H

#include "apps/torc/job.h"

struct bench_option;

/* Puts TEXT into JOB's field. On error spec->error holds only what is wrong with the value ("must be 1 to 8"). */
typedef int bench_set_fn(struct bench_spec *spec, struct bench_job *job,
                         const struct bench_option *option, const char *text);

struct bench_option {
    const char *name, *alias; /* alias NULL: none */
    bench_set_fn *set;
    size_t field; /* offset in struct bench_job, for the setters that serve many options */
    uint64_t min, max;
    const char *bare;     /* what the name alone means; NULL: it needs a value */
    const char *fallback; /* the default, for --help */
    const char *help;
};

extern const struct bench_option BENCH_OPTIONS[];
extern const unsigned BENCH_OPTION_COUNT;

/* By name or alias; '-' counts as '_'. NULL: none. */
const struct bench_option *bench_option_find(const char *name);

/* Sets NAME to VALUE (NULL: it stands alone) in JOB. WHERE begins the error line: "--" or "FILE:LINE: ". The setting is
 * kept in LIST for the report. */
int bench_option_set(struct bench_spec *spec, struct bench_job *job, struct bench_settings *list,
                     const char *where, const char *name, const char *value);

/* What `torc bench --help` and `--help=NAME` print; NULL: all. -EINVAL: no such option. */
int bench_option_help(struct bench_spec *spec, const char *name);

/* Whether fio has an option NAME that torc bench lacks. */
bool bench_option_is_fio_only(const char *name);

/* The candidate nearest to NAME among the options, or NULL if none is near. */
const char *bench_option_nearest(const char *name);

/* The setters of option_table.c, in option_setters.c. */
bench_set_fn bench_set_flag, bench_set_not_flag, bench_set_count32, bench_set_count64,
    bench_set_bytes, bench_set_amount, bench_set_seconds, bench_set_text, bench_set_mode,
    bench_set_blocks, bench_set_mix_write, bench_set_percentiles, bench_set_engine,
    bench_set_kb_base;
/* … and in option_cpus.c. */
bench_set_fn bench_set_cpus, bench_set_cpu_mask, bench_set_cpu_policy, bench_set_cpu_nodes,
    bench_set_memory_policy;

#endif
