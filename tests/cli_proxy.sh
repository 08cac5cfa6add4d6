#!/bin/sh
# SPDX-License-Identifier: MIT
# `torc proxy` as its user meets it: what it refuses, each time one clear line and exit status 2 before anything is
# started; what goes through it and how it ends is in proxy_checks.py. TORC names the program.
set -u
torc=${TORC:-$B/torc}
here=$(dirname "$0")
dir=${TMPDIR:-/tmp}/torc-cli-proxy.$$
mkdir -p "$dir" || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
failed=0

bad() {
    echo "not ok proxy_$1 $2"
    failed=1
}

# refuses NAME WANTED arguments…: exit status 2, and one line that has WANTED.
refuses() {
    name=$1 wanted=$2
    shift 2
    timeout 20 "$torc" proxy "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $code -ne 2 ]; then
        bad "refuses_$name" "exit status $code: $(head -1 "$dir/err")"
    elif ! grep -qF -- "$wanted" "$dir/err"; then
        bad "refuses_$name" "said: $(head -1 "$dir/err")"
    elif [ "$(wc -l <"$dir/err")" -ne 1 ] || [ -s "$dir/out" ]; then
        bad "refuses_$name" "more than one line: $(cat "$dir/out" "$dir/err" | tr '\n' ';')"
    else
        echo "ok proxy_refuses_$name"
    fi
}

# prints NAME WANTED arguments…: exit status 0 and WANTED on standard output.
prints() {
    name=$1 wanted=$2
    shift 2
    timeout 20 "$torc" proxy "$@" >"$dir/out" 2>"$dir/err" </dev/null
    code=$?
    if [ $code -eq 0 ] && grep -qF -- "$wanted" "$dir/out" && [ ! -s "$dir/err" ]; then
        echo "ok proxy_$name"
    else
        bad "$name" "exit status $code: $(cat "$dir/out" "$dir/err" | head -3 | tr '\n' ';')"
    fi
}

if [ ! -x "$torc" ]; then
    bad program "no program at $torc"
    exit 1
fi

on='--listen tcp://127.0.0.1:0' to='--to tcp://app1:80'
refuses nothing_to_listen_on '--listen is missing' $to
refuses no_backend '--to is missing' $on
refuses an_unknown_option 'no option is called "--lisen"; `torc proxy --help` lists them' --lisen tcp://:80
refuses a_word 'no option is called "tcp://:80"' tcp://:80
refuses an_option_without_value '--to needs a value' $on --to
refuses an_empty_value '--listen needs a value' --listen= $to
refuses a_value_for_a_switch '--json takes no value' $on $to --json=yes
refuses an_address_without_scheme 'an address begins with tcp://' --listen 127.0.0.1:80 $to
refuses an_address_without_port 'the port is missing' $on --to tcp://app1
refuses a_port_that_is_too_large 'tcp://127.0.0.1:65536' --listen tcp://127.0.0.1:65536 $to
refuses a_broken_ipv6_address 'tcp://[::1:80' $on --to 'tcp://[::1:80'
refuses an_empty_address_in_a_list 'an address begins with' $on --to tcp://app1:80,,tcp://app2:80
refuses a_backend_without_host '--to tcp://:80: a backend needs a host' $on --to tcp://:80
refuses a_backend_at_port_0 '--to tcp://127.0.0.1:0: a backend needs a port' $on --to tcp://127.0.0.1:0
refuses the_same_address_twice '--listen tcp://127.0.0.1:0: is given twice' $on $to $on
refuses datagrams 'datagrams are not passed on' $on --to udp://app1:53
refuses listening_on_datagrams 'datagrams are not passed on' --listen "unixgram:$dir/s" $to
refuses a_path_that_is_too_long 'unix:' --listen "unix:$dir/$(printf '%0200d' 0)" $to
refuses an_unknown_balance '--balance fair: must be round-robin or least-connections' $on $to --balance fair
refuses a_wrong_time '--idle-timeout soon: is no time: write 250ms, 5s, 2m or 1h' $on $to --idle-timeout soon
refuses a_timeout_of_nothing '--connect-timeout 0: must be more than 0' $on $to --connect-timeout 0
refuses an_endless_time 'must be a year at most' $on $to --drain 999999h
refuses no_attempts '--attempts 0: must be a number from 1 to 64' $on $to --attempts 0
refuses too_many_shards '--shards 5000: must be a number from 1 to 1024' $on $to --shards 5000
refuses a_negative_count '--connections -1: must be a number' $on $to --connections -1
many=$(seq -s, -f 'tcp://app%.0f:80' 65)
refuses more_backends_than_there_is_room_for '--to: more than 64 addresses' $on --to "$many"

prints help_has_examples 'torc proxy --listen tcp://:8080 --to tcp://app1:80,tcp://app2:80' --help
prints help_comes_before_mistakes 'usage: torc proxy' --nonsense --help
prints check_starts_nothing 'the arguments are fine: 1 to listen on, 1 backend' $on $to --check

if command -v python3 >/dev/null; then
    timeout -k 5 "${TORC_TEST_SECONDS:-600}" python3 "$here/proxy_checks.py" "$torc" "$dir" || failed=1
else
    echo "skip proxy_checks no python3"
fi
exit $failed
