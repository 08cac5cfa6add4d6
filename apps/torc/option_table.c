/* SPDX-License-Identifier: MIT
 *
 * Every option of a job, in the order of `torc bench --help`. Names, aliases and meanings are fio's; where a default
 * differs from fio's the help says so.
 */
#include <stddef.h>

#include "apps/torc/options.h"

#define FIELD(member) .field = offsetof(struct bench_job, member)
/* A switch: alone it means 1. */
#define FLAG(name_, member, fallback_, help_) \
    { \
        .name = (name_), .set = bench_set_flag, FIELD(member), .max = 1, .bare = "1", \
        .fallback = (fallback_), .help = (help_) \
    }
#define COUNT(name_, member, min_, max_, fallback_, help_) \
    { \
        .name = (name_), .set = bench_set_count32, FIELD(member), .min = (min_), .max = (max_), \
        .fallback = (fallback_), .help = (help_) \
    }
#define TEXT(name_, member, help_) \
    { \
        .name = (name_), .set = bench_set_text, FIELD(member), .help = (help_) \
    }
#define SECONDS(name_, alias_, member, help_) \
    { \
        .name = (name_), .alias = (alias_), .set = bench_set_seconds, FIELD(member), \
        .max = INT64_MAX, .fallback = "0", .help = (help_) \
    }

const struct bench_option BENCH_OPTIONS[] = {
    TEXT("name", name, "name of the job; on the command line it begins a new job"),
    TEXT("description", description, "a text that the report repeats"),

    {.name = "rw",
     .alias = "readwrite",
     .set = bench_set_mode,
     .fallback = "read",
     .help = "what to do: read, write, randread, randwrite, rw (readwrite), randrw"},
    {.name = "rwmixread",
     .set = bench_set_count32,
     FIELD(mix_read),
     .max = 100,
     .fallback = "50",
     .help = "percentage of a mix that is reads"},
    {.name = "rwmixwrite",
     .set = bench_set_mix_write,
     .max = 100,
     .fallback = "50",
     .help = "percentage of a mix that is writes"},
    {.name = "bs",
     .alias = "blocksize",
     .set = bench_set_blocks,
     .min = 1,
     .max = BENCH_BLOCK_MAX,
     .fallback = "4k",
     .help = "bytes of one I/O; READ,WRITE gives each its own, as in 4k,64k or ,64k"},

    {.name = "filename",
     .set = bench_set_text,
     FIELD(filename),
     .help = "files or block devices, parted by ':' (write \\: for a colon); default: JOB.COPY.0"},
    TEXT("directory", directory, "where the files are"),
    {.name = "size",
     .set = bench_set_amount,
     FIELD(size),
     .help = "bytes of the file or device to work on, all files together, or N% of what there is"},
    {.name = "io_size",
     .alias = "io_limit",
     .set = bench_set_amount,
     FIELD(io_size),
     .help = "bytes to transfer, if other than size"},
    {.name = "offset",
     .set = bench_set_amount,
     FIELD(offset),
     .fallback = "0",
     .help = "where in the file the work begins, or N%"},
    {.name = "offset_increment",
     .set = bench_set_bytes,
     FIELD(offset_increment),
     .max = INT64_MAX,
     .fallback = "0",
     .help = "added to offset for each further copy of the job (numjobs)"},
    {.name = "number_ios",
     .set = bench_set_count64,
     FIELD(number_ios),
     .max = INT64_MAX,
     .fallback = "0",
     .help = "end after this many I/Os; 0: no limit"},
    COUNT("loops", loops, 1, 1000000, "1", "times to go over the size"),
    FLAG("overwrite", overwrite, "0",
         "write a new file full before a job that writes; without it space is only reserved"),
    FLAG("unlink", unlink, "0", "remove the files that this run has created when it is done"),

    SECONDS("runtime", "timeout", runtime_ns,
            "end after this time, in seconds or with a suffix (90s, 2m, 500ms)"),
    FLAG("time_based", time_based, "0",
         "start over when the size is done, until runtime has passed"),
    SECONDS("ramp_time", NULL, ramp_ns,
            "run this long before measuring begins; not part of runtime"),
    SECONDS("startdelay", NULL, start_delay_ns, "begin this long after the others"),
    {.name = "stonewall",
     .alias = "wait_for_previous",
     .set = bench_set_flag,
     FIELD(stonewall),
     .max = 1,
     .bare = "1",
     .fallback = "0",
     .help = "begin when the jobs before this one have ended"},

    COUNT("iodepth", depth, 1, BENCH_DEPTH_MAX, "1", "I/Os kept in flight"),
    {.name = "iodepth_batch",
     .alias = "iodepth_batch_submit",
     .set = bench_set_count32,
     FIELD(batch),
     .max = BENCH_DEPTH_MAX,
     .fallback = "0",
     .help =
         "most I/Os handed to the kernel at a time; 0: all that are ready (fio's default is 1)"},
    {.name = "iodepth_batch_complete_min",
     .alias = "iodepth_batch_complete",
     .set = bench_set_count32,
     FIELD(complete_min),
     .max = BENCH_DEPTH_MAX,
     .fallback = "1",
     .help = "least completions to wait for; 0: take what is there"},
    COUNT("iodepth_batch_complete_max", complete_max, 0, BENCH_DEPTH_MAX, "iodepth",
          "most completions to take at a time"),
    COUNT("iodepth_low", depth_low, 0, BENCH_DEPTH_MAX, "iodepth",
          "once full, let the depth fall to this before more is submitted"),
    {.name = "ioengine",
     .set = bench_set_engine,
     .fallback = "io_uring",
     .help = "io_uring; libaio and posixaio run on io_uring too, sync, psync, vsync, pvsync, "
             "pvsync2 at a depth of 1"},
    FLAG("direct", direct, "0", "bypass the page cache (O_DIRECT)"),
    {.name = "buffered",
     .set = bench_set_not_flag,
     FIELD(direct),
     .max = 1,
     .bare = "1",
     .fallback = "1",
     .help = "the opposite of direct"},
    FLAG("fixedbufs", fixed_buffers, "0", "use buffers registered with the ring"),
    FLAG("registerfiles", register_files, "0", "use files registered with the ring"),
    FLAG("hipri", polled, "0",
         "poll for completions; needs direct=1 and a device with poll queues"),

    COUNT("fsync", fsync, 0, UINT32_MAX, "0", "fsync after this many writes; 0: never"),
    COUNT("fdatasync", fdatasync, 0, UINT32_MAX, "0", "fdatasync after this many writes; 0: never"),
    FLAG("end_fsync", end_fsync, "0", "fsync the files when a job that writes has ended"),
    FLAG("invalidate", invalidate, "1", "drop the file from the page cache before the job begins"),

    FLAG("norandommap", no_random_map, "0",
         "let random offsets repeat instead of visiting each block once"),
    {.name = "randrepeat",
     .alias = "allrandrepeat",
     .set = bench_set_flag,
     FIELD(same_random),
     .max = 1,
     .bare = "1",
     .fallback = "1",
     .help = "the same random offsets in every run"},
    {.name = "randseed",
     .set = bench_set_count64,
     FIELD(seed),
     .max = UINT64_MAX,
     .fallback = "0",
     .help = "seed of the random offsets"},
    FLAG("zero_buffers", zero_buffers, "0", "write zeroes instead of random data"),
    FLAG("refill_buffers", refill_buffers, "0", "new random data for every write"),
    FLAG("scramble_buffers", scramble_buffers, "1",
         "change every sector of a buffer a little for every write"),

    COUNT("numjobs", copies, 1, BENCH_JOBS_MAX, "1", "copies of this job"),
    FLAG("thread", thread, "0", "accepted: jobs are always tasks of threads in one process here"),
    {.name = "cpus_allowed",
     .set = bench_set_cpus,
     .help = "the CPUs that the copies of this job run on, as in 0,5,8-15; default: any"},
    {.name = "cpumask",
     .set = bench_set_cpu_mask,
     .help = "the same as a number with a bit for each CPU"},
    {.name = "cpus_allowed_policy",
     .set = bench_set_cpu_policy,
     .fallback = "shared",
     .help =
         "shared: each copy goes to the CPU with the fewest; split: copy by copy to the next CPU"},
    {.name = "numa_cpu_nodes",
     .set = bench_set_cpu_nodes,
     .help = "run on CPUs of these NUMA nodes: 0,2 or 0-3 or all"},
    {.name = "numa_mem_policy",
     .set = bench_set_memory_policy,
     .fallback = "default",
     .help = "where buffers lie: default, local, bind:NODES, prefer:NODE, interleave:NODES"},
    FLAG("group_reporting", group_reporting, "0", "one report for all copies and jobs of a group"),
    FLAG("new_group", new_group, "0", "this job begins a new group"),
    FLAG("clat_percentiles", clat_percentiles, "1", "report percentiles of the completion latency"),
    FLAG("lat_percentiles", lat_percentiles, "0", "report percentiles of the whole latency"),
    {.name = "percentile_list",
     .set = bench_set_percentiles,
     .fallback = "1:5:10:…:99.95:99.99",
     .help = "up to 20 percentiles to report, parted by ':'"},
    FLAG("disk_util", disk_util, "1", "report what the disks say they did"),
    {.name = "kb_base",
     .set = bench_set_kb_base,
     .fallback = "1024",
     .help = "1024: 1k is 1024 bytes and 1kib 1000, as ever in fio; 1000: the other way round"},
};
const unsigned BENCH_OPTION_COUNT = sizeof(BENCH_OPTIONS) / sizeof(BENCH_OPTIONS[0]);
