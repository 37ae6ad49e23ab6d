/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include "base/metrics.h"

static uint64_t in_bucket(struct sr_histogram *histogram, size_t bucket)
{
    return atomic_load(&histogram->buckets[bucket]);
}

static void durations_fall_into_their_buckets(void **state)
{
    (void)state;
    struct sr_histogram histogram = {0};
    sr_histogram_observe(&histogram, 0);
    sr_histogram_observe(&histogram, 16000);
    sr_histogram_observe(&histogram, 16001);
    sr_histogram_observe(&histogram, UINT64_C(3600) * 1000000000u);
    assert_int_equal(in_bucket(&histogram, 0), 2);
    assert_int_equal(in_bucket(&histogram, 1), 1);
    assert_int_equal(in_bucket(&histogram, SR_HISTOGRAM_BUCKETS - 1), 1);
    assert_true(sr_histogram_bound_s(0) > 15e-6 && sr_histogram_bound_s(0) < 17e-6);
    assert_true(sr_histogram_bound_s(SR_HISTOGRAM_BUCKETS - 1) > 1e300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(durations_fall_into_their_buckets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
