/* SPDX-License-Identifier: MIT
 *
 * One receiving shard and all that can wake it: SENDERS shards that send MESSAGES each through lanes of CAPACITY slots,
 * in batches of any size up to BATCH; FOREIGN threads that push a letter each on the inbox; COMPLETIONS of the kernel at
 * any moment.
 *
 * What must hold: the receiver gets everything, so it never sleeps for good while something is published (an invalid
 * end state); each message once, in order, no slot written again before it was read; each letter once; one
 * doorbell for a park at most (assertions). With weak fairness it ends (the claim at the bottom).
 */
#ifndef SENDERS
#define SENDERS 2
#endif
#ifndef FOREIGN
#define FOREIGN 0
#endif
#ifndef COMPLETIONS
#define COMPLETIONS 0
#endif
#ifndef MESSAGES
#define MESSAGES 2
#endif
#ifndef CAPACITY
#define CAPACITY 1
#endif
#ifndef BATCH
#define BATCH CAPACITY
#endif

#define LANES SENDERS
#define SHARDS 1
#define MAP(shard) 0
#define PARKED(shard) 1
#define INBOX 2
#define TAIL(lane) (3 + (lane))
#define HEAD(lane) (3 + LANES + (lane))
#define SLOT(lane, i) (3 + 2 * LANES + (lane) * CAPACITY + (i) % CAPACITY)
#define CELLS (3 + 2 * LANES + LANES * CAPACITY)
#define INBOX_BIT SENDERS
/* The receiver runs on CPU 0. */
#define CPU_OF_SENDER(i) (1 + (i))
#define CPU_OF_FOREIGN(i) (1 + SENDERS + (i))
#define CPUS (1 + SENDERS + FOREIGN)
#include "tso.pml"

bool completion; /* one or more lie in the receiver's completion queue */
bool asleep, finished;
byte letters; /* taken from the inbox: a set */

/* A completion stays until it is reaped, so a doorbell rung before the sleep ends it at once. The kernel takes locks to
 * post it, which no store of the ringer passes. */
inline ring(cpu, shard)
{
#ifdef NO_DOORBELL
    skip
#else
    atomic {
        drained(cpu);
        count_doorbell(shard);
#ifdef DOORBELL_WAKES_SLEEPERS_ONLY
        completion = completion || asleep
#else
        completion = true
#endif
    }
#endif
}

/* Senders that look until there is room; duplex.pml has those that sleep. */
#define tell_of_room(cpu, lane) skip

#include "lane.pml"

proctype Sender(byte lane)
{
    byte next = 0, published = 0, seen = 0, step = 0;
    do
    :: next == MESSAGES -> break
    :: next < MESSAGES ->
        next - mem[HEAD(lane)] < SLOTS;
        fill(CPU_OF_SENDER(lane), lane, next);
        next++;
        if
        :: next < MESSAGES && next - published < BATCH
        :: published = next;
            publish(CPU_OF_SENDER(lane), 0, lane, published)
        fi
    od
}

/* torci_mesh_push. Which letters lie on the stack is all that matters, so it is a set. */
inline push(cpu, letter)
{
#ifdef PUSH_BY_STORE
    load(cpu, INBOX, seen);
    store(cpu, INBOX, seen | BIT(letter));
    fence(cpu);
#else
    fetch_or(cpu, INBOX, BIT(letter), seen);
#endif
    seen = 0
}

proctype Foreign(byte letter)
{
    byte seen = 0, step = 0;
#ifdef WAKE_BEFORE_PUSH
    signal(CPU_OF_FOREIGN(letter), 0, INBOX_BIT);
    push(CPU_OF_FOREIGN(letter), letter)
#else
    push(CPU_OF_FOREIGN(letter), letter);
    signal(CPU_OF_FOREIGN(letter), 0, INBOX_BIT)
#endif
}

proctype Kernel()
{
    byte left = COMPLETIONS;
    do
    :: left -> atomic { completion = true; left-- }
    :: else -> break
    od
}

#if SENDERS == 1
#define ALL_TAKEN (taken[0] == MESSAGES && letters == BIT(FOREIGN) - 1)
#else
#define ALL_TAKEN \
    (taken[0] == MESSAGES && taken[1] == MESSAGES && letters == BIT(FOREIGN) - 1)
#endif

inline take_inbox()
{
#ifndef INBOX_BEFORE_BIT
    take_bit(0, 0, INBOX_BIT);
#endif
#ifdef INBOX_TAKEN_BY_STORE
    load(0, INBOX, seen);
    store(0, INBOX, 0);
    fence(0);
#else
    exchange(0, INBOX, 0, seen);
#endif
    atomic {
        assert((letters & seen) == 0);
        letters = letters | seen;
        seen = 0
    }
#ifdef INBOX_BEFORE_BIT
    ;
    take_bit(0, 0, INBOX_BIT)
#endif
}

/* mesh_turn */
inline turn()
{
    load(0, MAP(0), map);
    if
    :: map & BIT(0) -> take_lane(0, 0)
    :: else
    fi;
#if SENDERS > 1
    if
    :: map & BIT(1) -> take_lane(0, 1)
    :: else
    fi;
#endif
#if FOREIGN > 0
    if
    :: map & BIT(INBOX_BIT) -> take_inbox()
    :: else
    fi;
#endif
    map = 0
}

/* mesh_may_sleep: whether it may is left in `may_sleep`. */
inline stop_watching()
{
    load(0, MAP(0), map);
    may_sleep = true;
    if
    :: map & BIT(0) -> unwatch(0, 0, 0, may_sleep)
    :: else
    fi;
#if SENDERS > 1
    if
    :: may_sleep && (map & BIT(1)) -> unwatch(0, 0, 1, may_sleep)
    :: else
    fi;
#endif
#if FOREIGN > 0
    if
    :: map & BIT(INBOX_BIT) -> may_sleep = false
    :: else
    fi;
#endif
    map = 0
}

inline park()
{
    stop_watching();
    if
    :: may_sleep ->
        park_begin(0, 0);
        if
        :: seen
        :: else ->
#ifdef SLEEP_FORGETS_COMPLETIONS
            completion = false;
#endif
            asleep = true;
            atomic { completion; asleep = false }
        fi;
        park_end(0, 0)
    :: else
    fi;
    may_sleep = false
}

proctype Receiver()
{
    byte map = 0, limit = 0, seen = 0, step = 0;
    bool may_sleep = false;
    do
    :: atomic { ALL_TAKEN -> finished = true; break }
    :: else ->
        completion = false; /* reaped; a doorbell says nothing itself */
        turn();
        if
        :: !ALL_TAKEN -> park()
#ifdef LINGERS
        :: true /* busy, or watching for a while */
#endif
        :: ALL_TAKEN
        fi
    od
}

init {
    atomic {
        run Receiver();
        run Sender(0);
#if SENDERS > 1
        run Sender(1);
#endif
#if FOREIGN > 0
        run Foreign(0);
#endif
#if FOREIGN > 1
        run Foreign(1);
#endif
#if COMPLETIONS > 0
        run Kernel()
#endif
    }
}

ltl ends { <> finished }
