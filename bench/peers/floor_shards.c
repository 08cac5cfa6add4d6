// SPDX-License-Identifier: MIT
// What a message between two CPUs costs with nothing around it: two pinned threads, rings of 64-byte slots, no tasks, no
// loop, no second peer. The floor under torc's xchan, call and call_park. One JSON object a line.
//
//   floor_shards [--cpus A,B] [xchan] [call] [call_park]      (all, if none is named; CPUs 0 and 1)
//
//   xchan      64-byte messages one way, published in batches of 64; ns a message
//   call       one word there and one back, both sides spinning; ns a round trip
//   call_park  the same with both sides asleep on a futex in between
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1024, BATCH = 64, MESSAGES = 20000000, TRIPS = 200000, PARKS = 10000, APART = 128 };

struct message {
    uint64_t words[8];
};

struct ring {
    _Alignas(APART) _Atomic uint64_t written; // by one side, read by the other
    _Alignas(APART) _Atomic uint64_t read;
    _Alignas(APART) struct message slots[SLOTS];
};

struct bell {
    _Alignas(APART) _Atomic uint32_t count; // a futex
};

static struct ring forth, back;
static struct bell there, here;
static int cpus[2] = {0, 1};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one)) {
        fprintf(stderr, "floor_shards: CPU %d can't be had\n", cpu);
        exit(1);
    }
}

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static uint64_t wait_past(_Atomic uint64_t *index, uint64_t seen)
{
    uint64_t now;
    while ((now = atomic_load_explicit(index, memory_order_acquire)) == seen)
        relax();
    return now;
}

static void ring_bell(struct bell *bell)
{
    atomic_fetch_add_explicit(&bell->count, 1, memory_order_release);
    syscall(SYS_futex, &bell->count, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_bell(struct bell *bell, uint32_t seen)
{
    while (atomic_load_explicit(&bell->count, memory_order_acquire) == seen)
        syscall(SYS_futex, &bell->count, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

// ---- one way ----

static void *take_all(void *sum)
{
    pin(cpus[1]);
    for (uint64_t done = 0; done < MESSAGES;) {
        uint64_t end = wait_past(&forth.written, done);
        for (; done < end; done++)
            *(uint64_t *)sum += forth.slots[done % SLOTS].words[0];
        atomic_store_explicit(&forth.read, done, memory_order_release);
    }
    return NULL;
}

static void send_all(void)
{
    uint64_t read = 0;
    for (uint64_t sent = 0; sent < MESSAGES; sent += BATCH) {
        while (sent + BATCH - read > SLOTS)
            read = wait_past(&forth.read, read);
        for (uint64_t i = sent; i < sent + BATCH; i++)
            for (unsigned w = 0; w < 8; w++)
                forth.slots[i % SLOTS].words[w] = i + w;
        atomic_store_explicit(&forth.written, sent + BATCH, memory_order_release);
    }
    while (read < MESSAGES)
        read = wait_past(&forth.read, read);
}

// ---- there and back ----

static void *answer_spinning(void *unused)
{
    pin(cpus[1]);
    for (uint64_t i = 0; i < TRIPS; i++) {
        wait_past(&forth.written, i);
        back.slots[i % SLOTS] = forth.slots[i % SLOTS];
        atomic_store_explicit(&back.written, i + 1, memory_order_release);
    }
    return unused;
}

static void ask_spinning(void)
{
    for (uint64_t i = 0; i < TRIPS; i++) {
        forth.slots[i % SLOTS].words[0] = i;
        atomic_store_explicit(&forth.written, i + 1, memory_order_release);
        wait_past(&back.written, i);
    }
}

static void *answer_asleep(void *unused)
{
    pin(cpus[1]);
    for (uint32_t i = 0; i < PARKS; i++) {
        await_bell(&there, i);
        ring_bell(&here);
    }
    return unused;
}

static void ask_asleep(void)
{
    for (uint32_t i = 0; i < PARKS; i++) {
        ring_bell(&there);
        await_bell(&here, i);
    }
}

// ---- which of them ----

struct work {
    const char *name;
    void (*mine)(void);
    void *(*theirs)(void *);
    double count;
};

static const struct work works[] = {
    {"xchan", send_all, take_all, MESSAGES},
    {"call", ask_spinning, answer_spinning, TRIPS},
    {"call_park", ask_asleep, answer_asleep, PARKS},
};

static void run(const struct work *work)
{
    memset(&forth, 0, sizeof(forth));
    memset(&back, 0, sizeof(back));
    there.count = here.count = 0;
    uint64_t sum = 0;
    pthread_t thread;
    if (pthread_create(&thread, NULL, work->theirs, &sum)) {
        fputs("floor_shards: no thread\n", stderr);
        exit(1);
    }
    pin(cpus[0]);
    uint64_t start = now_ns();
    work->mine();
    double ns = (double)(now_ns() - start) / work->count;
    pthread_join(thread, NULL);
    printf("{\"bench\":\"%s\",\"ns\":%.2f}\n", work->name, ns);
}

int main(int argc, char **argv)
{
    int first = 1;
    if (argc > 2 && !strcmp(argv[1], "--cpus")) {
        char *rest;
        cpus[0] = (int)strtol(argv[2], &rest, 10);
        cpus[1] = *rest == ',' ? (int)strtol(rest + 1, NULL, 10) : cpus[0];
        first = 3;
    }
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        int wanted = first == argc;
        for (int a = first; a < argc; a++)
            wanted |= !strcmp(argv[a], works[i].name);
        if (wanted)
            run(&works[i]);
    }
    return 0;
}
