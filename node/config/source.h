/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration file as text, with the line of every field in it: what every refusal names.
 * Inside node/config only.
 */
#ifndef SR_NODE_CONFIG_SOURCE_H
#define SR_NODE_CONFIG_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Longest path of a field, "cluster.members[8].client_urls[15]" and what a typing error adds. */
#define SR_CONFIG_PATH_MAX 256

struct sr_config_field {
    char *path;    /* "cluster.members[1].zone" */
    unsigned line; /* from 1 */
    char *scalar;  /* its text; NULL for a mapping or a list */
};

struct sr_config_source {
    const char *file;
    struct sr_buf text;
    struct sr_config_field *fields;
    size_t field_count;
};

/* Read @file, which must be YAML: one mapping, without anchors and aliases. @file must outlive
 * the source. SR_NOT_FOUND, SR_IO, SR_INVALID. Close it in any case. */
int sr_config_source_open(struct sr_config_source *source, const char *file, struct sr_err *err);
void sr_config_source_close(struct sr_config_source *source);

/* NULL when the file does not have it. */
const struct sr_config_field *sr_config_source_find(const struct sr_config_source *source,
                                                    const char *path);

/* Fill @err with "<file>:<line>: <path>: <reason>" and return SR_INVALID. The line is that of the
 * field, or of the nearest one around it that the file has. */
int sr_config_refuse(const struct sr_config_source *source, struct sr_err *err, const char *path,
                     const char *reason, ...) __attribute__((format(printf, 4, 5)));

#endif
