#!/bin/sh
# SPDX-License-Identifier: MIT
# torc info against the machine it runs on: its JSON is valid and says what /proc and /sys say, it works
# for anybody, and where io_uring is forbidden it names the reason.
set -u
# Whoever tests with more shards than CPUs is told so on standard error, where there is to be nothing.
unset TORC_SHARDS TORC_HUGEPAGES
torc=${TORC:-$B/torc}
deny=$B/tests/deny_uring
case $B in /*) dir=$B/info-test ;; *) dir=$PWD/$B/info-test ;; esac
rm -rf "$dir"
mkdir -p "$dir"

check() { # name, what was said when it failed; the condition is the last exit code
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && printf '%s\n' "${2:-}"; fi
}

if command -v jq >/dev/null; then
    value() { jq -r "$1" "$dir/info.json"; }
elif command -v python3 >/dev/null; then
    # Paths like .a.b only, which is all that is asked for here.
    value() {
        python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
for key in filter(None, sys.argv[2].split(".")):
    v = v[key]
print("null" if v is None else str(v).lower() if isinstance(v, bool) else v)' "$dir/info.json" "$1"
    }
else
    value() { return 1; }
fi

# same NAME PATH WANTED: one value of the document.
same() {
    got=$(value "$2")
    [ "$got" = "$3" ]
    check "info_$1" "$2 is $got, not $3"
}

said=$("$torc" info 2>"$dir/errors")
code=$?
[ $code -eq 0 ] && [ ! -s "$dir/errors" ]
check info_prints_a_report "exit code $code: $(cat "$dir/errors")"
printf '%s\n' "$said" | grep -q "kernel  *Linux $(uname -r)"
check info_names_the_kernel "$said"
[ "$(printf '%s\n' "$said" | wc -l)" -le 50 ]
check info_fits_a_screen "$said"
! printf '%s\n' "$said" | grep -q "$(printf '\033')"
check info_has_no_colours_in_a_pipe "$said"

# ---- the document ----
"$torc" info --json >"$dir/info.json" 2>"$dir/errors"
code=$?
[ $code -eq 0 ] && [ ! -s "$dir/errors" ]
check info_json_is_all_there_is "exit code $code: $(cat "$dir/errors")"
if value .torc.version >/dev/null 2>&1; then
    echo "ok info_json_is_valid"
    same release .kernel.release "$(uname -r)"
    same allowed_cpus .machine.allowed "$(nproc)"
    same max_map_count .limits.max_map_count "$(cat /proc/sys/vm/max_map_count)"
    soft=$(ulimit -n)
    [ "$soft" != unlimited ] || soft=null
    same open_files .limits.open_files "$soft"
    same version .torc.version "$("$torc" version | sed 's/^torc //')"
    if [ -r /proc/sys/kernel/io_uring_disabled ]; then
        same sysctl .limits.io_uring_disabled "$(cat /proc/sys/kernel/io_uring_disabled)"
    fi
elif command -v jq >/dev/null || command -v python3 >/dev/null; then
    echo "not ok info_json_is_valid"
    cat "$dir/info.json"
else
    echo "skip info_json_is_valid neither jq nor python3"
fi

if ! command -v jq >/dev/null; then
    echo "skip info_arenas_are_there_if_the_ring_is no jq"
else
    jq -e '(.arenas | length) == (if .io_uring.available then .machine.shards else 0 end)
        and all(.arenas[]; .size_bytes > 0 and .pages_on_node <= .pages_sampled)' "$dir/info.json" >/dev/null
    check info_arenas_are_there_if_the_ring_is "$(jq -c .arenas "$dir/info.json")"
fi

if ! command -v jq >/dev/null; then
    echo "skip info_devices_are_those_of_sysfs no jq"
else
    wanted=$(for disk in /sys/block/*; do
        name=${disk##*/}
        case "$name" in ram*) continue ;; esac
        [ "$(cat "$disk/size" 2>/dev/null || echo 0)" -gt 0 ] || continue
        [ "$(cat "$disk/hidden" 2>/dev/null || echo 0)" -eq 0 ] || continue
        echo "$name $(($(cat "$disk/size") * 512)) $(cat "$disk/queue/logical_block_size")"
    done | sort)
    got=$(jq -r '.devices[] | "\(.name) \(.size_bytes) \(.logical_block_bytes)"' "$dir/info.json" | sort)
    [ "$got" = "$wanted" ]
    check info_devices_are_those_of_sysfs "$(printf 'got:\n%s\nwanted:\n%s' "$got" "$wanted")"
    for key in driver model scheduler queue_depth hardware_queues rotational write_cache fua io_poll \
        io_poll_delay poll_queues physical_block_bytes dio_memory_align dio_offset_align discard mounts; do
        [ "$(jq "[.devices[] | has(\"$key\")] | all" "$dir/info.json")" = true ] || echo "$key"
    done >"$dir/lacking"
    [ ! -s "$dir/lacking" ]
    check info_devices_have_every_field "$(cat "$dir/lacking")"
    jq -e '[.io_uring.setup_flags, .io_uring.features, .io_uring.operations, .io_uring.abilities]
        | all(length > 5 and all(has("name") and has("since") and (.present | type) == "boolean"))' \
        "$dir/info.json" >/dev/null
    check info_json_lists_the_ring_by_name
fi

# ---- options ----
for wrong in --jsn -x extra; do
    said=$("$torc" info $wrong 2>&1)
    code=$?
    [ $code -eq 1 ] && [ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] &&
        printf '%s\n' "$said" | grep -q -- "\"$wrong\""
    check "info_refuses_$(echo $wrong | tr -d -)" "exit code $code: $said"
done
said=$("$torc" info --help) && printf '%s\n' "$said" | grep -q '^examples:'
check info_help_has_examples "$said"
said=$("$torc" info --all) && printf '%s\n' "$said" | grep -q '[+-] READ_FIXED *5.1' &&
    [ -z "$(printf '%s\n' "$said" | awk 'length > 100')" ]
check info_all_lists_operations "$said"
"$torc" info >/dev/full 2>"$dir/errors"
[ $? -eq 1 ] && grep -q "can't be written" "$dir/errors"
check info_says_when_it_cannot_write "$(cat "$dir/errors")"

# ---- in less friendly places ----
if setpriv --reuid 65534 --regid 65534 --clear-groups true 2>/dev/null; then
    # The program may lie where nobody else may look.
    cp "$torc" "$dir/torc" && place=$(mktemp -d) && cp "$torc" "$place/torc" && chmod 755 "$place"
    said=$(cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$place/torc" info 2>&1)
    code=$?
    rm -rf "$place"
elif [ "$(id -u)" != 0 ]; then
    said=$("$torc" info 2>&1)
    code=$?
else
    code=skip
fi
if [ "$code" = skip ]; then
    echo "skip info_works_unprivileged no setpriv"
else
    [ "$code" -eq 0 ] && printf '%s\n' "$said" | grep -q '^what is missing'
    check info_works_unprivileged "exit code $code: $said"
fi

if "$deny" EPERM true 2>/dev/null; then
    said=$("$deny" EPERM "$torc" info 2>&1)
    code=$?
    [ $code -eq 0 ] && printf '%s\n' "$said" | grep -q 'ring  *none: ' &&
        { [ "$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null || echo 0)" != 0 ] ||
            printf '%s\n' "$said" | grep -q 'a seccomp filter forbids io_uring'; }
    check info_names_seccomp_for_eperm "exit code $code: $said"
    said=$("$deny" ENOSYS "$torc" info 2>&1)
    code=$?
    if [ -r /proc/sys/kernel/io_uring_disabled ]; then
        why='a seccomp filter hides io_uring'
    else
        why='this kernel has no usable io_uring'
    fi
    [ $code -eq 0 ] && printf '%s\n' "$said" | grep -q "$why"
    check info_names_the_reason_for_enosys "exit code $code: $said"
    "$deny" ENOSYS "$torc" info --json >"$dir/info.json" 2>&1
    same json_without_ring_says_so .io_uring.available false
    same json_without_ring_has_no_rung .io_uring.rung null
    same json_without_ring_has_the_error .io_uring.error -38
    said=$("$deny" EPERM "$torc" bench --name=no --filename="$dir/scratch" --size=1m --rw=read 2>&1 >/dev/null)
    code=$?
    [ $code -eq 1 ] && [ "$(printf '%s\n' "$said" | grep -c '^torc: .*io_uring')" -eq 1 ]
    check bench_without_ring_says_why "exit code $code: $said"
else
    echo "skip info_names_seccomp_for_eperm seccomp is not to be had"
fi
rm -rf "$dir"
