/* SPDX-License-Identifier: MIT
 *
 * What is under way when a set of shards ends: more control messages than a lane holds, that nobody answers.
 */
#include "core/time.h"
#include "shard/run.h"
#include "shard/shard_internal.h"
#include "tests/harness.h"

enum { SHARDS = 3, NOTES = 3 * TORCI_LANE_SLOTS + 7, ROUNDS = 40 };

static struct torci_note notes[SHARDS][NOTES];
static uint64_t taken[SHARDS];

static bool note_came(struct torci_shard *self, uint32_t from, const struct torci_message *message)
{
    (void)from;
    (void)message;
    taken[self->id]++;
    return true;
}

static int send_all_and_leave(void *arg)
{
    struct torci_shard *self = torci_shard_this();
    uint32_t senders = (uint32_t)(uintptr_t)arg, to = (self->id + 1) % SHARDS;
    if (self->id >= senders)
        return 0;
    for (int i = 0; i < NOTES; i++) {
        notes[self->id][i] = (struct torci_note){.message.fn = note_came};
        torci_mesh_control(self, to, &notes[self->id][i]);
    }
    return 0;
}

static void run(uintptr_t senders)
{
    struct torc_config config = {.shards = SHARDS};
    for (int round = 0; round < ROUNDS; round++) {
        memset(taken, 0, sizeof taken);
        CHECK_EQ(torc_run(&config, send_all_and_leave, (void *)senders), 0);
        for (uint32_t id = 0; id < SHARDS; id++)
            CHECK_EQ(taken[id], id >= 1 && id <= senders ? NOTES : senders == SHARDS ? NOTES : 0);
    }
}

TEST(exit, chained_notes_of_one_shard_go_out_before_the_end)
{
    run(1);
}

TEST(exit, chained_notes_of_all_shards_go_out_before_the_end)
{
    run(SHARDS);
}
