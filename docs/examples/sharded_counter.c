/* SPDX-License-Identifier: MIT
 *
 * A counter for each word, owned by the shard that the word hashes to: any shard counts, nobody locks. At the end
 * shard 0 adds up what all have.
 *
 * Run: build/examples/sharded_counter to be or not to be
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { COUNTERS = 64, ROUNDS = 1000 };

/* Of one shard: nobody else ever touches it, so it is plain memory. */
struct table {
    const char *words[COUNTERS];
    uint64_t counts[COUNTERS];
};

static _Thread_local struct table mine;

static uint32_t hash_of(const char *word)
{
    uint32_t hash = 2166136261u; // FNV-1a
    for (; *word; word++)
        hash = (hash ^ (uint8_t)*word) * 16777619u;
    return hash;
}

static int count(void *word) // on the shard that owns the word
{
    unsigned at = 0;
    while (at < COUNTERS && mine.words[at] && strcmp(mine.words[at], word) != 0)
        at++;
    if (at == COUNTERS)
        return -ENOSPC;
    mine.words[at] = word;
    mine.counts[at]++;
    return 0;
}

static int add_up(void *arg, void *part) // on every shard
{
    (void)arg;
    for (unsigned i = 0; i < COUNTERS && mine.words[i]; i++) {
        printf("shard %u: %-8s %8llu\n", torc_shard_id(), mine.words[i],
               (unsigned long long)mine.counts[i]);
        *(uint64_t *)part += mine.counts[i];
    }
    return 0;
}

static void fold(void *total, const void *part)
{
    *(uint64_t *)total += *(const uint64_t *)part;
}

static int count_all(void *words) // each shard counts all words
{
    int err = 0;
    for (unsigned round = 0; round < ROUNDS && !err; round++)
        for (char **word = words; *word && !err; word++)
            err = torc_call(hash_of(*word) % torc_shard_count(), count, *word);
    return err;
}

static int app(void *words)
{
    static const struct torc_map_reduce sum = {add_up, fold, sizeof(uint64_t)};
    uint64_t total = 0;
    if (torc_shard_id() > 0)
        return 0;
    int err = torc_call_all(count_all, words); // everywhere at the same time
    if (!err)
        err = torc_map_reduce(&sum, NULL, &total);
    printf("%llu in all\n", (unsigned long long)total);
    return err;
}

int main(int argc, char **argv)
{
    char *some[] = {"one", "for", "all", NULL};
    int err = torc_run(NULL, app, argc > 1 ? argv + 1 : some);
    if (err)
        fprintf(stderr, "sharded_counter: %s\n", strerror(-err));
    return err ? 1 : 0;
}
