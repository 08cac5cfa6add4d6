#!/bin/sh
# SPDX-License-Identifier: MIT
# What bad code looks like, as far as a pattern can see it.
. tests/lint/_lib.sh

# look PATTERN FILES…: matching lines, comments of this file's kind included.
look() {
    pattern=$1
    shift
    files "$@" | grep -v '^tests/lint/' | xargs -r grep -nHE "$pattern" /dev/null
}

look '(^|[^A-Za-z])(TODO|FIXME|XXX|HACK)([^A-Za-z]|$)|[Pp]laceholder|[Nn]ot (yet )?implemented|[Ff]or now([^a-z_]|$)|[Ss]implified|[Ii]n (a )?(real|production) ' \
    '*.c' '*.h' '*.sh' '*.md' 'Makefile' | verdict stubs

look '^\s+(//|/\*)\s*(Initiali[sz]e|Loop|Increment|Return|Set|Get|Check|Create|Call|Free|Iterate|Now|Then|Finally)\b[^.:;]{0,40}(\*/)?$' \
    '*.c' '*.h' | verdict narration

# Clearing errno before strtoull() is how one reads a number; a signal handler puts back what was there.
look 'return\s*\(?-1\)?;|(^|[^a-z_>.])errno\s*=\s*([^= 0bs]|b[^e]|s[^a])' \
    'core/*' 'io/*' 'shard/*' 'dma/*' 'net/*' 'sim/*' 'apps/*' 'docs/examples/*' | verdict errors

# A declaration may run over several lines.
files 'torc.h' '*/*.h' | grep -v -e '_internal\.h$' -e '^tests/' -e '^apps/' -e '^bench/' |
    xargs awk '
    FNR == 1 { held = "" }
    held == "" && /^(static inline )?(int|ssize_t|int64_t|int32_t|long) \**torc_[a-z_0-9]*\(/ {
        held = $0; at = FNR
    }
    held != "" {
        if (at != FNR) held = held " " $0
        if (/[;{]/) {
            if (held !~ /TORC_MUST_CHECK/) print FILENAME ":" at ": " held
            held = ""
        }
    }' | verdict unchecked

# Atomics name their order, volatile names none.
files 'core/*' 'io/*' 'shard/*' 'dma/*' 'net/*' 'sim/*' 'apps/*.[ch]' |
    xargs -r grep -nHw volatile | grep -v 'asm.* volatile' | verdict volatile

look '(^|[^a-z_])(gets|strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|alloca) ?\(' '*.c' '*.h' |
    verdict banned_calls
