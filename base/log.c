/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static struct {
    enum sr_log_level level;
    enum sr_log_format format;
    char node[64];
} settings = {.level = SR_LOG_INFO, .format = SR_LOG_LOGFMT};

static const char *const level_names[] = {"debug", "info", "warn", "error", "fatal"};

void sr_log_init(enum sr_log_level level, enum sr_log_format format, const char *node)
{
    settings.level = level;
    settings.format = format;
    snprintf(settings.node, sizeof(settings.node), "%s", node == NULL ? "" : node);
}

bool sr_log_enabled(enum sr_log_level level)
{
    return level >= settings.level;
}

static size_t format_time(char *out, size_t size)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &parts);
    int more = snprintf(out + used, size - used, ".%03ldZ", now.tv_nsec / 1000000);
    return used + (more > 0 ? (size_t)more : 0);
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t used;
};

/* Append; one byte is kept for the newline, what does not fit is cut. */
static void put(struct line *line, const char *text, size_t size)
{
    size_t room = sizeof(line->text) - 1 - line->used;
    size_t taken = size < room ? size : room;
    memcpy(line->text + line->used, text, taken);
    line->used += taken;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_json_string(struct line *line, const char *text, size_t size)
{
    put(line, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            put(line, escaped, 2);
        } else if (c < 0x20) {
            int n = snprintf(escaped, sizeof(escaped), "\\u%04x", c);
            put(line, escaped, (size_t)n);
        } else {
            put(line, (const char *)&text[i], 1);
        }
    }
    put(line, "\"", 1);
}

/* Turn key=value key="quoted value" into ,"key":"value" pairs. */
static void put_fields_as_json(struct line *line, const char *fields)
{
    const char *at = fields;
    while (*at != '\0') {
        at += strspn(at, " ");
        size_t key = strcspn(at, "= ");
        if (key == 0 || at[key] != '=') {
            break;
        }
        put(line, ",", 1);
        put_json_string(line, at, key);
        put(line, ":", 1);
        at += key + 1;
        bool quoted = *at == '"';
        at += quoted;
        size_t value = strcspn(at, quoted ? "\"" : " ");
        put_json_string(line, at, value);
        at += value;
        at += quoted && *at == '"';
    }
}

void sr_log(enum sr_log_level level, const char *part, const char *message, const char *fields, ...)
{
    if (!sr_log_enabled(level)) {
        return;
    }
    char expanded[LINE_MAX_BYTES];
    va_list args;
    va_start(args, fields);
    vsnprintf(expanded, sizeof(expanded), fields, args);
    va_end(args);
    for (char *c = expanded; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) { /* also those that a terminal obeys */
            *c = ' ';
        }
    }

    char time_text[40];
    size_t time_size = format_time(time_text, sizeof(time_text));
    struct line line = {.used = 0};
    if (settings.format == SR_LOG_JSON) {
        put_text(&line, "{\"ts\":");
        put_json_string(&line, time_text, time_size);
        put_text(&line, ",\"level\":");
        put_json_string(&line, level_names[level], strlen(level_names[level]));
        put_text(&line, ",\"node\":");
        put_json_string(&line, settings.node, strlen(settings.node));
        put_text(&line, ",\"part\":");
        put_json_string(&line, part, strlen(part));
        put_text(&line, ",\"msg\":");
        put_json_string(&line, message, strlen(message));
        put_fields_as_json(&line, expanded);
        put_text(&line, "}");
    } else {
        char head[256];
        int size = snprintf(head, sizeof(head), "ts=%s level=%s node=%s part=%s msg=\"%s\"",
                            time_text, level_names[level], settings.node, part, message);
        put(&line, head, size < (int)sizeof(head) ? (size_t)size : sizeof(head) - 1);
        if (expanded[0] != '\0') {
            put_text(&line, " ");
            put_text(&line, expanded);
        }
    }
    line.text[line.used++] = '\n';
    /* One write a line keeps lines whole; there is nobody to tell if it fails. */
    ssize_t ignored = write(STDERR_FILENO, line.text, line.used);
    (void)ignored;
}
