#!/bin/sh
# SPDX-License-Identifier: MIT
# What bench/ measures the network with: the load generator, the floors, and compare.py where there is Python. Runs are
# short: that figures come out, and say what happened, is what is tested here, not the figures.
set -u
case $B in /*) out=$B ;; *) out=$PWD/$B ;; esac
dir=$out/compare-test
rm -rf "$dir"
mkdir -p "$dir"
unset MAKEFLAGS MAKELEVEL 2>/dev/null
load=$out/bench/load
peers=$out/peers

check() {
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && echo "$code: $said" && cat "$dir/err"; fi
}
said='' code=0
: >"$dir/err"
make -s -f bench/peers/Makefile B="$out" CC="${CC:-gcc}" floors >"$dir/err" 2>&1
check bench_floors_build

servers=
trap '[ -z "$servers" ] || kill -KILL $servers 2>/dev/null; exit' EXIT INT TERM

# What has ended stays a process until it is waited for, and somebody else may answer at its port.
alive() { grep -q '^State:[^Z]*$' "/proc/$pid/status" 2>/dev/null; }
# serve PROGRAM [MORE]: starts it on a port that is free, which becomes $port; its process is $pid.
port=$((20000 + $$ % 9000))
serve() {
    program=$1
    shift
    tries=0
    while [ $tries -lt 20 ]; do
        tries=$((tries + 1)) port=$((port + 1))
        "$peers/$program" $port "$@" >"$dir/server" 2>&1 &
        pid=$!
        waited=0
        sleep 0.02
        while [ $waited -lt 100 ] && alive; do
            [ "$program" != floor_udp_echo ] || grep -qi "$(printf ':%04X ' $port)" /proc/net/udp && break
            timeout 5 "$load" --to tcp://127.0.0.1:$port --seconds 0.01 --warm 0 >/dev/null 2>&1 && break
            waited=$((waited + 1))
            sleep 0.05
        done
        alive && servers="$servers $pid" && return 0
    done
    return 1
}
ask() { # OPTIONS: what it said, its exit code
    said=$(timeout 60 "$load" "$@" 2>"$dir/err")
    code=$?
}
figure() { # NAME: of the JSON that was said
    printf '%s\n' "$said" | sed -n "s/.*\"$1\":\([0-9.-]*\).*/\1/p"
}
brief='--seconds 0.1 --warm 0'

# ---- the load generator ----

refuses() {
    name=$1 line=$2
    shift 2
    ask "$@"
    [ $code -eq 2 ] && [ -z "$said" ] && [ "$(wc -l <"$dir/err")" = 1 ] && grep -q -- "$line" "$dir/err"
    check "load_refuses_$name"
}
refuses no_address 'say --to ADDRESS'
refuses a_name 'the host must be a numeric address' --to tcp://localhost:80
refuses no_port 'is no tcp://HOST:PORT' --to tcp://127.0.0.1
refuses port_zero 'is no number from 1 to 65535' --to tcp://127.0.0.1:0
refuses another_scheme 'is no tcp://HOST:PORT' --to http://127.0.0.1:80
refuses a_number_with_a_tail '--depth: 4x is no number' --to tcp://127.0.0.1:80 --depth 4x
refuses nothing_to_do 'nothing to do' --to tcp://127.0.0.1:80 --connections 0
refuses to_compare_what_differs_in_length 'as long as the request' --to tcp://127.0.0.1:80 --reply 9 --check

ask --to tcp://127.0.0.1:1 $brief
[ $code -eq 1 ] && grep -q 'connect: connection 1: Connection refused' "$dir/err"
check load_says_that_nobody_listens

for floor in floor_epoll_echo floor_echo; do
    if ! serve $floor; then
        grep -q 'Linux 6.12\|io_uring' "$dir/server" && echo "skip load_asks_$floor $(cat "$dir/server")" && continue
        false
        check "load_asks_$floor"
        continue
    fi
    all=yes
    for shape in '--connections 1' '--connections 150' '--connections 3 --message 512 --depth 64' \
        '--connections 2 --message 70000 --depth 4' '--connections 20 --renew 3 --depth 2'; do
        ask --to tcp://127.0.0.1:$port $brief --check --pid $pid $shape
        [ $code -eq 0 ] && [ "$(figure errors)" = 0 ] && [ "$(figure requests)" -gt 0 ] || all="$shape: $said"
        case $(figure cpu_ns) in '' | 0.0) all="no CPU time: $said" ;; esac
    done
    [ "$all" = yes ] || said=$all
    [ "$all" = yes ]
    check "load_asks_$floor"
done

serve floor_epoll_echo
ask --to tcp://127.0.0.1:$port --connections 10 --rate 1000 --seconds 0.5 --warm 0
[ $code -eq 0 ] && [ "$(($(figure requests) + $(figure unanswered)))" -ge 499 ] &&
    [ "$(($(figure requests) + $(figure unanswered)))" -le 501 ]
check load_asks_as_often_as_the_rate_says

# Stopped for a second of three, the server owes a third of the answers half a second and more.
timeout 60 "$load" --to tcp://127.0.0.1:$port --connections 10 --rate 1000 --seconds 3 --warm 0 >"$dir/out" 2>"$dir/err" &
asking=$!
sleep 1
kill -STOP $pid
sleep 1
kill -CONT $pid
wait $asking
code=$? said=$(cat "$dir/out")
late=$(figure p90_us)
[ $code -eq 0 ] && [ "${late%.*}" -gt 300000 ]
check load_charges_a_stall_to_all_who_waited

ask --to tcp://127.0.0.1:$port $brief --idle 300 --connections 2 --settle 0.1 --pid $pid
[ $code -eq 0 ] && [ -n "$(figure idle_bytes)" ] && [ "$(figure requests)" -gt 0 ]
check load_holds_idle_connections
(ulimit -n 120 && "$load" --to tcp://127.0.0.1:$port --idle 200 --connections 0 --settle 0 --pid $pid) >"$dir/out" 2>"$dir/err"
code=$? said=$(cat "$dir/out")
[ $code -eq 0 ] && [ -n "$(figure idle_bytes)" ]
check load_holds_more_than_one_process_may
sleep 0.1
! grep -lz "^$load\$" /proc/[0-9]*/cmdline >"$dir/err" 2>/dev/null
check load_leaves_no_process_behind

timeout 60 "$load" --to tcp://127.0.0.1:$port --connections 3 --seconds 20 >"$dir/out" 2>"$dir/err" &
asking=$!
sleep 0.3
kill -KILL $pid
wait $asking
code=$? said=$(cat "$dir/out")
[ $code -eq 1 ] && [ "$(figure errors)" -ge 3 ]
check load_fails_when_the_server_goes

serve floor_udp_echo
ask --to udp://127.0.0.1:$port $brief --check --connections 50
[ $code -eq 0 ] && [ "$(figure requests)" -gt 0 ] && [ -n "$(figure lost)" ]
check load_asks_by_datagram

serve floor_epoll_echo
backend=$port
serve floor_relay $backend
ask --to tcp://127.0.0.1:$port $brief --check --connections 3 --message 60000 --depth 8
[ $code -eq 0 ] && [ "$(figure requests)" -gt 0 ]
check floor_relay_passes_what_it_gets

# ---- Python ----

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
    echo "skip compare no Python 3.8"
    exit 0
fi
py() { # CODE: with bench/ to import from
    said=$(PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bench timeout 120 python3 -c "$1" 2>"$dir/err")
    code=$?
    [ $code -eq 0 ]
}

# Both ends send at once, one of them half-closes before it has read anything.
py "
import os, socket, threading
listener = socket.create_server(('127.0.0.1', 0))
import subprocess
relay = subprocess.Popen(['$peers/floor_relay', '$((port + 1))', str(listener.getsockname()[1])])
try:
    for attempt in range(200):
        try:
            client = socket.create_connection(('127.0.0.1', $((port + 1))), 5)
            break
        except OSError:
            import time; time.sleep(0.02)
    server, _ = listener.accept()
    up, down, got = os.urandom(3 << 20), os.urandom(2 << 20), {}
    def send(to, data):
        to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    def take(name, end):
        got[name] = b''.join(iter(lambda: end.recv(65536), b''))
    jobs = [threading.Thread(target=f, args=a) for f, a in
            ((send, (client, up)), (send, (server, down)), (take, ('up', server)), (take, ('down', client)))]
    jobs[0].start(); jobs[0].join(0.2)
    for job in jobs[1:]: job.start()
    for job in jobs: job.join(30)
    assert got['up'] == up and got['down'] == down
finally:
    relay.kill()
    relay.wait()
"
check floor_relay_half_closes

py "
import socket, subprocess, threading
path = '$dir/s'
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(8)
wrong = [False]
def serve():
    while True:
        peer, _ = listener.accept()
        def echo(peer=peer):
            while (data := peer.recv(65536)):
                peer.sendall(data.upper() if wrong[0] else data)
        threading.Thread(target=echo, daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
def ask(*more):
    return subprocess.run(['$load', '--to', 'unix:' + path, '--seconds', '0.1', '--warm', '0', '--check', *more], text=True,
                          capture_output=True)
right = ask('--connections', '3')
assert right.returncode == 0 and '\"errors\":0' in right.stdout, right
wrong[0] = True
bad = ask()
assert bad.returncode == 1 and 'an answer differs from its request' in bad.stderr, bad
"
check load_asks_by_unix_socket_and_sees_a_wrong_answer

py "
import plan, plan_net
from bars import Bar, Row, at_most, least
from compare import View
from rounds import Contender, Group
def verdicts(figure, samples, *bars):
    group = Group('g', [Contender(name, []) for name in ('torc', 'handler', 'floor', 'rival')], 1)
    view = View(Row('r', {}, figure, list(bars)), group, [(name, 0, {figure: v}) for name, v in samples])
    return [(place, ok) for place, _, ok in view.verdicts()]
costs = [('torc', 105), ('torc', 300), ('handler', 90), ('floor', 100), ('rival', 104)]
assert verdicts('cpu_ns', costs, least(0.95, 'floor')) == [('floor', True)]
assert verdicts('cpu_ns', costs, least(1, 'floor', 'rival')) == [('torc', False)]
assert verdicts('cpu_ns', costs, least(1, 'floor', 'rival', who='handler')) == [('handler', True)]
assert verdicts('cpu_ns', costs, least(1.2, 'floor', who='handler')) == [('handler', False)]
assert verdicts('ops_per_s', costs, least(1.05, 'floor'), least(1, 'floor', who='handler')) == [('floor', True), ('handler', False)]
assert verdicts('cpu_ns', costs, at_most(90, who='handler'), at_most(89, who='handler')) == [('handler', True), ('handler', False)]
assert verdicts('cpu_ns', costs[2:], least(1, 'floor', who='torc'), least(1, 'gone', who='handler')) == [('torc', None), ('handler', None)]
samples = [('direct', 0, {'p99_us': 50}), ('direct', 1, {'p99_us': 40}), ('torc', 0, {'p99_us': 70})]
plan_net.add_latency(samples)
assert samples[2][2]['added_us'] == 30 and 'added_us' not in samples[0][2]
names = [g.name for g in plan_net.groups('')]
assert len(names) == len(set(names)) and {n.split('.')[0] for n in names} == set(plan_net.GROUPS) <= set(plan.GROUPS)
known = {c.name for g in plan_net.groups('') for c in g.contenders}
for g in plan_net.groups(''):
    here = {c.name for c in g.contenders}
    for row in g.rows:
        for bar in row.bars:
            assert {*bar.against, bar.who or g.contenders[0].name} <= here, (g.name, bar)
"
check compare_judges_the_bars

py "
import xml.dom.minidom, plot, plan_net
from bars import Row
class Made:
    row = Row('', {'bench': 'growth'}, 'cpu_ns')
    values = {plan_net.growth_name(s, n): [(i + 30 / n) * 1000 + i] for i, s in enumerate(plan_net.PLOTTED, 3)
              for n in plan_net.SIZES if (s, n) != ('epoll', 10000)}
    def best(self, name):
        return min(self.values[name])
assert plot.write('$dir/plot/p.svg', [Made()], 'a <machine>') is None
root = xml.dom.minidom.parse('$dir/plot/p.svg')
lines = [len(p.getAttribute('points').split()) for p in root.getElementsByTagName('polyline')]
assert sorted(lines) == [4, 5, 5, 5, 5, 5], lines
for p in root.getElementsByTagName('polyline'):
    for x, y in (pair.split(',') for pair in p.getAttribute('points').split()):
        assert plot.LEFT <= float(x) <= plot.WIDTH - plot.RIGHT and plot.TOP <= float(y) <= plot.HEIGHT - plot.BOTTOM
heights = sorted(plot.apart({'a': 100, 'b': 101, 'c': 102, 'd': 300}, 17, 310).values())
assert all(b - a >= 17 for a, b in zip(heights, heights[1:])) and heights[-1] <= 310, heights
assert plot.marks_of(2.9, 42)[0] <= 2.9 and plot.marks_of(2.9, 42)[-1] >= 42
Made.values = {}
assert 'nothing was measured' in plot.write('$dir/none.svg', [Made()], '')
"
check compare_draws_the_plot

compare() {
    said=$(timeout 120 python3 bench/compare.py --build "$out" "$@" 2>"$dir/err")
    code=$?
}
compare --plot x.svg --only nop
[ $code -eq 2 ] && grep -q 'not measured' "$dir/err"
check compare_refuses_a_plot_of_what_it_does_not_measure
compare --only echo.2
[ $code -eq 2 ] && grep -q "no group is called 'echo.2'" "$dir/err"
check compare_refuses_a_shape_that_there_is_not

if [ "$(nproc)" -lt 2 ]; then
    echo "skip compare_servers one CPU only"
    exit 0
fi
compare --rounds 2 --load "$brief --connections 5" --json "$dir/json" --markdown "$dir/table" \
    "one=$peers/floor_epoll_echo {port}" "other=$peers/floor_epoll_echo {port}" \
    "ends=sh -c 'echo no luck >&2; exit 3' {port}" "wrong=sh -c 'sleep 1; exit 4' {port}"
[ $code -eq 0 ] && printf '%s\n' "$said" | grep -q 'load: cpu_ns' &&
    printf '%s\n' "$said" | grep -q '^  ends (commands): .*ended with exit code 3: no luck' &&
    printf '%s\n' "$said" | grep -q '^  wrong (commands): .*ended with exit code 4: no message' &&
    grep -q '"cpu_ns"' "$dir/json" && grep -q "^taskset .*floor_epoll_echo PORT; .*load --to tcp://127.0.0.1:PORT" "$dir/table"
check compare_runs_servers_and_leaves_out_those_that_end
compare --rounds 1 --load "$brief --connections 5" --backend "$peers/floor_epoll_echo {port}" \
    "relay=$peers/floor_relay {port} {backend}"
[ $code -eq 0 ] && ! printf '%s\n' "$said" | grep -q 'left out'
check compare_runs_proxies_before_a_backend
compare --rounds 1 --load "$brief" "dies=timeout 0.6 $peers/floor_epoll_echo {port}" --load '--seconds 5'
[ $code -eq 2 ] && printf '%s\n' "$said" | grep -q '^  dies (commands): .*ended under the load'
check compare_sees_a_server_that_dies_under_the_load

mkdir -p "$dir/part/peers" "$dir/part/bench"
ln -s "$load" "$dir/part/bench/load"
ln -s "$peers/floor_epoll_echo" "$dir/part/peers/floor_epoll_echo"
compare --build "$dir/part" --rounds 1 --only echo.100 --strict
[ $code -eq 1 ] && printf '%s\n' "$said" | grep -q 'no rival is cheaper not measured' &&
    printf '%s\n' "$said" | grep -q 'torc (echo.100): no .*examples/echo: .make. builds it' &&
    printf '%s\n' "$said" | grep -q '^  epoll  *[0-9.,]* ns'
check compare_measures_what_there_is
compare --build "$dir/none" --rounds 1 --only echo.100
[ $code -eq 2 ] && printf '%s\n' "$said" | grep -q 'tokio, monoio, glommio, compio (echo.100): no '
check compare_says_when_there_is_nothing_to_measure

if command -v wrk >/dev/null && command -v nginx >/dev/null; then
    compare --rounds 1 --only http.pipelined --json "$dir/json"
    ! printf '%s\n' "$said" | grep -q '^  nginx (http' && grep -q '"shape": "pipelined"' "$dir/json"
    check compare_asks_by_wrk
else
    echo "skip compare_asks_by_wrk no wrk, or no nginx"
fi
for proxy in haproxy nginx; do
    command -v $proxy >/dev/null || { echo "skip compare_runs_$proxy it is not installed"; continue; }
    compare --rounds 1 --only relay.bulk
    ! printf '%s\n' "$said" | grep -q "^  .*$proxy.*(relay" && printf '%s\n' "$said" | grep -q "^  $proxy 64k  *[0-9]"
    check compare_runs_$proxy
done
