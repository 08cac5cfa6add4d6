/* SPDX-License-Identifier: MIT
 *
 * Arenas: what they hand out and take back, what they do where the machine has no huge pages, no nodes to choose from or
 * no address space, and whether what they say of themselves is true.
 */
#include "shard/arena_internal.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "core/random_internal.h"
#include "io/abi_internal.h"
#include "tests/core_host.h"
#include "tests/fault_kernel.h"

enum { PAGE = 4096, UNIT = TORCI_ARENA_UNIT };
static const uint64_t small = 64 << 20;

/* A kernel whose other calls a test answers: 1 leaves the answer to Linux. */
static struct fault_kernel fault;
static long (*answer)(long number, const long arguments[6]);
static long call(void *context, long number, const long arguments[6])
{
    long result = answer ? answer(number, arguments) : 1;
    return result == 1 ? fault_call(context, number, arguments) : result;
}

static struct torci_arena_set *make_set(const struct torci_arena_options *options, uint32_t count)
{
    struct torci_arena_set *set;
    fault_kernel_init(&fault);
    fault.kernel.call = call;
    CHECK_EQ(torci_arena_set_create(&fault.kernel, options, count, &set), 0);
    return set;
}

static void drop_set(struct torci_arena_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->arenas[i].kernel)
            CHECK(torci_arena_check(&set->arenas[i]));
    torci_arena_set_destroy(set);
    fault_kernel_check_clean(&fault);
}

/* One arena of 64 MiB and ordinary pages. */
static struct torci_arena *make_plain(struct torci_arena_set **set)
{
    struct torci_arena *arena;
    *set = make_set(
        &(struct torci_arena_options){.arena_bytes = small, .hugepages = TORC_HUGEPAGES_NONE}, 1);
    CHECK_EQ(torci_arena_open(*set, 0, 0, &arena), 0);
    return arena;
}

static bool is_zero(const char *memory, size_t bytes)
{
    return !memory[0] && !memcmp(memory, memory + 1, bytes - 1);
}

static size_t resident(char *memory, size_t bytes)
{
    static unsigned char pages[1 << 16];
    size_t count = 0;
    CHECK(bytes / PAGE <= sizeof pages);
    CHECK_EQ(mincore(memory, bytes, pages), 0);
    for (size_t i = 0; i < bytes / PAGE; i++)
        count += pages[i] & 1;
    return count;
}

/* ---- handing out and taking back ---- */

TEST(arena, an_address_tells_its_shard)
{
    struct torci_arena_set *set =
        make_set(&(struct torci_arena_options){.arena_bytes = 40 << 20}, 5);
    for (uint32_t i = 0; i < 5; i++) {
        struct torci_arena *arena;
        CHECK_EQ(torci_arena_open(set, i, -1, &arena), 0);
        CHECK(arena->size_bytes >= 40 << 20);
        for (unsigned use = 0; use < TORC_ARENA_USES; use++) {
            char *memory = torci_arena_map(arena, use, 3 * UNIT);
            CHECK(memory != NULL);
            CHECK_EQ(torci_arena_shard_of(set, memory), i);
            CHECK_EQ(torci_arena_shard_of(set, memory + 3 * UNIT - 1), i);
        }
    }
    CHECK(torci_arena_shard_of(set, &set) >= 5);
    CHECK(torci_arena_shard_of(set, set->base - 1) >= 5);
    drop_set(set);
}

TEST(arena, memory_is_zeroed_again_when_it_is_used_again)
{
    static const enum torc_arena_use uses[] = {TORC_ARENA_STACKS, TORC_ARENA_LANES,
                                               TORC_ARENA_OTHER};
    struct torci_arena_set *set = make_set(&(struct torci_arena_options){.arena_bytes = small}, 1);
    struct torci_arena *arena;
    CHECK_EQ(torci_arena_open(set, 0, -1, &arena), 0);
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(uses); i++)
        for (size_t bytes = UNIT; bytes <= 6 << 20; bytes = bytes * 3 / 2 + UNIT) {
            char *memory = torci_arena_map(arena, uses[i], bytes);
            CHECK(memory != NULL);
            CHECK_EQ((uintptr_t)memory % UNIT, 0);
            CHECK(is_zero(memory, bytes));
            memset(memory, 0xab, bytes);
            torci_arena_unmap(arena, memory, bytes);
        }
    CHECK_EQ(arena->used_total_bytes, 0);
    drop_set(set);
}

TEST(arena, what_is_given_back_is_used_before_anything_new)
{
    struct torci_arena_set *set;
    struct torci_arena *arena = make_plain(&set);
    char *first = torci_arena_map(arena, TORC_ARENA_STACKS, 10 * UNIT);
    char *second = torci_arena_map(arena, TORC_ARENA_STACKS, 5 * UNIT);
    char *third = torci_arena_map(arena, TORC_ARENA_STACKS, UNIT);
    CHECK(first && second == first + 10 * UNIT && third == second + 5 * UNIT);
    uint32_t frontier = arena->sparse.frontier;
    torci_arena_unmap(arena, first, 10 * UNIT);
    torci_arena_unmap(arena, second, 5 * UNIT); /* one run of 15 now */
    CHECK(torci_arena_check(arena));
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, 15 * UNIT) == first);
    torci_arena_unmap(arena, first, 15 * UNIT - 1);
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, 4 * UNIT) == first);
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, 11 * UNIT) == first + 4 * UNIT);
    CHECK_EQ(arena->sparse.frontier, frontier);
    torci_arena_unmap(arena, third, UNIT); /* the last: what comes next grows out of it */
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, 3 * UNIT) == third);
    CHECK_EQ(arena->sparse.frontier, frontier + 2);
    CHECK_EQ(arena->used_bytes[TORC_ARENA_STACKS], 18 * UNIT);
    CHECK_EQ(arena->high_water_bytes, 18 * UNIT);
    static struct torci_counters counters;
    torci_arena_watch(arena, &counters);
    torci_arena_unmap(arena, first, 4 * UNIT);
    CHECK_EQ(counters.arena_stacks, 14 * UNIT);
    CHECK_EQ(counters.arena_bytes - counters.arena_free, 14 * UNIT);
    drop_set(set);
}

TEST(arena, random_maps_never_overlap_and_leave_nothing_behind)
{
    struct {
        char *memory;
        size_t bytes;
        unsigned char mark;
    } held[64] = {{0}};
    struct torci_arena_set *set;
    struct torci_arena *arena = make_plain(&set);
    struct torci_random random;
    torci_random_seed(&random, 42);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = (unsigned)(torci_random_next(&random) % TORC_ARRAY_LENGTH(held));
        if (held[i].memory) {
            CHECK_EQ((unsigned char)held[i].memory[0], held[i].mark);
            CHECK_EQ((unsigned char)held[i].memory[held[i].bytes - 1], held[i].mark);
            torci_arena_unmap(arena, held[i].memory, held[i].bytes);
            held[i].memory = NULL;
        } else {
            unsigned use = (unsigned)(torci_random_next(&random) % TORC_ARENA_USES);
            unsigned shift = (unsigned)(torci_random_next(&random) % 21);
            held[i].bytes = 1 + torci_random_next(&random) % ((uint64_t)1 << shift);
            held[i].memory = torci_arena_map(arena, use, held[i].bytes);
            held[i].mark = (unsigned char)round;
            if (!held[i].memory)
                continue; /* it was full: that is an answer, too */
            if (use != TORC_ARENA_DMA && use != TORC_ARENA_SLABS)
                CHECK(!held[i].memory[0] && !held[i].memory[held[i].bytes - 1]);
            held[i].memory[0] = held[i].memory[held[i].bytes - 1] = (char)held[i].mark;
        }
        if (round % 64 == 0)
            CHECK(torci_arena_check(arena));
    }
    for (unsigned i = 0; i < TORC_ARRAY_LENGTH(held); i++)
        torci_arena_unmap(arena, held[i].memory, held[i].bytes);
    CHECK_EQ(arena->used_total_bytes, 0);
    CHECK(torci_arena_check(arena));
    CHECK(arena->dense.frontier == arena->dense.runs[0].units); /* all merged into one */
    drop_set(set);
}

TEST(arena, exhaustion_is_null)
{
    struct torci_arena_set *set;
    struct torci_arena *arena = make_plain(&set);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 0) == NULL);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, SIZE_MAX) == NULL);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, small / 2 + 1) == NULL);
    unsigned count = 0;
    while (torci_arena_map(arena, TORC_ARENA_DMA, 1 << 20))
        count++;
    CHECK_EQ(count, small / 2 >> 20);
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, 1 << 20) != NULL); /* another zone */
    drop_set(set);
}

static void unmaps_twice(void)
{
    struct torci_arena_set *set;
    struct torci_arena *arena = make_plain(&set);
    void *memory = torci_arena_map(arena, TORC_ARENA_DMA, UNIT);
    torci_arena_unmap(arena, memory, UNIT);
    torci_arena_unmap(arena, memory, UNIT);
}
TEST_DYING(arena, giving_back_twice_is_fatal, SIGABRT)
{
    unmaps_twice();
}

/* ---- stacks ---- */

TEST(arena, a_stack_costs_what_is_touched)
{
    struct torci_arena_set *set = make_set(&(struct torci_arena_options){0}, 1);
    struct torci_arena *arena;
    CHECK_EQ(torci_arena_open(set, 0, -1, &arena), 0);
    char *memory = torci_arena_map(arena, TORC_ARENA_STACKS, 8 << 20);
    memory[4 << 20] = 1;
    CHECK_EQ(resident(memory, 8 << 20), 1);
    torci_arena_unmap(arena, memory, 8 << 20);
    CHECK_EQ(resident(memory, 8 << 20), 0);
    drop_set(set);
}

/* The pages of a run with guards in it can be written to when they are handed out again. */
static void use_guards(struct torci_arena *arena)
{
    struct torci_host host = fault.kernel.host;
    torci_arena_host(arena, &host);
    for (int round = 0; round < 2; round++) {
        char *memory = host.map(host.map_context, 4 * UNIT);
        CHECK(memory != NULL);
        CHECK_EQ(torci_arena_shard_of(arena->set, memory), arena->shard);
        CHECK(is_zero(memory, 4 * UNIT));
        memset(memory, 1, 4 * UNIT);
        for (size_t at = 0; at < 4 * UNIT; at += UNIT)
            CHECK_EQ(host.guard(host.map_context, memory + at, PAGE), 0);
        host.unmap(host.map_context, memory, 4 * UNIT);
    }
    CHECK_EQ(arena->lost_bytes, 0);
}

TEST(arena, guards_go_with_the_memory)
{
    struct torci_arena_set *set;
    use_guards(make_plain(&set));
    drop_set(set);
}

static long old_kernel(long number, const long arguments[6])
{
    return number == SYS_madvise && arguments[2] == TORCI_MADV_GUARD_REMOVE ? -EINVAL : 1;
}
static int guard_by_protection(void *context, void *memory, size_t size)
{
    (void)context;
    return mprotect(memory, size, PROT_NONE) ? -errno : 0;
}
TEST(arena, guards_of_older_kernels_go_with_the_memory)
{
    struct torci_arena_set *set;
    struct torci_arena *arena = make_plain(&set);
    fault.kernel.host.guard = guard_by_protection;
    answer = old_kernel;
    use_guards(arena);
    drop_set(set);
}

static long no_memory_for_guards(long number, const long arguments[6])
{
    return number == SYS_madvise && arguments[2] == TORCI_MADV_GUARD_REMOVE ? -ENOMEM : 1;
}
TEST(arena, memory_whose_guards_stay_is_not_used_again)
{
    struct torci_arena_set *set;
    struct torci_arena *arena = make_plain(&set);
    char *memory = torci_arena_map(arena, TORC_ARENA_STACKS, UNIT);
    answer = no_memory_for_guards;
    torci_arena_unmap(arena, memory, UNIT);
    CHECK_EQ(arena->lost_bytes, UNIT);
    CHECK_EQ(arena->used_total_bytes, 0);
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, UNIT) != memory);
    drop_set(set);
}

static long no_advice(long number, const long arguments[6])
{
    (void)arguments;
    return number == SYS_madvise ? -ENOSYS : 1;
}
TEST(arena, without_madvise_memory_is_still_zeroed)
{
    struct torci_arena_set *set;
    answer = no_advice;
    struct torci_arena *arena = make_plain(&set);
    char *memory = torci_arena_map(arena, TORC_ARENA_STACKS, UNIT);
    memset(memory, 1, UNIT);
    torci_arena_unmap(arena, memory, UNIT);
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, UNIT) == memory);
    CHECK(is_zero(memory, UNIT));
    drop_set(set);
}

/* Runs that the kernel has cleaned and runs that it has not are one when both are free, whichever is freed first. */
TEST(arena, what_is_merged_is_zeroed_as_a_whole)
{
    for (int last = 0; last < 2; last++) {
        struct torci_arena_set *set;
        struct torci_arena *arena = make_plain(&set);
        char *runs[2];
        for (int i = 0; i < 2; i++) {
            runs[i] = torci_arena_map(arena, TORC_ARENA_LANES, UNIT);
            memset(runs[i], 1, UNIT);
        }
        CHECK(runs[1] == runs[0] + UNIT);
        answer = no_advice;
        torci_arena_unmap(arena, runs[!last], UNIT);
        answer = NULL;
        torci_arena_unmap(arena, runs[last], UNIT);
        CHECK(torci_arena_map(arena, TORC_ARENA_LANES, 2 * UNIT) == runs[0]);
        CHECK(is_zero(runs[0], 2 * UNIT));
        drop_set(set);
    }
}

static int yields(void *arg)
{
    (void)arg;
    torc_yield();
    return 0;
}
static int many_tasks(void *arg)
{
    struct torc_scope scope;
    struct torci_arena *arena = arg;
    torc_scope_init(&scope);
    for (int i = 0; i < 300; i++)
        CHECK_EQ(torc_spawn(&scope, yields, NULL), 0);
    torc_yield();
    CHECK(arena->used_bytes[TORC_ARENA_STACKS] >= 300 * (64 << 10));
    return torc_scope_join(&scope);
}
TEST(arena, an_executor_runs_on_it)
{
    struct torci_arena_set *set;
    struct torci_arena *arena;
    struct core_host host;
    set = make_set(&(struct torci_arena_options){.arena_bytes = 4 * small}, 1);
    CHECK_EQ(torci_arena_open(set, 0, -1, &arena), 0);
    core_host_init(&host);
    torci_arena_host(arena, &host.host);
    for (int round = 0; round < 3; round++) {
        CHECK_EQ(core_host_run_on(&host, &(struct torci_exec_config){0}, many_tasks, arena), 0);
        CHECK_EQ(arena->used_total_bytes, 0);
    }
    CHECK_EQ(host.bytes, 0);
    drop_set(set);
}

/* ---- huge pages ---- */

static unsigned pages_there;

/* A machine with PAGES_THERE reserved huge pages, which are ordinary ones in truth. */
static long some_pages(long number, const long arguments[6])
{
    if (number == SYS_mmap && arguments[3] & MAP_HUGETLB) {
        long plain[6];
        memcpy(plain, arguments, sizeof plain);
        plain[3] &= ~(long)(MAP_HUGETLB | TORCI_MAP_HUGE_2MB);
        return fault_call(&fault, number, plain);
    }
    if (number == SYS_madvise && arguments[2] == TORCI_MADV_POPULATE_WRITE) {
        unsigned wanted = (unsigned)(arguments[1] / TORCI_HUGE_PAGE);
        CHECK_EQ(arguments[1] % TORCI_HUGE_PAGE, 0);
        if (wanted > pages_there)
            return -EFAULT;
        pages_there -= wanted;
        return 0;
    }
    return 1;
}

static long no_huge_pages(long number, const long arguments[6])
{
    return number == SYS_mmap && arguments[3] & MAP_HUGETLB ? -ENODEV : 1;
}

static void refuse_reserved(int node, const char *says)
{
    struct torci_arena *arena;
    struct torci_arena_set *set = make_set(
        &(struct torci_arena_options){
            .arena_bytes = small, .hugepages = TORC_HUGEPAGES_RESERVED, .eager_bytes = 3 << 20},
        1);
    CHECK_EQ(torci_arena_open(set, 0, node, &arena), -ENOMEM);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, says));
    torci_arena_set_destroy(set);
    fault_kernel_check_clean(&fault);
}
TEST(arena, reserved_pages_that_are_not_there_are_one_line)
{
    answer = some_pages;
    refuse_reserved(0, "nr_hugepages");
    refuse_reserved(-1, "shard 0 wants 2 more reserved huge pages of 2 MiB");
    answer = no_huge_pages;
    refuse_reserved(-1, "huge pages");
}

TEST(arena, reserved_pages_are_taken_as_the_arena_grows)
{
    struct torci_arena *arena;
    answer = some_pages;
    pages_there = 5;
    struct torci_arena_set *set = make_set(
        &(struct torci_arena_options){.arena_bytes = small, .hugepages = TORC_HUGEPAGES_RESERVED},
        1);
    CHECK_EQ(torci_arena_open(set, 0, 0, &arena), 0);
    CHECK_EQ(arena->got, TORC_HUGEPAGES_RESERVED);
    CHECK_EQ(pages_there, 4);
    CHECK(torci_arena_map(arena, TORC_ARENA_STACKS, 8 << 20) != NULL);
    CHECK_EQ(pages_there, 4); /* stacks are not of them */
    char *memory = torci_arena_map(arena, TORC_ARENA_DMA, 2 << 20);
    CHECK_EQ(pages_there, 4);
    torci_arena_unmap(arena, memory, 2 << 20);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 7 << 20) == memory); /* grown out of it */
    CHECK(memory != NULL);
    CHECK_EQ(pages_there, 1);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 4 << 20) == NULL);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 4 << 20) == NULL);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, "nr_hugepages"));
    memset(memory, 1, 7 << 20);
    torci_arena_unmap(arena, memory, 7 << 20);
    CHECK(is_zero(torci_arena_map(arena, TORC_ARENA_LANES, 7 << 20), 7 << 20));
    CHECK_EQ(pages_there, 1);
    drop_set(set);
}

TEST(arena, auto_goes_on_with_other_pages_when_the_reserved_ones_run_out)
{
    struct torci_arena *arena;
    answer = some_pages;
    pages_there = 3;
    struct torci_arena_set *set = make_set(&(struct torci_arena_options){.arena_bytes = small}, 1);
    CHECK_EQ(torci_arena_open(set, 0, 0, &arena), 0);
    CHECK_EQ(arena->got, TORC_HUGEPAGES_RESERVED);
    char *first = torci_arena_map(arena, TORC_ARENA_DMA, 3 << 20);
    char *second = torci_arena_map(arena, TORC_ARENA_DMA, 4 << 20);
    CHECK(first && second);
    CHECK(arena->got != TORC_HUGEPAGES_RESERVED);
    CHECK_EQ(arena->dense.reserved, 4 << 20 >> TORCI_ARENA_UNIT_SHIFT);
    CHECK(second == arena->dense.base + (4 << 20)); /* not on both sides of the seam */
    char *third = torci_arena_map(arena, TORC_ARENA_DMA, 1 << 20);
    CHECK(third == first + (3 << 20)); /* what was left before the seam */
    memset(second, 1, 4 << 20);
    /* what lies on both sides of the seam is not merged, whichever is freed first */
    torci_arena_unmap(arena, second, 4 << 20);
    torci_arena_unmap(arena, third, 1 << 20);
    CHECK(torci_arena_check(arena));
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 1 << 20) == third);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 4 << 20) == second);
    torci_arena_unmap(arena, third, 1 << 20);
    torci_arena_unmap(arena, second, 4 << 20);
    torci_arena_unmap(arena, first, 3 << 20);
    CHECK(torci_arena_check(arena));
    CHECK_EQ(arena->dense.runs[0].units, arena->dense.seam);
    char *large = torci_arena_map(arena, TORC_ARENA_LANES, 5 << 20);
    CHECK(large == second);
    CHECK(is_zero(large, 5 << 20));
    CHECK_EQ(fault.lines, 0);
    drop_set(set);
}

TEST(arena, auto_without_reserved_pages_is_silent)
{
    struct torci_arena *arena;
    answer = some_pages;
    struct torci_arena_set *set = make_set(&(struct torci_arena_options){.arena_bytes = small}, 1);
    CHECK_EQ(torci_arena_open(set, 0, 0, &arena), 0);
    CHECK(arena->got != TORC_HUGEPAGES_RESERVED);
    CHECK_EQ(arena->dense.reserved, 0);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 1) == arena->dense.base);
    CHECK_EQ(fault.lines, 0);
    drop_set(set);
}

TEST(arena, prefault_touches_what_is_dense)
{
    struct torci_arena *arena;
    struct torci_arena_set *set = make_set(
        &(struct torci_arena_options){
            .arena_bytes = small, .hugepages = TORC_HUGEPAGES_NONE, .prefault = true},
        1);
    CHECK_EQ(torci_arena_open(set, 0, 0, &arena), 0);
    CHECK_EQ(resident(arena->dense.base, TORCI_HUGE_PAGE), TORCI_HUGE_PAGE / PAGE);
    char *buffers = torci_arena_map(arena, TORC_ARENA_DMA, 4 << 20);
    CHECK_EQ(resident(buffers, 4 << 20), (4 << 20) / PAGE);
    char *stacks = torci_arena_map(arena, TORC_ARENA_STACKS, 4 << 20);
    CHECK_EQ(resident(stacks, 4 << 20), 0);
    torci_arena_unmap(arena, buffers, 4 << 20);
    CHECK_EQ(resident(buffers, 4 << 20), (4 << 20) / PAGE); /* stays */
    drop_set(set);
}

/* ---- address space ---- */

TEST(arena, a_limited_address_space_makes_smaller_arenas)
{
    struct rlimit limit;
    struct torci_arena *arena;
    CHECK_EQ(getrlimit(RLIMIT_AS, &limit), 0);
#ifdef TORC_TEST_SMALL
    TEST_SKIP("sanitizers need their own address space");
#endif
    limit.rlim_cur = 2UL << 30;
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    struct torci_arena_set *set = make_set(&(struct torci_arena_options){0}, 4);
    CHECK_EQ(torci_arena_open(set, 3, -1, &arena), 0);
    CHECK(arena->size_bytes >= TORCI_ARENA_BYTES_MIN && arena->size_bytes <= 512 << 20);
    CHECK(torci_arena_map(arena, TORC_ARENA_DMA, 1 << 20) != NULL);
    drop_set(set);
}

static void refuse(const struct torci_arena_options *options, uint32_t count, int error,
                   const char *says)
{
    struct torci_arena_set *set = NULL;
    CHECK_EQ(torci_arena_set_create(&fault.kernel, options, count, &set), error);
    CHECK(set == NULL);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, says));
    fault.lines = 0;
}
TEST(arena, too_little_address_space_is_one_line)
{
    fault_kernel_init(&fault);
    fault.fail_kinds = FAULT_MAP;
    fault.fail_nth = 0;
    fault.fail_after = true;
    refuse(&(struct torci_arena_options){0}, 3, -ENOMEM, "no address space for 3 arenas");
    refuse(&(struct torci_arena_options){.arena_bytes = 1 << 30}, 1, -ENOMEM,
           "arenas of 1024 MiB: raise the limit (ulimit -v)");
    CHECK(fault.calls >= 11); /* halved again and again down to 16 MiB; and 1 GiB or nothing */
    torci_arena_set_destroy(NULL);
    fault_kernel_check_clean(&fault);
}

TEST(arena, options_out_of_range_are_one_line)
{
    fault_kernel_init(&fault);
    refuse(&(struct torci_arena_options){.arena_bytes = 1}, 1, -EINVAL, "out of range");
    refuse(&(struct torci_arena_options){.arena_bytes = UINT64_MAX}, 1, -EINVAL, "out of range");
    refuse(&(struct torci_arena_options){.hugepages = 7}, 1, -EINVAL, "out of range");
    fault_kernel_check_clean(&fault);
}

/* ---- nodes ---- */

static long bind_result;
static struct {
    unsigned binds, policy;
    unsigned long mask;
    long bytes;
} bound;

/* A machine with two nodes. */
static long two_nodes(long number, const long arguments[6])
{
    if (number == SYS_get_mempolicy) {
        *(unsigned long *)arguments[1] = 3;
        return 0;
    }
    if (number == SYS_mbind) {
        bound.binds++;
        bound.policy = (unsigned)arguments[2];
        bound.mask = *(const unsigned long *)arguments[3];
        bound.bytes = arguments[1];
        return bind_result;
    }
    return 1;
}

static struct torci_arena *open_on(int node, struct torci_arena_set **set)
{
    struct torci_arena *arena;
    answer = two_nodes;
    memset(&bound, 0, sizeof bound);
    *set = make_set(
        &(struct torci_arena_options){.arena_bytes = small, .hugepages = TORC_HUGEPAGES_NONE}, 1);
    CHECK_EQ(torci_arena_open(*set, 0, node, &arena), 0);
    CHECK(torci_arena_map(arena, TORC_ARENA_OTHER, 1) != NULL);
    return arena;
}

TEST(arena, memory_is_bound_to_the_node_before_it_is_touched)
{
    struct torci_arena_set *set;
    struct torci_arena *arena = open_on(1, &set);
    CHECK(arena->bound);
    CHECK_EQ(bound.binds, 1);
    CHECK_EQ(bound.policy, TORCI_MPOL_PREFERRED);
    CHECK_EQ(bound.mask, 2);
    CHECK_EQ(bound.bytes, small);
    CHECK_EQ(fault.lines, 0);
    drop_set(set);
    CHECK(!open_on(-1, &set)->bound);
    CHECK_EQ(bound.binds, 0);
    drop_set(set);
}

TEST(arena, a_node_that_cannot_be_chosen_is_one_line_and_no_failure)
{
    struct torci_arena_set *set;
    bind_result = -EINVAL;
    CHECK(!open_on(1, &set)->bound);
    CHECK_EQ(fault.lines, 1);
    CHECK(fault_kernel_said(&fault, "shard 0's memory can't be put on node 1"));
    drop_set(set);
    CHECK(!open_on(99999, &set)->bound);
    CHECK_EQ(fault.lines, 1);
    drop_set(set);
    bind_result = -EPERM; /* as containers have it */
    CHECK(!open_on(1, &set)->bound);
    CHECK_EQ(fault.lines, 0);
    drop_set(set);
}

/* ---- what it says of itself ---- */

static long moved_errno;
static int page_node;
static long placement(long number, const long arguments[6])
{
    if (number != SYS_move_pages)
        return 1;
    for (long i = 0; i < arguments[1] && !moved_errno; i++)
        ((int *)arguments[4])[i] = i % 2 ? page_node : -ENOENT;
    return moved_errno;
}

TEST(arena, pages_are_counted_where_the_kernel_says_they_are)
{
    struct torci_arena_set *set;
    struct torc_arena_stats stats;
    struct torci_arena *arena = make_plain(&set);
    CHECK(torci_arena_map(arena, TORC_ARENA_LANES, UNIT) != NULL);
    answer = placement;
    torci_arena_stats_get(arena, &stats);
    CHECK_EQ(stats.node, 0);
    CHECK_EQ(stats.uses[TORC_ARENA_LANES].pages_sampled, 8); /* the others nobody has touched */
    CHECK_EQ(stats.uses[TORC_ARENA_LANES].pages_on_node, 8);
    CHECK_EQ(stats.uses[TORC_ARENA_DMA].pages_sampled, 0);
    CHECK_EQ(stats.sample_error, 0);
    page_node = 1;
    torci_arena_stats_get(arena, &stats);
    CHECK_EQ(stats.uses[TORC_ARENA_LANES].pages_sampled, 8);
    CHECK_EQ(stats.uses[TORC_ARENA_LANES].pages_on_node, 0);
    moved_errno = -EPERM;
    torci_arena_stats_get(arena, &stats);
    CHECK_EQ(stats.uses[TORC_ARENA_LANES].pages_sampled, 0);
    CHECK_EQ(stats.sample_error, -EPERM);
    drop_set(set);
}

TEST(arena, touched_pages_of_each_use_are_found_by_the_real_kernel)
{
    struct torci_arena_set *set;
    struct torc_arena_stats stats;
    struct torci_arena *arena = make_plain(&set);
    for (unsigned use = 0; use < TORC_ARENA_USES; use++) {
        char *memory = torci_arena_map(arena, use, 2 * UNIT);
        for (unsigned i = 0; i <= use; i++)
            memory[UNIT + i * PAGE] = 1;
    }
    torci_arena_stats_get(arena, &stats);
    if (stats.sample_error)
        TEST_SKIP("move_pages is forbidden here");
    for (unsigned use = 0; use < TORC_ARENA_USES; use++) {
        CHECK_EQ(stats.uses[use].bytes, 2 * UNIT);
        CHECK_EQ(stats.uses[use].pages_sampled, use + 1);
    }
    CHECK_EQ(stats.used_bytes, TORC_ARENA_USES * 2 * UNIT);
    CHECK_EQ(stats.pages, TORC_HUGEPAGES_NONE);
    CHECK_EQ(stats.transparent_bytes, 0);
    CHECK_EQ(stats.size_bytes, small);
    drop_set(set);
}

static long no_page_scan(long number, const long arguments[6])
{
    (void)arguments;
    return number == SYS_ioctl ? -ENOTTY : 1;
}
TEST(arena, transparent_pages_are_told_when_the_kernel_has_made_them)
{
    struct torci_arena *arena;
    struct torc_arena_stats stats;
    struct torci_arena_set *set =
        make_set(&(struct torci_arena_options){.arena_bytes = small,
                                               .hugepages = TORC_HUGEPAGES_TRANSPARENT},
                 1);
    CHECK_EQ(torci_arena_open(set, 0, 0, &arena), 0);
    char *memory = torci_arena_map(arena, TORC_ARENA_DMA, 4 << 20);
    memset(memory, 1, 4 << 20);
    torci_arena_stats_get(arena, &stats);
    if (stats.pages != TORC_HUGEPAGES_TRANSPARENT || stats.transparent_bytes <= 0)
        TEST_SKIP("this kernel gives no transparent huge pages");
    CHECK_EQ(stats.transparent_bytes % TORCI_HUGE_PAGE, 0);
    CHECK(stats.transparent_bytes <= 4 << 20);
    int64_t scanned = stats.transparent_bytes;
    answer = no_page_scan;
    torci_arena_stats_get(arena, &stats);
    CHECK_EQ(stats.transparent_bytes, scanned);
    drop_set(set);
}

/* ---- every call fails once ---- */

static int live(void)
{
    struct torci_arena_set *set;
    struct torci_arena *arena;
    struct torc_arena_stats stats;
    int err = torci_arena_set_create(&fault.kernel, &(struct torci_arena_options){.prefault = true},
                                     2, &set);
    if (err)
        return err;
    err = torci_arena_open(set, 1, 0, &arena);
    for (unsigned use = 0; !err && use < TORC_ARENA_USES; use++) {
        char *memory = torci_arena_map(arena, use, 5 * UNIT);
        if (memory && use != TORC_ARENA_DMA && use != TORC_ARENA_SLABS)
            CHECK(is_zero(memory, 5 * UNIT));
        if (memory)
            memset(memory, 1, 5 * UNIT);
        torci_arena_unmap(arena, memory, 5 * UNIT);
        torci_arena_stats_get(arena, &stats);
        CHECK(torci_arena_check(arena));
    }
    torci_arena_set_destroy(set);
    return err;
}
TEST(arena, any_call_may_fail)
{
    for (long n = 0;; n++) {
        fault_kernel_init(&fault);
        fault.fail_kinds = FAULT_ALLOC | FAULT_MAP | FAULT_CALL;
        fault.fail_nth = n;
        int err = live();
        fault_kernel_check_clean(&fault);
        CHECK(err <= 0);
        if (!fault.failed) {
            CHECK_EQ(err, 0);
            CHECK(n > 20);
            break;
        }
    }
}
