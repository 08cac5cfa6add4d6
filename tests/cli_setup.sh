#!/bin/sh
# SPDX-License-Identifier: MIT
# setup.sh against pretended machines: a directory of commands that stands in for dpkg, apt and sudo.
set -u
case $B in /*) dir=$B/setup-test ;; *) dir=$PWD/$B/setup-test ;; esac
rm -rf "$dir"

# machine NAME: an empty one with the plain tools that the script needs.
machine() {
    at=$dir/$1
    mkdir -p "$at"
    for tool in sh grep printf uname env cat; do
        ln -s "$(command -v $tool)" "$at/$tool" 2>/dev/null
    done
    printf '#!/bin/sh\necho %s\n' "${2:-1000}" >"$at/id"
    printf '#!/bin/sh\nexit 1\n' >"$at/dpkg-query"
    printf '#!/bin/sh\nexit 0\n' >"$at/apt-cache"
    printf '#!/bin/sh\necho Setting up\necho "apt-get $*" >>"%s/calls"\n' "$at" >"$at/apt-get"
    : >"$at/calls"
    chmod +x "$at/id" "$at/dpkg-query" "$at/apt-cache" "$at/apt-get"
}
setup() {
    said=$(PATH="$at" TORC_SETUP='' sh tests/setup.sh "$1" </dev/null 2>&1)
    code=$?
}
check() {
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && echo "$code: $said" && cat "$at/calls"; fi
}

machine complete
cat >"$at/dpkg-query" <<'E2'
#!/bin/sh
shift 3
for package; do echo "installed $package"; done
E2
setup test
[ $code -eq 0 ] && [ -z "$said" ] && [ ! -s "$at/calls" ]
check setup_is_silent_when_all_is_there

machine root 0
setup build
[ $code -eq 0 ] && grep -q 'apt-get .*install -y .*gcc .*liburing-dev' "$at/calls" &&
    ! grep -q update "$at/calls" && [ "$(printf '%s\n' "$said" | wc -l)" = 1 ]
check setup_installs_as_root_without_a_needless_update

machine fresh 0
printf '#!/bin/sh\nexit 100\n' >"$at/apt-cache"
setup build
[ $code -eq 0 ] && [ "$(grep -c update "$at/calls")" = 1 ]
check setup_updates_empty_package_lists

machine newer 0
ln -s "$(command -v sed)" "$at/sed"
printf '#!/bin/sh\nfor name; do [ "$name" != libhttp-parser-dev ] || exit 100; done\n' >"$at/apt-cache"
if [ -f /usr/include/llhttp.h ]; then
    echo "skip setup_takes_the_parser_that_there_is llhttp is installed"
else
    setup lint
    [ $code -eq 0 ] && grep -q 'install .*libllhttp-dev' "$at/calls" && ! grep -q libhttp-parser "$at/calls"
    check setup_takes_the_parser_that_there_is
fi

machine offline 0
printf '#!/bin/sh\necho E: no route\nexit 100\n' >"$at/apt-get"
setup build
[ $code -eq 1 ] && printf '%s\n' "$said" | grep -q '^setup: apt-get install failed; try: apt-get update'
check setup_that_fails_says_the_command
[ "$(printf '%s\n' "$said" | grep -c '^E: no route')" = 1 ]
check setup_that_fails_says_what_apt_said

machine nosudo
setup build
[ $code -eq 1 ] && [ ! -s "$at/calls" ] &&
    printf '%s\n' "$said" | grep -q 'as root, run: apt-get update && apt-get install -y'
check setup_without_sudo_says_the_command

machine locked
printf '#!/bin/sh\nexit 1\n' >"$at/sudo"
chmod +x "$at/sudo"
setup build
[ $code -eq 1 ] && [ "$(printf '%s\n' "$said" | wc -l)" = 1 ] &&
    printf '%s\n' "$said" | grep -q 'run: sudo apt-get update && sudo apt-get install -y .*gcc'
check setup_without_a_password_says_the_command

machine sudo
printf '#!/bin/sh\n[ "$1" = -n ] || "$@"\n' >"$at/sudo"
chmod +x "$at/sudo"
setup bench
[ $code -eq 0 ] && grep -q 'install .*fio' "$at/calls"
check setup_uses_sudo

machine without 0
printf '#!/bin/sh\necho "apt-get $*" >>"%s/calls"\ncase "$*" in *nginx*) exit 100 ;; esac\n' "$at" >"$at/apt-get"
setup bench
[ $code -eq 0 ] && grep -q 'install .*haproxy' "$at/calls" &&
    printf '%s\n' "$said" | grep -q 'so it is done without: nginx libnginx-mod-stream$'
check setup_does_without_what_is_only_useful

machine useful
cat >"$at/dpkg-query" <<'E2'
#!/bin/sh
shift 3
for package; do case $package in wrk) ;; *) echo "installed $package" ;; esac; done
E2
setup bench
[ $code -eq 0 ] && [ ! -s "$at/calls" ] && printf '%s\n' "$said" | grep -q 'apt-get install -y .*wrk$'
check setup_that_may_not_install_what_is_only_useful_goes_on

machine foreign
rm "$at/dpkg-query"
setup build
[ $code -eq 1 ] && printf '%s\n' "$said" | grep -q 'no apt here'
check setup_on_another_system_says_what_is_needed
