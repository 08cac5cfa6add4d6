#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: apps/demo.sh [DIRECTORY]
# Measures the disk under DIRECTORY (default: build) with five workloads of torc bench and prints one
# table. TORC names the program, TORC_DEMO_SECONDS the length of each workload, TORC_DEMO_MIB the size
# of the scratch file, which is removed at the end, on Ctrl-C too.
set -u
torc=${TORC:-build/torc}
seconds=${TORC_DEMO_SECONDS:-3}
here=$(dirname "$0")

# A RAM disk's figures say nothing of a disk.
for directory in "${1:-build}" "${TMPDIR:-/var/tmp}" /var/tmp; do
    [ -d "$directory" ] && [ -w "$directory" ] || continue
    kind=$(df --output=fstype "$directory" 2>/dev/null | tail -n 1)
    case "$kind" in tmpfs | ramfs) ;; *) break ;; esac
done
case "$kind" in
tmpfs | ramfs) echo "demo: $directory is a RAM disk; TMPDIR=DIRECTORY chooses another" >&2 ;;
esac

work=$directory/torc-demo.$$
scratch=$work/scratch
running=
finish() {
    trap - EXIT INT TERM HUP
    [ -z "$running" ] || { kill "$running" && wait "$running"; } 2>/dev/null
    rm -rf "$work"
    exit "$1"
}
mkdir "$work" || exit 1
trap 'finish $?' EXIT
trap 'finish 130' INT
trap 'finish 143' TERM HUP

# At most half of what is free, so that the machine never runs full because of a demo.
free=$(df -Pk "$directory" | awk 'NR == 2 { printf "%d", $4 / 2048 }')
mib=${TORC_DEMO_MIB:-1024}
[ "$mib" -le "$free" ] || mib=$free
if [ "$mib" -lt 64 ]; then
    echo "demo: needs 128 MiB free in $directory; TMPDIR=DIRECTORY chooses another" >&2
    exit 1
fi

# say TEXT: a line that the next one overwrites, on a terminal.
if [ -t 1 ]; then say() { printf '\r\033[K%s' "$1"; }; else say() { :; }; fi

# run NAME TITLE LIMIT options…: one job; its JSON is left flattened in NAME.flat.
run() {
    name=$1 title=$2 limit=$3
    shift 3
    "$torc" bench --name="$name" --filename="$scratch" --ioengine=io_uring --direct=1 \
        --output-format=json --output="$work/$name.json" "$@" >"$work/$name.log" 2>&1 &
    running=$!
    past=0
    [ -t 1 ] || echo "  $title"
    while kill -0 "$running" 2>/dev/null; do
        say "  $title: $past of $limit s"
        sleep 1
        past=$((past + 1))
    done
    wait "$running"
    code=$?
    running=
    say ''
    awk -f "$here/json_flat.awk" "$work/$name.json" >"$work/$name.flat" 2>/dev/null
    if [ $code -ne 0 ] || ! grep -q '^jobs\.0\.' "$work/$name.flat"; then
        echo "demo: $title failed (exit code $code):" >&2
        tail -n 20 "$work/$name.log" >&2
        exit 1
    fi
}

value() { awk -F '\t' -v path="$2" '$1 == path { print $2; exit }' "$work/$1.flat"; }

# Written, not just allocated: reads of extents that were never written do not touch the disk. A slow
# disk gets a smaller file: what it took in ten seconds.
printf "\n%s\n" "Scratch file in $directory ($kind), $mib MiB, O_DIRECT; $seconds s a workload"
run layout "writing the scratch file" 10 --rw=write --bs=1M --iodepth=8 --size="${mib}M" --runtime=10
mib=$(value layout jobs.0.write.io_bytes | awk '{ printf "%d", $1 / 1048576 }')
[ "$mib" -ge 16 ] || { echo "demo: the disk took $mib MiB in ten seconds, too slow to show" >&2; exit 1; }

measure() { # name, title, options…
    name=$1 title=$2
    shift 2
    run "$name" "$title" "$seconds" --size="${mib}M" --time_based --runtime="$seconds" "$@"
}
measure rr1 "4K random read, depth 1" --rw=randread --bs=4k --iodepth=1
measure rr128 "4K random read, depth 128" --rw=randread --bs=4k --iodepth=128
measure sw "128K sequential write, depth 8" --rw=write --bs=128k --iodepth=8
measure sr "128K sequential read, depth 8" --rw=read --bs=128k --iodepth=8
measure mix "4K random 70/30, depth 128" --rw=randrw --rwmixread=70 --bs=4k --iodepth=128

row() { # name, direction, title
    awk -F '\t' -v direction="$2" -v title="$3" '
        { v[$1] = $2 }
        function us(percentile) {
            return sprintf("%.1f", v[at "clat_ns.percentile." percentile] / 1000)
        }
        END {
            at = "jobs.0." direction "."
            ios = v["jobs.0.read.total_ios"] + v["jobs.0.write.total_ios"]
            cpu = (v["jobs.0.usr_cpu"] + v["jobs.0.sys_cpu"]) / 100 * v["jobs.0.job_runtime"] * 1e6
            printf "%-32s %10.0f %9.1f %10s %10s %10s %10.0f\n", title, v[at "iops"],
                v[at "bw_bytes"] / 1e6, us("50.000000"), us("99.000000"), us("99.900000"),
                ios ? cpu / ios : 0
        }' "$work/$1.flat"
}
printf '\n%-32s %10s %9s %10s %10s %10s %10s\n' workload IOPS MB/s 'p50 us' 'p99 us' 'p99.9 us' \
    'CPU ns/IO'
row rr1 read "4K random read, depth 1"
row rr128 read "4K random read, depth 128"
row sw write "128K sequential write, depth 8"
row sr read "128K sequential read, depth 8"
row mix read "4K random 70/30, depth 128: reads"
row mix write "                          writes"
