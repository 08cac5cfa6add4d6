# SPDX-License-Identifier: MIT
# Flattens JSON of any layout to lines of "path<TAB>value": jobs.0.read.iops<TAB>1234.5
# jq is not on every machine, awk is.
{ text = text $0 "\n" }
END {
    depth = 0
    while (match(text, /^[ \t\r\n]*("([^"\\]|\\.)*"|[][{},:]|[^][{},: \t\r\n"]+)/)) {
        token = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
        sub(/^[ \t\r\n]*/, "", token)
        if (token == "{" || token == "[") {
            path[depth + 1] = (path[depth] == "" ? "" : path[depth] ".") key[depth]
            depth++
            list[depth] = token == "["
            key[depth] = list[depth] ? 0 : ""
            wants_key = !list[depth]
        } else if (token == "}" || token == "]") {
            depth--
            wants_key = 0
        } else if (token == ",") {
            if (list[depth]) key[depth]++
            else wants_key = 1
        } else if (token == ":") {
            wants_key = 0
        } else {
            gsub(/^"|"$/, "", token)
            if (wants_key) key[depth] = token
            else print (path[depth] == "" ? "" : path[depth] ".") key[depth] "\t" token
        }
    }
}
