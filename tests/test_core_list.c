/* SPDX-License-Identifier: MIT
 *
 * The intrusive list: order, membership, and that its own check sees a broken neighbour.
 */
#include "core/list.h"

#include "tests/harness.h"

struct item {
    int value;
    struct torci_link link;
};

enum { ITEMS = 5 };

static struct item items[ITEMS];
static struct torci_link head;

/* A fresh list of the first COUNT items, 0 in front. */
static void fill(int count)
{
    torci_link_init(&head);
    for (int i = 0; i < ITEMS; i++) {
        items[i].value = i;
        torci_link_init(&items[i].link);
        if (i < count)
            torci_list_push_back(&head, &items[i].link);
    }
}

/* The values from front to back as one decimal number with a leading 9, after a check of the whole. */
static int spelled(const struct torci_link *list)
{
    CHECK(torci_list_check(list, ITEMS));
    int digits = 9;
    const struct torci_link *at;
    torci_list_each (at, list)
        digits = digits * 10 + TORC_CONTAINER_OF(at, const struct item, link)->value;
    return digits;
}

TEST(list, push_back_keeps_arrival_order)
{
    fill(ITEMS);
    CHECK_EQ(spelled(&head), 901234);
}

TEST(list, push_front_overtakes_all)
{
    fill(2);
    torci_list_push_front(&head, &items[4].link);
    CHECK_EQ(spelled(&head), 9401);
}

TEST(list, pop_front_takes_the_oldest_and_ends_with_null)
{
    fill(3);
    for (int i = 0; i < 3; i++) {
        struct torci_link *link = torci_list_pop_front(&head);
        CHECK(link == &items[i].link);
        CHECK(!torci_link_is_queued(link));
    }
    CHECK(torci_list_is_empty(&head));
    CHECK(torci_list_pop_front(&head) == NULL);
}

TEST(list, unlink_from_the_middle_twice_is_harmless)
{
    fill(3);
    CHECK(torci_link_is_queued(&items[1].link));
    torci_list_unlink(&items[1].link);
    torci_list_unlink(&items[1].link);
    CHECK(!torci_link_is_queued(&items[1].link));
    CHECK_EQ(spelled(&head), 902);
}

TEST(list, unlinked_item_can_join_again_at_the_end)
{
    fill(3);
    torci_list_unlink(&items[0].link);
    torci_list_push_back(&head, &items[0].link);
    CHECK_EQ(spelled(&head), 9120);
}

TEST(list, only_link_is_queued_too)
{
    fill(1);
    CHECK(torci_link_is_queued(&items[0].link));
    CHECK(!torci_list_is_empty(&head));
}

TEST(list, each_safe_survives_unlinking_all_it_meets)
{
    fill(ITEMS);
    struct torci_link *at, *after;
    int seen = 0;
    torci_list_each_safe (at, after, &head) {
        torci_list_unlink(at);
        seen++;
    }
    CHECK_EQ(seen, ITEMS);
    CHECK(torci_list_is_empty(&head));
}

TEST(list, splice_appends_in_order_and_empties_the_source)
{
    struct torci_link other;
    fill(2);
    torci_link_init(&other);
    torci_list_push_back(&other, &items[2].link);
    torci_list_push_back(&other, &items[3].link);
    torci_list_splice_back(&head, &other);
    CHECK_EQ(spelled(&head), 90123);
    CHECK(torci_list_is_empty(&other));
    CHECK(torci_list_check(&other, 0));
}

TEST(list, splice_of_an_empty_list_changes_nothing)
{
    struct torci_link other;
    fill(2);
    torci_link_init(&other);
    torci_list_splice_back(&head, &other);
    CHECK_EQ(spelled(&head), 901);
    torci_list_splice_back(&other, &head);
    CHECK_EQ(spelled(&other), 901);
    CHECK(torci_list_is_empty(&head));
}

TEST(list, check_sees_a_neighbour_that_does_not_point_back)
{
    fill(3);
    items[1].link.prev = &items[2].link;
    CHECK(!torci_list_check(&head, ITEMS));
}

TEST(list, check_sees_more_links_than_the_limit)
{
    fill(3);
    CHECK(torci_list_check(&head, 3));
    CHECK(!torci_list_check(&head, 2));
}
