# SPDX-License-Identifier: MIT
#
# make           build/libtorc.a, libtorc.so, torc, torc-micro, examples/NAME
# make demo      installs what is missing, builds, shows the machine and measures its disk
# make test      installs what is missing, runs every test; the last line is "N passed, N failed"
# make lint | test-aarch64 | verify | bench | stress | stress-channels | stress-net | stress-proxy | install | uninstall | clean
#
# B=DIR builds elsewhere. SAN=address,undefined or SAN=thread instruments. CC=clang works too.
# CI=1 turns warnings into errors. TLS=no leaves OpenSSL out; it is taken where pkg-config finds it.
# CFLAGS, LDFLAGS, PREFIX and DESTDIR are the user's.

comma := ,
ifeq ($(origin CC),default)
CC = gcc
endif
SAN     ?=
B       ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
CFLAGS  ?= -O2 -g
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION  = 0.1.0
SOVER    = 0

MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
WARN     = -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes \
           -Wundef $(if $(CI),$(if $(SAN),,-Werror)) # instrumented code draws false warnings
HARDEN   = -fstack-clash-protection -fstack-protector-strong -U_FORTIFY_SOURCE \
           -D_FORTIFY_SOURCE=3 $(if $(filter x86_64% i%86%,$(MACHINE)),-fcf-protection=branch) \
           $(if $(filter aarch64%,$(MACHINE)),$(if $(findstring clang,$(CC)),,$(PROBES)))
# gcc for aarch64 takes a guard to be 64 KiB and would step over one of a page.
PROBES   = --param=stack-clash-protection-guard-size=12
SANFLAGS = -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -DTORC_DEBUG=1 -O1
# One set of objects makes both libraries. What would slow the static one is taken out of -fPIC:
# interposition stops inlining, and the general TLS model is a call for each look at "this shard".
PIC      = -fPIC -fno-semantic-interposition -ftls-model=initial-exec
PIE      = -pie
FLAGS    = -std=c17 -D_GNU_SOURCE -I. -pthread $(PIC) -ffunction-sections $(WARN) $(if $(SAN),,$(HARDEN)) \
           $(if $(filter yes,$(TLS)),-DTORC_TLS) $(CPPFLAGS) $(CFLAGS) $(if $(SAN),$(SANFLAGS)) $(OWN)
LINK     = $(CC) $(FLAGS) -Wl,--as-needed -Wl,-z,relro,-z,now,-z,noexecstack $(LDFLAGS) -o $@
HWLOC    = $(shell pkg-config --libs hwloc 2>/dev/null || echo -lhwloc)
TLS      = $(if $(filter net,$(ROOMS)),$(HAS_SSL))
HAS_SSL := $(shell pkg-config --exists 'libssl >= 3' 2>/dev/null && echo yes || echo no)
SSL_LIBS = $(if $(filter yes,$(TLS)),$(shell pkg-config --libs libssl libcrypto))
LDLIBS   = -luring $(HWLOC) $(SSL_LIBS)
APP_LIBS = -lblkid -lm
# Criterion takes a leak report for a pass and cannot start under TSan: instrumented tests run on
# the small runner, as those for another architecture do.
SMALL    = $(SAN)

ROOMS    = core io shard dma net
NO_TLS   = net/tls_none.c
LIB_SRC := $(filter-out $(if $(filter yes,$(TLS)),$(NO_TLS),$(filter-out $(NO_TLS),$(wildcard net/tls*.c))),\
           $(wildcard $(ROOMS:%=%/*.c)))
LIB_OBJ  = $(LIB_SRC:%.c=$B/%.o)
APP_OBJ := $(patsubst %.c,$B/%.o,$(wildcard apps/torc/*.c))
MICRO   := $(patsubst %.c,$B/%.o,$(wildcard bench/micro*.c))
# http_hello's parser is llhttp or, on Debian 12, http_parser; without either it is left out.
has      = $(shell $(CC) $(CPPFLAGS) $(CFLAGS) -include $1 -E -x c /dev/null >/dev/null 2>&1 && echo yes)
LIBS_http_hello := $(if $(call has,llhttp.h),-lllhttp,$(if $(call has,http_parser.h),-lhttp_parser))
EXAMPLE := $(patsubst docs/examples/%.c,$B/examples/%,$(filter-out \
           $(if $(LIBS_http_hello),,%/http_hello.c) $(if $(filter yes,$(TLS)),,%/tls_echo.c), \
           $(wildcard docs/examples/*.c)))
TEST_SRC = $(wildcard tests/test_*.c)
TESTS    = $(TEST_SRC:%.c=$B/%)
# The other files beside the tests are helpers: an archive, of which each test takes what it calls.
HELP_SRC = $(filter-out tests/test_% tests/harness_small.c tests/deny_uring.c,$(wildcard tests/*.c))
RUNNER   = $(if $(SMALL),$B/tests/harness_small.o)
PUBLIC   = torc.h $(filter-out %_internal.h,$(wildcard $(ROOMS:%=%/*.h)))
LIBS     = $B/libtorc.a $(if $(LIB_OBJ),$B/libtorc.so)

all: $(LIBS) $(if $(APP_OBJ),$B/torc) $(if $(MICRO),$B/torc-micro) $(EXAMPLE)
lib: $(LIBS)
tests: $(TESTS)

# A first build says what is missing once, not once a file.
PRESENT = $(if $(filter io,$(ROOMS)),$(CC) $(CPPFLAGS) $(CFLAGS) -include liburing.h -E -x c /dev/null \
           >/dev/null 2>&1 || { echo "no $(CC) or no liburing.h: sh tests/setup.sh build installs both" >&2; \
           exit 1; };)

# Whatever was compiled with other flags is compiled again.
$B/flags: OWN =
$B/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(CC) $(FLAGS))' | cmp -s - $@ || { $(PRESENT) \
	 printf '%s\n' '$(subst ','\'',$(CC) $(FLAGS))' >$@; }

# The context switch must stay opaque to its callers' optimiser, so the library is never LTO; tasks
# have small stacks, so its frames are bounded.
$(LIB_OBJ): OWN = -fno-lto -fno-tree-slp-vectorize $(if $(SAN),,-Wframe-larger-than=4096)
$B/tests/%.o: OWN = $(if $(SMALL),-DTORC_TEST_SMALL)
$B/tests/test_core_switch_o3.o: OWN += -O3

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(CC) $(FLAGS) -MMD -MP -c -o $@ $<

$B/libtorc.a: $(LIB_OBJ)
	@mkdir -p $(@D) && rm -f $@
	ar rcs $@ $^

$B/libtorc.so.$(SOVER): $(LIB_OBJ) libtorc.map
	$(LINK) -shared -Wl,-soname,libtorc.so.$(SOVER) -Wl,--version-script=libtorc.map \
	 $(LIB_OBJ) $(LDLIBS)

$B/libtorc.so: $B/libtorc.so.$(SOVER)
	ln -sf libtorc.so.$(SOVER) $@

$B/torc: $(APP_OBJ) $B/libtorc.a
	$(LINK) $(PIE) -Wl,--gc-sections $^ $(LDLIBS) $(APP_LIBS)

$B/torc-micro: $(MICRO) $B/libtorc.a
	$(LINK) $(PIE) -Wl,--gc-sections $^ $(LDLIBS)

# A callback need not use all that it is given, and an example has no room for saying so.
$B/docs/examples/%.o: OWN = -Wno-unused-parameter

$B/examples/%: $B/docs/examples/%.o $B/libtorc.a
	@mkdir -p $(@D)
	$(LINK) $(PIE) -Wl,--gc-sections $^ $(LDLIBS) $(LIBS_$*)

# What an example is linked to beside torc, for who compiles it elsewhere.
libs-%:
	@echo $(LIBS_$*)

$B/tests/libhelp.a: $(HELP_SRC:%.c=$B/%.o)
	@mkdir -p $(@D) && rm -f $@
	ar rcs $@ $^

# Runs its arguments where io_uring is forbidden.
$B/tests/deny_uring: $B/tests/deny_uring.o
	$(LINK) $(PIE) $<

# Tests of the programs' own parts see all of the program but its main.
$(filter $B/tests/test_bench_% $B/tests/test_info_% $B/tests/test_proxy_%,$(TESTS)): $B/tests/%: $B/tests/%.o $(RUNNER) \
                       $(filter-out $B/apps/torc/main.o,$(APP_OBJ)) $B/libtorc.a
	$(LINK) $(PIE) $^ $(if $(SMALL),,-lcriterion) $(LDLIBS) $(APP_LIBS)

$B/tests/%: $B/tests/%.o $(RUNNER) $B/tests/libhelp.a $B/libtorc.a
	$(LINK) $(PIE) $^ $(if $(SMALL),,-lcriterion) $(LDLIBS)

SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc))

demo:
	@sh tests/setup.sh build
	@echo "building torc into $B" && $(SUBMAKE) -s all
	@$B/torc info
	@TORC=$B/torc sh apps/demo.sh $B

test:
	@sh tests/setup.sh test
	@B='$B' SAN='$(SAN)' CC='$(CC)' sh tests/run.sh $(if $(SAN),san)

lint test-aarch64:
	@sh tests/setup.sh $(@:test-%=%)
	@B='$B' CC='$(CC)' sh tests/run.sh $(@:test-%=%)

# The protocol between shards, model-checked; the short form is part of make test.
verify:
	@sh tests/setup.sh verify
	@B='$B' CC='$(CC)' sh tests/model/run.sh full

bench:
	@sh tests/setup.sh bench
	@$(SUBMAKE) all
	@$(MAKE) --no-print-directory -s -f bench/peers/Makefile B=$B CC=$(CC)
	@python3 bench/compare.py --build $B

# Ten million random rounds of submit, cancel and deadline; the short form is part of make test.
stress:
	@sh tests/setup.sh test
	@$(SUBMAKE) $B/tests/test_stress
	TORC_STRESS_ROUNDS=10000000 $B/tests/test_stress

# A thousand million messages between shards that sleep at random, some minutes; the short form likewise.
stress-channels:
	@sh tests/setup.sh test
	@$(SUBMAKE) $B/tests/test_shard_wake_stress
	TORC_STRESS_MESSAGES=$${TORC_STRESS_MESSAGES:-1000000000} $B/tests/test_shard_wake_stress

# Connections that come, go, reset and end by halves at full speed: a minute of it in each of four ways.
stress-net:
	@sh tests/setup.sh test
	@$(SUBMAKE) $B/tests/test_net_storm
	TORC_STORM_SECONDS=$${TORC_STORM_SECONDS:-60} $B/tests/test_net_storm

# A GiB through torc proxy with ends at random, both ways, SHA-256 compared; over TCP and over Unix sockets.
stress-proxy: $B/torc
	@dir=$$(mktemp -d) && TORC_PROXY_MIB=1024 timeout 600 python3 tests/proxy_checks.py $B/torc $$dir \
	 every_byte_arrives_over_tcp every_byte_arrives_over_unix_sockets; status=$$?; rm -rf $$dir; exit $$status

# ldconfig, or a program linked to the new library does not start; in a staging directory none does.
install: lib $(if $(APP_OBJ),$B/torc)
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/bin
	install -m 644 $B/libtorc.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $B/libtorc.so.$(SOVER) $(DESTDIR)$(PREFIX)/lib
	ln -sf libtorc.so.$(SOVER) $(DESTDIR)$(PREFIX)/lib/libtorc.so
	set -e; for h in $(PUBLIC); do install -D -m 644 $$h $(DESTDIR)$(PREFIX)/include/torc/$$h; done
	sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@SSL_LIBS@|$(SSL_LIBS)|' torc.pc.in \
	 >$(DESTDIR)$(PREFIX)/lib/pkgconfig/torc.pc
	$(if $(APP_OBJ),install -m 755 $B/torc $(DESTDIR)$(PREFIX)/bin)
	@$(if $(DESTDIR),,ldconfig 2>/dev/null || :)

uninstall:
	cd $(DESTDIR)$(PREFIX) && rm -rf include/torc bin/torc lib/pkgconfig/torc.pc lib/libtorc.a \
	 lib/libtorc.so lib/libtorc.so.$(SOVER)

clean:
	rm -rf $B

-include $(shell find $B -name '*.d' 2>/dev/null)
FORCE:
.PHONY: all lib tests demo test lint test-aarch64 verify bench stress stress-channels stress-net stress-proxy install uninstall clean FORCE
.SECONDARY:
.DELETE_ON_ERROR:
