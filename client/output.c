/* SPDX-License-Identifier: Apache-2.0 */
#include "client/output.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define GAP 2 /* between columns */

/* ---- Tables ---- */

void output_table_open(struct output_table *table, const char *const *titles, size_t columns)
{
    sr_check(columns >= 1 && columns <= OUTPUT_COLUMNS_MAX);
    *table = (struct output_table){.columns = columns};
    output_table_row(table);
    for (size_t i = 0; i < columns; i++) {
        output_table_set(table, i, "%s", titles[i]);
    }
}

void output_table_row(struct output_table *table)
{
    size_t used = table->rows * table->columns;
    table->cells = sr_realloc(table->cells, (used + table->columns) * sizeof(*table->cells));
    memset(table->cells[used], 0, table->columns * sizeof(*table->cells));
    table->rows++;
}

void output_table_set(struct output_table *table, size_t column, const char *format, ...)
{
    char *cell = table->cells[(table->rows - 1) * table->columns + column];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cell, OUTPUT_CELL_BYTES, format, arguments);
    va_end(arguments);
}

void output_table_close(struct output_table *table)
{
    size_t widths[OUTPUT_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        size_t width = strlen(table->cells[i]);
        if (width > widths[i % table->columns]) {
            widths[i % table->columns] = width;
        }
    }
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        size_t column = i % table->columns;
        if (column + 1 == table->columns) {
            printf("%s\n", table->cells[i]);
        } else {
            printf("%-*s", (int)(widths[column] + GAP), table->cells[i]);
        }
    }
    sr_free(table->cells);
    *table = (struct output_table){0};
}

/* ---- JSON ---- */

static void put_string(const char *text)
{
    putchar('"');
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            printf("\\%c", byte);
        } else if (byte < ' ' || byte == 0x7f) {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
    putchar('"');
}

static void begin_value(struct output_json *json, const char *name)
{
    if (json->comma) {
        putchar(',');
    }
    json->comma = true;
    if (name != NULL) {
        put_string(name);
        putchar(':');
    }
}

void output_json_begin(struct output_json *json, const char *name, char bracket)
{
    begin_value(json, name);
    putchar(bracket);
    json->comma = false;
}

void output_json_end(struct output_json *json, char bracket)
{
    putchar(bracket);
    json->comma = true;
}

void output_json_text(struct output_json *json, const char *name, const char *value)
{
    begin_value(json, name);
    put_string(value);
}

void output_json_number(struct output_json *json, const char *name, uint64_t value)
{
    begin_value(json, name);
    printf("%" PRIu64, value);
}

void output_json_integer(struct output_json *json, const char *name, int64_t value)
{
    begin_value(json, name);
    printf("%" PRId64, value);
}

void output_json_bool(struct output_json *json, const char *name, bool value)
{
    begin_value(json, name);
    printf("%s", value ? "true" : "false");
}

void output_json_id(struct output_json *json, const char *name, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof(text), "%" PRIx64, id);
    output_json_text(json, name, text);
}
