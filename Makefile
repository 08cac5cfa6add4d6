# SPDX-License-Identifier: MIT
# make | demo | test | lint | bench | install | clean; B=DIR builds elsewhere, SAN=address,undefined or SAN=thread
# instruments, CC=clang works too.
CC      = gcc
B       = build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
comma  := ,
WARN    = -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wundef \
          $(if $(CI),-Werror)
HARDEN  = -fstack-clash-protection -fstack-protector-strong -fcf-protection=branch -D_FORTIFY_SOURCE=2
CFLAGS  = -O2 -g
override CFLAGS += -std=c17 $(WARN) -I. -fPIC -fno-lto -fno-tree-slp-vectorize -pthread -MMD -MP \
          $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -DTORC_DEBUG=1 -O1,$(HARDEN))
LDLIBS  = -luring -pthread

LIB_SRC  = $(wildcard core/*.c io/*.c dma/*.c)
LIB_OBJ  = $(LIB_SRC:%.c=$B/%.o)
APP_OBJ  = $(patsubst %.c,$B/%.o,$(wildcard apps/torc/*.c))
TESTS    = $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/test_*.c))

all: $B/libtorc.a $(if $(APP_OBJ),$B/torc)

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$B/libtorc.a: $(LIB_OBJ)
	rm -f $@ && ar rcs $@ $^

$B/torc: $(APP_OBJ) $B/libtorc.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$B/tests/%: $B/tests/%.o $B/libtorc.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcriterion $(LDLIBS)

tests: $(TESTS)

clean:
	rm -rf build

-include $(shell find $B -name '*.d' 2>/dev/null)
.PHONY: all tests clean
.SECONDARY:
