/* SPDX-License-Identifier: MIT
 *
 * The timer wheel. An advance has two phases, so that fire functions see a wheel that is whole: first all that is due
 * moves to the list DUE, in order, while no code but this file's runs; then the wheel has its new time, and one timer
 * after the other leaves DUE and fires.
 */
#include "core/wheel.h"

_Static_assert(TORCI_WHEEL_SLOTS == 64, "one bit of uint64_t a slot");
_Static_assert(TORCI_WHEEL_LEVELS *TORCI_WHEEL_BITS >= 64, "every time has a level");
_Static_assert(sizeof(struct torci_timer) == 32, "two timers a cache line");

/* Runs of a merge sort: run i has 2^i timers, so 64 hold whatever fits in memory. */
enum { SORT_RUNS = 64 };

static struct torci_timer *timer_of(const struct torci_link *link)
{
    return TORC_CONTAINER_OF(link, struct torci_timer, link);
}

void torci_wheel_init(struct torci_wheel *wheel, uint64_t now_ns)
{
    wheel->now_ns = now_ns;
    wheel->next_ns = wheel->quiet_ns = 0;
    wheel->armed = 0;
    wheel->advancing = false;
    torci_link_init(&wheel->late);
    torci_link_init(&wheel->due);
    for (unsigned level = 0; level < TORCI_WHEEL_LEVELS; level++) {
        wheel->used[level] = 0;
        for (unsigned slot = 0; slot < TORCI_WHEEL_SLOTS; slot++)
            torci_link_init(&wheel->slots[level][slot]);
    }
}

void torci_timer_init(struct torci_timer *timer, void (*fire)(struct torci_timer *timer))
{
    torci_link_init(&timer->link);
    timer->when_ns = 0;
    timer->fire = fire;
}

/* The position of the first base-64 digit in which two different times differ. */
static unsigned level_of(uint64_t a, uint64_t b)
{
    return (63 - (unsigned)__builtin_clzll(a ^ b)) / TORCI_WHEEL_BITS;
}

static unsigned slot_of(uint64_t when_ns, unsigned level)
{
    return (unsigned)(when_ns >> (level * TORCI_WHEEL_BITS)) % TORCI_WHEEL_SLOTS;
}

/* When the slot of LEVEL begins that holds WHEN_NS. */
static uint64_t slot_start(uint64_t when_ns, unsigned level)
{
    return when_ns & (UINT64_MAX << (level * TORCI_WHEEL_BITS));
}

/* Links an unlinked timer whose time is after the wheel's. */
static void place(struct torci_wheel *wheel, struct torci_timer *timer)
{
    unsigned level = level_of(timer->when_ns, wheel->now_ns);
    unsigned slot = slot_of(timer->when_ns, level);
    torci_list_push_back(&wheel->slots[level][slot], &timer->link);
    wheel->used[level] |= UINT64_C(1) << slot;
    uint64_t start = slot_start(timer->when_ns, level);
    if (start < wheel->quiet_ns)
        wheel->quiet_ns = start;
}

/* Takes an armed timer out of whatever list it is in. */
static void remove_armed(struct torci_wheel *wheel, struct torci_timer *timer)
{
    struct torci_link *head = timer->link.next;
    bool was_alone = head == timer->link.prev;

    torci_list_unlink(&timer->link);
    wheel->armed--;
    if (timer->when_ns == wheel->next_ns)
        wheel->next_ns = 0;
    /* The neighbour of a timer that was alone is its list's head. If that is one of the slots, the address tells which;
     * the timer need not carry it. */
    uintptr_t offset = (uintptr_t)head - (uintptr_t)wheel->slots;
    if (was_alone && offset < sizeof(wheel->slots)) {
        size_t index = offset / sizeof(struct torci_link);
        wheel->used[index / TORCI_WHEEL_SLOTS] &= ~(UINT64_C(1) << index % TORCI_WHEEL_SLOTS);
    }
}

void torci_wheel_arm(struct torci_wheel *wheel, struct torci_timer *timer, uint64_t when_ns)
{
    if (torci_timer_is_armed(timer))
        remove_armed(wheel, timer);
    timer->when_ns = when_ns;
    wheel->armed++;
    if (when_ns < wheel->next_ns)
        wheel->next_ns = when_ns;
    if (TORC_LIKELY(when_ns > wheel->now_ns)) {
        place(wheel, timer);
    } else {
        torci_list_push_back(&wheel->late, &timer->link);
        wheel->quiet_ns = 0;
    }
}

void torci_wheel_cancel(struct torci_wheel *wheel, struct torci_timer *timer)
{
    if (torci_timer_is_armed(timer))
        remove_armed(wheel, timer);
}

/* The first used slot of the first used level; false if all are empty. */
static bool find_first(const struct torci_wheel *wheel, unsigned *level, unsigned *slot)
{
    for (unsigned l = 0; l < TORCI_WHEEL_LEVELS; l++) {
        if (wheel->used[l]) {
            *level = l;
            *slot = (unsigned)__builtin_ctzll(wheel->used[l]);
            return true;
        }
    }
    return false;
}

/* Merges two sorted chains (linked by next, ended by NULL); of equal times those of EARLIER come first. */
static struct torci_link *merge(struct torci_link *earlier, struct torci_link *later)
{
    struct torci_link *first = NULL, **end = &first;
    while (earlier && later) {
        struct torci_link **from =
            timer_of(later)->when_ns < timer_of(earlier)->when_ns ? &later : &earlier;
        *end = *from;
        end = &(*from)->next;
        *from = *end;
    }
    *end = earlier ? earlier : later;
    return first;
}

static bool is_sorted(const struct torci_link *head)
{
    const struct torci_link *at;
    torci_list_each (at, head) {
        if (at->next != head && timer_of(at->next)->when_ns < timer_of(at)->when_ns)
            return false;
    }
    return true;
}

/* By time, and stable, for a list that is not empty: a merge sort whose runs double, like the digits of a binary
 * counter. Only for lists out of order, as clearing RUNS costs more than a whole advance that finds nothing due. */
static void sort(struct torci_link *head)
{
    struct torci_link *runs[SORT_RUNS] = {NULL}, *chain, *after;

    head->prev->next = NULL;
    for (chain = head->next; chain; chain = after) {
        unsigned run = 0;
        after = chain->next;
        chain->next = NULL;
        for (; runs[run]; run++) {
            chain = merge(runs[run], chain);
            runs[run] = NULL;
        }
        runs[run] = chain;
    }
    chain = NULL;
    for (unsigned run = 0; run < SORT_RUNS; run++)
        chain = merge(runs[run], chain);

    torci_link_init(head);
    for (; chain; chain = after) {
        after = chain->next;
        torci_list_push_back(head, chain);
    }
}

/* Brings the timers of the earliest slot, which begins at START, closer: with the wheel's time there, those of START
 * itself are due and the others get a lower level. */
static void cascade(struct torci_wheel *wheel, unsigned level, unsigned slot, uint64_t start)
{
    struct torci_link *at, *after, *head = &wheel->slots[level][slot];

    wheel->used[level] &= ~(UINT64_C(1) << slot);
    wheel->now_ns = start;
    /* Linking elsewhere without unlinking here is sound: nothing comes back to this slot, and it is emptied below. */
    torci_list_each_safe (at, after, head) {
        if (timer_of(at)->when_ns == start)
            torci_list_push_back(&wheel->due, at);
        else
            place(wheel, timer_of(at));
    }
    torci_link_init(head);
}

/* The first phase: moves all that is due at NOW_NS to DUE, in order, and sets the wheel's time. */
static void collect(struct torci_wheel *wheel, uint64_t now_ns)
{
    unsigned level, slot;

    /* All of these are before all that is in slots. */
    if (!is_sorted(&wheel->late))
        sort(&wheel->late);
    torci_list_splice_back(&wheel->due, &wheel->late);

    while (find_first(wheel, &level, &slot)) {
        struct torci_link *head = &wheel->slots[level][slot];
        struct torci_timer *first = timer_of(head->next);
        uint64_t start = slot_start(first->when_ns, level);
        if (start > now_ns)
            break;
        if (head->next != head->prev && level > 0) {
            cascade(wheel, level, slot, start);
            continue;
        }
        /* One time only, the earliest of all: no need to go through the levels. */
        wheel->used[level] &= ~(UINT64_C(1) << slot);
        if (first->when_ns <= now_ns) {
            torci_list_splice_back(&wheel->due, head);
            continue;
        }
        torci_list_unlink(&first->link);
        wheel->now_ns = now_ns;
        place(wheel, first);
        break;
    }
    wheel->now_ns = now_ns;
    wheel->quiet_ns = UINT64_MAX;
    if (find_first(wheel, &level, &slot))
        wheel->quiet_ns = slot_start(timer_of(wheel->slots[level][slot].next)->when_ns, level);
}

unsigned torci_wheel_advance(struct torci_wheel *wheel, uint64_t now_ns)
{
    struct torci_link *link;
    unsigned fired = 0;

    TORC_ASSERT(!wheel->advancing);
    TORC_ASSERT(now_ns >= wheel->now_ns);
    if (TORC_LIKELY(now_ns < wheel->quiet_ns)) {
        wheel->now_ns = now_ns;
        return 0;
    }
    wheel->next_ns = 0;
    wheel->advancing = true;
    collect(wheel, now_ns);
    while ((link = torci_list_pop_front(&wheel->due))) {
        struct torci_timer *timer = timer_of(link);
        TORC_ASSERT(timer->when_ns <= now_ns);
        wheel->armed--;
        fired++;
        timer->fire(timer);
    }
    wheel->advancing = false;
    return fired;
}

/* The earliest time in a list that is not empty, or BOUND, which is not EXACT, if that takes too many looks. */
static uint64_t earliest(const struct torci_link *head, uint64_t bound, bool *exact)
{
    uint64_t when_ns = UINT64_MAX;
    unsigned looks = 0;
    const struct torci_link *at;

    torci_list_each (at, head) {
        if (looks++ == TORCI_WHEEL_SCAN_MAX) {
            *exact = false;
            return bound;
        }
        if (timer_of(at)->when_ns < when_ns)
            when_ns = timer_of(at)->when_ns;
    }
    return when_ns;
}

static uint64_t find_next(const struct torci_wheel *wheel, bool *exact)
{
    unsigned level, slot;
    uint64_t past_ns = UINT64_MAX;
    *exact = true;

    /* DUE is sorted, and not empty only inside of a fire function. */
    if (!torci_list_is_empty(&wheel->due))
        past_ns = timer_of(wheel->due.next)->when_ns;
    if (!torci_list_is_empty(&wheel->late)) {
        uint64_t late_ns = earliest(&wheel->late, 0, exact);
        past_ns = late_ns < past_ns ? late_ns : past_ns;
    }
    if (past_ns < UINT64_MAX || !find_first(wheel, &level, &slot))
        return past_ns;
    const struct torci_link *head = &wheel->slots[level][slot];
    uint64_t when_ns = timer_of(head->next)->when_ns;
    return level == 0 ? when_ns : earliest(head, slot_start(when_ns, level), exact);
}

uint64_t torci_wheel_next(struct torci_wheel *wheel)
{
    if (wheel->next_ns)
        return wheel->next_ns;
    bool exact;
    uint64_t next_ns = find_next(wheel, &exact);
    if (exact && !wheel->advancing)
        wheel->next_ns = next_ns;
    return next_ns;
}

/* Whether the list has at most *LEFT timers, all where they belong: in slot SLOT of LEVEL. Takes them off *LEFT. */
static bool check_slot(const struct torci_wheel *wheel, unsigned level, unsigned slot, size_t *left)
{
    const struct torci_link *at, *head = &wheel->slots[level][slot];

    if (torci_list_is_empty(head) != !(wheel->used[level] >> slot & 1))
        return false;
    if (!torci_list_check(head, *left))
        return false;
    torci_list_each (at, head) {
        uint64_t when_ns = timer_of(at)->when_ns;
        if (when_ns <= wheel->now_ns || level_of(when_ns, wheel->now_ns) != level ||
            slot_of(when_ns, level) != slot)
            return false;
        --*left;
    }
    return true;
}

/* The same for LATE and DUE: times that have come. */
static bool check_past(const struct torci_wheel *wheel, const struct torci_link *head, size_t *left)
{
    const struct torci_link *at;

    if (!torci_list_check(head, *left))
        return false;
    torci_list_each (at, head) {
        if (timer_of(at)->when_ns > wheel->now_ns)
            return false;
        --*left;
    }
    return true;
}

bool torci_wheel_check(const struct torci_wheel *wheel)
{
    size_t left = wheel->armed;

    bool exact;
    uint64_t next_ns = find_next(wheel, &exact);
    if (wheel->next_ns && (exact ? wheel->next_ns != next_ns : wheel->next_ns < next_ns))
        return false;
    unsigned first_level, first_slot;
    if (!torci_list_is_empty(&wheel->late) && wheel->quiet_ns)
        return false;
    if (find_first(wheel, &first_level, &first_slot) &&
        wheel->quiet_ns >
            slot_start(timer_of(wheel->slots[first_level][first_slot].next)->when_ns, first_level))
        return false;
    for (unsigned level = 0; level < TORCI_WHEEL_LEVELS; level++) {
        for (unsigned slot = 0; slot < TORCI_WHEEL_SLOTS; slot++) {
            if (!check_slot(wheel, level, slot, &left))
                return false;
        }
    }
    if (!check_past(wheel, &wheel->late, &left) || !check_past(wheel, &wheel->due, &left))
        return false;
    if (!is_sorted(&wheel->due) || (!wheel->advancing && !torci_list_is_empty(&wheel->due)))
        return false;
    return left == 0;
}
