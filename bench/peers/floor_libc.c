// SPDX-License-Identifier: MIT
// What a C programmer has without a library: glibc's own contexts and threads, and the kernel's own timers. The first
// two are what torc's tasks replace, so they are rivals; the last is the least lateness that this machine can give to
// a thread that sleeps, so it is a floor under torc's parked timers. One JSON object a line.
//
//   floor_libc [switch] [spawn_one] [handoff] [timer]      (all, if none is named)
//
//   switch     swapcontext from one context to another (it saves the signal mask: two system calls)
//   spawn_one  pthread_create and pthread_join, one at a time
//   handoff    a condition variable passes the turn between two threads of one CPU
//   timer      clock_nanosleep with a timer slack of 1 ns, how late at 1, 10 and 100 ms
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <ucontext.h>

enum { SWITCHES = 400000, THREADS = 4000, HANDOFFS = 40000, STACK_BYTES = 65536 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void print_ns(const char *bench, const char *runtime, uint64_t start_ns, unsigned count)
{
    double ns = (double)(now_ns() - start_ns) / count;
    printf("{\"bench\":\"%s\",\"runtime\":\"%s\",\"ns\":%.1f}\n", bench, runtime, ns);
}

static void must(int err, const char *what)
{
    if (!err)
        return;
    fprintf(stderr, "floor_libc: %s: %s\n", what, strerror(err));
    exit(1);
}

static ucontext_t here, there;

static void other_context(void)
{
    for (;;)
        swapcontext(&there, &here);
}

static void bench_switch(void)
{
    static char stack[STACK_BYTES];
    getcontext(&there);
    there.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof(stack)};
    makecontext(&there, other_context, 0);
    uint64_t start = now_ns();
    for (int i = 0; i < SWITCHES / 2; i++)
        swapcontext(&here, &there);
    print_ns("switch", "ucontext", start, SWITCHES);
}

static void *nothing(void *arg)
{
    return arg;
}

static void bench_spawn_one(void)
{
    uint64_t start = now_ns();
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, nothing, NULL), "pthread_create");
        pthread_join(thread, NULL);
    }
    print_ns("spawn_one", "pthread", start, THREADS);
}

struct turn {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool mine[2];
};

struct player {
    struct turn *turn;
    int me;
};

static void *play(void *arg)
{
    struct player *p = arg;
    pthread_mutex_lock(&p->turn->lock);
    for (int i = 0; i < HANDOFFS / 2; i++) {
        while (!p->turn->mine[p->me])
            pthread_cond_wait(&p->turn->changed, &p->turn->lock);
        p->turn->mine[p->me] = false;
        p->turn->mine[!p->me] = true;
        pthread_cond_signal(&p->turn->changed);
    }
    pthread_mutex_unlock(&p->turn->lock);
    return NULL;
}

static void bench_handoff(void)
{
    struct turn turn = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {true, false}};
    struct player players[2] = {{&turn, 0}, {&turn, 1}};
    pthread_t other;
    uint64_t start = now_ns();
    must(pthread_create(&other, NULL, play, &players[1]), "pthread_create");
    play(&players[0]);
    pthread_join(other, NULL);
    print_ns("handoff", "pthread", start, HANDOFFS);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void bench_timer(void)
{
    static const struct {
        unsigned ms, count;
    } plan[] = {{1, 300}, {10, 100}, {100, 20}};
    int64_t late_ns[300];
    prctl(PR_SET_TIMERSLACK, 1ul); // the default of 50 us would be most of what is measured
    for (unsigned p = 0; p < sizeof(plan) / sizeof(plan[0]); p++) {
        unsigned n = plan[p].count;
        for (unsigned i = 0; i < n; i++) {
            uint64_t due = now_ns() + plan[p].ms * 1000000u;
            struct timespec t = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
            must(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), "clock_nanosleep");
            late_ns[i] = (int64_t)(now_ns() - due);
        }
        qsort(late_ns, n, sizeof(late_ns[0]), by_size);
        printf("{\"bench\":\"timer\",\"runtime\":\"nanosleep\",\"ms\":%u,\"mode\":\"parked\",\"min_"
               "us\":%.1f,"
               "\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
               plan[p].ms, (double)late_ns[0] / 1e3, (double)late_ns[n / 2] / 1e3,
               (double)late_ns[n * 99 / 100] / 1e3, (double)late_ns[n - 1] / 1e3);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } benches[] = {
        {"switch", bench_switch},
        {"spawn_one", bench_spawn_one},
        {"handoff", bench_handoff},
        {"timer", bench_timer},
    };
    enum { COUNT = sizeof(benches) / sizeof(benches[0]) };
    unsigned known = 0;
    for (unsigned b = 0; b < COUNT; b++) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; i++)
            if (!strcmp(argv[i], benches[b].name))
                wanted = true, known++;
        if (wanted)
            benches[b].run();
    }
    if (known + 1 < (unsigned)argc) {
        fputs("floor_libc [switch] [spawn_one] [handoff] [timer]\n", stderr);
        return 2;
    }
    return 0;
}
