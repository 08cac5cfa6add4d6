/* SPDX-License-Identifier: MIT
 *
 * What the two ends of a lane do, step by step: each line is one load, store, fence or locked instruction of
 * shard/lane_internal.h, shard/mesh.c or io/loop.c, whose function it names. Whoever includes this has included tso.pml
 * and defined the cells TAIL HEAD WAITING SLOT of a lane and MAP PARKED of a shard (a lane's bit in the map has the lane's number), CAPACITY, LANES, SHARDS, and
 * ring(cpu, shard); every process has `seen` and `step`, both 0 between the steps.
 *
 * The words under #ifdef are the mutants of run.sh.
 */
#define BIT(i) (1 << (i))
#define ALL_BITS 255
#ifndef SLOTS
#define SLOTS CAPACITY /* as the writer believes */
#endif

byte taken[LANES]; /* messages read: `next` of the reader */

/* Doorbells that parks may still cause. Those that a park has just begun, `parked` itself and all that took it stand for
 * are no more than OWED_MAX, so counting ends there. */
#define OWED_MAX (CPUS + 1)
byte owed[SHARDS];
inline count_doorbell(shard)
{
    assert(owed[shard] > 0);
    owed[shard]--
}

/* ring_bell, torci_io_wake: whoever takes `parked` away rings. */
inline wake(cpu, shard)
{
#ifdef PARKED_TAKEN_BY_STORE
    load(cpu, PARKED(shard), seen);
    store(cpu, PARKED(shard), 0);
#else
    exchange(cpu, PARKED(shard), 0, seen);
#endif
    if
    :: seen -> seen = 0; ring(cpu, shard)
    :: else
    fi
}

/* torci_mesh_mark, signal_peer: what was stored before is announced, unless SHARD is looking anyway. */
inline signal(cpu, shard, number)
{
#ifndef NO_SENDER_FENCE
    fence(cpu);
#endif
    load(cpu, MAP(shard), seen);
    if
    :: seen & BIT(number) -> seen = 0
    :: else ->
        seen = 0;
#if defined(PARKED_BEFORE_BIT)
        wake(cpu, shard);
        fetch_or(cpu, MAP(shard), BIT(number), seen);
        seen = 0
#elif defined(BIT_SET_BY_STORE)
        load(cpu, MAP(shard), seen);
        store(cpu, MAP(shard), seen | BIT(number));
        seen = 0;
        fence(cpu);
        wake(cpu, shard)
#elif defined(BIT_SET_UNFENCED)
        store(cpu, MAP(shard), BIT(number)); /* exact, as long as nobody else has a bit there */
        load(cpu, PARKED(shard), seen);
        if
        :: seen -> wake(cpu, shard)
        :: else
        fi
#else
        fetch_or(cpu, MAP(shard), BIT(number), seen);
        if
#ifndef RINGS_FOR_ANY_BIT
        :: seen & BIT(number) -> seen = 0 /* somebody was faster, and wakes */
#endif
        :: else -> seen = 0; wake(cpu, shard)
        fi
#endif
    fi
}

/* torci_lane_writer_publish and its signal. */
inline publish(cpu, shard, lane, tail_)
{
#ifdef BIT_BEFORE_TAIL
    signal(cpu, shard, lane);
    store(cpu, TAIL(lane), tail_);
    fence(cpu)
#else
    store(cpu, TAIL(lane), tail_);
    signal(cpu, shard, lane)
#endif
}

/* Message number N, counted from 0, has N + 1 in it. */
inline fill(cpu, lane, n)
{
#ifdef TAIL_BEFORE_SLOT
    store(cpu, TAIL(lane), n + 1);
#endif
    store(cpu, SLOT(lane, n), n + 1)
}

/* take_bit. In a map of one bit, a store would do but for the order. */
inline take_bit(cpu, shard, number)
{
#if defined(BIT_CLEARED_UNFENCED)
    store(cpu, MAP(shard), 0)
#elif defined(BIT_CLEARED_BY_STORE)
    load(cpu, MAP(shard), seen);
    store(cpu, MAP(shard), seen & ~BIT(number));
    seen = 0;
    fence(cpu)
#else
    fetch_and(cpu, MAP(shard), ALL_BITS - BIT(number))
#endif
}

/* unwatch: RESULT is whether the lane is empty and the sender knows that it has to signal. */
inline unwatch(cpu, shard, lane, result)
{
#ifdef NO_UNWATCH
    result = true;
#else
#ifdef TAIL_BEFORE_CLEAR
    load(cpu, TAIL(lane), seen);
    result = (seen == taken[lane]);
    take_bit(cpu, shard, lane);
#else
    take_bit(cpu, shard, lane);
    load(cpu, TAIL(lane), seen);
    result = (seen == taken[lane]);
#endif
    seen = 0;
    if
    :: result
#ifdef KEEPS_BIT_OFF
    :: else
#else
    :: else -> fetch_or(cpu, MAP(shard), BIT(lane), seen); seen = 0
#endif
    fi
#endif
}

/* take_lane: all that is there, then the slots are given back. */
inline take_lane(cpu, lane)
{
    load(cpu, TAIL(lane), limit);
    if
    :: limit != taken[lane] ->
#ifdef HEAD_BEFORE_SLOT
        store(cpu, HEAD(lane), limit);
#endif
        do
        :: limit != taken[lane] ->
            load(cpu, SLOT(lane, taken[lane]), seen);
            atomic {
                assert(seen == taken[lane] + 1); /* in order, once, whole, not overwritten */
                taken[lane]++;
                seen = 0
            }
        :: else -> break
        od;
#ifndef HEAD_BEFORE_SLOT
        store(cpu, HEAD(lane), limit);
#endif
        limit = 0;
        tell_of_room(cpu, lane)
    :: else -> limit = 0
    fi
}

/* park: "I am going to sleep", then a last look at the map, which is left in `seen`. */
inline park_begin(cpu, shard)
{
    owed[shard] = (owed[shard] < OWED_MAX -> owed[shard] + 1 : OWED_MAX);
#if defined(MAP_BEFORE_PARKED)
    load(cpu, MAP(shard), seen);
    if
    :: seen == 0 -> exchange(cpu, PARKED(shard), 1, seen); seen = 0
    :: else
    fi
#else
#ifdef PARKED_SET_UNFENCED
    store(cpu, PARKED(shard), 1);
#else
    exchange(cpu, PARKED(shard), 1, seen);
#endif
#ifdef NO_LAST_LOOK
    seen = 0
#else
    load(cpu, MAP(shard), seen)
#endif
#endif
}

inline park_end(cpu, shard)
{
#ifndef PARKED_STAYS
    store(cpu, PARKED(shard), 0);
#endif
    seen = 0
}
