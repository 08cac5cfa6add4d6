#!/bin/sh
# SPDX-License-Identifier: MIT
# torc info --live: a process that shares its counters is found, watched, and missed when it ends.
set -u
torc=${TORC:-$B/torc}
case "$B" in /*) dir=$B/live-test ;; *) dir=$PWD/$B/live-test ;; esac
rm -rf "$dir"
mkdir -p "$dir"
watched=

check() { # name, what was said when it failed; the condition is the last exit code
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && printf '%s\n' "${2:-}"; fi
}

# Something that runs until it is told to stop, with its counters where $1 says; its PID in $watched.
start() {
    TORC_COUNTERS=$1 "$torc" bench --name=watched --filename="$dir/scratch" --size=1m --rw=randread \
        --time_based --runtime=600 --output="$dir/report" >"$dir/bench" 2>&1 &
    watched=$!
}

stop() {
    kill "$watched" 2>/dev/null
    wait "$watched" 2>/dev/null
}
trap stop EXIT

# wait_for COMMAND…: until it succeeds, for as long as a busy machine may need.
wait_for() {
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

has_turns() { "$torc" info --live "$1" --interval 0.05 --count 1 | grep -q '^loop_turns  *[^ ]*  *[1-9]'; }

# ---- a file that was named ----
start "$dir/counters"
wait_for has_turns "$dir/counters"
check live_reads_a_file_by_its_path "$(cat "$dir/bench")"
[ "$(stat -c %a "$dir/counters")" = 600 ]
check live_file_is_its_users_alone "$(ls -l "$dir/counters")"

said=$("$torc" info --live="$dir/counters" --count=1 --interval=0.1) &&
    printf '%s\n' "$said" | head -n 1 | grep -q "process $watched, for .*bench --name=watched" &&
    printf '%s\n' "$said" | grep -q '^loop_slice_ns' && printf '%s\n' "$said" | grep -q '^  *p99  *[0-9]'
check live_prints_a_table "$said"
[ -z "$(printf '%s\n' "$said" | awk 'length > 80')" ] && ! printf '%s\n' "$said" | grep -q "$(printf '\033')"
check live_table_has_80_columns_and_no_colours "$said"
! printf '%s\n' "$said" | grep -q '^dma_poll_refused' &&
    "$torc" info --live "$dir/counters" --all --count 1 --interval 0.01 | grep -q '^dma_poll_refused  *[^ ]*  *0'
check live_all_shows_what_never_happened "$said"
said=$("$torc" info --live "$dir/counters" --count 3 --interval 0.01)
[ "$(printf '%s\n' "$said" | grep -c '^loop_turns')" -eq 3 ]
check live_count_is_how_many_tables "$said"

if command -v jq >/dev/null; then
    "$torc" info --live "$dir/counters" --json --interval 0.05 >"$dir/live.json"
    [ "$(jq -s length "$dir/live.json")" = 1 ] && jq -e --argjson pid "$watched" '
        .pid == $pid and .shards >= 1 and (.seconds > 0)
        and (.shards as $shards | .counters | length > 50
            and all(has("name") and has("kind") and has("unit") and (.value | length) == $shards))
        and (.counters[] | select(.name == "loop_turns") | .value | add > 0)
        and (.counters[] | select(.name == "loop_slice_ns") | .durations | length >= 1)' \
        "$dir/live.json" >/dev/null
    check live_json_is_one_object "$(head -c 2000 "$dir/live.json")"
else
    echo "skip live_json_is_one_object no jq"
fi

# Who waits for the next table when the process ends is told so.
"$torc" info --live "$dir/counters" --interval 0.05 >"$dir/table" 2>"$dir/errors" &
watcher=$!
wait_for grep -q loop_turns "$dir/table"
stop
wait "$watcher"
code=$?
[ $code -eq 0 ] && grep -qx 'the process has ended' "$dir/errors"
check live_ends_with_the_process "exit code $code: $(cat "$dir/errors")"
[ ! -e "$dir/counters" ]
check live_file_goes_with_the_process "$(ls "$dir")"

# ---- one that is found by its number ----
start 1
file=/dev/shm/torc.$(id -u).$watched
if ! wait_for test -e "$file" && [ ! -w /dev/shm ]; then
    echo "skip live_finds_processes no /dev/shm"
else
    wait_for has_turns "$watched"
    check live_watches_a_process_by_its_number "$(cat "$dir/bench")"
    said=$("$torc" info --live) && printf '%s\n' "$said" | grep -q "^ *$watched  *[0-9]* .*torc bench"
    check live_alone_lists_processes "$said"
    if place=$(mktemp -d) && cp "$torc" "$place/torc" && chmod 755 "$place" &&
        [ "$(id -u)" = 0 ] && setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
        said=$(cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$place/torc" info --live "$watched" 2>&1)
        code=$?
        [ $code -eq 1 ] && [ "$said" = "torc info: process $watched belongs to user 0: ask as that user, or as root" ]
        check live_tells_whose_process_it_is "exit code $code: $said"
    else
        echo "skip live_tells_whose_process_it_is not root, or no setpriv"
    fi
    rm -rf "$place"
    kill -9 "$watched"
    wait "$watched" 2>/dev/null
    said=$("$torc" info --live) && printf '%s\n' "$said" | grep -qx "left by a process that has crashed: rm $file"
    check live_names_what_a_crash_has_left "$said"
    rm -f "$file"
fi

# ---- what is wrong ----
refused() { # name, the pattern of its one line, arguments…
    name=$1 pattern=$2
    shift 2
    said=$("$torc" info "$@" 2>&1)
    code=$?
    [ $code -eq 1 ] && [ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] && printf '%s\n' "$said" | grep -q "$pattern"
    check "live_refuses_$name" "exit code $code: $said"
}
sleep 600 &
sleeper=$!
refused a_process_that_shares_nothing "process $sleeper (sleep) does not share .* TORC_COUNTERS=1" --live $sleeper
kill $sleeper
wait $sleeper 2>/dev/null
refused a_process_that_is_not_there "there is no process $sleeper" --live $sleeper
refused another_file 'no file of counters' --live "$dir/scratch"
refused a_missing_file 'No such file' --live "$dir/nothing"
refused a_name 'number is wanted' --live torc
refused an_interval_of_nothing 'seconds are wanted' --live 1 --interval 0
refused a_count_of_nothing '1 or more' --live 1 --count 0
refused an_unknown_option 'no option of --live' --live 1 --jsn
said=$(TORC_COUNTERS=yes "$torc" bench --name=no --filename="$dir/scratch" --size=1m --rw=read 2>&1 >/dev/null)
code=$?
[ $code -ne 0 ] && printf '%s\n' "$said" | grep -q 'torc: counters=yes: neither "auto" nor a path'
check live_wrong_setting_is_refused "exit code $code: $said"
rm -rf "$dir"
