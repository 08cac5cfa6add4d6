/* SPDX-License-Identifier: MIT
 *
 * How a set of two shards ends (shard/run.c): counters that go to nought, nudges, and the barrier before rings are
 * closed. The wake protocol is taken for granted here (wake.pml, duplex.pml), and with it sequential consistency: whoever
 * has something in a lane or is nudged does not sleep. Whether a doorbell is rung for it is left open, so that it may be
 * rung at the worst moment; a queued one goes out with the ringer's next enter, however late.
 *
 * Each main makes CALLS calls, and sends FREES control messages that nobody answers, through a control lane of one slot
 * with a chain behind it. A shutdown may be asked for at any moment.
 *
 * What must hold: everybody ends (an invalid end state otherwise); no doorbell reaches a ring that is closed; nobody's
 * call is without an answer when the rings are closed, and nothing but such control messages is left (assertions).
 */
#ifndef CALLS
#define CALLS 1
#endif
#ifndef FREES
#define FREES 0
#endif

#define SHARDS 2
#define PEER (1 - me)

mtype = { CALL, ANSWER, REFUSAL, FREE };
chan work[SHARDS] = [1] of { mtype };    /* that lead to shard i */
chan control[SHARDS] = [1] of { mtype };
byte mains_left = SHARDS, busy_left = SHARDS, arrived;
bool shutting_down;
bool look[SHARDS]; /* TORCI_BIT_LOOK */
bool closed[SHARDS];
bool queued[SHARDS]; /* a doorbell in the submission queue of shard i */
chan chain[SHARDS] = [FREES + 2] of { mtype }; /* control messages of shard i that found no room */

/* Something has been published for the other shard. */
inline may_ring()
{
    if
    :: assert(!closed[PEER]) /* by eventfd, at once */
    :: queued[me] = true
    :: skip /* it does not sleep */
    fi
}

inline enter()
{
    if
    :: queued[me] -> assert(!closed[PEER]); queued[me] = false
    :: else
    fi
}

inline nudge_all()
{
    look[0] = true;
    look[1] = true;
    assert(!closed[PEER])
}

inline one_less(count)
{
    count--;
#ifndef NO_NUDGE
    if
    :: count == 0 -> nudge_all()
    :: else
    fi
#endif
}

inline send_control(kind)
{
    if
    :: empty(chain[me]) && nfull(control[PEER]) -> control[PEER]!kind
    :: nempty(chain[me]) || full(control[PEER]) -> chain[me]!kind
    fi;
    may_ring()
}

/* main_runs, waits to be told that it may stop, joins what it serves, waits for the others to be quiet, is done */
mtype = { MAIN, LINGER, JOIN, FLUSH, QUIET, DONE };

proctype Shard(byte me)
{
    byte calls = CALLS, frees = FREES;
    bool waits = false, serves = false, told = false, check = false, stopping = false, is_flushed = false;
    mtype stage = MAIN, what = FREE;
    do
    /* the loop: takes what has come */
    :: stage != DONE && nempty(work[me]) && !serves -> atomic {
        work[me]?what;
        if
        :: stopping ->
#ifdef REFUSED_IN_SILENCE
            skip
#else
            send_control(REFUSAL)
#endif
        :: else -> serves = true
        fi;
        what = FREE
    }
    :: serves -> atomic { serves = false; send_control(ANSWER) }
    :: stage != DONE && nempty(control[me]) -> atomic {
        control[me]?what;
        if
        :: what == ANSWER || what == REFUSAL -> assert(waits); waits = false
        :: else
        fi;
        what = FREE
    }
    :: nempty(chain[me]) && nfull(control[PEER]) -> atomic { /* room_came */
        chain[me]?what;
        control[PEER]!what;
        what = FREE;
#ifndef FLUSHED_UNNOTICED
        check = true;
#endif
        may_ring()
    }
    :: look[me] -> atomic {
        look[me] = false;
        told = told || shutting_down;
        check = true
    }
    :: queued[me] -> enter()
    /* the first task */
    :: stage == MAIN && !waits && calls && nfull(work[PEER]) -> atomic {
        calls--;
        work[PEER]!CALL;
        waits = true;
        may_ring()
    }
    :: stage == MAIN && !waits && frees -> atomic { frees--; send_control(FREE) }
    :: stage == MAIN && !waits && (told || (calls == 0 && frees == 0)) -> atomic {
        calls = 0;
        frees = 0;
        stage = LINGER;
        check = true;
        one_less(mains_left)
    }
    :: stage == LINGER && check -> atomic {
        check = false;
        if
        :: mains_left == 0 || told -> stage = JOIN; stopping = true
        :: else
        fi
    }
    :: stage == JOIN && !serves -> atomic { stage = FLUSH; check = true }
    :: stage == FLUSH && check -> atomic {
        check = false;
#ifdef FLUSHED_WHEN_QUIET
        is_flushed = true;
#else
        is_flushed = empty(chain[me]);
#endif
        if
        :: is_flushed -> is_flushed = false; stage = QUIET; check = true; one_less(busy_left)
        :: else
        fi
    }
    :: stage == QUIET && check -> atomic {
        check = false;
        is_flushed = empty(chain[me]);
        if
#ifdef ENDS_ALONE
        :: is_flushed -> stage = DONE
#else
        :: busy_left == 0 -> stage = DONE
#endif
        :: else
        fi;
        is_flushed = false
    }
    :: stage == DONE -> break
    od;
#ifndef CLOSED_WITHOUT_DRAIN
    enter();
#endif
    arrived++;
#ifndef NO_BARRIER
    arrived == SHARDS;
#endif
    closed[me] = true;
    enter();
    assert(!waits && !serves);
    assert(empty(work[me]) && empty(chain[me]));
    do
    :: nempty(control[me]) -> control[me]?what; assert(what == FREE) /* its memory goes anyway */
    :: empty(control[me]) -> break
    od
}

proctype Signal()
{
    byte me = 0;
    if
    :: atomic { mains_left > 0 -> shutting_down = true; nudge_all() }
    :: skip
    fi
}

init {
    atomic {
        run Shard(0);
        run Shard(1);
        run Signal()
    }
}
