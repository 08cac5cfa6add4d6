#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/lint/tidy.sh [FILE…]
# clang-tidy with the checks of .clang-tidy. Every version finds something else, so Debian 12's judges.
. tests/lint/_lib.sh

judge=14
for tool in clang-tidy-$judge clang-tidy; do
    "$tool" --version 2>/dev/null | grep -q "version $judge\." || continue
    # What GenMC reads (tests/model) is half of a file until its other half has been copied out of the library.
    # Criterion's macros are not ours to judge: tests are analysed as the small runner sees them.
    [ $# -gt 0 ] || set -- 'core/*.c' 'io/*.c' 'shard/*.c' 'dma/*.c' 'net/*.c' 'sim/*.c' 'apps/*.c' 'tests/*.c' \
        'bench/micro*.c' 'docs/examples/*.c'
    files "$@" | grep -v '^tests/model/' |
        xargs -r -n 1 -P "$(nproc)" "$tool" --quiet 2>/dev/null \
            --extra-arg=-std=c17 --extra-arg=-D_GNU_SOURCE --extra-arg=-I. --extra-arg=-DTORC_TEST_SMALL |
        grep -E ': (warning|error):' | grep -v '/docs/examples/.*misc-unused-parameters' | sed "s|^$PWD/||" | sort -u | verdict tidy
    exit
done
echo "skip lint_tidy clang-tidy $judge is not installed"
