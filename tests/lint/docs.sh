#!/bin/sh
# SPDX-License-Identifier: MIT
# What the documents name must be there: files, functions, torc's own words. What they quote must be a
# piece of an example, which the tests compile and run; a line "..." in a fragment leaves something out.
. tests/lint/_lib.sh

documents=$(files 'README.md' 'CONTRIBUTING.md' 'docs/*.md' 'bench/*.md')

# Capitals stand for a name of the reader's choice: tests/test_ROOM_SUBJECT.c.
echo "$documents" |
    xargs grep -noHE '[A-Za-z0-9_]+(/[A-Za-z0-9_.-]+)+\.(c|h|sh|py|awk|md|allow|map)([^A-Za-z0-9_]|$)' |
    sed 's/[^A-Za-z0-9_]$//' | while IFS=: read -r document line path; do
    case "$path" in *ROOM* | *NAME*) continue ;; esac
    [ -f "$path" ] || [ -f "$(dirname "$document")/$path" ] || echo "$document:$line: no file $path"
done | verdict docs_files

# A word that ends in an underscore is the beginning of several.
{
    files '*.c' '*.h' '*.py' |
        xargs grep -ohE '[A-Za-z_][A-Za-z0-9_]*\(?' | sort -u
    echo '=='
    echo "$documents" |
        xargs grep -noHE '[A-Za-z_][A-Za-z0-9_]*\(\)|(torci?|TORCI?)_[A-Za-z0-9_]+'
} | awk '
    $0 == "==" { reading = 1; next }
    !reading {
        called = sub(/\($/, "")
        known[$0]
        if (called) function_known[$0]
        while (match($0, /_[^_]+$/)) {
            $0 = substr($0, 1, RSTART)
            known[$0]
            sub(/_$/, "")
        }
        next
    }
    {
        split($0, part, ":")
        name = part[3]
        called = sub(/\(\)$/, "", name)
        if (called ? !(name in function_known) : !(name in known))
            print part[1] ":" part[2] ": nothing is called " name (called ? "()" : "")
    }' | verdict docs_names

{
    files 'docs/examples/*.c'
    files 'README.md' 'docs/*.md'
} | xargs awk '
    { sub(/^[ \t]+/, "") }
    FILENAME ~ /\.c$/ { if ($0 != "") text[FILENAME] = text[FILENAME] $0 "\n"; next }
    function judge(    name, found) {
        for (name in text) if (index(text[name], piece)) found = 1
        if (!found) print FILENAME ":" at ": in no example: " substr(piece, 1, index(piece, "\n") - 1)
        piece = ""
    }
    /^```/ {
        if (piece != "") judge()
        inside = $0 == "```c"
        next
    }
    inside && ($0 == "..." || $0 == "/* ... */") { if (piece != "") judge(); next }
    inside && $0 != "" { if (piece == "") at = FNR; piece = piece $0 "\n" }
    ' | verdict docs_fragments
