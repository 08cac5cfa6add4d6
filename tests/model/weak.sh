#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/model/weak.sh short|full DIRECTORY [MODEL…]      models of GenMC: rc11 imm tso
#
# Checks lane_c11.c under weak memory; then with each memory order in what it takes from the library made relaxed, one at
# a time, and with each fence taken out. What GenMC does not object to then has to stand in the list below, with a reason.
set -u
cd "$(dirname "$0")/../.." || exit
models=$PWD/tests/model
form=$1 work=$2
shift 2
[ $# -gt 0 ] || set -- rc11

# The functions as they are, but for counters and how a doorbell gets to the kernel.
function_of() { # file, name
    awk -v name="[ *]$2[(]" '!on && /^(static|bool|void|int)/ && $0 ~ name { on = 1 } on { print } on && /^}/ { exit }' "$1" |
        sed -E '/torci_count\(/s/torci_count\([^;]*;/;/; s/queue_bell\(self, peer\)/true/
            s/\(void\)self->io\.kernel->wake\(.*\);/ring(to);/; s/\(void\)io->kernel->wake\(.*\);/ring(io);/'
}
functions() {
    for name in torci_pile_push torci_pile_take; do function_of core/pile_internal.h $name; done
    for name in index_of mask_of mark take_bit torci_mesh_mark; do function_of shard/mesh.c $name; done
    for name in torci_io_wake is_marked; do function_of io/loop.c $name; done
    for name in torci_mesh_wake torci_mesh_push ring_bell signal_peer find_slot tell_of_room lane_has unwatch \
        torci_mesh_take_inbox; do
        function_of shard/mesh.c $name
    done
    echo 'static void park_begins(struct torci_io *io)'
    printf '{\n%s\n}\n' "$(grep -m1 'exchange_n(&io->wake.parked, 1' io/loop.c)"
    echo 'static void park_ends(struct torci_io *io)'
    printf '{\n%s\n}\n' "$(grep -m1 'store_n(&io->wake.parked, 0' io/loop.c)"
}

# weaken N: the N-th order or fence of the text; its name goes to the file "what". N = 0 changes nothing and counts.
weaken() {
    awk -v wanted="$1" -v what="$2" '
        /^[a-z].*[(]/ {
            name = $0
            sub(/[(].*/, "", name)
            sub(/.*[ *]/, "", name)
            ordinal = 0
        }
        /ifdef TORCI_TSAN|if defined.TORCI_TSAN/ { tsan = 1 }
        /^#el/ { tsan = 0 }
        {
            left = $0
            line = ""
            while (!tsan && match(left, /__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)|torci_lane_fence[(][^;]*;/)) {
                found = substr(left, RSTART, RLENGTH)
                line = line substr(left, 1, RSTART - 1)
                left = substr(left, RSTART + RLENGTH)
                order = found ~ /^__ATOMIC/
                ordinal++
                if (++count == wanted) {
                    print name "_" ordinal "_" (order ? tolower(substr(found, 10)) : "fence") >what
                    found = order ? "__ATOMIC_RELAXED" : ";"
                }
                line = line found
            }
            print line left
        }
        END { if (!wanted) print count >what }'
}

# check DIRECTORY SCENARIO MODEL: what GenMC says: holds, caught, or something else.
check() {
    timeout "${WEAK_SECONDS:-300}" genmc --"$3" --v1 --disable-estimation -- -std=c17 -D_GNU_SOURCE -DSCENARIO="$2" \
        -I"$1" -I. "$models/lane_c11.c" >"$1/$3-$2.log" 2>&1
    if grep -q 'No errors were detected' "$1/$3-$2.log"; then
        echo holds
    elif grep -qE 'Safety violation|Non-atomic race|Uninitialized' "$1/$3-$2.log"; then
        echo caught
    else
        echo "no verdict: $1/$3-$2.log"
    fi
}

# one FILE N MODEL…: a mutant, in all scenarios until one of them catches it. N = 0: the code as it is.
one() {
    file=$1 number=$2
    shift 2
    dir=$work/weak-$(basename "$file" .h)-$number
    rm -rf "$dir"
    mkdir -p "$dir/shard"
    if [ "$file" = functions.h ]; then
        weaken "$number" "$dir/what" <"$work/functions.h" >"$dir/functions.h"
        cp shard/lane_internal.h "$dir/shard"
    else
        cp "$work/functions.h" "$dir"
        weaken "$number" "$dir/what" <shard/lane_internal.h >"$dir/shard/lane_internal.h"
    fi
    name=$(cat "$dir/what")
    for model; do
        said=holds
        for scenario in 1 4 3 2; do
            said=$(check "$dir" $scenario "$model")
            if [ "$number" = 0 ]; then
                [ "$said" = holds ] && echo "ok verify_${model}_scenario_$scenario" ||
                    echo "not ok verify_${model}_scenario_$scenario $said"
            elif [ "$said" != holds ]; then
                break
            fi
        done
        [ "$number" = 0 ] && continue
        reason=$(reasons | sed -n "s/^$name  *//p")
        case "$said:$reason" in
        caught:) echo "ok verify_${model}_$name" ;;
        holds:?*) echo "ok verify_${model}_${name}_harmless" ;;
        *) echo "not ok verify_${model}_$name $said ${reason:+although $reason}" ;;
        esac
    done
}

# Orders that are more than the models ask for. The first five stand beside a fence, which does the work; where a build
# for TSan has an exchange of some word in place of the fence, they do it.
reasons() {
    cat <<'END'
mark_1_seq_cst          the fence before it
take_bit_1_seq_cst      the fence after it
find_slot_1_seq_cst     the fence after it
tell_of_room_2_seq_cst  the fence before it
tell_of_room_3_seq_cst  the fence in the signal that follows
lane_has_1_acquire      whoever reads the slot loads the tail again
unwatch_1_seq_cst       who finds the bit set is answered by the next fence in take_bit
END
}

if [ "$form" = one ]; then
    one "$@"
    exit
fi
mkdir -p "$work"
functions >"$work/functions.h"
# Also where there is no GenMC the two halves have to fit.
if ${CC:-gcc} -std=c17 -D_GNU_SOURCE -Wall -Wextra -Wno-empty-body -Werror -fsyntax-only -I"$work" -I. "$models/lane_c11.c"; then
    echo "ok verify_weak_memory_fits_the_code"
else
    echo "not ok verify_weak_memory_fits_the_code tests/model/lane_c11.c"
fi
[ "$form" = full ] || exit 0
command -v genmc >/dev/null || {
    echo "skip verify_weak_memory genmc is not installed"
    exit 0
}
for file in functions.h lane_internal.h; do
    source=$work/functions.h
    [ $file = functions.h ] || source=shard/lane_internal.h
    weaken 0 "$work/count" <"$source" >/dev/null
    for number in $(seq 0 "$(cat "$work/count")"); do
        [ $file$number = lane_internal.h0 ] || echo "$file $number"
    done
done | xargs -P "$(nproc)" -I{} sh -c "sh '$models/weak.sh' one '$work' {} $*"
