# SPDX-License-Identifier: MIT
# Starting and stopping the servers among the examples, for the scripts that talk to them. Each script has an address of
# its own on the loopback, so that any number may run at the same time.
B=${B:-build}
examples=$B/examples
host=127.$((64 + $$ / 65536 % 64)).$(($$ / 256 % 256)).$((1 + $$ % 254))
dir=$(mktemp -d)
servers=
trap 'for pid in $servers; do kill -9 $pid 2>/dev/null; done; rm -rf "$dir"' EXIT

check() { # name, what to print when it failed; the condition is the last exit code
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && printf '%s\n' "${2:-}"; fi
}

# have TOOL NAME: whether it is installed; a skipped test of that name if not.
have() {
    command -v "$1" >/dev/null && return
    echo "skip $2 $1 is not installed"
    return 1
}

# It listens when a client is not refused; what an echo answers is no HTTP, which is as good.
is_up() { # address and port
    ! "$examples/fetch" "http://$1/" 2 2>&1 | grep -q 'nobody listens'
}

# serve COMMAND…: starts it and waits for $at, host and port; its PID in $server.
serve() {
    "$@" >"$dir/server.out" 2>"$dir/server.err" &
    server=$!
    servers="$servers $server"
    for _ in $(seq 300); do
        is_up "$at" && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$dir/server.err"
    return 1
}

# ended NAME: SIGTERM ends the server with 0 and without a word.
ended() {
    kill "$server"
    wait "$server"
    code=$?
    [ $code -eq 0 ] && [ ! -s "$dir/server.err" ]
    check "$1" "exit code $code: $(cat "$dir/server.err")"
}
