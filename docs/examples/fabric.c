/* SPDX-License-Identifier: MIT
 *
 * Counting without locks: every shard draws numbers and sends each to the shard that counts it, over channels from every
 * shard to every other.
 *
 * Run: build/examples/fabric
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <torc.h>

enum { DRAWS = 20000 };

static struct torc_fabric fabric = {.value_bytes = sizeof(uint64_t), .capacity = 256};

static int draw_numbers(void *arg)
{
    struct torc_fabric_node *node = arg;
    uint64_t state = torc_shard_id() + 1;
    int err = 0;
    for (int i = 0; i < DRAWS && !err; i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        uint64_t number = state >> 33;
        uint32_t owner = (uint32_t)(number % torc_shard_count());
        if (node->to[owner]) // there is none to the shard itself
            err = torc_xchan_send(node->to[owner], &number);
    }
    for (uint32_t to = 0; to < torc_shard_count(); to++)
        if (node->to[to]) {
            torc_xchan_close_sender(node->to[to]); // what was sent still arrives
            node->to[to] = NULL;
        }
    return err;
}

static int shard_main(void *arg)
{
    (void)arg;
    struct torc_fabric_node node;
    int err = torc_fabric_join(&fabric, &node); // returns when all shards have come
    if (err)
        return err;

    struct torc_scope all;
    torc_scope_init(&all);
    err = torc_spawn(&all, draw_numbers, &node);
    uint64_t number, count = 0;
    while (!err && !(err = torc_fabric_recv(&node, &number, NULL)))
        count++;
    if (err == -EPIPE)
        err = 0; // all the others have closed, and nothing is left
    int failed = torc_scope_join(&all);
    torc_fabric_leave(&node);
    printf("shard %" PRIu32 " counted %" PRIu64 " numbers of the others\n", torc_shard_id(), count);
    return err ? err : failed;
}

int main(void)
{
    int err = torc_run(NULL, shard_main, NULL);
    if (err)
        fprintf(stderr, "fabric: %s\n", strerror(-err));
    return err ? 1 : 0;
}
