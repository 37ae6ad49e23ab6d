/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include "node/image/rate.h"

#define SECOND ((uint64_t)1000 * 1000 * 1000)

static void what_was_saved_goes_at_once(void **state)
{
    (void)state;
    struct sr_rate rate;
    sr_rate_init(&rate, 1000, 0);
    assert_int_equal(sr_rate_take(&rate, 100, SECOND), 0); /* a tenth of a second's */
    assert_int_equal(sr_rate_take(&rate, 500, SECOND), SECOND / 2);
    /* However long the pause was. */
    assert_int_equal(sr_rate_take(&rate, 100, 100 * SECOND), 0);
    assert_int_equal(sr_rate_take(&rate, 1000, 100 * SECOND), SECOND);
    sr_rate_close(&rate);
}

static void two_share_it(void **state)
{
    (void)state;
    struct sr_rate rate;
    sr_rate_init(&rate, 64 * 1024 * 1024, 0);
    uint64_t now = SECOND;
    uint64_t bytes = 0;
    for (int i = 0; i < 1000; i++) { /* each waits as long as it is told */
        uint64_t first = sr_rate_take(&rate, 1024 * 1024, now);
        uint64_t second = sr_rate_take(&rate, 1024 * 1024, now);
        assert_true(second >= first);
        now += second;
        bytes += (uint64_t)2 * 1024 * 1024;
    }
    double seconds = (double)(now - SECOND) / (double)SECOND;
    double expected = (double)bytes / (64.0 * 1024 * 1024);
    assert_true(seconds > expected - 0.2 && seconds < expected + 0.2);
    sr_rate_close(&rate);
}

static void none_is_no_limit(void **state)
{
    (void)state;
    struct sr_rate rate;
    sr_rate_init(&rate, 0, 0);
    assert_int_equal(sr_rate_take(&rate, SIZE_MAX / 2, 1), 0);
    sr_rate_close(&rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_saved_goes_at_once),
        cmocka_unit_test(two_share_it),
        cmocka_unit_test(none_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
