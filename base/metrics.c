/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <math.h>

#define FIRST_BOUND_NS UINT64_C(16000)

void sr_histogram_observe(struct sr_histogram *histogram, uint64_t duration_ns)
{
    size_t bucket = 0;
    uint64_t bound_ns = FIRST_BOUND_NS;
    while (bucket < SR_HISTOGRAM_BUCKETS - 1 && duration_ns > bound_ns) {
        bound_ns *= 2;
        bucket++;
    }
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_ns, duration_ns, memory_order_relaxed);
}

double sr_histogram_bound_s(size_t bucket)
{
    if (bucket >= SR_HISTOGRAM_BUCKETS - 1) {
        return (double)INFINITY;
    }
    return (double)(FIRST_BOUND_NS << bucket) / 1e9;
}
