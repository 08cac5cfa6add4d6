/* SPDX-License-Identifier: MIT
 *
 * The job language: tables of what is read and of what is refused, with the whole message.
 */
#include <errno.h>
#include <unistd.h>

#include "apps/torc/job.h"
#include "apps/torc/options.h"
#include "apps/torc/units.h"
#include "tests/harness.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

TEST(bench_units, sizes_follow_fio)
{
    static const struct {
        const char *text;
        unsigned base;
        int err;
        uint64_t value;
    } CASES[] = {
        {"4096", 1024, 0, 4096},
        {"4k", 1024, 0, 4096},
        {"4K", 1024, 0, 4096},
        {"4kb", 1024, 0, 4096},
        {"4ki", 1024, 0, 4096},
        {"4kib", 1024, 0, 4000},
        {"4KiB", 1024, 0, 4000},
        {"1m", 1024, 0, 1 << 20},
        {"1mib", 1024, 0, 1000000},
        {"0x1000", 1024, 0, 4096},
        {"0x10k", 1024, 0, 16384},
        {"7b", 1024, 0, 7},
        {"2g", 1024, 0, 1ull << 31},
        {"1t", 1024, 0, 1ull << 40},
        {"1p", 1024, 0, 1ull << 50},
        {"4k", 1000, 0, 4000},
        {"4ki", 1000, 0, 4000},
        {"4kib", 1000, 0, 4096},
        {"", 1024, -EINVAL, 0},
        {"k", 1024, -EINVAL, 0},
        {"-1", 1024, -EINVAL, 0},
        {"+1", 1024, -EINVAL, 0},
        {" 1", 1024, -EINVAL, 0},
        {"1 k", 1024, -EINVAL, 0},
        {"4kx", 1024, -EINVAL, 0},
        {"1.5k", 1024, -EINVAL, 0},
        {"0x", 1024, -EINVAL, 0},
        {"18446744073709551615", 1024, 0, UINT64_MAX},
        {"18446744073709551616", 1024, -ERANGE, 0},
        {"16384p", 1024, -ERANGE, 0},
        {"16383p", 1024, 0, 16383ull << 50},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        uint64_t value = 0;
        int err = bench_parse_size(CASES[i].text, CASES[i].base, &value);
        if (err != CASES[i].err || (!err && value != CASES[i].value))
            TEST_FAIL("\"%s\" base %u: %d, %" PRIu64, CASES[i].text, CASES[i].base, err, value);
    }
}

TEST(bench_units, times_follow_fio)
{
    static const struct {
        const char *text;
        int err;
        uint64_t ns;
    } CASES[] = {
        {"5", 0, 5000000000},
        {"5s", 0, 5000000000},
        {"500ms", 0, 500000000},
        {"7us", 0, 7000},
        {"2m", 0, 120000000000},
        {"1h", 0, 3600000000000},
        {"1D", 0, 86400000000000},
        {"3usec", 0, 3000},
        {"0", 0, 0},
        {"9ns", 0, 9},
        {"5x", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-5", -EINVAL, 0},
        {"1.5s", -EINVAL, 0},
        {"999999999999d", -ERANGE, 0},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        uint64_t ns = 0;
        int err = bench_parse_time(CASES[i].text, 1000000000, &ns);
        if (err != CASES[i].err || (!err && ns != CASES[i].ns))
            TEST_FAIL("\"%s\": %d, %" PRIu64, CASES[i].text, err, ns);
    }
}

/* The arguments up to NULL, read and finished. */
static int read_words(struct bench_spec *spec, const char *const *words)
{
    char *argv[16] = {(char *)"bench"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    bench_spec_init(spec);
    int err = bench_spec_read_arguments(spec, argc, argv);
    return err ? err : bench_spec_finish(spec);
}

static int read_text(struct bench_spec *spec, const char *text)
{
    char path[] = "/tmp/torc-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    int err = read_words(spec, (const char *const[]){path, NULL});
    unlink(path);
    /* The name is random: leave what stands behind it. */
    char *at = strstr(spec->error, path);
    if (at == spec->error)
        memmove(at, at + strlen(path), strlen(at + strlen(path)) + 1);
    return err;
}

TEST(bench_arguments, one_option_at_a_time_is_refused_with_its_reason)
{
    static const char *const CASES[][2] = {
        {"--iodepth=0", "--iodepth=0: must be 1 to 32768"},
        {"--iodepth=99999999999", "--iodepth=99999999999: must be 1 to 32768"},
        {"--iodepth=99999999999999999999",
         "--iodepth=99999999999999999999: out of range: must be 1 to 32768"},
        {"--iodepth=x", "--iodepth=x: not a number: must be 1 to 32768"},
        {"--iodepth", "--iodepth: needs a value, as in iodepth=VALUE"},
        {"--iodepht=3", "--iodepht: no such option; did you mean iodepth?"},
        {"--blocksise=4k", "--blocksise: no such option; did you mean blocksize?"},
        {"--qwertyuiop=1", "--qwertyuiop: no such option; `torc bench --help` lists them"},
        {"--verify=crc32c", "--verify: torc bench does not support this option of fio's"},
        {"--rwmixread=101", "--rwmixread=101: must be 0 to 100"},
        {"--runtime=5x", "--runtime=5x: not a time: write seconds, or 500ms, 90s, 2m, 1h"},
        {"--direct=2", "--direct=2: must be 0 or 1"},
        {"--direct=yes", "--direct=yes: must be 0 or 1"},
        {"--size=0%", "--size=0%: must be 1% to 100%"},
        {"--size=101%", "--size=101%: must be 1% to 100%"},
        {"--size=big", "--size=big: not a size: write bytes, or 4k, 1m, 2g or 25%"},
        {"--bs=0", "--bs=0: must be 1 to 1073741824"},
        {"--bs=1k-4k", "--bs=1k-4k: ranges of block sizes are not supported"},
        {"--bs=1k,2k,4k,8k",
         "--bs=1k,2k,4k,8k: not a block size: write 4k, or READ,WRITE as in 4k,64k"},
        {"--bs=,", "--bs=,: must not be empty"},
        {"--rw=foo", "--rw=foo: must be read, write, randread, randwrite, rw, readwrite or randrw"},
        {"--rw=randtrim", "--rw=randtrim: must be read, write, randread, randwrite, rw, readwrite "
                          "or randrw (trim is not supported)"},
        {"--rw=randread:8", "--rw=randread:8: must be read, write, randread, randwrite, rw, "
                            "readwrite or randrw (the form MODE:COUNT is not supported)"},
        {"--percentile_list=101", "--percentile_list=101: percentiles must be 0 to 100"},
        {"--percentile_list=1:x",
         "--percentile_list=1:x: not a list of percentiles: write 50:99:99.9"},
        {"--percentile_list=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21",
         "--percentile_list=1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21: more than 20 "
         "percentiles"},
        {"--numjobs=0", "--numjobs=0: must be 1 to 4096"},
        {"--filename=", "--filename=: must not be empty"},
        {"--kb_base=1001", "--kb_base=1001: must be 1000 or 1024"},
        {"--ioengine=mmap",
         "job \"torc\": ioengine=mmap is not supported: use io_uring (libaio, posixaio, sync, "
         "psync, vsync, pvsync and pvsync2 are accepted and run on io_uring)"},
        {"--time_based", "job \"torc\": time_based needs a runtime: add runtime=10s"},
        {"--minimal", "--minimal: the terse format is not supported: use --output-format=json"},
        {"--output-format=terse", "--output-format=terse: must be normal, json or json+ (or "
                                  "normal,json); terse is not supported"},
        {"--output", "--output: needs a value"},
        {"--readonly=1", "--readonly: takes no value"},
        {"--eta=maybe", "--eta=maybe: must be auto, always or never"},
        {"--=3", "=3: no such option; `torc bench --help` lists them"},
        {"/nowhere/job.fio", "/nowhere/job.fio: No such file or directory"},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct bench_spec spec;
        int err = read_words(&spec, (const char *const[]){CASES[i][0], NULL});
        if (err >= 0 || strcmp(spec.error, CASES[i][1]) != 0)
            TEST_FAIL("%s: %d \"%s\"", CASES[i][0], err, spec.error);
        bench_spec_deinit(&spec);
    }
}

TEST(bench_arguments, several_jobs_and_defaults_before_them)
{
    struct bench_spec spec;
    CHECK_EQ(read_words(&spec, (const char *const[]){"--bs=8k", "--name=a", "--rw", "randwrite",
                                                     "-iodepth=4", "--name=b", "--bs=,64k",
                                                     "--readwrite=randrw", "--time-based",
                                                     "--runtime=2m", NULL}),
             0);
    CHECK_EQ(spec.job_count, 2);
    const struct bench_job *a = spec.jobs[0], *b = spec.jobs[1];
    CHECK_STR(a->name, "a");
    CHECK(!a->does[BENCH_READ] && a->does[BENCH_WRITE] && a->random);
    CHECK_EQ(a->depth, 4);
    CHECK_EQ(a->block_bytes[BENCH_READ], 8192);
    CHECK_EQ(a->block_bytes[BENCH_WRITE], 8192);
    CHECK_EQ(b->block_bytes[BENCH_READ], 8192);
    CHECK_EQ(b->block_bytes[BENCH_WRITE], 65536);
    CHECK(b->does[BENCH_READ] && b->does[BENCH_WRITE] && b->random && b->time_based);
    CHECK_EQ(b->runtime_ns, 120000000000);
    CHECK_EQ(b->depth, 1);
    CHECK_STR(spec.globals.first->name, "bs");
    CHECK_STR(spec.globals.first->value, "8k");
    /* Reported under the option's own name, in the order given; a switch without a value. */
    const struct bench_setting *s = b->settings.first;
    CHECK_STR(s->name, "name");
    CHECK_STR(s->next->name, "bs");
    CHECK_STR(s->next->next->name, "rw");
    CHECK_STR(s->next->next->value, "randrw");
    CHECK_STR(s->next->next->next->name, "time_based");
    CHECK(!s->next->next->next->value);
    bench_spec_deinit(&spec);
}

TEST(bench_arguments, options_alone_are_one_job)
{
    struct bench_spec spec;
    CHECK_EQ(read_words(&spec, (const char *const[]){"--rw=write", "--filename=/dev/x", NULL}), 0);
    CHECK_EQ(spec.job_count, 1);
    CHECK_STR(spec.jobs[0]->name, "torc");
    CHECK_STR(spec.jobs[0]->settings.first->name, "rw");
    CHECK(!spec.globals.first);
    bench_spec_deinit(&spec);
}

TEST(bench_arguments, nothing_to_do_says_how)
{
    struct bench_spec spec;
    CHECK_EQ(read_words(&spec, (const char *const[]){NULL}), -EINVAL);
    CHECK(strstr(spec.error, "no job: name a job file"));
    bench_spec_deinit(&spec);
}

TEST(bench_arguments, readonly_refuses_writers)
{
    struct bench_spec spec;
    CHECK_EQ(
        read_words(&spec, (const char *const[]){"--readonly", "--name=w", "--rw=randrw", NULL}),
        -EROFS);
    CHECK_STR(spec.error, "job \"w\" writes, and --readonly forbids that");
    bench_spec_deinit(&spec);
}

TEST(bench_arguments, synchronous_engines_have_a_depth_of_one)
{
    struct bench_spec spec;
    CHECK_EQ(read_words(&spec, (const char *const[]){"--name=a", "--ioengine=psync", "--iodepth=8",
                                                     "--name=b", "--ioengine=libaio", "--iodepth=8",
                                                     NULL}),
             0);
    CHECK_EQ(spec.jobs[0]->depth, 1);
    CHECK_EQ(spec.jobs[1]->depth, 8);
    CHECK_EQ(spec.jobs[1]->batch, 8);
    CHECK_EQ(spec.jobs[1]->complete_max, 8);
    bench_spec_deinit(&spec);
}

TEST(bench_arguments, a_block_size_may_be_of_one_direction)
{
    struct bench_spec spec;
    CHECK_EQ(read_words(&spec, (const char *const[]){"--name=a", "--bs=8k,", "--name=b",
                                                     "--bs=,16k", "--name=c", "--bs=1k", NULL}),
             0);
    static const uint64_t WANTED[3][2] = {{8192, 4096}, {4096, 16384}, {1024, 1024}};
    for (int i = 0; i < 3; i++)
        for (int d = 0; d < BENCH_DIRECTIONS; d++)
            CHECK_EQ(spec.jobs[i]->block_bytes[d], WANTED[i][d]);
    bench_spec_deinit(&spec);
}

TEST(bench_job_file, bad_lines_are_named)
{
    static const char *const CASES[][2] = {
        {"[a]\nrw=read\nfoo_bar_baz=1\n",
         ":3: foo_bar_baz: no such option; `torc bench --help` lists them"},
        {"[a]\n\n; c\niodepht=1\n", ":4: iodepht: no such option; did you mean iodepth?"},
        {"rw=read\n[a]\n", ":1: an option before the first section: put it under [global]"},
        {"[a\nrw=read\n", ":1: not a section: write [NAME]"},
        {"[]\n", ":1: a section needs a name: [NAME]"},
        {"[a] b\n", ":1: not a section: write [NAME]"},
        {"[a]\nfoo bar\n", ":2: neither [SECTION] nor OPTION=VALUE: foo bar"},
        {"[a]\n=3\n", ":2: neither [SECTION] nor OPTION=VALUE: "},
        {"[a]\niodepth=0\n", ":2: iodepth=0: must be 1 to 32768"},
        {"[a]\niodepth\n", ":2: iodepth: needs a value, as in iodepth=VALUE"},
        {"[a]\nsize=${TORC_NOT_THERE}\n", ":2: the environment has no TORC_NOT_THERE"},
        {"[a]\nsize=${HOME\n", ":2: ${ without }"},
        {"[a]\ninclude /nowhere/x.fio\n", ":2: can't read the included file /nowhere/x.fio"},
        {"[global]\nrw=read\n", ": no job: it needs a section besides [global]"},
        {"", ": no job: it needs a section besides [global]"},
        {"[a]\nbuffered=7\n", ":2: buffered=7: must be 0 or 1"},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct bench_spec spec;
        int err = read_text(&spec, CASES[i][0]);
        if (err >= 0 || strcmp(spec.error, CASES[i][1]) != 0)
            TEST_FAIL("case %zu: %d \"%s\"", i, err, spec.error);
        bench_spec_deinit(&spec);
    }
}

TEST(bench_job_file, a_long_line_is_refused)
{
    struct bench_spec spec;
    char text[6000];
    memset(text, 'x', sizeof(text));
    memcpy(text, "[a]\nname=", 9);
    text[sizeof(text) - 1] = '\0';
    CHECK_EQ(read_text(&spec, text), -EINVAL);
    CHECK_STR(spec.error, ":2: line too long");
    bench_spec_deinit(&spec);
}

TEST(bench_job_file, sections_globals_comments_and_variables)
{
    struct bench_spec spec;
    setenv("TORC_TEST_SIZE", "24", 1);
    CHECK_EQ(read_text(&spec, "; a comment\n"
                              "[global]\n"
                              "bs = 16k   # of all\n"
                              "size=${TORC_TEST_SIZE}m\n"
                              "[first job]\n"
                              "stonewall\n"
                              "rwmixwrite=30\n"
                              "rw=randread;comment\n"
                              "  iodepth=0x10\n"
                              "bs=$pagesize\n"
                              "[global]\n"
                              "direct=1\n"
                              "[second]\n"
                              "name=renamed\n"
                              "offset=25%\n"
                              "stonewall\n"),
             0);
    CHECK_EQ(spec.job_count, 2);
    const struct bench_job *a = spec.jobs[0], *b = spec.jobs[1];
    CHECK_STR(a->name, "first job");
    CHECK_EQ(a->depth, 16);
    CHECK_EQ(a->size.bytes, 24 << 20);
    CHECK_EQ(a->block_bytes[BENCH_READ], sysconf(_SC_PAGESIZE));
    CHECK(a->random && !a->direct);
    CHECK_EQ(a->mix_read, 70);
    CHECK_STR(b->name, "renamed");
    CHECK_EQ(b->block_bytes[BENCH_READ], 16384);
    CHECK_EQ(b->offset.percent, 25);
    CHECK(b->direct && b->stonewall);
    CHECK_EQ(a->wave, 0); /* there is nothing before the first to wait for */
    CHECK_EQ(a->group, 0);
    CHECK_EQ(b->wave, 1);
    CHECK_EQ(b->group, 1);
    bench_spec_deinit(&spec);
}

TEST(bench_job_file, includes_stand_where_they_are_named)
{
    struct bench_spec spec;
    char path[] = "/tmp/torc-test-XXXXXX", text[128];
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "iodepth=7\n[c]\nrw=write\n", 23), 23);
    close(fd);
    snprintf(text, sizeof(text), "[a]\ninclude %s\niodepth=3\n", path);
    CHECK_EQ(read_text(&spec, text), 0);
    CHECK_EQ(spec.job_count, 2);
    CHECK_EQ(spec.jobs[0]->depth, 7);
    CHECK_EQ(spec.jobs[1]->depth, 3);
    bench_spec_deinit(&spec);
    /* The outer file's lines go on being counted. */
    snprintf(text, sizeof(text), "[a]\ninclude %s\niodepth=0\n", path);
    CHECK_EQ(read_text(&spec, text), -ERANGE);
    CHECK_STR(spec.error, ":3: iodepth=0: must be 1 to 32768");
    bench_spec_deinit(&spec);
    /* One that includes itself ends with a message. */
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fprintf(file, "[x]\ninclude %s\n", path);
    fclose(file);
    CHECK_EQ(read_text(&spec, text), -ELOOP);
    CHECK(strstr(spec.error, "includes nested too deep"));
    bench_spec_deinit(&spec);
    unlink(path);
}

TEST(bench_job_file, sections_can_be_picked)
{
    struct bench_spec spec;
    char path[] = "/tmp/torc-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, "[a]\n[b]\n[c]\n", 12), 12);
    close(fd);
    CHECK_EQ(read_words(&spec, (const char *const[]){"--section=b", path, "--bs=1k", NULL}), 0);
    CHECK_EQ(spec.job_count, 1);
    CHECK_STR(spec.jobs[0]->name, "b");
    CHECK_EQ(spec.jobs[0]->block_bytes[BENCH_WRITE], 1024);
    bench_spec_deinit(&spec);
    CHECK_EQ(read_words(&spec, (const char *const[]){"--section=z", path, NULL}), -ENOENT);
    CHECK_STR(spec.error, "--section=z: no job has that name");
    bench_spec_deinit(&spec);
    unlink(path);
}

TEST(bench_options, every_option_has_a_unique_name_and_help)
{
    for (unsigned i = 0; i < BENCH_OPTION_COUNT; i++) {
        const struct bench_option *o = &BENCH_OPTIONS[i];
        CHECK(o->name && o->set && o->help && *o->help);
        CHECK(bench_option_find(o->name) == o);
        CHECK(!o->alias || bench_option_find(o->alias) == o);
        CHECK(!bench_option_is_fio_only(o->name));
    }
}
