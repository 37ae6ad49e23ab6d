/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands print: tables for people, JSON for programs. On standard output.
 */
#ifndef SR_CLIENT_OUTPUT_H
#define SR_CLIENT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_COLUMNS_MAX 16
#define OUTPUT_CELL_BYTES  256

/* Rows are collected, so that columns can be as wide as what is in them. */
struct output_table {
    size_t columns;
    size_t rows;
    char (*cells)[OUTPUT_CELL_BYTES];
};

/* @titles: @columns of them, at most OUTPUT_COLUMNS_MAX. */
void output_table_open(struct output_table *table, const char *const *titles, size_t columns);
/* A new row, empty. */
void output_table_row(struct output_table *table);
/* Cell @column of the last row; cut when longer than OUTPUT_CELL_BYTES. */
void output_table_set(struct output_table *table, size_t column, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Print it, and free what it holds. */
void output_table_close(struct output_table *table);

/* JSON, a piece at a time; commas come by themselves. @name is NULL inside an array. */
struct output_json {
    bool comma;
};

void output_json_begin(struct output_json *json, const char *name, char bracket); /* { or [ */
void output_json_end(struct output_json *json, char bracket);                     /* } or ] */
void output_json_text(struct output_json *json, const char *name, const char *value);
void output_json_number(struct output_json *json, const char *name, uint64_t value);
void output_json_integer(struct output_json *json, const char *name, int64_t value);
void output_json_bool(struct output_json *json, const char *name, bool value);
/* A member's id: a string of hexadecimal digits, since programs take numbers for floats. */
void output_json_id(struct output_json *json, const char *name, uint64_t id);

#endif
