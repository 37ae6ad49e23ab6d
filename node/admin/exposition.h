/* SPDX-License-Identifier: Apache-2.0
 *
 * Prometheus' text format, version 0.0.4: families of metrics as tables of offsets into the
 * structs that the modules keep.
 */
#ifndef SR_NODE_ADMIN_EXPOSITION_H
#define SR_NODE_ADMIN_EXPOSITION_H

#include <stddef.h>

#include "base/buf.h"
#include "base/metrics.h"

#define SR_EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum sr_family_kind { SR_FAMILY_COUNTER, SR_FAMILY_GAUGE, SR_FAMILY_HISTOGRAM };

struct sr_family {
    const char *name; /* without "strongroom_" */
    const char *help;
    enum sr_family_kind kind;
    size_t offset; /* of the struct sr_counter, sr_gauge or sr_histogram */
};

/* For tables: SR_FAMILY(COUNTER, struct sr_store_metrics, puts, "puts_total", "Puts applied."). */
#define SR_FAMILY(kind_, type, member, name_, help_)                                               \
    {                                                                                              \
        .name = (name_), .help = (help_), .kind = SR_FAMILY_##kind_,                               \
        .offset = offsetof(type, member)                                                           \
    }

/* One instance of a table's struct. */
struct sr_series {
    const void *object;
    const char *labels; /* as sr_labels_add makes them; "" for none */
};

/* Every family once, with one sample (or histogram) for each series. */
void sr_exposition_families(struct sr_buf *page, const struct sr_family *families,
                            size_t family_count, const struct sr_series *series,
                            size_t series_count);

/* HELP and TYPE of one family, then its samples one by one. */
void sr_exposition_header(struct sr_buf *page, const char *name, const char *help,
                          enum sr_family_kind kind);
void sr_exposition_integer(struct sr_buf *page, const char *name, const char *labels,
                           long long value);
void sr_exposition_real(struct sr_buf *page, const char *name, const char *labels, double value);
/* A family with one sample and no labels. */
void sr_exposition_single(struct sr_buf *page, const char *name, const char *help,
                          enum sr_family_kind kind, long long value);

/* Append `name="value"` to @labels, a buffer with a text in it or empty; escapes @value. The text
 * ends with a 0 that is not counted. */
void sr_labels_add(struct sr_buf *labels, const char *name, const char *value);

#endif
