#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/setup.sh build|test|lint|aarch64|verify|bench
# Installs by apt what that purpose still lacks (Debian 12 and 13, Ubuntu 24.04). Silent when nothing
# is missing; where it may not install, says the one command that would. What a purpose only makes use
# of if it is there never makes it fail.
set -eu

# The build does without libssl-dev where somebody else installs: then there is no TLS.
build="gcc libc6-dev binutils liburing-dev libhwloc-dev libnuma-dev libblkid-dev pkgconf libssl-dev"
lint="git g++ clang clang-format clang-tidy universal-ctags"
verify="spin"
# What docs/examples/http_hello.c parses with; where llhttp is, its forerunner is not needed.
parser=libhttp-parser-dev
[ -f /usr/include/llhttp.h ] && parser=
peers="curl netcat-openbsd nghttp2-client python3 socat wrk" # that talk to the examples
aarch64="qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
# On an aarch64 machine the plain tests are the aarch64 tests.
[ "$(uname -m)" = aarch64 ] && aarch64=

useful=
case "${1:-}" in
build) wanted=$build ;;
test) wanted="$build $lint $aarch64 $verify $parser $peers libcriterion-dev jq openssl fio fdisk iproute2 valgrind" ;;
lint) wanted="$build $lint $parser" ;;
aarch64) wanted="$build $aarch64" ;;
verify) wanted="$build $verify" ;;
bench)
    wanted="$build fio python3"
    useful="$parser libuv1-dev wrk haproxy nginx libnginx-mod-stream"
    ;;
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

absent() { # PACKAGE…: which of them are not installed
    here=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
    for package; do
        printf '%s\n' "$here" | grep -qx "installed $package" || printf ' %s' "$package"
    done
}
missing=$(absent $wanted)
[ -z "$useful" ] || useful=$(absent $useful)
[ -z "$missing$useful" ] && exit 0
missing=${missing# }
useful=${useful# }

root=
[ "$(id -u)" = 0 ] || root=sudo
install="apt-get install -y --no-install-recommends ${missing:-$useful}"

said=
refuse() {
    [ -z "$said" ] || printf '%s\n' "$said" >&2
    echo "setup: $1: ${root:+$root }apt-get update && ${root:+$root }$install" >&2
    [ -n "$missing" ] || exit 0
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

parser_there() { # PACKAGES: with the parser that this release has
    case " $1 " in
    *" libhttp-parser-dev "*)
        apt-cache show libhttp-parser-dev >/dev/null 2>&1 || set -- "$(printf '%s' "$1" | sed 's/libhttp-parser-dev/libllhttp-dev/')"
        ;;
    esac
    printf '%s' "$1"
}

if [ -n "$missing" ]; then
    echo "setup: installing $missing (can take minutes)"
    # The package lists of a fresh machine are empty, those of an old one name files that are gone.
    apt-cache show $missing >/dev/null 2>&1 || apt update || refuse "apt-get update failed; try"
    missing=$(parser_there "$missing")
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing ||
        { apt update && apt install -y --no-install-recommends $missing; } ||
        refuse "apt-get install failed; try"
fi

# One by one: a package that this release does not have takes no other with it.
without=
[ -z "$useful" ] || apt-cache show $useful >/dev/null 2>&1 || apt update || true
for package in $(parser_there "$useful"); do
    echo "setup: installing $package"
    apt install -y --no-install-recommends "$package" || without="$without $package"
    case $package in
    # Debian starts the servers that it installs; here they are wanted as programs only.
    haproxy | nginx) ! command -v systemctl >/dev/null || $root systemctl -q disable --now "$package" || true ;;
    esac
done
[ -z "$without" ] || echo "setup: could not be installed, so it is done without:$without"
