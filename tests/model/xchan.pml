/* SPDX-License-Identifier: MIT
 *
 * A channel between tasks of two shards (shard/xchan.c): the sender's on CPU 0, the receiver's on CPU 1. Values are
 * written into a window and published when it is used up, without a fence, or at the end of the turn, behind one; room
 * is given back in the same way. Who waits asks to be told, by a note. Notes arrive some time later and end a sleep: that
 * is the mesh's business, which wake.pml and duplex.pml check.
 *
 * What must hold: everything is received, nobody waits for good (an invalid end state); each value once, in order, none
 * overwritten before it was read (assertions). The words under #ifdef are the mutants of run.sh.
 */
#ifndef VALUES
#define VALUES 4
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif

#define CPUS 2
#define SENDER 0
#define RECEIVER 1
#define OTHER(side) (1 - (side))
#define TAIL 0
#define HEAD 1
#define WAITS(side) (2 + (side))
#define SLOT(i) (4 + (i) % CAPACITY)
#define CELLS (4 + CAPACITY)
#ifndef DEPTH
#define DEPTH 5 /* two slots, tail or head, waits, and one more */
#endif
#include "tso.pml"

bool note[2]; /* for the task of SENDER or RECEIVER; a second one adds nothing */
byte received;

/* wake_other */
inline wake_other(me)
{
    load(me, WAITS(OTHER(me)), seen);
    if
    :: seen ->
        exchange(me, WAITS(OTHER(me)), 0, seen);
        if
        :: seen -> note[OTHER(me)] = true
        :: else
        fi
    :: else
    fi;
    seen = 0
}

/* can_go: the answer goes to `can`. */
inline look_at_other(me)
{
    if
    :: me == SENDER -> load(me, HEAD, seen); can = (next - seen < CAPACITY)
    :: else -> load(me, TAIL, seen); can = (seen != next)
    fi;
    seen = 0
}

/* arm: asks to be told; `waits` is whether there is a reason to wait. */
inline arm(me)
{
    store(me, WAITS(me), 1);
#ifndef NO_ARM_FENCE
    fence(me);
#endif
#ifdef NO_LOOK_AFTER_ARM
    waits = true;
#else
    look_at_other(me);
    waits = !can;
    can = false;
#endif
    if
    :: waits
    :: else -> store(me, WAITS(me), 0)
    fi
}

/* publish, release */
inline move_end(me)
{
    if
    :: shown != next ->
        shown = next;
        if
        :: me == SENDER -> store(me, TAIL, shown)
        :: else -> store(me, HEAD, shown)
        fi
    :: else
    fi
}

/* settle */
inline settle(me)
{
    move_end(me);
#ifndef NO_SETTLE_FENCE
    fence(me);
#endif
    wake_other(me)
}

/* torci_xchan_room and torci_xchan_look: what moved is shown at once, but without a fence. */
inline open_window(me)
{
    move_end(me);
    wake_other(me);
    look_at_other(me);
    if
    :: can -> can = false; window = true
    :: else ->
#ifndef WAITS_UNSETTLED
        settle(me);
#endif
        arm(me)
    fi
}

inline move_one(me)
{
    if
    :: me == SENDER -> store(me, SLOT(next), next + 1); next++
    :: else ->
#ifdef HEAD_BEFORE_SLOT
        store(me, HEAD, next + 1);
#endif
        load(me, SLOT(next), seen);
        atomic {
            assert(seen == next + 1);
            next++;
            received++;
            seen = 0
        }
    fi
}

proctype Shard(byte me)
{
    byte next = 0, shown = 0, seen = 0, step = 0;
    bool can = false, window = false, waits = false, used = false;
    do
    :: received == VALUES -> break
    :: received < VALUES ->
        /* notes: look_after_waiter */
        if
        :: note[me] ->
            note[me] = false;
            if
#ifdef NOTE_WITHOUT_REARMING
            :: waits -> look_at_other(me); waits = !can; can = false
#else
            :: waits -> arm(me)
#endif
            :: else
            fi
        :: else
        fi;
        /* the task, as far as it comes in this turn */
        do
        :: !waits && next < VALUES -> open_window(me);
            do
            :: window ->
                move_one(me);
                look_at_other(me);
                if
                :: can && next < VALUES -> can = false /* the window may be larger */
                :: true -> can = false; window = false; used = true
                fi
            :: else -> break
            od
        :: true -> break
        od;
        /* the end of the turn */
#ifndef NO_CHORE
        if
        :: used -> used = false; settle(me)
        :: else
        fi;
#endif
        if
        :: waits || next == VALUES -> (note[me] || received == VALUES)
        :: else
        fi
    od
}

init {
    atomic {
        run Shard(SENDER);
        run Shard(RECEIVER)
    }
}
