/* SPDX-License-Identifier: MIT
 *
 * The one intrusive doubly linked list: circular, with a head that is a link of its own. Every operation is O(1); a
 * link that is in no list points to itself, so unlinking twice is harmless and "am I queued" is a question one can
 * ask. Never allocates. One owner, no thread safety.
 */
#ifndef TORC_CORE_LIST_H
#define TORC_CORE_LIST_H

#include "core/base.h"

TORC_BEGIN_DECLS

struct torci_link {
    struct torci_link *next, *prev;
};

#define torci_list_each(at, head) for ((at) = (head)->next; (at) != (head); (at) = (at)->next)
/* The body may unlink AT. */
#define torci_list_each_safe(at, after, head) \
    for ((at) = (head)->next, (after) = (at)->next; (at) != (head); \
         (at) = (after), (after) = (at)->next)

static inline void torci_link_init(struct torci_link *link)
{
    link->next = link->prev = link;
}

static inline bool torci_link_is_queued(const struct torci_link *link)
{
    return link->next != link;
}

/* Of a list's head: nothing in it. */
static inline bool torci_list_is_empty(const struct torci_link *head)
{
    return head->next == head;
}

static inline void torci_list_push_back(struct torci_link *head, struct torci_link *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

static inline void torci_list_push_front(struct torci_link *head, struct torci_link *link)
{
    torci_list_push_back(head->next, link);
}

static inline void torci_list_unlink(struct torci_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    torci_link_init(link);
}

/* The oldest link, taken out; NULL of an empty list. */
static inline struct torci_link *torci_list_pop_front(struct torci_link *head)
{
    struct torci_link *first = head->next;
    if (first == head)
        return NULL;
    torci_list_unlink(first);
    return first;
}

/* Moves all of FROM behind what TO holds; FROM is empty afterwards. */
static inline void torci_list_splice_back(struct torci_link *to, struct torci_link *from)
{
    if (torci_list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    torci_link_init(from);
}

/* Walks the whole list; false if a neighbour does not point back or the list has more than LIMIT links. */
static inline bool torci_list_check(const struct torci_link *head, size_t limit)
{
    const struct torci_link *at = head;
    do {
        if (at->next->prev != at || at->prev->next != at)
            return false;
        at = at->next;
    } while (at != head && limit--);
    return at == head;
}

TORC_END_DECLS

#endif
