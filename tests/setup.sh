#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/setup.sh build|test|lint|aarch64|verify|bench
# Installs by apt what that purpose still lacks (Debian 12 and 13, Ubuntu 24.04). Silent when nothing
# is missing; where it may not install, says the one command that would.
set -eu

build="gcc libc6-dev binutils liburing-dev libhwloc-dev libnuma-dev libblkid-dev pkgconf"
lint="git g++ clang clang-format clang-tidy universal-ctags"
verify="spin"
# What docs/examples/http_hello.c parses with; where llhttp is, its forerunner is not needed.
parser=libhttp-parser-dev
[ -f /usr/include/llhttp.h ] && parser=
peers="curl netcat-openbsd nghttp2-client python3 socat wrk" # that talk to the examples
aarch64="qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
# On an aarch64 machine the plain tests are the aarch64 tests.
[ "$(uname -m)" = aarch64 ] && aarch64=

case "${1:-}" in
build) wanted=$build ;;
test) wanted="$build $lint $aarch64 $verify $parser $peers libcriterion-dev jq fio fdisk iproute2 valgrind" ;;
lint) wanted="$build $lint $parser" ;;
aarch64) wanted="$build $aarch64" ;;
verify) wanted="$build $verify" ;;
bench) wanted="$build fio python3" ;;
*)
    echo "usage: tests/setup.sh build|test|lint|aarch64|verify|bench" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    # No Debian: the compiler will name what it lacks, but say once what was meant.
    [ "${TORC_SETUP:-}" = skip ] && exit 0
    echo "setup: no apt here; install the like of: $wanted; then run again with TORC_SETUP=skip" >&2
    exit 1
fi

here=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null || true)
missing=
for package in $wanted; do
    printf '%s\n' "$here" | grep -qx "installed $package" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
missing=${missing# }

root=
[ "$(id -u)" = 0 ] || root=sudo
install="apt-get install -y --no-install-recommends $missing"

said=
refuse() {
    [ -z "$said" ] || printf '%s\n' "$said" >&2
    echo "setup: $1: ${root:+$root }apt-get update && ${root:+$root }$install" >&2
    exit 1
}

if [ -n "$root" ]; then
    command -v sudo >/dev/null || { root=; refuse "missing packages; as root, run"; }
    # Without a terminal sudo cannot ask for its password.
    [ -t 0 ] || sudo -n true 2>/dev/null || refuse "missing packages; run"
fi

# What apt says is several lines a package, and of use only when it fails.
apt() {
    said=$($root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1)
}

echo "setup: installing $missing (can take minutes)"
# The package lists of a fresh machine are empty, those of an old one name files that are gone.
apt-cache show $missing >/dev/null 2>&1 || apt update || refuse "apt-get update failed; try"
case " $missing " in
*" libhttp-parser-dev "*)
    apt-cache show libhttp-parser-dev >/dev/null 2>&1 ||
        missing=$(printf '%s' "$missing" | sed 's/libhttp-parser-dev/libllhttp-dev/')
    ;;
esac
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing ||
    { apt update && apt install -y --no-install-recommends $missing; } ||
    refuse "apt-get install failed; try"
