#!/bin/sh
# SPDX-License-Identifier: MIT
# The counting itself: what run.sh makes of binaries that crash, hang, lie or say nothing.
set -u
case $B in /*) dir=$B/run-test ;; *) dir=$PWD/$B/run-test ;; esac
rm -rf "$dir"
mkdir -p "$dir"

# verdict NAME WANTED: stdin is the body of a test "binary", whose TAP file is $tap.
verdict() {
    { printf '#!/bin/sh\ntap=${1#--tap=}\n' && cat; } >"$dir/$1"
    chmod +x "$dir/$1"
    TORC_TEST_SECONDS=1 WRAP='' sh tests/run.sh --binary "$dir/$1" "$dir"
    got=$(tr '\n' ';' <"$dir/$1.verdicts")
    if [ "$got" = "$2" ]; then
        echo "ok run_$1"
    else
        echo "not ok run_$1"
        echo "got: $got"
    fi
}

printf 'printf "1..3\\nok - a::b  (0.01s)\\nok - a::c  # SKIP no disk\\nnot ok - a::d  (0.00s)\\n" >$tap; exit 1\n' |
    verdict counts_each_test 'ok a::b;skip a::c no disk;not ok a::d  (0.00s);'
printf 'kill -SEGV $$\n' | verdict crash_is_a_failure 'not ok crash_is_a_failure ended with exit code 139;'
printf 'exit 0\n' | verdict silence_is_a_failure 'not ok silence_is_a_failure ran no test;'
printf 'sleep 20\n' | verdict hang_is_a_failure 'not ok hang_is_a_failure ran past 1 s;'
printf 'printf "1..2\\nok - a::b\\n" >$tap\n' |
    verdict lost_test_is_a_failure 'ok a::b;not ok lost_test_is_a_failure planned 2, ran 1;'
printf 'printf "1..1\\nok - a::b\\n" >$tap; exit 66\n' |
    verdict sanitizer_exit_code_is_a_failure \
        'ok a::b;not ok sanitizer_exit_code_is_a_failure ended with exit code 66;'
