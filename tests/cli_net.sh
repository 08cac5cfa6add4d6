#!/bin/sh
# SPDX-License-Identifier: MIT
# The servers among the examples, talked to by programs that know nothing of torc; what they say of bad addresses; and
# that SIGTERM ends them well, whatever connections there are.
set -u
. tests/net_serve.sh
at=$host:7000
peer=tests/net_peer.py
go=

case $B in /*) cache=$B/go-cache ;; *) cache=$PWD/$B/go-cache ;; esac
if command -v go >/dev/null && # the library is compiled once, which takes a while
    GOCACHE=$cache GOPATH=$dir GO111MODULE=off go build -o "$dir/peer" tests/net_peer.go; then
    go=$dir/peer
fi

by_go() { # name, what to do
    if [ "$go" ]; then
        said=$(timeout 60 "$go" "$2" "$at" 2>&1)
        check "$1" "$said"
    else
        echo "skip $1 go is not installed"
    fi
}

by_python() {
    have python3 "$1" || return
    said=$(timeout 90 python3 $peer "$2" "$host" 7000 2>&1)
    check "$1" "$said"
}

# ---- echo, both ways ----
head -c 3000000 /dev/urandom >"$dir/sent"
for name in echo echo_handler; do
    serve "$examples/$name" "tcp://$at"
    check "net_${name}_serves" "$(cat "$dir/server.err")"
    if have socat "net_${name}_socat"; then
        timeout 60 socat -t 30 - "TCP:$at" <"$dir/sent" >"$dir/got"
        cmp "$dir/sent" "$dir/got"
        check "net_${name}_socat"
    fi
    if have nc "net_${name}_nc"; then
        timeout 60 nc -N "$host" 7000 <"$dir/sent" >"$dir/got"
        cmp "$dir/sent" "$dir/got"
        check "net_${name}_nc"
    fi
    by_python "net_${name}_asyncio" echo
    by_go "net_${name}_go" echo
    ended "net_${name}_ends_by_sigterm"
done

# The same over a Unix socket, which is gone afterwards.
if have socat net_echo_unix_socket; then
    at=$dir/socket
    "$examples/echo" "unix:$at" 2>"$dir/server.err" &
    server=$!
    servers="$servers $server"
    for _ in $(seq 100); do [ -S "$at" ] || sleep 0.1; done
    timeout 60 socat -t 30 - "UNIX-CONNECT:$at" <"$dir/sent" >"$dir/got"
    cmp "$dir/sent" "$dir/got"
    check net_echo_unix_socket "$(cat "$dir/server.err")"
    ended net_echo_unix_ends_by_sigterm
    [ ! -e "$at" ]
    check net_unix_path_goes_with_the_server "$(ls "$dir")"
    at=$host:7000
fi

# ---- HTTP ----
if [ -x "$examples/http_hello" ]; then
    serve "$examples/http_hello" "tcp://$at"
    check net_http_serves "$(cat "$dir/server.err")"
    if have curl net_http_curl; then
        # Three requests, the second with a body in chunks, over one connection.
        said=$(curl -sS --max-time 30 -w '%{http_code} %{num_connects};' "http://$at/" -: \
            -sS -w '%{http_code} %{num_connects};' -T - "http://$at/up" -: \
            -sSI -w '%{http_code} %{num_connects};' "http://$at/" <"$dir/sent")
        [ "$(printf '%s\n' "$said" | grep -c 'Hello, world$')" = 2 ] &&
            [ "$(printf '%s' "$said" | grep -o '200 [01];' | tr -d '\n')" = '200 1;200 0;200 0;' ]
        check net_http_curl "$said"
        said=$(curl -sS --max-time 30 -0 "http://$at/" && curl -sS --max-time 30 --http2 "http://$at/" &&
            curl -sS --max-time 30 --data-binary "@$dir/sent" "http://$at/")
        [ "$(printf '%s\n' "$said" | grep -c '^Hello, world$')" = 3 ]
        check net_http_curl_of_other_versions "$said"
    fi
    if have wrk net_http_wrk; then
        said=$(timeout 60 wrk -t 1 -c 50 -d 1 "http://$at/")
        printf '%s\n' "$said" | grep -q ' [1-9][0-9]* requests in' &&
            ! printf '%s\n' "$said" | grep -qE 'Socket errors|Non-2xx'
        check net_http_wrk "$said"
    fi
    if have h2load net_http_h2load; then
        said=$(timeout 60 h2load --h1 -n 20000 -c 20 -m 8 "http://$at/" 2>&1)
        printf '%s\n' "$said" | grep -q '20000 succeeded, 0 failed, 0 errored' &&
            printf '%s\n' "$said" | grep -q '20000 2xx'
        check net_http_h2load "$said"
    fi
    by_go net_http_go http
    if have python3 net_http_asyncio; then
        timeout 90 python3 $peer http "$host" 7000 | sed 's/ok http_/ok net_http_/'
        # Idle ones see an end; what has been begun is finished.
        python3 $peer hold "$host" 7000 >"$dir/held" 2>&1 &
        held=$!
        servers="$servers $held"
        for _ in $(seq 300); do grep -q ready "$dir/held" || sleep 0.1; done
        ended net_http_ends_by_sigterm_with_open_connections
        wait $held
        check net_http_drain_finishes_what_was_begun "$(cat "$dir/held")"
    else
        ended net_http_ends_by_sigterm
    fi
else
    echo "skip net_http neither llhttp nor http_parser is installed"
fi

# ---- chat ----
serve "$examples/chat" "tcp://$at"
check net_chat_serves "$(cat "$dir/server.err")"
by_python net_chat_everybody_hears_everybody chat
if have nc net_chat_nc; then
    said=$(printf 'ada\nhello\n' | timeout 30 nc -N "$host" 7000)
    printf '%s\n' "$said" | grep -qx 'ada: hello'
    check net_chat_nc "$said"
fi
ended net_chat_ends_by_sigterm

# ---- what is wrong ----
refused() { # name, the pattern of its one line, address
    said=$(timeout 20 "$examples/echo" "$3" 2>&1)
    code=$?
    [ $code -ne 0 ] && [ $code -lt 124 -o $code -gt 128 ] &&
        [ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] && printf '%s\n' "$said" | grep -q "$2"
    check "net_refuses_$1" "exit code $code: $said"
}
if have python3 net_refuses_a_port_that_is_taken; then
    serve python3 -m http.server --bind "$host" 7000
    refused a_port_that_is_taken "tcp://$at: another program listens there" "tcp://$at"
    kill $server
    wait $server
fi
serve "$examples/echo_handler" "tcp://$at"
refused a_port_that_torc_has_taken "tcp://$at: another program listens there" "tcp://$at"
ended net_first_server_is_left_alone
refused an_address_that_is_not_local 'tcp://192.0.2.1:7000: .*no interface' tcp://192.0.2.1:7000
refused a_name_that_does_not_resolve 'no such name\|resolver' tcp://nobody.invalid:7000
refused a_path_without_a_directory 'unix:' "unix:$dir/none/socket"
refused a_port_that_is_none 'port is a number' tcp://127.0.0.1:99999
refused a_missing_port 'port is missing' tcp://127.0.0.1
refused another_scheme 'begins with tcp://' http://127.0.0.1:7000
