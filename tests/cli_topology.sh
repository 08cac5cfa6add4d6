#!/bin/sh
# SPDX-License-Identifier: MIT
# torc info --topology: machines that are not here are drawn as they are, this one as it is allowed, and a
# wish that can't be granted gets one line.
set -u
torc=${TORC:-$B/torc}
dir=$PWD/$B/topology-test
rm -rf "$dir"
mkdir -p "$dir"
unset HWLOC_SYNTHETIC HWLOC_XMLFILE TORC_SHARDS TORC_CPUS TORC_PLACEMENT

check() { # name, what was said when it failed; the condition is the last exit code
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && printf '%s\n' "${2:-}"; fi
}

# draws NAME LINES…: the last drawing has each of these lines, blanks at their ends aside.
draws() {
    name=$1
    shift
    for line; do
        printf '%s\n' "$said" | grep -qxF -- "$line" || { false && break; }
    done
    check "topology_$name" "$said"
}

epyc='pack:2 group:4 [numa(memory=64GiB)] l3:2(size=32MiB) core:8 pu:2(indexes=2*128:1*2)'
said=$(HWLOC_SYNTHETIC=$epyc "$torc" info --topology --placement spread --shards 16)
draws big_machine \
    '  not here    HWLOC_SYNTHETIC or HWLOC_XMLFILE describes another machine' \
    '  machine     2 packages, 8 NUMA nodes, 16 L3 caches of 32 MiB, 128 cores, 256 threads' \
    '  shards      16, placement spread' \
    '  package 1' \
    '    node 7  64 GiB' \
    '      L3 0     0:0     1 .     2 .     3 .     4 .     5 .     6 .     7 .' \
    '             128 .   129 .   130 .   131 .   132 .   133 .   134 .   135 .' \
    '      L3 15  120:15  121 .   122 .   123 .   124 .   125 .   126 .   127 .'
[ "$(printf '%s\n' "$said" | awk 'length > 100' | wc -l)" -eq 0 ]
check topology_big_machine_fits_100_columns "$said"
! printf '%s\n' "$said" | grep -q ' $'
check topology_lines_end_where_they_end "$said"

said=$(HWLOC_XMLFILE=tests/topologies/laptop.xml "$torc" info --topology --placement=cores)
draws laptop_with_two_kinds_of_cores \
    '  machine     1 package, 1 NUMA node of 1 GiB, 1 L3 cache of 22.9 MiB, 14 cores, 20' \
    '              threads' \
    '  P cores   0:0    2:1    4:2    6:3    8:4   10:5' \
    '            1 .    3 .    5 .    7 .    9 .   11 .' \
    '  E cores  12:6   13:7   14:8   15:9   16:10  17:11  18:12  19:13'
[ "$(printf '%s\n' "$said" | awk 'length > 80' | wc -l)" -eq 0 ]
check topology_small_machine_fits_80_columns "$said"

said=$(HWLOC_SYNTHETIC='[numa(memory=512GiB)] pack:2 [numa(memory=64GiB)] l3:1(size=16MiB) core:4 pu:1' \
    "$torc" info --topology --cpus 6,1 --shards 5)
draws memory_without_cpus_and_crowds \
    '  shards      5 on the CPUs of a list' \
    '              5 shards on 2 CPUs: those that share one take turns and never spin' \
    '      L3 0  0 .    1:1+3  2 .    3 .' \
    '      L3 1  4 .    5 .    6:3x   7 .' \
    '  node 2  512 GiB, without CPUs'

said=$(HWLOC_SYNTHETIC='core:4 pu:1' TORC_SHARDS=2 TORC_PLACEMENT=pack "$torc" info --topology)
draws variables_count_as_for_programs '  shards      2, placement pack' '    0:0  1:1  2 .  3 .'

# ---- this machine ----
said=$("$torc" info --topology)
code=$?
[ $code -eq 0 ] && printf '%s\n' "$said" | grep -qE "allowed     (all )?$(nproc) " &&
    ! printf '%s\n' "$said" | grep -q 'not here'
check topology_of_this_machine "exit code $code: $said"
if [ "$(nproc)" -gt 1 ] && command -v taskset >/dev/null; then
    last=$(taskset -cp $$ | sed 's/.*[ ,-]//')
    said=$(taskset -c "$last" "$torc" info --topology)
    printf '%s\n' "$said" | grep -qE "(^|  )$last:0( |$)" && printf '%s\n' "$said" | grep -q '0 x'
    check topology_shows_what_is_not_allowed "$said"
else
    echo "skip topology_shows_what_is_not_allowed one CPU, or no taskset"
fi
said=$("$torc" info | grep '^  shards   ')
[ "$said" = "  shards      $(nproc) by default; torc info --topology draws them" ] ||
    [ -n "$(cat /sys/fs/cgroup/cpu.max 2>/dev/null | grep -v ^max)" ]
check topology_is_a_line_of_the_report "$said"

# ---- the document ----
if command -v jq >/dev/null; then
    HWLOC_SYNTHETIC=$epyc "$torc" info --topology --json --cpus 9,200 >"$dir/epyc.json"
    [ "$(jq -c '[.this_machine, .packages, .cores, (.nodes | length), (.l3s | length)]' "$dir/epyc.json")" = \
        '[false,2,128,8,16]' ] &&
        [ "$(jq -c .placement.shards "$dir/epyc.json")" = '[9,200]' ] &&
        [ "$(jq -c '.cpus[] | select(.cpu == 200) | [.package, .node, .l3, .thread, .shards]' \
            "$dir/epyc.json")" = '[1,4,9,1,[1]]' ]
    check topology_as_json "$(head -50 "$dir/epyc.json")"
else
    echo "skip topology_as_json no jq"
fi

# ---- what can't be had ----
# refuses NAME TEXT ARGUMENTS…: one line with TEXT, exit code 1.
refuses() {
    name=$1 text=$2
    shift 2
    said=$(HWLOC_SYNTHETIC='core:4 pu:1' "$torc" info "$@" 2>&1 >/dev/null)
    code=$?
    [ $code -eq 1 ] && [ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] &&
        printf '%s\n' "$said" | grep -qF -- "$text"
    check "topology_refuses_$name" "exit code $code: $said"
}
refuses list '"x" is no CPU' --topology --cpus 0,x
refuses cpu_that_is_not_there 'CPU 4, which does not exist; CPUs that may be used: 0-3' --topology --cpus=4
refuses policy 'all, spread, pack, cores or near:DEVICE is wanted' --topology --placement scattered
refuses number 'a number from 1 to 1024 is wanted' --topology --shards 0
refuses missing_number 'a number from 1 to 1024 is wanted' --topology --shards
refuses device 'devices of another machine' --topology --placement near:sda
refuses wish_without_drawing 'go with --topology' --shards 3
TORC_PLACEMENT=scattered
export TORC_PLACEMENT
refuses variable 'TORC_PLACEMENT=scattered' --topology
unset TORC_PLACEMENT
said=$("$torc" info --topology --placement near:nothing-of-that-name 2>&1)
[ $? -eq 1 ] && [ "$said" = \
    'torc: no block device, file or network interface is called "nothing-of-that-name"' ]
check topology_refuses_unknown_device "$said"
said=$("$torc" info --topology --placement near:/ 2>&1)
check topology_near_a_file "$said"
rm -rf "$dir"
