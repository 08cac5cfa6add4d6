/* SPDX-License-Identifier: MIT
 *
 * The pseudo-random numbers of scheduling jitter, workloads, fault injection and tests: xoshiro256++, small, fast and
 * the same on every machine, so that one seed replays a run. Not for keys or tokens: a few outputs reveal all others.
 * No global state: each owner seeds its own, and nothing here is thread-safe.
 *
 * Generator: D. Blackman, S. Vigna, "Scrambled Linear Pseudorandom Number Generators", ACM TOMS 47(4), 2021.
 * Seeding: splitmix64, after G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
 * 2014.
 * Bounded draw: D. Lemire, "Fast Random Integer Generation in an Interval", ACM TOMACS 29(1), 2019.
 */
#ifndef TORC_CORE_RANDOM_INTERNAL_H
#define TORC_CORE_RANDOM_INTERNAL_H

#include "core/base.h"

TORC_BEGIN_DECLS

/* Never all zero: that state yields zeros for ever. Seeding guarantees it. */
struct torci_random {
    uint64_t state[4];
};

/* One step of splitmix64: advances *STATE and returns 64 mixed bits. Any state is good, so it also serves to derive
 * independent seeds (one a shard, one a subsystem) from a single one. */
static inline uint64_t torci_random_split(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* Every seed is good, zero too: splitmix64 visits each 64-bit value once a period, so four outputs in a row cannot all
 * be zero. */
static inline void torci_random_seed(struct torci_random *random, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        random->state[i] = torci_random_split(&seed);
}

static inline uint64_t torci_random_rotate_left(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

/* 64 random bits. */
static inline uint64_t torci_random_next(struct torci_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = torci_random_rotate_left(s[0] + s[3], 23) + s[0];
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = torci_random_rotate_left(s[3], 45);
    return result;
}

/* A number in [0, BOUND), each equally likely. BOUND is at least 1.
 *
 * The high half of a 64 x 64 bit product is the draw. 2^64 mod BOUND of the low halves belong to numbers that would
 * come up once too often and are drawn again; the division that finds this remainder is needed only when the low half
 * is below BOUND, which a small bound never sees. */
static inline uint64_t torci_random_below(struct torci_random *random, uint64_t bound)
{
    TORC_ASSERT(bound > 0);
    __extension__ unsigned __int128 product = torci_random_next(random);
    product *= bound;
    if (TORC_UNLIKELY((uint64_t)product < bound)) {
        uint64_t surplus = (0 - bound) % bound;
        while ((uint64_t)product < surplus) {
            product = torci_random_next(random);
            product *= bound;
        }
    }
    return (uint64_t)(product >> 64);
}

TORC_END_DECLS

#endif
