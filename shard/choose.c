/* SPDX-License-Identifier: MIT
 *
 * The policies. Machines have at most thousands of CPUs and this runs once, so the plain way is taken everywhere: look at
 * all, take the best.
 */
#include "shard/choose_internal.h"

/* Below zero: A goes first. */
static int by(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

/* Of one core each before two of a core: two threads of a core do about a third more than one. */
static int by_worth(const struct torci_candidate *a, const struct torci_candidate *b)
{
    int order = by(a->rank, b->rank);
    return order ? order : by(b->at->kind, a->at->kind);
}

static int by_place(const struct torci_candidate *a, const struct torci_candidate *b)
{
    int order = by(a->tier, b->tier);
    return order ? order : by(a->position, b->position);
}

static int compare(const struct torci_candidate *a, const struct torci_candidate *b,
                   enum torc_placement policy, const struct torci_tally *tally)
{
    if (policy == TORC_PLACE_NEAR && a->tier != b->tier)
        return by(a->tier, b->tier);
    int order = by_worth(a, b);
    if (!order && policy == TORC_PLACE_SPREAD) {
        order = by(tally->of_package[a->at->package], tally->of_package[b->at->package]);
        order = order ? order : by(tally->of_node[a->at->node], tally->of_node[b->at->node]);
        order = order ? order : by(tally->of_l3[a->at->l3], tally->of_l3[b->at->l3]);
    }
    return order ? order : by_place(a, b);
}

static void take_best(struct torci_candidate *candidates, uint32_t n, enum torc_placement policy,
                      const struct torci_tally *tally)
{
    struct torci_candidate *best = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct torci_candidate *one = &candidates[i];
        if (!one->is_taken && (!best || compare(one, best, policy, tally) < 0))
            best = one;
    }
    TORC_ASSERT(best);
    best->is_taken = true;
    if (policy == TORC_PLACE_SPREAD) {
        tally->of_package[best->at->package]++;
        tally->of_node[best->at->node]++;
        tally->of_l3[best->at->l3]++;
    }
}

/* ---- pack ---- */

/* Where the group goes on: package, then node, then L3. */
enum { LEVEL_MACHINE, LEVEL_PACKAGE, LEVEL_NODE, LEVEL_L3 };

static bool is_together(const struct torc_topology_cpu *a, const struct torc_topology_cpu *b,
                        int level)
{
    return (level < LEVEL_PACKAGE || a->package == b->package) &&
           (level < LEVEL_NODE || a->node == b->node) && (level < LEVEL_L3 || a->l3 == b->l3);
}

struct group {
    const struct torci_candidate *first;
    uint32_t size, kind, tier, position;
};

/* The group that FIRST belongs to. Groups are taken wholly, so none of it is taken as FIRST is not. */
static struct group group_of(const struct torci_candidate *candidates, uint32_t n,
                             const struct torci_candidate *first, int level)
{
    struct group group = {.first = first, .tier = UINT32_MAX, .position = UINT32_MAX};
    for (uint32_t i = 0; i < n; i++) {
        const struct torci_candidate *one = &candidates[i];
        if (!is_together(one->at, first->at, level))
            continue;
        group.size++;
        group.kind = one->at->kind > group.kind ? one->at->kind : group.kind;
        group.tier = one->tier < group.tier ? one->tier : group.tier;
        group.position = one->position < group.position ? one->position : group.position;
    }
    return group;
}

/* Whether A is to be begun before B. */
static bool goes_first(const struct group *a, const struct group *b, uint32_t wanted)
{
    bool a_suffices = a->size >= wanted, b_suffices = b->size >= wanted;
    if (a_suffices != b_suffices)
        return a_suffices;
    if (!a_suffices && a->size != b->size)
        return a->size > b->size;
    int order = by(b->kind, a->kind);
    order = order ? order : by(a->tier, b->tier);
    order = order ? order : by(a->size, b->size);
    return (order ? order : by(a->position, b->position)) < 0;
}

/* The group at LEVEL, inside the one at the level above that OUTER belongs to, from which to take next. */
static struct group choose_group(const struct torci_candidate *candidates, uint32_t n,
                                 const struct torci_candidate *outer, int level, uint32_t wanted)
{
    struct group best = {0};
    const struct torci_candidate *seen = NULL;
    for (uint32_t i = 0; i < n; i++) {
        const struct torci_candidate *one = &candidates[i];
        if (one->is_taken || (outer && !is_together(one->at, outer->at, level - 1)))
            continue;
        if (seen && is_together(one->at, seen->at, level))
            continue; /* neighbours stand together, so most are skipped here */
        seen = one;
        struct group group = group_of(candidates, n, one, level);
        if (!best.first || goes_first(&group, &best, wanted))
            best = group;
    }
    return best;
}

/* COUNT from the one group, at LEVEL, that INSIDE belongs to: groups at the next level are filled one after the other,
 * until what is wanted fits into one, which is then treated likewise. */
static void pack(struct torci_candidate *candidates, uint32_t n,
                 const struct torci_candidate *inside, uint32_t count)
{
    int level = LEVEL_MACHINE;
    while (count && level < LEVEL_L3) {
        struct group group = choose_group(candidates, n, inside, level + 1, count);
        TORC_ASSERT(group.first);
        if (group.size >= count) {
            inside = group.first;
            level++;
            continue;
        }
        const struct torc_topology_cpu *at = group.first->at;
        for (uint32_t i = 0; i < n; i++)
            if (!candidates[i].is_taken && is_together(candidates[i].at, at, level + 1))
                candidates[i].is_taken = true;
        count -= group.size;
    }
    while (count--) {
        struct torci_candidate *best = NULL;
        for (uint32_t i = 0; i < n; i++) {
            struct torci_candidate *one = &candidates[i];
            if (!one->is_taken && is_together(one->at, inside->at, LEVEL_L3) &&
                (!best || compare(one, best, TORC_PLACE_ALL, NULL) < 0))
                best = one;
        }
        TORC_ASSERT(best);
        best->is_taken = true;
    }
}

void torci_choose(struct torci_candidate *candidates, uint32_t n, enum torc_placement policy,
                  uint32_t count, const struct torci_tally *tally)
{
    TORC_ASSERT(count <= n);
    if (count == n)
        for (uint32_t i = 0; i < n; i++)
            candidates[i].is_taken = true;
    else if (policy == TORC_PLACE_PACK)
        pack(candidates, n, NULL, count);
    else
        for (uint32_t taken = 0; taken < count; taken++)
            take_best(candidates, n, policy, tally);
}
