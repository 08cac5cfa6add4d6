#!/bin/sh
# SPDX-License-Identifier: MIT
# A program on several shards as the shell sees it: exit codes, signals from outside, the limit of a drain, a crash.
set -u
B=${B:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed() { echo "ok shards::$1"; }
failed() { echo "not ok shards::$1 $2"; }

cat >"$dir/program.c" <<'END'
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <torc.h>

static const char *what;

static int stay(void *arg)
{
    struct torc_mask mask;
    torc_mask_enter(&mask);
    int err = torc_sleep(*(const uint64_t *)arg);
    torc_mask_leave(&mask);
    return err;
}

static int shard_main(void *arg)
{
    (void)arg;
    static const uint64_t long_ns = 100 * TORC_SEC;
    bool last = torc_shard_id() == torc_shard_count() - 1;
    if (!strcmp(what, "fail"))
        return last ? -EXDEV : torc_sleep(long_ns);
    if (!strcmp(what, "crash") && last)
        abort();
    if (torc_shard_id() == 0) {
        printf("%u shards\n", torc_shard_count());
        fflush(stdout);
    }
    if (!strcmp(what, "return"))
        return 7;
    if (!strcmp(what, "stubborn") && last) {
        torc_task_set_name("stubborn");
        return stay((void *)&long_ns);
    }
    int err = torc_sleep(long_ns);
    return err == -ECANCELED && torc_is_shutting_down() ? 5 : 1;
}

int main(int argc, char **argv)
{
    what = argc > 1 ? argv[1] : "";
    struct torc_config config = {.drain_ns = 300 * TORC_MS};
    int result = torc_run(&config, shard_main, NULL);
    return result < 0 ? 100 - result : result;
}
END
# shellcheck disable=SC2046
if ! ${CC:-gcc} -std=gnu17 -I. -pthread -o "$dir/program" "$dir/program.c" "$B/libtorc.a" -luring \
    $(pkg-config --libs hwloc 2>/dev/null || echo -lhwloc); then
    failed builds "see the log"
    exit
fi

# check NAME WANTED-CODE ARGUMENT: runs to its end by itself.
check() {
    timeout -k 5 60 "$dir/program" "$3" >"$dir/out" 2>"$dir/err"
    code=$?
    if [ $code -eq "$2" ]; then
        passed "$1"
    else
        failed "$1" "ended with $code, not $2: $(tr '\n' ' ' <"$dir/err")"
    fi
}

# Starts it, waits until its mains run, sends SIGNAL, and waits. Its exit code, as a shell has it, in CODE.
signalled() {
    : >"$dir/out"
    "$dir/program" "$1" >"$dir/out" 2>"$dir/err" &
    pid=$!
    until grep -q shards "$dir/out" || ! kill -0 $pid 2>/dev/null; do
        sleep 0.01
    done
    kill -"$2" $pid
    wait $pid
    code=$?
}

for count in 1 2 7 64; do
    export TORC_SHARDS=$count
    check "result_of_shard_0_on_$count" 7 return
    grep -qx "$count shards" "$dir/out" || failed "count_of_$count" "$(cat "$dir/out")"
    check "first_error_on_$count" $((100 + 18)) fail
    signalled wait TERM
    if [ $code -eq 5 ] && ! grep -v 'take turns' "$dir/err" | grep -q .; then
        passed "orderly_end_on_$count"
    else
        failed "orderly_end_on_$count" "ended with $code: $(tr '\n' ' ' <"$dir/err")"
    fi
done

TORC_SHARDS=3
signalled stubborn TERM
last="torc: 0.3 s after the signal shard 2 still has 1 task: \"stubborn\""
if [ $code -eq $((128 + 15)) ] && [ "$(grep -c 'after the signal' "$dir/err")" = 1 ] &&
    grep -qxF "$last" "$dir/err"; then
    passed drain_has_a_limit
else
    failed drain_has_a_limit "ended with $code: $(tr '\n' ' ' <"$dir/err")"
fi

(ulimit -c 0 && exec "$dir/program" crash) >"$dir/out" 2>"$dir/err"
code=$?
if [ $code -eq $((128 + 6)) ] && grep -q '^torc: shard 2 on CPU .*, task "main": SIGABRT; it was at:$' "$dir/err" &&
    grep -q '^shard_main+0x' "$dir/err"; then
    passed crash_is_told
else
    failed crash_is_told "ended with $code: $(tr '\n' ' ' <"$dir/err")"
fi

TORC_SHARDS=nine
"$dir/program" return >"$dir/out" 2>"$dir/err"
code=$?
if [ $code -eq $((100 + 22)) ] && [ "$(wc -l <"$dir/err")" -eq 1 ] && grep -q '^torc: TORC_SHARDS=nine: ' "$dir/err"; then
    passed bad_variable_is_one_line
else
    failed bad_variable_is_one_line "ended with $code: $(tr '\n' ' ' <"$dir/err")"
fi
