/* SPDX-License-Identifier: MIT
 *
 * Two shards that send to each other and sleep for want of room, too. Shard i runs on CPU i and writes lane i. Its task
 * sends MESSAGES; when the lane is full it asks to be told of room and waits, and its shard goes on, to sleep if nothing
 * else is to do. Doorbells are MSG_RING entries of the ringer's own ring: they go out with its next enter.
 *
 * What must hold: everything arrives, so no shard sleeps for good with work for it, no task waits for good (an invalid
 * end state); the assertions of lane.pml; an executor that ends leaves no doorbell in its ring.
 */
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef ANSWERS /* what shard 1 sends */
#define ANSWERS MESSAGES
#endif
#ifndef CAPACITY
#define CAPACITY 1
#endif

#define SHARDS 2
#define LANES 2
#define CPUS 2
#define PEER(shard) (1 - (shard))
#define MAP(shard) (shard)
#define PARKED(shard) (2 + (shard))
#define TAIL(lane) (4 + (lane))
#define HEAD(lane) (6 + (lane))
#define WAITING(lane) (8 + (lane))
#define SLOT(lane, i) (10 + (lane) * CAPACITY + (i) % CAPACITY)
#define CELLS (10 + 2 * CAPACITY)
#define ROOM 2 /* the bit for it; a lane's bit has its number */
#include "tso.pml"

bool completion[SHARDS]; /* something lies in the completion queue */
byte finished;
bool queued[SHARDS];     /* a doorbell for the peer is in the submission queue */
#define WANTED(lane) (lane == 0 -> MESSAGES : ANSWERS)
#define DONE (taken[0] == MESSAGES && taken[1] == ANSWERS)

/* A second one while the first is under way goes by eventfd: a system call, at once. */
inline ring(cpu, shard)
{
    atomic {
        drained(cpu);
        count_doorbell(shard);
        if
        :: queued[cpu] -> completion[shard] = true
        :: else -> queued[cpu] = true
        fi
    }
}

/* tell_of_room */
inline tell_of_room(cpu, lane)
{
#ifndef NO_ROOM_FENCE
    fence(cpu);
#endif
    load(cpu, WAITING(lane), seen);
    if
    :: seen ->
#ifdef WAITING_STAYS
        seen = 1;
#else
        exchange(cpu, WAITING(lane), 0, seen);
#endif
        if
        :: seen ->
            seen = 0;
#ifndef NO_WORD_OF_ROOM
            signal(cpu, lane, ROOM) /* lane i is shard i's */
#endif
        :: else
        fi
    :: else
    fi
}
#include "lane.pml"

/* find_slot: `no_slot` is what it finds. */
inline find_slot(me)
{
    load(me, HEAD(me), seen);
    no_slot = (next - seen == CAPACITY);
    seen = 0;
#ifdef WAITS_WITHOUT_ASKING
    skip
#else
    if
    :: no_slot ->
        store(me, WAITING(me), 1);
#ifndef NO_WAITING_FENCE
        fence(me);
#endif
#ifndef NO_SECOND_LOOK_FOR_ROOM
        load(me, HEAD(me), seen);
        no_slot = (next - seen == CAPACITY);
        seen = 0;
#endif
#ifdef WAITING_TAKEN_BACK
        if
        :: no_slot
        :: else -> store(me, WAITING(me), 0)
        fi
#endif
    :: else
    fi
#endif
}

/* The sending task, as far as it comes, or less. */
inline run_task(me)
{
    do
    :: next == WANTED(me) || waits || next != published -> break
    :: next != WANTED(me) && !waits ->
        find_slot(me);
        if
        :: no_slot ->
            no_slot = false;
#ifndef WAITS_UNPUBLISHED
            if
            :: published != next -> published = next; publish(me, PEER(me), me, published)
            :: else
            fi;
#endif
            waits = true
        :: else -> fill(me, me, next); next++
        fi
    od;
    if
    :: waits -> find_slot(me); no_slot = false /* another task tries, too, and does without */
    :: true
    fi
}

inline turn(me)
{
    load(me, MAP(me), map);
    if
    :: map & BIT(PEER(me)) -> take_lane(me, PEER(me))
    :: else
    fi;
    if
    :: map & BIT(ROOM) ->
#ifdef ROOM_BIT_AFTER_LOOK
        waits = false;
        run_task(me);
        take_bit(me, me, ROOM)
#else
        take_bit(me, me, ROOM);
        waits = false
#endif
    :: else
    fi;
    map = 0;
#ifndef SLEEPS_UNPUBLISHED
    if
    :: published != next -> published = next; publish(me, PEER(me), me, published)
    :: else
    fi
#endif
}

/* mesh_may_sleep */
inline stop_watching(me)
{
    load(me, MAP(me), map);
    if
    :: map & BIT(ROOM) -> may_sleep = false
    :: else ->
        may_sleep = true;
        if
        :: map & BIT(PEER(me)) -> unwatch(me, me, PEER(me), may_sleep)
        :: else
        fi
    fi;
    map = 0
}

/* A system call: what was stored is visible, what is queued goes out. */
inline enter(me)
{
    atomic {
        drained(me);
        completion[PEER(me)] = completion[PEER(me)] || queued[me];
        queued[me] = false
    }
}

inline park(me)
{
    stop_watching(me);
    if
    :: may_sleep ->
        park_begin(me, me);
        if
        :: seen -> enter(me)
        :: else ->
#ifndef SLEEPS_UNSUBMITTED
            enter(me);
#endif
            (completion[me] || DONE)
        fi;
        park_end(me, me)
    :: else -> enter(me)
    fi;
    may_sleep = false
}

/* The end: the peer may still wait for a doorbell that we have queued; torci_io_drain sees to it. */
proctype Shard(byte me)
{
    byte next = 0, published = 0, map = 0, limit = 0, seen = 0, step = 0;
    bool waits = false, no_slot = false, may_sleep = false;
    do
    :: DONE -> break
    :: else ->
        completion[me] = false;
        run_task(me);
        turn(me);
        if
        :: waits || next == WANTED(me) -> park(me)
        :: else -> enter(me) /* the task goes on */
        fi
    od;
    enter(me);
    finished = finished + 1
}


init {
    atomic {
        run Shard(0);
        run Shard(1)
    }
}

ltl ends { <> (finished == 2) }
