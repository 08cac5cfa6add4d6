/* SPDX-License-Identifier: MIT
 *
 * The lane alone: what is filled, published, read and released, on one thread and between two.
 */
#include "tests/harness.h"

#include "core/random_internal.h"
#include "io/kernel_internal.h"
#include "shard/lane_internal.h"

enum { COUNT = 8, SLOT_BYTES = 24, MESSAGES = 200000 };

static _Alignas(TORCI_LANE_LINE) char memory[4096];

struct ends {
    struct torci_lane_writer writer;
    struct torci_lane_reader reader;
};

static struct ends fresh(void)
{
    memset(memory, 0, sizeof memory);
    CHECK(torci_lane_bytes(COUNT, SLOT_BYTES) <= sizeof memory);
    CHECK_EQ(torci_lane_bytes(COUNT, SLOT_BYTES) % TORCI_LANE_LINE, 0);
    struct torci_lane *lane = (struct torci_lane *)(void *)memory;
    return (struct ends){
        {.lane = lane, .count = COUNT, .slot_bytes = SLOT_BYTES},
        {.lane = lane, .count = COUNT, .slot_bytes = SLOT_BYTES},
    };
}

static bool put(struct torci_lane_writer *writer, uint64_t value)
{
    char *slot = (char *)torci_lane_writer_slot(writer);
    if (!slot)
        return false;
    memcpy(slot, &value, sizeof value);
    memcpy(slot + SLOT_BYTES - sizeof value, &value, sizeof value);
    torci_lane_writer_push(writer);
    return true;
}

static bool take(struct torci_lane_reader *reader, uint64_t *value)
{
    const char *slot = (const char *)torci_lane_reader_slot(reader);
    if (!slot)
        return false;
    memcpy(value, slot, sizeof *value);
    CHECK(!memcmp(slot + SLOT_BYTES - sizeof *value, value, sizeof *value));
    torci_lane_reader_pop(reader);
    return true;
}

TEST(shard_lane, nothing_is_seen_before_it_is_published)
{
    struct ends lane = fresh();
    uint64_t value;
    CHECK(!take(&lane.reader, &value));
    CHECK(put(&lane.writer, 1) && put(&lane.writer, 2));
    CHECK_EQ(torci_lane_writer_unpublished(&lane.writer), 2);
    CHECK(!take(&lane.reader, &value));
    torci_lane_writer_publish(&lane.writer);
    CHECK_EQ(torci_lane_writer_unpublished(&lane.writer), 0);
    CHECK(put(&lane.writer, 3));
    CHECK(take(&lane.reader, &value) && value == 1);
    CHECK(take(&lane.reader, &value) && value == 2);
    CHECK(!take(&lane.reader, &value));
}

TEST(shard_lane, full_until_what_was_read_is_released)
{
    struct ends lane = fresh();
    uint64_t value, sent = 0, got = 0;
    for (unsigned round = 0; round < 100; round++) {
        while (put(&lane.writer, sent))
            sent++;
        CHECK_EQ(sent - got, COUNT);
        torci_lane_writer_publish(&lane.writer);
        unsigned some = 1 + round % COUNT;
        for (unsigned i = 0; i < some; i++) {
            CHECK(take(&lane.reader, &value));
            CHECK_EQ(value, got);
            got++;
            CHECK(torci_lane_reader_is_ahead(&lane.reader));
            CHECK(!put(&lane.writer, sent));
        }
        torci_lane_reader_release(&lane.reader);
        CHECK(!torci_lane_reader_is_ahead(&lane.reader));
    }
}

static void write_all(void *arg)
{
    struct torci_lane_writer *writer = (struct torci_lane_writer *)arg;
    struct torci_random random;
    torci_random_seed(&random, 1);
    for (uint64_t i = 0; i < MESSAGES;) {
        if (put(writer, i))
            i++;
        if (torci_lane_writer_unpublished(writer) == COUNT || i == MESSAGES ||
            torci_random_below(&random, 4) == 0)
            torci_lane_writer_publish(writer);
    }
}

TEST(shard_lane, two_threads_see_whole_messages_in_order)
{
    const struct torci_kernel *kernel = torci_kernel_linux_get();
    struct ends lane = fresh();
    struct torci_random random;
    torci_random_seed(&random, 2);
    uintptr_t thread;
    CHECK_EQ(kernel->thread_start(kernel->host.context, write_all, &lane.writer, "writer", &thread),
             0);
    for (uint64_t i = 0; i < MESSAGES;) {
        uint64_t value;
        if (take(&lane.reader, &value)) {
            CHECK_EQ(value, i);
            i++;
        }
        if (lane.reader.next - lane.reader.released == COUNT || torci_random_below(&random, 4) == 0)
            torci_lane_reader_release(&lane.reader);
    }
    kernel->thread_join(kernel->host.context, thread);
}
