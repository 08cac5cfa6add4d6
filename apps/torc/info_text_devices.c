/* SPDX-License-Identifier: MIT
 *
 * Disks: a table with a line each, or with --all every detail.
 */
#include <inttypes.h>
#include <string.h>

#include "apps/torc/info_read.h"
#include "apps/torc/info_text.h"

enum { ROWS_MAX = 16, CELL_BYTES = 40 };

enum column { NAME, SIZE, MODEL, SCHEDULER, QUEUES, CACHE, POLL, ALIGN, MOUNTED, COLUMNS };

static const char *const headings[COLUMNS] = {
    "disk", "size", "model", "scheduler", "queues", "cache", "poll", "align", "mounted",
};

static const char *or_dash(const char *text)
{
    return text[0] ? text : "-";
}

static const char *poll_text(const struct info_device *d)
{
    return d->io_poll < 0 ? "-" : d->io_poll ? "yes" : "no";
}

static void fill_mounted(const struct info_device *d, char cell[CELL_BYTES])
{
    enum { MOST = CELL_BYTES - 8 };
    if (!d->mount_count)
        info_copy(cell, CELL_BYTES, "-");
    else if (d->mount_count == 1)
        info_copy(cell, CELL_BYTES, d->mounts[0]);
    else
        info_format(cell, CELL_BYTES, "%.*s +%u", (int)MOST, d->mounts[0], d->mount_count - 1);
}

static void fill(const struct info_device *d, enum column column, char cell[CELL_BYTES])
{
    enum { MODEL_MOST = 21 };
    switch (column) {
    case NAME: info_format(cell, CELL_BYTES, "  %s", d->name); break; /* below a title */
    case SIZE: info_copy(cell, CELL_BYTES, info_bytes(d->size_bytes).text); break;
    case MODEL: info_copy(cell, MODEL_MOST, d->model[0] ? d->model : d->driver); break;
    case SCHEDULER: info_copy(cell, CELL_BYTES, or_dash(d->scheduler)); break;
    case QUEUES:
        if (d->queue_depth < 0 || d->hardware_queues < 0)
            info_copy(cell, CELL_BYTES, "-");
        else
            info_format(cell, CELL_BYTES, "%" PRId64 "x%" PRId64, d->hardware_queues,
                        d->queue_depth);
        break;
    case CACHE:
        info_format(cell, CELL_BYTES, "%s%s", or_dash(d->write_cache), d->fua > 0 ? "+FUA" : "");
        break;
    case POLL: info_copy(cell, CELL_BYTES, poll_text(d)); break;
    case ALIGN:
        if (d->logical_bytes < 0)
            info_copy(cell, CELL_BYTES, "-");
        else
            info_format(cell, CELL_BYTES, "%" PRId64, d->logical_bytes);
        break;
    case MOUNTED: fill_mounted(d, cell); break;
    case COLUMNS: cell[0] = '\0'; break;
    }
    info_make_printable(cell);
}

/* The last column takes what is left of the line, but enough to be of use. */
static void print_line(struct info_page *page, char cells[COLUMNS][CELL_BYTES],
                       const size_t widths[COLUMNS])
{
    enum { LAST_MIN = 8 };
    size_t used = 0;
    for (int c = 0; c < MOUNTED; c++) {
        fprintf(page->out, c == SIZE ? "%*s  " : "%-*s  ", (int)widths[c], cells[c]);
        used += widths[c] + 2;
    }
    size_t left = page->style->width > used + LAST_MIN ? page->style->width - used : LAST_MIN;
    fprintf(page->out, "%.*s\n", (int)left, cells[MOUNTED]);
}

static void print_table(struct info_page *page, const struct info_devices *devices, unsigned rows)
{
    size_t widths[COLUMNS];
    char cells[COLUMNS][CELL_BYTES];
    for (int c = 0; c < COLUMNS; c++) {
        widths[c] = strlen(headings[c]);
        for (unsigned i = 0; i < rows; i++) {
            fill(&devices->items[i], (enum column)c, cells[c]);
            widths[c] = strlen(cells[c]) > widths[c] ? strlen(cells[c]) : widths[c];
        }
        info_copy(cells[c], CELL_BYTES, headings[c]);
    }
    fprintf(page->out, "\n%s", page->bold);
    print_line(page, cells, widths);
    fputs(page->plain, page->out);
    for (unsigned i = 0; i < rows; i++) {
        for (int c = 0; c < COLUMNS; c++)
            fill(&devices->items[i], (enum column)c, cells[c]);
        print_line(page, cells, widths);
    }
    if (rows < devices->count)
        fprintf(page->out, "  and %u more: torc info --all\n", devices->count - rows);
}

static void print_mounts(struct info_page *page, const struct info_device *d)
{
    for (unsigned i = 0; i < d->mount_count; i++)
        info_row(page, i ? "" : "mounted", "%s", d->mounts[i]);
}

static void print_details(struct info_page *page, const struct info_device *d)
{
    info_title(page, d->name);
    info_row(page, "what", "%s %s%s%s%s%s", info_bytes(d->size_bytes).text, d->driver,
             d->model[0] ? ", " : "", d->model, d->rotational == 1 ? ", rotational" : "",
             d->read_only == 1 ? ", read-only" : "");
    if (d->hardware_queues >= 0 && d->queue_depth >= 0)
        info_row(page, "queues", "%" PRId64 " of %" PRId64 " requests", d->hardware_queues,
                 d->queue_depth);
    info_row(page, "scheduler", "%s", or_dash(d->schedulers));
    info_row(page, "write cache", "%s, %s", or_dash(d->write_cache), d->fua > 0 ? "FUA" : "no FUA");
    if (d->poll_queues >= 0)
        info_row(page, "polling", "%s, poll_queues=%" PRId64 " of %s", poll_text(d), d->poll_queues,
                 d->driver);
    else
        info_row(page, "polling", "%s", poll_text(d));
    info_row(page, "blocks", "%s logical, %s physical", info_bytes(d->logical_bytes).text,
             info_bytes(d->physical_bytes).text);
    info_row(page, "direct I/O", "offset and length by %s, memory by %s",
             info_bytes(d->logical_bytes).text, info_bytes(d->memory_align).text);
    info_row(page, "request", "at most %s, best %s", info_bytes(d->io_max_bytes).text,
             d->io_optimal_bytes > 0 ? info_bytes(d->io_optimal_bytes).text : "not told");
    info_row(page, "discard", "%s",
             d->discard_max_bytes > 0 ? info_bytes(d->discard_max_bytes).text : "no");
    if (d->atomic_write_max_bytes > 0)
        info_row(page, "atomic", "writes up to %s", info_bytes(d->atomic_write_max_bytes).text);
    if (d->zoned[0] && strcmp(d->zoned, "none") != 0)
        info_row(page, "zoned", "%s", d->zoned);
    print_mounts(page, d);
}

void info_print_devices(struct info_page *page, const struct info_devices *devices)
{
    if (!devices->count) {
        info_title(page, "disks");
        fprintf(page->out, "  %s\n",
                devices->visible ? "none" : "none to be seen: no /sys/block here");
        return;
    }
    bool all = page->style->all || devices->count <= ROWS_MAX;
    print_table(page, devices, all ? devices->count : ROWS_MAX);
    for (unsigned i = 0; page->style->all && i < devices->count; i++)
        print_details(page, &devices->items[i]);
}
