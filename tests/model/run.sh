#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/model/run.sh [short|full]      B is the output directory
#
# Checks the models and then the mutants, each in a build of its own, and prints a verdict a line. The model must hold;
# a mutant, which lacks one fence, order or step, must be caught: "ok verify_NAME". Some mutants are known to do no harm:
# they must hold too, and the reason why the code keeps what they lack stands beside them. "full" takes larger bounds,
# looks for endless loops in more places, and has GenMC judge the code itself where that is installed (weak.sh).
set -u
cd "$(dirname "$0")/../.." || exit
models=$PWD/tests/model
form=${1:-short}

# What to expect, name, model, flags. "full" in front: not in the short form.
table() {
    cat <<'END'
holds   wake_two_senders            wake.pml
holds   wake_lanes_of_two           wake.pml    -DSENDERS=1 -DMESSAGES=4 -DCAPACITY=2
holds   wake_foreign_threads        wake.pml    -DSENDERS=1 -DMESSAGES=1 -DFOREIGN=2
holds   wake_other_completions      wake.pml    -DSENDERS=1 -DMESSAGES=3 -DCOMPLETIONS=2
holds   wake_watching_for_a_while   wake.pml    -DLINGERS
holds   duplex                      duplex.pml  -DANSWERS=1
holds   duplex_lanes_of_two         duplex.pml  -DMESSAGES=3 -DANSWERS=1 -DCAPACITY=2
holds   xchan                       xchan.pml   -DVALUES=3
holds   xchan_of_one                xchan.pml   -DVALUES=3 -DCAPACITY=1
holds   exit                        exit.pml
holds   exit_chained_notes          exit.pml    -DCALLS=0 -DFREES=2
holds   exit_calls_and_notes        exit.pml    -DFREES=1
full holds wake_three_messages      wake.pml    -DMESSAGES=3
full holds wake_two_and_one         wake.pml    -DFOREIGN=1 -DMESSAGES=1
full holds wake_two_completions     wake.pml    -DCOMPLETIONS=2
full holds duplex_two_ways          duplex.pml
full holds duplex_three             duplex.pml  -DMESSAGES=3 -DANSWERS=1
full holds duplex_four              duplex.pml  -DMESSAGES=4 -DANSWERS=1 -DCAPACITY=2
full holds xchan_four               xchan.pml
full holds xchan_five               xchan.pml   -DVALUES=5 -DCAPACITY=3 -DDEPTH=6
full holds exit_calls_and_chains    exit.pml    -DFREES=2
ends    wake_two_senders_end        wake.pml    -DMESSAGES=1
ends    wake_foreign_end            wake.pml    -DSENDERS=1 -DMESSAGES=1 -DFOREIGN=1
ends    duplex_ends                 duplex.pml  -DANSWERS=0
full ends wake_two_times_two_end    wake.pml
full ends duplex_two_ways_end       duplex.pml  -DANSWERS=1
caught  lane_tail_before_slot       wake.pml    -DTAIL_BEFORE_SLOT
caught  lane_head_before_slot       wake.pml    -DHEAD_BEFORE_SLOT
caught  lane_one_slot_too_many      wake.pml    -DSLOTS=2
caught  lane_full_but_unpublished   wake.pml    -DBATCH=2
caught  bit_no_sender_fence         wake.pml    -DNO_SENDER_FENCE
caught  bit_before_tail             wake.pml    -DBIT_BEFORE_TAIL
caught  bit_set_by_store            wake.pml    -DBIT_SET_BY_STORE
caught  bit_set_unfenced            wake.pml    -DBIT_SET_UNFENCED -DSENDERS=1
caught  bit_cleared_by_store        wake.pml    -DBIT_CLEARED_BY_STORE
caught  bit_cleared_unfenced        wake.pml    -DBIT_CLEARED_UNFENCED -DSENDERS=1
caught  bit_tail_before_clear       wake.pml    -DTAIL_BEFORE_CLEAR
caught  bit_kept_off                wake.pml    -DKEEPS_BIT_OFF
caught  park_bit_after_parked       wake.pml    -DPARKED_BEFORE_BIT
caught  park_taken_by_store         wake.pml    -DPARKED_TAKEN_BY_STORE
caught  park_map_before_parked      wake.pml    -DMAP_BEFORE_PARKED
caught  park_set_unfenced           wake.pml    -DPARKED_SET_UNFENCED
caught  park_no_last_look           wake.pml    -DNO_LAST_LOOK
caught  doorbell_none               wake.pml    -DNO_DOORBELL
caught  doorbell_for_sleepers_only  wake.pml    -DDOORBELL_WAKES_SLEEPERS_ONLY
caught  doorbell_forgotten_at_sleep wake.pml    -DSLEEP_FORGETS_COMPLETIONS
caught  inbox_wake_before_push      wake.pml    -DWAKE_BEFORE_PUSH -DSENDERS=1 -DFOREIGN=2 -DMESSAGES=1
caught  inbox_push_by_store         wake.pml    -DPUSH_BY_STORE -DSENDERS=1 -DFOREIGN=2 -DMESSAGES=1
caught  inbox_taken_by_store        wake.pml    -DINBOX_TAKEN_BY_STORE -DSENDERS=1 -DFOREIGN=2 -DMESSAGES=1
caught  inbox_taken_before_bit      wake.pml    -DINBOX_BEFORE_BIT -DSENDERS=1 -DFOREIGN=2 -DMESSAGES=1
caught  room_no_reader_fence        duplex.pml  -DNO_ROOM_FENCE
caught  room_no_writer_fence        duplex.pml  -DNO_WAITING_FENCE
caught  room_no_second_look         duplex.pml  -DNO_SECOND_LOOK_FOR_ROOM
caught  room_not_asked_for          duplex.pml  -DWAITS_WITHOUT_ASKING
caught  room_not_told_of            duplex.pml  -DNO_WORD_OF_ROOM
caught  room_question_taken_back    duplex.pml  -DWAITING_TAKEN_BACK -DMESSAGES=3 -DANSWERS=0
caught  room_bit_after_look         duplex.pml  -DROOM_BIT_AFTER_LOOK -DMESSAGES=3 -DANSWERS=1
caught  batch_unpublished_at_sleep  duplex.pml  -DSLEEPS_UNPUBLISHED
caught  doorbell_queued_at_sleep    duplex.pml  -DSLEEPS_UNSUBMITTED
caught  xchan_head_before_value     xchan.pml   -DHEAD_BEFORE_SLOT
caught  xchan_no_arm_fence          xchan.pml   -DNO_ARM_FENCE
caught  xchan_no_look_after_arm     xchan.pml   -DNO_LOOK_AFTER_ARM
caught  xchan_no_settle_fence       xchan.pml   -DNO_SETTLE_FENCE
caught  xchan_nothing_at_turns_end  xchan.pml   -DNO_CHORE
caught  xchan_note_without_rearming xchan.pml   -DNOTE_WITHOUT_REARMING
caught  exit_no_barrier             exit.pml    -DNO_BARRIER
caught  exit_no_drain               exit.pml    -DCLOSED_WITHOUT_DRAIN
caught  exit_no_nudge               exit.pml    -DNO_NUDGE
caught  exit_refused_in_silence     exit.pml    -DREFUSED_IN_SILENCE
caught  exit_alone                  exit.pml    -DENDS_ALONE
caught  exit_quiet_before_flushed   exit.pml    -DCALLS=0 -DFREES=2 -DFLUSHED_WHEN_QUIET
caught  exit_flushed_unnoticed      exit.pml    -DCALLS=0 -DFREES=2 -DFLUSHED_UNNOTICED
endless bit_never_cleared           wake.pml    -DNO_UNWATCH -DSENDERS=1
harmless bit_rings_although_set     wake.pml    -DRINGS_FOR_ANY_BIT
harmless park_left_set              wake.pml    -DPARKED_STAYS
harmless room_waiting_left_set      duplex.pml  -DWAITING_STAYS
harmless batch_unpublished_at_wait  duplex.pml  -DWAITS_UNPUBLISHED
harmless xchan_waits_unsettled      xchan.pml   -DWAITS_UNSETTLED
END
    # Why the harmless ones are kept as they are: the first three only save needless doorbells and signals; the others
    # give the reader now what it would get at the end of the turn.
}

# one KIND NAME MODEL FLAG…: builds the checker, runs it, judges. A search cut short by its bounds proves nothing.
one() {
    kind=$1 name=$2 model=$3
    shift 3
    dir=$work/$name
    rm -rf "$dir"
    mkdir -p "$dir"
    cd "$dir" || exit
    safety=-DSAFETY claim=-DNOCLAIM optimise=-O1 run=-w22
    case $kind in
    caught) optimise=-O0 run=-w18 ;;
    ends | endless) safety= claim=-DNFAIR=3 run="-a -f" ;;
    esac
    [ "$form" = full ] && [ "$kind" = holds ] && optimise=-O2
    # shellcheck disable=SC2086
    spin "$@" -a "$models/$model" >spin.log 2>&1 && [ -f pan.c ] &&
        ${CC:-gcc} -w $optimise $safety $claim -DVECTORSZ=512 -DMEMLIM=8000 -o pan pan.c >cc.log 2>&1 &&
        ./pan $run -m100000 >pan.log 2>&1
    if ! grep -q 'errors:' pan.log 2>/dev/null; then
        found='no verdict'
    elif grep -q 'errors: 0' pan.log; then
        found=nothing
        grep -qE 'Search not completed|max search depth too small|out of memory' pan.log && found='no end'
    else
        found=$(sed -n 's/^pan:1: //p' pan.log | head -n 1)
    fi
    case "$kind:$found" in
    holds:nothing | ends:nothing | harmless:nothing) echo "ok verify_$name" ;;
    caught:assertion\ violated* | caught:invalid\ end\ state* | endless:acceptance\ cycle*)
        echo "ok verify_$name"
        ;;
    *) echo "not ok verify_$name $kind, but the checker found $found: $dir" ;;
    esac
    rm -f pan pan.?
}

work=$PWD/${B:-build}/verify
case "${B:-}" in /*) work=$B/verify ;; esac
if [ "$form" = --one ]; then
    shift
    form=${VERIFY_FORM:-short}
    one "$@"
    exit
fi
command -v spin >/dev/null || {
    echo "skip verify spin is not installed: sh tests/setup.sh verify"
    exit 0
}
mkdir -p "$work"
table | if [ "$form" = full ]; then sed 's/^full //'; else sed '/^full /d'; fi |
    VERIFY_FORM=$form xargs -P "$(nproc)" -I{} sh -c "sh '$models/run.sh' --one {}" >"$work/verdicts"
sh "$models/weak.sh" "$form" "$work" >>"$work/verdicts"
cat "$work/verdicts"
[ "$form" = full ] || exit 0
awk '/^ok/ { ok++ } /^not ok/ { bad++ } /^skip/ { skipped++ }
    END {
        printf "%d passed, %d failed%s\n", ok, bad, skipped ? ", " skipped " skipped" : ""
        exit bad > 0
    }' "$work/verdicts"
