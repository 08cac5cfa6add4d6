#!/bin/sh
# SPDX-License-Identifier: MIT
# docs/examples/fetch.c against servers of other makes and of this one, and what it says when there is none.
set -u
. tests/net_serve.sh
fetch=$examples/fetch
at=$host:7000

# failed NAME PATTERN ARGUMENTS…: exit code 1 and one line.
failed() {
    name=$1 pattern=$2
    shift 2
    said=$(timeout 30 "$fetch" "$@" 2>&1)
    code=$?
    [ $code -eq 1 ] && [ "$(printf '%s\n' "$said" | wc -l)" -eq 1 ] && printf '%s\n' "$said" | grep -q "$pattern"
    check "fetch_$name" "exit code $code: $said"
}

if [ -x "$examples/http_hello" ]; then
    serve "$examples/http_hello" "tcp://$at"
    said=$("$fetch" "http://$at/a/b?c#d" 20 2>&1)
    [ "$said" = 'Hello, world' ]
    check fetch_from_http_hello "$said"
    [ "$("$fetch" "http://$at?x" 20)" = 'Hello, world' ]
    check fetch_without_a_path
    ended fetch_leaves_the_server_well
fi

if have python3 fetch_from_another_server; then
    mkdir "$dir/files"
    head -c 5000000 /dev/urandom >"$dir/files/large"
    : >"$dir/files/empty"
    serve python3 -m http.server --bind "$host" --directory "$dir/files" 7000
    timeout 60 "$fetch" "http://$at/large" >"$dir/got"
    cmp "$dir/files/large" "$dir/got"
    check fetch_from_another_server
    said=$("$fetch" "http://$at/empty" 2>&1) && [ -z "$said" ]
    check fetch_of_nothing "$said"
    "$fetch" "http://$at/large" >/dev/full 2>"$dir/said"
    code=$?
    [ $code -eq 1 ] && [ "$(wc -l <"$dir/said")" -eq 1 ]
    check fetch_to_a_full_disk "exit code $code: $(cat "$dir/said")"
    failed of_what_is_not_there 'the server says 404' "http://$at/none"
    kill $server
    wait $server
fi

if have nc fetch_from_a_server_that_is_silent; then
    # answering ANSWER: a server that says this to the first who comes.
    answering() {
        printf "$1" | nc -l ${2:-} "$host" 7001 >/dev/null 2>&1 &
        server=$!
        servers="$servers $server"
        for _ in $(seq 100); do
            [ -n "$(ss -ltnH "src $host:7001" 2>/dev/null)" ] && break
            sleep 0.1
        done
    }
    if have ss fetch_from_odd_servers; then
        answering ''
        failed from_a_server_that_is_silent 'not done within 1 s' "http://$host:7001/" 1
        wait $server
        answering 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc' -N
        said=$(timeout 30 "$fetch" "http://$host:7001/" 10 2>&1 >"$dir/got")
        [ $? -eq 1 ] && [ "$(cat "$dir/got")" = abc ] && printf '%s\n' "$said" | grep -q 'ends after 3 of 100 bytes'
        check fetch_of_half_an_answer "$said"
        wait $server
        answering 'SSH-2.0-OpenSSH_9.2\r\n' -N
        failed from_another_protocol 'no answer of HTTP' "http://$host:7001/" 10
        wait $server
    fi
fi

failed where_nobody_listens 'nobody listens there' "http://$host:7009/"
failed of_a_name_that_does_not_resolve 'no such name\|resolver' http://nobody.invalid/ 20
for wrong in https://a/ "http://" "http:///x" ftp://x "http://a b/"; do
    "$fetch" "$wrong" >"$dir/said" 2>&1
    code=$?
    [ $code -eq 2 ] && grep -q '^usage: fetch' "$dir/said"
    check "fetch_refuses_$(printf '%s' "$wrong" | tr -c 'a-z\n' _)" "exit code $code: $(cat "$dir/said")"
done
"$fetch" "http://$at/" 0 >"$dir/said" 2>&1
[ $? -eq 2 ]
check fetch_refuses_no_time_at_all "$(cat "$dir/said")"
