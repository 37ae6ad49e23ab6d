/* SPDX-License-Identifier: Apache-2.0 */
#include "node/admin/json.h"

#include <stdarg.h>
#include <stdio.h>

void sr_json_put(struct sr_buf *page, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    size_t taken = size < 0 ? 0 : (size_t)size;
    sr_buf_append(page, text, taken < sizeof(text) ? taken : sizeof(text) - 1);
}

void sr_json_text(struct sr_buf *page, const char *text)
{
    sr_buf_append_u8(page, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == '"' || c == '\\') {
            sr_json_put(page, "\\u%04x", c);
        } else {
            sr_buf_append_u8(page, c);
        }
    }
    sr_buf_append_u8(page, '"');
}

void sr_json_field(struct sr_buf *page, const char *name, const char *text)
{
    sr_json_put(page, "\"%s\":", name);
    sr_json_text(page, text);
}

const char *sr_json_truth(bool value)
{
    return value ? "true" : "false";
}
