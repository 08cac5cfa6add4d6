#!/bin/sh
# SPDX-License-Identifier: MIT
# Files past 900 lines hide a second idea; functions past 70 lines want to be two. An honest dispatch
# switch may be longer when the line above it says so: "long: why".
. tests/lint/_lib.sh

files '*.c' '*.h' '*.sh' Makefile | xargs -r wc -l |
    awk '$1 > 900 && $2 != "total" { print $2 ": " $1 " lines" }' | verdict file_length

ctags --version 2>/dev/null | grep -q Universal || {
    echo "skip lint_function_length universal-ctags is not installed"
    exit 0
}
files '*.c' '*.h' | xargs -r ctags -x --_xformat='%{end} %n %N %F' --kinds-C=f 2>/dev/null |
    awk '$1 - $2 >= 70 { print $4, $2, $3, $1 - $2 + 1 }' |
    while read -r file line name length; do
        head -n $((line - 1)) "$file" | tail -n 12 | grep -q 'long: ' ||
            echo "$file:$line: $name has $length lines"
    done | verdict function_length
