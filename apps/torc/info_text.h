/* SPDX-License-Identifier: MIT
 *
 * What the parts of the text report share: a page that knows its width and colours.
 */
#ifndef TORC_APPS_INFO_TEXT_H
#define TORC_APPS_INFO_TEXT_H

#include "apps/torc/info.h"

enum { INFO_LABEL_COLUMNS = 14, INFO_SHORT_BYTES = 64 };

struct info_page {
    FILE *out;
    const struct info_style *style;
    const char *bold, *faint, *mark, *plain; /* empty without colours */
    unsigned column;
};

struct info_short {
    char text[INFO_SHORT_BYTES];
};

/* "8 MiB", "4.4 TiB", "unlimited", "unknown". */
struct info_short info_bytes(int64_t bytes);

/* Sets colours by page->style. */
void info_page_colours(struct info_page *page);

void info_title(struct info_page *page, const char *text);
/* A label and the text behind it, broken at blanks where the page ends. */
void info_row(struct info_page *page, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void info_print_devices(struct info_page *page, const struct info_devices *devices);

#endif
