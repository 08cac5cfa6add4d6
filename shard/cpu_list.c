/* SPDX-License-Identifier: MIT
 *
 * Lists of CPUs: the walk through one, and what can be wrong with it.
 */
#include "shard/cpu_list_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { WORD_BITS = 8 * sizeof(unsigned long), PIECE_SHOWN = 32 };

unsigned torci_cpus_count(const struct torci_cpus *cpus)
{
    unsigned count = 0;
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(cpus->words); i++)
        for (unsigned long rest = cpus->words[i]; rest; rest &= rest - 1)
            count++;
    return count;
}

unsigned torci_cpus_next(const struct torci_cpus *cpus, unsigned from)
{
    while (from < TORCI_CPUS_MAX) {
        unsigned long rest = cpus->words[from / WORD_BITS] >> from % WORD_BITS;
        if (rest)
            return from + (unsigned)__builtin_ctzl(rest);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return TORCI_CPUS_MAX;
}

void torci_cpu_list_init(struct torci_cpu_list *list, const char *text)
{
    *list = (struct torci_cpu_list){.at = text, .next = 1, .last = 0, .step = 1};
}

static int refuse(struct torci_cpu_list *list, const char *piece, const char *what)
{
    int length = (int)strcspn(piece, ",");
    snprintf(list->why, sizeof(list->why), "\"%.*s%s\" %s",
             length < PIECE_SHOWN ? length : PIECE_SHOWN, piece, length > PIECE_SHOWN ? "…" : "",
             what);
    return -EINVAL;
}

/* Digits at list->at; false: there are none, or too many of them. */
static bool take_number(struct torci_cpu_list *list, unsigned *number)
{
    unsigned value = 0, digits = 0;
    for (; *list->at >= '0' && *list->at <= '9'; list->at++, digits++) {
        value = value * 10 + (unsigned)(*list->at - '0');
        if (value > TORCI_CPUS_MAX)
            value = TORCI_CPUS_MAX; /* no CPU has it, and it can't wrap */
    }
    *number = value;
    return digits > 0;
}

/* One piece between commas. */
static int take_range(struct torci_cpu_list *list)
{
    const char *piece = list->at;
    unsigned first, last, step = 1;
    if (!take_number(list, &first))
        return refuse(list, piece, "is no CPU, no range FIRST-LAST and no FIRST-LAST:STEP");
    last = first;
    if (*list->at == '-') {
        list->at++;
        if (!take_number(list, &last))
            return refuse(list, piece, "is a range without an end");
        if (*list->at == ':') {
            list->at++;
            if (!take_number(list, &step) || !step)
                return refuse(list, piece, "has a step that is not 1 or more");
        }
    }
    if (!strchr(",\n \t", *list->at)) /* the text's end is found, too */
        return refuse(list, piece, "is no CPU, no range FIRST-LAST and no FIRST-LAST:STEP");
    if (last < first)
        return refuse(list, piece, "ends before it begins");
    if (last >= TORCI_CPUS_MAX)
        return refuse(list, piece, "is beyond the 8192 CPUs that Linux can have");
    list->next = first;
    list->last = last;
    list->step = step;
    return 0;
}

int torci_cpu_list_next(struct torci_cpu_list *list)
{
    if (list->next > list->last) {
        size_t blank = strspn(list->at, "\n \t");
        if (!list->at[blank])
            return TORCI_CPU_LIST_END;
        if (list->has_begun && *list->at != ',')
            return refuse(list, list->at, "has blanks before it: CPUs are separated by commas");
        if (list->has_begun)
            list->at++;
        list->has_begun = true;
        int err = take_range(list);
        if (err)
            return err;
    }
    unsigned cpu = list->next;
    list->next += list->step;
    return (int)cpu;
}

int torci_cpu_list_parse(const char *text, struct torci_cpus *cpus, char *why)
{
    struct torci_cpu_list list;
    int cpu, count = 0;
    torci_cpu_list_init(&list, text);
    *cpus = (struct torci_cpus){0};
    while ((cpu = torci_cpu_list_next(&list)) != TORCI_CPU_LIST_END) {
        if (cpu < 0) {
            memcpy(why, list.why, sizeof(list.why));
            return cpu;
        }
        if (torci_cpus_has(cpus, (unsigned)cpu)) {
            snprintf(why, TORCI_CPU_WHY_BYTES, "CPU %d is named twice", cpu);
            return -EINVAL;
        }
        torci_cpus_add(cpus, (unsigned)cpu);
        count++;
    }
    if (!count)
        snprintf(why, TORCI_CPU_WHY_BYTES, "no CPU is named");
    return count ? count : -EINVAL;
}

void torci_cpus_format(const struct torci_cpus *cpus, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned first = torci_cpus_next(cpus, 0), last; first < TORCI_CPUS_MAX;
         first = torci_cpus_next(cpus, last + 1)) {
        char range[16];
        for (last = first; torci_cpus_has(cpus, last + 1);)
            last++;
        int length = first == last ? snprintf(range, sizeof(range), "%u", first)
                                   : snprintf(range, sizeof(range), "%u-%u", first, last);
        if (used + (size_t)length + sizeof(",,…") > size) {
            snprintf(text + used, size - used, ",…");
            return;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", range);
    }
}
