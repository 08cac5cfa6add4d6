#!/bin/sh
# SPDX-License-Identifier: MIT
# The arrows between the rooms, root-relative includes, own header first, and no private header in a
# public one.
. tests/lint/_lib.sh

files '*.c' '*.h' | xargs awk '
    FILENAME == "tests/lint/includes.allow" {
        if (/^#/ || !/:/) next
        split($0, part, ":")
        allowed[part[1]] = part[2] " "
        next
    }
    FNR == 1 {
        first = 1
        room = FILENAME
        if (room ~ /^docs\/examples\//) room = "docs/examples"
        else if (room == "torc.h") room = "root"
        else sub(/\/.*/, "", room)
        own = FILENAME
        sub(/\.c$/, ".h", own)
        own_internal = own
        sub(/\.h$/, "_internal.h", own_internal)
        has_own = FILENAME ~ /\.c$/ && (exists(own) || exists(own_internal))
    }
    function exists(path,    line, found) {
        if (!(path in known)) {
            found = (getline line < path) >= 0
            close(path)
            known[path] = found
        }
        return known[path]
    }
    function bad(why) { print FILENAME ":" FNR ": " why }
    /^[ \t]*#[ \t]*include/ {
        quoted = match($0, /"[^"]*"/)
        what = quoted ? substr($0, RSTART + 1, RLENGTH - 2) : ""
        if (first && has_own && what != own && what != own_internal)
            bad("its own header comes first")
        first = 0
        if (!quoted) next
        if (what == "torc.h") next
        if (what !~ /\// || what ~ /\.\./ || !exists(what)) {
            bad("not a path from the root: " what)
            next
        }
        to = what
        sub(/\/.*/, "", to)
        if (room == "root") forbidden = what ~ /_internal\.h$/
        else forbidden = to != room && !index(allowed[room], "*") && !index(allowed[room], " " to " ")
        if (forbidden) bad(room " may not include " what)
        if (FILENAME ~ /\.h$/ && FILENAME !~ /_internal\.h$/ && what ~ /_internal\.h$/ &&
            !index(allowed[room], "*"))
            bad("a public header includes the private " what)
    }' tests/lint/includes.allow | verdict includes
