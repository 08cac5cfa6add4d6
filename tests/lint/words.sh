#!/bin/sh
# SPDX-License-Identifier: MIT
# The repository speaks of the project alone: no path of somebody's machine, no file without licence.
. tests/lint/_lib.sh

files | grep -v '^tests/lint/words.sh$' | xargs -r grep -nHIE '/(work|home|root|Users)/[a-z]' |
    verdict paths
files 'docs/*' '*.md' 'man/*' | xargs -r grep -nHIE '/tmp/' | verdict tmp_paths

files '*.c' '*.h' '*.sh' '*.awk' '*.py' Makefile | xargs -r grep -L 'SPDX-License-Identifier: MIT' |
    sed 's/$/: no SPDX line/' | verdict licence
# Spaces at the end of a line, a missing last newline.
files | xargs -r grep -nHIE '[[:space:]]+$' | verdict trailing_space
