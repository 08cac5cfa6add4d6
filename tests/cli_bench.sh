#!/bin/sh
# SPDX-License-Identifier: MIT
# `torc bench` as its user meets it: refusals, each one clear line with nothing run; reports that fio's
# readers can read. TORC names the program. Works without privileges; what needs more says so and skips.
set -u
torc=${TORC:-$B/torc}
here=$(dirname "$0")
dir=${TMPDIR:-/tmp}/torc-cli-bench.$$
mkdir -p "$dir" || exit 1
finish() {
    [ -z "${loop:-}" ] || losetup -d "$loop" 2>/dev/null
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM
failed=0

ok() { echo "ok bench_$1"; }
bad() {
    echo "not ok bench_$1 $2"
    failed=1
}
skip() { echo "skip bench_$1 $2"; }

# refuses NAME WANTED arguments…: exit 1, WANTED among the words of exactly one line on standard error,
# nothing on standard output, and no file made.
refuses() {
    name=$1 wanted=$2
    shift 2
    (cd "$dir" && "$torc" bench "$@") >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $code -ne 1 ]; then
        bad "$name" "exit code $code: $(head -1 "$dir/err")"
    elif ! grep -qF -- "$wanted" "$dir/err"; then
        bad "$name" "said: $(head -1 "$dir/err")"
    elif [ "$(wc -l <"$dir/err")" -ne 1 ]; then
        bad "$name" "more than one line: $(tr '\n' ';' <"$dir/err")"
    elif [ -s "$dir/out" ]; then
        bad "$name" "wrote to standard output"
    else
        ok "$name"
    fi
}

# same NAME GOT WANTED
same() {
    if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "is \"$2\", not \"$3\""; fi
}

case $torc in /*) ;; *) torc=$PWD/$torc ;; esac
case $here in /*) ;; *) here=$PWD/$here ;; esac
if [ ! -x "$torc" ]; then
    bad program "no program at $torc"
    exit 1
fi

# --- what is refused before anything is run
refuses unknown_option '--iodepht: no such option; did you mean iodepth?' --name=a --iodepht=3
refuses unsupported_option '--verify: torc bench does not support this option' --name=a --verify=md5
refuses out_of_range '--iodepth=0: must be 1 to 32768' --name=a --iodepth=0
refuses out_of_range_size '--size=99999p: out of range' --name=a --size=99999p
refuses missing_job_file '/nowhere/job.fio: No such file' /nowhere/job.fio
refuses no_job 'no job: name a job file'
refuses no_size 'does not exist: say how large with size=1g' --name=a --filename="$dir/none"
refuses missing_path "make the directory $dir/no first" --name=a --size=1m --filename="$dir/no/x"
refuses directory_as_file 'is a directory: name a file in it' --name=a --size=1m --filename="$dir"
refuses character_device 'neither a regular file nor a block device' --name=a --size=1m \
    --filename=/dev/null
refuses smaller_than_a_block 'less than one block' --name=a --size=1k --filename="$dir/x"
refuses missing_output '--output=/nowhere/x' --name=a --size=1m --filename="$dir/x" --output=/nowhere/x
refuses readonly_writer 'forbids that' --readonly --name=a --size=1m --rw=write --filename="$dir/x"
refuses readonly_extension 'forbids to extend it' --readonly --name=a --size=1m --filename="$dir/x"
printf '[a]\nrw=read\nfrobnicate=1\n' >"$dir/bad.fio"
refuses job_file_line "bad.fio:3: frobnicate: no such option" "$dir/bad.fio"
printf '[a]\nrw=read\n[b\n' >"$dir/bad.fio"
refuses job_file_syntax "bad.fio:3: not a section" "$dir/bad.fio"
rm -f "$dir/bad.fio" "$dir/out" "$dir/err"
same nothing_was_made "$(ls -A "$dir")" ""

# --- CPUs and nodes that are not there
allowed=$(awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status)
cpu0=${allowed%%[-,]*}
refuses missing_cpu "cpus_allowed: CPU 4000 is not one that this process may use: $allowed" \
    --name=a --size=1m --filename="$dir/x" --cpus_allowed=4000
refuses missing_node 'numa_cpu_nodes: there is no node 4000, only' \
    --name=a --size=1m --filename="$dir/x" --numa_cpu_nodes=4000
refuses missing_memory_node 'numa_mem_policy: there is no node 4000, only' \
    --name=a --size=1m --filename="$dir/x" --numa_mem_policy=bind:4000
TORC_CPUS=4000
export TORC_CPUS
refuses missing_cpu_of_the_environment 'torc bench: the CPU list names CPU 4000, which does not exist' \
    --name=a --size=1m --filename="$dir/x"
unset TORC_CPUS
rm -f "$dir/out" "$dir/err"
# The second one, if there is one, and the list of both.
cpu1=
both=$cpu0
rest=${allowed#"$cpu0"}
case $rest in
-*) cpu1=$((cpu0 + 1)) both=$cpu0-$cpu1 ;;
,*) rest=${rest#,} && cpu1=${rest%%[-,]*} both=$cpu0,$cpu1 ;;
esac

# --- whole programs around it
"$torc" bench --help >"$dir/out" 2>&1 && grep -q 'iodepth' "$dir/out" && grep -q examples "$dir/out"
same help $? 0
"$torc" bench --help=bs | head -1 >"$dir/out"
same help_of_one_option "$(cat "$dir/out")" "bs, blocksize"
"$torc" bench --parse-only --name=a --size=1m --filename="$dir/never" >"$dir/out" 2>&1
same parse_only "$? $(ls "$dir")" "0 out"
rm -f "$dir/out"

# A machine without io_uring gets its refusal from the library; the rest of this file needs a ring.
if ! "$torc" bench --name=probe --filename="$dir/probe" --size=64k >"$dir/out" 2>"$dir/err"; then
    if grep -q io_uring "$dir/err"; then
        skip runs "$(head -1 "$dir/err")"
        exit $failed
    fi
    bad probe "$(head -1 "$dir/err")"
    exit 1
fi
same lays_out_what_is_missing "$(wc -c <"$dir/probe" | tr -d ' ')" 65536
"$torc" bench --name=big --filename="$dir/probe" --size=32k --rw=write >/dev/null 2>&1
same keeps_the_tail_of_a_larger_file "$(wc -c <"$dir/probe" | tr -d ' ')" 65536
cp "$dir/probe" "$dir/before"
"$torc" bench --name=grow --filename="$dir/probe" --size=128k >/dev/null 2>&1
head -c 65536 "$dir/probe" | cmp -s - "$dir/before"
same extending_keeps_the_contents "$? $(wc -c <"$dir/probe" | tr -d ' ')" "0 131072"
same layout_is_not_zeros "$(tail -c 4096 "$dir/probe" | tr -d '\0' | wc -c | awk '{ print ($1 > 4000) }')" 1
# fails NAME WANTED arguments…: a run that starts and can't go on: exit 1, WANTED on standard error.
fails() {
    name=$1 wanted=$2
    shift 2
    "$torc" bench "$@" >"$dir/out" 2>"$dir/err"
    code=$?
    if [ $code -eq 1 ] && grep -qF -- "$wanted" "$dir/err"; then
        ok "$name"
    else
        bad "$name" "exit code $code: $(head -1 "$dir/err")"
    fi
}
fails unaligned_direct 'direct=1' --name=d --filename="$dir/probe" --size=64k --bs=1000 --direct=1
fails polled_without_queues 'no poll queues' --name=h --filename="$dir/probe" --size=64k --hipri
if unshare -r true 2>/dev/null; then
    # A user namespace takes away the right to lock more than the limit.
    (
        ulimit -l 1024
        unshare -r "$torc" bench --name=m --filename="$dir/probe" --size=64k --bs=64k --iodepth=16 \
            --fixedbufs >"$dir/out" 2>"$dir/err"
    )
    same memory_lock_limit "$? $(grep -c 'raise .ulimit -l., or leave fixedbufs=1 out' "$dir/err")" "1 1"
else
    skip memory_lock_limit "no user namespaces"
fi
cp "$dir/probe" "$dir/cut"
("$torc" bench --name=cut --filename="$dir/cut" --size=64k --time_based --runtime=60 >"$dir/out" \
    2>"$dir/err"; echo $? >"$dir/code") &
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.2
    grep -q Starting "$dir/out" && break
done
sleep 0.2
: >"$dir/cut"
wait $!
same file_cut_meanwhile "$(cat "$dir/code") $(grep -c 'has the file been cut' "$dir/err") $(
    grep -c 'err=61' "$dir/out")" "1 1 1"
"$torc" bench --name=gone --filename="$dir/gone" --size=64k --unlink >/dev/null 2>&1
same unlink_removes_what_it_made "$(ls "$dir" | grep -c gone)" 0
"$torc" bench --name=kept --filename="$dir/before" --size=64k --unlink >/dev/null 2>&1
same unlink_keeps_what_was_there "$(ls "$dir" | grep -c before)" 1

# --- what can't begin leaves nothing behind
echo earlier >"$dir/report"
(cd "$dir" && "$torc" bench --name=new --size=64k --bs=1000 --direct=1 --output=report) >"$dir/out" 2>&1
"$torc" bench --name=grow --filename="$dir/before" --size=128k --bs=1000 --direct=1 >"$dir/out" 2>&1
same undone_when_it_cannot_begin "$(ls "$dir" | grep -c new) $(wc -c <"$dir/before")" "0 65536"
ln "$dir/before" "$dir/link"
refuses report_into_a_job_file "is a file of the jobs" --name=o --filename="$dir/before" --output="$dir/link"
same report_into_a_job_file_left_it "$(wc -c <"$dir/before")" 65536
if deny=$B/tests/deny_uring && "$deny" EPERM true 2>/dev/null; then
    "$deny" EPERM "$torc" bench --name=new --filename="$dir/new" --size=64k --output="$dir/none" \
        >"$dir/out" 2>&1
    same nothing_laid_out_without_ring "$(grep -c Laying "$dir/out") $(wc -l <"$dir/out") $(
        ls "$dir" | grep -cE 'new|none')" "0 1 0"
    "$deny" EPERM "$torc" bench --name=new --filename="$dir/probe" --output="$dir/report" >"$dir/out" 2>&1
    same earlier_report_is_kept "$(cat "$dir/report")" earlier
else
    skip nothing_laid_out_without_ring "seccomp is not to be had"
fi
# A pipe holds it up in the middle: nobody reads the line that says so.
mkfifo "$dir/pipe"
exec 3<>"$dir/pipe"
"$torc" bench --name=long --filename="$dir/long" --size=4g >/dev/null 2>"$dir/pipe" &
head -1 <&3 >/dev/null
kill -TERM $!
wait $! 2>/dev/null
same interrupted_layout_is_undone "$? $(ls "$dir" | grep -c long)" "143 0"
exec 3>&-
(cd "$dir" && cp before closed && "$torc" bench --name=c --filename=closed --size=128k >&- 2>&-)
same closed_output_is_an_error $? 1
head -c 65536 "$dir/closed" | cmp -s - "$dir/before"
same closed_output_writes_into_no_file $? 0

# --- a full disk
(
    ulimit -f 64 2>/dev/null || exit 9 # blocks of 512 bytes: 32 KiB
    "$torc" bench --name=full --filename="$dir/full" --size=1m >"$dir/out" 2>"$dir/err"
)
case $? in
9) skip file_size_limit "the shell cannot set one" ;;
1) grep -q 'limit on file sizes (ulimit -f)' "$dir/err" && [ ! -e "$dir/full" ]
    same file_size_limit $? 0 ;;
*) bad file_size_limit "was not refused" ;;
esac
if unshare -rm true 2>/dev/null; then
    mkdir -p "$dir/small"
    TORC_BENCH=$torc DIR=$dir unshare -rm sh -c '
        mount -t tmpfs -o size=256k none "$DIR/small" || exit 9
        "$TORC_BENCH" bench --name=f --filename="$DIR/small/f" --size=1m >"$DIR/out" 2>"$DIR/err"
        code=$?
        [ -e "$DIR/small/f" ] && exit 8
        exit $code'
    case $? in
    9) skip full_disk "tmpfs cannot be mounted here" ;;
    1) grep -q 'no space left: it needs 1 MiB more\|no space left: it needs 2 MiB more' "$dir/err"
        same full_disk $? 0 ;;
    *) bad full_disk "was not refused, or left a file: $(head -1 "$dir/err")" ;;
    esac
else
    skip full_disk "no user namespaces"
fi

# --- reports
if command -v jq >/dev/null; then
    "$torc" bench --name='q"uote' --filename="$dir/probe" --size=128k --rw=randread --iodepth=4 \
        --output-format=json >"$dir/json" 2>/dev/null
    same json_is_all_of_stdout "$(jq -r '.jobs[0].jobname' "$dir/json" 2>&1)" 'q"uote'
    same json_counts "$(jq -c '.jobs[0].read|[.total_ios,.io_bytes,.clat_ns.N,.lat_ns.N,.slat_ns.N]' \
        "$dir/json")" '[32,131072,32,32,32]'
    same json_levels_are_whole "$(jq '[.jobs[0].iodepth_level[]]|add|round' "$dir/json")" 100
    same json_latency_order "$(jq '.jobs[0].read|.slat_ns.mean + .clat_ns.mean - .lat_ns.mean|fabs < 1' \
        "$dir/json")" true
    "$torc" bench --name=b --filename="$dir/probe" --size=128k --output-format=json+ \
        --output="$dir/json" >"$dir/out" 2>/dev/null
    same bins_add_up "$(jq '[.jobs[0].read.clat_ns.bins[]]|add' "$dir/json") $(wc -c <"$dir/out")" \
        "32 0"
    "$torc" bench --name=s --filename="$dir/probe" --size=128k --rw=randrw --rwmixread=50 --fsync=4 \
        --output-format=json 2>/dev/null >"$dir/json"
    same syncs_follow_writes "$(jq '.jobs[0]|.sync.total_ios == (.write.total_ios / 4|floor)
        and .read.total_ios + .write.total_ios == 32' "$dir/json")" true
    "$torc" bench --name=n --filename="$dir/probe" --size=128k --number_ios=7 --loops=3 \
        --output-format=json 2>/dev/null | jq '.jobs[0].read.total_ios' >"$dir/out"
    same number_ios "$(cat "$dir/out")" 7
    "$torc" bench --name=l --filename="$dir/probe" --size=128k --loops=3 --bs=8k \
        --output-format=json 2>/dev/null | jq '.jobs[0].read.total_ios' >"$dir/out"
    same loops "$(cat "$dir/out")" 48
    "$torc" bench --name=t --filename="$dir/probe" --size=128k --time_based --runtime=300ms \
        --ramp_time=100ms --output-format=json 2>/dev/null |
        jq '.jobs[0].read.runtime|. >= 300 and . < 5000' >"$dir/out"
    same runtime "$(cat "$dir/out")" true
    # A shell lets what it starts in the background ignore SIGINT, and so would torc bench.
    env --default-signal=INT true 2>/dev/null && int='env --default-signal=INT' signal=INT || int='' signal=TERM
    $int "$torc" bench --name=i --filename="$dir/probe" --size=128k --time_based --runtime=60 \
        --output-format=json >"$dir/json" 2>/dev/null &
    # Waits until it is at work: the program has its ring then.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 0.2
        ls -l "/proc/$!/fd" 2>/dev/null | grep -q probe && break
    done
    kill -$signal $!
    wait $!
    same interrupt_still_reports "$? $(jq '.jobs[0].read|.total_ios > 0 and .runtime < 59000' "$dir/json" 2>&1)" \
        "0 true"
    "$torc" bench --name=m --filename="$dir/probe" --size=128k --numa_mem_policy=bind:0 \
        --output-format=json >"$dir/json" 2>"$dir/err"
    code=$?
    if grep -q 'the kernel refuses its numa_mem_policy' "$dir/err"; then
        skip memory_policy "$(head -1 "$dir/err")"
    else
        same memory_policy "$code $(jq '.jobs[0].read.total_ios' "$dir/json")" "0 32"
    fi
else
    skip json "no jq"
fi

# --- several shards
if [ -n "$cpu1" ] && command -v jq >/dev/null; then
    "$torc" bench --name=j --filename="$dir/probe" --size=128k --numjobs=4 --cpus_allowed="$both" \
        --rw=randread --iodepth=4 --output-format=json >"$dir/json" 2>"$dir/err"
    same copies_spread_over_two_shards "$? $(jq -c '[.torc.shards, .torc.cpus, [.jobs[].read.total_ios]]' \
        "$dir/json")" "0 [2,\"$both\",[32,32,32,32]]"
    same copies_that_share_a_cpu_are_told \
        "$(grep -c 'up to 2 copies run as tasks of one thread' "$dir/err")" 1
    "$torc" bench --name=j --filename="$dir/probe" --size=128k --numjobs=2 --cpus_allowed="$cpu1" \
        --output-format=json 2>/dev/null | jq -c '[.torc.shards, .torc.cpus]' >"$dir/out"
    same one_cpu_is_one_shard "$(cat "$dir/out")" "[1,\"$cpu1\"]"
    "$torc" bench --group_reporting --filename="$dir/probe" --size=128k --name=a --numjobs=3 \
        --name=b --bs=8k --name=c --new_group --numjobs=2 --bs=16k --output-format=json \
        >"$dir/json" 2>/dev/null
    same groups_sum_over_shards "$? $(jq -c '[.jobs[]|[.jobname, .groupid, .read.total_ios, .read.io_bytes,
        .read.clat_ns.N, .read.lat_ns.N]]' "$dir/json")" \
        '0 [["a",0,112,524288,112,112],["c",1,16,262144,16,16]]'
    printf '%s\n' '[global]' "filename=$dir/probe" size=128k time_based runtime=200ms \
        '[first]' "cpus_allowed=$cpu0" \
        '[second]' stonewall "cpus_allowed=$cpu1" \
        '[third]' stonewall "cpus_allowed=$both" cpus_allowed_policy=split numjobs=2 \
        '[short]' stonewall "cpus_allowed=$cpu1" time_based=0 >"$dir/waves.fio"
    "$torc" bench --output-format=json "$dir/waves.fio" >"$dir/json" 2>"$dir/err"
    same waves_have_shards_of_their_own "$? $(jq -c '[.torc.shards, [.jobs[].groupid],
        ([.jobs[]|.read.total_ios > 0]|all), .jobs[4].read.total_ios]' "$dir/json")" \
        "0 [2,[0,1,2,2,3],true,32]"
    # Both are whole milliseconds, of different clocks.
    same waves_follow_each_other "$(jq -c '.jobs as $j | [[0,1],[1,2],[1,3],[2,4],[3,4]] | map(
        $j[.[1]].job_start >= $j[.[0]].job_start + $j[.[0]].job_runtime - 2) | all' "$dir/json")" true
    $int "$torc" bench --name=i --filename="$dir/probe" --size=128k --time_based --runtime=60 --numjobs=3 \
        --cpus_allowed="$both" --output-format=json --eta=always >"$dir/json" 2>"$dir/err" &
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        sleep 0.2
        grep -q 'i and 2 more: [0-9.]*[kM]* IOPS' "$dir/err" && break
    done
    kill -$signal $!
    wait $!
    same interrupted_shards_still_report "$? $(jq -c '[.jobs[].read|.total_ios > 0 and .runtime < 59000]' "$dir/json" 2>&1)" \
        "0 [true,true,true]"
    same progress_counts_all_shards "$(grep -c 'i and 2 more: [0-9.]*[kM]* IOPS' "$dir/err")" 1
    cp "$dir/probe" "$dir/cut"
    ("$torc" bench --size=64k --time_based --name=bad --filename="$dir/cut" --runtime=60 \
        --cpus_allowed="$cpu1" --name=good --filename="$dir/probe" --runtime=3 --cpus_allowed="$cpu0" \
        --output-format=json --eta=always >"$dir/json" 2>"$dir/err"; echo $? >"$dir/code") &
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sleep 0.2
        grep -q 'bad and 1 more' "$dir/err" && break
    done
    : >"$dir/cut"
    wait $!
    same failing_copy_leaves_the_others_alone "$(cat "$dir/code") $(jq -c '[.jobs[]|.error]' "$dir/json") $(
        jq '.jobs[1].read.runtime >= 3000' "$dir/json")" "1 [61,0] true"
    taskset -c "$cpu0" "$torc" bench --name=a --size=64k --filename="$dir/probe" \
        --cpus_allowed="$cpu1" >"$dir/out" 2>"$dir/err"
    same cpu_outside_of_taskset "$? $(grep -c "CPU $cpu1 is not one that this process may use: $cpu0\$" \
        "$dir/err")" "1 1"
else
    skip several_shards "one CPU, or no jq"
fi
"$torc" bench --name=text --filename="$dir/probe" --size=128k >"$dir/out" 2>/dev/null
grep -qE '^  read: IOPS=[0-9.]+k?, BW=.*\(128KiB/[0-9]+msec\)$' "$dir/out" &&
    grep -qE '^     issued rwts: total=32,0,0,0 short=0,0,0,0 dropped=0,0,0,0$' "$dir/out" &&
    grep -qE '^Run status group 0 \(all jobs\):$' "$dir/out"
same text_has_fios_lines $? 0
"$torc" bench --name=p --filename="$dir/probe" --size=128k --time_based --runtime=1500ms \
    --eta=always >/dev/null 2>"$dir/err"
tr '\r' '\n' <"$dir/err" | grep -qE 'torc bench: p: [0-9.]+[kM]? IOPS, [0-9.]+ ?[KMG]?i?B/s, [0-9]+ s left'
same progress_line $? 0

# --- the same job files, read by fio: the same fields of the same types
fields() {
    jq -r 'paths(type != "object" and type != "array") as $p |
        ($p | map(tostring) | join("/")) + " " + (getpath($p) | type)' "$1" | sort -u
}
# Newer than fio 3.33, or our own; and fio 3.39 names stonewall among a job's options, 3.33 does not.
ours='^(torc/(version|engine|cpus) string|torc/shards number|jobs/[0-9]+/job_start number|'
ours="${ours}disk_util/[0-9]+/(read|write)_sectors number|"
ours="${ours}jobs/[0-9]+/job options/stonewall string)\$"
options='[.jobs[]|.jobname,.groupid,(."job options"|del(.stonewall?))]'
if command -v fio >/dev/null && command -v jq >/dev/null; then
    for job in "$here"/jobs/*.fio; do
        name=same_fields_$(basename "$job" .fio)
        for tool in fio torc; do
            rm -rf "$dir/scratch" && mkdir "$dir/scratch"
            command=$tool
            [ $tool = torc ] && command="$torc bench"
            # shellcheck disable=SC2086
            (cd "$dir" && TORC_SCRATCH=$dir/scratch TORC_TEST_CPUS=$cpu0 $command --output-format=json \
                --output="$dir/$tool.json" "$job") >"$dir/out" 2>&1 || echo failed >"$dir/$tool.json"
            fields "$dir/$tool.json" 2>&1 | grep -vE "$ours" >"$dir/$tool.fields"
        done
        if cmp -s "$dir/fio.fields" "$dir/torc.fields" && [ -s "$dir/torc.fields" ]; then
            ok "$name"
        else
            bad "$name" "$(diff "$dir/fio.fields" "$dir/torc.fields" | grep '^[<>]' | head -3 | tr '\n' ';')"
        fi
        same "same_options_$(basename "$job" .fio)" \
            "$(jq -cS "$options" "$dir/torc.json")" "$(jq -cS "$options" "$dir/fio.json")"
    done
else
    skip same_fields "no fio or no jq"
fi

# --- devices in use are not written, with or without the right to
disk=$(findmnt -no SOURCE / 2>/dev/null | sed 's/\[.*//')
if [ -b "$disk" ]; then
    refuses mounted_device "$disk is mounted on /" --name=w --filename="$disk" --rw=write --number_ios=1
    refuses report_onto_a_device "is a block device" --name=w --filename="$dir/probe" --output="$disk"
    refuses given_up_by_another_name "--i-will-lose-data=$disk" --name=w --filename="$disk" \
        --rw=randrw --number_ios=1 --i-will-lose-data=/dev/null
    whole=/dev/$(lsblk -no PKNAME "$disk" 2>/dev/null | head -1)
    if [ -b "$whole" ]; then
        refuses disk_with_partitions "has partitions" --name=w --filename="$whole" --rw=write
    else
        skip disk_with_partitions "the root file system is on a whole disk"
    fi
else
    skip mounted_device "the root file system is on no block device"
fi

# Loop devices show the rest; they need the right to make one, and nothing but a scratch file is at risk.
head -c 8388608 /dev/zero >"$dir/image"
loop=$(losetup -f --show "$dir/image" 2>/dev/null) || loop=
if [ -n "$loop" ]; then
    "$torc" bench --name=w --filename="$loop" --rw=write --bs=64k >"$dir/out" 2>"$dir/err"
    same empty_device_is_written "$?" 0
    head -c 8388608 /dev/zero >"$dir/image"
    if mkswap "$loop" >/dev/null 2>&1; then
        refuses device_with_signature "carries data: swap" --name=w --filename="$loop" --rw=write
        "$torc" bench --name=w --filename="$loop" --rw=write --bs=64k --number_ios=1 \
            --i-will-lose-data="$loop" >"$dir/out" 2>"$dir/err"
        same given_up_device_is_written "$?" 0
    else
        skip device_with_signature "no mkswap"
    fi
    head -c 8388608 /dev/zero >"$dir/image"
    if printf 'label: gpt\n' | sfdisk -q "$loop" >/dev/null 2>&1; then
        refuses device_with_partition_table "partition table: gpt" --name=w --filename="$loop" --rw=write
    else
        skip device_with_partition_table "no sfdisk"
    fi
    "$torc" bench --name=r --filename="$loop" --bs=64k >/dev/null 2>&1
    same device_in_use_may_be_read "$?" 0
else
    skip loop_devices "none can be made here"
fi
exit $failed
