#!/bin/sh
# SPDX-License-Identifier: MIT
# Every symbol that the library defines is torc_… or torci_…, and the shared one shows torc_… only, with the torci_… that
# inline functions of public headers call: those that libtorc.map names.
. tests/lint/_lib.sh

lib=${B:-build}
{
    nm --extern-only --defined-only -A "$lib/libtorc.a" | awk '$NF !~ /^torci?_/'
    nm -D --defined-only "$lib/libtorc.so" | awk '
        NR == FNR { if ($1 ~ /^torci_/) { sub(";", "", $1); named[$1] = 1 }; next }
        { sub("@.*", "", $NF) }
        $2 != "A" && $NF !~ /^torc_/ && !($NF in named) { print "libtorc.so: " $NF }
    ' libtorc.map -
} 2>&1 | verdict exports
