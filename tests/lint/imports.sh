#!/bin/sh
# SPDX-License-Identifier: MIT
# The nm gate: what each object of the library imports, held against imports.allow.
. tests/lint/_lib.sh

lib=${B:-build}
find "$lib/core" "$lib/io" "$lib/shard" "$lib/dma" "$lib/net" -name '*.o' 2>/dev/null | sort |
    while read -r object; do
        source=${object#"$lib"/}
        # An object whose source has gone is not part of the library any more.
        [ -f "${source%.o}.c" ] || continue
        nm --undefined-only "$object" | awk -v object="${source%.o}" '{ print object, $NF }'
    done | awk '
    FILENAME == "tests/lint/imports.allow" {
        if (/^#/ || !/:/) next
        split($0, part, ":")
        count = split(part[2], names, " ")
        for (i = 1; i <= count; i++) {
            if (names[i] == "*") open_to[part[1]] = 1
            else allowed[part[1], names[i]] = 1
        }
        next
    }
    {
        room = $1
        sub(/\/.*/, "", room)
        if ($2 ~ /^torci?_/ || ($1 in open_to) || (room in open_to)) next
        if (!(("all", $2) in allowed) && !((room, $2) in allowed) && !(($1, $2) in allowed))
            print $1 ".o imports " $2
    }' tests/lint/imports.allow - | verdict imports
