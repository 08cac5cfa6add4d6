/* SPDX-License-Identifier: MIT */
#include "apps/torc/json.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

void bench_json_init(struct bench_json *json, FILE *out)
{
    *json = (struct bench_json){.out = out};
}

/* The length of the well-formed UTF-8 sequence at TEXT; 0: there is none. */
static size_t sequence_length(const unsigned char *text)
{
    size_t length = 0;
    if (*text < 0x80)
        length = 1;
    else if (*text >= 0xc2)
        length = *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : *text < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (*text == 0xe0 && text[1] < 0xa0) || (*text == 0xf0 && text[1] < 0x90);
    bool beyond = (*text == 0xed && text[1] > 0x9f) || (*text == 0xf4 && text[1] > 0x8f);
    return overlong || beyond ? 0 : length;
}

static void put_text(FILE *out, const char *text)
{
    static const char SHORT[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* a character, what it is after '\' */
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = sequence_length(at);
        const char *escape = NULL;
        for (const char *s = SHORT; *s; s += 2)
            if (*s == (char)*at)
                escape = s + 1;
        if (escape)
            fprintf(out, "\\%c", *escape);
        else if (*at < 0x20)
            fprintf(out, "\\u%04x", *at);
        else if (!length)
            fputs("\\ufffd", out);
        else
            fwrite(at, 1, length, out);
        at += length ? length : 1;
    }
    fputc('"', out);
}

static void begin_member(struct bench_json *json, const char *key)
{
    uint32_t bit = UINT32_C(1) << json->depth;
    if (json->depth)
        fprintf(json->out, json->filled & bit ? ",\n%*s" : "\n%*s", (int)(2 * json->depth), "");
    json->filled |= bit;
    if (key) {
        put_text(json->out, key);
        fputs(" : ", json->out);
    }
}

static void open_level(struct bench_json *json, const char *key, char bracket)
{
    begin_member(json, key);
    fputc(bracket, json->out);
    json->depth++;
    json->filled &= ~(UINT32_C(1) << json->depth);
}

static void close_level(struct bench_json *json, char bracket)
{
    bool filled = json->filled & (UINT32_C(1) << json->depth);
    json->depth--;
    if (filled)
        fprintf(json->out, "\n%*s", (int)(2 * json->depth), "");
    fputc(bracket, json->out);
    if (!json->depth)
        fputc('\n', json->out);
}

void bench_json_object(struct bench_json *json, const char *key)
{
    open_level(json, key, '{');
}

void bench_json_array(struct bench_json *json, const char *key)
{
    open_level(json, key, '[');
}

void bench_json_end_object(struct bench_json *json)
{
    close_level(json, '}');
}

void bench_json_end_array(struct bench_json *json)
{
    close_level(json, ']');
}

void bench_json_text(struct bench_json *json, const char *key, const char *value)
{
    begin_member(json, key);
    put_text(json->out, value);
}

void bench_json_count(struct bench_json *json, const char *key, uint64_t value)
{
    begin_member(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void bench_json_number(struct bench_json *json, const char *key, int64_t value)
{
    begin_member(json, key);
    fprintf(json->out, "%" PRId64, value);
}

void bench_json_bool(struct bench_json *json, const char *key, bool value)
{
    begin_member(json, key);
    fputs(value ? "true" : "false", json->out);
}

void bench_json_null(struct bench_json *json, const char *key)
{
    begin_member(json, key);
    fputs("null", json->out);
}

void bench_json_fraction(struct bench_json *json, const char *key, double value)
{
    begin_member(json, key);
    fprintf(json->out, "%.6f", isfinite(value) ? value : 0.0);
}
