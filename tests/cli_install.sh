#!/bin/sh
# SPDX-License-Identifier: MIT
# What lands where: the tree of make install, the shared library's name and face, the headers.
set -u
case $B in /*) root=$B/install-test ;; *) root=$PWD/$B/install-test ;; esac
rm -rf "$root"
make --no-print-directory -s B="$B" PREFIX=/opt/t DESTDIR="$root" install || exit 1
at=$root/opt/t

check() {
    if [ $? -eq 0 ]; then echo "ok $1"; else echo "not ok $1" && find "$root"; fi
}
[ -f "$at/lib/libtorc.a" ] && [ -f "$at/lib/libtorc.so.0" ] &&
    [ "$(readlink "$at/lib/libtorc.so")" = libtorc.so.0 ]
check install_has_both_libraries
readelf -d "$at/lib/libtorc.so" | grep -q 'SONAME.*\[libtorc.so.0\]'
check install_soname
readelf -d "$at/lib/libtorc.so" | grep -q BIND_NOW && ! readelf -d "$at/lib/libtorc.so" | grep -q TEXTREL
check install_hardening
[ -f "$at/include/torc/torc.h" ] && [ -f "$at/include/torc/core/base.h" ]
check install_headers_keep_their_rooms
[ -z "$(find "$at/include" -name '*_internal.h')" ]
check install_leaves_private_headers_out
PKG_CONFIG_PATH=$at/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR= pkg-config --define-variable=prefix="$at" \
    --cflags torc | grep -q -- "-I$at/include/torc"
check install_pkg_config
make --no-print-directory -s B="$B" PREFIX=/opt/t DESTDIR="$root" uninstall &&
    [ -z "$(find "$root" -type f)" ]
check uninstall_leaves_nothing
