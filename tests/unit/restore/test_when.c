/* SPDX-License-Identifier: Apache-2.0
 *
 * Times as people write them.
 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "node/restore/when.h"

static void check_time(const char *text, uint64_t ms)
{
    uint64_t found = 0;
    if (!sr_when_parse(text, &found)) {
        fail_msg("%s is not understood", text);
    }
    assert_int_equal(found, ms);
}

static void test_texts(void **state)
{
    char text[SR_WHEN_CHARS];
    (void)state;
    assert_string_equal(sr_when_text(1779148800000, text), "2026-05-19T00:00:00Z");
    assert_string_equal(sr_when_text(1779148800042, text), "2026-05-19T00:00:00.042Z");
    assert_string_equal(sr_when_text(0, text), "an unknown time");
    assert_string_equal(sr_when_text(UINT64_MAX, text), "an unknown time");
}

static void test_what_is_a_time(void **state)
{
    (void)state;
    check_time("2026-05-19T00:00:00Z", 1779148800000);
    check_time("2026-05-19 00:00:00Z", 1779148800000);
    check_time("2026-05-19t00:00:00.5z", 1779148800500);
    check_time("2026-05-19T00:00:00.0429Z", 1779148800042);
    check_time("2026-05-19T02:00:00+02:00", 1779148800000);
    check_time("2026-05-18T18:30:00-05:30", 1779148800000);
    check_time("2024-02-29T23:59:59Z", 1709251199000);
    check_time("1970-01-01T00:00:00Z", 0);
}

static void test_what_is_none(void **state)
{
    static const char *const texts[] = {"",
                                        "yesterday",
                                        "2026-05-19",
                                        "2026-05-19T00:00:00",
                                        "2026-05-19T00:00Z",
                                        "2026-05-19T24:00:00Z",
                                        "2026-05-19T00:60:00Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-00-01T00:00:00Z",
                                        "2026-02-30T00:00:00Z",
                                        "2025-02-29T00:00:00Z",
                                        "2026-05-19T00:00:00.Z",
                                        "2026-05-19T00:00:00Z ",
                                        "2026-05-19T00:00:00+2:00",
                                        "2026-05-19T00:00:00+0200",
                                        "2026-05-19T00:00:00+24:00",
                                        "1969-12-31T23:59:59Z",
                                        "1970-01-01T00:00:00+01:00",
                                        "-026-05-19T00:00:00Z",
                                        "99999-05-19T00:00:00Z"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t found = 7;
        if (sr_when_parse(texts[i], &found)) {
            fail_msg("%s is taken for a time", texts[i]);
        }
        assert_int_equal(found, 7);
    }
}

static void test_there_and_back(void **state)
{
    char text[SR_WHEN_CHARS];
    uint64_t seed = 1;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        check_time(sr_when_text(1 + (seed >> 19), text), 1 + (seed >> 19)); /* to the year 3085 */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_what_is_a_time),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
