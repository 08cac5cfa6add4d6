#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo against a program that answers with known figures: the table's arithmetic, and that the
# scratch file goes away whatever happens.
set -u
case $B in /*) dir=$B/demo-test ;; *) dir=$PWD/$B/demo-test ;; esac
rm -rf "$dir"
mkdir -p "$dir/here"

cat >"$dir/torc" <<'STUB'
#!/bin/sh
# Every I/O direction: 2,000 I/Os in 1 s of 50 % CPU, so 125,000 ns for each of the 4,000.
shift
for option; do
    case "$option" in
    --filename=*) echo x >"${option#*=}" ;;
    --output=*) output=${option#*=} ;;
    --name=*) name=${option#*=} ;;
    esac
done
[ "$name" != "$STUB_FAILS" ] || { echo "no such luck"; exit 3; }
[ "$name" != "$STUB_HANGS" ] || exec sleep 100
side='"io_bytes":1073741824,"bw_bytes":8192000,"iops":2000.4,"total_ios":2000,
"clat_ns":{"percentile":{"1.000000":1,"50.000000":1500,"99.000000":20000,"99.900000":300000}}'
printf '%s' "{\"fio version\":\"x, [y]: {z}\",\"jobs\":[{\"jobname\":\"$name\",\"read\":{$side},
\"write\":{$side},\"job_runtime\":1000,\"usr_cpu\":20.0,\"sys_cpu\":30.0}]}" >"$output"
STUB
chmod +x "$dir/torc"
export TORC="$dir/torc" STUB_FAILS=none STUB_HANGS=none TORC_DEMO_SECONDS=1 TORC_DEMO_MIB=64

check() { # name, what was said when it failed; the condition is the last exit code
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && printf '%s\n' "$2"; fi
}

said=$(sh apps/demo.sh "$dir/here" 2>&1)
row=$(printf '%s\n' "$said" | grep '^4K random read, depth 128' | tr -s ' ')
[ "$row" = "4K random read, depth 128 2000 8.2 1.5 20.0 300.0 125000" ]
check demo_table_is_computed_from_the_json "$said"
[ "$(printf '%s\n' "$said" | grep -c ' 125000$')" = 6 ]
check demo_table_has_six_rows "$said"
[ -z "$(ls "$dir/here")" ]
check demo_removes_its_scratch_file "$(ls "$dir/here")"

said=$(STUB_FAILS=sw sh apps/demo.sh "$dir/here" 2>&1)
code=$?
[ $code -eq 1 ] && printf '%s\n' "$said" | grep -q '128K sequential write.*failed (exit code 3)' &&
    printf '%s\n' "$said" | grep -q 'no such luck'
check demo_names_the_workload_that_failed "$said"
[ -z "$(ls "$dir/here")" ]
check demo_removes_its_scratch_file_after_a_failure "$(ls "$dir/here")"

STUB_HANGS=sr sh apps/demo.sh "$dir/here" >"$dir/log" 2>&1 &
demo=$!
until grep -q '128K sequential read' "$dir/log"; do kill -0 $demo || break; sleep 0.1; done
kill -TERM $demo
wait $demo
code=$?
[ $code -eq 143 ] && [ -z "$(ls "$dir/here")" ]
check demo_cleans_up_when_it_is_stopped "exit code $code: $(ls "$dir/here")"
