/* SPDX-License-Identifier: MIT
 *
 * Directories: made, synced, listed in one piece and in small ones.
 */
#include "dma/directory.h"

#include "dma/file.h"
#include "tests/dma_dir.h"

enum { MANY = 10000 };

static int makes(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_directory d, inner;
    struct stat st;
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    CHECK_EQ(torc_directory_create(&d, "sub", 0700), 0);
    CHECK_EQ(stat(test_path(dir, "sub"), &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0700);
    CHECK_EQ(torc_directory_create(&d, "sub", 0), -EEXIST);
    CHECK_EQ(torc_directory_create(&d, "sub2", 010000), -EINVAL);
    CHECK_EQ(torc_directory_open(&inner, &d, "sub"), 0);
    CHECK_EQ(torc_directory_create(&inner, "deep", 0), 0);
    CHECK_EQ(torc_directory_sync(&inner), 0);
    CHECK_EQ(torc_directory_remove(&d, "sub"), -ENOTEMPTY);
    CHECK_EQ(torc_directory_remove(&inner, "deep"), 0);
    torc_directory_close(&inner);
    CHECK_EQ(torc_directory_remove(&d, "sub"), 0);
    CHECK_EQ(torc_directory_remove(&d, "sub"), -ENOENT);
    CHECK_EQ(torc_directory_open(&inner, &d, "sub"), -ENOENT);
    CHECK_EQ(inner.fd, -1);

    struct torc_file f;
    CHECK_EQ(torc_file_open(&f, "file",
                            &(struct torc_file_options){.write = true, .create = true, .at = &d}),
             0);
    torc_file_close(&f);
    CHECK_EQ(torc_directory_open(&inner, &d, "file"), -ENOTDIR);
    CHECK_EQ(torc_directory_remove(&d, "file"), -ENOTDIR);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_directory, makes_and_removes)
{
    test_in_directories(makes);
}

static void make_many(struct test_dir *dir, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "entry-%u", i);
        int fd = open(test_path(dir, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        close(fd);
    }
}

/* Marks what it finds; each name must be one of the COUNT and come once. */
static unsigned mark(const struct torc_directory_entry *entry, bool *seen, unsigned count)
{
    unsigned number;
    CHECK_EQ(strlen(entry->name), entry->name_length);
    CHECK(sscanf(entry->name, "entry-%u", &number) == 1 && number < count);
    CHECK(!seen[number]);
    CHECK(entry->type == TORC_ENTRY_FILE || entry->type == TORC_ENTRY_UNKNOWN);
    CHECK(entry->inode != 0);
    seen[number] = true;
    return 1;
}

static bool seen_many[MANY];

static int lists(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_directory d;
    struct torc_directory_list list;
    struct torc_directory_entry entry;
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    CHECK_EQ(torc_directory_list(&d, 0, &list), 0);
    size_t position = 0;
    CHECK(!torc_directory_list_next(&list, &position, &entry)); /* "." and ".." are left out */
    torc_directory_list_free(&list);

    make_many(dir, MANY);
    for (int again = 0; again < 2; again++) {
        memset(seen_many, 0, sizeof seen_many);
        CHECK_EQ(torc_directory_list(&d, 0, &list), 0);
        unsigned count = 0;
        position = 0;
        while (torc_directory_list_next(&list, &position, &entry))
            count += mark(&entry, seen_many, MANY);
        CHECK_EQ(count, MANY);
        torc_directory_list_free(&list);
    }
    CHECK_EQ(torc_directory_list(&d, 64 * 1024, &list), -EOVERFLOW);
    CHECK(list.memory == NULL);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_directory, lists_ten_thousand_names)
{
    test_in_directories(lists);
}

static int lists_hidden(void *arg)
{
    static const char *const names[] = {".a", "...", "..a", "a."};
    struct test_dir *dir = arg;
    struct torc_directory d;
    struct torc_directory_list list;
    struct torc_directory_entry entry;
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    for (size_t i = 0; i < TORC_ARRAY_LENGTH(names); i++)
        CHECK_EQ(mkdir(test_path(dir, names[i]), 0700), 0);
    CHECK_EQ(torc_directory_list(&d, 0, &list), 0);
    size_t position = 0;
    int count = 0;
    while (torc_directory_list_next(&list, &position, &entry)) {
        CHECK(strcmp(entry.name, ".") != 0 && strcmp(entry.name, "..") != 0);
        CHECK(entry.type == TORC_ENTRY_DIRECTORY || entry.type == TORC_ENTRY_UNKNOWN);
        count++;
    }
    CHECK_EQ(count, TORC_ARRAY_LENGTH(names));
    torc_directory_list_free(&list);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_directory, leaves_out_two_names_and_no_more)
{
    test_in_directories(lists_hidden);
}

static int reads_on(void *arg)
{
    struct test_dir *dir = arg;
    enum { FEW = 300 };
    struct torc_directory d;
    struct torc_directory_entry entry;
    _Alignas(8) unsigned char memory[1024];
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    make_many(dir, FEW);
    for (int again = 0; again < 2; again++) {
        unsigned count = 0, reads = 0;
        ssize_t n;
        memset(seen_many, 0, sizeof seen_many);
        CHECK_EQ(torc_directory_rewind(&d), 0);
        while ((n = torc_directory_read(&d, memory, sizeof memory)) > 0) {
            size_t position = 0;
            reads++;
            CHECK((size_t)n <= sizeof memory);
            while (torc_directory_next(memory, (size_t)n, &position, &entry))
                count += mark(&entry, seen_many, FEW);
        }
        CHECK_EQ(n, 0);
        CHECK_EQ(count, FEW);
        CHECK(reads > 5);
    }
    CHECK_EQ(torc_directory_read(&d, memory, TORC_DIRECTORY_READ_MIN - 1), -EINVAL);
    CHECK_EQ(torc_directory_read(&d, memory + 1, TORC_DIRECTORY_READ_MIN), -EINVAL);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_directory, reads_in_small_pieces)
{
    test_in_directories(reads_on);
}

/* A list that its bound cuts exactly behind the last record is whole. */
static int list_fits_exactly(void *arg)
{
    struct test_dir *dir = arg;
    struct torc_directory d;
    struct torc_directory_list list;
    CHECK_EQ(torc_directory_open(&d, NULL, dir->path), 0);
    unsigned count = 0;
    /* Names of 14 bytes or less make records of 32 bytes or more; the bound is a page. */
    for (;; count++) {
        int err = torc_directory_list(&d, 4096, &list);
        if (err) {
            CHECK_EQ(err, -EOVERFLOW);
            break;
        }
        CHECK(list.used <= 4096);
        torc_directory_list_free(&list);
        char name[32];
        snprintf(name, sizeof name, "entry-%u", count);
        int fd = open(test_path(dir, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        close(fd);
    }
    /* Less than one call of the kernel's shortest acceptable memory stays unused. */
    CHECK(count * 32 > 4096 - TORC_DIRECTORY_READ_MIN - 3 * 32);
    torc_directory_close(&d);
    return 0;
}
TEST(dma_directory, a_list_keeps_to_its_bound)
{
    test_in_directories(list_fits_exactly);
}

static int walks_nonsense(void *arg)
{
    struct torc_directory_entry entry;
    _Alignas(8) unsigned char memory[64] = {0};
    size_t position = 0;
    (void)arg;
    CHECK(!torc_directory_next(memory, 0, &position, &entry));
    CHECK(!torc_directory_next(memory, 10, &position, &entry));
    CHECK(!torc_directory_next(memory, sizeof memory, &position, &entry)); /* a length of 0 */
    memory[16] = 80;                                                       /* beyond the end */
    CHECK(!torc_directory_next(memory, sizeof memory, &position, &entry));
    memory[16] = 64;
    memset(memory + 19, 'x', 45); /* no end of the name */
    CHECK(torc_directory_next(memory, sizeof memory, &position, &entry));
    CHECK_EQ(entry.name_length, 45);
    CHECK_EQ(position, 64);
    return 0;
}
TEST(dma_directory, walking_trusts_no_length)
{
    CHECK_EQ(walks_nonsense(NULL), 0);
}
