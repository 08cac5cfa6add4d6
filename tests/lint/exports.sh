#!/bin/sh
# SPDX-License-Identifier: MIT
# Every symbol that the library defines is torc_… or torci_…, and the shared one shows torc_… only.
. tests/lint/_lib.sh

lib=${B:-build}
{
    nm --extern-only --defined-only -A "$lib/libtorc.a" | awk '$NF !~ /^torci?_/'
    nm -D --defined-only "$lib/libtorc.so" | awk '$2 != "A" && $NF !~ /^torc_/ {
        print "libtorc.so: " $NF
    }'
} 2>&1 | verdict exports
