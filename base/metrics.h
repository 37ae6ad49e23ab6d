/* SPDX-License-Identifier: Apache-2.0
 *
 * Counters, gauges and histograms. They are plain structs that their module embeds, updated with
 * relaxed atomics from any thread; node/admin gives them names and prints them.
 */
#ifndef SR_BASE_METRICS_H
#define SR_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct sr_counter {
    atomic_uint_fast64_t value;
};

struct sr_gauge {
    atomic_int_fast64_t value;
};

/* Durations in powers of two: bucket i counts what took at most 2^i * 16 us; the last has no
 * bound. 16 us .. 8.4 s. */
#define SR_HISTOGRAM_BUCKETS 21
struct sr_histogram {
    atomic_uint_fast64_t buckets[SR_HISTOGRAM_BUCKETS];
    atomic_uint_fast64_t sum_ns;
};

static inline void sr_count(struct sr_counter *counter, uint64_t more)
{
    atomic_fetch_add_explicit(&counter->value, more, memory_order_relaxed);
}

static inline uint64_t sr_counter_read(const struct sr_counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static inline void sr_gauge_set(struct sr_gauge *gauge, int64_t value)
{
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

static inline void sr_gauge_add(struct sr_gauge *gauge, int64_t more)
{
    atomic_fetch_add_explicit(&gauge->value, more, memory_order_relaxed);
}

static inline int64_t sr_gauge_read(const struct sr_gauge *gauge)
{
    return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

void sr_histogram_observe(struct sr_histogram *histogram, uint64_t duration_ns);
/* Upper bound of @bucket in seconds; infinity for the last. */
double sr_histogram_bound_s(size_t bucket);

#endif
