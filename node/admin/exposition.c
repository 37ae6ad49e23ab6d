/* SPDX-License-Identifier: Apache-2.0 */
#include "node/admin/exposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "strongroom_"

static void put(struct sr_buf *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct sr_buf *page, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    size_t taken = size < 0 ? 0 : (size_t)size;
    sr_buf_append(page, line, taken < sizeof(line) ? taken : sizeof(line) - 1);
}

void sr_exposition_header(struct sr_buf *page, const char *name, const char *help,
                          enum sr_family_kind kind)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    put(page, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, kinds[kind]);
}

/* "{labels}", or nothing when there are none. */
static void put_name(struct sr_buf *page, const char *name, const char *suffix, const char *labels)
{
    put(page, PREFIX "%s%s", name, suffix);
    if (labels[0] != 0) {
        put(page, "{");
        sr_buf_append(page, labels, strlen(labels));
        put(page, "}");
    }
}

void sr_exposition_integer(struct sr_buf *page, const char *name, const char *labels,
                           long long value)
{
    put_name(page, name, "", labels);
    put(page, " %lld\n", value);
}

void sr_exposition_real(struct sr_buf *page, const char *name, const char *labels, double value)
{
    put_name(page, name, "", labels);
    put(page, " %.15g\n", value); /* of a point in time, the milliseconds too */
}

void sr_exposition_single(struct sr_buf *page, const char *name, const char *help,
                          enum sr_family_kind kind, long long value)
{
    sr_exposition_header(page, name, help, kind);
    sr_exposition_integer(page, name, "", value);
}

/* Buckets are cumulative here, and their last one is the count: read once, so that both agree
 * while others go on counting. */
static void put_histogram(struct sr_buf *page, const char *name, const char *labels,
                          const struct sr_histogram *histogram)
{
    uint64_t sum_ns = atomic_load_explicit(&histogram->sum_ns, memory_order_relaxed);
    uint64_t count = 0;
    for (size_t i = 0; i < SR_HISTOGRAM_BUCKETS; i++) {
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        put(page, PREFIX "%s_bucket{", name);
        sr_buf_append(page, labels, strlen(labels));
        double bound = sr_histogram_bound_s(i);
        if (isinf(bound)) {
            put(page, "%sle=\"+Inf\"} %" PRIu64 "\n", labels[0] == 0 ? "" : ",", count);
        } else {
            put(page, "%sle=\"%.9g\"} %" PRIu64 "\n", labels[0] == 0 ? "" : ",", bound, count);
        }
    }
    put_name(page, name, "_sum", labels);
    put(page, " %.9g\n", (double)sum_ns / 1e9);
    put_name(page, name, "_count", labels);
    put(page, " %" PRIu64 "\n", count);
}

static void put_sample(struct sr_buf *page, const struct sr_family *family,
                       const struct sr_series *series)
{
    const void *at = (const char *)series->object + family->offset;
    switch (family->kind) {
    case SR_FAMILY_COUNTER:
        sr_exposition_integer(page, family->name, series->labels, (long long)sr_counter_read(at));
        break;
    case SR_FAMILY_GAUGE:
        sr_exposition_integer(page, family->name, series->labels, sr_gauge_read(at));
        break;
    case SR_FAMILY_HISTOGRAM:
        put_histogram(page, family->name, series->labels, at);
        break;
    }
}

void sr_exposition_families(struct sr_buf *page, const struct sr_family *families,
                            size_t family_count, const struct sr_series *series,
                            size_t series_count)
{
    for (size_t f = 0; f < family_count; f++) {
        sr_exposition_header(page, families[f].name, families[f].help, families[f].kind);
        for (size_t s = 0; s < series_count; s++) {
            put_sample(page, &families[f], &series[s]);
        }
    }
}

void sr_labels_add(struct sr_buf *labels, const char *name, const char *value)
{
    if (labels->size > 0) {
        sr_buf_append_u8(labels, ',');
    }
    sr_buf_append(labels, name, strlen(name));
    sr_buf_append(labels, "=\"", 2);
    for (; *value != 0; value++) {
        if (*value == '\n') {
            sr_buf_append(labels, "\\n", 2);
            continue;
        }
        if (*value == '"' || *value == '\\') {
            sr_buf_append_u8(labels, '\\');
        }
        sr_buf_append_u8(labels, (uint8_t)*value);
    }
    sr_buf_append_u8(labels, '"');
    sr_buf_append_u8(labels, 0);
    labels->size--;
}
