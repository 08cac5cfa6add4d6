#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/run.sh [PART…]     parts: plain shards cli examples clang asan tsan aarch64 valgrind
# verify lint, and san: what SAN says. No part: all of them. B is the output directory, CC the compiler.
#
# Each part appends verdicts ("ok NAME", "not ok NAME why", "skip NAME why") to a file of its own; the
# last line printed is "N passed, N failed". A binary that crashes, hangs or says nothing is a failure.
set -u
cd "$(dirname "$0")/.."
# Variables of the outer make would override those of the builds below.
unset MAKEFLAGS MAKELEVEL MAKEOVERRIDES MFLAGS 2>/dev/null
CC=${CC:-gcc}
B=${B:-build}
case "$B" in
*/san-*) out=${B%/san-*} ;;
*) out=$B ;;
esac
export CC
jobs=$(nproc)
limit=${TORC_TEST_SECONDS:-600} # for one binary or one script
logs=$out/test-logs

# The verdicts of one test binary, from its TAP and its exit code. Prints the log if anything failed.
run_binary() {
    binary=$1 name=$(basename "$1") log=$2/$(basename "$1").log tap=$2/$(basename "$1").tap
    rm -f "$tap"
    timeout -k 5 "$limit" $WRAP "$binary" --tap="$tap" >"$log" 2>&1 </dev/null
    code=$?
    [ -f "$tap" ] || : >"$tap"
    awk -v code=$code -v name="$name" -v limit="$limit" '
        /^1\.\./ { planned += substr($0, 4) }
        /^ok - .*# SKIP/ { sub(/^ok - /, ""); sub(/ *# SKIP/, ""); print "skip " $0; seen++; next }
        /^ok - / { sub(/^ok - /, ""); sub(/ *\([0-9.]+s\)$/, ""); print "ok " $0; seen++ }
        /^not ok - / { sub(/^not ok - /, ""); print "not ok " $0; seen++; bad++ }
        END {
            if (code == 124 || code == 137) print "not ok " name " ran past " limit " s"
            else if (code && !bad) print "not ok " name " ended with exit code " code
            else if (!seen) print "not ok " name " ran no test"
            else if (seen != planned) print "not ok " name " planned " planned ", ran " seen
        }' "$tap" >"$2/$name.verdicts"
    grep -q '^not ok' "$2/$name.verdicts" && cp "$log" "$2/$name.failed"
    return 0
}

# A shell test prints its verdicts itself; everything else that it says is its log.
run_script() {
    name=$(basename "$1" .sh) log=$2/$(basename "$1" .sh).log
    B=$out timeout -k 5 "$limit" sh "$1" >"$log" 2>&1 </dev/null
    code=$?
    grep -E '^(ok|not ok|skip) ' "$log" >"$2/$name.verdicts"
    if [ $code -ne 0 ] && ! grep -q '^not ok' "$2/$name.verdicts"; then
        echo "not ok $name ended with exit code $code" >>"$2/$name.verdicts"
    elif [ ! -s "$2/$name.verdicts" ]; then
        echo "not ok $name ran no test" >>"$2/$name.verdicts"
    elif [ "${1#tests/lint/}" != "$1" ] && ! grep -q '^not ok' "$log" &&
        grep -qvE '^(ok|skip) ' "$log"; then
        # A check whose tool broke finds nothing, which must not look like a clean tree.
        echo "not ok lint_$name complained" >>"$2/$name.verdicts"
    fi
    grep -q '^not ok' "$2/$name.verdicts" && cp "$log" "$2/$name.failed"
    return 0
}

words_of() { # which line of an example's opening comment, which file
    sed -n "s|^ \* $1: ||p" "$2" | sed "s| *\*/.*||; s|build/|$out/|g"
}

# serve_and_try SERVER CLIENT: the client is repeated until it succeeds, and then SIGTERM must end the server well.
serve_and_try() {
    sh -c "exec $1" &
    server=$!
    until eval "$2"; do
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    kill $server 2>/dev/null
    wait $server
}

# The script calls itself for one binary or script, so that xargs can run several at a time.
case "${1:-}" in
--binary) run_binary "$2" "$3"; exit ;;
--script) run_script "$2" "$3"; exit ;;
--serve) serve_and_try "$2" "$3"; exit ;;
esac

# build NAME make-arguments…: one verdict, and the compiler's words if it failed.
build() {
    what=$1
    shift
    if make --no-print-directory -s -j"$jobs" "$@" >"$dir/$what.log" 2>&1; then
        echo "ok $what" >"$dir/$what.verdicts"
    else
        echo "not ok $what" >"$dir/$what.verdicts"
        cp "$dir/$what.log" "$dir/$what.failed"
        return 1
    fi
}

binaries() { # at once, directory of the binaries
    for source in $3; do
        echo "$2/$(basename "$source" .c)"
    done | xargs -r -P "$1" -I{} sh tests/run.sh --binary {} "$dir"
}

tests='tests/test_*.c'

part_plain() {
    build build_plain B="$out" SAN= all tests || return
    binaries 1 "$out/tests" "$tests" # Criterion runs several tests of a binary at a time itself
}

part_cli() {
    build build_cli B="$out" SAN= all "$out/tests/deny_uring" || return
    for script in tests/cli_*.sh; do
        [ -f "$script" ] && echo "$script"
    done | xargs -r -I{} sh tests/run.sh --script {} "$dir"
}

# What a user's machine would do: install, compile the examples against what was installed, run them
# as the line "Run: build/examples/NAME …" in each says, and a server as that and "Try: …" say.
part_examples() {
    build build_examples B="$out" SAN= all || return
    root=$(realpath -m "$dir")/root
    rm -rf "$root"
    build install B="$out" SAN= PREFIX="$root" DESTDIR= install || return
    for source in docs/examples/*.c; do
        [ -f "$source" ] || continue
        name=example_$(basename "$source" .c)
        [ -x "$out/examples/${name#example_}" ] || {
            echo "skip $name the library that it shows is not installed" >"$dir/$name.verdicts"
            continue
        }
        flags="$(PKG_CONFIG_PATH="$root/lib/pkgconfig" pkg-config --cflags --libs torc)
            $(make --no-print-directory -s B="$out" SAN= "libs-${name#example_}")"
        if $CC -std=c17 -Wall -Wextra -Wno-unused-parameter -Werror -o "$dir/$name" "$source" $flags \
            >"$dir/$name.log" 2>&1; then
            command=$(words_of Run "$source") attempt=$(words_of Try "$source")
            [ -n "$command" ] || command='echo no line "Run: build/examples/NAME"; false'
            if [ -n "$attempt" ]; then
                timeout -k 5 60 sh tests/run.sh --serve "$command" "$attempt"
            else
                timeout -k 5 60 sh -c "$command"
            fi >>"$dir/$name.log" 2>&1 </dev/null
        else
            false
        fi
        if [ $? -eq 0 ]; then
            echo "ok $name" >"$dir/$name.verdicts"
        else
            echo "not ok $name" >"$dir/$name.verdicts"
            cp "$dir/$name.log" "$dir/$name.failed"
        fi
    done
}

part_clang() {
    # Other clangs warn of other things: hold the one that is pinned, and any when CI asks.
    case "$(clang -dumpversion 2>/dev/null)" in
    '') echo "skip build_clang no clang" >"$dir/clang.verdicts" && return ;;
    14.*) werror=1 ;;
    *) werror=${CI:-} ;;
    esac
    build build_clang B="$out/clang" SAN= CC=clang CI=$werror all tests || return
    # What a compiler may make of a task's frame is what these are about.
    binaries "$jobs" "$out/clang/tests" "$(echo tests/test_core_switch*.c)"
}

sanitized() { # sanitizers
    build "build_san_$(echo "$1" | tr , _)" B="$out/san-$(echo "$1" | tr , -)" SAN="$1" all tests || return
    # TSan of gcc 12 knows only layouts of up to 28 random bits; newer kernels use more.
    case "$1" in
    *thread*) setarch -R true 2>/dev/null && WRAP="setarch -R" ;;
    esac
    binaries "$jobs" "$out/san-$(echo "$1" | tr , -)/tests" "$tests"
}

# On several shards: what holds for one executor holds for each of them. The verdicts say on how many.
several='tests/test_io_*.c tests/test_dma_*.c tests/test_shard_*.c tests/test_stress.c'

# Those that time themselves by the network take long where many shards share a CPU.
on_few="$several tests/test_net_*.c"

on_shards() { # how many shards, at once, directory of the binaries, tests
    whole=$dir dir=$dir/$1
    mkdir -p "$dir"
    export TORC_SHARDS="$1"
    binaries "$2" "$3" "$4"
    unset TORC_SHARDS
    cat "$dir"/*.verdicts | sed "s/^\(ok\|not ok\|skip\) /&$1-shards::/" >"$whole/$1-shards.verdicts"
    for failed in "$dir"/*.failed; do
        [ -f "$failed" ] && cp "$failed" "$whole/$1-$(basename "$failed")"
    done
    dir=$whole
}

part_shards() { # 1 is the plain part's
    build build_shards B="$out" SAN= tests || return
    on_shards 2 1 "$out/tests" "$on_few"
    on_shards 7 1 "$out/tests" "$on_few"
    on_shards 64 1 "$out/tests" "$several"
}

under_valgrind='tests/test_core_switch.c tests/test_core_task.c tests/test_core_scope.c'

part_valgrind() {
    command -v valgrind >/dev/null || {
        echo "skip valgrind is not installed" >"$dir/valgrind.verdicts"
        return
    }
    build build_valgrind B="$out/valgrind" SAN= CPPFLAGS=-DTORC_VALGRIND SMALL=1 ROOMS=core \
        TEST_SRC="$under_valgrind" HELP_SRC= LDLIBS= tests || return
    WRAP='valgrind -q --error-exitcode=1 --leak-check=no'
    binaries "$jobs" "$out/valgrind/tests" "$under_valgrind"
}

part_asan() { sanitized address,undefined; }
part_tsan() {
    sanitized thread
    on_shards 7 "$jobs" "$out/san-thread/tests" "$several"
}
part_san() { sanitized "$SAN"; }

part_aarch64() {
    if [ "$(uname -m)" = aarch64 ]; then
        echo "skip aarch64 the plain tests ran on this aarch64" >"$dir/aarch64.verdicts"
        return
    fi
    build build_aarch64 B="$out/aarch64" SAN= CC=aarch64-linux-gnu-gcc SMALL=1 ROOMS=core \
        TEST_SRC="$(echo tests/test_core_*.c)" HELP_SRC= PIE=-static LDLIBS= tests || return
    WRAP=qemu-aarch64
    binaries "$jobs" "$out/aarch64/tests" 'tests/test_core_*.c'
}

part_verify() {
    sh tests/run.sh --script tests/model/run.sh "$dir"
}

part_lint() {
    build build_lint B="$out" SAN= lib || return
    for script in tests/lint/[a-z]*.sh; do
        echo "$script"
    done | xargs -r -P "$jobs" -I{} sh tests/run.sh --script {} "$dir"
}

# Colour is for terminals alone.
if [ -t 1 ]; then red=$(printf '\033[31m') plain=$(printf '\033[0m'); else red= plain=; fi

export WRAP ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS:-}
ASAN_OPTIONS=${ASAN_OPTIONS:-}
trap 'exit 130' INT TERM

mkdir -p "$logs"
: >"$logs/verdicts"
[ $# -gt 0 ] || set -- plain shards cli examples clang asan tsan aarch64 valgrind verify lint
for part; do
    dir=$logs/$part WRAP=
    rm -rf "$dir"
    mkdir -p "$dir"
    began=$(date +%s)
    "part_$part" || true
    cat "$dir"/*.verdicts >"$dir/all" 2>/dev/null
    [ -s "$dir/all" ] || echo "not ok $part ran no test" >"$dir/all"
    cat "$dir/all" >>"$logs/verdicts"
    awk -v part="$part" -v seconds=$(($(date +%s) - began)) -v red="$red" -v plain="$plain" '
        /^ok/ { ok++ } /^not ok/ { bad++ } /^skip/ { skipped++ }
        END {
            printf "%-9s %4d passed, %s%d failed%s%s, %d s\n", part, ok, bad ? red : "", bad,
                bad ? plain : "", skipped ? ", " skipped " skipped" : "", seconds
        }' "$dir/all"
    grep -E '^(not ok|skip)' "$dir/all" | sed 's/^/    /'
    for failed in "$dir"/*.failed; do
        [ -f "$failed" ] && echo "    --- $failed" && sed 's/^/    | /' "$failed"
    done
done

awk '/^ok/ { ok++ } /^not ok/ { bad++ } /^skip/ { skipped++ }
    END {
        printf "%d passed, %d failed%s\n", ok, bad, skipped ? ", " skipped " skipped" : ""
        exit bad > 0
    }' "$logs/verdicts" >"$logs/summary"
code=$?
cat "$logs/summary"
exit $code
