/* SPDX-License-Identifier: MIT
 *
 * `torc info --live`: watches the counters that another process shares in a file (core/counters.h). A look copies the
 * whole file, so that nothing its writer does later (a stop, a crash, a cut) can disturb who prints; the kernel copies
 * aligned words whole.
 */
#ifndef TORC_APPS_INFO_LIVE_H
#define TORC_APPS_INFO_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <torc.h>

enum {
    LIVE_PATH_BYTES = 256,
    LIVE_FILES_MAX = 1024,
};

/* A file of counters that was found. */
struct live_file {
    char path[LIVE_PATH_BYTES];
    unsigned uid, pid;
    bool alive; /* its writer holds the lock; false also where we may not look */
    int error;  /* of opening it: 0 or a negative errno */
};

/* Those in /dev/shm, by PID: how many, at most LIVE_FILES_MAX. */
unsigned live_find(struct live_file *files);

/* One look. */
struct live_copy {
    struct torc_counter_set set;
    const struct torc_counter_file *file;
    void *memory;
    uint64_t at_ns; /* monotonic */
};

struct live_source {
    int fd;
    size_t size;
    struct live_copy before, now;
};

/* Opens PATH for looking; the first look is in `now`. 0 or a negative errno: those of open(2), of
 * torc_counters_attach, -ESRCH: its writer is dead. */
int live_open(struct live_source *source, const char *path);
/* `now` becomes `before`, and another look is taken. -ESRCH: the writer has ended. */
int live_look(struct live_source *source);
void live_close(struct live_source *source);

/* COLUMNS: the width of the page. ALL: also what has never happened. */
void live_print_table(const struct live_source *source, unsigned columns, bool all, FILE *out);
void live_print_json(const struct live_source *source, FILE *out);

int torc_info_live_main(int argc, char **argv);

#endif
