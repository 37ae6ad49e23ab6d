/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/load.h"

/* Bucket: power of two of the duration, and 7 bits behind its first one. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < LOAD_SUB_BUCKETS) {
        return (size_t)ns;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(ns);
    unsigned shift = power - 7;
    size_t bucket = (size_t)(shift + 1) * LOAD_SUB_BUCKETS + ((ns >> shift) - LOAD_SUB_BUCKETS);
    size_t last = sizeof(((struct load_histogram *)0)->counts) / sizeof(uint64_t) - 1;
    return bucket < last ? bucket : last;
}

static uint64_t value_of(size_t bucket)
{
    size_t row = bucket / LOAD_SUB_BUCKETS;
    uint64_t column = bucket % LOAD_SUB_BUCKETS;
    return row == 0 ? column : (LOAD_SUB_BUCKETS + column) << (row - 1);
}

void load_histogram_add(struct load_histogram *histogram, uint64_t ns)
{
    histogram->counts[bucket_of(ns)]++;
    histogram->total++;
}

uint64_t load_histogram_quantile(const struct load_histogram *histogram, double fraction)
{
    uint64_t wanted = (uint64_t)((double)histogram->total * fraction);
    uint64_t seen = 0;
    size_t count = sizeof(histogram->counts) / sizeof(histogram->counts[0]);
    for (size_t i = 0; i < count; i++) {
        seen += histogram->counts[i];
        if (seen > wanted) {
            return value_of(i);
        }
    }
    return 0;
}
