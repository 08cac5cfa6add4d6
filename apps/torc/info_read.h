/* SPDX-License-Identifier: MIT
 *
 * Small files of /proc and /sys. Every path is made by a printf format; what can't be read is empty or INFO_UNKNOWN.
 */
#ifndef TORC_APPS_INFO_READ_H
#define TORC_APPS_INFO_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INFO_PATH_BYTES = 1024 };

/* The file's beginning without white space around it, cut to SIZE. False, and an empty text: it can't be read. */
bool info_read_text(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The decimal number that the file begins with. */
int64_t info_read_number(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The number behind "KEY:" at the start of a line of TEXT, in base BASE. */
int64_t info_find_number(const char *text, const char *key, int base);
/* The word in brackets of "a [b] c"; all of TEXT if none is. */
void info_chosen_word(char *word, size_t size, const char *text);
bool info_has_word(const char *text, const char *word);
/* printf into TEXT, cut to SIZE; the length that TEXT has now. */
size_t info_format(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts a question mark in place of every control character: names come from hardware and from users. */
void info_make_printable(char *text);
/* Copies and cuts. */
void info_copy(char *to, size_t size, const char *from);

#endif
