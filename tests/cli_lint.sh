#!/bin/sh
# SPDX-License-Identifier: MIT
# A check that cannot fail is a defect: plants one offence for each in a scratch copy of the tree, and
# wants that check, by name, to go red.
set -u
scratch=$B/lint-scratch
rm -rf "$scratch"
mkdir -p "$scratch"
files=$( (git ls-files --cached --others --exclude-standard 2>/dev/null ||
    find . -path ./build -prune -o -type f -print) | while read -r f; do [ -f "$f" ] && echo "$f"; done)
printf '%s\n' "$files" | tar -cf - -T - | tar -xf - -C "$scratch"
cd "$scratch" || exit 1
git init -q . # or the outer repository would be asked what belongs here
export B=build

# judge CHECK SCRIPT FILE: that check has to be red now.
judge() {
    case "$2" in tidy) only=$3 ;; *) only= ;; esac # the analyser is slow
    said=$(sh "tests/lint/$2.sh" $only 2>&1)
    # The offence itself has to be named: the tree may have been red before.
    case "$said" in
    *"not ok lint_$1 "*"$(basename "$3" | sed 's/[.].*//')"*) echo "ok lint_can_fail_$1" ;;
    *"skip lint_$1 "*) echo "skip lint_can_fail_$1 the tool is missing" ;;
    *) echo "not ok lint_can_fail_$1 $3 got through: $said" ;;
    esac
}

# red CHECK SCRIPT FILE: stdin is appended to FILE, which may be new.
red() {
    [ ! -f "$3" ] || cp "$3" ../lint-kept
    mkdir -p "$(dirname "$3")"
    cat >>"$3"
    judge "$1" "$2" "$3"
    rm -f "$3"
    [ ! -f ../lint-kept ] || mv ../lint-kept "$3"
}

# red_library CHECK SCRIPT: stdin becomes the one object of a library.
red_library() {
    mkdir -p build/core
    cat >core/zz.c
    gcc -O2 -fPIC -I. -c -o build/core/zz.o core/zz.c
    ar rcs build/libtorc.a build/core/zz.o
    gcc -shared -o build/libtorc.so build/core/zz.o -Wl,--version-script=libtorc.map
    judge "$1" "$2" core/zz.c
    rm -rf build core/zz.c
}

echo '#include "io/op.h"' | red includes includes core/zz.h
echo '#include "list.h"' | red includes includes core/zz.h
echo '#include "core/list.h"' | red includes includes apps/torc/zz.c
echo '#include "core/host_internal.h"' | red includes includes io/zz.h
echo 'uint32_t torc_zz(void);' | red headers headers core/zz.h
echo 'struct torc_zz { int class; };' | red headers headers core/zz.h
printf 'int  torc_zz;\n' | red format format core/zz.c
printf '#include <stdlib.h>\nint torc_zz(void);\nint torc_zz(void)\n{\n    int *p = NULL;\n    return *p;\n}\n' |
    red tidy tidy core/zz.c
echo '/* TO''DO */' | red stubs smells core/zz.c
printf '    /* Set the value */\n' | red narration smells core/zz.c
echo '    return -1;' | red errors smells core/zz.c
echo '    errno = 1;' | red errors smells io/zz.c
printf 'int torc_zz(int a,\n            int b);\n' | red unchecked smells core/zz.h
echo 'static volatile int zz;' | red volatile smells core/zz.c
echo '    n = atoi(text);' | red banned_calls smells apps/torc/zz.c
seq 901 | red file_length size core/zz.c
{
    echo 'void torc_zz(void)'
    echo '{'
    seq 70 | sed 's/.*/    torc_zz();/'
    echo '}'
} | red function_length size core/zz.c
echo 'See /ho''me/someone/notes.' | red paths words README.md
echo 'Write to /t''mp/x.' | red tmp_paths words docs/zz.md
echo 'See core/nowhere.c.' | red docs_files docs docs/zz.md
echo 'See `torc_nothing`.' | red docs_names docs docs/zz.md
echo 'See `nothing_like_that()`.' | red docs_names docs docs/zz.md
printf '```c\nint zz;\n```\n' | red docs_fragments docs docs/zz.md
echo 'int x;' | red licence words core/zz.c
printf 'int x; \n' | red trailing_space words core/zz.c

printf 'int getpid(void);\nint torc_zz(void)\n{\n    return getpid();\n}\n' | red_library imports imports
printf 'int zz;\n' | red_library exports exports
