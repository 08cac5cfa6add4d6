/* SPDX-License-Identifier: MIT
 *
 * The generator against published outputs, the bounded draw against exact big-integer rejection (both computed outside
 * of this code), and a coarse look at uniformity: fixed seeds, so that a pass stays a pass.
 */
#include "core/random_internal.h"
#include "tests/harness.h"

#include <signal.h>

TEST(random, split_yields_the_published_outputs)
{
    static const uint64_t wanted[] = {
        UINT64_C(6457827717110365317),  UINT64_C(3203168211198807973),
        UINT64_C(9817491932198370423),  UINT64_C(4593380528125082431),
        UINT64_C(16408922859458223821),
    };
    uint64_t state = 1234567;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(wanted); i++)
        CHECK_EQ(torci_random_split(&state), wanted[i]);
}

TEST(random, next_yields_the_published_outputs)
{
    static const uint64_t wanted[] = {
        UINT64_C(41943041),
        UINT64_C(58720359),
        UINT64_C(3588806011781223),
        UINT64_C(3591011842654386),
        UINT64_C(9228616714210784205),
        UINT64_C(9973669472204895162),
        UINT64_C(14011001112246962877),
        UINT64_C(12406186145184390807),
        UINT64_C(15849039046786891736),
        UINT64_C(10450023813501588000),
    };
    struct torci_random random = {{1, 2, 3, 4}};
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(wanted); i++)
        CHECK_EQ(torci_random_next(&random), wanted[i]);
}

TEST(random, seeds_give_fixed_sequences)
{
    static const struct {
        uint64_t seed, wanted[3];
    } cases[] = {
        {0,
         {UINT64_C(0x53175d61490b23df), UINT64_C(0x61da6f3dc380d507),
          UINT64_C(0x5c0fdf91ec9a7bfc)}},
        {42,
         {UINT64_C(0xd0764d4f4476689f), UINT64_C(0x519e4174576f3791),
          UINT64_C(0xfbe07cfb0c24ed8c)}},
        {UINT64_MAX,
         {UINT64_C(0x56ccf8ce948e27b2), UINT64_C(0xe68588432e5a5b90),
          UINT64_C(0xe3e9b5a48119ca8b)}},
    };
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(cases); i++) {
        struct torci_random random;
        torci_random_seed(&random, cases[i].seed);
        for (size_t k = 0; k < 3; k++)
            CHECK_EQ(torci_random_next(&random), cases[i].wanted[k]);
    }
}

TEST(random, below_yields_what_exact_rejection_yields)
{
    static const struct {
        uint64_t bound, wanted;
    } cases[] = {
        {1, 0},
        {2, 0},
        {6, 5},
        {10, 7},
        {1000, 793},
        {UINT64_C(1000000000), 588098466},
        {UINT64_C(1000000000000000000), UINT64_C(125352442062742171)},
        {UINT64_C(3) << 62, UINT64_C(8371904207726483572)},
        {(UINT64_C(1) << 63) + 1, UINT64_C(1915852752325109347)},
        {(UINT64_C(1) << 63) + 1, UINT64_C(8608607705564336234)},
        {(UINT64_C(1) << 63) + 1, UINT64_C(5160840725889760417)},
        {UINT64_MAX, UINT64_C(15680282660304795148)},
    };
    struct torci_random random;
    torci_random_seed(&random, 42);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(cases); i++)
        CHECK_EQ(torci_random_below(&random, cases[i].bound), cases[i].wanted);
}

/* With bound 3 * 2^62 a draw without rejection hits every third value twice as often: value mod 3 shows it. */
TEST(random, below_is_unbiased_where_a_plain_product_is_not)
{
    enum { DRAWS = 300000 };
    struct torci_random random;
    unsigned seen[3] = {0};
    torci_random_seed(&random, 7);
    for (unsigned i = 0; i < DRAWS; i++)
        seen[torci_random_below(&random, UINT64_C(3) << 62) % 3]++;
    /* The standard deviation of each is 258. */
    for (unsigned i = 0; i < 3; i++)
        CHECK(seen[i] > DRAWS / 3 - 1300 && seen[i] < DRAWS / 3 + 1300);
}

TEST(random, below_is_uniform_for_small_bounds)
{
    static const uint64_t seeds[] = {0, 1, 2, 1234567, UINT64_MAX};
    for (size_t s = 0; s < TORC_ARRAY_LENGTH(seeds); s++) {
        struct torci_random random;
        torci_random_seed(&random, seeds[s]);
        for (uint64_t bound = 2; bound <= 100; bound += 7) {
            enum { DRAWS_EACH = 1000 };
            uint64_t seen[100] = {0};
            for (uint64_t i = 0; i < bound * DRAWS_EACH; i++) {
                uint64_t drawn = torci_random_below(&random, bound);
                CHECK(drawn < bound);
                seen[drawn]++;
            }
            for (uint64_t i = 0; i < bound; i++)
                CHECK(seen[i] > DRAWS_EACH - 160 && seen[i] < DRAWS_EACH + 160);
        }
    }
}

TEST(random, every_bit_is_set_half_of_the_time)
{
    enum { DRAWS = 100000 };
    struct torci_random random;
    unsigned set[64] = {0};
    torci_random_seed(&random, 3);
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t bits = torci_random_next(&random);
        for (unsigned bit = 0; bit < 64; bit++)
            set[bit] += (bits >> bit) & 1;
    }
    for (unsigned bit = 0; bit < 64; bit++)
        CHECK(set[bit] > DRAWS / 2 - 800 && set[bit] < DRAWS / 2 + 800);
}

TEST_DYING(random, below_zero_is_refused, SIGABRT)
{
    struct torci_random random;
    torci_random_seed(&random, 1);
    (void)torci_random_below(&random, 0);
}
