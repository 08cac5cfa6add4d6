/* SPDX-License-Identifier: MIT */
#include "apps/torc/info_read.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/torc/info.h"

void info_copy(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);
    memmove(to, from, length);
    to[length] = '\0';
}

size_t info_format(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, size, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text[0] = '\0';
        return 0;
    }
    return (size_t)length < size ? (size_t)length : size - 1;
}

void info_make_printable(char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = '?';
}

static void trim(char *text)
{
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    const char *start = text;
    while (isspace((unsigned char)*start))
        start++;
    info_copy(text, length + 1, start);
}

static bool read_path(char *text, size_t size, const char *path)
{
    text[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* /proc gives long files piece by piece */
    size_t length = 0;
    ssize_t n;
    while (length < size - 1 && (n = read(fd, text + length, size - 1 - length)) > 0)
        length += (size_t)n;
    close(fd);
    text[length] = '\0';
    trim(text);
    return text[0] != '\0';
}

bool info_read_text(char *text, size_t size, const char *format, ...)
{
    char path[INFO_PATH_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof(path), format, arguments);
    va_end(arguments);
    return read_path(text, size, path);
}

static int64_t to_number(const char *text, int base)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, base);
    return end == text || errno ? INFO_UNKNOWN : value;
}

int64_t info_read_number(const char *format, ...)
{
    char path[INFO_PATH_BYTES], text[32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof(path), format, arguments);
    va_end(arguments);
    return read_path(text, sizeof(text), path) ? to_number(text, 10) : INFO_UNKNOWN;
}

int64_t info_find_number(const char *text, const char *key, int base)
{
    size_t length = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, length) && line[length] == ':')
            return to_number(line + length + 1, base);
    }
    return INFO_UNKNOWN;
}

void info_chosen_word(char *word, size_t size, const char *text)
{
    const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;
    if (!close) {
        info_copy(word, size, text);
        return;
    }
    size_t length = (size_t)(close - open); /* of the word and its end */
    info_copy(word, length < size ? length : size, open + 1);
}

bool info_has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at += length) {
        bool starts = at == text || strchr(" ,[\t\n", at[-1]);
        bool ends = strchr(" ,]\t\n", at[length]); /* the end of the text is found, too */
        if (starts && ends)
            return true;
    }
    return false;
}
