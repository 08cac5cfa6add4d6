/* SPDX-License-Identifier: MIT
 *
 * Writes one JSON document to a stream, in fio's layout: two blanks a level, ` : ` after a key, six decimals in every
 * fraction. Text is escaped; bytes that are not UTF-8 become U+FFFD, so that the document is always valid. The caller
 * closes what it opens; nothing is allocated.
 */
#ifndef TORC_APPS_JSON_H
#define TORC_APPS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { BENCH_JSON_DEPTH_MAX = 31 };

struct bench_json {
    FILE *out;
    unsigned depth;
    uint32_t filled; /* bit n: level n has a member already */
};

void bench_json_init(struct bench_json *json, FILE *out);

/* KEY is NULL inside an array and for the document itself. */
void bench_json_object(struct bench_json *json, const char *key);
void bench_json_array(struct bench_json *json, const char *key);
void bench_json_end_object(struct bench_json *json);
void bench_json_end_array(struct bench_json *json);

void bench_json_text(struct bench_json *json, const char *key, const char *value);
void bench_json_count(struct bench_json *json, const char *key, uint64_t value);
void bench_json_number(struct bench_json *json, const char *key, int64_t value);
void bench_json_bool(struct bench_json *json, const char *key, bool value);
void bench_json_null(struct bench_json *json, const char *key);
/* What is not finite is written as 0. */
void bench_json_fraction(struct bench_json *json, const char *key, double value);

#endif
