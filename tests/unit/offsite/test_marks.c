/* SPDX-License-Identifier: Apache-2.0
 *
 * When revisions came.
 */
#include "base/alloc.h"
#include "node/offsite/marks.h"
#include "tests/unit/cmocka.h"

static void test_notes_what_is_new(void **state)
{
    struct sr_marks *marks = sr_marks_new();
    size_t count = 9;
    (void)state;
    assert_null(sr_marks_after(marks, 0, &count));
    assert_int_equal(count, 0);
    sr_marks_note(marks, 10, 1000);
    sr_marks_note(marks, 10, 2000); /* nothing came */
    sr_marks_note(marks, 15, 3000);
    sr_marks_note(marks, 16, 2500); /* the clock was set back */
    sr_marks_note(marks, 20, 4000);
    struct sr_archive_mark *list = sr_marks_after(marks, 10, &count);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].revision, 15);
    assert_int_equal(list[0].time_ms, 3000);
    assert_int_equal(list[1].revision, 20);
    sr_free(list);
    assert_int_equal(sr_marks_time_after(marks, 9), 1000);
    assert_int_equal(sr_marks_time_after(marks, 10), 3000);
    assert_int_equal(sr_marks_time_after(marks, 20), 0);
    assert_int_equal(sr_marks_time_of(marks, 20), 4000);
    assert_int_equal(sr_marks_time_of(marks, 16), 4000);
    assert_int_equal(sr_marks_time_of(marks, 15), 3000);
    assert_int_equal(sr_marks_time_of(marks, 21), 0);
    sr_marks_free(marks);
}

static void test_forgets_the_oldest(void **state)
{
    struct sr_marks *marks = sr_marks_new();
    size_t count = 0;
    (void)state;
    for (int i = 1; i <= 3 * SR_MARKS_MAX + 7; i++) {
        sr_marks_note(marks, 2 * i, 1000 + (uint64_t)i);
    }
    struct sr_archive_mark *list = sr_marks_after(marks, 0, &count);
    assert_int_equal(count, SR_MARKS_MAX);
    for (size_t i = 1; i < count; i++) {
        assert_int_equal(list[i].revision, list[i - 1].revision + 2);
        assert_int_equal(list[i].time_ms, list[i - 1].time_ms + 1);
    }
    assert_int_equal(list[count - 1].revision, 2 * (3 * SR_MARKS_MAX + 7));
    sr_free(list);
    sr_marks_free(marks);
}

static void test_a_clock_that_was_wrong_is_forgotten(void **state)
{
    struct sr_marks *marks = sr_marks_new();
    size_t count = 0;
    (void)state;
    sr_marks_note(marks, 10, 100000);
    sr_marks_note(marks, 11, 900000000); /* a jump */
    sr_marks_note(marks, 12, 900000500);
    sr_marks_note(marks, 12, 110000); /* set right, and nothing new yet */
    sr_marks_note(marks, 13, 110500);
    sr_marks_note(marks, 14, 111000);
    struct sr_archive_mark *list = sr_marks_after(marks, 0, &count);
    assert_int_equal(count, 4);
    assert_int_equal(list[1].revision, 12);
    assert_int_equal(list[1].time_ms, 110000);
    assert_int_equal(list[3].revision, 14);
    assert_int_equal(list[3].time_ms, 111000);
    sr_free(list);
    assert_true(sr_marks_saw(marks, 10));
    assert_false(sr_marks_saw(marks, 9));
    sr_marks_free(marks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notes_what_is_new),
        cmocka_unit_test(test_forgets_the_oldest),
        cmocka_unit_test(test_a_clock_that_was_wrong_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
