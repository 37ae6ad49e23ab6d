/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks the events of the YAML parser once and notes path, line and text of each field. The
 * schema (schema.c) then reads the same text; it knows types but places its errors only roughly.
 */
#include "node/config/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/alloc.h"

#define FILE_BYTES_MAX (1024 * 1024L)
#define DEPTH_MAX      8
#define FIELDS_MAX     4096

/* ---- Reading ---- */

static int read_whole(int fd, struct sr_config_source *source, struct sr_err *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return sr_err_errno(err, SR_IO, errno, "%s", source->file);
    }
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_BYTES_MAX) {
        return sr_err_set(err, SR_INVALID, "%s: not a regular file of at most 1 MiB", source->file);
    }
    uint8_t *data = sr_buf_extend(&source->text, (size_t)status.st_size);
    size_t used = 0;
    while (used < (size_t)status.st_size) {
        ssize_t n = read(fd, data + used, (size_t)status.st_size - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sr_err_errno(err, SR_IO, errno, "%s", source->file);
        }
        if (n == 0) {
            break; /* it has become shorter; what is there decides */
        }
        used += (size_t)n;
    }
    source->text.size = used;
    return SR_OK;
}

static int read_file(struct sr_config_source *source, struct sr_err *err)
{
    int fd = open(source->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO, errno, "%s", source->file);
    }
    int status = read_whole(fd, source, err);
    close(fd);
    return status;
}

/* ---- Walking ---- */

/* One open mapping or list. */
struct level {
    bool is_list;
    bool has_key;     /* mapping: the key has been read, its value comes next */
    size_t path_size; /* of the path of this level itself */
    unsigned next;    /* list: index of the next entry */
    size_t key_line;  /* mapping: where the key stands */
};

struct walk {
    struct sr_config_source *source;
    struct level levels[DEPTH_MAX];
    size_t depth;
    char path[SR_CONFIG_PATH_MAX];
};

static int refuse_at(const struct sr_config_source *source, struct sr_err *err, size_t line,
                     const char *reason)
{
    return sr_err_set(err, SR_INVALID, "%s:%zu: %s", source->file, line, reason);
}

/* Put ".key" or "[3]" after the path of the innermost level. */
static void extend_path(struct walk *walk, const char *key)
{
    struct level *level = &walk->levels[walk->depth - 1];
    size_t room = sizeof(walk->path) - level->path_size;
    char *end = walk->path + level->path_size;
    if (level->is_list) {
        snprintf(end, room, "[%u]", level->next++);
    } else {
        snprintf(end, room, "%s%s", level->path_size == 0 ? "" : ".", key);
    }
}

static int add_field(struct walk *walk, size_t line, const char *scalar, struct sr_err *err)
{
    struct sr_config_source *source = walk->source;
    if (source->field_count == FIELDS_MAX) {
        return refuse_at(source, err, line, "more fields than any configuration has");
    }
    struct sr_config_field *field = &source->fields[source->field_count++];
    field->path = sr_strdup(walk->path);
    field->line = (unsigned)line;
    field->scalar = scalar == NULL ? NULL : sr_strdup(scalar);
    return SR_OK;
}

/* A value comes in the innermost level, at @line; returns the line that people look for it at. */
static size_t begin_value(struct walk *walk, size_t line)
{
    struct level *level = &walk->levels[walk->depth - 1];
    if (level->is_list) {
        extend_path(walk, NULL);
        return line;
    }
    level->has_key = false;
    return level->key_line;
}

static int on_scalar(struct walk *walk, size_t line, const char *text, struct sr_err *err)
{
    if (walk->depth == 0) {
        return refuse_at(walk->source, err, line, "expected a mapping of fields");
    }
    struct level *level = &walk->levels[walk->depth - 1];
    if (!level->is_list && !level->has_key) {
        extend_path(walk, text);
        level->has_key = true;
        level->key_line = line;
        if (sr_config_source_find(walk->source, walk->path) != NULL) {
            return sr_err_set(err, SR_INVALID, "%s:%zu: %s: given twice", walk->source->file, line,
                              walk->path);
        }
        return SR_OK;
    }
    return add_field(walk, begin_value(walk, line), text, err);
}

static int on_open(struct walk *walk, size_t line, bool is_list, struct sr_err *err)
{
    if (walk->depth == DEPTH_MAX) {
        return refuse_at(walk->source, err, line, "nested deeper than any configuration is");
    }
    if (walk->depth == 0) {
        if (is_list) {
            return refuse_at(walk->source, err, line, "expected a mapping of fields");
        }
        walk->levels[walk->depth++] = (struct level){0};
        return SR_OK;
    }
    struct level *outer = &walk->levels[walk->depth - 1];
    if (!outer->is_list && !outer->has_key) {
        return refuse_at(walk->source, err, line, "the name of a field must be text");
    }
    int status = add_field(walk, begin_value(walk, line), NULL, err);
    walk->levels[walk->depth++] =
        (struct level){.is_list = is_list, .path_size = strlen(walk->path)};
    return status;
}

static int on_event(struct walk *walk, const yaml_event_t *event, struct sr_err *err)
{
    size_t line = event->start_mark.line + 1;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(walk, line, (const char *)event->data.scalar.value, err);
    case YAML_MAPPING_START_EVENT:
        return on_open(walk, line, false, err);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(walk, line, true, err);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        walk->depth--;
        return SR_OK;
    case YAML_ALIAS_EVENT:
        return refuse_at(walk->source, err, line, "aliases are not supported");
    case YAML_DOCUMENT_START_EVENT:
        if (walk->source->field_count > 0) {
            return refuse_at(walk->source, err, line, "a second document; one is expected");
        }
        return SR_OK;
    default:
        return SR_OK;
    }
}

static int walk_events(struct walk *walk, yaml_parser_t *parser, struct sr_err *err)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            size_t line = parser->problem_mark.line + 1;
            return refuse_at(walk->source, err, line,
                             parser->problem == NULL ? "not YAML" : parser->problem);
        }
        yaml_event_type_t type = event.type;
        int status = on_event(walk, &event, err);
        yaml_event_delete(&event);
        if (status != SR_OK || type == YAML_STREAM_END_EVENT) {
            return status;
        }
    }
}

int sr_config_source_open(struct sr_config_source *source, const char *file, struct sr_err *err)
{
    *source = (struct sr_config_source){.file = file};
    int status = read_file(source, err);
    if (status != SR_OK) {
        return status;
    }
    if (source->text.size == 0) {
        return refuse_at(source, err, 1, "the file has no fields");
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return sr_err_set(err, SR_INTERNAL, "%s: the YAML parser does not start", file);
    }
    yaml_parser_set_input_string(&parser, source->text.data, source->text.size);
    source->fields = sr_calloc(FIELDS_MAX, sizeof(*source->fields));
    struct walk walk = {.source = source};
    status = walk_events(&walk, &parser, err);
    yaml_parser_delete(&parser);
    if (status == SR_OK && source->field_count == 0) {
        return refuse_at(source, err, 1, "the file has no fields");
    }
    return status;
}

void sr_config_source_close(struct sr_config_source *source)
{
    for (size_t i = 0; i < source->field_count; i++) {
        sr_free(source->fields[i].path);
        sr_free(source->fields[i].scalar);
    }
    sr_free(source->fields);
    sr_buf_close(&source->text);
    *source = (struct sr_config_source){0};
}

/* ---- Asking ---- */

const struct sr_config_field *sr_config_source_find(const struct sr_config_source *source,
                                                    const char *path)
{
    for (size_t i = 0; i < source->field_count; i++) {
        if (strcmp(source->fields[i].path, path) == 0) {
            return &source->fields[i];
        }
    }
    return NULL;
}

static unsigned line_of(const struct sr_config_source *source, const char *path)
{
    char around[SR_CONFIG_PATH_MAX];
    snprintf(around, sizeof(around), "%s", path);
    for (;;) {
        const struct sr_config_field *field = sr_config_source_find(source, around);
        if (field != NULL) {
            return field->line;
        }
        char *dot = strrchr(around, '.');
        char *bracket = strrchr(around, '[');
        char *cut = dot > bracket ? dot : bracket;
        if (cut == NULL) {
            return 1;
        }
        *cut = 0;
    }
}

int sr_config_refuse(const struct sr_config_source *source, struct sr_err *err, const char *path,
                     const char *reason, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, reason);
    vsnprintf(text, sizeof(text), reason, arguments);
    va_end(arguments);
    return sr_err_set(err, SR_INVALID, "%s:%u: %s: %s", source->file, line_of(source, path), path,
                      text);
}
