#!/bin/sh
# SPDX-License-Identifier: MIT
# Every header compiles alone: public ones as C17 and as C++17, private ones as C17.
. tests/lint/_lib.sh

warn="-Wall -Wextra -Wundef -Werror"
cc=${CC:-gcc}
case "$cc" in
*clang*) cxx=clang++ ;;
*) cxx=g++ ;;
esac

files 'torc.h' 'core/*.h' 'io/*.h' 'shard/*.h' 'dma/*.h' 'net/*.h' 'sim/*.h' 'apps/*.h' |
    while read -r header; do
        # Private headers may need what only GNU's libc shows; users' files may not have asked for it.
        case "$header" in *_internal.h) gnu=-D_GNU_SOURCE ;; *) gnu= ;; esac
        said=$(echo "#include \"$header\"" |
            $cc -std=c17 -D_GNU_SOURCE $warn $gnu -Wshadow -Wstrict-prototypes -I. -fsyntax-only -x c - 2>&1) ||
            printf '%s alone as C17:\n%s\n' "$header" "$said"
        case "$header" in *_internal.h | apps/*) continue ;; esac
        said=$(echo "#include \"$header\"" |
            $cxx -std=c++17 $warn -I. -fsyntax-only -x c++ - 2>&1) ||
            printf '%s alone as C++17:\n%s\n' "$header" "$said"
    done | verdict headers
