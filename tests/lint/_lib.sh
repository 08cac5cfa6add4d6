# SPDX-License-Identifier: MIT
# What the checks share. A check runs from the root of the repository and prints one verdict.

# files PATTERN…: what git knows or would add; all there is where there is no git.
files() {
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard -- "$@" | sort -u |
            while read -r file; do [ -f "$file" ] && echo "$file"; done
    else
        for pattern; do
            find . -path ./build -prune -o -path "./$pattern" -type f -print
        done | sed 's|^\./||' | sort -u
    fi
}

# verdict NAME: the offending lines come on standard input; none is "ok".
verdict() {
    offending=$(cat)
    if [ -z "$offending" ]; then
        echo "ok lint_$1"
    else
        count=$(printf '%s\n' "$offending" | wc -l)
        echo "not ok lint_$1 $count lines"
        printf '%s\n' "$offending"
    fi
}
