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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notes_what_is_new),
        cmocka_unit_test(test_forgets_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
